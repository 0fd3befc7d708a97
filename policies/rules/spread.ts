import { isKind, PodRole, podKinds, workloadOf } from '../kubernetes';
import { listAt, textAt } from '../props';
import { type Issue, Level, resourceRule } from '../rule';

const hostname = 'kubernetes.io/hostname';
const zone = 'topology.kubernetes.io/zone';

/** Advisory: what it costs is availability, and a cluster with one node, for development, can't do better. */
export const spread = resourceRule({
  name: 'spread',
  level: Level.Advisory,
  what: 'Nodes of one Redis, and its Sentinels, keep away from each other, over machines and over zones.',
  why: 'Otherwise one machine or zone takes the primary with its replica, or the majority of the Sentinels, and nobody can write until it is back.',
  fix: 'Set `spread` at KubernetesRedis (`meridian:kubernetes.spread`) to preferred, or to required where there are nodes enough.',
  settings: {},
  concerns: isKind(...podKinds),
  check: (resource): Issue[] => {
    const workload = workloadOf(resource);
    const isSeveral = workload?.role === PodRole.Redis || workload?.role === PodRole.Sentinel;
    if (workload === undefined || !isSeveral || workload.replicas < 2) return [];
    const keys = topologyKeys(workload.spec);
    return [hostname, zone]
      .filter((key) => !keys.includes(key))
      .map((key) => ({
        where: `${workload.at}.affinity, topologySpreadConstraints`,
        found: `nothing over ${key}`,
        allowed: 'anti-affinity or a spread constraint',
      }));
  },
});

function topologyKeys(spec: unknown): (string | undefined)[] {
  const antiAffinity = ['affinity', 'podAntiAffinity'];
  return [
    ...listAt(spec, 'topologySpreadConstraints').map((item) => textAt(item, 'topologyKey')),
    ...listAt(spec, ...antiAffinity, 'requiredDuringSchedulingIgnoredDuringExecution').map((item) =>
      textAt(item, 'topologyKey'),
    ),
    ...listAt(spec, ...antiAffinity, 'preferredDuringSchedulingIgnoredDuringExecution').map((item) =>
      textAt(item, 'podAffinityTerm', 'topologyKey'),
    ),
  ];
}
