import type Redis from 'ioredis';
import { serverFlavour, serverVersion } from '../../agent/capture/testserver';
import { Mesh, type Region, until } from './mesh';

// Keys that go: by a client, by their time, because Redis is full, by a flush.

/** A counter of an agent's metrics. */
async function counted(region: Region, name: string): Promise<number> {
  const { text } = await region.http('/metrics');
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
}

async function info(client: Redis, field: string): Promise<number> {
  return Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(await client.info())?.[1]);
}

describe('a region whose Redis is full (allkeys-lru)', () => {
  let mesh: Mesh;
  let alpha: Redis;
  let beta: Redis;
  beforeAll(async () => {
    // The backlog counts as used memory as it fills, and can't be evicted.
    mesh = await Mesh.start({ regions: ['alpha', 'beta'], redisConf: ['repl-backlog-size 2mb'] });
    [alpha, beta] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
  });
  afterAll(() => mesh?.stop());

  const value = 'x'.repeat(500);
  let written = 0;
  const write = async (client: Redis, count: number): Promise<void> => {
    for (const until = written + count; written < until;) {
      const pipeline = client.pipeline();
      for (let i = 0; i < 20; i++) pipeline.set(`key:${written + i}`, value);
      const replies = (await pipeline.exec()) ?? [];
      // OOM, for memory comes back in the background: the rest once more.
      const refused = replies.findIndex(([error]) => error !== null);
      written += refused < 0 ? 20 : refused;
    }
  };
  /** What beta still has is everywhere, and alpha has everything. */
  const arrived = (): Promise<void> =>
    until(
      async () => (await alpha.dbsize()) >= written,
      20_000,
      async () => `${await alpha.dbsize()} of ${written} keys are in alpha\n${await mesh.describe()}`,
    );
  const isFull = async (): Promise<void> => {
    await beta.config('SET', 'maxmemory', String((await info(beta, 'used_memory')) + 2 * 1024 * 1024));
    await beta.config('SET', 'maxmemory-policy', 'allkeys-lru');
  };

  test('deletes nothing in another one, and counts what it evicts', async () => {
    await write(alpha, 2000);
    await mesh.waitEqual();
    // Redis may evict an agent's own keys, too, which it writes again: they are not counted.
    let own = 0;
    const listener = mesh.region('beta').client();
    listener.on('pmessage', (_pattern: string, _channel: string, key: string) => {
      if (key.startsWith('meridian:')) own++;
    });
    await listener.psubscribe('__keyevent@*__:evicted');
    await isFull();
    // The agent has looked.
    await mesh.region('beta').restartAgent('SIGTERM');
    await mesh.region('beta').ready();
    // Some may have gone before it began to count.
    const before = await info(beta, 'evicted_keys');
    for (let i = 0; i < 40; i++) await write(beta, 100);
    await arrived();
    expect(await info(beta, 'evicted_keys')).toBeGreaterThan(1000);
    const numbers = (): Promise<[number, number]> =>
      Promise.all([counted(mesh.region('beta'), 'meridian_evictions_total'), info(beta, 'evicted_keys')]);
    await until(
      async () => {
        const [told, evicted] = await numbers();
        return told + own <= evicted && told + own >= evicted - before;
      },
      5000,
      async () => `counted, evicted: ${(await numbers()).join(', ')}; ${before} of them before, ${own} own`,
    );
    expect(await counted(mesh.region('alpha'), 'meridian_evictions_total')).toBe(0);
    expect(await alpha.dbsize()).toBeGreaterThanOrEqual(written);
  });

  test("still carries what clients delete, and what it wasn't told of in time", async () => {
    await beta.set('kept', 1);
    await beta.mset('gone:1', 1, 'gone:2', 1, 'gone:3', 1);
    await beta.set('short', 1, 'PX', 300);
    await until(async () => (await alpha.exists('gone:1', 'gone:2', 'gone:3', 'kept', 'short')) === 5, 10_000, 'write');
    await beta.call('UNLINK', 'gone:1');
    await beta.call('unlink', 'gone:2');
    await beta.call('DEL', 'gone:3');
    await until(
      async () => (await alpha.exists('gone:1', 'gone:2', 'gone:3', 'short')) === 0,
      10_000,
      async () => `not gone: ${JSON.stringify(await alpha.mget('gone:1', 'gone:2', 'gone:3', 'short'))}`,
    );
    expect(await alpha.get('kept')).toBe('1');
  });

  test('nor what is evicted while no agent listens', async () => {
    const agent = mesh.region('beta').agent;
    await agent.signal('SIGKILL');
    const before = await info(beta, 'evicted_keys');
    for (let i = 0; i < 20; i++) await write(beta, 100);
    expect(await info(beta, 'evicted_keys')).toBeGreaterThan(before + 500);
    mesh.region('beta').startAgent();
    await mesh.region('beta').ready();
    await write(beta, 100);
    await arrived();
  });

  test('nor what is missing after a restart of Redis', async () => {
    await beta.config('REWRITE');
    const { redis } = mesh.region('beta');
    await redis.signal('SIGTERM');
    await mesh.region('beta').startRedis();
    await mesh.region('beta').ready();
    await write(beta, 100);
    await arrived();
    expect(await info(beta, 'evicted_keys')).toBeGreaterThanOrEqual(0);
  });
});

