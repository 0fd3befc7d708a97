/** What the parts of a mesh are told by its arguments, and everything that they would refuse: see `parts.ts`. */
import * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, peersOf } from '../../model';
import { type AgentMember, topologyOf } from '../agent';
import { type RedisNodesArgs } from '../kubernetes';
import { type RedisSecurity, type RedisSecurityArgs } from '../security';
import { securityIssues } from '../security/security';
import { type TrafficRegion } from '../traffic';
import { issuesOf as trafficPartIssues } from '../traffic/args';
import {
  type ActiveActiveRedisArgs,
  backendOf,
  isInCluster,
  isSameCluster,
  issuesOf,
  type MeshRegion,
  modeOf,
  spaceOf,
} from './args';
import { certificatePart, regionPlanIssues } from './parts';
import { agentNameOf, isManaged, type RedisRegionArgs } from './region-args';
import { shardMark, shardsOf } from './shards';
import { type MeshTrafficArgs, routingFor } from './traffic';

/** What regions are told by RedisSecurity. */
type Shared = Pick<RedisSecurity, 'userPasswords' | 'caBundlePem' | 'caCertPem' | 'caPrivateKeyPem'>;

export function securityArgs({ stack, users, authorities, passwords, redis = {} }: ActiveActiveRedisArgs) {
  const { protect, retainOnDelete } = redis;
  const args: RedisSecurityArgs = {
    stack,
    ...(users === undefined ? {} : { users: Object.keys(users) }),
    ...(authorities === undefined ? {} : { authorities }),
    ...(passwords === undefined ? {} : { passwords }),
    ...(protect === undefined ? {} : { protect }),
    ...(retainOnDelete === undefined ? {} : { retainOnDelete }),
  };
  return args;
}

export function regionArgs(
  name: string,
  region: MeshRegion,
  args: ActiveActiveRedisArgs,
  shared: { readonly [Key in keyof Shared]: RedisRegionArgs[Key] },
  farHostOf: (peer: MeshRegion) => pulumi.Input<string>,
): RedisRegionArgs {
  const { stack, regions, topology, hub, redis = {}, traffic, monitoring } = args;
  const names = regions.map((each) => each.name);
  const members: AgentMember[] = regions.map((each) => ({
    name: each.name,
    weight: each.weight ?? 0,
    primary: each.primary ?? false,
  }));
  const peers = regions.filter((peer) => peersOf(region.name, topologyOf(args), names).includes(peer.name));
  const near = peers.filter((peer) => isSameCluster(peer, region));
  const far = peers.filter((peer) => !isSameCluster(peer, region));
  const isFirstOfCluster = regions.find((other) => isSameCluster(other, region)) === region;
  return {
    region: region.name,
    stack,
    ...placeOf(region),
    acceptWholeKeyMerge: isManaged(backendOf(region)) ? args.acceptWholeKeyMerge : undefined,
    namespace: region.namespace,
    createNamespace: region.createNamespace,
    agentImage: args.agentImage,
    members,
    topology,
    hub,
    peerHosts: Object.fromEntries([
      ...near.map((peer) => [peer.name, agentHostOf(name, peer, redis)]),
      ...far.map((peer) => [peer.name, farHostOf(peer)]),
    ]) as Record<string, pulumi.Input<string>>,
    peerNamespaces: Object.fromEntries(near.map((peer) => [peer.name, spaceOf(peer)])),
    peerCidrs: Object.fromEntries(far.map((peer) => [peer.name, peer.agentCidrs ?? []])),
    agentHosts: region.agentHost === undefined ? [] : [region.agentHost.replace(/:\d+$/, '')],
    slots: args.slots,
    redisHosts: traffic === undefined ? [] : [traffic.host],
    userPasswords: shared.userPasswords,
    caBundlePem: shared.caBundlePem,
    caCertPem: shared.caCertPem,
    caPrivateKeyPem: shared.caPrivateKeyPem,
    ...certificatePart(args),
    users: args.users,
    networkPolicy: args.networkPolicy,
    network: args.network,
    serviceMesh: args.serviceMesh,
    redis: {
      ...redis,
      ...(region.replicas === undefined ? {} : { replicas: region.replicas }),
      ...(region.replicasMax === undefined ? {} : { replicasMax: region.replicasMax }),
      ...(region.minReplicasToWrite === undefined ? {} : { minReplicasToWrite: region.minReplicasToWrite }),
    },
    agent: { ...args.agent, mode: modeOf(args, region) },
    ...(monitoring === undefined || !isInCluster(region)
      ? {}
      : { monitoring: { ...monitoring, dashboards: (monitoring.dashboards ?? true) && isFirstOfCluster } }),
  };
}

