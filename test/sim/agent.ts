/**
 * A model of the sync agent around the real recorder and the real merge core: journal, links, applier and settler of
 * agent/session and agent/apply, cut into steps between which anything may happen.
 */
import { Batch, type BatchItem } from '../../agent/merge/batch';
import { commandByName } from '../../agent/merge/commands';
import { ADD_SCRIPT } from '../../agent/merge/decimal';
import { MergeCore } from '../../agent/merge/core';
import { ELSEWHERE } from '../../agent/merge/settling';
import { addedEntryOf, incrementOf } from '../../agent/merge/effects';
import { missingOf, rememberFrom, Replay, restOf } from '../../agent/merge/replay';
import type { KeyState } from '../../agent/merge/key-state';
import { MemoryFile, type ShelfFiles } from '../../agent/merge/shelf';
import { postponePassed } from '../../agent/merge/late-ttl';
import { CommandScanner } from '../../agent/resp';
import { isOfStream, type OpRecord, type OriginId, RecordKind, regionOf, streamOrigin } from '../../agent/record';
import { isOfGroup } from '../../agent/merge/forms';
import { trimReport } from '../../agent/merge/stream-commands';
import { CURSOR_KEY, formatMarker, HEARTBEAT_KEY, type Marker, parseMarker, stampOf } from '../../agent/stream/keys';
import { Numbers } from '../../agent/stream/numbers';
import { positionAfter } from '../../agent/stream/position';
import type { ConflictPolicies } from '../../model';
import { Recorder, type RecorderState } from '../../agent/stream/recorder';
import { Comparison, type DonorData, entryOf, type OwnData, takeData } from './difference';
import { SimJournal } from './journal';
import { type Argv, CommandFailed, encode, parseCommands, type Redis } from './redis';
import { idsIn } from './stream';

/** A region's report of what it has seen, in order with its records. */
export interface SimBeat {
  /** Grows with every beat of a region. */
  readonly seq: number;
  readonly region: string;
  readonly origin: OriginId;
  readonly position: number;
  readonly seen: ReadonlyMap<OriginId, number>;
  /** End of the origin's last record before the beat. */
  readonly after: number;
}

export interface SimAgentHost {
  readonly region: string;
  readonly members: readonly string[];
  readonly policies: ConflictPolicies;
  /** Beyond so much memory the window goes to a shelf. */
  readonly shelf: { budgetBytes: number; operations: number } | undefined;
  redis(): Redis;
  /** The agent's clock, ms. */
  now(): number;
  /** A clock that only goes forward, ms. */
  uptime(): number;
  /** Regions that this one can talk to, itself included. */
  live(): string[];
  /** What a failover can't take back: offset of the own stream that is safe. */
  safeOffset(): number;
  nextSeq(): number;
  /** Which of `n`. */
  pick(n: number): number;
  trace(text: string): void;
  /** Asks another region for the state of a key. */
  ask(region: string, db: number, key: string): void;
  /** An own record is on disk. */
  durable(record: OpRecord): void;
  /** Up to where all other regions have an origin on disk. */
  durableElsewhere(origin: OriginId): number;
  /** The furthest that another region has an origin, whether it can be reached or not. */
  knownElsewhere(origin: OriginId): number;
  /** Other agents that this one can talk to, and that take part; in any order. */
  peers(): SimAgent[];
}

/** What an agent keeps beside its journal. */
interface Document {
  replId: string;
  origin: OriginId;
  past: ReadonlyMap<OriginId, number>;
  /** Keys whose value waits for another region's state. */
  awaited: { db: number; key: string }[];
}

/** A block was found in the stream that this agent did not send: it starts anew. */
export class ForeignHand extends Error {}

const SHELF_FILES: ShelfFiles = {
  create: () => new MemoryFile(),
  failed: (error) => {
    throw error;
  },
};

const SETTLE_REST_MS = 30;
const SETTLE_AGAIN_MS = 1000;
const AWAIT_MS = 3000;
const BATCH_RECORDS = 4;
/** Few, so that some are forgotten. */
const NUMBERS_MAX = 16;

