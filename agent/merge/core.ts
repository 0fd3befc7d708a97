/**
 * The merge core: operations in, commands for Redis out. No sockets, no timers, no clock: the agent and the simulator
 * run the same code.
 *
 * It is told of the region's own operations in the order of the own stream (`local`), and of other regions' in causal
 * order (`plan`). It answers with what Redis must run. Where a client's write reached Redis before a block that had
 * been planned without it, the two meet again in `local`, which is then behind the block: the key is *raced*, and
 * `takeRaced` gives the keys to correct.
 */
import { CommandScanner, CommandWriter } from '../resp';
import type { OpRecord, OriginId } from '../record';
import { RecordKind } from '../record';
import { Batch, type BatchItem, type GuardedItem } from './batch';
import { Class, Code, commandByName, findCommand, UNKNOWN_COMMAND, type Command } from './commands';
import { type ConflictSink, conflictsOf, setConflict } from './conflict';
import { Decimal, unitsOf } from './decimal';
import { type Candidate, eachEffect } from './difference';
import { argText, decodeEffects, type Effect, type IncrementEffect, type KeyEffect, writeEffect } from './effects';
import { keeperOf } from './field-ttl';
import { type Kept, keepCopy, KeptBytes } from './kept-bytes';
import { isOwnKey, isPlain, isSentinelHello, isUnconditional } from './forms';
import { formOf, type OpaqueForm } from './opaque-form';
import type { Part } from './opaque-log';
import { OriginTable, seenAt, type Seen } from './origins';
import { canRebuild, rebuildKey } from './rebuild';
import {
  correctKey,
  highestTtl,
  keepTtls,
  resolve,
  resolveTtl,
  rewriteAlone,
  rewriteKey,
  visibleType,
  winner,
  writeElement,
  writeElements,
  writeTtl,
} from './resolve';
import type { PayloadSource } from './payload-source';
import { partsOf } from './state-parts';
import { SetRun } from './set-run';
import { SetSource } from './set-source';
import { SetOutcome } from './set-table';
import { isTrimReport, mayTrim } from './stream-commands';
import { HEAD, putEntry, putHead, removeEntry, type StreamEntry, trimEntries } from './stream-entries';
import { compareIds } from './stream-id';
import { StreamTrims } from './stream-trims';
import { writeLastId, writeTrim } from './stream-write';
import { Tail } from './tail';
import { type Element, type KeyState, NONE, Op, saw, Type, TYPE_NAMES } from './key-state';
import { StateOp } from './op';
import { type ShelfOptions, Window } from './window';

export interface MergeCoreOptions {
  region: string;
  /** All regions of the mesh; an operation folds when all of them have reported it. */
  members: readonly string[];
  /** While a region joins: the origin of the mesh's data that it loads. All its own operations are later than that. */
  base?: OriginId;
  /** Where bytes of journalled records can be had again, so that it need not keep those that nothing meets. Absent: it keeps all. */
  payloads?: PayloadSource;
  /** Where the window goes beyond its budget. Absent: memory has to do. */
  shelf?: ShelfOptions;
}

/** Keys corrected in one block: all of them are watched meanwhile. */
const CORRECTIONS_MAX = 1000;

/** As the region that is to send a key's state: any but this one. */
export const ELSEWHERE = '*';

/** What becomes of a plain SET: `plan` brings the one that wins into the batch, `local` and `remember` look whether it met another one in Redis. */
type Mode = { readonly plan: Batch } | 'local' | 'remember';
/** An opaque command as it is noted: `run` is what runs again where it adds. */
type Opaque = Omit<OpaqueForm, 'places'> & {
  readonly states: readonly KeyState[];
  /** Of these keys, those that get something. */
  readonly receivers: ReadonlySet<KeyState>;
  readonly run: Kept | null;
};
/** `added`: see decodeEffects. */
type Visit = (command: Command, scanner: CommandScanner, op: Op, db: number, added: string | undefined) => void;
const SET = commandByName('SET')!;

export interface Counters {
  /** Operations that met one they had not seen, by the kind of element. */
  conflicts: Record<string, number>;
  corrections: number;
}

/** A key's state, sent by a region, on its way into Redis. */
interface Arrived {
  readonly op: StateOp;
  readonly build: Kept;
  /** All keys that came with it: none is written without the others. */
  readonly together: ReadonlySet<KeyState>;
}

/** Keys that are settled together are no more than that. */
const TOGETHER_MAX = 64;
const ALONE: ReadonlySet<KeyState> = new Set();

export class MergeCore {
  readonly origins = new OriginTable();
  readonly window: Window;
  readonly counters: Counters = { conflicts: {}, corrections: 0 };
  /** Who is told what is lost in conflicts; null while what is known already is told once more. */
  conflicts: ConflictSink | null = null;
  /** Highest position of each origin known here: own ones read, others planned. */
  private readonly known: number[] = [];
  private readonly raced = new Set<KeyState>();
  /** States that are to be written, with all keys of each. */
  private readonly arrived = new Map<KeyState, Arrived>();
  private readonly kept: KeptBytes;
  private readonly unsettled = new Set<KeyState>();
  /** Keys whose times to live may differ between the regions. */
  private readonly doubted = new Set<KeyState>();
  private readonly reports = new Map<string, number[]>();
  private flushes: { op: Op; db: number | null }[] = [];
  private readonly effects: Effect[] = [];
  private readonly touched: Element[] = [];
  private readonly run = new SetRun();
  /** For the one command of a run that turns out to need more than the table. */
  private readonly single = new CommandScanner();
  private isBase = false;
  /** Interned; −1: nothing is loaded. */
  private readonly base: number;
  private lastSeen: Seen = [];
  private lastSeenWithBase: Seen = [];
  /** Records whose operations had seen all that was known: not indexed by key unless something meets them. */
  private readonly tail: Tail;
  /** Position up to which operations of records are passed over, by interned origin. */
  private readonly skipped: number[] = [];
  /** End of the last record with operations, by interned origin. */
  private readonly tops: number[] = [];
  /** Keys whose corrections were taken and are not in Redis yet. */
  private correcting = 0;
  /** The region's Redis lacks what was flushed in it: it sends no states, others do. */
  isEmptied = false;
  /** Of the last record of this region's own stream, interned. */
  private ownOrigin = -1;
  /** Entries of the record at hand that were planned, and are not in the batch yet. */
  private readonly pending = new Map<KeyState, Set<Element>>();
  /** Streams of which this region has to say where they begin. */
  readonly trims = new StreamTrims();

  constructor(private readonly options: MergeCoreOptions) {
    this.window = new Window(this.origins, options.payloads, options.shelf);
    this.window.returned = (state) => this.underFlushes(state);
    this.window.isAtRest = (state) => this.isAtRest(state);
    this.tail = new Tail(options.payloads);
    this.kept = new KeptBytes(options.payloads);
    for (const member of options.members) this.reports.set(member, []);
    this.base = options.base === undefined ? -1 : this.origins.index(options.base);
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
    this.skipped[index] = position;
    this.window.begin(index, position);
  }

  private raiseKnown(origin: number, position: number): void {
    while (this.known.length <= origin) this.known.push(-1);
    if (this.known[origin]! < position) this.known[origin] = position;
  }

