import {
  Capture,
  directivesFor,
  maxmemoryPolicy,
  minReplicasToWrite,
  notificationAgentRules,
  regionCapture,
  type StackConfig,
} from '../model';
import { type NodeLayout, type RegionLayout } from './layout';
import { loopback } from './ports';
import { type RedisBinary } from './redis-binary';
import { type Secrets, sha256 } from './secrets';

/** The ACL user of agents and replicas. */
export const agentUser = 'meridian-agent';

export interface RedisConfOptions {
  readonly config: StackConfig;
  readonly region: RegionLayout;
  readonly node: NodeLayout;
  /** The server that will read it. */
  readonly binary: RedisBinary;
  readonly secrets: Secrets;
  /** Whether an agent will be among the replicas. */
  readonly agents: boolean;
}

/**
 * The redis.conf of a primary or replica: directives that Redis 6.2 to 8 and Valkey 8 to 9 all know, unless the version
 * is looked at. It holds a password where Redis takes no hash (masterauth), so the file is for its owner only.
 */
export function renderRedisConf({ config, region, node, binary, secrets, agents }: RedisConfOptions): string {
  const { redis, security } = config;
  // In semi-sync the agent is one of those that must be there.
  const minReplicas = minReplicasToWrite(config, agents ? region.config : { ...region.config, mode: 'async' });
  const isReplica = node !== region.redis;
  const capture = regionCapture(region.config);
  // As at a managed service: the agent may do there what it needs, and cannot even ask for the stream.
  const isManaged = capture === Capture.Notifications;
  const password = `#${sha256(secrets.password)}`;
  const { outputBuffer: buffer, backlog, disklessSync } = redis;
  const lines = [
    '# Written by `meridian up` at each start: changes here are lost.',
    `# For ${binary.flavour} ${binary.version}, ${JSON.stringify(binary.path)}`,
    `bind ${loopback}`,
    'protected-mode yes',
    `port ${node.port}`,
    `dir ${quote(node.dir)}`,
    'daemonize no',
    'pidfile ""',
    'logfile ""', // stdout, which the supervisor sends to the log file
    'always-show-logo no',
    'disable-thp yes',
    '',
    '# Every write is in the append-only file; no snapshots by schedule.',
    'appendonly yes',
    `appendfsync ${redis.appendfsync}`,
    'save ""',
    `maxmemory ${redis.maxmemory}`,
    `maxmemory-policy ${maxmemoryPolicy(redis)}`,
    '',
    '# What the agent reads the stream by.',
    ...directivesFor(capture),
    '',
    '# The agent is a replica: what it may miss and still go on from, and how far it may fall behind.',
    `repl-backlog-size ${backlog.size}`,
    `repl-backlog-ttl ${backlog.ttlSeconds}`,
    `client-output-buffer-limit replica ${buffer.hard} ${buffer.soft} ${buffer.softSeconds}`,
    '# On one machine nothing is gained by a file in between, or by waiting for more replicas to share a transfer.',
    'repl-diskless-sync yes',
    `repl-diskless-sync-delay ${disklessSync.enabled ? disklessSync.delaySeconds : 0}`,
    `min-replicas-to-write ${isReplica ? 0 : minReplicas}`,
    `min-replicas-max-lag ${redis.minReplicas.maxLagSeconds}`,
    // Redis 7 waits at shutdown for replicas that lag; ours are stopped first, except one that someone paused.
    ...(atLeast(binary.version, 7, 0) ? ['shutdown-timeout 2'] : []),
    '',
    "# Users: everything for the one who started the stack, the config's own, and the agent's.",
    `user default on ${password} ~* &* +@all`,
    ...Object.entries(security.users).map(
      ([name, rules]) =>
        `user ${name} on ${password} ~* &* -@all +@connection +@transaction -@dangerous ${rules.join(' ')}`,
    ),
    `user ${agentUser} on #${sha256(secrets.agentPassword)} ${isManaged ? notificationAgentRules.join(' ') : '~* &* +@all'}`,
    `masteruser ${isManaged ? 'default' : agentUser}`,
    `masterauth ${quote(isManaged ? secrets.password : secrets.agentPassword)}`,
    ...(isReplica ? [`replicaof ${loopback} ${region.redis.port}`, 'replica-read-only yes'] : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** As redis.conf reads a double-quoted argument: bytes outside printable ASCII as \xHH. */
export function quote(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte);
    if (char === '"' || char === '\\') return `\\${char}`;
    return byte < 0x20 || byte > 0x7e ? `\\x${byte.toString(16).padStart(2, '0')}` : char;
  });
  return `"${escaped.join('')}"`;
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number);
  return a > major || (a === major && b >= minor);
}
