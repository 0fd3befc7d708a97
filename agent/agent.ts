/** The agent: journal, links and admin endpoint for its whole life; sessions beside whatever Redis is the primary. */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Admin, type AdminRoute, startAdmin } from './admin';
import { provideAdminToken, withToken } from './admin-token';
import { ApplyError } from './apply/applier';
import { CertificateFiles, type CertificatePaths, endOf, watched } from './certificates';
import { Backoff, captureMetrics, type Located, Locator, ReplicaPort } from './capture';
import { ConflictJournal, conflictRoutes } from './conflicts';
import { type AgentConfig, AgentConfigError, readRedisPassword, readReplicaPassword } from './config';
import { DeadLetters, letterRoutes } from './dead-letters';
import { DryRun, dryRunMetrics, Trial } from './dry-run';
import { Journal } from './journal';
import { lockDir } from './journal/lock';
import { ConflictPolicies } from '../model/conflict-policies';
import { createLogger, type Logger } from './log';
import { createMetrics, type AgentMetrics } from './metrics';
import { type Beat, PeerMesh, type TlsFiles } from './peers';
import {
  decodeRecord,
  encodeRecord,
  isDry,
  isPrivate,
  type OriginId,
  privateOrigin,
  RecordKind,
  regionOf,
} from './record';
import { ShardPolicies } from './cluster/shard-policies';
import { formatSlots, parseSlots, type SlotRange } from '../model/slots';
import { shardName } from './cluster/shard-name';
import { ownKeys } from './stream/keys';
import { restOf } from './merge/replay';
import { ProtocolError, type RedisConnectionOptions } from './resp';
import type { AgentContext, AgentState, RedisAddress } from './session/context';
import { answerMesh } from './session/counting';
import { type Donor, type SettleRequest, serveDigests, serveNames, serveValues } from './session/donor';
import { serveLibraries } from './session/libraries';
import { serveSnapshot, takeOffer } from './session/join';
import { readMeta } from './session/position';
import { SessionError } from './session/context';
import { Session } from './session/session';
import { EmptiedMark } from './session/emptied';
import type { Stay } from './session/stay';

/** Version of what records and markers mean: agents of different versions refuse each other. */
const MESH_VERSION = 1;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2000;
/** Between two updates of the links' series. */
const METRICS_MS = 250;
/** What goes on is told again after so long. */
const PRESSURE_TOLD_MS = 60_000;
/** A link whose last heartbeat is older lags, whatever that one took. */
const STALE_BEAT_MS = 1000;
/** Between two looks at the Redis beside the agent. */
const POLL_MS = 500;
/** How long an agent that stops waits for what clients have written already: Redis may hang, or write faster than it reads. */
const READ_ALL_MS = 1000;

export class Agent {
  private session: Stay | null = null;
  private state: AgentState = 'starting';
  private reason: string | undefined;
  private stopping = false;
  private wakeLoop: (() => void) | null = null;
  private admin: Admin | null = null;
  private readonly locator: Locator;
  private readonly replicaPort: ReplicaPort | null;
  private loop: Promise<void> = Promise.resolve();
  private readonly context: AgentContext;
  private received = new Map<string, { operations: number; bytes: number }>();
  private readonly linkErrors = new Map<string, number>();
  private metricsTimer: NodeJS.Timeout | null = null;
  private readonly certificateFiles: CertificateFiles[] = [];

