/**
 * The window: what must be known of recent operations to merge with those still under way (the rule: key-state.ts).
 *
 * Operations leave the window ("fold") when every member has reported to have seen them. What is not in the window is
 * the *base*: the value in Redis, whose parts every operation still to come has seen.
 */
import type { Needed } from './effects';
import { ElementShelf } from './element-shelf';
import { EntryShelf } from './entry-shelf';
import { FoldQueue, type Shifted } from './fold-queue';
import { FINGERPRINT_WORDS, fingerprintOfText } from './key-hash';
import { type StateParts, topsOf } from './key-parts';
import { type Element, KeyState, NONE, Op, ownBytes, type Put, Type } from './key-state';
import { areSeen, type OriginTable, raise, seenAt, type Seen } from './origins';
import type { PayloadSource } from './payload-source';
import { RUN_SETS_MAX, type SetRun } from './set-run';
import { type SetSource, SetSources, StoredPut } from './set-source';
import { positionOf, SetOutcome, SetTable, type StoredSet, type TablePut } from './set-table';
import { Shelf, ShelfBatch, type ShelfFiles } from './shelf';
import { isOfElement, readEntry, readStoredSets, writeParts, writeSets } from './shelf-entry';
import { StreamEntry } from './stream-entries';

const HASHES = 2 ** 18;

/** Where the window goes beyond its budget. */
export interface ShelfOptions {
  readonly files: ShelfFiles;
  /** Memory that the window may take, in bytes, as far as it is counted (`load`). */
  readonly budgetBytes: number;
  /** Operations that go to the shelf at once. Default: 32 Ki, some 50 ms during which nothing else happens. */
  readonly operations?: number;
  /** Memory beyond which a key is large: what of it is old goes without the rest. Default: a share of the budget. */
  readonly largeBytes?: number;
}

/** What counts in memory: a SET of the table with its slots, an operation in a fold queue, a record that SETs refer to. */
const SET_BYTES = 48;
const QUEUED_BYTES = 6;
const SOURCE_BYTES = 350;
const SHELVE_OPERATIONS = 32 * 1024;
/** By an operation on an element of a large key that goes. */
const SHELVED_BYTES = 250;
/** Of the budget, what is made room for at once; where nothing can go, the window grows by as much before it is tried again. */
const TRIM_SHARE = 1 / 16;
/** The window goes in so many steps, if all of it does. */
const TRIM_STEPS = 64;
/** Of the budget, and on top of it: what tells fast that a key is not on the shelf. */
const FILTERS_SHARE = 1 / 4;
/** Of the budget, what a key may take as a whole. */
const LARGE_SHARE = 1 / 64;

