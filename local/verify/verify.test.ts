import { type Arg } from '../../agent/resp';
import { Cleanup, TestRedis, redisBinary, until } from '../testing';
import { type Comparison, type VerifyOptions, compareRegions } from './index';
import { type KeySummary, isSame } from './summary';

const cleanup = new Cleanup();
const hasFunctions = Number.parseFloat(redisBinary().version) >= 7;
let servers: [TestRedis, TestRedis, TestRedis];
beforeAll(async () => {
  servers = await Promise.all([TestRedis.start(cleanup), TestRedis.start(cleanup), TestRedis.start(cleanup)]);
});
beforeEach(async () => {
  await everywhere('FLUSHALL');
  if (hasFunctions) await everywhere('FUNCTION', 'FLUSH');
});
afterAll(() => cleanup.run());

const usual: VerifyOptions = { waitMs: 0, toleranceMs: 1000, missingIsEqual: false, limit: 100, values: false };

function compare(options: Partial<VerifyOptions> = {}): Promise<Comparison> {
  const endpoints = servers.map(({ port }, i) => ({ name: 'abc'.charAt(i), host: '127.0.0.1', port }));
  return compareRegions(endpoints, { ...usual, ...options });
}

async function everywhere(...args: Arg[]): Promise<void> {
  await Promise.all(servers.map((server) => server.call(...args)));
}

/** The keys that differ, as `db/key`. */
async function differing(options: Partial<VerifyOptions> = {}): Promise<string[]> {
  const { differences, equal } = await compare(options);
  expect(equal).toBe(differences.length === 0);
  return differences.map(({ db, key }) => `${db}/${key.toString()}`).sort();
}

test('empty servers are equal', async () => {
  expect(await compare()).toMatchObject({ equal: true, keys: 0, differing: 0 });
});

test('the same content is equal, in whatever order and form it came', async () => {
  const [a, b, c] = servers;
  await everywhere('SET', 'string', Buffer.from([0, 255, 13, 10]));
  await everywhere('SET', 'big', Buffer.alloc(3_000_000, 7));
  await everywhere('PFADD', 'hll', 'x', 'y');
  for (const [i, server] of servers.entries()) {
    // Each in another order, so that the servers hold them differently.
    const order = Array.from({ length: 700 }, (_, n) => (n + i * 211) % 700);
    await server.call('SADD', 'set', ...order);
    await server.call('SADD', 'small-set', 'p', 'q');
    await server.call('HSET', 'hash', ...order.flatMap((n) => [`f${n}`, n]));
    await server.call('ZADD', 'zset', ...order.flatMap((n) => [n / 3, `m${n}`]));
    await server.call('RPUSH', 'list', ...Array.from({ length: 3000 }, (_, n) => n));
    await server.call('XADD', 'stream', '5-1', 'f', 'v');
  }
  // Who has read what of it is each region's own.
  await a.call('XGROUP', 'CREATE', 'stream', 'g', '0');
  await a.call('XREADGROUP', 'GROUP', 'g', 'me', 'STREAMS', 'stream', '>');
  await a.call('HSET', 'small', 'x', 1, 'y', 2);
  await b.call('HSET', 'small', 'y', 2, 'x', 1);
  await c.call('HSET', 'small', 'y', 1, 'x', 1, 'y', 2);
  // Once large, then small again: the server keeps the larger form.
  await a.call('SADD', 'grown', ...Array.from({ length: 1000 }, (_, n) => `long-${n}`));
  await a.call('DEL', 'grown');
  await a.call('SADD', 'grown', 1, 2, 'x'.repeat(100));
  await a.call('SREM', 'grown', 'x'.repeat(100));
  await b.call('SADD', 'grown', 2, 1);
  await c.call('SADD', 'grown', 1, 2);
  expect(await compare()).toMatchObject({ equal: true, keys: 11, differing: 0 });
});

