import { type Hash, createHash } from 'node:crypto';

import { type Reply, ReplyError } from '../../agent/resp';
import { escapeBytes } from '../bytes';
import { type Server, buffer, items, number, text } from './server';
import { type KeySummary } from './summary';

// Reads one value, however large, in pieces of bounded size.

const chunkBytes = 1024 * 1024;
const chunkElements = 1000;
/** Unordered elements up to here are read at once; more by cursor, which may show one twice. */
const atOnceMax = 5000;
const attemptsMax = 5;

const none: KeySummary = { type: 'none', size: 0, expiresAtMs: null, digest: '' };

/** The summary of a key of the selected database, whatever its type and size. */
export async function readKey(server: Server, key: Buffer): Promise<KeySummary> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readOnce(server, key);
    } catch (error) {
      // The key became another type, or went, while it was read.
      const isChange =
        error instanceof ReplyError && (error.code === 'WRONGTYPE' || /no such key/i.test(error.message));
      if (!isChange || attempt === attemptsMax) throw error;
    }
  }
}

async function readOnce(server: Server, key: Buffer): Promise<KeySummary> {
  const [type, expiresAtMs] = await Promise.all([server.call('TYPE', key).then(text), expiryOf(server, key)]);
  const hash = createHash('sha256');
  switch (type) {
    case 'none':
      return none;
    case 'string':
      return { type, expiresAtMs, size: await readString(server, key, hash), digest: hash.digest('hex') };
    case 'list':
      return { type, expiresAtMs, size: await readList(server, key, hash), digest: hash.digest('hex') };
    case 'zset':
      return { type, expiresAtMs, size: await readSortedSet(server, key, hash), digest: hash.digest('hex') };
    case 'stream':
      return { type, expiresAtMs, size: await readStream(server, key, hash), digest: hash.digest('hex') };
    case 'set':
      return { type, expiresAtMs, ...(await readSet(server, key)) };
    case 'hash':
      return { type, expiresAtMs, ...(await readHash(server, key)) };
    default:
      return { type, expiresAtMs, ...(await readDump(server, key)) };
  }
}

async function expiryOf(server: Server, key: Buffer): Promise<number | null> {
  if (server.tellsExpireTime) {
    const at = number(await server.call('PEXPIRETIME', key));
    return at < 0 ? null : at;
  }
  const [left, time] = await Promise.all([server.call('PTTL', key).then(number), server.call('TIME').then(items)]);
  return left < 0 ? null : number(time[0]) * 1000 + Math.floor(number(time[1]) / 1000) + left;
}

async function readString(server: Server, key: Buffer, hash: Hash): Promise<number> {
  const size = number(await server.call('STRLEN', key));
  for (let at = 0; at < size; at += chunkBytes) {
    hash.update(buffer(await server.call('GETRANGE', key, at, at + chunkBytes - 1)));
  }
  return size;
}

async function readList(server: Server, key: Buffer, hash: Hash): Promise<number> {
  for (let size = 0; ;) {
    const chunk = items(await server.call('LRANGE', key, size, size + chunkElements - 1));
    for (const element of chunk) feed(hash, buffer(element));
    size += chunk.length;
    if (chunk.length < chunkElements) return size;
  }
}

async function readSortedSet(server: Server, key: Buffer, hash: Hash): Promise<number> {
  for (let size = 0; ;) {
    const chunk = items(await server.call('ZRANGE', key, size, size + chunkElements - 1, 'WITHSCORES'));
    for (let i = 0; i < chunk.length; i += 2) {
      feed(hash, buffer(chunk[i]));
      // Versions write the same score with different digits.
      feed(hash, Buffer.from(String(scoreOf(text(chunk[i + 1])))));
    }
    size += chunk.length / 2;
    if (chunk.length < 2 * chunkElements) return size;
  }
}

function scoreOf(score: string): number {
  return score === 'inf' ? Infinity : score === '-inf' ? -Infinity : Number(score);
}

/** Entries and last ID. Groups are each region's own: what was delivered to whom is not merged (docs/architecture.md, "Streams"). */
async function readStream(server: Server, key: Buffer, hash: Hash): Promise<number> {
  let size = 0;
  for (let from = '-'; ;) {
    const chunk = items(await server.call('XRANGE', key, from, '+', 'COUNT', chunkElements)).map(items);
    for (const [id, fields] of chunk) {
      feed(hash, buffer(id));
      for (const part of items(fields ?? null)) feed(hash, buffer(part));
      hash.update('.');
    }
    size += chunk.length;
    if (chunk.length < chunkElements) break;
    from = `(${text(chunk.at(-1)?.[0])}`;
  }
  const info = mapOf(await server.call('XINFO', 'STREAM', key));
  hash.update(`last ${text(info.get('last-generated-id'))}`);
  return size;
}

async function readSet(server: Server, key: Buffer): Promise<{ size: number; digest: string }> {
  const size = number(await server.call('SCARD', key));
  const elements = new Unordered();
  if (size <= atOnceMax) {
    for (const member of items(await server.call('SMEMBERS', key))) elements.add([buffer(member)]);
  } else {
    await byCursor(server, 'SSCAN', key, (chunk) => {
      for (const member of chunk) elements.addOnce([buffer(member)]);
    });
  }
  return { size, digest: elements.digest() };
}

