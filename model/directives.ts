import { Capture, captureEvents } from './capture';

/**
 * Lines of redis.conf that the sync agent relies on, wherever Redis runs. They belong together: by the first four, expiry and
 * eviction reach the replication stream as UNLINK and a user's DEL as DEL; the agent tells expiry from eviction and from a user's
 * UNLINK by the keyspace events.
 */
export const agentDirectives: readonly string[] = [
  'lazyfree-lazy-expire yes',
  'lazyfree-lazy-eviction yes',
  'lazyfree-lazy-user-del no',
  'lazyfree-lazy-server-del no',
  'notify-keyspace-events Egxe',
];

/** The same by how the agent captures; by notifications it needs those of every kind. */
export function directivesFor(capture: Capture): readonly string[] {
  if (capture !== Capture.Notifications) return agentDirectives;
  return [...agentDirectives.filter((line) => !line.startsWith('notify-')), `notify-keyspace-events ${captureEvents}`];
}
