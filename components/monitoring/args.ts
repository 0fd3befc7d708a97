import type * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue } from '../../model';
import { type AlertSettings, defaultAlertSettings as defaults } from '../../model/alerts';
import { dnsLabel, namesList, rule, whole } from '../common';

export interface RedisMonitoringArgs extends MonitoringTuningArgs {
  /** Name of the region that is watched; a label of every alert. */
  region: string;
  /** Namespace of its pods, where everything is made; it must exist. */
  namespace: pulumi.Input<string>;
  /** Regions that its agent has links to, such as `peersOf` says. The lag of each must be known, else there is an alert. */
  peers: string[];
  /** Redis is a provider's: its exporter is a pod by itself, as RedisRegion makes one, and not beside each node. Default: false. */
  managed?: boolean;
}

/** What can be chosen about a region's monitoring: all of it has a default. */
export interface MonitoringTuningArgs {
  /** Labels by which Prometheus finds rules and monitors, such as `{ release: 'kube-prometheus-stack' }`. Default: none. */
  monitorLabels?: pulumi.Input<{ [name: string]: pulumi.Input<string> }>;
  /** Between two scrapes, in seconds, 5 to 120. Default: 15: rates are over five minutes, and a lag is told after two scrapes. */
  scrapeIntervalSeconds?: pulumi.Input<number>;
  /** Name of the agents' container port with `/metrics`. Default: http-admin, as in SyncAgent. */
  agentPortName?: pulumi.Input<string>;
  /** Name of redis_exporter's container port. Default: http-metrics, as in KubernetesRedis. */
  exporterPortName?: pulumi.Input<string>;
  /**
   * More matchers for every series, in PromQL, such as `namespace="redis"`: for a Prometheus with several stacks whose regions have the same
   * names. Default: none, as agents outside Kubernetes have no namespace.
   */
  matchers?: pulumi.Input<string>;
  /** URL of a folder with this version's docs/runbooks, for the alerts' `runbook_url`. Default: `docs/runbooks`, as in the repository. */
  runbookBaseUrl?: pulumi.Input<string>;

  /** Lag of a link, in milliseconds, beyond which someone is woken. Default: 5000: more than may be lost in a failover without being asked. */
  lagCriticalMs?: pulumi.Input<number>;
  /** Lag of a link, in milliseconds, for a warning. Default: 1000. */
  lagWarningMs?: pulumi.Input<number>;
  /** How long a lag must last, in seconds. Default: 30, as one late heartbeat is none. */
  lagForSeconds?: pulumi.Input<number>;
  /** Memory, as a share of maxmemory from 0 to 1, at which someone is woken. Default: 0.95. */
  memoryCritical?: pulumi.Input<number>;
  /** Memory for a warning, after `warningForSeconds`; 0 to 1. Default: 0.8. */
  memoryWarning?: pulumi.Input<number>;
  /** Share of the application's requests that may fail, 0 to 1. Only with `errorRateQuery`. Default: 0.05. */
  errorRateCritical?: pulumi.Input<number>;
  /** Application's error rate, a PromQL expression with a value from 0 to 1: only the application knows what an error is. Default: no alert. */
  errorRateQuery?: pulumi.Input<string>;
  /** How long a Redis, or the agent, may not answer, in seconds. Default: 60; Sentinel has promoted another one by then. */
  downForSeconds?: pulumi.Input<number>;
  /** CPU for a warning: of one core by Redis' main thread, and of the containers' limits; 0 to 1. Default: 0.8. */
  cpuWarning?: pulumi.Input<number>;
  /** Share of lookups that find their key, below which there is a warning, 0 to 1. Default: 0.8. */
  hitRateWarning?: pulumi.Input<number>;
  /** Lookups a second below which the hit rate says nothing. Default: 1. */
  hitRateLookupsPerSecondMin?: pulumi.Input<number>;
  /** Connections of one Redis for a warning. Default: 1000. */
  connectionsWarning?: pulumi.Input<number>;
  /** Latency of 99 in 100 commands inside Redis, in milliseconds, for a warning. Default: 100. */
  p99LatencyWarningMs?: pulumi.Input<number>;
  /** How long memory, connections, CPU, hit rate and latency must last for their warnings, in seconds. Default: 300. */
  warningForSeconds?: pulumi.Input<number>;
  /** `replication.journal.maxBytes` of the stack, in bytes. Default: 8 GiB, as there. */
  journalBytesMax?: pulumi.Input<number>;
  /** Share of that at which someone is woken, 0 to 1. Default: 0.9. */
  journalCritical?: pulumi.Input<number>;
  /** Share of that for a warning, 0 to 1. Default: 0.6: a day's growth must fit in the rest. */
  journalWarning?: pulumi.Input<number>;

