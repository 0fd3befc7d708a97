/**
 * The components for programs in other languages. LocalMesh is not among them: a dynamic provider is the text of a Node.js program's
 * functions. `schema.json` is what other languages see of this; `npm run docs` renews it.
 */
export {
  ActiveActiveRedis,
  AliyunRedis,
  ElastiCacheRedis,
  FargateSyncAgent,
  KubernetesRedis,
  RedisCredentials,
  RedisMonitoring,
  RedisNetworkPolicy,
  RedisRegion,
  RedisSecurity,
  RegionalTraffic,
  SyncAgent,
  TencentRedis,
} from '../components';
