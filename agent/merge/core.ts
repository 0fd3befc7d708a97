/**
 * The merge core: operations in, commands for Redis out. No sockets, no timers, no clock: the agent and the simulator
 * run the same code.
 *
 * It is told of the region's own operations in the order of the own stream (`local`), and of other regions' in causal
 * order (`plan`). It answers with what Redis must run. Where a client's write reached Redis before a block that had
 * been planned without it, the two meet again in `local`, which is then behind the block: the key is *raced*, and
 * `corrections` gives the keys to correct.
 */
import type { RdbKey } from '../capture/rdb';
import type { ConflictPolicies } from '../../model';
import type { OpRecord, OriginId } from '../record';
import { RecordKind } from '../record';
import type { Trespass } from '../stream/recorder';
import { Base } from './base';
import { Batch } from './batch';
import { type Carried, carriedBy } from './carried';
import { ConflictNotes } from './conflict-notes';
import { Code } from './commands';
import { Corrections } from './corrections';
import { Decimal } from './decimal';
import type { Amiss, Candidate, MissingEntry } from './difference';
import { aboutOf, decodeEffects, type Effect, type IncrementEffect } from './effects';
import { Flushes } from './flushes';
import { mayChangeLibraries } from './function-commands';
import { joinsKept } from './ignored';
import { Insertion } from './insertion';
import { KeptBytes } from './kept-bytes';
import { LastWriter } from './last-writer';
import { type Element, type KeyState, type Op, Type, TYPE_NAMES } from './key-state';
import { Libraries } from './libraries';
import { LowWater } from './low-water';
import { OpaqueOperations } from './opaque-operations';
import { StateOp } from './op';
import { OriginTable, raise, seenAt, type Seen } from './origins';
import type { Parts } from './parts';
import type { PayloadSource } from './payload-source';
import { Planner } from './planner';
import { isUnsettledIn, RecordReader } from './record-reader';
import { Reports } from './reports';
import { resolve, visibleType } from './resolve';
import { ELSEWHERE, Settling } from './settling';
import { StateOperations } from './state-operations';
import { partsOf } from './state-parts';
import { isTrimReport, mayTrim } from './stream-commands';
import { isForeignAt, placesFrom, StreamEntry } from './stream-entries';
import { StreamOperations } from './stream-operations';
import { StreamTrims } from './stream-trims';
import { Tail } from './tail';
import { type ShelfOptions, Window } from './window';

export interface MergeCoreOptions {
  region: string;
  /** All regions of the mesh; an operation folds when all of them have reported it. */
  members: readonly string[];
  /** While a region joins: the origin of the mesh's data that it loads. All its own operations are later than that. */
  base?: OriginId;
  /** Where bytes of journalled records can be had again, so that it need not keep those that nothing meets. Absent: it keeps all. */
  payloads?: PayloadSource;
  /** By which keys are not replicated. Absent: all are. */
  policies?: ConflictPolicies;
  /** Where the window goes beyond its budget. Absent: memory has to do. */
  shelf?: ShelfOptions;
}

/** What a refused command would have added. */
export interface RefusedParts {
  readonly increment: IncrementEffect | null;
  readonly entry: string | null;
}
const NO_PARTS: RefusedParts = { increment: null, entry: null };

/** Of the tail, as much as is indexed at once without a thought: some milliseconds for most commands, and some tens where each names many elements. */
const STEP_BYTES = 64 * 1024;

interface LocalHow {
  readonly apart?: number[];
  readonly again?: boolean;
  readonly isPast?: boolean;
}

