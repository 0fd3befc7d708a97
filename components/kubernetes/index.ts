/** Redis on Kubernetes: one region's nodes, Sentinels and Services. */
export { type KubernetesRedisArgs, type RedisNodesArgs, RedisTopology, RedisUse } from './args';
export { KubernetesRedis, redisHostsOf } from './redis';
