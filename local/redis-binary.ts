import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';

/** A Redis-compatible server program on this machine. */
export interface RedisBinary {
  /** Absolute path of the program. */
  readonly path: string;
  readonly flavour: 'redis' | 'valkey';
  /** Such as `7.0.15`, from the program's own `--version`. */
  readonly version: string;
}

/**
 * Why there is no server to run. The message is one sentence or two for a person: what was looked for, what was found,
 * what to do.
 */
export class RedisBinaryError extends Error {
  constructor(
    /** MISSING: none found, none installed. UNUSABLE: the named program is not a server we can run. INSTALL: the package manager failed. */
    readonly code: 'MISSING' | 'UNUSABLE' | 'INSTALL',
    message: string,
  ) {
    super(message);
    this.name = 'RedisBinaryError';
  }
}

export interface RedisBinaryOptions {
  /** Where PATH, MERIDIAN_REDIS_SERVER and MERIDIAN_NO_INSTALL are read. Default: `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Told each step that takes long. Default: silent. */
  readonly log?: (line: string) => void;
}

/** The oldest server whose snapshots and replication stream the agent reads. */
const versionMin = [6, 2] as const;

const programs = ['redis-server', 'valkey-server'] as const;

interface PackageManager {
  readonly program: string;
  /** Homebrew refuses to run as root; the others need it. */
  readonly needsRoot: boolean;
  readonly refresh?: readonly string[];
  readonly install: readonly string[];
  /** In the order to try: newer distributions carry Valkey in the place of Redis. */
  readonly packages: readonly string[];
}

const packageManagers: readonly PackageManager[] = [
  {
    program: 'apt-get',
    needsRoot: true,
    refresh: ['update', '-q'],
    install: ['install', '-y', '-q', '--no-install-recommends'],
    packages: ['redis-server', 'valkey-server'],
  },
  { program: 'dnf', needsRoot: true, install: ['install', '-y', '-q'], packages: ['redis', 'valkey'] },
  { program: 'apk', needsRoot: true, install: ['add', '--no-cache', '-q'], packages: ['redis', 'valkey'] },
  { program: 'brew', needsRoot: false, install: ['install', '-q'], packages: ['redis', 'valkey'] },
];

/**
 * Checks one program, as named by a person or a config: a path, or a name to look for on PATH.
 * @param origin where the name comes from, for the error: `--redis-server`, `MERIDIAN_REDIS_SERVER`, …
 * @throws RedisBinaryError UNUSABLE
 */
export function inspectRedisBinary(name: string, origin: string, env: NodeJS.ProcessEnv = process.env): RedisBinary {
  const file = name.includes('/') ? path.resolve(name) : onPath(name, env);
  if (file === undefined || !isExecutable(file)) {
    throw new RedisBinaryError('UNUSABLE', `${origin} names '${name}', which is not a program that can be run here.`);
  }
  const run = spawnSync(file, ['--version'], { encoding: 'utf8', timeout: 10_000, env });
  const found = /^(redis|valkey) server v=((\d+)\.(\d+)\.\d+)/i.exec(run.stdout ?? '');
  if (run.status !== 0 || found === null) {
    throw new RedisBinaryError('UNUSABLE', `${origin} names '${file}', which is not a Redis or Valkey server.`);
  }
  const [, flavour, version, major, minor] = found;
  if (Number(major) < versionMin[0] || (Number(major) === versionMin[0] && Number(minor) < versionMin[1])) {
    throw new RedisBinaryError(
      'UNUSABLE',
      `${origin} names '${file}', version ${version}; Meridian needs Redis ${versionMin.join('.')} or newer, or Valkey.`,
    );
  }
  return { path: file, flavour: flavour?.toLowerCase() === 'valkey' ? 'valkey' : 'redis', version: version ?? '' };
}

/**
 * Finds a server without changing the machine: `MERIDIAN_REDIS_SERVER`, else `redis-server` or `valkey-server` on PATH.
 * A program on PATH that can't be used is passed over.
 * @throws RedisBinaryError UNUSABLE when `MERIDIAN_REDIS_SERVER` names something that is no server: a wish is never silently ignored.
 */
