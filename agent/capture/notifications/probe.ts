/**
 * Whether Redis reports every kind of change. CONFIG GET is forbidden where this is needed, so that the agent does one write of each kind, on a
 * key of its own, and looks for their notifications.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandWriter, type RedisConnection } from '../../resp';
import { LinkError } from '../errors';

/** Class of `notify-keyspace-events`, a command of it, and what it is reported as. `e` (eviction) can't be caused. */
const KINDS: readonly { flag: string; command: [name: string, ...args: string[]]; event: string }[] = [
  { flag: '$', command: ['SET', '1'], event: 'set' },
  { flag: 'l', command: ['RPUSH', '1'], event: 'rpush' },
  { flag: 's', command: ['SADD', '1'], event: 'sadd' },
  { flag: 'h', command: ['HSET', '1', '1'], event: 'hset' },
  { flag: 'z', command: ['ZADD', '1', '1'], event: 'zadd' },
  { flag: 't', command: ['XADD', '*', '1', '1'], event: 'xadd' },
];
const WAIT_MS = 2000;

/**
 * @param key of the agent's own, that is not there
 * @param heard what was reported of keys of the agent's own, as `event key`
 * @throws LinkError NO_NOTIFICATIONS, which says what is missing; NOPERM
 */
export async function probe(connection: RedisConnection, key: string, heard: ReadonlySet<string>): Promise<void> {
  const writer = new CommandWriter(1024).command(['DEL', key]);
  for (const {
    command: [name, ...args],
  } of KINDS)
    writer.command([name, key, ...args]).command(['DEL', key]);
  writer.command(['SET', key, '1', 'PX', '1']);
  const count = writer.commands;
  const replies = await connection.pipeline(writer.take(), count);
  const refused = replies.find((reply) => reply instanceof Error);
  // READONLY, OOM and the like say nothing of the notifications, and are found again by whoever writes next.
  if (refused instanceof Error) throw new LinkError('NOPERM', `Redis refuses a write of the agent: ${refused.message}`);
  const expected = [...KINDS, { flag: 'g', event: 'del' }, { flag: 'x', event: 'expired' }];
  const missing = (): string[] => expected.filter(({ event }) => !heard.has(`${event} ${key}`)).map(({ flag }) => flag);
  for (const started = Date.now(); missing().length > 0 && Date.now() - started < WAIT_MS;) {
    // Looking at it is what makes it expire at once.
    await connection.call('EXISTS', key);
    await sleep(5);
  }
  const flags = missing();
  if (flags.length === 0) return;
  const what =
    flags.length === expected.length ? 'no notification at all' : `no notification of the classes ${flags.join('')}`;
  throw new LinkError(
    'NO_NOTIFICATIONS',
    `Redis sends ${what}: set notify-keyspace-events to AKE (a managed service has it in its parameters), or what clients write stays in this region`,
  );
}
