/**
 * A dry run beside a primary: it reads what clients do there and what other regions did, merges both as a session does, and throws away what Redis would have
 * to run. It has no applier, and its connections only ask: not a key, a cursor, a heartbeat or a script is written.
 *
 * What Redis would say by the agent's own keys, this process says instead: the time by its clock, and that a block of others' operations is in Redis as
 * soon as it is planned. So an own operation has *seen* here what it would have seen some milliseconds later, and what is found is close to what a session would find.
 *
 * What it records goes to other dry runs only, under an origin that nobody else takes, and into a journal of its own, which is gone when the dry
 * run is: where the region goes on afterwards, its place in the mesh is what it was before.
 */
import { randomBytes } from 'node:crypto';
import { asError } from '../as-error';
import { type RdbEntry, ReplicaLink } from '../capture';
import type { StoredLetter } from '../dead-letters/letter';
import type { MergeCore } from '../merge/core';
import type { Beat } from '../peers';
import {
  dryOrigin,
  encodeRecord,
  isPrivate,
  type OpRecord,
  type OriginId,
  RecordKind,
  regionOf,
  type Vector,
} from '../record';
import { RedisConnection } from '../resp';
import { type AgentContext, announcedOptions, liveRegions, type RedisAddress, SessionError } from '../session/context';
import type { MeshAnswer } from '../session/difference';
import { DigestTable, writeDigests } from '../session/digest';
import { readCursor, readServerInfo, type ServerInfo } from '../session/info';
import { OwnBeats } from '../session/own-beats';
import { Removals } from '../session/removals';
import { type Stay, Stopped } from '../session/stay';
import { Throughput } from '../session/throughput';
import { stampOf } from '../stream/keys';
import { Numbers } from '../stream/numbers';
import { Recorder, type RecorderState } from '../stream/recorder';
import { Rehearsal } from './rehearsal';
import { digestsOf, serveTrialDigests, survey } from './survey';
import type { Trial } from './trial';

/** Redis drops a replica that says nothing for repl-timeout, and `min-replicas-max-lag` counts seconds. */
const ACK_MS = 900;
/** Between two looks at what is in memory. */
const LOOK_MS = 1000;

export class DryRun implements Stay {
  readonly keyspace = null;
  readonly captured = new Throughput();
  server: ServerInfo | null = null;
  control: RedisConnection | null = null;

  private readonly region: string;
  private readonly trial: Trial;
  private readonly rehearsal: Rehearsal;
  /** What is in Redis already, from before the dry run. */
  private held: Vector = new Map();
  private replId = '';
  private numbers = new Numbers(false);
  private recorder: Recorder | null = null;
  private link: ReplicaLink | null = null;
  private removals: Removals | null = null;
  private readonly timers: NodeJS.Timeout[] = [];
  private ended: Error | null = null;
  private readonly endWaiters: ((error: Error) => void)[] = [];
  private readonly ownBeats: OwnBeats;

  constructor(
    private readonly context: AgentContext,
    readonly address: RedisAddress,
  ) {
    const { config, trial } = context;
    if (trial === null) throw new Error('a dry run without its trial');
    this.trial = trial;
    this.region = config.region;
    this.ownBeats = new OwnBeats(context);
    this.rehearsal = new Rehearsal(context, trial, (error) => this.end(error));
  }

  // ——— life

  async run(): Promise<void> {
    try {
      await this.open();
      await new Promise<never>((_, reject) => {
        if (this.ended !== null) reject(this.ended);
        else this.endWaiters.push(reject);
      });
    } catch (error) {
      this.end(asError(error));
      if (!(error instanceof Stopped)) throw error;
    } finally {
      this.close();
    }
  }

  /** Peers get nothing of it. */
  readAll(): Promise<void> {
    return Promise.resolve();
  }

  stop(): void {
    this.end(new Stopped());
  }

  private end(error: Error): void {
    if (this.ended !== null) return;
    this.ended = error;
    for (const waiter of this.endWaiters.splice(0)) waiter(error);
  }

  private readonly alive = (): void => {
    if (this.ended !== null) throw this.ended;
  };

  private close(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.link?.close();
    this.control?.close();
    this.removals?.close();
    this.rehearsal.stop();
    const { recorder, replId, numbers } = this;
    if (recorder !== null && !recorder.inBlock)
      this.trial.place = { replId, numbers, state: { ...recorder.state, seen: new Map(this.vector) } };
  }

