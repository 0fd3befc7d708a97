import { readFileSync, writeFileSync } from 'node:fs';
import type Redis from 'ioredis';
import { Mesh, type Region, until } from './mesh';

// Keys that one region owns, by the stack's config: what clients of the others write there is put back.

const policies = [
  { keys: 'a:free:*', policy: 'merge' as const },
  { keys: 'a:*', policy: 'region:alpha' as const },
  { keys: 'b:*', policy: 'region:beta' as const },
  { keys: 'local:*', policy: 'ignore' as const },
];

let mesh: Mesh;
let alpha: Redis;
let beta: Redis;
beforeAll(async () => {
  mesh = await Mesh.start({
    policies,
    only: ['alpha', 'beta'],
    refusesFlush: true,
  });
  [alpha, beta] = mesh.running.map((region) => region.client()) as [Redis, Redis];
});
afterAll(() => mesh?.stop());

const metric = async (region: Region, name: string): Promise<number> => {
  const { text } = await region.http('/metrics');
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)`, 'm').exec(text)?.[1] ?? NaN);
};

/** Commands on a key that a region's journal knows of, by region. */
const writersOf = async (region: Region, key: string): Promise<string[]> =>
  (await explain(region, key)).operations.map((operation) => operation.region);

interface Explained {
  policy: string;
  settledBy: string | null;
  operations: { region: string }[];
}
const explain = async (region: Region, key: string): Promise<Explained> =>
  JSON.parse((await region.http(`/explain?key=${Buffer.from(key).toString('base64url')}`)).text) as Explained;

test('what the owner writes is everywhere, of every type', async () => {
  await alpha.mset('a:1', 'owned', 'b free', 'x');
  await alpha.hset('a:hash', 'f', '1', 'g', '2');
  await alpha.rpush('a:list', 'x', 'y');
  await alpha.sadd('a:set', 'm');
  await alpha.zadd('a:zset', 1, 'm');
  await alpha.xadd('a:stream', '1-1', 'f', 'v');
  await alpha.incrby('a:n', 5);
  await alpha.set('a:ttl', 'v', 'EX', 10_000);
  await beta.set('b:1', 'owned by beta');
  await mesh.waitEqual();
  expect(await beta.mget('a:1', 'a:n', 'b:1')).toEqual(['owned', '5', 'owned by beta']);
  expect(await beta.lrange('a:list', 0, -1)).toEqual(['x', 'y']);
});

test('what clients of another region write is put back, stays there, and is told of', async () => {
  await beta.set('a:1', 'not mine');
  await beta.del('a:hash');
  await beta.lpush('a:list', 'not mine');
  await beta.sadd('a:set', 'not mine');
  await beta.zincrby('a:zset', 5, 'm');
  await beta.xadd('a:stream', '*', 'f', 'not mine');
  await beta.incr('a:n');
  await beta.persist('a:ttl');
  await beta.hset('a:new', 'f', 'not mine');
  await beta.set('a:free:1', 'anybody’s');
  await mesh.waitEqual();
  for (const client of [alpha, beta]) {
    expect(await client.mget('a:1', 'a:n', 'a:free:1')).toEqual(['owned', '5', 'anybody’s']);
    expect(await client.hgetall('a:hash')).toEqual({ f: '1', g: '2' });
    expect(await client.lrange('a:list', 0, -1)).toEqual(['x', 'y']);
    expect(await client.smembers('a:set')).toEqual(['m']);
    expect(await client.zscore('a:zset', 'm')).toBe('1');
    expect(await client.xlen('a:stream')).toBe(1);
    expect(await client.pttl('a:ttl')).toBeGreaterThan(0);
    expect(await client.exists('a:new')).toBe(0);
  }
  for (const key of ['a:1', 'a:new', 'a:list'])
    expect(await writersOf(mesh.region('alpha'), key)).not.toContain('beta');
  expect(await metric(mesh.region('beta'), 'meridian_trespasses_total')).toBe(9);
  expect(await metric(mesh.region('beta'), 'meridian_trespassed_keys')).toBe(0);
  expect(await metric(mesh.region('alpha'), 'meridian_trespasses_total')).toBe(0);
  const { entries } = JSON.parse((await mesh.region('beta').http('/conflicts')).text) as {
    entries: { key: string; reason: string; loser: { region: string; value: unknown } }[];
  };
  const told = entries.filter(({ key }) => key === 'a:1');
  expect(told.map(({ reason, loser }) => [reason, loser.region, loser.value])).toEqual([['policy', 'beta', null]]);
  expect(await explain(mesh.region('beta'), 'a:1')).toMatchObject({
    policy: 'region:alpha',
    settledBy: null,
  });
});

test('in a block, and in a command of several keys, only that is', async () => {
  await beta.multi().set('in a block', 'b').set('a:1', 'not mine').rpush('a:list', 'not mine').incr('b:n').exec();
  await beta.mset('a:1', 'not mine', 'b:2', 'b', 'free', 'b');
  await beta.del('a:hash', 'b free');
  await mesh.waitEqual();
  for (const client of [alpha, beta]) {
    expect(await client.mget('a:1', 'in a block', 'b:n', 'b:2', 'free')).toEqual(['owned', 'b', '1', 'b', 'b']);
    expect(await client.lrange('a:list', 0, -1)).toEqual(['x', 'y']);
    expect(await client.exists('a:hash')).toBe(1);
    expect(await client.exists('b free')).toBe(0);
  }
});

test('what is made of it elsewhere goes out, and what it was comes back', async () => {
  await beta.rename('a:1', 'named');
  await beta.rename('free', 'a:new');
  await beta.sunionstore('union', 'a:set', 'named:set');
  await beta.rpoplpush('a:list', 'taken');
  await mesh.waitEqual();
  for (const client of [alpha, beta]) {
    expect(await client.mget('a:1', 'named', 'a:new', 'free')).toEqual(['owned', 'owned', null, null]);
    expect(await client.smembers('union')).toEqual(['m']);
    expect(await client.lrange('a:list', 0, -1)).toEqual(['x', 'y']);
    expect(await client.lrange('taken', 0, -1)).toEqual(['y']);
  }
  // Its owner may do with it what it likes.
  await alpha.rename('a:new:not', 'x').catch(() => undefined);
  await alpha.rename('named', 'a:named');
  await mesh.waitEqual();
  expect(await beta.mget('a:named', 'named')).toEqual(['owned', null]);
});

test('a key that expires is gone everywhere; a time to live that another region gave is none', async () => {
  await alpha.set('a:soon', 'v', 'PX', 300);
  await beta.pexpire('a:1', 30);
  await until(async () => (await beta.exists('a:soon')) === 0, 10_000, 'it does not expire');
  await mesh.waitEqual();
  for (const client of [alpha, beta]) {
    expect(await client.exists('a:soon')).toBe(0);
    expect(await client.get('a:1')).toBe('owned');
    expect(await client.pttl('a:1')).toBe(-1);
  }
});

test('while its owner can’t be reached it waits, also over a restart of the agent', async () => {
  const region = mesh.region('beta');
  mesh.partition('alpha');
  await beta.set('a:1', 'not mine');
  await until(async () => (await metric(region, 'meridian_trespassed_keys')) === 1, 10_000, 'it is not seen');
  expect(await beta.get('a:1')).toBe('not mine');
  await beta.set('behind', 'b');
  await until(
    async () => JSON.stringify(await region.status()).includes('"unsettled":1'),
    10_000,
    'the status does not tell',
  );
  // What is read again begins behind it, so that only this document tells of it.
  await until(() => readFileSync(region.metaFile, 'utf8').includes('a:1'), 10_000, 'it is not kept');
  await region.restartAgent();
  await beta.hset('a:hash', 'f', 'not mine');
  await alpha.hset('a:hash', 'g', 'later');
  mesh.heal();
  await region.ready();
  await mesh.waitEqual();
  for (const client of [alpha, beta]) {
    expect(await client.get('a:1')).toBe('owned');
    expect(await client.hgetall('a:hash')).toEqual({ f: '1', g: 'later' });
  }
});

test('what an agent had read, and its document did not tell of yet when it was killed, is put back', async () => {
  const region = mesh.region('beta');
  mesh.partition('alpha');
  const document = readFileSync(region.metaFile);
  await beta.set('a:1', 'not mine');
  await beta.set('behind', 'in the journal');
  // Written when the journal has what is behind it.
  await until(() => readFileSync(region.metaFile, 'utf8').includes('a:1'), 10_000, 'it is not kept');
  await region.agent.signal('SIGKILL');
  writeFileSync(region.metaFile, document);
  region.startAgent();
  await region.ready();
  expect(await beta.get('a:1')).toBe('not mine');
  mesh.heal();
  await mesh.waitEqual();
  for (const client of [alpha, beta]) expect(await client.mget('a:1', 'behind')).toEqual(['owned', 'in the journal']);
});

test('what was written while no agent was reading, and Redis has been restarted, is put back too', async () => {
  const region = mesh.region('beta');
  await region.agent.signal('SIGKILL');
  await beta.set('a:1', 'not mine');
  await beta.lpush('a:list', 'not mine');
  await beta.set('a:new', 'not mine');
  await beta.del('a:set');
  await beta.set('b:1', 'mine');
  await region.redis.signal('SIGTERM');
  await region.startRedis();
  region.startAgent();
  await region.ready();
  await mesh.waitEqual();
  for (const client of [alpha, region.client()]) {
    expect(await client.mget('a:1', 'a:new', 'b:1')).toEqual(['owned', null, 'mine']);
    expect(await client.lrange('a:list', 0, -1)).toEqual(['x', 'y']);
    expect(await client.smembers('a:set')).toEqual(['m']);
  }
});

test('a flush in another region, which is refused, takes nothing of it', async () => {
  const before = await alpha.keys('a:*');
  await mesh.region('beta').client().flushall();
  await mesh.waitEqual();
  expect((await alpha.keys('a:*')).sort()).toEqual(before.sort());
});

test('a region that joins brings none of it, and gets it; another one gives it while the owner is away', async () => {
  const region = mesh.region('gamma');
  await region.startRedis();
  const gamma = region.client();
  await gamma.mset('a:1', 'brought', 'a:new', 'brought', 'b:1', 'brought', 'brought', 'g');
  region.startAgent();
  await region.ready();
  await mesh.waitEqual();
  for (const client of [alpha, gamma])
    expect(await client.mget('a:1', 'a:new', 'b:1', 'brought')).toEqual(['owned', null, 'mine', 'g']);
  mesh.partition('alpha');
  try {
    await gamma.set('a:1', 'not mine');
    await until(async () => (await gamma.get('a:1')) === 'owned', 20_000, 'it is not put back');
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
  for (const each of mesh.running) expect((await each.status()).deadLetters).toBe(0);
});
