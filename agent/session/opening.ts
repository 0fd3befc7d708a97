/**
 * The opening of a session: from finding where the stream goes on, to taking part.
 *
 * There is one way to recover from whatever breaks, and every start takes it: read what Redis holds (the cursor), put
 * the window together again from the journal, go on. A crash of the agent, a restart of Redis and a failover differ only
 * in where the stream goes on.
 *
 * A region that joins reads its own stream from the first moment, but nobody hears of it: the records have a *private*
 * origin. A core of their own lets them meet the mesh's data as it is loaded (join.ts). When that is in, the window is
 * begun anew with what its vector V says, as after a restart; then the private records are told once more, as those of
 * the public origin, which has seen V from its birth. So for everybody they are simply later than the snapshot. Until the
 * last of them is on disk the cursor says "joining": whatever breaks before, the join begins again with the same private
 * records, and whatever breaks after finds a region with its place in the mesh.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Applier } from '../apply/applier';
import { rewritingFor } from '../apply/servers';
import { misplaced, slotGuard } from '../cluster/guard';
import { type Capture, NotificationCapture, type RdbEntry, ReplicaLink, type SyncOutcome } from '../capture';
import { Batch } from '../merge/batch';
import type { MergeCore } from '../merge/core';
import { ELSEWHERE } from '../merge/settling';
import { missingOf, rememberFrom, Replay } from '../merge/replay';
import {
  decodeRecord,
  encodeRecord,
  isPrivate,
  type OpRecord,
  type OriginId,
  privateOrigin,
  publicOrigin,
  RecordKind,
  regionOf,
  streamOrigin,
  type Vector,
} from '../record';
import { CommandWriter, RedisConnection, ReplyError } from '../resp';
import { type OwnKeys, stampOf } from '../stream/keys';
import { NumberHistory } from '../stream/number-history';
import { Numbers } from '../stream/numbers';
import { Recorder, type RecorderEvents, type RecorderOptions, type RecorderState } from '../stream/recorder';
import { parseVector, raise } from '../vector';
import { Backlog } from './backlog';
import { type AgentContext, announcedOptions, keepLetter, SessionError } from './context';
import { compareWithMesh, type Comparison, type Differences } from './difference';
import { isOwnKey, type KeyName, type SettleRequest } from './donor';
import { checkRights, readCursor, readHeartbeat, readServerInfo, type ServerInfo } from './info';
import { Join, type JoinHost, type Loaded } from './join';
import { hasFunctions, refusalOf } from './libraries';
import { hasToCorrect } from './own-blocks';
import { lastAt, type Meta, positionAfter, readMeta, type ResumePoint, resumePoint } from './position';
import type { Session } from './session';

/** How long nothing that is missing comes, and nobody who can be reached has it, before it is given up. */
const PATIENCE_MS = 5000;
/** The same where somebody says to have it. */
const PATIENCE_MAX_MS = 60_000;
const SCAN_KEYS = 1000;
/** Of the journal's end, so much is looked through for what numbers were. */
const NUMBERS_BYTES = 16 * 1024 * 1024;

export class Opening {
  private readonly context: AgentContext;
  private meta: Meta | null = null;
  private connection!: RedisConnection;
  private link!: Capture;
  private outcome!: SyncOutcome;
  private forked = false;
  private cursorText: string | null = null;
  /** Of a full resync: what its snapshot holds. */
  private numbers: Numbers | null = null;
  private receive: (chunk: Buffer) => void;
  /** Keys of other regions that were written behind what the document tells of, before where the stream is read on. */
  private readonly late: [number, string][] = [];
  private readonly early: Buffer[] = [];

  constructor(private readonly session: Session) {
    this.context = session.context;
    this.receive = (chunk) => void this.early.push(Buffer.from(chunk));
  }

