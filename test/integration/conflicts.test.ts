import type Redis from 'ioredis';
import { Mesh, until } from './mesh';

// Writes that have not seen each other: the links are cut while they are made, or they are simply made at once.

let mesh: Mesh;
let alpha: Redis;
let beta: Redis;
let gamma: Redis;
beforeAll(async () => {
  mesh = await Mesh.start();
  [alpha, beta, gamma] = mesh.regions.map((region) => region.client()) as [Redis, Redis, Redis];
});
afterAll(() => mesh?.stop());

/** Writes of alpha and beta that have not seen each other, after what both have seen. Beta's are the later ones. */
async function apart(before: () => Promise<unknown>, ours: () => Promise<unknown>, theirs: () => Promise<unknown>) {
  await before();
  // Long enough where the machine is slow to write a heartbeat.
  await mesh.apart(ours, theirs, 1000);
  await mesh.waitEqual();
}

const nothing = (): Promise<void> => Promise.resolve();

test('SET of the same 200 keys everywhere at once', async () => {
  const keys = Array.from({ length: 200 }, (_, i) => `same:${i}`);
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      mesh.regions.map(async (region) => {
        const client = region.client();
        await Promise.all(keys.map((key) => client.set(key, `${region.name}${round}`)));
      }),
    );
    await mesh.waitEqual();
    for (const value of await gamma.mget(keys)) expect(value).toMatch(new RegExp(`^(alpha|beta|gamma)${round}$`));
  }
});

test('INCR of the same keys everywhere at once, and of fields', async () => {
  await Promise.all(
    mesh.regions.map(async (region) => {
      const client = region.client();
      const writes = Array.from({ length: 600 }, (_, i) => [
        client.incr(`sum:${i % 3}`),
        client.hincrby('sums', `f${i % 2}`, 2),
        client.zincrby('zsums', 0.5, 'm'),
      ]);
      await Promise.all(writes.flat());
    }),
  );
  await mesh.waitEqual();
  for (const client of [alpha, beta, gamma]) {
    expect(await client.mget('sum:0', 'sum:1', 'sum:2')).toEqual(['600', '600', '600']);
    expect(await client.hgetall('sums')).toEqual({ f0: '1800', f1: '1800' });
    expect(await client.zscore('zsums', 'm')).toBe('900');
  }
});

test('a delete removes only what it has seen', async () => {
  await apart(
    async () => {
      await alpha.sadd('d:s', 'old');
      await alpha.hset('d:h', 'old', 1);
      await alpha.zadd('d:z', 1, 'old');
      await alpha.set('d:n', 5);
      await alpha.set('d:v', 'old');
    },
    async () => {
      await alpha.sadd('d:s', 'new');
      await alpha.hset('d:h', 'new', 1);
      await alpha.zadd('d:z', 2, 'new');
      await alpha.incrby('d:n', 3);
      await alpha.set('d:v', 'new');
    },
    () => beta.del('d:s', 'd:h', 'd:z', 'd:n', 'd:v'),
  );
  for (const client of [alpha, beta, gamma]) {
    expect(await client.smembers('d:s')).toEqual(['new']);
    expect(await client.hgetall('d:h')).toEqual({ new: '1' });
    expect(await client.zrange('d:z', 0, -1)).toEqual(['new']);
    expect(await client.get('d:n')).toBe('3');
    expect(await client.get('d:v')).toBe('new');
  }
});

test('a removal of an element and a new put of it', async () => {
  await apart(
    () => Promise.all([alpha.sadd('r:s', 'x', 'y'), alpha.hset('r:h', 'x', 1, 'y', 1)]),
    () => Promise.all([alpha.sadd('r:s', 'x'), alpha.hset('r:h', 'x', 2)]),
    () => Promise.all([beta.srem('r:s', 'x', 'y'), beta.hdel('r:h', 'x', 'y')]),
  );
  // SADD of a member that is there changes nothing and is not replicated: Redis does not tell of it.
  for (const client of [alpha, beta, gamma]) expect(await client.hgetall('r:h')).toEqual({ x: '2' });
});

test('the later SET wins, and its time to live with it', async () => {
  await apart(
    () => alpha.set('w', 'old'),
    () => alpha.set('w', 'alpha', 'PX', 60_000),
    () => beta.set('w', 'beta'),
  );
  for (const client of [alpha, beta, gamma]) {
    expect(await client.get('w')).toBe('beta');
    expect(await client.pttl('w')).toBe(-1);
  }
});