export function findRedisBinary(options: RedisBinaryOptions = {}): RedisBinary | undefined {
  const env = options.env ?? process.env;
  const wish = env['MERIDIAN_REDIS_SERVER'];
  if (wish !== undefined && wish !== '') return inspectRedisBinary(wish, 'MERIDIAN_REDIS_SERVER', env);
  for (const program of programs) {
    const file = onPath(program, env);
    if (file === undefined) continue;
    try {
      return inspectRedisBinary(file, 'PATH', env);
    } catch (error) {
      if (!(error instanceof RedisBinaryError)) throw error;
      options.log?.(`passing over ${file}: ${error.message}`);
    }
  }
  return undefined;
}

/**
 * Finds a server, and where there is none installs it with the system's package manager, when that is allowed: as root
 * or with a sudo that asks no password, and not with `MERIDIAN_NO_INSTALL=1`.
 * The package manager's own output goes to stderr.
 * @throws RedisBinaryError
 */
export function ensureRedisBinary(options: RedisBinaryOptions = {}): RedisBinary {
  const env = options.env ?? process.env;
  const found = findRedisBinary(options);
  if (found !== undefined) return found;

  const manager = packageManagers.find((m) => onPath(m.program, env) !== undefined);
  if (manager === undefined) throw missing('no known package manager is on PATH');
  if (env['MERIDIAN_NO_INSTALL'] === '1') throw missing('MERIDIAN_NO_INSTALL=1 forbids installing one', manager);
  const prefix = rootPrefix(manager, env);
  if (prefix === undefined) throw missing('installing one needs root, or sudo without a password', manager);

  const runManager = (args: readonly string[]): boolean => {
    const [command = manager.program, ...rest] = [...prefix, manager.program, ...args];
    // Where nobody can answer a question, Debian's packages must not ask one.
    const quietEnv = { ...env, DEBIAN_FRONTEND: 'noninteractive' };
    return spawnSync(command, rest, { stdio: ['ignore', 2, 2], env: quietEnv }).status === 0;
  };
  options.log?.(`no Redis server here: installing one with ${manager.program} (MERIDIAN_NO_INSTALL=1 forbids it) …`);
  if (manager.refresh !== undefined) runManager(manager.refresh);
  for (const name of manager.packages) {
    if (!runManager([...manager.install, name])) continue;
    const installed = findRedisBinary(options);
    if (installed !== undefined) {
      options.log?.(`installed ${name}: ${installed.path}, version ${installed.version}. Its own service isn't used.`);
      return installed;
    }
  }
  throw new RedisBinaryError(
    'INSTALL',
    `${manager.program} could not install a Redis server (its output is above). ${advice(manager)}`,
  );
}

function missing(reason: string, manager?: PackageManager): RedisBinaryError {
  return new RedisBinaryError('MISSING', `No redis-server or valkey-server on PATH, and ${reason}. ${advice(manager)}`);
}

function advice(manager?: PackageManager): string {
  const command =
    manager === undefined
      ? `Install Redis ${versionMin.join('.')} or newer, or Valkey`
      : `Install one with \`${manager.needsRoot ? 'sudo ' : ''}${manager.program} ${manager.install[0]} ${manager.packages[0]}\``;
  return `${command}, or set MERIDIAN_REDIS_SERVER to the path of a server.`;
}

/** What to put before the package manager's name to run it with the rights it needs; undefined when they are not to be had. */
function rootPrefix(manager: PackageManager, env: NodeJS.ProcessEnv): string[] | undefined {
  if (!manager.needsRoot || process.getuid?.() === 0) return [];
  const sudo = onPath('sudo', env);
  if (sudo === undefined) return undefined;
  return spawnSync(sudo, ['-n', 'true'], { stdio: 'ignore', env }).status === 0 ? [sudo, '-n'] : undefined;
}

function onPath(program: string, env: NodeJS.ProcessEnv): string | undefined {
  for (const dir of (env['PATH'] ?? '').split(path.delimiter)) {
    if (dir === '') continue;
    const file = path.join(path.resolve(dir), program);
    if (isExecutable(file)) return file;
  }
  return undefined;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
