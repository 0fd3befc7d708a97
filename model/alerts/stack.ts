import { type Backend, namespaceOf } from '../regions';
import { type RegionConfig, type StackConfig, topologyOf } from '../config';
import { minReplicasToWrite } from '../settings';
import { peersOf } from '../topology';
import { type AlertGroup, alertRules } from '.';
import { type AlertSettings, defaultAlertSettings as defaults } from './settings';

const inPods: Backend = 'kubernetes';

/** The alerts of a stack's regions, as its config says: the same that RedisMonitoring makes of it. For a Prometheus without the operator. */
export function stackAlerts(config: StackConfig): AlertGroup[] {
  return config.regions.flatMap((region) => alertRules(settingsOf(config, region)));
}

function settingsOf(config: StackConfig, region: RegionConfig): AlertSettings {
  const { monitoring, replication, redis } = config;
  const { critical, warning, targets } = monitoring;
  const names = config.regions.map(({ name }) => name);
  const namespace = region.namespace ?? namespaceOf(region.name);
  const isInCluster = region.fargate === undefined && region.backend !== 'local';
  return {
    ...defaults,
    region: region.name,
    peers: peersOf(region.name, topologyOf(config), names),
    // Beside a managed Redis there is one where it is watched by the operator.
    hasExporter: region.backend === inPods || (isInCluster && monitoring.operator),
    ...(monitoring.runbookBaseUrl === undefined ? {} : { runbookBaseUrl: monitoring.runbookBaseUrl }),
    critical: { ...defaults.critical, ...critical },
    warning: { ...defaults.warning, ...warning, p99LatencyMs: targets.p99LatencyMs },
    journalBytesMax: replication.journal.maxBytes,
    isDataStack: redis.use === 'data',
    minReplicasToWrite: region.backend === inPods ? minReplicasToWrite(config, region) : 0,
    minReplicasMaxLagSeconds: redis.minReplicas.maxLagSeconds,
    ...(monitoring.errorRateQuery === undefined ? {} : { errorRateQuery: monitoring.errorRateQuery }),
    ...(isInCluster && monitoring.kubernetesMetrics ? { kubernetesNamespace: namespace } : {}),
    ...(isInCluster && monitoring.certManagerMetrics ? { certManagerNamespace: namespace } : {}),
  };
}
