import { z } from 'zod';

import { usersDefault } from './acl';
import { parseSize } from './size';

// The shape of each `meridian:<section>` of a stack's config, one object per section. What a value may be is said once,
// in words, as the message of its schema: an error then reads "found …; allowed: <these words>".
//
// Pulumi's config knows strings only, where it isn't JSON: `pulumi config set` writes "60" and "true". Numbers and
// booleans are therefore also read from their text.

/** A mapping that knows its keys. The message lists them, so that an unknown one can be answered. */
function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const keys = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? keys.join(', ') : `a mapping with ${keys.join(', ')}`),
  });
}

function fromText(read: (text: string) => unknown) {
  return (value: unknown): unknown => (typeof value === 'string' ? (read(value.trim()) ?? value) : value);
}

const numberFromText = fromText((text) => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined));
const booleanFromText = fromText((text) => ({ true: true, false: false })[text]);

function whole(min: number, max: number, unit = '') {
  const error = `a whole number from ${min} to ${max}${unit && ` (${unit})`}`;
  return z.preprocess(numberFromText, z.number(error).int(error).min(min, error).max(max, error));
}

/** A share of one: 0.8 is 80 %. */
function fraction() {
  const error = 'a number from 0 to 1';
  return z.preprocess(numberFromText, z.number(error).min(0, error).max(1, error));
}

function flag() {
  return z.preprocess(booleanFromText, z.boolean('true or false'));
}

function choice<const Values extends readonly [string, ...string[]]>(...values: Values) {
  return z.enum(values, values.join(', '));
}

/** A size in Redis' notation; bytes once parsed. */
function size(min: string, max = '1024gb') {
  const error = `a size from ${min} to ${max}, such as 256mb or 16gb`;
  const read = fromText(parseSize);
  const bytes = (text: string): number => parseSize(text) ?? 0;
  return z.preprocess(read, z.number(error).int(error).min(bytes(min), error).max(bytes(max), error));
}

function text(pattern: RegExp, error: string) {
  return z.string(error).regex(pattern, error);
}

/** How a region's Redis comes to be. */
const backend = choice('kubernetes', 'elasticache', 'memorydb', 'aliyun', 'tencent', 'local');
export type Backend = z.output<typeof backend>;

const cidr = text(/^[0-9a-f.:]+\/\d{1,3}$/i, 'a network in CIDR notation, such as 10.0.0.0/16');

