import * as pulumi from '@pulumi/pulumi';

import {
  ArgumentError,
  type ElastiCacheNodesArgs,
  RedisRegion,
  type RedisRegionArgs,
  type TencentInstanceArgs,
  type AliyunInstanceArgs,
} from '..';
import { canary, type Deployment, leaksOf, madeBy, maker, managedUsers, passwordsFor, valueOf } from '../testing';

const elasticache: ElastiCacheNodesArgs = {
  vpcId: 'vpc-1',
  subnetIds: ['subnet-a', 'subnet-b'],
  clientSecurityGroups: { nodes: 'sg-nodes' },
};
const aliyun: AliyunInstanceArgs = {
  providerRegion: 'cn-hangzhou',
  zoneId: 'cn-hangzhou-h',
  secondaryZoneId: 'cn-hangzhou-i',
  vswitchId: 'vsw-1',
  clientCidrs: { nodes: '10.1.0.0/16' },
};
const tencent: TencentInstanceArgs = {
  providerRegion: 'ap-guangzhou',
  zone: 'ap-guangzhou-3',
  replicaZoneId: 100_004,
  vpcId: 'vpc-1',
  subnetId: 'subnet-1',
  clientCidrs: { nodes: '10.1.0.0/16' },
};

const minimal = (): RedisRegionArgs => ({
  region: 'west',
  stack: 'prod',
  agentImage: 'meridian@sha256:1',
  members: [{ name: 'west', primary: true }, { name: 'east' }],
  peerHosts: { east: 'agent.east.example.com:443' },
  peerCidrs: { east: ['10.2.0.0/16'] },
  userPasswords: passwordsFor([...managedUsers, 'meridian-node'], ['1A', '0A']),
  caBundlePem: 'bundle',
  caCertPem: 'ca',
  caPrivateKeyPem: pulumi.secret('key'),
});
const on = {
  elasticache: { backend: 'elasticache', elasticache },
  aliyun: { backend: 'aliyun', aliyun, redisCaPem: 'aliyun authority' },
  tencent: { backend: 'tencent', tencent },
} as const satisfies Record<string, Partial<RedisRegionArgs>>;
const accepted: Partial<RedisRegionArgs> = { acceptWholeKeyMerge: true, redisCidrs: ['10.1.0.0/16'] };

/** What the services add. */
function outputs(type: string, name: string): Record<string, unknown> {
  if (type.endsWith(':ReplicationGroup'))
    return { primaryEndpointAddress: 'primary.aws', readerEndpointAddress: 'reader.aws' };
  if (type.endsWith(':LoadBalancer')) return { dnsName: `${name}.elb.example` };
  if (type.startsWith('alicloud:')) return { connectionDomain: 'r.aliyun' };
  if (type === 'tencentcloud:Redis/instance:Instance') return { ip: '10.1.0.9' };
  return {};
}
const make = maker(RedisRegion, 'redis', minimal, outputs);

interface AgentFile {
  redis: Record<string, unknown>;
  listen: Record<string, unknown>;
  replication: { mode: string };
}
const agentFile = (made: Deployment<unknown>): AgentFile =>
  JSON.parse(
    (made.find('redis-agent-config').inputs['data'] as Record<string, string>)['agent.json'] ?? '',
  ) as AgentFile;
const secretOf = (made: Deployment<unknown>, user: string): unknown =>
  made.find(`redis-user-${user}`, ':Secret').inputs['stringData'];

test('on Kubernetes: exact children', async () => {
  const made = await make({ monitoring: {} });
  const parts = made.children('redis').filter((child) => /^(Redis|Kubernetes|Sync)|^Namespace/.test(child));
  expect(parts).toEqual([
    'KubernetesRedis redis',
    'Namespace redis',
    'RedisCredentials redis-user',
    'RedisMonitoring redis-monitoring',
    'RedisNetworkPolicy redis',
    'SyncAgent redis-agent',
  ]);
});

test.each([
  [{}, 'meridian@sha256:1'],
  [{ redis: { sidecarImage: 'node@sha256:2' } }, 'node@sha256:2'],
])("pods' side-car has the agent's image, or its own: %j", async (more, image) => {
  const made = await make(more);
  const nodes = made.find('redis', ':StatefulSet').inputs['spec'] as {
    template: { spec: { containers: { image: string }[] } };
  };
  expect(nodes.template.spec.containers.map((container) => container.image)).toEqual([
    expect.stringContaining('/redis:'),
    expect.stringContaining('redis_exporter'),
    image,
  ]);
});