export class SimAgent {
  readonly journal: SimJournal;
  core!: MergeCore;
  recorder: Recorder | null = null;
  alive = false;
  /** The newest beat known of each region. */
  readonly beats = new Map<string, SimBeat>();
  /** What a crash may leave to run in Redis. */
  sent: (() => void) | null = null;
  waitingFor = '';
  private life = 0;
  private blocks = 0;
  private vector = new Map<OriginId, number>();
  private maxStamp = 0;
  /** Bytes of the stream given to the recorder, whole commands or not. */
  private readPosition = 0;
  private document: Document | null = null;
  /** Origins of the histories of this region's Redis, and the offsets from which they are recorded. */
  readonly histories = new Map<string, { origin: OriginId; from: number }>();
  /** What Redis has held of own older origins since its history began. */
  get past(): ReadonlyMap<OriginId, number> {
    return this.document?.past ?? new Map();
  }
  /** What comes from peers goes to the inbox. */
  private isRebuilt = false;
  /** The origin whose stream is about to be read. */
  private nextOrigin: OriginId | null = null;
  /** Tells the core what is in Redis already, before anything is planned. */
  private replay: Replay | null = null;
  /** Own records that wait meanwhile. */
  private backlog: OpRecord[] = [];
  private cursor: string | null = null;
  private inbox = new Map<OriginId, OpRecord[]>();
  private pendingBeats: SimBeat[] = [];
  private ownBeats: SimBeat[] = [];
  private pumping!: Generator<void>;
  private landed = '';
  private landedOffset = 0;
  private awaitedSince = new WeakMap<KeyState, number>();
  private settleDue = new WeakMap<KeyState, number>();
  settlements = 0;
  refusals = 0;

  constructor(private readonly host: SimAgentHost) {
    this.journal = new SimJournal((record) => {
      if (regionOf(record.origin) === host.region) host.durable(record);
    });
  }

  get unsynced(): number {
    return this.journal.unsynced;
  }

  get region(): string {
    return this.host.region;
  }

  get origin(): OriginId | null {
    return this.recorder?.state.origin ?? null;
  }

  redis(): Redis {
    return this.host.redis();
  }

  /** It takes part. */
  get isOpen(): boolean {
    return this.alive && this.recorder !== null && this.replay === null;
  }

  /** Above that of all operations that it has read, and of those that it has applied. */
  get stamp(): number {
    return Math.max(this.stream.stamp, this.maxStamp);
  }

  private get stream(): RecorderState {
    return this.recorder!.state;
  }

  // ——— life

  /** @param survivors how many of the records that were not fsynced are on disk nevertheless */
  crash(survivors: number, late: boolean): void {
    this.alive = false;
    if (late) this.sent?.();
    this.sent = null;
    this.journal.crash(survivors);
  }

  /** Whatever broke, the way back is one: read the cursor, rebuild the window from the journal, go on reading. */
  start(): void {
    const { host, journal } = this;
    const redis = host.redis();
    this.life++;
    this.alive = true;
    this.sent = null;
    const { shelf } = host;
    this.core = new MergeCore({
      region: host.region,
      members: host.members,
      policies: host.policies,
      payloads: journal.payloads,
      ...(shelf && { shelf: { ...shelf, files: SHELF_FILES } }),
    });
    this.inbox = new Map();
    this.pendingBeats = [];
    this.ownBeats = [];
    this.landed = '';
    this.settleDue = new WeakMap();
    this.recorder = null;
    this.replay = null;
    this.nextOrigin = null;
    this.isRebuilt = false;
    this.backlog = [];
    this.cursor = redis.get(0, CURSOR_KEY);
    const marker = this.cursor === null ? null : parseMarker(this.cursor);
    this.vector = new Map(marker?.vector);
    this.maxStamp = marker?.stamp ?? 0;
    const { document } = this;
    for (const [old, position] of this.past) this.vector.set(old, Math.max(position, this.vector.get(old) ?? -1));
    if (document !== null && document.replId !== redis.replId && redis.previous === null) {
      this.pumping = this.compareAndPump(redis);
      // What Redis holds now is compared.
      this.pumping.next();
      return;
    }
    const origin = document?.replId === redis.replId ? document.origin : streamOrigin(host.region, redis.replId);
    if (journal.end(origin) === undefined) this.open(origin, redis);
    const replay = this.rebuild(origin);
    for (const { db, key } of document?.awaited ?? []) this.core.settling.demandState(db, key, ELSEWHERE);
    const state = resume(journal, origin);
    const isFresh = redis.previous === null && state.offset === redis.start && [...redis.keys()].length === 0;
    this.read(state, redis, new Numbers(isFresh, NUMBERS_MAX));
    this.pumping = this.rememberAndPump(replay);
    this.pumping.next();
  }

