import type * as pulumi from '@pulumi/pulumi';

import { Capture, type ConfigIssue, parseSlots, peersOf, type Topology } from '../../model';
import { dnsLabel, namesList, oneOf, rule } from '../common';

/** When a change counts as replicated. */
export const ReplicationMode = {
  /** At once. A region that burns takes its last milliseconds with it. */
  Async: 'async',
  /** When other regions have journalled it on disk: `WAIT (replicas + 1)` means "another region has it". */
  SemiSync: 'semi-sync',
} as const;
export type ReplicationMode = (typeof ReplicationMode)[keyof typeof ReplicationMode];

/** The shape of the peer graph. */
export const PeerTopology = {
  /** Everyone with everyone: the least lag. */
  Mesh: 'mesh',
  /** Each with the next and the previous: the fewest links that survive one broken link. */
  Ring: 'ring',
  /** Each with the hub. */
  Star: 'star',
} as const;
export type PeerTopology = (typeof PeerTopology)[keyof typeof PeerTopology];

/** One region of the mesh, as every agent has to know it. */
export interface AgentMember {
  /** The region's name. */
  name: string;
  /** Its share of the traffic, in percent. Default: 0. */
  weight?: number;
  /** Whether failover decisions start from it, and it begins the mesh. Default: false. */
  primary?: boolean;
}

/** What becomes of keys with names of a pattern. */
export interface ConflictPolicyArgs {
  /** A pattern for keys, as in KEYS: `session:*`. */
  keys: string;
  /** `merge`; `lww`: the whole key stands as its last writer's region had it; `ignore`: each region has its own, and it is not replicated; or `region:<name>`: that region owns it, and what clients of others write is put back. */
  policy: string;
  /** The database it is for. Default: all. */
  db?: number;
}

export interface SyncAgentArgs extends AgentTuningArgs {
  /** Name of the region, one of `members`. */
  region: string;
  /** Name of the stack; agents of different stacks refuse each other. */
  stack: pulumi.Input<string>;
  /** Namespace of everything; that of the region's Redis. */
  namespace: pulumi.Input<string>;
  /** Image of the agent, in production by digest; it starts `node /app/dist/agent/main.js`. */
  image: pulumi.Input<string>;

  /** All regions of the mesh, in the stack's order: it decides the neighbours in a ring. */
  members: AgentMember[];
  /** A PeerTopology. Default: mesh. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /** Where the agents of the other regions are reached, `host` or `host:port`, by region: of those at least that this one is linked with. */
  peerHosts: { [region: string]: pulumi.Input<string> };

  /** Names by which the agents of other clusters reach it; external-dns gives them to the load balancer. Default: none. */
  agentHosts?: pulumi.Input<pulumi.Input<string>[]>;

  /** Where Redis is: `host` of KubernetesRedis. With Sentinels only a beginning. */
  redisHost: pulumi.Input<string>;
  /** Its port. Default: 6379. */
  redisPort?: pulumi.Input<number>;
  /** Whether Redis and its Sentinels speak TLS. Default: true. */
  redisTls?: pulumi.Input<boolean>;
  /** The agent's name at Redis; empty where the service is told it with the password. Default: meridian-agent. */
  redisUsername?: pulumi.Input<string>;
  /**
   * PEM of the authority that signed Redis' certificate, where that is a service's own. Default: the stack's; with capture `notifications` those that any system
   * trusts.
   */
  redisCaPem?: pulumi.Input<string>;
  /**
   * How it learns of changes; a Capture: `psync`, or `notifications` where a service gives no replication stream. There whole keys are merged, and nothing can be
   * acknowledged for other regions: mode `async` only. Default: psync.
   */
  capture?: Capture;
  /**
   * The shard of a Redis Cluster that it serves, by its number, from 0: each has an agent of its own, linked with those of the same slots in other regions (docs/cluster.md). It tells
   * its pod from theirs. Default: none, Redis is no cluster.
   */
  shard?: number;
  /** The slots of that shard, all of them, such as `0-5460`. Needed with `shard`. */
  slots?: string;
  /** `sentinelHosts` of KubernetesRedis: the agent follows the primary that they name. Default: none. */
  sentinelHosts?: pulumi.Input<string[]>;
  /** Port of the Sentinels. Default: 26379. */
  sentinelPort?: pulumi.Input<number>;
  /** `primaryName` of KubernetesRedis. Default: the region. */
  primaryName?: pulumi.Input<string>;

