import fc from 'fast-check';

import { maxmemoryPolicy, parseStackConfig, primaryOf, type StackConfig, topologyOf, withRegions } from './config';
import { type ConfigIssue, formatIssues } from './explain';
import { minReplicasToWrite } from './settings';

const regions = [
  { name: 'us-west-2', weight: 60, primary: true },
  { name: 'eu-central-1', weight: 25 },
  { name: 'ap-northeast-1', weight: 15 },
];

const elasticache = { vpcId: 'vpc-1', subnetIds: ['subnet-a', 'subnet-b'] };
const tencent = {
  zone: 'ap-guangzhou-3',
  replicaZoneId: 100_004,
  vpcId: 'vpc-1',
  subnetId: 'subnet-1',
  clientCidrs: { agents: '10.1.0.0/16' },
};
const redisCidrs = ['10.1.0.0/16'];

function accepted(raw: unknown): StackConfig {
  const result = parseStackConfig(raw);
  if (!result.ok) throw new Error(formatIssues(result.issues));
  return result.config;
}

function refused(raw: unknown): readonly ConfigIssue[] {
  const result = parseStackConfig(raw);
  if (result.ok) throw new Error('expected to be refused');
  return result.issues;
}

/** The valid stack with one section replaced. */
const having = (section: string, value: unknown) => ({ 'meridian:regions': regions, [`meridian:${section}`]: value });

test('regions alone are enough: all else has the asked-for defaults', () => {
  const config = accepted({ 'meridian:regions': regions });
  expect(config.regions[1]).toEqual({
    name: 'eu-central-1',
    weight: 25,
    primary: false,
    backend: 'kubernetes',
    mode: 'semi-sync',
    providerRegion: 'eu-central-1',
    locality: 'eu-central-1',
    replicas: 1,
    replicasMax: 3,
  });
  expect(config.replication).toEqual({
    mode: 'semi-sync',
    semiSyncRegions: 1,
    maxLagMs: 1000,
    autoHeal: true,
    topology: 'mesh',
    compression: 'auto',
    heartbeatMs: 25,
    flush: 'carry',
    journal: { maxBytes: 8 * 1024 ** 3, segmentBytes: 64 * 1024 ** 2 },
    windowBytes: 256 * 1024 ** 2,
    conflicts: [],
    conflictValues: 'digest',
    acceptWholeKeyMerge: false,
    dryRun: false,
  });
  expect(config.redis).toEqual({
    use: 'data',
    engine: 'redis',
    version: '7.2',
    maxmemory: 16 * 1024 ** 3,
    appendfsync: 'everysec',
    backlog: { size: 64 * 1024 ** 2, ttlSeconds: 3600 },
    outputBuffer: { hard: 256 * 1024 ** 2, soft: 64 * 1024 ** 2, softSeconds: 60 },
    disklessSync: { enabled: false, delaySeconds: 5 },
    minReplicas: { toWrite: 1, maxLagSeconds: 10 },
  });
  expect(config.failover).toEqual({
    auto: true,
    timeoutSeconds: 30,
    dataLossThresholdSeconds: 5,
    probeIntervalSeconds: 10,
    confirm: true,
    sentinel: { count: 3, quorum: 2, downAfterMs: 5000, failoverTimeoutMs: 30_000, parallelSyncs: 1 },
  });
  expect(config.security).toEqual({
    tls: true,
    networkPolicy: true,
    users: { app: ['+@read', '+@write'], read: ['+@read'], admin: ['+@all'] },
    authorities: ['a'],
    passwords: ['a', 'b'],
    issuer: 'pulumi',
    issuerKind: 'ClusterIssuer',
    certificateValidityDays: 365,
  });
  expect(config.monitoring).toEqual({
    operator: false,
    namespace: 'monitoring',
    labels: {},
    kubernetesMetrics: false,
    certManagerMetrics: false,
    targets: { lagMs: 1000, p99LatencyMs: 100, hitRate: 0.9, memory: 0.8, cpu: 0.7, errorRate: 0.01 },
    critical: { lagMs: 5000, memory: 0.95, errorRate: 0.05, downSeconds: 60 },
    warning: { lagMs: 1000, cpu: 0.8, hitRate: 0.8, memory: 0.8, connections: 1000, forSeconds: 300 },
  });
});

