import { at, shown } from '../props';
import { Level, resourceRule } from '../rule';
import { isProduction, shared } from '../stack';

/** Components with data, or with what nobody gets into the data without. */
const components: readonly string[] = [
  'KubernetesRedis',
  'SyncAgent',
  'FargateSyncAgent',
  'ElastiCacheRedis',
  'AliyunRedis',
  'TencentRedis',
  'RedisSecurity',
].map((name) => `meridian:index:${name}`);

/** Mandatory: it loses data. What leaves the program is deleted, also by a mistake in a list of regions. */
export const dataRetained = resourceRule({
  name: 'data-retained',
  level: Level.Mandatory,
  what: 'In production components that hold data, or the keys to it, leave it alone when they leave the program: `retainOnDelete: true`.',
  why:
    'Otherwise one line deleted from a list of regions deletes the data of a region. The engine does not tell policies this option of a resource, but the ' +
    "arguments of a component: other people's resources can't be checked.",
  fix: 'Set `retainOnDelete` at the component (`meridian:kubernetes.protect` sets both).',
  settings: { productionStacks: shared.productionStacks },
  concerns: (type) => components.includes(type),
  check: ({ urn, props }, { productionStacks }) => {
    const value = at(props, 'retainOnDelete');
    if (value === true || !isProduction(urn, productionStacks)) return [];
    return [{ where: 'retainOnDelete', found: shown(value), allowed: 'true' }];
  },
});
