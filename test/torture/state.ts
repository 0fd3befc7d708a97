/** Reads what a region holds, as the checker wants it. */
import { CommandWriter, RedisConnection, type Reply, ReplyError } from '../../agent/resp';
import { loopback } from '../../local/ports';
import { type KeyState, type RegionState } from './checker';
import { type Endpoint } from './client';
import { familyOf } from './families';
import { type History } from './history';
import { clashing, libraries, markOf } from './libraries';

const batch = 500;

/** All keys of the families, in these databases, and libraries of functions. */
export async function readRegion(
  endpoint: Endpoint,
  databases: readonly number[],
  history: History,
): Promise<RegionState> {
  const { port, password } = endpoint;
  const connection = await RedisConnection.connect({ host: loopback, port, password });
  connection.on('close', () => undefined);
  try {
    const state = new Map<string, KeyState>();
    const elements = await readLibraries(connection);
    if (elements.size > 0) state.set(libraries.id, { type: 'library', elements, expiresMs: null });
    const estimated = tokensOf(history, 'hll');
    for (const db of databases) {
      await connection.call('SELECT', db);
      const names = (await scan(connection)).filter((name) => familyOf(`${db}/${name}`) !== undefined);
      for (let i = 0; i < names.length; i += batch)
        for (const [name, key] of await readKeys(connection, names.slice(i, i + batch), db, { history, estimated }))
          state.set(`${db}/${name}`, key);
    }
    return state;
  } finally {
    connection.close();
  }
}

async function readLibraries(connection: RedisConnection): Promise<Map<string, string>> {
  const found = await connection.call('FUNCTION', 'LIST', 'WITHCODE');
  // Before Redis 7.0.
  if (found instanceof ReplyError) return new Map();
  const all = list(found).map((entry): [string, string] => {
    const fields = list(entry);
    const field = (name: string): string =>
      text(fields[fields.findIndex((at, i) => i % 2 === 0 && text(at) === name) + 1]);
    return [field('library_name'), markOf(field('library_code'))];
  });
  return new Map(all.filter(([name]) => !name.startsWith(clashing)));
}

async function scan(connection: RedisConnection): Promise<string[]> {
  const names = new Set<string>();
  for (let cursor = '0'; ;) {
    const [next, found] = list(await connection.call('SCAN', cursor, 'COUNT', batch));
    for (const name of list(found)) names.add(text(name));
    cursor = text(next);
    if (cursor === '0') return [...names];
  }
}

async function readKeys(
  connection: RedisConnection,
  names: readonly string[],
  db: number,
  { history, estimated }: { history: History; estimated: ReadonlyMap<string, readonly string[]> },
): Promise<[string, KeyState][]> {
  const commands = names.flatMap((name) => [
    ['TYPE', name],
    ['PTTL', name],
  ]);
  const [time, ...heads] = await all(connection, [['TIME'], ...commands]);
  // Our own clock may be read long after the reply was made.
  const readMs = history.at(Number(text(list(time)[0])) * 1000 + Number(text(list(time)[1])) / 1000);
  const types = names.map((_, i) => text(heads[2 * i]));
  const values = await all(
    connection,
    names.map((name, i) => readCommand(types[i]!, name)),
  );
  const found: [string, KeyState][] = [];
  for (const [i, name] of names.entries()) {
    const type = types[i]!;
    const ttl = Number(heads[2 * i + 1]);
    if (type === 'none' || values[i] instanceof ReplyError) continue;
    const tokens = estimated.get(`${db}/${name}`);
    const elements =
      tokens === undefined ? elementsOf(name, type, values[i]!) : await estimatedIn(connection, name, tokens);
    found.push([name, { type, elements, expiresMs: ttl < 0 ? null : readMs + ttl }]);
  }
  return found;
}

function readCommand(type: string, name: string): string[] {
  switch (type) {
    case 'string':
      return ['GET', name];
    case 'hash':
      return ['HGETALL', name];
    case 'set':
      return ['SMEMBERS', name];
    case 'zset':
      return ['ZRANGE', name, '0', '-1', 'WITHSCORES'];
    case 'list':
      return ['LRANGE', name, '0', '-1'];
    case 'stream':
      return ['XRANGE', name, '-', '+'];
    default:
      return ['EXISTS', name];
  }
}

function elementsOf(name: string, type: string, value: Reply): Map<string, string> {
  const family = name.slice(0, name.indexOf(':'));
  if (type === 'string') {
    if (!Buffer.isBuffer(value)) return new Map();
    if (family === 'bits') return bitsOf(value);
    if (family === 'append')
      return new Map(
        value
          .toString()
          .split('|')
          .slice(0, -1)
          .map((token) => [token, '']),
      );
    return new Map([['', value.toString()]]);
  }
  const items = list(value);
  if (type === 'set' || type === 'list') return new Map(items.map((item) => [text(item), '']));
  if (type === 'stream')
    return new Map(
      items.map((entry) => {
        const [id, fields] = list(entry);
        return [text(list(fields)[1]), text(id)];
      }),
    );
  const pairs = new Map<string, string>();
  for (let i = 0; i + 1 < items.length; i += 2) {
    const second = text(items[i + 1]);
    // Where a place is rounded to is Redis' affair; that it is the same everywhere has been compared.
    pairs.set(text(items[i]), family === 'geo' ? '' : type === 'zset' ? String(Number(second)) : second);
  }
  return pairs;
}

function bitsOf(bytes: Buffer): Map<string, string> {
  const bits = new Map<string, string>();
  for (let i = 0; i < bytes.length * 8; i++) if ((bytes[i >> 3]! & (128 >> (i & 7))) !== 0) bits.set(String(i), '1');
  return bits;
}

/** Which tokens a HyperLogLog has in it: those that change nothing when they are added once more. */
async function estimatedIn(
  connection: RedisConnection,
  name: string,
  tokens: readonly string[],
): Promise<Map<string, string>> {
  const there = new Map<string, string>();
  for (let i = 0; i < tokens.length; i += batch) {
    const some = tokens.slice(i, i + batch);
    const replies = await all(
      connection,
      some.map((token) => ['PFADD', name, token]),
    );
    replies.forEach((reply, j) => {
      if (reply === 0) there.set(some[j]!, '');
    });
  }
  return there;
}

/** What was surely given to the keys of a family. */
function tokensOf(history: History, family: string): Map<string, string[]> {
  const tokens = new Map<string, string[]>();
  for (const { sure, effects } of history.ops) {
    if (!sure) continue;
    for (const effect of effects) {
      if (effect.kind !== 'give' || familyOf(effect.key)?.name !== family) continue;
      const of = tokens.get(effect.key);
      if (of === undefined) tokens.set(effect.key, [effect.token]);
      else of.push(effect.token);
    }
  }
  return tokens;
}

async function all(connection: RedisConnection, commands: readonly string[][]): Promise<Reply[]> {
  const writer = new CommandWriter(1024);
  for (const command of commands) writer.command(command);
  return connection.pipeline(writer.take(), commands.length);
}

function list(reply: Reply | undefined): Reply[] {
  if (!Array.isArray(reply)) throw new TypeError('a list was expected from Redis');
  return reply;
}

function text(reply: Reply | undefined): string {
  if (Buffer.isBuffer(reply)) return reply.toString();
  if (typeof reply === 'string' || typeof reply === 'number') return String(reply);
  throw new TypeError('a text was expected from Redis');
}
