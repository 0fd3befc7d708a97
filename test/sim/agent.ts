/**
 * A model of the sync agent around the real recorder and the real merge core, cut into steps between which anything may
 * happen: how it starts, what it reads of its own stream, and what it takes from peers. The rest is in `applier.ts`,
 * `settler.ts` and `comparison.ts`.
 */
import { Batch } from '../../agent/merge/batch';
import { MergeCore } from '../../agent/merge/core';
import type { MissingEntry } from '../../agent/merge/difference';
import { missingOf, rememberFrom, Replay, restOf } from '../../agent/merge/replay';
import { ELSEWHERE } from '../../agent/merge/settling';
import { MemoryFile, type ShelfFiles } from '../../agent/merge/shelf';
import {
  decodeRecord,
  encodeRecord,
  type OpRecord,
  type OriginId,
  RecordKind,
  regionOf,
  streamOrigin,
} from '../../agent/record';
import { CURSOR_KEY, HEARTBEAT_KEY, type Marker, parseMarker } from '../../agent/stream/keys';
import { NumberHistory } from '../../agent/stream/number-history';
import { Numbers } from '../../agent/stream/numbers';
import { Recorder, type RecorderState, type Trespass } from '../../agent/stream/recorder';
import { Applier } from './applier';
import { compare } from './comparison';
import { openHistory, resume, trespassesIn } from './histories';
import type { SimAgentHost, SimBeat } from './host';
import { SimJournal } from './journal';
import type { Redis } from './redis';
import { Settler } from './settler';

/** What an agent keeps beside its journal. */
interface Document {
  replId: string;
  origin: OriginId;
  past: ReadonlyMap<OriginId, number>;
  /** Keys whose value waits for another region's state. */
  awaited: { db: number; key: string }[];
  missing: MissingEntry[];
  /** Where the stream was read up to when it was written. */
  noted: RecorderState;
}

const SHELF_FILES: ShelfFiles = {
  create: () => new MemoryFile(),
  failed: (error) => {
    throw error;
  },
};

/** Few, so that some are forgotten. */
export const NUMBERS_MAX = 16;

