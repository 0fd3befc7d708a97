import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { Mesh, type Region } from './mesh';

// What is added is never lost: lists as queues, elements that move between lists, bits, HyperLogLogs and appended strings, written
// everywhere at once, with links that break.

const counts = [2, 3] as const;

describe.each(counts)('%d regions', (count) => {
  let mesh: Mesh;
  let clients: Redis[];
  beforeAll(async () => {
    mesh = await Mesh.start({ regions: ['alpha', 'beta', 'gamma'].slice(0, count) });
    clients = mesh.regions.map((region) => region.client());
  });
  afterAll(() => mesh?.stop());

  /** What all regions hold of lists, once they hold the same. */
  async function left(...keys: string[]): Promise<Set<string>> {
    await mesh.waitEqual();
    const lists = await Promise.all(keys.map((key) => clients[0]!.lrange(key, 0, -1)));
    return new Set(lists.flat());
  }

  const names = (name: string, n: number): string[] => Array.from({ length: n }, (_, i) => `${name}${i}`);

  test('a queue with workers everywhere: each element is there, or was given to somebody', async () => {
    const taken = new Set<string>();
    const pushed: string[] = [];
    const work = async (region: Region, how: 'pop' | 'wait'): Promise<void> => {
      const client = region.client();
      for (let i = 0; i < 150; i++) {
        const element = `${region.name}-${how}${i}`;
        await client.rpush('queue', element);
        pushed.push(element);
        if (i % 3 === 0) continue;
        if (how === 'pop') {
          const got = i % 2 === 0 ? await client.lpop('queue') : await client.rpop('queue');
          if (got !== null) taken.add(got);
        } else {
          const got = await client.brpop('queue', 0.05);
          if (got !== null) taken.add(got[1]);
        }
      }
    };
    const all = Promise.all(mesh.regions.flatMap((region) => [work(region, 'pop'), work(region, 'wait')]));
    await sleep(100);
    mesh.partition('alpha');
    await sleep(400);
    mesh.heal();
    await all;
    const there = await left('queue');
    expect(pushed.filter((element) => !there.has(element) && !taken.has(element))).toEqual([]);
  });

  test('a reliable queue: what moves from list to list is in one of them', async () => {
    await clients[0]!.rpush('todo', ...names('job', 200));
    await mesh.waitEqual();
    const done = new Set<string>();
    await Promise.all(
      mesh.regions.map(async (region) => {
        const client = region.client();
        for (let i = 0; i < 60; i++) {
          if (i === 20 && region.name === 'alpha') mesh.partition('alpha');
          if (i === 50 && region.name === 'alpha') mesh.heal();
          const job = await client.lmove('todo', `doing:${region.name}`, 'LEFT', 'RIGHT');
          await client.rpush('todo', `${region.name}${i}`);
          if (job === null || i % 2 === 0) continue;
          await client.lrem(`doing:${region.name}`, 1, job);
          done.add(job);
        }
      }),
    );
    mesh.heal();
    const there = await left('todo', ...mesh.regions.map(({ name }) => `doing:${name}`));
    const given = [...names('job', 200), ...mesh.regions.flatMap(({ name }) => names(name, 60))];
    expect(given.filter((job) => !there.has(job) && !done.has(job))).toEqual([]);
  });

  test('bits, HyperLogLogs and appended strings hold what each region has added while it was cut off', async () => {
    await clients[0]!.append('log', 'start.');
    await mesh.waitEqual();
    mesh.partition('alpha');
    await Promise.all(
      clients.map(async (client, r) => {
        for (let i = 0; i < 40; i++) {
          await client.setbit('bits', r * 40 + i, 1);
          await client.pfadd('hll', `${r}-${i}`);
          await client.append('log', `${r}-${i}.`);
        }
        await client.pfadd(`part:${r}`, `own${r}`);
        await client.pfmerge('hll', `part:${r}`);
      }),
    );
    // Long enough for both sides to settle the keys.
    await sleep(1500);
    mesh.heal();
    await mesh.waitEqual();
    for (const client of clients) {
      expect(await client.bitcount('bits')).toBe(count * 40);
      const text = ((await client.get('log')) ?? '').split('.');
      for (let r = 0; r < count; r++) expect(text).toEqual(expect.arrayContaining(names(`${r}-`, 40)));
    }
    const all = Array.from({ length: count }, (_, r) => [...names(`${r}-`, 40), `own${r}`]).flat();
    await clients[0]!.pfadd('wanted', ...all);
    expect(await clients[0]!.pfcount('hll')).toBe(await clients[0]!.pfcount('wanted'));
    await clients[0]!.pfmerge('both', 'hll', 'wanted');
    expect(await clients[0]!.pfcount('both')).toBe(await clients[0]!.pfcount('wanted'));
  });

  test('a push survives a delete that had not seen it', async () => {
    await clients[0]!.rpush('l', 'old');
    await mesh.waitEqual();
    mesh.partition('alpha');
    await clients[0]!.del('l');
    await clients[1]!.rpush('l', 'new');
    await sleep(1200);
    mesh.heal();
    await mesh.waitEqual();
    for (const client of clients) expect(await client.lrange('l', 0, -1)).toEqual(['new']);
  });
});
