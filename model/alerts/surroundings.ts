import { type Draft, Severity } from './rule';
import { type AlertSettings } from './settings';

/** What others measure, where they do: the application, cert-manager, Kubernetes. */
export function surroundingAlerts(settings: AlertSettings): Draft[] {
  const { errorRateQuery, kubernetesNamespace, certManagerNamespace } = settings;
  return [
    ...(errorRateQuery === undefined ? [] : [errorRateAlert(settings, errorRateQuery)]),
    ...(certManagerNamespace === undefined ? [] : [certificateAlert(settings, certManagerNamespace)]),
    ...(kubernetesNamespace === undefined ? [] : kubernetesAlerts(settings, kubernetesNamespace)),
  ];
}

function errorRateAlert({ critical, region }: AlertSettings, query: string): Draft {
  return {
    alert: 'ApplicationErrorRateHigh',
    severity: Severity.Critical,
    expr: `(${query}) > ${critical.errorRate}`,
    forSeconds: 60,
    summary: `{{ $value | humanizePercentage }} of the application's requests in ${region} fail`,
    description: `More than ${critical.errorRate} of them, by the application's own metrics.`,
  };
}

/** https://cert-manager.io/docs/devops-tips/prometheus-metrics/ */
function certificateAlert({ warning }: AlertSettings, namespace: string): Draft {
  const expires = `certmanager_certificate_expiration_timestamp_seconds{namespace="${namespace}"}`;
  return {
    alert: 'MeridianCertificateNotRenewed',
    severity: Severity.Warning,
    expr: `min by (namespace, name) (${expires} > 0) - time() < ${warning.certificateDays} * 86400`,
    forSeconds: 3600,
    summary: `Certificate {{ $labels.name }} ends in {{ $value | humanizeDuration }}`,
    description:
      'cert-manager should have renewed it. When it ends, agents refuse each other and clients refuse Redis.',
  };
}

/** kube-state-metrics, cAdvisor and the kubelet. */
function kubernetesAlerts({ warning }: AlertSettings, namespace: string): Draft[] {
  const of = (metric: string, ...more: string[]): string =>
    `${metric}{${[`namespace="${namespace}"`, ...more].join(',')}}`;
  const byVolume = 'by (namespace, persistentvolumeclaim)';
  return [
    {
      alert: 'RedisContainerCpuHigh',
      severity: Severity.Warning,
      expr:
        `sum by (namespace, pod, container) (rate(${of('container_cpu_usage_seconds_total', 'container=~"redis|agent"')}[5m]))` +
        ` / sum by (namespace, pod, container) (${of('kube_pod_container_resource_limits', 'resource="cpu"', 'container=~"redis|agent"')})` +
        ` > ${warning.cpu}`,
      forSeconds: warning.forSeconds,
      summary: `{{ $labels.container }} of {{ $labels.pod }} uses {{ $value | humanizePercentage }} of its CPU limit`,
      description: 'Beyond the limit the kernel makes it wait, and every client with it.',
    },
    {
      alert: 'RedisPodsNotReady',
      severity: Severity.Warning,
      expr:
        `sum by (namespace, statefulset) (${of('kube_statefulset_replicas')})` +
        ` - sum by (namespace, statefulset) (${of('kube_statefulset_status_replicas_ready')}) > 0`,
      forSeconds: 600,
      summary: `{{ $value | printf "%.0f" }} pods of {{ $labels.statefulset }} are not ready`,
      description: 'One more failure may be one too many.',
    },
    {
      alert: 'RedisVolumeFull',
      severity: Severity.Critical,
      expr:
        `min ${byVolume} (${of('kubelet_volume_stats_available_bytes')}` +
        ` / ${of('kubelet_volume_stats_capacity_bytes')}) < 0.1`,
      forSeconds: 300,
      summary: `Volume {{ $labels.persistentvolumeclaim }} has {{ $value | humanizePercentage }} left`,
      description: 'A full disk stops the append-only file and the journal: Redis refuses writes, the agent stops.',
    },
  ];
}