describe('UNLINK, EXPIRE and expiry', () => {
  let mesh: Mesh;
  let alpha: Redis;
  let beta: Redis;
  beforeAll(async () => {
    mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
    [alpha, beta] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
    // A key that expires shows that it is told of.
    await beta.set('proof', 1, 'PX', 50);
    await until(async () => (await beta.exists('proof')) === 0, 5000, 'a key does not expire');
  });
  afterAll(() => mesh?.stop());

  test("a client's UNLINK is a delete, though Redis writes an expiry the same way", async () => {
    await alpha.mset('a', 1, 'b', 1);
    await alpha.set('c', 1, 'PX', 1000);
    await mesh.apart(
      () => Promise.all([alpha.expire('a', 1000), alpha.expire('b', 1000), alpha.expire('c', 1000)]),
      async () => {
        await beta.call('UNLINK', 'a');
        await beta.expire('b', -1);
        await until(async () => (await beta.exists('c')) === 0, 5000, 'c does not expire');
      },
    );
    await mesh.waitEqual();
    // What had expired there was given more time here; what a client removed is gone. Valkey from 8.1 on tells of EXPIRE in the past as of an expiry.
    const isExpiry = serverFlavour() === 'Valkey' && serverVersion() >= 8.1;
    for (const client of [alpha, beta])
      expect(await Promise.all(['a', 'b', 'c'].map((key) => client.exists(key)))).toEqual([0, isExpiry ? 1 : 0, 1]);
  });
});

describe('a flush that is carried', () => {
  let mesh: Mesh;
  beforeAll(async () => {
    mesh = await Mesh.start();
  });
  afterAll(() => mesh?.stop());

  test('beside writes in the other regions: what it had not seen survives everywhere', async () => {
    const [alpha, beta, gamma] = mesh.regions.map((region) => region.client()) as [Redis, Redis, Redis];
    for (let i = 0; i < 100; i++) await alpha.hset(`old:${i}`, 'f', i);
    await alpha.set('n', 5);
    await mesh.waitEqual();
    mesh.partition('beta', 'alpha');
    mesh.partition('beta', 'gamma');
    await Promise.all([beta.hset('old:7', 'g', 1), beta.incr('n'), beta.rpush('list', 'a'), beta.set('new', 1)]);
    await alpha.call('FLUSHALL');
    await alpha.set('after', 1);
    mesh.heal();
    await mesh.waitEqual();
    for (const client of [alpha, beta, gamma]) {
      expect(await client.hgetall('old:7')).toEqual({ g: '1' });
      expect(await client.mget('n', 'new', 'after')).toEqual(['1', '1', '1']);
      expect(await client.lrange('list', 0, -1)).toEqual(['a']);
      expect(await client.exists('old:1', 'old:99')).toBe(0);
    }
  });

  test('in the same moment as writes everywhere', async () => {
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        mesh.regions.map(async (region, r) => {
          const client = region.client();
          for (let i = 0; i < 200; i++) {
            await client.hset(`h:${i % 20}`, `${region.name}${i}`, i);
            await client.incr(`n:${i % 5}`);
            await client.set(`s:${i % 30}`, `${region.name}${i}`);
            if (r === 0 && i === 100) await client.call('FLUSHALL', 'ASYNC');
            if (r === 1 && i === 150) await client.call('FLUSHDB');
          }
          client.disconnect();
        }),
      );
      await mesh.waitEqual();
    }
  });
});