  private async open(): Promise<void> {
    const { context, trial } = this;
    context.setState('starting', 'connecting to Redis');
    const name = `meridian-dry-run-${this.region}`;
    this.control = await RedisConnection.connect({ ...context.redisOptions(this.address), name });
    this.control.on('close', (error) => this.end(error ?? new SessionError('redis', 'connection closed')));
    const server = await readServerInfo(this.control);
    this.server = server;
    if (server.loading) throw new SessionError('loading', 'Redis is loading its data');
    if (server.role !== 'primary') throw new SessionError('replica', 'this Redis is a replica');
    this.held = (await readCursor(this.control, server.databases, this.context.keys)).marker?.vector ?? new Map();

    context.setState('syncing', 'dry run: asking Redis for its replication stream');
    const link = new ReplicaLink(announcedOptions(context, this.address));
    this.link = link;
    const early: Buffer[] = [];
    let receive = (chunk: Buffer): void => void early.push(Buffer.from(chunk));
    link.on('data', (chunk) => receive(chunk));
    link.on('close', (error) => this.end(error ?? new SessionError('redis', 'replication link closed')));
    // Not where its keys are still to be compared: these come with a snapshot.
    const place = trial.survey === null ? null : trial.place;
    trial.place = null;
    const outcome = await link.connect(place === null ? null : { replId: place.replId, offset: place.state.offset });
    this.replId = outcome.replId;
    let state: RecorderState;
    let table: DigestTable | null = null;
    if (place !== null && outcome.kind === 'continue') {
      ({ state } = place);
      this.numbers = place.numbers;
      for (const [origin, position] of state.seen) this.rehearsal.know(origin, position);
    } else {
      table = await this.readSnapshot(link);
      state = this.begun(outcome.offset);
    }
    this.core.assume(state.origin, state.end);
    for (const origin of context.journal.origins())
      if (regionOf(origin) !== this.region) {
        const end = context.journal.appendedEnd(origin) ?? -1;
        // What came between two sessions.
        this.rehearsal.catchUp(
          origin,
          place !== null && outcome.kind === 'continue' ? (state.seen.get(origin) ?? end) : end,
        );
      }
    await this.read(state);
    receive = (chunk) => this.removals!.receive(chunk);
    for (const chunk of early.splice(0)) receive(chunk);
    this.startTimers();
    context.mesh.refresh();
    context.setState('dry-run', 'dry run: nothing is written to this Redis');
    if (table !== null) void this.compare(table);
  }

  private async readSnapshot(link: ReplicaLink): Promise<DigestTable> {
    this.numbers = new Numbers(true);
    const table = new DigestTable();
    const { policies } = this.context;
    const load = (entry: RdbEntry): void => this.numbers.load(entry);
    for await (const digests of digestsOf(link.snapshotBatches(), policies, load)) {
      this.alive();
      table.addAll(writeDigests(digests));
    }
    return table;
  }

  private begun(offset: number): RecorderState {
    const origin = dryOrigin(this.region, randomBytes(4).toString('hex'));
    const state = { origin, offset, end: offset, stamp: stampOf(Date.now()), seen: this.held, db: 0 };
    const { stamp, seen } = state;
    const [start, end] = [offset, offset];
    const birth = { kind: RecordKind.birth, origin, start, end, stamp, ops: 0, db: 0, seen, payload: Buffer.alloc(0) };
    this.context.journal.append(encodeRecord(birth));
    for (const [known, position] of this.held) this.rehearsal.know(known, position);
    return state;
  }

  private async read(state: RecorderState): Promise<void> {
    const { context, numbers } = this;
    const { config } = context;
    const evicts = this.server!.evicts;
    const removals = new Removals({
      evicts: () => evicts,
      take: (chunk) => this.take(chunk),
      fail: (error) => this.end(error),
    });
    this.removals = removals;
    const name = `meridian-removals-${this.region}`;
    const refused = await removals.listen({ ...context.redisOptions(this.address), name }, () => this.currentOffset());
    if (refused !== null)
      context.log.warn({ reason: refused.message }, "evictions, expiries and UNLINKs can't be told apart");
    this.recorder = new Recorder(
      state,
      {
        record: (record) => this.ownRecord(record),
        // Of a time before the dry run, or of somebody's hand on the agent's keys.
        marker: () => undefined,
        heartbeat: () => undefined,
        getAck: () => this.link?.ack(0),
        removal: (db, key, end) => removals.of(db, key, end),
        trespass: (trespass) => this.rehearsal.trespassed(trespass),
        ...(config.replication.flush === 'refuse' && { flushRefused: () => undefined }),
      },
      { blockBytesMax: config.limits.transactionBytes, numbers, policies: context.policies },
    );
    this.rehearsal.recorder = this.recorder;
  }

  private async currentOffset(): Promise<number> {
    return (await readServerInfo(this.control!)).offset;
  }