/** Becomes part of names of Services, Pods and certificates; the limit leaves room for what is put after it. */
const regionName = text(
  /^(?=.{1,40}$)[a-z]([a-z0-9-]*[a-z0-9])?$/,
  'a DNS label: 1 to 40 lower-case letters, digits and hyphens, starting with a letter, ending with no hyphen',
);

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
  /** The cloud's name of the region, where `name` is another. Default: `name`. */
  providerRegion: text(/^[a-z0-9-]+$/, "the provider's name of a region, such as us-west-2").optional(),
  /** Istio's locality, `region`, `region/zone` or `region/zone/subzone`, for traffic. Default: `providerRegion`. */
  locality: text(/^[^/\s*]+(\/[^/\s*]+){0,2}$/, 'region, region/zone or region/zone/subzone').optional(),
  /** The region's namespace (Kubernetes only). Default: `redis-` and its name. */
  namespace: text(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a DNS label of up to 63 characters').optional(),
  /** Context of the kubeconfig for the region's cluster. Default: the current one, one cluster for all. */
  context: text(/\S/, 'the name of a context of the kubeconfig').optional(),
  /** Path of the kubeconfig of the region's cluster. Default: KUBECONFIG, else ~/.kube/config. */
  kubeconfig: text(/\S/, 'the path of a kubeconfig').optional(),
  /**
   * Where agents in other clusters reach this region's, `host` or `host:port`. Needed where linked regions have
   * different contexts. Default: the agent's Service.
   */
  agentHost: text(/^[^\s:]+(:\d{1,5})?$/, '`host` or `host:port`').optional(),
  /**
   * Networks that are behind `agentHost`, and that this region's agent calls from: what the other regions' NetworkPolicies let out and in. Needed with
   * `agentHost`, but where there are none (`security.networkPolicy`).
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

export const replicationSchema = section({
  /**
   * `semi-sync`: the agent acknowledges to Redis what other regions have journalled on disk, so that `WAIT (replicas + 1)`
   * means "another region has it", and a primary that reaches nobody stops taking writes (`maxLagMs`).
   * `async`: acknowledged at once; a region that burns takes its last milliseconds with it. Default: semi-sync.
   */
  mode: choice('async', 'semi-sync').default('semi-sync'),
  /** How many other regions must have journalled a change before it is acknowledged, in semi-sync. Default: 1. */
  semiSyncRegions: whole(1, 63).default(1),
  /** The lag, in milliseconds of data, beyond which a region counts as behind. Default: 1000. */
  maxLagMs: whole(10, 600_000, 'milliseconds').default(1000),
  /** Verify and repair differences between regions without being asked. Default: true. */
  autoHeal: flag().default(true),
  /** Who talks to whom: see model/topology.ts. Default: mesh, the least lag. */
  topology: choice('mesh', 'ring', 'star').default('mesh'),
  /** The middle of a star; only with `topology: star`. Default: the primary region. */
  hub: text(/\S/, 'the name of a region').optional(),
  /**
   * Of what travels between regions. `auto` compresses batches that shrink, and leaves small ones alone: on a long
   * link bandwidth costs more than CPU, on loopback the reverse. Default: auto.
   */
  compression: choice('auto', 'none', 'deflate').default('auto'),
  /**
   * How often the agent writes the time into its Redis' stream, in milliseconds. It is the resolution of stamps and of
   * the measured lag; each beat is one small write. Default: 25.
   */
  heartbeatMs: whole(5, 1000, 'milliseconds').default(25),
  /** The operations kept on disk until every region has them. */
  journal: section({
    /** Disk for one agent's journal, in bytes. When full, the oldest goes, and a region that still lacks it is compared in full. Default: 8gb. */
    maxBytes: size('64mb', '65536gb').default(8 * 1024 ** 3),
    /** Of one file; the journal is dropped file by file. Default: 64mb. */
    segmentBytes: size('1mb', '1gb').default(64 * 1024 ** 2),
  }).prefault({}),
  /**
   * Managed Redis gives no replication stream. A mesh with such a region merges whole keys there, the last writer wins, and
   * counters don't add up. True says that this is known and accepted; without it such a stack is refused. Default: false.
   */
  acceptWholeKeyMerge: flag().default(false),
});