  private constructor(
    private readonly config: AgentConfig,
    private readonly journal: Journal,
    private readonly conflicts: ConflictJournal,
    private readonly letters: DeadLetters,
    readonly log: Logger,
    private readonly metrics: AgentMetrics,
  ) {
    const trial = config.replication.dryRun ? new Trial(dryRunMetrics(metrics.registry)) : null;
    const password = readRedisPassword(config);
    const { redis } = config;
    const files = this.certificates(config.tls, 'tls');
    const tls =
      redis.tls === undefined
        ? undefined
        : Object.defineProperties(
            redis.tls.serverName === undefined ? {} : { servername: redis.tls.serverName },
            Object.getOwnPropertyDescriptors(this.certificates(redis.tls, 'redis.tls').options()),
          );
    const peerTls = (): TlsFiles => ({ ca: files.ca!, cert: files.cert!, key: files.key! });
    const tellEnds = (): void => {
      metrics.certificate('agent', endOf(files.cert!));
      metrics.certificate('authority', endOf(files.ca!));
    };
    tellEnds();
    files.on('renewed', () => {
      tellEnds();
      mesh.renew(peerTls());
      if (config.listen.replica?.tls === true) this.replicaPort?.renew(peerTls());
    });
    const slots = slotsOf(config);
    const rules = config.conflicts.policies;
    const policies = slots === null ? new ConflictPolicies(rules) : new ShardPolicies(rules, slots);
    const mesh = new PeerMesh({
      policies: policies.text,
      region: config.region,
      stack: config.stack,
      slots: slots === null ? '' : formatSlots(slots),
      meshVersion: MESH_VERSION,
      listen: config.listen.peer,
      peers: config.peers,
      tls: peerTls(),
      timing: { backoffMaxMs: config.replication.maxRedialMs },
      source: {
        origins: () => {
          const origins: { origin: OriginId; end: number }[] = [];
          for (const origin of journal.origins()) {
            const end = journal.readableEnd(origin);
            if (end !== undefined && this.isPublished(origin)) origins.push({ origin, end });
          }
          return origins;
        },
        reader: (origin, from) => {
          const first = journal.firstStart(origin);
          if (first !== undefined && !journal.reaches(origin, from)) return { missing: true, firstStart: first };
          // Of a segment a link wants one origin's records, and holds some of them until its peer takes more.
          return journal.reader(origin, from, true);
        },
      },
      have: (origin) => journal.appendedEnd(origin) ?? -1,
      // What a dry run has is gone when it is over: nobody may count on it.
      durable: (origin) => (trial === null ? (journal.durableEnd(origin) ?? -1) : -1),
      wants: (origin) => this.wants(origin),
      onRecords: (records, from) => this.onRecords(records, from),
      onBeat: (beat) => this.onBeat(beat),
      onMissing: (origin, firstStart, from) => {
        if (this.session?.begin(origin, firstStart) === true) return;
        log.error({ origin, firstStart, peer: from }, 'no peer holds the next records of this origin any more');
      },
      onAck: (peer, durable) => this.session?.acknowledged(peer, durable),
      handlers: {
        mesh: async (payload) => {
          const standing = this.session?.standing() ?? { established: false, hopeless: false };
          return Buffer.from(JSON.stringify(await answerMesh(this.context.mesh, standing, payload)));
        },
        snapshot: () => serveSnapshot(this.donor()),
        digests: (payload) =>
          this.session instanceof DryRun ? this.session.digests() : serveDigests(this.donor(), payload),
        values: (payload) => serveValues(this.donor(), payload),
        names: (payload) => serveNames(this.donor(), payload),
        libraries: () => serveLibraries(this.donor()),
        offer: (payload) => takeOffer(this.donor().connection, payload),
        settle: (payload) => {
          this.donor();
          this.session?.settle(JSON.parse(payload.toString('utf8')) as SettleRequest);
          return Promise.resolve(Buffer.alloc(0));
        },
      },
      compression: config.replication.compression,
      log,
    });
    const login = {
      ...(redis.username === undefined ? {} : { username: redis.username }),
      ...(password === undefined ? {} : { password }),
      // A service renews its certificates by itself, under connections that stay.
      ...(tls === undefined
        ? {}
        : { tls: redis.capture === 'psync' ? watched(tls, (end) => metrics.certificate('redis', end)) : tls }),
    };
    const address = { host: redis.host, port: redis.port };
    this.locator = new Locator(
      redis.cluster !== undefined && slots !== null
        ? { kind: 'cluster', nodes: [address, ...redis.cluster.nodes], slots, redis: login, pollMs: POLL_MS }
        : redis.sentinels === undefined || redis.sentinelName === undefined
          ? { kind: 'fixed', address, redis: login, pollMs: POLL_MS }
          : {
              kind: 'sentinel',
              sentinels: redis.sentinels,
              masterName: redis.sentinelName,
              redis: login,
              ...(redis.sentinelLogin ? { sentinel: login } : {}),
            },
    );
    const { replica } = config.listen;
    const replicaUser = replica?.username ?? redis.username;
    const replicaPassword = readReplicaPassword(config);
    this.replicaPort =
      replica === undefined
        ? null
        : new ReplicaPort(
            {
              host: replica.host,
              port: replica.port,
              ...(replicaPassword === undefined ? {} : { password: replicaPassword }),
              ...(replicaUser === undefined ? {} : { username: replicaUser }),
              ...(replica.tls ? { tls: peerTls() } : {}),
            },
            { primaryHost: redis.host, primaryPort: redis.port, linkUp: false, offset: 0 },
          );
    // Sentinel tells its replicas whom to follow: look at once.
    this.replicaPort?.on('replicaof', () => void this.locator.look());
    this.context = {
      config,
      journal,
      conflicts,
      letters,
      trial,
      policies,
      mesh,
      metrics,
      log,
      emptied: new EmptiedMark(config.stateDir),
      needsResync: false,
      compareWith: null,
      numbers: null,
      redisOptions: (address: RedisAddress): RedisConnectionOptions => ({
        host: address.host,
        port: address.port,
        ...login,
        ...(slots === null ? {} : { clusterSlots: formatSlots(slots) }),
      }),
      slots,
      keys: ownKeys(slots),
      setState: (state, reason) => this.setState(state, reason),
    };
    journal.on('readable', () => {
      mesh.notify();
      this.session?.readable();
    });
    journal.on('durable', () => {
      mesh.acknowledge();
      this.session?.durable();
      if (this.session !== null) this.replicaPort?.update({ offset: this.session.position });
    });
    journal.on('error', (error) => log.error({ err: error }, 'journal'));
    let toldAtMs = -Infinity;
    journal.on('pressure', (on) => {
      // It comes and goes some times a second.
      if (!on || performance.now() - toldAtMs < PRESSURE_TOLD_MS) return;
      toldAtMs = performance.now();
      const { pendingBytes } = journal;
      log.warn({ pendingBytes }, 'the disk of the journal is slower than what comes: Redis and peers have to wait');
    });
    journal.on('full', () => {
      if (trial !== null) void journal.dropOldest().catch((error: unknown) => log.error({ err: error }, 'journal'));
      else log.error('the journal has reached its size: a region must be far behind');
    });
    metrics.deadLettersKept.from(() => letters.size);
    metrics.trespassedKeys.from(() => this.session?.core.settling.trespassedKeys ?? 0);
    metrics.conflictsLeftOut.from(() => conflicts.leftOut);
    metrics.journalBytes.from(() => journal.bytes);
    metrics.journalSegments.from(() => journal.segments);
    metrics.journalPendingBytes.from(() => journal.pendingBytes);
    metrics.windowKeys.from(() => this.session?.core.window.keys ?? 0);
    metrics.windowOperations.from(() => this.session?.core.operations ?? 0);
    metrics.windowBytes.from(() => this.session?.core.window.bytes ?? 0);
    metrics.windowPayloadBytes.from(() => this.session?.core.window.payloadBytes ?? 0);
    metrics.windowLoadBytes.from(() => this.session?.core.window.load ?? 0);
    metrics.windowBudgetBytes.from(() => config.limits.windowBytes);
    metrics.windowShelfBytes.from(() => this.session?.core.window.shelved.bytes ?? 0);
    metrics.windowShelfKeys.from(() => this.session?.core.window.shelved.keys ?? 0);
    metrics.windowShelfReads.from(() => this.session?.core.window.shelved.reads ?? 0);
    if (redis.capture === 'notifications')
      metrics.capture = captureMetrics(metrics.registry, () => this.session?.keyspace ?? null);
    for (const peer of config.peers) metrics.link(peer.region);
  }