  // ——— own operations

  /** The region's own operations, as read from its Redis' stream. */
  local(record: OpRecord): void {
    this.ownOrigin = this.origins.index(record.origin);
    if (record.kind === RecordKind.state) return this.localState(record);
    if (record.kind !== RecordKind.difference && this.isCalmFor(record) && !mayTrim(record.payload))
      this.setAside(record);
    else {
      this.indexTail();
      this.localNow(record);
    }
    this.noteRecord(record);
  }

  private localNow(record: OpRecord): void {
    this.each(record, -1, 'local', (command, scanner, op, db, added) => {
      this.effects.length = 0;
      decodeEffects(command, scanner, this.effects, added);
      for (const effect of this.effects) {
        if (effect.kind !== 'opaque') this.localEffect(effect, op, db);
        else if (effect === this.effects[0]) this.localOpaque(this.readOpaque(command, scanner, op, record, db), op);
        // In an agent's block, before what that wrote to the key: by the rule that may not stand after the expiry.
        if (effect.kind === 'expire' && record.kind === RecordKind.difference)
          this.race(this.window.ensure(db, effect.key), null);
      }
    });
  }

  // ——— the tail: what nothing has met yet

  private noteRecord(record: OpRecord): void {
    const origin = this.origins.index(record.origin);
    this.raiseKnown(origin, record.end);
    while (this.tops.length <= origin) this.tops.push(-1);
    if (this.tops[origin]! < record.end) this.tops[origin] = record.end;
    this.window.trim();
  }

  /** Whether all that was planned for a key has been read back, as this region's own report says. */
  private isAtRest(state: KeyState): boolean {
    const landed = this.reports.get(this.options.region) ?? [];
    for (let o = 0; o < this.origins.size; o++)
      if (state.positionOf(o) > seenAt(landed, o) && o !== this.ownOrigin) return false;
    return true;
  }