export class MergeCore {
  readonly origins = new OriginTable();
  readonly window: Window;
  /** Streams of which this region has to say where they begin. */
  readonly trims = new StreamTrims();
  readonly notes: ConflictNotes;
  readonly settling: Settling;
  readonly corrections: Corrections;
  readonly opaques: OpaqueOperations;
  readonly libraries = new Libraries(this.origins);
  readonly reports: Reports;
  /** By origin, up to where the own stream has shown others' operations. */
  private readonly landed: number[] = [];
  private readonly parts: Parts;
  private readonly base: Base;
  private readonly flushes: Flushes;
  private readonly insertion: Insertion;
  private readonly streams: StreamOperations;
  private readonly states: StateOperations;
  private readonly reader: RecordReader;
  private readonly planner: Planner;
  /** Highest position of each origin known here: own ones read, others planned. */
  private readonly known: number[] = [];
  private readonly effects: Effect[] = [];
  /** Records whose operations had seen all that was known: not indexed by key unless something meets them. */
  private readonly tail: Tail;
  /** In how many steps it is being indexed (`prepare`). */
  private steps = 0;
  /** End of the last record with operations, by interned origin. */
  private readonly tops: number[] = [];
  private readonly low = new LowWater();
  /** Of the last record of this region's own stream, interned. */
  private ownOrigin = -1;

  constructor(private readonly options: MergeCoreOptions) {
    const { origins, trims } = this;
    const { region, base, payloads } = options;
    const window = (this.window = new Window(origins, payloads, options.shelf));
    this.tail = new Tail(payloads);
    this.reports = new Reports(options.members);
    const kept = new KeptBytes(payloads);
    this.base = new Base(base === undefined ? -1 : origins.index(base));
    this.notes = new ConflictNotes(origins, window, this.base);
    const policies = options.policies?.isActive === true ? options.policies : null;
    this.settling = new Settling(region, policies, options.members, origins, window, () => this.indexTail());
    this.corrections = new Corrections(origins, window, this.settling, trims);
    const parts: Parts & { lastWriter: LastWriter | null } = (this.parts = {
      region,
      origins,
      policies,
      lastWriter: null,
      window,
      trims,
      kept,
      base: this.base,
      notes: this.notes,
      settling: this.settling,
      corrections: this.corrections,
      flushes: (this.flushes = new Flushes(window, this.settling, this.corrections)),
      insertion: (this.insertion = new Insertion(origins, window, trims)),
    });
    // What a joining region loads, and its clients do meanwhile, is nobody's write yet.
    if (policies?.haveLastWriters === true && base === undefined)
      parts.lastWriter = new LastWriter(parts, policies, options.members);
    this.opaques = new OpaqueOperations(parts);
    this.streams = new StreamOperations(parts);
    this.states = new StateOperations(parts);
    this.reader = new RecordReader(parts);
    this.planner = new Planner(parts, this.opaques, this.streams);
    window.returned = (state) => this.flushes.under(state);
    window.isAtRest = (state) => this.isAtRest(state);
    window.hasLanded = (op) => this.hasLanded(op);
  }

  /** Position up to which an origin's operations are known here. */
  knownOf(origin: OriginId): number {
    return seenAt(this.known, this.origins.index(origin));
  }

  /** Whether everything that `record` had seen is known here, and its own predecessor too. */
  isDeliverable(record: OpRecord): boolean {
    for (const [origin, position] of record.seen) if (this.knownOf(origin) < position) return false;
    return this.knownOf(record.origin) >= record.start || record.kind === RecordKind.birth;
  }

  /** Takes it as known that an origin's operations up to `position` are in Redis (from the cursor). */
  assume(origin: OriginId, position: number): void {
    this.raiseKnown(this.origins.index(origin), position);
  }

  /**
   * Before anything is remembered: all members have seen an origin's operations up to `position`, and nothing of them is
   * needed any more. Records that hold others too are taken without them, for what they met may be gone already.
   */
  skip(origin: OriginId, position: number): void {
    const index = this.origins.index(origin);
    this.reader.skip(index, position);
    this.window.begin(index, position);
    this.low.begin(index, position);
  }

  private raiseKnown(origin: number, position: number): void {
    raise(this.known, origin, position);
  }

  // ——— own operations

