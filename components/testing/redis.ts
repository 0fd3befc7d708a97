/** For tests only: what the pods of KubernetesRedis run, as processes on this machine. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { SystemUser, usersDefault } from '../../model';
import { type RedisConf, renderRedisConf, renderSentinelConf } from '../kubernetes/conf';
import { scriptsDir } from '../kubernetes/scripts';
import { aclFiles } from '../security/credentials';

export const host = '127.0.0.1';
export const serverProgram = process.env['MERIDIAN_REDIS_SERVER'] ?? 'redis-server';

/** Settings as the component's defaults, but small. */
export const smallConf: RedisConf = {
  maxmemoryBytes: 256 * 2 ** 20,
  maxmemoryPolicy: 'noeviction',
  appendfsync: 'everysec',
  backlogBytes: 2 ** 20,
  backlogTtlSeconds: 3600,
  outputBufferHardBytes: 256 * 2 ** 20,
  outputBufferSoftBytes: 64 * 2 ** 20,
  outputBufferSoftSeconds: 60,
  disklessSync: true,
  disklessSyncDelaySeconds: 0,
  minReplicasToWrite: 0,
  minReplicasMaxLagSeconds: 10,
  tls: false,
  cluster: false,
};

/** The passwords of every user; the second of each is the one that is being replaced. */
const passwords = Object.fromEntries(
  [...Object.values(SystemUser), ...Object.keys(usersDefault)].map((user) => [user, [`${user}-new`, `${user}-old`]]),
);
export const passwordOf = (user: string, index = 0): string => passwords[user]?.[index] ?? '';

