/** For tests only: real servers, stacks and commands, on free ports and in folders of their own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { isFree } from '../agent/free-port';
import { type Arg, type Reply, RedisConnection } from '../agent/resp';
import { stateDirOf } from './layout';
import { loopback } from './ports';
import { type RedisBinary, ensureRedisBinary } from './redis-binary';
import { packageRoot } from './package-root';
import { type StackState, readState } from './state';

/** Things to undo, in reverse order, whatever happened. */
export class Cleanup {
  private readonly steps: (() => unknown)[] = [];

  add(step: () => unknown): void {
    this.steps.push(step);
  }

  async run(): Promise<void> {
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) await step();
  }

  /** A folder of its own. */
  dir(): string {
    const dir = mkdtempSync(path.join(tmpdir(), 'meridian-local-'));
    this.add(() => rmSync(dir, { recursive: true, force: true }));
    return dir;
  }
}

export function redisBinary(): RedisBinary {
  return ensureRedisBinary({ env: { ...process.env, MERIDIAN_NO_INSTALL: '1' } });
}

/** A base port with so many free ports after it, below those that the system gives out by itself. */
export async function freeBasePort(count = 30): Promise<number> {
  for (;;) {
    const base = 12_000 + 10 * Math.floor(Math.random() * 1900);
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(base + i)));
    if (free.every(Boolean)) return base;
  }
}

/** Waits until something is so. */
export async function until(what: string, is: () => unknown, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await is())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(25);
  }
}

/** A plain redis-server without files or password. */
export class TestRedis {
  private constructor(
    readonly port: number,
    readonly process: ChildProcess,
    private readonly connection: RedisConnection,
  ) {}

  static async start(cleanup: Cleanup, more: readonly string[] = []): Promise<TestRedis> {
    const port = await freeBasePort(1);
    const args = ['--port', String(port), '--bind', loopback, '--save', '', '--dir', cleanup.dir(), ...more];
    const child = spawn(redisBinary().path, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    cleanup.add(async () => {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
      await ended;
    });
    let connection: RedisConnection | undefined;
    await until('redis-server answers', async () => {
      connection = await RedisConnection.connect({ host: loopback, port }).catch(() => undefined);
      return connection;
    });
    if (connection === undefined) throw new Error('unreachable');
    connection.on('close', () => undefined);
    cleanup.add(() => connection?.close());
    return new TestRedis(port, child, connection);
  }

  async call(...args: Arg[]): Promise<Reply> {
    const reply = await this.connection.call(...args);
    if (reply instanceof Error) throw reply;
    return reply;
  }
}

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

let built = false;

/** Runs `meridian …` as a process of its own, in `cwd`. */
export class Meridian {
  constructor(readonly cwd: string) {
    // As `npm test` does beforehand; here for whoever runs jest alone.
    if (!built) spawnSync(process.execPath, [path.join(packageRoot(), 'scripts', 'build.mjs')], { stdio: 'inherit' });
    built = true;
  }

  spawn(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    return spawn(process.execPath, [path.join(packageRoot(), 'bin', 'meridian.js'), ...args], {
      cwd: this.cwd,
      // As called by itself, also where `npx` runs these tests.
      env: { ...process.env, npm_command: undefined, MERIDIAN_REDIS_SERVER: redisBinary().path, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // its own process group, as a terminal would make
    });
  }

  async run(...args: string[]): Promise<CommandResult> {
    const running = new Running(this.spawn(args));
    const status = await running.ended;
    return { status, stdout: running.stdout, stderr: running.stderr };
  }

  async json<T = unknown>(...args: string[]): Promise<T> {
    const { status, stdout, stderr } = await this.run(...args, '--json');
    if (status !== 0) throw new Error(`meridian ${args.join(' ')} ended with ${status}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** What state.json says; the state dir is the usual one. */
  state(): StackState {
    const state = readState(stateDirOf(path.join(this.cwd, '.meridian', 'local')));
    if (state === undefined) throw new Error('no stack was started here');
    return state;
  }
}

/** A process whose output is kept. */
export class Running {
  stdout = '';
  stderr = '';
  readonly ended: Promise<number>;

  constructor(readonly child: ChildProcess) {
    child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = new Promise((resolve) => child.once('close', (code) => resolve(code ?? 128)));
  }
}

/** Whether a process is there; one that has ended and waits to be reaped isn't. */
export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform !== 'linux';
  }
}
