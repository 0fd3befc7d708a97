import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { type AgentConfigInput } from '../../agent/config';
import type { TrialReport } from '../../agent/dry-run';
import { Mesh, type Region, until } from './mesh';

// A trial on servers that are in use: regions read each other and report, and nothing of it is written.

let mesh: Mesh;
afterEach(() => mesh?.stop());

const dry = (config: AgentConfigInput): void => void (config.replication = { ...config.replication, dryRun: true });
const live = (config: AgentConfigInput): void => void (config.replication = { ...config.replication, dryRun: false });

async function reportOf(region: Region): Promise<TrialReport> {
  const { dryRun } = await region.status();
  if (dryRun === null) throw new Error(`${region.name} is in no dry run`);
  return dryRun as TrialReport;
}

function inDryRun(region: Region): Promise<void> {
  const isSo = async (): Promise<boolean> => (await region.status().catch(() => null))?.state === 'dry-run';
  return until(isSo, 20_000, () => `${region.name} is in no dry run\n${region.tail()}`);
}

/** Waits until a region's keys have been compared, and each other region has been heard. */
function hasCompared(region: Region): Promise<void> {
  const isSo = async (): Promise<boolean> => {
    const { links } = await region.status();
    return (await reportOf(region)).keys !== null && links.every(({ lagMs }) => lagMs !== null);
  };
  return until(isSo, 30_000, async () => `not compared: ${JSON.stringify(await region.status())}\n${region.tail()}`);
}

/** All that a Redis holds, byte by byte. */
async function contentOf(client: Redis): Promise<unknown> {
  const keys = (await client.keys('*')).sort();
  const dumps = await Promise.all(keys.map(async (key) => (await client.dumpBuffer(key)).toString('hex')));
  const databases = (await client.info('keyspace')).match(/^db.*:keys=\d+/gm);
  return { keys, dumps, databases };
}

