import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { Mesh, until } from './mesh';

// Keys that stand as a whole as their last writer's region had them, by the stack's config.

const policies = [{ keys: 'last:*', policy: 'lww' as const }];

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

const everywhere = async (look: (client: Redis) => Promise<unknown>, value: unknown): Promise<void> => {
  for (const region of mesh.running) {
    const client = region.client();
    expect(await look(client)).toEqual(value);
    client.disconnect();
  }
};

test('where nothing meets, all is as ever', async () => {
  await alpha.hset('last:hash', 'f', '1', 'g', '1');
  await alpha.rpush('last:list', 'a', 'b');
  await alpha.sadd('last:set', 'a');
  await alpha.xadd('last:stream', '*', 'f', 'v');
  await alpha.multi().set('last:n', 5).set('other', 1).incr('last:n').exec();
  await alpha.mset('last:1', 'x', 'more', 'y');
  await mesh.waitEqual();
  await beta.hset('last:hash', 'f', '2');
  await beta.incrbyfloat('last:n', 0.5);
  await beta.lpop('last:list');
  await mesh.waitEqual();
  await everywhere((client) => client.hgetall('last:hash'), { f: '2', g: '1' });
  await everywhere((client) => client.mget('last:n', 'last:1', 'other', 'more'), ['6.5', 'x', '1', 'y']);
  await everywhere((client) => client.lrange('last:list', 0, -1), ['b']);
  for (const region of mesh.running) expect((await region.status()).conflicts.byType).toEqual({});
});

test('of what had not seen each other the later stands as a whole: nothing is merged', async () => {
  await mesh.apart(
    () =>
      Promise.all([
        alpha.hset('last:hash', 'f', 'earlier', 'h', 'earlier'),
        alpha.sadd('last:set', 'earlier'),
        alpha.rpush('last:list', 'earlier'),
        alpha.incrby('last:m', 100),
        alpha.set('last:1', 'earlier'),
      ]),
    () =>
      Promise.all([
        beta.hset('last:hash', 'g', 'later'),
        beta.sadd('last:set', 'later'),
        beta.rpush('last:list', 'later'),
        beta.incrby('last:m', 1),
        beta.append('last:1', ' later'),
      ]),
  );
  await mesh.waitEqual();
  await everywhere((client) => client.hgetall('last:hash'), { f: '2', g: 'later' });
  await everywhere(async (client) => (await client.smembers('last:set')).sort(), ['a', 'later']);
  await everywhere((client) => client.lrange('last:list', 0, -1), ['b', 'later']);
  await everywhere((client) => client.mget('last:m', 'last:1'), ['1', 'x later']);
  const { entries } = JSON.parse((await mesh.region('alpha').http('/conflicts')).text) as {
    entries: { key: string; reason: string; winner: { region: string }; loser: { region: string } }[];
  };
  const told = entries.filter(({ key }) => key === 'last:hash');
  expect(told.map(({ reason, winner, loser }) => [reason, winner.region, loser.region])).toEqual([
    ['policy', 'beta', 'alpha'],
  ]);
});

test('so of deletes: a later one removes what it had not seen, an earlier one nothing', async () => {
  await alpha.sadd('last:gone', 'a');
  await alpha.sadd('last:stays', 'a');
  await mesh.apart(
    () => Promise.all([alpha.sadd('last:gone', 'unseen'), alpha.del('last:stays')]),
    () => Promise.all([beta.del('last:gone'), beta.sadd('last:stays', 'later')]),
  );
  await mesh.waitEqual();
  await everywhere((client) => client.exists('last:gone'), 0);
  await everywhere(async (client) => (await client.smembers('last:stays')).sort(), ['a', 'later']);
});

test('while everybody writes all the time one history stands in the end', async () => {
  const writes: Promise<unknown>[] = [];
  for (let i = 0; i < 200; i++) {
    writes.push(alpha.hset('last:hot', `f${i % 7}`, `a${i}`), beta.hset('last:hot', `f${i % 5}`, `b${i}`));
    writes.push(alpha.rpush('last:queue', `a${i}`), beta.lpop('last:queue'));
    if (i % 20 === 0) await Promise.all(writes);
  }
  await Promise.all(writes);
  await beta.hset('last:hot', 'end', 'b');
  await mesh.waitEqual();
});

test('times to live come with the whole; an expiry is a delete', async () => {
  await mesh.apart(
    () => alpha.set('last:ttl', 'earlier', 'EX', 1000),
    () => beta.set('last:ttl', 'later'),
  );
  await alpha.set('last:soon', 'x', 'PX', 200);
  // Where it has not come yet it is not there, either.
  const left = async (): Promise<number> => (await alpha.exists('last:soon')) + (await beta.exists('last:soon'));
  await until(async () => (await left()) === 0, 10_000, 'it does not expire');
  await mesh.waitEqual();
  await everywhere((client) => client.ttl('last:ttl'), -1);
  await everywhere((client) => client.exists('last:soon'), 0);
});

test('what is joined with other keys is told by the region that did it', async () => {
  await beta.rename('last:1', 'named');
  await beta.sunionstore('last:union', 'last:set', 'last:stays');
  await beta.rename('named', 'last:2');
  await mesh.waitEqual();
  await everywhere((client) => client.mget('last:1', 'named', 'last:2'), [null, null, 'x later']);
  await everywhere(async (client) => (await client.smembers('last:union')).sort(), ['a', 'later']);
});

test('agents and a Redis that start again, and a region that joins', async () => {
  const region = mesh.region('beta');
  mesh.partition('alpha');
  await beta.hset('last:hash', 'f', 'earlier');
  // Stamps come from heartbeats.
  await sleep(300);
  await alpha.hset('last:hash', 'g', 'latest');
  await region.restartAgent();
  await mesh.region('alpha').restartAgent();
  mesh.heal();
  await mesh.ready(['alpha', 'beta']);
  await mesh.waitEqual();
  await everywhere((client) => client.hgetall('last:hash'), { f: '2', g: 'latest' });
  await region.agent.signal('SIGKILL');
  await beta.hset('last:hash', 'f', 'alone');
  await beta.del('last:list');
  await region.redis.signal('SIGTERM');
  await region.startRedis();
  region.startAgent();
  await region.ready();
  await mesh.waitEqual();
  await everywhere((client) => client.hgetall('last:hash'), { f: 'alone', g: 'latest' });
  await everywhere((client) => client.exists('last:list'), 0);
  const gamma = mesh.region('gamma');
  await gamma.startRedis();
  gamma.startAgent();
  await gamma.ready();
  await gamma.client().hset('last:hash', 'h', 'joined');
  await mesh.waitEqual();
  await everywhere((client) => client.hgetall('last:hash'), { f: 'alone', g: 'latest', h: 'joined' });
  for (const each of mesh.running) expect((await each.status()).deadLetters).toBe(0);
});
