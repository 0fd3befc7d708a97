/**
 * The window: what must be known of recent operations to merge with those still under way (the rule: key-state.ts).
 *
 * Operations leave the window ("fold") when every member has reported to have seen them. What is not in the window is
 * the *base*: the value in Redis, whose parts every operation still to come has seen.
 */
import { FoldQueue } from './fold-queue';
import { FINGERPRINT_WORDS, fingerprintOfText } from './key-hash';
import { type Element, KeyState, NONE, Op, ownBytes, type Put, Type } from './key-state';
import { type OriginTable, seenAt, type Seen } from './origins';
import type { PayloadSource } from './payload-source';
import { RUN_SETS_MAX, type SetRun } from './set-run';
import type { SetSource } from './set-source';
import { SetOutcome, SetTable, type TablePut } from './set-table';

const HASHES = 2 ** 16;

/** Keys whose operations are not yet seen by all members. */
export class Window {
  private readonly byDb: Map<string, KeyState>[] = [];
  private readonly sets: SetTable<KeyState>;
  /** How many states have a key with this hash, so that for most SETs no string has to be made to look for one. */
  private readonly statesByHash = new Uint16Array(HASHES);
  private readonly queues: FoldQueue[] = [];
  /** Keys that some operations of which are seen by all, but not those that they met. */
  private readonly lagging = new Set<KeyState>();
  /**
   * Earlier moments: what all had seen, and the last operation queued of each origin. The first is the latest of which
   * nothing is queued any more.
   */
  private readonly moments: { stable: Seen; queued: readonly number[] }[] = [{ stable: NONE, queued: NONE }];
  /** Operations not yet seen by all. */
  operations = 0;
  /** What every member has reported to have seen, by interned origin. */
  readonly stable: number[] = [];

  /** Heads that are taken out of a queue together. */
  private readonly folding = new Int32Array(RUN_SETS_MAX);

  /** @param payloads where records' bytes can be had again; absent: they are kept */
  constructor(
    readonly origins: OriginTable,
    payloads?: PayloadSource,
  ) {
    this.sets = new SetTable(origins, payloads);
  }

  /** Bytes of the records' payloads that plain SETs keep. */
  get payloadBytes(): number {
    return this.sets.payloadBytes;
  }

  /** Bytes of memory for plain SETs, payloads left out, and for the order of all operations; what else is known of keys comes on top. */
  get bytes(): number {
    let { bytes } = this.sets;
    for (const queue of this.queues) bytes += queue.bytes;
    return bytes;
  }

  get keys(): number {
    let n = this.sets.keys;
    for (const map of this.byDb) n += map?.size ?? 0;
    return n;
  }

  find(db: number, key: string): KeyState | undefined {
    const state = this.byDb[db]?.get(key);
    if (state !== undefined || this.sets.keys === 0) return state;
    const head = this.sets.find(db, key);
    return head < 0 ? undefined : this.expand(head, db, key);
  }

  ensure(db: number, key: string): KeyState {
    let state = this.find(db, key);
    if (state === undefined) {
      state = new KeyState(db, key);
      this.add(state);
    }
    return state;
  }

  private add(state: KeyState): void {
    this.map(state.db).set(state.key, state);
    this.statesByHash[hashOf(state.key)]!++;
  }

  /** Makes a state of a key of which nothing but SETs was known. */
  private expand(head: number, db: number, key: string): KeyState {
    const state = new KeyState(db, key);
    const puts: Put[] = [];
    for (const { origin, position, stamp, seen, kept, value } of this.sets.puts(head)) {
      const op = new Op(origin, position, stamp, seen);
      puts.push(kept === null ? new StoredPut(op, value) : { op, value: ownBytes(kept) });
      state.wipe(op);
      state.note(op);
      if (seenAt(this.stable, origin) >= position) state.lagging = true;
    }
    const element = state.element(Type.string, '');
    element.puts = puts;
    state.unstable = state.unstableKeyOps = this.sets.references(head);
    if (state.lagging) this.lagging.add(state);
    this.sets.leave(head, state);
    this.add(state);
    return state;
  }

