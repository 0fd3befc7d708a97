import { setTimeout as sleep } from 'node:timers/promises';
import { Mesh, type Region, until } from './mesh';

// Regions in semi-sync beside one that captures by notifications: its agent holds back nothing of its own Redis, and journals what others write as any agent does.

/** Of Redis, in seconds; beyond it a region that nobody has acknowledged takes no writes. */
const minReplicasMaxLag = 2;
/** As long as both limits, and more. */
const idleMs = 1000 + 1000 * minReplicasMaxLag + 3000;

let mesh: Mesh;
let regions: [Region, Region, Region];
afterEach(() => mesh?.stop());

/** alpha and gamma in semi-sync, beta by notifications. */
async function start(): Promise<void> {
  mesh = await Mesh.start({
    notifications: ['beta'],
    semiSync: ['alpha', 'gamma'],
    redisConf: [`min-replicas-max-lag ${minReplicasMaxLag}`],
  });
  regions = mesh.regions as [Region, Region, Region];
}

/** Writes when Redis lets it: on a busy machine an acknowledgement may be late, but one that is withheld is so for 45 s. */
async function takes(client: ReturnType<Region['client']>, key: string, value = 'taken'): Promise<void> {
  const attempt = (): Promise<string> => client.set(key, value).catch((error: unknown) => String(error));
  await until(async () => (await attempt()) === 'OK', 15_000, `${key} is refused`);
}

test('what WAIT confirmed outlives its region, though only one by notifications had been reached', async () => {
  await start();
  const [alpha, , gamma] = regions;
  mesh.partition('gamma');
  const client = alpha.client();
  await takes(client, 'confirmed', 'yes');
  expect(await client.wait(1, 10_000)).toBe(1);
  // With its journal, its Redis, and all links that it had.
  await alpha.stop('SIGKILL');
  const far = gamma.client();
  expect(await far.get('confirmed')).toBeNull();
  mesh.heal();
  await until(async () => (await far.get('confirmed')) === 'yes', 20_000, 'the confirmed write is lost');
});

test('a region in semi-sync where nobody writes can be written to, also after its Redis has started again', async () => {
  await start();
  const [alpha] = regions;
  const client = alpha.client();
  await takes(client, 'first');
  await sleep(idleMs);
  await takes(client, 'second');
  await alpha.redis.signal('SIGKILL');
  await alpha.startRedis();
  await alpha.ready();
  await sleep(idleMs);
  await takes(client, 'third');
  expect(await client.wait(1, 10_000)).toBe(1);
}, 60_000);

test('cut off, a region in semi-sync confirms nothing and stops taking writes; the other two go on', async () => {
  await start();
  const [alpha, beta, gamma] = regions;
  const [a, b, c] = [alpha.client(), beta.client(), gamma.client()];
  // By notifications nobody acknowledges, and nobody is waited for.
  await b.set('beta', 'before');
  expect(await b.wait(1, 300)).toBe(0);

  mesh.partition('alpha');
  await a.set('alpha', 'alone');
  expect(await a.wait(1, 300)).toBe(0);
  await until(
    async () => {
      const reply = await a.set('alpha', 'alone').catch((error: unknown) => String(error));
      return reply.includes('NOREPLICAS');
    },
    20_000,
    'the region that reaches nobody goes on taking writes',
  );
  await takes(c, 'gamma', 'goes on');
  expect(await c.wait(1, 10_000)).toBe(1);
  await b.set('beta', 'goes on');

  mesh.heal();
  await takes(a, 'alpha', 'again');
  await mesh.waitEqual();
  expect(await c.mget('alpha', 'beta', 'gamma')).toEqual(['again', 'goes on', 'goes on']);
});
