/**
 * The part of the window that holds keys of which nothing is known but plain `SET key value`: nearly all of them, where
 * strings are written. Such a key costs 64 bytes here and no object, for a busy mesh has hundreds of thousands.
 *
 * An entry is one live put. The puts of a key, which have not seen each other, are chained behind the first, its *head*,
 * which stands for the key as long as the fold queues know of operations on it. What a put has seen it removes; so an
 * operation has seen everything known of the key exactly when it has seen all live puts.
 *
 * A key that anything else meets leaves the table and becomes a KeyState; its head then only leads there.
 */
import { type OriginTable, seenAt, type Seen } from './origins';

/** What the puts of one record share; they hold on to it. */
export interface SetSource {
  readonly payload: Buffer;
  readonly origin: number;
  readonly seen: Seen;
  /** Number of entries that refer to it. */
  users: number;
  /** Its place among the sources; −1: not there. */
  index: number;
}

export function sourceOf(payload: Buffer, origin: number, seen: Seen): SetSource {
  return { payload, origin, seen, users: 0, index: -1 };
}

/** Where a SET's arguments are in its source's payload: both of them in RESP, and the key's own bytes. */
export interface SetPlace {
  args: number;
  argsEnd: number;
  key: number;
  keyEnd: number;
}

/** A live put, as read back. */
export interface TablePut {
  readonly origin: number;
  readonly position: number;
  readonly stamp: number;
  readonly seen: Seen;
  readonly value: Buffer;
}

export const SetOutcome = {
  /** It has seen all that is known of the key. */
  quiet: 0,
  /** It meets puts that it has not seen, and wins. */
  wins: 1,
  /** It meets puts that it has not seen, and one of them stays the value. */
  loses: 2,
  /** There is more to the key than the table holds: nothing was noted. */
  complex: 3,
} as const;
export type SetOutcome = (typeof SetOutcome)[keyof typeof SetOutcome];

// An entry's fields: two doubles, then 32-bit integers.
const POSITION = 0;
const STAMP = 1;
const SOURCE = 4;
/** The two arguments in RESP. */
const ARGS = 5;
const ARGS_END = 6;
const KEY = 7;
const KEY_END = 8;
const HASH = 9;
/** The next put of the key, or of the free list. */
const NEXT = 10;
/** Of a head: how many entries of fold queues lead to it. */
const REFERENCES = 11;
const DB = 12;
const INTS = 16;
const DOUBLES = 8;

const NOTHING = -1;
const FIRST_ENTRIES = 1024;

export class SetTable<State extends object> {
  private capacity = FIRST_ENTRIES;
  private ints = new Int32Array(FIRST_ENTRIES * INTS);
  private doubles = new Float64Array(this.ints.buffer);
  private free = NOTHING;
  private used = 0;
  /** Open addressing over heads: entry + 1, 0 for an empty slot. */
  private slots = new Int32Array(FIRST_ENTRIES * 2);
  private readonly sources: (SetSource | undefined)[] = [];
  private readonly freeSources: number[] = [];
  /** Where the keys of heads that have left the table went. */
  private readonly left = new Map<number, State>();
  /** Keys in the table. */
  keys = 0;
  /** The head that the last `set` noted its operation on. */
  head = NOTHING;

  constructor(private readonly origins: OriginTable) {}

  /**
   * Notes a plain SET, and counts one reference to `head` for the caller's fold queue.
   * @param meets whether it may stand beside puts that it has not seen; if not, that is `complex`
   */
  set(
    db: number,
    hash: number,
    source: SetSource,
    at: SetPlace,
    position: number,
    stamp: number,
    meets: boolean,
  ): SetOutcome {
    const slot = this.slotOf(db, hash, source.payload, at.key, at.keyEnd);
    const found = this.slots[slot]! - 1;
    if (found < 0) {
      if (this.keys * 2 >= this.slots.length) {
        this.rehash(this.slots.length * 2);
        return this.set(db, hash, source, at, position, stamp, meets);
      }
      const entry = this.allocate();
      this.slots[slot] = entry + 1;
      this.keys++;
      this.write(entry, db, hash, source, at, position, stamp);
      this.ints[entry * INTS + NEXT] = NOTHING;
      this.ints[entry * INTS + REFERENCES] = 1;
      this.head = entry;
      return SetOutcome.quiet;
    }
    const unseen = this.countUnseen(found, source);
    if (unseen > 0 && !meets) return SetOutcome.complex;
    this.ints[found * INTS + REFERENCES]!++;
    this.head = found;
    if (unseen === 0) {
      this.freeChain(this.ints[found * INTS + NEXT]!);
      this.drop(found);
      this.write(found, db, hash, source, at, position, stamp);
      this.ints[found * INTS + NEXT] = NOTHING;
      return SetOutcome.quiet;
    }
    this.removeSeen(found, source);
    const entry = this.allocate();
    this.write(entry, db, hash, source, at, position, stamp);
    this.ints[entry * INTS + NEXT] = this.ints[found * INTS + NEXT]!;
    this.ints[found * INTS + NEXT] = entry;
    return this.winner(found) === entry ? SetOutcome.wins : SetOutcome.loses;
  }