  /** Begins to read the own stream. */
  private read(state: RecorderState, redis: Redis, numbers: Numbers): void {
    this.readPosition = state.offset;
    this.recorder = new Recorder(
      state,
      {
        record: (record) => this.ownRecord(record),
        marker: (found, offset) => this.ownMarker(found, offset),
        heartbeat: (_, offset) => this.ownBeat(offset),
        getAck: () => undefined,
      },
      { numbers, policies: this.host.policies },
    );
    const { document } = this;
    const own = ([origin]: [OriginId, number]): boolean => regionOf(origin) === this.region && origin !== state.origin;
    this.document = {
      replId: redis.replId,
      origin: state.origin,
      past: document?.replId === redis.replId ? document.past : new Map([...this.vector].filter(own)),
      awaited: [],
    };
    this.fsync();
    if (!this.histories.has(redis.replId))
      this.histories.set(redis.replId, { origin: state.origin, from: this.journal.birthOf(state.origin).end });
  }

  /**
   * Redis began anew from its disk: what clients did there while nobody was reading is the difference between what it holds
   * and what another region does. See agent/session/difference.ts.
   */
  private *compareAndPump(redis: Redis): Generator<void> {
    const { host, journal, vector, region } = this;
    const startedMs = host.now();
    // For a new replica the stream begins with the database that it is in.
    redis.noise('select');
    const mine: OwnData = {
      keys: redis.snapshot(),
      vector,
      heartbeatMs: Number(redis.get(0, HEARTBEAT_KEY) ?? 0),
    };
    const old = this.document!.origin;
    for (const origin of journal.origins())
      if (regionOf(origin) === region && (origin === old || !vector.has(origin)))
        vector.set(origin, journal.end(origin)!);
    const older = new Set([...vector.keys()].filter((origin) => regionOf(origin) === region && origin !== old));
    const last = journal.lastOf(old)!;
    const { offset } = redis;
    const state: RecorderState = {
      origin: streamOrigin(region, redis.replId, offset),
      offset,
      end: offset,
      stamp: Math.max(last.stamp + last.ops, this.maxStamp + 1),
      seen: new Map(vector),
      db: 0,
    };
    const known = journal.end(state.origin);
    if (known !== undefined) state.end = known;
    this.nextOrigin = state.origin;
    this.waitingFor = 'a donor';
    let donor: SimAgent | undefined;
    let theirs!: DonorData;
    for (;;) {
      const peers = host.peers();
      // What the journal has lost of this region, and only one has who can't be reached, would be told twice (Limits): it is waited for.
      const reach = (origin: OriginId): number => (regionOf(origin) === region ? host.knownElsewhere(origin) : -1);
      const needs = [...vector];
      // A history without any operation is in nobody's vector.
      const firstOf = (origin: OriginId): number =>
        journal.end(origin) === undefined ? -1 : journal.birthOf(origin).end;
      // What an earlier try has told of this history.
      if (known !== undefined) needs.push([state.origin, known]);
      donor = peers[0];
      if (donor !== undefined) {
        theirs = takeData(donor);
        const isBehind = needs.some(
          ([origin, position]) => (theirs.vector.get(origin) ?? firstOf(origin)) < Math.max(position, reach(origin)),
        );
        if (!isBehind) break;
      }
      yield;
    }
    host.trace(`${region} compares with ${donor.region}`);
    yield;
    // Values are read later than digests.
    if (!donor.alive) throw new ForeignHand();
    const values = takeData(donor);
    const until = new Map(theirs.vector);
    for (const [origin, position] of values.vector) until.set(origin, Math.max(position, until.get(origin) ?? -1));
    this.waitingFor = 'records that the donor has';
    const isMissing = ([origin, position]: [OriginId, number]): boolean =>
      (regionOf(origin) !== region || origin === old) && (journal.durableEnd(origin) ?? -1) < position;
    while ([...until].some(isMissing)) yield;
    const comparison = new Comparison({
      region,
      policies: host.policies,
      mine,
      before: old,
      older,
      theirs,
      values,
      records: journal.all(),
      startedMs,
      nowMs: host.now(),
    });
    for (const [origin, position] of theirs.vector)
      if (regionOf(origin) === region && origin !== state.origin && !older.has(origin))
        vector.set(origin, Math.max(position, vector.get(origin) ?? -1));
    if (comparison.keptUntil !== null) {
      host.trace(`${region} lost what is behind ${old}@${comparison.keptUntil}`);
      vector.set(old, comparison.keptUntil);
    }
    const replay = this.rebuild(state.origin);
    for (const { db, key } of this.document!.awaited) this.core.settling.demandState(db, key, ELSEWHERE);
    if (missingOf(replay, this.others()).length > 0 || replay.waiting().length > 0) this.replay = replay;
    const found = comparison.differences(this.core);
    state.seen = new Map(vector);
    state.stamp = Math.max(state.stamp, theirs.stamp + 1, stampOf(mine.heartbeatMs) + 1);
    if (known === undefined) {
      journal.append({ ...recordAt(state), kind: RecordKind.birth });
      this.core.assume(state.origin, state.end);
    }
    for (const { db, payload } of found.operations) {
      const end = positionAfter(state.end)!;
      const record = journal.append({ ...recordAt(state), kind: RecordKind.difference, db, payload, ops: 1, end });
      state.end = end;
      state.stamp++;
      host.trace(
        `${region} finds ${parseCommands(payload)
          .map((c) => c.argv.join(' '))
          .join('; ')}`,
      );
      this.tell(record);
    }
    for (const { db, key, id } of found.missing) this.core.refused(db, key, { increment: null, entry: id });
    for (const { db, key } of found.unsettled) {
      this.core.settling.demandState(db, key, ELSEWHERE);
      host.ask(donor.region, db, key);
    }
    const numbers = new Numbers(true, NUMBERS_MAX);
    for (const { db, key, value, expireAt } of mine.keys.keys()) numbers.load(entryOf(db, key, value, expireAt));
    this.read(state, redis, numbers);
    yield* this.rememberAndPump(replay);
  }

