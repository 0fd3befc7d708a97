/**
 * The load: SETs written raw and pipelined, by a process of its own. It writes into prepared buffers, only the keys'
 * digits and the beginning of the values anew each time, and counts replies without parsing them, so that what is
 * measured is not the one who measures.
 *
 * Run by `fork`: it gets a LoadJob, answers 'ready' when connected, begins at 'go', and answers with a LoadResult.
 */
import { type ChildProcess, fork } from 'node:child_process';
import net from 'node:net';

export interface LoadJob {
  readonly port: number;
  /** flood: as fast as the server takes it. paced: `rate` a second, each with its time of sending. fill: each key once, in order. */
  readonly mode: 'flood' | 'paced' | 'fill';
  /** Not for fill. */
  readonly seconds: number;
  /** Keys are `key:0000000` to one less than this; drawn at random but for fill. */
  readonly keys: number;
  /** Only for paced. */
  readonly rate?: number;
  readonly connections: number;
  /** Commands in one write. */
  readonly pipeline: number;
  /** So that two generators don't draw the same keys in the same order. */
  readonly seed: number;
}

export interface LoadResult {
  readonly operations: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly rssBytesMax: number;
}

export const VALUE_BYTES = 64;
export const KEYS_MAX = 10_000_000;
/** A paced value begins with this, then 16 digits: microseconds of the system's monotonic clock. */
export const TIME_MARK = '@';
const TIME_DIGITS = 16;
const OK_BYTES = '+OK\r\n'.length;
/** Writes on their way on each connection: while the server answers one it has the next already. */
const WRITES_IN_FLIGHT = 2;
const TICK_MS = 1;

export function nowMicros(): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1_000_000 + Math.floor(nanos / 1000);
}

// ——— for the benchmark

/** A load generator that is connected and waits for `run`. */
export class Load {
  private constructor(
    private readonly child: ChildProcess,
    private readonly failed: Promise<never>,
  ) {}

  static async start(job: LoadJob): Promise<Load> {
    const child = fork(__filename, [JSON.stringify(job)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`the load generator ended (${signal ?? code})`)));
    });
    failed.catch(() => undefined);
    const load = new Load(child, failed);
    await load.message();
    return load;
  }

  /** Resolves when the last reply is in. */
  async run(): Promise<LoadResult> {
    this.child.send('go');
    return (await this.message()) as LoadResult;
  }

  stop(): void {
    this.child.kill('SIGKILL');
  }

  private message(): Promise<unknown> {
    return Promise.race([new Promise((resolve) => this.child.once('message', resolve)), this.failed]);
  }
}

// ——— in the child

/** So many SETs in one buffer, all of the same length. */
class Commands {
  readonly bytes: Buffer;
  private readonly stride: number;
  private readonly keyAt: number;
  private readonly valueAt: number;

  constructor(readonly count: number) {
    const head = '*3\r\n$3\r\nSET\r\n$11\r\nkey:';
    const middle = `0000000\r\n$${VALUE_BYTES}\r\n`;
    const one = Buffer.from(`${head}${middle}${'x'.repeat(VALUE_BYTES)}\r\n`, 'latin1');
    this.stride = one.length;
    this.keyAt = head.length;
    this.valueAt = head.length + middle.length;
    this.bytes = Buffer.alloc(count * one.length, one);
  }

  get commandBytes(): number {
    return this.stride;
  }

  key(i: number, key: number): void {
    this.digits(i * this.stride + this.keyAt, 7, key);
  }

  /** Values that differ from each other, so that a lost or a stale one can be seen. */
  value(i: number, n: number): void {
    this.digits(i * this.stride + this.valueAt, 9, n);
  }

  time(i: number, micros: number): void {
    const at = i * this.stride + this.valueAt;
    this.bytes[at] = TIME_MARK.charCodeAt(0);
    this.digits(at + 1, TIME_DIGITS, micros);
  }

  private digits(at: number, count: number, n: number): void {
    for (let i = at + count - 1; i >= at; i--) {
      const rest = Math.floor(n / 10);
      this.bytes[i] = 48 + n - rest * 10;
      n = rest;
    }
  }
}

/** One connection; counts the bytes of `+OK`s. */
class Line {
  private replyBytes = 0;

  private constructor(
    private readonly socket: net.Socket,
    private readonly onReplies: (line: Line) => void,
  ) {}

  static connect(port: number, onReplies: (line: Line) => void): Promise<Line> {
    return new Promise((resolve, reject) => {
      let line: Line | null = null;
      const socket = net.connect({
        host: '127.0.0.1',
        port,
        onread: {
          buffer: Buffer.alloc(64 * 1024),
          callback: (bytes, buffer) => {
            line?.count(bytes, buffer);
            return true;
          },
        },
      });
      socket.setNoDelay(true);
      socket.once('error', reject);
      socket.once('close', () => fail('the server closed the connection'));
      socket.once('connect', () => {
        line = new Line(socket, onReplies);
        resolve(line);
      });
    });
  }