  private expandAll(db?: number): void {
    for (const head of this.sets.heads(db)) {
      const known = this.sets.keyOf(head);
      this.expand(head, known.db, known.key);
    }
  }

  private map(db: number): Map<string, KeyState> {
    while (this.byDb.length <= db) this.byDb.push(new Map());
    return this.byDb[db]!;
  }

  *states(db?: number): IterableIterator<KeyState> {
    this.expandAll(db);
    for (let i = 0; i < this.byDb.length; i++) if (db === undefined || db === i) yield* this.byDb[i]!.values();
  }

  /** Begins to note SETs of a record; `close` ends it. */
  open(source: SetSource): void {
    this.sets.open(source);
  }

  close(source: SetSource): void {
    this.sets.close(source);
  }

  /** To be called before the SETs of a run are noted. */
  touch(run: SetRun): void {
    this.sets.touch(run);
  }

  /**
   * Notes a plain SET, the `i`-th of a run, where nothing but such is known of the key.
   * @param payload the record's
   * @param meets whether it may meet SETs that it has not seen
   * @returns `complex` where there is more to it; nothing was noted then
   */
  set(run: SetRun, i: number, source: SetSource, payload: Buffer, meets: boolean): SetOutcome {
    if (
      this.statesByHash[run.fingerprints[i * FINGERPRINT_WORDS]! & (HASHES - 1)] !== 0 &&
      this.byDb[source.db]?.has(payload.toString('latin1', run.keys[i], run.keyEnds[i])) === true
    )
      return SetOutcome.complex;
    const outcome = this.sets.set(run, i, source, meets);
    if (outcome === SetOutcome.complex) return outcome;
    this.operations++;
    this.queue(source.origin).push(this.sets.head, source.base + run.ends[i]!);
    return outcome;
  }

  /** The live puts of the key that the last `set` was about. */
  lastPuts(): IterableIterator<TablePut> {
    return this.sets.puts(this.sets.head);
  }

  private queue(origin: number): FoldQueue {
    while (this.queues.length <= origin) this.queues.push(new FoldQueue());
    return this.queues[origin]!;
  }

  /** Counts `op` as known on the key; `element` is null for what concerns the whole key. */
  note(state: KeyState, op: Op, element: Element | null): void {
    state.note(op);
    state.unstable++;
    if (element === null) state.unstableKeyOps++;
    else element.unstable++;
    this.operations++;
    this.queue(op.origin).pushOf(state, element, op.position);
  }

  /** The lowest position per origin that the window still needs; what is before may leave the journal. */
  lowWater(): Map<number, number> {
    const low = new Map<number, number>();
    for (let o = 0; o < this.queues.length; o++) {
      const first = this.queues[o]!.first();
      if (first !== undefined) low.set(o, first);
    }
    // Seen by all, and still needed: what is under way has not seen it, and is to be compared with it.
    const lower = (origin: number, position: number): void => {
      if ((low.get(origin) ?? Infinity) > position) low.set(origin, position);
    };
    const bound = this.boundOfSets();
    if (bound !== null) for (let o = 0; o < this.stable.length; o++) lower(o, seenAt(bound, o) + 1);
    for (const state of this.lagging) {
      state.eachHeld(lower);
      // Deletes too, of which the window has only the effect: Redis may not have it yet.
      if (state.isHeld) for (let o = 0; o < this.stable.length; o++) lower(o, seenAt(state.heldFrom, o) + 1);
    }
    return low;
  }

  /**
   * A SET that all have seen may still stand beside one that had not seen it. When that one came, not all had seen the
   * first: so none is older than what all had seen when the oldest operation that is still queued came.
   * @returns that, or what all had seen somewhat earlier; null where there is no such SET
   */
  private boundOfSets(): Seen | null {
    const { moments } = this;
    if (this.sets.keys === 0) {
      moments.splice(0, Infinity, { stable: this.stable.slice(), queued: NONE });
      return null;
    }
    const hasLeft = ({ queued }: { queued: readonly number[] }): boolean =>
      queued.every((position, o) => (this.queues[o]!.first() ?? Infinity) > position);
    moments.push({ stable: this.stable.slice(), queued: this.queues.map((queue) => queue.last() ?? -1) });
    while (moments.length > 1 && hasLeft(moments[1]!)) moments.shift();
    return moments[0]!.stable;
  }

