import type * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue } from '../../model';
import { dnsLabel, oneOf, rule, Spread, whole } from '../common';

/** How the Redis nodes of a region belong together. */
export const RedisTopology = {
  /** One primary, replicas, and Sentinels that promote one of them. */
  PrimaryReplica: 'primary-replica',
  /** One node: for development, or where losing a region's Redis for minutes is no matter. */
  Standalone: 'standalone',
  /** Redis Cluster: data that is more than one node can hold. The sync agent does not follow it. */
  Cluster: 'cluster',
} as const;
export type RedisTopology = (typeof RedisTopology)[keyof typeof RedisTopology];

/** What Redis is used for. */
export const RedisUse = {
  /** `noeviction`: a full Redis refuses writes instead of losing keys in silence. */
  Data: 'data',
  /** `allkeys-lru`: each region evicts for itself. */
  Cache: 'cache',
} as const;
export type RedisUse = (typeof RedisUse)[keyof typeof RedisUse];

export interface KubernetesRedisArgs extends RedisNodesArgs {
  /** Name of the region: a label of its pods and the primary's name at its Sentinels. */
  region: string;
  /** Namespace of everything; it must exist. One region each. */
  namespace: pulumi.Input<string>;

  /** `aclSecretName` of RedisCredentials: the ACL files of Redis and Sentinel. */
  aclSecretName: pulumi.Input<string>;
  /** Secret with user and password of the nodes themselves: `userSecretNames['meridian-node']` of RedisCredentials. */
  nodeSecretName: pulumi.Input<string>;
  /** Secret with user and password of redis_exporter: `userSecretNames['meridian-exporter']` of RedisCredentials. */
  exporterSecretName: pulumi.Input<string>;
  /** `redisTlsSecretName` of RedisCredentials. Needed with `tls`. */
  tlsSecretName?: pulumi.Input<string>;
  /** `checksum` of RedisCredentials: the pods restart, one by one, when it changes. Default: they don't. */
  credentialsChecksum?: pulumi.Input<string>;
}

/** What can be chosen about the nodes of a region's Redis: all of it has a default. */
export interface RedisNodesArgs {
  /** Encrypt what clients, replicas and Sentinels say. Default: true. */
  tls?: boolean;

  /** A RedisTopology. Default: primary-replica. */
  topology?: RedisTopology;
  /** Replicas of each primary, 0 to 5; at least 1 with Sentinels. Default: 1; none when standalone. */
  replicas?: number;
  /**
   * The most replicas that autoscaling may add up to (primary-replica only), 0 to 5. Equal to `replicas`: no autoscaling. Default: 3.
   * With autoscaling the number of pods belongs to the autoscaler: a change of `replicas` then moves only its lower limit.
   */
  replicasMax?: number;
  /** CPU use of the pods, in percent of the request, beyond which a replica is added. Default: 70. */
  autoscalingCpuPercent?: pulumi.Input<number>;
  /** Shards that hold slots (cluster only), 3 to 100. Default: 3, the least that Redis Cluster can elect with. */
  shards?: number;
  /**
   * Shards that have nodes (cluster only). To scale in: lower `shards` first, which empties the last ones, and this when
   * that is deployed. Default: `shards`.
   */
  shardsProvisioned?: number;

  /** Image with redis-server, redis-cli and a shell; in production by digest. Default: the official one of Redis 7.2. */
  image?: pulumi.Input<string>;
  /** Image of redis_exporter. Default: the official one. */
  exporterImage?: pulumi.Input<string>;
  /**
   * Image with Node.js 20 or newer, for the side-car that labels each pod with its role. Default: the agent's in a region that has one, else the
   * official Node.js image.
   */
  sidecarImage?: pulumi.Input<string>;
  /** When nodes ask the registry for the images: `IfNotPresent`, `Always`, `Never`. Default: IfNotPresent. */
  imagePullPolicy?: pulumi.Input<string>;