  /** Files that are looked at again and again; the same ones once. */
  private certificates(paths: CertificatePaths, at: string): CertificateFiles {
    const known = this.certificateFiles.find(
      (one) =>
        one.paths.caFile === paths.caFile &&
        one.paths.certFile === paths.certFile &&
        one.paths.keyFile === paths.keyFile,
    );
    if (known !== undefined) return known;
    const files = certificatesOf({ caFile: paths.caFile, certFile: paths.certFile, keyFile: paths.keyFile }, at);
    files.on('renewed', () => this.log.info(files.paths, 'other certificates are used from the next connection on'));
    files.on('refused', (why) =>
      this.log.error({ ...files.paths, why }, "new certificates can't be used: the old ones are"),
    );
    this.certificateFiles.push(files);
    return files;
  }

  /** Opens the journal, listens, and begins to look for Redis and for peers. */
  static async start(config: AgentConfig): Promise<Agent> {
    const log = createLogger({ region: config.region, level: config.log.level });
    const { dryRun } = config.replication;
    const dir = dryRun ? `${config.stateDir}/${DRY_RUN_DIR}` : config.stateDir;
    const journalDir = journalDirOf(config);
    const dryRuns = `${config.stateDir}/${DRY_RUN_DIR}/${journalDir}`;
    // What goes now must not be another agent's, which has not ended yet.
    if (fs.existsSync(dryRuns)) lockDir(dryRuns)();
    await fs.promises.rm(`${config.stateDir}/${DRY_RUN_DIR}${dryRun ? `/${journalDir}` : ''}`, {
      recursive: true,
      force: true,
    });
    const journal = await Journal.open({
      dir: `${dir}/${journalDir}`,
      ...(dryRun ? dryRunJournal(config.journal) : config.journal),
      // In semi-sync a client's WAIT hangs on it.
      ...(config.replication.mode === 'semi-sync' ? { syncMs: 2 } : {}),
    });
    if (journal.recovery.cut !== null || journal.recovery.damage.length > 0)
      log.warn({ recovery: journal.recovery }, 'the journal was repaired at start');
    const conflicts = await ConflictJournal.open({
      dir: `${dir}/conflicts`,
      region: config.region,
      dryRun,
      ...config.conflicts,
      onError: (error) => log.error({ err: error }, 'the conflict journal cannot be written'),
    });
    const letters = new DeadLetters(`${config.stateDir}/dead-letters.json`, (error) =>
      log.error({ err: error }, 'the dead letters cannot be written'),
    );
    const agent = new Agent(config, journal, conflicts, letters, log, createMetrics(config.region));
    try {
      await agent.context.mesh.start();
      await agent.replicaPort?.listen();
      agent.admin = await startAdmin({
        ...config.listen.admin,
        status: () => agent.status(),
        ready: () => agent.readiness(),
        metrics: agent.metrics.registry,
        routes: agent.routes(),
      });
    } catch (error) {
      await agent.stop();
      throw error;
    }
    for (const files of agent.certificateFiles) files.watch();
    agent.metricsTimer = setInterval(() => agent.updateLinkMetrics(), METRICS_MS);
    agent.loop = agent.run();
    return agent;
  }

