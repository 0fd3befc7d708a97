import type * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, peersOf } from '../../model';
import { type AgentTuningArgs, type FargateTaskArgs, type PeerTopology, ReplicationMode, topologyOf } from '../agent';
import { type AliyunInstanceArgs } from '../aliyun';
import { type ElastiCacheNodesArgs } from '../aws';
import { namesList, oneOf, rule, whole } from '../common';
import { type RedisNodesArgs } from '../kubernetes';
import { type MonitoringTuningArgs } from '../monitoring';
import { Mesh, type NetworkTuningArgs } from '../network';
import { type CertificateArgs, CertificateIssuer } from '../security';
import { type TencentInstanceArgs } from '../tencent';
import { isManaged, namespaceOf, placeIssues, RegionBackend } from './region-args';
import { markedHost, shardMark, shardsOf } from './shards';
import { type MeshTrafficArgs, TrafficBy } from './traffic';

/** One region of an ActiveActiveRedis. */
export interface MeshRegion {
  /** Its name: a DNS label, unique in the mesh. Another name is another region. */
  name: string;
  /** Its share of the traffic, in percent. Default: 0. */
  weight?: number;
  /** Whether failover decisions start from it, and it begins the mesh. Exactly one is. Default: false. */
  primary?: boolean;
  /** What runs its Redis; a RegionBackend. Default: kubernetes. */
  backend?: RegionBackend;
  /**
   * A ReplicationMode of its own: when what clients write here counts as replicated. `async` for a managed Redis beside regions in semi-sync, which count its
   * agent's journal as any other. Default: `agent.mode`.
   */
  mode?: ReplicationMode;
  /**
   * The cloud's name of the region, for a managed Redis: AWS' children have it as their own, for Alibaba Cloud and Tencent Cloud a provider is made with it.
   * Default: the name.
   */
  providerRegion?: string;
  /** Where its ElastiCache is. Needed with backend elasticache. */
  elasticache?: ElastiCacheNodesArgs;
  /**
   * Where its agent runs, in place of Kubernetes, as at RedisRegion: in Fargate, in the VPC of its ElastiCache. It is reached by its load balancer, whose name resolves
   * everywhere; the VPCs have to be joined. Its links are open to the `agentCidrs` of the regions that it is linked with. Only with backend elasticache. Default: none.
   */
  fargate?: FargateTaskArgs;
  /** Where its instance of ApsaraDB is. Needed with backend aliyun. */
  aliyun?: AliyunInstanceArgs;
  /** Where its instance of TencentDB is. Needed with backend tencent. */
  tencent?: TencentInstanceArgs;
  /** PEM of the authority that signs a managed service's certificates, as at RedisRegion. Default: those that any system trusts. */
  redisCaPem?: pulumi.Input<string>;
  /** Networks that a managed Redis is in, in CIDR notation. Needed with `networkPolicy`, but with `fargate`. */
  redisCidrs?: pulumi.Input<string[]>;
  /** Context of the kubeconfig for the region's cluster, where a managed Redis' agent is, too. Default: the current one, or the provider that the component was given. */
  context?: string;
  /** Kubeconfig of the region's cluster, its text or its path. Default: the one in the environment. */
  kubeconfig?: pulumi.Input<string>;
  /** Namespace of everything. Default: `redis-` and the region's name. */
  namespace?: string;
  /** Make the namespace. Default: true. */
  createNamespace?: boolean;
  /**
   * Where the agents in other clusters reach this region's agent, `host` or `host:port`: a gateway's or load balancer's. Needed where linked regions
   * are in different clusters; where Redis is a cluster with `{shard}` in it, the shard's number. Default: its Service, which only its own cluster knows; with `fargate` its load balancer.
   */
  agentHost?: string;
  /**
   * Networks behind `agentHost`, and that the agent calls from, in CIDR notation, for the others' NetworkPolicies and security groups; plain where one of these regions
   * has `fargate`. Default: none.
   */
  agentCidrs?: pulumi.Input<string[]>;
  /** Replicas of the primary; more than `redis.replicas` says for all. Default: that. */
  replicas?: number;
  /** The most replicas that autoscaling may add up to. Default: as `redis.replicasMax`. */
  replicasMax?: number;
  /** Replicas that must acknowledge, or the primary takes no writes; the agent counts as one. Default: as `redis.minReplicasToWrite`, or as RedisRegion has it. */
  minReplicasToWrite?: number;
  /** Istio's locality of its nodes, for `traffic`: `region`, `region/zone` or `region/zone/subzone`. Default: the name. */
  locality?: string;
  /** Istio's network of its cluster, for `traffic`. Default: all regions are in one. */
  istioNetwork?: string;
  /**
   * Where clients in other clusters reach its Redis, for `traffic`: its east-west gateway where `istioNetwork` is another, else an address of its own. Needed where
   * regions are in different clusters. Default: its Service.
   */
  trafficHost?: pulumi.Input<string>;
  /** Namespaces of its clients, for `traffic`. Default: all; its own where regions share a cluster, as their rules have one name for Redis. */
  clientNamespaces?: string[];
}