  /** What is in Redis already, and not in the journal, comes from peers again; before that nothing is merged. */
  private *rememberAndPump(replay: Replay): Generator<void> {
    const held = this.others();
    if (missingOf(replay, held).length > 0 || replay.waiting().length > 0) {
      this.replay = replay;
      this.waitingFor = 'records that are in Redis already';
      for (;;) {
        rememberFrom(this.lanes, replay, held);
        if (missingOf(replay, held).length === 0) break;
        yield;
      }
    }
    for (const [origin, position] of held) this.core.assume(origin, position);
    replay.finish();
    this.replay = null;
    for (const record of this.backlog.splice(0)) this.core.local(record);
    this.takeBeats();
    yield* this.pump();
  }

  /** What Redis holds of all origins but the present one. */
  private others(): Map<OriginId, number> {
    const present = this.origin ?? this.nextOrigin;
    return new Map([...this.vector].filter(([origin]) => origin !== present));
  }

  private readonly lanes = {
    origins: (): Iterable<OriginId> => this.inbox.keys(),
    peek: (origin: OriginId): OpRecord | undefined => this.inbox.get(origin)?.[0],
    take: (origin: OriginId): void => void this.inbox.get(origin)!.shift(),
  };

  /** A new history. Of the older ones this Redis holds all, but for what a failover lost. */
  private open(origin: OriginId, redis: Redis): void {
    const { journal, vector } = this;
    let stamp = this.maxStamp + 1;
    const { previous } = redis;
    if (previous !== null) {
      const old = this.histories.get(previous.redis.replId)!.origin;
      const state = resume(journal, old);
      if (state.offset < previous.end)
        new Recorder(
          state,
          {
            record: (record) => void journal.append(record),
            marker: () => undefined,
            heartbeat: () => undefined,
            getAck: () => undefined,
          },
          { policies: this.host.policies },
        ).push(previous.redis.read(state.offset, previous.end - state.offset));
      // An operation behind the last byte that is left, and before the next, belongs to it.
      const kept = journal.all().filter(({ origin: o, end }) => o === old && end < previous.end + 1);
      const top = Math.max(...kept.map(({ end }) => end));
      vector.set(old, top === journal.end(old) ? top : Math.max(previous.end, top));
      const last = journal.lastOf(old)!;
      stamp = Math.max(stamp, last.stamp + last.ops);
    }
    const at = redis.start;
    journal.append({
      kind: RecordKind.birth,
      origin,
      start: at,
      end: at,
      stamp,
      ops: 0,
      db: 0,
      seen: new Map(vector),
      payload: Buffer.alloc(0),
    });
    journal.fsync();
  }

