import { agentSettingsOf, redisSettingsOf, type StackConfig } from '../../model';
import { type LocalMeshArgs } from '../local';

/** The mesh on this machine as a stack's config describes it: what `meridian up` would start of the same file. */
export function localArgs(stack: string, config: StackConfig): LocalMeshArgs {
  const { regions, replication, redis, security, local } = config;
  const { tls: _tls, disklessSync, disklessSyncDelaySeconds, ...settings } = redisSettingsOf(config);
  return {
    stack,
    regions: regions.map(({ name, weight, primary, replicas, mode, redisServer }) => ({
      name,
      weight,
      primary,
      replicas,
      mode,
      ...(redisServer === undefined ? {} : { redisServer }),
    })),
    ...(local.basePort === undefined ? {} : { basePort: local.basePort }),
    users: security.users,
    topology: replication.topology,
    ...(replication.hub === undefined ? {} : { hub: replication.hub }),
    mode: replication.mode,
    ...agentSettingsOf(config),
    ...settings,
    disklessSyncDelaySeconds: disklessSync ? disklessSyncDelaySeconds : 0,
    minReplicasToWrite: redis.minReplicas.toWrite,
  };
}
