/** Redis by AWS: ElastiCache with nodes, and a Global Datastore for disaster recovery. */
export {
  ElastiCacheEngine,
  type ElastiCacheNodesArgs,
  type ElastiCacheRedisArgs,
  type ElastiCacheSecondaryArgs,
} from './args';
export { ElastiCacheRedis } from './redis';