describe.each(['elasticache', 'aliyun', 'tencent'] as const)('on %s', (service) => {
  let made: Deployment<RedisRegion>;
  beforeAll(async () => {
    made = await make({ ...on[service], ...accepted, monitoring: {} });
  });

  test('exact children: the service, and in the cluster what belongs to the agent', () => {
    const component = { elasticache: 'ElastiCacheRedis', aliyun: 'AliyunRedis', tencent: 'TencentRedis' }[service];
    const parts = made.resources.filter(({ type }) => /^meridian:|:Deployment$|:Namespace$/.test(type));
    expect(parts.map(({ type, name }) => `${type.split(':').at(-1) ?? ''} ${name}`).sort()).toEqual(
      [
        'RedisRegion redis',
        `${component} redis`,
        'Deployment redis-exporter',
        'Namespace redis',
        'RedisCredentials redis-user',
        'RedisMonitoring redis-monitoring',
        'RedisNetworkPolicy redis',
        'SyncAgent redis-agent',
      ].sort(),
    );
    expect(made.resources.filter(({ type }) => type.endsWith(':StatefulSet')).map(({ name }) => name)).toEqual([
      'redis-agent',
    ]);
    expect(made.children('redis-user').filter((child) => child.startsWith('Secret'))).toEqual(
      ['admin', 'agent-tls', 'app', 'meridian-agent', 'meridian-exporter', 'read'].map(
        (user) => `Secret redis-user-${user}`,
      ),
    );
  });

  test('the agent captures by notifications, is no replica, and knows whom to trust', () => {
    const { redis, listen, replication } = agentFile(made);
    const host = { elasticache: 'primary.aws', aliyun: 'r.aliyun', tencent: '10.1.0.9' }[service];
    expect(redis).toEqual({
      host,
      port: 6379,
      ...(service === 'elasticache' ? { username: 'meridian-agent' } : {}),
      passwordFile: '/etc/meridian/user/password',
      tls: service === 'aliyun' ? { caFile: '/etc/meridian/config/redis-ca.crt' } : {},
      capture: 'notifications',
    });
    expect(Object.keys(listen).sort()).toEqual(['admin', 'peer']);
    expect(replication.mode).toBe('async');
    const { data } = made.find('redis-agent-config').inputs as { data: Record<string, string> };
    expect(data['redis-ca.crt']).toBe(service === 'aliyun' ? 'aliyun authority' : undefined);
    const { volumes } = (
      made.find('redis-agent', ':StatefulSet').inputs['spec'] as {
        template: { spec: { volumes: { name: string }[] } };
      }
    ).template.spec;
    expect(volumes.map(({ name }) => name)).toEqual(['config', 'tls', 'user', 'scratch']);
  });

  test('users log in as the service wants it', () => {
    const password = `${canary}-meridian-agent-1A`;
    expect(secretOf(made, 'meridian-agent')).toEqual(
      {
        elasticache: { username: 'meridian-agent', password },
        aliyun: { password: `meridian_agent:${password}` },
        tencent: { password: `meridian-agent@${password}`.slice(0, 'meridian-agent@'.length + 30) },
      }[service],
    );
    const notOfTheService = leaksOf(made, canary).filter((leak) => !/^(tencentcloud|alicloud|aws):/.test(leak));
    expect(notOfTheService).toEqual([]);
  });

  test('policies let the agent and the exporter out to Redis, and nobody to pods that are not there', () => {
    const policies = made.resources.filter(({ type }) => type.endsWith(':NetworkPolicy'));
    expect(policies.map(({ name }) => name)).toEqual(['redis-deny', 'redis-dns', 'redis-exporter', 'redis-agent']);
    const toRedis = { to: [{ ipBlock: { cidr: '10.1.0.0/16' } }], ports: [{ protocol: 'TCP', port: 6379 }] };
    const spec = (suffix: string) =>
      made.find(`redis-${suffix}`, ':NetworkPolicy').inputs['spec'] as { egress: unknown[]; ingress: unknown[] };
    expect(spec('exporter').egress).toEqual([toRedis]);
    expect(spec('agent').egress).toEqual([
      toRedis,
      { to: [{ ipBlock: { cidr: '10.2.0.0/16' } }], ports: [{ protocol: 'TCP', port: 443 }] },
    ]);
    expect(JSON.stringify(spec('agent').ingress)).not.toContain('sentinel');
  });

  test('its exporter is what is scraped', () => {
    const { selector, template } = made.find('redis-exporter', ':Deployment').inputs['spec'] as {
      selector: { matchLabels: object };
      template: { metadata: { labels: object }; spec: { containers: { env: { name: string; value?: string }[] }[] } };
    };
    expect(selector.matchLabels).toEqual({
      'app.kubernetes.io/part-of': 'meridian',
      'app.kubernetes.io/component': 'exporter',
      'meridian.redis/region': 'west',
    });
    expect(made.find('redis-monitoring-redis').inputs['spec']).toMatchObject({ selector });
    expect(made.find('redis-exporter', ':NetworkPolicy').inputs['spec']).toMatchObject({ podSelector: selector });
    expect(template.metadata.labels).toMatchObject(selector.matchLabels);
    const env = Object.fromEntries(template.spec.containers[0]!.env.map(({ name, value }) => [name, value]));
    expect(env['REDIS_ADDR']).toMatch(/^rediss:\/\/.*:6379$/);
    expect(env['REDIS_EXPORTER_TLS_CA_CERT_FILE']).toBe(service === 'aliyun' ? '/etc/redis-ca/ca.crt' : undefined);
    // No replica acknowledges to a server that is not ours.
    expect(JSON.stringify(made.find('redis-monitoring-alerts').inputs)).not.toContain('RedisWritesRefused');
  });

  test('outputs', async () => {
    expect((await valueOf(made.result.host)).value).toBe(agentFile(made).redis['host']);
    expect((await valueOf(made.result.agentHost)).value).toBe('redis-agent.redis-west.svc.cluster.local');
  });
});