  /** Stops taking part, sends what clients have written before and peers have not got yet, and keeps the position. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    if (this.metricsTimer !== null) clearInterval(this.metricsTimer);
    for (const files of this.certificateFiles) files.stop();
    this.locator.stop();
    const { session } = this;
    await Promise.race([session?.readAll().catch(() => undefined), sleep(READ_ALL_MS, undefined, { ref: false })]);
    session?.stop();
    this.wakeLoop?.();
    await this.loop;
    await this.replicaPort?.close();
    await this.context.mesh.stop();
    await this.journal.close().catch((error: unknown) => this.log.error({ err: error }, 'journal'));
    await this.conflicts.close();
    await this.letters.flush();
    this.setState('stopped');
    await this.admin?.close();
  }

  private async run(): Promise<void> {
    const { locator } = this;
    const backoff = new Backoff(RETRY_MS_MIN, RETRY_MS_MAX);
    // A failover: the session beside the old primary ends, the next one begins beside the new.
    locator.on('primary', (address) => {
      this.replicaPort?.update({ primaryHost: address.host, primaryPort: address.port });
      if (this.session !== null && !sameAddress(this.session.address, address)) this.session.stop();
      this.wakeLoop?.();
    });
    locator.on('state', (located) => this.located(located));
    locator.start();
    while (!this.stopping) {
      const { located } = locator;
      if (located?.state !== 'FOUND') {
        await this.pause(RETRY_MS_MAX);
        continue;
      }
      const { context } = this;
      const session =
        context.trial === null ? new Session(context, located.address) : new DryRun(context, located.address);
      this.session = session;
      const started = Date.now();
      try {
        await session.run();
      } catch (error) {
        if (error instanceof ProtocolError) this.context.needsResync = true;
        this.report(error);
      }
      if (this.session === session) this.session = null;
      this.replicaPort?.update({ linkUp: false, linkDownSinceMs: Date.now() });
      if (this.stopping) return;
      if (Date.now() - started > 10_000) backoff.reset();
      await this.pause(backoff.next());
      await locator.look();
    }
  }

  /** Waits, or until something is known to have changed. */
  private async pause(ms: number): Promise<void> {
    await Promise.race([sleep(ms), new Promise<void>((resolve) => (this.wakeLoop = resolve))]);
    this.wakeLoop = null;
  }

