/**
 * One stay beside a primary: what clients do there goes out, what others did comes in, until either connection is lost.
 * How it begins is in opening.ts.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Applier, Refusal } from '../apply/applier';
import { Inbox } from '../apply/inbox';
import type { Capture, NotificationCapture } from '../capture';
import { Batch } from '../merge/batch';
import type { StoredLetter } from '../dead-letters/letter';
import { MergeCore } from '../merge/core';
import { onlyKeyOf } from '../merge/ignored';
import { ELSEWHERE } from '../merge/settling';
import { isOfGroup } from '../merge/forms';
import type { Replay } from '../merge/replay';
import { type Beginning, trimReport } from '../merge/stream-commands';
import type { CutStream } from '../merge/stream-trims';
import type { KeyState } from '../merge/key-state';
import type { Beat } from '../peers';
import {
  encodeRecord,
  isDry,
  isPrivate,
  type OpRecord,
  type OriginId,
  RecordKind,
  regionOf,
  type Vector,
} from '../record';
import { encodeCommand, type RedisConnection, type Reply, ReplyError } from '../resp';
import { formatMarker, HEARTBEAT_KEY, type Marker, OWN_PREFIX } from '../stream/keys';
import type { Numbers } from '../stream/numbers';
import type { Recorder, RecorderState, Removal } from '../stream/recorder';
import { formatVector, raise } from '../vector';
import { ACK_MS, AckPolicy } from './ack';
import type { Backlog } from './backlog';
import { type AgentContext, keepLetter, liveRegions, type RedisAddress, SessionError } from './context';
import type { MeshAnswer } from './difference';
import type { Donor, SettleRequest } from './donor';
import { gatherMs, isFull } from './gathering';
import { evicts, type ServerInfo } from './info';
import { Opening } from './opening';
import { OwnBeats } from './own-beats';
import { OwnLibraries } from './own-libraries';
import { OwnReports, type Report, safetyOf } from './own-reports';
import { metaOf, positionAfter } from './position';
import { LOOKS_MAX, lookAt } from './trims';
import { payloadsOf } from './payloads';
import { RecordReaders } from './records';
import { refill } from './refill';
import { Removals } from './removals';
import { DiskShelf } from './shelf-files';
import { type Stay, Stopped } from './stay';
import { additionsPayload, type Settler, statesPayload, ttlPayload } from './settle';
import { Trespasses } from './trespasses';
import { Throughput } from './throughput';

const META_MS = 1000;
/** So long `collect` plans at a stretch: a block takes a few of them, unless much of it has to come back from disk, or it grows with what it moves (gathering.ts). */
const COLLECT_MS = 30;
/** Between two looks for a region that can tell what is in no operation here. */
const EXPLAINED_MS = 1000;
/** Between two looks at the keys whose state another region has to send, and how long they wait before it is asked. */
const AWAIT_MS = 1000;
const AWAITED_KEYS_MAX = 1000;
/** Between two looks whether Redis evicts, and two lines that say so. */
const EVICTIONS_MS = 10_000;
const SAFETY_MS = 200;
const IDLE_MS = 1000;
/** How long whoever retries a command waits for what comes of it. */
const RETRY_MS = 5000;

export class Session implements Stay {
  core: MergeCore;
  readonly captured = new Throughput();
  readonly applied = new Throughput();
  /** Positions in Redis, by origin: what the cursor says, and own older origins. */
  readonly vector = new Map<OriginId, number>();
  /** Milliseconds by which each region's data here is behind, by its last heartbeat that has been applied. */
  readonly heartbeats = new Map<string, { timeMs: number; receivedMs: number }>();
  server: ServerInfo | null = null;
  readonly region: string;

  // What its opening fills in.
  /** @internal The origin whose stream is about to be read. */
  nextOrigin: OriginId | null = null;
  /** @internal Of own older origins, what has been in this history of Redis since it began. */
  past: Vector = new Map();
  /** @internal */ connection: RedisConnection | null = null;
  /** @internal */ control: RedisConnection | null = null;
  /** @internal */ link: Capture | null = null;
  /** @internal The same link, where changes are captured by notifications. */
  keyspace: NotificationCapture | null = null;
  /** @internal */ applier: Applier | null = null;
  /** @internal */ recorder: Recorder | null = null;
  /** @internal Kept up to date by the recorder. */ numbers: Numbers | null = null;
  /** @internal */ settler: Settler | null = null;
  /** @internal */ replId = '';
  /** @internal */ maxStamp = 0;
  /** @internal It has its place in the mesh. */
  established = false;
  /** @internal It is getting its place in the mesh. */
  joining = false;
  /** @internal What this Redis held before it joined has been offered. */
  offered = false;
  /** @internal Redis holds changes that are in no operation (see difference.ts). */
  unexplained = false;
  /** @internal It waits for another region's data to compare with, and nobody who can be reached has any. */
  hopeless = false;
  /** @internal Records are wanted from peers. */
  following = false;
  /** @internal The journal has been read; what comes from peers goes to the inbox at once. */
  rebuilt = false;
  /** @internal Own records that the core has to wait for: others, in Redis already, come first. */
  backlog: Backlog | null = null;
  /** @internal Takes what is in Redis already. */
  replay: Replay | null = null;
  /** @internal */ readonly inbox: Inbox;
  private readonly readers: RecordReaders;
  /** @internal Begins the names of its blocks. */
  readonly nonce = randomBytes(4).toString('hex');
  /** @internal Something has come since it was set to false. */
  pumpAwake = false;

