import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { Mesh, until } from './mesh';

// What a mesh is for, a sentence a test, with real servers and agents. Writes that must not have seen each other are made in the same moment, or, where
// that leaves it to chance, while the links are cut.

const NAMES = ['alpha', 'beta', 'gamma'] as const;

describe.each([2, 3])('%i regions', (count) => {
  const names = NAMES.slice(0, count);
  let mesh: Mesh;
  let clients: Redis[];
  let alpha: Redis;
  let beta: Redis;
  let last: Redis;
  beforeAll(async () => {
    mesh = await Mesh.start({ regions: names });
    clients = mesh.regions.map((region) => region.client());
    [alpha, beta] = clients as [Redis, Redis];
    last = clients.at(-1)!;
  });
  afterAll(() => mesh?.stop());

  /** In all regions at once. */
  const everywhere = (run: (client: Redis, region: number) => Promise<unknown>): Promise<unknown[]> =>
    Promise.all(clients.map(run));

  /** Writes of alpha and then of beta that have not seen each other; beta's have the higher stamps. */
  async function apart(before: () => Promise<unknown>, ours: () => Promise<unknown>, theirs: () => Promise<unknown>) {
    await before();
    await mesh.apart(ours, theirs);
    await mesh.waitEqual();
  }

  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

  test('concurrent SET of 200 keys: all are equal everywhere, and what somebody wrote', async () => {
    const keys = range(200).map((i) => `set:${i}`);
    await everywhere((client, r) => Promise.all(keys.map((key) => client.set(key, names[r]!))));
    await mesh.waitEqual();
    for (const client of clients) for (const value of await client.mget(keys)) expect(names).toContain(value);
  });

  test('INCR, in strings and in hashes, is exact', async () => {
    await everywhere((client) =>
      Promise.all(range(300).flatMap((i) => [client.incr(`incr:${i % 3}`), client.hincrby('incr', `f${i % 3}`, 2)])),
    );
    await mesh.waitEqual();
    for (const client of clients) {
      expect(await client.mget('incr:0', 'incr:1', 'incr:2')).toEqual(range(3).map(() => String(100 * count)));
      expect(await client.hvals('incr')).toEqual(range(3).map(() => String(200 * count)));
    }
  });

  test('INCRBYFLOAT is exact: of new keys, of numbers that were there, and beside INCR', async () => {
    await alpha.mset('float:old', '100', 'float:mixed', '7');
    await mesh.waitEqual();
    await everywhere((client) =>
      Promise.all(
        range(200).flatMap(() => [
          client.incrbyfloat('float:new', 0.1),
          client.incrbyfloat('float:old', -0.25),
          client.incrbyfloat('float:mixed', 3),
          client.incrby('float:mixed', 2),
        ]),
      ),
    );
    await mesh.waitEqual();
    const values = await last.mget('float:new', 'float:old', 'float:mixed');
    // What Redis adds to what it has is a long double, and so are its results: 0.1 is none.
    expect(Number(values[0])).toBeCloseTo(20 * count, 12);
    expect(values.slice(1)).toEqual([String(100 - 50 * count), String(7 + 1000 * count)]);
  });

  test('HINCRBYFLOAT is exact', async () => {
    await alpha.hset('float:hash', 'a', '0', 'b', '10.5');
    await mesh.waitEqual();
    await everywhere((client) =>
      Promise.all(
        range(200).flatMap(() => [
          client.hincrbyfloat('float:hash', 'a', 0.125),
          client.hincrbyfloat('float:hash', 'b', -1.5),
        ]),
      ),
    );
    await mesh.waitEqual();
    for (const client of clients)
      expect(await client.hgetall('float:hash')).toEqual({ a: String(25 * count), b: String(10.5 - 300 * count) });
  });

  test('DEL against SADD, HSET and ZADD: what it had not seen survives', async () => {
    await apart(
      () => Promise.all([alpha.sadd('del:s', 'old'), alpha.hset('del:h', 'old', 1), alpha.zadd('del:z', 1, 'old')]),
      () => Promise.all([alpha.sadd('del:s', 'new'), alpha.hset('del:h', 'new', 1), alpha.zadd('del:z', 2, 'new')]),
      () => beta.del('del:s', 'del:h', 'del:z'),
    );
    for (const client of clients) {
      expect(await client.smembers('del:s')).toEqual(['new']);
      expect(await client.hgetall('del:h')).toEqual({ new: '1' });
      expect(await client.zrange('del:z', 0, -1, 'WITHSCORES')).toEqual(['new', '2']);
    }
  });

  test('LPOP, RPOP and BRPOP workers on a queue: nothing that was pushed is lost', async () => {
    const pushed: string[] = [];
    const taken = new Set<string>();
    const workers = mesh.regions.flatMap((region) => [region.client(), region.client(), region.client()]);
    let isOver = false;
    const work = async (client: Redis, how: number): Promise<void> => {
      while (!isOver) {
        const found = how === 0 ? await client.lpop('queue') : how === 1 ? await client.rpop('queue') : null;
        const [, element] = (how === 2 ? await client.brpop('queue', 0.2) : null) ?? [];
        const job = found ?? element;
        if (typeof job === 'string') taken.add(job);
        await sleep(3);
      }
    };
    const working = workers.map((client, i) => work(client, i % 3));
    await everywhere(async (client, r) => {
      for (const i of range(150)) {
        pushed.push(`${r}:${i}`);
        await (i % 2 === 0 ? client.lpush('queue', `${r}:${i}`) : client.rpush('queue', `${r}:${i}`));
      }
    });
    await sleep(200);
    isOver = true;
    await Promise.all(working);
    for (const client of workers) client.disconnect();
    await mesh.waitEqual();
    for (const element of await last.lrange('queue', 0, -1)) taken.add(element);
    expect(pushed.filter((element) => !taken.has(element))).toEqual([]);
  });

  test('concurrent XADD *: every entry is everywhere, in the order of the IDs', async () => {
    await everywhere(async (client, r) => {
      for (const i of range(100)) await client.xadd('stream', '*', 'entry', `${r}:${i}`);
    });
    await mesh.waitEqual();
    for (const client of clients) {
      const entries = await client.xrange('stream', '-', '+');
      const order = entries.map(([id]) => id.split('-').map(Number) as [number, number]);
      expect(order).toEqual([...order].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
      expect(entries.map(([, fields]) => fields[1]).sort()).toEqual(
        range(count)
          .flatMap((r) => range(100).map((i) => `${r}:${i}`))
          .sort(),
      );
    }
  });

  test('SET against HSET on one key: the type of the later one stands', async () => {
    await apart(
      () => alpha.del('type:1', 'type:2'),
      () => Promise.all([alpha.set('type:1', 'v'), alpha.hset('type:2', 'f', 1)]),
      () => Promise.all([beta.hset('type:1', 'f', 1), beta.set('type:2', 'v')]),
    );
    for (const client of clients) {
      expect(await client.hgetall('type:1')).toEqual({ f: '1' });
      expect(await client.get('type:2')).toBe('v');
    }
  });

  test('EXPIRE against PERSIST, and against another EXPIRE: the later one stands', async () => {
    await apart(
      () => Promise.all([alpha.set('ttl:1', 1, 'EX', 500), alpha.set('ttl:2', 1), alpha.set('ttl:3', 1, 'EX', 500)]),
      () => Promise.all([alpha.expire('ttl:1', 1000), alpha.expire('ttl:2', 1000), alpha.persist('ttl:3')]),
      () => Promise.all([beta.persist('ttl:1'), beta.expire('ttl:2', 2000), beta.expire('ttl:3', 3000)]),
    );
    for (const client of clients) {
      expect(await client.ttl('ttl:1')).toBe(-1);
      expect(await client.ttl('ttl:2')).toBeGreaterThan(1900);
      expect(await client.ttl('ttl:3')).toBeGreaterThan(2900);
    }
  });

  test('a key that expires while it is renewed elsewhere is kept', async () => {
    await apart(
      async () => {
        await alpha.set('renewed', 'kept', 'PX', 1000);
        await alpha.set('gone', 1, 'PX', 1000);
      },
      async () => expect(await alpha.pexpire('renewed', 100_000)).toBe(1),
      () => until(async () => (await beta.exists('renewed', 'gone')) === 0, 5000, 'keys do not expire'),
    );
    for (const client of clients) {
      expect(await client.get('renewed')).toBe('kept');
      expect(await client.pttl('renewed')).toBeGreaterThan(10_000);
      expect(await client.exists('gone')).toBe(0);
    }
  });

  test('the same element added, removed, and added again, around the ring', async () => {
    const members = range(20).map((i) => `m${i}`);
    const seen = (client: Redis, isThere: boolean): Promise<void> =>
      until(
        async () => (await client.smismember('ring', ...members)).every((found) => found === Number(isThere)),
        10_000,
        'the ring is broken',
      );
    for (const turn of range(2 * count + 1)) {
      const client = clients[turn % count]!;
      const isAdding = turn % 2 === 0;
      await seen(client, !isAdding);
      await (isAdding ? client.sadd('ring', ...members) : client.srem('ring', ...members));
    }
    await mesh.waitEqual();
    for (const client of clients) expect(await client.scard('ring')).toBe(members.length);
    // And in the same moment, by all: some value, the same everywhere.
    await everywhere(async (client) => {
      for (const member of members) {
        await client.srem('ring', member);
        await client.sadd('ring', member);
      }
    });
    await mesh.waitEqual();
    for (const client of clients) expect(await client.scard('ring')).toBe(members.length);
  });

  test('FLUSHALL against concurrent writes: what it had seen is gone everywhere, what it had not seen stands', async () => {
    await apart(
      () => Promise.all([alpha.mset('flush:old', 1, 'flush:changed', 1), alpha.sadd('flush:s', 'old')]),
      () => Promise.all([alpha.mset('flush:new', 1, 'flush:changed', 2), alpha.sadd('flush:s', 'new')]),
      async () => {
        await beta.flushall();
        await beta.set('flush:after', 1);
      },
    );
    for (const client of clients) {
      expect(await client.mget('flush:old', 'flush:new', 'flush:changed', 'flush:after')).toEqual([
        null,
        '1',
        '2',
        '1',
      ]);
      expect(await client.smembers('flush:s')).toEqual(['new']);
    }
  });
});

describe.each([2, 3])('%i regions whose clocks are 30 s apart', (count) => {
  test('writes follow each other as they were seen, not as clocks say, and all is equal', async () => {
    const names = NAMES.slice(0, count);
    const mesh = await Mesh.start({ regions: names, clockAheadMs: { alpha: 30_000 } });
    try {
      const clients = mesh.regions.map((region) => region.client());
      const [alpha, beta] = clients as [Redis, Redis];
      await alpha.mset('value', 'fast', 'n', 1);
      await alpha.sadd('members', 'x');
      await mesh.waitEqual();
      // By its own clock half a minute earlier.
      await beta.set('value', 'slow');
      await beta.srem('members', 'x');
      await mesh.waitEqual();
      for (const client of clients) {
        expect(await client.get('value')).toBe('slow');
        expect(await client.exists('members')).toBe(0);
      }
      await alpha.set('value', 'fast again');
      await mesh.waitEqual();
      expect(await beta.get('value')).toBe('fast again');
      await Promise.all(
        clients
          .flatMap((client, r) =>
            Array.from({ length: 100 }, (_, i) => [
              client.set(`both:${i}`, r),
              client.incr('n'),
              client.sadd('members', i),
            ]),
          )
          .flat(),
      );
      await mesh.waitEqual();
      expect(await beta.get('n')).toBe(String(1 + 100 * count));
      expect(await beta.scard('members')).toBe(100);
    } finally {
      await mesh.stop();
    }
  });
});

describe.each([2, 3])('%i regions, of which beta is at its maxmemory', (count) => {
  test('eviction under allkeys-lru in beta deletes nothing in alpha', async () => {
    const mesh = await Mesh.start({ regions: NAMES.slice(0, count) });
    try {
      const [alpha, beta, ...others] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
      const keys = Array.from({ length: 2000 }, (_, i) => `kept:${i}`);
      await alpha.mset(keys.flatMap((key) => [key, 'x'.repeat(300)]));
      await mesh.waitEqual();
      const evicted = async (): Promise<number> => Number(/evicted_keys:(\d+)/.exec(await beta.info('stats'))![1]);
      const used = Number(/used_memory:(\d+)/.exec(await beta.info('memory'))![1]);
      await beta.config('SET', 'maxmemory-policy', 'allkeys-lru');
      await beta.config('SET', 'maxmemory', String(used - 200_000));
      // Each write makes room first, or is refused.
      const write = (): Promise<unknown> => beta.set('pressure', 'y'.repeat(1000)).catch(() => undefined);
      await until(async () => (await write(), (await evicted()) > 100), 10_000, 'nothing is evicted');
      await beta.config('SET', 'maxmemory', '0');
      await mesh.barrier(Date.now() + 10_000);
      await sleep(500);
      for (const client of [alpha, ...others]) expect(await client.exists(...keys)).toBe(keys.length);
      expect(await beta.exists(...keys)).toBeLessThan(keys.length);
    } finally {
      await mesh.stop();
    }
  });
});