test('what Pulumi hands over is read alike: JSON text, numbers and booleans as text, keys without namespace', () => {
  const replication = { maxLagMs: '500', autoHeal: 'false', journal: { maxBytes: '1gb', segmentBytes: 16777216 } };
  const plain = accepted({ 'meridian:regions': regions, 'meridian:replication': replication });
  const text = accepted({ regions: JSON.stringify(regions), 'meridian:replication': JSON.stringify(replication) });
  expect(text).toEqual(plain);
  expect(plain.replication).toMatchObject({ maxLagMs: 500, autoHeal: false, journal: { maxBytes: 1024 ** 3 } });
});

test('keys of other namespaces are left alone, an empty section is all defaults', () => {
  const config = accepted({ 'aws:region': 'us-west-2', 'meridian:regions': regions, 'meridian:redis': null });
  expect(config.redis.use).toBe('data');
});

test('without any weight, regions have equal parts', () => {
  const config = accepted({ regions: [{ name: 'a', primary: true }, { name: 'b' }, { name: 'c' }] });
  expect(config.regions.map((region) => region.weight)).toEqual([34, 33, 33]);
});

test.each<[string, unknown, ConfigIssue]>([
  ['no mapping', [], { path: 'config', found: '[]', allowed: 'a mapping with meridian:regions, …' }],
  [
    'no regions',
    {},
    {
      path: 'meridian:regions',
      found: 'nothing',
      allowed: 'a list of at least two regions, each a mapping with name, weight, primary, backend, …',
    },
  ],
  [
    'one region',
    { regions: [{ name: 'a', primary: true }] },
    {
      path: 'meridian:regions',
      found: '[{"name":"a","primary":true}]',
      allowed: 'at least two regions: with one there is nobody to replicate to',
    },
  ],
  [
    'broken JSON text',
    { regions: '[{' },
    {
      path: 'meridian:regions',
      found: '"[{"',
      allowed: 'a list of at least two regions, each a mapping with name, weight, primary, backend, …',
    },
  ],
  [
    'an unknown section',
    { 'meridian:regions': regions, 'meridian:replicaton': {} },
    {
      path: 'meridian:replicaton',
      found: 'an unknown section',
      allowed:
        "regions, replication, redis, failover, traffic, security, kubernetes, monitoring, local (did you mean 'replication'?)",
    },
  ],
  [
    'a section twice',
    { 'meridian:regions': regions, regions },
    { path: 'meridian:regions', found: "both 'regions' and 'meridian:regions'", allowed: 'one of them' },
  ],
  [
    'an encrypted section',
    having('security', { secure: 'v1:abc' }),
    {
      path: 'meridian:security',
      found: 'an encrypted value',
      allowed: 'plain text: there are no secrets in this section',
    },
  ],
  [
    'a password where its name should be',
    having('security', { passwords: ['Secr3t', 'a'] }),
    { path: 'meridian:security.passwords[0]', found: '"Secr3t"', allowed: 'a name of your choice, such as a' },
  ],
  [
    'one password: nothing to overlap with',
    having('security', { passwords: ['a'] }),
    {
      path: 'meridian:security.passwords',
      found: '["a"]',
      allowed: 'at least two: one is good while the other is replaced',
    },
  ],
  [
    'cert-manager without an issuer',
    having('security', { issuer: 'cert-manager' }),
    {
      path: 'meridian:security.issuerName',
      found: 'nothing',
      allowed: "the name of cert-manager's issuer, with issuer cert-manager",
    },
  ],
  [
    'an issuer that nobody asks',
    having('security', { issuerName: 'mesh' }),
    {
      path: 'meridian:security.issuerName',
      found: 'a value, with issuer pulumi',
      allowed: 'only with issuer cert-manager',
    },
  ],
  [
    'an unknown key',
    having('replication', { maxLag: 1000 }),
    {
      path: 'meridian:replication.maxLag',
      found: 'an unknown key',
      allowed:
        'mode, semiSyncRegions, maxLagMs, autoHeal, topology, hub, compression, heartbeatMs, flush, journal, ' +
        "conflicts, conflictValues, windowBytes, acceptWholeKeyMerge, dryRun (did you mean 'maxLagMs'?)",
    },
  ],
  [
    'a section that is no mapping',
    having('failover', true),
    {
      path: 'meridian:failover',
      found: 'true',
      allowed: 'a mapping with auto, timeoutSeconds, dataLossThresholdSeconds, probeIntervalSeconds, confirm, sentinel',
    },
  ],
  [
    'a choice that is none',
    having('replication', { mode: 'sync' }),
    { path: 'meridian:replication.mode', found: '"sync"', allowed: 'async, semi-sync' },
  ],
  [
    'a number that is none',
    having('replication', { maxLagMs: 'fast' }),
    {
      path: 'meridian:replication.maxLagMs',
      found: '"fast"',
      allowed: 'a whole number from 10 to 600000 (milliseconds)',
    },
  ],
  [
    'a size below its limit',
    having('redis', { backlog: { size: '512kb' } }),
    {
      path: 'meridian:redis.backlog.size',
      found: '"512kb"',
      allowed: 'a size from 1mb to 16gb, such as 256mb or 16gb',
    },
  ],
  [
    'a size that is none',
    having('redis', { maxmemory: 'lots' }),
    { path: 'meridian:redis.maxmemory', found: '"lots"', allowed: 'a size from 16mb to 4096gb, such as 256mb or 16gb' },
  ],
  [
    'an old Redis',
    having('redis', { version: '6.2' }),
    { path: 'meridian:redis.version', found: '"6.2"', allowed: "a version from 7.0 on, in quotes, such as '7.2'" },
  ],
  [
    'a reserved user',
    having('security', { users: { default: ['+@all'] } }),
    {
      path: 'meridian:security.users.default',
      found: '"default"',
      allowed: "a user's name: up to 32 lower-case letters, digits and hyphens; `default` and `meridian…` are taken",
    },
  ],
  [
    'a rule that is none',
    having('security', { users: { app: ['@read'] } }),
    {
      path: 'meridian:security.users.app[0]',
      found: '"@read"',
      allowed: "a rule on commands, such as '+@read' or '-flushall'",
    },
  ],
  [
    'a fraction as percent',
    having('monitoring', { critical: { memory: 95 } }),
    { path: 'meridian:monitoring.critical.memory', found: '95', allowed: 'a number from 0 to 1' },
  ],
  [
    'a bad name',
    { regions: [{ name: 'US', primary: true }, { name: 'eu' }] },
    {
      path: 'meridian:regions[0].name',
      found: '"US"',
      allowed:
        'a DNS label: 1 to 40 lower-case letters, digits and hyphens, starting with a letter, ending with no hyphen',
    },
  ],
  [
    'a name twice',
    { regions: [{ name: 'a', primary: true }, { name: 'a' }] },
    {
      path: 'meridian:regions[1].name',
      found: '"a", the name of meridian:regions[0] too',
      allowed: 'a name of its own',
    },
  ],
  [
    'no primary',
    { regions: [{ name: 'a' }, { name: 'b' }] },
    {
      path: 'meridian:regions',
      found: 'no region with primary: true',
      allowed: 'primary: true at exactly one region',
    },
  ],
  [
    'two primaries',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', primary: true },
      ],
    },
    { path: 'meridian:regions', found: 'primary: true at a, b', allowed: 'primary: true at exactly one region' },
  ],
  [
    'weights that are not a whole',
    {
      regions: [
        { name: 'a', primary: true, weight: 60 },
        { name: 'b', weight: 30 },
      ],
    },
    { path: 'meridian:regions', found: 'weights 60 + 30 = 90', allowed: 'weights with a sum of 100' },
  ],
  [
    'a weight here and none there',
    { regions: [{ name: 'a', primary: true, weight: 100 }, { name: 'b' }] },
    {
      path: 'meridian:regions',
      found: 'no weight at b',
      allowed: 'a weight at every region, or at none (equal parts)',
    },
  ],
  [
    'local beside a cloud',
    { regions: [{ name: 'a', primary: true, backend: 'local' }, { name: 'b' }] },
    {
      path: 'meridian:regions',
      found: 'backend local beside b (kubernetes)',
      allowed: 'backend local at every region, or at none',
    },
  ],
  [
    'a server binary in a cloud',
    { regions: [{ name: 'a', primary: true, redisServer: '/opt/redis-server' }, { name: 'b' }] },
    {
      path: 'meridian:regions[0].redisServer',
      found: 'a path, with backend kubernetes',
      allowed: 'only with backend local',
    },
  ],
  [
    'a base port in a cloud',
    having('local', { basePort: 9000 }),
    { path: 'meridian:local.basePort', found: 'a port, with backend kubernetes', allowed: 'only with backend local' },
  ],
  [
    'a base port that is none',
    having('local', { basePort: 'high' }),
    { path: 'meridian:local.basePort', found: '"high"', allowed: 'a whole number from 1 to 65535 (a port)' },
  ],
  [
    'a base port too near the end',
    {
      regions: [
        { name: 'a', primary: true, backend: 'local' },
        { name: 'b', backend: 'local' },
        { name: 'c', backend: 'local' },
      ],
      local: { basePort: 65_507 },
    },
    {
      path: 'meridian:local.basePort',
      found: '65507',
      allowed: 'a whole number from 1 to 65506: 10 ports for each region',
    },
  ],
  [
    'more replicas than the most',
    { regions: [{ name: 'a', primary: true, replicas: 4 }, { name: 'b' }] },
    { path: 'meridian:regions[0].replicasMax', found: '3', allowed: 'replicas (4) or more' },
  ],
  [
    'a hub that is no region',
    having('replication', { topology: 'star', hub: 'us-west-1' }),
    {
      path: 'meridian:replication.hub',
      found: '"us-west-1"',
      allowed: "us-west-2, eu-central-1, ap-northeast-1 (did you mean 'us-west-2'?)",
    },
  ],
  [
    'a hub of a mesh',
    having('replication', { hub: 'us-west-2' }),
    {
      path: 'meridian:replication.hub',
      found: '"us-west-2", with topology mesh',
      allowed: 'only with topology star',
    },
  ],
  [
    'waiting for more regions than there are',
    having('replication', { semiSyncRegions: 3 }),
    {
      path: 'meridian:replication.semiSyncRegions',
      found: '3',
      allowed: '1 to 2: only regions that a region is linked with tell it what they have, with topology mesh',
    },
  ],
  [
    'more confirmations than a ring has neighbours',
    {
      regions: ['a', 'b', 'c', 'd'].map((name, i) => ({ name, primary: i === 0 })),
      replication: { semiSyncRegions: 3, topology: 'ring' },
    },
    {
      path: 'meridian:replication.semiSyncRegions',
      found: '3',
      allowed: '1 to 2: only regions that a region is linked with tell it what they have, with topology ring',
    },
  ],
  [
    'a managed region without leave',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'elasticache', elasticache, redisCidrs },
      ],
      replication: { mode: 'async' },
    },
    {
      path: 'meridian:replication.acceptWholeKeyMerge',
      found: 'false, with b (elasticache)',
      allowed:
        'true: these services give no replication stream, so whole keys are merged there and counters do not add up',
    },
  ],
  [
    'a dry run where there is no replication stream',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'elasticache', elasticache, redisCidrs },
      ],
      replication: { mode: 'async', acceptWholeKeyMerge: true, dryRun: true },
    },
    {
      path: 'meridian:replication.dryRun',
      found: 'true, with b (elasticache)',
      allowed: 'false: a dry run reads the replication stream, which these services do not give',
    },
  ],
  [
    'an agent in Fargate beside pods',
    {
      regions: [{ name: 'a', primary: true, fargate: { subnetIds: { a: 'subnet-a', b: 'subnet-b' } } }, { name: 'b' }],
    },
    {
      path: 'meridian:regions[0].fargate',
      found: 'a mapping, with backend kubernetes',
      allowed: 'only with backend elasticache',
    },
  ],
  [
    'an agent in Fargate and in a cluster',
    {
      regions: [
        { name: 'a', primary: true },
        {
          name: 'b',
          backend: 'elasticache',
          elasticache,
          mode: 'async',
          context: 'b',
          fargate: { subnetIds: { a: 'subnet-a', b: 'subnet-b' } },
        },
      ],
      replication: { acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].context',
      found: '"b", with fargate',
      allowed: 'nothing: such a region has nothing in Kubernetes',
    },
  ],
  [
    'an agent in one zone',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'elasticache', elasticache, mode: 'async', fargate: { subnetIds: { a: 'subnet-a' } } },
      ],
      replication: { acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].fargate.subnetIds',
      found: '{"a":"subnet-a"}',
      allowed: 'two or more, in different zones',
    },
  ],
  [
    'semi-sync with a managed region',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'elasticache', elasticache, redisCidrs },
      ],
      replication: { acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].mode',
      found: 'semi-sync (as replication.mode), with b (elasticache)',
      allowed:
        'async at this region: its agent is no replica, and can hold back no acknowledgement until another region has a write',
    },
  ],
  [
    'a managed region that is nowhere',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'tencent', redisCidrs },
      ],
      replication: { mode: 'async', acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].tencent',
      found: 'nothing',
      allowed: 'a mapping that says where it is, with backend tencent',
    },
  ],
  [
    'a place without its service',
    having('regions', [{ name: 'a', primary: true, elasticache }, { name: 'b' }]),
    {
      path: 'meridian:regions[0].elasticache',
      found: 'a mapping, with backend kubernetes',
      allowed: 'only with backend elasticache',
    },
  ],
  [
    'a managed region that policies would cut off',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'tencent', tencent },
      ],
      replication: { mode: 'async', acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].redisCidrs',
      found: 'nothing, with backend tencent',
      allowed: 'the networks that its Redis is in, or security.networkPolicy: false',
    },
  ],
  [
    'a cache without nodes',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'elasticache', elasticache: { ...elasticache, serverless: true }, redisCidrs },
      ],
      replication: { mode: 'async', acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].backend',
      found: 'elasticache-serverless, at b',
      allowed: expect.stringContaining('a serverless cache has no parameter group'),
    },
  ],
  [
    'a service that joins no mesh',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', backend: 'memorydb' },
      ],
    },
    {
      path: 'meridian:regions[1].backend',
      found: 'memorydb, at b',
      allowed: expect.stringMatching(/^a backend that joins the mesh: a MemoryDB is always a cluster/),
    },
  ],
  [
    'an agent outside whose address nobody knows',
    having('regions', [{ name: 'a', primary: true, agentHost: 'agent.a.example:7600' }, { name: 'b' }]),
    {
      path: 'meridian:regions[0].agentCidrs',
      found: 'nothing, with agentHost',
      allowed: 'the networks behind it, or security.networkPolicy: false',
    },
  ],
  [
    'one name for all regions without a mesh',
    having('traffic', { host: 'redis.prod.meridian' }),
    {
      path: 'meridian:kubernetes.serviceMesh',
      found: 'none',
      allowed: "sidecar, with traffic.host: the rules are for Istio's sidecars",
    },
  ],
  [
    'shares by locality and by weights',
    having('traffic', { by: 'weights', distribute: { 'us-west-2': { 'us-west-2': 100 } } }),
    {
      path: 'meridian:traffic.distribute',
      found: 'shares, with by: weights',
      allowed: "only with by: locality; by weights a region's weight decides",
    },
  ],
  [
    'every region drained',
    having('traffic', { drain: ['us-west-2', 'eu-central-1', 'ap-northeast-1'] }),
    { path: 'meridian:traffic.drain', found: 'every region', allowed: 'not every region' },
  ],
  [
    'a shift to a region that is drained',
    having('traffic', {
      drain: ['eu-central-1'],
      shift: [{ from: 'us-west-2', to: 'eu-central-1', percent: 10 }],
    }),
    { path: 'meridian:traffic.shift[0].to', found: '"eu-central-1"', allowed: 'a region that is not drained' },
  ],
  [
    'capture by notifications without leave',
    {
      regions: [
        { name: 'a', primary: true, backend: 'local' },
        { name: 'b', backend: 'local', capture: 'notifications' },
      ],
      replication: { mode: 'async' },
    },
    {
      path: 'meridian:replication.acceptWholeKeyMerge',
      found: 'false, with b (notifications)',
      allowed:
        'true: these services give no replication stream, so whole keys are merged there and counters do not add up',
    },
  ],
  [
    'notifications where there is a stream',
    {
      regions: [
        { name: 'a', primary: true },
        { name: 'b', capture: 'notifications' },
      ],
      replication: { mode: 'async', acceptWholeKeyMerge: true },
    },
    {
      path: 'meridian:regions[1].capture',
      found: 'notifications, with backend kubernetes',
      allowed: 'psync: only with backend local there is a choice',
    },
  ],
  [
    'a conflict policy that is none',
    having('replication', { conflicts: [{ keys: 'a*', policy: 'mine' }] }),
    {
      path: 'meridian:replication.conflicts[0].policy',
      found: '"mine"',
      allowed: 'merge, lww, ignore, region:<name of a region>',
    },
  ],
  [
    'keys of a region that is none',
    having('replication', { flush: 'refuse', conflicts: [{ keys: 'a*', policy: 'region:mars' }] }),
    {
      path: 'meridian:replication.conflicts[0].policy',
      found: '"region:mars"',
      allowed: 'region: and the name of a region: us-west-2, eu-central-1, ap-northeast-1',
    },
  ],
  [
    'keys of a region that another one may flush',
    having('replication', { conflicts: [{ keys: 'a*', policy: 'region:us-west-2' }] }),
    {
      path: 'meridian:replication.flush',
      found: 'carry, with policy region:us-west-2',
      allowed: 'refuse: a flush is about databases and not about keys, whoever owns them or wrote them last',
    },
  ],
  [
    'journal files as large as the journal',
    having('replication', { journal: { maxBytes: '128mb' } }),
    {
      path: 'meridian:replication.journal.segmentBytes',
      found: '67108864',
      allowed: 'a quarter of maxBytes (134217728) or less',
    },
  ],
  [
    'traffic to nowhere',
    having('traffic', { distribute: { 'us-west-2': { 'us-west-2': 90, mars: 10 } } }),
    {
      path: 'meridian:traffic.distribute.us-west-2.mars',
      found: 'unknown region "mars"',
      allowed: 'us-west-2, eu-central-1, ap-northeast-1',
    },
  ],
  [
    'traffic that is not a whole',
    having('traffic', { distribute: { 'us-west-2': { 'us-west-2': 70, 'eu-central-1': 20 } } }),
    {
      path: 'meridian:traffic.distribute.us-west-2',
      found: '70 + 20 = 90',
      allowed: 'percents with a sum of 100',
    },
  ],
  [
    'a soft limit above the hard one',
    having('redis', { outputBuffer: { hard: '1mb', soft: '2mb' } }),
    { path: 'meridian:redis.outputBuffer.soft', found: '2097152', allowed: 'hard (1048576) or less' },
  ],
  [
    'a quorum above the count',
    having('failover', { sentinel: { quorum: 4 } }),
    { path: 'meridian:failover.sentinel.quorum', found: '4', allowed: 'count (3) or less' },
  ],
  [
    'a warning after the alarm',
    having('monitoring', { warning: { lagMs: 9000 } }),
    {
      path: 'meridian:monitoring.warning.lagMs',
      found: '9000',
      allowed: 'critical.lagMs (5000) or less: a warning comes first',
    },
  ],
])('%s is refused: path, found, allowed', (_, raw, issue) => {
  expect(refused(raw)).toEqual([issue]);
});

