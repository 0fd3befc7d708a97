import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { promtool, promtoolMissing, runPromtool } from '../../test/promtool';
import { alertRules, type AlertSettings, defaultAlertSettings } from '.';

const settings: AlertSettings = {
  ...defaultAlertSettings,
  region: 'west',
  peers: ['eu', 'asia'],
  errorRateQuery: 'sum(rate(shop_errors_total[5m])) / sum(rate(shop_requests_total[5m]))',
  kubernetesNamespace: 'redis-west',
  certManagerNamespace: 'redis-west',
};
const groups = alertRules(settings);
const rules = groups.flatMap((group) => group.rules);

interface Expected {
  readonly severity?: 'warning';
  readonly labels?: Readonly<Record<string, string>>;
  readonly summary: string;
  /** Only where it has templates; else it is the rule's own text. */
  readonly description?: string;
}

interface Case {
  readonly alert: string;
  /** Values every 30 s from 0 on. Ten minutes of nothing wrong, then what should be told. */
  readonly series: Readonly<Record<string, string>>;
  /** When nothing is told. Default: 10m. */
  readonly silentAt?: string;
  /** When it must be told. Default: 21m. */
  readonly at?: string;
  /** And when not yet, though something is wrong already: `for`. */
  readonly notYetAt?: string;
  readonly firing: readonly Expected[];
}

const agent = 'job="meridian-agent",instance="a:9400",region="west"';
const pod = 'job="meridian-redis",instance="r:9121",region="west",pod="redis-0"';
const active = { [`meridian_agent_state{${agent},state="active"}`]: '1x200' };
const ofPod = { region: 'west', pod: 'redis-0' };
const ofEu = { region: 'west', peer: 'eu' };