  /**
   * Whether the record has seen every operation known here, and nothing is under way for any key: then none of its
   * operations meets anything. Whatever is not so later finds it in the tail, and indexes that first.
   */
  private isCalmFor(record: OpRecord): boolean {
    if (this.raced.size > 0 || this.correcting > 0 || this.unsettledKeys > 0 || this.flushes.length > 0) return false;
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

  /** Indexes the tail by key, in the order in which it came. */
  private indexTail(): void {
    for (let entry = this.tail.take(); entry !== undefined; entry = this.tail.take()) {
      if (entry.record.end <= seenAt(this.window.stable, entry.origin)) continue;
      this.localNow(entry.record);
      this.window.trim();
    }
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
  explains({ db, key, parts: [part] }: Candidate): boolean {
    const state = this.find(db, key);
    if (state === undefined) return true;
    if (part === undefined) return state.isAbsent;
    if (part.type !== 'string' || visibleType(state, this.origins) !== Type.string) return false;
    const resolved = resolve(state.string!, this.origins);
    return resolved.known && resolved.value?.equals(part.value) === true;
  }

  /** Operations not yet seen by all. */
  get operations(): number {
    return this.window.operations + this.tail.operations;
  }

  /** The lowest position per origin that is still needed here. */
  lowWater(): Map<number, number> {
    const low = this.window.lowWater();
    for (const { record, origin } of this.tail.entries())
      if ((low.get(origin) ?? Infinity) > record.start) low.set(origin, record.start + 1);
    this.trims.eachCut((origin, position) => low.set(origin, Math.min(position, low.get(origin) ?? Infinity)));
    return low;
  }

  private localEffect(effect: Exclude<Effect, { kind: 'opaque' }>, op: Op, db: number): void {
    const later = this.afterBase(op);
    if (effect.kind === 'flush') return this.flush(op, effect.scope === 'db' ? db : null, later);
    if (effect.kind === 'swap') return this.swap(effect.a, effect.b);
    if (effect.kind === 'group' && !effect.makesKey) return;
    const isOwn = this.isOwn(op);
    if (effect.kind === 'cap') {
      if (isOwn) this.trims.cut(db, effect.key, op, this.window.find(db, effect.key));
      return;
    }
    const state = this.stateFor(db, effect.key, op);
    const quiet = state.isQuietFor(op);
    this.insert(state, effect, later);
    if (isOwn && effect.kind === 'trim' && effect.minId !== null) this.trimAgain(state, effect.minId);
    if (isOwn && effect.kind === 'put' && effect.type === Type.stream) this.raceRefused(state, op, effect.names[0]!);
    if (quiet) return;
    this.count(effect);
    this.noteConflict(state, effect, later);
    if (!isOwn || !this.isSpared(state, effect, op))
      this.race(state, effect.kind === 'set' || effect.kind === 'trim' ? null : this.touched);
    this.checkSettled(state, effect, op);
    // Of a stream that is known all that it lacks is its entry; made anew it would lose its groups.
    const isEntry = effect.kind === 'put' && effect.type === Type.stream && state.isKnown;
    if (!isEntry && state.isOverlaidUnseenBy(op)) this.makeAnew(state);
  }

  private localOpaque(opaque: Opaque, op: Op): void {
    const later = this.afterBase(op);
    for (const state of opaque.states) {
      const quiet = state.isQuietFor(op);
      this.insertOpaque(state, opaque, later);
      if (quiet) {
        // A correction was on its way: here it worked on another value than elsewhere.
        if (state.corrections > 0) this.unsettle(state, null);
        continue;
      }
      this.countConflict('opaque');
      this.noteConflict(state, { kind: 'opaque', keys: [state.key] }, later);
      this.unsettle(state, null);
      // It stands before a block that replaced the key: what it added is gone.
      if (state.isOverlaidUnseenBy(op)) this.makeAnew(state);
    }
  }

  private readOpaque(command: Command, scanner: CommandScanner, op: Op, record: OpRecord, db: number): Opaque {
    const form = formOf(command, scanner);
    const states = form.places.map((place) => this.stateFor(place.db ?? db, place.key, op));
    const receivers = new Set(states.filter((_, i) => form.places[i]!.receives));
    const { kind, loose, isPut } = form;
    let run: Kept | null = null;
    // The scanner was given the payload as a whole: what it has is in the same place there.
    if (kind === 'adds' && !this.isBase)
      run = loose === null ? this.kept.keep(record, scanner.start, scanner.end, 1) : keepCopy(loose, 1);
    return { kind, loose, isPut, states, receivers, run };
  }

  /** Notes what an opaque operation is to one of its keys. */
  private insertOpaque(state: KeyState, { kind, isPut, states, receivers, run }: Opaque, op: Op): void {
    const receives = receivers.has(state);
    const part: Part = {
      run: receives ? run : null,
      isLossy: receives && (kind === 'moves' || kind === 'gives'),
      isPut,
      moves: kind === 'moves' ? states : null,
      id: null,
    };
    if (this.isBase) state.opaque(op);
    else state.opaque(op, part, this.window.stable);
    if (states.length > 1 && states.length <= TOGETHER_MAX) state.link(states);
    this.window.note(state, op, null);
  }

  /** Has a key written as a whole: what is in Redis lacks something. */
  private makeAnew(state: KeyState): void {
    state.isDue = true;
    this.race(state, null);
  }

  private swap(a: number, b: number): void {
    this.window.swap(a, b);
    this.trims.swap(a, b);
  }

  private isOwn(op: Op): boolean {
    return this.origins.region(op.origin) === this.options.region;
  }

  /**
   * Redis' XTRIM … MINID stops at what it meets above the ID, be it removed: where a splice has left such before lower entries, those stay. So
   * whatever a client trimmed by ID is looked through once more.
   */
  private trimAgain(state: KeyState, minId: string): void {
    if (state.trimmed === null || compareIds(minId, state.trimmed) > 0) state.trimmed = minId;
    this.race(state, [state.element(Type.stream, HEAD)]);
  }

  /**
   * Whether blocks that were made without an own XADD have left its entry where it was: they bring in others, and have nothing to do with
   * it. Written once more, it would be back where its stream was cut since.
   */
  private isSpared(state: KeyState, effect: Effect, op: Op): boolean {
    if (effect.kind !== 'put' || effect.type !== Type.stream || state.onlyType !== Type.stream) return false;
    return this.touched.every((entry) => (entry as StreamEntry).isAlone) && !state.isWipedUnseenBy(op);
  }

  /** Where an own XADD was in Redis before others' entries came that stand below it, they were refused: they get in by a correction. */
  private raceRefused(state: KeyState, op: Op, id: string): void {
    const entries = state.stream!.refusedFor(op, id);
    if (entries.length > 0) this.race(state, entries);
  }

  /** An own operation as one that has seen all of the base, also where it stands before it in the own stream. */
  private afterBase(op: Op): Op {
    const { base } = this;
    if (base < 0 || op.origin === base) return op;
    if (op.seen !== this.lastSeen) {
      const seen = op.seen.slice();
      while (seen.length <= base) seen.push(-1);
      seen[base] = Infinity;
      this.lastSeen = op.seen;
      this.lastSeenWithBase = seen;
    }
    return new Op(op.origin, op.position, op.stamp, this.lastSeenWithBase);
  }

  /** Notes what of a key has to be looked at again; no elements: all of it. */
  private race(state: KeyState, elements: readonly Element[] | null): void {
    if (!this.raced.has(state)) {
      this.raced.add(state);
      this.window.hold(state);
      state.corrections++;
    }
    if (elements === null || elements.length === 0) state.raced = 'all';
    else if (state.raced !== 'all') {
      state.raced ??= new Set();
      for (const element of elements) state.raced.add(element);
    }
  }

  /**
   * Keys that clients wrote while a block that had not seen it was on its way, so many as go into one block. Given once; `corrected`
   * says when their correction is in Redis.
   */
  takeRaced(): KeyState[] {
    const raced: KeyState[] = [];
    for (const state of this.raced) {
      raced.push(state);
      this.raced.delete(state);
      state.owing = [...state.owing, ...state.owed];
      state.owed = NONE;
      if (raced.length === CORRECTIONS_MAX) break;
    }
    this.correcting += raced.length;
    return raced;
  }

  get racedKeys(): number {
    return this.raced.size;
  }

  /** A block has run behind a client's write of the key that it did not know of: what it wrote may not be the rule's. */
  overwritten(db: number, key: string): void {
    this.indexTail();
    this.race(this.window.ensure(db, key), null);
  }

  /** Whether a key's value in Redis is known not to be the rule's, or about to be decided by a state. */
  isAmiss(db: number, key: string): boolean {
    const state = this.window.find(db, key);
    return state !== undefined && (state.corrections > 0 || state.unsettled);
  }

  /** Commands that bring a raced key to the rule's value. */
  correct(states: Iterable<KeyState>, batch: Batch): void {
    for (const state of states) {
      const before = batch.writer.commands;
      if (this.correctWhole(state, batch)) {
        if (batch.writer.commands > before) this.counters.corrections++;
        continue;
      }
      if (state.unsettled && !state.isKnown) {
        // What a client has put is not missing, at least.
        if (state.raced !== null && state.raced !== 'all')
          for (const element of state.raced) writeElement(batch.select(state.db), state, element, this.origins);
        continue;
      }
      // Kept until the correction is in Redis: a client's write may make it be built once more.
      const { raced } = state;
      const elements = raced === 'all' ? null : raced;
      if (state.stream !== null) this.trims.wrote(state, elements ?? state.elements());
      correctKey(batch.select(state.db), state, elements, this.origins);
      for (const { type, name, delta, ...effect } of state.owing)
        // Where the rule's value is known it has been written, with this in it.
        if (!resolve(state.element(type, name), this.origins).known)
          writeEffect(batch.writer, { ...effect, type, name, delta: new Decimal(unitsOf(delta as bigint)) });
      if (state.trimmed !== null)
        writeTrim(batch.writer, state, { minId: state.trimmed, keep: [] }, NONE, this.origins);
      // It was left as Redis has it, which may be what lost.
      if (raced === 'all' && state.ttls.length > 0 && state.mayDifferInTtl) this.doubt(state);
      if (batch.writer.commands > before) this.counters.corrections++;
    }
  }

  /**
   * Writes a key as a whole, where a state is to be written or something is missing.
   * @returns false where it is to be corrected as others are
   */
  private correctWhole(state: KeyState, batch: Batch): boolean {
    const arrived = this.arrived.get(state);
    if (arrived === undefined && (!state.isDue || state.isKnown)) return false;
    // What was raced since, up to here, is in it.
    if (this.raced.delete(state)) state.corrections--;
    const { origins } = this;
    if (arrived === undefined) {
      this.unsettle(state, null);
      if (canRebuild(state, origins, ALONE)) rebuildKey(batch.select(state.db), state, origins);
      return true;
    }
    const { op, build, together } = arrived;
    const isWhole = [...together].every((other) => other.isQuietFor(op) || canRebuild(other, origins, together));
    if (state.isQuietFor(op)) {
      if (isWhole) batch.select(state.db).raw(build.bytes, 0, build.bytes.length, build.commands);
      else this.unsettle(state, null);
      return true;
    }
    // What came behind it may have been run before it.
    if (!isWhole || state.hasOpaqueUnseenBy(op)) this.unsettle(state, null);
    if (!isWhole) return true;
    const out = batch.select(state.db);
    if (state.log !== null || visibleType(state, origins) !== Type.stream) rebuildKey(out, state, origins);
    else {
      // With its groups, which are not among the elements.
      this.trims.wrote(state, state.elements());
      out.raw(build.bytes, 0, build.bytes.length, build.commands);
      writeElements(out, state, state.elements(), origins);
      writeTtl(out, state, origins);
    }
    return true;
  }

  /** The corrections of these keys are in Redis. */
  corrected(states: Iterable<KeyState>): void {
    for (const state of states) {
      if (!this.raced.has(state)) {
        state.raced = state.trimmed = null;
        this.arrived.delete(state);
        state.isDue = false;
      }
      state.owing = NONE;
      state.corrections--;
      this.correcting--;
      this.window.release(state);
    }
  }

  // ——— others' operations

  /**
   * Plans one record. It must be deliverable. Operations at or before `after` are skipped (already in Redis).
   */
  plan(record: OpRecord, batch: Batch, after = -1): void {
    if (record.kind === RecordKind.state) this.noteState(record, batch);
    else if (after <= record.start && this.isCalmFor(record) && this.pass(record, batch)) this.setAside(record);
    else {
      this.indexTail();
      this.each(record, after, { plan: batch }, (command, scanner, op, db, added) => {
        this.planCommand(command, scanner, op, db, batch, record, added);
        batch.operations++;
      });
      this.writePending(batch);
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
    this.isBase = true;
    try {
      this.plan(record, batch);
    } finally {
      this.isBase = false;
    }
  }

  /** What is left of an effect of the base beside the own operations on the key; null for nothing. */
  private underOwn(state: KeyState, effect: KeyEffect): KeyEffect | null {
    const isDead = (type: Type, name: string): boolean =>
      state.findElement(type, name)?.baseDead ?? state.isBaseDead(type);
    switch (effect.kind) {
      case 'set':
        return isDead(Type.string, '') ? null : effect;
      case 'ttl':
        return state.ttlBaseDead ? null : effect;
      case 'put': {
        const left = effect.names.flatMap((name, i) => (isDead(effect.type, name) ? [] : [i]));
        if (left.length === effect.names.length) return effect;
        if (left.length === 0) return null;
        return { ...effect, names: left.map((i) => effect.names[i]!), values: left.map((i) => effect.values[i]!) };
      }
      case 'field-ttl': {
        const names = effect.names.filter((name) => {
          const element = state.findElement(effect.type, name);
          return !isDead(effect.type, name) && (element === undefined || element.ttls.length === 0);
        });
        return names.length === 0 ? null : { ...effect, names };
      }
      default:
        return effect;
    }
  }

  /** Passes a record whose operations meet nothing on as it came. @returns false when it holds more than plain ones */
  private pass(record: OpRecord, batch: Batch): boolean {
    // What was added to a number is added to what is here.
    if (record.added !== undefined) return false;
    const mark = batch.mark();
    const scanner = new CommandScanner();
    scanner.push(record.payload);
    let { db } = record;
    let operations = 0;
    while (scanner.next()) {
      const { buf, argStart, argEnd } = scanner;
      const command = findCommand(buf, argStart[0]!, argEnd[0]!) ?? UNKNOWN_COMMAND;
      if (command.class === Class.ignored) {
        if (command.code === Code.select) db = Number(argText(scanner, 1));
        continue;
      }
      if (!isPlain(command, scanner) || isOwnKey(command, scanner)) {
        batch.rewind(mark);
        return false;
      }
      if (command.code === Code.set && scanner.argc === 3) batch.set(db, buf, argEnd[0]! + 2, scanner.end);
      else batch.pass(db, buf, scanner.start, scanner.end);
      operations++;
    }
    batch.operations += operations;
    return true;
  }

  /**
   * The base is in Redis up to there, and so are the own operations that it met: what of it no own operation has met
   * since need not be known any longer.
   */
  foldBase(position: number): void {
    this.window.stabilise(this.base, position);
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
      this.each(record, -1, 'remember', (command, scanner, op, db, added) => {
        this.effects.length = 0;
        decodeEffects(command, scanner, this.effects, added);
        for (const effect of this.effects) {
          if (effect.kind === 'flush') this.flush(op, effect.scope === 'db' ? db : null);
          else if (effect.kind === 'swap') this.swap(effect.a, effect.b);
          else if (effect.kind === 'cap' || (effect.kind === 'group' && !effect.makesKey)) continue;
          else if (effect.kind === 'opaque') {
            if (effect !== this.effects[0]) continue;
            const opaque = this.readOpaque(command, scanner, op, record, db);
            for (const state of opaque.states) {
              const quiet = state.isQuietFor(op);
              this.insertOpaque(state, opaque, op);
              if (!quiet) this.unsettle(state, null);
            }
          } else {
            const state = this.stateFor(db, effect.key, op);
            const quiet = state.isQuietFor(op);
            const renewed = effect.kind === 'expire' && this.isRenewedHere(state, op);
            this.insert(state, effect, op);
            if (!quiet) {
              this.race(state, effect.kind === 'set' ? null : this.touched);
              this.checkSettled(state, effect, op);
            }
            if (renewed) {
              state.outlive(op);
              this.unsettle(state, this.options.region);
            }
          }
        }
      });
    this.noteRecord(record);
  }

  private planCommand(
    command: Command,
    scanner: CommandScanner,
    op: Op,
    db: number,
    batch: Batch,
    record: OpRecord,
    added: string | undefined,
  ): void {
    const effects = this.effects;
    effects.length = 0;
    decodeEffects(command, scanner, effects, added);
    const { buf, start, end } = scanner;
    if (effects.length === 0 || !('key' in effects[0]!)) this.writePending(batch);
    if (effects.length === 0) {
      if (command.class === Class.administrative && !isSentinelHello(command, scanner))
        batch.select(db).raw(buf, start, end, 1);
      return;
    }
    const only = effects[0]!;
    if (only.kind === 'opaque') {
      // A list, say, that an own operation has replaced or removed.
      if (this.isBase && only.keys.every((key) => this.window.find(db, key)?.isReplaced === true)) return;
      return this.planOpaque(this.readOpaque(command, scanner, op, record, db), scanner, op, db, batch);
    }
    if (only.kind === 'flush') return this.planFlush(only.scope === 'db' ? db : null, scanner, op, db, batch);
    if (only.kind === 'swap') {
      this.swap(only.a, only.b);
      batch.select(db).raw(buf, start, end, 1);
      return;
    }
    // The usual case: one key, and nobody else has touched it lately. The bytes go through as they came.
    for (const given of effects as KeyEffect[]) {
      if (given.kind === 'cap') continue;
      if (given.kind === 'group') {
        batch.select(db).raw(buf, start, end, 1);
        if (!given.makesKey) continue;
      }
      const state = this.stateFor(db, given.key, op);
      const effect = this.isBase ? this.underOwn(state, given) : given;
      if (effect === null) continue;
      const quiet = state.isQuietFor(op);
      if (!quiet && effect.kind === 'put' && effect.type === Type.stream && this.planEntries(state, effect, op))
        continue;
      if (this.pending.has(state)) this.writePending(batch, state);
      if (this.isBase && effect.kind === 'delete') {
        // Makes room for what follows. A client's write in this very moment is corrected by what it meets.
        rewriteAlone(batch.select(db), state, this.origins);
        this.window.note(state, op, null);
        continue;
      }
      if (effect.kind === 'expire') this.planExpire(state, op);
      else if (quiet && !state.unsettled) {
        this.insert(state, effect, op);
        const out = batch.select(db);
        if (effects.length === 1 && isUnconditional(command, scanner) && !isDecimal(effect))
          out.raw(buf, start, end, 1);
        else writeEffect(out, effect);
      } else this.planConcurrent(state, effect, op, batch);
    }
  }

  /**
   * Entries that come below others, one by one, would each make room for themselves: those of a record are brought in at once.
   * @returns false where more than the entries has to be written
   */
  private planEntries(state: KeyState, effect: KeyEffect, op: Op): boolean {
    if (state.unsettled || state.hasOpaqueUnseenBy(op) || state.onlyType !== Type.stream) return false;
    this.count(effect);
    this.insert(state, effect, op);
    this.checkSettled(state, effect, op);
    const pending = this.pending.get(state);
    if (pending === undefined) this.pending.set(state, new Set(this.touched));
    else for (const element of this.touched) pending.add(element);
    return true;
  }

  /** Writes the entries that wait, of one stream or of all: before anything else that concerns it, and at a record's end. */
  private writePending(batch: Batch, only?: KeyState): void {
    for (const [state, elements] of this.pending) {
      if (only !== undefined && state !== only) continue;
      this.pending.delete(state);
      const out = batch.select(state.db);
      writeElements(out, state, elements, this.origins);
      // The key may just have come back, and a time to live of it have been here before.
      if (state.ttls.length > 0) writeTtl(out, state, this.origins);
    }
  }

  private planConcurrent(state: KeyState, effect: KeyEffect, op: Op, batch: Batch): void {
    const quiet = state.isQuietFor(op);
    if (!quiet) this.count(effect);
    const out = batch.select(state.db);
    if (state.hasOpaqueUnseenBy(op) || (state.unsettled && !state.isKnown)) {
      // The settler's state will say what holds; until then the operation is at least not missing. (A key whose state somebody
      // only asked for is merged as ever: it is what that state will say.)
      this.insert(state, effect, op);
      if (!quiet) this.noteConflict(state, effect, op);
      if (effect.kind !== 'set' && effect.kind !== 'delete') {
        this.unsettle(state, null);
        // What it had not seen stays, and Redis refuses no entry.
        if (effect.kind === 'trim') writeTrim(out, state, effect, this.touched, this.origins);
        else if (effect.kind === 'put' && effect.type === Type.stream)
          writeElements(out, state, this.touched, this.origins);
        else writeEffect(out, this.relative(effect));
      } else if (canRebuild(state, this.origins, ALONE)) {
        this.unsettle(state, null);
        rebuildKey(out, state, this.origins);
      }
      // Where it ran, what it had not seen is known to be missing, or to come.
      else this.unsettle(state, this.origins.region(op.origin));
      return;
    }
    this.insert(state, effect, op);
    if (!quiet) this.noteConflict(state, effect, op);
    this.checkSettled(state, effect, op);
    if (effect.kind === 'set' || effect.kind === 'delete') {
      if (state.stream !== null) this.trims.wrote(state, state.elements());
      rewriteKey(out, state, this.origins);
      return;
    }
    if (effect.kind === 'ttl') {
      writeTtl(out, state, this.origins);
      return;
    }
    if (effect.kind === 'group') return;
    if (state.onlyType === null) {
      // Which type stands may have changed, and elements of the one that stood may have been removed.
      if (state.stream !== null) this.trims.wrote(state, state.elements());
      rewriteKey(out, state, this.origins);
      return;
    }
    if (effect.kind === 'increment') {
      const put = winner(this.touched[0]!, this.origins);
      const resolved = resolve(this.touched[0]!, this.origins);
      // Relative where it can be: a client's write that is under way is then not overwritten, even for a moment.
      if (put === null && !this.touched[0]!.baseDead) writeEffect(out, this.relative(effect));
      else if (resolved.known) writeElement(out, state, this.touched[0]!, this.origins);
    } else if (effect.kind === 'trim') writeTrim(out, state, effect, this.touched, this.origins);
    else if (effect.kind === 'lastId') writeLastId(out, state);
    else writeElements(out, state, this.touched, this.origins);
    // The key may just have come back, and a time to live of it have been here before.
    if (state.ttls.length > 0) writeTtl(out, state, this.origins);
  }

  /** An increment as it is to be added to what is there, which may be no integer though it is one itself. */
  private relative(effect: KeyEffect): KeyEffect {
    if (effect.kind !== 'increment' || typeof effect.delta !== 'bigint') return effect;
    return this.touched[0]?.isDecimal === true ? { ...effect, delta: new Decimal(unitsOf(effect.delta)) } : effect;
  }

  private planOpaque(opaque: Opaque, scanner: CommandScanner, op: Op, db: number, batch: Batch): void {
    const { states } = opaque;
    const isQuiet = states.every((state) => state.isQuietFor(op) && !state.unsettled);
    const lacked = isQuiet ? this.lackedBy(states) : null;
    const { buf, start, end } = scanner;
    for (const state of states) this.insertOpaque(state, opaque, op);
    batch.select(db);
    const isAdded = opaque.kind === 'adds';
    // The region where it ran has its result, which is in no bytes.
    const settler = opaque.kind === 'gives' ? this.origins.region(op.origin) : null;
    const loose = isAdded ? (opaque.loose ?? Buffer.from(buf.subarray(start, end))) : null;
    if (lacked !== null) {
      const corrects = lacked.commands > 0;
      lacked.raw(buf, start, end, 1);
      const { commands } = lacked;
      batch.guarded({ bytes: lacked.take(), commands, op, states, loose, settler, corrects });
      return;
    }
    this.countConflict('verbatim');
    for (const state of states) {
      if (!state.isQuietFor(op)) this.noteConflict(state, { kind: 'opaque', keys: [state.key] }, op);
      this.unsettle(state, settler);
    }
    if (loose === null) return;
    batch.select(db).raw(loose, 0, loose.length, 1);
  }

  /**
   * What keys lack in Redis, so that what comes next meets what it met where it ran; it is not known in which order that stands in the block
   * otherwise.
   * @returns null where that can't be told
   */
  private lackedBy(states: readonly KeyState[]): CommandWriter | null {
    const out = new CommandWriter(256);
    for (const state of states) {
      if (state.corrections === 0) continue;
      if (this.arrived.has(state) || !state.isKnown) return null;
      correctKey(out, state, state.raced === 'all' ? null : state.raced, this.origins);
      state.isDue = false;
    }
    return out;
  }

  /**
   * Whether a guarded item may still run, now that the own stream has been read up to the watch.
   * @returns the item itself, or what runs in its place, whatever happens to its keys; null: nothing
   */
  admit(item: GuardedItem): BatchItem | null {
    if (item.states.every((state) => state.isQuietFor(item.op) && !state.unsettled)) return item;
    for (const state of item.states) if (item.corrects) this.makeAnew(state);
    for (const state of item.states)
      if (item.loose === null || !state.unsettled) this.unsettle(state, item.settler ?? state.settler);
    return item.loose === null ? null : { kind: 'plain', bytes: item.loose, commands: 1 };
  }

  /**
   * Another region saw the key expire. It is removed under watch, as corrections are: a client may have renewed it here
   * in the very moment.
   */
  private planExpire(state: KeyState, op: Op): void {
    const gone = state.isAbsent;
    const renewed = this.isRenewedHere(state, op);
    const opaque = state.hasOpaqueUnseenBy(op);
    state.expire(op);
    this.window.note(state, op, null);
    if (renewed) {
      state.outlive(op);
      this.unsettle(state, this.options.region);
    } else if (opaque) {
      this.unsettle(state, null);
      this.makeAnew(state);
    } else if (!gone) this.makeAnew(state);
  }

  /** Whether an expiry removes what a client of this region has given more time: this region still has it. */
  private isRenewedHere(state: KeyState, expiry: Op): boolean {
    return (
      [...state.ttls.filter(({ alone }) => alone).map(({ op }) => op), ...state.renewals].some(
        (op) => !saw(expiry, op) && this.origins.region(op.origin) === this.options.region,
      ) && state.holdsSeenBy(expiry)
    );
  }

  private planFlush(flushed: number | null, scanner: CommandScanner, op: Op, db: number, batch: Batch): void {
    this.flush(op, flushed);
    const out = batch.select(db);
    out.raw(scanner.buf, scanner.start, scanner.end, 1);
    for (const state of this.window.states(flushed ?? undefined))
      if (state.log !== null) rebuildKey(batch.select(state.db), state, this.origins);
      else if (visibleType(state, this.origins) !== -1) rewriteKey(batch.select(state.db), state, this.origins);
  }

  /** A flush removes what it has seen, of all keys. Those that it had not seen are still to come, or in the window. */
  private flush(op: Op, db: number | null, later = op): void {
    if (!this.window.isSeenBy(op)) this.window.fetchAll();
    for (const state of this.window.states(db ?? undefined)) {
      const quiet = state.isQuietFor(op);
      state.delete(later);
      this.window.note(state, op, null);
      if (state.hasOpaqueUnseenBy(op)) this.unsettle(state, null);
      // A correction on its way may run behind it: a key that isn't there when it is flushed does not stop its block.
      else if (!quiet || state.corrections > 0) this.race(state, null);
    }
    this.flushes.push({ op: later, db });
  }

  /**
   * States of whole keys, as one operation: a delete of all that it has seen, and what they hold.
   * @param batch that is to write them; null: they are there already
   */
  private noteState(record: OpRecord, batch: Batch | null): void {
    this.indexTail();
    if (isTrimReport(record)) return this.planTrims(record, batch ?? new Batch());
    const op = new StateOp(
      this.origins.index(record.origin),
      record.end,
      record.stamp,
      this.origins.toSeen(record.seen),
    );
    const parts = partsOf(record).map((part) => {
      const state = this.stateFor(record.db, part.key, op);
      // Of what is kept as commands, a string or its absence is no element either.
      return { ...part, state, isFloor: !part.isByElement || (!part.hasElements && state.log !== null) };
    });
    const whole = parts.filter(({ isWhole }) => isWhole);
    const together = new Set(whole.map(({ state }) => state));
    const isAdopted = whole.every(({ state, isFloor }) => !isFloor || this.isAdoptable(state, op, together));
    for (const part of parts) {
      const { state, effects, isFloor } = part;
      const quiet = state.isQuietFor(op);
      if (!part.isWhole) {
        for (const effect of effects) if (effect.kind === 'ttl') state.setTtl(op, effect.expireAt, false);
        this.noteTtlState(state, op, quiet, batch);
        continue;
      }
      const build = this.kept.keep(record, part.start, part.end, part.commands);
      if (!isFloor) {
        for (const effect of effects)
          if (effect.kind === 'ttl') state.setTtl(op, effect.expireAt, false);
          else this.apply(state, effect, op);
        state.log?.lay({ op, build: null });
      } else if (isAdopted) {
        state.settle(op, build);
        for (const effect of effects) if (effect.kind === 'ttl') state.setTtl(op, effect.expireAt, false);
      }
      this.window.note(state, op, null);
      if (isAdopted && batch !== null) {
        this.arrived.set(state, { op, build, together });
        this.race(state, null);
        batch.isClosed = true;
      }
      // What it had not seen is on it, but not everywhere in the same order: the next state has all.
      if (!isAdopted || state.hasOpaqueUnseenBy(op) || (isFloor && !quiet)) this.unsettle(state, null);
      else {
        this.unsettled.delete(state);
        this.doubted.delete(state);
        this.window.settle(state);
      }
    }
    if (batch === null) return;
    batch.operations++;
    if (op.stamp > batch.stamp) batch.stamp = op.stamp;
  }

  private noteTtlState(state: KeyState, op: Op, quiet: boolean, batch: Batch | null): void {
    this.window.note(state, op, null);
    if (batch !== null) writeTtl(batch.select(state.db), state, this.origins);
    if (highestTtl(state, this.origins)?.op === op) this.assured(state);
    else if (!quiet && !resolveTtl(state, this.origins).known) this.doubt(state);
  }

  /**
   * Whether a state may stand: it is no older than what a client has made of the key, and than other states, and nothing is lost that it had
   * not seen. Else the next one will.
   */
  private isAdoptable(state: KeyState, op: StateOp, together: ReadonlySet<KeyState>): boolean {
    if (state.isReplacedUnseenBy(op)) return false;
    const { log } = state;
    if (log === null) return true;
    return !log.isAbove(op, this.origins) && log.canRebuild([op], together);
  }

  /** Where streams begin in a region that has cut them. */
  private planTrims(record: OpRecord, batch: Batch): void {
    const op = new Op(this.origins.index(record.origin), record.end, record.stamp, this.origins.toSeen(record.seen));
    eachEffect(record, -1, (db, effect) => {
      if (effect.kind !== 'trim') return;
      const state = this.stateFor(db, effect.key, op);
      if (!state.isQuietFor(op) || state.unsettled) this.planConcurrent(state, effect, op, batch);
      else {
        this.insert(state, effect, op);
        writeTrim(batch.select(db), state, effect, this.touched, this.origins);
      }
    });
    batch.operations++;
    if (op.stamp > batch.stamp) batch.stamp = op.stamp;
  }

  /** The own state put of a key, read at an exact place of the own stream: nothing to apply, all to remember. */
  localState(record: OpRecord): void {
    this.noteState(record, null);
    this.noteRecord(record);
  }

  // ——— keys that only a state can settle

  private unsettle(given: KeyState, settler: string | null): void {
    this.indexTail();
    // It may have left the window while the batch that it was planned in waited.
    const state = this.window.ensure(given.db, given.key);
    this.window.hold(state);
    state.unsettled = true;
    if (settler !== null && state.settler !== ELSEWHERE) state.settler = settler;
    this.unsettled.add(state);
  }

  /**
   * Keys waiting for a state that this region has to send. `live`: the regions that can be reached, this one included.
   * Of those that are not `unsettled` only the time to live is in doubt: it is sent if there is one, and if not the core
   * is told that it `foundNoTtl`.
   */
  toSettle(live: readonly string[]): KeyState[] {
    const states = [...this.unsettled].filter((state) => this.settlerOf(state, live) === this.options.region);
    for (const state of this.doubted) if (!state.unsettled) states.push(state);
    return states;
  }

  /** The keys that are settled together with one: all that operations still in the window join with it. */
  joinedWith(state: KeyState): KeyState[] {
    const joined = new Set([state]);
    for (const { links } of joined)
      for (const other of links ?? NONE)
        if (joined.size < TOGETHER_MAX && other.db === state.db && !other.isGone && !other.hasLeft) joined.add(other);
    return [...joined];
  }

  /**
   * This region has looked, and has no time to live. Where one may hold all the same, the region that gave it knows whether
   * it does: it may be sure of it, and then says nothing by itself.
   */
  foundNoTtl(state: KeyState): void {
    const ttl = highestTtl(state, this.origins);
    this.assured(state);
    if (ttl !== null && ttl.isDoubtful && ttl.at !== null) this.unsettle(state, this.origins.region(ttl.op.origin));
  }

  private assured(state: KeyState): void {
    state.ttlDoubted = false;
    this.doubted.delete(state);
    this.window.release(state);
  }

  /** Keys that wait for a state from another region, by region. */
  awaited(live: readonly string[]): Map<string, KeyState[]> {
    const awaited = new Map<string, KeyState[]>();
    for (const state of this.unsettled) {
      const settler = this.settlerOf(state, live);
      if (settler === null || settler === this.options.region) continue;
      const states = awaited.get(settler);
      if (states === undefined) awaited.set(settler, [state]);
      else states.push(state);
    }
    return awaited;
  }

  /** The region that is to send a key's state; null: nobody who could. */
  settlerOf(state: KeyState, live: readonly string[]): string | null {
    const isElsewhere = state.settler === ELSEWHERE || this.isEmptied;
    const able = isElsewhere ? live.filter((region) => region !== this.options.region) : live;
    if (state.settler !== null && able.includes(state.settler)) return state.settler;
    return able.reduce<string | null>((lowest, region) => (lowest === null || region < lowest ? region : lowest), null);
  }

  /** Keys whose value here is not to be trusted: another region has to send their state. */
  awaitedElsewhere(): KeyState[] {
    return [...this.unsettled].filter((state) => state.settler === ELSEWHERE);
  }

  get unsettledKeys(): number {
    return this.unsettled.size + this.doubted.size;
  }

  /**
   * Asks for a key's state to be sent by a region, though nothing is known to be wrong with it here.
   * @param settler a region, or ELSEWHERE
   */
  demandState(db: number, key: string, settler: string): void {
    this.unsettle(this.window.ensure(db, key), settler);
  }

  /** Another region asks for a key's state. Where each waits for the other's, the first by name sends its own. */
  askedFor(db: number, key: string, by: string): void {
    const { region } = this.options;
    const state = this.window.ensure(db, key);
    if (state.settler === ELSEWHERE && region < by) state.settler = null;
    this.unsettle(state, region);
  }

  /**
   * Redis refused a command on the key (WRONGTYPE, a counter that is no number). The first time the rule's value is
   * written; where that is refused too, or the key has left the window meanwhile, a state settles it.
   * @param increment what the command adds, by INCRBY of Redis: a client here may just have made a decimal of what was an integer
   */
  refused(db: number, key: string, increment: IncrementEffect | null = null): void {
    const known = this.find(db, key);
    const state = known ?? this.window.ensure(db, key);
    if (typeof increment?.delta === 'bigint' && increment.type !== Type.zset) {
      state.owed = [...state.owed, increment];
      this.race(state, [state.element(increment.type, increment.name)]);
      return;
    }
    // Several commands of one block count once: the correction is on its way. Nobody else knows of the refusal.
    if (this.raced.has(state)) return;
    if (state.refusals++ === 0 && known !== undefined) this.race(state, null);
    else this.unsettle(state, this.options.region);
  }

  /** After an operation met ones that it had not seen: is the element-wise rule enough? */
  private checkSettled(state: KeyState, effect: Effect, op: Op): void {
    if (effect.kind === 'opaque' || state.hasOpaqueUnseenBy(op)) this.unsettle(state, null);
    else if (effect.kind === 'ttl') {
      // A client of this region gave more time to what elsewhere had expired: it was here, so its state goes out again.
      const { region } = this.options;
      if (this.origins.region(op.origin) === region && state.contradictsExpiry(op)) this.unsettle(state, region);
    } else if (effect.kind === 'field-ttl' || effect.kind === 'remove') {
      const keeper = keeperOf(this.touched, this.origins);
      if (keeper !== null) this.unsettle(state, keeper);
    } else if (effect.kind === 'increment' && typeof effect.delta === 'number' && !Number.isInteger(effect.delta)) {
      // The order of additions shows in a double's last digit, and what is in the base can't be reordered.
      const element = state.findElement(effect.type, effect.name);
      if (element !== undefined && element.puts.length === 0) this.unsettle(state, null);
    }
    const removes = effect.kind === 'delete' || effect.kind === 'expire';
    if (state.mayDifferInTtl && (!removes || state.ttls.length > 0)) this.doubt(state);
  }

  private doubt(state: KeyState): void {
    this.window.hold(state);
    state.ttlDoubted = true;
    this.doubted.add(state);
  }

  // ——— stability

  /**
   * A member's report of what it had seen, in order with its operations. What all have seen folds.
   * @param own the member's own origin and the position in it that the report belongs to
   */
  report(member: string, seen: Seen, own: { origin: OriginId; position: number }): void {
    const report = this.reports.get(member);
    if (report === undefined) return;
    const raise = (origin: number, position: number): void => {
      while (report.length <= origin) report.push(-1);
      if (report[origin]! < position) report[origin] = position;
    };
    for (let o = 0; o < seen.length; o++) raise(o, seen[o]!);
    raise(this.origins.index(own.origin), own.position);
    for (let o = 0; o < this.origins.size; o++) {
      let low = Infinity;
      for (const positions of this.reports.values()) low = Math.min(low, seenAt(positions, o));
      if (low >= 0) this.window.stabilise(o, low);
    }
    const { stable } = this.window;
    if (this.flushes.length > 0) this.flushes = this.flushes.filter((f) => seenAt(stable, f.op.origin) < f.op.position);
    this.tail.dropSeen(stable);
    this.window.settleShelf();
  }

  /** Members that have not reported to have seen an operation. */
  unseenBy(origin: number, position: number): string[] {
    return [...this.reports].filter(([, report]) => seenAt(report, origin) < position).map(([member]) => member);
  }

  /** What all members have reported to have seen. */
  stable(): Map<OriginId, number> {
    return this.origins.toVector(this.window.stable);
  }

  // ——— common

  /**
   * Visits a record's operations after a position. A plain SET of a key of which nothing but such is known, the usual
   * case, is dealt with at once.
   */
  private each(record: OpRecord, after: number, mode: Mode, visit: Visit): void {
    const scanner = new CommandScanner();
    scanner.push(record.payload);
    const origin = this.origins.index(record.origin);
    const seen = this.origins.toSeen(record.seen);
    const base = record.end - record.payload.length;
    const from = Math.max(after, this.skipped[origin] ?? -1);
    const { run, window } = this;
    let { db } = record;
    let index = 0;
    let source = this.window.open(new SetSource(record, origin, seen, db));
    try {
      const difference =
        record.kind === RecordKind.difference ? new Op(origin, record.end, record.stamp, seen) : undefined;
      while (scanner.next()) {
        // The arrays grow with a long command: no reference outlives a step.
        const { buf, argStart, argEnd } = scanner;
        const command = findCommand(buf, argStart[0]!, argEnd[0]!) ?? UNKNOWN_COMMAND;
        if (command.class === Class.ignored) {
          if (command.code !== Code.select) continue;
          this.noteRun(source, mode, visit);
          db = Number(argText(scanner, 1));
          if (db === source.db) continue;
          window.close(source);
          source = window.open(new SetSource(record, origin, seen, db));
          continue;
        }
        if (difference !== undefined) {
          if (record.end > from) visit(command, scanner, difference, db, undefined);
          continue;
        }
        const position = base + scanner.end;
        if (position > from && !isOwnKey(command, scanner)) {
          if (command.code === Code.set && scanner.argc === 3 && this.flushes.length === 0) {
            run.add(db, buf, scanner.start, argEnd[0]! + 2, argStart[1]!, argEnd[1]!, scanner.end, index);
            if (run.isFull) this.noteRun(source, mode, visit);
          } else {
            this.noteRun(source, mode, visit);
            const added = record.added?.get(index);
            visit(command, scanner, new Op(origin, position, record.stamp + index, seen), db, added);
          }
        }
        index++;
      }
      this.noteRun(source, mode, visit);
    } finally {
      run.size = 0;
      window.close(source);
    }
  }

  /** Deals with the SETs that have been gathered, in order. */
  private noteRun(source: SetSource, mode: Mode, visit: Visit): void {
    const { run, window } = this;
    const { size, starts, args, ends } = run;
    if (size === 0) return;
    const { db, origin, seen } = source;
    const payload = source.payload!;
    const plan = typeof mode === 'object' ? mode.plan : null;
    window.touch(run);
    for (let i = 0; i < size; i++) {
      const outcome = window.set(run, i, source, payload, !this.isBase);
      if (outcome === SetOutcome.complex) {
        const { single } = this;
        single.push(payload.subarray(starts[i], ends[i]));
        single.next();
        const op = new Op(origin, source.base + ends[i]!, source.stamp + run.indices[i]!, seen);
        visit(SET, single, op, db, undefined);
        continue;
      }
      if (outcome !== SetOutcome.quiet) {
        if (mode !== 'remember') {
          this.countConflict('string');
          if (this.conflicts !== null) this.noteSetConflict(run, i, source);
        }
        // An own one that wins was overwritten by the block that it met: Redis gets it back. So it may be where one is remembered.
        if (mode === 'remember' || (mode === 'local' && outcome === SetOutcome.wins))
          this.race(window.find(db, payload.toString('latin1', run.keys[i], run.keyEnds[i]))!, null);
      }
      if (plan === null) continue;
      // Of one that loses, the winner is in Redis already, or on its way.
      if (outcome !== SetOutcome.loses) plan.set(db, payload, args[i]!, ends[i]!);
      plan.operations++;
    }
    run.size = 0;
  }

  private stateFor(db: number, key: string, op: Op): KeyState {
    // What the shelf has may be later than the flush.
    if (this.flushes.length > 0 && this.window.find(db, key) === undefined) {
      const state = this.window.ensure(db, key);
      this.underFlushes(state);
      return state;
    }
    return this.window.ensure(db, key, op);
  }

  /** A key that a flush emptied: what it held before is dead even though the key was not in the window then. */
  private underFlushes(state: KeyState): void {
    for (const { op, db } of this.flushes)
      if ((db === null || db === state.db) && state.positionOf(op.origin) < op.position) {
        state.delete(op);
        this.window.note(state, op, null);
      }
  }

  /** Applies an effect to the window and counts it; `touched` then holds its elements. */
  private insert(state: KeyState, effect: Effect, op: Op): void {
    this.apply(state, effect, op);
    if (this.touched.length === 1 && effect.kind !== 'set') this.window.note(state, op, this.touched[0]!);
    else if (this.touched.length > 1) for (const element of this.touched) this.window.note(state, op, element);
    else this.window.note(state, op, null);
  }

  private apply(state: KeyState, effect: Effect, op: Op): void {
    const touched = this.touched;
    touched.length = 0;
    switch (effect.kind) {
      case 'set':
        if (effect.keepTtl && state.ttls.length > 0) keepTtls(state, op, this.origins);
        state.wipe(op, effect.keepTtl);
        touched.push(state.put(op, Type.string, '', effect.value));
        if (effect.expireAt !== null) state.setTtl(op, effect.expireAt, false);
        return;
      case 'delete':
        state.delete(op);
        return;
      case 'expire':
        state.expire(op);
        return;
      case 'ttl':
        state.setTtl(op, effect.expireAt, true);
        return;
      case 'increment': {
        const element = state.increment(op, effect.type, effect.name, effect.delta);
        element.compact(this.window.stable);
        touched.push(element);
        return;
      }
      case 'put':
        if (effect.type === Type.stream) {
          for (let i = 0; i < effect.names.length; i++)
            putEntry(state, op, effect.names[i]!, effect.values[i]!, this.origins, touched);
          for (const entry of touched) state.stream!.arrive(entry as StreamEntry);
          this.trims.wrote(state, touched);
          return;
        }
        for (let i = 0; i < effect.names.length; i++)
          touched.push(state.put(op, effect.type, effect.names[i]!, effect.values[i]!, effect.keepTtl));
        return;
      case 'field-ttl':
        for (const name of effect.names) touched.push(state.setFieldTtl(op, name, effect.expireAt));
        return;
      case 'remove':
        if (effect.type === Type.stream) {
          state.removeOtherTypes(op, Type.stream);
          for (const id of effect.names) removeEntry(state, op, id, this.origins, touched);
          this.trims.wrote(state, touched);
          return;
        }
        for (const name of effect.names) touched.push(state.remove(op, effect.type, name));
        return;
      case 'trim':
        state.removeOtherTypes(op, Type.stream);
        touched.push(
          state.element(Type.stream, HEAD),
          ...trimEntries(state, op, effect.minId, effect.keep, this.origins),
        );
        return;
      case 'lastId':
      case 'group':
        touched.push(putHead(state, op, effect.kind === 'group' ? '0-0' : effect.id));
        return;
      case 'cap':
        return;
      case 'opaque':
      case 'flush':
      case 'swap':
        return;
    }
  }

  private noteConflict(state: KeyState, effect: Effect, op: Op): void {
    const { conflicts } = this;
    if (conflicts === null || this.isBase || !conflicts.wants()) return;
    for (const conflict of conflictsOf(state, effect, op, this.touched, this.origins)) conflicts.note(conflict);
  }

  private noteSetConflict({ keys, keyEnds, ends }: SetRun, i: number, { db, origin, base, payload }: SetSource): void {
    if (this.isBase || !this.conflicts!.wants()) return;
    const key = payload!.toString('latin1', keys[i], keyEnds[i]);
    const conflict = setConflict(db, key, this.window.lastPuts(), [origin, base + ends[i]!], this.origins);
    if (conflict !== null) this.conflicts!.note(conflict);
  }

  private count(effect: Effect): void {
    this.countConflict('type' in effect ? TYPE_NAMES[effect.type] : effect.kind === 'set' ? 'string' : effect.kind);
  }

  private countConflict(type: string): void {
    this.counters.conflicts[type] = (this.counters.conflicts[type] ?? 0) + 1;
  }
}

function isDecimal(effect: KeyEffect): boolean {
  return effect.kind === 'increment' && effect.delta instanceof Decimal;
}