  /** Before anything is noted: so far every member has seen the origin. */
  begin(origin: number, position: number): void {
    this.stabilise(origin, position);
    this.moments.splice(0, Infinity, { stable: this.stable.slice(), queued: NONE });
  }

  /** Every member has seen the origin's operations up to `position`. */
  stabilise(origin: number, position: number): void {
    while (this.stable.length <= origin) this.stable.push(-1);
    if (this.stable[origin]! >= position) return;
    this.stable[origin] = position;
    const queue = this.queues[origin];
    if (queue === undefined) return;
    const { folding } = this;
    for (;;) {
      const heads = queue.shiftHeads(position, folding);
      this.sets.touchHeads(folding, heads);
      this.operations -= heads;
      for (let i = 0; i < heads; i++) {
        const state = this.sets.release(folding[i]!);
        if (state !== undefined) this.fold(state, null);
      }
      if (heads > 0) continue;
      const other = queue.shiftOther(position);
      if (other === undefined) return;
      this.operations--;
      this.fold(other.state, other.element);
    }
  }

  /** One of the key's operations is seen by all. */
  private fold(state: KeyState, element: Element | null): void {
    state.unstable--;
    if (element === null) state.unstableKeyOps--;
    else element.unstable--;
    if (this.release(state)) return;
    if (!state.lagging) {
      state.lagging = true;
      this.lagging.add(state);
    }
    if (element !== null && element.unstable === 0 && element.type !== Type.string) this.foldElement(state, element);
  }

  /** Something begins to hold a key. */
  hold(state: KeyState): void {
    if (!state.isHeld) state.heldFrom = this.stable.slice();
  }

  /** Lets a key go of which all is seen by all: its value in Redis is then the base of whatever comes. */
  release(state: KeyState): boolean {
    if (state.unstable > 0 || state.isHeld) return false;
    const map = this.byDb[state.db];
    if (map?.get(state.key) === state) {
      map.delete(state.key);
      this.statesByHash[hashOf(state.key)]!--;
    }
    if (state.lagging) this.lagging.delete(state);
    return true;
  }

  /**
   * An element of a key that others keep writing folds by itself, but only while nothing unstable concerns the whole
   * key: an operation folds when every member, *and every operation of that key in the window*, has seen it.
   */
  private foldElement(state: KeyState, element: Element): void {
    // With several types, which of them stands hangs on all that lives.
    if (state.unstableKeyOps > 0 || state.isHeld || state.onlyType !== element.type) return;
    state.members?.delete(element.type + element.name);
    state.deadTypes &= ~(1 << element.type);
  }

  /** Drops a settled key whose operations everybody has seen. */
  settle(state: KeyState): void {
    state.unsettled = false;
    state.ttlDoubted = false;
    state.settler = null;
    state.refusals = 0;
    this.release(state);
  }

  /** Forgets a database's keys (after FLUSHDB only what the flush had seen is gone: see core). */
  swap(a: number, b: number): void {
    this.map(Math.max(a, b));
    for (const db of [a, b]) this.expandAll(db);
    const states = this.byDb[a]!;
    this.byDb[a] = this.byDb[b]!;
    this.byDb[b] = states;
    for (const db of [a, b]) for (const state of this.byDb[db]!.values()) state.db = db;
  }
}

/** Its value is in the journal, and is read when somebody wants it: mostly another put wins. */
class StoredPut implements Put {
  private read: (() => Buffer) | null;
  private known: Buffer | null = null;

  constructor(
    readonly op: Op,
    read: () => Buffer,
  ) {
    this.read = read;
  }

  /** @throws where the record can't be read again */
  get value(): Buffer {
    if (this.read !== null) {
      this.known = ownBytes(this.read());
      this.read = null;
    }
    return this.known!;
  }
}

const scratch = new Int32Array(FINGERPRINT_WORDS);

/** Of a key in whatever database. */
function hashOf(key: string): number {
  fingerprintOfText(0, key, scratch);
  return scratch[0]! & (HASHES - 1);
}
