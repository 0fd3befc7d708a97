import { setTimeout as sleep } from 'node:timers/promises';
import { expectKept, underLoad } from './load';
import { Dice, isLong, Mesh, type Region, until } from './mesh';

// Links that break and come back, and topologies in which not all regions are linked.

let mesh: Mesh;
afterEach(() => mesh?.stop());

const cutMs = isLong ? 20_000 : 1500;

/** Everybody on the same few keys: each kind of value, deletes, times to live. */
async function contradict(regions: readonly Region[], seed: number, n: number): Promise<void> {
  await Promise.all(
    regions.map(async (region, r) => {
      const dice = new Dice(seed + r);
      const client = region.client();
      for (let i = 0; i < n; i++) {
        const k = dice.below(10);
        const m = `m${dice.below(5)}`;
        const value = `${region.name}${i}`;
        switch (dice.below(12)) {
          case 0:
          case 1:
            await client.set(`c:s${k}`, value);
            break;
          case 2:
            await client.hset(`c:h${k}`, m, value);
            break;
          case 3:
            await client.hdel(`c:h${k}`, m);
            break;
          case 4:
            await client.sadd(`c:set${k}`, m, value);
            break;
          case 5:
            await client.srem(`c:set${k}`, m);
            break;
          case 6:
            await client.zadd(`c:z${k}`, i, m);
            break;
          case 7:
            await client.del(`c:${dice.pick(['s', 'h', 'set', 'z'])}${k}`);
            break;
          case 8:
            await client.set(`c:s${k}`, value, 'PX', 60_000 + dice.below(1000));
            break;
          case 9:
            await client.incrby(`c:n${k}`, 1);
            break;
          case 10:
            await client.rpush(`c:l${k}`, value);
            break;
          case 11:
            await client.zincrby(`c:z${k}`, 1.5, m);
        }
      }
    }),
  );
}

test('a region is cut off, all go on writing, and it comes back', async () => {
  mesh = await Mesh.start();
  const loads = await underLoad(mesh.regions, 61, async () => {
    await contradict(mesh.regions, 161, 50);
    mesh.partition('gamma');
    await contradict(mesh.regions, 162, 150);
    await sleep(cutMs);
    mesh.heal();
    await contradict(mesh.regions, 163, 50);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('two regions are cut off from each other: the third relays', async () => {
  mesh = await Mesh.start();
  mesh.partition('alpha', 'beta');
  const [alpha, beta] = [mesh.region('alpha'), mesh.region('beta')];
  const loads = await underLoad(mesh.regions, 62, () => contradict(mesh.regions, 164, 100), 5);
  await mesh.waitEqual();
  await expectKept(mesh, loads);
  const { links } = await alpha.status();
  expect(links.find(({ peer }) => peer === 'beta')).toMatchObject({ state: 'down', via: 'gamma' });

  // The relay dies, and comes back.
  const more = await underLoad(
    mesh.regions,
    262,
    async () => {
      await mesh.region('gamma').restartAgent();
      await contradict([alpha, beta], 165, 100);
      await mesh.region('gamma').ready();
    },
    5,
  );
  await mesh.waitEqual();
  mesh.heal();
  const last = await underLoad(
    mesh.regions,
    362,
    async () => {
      await until(async () => (await alpha.status()).links.every(({ state }) => state === 'up'), 15_000, 'no link');
    },
    5,
  );
  await mesh.waitEqual();
  await expectKept(mesh, [...loads, ...more, ...last]);
});

test('links break and come back at random', async () => {
  mesh = await Mesh.start();
  const dice = new Dice(63);
  const names = mesh.regions.map(({ name }) => name);
  const loads = await underLoad(mesh.regions, 63, async () => {
    for (let i = 0; i < (isLong ? 100 : 10); i++) {
      mesh.heal();
      const a = dice.pick(names);
      if (dice.below(3) === 0) mesh.partition(a);
      else mesh.partition(a, dice.pick(names.filter((name) => name !== a)));
      await Promise.all([contradict(mesh.regions, 600 + i, 10), sleep(100 + dice.below(400))]);
    }
    mesh.heal();
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('a slow line', async () => {
  mesh = await Mesh.start();
  mesh.delay('alpha', 'beta', 120);
  mesh.delay('alpha', 'gamma', 60);
  const loads = await underLoad(mesh.regions, 64, () => contradict(mesh.regions, 166, 300));
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

const four = ['alpha', 'beta', 'gamma', 'delta'];

test('four regions in a row: three links', async () => {
  mesh = await Mesh.start({
    regions: four,
    links: [
      ['alpha', 'beta'],
      ['beta', 'gamma'],
      ['gamma', 'delta'],
    ],
  });
  const loads = await underLoad(mesh.regions, 65, () => contradict(mesh.regions, 167, 100), 10);
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('four regions in a ring: one link breaks', async () => {
  mesh = await Mesh.start({
    regions: four,
    links: [
      ['alpha', 'beta'],
      ['beta', 'gamma'],
      ['gamma', 'delta'],
      ['delta', 'alpha'],
    ],
  });
  const loads = await underLoad(
    mesh.regions,
    66,
    async () => {
      await contradict(mesh.regions, 168, 50);
      mesh.partition('alpha', 'beta');
      await contradict(mesh.regions, 169, 50);
    },
    10,
  );
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('a star, whose hub is killed', async () => {
  mesh = await Mesh.start({
    regions: four,
    links: [
      ['beta', 'alpha'],
      ['beta', 'gamma'],
      ['beta', 'delta'],
    ],
  });
  const loads = await underLoad(
    mesh.regions,
    67,
    async () => {
      await contradict(mesh.regions, 170, 50);
      await mesh.region('beta').restartAgent();
      await contradict(mesh.regions, 171, 50);
      await mesh.ready();
    },
    10,
  );
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});
