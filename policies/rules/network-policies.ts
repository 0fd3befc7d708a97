import { z } from 'zod';

import { isKind, isSamePlace, nameOf, type Placed, placeOf, selects, workloadsOf } from '../kubernetes';
import { at, isMapping, listAt, textAt, textsAt } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';

const isPolicy = isKind('NetworkPolicy');
/** Redis, the bus of a cluster, Sentinel. */
const redisPorts = [6379, 16_379, 26_379];

/** Mandatory: it leaks. Without one every pod of the cluster reaches Redis, and a pod that is taken over reaches everything. */
export const networkPolicies = stackRule({
  name: 'network-policies',
  level: Level.Mandatory,
  what: 'What is not allowed by a NetworkPolicy is denied to the pods of Redis, Sentinel and the agent, and none lets everybody in to Redis.',
  why: 'Otherwise every pod of the cluster reaches Redis, and a Redis that is taken over reaches everything.',
  fix: 'Leave `networkPolicy` on (`meridian:security.networkPolicy`), or add a policy that selects the pods, with policyTypes Ingress and Egress.',
  settings: {
    egress: z.boolean().default(true).describe('Whether what the pods may reach has to be limited too.'),
  },
  check: (resources, { egress }) => {
    const policies = resources.filter(({ type }) => isPolicy(type));
    const directions = ['Ingress', ...(egress ? ['Egress'] : [])];
    const workloads = workloadsOf(resources);
    return [
      ...workloads.flatMap((workload) => openDirections(workload, policies, directions)),
      ...policies
        .filter((policy) => workloads.some((workload) => isSelected(policy, workload)))
        .flatMap(openToEverybody),
    ];
  },
});

const isSelected = (policy: CheckedInStack, { place, labels }: Placed): boolean =>
  isSamePlace(placeOf(policy), place) && selects(at(policy.props, 'spec', 'podSelector'), labels);

/** A direction in which no policy selects the pods is open. */
function openDirections(workload: Placed, policies: readonly CheckedInStack[], directions: readonly string[]): Issue[] {
  const types = policies.filter((policy) => isSelected(policy, workload)).flatMap(typesOf);
  return directions
    .filter((direction) => !types.includes(direction))
    .map((direction) => ({
      urn: workload.urn,
      where: nameOf(workload),
      found: `no NetworkPolicy for ${direction}`,
      allowed: 'one that selects its pods: what none allows is denied then',
    }));
}

/** Without policyTypes it is Ingress, and Egress where there are such rules. */
function typesOf({ props }: CheckedInStack): string[] {
  const given = textsAt(props, 'spec', 'policyTypes');
  if (given.length > 0) return given;
  return ['Ingress', ...(listAt(props, 'spec', 'egress').length > 0 ? ['Egress'] : [])];
}

function openToEverybody({ urn, name, props }: CheckedInStack): Issue[] {
  return listAt(props, 'spec', 'ingress').flatMap((rule, i) => {
    const ports = listAt(rule, 'ports');
    const isRedis = ports.length === 0 || ports.some(includesRedis);
    const from = listAt(rule, 'from');
    const isOpen = from.length === 0 || from.some(isEverybody);
    if (!isRedis || !isOpen) return [];
    return [
      { urn, where: `NetworkPolicy ${name}: spec.ingress[${i}].from`, found: 'everybody', allowed: 'pods or networks' },
    ];
  });
}

function includesRedis(port: unknown): boolean {
  const [first, last] = [at(port, 'port'), at(port, 'endPort')];
  if (typeof first === 'string') return /redis|sentinel/.test(first);
  if (typeof first !== 'number') return true;
  return redisPorts.some((one) => one >= first && one <= (typeof last === 'number' ? last : first));
}

/** Pods of every namespace without a word about which, or every address. */
function isEverybody(peer: unknown): boolean {
  const cidr = textAt(peer, 'ipBlock', 'cidr');
  if (cidr !== undefined) return cidr.endsWith('/0');
  const [namespaces, pods] = [at(peer, 'namespaceSelector'), at(peer, 'podSelector')];
  const isAll = (selector: unknown): boolean =>
    isMapping(selector) && Object.keys(selector).every((key) => selects({ [key]: selector[key] }, {}));
  return isAll(namespaces) && (pods === undefined || isAll(pods));
}
