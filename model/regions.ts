import * as z from 'zod';

import { Capture } from './capture';
import { choice, cidr, flag, mode, namespaceName, section, text, whole } from './fields';

/** How a region's Redis comes to be. */
const backend = choice('kubernetes', 'elasticache', 'memorydb', 'aliyun', 'tencent', 'local');
export type Backend = z.output<typeof backend>;

/** The namespace that a region has by default. */
export const namespaceOf = (region: string): string => `redis-${region}`;

/** Becomes part of names of Services, Pods and certificates; the limit leaves room for what is put after it. */
const regionName = text(
  /^(?=.{1,40}$)[a-z]([a-z0-9-]*[a-z0-9])?$/,
  'a DNS label: 1 to 40 lower-case letters, digits and hyphens, starting with a letter, ending with no hyphen',
);

const id = (what: string) => text(/^\S+$/, what);
const ownName = text(/^[a-z][a-z0-9-]*$/, 'a name of your choice');
const clientCidrs = z.record(ownName, cidr, 'a mapping of names to networks');
const caPem = text(/^-----BEGIN CERTIFICATE-----/, 'a certificate, PEM');

/** A region on ElastiCache. What isn't here: see ElastiCacheRedis. */
const elasticacheSchema = section({
  /** A cache without nodes. It has no parameters, so that no agent learns of changes: it can be no region of a mesh, and is refused. Default: false. */
  serverless: flag().default(false),
  /** VPC of the region. */
  vpcId: id('the ID of a VPC'),
  /** Subnets in two zones or more. */
  subnetIds: z.array(id('the ID of a subnet'), 'a list of subnets').min(2, 'two or more, in different zones'),
  /** Security groups whose members may connect, by names of your choice: that of the cluster's nodes, where the agent is, among them, but with `fargate`. Default: none. */
  clientSecurityGroups: z.record(ownName, id('the ID of a security group'), 'a mapping of names to IDs').default({}),
  /** Networks from which clients may connect, by names of your choice. Default: none. */
  clientCidrs: clientCidrs.default({}),
  /** Size of a node, which decides how much fits. Default: cache.r7g.xlarge, 16 GiB of data. */
  nodeType: id('a node type, such as cache.r7g.xlarge').optional(),
  /** `redis.engine` is for Kubernetes. Default: valkey. */
  engine: choice('valkey', 'redis').optional(),
  /** `major.minor`; `redis.version` is for Kubernetes. Default: 8.0 of Valkey, 7.1 of Redis. */
  engineVersion: text(/^\d+\.\d+$/, "a version in quotes, such as '8.0'").optional(),
  /** KMS key for data at rest. Default: ElastiCache's own. A change makes a new, empty Redis. */
  kmsKeyArn: id('an ARN').optional(),
  /** First part of the users' IDs, which are unique in an account and region. Default: `redis-` and the region's name. */
  idPrefix: text(/^[a-z][a-z0-9-]*$/, 'a DNS label').optional(),
  /** Accept two passwords of each user; see ElastiCacheRedis. Default: false. */
  passwordOverlap: flag().default(false),
  /** How long daily snapshots are kept. Default: 7, in a cache 1. */
  snapshotRetentionDays: whole(0, 35, 'days').optional(),
});

/** An agent in Fargate. What isn't here: see FargateSyncAgent. */
const fargateSchema = section({
  /**
   * Private subnets in the VPC of its ElastiCache, each in a zone of its own, by names of your choice. From there the image's registry, Secrets Manager and CloudWatch
   * Logs must be reached: by NAT or VPC endpoints.
   */
  subnetIds: z
    .record(ownName, id('the ID of a subnet'), 'a mapping of names to IDs')
    .refine((subnets) => Object.keys(subnets).length >= 2, 'two or more, in different zones'),
  /** An ECS cluster. Default: one is made. */
  clusterArn: id('an ARN').optional(),
  /** The image's repository in ECR, from which alone may be pulled. Default: none; the image's registry asks for no login. */
  repositoryArn: id('an ARN').optional(),
  /** What the image is built for. Default: X86_64. */
  architecture: choice('X86_64', 'ARM64').optional(),
  /** In units of 1/1024. Default: 1024. */
  cpu: whole(512, 4096).optional(),
  /** Beyond it the agent is killed. Default: twice `cpu`: 2048. */
  memoryMb: whole(1024, 32_768, 'MiB').optional(),
  /** Security groups whose members may read /metrics and /status, by names of your choice. Default: none. */
  adminSecurityGroups: z.record(ownName, id('the ID of a security group'), 'a mapping of names to IDs').default({}),
  /** Networks from which these may be read, by names of your choice. Default: none. */
  adminCidrs: clientCidrs.default({}),
  /** KMS key for its journal and secrets. Default: AWS' own. A change makes a new, empty journal. */
  kmsKeyArn: id('an ARN').optional(),
  /** How long the log is kept in CloudWatch, of those that it knows. Default: 30. */
  logRetentionDays: whole(1, 3653, 'days').optional(),
});