test('EXPIRE against PERSIST, EXPIRE against SET', async () => {
  await apart(
    () => Promise.all([alpha.set('e:1', 1, 'EX', 500), alpha.set('e:2', 1), alpha.set('e:3', 1)]),
    () => Promise.all([alpha.expire('e:1', 1000), alpha.expire('e:2', 1000), alpha.expire('e:3', 1000)]),
    () => Promise.all([beta.persist('e:1'), beta.set('e:2', 2), beta.expire('e:3', 2000)]),
  );
  for (const client of [alpha, beta, gamma]) {
    expect(await client.ttl('e:1')).toBe(-1);
    expect(await client.get('e:2')).toBe('2');
    expect(await client.ttl('e:2')).toBe(-1);
    expect(await client.ttl('e:3')).toBeGreaterThan(1900);
  }
});

test('a key that expires in one region while it is renewed in another', async () => {
  await apart(
    async () => {
      await alpha.set('x:string', 'kept', 'PX', 1500);
      await alpha.hset('x:hash', 'f', 'kept');
      await alpha.pexpire('x:hash', 1500);
      await alpha.set('x:gone', 1, 'PX', 1500);
    },
    async () => {
      expect(await alpha.pexpire('x:string', 100_000)).toBe(1);
      expect(await alpha.pexpire('x:hash', 100_000)).toBe(1);
    },
    () => until(async () => (await beta.exists('x:string', 'x:hash', 'x:gone')) === 0, 5000, 'keys do not expire'),
  );
  for (const client of [alpha, beta, gamma]) {
    expect(await client.get('x:string')).toBe('kept');
    expect(await client.pttl('x:string')).toBeGreaterThan(10_000);
    expect(await client.hgetall('x:hash')).toEqual({ f: 'kept' });
    expect(await client.exists('x:gone')).toBe(0);
  }
});

test('values of two types', async () => {
  await apart(
    () => Promise.all([alpha.del('t:1', 't:2', 't:3'), alpha.set('t:3', 'string')]),
    async () => {
      await alpha.set('t:1', 'string');
      await alpha.hset('t:2', 'f', 1);
      await alpha.append('t:3', '+');
    },
    async () => {
      await beta.hset('t:1', 'f', 1);
      await beta.set('t:2', 'string');
      await beta.multi().del('t:3').sadd('t:3', 'm').exec();
    },
  );
  expect(await gamma.type('t:1')).toBe('hash');
  expect(await gamma.type('t:2')).toBe('string');
});

test('lists: no pushed element is lost', async () => {
  await apart(
    () => alpha.rpush('list', 'a', 'b', 'c'),
    () => alpha.rpush('list', 'alpha1', 'alpha2'),
    () => beta.multi().lpop('list').rpush('list', 'beta').exec(),
  );
  const list = await gamma.lrange('list', 0, -1);
  for (const element of ['b', 'c', 'alpha1', 'alpha2', 'beta']) expect(list).toContain(element);
});

test('commands that depend on what is there, in all regions at once', async () => {
  await Promise.all(
    mesh.regions.map(async (region, r) => {
      const client = region.client();
      for (let i = 0; i < 60; i++) {
        await client.append('v:append', `${r}`);
        await client.setrange('v:range', (i * 7) % 50, region.name);
        await client.setbit('v:bits', i * 3 + r, 1);
        await client.lpush('v:list', `${region.name}${i}`);
        if (i % 3 === 0) await client.rpop('v:list');
        await client.pfadd('v:hll', `${region.name}${i}`);
        await client.zadd('v:z', i, `${region.name}${i}`);
        if (i % 5 === 0) await client.zpopmin('v:z');
        await client.set(`v:from:${r}`, i);
        if (i % 4 === 0) await client.rename(`v:from:${r}`, 'v:to').catch(() => undefined);
        await client.incrbyfloat('v:float', 0.5);
        await client.xadd('v:stream', '*', 'f', `${region.name}${i}`);
      }
    }),
  );
  await mesh.waitEqual();
});

test('FLUSHDB', async () => {
  await apart(
    () => alpha.set('flushed', 1),
    () => alpha.set('not seen', 1),
    async () => {
      await beta.select(1);
      await beta.set('other', 1);
      await beta.select(0);
      await beta.flushdb();
      await beta.set('after', 1);
    },
  );
  for (const client of [alpha, beta, gamma])
    expect(await client.mget('flushed', 'not seen', 'after')).toEqual([null, '1', '1']);
});

test('no command was lost for good', async () => {
  await nothing();
  for (const region of mesh.regions) expect((await region.status()).deadLetters).toBe(0);
});
