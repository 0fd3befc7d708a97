import { type Deployment, isSecret, leaksOf, type Recorded } from '../components/testing';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { configIn, configOf, deployStack, type DeployedStack, regionsOf, withRegionCount } from './program';

const canary = 'Tweety';
const names = ['us-west-2', 'eu-central-1', 'ap-northeast-1'];

/** What AWS adds. */
function outputs(type: string, name: string): Record<string, unknown> {
  return type.endsWith(':ReplicationGroup')
    ? { primaryEndpointAddress: `${name}.aws`, readerEndpointAddress: `${name}-ro.aws` }
    : type.endsWith(':LoadBalancer')
      ? { dnsName: `${name}.elb.example` }
      : {};
}
const deploy = (config: Record<string, string>): Promise<DeployedStack> => deployStack(config, { canary, outputs });

const of = ({ resources }: Deployment<unknown>, prefix: string): Recorded[] =>
  resources.filter(({ type }) => type.startsWith(prefix));
/** The region that a resource belongs to by its name; the stack's own have none. */
const regionOf = ({ name }: Recorded, regions: readonly string[]): string | undefined =>
  regions.find((region) => name === `redis-${region}` || name.startsWith(`redis-${region}-`));

interface AgentFile {
  members: { name: string }[];
  peers: { region: string; host: string; port: number }[];
  redis: { capture?: string; host: string };
  replication: { mode: string };
}
const agentFile = (made: Deployment<unknown>, region: string): AgentFile =>
  JSON.parse(
    (made.find(`redis-${region}-agent-config`).inputs['data'] as Record<string, string>)['agent.json'] ?? '',
  ) as AgentFile;

describe('prod: three regions of AWS', () => {
  let made: DeployedStack;
  beforeAll(async () => {
    made = await deploy(configOf('prod'));
  });

  test('every child of AWS is in its own region', () => {
    const aws = of(made, 'aws:');
    expect(aws.length).toBeGreaterThanOrEqual(3 * 14);
    const misplaced = aws.filter((each) => each.inputs['region'] !== regionOf(each, names));
    expect(misplaced.map(({ name, inputs }) => `${name}: ${String(inputs['region'])}`)).toEqual([]);
  });

  test("everything on Kubernetes is in its own region's cluster", () => {
    const objects = of(made, 'kubernetes:');
    expect(objects.length).toBeGreaterThan(60);
    const misplaced = objects.filter(
      (each) => each.provider?.includes(`::redis-${regionOf(each, names) ?? 'none'}::`) !== true,
    );
    expect(misplaced.map(({ name, provider }) => `${name}: ${provider ?? 'the default'}`)).toEqual([]);
  });

  test('exact parts', () => {
    const parts = of(made, 'meridian:').map(({ type, name }) => `${type.split(':')[2] ?? ''} ${name}`);
    expect(parts.sort()).toEqual(
      [
        'ActiveActiveRedis redis',
        'RedisSecurity redis-security',
        ...names.flatMap((name) => [
          `ElastiCacheRedis redis-${name}`,
          `RedisCredentials redis-${name}-user`,
          `RedisMonitoring redis-${name}-monitoring`,
          `RedisNetworkPolicy redis-${name}`,
          `RedisRegion redis-${name}`,
          `SyncAgent redis-${name}-agent`,
        ]),
      ].sort(),
    );
    for (const each of made.resources.filter(({ type }) => !type.startsWith('meridian:index:ActiveActiveRedis')))
      expect(each.parent).toMatch(/^redis/);
  });

  test('agents capture by notifications, and reach each other by their load balancers', () => {
    for (const name of names) {
      const { peers, redis, replication } = agentFile(made, name);
      expect(redis).toMatchObject({ capture: 'notifications', host: `redis-${name}.aws` });
      expect(replication.mode).toBe('async');
      const others = names.filter((other) => other !== name);
      expect(peers).toEqual(
        others.map((other) => ({ region: other, host: `agent.${other}.redis.example.com`, port: 7600 })),
      );
      const { annotations } = made.find(`redis-${name}-agent-peers`).inputs['metadata'] as {
        annotations: Record<string, string>;
      };
      expect(annotations['external-dns.alpha.kubernetes.io/hostname']).toBe(`agent.${name}.redis.example.com`);
      expect(made.find(`redis-${name}-user-agent-tls-request`).inputs['dnsNames']).toEqual(
        expect.arrayContaining([`agent.${name}.redis.example.com`, `${name}.test.meridian`]),
      );
    }
  });

  test('data is kept, and nothing is replaced by being deleted first', () => {
    const kept = made.resources
      .filter(({ protect }) => protect)
      .map(({ type, name }) => `${type.split(':').at(-1) ?? ''} ${name}`);
    for (const name of names)
      expect(kept).toEqual(
        expect.arrayContaining([
          `ReplicationGroup redis-${name}`,
          `StatefulSet redis-${name}-agent`,
          `Namespace redis-${name}`,
        ]),
      );
    expect(kept).toContain('PrivateKey redis-security-ca-a-key');
    expect(made.resources.filter(({ deleteBeforeReplace }) => deleteBeforeReplace)).toEqual([]);
    const unprotected = made.resources.filter(({ protect, retainOnDelete }) => protect && !retainOnDelete);
    expect(unprotected.map(({ name }) => name)).toEqual([]);
  });

  test('no secret where it can be read: only in the envelopes of what has to have it', () => {
    const leaks = leaksOf(made, canary);
    for (const leak of leaks) expect(leak).toMatch(/^aws:elasticache\/user:User \S+ \.passwordsWo$/);
    expect(leaks).toHaveLength(3 * 6);
    for (const user of of(made, 'aws:elasticache/user:User')) expect(isSecret(user.raw['passwordsWo'])).toBe(true);
  });

  test('the figures: 16 GiB of data and a replica in another zone', () => {
    for (const name of names)
      expect(made.find(`redis-${name}`, ':ReplicationGroup').inputs).toMatchObject({
        nodeType: 'cache.r7g.xlarge',
        numCacheClusters: 2,
        multiAzEnabled: true,
        transitEncryptionEnabled: true,
      });
  });
});

