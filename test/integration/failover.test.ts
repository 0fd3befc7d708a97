import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Redis from 'ioredis';
import { loopback } from '../../local/ports';
import { LinkProxy } from '../../local/proxy';
import { FLUSHED_MS } from '../../agent/session/own-reports';
import { agentUser } from '../../local/redis-conf';
import { loseTail } from './journal';
import { expectKept, underLoad } from './load';
import { Mesh, type Region, until } from './mesh';

// Another node of a region takes over: sometimes without the last of what the mesh has from this region already.

let mesh: Mesh;
const proxies: LinkProxy[] = [];
afterEach(async () => {
  await mesh?.stop();
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
});

/** Starts a region's replica, with a proxy between it and the primary, and waits until it follows. */
async function replicate(region: Region): Promise<{ replica: Redis; proxy: LinkProxy; port: number }> {
  await region.startReplica();
  const { port } = region.layout.replicas[0]!;
  const proxy = new LinkProxy('replica', 'primary', region.layout.redis.port);
  proxies.push(proxy);
  const replica = region.client({ port });
  await replica.replicaof(loopback, await proxy.listen());
  await until(
    async () => (await replica.info('replication')).includes('master_link_status:up'),
    15_000,
    'the replica does not follow',
  );
  return { replica, proxy, port };
}

test('a promoted replica that had not got the last writes', async () => {
  mesh = await Mesh.start({ replicas: 1 });
  const beta = mesh.region('beta');
  const { replica, proxy, port } = await replicate(beta);
  const client = beta.client();
  await client.mset('count', 10, 'changes', 'before', 'goes', 1);
  await client.rpush('list', 'a', 'b');
  await client.hset('removed', 'before', 1);
  const loads = await underLoad(mesh.regions, 810, () => sleep(500), 5);
  await mesh.waitEqual();

  await until(async () => (await replica.get('count')) === '10', 10_000, 'the replica lacks what was there before');
  proxy.set({ cut: true });
  await client.incrby('count', 5);
  await client.set('changes', 'lost there');
  await client.set('new', 'lost there');
  await client.del('goes');
  await client.hset('h', 'f', 1);
  await client.hset('removed', 'lost there', 1);
  await client.rpush('list', 'c');
  const lost = await underLoad([beta], 820, () => sleep(300), 5);
  await mesh.waitEqual();
  // Long enough for all to let go of what all have seen: what the replica has not got is not yet reported to be.
  await sleep(FLUSHED_MS + 1000);

  await beta.agent.signal('SIGKILL');
  await beta.redis.signal('SIGKILL');
  await replica.replicaof('NO', 'ONE');
  expect(await replica.get('count')).toBe('10');
  // Its clients go on at once.
  await replica.incrby('count', 100);
  await replica.set('changes', 'after');
  await replica.del('removed');
  beta.port = port;
  beta.configure((config) => (config.redis.port = port));
  const after = await underLoad(
    mesh.regions,
    830,
    async () => {
      beta.startAgent();
      await beta.ready();
      await sleep(300);
    },
    5,
  );
  await mesh.waitEqual();
  await expectKept(mesh, [...loads, ...lost, ...after]);
  for (const region of mesh.regions) {
    const found = region.client();
    expect(await found.mget('count', 'new', 'goes')).toEqual(['115', 'lost there', null]);
    expect(await found.hgetall('h')).toEqual({ f: '1' });
    // The DEL had not seen it.
    expect(await found.hgetall('removed')).toEqual({ 'lost there': '1' });
    expect(await found.lrange('list', 0, -1)).toEqual(['a', 'b', 'c']);
  }
});

test('a replica that has everything is promoted while the agent lives', async () => {
  mesh = await Mesh.start({ replicas: 1 });
  const beta = mesh.region('beta');
  const { replica, port } = await replicate(beta);
  const loads = await underLoad(mesh.regions, 840, () => sleep(500), 5);
  await mesh.waitEqual();
  await beta.client().set('last', 'word');
  await until(async () => (await replica.get('last')) === 'word', 10_000, 'the replica does not get the last write');
  await beta.redis.signal('SIGKILL');
  await replica.replicaof('NO', 'ONE');
  beta.port = port;
  beta.configure((config) => (config.redis.port = port));
  const after = await underLoad(
    mesh.regions,
    850,
    async () => {
      await beta.restartAgent('SIGTERM');
      await beta.ready();
      await sleep(200);
    },
    5,
  );
  await mesh.waitEqual();
  await expectKept(mesh, [...loads, ...after]);
});