const cases: readonly Case[] = [
  {
    alert: 'MeridianReplicationLag',
    series: { ...active, [`meridian_link_lag_ms{${agent},peer="eu"}`]: '800x20 1500x100' },
    at: '12m',
    notYetAt: '10m30s',
    firing: [
      {
        severity: 'warning',
        labels: ofEu,
        summary: 'west is 1500 ms behind eu',
        description:
          'What is written in eu reaches west later than 1000 ms. Were eu lost now, so much of it would be missing.',
      },
    ],
  },
  {
    alert: 'MeridianReplicationLag',
    series: {
      ...active,
      [`meridian_link_lag_ms{${agent},peer="eu"}`]: '800x20 6000x100',
      [`meridian_link_lag_ms{${agent},peer="asia"}`]: '900x200',
    },
    firing: [
      {
        labels: ofEu,
        summary: 'west is 6000 ms behind eu',
        description:
          'What is written in eu reaches west later than 5000 ms. Were eu lost now, so much of it would be missing.',
      },
      {
        severity: 'warning',
        labels: ofEu,
        summary: 'west is 6000 ms behind eu',
        description:
          'What is written in eu reaches west later than 1000 ms. Were eu lost now, so much of it would be missing.',
      },
    ],
  },
  {
    // What an agent measured before it became a standby is no lag.
    alert: 'MeridianReplicationLag',
    series: {
      [`meridian_agent_state{${agent},state="active"}`]: '1x20 0x200',
      [`meridian_link_lag_ms{${agent},peer="eu"}`]: '800x20 6000x100',
    },
    firing: [],
  },
  {
    alert: 'MeridianLagUnknown',
    series: {
      [`meridian_link_lag_ms{${agent},peer="eu"}`]: '5x200',
      [`meridian_link_lag_ms{${agent},peer="asia"}`]: '5x20 stale',
    },
    notYetAt: '12m',
    firing: [
      {
        labels: { region: 'west', peer: 'asia' },
        summary: 'How far west is behind asia is not known',
        description: "The agent of west has had no heartbeat of asia since it started, or isn't scraped.",
      },
    ],
  },
  {
    alert: 'MeridianLinkDown',
    series: { [`meridian_link_up{${agent},peer="eu"}`]: '1x20 0x100' },
    at: '12m',
    notYetAt: '10m30s',
    firing: [
      {
        labels: ofEu,
        summary: 'west has no link to eu',
        description: 'Nothing arrives in west from eu directly. Other regions may pass it on.',
      },
    ],
  },
  {
    alert: 'MeridianLinkErrors',
    series: { [`meridian_link_errors_total{${agent},peer="eu"}`]: '0x20 1+1x100' },
    firing: [
      {
        labels: ofEu,
        summary: 'The link from eu to west breaks again and again',
        description: '20 errors in ten minutes.',
      },
    ],
  },
  {
    alert: 'MeridianAgentDown',
    series: { [`up{${agent}}`]: '1x20 0x100' },
    at: '12m',
    notYetAt: '10m30s',
    firing: [
      {
        labels: { job: 'meridian-agent', instance: 'a:9400', region: 'west' },
        summary: 'The sync agent of west is not there',
      },
    ],
  },
  {
    alert: 'MeridianAgentDown',
    series: { [`up{${agent}}`]: '1x20 stale' },
    firing: [{ labels: { job: 'meridian-agent', region: 'west' }, summary: 'The sync agent of west is not there' }],
  },
  {
    alert: 'MeridianAgentInactive',
    series: { [`up{${agent}}`]: '1x200', [`meridian_agent_state{${agent},state="active"}`]: '1x20 0x100' },
    notYetAt: '11m',
    firing: [{ labels: { region: 'west' }, summary: 'No agent of west is active' }],
  },
  {
    // One that has never been active has no such series.
    alert: 'MeridianAgentInactive',
    series: { [`up{${agent}}`]: '_x21 1x200', [`meridian_agent_state{${agent},state="starting"}`]: '_x21 1x200' },
    firing: [{ labels: { region: 'west' }, summary: 'No agent of west is active' }],
  },
  {
    // It is not meant to be active.
    alert: 'MeridianAgentInactive',
    series: { [`up{${agent}}`]: '1x200', [`meridian_dry_run{${agent}}`]: '1x200' },
    firing: [],
  },
  {
    // The first one is a series that wasn't there before.
    alert: 'MeridianDivergence',
    series: { [`meridian_dead_letters_total{${agent},code="OTHER"}`]: '_x25 1x200' },
    at: '14m',
    firing: [
      { labels: { region: 'west', code: 'OTHER' }, summary: 'west could not apply commands of other regions (OTHER)' },
    ],
  },
  {
    alert: 'MeridianDivergence',
    series: { [`meridian_dead_letters_total{${agent},code="OTHER"}`]: '3x80 4x200' },
    silentAt: '20m',
    at: '42m',
    firing: [
      { labels: { region: 'west', code: 'OTHER' }, summary: 'west could not apply commands of other regions (OTHER)' },
    ],
  },
  {
    alert: 'MeridianDeadLetters',
    series: { [`meridian_dead_letters{${agent}}`]: '0x20 2x200' },
    notYetAt: '19m',
    at: '26m',
    firing: [{ labels: { region: 'west' }, summary: 'west has 2 dead letters' }],
  },
  {
    alert: 'MeridianFlushRefused',
    series: { [`meridian_flushes_refused_total{${agent}}`]: '0x80 1x200' },
    silentAt: '20m',
    at: '42m',
    firing: [{ labels: { region: 'west' }, summary: 'A client has flushed the Redis of west' }],
  },
  {
    alert: 'MeridianTrespass',
    series: { [`meridian_trespasses_total{${agent}}`]: '0x80 3x200' },
    silentAt: '20m',
    at: '42m',
    firing: [{ labels: { region: 'west' }, summary: 'Clients of west write keys that another region owns' }],
  },
  {
    alert: 'MeridianFullSyncs',
    series: { [`meridian_full_syncs_total{${agent},kind="diff"}`]: '1x20 2+1x4 6x200' },
    firing: [
      {
        labels: { region: 'west' },
        summary: 'west syncs in full again and again',
        description: "5 full syncs in an hour: Redis restarts, or its backlog is too short for the agent's absences.",
      },
    ],
  },
  {
    alert: 'MeridianWindowLarge',
    series: {
      [`meridian_window_load_bytes{${agent}}`]: '300x20 400x100',
      [`meridian_window_budget_bytes{${agent}}`]: '256x200',
    },
    at: '16m',
    notYetAt: '14m30s',
    firing: [
      {
        severity: 'warning',
        labels: { region: 'west' },
        summary: 'The window of west takes 156.2% of its memory',
      },
    ],
  },
  {
    alert: 'MeridianJournalFull',
    series: { [`meridian_journal_bytes{${agent}}`]: '1000x20 6000000000x100' },
    at: '12m',
    notYetAt: '10m30s',
    firing: [
      {
        severity: 'warning',
        labels: { region: 'west', instance: 'a:9400' },
        summary: 'The journal of west has 69.85% of its size',
      },
    ],
  },
  {
    alert: 'MeridianJournalFull',
    series: { [`meridian_journal_bytes{${agent}}`]: '1000x20 8000000000x100' },
    firing: [
      { labels: { region: 'west', instance: 'a:9400' }, summary: 'The journal of west has 93.13% of its size' },
      {
        severity: 'warning',
        labels: { region: 'west', instance: 'a:9400' },
        summary: 'The journal of west has 93.13% of its size',
      },
    ],
  },
  {
    alert: 'RedisDown',
    series: { [`redis_up{${pod}}`]: '1x20 0x100' },
    at: '12m',
    notYetAt: '10m30s',
    firing: [{ labels: ofPod, summary: "redis-0 (west) doesn't answer" }],
  },
  {
    alert: 'RedisMetricsMissing',
    series: { [`redis_up{${pod}}`]: '1x20 stale', [`up{${pod}}`]: '1x20 stale' },
    notYetAt: '12m',
    firing: [{ labels: { region: 'west' }, summary: 'Metrics of Redis in west are missing' }],
  },
  {
    alert: 'RedisMetricsMissing',
    series: { 'redis_up{region="west",pod="redis-1"}': '1x200', [`up{${pod}}`]: '1x20 0x100' },
    firing: [
      {
        labels: { job: 'meridian-redis', instance: 'r:9121', ...ofPod },
        summary: 'Metrics of Redis in west are missing',
      },
    ],
  },
  {
    alert: 'RedisPrimaryMissing',
    series: {
      [`redis_up{${pod}}`]: '1x200',
      [`redis_instance_info{${pod},role="master"}`]: '1x20 stale',
      [`redis_instance_info{${pod},role="slave"}`]: '_x21 1x200',
    },
    at: '13m',
    notYetAt: '11m',
    firing: [{ labels: { region: 'west' }, summary: 'west has 0 of 1 Redis primaries' }],
  },
  {
    alert: 'RedisPrimaryTwice',
    series: {
      [`redis_instance_info{${pod},role="master"}`]: '1x200',
      'redis_instance_info{region="west",pod="redis-1",role="master"}': '_x21 1x200',
    },
    at: '13m',
    notYetAt: '11m',
    firing: [{ labels: { region: 'west' }, summary: 'west has 2 Redis primaries instead of 1' }],
  },
  {
    alert: 'RedisReplicaLinkDown',
    series: { [`redis_master_link_up{${pod},master_host="redis-1"}`]: '1x20 0x100' },
    at: '12m',
    notYetAt: '10m30s',
    firing: [{ labels: ofPod, summary: 'redis-0 (west) is a replica without its primary' }],
  },
  {
    alert: 'RedisWritesRefused',
    series: {
      [`redis_instance_info{${pod},role="master"}`]: '1x200',
      [`redis_connected_slave_lag_seconds{${pod},slave_ip="10.0.0.2",slave_state="online"}`]: '1x20 30x100',
    },
    at: '12m',
    notYetAt: '10m30s',
    firing: [{ labels: ofPod, summary: 'redis-0 (west) refuses writes: less than 1 replicas acknowledge' }],
  },
  {
    alert: 'RedisMemoryHigh',
    series: { [`redis_memory_used_bytes{${pod}}`]: '500x20 850x100', [`redis_memory_max_bytes{${pod}}`]: '1000x200' },
    at: '16m',
    notYetAt: '14m',
    firing: [{ severity: 'warning', labels: ofPod, summary: 'redis-0 (west) uses 85% of its maxmemory' }],
  },
  {
    alert: 'RedisMemoryHigh',
    series: { [`redis_memory_used_bytes{${pod}}`]: '500x20 960x100', [`redis_memory_max_bytes{${pod}}`]: '1000x200' },
    firing: [
      { labels: ofPod, summary: 'redis-0 (west) uses 96% of its maxmemory' },
      { severity: 'warning', labels: ofPod, summary: 'redis-0 (west) uses 96% of its maxmemory' },
    ],
  },
  {
    // No limit, no ratio.
    alert: 'RedisMemoryHigh',
    series: { [`redis_memory_used_bytes{${pod}}`]: '500x20 960x100', [`redis_memory_max_bytes{${pod}}`]: '0x200' },
    firing: [],
  },
  {
    alert: 'RedisKeysEvicted',
    series: { [`redis_evicted_keys_total{${pod}}`]: '0x20 10+10x100' },
    at: '12m',
    firing: [{ labels: ofPod, summary: 'redis-0 (west) evicts keys' }],
  },
  {
    alert: 'RedisCpuHigh',
    series: {
      [`redis_cpu_user_main_thread_seconds_total{${pod}}`]: '0+6x20 144+24x100',
      [`redis_cpu_sys_main_thread_seconds_total{${pod}}`]: '0+3x200',
    },
    notYetAt: '15m',
    firing: [{ labels: ofPod, summary: 'The main thread of redis-0 (west) is busy for 90% of the time' }],
  },
  {
    alert: 'RedisHitRateLow',
    series: {
      [`redis_keyspace_hits_total{${pod}}`]: '0+900x20 18600+600x100',
      [`redis_keyspace_misses_total{${pod}}`]: '0+100x20 2400+400x100',
    },
    notYetAt: '12m',
    firing: [{ labels: { region: 'west' }, summary: 'In west 60% of the lookups find their key' }],
  },
  {
    // A few misses at night are no alert.
    alert: 'RedisHitRateLow',
    series: { [`redis_keyspace_hits_total{${pod}}`]: '0x200', [`redis_keyspace_misses_total{${pod}}`]: '0+1x200' },
    firing: [],
  },
  {
    alert: 'RedisConnectionsHigh',
    series: { [`redis_connected_clients{${pod}}`]: '900x20 1100x100' },
    at: '16m',
    notYetAt: '14m',
    firing: [{ labels: ofPod, summary: 'redis-0 (west) has 1100 connections' }],
  },
  {
    alert: 'RedisConnectionsRefused',
    series: { [`redis_rejected_connections_total{${pod}}`]: '0x20 1+1x100' },
    at: '12m',
    firing: [{ labels: ofPod, summary: 'redis-0 (west) refuses connections' }],
  },
  {
    alert: 'RedisLatencyHigh',
    series: {
      [`redis_commands_latencies_usec_bucket{${pod},cmd="get",le="131072"}`]: '0+100x20 2000+90x100',
      [`redis_commands_latencies_usec_bucket{${pod},cmd="get",le="262144"}`]: '0+100x20 2100+100x100',
      [`redis_commands_latencies_usec_bucket{${pod},cmd="get",le="65536"}`]: '0+100x20 2000+90x100',
      [`redis_commands_latencies_usec_bucket{${pod},cmd="get",le="+Inf"}`]: '0+100x20 2100+100x100',
    },
    notYetAt: '10m30s',
    firing: [{ labels: ofPod, summary: 'One in a hundred commands takes 249 ms at redis-0 (west)' }],
  },
  {
    alert: 'RedisPersistenceFailed',
    series: {
      [`redis_aof_last_write_status{${pod}}`]: '1x20 0x100',
      [`redis_rdb_last_bgsave_status{${pod}}`]: '1x200',
    },
    at: '12m',
    notYetAt: '10m30s',
    firing: [{ labels: ofPod, summary: "redis-0 (west) can't write to its disk" }],
  },
  {
    alert: 'ApplicationErrorRateHigh',
    series: { shop_errors_total: '0x20 10+10x100', shop_requests_total: '0+100x200' },
    notYetAt: '10m30s',
    firing: [{ labels: { region: 'west' }, summary: "10% of the application's requests in west fail" }],
  },
  {
    alert: 'MeridianCertificateExpires',
    series: {
      [`meridian_certificate_expiration_timestamp_seconds{${agent},certificate="agent"}`]: '10000000x20 860400x300',
      [`meridian_certificate_expiration_timestamp_seconds{${agent},certificate="authority"}`]: '10000000x300',
    },
    at: '75m',
    notYetAt: '60m',
    firing: [
      {
        labels: { region: 'west', certificate: 'agent' },
        summary: 'The certificate that west uses (agent) ends in 9d 21h 45m 0s',
      },
    ],
  },
  {
    alert: 'MeridianCertificateNotRenewed',
    series: {
      'certmanager_certificate_expiration_timestamp_seconds{namespace="redis-west",name="agent-tls"}':
        '10000000x20 860400x300',
    },
    at: '75m',
    notYetAt: '60m',
    firing: [
      {
        labels: { region: 'west', namespace: 'redis-west', name: 'agent-tls' },
        summary: 'Certificate agent-tls ends in 9d 21h 45m 0s',
      },
    ],
  },
  {
    alert: 'RedisContainerCpuHigh',
    series: {
      'container_cpu_usage_seconds_total{namespace="redis-west",pod="redis-0",container="redis"}': '0+3x20 87+27x100',
      'kube_pod_container_resource_limits{namespace="redis-west",pod="redis-0",container="redis",resource="cpu"}':
        '1x200',
    },
    notYetAt: '15m',
    firing: [
      {
        labels: { region: 'west', namespace: 'redis-west', pod: 'redis-0', container: 'redis' },
        summary: 'redis of redis-0 uses 90% of its CPU limit',
      },
    ],
  },
  {
    alert: 'RedisPodsNotReady',
    series: {
      'kube_statefulset_replicas{namespace="redis-west",statefulset="redis"}': '2x200',
      'kube_statefulset_status_replicas_ready{namespace="redis-west",statefulset="redis"}': '2x20 1x100',
    },
    notYetAt: '19m',
    firing: [
      {
        labels: { region: 'west', namespace: 'redis-west', statefulset: 'redis' },
        summary: '1 pods of redis are not ready',
      },
    ],
  },
  {
    alert: 'RedisVolumeFull',
    series: {
      'kubelet_volume_stats_available_bytes{namespace="redis-west",persistentvolumeclaim="data-redis-0"}':
        '50x20 5x100',
      'kubelet_volume_stats_capacity_bytes{namespace="redis-west",persistentvolumeclaim="data-redis-0"}': '100x200',
    },
    notYetAt: '14m',
    firing: [
      {
        labels: { region: 'west', namespace: 'redis-west', persistentvolumeclaim: 'data-redis-0' },
        summary: 'Volume data-redis-0 has 5% left',
      },
    ],
  },
];

