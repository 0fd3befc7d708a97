import type * as pulumi from '@pulumi/pulumi';

import { capabilities, Capture, captureOf, type ConfigIssue, demandIssues } from '../../model';
import {
  type AgentMember,
  type AgentTuningArgs,
  type FargateTaskArgs,
  type PeerTopology,
  ReplicationMode,
} from '../agent';
import { type AliyunInstanceArgs } from '../aliyun';
import { type ElastiCacheNodesArgs } from '../aws';
import { dnsLabel, oneOf, type OptionalPackage, rule } from '../common';
import { type RedisNodesArgs } from '../kubernetes';
import { type MonitoringTuningArgs } from '../monitoring';
import { type Mesh, type NetworkTuningArgs } from '../network';
import { type CertificateArgs, CertificateIssuer } from '../security';
import { type TencentInstanceArgs } from '../tencent';

/** What runs a region's Redis. What each can do: model/capabilities.ts. */
export const RegionBackend = {
  /** Pods that are ours: KubernetesRedis. */
  Kubernetes: 'kubernetes',
  /** AWS, by nodes: ElastiCacheRedis. Its agent runs in the region's Kubernetes cluster, as that of the two below, or in Fargate. */
  ElastiCache: 'elasticache',
  /** AWS' durable Redis. It is no member of a mesh, and is refused. */
  MemoryDb: 'memorydb',
  /** Alibaba Cloud: AliyunRedis. */
  Aliyun: 'aliyun',
  /** Tencent Cloud: TencentRedis. */
  Tencent: 'tencent',
  /** Processes of one machine. They are started together, by LocalMesh, so that a single region is refused. */
  Local: 'local',
} as const;
export type RegionBackend = (typeof RegionBackend)[keyof typeof RegionBackend];

export interface RedisRegionArgs extends CertificateArgs {
  /** Name of the region, one of `members`. */
  region: string;
  /** Name of the stack; agents of different stacks refuse each other. */
  stack: pulumi.Input<string>;
  /** What runs its Redis; a RegionBackend. Default: kubernetes. */
  backend?: RegionBackend;
  /**
   * Where its agent runs, in place of Kubernetes: as a FargateSyncAgent in the VPC of its ElastiCache. Then nothing of the region is in a cluster: no namespace, no
   * Secrets with users (`userPasswords` has them), no NetworkPolicies, no monitoring. Of `agent` its figures count, and nothing that is of a pod. Only with backend
   * elasticache. Default: none, the agent is a pod.
   */
  fargate?: FargateTaskArgs;
  /** Namespace of everything in the region's cluster. One region each. Default: `redis-` and the region's name. */
  namespace?: string;
  /** Make the namespace. Default: true. */
  createNamespace?: boolean;
  /** Image of the agent, in production by digest. */
  agentImage: pulumi.Input<string>;

  /** All regions of the mesh, in the stack's order. */
  members: AgentMember[];
  /** A PeerTopology. Default: mesh. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /**
   * Where the agents of the other regions are reached, `host` or `host:port`, by region: of those at least that this one is linked with. Where Redis is a cluster with `{shard}` in
   * the place of the shard's number: each has an agent of its own.
   */
  peerHosts: { [region: string]: pulumi.Input<string> };
  /** Namespaces of the regions that are in this very cluster, by region, for the NetworkPolicies. Default: none. */
  peerNamespaces?: { [region: string]: pulumi.Input<string> };
  /** Addresses of the agents of regions that are not, in CIDR notation, by region; plain lists with `fargate`. Default: none. */
  peerCidrs?: { [region: string]: pulumi.Input<string[]> };
  /** Names by which other clusters reach this region's agent, for its certificate. Default: none. */
  agentHosts?: pulumi.Input<pulumi.Input<string>[]>;
  /** More names by which clients reach its Redis, for its certificate, such as `host` of RegionalTraffic. Default: none but its Services. */
  redisHosts?: pulumi.Input<string>[];

