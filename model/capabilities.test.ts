import { capabilities, captureOf, demandIssues, type Demands, regionIssues, type Service } from './capabilities';
import { agentRules } from './acl';
import { Capture, captureEvents, notificationAgentRules, reportsEveryChange } from './capture';

const services = Object.keys(capabilities) as Service[];

test('every fact has its source', () => {
  for (const service of services)
    for (const [name, { source }] of Object.entries(capabilities[service]).filter(([name]) => name !== 'limits') as [
      string,
      { source: string },
    ][])
      expect(`${service} ${name} ${source}`).toMatch(/ https:\/\/\S+$/);
});

test.each<[Service, Capture]>([
  ['kubernetes', Capture.Psync],
  ['local', Capture.Psync],
  ['elasticache', Capture.Notifications],
  ['elasticache-serverless', Capture.None],
  ['memorydb', Capture.None],
  ['aliyun', Capture.Notifications],
  ['tencent', Capture.Notifications],
])('%s captures by %s', (service, capture) => {
  expect(captureOf(service)).toBe(capture);
  expect(demandIssues(service, { capture })).toEqual([]);
});

test.each<[Service, Demands, string, RegExp]>([
  ['elasticache', { capture: 'psync' }, 'capture', /^notifications: the service refuses PSYNC/],
  ['elasticache-serverless', { capture: 'notifications' }, 'capture', /a serverless cache has no parameter group/],
  ['elasticache-serverless', { capture: 'psync' }, 'capture', /^none .*PSYNC is refused/],
  ['memorydb', { capture: 'notifications' }, 'capture', /always a cluster of shards/],
  ['local', { capture: 'psync', zones: true }, 'zones', /^one/],
  ['elasticache', { capture: 'notifications', zones: true, replicas: 0 }, 'replicas', /^1 or more/],
  ['aliyun', { capture: 'notifications', userRules: true }, 'users', /^accounts that read, or read and write/],
  ['tencent', { capture: 'notifications', passwordOverlap: true }, 'passwordOverlap', /one password/],
  ['elasticache', { capture: 'none', ownCertificates: true }, 'tls', /provider's/],
  ['kubernetes', { capture: 'psync', snapshots: true }, 'snapshots', /^none/],
])('%s: %j is refused', (service, demands, path, allowed) => {
  expect(demandIssues(service, demands)).toEqual([
    { path, found: expect.any(String), allowed: expect.stringMatching(allowed) },
  ]);
});

test('a cluster beside the mesh is the business of nobody', () => {
  expect(demandIssues('elasticache', { capture: 'none', shards: 3, replicas: 1, zones: true })).toEqual([]);
});

test('a region of a stack is a member of its mesh', () => {
  const region = { replicas: 1 } as Parameters<typeof regionIssues>[0]['regions'][number];
  const regions = [
    { ...region, name: 'a', backend: 'kubernetes' as const, replicas: 0 },
    { ...region, name: 'b', backend: 'elasticache' as const, replicas: 0 },
    { ...region, name: 'c', backend: 'memorydb' as const },
  ];
  expect(regionIssues({ regions })).toEqual([
    { path: 'meridian:regions[1].replicas', found: '0, with backend elasticache', allowed: '1 or more' },
    {
      path: 'meridian:regions[2].backend',
      found: 'memorydb, at c',
      allowed: expect.stringMatching(/^a backend that joins the mesh: a MemoryDB is always a cluster/),
    },
  ]);
});

test.each([
  [captureEvents, true],
  ['EKg$lshzxetd', true],
  ['KEg$lshzxet', false],
  ['AK', false],
  ['AE', false],
  ['', false],
])('notify-keyspace-events %j reports every change: %s', (events, is) => {
  expect(reportsEveryChange(events)).toBe(is);
});

/** https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/SupportedCommands.html: a rule that names one is refused with the user. */
const forbidden =
  /^[+-](acl\|(setuser|deluser|load|save)|bgrewriteaof|bgsave|config|debug|migrate|psync|replicaof|save|slaveof|shutdown|sync)(\||$)/;

test('the rules of an agent that captures by notifications name no command that managed services forbid', () => {
  expect(notificationAgentRules.filter((rule) => forbidden.test(rule))).toEqual([]);
  expect(agentRules.filter((rule) => forbidden.test(rule))).toEqual(['-migrate', '+psync']);
});
