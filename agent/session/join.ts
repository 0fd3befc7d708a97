/**
 * What a region does with its data when it joins the mesh, and what the donor does for it. How the joining region's own
 * operations get their place is told in opening.ts.
 *
 * The first region to start with nobody else established (the primary, by config) begins the mesh: its data is the
 * mesh's. Every other one joins through an established peer, the donor:
 *
 * 1. what it brings is *offered* to the donor, which writes what it lacks as a client would: the donor's Redis decides,
 *    and its stream carries the result to everybody;
 * 2. then it loads a snapshot of the donor, as data that everything its own clients write meanwhile has seen.
 */
import type { ConflictPolicies } from '../../model';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RdbEntry, type RdbFunction, type RdbKey, toCommands } from '../capture';
import { type OpRecord, type OriginId, peekRecord, RecordKind, regionOf } from '../record';
import { isPausing } from '../apply/applier';
import { CommandScanner, CommandWriter, encodeCommand, type RedisConnection, ReplyError } from '../resp';
import type { AgentContext } from './context';
import { askNeighbours, membersIn } from './counting';
import { SessionError } from './context';
import { type Donor, isOwnKey, type KeyName, ownSnapshot } from './donor';
import type { LibrariesAnswer } from './libraries';

/** What a join needs of its session. */
export interface JoinHost {
  context: AgentContext;
  /** Origin of what is loaded. */
  base: OriginId;
  /** Merges a part of the snapshot into the own Redis. */
  plan(record: OpRecord): Promise<void>;
  /** Removes from the own Redis what the mesh has not. */
  remove(record: OpRecord): Promise<void>;
  /**
   * Whether what the key held before the join began can be told from what clients did to it since. `gone`: nothing is
   * left of it.
   */
  before(db: number, key: string): 'separable' | 'inseparable' | 'gone';
  /** The key may hold something that is in no operation: another region has to send its state. */
  doubt(db: number, key: string): void;
  /** What this Redis held is offered: if the join is interrupted from now on, it goes on with what was recorded. */
  offered(): Promise<void>;
  /** Throws once the session has ended. */
  alive(): void;
}

/** The mesh's data are in Redis. */
export interface Loaded {
  donor: string;
  /** Where the snapshot stands. */
  vector: ReadonlyMap<OriginId, number>;
  /** From where on records are wanted: what is to come may not have seen them. */
  from: ReadonlyMap<OriginId, number>;
  /** Nothing in it has a higher stamp. */
  stamp: number;
}

const FRAME_BYTES = 256 * 1024;
const EMPTY = Buffer.alloc(0);
const FUNCTION = Buffer.from('FUNCTION');
const FUNCTION_FLUSH = encodeCommand([FUNCTION, Buffer.from('FLUSH')]);
/** How long the configured primary looks for an established peer before it begins the mesh by itself. */
const LOOK_MS = 2000;
const LOOK_KNOWING_MS = 60_000;
const RETRY_MS = 200;
const ASK_MS = 2000;

export class Join {
  private donor: string | null = null;
  /** What is in the own Redis and may not be in the mesh. */
  private readonly ownKeys = new Set<string>();
  private position = 0;
  private stamp = 1;

  constructor(private readonly host: JoinHost) {}

  /** Finds the donor and offers it what this Redis held before. */
  async offerOwnData(batches: AsyncIterable<RdbEntry[]>): Promise<void> {
    const { mesh, log, policies, config } = this.host.context;
    this.host.context.setState('syncing', 'looking for the mesh');
    const snapshot = ownKeysOf(batches, policies);
    const first = await snapshot.next();
    if (first.done === true) await this.host.offered();
    this.donor = await this.findDonor(true);
    let frame = new OfferFrame();
    const send = async (): Promise<void> => {
      if (frame.bytes > 0) await mesh.request(this.donor!, 'offer', frame.take(), { timeoutMs: 60_000 });
      frame = new OfferFrame();
    };
    for (let next = first; next.done !== true; next = await snapshot.next()) {
      if (this.donor === null) continue;
      const entry = next.value;
      if (entry.kind === 'function') {
        frame.addLibrary(entry.library);
        continue;
      }
      this.ownKeys.add(nameOf(entry.db, entry.key.toString('latin1')));
      // Of what another region owns the mesh's stands, or nothing.
      if (policies.keeps(config.region, entry.db, entry.key)) continue;
      frame.add(entry);
      if (frame.bytes >= FRAME_BYTES) await send();
    }
    await send();
    await this.host.offered();
    if (this.donor === null) log.info('no region is established: this one begins the mesh');
    else log.info({ donor: this.donor, offered: this.ownKeys.size }, 'joining the mesh');
  }

