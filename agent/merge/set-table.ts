/**
 * The part of the window that holds keys of which nothing is known but plain `SET key value`: nearly all of them, where
 * strings are written. Such a key costs some 45 bytes here and no object, for a busy mesh has hundreds of thousands. It is known by
 * its fingerprint (key-hash.ts); the bytes of key and value stay in the record (set-source.ts).
 *
 * An entry is one live put. The puts of a key, which have not seen each other, are chained behind the first, its *head*,
 * which stands for the key as long as the fold queues know of operations on it. What a put has seen it removes; so an
 * operation has seen everything known of the key exactly when it has seen all live puts.
 *
 * A key that anything else meets leaves the table and becomes a KeyState; its head then only leads there.
 *
 * Nearly each step in a big table waits for memory. Hence what is in one cache line, and the `touch`es: what many steps will need is
 * asked for at once.
 */
import { FINGERPRINT_WORDS, fingerprintOfText } from './key-hash';
import { type OriginTable, seenAt, type Seen } from './origins';
import { RUN_SETS_MAX, type SetRun } from './set-run';
import { argsIn, type SetPlace, type SetSource, type SetSources, type StoredSource } from './set-source';

/** A live put, as read back. */
export interface TablePut {
  readonly origin: number;
  readonly position: number;
  readonly stamp: number;
  /** Number of the operation in its record, by which its stamp is later than that's. */
  readonly index: number;
  readonly seen: Seen;
  readonly at: SetPlace;
  /** Its arguments in RESP, a view of what is kept of its record; null: they have to be read again. */
  readonly args: Buffer | null;
  /** Whether they could be read again now. */
  readonly isStored: boolean;
  /**
   * To be shown, and not to be written anywhere: it may have been read without its record's checksum.
   * @throws where the record can't be read again
   */
  readonly value: () => Buffer;
}

/** A live put whose record can be read again. */
export interface StoredSet extends StoredSource {
  readonly index: number;
  readonly end: number;
  readonly argsBytes: number;
}