  /** Returns when the session takes part. */
  async run(): Promise<void> {
    const { session, context } = this;
    const { journal, log } = context;
    context.setState('starting', 'connecting to Redis');
    const server = await this.connect();
    const meta = readMeta(journal);
    this.meta = meta;
    const cursor = await readCursor(this.connection, server.databases, context.keys);
    this.cursorText = cursor.text;
    const { marker } = cursor;
    // The copy outside counts only where the cursor was flushed away under a history that goes on.
    const goesOn = meta?.established === true && meta.replId === server.replId;
    const flushed = marker === null && goesOn;
    // A join's last block says that it is one; the journal may know that it was the last.
    const joined = marker?.joining === true && meta?.established === true && isHistoryOf(server, meta);
    session.established = marker === null ? flushed : marker.joining !== true || joined;
    session.blocks.maxStamp = marker?.stamp ?? 0;
    session.unexplained.isSo = session.established && meta !== null && meta.unexplained;
    if (session.unexplained.isSo)
      for (const region of meta?.comparedWith ?? []) session.unexplained.comparedWith.add(region);
    const held = marker?.vector ?? (flushed ? parseVector(meta.applied) : null) ?? new Map<OriginId, number>();

    context.setState('syncing', 'asking Redis for its replication stream');
    const needsResync = context.needsResync || meta?.resync === true;
    const resume = meta !== null && !needsResync && this.mayResume(meta) ? await resumePoint(journal, meta) : null;
    await this.attach(server, resume);
    if (resume !== null && this.outcome.kind === 'continue') await this.noteTrespasses(resume, server);
    const continues =
      resume !== null && this.outcome.kind === 'continue' && this.outcome.replId === resume.replId ? resume : null;
    log.info(
      {
        sync: this.outcome.kind,
        replId: this.outcome.replId.slice(0, 16),
        offset: this.outcome.offset,
        forked: this.forked,
        established: session.established,
      },
      'replication stream open',
    );
    if (session.established) {
      if (resume !== null && continues === null) await this.endOldHistory(resume, server);
      await this.goOn(held, resume, continues);
    } else await this.join(continues);

    context.mesh.refresh();
    context.setState('active');
    if (context.emptied.isSet && session.established) session.refill.flushed();
    session.go();
    log.info({ config: context.config.members.length, window: session.core.operations }, 'active');
  }

  // ——— Redis

  private async connect(): Promise<ServerInfo> {
    const { session, context } = this;
    const options = context.redisOptions(session.address);
    const open = async (name: string): Promise<RedisConnection> => {
      const connection = await RedisConnection.connect({ ...options, name: `${name}-${session.region}` });
      connection.on('close', (error) => session.end(error ?? new SessionError('redis', 'connection closed')));
      return connection;
    };
    this.connection = session.connection = await open('meridian-agent');
    session.control = await open('meridian-heartbeat');
    const server = await readServerInfo(this.connection);
    session.server = server;
    if (server.loading) throw new SessionError('loading', 'Redis is loading its data');
    if (server.role !== 'primary') throw new SessionError('replica', 'this Redis is a replica');
    const { slots } = this.context;
    if (slots !== null) {
      const why = misplaced(await this.connection.call('CLUSTER', 'NODES'), slots);
      if (why !== null) throw new SessionError('slots', why);
    }
    const refused = await checkRights(this.connection, context.keys, slots !== null);
    if (refused !== null)
      this.context.log.warn(
        `${refused}; entries of streams that others add below the last one, and decimals, can't be merged here`,
      );
    return server;
  }

  /** Of a join only the private records go on, and not before all that they stand beside has been offered. */
  private mayResume(meta: Meta): boolean {
    if (this.session.established) return !isPrivate(meta.origin);
    return !meta.established && meta.offered === true && isPrivate(meta.origin);
  }

  /**
   * Attaches to the stream where it was left, or, after a failover that lost our last part, where the histories part. What clients
   * did to keys of other regions is in no record: it is read once more from where the document tells of it.
   */
  private async attach(server: ServerInfo, resume: ResumePoint | null): Promise<void> {
    const { session } = this;
    const { config, policies } = this.context;
    const from = resume === null ? null : { replId: resume.replId, offset: leftAt(resume, server) };
    const forked = resume !== null && from!.offset < resume.state.offset;
    if (from !== null && policies.haveOwners) from.offset = Math.min(from.offset, resume!.noted.offset);
    if (config.redis.capture === 'notifications') session.keyspace = this.keyspace();
    const link: Capture = session.keyspace ?? new ReplicaLink(announcedOptions(this.context, session.address));
    // Before it is connected: whatever ends the session ends it, too.
    session.stream.link = link;
    link.on('data', (chunk) => this.receive(chunk));
    link.on('close', (error) => session.end(error ?? new SessionError('redis', 'replication link closed')));
    this.outcome = await link.connect(from);
    session.stream.holdWhilePressed(link);
    this.link = link;
    if (this.outcome.kind === 'full' && session.keyspace === null) this.numbers = new Numbers(true);
    // Notifications begin a history of their own each time; Redis' own tells whether this is still the Redis of last time.
    session.replId = session.keyspace === null ? this.outcome.replId : server.replId;
    this.forked = forked && this.outcome.kind === 'continue';
  }

  private keyspace(): NotificationCapture {
    const { session, context } = this;
    const { config, log, metrics } = context;
    if (metrics.capture === null) throw new Error('an agent that captures by notifications has metrics of that');
    return new NotificationCapture({
      redis: { ...context.redisOptions(session.address), name: `meridian-capture-${session.region}` },
      keys: context.keys,
      slots: context.slots,
      scan: config.redis.scan,
      knownKeysMax: config.limits.knownKeysMax,
      valueBytesMax: config.limits.lastValuesBytes,
      metrics: metrics.capture,
      events: {
        state: (db, payload) => session.stream.state(db, payload),
        cursor: () => session.blocks.applier?.cursorText ?? this.cursorText,
        isAmiss: ({ db, key }) => session.core.isAmiss(db, key),
        overwritten: ({ db, key }) => session.core.overwritten(db, key),
        evicted: () => session.departures.countEviction(),
        unreadable: ({ db, key }, error) => {
          keepLetter(context, { db, key, command: 'DUMP', code: error.code });
          log.warn({ err: error }, 'a key holds what this agent cannot read: it stays in this region');
        },
        scanning: (reason) => log.warn({ reason }, 'looking at all keys for what was not notified'),
      },
    });
  }