async function readHash(
  server: Server,
  key: Buffer,
): Promise<{ size: number; digest: string; fieldsExpireAtMs?: Map<string, number> }> {
  const size = number(await server.call('HLEN', key));
  const elements = new Unordered();
  const times = server.fieldsExpire ? new Map<string, number>() : undefined;
  const take = async (chunk: readonly Reply[], twice: boolean): Promise<void> => {
    const fields: Buffer[] = [];
    for (let i = 0; i < chunk.length; i += 2) {
      const pair = [buffer(chunk[i]), buffer(chunk[i + 1])] as const;
      if (twice) elements.addOnce(pair);
      else elements.add(pair);
      fields.push(pair[0]);
    }
    if (times === undefined) return;
    for (let i = 0; i < fields.length; i += chunkElements) {
      const some = fields.slice(i, i + chunkElements);
      const reply = items(await server.call('HPEXPIRETIME', key, 'FIELDS', some.length, ...some));
      reply.forEach((at, j) => {
        if (number(at) > 0) times.set(some[j]?.toString('latin1') ?? '', number(at));
      });
    }
  };
  if (size <= atOnceMax) await take(items(await server.call('HGETALL', key)), false);
  else await byCursor(server, 'HSCAN', key, (chunk) => take(chunk, true));
  return { size, digest: elements.digest(), fieldsExpireAtMs: times };
}

/** A type of a module: as the server would write it to a file, without the version and checksum at the end. */
async function readDump(server: Server, key: Buffer): Promise<{ size: number; digest: string }> {
  const reply = await server.call('DUMP', key);
  const payload = Buffer.isBuffer(reply) ? reply.subarray(0, -10) : Buffer.alloc(0);
  return { size: payload.length, digest: createHash('sha256').update(payload).digest('hex') };
}

async function byCursor(
  server: Server,
  command: 'SSCAN' | 'HSCAN',
  key: Buffer,
  take: (chunk: readonly Reply[]) => void | Promise<void>,
): Promise<void> {
  for (let cursor = '0'; ;) {
    const [next, chunk] = items(await server.call(command, key, cursor, 'COUNT', chunkElements));
    await take(items(chunk ?? null));
    cursor = text(next);
    if (cursor === '0') return;
  }
}

/** A digest of elements in no order: the exclusive or of their digests, for no element is there twice. */
class Unordered {
  private readonly sum = Buffer.alloc(32);
  private seen: Set<string> | undefined;

  add(parts: readonly Buffer[]): void {
    this.mix(digestOf(parts));
  }

  /** For elements that may be offered twice; known by the first part. */
  addOnce(parts: readonly Buffer[]): void {
    const mark = digestOf(parts.slice(0, 1)).toString('latin1', 0, 16);
    this.seen ??= new Set();
    if (this.seen.has(mark)) return;
    this.seen.add(mark);
    this.add(parts);
  }

  digest(): string {
    return this.sum.toString('hex');
  }

  private mix(digest: Buffer): void {
    for (let i = 0; i < digest.length; i++) this.sum[i] = (this.sum[i] ?? 0) ^ (digest[i] ?? 0);
  }
}

function digestOf(parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) feed(hash, part);
  return hash.digest();
}

/** With its length before it: 'ab','c' and 'a','bc' are not the same. */
function feed(hash: Hash, part: Buffer): void {
  hash.update(`${part.length}:`).update(part);
}

function mapOf(reply: Reply): Map<string, Reply> {
  const flat = items(reply);
  const map = new Map<string, Reply>();
  for (let i = 0; i + 1 < flat.length; i += 2) map.set(text(flat[i]), flat[i + 1] ?? null);
  return map;
}

// --- For a person who asked to see it ----------------------------------------------------------------------------------

const shownBytes = 100;
const shownElements = 10;

/** The beginning of a value. */
export async function previewOf(server: Server, key: Buffer, type: string): Promise<string> {
  const last = shownElements - 1;
  const commands: Record<string, () => Promise<Reply>> = {
    string: () => server.call('GETRANGE', key, 0, shownBytes - 1),
    list: () => server.call('LRANGE', key, 0, last),
    zset: () => server.call('ZRANGE', key, 0, last, 'WITHSCORES'),
    set: async () => items(await server.call('SSCAN', key, 0, 'COUNT', shownElements))[1] ?? null,
    hash: async () => items(await server.call('HSCAN', key, 0, 'COUNT', shownElements))[1] ?? null,
    stream: () => server.call('XRANGE', key, '-', '+', 'COUNT', shownElements),
  };
  try {
    return show((await commands[type]?.()) ?? null);
  } catch (error) {
    if (error instanceof ReplyError) return `(${error.message})`;
    throw error;
  }
}

function show(reply: Reply): string {
  if (Buffer.isBuffer(reply)) {
    return reply.length > shownBytes ? `${escapeBytes(reply.subarray(0, shownBytes))}…` : escapeBytes(reply);
  }
  if (!Array.isArray(reply)) return reply === null ? '' : reply instanceof ReplyError ? reply.message : String(reply);
  const shown = reply.slice(0, 2 * shownElements).map(show);
  return `[${shown.join(', ')}${reply.length > shown.length ? ', …' : ''}]`;
}