  /**
   * Finds a donor for a join that was interrupted. All that is here was offered before, or comes from the mesh.
   * @param loading whether some of the mesh's data is here: with a part of it no region begins a mesh
   */
  async again(keys: AsyncIterable<{ db: number; key: string }>, loading: boolean): Promise<void> {
    const { log } = this.host.context;
    this.host.context.setState('syncing', 'looking for the mesh');
    this.donor = await this.findDonor(!loading);
    for await (const { db, key } of keys) this.ownKeys.add(nameOf(db, key));
    log.info({ donor: this.donor, keys: this.ownKeys.size }, 'joining the mesh, once more');
  }

  /** Loads the donor's data. @returns null where this region begins the mesh */
  async load(): Promise<Loaded | null> {
    const { donor } = this;
    if (donor === null) return null;
    const { context } = this.host;
    let keys = 0;
    const started = Date.now();
    // Of what was here before only what the mesh has is left: the donor has been offered it.
    let flush = (await this.hasLibraries(donor)) ? FUNCTION_FLUSH : EMPTY;
    for await (const item of context.mesh.requestStream(donor, 'snapshot', Buffer.alloc(0))) {
      this.host.alive();
      if (item[0] === FRAME_END) {
        const { vector, from, stamp, cut = [] } = JSON.parse(item.toString('utf8', 1)) as Trailer;
        // Who joins later, or was there before, has what was cut: all get what the donor has, or that another region has.
        for (const { db, key } of cut) this.host.doubt(db, key);
        if (flush.length > 0) await this.host.plan(this.record(0, flush, 1));
        await this.dropLeftOvers();
        context.metrics.fullSync('snapshot');
        context.log.info({ donor, keys, ms: Date.now() - started }, 'the data of the mesh is loaded');
        return { donor, vector: new Map(vector), from: new Map(from), stamp };
      }
      const db = item.readUInt16LE(1);
      const ops = item.readUInt32LE(3);
      keys += item.readUInt32LE(7);
      const { payload, count } = this.overwriteOwn(db, item.subarray(FRAME_HEADER), ops);
      await this.host.plan(this.record(db, Buffer.concat([flush, payload]), flush.length > 0 ? count + 1 : count));
      flush = EMPTY;
    }
    throw new SessionError('no-donor', `the snapshot from ${donor} ended early`);
  }

  /** Whether the donor has libraries of functions, if only none at the moment. */
  private async hasLibraries(donor: string): Promise<boolean> {
    try {
      const bytes = await this.host.context.mesh.request(donor, 'libraries', EMPTY, { timeoutMs: 60_000 });
      return (JSON.parse(bytes.toString('utf8')) as LibrariesAnswer).libraries !== null;
    } catch {
      return false;
    }
  }

  private record(db: number, payload: Buffer, ops: number): OpRecord {
    const { position: start, stamp } = this;
    const end = (this.position += payload.length);
    this.stamp += ops;
    const { base: origin } = this.host;
    return { kind: RecordKind.stream, origin, start, end, stamp, ops, db, seen: new Map(), payload };
  }

  /** A key that was here before is replaced, not added to: the donor has what was to be kept of it. */
  private overwriteOwn(db: number, payload: Buffer, ops: number): { payload: Buffer; count: number } {
    if (this.ownKeys.size === 0) return { payload, count: ops };
    const writer = new CommandWriter(payload.length + 1024);
    const scanner = new CommandScanner();
    scanner.push(payload);
    while (scanner.next()) {
      const key = scanner.buf.toString('latin1', scanner.argStart[1], scanner.argEnd[1]);
      if (this.ownKeys.delete(nameOf(db, key)) && this.canGo(db, key))
        writer.command(['DEL', Buffer.from(key, 'latin1')]);
      writer.raw(scanner.buf, scanner.start, scanner.end, 1);
    }
    const count = writer.commands;
    return { payload: writer.take(), count };
  }

  /** Whether what the key held has to go, and can. */
  private canGo(db: number, key: string): boolean {
    const before = this.host.before(db, key);
    if (before === 'inseparable') this.host.doubt(db, key);
    return before === 'separable';
  }

  /** What was here before and the mesh has deleted since it was offered. */
  private async dropLeftOvers(): Promise<void> {
    const byDb = new Map<number, string[]>();
    for (const name of this.ownKeys) {
      const colon = name.indexOf(':');
      const db = Number(name.slice(0, colon));
      const keys = byDb.get(db);
      if (keys === undefined) byDb.set(db, [name.slice(colon + 1)]);
      else keys.push(name.slice(colon + 1));
    }
    this.ownKeys.clear();
    for (const [db, keys] of byDb)
      for (let i = 0; i < keys.length;) {
        const writer = new CommandWriter(4096);
        for (; i < keys.length && writer.length < FRAME_BYTES; i++)
          if (this.canGo(db, keys[i]!)) writer.command(['DEL', Buffer.from(keys[i]!, 'latin1')]);
        const count = writer.commands;
        if (count > 0) await this.host.remove(this.record(db, writer.take(), count));
      }
  }

