import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { CommandWriter, RedisConnection } from '../../agent/resp';
import { loopback } from '../../local/ports';
import { Mesh, type Region, until } from './mesh';

// A region is cut off while the others write far more than their windows may hold in memory; its own clients write, too. More keys:
//
//     MERIDIAN_AWAY_KEYS=3000000 MERIDIAN_AWAY_WINDOW_MIB=64 npx jest test/integration/away
//
// prints what it took.

const keys = Number(process.env['MERIDIAN_AWAY_KEYS'] ?? 20_000);
const windowBytes = Number(process.env['MERIDIAN_AWAY_WINDOW_MIB'] ?? 1) * 2 ** 20;
const isMeasured = process.env['MERIDIAN_AWAY_KEYS'] !== undefined;
const CHUNK = 500;
const COUNTERS = 50;
/** Of keys; after each the two that see each other agree, so that what is on its way between them is little. */
const ROUND = Math.floor(windowBytes / 256);
const timeoutMs = isMeasured ? 1_200_000 : 100_000;

let mesh: Mesh;
afterEach(() => mesh?.stop());

/** Writes `commands(i)` for each i from `from` to below `to`, many at once. */
async function write(
  region: Region,
  from: number,
  to: number,
  commands: (i: number, out: CommandWriter) => void,
): Promise<void> {
  const { password } = mesh.secrets;
  const connection = await RedisConnection.connect({ host: loopback, port: region.port, password });
  const writer = new CommandWriter(256 * 1024);
  for (let i = from; i < to;) {
    writer.reset();
    for (const end = Math.min(to, i + CHUNK); i < end; i++) commands(i, writer);
    const replies = await connection.pipeline(Buffer.from(writer.view()), writer.commands);
    for (const reply of replies) if (reply instanceof Error) throw reply;
  }
  connection.close();
}

/** Waits until two regions have what each of them wrote before. */
async function agree(regions: readonly Region[], n: number): Promise<void> {
  const clients = regions.map((region) => region.client());
  await Promise.all(clients.map((client, i) => client.set(`round:${i}`, n)));
  const names = clients.map((_, i) => `round:${i}`);
  const have = async (): Promise<boolean> =>
    (await Promise.all(clients.map((client) => client.mget(names)))).flat().every((value) => value === String(n));
  await until(have, timeoutMs, () => 'the two do not agree');
  for (const client of clients) client.disconnect();
}

async function metric(region: Region, name: string): Promise<number> {
  const { text } = await region.http('/metrics');
  return Number(new RegExp(`^${name}(?:{[^}]*})? (.+)$`, 'm').exec(text)?.[1]);
}

/** Resident bytes of each region's agent, highest since it was begun. */
class Memory {
  readonly peaks = new Map<string, number>();
  private readonly timer = setInterval(() => this.look(), 100);

  constructor(private readonly regions: readonly Region[]) {
    // A test that fails does not stop it.
    this.timer.unref();
    this.look();
  }

  private look(): void {
    for (const { name, agent } of this.regions) {
      if (agent.pid === null) continue;
      const pages = Number(readFileSync(`/proc/${agent.pid}/statm`, 'latin1').split(' ')[1]);
      this.peaks.set(name, Math.max(this.peaks.get(name) ?? 0, pages * 4096));
    }
  }

  stop(): string {
    clearInterval(this.timer);
    return [...this.peaks].map(([name, bytes]) => `${name} ${Math.round(bytes / 2 ** 20)} MiB`).join(', ');
  }
}

/** The values of all `k:` keys are the same everywhere. */
async function expectSameKeys(): Promise<void> {
  const { password } = mesh.secrets;
  const connections = await Promise.all(
    mesh.regions.map(({ port }) => RedisConnection.connect({ host: loopback, port, password })),
  );
  const writer = new CommandWriter(256 * 1024);
  const differing: number[] = [];
  for (let i = 0; i < keys; i += CHUNK) {
    writer.reset();
    writer.command(['MGET', ...Array.from({ length: Math.min(CHUNK, keys - i) }, (_, j) => `k:${i + j}`)]);
    const bytes = Buffer.from(writer.view());
    const found = await Promise.all(connections.map((connection) => connection.pipeline(bytes, 1)));
    const [first, ...others] = found.map(([values]) => values as Buffer[]);
    for (const [j, value] of first!.entries())
      if (!others.every((values) => Buffer.isBuffer(value) && values[j]?.equals(value) === true)) differing.push(i + j);
  }
  expect(differing).toEqual([]);
  for (const connection of connections) connection.close();
}

