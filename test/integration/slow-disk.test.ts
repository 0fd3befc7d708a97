import { Mesh, type Region } from './mesh';

// A journal's disk that is slower than what comes: what has no room waits where it comes from, and not in the agent.

const MIB = 1024 ** 2;
const VALUE = 'x'.repeat(10_000);
const WRITES = 1200;

let mesh: Mesh;
afterEach(() => mesh?.stop());

async function pendingBytes(region: Region): Promise<number> {
  const { text } = await region.http('/metrics');
  return Number(/^meridian_journal_pending_bytes\S* (\S+)$/m.exec(text)![1]);
}

async function write(region: Region): Promise<void> {
  const client = region.client();
  for (let i = 0; i < WRITES; i += 100) {
    const pipeline = client.pipeline();
    for (let j = i; j < i + 100; j++) pipeline.set(`${region.name}:${j}`, `${j}${VALUE}`);
    await pipeline.exec();
  }
}

test('an agent takes no more than it has room for, from Redis and from peers, and all of it arrives', async () => {
  mesh = await Mesh.start({
    regions: ['alpha', 'beta'],
    slowDisk: { beta: 3 * MIB },
    configure: (config) => {
      config.journal = { ...config.journal, pendingBytesMax: MIB };
    },
  });
  const beta = mesh.region('beta');
  let highest = 0;
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      highest = Math.max(highest, await pendingBytes(beta));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    // 12 MB each: four seconds of that disk, and four more.
    await Promise.all(mesh.regions.map(write));
    await mesh.waitEqual(60_000);
  } finally {
    isOver = true;
    await watching;
  }
  // What comes at once may be beyond it: a read of the stream, and a frame of the link.
  expect(highest).toBeGreaterThan(MIB);
  expect(highest).toBeLessThan(3 * MIB);
  const names = mesh.regions.flatMap(({ name }) => Array.from({ length: WRITES }, (_, i) => `${name}:${i}`));
  expect(await beta.client().exists(...names)).toBe(names.length);
  const said = beta.tail(200);
  expect(said.match(/the disk of the journal is slower/g)).toHaveLength(1);
  expect(said.split('link is up')[1]).not.toContain('link is down');
});