  /** The place of a key's head, NOTHING where the table does not know it. */
  find(db: number, hash: number, key: Buffer): number {
    return this.slots[this.slotOf(db, hash, key, 0, key.length)]! - 1;
  }

  keyOf(head: number): { db: number; key: string } {
    const { payload } = this.sourceAt(head);
    const at = head * INTS;
    return { db: this.ints[at + DB]!, key: payload.toString('latin1', this.ints[at + KEY], this.ints[at + KEY_END]) };
  }

  /** References that the fold queues have to a key. */
  references(head: number): number {
    return this.ints[head * INTS + REFERENCES]!;
  }

  /** The live puts of a key. */
  *puts(head: number): IterableIterator<TablePut> {
    for (let entry = head; entry !== NOTHING; entry = this.ints[entry * INTS + NEXT]!) {
      const { payload, origin, seen } = this.sourceAt(entry);
      const at = entry * INTS;
      const keyEnd = this.ints[at + KEY_END]!;
      // Behind the key: CRLF, `$`, the length, CRLF, the value, CRLF.
      const value = payload.subarray(payload.indexOf(10, keyEnd + 3) + 1, this.ints[at + ARGS_END]! - 2);
      const position = this.doubles[entry * DOUBLES + POSITION]!;
      yield { origin, position, stamp: this.doubles[entry * DOUBLES + STAMP]!, seen, value };
    }
  }

  /** The heads of all keys of a database, or of all. */
  *heads(db?: number): IterableIterator<number> {
    for (const slot of this.slots.slice()) {
      const head = slot - 1;
      if (head >= 0 && (db === undefined || this.ints[head * INTS + DB] === db)) yield head;
    }
  }

  /** The key leaves the table: what the fold queues hold of it now leads to `state`. */
  leave(head: number, state: State): void {
    this.unlink(head);
    this.freeChain(this.ints[head * INTS + NEXT]!);
    this.ints[head * INTS + NEXT] = NOTHING;
    this.drop(head);
    this.left.set(head, state);
  }

  /**
   * One reference less.
   * @returns the key's state where it has left the table
   */
  release(head: number): State | undefined {
    const state = this.left.get(head);
    const at = head * INTS;
    if (--this.ints[at + REFERENCES]! > 0) return state;
    if (state === undefined) {
      this.unlink(head);
      this.freeChain(this.ints[at + NEXT]!);
      this.drop(head);
    } else this.left.delete(head);
    this.giveBack(head);
    if (this.keys === 0 && this.left.size === 0) this.shrink();
    return state;
  }

  // ——— chains

  private countUnseen(head: number, { origin, seen }: SetSource): number {
    let unseen = 0;
    for (let entry = head; entry !== NOTHING; entry = this.ints[entry * INTS + NEXT]!)
      if (!this.isSeen(entry, origin, seen)) unseen++;
    return unseen;
  }

  private isSeen(entry: number, origin: number, seen: Seen): boolean {
    const of = this.sourceAt(entry).origin;
    return of === origin || seenAt(seen, of) >= this.doubles[entry * DOUBLES + POSITION]!;
  }

  /** Removes the puts that are seen; at least one is not. The head stays the head: it takes over what is behind it. */
  private removeSeen(head: number, { origin, seen }: SetSource): void {
    const { ints } = this;
    let before = head;
    for (let entry = ints[head * INTS + NEXT]!; entry !== NOTHING;) {
      const next = ints[entry * INTS + NEXT]!;
      if (this.isSeen(entry, origin, seen)) {
        ints[before * INTS + NEXT] = next;
        this.drop(entry);
        this.giveBack(entry);
      } else before = entry;
      entry = next;
    }
    if (!this.isSeen(head, origin, seen)) return;
    const second = ints[head * INTS + NEXT]!;
    const references = ints[head * INTS + REFERENCES]!;
    this.drop(head);
    ints.copyWithin(head * INTS, second * INTS, (second + 1) * INTS);
    ints[head * INTS + REFERENCES] = references;
    this.giveBack(second);
  }