describe('on ElastiCache with its agent in Fargate', () => {
  const fargate = { subnetIds: { a: 'subnet-a', b: 'subnet-b' }, cpu: 2048 };
  const apart: Partial<RedisRegionArgs> = {
    ...on.elasticache,
    elasticache: { ...elasticache, providerRegion: 'us-west-2' },
    acceptWholeKeyMerge: true,
    fargate,
    peerCidrs: { east: ['10.2.0.0/16', '10.3.0.0/16'] },
    agent: { maxLagMs: 500, protect: true, retainOnDelete: true },
  };
  let made: Deployment<RedisRegion>;
  beforeAll(async () => {
    made = await make(apart);
  });
  const containersOf = (): { environment?: { name: string; value: string }[] }[] =>
    JSON.parse(made.find('redis', ':TaskDefinition').inputs['containerDefinitions'] as string) as never;

  test('exact parts, and nothing in Kubernetes', () => {
    const parts = made.resources.filter(({ type }) => type.startsWith('meridian:'));
    expect(parts.map(({ type, name }) => `${type.split(':').at(-1) ?? ''} ${name}`)).toEqual([
      'RedisRegion redis',
      'ElastiCacheRedis redis',
      'FargateSyncAgent redis',
    ]);
    expect(madeBy(made, 'kubernetes')).toEqual([]);
    expect(
      madeBy(made, 'aws').filter(({ type, inputs }) => !/^aws:iam/.test(type) && inputs['region'] !== 'us-west-2'),
    ).toEqual([]);
  });

  test('the agent has the Redis of its region, its figures, and what follows', () => {
    const files = containersOf()[0]?.environment?.find(({ name }) => name === 'MERIDIAN_FILES')?.value ?? '';
    const config = JSON.parse((JSON.parse(files) as Record<string, string>)['config/agent.json'] ?? '') as object;
    expect(config).toMatchObject({
      redis: { host: 'primary.aws', port: 6379, username: 'meridian-agent', capture: 'notifications' },
      peers: [{ region: 'east', host: 'agent.east.example.com', port: 443 }],
      replication: { mode: 'async', maxLagMs: 500 },
    });
    expect(made.find('redis', ':TaskDefinition').inputs).toMatchObject({ cpu: '2048', memory: '4096' });
    expect(made.find('redis-journal', ':FileSystem')).toMatchObject({ protect: true, retainOnDelete: true });
  });

  test('Redis lets the agent in, and the load balancer each network of the peers', () => {
    expect(made.find('redis-redis-from-agent').inputs).toMatchObject({
      securityGroupId: 'redis-clients-id',
      referencedSecurityGroupId: 'redis-agent-id',
      fromPort: 6379,
    });
    expect(['', '-2'].map((suffix) => made.find(`redis-peer-from-east${suffix}`).inputs['cidrIpv4'])).toEqual([
      '10.2.0.0/16',
      '10.3.0.0/16',
    ]);
  });

  test('outputs', async () => {
    expect((await valueOf(made.result.host)).value).toBe('primary.aws');
    expect((await valueOf(made.result.agentHost)).value).toBe('redis.elb.example');
    expect((await valueOf(made.result.namespace)).value).toBe('');
    expect((await valueOf(made.result.userSecretNames)).value).toEqual({});
  });

  test('a secret is only at write-only arguments', () => {
    expect(leaksOf(made, canary).map((leak) => leak.split(' .')[1])).toEqual(
      expect.arrayContaining(['passwordsWo', 'secretStringWo']),
    );
    expect(leaksOf(made, canary).filter((leak) => !/\.(passwordsWo|secretStringWo)$/.test(leak))).toEqual([]);
  });

  test.each<[string, Partial<RedisRegionArgs>, RegExp]>([
    [
      'on Kubernetes',
      { backend: 'kubernetes', elasticache: undefined },
      /fargate: found a value, with backend kubernetes; allowed: only with backend elasticache/,
    ],
    ['with a namespace', { namespace: 'redis' }, /namespace: found a value, with fargate; allowed: nothing/],
    ['with networks for policies', { redisCidrs: ['10.1.0.0/16'] }, /redisCidrs: found a value, with fargate/],
    ['with monitoring', { monitoring: {} }, /monitoring: found a value, with fargate; allowed: nothing/],
    ['in one zone', { fargate: { subnetIds: { a: 'a' } } }, /fargate\.subnetIds: found 1 name; allowed: at least 2/],
    ['of no size', { fargate: { ...fargate, cpu: 3 } }, /fargate\.cpu: found 3; allowed: 512/],
    [
      'with peers known later',
      { peerCidrs: { east: pulumi.output(['10.2.0.0/16']) } },
      /peerCidrs\.east: found an output; allowed: a plain list/,
    ],
    ['open to everybody', { peerCidrs: { east: ['0.0.0.0/0'] } }, /peerCidrs\.east: .*never 0\.0\.0\.0\/0/],
  ])('%s is refused', async (_, args, message) => {
    await expect(make({ ...apart, ...args })).rejects.toThrow(message);
  });
});

