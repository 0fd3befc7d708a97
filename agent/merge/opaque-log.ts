/**
 * What is known of a key whose operations are carried as commands (lists, HyperLogLogs, bitmaps, APPEND …): enough to make it anew where
 * something that had not seen them replaces the whole key.
 *
 * - a *floor* is a value of the whole key: a state that was sent to settle it, or a client's SET;
 * - a *run* is a command that adds: on a floor that has not seen it, it runs again. What takes (pops) is left out, so that an
 *   element may be delivered twice, but is never lost.
 *
 * The value is the highest floor, and in (stamp, region) order all runs on it that it has not seen. A client's SET or DEL drops the runs that it
 * has seen, and every state: what a state holds is of runs that are here, or of what was before the window, which the client had seen. A
 * state drops none: another that has not seen them may be higher.
 */
import type { KeyState } from './key-state';
import type { Kept } from './kept-bytes';
import { type Op, saw } from './element';
import { isHigher, StateOp } from './op';
import { type OriginTable, seenAt } from './origins';

/** What an opaque operation is to one of its keys. */
export interface Part {
  /** The command that adds what it added; null: it takes, or its result can't be had again. */
  readonly run: Kept | null;
  /** A value made without it may lack what it alone gave: where it has not been seen the key can't be made anew. */
  readonly isLossy: boolean;
  /** To run it once more changes nothing: bits, ranges. */
  readonly isPut: boolean;
  /** It took what it gave from another of these keys: where all of them go back to before it, nothing is lost. */
  readonly moves: readonly KeyState[] | null;
  /** The element of which it alone is (type digit and name); null: none, or more. */
  readonly id: string | null;
}

interface Entry extends Part {
  readonly op: Op;
}

export interface Floor {
  readonly op: Op;
  /** What builds it, a DEL at first; null: its elements stand in the window, as others' do. */
  readonly build: Kept | null;
}

/** Of one key, so many are kept, and so many bytes of small ones; beyond that it is not made anew by what has not seen the oldest. */
const ENTRIES_MAX = 4096;
const ENTRY_BYTES_MAX = 1024 * 1024;
/** Those that nothing needs any more are looked for once in so many. */
const COMPACT_ENTRIES = 64;
/** What is never at rest is looked at once in so many operations that all have seen. */
export const ABSORB_FOLDS = 32;

export class OpaqueLog {
  private entries: Entry[] = [];
  private heldBytes = 0;
  private compactAt = COMPACT_ENTRIES;
  /** Operations that all have seen since it was last looked whether what they made is base. */
  private folds = 0;
  /** By origin the last that was given up. */
  private cut: number[] | null = null;
  floors: readonly Floor[] = [];

  add(op: Op, part: Part, stable: readonly number[], deletions: readonly Op[]): void {
    this.entries.push({ op, ...part });
    this.heldBytes += part.run?.heldBytes ?? 0;
    if (this.entries.length < this.compactAt && this.heldBytes <= ENTRY_BYTES_MAX) return;
    this.compact(stable, deletions);
    if (this.entries.length <= ENTRIES_MAX && this.heldBytes <= ENTRY_BYTES_MAX) return;
    const half = this.entries.length >> 1;
    this.cut ??= [];
    for (const entry of this.entries.slice(0, half)) {
      while (this.cut.length <= entry.op.origin) this.cut.push(-1);
      this.cut[entry.op.origin] = Math.max(this.cut[entry.op.origin]!, entry.op.position);
    }
    this.keep((_, i) => i >= half);
  }

  /** A put or a removal of an element. A state's drops nothing: see above. */
  dropElement(op: Op, id: string): void {
    if (op instanceof StateOp || !this.entries.some((entry) => entry.id === id)) return;
    this.keep((entry) => entry.id !== id || !saw(op, entry.op));
  }

  /** A client's operation replaces all that it has seen. Of a state that had not seen it, and told of elements, these stand: what it had seen is in them, or was taken. */
  wipe(op: Op): void {
    this.keep((entry) => !saw(op, entry.op));
    this.floors = this.floors.filter(
      (floor) => !saw(op, floor.op) && (floor.build === null || !(floor.op instanceof StateOp)),
    );
  }

  /** The value of the whole key at an operation. */
  lay(floor: Floor): void {
    this.floors = [
      ...this.floors.filter(({ op }) => op !== floor.op && !(op instanceof StateOp && saw(floor.op, op))),
      floor,
    ];
  }

  highestFloor(origins: OriginTable): Floor | null {
    return this.floors.reduce<Floor | null>(
      (best, floor) => (best === null || isHigher(floor.op, best.op, origins) ? floor : best),
      null,
    );
  }

  /** Whether one stands in it that is higher than `op`. */
  isAbove(op: Op, origins: OriginTable): boolean {
    return this.floors.some((floor) => floor.op !== op && isHigher(floor.op, op, origins));
  }

  /** Whether a client's value is known that `op` has not seen. */
  hasValueUnseenBy(op: Op): boolean {
    return this.floors.some((floor) => !(floor.op instanceof StateOp) && !saw(op, floor.op));
  }

  /** Whether something stands in it that `op` has not seen, and that replaces the whole key. */
  hasFloorUnseenBy(op: Op): boolean {
    return this.floors.some((floor) => floor.op !== op && !saw(op, floor.op));
  }

