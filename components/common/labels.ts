/** What a pod does; the value of `app.kubernetes.io/component`. */
export const Role = {
  Redis: 'redis',
  Sentinel: 'sentinel',
  Agent: 'agent',
  Slots: 'slots',
  /** redis_exporter of a managed Redis: elsewhere it is a container beside Redis. */
  Exporter: 'exporter',
} as const;
export type Role = (typeof Role)[keyof typeof Role];

/** The region that a pod belongs to; NetworkPolicies and alerts select by it. */
export const regionLabel = 'meridian.redis/region';

/** `primary` or `replica`, kept by a side-car; the client and the replica Service select by it. */
export const roleLabel = 'meridian.redis/role';

/** Of a cluster's agents, the number of the shard that each serves. */
export const shardLabel = 'meridian.redis/shard';

/**
 * Labels that identify the pods of one StatefulSet. They are its selector, which can never be changed.
 * @param shard of a cluster, where it has a StatefulSet of its own
 */
export function selectorOf(role: Role, region: string, shard?: number): Record<string, string> {
  return {
    'app.kubernetes.io/part-of': 'meridian',
    'app.kubernetes.io/component': role,
    [regionLabel]: region,
    ...(shard === undefined ? {} : { [shardLabel]: String(shard) }),
  };
}

/** Labels of every object. */
export function labelsOf(role: Role, region: string, shard?: number): Record<string, string> {
  return { ...selectorOf(role, region, shard), 'app.kubernetes.io/managed-by': 'pulumi' };
}