export function positionOf({ place, payloadBytes, end }: StoredSet): number {
  return place.end - payloadBytes + end;
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

// An entry: eight 32-bit integers, half a cache line. The fingerprint's words, then:
const SOURCE = 3;
/** Where the command ends in the source's payload: by this its position, and its bytes. */
const END = 4;
/**
 * Number of the operation in its record: by this its stamp. From INDEX_BITS on the size of its arguments, by which they are found; where
 * either is too big it is the number alone, inverted.
 */
const INDEX = 5;
const INDEX_BITS = 20;
const INDEX_MASK = (1 << INDEX_BITS) - 1;
const ARGS_BYTES_MAX = (1 << (31 - INDEX_BITS)) - 1;
/** The next put of the key, or of the free list. */
const NEXT = 6;
/** Of a head: how many entries of fold queues lead to it. Else 0. */
const REFERENCES = 7;
const ENTRY_SHIFT = 3;

function packed(index: number, argsBytes: number): number {
  return index <= INDEX_MASK && argsBytes <= ARGS_BYTES_MAX ? index | (argsBytes << INDEX_BITS) : ~index;
}

/** Entries come in chunks: growing copies nothing, and takes no more than is needed. */
const CHUNK_SHIFT = 15;
const CHUNK_ENTRIES = 1 << CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_ENTRIES - 1;

/**
 * The slots are many small tables, by the hash's first bits: one that grows keeps nobody waiting. They grow by a quarter when they are
 * four fifths full: by twice, all of them about the same time, a table would have two slots for each key half of the time.
 */
const SEGMENT_SHIFT = 24;
const SEGMENTS = 1 << (32 - SEGMENT_SHIFT);
const SEGMENT_SLOTS_MIN = 8;
const HASH_REST = (1 << SEGMENT_SHIFT) - 1;

/** Where the slot of a hash would be in its segment, were all others free: by the bits that the segment leaves. */
function homeOf(hash: number, segment: Int32Array): number {
  return (((hash & HASH_REST) * (segment.length >> 1)) / (HASH_REST + 1)) << 1;
}

/** The slot behind, in a ring. */
function behind(slot: number, segment: Int32Array): number {
  return slot + 2 === segment.length ? 0 : slot + 2;
}

/** From a slot on to another. */
function distance(from: number, to: number, segment: Int32Array): number {
  return to >= from ? to - from : to - from + segment.length;
}

const NOTHING = -1;

export class SetTable<State extends object> {
  private chunks: Int32Array[] = [];
  private free = NOTHING;
  private used = 0;
  /** Length of the free list. */
  private spare = 0;
  /** Open addressing over heads. A slot is the hash, and the entry + 1; 0 there: it is empty. */
  private segments: Int32Array[] = [];
  /** How many slots of each segment are taken. */
  private readonly taken = new Int32Array(SEGMENTS);
  /** Where the keys of heads that have left the table went. */
  private readonly left = new Map<number, State>();
  private readonly found = new Int32Array(RUN_SETS_MAX);
  private readonly wanted = new Int32Array(FINGERPRINT_WORDS);
  /** What was touched, added up: so that no compiler finds that nobody wants it. */
  private sum = 0;
  /** Keys in the table. */
  keys = 0;
  /** The head that the last `set` noted its operation on. */
  head = NOTHING;

  constructor(
    private readonly origins: OriginTable,
    private readonly sources: SetSources,
  ) {
    this.clear();
  }

  /** Bytes of memory that it holds, payloads left out. */
  get bytes(): number {
    let bytes = this.chunks.length * CHUNK_ENTRIES * 4 * 8;
    for (const segment of this.segments) bytes += segment.byteLength;
    return bytes;
  }

  /** Entries in use. */
  get entries(): number {
    return this.used - this.spare;
  }

  /** From here until `close` SETs of this source are noted. */
  open(source: SetSource): void {
    this.sources.use(source);
  }

  close(source: SetSource): void {
    this.sources.drop(source.index);
  }

  /** To be called before the SETs of a run are noted. */
  touch({ fingerprints, size }: SetRun): void {
    const { segments, chunks, found } = this;
    let { sum } = this;
    for (let i = 0; i < size; i++) {
      const hash = fingerprints[i * FINGERPRINT_WORDS]!;
      const segment = segments[hash >>> SEGMENT_SHIFT]!;
      sum ^= segment[homeOf(hash, segment) + 1]!;
    }
    let n = 0;
    for (let i = 0; i < size; i++) {
      const hash = fingerprints[i * FINGERPRINT_WORDS]!;
      const segment = segments[hash >>> SEGMENT_SHIFT]!;
      const slot = homeOf(hash, segment);
      if (segment[slot] === hash && segment[slot + 1] !== 0) found[n++] = segment[slot + 1]! - 1;
    }
    for (let i = 0; i < n; i++) {
      const entry = found[i]!;
      sum ^= chunks[entry >> CHUNK_SHIFT]![(entry & CHUNK_MASK) << ENTRY_SHIFT]!;
    }
    this.sum = sum;
  }

  /**
   * Notes the `i`-th SET of a run, and counts one reference to `head` for the caller's fold queue.
   * @param meets whether it may stand beside puts that it has not seen; if not, that is `complex`
   */
  set(run: SetRun, i: number, source: SetSource, meets: boolean): SetOutcome {
    const { fingerprints } = run;
    const at = i * FINGERPRINT_WORDS;
    const hash = fingerprints[at]!;
    const segment = this.segments[hash >>> SEGMENT_SHIFT]!;
    const slot = this.slotOf(segment, hash, fingerprints[at + 1]!, fingerprints[at + 2]!);
    const found = segment[slot + 1]! - 1;
    if (found < 0) {
      const entry = this.allocate();
      this.write(entry, run, i, source);
      const chunk = this.chunks[entry >> CHUNK_SHIFT]!;
      const place = (entry & CHUNK_MASK) << ENTRY_SHIFT;
      chunk[place + NEXT] = NOTHING;
      chunk[place + REFERENCES] = 1;
      segment[slot] = hash;
      segment[slot + 1] = entry + 1;
      this.keys++;
      this.take(hash >>> SEGMENT_SHIFT);
      this.head = entry;
      return SetOutcome.quiet;
    }
    const chunk = this.chunks[found >> CHUNK_SHIFT]!;
    const place = (found & CHUNK_MASK) << ENTRY_SHIFT;
    const unseen = this.countUnseen(found, source);
    if (unseen > 0 && !meets) return SetOutcome.complex;
    chunk[place + REFERENCES]!++;
    this.head = found;
    if (unseen === 0) {
      this.freeChain(chunk[place + NEXT]!);
      this.sources.drop(chunk[place + SOURCE]!);
      this.write(found, run, i, source);
      chunk[place + NEXT] = NOTHING;
      return SetOutcome.quiet;
    }
    this.removeSeen(found, source);
    const entry = this.allocate();
    this.write(entry, run, i, source);
    this.put(entry, NEXT, chunk[place + NEXT]!);
    this.put(entry, REFERENCES, 0);
    chunk[place + NEXT] = entry;
    return this.winner(found) === entry ? SetOutcome.wins : SetOutcome.loses;
  }

  /**
   * Takes in the live puts of a key that it does not know, whose records can be read again. References are the caller's to count.
   * @returns the key's head
   */
  adopt(fingerprint: ArrayLike<number>, at: number, puts: readonly StoredSet[]): number {
    const hash = fingerprint[at]!;
    const segment = this.segments[hash >>> SEGMENT_SHIFT]!;
    const slot = this.slotOf(segment, hash, fingerprint[at + 1]!, fingerprint[at + 2]!);
    let next = NOTHING;
    for (const put of puts) {
      const entry = this.allocate();
      for (let i = 0; i < FINGERPRINT_WORDS; i++) this.put(entry, i, fingerprint[at + i]!);
      this.put(entry, SOURCE, this.sources.use(this.sources.stored(put)));
      this.put(entry, END, put.end);
      this.put(entry, INDEX, packed(put.index, put.argsBytes));
      this.put(entry, NEXT, next);
      this.put(entry, REFERENCES, 0);
      next = entry;
    }
    segment[slot] = hash;
    segment[slot + 1] = next + 1;
    this.keys++;
    this.take(hash >>> SEGMENT_SHIFT);
    return next;
  }

  /** One more entry of a fold queue leads to a head. */
  refer(head: number): void {
    this.put(head, REFERENCES, this.get(head, REFERENCES) + 1);
  }

  /** Whether a key has a head, by its fingerprint. */
  has(fingerprint: ArrayLike<number>, at: number): boolean {
    const segment = this.segments[fingerprint[at]! >>> SEGMENT_SHIFT]!;
    return segment[this.slotOf(segment, fingerprint[at]!, fingerprint[at + 1]!, fingerprint[at + 2]!) + 1]! > 0;
  }

  /** The place of a key's head, NOTHING where the table does not know it. */
  find(db: number, key: string): number {
    const { wanted } = this;
    fingerprintOfText(db, key, wanted);
    const segment = this.segments[wanted[0]! >>> SEGMENT_SHIFT]!;
    return segment[this.slotOf(segment, wanted[0]!, wanted[1]!, wanted[2]!) + 1]! - 1;
  }

  /** @throws where the record can't be read again */
  keyOf(head: number): { db: number; key: string } {
    const source = this.sourceAt(head);
    return { db: source.db, key: this.sources.read(source, this.get(head, END), this.argsBytesOf(head)).key };
  }

  /** References that the fold queues have to a key. */
  references(head: number): number {
    return this.get(head, REFERENCES);
  }

  /** The live puts of a key. */
  *puts(head: number): IterableIterator<TablePut> {
    for (let entry = head; entry !== NOTHING; entry = this.get(entry, NEXT)) {
      const source = this.sourceAt(entry);
      const { origin, seen, place, payloadBytes, payload } = source;
      const end = this.get(entry, END);
      const at = { place, payloadBytes, end, argsBytes: this.argsBytesOf(entry) };
      const args = payload === null ? null : argsIn(payload, at);
      const isStored = payload === null || this.sources.has(source);
      const { sources } = this;
      const value = (): Buffer => (args === null ? sources.glanceAt(at) : sources.valueIn(args));
      const index = this.indexOf(entry);
      const stamp = source.stamp + index;
      yield { origin, position: source.base + end, stamp, index, seen, at, args, isStored, value };
    }
  }

  /** The fingerprint of a key's head, and its database. */
  identity(head: number): { fingerprint: Int32Array; db: number } {
    const place = (head & CHUNK_MASK) << ENTRY_SHIFT;
    const fingerprint = this.chunks[head >> CHUNK_SHIFT]!.subarray(place, place + FINGERPRINT_WORDS);
    return { fingerprint, db: this.sourceAt(head).db };
  }

  /** The position of an origin's live put of a key, −1 for none. */
  positionOf(head: number, origin: number): number {
    for (let entry = head; entry !== NOTHING; entry = this.get(entry, NEXT)) {
      const source = this.sourceAt(entry);
      if (source.origin === origin) return source.base + this.get(entry, END);
    }
    return -1;
  }

  /** Where the key of a head went that has left the table. */
  stateOf(head: number): State | undefined {
    return this.get(head, SOURCE) === NOTHING ? this.left.get(head) : undefined;
  }

  /** The heads of all keys of a database, or of all: in an order that has nothing to do with what keys hash to. */
  heads(db?: number): number[] {
    const heads: number[] = [];
    for (let entry = 0; entry < this.used; entry++)
      if (this.get(entry, REFERENCES) > 0 && this.get(entry, SOURCE) !== NOTHING)
        if (db === undefined || this.sourceAt(entry).db === db) heads.push(entry);
    return heads;
  }

  /** The key leaves the table: what the fold queues hold of it now leads to `state`. */
  leave(head: number, state: State): void {
    this.unlink(head);
    this.freeChain(this.get(head, NEXT));
    this.put(head, NEXT, NOTHING);
    this.sources.drop(this.get(head, SOURCE));
    // So that nobody has to look among those that have left for one that is here.
    this.put(head, SOURCE, NOTHING);
    this.left.set(head, state);
  }

  /** To be called before heads are released. */
  touchHeads(heads: Int32Array, size: number): void {
    const { chunks, segments } = this;
    let { sum } = this;
    for (let i = 0; i < size; i++) {
      const head = heads[i]!;
      sum ^= chunks[head >> CHUNK_SHIFT]![(head & CHUNK_MASK) << ENTRY_SHIFT]!;
    }
    for (let i = 0; i < size; i++) {
      const head = heads[i]!;
      const hash = chunks[head >> CHUNK_SHIFT]![(head & CHUNK_MASK) << ENTRY_SHIFT]!;
      const segment = segments[hash >>> SEGMENT_SHIFT]!;
      sum ^= segment[homeOf(hash, segment) + 1]!;
    }
    this.sum = sum;
  }

  /**
   * One reference less.
   * @returns the key's state where it has left the table
   */
  release(head: number): State | undefined {
    const chunk = this.chunks[head >> CHUNK_SHIFT]!;
    const place = (head & CHUNK_MASK) << ENTRY_SHIFT;
    const state = chunk[place + SOURCE] === NOTHING ? this.left.get(head) : undefined;
    if (--chunk[place + REFERENCES]! > 0) return state;
    if (state === undefined) {
      this.unlink(head);
      this.freeChain(chunk[place + NEXT]!);
      this.sources.drop(chunk[place + SOURCE]!);
    } else this.left.delete(head);
    this.giveBack(head);
    if (this.keys === 0 && this.left.size === 0) this.clear();
    return state;
  }

  // ——— chains

  private countUnseen(head: number, { origin, seen }: SetSource): number {
    let unseen = 0;
    for (let entry = head; entry !== NOTHING; entry = this.get(entry, NEXT))
      if (!this.isSeen(entry, origin, seen)) unseen++;
    return unseen;
  }

  private isSeen(entry: number, origin: number, seen: Seen): boolean {
    const source = this.sourceAt(entry);
    return source.origin === origin || seenAt(seen, source.origin) >= source.base + this.get(entry, END);
  }

  /** Removes the puts that are seen; at least one is not. The head stays the head: it takes over what is behind it. */
  private removeSeen(head: number, { origin, seen }: SetSource): void {
    let before = head;
    for (let entry = this.get(head, NEXT); entry !== NOTHING;) {
      const next = this.get(entry, NEXT);
      if (this.isSeen(entry, origin, seen)) {
        this.put(before, NEXT, next);
        this.sources.drop(this.get(entry, SOURCE));
        this.giveBack(entry);
      } else before = entry;
      entry = next;
    }
    if (!this.isSeen(head, origin, seen)) return;
    const second = this.get(head, NEXT);
    this.sources.drop(this.get(head, SOURCE));
    for (const field of [SOURCE, END, INDEX, NEXT]) this.put(head, field, this.get(second, field));
    this.giveBack(second);
  }

  private winner(head: number): number {
    let best = head;
    for (let entry = this.get(head, NEXT); entry !== NOTHING; entry = this.get(entry, NEXT)) {
      const [a, b] = [this.stampOf(entry), this.stampOf(best)];
      if (a > b || (a === b && this.origins.outranks(this.sourceAt(entry).origin, this.sourceAt(best).origin)))
        best = entry;
    }
    return best;
  }

  // ——— entries

  private get(entry: number, field: number): number {
    return this.chunks[entry >> CHUNK_SHIFT]![((entry & CHUNK_MASK) << ENTRY_SHIFT) + field]!;
  }

  private put(entry: number, field: number, value: number): void {
    this.chunks[entry >> CHUNK_SHIFT]![((entry & CHUNK_MASK) << ENTRY_SHIFT) + field] = value;
  }

  private sourceAt(entry: number): SetSource {
    return this.sources.at(this.get(entry, SOURCE));
  }

  private stampOf(entry: number): number {
    return this.sourceAt(entry).stamp + this.indexOf(entry);
  }

  private indexOf(entry: number): number {
    const index = this.get(entry, INDEX);
    return index < 0 ? ~index : index & INDEX_MASK;
  }

  /** 0: not known. */
  private argsBytesOf(entry: number): number {
    return Math.max(0, this.get(entry, INDEX)) >> INDEX_BITS;
  }

  private write(entry: number, { fingerprints, args, ends, indices }: SetRun, i: number, source: SetSource): void {
    const chunk = this.chunks[entry >> CHUNK_SHIFT]!;
    const place = (entry & CHUNK_MASK) << ENTRY_SHIFT;
    const at = i * FINGERPRINT_WORDS;
    chunk[place] = fingerprints[at]!;
    chunk[place + 1] = fingerprints[at + 1]!;
    chunk[place + 2] = fingerprints[at + 2]!;
    chunk[place + SOURCE] = this.sources.use(source);
    chunk[place + END] = ends[i]!;
    chunk[place + INDEX] = packed(indices[i]!, ends[i]! - args[i]!);
  }

  private freeChain(first: number): void {
    for (let entry = first; entry !== NOTHING;) {
      const next = this.get(entry, NEXT);
      this.sources.drop(this.get(entry, SOURCE));
      this.giveBack(entry);
      entry = next;
    }
  }

  private giveBack(entry: number): void {
    this.put(entry, NEXT, this.free);
    this.put(entry, REFERENCES, 0);
    this.free = entry;
    this.spare++;
  }

  private allocate(): number {
    const { free } = this;
    if (free !== NOTHING) {
      this.free = this.get(free, NEXT);
      this.spare--;
      return free;
    }
    if (this.used === this.chunks.length * CHUNK_ENTRIES) this.chunks.push(new Int32Array(CHUNK_ENTRIES * 8));
    return this.used++;
  }

  // ——— slots

  /** The slot of the key in its segment, or the empty one where it would be. */
  private slotOf(segment: Int32Array, hash: number, second: number, third: number): number {
    for (let slot = homeOf(hash, segment); ; slot = behind(slot, segment)) {
      const entry = segment[slot + 1]! - 1;
      if (entry < 0) return slot;
      if (segment[slot] !== hash) continue;
      const chunk = this.chunks[entry >> CHUNK_SHIFT]!;
      const place = (entry & CHUNK_MASK) << ENTRY_SHIFT;
      if (chunk[place + 1] === second && chunk[place + 2] === third) return slot;
    }
  }

  private unlink(head: number): void {
    const hash = this.get(head, 0);
    const segment = this.segments[hash >>> SEGMENT_SHIFT]!;
    let hole = homeOf(hash, segment);
    while (segment[hole + 1] !== head + 1) hole = behind(hole, segment);
    // What stands behind moves up, unless it would then stand before its own place.
    for (let slot = behind(hole, segment); segment[slot + 1] !== 0; slot = behind(slot, segment)) {
      if (distance(homeOf(segment[slot]!, segment), slot, segment) < distance(hole, slot, segment)) continue;
      segment[hole] = segment[slot]!;
      segment[hole + 1] = segment[slot + 1]!;
      hole = slot;
    }
    segment[hole + 1] = 0;
    this.taken[hash >>> SEGMENT_SHIFT]!--;
    this.keys--;
  }

  /** One more slot of a segment is taken. */
  private take(at: number): void {
    const old = this.segments[at]!;
    if (++this.taken[at]! * 5 <= old.length * 2) return;
    const segment = new Int32Array(old.length + ((old.length >> 3) << 1));
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] === 0) continue;
      let slot = homeOf(old[i]!, segment);
      while (segment[slot + 1] !== 0) slot = behind(slot, segment);
      segment[slot] = old[i]!;
      segment[slot + 1] = old[i + 1]!;
    }
    this.segments[at] = segment;
  }

  /** Nothing is in it: the memory of a peak is given back. */
  private clear(): void {
    this.used = this.spare = 0;
    this.free = NOTHING;
    if (this.chunks.length > 1) this.chunks = [];
    for (let i = 0; i < SEGMENTS; i++)
      if (this.segments[i]?.length !== SEGMENT_SLOTS_MIN * 2) this.segments[i] = new Int32Array(SEGMENT_SLOTS_MIN * 2);
  }
}