test('data on a service is kept as the data on pods', async () => {
  const made = await make({
    ...on.elasticache,
    ...accepted,
    redis: { protect: true, retainOnDelete: true, use: 'cache' },
  });
  expect(made.find('redis', ':ReplicationGroup')).toMatchObject({ protect: true, retainOnDelete: true });
  expect(made.find('redis-parameters').inputs['parameters']).toContainEqual({
    name: 'maxmemory-policy',
    value: 'allkeys-lru',
  });
});

describe('certificates', () => {
  test("by cert-manager: nothing of the stack's own authority is needed, or made", async () => {
    const { caBundlePem: _, caCertPem: _1, caPrivateKeyPem: _2, ...args } = minimal();
    const byCertManager = { issuer: 'cert-manager', issuerName: 'mesh', certificateValidityDays: 90 } as const;
    const made = await maker(RedisRegion, 'redis', () => ({ ...args, ...byCertManager }), outputs)();
    expect(made.resources.filter(({ type }) => type.startsWith('tls:'))).toEqual([]);
    const certificates = made.resources.filter(({ type }) => type.endsWith(':Certificate'));
    expect(certificates.map(({ name }) => name).sort()).toEqual(['redis-user-agent-tls', 'redis-user-redis-tls']);
    for (const { inputs } of certificates)
      expect(inputs['spec']).toMatchObject({ issuerRef: { kind: 'ClusterIssuer', name: 'mesh' }, duration: '2160h' });
  });

  test('their validity, in Fargate as well', async () => {
    const fargate = { subnetIds: { a: 'subnet-a', b: 'subnet-b' } };
    const elsewhere = { backend: 'elasticache', elasticache, acceptWholeKeyMerge: true, fargate } as const;
    for (const args of [{}, elsewhere]) {
      const made = await make({ ...args, certificateValidityDays: 30 });
      const signed = made.resources.filter(({ type }) => type.endsWith(':LocallySignedCert'));
      expect(signed.length).toBeGreaterThan(0);
      for (const { inputs } of signed) expect(inputs['validityPeriodHours']).toBe(720);
    }
  });
});

test('where a StorageClass is made the journal is on it, too, unless it has another', async () => {
  const classOf = async (args: Partial<RedisRegionArgs>): Promise<unknown> => {
    const { spec } = (await make(args)).find('redis-agent', ':StatefulSet').inputs as {
      spec: { volumeClaimTemplates: { spec: { storageClassName: string } }[] };
    };
    return spec.volumeClaimTemplates[0]?.spec.storageClassName;
  };
  expect(await classOf({})).toBe('gp3');
  expect(await classOf({ redis: { createStorageClass: true } })).toBe('redis-west-redis');
  expect(await classOf({ redis: { createStorageClass: true }, agent: { storageClassName: 'io2' } })).toBe('io2');
});