  private blocks = 0;
  private ended: Error | null = null;
  private endWaiters: ((error: Error) => void)[] = [];
  private readonly readWaiters: { offset: number; done: () => void; fail: (error: Error) => void }[] = [];
  private wakePump: (() => void) | null = null;
  private readonly beats: { beat: Beat; after: number }[] = [];
  private readonly ownBeats = new OwnBeats();
  private readonly ownReports = new OwnReports();
  /** One answer is awaited at a time: a Redis that is busy gets no more questions. */
  private asksSafety = false;
  /** The last of them that has been reported. */
  private reported: Report | null = null;
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly ack: AckPolicy;
  /** The last of the own blocks read back. */
  private landed = { block: '', offset: 0 };
  private landedWaiter: { block: string; done: () => void } | null = null;
  private countedConflicts: Record<string, number> = {};
  private countedCorrections = 0;
  private pumping: Promise<void> = Promise.resolve();
  /** A block is on its way; the next one is planned meanwhile. */
  private applying = false;
  /** `planAhead` goes on in the next turn. */
  private isToPlan = false;
  private next: Batch | null = null;
  /** Who waits until a block has run. */
  private readonly runWaiters: { batch: Batch; done: () => void }[] = [];
  private blocksOnTheirWay = 0;
  /** Positions behind what has been planned: ahead of `vector` by what is on its way. */
  private readonly planned = new Map<OriginId, number>();
  private readonly awaitedSince = new WeakMap<KeyState, number>();
  /** @internal */ readonly trespasses: Trespasses;
  /** @internal A client has flushed this Redis, and its data has not come back yet. */
  isEmptied = false;
  private refilling = false;
  private trimming = false;
  private removals: Removals | null = null;
  private readonly libraries: OwnLibraries;
  private evicts = false;
  /** Since they were last told of. */
  private evicted = 0;
  /** @internal Between whose data and this that is over, where either had changes that are in no operation: when it is with all, and they have the states that they asked for, there are none any more. */
  readonly comparedWith = new Set<string>();
  private readonly cores: MergeCore[] = [];

  constructor(
    readonly context: AgentContext,
    readonly address: RedisAddress,
  ) {
    const { config, journal } = context;
    this.region = config.region;
    this.core = this.newCore();
    this.readers = new RecordReaders(journal);
    this.inbox = new Inbox(
      this.readers,
      config.limits.inboxBytes / 4,
      () => this.wake(),
      (error) => this.end(error),
    );
    this.ack = new AckPolicy(config.replication);
    this.libraries = new OwnLibraries({
      context,
      core: () => this.core,
      connection: () => this.connection!,
      place: () => (this.recorder!.inBlock ? null : this.recorder!.state),
      tell: (at, payload, end) => this.tell(this.make(at, RecordKind.difference, 0, payload, end)),
    });
    this.trespasses = new Trespasses({
      context,
      core: () => this.core,
      ask: () => this.askForStates(),
      hasten: (state) => this.awaitedSince.set(state, -Infinity),
      keep: () => this.writeMeta(),
      fail: (error) => this.end(error),
    });
  }

  // ——— life

  /** Runs until a connection is lost or `stop` is called. @throws SessionError, ConnectionError, LinkError, ApplyError … */
  async run(): Promise<void> {
    try {
      await new Opening(this).run();
      await new Promise<never>((_, reject) => {
        if (this.ended !== null) reject(this.ended);
        else this.endWaiters.push(reject);
      });
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
      if (!(error instanceof Stopped)) throw error;
    } finally {
      await this.close();
    }
  }

  async readAll(): Promise<void> {
    if (this.isLive) await this.readUpTo(await this.currentOffset());
  }

  /** Ends the session; the position is kept. */
  stop(): void {
    this.end(new Stopped());
  }

  /** @internal Only the first reason counts. */
  end(error: Error): void {
    if (this.ended !== null) return;
    this.ended = error;
    for (const waiter of this.endWaiters.splice(0)) waiter(error);
    for (const waiter of this.readWaiters.splice(0)) waiter.fail(error);
    this.applier?.stop();
    this.landedWaiter?.done();
    this.wake();
  }