test('everything that is wrong is said at once', () => {
  const issues = refused({
    regions: [
      { name: 'a', weight: 101 },
      { name: 'b', colour: 'red', weight: -1 },
    ],
    redis: { use: 'queue' },
    failover: { sentinel: { quorum: 9 } },
    other: 1,
  });
  expect(issues.map((issue) => issue.path).sort()).toEqual([
    'meridian:failover.sentinel.quorum',
    'meridian:other',
    'meridian:redis.use',
    'meridian:regions[0].weight',
    'meridian:regions[1].colour',
    'meridian:regions[1].weight',
  ]);
  expect(formatIssues(issues).split('\n')).toHaveLength(6);
});

test('a managed region is accepted when the config says so', () => {
  const managed = [
    { name: 'a', primary: true },
    { name: 'b', backend: 'tencent', tencent, redisCidrs },
  ];
  const config = accepted({ regions: managed, replication: { mode: 'async', acceptWholeKeyMerge: true } });
  expect(config.regions[1]?.backend).toBe('tencent');
});

test('what follows from a config', () => {
  const config = accepted({ regions, replication: { topology: 'star' } });
  expect(primaryOf(config).name).toBe('us-west-2');
  expect(topologyOf(config)).toEqual({ kind: 'star', hub: 'us-west-2' });
  expect(topologyOf(accepted({ regions, replication: { topology: 'star', hub: 'eu-central-1' } }))).toEqual({
    kind: 'star',
    hub: 'eu-central-1',
  });
  expect(topologyOf(accepted({ regions }))).toEqual({ kind: 'mesh' });
  expect(maxmemoryPolicy(config.redis)).toBe('noeviction');
  expect(maxmemoryPolicy({ ...config.redis, use: 'cache' })).toBe('allkeys-lru');
});

