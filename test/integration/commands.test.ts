import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { Mesh } from './mesh';

// Each command whose result depends on keys: in a quiet mesh, and beside writes to the same keys in the other region.

type Argv = (string | number | Buffer)[];
interface Row {
  /** Makes what the command needs, in alpha, before both regions have all of it. */
  before?: Argv[];
  /** Runs in alpha. */
  run: Argv[];
  /** Runs in beta at the same time. */
  beside: Argv[];
}

/** Keys are `a`, `b`, `to` …, each row's its own. */
const rows: Record<string, Row> = {
  SET: { run: [['SET', 'a', 1]], beside: [['SET', 'a', 2]] },
  SETNX: { run: [['SETNX', 'a', 1]], beside: [['SETNX', 'a', 2]] },
  GETSET: { before: [['SET', 'a', 0]], run: [['GETSET', 'a', 1]], beside: [['INCR', 'a']] },
  GETDEL: { before: [['SET', 'a', 0]], run: [['GETDEL', 'a']], beside: [['INCR', 'a']] },
  'GETEX EX': { before: [['SET', 'a', 0]], run: [['GETEX', 'a', 'EX', 1000]], beside: [['SET', 'a', 1]] },
  'GETEX PERSIST': {
    before: [['SETEX', 'a', 900, 0]],
    run: [['GETEX', 'a', 'PERSIST']],
    beside: [['EXPIRE', 'a', 800]],
  },
  MSET: { run: [['MSET', 'a', 1, 'b', 2]], beside: [['SET', 'b', 3]] },
  MSETNX: { run: [['MSETNX', 'a', 1, 'b', 2]], beside: [['HSET', 'b', 'f', 3]] },
  APPEND: { before: [['SET', 'a', 'x']], run: [['APPEND', 'a', 'y']], beside: [['APPEND', 'a', 'z']] },
  SETRANGE: { before: [['SET', 'a', 'xxx']], run: [['SETRANGE', 'a', 1, 'y']], beside: [['SETRANGE', 'a', 2, 'z']] },
  SETBIT: { run: [['SETBIT', 'a', 3, 1]], beside: [['SETBIT', 'a', 5, 1]] },
  BITFIELD: { run: [['BITFIELD', 'a', 'INCRBY', 'u8', 0, 3]], beside: [['BITFIELD', 'a', 'SET', 'u8', 8, 9]] },
  BITOP: {
    before: [
      ['SET', 'a', 'abc'],
      ['SET', 'b', 'def'],
    ],
    run: [['BITOP', 'XOR', 'to', 'a', 'b']],
    beside: [
      ['SET', 'a', 'xyz'],
      ['SETBIT', 'to', 5, 1],
    ],
  },
  INCRBYFLOAT: { before: [['SET', 'a', 1]], run: [['INCRBYFLOAT', 'a', 0.5]], beside: [['SET', 'a', 3]] },
  PFMERGE: {
    before: [
      ['PFADD', 'a', 1, 2],
      ['PFADD', 'b', 3],
    ],
    run: [
      ['PFMERGE', 'to', 'a', 'b'],
      ['PFCOUNT', 'to'],
    ],
    beside: [
      ['PFADD', 'a', 4],
      ['PFADD', 'to', 9],
    ],
  },
  RENAME: {
    before: [
      ['SET', 'a', 1],
      ['SET', 'to', 2],
    ],
    run: [['RENAME', 'a', 'to']],
    beside: [['SET', 'a', 3]],
  },
  'RENAME of a hash': {
    before: [['HSET', 'a', 'f', 1]],
    run: [['RENAME', 'a', 'to']],
    beside: [
      ['HSET', 'a', 'g', 3],
      ['HSET', 'to', 'h', 1],
    ],
  },
  'RENAME with a time to live': {
    before: [['SETEX', 'a', 900, 1]],
    run: [['RENAME', 'a', 'to']],
    beside: [['EXPIRE', 'a', 500]],
  },
  RENAMENX: { before: [['SADD', 'a', 1]], run: [['RENAMENX', 'a', 'to']], beside: [['SADD', 'to', 3]] },
  COPY: {
    before: [['SADD', 'a', 1]],
    run: [['COPY', 'a', 'to']],
    beside: [
      ['SADD', 'a', 2],
      ['SADD', 'to', 3],
    ],
  },
  'COPY REPLACE': {
    before: [
      ['SADD', 'a', 1],
      ['SET', 'to', 1],
    ],
    run: [['COPY', 'a', 'to', 'REPLACE']],
    beside: [['APPEND', 'to', 'x']],
  },
  'COPY DB': {
    before: [['SADD', 'a', 1]],
    run: [['COPY', 'a', 'to', 'DB', 1]],
    beside: [
      ['SELECT', 1],
      ['SADD', 'to', 3],
      ['SELECT', 0],
      ['SADD', 'a', 4],
    ],
  },
  MOVE: {
    before: [['SADD', 'a', 1]],
    run: [['MOVE', 'a', 1]],
    beside: [
      ['SELECT', 1],
      ['SADD', 'a', 3],
      ['SELECT', 0],
      ['SADD', 'a', 4],
    ],
  },
  'MOVE of a string': { before: [['SET', 'a', 1]], run: [['MOVE', 'a', 1]], beside: [['INCR', 'a']] },
  'SORT STORE': {
    before: [['SADD', 'a', 3, 1, 2]],
    run: [['SORT', 'a', 'STORE', 'to']],
    beside: [
      ['SADD', 'a', 7],
      ['SET', 'to', 1],
    ],
  },
  'SORT BY': {
    before: [
      ['SADD', 'a', 1, 2],
      ['MSET', 'w_1', 9, 'w_2', 8],
    ],
    run: [['SORT', 'a', 'BY', 'w_*', 'STORE', 'to']],
    beside: [['SREM', 'a', 1]],
  },
  EXPIRE: { before: [['SET', 'a', 1]], run: [['EXPIRE', 'a', 900]], beside: [['EXPIRE', 'a', 500]] },
  'EXPIRE GT': {
    before: [['SETEX', 'a', 100, 1]],
    run: [['EXPIREAT', 'a', 3_000_000_000]],
    beside: [['PERSIST', 'a']],
  },
  'EXPIRE in the past': {
    before: [
      ['SET', 'a', 1],
      ['HSET', 'b', 'f', 1],
    ],
    run: [
      ['EXPIRE', 'a', -1],
      ['EXPIRE', 'b', -1],
    ],
    beside: [
      ['SET', 'a', 2],
      ['HSET', 'b', 'g', 1],
    ],
  },
  SPOP: { before: [['SADD', 'a', 1, 2, 3, 4, 5]], run: [['SPOP', 'a']], beside: [['SADD', 'a', 6]] },
  'SPOP n': { before: [['SADD', 'a', 1, 2, 3, 4, 5]], run: [['SPOP', 'a', 3]], beside: [['SPOP', 'a', 2]] },
  'SPOP all': { before: [['SADD', 'a', 1, 2, 3]], run: [['SPOP', 'a', 9]], beside: [['SADD', 'a', 6]] },
  SMOVE: {
    before: [['SADD', 'a', 1, 2]],
    run: [['SMOVE', 'a', 'b', 1]],
    beside: [
      ['SREM', 'a', 1],
      ['SADD', 'b', 7],
    ],
  },
  SINTERSTORE: {
    before: [
      ['SADD', 'a', 1, 2],
      ['SADD', 'b', 2, 3],
    ],
    run: [['SINTERSTORE', 'to', 'a', 'b']],
    beside: [
      ['SADD', 'a', 3],
      ['SADD', 'to', 9],
    ],
  },
  SUNIONSTORE: { before: [['SADD', 'a', 1, 2]], run: [['SUNIONSTORE', 'to', 'a', 'b']], beside: [['SADD', 'b', 3]] },
  SDIFFSTORE: { before: [['SADD', 'a', 1, 2]], run: [['SDIFFSTORE', 'a', 'a', 'b']], beside: [['SREM', 'a', 1]] },
  'an empty SINTERSTORE': {
    before: [
      ['SADD', 'a', 1],
      ['SADD', 'to', 5],
    ],
    run: [['SINTERSTORE', 'to', 'a', 'b']],
    beside: [['SADD', 'to', 6]],
  },
  'ZADD GT': {
    before: [['ZADD', 'a', 5, 'm']],
    run: [['ZADD', 'a', 'GT', 7, 'm', 3, 'n']],
    beside: [['ZADD', 'a', 'LT', 2, 'm']],
  },
  'ZADD INCR': {
    before: [['ZADD', 'a', 5, 'm']],
    run: [['ZADD', 'a', 'INCR', 7, 'm']],
    beside: [['ZINCRBY', 'a', 2, 'm']],
  },
  ZPOPMIN: { before: [['ZADD', 'a', 1, 'm', 2, 'n']], run: [['ZPOPMIN', 'a']], beside: [['ZADD', 'a', 0, 'o']] },
  ZREMRANGEBYRANK: {
    before: [['ZADD', 'a', 1, 'm', 2, 'n']],
    run: [['ZREMRANGEBYRANK', 'a', 0, 0]],
    beside: [['ZADD', 'a', 0, 'o']],
  },
  ZREMRANGEBYSCORE: {
    before: [['ZADD', 'a', 1, 'm', 2, 'n']],
    run: [['ZREMRANGEBYSCORE', 'a', 0, 1]],
    beside: [['ZADD', 'a', 1, 'o']],
  },
  ZREMRANGEBYLEX: {
    before: [['ZADD', 'a', 0, 'm', 0, 'n']],
    run: [['ZREMRANGEBYLEX', 'a', '[a', '[m']],
    beside: [['ZADD', 'a', 0, 'b']],
  },
  ZUNIONSTORE: {
    before: [
      ['ZADD', 'a', 1, 'm'],
      ['ZADD', 'b', 2, 'm'],
    ],
    run: [['ZUNIONSTORE', 'to', 2, 'a', 'b', 'WEIGHTS', 2, 3]],
    beside: [
      ['ZADD', 'b', 7, 'n'],
      ['ZINCRBY', 'to', 1, 'm'],
    ],
  },
  ZINTERSTORE: {
    before: [
      ['ZADD', 'a', 1, 'm'],
      ['ZADD', 'b', 2, 'm'],
    ],
    run: [['ZINTERSTORE', 'to', 2, 'a', 'b']],
    beside: [['ZREM', 'b', 'm']],
  },
  ZDIFFSTORE: {
    before: [
      ['ZADD', 'a', 1, 'm', 2, 'n'],
      ['ZADD', 'b', 2, 'm'],
    ],
    run: [['ZDIFFSTORE', 'to', 2, 'a', 'b']],
    beside: [['ZREM', 'b', 'm']],
  },
  ZRANGESTORE: {
    before: [['ZADD', 'a', 1, 'm', 2, 'n']],
    run: [['ZRANGESTORE', 'to', 'a', 0, 0]],
    beside: [['ZADD', 'a', 0, 'l']],
  },
  GEOADD: { run: [['GEOADD', 'a', 1, 1, 'm']], beside: [['GEOADD', 'a', 2, 2, 'n', 2, 2, 'm']] },
  GEOSEARCHSTORE: {
    before: [['GEOADD', 'a', 1, 1, 'm']],
    run: [['GEOSEARCHSTORE', 'to', 'a', 'FROMLONLAT', 1, 1, 'BYRADIUS', 10, 'km']],
    beside: [['GEOADD', 'a', 1, 1, 'n']],
  },
  'GEORADIUS STORE': {
    before: [['GEOADD', 'a', 1, 1, 'm']],
    run: [['GEORADIUS', 'a', 1, 1, 10, 'km', 'STORE', 'to']],
    beside: [['GEOADD', 'a', 1, 1, 'n']],
  },
  HSETNX: { run: [['HSETNX', 'a', 'f', 1]], beside: [['HSETNX', 'a', 'f', 2]] },
  HINCRBYFLOAT: {
    before: [['HSET', 'a', 'f', 1]],
    run: [['HINCRBYFLOAT', 'a', 'f', 0.5]],
    beside: [['HSET', 'a', 'f', 3]],
  },
  'a script': {
    before: [
      ['SET', 'a', 1],
      ['SADD', 'b', 1, 2],
    ],
    run: [
      [
        'EVAL',
        "redis.call('INCR', KEYS[1]); redis.call('SPOP', KEYS[2]); redis.call('HSET', KEYS[3], 'f', redis.call('TIME')[1]); redis.call('DEL', KEYS[1])",
        3,
        'a',
        'b',
        'to',
      ],
    ],
    beside: [
      ['INCR', 'a'],
      ['HSET', 'to', 'g', 1],
    ],
  },
  'a script that fails behind its first write': {
    run: [['EVAL', "redis.call('SET', KEYS[1], 1); return redis.call('LPUSH', KEYS[1], 1)", 1, 'a']],
    beside: [['SET', 'a', 2]],
  },
  'a transaction': {
    before: [['SET', 'a', 1]],
    run: [['MULTI'], ['INCR', 'a'], ['HSET', 'b', 'f', 1], ['SADD', 'to', 1], ['RENAME', 'to', 'c'], ['EXEC']],
    beside: [
      ['INCR', 'a'],
      ['HSET', 'b', 'f', 2],
      ['SADD', 'c', 2],
    ],
  },
  DELEX: { before: [['SET', 'a', 1]], run: [['DELEX', 'a', 'IFEQ', 1]], beside: [['SET', 'a', 2]] },
  MSETEX: { run: [['MSETEX', 2, 'a', 1, 'b', 2, 'EX', 900]], beside: [['SET', 'b', 2]] },
  DELIFEQ: { before: [['SET', 'a', 1]], run: [['DELIFEQ', 'a', 1]], beside: [['SET', 'a', 2]] },
};