  /**
   * After a failover: what the old history has behind the journal's end is still of that history, for peers may have it from
   * here, from before this machine crashed. The new one begins where the two part.
   */
  private async endOldHistory({ replId, state }: ResumePoint, server: ServerInfo): Promise<void> {
    const { session, outcome } = this;
    const fork = server.forkOffset;
    if (outcome.kind === 'full' || replId !== server.replId2 || outcome.offset >= fork) return;
    const events = {
      ...this.unheard(server),
      ...this.onFlush((db) => session.tellFlush(db)),
      record: (record: OpRecord): void => session.stream.append(record),
    };
    await this.readTo(new Recorder(state, events, this.limits()), fork);
    // The window is put together from what is written.
    await this.context.journal.flushed();
  }

  /**
   * Keys of other regions that were written between the document's place and the end of what is journalled: the journal may have what was
   * written behind them, and the document not them.
   */
  private async noteTrespasses(resume: ResumePoint, server: ServerInfo): Promise<void> {
    const until = leftAt(resume, server);
    if (this.outcome.offset >= until) return;
    const recorder = new Recorder(resume.noted, { ...this.unheard(server), record: () => undefined }, this.limits());
    await this.readTo(recorder, until);
  }

  /** Of a part of the stream that is read by itself: what wrote other regions' keys is put back later. */
  private unheard(server: ServerInfo): Omit<RecorderEvents, 'record'> {
    return {
      marker: () => undefined,
      heartbeat: () => undefined,
      getAck: () => undefined,
      removal: () => (server.evicts ? 'evicted' : 'expired'),
      unheardRemoval: () => (server.evicts ? 'evicted' : 'expired'),
      trespass: ({ db, key }) => this.late.push([db, key]),
    };
  }

  /** Where a client's flush stays here, what is to be done about one. */
  private onFlush(flushRefused: (db: number | null) => void): Pick<RecorderEvents, 'flushComes' | 'flushRefused'> {
    const { config, emptied } = this.context;
    return config.replication.flush === 'refuse' ? { flushComes: () => emptied.set(), flushRefused } : {};
  }

  /** Gives a recorder the stream's bytes up to an offset, from which it then goes on. */
  private async readTo(recorder: Recorder, offset: number): Promise<void> {
    for (let at = this.outcome.offset; at < offset;) {
      this.session.alive();
      const chunk = this.early.shift();
      if (chunk === undefined) {
        await sleep(1);
        continue;
      }
      const part = chunk.subarray(0, offset - at);
      recorder.push(part);
      at += part.length;
      if (part.length < chunk.length) this.early.unshift(chunk.subarray(part.length));
    }
    this.outcome = { ...this.outcome, offset };
  }

  private limits(): RecorderOptions {
    const { config, policies } = this.context;
    return { blockBytesMax: config.limits.transactionBytes, policies };
  }

  /** The snapshot that a full resync begins with. */
  private async *snapshot(): AsyncGenerator<RdbEntry[], void, void> {
    for await (const entries of this.link.snapshotBatches()) {
      for (const entry of entries) this.numbers?.load(entry);
      yield entries;
    }
    // A block of an earlier session, whose answer was lost, may have run meanwhile: what it brought is then in the snapshot, and would be
    // taken for new. What runs behind the snapshot is in the stream, and the first own block meets its cursor.
    if (
      !this.session.established ||
      (await readCursor(this.connection, [], this.context.keys)).text === this.cursorText
    )
      return;
    throw new SessionError('lost', 'the cursor has changed while the snapshot was made: it is compared once more');
  }

  /** What is known of the numbers in Redis where its stream is to be read. */
  private numbersAt(offset: number): Numbers | null {
    const { context, session, outcome } = this;
    const kept = context.numbers;
    context.numbers = null;
    if (session.keyspace !== null) return null;
    const isSame = kept?.replId === outcome.replId || kept?.replId === session.server!.replId2;
    if (outcome.kind !== 'full' && kept !== null && isSame && kept.offset === offset) return kept.numbers;
    return this.numbers ?? new Numbers(false);
  }

