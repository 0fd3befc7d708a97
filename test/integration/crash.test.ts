import { setTimeout as sleep } from 'node:timers/promises';
import { expectKept, underLoad } from './load';
import { isLong, Mesh } from './mesh';

// An agent that is killed at any moment has lost nothing, and does nothing twice.

let mesh: Mesh;
afterEach(() => mesh?.stop());

const kills = isLong ? 20 : 3;

test('an agent is killed under load, again and again', async () => {
  mesh = await Mesh.start();
  const beta = mesh.region('beta');
  const loads = await underLoad(mesh.regions, 41, async () => {
    for (let i = 0; i < kills; i++) {
      await sleep(300 + i * 150);
      await beta.restartAgent();
      await beta.ready();
    }
    await sleep(200);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('all agents are killed under load, also while they start', async () => {
  mesh = await Mesh.start();
  const loads = await underLoad(mesh.regions, 42, async () => {
    for (let i = 0; i < kills; i++) {
      await sleep(300 + i * 100);
      await Promise.all(mesh.regions.map((region) => region.agent.signal('SIGKILL')));
      for (const region of mesh.regions) region.startAgent();
      if (i % 2 === 0) {
        await sleep(250 + i * 100);
        await mesh.region('gamma').restartAgent();
      }
      await mesh.ready();
    }
    await sleep(200);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('a graceful stop of an agent hands over all that was written before', async () => {
  mesh = await Mesh.start();
  const alpha = mesh.region('alpha');
  const loads = await underLoad(mesh.regions, 43, () => sleep(500), 0);
  await alpha.client().set('last', 'word');
  await sleep(100);
  await alpha.agent.signal('SIGTERM');
  expect(await alpha.agent.end).toBe('status 0');
  for (const name of ['beta', 'gamma']) expect(await mesh.region(name).client().get('last')).toBe('word');
  alpha.startAgent();
  await alpha.ready();
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});