  /** Keys between which something moved, a given one among them, by operations that `op` has not seen. */
  *movedUnseenBy(op: Op, state: KeyState): IterableIterator<KeyState> {
    for (const entry of this.entries)
      if (entry.moves?.includes(state) === true && entry.op !== op && !saw(op, entry.op)) yield* entry.moves;
  }

  /**
   * Whether nothing is lost where the key is made anew.
   * @param values what it is made of: what one of them has seen is in it
   * @param together keys that are made anew at once
   */
  canRebuild(values: readonly Op[], together: ReadonlySet<KeyState>): boolean {
    for (const { op, isLossy, moves } of this.entries) {
      if (!isLossy || values.some((value) => saw(value, op))) continue;
      if (moves?.every((state) => together.has(state)) !== true) return false;
    }
    const { cut } = this;
    if (cut === null) return true;
    const holdsCut = (value: Op): boolean =>
      cut.every(
        (position, origin) => position <= (origin === value.origin ? value.position : seenAt(value.seen, origin)),
      );
    return values.some(holdsCut);
  }

  /**
   * What has to run on a floor, in order.
   * @param values what it is: what one of them has seen is in it
   */
  runsOn(values: readonly Op[], origins: OriginTable): { readonly op: Op; readonly run: Kept }[] {
    // A state's own elements may have become commands, as others' do.
    const isIn = (op: Op): boolean => values.some((value) => saw(value, op));
    const runs: Entry[] = [];
    let lowest: Op | null = null;
    for (const entry of this.entries) {
      if (entry.run === null || isIn(entry.op)) continue;
      runs.push(entry);
      if (entry.isPut && (lowest === null || isHigher(lowest, entry.op, origins))) lowest = entry.op;
    }
    // Of two puts to one place the higher stands, though the floor had seen it.
    if (lowest !== null)
      for (const entry of this.entries)
        if (entry.isPut && entry.run !== null && isIn(entry.op) && isHigher(entry.op, lowest, origins))
          runs.push(entry);
    return sorted(runs, origins);
  }

  /** Whether it is time to `absorb`, as an operation of the key has been seen by all. */
  isDue(): boolean {
    if (++this.folds < ABSORB_FOLDS) return false;
    this.folds = 0;
    return true;
  }

  get isEmpty(): boolean {
    return this.entries.length === 0 && this.floors.length === 0 && this.cut === null;
  }

  /**
   * Forgets what has become base: all but what is `isOut`, which has seen it if not all have seen that.
   * @param deletions known of the key, and those of them that stay
   * @returns false where something that may stand has not seen all of it: nothing was done
   */
  absorb(
    isOut: (op: Pick<Op, 'origin' | 'position'>) => boolean,
    deletions: readonly Op[],
    left: readonly Op[],
  ): boolean {
    const floors = this.floors.filter(({ op }) => isOut(op));
    const values = [...floors.map(({ op }) => op), ...left];
    const hasSeen = (op: Op): boolean => isOut(op) || values.every((value) => saw(value, op));
    if (!deletions.every(hasSeen) || ![...this.entries, ...this.floors].every(({ op }) => hasSeen(op))) return false;
    this.keepNeeded(({ op }) => isOut(op));
    this.floors = floors;
    if (this.cut?.every((position, origin) => !isOut({ origin, position })) === true) this.cut = null;
    return true;
  }

  eachOp(visit: (op: Op) => void): void {
    for (const { op } of this.entries) visit(op);
    for (const { op } of this.floors) visit(op);
  }

  /** What all members have seen, whatever is still to come has seen: it matters only to what is here and has not. */
  private compact(stable: readonly number[], deletions: readonly Op[]): void {
    const isNeeded = ({ op }: Entry): boolean =>
      seenAt(stable, op.origin) < op.position ||
      !this.floors.every((floor) => saw(floor.op, op)) ||
      !deletions.every((deletion) => saw(deletion, op));
    this.keepNeeded(isNeeded);
    this.compactAt = Math.min(Math.max(COMPACT_ENTRIES, this.entries.length * 2), ENTRIES_MAX + 1);
  }

  /** Where a put may run again, those that stand above it have to. */
  private keepNeeded(isNeeded: (entry: Entry) => boolean): void {
    const lowestStamp = Math.min(...this.entries.map((e) => (e.isPut && isNeeded(e) ? e.op.stamp : Infinity)));
    this.keep((entry) => isNeeded(entry) || (entry.isPut && entry.op.stamp >= lowestStamp));
  }

  private keep(wanted: (entry: Entry, i: number) => boolean): void {
    this.entries = this.entries.filter((entry, i) => {
      if (wanted(entry, i)) return true;
      this.heldBytes -= entry.run?.heldBytes ?? 0;
      return false;
    });
  }
}

function sorted(entries: Entry[], origins: OriginTable): { readonly op: Op; readonly run: Kept }[] {
  const runs = entries as (Entry & { run: Kept })[];
  // Those of one operation in the order in which they came.
  return runs.sort((a, b) => (a.op === b.op ? 0 : isHigher(a.op, b.op, origins) ? 1 : -1));
}