describe('prod in Fargate: three regions of AWS without Kubernetes', () => {
  let made: DeployedStack;
  beforeAll(async () => {
    made = await deploy(configOf('prod-fargate'));
  });

  test('nothing is in Kubernetes, and every child of AWS is in its own region', () => {
    expect(of(made, 'kubernetes:')).toEqual([]);
    const aws = of(made, 'aws:').filter(({ type }) => !type.startsWith('aws:iam/'));
    expect(aws.length).toBeGreaterThanOrEqual(3 * 40);
    const misplaced = aws.filter((each) => each.inputs['region'] !== regionOf(each, names));
    expect(misplaced.map(({ name, inputs }) => `${name}: ${String(inputs['region'])}`)).toEqual([]);
  });

  test('exact parts', () => {
    const parts = of(made, 'meridian:').map(({ type, name }) => `${type.split(':')[2] ?? ''} ${name}`);
    expect(parts.sort()).toEqual(
      [
        'ActiveActiveRedis redis',
        'RedisSecurity redis-security',
        ...names.flatMap((name) => [
          `ElastiCacheRedis redis-${name}`,
          `FargateSyncAgent redis-${name}`,
          `RedisRegion redis-${name}`,
        ]),
      ].sort(),
    );
  });

  test('data and journals are kept, and no secret can be read', () => {
    const kept = made.resources.filter(({ protect, retainOnDelete }) => protect && retainOnDelete);
    for (const name of names)
      expect(kept.map((each) => `${each.type.split(':').at(-1) ?? ''} ${each.name}`)).toEqual(
        expect.arrayContaining([`ReplicationGroup redis-${name}`, `FileSystem redis-${name}-journal`]),
      );
    const leaks = leaksOf(made, canary);
    for (const leak of leaks) expect(leak).toMatch(/ \.(passwordsWo|secretStringWo)$/);
    expect(leaks).toHaveLength(3 * (6 + 1));
  });

  test('a region more adds its own resources and a rule at each of the others', async () => {
    const config = configOf('prod-fargate');
    const more = await deploy(withRegionCount(config, 4));
    const before = new Set(made.resources.map(({ type, name }) => `${type} ${name}`));
    const added = more.resources.filter(({ type, name }) => !before.has(`${type} ${name}`));
    const elsewhere = added.filter(({ name }) => !name.startsWith('redis-region-4'));
    expect(elsewhere.map(({ name }) => name).sort()).toEqual(
      names.map((name) => `redis-${name}-peer-from-region-4`).sort(),
    );
    const [three, four] = [made.resources.length, more.resources.length];
    const five = (await deploy(withRegionCount(config, 5))).resources.length;
    // Of each its own, and two rules for each pair.
    expect(five - four - (four - three)).toBe(2);
  });
});