/** Stands for what is known when all is made. */
const later = { userPasswords: {}, caBundlePem: 'later', caCertPem: 'later', caPrivateKeyPem: 'later' };

/** Everything that is wrong with a mesh: with its own arguments, else with what its parts are told. */
export function meshPlanIssues(name: string, args: ActiveActiveRedisArgs): ConfigIssue[] {
  const own = issuesOf(args);
  if (own.length > 0) return own;
  const { regions, traffic } = args;
  const ofRegions = regions.flatMap((region, i) =>
    regionPlanIssues(
      `${name}-${region.name}`,
      regionArgs(name, region, args, later, (peer) => peer.agentHost ?? ''),
    ).map((issue) => placed(issue, args, region, `regions[${i}]`)),
  );
  const ofTraffic =
    traffic === undefined
      ? []
      : regions.flatMap((region) =>
          trafficPartIssues({ ...trafficArgs(name, region, args, traffic), namespace: 'later' }).map((issue) =>
            issue.path.startsWith('regions[') ? issue : { ...issue, path: `traffic.${issue.path}` },
          ),
        );
  // What is said for all regions is wrong at each of them.
  const issues = [...securityIssues(securityArgs(args)), ...ofRegions, ...ofTraffic];
  const texts = issues.map((issue) => JSON.stringify(issue));
  return issues.filter((_, i) => texts.indexOf(texts[i] ?? '') === i);
}

/** An issue of a region, at the place that the mesh's arguments have for it: at the region's own, else at what all share. */
function placed(issue: ConfigIssue, args: ActiveActiveRedisArgs, region: MeshRegion, at: string): ConfigIssue {
  const [first = '', second = ''] = issue.path.split(/[.[]/);
  if ((first === 'redis' || first === 'agent') && second in region) return { ...issue, path: `${at}.${second}` };
  if (first === 'region') return { ...issue, path: `${at}.name` };
  return first in args && !(first in region) ? issue : { ...issue, path: `${at}.${issue.path}` };
}

/** What a region says about its Redis, with the cloud's name of the region where it belongs. */
function placeOf(region: MeshRegion) {
  const { backend, providerRegion, elasticache, fargate, aliyun, tencent, redisCaPem, redisCidrs } = region;
  const at = providerRegion === undefined ? {} : { providerRegion };
  return {
    backend,
    elasticache: elasticache && { ...at, ...elasticache },
    fargate,
    aliyun: aliyun && { ...at, ...aliyun },
    tencent: tencent && { ...at, ...tencent },
    redisCaPem,
    redisCidrs,
  };
}

/** The name of an agent's Service, which is known before the Service is: links go both ways. */
function agentHostOf(name: string, region: MeshRegion, nodes: RedisNodesArgs): pulumi.Output<string> {
  const isCluster = shardsOf({ ...region, redis: nodes }) > 1;
  return serviceHostOf(agentNameOf(`${name}-${region.name}`, isCluster ? shardMark : undefined), region, nodes);
}

function serviceHostOf(service: string, region: MeshRegion, { clusterDomain }: RedisNodesArgs): pulumi.Output<string> {
  return pulumi.interpolate`${service}.${spaceOf(region)}.svc.${clusterDomain ?? 'cluster.local'}`;
}

/** The rules for the clients of one region: the other regions as its cluster sees them. */
export function trafficArgs(
  name: string,
  region: MeshRegion,
  { regions, redis = {} }: ActiveActiveRedisArgs,
  traffic: MeshTrafficArgs,
) {
  const { by: _by, distribute: _distribute, drain: _drain, shift: _shift, ...tuning } = traffic;
  const weights = Object.fromEntries(regions.map((each) => [each.name, each.weight ?? 0]));
  const seen = regions.map((other): TrafficRegion => ({
    name: other.name,
    locality: other.locality ?? other.name,
    address: isSameCluster(other, region)
      ? serviceHostOf(`${name}-${other.name}`, other, redis)
      : (other.trafficHost ?? ''),
    ...(other.istioNetwork === undefined ? {} : { network: other.istioNetwork }),
  }));
  const isAlone = regions.every((other) => other === region || !isSameCluster(other, region));
  const exportTo = region.clientNamespaces ?? (isAlone ? undefined : ['.']);
  return {
    region: region.name,
    regions: seen,
    ...tuning,
    ...routingFor(region.name, weights, traffic),
    ...(exportTo === undefined ? {} : { exportTo }),
  };
}
