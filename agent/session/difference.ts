/**
 * What clients changed in this Redis while no agent was reading: the difference between its snapshot and what the mesh
 * holds. With AOF on, any restart of Redis changes its replication ID and refuses a partial resync, so this is usual.
 *
 * Digests of all keys are compared with a donor's, whose snapshot holds all that this region had journalled. Where they
 * differ, the donor's value is fetched. What other regions did to a key since this Redis heard of them explains a
 * difference by itself (it will be applied as always); only what remains is a client's doing here.
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
import { decodeRecord, type OriginId, regionOf, type Vector } from '../record';
import { CommandScanner, CommandWriter } from '../resp';
import { HEARTBEAT_KEY } from '../stream/keys';
import type { AgentContext } from './context';
import { Digester, DigestTable, type KeyDigest } from './digest';
import { DIGEST_MARK, isOwnKey, type KeyName, type ValuesAnswer } from './donor';

export interface DifferenceOptions {
  context: AgentContext;
  snapshot: AsyncIterable<RdbEntry[]>;
  /** What the snapshot holds of each origin. */
  held: Vector;
  /** Time of the last heartbeat that was journalled: a snapshot with an older one has lost its tail. */
  lastHeartbeatMs: number;
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
  /** Redis came back with less than had been read from it. */
  lostTail: boolean;
}

const VALUES_PER_REQUEST = 100;
const COMMANDS_PER_OPERATION = 256;

interface Candidate extends KeyName {
  /** What the snapshot has; null for nothing. */
  parts: RdbKey[];
  digest: KeyDigest | null;
  theirs: { isInteger: boolean; value: number } | null;
}