export const redisSchema = section({
  /**
   * `data`: nothing is ever evicted (`noeviction`); a full Redis refuses writes instead of losing keys in silence.
   * `cache`: `allkeys-lru`; each region evicts for itself, eviction is never carried, and a missing key is no difference.
   * Default: data, because an evicted key of a data set is a lost one.
   */
  use: choice('data', 'cache').default('data'),
  /** What is deployed where Meridian chooses the program. Backend `local` runs what the machine has. Default: redis. */
  engine: choice('redis', 'valkey').default('redis'),
  /** Version to deploy, `major.minor` or `major.minor.patch`; 7.0 or newer. Default: 7.2. */
  version: text(/^([7-9]|[1-9]\d)\.\d+(\.\d+)?$/, "a version from 7.0 on, in quotes, such as '7.2'").default('7.2'),
  /** Redis' `maxmemory`, in bytes. Default: 16gb. */
  maxmemory: size('16mb', '4096gb').default(16 * 1024 ** 3),
  /** When the append-only file reaches the disk. `always` costs an fsync per write, `no` leaves it to the kernel. Default: everysec. */
  appendfsync: choice('always', 'everysec', 'no').default('everysec'),
  /** The replication backlog: what a replica, or the sync agent, may miss and still continue without a full resync. */
  backlog: section({
    /** Bytes, at least 1mb. Default: 64mb: about ten minutes of a 100 kB/s stream. */
    size: size('1mb', '16gb').default(64 * 1024 ** 2),
    /** Kept so long after the last replica left. 0: for ever. Default: 3600. */
    ttlSeconds: whole(0, 604_800, 'seconds').default(3600),
  }).prefault({}),
  /** `client-output-buffer-limit replica`: a replica slower than this is cut off, to save the primary's memory. */
  outputBuffer: section({
    /** Bytes at which the link is cut at once. Default: 256mb. */
    hard: size('1mb', '64gb').default(256 * 1024 ** 2),
    /** Bytes at which it is cut when they last `softSeconds`. Default: 64mb. */
    soft: size('1mb', '64gb').default(64 * 1024 ** 2),
    softSeconds: whole(1, 3600, 'seconds').default(60),
  }).prefault({}),
  /** Full syncs sent from memory without a file first: faster where the disk is slow. */
  disklessSync: section({
    /** Default: false. */
    enabled: flag().default(false),
    /** Waiting for further replicas to share one transfer. Default: 5. */
    delaySeconds: whole(0, 60, 'seconds').default(5),
  }).prefault({}),
  /** A primary that too few replicas hear stops taking writes: the guard against two primaries after a partition. */
  minReplicas: section({
    /** Replicas of the region that must be there; never more than the region has. Default: 1. */
    toWrite: whole(0, 5).default(1),
    /** Since the last acknowledgement. Default: 10. */
    maxLagSeconds: whole(1, 3600, 'seconds').default(10),
  }).prefault({}),
});

export const failoverSchema = section({
  /** Act, rather than only report. Default: true. */
  auto: flag().default(true),
  /** From the first failed probe to the decision. Default: 30. */
  timeoutSeconds: whole(1, 3600, 'seconds').default(30),
  /** A standby that lags more than this many seconds of data isn't promoted without a person. Default: 5. */
  dataLossThresholdSeconds: whole(0, 3600, 'seconds').default(5),
  /** Between two health probes of a region. Default: 10. */
  probeIntervalSeconds: whole(1, 600, 'seconds').default(10),
  /** Look once more, from another region, before acting: one broken path must not move a primary. Default: true. */
  confirm: flag().default(true),
  /** Inside a region Sentinel watches the primary and promotes a replica. */
  sentinel: section({
    /** Sentinels of a region; at least three, so that one may be gone. Default: 3. */
    count: whole(3, 9).default(3),
    /** How many must agree that the primary is down. Default: 2. */
    quorum: whole(2, 9).default(2),
    /** Silence after which a Sentinel calls an instance down. Default: 5000. */
    downAfterMs: whole(500, 60_000, 'milliseconds').default(5000),
    /** For one attempt. Default: 30000, in the middle of what is advisable. */
    failoverTimeoutMs: whole(15_000, 60_000, 'milliseconds').default(30_000),
    /** Replicas that resync with a new primary at one time; the others go on answering reads. Default: 1. */
    parallelSyncs: whole(1, 5).default(1),
  }).prefault({}),
});