  /**
   * The region's own operations, as read from its Redis' stream.
   * @param how `apart` gets the numbers of those that worked on a key that was unsettled, for the record to say so (`OpRecord.unsettled`); absent: what it says
   * is all that can be said. `again`: after a restart; what came of them is in Redis, and not known. `isPast`: of an older history, of which a failover may have taken
   * back the end: that has come again as others' operations do
   */
  local(record: OpRecord, how: LocalHow = {}): void {
    const { apart = null, again = false, isPast = false } = how;
    if (!isPast) this.ownOrigin = this.origins.index(record.origin);
    if (record.kind === RecordKind.state) return this.localState(record);
    const { policies } = this.parts;
    const isWhole = policies === null || !joinsKept(policies, record);
    const isCalm = record.kind !== RecordKind.difference && isWhole && this.isCalmFor(record);
    if (isCalm && (record.mayNeedLook === false || !(mayTrim(record.payload) || mayChangeLibraries(record.payload))))
      this.setAside(record);
    else {
      this.indexTail();
      this.localNow(record, again, apart);
    }
    this.noteRecord(record);
  }

  private localNow(record: OpRecord, again = false, apart: number[] | null = null): void {
    this.reader.each(record, -1, 'local', (command, scanner, op, db, added) => {
      if (command.code === Code.function) {
        if (this.libraries.note(scanner, this.base.after(op)) === true) this.notes.countKind('library');
        return;
      }
      this.effects.length = 0;
      decodeEffects(command, scanner, this.effects, added);
      this.parts.lastWriter?.note(command, scanner, op, db, this.effects);
      for (const effect of this.effects) {
        if (effect.kind !== 'opaque') this.localEffect(effect, op, db, again);
        else if (effect === this.effects[0]) {
          const opaque = this.opaques.read(command, scanner, record, db);
          const isApart = isUnsettledIn(record, op) || (apart === null ? false : null);
          if (this.opaques.local(opaque, op, isApart)) apart?.push(op.stamp - record.stamp);
        }
        // In an agent's block, before what that wrote to the key: by the rule that may not stand after the expiry.
        if (effect.kind === 'expire' && record.kind === RecordKind.difference)
          this.corrections.race(this.window.ensure(db, effect.key), null);
      }
    });
  }

  // ——— the tail: what nothing has met yet

  private noteRecord(record: OpRecord): void {
    const origin = this.origins.index(record.origin);
    this.raiseKnown(origin, record.end);
    raise(this.tops, origin, record.end);
    this.window.trim();
  }

  /** Whether all that was planned for a key has been read back. */
  private isAtRest(state: KeyState): boolean {
    for (let origin = 0; origin < this.origins.size; origin++)
      if (!this.hasLanded({ origin, position: state.positionOf(origin) })) return false;
    return true;
  }

  /** Whether an operation is in Redis, as the own stream says: all own ones that come from now on have seen it. */
  private hasLanded({ origin, position }: Pick<Op, 'origin' | 'position'>): boolean {
    return origin === this.ownOrigin || position <= seenAt(this.landed, origin);
  }

  /**
   * Whether the record has seen every operation known here, and nothing is under way for any key: then none of its
   * operations meets anything. Whatever is not so later finds it in the tail, and indexes that first.
   */
  private isCalmFor(record: OpRecord): boolean {
    if (record.unsettled !== undefined) return false;
    if (this.corrections.areUnderWay || this.settling.unsettledKeys > 0 || this.flushes.areKnown) return false;
    // What comes to a stream that was cut is to be known before it is said where that begins.
    if (this.trims.isDue) return false;
    const origin = this.origins.index(record.origin);
    for (let o = 0; o < this.tops.length; o++) {
      const top = this.tops[o]!;
      if (o !== origin && top >= 0 && (record.seen.get(this.origins.id(o)) ?? -1) < top) return false;
    }
    return true;
  }

  private setAside(record: OpRecord): void {
    this.tail.push(record, this.origins.index(record.origin));
  }

  /**
   * Indexes the tail by key, in the order in which it came.
   * @param bytesLeft that the rest may have at most
   */
  private indexTail(bytesLeft = -1): void {
    while (this.tail.bytes > bytesLeft) {
      const entry = this.tail.take();
      if (entry === undefined) return;
      if (entry.record.end <= seenAt(this.window.stable, entry.origin)) continue;
      this.localNow(entry.record);
      this.window.trim();
    }
  }