  /** `userPasswords` of RedisSecurity. */
  userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /** `caBundlePem` of RedisSecurity. Needed with issuer `pulumi`. */
  caBundlePem?: pulumi.Input<string>;
  /** `caCertPem` of RedisSecurity. Needed with issuer `pulumi`. */
  caCertPem?: pulumi.Input<string>;
  /** `caPrivateKeyPem` of RedisSecurity. Needed with issuer `pulumi`. */
  caPrivateKeyPem?: pulumi.Input<string>;
  /** Users of the applications and their rules on commands, as at RedisCredentials. Default: app, read, admin. */
  users?: { [user: string]: string[] };
  /** Let only the mesh, its clients and monitoring reach the pods. Default: true. */
  networkPolicy?: boolean;
  /** Who else may reach the pods, and whom they reach. Default: what RedisNetworkPolicy has. */
  network?: NetworkTuningArgs;
  /** The service mesh of the cluster, a Mesh: what it needs is allowed. Default: none. */
  serviceMesh?: Mesh;

  /**
   * The nodes of its Redis. Of a managed one `use`, `protect`, `retainOnDelete` and `clusterDomain` count, and nothing else. Default: what KubernetesRedis has; but `minReplicasToWrite` follows from `replicas` and the agent's mode: one of the replicas, and in
   * semi-sync the agent too.
   */
  redis?: RedisNodesArgs;
  /** Where its ElastiCache is, and what it's like. Needed with backend elasticache. */
  elasticache?: ElastiCacheNodesArgs;
  /** Where its instance of ApsaraDB is, and what it's like. Needed with backend aliyun. */
  aliyun?: AliyunInstanceArgs;
  /** Where its instance of TencentDB is, and what it's like. Needed with backend tencent. */
  tencent?: TencentInstanceArgs;
  /**
   * PEM of the authority that signs a managed service's certificates, as its console offers it. Default: those that any system trusts, which Amazon's is among, Alibaba
   * Cloud's and Tencent Cloud's are not.
   */
  redisCaPem?: pulumi.Input<string>;
  /** Networks that a managed Redis is in, in CIDR notation: its agent and exporter are let out to them. Needed with `networkPolicy`, but with `fargate`. */
  redisCidrs?: pulumi.Input<string[]>;
  /**
   * A managed Redis gives no replication stream: whole keys are merged, the last writer wins, and counters that such a region counts don't add up. True says that
   * this is known and accepted. Needed with the managed backends. Default: false.
   */
  acceptWholeKeyMerge?: boolean;
  /**
   * The slots of each shard of a cluster, such as `['0-8191', '8192-16383']`, the same in all regions; where they are others, its agents stop. Default: as `redis-cli --cluster create` gives them to so
   * many shards.
   */
  slots?: string[];
  /** Its agent, or where Redis is a cluster each of its agents. Default: what SyncAgent has. */
  agent?: AgentTuningArgs;
  /**
   * What watches it, by the Prometheus operator: a RedisMonitoring, `{}` for one with its defaults. What follows from Redis and the agent is filled in. Default: none.
   */
  monitoring?: MonitoringTuningArgs;
}

export { namespaceOf } from '../../model/regions';

/** What the agent of the region component `name` is called, where Redis is a cluster that of a shard. */
export const agentNameOf = (name: string, shard?: number | string): string =>
  shard === undefined ? `${name}-agent` : `${name}-agent-${shard}`;

/** Whether a backend's Redis gives no replication stream: its agent captures by notifications. */
export const isManaged = (backend: RegionBackend): boolean => captureOf(backend) === Capture.Notifications;

/** What a region's resources are made with, that not everybody has installed. The agent is a pod, but with `fargate`; Tencent Cloud's needs no package. */
export function packagesOf({ backend, fargate }: Pick<RedisRegionArgs, 'backend' | 'fargate'>): OptionalPackage[] {
  return [
    ...(fargate === undefined ? (['@pulumi/kubernetes'] as const) : []),
    ...(backend === RegionBackend.ElastiCache ? (['@pulumi/aws'] as const) : []),
    ...(backend === RegionBackend.Aliyun ? (['@pulumi/alicloud'] as const) : []),
  ];
}

/** Those whose arguments stand in a group of their own. */
const services = [RegionBackend.ElastiCache, RegionBackend.Aliyun, RegionBackend.Tencent] as const;

/** The arguments that say where a region's Redis is, of a RedisRegion or of a region of a mesh. */
type Place = Pick<
  RedisRegionArgs,
  (typeof services)[number] | 'backend' | 'fargate' | 'namespace' | 'redisCidrs' | 'redisCaPem'
>;