test('prod on Kubernetes: semi-sync, one name for all regions, 70 / 20 / 10 from the first', async () => {
  const made = await deploy(configOf('prod-kubernetes'));
  expect(of(made, 'aws:')).toEqual([]);
  for (const name of names) {
    expect(agentFile(made, name).replication.mode).toBe('semi-sync');
    expect(JSON.stringify(made.find(`redis-${name}-config`, ':ConfigMap').inputs)).toContain('min-replicas-to-write 2');
  }
  expect(made.find('redis-us-west-2-traffic-rule').inputs['spec']).toMatchObject({
    trafficPolicy: {
      loadBalancer: {
        localityLbSetting: {
          distribute: expect.arrayContaining([
            { from: 'us-west-2/*', to: { 'us-west-2/*': 70, 'eu-central-1/*': 20, 'ap-northeast-1/*': 10 } },
          ]),
        },
      },
    },
  });
  expect(leaksOf(made, canary)).toEqual([]);
});

test.each(['dev', 'prod', 'prod-kubernetes'])(
  '%s: pods are made of no output of a ConfigMap or Secret, with which they would be replaced',
  async (stack) => {
    const made = await deploy(configOf(stack));
    const workloads = made.resources.filter(({ type }) => /:(StatefulSet|Deployment)$/.test(type));
    expect(workloads.length).toBeGreaterThanOrEqual(3);
    const replaced = workloads.flatMap(({ name, inputsFrom }) =>
      Object.values(inputsFrom)
        .flat()
        .filter((urn) => /:(ConfigMap|Secret|StorageClass)::/.test(urn))
        .map((urn) => `${name} of ${urn}`),
    );
    expect(replaced).toEqual([]);
  },
);

test('prod-kubernetes: what has changed in a ConfigMap or Secret is written to it', async () => {
  const { providers } = await deploy(configOf('prod-kubernetes'));
  expect(providers.size).toBe(3);
  for (const inputs of providers.values())
    expect(inputs).toMatchObject({ enableConfigMapMutable: 'true', enableSecretMutable: 'true' });
});

test('dev: one cluster, a namespace for each region', async () => {
  const made = await deploy(configOf('dev'));
  expect(made.resources.filter(({ provider }) => provider?.includes('::redis') === true)).toEqual([]);
  const namespaces = made.resources.filter(({ type }) => type.endsWith(':Namespace'));
  expect(namespaces.map(({ name }) => name).sort()).toEqual(names.map((name) => `redis-${name}`).sort());
  expect(leaksOf(made, canary)).toEqual([]);
});

test('different backends in one mesh', async () => {
  const [west] = regionsOf(configOf('prod'));
  const apart = { agentHost: 'agent.example.com', agentCidrs: ['10.9.0.0/16'] };
  const regions = [
    { ...west, weight: 40 },
    { name: 'eu-central-1', weight: 20, context: 'eu', ...apart },
    {
      name: 'hangzhou',
      weight: 20,
      backend: 'aliyun',
      providerRegion: 'cn-hangzhou',
      context: 'hangzhou',
      ...apart,
      redisCidrs: ['10.4.0.0/16'],
      aliyun: {
        zoneId: 'cn-hangzhou-h',
        secondaryZoneId: 'cn-hangzhou-i',
        vswitchId: 'vsw-1',
        clientCidrs: { nodes: '10.4.0.0/16' },
        caPem: '-----BEGIN CERTIFICATE-----',
      },
    },
    {
      name: 'guangzhou',
      weight: 20,
      backend: 'tencent',
      providerRegion: 'ap-guangzhou',
      context: 'guangzhou',
      ...apart,
      redisCidrs: ['10.5.0.0/16'],
      tencent: {
        zone: 'ap-guangzhou-3',
        replicaZoneId: 100_004,
        vpcId: 'vpc-1',
        subnetId: 'subnet-1',
        clientCidrs: { nodes: '10.5.0.0/16' },
      },
    },
  ];
  const config = { ...configOf('prod'), 'meridian:regions': JSON.stringify(regions) };
  // As long as the real ones: Alibaba Cloud takes no longer ones.
  const made = await deployStack(config, {
    outputs: (type, name) => ({
      ...outputs(type, name),
      ...(type.endsWith(':RandomPassword') ? { result: 'aB3'.repeat(10) } : {}),
    }),
  });
  const captures = regions.map(({ name }) => agentFile(made, name ?? '').redis.capture);
  expect(captures).toEqual(['notifications', undefined, 'notifications', 'notifications']);
  expect(new Set(of(made, 'alicloud:').map(({ provider }) => provider?.split('::')[3]))).toEqual(
    new Set(['redis-hangzhou-alicloud']),
  );
  expect(new Set(of(made, 'tencentcloud:').map(({ provider }) => provider?.split('::')[3]))).toEqual(
    new Set(['redis-guangzhou-tencent']),
  );
  expect(of(made, 'aws:').filter(({ inputs }) => inputs['region'] !== 'us-west-2')).toEqual([]);
});

