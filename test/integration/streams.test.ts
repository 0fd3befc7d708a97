import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { compareIds } from '../../agent/merge/stream-id';
import { Mesh } from './mesh';

let mesh: Mesh;
let clients: Redis[];
beforeAll(async () => {
  mesh = await Mesh.start();
  clients = mesh.regions.map((region) => region.client());
});
afterAll(() => mesh?.stop());

async function entriesOf(client: Redis, key: string): Promise<[string, string][]> {
  return (await client.xrange(key, '-', '+')).map(([id, fields]) => [id, fields[1]!]);
}

test('XADD * everywhere at once: every entry everywhere, once, in the order of IDs', async () => {
  const sent: string[] = [];
  await Promise.all(
    mesh.regions.map(async ({ name }, r) => {
      for (let i = 0; i < 300; i++) {
        sent.push(`${name}.${i}`);
        // Several on their way at once, and now and then a pause: so that IDs cross, and are the same.
        const added = clients[r]!.xadd('all', '*', 'v', `${name}.${i}`);
        if (i % 7 === 0) await Promise.all([added, sleep(5)]);
      }
    }),
  );
  await mesh.waitEqual();
  const [first, ...others] = await Promise.all(clients.map((client) => entriesOf(client, 'all')));
  for (const other of others) expect(other).toEqual(first);
  expect(first!.map(([, value]) => value).sort()).toEqual(sent.sort());
  const ids = first!.map(([id]) => id);
  expect(ids).toEqual([...ids].sort(compareIds));
});

test('entries that two regions gave the same ID are both there, and what is removed is what was seen', async () => {
  const [alpha, beta, gamma] = clients as [Redis, Redis, Redis];
  await alpha.xadd('same', '1-1', 'v', 'first');
  await mesh.waitEqual();
  mesh.partition('alpha');
  try {
    await alpha.xadd('same', '5-1', 'v', 'a');
    await alpha.xadd('same', '6-1', 'v', 'a2');
    await alpha.xdel('same', '6-1');
    await sleep(1000);
    await beta.xadd('same', '5-1', 'v', 'b');
    await gamma.xadd('same', '4-1', 'v', 'c');
    await beta.xadd('same', '6-1', 'v', 'b2');
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
  const entries = await entriesOf(gamma, 'same');
  expect(entries.map(([, value]) => value).sort()).toEqual(['a', 'b', 'b2', 'c', 'first']);
  // Beta's are the later ones.
  expect(entries.find(([id]) => id === '5-1')).toEqual(['5-1', 'b']);
  expect(entries.find(([, value]) => value === 'a')![0]).toMatch(/^5-[0-9]{15,}$/);
});

test('what a region that was away has to catch up of a stream moves each entry some times, not as often as there are others', async () => {
  const [alpha] = clients as [Redis, Redis, Redis];
  const offset = async (): Promise<number> =>
    Number(/master_repl_offset:(\d+)/.exec(await alpha.info('replication'))![1]);
  const perRegion = 3000;
  await mesh.waitEqual();
  mesh.partition('alpha');
  let before: number;
  let written: number;
  try {
    before = await offset();
    await Promise.all(
      mesh.regions.map(async ({ name }, r) => {
        for (let i = 0; i < perRegion; i++) await clients[r]!.xadd('away', '*', 'v', `${name}.${i}`);
      }),
    );
    written = (await offset()) - before;
    before += written;
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
  for (const client of clients) expect(await client.xlen('away')).toBe(perRegion * clients.length);
  // Two other regions wrote as much; each of their blocks moves what stands above it.
  expect(((await offset()) - before) / (2 * written)).toBeLessThan(10);
});

test('a stream that is capped everywhere stays short, and ends equal', async () => {
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 20; i++)
      await Promise.all(
        clients.map((client, r) => client.xadd('capped', 'MAXLEN', 20, '*', 'v', `${r}.${round}.${i}`)),
      );
    await mesh.waitEqual();
    // What was on its way when the last one was cut is there once more, and the next one cuts it: no more than the round wrote and what it had found.
    expect(await clients[1]!.xlen('capped')).toBeLessThanOrEqual(60 + 20);
  }
  await clients[0]!.xadd('capped', 'MAXLEN', 20, '*', 'v', 'last');
  await mesh.waitEqual();
  for (const client of clients) expect(await client.xlen('capped')).toBe(20);
});