  private rebuild(origin: OriginId): Replay {
    const { core, journal, vector } = this;
    this.isRebuilt = true;
    for (const [known, end] of journal.trimmed) core.assume(known, end);
    for (const [known, position] of journal.low)
      core.skip(known, known === origin ? position : Math.min(position, vector.get(known) ?? -1));
    const replay = new Replay(core, this.region);
    for (const record of journal.all()) {
      const low = journal.low.get(record.origin) ?? -1;
      if (record.end <= (record.origin === origin ? low : Math.min(low, vector.get(record.origin) ?? -1))) {
        core.assume(record.origin, record.end);
        replay.advance();
        continue;
      }
      const rest = replay.take(record, record.origin === origin ? Infinity : (vector.get(record.origin) ?? -1));
      if (rest !== null) this.offer(rest);
    }
    replay.endOwnPast(vector, origin);
    return replay;
  }

  // ——— the own stream

  readStream(maxBytes: number): boolean {
    if (this.recorder === null) return false;
    const bytes = this.host.redis().read(this.readPosition, maxBytes);
    this.readPosition += bytes.length;
    this.recorder.push(bytes);
    return bytes.length > 0;
  }

  get unread(): number {
    return this.host.redis().offset - this.readPosition;
  }

  private ownRecord(record: OpRecord): void {
    this.tell(this.journal.append(record));
  }

  private tell(record: OpRecord): void {
    if (this.replay === null) this.core.local(record);
    else this.backlog.push(record);
  }

  private ownMarker(marker: Marker, offset: number): void {
    this.landed = marker.block;
    this.landedOffset = offset;
    this.ownBeat(offset);
  }

  private ownBeat(position: number): void {
    const { origin, seen, end } = this.stream;
    const { region } = this;
    const seq = this.host.nextSeq();
    this.ownBeats.push({ seq, region, origin, position, seen: new Map(seen), after: end });
    this.publishBeats();
  }

  /** A report goes out when no crash and no failover can take it back. */
  publishBeats(): void {
    while (this.ownBeats.length > 0) {
      const beat = this.ownBeats[0]!;
      if (beat.position > this.host.safeOffset() || beat.after > (this.journal.readableEnd(beat.origin) ?? -1)) return;
      // Own operations that a failover lost have to be here again first.
      for (const old of this.journal.origins())
        if (regionOf(old) === this.region && old !== beat.origin)
          if ((beat.seen.get(old) ?? -1) < this.journal.end(old)!) {
            this.ownBeats.shift();
            return;
          }
      this.ownBeats.shift();
      this.beats.set(beat.region, beat);
      this.report(beat);
    }
  }

  fsync(): void {
    this.journal.fsync();
    if (this.document === null || this.recorder === null) return this.publishBeats();
    this.document.awaited = this.core.settling.awaitedElsewhere().map(({ db, key }) => ({ db, key }));
    this.publishBeats();
  }

  heartbeat(): void {
    if (this.recorder === null) return;
    this.host.redis().run(0, [['SET', HEARTBEAT_KEY, String(this.host.now())]]);
  }

  // ——— others' operations

