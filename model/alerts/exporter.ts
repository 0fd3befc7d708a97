/**
 * The metrics of redis_exporter that alerts and dashboards ask for. Seen at version 1.45.0 (Debian 12) beside a primary and a replica of Redis
 * 7.0.15; components/monitoring/metrics.test.ts looks again where an exporter is installed.
 */
export const exporterMetrics = [
  'redis_aof_last_write_status',
  'redis_commands_duration_seconds_total',
  'redis_commands_total',
  'redis_connected_clients',
  'redis_connected_slave_lag_seconds',
  'redis_cpu_sys_main_thread_seconds_total',
  'redis_cpu_user_main_thread_seconds_total',
  'redis_db_keys',
  'redis_evicted_keys_total',
  'redis_expired_keys_total',
  'redis_instance_info',
  'redis_keyspace_hits_total',
  'redis_keyspace_misses_total',
  'redis_master_link_up',
  'redis_memory_max_bytes',
  'redis_memory_used_bytes',
  'redis_net_input_bytes_total',
  'redis_net_output_bytes_total',
  'redis_rdb_last_bgsave_status',
  'redis_rejected_connections_total',
  'redis_up',
] as const;

/** Of newer ones: the histogram from LATENCY HISTOGRAM. The version that KubernetesRedis deploys (1.67) has it, Debian's doesn't. */
export const newerExporterMetrics = ['redis_commands_latencies_usec_bucket'] as const;
