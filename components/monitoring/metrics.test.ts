import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { dryRunMetrics } from '../../agent/dry-run';
import { createMetrics } from '../../agent/metrics';
import { dashboards } from './dashboards';
import { alertRules, defaultAlertSettings } from '../../model/alerts';
import { exporterMetrics, newerExporterMetrics } from '../../model/alerts/exporter';

/** What others export, by their documentation: cert-manager, kube-state-metrics, cAdvisor, the kubelet; `up` is Prometheus' own. */
const others = [
  'certmanager_certificate_expiration_timestamp_seconds',
  'container_cpu_usage_seconds_total',
  'kube_pod_container_resource_limits',
  'kube_statefulset_replicas',
  'kube_statefulset_status_replicas_ready',
  'kubelet_volume_stats_available_bytes',
  'kubelet_volume_stats_capacity_bytes',
  'up',
];

const settings = {
  ...defaultAlertSettings,
  region: 'west',
  peers: ['eu'],
  kubernetesNamespace: 'redis',
  certManagerNamespace: 'redis',
};
const expressions = [
  ...alertRules(settings).flatMap(({ rules }) => rules.map(({ expr }) => expr)),
  ...dashboards({}).flatMap(({ rows }) =>
    rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.map(({ expr }) => expr))),
  ),
];
/** Every series is asked for with matchers: its region, at least. */
const asked = [
  ...new Set(expressions.flatMap((expr) => [...expr.matchAll(/([a-z_]+)\{/g)].map(([, name]) => name ?? ''))),
].sort();

/** Names and types of what the agent really exports. */
async function agentMetrics(): Promise<Map<string, string>> {
  const metrics = createMetrics('west', { processMetrics: true });
  metrics.link('eu').lagMs(1);
  metrics.certificate('agent', 1);
  dryRunMetrics(metrics.registry);
  const found = await metrics.registry.getMetricsAsJSON();
  return new Map(found.map(({ name, type }) => [name, String(type)]));
}

test('every metric that is asked for exists', async () => {
  const known = [...exporterMetrics, ...newerExporterMetrics, ...others, ...(await agentMetrics()).keys()];
  expect(asked.filter((name) => !known.includes(name))).toEqual([]);
  // And the lists are no longer than what is asked for.
  expect([...exporterMetrics, ...newerExporterMetrics, ...others].filter((name) => !asked.includes(name))).toEqual([]);
});

test('rates are of counters only', async () => {
  const rated = expressions.flatMap((expr) =>
    [...expr.matchAll(/(?:rate|increase)\(([a-z_]+)\{/g)].map(([, name]) => name ?? ''),
  );
  const ofAgent = await agentMetrics();
  expect(rated.length).toBeGreaterThan(10);
  for (const name of rated) {
    expect([name, ofAgent.get(name) ?? 'counter']).toEqual([name, 'counter']);
    expect(name).toMatch(/_(total|bucket)$/);
  }
});

// --- Against the exporter itself, where there is one

const exporter = ['prometheus-redis-exporter', 'redis_exporter'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined,
);
const children: ChildProcess[] = [];
const dir = mkdtempSync(path.join(tmpdir(), 'meridian-exporter-'));
afterAll(async () => {
  for (const child of children) {
    const closed = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await closed;
  }
  rmSync(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function scrape(redisPort: number): Promise<string> {
  const port = await freePort();
  const args = [`--redis.addr=redis://127.0.0.1:${redisPort}`, `--web.listen-address=127.0.0.1:${port}`];
  children.push(spawn(exporter!, [...args, '--config-command=-'], { stdio: 'ignore' }));
  for (let tries = 0; tries < 100; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined);
    const text = (await answer?.text()) ?? '';
    if (text.includes('redis_up 1')) return text;
    await sleep(50);
  }
  throw new Error('the exporter shows no Redis');
}

const testExporter = exporter === undefined ? test.skip : test;
const missing = exporter === undefined ? " (skipped: no exporter; install Debian's `prometheus-redis-exporter`)" : '';
testExporter(`a running redis_exporter has all of them${missing}`, async () => {
  const [primary, replica] = [await freePort(), await freePort()];
  const redis = process.env['MERIDIAN_REDIS_SERVER'] ?? 'redis-server';
  const common = ['--bind', '127.0.0.1', '--save', '', '--dir', dir, '--repl-diskless-sync-delay', '0'];
  children.push(spawn(redis, ['--port', String(primary), ...common], { stdio: 'ignore' }));
  const following = ['--port', String(replica), ...common, '--replicaof', '127.0.0.1', String(primary)];
  children.push(spawn(redis, following, { stdio: 'ignore' }));
  let text = '';
  for (let tries = 0; tries < 20 && !text.includes('redis_connected_slave_lag_seconds{'); tries++) {
    await sleep(100);
    text = await scrape(primary);
  }
  text += await scrape(replica);
  const names = new Set(text.split('\n').map((line) => /^[a-z_]+/.exec(line)?.[0]));
  expect(exporterMetrics.filter((name) => !names.has(name))).toEqual([]);
});
