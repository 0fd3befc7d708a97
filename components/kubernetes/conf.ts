import { agentDirectives, type RedisSettings, SystemUser } from '../../model';

/** Where a pod's containers find things; scripts and configs agree on these. */
export const paths = {
  config: '/etc/meridian/config',
  scripts: '/etc/meridian/scripts',
  acl: '/etc/meridian/acl',
  node: '/etc/meridian/node',
  tls: '/etc/meridian/tls',
  data: '/data',
  /** In memory, for it holds a config with the node's password. */
  run: '/run/meridian',
} as const;
export type Paths = Readonly<Record<keyof typeof paths, string>>;

export const redisPort = 6379;
export const sentinelPort = 26379;
/** Redis' own: 10000 above the client port. */
export const clusterBusPort = redisPort + 10_000;

export interface RedisConf extends Omit<RedisSettings, 'use'> {
  readonly maxmemoryPolicy: string;
  readonly minReplicasToWrite: number;
  readonly cluster: boolean;
}

/** Encryption, of Redis and of Sentinel alike: to clients, to replicas and between nodes. */
function tlsLines(isOn: boolean, port: number, dir: string): string[] {
  if (!isOn) return [`port ${port}`];
  return [
    'port 0',
    `tls-port ${port}`,
    `tls-cert-file ${dir}/tls.crt`,
    `tls-key-file ${dir}/tls.key`,
    `tls-ca-cert-file ${dir}/ca.crt`,
    '# Clients prove who they are by user and password; a certificate of their own is checked if they show one.',
    'tls-auth-clients optional',
    'tls-replication yes',
  ];
}

/**
 * The part of redis.conf that all nodes of a region share. It holds no secret; scripts/redis-start.sh adds what is each node's own: whom
 * it follows, its address, and the password it replicates with.
 */
export function renderRedisConf(conf: RedisConf, at: Paths = paths, port: number = redisPort): string {
  const lines = [
    '# Rendered from the stack; changes here are lost.',
    'protected-mode no', // every user but `default`, who is off, has a password
    ...tlsLines(conf.tls, port, at.tls),
    `aclfile ${at.acl}/users.acl`,
    `masteruser ${SystemUser.Node}`,
    `dir ${at.data}`,
    'daemonize no',
    'logfile ""',
    'tcp-backlog 511',
    'tcp-keepalive 60',
    '',
    '# Every write is in the append-only file; no snapshots by schedule.',
    'appendonly yes',
    `appendfsync ${conf.appendfsync}`,
    'save ""',
    `maxmemory ${conf.maxmemoryBytes}`,
    `maxmemory-policy ${conf.maxmemoryPolicy}`,
    '',
    '# What the agent reads the stream by.',
    ...agentDirectives,
    '',
    '# What a replica, or the agent, may miss and still go on from, and how far it may fall behind.',
    `repl-backlog-size ${conf.backlogBytes}`,
    `repl-backlog-ttl ${conf.backlogTtlSeconds}`,
    `client-output-buffer-limit replica ${conf.outputBufferHardBytes} ${conf.outputBufferSoftBytes} ${conf.outputBufferSoftSeconds}`,
    `repl-diskless-sync ${conf.disklessSync ? 'yes' : 'no'}`,
    `repl-diskless-sync-delay ${conf.disklessSyncDelaySeconds}`,
    'replica-read-only yes',
    '',
    '# A primary that too few replicas acknowledge takes no writes: after a partition only one side goes on.',
    `min-replicas-to-write ${conf.minReplicasToWrite}`,
    `min-replicas-max-lag ${conf.minReplicasMaxLagSeconds}`,
    ...(conf.cluster ? ['', ...clusterLines(conf.tls)] : []),
  ];
  return `${lines.join('\n')}\n`;
}

function clusterLines(isTls: boolean): string[] {
  return [
    'cluster-enabled yes',
    'cluster-config-file nodes.conf',
    'cluster-node-timeout 5000',
    '# Clients are told names: a pod that moves has another address.',
    'cluster-preferred-endpoint-type hostname',
    ...(isTls ? ['tls-cluster yes'] : []),
  ];
}

export interface SentinelConf {
  /** The name of the primary at its Sentinels. */
  readonly primaryName: string;
  readonly downAfterMs: number;
  readonly failoverTimeoutMs: number;
  readonly parallelSyncs: number;
  readonly tls: boolean;
}

/**
 * The part of sentinel.conf that all Sentinels share. scripts/sentinel-start.sh puts whom to watch before it, and passwords and what the Sentinel
 * remembers after it.
 */
export function renderSentinelConf(conf: SentinelConf, at: Paths = paths, port: number = sentinelPort): string {
  const { primaryName } = conf;
  const lines = [
    '# Rendered from the stack; changes here are lost.',
    'protected-mode no',
    ...tlsLines(conf.tls, port, at.tls),
    `aclfile ${at.acl}/sentinel-users.acl`,
    `dir ${at.data}`,
    'daemonize no',
    'logfile ""',
    `sentinel down-after-milliseconds ${primaryName} ${conf.downAfterMs}`,
    `sentinel failover-timeout ${primaryName} ${conf.failoverTimeoutMs}`,
    `sentinel parallel-syncs ${primaryName} ${conf.parallelSyncs}`,
    `sentinel auth-user ${primaryName} ${SystemUser.Node}`,
    `sentinel sentinel-user ${SystemUser.Node}`,
    'sentinel deny-scripts-reconfig yes',
  ];
  return `${lines.join('\n')}\n`;
}