  /**
   * Indexes a part of the tail where `plan` of this record would index all of it, for that may take seconds: what a region that was away wrote meanwhile has met
   * nothing. To be called until it says true, other things in between.
   */
  prepare(record: OpRecord): boolean {
    const { bytes } = this.tail;
    if (bytes <= STEP_BYTES || this.isCalmFor(record)) {
      this.steps = 0;
      return true;
    }
    // Larger and larger ones: so they come to an end whatever clients write meanwhile.
    this.indexTail(bytes - STEP_BYTES * (1 + this.steps++ / 8));
    return false;
  }

  /** What is known of a key that was written lately. */
  find(db: number, key: string): KeyState | undefined {
    this.indexTail();
    return this.window.find(db, key);
  }

  /**
   * Whether a key that is a string or absent is what the operations known here make of it, or none are known. Of other types
   * that is not looked at.
   */
  isExplained({ db, key, parts: [part] }: Candidate): boolean {
    const state = this.find(db, key);
    if (state === undefined) return true;
    if (part === undefined) return state.isAbsent;
    if (part.type !== 'string' || visibleType(state, this.origins) !== Type.string) return false;
    const resolved = resolve(state.string!, this.origins);
    return resolved.known && resolved.value?.equals(part.value) === true;
  }

  private findLive(db: number, key: string, type: RdbKey['type'], name: string): Element | null {
    const place = (TYPE_NAMES as readonly string[]).indexOf(type);
    const element = place < 0 ? undefined : this.find(db, key)?.findElement(place as Type, name);
    return element?.live === true ? element : null;
  }

  /** Whether the window knows what made an element, or added to it. */
  isMade(db: number, key: string, type: RdbKey['type'], name: string): boolean {
    return this.findLive(db, key, type, name) !== null;
  }

  /** Whether the last things done to an element were increments (true) or puts (false); null: the window knows of neither. */
  isCounted(db: number, key: string, type: RdbKey['type'], name: string): boolean | null {
    const element = this.findLive(db, key, type, name);
    if (element === null) return null;
    if (element.increments.length > 0) return true;
    return element.puts.some(({ op }) => op instanceof StateOp) ? null : false;
  }

  /** Whether an entry with these fields, or any that was not in this Redis by itself (null), came to an ID of a stream, and is not removed. */
  hasEntry(db: number, key: string, id: string, value: Buffer | null): boolean {
    const entry = this.find(db, key)?.findElement(Type.stream, id);
    if (!(entry instanceof StreamEntry)) return false;
    if (value === null) return isForeignAt(entry, this.options.region, this.origins);
    return [...entry.contenders()].some((contender) => contender.value?.equals(value) === true);
  }

  /** Keys that are about to be brought to the rule's value. */
  corrected(): Iterable<{ db: number; key: string }> {
    this.indexTail();
    return this.corrections.keys();
  }

  /** Of keys' states, as commands, that were read at this place of the own stream: which operations made them. */
  carriedBy(db: number, payload: Buffer): Carried {
    return carriedBy(partsOf(payload), (key) => this.find(db, key), this.origins);
  }

  /** Operations not yet seen by all. */
  get operations(): number {
    return this.window.operations + this.tail.operations;
  }

  /** Per origin the position up to which no operation is needed here any more (see low-water.ts). */
  lowWater(): Map<OriginId, number> {
    const { window, origins } = this;
    const needed = window.lowWater();
    const lower = (origin: number, position: number): void => {
      if ((needed.get(origin) ?? Infinity) > position) needed.set(origin, position);
    };
    // Positions are ends of operations.
    for (const { record, origin } of this.tail.entries()) lower(origin, record.start + 1);
    this.trims.eachCut(lower);
    this.libraries.eachNeeded(lower);
    return origins.toVector(this.low.raise(window.stable, needed));
  }