  private located(located: Located): void {
    if (this.session !== null && located.state === 'NOT_PRIMARY' && sameAddress(this.session.address, located.address))
      this.session.stop();
    if (this.session !== null && located.state === 'NO_SHARD') this.session.stop();
    if (located.state === 'FOUND') this.wakeLoop?.();
    if (this.session !== null || located.state === 'FOUND') return;
    if (located.state === 'NOT_PRIMARY') this.setState('standby', 'the Redis beside this agent is a replica');
    else if (located.state === 'UNREACHABLE' || located.state === 'NO_SHARD') this.setState('starting', located.reason);
    else this.setState('starting', `${located.answered} of ${located.of} Sentinels answered: no majority`);
  }

  private report(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const code = (error as { code?: unknown }).code;
    const standby =
      (error instanceof SessionError && error.code === 'replica') ||
      (error instanceof ApplyError && error.code === 'not-primary');
    this.setState(standby ? 'standby' : 'starting', reason);
    this.log.warn({ code, err: error }, 'session ended');
  }

  private setState(state: AgentState, reason?: string): void {
    if (this.state === state && this.reason === reason) return;
    this.state = state;
    this.reason = reason;
    this.metrics.state(state);
    if (state === 'active' || state === 'dry-run') this.replicaPort?.update({ linkUp: true });
    this.log.info({ state, ...(reason === undefined ? {} : { reason }) }, 'state');
  }

  // ——— what links ask

  private donor(): Donor {
    const donor = this.session?.donor() ?? null;
    if (donor === null)
      throw new SessionError('no-donor', `region ${this.config.region} has no data to give at the moment`);
    return donor;
  }

  /**
   * Whether peers may have an origin. One that this region began as it joined may not, before it is complete: then its
   * private twin goes.
   */
  private isPublished(origin: OriginId): boolean {
    return !isPrivate(origin) && this.journal.appendedEnd(privateOrigin(origin)) === undefined;
  }

  private wants(origin: OriginId): boolean {
    if (this.session !== null) return this.session.wants(origin);
    return (
      readMeta(this.journal)?.established === true &&
      regionOf(origin) !== this.config.region &&
      !isPrivate(origin) &&
      !isDry(origin)
    );
  }

  /** Takes them all. @returns where the journal has no room for more: when it will */
  private onRecords(records: Buffer[], from: string): void | Promise<void> {
    let operations = 0;
    let bytes = 0;
    for (let encoded of records) {
      let record = decodeRecord(encoded, { verify: false });
      const end = this.journal.appendedEnd(record.origin);
      // Here already: by another link, or from before a restart.
      if (end !== undefined && (record.kind === RecordKind.birth || record.end <= end)) continue;
      if (end !== undefined && record.start < end) {
        encoded = encodeRecord(restOf(record, end));
        record = decodeRecord(encoded, { verify: false });
      }
      this.journal.append(encoded);
      this.session?.offer(record);
      operations += record.ops;
      bytes += encoded.length;
    }
    this.metrics.link(from).received(operations, bytes);
    const sum = this.received.get(from) ?? { operations: 0, bytes: 0 };
    this.received.set(from, { operations: sum.operations + operations, bytes: sum.bytes + bytes });
    return this.journal.relieved();
  }

