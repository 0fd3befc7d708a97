/**
 * What clients changed in this Redis while no agent was reading: the difference between its snapshot and what the mesh
 * holds. With AOF on, any restart of Redis changes its replication ID and refuses a partial resync, so this is usual.
 *
 * Digests of all keys are compared with a donor's, whose snapshot holds all that this region had journalled. Where they
 * differ, the donor's value is fetched. What other regions did to a key since this Redis heard of them explains a
 * difference by itself (it will be applied as always); only what remains is a client's doing here. Both sides are known
 * at exact positions, and the operations between them are read from the own journal: counters come out exact.
 *
 * When nobody can tell: after a power cut, say, all regions come back like this, and each would wait for another. Then
 * the first one goes on with what it has. Its data may hold changes that are in no operation ("unexplained"), so others
 * compare with it differently: what either side has more is kept, and where values differ the first one's stand.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  decodeDump,
  type HashItem,
  type RdbEntry,
  type RdbKey,
  type RdbValue,
  toCommands,
  type ZsetItem,
} from '../capture';
import { Class, Code, findCommand, UNKNOWN_COMMAND } from '../merge/commands';
import { argText, decodeEffects, type Effect, parseInteger } from '../merge/effects';
import { decodeRecord, type OpRecord, type OriginId, RecordKind, regionOf, type Vector } from '../record';
import { CommandScanner, CommandWriter } from '../resp';
import { HEARTBEAT_KEY } from '../stream/keys';
import { raise } from '../vector';
import type { AgentContext } from './context';
import { SessionError } from './context';
import { Digester, DigestTable } from './digest';
import {
  DIGEST_MARK,
  type DigestsEnd,
  type DigestsRequest,
  isOwnKey,
  type KeyName,
  type ServedValue,
  type ValuesAnswer,
} from './donor';

export interface DifferenceOptions {
  context: AgentContext;
  snapshot: AsyncIterable<RdbEntry[]>;
  /** What the snapshot holds of each origin. */
  held: Vector;
  /** Time of the last heartbeat that this agent knows to have read: a snapshot with an older one has lost its tail. Null: none can have. */
  lastHeartbeatMs: number | null;
  /** This region captures by notifications, and so may others: whole keys are written where elements were meant. */
  isByKey: boolean;
  /** Throws once the session has ended. */
  alive(): void;
  /** Told whether any reachable region may yet become a donor. */
  hopeless(isSo: boolean): void;
}

/** What a region says of its place in the mesh when it is asked (request `mesh`). */
export interface MeshAnswer {
  /** It can give its data. */
  established: boolean;
  /** It waits for data itself, and so does everybody whom it can reach. */
  hopeless: boolean;
}

/** Commands on keys of one database that make one operation. */
export interface Difference {
  db: number;
  payload: Buffer;
}

export interface Differences {
  operations: Difference[];
  /** Keys that only the donor's state can bring to rest. */
  unsettled: KeyName[];
  donor: string;
  /** The donor's data held changes that were in no operation; now all of them are, or will be by its states. */
  explained: boolean;
  /** What the donor had. */
  vector: Vector;
  /** Redis came back with less than had been read from it. */
  lostTail: boolean;
}

const VALUES_PER_REQUEST = 100;
const COMMANDS_PER_OPERATION = 256;

interface Candidate extends KeyName {
  /** What the snapshot has; empty for nothing. */
  parts: RdbKey[];
}

/** Keys by database and name. */
function nameOf(db: number, key: string): string {
  return `${db}:${key}`;
}

