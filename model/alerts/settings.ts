/** What the alerts of one region depend on. The figures are those of `meridian:monitoring`, with the same defaults. */
export interface AlertSettings {
  /** The region; every alert has it as a label. */
  readonly region: string;
  /** Regions whose agents this one's has links to. For each of them the lag must be known. */
  readonly peers: readonly string[];
  /** More matchers for every series, such as `namespace="redis"`, where a Prometheus has several stacks. Default: none. */
  readonly matchers?: string;
  /** Where the runbooks are: the URL of a folder. */
  readonly runbookBaseUrl: string;
  /** Value of the label `job` of redis_exporter's and of the agents' targets. */
  readonly redisJob: string;
  readonly agentJob: string;
  /** Redis has an exporter; else the agent alone is watched. */
  readonly hasExporter: boolean;
  readonly critical: {
    readonly lagMs: number;
    /** Of maxmemory, 0 to 1. */
    readonly memory: number;
    readonly errorRate: number;
    readonly downSeconds: number;
    /** Of the journal's size, 0 to 1. */
    readonly journal: number;
  };
  readonly warning: {
    readonly lagMs: number;
    /** Of one core, by Redis' main thread, or of the container's limit; 0 to 1. */
    readonly cpu: number;
    readonly hitRate: number;
    readonly memory: number;
    readonly connections: number;
    readonly p99LatencyMs: number;
    readonly journal: number;
    /** How long memory, connections, CPU, hit rate and latency must last. */
    readonly forSeconds: number;
    /** Lookups a second below which the hit rate says nothing. */
    readonly lookupsPerSecondMin: number;
    /** Days before its end at which a certificate should have been renewed, and the renewed one read. */
    readonly certificateDays: number;
  };
  /** How long a lag must last: one late heartbeat is none. */
  readonly lagForSeconds: number;
  /** `journal.bytesMax` of the agents. */
  readonly journalBytesMax: number;
  /** Redis evicts nothing: an eviction is then a loss. */
  readonly isDataStack: boolean;
  /** Primaries of the region: 1, or the shards of a cluster. */
  readonly primaries: number;
  /** Replicas that must acknowledge, as Redis was told (`min-replicas-to-write`); 0: none. */
  readonly minReplicasToWrite: number;
  /** And how old their acknowledgement may be. */
  readonly minReplicasMaxLagSeconds: number;
  /** PromQL with the application's error rate, 0 to 1. Default: no alert. */
  readonly errorRateQuery?: string;
  /** Namespace of the pods, where kube-state-metrics, cAdvisor and the kubelet are scraped. Default: no alerts on their metrics. */
  readonly kubernetesNamespace?: string;
  /** Namespace of cert-manager's Certificates, where it is scraped. Default: no alert on what it can't renew. */
  readonly certManagerNamespace?: string;
}

type Defaults = Omit<
  AlertSettings,
  'region' | 'peers' | 'matchers' | 'errorRateQuery' | 'kubernetesNamespace' | 'certManagerNamespace'
>;

export const defaultAlertSettings: Defaults = {
  runbookBaseUrl: 'docs/runbooks',
  redisJob: 'meridian-redis',
  agentJob: 'meridian-agent',
  hasExporter: true,
  critical: { lagMs: 5000, memory: 0.95, errorRate: 0.05, downSeconds: 60, journal: 0.9 },
  warning: {
    lagMs: 1000,
    cpu: 0.8,
    hitRate: 0.8,
    memory: 0.8,
    connections: 1000,
    p99LatencyMs: 100,
    journal: 0.6,
    forSeconds: 300,
    lookupsPerSecondMin: 1,
    certificateDays: 14,
  },
  lagForSeconds: 30,
  journalBytesMax: 8 * 2 ** 30,
  isDataStack: true,
  primaries: 1,
  minReplicasToWrite: 1,
  minReplicasMaxLagSeconds: 10,
};