/** A test of promtool: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/ */
function testOf({ alert, series, silentAt = '10m', at = '21m', notYetAt, firing }: Case): object {
  const silent = (time: string): object => ({ eval_time: time, alertname: alert, exp_alerts: [] });
  return {
    interval: '30s',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [
      silent(silentAt),
      ...(notYetAt === undefined ? [] : [silent(notYetAt)]),
      {
        eval_time: at,
        alertname: alert,
        exp_alerts: firing.map(({ severity = 'critical', labels, summary, description }) => {
          const rule = rules.find((one) => one.alert === alert && one.labels['severity'] === severity) ?? single(alert);
          return {
            exp_labels: { ...labels, region: 'west', severity: rule.labels['severity'] },
            exp_annotations: {
              summary,
              description: description ?? rule.annotations.description,
              runbook_url: `docs/runbooks/${alert}.md`,
            },
          };
        }),
      },
    ],
  };
}

function single(alert: string) {
  const [rule] = rules.filter((one) => one.alert === alert);
  if (rule === undefined) throw new Error(`no alert ${alert}`);
  return rule;
}

const names = [...new Set(rules.map(({ alert }) => alert))].sort();

test('every alert has a test that sees it fire', () => {
  expect([...new Set(cases.filter(({ firing }) => firing.length > 0).map(({ alert }) => alert))].sort()).toEqual(names);
});

