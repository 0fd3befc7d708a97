/** Full sync: one server holds everything, the other nothing; how long until the other has it all. */
import { type Costs, Meter, type Watched } from './cpu';
import { Load } from './load';
import { type Place, type RedisServer } from './servers';

export interface FullSync {
  readonly keys: number;
  /** From the start of what fills the empty server until that has every key. */
  readonly seconds: number;
  /** Before that: from the start of what runs beside the full server until it is ready; 0 where there is no such thing. */
  readonly othersSeconds: number;
  readonly costs: Costs;
}

const SYNC_MS = 600_000;
const POLL_MS = 20;

export async function fill(server: RedisServer, keys: number, connections: number, pipeline: number): Promise<void> {
  const load = await Load.start({ mode: 'fill', port: server.port, seconds: 0, keys, connections, pipeline, seed: 1 });
  try {
    await load.run();
  } finally {
    load.stop();
  }
}

export async function measureFullSync(
  place: Place,
  full: RedisServer,
  empty: RedisServer,
  replicator: { processes: readonly Watched[]; startOthers(): Promise<void>; startLast(): Promise<void> },
): Promise<FullSync> {
  const keys = await full.keys();
  const began = performance.now();
  await replicator.startOthers();
  const othersSeconds = replicator.processes.length === 0 ? 0 : (performance.now() - began) / 1000;
  const before = [...replicator.processes];
  const meter = new Meter([full, empty, ...before]);
  const started = performance.now();
  const last = replicator.startLast();
  last.catch(() => undefined);
  await place.until('every key is there', async () => (await empty.keys()) >= keys, SYNC_MS, POLL_MS);
  const seconds = (performance.now() - started) / 1000;
  const costs = meter.stop(replicator.processes.slice(before.length));
  await last;
  return { keys, seconds, othersSeconds, costs };
}
