/**
 * One stay beside a primary: what clients do there goes out, what others did comes in, until either connection is lost.
 * How it begins is in opening.ts.
 */
import { asError } from '../as-error';
import { Inbox } from '../apply/inbox';
import type { NotificationCapture } from '../capture';
import type { StoredLetter } from '../dead-letters/letter';
import { Batch } from '../merge/batch';
import type { MergeCore } from '../merge/core';
import type { Replay } from '../merge/replay';
import type { Beat } from '../peers';
import { isDry, isPrivate, type OpRecord, type OriginId, RecordKind, regionOf, type Vector } from '../record';
import type { RedisConnection } from '../resp';
import type { Marker } from '../stream/keys';
import type { Numbers } from '../stream/numbers';
import { formatVector, positionIn } from '../vector';
import { ACK_MS } from './ack';
import { ConflictCounts } from './conflict-counts';
import { type AgentContext, liveRegions, type RedisAddress, SessionError } from './context';
import type { MeshAnswer } from './difference';
import type { Donor, SettleRequest } from './donor';
import { Departures, EVICTIONS_MS } from './departures';
import { HeardBeats } from './heard-beats';
import { Heartbeat } from './heartbeat';
import type { ServerInfo } from './info';
import { MetaKeeper } from './meta-keeper';
import { newCore } from './new-core';
import { Opening } from './opening';
import { durableEnds, OwnBeats } from './own-beats';
import { OwnBlocks } from './own-blocks';
import { OwnLibraries } from './own-libraries';
import { OwnReports, type Report } from './own-reports';
import { OwnStates } from './own-states';
import { OwnStream } from './own-stream';
import { type Meta, metaOf } from './position';
import { Pump } from './pump';
import { RecordReaders } from './records';
import { Refill } from './refill';
import { Refusals } from './refusals';
import { AWAIT_MS, StateRequests } from './state-requests';
import { type Stay, Stopped } from './stay';
import { Trespasses } from './trespasses';
import { reportTrims } from './trims';
import { EXPLAINED_MS, Unexplained } from './unexplained';

const META_MS = 1000;
const SAFETY_MS = 200;

export class Session implements Stay {
  core: MergeCore;
  /** Positions in Redis, by origin: what the cursor says, and own older origins. */
  readonly vector = new Map<OriginId, number>();
  server: ServerInfo | null = null;
  readonly region: string;

  // What its opening fills in.
  /** @internal The origin whose stream is about to be read. */
  nextOrigin: OriginId | null = null;
  /** @internal Of own older origins, what has been in this history of Redis since it began. */
  past: Vector = new Map();
  /** @internal */ connection: RedisConnection | null = null;
  /** @internal */ control: RedisConnection | null = null;
  /** @internal The stream's link, where changes are captured by notifications. */
  keyspace: NotificationCapture | null = null;
  /** @internal Kept up to date by the recorder. */ numbers: Numbers | null = null;
  /** @internal */ replId = '';
  /** @internal It has its place in the mesh. */
  established = false;
  /** @internal It is getting its place in the mesh. */
  joining = false;
  /** @internal What this Redis held before it joined has been offered. */
  offered = false;
  /** @internal It waits for another region's data to compare with, and nobody who can be reached has any. */
  hopeless = false;
  /** @internal Records are wanted from peers. */
  following = false;
  /** @internal The journal has been read; what comes from peers goes to the inbox at once. */
  rebuilt = false;
  /** @internal Takes what is in Redis already. */
  replay: Replay | null = null;

  /** @internal */ readonly stream: OwnStream;
  /** @internal */ readonly blocks: OwnBlocks;
  /** @internal */ readonly inbox: Inbox;
  /** @internal */ readonly pump: Pump;
  /** @internal */ readonly unexplained: Unexplained;
  /** @internal */ readonly departures: Departures;
  /** @internal */ readonly refusals: Refusals;
  /** @internal */ readonly refill: Refill;
  /** @internal */ readonly requests: StateRequests;
  /** @internal */ readonly trespasses: Trespasses;
  private readonly readers: RecordReaders;
  private readonly beats: HeardBeats;
  private readonly ownBeats: OwnBeats;
  private readonly reports: OwnReports;
  private readonly states: OwnStates;
  private readonly libraries: OwnLibraries;
  private readonly keeper: MetaKeeper;
  private conflicts = new ConflictCounts();
  private countedCorrections = 0;
  private readonly cores: MergeCore[] = [];
  private readonly timers: NodeJS.Timeout[] = [];
  private ended: Error | null = null;
  private readonly endWaiters: ((error: Error) => void)[] = [];

