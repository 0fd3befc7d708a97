import type * as k8s from '@pulumi/kubernetes';

import { Spread } from './spread';

type PodSpec = k8s.types.input.core.v1.PodSpec;

const hostname = 'kubernetes.io/hostname';
const zone = 'topology.kubernetes.io/zone';

/**
 * Anti-affinity over nodes and topology spread over zones. Two nodes of one Redis on one machine die together, and Sentinels
 * that sit together give no majority when that machine goes.
 */
export function placement(
  spread: Spread,
  selector: Record<string, string>,
): Pick<PodSpec, 'affinity' | 'topologySpreadConstraints'> {
  if (spread === Spread.Disabled) return {};
  const labelSelector = { matchLabels: selector };
  const term = { topologyKey: hostname, labelSelector };
  const isRequired = spread === Spread.Required;
  return {
    affinity: {
      podAntiAffinity: isRequired
        ? { requiredDuringSchedulingIgnoredDuringExecution: [term] }
        : { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: term }] },
    },
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: zone,
        whenUnsatisfiable: isRequired ? 'DoNotSchedule' : 'ScheduleAnyway',
        labelSelector,
      },
    ],
  };
}