  /** Begins to read the own stream. */
  private async read(state: RecorderState): Promise<void> {
    const { session, context } = this;
    const numbers = this.numbersAt(state.offset);
    session.blocks.applier = new Applier(
      this.connection,
      {
        readUpTo: (offset) => session.stream.readUpTo(offset),
        admitAll: (items, left) => session.core.opaques.admitAll(items, left),
        refused: (refusal) => session.refusals.take(refusal),
        paused: (code) => context.log.warn({ code }, 'Redis takes no writes at the moment; the block waits'),
      },
      this.cursorText,
      session.keyspace ?? undefined,
      rewritingFor(session.server!),
      context.keys,
    );
    session.stream.recorder = new Recorder(
      state,
      {
        record: (record) => session.stream.record(record),
        marker: (marker, offset) => session.ownMarker(marker, offset),
        heartbeat: (timeMs, offset) => session.ownHeartbeat(timeMs, offset),
        getAck: () => session.stream.sendAck(true),
        removal: (db, key, end) => session.departures.removal(db, key, end),
        unheardRemoval: () => session.departures.unheard(),
        ...this.onFlush((db) => session.flushRefused(db)),
        trespass: (trespass) => session.trespasses.note(trespass),
      },
      { ...this.limits(), numbers },
    );
    session.numbers = numbers;
    if (session.keyspace === null) await session.departures.listen(session.server!.evicts);
    // Before the first record of a new history: only with its place noted can its stream be gone on with behind that record.
    await session.writeMeta();
    context.needsResync = false;
    const taker = this.guarded();
    this.receive = (chunk) => taker.receive(chunk);
    for (const chunk of this.early.splice(0)) taker.receive(chunk);
    session.keyspace?.start();
    session.startTimers();
  }

  /** Who takes the stream. */
  private guarded(): { receive(chunk: Buffer): void } {
    const { session, context } = this;
    if (context.slots === null || session.keyspace !== null) return session.departures;
    return slotGuard(context.slots, {
      connection: () => session.control!,
      take: (chunk) => session.departures.receive(chunk),
      fail: (why) => session.end(new SessionError('slots', why)),
    });
  }

  // ——— with a place in the mesh

  private async goOn(held: Vector, resume: ResumePoint | null, continues: ResumePoint | null): Promise<void> {
    const { session, context, meta, outcome } = this;
    const { journal, mesh } = context;
    const { vector } = session;
    // What a join left behind: it has become public long since.
    for (const origin of journal.origins()) if (isPrivate(origin)) journal.forget(origin);
    session.following = true;

    for (const [origin, position] of held) if (!isPrivate(origin)) vector.set(origin, position);
    const past = parseVector(meta?.past ?? '') ?? new Map<OriginId, number>();
    raise(vector, past);
    if (meta !== null && continues === null && journal.appendedEnd(meta.origin) !== undefined) {
      // The old history is complete in this Redis, but for what a failover lost: that comes back as others' operations do.
      vector.set(
        meta.origin,
        this.forked ? await lastAt(journal, meta.origin, outcome.offset) : journal.appendedEnd(meta.origin)!,
      );
    }
    for (const origin of journal.origins())
      if (regionOf(origin) === session.region && origin !== meta?.origin && !vector.has(origin))
        vector.set(origin, journal.appendedEnd(origin)!);

    const isFull = outcome.kind === 'full';
    let state: RecorderState;
    if (continues !== null) state = continues.state;
    else {
      // What is before a full resync is not in this journal: its stream is a history of its own for everybody.
      state = this.newState(
        streamOrigin(session.region, outcome.replId, isFull ? outcome.offset : undefined),
        // Above the heartbeat that is there: what stands before the history's own first one is to be told from what stood before it.
        Math.max(resume?.state.stamp ?? 0, stampOf(await readHeartbeat(this.connection, this.context.keys)) + 1),
      );
      const known = journal.appendedEnd(state.origin);
      if (known !== undefined && known < state.offset) journal.skipTo(state.origin, (state.end = state.offset));
      else if (known !== undefined) state.end = known;
    }
    session.nextOrigin = state.origin;
    const comparison = isFull ? await this.compare(state) : null;
    const isLastWriters = (db: number, key: string): boolean =>
      context.policies.isLastWriters(db, Buffer.from(key, 'latin1'));
    const history =
      continues === null ? null : new NumberHistory(state.origin, () => new Numbers(false), isLastWriters);
    const replay = await this.rebuild(state.origin, history);
    if (continues !== null && history !== null) this.numbers ??= history.finish(state.end, continues.landed);
    for (const [db, key] of [...(meta?.awaited ?? []), ...this.late])
      session.core.settling.demandState(db, key, ELSEWHERE);
    for (const [db, key, id] of meta?.missing ?? []) session.core.lacks({ db, key, id });
    const others = new Map([...vector].filter(([origin]) => origin !== state.origin));
    if (missingOf(replay, others).length > 0 || replay.waiting().length > 0) {
      session.replay = replay;
      session.stream.backlog = new Backlog(journal, state.origin, state.end);
    } else replay.finish();
    let differences: Differences | null = null;
    if (continues === null) {
      // Of the older ones all that will ever be in it by itself.
      session.past = new Map([...others].filter(([origin]) => regionOf(origin) === session.region));
      if (journal.appendedEnd(state.origin) === undefined) this.beginHistory(state);
      // Should it break off before the new place is noted: behind the old one is what is told now.
      if (comparison !== null && meta !== null) await journal.writeMeta({ ...meta, resync: true });
      if (comparison !== null) differences = await this.tellDifferences(comparison, state);
    } else session.past = past;
    await this.read(state);
    if (differences !== null) await this.askDonor(differences);
    if (session.stream.backlog === null) return;

    context.setState('syncing', 'getting from peers what the journal does not have of what is in Redis');
    mesh.refresh();
    await this.remember(replay, others, (missing) =>
      context.log.warn(
        { origins: missing },
        'nobody has these records, which are in Redis already: what is still to come and had not seen them may be merged without them',
      ),
    );
    await session.stream.backlog.drain(
      (record) => replay.add(record),
      () => {
        // What the journal has lost of its own, and others have seen, is read again.
        if (replay.neededOf(state.origin) > session.position) return false;
        this.concede(replay, others);
        session.stream.backlog = null;
        session.replay = null;
        return true;
      },
      () => session.alive(),
      () => session.stream.readUpTo(Math.ceil(replay.neededOf(state.origin))),
    );
  }

