import * as pulumi from '@pulumi/pulumi';

import { promtool, promtoolMissing, runPromtool } from '../../test/promtool';
import { type Deployment, deploy, valueOf } from '../testing';
import { customSchemas, violations } from '../testing/crds';
import { RedisMonitoring, type RedisMonitoringArgs } from '.';
import { dashboards } from './dashboards';
import { renderDashboard } from './panel';

const make = (args: Partial<RedisMonitoringArgs> = {}): Promise<Deployment<RedisMonitoring>> =>
  deploy(() => new RedisMonitoring('m', { region: 'west', namespace: 'redis-west', peers: ['eu'], ...args }));

interface Rules {
  groups: { name: string; rules: { alert: string; expr: string; for: string; labels: { severity: string } }[] }[];
}
const rulesOf = (made: Deployment<unknown>): Rules['groups'][number]['rules'] =>
  (made.find('m-alerts').inputs['spec'] as Rules).groups.flatMap(({ rules }) => rules);
const expr = (made: Deployment<unknown>, alert: string, severity = 'critical'): string | undefined =>
  rulesOf(made).find((rule) => rule.alert === alert && rule.labels.severity === severity)?.expr;

test('exact children, all in the namespace', async () => {
  const made = await make();
  expect(made.children('m')).toEqual([
    'ConfigMap m-dashboard-mesh',
    'ConfigMap m-dashboard-region',
    'PodMonitor m-agents',
    'PodMonitor m-redis',
    'PrometheusRule m-alerts',
  ]);
  for (const { inputs } of made.resources.filter(({ type }) => type.startsWith('kubernetes:'))) {
    expect(inputs['metadata']).toMatchObject({
      namespace: 'redis-west',
      labels: { 'app.kubernetes.io/component': 'monitoring', 'meridian.redis/region': 'west' },
    });
  }
  expect((await valueOf(made.result.alertNames)).value).toContain('MeridianReplicationLag');
});

test('pods are scraped under a job and a region that the rules ask for', async () => {
  const made = await make({ monitorLabels: { release: 'prometheus' }, scrapeIntervalSeconds: 30 });
  expect(made.find('m-redis').inputs['spec']).toEqual({
    selector: {
      matchLabels: {
        'app.kubernetes.io/part-of': 'meridian',
        'app.kubernetes.io/component': 'redis',
        'meridian.redis/region': 'west',
      },
    },
    podMetricsEndpoints: [
      {
        port: 'http-metrics',
        path: '/metrics',
        interval: '30s',
        honorLabels: false,
        relabelings: [
          { action: 'replace', targetLabel: 'job', replacement: 'meridian-redis' },
          {
            action: 'replace',
            sourceLabels: ['__meta_kubernetes_pod_label_meridian_redis_region'],
            targetLabel: 'region',
          },
        ],
      },
    ],
  });
  expect(made.find('m-agents').inputs['spec']).toMatchObject({
    selector: { matchLabels: { 'app.kubernetes.io/component': 'agent' } },
    podMetricsEndpoints: [
      { port: 'http-admin', honorLabels: true, relabelings: [{ replacement: 'meridian-agent' }, {}] },
    ],
  });
  for (const child of ['m-alerts', 'm-redis', 'm-agents']) {
    expect(made.find(child).inputs['metadata']).toMatchObject({ labels: { release: 'prometheus' } });
  }
});

test('thresholds come from the arguments, outputs too', async () => {
  const made = await make({
    lagCriticalMs: pulumi.output(4000),
    memoryWarning: 0.7,
    memoryCritical: 0.9,
    connectionsWarning: 50,
    warningForSeconds: 120,
    downForSeconds: 20,
    errorRateQuery: 'shop:errors:ratio',
    errorRateCritical: 0.02,
    matchers: 'namespace="redis-west"',
  });
  expect(expr(made, 'MeridianReplicationLag')).toMatch(/ > 4000$/);
  expect(expr(made, 'RedisMemoryHigh')).toMatch(/ > 0.9$/);
  expect(expr(made, 'RedisMemoryHigh', 'warning')).toMatch(/ > 0.7$/);
  expect(expr(made, 'ApplicationErrorRateHigh')).toBe('(shop:errors:ratio) > 0.02');
  expect(expr(made, 'RedisDown')).toBe('max by (region, pod) (redis_up{region="west",namespace="redis-west"}) == 0');
  const rules = rulesOf(made);
  expect(rules.find(({ alert }) => alert === 'RedisConnectionsHigh')?.for).toBe('120s');
  expect(rules.find(({ alert }) => alert === 'RedisDown')?.for).toBe('20s');
});

