import * as pulumi from '@pulumi/pulumi';

import { ActiveActiveRedis, type ActiveActiveRedisArgs } from './components';
import {
  formatIssues,
  links,
  minReplicasToWrite,
  parseStackConfig,
  primaryOf,
  type StackConfig,
  topologyOf,
} from './model';

const result = parseStackConfig(pulumi.runtime.allConfig());
if (!result.ok) {
  throw new pulumi.RunError(`stack '${pulumi.getStack()}' has a bad config:\n${formatIssues(result.issues)}`);
}
const { config } = result;

/** The regions that take part, every default filled in. */
export const regions = config.regions;

/** The region that failover decisions start from. */
export const primary = primaryOf(config).name;

/** Who sends operations to whom: [from, to]. */
export const peerLinks = links(
  topologyOf(config),
  config.regions.map((region) => region.name),
);

const backends = new Set(config.regions.map((region) => region.backend));
const mesh = backends.has('kubernetes') ? new ActiveActiveRedis('redis', meshArgs(config)) : undefined;

/** Where each region's Redis is, for the applications of that region. */
export const endpoints = mesh?.endpoints;

/** PEM of the authorities that clients have to trust. */
export const caBundlePem = mesh?.caBundlePem;

/** The passwords of each user, the one to use first. Secret. */
export const userPasswords = mesh?.userPasswords;

/** What the stack's config says about regions on Kubernetes. @throws RunError where it can't be deployed */
function meshArgs(stack: StackConfig): ActiveActiveRedisArgs {
  const { kubernetes, redis, replication, failover, security } = stack;
  const other = stack.regions.find((region) => region.backend !== 'kubernetes');
  if (other !== undefined)
    throw new pulumi.RunError(
      `meridian:regions: region ${other.name} has backend ${other.backend} beside others with kubernetes; allowed: one backend for all`,
    );
  if (kubernetes.agentImage === undefined)
    throw new pulumi.RunError('meridian:kubernetes.agentImage: found nothing; allowed: the name of an image');
  const { serviceMesh, spread, imagePullPolicy, storageClass: storageClassName, protect } = kubernetes;
  const kept = { protect, retainOnDelete: protect };
  const [first] = stack.regions;
  return {
    stack: pulumi.getStack(),
    regions: stack.regions.map(({ name, weight, primary: isPrimary, context, namespace, agentHost, ...region }) => ({
      name,
      weight,
      primary: isPrimary,
      ...(context === undefined ? {} : { context }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(agentHost === undefined ? {} : { agentHost }),
      replicas: region.replicas,
      replicasMax: Math.max(region.replicas, region.replicasMax),
    })),
    topology: replication.topology,
    ...(replication.topology === 'star' ? { hub: replication.hub ?? primaryOf(stack).name } : {}),
    agentImage: kubernetes.agentImage,
    users: security.users,
    networkPolicy: security.networkPolicy,
    serviceMesh,
    redis: {
      tls: security.tls,
      use: redis.use,
      image:
        kubernetes.redisImage ?? `docker.io/${redis.engine === 'valkey' ? 'valkey/valkey' : 'redis'}:${redis.version}`,
      ...(kubernetes.exporterImage === undefined ? {} : { exporterImage: kubernetes.exporterImage }),
      sidecarImage: kubernetes.agentImage,
      imagePullPolicy,
      maxmemoryBytes: redis.maxmemory,
      appendfsync: redis.appendfsync,
      backlogBytes: redis.backlog.size,
      backlogTtlSeconds: redis.backlog.ttlSeconds,
      outputBufferHardBytes: redis.outputBuffer.hard,
      outputBufferSoftBytes: redis.outputBuffer.soft,
      outputBufferSoftSeconds: redis.outputBuffer.softSeconds,
      disklessSync: redis.disklessSync.enabled,
      disklessSyncDelaySeconds: redis.disklessSync.delaySeconds,
      minReplicasToWrite: first === undefined ? 0 : minReplicasToWrite(stack, first),
      minReplicasMaxLagSeconds: redis.minReplicas.maxLagSeconds,
      sentinels: failover.sentinel.count,
      sentinelQuorum: failover.sentinel.quorum,
      sentinelDownAfterMs: failover.sentinel.downAfterMs,
      sentinelFailoverTimeoutMs: failover.sentinel.failoverTimeoutMs,
      sentinelParallelSyncs: failover.sentinel.parallelSyncs,
      storageClassName,
      ...sizesFor(stack),
      cpuRequest: kubernetes.cpuRequest,
      spread,
      ...kept,
    },
    agent: {
      imagePullPolicy,
      mode: replication.mode,
      semiSyncRegions: replication.semiSyncRegions,
      maxLagMs: replication.maxLagMs,
      heartbeatMs: replication.heartbeatMs,
      compression: replication.compression,
      journalBytes: replication.journal.maxBytes,
      journalSegmentBytes: replication.journal.segmentBytes,
      storageClassName,
      storageSize: kubernetes.journalSize,
      ...kept,
    },
  };
}

/** Memory and disk that hold `maxmemory`, where the config does not say them. */
function sizesFor({ kubernetes, redis }: StackConfig) {
  const gibi = 2 ** 30;
  // Beside the data: copies that a rewrite of the append-only file makes, and buffers of replicas.
  const limit = Math.max(2, Math.ceil(redis.maxmemory / gibi / 0.75));
  const disk = Math.max(10, Math.ceil((3 * redis.maxmemory) / gibi));
  return {
    memoryLimit: kubernetes.memoryLimit ?? `${limit}Gi`,
    memoryRequest:
      kubernetes.memoryRequest ?? (kubernetes.memoryLimit === undefined ? `${limit / 2}Gi` : kubernetes.memoryLimit),
    storageSize: kubernetes.storageSize ?? `${disk}Gi`,
  };
}