  private newState(origin: OriginId, stamp = 0): RecorderState {
    const { offset } = this.outcome;
    const { blocks, vector } = this.session;
    return {
      origin,
      offset,
      end: offset,
      stamp: Math.max(stamp, this.meta?.stamp ?? 0, blocks.maxStamp + 1),
      seen: new Map(vector),
      db: 0,
    };
  }

  private beginHistory(state: RecorderState): void {
    const { session } = this;
    session.stream.append({ ...session.stream.recordAt(state), kind: RecordKind.birth });
    // Others may have seen this birth and nothing else of the origin yet: their records wait here for no more than that.
    session.core.assume(state.origin, state.end);
    // And an operation that does nothing, which they apply as any other. With a birth alone nobody's cursor would say that it has been taken: where no client
    // ever writes, all journals would keep it, and all that came after it.
    const end = positionAfter(state.end);
    if (end !== null) session.stream.tell(session.stream.make(state, RecordKind.difference, 0, Buffer.alloc(0), end));
  }

  /** Puts the window together again from the journal. What is not in Redis yet goes to the inbox. */
  private async rebuild(origin: OriginId, history: NumberHistory | null): Promise<Replay> {
    const { session, meta } = this;
    const { core, vector, inbox } = session;
    const { journal } = this.context;
    const low = (meta === null ? null : parseVector(meta.low)) ?? new Map<OriginId, number>();
    // What everybody has seen, this Redis may have lost again with a failover.
    const lowOf = (known: OriginId): number => {
      const position = low.get(known) ?? -1;
      return known === origin ? position : Math.min(position, vector.get(known) ?? -1);
    };
    for (const known of journal.origins()) core.assume(known, Math.max(lowOf(known), journal.firstStart(known) ?? -1));
    for (const known of low.keys()) core.skip(known, lowOf(known));
    const replay = new Replay(core, session.region, origin);
    let left = journal.bytes;
    for await (const bytes of journal.replay()) {
      const record = decodeRecord(bytes, { verify: false });
      left -= bytes.length;
      if (left < NUMBERS_BYTES) history?.take(record);
      if (record.end <= lowOf(record.origin) || record.kind === RecordKind.birth) {
        core.assume(record.origin, record.end);
        replay.advance();
        continue;
      }
      const rest = replay.take(record, record.origin === origin ? Infinity : (vector.get(record.origin) ?? -1));
      if (rest !== null) inbox.offer(rest);
    }
    replay.endOwnPast(vector);
    session.rebuilt = true;
    // What peers sent meanwhile is in the journal.
    for (const known of journal.origins())
      if (known !== origin)
        inbox.catchUp(known, Math.max(inbox.endOf(known), replay.reached(known)), journal.appendedEnd(known) ?? -1);
    return replay;
  }

  /**
   * Waits for records that are in Redis already: before they are known nothing is merged, or it would be merged with a
   * part of them.
   * @param giveUp nobody has the rest; returns to go on without it
   */
  private async remember(replay: Replay, held: Vector, giveUp: (missing: OriginId[]) => void): Promise<void> {
    const { session } = this;
    const { mesh, log } = this.context;
    let since = Date.now();
    let warned = since;
    for (;;) {
      session.alive();
      session.pump.isAwake = false;
      if (rememberFrom(session.inbox, replay, held)) since = Date.now();
      const missing = missingOf(replay, held);
      if (missing.length === 0) break;
      const waitedMs = Date.now() - since;
      const hopeless = missing.every((origin) => mesh.reach(origin) <= replay.reached(origin));
      if (waitedMs > PATIENCE_MAX_MS || (hopeless && waitedMs > PATIENCE_MS)) {
        giveUp(missing);
        this.concede(replay, held);
        break;
      }
      if (Date.now() - warned > 10_000) {
        warned = Date.now();
        log.warn({ origins: missing }, 'waiting for records from peers');
      }
      await session.pump.idle();
    }
  }

