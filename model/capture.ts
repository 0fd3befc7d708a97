/**
 * How the sync agent learns what clients wrote. The replication stream is what it wants; where a service refuses PSYNC there are
 * keyspace notifications, with the key read back (docs/architecture.md).
 */
export const Capture = {
  /** As a replica: every command, in order. */
  Psync: 'psync',
  /** Keyspace notifications, the key read back, and a scan for what was lost: whole keys, the last writer wins. */
  Notifications: 'notifications',
  /** No agent: a Redis beside the mesh. */
  None: 'none',
} as const;
export type Capture = (typeof Capture)[keyof typeof Capture];

/** `notify-keyspace-events` for the agent: every class (A) of events, by key (K) and by kind (E). */
export const captureEvents = 'AKE';

/** What `A` stands for (https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/). */
const allClasses = 'g$lshzxetd';

/** Whether a value of `notify-keyspace-events` reports every change. A class left out is a kind of write that stays in its region. */
export function reportsEveryChange(events: string): boolean {
  const hasClasses = events.includes('A') || [...allClasses].every((flag) => events.includes(flag));
  return hasClasses && events.includes('K') && events.includes('E');
}

/**
 * The agent where it captures by notifications: it subscribes, reads keys back and applies, and names no command that managed services
 * forbid, for they refuse a rule that does (such as `-migrate`).
 */
export const notificationAgentRules: readonly string[] = [
  ...['~*', '&*', '-@all', '+@read', '+@write', '+@transaction', '-keys'],
  ...['+auth', '+hello', '+ping', '+select', '+client|setname', '+time', '+info', '+role'],
  ...['+publish', '+spublish', '+subscribe', '+psubscribe', '+unsubscribe', '+punsubscribe'],
  '+@scripting', // adds to decimal numbers, looks at libraries of functions
];
