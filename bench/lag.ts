/**
 * Lag at a fixed rate: from the moment a SET is written to its server until it has run at another.
 *
 * Each value carries the time at which it was sent. The other server is watched by one more replica of it, which reads
 * those times out of its replication stream: Redis puts a write there in the same turn of its loop in which it answers
 * the client, so nothing is polled, and every operation is seen. It costs the server the copying of its stream to one
 * more socket, and the watcher (this process) its reading; both are the same for every system measured.
 */
import { ReplicaLink } from '../agent/capture';
import { type Costs, Meter, type Watched } from './cpu';
import { Load, nowMicros, TIME_MARK, VALUE_BYTES } from './load';
import { HOST, type Place, type RedisServer } from './servers';
import { arrive } from './throughput';

export interface LagOptions {
  readonly seconds: number;
  readonly keys: number;
  /** Operations a second. */
  readonly rate: number;
}

export interface Lag {
  readonly opsPerSecond: number;
  readonly samples: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly costs: Costs;
}

const ACK_MS = 1000;
/** At the beginning code is compiled and links open: not what is asked for. */
const WARM_UP_SHARE = 0.2;
const ARRIVE_MS = 60_000;

/** @param target the server that is watched; the load goes to `source` */
export async function measureLag(
  place: Place,
  source: RedisServer,
  target: RedisServer,
  processes: readonly Watched[],
  options: LagOptions,
): Promise<Lag> {
  const servers = [source, target];
  await arrive(place, servers, [source], 'bench:ready', ARRIVE_MS);
  const total = Math.round(options.rate * options.seconds);
  const watcher = await Watcher.start(target.port, total);
  const load = await Load.start({ ...options, mode: 'paced', port: source.port, connections: 1, pipeline: 1, seed: 1 });
  try {
    const meter = new Meter([...servers, ...processes]);
    const cpuBefore = process.cpuUsage();
    const result = await load.run();
    await place.until('every operation has been seen', () => Promise.resolve(watcher.seen >= total), ARRIVE_MS);
    const cpu = process.cpuUsage(cpuBefore);
    const { cpuSeconds, rssBytesMax } = result;
    meter.tell({ name: `load-${source.name}`, cpuSeconds, rssBytesMax });
    meter.tell({ name: 'watcher', cpuSeconds: (cpu.user + cpu.system) / 1e6, rssBytesMax: process.memoryUsage.rss() });
    const costs = meter.stop();
    const sorted = watcher.micros.slice(Math.floor(total * WARM_UP_SHARE)).sort();
    const at = (share: number): number => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0) / 1000;
    return {
      opsPerSecond: result.operations / result.seconds,
      samples: sorted.length,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      maxMs: at(1),
      costs,
    };
  } finally {
    load.stop();
    watcher.close();
  }
}

/** Finds the times in a replication stream. */
export class TimeFinder {
  private rest = Buffer.alloc(0);

  constructor(private readonly found: (micros: number) => void) {}

  push(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    for (;;) {
      const mark = bytes.indexOf(MARK, at);
      if (mark < 0) {
        // The beginning of a mark may be at the end.
        at = Math.max(at, bytes.length - MARK.length + 1);
        break;
      }
      const from = mark + MARK.length;
      if (from + VALUE_BYTES - 1 > bytes.length) {
        at = mark;
        break;
      }
      let micros = 0;
      for (let i = from; i < from + TIME_DIGITS; i++) micros = micros * 10 + (bytes[i]! - 48);
      this.found(micros);
      at = from + VALUE_BYTES - 1;
    }
    this.rest = Buffer.from(bytes.subarray(at));
  }
}

const MARK = Buffer.from(`\r\n$${VALUE_BYTES}\r\n${TIME_MARK}`, 'latin1');
const TIME_DIGITS = 16;

class Watcher {
  /** Lag of each operation in the order in which they were seen. */
  readonly micros: Float64Array;
  seen = 0;
  private readonly timer: NodeJS.Timeout;

  private constructor(
    private readonly link: ReplicaLink,
    total: number,
  ) {
    this.micros = new Float64Array(total);
    const finder = new TimeFinder((sent) => {
      if (this.seen < total) this.micros[this.seen++] = nowMicros() - sent;
    });
    link.on('data', (chunk) => finder.push(chunk));
    // A replica that says nothing is dropped after a minute.
    this.timer = setInterval(() => link.ack(link.position), ACK_MS);
  }

  static async start(port: number, total: number): Promise<Watcher> {
    const link = new ReplicaLink({ host: HOST, port, gatherMs: 0 });
    link.on('close', () => undefined); // what was not seen is missed by the one who waits
    await link.connect(null);
    const watcher = new Watcher(link, total);
    for await (const batch of link.snapshotBatches()) void batch;
    return watcher;
  }

  close(): void {
    clearInterval(this.timer);
    this.link.close();
  }
}
