import { setTimeout as sleep } from 'node:timers/promises';
import { Mesh, type Region, until } from './mesh';
import { managedService, metric, write } from './notifications';

// Regions whose Redis gives no replication stream: changes are notified and read back. The agent's user may do there no more than at a managed service.

let mesh: Mesh | undefined;
afterEach(async () => {
  await mesh?.stop();
  mesh = undefined;
});

async function start(regions: readonly string[], notifications: readonly string[]): Promise<Mesh> {
  const isManaged = notifications.length === regions.length;
  mesh = await Mesh.start({ regions, notifications, redisConf: isManaged ? managedService : [] });
  return mesh;
}

describe.each([
  ['two regions by notifications', ['alpha', 'beta'], ['alpha', 'beta']],
  ['three regions by notifications', ['alpha', 'beta', 'gamma'], ['alpha', 'beta', 'gamma']],
  ['one by notifications beside two by the stream', ['alpha', 'beta', 'gamma'], ['beta']],
  ['the first by notifications beside one by the stream', ['alpha', 'beta'], ['alpha']],
])('%s', (_, regions, notifications) => {
  test('writes of all kinds in all regions at once end equal, and then nothing moves', async () => {
    const mesh = await start(regions, notifications);
    const seed = Math.floor(Math.random() * 1e6);
    try {
      await Promise.all(mesh.regions.map((region, i) => write(region, seed + i)));
      expect(await mesh.waitEqual(60_000)).toBeGreaterThan(20);
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
    // What agents wrote is told by nobody as a client's write.
    const captured = (): Promise<number[]> =>
      Promise.all(mesh.regions.map((region) => metric(region, 'meridian_captured_operations_total')));
    await sleep(1000);
    const before = await captured();
    await sleep(2500);
    expect(await captured()).toEqual(before);
    for (const region of mesh.regions) expect((await region.status()).deadLetters).toBe(0);
  });
});

test('one write is one operation in every region', async () => {
  const mesh = await start(['alpha', 'beta'], ['alpha', 'beta']);
  const [alpha, beta] = mesh.regions as [Region, Region];
  await mesh.waitEqual();
  const captured = async (): Promise<number[]> => [
    await metric(alpha, 'meridian_captured_operations_total'),
    await metric(beta, 'meridian_captured_operations_total'),
  ];
  const before = await captured();
  await alpha.client().set('once', 'only');
  const far = beta.client();
  await until(async () => (await far.get('once')) === 'only', 5000, 'the write did not arrive');
  await sleep(1500);
  const after = await captured();
  expect([after[0]! - before[0]!, after[1]! - before[1]!]).toEqual([1, 0]);
  expect(await metric(beta, 'meridian_capture_echoes_total')).toBeGreaterThan(0);
});