  /** A RedisUse: whether a full Redis evicts. Default: data. */
  use?: RedisUse;
  /**
   * `maxmemory`, in bytes; at most 75 % of `memoryLimit`, as the copies that a rewrite of the append-only file makes and the buffers of
   * replicas come on top. Default: 1 GiB, half of the default limit.
   */
  maxmemoryBytes?: pulumi.Input<number>;
  /** When the append-only file reaches the disk: always, everysec, no. Default: everysec. */
  appendfsync?: pulumi.Input<string>;
  /**
   * Replication backlog, in bytes, at least 1 MiB: what a replica or the agent may miss and still continue. Default: 64 MiB, ten
   * minutes of a 100 kB/s stream; Redis' own 1 MiB is gone in ten seconds, and a full sync then follows each short break.
   */
  backlogBytes?: pulumi.Input<number>;
  /** How long the backlog is kept after the last replica left, in seconds. Default: 3600. */
  backlogTtlSeconds?: pulumi.Input<number>;
  /** What may wait for a slow replica before its link is cut at once, in bytes. Default: 256 MiB. */
  outputBufferHardBytes?: pulumi.Input<number>;
  /** What may wait for `outputBufferSoftSeconds`, in bytes. Default: 64 MiB. */
  outputBufferSoftBytes?: pulumi.Input<number>;
  /** See `outputBufferSoftBytes`, in seconds. Default: 60. */
  outputBufferSoftSeconds?: pulumi.Input<number>;
  /** Send full syncs from memory without a file first: faster where the disk is slow. Default: false. */
  disklessSync?: pulumi.Input<boolean>;
  /** How long a diskless sync waits for more replicas to share it, in seconds. Default: 5. */
  disklessSyncDelaySeconds?: pulumi.Input<number>;
  /**
   * Replicas that must acknowledge, or the primary takes no writes: the guard against two primaries after a partition. In semi-sync
   * the agent counts as one: add 1. Default: 1 with Sentinels, else 0.
   */
  minReplicasToWrite?: pulumi.Input<number>;
  /** How old their last acknowledgement may be, in seconds. Default: 10. */
  minReplicasMaxLagSeconds?: pulumi.Input<number>;

  /** Sentinels, 3 to 9: at least three, so that one may be gone. Default: 3. */
  sentinels?: number;
  /** How many Sentinels must agree that the primary is down, 2 up to all of them. Default: 2. */
  sentinelQuorum?: number;
  /** Silence after which a Sentinel calls a node down, in milliseconds. Default: 5000. */
  sentinelDownAfterMs?: pulumi.Input<number>;
  /** For one attempt of a failover, in milliseconds. Default: 30000, in the middle of what is advisable. */
  sentinelFailoverTimeoutMs?: pulumi.Input<number>;
  /** Replicas that resync with a new primary at one time; the others go on answering reads. Default: 1. */
  sentinelParallelSyncs?: pulumi.Input<number>;

  /** Disk of each node, as a quantity of Kubernetes. Default: 10Gi; three times `maxmemory` or more leaves room for a rewrite. */
  storageSize?: pulumi.Input<string>;
  /** StorageClass of the disks. Default: `gp3`, or the one that `createStorageClass` makes; an empty text is the cluster's own default. */
  storageClassName?: pulumi.Input<string>;
  /** Make a StorageClass for AWS gp3 volumes: WaitForFirstConsumer, expandable, encrypted. Default: false. */
  createStorageClass?: boolean;
  /** Of the StorageClass made, operations a second. Default: 3000, what gp3 includes. */
  storageIops?: pulumi.Input<number>;
  /** Of the StorageClass made, in MB/s. Default: 125, what gp3 includes. */
  storageThroughputMbps?: pulumi.Input<number>;

  /** CPU that each Redis is sure of. Default: 500m. */
  cpuRequest?: pulumi.Input<string>;
  /** Memory that each Redis is sure of. Default: 1Gi. */
  memoryRequest?: pulumi.Input<string>;
  /** CPU that each Redis may use. Default: 1, as commands run on one core. */
  cpuLimit?: pulumi.Input<string>;
  /** Memory beyond which the kernel kills it. Default: 2Gi. */
  memoryLimit?: pulumi.Input<string>;
  /** A Spread: how nodes, and Sentinels, keep away from each other. Default: preferred. */
  spread?: Spread;
  /**
   * Set the kernel's network buffers, somaxconn, overcommit and huge pages in a privileged init container. It changes the whole machine's memory
   * settings, and the namespace must allow privileged pods. Default: false.
   */
  kernelTuning?: boolean;
  /** DNS domain of the cluster. Default: cluster.local. */
  clusterDomain?: pulumi.Input<string>;