/** @returns null when there is nobody to compare with, and this region is the one to go on */
export async function findDifferences(o: DifferenceOptions): Promise<Differences | null> {
  const { context } = o;
  const { log } = context;
  const digests = await fetchDigests(o);
  if (digests === null) {
    // The stream comes behind the snapshot.
    for await (const _ of o.snapshot) o.alive();
    return null;
  }
  const { donor, table, vector, unexplained } = digests;
  // The agent's own note of it is up to a second old; the donor has had the heartbeats with the records.
  const lastHeartbeatMs = o.lastHeartbeatMs === null ? 0 : Math.max(o.lastHeartbeatMs, digests.lastHeartbeatMs);
  // Equal digests say nothing of a key that others have changed since: both sides may have added the same.
  const touchedBefore = new Set<string>();
  await eachForeign(o, vector, (name) => touchedBefore.add(name));
  const candidates: Candidate[] = [];
  const digester = new Digester();
  let heartbeatMs = 0;
  let parts: RdbKey[] = [];
  const now = Date.now();
  for await (const entries of o.snapshot)
    for (const entry of entries) {
      if (entry.kind !== 'key') continue;
      if (isOwnKey(entry.key)) {
        if (entry.key.toString('latin1') === HEARTBEAT_KEY && Buffer.isBuffer(entry.value))
          heartbeatMs = Number(entry.value.toString('latin1')) || 0;
        continue;
      }
      if (entry.part === 0) parts = [];
      parts.push(entry);
      const digest = digester.add(entry);
      if (digest === null) continue;
      const theirs = table.meet(digest);
      if (entry.expireAtMs !== null && entry.expireAtMs <= now) continue;
      if (
        theirs !== null &&
        !touchedBefore.has(nameOf(entry.db, entry.key.toString('latin1'))) &&
        theirs.isInteger === digest.isInteger &&
        theirs.value === digest.value &&
        theirs.expireAtMs === digest.expireAtMs
      )
        continue;
      candidates.push({ db: entry.db, key: entry.key.toString('latin1'), parts });
    }
  const lostTail = heartbeatMs < lastHeartbeatMs;
  if (lostTail)
    log.warn(
      { lostMs: lastHeartbeatMs - heartbeatMs },
      'Redis came back without the last of its changes; what the mesh has of them is put back',
    );

  // Keys that the mesh has and this Redis has not: their names are asked for by hash.
  const absent = await namesOf(context, donor, [...table.unmet(now + 2000)]);
  for (const name of absent) candidates.push({ ...name, parts: [] });

  const result: Differences = {
    operations: [],
    unsettled: [],
    donor,
    explained: unexplained,
    vector,
    lostTail,
  };
  if (candidates.length === 0) return result;
  const values: ServedValue[] = [];
  /** Up to where operations are in the value of a key: each request was answered at another moment. */
  const readAt = new Map<string, Vector>();
  const until = new Map<OriginId, number>();
  for (let i = 0; i < candidates.length; i += VALUES_PER_REQUEST) {
    o.alive();
    const keys = candidates.slice(i, i + VALUES_PER_REQUEST).map(({ db, key }) => ({ db, key }));
    const answer = await context.mesh.request(donor, 'values', Buffer.from(JSON.stringify({ keys })), {
      timeoutMs: 60_000,
    });
    const parsed = JSON.parse(answer.toString('utf8')) as ValuesAnswer;
    values.push(...parsed.values);
    const at: Vector = new Map(parsed.vector);
    for (const { db, key } of keys) readAt.set(nameOf(db, key), at);
    raise(until, at);
  }
  const touched = new Map<string, Touch>();
  await eachForeign(o, until, (name, effect, origin, position) => {
    const at = readAt.get(name);
    if (at === undefined || (at.get(origin) ?? -1) < position) return;
    let touch = touched.get(name);
    if (touch === undefined) touched.set(name, (touch = newTouch()));
    noteTouch(touch, effect);
  });
  const byDb = new Map<number, CommandWriter>();
  const flush = (db: number, writer: CommandWriter): void => {
    if (writer.commands > 0) result.operations.push({ db, payload: writer.take() });
  };
  candidates.forEach((candidate, i) => {
    let writer = byDb.get(candidate.db);
    if (writer === undefined) byDb.set(candidate.db, (writer = new CommandWriter(4096)));
    const touch = touched.get(nameOf(candidate.db, candidate.key));
    const mode = lostTail ? 'lost-tail' : unexplained ? 'unexplained' : 'exact';
    const settled = writeDifference(writer, candidate, values[i]!, touch, mode, o.isByKey);
    if (!settled) result.unsettled.push({ db: candidate.db, key: candidate.key });
    if (writer.commands >= COMMANDS_PER_OPERATION) flush(candidate.db, writer);
  });
  for (const [db, writer] of byDb) flush(db, writer);
  log.info(
    { donor, candidates: candidates.length, operations: result.operations.length, unsettled: result.unsettled.length },
    'full sync compared with the mesh',
  );
  return result;
}