const MOMENTS_MAX = 256;

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
  /** While what was before a restart is noted: up to where nothing of each origin is, as it was not needed any more. */
  private readonly begun: number[] = [];
  /** Keys of operations that had not seen all of that, by database and name. */
  private readonly patchy = new Set<string>();
  /** Operations not yet seen by all. */
  operations = 0;
  /** What every member has reported to have seen, by interned origin. */
  readonly stable: number[] = [];

  /** Heads that are taken out of a queue together. */
  private readonly folding = new Int32Array(RUN_SETS_MAX);

  private readonly sources: SetSources;
  private readonly shelf: Shelf | null;
  private readonly entries: EntryShelf | null;
  private readonly elements: ElementShelf | null;
  private readonly budgetBytes: number;
  private readonly largeBytes: number;
  private readonly shelveOperations: number;
  /** Load at which the window is trimmed. */
  private trimAt: number;
  /** Bytes of the states, roughly. */
  private stateBytes = 0;
  /** Keys of which operations have made room for newer ones, before all had seen them. */
  private readonly early = new Set<KeyState>();
  /** Large keys of which operations have just done so. */
  private readonly large = new Set<KeyState>();
  /** Position of the last operation that went to the shelf, by origin. */
  private readonly shelvedTo: number[] = [];
  private readonly shifted: Shifted = { head: 0, other: null, position: 0 };
  /** For the head of a key that was written to the shelf while fold queues still refer to it. */
  private readonly gone = new KeyState(0, '');
  /** Bytes of those, roughly, that will have gone when it is over. */
  private toGo = 0;
  /** Told of a key that comes back from the shelf and was not in the window. */
  returned: (state: KeyState) => void = () => undefined;
  /** Whether nothing that was planned for a key is still on its way to Redis. */
  isAtRest: (state: KeyState) => boolean = () => true;
  /** Whether an operation is in Redis, and all that clients of this region do from now on has seen it. */
  hasLanded: (op: Op) => boolean = () => true;

  /**
   * @param payloads where records' bytes can be had again; absent: they are kept
   * @param shelf absent: memory has to do
   */
  constructor(
    readonly origins: OriginTable,
    payloads?: PayloadSource,
    shelf?: ShelfOptions,
  ) {
    this.sources = new SetSources(payloads);
    this.sets = new SetTable(origins, this.sources);
    this.shelf = shelf === undefined ? null : new Shelf(shelf.files, shelf.budgetBytes * FILTERS_SHARE);
    const host = {
      stable: this.stable,
      hasLanded: (op: Op) => this.hasLanded(op),
      weigh: (state: KeyState) => void this.weigh(state),
      noteLate: (...late: [KeyState, Element, number, number]) => this.noteLate(...late),
    };
    this.entries = this.shelf === null ? null : new EntryShelf(origins, this.shelf, this.sources, host);
    this.elements = this.shelf === null ? null : new ElementShelf(this.shelf, host);
    this.trimAt = this.budgetBytes = shelf?.budgetBytes ?? Infinity;
    this.largeBytes = shelf?.largeBytes ?? this.budgetBytes * LARGE_SHARE;
    this.shelveOperations = shelf?.operations ?? SHELVE_OPERATIONS;
    this.gone.isGone = true;
  }

  /** Bytes of the records' payloads that plain SETs keep. */
  get payloadBytes(): number {
    return this.sources.bytes;
  }

  /** Bytes of memory in use, roughly, payloads left out: what is held against the budget. */
  get load(): number {
    return (
      this.sets.entries * SET_BYTES +
      this.operations * QUEUED_BYTES +
      this.sources.size * SOURCE_BYTES +
      this.stateBytes
    );
  }

  /** What is on the shelf: bytes, keys (of one that came back and went again all of them), blocks read so far. */
  get shelved(): { bytes: number; keys: number; reads: number } {
    const { shelf } = this;
    return { bytes: shelf?.bytes ?? 0, keys: shelf?.entries ?? 0, reads: shelf?.reads ?? 0 };
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

  /**
   * @param op what looks for it; absent: something that may not have seen what the shelf holds
   * @param needed of its elements: others may stay on the shelf; absent: all
   */
  find(db: number, key: string, op?: Op, needed?: Needed): KeyState | undefined {
    const state = this.look(db, key, op);
    if (state !== undefined) this.bring(state, needed, op);
    return state;
  }

  private look(db: number, key: string, op?: Op): KeyState | undefined {
    let state = this.byDb[db]?.get(key);
    if (state === undefined && this.sets.keys > 0) {
      const head = this.sets.find(db, key);
      if (head >= 0) state = this.expand(head, db, key);
    }
    if (this.isSeenBy(op) || state?.isWhole === true) return state;
    return this.fetch(db, key, state);
  }

  /** As `find`; where nothing is known there will be something. */
  ensure(db: number, key: string, op?: Op, needed?: Needed): KeyState {
    let state = this.find(db, key, op, needed);
    if (state === undefined) {
      state = new KeyState(db, key);
      state.isWhole = !this.isSeenBy(op);
      this.add(state);
    }
    return state;
  }

  private add(state: KeyState): void {
    this.map(state.db).set(state.key, state);
    this.statesByHash[hashOf(state.key)]!++;
    state.isWhole ||= this.shelf === null || this.shelf.isEmpty;
    this.weigh(state);
  }

  private weigh(state: KeyState, bytes = state.bytes): number {
    this.stateBytes += bytes - state.countedBytes;
    return (state.countedBytes = bytes);
  }

  /** @returns false where it is not the one that the window has */
  private remove(state: KeyState): boolean {
    if (state.lagging) this.lagging.delete(state);
    const map = this.byDb[state.db];
    if (map?.get(state.key) !== state) return false;
    map.delete(state.key);
    this.statesByHash[hashOf(state.key)]!--;
    this.stateBytes -= state.countedBytes;
    return true;
  }

  /** Makes a state of a key of which nothing but SETs was known. */
  private expand(head: number, db: number, key: string): KeyState {
    const state = new KeyState(db, key);
    const puts: Put[] = [];
    for (const { origin, position, stamp, seen, at, args } of this.sets.puts(head)) {
      const op = new Op(origin, position, stamp, seen);
      puts.push(
        args === null ? new StoredPut(op, at, this.sources) : { op, value: ownBytes(this.sources.valueIn(args)) },
      );
      state.wipe(op);
      state.note(op);
      this.noteBegun(state, op);
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

  // ——— the shelf

  /** Nothing is asked of it any more. */
  dispose(): void {
    this.shelf?.close();
  }

  /** Whether an operation has seen all that is on the shelf: to that it is base. */
  isSeenBy(op: { readonly origin: number; readonly seen: Seen } | undefined): boolean {
    const { shelf } = this;
    return shelf === null || shelf.isEmpty || (op !== undefined && shelf.isSeenBy(op.origin, op.seen));
  }

  /** What the shelf has of a key, newest first, as far as not all members have seen it. */
  private onShelf(fingerprint: ArrayLike<number>, at: number, key?: string): StateParts[] {
    const found: StateParts[] = [];
    for (const bytes of this.shelf!.find(fingerprint, at)) {
      const parts = readEntry(bytes, this.origins, this.sources, key);
      // What all have seen is base, and so is what is older.
      if (areSeen(parts.tops, this.stable)) break;
      found.push(parts);
    }
    return found;
  }

  /** Brings back what the shelf has of a key, under what the window has. */
  private fetch(db: number, key: string, known: KeyState | undefined): KeyState | undefined {
    fingerprintOfText(db, key, scratch);
    const found = this.onShelf(scratch, 0, key);
    const state = known ?? (found.length > 0 ? new KeyState(db, key) : undefined);
    if (state === undefined) return undefined;
    for (const parts of found) state.underlay(parts);
    state.isWhole = true;
    if (known === undefined) this.add(state);
    this.weigh(state);
    for (const parts of found) this.noteParts(state, parts);
    if (known === undefined) this.returned(state);
    return state;
  }

  /** Counts what has come back of a key. */
  private noteParts(state: KeyState, parts: StateParts): void {
    const { tops, opaques, expiries, deletions, elements } = parts;
    const note = (element: Element | null, origin: number, position: number): void => {
      if (position > seenAt(this.stable, origin)) this.noteLate(state, element, origin, position);
    };
    const isOfKey = opaques.length + expiries.length + deletions.length > 0;
    // What replaces a string is about the whole key.
    if (isOfKey || elements.some(({ type }) => type === Type.string))
      return tops.forEach((top, origin) => note(null, origin, top));
    tops.forEach((top, origin) => note(state.ofTtl, origin, top));
    for (const { type, name, ...parts } of elements) {
      const element = state.findElement(type, name);
      if (element !== undefined) topsOf(parts).forEach((top, origin) => note(element, origin, top));
    }
  }

  /** Brings what the shelf has of a key into the table. @returns false where that is more than SETs, and nothing was done */
  private fetchSets(fingerprints: Int32Array, at: number): boolean {
    // Older SETs are dead by newer ones.
    let newest: readonly StoredSet[] | null = null;
    for (const bytes of this.shelf!.find(fingerprints, at)) {
      const sets = readStoredSets(bytes, this.origins);
      if (sets === null) {
        if (areSeen(readEntry(bytes, this.origins, this.sources).tops, this.stable)) break;
        return false;
      }
      if (sets.every((set) => positionOf(set) <= seenAt(this.stable, set.origin))) break;
      newest ??= sets;
    }
    if (newest === null || this.sets.has(fingerprints, at)) return true;
    const head = this.sets.adopt(fingerprints, at, newest);
    for (const { origin } of newest) {
      const queue = this.queue(origin);
      const position = this.sets.positionOf(head, origin);
      // It stands beside one that not all have seen: of its own history nothing may ever come that lets it fold.
      if (position <= seenAt(this.stable, origin)) continue;
      this.sets.refer(head);
      this.operations++;
      queue.push(head, Math.max(position, Math.floor(queue.last() ?? position)));
    }
    return true;
  }

  /** Counts an operation that comes out of turn: it folds with what is last in the queue, later than it might. */
  private noteLate(state: KeyState, element: Element | null, origin: number, position: number): void {
    state.unstable++;
    if (element === null) state.unstableKeyOps++;
    else element.unstable++;
    this.operations++;
    const queue = this.queue(origin);
    queue.pushOf(state, element, Math.max(position, queue.last() ?? position));
    if (state.lagging) return;
    state.lagging = true;
    this.lagging.add(state);
  }

  /** Brings back elements that are on the shelf by themselves (see `find`). */
  bring(state: KeyState, needed?: Needed, op?: Op): void {
    if (state.stream?.shelved != null) this.entries?.bring(state, needed, op);
    if (state.away !== null && !this.isSeenBy(op)) this.elements!.bring(state, needed, op);
  }

  /** Brings back all that is on the shelf. Whatever that takes in memory. */
  fetchAll(): void {
    if (this.shelf === null || this.shelf.isEmpty) return;
    for (const bytes of this.shelf.all()) {
      if (isOfElement(bytes)) continue;
      const { db, key } = readEntry(bytes, this.origins, this.sources);
      this.find(db, key);
    }
    for (const map of this.byDb) for (const state of map?.values() ?? []) this.bring(state);
  }

  /** To be called when nobody is in the middle of anything: beyond its budget, what came first goes to the shelf. */
  trim(): void {
    if (this.shelf === null || this.load <= this.trimAt) return;
    const batch = new ShelfBatch();
    const { queues, shifted, shelvedTo } = this;
    const target = this.budgetBytes * (1 - TRIM_SHARE);
    // Nothing else than what tells of what is on the shelf: then there is nothing to shelve.
    let isOver = false;
    for (let left = this.shelveOperations; left > 0 && this.load - this.toGo > target && !isOver;) {
      isOver = true;
      // All histories in step, by a little of each at a time: they are about the same time.
      for (let origin = 0; origin < queues.length; origin++) {
        const queue = queues[origin]!;
        for (let n = Math.ceil(queue.length / TRIM_STEPS); n > 0 && queue.shift(shifted); n--, left--) {
          const { head, other, position } = shifted;
          raise(shelvedTo, origin, position);
          if (other !== null && this.isOfAway(other)) {
            this.renew(other.state, origin);
            continue;
          }
          isOver = false;
          if (other !== null && this.entries!.take(other.state, other.element)) this.operations--;
          else if (other !== null) this.shelveState(other.state, other.element, origin, position, batch);
          else this.shelveHead(head, origin, position, batch);
        }
      }
    }
    this.toGo = 0;
    for (const state of this.large) {
      this.shelveOld(state, batch);
      if (state.unstable === 0 && !state.isGone) this.release(state);
    }
    this.large.clear();
    this.entries!.write(batch);
    this.shelf.add(batch);
    this.trimAt = Math.max(this.budgetBytes, this.load + this.budgetBytes * TRIM_SHARE);
  }

  /** The operation at `position` is the first in its queue. */
  private shelveHead(head: number, origin: number, position: number, batch: ShelfBatch): void {
    const { sets } = this;
    const state = sets.stateOf(head);
    if (state !== undefined) {
      sets.release(head);
      this.shelveState(state, null, origin, position, batch);
      return;
    }
    this.operations--;
    // Where it is dead by a later SET, that one, further behind, stands for it: whoever has seen that has seen this.
    const live = sets.positionOf(head, origin);
    if (live >= 0 && live <= position) {
      const { fingerprint, db } = sets.identity(head);
      writeSets(batch, fingerprint, db, sets.puts(head));
      if (sets.references(head) > 1) sets.leave(head, this.gone);
    }
    sets.release(head);
  }

  private shelveState(
    state: KeyState,
    element: Element | null,
    origin: number,
    position: number,
    batch: ShelfBatch,
  ): void {
    this.operations--;
    if (state.isGone) return;
    // What waits for Redis knows the state itself.
    if (state.isHeld || !state.isInParts || (state.opaques.length > 0 && !this.isAtRest(state))) {
      state.unstable--;
      if (element === null) state.unstableKeyOps--;
      else element.unstable--;
      this.noteLate(state, element, origin, position);
      return;
    }
    const isOfElements = this.isLarge(state) && state.typeOfElements !== null;
    if (isOfElements || (state.unstable > 1 && state.positionOf(origin) > position)) {
      // A later one, further behind, stands for it, or what tells of those on the shelf. Until all have seen it no element folds that it was about.
      state.unstable--;
      if (element === null) state.earlyKeyOps++;
      else element.early++;
      this.early.add(state);
      if (isOfElements) this.toGo += SHELVED_BYTES;
      if (!state.lagging) {
        state.lagging = true;
        this.lagging.add(state);
      }
      return;
    }
    if (state.away !== null) {
      // Its elements are on the shelf, and the key knows of it.
      state.unstable--;
      if (element === null) state.unstableKeyOps--;
      else element.unstable--;
      this.noteLate(state, element, origin, position);
      return;
    }
    if (!this.remove(state)) return;
    fingerprintOfText(state.db, state.key, scratch);
    writeParts(batch, scratch, state.parts, this.origins);
    state.vanish();
  }

  /** Whether a key is to go by its elements: nobody looks at it as a whole more than once while so many operations go. */
  private isLarge(state: KeyState): boolean {
    if (this.large.has(state)) return true;
    if (state.away === null && state.bytes <= this.largeBytes) return false;
    if (state.away === null && this.weigh(state, state.measure()) <= this.largeBytes) return false;
    this.large.add(state);
    return true;
  }

  /** Of a large key goes what is old. */
  private shelveOld(state: KeyState, batch: ShelfBatch): void {
    if (state.isGone) return;
    const { typeOfElements } = state;
    // Of the key's own operations: what others' say would keep it, while what is newer here becomes base.
    const tops = this.shelvedTo.map((to, origin) => Math.min(to, state.positionOf(origin)));
    if (typeOfElements !== null) {
      // What the shelf has of it as a whole is older than its elements there would be.
      if (!state.isWhole) this.fetch(state.db, state.key, state);
      const elements = state.typeOfElements === null ? NONE : state.split(tops);
      this.elements!.write(state, typeOfElements, elements, tops, batch);
      this.weigh(state, state.measure());
      // All have seen all of it, and nothing would tell once more.
      this.release(state);
      return;
    }
    if (state.onlyType !== Type.string || !state.isByItself) return;
    const elements = state.split(tops);
    if (elements.length === 0) return;
    fingerprintOfText(state.db, state.key, scratch);
    const ofRest = { ttls: NONE, deletions: NONE, ttlBaseDead: false, removals: null };
    writeParts(batch, scratch, { ...state.parts, elements, ...ofRest, tops }, this.origins);
    state.isWhole = false;
    this.weigh(state, state.measure());
  }

  private isOfAway({ state, element }: { state: KeyState; element: Element | null }): boolean {
    return element !== null && element === state.away?.element;
  }

  /** What tells of a key's elements on the shelf is the first in its queue. */
  private renew(state: KeyState, origin: number): void {
    this.operations--;
    if (state.isGone) return;
    state.unstable--;
    state.away!.element.unstable--;
    this.elements!.taken(state, origin);
    // What of it goes in this very trim is counted out, and not written yet.
    if (!this.large.has(state)) this.release(state);
  }

  private map(db: number): Map<string, KeyState> {
    while (this.byDb.length <= db) this.byDb.push(new Map());
    return this.byDb[db]!;
  }

  /** Those on the shelf only after `fetchAll`. */
  *states(db?: number): IterableIterator<KeyState> {
    this.expandAll(db);
    for (let i = 0; i < this.byDb.length; i++) {
      if (db !== undefined && db !== i) continue;
      for (const state of this.byDb[i]!.values()) {
        this.bring(state);
        yield state;
      }
    }
  }

  /** Begins to note SETs of a record; `close` ends it. */
  open(source: SetSource): SetSource {
    source.isBehind = !this.isSeenBy(source);
    this.sets.open(source);
    return source;
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
    if (source.isBehind && !this.fetchSets(run.fingerprints, i * FINGERPRINT_WORDS)) return SetOutcome.complex;
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

  private noteBegun({ db, key }: KeyState, op: Op): void {
    for (let o = 0; o < this.begun.length; o++)
      if (o !== op.origin && this.begun[o]! > seenAt(op.seen, o)) return void this.patchy.add(`${db} ${key}`);
  }

  /** Whether an operation on a key is known that had not seen all of what a restart has left out: it may have met some of that. */
  isPatchy({ db, key }: KeyState): boolean {
    return this.patchy.has(`${db} ${key}`);
  }

  /** All from before a restart is noted. */
  replayed(): void {
    this.begun.length = 0;
    this.patchy.clear();
  }

  /** Counts `op` as known on the key; `element` is null for what concerns the whole key. */
  note(state: KeyState, op: Op, element: Element | null): void {
    state.note(op);
    this.noteBegun(state, op);
    this.weigh(state);
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
    this.shelf?.eachLow(lower);
    for (const state of this.lagging) {
      state.eachHeld(lower);
      // Deletes too, of which the window has only the effect: Redis may not have it yet.
      for (const from of state.neededFrom) for (let o = 0; o < this.stable.length; o++) lower(o, seenAt(from, o) + 1);
    }
    return low;
  }

  /**
   * A SET that all have seen may still stand beside one that had not seen it. When that one came, not all had seen the
   * first: so none is older than what all had seen when the oldest operation that is still queued came.
   * @returns that, or what all had seen somewhat earlier; null where there is no such SET
   */
  private boundOfSets(): Seen | null {
    this.noteMoment();
    return this.sets.keys === 0 ? null : this.moments[0]!.stable;
  }

  private noteMoment(): void {
    const { moments } = this;
    const hasLeft = ({ queued }: { queued: readonly number[] }): boolean =>
      queued.every((position, o) => (this.queues[o]!.first() ?? Infinity) > position);
    moments.push({ stable: this.stable.slice(), queued: this.queues.map((queue) => queue.last() ?? -1) });
    while (moments.length > 1 && hasLeft(moments[1]!)) moments.shift();
    // A region is away, for hours perhaps: then they need not be that close.
    if (moments.length > MOMENTS_MAX) moments.splice(0, Infinity, ...moments.filter((_, i) => i % 2 === 0));
  }

  /** Before anything is noted: so far every member has seen the origin, and nothing of that is known here. */
  begin(origin: number, position: number): void {
    raise(this.begun, origin, position);
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
        if (state !== undefined && !state.isGone) this.fold(state, null);
      }
      if (heads > 0) continue;
      const other = queue.shiftOther(position);
      if (other === undefined) return;
      this.operations--;
      const { state, element } = other;
      if (state.isGone) continue;
      if (this.isOfAway(other)) state.away!.notes[origin]!--;
      this.fold(state, element);
    }
  }

  /** All that could be stabilised has been. */
  settleShelf(): void {
    this.shelf?.drop(this.stable);
    if (this.load <= this.budgetBytes) this.trimAt = this.budgetBytes;
    if (this.early.size === 0 || this.shelvedTo.some((to, origin) => to > seenAt(this.stable, origin))) return;
    for (const state of this.early) this.countEarly(state);
    this.early.clear();
  }

  /** All have seen what made room for newer operations of a key. */
  private countEarly(state: KeyState): void {
    if (state.isGone) return;
    state.unstableKeyOps -= state.earlyKeyOps;
    state.earlyKeyOps = 0;
    for (const element of state.elements()) {
      if (element.early === 0) continue;
      element.unstable -= element.early;
      element.early = 0;
      if (element.unstable === 0) this.foldElement(state, element);
    }
    this.foldReady(state);
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
    if (element?.unstable === 0) this.foldElement(state, element);
    state.absorb(element, this.stable, this.moments[0]!.stable);
  }

  /** Folds what had to wait for something about the whole key. */
  private foldReady(state: KeyState): void {
    const { ready } = state;
    if (ready === null || state.unstableKeyOps > 0 || state.isHeld) return;
    state.ready = null;
    for (const element of ready)
      if (element.unstable === 0 && element.type !== Type.string) this.foldElement(state, element);
      else state.absorbElement(element, this.stable);
  }

  /** A key is about to become unsettled, or its time to live doubtful. */
  hold(state: KeyState): void {
    if (!state.isToBeTold) state.heldFrom = this.stable.slice();
  }

  /** Lets a key go of which all is seen by all: its value in Redis is then the base of whatever comes. */
  release(state: KeyState): boolean {
    if (state.unstable > 0 && !state.isHeld) this.foldReady(state);
    if (state.unstable > 0 || state.isHeld) return false;
    this.remove(state);
    return true;
  }

  /**
   * An element of a key that others keep writing folds by itself, but only while nothing unstable concerns the whole
   * key: an operation folds when every member, *and every operation of that key in the window*, has seen it.
   */
  private foldElement(state: KeyState, element: Element): void {
    // With several types, which of them stands hangs on all that lives.
    if (element.type === Type.string || state.onlyType !== element.type) return;
    if (state.unstableKeyOps > 0 || state.isHeld) {
      (state.ready ??= new Set()).add(element);
      return;
    }
    if (element.type === Type.stream) {
      // The head stays: it is no entry, and tells the last ID as long as anything is known of the key.
      if (!(element instanceof StreamEntry) || element.isAwaited) return;
      state.removeEntry(element);
      this.weigh(state);
    } else {
      const id = element.type + element.name;
      if (state.members?.get(id) === element) state.members.delete(id);
    }
    state.deadTypes &= ~(1 << element.type);
    if (element instanceof StreamEntry && !element.isAlone)
      for (const host of state.stream!.moved) if (!host.folded && host.unstable === 0) this.foldElement(state, host);
  }

  /** Drops a settled key whose operations everybody has seen. */
  settle(state: KeyState): void {
    state.unsettled = false;
    state.ttlDoubted = false;
    state.settler = null;
    state.askedInVain = 0;
    state.hasYielded = false;
    state.onlySettler = null;
    state.trespassedOn = null;
    state.refusals = 0;
    this.release(state);
  }

  /** Forgets a database's keys (after FLUSHDB only what the flush had seen is gone: see core). */
  swap(a: number, b: number): void {
    this.map(Math.max(a, b));
    this.fetchAll();
    for (const db of [a, b]) this.expandAll(db);
    const states = this.byDb[a]!;
    this.byDb[a] = this.byDb[b]!;
    this.byDb[b] = states;
    for (const db of [a, b]) for (const state of this.byDb[db]!.values()) state.db = db;
  }
}

const scratch = new Int32Array(FINGERPRINT_WORDS);

/** Of a key in whatever database. */
function hashOf(key: string): number {
  fingerprintOfText(0, key, scratch);
  return scratch[0]! & (HASHES - 1);
}
