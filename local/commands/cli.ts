import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';

import type * as Client from '../client';
import { LocalError } from '../errors';
import { checkRegion } from '../faults';
import { readSecrets } from '../secrets';
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
  const password = readSecrets(dir)?.password;
  const redis = state.regions.find(({ name }) => name === region)?.redis;
  if (redis === undefined || password === undefined) {
    throw new LocalError(
      'STATE_DIR',
      `${dir.password} is missing: stop the stack with \`meridian down\` and start it again.`,
    );
  }
  const program = findCli();
  if (program === undefined) {
    const { runClient } = loadClient();
    process.exitCode = await runClient({ ...redis, password, args, json: options.json === true, name: region });
    return;
  }
  const child = spawn(
    program,
    ['-h', redis.host, '-p', String(redis.port), ...(options.json ? ['--json'] : []), ...args],
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

function findCli(): string | undefined {
  if (process.env['MERIDIAN_NO_REDIS_CLI'] === '1') return undefined;
  const server = process.env['MERIDIAN_REDIS_SERVER'];
  const beside =
    server === undefined ? [] : ['redis-cli', 'valkey-cli'].map((name) => path.join(path.dirname(server), name));
  return [...beside, 'redis-cli', 'valkey-cli'].find(
    (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
  );
}

function loadClient(): typeof Client {
  // ioredis is loaded only where it is needed: it takes longer than all the rest.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('../client') as typeof Client;
}