  /** The next record of an origin, from a peer. @returns false when it was not wanted */
  receive(record: OpRecord): boolean {
    // Of own older histories it takes what its journal has lost.
    if (record.origin === (this.origin ?? this.nextOrigin)) return false;
    const end = this.journal.end(record.origin);
    if (end === undefined ? record.kind !== RecordKind.birth : record.end <= end) return false;
    if (end !== undefined && record.start > end) throw new Error(`a gap in ${record.origin} at ${end}`);
    const kept = this.journal.append(end !== undefined && record.start < end ? restOf(record, end) : record);
    if (this.isRebuilt) this.offer(kept);
    return true;
  }

  receiveBeat(beat: SimBeat): void {
    if ((this.beats.get(beat.region)?.seq ?? -1) >= beat.seq) return;
    this.beats.set(beat.region, beat);
    this.pendingBeats.push(beat);
    this.takeBeats();
  }

  private takeBeats(): void {
    if (this.recorder === null || this.replay !== null) return;
    this.pendingBeats = this.pendingBeats.filter((beat) => {
      let known = this.core.knownOf(beat.origin) >= beat.after;
      for (const [origin, position] of beat.seen) if (this.core.knownOf(origin) < position) known = false;
      if (known) this.report(beat);
      return !known;
    });
  }

  private report(beat: SimBeat): void {
    const { core } = this;
    core.report(beat.region, core.origins.toSeen(beat.seen), { origin: beat.origin, position: beat.position });
  }

  private offer(record: OpRecord): void {
    const lane = this.inbox.get(record.origin);
    if (lane === undefined) this.inbox.set(record.origin, [record]);
    else lane.push(record);
  }

  get pending(): number {
    let n = 0;
    for (const lane of this.inbox.values()) n += lane.length;
    return n;
  }

  trim(): number {
    // Before that it knows nothing of what all have seen.
    if (!this.isRebuilt) return 0;
    const { core } = this;
    const low = core.stable();
    for (const [origin, position] of core.lowWater()) {
      const id = core.origins.id(origin);
      if ((low.get(id) ?? -1) >= position) low.set(id, position - 1);
    }
    return this.journal.trim(low, (origin) => this.host.durableElsewhere(origin));
  }

  // ——— applying

  /** One step of the applier, up to the next place where something may come between. */
  step(): void {
    this.pumping.next();
  }

  private *pump(): Generator<void> {
    for (;;) {
      const batch = this.collect();
      if (batch !== null || this.core.corrections.racedKeys > 0) {
        yield* this.applyBatch(batch ?? new Batch());
        this.takeBeats();
        continue;
      }
      if (this.core.trims.isDue) yield* this.reportTrims();
      if (this.core.settling.unsettledKeys > 0) {
        this.askForStates();
        yield* this.settleOne();
      }
      this.waitingFor = 'work';
      yield;
    }
  }

  private collect(): Batch | null {
    const { core } = this;
    let batch: Batch | null = null;
    let records = 0;
    const max = 1 + this.host.pick(BATCH_RECORDS);
    for (let progress = true; progress && records < max && batch?.isClosed !== true;) {
      progress = false;
      for (const [origin, lane] of this.inbox) {
        const record = lane[0];
        if (record === undefined || records >= max || batch?.isClosed === true) continue;
        const held = this.vector.get(origin) ?? -1;
        if (record.end <= held) {
          lane.shift();
          core.assume(origin, record.end);
          progress = true;
          continue;
        }
        if (!core.isDeliverable(record)) continue;
        batch ??= new Batch();
        lane.shift();
        core.plan(record, batch, held);
        this.vector.set(origin, record.end);
        records++;
        progress = true;
      }
    }
    return batch;
  }

  private *applyBatch(batch: Batch): Generator<void> {
    this.maxStamp = Math.max(this.maxStamp, batch.stamp);
    const raced = this.core.corrections.takeRaced();
    yield* this.apply(
      batch,
      `${this.life}:${++this.blocks}`,
      raced,
      raced.length === 0 ? null : (extra) => this.core.corrections.correct(raced, extra),
    );
    this.core.corrections.corrected(raced);
  }