// Each plants one difference in the last server, and names the key.
const planted: [what: string, equal: Arg[][], different: Arg[][]][] = [
  ['a byte of a string', [['SET', 'k', 'abc']], [['SET', 'k', 'abd']]],
  ['a byte of a large string', [['SETRANGE', 'k', 2_999_999, 'x']], [['SETRANGE', 'k', 1_500_000, 'x']]],
  ['the order of a list', [['RPUSH', 'k', 1, 2]], [['LMOVE', 'k', 'k', 'LEFT', 'RIGHT']]],
  [
    'where one element ends and the next begins',
    [['RPUSH', 'k', 'ab', 'c']],
    [
      ['LTRIM', 'k', 1, 0],
      ['RPUSH', 'k', 'a', 'bc'],
    ],
  ],
  [
    'a member of a set',
    [['SADD', 'k', 1, 2]],
    [
      ['SREM', 'k', 2],
      ['SADD', 'k', 3],
    ],
  ],
  ['a field of a hash', [['HSET', 'k', 'f', 1]], [['HSET', 'k', 'f', 2]]],
  ['a score', [['ZADD', 'k', 0.1, 'm']], [['ZADD', 'k', 0.2, 'm']]],
  ['an entry of a stream', [['XADD', 'k', '1-1', 'f', 'v']], [['XADD', 'k', '2-1', 'f', 'v']]],
  ['the last ID of a stream', [['XADD', 'k', '1-1', 'f', 'v']], [['XSETID', 'k', '9-9']]],
  [
    'the type',
    [['SET', 'k', 'v']],
    [
      ['DEL', 'k'],
      ['SADD', 'k', 'v'],
    ],
  ],
  ['a time to live', [['SET', 'k', 'v', 'PX', 100_000]], [['PEXPIRE', 'k', 103_000]]],
  ['that there is one', [['SET', 'k', 'v', 'PX', 100_000]], [['PERSIST', 'k']]],
  ['a key that is missing', [['SET', 'k', 'v']], [['DEL', 'k']]],
];

test.each(planted)('finds %s', async (_, equal, different) => {
  await everywhere('SET', 'other', 'same');
  for (const command of equal) await everywhere(...command);
  expect(await differing()).toEqual([]);
  for (const command of different) await servers[2].call(...command);
  expect(await differing()).toEqual(['0/k']);
});

test('finds a difference among many elements of a collection', async () => {
  const members = Array.from({ length: 20_000 }, (_, n) => n);
  await everywhere('SADD', 'set', ...members);
  await everywhere('HSET', 'hash', ...members.flatMap((n) => [n, n]));
  await everywhere('RPUSH', 'list', ...members);
  await everywhere('ZADD', 'zset', ...members.flatMap((n) => [n, n]));
  expect(await differing()).toEqual([]);
  await servers[1].call('SREM', 'set', 12_345);
  await servers[1].call('SADD', 'set', 'another');
  await servers[1].call('HSET', 'hash', 12_345, 'another');
  await servers[1].call('LSET', 'list', 12_345, 'another');
  await servers[1].call('ZADD', 'zset', 12_345.5, 12_345);
  expect(await differing()).toEqual(['0/hash', '0/list', '0/set', '0/zset']);
});

test('finds another time to live of a field, where the server has such', async () => {
  await everywhere('HSET', 'small', 'f', 1, 'g', 2);
  await everywhere('HSET', 'large', ...Array.from({ length: 6000 }, (_, n) => [`f${n}`, n]).flat());
  if (((await servers[0].call('COMMAND', 'INFO', 'HPEXPIRE')) as unknown[])[0] === null) return; // before Redis 7.4
  for (const key of ['small', 'large']) await everywhere('HPEXPIRE', key, 100_000, 'FIELDS', 1, 'f');
  for (const key of ['small', 'large']) await everywhere('HPEXPIRE', key, 100_000, 'FIELDS', 1, 'f1');
  expect(await differing()).toEqual([]);
  await servers[1].call('HPEXPIRE', 'small', 200_000, 'FIELDS', 1, 'f');
  await servers[2].call('HPERSIST', 'large', 'FIELDS', 1, 'f1');
  expect(await differing()).toEqual(['0/large', '0/small']);
});

test('finds a key that only one region has, in whatever database', async () => {
  await servers[1].call('SET', 'only-b', 1);
  await servers[2].call('SELECT', 9);
  await servers[2].call('SET', 'only-c', 1);
  await servers[2].call('SELECT', 0);
  const comparison = await compare();
  expect(comparison).toMatchObject({ equal: false, keys: 2, differing: 2 });
  expect(await differing()).toEqual(['0/only-b', '9/only-c']);
});

test('times to live may differ by the tolerance', async () => {
  const at = Date.now() + 100_000;
  for (const [i, server] of servers.entries()) await server.call('SET', 'k', 'v', 'PXAT', at + i * 400);
  expect(await differing()).toEqual([]);
  expect(await differing({ toleranceMs: 500 })).toEqual(['0/k']);
});

test("our own keys don't count", async () => {
  await servers[0].call('SET', 'meridian:heartbeat', 1);
  await servers[1].call('SET', 'meridian:heartbeat', 2);
  await everywhere('SET', 'm', 'shorter than the prefix');
  expect(await compare()).toMatchObject({ equal: true, keys: 1 });
});