describe('a flush that is refused', () => {
  let mesh: Mesh;
  let alpha: Redis;
  let beta: Redis;
  beforeAll(async () => {
    mesh = await Mesh.start({
      regions: ['alpha', 'beta'],
      refusesFlush: true,
    });
    [alpha, beta] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
    for (let i = 0; i < 300; i++) await alpha.multi().hset(`h:${i}`, 'f', i).set(`s:${i}`, i).exec();
    await alpha.multi().set('n', 5).rpush('list', 'a', 'b').select(3).set('in three', 1).select(0).exec();
    await mesh.waitEqual();
  });
  afterAll(() => mesh?.stop());

  const expectAll = async (): Promise<void> => {
    for (const region of mesh.regions) {
      const client = region.client();
      const names = Array.from({ length: 300 }, (_, i) => [`h:${i}`, `s:${i}`]).flat();
      const there = await Promise.all(names.map((name) => client.exists(name)));
      expect(names.filter((_, i) => there[i] === 0)).toEqual([]);
      expect(await client.hgetall('h:299')).toEqual({ f: '299' });
      expect(await client.lrange('list', 0, -1)).toEqual(['a', 'b']);
      expect(await region.client({ db: 3 }).get('in three')).toBe('1');
      client.disconnect();
    }
  };

  test('stays in its region, which gets its data back', async () => {
    await alpha.flushall();
    // What clients write meanwhile, here and there, counts as ever.
    await Promise.all([alpha.incr('n'), beta.incr('n'), alpha.set('s:1', 'new'), alpha.hset('h:1', 'g', 1)]);
    await mesh.waitEqual();
    await expectAll();
    for (const client of [alpha, beta]) {
      expect(await client.mget('n', 's:1')).toEqual(['7', 'new']);
      expect(await client.hgetall('h:1')).toEqual({ f: '1', g: '1' });
    }
    expect(await counted(mesh.region('alpha'), 'meridian_flushes_refused_total')).toBe(1);
    expect(await counted(mesh.region('beta'), 'meridian_flushes_refused_total')).toBe(0);
  });

  test('also of one database, in a transaction, while nobody can be reached and the agent is killed', async () => {
    mesh.partition('beta');
    await beta.multi().set('before', 1).flushdb().set('behind', 1).exec();
    await until(
      async () => (await counted(mesh.region('beta'), 'meridian_flushes_refused_total')) === 1,
      5000,
      'the flush is not seen',
    );
    await mesh.region('beta').restartAgent();
    mesh.heal();
    await mesh.region('beta').ready();
    await mesh.waitEqual();
    await expectAll();
    for (const client of [alpha, beta]) expect(await client.mget('before', 'behind', 'n')).toEqual(['1', '1', '7']);
  });

  test.each([
    ['all databases', (client: Redis) => client.flushall()],
    ['one without the cursor', (client: Redis) => client.multi().select(3).flushdb().select(0).exec()],
  ])('of %s, with Redis and the agent killed before the data is back: nothing was deleted', async (_, flush) => {
    const region = mesh.region('beta');
    const before = await counted(region, 'meridian_flushes_refused_total');
    mesh.partition('beta');
    await flush(beta);
    await until(
      async () => (await counted(region, 'meridian_flushes_refused_total')) === before + 1,
      5000,
      'the flush is not seen',
    );
    await region.agent.signal('SIGKILL');
    await region.redis.signal('SIGKILL');
    await region.startRedis();
    region.startAgent();
    mesh.heal();
    await region.ready();
    await mesh.waitEqual();
    await expectAll();
  });
});