const testRules = promtool === undefined ? test.skip : test;
testRules(`promtool: each alert is silent first, then told${promtoolMissing}`, () => {
  // Each group by itself: promtool evaluates every rule that it is given.
  const files = groups.flatMap((group) => {
    const own = cases.filter(({ alert }) => group.rules.some((rule) => rule.alert === alert));
    const tests = { rule_files: [`${group.name}.yaml`], evaluation_interval: '1m', tests: own.map(testOf) };
    return [
      [`${group.name}.yaml`, { groups: [group] }],
      [`${group.name}.test.yaml`, tests],
    ];
  });
  const run = runPromtool(
    Object.fromEntries(files) as Record<string, unknown>,
    'test',
    'rules',
    ...groups.map(({ name }) => `${name}.test.yaml`),
  );
  expect(run.output).not.toContain('FAILED');
  expect(run.ok).toBe(true);
});

test('every alert has a runbook, and every runbook an alert', () => {
  const dir = path.join(__dirname, '../../docs/runbooks');
  const pages = readdirSync(dir).filter((file) => file !== 'README.md');
  expect(pages.sort()).toEqual(names.map((name) => `${name}.md`));
  for (const page of pages) {
    const text = readFileSync(path.join(dir, page), 'utf8');
    expect(text.split('\n')[0]).toBe(`# ${page.replace('.md', '')}`);
    expect([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual([
      'Meaning',
      'Impact',
      'Check',
      'Fix',
    ]);
  }
});

test('thresholds are those of the settings, also in what people read', () => {
  const other = alertRules({
    ...settings,
    critical: { ...settings.critical, lagMs: 7777 },
    warning: { ...settings.warning, connections: 123 },
    matchers: 'namespace="redis-west"',
    runbookBaseUrl: 'https://runbooks.example.com/',
  }).flatMap((group) => group.rules);
  const find = (alert: string): (typeof other)[number] => other.find((rule) => rule.alert === alert)!;
  expect(find('MeridianReplicationLag').expr).toMatch(/ > 7777$/);
  expect(find('MeridianReplicationLag').annotations.description).toContain('7777 ms');
  expect(find('RedisConnectionsHigh').expr).toBe(
    'max by (region, pod) (redis_connected_clients{region="west",namespace="redis-west"}) > 123',
  );
  expect(find('RedisDown').annotations.runbook_url).toBe('https://runbooks.example.com/RedisDown.md');
});

test('the figures of requirements are the defaults', () => {
  const exprOf = (alert: string, severity: string): string =>
    rules.find((rule) => rule.alert === alert && rule.labels['severity'] === severity)?.expr ?? '';
  expect(exprOf('MeridianReplicationLag', 'critical')).toMatch(/ > 5000$/);
  expect(exprOf('MeridianReplicationLag', 'warning')).toMatch(/ > 1000$/);
  expect(exprOf('RedisMemoryHigh', 'critical')).toMatch(/ > 0.95$/);
  expect(exprOf('RedisMemoryHigh', 'warning')).toMatch(/ > 0.8$/);
  expect(exprOf('ApplicationErrorRateHigh', 'critical')).toMatch(/ > 0.05$/);
  expect(exprOf('RedisCpuHigh', 'warning')).toMatch(/ > 0.8$/);
  expect(exprOf('RedisHitRateLow', 'warning')).toMatch(/ < 0.8 and /);
  expect(exprOf('RedisConnectionsHigh', 'warning')).toMatch(/ > 1000$/);
  const forOf = (alert: string): string | undefined => rules.find((rule) => rule.alert === alert)?.for;
  expect([forOf('RedisDown'), forOf('RedisConnectionsHigh')]).toEqual(['60s', '300s']);
});

test('without the settings for it there is no alert on what others measure', () => {
  const few = alertRules({
    ...defaultAlertSettings,
    region: 'west',
    peers: [],
    minReplicasToWrite: 0,
    isDataStack: false,
  });
  const found = few.flatMap((group) => group.rules).map(({ alert }) => alert);
  for (const alert of [
    'ApplicationErrorRateHigh',
    'MeridianCertificateNotRenewed',
    'RedisVolumeFull',
    'RedisKeysEvicted',
    'RedisWritesRefused',
    'MeridianLagUnknown',
  ]) {
    expect(found).not.toContain(alert);
  }
  expect(found).toContain('RedisDown');
  expect(found).toContain('MeridianCertificateExpires');
});