  get replies(): number {
    return Math.floor(this.replyBytes / OK_BYTES);
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  private count(bytes: number, buffer: Uint8Array): void {
    const error = buffer.subarray(0, bytes).indexOf(45);
    if (error >= 0)
      fail(`the server refused a SET: ${Buffer.from(buffer.subarray(error, bytes)).toString('latin1', 0, 80)}`);
    this.replyBytes += bytes;
    this.onReplies(this);
  }
}

function fail(message: string): never {
  process.stderr.write(`load: ${message}\n`);
  process.exit(1);
}

function random(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** @returns the number of operations */
async function flood(job: LoadJob, begin: () => Promise<void>): Promise<number> {
  const draw = random(job.seed);
  let sent = 0;
  let stopped = false;
  const limit = job.mode === 'fill' ? job.keys : Infinity;
  const next = (commands: Commands): Buffer => {
    const count = Math.min(commands.count, limit - sent);
    for (let i = 0; i < count; i++) {
      commands.key(i, job.mode === 'fill' ? sent : draw(job.keys));
      commands.value(i, sent++);
    }
    return commands.bytes.subarray(0, count * commands.commandBytes);
  };
  return new Promise<number>((resolve, reject) => {
    const lanes: { line: Line; free: Commands[]; flight: { commands: Commands; until: number }[]; written: number }[] =
      [];
    const pump = (lane: (typeof lanes)[number]): void => {
      while (!stopped && sent < limit && lane.free.length > 0) {
        const commands = lane.free.pop()!;
        const bytes = next(commands);
        lane.written += bytes.length / commands.commandBytes;
        lane.flight.push({ commands, until: lane.written });
        lane.line.write(bytes);
      }
    };
    const open = async (): Promise<void> => {
      for (let c = 0; c < job.connections; c++) {
        const line = await Line.connect(job.port, () => {
          // A buffer is written anew only when all of it has been answered: then nothing of it waits to be sent.
          while (lane.flight.length > 0 && lane.flight[0]!.until <= line.replies)
            lane.free.push(lane.flight.shift()!.commands);
          pump(lane);
          if ((stopped || sent >= limit) && lanes.every((each) => each.flight.length === 0)) resolve(sent);
        });
        const lane = {
          line,
          free: Array.from({ length: WRITES_IN_FLIGHT }, () => new Commands(job.pipeline)),
          flight: [] as { commands: Commands; until: number }[],
          written: 0,
        };
        lanes.push(lane);
      }
      await begin();
      for (const lane of lanes) pump(lane);
      if (job.mode === 'flood') setTimeout(() => (stopped = true), job.seconds * 1000);
    };
    open().catch(reject);
  });
}

async function paced(job: LoadJob, begin: () => Promise<void>): Promise<number> {
  const rate = job.rate ?? 1000;
  const total = Math.round(rate * job.seconds);
  const draw = random(job.seed);
  let done: (() => void) | null = null;
  const line = await Line.connect(job.port, (each) => each.replies >= total && done?.());
  await begin();
  const started = performance.now();
  let sent = 0;
  await new Promise<void>((resolve) => {
    done = resolve;
    const tick = (): void => {
      const due = Math.min(total, Math.floor(((performance.now() - started) * rate) / 1000));
      if (due > sent) {
        const commands = new Commands(due - sent);
        for (let i = 0; i < commands.count; i++) {
          commands.key(i, draw(job.keys));
          commands.time(i, nowMicros());
        }
        sent = due;
        line.write(commands.bytes);
      }
      if (sent < total) setTimeout(tick, TICK_MS);
    };
    tick();
  });
  return sent;
}

async function main(job: LoadJob): Promise<void> {
  let started = 0;
  let cpuBefore = process.cpuUsage();
  const begin = async (): Promise<void> => {
    const go = new Promise((resolve) => process.once('message', resolve));
    process.send?.('ready');
    await go;
    started = performance.now();
    cpuBefore = process.cpuUsage();
  };
  const operations = await (job.mode === 'paced' ? paced(job, begin) : flood(job, begin));
  const cpu = process.cpuUsage(cpuBefore);
  const result: LoadResult = {
    operations,
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    rssBytesMax: process.resourceUsage().maxRSS * 1024,
  };
  process.send?.(result, () => process.exit(0));
}

if (require.main === module) {
  // The one who started it has gone.
  process.once('disconnect', () => process.exit(1));
  main(JSON.parse(process.argv[2] ?? '{}') as LoadJob).catch((error: unknown) =>
    fail(error instanceof Error ? error.message : String(error)),
  );
}