test('a flush that no agent had read before another node took over is refused as any other', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'], replicas: 1, refusesFlush: true });
  const [alpha, beta] = mesh.regions as [Region, Region];
  const { replica, port } = await replicate(beta);
  await alpha.client({ db: 3 }).mset('a', 1, 'b', 2);
  await mesh.waitEqual();
  await beta.agent.signal('SIGKILL');
  // In a database without the cursor: its region keeps its place.
  await beta.client().multi().set('before', 1).select(3).flushdb().select(0).set('behind', 1).exec();
  await until(async () => (await replica.get('behind')) === '1', 10_000, 'the replica lacks the flush');
  await beta.redis.signal('SIGKILL');
  await replica.replicaof('NO', 'ONE');
  beta.port = port;
  beta.configure((config) => (config.redis.port = port));
  beta.startAgent();
  await beta.ready();
  await mesh.waitEqual();
  for (const region of mesh.regions) {
    expect(await region.client({ db: 3 }).mget('a', 'b')).toEqual(['1', '2']);
    expect(await region.client().mget('before', 'behind')).toEqual(['1', '1']);
  }
});

test('another node of the donor takes over between its digests and its values', async () => {
  // What beta still has to journal when it has the digests takes it ten seconds.
  mesh = await Mesh.start({ regions: ['alpha', 'beta'], replicas: 1, slowDisk: { beta: 4000 } });
  const [alpha, beta] = mesh.regions as [Region, Region];
  const { replica, proxy, port } = await replicate(alpha);
  const client = alpha.client();
  await client.set('count', 10);
  await mesh.waitEqual();
  await until(async () => (await replica.get('count')) === '10', 10_000, 'the replica lacks what was there before');
  proxy.set({ cut: true });
  await beta.client().incrby('count', 100);
  await mesh.waitEqual();
  await beta.agent.signal('SIGKILL');
  await beta.redis.signal('SIGTERM');
  await client.incrby('count', 1);
  await client.set('large', 'x'.repeat(40_000));
  await client.del('large');
  await beta.startRedis();
  beta.startAgent();
  await until(() => beta.tail().includes('comparing the full sync'), 15_000, 'it does not compare');
  await sleep(2500);
  await alpha.agent.signal('SIGKILL');
  await alpha.redis.signal('SIGKILL');
  await replica.replicaof('NO', 'ONE');
  expect(await replica.get('count')).toBe('10');
  // Its agent can't bring back yet what it lacks.
  await replica.config('SET', 'min-replicas-to-write', 5);
  alpha.port = port;
  alpha.configure((config) => (config.redis.port = port));
  alpha.startAgent();
  await until(() => /full sync compared|begun a new history/.test(beta.tail()), 30_000, 'it does not ask for values');
  await replica.config('SET', 'min-replicas-to-write', 0);
  await mesh.ready();
  await mesh.waitEqual();
  for (const region of mesh.regions) expect(await region.client().get('count')).toBe('111');
});