  constructor(
    readonly context: AgentContext,
    readonly address: RedisAddress,
  ) {
    const { config, journal } = context;
    const core = (): MergeCore => this.core;
    const wake = (): void => this.pump.wake();
    const fail = (error: Error): void => this.end(error);
    this.region = config.region;
    this.core = this.newCore();
    this.readers = new RecordReaders(journal);
    this.inbox = new Inbox(this.readers, config.limits.inboxBytes / 4, wake, fail);
    this.unexplained = new Unexplained(context);
    this.departures = new Departures({
      context,
      address,
      currentOffset: () => this.currentOffset(),
      take: (chunk) => this.stream.read(chunk),
      fail,
    });
    this.requests = new StateRequests(context, core);
    this.keeper = new MetaKeeper(context, (low) => this.meta(low));
    this.stream = new OwnStream({
      context,
      core,
      isJoining: () => this.joining,
      trespassed: (trespass) => this.trespasses.note(trespass),
      wake,
      fail,
    });
    this.libraries = new OwnLibraries({
      context,
      core,
      connection: () => this.connection!,
      place: () => (this.stream.recorder!.inBlock ? null : this.stream.recorder!.state),
      tell: (at, payload, end) => this.stream.tell(this.stream.make(at, RecordKind.difference, 0, payload, end)),
    });
    this.blocks = new OwnBlocks({
      core,
      vector: this.vector,
      libraries: this.libraries,
      isJoining: () => !this.established,
      ran: (operations) => this.ran(operations),
    });
    this.pump = new Pump({
      core,
      inbox: this.inbox,
      blocks: this.blocks,
      limits: config.limits,
      rest: () => this.rest(),
      fail,
    });
    this.refusals = new Refusals({ context, core, libraries: this.libraries, pump: this.pump });
    this.states = new OwnStates({
      core,
      blocks: this.blocks,
      stream: this.stream,
      live: () => this.live(),
      // Where changes are read as states, or are in no operation, what is not known may be a client's.
      isTold: () => this.keyspace === null && !this.unexplained.isSo,
    });
    this.beats = new HeardBeats(
      (origin, position) => this.isHere(origin, position),
      ({ region, seen, origin, reported }) => {
        if (reported >= 0) this.core.report(region, this.core.origins.toSeen(seen), { origin, position: reported });
      },
    );
    this.ownBeats = new OwnBeats(context);
    this.reports = new OwnReports(config.listen.replica ?? null, ({ position, seen }) =>
      this.core.report(this.region, this.core.origins.toSeen(seen), { origin: this.origin!, position }),
    );
    this.refill = new Refill({
      context,
      core,
      upTo: () => {
        const { origin, end } = this.stream.recorder!.state;
        return new Map([...this.vector].filter(([id]) => regionOf(id) === this.region)).set(origin, end);
      },
      wake,
      alive: () => this.alive(),
      fail,
    });
    this.trespasses = new Trespasses({
      context,
      core,
      ask: () => this.requests.askDue(),
      hasten: (state) => this.requests.hasten(state),
      keep: () => this.writeMeta(),
      fail,
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
      this.end(asError(error));
      if (!(error instanceof Stopped)) throw error;
    } finally {
      await this.close();
    }
  }

  async readAll(): Promise<void> {
    if (this.isLive) await this.stream.readUpTo(await this.currentOffset());
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
    this.stream.end(error);
    this.blocks.end(error);
    this.pump.end();
  }

  private async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.trespasses.stop();
    this.inbox.stop();
    this.readers.close();
    this.stream.link?.close();
    this.connection?.close();
    this.control?.close();
    this.departures.close();
    await this.pump.over();
    await this.context.journal.flushed().catch(() => undefined);
    for (const { window } of this.cores) window.dispose();
    const { numbers, context, replId } = this;
    const { recorder } = this.stream;
    if (recorder === null) return;
    // Good for whoever reads on in the very same place.
    if (numbers !== null && !recorder.inBlock) context.numbers = { numbers, replId, offset: recorder.state.offset };
    await this.writeMeta().catch(() => undefined);
  }

