/** Origins interned as small numbers, so that `seen` is an array lookup on the hot path. */
import type { OriginId, Vector } from '../record';
import { regionOf } from '../record';

/** Positions by interned origin; a hole or an index past the end means "nothing seen". */
export type Seen = readonly number[];

export class OriginTable {
  private readonly indexById = new Map<OriginId, number>();
  private readonly ids: OriginId[] = [];
  private readonly regionNames: string[] = [];

  /** The index of an origin; a new one is added when it is unknown. */
  index(id: OriginId): number {
    let index = this.indexById.get(id);
    if (index === undefined) {
      index = this.ids.length;
      this.indexById.set(id, index);
      this.ids.push(id);
      this.regionNames.push(regionOf(id));
    }
    return index;
  }

  id(index: number): OriginId {
    return this.ids[index]!;
  }

  region(index: number): string {
    return this.regionNames[index]!;
  }

  get size(): number {
    return this.ids.length;
  }

  /** Among operations with one stamp: whether origin `a` stands above `b`. By region, and of one region by the id. */
  outranks(a: number, b: number): boolean {
    const [ra, rb] = [this.region(a), this.region(b)];
    return ra === rb ? this.id(a) > this.id(b) : ra > rb;
  }

  toSeen(vector: Vector): number[] {
    const seen: number[] = [];
    for (const [id, position] of vector) {
      const index = this.index(id);
      while (seen.length <= index) seen.push(-1);
      seen[index] = position;
    }
    return seen;
  }

  toVector(seen: Seen): Map<OriginId, number> {
    const vector = new Map<OriginId, number>();
    for (let i = 0; i < seen.length; i++) if (seen[i]! >= 0) vector.set(this.ids[i]!, seen[i]!);
    return vector;
  }
}

/** The position that `seen` holds for an interned origin, −1 for none. */
export function seenAt(seen: Seen, origin: number): number {
  return origin < seen.length ? seen[origin]! : -1;
}

/** Whether all of these positions, by origin, are seen. */
export function areSeen(positions: Seen, seen: Seen): boolean {
  return positions.every((position, origin) => position <= seenAt(seen, origin));
}

/** Notes that an origin was seen up to a position, at least. */
export function raise(positions: number[], origin: number, position: number): void {
  while (positions.length <= origin) positions.push(-1);
  if (positions[origin]! < position) positions[origin] = position;
}
