import { type Draft, Severity } from './rule';
import { selectorOf } from './selector';
import { type AlertSettings } from './settings';

/** Which Redis, in every alert about one. */
const node = '{{ $labels.pod }} ({{ $labels.region }})';
const byNode = 'by (region, pod)';

/** One region's Redis. Metrics: redis_exporter (https://github.com/oliver006/redis_exporter), for which model/alerts/exporter.ts lists the names. */
export function redisAlerts(settings: AlertSettings): Draft[] {
  const { critical, warning, primaries, region, redisJob } = settings;
  const of = selectorOf(settings);
  const primary = of('redis_instance_info', 'role="master"');
  const memoryAlert = (severity: Severity, share: number, forSeconds: number): Draft => ({
    alert: 'RedisMemoryHigh',
    severity,
    // Without a maxmemory there is no ratio.
    expr: `max ${byNode} (${of('redis_memory_used_bytes')} / (${of('redis_memory_max_bytes')} > 0)) > ${share}`,
    forSeconds,
    summary: `${node} uses {{ $value | humanizePercentage }} of its maxmemory`,
    description: settings.isDataStack
      ? 'At 100 % it refuses every write that needs memory, those of other regions included.'
      : 'At 100 % it evicts keys that are still in use.',
  });
  const hits = of('redis_keyspace_hits_total');
  const misses = of('redis_keyspace_misses_total');
  const sumOf = (series: string): string => `sum by (region) (rate(${series}[5m]))`;
  const lookups = `(${sumOf(hits)} + ${sumOf(misses)})`;
  return [
    {
      alert: 'RedisDown',
      severity: Severity.Critical,
      expr: `max ${byNode} (${of('redis_up')}) == 0`,
      forSeconds: critical.downSeconds,
      summary: `${node} doesn't answer`,
      description: 'redis_exporter runs beside it and gets no answer from it.',
    },
    {
      alert: 'RedisMetricsMissing',
      severity: Severity.Critical,
      // A pod that is gone takes its series with it.
      expr: `absent(${of('redis_up')}) or ${of('up', `job="${redisJob}"`)} == 0`,
      forSeconds: 300,
      summary: `Metrics of Redis in ${region} are missing`,
      description: 'redis_exporter is not scraped, for a pod or for all. Nobody would see it if Redis were down.',
    },
    {
      alert: 'RedisPrimaryMissing',
      severity: Severity.Critical,
      expr: `(count by (region) (${primary}) or 0 * count by (region) (${of('redis_up')})) < ${primaries}`,
      forSeconds: critical.downSeconds,
      summary: `${region} has {{ $value | printf "%.0f" }} of ${primaries} Redis primaries`,
      description: 'Clients there can write nothing. Sentinel has promoted no replica, or none is left.',
    },
    {
      alert: 'RedisPrimaryTwice',
      severity: Severity.Critical,
      // Longer than a failover takes, during which the old one comes back as what it was.
      expr: `count by (region) (${primary}) > ${primaries}`,
      forSeconds: 60,
      summary: `${region} has {{ $value | printf "%.0f" }} Redis primaries instead of ${primaries}`,
      description: 'Clients may write to one that will be a replica again, and lose what they wrote.',
    },
    {
      alert: 'RedisReplicaLinkDown',
      severity: Severity.Warning,
      expr: `min ${byNode} (${of('redis_master_link_up')}) == 0`,
      forSeconds: 60,
      summary: `${node} is a replica without its primary`,
      description: 'It answers with old data, and a failover to it would lose what came since.',
    },
    ...(settings.minReplicasToWrite > 0 ? [minReplicasAlert(settings)] : []),
    memoryAlert(Severity.Critical, critical.memory, 60),
    memoryAlert(Severity.Warning, warning.memory, warning.forSeconds),
    ...(settings.isDataStack
      ? [
          {
            alert: 'RedisKeysEvicted',
            severity: Severity.Critical,
            expr: `sum ${byNode} (increase(${of('redis_evicted_keys_total')}[5m])) > 0`,
            forSeconds: 0,
            summary: `${node} evicts keys`,
            description:
              'Somebody has changed maxmemory-policy: data is being deleted, here and by replication everywhere.',
          },
        ]
      : []),
    {
      alert: 'RedisCpuHigh',
      severity: Severity.Warning,
      // Commands run on one thread: this one. What the whole process uses, rewrites included, says less.
      expr:
        `max ${byNode} (rate(${of('redis_cpu_user_main_thread_seconds_total')}[5m])` +
        ` + rate(${of('redis_cpu_sys_main_thread_seconds_total')}[5m])) > ${warning.cpu}`,
      forSeconds: warning.forSeconds,
      summary: `The main thread of ${node} is busy for {{ $value | humanizePercentage }} of the time`,
      description: 'Redis runs commands on one core: at 100 % every client waits.',
    },
    {
      alert: 'RedisHitRateLow',
      severity: Severity.Warning,
      expr: `${sumOf(hits)} / ${lookups} < ${warning.hitRate} and ${lookups} > ${warning.lookupsPerSecondMin}`,
      forSeconds: warning.forSeconds,
      summary: `In {{ $labels.region }} {{ $value | humanizePercentage }} of the lookups find their key`,
      description: `Less than ${warning.hitRate} of all reads, on all nodes of the region, found a key.`,
    },
    {
      alert: 'RedisConnectionsHigh',
      severity: Severity.Warning,
      expr: `max ${byNode} (${of('redis_connected_clients')}) > ${warning.connections}`,
      forSeconds: warning.forSeconds,
      summary: `${node} has {{ $value | printf "%.0f" }} connections`,
      description: `More than ${warning.connections}: a client without a pool, or one that leaks. At maxclients (10000 by default) new ones are refused.`,
    },
    {
      alert: 'RedisConnectionsRefused',
      severity: Severity.Critical,
      expr: `sum ${byNode} (increase(${of('redis_rejected_connections_total')}[5m])) > 0`,
      forSeconds: 0,
      summary: `${node} refuses connections`,
      description: 'maxclients is reached.',
    },
    {
      alert: 'RedisLatencyHigh',
      severity: Severity.Warning,
      // From the histogram: redis_latency_percentiles_usec are of all the time since the server's start.
      expr:
        `histogram_quantile(0.99, sum by (region, pod, le) (rate(${of('redis_commands_latencies_usec_bucket')}[5m])))` +
        ` / 1000 > ${warning.p99LatencyMs}`,
      forSeconds: warning.forSeconds,
      summary: `One in a hundred commands takes {{ $value | printf "%.0f" }} ms at ${node}`,
      description: 'Measured inside Redis, without the network: slow commands, a slow disk, or a machine that swaps.',
    },
    {
      alert: 'RedisPersistenceFailed',
      severity: Severity.Critical,
      expr: `min ${byNode} (${of('redis_aof_last_write_status')}) == 0 or min ${byNode} (${of('redis_rdb_last_bgsave_status')}) == 0`,
      forSeconds: 60,
      summary: `${node} can't write to its disk`,
      description: 'The append-only file or a snapshot failed. Redis refuses writes until one succeeds.',
    },
  ];
}

/** The primary refuses writes. The agent counts as a replica, as it does for Redis. */
function minReplicasAlert(settings: AlertSettings): Draft {
  const { minReplicasToWrite: needed, minReplicasMaxLagSeconds: maxLag } = settings;
  const of = selectorOf(settings);
  const replicas = of('redis_connected_slave_lag_seconds', 'slave_state="online"');
  const good = `count by (region, pod) (${replicas} <= ${maxLag})`;
  return {
    alert: 'RedisWritesRefused',
    severity: Severity.Critical,
    // No replica at all is no series.
    expr: `count by (region, pod) (${of('redis_instance_info', 'role="master"')}) unless ${good} >= ${needed}`,
    forSeconds: 30,
    summary: `${node} refuses writes: less than ${needed} replicas acknowledge`,
    description: `min-replicas-to-write is ${needed}, and so many replicas (the sync agent counts as one) must have acknowledged in the last ${maxLag} s.`,
  };
}