/** Whose data a region that joins has. */
interface Joined {
  readonly donor: string;
  /** Streams of which its clients had cut more than operations told. */
  readonly cut: readonly { db: number; key: string }[];
}

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
  life = 0;
  vector = new Map<OriginId, number>();
  maxStamp = 0;
  /** Its data holds changes that are in no operation. */
  isUnexplained = false;
  /** Regions between which and this one that is over. */
  readonly comparedWith = new Set<string>();
  /** It began anew beside a Redis that goes on: of that nothing is lost. */
  isResync = false;
  /** Bytes of the stream given to the recorder, whole commands or not. */
  private readPosition = 0;
  document: Document | null = null;
  /** Origins of the histories of this region's Redis, and the offsets from which they are recorded. */
  readonly histories = new Map<string, { origin: OriginId; from: number }>();
  /** What Redis has held of own older origins since its history began. */
  get past(): ReadonlyMap<OriginId, number> {
    return this.document?.past ?? new Map();
  }
  /** What comes from peers goes to the inbox. */
  private isRebuilt = false;
  /** The origin whose stream is about to be read. */
  nextOrigin: OriginId | null = null;
  /** Tells the core what is in Redis already, before anything is planned. */
  replay: Replay | null = null;
  /** Own records that wait meanwhile. */
  private backlog: OpRecord[] = [];
  cursor: string | null = null;
  inbox = new Map<OriginId, OpRecord[]>();
  private pendingBeats: SimBeat[] = [];
  private ownBeats: SimBeat[] = [];
  private pumping!: Generator<void>;
  /** Its last block that it has read back, and where that stands. */
  landed = '';
  landedOffset = 0;
  private readonly applier: Applier;
  private settler!: Settler;
  settlements = 0;
  trespasses = 0;
  refusals = 0;

  constructor(private readonly host: SimAgentHost) {
    this.applier = new Applier(this, host);
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

  /** Up to where its Redis holds an origin, or it is the one that is read. */
  heldOf(origin: OriginId): number | undefined {
    if (origin === this.origin) return this.journal.end(origin);
    // What is planned may not have run yet.
    const held = this.cursor === null ? undefined : parseMarker(this.cursor)?.vector.get(origin);
    return held ?? this.past.get(origin);
  }

  /** It takes part. */
  get isOpen(): boolean {
    return this.alive && this.recorder !== null && this.replay === null;
  }

  /** Above that of all operations that it has read, and of those that it has applied. */
  get stamp(): number {
    return Math.max(this.stream.stamp, this.maxStamp);
  }

  /** As agent/session/own-blocks.ts has it. */
  private get isCaughtUp(): boolean {
    return this.landed.startsWith(`${this.life}:`);
  }

  get stream(): RecorderState {
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

  /**
   * Whatever broke, the way back is one: read the cursor, rebuild the window from the journal, go on reading.
   * @param joined where it joins: the region whose data and journal it has
   */
  start(joined: Joined | null = null): void {
    const { host, journal } = this;
    const redis = host.redis();
    this.life++;
    this.alive = true;
    this.sent = null;
    const { shelf } = host;
    this.core = new MergeCore({
      region: host.region,
      members: host.members(),
      policies: host.policies,
      payloads: journal.payloads,
      ...(shelf && { shelf: { ...shelf, files: SHELF_FILES } }),
    });
    this.inbox = new Map();
    this.pendingBeats = [];
    this.ownBeats = [];
    this.landed = '';
    this.settler = new Settler(this, host, this.applier);
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
      this.pumping = compare(this, host, redis);
      // What Redis holds now is compared.
      this.pumping.next();
      return;
    }
    const origin = document?.replId === redis.replId ? document.origin : streamOrigin(host.region, redis.replId);
    const isNew = journal.end(origin) === undefined;
    const late = isNew ? openHistory(this, host, origin, redis) : [];
    const state = resume(journal, origin);
    if (!isNew && document?.noted.origin === origin)
      late.push(...trespassesIn(host, redis, document.noted, state.offset));
    const replay = this.rebuild(origin);
    for (const { db, key } of [...(document?.awaited ?? []), ...late])
      this.core.settling.demandState(db, key, ELSEWHERE);
    for (const entry of document?.missing ?? []) this.core.lacks(entry);
    const isFresh = redis.previous === null && state.offset === redis.start && [...redis.keys()].length === 0;
    this.read(state, redis, isFresh ? new Numbers(true, NUMBERS_MAX) : this.numbersAt(state));
    this.pumping = this.rememberAndPump(replay, joined);
    this.pumping.next();
  }

  /** What the journal tells of the numbers where the stream goes on. */
  private numbersAt({ origin, end }: RecorderState): Numbers {
    const unknown = (): Numbers => new Numbers(false, NUMBERS_MAX);
    const { policies } = this.host;
    const history = new NumberHistory(origin, unknown, (db, key) => policies.isLastWriters(db, Buffer.from(key)));
    for (const record of this.journal.all()) history.take(record);
    return history.finish(end, this.journal.lastOfStream(origin).seen) ?? unknown();
  }

  /** Begins to read the own stream. */
  read(state: RecorderState, redis: Redis, numbers: Numbers): void {
    this.readPosition = state.offset;
    this.recorder = new Recorder(
      state,
      {
        record: (record) => this.ownRecord(record),
        marker: (found, offset) => this.ownMarker(found, offset),
        heartbeat: (_, offset) => this.ownBeat(offset),
        getAck: () => undefined,
        trespass: (trespass) => this.trespassed(trespass),
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
      missing: [],
      noted: state,
    };
    this.keepAwaited();
    this.fsync();
    if (!this.histories.has(redis.replId))
      this.histories.set(redis.replId, { origin: state.origin, from: this.journal.birthOf(state.origin)!.end });
  }

  /** What is in Redis already, and not in the journal, comes from peers again; before that nothing is merged. */
  *rememberAndPump(replay: Replay, joined: Joined | null = null): Generator<void> {
    const held = this.others();
    if (missingOf(replay, held).length > 0 || replay.waiting().length > 0) {
      this.replay = replay;
      this.waitingFor = 'records that are in Redis already';
      for (;;) {
        rememberFrom(this.lanes, replay, held);
        if (missingOf(replay, held).length === 0) {
          for (const record of this.backlog.splice(0)) replay.add(record);
          // What the journal has lost of its own, and others have seen, is read again.
          if (replay.neededOf(this.origin!) <= this.stream.offset) break;
        }
        yield;
      }
    }
    for (const [origin, position] of held) this.core.assume(origin, position);
    replay.finish();
    if (joined !== null) this.doubt(joined);
    this.replay = null;
    for (const record of this.backlog.splice(0)) this.core.local(record);
    this.takeBeats();
    yield* this.pump();
  }

  /** As `join` in agent/session/opening.ts: what a state has to settle, a region tells that ran it in order. */
  private doubt({ donor, cut }: Joined): void {
    const { settling } = this.core;
    for (const { db, key } of [...cut, ...settling.toSettle([this.region]), ...settling.awaitedElsewhere()]) {
      settling.demandState(db, key, ELSEWHERE);
      this.host.ask(donor, db, key);
    }
    // On disk before it has its place.
    this.keepAwaited();
  }

  /** What Redis holds of all origins but the present one. */
  others(): Map<OriginId, number> {
    const present = this.origin ?? this.nextOrigin;
    return new Map([...this.vector].filter(([origin]) => origin !== present));
  }

  private readonly lanes = {
    origins: (): Iterable<OriginId> => this.inbox.keys(),
    peek: (origin: OriginId): OpRecord | undefined => this.inbox.get(origin)?.[0],
    take: (origin: OriginId): void => void this.inbox.get(origin)!.shift(),
  };

  rebuild(origin: OriginId): Replay {
    const { core, journal, vector } = this;
    this.isRebuilt = true;
    for (const [known, end] of journal.trimmed) core.assume(known, end);
    for (const [known, position] of journal.low)
      core.skip(known, known === origin ? position : Math.min(position, vector.get(known) ?? -1));
    const replay = new Replay(core, this.region, origin);
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
    replay.endOwnPast(vector);
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

  /** As agent/session/own-stream.ts has it. */
  private ownRecord(given: OpRecord): void {
    const apart: number[] = [];
    const record = decodeRecord(encodeRecord(given));
    if (this.replay === null) this.core.local(record, { apart });
    const told = apart.length === 0 ? record : { ...record, kind: RecordKind.told, unsettled: new Set(apart) };
    const kept = this.journal.append(told);
    if (this.replay !== null) this.backlog.push(kept);
  }

  tell(record: OpRecord): void {
    if (this.replay === null) this.core.local(record);
    else this.backlog.push(record);
  }

  /** As agent/session/trespasses.ts has it. */
  private trespassed(trespass: Trespass): void {
    const state = this.core.trespassed(trespass);
    if (state === null) return;
    this.trespasses++;
    this.host.trace(`${this.region} is to put back ${trespass.db} ${trespass.key}`);
    if (!trespass.isExpiry) this.settler.hasten(state);
  }

  private keepAwaited(): void {
    if (this.document === null) return;
    this.document.awaited = this.core.settling.awaitedElsewhere().map(({ db, key }) => ({ db, key }));
    this.document.missing = this.core.corrections.missingEntries();
    this.document.noted = this.recorder!.resumeState;
  }

  private ownMarker(marker: Marker, offset: number): void {
    this.landed = marker.block;
    this.core.corrections.readBack(marker.block);
    this.landedOffset = offset;
    this.core.land(this.core.origins.toSeen(marker.vector));
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
    this.keepAwaited();
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

  takeBeats(): void {
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
    return this.journal.trim(this.core.lowWater(), (origin) => this.host.durableElsewhere(origin));
  }

  // ——— applying

  /** One step of the applier, up to the next place where something may come between. */
  step(): void {
    this.pumping.next();
  }

  private *pump(): Generator<void> {
    for (;;) {
      const batch = this.applier.collect();
      if (batch !== null || this.core.corrections.racedKeys > 0 || this.core.libraries.isDue) {
        yield* this.applier.applyBatch(batch ?? new Batch());
        this.takeBeats();
        continue;
      }
      const { libraries, trims } = this.core;
      if ((libraries.hasLost || trims.isDue) && !this.isCaughtUp) {
        yield* this.settler.catchUp();
        continue;
      }
      if (libraries.hasLost) this.settler.tellLost();
      if (trims.isDue) yield* this.settler.reportTrims();
      if (this.core.settling.unsettledKeys > 0) {
        this.settler.askForStates();
        yield* this.settler.settleOne();
      }
      this.waitingFor = 'work';
      yield;
    }
  }

  /** A peer asks for the state of a key. */
  demand(db: number, key: string, by: string): void {
    this.core.settling.askedFor(db, key, by, this.host.live());
  }
}
