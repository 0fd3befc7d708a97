import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import {
  type ConfigResult,
  type RegionConfig,
  type StackConfig,
  formatIssues,
  parseStackFile,
  withRegions,
} from '../model';
import { LocalError, errorText } from './errors';
import { packageRoot } from './package-root';
import { type RedisBinary, RedisBinaryError, ensureRedisBinary, inspectRedisBinary } from './redis-binary';

/** What the command line says about a stack, beside its file. */
export interface StackOverrides {
  /** Path of the file, in place of `Pulumi.<stack>.yaml`. */
  readonly config?: string;
  /** `a,b,c` or a number. */
  readonly regions?: string;
  readonly replicas?: number;
  readonly basePort?: number;
}

/** The same in every command: where a stack's processes are remembered. */
export function stateDirPath(stack: string, stateDir: string | undefined): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(stack)) {
    throw new LocalError('BAD_ARGUMENT', `'${stack}' is no name of a stack: letters, digits, '.', '_' and '-' only.`);
  }
  return path.resolve(stateDir ?? path.join('.meridian', stack));
}

/**
 * Reads the file that `--config` names, else `Pulumi.<stack>.yaml` from the current folder or, if it isn't there, the one of
 * this package.
 * @throws LocalError BAD_CONFIG
 */
export function readStack(stack: string, given?: string): { readonly file: string; readonly config: StackConfig } {
  const file = given ?? findStackFile(stack);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new LocalError('BAD_CONFIG', `${file} can't be read: ${errorText(error)}.`);
  }
  return { file, config: accept(parseStackFile(text, path.basename(file)), file) };
}

/**
 * A stack that runs on this machine.
 * @throws LocalError BAD_CONFIG
 */
export function loadStack(stack: string, overrides: StackOverrides): StackConfig {
  const { file, config } = readStack(stack, overrides.config);
  // Of the config's base port it need not be true that it fits those regions, where another one is chosen.
  const base =
    overrides.basePort === undefined ? config : { ...config, local: { ...config.local, basePort: undefined } };
  const chosen =
    overrides.regions === undefined ? base : accept(withRegions(base, regionsFrom(overrides.regions)), '--regions');
  const regions = chosen.regions.map((region) => withReplicas(region, overrides.replicas));
  const foreign = regions.find(({ backend }) => backend !== 'local');
  if (foreign !== undefined) {
    throw new LocalError(
      'BAD_CONFIG',
      `Stack '${stack}' runs on ${foreign.backend} (region ${foreign.name}), which \`pulumi up\` deploys: to run it on this machine, set \`backend: local\` in ${file}.`,
    );
  }
  return { ...chosen, regions };
}

function findStackFile(stack: string): string {
  const name = `Pulumi.${stack}.yaml`;
  const file = [process.cwd(), packageRoot()].map((dir) => path.join(dir, name)).find(existsSync);
  if (file !== undefined) return file;
  throw new LocalError('BAD_CONFIG', `There is no ${name} in ${process.cwd()}: write one, or choose another --stack.`);
}

function accept(result: ConfigResult, source: string): StackConfig {
  if (result.ok) return result.config;
  const { issues } = result;
  throw new LocalError(
    'BAD_CONFIG',
    `${source} is not a valid config:${issues.length > 1 ? '\n' : ' '}${formatIssues(issues)}`,
  );
}

function regionsFrom(option: string): number | string[] {
  const count = /^\d+$/.test(option) ? Number(option) : undefined;
  if (count !== undefined && (count < 2 || count > 64)) {
    throw new LocalError('BAD_ARGUMENT', `--regions ${option}: a number from 2 to 64, or names such as a,b,c.`);
  }
  return count ?? option.split(',');
}

function withReplicas(region: RegionConfig, replicas: number | undefined): RegionConfig {
  if (replicas === undefined) return region;
  return { ...region, replicas, replicasMax: Math.max(replicas, region.replicasMax) };
}

/**
 * The server program of each region: `--redis-server` for all, else the region's own of the config, else the one that is
 * found on this machine. @throws LocalError BINARY
 */
export function binariesOf(config: StackConfig, option: string | undefined): Map<string, RedisBinary> {
  const known = new Map<string, RedisBinary>();
  const inspect = (program: string, origin: string): RedisBinary => {
    const binary = known.get(program) ?? inspectRedisBinary(program, origin);
    known.set(program, binary);
    return binary;
  };
  let found: RedisBinary | undefined;
  // Installing one is for `npm start`, which says so beforehand.
  const find = (): RedisBinary => (found ??= ensureRedisBinary({ env: { ...process.env, MERIDIAN_NO_INSTALL: '1' } }));
  try {
    return new Map(
      config.regions.map((region): [string, RedisBinary] => {
        if (option !== undefined) return [region.name, inspect(option, '--redis-server')];
        if (region.redisServer === undefined) return [region.name, find()];
        return [region.name, inspect(region.redisServer, `redisServer of region ${region.name}`)];
      }),
    );
  } catch (error) {
    if (error instanceof RedisBinaryError) throw new LocalError('BINARY', error.message);
    throw error;
  }
}
