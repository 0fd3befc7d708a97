import { type StackConfig } from '../../model';
import { type LocalMeshArgs } from '../local';

/** The mesh on this machine as a stack's config describes it: what `meridian up` would start of the same file. */
export function localArgs(stack: string, { regions, replication, redis, security }: StackConfig): LocalMeshArgs {
  return {
    stack,
    regions: regions.map(({ name, weight, primary, replicas, redisServer }) => ({
      name,
      weight,
      primary,
      replicas,
      ...(redisServer === undefined ? {} : { redisServer }),
    })),
    users: security.users,
    topology: replication.topology,
    ...(replication.hub === undefined ? {} : { hub: replication.hub }),
    mode: replication.mode,
    semiSyncRegions: replication.semiSyncRegions,
    maxLagMs: replication.maxLagMs,
    heartbeatMs: replication.heartbeatMs,
    compression: replication.compression,
    journalBytes: replication.journal.maxBytes,
    journalSegmentBytes: replication.journal.segmentBytes,
    use: redis.use,
    maxmemoryBytes: redis.maxmemory,
    appendfsync: redis.appendfsync,
    backlogBytes: redis.backlog.size,
    backlogTtlSeconds: redis.backlog.ttlSeconds,
    outputBufferHardBytes: redis.outputBuffer.hard,
    outputBufferSoftBytes: redis.outputBuffer.soft,
    outputBufferSoftSeconds: redis.outputBuffer.softSeconds,
    disklessSyncDelaySeconds: redis.disklessSync.enabled ? redis.disklessSync.delaySeconds : 0,
    minReplicasToWrite: redis.minReplicas.toWrite,
    minReplicasMaxLagSeconds: redis.minReplicas.maxLagSeconds,
  };
}