  /** What is still missing does not come any more. */
  private concede(replay: Replay, held: Vector): void {
    for (const [origin, position] of held) replay.core.assume(origin, position);
    replay.finish();
  }

  // ——— differences

  /**
   * A full resync of a Redis that has its place in the mesh: what clients did while no agent was reading is the
   * difference between the snapshot and what the mesh holds. It becomes operations, before those of the stream.
   * With it is found what of this region's past is in this Redis: what is not comes back as others' operations do.
   */
  private async compare(state: RecorderState): Promise<Comparison | null> {
    const { session, context, meta } = this;
    const { vector, region } = session;
    context.metrics.fullSync('diff');
    context.setState('syncing', 'comparing the full sync with the mesh');
    context.mesh.refresh();
    const before = meta !== null && vector.has(meta.origin) ? meta.origin : null;
    const isOwn = (origin: OriginId): boolean => regionOf(origin) === region && origin !== state.origin;
    const older = new Set([...vector.keys()].filter((origin) => isOwn(origin) && origin !== meta?.origin));
    const comparison = await compareWithMesh({
      context,
      snapshot: this.snapshot(),
      // With what an earlier try has told of this history.
      held: new Map([...vector, ...(state.end > state.offset ? [[state.origin, state.end] as const] : [])]),
      older,
      // Under the same history Redis has lost nothing: by notifications every start is like this, and else the backlog was too short.
      before: meta?.replId === session.replId ? null : before,
      startedMs: session.server!.timeMs,
      heartbeatMs: await readHeartbeat(this.connection, this.context.keys),
      isByKey: session.keyspace !== null,
      evicts: session.server!.evicts,
      isEmptied: context.emptied.isSet,
      hasLibraries: session.keyspace === null && (await hasFunctions(this.connection)),
      refusalOf: (code) => refusalOf(this.connection, code),
      canHold: (dump) => canHold(this.connection, dump, context.keys),
      areThere: (keys) => areThere(this.connection, keys),
      alive: () => session.alive(),
      hopeless: (isSo) => (session.hopeless = isSo),
    });
    context.compareWith = null;
    if (comparison === null) {
      session.unexplained.isSo = true;
      session.unexplained.comparedWith.clear();
      return null;
    }
    // What a peer has of the history of before has been compared, though this journal may have lost it: it must not be applied once more.
    raise(vector, new Map([...comparison.vector].filter(([origin]) => isOwn(origin) && !older.has(origin))));
    if (before !== null && comparison.keptUntil !== null) vector.set(before, comparison.keptUntil);
    state.seen = new Map(vector);
    // Of what the journal has lost, operations of this region may be among what the donor has.
    state.stamp = Math.max(state.stamp, comparison.stamp + 1);
    return comparison;
  }

  private async tellDifferences(comparison: Comparison, state: RecorderState): Promise<Differences> {
    const { session } = this;
    const found = await comparison.differences(session.core);
    const next = positionAfter(state.end) ?? state.end + 1;
    // Far into a stream there is room for few positions between two bytes: then more goes into one operation.
    const perOperation = Math.ceil(found.operations.length * (next - state.end) * 2);
    for (let i = 0; i < found.operations.length;) {
      const { db } = found.operations[i]!;
      const payloads: Buffer[] = [];
      do payloads.push(found.operations[i++]!.payload);
      while (payloads.length < perOperation && found.operations[i]?.db === db);
      const end = positionAfter(state.end);
      if (end === null) throw new SessionError('lost', 'more differences than there are positions before the stream');
      const payload = payloads.length === 1 ? payloads[0]! : Buffer.concat(payloads);
      session.stream.tell(session.stream.make(state, RecordKind.difference, db, payload, end));
    }
    for (const entry of found.missing) session.core.lacks(entry);
    // Asked for until it is here: the donor may be gone before it has sent it.
    for (const { db, key } of found.unsettled) session.core.settling.demandState(db, key, ELSEWHERE);
    // What was in no operation here is in these, but for what is in none at the donor either.
    if (found.explained) session.unexplained.comparedWith.add(found.donor);
    // One that has compared before may have taken over what is in no operation: it can't tell of it any more.
    else if (!session.unexplained.comparedWith.has(found.donor)) session.unexplained.isSo = false;
    return found;
  }

  /** The donor is to send the states that are to come from there, and hears that it has been compared with. */
  private async askDonor(found: Differences): Promise<void> {
    const { session, context } = this;
    const request: SettleRequest = { from: session.region, keys: found.unsettled, explained: found.explained };
    if (request.keys.length > 0 || request.explained)
      await context.mesh.request(found.donor, 'settle', Buffer.from(JSON.stringify(request)), { timeoutMs: 60_000 });
  }

  // ——— joining

