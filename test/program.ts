/** Runs the stack's program, index.ts, with a config, as an engine would that has no clouds. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as pulumi from '@pulumi/pulumi';
import { parse } from 'yaml';

import * as components from '../components';
import * as stackOfConfig from '../components/stack';
import { type Deployment, deploy, type HarnessOptions } from '../components/testing';
import { type Config } from '../bench/regions';
import type * as Stack from '../index';

export { regionsOf, withRegionCount } from '../bench/regions';
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
  return configIn(readFileSync(file, 'utf8'));
}

/** The same of a file's text. */
export function configIn(text: string): Config {
  const { config } = parse(text) as { config: Record<string, unknown> };
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}
