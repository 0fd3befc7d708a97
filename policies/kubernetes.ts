/** Kubernetes' objects, as rules look at them. */
import { type Checked, type CheckedInStack } from './rule';
import { at, listAt, type Mapping, mappingAt, shown, textAt, textsAt, textsOf } from './props';

/** `StatefulSet` of `kubernetes:apps/v1:StatefulSet`; undefined for what is not Kubernetes'. */
export const kindOf = (type: string): string | undefined =>
  type.startsWith('kubernetes:') ? type.split(':').at(-1) : undefined;

export const isKind =
  (...kinds: readonly string[]) =>
  (type: string): boolean =>
    kinds.includes(kindOf(type) ?? '');

/** Where each kind has its pod. */
const podPaths: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  StatefulSet: ['spec', 'template'],
  Deployment: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
};

/** Kinds that run pods. */
export const podKinds = Object.keys(podPaths);

/** What a pod does in a mesh, or in a Redis of somebody else's. */
export const PodRole = {
  Redis: 'redis',
  Sentinel: 'sentinel',
  Agent: 'agent',
  /** The Job that moves slots of a cluster. */
  Slots: 'slots',
  /** Of a managed Redis: it has the labels of one, by which it is scraped. */
  Exporter: 'exporter',
} as const;
export type PodRole = (typeof PodRole)[keyof typeof PodRole];

export interface Workload {
  readonly kind: string;
  readonly name: string;
  readonly role: PodRole;
  /** Of the pods. */
  readonly labels: Mapping;
  readonly replicas: number;
  readonly spec: Mapping;
  /** Where `spec` stands, for messages. */
  readonly at: string;
  readonly containers: readonly Container[];
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly isInit: boolean;
  /** Command and arguments together. */
  readonly words: readonly string[];
  readonly container: Mapping;
  /** Where it stands, for messages. */
  readonly at: string;
}

/** Labels of pods, as components/ set them. */
const partOf = 'app.kubernetes.io/part-of';
const component = 'app.kubernetes.io/component';
export const regionLabel = 'meridian.redis/region';
/** The label of a cluster's agents that says whose shard each serves. */
export const shardLabel = 'meridian.redis/shard';

/** Images that run a Redis, whoever built them: the last part of the name decides. */
export const redisImage =
  /(^|\/)(redis|redis-stack|redis-stack-server|redis-sentinel|redis-cluster|valkey|valkey-sentinel|keydb)([:@]|$)/;

/** A workload that Redis needs; undefined for all others. */
export function workloadOf({ type, props, name }: Checked): Workload | undefined {
  const kind = kindOf(type) ?? '';
  const path = podPaths[kind];
  if (path === undefined) return undefined;
  const pod = at(props, ...path);
  const labels = mappingAt(pod, 'metadata', 'labels');
  const where = [...path, 'spec'].join('.');
  const containers = (['initContainers', 'containers'] as const).flatMap((list) =>
    listAt(pod, 'spec', list).map((item) => containerOf(item, list === 'initContainers', `${where}.${list}`)),
  );
  const role = roleOf(labels, containers);
  if (role === undefined) return undefined;
  const replicas = at(props, 'spec', 'replicas');
  return {
    ...{ kind, role, labels, containers },
    name: textAt(props, 'metadata', 'name') ?? name,
    replicas: typeof replicas === 'number' ? replicas : 1,
    spec: mappingAt(pod, 'spec'),
    at: where,
  };
}

function containerOf(item: unknown, isInit: boolean, list: string): Container {
  const name = textAt(item, 'name') ?? '';
  return {
    ...{ name, isInit },
    image: textAt(item, 'image') ?? '',
    words: [...textsAt(item, 'command'), ...textsAt(item, 'args')],
    container: mappingAt(item),
    at: `${list}[${name}]`,
  };
}

function roleOf(labels: Mapping, containers: readonly Container[]): PodRole | undefined {
  const redis = containers.filter(({ image, isInit }) => redisImage.test(image) && !isInit);
  if (labels[partOf] === 'meridian') {
    const role = Object.values(PodRole).find((one) => one === labels[component]);
    const isServer = redis.length > 0 || containers.some(({ name }) => name === PodRole.Redis);
    return role === PodRole.Redis && !isServer ? PodRole.Exporter : role;
  }
  if (redis.length === 0) return undefined;
  const isSentinel = redis.every(({ image, words }) => [image, ...words].some((word) => word.includes('sentinel')));
  return isSentinel ? PodRole.Sentinel : PodRole.Redis;
}

/** A workload in a stack, and where it is. */
export interface Placed extends Workload {
  readonly urn: string;
  readonly place: Place;
}

/** A namespace of one cluster. */
export interface Place {
  readonly providerUrn: string | undefined;
  readonly namespace: string;
}

export const placeOf = ({ props, providerUrn }: CheckedInStack): Place => ({
  providerUrn,
  namespace: textAt(props, 'metadata', 'namespace') ?? 'default',
});

export const isSamePlace = (a: Place, b: Place): boolean =>
  a.namespace === b.namespace && a.providerUrn === b.providerUrn;

/** All workloads of a stack that Redis needs, but for those that run once. */
export function workloadsOf(resources: readonly CheckedInStack[]): Placed[] {
  return resources.flatMap((resource) => {
    const workload = workloadOf(resource);
    if (workload === undefined || workload.role === PodRole.Slots) return [];
    return [{ ...workload, urn: resource.urn, place: placeOf(resource) }];
  });
}

/** How a message names a workload of a stack. */
export const nameOf = ({ kind, name, place }: Placed): string => `${kind} ${place.namespace}/${name}`;

/** Whether a label selector selects pods with these labels: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ */
export function selects(selector: unknown, labels: Mapping): boolean {
  const isMatched = textsOf(mappingAt(selector, 'matchLabels')).every(([key, value]) => labels[key] === value);
  return isMatched && listAt(selector, 'matchExpressions').every((item) => holds(item, labels));
}

function holds(expression: unknown, labels: Mapping): boolean {
  const [key, operator] = [textAt(expression, 'key') ?? '', textAt(expression, 'operator')];
  const value = textAt(labels, key);
  const isListed = value !== undefined && textsAt(expression, 'values').includes(value);
  switch (operator) {
    case 'In':
      return isListed;
    case 'NotIn':
      return !isListed;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      throw new Error(`label selector: found operator ${shown(operator)}; allowed: In, NotIn, Exists, DoesNotExist`);
  }
}