  /** Secret with user and password of the agent: `userSecretNames['meridian-agent']` of RedisCredentials. */
  userSecretName: pulumi.Input<string>;
  /** Secret with user and password as which Sentinel asks replicas, the agent among them: `userSecretNames['meridian-node']`. Needed with capture `psync`. */
  nodeSecretName?: pulumi.Input<string>;
  /** `agentTlsSecretName` of RedisCredentials. */
  tlsSecretName: pulumi.Input<string>;
  /** `agentChecksum` of RedisCredentials: the agent restarts when it changes. Default: it doesn't. */
  credentialsChecksum?: pulumi.Input<string>;
}

/** What can be chosen about an agent: all of it has a default. */
export interface AgentTuningArgs {
  /** When nodes ask the registry for the image: `IfNotPresent`, `Always`, `Never`. Default: IfNotPresent. */
  imagePullPolicy?: pulumi.Input<string>;
  /** A ReplicationMode. Default: semi-sync; async with capture `notifications`, the only one there. */
  mode?: ReplicationMode;
  /** How many other regions must have journalled a change before it is acknowledged, in semi-sync. Default: 1. */
  semiSyncRegions?: pulumi.Input<number>;
  /** The lag beyond which a region counts as behind, in milliseconds. Default: 1000. */
  maxLagMs?: pulumi.Input<number>;
  /** Between two heartbeats, in milliseconds: the resolution of stamps and of the measured lag. Default: 25. */
  heartbeatMs?: pulumi.Input<number>;
  /** Of what travels between regions: auto, none, deflate. Default: auto. */
  compression?: pulumi.Input<string>;
  /** What becomes of keys by their names, by the first pattern that matches; the same at all agents of a mesh. Default: none; all keys merge. */
  conflicts?: ConflictPolicyArgs[];
  /** What the conflict journal keeps of values: full, digest, none. Default: digest, for they may be secret. */
  conflictValues?: pulumi.Input<string>;
  /** What a client's FLUSHALL does to the other regions: carry, or refuse (its region then gets its data back). Default: carry. */
  flush?: pulumi.Input<string>;
  /** A trial: the agent reads and reports what it would do, and writes nothing to Redis (docs/dry-run.md). Default: false. */
  dryRun?: pulumi.Input<boolean>;
  /** Size from which the journal counts as full, in bytes. Default: 8 GiB. */
  journalBytes?: pulumi.Input<number>;
  /** Size of one of its files, in bytes; at most a quarter of it. Default: 64 MiB. */
  journalSegmentBytes?: pulumi.Input<number>;
  /**
   * Memory for what not every region has seen yet, in bytes; beyond it the oldest goes to the volume of the journal. Default: 256 MiB. More
   * where regions are seconds apart under much load.
   */
  windowBytes?: pulumi.Input<number>;
  /**
   * Make a Service of type LoadBalancer, by which the agents of other clusters come, with these annotations: what kind it is, its cloud's controller reads there. Links are
   * mutual TLS, but a public one is never needed. Default: none is made; other clusters need some way of their own.
   */
  loadBalancerAnnotations?: pulumi.Input<{ [name: string]: string }>;
  /** What is logged: trace, debug, info, warn, error. Default: info. */
  logLevel?: pulumi.Input<string>;

  /** Disk for the journal, as a quantity of Kubernetes; a quarter larger than `journalBytes` or more, for its last file and its index. Default: 10Gi. */
  storageSize?: pulumi.Input<string>;
  /** StorageClass of the disk; an empty text is the cluster's own default. Default: `gp3`. */
  storageClassName?: pulumi.Input<string>;
  /** CPU that the agent is sure of. Default: 250m. */
  cpuRequest?: pulumi.Input<string>;
  /** Memory that it is sure of. Default: 256Mi. */
  memoryRequest?: pulumi.Input<string>;
  /** CPU that it may use. Default: 2: one for the stream, one for compression and collecting garbage. */
  cpuLimit?: pulumi.Input<string>;
  /** Memory beyond which the kernel kills it. While a region is away the agent remembers the keys written meanwhile. Default: 1Gi. */
  memoryLimit?: pulumi.Input<string>;
  /** DNS domain of the cluster. Default: cluster.local. */
  clusterDomain?: pulumi.Input<string>;

