/** Pulumi components: what gets deployed. Each can be used by itself. */
export {
  type AgentMember,
  type AgentTuningArgs,
  type ConflictPolicyArgs,
  FargateArchitecture,
  FargateSyncAgent,
  type FargateSyncAgentArgs,
  type FargateTaskArgs,
  PeerTopology,
  ReplicationMode,
  SyncAgent,
  type SyncAgentArgs,
} from './agent';
export { type AliyunInstanceArgs, AliyunRedis, type AliyunRedisArgs } from './aliyun';
export {
  ElastiCacheEngine,
  type ElastiCacheNodesArgs,
  ElastiCacheRedis,
  type ElastiCacheRedisArgs,
  type ElastiCacheSecondaryArgs,
} from './aws';
export { ArgumentError, PackageError, Spread } from './common';
export {
  KubernetesRedis,
  type KubernetesRedisArgs,
  redisHostsOf,
  type RedisNodesArgs,
  RedisTopology,
  RedisUse,
} from './kubernetes';
export { type LocalEndpoint, LocalMesh, type LocalMeshArgs, type LocalRegion } from './local';
export {
  ActiveActiveRedis,
  type ActiveActiveRedisArgs,
  type MeshRegion,
  type MeshTrafficArgs,
  type RegionEndpoint,
  RedisRegion,
  type RedisRegionArgs,
  RegionBackend,
  TrafficBy,
} from './mesh';
export { type MonitoringTuningArgs, RedisMonitoring, type RedisMonitoringArgs } from './monitoring';
export { Mesh, type NetworkTuningArgs, RedisNetworkPolicy, type RedisNetworkPolicyArgs } from './network';
export {
  type CertificateArgs,
  CertificateIssuer,
  RedisCredentials,
  type RedisCredentialsArgs,
  RedisSecurity,
  type RedisSecurityArgs,
} from './security';
export {
  RegionalTraffic,
  type RegionalTrafficArgs,
  type TrafficRegion,
  type TrafficShift,
  type TrafficTuningArgs,
} from './traffic';
export {
  type TencentInstanceArgs,
  TencentProvider,
  type TencentProviderArgs,
  TencentRedis,
  type TencentRedisArgs,
} from './tencent';
export { Capture } from '../model';