test('alerts on what Kubernetes and cert-manager measure are asked for', async () => {
  const alerts = async (args: Partial<RedisMonitoringArgs>): Promise<string[]> =>
    rulesOf(await make(args)).map(({ alert }) => alert);
  expect(await alerts({})).not.toEqual(expect.arrayContaining(['RedisVolumeFull']));
  expect(await alerts({ kubernetesMetrics: true })).toEqual(
    expect.arrayContaining(['RedisVolumeFull', 'RedisPodsNotReady', 'RedisContainerCpuHigh']),
  );
  expect(await alerts({})).not.toContain('MeridianCertificateNotRenewed');
  expect(await alerts({ certManagerMetrics: true })).toContain('MeridianCertificateNotRenewed');
});

describe('dashboards', () => {
  test('as Grafana finds them', async () => {
    const made = await make({ dashboardNamespace: 'grafana' });
    const { metadata, data } = made.find('m-dashboard-region').inputs as {
      metadata: object;
      data: Record<string, string>;
    };
    expect(metadata).toMatchObject({ namespace: 'grafana', labels: { grafana_dashboard: '1' } });
    const board = JSON.parse(data['meridian-region.json'] ?? '') as ReturnType<typeof render>;
    expect(board.uid).toBe('meridian-region');
    expect(board.templating.list.map((variable) => variable.name)).toEqual(['datasource', 'region']);
    expect((await make({ dashboards: false })).children('m').join()).not.toContain('ConfigMap');
  });

  const render = (board: ReturnType<typeof dashboards>[number]) =>
    renderDashboard(board) as {
      uid: string;
      templating: { list: { name: string }[] };
      panels: { id: number; type: string; title: string; gridPos: { x: number; y: number; w: number; h: number } }[];
    };
  const [mesh, region] = dashboards({ errorRateQuery: 'shop:errors:ratio' }).map(render);

  test('what is asked for is in both: connections, memory, commands, and the mesh', () => {
    for (const { panels } of [mesh!, region!]) {
      const titles = panels.map(({ title }) => title);
      for (const title of [
        'Connections',
        'Memory',
        'Commands',
        'Lag',
        'Hit rate',
        'Latency',
        'CPU',
        'Network in',
        'Error rate',
      ])
        expect(titles).toContain(title);
    }
  });

  test('panels have numbers of their own, and none lies on another', () => {
    for (const { panels } of [mesh!, region!]) {
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
      const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
        expect(x + w).toBeLessThanOrEqual(24);
        return Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`);
      });
      expect(new Set(cells).size).toBe(cells.length);
    }
  });

  test('targets draw the lines', () => {
    const [board] = dashboards({ lagMs: 700 });
    const lag = board?.rows.flatMap(({ panels }) => panels).find(({ title }) => title === 'Lag');
    expect(lag?.target).toEqual({ value: 700, bad: 'above' });
  });

  const testQueries = promtool === undefined ? test.skip : test;
  testQueries(`promtool: every query is PromQL${promtoolMissing}`, () => {
    const queries = dashboards({ matchers: 'namespace="redis"' }).flatMap(({ rows }) =>
      rows.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries.map(({ expr }) => expr))),
    );
    const rules = queries.map((query, i) => ({ record: `query:${i}`, expr: query.replaceAll('$region', 'west') }));
    const run = runPromtool({ 'rules.yaml': { groups: [{ name: 'queries', rules }] } }, 'check', 'rules', 'rules.yaml');
    expect(run.output).toContain(`SUCCESS: ${rules.length} rules found`);
  });
});

const crds = customSchemas();
const testSchemas = crds.schemas === undefined ? test.skip : test;
testSchemas(
  `the operator's own schemas take all of it ${crds.reason === '' ? '' : `(skipped: ${crds.reason})`}`,
  async () => {
    const made = await make({ kubernetesMetrics: true, certManagerMetrics: true, errorRateQuery: 'x' });
    for (const child of ['m-alerts', 'm-redis', 'm-agents'])
      expect(violations(crds.schemas!, made.find(child))).toEqual([]);
  },
);

test.each<[Partial<RedisMonitoringArgs>, RegExp]>([
  [{ region: 'West Coast' }, /region: found "West Coast"/],
  [{ peers: ['west'] }, /peers: found west; allowed: other regions/],
  [{ peers: ['eu', 'eu'] }, /peers\[1\]: found "eu" again/],
  [{ memoryCritical: 95 }, /memoryCritical: found 95; allowed: a number from 0 to 1/],
  [
    { memoryWarning: 0.96 },
    /memoryWarning: found 0.96; allowed: memoryCritical \(0.95\) or less: a warning comes first/,
  ],
  [{ lagCriticalMs: 500 }, /lagWarningMs: found 1000; allowed: lagCriticalMs \(500\) or less/],
  [{ scrapeIntervalSeconds: 1 }, /scrapeIntervalSeconds: found 1; allowed: a whole number from 5 to 120 \(seconds\)/],
])('refuses %j', (args, message) => {
  const create = (): RedisMonitoring =>
    new RedisMonitoring('m', { region: 'west', namespace: 'redis-west', peers: ['eu'], ...args });
  expect(create).toThrow(message);
  expect(create).toThrow(pulumi.RunError);
});
