/**
 * How a region gets its place in the mesh.
 *
 * The first region to start with nobody else established (the primary, by config) begins the mesh: its data is the
 * mesh's. Every other one joins through an established peer, the donor:
 *
 * 1. what it brings is *offered* to the donor, which writes what it lacks as a client would: the donor's Redis decides,
 *    and its stream carries the result to everybody;
 * 2. then it loads a snapshot of the donor, which is merged with what its own clients write meanwhile (whose stamps are
 *    higher than those of a snapshot), and takes over the donor's vector with it.
 *
 * Until then its own operations wait in its journal, so that no snapshot holds a part of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type RdbEntry, toCommands } from '../capture';
import { type OpRecord, type OriginId, peekRecord, RecordKind } from '../record';
import { CommandScanner, CommandWriter, type RedisConnection } from '../resp';
import type { AgentContext } from './context';
import { SessionError } from './context';
import { type Donor, isOwnKey, ownSnapshot } from './donor';

/** What a join needs of its session. */
export interface JoinHost {
  context: AgentContext;
  /** Merges a part of the snapshot into the own Redis. */
  plan(record: OpRecord): Promise<void>;
  /** The snapshot is in: these are its positions, and from where records are wanted. */
  take(vector: ReadonlyMap<OriginId, number>, from: ReadonlyMap<OriginId, number>): void;
  /** Whether a client has written the key here since the join began. */
  hasLocal(db: number, key: string): boolean;
  /** Throws once the session has ended. */
  alive(): void;
}

const FRAME_BYTES = 256 * 1024;
/** How long the configured primary looks for an established peer before it begins the mesh by itself. */
const LOOK_MS = 2000;
const RETRY_MS = 200;

export class Join {
  private donor: string | null = null;
  private readonly ownKeys = new Set<string>();

  constructor(private readonly host: JoinHost) {}

  /** Finds the donor and offers it what this Redis held before. */
  async offerOwnData(batches: AsyncIterable<RdbEntry[]>): Promise<void> {
    const { mesh, log } = this.host.context;
    this.host.context.setState('syncing', 'looking for the mesh');
    this.donor = await this.findDonor();
    let frame = new OfferFrame();
    const send = async (): Promise<void> => {
      if (frame.bytes > 0) await mesh.request(this.donor!, 'offer', frame.take(), { timeoutMs: 60_000 });
      frame = new OfferFrame();
    };
    for await (const entries of batches) {
      if (this.donor === null) continue;
      for (const entry of entries) {
        if (entry.kind !== 'key' || isOwnKey(entry.key)) continue;
        this.ownKeys.add(`${entry.db}:${entry.key.toString('latin1')}`);
        frame.add(entry);
        if (frame.bytes >= FRAME_BYTES) await send();
      }
    }
    await send();
    if (this.donor === null) log.info('no region is established: this one begins the mesh');
    else log.info({ donor: this.donor, offered: this.ownKeys.size }, 'joining the mesh');
  }

  /** Loads the donor's data. Does nothing where this region begins the mesh. */
  async load(connection: RedisConnection): Promise<void> {
    if (this.donor === null) return;
    const { context } = this.host;
    const origin = `${this.donor}:join`;
    let position = 0;
    let stamp = 1;
    let keys = 0;
    const started = Date.now();
    for await (const item of context.mesh.requestStream(this.donor, 'snapshot', Buffer.alloc(0))) {
      if (item[0] === FRAME_END) {
        const { vector, from } = JSON.parse(item.toString('utf8', 1)) as Trailer;
        await this.dropLeftOvers(connection, origin, position, stamp);
        this.host.take(new Map(vector), new Map(from));
        context.metrics.fullSync('snapshot');
        context.log.info({ donor: this.donor, keys, ms: Date.now() - started }, 'the data of the mesh is loaded');
        return;
      }
      const db = item.readUInt16LE(1);
      const ops = item.readUInt32LE(3);
      keys += item.readUInt32LE(7);
      const { payload, count } = this.overwriteOwn(db, item.subarray(FRAME_HEADER), ops);
      const start = position;
      position += payload.length;
      await this.host.plan({
        kind: RecordKind.stream,
        origin,
        start,
        end: position,
        stamp,
        ops: count,
        db,
        seen: new Map(),
        payload,
      });
      stamp += count;
    }
    throw new SessionError('no-donor', `the snapshot from ${this.donor} ended early`);
  }