  /** Keeps the links' series up to date: a scrape comes at any moment. */
  private updateLinkMetrics(): void {
    const known = new Map(this.context.mesh.links().map((link) => [link.peer, link]));
    for (const link of this.linkStatus()) {
      const series = this.metrics.link(link.peer);
      series.up(link.state === 'up');
      series.pending(link.pendingOps, link.pendingBytes);
      if (link.lagMs !== null) series.lagMs(link.lagMs);
      const errors = Object.values(known.get(link.peer)?.errors ?? {}).reduce((sum, n) => sum + n, 0);
      for (let n = this.linkErrors.get(link.peer) ?? 0; n < errors; n++) series.error();
      this.linkErrors.set(link.peer, errors);
    }
  }

  private onBeat(beat: Beat): void {
    this.session?.noteDurable(beat);
    this.session?.beat(beat);
  }

  // ——— the admin endpoint

  private routes(): Record<string, AdminRoute> {
    const { config, journal, conflicts } = this;
    const token = provideAdminToken(config.stateDir);
    const routes = {
      ...letterRoutes({
        region: config.region,
        letters: this.letters,
        retry: (letter) => {
          if (this.session === null)
            throw new SessionError('lost', `region ${config.region} has no Redis at the moment`);
          return this.session.retry(letter);
        },
      }),
      ...conflictRoutes({
        conflicts,
        explained: () => ({
          region: config.region,
          journal,
          core: this.session?.isLive === true ? this.session.core : null,
          redis: this.session?.isLive === true ? this.session.control : null,
          policyOf: (db, key) => this.context.policies.nameOf(db, Buffer.from(key, 'latin1')),
          live: () => this.session?.live() ?? [],
        }),
      }),
    };
    return Object.fromEntries(Object.entries(routes).map(([path, route]) => [path, withToken(token, route)]));
  }

  private readiness(): { ready: boolean; reason?: string } {
    if (['active', 'standby', 'dry-run'].includes(this.state)) return { ready: true };
    return { ready: false, reason: this.reason ?? this.state };
  }

  /** Links to all other regions, also those that are reached through others. */
  private linkStatus() {
    const { session, config } = this;
    const meshLinks = this.context.mesh.links();
    const members = config.members.filter((member) => member.name !== config.region);
    const now = Date.now();
    return members.map((member) => {
      const link = meshLinks.find((candidate) => candidate.peer === member.name);
      const via = meshLinks.find((candidate) => candidate.state === 'up' && candidate.routes.includes(member.name));
      const state = link?.state ?? (via === undefined ? 'down' : 'up');
      const { operations, bytes } = session?.pending((origin) => regionOf(origin) === member.name) ?? {
        operations: 0,
        bytes: 0,
      };
      const beat = session?.heartbeats.get(member.name);
      // What the newest heartbeat took to get here; when none comes any more, how old it is.
      const lagMs =
        beat === undefined
          ? null
          : Math.max(0, (now - beat.receivedMs > STALE_BEAT_MS ? now : beat.receivedMs) - beat.timeMs);
      return {
        peer: member.name,
        state,
        lagMs,
        pendingOps: operations,
        pendingBytes: bytes,
        toSendBytes: link?.pendingBytes ?? 0,
        rttMs: link?.rttMs ?? null,
        ...(via !== undefined && via.peer !== member.name ? { via: via.peer } : {}),
        received: this.received.get(member.name) ?? { operations: 0, bytes: 0 },
        ...(link?.error === undefined ? {} : { error: link.error }),
      };
    });
  }