/** How long nobody is found before it is asked whether anybody can be. */
const HOPE_MS = 1500;
/** A region that neither gives data nor waits for any is starting: it is waited for, but not for ever. */
const STARTING_MS = 15_000;

interface DonorDigests {
  donor: string;
  table: DigestTable;
  vector: Vector;
  unexplained: boolean;
  /** Time of this region's last heartbeat that the donor has got. */
  lastHeartbeatMs: number;
}

/**
 * Digests of a peer whose snapshot holds all that this region had journalled.
 * @returns null when everybody who can be reached waits like this region, which is the first of them
 */
async function fetchDigests(o: DifferenceOptions): Promise<DonorDigests | null> {
  const { mesh, log, config, journal } = o.context;
  const started = Date.now();
  let warned = started;
  try {
    for (;;) {
      o.alive();
      const waitedMs = Date.now() - started;
      const links = mesh.links();
      // Who is to be compared with is known when it is known what everybody has.
      const isEarly = waitedMs < HOPE_MS && links.some((link) => link.state !== 'up');
      for (const link of links) {
        if (isEarly || link.state !== 'up') continue;
        try {
          const needs = [...o.held].flatMap(([origin, position]): [OriginId, number][] =>
            regionOf(origin) === config.region
              ? [[origin, Math.max(position, waitedMs < STARTING_MS ? mesh.reach(origin) : -1)]]
              : [],
          );
          const found = await digestsOf(o, link.peer, { needs });
          // A history without any operation is in nobody's vector. Of what the journal has lost in a crash, one peer may have
          // more than another: what the donor lacks would be taken for new here, and come from the other one as well.
          const behind = needs.some(
            ([origin, position]) => (found.vector.get(origin) ?? journal.firstStart(origin) ?? -1) < position,
          );
          if (!behind) return found;
          log.debug({ peer: link.peer }, 'the donor has not yet applied all of this region');
        } catch (error) {
          o.alive();
          log.debug({ peer: link.peer, err: error }, 'no digests from this peer');
        }
      }
      if (waitedMs > HOPE_MS && (await isLeader(o, waitedMs))) {
        log.warn(
          'no region can tell what changed here: this one goes on with what it has, and the others compare with it',
        );
        return null;
      }
      if (Date.now() - warned > 10_000) {
        warned = Date.now();
        log.warn('waiting for a peer to compare the full sync with');
      }
      await sleep(100);
    }
  } finally {
    o.hopeless(false);
  }
}

async function digestsOf(o: DifferenceOptions, peer: string, request: DigestsRequest): Promise<DonorDigests> {
  const table = new DigestTable();
  let end: DigestsEnd | null = null;
  for await (const item of o.context.mesh.requestStream(peer, 'digests', Buffer.from(JSON.stringify(request)))) {
    o.alive();
    if (item[0] === DIGEST_MARK[0]) table.addAll(item.subarray(1));
    else end = JSON.parse(item.toString('utf8')) as DigestsEnd;
  }
  if (end === null) throw new SessionError('no-donor', `the digests from ${peer} ended early`);
  return {
    donor: peer,
    table,
    vector: new Map(end.vector),
    unexplained: end.unexplained,
    lastHeartbeatMs: new Map(end.heartbeats).get(o.context.config.region) ?? 0,
  };
}

/** Whether all reachable regions wait, and this one is the first among them: the mesh's primary, else by name. */
async function isLeader(o: DifferenceOptions, waitedMs: number): Promise<boolean> {
  const { mesh, config } = o.context;
  const peers = mesh.links().flatMap((link) => (link.state === 'up' ? [link.peer] : []));
  if (peers.length === 0 && config.members.length > 1) return false;
  const answers = await Promise.all(
    peers.map(async (peer) => {
      try {
        const answer = await mesh.request(peer, 'mesh', Buffer.alloc(0), { timeoutMs: 2000 });
        return JSON.parse(answer.toString('utf8')) as MeshAnswer;
      } catch {
        return { established: false, hopeless: false };
      }
    }),
  );
  const isHopeless = answers.every(({ established }) => !established);
  o.hopeless(isHopeless);
  const all = answers.every(({ hopeless }) => hopeless);
  if (!isHopeless || !(all || waitedMs > STARTING_MS)) return false;
  const primary = config.members.find((member) => member.primary)?.name;
  const reachable = [config.region, ...peers].sort();
  const first = primary !== undefined && reachable.includes(primary) ? primary : reachable[0];
  return first === config.region && (first === primary || waitedMs > STARTING_MS);
}