test('in a cache a key may be missing, but not be another', async () => {
  await everywhere('SET', 'evicted', 1);
  await everywhere('SET', 'other', 1);
  await servers[0].call('DEL', 'evicted');
  await servers[1].call('SET', 'other', 2);
  expect(await differing({ missingIsEqual: true })).toEqual(['0/other']);
});

test('waits for what is on its way, and no longer than needed', async () => {
  await everywhere('SET', 'k', 1);
  await servers[0].call('SET', 'k', 2);
  const startedAt = performance.now();
  const waiting = compare({ waitMs: 60_000 });
  setTimeout(() => void Promise.all([servers[1].call('SET', 'k', 2), servers[2].call('SET', 'k', 2)]), 300);
  expect(await waiting).toMatchObject({ equal: true });
  expect(performance.now() - startedAt).toBeLessThan(30_000);
});

test('tells how keys differ, and the value only when asked', async () => {
  await everywhere('SET', 'k', 'secret');
  await servers[1].call('DEL', 'k');
  await servers[2].call('RPUSH', 'l', 'x');
  await servers[2].call('PEXPIRE', 'l', 50_000);
  const { differences } = await compare();
  expect(JSON.stringify(differences)).not.toContain('secret');
  const [k, l] = [...differences].sort((a, b) => a.key.compare(b.key));
  expect(k?.regions.map(({ name, type, size }) => [name, type, size])).toEqual([
    ['a', 'string', 6],
    ['b', 'none', 0],
    ['c', 'string', 6],
  ]);
  expect(l?.regions[2]?.expiresAtMs).toBeGreaterThan(Date.now());
  const shown = await compare({ values: true });
  expect(JSON.stringify(shown.differences)).toContain('secret');
});

const when = hasFunctions ? describe : describe.skip;
const why = hasFunctions ? '' : ` (skipped: ${redisBinary().flavour} ${redisBinary().version} has none)`;

when(`libraries of functions${why}`, () => {
  const code = (name: string, result: string, functions = [name]): string =>
    [
      `#!lua name=${name}`,
      ...functions.map((f) => `redis.register_function('${f}', function() return '${result}' end)`),
    ].join('\n');
  const load = (name: string, result: string): [string, string, string, string] => [
    ...(['FUNCTION', 'LOAD', 'REPLACE'] as const),
    code(name, result),
  ];

  test('are equal, in whatever order they were loaded', async () => {
    await everywhere('SET', 'k', 1);
    for (const name of ['one', 'two']) await servers[0].call(...load(name, name));
    for (const server of servers.slice(1)) for (const name of ['two', 'one']) await server.call(...load(name, name));
    const { equal, keys, libraries } = await compare();
    expect({ equal, keys, libraries }).toEqual({
      equal: true,
      keys: 1,
      libraries: { compared: 2, differing: 0, differences: [], without: [] },
    });
  });

  test('differ where a region lacks one, or has other code; a cache is no exception, and the code is not told', async () => {
    await everywhere(...load('same', 'same'));
    for (const server of servers.slice(1)) await server.call(...load('missing', 'secret'));
    await everywhere(...load('other', 'secret'));
    await servers[2].call(...load('other', 'SECRET'));
    for (const options of [{}, { missingIsEqual: true, values: true }]) {
      const comparison = await compare(options);
      expect(comparison).toMatchObject({ equal: false, keys: 0, differing: 0, differences: [] });
      const { libraries } = comparison;
      expect(libraries).toMatchObject({ compared: 3, differing: 2, without: [] });
      const [missing, other] = libraries.differences;
      const size = code('missing', 'secret').length;
      expect(missing).toMatchObject({
        name: 'missing',
        regions: [
          { name: 'a', engine: 'none', size: 0, functions: 0, digest: '' },
          { name: 'b', engine: 'LUA', size, functions: 1 },
          { name: 'c', engine: 'LUA', size, functions: 1 },
        ],
      });
      expect(other?.name).toBe('other');
      const [a, b, c] = other!.regions.map(({ digest }) => digest);
      expect([a === b, a === c]).toEqual([true, false]);
      expect(JSON.stringify(comparison).toLowerCase()).not.toContain('secret');
      expect(JSON.stringify(comparison)).not.toContain('register_function');
    }
  });

  test('are looked at again, as keys are, and no longer than needed', async () => {
    await servers[0].call(...load('lib', '1'));
    const startedAt = performance.now();
    const waiting = compare({ waitMs: 60_000 });
    setTimeout(() => void Promise.all(servers.slice(1).map((server) => server.call(...load('lib', '1')))), 300);
    expect(await waiting).toMatchObject({ equal: true, libraries: { compared: 1, differing: 0 } });
    expect(performance.now() - startedAt).toBeLessThan(30_000);
  });

  test('no more are listed than asked, and all are counted', async () => {
    for (let i = 0; i < 5; i++) await servers[1].call(...load(`lib${i}`, '1'));
    const { libraries } = await compare({ limit: 2 });
    expect(libraries.differences.map(({ name }) => name)).toEqual(['lib0', 'lib1']);
    expect(libraries).toMatchObject({ compared: 5, differing: 5 });
  });

  test('a server that has none is left out', async () => {
    const own = new Cleanup();
    try {
      const without = await TestRedis.start(own, ['--rename-command', 'FUNCTION', '']);
      for (const server of servers.slice(0, 2)) await server.call(...load('lib', '1'));
      const endpoints = [servers[0], servers[1], without].map(({ port }, i) => ({
        name: 'abz'.charAt(i),
        host: '127.0.0.1',
        port,
      }));
      const expected = { compared: 1, differing: 0, differences: [], without: ['z'] };
      expect(await compareRegions(endpoints, usual)).toMatchObject({ equal: true, libraries: expected });
      await servers[1].call('FUNCTION', 'DELETE', 'lib');
      expect(await compareRegions(endpoints, usual)).toMatchObject({
        equal: false,
        libraries: {
          ...expected,
          differing: 1,
          differences: [{ name: 'lib', regions: [{ name: 'a' }, { name: 'b' }] }],
        },
      });
    } finally {
      await own.run();
    }
  });
});

