/** Redis that a cloud runs: which resources are one. */
import { at, isGiven } from './props';
import { type Checked } from './rule';

export const replicationGroup = 'aws:elasticache/replicationGroup:ReplicationGroup';
export const serverlessCache = 'aws:elasticache/serverlessCache:ServerlessCache';
export const cacheCluster = 'aws:elasticache/cluster:Cluster';
export const globalReplicationGroup = 'aws:elasticache/globalReplicationGroup:GlobalReplicationGroup';
export const memoryDb = 'aws:memorydb/cluster:Cluster';
export const aliyunInstance = 'alicloud:kvstore/instance:Instance';
export const tencentInstance = 'tencentcloud:Redis/instance:Instance';

const databases: readonly string[] = [
  ...[replicationGroup, serverlessCache, cacheCluster, memoryDb],
  ...[aliyunInstance, tencentInstance],
];

/** Whether a resource is such a Redis, with data of its own. A cache node for Memcached is none. */
export function isManagedRedis({ type, props }: Checked): boolean {
  if (!databases.includes(type)) return false;
  if (type === cacheCluster) return at(props, 'engine') === 'redis' || at(props, 'engine') === 'valkey';
  if (type === serverlessCache) return at(props, 'engine') !== 'memcached';
  return true;
}

/** Whether a replication group is the copy of another one, from which it has its parameters and its encryption. */
export const isCopy = ({ type, props }: Checked): boolean =>
  type === replicationGroup && isGiven(props, 'globalReplicationGroupId');
