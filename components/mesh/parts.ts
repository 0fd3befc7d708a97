/**
 * What the parts of a region, and of a mesh, are told by its own arguments; the rest they are told are outputs of each other. So all that a part would refuse is
 * refused by the whole, before anything is registered: a constructor that throws when its parent is registered leaves half of it behind.
 */
import * as pulumi from '@pulumi/pulumi';

import { captureOf, type ConfigIssue, minReplicas, peersOf } from '../../model';
import { ReplicationMode, type SyncAgentArgs, topologyOf } from '../agent';
import { issuesOf as agentIssues } from '../agent/args';
import { RedisTopology, RedisUse } from '../kubernetes';
import { issuesOf as redisIssues } from '../kubernetes/args';
import { issuesOf as monitoringIssues } from '../monitoring/args';
import { issuesOf as networkIssues } from '../network/args';
import { type CertificateArgs, credentialIssues } from '../security/credentials';
import { fargateIssues } from './fargate';
import { managedIssues } from './managed';
import { isManaged, RegionBackend, regionIssues, type RedisRegionArgs } from './region-args';
import { hostOfShard, shardIssues, shardsOf } from './shards';

/** Stands for what another part puts out. */
const later = 'later';

/** @param shard where Redis is a cluster, whose of its agents is told */
export function agentPart(args: RedisRegionArgs, shard?: number) {
  const { region, stack, members, topology, hub, backend = RegionBackend.Kubernetes } = args;
  const peerHosts = Object.fromEntries(
    Object.entries(args.peerHosts).map(([peer, host]) => [peer, shard === undefined ? host : hostOfShard(host, shard)]),
  );
  const agentHosts =
    args.agentHosts === undefined || shard === undefined
      ? args.agentHosts
      : pulumi.output(args.agentHosts).apply((hosts) => hosts.map((host) => hostOfShard(host, shard)));
  const capture: Pick<SyncAgentArgs, 'capture'> = isManaged(backend) ? { capture: captureOf(backend) } : {};
  return {
    ...args.agent,
    ...{ region, stack, members, topology, hub, peerHosts, agentHosts, image: args.agentImage },
    ...capture,
  };
}

export function certificatePart({
  issuer,
  issuerName,
  issuerKind,
  certificateValidityDays,
}: CertificateArgs): CertificateArgs {
  return { issuer, issuerName, issuerKind, certificateValidityDays };
}

export function redisPart(args: RedisRegionArgs) {
  const minReplicasToWrite = args.redis?.minReplicasToWrite ?? minReplicasOf(args);
  // The agent's image has Node.js and is pinned, or not, as the program's author wants it.
  const sidecarImage = args.redis?.sidecarImage ?? args.agentImage;
  return { ...args.redis, region: args.region, minReplicasToWrite, sidecarImage };
}

export function networkPart(args: RedisRegionArgs) {
  const { region, members, topology, hub, network, peerNamespaces, peerCidrs, redisCidrs, serviceMesh } = args;
  return {
    ...{ region, topology, hub, regions: members.map((member) => member.name) },
    ...network,
    ...{ peerNamespaces, peerCidrs, mesh: serviceMesh },
    redisCidrs: isManaged(args.backend ?? RegionBackend.Kubernetes) ? redisCidrs : undefined,
  };
}

export function monitoringPart({ region, members, topology, hub, backend, redis, agent, monitoring }: RedisRegionArgs) {
  const names = members.map((member) => member.name);
  return {
    region,
    peers: peersOf(region, topologyOf({ topology, hub }), names),
    managed: isManaged(backend ?? RegionBackend.Kubernetes),
    // Of a managed one there is one exporter, which sees one node.
    primaries: isManaged(backend ?? RegionBackend.Kubernetes) ? undefined : shardsOf({ backend, redis }),
    isDataStack: redis?.use !== RedisUse.Cache,
    minReplicasMaxLagSeconds: redis?.minReplicasMaxLagSeconds,
    journalBytesMax: agent?.journalBytes,
    ...monitoring,
  };
}

/** One replica that there is for sure, and in semi-sync the agent; of a standalone Redis nobody is promoted, and none is needed. */
function minReplicasOf({ redis = {}, agent }: RedisRegionArgs): number {
  const promotes = redis.topology !== RedisTopology.Standalone;
  return minReplicas(1, promotes ? (redis.replicas ?? 1) : 0, agent?.mode ?? ReplicationMode.SemiSync);
}

/** Everything that is wrong with a region: with its own arguments, else with what its parts are told. */
export function regionPlanIssues(name: string, args: RedisRegionArgs): ConfigIssue[] {
  // What comes later takes it that what is before found nothing.
  const own = [...regionIssues(args), ...shardIssues(args)];
  if (own.length > 0) return own;
  if (args.fargate !== undefined) return [...managedIssues(name, args), ...fargateIssues(name, args)];
  const managed = isManaged(args.backend ?? RegionBackend.Kubernetes);
  const secrets = { userSecretName: later, tlsSecretName: later, nodeSecretName: later };
  const issues = [
    ...placed('agent', agentIssues({ ...agentPart(args), ...secrets, redisHost: later }), args),
    ...credentialIssues({ ...args, namespace: later }),
    ...(managed ? managedIssues(name, args) : placed('redis', redisIssues(redisOf(args)), args)),
  ];
  if (issues.length > 0) return issues;
  const { networkPolicy, monitoring } = args;
  return [
    ...(networkPolicy === false
      ? []
      : placed('network', networkIssues({ ...networkPart(args), namespace: later }), args)),
    ...(monitoring === undefined
      ? []
      : placed('monitoring', monitoringIssues({ ...monitoringPart(args), namespace: later }), args)),
  ];
}

const redisOf = (args: RedisRegionArgs) => ({
  ...redisPart(args),
  ...{ namespace: later, aclSecretName: later, nodeSecretName: later, exporterSecretName: later, tlsSecretName: later },
});

/** What a part calls otherwise than the region does. */
const names: Readonly<Record<string, string>> = { mesh: 'serviceMesh', regions: 'members', peers: 'members' };

/** Issues of a part, at the place that the region's arguments have for it. */
function placed(
  part: 'agent' | 'redis' | 'network' | 'monitoring',
  issues: ConfigIssue[],
  args: object,
): ConfigIssue[] {
  return issues.map(({ path, ...issue }) => {
    const [first = ''] = path.split(/[.[]/, 1);
    const own = names[first] ?? first;
    return { path: own in args ? `${own}${path.slice(first.length)}` : `${part}.${path}`, ...issue };
  });
}
