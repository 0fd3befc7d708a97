import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Journal } from '../../agent/journal';
import { loseTail } from './journal';
import { expectKept, underLoad } from './load';
import { isLong, Mesh, type Region, until } from './mesh';

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
  await alpha.agent.signal('SIGTERM');
  expect(await alpha.agent.end).toBe('status 0');
  // Handed over is what they have in their journals; in their Redis it is a moment later.
  for (const name of ['beta', 'gamma']) {
    const client = mesh.region(name).client();
    await until(async () => (await client.get('last')) === 'word', 10_000, `${name} did not get the last write`);
  }
  alpha.startAgent();
  await alpha.ready();
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test("a machine's crash takes the end of a journal that peers have: it is read again, and nothing counts twice", async () => {
  mesh = await Mesh.start();
  const beta = mesh.region('beta');
  let lost = 0;
  const loads = await underLoad(mesh.regions, 45, async () => {
    await sleep(1500);
    await beta.agent.signal('SIGKILL');
    const journal = await Journal.open({ dir: path.join(beta.layout.agent.data, 'journal'), bytesMax: 2 ** 40 });
    const { offset } = journal.readMeta<{ offset: number }>()!;
    await journal.close();
    lost = await loseTail(beta, 'beta', offset);
    beta.startAgent();
    await beta.ready();
    await sleep(200);
  });
  expect(lost).toBeGreaterThan(0);
  await mesh.waitEqual();
  await expectKept(mesh, loads);
  expect(beta.tail(200)).toContain('"sync":"continue"');
});

/** alpha and gamma write the same key without knowing of each other; beta's Redis has alpha's, its journal has not. */
async function aheadOfItsJournal(): Promise<void> {
  mesh = await Mesh.start();
  const [alpha, beta, gamma] = mesh.regions as [Region, Region, Region];
  await alpha.client().mset('key', 0, 'count', 5);
  await mesh.waitEqual();
  mesh.partition('gamma');
  await gamma.client().mset('key', 'earlier', 'other', 1);
  await gamma.client().incrby('count', 3);
  await sleep(100);
  const origin = (await alpha.status()).origin!;
  const position = (await beta.status()).ends[origin]!;
  await alpha.client().mset('key', 'later', 'count', 100);
  const client = beta.client();
  await until(async () => (await client.get('key')) === 'later', 10_000, 'beta does not get it');
  // Its own stream is in its journal up to there.
  await sleep(1500);
  await beta.agent.signal('SIGKILL');
  expect(await loseTail(beta, 'alpha', position)).toBeGreaterThan(0);
}

test('a Redis that is ahead of its journal: what it holds comes again from a peer, and is merged with', async () => {
  await aheadOfItsJournal();
  const beta = mesh.region('beta');
  beta.startAgent();
  await beta.ready();
  mesh.heal();
  await mesh.waitEqual();
  expect(await beta.client().mget('key', 'count', 'other')).toEqual(['later', '103', '1']);
});

test('a Redis that is ahead of its journal, and nobody has what is missing: it goes on after a while', async () => {
  await aheadOfItsJournal();
  const beta = mesh.region('beta');
  mesh.partition('beta');
  beta.startAgent();
  await beta.client().set('meanwhile', 1);
  await beta.ready(20_000);
  expect(beta.tail(20)).toContain('nobody has these records');
  mesh.heal();
  for (const region of mesh.regions) {
    const client = region.client();
    const here = async (): Promise<boolean> =>
      (await client.mget('meanwhile', 'other')).every((value) => value === '1');
    await until(here, 20_000, `${region.name} does not go on`);
  }
});