  /** @internal @throws what ended the session */
  alive(): void {
    if (this.ended !== null) throw this.ended;
  }

  /** Ready when it takes part: own changes go out, others' come in. */
  get isLive(): boolean {
    return this.ended === null && this.stream.recorder !== null && !this.joining;
  }

  /** Whether nothing planned is still on its way to Redis. */
  get isAtRest(): boolean {
    return this.pump.isAtRest;
  }

  // ——— opening

  /** @internal @param base as of `newCore` */
  newCore(base?: OriginId): MergeCore {
    const core = newCore(this.context, base);
    this.cores.push(core);
    return core;
  }

  /** @internal The join is over: this core knows all that has happened. */
  turnTo(core: MergeCore): void {
    this.core = core;
    this.established = true;
    this.stream.backlog = null;
    this.replay = null;
    this.conflicts = new ConflictCounts();
    this.countedCorrections = 0;
    for (const origin of [...this.vector.keys()]) if (isPrivate(origin)) this.vector.delete(origin);
  }

  /** @internal Begins to take part. */
  go(): void {
    // What was put together again from the journal has been told before.
    this.core.notes.sink = this.context.conflicts;
    this.pump.start(this.vector);
    if (this.established) this.refill.begin();
  }

  // ——— the own stream

  get captured(): Stay['captured'] {
    return this.stream.captured;
  }

  get origin(): OriginId | null {
    return this.stream.origin;
  }

  get position(): number {
    return this.stream.position;
  }

  /** @internal */
  async currentOffset(): Promise<number> {
    // A block of ours has been looked at, with what was before it, when it is known to have run.
    if (this.keyspace !== null) return this.position;
    const info = await this.control!.call('INFO', 'replication');
    const text = Buffer.isBuffer(info) ? info.toString('latin1') : '';
    return Number(/^master_repl_offset:(\d+)/m.exec(text)?.[1] ?? 0);
  }

  /** @internal */
  tellFlush(db: number | null): void {
    this.context.metrics.flushesRefused.inc();
    this.context.log.error(
      { db: db ?? 'all' },
      'a client has flushed this Redis, and that is not carried (replication.flush): its data comes back from the other regions',
    );
  }

  /** @internal A client's flush stays here: the other regions give the data back. */
  flushRefused(db: number | null): void {
    this.tellFlush(db);
    this.refill.flushed();
    if (this.established) this.refill.begin();
  }

  /** @internal */
  ownMarker(marker: Marker, offset: number): void {
    const { core } = this;
    core.land(core.origins.toSeen(marker.vector));
    this.noteReport({ position: offset, seen: marker.vector, end: this.stream.recorder!.state.end });
    this.blocks.land(marker.block, offset);
  }

  /** @internal */
  ownHeartbeat(timeMs: number, offset: number): void {
    const { origin, seen, stamp, end } = this.stream.recorder!.state;
    this.noteReport({ position: offset, seen: new Map(seen), end });
    // Nobody hears of the stream of a region that joins.
    if (this.joining) return;
    const { told } = this.reports;
    const said = told === null ? '' : `${told.end} ${formatVector(told.seen)}`;
    if (!this.ownBeats.isNews(end, `${formatVector(seen)} ${said}`, timeMs)) return;
    const beat: Beat = {
      ...{ region: this.region, origin, position: offset, timeMs, stamp },
      reported: told?.position ?? -1,
      seen: new Map(told?.seen),
      durable: durableEnds(this.context.journal),
      paths: new Map(),
    };
    this.ownBeats.push(beat, end);
  }