  /** Refuse to delete the agent. Default: false. */
  protect?: boolean;
  /** Leave it alone when it leaves the program. Default: false. */
  retainOnDelete?: boolean;
}

export function topologyOf({ topology, hub }: Pick<SyncAgentArgs, 'topology' | 'hub'>): Topology {
  if (topology === PeerTopology.Star) return { kind: 'star', hub: hub ?? '' };
  return { kind: topology ?? PeerTopology.Mesh };
}

/** An agent that captures nothing is none. */
const AgentCapture = { Psync: Capture.Psync, Notifications: Capture.Notifications };

/** The mode that holds where nothing is said. */
export function modeOf({ mode, capture }: Pick<SyncAgentArgs, 'mode' | 'capture'>): ReplicationMode {
  return mode ?? (capture === Capture.Notifications ? ReplicationMode.Async : ReplicationMode.SemiSync);
}

/** What an agent is told, wherever it runs: all but where its image, its Secrets and its pod are. */
export type AgentInMeshArgs = Omit<SyncAgentArgs, 'namespace' | 'image' | 'userSecretName' | 'tlsSecretName'>;

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: AgentInMeshArgs): ConfigIssue[] {
  const names = args.members.map(({ name }) => name);
  const known = names.join(', ');
  const isStar = args.topology === PeerTopology.Star;
  const byNotifications = args.capture === Capture.Notifications;
  const issues = [
    ...dnsLabel('region', args.region),
    ...namesList('members', names, 2),
    ...rule(names.includes(args.region), 'region', args.region, `a name in members: ${known}`),
    ...rule(
      args.members.filter(({ primary }) => primary === true).length === 1,
      'members',
      'none or several with primary',
      'one with primary',
    ),
    ...oneOf('topology', args.topology, PeerTopology),
    ...oneOf('mode', args.mode, ReplicationMode),
    ...oneOf('capture', args.capture, AgentCapture),
    ...rule(
      !byNotifications || args.mode !== ReplicationMode.SemiSync,
      'mode',
      `${ReplicationMode.SemiSync}, with capture notifications`,
      `${ReplicationMode.Async}: the agent is no replica there, and can hold back no acknowledgement`,
    ),
    ...rule(
      byNotifications || args.nodeSecretName !== undefined,
      'nodeSecretName',
      'nothing',
      'a value, with capture psync',
    ),
    ...rule(
      !byNotifications || args.sentinelHosts === undefined,
      'sentinelHosts',
      'a value, with capture notifications',
      'only with capture psync: a service promotes by itself, behind one name',
    ),
    ...rule(
      args.shard === undefined || (Number.isInteger(args.shard) && args.shard >= 0),
      'shard',
      args.shard,
      'a whole number from 0',
    ),
    ...rule(
      (args.shard === undefined) === (args.slots === undefined),
      'slots',
      args.slots === undefined ? 'nothing, with a shard' : 'a value, without a shard',
      'both or none',
    ),
    ...rule(
      args.slots === undefined || (parseSlots(args.slots)?.length ?? 0) > 0,
      'slots',
      args.slots,
      'slots of a Redis Cluster, such as 0-5460',
    ),
    ...rule(
      args.shard === undefined || args.sentinelHosts === undefined,
      'sentinelHosts',
      'a value, with a shard',
      'nothing: a cluster elects its primaries itself',
    ),
    ...rule(!isStar || names.includes(args.hub ?? ''), 'hub', args.hub, `a name in members: ${known}`),
    ...rule(isStar || args.hub === undefined, 'hub', args.hub, 'only with topology star'),
  ];
  if (issues.length > 0) return issues;
  const unreachable = peersOf(args.region, topologyOf(args), names).filter(
    (peer) => args.peerHosts[peer] === undefined,
  );
  return rule(
    unreachable.length === 0,
    'peerHosts',
    `none for ${unreachable.join(', ')}`,
    'a host for each linked region',
  );
}
