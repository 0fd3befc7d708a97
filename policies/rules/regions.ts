import { z } from 'zod';

import { agentConfigsIn } from '../agents';
import { PodRole, regionLabel, workloadsOf } from '../kubernetes';
import { aliyunInstance, isManagedRedis, tencentInstance } from '../managed';
import { textAt } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';

/** Mandatory: it loses data. With one region its loss is the loss of everything. */
export const regions = stackRule({
  name: 'regions',
  level: Level.Mandatory,
  what: 'The data is in two regions or more, those that other stacks deploy included.',
  why: 'With one region alone its loss is the loss of everything.',
  fix: 'Add a region to `meridian:regions`; a Redis that is to be alone sets `regionsMin` to 1.',
  settings: { regionsMin: z.int().min(1).default(2).describe('The least number of regions.') },
  check: (resources, { regionsMin }): Issue[] => {
    const found = regionsIn(resources);
    if (found.size === 0 || found.size >= regionsMin) return [];
    return [
      { where: 'the stack', found: `${found.size} (${[...found].join(', ')})`, allowed: `${regionsMin} or more` },
    ];
  },
});

/** All that is known of the mesh: an agent knows every member, wherever it is deployed. None: the stack has no Redis. */
function regionsIn(resources: readonly CheckedInStack[]): Set<string> {
  const members = agentConfigsIn(resources).flatMap(({ config }) => config.members.map(({ name }) => name));
  const labelled = workloadsOf(resources)
    .filter(({ role }) => role === PodRole.Redis)
    .map(({ labels }) => textAt(labels, regionLabel) ?? 'a region without a label');
  const managed = resources.filter(isManagedRedis).map(regionOf);
  return new Set(members.length > 0 ? members : [...labelled, ...managed]);
}

function regionOf({ type, props }: CheckedInStack): string {
  const zone = { [aliyunInstance]: 'zoneId', [tencentInstance]: 'availabilityZone' }[type];
  if (zone !== undefined) return (textAt(props, zone) ?? 'a region without a zone').replace(/-\w$/, '');
  return textAt(props, 'region') ?? "the provider's region";
}