export interface ActiveActiveRedisArgs extends CertificateArgs {
  /** Name of the stack, in certificates; agents of different stacks refuse each other. */
  stack: string;
  /** The regions, at least two, in an order that decides the neighbours in a ring. */
  regions: MeshRegion[];
  /** A PeerTopology: who talks to whom. Default: mesh, the least lag. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /** Image of the agent, in production by digest. */
  agentImage: pulumi.Input<string>;
  /** Users of the applications and their rules on commands. Default: app, read, admin, as at RedisCredentials. */
  users?: { [user: string]: string[] };
  /** Certificate authorities, by names of your choice; see RedisSecurity. Default: `[a]`. */
  authorities?: string[];
  /** Passwords of each user, by names of your choice; see RedisSecurity. Default: `[a, b]`. */
  passwords?: string[];
  /** Let only the mesh, its clients and monitoring reach the pods. Default: true. */
  networkPolicy?: boolean;
  /** Who else may reach the pods, and whom they reach. Default: what RedisNetworkPolicy has. */
  network?: NetworkTuningArgs;
  /** The service mesh of the clusters, a Mesh. Default: none. */
  serviceMesh?: Mesh;
  /** The nodes of every region's Redis; of managed ones as at RedisRegion. Default: what KubernetesRedis has. */
  redis?: RedisNodesArgs;
  /**
   * Some regions are managed Redis, which gives no replication stream: whole keys are merged there, the last writer wins, and counters don't add up anywhere that
   * such a region counts. True says that this is known and accepted; the mode of these regions is async. Default: false, and such a mesh is refused.
   */
  acceptWholeKeyMerge?: boolean;
  /** The slots of each shard of a cluster, as at RedisRegion; in all regions. Default: as `redis-cli --cluster create` gives them out. */
  slots?: string[];
  /** Every region's agent, of a cluster each of its agents. Default: what SyncAgent has. */
  agent?: AgentTuningArgs;
  /** One name for the Redis of all regions, by Istio: a RegionalTraffic in each. Default: none, clients connect to their own region's Service. */
  traffic?: MeshTrafficArgs;
  /**
   * What watches every region, by the Prometheus operator: a RedisMonitoring in each, `{}` for one with its defaults; what follows from Redis and the agent is filled
   * in. Dashboards are made once in each cluster. Default: none.
   */
  monitoring?: MonitoringTuningArgs;
}

export const spaceOf = (region: MeshRegion): string => region.namespace ?? namespaceOf(region.name);

/** Whether something of a region is in Kubernetes. */
export const isInCluster = ({ fargate }: MeshRegion): boolean => fargate === undefined;