/** Which arguments are keys: those that are called so. */
const keyNames = new Set(['a', 'b', 'c', 'to', 'w_1', 'w_2', 'w_*']);

let mesh: Mesh;
let alpha: Redis;
let beta: Redis;
let known: [string, Row][];
beforeAll(async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
  [alpha, beta] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
  const info = await Promise.all(
    Object.entries(rows).map(async ([title, row]) => {
      const names = [...(row.before ?? []), ...row.run, ...row.beside].map(([name]) => String(name));
      const told = (await alpha.call('COMMAND', 'INFO', ...names)) as unknown[];
      return told.includes(null) ? [] : [[title, row] as [string, Row]];
    }),
  );
  known = info.flat();
});
afterAll(() => mesh?.stop());

/** Runs commands one after the other, with the row's own keys. */
async function run(client: Redis, prefix: string, commands: readonly Argv[] = []): Promise<void> {
  for (const [name, ...args] of commands) {
    const named = args.map((arg) => (keyNames.has(String(arg)) ? `${prefix}:${String(arg)}` : arg));
    // Some are to fail beside others: a key that is gone, another type.
    await client.call(String(name), ...named).catch(() => undefined);
  }
}

test('in a quiet mesh', async () => {
  for (const [title, row] of known) await run(alpha, `quiet:${title}`, row.before);
  await mesh.waitEqual();
  const before = await mesh.region('beta').status();
  for (const [title, row] of known) await run(alpha, `quiet:${title}`, row.run);
  expect(await mesh.waitEqual()).toBeGreaterThan(known.length);
  // Nothing met anything: nobody had to be told a key's state.
  expect((await mesh.region('beta').status()).conflicts).toEqual(before.conflicts);
});

test('beside writes to the same keys, while the link is cut', async () => {
  for (const [title, row] of known) await run(alpha, `apart:${title}`, row.before);
  await mesh.waitEqual();
  mesh.partition('alpha');
  try {
    for (const [title, row] of known) await run(alpha, `apart:${title}`, row.run);
    await sleep(50);
    for (const [title, row] of known) await run(beta, `apart:${title}`, row.beside);
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
});

test('beside writes to the same keys, in the same moment', async () => {
  for (let round = 0; round < 3; round++) {
    const prefix = (title: string): string => `beside ${round}:${title}`;
    for (const [title, row] of known) await run(alpha, prefix(title), row.before);
    await mesh.waitEqual();
    const clients = known.map(() => [mesh.region('alpha').client(), mesh.region('beta').client()] as const);
    await Promise.all(
      known.flatMap(([title, row], i) => [
        run(clients[i]![0], prefix(title), row.run),
        run(clients[i]![1], prefix(title), row.beside),
      ]),
    );
    for (const pair of clients) for (const client of pair) client.disconnect();
    await mesh.waitEqual();
  }
});

test('no link was stopped, and nothing was given up', async () => {
  for (const region of mesh.regions) expect((await region.status()).deadLetters).toBe(0);
});
