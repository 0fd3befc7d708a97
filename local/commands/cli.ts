import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';

import type * as Client from '../client';
import { checkRegion } from '../faults';
import { requirePassword } from '../secrets';
import { requireRunning } from '../status';
import { type CommonOptions, dirOf } from './common';

/**
 * Talks to a region's Redis, as the user who may do everything: with redis-cli or valkey-cli where there is one, else with a small
 * client of our own. The password goes by the environment, never by the arguments that every user of the machine can see.
 */
export async function cli(options: CommonOptions, region: string, args: readonly string[]): Promise<void> {
  const dir = dirOf(options);
  const state = requireRunning(dir, options.stack);
  checkRegion(
    region,
    state.regions.map(({ name }) => name),
  );
  const password = requirePassword(dir);
  const { redis } = state.regions.find(({ name }) => name === region)!;
  const found = findCli();
  if (found === undefined) {
    const { runClient } = loadClient();
    process.exitCode = await runClient({ ...redis, password, args, json: options.json === true, name: region });
    return;
  }
  const child = spawn(
    found.program,
    [
      ...['-h', redis.host, '-p', String(redis.port)],
      ...(found.hasErrorStatus ? ['-e'] : []),
      ...(options.json ? ['--json'] : []),
      ...args,
    ],
    {
      stdio: 'inherit',
      env: { ...process.env, REDISCLI_AUTH: password },
    },
  );
  // Ctrl-C is for redis-cli: it leaves a MONITOR or a SUBSCRIBE with it.
  const ignore = (): void => undefined;
  process.on('SIGINT', ignore);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
  process.off('SIGINT', ignore);
}

/** Whether a redis-cli has `-e`, to end with a status other than 0 when the command failed, as our own does. @param version what `--version` prints */
export function knowsErrorStatus(version: string): boolean {
  return Number(/^\S+ (\d+)\./.exec(version)?.[1] ?? 0) >= 7;
}

function findCli(): { program: string; hasErrorStatus: boolean } | undefined {
  if (process.env['MERIDIAN_NO_REDIS_CLI'] === '1') return undefined;
  const server = process.env['MERIDIAN_REDIS_SERVER'];
  const beside =
    server === undefined ? [] : ['redis-cli', 'valkey-cli'].map((name) => path.join(path.dirname(server), name));
  for (const program of [...beside, 'redis-cli', 'valkey-cli']) {
    const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
    if (status === 0) return { program, hasErrorStatus: knowsErrorStatus(stdout) };
  }
  return undefined;
}

function loadClient(): typeof Client {
  // ioredis is loaded only where it is needed: it takes longer than all the rest.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('../client') as typeof Client;
}