  private async join(continues: ResumePoint | null): Promise<void> {
    const { session, context, outcome } = this;
    const { journal } = context;
    const { region } = session;
    this.forgetJoins(continues?.state.origin);
    const base = `${region}:base-${session.blocks.nonce}`;
    const privateBase = privateOrigin(base);
    session.joining = true;
    session.core = session.newCore(privateBase);
    let state: RecorderState;
    if (continues !== null) {
      ({ state } = continues);
      const before = new Backlog(journal, state.origin, -1);
      await before.drain(
        (record) => session.core.local(record),
        () => true,
        () => session.alive(),
      );
    } else {
      state = this.newState(privateOrigin(streamOrigin(region, outcome.replId, outcome.offset)));
      this.beginHistory(state);
    }
    session.stream.backlog = new Backlog(journal, state.origin, -1);
    session.offered = continues !== null;
    await this.read(state);

    const doubted = new Map<string, { db: number; key: string }>();
    const join = new Join(this.joinHost(privateBase, (db, key) => doubted.set(`${db}:${key}`, { db, key })));
    if (continues === null) {
      context.metrics.fullSync('load');
      await join.offerOwnData(this.snapshot());
    } else await join.again(this.keys(), this.cursorText !== null);
    context.setState('syncing', 'loading the data of the mesh');
    const loaded = await join.load();
    const replay = new Replay(session.newCore(), region, publicOrigin(state.origin));
    if (loaded !== null) await this.takePlace(loaded);
    context.setState('syncing', 'getting from peers what the data of the mesh had met');
    await this.rememberMesh(loaded, replay);
    // Where a part of the data can't be told from what clients did to it here, a region that had both in order can tell.
    const { settling } = session.core;
    for (const { db, key } of [...settling.toSettle([region]), ...settling.awaitedElsewhere()])
      doubted.set(`${db}:${key}`, { db, key });
    await this.publish(state, loaded, replay.core, [...doubted.values()]);
    // From now on peers can have the public origin.
    journal.forget(privateOrigin(state.origin));
  }

  /** Joins that were interrupted: nobody has heard of what they recorded. */
  private forgetJoins(kept: OriginId | undefined): void {
    const { journal } = this.context;
    const { meta } = this;
    for (const origin of journal.origins()) {
      if (!isPrivate(origin)) continue;
      const known = publicOrigin(origin);
      // Complete, and then its Redis was lost.
      if (!(meta?.established === true && meta.origin === known)) journal.forget(known);
      if (origin !== kept) journal.forget(origin);
    }
  }

  private joinHost(base: OriginId, doubt: (db: number, key: string) => void): JoinHost {
    const { session } = this;
    const apply = async (record: OpRecord, plan: (batch: Batch) => void): Promise<void> => {
      const { core } = session;
      const batch = new Batch();
      plan(batch);
      session.vector.set(base, record.end);
      await session.blocks.apply(batch, false);
      // What clients wrote before the block is read, and corrected, before this is taken for what they found.
      await session.stream.readUpTo(await session.currentOffset());
      if (hasToCorrect(session.core)) await session.blocks.apply(new Batch(), true);
      core.foldBase(record.end);
    };
    return {
      context: this.context,
      base,
      plan: (record) => apply(record, (batch) => session.core.planBase(record, batch)),
      remove: (record) => apply(record, (batch) => session.core.plan(record, batch)),
      before: (db, key) => {
        const state = session.core.find(db, key);
        if (state?.isReplaced === true) return 'gone';
        return state === undefined || state.isByElement ? 'separable' : 'inseparable';
      },
      doubt,
      offered: () => {
        session.offered = true;
        return session.writeMeta();
      },
      alive: () => session.alive(),
    };
  }

  /** All keys of the own Redis. Not to be called while anything is applied. */
  private async *keys(): AsyncGenerator<{ db: number; key: string }> {
    const { connection } = this;
    for (const db of this.session.server!.databases) {
      await connection.call('SELECT', db);
      let cursor = '0';
      do {
        const reply = await connection.call('SCAN', cursor, 'COUNT', SCAN_KEYS);
        const [next, keys] = Array.isArray(reply) ? reply : [];
        if (!Buffer.isBuffer(next) || !Array.isArray(keys))
          throw new SessionError('redis', 'the keys of this Redis cannot be listed');
        cursor = next.toString();
        for (const key of keys)
          if (Buffer.isBuffer(key) && !isOwnKey(key) && !this.context.policies.ignores(db, key))
            yield { db, key: key.toString('latin1') };
      } while (cursor !== '0');
    }
    await connection.call('SELECT', 0);
  }

  /** Redis says where it stands, and the own stream has been read up to there. */
  private async takePlace(loaded: Loaded): Promise<void> {
    const { session } = this;
    for (const [origin, position] of loaded.vector) session.vector.set(origin, position);
    session.blocks.maxStamp = Math.max(session.blocks.maxStamp, loaded.stamp);
    for (await session.blocks.applyCursor(); hasToCorrect(session.core); await session.blocks.applyCursor())
      await session.blocks.apply(new Batch(), true);
  }