  /** A key that was here before is replaced, not added to: the donor has what was to be kept of it. */
  private overwriteOwn(db: number, payload: Buffer, ops: number): { payload: Buffer; count: number } {
    if (this.ownKeys.size === 0) return { payload, count: ops };
    const writer = new CommandWriter(payload.length + 1024);
    const scanner = new CommandScanner();
    scanner.push(payload);
    while (scanner.next()) {
      const key = scanner.buf.toString('latin1', scanner.argStart[1], scanner.argEnd[1]);
      if (this.ownKeys.delete(`${db}:${key}`) && !this.host.hasLocal(db, key))
        writer.command(['DEL', Buffer.from(key, 'latin1')]);
      writer.raw(scanner.buf, scanner.start, scanner.end, 1);
    }
    const count = writer.commands;
    return { payload: writer.take(), count };
  }

  /** What was here before and the mesh has deleted since it was offered. */
  private async dropLeftOvers(
    connection: RedisConnection,
    origin: OriginId,
    position: number,
    stamp: number,
  ): Promise<void> {
    void connection;
    for (const name of this.ownKeys) {
      const colon = name.indexOf(':');
      const db = Number(name.slice(0, colon));
      const key = name.slice(colon + 1);
      if (this.host.hasLocal(db, key)) continue;
      const payload = new CommandWriter(128).command(['DEL', Buffer.from(key, 'latin1')]).take();
      const start = position;
      position += payload.length;
      await this.host.plan({
        kind: RecordKind.stream,
        origin,
        start,
        end: position,
        stamp: stamp++,
        ops: 1,
        db,
        seen: new Map(),
        payload,
      });
    }
  }

  private async findDonor(): Promise<string | null> {
    const { config, mesh, log } = this.host.context;
    const others = config.members.filter((member) => member.name !== config.region).map((member) => member.name);
    const first = config.members.find((member) => member.primary)?.name ?? config.members.map((m) => m.name).sort()[0];
    const until = Date.now() + LOOK_MS;
    let warned = Date.now();
    for (;;) {
      this.host.alive();
      let asked = 0;
      for (const link of mesh.links()) {
        if (link.state !== 'up') continue;
        try {
          const answer = JSON.parse(
            (await mesh.request(link.peer, 'mesh', Buffer.alloc(0), { timeoutMs: 2000 })).toString(),
          ) as {
            established: boolean;
          };
          asked++;
          if (answer.established) return link.peer;
        } catch {
          // Not there yet; asked again below.
        }
      }
      if (first === config.region && (asked === others.length || Date.now() > until)) return null;
      if (Date.now() - warned > 10_000) {
        warned = Date.now();
        log.warn({ first }, 'waiting for an established region: none can be reached');
      }
      await sleep(RETRY_MS);
    }
  }
}

interface Trailer {
  vector: [OriginId, number][];
  from: [OriginId, number][];
}

const FRAME_KEYS = 75; // 'K'
const FRAME_END = 69; // 'E'
const FRAME_HEADER = 11;

/** A snapshot of the donor's Redis: keys as commands, then the positions that it stands at. */
export async function* serveSnapshot(donor: Donor): AsyncGenerator<Buffer> {
  const { context } = donor;
  const writer = new CommandWriter(FRAME_BYTES * 2);
  let db = 0;
  let keys = 0;
  const take = (): Buffer => {
    const header = Buffer.alloc(FRAME_HEADER);
    header[0] = FRAME_KEYS;
    header.writeUInt16LE(db, 1);
    header.writeUInt32LE(writer.commands, 3);
    header.writeUInt32LE(keys, 7);
    keys = 0;
    return Buffer.concat([header, writer.take()]);
  };
  const batches = ownSnapshot(donor);
  for (;;) {
    const { done, value } = await batches.next();
    if (done) {
      if (writer.commands > 0) yield take();
      const from: [OriginId, number][] = [];
      // What some region may not have seen is needed beside the snapshot: later operations are to be compared with it.
      const low = donor.low();
      for (const [origin, position] of value)
        from.push([origin, await recordBoundary(context, origin, Math.min(position, low.get(origin) ?? -1))]);
      const trailer: Trailer = { vector: [...value], from };
      yield Buffer.concat([Buffer.from([FRAME_END]), Buffer.from(JSON.stringify(trailer))]);
      return;
    }
    for (const entry of value) {
      if (entry.kind !== 'key' && entry.kind !== 'function') continue;
      const entryDb = entry.kind === 'key' ? entry.db : db;
      if (writer.length >= FRAME_BYTES || (entryDb !== db && writer.commands > 0)) yield take();
      db = entryDb;
      toCommands(entry, writer);
      if (entry.kind === 'key' && entry.part === 0) keys++;
    }
  }
}