test(
  'a region is away while the others write many times what their windows may hold',
  async () => {
    const say = (text: string): void => void (isMeasured && console.log(text));
    mesh = await Mesh.start({
      configure: (config) => (config.limits = { ...config.limits, windowBytes }),
      redisConf: ['maxmemory 8gb', ...(isMeasured ? ['appendonly no'] : [])],
    });
    const [alpha, beta, gamma] = mesh.regions as [Region, Region, Region];
    await write(alpha, 0, COUNTERS, (i, out) => {
      out.command(['SET', `count:${i}`, 1000]).command(['SADD', `set:${i}`, 'seen']);
      out.command(['HSET', `hash:${i}`, 'seen', 'x', 'n', 5]).command(['RPUSH', `list:${i}`, 'seen']);
    });
    await mesh.waitEqual();

    mesh.partition('gamma');
    const memory = new Memory(mesh.regions);
    const started = performance.now();
    const other = Math.min(Math.floor(keys / 4), 20_000);
    const away = write(gamma, 0, other, (i, out) => {
      out
        .command(['SET', `k:${i * Math.floor(keys / other)}`, `gamma:${i}`])
        .command(['INCR', `count:${i % COUNTERS}`])
        .command(['XADD', 'events:alpha', '*', 'gamma', i])
        .command(['SADD', 'large', `m:${i}`, `gamma:${i}`]);
      if (i < COUNTERS) out.command(['SADD', `set:${i}`, 'unseen']).command(['HSET', `hash:${i}`, 'unseen', 'y']);
      if (i < COUNTERS) out.command(['HINCRBY', `hash:${i}`, 'n', 100]).command(['RPUSH', `list:${i}`, 'unseen']);
    });
    const side = (region: Region, from: number, to: number): Promise<void> =>
      write(region, Math.floor(from / 40), Math.floor(to / 40), (i, out) => {
        const { name } = region;
        out.command(['INCR', `count:${i % COUNTERS}`]).command(['HINCRBY', `hash:${i % COUNTERS}`, 'n', 2]);
        out.command(['HSET', `own:${name}:${i >> 3}`, `f${i & 7}`, i]).command(['ZINCRBY', `z:${i % 1000}`, 1, name]);
      });
    const events = (region: Region, from: number, to: number): Promise<void> =>
      write(region, Math.floor(from / 4), Math.floor(to / 4), (i, out) =>
        out.command(['XADD', `events:${region.name}`, '*', region.name, `${i}:${'x'.repeat(40)}`]),
      );
    // One set, of which both write each member.
    const members = (region: Region, from: number, to: number, name: (i: number) => string): Promise<void> =>
      write(region, Math.floor(from / 10), Math.floor(to / 10), (i, out) =>
        out.command(['SADD', 'large', ...Array.from({ length: 10 }, (_, j) => name(10 * i + j))]),
      );
    // Both write the same keys, at other times; so do, with some of them, clients of the region that is away.
    for (let from = 0; from < keys; from += ROUND) {
      const to = Math.min(keys, from + ROUND);
      await Promise.all([
        write(alpha, from, to, (i, out) => out.command(['SET', `k:${i}`, `alpha:${i}:${'x'.repeat(40)}`])),
        write(beta, from, to, (i, out) => out.command(['SET', `k:${keys - 1 - i}`, `beta:${i}:${'x'.repeat(40)}`])),
        side(alpha, from, to),
        side(beta, from, to),
        events(alpha, from, to),
        events(beta, from, to),
        members(alpha, from, to, (i) => `m:${i}`),
        members(beta, from, to, (i) => `m:${keys - 1 - i}`),
      ]);
      await agree([alpha, beta], from);
    }
    await away;
    // Deletes of what is there, which have not seen what the other side adds.
    await write(alpha, 0, COUNTERS, (i, out) => void (i % 2 === 1 && out.command(['DEL', `set:${i}`])));
    await write(beta, 0, COUNTERS, (i, out) => void (i % 2 === 1 && out.command(['HDEL', `hash:${i}`, 'seen'])));
    // Of these gamma has added all but the last ten.
    await write(alpha, other - 10, other + 10, (i, out) => void out.command(['SREM', 'large', `m:${i}`]));
    await agree([alpha, beta], -1);
    say(`written in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    for (const region of [alpha, beta]) {
      const [load, disk, count] = await Promise.all(
        ['load_bytes', 'shelf_bytes', 'shelf_keys'].map((name) => metric(region, `meridian_window_${name}`)),
      );
      say(`${region.name}: window ${load} bytes in memory, ${disk} bytes and ${count} keys on disk`);
      expect(count).toBeGreaterThan(keys / 2);
      expect(load).toBeLessThan(windowBytes * 1.5);
    }
    say(
      `memory while it was away: ${[...memory.peaks].map(([n, b]) => `${n} ${Math.round(b / 2 ** 20)} MiB`).join(', ')}`,
    );

    const healed = performance.now();
    mesh.heal();
    await mesh.barrier(Date.now() + timeoutMs);
    await mesh.caughtUp(Date.now() + timeoutMs);
    say(`together again after ${((performance.now() - healed) / 1000).toFixed(1)} s`);
    const reads = await Promise.all([alpha, beta].map((region) => metric(region, 'meridian_window_shelf_reads')));
    const stood = await Promise.all(mesh.regions.map((region) => metric(region, 'nodejs_eventloop_lag_max_seconds')));
    say(`blocks read: ${reads.join(', ')}; memory, all in all: ${memory.stop()}; longest step ${stood.join(', ')} s`);
    if (!isMeasured) await mesh.waitEqual(timeoutMs);
    await expectSameKeys();

    const client = gamma.client();
    const fields = Math.floor(keys / 40);
    const expected = (i: number, n: number): number => Math.ceil((n - i) / COUNTERS);
    for (let i = 0; i < COUNTERS; i++) {
      const hash: Record<string, string> = { unseen: 'y', n: String(5 + 2 * 2 * expected(i, fields) + 100) };
      if (i % 2 === 0) hash['seen'] = 'x';
      expect(await client.hgetall(`hash:${i}`)).toEqual(hash);
      expect(Number(await client.get(`count:${i}`))).toBe(1000 + 2 * expected(i, fields) + expected(i, other));
      expect((await client.smembers(`set:${i}`)).sort()).toEqual(i % 2 === 1 ? ['unseen'] : ['seen', 'unseen']);
      expect((await client.lrange(`list:${i}`, 0, -1)).sort()).toEqual(['seen', 'unseen']);
    }
    const clients = mesh.regions.map((region) => region.client());
    const [large, ...others] = await Promise.all(clients.map(async (each) => new Set(await each.smembers('large'))));
    expect(large!.size).toBe(10 * Math.floor(keys / 10) + other - 10);
    for (const i of [0, other - 1, other + 10]) expect(large!.has(`m:${i}`)).toBe(true);
    for (const i of [other, other + 9]) expect(large!.has(`m:${i}`)).toBe(false);
    for (const each of others) expect(isDeepStrictEqual(each, large)).toBe(true);
    for (const [name, length] of [
      ['events:alpha', Math.floor(keys / 4) + other],
      ['events:beta', Math.floor(keys / 4)],
    ] as const) {
      const streams = await Promise.all(clients.map((each) => each.xrange(name, '-', '+')));
      expect(streams.map((entries) => entries.length)).toEqual(clients.map(() => length));
      expect(streams.every((entries) => isDeepStrictEqual(entries, streams[0]))).toBe(true);
    }
    // All have seen all: nothing is left of it.
    await until(
      async () =>
        (await Promise.all(mesh.regions.map((region) => metric(region, 'meridian_window_shelf_keys')))).every(
          (n) => n === 0,
        ),
      10_000,
      () => 'the windows still have something on disk',
    );
  },
  timeoutMs * 2,
);
