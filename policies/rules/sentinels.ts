import { z } from 'zod';

import { isKind, PodRole, podKinds, workloadOf } from '../kubernetes';
import { Level, resourceRule } from '../rule';

/** Mandatory: it loses data. With fewer than three, one machine that dies takes the majority, and nobody is promoted. */
export const sentinels = resourceRule({
  name: 'sentinels',
  level: Level.Mandatory,
  what: 'There are three Sentinels or more.',
  why: 'Of two none may be gone: nobody is promoted then; and one alone promotes whatever it can see, which ends with two primaries.',
  fix: 'Set `sentinels` at KubernetesRedis (`meridian:failover.sentinel.count`) to 3 or more.',
  settings: { sentinelsMin: z.int().min(1).default(3).describe('The least number of Sentinels beside one Redis.') },
  concerns: isKind(...podKinds),
  check: (resource, { sentinelsMin }) => {
    const workload = workloadOf(resource);
    if (workload?.role !== PodRole.Sentinel || workload.replicas >= sentinelsMin) return [];
    return [{ where: 'spec.replicas', found: String(workload.replicas), allowed: `${sentinelsMin} or more` }];
  },
});
