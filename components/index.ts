/** Pulumi components: what gets deployed. Each can be used by itself. */
export { type AgentMember, PeerTopology, ReplicationMode, SyncAgent, type SyncAgentArgs } from './agent';
export { ArgumentError, Spread } from './common';
export { KubernetesRedis, type KubernetesRedisArgs, redisHostsOf, RedisTopology, RedisUse } from './kubernetes';
export { Mesh, RedisNetworkPolicy, type RedisNetworkPolicyArgs } from './network';
export {
  CertificateIssuer,
  RedisCredentials,
  type RedisCredentialsArgs,
  RedisSecurity,
  type RedisSecurityArgs,
} from './security';