  private async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.trespasses.stop();
    this.inbox.stop();
    this.readers.close();
    this.link?.close();
    this.connection?.close();
    this.control?.close();
    this.removals?.close();
    await this.pumping.catch(() => undefined);
    await this.context.journal.flushed().catch(() => undefined);
    for (const { window } of this.cores) window.dispose();
    const { recorder, numbers, context, replId } = this;
    if (recorder === null) return;
    // Good for whoever reads on in the very same place.
    if (numbers !== null && !recorder.inBlock) context.numbers = { numbers, replId, offset: recorder.state.offset };
    await this.writeMeta().catch(() => undefined);
  }

  /** Ready when it takes part: own changes go out, others' come in. */
  get isLive(): boolean {
    return this.ended === null && this.recorder !== null && !this.joining;
  }

  get origin(): OriginId | null {
    return this.recorder?.state.origin ?? null;
  }

  get position(): number {
    return this.recorder?.state.offset ?? 0;
  }

  /** Whether an origin's records are wanted from peers. */
  wants(origin: OriginId): boolean {
    if (!this.following || isPrivate(origin) || isDry(origin)) return false;
    const present = this.origin ?? this.nextOrigin;
    return present === null ? regionOf(origin) !== this.region : origin !== present;
  }

  /**
   * No peer has what comes before `start`: nobody needs it any more.
   * @returns false where it would be missing in Redis
   */
  begin(origin: OriginId, start: number): boolean {
    const { journal } = this.context;
    if ((this.vector.get(origin) ?? -1) < start) return false;
    if ((journal.appendedEnd(origin) ?? -1) < start) journal.skipTo(origin, start);
    (this.replay?.core ?? this.core).assume(origin, start);
    this.wake();
    return true;
  }

  /** Whether nothing planned is still on its way to Redis. */
  get isAtRest(): boolean {
    return this.next === null && this.blocksOnTheirWay === 0;
  }

  pending(matches: (origin: OriginId) => boolean): { operations: number; bytes: number } {
    return this.inbox.pending(matches);
  }

  // ——— opening

  /**
   * @internal
   * @param base of a region that joins: the origin of the data that it loads. Its window has to do with memory.
   */
  newCore(base?: OriginId): MergeCore {
    const { config, journal, log } = this.context;
    const failed = (error: unknown): void =>
      log.error(
        { err: error, dir: config.stateDir },
        "the window can't go to disk and stays in memory: make room there",
      );
    const core = new MergeCore({
      region: config.region,
      members: config.members.map((member) => member.name),
      payloads: payloadsOf(journal),
      policies: this.context.policies,
      ...(base === undefined
        ? { shelf: { files: new DiskShelf(config.stateDir, failed), budgetBytes: config.limits.windowBytes } }
        : { base }),
    });
    this.cores.push(core);
    return core;
  }

  /** @internal Begins to take part. */
  go(): void {
    // What was put together again from the journal has been told before.
    this.core.notes.sink = this.context.conflicts;
    this.pumping = this.pump();
    this.pumping.catch((error: unknown) => this.end(error instanceof Error ? error : new Error(String(error))));
  }

  /** @internal The join is over: this core knows all that has happened. */
  turnTo(core: MergeCore): void {
    this.core = core;
    this.established = true;
    this.backlog = null;
    this.replay = null;
    this.countedConflicts = {};
    this.countedCorrections = 0;
    for (const origin of [...this.vector.keys()]) if (isPrivate(origin)) this.vector.delete(origin);
  }

  /** @internal @throws what ended the session */
  alive(): void {
    if (this.ended !== null) throw this.ended;
  }

  /** What a peer asks for that compared its data with this region's. */
  settle({ from, keys, explained }: SettleRequest): void {
    for (const { db, key } of keys) this.core.settling.askedFor(db, key, from);
    this.wake();
    if (explained !== true) return;
    this.comparedWith.add(from);
    void this.keepPosition();
  }

  /** What it says of its place in the mesh. */
  standing(): MeshAnswer {
    const { unexplained } = this;
    const members = this.context.config.members.map(({ name }) => name);
    return { established: this.hasPlace, hopeless: this.hopeless || this.joining, unexplained, members };
  }

  // ——— the own stream

  /** @internal Listens for why keys go, before the stream is read. */
  async listen(): Promise<void> {
    const { context, address } = this;
    const options = { ...context.redisOptions(address), name: `meridian-removals-${this.region}` };
    const removals = new Removals({
      evicts: () => this.evicts,
      take: (chunk) => this.read(chunk),
      fail: (error) => this.end(error),
    });
    this.removals = removals;
    this.evicts = this.server!.evicts;
    const refused = await removals.listen(options, () => this.currentOffset());
    if (refused === null) return;
    const what = "Redis refuses PSUBSCRIBE: the agent's user needs +psubscribe and the channels (&*)";
    context.log.warn({ reason: refused.message }, `${what}; evictions, expiries and UNLINKs can't be told apart`);
  }

  /** @internal Why a key went by UNLINK. */
  removal(db: number, key: string, end: number): Removal {
    const removal = this.removals?.of(db, key, end) ?? 'expired';
    if (removal === 'evicted') this.countEviction();
    return removal;
  }

  /** @internal */
  countEviction(): void {
    this.context.metrics.evictions.inc();
    this.evicted++;
  }

  /** @internal A client's flush stays here: the other regions give the data back. */
  flushRefused(db: number | null): void {
    this.context.metrics.flushesRefused.inc();
    this.context.log.error(
      { db: db ?? 'all' },
      'a client has flushed this Redis, and that is not carried (replication.flush): its data comes back from the other regions',
    );
    this.isEmptied = this.core.settling.isEmptied = true;
    this.refill();
  }

  /** @internal Asks the other regions for what was flushed here, until all of it is on its way. */
  refill(): void {
    if (!this.isEmptied || this.refilling || !this.established) return;
    this.refilling = true;
    const upTo = (): Vector => {
      const { origin, end } = this.recorder!.state;
      return new Map([...this.vector].filter(([id]) => regionOf(id) === this.region)).set(origin, end);
    };
    const again = (): boolean => {
      const flushed = this.isEmptied;
      this.isEmptied = false;
      return flushed;
    };
    refill({
      context: this.context,
      upTo,
      demand: (names) => {
        for (const { db, key } of names) this.core.settling.demandState(db, key, ELSEWHERE);
        this.wake();
      },
      awaited: () => this.core.settling.awaitedElsewhere().length,
      alive: () => this.alive(),
      again,
    })
      .catch((error: unknown) => {
        // The next session begins anew.
        this.isEmptied = true;
        if (this.ended === null) this.end(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        this.refilling = false;
        this.core.settling.isEmptied = this.isEmptied;
        if (this.ended !== null) return;
        if (this.isEmptied) this.refill();
        else this.context.emptied.clear();
      });
  }

  /** Looks whether Redis evicts, and tells of what it has evicted. */
  private async lookAtEvictions(): Promise<void> {
    const info = await this.control!.call('INFO', 'memory');
    if (Buffer.isBuffer(info)) this.evicts = evicts(info.toString('latin1'));
    if (this.evicted === 0) return;
    this.context.log.warn({ keys: this.evicted }, 'Redis is full and evicts keys: they stay in the other regions');
    this.evicted = 0;
  }

  /** @internal */
  receive(chunk: Buffer): void {
    if (this.removals === null) this.read(chunk);
    else this.removals.receive(chunk);
  }

  /** @internal What the journal has no room for stays in Redis. */
  holdWhilePressed(link: Capture): void {
    const { journal } = this.context;
    const hold = (on: boolean): void => link.hold(on);
    if (journal.pressed) hold(true);
    journal.on('pressure', hold);
    link.on('close', () => journal.off('pressure', hold));
  }

  private read(chunk: Buffer): void {
    if (this.ended !== null) return;
    try {
      this.recorder!.push(chunk);
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    const offset = this.recorder!.state.offset;
    while (this.readWaiters.length > 0 && this.readWaiters[0]!.offset <= offset) this.readWaiters.shift()!.done();
    if (this.hasToCorrect) this.wake();
  }

  /** @internal */
  ownRecord(record: OpRecord): void {
    // What is kept of it are the journal's bytes: the stream's are overwritten by what comes next.
    const encoded = encodeRecord(record);
    const kept = { ...record, payload: encoded.subarray(encoded.length - record.payload.length) };
    const told = this.hear(kept);
    this.context.journal.append(told === kept ? encoded : encodeRecord(told));
    this.backlog?.push(told);
    this.captured.add(record.ops);
    this.context.metrics.captured.inc(record.ops);
  }

  /** @internal An own record, journalled: the core hears of it, now or after those that it has to wait for. */
  tell(record: OpRecord): void {
    this.hear(record);
    this.backlog?.push(record);
  }

  /** The core hears of an own record, unless there are others that it has to wait for. @returns it, with what the core has to say of it */
  private hear(record: OpRecord): OpRecord {
    // While a region joins, the data of the mesh meets it at once.
    if (this.backlog !== null && !this.joining) return record;
    const apart: number[] = [];
    this.core.local(record, { apart });
    return apart.length === 0 ? record : { ...record, kind: RecordKind.told, unsettled: new Set(apart) };
  }

  /** @internal */
  append(record: OpRecord): void {
    this.context.journal.append(encodeRecord(record));
  }

  /** @internal The state of a key that a client wrote, as it was seen where the own stream stands. */
  ownState(db: number, payload: Buffer): void {
    const { policies } = this.context;
    const { state } = this.recorder!;
    const name = policies.isActive ? onlyKeyOf(payload) : null;
    if (name !== null && policies.keeps(this.region, db, name)) {
      const key = name.toString('latin1');
      const { origin, stamp, offset } = state;
      this.trespasses.note({ db, key, isExpiry: false, origin, stamp, position: offset });
      return;
    }
    const end = positionAfter(Math.max(state.offset, state.end))!;
    this.tell(this.make(state, RecordKind.state, db, payload, end));
    this.captured.add(1);
    this.context.metrics.captured.inc(1);
    if (this.core.corrections.racedKeys > 0 || this.core.settling.unsettledKeys > 0) this.wake();
  }

  /** @internal Journals one operation that stands at no bytes of the stream: a state, or a difference. */
  make(
    state: RecorderState,
    kind: RecordKind,
    db: number,
    payload: Buffer,
    end: number,
    carried?: OpRecord['carried'],
  ): OpRecord {
    const record: OpRecord = { ...this.recordAt(state), kind, db, payload, ops: 1, end, carried };
    state.end = end;
    state.stamp++;
    this.append(record);
    return record;
  }

  /** @internal A record without operations, at the end of the stream. */
  recordAt(state: RecorderState): OpRecord {
    const { origin, stamp, seen } = state;
    return {
      kind: RecordKind.stream,
      origin,
      start: state.end,
      end: state.end,
      stamp,
      ops: 0,
      db: 0,
      seen,
      payload: EMPTY,
    };
  }

  /** @internal */
  ownMarker(marker: Marker, offset: number): void {
    const state = this.recorder!.state;
    const { core } = this;
    core.land(core.origins.toSeen(marker.vector));
    this.noteReport({ position: offset, seen: marker.vector, end: state.end });
    this.landed = { block: marker.block, offset };
    core.corrections.readBack(marker.block);
    if (this.landedWaiter?.block === marker.block) this.landedWaiter.done();
  }

  /** @internal */
  ownHeartbeat(timeMs: number, offset: number): void {
    const { journal } = this.context;
    const state = this.recorder!.state;
    this.noteReport({ position: offset, seen: new Map(state.seen), end: state.end });
    const { reported } = this;
    const said = reported === null ? '' : `${reported.end} ${formatVector(reported.seen)}`;
    if (!this.ownBeats.isNews(state.end, `${formatVector(state.seen)} ${said}`, timeMs)) return;
    const durable = new Map<OriginId, number>();
    for (const origin of journal.origins()) {
      const end = journal.durableEnd(origin);
      if (end !== undefined) durable.set(origin, end);
    }
    const beat: Beat = {
      region: this.region,
      origin: state.origin,
      position: offset,
      timeMs,
      stamp: state.stamp,
      reported: reported?.position ?? -1,
      seen: new Map(reported?.seen),
      durable,
      paths: new Map(),
    };
    this.ownBeats.push(beat, state.end);
    this.publishBeats();
  }

  /** What this region has seen, and where: it is reported when nothing can take it back any more. */
  private noteReport(report: Report): void {
    // What a failover has taken back is to be here again first: what was seen since has not seen it.
    for (const origin of this.inbox.origins())
      if (regionOf(origin) === this.region && this.inbox.endOf(origin) > (this.vector.get(origin) ?? -1)) return;
    this.report(this.ownReports.note(report));
  }

  private report(report: Report | null): void {
    if (report === null) return;
    this.reported = report;
    const { core, recorder } = this;
    const { position, seen } = report;
    core.report(this.region, core.origins.toSeen(seen), { origin: recorder!.state.origin, position });
  }

  /** Asks Redis how far its replicas and its file are. */
  private async lookAtSafety(): Promise<void> {
    const { control, ownReports } = this;
    if (this.asksSafety || control === null || !control.open) return;
    const { noted } = ownReports;
    this.asksSafety = true;
    const answered = (): void => void (this.asksSafety = false);
    const [replication, persistence] = await control.pipeline(INFO_SAFETY, 2).finally(answered);
    if (this.ended !== null) return;
    const text = (reply: Reply | undefined): string => (Buffer.isBuffer(reply) ? reply.toString('latin1') : '');
    const own = this.context.config.listen.replica ?? null;
    this.report(ownReports.look(noted, safetyOf(text(replication), text(persistence), own), Date.now()));
  }

  /** New records can be read by peers. */
  readable(): void {
    this.publishBeats();
  }

  /** New records are durable. */
  durable(): void {
    this.sendAck(false);
  }

  private publishBeats(): void {
    if (this.joining || this.recorder === null) {
      this.ownBeats.clear();
      return;
    }
    const due = this.ownBeats.take(this.context.journal.readableEnd(this.recorder.state.origin) ?? -1);
    if (due !== null) this.context.mesh.publish(due);
  }

  /** @internal */
  async currentOffset(): Promise<number> {
    // A block of ours has been looked at, with what was before it, when it is known to have run.
    if (this.keyspace !== null) return this.position;
    const info = await this.control!.call('INFO', 'replication');
    const text = Buffer.isBuffer(info) ? info.toString('latin1') : '';
    return Number(/^master_repl_offset:(\d+)/m.exec(text)?.[1] ?? 0);
  }

  /** It has data of the mesh, which others may have. */
  private get hasPlace(): boolean {
    const isReading = this.control !== null && this.recorder !== null;
    return this.isLive && this.established && isReading && !this.core.settling.isEmptied;
  }

  /** What this region can give to others; null while it has nothing to give. */
  donor(): Donor | null {
    const { control, context, address, replId, recorder } = this;
    if (!this.hasPlace || control === null || recorder === null) return null;
    // It does not know yet of all that is in its Redis what is amiss there.
    if (this.replay !== null) return null;
    return {
      context,
      address,
      replicationId: replId,
      origin: recorder.state.origin,
      connection: control,
      keyspace: this.keyspace,
      position: () => this.position,
      applied: () => this.vector,
      past: () => this.past,
      unexplained: this.unexplained,
      low: () => this.core.lowWater(),
      stamp: () => recorder.state.stamp,
      reportedOf: (origin) => this.core.reportedOf(regionOf(origin), origin),
      amissOf: (db, key) => this.core.amissOf(db, key),
      cutSince: (timeMs) => [...this.core.trims.unknownSince(timeMs)],
      areLibrariesAmiss: () => this.core.libraries.isUnderWay || this.core.libraries.hasLost,
      read: (offset) => this.readUpTo(offset),
      journalled: (offset) => this.journalled(offset),
    };
  }

  /** Resolves when the own stream is journalled up to there. */
  async journalled(offset: number): Promise<void> {
    await this.readUpTo(offset);
    await this.context.journal.flushed();
  }

  /** @internal */
  readUpTo(offset: number): Promise<void> {
    if (this.ended !== null) return Promise.reject(this.ended);
    if (this.recorder!.state.offset < offset) this.link?.hurry(offset);
    if (this.recorder!.state.offset >= offset) return Promise.resolve();
    return new Promise((done, fail) => this.readWaiters.push({ offset, done, fail }));
  }

  /** @internal */
  sendAck(asked: boolean): void {
    const { recorder, link } = this;
    if (recorder === null || link === null) return;
    const { origin, offset, end } = recorder.state;
    const durable = this.context.journal.durableEnd(origin) ?? 0;
    const journalled = durable >= end ? offset : Math.floor(durable);
    const ack = this.ack.next({ origin, end, read: offset, journalled }, Date.now(), asked);
    if (ack !== null) link.ack(ack);
  }

  /** A peer has journalled own records up to there. */
  acknowledged(peer: string, durable: ReadonlyMap<OriginId, number>): void {
    const { recorder } = this;
    if (recorder === null) return;
    const { origin } = recorder.state;
    const position = durable.get(origin);
    if (position !== undefined) this.ack.peer(peer, origin, position);
    this.sendAck(false);
  }

  // ——— others' operations

  /** Records from a peer, journalled already. */
  offer(record: OpRecord): void {
    if (!this.rebuilt) return;
    if (record.kind === RecordKind.birth) {
      this.core.assume(record.origin, record.end);
      // The first record of an origin says where its region's stream began: everything before is its older origins'.
    }
    this.inbox.offer(record);
    this.wake();
  }

  /** A region's heartbeat, after its records up to there were offered. */
  beat(beat: Beat): void {
    // They come again when this region knows what they speak of: until then their records may wait in the journal, unseen by
    // the inbox, and what they say would let operations go that these records have not seen.
    if (this.joining || !this.rebuilt || this.replay !== null) return;
    this.beats.push({ beat, after: this.inbox.endOf(beat.origin) });
    this.takeBeats();
  }

  private takeBeats(): void {
    const rest: typeof this.beats = [];
    for (const entry of this.beats) {
      const { beat, after } = entry;
      const isOnItsWay = (this.planned.get(beat.origin) ?? -1) >= after;
      if ((this.vector.get(beat.origin) ?? -1) < after && (isOnItsWay || this.core.knownOf(beat.origin) < after)) {
        rest.push(entry);
        continue;
      }
      this.heartbeats.set(beat.region, { timeMs: beat.timeMs, receivedMs: Date.now() });
      if (beat.reported < 0) continue;
      this.core.report(beat.region, this.core.origins.toSeen(beat.seen), {
        origin: beat.origin,
        position: beat.reported,
      });
    }
    this.beats.length = 0;
    // A region far behind: the newest of many beats says all that the older ones said, but each is due at another time.
    this.beats.push(...(rest.length > 256 ? rest.filter((_, i) => i % 2 === 1 || i === rest.length - 1) : rest));
  }

  private wake(): void {
    this.pumpAwake = true;
    if (this.applying) this.planAhead();
    else this.wakePump?.();
  }

  /** @internal Waits until something has come, a second at most. */
  async idle(): Promise<void> {
    if (this.pumpAwake) return;
    await new Promise<void>((resolve) => {
      const isBusy = this.core.settling.unsettledKeys > 0 || this.core.trims.isDue || this.core.libraries.hasLost;
      const timer = setTimeout(resolve, isBusy ? 50 : IDLE_MS);
      this.wakePump = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakePump = null;
  }

  /** Applies what is deliverable, corrects what clients raced, settles what can't be merged. */
  private async pump(): Promise<void> {
    for (const [origin, position] of this.vector) this.planned.set(origin, position);
    while (this.ended === null) {
      this.pumpAwake = false;
      if (!this.collect()) await this.collectRest();
      if (this.next !== null && !this.hasToCorrect) await this.gather(this.next);
      if (this.ended !== null) return;
      const { next } = this;
      if (next !== null || this.hasToCorrect) {
        this.next = null;
        await this.applyWhilePlanning(next ?? new Batch());
        continue;
      }
      if (this.keyspace?.isCursorGone === true) {
        await this.applyBatch(new Batch(), false);
        continue;
      }
      const { libraries, trims } = this.core;
      if ((libraries.hasLost || trims.isDue) && !this.isCaughtUp) {
        await this.applyCursor();
        continue;
      }
      if (libraries.hasLost && this.libraries.tellLost()) continue;
      if (trims.isDue && (await this.reportTrims())) continue;
      if (this.core.settling.unsettledKeys > 0 && (await this.settleOne())) continue;
      if (this.unexplained && this.core.settling.unsettledKeys === 0) await this.becomeExplained();
      await this.idle();
    }
  }

  /** From here on the next full resync of a region can be compared exactly with this one. */
  private async becomeExplained(): Promise<void> {
    const { config, log } = this.context;
    if (config.members.some(({ name }) => name !== this.region && !this.comparedWith.has(name))) return;
    this.unexplained = false;
    await this.writeMeta();
    log.info('all regions have compared with this one: what was in no operation is in them now');
  }

  /**
   * While this Redis holds changes that are in no operation: a region that was out of reach when this one went on, and is not any more, can tell what they
   * are. It has no reason to compare its data with this region's; so this one compares once more. Of two that both went on the later by name does.
   */
  private async seekExplained(): Promise<void> {
    if (!this.unexplained || this.core.settling.unsettledKeys > 0) return;
    const { context, region } = this;
    for (const { peer, state } of context.mesh.links()) {
      if (state !== 'up' || this.comparedWith.has(peer)) continue;
      const answer = await context.mesh.request(peer, 'mesh', Buffer.alloc(0), { timeoutMs: 2000 });
      const { established, unexplained } = JSON.parse(answer.toString('utf8')) as MeshAnswer;
      if (!established || unexplained === undefined || (unexplained && peer > region)) continue;
      context.needsResync = true;
      context.compareWith = peer;
      return this.end(new SessionError('lost', `what clients changed here unread is compared with ${peer}`));
    }
  }

  /** Waits for more where that is cheaper than to send what there is. */
  private async gather(batch: Batch): Promise<void> {
    const waitMs = gatherMs(batch, this.context.config.limits);
    if (waitMs === 0) return;
    await sleep(waitMs);
    if (this.ended === null && !this.collect()) await this.collectRest();
  }

  /**
   * Applies a batch, and plans the next one while Redis runs it: but not where the block is still to be decided, for what is
   * planned behind it would get into it.
   */
  private async applyWhilePlanning(batch: Batch): Promise<void> {
    const isDecided = !this.hasToCorrect && !batch.hasGuards;
    const applied = this.applyBatch(batch, true);
    if (isDecided) {
      this.applying = true;
      this.planAhead();
    }
    await applied.finally(() => (this.applying = false));
  }

  private planAhead(): void {
    try {
      if (this.collect() || this.isToPlan) return;
      this.isToPlan = true;
      setImmediate(() => {
        this.isToPlan = false;
        if (this.applying && this.ended === null) this.planAhead();
      });
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Goes on with what `collect` has not come to, when all else that has come has had its turn. */
  private async collectRest(): Promise<void> {
    do await nextTurn();
    while (this.ended === null && !this.collect());
  }

  /**
   * Plans what is deliverable, as much as goes into one block, into `next`.
   * @returns false where that takes long, and there is more
   */
  private collect(): boolean {
    const { core, inbox, planned } = this;
    const { limits } = this.context.config;
    const until = performance.now() + COLLECT_MS;
    for (let progress = true; progress;) {
      progress = false;
      for (const origin of inbox.origins()) {
        for (let record = inbox.peek(origin); record !== undefined; record = inbox.peek(origin)) {
          const after = planned.get(origin) ?? -1;
          if (record.end <= after || record.kind === RecordKind.birth) {
            inbox.take(origin);
            core.assume(origin, record.end);
            progress = true;
            continue;
          }
          if (!core.isDeliverable(record)) break;
          if (!core.prepare(record)) return false;
          const batch = (this.next ??= new Batch());
          if (isFull(batch, limits)) return true;
          inbox.take(origin);
          core.plan(record, batch, after);
          planned.set(origin, record.end);
          progress = true;
          if (performance.now() > until) return false;
        }
      }
    }
    return true;
  }

  /** @internal */
  async applyBatch(batch: Batch, corrects: boolean): Promise<void> {
    const { core } = this;
    const operations = batch.operations;
    this.maxStamp = Math.max(this.maxStamp, batch.stamp);
    // What is planned from here on goes into the next block.
    const vector = new Map(this.vector);
    raise(vector, this.planned);
    const block = this.nextBlock();
    const text = this.markerText(vector, block);
    const raced = corrects ? core.corrections.takeRaced() : [];
    const look = corrects ? this.libraries.take() : null;
    const amend =
      raced.length === 0 && look === null
        ? undefined
        : {
            states: raced,
            ...(look !== null && { look: look.look }),
            build: (extra: Batch): number => {
              core.corrections.correct(raced, extra);
              look?.settle(extra);
              return 0;
            },
          };
    this.blocksOnTheirWay++;
    await this.applier!.apply(batch, text, amend).finally(() => this.blocksOnTheirWay--);
    while (this.runWaiters[0]?.batch === batch) this.runWaiters.shift()!.done();
    batch.release();
    raise(this.vector, vector);
    core.corrections.corrected(raced, block);
    this.libraries.ran(look);
    this.applied.add(operations);
    const { metrics } = this.context;
    metrics.applied.inc(operations);
    this.countConflicts();
    this.takeBeats();
  }

  /** @internal Whether Redis is known not to have what the rule says. */
  get hasToCorrect(): boolean {
    return this.core.corrections.racedKeys > 0 || this.core.libraries.isDue;
  }

  /**
   * An own block has been read back, and so has all that an agent had read here before. Before that this region tells nothing of its own: of what the journal has lost
   * peers may have some, and would neither take what stands before it nor know the stamps that it then gets.
   */
  private get isCaughtUp(): boolean {
    return this.landed.block.startsWith(`${this.nonce}:`);
  }

  /** @internal Writes the cursor alone, and waits until it has been read back. */
  async applyCursor(): Promise<void> {
    const block = this.nextBlock();
    await this.applier!.apply(new Batch(), this.markerText(this.vector, block));
    await this.whenLanded(block);
  }

  private nextBlock(): string {
    return `${this.nonce}:${++this.blocks}`;
  }

  private markerText(vector: Vector, block = this.nextBlock()): string {
    return formatMarker({ block, stamp: this.maxStamp, vector, joining: !this.established });
  }

  /** The regions that can be reached directly, this one included. */
  live(): string[] {
    return liveRegions(this.context);
  }

  /**
   * Asks for the states that other regions have to send. Usually they know by themselves: not after a crash, nor where
   * they have seen no conflict.
   */
  private askForStates(): void {
    const now = Date.now();
    for (const [region, states] of this.core.settling.awaited(this.live())) {
      const late: KeyState[] = [];
      for (const state of states) {
        const since = this.awaitedSince.get(state);
        if (since === undefined) this.awaitedSince.set(state, now);
        else if (now - since >= AWAIT_MS && late.length < AWAITED_KEYS_MAX) late.push(state);
      }
      if (late.length === 0) continue;
      for (const state of late) this.awaitedSince.set(state, now);
      this.askFor(region, late, 5000);
    }
  }

  /** @internal Asks a region for keys' states. Should it fail, they are asked for again later. */
  askFor(region: string, keys: readonly { readonly db: number; readonly key: string }[], timeoutMs: number): void {
    const { mesh, log } = this.context;
    const request: SettleRequest = { from: this.region, keys: keys.map(({ db, key }) => ({ db, key })) };
    mesh
      .request(region, 'settle', Buffer.from(JSON.stringify(request)), { timeoutMs })
      .catch((error: unknown) => log.debug({ err: error, peer: region }, 'asking for states failed'));
  }

  private async settleOne(): Promise<boolean> {
    const state = this.settler!.choose(this.core.settling.toSettle(this.live()), Date.now());
    if (state === null) return false;
    const { core } = this;
    const block = this.nextBlock();
    // Keys between which something moved are read in one moment: it is in one of them.
    const states = state.unsettled ? core.settling.joinedWith(state) : [state];
    const replies = await this.applier!.apply(new Batch(), this.markerText(this.vector, block), {
      states,
      build: (batch) => this.settler!.read(batch, states),
    });
    // Where only the time to live is in doubt, having none means having nothing to say.
    const payload = state.unsettled
      ? statesPayload(states, replies, Date.now())
      : ttlPayload(state.key, replies, Date.now());
    if (payload === null) {
      core.settling.foundNoTtl(state);
      return true;
    }
    const marker = await this.whenLanded(block);
    const { recorder } = this;
    const at = recorder!.state;
    // The state is the key's at its marker, and is told of at the place read up to now: nobody wrote the key in between.
    // Behind its marker: what a failover loses of the blocks that it has seen, it loses of this too.
    const end = positionAfter(Math.max(at.offset, at.end));
    const isOutdated =
      end === null ||
      recorder!.inBlock ||
      core.settling.isEmptied ||
      states.some((other) => other.positionOf(core.origins.index(at.origin)) > marker) ||
      core.settling.isJoinedWithMore(state, states) ||
      core.corrections.racedKeys > 0;
    const hasOthers = states.some((other) => core.settling.isOthers(other));
    if (isOutdated || hasOthers) this.settler!.retry(state, payload.length, Date.now());
    if (isOutdated) return true;
    if (hasOthers) {
      const to = core.settling.yieldsTo(state, states);
      if (to === null) return true;
      const mine = additionsPayload(state.key, replies, Date.now());
      if (mine.length > 0) this.tell(this.make(at, RecordKind.difference, state.db, mine, end));
      core.settling.yielded(state, to);
      return true;
    }
    this.settler!.sent(states, Date.now());
    // Where changes are read as states, or are in no operation, what is not known may be a client's.
    const isTold = this.keyspace === null && !this.unexplained;
    core.localState(
      this.make(at, RecordKind.state, state.db, payload, end, isTold ? core.carriedBy(state.db, payload) : undefined),
    );
    return true;
  }

  /**
   * Says where streams begin that clients here have cut. A report removes what it has seen below that; what comes to a stream between
   * the look and the report is above, or the look counts for nothing.
   */
  private async reportTrims(): Promise<boolean> {
    const { core, recorder } = this;
    const { trims } = core;
    const streams = trims.choose(Date.now(), LOOKS_MAX).filter(({ db, key }) => !core.isAmiss(db, key));
    if (streams.length === 0) return false;
    for (const stream of streams) trims.look(stream);
    const looks = await lookAt(this.connection!, trims, streams);
    const at = recorder!.state;
    const now = Date.now();
    const reports = new Map<number, (Beginning & { stream: CutStream; key: string })[]>();
    for (const [stream, beginning] of looks) {
      const { db, key } = stream;
      if (beginning === null || !trims.isNews(stream, beginning)) trims.done(stream, beginning, now);
      else if (recorder!.inBlock || core.isAmiss(db, key) || trims.isOutdated(stream, beginning.first))
        trims.retry(stream, now);
      else {
        const report = { stream, key, ...beginning };
        const ofDb = reports.get(db);
        if (ofDb === undefined) reports.set(db, [report]);
        else ofDb.push(report);
      }
    }
    for (const [db, report] of reports) {
      const end = positionAfter(Math.max(at.offset, at.end));
      if (end !== null) core.localState(this.make(at, RecordKind.state, db, trimReport(report), end));
      for (const { stream, ...beginning } of report)
        if (end === null) trims.retry(stream, now);
        else trims.done(stream, beginning, now);
    }
    return true;
  }

  /** The position of an own block, once it has been read back. */
  private async whenLanded(block: string): Promise<number> {
    if (this.landed.block !== block) {
      await new Promise<void>((done) => {
        this.landedWaiter = { block, done };
        if (this.ended !== null) done();
      });
      this.landedWaiter = null;
      if (this.ended !== null) throw this.ended;
    }
    return this.landed.offset;
  }

  /** @internal */
  refused(refusal: Refusal): void {
    const { log } = this.context;
    const { db, key, command, code, isForeign } = refusal;
    if (command === 'FUNCTION' && !this.libraries.refused(refusal)) return;
    // A state that this Redis can't read; asking for another one brings the same.
    const isUnreadable = command === 'RESTORE';
    if (key !== undefined && !key.startsWith(OWN_PREFIX) && !isForeign && !isUnreadable) {
      // Types that met, or increments on what is no number: the rule decides, or the key's state does.
      if (!isOfGroup(command)) this.core.refused(db, key, refusal);
      return;
    }
    keepLetter(this.context, refusal);
    log.warn({ command, code }, 'a command could not be applied; `meridian dead-letters list` tells of which key');
  }

  /**
   * Tries a dead letter again. What is refused again comes back as one.
   * @returns what was done. @throws SessionError where this region can't at the moment
   */
  async retry({ db, command: name, key, remedy, bytes }: StoredLetter): Promise<string> {
    if (!this.isLive) throw new SessionError('lost', `region ${this.region} takes no part at the moment: ask again`);
    if (remedy === 'state' && key !== null) {
      this.core.settling.demandState(db, key, ELSEWHERE);
      this.wake();
      return 'another region is asked for what the key holds';
    }
    if (name === 'FUNCTION') this.libraries.retry();
    const command = Buffer.from(bytes ?? '', 'base64');
    const batch = (this.next ??= new Batch());
    batch.select(db).raw(command, 0, command.length, 1);
    const ran = new Promise<void>((done) => this.runWaiters.push({ batch, done }));
    this.wake();
    await Promise.race([ran, sleep(RETRY_MS, undefined, { ref: false })]);
    return 'run once more';
  }

  private countConflicts(): void {
    const conflicts = this.core.notes.counts;
    const corrections = this.core.corrections.count;
    const { metrics } = this.context;
    for (const [type, n] of Object.entries(conflicts)) {
      const before = this.countedConflicts[type] ?? 0;
      if (n > before) metrics.conflict(type, n - before);
      this.countedConflicts[type] = n;
    }
    if (corrections > this.countedCorrections) metrics.corrections.inc(corrections - this.countedCorrections);
    this.countedCorrections = corrections;
  }

  // ——— time

  /** @internal */
  startTimers(): void {
    const { heartbeatMs } = this.context.config.replication;
    const every = (ms: number, run: () => void): void => {
      this.timers.push(setInterval(run, ms));
    };
    let inFlight = false;
    const heartbeat = (): void => {
      if (inFlight || this.control === null || !this.control.open) return;
      inFlight = true;
      const now = Date.now();
      this.keyspace?.beat(now);
      this.control
        .call('SET', HEARTBEAT_KEY, String(now))
        .then((reply) => {
          inFlight = false;
          if (reply instanceof ReplyError && reply.code === 'READONLY')
            this.end(new SessionError('replica', 'this Redis has become a replica'));
        })
        .catch(() => undefined);
    };
    heartbeat();
    every(heartbeatMs, heartbeat);
    every(ACK_MS, () => this.sendAck(false));
    every(AWAIT_MS, () => this.askForStates());
    void this.lookAtSafety().catch(() => undefined);
    every(SAFETY_MS, () => void this.lookAtSafety().catch(() => undefined));
    if (this.removals !== null) every(EVICTIONS_MS, () => void this.lookAtEvictions().catch(() => undefined));
    every(EXPLAINED_MS, () => void this.seekExplained().catch(() => undefined));
    every(META_MS, () => {
      void this.keepAndTrim(this.core.lowWater());
    });
  }

  private keepPosition(low?: Map<OriginId, number>): Promise<boolean> {
    return this.writeMeta(low).then(
      () => true,
      (error: unknown) => {
        this.context.log.error({ err: error }, 'cannot keep the position');
        return false;
      },
    );
  }

  /** What the journal lets go of is not asked for after a crash: the document has to say so first. */
  private async keepAndTrim(low: Map<OriginId, number>): Promise<void> {
    if (this.trimming) return;
    this.trimming = true;
    if (await this.keepPosition(low)) await this.trim(new Map(low));
    this.trimming = false;
  }

  /** @internal */
  writeMeta(low = this.core.lowWater()): Promise<void> {
    const { journal } = this.context;
    const state = this.recorder!.resumeState;
    const meta = metaOf({
      established: this.established,
      unexplained: this.unexplained,
      comparedWith: this.comparedWith,
      offered: this.offered,
      awaited: this.core.settling.awaitedElsewhere().map(({ db, key }) => [db, key]),
      missing: this.core.corrections.missingEntries(),
      replId: this.replId,
      state,
      applied: this.vector,
      past: this.past,
      low,
    });
    // The document must not be ahead of the journal: what it says was read has to be durable first.
    return journal.flushed().then(() => journal.writeMeta(meta));
  }

  private async trim(low: Map<OriginId, number>): Promise<void> {
    const { journal, config } = this.context;
    // Kept for every member that has not journalled it, reachable or not.
    for (const member of config.members) {
      if (member.name === this.region) continue;
      const durable = this.durableOf.get(member.name);
      // Its own it has, but for what it has not flushed yet; of histories that it does not speak of it has all it will ever want.
      for (const [origin, position] of low)
        low.set(origin, Math.min(position, durable?.get(origin) ?? (regionOf(origin) === member.name ? position : -1)));
    }
    if (low.size > 0) await journal.trim(low).catch(() => undefined);
  }

  /** What each region has reported to have journalled. */
  private readonly durableOf = new Map<string, Map<OriginId, number>>();

  noteDurable(beat: Beat): void {
    let durable = this.durableOf.get(beat.region);
    if (durable === undefined) this.durableOf.set(beat.region, (durable = new Map<OriginId, number>()));
    raise(durable, beat.durable);
  }
}

const EMPTY = Buffer.alloc(0);
const INFO_SAFETY = Buffer.concat([encodeCommand(['INFO', 'replication']), encodeCommand(['INFO', 'persistence'])]);
