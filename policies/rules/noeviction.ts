import { concernsConf, confsOf, valueOf } from '../conf';
import { aliyunInstance, isCopy, replicationGroup } from '../managed';
import { at, isGiven, listAt, mappingAt, shown, textAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';
import { isCache, shared } from '../stack';

const parameterGroup = 'aws:elasticache/parameterGroup:ParameterGroup';
const tencentParam = 'tencentcloud:Redis/param:Param';
const managed: readonly string[] = [parameterGroup, replicationGroup, aliyunInstance, tencentParam];
const wanted = 'noeviction';

/** Mandatory: it loses data. A full Redis that evicts deletes keys in silence. */
export const noeviction = resourceRule({
  name: 'noeviction',
  level: Level.Mandatory,
  what: 'A Redis that holds data evicts nothing: `maxmemory-policy noeviction`.',
  why: 'A full Redis that evicts deletes keys in silence; one that does not refuses writes, which somebody notices.',
  fix: 'Leave `use` at `data`; a stack that may lose keys declares it: `meridian:redis.use: cache`.',
  settings: { use: shared.use },
  concerns: (type) => concernsConf(type) || managed.includes(type),
  check: (resource, { use }) => (isCache(use) ? [] : issuesOf(resource)),
});

function issuesOf(resource: Checked): Issue[] {
  const { type, props } = resource;
  const policy = (where: string, value: unknown): Issue[] =>
    value === wanted ? [] : [{ where, found: shown(value), allowed: wanted }];
  switch (type) {
    case parameterGroup: {
      if (!/^(redis|valkey)/.test(textAt(props, 'family') ?? '')) return [];
      const parameter = listAt(props, 'parameters').find((item) => at(item, 'name') === 'maxmemory-policy');
      // The service's own default is volatile-lru.
      return policy('parameters[maxmemory-policy]', at(parameter, 'value'));
    }
    case replicationGroup:
      return isGiven(props, 'parameterGroupName') || isCopy(resource)
        ? []
        : [{ where: 'parameterGroupName', found: 'nothing', allowed: `a group with maxmemory-policy ${wanted}` }];
    case aliyunInstance:
      return policy('config.EvictionPolicy', at(props, 'config', 'EvictionPolicy'));
    case tencentParam:
      return policy(
        'instanceParams.maxmemory-policy',
        mappingAt(props, 'instanceParams')['maxmemory-policy'] ?? wanted,
      );
    default:
      return confsOf(resource)
        .filter(({ server }) => server === 'redis')
        .flatMap((conf) => policy(`${conf.where}: maxmemory-policy`, valueOf(conf, 'maxmemory-policy') ?? wanted));
  }
}