  /** Redis evicts nothing (`use: data`): then an eviction is an alert. Default: true. */
  isDataStack?: pulumi.Input<boolean>;
  /** Primaries that the region must have: 1, or the shards of a cluster. Default: 1. */
  primaries?: pulumi.Input<number>;
  /** `minReplicasToWrite` of KubernetesRedis; 0: no alert on refused writes. Default: 1. */
  minReplicasToWrite?: pulumi.Input<number>;
  /** `minReplicasMaxLagSeconds` of KubernetesRedis, in seconds. Default: 10. */
  minReplicasMaxLagSeconds?: pulumi.Input<number>;

  /**
   * Prometheus also scrapes kube-state-metrics, cAdvisor and the kubelet: alerts on containers' CPU limits, pods that are not ready and volumes that fill
   * up. Default: false, as without them these rules would be silent for ever.
   */
  kubernetesMetrics?: boolean;
  /** Prometheus also scrapes cert-manager, which issues the certificates: an alert on those that it can't renew. Those in use the agent itself tells of. Default: false. */
  certManagerMetrics?: boolean;
  /** Days before a certificate's end for these alerts; fewer than a twelfth of its validity, when it is renewed. Default: 14. */
  certificateDays?: pulumi.Input<number>;

  /** Make Grafana's dashboards. One Grafana needs them once: false for further regions in the same cluster. Default: true. */
  dashboards?: boolean;
  /** Namespace of the dashboards' ConfigMaps, where Grafana's side-car looks. Default: `namespace`. */
  dashboardNamespace?: pulumi.Input<string>;
  /** Labels by which Grafana's side-car finds them. Default: `{ grafana_dashboard: '1' }`, as in its chart. */
  dashboardLabels?: pulumi.Input<{ [name: string]: pulumi.Input<string> }>;
  /** Lag that is good, in milliseconds; a line in the dashboards. Default: 1000. */
  lagTargetMs?: pulumi.Input<number>;
  /** Latency that is good, in milliseconds; a line. Default: 100. */
  p99LatencyTargetMs?: pulumi.Input<number>;
  /** Hit rate that is good, 0 to 1; a line. Default: 0.9. */
  hitRateTarget?: pulumi.Input<number>;
  /** Memory that is good, of maxmemory, 0 to 1; a line. Default: 0.8. */
  memoryTarget?: pulumi.Input<number>;
  /** CPU that is good, of one core, 0 to 1; a line. Default: 0.7. */
  cpuTarget?: pulumi.Input<number>;
  /** Application's error rate that is good, 0 to 1; a line. Default: 0.01. */
  errorRateTarget?: pulumi.Input<number>;
}

/** Every value that rules and dashboards are made of; outputs are known. */
type Known = { readonly [Key in keyof RedisMonitoringArgs]: pulumi.Unwrap<RedisMonitoringArgs[Key]> };