test.each<[string, Partial<RedisRegionArgs>, RegExp]>([
  [
    'cert-manager without an issuer',
    { issuer: 'cert-manager' },
    /issuerName: found nothing; allowed: a value, with issuer cert-manager/,
  ],
  [
    'cert-manager where there is no Kubernetes',
    {
      ...on.elasticache,
      ...{ acceptWholeKeyMerge: true, fargate: { subnetIds: { a: 'subnet-a', b: 'subnet-b' } } },
      ...{ issuer: 'cert-manager', issuerName: 'mesh' },
    },
    /issuer: found cert-manager, with fargate; allowed: pulumi/,
  ],
  [
    'an agent in Fargate that nobody signs for',
    {
      ...on.elasticache,
      ...{ acceptWholeKeyMerge: true, fargate: { subnetIds: { a: 'subnet-a', b: 'subnet-b' } } },
      caPrivateKeyPem: undefined,
    },
    /caPrivateKeyPem: found nothing; allowed: a value, with fargate/,
  ],
  ['an unknown backend', { backend: 'azure' as 'local' }, /backend: found "azure"; allowed: kubernetes, elasticache/],
  [
    'MemoryDB',
    { backend: 'memorydb' },
    /backend: found memorydb; allowed: a backend that joins the mesh: a MemoryDB is/,
  ],
  ['processes', { backend: 'local' }, /backend: found local; allowed: .*started together/],
  [
    'a service that is nowhere',
    { backend: 'elasticache', ...accepted },
    /elasticache: found nothing; allowed: a value/,
  ],
  [
    'a place without its service',
    { elasticache },
    /elasticache: found a value, with backend kubernetes; allowed: only/,
  ],
  [
    'merging whole keys, unless accepted',
    { ...on.elasticache, ...accepted, acceptWholeKeyMerge: false },
    /acceptWholeKeyMerge: found false, with backend elasticache; allowed: true: the service gives no replication stream/,
  ],
  ['policies to nowhere', { ...on.aliyun, ...accepted, redisCidrs: undefined }, /redisCidrs: found nothing; allowed/],
  [
    'plain text',
    { ...on.tencent, ...accepted, redis: { tls: false } },
    /redis\.tls: found false, with backend tencent/,
  ],
  [
    'semi-sync on a service',
    { ...on.elasticache, ...accepted, agent: { mode: 'semi-sync' } },
    /agent\.mode: found semi-sync, with backend elasticache; allowed: async/,
  ],
  [
    'slots of some shards only',
    { redis: { topology: 'cluster' }, peerHosts: { east: '{shard}.east' }, slots: ['0-9999', '10000-16383'] },
    /slots: found 2 of 3 shards; allowed: the slots of each shard/,
  ],
  [
    'slots of two shards at once',
    {
      redis: { topology: 'cluster' },
      peerHosts: { east: '{shard}.east' },
      slots: ['0-9999', '9999-12000', '12001-16383'],
    },
    /slots: found 0-9999; 9999-12000; 12001-16383; allowed: slots such as 0-5460, each of one shard/,
  ],
  ['slots without a cluster', { slots: ['0-16383'] }, /slots: found a value, without a cluster/],
  [
    'a cluster with an agent in Fargate',
    {
      ...on.elasticache,
      ...{ acceptWholeKeyMerge: true, fargate: { subnetIds: { a: 'subnet-a', b: 'subnet-b' } } },
      ...{ elasticache: { ...elasticache, shards: 2 }, peerHosts: { east: '{shard}.east' } },
    },
    /elasticache\.shards: found 2; allowed: 1, with fargate/,
  ],
  [
    'one agent for each of a cluster of Redis',
    { redis: { topology: 'cluster' } },
    /peerHosts\.east: found "agent\.east\.example\.com:443"; allowed: a host with \{shard\} in it/,
  ],
  [
    'one agent for a cluster of ElastiCache',
    { ...on.elasticache, ...accepted, elasticache: { ...elasticache, shards: 2 } },
    /peerHosts\.east: found "agent\.east\.example\.com:443"; allowed: a host with \{shard\} in it/,
  ],
  [
    'two zones that are one',
    { ...on.aliyun, ...accepted, aliyun: { ...aliyun, secondaryZoneId: aliyun.zoneId } },
    /aliyun\.secondaryZoneId: found "cn-hangzhou-h" again/,
  ],
])('%s is refused before anything is made', async (_, args, message) => {
  const made = make(args);
  await expect(made).rejects.toThrow(message);
  await expect(made).rejects.toBeInstanceOf(ArgumentError);
});