  status(): unknown {
    this.updateLinkMetrics();
    const { session, config, journal } = this;
    const links = this.linkStatus();
    const core = session?.core;
    return {
      region: config.region,
      stack: config.stack,
      state: this.state,
      ...(this.reason === undefined ? {} : { reason: this.reason }),
      redis: {
        host: session?.address.host ?? config.redis.host,
        port: session?.address.port ?? config.redis.port,
        connected: session?.server !== null && session !== null,
        version: session?.server?.version ?? null,
        role: session?.server?.role ?? null,
      },
      origin: session?.origin ?? null,
      position: session?.position ?? null,
      captured: { operations: session?.captured.operations ?? 0, opsPerSecond: session?.captured.perSecond ?? 0 },
      applied: { operations: session?.applied.operations ?? 0, opsPerSecond: session?.applied.perSecond ?? 0 },
      corrections: core?.corrections.count ?? 0,
      conflicts: {
        byType: core?.notes.counts ?? {},
        journalled: this.conflicts.noted,
        leftOut: this.conflicts.leftOut,
      },
      deadLetters: this.letters.size,
      dryRun: this.context.trial?.report() ?? null,
      window: {
        keys: core?.window.keys ?? 0,
        operations: core?.operations ?? 0,
        unsettled: core?.settling.unsettledKeys ?? 0,
      },
      journal: { bytes: journal.bytes, segments: journal.segments, full: journal.full },
      links,
      vector: session === null ? {} : Object.fromEntries(session.vector),
      ends: Object.fromEntries(journal.origins().map((origin) => [origin, journal.appendedEnd(origin)])),
      caughtUp: this.isCaughtUp(),
      memory: process.memoryUsage.rss(),
    };
  }

  /** Nothing received is waiting, every link is up, and nothing known is left to correct. */
  private isCaughtUp(): boolean {
    const { session } = this;
    if (session === null || this.state !== 'active') return false;
    const { operations } = session.pending(() => true);
    const { core } = session;
    const isSettled = core.corrections.racedKeys === 0 && core.settling.unsettledKeys === 0 && !core.trims.isDue;
    const areLibrariesSettled = !core.libraries.isUnderWay && !core.libraries.hasLost;
    return operations === 0 && session.isAtRest && isSettled && areLibrariesSettled;
  }
}

/** Of the shard that it serves; null: its Redis is no cluster. */
function slotsOf({ redis: { cluster } }: AgentConfig): SlotRange[] | null {
  return cluster === undefined ? null : parseSlots(cluster.slots);
}

/** In the agent's state directory. What a shard of other slots had is no part of this one's past. */
function journalDirOf(config: AgentConfig): string {
  const slots = slotsOf(config);
  return slots === null ? 'journal' : `journal-${shardName(slots)}`;
}

/** In the agent's state directory: all that a dry run writes. */
const DRY_RUN_DIR = 'dry-run';
/** It is for what other dry runs are about to take, and of those that are away nothing is kept. */
const DRY_RUN_JOURNAL_BYTES = 256 * 1024 * 1024;

function dryRunJournal({ bytesMax, segmentBytes, tailBytes, pendingBytesMax }: AgentConfig['journal']) {
  const bytes = Math.min(bytesMax, DRY_RUN_JOURNAL_BYTES);
  const segment = Math.min(segmentBytes, Math.floor(bytes / 8));
  return { bytesMax: bytes, segmentBytes: segment, tailBytes, pendingBytesMax, fsync: false };
}

function sameAddress(a: RedisAddress, b: RedisAddress): boolean {
  return a.host === b.host && a.port === b.port;
}

/** @param at where the config names them @throws AgentConfigError */
function certificatesOf(paths: CertificatePaths, at: string): CertificateFiles {
  try {
    return new CertificateFiles(paths);
  } catch (error) {
    const files = Object.values(paths).filter((file) => file !== undefined);
    const found = `${files.join(', ')}: ${(error as Error).message}`;
    throw new AgentConfigError('agent config', [
      { path: at, found, allowed: 'readable PEM files: authorities, a certificate, and its key' },
    ]);
  }
}