  private localEffect(effect: Exclude<Effect, { kind: 'opaque' }>, op: Op, db: number, again: boolean): void {
    const later = this.base.after(op);
    if (effect.kind === 'flush') return this.flushes.note(op, effect.scope === 'db' ? db : null, later);
    if (effect.kind === 'swap') return this.planner.swap(effect.a, effect.b);
    if (effect.kind === 'group' && !effect.makesKey) return;
    const isOwn = this.isOwn(op);
    if (effect.kind === 'cap') {
      if (isOwn) this.trims.cut(db, effect.key, op, this.window.find(db, effect.key, op, aboutOf(effect)));
      return;
    }
    const { insertion, corrections, streams } = this;
    const state = this.flushes.stateFor(db, effect.key, op, aboutOf(effect));
    const quiet = state.isQuietFor(op);
    // By the rule there was no such key when it was given time, and elsewhere there was none: a block had just made it here.
    const isOnNothing = isOwn && effect.kind === 'ttl' && state.isAbsent;
    insertion.insert(state, effect, later);
    if (isOnNothing) this.settling.doubt(state);
    if (isOwn && effect.kind === 'trim' && effect.minId !== null) streams.trimAgain(state, effect.minId);
    if (isOwn && effect.kind === 'put' && effect.type === Type.stream)
      streams.raceRefused(state, op, effect.names[0]!, op.origin !== this.ownOrigin);
    if (quiet) return;
    this.notes.count(effect);
    this.notes.note(state, effect, later, insertion.touched);
    if (!isOwn || !streams.isSpared(state, effect, op))
      corrections.met(state, effect.kind === 'set' || effect.kind === 'trim' ? null : insertion.touched);
    this.settling.check(state, effect, op, insertion.touched);
    if (again) {
      this.doubtRefusal(state, effect);
      // What of an older history had come back below it may have been refused.
      if (state.stream !== null) corrections.met(state, null);
    }
    // Of a stream that is known all that it lacks is its entry; made anew it would lose its groups.
    const isEntry = effect.kind === 'put' && effect.type === Type.stream && state.isKnown;
    if (!isEntry && state.isOverlaidUnseenBy(op)) corrections.makeAnew(state);
  }

  /** Of an increment after a restart: Redis may have refused it where a client had just made a decimal of the number, and nobody knows any more. */
  private doubtRefusal(state: KeyState, effect: Effect): void {
    if (effect.kind !== 'increment') return;
    const { increments } = this.insertion.touched[0]!;
    const isOfBoth =
      increments.some(({ delta }) => delta instanceof Decimal) &&
      increments.some(({ delta }) => typeof delta === 'bigint');
    if (isOfBoth) this.settling.unsettle(state, ELSEWHERE);
  }

  private isOwn(op: Op): boolean {
    return this.origins.region(op.origin) === this.options.region;
  }

  /** A block has run behind a client's write of the key that it did not know of: what it wrote may not be the rule's. */
  overwritten(db: number, key: string): void {
    this.indexTail();
    this.corrections.race(this.window.ensure(db, key), null);
  }

  /**
   * A key that another region owns was written here, or expired: it is put back.
   * @returns null where that is how its owner has it, as far as is known
   */
  trespassed(trespass: Trespass): KeyState | null {
    const { db, key, isExpiry } = trespass;
    const owner = this.parts.policies?.ownerOf(db, Buffer.from(key, 'latin1')) ?? null;
    if (owner === null || (isExpiry && this.find(db, key)?.isAbsent === true)) return null;
    const state = this.window.ensure(db, key);
    this.settling.putBack(state, owner);
    if (!isExpiry) this.notes.noteTrespass(trespass);
    return state;
  }

  /** Whether a key's value in Redis is known not to be the rule's, or about to be decided by a state. */
  isAmiss(db: number, key: string): boolean {
    return this.window.find(db, key, undefined, 'none')?.isAmiss === true;
  }

  /** What of a key's value in Redis is not to be relied on: see Amiss. */
  amissOf(db: number, key: string): Amiss | null {
    const state = this.window.find(db, key, undefined, 'none');
    if (state === undefined) return null;
    if (state.unsettled) return 'state';
    if (state.corrections === 0) return null;
    if (!(state.raced instanceof Set) || state.isDue || state.stream !== null) return 'all';
    if (state.owed.length > 0 || state.owing.length > 0) return 'all';
    // Others are only looked at: what was added to is right, whoever came first.
    const wrong = [...state.raced].filter((element) => resolve(element, this.origins).known);
    return wrong.length === 0 ? null : wrong.map(({ name }) => name);
  }