test('the machine of a primary and its agent crashes: what the journal lost, the promoted replica and the peers have', async () => {
  mesh = await Mesh.start({ replicas: 1 });
  const beta = mesh.region('beta');
  const { replica, port } = await replicate(beta);
  const client = beta.client();
  const other = beta.client({ db: 3 });
  const loads = await underLoad([mesh.region('alpha')], 860, async () => {
    await sleep(1500);
    const { metaFile: file } = beta;
    const meta = readFileSync(file);
    const { end } = JSON.parse(meta.toString().split('\n')[1]!) as { end: number };
    for (let i = 0; i < 100; i++) {
      await client.incr('count');
      await other.incr('count');
    }
    await until(async () => (await mesh.region('alpha').client().get('count')) === '100', 5000, 'alpha lacks it');
    await until(
      async () => (await mesh.region('gamma').client({ db: 3 }).get('count')) === '100',
      5000,
      'gamma lacks it',
    );
    await until(async () => (await replica.get('count')) === '100', 5000, 'the replica lacks it');
    await beta.agent.signal('SIGKILL');
    await beta.redis.signal('SIGKILL');
    expect(await loseTail(beta, 'beta', end)).toBeGreaterThan(0);
    writeFileSync(file, meta);
    await replica.replicaof('NO', 'ONE');
    beta.port = port;
    beta.configure((config) => (config.redis.port = port));
    beta.startAgent();
    await beta.ready();
    await sleep(200);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
  for (const region of mesh.regions) {
    expect(await region.client().get('count')).toBe('100');
    expect(await region.client({ db: 3 }).get('count')).toBe('100');
  }
});

test('an agent that dies before it has noted a new history begins it anew', async () => {
  mesh = await Mesh.start({ replicas: 1 });
  const beta = mesh.region('beta');
  const { replica, port } = await replicate(beta);
  await beta.client().incr('count');
  await mesh.waitEqual();
  await beta.agent.signal('SIGKILL');
  await beta.redis.signal('SIGKILL');
  await replica.replicaof('NO', 'ONE');
  beta.port = port;
  beta.configure((config) => (config.redis.port = port));
  for (let i = 0; i < 5; i++) await replica.incr('count');
  const inTheWay = `${beta.metaFile}.tmp`;
  mkdirSync(inTheWay);
  beta.startAgent();
  await until(() => Promise.resolve(beta.tail(200).includes('EISDIR')), 10_000, 'the agent can note its place');
  for (let i = 0; i < 100; i++) {
    await replica.incr('count');
    await sleep(10);
  }
  rmdirSync(inTheWay);
  await beta.ready();
  await mesh.waitEqual();
  for (const region of mesh.regions) expect(await region.client().get('count')).toBe('106');
});

test('the agent follows a failover by Sentinel, without a restart', async () => {
  mesh = await Mesh.start({ replicas: 1, agents: false });
  const beta = mesh.region('beta');
  const sentinelPort = beta.layout.redis.port + 5;
  await beta.startReplica();
  const { port } = beta.layout.replicas[0]!;
  const conf = path.join(mesh.dir, 'sentinel.conf');
  writeFileSync(
    conf,
    [
      `bind ${loopback}`,
      `port ${sentinelPort}`,
      `dir ${mesh.dir}`,
      `sentinel monitor beta ${loopback} ${beta.layout.redis.port} 1`,
      `sentinel auth-user beta ${agentUser}`,
      `sentinel auth-pass beta ${mesh.secrets.agentPassword}`,
      'sentinel down-after-milliseconds beta 700',
      'sentinel failover-timeout beta 10000',
      '',
    ].join('\n'),
  );
  const sentinel = mesh.program([conf, '--sentinel'], path.join(mesh.dir, 'sentinel.log'));
  sentinel.start();
  beta.configure((config) => {
    config.redis.sentinels = [{ host: loopback, port: sentinelPort }];
    config.redis.sentinelName = 'beta';
  });
  await mesh.startAgents();
  const watch = new Redis({ host: loopback, port: sentinelPort, retryStrategy: () => 100, maxRetriesPerRequest: null });
  watch.on('error', () => undefined);
  try {
    // Sentinel has to know the replica before it can promote it.
    await until(
      async () => JSON.stringify(await watch.call('SENTINEL', 'replicas', 'beta')).includes(`"${port}"`),
      20_000,
      'Sentinel does not find the replica',
    );
    const loads = await underLoad(
      [mesh.region('alpha'), mesh.region('gamma')],
      86,
      async () => {
        await beta.client().set('before', 1);
        await sleep(500);
        await beta.redis.signal('SIGKILL');
        await until(
          async () => {
            const role = await beta.client({ port }).role();
            return role[0] === 'master';
          },
          20_000,
          'Sentinel does not promote the replica',
        );
        beta.port = port;
        await beta.client().set('after', 1);
        await until(async () => (await beta.status()).state === 'active', 20_000, 'the agent does not follow');
        await sleep(300);
      },
      5,
    );
    await mesh.waitEqual();
    await expectKept(mesh, loads);
    expect(await mesh.region('alpha').client().mget('before', 'after')).toEqual(['1', '1']);
  } finally {
    watch.disconnect();
  }
});
