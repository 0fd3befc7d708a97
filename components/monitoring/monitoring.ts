import * as pulumi from '@pulumi/pulumi';

import { alertRules, defaultAlertSettings } from '../../model/alerts';
import {
  checkArguments,
  checkPackages,
  childOptions,
  componentType,
  labelsOf,
  regionLabel,
  Role,
  selectorOf,
} from '../common';
import { kubernetes } from '../common/kubernetes';
import { alertSettings, issuesOf, type RedisMonitoringArgs } from './args';
import { dashboards } from './dashboards';
import { renderDashboard } from './panel';

const apiVersion = 'monitoring.coreos.com/v1';
/** How Prometheus shows the pods' label to relabeling. */
const regionMeta = `__meta_kubernetes_pod_label_${regionLabel.replaceAll(/[^a-zA-Z0-9]/g, '_')}`;

/**
 * What watches one region: which pods Prometheus scrapes, alerts with their runbooks, and Grafana's dashboards. For the Prometheus
 * operator (https://prometheus-operator.dev). Each region's rules ask for that region's series only, so that it makes no difference
 * whether all regions share a Prometheus or each has its own.
 */
export class RedisMonitoring extends pulumi.ComponentResource {
  /** Names of the alerts. */
  public readonly alertNames: pulumi.Output<string[]>;

  constructor(name: string, args: RedisMonitoringArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('RedisMonitoring', name, args, ['namespace', 'region', 'peers'], () => issuesOf(args));
    checkPackages('RedisMonitoring', name, ['@pulumi/kubernetes']);
    super(componentType('RedisMonitoring'), name, args, opts);

    const { namespace, region } = args;
    const labels = { ...labelsOf(Role.Redis, region), 'app.kubernetes.io/component': 'monitoring' };
    const monitorLabels = pulumi.output(args.monitorLabels ?? {}).apply((more) => ({ ...labels, ...more }));

    const known = pulumi.output(args);
    const groups = known.apply((all) => alertRules(alertSettings(all)));
    new kubernetes.apiextensions.CustomResource(
      `${name}-alerts`,
      {
        apiVersion,
        kind: 'PrometheusRule',
        metadata: { name: `${name}-alerts`, namespace, labels: monitorLabels },
        spec: { groups },
      },
      childOptions(this),
    );

    // Pods rather than Services: the Services are for clients and select by role, and each pod has an exporter of its own.
    const scrape = (
      suffix: string,
      role: Role,
      job: string,
      port: pulumi.Input<string>,
      honorLabels: boolean,
    ): void => {
      new kubernetes.apiextensions.CustomResource(
        `${name}-${suffix}`,
        {
          apiVersion,
          kind: 'PodMonitor',
          metadata: { name: `${name}-${suffix}`, namespace, labels: monitorLabels },
          spec: {
            selector: { matchLabels: selectorOf(role, region) },
            podMetricsEndpoints: [
              {
                port,
                path: '/metrics',
                interval: pulumi.interpolate`${args.scrapeIntervalSeconds ?? 15}s`,
                honorLabels,
                relabelings: [
                  { action: 'replace', targetLabel: 'job', replacement: job },
                  { action: 'replace', sourceLabels: [regionMeta], targetLabel: 'region' },
                ],
              },
            ],
          },
        },
        childOptions(this),
      );
    };
    const exporterRole = args.managed === true ? Role.Exporter : Role.Redis;
    scrape('redis', exporterRole, defaultAlertSettings.redisJob, args.exporterPortName ?? 'http-metrics', false);
    // Agents say their region themselves; it is the same one.
    scrape('agents', Role.Agent, defaultAlertSettings.agentJob, args.agentPortName ?? 'http-admin', true);

    if (args.dashboards ?? true) {
      const made = known.apply((all) =>
        dashboards({
          lagMs: all.lagTargetMs,
          p99LatencyMs: all.p99LatencyTargetMs,
          hitRate: all.hitRateTarget,
          memory: all.memoryTarget,
          cpu: all.cpuTarget,
          errorRate: all.errorRateTarget,
          errorRateQuery: all.errorRateQuery,
          matchers: all.matchers,
        }),
      );
      const dashboardLabels = pulumi
        .output(args.dashboardLabels ?? { grafana_dashboard: '1' })
        .apply((more) => ({ ...labels, ...more }));
      ['mesh', 'region'].forEach((suffix, i) => {
        const child = `${name}-dashboard-${suffix}`;
        const json = made.apply((all) => {
          const dashboard = all[i];
          if (dashboard === undefined) throw new RangeError(`no dashboard ${suffix}`);
          return `${JSON.stringify(renderDashboard(dashboard), null, 2)}\n`;
        });
        new kubernetes.core.v1.ConfigMap(
          child,
          {
            metadata: { name: child, namespace: args.dashboardNamespace ?? namespace, labels: dashboardLabels },
            data: { [`meridian-${suffix}.json`]: json },
          },
          childOptions(this),
        );
      });
    }

    this.alertNames = groups.apply((all) => [...new Set(all.flatMap(({ rules }) => rules.map(({ alert }) => alert)))]);
    this.registerOutputs({ alertNames: this.alertNames });
  }
}
