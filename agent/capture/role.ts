/** What a Redis says of itself: primary or replica, its replication history, its replicas. */
import { type RedisConnection, ReplyError } from '../resp';

export interface AttachedReplica {
  host: string;
  port: number;
  /** `wait_bgsave`, `send_bulk`, `online` … */
  state: string;
  /** What it acknowledged. */
  offset: number;
  /** Seconds since its last ACK. */
  lagSeconds: number;
}

export interface RedisRole {
  role: 'primary' | 'replica';
  /** Replication ID, and the one before the last failover with the offset up to which it holds; null: none. */
  replId: string;
  replId2: string | null;
  secondOffset: number | null;
  /** End of the stream: bytes produced (primary) or processed (replica). */
  offset: number;
  /** A replica's primary, and whether the link to it is up. */
  primaryHost: string | null;
  primaryPort: number | null;
  linkUp: boolean;
  connectedReplicas: number;
  replicas: AttachedReplica[];
  /** A FAILOVER is under way: `no-failover`, `waiting-for-sync`, `failover-in-progress`. */
  failoverState: string;
}

/** Fields of an INFO reply. */
export function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trimEnd());
  }
  return fields;
}

/** From the text of INFO replication; null where it is none. https://redis.io/docs/latest/commands/info/ */
export function parseRole(info: string): RedisRole | null {
  const fields = parseInfo(info);
  const role = fields.get('role');
  const replId = fields.get('master_replid');
  if ((role !== 'master' && role !== 'slave') || replId === undefined) return null;
  const number = (name: string): number => Number(fields.get(name) ?? NaN);
  const replId2 = fields.get('master_replid2') ?? '';
  const hasSecond = /[1-9a-f]/.test(replId2);
  const replicas: AttachedReplica[] = [];
  for (let i = 0; fields.has(`slave${i}`); i++) {
    const pairs = new Map((fields.get(`slave${i}`) ?? '').split(',').map((p) => p.split('=', 2) as [string, string]));
    replicas.push({
      host: pairs.get('ip') ?? '',
      port: Number(pairs.get('port')),
      state: pairs.get('state') ?? '',
      offset: Number(pairs.get('offset')),
      lagSeconds: Number(pairs.get('lag')),
    });
  }
  return {
    role: role === 'master' ? 'primary' : 'replica',
    replId,
    replId2: hasSecond ? replId2 : null,
    secondOffset: hasSecond ? number('second_repl_offset') : null,
    // A replica's master_repl_offset is the end of its own backlog: the same number while it isn't syncing.
    offset: number('master_repl_offset'),
    primaryHost: fields.get('master_host') ?? null,
    primaryPort: fields.has('master_port') ? number('master_port') : null,
    linkUp: fields.get('master_link_status') === 'up',
    connectedReplicas: number('connected_slaves') || 0,
    replicas,
    failoverState: fields.get('master_failover_state') ?? 'no-failover',
  };
}

/** Asks. An error reply (LOADING, NOPERM …) is returned, an unreadable answer too; only a broken connection rejects. */
export async function askRole(connection: RedisConnection): Promise<RedisRole | ReplyError> {
  const reply = await connection.call('INFO', 'replication');
  if (reply instanceof ReplyError) return reply;
  const role = Buffer.isBuffer(reply) ? parseRole(reply.toString('latin1')) : null;
  return role ?? new ReplyError('ERR', 'INFO replication gave no role');
}
