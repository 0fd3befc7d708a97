import { setTimeout as sleep } from 'node:timers/promises';
import { expectKept, Load, underLoad } from './load';
import { isLong, Mesh, type Region, until } from './mesh';

// Regions that come with data, and regions that come late.

let mesh: Mesh;
afterEach(() => mesh?.stop());

/** Writes many keys quickly; every seventh is a hash, a set, a sorted set or a list. */
async function fill(name: string, prefix: string, keys: number): Promise<void> {
  const client = mesh.region(name).client();
  for (let i = 0; i < keys;) {
    const pipeline = client.pipeline();
    for (const end = Math.min(keys, i + 5000); i < end; i++) {
      const key = `${prefix}:${i}`;
      if (i % 28 === 7) pipeline.hset(key, 'a', `${name}${i}`, 'b', i);
      else if (i % 28 === 14) pipeline.sadd(key, `${name}`, i);
      else if (i % 28 === 21) pipeline.zadd(key, i, `${name}`, -i, 'low');
      else if (i % 28 === 27) pipeline.rpush(key, name, `${i}`);
      else if (i % 100 === 0) pipeline.set(key, `${name}${i}`, 'EX', 10_000);
      else pipeline.set(key, `${name}${i}`);
    }
    await pipeline.exec();
  }
}

test('100,000 keys in the primary, others elsewhere, some in both: all come together, the primary decides', async () => {
  mesh = await Mesh.start({ agents: false });
  await Promise.all([fill('alpha', 'data', 100_000), fill('beta', 'beta', 2000), fill('gamma', 'gamma', 500)]);
  // In both, with other values.
  const beta = mesh.region('beta').client();
  for (const i of [1, 7, 14, 21, 27, 50_000]) await beta.del(`data:${i}`);
  await fill('beta', 'data', 100);
  await beta.select(5);
  await beta.set('elsewhere', 'beta');
  await mesh.startAgents();
  const keys = await mesh.waitEqual(60_000);
  expect(keys).toBe(100_000 + 2000 + 500 + 1 + 3);
  for (const region of mesh.regions) {
    const client = region.client();
    expect(await client.get('data:1')).toBe('alpha1');
    expect(await client.get('data:99')).toBe('alpha99');
    expect(await client.get('beta:1999')).toBe('beta1999');
    expect(await client.get('gamma:499')).toBe('gamma499');
    // Of collections in both, the primary's elements, and those that it lacks.
    expect(await client.hget('data:7', 'a')).toBe('alpha7');
    expect((await client.smembers('data:14')).sort()).toEqual(['14', 'alpha', 'beta']);
    expect(await client.zscore('data:21', 'alpha')).toBe('21');
    expect(await client.lrange('data:27', 0, -1)).toEqual(['alpha', '27']);
    expect(await client.ttl('data:100')).toBeGreaterThan(9000);
  }
});

test('the first write of a new mesh, in a region that joined, reaches the one that began it', async () => {
  mesh = await Mesh.start();
  await mesh.region('gamma').client().set('first', 'gamma');
  // Nothing else is written anywhere, not even to see whether all are equal: that would set it going.
  const alpha = mesh.region('alpha').client();
  await until(
    async () => (await alpha.get('first')) === 'gamma',
    10_000,
    () => 'alpha does not get it',
  );
});