  private *apply(
    batch: Batch,
    block: string,
    states: readonly KeyState[],
    amend: ((batch: Batch) => void) | null,
    read?: () => void,
  ): Generator<void> {
    const redis = this.host.redis();
    let fixed = [...batch.finish()];
    for (;;) {
      const watchedStates = new Set(states);
      for (const item of fixed) if (item.kind === 'guarded') for (const state of item.states) watchedStates.add(state);
      const keys = [{ db: 0, key: CURSOR_KEY }, ...watchedStates];
      const watched = redis.watch(keys);
      if (redis.get(0, CURSOR_KEY) !== this.cursor) throw new ForeignHand();
      let items: BatchItem[] = fixed;
      if (watchedStates.size > 0) {
        const fence = redis.offset;
        this.waitingFor = `own stream up to ${fence}`;
        while (this.stream.offset < fence) yield;
        fixed = fixed.flatMap((item) => (item.kind === 'plain' ? [item] : (this.core.opaques.admit(item) ?? [])));
        items = fixed;
        if (amend !== null) {
          const extra = new Batch();
          amend(extra);
          items = [...items, ...extra.finish()];
        }
      }
      const commands: Argv[] = [];
      for (const item of items)
        commands.push(...parseCommands(postponePassed(item.bytes, this.host.now())).map(({ argv }) => argv));
      const text = formatMarker({ block, stamp: this.maxStamp, vector: this.vector });
      const send = (): ReturnType<Redis['exec']> =>
        redis.exec(watched, 0, [...commands, ['SELECT', '0'], ['SET', CURSOR_KEY, text]]);
      this.sent = () => void send();
      this.waitingFor = 'the block to reach Redis';
      yield;
      this.sent = null;
      const replies = send();
      this.host.trace(
        `${this.region} EXEC ${block} ${replies === null ? 'nil' : 'ok'} ${commands.map(textOf).join('; ')}` +
          ` [${[...this.vector].map(([o, p]) => `${o}=${p}`).join(',')}]`,
      );
      if (replies === null) continue;
      this.cursor = text;
      read?.();
      this.refused(commands, replies);
      return;
    }
  }

  private refused(commands: readonly Argv[], replies: readonly unknown[]): void {
    let db = 0;
    commands.forEach((argv, i) => {
      if (argv[0] === 'SELECT') db = Number(argv[1]);
      if (!(replies[i] instanceof CommandFailed)) return;
      this.refusals++;
      this.host.trace(`${this.region} refused ${textOf(argv)}`);
      if (isOfGroup(argv[0]!)) return;
      if (argv[0] === 'EVAL') return this.core.refused(db, argv[3]!);
      const scanner = new CommandScanner();
      scanner.push(encode(argv));
      scanner.next();
      const command = commandByName(argv[0]!);
      const isError = /^ERR/.test(replies[i].message);
      if (command === undefined || !isError) return this.core.refused(db, argv[1]!);
      this.core.refused(db, argv[1]!, {
        increment: incrementOf(command, scanner),
        entry: addedEntryOf(command, scanner),
      });
    });
  }

  /** What other regions should settle, and may not know of. */
  private askForStates(): void {
    const now = this.host.uptime();
    for (const [region, states] of this.core.settling.awaited(this.host.live()))
      for (const state of states) {
        const since = this.awaitedSince.get(state);
        if (since === undefined) this.awaitedSince.set(state, now);
        else if (now - since >= AWAIT_MS) {
          this.awaitedSince.set(state, now);
          this.host.ask(region, state.db, state.key);
        }
      }
  }

  /** A peer asks for the state of a key. */
  demand(db: number, key: string, by: string): void {
    this.core.settling.askedFor(db, key, by);
  }

