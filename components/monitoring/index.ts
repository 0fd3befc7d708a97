/** What watches a region: scraping, alerts with runbooks, dashboards. */
export { type MonitoringTuningArgs, type RedisMonitoringArgs } from './args';
export { RedisMonitoring } from './monitoring';