test('lists no more than asked, and counts all', async () => {
  await servers[0].call('MSET', ...Array.from({ length: 2000 }, (_, i) => [`k${i}`, i]).flat());
  const comparison = await compare({ limit: 3 });
  expect(comparison.differences).toHaveLength(3);
  expect(comparison).toMatchObject({ keys: 2000, differing: 2000, differencesAreMore: false });
});

test('a server that is gone, or wants a password, can not be compared', async () => {
  const endpoints = [
    { name: 'a', host: '127.0.0.1', port: servers[0].port },
    { name: 'gone', host: '127.0.0.1', port: 1 },
  ];
  await expect(compareRegions(endpoints, usual)).rejects.toMatchObject({
    code: 'COULD_NOT_COMPARE',
    exitCode: 2,
    message: expect.stringMatching(/^The regions can't be compared: gone \(127\.0\.0\.1:1\) does not take part/),
  });
  await servers[1].call('CONFIG', 'SET', 'requirepass', 'x');
  try {
    await expect(compare()).rejects.toMatchObject({ code: 'COULD_NOT_COMPARE' });
  } finally {
    await servers[1].call('CONFIG', 'SET', 'requirepass', '');
  }
});

test('many keys take one command each batch, and bounded memory', async () => {
  const script = "for i = 1, 60000 do redis.call('SET', 'k' .. i, i) end";
  await everywhere('EVAL', script, 0);
  await servers[2].call('SET', 'k54321', 'x');
  await everywhere('CONFIG', 'RESETSTAT');
  expect(await differing()).toEqual(['0/k54321']);
  const stats = String(await servers[0].call('INFO', 'commandstats'));
  expect(Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1])).toBeLessThan(400);
});

test('writes nothing', async () => {
  await everywhere('SET', 'k', 'v');
  await everywhere('HSET', 'h', 'f', 'v');
  const dirty = async (): Promise<string | undefined> =>
    /rdb_changes_since_last_save:(\d+)/.exec(String(await servers[0].call('INFO', 'persistence')))?.[1];
  const before = await dirty();
  await compare();
  await until('the same', async () => (await dirty()) === before);
});

describe('sameness', () => {
  const key: KeySummary = { type: 'hash', size: 1, expiresAtMs: null, digest: 'd' };
  const options = { toleranceMs: 1000, missingIsEqual: false };

  test('a key that expires in this moment may be gone in some regions already', () => {
    const missing = { ...key, type: 'none' };
    expect(isSame([{ ...key, expiresAtMs: 5000 }, missing], options, 4500)).toBe(true);
    expect(isSame([{ ...key, expiresAtMs: 9000 }, missing], options, 4500)).toBe(false);
    expect(isSame([key, missing], options, 4500)).toBe(false);
  });

  test('fields expire at the same time, where a server knows of such', () => {
    const at = (...times: number[]): KeySummary => ({
      ...key,
      fieldsExpireAtMs: new Map(times.map((time, i) => [`f${i}`, time])),
    });
    expect(isSame([at(5000), at(5900)], options, 0)).toBe(true);
    expect(isSame([at(5000), at(7000)], options, 0)).toBe(false);
    expect(isSame([at(5000), at()], options, 0)).toBe(false);
    expect(isSame([at(5000), key], options, 0)).toBe(true);
  });
});