  // ——— others' operations

  /**
   * Plans one record. It must be deliverable. Operations at or before `after` are skipped (already in Redis).
   */
  plan(record: OpRecord, batch: Batch, after = -1): void {
    this.settling.planning = batch.serial;
    try {
      this.planNow(record, batch, after);
    } finally {
      this.settling.planning = 0;
    }
  }

  private planNow(record: OpRecord, batch: Batch, after: number): void {
    if (record.kind === RecordKind.state) {
      this.streams.writePending(batch);
      this.noteState(record, batch);
    } else if (
      after <= record.start &&
      this.isCalmFor(record) &&
      // What is about to be brought in comes first.
      !this.streams.hasPending(batch) &&
      this.planner.pass(record, batch)
    )
      this.setAside(record);
    else {
      this.indexTail();
      this.reader.each(record, after, { plan: batch }, (command, scanner, op, db, added) => {
        const hasMet = command.code === Code.function ? this.libraries.note(scanner, op) : null;
        if (hasMet === true) this.notes.countKind('library');
        // One that is not understood runs as it came.
        if (hasMet === null) this.planner.plan(command, scanner, op, db, batch, record, added);
        batch.operations++;
      });
    }
    batch.bytes += record.payload.length;
    const last = record.stamp + Math.max(0, record.ops - 1);
    if (last > batch.stamp) batch.stamp = last;
    this.noteRecord(record);
  }

  /**
   * Plans a part of the mesh's data. The own operations known here are later, as they are for everybody else: what they
   * replaced or removed is left out.
   */
  planBase(record: OpRecord, batch: Batch): void {
    this.base.isPlanned = true;
    try {
      this.plan(record, batch);
    } finally {
      this.base.isPlanned = false;
    }
  }

  /**
   * The base is in Redis up to there, and so are the own operations that it met: what of it no own operation has met
   * since need not be known any longer.
   */
  foldBase(position: number): void {
    this.window.stabilise(this.base.origin, position);
    this.tail.dropSeen(this.window.stable);
  }

  /**
   * Takes over another region's record that is in Redis already. Whether a client's write came before it there, and whether that was
   * corrected, nobody knows any more: where they meet, it is corrected (again).
   */
  remember(record: OpRecord): void {
    this.indexTail();
    if (record.kind === RecordKind.state) this.noteState(record, null);
    else
      this.reader.each(record, -1, 'remember', (command, scanner, op, db, added) => {
        if (command.code === Code.function) return void this.libraries.note(scanner, op);
        this.effects.length = 0;
        decodeEffects(command, scanner, this.effects, added);
        this.parts.lastWriter?.note(command, scanner, op, db, this.effects);
        for (const effect of this.effects) {
          if (effect.kind === 'flush') this.flushes.note(op, effect.scope === 'db' ? db : null);
          else if (effect.kind === 'swap') this.planner.swap(effect.a, effect.b);
          else if (effect.kind === 'cap' || (effect.kind === 'group' && !effect.makesKey)) continue;
          else if (effect.kind === 'opaque') {
            if (effect !== this.effects[0]) continue;
            this.opaques.remember(this.opaques.read(command, scanner, record, db), op, isUnsettledIn(record, op));
          } else {
            const { insertion } = this;
            const state = this.flushes.stateFor(db, effect.key, op, aboutOf(effect));
            const quiet = state.isQuietFor(op);
            const renewed = effect.kind === 'expire' && this.planner.isRenewedHere(state, op);
            insertion.insert(state, effect, op);
            const isMoving = effect.kind === 'put' && effect.type === Type.stream && insertion.touched.length > 1;
            // Of entries the one that was there first may be what is missing: Redis refused it below the other.
            const isOfAll = effect.kind === 'set' || state.stream !== null;
            if (quiet && isMoving) this.corrections.met(state, insertion.touched);
            if (!quiet) {
              this.corrections.met(state, isOfAll ? null : insertion.touched);
              this.settling.check(state, effect, op, insertion.touched);
              this.doubtRefusal(state, effect);
            }
            if (renewed) {
              state.outlive(op);
              this.settling.unsettle(state, this.options.region);
            }
          }
        }
      });
    this.noteRecord(record);
  }