test('a fourth region joins, is stopped and comes back', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta', 'gamma', 'delta'], only: ['alpha', 'beta', 'gamma'] });
  const three = mesh.running;
  const delta = mesh.region('delta');
  const loads = await underLoad(
    three,
    95,
    async () => {
      await sleep(300);
      await delta.startRedis();
      delta.startAgent();
      await delta.ready();
      await delta.agent.signal('SIGTERM');
      await delta.redis.signal('SIGTERM');
      await sleep(500);
      await delta.startRedis();
      delta.startAgent();
      await delta.ready();
    },
    5,
  );
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

/** Who is linked. The star has all that a mesh has, and a region that is no neighbour. */
const countings = [
  ...(isLong ? [['mesh', undefined] as const] : []),
  ['star', [['alpha', 'beta'] as const, ['alpha', 'gamma'] as const]] as const,
];

test.each(countings)('in a %s a region joins when all others count it, and not before', async (_, links) => {
  mesh = await Mesh.start({ agents: false, ...(links !== undefined && { links }) });
  const [alpha, beta, gamma] = mesh.regions as [Region, Region, Region];
  const changes: Parameters<Region['configure']>[0][] = [];
  beta.configure((config) => {
    const { members, peers } = config;
    changes.push((later) => Object.assign(later, { members, peers }));
    config.members = members.filter(({ name }) => name !== 'gamma');
    config.peers = peers?.filter(({ region }) => region !== 'gamma');
  });
  for (const region of [alpha, beta]) region.startAgent();
  for (const region of [alpha, beta]) await region.ready();
  gamma.startAgent();
  await until(
    () =>
      gamma.status().then(
        ({ links }) => links.every(({ state }) => state === 'up'),
        () => false,
      ),
    10_000,
    () => gamma.tail(20),
  );
  await until(
    () => gamma.tail(100).includes('"regions":["beta"],"msg":"waiting for regions that do not count this one yet"'),
    30_000,
    () => gamma.tail(20),
  );
  expect((await gamma.status()).state).toBe('syncing');
  beta.configure(changes[0]!);
  await beta.restartAgent('SIGTERM');
  await gamma.ready();
  await beta.client().set('k', 'v');
  await mesh.waitEqual();
});

test('an agent that lost its journal starts over from its peers', async () => {
  mesh = await Mesh.start();
  const gamma = mesh.region('gamma');
  const loads = await underLoad(mesh.regions, 97, () => sleep(500), 5);
  await mesh.waitEqual();
  await gamma.agent.signal('SIGKILL');
  gamma.forget();
  const more = await underLoad(
    mesh.regions,
    197,
    async () => {
      await sleep(300);
      gamma.startAgent();
      await until(
        async () => (await gamma.status().catch(() => null))?.state === 'active',
        20_000,
        'gamma is not active',
      );
      await sleep(300);
    },
    5,
  );
  await mesh.waitEqual();
  await expectKept(mesh, [...loads, ...more]);
});

/**
 * Waits until a region's join has come to where `phase` says. An agent that has just begun gives no reason: it is no phase of a join, and what clients
 * write then is what the region brings, of which the mesh's strings stand.
 */
async function joining(region: Region, phase: RegExp): Promise<void> {
  await until(
    async () => {
      const { state, reason } = await region.status().catch(() => ({ state: 'starting', reason: 'starting' }));
      return state === 'active' || phase.test(reason ?? '');
    },
    30_000,
    `${region.name} does not come to ${String(phase)}`,
  );
}

/** Gamma joins a mesh with data, which is written to, and has a load of its own as soon as `phase` is reached. */
async function joinUnderLoad(
  seed: number,
  phase: RegExp,
  pauseMs: number | undefined,
  meanwhile: (gamma: Region) => Promise<void>,
): Promise<void> {
  mesh = await Mesh.start({ only: ['alpha', 'beta'] });
  const [alpha, beta, gamma] = mesh.regions as [Region, Region, Region];
  await fill('alpha', 'before', 20_000);
  let late: Load | undefined;
  const others = async (): Promise<void> => {
    await sleep(300);
    await gamma.startRedis();
    gamma.startAgent();
    // Its own clients do not wait for the mesh either, from the moment in which the agent reads what they do.
    await joining(gamma, phase);
    late = new Load(gamma, seed + 2, 5, false).start();
    await meanwhile(gamma);
    await sleep(500);
    await late.stop();
  };
  const loads = await underLoad([alpha, beta], seed, others, pauseMs);
  await mesh.waitEqual();
  await expectKept(mesh, [...loads, late!]);
  expect(await gamma.client().get('before:19998')).toBe('alpha19998');
}

test('a third region joins a mesh under load', () => joinUnderLoad(91, /mesh/, undefined, (gamma) => gamma.ready()));

test(
  'the agent of a region that joins is killed, again and again, while everybody writes',
  () =>
    joinUnderLoad(391, /looking for the mesh|loading/, 5, async (gamma) => {
      for (const [phase, afterMs] of [
        [/loading/, 0],
        [/loading/, 150],
        [/getting/, 0],
      ] as const) {
        await joining(gamma, phase);
        await sleep(afterMs);
        await gamma.restartAgent();
      }
      await gamma.ready();
    }),
  150_000,
);

test(
  'the donor of a region that joins is killed, and comes back',
  () =>
    joinUnderLoad(491, /looking for the mesh|loading/, 5, async (gamma) => {
      await joining(gamma, /loading/);
      const donor = /"donor":"(\w+)"/.exec(gamma.tail(20))?.[1] ?? 'alpha';
      await mesh.region(donor).agent.signal('SIGKILL');
      // The other one is asked.
      await gamma.ready();
      await sleep(300);
      mesh.region(donor).startAgent();
      await mesh.ready();
    }),
  150_000,
);