describe('a mode for each region', () => {
  const three = (mode: string | undefined) => [
    { name: 'a', primary: true },
    { name: 'b', backend: 'elasticache', elasticache, redisCidrs, mode },
    { name: 'c' },
  ];
  const accept = { acceptWholeKeyMerge: true };

  test("is the stack's where it says none; a region that can't hold back is async beside those that can", () => {
    const config = accepted({ regions: three('async'), replication: accept });
    expect(config.regions.map(({ mode }) => mode)).toEqual(['semi-sync', 'async', 'semi-sync']);
    expect(config.regions.map((region) => minReplicasToWrite(config, { ...region, replicas: 0 }))).toEqual([1, 0, 1]);
    const all = accepted({ regions: three(undefined), replication: { ...accept, mode: 'async' } });
    expect(all.regions.map(({ mode }) => mode)).toEqual(['async', 'async', 'async']);
  });

  test('the middle of a star may wait for all of it where the others wait for nobody', () => {
    const replication = { ...accept, topology: 'star', semiSyncRegions: 2 };
    const regions = three('async').map((region) => ({ ...region, mode: region.name === 'a' ? 'semi-sync' : 'async' }));
    expect(accepted({ regions, replication }).replication.semiSyncRegions).toBe(2);
    const spokes = parseStackConfig({ regions: three('async'), replication });
    expect(spokes).toMatchObject({ issues: [{ path: 'meridian:replication.semiSyncRegions', found: '2' }] });
  });
});