  private noteReport(report: Report): void {
    // What a failover has taken back is to be here again first: what was seen since has not seen it.
    for (const origin of this.inbox.origins())
      if (regionOf(origin) === this.region && this.inbox.endOf(origin) > positionIn(this.vector, origin)) return;
    this.reports.note(report);
  }

  /** New records can be read by peers. */
  readable(): void {
    if (!this.joining && this.origin !== null) this.ownBeats.publish(this.origin);
  }

  /** New records are durable. */
  durable(): void {
    this.stream.sendAck(false);
  }

  acknowledged(peer: string, durable: Vector): void {
    this.stream.acknowledged(peer, durable);
  }

  // ——— others' operations

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
    if (positionIn(this.vector, origin) < start) return false;
    if ((journal.appendedEnd(origin) ?? -1) < start) journal.skipTo(origin, start);
    (this.replay?.core ?? this.core).assume(origin, start);
    this.pump.wake();
    return true;
  }

  /** Records from a peer, journalled already. */
  offer(record: OpRecord): void {
    if (!this.rebuilt) return;
    // The first record of an origin says where its region's stream began: everything before is its older origins'.
    if (record.kind === RecordKind.birth) this.core.assume(record.origin, record.end);
    this.inbox.offer(record);
    this.pump.wake();
  }

  pending(matches: (origin: OriginId) => boolean): { operations: number; bytes: number } {
    return this.inbox.pending(matches);
  }

  get applied(): Stay['applied'] {
    return this.blocks.applied;
  }

  private ran(operations: number): void {
    const { metrics } = this.context;
    const { notes, corrections } = this.core;
    metrics.applied.inc(operations);
    this.conflicts.take(notes.counts, (type, n) => metrics.conflict(type, n));
    if (corrections.count > this.countedCorrections)
      metrics.corrections.inc(corrections.count - this.countedCorrections);
    this.countedCorrections = corrections.count;
    this.beats.takeDue();
  }

  /** A region's heartbeat, after its records up to there were offered. */
  beat(beat: Beat): void {
    // They come again when this region knows what they speak of: until then their records may wait in the journal, unseen by
    // the inbox, and what they say would let operations go that these records have not seen.
    if (this.joining || !this.rebuilt || this.replay !== null) return;
    this.beats.hear(beat, this.inbox.endOf(beat.origin));
  }

  get heartbeats(): Stay['heartbeats'] {
    return this.beats.last;
  }

  private isHere(origin: OriginId, position: number): boolean {
    if (positionIn(this.vector, origin) >= position) return true;
    return !this.pump.isPlanned(origin, position) && this.core.knownOf(origin) >= position;
  }

  noteDurable(beat: Beat): void {
    this.keeper.noteDurable(beat);
  }

  /** The regions that can be reached directly, this one included. */
  live(): string[] {
    return liveRegions(this.context);
  }

  /** What is done where nothing is to be applied, one thing at a time. */
  private async rest(): Promise<boolean> {
    const { blocks, core, unexplained } = this;
    const { libraries, trims, settling } = core;
    if (this.keyspace?.isCursorGone === true) {
      await blocks.apply(new Batch(), false);
      return true;
    }
    if ((libraries.hasLost || trims.isDue) && !blocks.isCaughtUp) {
      await blocks.applyCursor();
      return true;
    }
    if (libraries.hasLost && this.libraries.tellLost()) return true;
    if (trims.isDue && (await reportTrims(core, this.connection!, this.stream))) return true;
    if (settling.unsettledKeys > 0 && (await this.states.settleOne())) return true;
    if (unexplained.isSo && settling.unsettledKeys === 0 && unexplained.end()) {
      await this.writeMeta();
      this.context.log.info('all regions have compared with this one: what was in no operation is in them now');
    }
    return false;
  }

  /** Tries a dead letter again. @throws SessionError where this region can't at the moment */
  retry(letter: StoredLetter): Promise<string> {
    if (this.isLive) return this.refusals.retry(letter);
    return Promise.reject(new SessionError('lost', `region ${this.region} takes no part at the moment: ask again`));
  }

  // ——— what peers ask

  /** It has data of the mesh, which others may have. */
  private get hasPlace(): boolean {
    const isReading = this.control !== null && this.stream.recorder !== null;
    return this.isLive && this.established && isReading && !this.core.settling.isEmptied;
  }

  /** What it says of its place in the mesh. */
  standing(): MeshAnswer {
    const members = this.context.config.members.map(({ name }) => name);
    const hopeless = this.hopeless || this.joining;
    return { established: this.hasPlace, hopeless, unexplained: this.unexplained.isSo, members };
  }

  /** What this region can give to others; null while it has nothing to give. */
  donor(): Donor | null {
    const { control, context, address, replId, stream } = this;
    const { recorder } = stream;
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
      unexplained: this.unexplained.isSo,
      low: () => this.core.lowWater(),
      stamp: () => recorder.state.stamp,
      reportedOf: (origin) => this.core.reportedOf(regionOf(origin), origin),
      amissOf: (db, key) => this.core.amissOf(db, key),
      cutSince: (timeMs) => [...this.core.trims.unknownSince(timeMs)],
      areLibrariesAmiss: () => this.core.libraries.isUnderWay || this.core.libraries.hasLost,
      read: (offset) => stream.readUpTo(offset),
      journalled: (offset) => stream.journalled(offset),
    };
  }

  /** What a peer asks for that compared its data with this region's. */
  settle({ from, keys, explained }: SettleRequest): void {
    for (const { db, key } of keys) this.core.settling.askedFor(db, key, from, liveRegions(this.context));
    this.pump.wake();
    if (explained !== true) return;
    this.unexplained.comparedWith.add(from);
    void this.keeper.keep(this.core.lowWater());
  }

  // ——— time

  /** @internal */
  startTimers(): void {
    const every = (ms: number, run: () => void): void => void this.timers.push(setInterval(run, ms));
    /** What fails now is tried again next time. */
    const everyTry = (ms: number, run: () => Promise<void>): void => every(ms, () => void run().catch(() => undefined));
    const askSafety = (): Promise<void> => this.reports.ask(this.control!);
    const becameReplica = (): void => this.end(new SessionError('replica', 'this Redis has become a replica'));
    const beats = new Heartbeat(this.control!, this.context.keys.heartbeat, becameReplica);
    const heartbeat = (): void => {
      const now = Date.now();
      if (beats.beat(now)) this.keyspace?.beat(now);
    };
    heartbeat();
    every(this.context.config.replication.heartbeatMs, heartbeat);
    every(ACK_MS, () => this.stream.sendAck(false));
    every(AWAIT_MS, () => this.requests.askDue());
    void askSafety().catch(() => undefined);
    everyTry(SAFETY_MS, askSafety);
    everyTry(EVICTIONS_MS, () => this.departures.look(this.control!));
    everyTry(EXPLAINED_MS, () => this.seekExplained());
    every(META_MS, () => void this.keeper.keepAndTrim(this.core.lowWater()));
  }

  private async seekExplained(): Promise<void> {
    if (!this.unexplained.isSo || this.core.settling.unsettledKeys > 0) return;
    const peer = await this.unexplained.seek();
    if (peer === null) return;
    this.context.needsResync = true;
    this.context.compareWith = peer;
    this.end(new SessionError('lost', `what clients changed here unread is compared with ${peer}`));
  }

  /** @internal @throws JournalError */
  writeMeta(): Promise<void> {
    return this.keeper.write(this.core.lowWater());
  }

  private meta(low: Vector): Meta {
    const { settling, corrections } = this.core;
    return metaOf({
      established: this.established,
      unexplained: this.unexplained.isSo,
      comparedWith: this.unexplained.comparedWith,
      offered: this.offered,
      awaited: settling.awaitedElsewhere().map(({ db, key }) => [db, key]),
      missing: corrections.missingEntries(),
      replId: this.replId,
      state: this.stream.recorder!.resumeState,
      applied: this.vector,
      past: this.past,
      low,
    });
  }
}
