import { Capture, type ConflictPolicyRule, peersOf, SystemUser, type Topology } from '../../model';

/** Where the agent's container finds things. */
export const paths = {
  config: '/etc/meridian/config',
  tls: '/etc/meridian/tls',
  user: '/etc/meridian/user',
  node: '/etc/meridian/node',
  state: '/var/lib/meridian',
} as const;
export type Paths = Readonly<Record<keyof typeof paths, string>>;

/** A service's authority, beside the config. */
export const redisCaKey = 'redis-ca.crt';

/** gRPC, of other agents. */
export const peerPort = 7600;
/** /healthz, /readyz, /status, /metrics. */
export const adminPort = 7601;
/** Where Redis and Sentinel find the agent in its role as a replica. */
export const replicaPort = 7602;

export interface AgentConf {
  readonly stack: string;
  readonly region: string;
  readonly members: readonly { readonly name: string; readonly weight: number; readonly primary: boolean }[];
  readonly topology: Topology;
  /** `host` or `host:port` of each other region's agent. */
  readonly peerHosts: Readonly<Record<string, string>>;
  readonly redisHost: string;
  readonly redisPort: number;
  readonly redisTls: boolean;
  /** Empty where the password says it. */
  readonly redisUsername: string;
  readonly capture: Capture;
  /** PEM of a service's authority in a file of its own, else the stack's or, by notifications, whoever any system trusts. */
  readonly hasRedisCa: boolean;
  /** Without them `redisHost` is the primary. */
  readonly sentinelHosts: readonly string[];
  readonly sentinelPort: number;
  readonly primaryName: string;
  /** Of the shard of a cluster that it serves. */
  readonly slots?: string | undefined;
  /** The name by which Redis and Sentinel reach this agent. */
  readonly host: string;
  readonly mode: string;
  readonly semiSyncRegions: number;
  readonly maxLagMs: number;
  readonly heartbeatMs: number;
  readonly compression: string;
  readonly conflicts: readonly ConflictPolicyRule[];
  readonly conflictValues: string;
  readonly flush: string;
  readonly dryRun: boolean;
  readonly journalBytes: number;
  readonly journalSegmentBytes: number;
  readonly windowBytes: number;
  readonly logLevel: string;
}

/** The config file of an agent, as agent/config.ts reads it. It holds no secret, only where they are. */
export function renderAgentConfig(
  conf: AgentConf,
  at: Paths = paths,
  ports = { peerPort, adminPort, replicaPort },
): string {
  const { region } = conf;
  const everywhere = '0.0.0.0';
  const isReplica = conf.capture === Capture.Psync;
  const peers = peersOf(
    region,
    conf.topology,
    conf.members.map(({ name }) => name),
  );
  const config = {
    stack: conf.stack,
    region,
    members: conf.members,
    redis: {
      host: conf.redisHost,
      port: conf.redisPort,
      ...(conf.redisUsername === '' ? {} : { username: conf.redisUsername }),
      passwordFile: `${at.user}/password`,
      ...(conf.redisTls ? { tls: redisTls(conf, at) } : {}),
      ...(isReplica ? {} : { capture: conf.capture }),
      ...(conf.slots === undefined ? {} : { cluster: { slots: conf.slots } }),
      ...(conf.sentinelHosts.length === 0
        ? {}
        : {
            sentinels: conf.sentinelHosts.map((host) => addressOf(host, conf.sentinelPort)),
            sentinelName: conf.primaryName,
            sentinelLogin: true,
          }),
    },
    listen: {
      peer: { host: everywhere, port: ports.peerPort },
      admin: { host: everywhere, port: ports.adminPort },
      ...(isReplica
        ? {
            // Redis tells Sentinel this name: it must be one by which Sentinel finds the agent again.
            replica: {
              host: conf.host,
              port: ports.replicaPort,
              username: SystemUser.Node,
              passwordFile: `${at.node}/password`,
              tls: conf.redisTls,
            },
          }
        : {}),
    },
    peers: peers.map((peer) => ({ region: peer, ...addressOf(conf.peerHosts[peer] ?? '', peerPort) })),
    tls: { caFile: `${at.tls}/ca.crt`, certFile: `${at.tls}/tls.crt`, keyFile: `${at.tls}/tls.key` },
    stateDir: at.state,
    replication: {
      mode: conf.mode,
      semiSyncRegions: conf.semiSyncRegions,
      maxLagMs: conf.maxLagMs,
      heartbeatMs: conf.heartbeatMs,
      compression: conf.compression,
      flush: conf.flush,
      dryRun: conf.dryRun,
    },
    conflicts: {
      ...(conf.conflicts.length === 0 ? {} : { policies: conf.conflicts }),
      values: conf.conflictValues,
    },
    journal: { bytesMax: conf.journalBytes, segmentBytes: conf.journalSegmentBytes },
    limits: { windowBytes: conf.windowBytes },
    log: { level: conf.logLevel },
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** Where Redis is ours, both ends show certificates of the stack's authority. A service has its own, and asks for none. */
function redisTls({ capture, hasRedisCa }: AgentConf, at: Paths): object {
  if (hasRedisCa) return { caFile: `${at.config}/${redisCaKey}` };
  if (capture !== Capture.Psync) return {};
  return { caFile: `${at.tls}/ca.crt`, certFile: `${at.tls}/tls.crt`, keyFile: `${at.tls}/tls.key` };
}

/** Of `host` or `host:port`. */
export function addressOf(host: string, port: number): { host: string; port: number } {
  const [name = '', given] = host.split(':');
  return { host: name, port: given === undefined ? port : Number(given) };
}