test('a write waits for the replicas a region has, and in semi-sync for the agent', () => {
  const count = (mode: string, replicas: number): number => {
    const config = accepted({
      regions: [{ name: 'a', primary: true, replicas }, { name: 'b' }],
      replication: { mode },
    });
    return minReplicasToWrite(config, primaryOf(config));
  };
  expect(count('async', 0)).toBe(0);
  // The agent alone satisfies it: what it acknowledges is in its journal.
  expect(count('async', 2)).toBe(1);
  expect(count('semi-sync', 0)).toBe(1);
  expect(count('semi-sync', 2)).toBe(2);
});

describe('withRegions', () => {
  const config = accepted({
    regions: regions.map((region) => ({ ...region, backend: 'local', replicas: 0 })),
    replication: { topology: 'star', hub: 'us-west-2', mode: 'async', semiSyncRegions: 2 },
    traffic: { distribute: { 'us-west-2': { 'us-west-2': 70, 'ap-northeast-1': 30 } } },
  });
  const chosen = (wanted: number | readonly string[]): StackConfig => {
    const result = withRegions(config, wanted);
    if (!result.ok) throw new Error(formatIssues(result.issues));
    return result.config;
  };

  test('takes the first so many, weights in proportion', () => {
    const two = chosen(2);
    expect(two.regions.map(({ name, weight, primary }) => [name, weight, primary])).toEqual([
      ['us-west-2', 71, true],
      ['eu-central-1', 29, false],
    ]);
    expect(two.replication).toMatchObject({ hub: 'us-west-2', semiSyncRegions: 1 });
    expect(two.traffic.distribute).toEqual({});
  });

  test('adds regions like the first', () => {
    const five = chosen(5);
    expect(five.regions.map((region) => region.name)).toEqual([
      'us-west-2',
      'eu-central-1',
      'ap-northeast-1',
      'region-4',
      'region-5',
    ]);
    expect(five.regions[4]).toMatchObject({ backend: 'local', replicas: 0, primary: false });
    expect(five.traffic.distribute).toEqual(config.traffic.distribute);
  });

  test('without the primary the first becomes it, and the hub goes with it', () => {
    const others = chosen(['eu-central-1', ' tokyo']);
    expect(primaryOf(others).name).toBe('eu-central-1');
    expect(topologyOf(others)).toEqual({ kind: 'star', hub: 'eu-central-1' });
    expect(others.regions[1]?.name).toBe('tokyo');
  });

  test('refuses one region, and a name twice', () => {
    expect(withRegions(config, 1).ok).toBe(false);
    expect(withRegions(config, ['a', 'a']).ok).toBe(false);
  });
});

