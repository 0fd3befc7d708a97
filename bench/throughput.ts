/**
 * Replicated operations a second. The load writes into one server, or into all at once, as fast as it is taken or at a given
 * pace; then a last key is written. Every system measured here keeps the order of one source, so that who has the last key has
 * everything. The rate is over the whole time: from the first write until the last server has the last key.
 */
import { type Costs, Meter, type Watched } from './cpu';
import { Load } from './load';
import { type Place, type RedisServer } from './servers';

export interface ThroughputOptions {
  readonly seconds: number;
  readonly keys: number;
  readonly connections: number;
  readonly pipeline: number;
  /** Operations a second of all sources together; absent: as fast as they are taken. */
  readonly pace?: number;
}

export interface Throughput {
  /** Written by the load, and applied elsewhere; written in three regions, an operation counts once. */
  readonly operations: number;
  readonly opsPerSecond: number;
  /** As fast as the servers took the load, beside whatever else they did. */
  readonly loadOpsPerSecond: number;
  /** Applied while the load ran, as the servers count it; the agents' own bookkeeping (some dozens a second) included. */
  readonly appliedDuringLoad: number;
  readonly loadSeconds: number;
  /** From the end of the load until everything was everywhere. */
  readonly drainSeconds: number;
  /** Number of keys, and the values of a sample of them, in all servers. */
  readonly equal: boolean;
  readonly costs: Costs;
}

const DRAIN_MS = 300_000;
const EQUAL_MS = 30_000;
const SAMPLE_KEYS = 1000;
const POLL_MS = 5;

export async function measureThroughput(
  place: Place,
  servers: readonly RedisServer[],
  sources: readonly RedisServer[],
  processes: readonly Watched[],
  options: ThroughputOptions,
): Promise<Throughput> {
  await arrive(place, servers, sources, 'bench:ready', 60_000);
  const loads = await Promise.all(
    sources.map((source, i) => {
      const job = { ...options, port: source.port, seed: i + 1 };
      const { pace } = options;
      return Load.start(
        pace === undefined ? { ...job, mode: 'flood' } : { ...job, mode: 'paced', rate: pace / sources.length },
      );
    }),
  );
  try {
    const changesBefore = await Promise.all(servers.map((server) => server.changes()));
    const meter = new Meter([...servers, ...processes]);
    const started = performance.now();
    const results = await Promise.all(loads.map((load) => load.run()));
    const loaded = performance.now();
    const changesAfter = await Promise.all(servers.map((server) => server.changes()));
    await arrive(place, servers, sources, 'bench:end', DRAIN_MS);
    const ended = performance.now();
    results.forEach(({ cpuSeconds, rssBytesMax }, i) =>
      meter.tell({ name: `load-${sources[i]!.name}`, cpuSeconds, rssBytesMax }),
    );
    const costs = meter.stop();
    const operations = results.reduce((sum, result) => sum + result.operations, 0);
    const changes = changesAfter.reduce((sum, count, i) => sum + count - changesBefore[i]!, 0);
    return {
      operations,
      opsPerSecond: (operations * 1000) / (ended - started),
      loadOpsPerSecond: results.reduce((sum, result) => sum + result.operations / result.seconds, 0),
      appliedDuringLoad: Math.max(0, changes - operations),
      loadSeconds: (loaded - started) / 1000,
      drainSeconds: (ended - loaded) / 1000,
      equal: await becomeEqual(servers, options.keys),
      costs,
    };
  } finally {
    for (const load of loads) load.stop();
  }
}

/** Writes a key into every source and waits until every server has all of them. */
export async function arrive(
  place: Place,
  servers: readonly RedisServer[],
  sources: readonly RedisServer[],
  name: string,
  timeoutMs: number,
): Promise<void> {
  const names = sources.map((source) => `${name}:${source.name}`);
  await Promise.all(sources.map((source, i) => source.call('SET', names[i]!, '1')));
  const check = async (): Promise<boolean> => {
    for (const server of servers) if (Number(await server.call('EXISTS', ...names)) < names.length) return false;
    return true;
  };
  await place.until(`what was written is everywhere (${name})`, check, timeoutMs, POLL_MS);
}

/** Where clients raced, a correction may still be on its way: some time is given. */
async function becomeEqual(servers: readonly RedisServer[], keys: number): Promise<boolean> {
  const deadline = performance.now() + EQUAL_MS;
  while (!(await areEqual(servers, keys))) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return true;
}

async function areEqual(servers: readonly RedisServer[], keys: number): Promise<boolean> {
  const sizes = await Promise.all(servers.map((server) => server.keys()));
  if (sizes.some((size) => size !== sizes[0])) return false;
  const step = Math.max(1, Math.floor(keys / SAMPLE_KEYS));
  const names = Array.from({ length: Math.min(keys, SAMPLE_KEYS) }, (_, i) => keyName(i * step));
  const values = await Promise.all(servers.map((server) => server.call('MGET', ...names)));
  return values.every((each) => JSON.stringify(each) === JSON.stringify(values[0]));
}

function keyName(n: number): string {
  return `key:${String(n).padStart(7, '0')}`;
}