export const isSameCluster = (a: MeshRegion, b: MeshRegion): boolean =>
  a === b || (isInCluster(a) && isInCluster(b) && a.context === b.context && a.kubeconfig === b.kubeconfig);

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: ActiveActiveRedisArgs): ConfigIssue[] {
  const { regions } = args;
  const names = regions.map((region) => region.name);
  const spaces = regions.map((region) =>
    isInCluster(region)
      ? `${region.context ?? ''} ${region.kubeconfig === undefined ? '' : region.name} ${spaceOf(region)}`
      : `fargate ${region.name}`,
  );
  const graph = topologyOf(args);
  const isStar = graph.kind === 'star';
  const issues = [
    ...namesList('regions', names, 2),
    ...rule(
      regions.filter(({ primary }) => primary === true).length === 1,
      'regions',
      'none or several with primary',
      'one with primary',
    ),
    ...spaces.flatMap((space, i) =>
      rule(
        spaces.indexOf(space) === i,
        `regions[${i}].namespace`,
        spaceOf(regions[i]!),
        'a namespace for each region of a cluster',
      ),
    ),
    ...regions.flatMap((region, i) => oneOf(`regions[${i}].mode`, region.mode, ReplicationMode)),
    ...regions.flatMap((region, i) =>
      whole(`regions[${i}].minReplicasToWrite`, region.minReplicasToWrite, 0, 6, 'replicas, the agent included'),
    ),
    ...rule(
      !isStar || names.includes(graph.kind === 'star' ? graph.hub : ''),
      'hub',
      args.hub,
      `one of ${names.join(', ')}`,
    ),
    ...regions.flatMap((region, i) => placeIssues(region, args.networkPolicy !== false, `regions[${i}].`)),
    ...regions.flatMap((region, i) =>
      (['context', 'kubeconfig'] as const).flatMap((key) =>
        rule(
          isInCluster(region) || region[key] === undefined,
          `regions[${i}].${key}`,
          'a value, with fargate',
          'nothing: such a region has nothing in Kubernetes',
        ),
      ),
    ),
    ...rule(
      args.monitoring === undefined || regions.some(isInCluster),
      'monitoring',
      'a value, with fargate at every region',
      "nothing: alerts, scraping and dashboards are the Prometheus operator's, in Kubernetes",
    ),
    ...trafficIssues(args),
    ...issuerIssues(args),
  ];
  if (issues.length > 0) return issues;
  const unlike = [...mergeIssues(args), ...shardsIssues(args)];
  if (unlike.length > 0) return unlike;
  return regions.flatMap((region, i) => {
    const far = regions.filter(
      (peer) => peersOf(peer.name, graph, names).includes(region.name) && !isSameCluster(peer, region),
    );
    const namesOf = (some: readonly MeshRegion[]): string => some.map((peer) => peer.name).join(', ');
    const policed = args.networkPolicy === false ? [] : far.filter(isInCluster);
    const guarded = far.filter((peer) => !isInCluster(peer));
    return [
      ...rule(
        region.agentHost !== undefined || far.length === 0 || !isInCluster(region),
        `regions[${i}].agentHost`,
        'nothing',
        `where the agents of ${namesOf(far)}, in other clusters, reach it`,
      ),
      ...rule(
        region.agentCidrs !== undefined || policed.length === 0,
        `regions[${i}].agentCidrs`,
        'nothing',
        `the networks behind agentHost, for the NetworkPolicies of ${namesOf(policed)}; or networkPolicy false`,
      ),
      ...rule(
        Array.isArray(region.agentCidrs) || guarded.length === 0,
        `regions[${i}].agentCidrs`,
        region.agentCidrs === undefined ? 'nothing' : 'an output',
        `the networks that its agent calls from, a plain list, for the security groups of ${namesOf(guarded)}`,
      ),
    ];
  });
}

/** Shards are linked with those of the same slots. */
function shardsIssues({ regions, redis }: ActiveActiveRedisArgs): ConfigIssue[] {
  const counts = regions.map((region) => shardsOf({ ...region, redis }));
  const isCluster = counts.some((count) => count > 1);
  return [
    ...rule(
      new Set(counts).size === 1,
      'regions',
      regions.map(({ name }, i) => `${counts[i]} ${counts[i] === 1 ? 'shard' : 'shards'} at ${name}`).join(', '),
      'as many in every region: each is linked with that of the same slots',
    ),
    ...regions.flatMap(({ agentHost }, i) =>
      rule(
        !isCluster || agentHost === undefined || agentHost.includes(shardMark),
        `regions[${i}].agentHost`,
        JSON.stringify(agentHost),
        markedHost,
      ),
    ),
  ];
}

