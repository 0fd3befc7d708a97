import { isLong } from '../../test/integration/mesh';
import { freePorts, host, Region, smallConf, until } from '../testing/redis';

const slotsInAll = 16_384;

let region: Region;
afterEach(() => region.close());

/** How many slots each node holds, by CLUSTER NODES. */
function slotsOf(port: number): Map<number, number> {
  const counts = new Map<number, number>();
  for (const line of region.cli(port, ['CLUSTER', 'NODES']).split('\n')) {
    const [, address = '', flags = '', , , , , , ...ranges] = line.split(' ');
    if (!flags.includes('master')) continue;
    const slots = ranges.reduce((sum, range) => {
      const [first = 0, last = first] = range.split('-').map(Number);
      return sum + last - first + 1;
    }, 0);
    counts.set(Number(/:(\d+)@/.exec(address)?.[1]), slots);
  }
  return counts;
}

test('slots are assigned, then moved with their keys as shards come and go', async () => {
  const ports = (await freePorts(4)).sort((a, b) => a - b);
  const [a = 0, b = 0, c = 0, d = 0] = ports;
  region = new Region({ ...smallConf, cluster: true });
  for (const port of ports) region.startRedis(port);
  for (const port of ports) await until('a node answers', () => region.cli(port, ['PING']) === 'PONG');

  const fit = (nodes: readonly number[], shards: number) => {
    const done = region.run('slots.sh', a, [], {
      MERIDIAN_NODES: nodes.map((port) => `${host}:${port}`).join(' '),
      MERIDIAN_SHARDS: String(shards),
      MERIDIAN_REPLICAS: '0',
    });
    expect(done).toMatchObject({
      status: 0,
      output: expect.stringContaining(`${slotsInAll} slots on ${shards} shards`),
    });
    return done.output;
  };
  fit([a, b, c], 3);
  expect([...slotsOf(a).values()].reduce((x, y) => x + y)).toBe(slotsInAll);
  for (let i = 0; i < 30; i++) {
    expect(region.cli(a, ['-c', 'SET', `key:${i}`, String(i)], 'app')).toMatch(/OK$/);
  }

  region.cli(a, ['FUNCTION', 'LOAD', "#!lua name=l\nredis.register_function('f', function() return 1 end)"]);
  fit([a, b, c, d], 4);
  const four = slotsOf(a);
  expect(four.size).toBe(4);
  for (const slots of four.values()) expect(Math.abs(slots - slotsInAll / 4)).toBeLessThan(50);
  expect(fit([a, b, c, d], 4)).not.toContain('Moving');

  // The way back takes as long again.
  if (isLong) {
    fit([a, b, c, d], 3);
    expect(slotsOf(a).get(d)).toBe(0);
  }
  for (let i = 0; i < 30; i++) expect(region.cli(b, ['-c', 'GET', `key:${i}`], 'read')).toMatch(new RegExp(`${i}$`));
}, 60_000);