  /** The own state put of a key, read at an exact place of the own stream: nothing to apply, all to remember. */
  localState(record: OpRecord): void {
    this.noteState(record, null);
    this.noteRecord(record);
  }

  /** @param batch that is to write what it says; null: that is there already */
  private noteState(record: OpRecord, batch: Batch | null): void {
    this.indexTail();
    if (isTrimReport(record)) this.planner.planTrims(record, batch ?? new Batch());
    else this.states.note(record, batch);
  }

  /**
   * Redis refused a command on the key (WRONGTYPE, a counter that is no number). The first time the rule's value is
   * written; where that is refused too, or the key has left the window meanwhile, a state settles it.
   * @param increment what the command adds, by INCRBY of Redis: a client here may just have made a decimal of what was an integer
   * @param entry the ID of the stream entry that it adds: another one stands above, of a client that nothing was known of
   */
  refused(db: number, key: string, { increment, entry }: RefusedParts = NO_PARTS): void {
    const { corrections } = this;
    const { lastWriter } = this.parts;
    const known = this.find(db, key);
    const state = known ?? this.window.ensure(db, key);
    if (lastWriter?.governs(db, key) === true) return lastWriter.refused(state);
    const refused = entry === null ? undefined : state.findElement(Type.stream, entry);
    if (refused instanceof StreamEntry) return corrections.race(state, placesFrom(state, refused, this.origins));
    // In a key that is made anew from commands it would be refused each time.
    if (typeof increment?.delta === 'bigint' && increment.type !== Type.zset && state.isKnown) {
      state.owed = [...state.owed, increment];
      corrections.race(state, [state.element(increment.type, increment.name)]);
      return;
    }
    // Several commands of one block count once: the correction is on its way. Nobody else knows of the refusal.
    if (corrections.isRaced(state)) return;
    if (state.refusals++ === 0 && known !== undefined) corrections.race(state, null);
    // What is missing from a stream here is in others; what is here is in all of them.
    else this.settling.unsettle(state, entry !== null || state.stream !== null ? ELSEWHERE : this.options.region);
  }

  /** An entry of a stream was found to be missing from this Redis, and no client is known to have removed it. */
  lacks({ db, key, id }: MissingEntry): void {
    const state = this.find(db, key);
    const entry = state?.findElement(Type.stream, id);
    // At a start it may be known to others alone.
    if (state !== undefined && entry instanceof StreamEntry) this.corrections.lack(state, entry);
    else this.settling.demandState(db, key, ELSEWHERE);
  }

  // ——— stability

  /** The own stream has shown these of the others' operations: all own ones that come from now on have seen them. */
  land(seen: Seen): void {
    for (let origin = 0; origin < seen.length; origin++) raise(this.landed, origin, seen[origin]!);
  }

  /** Up to where a member has reported to be in an origin; −1: nowhere. */
  reportedOf(member: string, origin: OriginId): number {
    return seenAt(this.reports.of(member), this.origins.index(origin));
  }

  /**
   * A member's report of what it had seen, in order with its operations. What all have seen folds.
   * @param own the member's own origin and the position in it that the report belongs to
   */
  report(member: string, seen: Seen, own: { origin: OriginId; position: number }): void {
    const { origins, window, reports } = this;
    if (member === this.options.region) this.land(seen);
    if (!reports.raise(member, seen, { origin: origins.index(own.origin), position: own.position })) return;
    for (let o = 0; o < origins.size; o++) {
      const low = reports.lowOf(o);
      if (low >= 0) window.stabilise(o, low);
    }
    this.flushes.drop(window.stable);
    this.libraries.fold(window.stable);
    this.tail.dropSeen(window.stable);
    window.settleShelf();
  }
}