  private async findDonor(mayBegin: boolean): Promise<string | null> {
    const { config, mesh, log, journal } = this.host.context;
    const others = config.members.filter((member) => member.name !== config.region).map((member) => member.name);
    const first = config.members.find((member) => member.primary)?.name ?? config.members.map((m) => m.name).sort()[0];
    const until = Date.now() + LOOK_MS;
    // Its Redis is empty, and there is a mesh, or was: what that holds is not given up because nobody can be reached for a moment.
    const knows = [...journal.origins()].some((origin) => regionOf(origin) !== config.region);
    const beginsAt = Date.now() + (knows ? LOOK_KNOWING_MS : LOOK_MS);
    let warned = Date.now();
    for (;;) {
      this.host.alive();
      const links = mesh.links();
      const answers = await askNeighbours(mesh, { asked: [config.region], withinMs: ASK_MS });
      const asked = answers.size;
      const donor = [...answers].find(([, { established }]) => established)?.[0] ?? null;
      // Regions with an earlier list of members: they would let go of what this one has not seen.
      const behind = [...membersIn(answers)]
        .filter(([region, members]) => others.includes(region) && !members.includes(config.region))
        .map(([region]) => region);
      if (donor !== null && behind.length === 0 && (asked === links.length || Date.now() > until)) return donor;
      if (donor === null && mayBegin && first === config.region && (asked === others.length || Date.now() > beginsAt))
        return null;
      if (Date.now() - warned > 10_000) {
        warned = Date.now();
        if (behind.length > 0) log.warn({ regions: behind }, 'waiting for regions that do not count this one yet');
        else log.warn({ first }, 'waiting for an established region: none can be reached');
      }
      await sleep(RETRY_MS);
    }
  }
}

async function* ownKeysOf(
  batches: AsyncIterable<RdbEntry[]>,
  policies: ConflictPolicies,
): AsyncGenerator<RdbKey | RdbFunction, undefined> {
  for await (const entries of batches)
    for (const entry of entries)
      if (entry.kind === 'function') yield entry;
      else if (entry.kind === 'key' && !isOwnKey(entry.key) && !policies.ignores(entry.db, entry.key)) yield entry;
}

function nameOf(db: number, key: string): string {
  return `${db}:${key}`;
}

interface Trailer {
  vector: [OriginId, number][];
  from: [OriginId, number][];
  stamp: number;
  /** Streams of which clients have cut more than operations tell. An agent of before does not say it. */
  cut?: KeyName[];
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
  const startedMs = Date.now();
  const batches = ownSnapshot(donor);
  try {
    for (;;) {
      const { done, value } = await batches.next();
      if (done) {
        if (writer.commands > 0) yield take();
        const from: [OriginId, number][] = [];
        // What some region may not have seen is needed beside the snapshot: later operations are to be compared with it.
        const low = donor.low();
        for (const [origin, position] of value)
          from.push([origin, await recordBoundary(context, origin, Math.min(position, low.get(origin) ?? -1))]);
        const cut = donor.cutSince(startedMs);
        const trailer: Trailer = { vector: [...value], from, stamp: donor.stamp(), cut };
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
  } finally {
    await batches.return(new Map());
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

/** Keys offered to a donor: per key its database and the commands that build it; and libraries of functions, each as the command that loads it. */
class OfferFrame {
  private readonly writer = new CommandWriter(FRAME_BYTES * 2);
  private readonly parts: Buffer[] = [];
  bytes = 0;

  add(entry: RdbEntry & { kind: 'key' }): void {
    toCommands(entry, this.writer);
    this.push(entry.db, this.writer.take());
  }

  addLibrary(code: Buffer): void {
    // Where the donor has one of that name it refuses.
    this.push(0, encodeCommand([FUNCTION, Buffer.from('LOAD'), code]));
  }

  private push(db: number, commands: Buffer): void {
    const header = Buffer.alloc(6);
    header.writeUInt16LE(db, 0);
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
    const exists = probes[i * 2 + 1] === 1 && !commands[0]![0]!.equals(FUNCTION);
    writer.command(['SELECT', db]);
    for (const args of commands)
      for (const command of exists ? whatIsMissing(args) : [withNx(args)]) writer.command(command);
  });
  writer.command(['SELECT', 0]);
  const count = writer.commands;
  const replies = await connection.pipeline(writer.take(), count);
  const refused = replies.find((reply) => reply instanceof ReplyError && isPausing(reply.code));
  // Who offers it keeps it, and offers it again.
  if (refused instanceof ReplyError)
    throw new SessionError('no-donor', `Redis takes no writes at the moment: ${refused.code}`);
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