const living = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** One region's processes, in one folder; all gone after `close`. */
export class Region {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'meridian-kubernetes-'));
  readonly certificates = path.join(this.dir, 'tls');
  private readonly children: ChildProcess[] = [];
  /** `host:port` of each. */
  readonly sentinels: string[] = [];
  first = '';

  constructor(
    readonly conf: RedisConf,
    readonly timing = { downAfterMs: 1000, failoverTimeoutMs: 15_000 },
  ) {
    const acl = aclFiles(passwords, usersDefault, conf.cluster);
    this.write('acl/users.acl', acl.redis);
    this.write('acl/sentinel-users.acl', acl.sentinel);
    this.write('node/username', SystemUser.Node);
    this.write('node/password', passwordOf(SystemUser.Node));
  }

  write(file: string, text: string): string {
    const at = path.join(this.dir, file);
    mkdirSync(path.dirname(at), { recursive: true });
    writeFileSync(at, text, { mode: 0o600 });
    return at;
  }

  /** What lib.sh needs, for the server at this port. */
  env(port: number): Record<string, string> {
    const at = (name: string): string => path.join(this.dir, name);
    return {
      PATH: process.env['PATH'] ?? '',
      MERIDIAN_HOST: host,
      MERIDIAN_PORT: String(port),
      MERIDIAN_SENTINELS: this.sentinels.join(' '),
      MERIDIAN_PRIMARY_NAME: 'west',
      MERIDIAN_FIRST: this.first,
      MERIDIAN_QUORUM: '2',
      MERIDIAN_CLUSTER: this.conf.cluster ? 'yes' : 'no',
      MERIDIAN_TLS: this.conf.tls ? 'yes' : 'no',
      MERIDIAN_CONFIG: at(`${port}/config`),
      MERIDIAN_DATA: at(`${port}/data`),
      MERIDIAN_RUN: at(`${port}/run`),
      MERIDIAN_NODE: at('node'),
      MERIDIAN_TLS_DIR: this.certificates,
      MERIDIAN_SERVER: serverProgram,
    };
  }

  startRedis(port: number): ChildProcess {
    const dirs = this.dirsOf(port);
    this.write(`${port}/config/redis.conf`, renderRedisConf(this.conf, dirs, port));
    return this.start('redis-start.sh', port);
  }

  startSentinel(port: number): ChildProcess {
    const conf = { primaryName: 'west', ...this.timing, parallelSyncs: 1, tls: this.conf.tls };
    this.write(`${port}/config/sentinel.conf`, renderSentinelConf(conf, this.dirsOf(port), port));
    return this.start('sentinel-start.sh', port);
  }

  private dirsOf(port: number) {
    const at = (name: string): string => path.join(this.dir, name);
    for (const name of ['config', 'data', 'run']) mkdirSync(at(`${port}/${name}`), { recursive: true });
    return {
      config: at(`${port}/config`),
      data: at(`${port}/data`),
      run: at(`${port}/run`),
      acl: at('acl'),
      node: at('node'),
      tls: this.certificates,
      scripts: scriptsDir,
    };
  }

  /** Starts a script of a pod; the server takes its place. */
  private start(script: string, port: number): ChildProcess {
    return this.spawn('sh', [path.join(scriptsDir, script)], this.env(port), `${port}.log`);
  }

  spawn(command: string, args: readonly string[], env: Record<string, string>, log: string): ChildProcess {
    const fd = openSync(path.join(this.dir, log), 'a');
    const child = spawn(command, args, { env, stdio: ['ignore', fd, fd] });
    closeSync(fd);
    living.add(child);
    child.once('exit', () => living.delete(child));
    this.children.push(child);
    return child;
  }

  /** Runs a script to its end. */
  run(script: string, port: number, args: readonly string[] = [], more: Record<string, string> = {}) {
    const done = spawnSync('sh', [path.join(scriptsDir, script), ...args], {
      env: { ...this.env(port), ...more },
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { status: done.status, output: `${done.stdout}${done.stderr}` };
  }

  /** The same, while this process goes on. */
  async runAside(script: string, port: number): Promise<{ status: number | null; output: string }> {
    const log = `${script}-${port}`;
    const child = this.spawn('sh', [path.join(scriptsDir, script)], this.env(port), `${log}.log`);
    await new Promise((resolve) => child.once('exit', resolve));
    return { status: child.exitCode, output: this.log(log) };
  }

  /** One command, as a user; the reply as redis-cli shows it. */
  cli(port: number, command: readonly string[], user = 'admin', password = passwordOf(user)): string {
    const tls = this.conf.tls ? ['--tls', '--cacert', path.join(this.certificates, 'ca.crt')] : [];
    const args = ['--no-auth-warning', '--user', user, '-h', host, '-p', String(port), ...tls, ...command];
    const done = spawnSync('redis-cli', args, {
      env: { ...process.env, REDISCLI_AUTH: password },
      encoding: 'utf8',
      timeout: 5000,
    });
    return `${done.stdout}${done.stderr}`.trim();
  }

  role(port: number): string {
    return this.cli(port, ['ROLE']).split('\n')[0] ?? '';
  }

  log(port: number | string): string {
    return readFileSync(path.join(this.dir, `${port}.log`), 'utf8');
  }

  async close(): Promise<void> {
    await Promise.all(this.children.map(end));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Sentinels that ask for INFO each second, rather than every ten: the tests' time is spent waiting for it. */
export async function startSentinels(region: Region, ports: readonly number[]): Promise<void> {
  for (const port of ports) region.startSentinel(port);
  for (const port of ports) {
    const ask = (): string => region.cli(port, ['SENTINEL', 'DEBUG', 'INFO-PERIOD', '500'], SystemUser.Node);
    await until('Sentinel answers', () => ask() === 'OK');
  }
}

/** Whether a Sentinel could promote somebody. */
export function hasReplica(region: Region, sentinel: number): boolean {
  const replicas = region.cli(sentinel, ['SENTINEL', 'replicas', 'west'], 'app');
  return /flags\nslave\n(.|\n)*slave-repl-offset\n[1-9]/.test(replicas);
}

/** Ends a process, at once, and waits for its end. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await over;
}

/** So many free ports, below those that the system gives out by itself. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const port = 11_000 + Math.floor(Math.random() * 11_000);
    // A cluster's bus is 10000 above.
    if (!found.includes(port) && (await isFree(port)) && (await isFree(port + 10_000))) found.push(port);
  }
  return found;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Waits until something is so. */
export async function until(what: string, is: () => unknown, timeoutMs = 20_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await is())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(100);
  }
}