  /** As agent/session/session.ts has it. */
  private *reportTrims(): Generator<void> {
    const { core, host } = this;
    const { trims } = core;
    for (const stream of trims.choose(host.uptime(), 1 + host.pick(3))) {
      const { db, key } = stream;
      if (core.isAmiss(db, key)) continue;
      trims.look(stream);
      const value = host.redis().entry(db, key)?.value;
      const beginning = value?.type === 'stream' ? trims.beginning(stream, idsIn(value), value.lastId) : null;
      this.waitingFor = 'a look to be answered';
      yield;
      const at = this.stream;
      const end = positionAfter(Math.max(at.offset, at.end));
      if (beginning === null || !trims.isNews(stream, beginning)) trims.done(stream, beginning, host.uptime());
      else if (
        end === null ||
        this.recorder!.inBlock ||
        core.isAmiss(db, key) ||
        trims.isOutdated(stream, beginning.first)
      )
        trims.retry(stream, host.uptime());
      else {
        const payload = trimReport([{ key, ...beginning }]);
        const record: OpRecord = { ...recordAt(at), kind: RecordKind.state, db, payload, ops: 1, end };
        at.end = end;
        at.stamp++;
        host.trace(`${this.region} reports ${parseCommands(payload)[0]!.argv.join(' ')}`);
        core.localState(this.journal.append(record));
        trims.done(stream, beginning, host.uptime());
      }
    }
  }

  private *settleOne(): Generator<void> {
    const { core } = this;
    const now = this.host.uptime();
    let chosen: KeyState | null = null;
    for (const state of core.settling.toSettle(this.host.live())) {
      const due = this.settleDue.get(state);
      if (due === undefined) this.settleDue.set(state, now + SETTLE_REST_MS);
      else if (due <= now) {
        this.settleDue.set(state, now + SETTLE_AGAIN_MS);
        chosen = state;
        break;
      }
    }
    if (chosen === null) return;
    const state = chosen;
    const block = `${this.life}:s${++this.blocks}`;
    const states = state.unsettled ? core.settling.joinedWith(state) : [state];
    let payload = Buffer.alloc(0);
    yield* this.apply(new Batch(), block, states, null, () => {
      const dump = states.flatMap(({ db, key }) => this.host.redis().dump(db, key));
      const commands = state.unsettled ? dump : dump.filter(([name]) => name === 'PEXPIREAT');
      payload = Buffer.concat(commands.map(encode));
    });
    if (payload.length === 0) {
      core.settling.foundNoTtl(state);
      return;
    }
    this.waitingFor = `block ${block} to be read back`;
    while (this.landed !== block) yield;
    const at = this.stream;
    const end = positionAfter(Math.max(at.offset, at.end));
    if (
      end === null ||
      this.recorder!.inBlock ||
      states.some((other) => other.positionOf(core.origins.index(at.origin)) > this.landedOffset) ||
      core.corrections.racedKeys > 0
    ) {
      this.settleDue.set(state, now + SETTLE_REST_MS);
      return;
    }
    const { origin, stamp, seen } = at;
    const record: OpRecord = {
      kind: RecordKind.state,
      origin,
      start: at.end,
      end,
      stamp,
      ops: 1,
      db: state.db,
      seen,
      payload,
      carried: core.carriedBy(state.db, payload),
    };
    at.end = end;
    at.stamp++;
    this.settlements++;
    this.host.trace(
      `${this.region} settles ${state.db} ${state.key}: ${parseCommands(payload)
        .map((c) => c.argv.join(' '))
        .join('; ')}`,
    );
    core.localState(this.journal.append(record));
  }
}

function recordAt({ origin, end, stamp, seen, db }: RecorderState): OpRecord {
  return { kind: RecordKind.stream, origin, start: end, end, stamp, ops: 0, db, seen, payload: Buffer.alloc(0) };
}

/** Where the stream goes on: behind the last recorded bytes. States and expiries in blocks are between two of them. */
function resume(journal: SimJournal, of: OriginId): RecorderState {
  const { origin, end, seen, stamp, ops } = journal.lastOf(of)!;
  const stream = journal.lastOfStream(of);
  let { db } = stream;
  if (isOfStream(stream.kind))
    for (const { argv } of parseCommands(stream.payload)) if (argv[0] === 'SELECT') db = Number(argv[1]);
  return { origin, offset: stream.end, end, stamp: stamp + ops, seen, db };
}

/** For the trace: of a script only that it is one. */
function textOf(argv: Argv): string {
  return (argv[0] === 'EVAL' ? ['EVAL', argv[1] === ADD_SCRIPT ? 'add' : '…', ...argv.slice(3)] : argv).join(' ');
}