describe('one region more', () => {
  const urns = ({ resources }: Deployment<unknown>): Map<string, Recorded> =>
    new Map(resources.map((each) => [`${each.type} ${each.name}`, each]));

  test.each(['prod', 'prod-kubernetes', 'dev'])(
    '%s: what is new is its own; of the others only their links change',
    async (stack) => {
      const config = { ...configOf(stack), 'meridian:traffic': '{}' };
      const [before, after] = [
        urns(await deploy(withRegionCount(config, 3))),
        urns(await deploy(withRegionCount(config, 4))),
      ];
      const added = [...after].filter(([urn]) => !before.has(urn));
      expect(added.length).toBeGreaterThan(30);
      expect(added.filter(([, { name }]) => !name.startsWith('redis-region-4')).map(([urn]) => urn)).toEqual([]);
      expect([...before.keys()].filter((urn) => !after.has(urn))).toEqual([]);

      const changed = [...before]
        .filter(([urn, { raw, type }]) => {
          const now = after.get(urn);
          return !type.startsWith('meridian:') && JSON.stringify(now?.raw) !== JSON.stringify(raw);
        })
        .map(([urn]) => urn);
      // An agent's list of members and peers, and who may talk to it; its alerts on each link. It reads its list again by itself.
      const links = (name: string): string[] => [
        `kubernetes:core/v1:ConfigMap redis-${name}-agent-config`,
        `kubernetes:networking.k8s.io/v1:NetworkPolicy redis-${name}-agent`,
        ...(stack === 'dev'
          ? []
          : [`kubernetes:monitoring.coreos.com/v1:PrometheusRule redis-${name}-monitoring-alerts`]),
      ];
      expect(changed.sort()).toEqual(names.flatMap(links).sort());
    },
  );

  test('in a ring only the two between whom it comes are linked anew', async () => {
    const config = {
      ...withRegionCount(configOf('prod'), 5),
      'meridian:replication': JSON.stringify({ mode: 'async', acceptWholeKeyMerge: true, topology: 'ring' }),
    };
    const six = withRegionCount(config, 6);
    const [before, after] = [await deploy(config), await deploy(six)];
    const peers = (made: Deployment<unknown>, name: string): string[] =>
      agentFile(made, name).peers.map(({ region }) => region);
    const relinked = regionsOf(config)
      .map(({ name }) => name)
      .filter((name) => String(peers(before, name)) !== String(peers(after, name)));
    expect(relinked).toEqual(['us-west-2', 'region-5']);
  });
});

describe('many regions', () => {
  const sizes = [3, 10, 50];
  const counts = new Map<number, { resources: number; links: number }>();
  beforeAll(async () => {
    for (const size of sizes) {
      const config = withRegionCount(configOf('prod'), size);
      const made = await deploy(config);
      const links = regionsOf(config).reduce((sum, { name }) => sum + agentFile(made, name).peers.length, 0);
      counts.set(size, { resources: made.resources.length, links });
    }
  }, 240_000);

  test('resources grow with the regions, links as the topology says', () => {
    const of = (size: number): { resources: number; links: number } => counts.get(size) ?? { resources: 0, links: 0 };
    const [three, ten, fifty] = sizes.map(of);
    const each = (ten!.resources - three!.resources) / 7;
    expect(Number.isInteger(each)).toBe(true);
    expect(each).toBeGreaterThan(40);
    expect(fifty!.resources - ten!.resources).toBe(40 * each);
    for (const size of sizes) expect(of(size).links).toBe(size * (size - 1));
  });
});

describe('the configs in README.md', () => {
  const page = readFileSync(path.join(__dirname, '../README.md'), 'utf8');
  const configs = [...page.matchAll(/```yaml\n(config:\n[^]*?)```/g)].map(([, text]) => text!);
  const kinds = (made: Deployment<unknown>): string[] => [
    ...new Set(of(made, 'meridian:').map(({ type }) => type.split(':')[2]!)),
  ];

  test.each([
    ['Kubernetes', ['KubernetesRedis', 'SyncAgent']],
    ['AWS', ['ElastiCacheRedis', 'FargateSyncAgent']],
    ['Alibaba Cloud and Tencent Cloud', ['AliyunRedis', 'TencentRedis', 'SyncAgent']],
  ])('on %s', async (backend, parts) => {
    const section = page.slice(page.indexOf(`### On ${backend}\n`));
    const config = configs.find((text) => text === /```yaml\n([^]*?)```/.exec(section)?.[1]);
    const made = await deployStack(configIn(config!), {
      // Of a length that all services take.
      outputs: (type, name) =>
        type.endsWith(':RandomPassword')
          ? { result: `A1-${createHash('sha1').update(name).digest('hex').slice(0, 24)}` }
          : outputs(type, name),
    });
    expect(kinds(made)).toEqual(expect.arrayContaining(parts));
  });
});