export const trafficSchema = section({
  /**
   * The name by which clients reach Redis in whatever region, such as redis.prod.meridian; it makes Istio's rules for it (sidecars, Kubernetes only). Default:
   * none, and no rules: clients connect to their own region's Service.
   */
  host: text(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'a host name').optional(),
  /**
   * `locality`: a region serves its own clients and others when it is down, or shares as `distribute` says. `weights`: by the regions' `weight`, wherever
   * a client is, without failover. Default: locality.
   */
  by: choice('locality', 'weights').default('locality'),
  /**
   * Where the requests that start in a region go, in percent: `{us-west-2: {us-west-2: 70, eu-central-1: 20, …}}`. A
   * region that isn't named as a target gets nothing from there. Default: none; a healthy region serves its own users. Only by locality.
   */
  distribute: z
    .record(
      z.string(),
      z.record(z.string(), whole(1, 100, 'percent'), 'a mapping of regions to percent'),
      'a mapping of regions to a mapping of regions to percent',
    )
    .default({}),
  /** Regions that get no connections: maintenance, or doubt. What they got goes to the others in proportion. Default: none. */
  drain: z.array(text(/\S/, 'the name of a region'), 'a list of regions').default([]),
  /**
   * Traffic to be moved, in this order, before `drain`. Where a region has no `distribute` it then serves its own clients by shares, and not by
   * failover, until the list is empty. Default: none.
   */
  shift: z
    .array(
      section({
        from: text(/\S/, 'the name of a region'),
        to: text(/\S/, 'the name of a region'),
        /** Of what `from` gets. */
        percent: whole(1, 100, 'percent'),
      }),
      'a list of mappings with from, to, percent',
    )
    .default([]),
  /** Age at which a connection is closed and made again, which is when it moves: balancing is by connection. 0: never. Default: 3600. */
  maxConnectionSeconds: whole(0, 604_800, 'seconds').default(3600),
  /** When an endpoint is taken out of the balancing. It sees connections only; stale data is the controller's to see. */
  outlierDetection: section({
    /** In a row. Default: 5. */
    consecutiveErrors: whole(1, 100).default(5),
    /** Between two looks. Default: 10. */
    intervalSeconds: whole(1, 600, 'seconds').default(10),
    /** How long it stays out, times the number of times it was. Default: 30. */
    baseEjectionSeconds: whole(1, 3600, 'seconds').default(30),
    /** Of a region's endpoints. Default: 100, for a region may be wholly bad; Istio's own 10 would never empty it. */
    maxEjectionPercent: whole(1, 100, 'percent').default(100),
  }).prefault({}),
});

const aclRule = text(/^[+-](@[a-z]+|[a-z-]+(\|[a-z-]+)?)$/, "a rule on commands, such as '+@read' or '-flushall'");

export const securitySchema = section({
  /** Encrypt what clients and replicas say to Redis. Agents always speak mTLS to each other. Default: true. */
  tls: flag().default(true),
  /** Let only the application and Redis itself reach port 6379 (Kubernetes). Default: true. */
  networkPolicy: flag().default(true),
  /**
   * Redis users and what they may run, on all keys. Each has a generated password; the agent has a user of its own.
   * Default: app (reads and writes), read (reads), admin (everything).
   */
  users: z
    .record(
      text(
        /^(?!default$|meridian)[a-z][a-z0-9-]{0,31}$/,
        "a user's name: up to 32 lower-case letters, digits and hyphens; `default` and `meridian…` are taken",
      ),
      z.array(aclRule, 'a list of rules on commands').min(1, 'at least one rule'),
      'a mapping of users to lists of rules',
    )
    .default(usersDefault),
});

/** What the pods of a region on Kubernetes are made of. */
export const kubernetesSchema = section({
  /** Image of the agent, in production by digest. Needed to deploy a region there. */
  agentImage: text(/\S/, 'the name of an image').optional(),
  /** Image of Redis. Default: the official one, of `redis.version`. */
  redisImage: text(/\S/, 'the name of an image').optional(),
  /** Image of redis_exporter. Default: the official one. */
  exporterImage: text(/\S/, 'the name of an image').optional(),
  /** When nodes ask the registry for images. Default: IfNotPresent. */
  imagePullPolicy: choice('IfNotPresent', 'Always', 'Never').default('IfNotPresent'),
  /** StorageClass of all disks; an empty text is the cluster's own default. Default: gp3. */
  storageClass: z.string('the name of a StorageClass, or an empty text').default('gp3'),
  /** Disk of each Redis. Default: three times `redis.maxmemory`, as a rewrite of the append-only file needs room; 10Gi at least. */
  storageSize: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 10Gi').optional(),
  /** Disk of each agent's journal: a quarter more than `replication.journal.maxBytes`. Default: 10Gi. */
  journalSize: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 10Gi').default('10Gi'),
  /** CPU that each Redis is sure of. Default: 500m. */
  cpuRequest: text(/^\d+(\.\d+)?m?$/, 'a quantity such as 500m').default('500m'),
  /** Memory that each Redis is sure of. Default: half of what `memoryLimit` is by default, or all of what it says. */
  memoryRequest: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 1Gi').optional(),
  /** Memory that each Redis may use; `redis.maxmemory` is at most 75 % of it. Default: as much as that asks for; 2Gi at least. */
  memoryLimit: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 2Gi').optional(),
  /** How nodes keep away from each other. Default: preferred. */
  spread: choice('disabled', 'preferred', 'required').default('preferred'),
  /** The service mesh of the clusters. Default: none. */
  serviceMesh: choice('none', 'sidecar', 'ambient').default('none'),
  /** Refuse to delete what holds data, and leave it alone when it leaves the program. For production. Default: false. */
  protect: flag().default(false),
});