/** A region on Alibaba Cloud. What isn't here: see AliyunRedis. */
const aliyunSchema = section({
  /** Zone of the primary, such as cn-hangzhou-h. */
  zoneId: id('the ID of a zone'),
  /** Zone of the replica. */
  secondaryZoneId: id('the ID of a zone'),
  /** VSwitch in the primary's zone. */
  vswitchId: id('the ID of a VSwitch'),
  /** Networks from which clients, the agent among them, may connect, by names of your choice. */
  clientCidrs,
  /** Authority of the service's certificates, PEM, as its console offers it. Default: those that any system trusts, which it isn't among. */
  caPem: caPem.optional(),
  /** Size. Default: redis.master.large.default, 8 GB. */
  instanceClass: id('the class of an instance').optional(),
  /** 6.0 or 7.0. Default: 7.0. */
  engineVersion: choice('6.0', '7.0').optional(),
});

/** A region on Tencent Cloud. What isn't here: see TencentRedis. */
const tencentSchema = section({
  /** Zone of the primary, such as ap-guangzhou-3. */
  zone: id('the name of a zone'),
  /** Zone of the replica, by the service's number of it. */
  replicaZoneId: whole(10_001, 999_999, "the service's number of a zone"),
  /** VPC of the region. */
  vpcId: id('the ID of a VPC'),
  /** Subnet in the primary's zone. */
  subnetId: id('the ID of a subnet'),
  /** Networks from which clients, the agent among them, may connect, by names of your choice. */
  clientCidrs,
  /** Authority of the service's certificates, PEM, as its console offers it. Default: those that any system trusts, which it isn't among. */
  caPem: caPem.optional(),
  /** Memory. Default: 16384. */
  memoryMb: whole(256, 65_536, 'MB').optional(),
});

