import * as pulumi from '@pulumi/pulumi';
import { z } from 'zod';

/** Of a URN, `urn:pulumi:<stack>::<project>::<type>::<name>`. */
const stackOf = (urn: string): string => urn.split('::')[0]?.split(':').at(-1) ?? '';

/** Settings that several rules have. */
export const shared = {
  productionStacks: z
    .array(z.string())
    .default(['prod', 'prod-*', '*-prod', 'production'])
    .describe('Names of the stacks that are in production; `*` stands for anything.'),
  use: z
    .enum(['config', 'data', 'cache'])
    .default('config')
    .describe(
      'What Redis is used for. `config`: as the stack declares in `meridian:redis.use`; one that declares nothing holds data.',
    ),
};

/** Whether the stack of a resource is in production. */
export function isProduction(urn: string, productionStacks: readonly string[]): boolean {
  const stack = stackOf(urn);
  return productionStacks.some((pattern) => {
    const parts = pattern.split('*').map((part) => part.replaceAll(/[^\w-]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`).test(stack);
  });
}

const redisConfig = z.object({ use: z.enum(['data', 'cache']).optional() });

/** Whether the stack may lose keys. The engine gives a policy pack the config of the stack that it runs for. */
export function isCache(use: 'config' | 'data' | 'cache'): boolean {
  if (use !== 'config') return use === 'cache';
  const text = pulumi.runtime.allConfig()['meridian:redis'];
  if (text === undefined) return false;
  const parsed = redisConfig.safeParse(parsedJson(text));
  return parsed.success && parsed.data.use === 'cache';
}

/** What a text says as JSON; undefined where it is none. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