export const monitoringSchema = section({
  /** The clusters have the Prometheus operator: make each region's alerts, scraping and dashboards for it. Default: false, as without it they would be refused. */
  operator: flag().default(false),
  /** Namespace of Prometheus, which may read the pods' metrics. Default: monitoring. */
  namespace: text(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a DNS label of up to 63 characters').default(
    'monitoring',
  ),
  /** Labels by which Prometheus finds rules and monitors, such as `{release: kube-prometheus-stack}`. Default: none. */
  labels: z.record(z.string(), text(/\S/, 'the value of a label'), 'a mapping of labels to values').default({}),
  /** URL of a folder with this version's docs/runbooks, for the alerts' links. Default: `docs/runbooks`, as in the repository. */
  runbookBaseUrl: text(/\S/, 'a URL').optional(),
  /** Prometheus scrapes kube-state-metrics, cAdvisor and the kubelet, too: alerts on containers, pods and volumes. Default: false. */
  kubernetesMetrics: flag().default(false),
  /** What good looks like; dashboards draw these lines. */
  targets: section({
    /** Default: 1000. */
    lagMs: whole(1, 600_000, 'milliseconds').default(1000),
    /** Of commands at Redis. Default: 100. */
    p99LatencyMs: whole(1, 60_000, 'milliseconds').default(100),
    /** At least. Default: 0.9. */
    hitRate: fraction().default(0.9),
    /** Of maxmemory, at most. Default: 0.8. */
    memory: fraction().default(0.8),
    /** Of the limit, at most. Default: 0.7. */
    cpu: fraction().default(0.7),
    /** Of the application's requests, at most. Default: 0.01. */
    errorRate: fraction().default(0.01),
  }).prefault({}),
  /** Someone is woken. */
  critical: section({
    /** Default: 5000. */
    lagMs: whole(1, 600_000, 'milliseconds').default(5000),
    /** Of maxmemory. Default: 0.95. */
    memory: fraction().default(0.95),
    /** Of the application's requests. Default: 0.05. */
    errorRate: fraction().default(0.05),
    /** A Redis that doesn't answer, for so long. Default: 60. */
    downSeconds: whole(1, 3600, 'seconds').default(60),
  }).prefault({}),
  /** Someone looks at it in the morning. */
  warning: section({
    /** Default: 1000. */
    lagMs: whole(1, 600_000, 'milliseconds').default(1000),
    /** Of the limit. Default: 0.8. */
    cpu: fraction().default(0.8),
    /** Below this. Default: 0.8. */
    hitRate: fraction().default(0.8),
    /** Of maxmemory, for `forSeconds`. Default: 0.8. */
    memory: fraction().default(0.8),
    /** Clients of one Redis, for `forSeconds`. Default: 1000. */
    connections: whole(1, 1_000_000).default(1000),
    /** How long memory and connections must last. Default: 300. */
    forSeconds: whole(1, 86_400, 'seconds').default(300),
  }).prefault({}),
  /**
   * The application's error rate, as a PromQL expression with a value from 0 to 1: only the application knows what an
   * error is. Default: none, and no alert on it.
   */
  errorRateQuery: text(/\S/, 'a PromQL expression').optional(),
});