test('what one region trims is trimmed elsewhere, but not what it had not seen', async () => {
  const [alpha, beta] = clients as [Redis, Redis, Redis];
  for (let i = 1; i <= 10; i++) await alpha.xadd('cut', `${i}-1`, 'v', `old${i}`);
  await mesh.waitEqual();
  mesh.partition('alpha');
  try {
    await alpha.xadd('cut', '20-1', 'v', 'a');
    await alpha.xtrim('cut', 'MAXLEN', 3);
    await beta.xadd('cut', '11-1', 'v', 'b');
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
  expect((await entriesOf(beta, 'cut')).map(([, value]) => value)).toEqual(['old9', 'old10', 'b', 'a']);
  await beta.xtrim('cut', 'MINID', '11');
  await mesh.waitEqual();
  expect((await entriesOf(alpha, 'cut')).map(([, value]) => value)).toEqual(['b', 'a']);
});

test('a group in one region reads every entry of all regions: those that come below what it has read wait for XAUTOCLAIM', async () => {
  const [alpha] = clients as [Redis, Redis, Redis];
  await alpha.xgroup('CREATE', 'work', 'g', '0', 'MKSTREAM');
  await mesh.waitEqual();
  const read = new Set<string>();
  let writing = true;
  const take = (entries: [string, string[]][]): void => entries.forEach(([, fields]) => read.add(fields[1]!));
  const reader = alpha.duplicate();
  const reading = (async () => {
    while (writing) {
      const found = await reader.xreadgroup('GROUP', 'g', 'c', 'COUNT', 10, 'BLOCK', 50, 'STREAMS', 'work', '>');
      for (const [, entries] of (found ?? []) as [string, [string, string[]][]][]) take(entries);
    }
  })();
  await Promise.all(
    clients.map(async (client, r) => {
      for (let i = 0; i < 100; i++) {
        await client.xadd('work', '*', 'v', `${r}.${i}`);
        if (i % 10 === 0) await sleep(10);
      }
    }),
  );
  await mesh.waitEqual();
  writing = false;
  await reading;
  reader.disconnect();
  const rest = (await alpha.xreadgroup('GROUP', 'g', 'c', 'STREAMS', 'work', '>')) as
    [string, [string, string[]][]][] | null;
  for (const [, entries] of rest ?? []) take(entries);
  const claimed = (await alpha.xautoclaim('work', 'g', 'c', 0, '0', 'COUNT', 1000)) as [string, [string, string[]][]];
  take(claimed[1]);
  expect(read.size).toBe(300);
});

test('a delete removes what it has seen of a stream, and what is acknowledged elsewhere settles nothing', async () => {
  const [alpha, beta, gamma] = clients as [Redis, Redis, Redis];
  await alpha.xadd('gone', '1-1', 'v', 'old');
  await mesh.waitEqual();
  mesh.partition('alpha');
  try {
    await alpha.xgroup('CREATE', 'gone', 'g', '0');
    await alpha.xreadgroup('GROUP', 'g', 'c', 'STREAMS', 'gone', '>');
    await beta.del('gone');
    await gamma.xadd('gone', '*', 'v', 'new');
    await alpha.xack('gone', 'g', '1-1');
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
  expect((await entriesOf(alpha, 'gone')).map(([, value]) => value)).toEqual(['new']);
  for (const region of mesh.regions) expect((await region.status()).deadLetters).toBe(0);
});

test('an entry with more fields than a script can move stays, and so does what comes below it', async () => {
  const [alpha, beta] = clients as [Redis, Redis, Redis];
  const many = Array.from({ length: 8000 }, (_, i) => String(i));
  mesh.partition('alpha');
  try {
    await alpha.xadd('large', '10-1', ...many);
    await beta.xadd('large', '5-1', 'v', 'below');
  } finally {
    mesh.heal();
  }
  await mesh.waitEqual();
  for (const client of clients)
    expect((await client.xrange('large', '-', '+')).map(([id, fields]) => [id, fields.length])).toEqual([
      ['5-1', 2],
      ['10-1', 8000],
    ]);
});
