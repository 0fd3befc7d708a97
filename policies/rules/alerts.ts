import { z } from 'zod';

import { isKind, regionLabel, workloadsOf } from '../kubernetes';
import { isManagedRedis } from '../managed';
import { listAt, textAt } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';

const isRules = isKind('PrometheusRule');

/** Advisory: nothing is lost by it at once, and Prometheus may have its rules from somewhere else. */
export const alerts = stackRule({
  name: 'alerts',
  level: Level.Advisory,
  what: 'Each region of a mesh has its alerts.',
  why: 'Otherwise a lag, a link or a Redis that is down is noticed by its users first. Prometheus may have its rules from elsewhere; hence advisory.',
  fix: 'Deploy RedisMonitoring for each region (`meridian:monitoring`), or name in `required` what your own rules are called.',
  settings: {
    required: z
      .array(z.string())
      .default([
        'RedisDown',
        'RedisMemoryHigh',
        'MeridianReplicationLag',
        'MeridianLinkDown',
        'MeridianAgentDown',
        'MeridianDivergence',
      ])
      .describe('Alerts that every region has to have.'),
  },
  check: (resources, { required }): Issue[] => {
    const rules = alertsIn(resources);
    return regionsOf(resources).flatMap((region) => {
      const missing = required.filter(
        (name) => !rules.some((rule) => rule.name === name && (rule.region ?? region) === region),
      );
      if (missing.length === 0) return [];
      const where = region === undefined ? 'the stack' : `region ${region}`;
      return [{ where, found: `no alert ${missing.join(', ')}`, allowed: 'a PrometheusRule with them' }];
    });
  },
});

/** Regions with pods of ours; one without a name for a Redis of somebody else's. */
function regionsOf(resources: readonly CheckedInStack[]): (string | undefined)[] {
  const labelled = workloadsOf(resources).map(({ labels }) => textAt(labels, regionLabel));
  const managed = labelled.length === 0 && resources.some(isManagedRedis) ? [undefined] : [];
  return [...new Set([...labelled, ...managed])];
}

function alertsIn(resources: readonly CheckedInStack[]): { name: string | undefined; region: string | undefined }[] {
  return resources
    .filter(({ type }) => isRules(type))
    .flatMap(({ props }) => listAt(props, 'spec', 'groups'))
    .flatMap((group) => listAt(group, 'rules'))
    .map((rule) => ({ name: textAt(rule, 'alert'), region: textAt(rule, 'labels', 'region') }));
}
