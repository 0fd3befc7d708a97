/** What watches a region: scraping, alerts with runbooks, dashboards. */
export { type RedisMonitoringArgs } from './args';
export { RedisMonitoring } from './monitoring';