async function namesOf(context: AgentContext, donor: string, hashes: [number, number][]): Promise<KeyName[]> {
  if (hashes.length === 0) return [];
  const answer = await context.mesh.request(donor, 'names', Buffer.from(JSON.stringify({ hashes })), {
    timeoutMs: 120_000,
  });
  return (JSON.parse(answer.toString('utf8')) as { names: KeyName[] }).names;
}

/** What other regions did to a key. */
interface Touch {
  /** Elements (fields, members) written or removed; null: the whole key. */
  elements: Set<string> | null;
  /** Sum of increments of the string, and of elements. */
  increments: Map<string, bigint>;
  onlyIncrements: boolean;
  /** Increments of scores, which are on their way and come on top of whatever is here: what is here can't be told from them. */
  isInexact: boolean;
  opaque: boolean;
}

function newTouch(): Touch {
  return { elements: new Set(), increments: new Map(), onlyIncrements: true, isInexact: false, opaque: false };
}

/** Visits what other regions did in (held, until]; waits until all of it is in the journal. */
async function eachForeign(
  o: DifferenceOptions,
  until: Vector,
  visit: (name: string, effect: Effect, origin: OriginId, position: number) => void,
): Promise<void> {
  const { journal, config, log } = o.context;
  for (const [origin, to] of until) {
    if (regionOf(origin) === config.region) continue;
    const from = o.held.get(origin) ?? -1;
    if (from >= to) continue;
    for (let waited = 0; (journal.durableEnd(origin) ?? -1) < to; waited++) {
      o.alive();
      if (waited % 1000 === 500)
        log.warn({ origin, have: journal.durableEnd(origin), to }, 'waiting for records that the donor has');
      await sleep(10);
    }
    const reader = journal.reader(origin, from);
    try {
      for (let at = from; at < to;) {
        const records = await reader.read(1024 * 1024);
        if (records.length === 0) break;
        for (const bytes of records) {
          const record = decodeRecord(bytes, { verify: false });
          at = record.end;
          eachEffect(record, from, (db, effect, position) => {
            for (const key of effect.kind === 'opaque' ? effect.keys : 'key' in effect ? [effect.key] : [])
              visit(nameOf(db, key), effect, origin, position);
          });
        }
      }
    } finally {
      reader.close();
    }
  }
}

function eachEffect(
  record: OpRecord,
  after: number,
  visit: (db: number, effect: Effect, position: number) => void,
): void {
  if (record.kind === RecordKind.birth) return;
  const scanner = new CommandScanner();
  scanner.push(record.payload);
  const effects: Effect[] = [];
  const base = record.end - record.payload.length;
  let { db } = record;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.class === Class.control) {
      if (command.code === Code.select) db = Number(argText(scanner, 1));
      continue;
    }
    // Only the bytes of the stream have positions of their own.
    const position = record.kind === RecordKind.stream ? base + scanner.end : record.end;
    if (position <= after) continue;
    effects.length = 0;
    decodeEffects(command, scanner, effects);
    for (const effect of effects) visit(db, effect, position);
  }
}

function noteTouch(touch: Touch, effect: Effect): void {
  if (effect.kind === 'increment' && typeof effect.delta === 'bigint') {
    touch.increments.set(effect.name, (touch.increments.get(effect.name) ?? 0n) + effect.delta);
    return;
  }
  touch.onlyIncrements = false;
  if (effect.kind === 'opaque') touch.opaque = true;
  else if (effect.kind === 'put' || effect.kind === 'remove') effect.names.forEach((n) => touch.elements?.add(n));
  else if (effect.kind === 'increment') {
    touch.elements?.add(effect.name);
    touch.isInexact = true;
  } else if (effect.kind !== 'ttl') touch.elements = null;
}

