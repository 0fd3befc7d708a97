/** Runs the stack's program, index.ts, with a config, as an engine would that has no clouds. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as pulumi from '@pulumi/pulumi';
import { parse } from 'yaml';

import * as components from '../components';
import * as stackOfConfig from '../components/stack';
import { type Deployment, deploy, type HarnessOptions } from '../components/testing';
import type * as Stack from '../index';

export type Config = Record<string, string>;
export type DeployedStack = Deployment<typeof Stack> & { readonly stack: typeof Stack };

/** A deployment of the program with this config, in which objects are JSON text. */
export async function deployStack(config: Config, options: HarnessOptions = {}): Promise<DeployedStack> {
  const made = await deploy(() => {
    pulumi.runtime.setAllConfig(config);
    let stack: typeof Stack | undefined;
    jest.isolateModules(() => {
      // Those that have the mocks and the config, and no second load.
      jest.doMock('@pulumi/pulumi', () => pulumi);
      jest.doMock('../components', () => components);
      jest.doMock('../components/stack', () => stackOfConfig);
      stack = jest.requireActual<typeof Stack>('../index');
    });
    if (stack === undefined) throw new Error('the program exports nothing');
    return stack;
  }, options);
  return { ...made, stack: made.result };
}

/** The config of a stack's file, as Pulumi hands it to the program: objects are JSON text. */
export function configOf(stack: string): Config {
  const file = path.join(__dirname, '..', `Pulumi.${stack}.yaml`);
  const { config } = parse(readFileSync(file, 'utf8')) as { config: Record<string, unknown> };
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}

export type Region = Record<string, unknown> & { name: string };

export const regionsOf = (config: Config): Region[] => JSON.parse(config['meridian:regions'] ?? '[]') as Region[];

/**
 * The same stack with so many regions: those that it has, and more like its first one.
 */
export function withRegionCount(config: Config, count: number): Config {
  const known = regionsOf(config);
  const [model] = known;
  if (model === undefined) throw new Error('a stack without regions');
  const more = Array.from({ length: Math.max(0, count - known.length) }, (_, i): Region => {
    const name = `region-${known.length + i + 1}`;
    const { primary: _primary, ...like } = model;
    // Whatever says the model's name says this one's.
    return JSON.parse(JSON.stringify(like).replaceAll(model.name, name)) as Region;
  });
  const regions = [...known, ...more].slice(0, count).map(({ weight: _, ...region }) => region);
  return { ...config, 'meridian:regions': JSON.stringify(regions) };
}