export const regionSchema = section({
  /** Unique in the stack, a DNS label. Usually the cloud's own name of the region. Changing it makes a new region. */
  name: regionName,
  /**
   * Percent of the traffic that this region gets, of users who are not in any region. All together are 100.
   * Default: when no region says it, equal parts.
   */
  weight: whole(0, 100, 'percent').optional(),
  /**
   * Exactly one region is the primary: the first in failover decisions and the default hub of a star.
   * It is no better for writes than the others: every region takes them. Default: false.
   */
  primary: flag().default(false),
  /**
   * What runs Redis here. `local` is processes on this machine, for development and tests, and is never mixed with
   * others. The managed ones refuse to be replicated from (PSYNC) and so merge whole keys: see
   * `replication.acceptWholeKeyMerge`. Default: kubernetes.
   */
  backend: backend.default('kubernetes'),
  /**
   * How the sync agent learns what clients write here (docs/managed.md): `notifications` in a region with backend `local` is for trying out what a
   * managed Redis does; elsewhere the backend decides. Default: psync where the backend has it, else notifications.
   */
  capture: choice(Capture.Psync, Capture.Notifications).optional(),
  /**
   * When what clients write here counts as replicated, as `replication.mode`: by region, for a region with capture by notifications can be `async` only, beside
   * others in semi-sync. It says nothing of the other regions' writes, and they count this one's journal as any other. Default: `replication.mode`.
   */
  mode: mode.optional(),
  /** The cloud's name of the region, where `name` is another. Default: `name`. */
  providerRegion: text(/^[a-z0-9-]+$/, "the provider's name of a region, such as us-west-2").optional(),
  /** Istio's locality, `region`, `region/zone` or `region/zone/subzone`, for traffic. Default: `providerRegion`. */
  locality: text(/^[^/\s*]+(\/[^/\s*]+){0,2}$/, 'region, region/zone or region/zone/subzone').optional(),
  /** Namespace of the region, in its Kubernetes cluster; of a managed Redis' agent, too. Default: `redis-` and its name. */
  namespace: namespaceName.optional(),
  /** Context of the kubeconfig for the region's cluster. Default: the current one, one cluster for all. */
  context: text(/\S/, 'the name of a context of the kubeconfig').optional(),
  /** Path of the kubeconfig of the region's cluster. Default: KUBECONFIG, else ~/.kube/config. */
  kubeconfig: text(/\S/, 'the path of a kubeconfig').optional(),
  /**
   * Where agents in other clusters reach this region's, `host` or `host:port`. Needed where linked regions have
   * different contexts. Default: the agent's Service; with `fargate` its load balancer.
   */
  agentHost: text(/^[^\s:]+(:\d{1,5})?$/, '`host` or `host:port`').optional(),
  /**
   * Networks that are behind `agentHost`, and that this region's agent calls from: what the other regions' NetworkPolicies and security groups let out and in.
   * Needed with `agentHost`, but where there are none (`security.networkPolicy`), and at regions that are linked with one in Fargate.
   */
  agentCidrs: z.array(cidr, 'a list of networks in CIDR notation').min(1, 'one network or more').optional(),
  /** Istio's network of the region's cluster (`topology.istio.io/network`), for traffic. Default: all are in one. */
  istioNetwork: text(/\S/, 'the name of a network').optional(),
  /**
   * Where clients of other clusters reach this region's Redis, for traffic: its east-west gateway where `istioNetwork` is another, else an address of
   * its own. Needed with `traffic.host` where regions have different contexts. Default: its Service.
   */
  trafficHost: text(/^[^\s:]+$/, 'a host').optional(),
  /**
   * Namespaces of this region's clients, for traffic: whom its rules are for. Default: all, and where regions share a cluster the
   * region's own, for there every region's rules have the same name for Redis.
   */
  clientNamespaces: z
    .array(text(/\S/, 'the name of a namespace'), 'a list of namespaces')
    .min(1, 'one or more')
    .optional(),
  /** Replicas of the primary inside the region, which Sentinel may promote. Default: 1. */
  replicas: whole(0, 5).default(1),
  /** The most replicas that autoscaling at 70 % CPU may add up to (Kubernetes only). Default: 3. */
  replicasMax: whole(0, 5).default(3),
  /** Where its Redis is, with backend elasticache. */
  elasticache: elasticacheSchema.optional(),
  /**
   * Where its agent is, with backend elasticache: as a service of Fargate, in place of a pod in Kubernetes. Of such a region nothing is in a cluster: no Secrets with
   * users (the stack's output `userPasswords` has them), no NetworkPolicies, no monitoring. Its load balancer is open to the `agentCidrs` of those that it is linked
   * with. Default: none, a pod.
   */
  fargate: fargateSchema.optional(),
  /** Where its Redis is, with backend aliyun. */
  aliyun: aliyunSchema.optional(),
  /** Where its Redis is, with backend tencent. */
  tencent: tencentSchema.optional(),
  /**
   * Networks that a managed Redis is in: what the NetworkPolicies let its agent and exporter out to. Needed with the managed backends, but with `fargate`, and where
   * there are no NetworkPolicies (`security.networkPolicy`).
   */
  redisCidrs: z.array(cidr, 'a list of networks in CIDR notation').min(1, 'one network or more').optional(),
  /**
   * Path of this region's redis-server or valkey-server, for backend `local` only: a mesh of mixed versions on one
   * machine. Default: the one that is found for all.
   */
  redisServer: text(/\S/, 'the path of a redis-server or valkey-server').optional(),
});

/** `meridian:regions`, in an order that decides the neighbours in a ring and the order in tables. */
export const regionsSchema = z
  .array(regionSchema, 'a list of at least two regions, each a mapping with name, weight, primary, backend, …')
  .min(2, 'at least two regions: with one there is nobody to replicate to')
  .max(64, 'at most 64 regions');