const validStacks = fc
  .record({
    names: fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9]{0,9}$/), { minLength: 2, maxLength: 8 }),
    primary: fc.nat(),
    mode: fc.constantFrom('async', 'semi-sync'),
    topology: fc.constantFrom('mesh', 'ring', 'star'),
    use: fc.constantFrom('data', 'cache'),
    maxLagMs: fc.integer({ min: 10, max: 600_000 }),
  })
  .map(({ names, primary, mode, topology, use, maxLagMs }) => ({
    regions: names.map((name, i) => ({ name, primary: i === primary % names.length })),
    replication: { mode, topology, maxLagMs },
    redis: { use },
  }));

test('a checked config is itself a config, and means the same', () => {
  fc.assert(
    fc.property(validStacks, (raw) => {
      const config = accepted(raw);
      expect(accepted(config)).toEqual(config);
      expect(accepted(JSON.parse(JSON.stringify(config)))).toEqual(config);
      expect(config.regions.reduce((sum, region) => sum + region.weight, 0)).toBe(100);
    }),
  );
});

test('no input makes the parser throw, and what is refused says where, what and what else', () => {
  const junk = fc.oneof(fc.jsonValue(), fc.anything());
  const section = fc.constantFrom('regions', 'replication', 'redis', 'failover', 'traffic', 'security', 'monitoring');
  fc.assert(
    fc.property(section, junk, (name, value) => {
      const result = parseStackConfig({ 'meridian:regions': regions, [`meridian:${name}`]: value });
      if (result.ok) return;
      expect(result.issues.length).toBeGreaterThan(0);
      for (const issue of result.issues) {
        expect(issue.path).toMatch(/^meridian:/);
        expect(issue.found).not.toBe('');
        expect(issue.allowed).not.toMatch(/^$|Invalid/);
      }
    }),
    { numRuns: 500 },
  );
});
