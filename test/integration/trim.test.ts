import type { AgentConfigInput } from '../../agent/config';
import { Mesh, until } from './mesh';

// What every region has leaves the journals. (Of keys that are never at rest: agent/merge/hot-key.test.ts.)

const SEGMENT_BYTES = 64 * 1024;

let mesh: Mesh;
afterEach(() => mesh?.stop());

/** Writes a dozen segments. */
async function write(region: string): Promise<void> {
  const client = mesh.region(region).client();
  for (let i = 0; i < 200; i++) {
    const pipeline = client.pipeline();
    for (let j = 0; j < 4; j++) pipeline.set(`${region}:${i % 20}:${j}`, String(i).padEnd(1000));
    await pipeline.exec();
  }
}

/** Waits until no journal holds more than the last segments, and what has just been written. */
async function haveLeft(): Promise<void> {
  let last: number[] = [];
  await until(
    async () => {
      const journals = mesh.running.map(async (region) => (await region.status())['journal'] as { segments: number });
      last = (await Promise.all(journals)).map(({ segments }) => segments);
      return last.every((segments) => segments <= 4);
    },
    20_000,
    async () => `journals of ${last.join(', ')} segments\n${await mesh.describe()}`,
  );
}

test('where nobody has written in a region yet', async () => {
  const whole = new Map<string, AgentConfigInput>();
  mesh = await Mesh.start({
    regions: ['alpha', 'beta', 'gamma', 'delta'],
    only: ['alpha', 'beta', 'gamma'],
    configure: (config) => {
      config.journal = { ...config.journal, segmentBytes: SEGMENT_BYTES };
      whole.set(config.region, structuredClone(config));
      if (config.region === 'delta') return;
      config.members = config.members.filter(({ name }) => name !== 'delta');
      config.peers = config.peers?.filter(({ region }) => region !== 'delta');
    },
  });
  const three = mesh.regions.slice(0, 3);
  await write('alpha');
  for (const region of three)
    await until(
      async () => (await region.client().get('alpha:19:3')) === '199'.padEnd(1000),
      20_000,
      `${region.name} does not get it`,
    );
  await haveLeft();
  for (const region of three) await region.restartAgent();
  await mesh.ready(three.map(({ name }) => name));
  for (const region of three) expect(region.tail(12)).toContain('"sync":"continue"');

  // Nor is what has left missed by a region that joins.
  for (const region of three) {
    region.configure((config) => Object.assign(config, whole.get(region.name)));
    await region.restartAgent();
  }
  const delta = mesh.region('delta');
  await delta.startRedis();
  delta.startAgent();
  await mesh.ready();
  await mesh.region('beta').client().set('first', 'of beta');
  await delta.client().set('second', 'of delta');
  await mesh.waitEqual();
  expect(await mesh.region('gamma').client().mget('first', 'second')).toEqual(['of beta', 'of delta']);
});
