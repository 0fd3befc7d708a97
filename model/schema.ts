import * as z from 'zod';

import { usersDefault } from './acl';
import { CONFLICT_POLICIES, CONFLICT_POLICY } from './conflict-policies';
import { choice, cidr, flag, fraction, mode, namespaceName, section, size, text, whole } from './fields';

// The shape of each `meridian:<section>` of a stack's config, one object per section; that of the regions is in regions.ts.

export const replicationSchema = section({
  /**
   * `semi-sync`: the agent acknowledges to Redis what other regions have journalled on disk, so that `WAIT (replicas + 1)`
   * means "another region has it", and a primary that reaches nobody stops taking writes (`maxLagMs`).
   * `async`: acknowledged at once; a region that burns takes its last milliseconds with it. A region may have its own. Default: semi-sync.
   */
  mode: mode.default('semi-sync'),
  /** How many other regions must have journalled a change before it is acknowledged, in semi-sync; of those that a region is linked with. Default: 1. */
  semiSyncRegions: whole(1, 63).default(1),
  /** The lag, in milliseconds of data, beyond which a region counts as behind. Default: 1000. */
  maxLagMs: whole(10, 600_000, 'milliseconds').default(1000),
  /** Verify and repair differences between regions without being asked. For the controller, which is not there yet: nothing reads it. Default: true. */
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
  /**
   * What a client's FLUSHALL or FLUSHDB does to the other regions. `carry`: it deletes everywhere what it had seen; what another region
   * wrote unseen survives, in the flushed region too. `refuse`: it stays in its region, which gets its data back from the others, some
   * hundred keys a second, and an alert tells of it. Default: carry, for that is what the command says.
   */
  flush: choice('carry', 'refuse').default('carry'),
  /** The operations kept on disk until every region has them. */
  journal: section({
    /** Disk for one agent's journal, in bytes. When full, the oldest goes, and a region that still lacks it is compared in full. Default: 8gb. */
    maxBytes: size('64mb', '65536gb').default(8 * 1024 ** 3),
    /** Of one file; the journal is dropped file by file. Default: 64mb. */
    segmentBytes: size('1mb', '1gb').default(64 * 1024 ** 2),
  }).prefault({}),
  /**
   * What becomes of a key by its name, by the first pattern that matches (as in KEYS): `merge`; `lww`, which stands as a whole as its last writer's region had it; `ignore`, which each region has for itself: it is not replicated;
   * or `region:<name>`, which that region owns: what clients of others write there is put back (docs/conflicts.md). Default: none; all keys merge.
   */
  conflicts: z
    .array(
      section({
        keys: text(/^[^]{1,1024}$/, 'a pattern for keys, such as session:*'),
        policy: text(CONFLICT_POLICY, CONFLICT_POLICIES),
        /** Default: all. */
        db: whole(0, 65_535, 'the number of a database').optional(),
      }),
      'a list of mappings with keys, policy, db',
    )
    .max(100, 'at most 100 policies')
    .default([]),
  /**
   * What the conflict journal keeps of the values that met (docs/conflicts.md). `full`: up to 4 KiB of each, which `meridian restore-loser` needs. `digest`: their
   * sizes, and by a keyed digest whether they were equal. `none`: nothing. Default: digest, for values may be secret, and would outlive there the keys that they were in.
   */
  conflictValues: choice('full', 'digest', 'none').default('digest'),
  /**
   * An agent's memory for what not every region has seen yet, in bytes; beyond it the oldest goes to its disk. Less makes regions slower to meet
   * again where they are far apart. Default: 256mb.
   */
  windowBytes: size('1mb', '64gb').default(256 * 1024 ** 2),
  /**
   * Managed Redis gives no replication stream. A mesh with such a region merges whole keys there, the last writer wins, and
   * counters don't add up. True says that this is known and accepted; without it such a stack is refused. Default: false.
   */
  acceptWholeKeyMerge: flag().default(false),
  /**
   * A trial beside servers that are in use (docs/dry-run.md): agents read, and report what they would apply and what would conflict, but write nothing to
   * Redis. Of the whole stack, for what a region would apply depends on what the others send. Default: false.
   */
  dryRun: flag().default(false),
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

/** All but `sentinel` is for the controller, which is not there yet: nothing reads it, and nobody decides that a whole region is lost. */
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

/** Of what is replaced by overlap. */
const generation = text(/^[a-z][a-z0-9-]{0,31}$/, 'a name of your choice, such as a');
const generations = (least: number, words: string) =>
  z.array(generation, 'a list of names of your choice, such as [a, b]').min(least, words).max(9, 'at most 9 names');

const aclRule = text(/^[+-](@[a-z]+|[a-z-]+(\|[a-z-]+)?)$/, "a rule on commands, such as '+@read' or '-flushall'");

export const securitySchema = section({
  /** Encrypt what clients and replicas say to Redis. Agents always speak mTLS to each other. Default: true. */
  tls: flag().default(true),
  /** Let only the application and Redis itself reach port 6379 (Kubernetes). Default: true. */
  networkPolicy: flag().default(true),
  /**
   * Where DNS is besides the namespace kube-system, for the NetworkPolicies: where nodes have a cache of it, as NodeLocal DNSCache, its address, such as `[169.254.20.10/32]`; without it
   * pods find nobody there. Default: nowhere.
   */
  dnsCidrs: z.array(cidr, 'a list of networks in CIDR notation').min(1, 'one network or more').optional(),
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
  /**
   * Certificate authorities, by names of your choice: all are trusted, the first one signs. To replace `a`: deploy `[a, b]`, then `[b, a]`, then `[b]`. Backend `local` has
   * one of its own. Default: `[a]`.
   */
  authorities: generations(1, 'at least one').default(['a']),
  /**
   * Passwords of each user, by names of your choice, never the passwords themselves: all are good, the first one is handed out. To replace `a`: deploy `[b, a]`, and `[b, c]` when
   * all clients have the new one. A managed Redis takes one or two (docs/managed.md). Backend `local` has one of its own. Default: `[a, b]`.
   */
  passwords: generations(2, 'at least two: one is good while the other is replaced').default(['a', 'b']),
  /**
   * Who makes certificates: `pulumi`, by the `authorities`, renewed by `pulumi up`; or `cert-manager` in each region's cluster, whose issuers must have one root in all regions.
   * With regions in Fargate `pulumi` only. Default: pulumi.
   */
  issuer: choice('pulumi', 'cert-manager').default('pulumi'),
  /** Name of cert-manager's issuer, in every cluster; needed with it. Default: none. */
  issuerName: text(/\S/, 'the name of an issuer').optional(),
  /** A ClusterIssuer, or an Issuer in each region's namespace, which then has to be there before. Default: ClusterIssuer. */
  issuerKind: choice('ClusterIssuer', 'Issuer').default('ClusterIssuer'),
  /** Of the certificates, not of the authorities. They are renewed in the last twelfth. Default: 365. */
  certificateValidityDays: whole(1, 3650, 'days').default(365),
});

/** What the pods of a region on Kubernetes are made of. `agentImage` and `protect` are of all regions, those in Fargate too. */
export const kubernetesSchema = section({
  /** Image of the agent, in production by digest. Needed to deploy a region there. */
  agentImage: text(/\S/, 'the name of an image').optional(),
  /** Image of Redis, in production by digest. Default: the official one, by the tag of `redis.version`. */
  redisImage: text(/\S/, 'the name of an image').optional(),
  /** Image of redis_exporter, in production by digest. Default: the official one, by tag. */
  exporterImage: text(/\S/, 'the name of an image').optional(),
  /** When nodes ask the registry for images. Default: IfNotPresent. */
  imagePullPolicy: choice('IfNotPresent', 'Always', 'Never').default('IfNotPresent'),
  /** StorageClass of all disks; an empty text is the cluster's own default. Default: gp3. */
  storageClass: z.string('the name of a StorageClass, or an empty text').default('gp3'),
  /**
   * Make a StorageClass of AWS gp3 volumes for each region of pods, in place of `storageClass`: 3000 operations and 125 MB a second, encrypted, expandable. Decide before the
   * first deployment: claims of a StatefulSet can't be changed. Default: false.
   */
  createStorageClass: flag().default(false),
  /** Disk of each Redis. Default: three times `redis.maxmemory`, as a rewrite of the append-only file needs room; 10Gi at least. */
  storageSize: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 10Gi').optional(),
  /** Disk of each agent's journal: a quarter more than `replication.journal.maxBytes`. Default: 10Gi. */
  journalSize: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 10Gi').default('10Gi'),
  /**
   * Make a load balancer of each agent, for those of other clusters, with these annotations of its Service, by which the cloud's controller knows what kind it is.
   * `agentHost` of the region becomes its DNS name, where external-dns runs. Default: none is made.
   */
  agentLoadBalancer: z
    .record(z.string(), z.string('the text of an annotation'), 'a mapping of annotations to texts')
    .optional(),
  /** CPU that each Redis is sure of. Default: 500m. */
  cpuRequest: text(/^\d+(\.\d+)?m?$/, 'a quantity such as 500m').default('500m'),
  /** CPU that each Redis may use. Default: 1, as commands run on one core. */
  cpuLimit: text(/^\d+(\.\d+)?m?$/, 'a quantity such as 1').default('1'),
  /** Memory that each Redis is sure of. Default: half of what `memoryLimit` is by default, or all of what it says. */
  memoryRequest: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 1Gi').optional(),
  /** Memory that each Redis may use; `redis.maxmemory` is at most 75 % of it. Default: as much as that asks for; 2Gi at least. */
  memoryLimit: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 2Gi').optional(),
  /** CPU that each agent is sure of. Default: 250m. */
  agentCpuRequest: text(/^\d+(\.\d+)?m?$/, 'a quantity such as 250m').default('250m'),
  /** Memory that each agent is sure of. Default: 256Mi. */
  agentMemoryRequest: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 256Mi').default('256Mi'),
  /** Memory that each agent may use, `replication.windowBytes` and half as much again among it. Default: 1Gi. */
  agentMemoryLimit: text(/^\d+(\.\d+)?[KMGT]i?$/, 'a quantity such as 1Gi').default('1Gi'),
  /** How nodes keep away from each other. Default: preferred. */
  spread: choice('disabled', 'preferred', 'required').default('preferred'),
  /**
   * Tune the kernel for Redis (TCP buffers of 16 MiB, bbr, somaxconn, overcommit, no huge pages) in a privileged init container. It changes settings of whole machines, and makes the
   * namespaces privileged. Default: false.
   */
  kernelTuning: flag().default(false),
  /** The service mesh of the clusters. Default: none. */
  serviceMesh: choice('none', 'sidecar', 'ambient').default('none'),
  /** Refuse to delete what holds data, and leave it alone when it leaves the program. For production. Default: false. */
  protect: flag().default(false),
});

/** Of a stack of processes of one machine: with backend `local` only. */
export const localSchema = section({
  /** The first of the ports; each region has ten in a row, of which the first is its Redis. `meridian up --base-port` is before it. Default: 7500. */
  basePort: whole(1, 65_535, 'a port').optional(),
});

export const monitoringSchema = section({
  /** The clusters have the Prometheus operator: make each region's alerts, scraping and dashboards for it. Default: false, as without it they would be refused. */
  operator: flag().default(false),
  /** Namespace of Prometheus, which may read the pods' metrics. Default: monitoring. */
  namespace: namespaceName.default('monitoring'),
  /** Labels by which Prometheus finds rules and monitors, such as `{release: kube-prometheus-stack}`. Default: none. */
  labels: z.record(z.string(), text(/\S/, 'the value of a label'), 'a mapping of labels to values').default({}),
  /** URL of a folder with this version's docs/runbooks, for the alerts' links. Default: `docs/runbooks`, as in the repository. */
  runbookBaseUrl: text(/\S/, 'a URL').optional(),
  /** Prometheus scrapes kube-state-metrics, cAdvisor and the kubelet, too: alerts on containers, pods and volumes. Default: false. */
  kubernetesMetrics: flag().default(false),
  /** Prometheus scrapes cert-manager, too: an alert on certificates that it can't renew. Default: false. */
  certManagerMetrics: flag().default(false),
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