  /** Refuse to delete the nodes. For production data. Default: false. */
  protect?: boolean;
  /** Leave the nodes, and volumes of the StorageClass made, alone when they leave the program. For production data. Default: false. */
  retainOnDelete?: boolean;
}

/** What is plain in the arguments, with its defaults. */
export interface Shape {
  readonly topology: RedisTopology;
  readonly use: RedisUse;
  readonly spread: Spread;
  readonly tls: boolean;
  /** Of each primary. */
  readonly replicas: number;
  readonly replicasMax: number;
  readonly shards: number;
  readonly shardsProvisioned: number;
  readonly sentinels: number;
  readonly quorum: number;
  /** Pods at the first deployment. */
  readonly pods: number;
  readonly podsMax: number;
}

export function shapeOf(args: KubernetesRedisArgs): Shape {
  const topology = args.topology ?? RedisTopology.PrimaryReplica;
  const hasSentinel = topology === RedisTopology.PrimaryReplica;
  const replicas = args.replicas ?? (topology === RedisTopology.Standalone ? 0 : 1);
  const replicasMax = hasSentinel ? (args.replicasMax ?? Math.max(3, replicas)) : replicas;
  const shards = topology === RedisTopology.Cluster ? (args.shards ?? 3) : 1;
  const shardsProvisioned = args.shardsProvisioned ?? shards;
  return {
    topology,
    use: args.use ?? RedisUse.Data,
    spread: args.spread ?? Spread.Preferred,
    tls: args.tls ?? true,
    replicas,
    replicasMax,
    shards,
    shardsProvisioned,
    sentinels: hasSentinel ? (args.sentinels ?? 3) : 0,
    quorum: args.sentinelQuorum ?? 2,
    pods: shardsProvisioned * (1 + replicas),
    podsMax: shardsProvisioned * (1 + replicasMax),
  };
}

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: KubernetesRedisArgs): ConfigIssue[] {
  const shape = shapeOf(args);
  const { topology } = shape;
  const isCluster = topology === RedisTopology.Cluster;
  const hasSentinel = topology === RedisTopology.PrimaryReplica;
  const only = (key: keyof KubernetesRedisArgs, isAllowed: boolean, needed: RedisTopology): ConfigIssue[] =>
    rule(
      isAllowed || args[key] === undefined,
      key,
      `a value, with topology ${topology}`,
      `only with topology ${needed}`,
    );
  return [
    ...dnsLabel('region', args.region),
    ...oneOf('topology', args.topology, RedisTopology),
    ...oneOf('use', args.use, RedisUse),
    ...oneOf('spread', args.spread, Spread),
    ...whole(
      'replicas',
      args.replicas,
      hasSentinel ? 1 : 0,
      topology === RedisTopology.Standalone ? 0 : 5,
      `replicas, with topology ${topology}`,
    ),
    ...whole('replicasMax', args.replicasMax, 0, 5),
    ...rule(
      shape.replicasMax >= shape.replicas,
      'replicasMax',
      shape.replicasMax,
      `replicas (${shape.replicas}) or more`,
    ),
    ...only('replicasMax', hasSentinel, RedisTopology.PrimaryReplica),
    ...whole('sentinels', args.sentinels, 3, 9),
    ...whole('sentinelQuorum', args.sentinelQuorum, 2, 9),
    ...rule(
      !hasSentinel || shape.quorum <= shape.sentinels,
      'sentinelQuorum',
      shape.quorum,
      `sentinels (${shape.sentinels}) or less`,
    ),
    ...only('sentinels', hasSentinel, RedisTopology.PrimaryReplica),
    ...whole('shards', args.shards, 3, 100),
    ...only('shards', isCluster, RedisTopology.Cluster),
    ...rule(
      shape.shardsProvisioned >= shape.shards,
      'shardsProvisioned',
      shape.shardsProvisioned,
      `shards (${shape.shards}) or more`,
    ),
    ...only('shardsProvisioned', isCluster, RedisTopology.Cluster),
    ...rule(!shape.tls || args.tlsSecretName !== undefined, 'tlsSecretName', 'nothing', 'a value, with tls'),
  ];
}