/**
 * - `exact`: the donor's value and the touches say what the key was when this region was last read.
 * - `lost-tail`: this Redis has less than was read from it: what the donor has more is to come back.
 * - `unexplained`: either side may have more than operations tell.
 */
type Mode = 'exact' | 'lost-tail' | 'unexplained';

/** @returns false when only the donor's state can settle the key */
function writeDifference(
  writer: CommandWriter,
  candidate: Candidate,
  theirs: ServedValue,
  touch: Touch | undefined,
  mode: Mode,
  isByKey: boolean,
): boolean {
  const key = Buffer.from(candidate.key, 'latin1');
  const dump = theirs.dump === null ? null : decodeDump(Buffer.from(theirs.dump, 'base64'));
  const [first] = candidate.parts;
  // The others write whole keys, too: theirs has not seen what is new here, and does not remove it.
  if (isByKey && touch?.elements === null && !touch.opaque && dump !== null && first?.type === dump.type)
    if (hasElements(first.type)) return writeUnion(writer, candidate, dump, touch);
  if (touch?.isInexact === true && dump !== null) return false;
  if (touch !== undefined && (touch.opaque || touch.elements === null)) {
    // Their operation replaces the whole key here too; where it depends on what the key held, the donor's state decides.
    return !touch.opaque;
  }
  if (first === undefined) {
    if (mode !== 'exact') return dump === null;
    if (dump !== null && touch === undefined) writer.command(['DEL', key]);
    return true;
  }
  if (dump === null) {
    // Deleted by the mesh since: then the delete is on its way. Otherwise it is new here.
    if (touch === undefined) for (const part of candidate.parts) toCommands(part, writer);
    return true;
  }
  if (mode === 'lost-tail') return false;
  if (mode === 'unexplained') return writeUnion(writer, candidate, dump, touch);
  if (dump.type !== first.type) {
    if (touch === undefined) replace(writer, candidate);
    return true;
  }
  const expireAtMs = first.expireAtMs;
  switch (first.type) {
    case 'string': {
      const mine = parseInteger(first.value.toString('latin1'));
      const their = parseInteger((dump.value as Buffer).toString('latin1'));
      if (mine !== null && their !== null && (touch === undefined || touch.onlyIncrements)) {
        const delta = mine - (their - (touch?.increments.get('') ?? 0n));
        if (delta !== 0n) writer.command(['INCRBY', key, String(delta)]);
      } else if (touch !== undefined) return false;
      else if (!first.value.equals(dump.value as Buffer)) {
        writer.command(['SET', key, first.value, ...(expireAtMs === null ? [] : ['PXAT', expireAtMs])]);
        return true;
      }
      break;
    }
    case 'hash':
    case 'set':
    case 'zset': {
      const mine = new Map<string, Buffer>();
      for (const part of candidate.parts) addElements(mine, part.type, part.value);
      const their = new Map<string, Buffer>();
      addElements(their, dump.type, dump.value);
      writeElements(writer, key, first.type, mine, their, touch);
      break;
    }
    default:
      if (touch !== undefined) return false;
      replace(writer, candidate);
      return true;
  }
  const theirAtMs = theirs.expireAtMs;
  if (touch === undefined && (expireAtMs === null) !== (theirAtMs === null))
    writer.command(expireAtMs === null ? ['PERSIST', key] : ['PEXPIREAT', key, expireAtMs]);
  else if (touch === undefined && expireAtMs !== null && Math.abs(expireAtMs - theirAtMs!) > TTL_ROUNDING_MS)
    writer.command(['PEXPIREAT', key, expireAtMs]);
  return true;
}

/**
 * Of a key that differs, with nobody to tell what it was: elements that only this side has are added to the donor's, and
 * a counter is raised to the higher value; otherwise the donor's value stands.
 * @returns whether both are equal then
 */