export async function findDifferences(o: DifferenceOptions): Promise<Differences> {
  const { context } = o;
  const { log } = context;
  const { donor, table, vector } = await fetchDigests(o);
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
        theirs.isInteger === digest.isInteger &&
        theirs.value === digest.value &&
        theirs.expireAtMs === digest.expireAtMs
      )
        continue;
      candidates.push({ db: entry.db, key: entry.key.toString('latin1'), parts, digest, theirs });
    }
  const lostTail = heartbeatMs < o.lastHeartbeatMs;
  if (lostTail)
    log.warn(
      { lostMs: o.lastHeartbeatMs - heartbeatMs },
      'Redis came back without the last of its changes; what the mesh has of them is put back',
    );

  // Keys that the mesh has and this Redis has not: their names are asked for by hash.
  const absent = await namesOf(context, donor, [...table.unmet(now + 2000)]);
  for (const name of absent) candidates.push({ ...name, parts: [], digest: null, theirs: null });

  const result: Differences = { operations: [], unsettled: [], donor, lostTail };
  if (candidates.length === 0) return result;
  const values: { dump: string | null; ttlMs: number }[] = [];
  let until: Vector = vector;
  for (let i = 0; i < candidates.length; i += VALUES_PER_REQUEST) {
    const keys = candidates.slice(i, i + VALUES_PER_REQUEST).map(({ db, key }) => ({ db, key }));
    const answer = await context.mesh.request(donor, 'values', Buffer.from(JSON.stringify({ keys })), {
      timeoutMs: 60_000,
    });
    const parsed = JSON.parse(answer.toString('utf8')) as ValuesAnswer;
    values.push(...parsed.values);
    until = new Map(parsed.vector);
  }
  const touched = await foreignTouches(context, o.held, until);
  const byDb = new Map<number, CommandWriter>();
  const flush = (db: number, writer: CommandWriter): void => {
    if (writer.commands > 0) result.operations.push({ db, payload: writer.take() });
  };
  candidates.forEach((candidate, i) => {
    let writer = byDb.get(candidate.db);
    if (writer === undefined) byDb.set(candidate.db, (writer = new CommandWriter(4096)));
    const touch = touched.get(`${candidate.db}:${candidate.key}`);
    const settled = writeDifference(writer, candidate, values[i]!, touch, lostTail);
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

/** Digests of a peer whose snapshot holds all that this region had journalled. */
async function fetchDigests(o: DifferenceOptions): Promise<{ donor: string; table: DigestTable; vector: Vector }> {
  const { mesh, log, config } = o.context;
  let warned = Date.now();
  for (;;) {
    for (const link of mesh.links()) {
      if (link.state !== 'up') continue;
      try {
        const table = new DigestTable();
        let vector: Vector | null = null;
        for await (const item of mesh.requestStream(link.peer, 'digests', Buffer.alloc(0)))
          if (item[0] === DIGEST_MARK[0]) table.addAll(item.subarray(1));
          else vector = new Map((JSON.parse(item.toString('utf8')) as { vector: [OriginId, number][] }).vector);
        const has = vector;
        if (
          has !== null &&
          [...o.held].every(
            ([origin, position]) => regionOf(origin) !== config.region || (has.get(origin) ?? -1) >= position,
          )
        )
          return { donor: link.peer, table, vector: has };
        log.debug({ peer: link.peer }, 'the donor has not yet applied all of this region');
      } catch (error) {
        log.debug({ peer: link.peer, err: error }, 'no digests from this peer');
      }
    }
    if (Date.now() - warned > 10_000) {
      warned = Date.now();
      log.warn('waiting for a peer to compare the full sync with');
    }
    await sleep(100);
  }
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
  opaque: boolean;
}

/** Operations of other regions in (held, until], by key. Waits until they are in the journal. */
async function foreignTouches(context: AgentContext, held: Vector, until: Vector): Promise<Map<string, Touch>> {
  const touches = new Map<string, Touch>();
  const { journal, config } = context;
  for (const [origin, to] of until) {
    if (regionOf(origin) === config.region) continue;
    const from = held.get(origin) ?? -1;
    if (from >= to) continue;
    const deadline = Date.now() + 30_000;
    const reader = journal.reader(origin, from);
    try {
      let at = from;
      while (at < to) {
        const records = await reader.read(1024 * 1024);
        if (records.length === 0) {
          // A position between records (heartbeats) has no record of its own: a short wait is enough then.
          if ((journal.appendedEnd(origin) ?? -1) >= to || Date.now() > deadline) break;
          await sleep(10);
          if (at >= 0 && Date.now() > deadline - 29_000) break;
          continue;
        }
        for (const bytes of records) {
          const record = decodeRecord(bytes, { verify: false });
          at = record.end;
          noteTouches(record.payload, record.db, touches);
        }
      }
    } finally {
      reader.close();
    }
  }
  return touches;
}

function noteTouches(payload: Buffer, db: number, touches: Map<string, Touch>): void {
  const scanner = new CommandScanner();
  scanner.push(payload);
  const effects: Effect[] = [];
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.class === Class.control) {
      if (command.code === Code.select) db = Number(argText(scanner, 1));
      continue;
    }
    effects.length = 0;
    decodeEffects(command, scanner, effects);
    for (const effect of effects) {
      if (effect.kind === 'flush' || effect.kind === 'swap') continue;
      for (const key of effect.kind === 'opaque' ? effect.keys : [effect.key]) {
        const name = `${db}:${key}`;
        let touch = touches.get(name);
        if (touch === undefined)
          touches.set(
            name,
            (touch = { elements: new Set(), increments: new Map(), onlyIncrements: true, opaque: false }),
          );
        if (effect.kind === 'increment' && typeof effect.delta === 'bigint') {
          touch.increments.set(effect.name, (touch.increments.get(effect.name) ?? 0n) + effect.delta);
          continue;
        }
        touch.onlyIncrements = false;
        if (effect.kind === 'opaque') touch.opaque = true;
        else if (effect.kind === 'put' || effect.kind === 'remove') effect.names.forEach((n) => touch.elements?.add(n));
        else if (effect.kind === 'increment') touch.elements?.add(effect.name);
        else if (effect.kind !== 'ttl') touch.elements = null;
      }
    }
  }
}

/** @returns false when only the donor's state can settle the key */
function writeDifference(
  writer: CommandWriter,
  candidate: Candidate,
  theirs: { dump: string | null; ttlMs: number },
  touch: Touch | undefined,
  lostTail: boolean,
): boolean {
  const key = Buffer.from(candidate.key, 'latin1');
  const dump = theirs.dump === null ? null : decodeDump(Buffer.from(theirs.dump, 'base64'));
  if (touch !== undefined && (touch.opaque || touch.elements === null)) {
    // Their operation replaces the whole key here too; where it depends on what the key held, the donor's state decides.
    return !touch.opaque;
  }
  const [first] = candidate.parts;
  if (first === undefined) {
    if (lostTail) return dump === null;
    if (dump !== null && touch === undefined) writer.command(['DEL', key]);
    return true;
  }
  if (dump === null) {
    // Deleted by the mesh since: then the delete is on its way. Otherwise it is new here.
    if (touch === undefined) for (const part of candidate.parts) toCommands(part, writer);
    return true;
  }
  if (lostTail) return false;
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
  const theirAtMs = theirs.ttlMs >= 0 ? Date.now() + theirs.ttlMs : null;
  if (touch === undefined && (expireAtMs === null) !== (theirAtMs === null))
    writer.command(expireAtMs === null ? ['PERSIST', key] : ['PEXPIREAT', key, expireAtMs]);
  else if (touch === undefined && expireAtMs !== null && Math.abs(expireAtMs - theirAtMs!) > 500)
    writer.command(['PEXPIREAT', key, expireAtMs]);
  return true;
}

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
