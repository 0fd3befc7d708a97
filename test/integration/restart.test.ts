import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { CURSOR_KEY, formatMarker, parseMarker } from '../../agent/stream/keys';
import { loseTail } from './journal';
import { expectKept, Load, underLoad } from './load';
import { isLong, Mesh, type Region, until } from './mesh';

// With the append-only file on, any restart of Redis changes its replication ID: the agent has to find what clients did
// meanwhile by comparing.

let mesh: Mesh;
afterEach(() => mesh?.stop());

const rounds = isLong ? 10 : 1;

test.each(['SIGKILL', 'SIGTERM'] as const)('Redis ends by %s under load and comes back', async (signal) => {
  mesh = await Mesh.start();
  const loads = await underLoad(mesh.regions, 51, async () => {
    for (let i = 0; i < rounds; i++) {
      await sleep(400);
      const beta = mesh.region('beta');
      await beta.redis.signal(signal);
      await sleep(100);
      await beta.startRedis();
      await sleep(300);
      await mesh.ready();
    }
    await sleep(200);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('INCRBYFLOAT and HINCRBYFLOAT add up, though the agents were killed since the numbers were written', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
  const [alpha, beta] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
  await alpha.mset('n', '10', 'both', '1');
  await alpha.hset('h', 'f', '2.5');
  await mesh.waitEqual();
  // What a region has told of by itself, and what another one has added to that since.
  for (const client of [alpha, beta, alpha]) {
    await client.incrbyfloat('both', 0.5);
    await client.incrbyfloat('n', 0.25);
    await client.hincrbyfloat('h', 'f', 0.125);
    await mesh.waitEqual();
  }
  await mesh.apart(
    async () => {
      for (const region of mesh.regions) {
        await region.agent.signal('SIGKILL');
        region.startAgent();
        await region.ready();
      }
      await alpha.incrbyfloat('n', 1);
      await alpha.incrbyfloat('both', 1);
      await alpha.hincrbyfloat('h', 'f', 1);
    },
    async () => {
      await beta.incrbyfloat('n', 2);
      await beta.incrbyfloat('both', 2);
      await beta.hincrbyfloat('h', 'f', 2);
    },
  );
  await mesh.waitEqual();
  for (const client of [alpha, beta])
    expect([await client.mget('n', 'both'), await client.hget('h', 'f')]).toEqual([['13.75', '5.5'], '5.875']);
});

test('a block that Redis runs late, between the reading of the cursor and the snapshot, counts once', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
  const [alpha, beta] = mesh.regions as [Region, Region];
  await alpha.client().set('count', 10);
  await mesh.waitEqual();
  await beta.agent.signal('SIGKILL');
  await alpha.client().incrby('count', 5);
  await beta.redis.signal('SIGTERM');
  await beta.startRedis();
  const client = beta.client();
  const { origin, ends } = await alpha.status();
  const marker = parseMarker((await client.get(CURSOR_KEY))!)!;
  const vector = new Map(marker.vector).set(origin!, ends[origin!]!);
  // So that there is time between the two.
  await client.config('SET', 'repl-diskless-sync-delay', 3);
  const asks = (): number => beta.tail(1000).split('asking Redis for its replication stream').length;
  const before = asks();
  beta.startAgent();
  await until(() => asks() > before, 15_000, 'it does not begin');
  await sleep(500);
  const text = formatMarker({ ...marker, vector, block: 'late:1' });
  await client.multi().incrby('count', 5).set(CURSOR_KEY, text).exec();
  await client.config('SET', 'repl-diskless-sync-delay', 0);
  await mesh.ready();
  await mesh.waitEqual();
  for (const region of mesh.regions) expect(await region.client().get('count')).toBe('15');
});

test('what clients write and delete between the restart and the return of the agent', async () => {
  mesh = await Mesh.start();
  const beta = mesh.region('beta');
  const alpha = mesh.region('alpha').client();
  const before = beta.client();
  await before.mset('stays', 1, 'goes', 1, 'changes', 1, 'count', 10);
  await before.hset('h', 'stays', 1, 'goes', 1, 'changes', 1, 'n', 5);
  await before.sadd('s', 'stays', 'goes');
  await before.zadd('z', 1, 'stays', 2, 'goes', 3, 'changes');
  await before.rpush('l', 'a', 'b', 'c');
  await before.set('volatile', 1, 'EX', 1000);
  await before.set('type', 'string');
  for (let i = 0; i < 300; i++) await before.sadd(`many:${i}`, i);
  await mesh.waitEqual();

  await beta.agent.signal('SIGKILL');
  await beta.redis.signal('SIGKILL');
  await beta.startRedis();
  const client = beta.client();
  await client.del('goes', 'type');
  await client.set('changes', 2);
  await client.set('new', Buffer.from([0, 255, 13, 10]));
  await client.incrby('count', 5);
  await client.hset('h', 'changes', 2, 'new', 1);
  await client.hdel('h', 'goes');
  await client.hincrby('h', 'n', 2);
  await client.srem('s', 'goes');
  await client.sadd('s', 'new');
  await client.zadd('z', 4, 'changes', 5, 'new');
  await client.zrem('z', 'goes');
  await client.rpush('l', 'd');
  await client.lpop('l');
  await client.persist('volatile');
  await client.rpush('type', 'list');
  await client.select(7);
  await client.set('count', 3, 'EX', 500);
  for (let i = 0; i < 300; i += 2) await before.del(`many:${i}`);
  // Meanwhile elsewhere, partly on the same keys.
  await alpha.incrby('count', 100);
  await alpha.hset('h', 'far', 1);
  await alpha.hincrby('h', 'n', 30);
  await alpha.sadd('s', 'far');
  await alpha.zadd('z', 9, 'far');
  await alpha.set('far', 1);
  beta.startAgent();
  await beta.ready();
  await mesh.waitEqual();

  for (const region of mesh.regions) {
    const found = region.client();
    expect(await found.mget('stays', 'goes', 'changes', 'count', 'far')).toEqual(['1', null, '2', '115', '1']);
    expect(await found.getBuffer('new')).toEqual(Buffer.from([0, 255, 13, 10]));
    expect(await found.hgetall('h')).toEqual({ stays: '1', changes: '2', new: '1', n: '37', far: '1' });
    expect((await found.smembers('s')).sort()).toEqual(['far', 'new', 'stays']);
    expect(await found.zrange('z', 0, -1, 'WITHSCORES')).toEqual([
      'stays',
      '1',
      'changes',
      '4',
      'new',
      '5',
      'far',
      '9',
    ]);
    expect(await found.lrange('l', 0, -1)).toEqual(['b', 'c', 'd']);
    expect(await found.ttl('volatile')).toBe(-1);
    expect(await found.lrange('type', 0, -1)).toEqual(['list']);
    expect(await found.exists(...Array.from({ length: 300 }, (_, i) => `many:${i}`))).toBe(150);
    await found.select(7);
    expect(await found.get('count')).toBe('3');
  }
});

test('Redis restarts while a peer is cut off', async () => {
  mesh = await Mesh.start();
  const loads = await underLoad(mesh.regions, 55, async () => {
    await sleep(300);
    mesh.partition('alpha');
    await sleep(300);
    const beta = mesh.region('beta');
    await beta.redis.signal('SIGKILL');
    await beta.startRedis();
    await sleep(500);
    await beta.ready();
    await sleep(300);
    mesh.heal();
    await sleep(300);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('Redis and the end of the journal are lost, and of what was sent before, one peer has more than another', async () => {
  mesh = await Mesh.start({
    links: [
      ['beta', 'alpha'],
      ['beta', 'gamma'],
    ],
  });
  const beta = mesh.region('beta');
  const client = beta.client();
  await client.set('count', 10);
  await mesh.waitEqual();
  await sleep(1500);
  const origin = (await beta.status()).origin!;
  const end = (await beta.status()).ends[origin]!;
  const file = beta.metaFile;
  const meta = readFileSync(file);
  mesh.partition('alpha');
  for (let i = 0; i < 20; i++) await client.incr('count');
  await until(async () => (await mesh.region('gamma').client().get('count')) === '30', 10_000, 'gamma lacks it');
  await sleep(1500);
  await beta.agent.signal('SIGKILL');
  expect(await loseTail(beta, 'beta', end)).toBeGreaterThan(0);
  writeFileSync(file, meta);
  await beta.redis.signal('SIGKILL');
  await beta.startRedis();
  expect(await beta.client().get('count')).toBe('30');
  mesh.heal();
  beta.startAgent();
  await beta.ready();
  await mesh.waitEqual();
  for (const region of mesh.regions) expect(await region.client().get('count')).toBe('30');
});

test('a power cut takes the last of Redis, and of the document beside the journal: the mesh gives it back', async () => {
  mesh = await Mesh.start();
  const beta = mesh.region('beta');
  const client = beta.client();
  await client.mset('count', 10, 'changes', 1);
  await mesh.waitEqual();
  const document = beta.metaFile;
  const files = path.join(path.dirname(beta.layout.redis.conf), 'appendonlydir');
  const kept = path.join(mesh.dir, 'kept');
  const meta = readFileSync(document);
  await sleep(100);
  // Younger than the document, and older than what follows: its heartbeat alone does not show that anything is missing.
  cpSync(files, kept, { recursive: true });
  await sleep(100);
  await client.mset('late', 1, 'changes', 2);
  // That much is missing is not shown to be otherwise by what is done again.
  await client.mset(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`more${i}`, '1'])));
  await client.incrby('count', 5);
  await client.sadd('s', 'late');
  await client.multi().incrby('again', 5).rpush('list', 'x').exec();
  await mesh.waitEqual();
  await Promise.all([beta.redis.signal('SIGKILL'), beta.agent.signal('SIGKILL')]);
  rmSync(files, { recursive: true });
  cpSync(kept, files, { recursive: true });
  writeFileSync(document, meta);
  await beta.startRedis();
  expect(await beta.client().mget('late', 'count')).toEqual([null, '10']);
  // What is lost comes back, and what is written before it does is kept beside it.
  await beta.client().multi().sadd('s', 'meanwhile').incrby('count', 100).exec();
  // Done once more, what is lost is as elsewhere.
  await beta.client().multi().incrby('again', 5).rpush('list', 'x').exec();
  beta.startAgent();
  await beta.ready();
  await beta.client().incrby('count', 1000);
  await mesh.waitEqual();
  for (const region of mesh.regions) {
    const found = region.client();
    expect(await found.mget('late', 'changes', 'count')).toEqual(['1', '2', '1115']);
    expect((await found.smembers('s')).sort()).toEqual(['late', 'meanwhile']);
    expect(await found.get('again')).toBe('10');
    expect(await found.lrange('list', 0, -1)).toEqual(['x', 'x']);
  }
});

/** All at once, as after a power cut: nobody is left who could tell what clients did between the restart and the agents. */
async function restartAll(clientsMeanwhile: boolean): Promise<Load[]> {
  mesh = await Mesh.start();
  const loads = await underLoad(mesh.regions, 57, () => sleep(500));
  await mesh.waitEqual();
  await Promise.all(mesh.regions.map((region) => region.redis.signal('SIGKILL')));
  await Promise.all(mesh.regions.map((region) => region.startRedis()));
  const late = mesh.regions.map((region, i) => new Load(region, 157 + i));
  if (clientsMeanwhile) {
    for (const load of late) load.start();
    await sleep(300);
    await Promise.all(late.map((load) => load.stop()));
  }
  await mesh.ready();
  await mesh.waitEqual();
  return clientsMeanwhile ? [...loads, ...late] : loads;
}

test('every Redis restarts at once', async () => {
  const loads = await restartAll(false);
  const more = await underLoad(mesh.regions, 257, () => sleep(300));
  await mesh.waitEqual();
  await expectKept(mesh, [...loads, ...more]);

  // Once all have compared with the first one, it is a donor as any other: what is deleted while nobody reads does not come back.
  const { log } = mesh.region('alpha').agent;
  await until(() => readFileSync(log, 'utf8').includes('all regions have compared'), 15_000, 'alpha stays unexplained');
  const beta = mesh.region('beta');
  await beta.client().set('deleted', 1);
  await mesh.waitEqual();
  await beta.agent.signal('SIGKILL');
  await beta.client().del('deleted');
  await beta.redis.signal('SIGTERM');
  await beta.startRedis();
  beta.startAgent();
  await mesh.ready();
  await mesh.waitEqual();
  expect(await mesh.region('gamma').client().exists('deleted')).toBe(0);
});

test.each([
  ['', false],
  [', which restart once more before it is there again', true],
])(
  'two of three restart at once while the third is cut off, and their clients have changed the same before the agents are back%s',
  async (_, again) => {
    mesh = await Mesh.start();
    const [alpha, beta, gamma] = mesh.regions as [Region, Region, Region];
    await alpha.client().sadd('s', 'before');
    await alpha.client().mset('gone', 'v', 'count', '10');
    await mesh.waitEqual();
    mesh.partition('gamma');
    const both = [alpha, beta];
    await Promise.all(both.flatMap(({ agent, redis }) => [agent.signal('SIGKILL'), redis.signal('SIGKILL')]));
    await Promise.all(both.map((region) => region.startRedis()));
    // Of what is the same in both, nothing is told when they compare with each other.
    for (const region of both) {
      await region.client().sadd('s', 'late');
      await region.client().del('gone');
    }
    await alpha.client().incrby('count', 5);
    await mesh.startAgents(['alpha', 'beta']);
    if (again) {
      await Promise.all(both.map((region) => region.restartAgent()));
      await mesh.ready(['alpha', 'beta']);
      // So long it may take the one that went on to find somebody to compare with: not the one that has compared.
      await sleep(3000);
    }
    await gamma.client().sadd('s', 'meanwhile');
    mesh.heal();
    await until(async () => (await gamma.client().exists('gone')) === 0, 30_000, 'nobody has compared with gamma');
    await mesh.waitEqual();
    expect((await gamma.client().smembers('s')).sort()).toEqual(['before', 'late', 'meanwhile']);
    expect(await gamma.client().get('count')).toBe('15');
  },
);

test('every Redis restarts at once, and clients write before the agents are back', async () => {
  const loads = await restartAll(true);
  for (const region of mesh.regions)
    for (const load of loads) expect(await load.missingIn(region, { removals: false })).toEqual([]);
});

// What a counter was when the agents last read it is known to nobody then: of increments made in several regions, only
// the largest counts. It would take each agent's own digests of what it has read, kept on disk.
test.failing('increments made in several regions while all agents are away, after every Redis restarted', async () => {
  mesh = await Mesh.start();
  await mesh.region('alpha').client().set('count', 10);
  await mesh.waitEqual();
  await Promise.all(mesh.regions.map((region) => region.agent.signal('SIGKILL')));
  await Promise.all(mesh.regions.map((region) => region.redis.signal('SIGKILL')));
  await Promise.all(mesh.regions.map((region) => region.startRedis()));
  await Promise.all(mesh.regions.map((region, i) => region.client().incrby('count', 2 + i)));
  await mesh.startAgents();
  await mesh.waitEqual();
  expect(await mesh.region('beta').client().get('count')).toBe('19');
});