function writeUnion(
  writer: CommandWriter,
  candidate: Candidate,
  dump: ReturnType<typeof decodeDump>,
  touch: Touch | undefined,
): boolean {
  const first = candidate.parts[0]!;
  const key = Buffer.from(candidate.key, 'latin1');
  if (dump.type !== first.type) return false;
  switch (first.type) {
    case 'string': {
      const mine = parseInteger(first.value.toString('latin1'));
      const their = parseInteger((dump.value as Buffer).toString('latin1'));
      if (mine === null || their === null || touch?.onlyIncrements === false)
        return touch === undefined && first.value.equals(dump.value as Buffer);
      const delta = mine - (their - (touch?.increments.get('') ?? 0n));
      if (delta > 0n) writer.command(['INCRBY', key, String(delta)]);
      return delta >= 0n;
    }
    case 'hash':
    case 'set':
    case 'zset': {
      const mine = new Map<string, Buffer>();
      for (const part of candidate.parts) addElements(mine, part.type, part.value);
      const their = new Map<string, Buffer>();
      addElements(their, dump.type, dump.value);
      const more = new Map([...mine].filter(([name]) => !their.has(name)));
      writeElements(writer, key, first.type, more, new Map(), touch);
      let isEqual = true;
      for (const [name, value] of their) {
        if (touch?.elements?.has(name)) continue;
        const own = mine.get(name);
        const a = first.type === 'hash' ? parseInteger(own?.toString('latin1') ?? '') : null;
        const b = first.type === 'hash' ? parseInteger(value.toString('latin1')) : null;
        if (a !== null && b !== null) {
          const delta = a - (b - (touch?.increments.get(name) ?? 0n));
          if (delta > 0n) writer.command(['HINCRBY', key, Buffer.from(name, 'latin1'), String(delta)]);
          isEqual &&= delta >= 0n;
        } else if (touch?.increments.has(name) !== true) isEqual &&= own?.equals(value) === true;
      }
      return isEqual;
    }
    default:
      return false;
  }
}

function hasElements(type: RdbKey['type']): boolean {
  return type === 'hash' || type === 'set' || type === 'zset';
}

/** PTTL and TIME are read in whole milliseconds, one after the other. */
const TTL_ROUNDING_MS = 5;

function replace(writer: CommandWriter, candidate: Candidate): void {
  writer.command(['DEL', Buffer.from(candidate.key, 'latin1')]);
  for (const part of candidate.parts) toCommands(part, writer);
}

function addElements(into: Map<string, Buffer>, type: RdbKey['type'], value: RdbValue): void {
  if (type === 'hash') for (const [field, content] of value as HashItem[]) into.set(field.toString('latin1'), content);
  else if (type === 'zset')
    for (const [member, score] of value as ZsetItem[]) into.set(member.toString('latin1'), Buffer.from(score));
  else for (const member of value as Buffer[]) into.set(member.toString('latin1'), NOTHING);
}

const NOTHING = Buffer.alloc(0);

function writeElements(
  writer: CommandWriter,
  key: Buffer,
  type: 'hash' | 'set' | 'zset',
  mine: ReadonlyMap<string, Buffer>,
  their: ReadonlyMap<string, Buffer>,
  touch: Touch | undefined,
): void {
  for (const [name, value] of mine) {
    if (touch?.elements?.has(name)) continue;
    const other = their.get(name);
    const bytes = Buffer.from(name, 'latin1');
    if (type === 'hash' && other !== undefined) {
      const a = parseInteger(value.toString('latin1'));
      const b = parseInteger(other.toString('latin1'));
      if (a !== null && b !== null) {
        const delta = a - (b - (touch?.increments.get(name) ?? 0n));
        if (delta !== 0n) writer.command(['HINCRBY', key, bytes, String(delta)]);
        continue;
      }
    }
    if (other?.equals(value)) continue;
    if (type === 'hash') writer.command(['HSET', key, bytes, value]);
    else if (type === 'set') writer.command(['SADD', key, bytes]);
    else writer.command(['ZADD', key, value, bytes]);
  }
  for (const name of their.keys()) {
    if (mine.has(name) || touch?.elements?.has(name) || touch?.increments.has(name)) continue;
    writer.command([type === 'hash' ? 'HDEL' : type === 'set' ? 'SREM' : 'ZREM', key, Buffer.from(name, 'latin1')]);
  }
}
