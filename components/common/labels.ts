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

/** Labels that identify the pods of one StatefulSet. They are its selector, which can never be changed. */
export function selectorOf(role: Role, region: string): Record<string, string> {
  return {
    'app.kubernetes.io/part-of': 'meridian',
    'app.kubernetes.io/component': role,
    [regionLabel]: region,
  };
}

/** Labels of every object. */
export function labelsOf(role: Role, region: string): Record<string, string> {
  return { ...selectorOf(role, region), 'app.kubernetes.io/managed-by': 'pulumi' };
}