/** Commands that a Redis has run since it began, which an agent could write with. */
const writes = [
  'set',
  'mset',
  'eval',
  'evalsha',
  'multi',
  'exec',
  'restore',
  'del',
  'unlink',
  'config|set',
  'function',
];
async function writesOf(client: Redis): Promise<Record<string, number>> {
  const stats = await client.info('commandstats');
  const calls = (name: string): number =>
    Number(new RegExp(`^cmdstat_${name.replace('|', '\\|')}[^:]*:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
  return Object.fromEntries(writes.map((name) => [name, calls(name)]));
}

test('two regions report what they would do, write nothing, and are equal afterwards', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'], agents: false, configure: dry });
  const [alpha, beta] = mesh.regions as [Region, Region];
  const [a, b] = [alpha.client(), beta.client()];
  // What both had before, each for itself.
  await a.mset('same', '1', 'differs', 'alpha', 'only:alpha', '1');
  await b.mset('same', '1', 'differs', 'beta', 'only:beta', '1', 'only:beta:2', '2');
  const before = { a: await contentOf(a), b: await contentOf(b), writes: [await writesOf(a), await writesOf(b)] };
  for (const region of mesh.regions) region.startAgent();
  for (const region of mesh.regions) await inDryRun(region);
  for (const region of mesh.regions) await hasCompared(region);
  expect({ a: await contentOf(a), b: await contentOf(b), writes: [await writesOf(a), await writesOf(b)] }).toEqual(
    before,
  );
  // Beta would join: alpha is the primary, and its values would stand.
  expect((await reportOf(alpha)).keys).toMatchObject({ with: null, here: 3 });
  expect((await reportOf(beta)).keys).toMatchObject({
    ...{ with: 'alpha', here: 4, there: 3, equal: 1, differing: 1, onlyHere: 2, onlyThere: 1 },
  });

  // One after the other: nothing meets.
  await a.set('calm', 'alpha');
  await until(async () => (await reportOf(beta)).wouldApply.operations === 1, 10_000, 'beta does not hear of alpha');
  await sleep(200);
  await b.set('calm', 'beta');
  await until(async () => (await reportOf(alpha)).wouldApply.operations === 1, 10_000, 'alpha does not hear of beta');
  expect((await reportOf(alpha)).wouldConflict.operations).toBe(0);
  expect((await reportOf(beta)).wouldConflict.operations).toBe(0);

  // What has not seen each other.
  mesh.partition('alpha');
  await a.set('met', 'alpha');
  await a.hset('h', 'f', 'alpha');
  await a.rpush('list', 'alpha');
  await a.incr('n');
  await sleep(500);
  await b.set('met', 'beta');
  await b.hset('h', 'f', 'beta', 'other', '1');
  await b.rpush('list', 'beta');
  const held = { a: await contentOf(a), b: await contentOf(b), writes: [await writesOf(a), await writesOf(b)] };
  mesh.heal();
  for (const [region, operations] of [
    [alpha, 4],
    [beta, 5],
  ] as const)
    await until(
      async () => (await reportOf(region)).wouldApply.operations === operations,
      15_000,
      async () => `${region.name}: ${JSON.stringify(await region.status())}`,
    );
  await sleep(300);
  for (const region of mesh.regions) {
    const { wouldConflict, forgotten } = await reportOf(region);
    expect(wouldConflict.byType).toEqual({ string: 1, hash: 1, verbatim: 1 });
    expect(forgotten).toBe(0);
  }
  expect((await reportOf(beta)).wouldApply.byClass).toEqual({ 'element-wise merge': 4, 'verbatim while quiet': 1 });
  expect({ a: await contentOf(a), b: await contentOf(b), writes: [await writesOf(a), await writesOf(b)] }).toEqual(
    held,
  );
  expect(await a.keys('meridian:*')).toEqual([]);
  expect(await b.keys('meridian:*')).toEqual([]);
  // WAIT does not count what nobody has.
  await a.set('waited', '1');
  expect(await a.wait(1, 300)).toBe(0);
  await until(async () => (await reportOf(beta)).wouldApply.operations === 6, 10_000, 'beta does not hear of alpha');

  // A link that breaks is no new snapshot.
  const snapshots = async (): Promise<string | undefined> => /sync_full:\d+/.exec(await a.info('stats'))?.[0];
  const taken = await snapshots();
  const { operations } = (await reportOf(beta)).wouldApply;
  await a.client('KILL', 'TYPE', 'REPLICA');
  await a.set('behind it', '1');
  await until(
    async () => (await reportOf(beta)).wouldApply.operations === operations + 1,
    15_000,
    async () => `${operations}: ${JSON.stringify(await beta.status())}\n${alpha.tail()}`,
  );
  expect(await snapshots()).toBe(taken);

  // The end of the trial: a restart, and beta joins.
  for (const region of mesh.regions) {
    region.configure(live);
    await region.restartAgent('SIGTERM');
  }
  await mesh.ready();
  await mesh.waitEqual();
  expect(await b.mget('same', 'differs', 'only:alpha', 'only:beta', 'met')).toEqual(['1', 'alpha', '1', '1', 'alpha']);
  expect((await alpha.status()).dryRun).toBeNull();
});

test('a region in dry run beside one that is not, and back to its place', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
  const [alpha, beta] = mesh.regions as [Region, Region];
  const [a, b] = [alpha.client(), beta.client()];
  await a.set('before', '1');
  await mesh.waitEqual();

  beta.configure(dry);
  await beta.restartAgent('SIGTERM');
  await inDryRun(beta);
  await hasCompared(beta);
  const before = [await contentOf(b), await writesOf(b)];
  await a.set('k', 'alpha');
  await a.incrby('n', 5);
  await until(async () => (await reportOf(beta)).wouldApply.operations === 2, 10_000, 'beta does not hear of alpha');
  expect([await contentOf(b), await writesOf(b)]).toEqual(before);
  // Long after beta's write has been heard of, had it been sent: no conflict.
  await b.set('theirs', 'beta');
  await sleep(1000);
  await a.set('theirs', 'alpha');
  await until(async () => (await reportOf(beta)).wouldApply.operations === 3, 10_000, 'beta does not hear of alpha');
  expect((await reportOf(beta)).wouldConflict.operations).toBe(0);
  // Nothing of beta goes to alpha.
  expect(Object.keys((await alpha.status()).ends).filter((origin) => origin.includes('dry-run'))).toEqual([]);
  expect(await a.get('theirs')).toBe('alpha');
  await b.incrby('n', 2);
  await b.set('own', 'beta');
  expect(await a.get('n')).toBe('5');

  beta.configure(live);
  await beta.restartAgent('SIGTERM');
  await mesh.ready();
  await mesh.waitEqual();
  for (const client of [a, b])
    expect(await client.mget('before', 'k', 'n', 'own', 'theirs')).toEqual(['1', 'alpha', '7', 'beta', 'alpha']);
});
