/** The processes that a measurement needs, in a temporary folder; all are ended, and the folder removed, by `close`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../agent/free-port';
import { type Arg, RedisConnection, type Reply, ReplyError } from '../agent/resp';
import { type Watched } from './cpu';

export const HOST = '127.0.0.1';
const START_MS = 30_000;
const GRACE_MS = 15_000;

/** Whatever still runs when this process ends, however it ends. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Place {
  readonly dir = mkdtempSync(path.join(os.tmpdir(), 'meridian-bench-'));
  private readonly children: { name: string; child: ChildProcess; log: string }[] = [];
  private readonly servers: RedisServer[] = [];

  /** Starts a program whose output goes to a file. */
  spawn(
    name: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const log = path.join(this.dir, `${name}.log`);
    const output = openSync(log, 'a');
    const child = spawn(command, args, {
      stdio: ['ignore', output, output],
      cwd: this.dir,
      env: { ...env, ...process.env },
    });
    closeSync(output);
    running.add(child);
    child.once('exit', () => running.delete(child));
    child.once('error', () => running.delete(child));
    this.children.push({ name, child, log });
    return child;
  }

  folder(name: string): string {
    const dir = path.join(this.dir, name);
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  async redis(name: string, binary: string, appendonly: boolean): Promise<RedisServer> {
    const port = await freePort();
    const child = this.spawn(name, binary, [
      ...['--bind', HOST, '--port', String(port), '--dir', this.folder(name)],
      ...['--save', '', '--appendonly', appendonly ? 'yes' : 'no', '--auto-aof-rewrite-percentage', '0'],
      // What a local stack sets, and no limit to what a slow replica may owe: nobody shall be dropped in mid-run.
      ...['--lazyfree-lazy-expire', 'yes', '--lazyfree-lazy-eviction', 'yes', '--notify-keyspace-events', 'Egxe'],
      ...['--repl-backlog-size', '64mb', '--repl-diskless-sync', 'yes', '--repl-diskless-sync-delay', '0'],
      ...['--client-output-buffer-limit', 'replica 0 0 0'],
    ]);
    const server = new RedisServer(name, port, child);
    this.servers.push(server);
    await this.until(`${name} answers`, async () => (await server.connect().catch(() => false)) !== false, START_MS);
    return server;
  }

  /** Asks until the answer is yes. @throws when it takes too long, or a process has ended meanwhile */
  async until(what: string, check: () => Promise<boolean>, timeoutMs: number, everyMs = 10): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await check())) {
      const dead = this.children.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
      if (dead !== undefined) {
        const { name, child, log } = dead;
        const how = child.signalCode ?? `exit status ${child.exitCode}`;
        throw new Error(`${name} ended (${how}) while waiting until ${what}:\n${tail(log)}`);
      }
      if (performance.now() > deadline) {
        const logs = this.children.map(({ name, log }) => `— ${name}\n${tail(log, 5)}`).join('\n');
        throw new Error(`not within ${Math.round(timeoutMs / 1000)} s: ${what}\n${logs}`);
      }
      await sleep(everyMs);
    }
  }

  async close(): Promise<void> {
    for (const server of this.servers) server.disconnect();
    // Those that read from others first.
    for (const { child } of [...this.children].reverse()) await end(child);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export class RedisServer implements Watched {
  private connection: RedisConnection | null = null;

  constructor(
    readonly name: string,
    readonly port: number,
    private readonly child: ChildProcess,
  ) {}

  get pid(): number {
    return this.child.pid ?? -1;
  }

  async connect(): Promise<true> {
    this.connection ??= await RedisConnection.connect({ host: HOST, port: this.port });
    return true;
  }

  disconnect(): void {
    this.connection?.close();
  }

  /** @throws what the server answered, if it was an error */
  async call(...args: Arg[]): Promise<Reply> {
    if (this.connection === null) throw new Error(`${this.name} is not connected`);
    const reply = await this.connection.call(...args);
    if (reply instanceof ReplyError) throw reply;
    return reply;
  }

  async text(...args: Arg[]): Promise<string> {
    const reply = await this.call(...args);
    return Buffer.isBuffer(reply) ? reply.toString('latin1') : String(reply);
  }

  /** Keys set so far, whoever did and by whatever command: an MSET changes as many as it names. */
  async changes(): Promise<number> {
    return Number(/^rdb_changes_since_last_save:(\d+)/m.exec(await this.text('INFO', 'persistence'))?.[1] ?? 0);
  }

  /** Keys but those of agents. */
  async keys(): Promise<number> {
    const own = Number(await this.call('EXISTS', 'meridian:cursor', 'meridian:heartbeat'));
    return Number(await this.call('DBSIZE')) - own;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await gone;
  clearTimeout(late);
}

function tail(log: string, lines = 15): string {
  try {
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}