/** What of a region can't be: its backend can't do it, or what it needs isn't said. */
export function placeIssues(
  { backend = RegionBackend.Kubernetes, ...place }: Place,
  networkPolicy: boolean,
  at = '',
): ConfigIssue[] {
  const unknown = oneOf(`${at}backend`, backend, RegionBackend);
  if (unknown.length > 0) return unknown;
  const { mesh } = capabilities[backend];
  if (!mesh.is)
    return rule(false, `${at}backend`, backend, `a backend that joins the mesh: ${mesh.reason} (${mesh.source})`);
  if (backend === RegionBackend.Local)
    return rule(
      false,
      `${at}backend`,
      backend,
      'a backend that has one region by itself: the processes of one machine are started together, by LocalMesh',
    );
  const managed = isManaged(backend);
  const only = (key: 'redisCidrs' | 'redisCaPem'): ConfigIssue[] =>
    rule(
      managed || place[key] === undefined,
      `${at}${key}`,
      `a value, with backend ${backend}`,
      'only with a managed backend',
    );
  return [
    ...services.flatMap((service) => [
      ...rule(
        backend !== service || place[service] !== undefined,
        `${at}${service}`,
        'nothing',
        `a value, with backend ${service}`,
      ),
      ...rule(
        backend === service || place[service] === undefined,
        `${at}${service}`,
        `a value, with backend ${backend}`,
        `only with backend ${service}`,
      ),
    ]),
    ...only('redisCidrs'),
    ...only('redisCaPem'),
    ...rule(
      place.fargate === undefined || backend === RegionBackend.ElastiCache,
      `${at}fargate`,
      `a value, with backend ${backend}`,
      `only with backend ${RegionBackend.ElastiCache}`,
    ),
    ...(['namespace', 'redisCidrs'] as const).flatMap((key) =>
      rule(
        place.fargate === undefined || place[key] === undefined,
        `${at}${key}`,
        'a value, with fargate',
        'nothing: such a region has nothing in Kubernetes',
      ),
    ),
    ...rule(
      !managed || !networkPolicy || place.fargate !== undefined || place.redisCidrs !== undefined,
      `${at}redisCidrs`,
      'nothing',
      'the networks that its Redis is in, or networkPolicy false',
    ),
  ];
}

/** cert-manager is in Kubernetes. What its part asks for is said here, where it is optional. */
function fargateCertificateIssues({ fargate, issuer, ...args }: RedisRegionArgs): ConfigIssue[] {
  if (fargate === undefined) return [];
  if (issuer === CertificateIssuer.CertManager)
    return rule(
      false,
      'issuer',
      `${issuer}, with fargate`,
      `${CertificateIssuer.Pulumi}: cert-manager is in Kubernetes`,
    );
  return (['caBundlePem', 'caCertPem', 'caPrivateKeyPem'] as const).flatMap((key) =>
    rule(args[key] !== undefined, key, 'nothing', 'a value, with fargate'),
  );
}

/** Everything that is wrong with the plain arguments of a region by itself, but for what its service finds. */
export function regionIssues(args: RedisRegionArgs): ConfigIssue[] {
  const { backend = RegionBackend.Kubernetes, redis = {}, agent } = args;
  const issues = [
    ...dnsLabel('region', args.region),
    ...(args.namespace === undefined ? [] : dnsLabel('namespace', args.namespace, 63)),
    ...placeIssues(args, args.networkPolicy !== false),
  ];
  if (issues.length > 0) return issues;
  if (!isManaged(backend)) return demandIssues(backend, { capture: captureOf(backend) });
  return [
    ...rule(
      args.acceptWholeKeyMerge === true,
      'acceptWholeKeyMerge',
      `false, with backend ${backend}`,
      'true: the service gives no replication stream, so whole keys are merged there and counters do not add up',
    ),
    ...rule(
      agent?.mode !== ReplicationMode.SemiSync,
      'agent.mode',
      `${ReplicationMode.SemiSync}, with backend ${backend}`,
      `${ReplicationMode.Async}: the agent is no replica there, and can hold back no acknowledgement`,
    ),
    ...fargateCertificateIssues(args),
    ...rule(
      args.fargate === undefined || args.monitoring === undefined,
      'monitoring',
      'a value, with fargate',
      "nothing: alerts, scraping and dashboards are the Prometheus operator's, in Kubernetes",
    ),
    ...rule(
      redis.tls !== false,
      'redis.tls',
      `false, with backend ${backend}`,
      'true: the services are reached over TLS only',
    ),
  ];
}