export function alertSettings(args: Known): AlertSettings {
  const { critical, warning } = defaults;
  return {
    region: args.region,
    peers: args.peers,
    matchers: args.matchers,
    runbookBaseUrl: args.runbookBaseUrl ?? defaults.runbookBaseUrl,
    redisJob: defaults.redisJob,
    agentJob: defaults.agentJob,
    hasExporter: defaults.hasExporter,
    critical: {
      lagMs: args.lagCriticalMs ?? critical.lagMs,
      memory: args.memoryCritical ?? critical.memory,
      errorRate: args.errorRateCritical ?? critical.errorRate,
      downSeconds: args.downForSeconds ?? critical.downSeconds,
      journal: args.journalCritical ?? critical.journal,
    },
    warning: {
      lagMs: args.lagWarningMs ?? warning.lagMs,
      cpu: args.cpuWarning ?? warning.cpu,
      hitRate: args.hitRateWarning ?? warning.hitRate,
      memory: args.memoryWarning ?? warning.memory,
      connections: args.connectionsWarning ?? warning.connections,
      p99LatencyMs: args.p99LatencyWarningMs ?? warning.p99LatencyMs,
      journal: args.journalWarning ?? warning.journal,
      forSeconds: args.warningForSeconds ?? warning.forSeconds,
      lookupsPerSecondMin: args.hitRateLookupsPerSecondMin ?? warning.lookupsPerSecondMin,
      certificateDays: args.certificateDays ?? warning.certificateDays,
    },
    lagForSeconds: args.lagForSeconds ?? defaults.lagForSeconds,
    journalBytesMax: args.journalBytesMax ?? defaults.journalBytesMax,
    isDataStack: args.isDataStack ?? defaults.isDataStack,
    primaries: args.primaries ?? defaults.primaries,
    minReplicasToWrite: args.minReplicasToWrite ?? defaults.minReplicasToWrite,
    minReplicasMaxLagSeconds: args.minReplicasMaxLagSeconds ?? defaults.minReplicasMaxLagSeconds,
    errorRateQuery: args.errorRateQuery,
    kubernetesNamespace: args.kubernetesMetrics === true ? args.namespace : undefined,
    certManagerNamespace: args.certManagerMetrics === true ? args.namespace : undefined,
  };
}

/** Everything that is wrong with what is known before the deployment; what is an output isn't looked at. */
export function issuesOf(args: RedisMonitoringArgs): ConfigIssue[] {
  const plain = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  const share = (key: keyof RedisMonitoringArgs): ConfigIssue[] => {
    const value = plain(args[key]);
    return rule(value === undefined || (value >= 0 && value <= 1), key, value, 'a number from 0 to 1');
  };
  const first = (
    warning: keyof RedisMonitoringArgs,
    critical: keyof RedisMonitoringArgs,
    defaultsOf: readonly [number, number],
  ) => {
    const low = args[warning] === undefined ? defaultsOf[0] : plain(args[warning]);
    const high = args[critical] === undefined ? defaultsOf[1] : plain(args[critical]);
    const ok = low === undefined || high === undefined || low <= high;
    return rule(ok, warning, low, `${critical} (${high ?? ''}) or less: a warning comes first`);
  };
  const { critical, warning } = defaults;
  return [
    ...dnsLabel('region', args.region),
    ...namesList('peers', args.peers, 0),
    ...rule(!args.peers.includes(args.region), 'peers', args.region, 'other regions'),
    ...whole('scrapeIntervalSeconds', plain(args.scrapeIntervalSeconds), 5, 120, 'seconds'),
    ...whole('lagCriticalMs', plain(args.lagCriticalMs), 1, 600_000, 'milliseconds'),
    ...whole('lagWarningMs', plain(args.lagWarningMs), 1, 600_000, 'milliseconds'),
    ...(
      [
        'memoryCritical',
        'memoryWarning',
        'errorRateCritical',
        'cpuWarning',
        'hitRateWarning',
        'journalCritical',
        'journalWarning',
        'hitRateTarget',
        'memoryTarget',
        'cpuTarget',
        'errorRateTarget',
      ] as const
    ).flatMap(share),
    ...first('lagWarningMs', 'lagCriticalMs', [warning.lagMs, critical.lagMs]),
    ...first('memoryWarning', 'memoryCritical', [warning.memory, critical.memory]),
    ...first('journalWarning', 'journalCritical', [warning.journal, critical.journal]),
  ];
}
