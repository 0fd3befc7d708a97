/** What a session asks of its Redis before it begins: role, history, cursors. */
import { encodeCommand, type RedisConnection, type Reply, ReplyError } from '../resp';
import { type Marker, type OwnKeys, parseHeartbeat, parseMarker } from '../stream/keys';
import { covers } from '../vector';
import { SessionError } from './context';

export interface ServerInfo {
  version: string;
  /** Of Valkey the same; empty for Redis. */
  valkey: string;
  role: 'primary' | 'replica';
  /** A replica's primary, if it is connected to one. */
  replId: string;
  /** The history before the last failover, up to `secondOffset`; all zeros for none. */
  replId2: string;
  /** The last offset that both histories share; −1 for none. */
  forkOffset: number;
  offset: number;
  loading: boolean;
  databases: number[];
  /** By its clock, Unix ms; 0 where it does not say. */
  timeMs: number;
  /** A full Redis removes keys (`maxmemory-policy`). */
  evicts: boolean;
}

/** Whether INFO's text says that Redis evicts. */
export function evicts(info: string): boolean {
  return !/^maxmemory_policy:(?:noeviction)?\r?$/m.test(info) && info.includes('maxmemory_policy:');
}

export async function readServerInfo(connection: RedisConnection): Promise<ServerInfo> {
  const reply = await connection.call('INFO');
  if (!Buffer.isBuffer(reply)) throw new Error(`INFO was refused: ${describe(reply)}`);
  const text = reply.toString('latin1');
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? '';
  const second = Number(field('second_repl_offset'));
  return {
    version: field('valkey_version') || field('redis_version'),
    valkey: field('valkey_version'),
    role: field('role') === 'master' ? 'primary' : 'replica',
    replId: field('master_replid'),
    replId2: field('master_replid2'),
    forkOffset: second > 0 ? second - 1 : -1,
    offset: Number(field('master_repl_offset')),
    loading: field('loading') === '1' || field('async_loading') === '1',
    databases: [...text.matchAll(/^db(\d+):/gm)].map((match) => Number(match[1])),
    timeMs: Math.floor(Number(field('server_time_usec')) / 1000),
    evicts: evicts(text),
  };
}

/**
 * The cursor. SWAPDB may have moved it, so that every database is looked at; of several, the one that has seen the
 * others counts, else the one in the lowest database.
 */
export async function readCursor(
  connection: RedisConnection,
  databases: readonly number[],
  { cursor }: OwnKeys,
): Promise<{ text: string | null; marker: Marker | null }> {
  let best: { text: string; marker: Marker } | null = null;
  let inZero: string | null = null;
  for (const db of new Set([0, ...databases])) {
    await connection.call('SELECT', db);
    const value = await connection.call('GET', cursor);
    // A region that takes its cursor for gone joins its mesh anew.
    if (value instanceof ReplyError)
      throw new SessionError('redis', `Redis does not tell the cursor: ${value.message}`);
    const text = Buffer.isBuffer(value) ? value.toString('latin1') : null;
    if (db === 0) inZero = text;
    const marker = text === null ? null : parseMarker(text);
    if (text !== null && marker !== null && (best === null || covers(marker.vector, best.marker.vector)))
      best = { text, marker };
  }
  await connection.call('SELECT', 0);
  return { text: inZero, marker: best?.marker ?? null };
}

/**
 * The rights without which a session does harm: where MULTI is refused the commands of a block run one by one, and again after the cursor is found where it was; where GET
 * is, the cursor seems not to be there; and of writes not one would be applied. Other rights are missed one command at a time, as dead letters, but for scripts: what a
 * stream lacks by them no letter tells.
 * @param needsScripts also these: on a node of a cluster each block is one
 * @returns what else is known to be refused, for the log
 * @throws SessionError which one Redis refuses
 */
export async function checkRights(
  connection: RedisConnection,
  { cursor, none }: OwnKeys,
  needsScripts = false,
): Promise<string | null> {
  // Of a key that is nobody's DEL changes nothing, and nothing of it is in the stream.
  const commands = [['SELECT', '0'], ['GET', cursor], ['MULTI'], ['EXEC'], ['DEL', none], SCRIPT];
  const replies = await connection.pipeline(Buffer.concat(commands.map(encodeCommand)), commands.length);
  // Of EXEC it is what an EXECABORT tells of.
  const refused = replies.findIndex((reply) => reply instanceof ReplyError && reply.message.includes('NOPERM'));
  if (refused < 0) return null;
  const what = `Redis refuses ${commands[refused]![0]} to the agent's user (${(replies[refused] as ReplyError).message}): docs/own-redis.md has the rules that it needs`;
  if (commands[refused] === SCRIPT && !needsScripts) return what;
  throw new SessionError('redis', what);
}

/** It does nothing. */
const SCRIPT = ['EVAL', 'return 0', '0'];

/** Unix ms of the heartbeat in Redis; 0: there is none. */
export async function readHeartbeat(connection: RedisConnection, { heartbeat }: OwnKeys): Promise<number> {
  const value = await connection.call('GET', heartbeat);
  return Buffer.isBuffer(value) ? parseHeartbeat(value.toString('latin1')) : 0;
}

function describe(reply: Reply): string {
  return reply instanceof Error ? reply.message : typeof reply;
}