  private winner(head: number): number {
    const { ints, doubles } = this;
    let best = head;
    for (let entry = ints[head * INTS + NEXT]!; entry !== NOTHING; entry = ints[entry * INTS + NEXT]!) {
      const [a, b] = [doubles[entry * DOUBLES + STAMP]!, doubles[best * DOUBLES + STAMP]!];
      if (a > b || (a === b && this.origins.outranks(this.sourceAt(entry).origin, this.sourceAt(best).origin)))
        best = entry;
    }
    return best;
  }

  // ——— entries

  private sourceAt(entry: number): SetSource {
    return this.sources[this.ints[entry * INTS + SOURCE]!]!;
  }

  private write(
    entry: number,
    db: number,
    hash: number,
    source: SetSource,
    { args, argsEnd, key, keyEnd }: SetPlace,
    position: number,
    stamp: number,
  ): void {
    if (source.users++ === 0) {
      source.index = this.freeSources.pop() ?? this.sources.length;
      this.sources[source.index] = source;
    }
    this.doubles[entry * DOUBLES + POSITION] = position;
    this.doubles[entry * DOUBLES + STAMP] = stamp;
    const at = entry * INTS;
    const { ints } = this;
    ints[at + SOURCE] = source.index;
    ints[at + ARGS] = args;
    ints[at + ARGS_END] = argsEnd;
    ints[at + KEY] = key;
    ints[at + KEY_END] = keyEnd;
    ints[at + HASH] = hash;
    ints[at + DB] = db;
  }

  /** An entry's hold on its source ends. */
  private drop(entry: number): void {
    const source = this.sourceAt(entry);
    if (--source.users > 0) return;
    this.sources[source.index] = undefined;
    this.freeSources.push(source.index);
    source.index = -1;
  }

  private freeChain(first: number): void {
    for (let entry = first; entry !== NOTHING;) {
      const next = this.ints[entry * INTS + NEXT]!;
      this.drop(entry);
      this.giveBack(entry);
      entry = next;
    }
  }

  private giveBack(entry: number): void {
    this.ints[entry * INTS + NEXT] = this.free;
    this.free = entry;
  }

  private allocate(): number {
    const { free } = this;
    if (free !== NOTHING) {
      this.free = this.ints[free * INTS + NEXT]!;
      return free;
    }
    if (this.used === this.capacity) this.resize(this.capacity * 2);
    return this.used++;
  }

  // ——— slots

  /** The slot of the key, or the empty one where it would be. */
  private slotOf(db: number, hash: number, buf: Buffer, start: number, end: number): number {
    const { slots, ints } = this;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1;
      if (entry < 0) return slot;
      const at = entry * INTS;
      if (ints[at + HASH] !== hash || ints[at + DB] !== db) continue;
      const from = ints[at + KEY]!;
      if (ints[at + KEY_END]! - from !== end - start) continue;
      if (isEqual(this.sources[ints[at + SOURCE]!]!.payload, from, buf, start, end - start)) return slot;
    }
  }

  private unlink(head: number): void {
    const { slots, ints } = this;
    const mask = slots.length - 1;
    let hole = ints[head * INTS + HASH]! & mask;
    while (slots[hole] !== head + 1) hole = (hole + 1) & mask;
    // What stands behind moves up, unless it would then stand before its own place.
    for (let slot = (hole + 1) & mask; slots[slot]! !== 0; slot = (slot + 1) & mask) {
      const home = ints[(slots[slot]! - 1) * INTS + HASH]! & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = slots[slot]!;
      hole = slot;
    }
    slots[hole] = 0;
    this.keys--;
  }

  private rehash(size: number): void {
    const old = this.slots;
    this.slots = new Int32Array(size);
    const mask = size - 1;
    for (const entry of old) {
      if (entry === 0) continue;
      let slot = this.ints[(entry - 1) * INTS + HASH]! & mask;
      while (this.slots[slot] !== 0) slot = (slot + 1) & mask;
      this.slots[slot] = entry;
    }
  }

  /** Nothing is in it: the memory of a peak is given back. */
  private shrink(): void {
    this.used = 0;
    this.free = NOTHING;
    if (this.slots.length > FIRST_ENTRIES * 2) this.slots = new Int32Array(FIRST_ENTRIES * 2);
    if (this.capacity > FIRST_ENTRIES) this.resize(FIRST_ENTRIES);
  }

  private resize(capacity: number): void {
    const ints = new Int32Array(capacity * INTS);
    ints.set(this.ints.subarray(0, this.used * INTS));
    this.capacity = capacity;
    this.ints = ints;
    this.doubles = new Float64Array(ints.buffer);
  }
}

function isEqual(a: Buffer, aStart: number, b: Buffer, bStart: number, length: number): boolean {
  if (length > 64) return a.compare(b, bStart, bStart + length, aStart, aStart + length) === 0;
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}