/** The end of the last whole record at or before a position, or of the first that is there: where a journal can begin. */
async function recordBoundary(context: AgentContext, origin: OriginId, position: number): Promise<number> {
  const { journal } = context;
  const end = journal.appendedEnd(origin);
  if (end === undefined) return Math.max(0, position);
  if (end <= position) return end;
  const reader = journal.reader(origin, Math.max(position, journal.firstStart(origin) ?? 0));
  try {
    const [first] = await reader.read(1);
    return first === undefined ? end : peekRecord(first).start;
  } finally {
    reader.close();
  }
}

/** Keys offered to a donor: per key its database and the commands that build it. */
class OfferFrame {
  private readonly writer = new CommandWriter(FRAME_BYTES * 2);
  private readonly parts: Buffer[] = [];
  bytes = 0;

  add(entry: RdbEntry & { kind: 'key' }): void {
    toCommands(entry, this.writer);
    const commands = this.writer.take();
    const header = Buffer.alloc(6);
    header.writeUInt16LE(entry.db, 0);
    header.writeUInt32LE(commands.length, 2);
    this.parts.push(header, commands);
    this.bytes += commands.length + 6;
  }

  take(): Buffer {
    return Buffer.concat(this.parts);
  }
}

/** The donor's side of an offer: writes what it lacks, as a client. What it has already stands. */
export async function takeOffer(connection: RedisConnection, payload: Buffer): Promise<Buffer> {
  const groups: { db: number; key: Buffer; commands: Buffer[][] }[] = [];
  for (let at = 0; at + 6 <= payload.length;) {
    const db = payload.readUInt16LE(at);
    const length = payload.readUInt32LE(at + 2);
    const scanner = new CommandScanner();
    scanner.push(payload.subarray(at + 6, at + 6 + length));
    const commands: Buffer[][] = [];
    while (scanner.next()) {
      const args: Buffer[] = [];
      for (let i = 0; i < scanner.argc; i++) args.push(scanner.buf.subarray(scanner.argStart[i], scanner.argEnd[i]));
      commands.push(args);
    }
    if (commands.length > 0 && commands[0]!.length > 1) groups.push({ db, key: commands[0]![1]!, commands });
    at += 6 + length;
  }
  const probe = new CommandWriter(4096);
  for (const { db, key } of groups) probe.command(['SELECT', db]).command(['EXISTS', key]);
  const probes = await connection.pipeline(probe.take(), groups.length * 2);
  const writer = new CommandWriter(payload.length + 4096);
  groups.forEach(({ db, commands }, i) => {
    const exists = probes[i * 2 + 1] === 1;
    writer.command(['SELECT', db]);
    for (const args of commands)
      for (const command of exists ? whatIsMissing(args) : [withNx(args)]) writer.command(command);
  });
  writer.command(['SELECT', 0]);
  const count = writer.commands;
  await connection.pipeline(writer.take(), count);
  return Buffer.alloc(0);
}

function withNx(args: Buffer[]): Buffer[] {
  return args[0]!.toString() === 'SET' ? [...args, Buffer.from('NX')] : args;
}

/** Of a key that is there: the elements that are not. Strings, lists and streams stand as they are. */
function whatIsMissing(args: Buffer[]): (Buffer | string)[][] {
  const [name, key] = args as [Buffer, Buffer];
  switch (name.toString()) {
    case 'SADD':
      return [args];
    case 'ZADD': {
      // One by one: what a condition did to several pairs can't be seen in the stream.
      const commands: (Buffer | string)[][] = [];
      for (let i = 2; i + 1 < args.length; i += 2) commands.push(['ZADD', key, 'NX', args[i]!, args[i + 1]!]);
      return commands;
    }
    case 'HSET': {
      const commands: (Buffer | string)[][] = [];
      for (let i = 2; i + 1 < args.length; i += 2) commands.push(['HSETNX', key, args[i]!, args[i + 1]!]);
      return commands;
    }
    default:
      return [];
  }
}
