import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Mesh, until } from './mesh';

// What a client can do to the stream so that it can't be read on: the agent takes a full resync, and goes on behind it.

let mesh: Mesh;
afterEach(() => mesh?.stop());

test('a transaction beyond the limit costs a full resync, and nothing else', async () => {
  mesh = await Mesh.start({
    regions: ['alpha', 'beta'],
    configure: (config) => (config.limits = { transactionBytes: 64 * 1024 }),
  });
  const [alpha, beta] = mesh.regions.map((region) => region.client());
  await alpha!.mset('before', 1, 'counter', 10);
  await mesh.waitEqual();
  const diffs = async (): Promise<number> =>
    Number(/full_sync\S*\{[^}]*diff[^}]*\} (\d+)/.exec((await mesh.region('alpha').http('/metrics')).text)?.[1] ?? 0);
  expect(await diffs()).toBe(0);

  const transaction = alpha!.multi();
  for (let i = 0; i < 20; i++) transaction.set(`large:${i}`, 'x'.repeat(10_000));
  await transaction.incrby('counter', 5).del('before').exec();
  await alpha!.eval("for i = 1, 20 do redis.call('SET', 'script:' .. i, string.rep('y', 10000)) end", 0);
  // Meanwhile, on the same keys too.
  await beta!.incrby('counter', 100);
  await alpha!.set('after', 1);
  await until(async () => (await diffs()) > 0, 15_000, 'no full resync');
  await mesh.ready();
  await mesh.waitEqual();
  expect(await beta!.mget('before', 'counter', 'large:19', 'script:20', 'after')).toEqual([
    null,
    '115',
    'x'.repeat(10_000),
    'y'.repeat(10_000),
    '1',
  ]);

  // It goes on as ever: by its stream.
  const before = await diffs();
  await alpha!.set('again', 1);
  await mesh.waitEqual();
  expect(await beta!.get('again')).toBe('1');
  expect(await diffs()).toBe(before);
});

test('a full resync that breaks off when its differences are told is begun anew', async () => {
  mesh = await Mesh.start({
    regions: ['alpha', 'beta'],
    configure: (config) => (config.limits = { transactionBytes: 64 * 1024 }),
    // So that it takes a while until the new place can be noted.
    slowDisk: { alpha: 500 },
  });
  const region = mesh.region('alpha');
  const [alpha, beta] = mesh.regions.map((each) => each.client());
  await alpha!.set('counter', 10);
  await mesh.waitEqual();
  const transaction = alpha!.multi();
  for (let i = 0; i < 20; i++) transaction.set('large', 'x'.repeat(10_000));
  await transaction.del('large').incrby('counter', 5).exec();
  await until(() => readFileSync(region.metaFile, 'utf8').includes('"resync":true'), 30_000, 'it is not kept');
  await alpha!.incrby('counter', 100);
  await region.agent.signal('SIGKILL');
  await alpha!.incrby('counter', 1000);
  region.startAgent();
  await mesh.ready();
  await mesh.waitEqual();
  for (const client of [alpha!, beta!]) expect(await client.get('counter')).toBe('1115');
  expect(readFileSync(region.metaFile, 'utf8')).not.toContain('"resync"');
});

test("a client's hand on the agent's own keys stops nothing", async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
  const [alpha, beta] = mesh.regions.map((region) => region.client());
  await alpha!.set('k', 1);
  await mesh.waitEqual();
  const origins = Array.from({ length: 70_000 }, (_, i) => `o:${i}=1`).join(',');
  for (const [key, value] of [
    ['meridian:heartbeat', '1e300'],
    ['meridian:heartbeat', ''],
    ['meridian:cursor', 'garbage'],
    ['meridian:cursor', `1 b 5 ${origins}`],
  ] as const) {
    await alpha!.set(key, value);
    await alpha!.incr('k');
    await beta!.incr('k');
    await sleep(100);
  }
  await alpha!.del('meridian:cursor', 'meridian:heartbeat');
  await alpha!.incr('k');
  await mesh.ready();
  await mesh.waitEqual();
  expect(await beta!.get('k')).toBe('10');
});
