import { type RegionConfig, type StackConfig } from './config';
import { minReplicas } from './min-replicas';

// What a stack's config says, flat and under the names that arguments of components, files of compose and of LocalMesh have for it.

/** Of every Redis of a stack. */
export interface RedisSettings {
  readonly tls: boolean;
  readonly use: 'data' | 'cache';
  readonly maxmemoryBytes: number;
  readonly appendfsync: string;
  readonly backlogBytes: number;
  readonly backlogTtlSeconds: number;
  readonly outputBufferHardBytes: number;
  readonly outputBufferSoftBytes: number;
  readonly outputBufferSoftSeconds: number;
  readonly disklessSync: boolean;
  readonly disklessSyncDelaySeconds: number;
  readonly minReplicasMaxLagSeconds: number;
}

export function redisSettingsOf({ redis, security }: StackConfig): RedisSettings {
  const { backlog, outputBuffer, disklessSync } = redis;
  return {
    tls: security.tls,
    use: redis.use,
    maxmemoryBytes: redis.maxmemory,
    appendfsync: redis.appendfsync,
    backlogBytes: backlog.size,
    backlogTtlSeconds: backlog.ttlSeconds,
    outputBufferHardBytes: outputBuffer.hard,
    outputBufferSoftBytes: outputBuffer.soft,
    outputBufferSoftSeconds: outputBuffer.softSeconds,
    disklessSync: disklessSync.enabled,
    disklessSyncDelaySeconds: disklessSync.delaySeconds,
    minReplicasMaxLagSeconds: redis.minReplicas.maxLagSeconds,
  };
}

/** Of every agent of a stack; `mode` is each region's. */
export interface AgentSettings {
  readonly semiSyncRegions: number;
  readonly maxLagMs: number;
  readonly heartbeatMs: number;
  readonly compression: string;
  readonly conflicts: { keys: string; policy: string; db?: number }[];
  readonly conflictValues: string;
  readonly flush: string;
  readonly journalBytes: number;
  readonly journalSegmentBytes: number;
  readonly windowBytes: number;
  readonly dryRun: boolean;
}

export function agentSettingsOf({ replication }: StackConfig): AgentSettings {
  const { semiSyncRegions, maxLagMs, heartbeatMs, compression, conflicts, conflictValues, flush } = replication;
  const { journal, windowBytes, dryRun } = replication;
  return {
    semiSyncRegions,
    maxLagMs,
    heartbeatMs,
    compression,
    conflicts: conflicts.map(({ keys, policy, db }) => ({ keys, policy, ...(db === undefined ? {} : { db }) })),
    conflictValues,
    flush,
    journalBytes: journal.maxBytes,
    journalSegmentBytes: journal.segmentBytes,
    windowBytes,
    dryRun,
  };
}

/** Redis' `min-replicas-to-write` for a region: see model/min-replicas.ts. */
export function minReplicasToWrite({ redis }: StackConfig, { replicas, mode }: RegionConfig): number {
  return minReplicas(redis.minReplicas.toWrite, replicas, mode);
}
