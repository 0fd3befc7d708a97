/** For tests: real redis-server processes on free ports of the loopback, which leave nothing behind. */
import { type ChildProcess, execFileSync, spawn } from 'child_process';
import { mkdtempSync, rmSync } from 'fs';
import { tmpdir } from 'os';
import { join } from 'path';
import { freePort } from '../free-port';
import { RedisConnection, type RedisConnectionOptions, type Reply, ReplyError } from '../resp';

/** The server binary that tests use: MERIDIAN_REDIS_SERVER, or redis-server or valkey-server on PATH. */
export function serverBinary(): string {
  const set = process.env.MERIDIAN_REDIS_SERVER;
  if (set !== undefined && set !== '') return set;
  for (const name of ['redis-server', 'valkey-server']) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    } catch {
      // the next one
    }
  }
  throw new Error('these tests need redis-server or valkey-server on PATH, or MERIDIAN_REDIS_SERVER');
}

/** Major and minor version of that binary, as 7.4. */
export function serverVersion(): number {
  return Number(/v=(\d+\.\d+)/.exec(versionText())?.[1] ?? 0);
}

export function serverFlavour(): 'Redis' | 'Valkey' {
  return /^Redis /.test(versionText()) ? 'Redis' : 'Valkey';
}

function versionText(): string {
  return execFileSync(serverBinary(), ['--version'], { encoding: 'utf8' });
}

export interface TestServerOptions {
  port?: number;
  binary?: string;
  /** Lines of a configuration, as arguments: `['--appendonly', 'yes']`. */
  args?: string[];
  sentinel?: boolean;
  /** How to reach it: password, TLS. */
  client?: Partial<RedisConnectionOptions>;
  dir?: string;
  configFile?: string;
}

export class TestServer {
  private constructor(
    readonly port: number,
    readonly dir: string,
    readonly process: ChildProcess,
    private readonly opts: TestServerOptions,
    private readonly output: string[],
  ) {}

  static async start(opts: TestServerOptions = {}): Promise<TestServer> {
    let last: unknown;
    // The free port may be taken by another test's server before ours binds it.
    for (let attempt = 0; attempt < (opts.port === undefined ? 5 : 1); attempt++) {
      try {
        return await TestServer.startOnce(opts);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  private static async startOnce(opts: TestServerOptions): Promise<TestServer> {
    const port = opts.port ?? (await freePort());
    const dir = opts.dir ?? mkdtempSync(join(tmpdir(), 'meridian-test-'));
    const binary = opts.binary ?? serverBinary();
    const output: string[] = [];
    const common = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir];
    const args = opts.sentinel
      ? [opts.configFile as string, '--sentinel', '--port', String(port), '--bind', '127.0.0.1']
      : [...common, '--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0', ...(opts.args ?? [])];
    const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout?.on('data', (d: Buffer) => output.push(d.toString()));
    child.stderr?.on('data', (d: Buffer) => output.push(d.toString()));
    const server = new TestServer(port, dir, child, opts, output);
    try {
      const deadline = Date.now() + 20_000;
      for (;;) {
        if (child.exitCode !== null) throw new Error(`the server ended:\n${output.join('')}`);
        try {
          const probe = await server.client();
          const pong = await probe.call('PING');
          probe.close();
          if (pong === 'PONG') return server;
        } catch {
          // not yet
        }
        if (Date.now() > deadline) throw new Error(`the server does not answer:\n${output.join('')}`);
        await new Promise((r) => setTimeout(r, 20));
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get log(): string {
    return this.output.join('');
  }

  client(opts: Partial<RedisConnectionOptions> = {}): Promise<RedisConnection> {
    return RedisConnection.connect({ host: '127.0.0.1', port: this.port, ...this.opts.client, ...opts });
  }

  /** Runs commands on a connection of its own; throws on an error reply. */
  async run(...commands: (string | number | Buffer)[][]): Promise<Reply[]> {
    const client = await this.client();
    try {
      const replies: Reply[] = [];
      for (const command of commands) {
        const reply = await client.call(...command);
        if (reply instanceof ReplyError) throw new Error(`${String(command[0])}: ${reply.message}`);
        replies.push(reply);
      }
      return replies;
    } finally {
      client.close();
    }
  }

  /** Ends the process; with `keep` its directory stays. */
  async stop(signal: NodeJS.Signals = 'SIGKILL', keep = false): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const gone = new Promise((resolve) => this.process.once('exit', resolve));
      this.process.kill(signal);
      await gone;
    }
    if (!keep && this.opts.dir === undefined) rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits until `check` gives something truthy. */
export async function until<T>(
  check: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  timeoutMs = 20_000,
  what = 'what was waited for',
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what} did not come within ${timeoutMs} ms`);
    await new Promise((r) => setTimeout(r, 10));
  }
}
