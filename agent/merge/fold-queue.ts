import { Deque } from '../deque';
import type { Element, KeyState } from './key-state';

const CHUNK_OPERATIONS = 4096;
/** Positions in a chunk are told by their distance from its first. */
const DISTANCE_MAX = 2 ** 32 - 1;
/** Of one that is no head of the table, but the next of `others`. */
const OTHER = -1;

interface Chunk {
  readonly heads: Int32Array;
  readonly distances: Uint32Array;
  base: number;
  first: number;
  size: number;
}

interface Other {
  readonly state: KeyState;
  readonly element: Element | null;
  readonly position: number;
}

/** What `shift` took: a head of the table, or, with −1 there, an operation on a state. */
export interface Shifted {
  head: number;
  other: Other | null;
  position: number;
}

/** A queue of one origin's operations in stream order; eight bytes, and no object, per plain SET. */
export class FoldQueue {
  private readonly chunks = new Deque<Chunk>();
  private readonly others = new Deque<Other>();
  private spare: Chunk | null = null;
  /** Operations in it. */
  length = 0;

  /** Bytes of memory that it holds, but for `others`. */
  get bytes(): number {
    return (this.chunks.length + (this.spare === null ? 0 : 1)) * CHUNK_OPERATIONS * 8;
  }

  first(): number | undefined {
    if (this.chunks.length === 0) return undefined;
    const { heads, distances, base, first } = this.chunks.at(0);
    return heads[first] === OTHER ? this.others.at(0).position : base + distances[first]!;
  }

  last(): number | undefined {
    if (this.chunks.length === 0) return undefined;
    const { heads, distances, base, size } = this.chunks.at(this.chunks.length - 1);
    if (heads[size - 1] === OTHER) return this.others.at(this.others.length - 1).position;
    return base + distances[size - 1]!;
  }

  /** @param head of the table of SETs; the position is the end of bytes of the stream, and so a whole number */
  push(head: number, position: number): void {
    let chunk = this.chunks.length === 0 ? null : this.chunks.at(this.chunks.length - 1);
    if (chunk === null || chunk.size === CHUNK_OPERATIONS || position - chunk.base > DISTANCE_MAX)
      this.chunks.push((chunk = this.take(position)));
    chunk.heads[chunk.size] = head;
    chunk.distances[chunk.size++] = position - chunk.base;
    this.length++;
  }

  pushOf(state: KeyState, element: Element | null, position: number): void {
    this.others.push({ state, element, position });
    this.push(OTHER, Math.floor(position));
  }

  /**
   * Takes heads up to a position: as many as stand in a row at the front, and fit into `into`.
   * @returns how many; 0 also where something else comes first
   */
  shiftHeads(position: number, into: Int32Array): number {
    let n = 0;
    while (n < into.length && this.chunks.length > 0) {
      const chunk = this.chunks.at(0);
      const { heads, distances, size } = chunk;
      const distance = position - chunk.base;
      let i = chunk.first;
      while (i < size && n < into.length && heads[i] !== OTHER && distances[i]! <= distance) into[n++] = heads[i++]!;
      chunk.first = i;
      if (i < size) break;
      this.dropFirst(chunk);
    }
    this.length -= n;
    return n;
  }

  /** Takes the first, whatever it is. @returns false where there is none */
  shift(into: Shifted): boolean {
    if (this.length === 0) return false;
    const chunk = this.chunks.at(0);
    const head = chunk.heads[chunk.first]!;
    into.head = head;
    into.other = head === OTHER ? this.others.at(0) : null;
    into.position = into.other?.position ?? chunk.base + chunk.distances[chunk.first]!;
    if (head === OTHER) this.others.drop(1);
    if (++chunk.first === chunk.size) this.dropFirst(chunk);
    this.length--;
    return true;
  }

  /** Takes the first, which is no head, where it is not beyond a position. */
  shiftOther(position: number): Other | undefined {
    if (this.chunks.length === 0) return undefined;
    const chunk = this.chunks.at(0);
    if (chunk.heads[chunk.first] !== OTHER) return undefined;
    const other = this.others.at(0);
    if (other.position > position) return undefined;
    this.others.drop(1);
    if (++chunk.first === chunk.size) this.dropFirst(chunk);
    this.length--;
    return other;
  }

  private take(base: number): Chunk {
    const chunk = this.spare ?? {
      heads: new Int32Array(CHUNK_OPERATIONS),
      distances: new Uint32Array(CHUNK_OPERATIONS),
      base,
      first: 0,
      size: 0,
    };
    this.spare = null;
    chunk.base = base;
    chunk.first = chunk.size = 0;
    return chunk;
  }

  private dropFirst(chunk: Chunk): void {
    this.chunks.drop(1);
    this.spare ??= chunk;
  }
}