/** Agents of one mesh trust one root. */
function issuerIssues({ issuer, regions }: ActiveActiveRedisArgs): ConfigIssue[] {
  const outside = regions.filter((region) => !isInCluster(region)).map(({ name }) => name);
  return rule(
    issuer !== CertificateIssuer.CertManager || outside.length === 0,
    'issuer',
    `${issuer ?? ''}, with fargate at ${outside.join(', ')}`,
    `${CertificateIssuer.Pulumi}: cert-manager is in Kubernetes, and all agents trust one root`,
  );
}

export const backendOf = ({ backend }: MeshRegion): RegionBackend => backend ?? RegionBackend.Kubernetes;

export const modeOf = ({ agent }: ActiveActiveRedisArgs, { mode }: MeshRegion): ReplicationMode =>
  mode ?? agent?.mode ?? ReplicationMode.SemiSync;

/** What a region without a replication stream takes from all: it has to be known and accepted. */
function mergeIssues(args: ActiveActiveRedisArgs): ConfigIssue[] {
  const { regions, acceptWholeKeyMerge } = args;
  const managed = regions.filter((region) => isManaged(backendOf(region)));
  if (managed.length === 0) return [];
  const theirs = managed.map((region) => `${region.name} (${backendOf(region)})`).join(', ');
  return [
    ...rule(
      acceptWholeKeyMerge === true,
      'acceptWholeKeyMerge',
      `false, with ${theirs}`,
      'true: these services give no replication stream, so whole keys are merged there and counters do not add up',
    ),
    ...regions.flatMap((region, i) =>
      rule(
        !managed.includes(region) || modeOf(args, region) === ReplicationMode.Async,
        `regions[${i}].mode`,
        `${modeOf(args, region)}, with backend ${backendOf(region)}`,
        `${ReplicationMode.Async} (here or as agent.mode): the agent is no replica there, and can hold back no acknowledgement`,
      ),
    ),
  ];
}

/** What RegionalTraffic itself can't know; the rest it refuses by itself. */
function trafficIssues({ traffic, regions, serviceMesh }: ActiveActiveRedisArgs): ConfigIssue[] {
  if (traffic === undefined) return [];
  const { by, distribute = {} } = traffic;
  const weights = regions.map(({ weight = 0 }) => weight);
  const sum = weights.reduce((a, b) => a + b, 0);
  const isByWeights = by === TrafficBy.Weights;
  const others = regions.filter((region) => backendOf(region) !== RegionBackend.Kubernetes);
  return [
    ...oneOf('traffic.by', by, TrafficBy),
    ...rule(
      others.length === 0,
      'traffic',
      `a name, with ${others.map((region) => `${region.name} (${backendOf(region)})`).join(', ')}`,
      "only with backend kubernetes at every region: a provider's certificate does not carry this name",
    ),
    ...rule(serviceMesh === Mesh.Sidecar, 'serviceMesh', serviceMesh, `${Mesh.Sidecar}, with traffic`),
    ...rule(
      !isByWeights || sum === 100,
      'regions',
      `weights ${weights.join(' + ')} = ${sum}`,
      'weights with a sum of 100',
    ),
    ...rule(
      !isByWeights || Object.keys(distribute).length === 0,
      'traffic.distribute',
      'shares, with by: weights',
      'only with by: locality',
    ),
    ...regions.flatMap((region, i) =>
      rule(
        region.trafficHost !== undefined || regions.every((other) => isSameCluster(other, region)),
        `regions[${i}].trafficHost`,
        'nothing',
        'where clients in other clusters reach its Redis, with traffic',
      ),
    ),
  ];
}