  private async compare(table: DigestTable): Promise<void> {
    const { context, trial } = this;
    try {
      trial.survey = await survey(context, table, this.alive);
      context.log.info({ keys: trial.survey }, 'dry run: keys compared');
    } catch (error) {
      if (this.ended === null) context.log.warn({ err: error }, 'dry run: keys cannot be compared');
    }
  }

  // ——— the own stream

  private take(chunk: Buffer): void {
    if (this.ended !== null) return;
    try {
      this.recorder!.push(chunk);
    } catch (error) {
      this.end(asError(error));
    }
  }

  private ownRecord(record: OpRecord): void {
    const encoded = encodeRecord(record);
    this.context.journal.append(encoded);
    const kept = { ...record, payload: encoded.subarray(encoded.length - record.payload.length) };
    this.rehearsal.local(kept);
    this.captured.add(record.ops);
    this.context.metrics.captured.inc(record.ops);
  }

  private heartbeat(): void {
    const timeMs = Date.now();
    const position = this.rehearsal.heartbeat(timeMs);
    const { state } = this.recorder!;
    const { origin, end, stamp } = state;
    if (!this.ownBeats.isNews(end, this.rehearsal.planned, timeMs)) return;
    const seen = new Map(state.seen);
    const beat = {
      ...{ region: this.region, origin, position, timeMs, stamp, reported: position, seen },
      durable: new Map<string, number>(),
      paths: new Map<string, string[]>(),
    };
    this.ownBeats.push(beat, end);
  }

  readable(): void {
    if (this.origin !== null) this.ownBeats.publish(this.origin);
  }

  private startTimers(): void {
    const every = (ms: number, run: () => void): void => void this.timers.push(setInterval(run, ms));
    every(this.context.config.replication.heartbeatMs, () => this.heartbeat());
    // No place of the stream: nothing of it is safe here, and WAIT must not count it. But the agent is there.
    every(ACK_MS, () => this.link?.ack(0));
    every(LOOK_MS, () => this.rehearsal.boundMemory());
  }

  // ——— others' operations

  wants(origin: OriginId): boolean {
    const { context, recorder } = this;
    if (recorder === null || isPrivate(origin) || regionOf(origin) === this.region) return false;
    if (context.journal.appendedEnd(origin) !== undefined) return true;
    // From now on: what was before is in the data, which is compared. Where this region has its place in the mesh, from there on.
    const from = this.held.get(origin) ?? context.mesh.reach(origin);
    if (from < 0) return false;
    context.journal.skipTo(origin, from);
    this.rehearsal.know(origin, from);
    return true;
  }

  begin(origin: OriginId, start: number): boolean {
    const { journal } = this.context;
    if ((journal.appendedEnd(origin) ?? -1) < start) journal.skipTo(origin, start);
    this.rehearsal.know(origin, Math.max(start, this.vector.get(origin) ?? -1));
    return true;
  }

  offer(record: OpRecord): void {
    this.rehearsal.offer(record);
  }

  beat(beat: Beat): void {
    if (this.recorder !== null) this.rehearsal.beat(beat);
  }

  // ——— what the agent asks

  get isLive(): boolean {
    return this.ended === null && this.recorder !== null;
  }

  get isAtRest(): boolean {
    return this.rehearsal.isAtRest;
  }

  get core(): MergeCore {
    return this.rehearsal.core;
  }

  get applied(): Throughput {
    return this.rehearsal.applied;
  }

  get vector(): Vector {
    return this.rehearsal.vector;
  }

  get heartbeats(): Stay['heartbeats'] {
    return this.rehearsal.heartbeats;
  }

  get origin(): OriginId | null {
    return this.recorder?.state.origin ?? null;
  }

  get position(): number {
    return this.recorder?.state.offset ?? 0;
  }

  pending(matches: (origin: OriginId) => boolean): { operations: number; bytes: number } {
    return this.rehearsal.pending(matches);
  }

  live(): string[] {
    return liveRegions(this.context);
  }

  /** For other dry runs. */
  digests(): AsyncGenerator<Buffer> {
    return serveTrialDigests(this.context, this.address);
  }

  /** It has no data to give, no place to speak of, and sends no states. */
  donor(): null {
    return null;
  }

  standing(): MeshAnswer {
    return { established: false, hopeless: false };
  }

  retry(letter: StoredLetter): Promise<string> {
    const why = `nothing is written in a dry run: ${letter.command} waits until it is over`;
    return Promise.reject(new SessionError('lost', why));
  }

  settle(): void {}
  noteDurable(): void {}
  acknowledged(): void {}
  durable(): void {}
}