  /** Gets what the data of the mesh had met lately, and not everybody has seen. */
  private async rememberMesh(loaded: Loaded | null, replay: Replay): Promise<void> {
    const { session } = this;
    const { journal, mesh } = this.context;
    const { core } = replay;
    const own = session.stream.recorder!.state.origin;
    const held: Vector = loaded?.vector ?? new Map();
    for (const [origin, position] of held) {
      // Of this region's own past all is in it.
      const isOwn = regionOf(origin) === session.region;
      const first = isOwn ? position : Math.min(position, loaded?.from.get(origin) ?? position);
      if (journal.appendedEnd(origin) !== undefined && first < position && !journal.reaches(origin, first)) {
        journal.forget(origin);
        journal.skipTo(origin, first);
        mesh.rewind(origin);
      } else if ((journal.appendedEnd(origin) ?? -1) < first) journal.skipTo(origin, first);
      core.assume(origin, first);
    }
    for (const origin of journal.origins()) {
      if (isPrivate(origin) || publicOrigin(own) === origin) continue;
      if (!held.has(origin)) core.assume(origin, journal.firstStart(origin) ?? -1);
      session.inbox.catchUp(origin, core.knownOf(origin), journal.appendedEnd(origin) ?? -1);
    }
    session.replay = replay;
    session.rebuilt = true;
    session.following = true;
    mesh.refresh();
    await this.remember(replay, held, (missing) => {
      // Only the donor had them, and it is gone: what it gave can't be used without.
      throw new SessionError('no-donor', `no peer has the records of ${missing.join(', ')} that the data had met`);
    });
    this.concede(replay, held);
  }

  /** Tells the private records once more, as later than the data of the mesh, and takes part. */
  private async publish(
    state: RecorderState,
    loaded: Loaded | null,
    core: MergeCore,
    doubted: readonly { db: number; key: string }[],
  ): Promise<void> {
    const { session } = this;
    const { journal } = this.context;
    const origin = publicOrigin(state.origin);
    // Exactly this is in Redis: what an earlier try had loaded, from another donor perhaps, has been replaced.
    const seen: Vector = loaded?.vector ?? new Map();
    let stamp = (loaded?.stamp ?? -1) + 1;
    await journal.flushed();
    const start = journal.firstStart(state.origin) ?? state.end;
    const birth = { ...session.stream.recordAt(state), kind: RecordKind.birth, origin, start, end: start };
    session.stream.append({ ...birth, stamp, seen });
    core.assume(origin, start); // as at every birth
    await session.stream.backlog!.drain(
      (record) => {
        const raised: OpRecord = { ...record, origin, seen, stamp: Math.max(stamp, record.stamp) };
        stamp = raised.stamp + Math.max(1, raised.ops);
        journal.append(encodeRecord(raised));
        core.local(raised);
      },
      () => {
        state.origin = origin;
        state.stamp = Math.max(stamp, state.stamp);
        state.seen = seen;
        for (const { db, key } of doubted) core.settling.demandState(db, key, ELSEWHERE);
        session.turnTo(core);
        return true;
      },
      () => session.alive(),
    );
    // The order counts. The journal knows all before Redis says so, and Redis before anybody can ask for the records.
    await session.writeMeta();
    await session.blocks.applyCursor();
    session.joining = false;
    if (loaded === null || doubted.length === 0) return;
    // At once: another region may ask this one for the state.
    session.requests.ask(loaded.donor, doubted, 60_000);
  }
}

/** The offset up to which the journal has the stream, or, after a failover that lost its last part, the one where the histories part. */
function leftAt({ replId, state }: ResumePoint, server: ServerInfo): number {
  return replId === server.replId2 ? Math.min(state.offset, server.forkOffset) : state.offset;
}

/** Whether a Redis goes on with the history that the journal's document speaks of. */
function isHistoryOf(server: ServerInfo, meta: Meta): boolean {
  return meta.replId === server.replId || meta.replId === server.replId2;
}

/** Has Redis read a DUMP without making a key of it: one that has expired already is read, and dropped. */
async function canHold(connection: RedisConnection, dump: Buffer, { probe }: OwnKeys): Promise<boolean> {
  return !((await connection.call('RESTORE', probe, 1, dump, 'ABSTTL')) instanceof ReplyError);
}

/** Which of these keys there are. */
async function areThere(connection: RedisConnection, keys: readonly KeyName[]): Promise<boolean[]> {
  const writer = new CommandWriter(4096);
  for (const { db, key } of keys) writer.command(['SELECT', db]).command(['EXISTS', Buffer.from(key, 'latin1')]);
  writer.command(['SELECT', 0]);
  const replies = await connection.pipeline(writer.take(), keys.length * 2 + 1);
  return keys.map((_, i) => replies[i * 2 + 1] === 1);
}
