import { setTimeout as sleep } from 'node:timers/promises';
import { expectKept, underLoad } from './load';
import { isLong, Mesh } from './mesh';

let mesh: Mesh;
afterEach(() => mesh?.stop());

const rounds = isLong ? 10 : 1;

test('Redis and its agent are killed together under load', async () => {
  mesh = await Mesh.start();
  const beta = mesh.region('beta');
  const loads = await underLoad(mesh.regions, 53, async () => {
    for (let i = 0; i < rounds; i++) {
      await sleep(400);
      await Promise.all([beta.redis.signal('SIGKILL'), beta.agent.signal('SIGKILL')]);
      await beta.startRedis();
      await sleep(300);
      beta.startAgent();
      await beta.ready();
    }
    await sleep(200);
  });
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});
