import * as pulumi from '@pulumi/pulumi';

import {
  ActiveActiveRedis,
  type ActiveActiveRedisArgs,
  ArgumentError,
  Mesh,
  type MeshRegion,
  PeerTopology,
  RegionBackend,
  ReplicationMode,
} from '..';
import { deploy, leaksOf, valueOf } from '../testing';

const canary = 'Tweety';
const regions = [{ name: 'west', weight: 60, primary: true }, { name: 'east', weight: 40 }, { name: 'south' }];
const base: ActiveActiveRedisArgs = { stack: 'prod', regions, agentImage: 'meridian@sha256:1' };

const make = (args: Partial<ActiveActiveRedisArgs> = {}) =>
  deploy(() => new ActiveActiveRedis('redis', { ...base, ...args }), { canary });

function peersIn(made: Awaited<ReturnType<typeof make>>, region: string): Record<string, string> {
  const { data } = made.find(`redis-${region}-agent-config`).inputs as { data: Record<string, string> };
  const { peers } = JSON.parse(data['agent.json'] ?? '') as { peers: { region: string; host: string }[] };
  return Object.fromEntries(peers.map((peer) => [peer.region, peer.host]));
}

test('the mesh: users and authorities once, and each region by its own name', async () => {
  const made = await make();
  const components = made.resources.filter(({ type }) => type.startsWith('meridian:'));
  const region = (name: string): string[] => [
    `KubernetesRedis redis-${name}`,
    `RedisCredentials redis-${name}-user`,
    `RedisNetworkPolicy redis-${name}`,
    `RedisRegion redis-${name}`,
    `SyncAgent redis-${name}-agent`,
  ];
  expect(components.map(({ type, name }) => `${type.split(':')[2] ?? ''} ${name}`).sort()).toEqual(
    [
      'ActiveActiveRedis redis',
      'RedisSecurity redis-security',
      ...region('west'),
      ...region('east'),
      ...region('south'),
    ].sort(),
  );
  expect(made.find('redis-east', 'Namespace').inputs).toMatchObject({ metadata: { name: 'redis-east' } });
  expect(leaksOf(made, canary)).toEqual([]);
  expect(await valueOf(made.result.endpoints)).toEqual({
    secret: false,
    value: Object.fromEntries(
      ['west', 'east', 'south'].map((name) => [
        name,
        {
          host: `redis-${name}.redis-${name}.svc.cluster.local`,
          replicaHost: `redis-${name}-replicas.redis-${name}.svc.cluster.local`,
          port: 6379,
        },
      ]),
    ),
  });
  expect((await valueOf(made.result.userPasswords)).secret).toBe(true);
  expect(peersIn(made, 'west')).toEqual({
    east: 'redis-east-agent.redis-east.svc.cluster.local',
    south: 'redis-south-agent.redis-south.svc.cluster.local',
  });
});

test('where Redis is a cluster each shard has an agent, linked with those of the same slots', async () => {
  const made = await make({ redis: { topology: 'cluster', shards: 3 } });
  const agents = made.resources.filter(({ type, name }) => type.endsWith(':SyncAgent') && name.includes('west'));
  expect(agents.map(({ name }) => name).sort()).toEqual([0, 1, 2].map((shard) => `redis-west-agent-${shard}`));
  const config = (name: string): Record<string, unknown> => {
    const { data } = made.find(`${name}-config`).inputs as { data: Record<string, string> };
    return JSON.parse(data['agent.json'] ?? '') as Record<string, unknown>;
  };
  expect(config('redis-west-agent-1')).toMatchObject({
    redis: { host: 'redis-west.redis-west.svc.cluster.local', cluster: { slots: '5461-10922' } },
    peers: [
      { region: 'east', host: 'redis-east-agent-1.redis-east.svc.cluster.local' },
      { region: 'south', host: 'redis-south-agent-1.redis-south.svc.cluster.local' },
    ],
  });
  expect(config('redis-west-agent-1')['redis']).not.toHaveProperty('sentinels');
  // No two of them have pods in common.
  const selectors = [0, 1, 2].map((shard) => {
    const { spec } = made.find(`redis-west-agent-${shard}`, 'v1:StatefulSet').inputs as {
      spec: { selector: { matchLabels: Record<string, string> } };
    };
    return JSON.stringify(spec.selector.matchLabels);
  });
  expect(new Set(selectors).size).toBe(3);
  const acl = (made.find('redis-west-user-acl').inputs as { stringData: Record<string, string> }).stringData;
  expect(acl['users.acl']).toMatch(/^user meridian-agent .*\+cluster\|nodes/m);
  expect((await valueOf(made.result.links)).value).toMatchObject({ west: ['east', 'south'] });
});

test('shards of clusters apart are told apart by their address, and have the slots that are given', async () => {
  const apart = regions.map((region) => ({
    ...region,
    context: region.name,
    agentHost: `agent-{shard}.${region.name}.example.com:443`,
    agentCidrs: ['192.0.2.0/24'],
  }));
  const slots = ['0-9999', '10000-12000', '12001-16383'];
  const args = { regions: apart, redis: { topology: 'cluster' as const }, slots };
  const made = await make({ ...args, agent: { loadBalancerAnnotations: {} } });
  const { data } = made.find('redis-west-agent-2-config').inputs as { data: Record<string, string> };
  expect(JSON.parse(data['agent.json'] ?? '')).toMatchObject({
    redis: { cluster: { slots: '12001-16383' } },
    peers: [
      { host: 'agent-2.east.example.com', port: 443 },
      { host: 'agent-2.south.example.com', port: 443 },
    ],
  });
  expect(made.find('redis-west-agent-2-peers').inputs).toMatchObject({
    metadata: { annotations: { 'external-dns.alpha.kubernetes.io/hostname': 'agent-2.west.example.com' } },
  });
  const one = apart.map((region) => ({ ...region, agentHost: `${region.name}.example.com` }));
  await expect(make({ ...args, regions: one })).rejects.toThrow(
    /regions\[0\]\.agentHost: found "west\.example\.com"; allowed: a host with \{shard\} in it/,
  );
});

test('a ring and a star link only whom they say', async () => {
  const four = [...regions, { name: 'north' }];
  const ring = await make({ regions: four, topology: PeerTopology.Ring });
  expect(Object.keys(peersIn(ring, 'west')).sort()).toEqual(['east', 'north']);
  const star = await make({ regions: four, topology: PeerTopology.Star, hub: 'east' });
  expect(Object.keys(peersIn(star, 'west'))).toEqual(['east']);
  expect(Object.keys(peersIn(star, 'east')).sort()).toEqual(['north', 'south', 'west']);
});

test('one region more changes nothing of the others but their links', async () => {
  const [before, after] = [await make({ regions: regions.slice(0, 2) }), await make()];
  const linked = /ConfigMap|StatefulSet|NetworkPolicy/;
  for (const old of before.resources.filter(({ type }) => type.startsWith('kubernetes:'))) {
    const now = after.find(old.name, old.type);
    if (!linked.test(old.type)) expect(now.inputs).toEqual(old.inputs);
  }
  const data = (made: typeof before): unknown => made.find('redis-west', 'v1:StatefulSet').inputs['spec'];
  expect(data(after)).toEqual(data(before)); // no Redis pod is rolled for a new neighbour
  const added = after.resources.filter(({ name }) => !before.resources.some((old) => old.name === name));
  expect(added.map(({ name }) => name).filter((name) => !name.startsWith('redis-south'))).toEqual([]);
});

test('regions in clusters of their own have providers of their own, and are reached from outside', async () => {
  const apart = regions.map((region) => ({
    ...region,
    context: region.name,
    agentHost: `${region.name}.example.com:443`,
    agentCidrs: ['192.0.2.0/24'],
  }));
  const made = await make({ regions: apart });
  const objects = made.resources.filter(({ type }) => type.startsWith('kubernetes:'));
  for (const { name, provider } of objects) {
    const region = /^redis-([a-z]+)/.exec(name)?.[1] ?? '';
    expect(provider).toContain(`::redis-${region}::`);
  }
  expect(peersIn(made, 'west')).toEqual({ east: 'east.example.com', south: 'south.example.com' });
});

test('agents outside are let out to at the port that their address has', async () => {
  const ports = { west: 7600, east: 17600, south: 443 };
  const apart = regions.map((region) => ({
    ...region,
    context: region.name,
    agentHost: `${region.name}.example.com:${ports[region.name as keyof typeof ports]}`,
    agentCidrs: [`192.0.2.${ports[region.name as keyof typeof ports] % 256}/32`],
  }));
  const { egress } = (await make({ regions: apart })).find('redis-west-agent', ':NetworkPolicy').inputs['spec'] as {
    egress: { to: { ipBlock?: { cidr: string } }[]; ports: { port: number }[] }[];
  };
  const outside = egress.filter(({ to }) => to[0]?.ipBlock !== undefined);
  expect(outside.map(({ to, ports: [port] }) => [to[0]?.ipBlock?.cidr, port?.port])).toEqual([
    [`192.0.2.${17600 % 256}/32`, 17600],
    ['192.0.2.187/32', 443],
  ]);
});

describe('min-replicas-to-write', () => {
  const told = async (args: Partial<ActiveActiveRedisArgs>): Promise<(string | undefined)[]> => {
    const made = await make(args);
    return regions.map(({ name }) => {
      const { data } = made.find(`redis-${name}-config`).inputs as { data: Record<string, string> };
      return /^min-replicas-to-write (\d+)$/m.exec(Object.values(data).join('\n'))?.[1];
    });
  };

  test('a replica that there is, and in semi-sync the agent', async () => {
    expect(await told({})).toEqual(['2', '2', '2']);
    expect(await told({ agent: { mode: ReplicationMode.Async } })).toEqual(['1', '1', '1']);
  });

  test('a mode for each region, and what follows from it', async () => {
    const [west, east, south] = regions;
    const own = [west!, { ...east!, mode: ReplicationMode.Async }, south!];
    expect(await told({ regions: own })).toEqual(['2', '1', '2']);
    const made = await make({ regions: own });
    const modes = regions.map(({ name }) => {
      const { data } = made.find(`redis-${name}-agent-config`).inputs as { data: Record<string, string> };
      return (JSON.parse(data['agent.json'] ?? '') as { replication: { mode: string } }).replication.mode;
    });
    expect(modes).toEqual(['semi-sync', 'async', 'semi-sync']);
  });

  test('every region has its own', async () => {
    const [west, east, south] = regions;
    const own = [{ ...west!, minReplicasToWrite: 3 }, east!, { ...south!, minReplicasToWrite: 0 }];
    expect(await told({ regions: own, redis: { minReplicasToWrite: 1 } })).toEqual(['3', '1', '0']);
  });
});

describe('traffic', () => {
  const traffic = { host: 'redis.prod.meridian', maxConnectionSeconds: 60 };
  const specOf = (made: Awaited<ReturnType<typeof make>>, name: string): Record<string, unknown> =>
    made.find(name).inputs['spec'] as Record<string, unknown>;

  test('each region has rules of its own, which only its clients follow, and its certificate carries the name', async () => {
    const made = await make({ serviceMesh: Mesh.Sidecar, traffic });
    for (const { name } of regions) {
      expect(made.children(`redis-${name}-traffic`)).toEqual(
        ['DestinationRule rule', 'ServiceEntry entry', 'VirtualService route'].map((child) =>
          child.replace(' ', ` redis-${name}-traffic-`),
        ),
      );
      const entry = specOf(made, `redis-${name}-traffic-entry`);
      expect(entry).toMatchObject({
        hosts: [traffic.host],
        exportTo: ['.'],
        endpoints: regions.map((other) => ({
          address: `redis-${other.name}.redis-${other.name}.svc.cluster.local`,
          locality: other.name,
        })),
      });
      expect(made.find(`redis-${name}-user-redis-tls-request`).inputs['dnsNames']).toContain(traffic.host);
    }
    expect(specOf(made, 'redis-west-traffic-rule')).toMatchObject({
      trafficPolicy: {
        loadBalancer: { localityLbSetting: { enabled: true } },
        connectionPool: { tcp: { maxConnectionDuration: '60s' } },
      },
    });
  });

  test('a region with shares distributes, the others fail over; a shift makes shares of all', async () => {
    const distribute = { west: { west: 70, east: 30 } };
    const settings = async (more: object): Promise<unknown[]> => {
      const made = await make({ serviceMesh: Mesh.Sidecar, traffic: { ...traffic, distribute, ...more } });
      return ['west', 'east'].map(
        (name) =>
          (
            specOf(made, `redis-${name}-traffic-rule`) as {
              trafficPolicy: { loadBalancer: { localityLbSetting: unknown } };
            }
          ).trafficPolicy.loadBalancer.localityLbSetting,
      );
    };
    const east = { from: 'east/*', to: { 'east/*': 100 } };
    const south = { from: 'south/*', to: { 'south/*': 100 } };
    expect(await settings({})).toEqual([
      { enabled: true, distribute: [{ from: 'west/*', to: { 'west/*': 70, 'east/*': 30 } }, east, south] },
      { enabled: true },
    ]);
    const [, shifted] = await settings({ shift: [{ from: 'east', to: 'west', percent: 40 }] });
    expect(shifted).toEqual({
      enabled: true,
      distribute: [
        { from: 'west/*', to: { 'west/*': 82, 'east/*': 18 } },
        { from: 'east/*', to: { 'west/*': 40, 'east/*': 60 } },
        south,
      ],
    });
  });

  test("by weights it is the regions', in clusters of their own by their gateways", async () => {
    const apart = regions.map((region) => ({
      ...region,
      context: region.name,
      agentHost: `${region.name}.example.com`,
      agentCidrs: ['192.0.2.0/24'],
      trafficHost: `gateway.${region.name}.example.com`,
      istioNetwork: `net-${region.name}`,
    }));
    const made = await make({ regions: apart, serviceMesh: Mesh.Sidecar, traffic: { ...traffic, by: 'weights' } });
    expect(specOf(made, 'redis-east-traffic-route')['tcp']).toMatchObject([
      {
        route: [
          { weight: 60, destination: { subset: 'west' } },
          { weight: 40, destination: { subset: 'east' } },
        ],
      },
    ]);
    const entry = specOf(made, 'redis-east-traffic-entry') as { exportTo: string[]; endpoints: { address: string }[] };
    expect(entry.exportTo).toEqual(['*']);
    expect(entry.endpoints.map(({ address }) => address)).toEqual([
      'gateway.west.example.com',
      'redis-east.redis-east.svc.cluster.local',
      'gateway.south.example.com',
    ]);
    expect(made.find('redis-east-traffic-rule').provider).toContain('::redis-east::');
  });
});

test('every region is watched, with dashboards once in a cluster and the figures that its Redis has', async () => {
  const made = await make({
    redis: { use: 'cache' },
    agent: { journalBytes: 1024 },
    monitoring: { lagCriticalMs: 7000, monitorLabels: { release: 'prometheus' } },
    topology: PeerTopology.Star,
    hub: 'west',
  });
  expect(made.children('redis-west-monitoring')).toEqual([
    'ConfigMap redis-west-monitoring-dashboard-mesh',
    'ConfigMap redis-west-monitoring-dashboard-region',
    'PodMonitor redis-west-monitoring-agents',
    'PodMonitor redis-west-monitoring-redis',
    'PrometheusRule redis-west-monitoring-alerts',
  ]);
  expect(made.children('redis-east-monitoring').filter((child) => child.startsWith('ConfigMap'))).toEqual([]);
  const { groups } = made.find('redis-east-monitoring-alerts').inputs['spec'] as {
    groups: { rules: { alert: string; expr: string }[] }[];
  };
  const all = groups.flatMap(({ rules }) => rules);
  const expr = (alert: string): string | undefined => all.find((each) => each.alert === alert)?.expr;
  expect(expr('MeridianReplicationLag')).toMatch(/> 7000$/);
  expect(expr('MeridianJournalFull')).toContain('/ 1024 >');
  expect(expr('RedisWritesRefused')).toMatch(/>= 2$/);
  expect(expr('RedisKeysEvicted')).toBeUndefined();
  // Of a star only the hub is a neighbour.
  expect(expr('MeridianLagUnknown')).toMatch(/peer="west"[^]*$/);
  expect(expr('MeridianLagUnknown')).not.toContain('south');
});

describe('agents in Fargate', () => {
  const onAws = (name: string, network: string, more: Partial<MeshRegion> = {}): MeshRegion => ({
    name,
    backend: 'elasticache',
    mode: ReplicationMode.Async,
    elasticache: { vpcId: `vpc-${name}`, subnetIds: ['subnet-a', 'subnet-b'] },
    fargate: { subnetIds: { a: `${name}-a`, b: `${name}-b` } },
    agentCidrs: [network],
    ...more,
  });
  const outputs = (type: string, name: string): Record<string, unknown> =>
    type.endsWith(':LoadBalancer') ? { dnsName: `${name}.elb.example` } : {};
  const deployed = (args: Partial<ActiveActiveRedisArgs>) =>
    deploy(() => new ActiveActiveRedis('redis', { ...base, acceptWholeKeyMerge: true, ...args }), { canary, outputs });
  const peersOfTask = (made: Awaited<ReturnType<typeof make>>, region: string): unknown => {
    const [files] = JSON.parse(
      made.find(`redis-${region}`, ':TaskDefinition').inputs['containerDefinitions'] as string,
    ) as { environment: { name: string; value: string }[] }[];
    const text = files?.environment.find(({ name }) => name === 'MERIDIAN_FILES')?.value ?? '{}';
    const file = (JSON.parse(text) as Record<string, string>)['config/agent.json'] ?? '{}';
    return (JSON.parse(file) as { peers: unknown }).peers;
  };

  test("know each other's load balancers, and let each other in", async () => {
    const made = await deployed({
      regions: [
        onAws('west', '10.1.0.0/16', { primary: true }),
        onAws('east', '10.2.0.0/16'),
        onAws('south', '10.3.0.0/16', { agentHost: 'agent.south.example.com:443' }),
      ],
    });
    expect(made.resources.filter(({ type }) => type.startsWith('kubernetes:'))).toEqual([]);
    const [west, east] = ['west', 'east'].map((region) => ({
      region,
      host: `redis-${region}.elb.example`,
      port: 7600,
    }));
    const south = { region: 'south', host: 'agent.south.example.com', port: 443 };
    expect(peersOfTask(made, 'west')).toEqual([east, south]);
    expect(peersOfTask(made, 'south')).toEqual([west, east]);
    expect(made.find('redis-west-peer-from-south').inputs['cidrIpv4']).toBe('10.3.0.0/16');
  });

  test('stand beside regions in Kubernetes, in semi-sync and watched', async () => {
    const apart = { context: 'east', agentHost: 'agent.east.example.com', agentCidrs: ['10.2.0.0/16'] };
    const made = await deployed({
      regions: [onAws('west', '10.1.0.0/16', { primary: true }), { name: 'east', ...apart }],
      monitoring: {},
    });
    expect(peersIn(made, 'east')).toEqual({ west: 'redis-west.elb.example' });
    expect(peersOfTask(made, 'west')).toEqual([{ region: 'east', host: 'agent.east.example.com', port: 7600 }]);
    const { egress } = made.find('redis-east-agent', ':NetworkPolicy').inputs['spec'] as { egress: unknown[] };
    expect(egress).toContainEqual({
      to: [{ ipBlock: { cidr: '10.1.0.0/16' } }],
      ports: [{ protocol: 'TCP', port: 7600 }],
    });
    const monitors = made.resources.filter(({ type }) => type.endsWith(':RedisMonitoring'));
    expect(monitors.map(({ name }) => name)).toEqual(['redis-east-monitoring']);
    expect(made.children('redis-east-monitoring').filter((child) => child.startsWith('ConfigMap'))).toHaveLength(2);
  });

  const west = onAws('west', '10.1.0.0/16', { primary: true });
  test.each<[string, Partial<ActiveActiveRedisArgs>, RegExp]>([
    [
      'a peer whose address it cannot let in',
      { regions: [west, onAws('east', '', { agentCidrs: undefined })], networkPolicy: false },
      /regions\[1\]\.agentCidrs: found nothing; allowed: the networks that its agent calls from, a plain list, for the security groups of west/,
    ],
    [
      'a cluster',
      { regions: [west, onAws('east', '10.2.0.0/16', { context: 'east' })] },
      /regions\[1\]\.context: found a value, with fargate; allowed: nothing/,
    ],
    [
      'monitoring where there is no cluster at all',
      { regions: [west, onAws('east', '10.2.0.0/16')], monitoring: {} },
      /monitoring: found a value, with fargate at every region/,
    ],
    [
      'cert-manager',
      { regions: [west, onAws('east', '10.2.0.0/16')], issuer: 'cert-manager', issuerName: 'mesh' },
      /issuer: found cert-manager, with fargate at west, east; allowed: pulumi: cert-manager is in Kubernetes/,
    ],
    [
      'an agent in a cluster that it cannot reach',
      { regions: [west, { name: 'east', agentCidrs: ['10.2.0.0/16'] }] },
      /regions\[1\]\.agentHost: found nothing; allowed: where the agents of west, in other clusters, reach it/,
    ],
  ])('%s is refused', async (_, args, message) => {
    await expect(deployed(args)).rejects.toThrow(message);
  });
});

test.each<[string, Partial<ActiveActiveRedisArgs>, RegExp]>([
  [
    'traffic without sidecars',
    { traffic: { host: 'r' } },
    /serviceMesh: found nothing; allowed: sidecar, with traffic/,
  ],
  [
    'weights that are not 100',
    { serviceMesh: Mesh.Sidecar, traffic: { host: 'r', by: 'weights' }, regions: [regions[0]!, { name: 'east' }] },
    /regions: found weights 60 \+ 0 = 60; allowed: weights with a sum of 100/,
  ],
  [
    'traffic to a cluster that nobody reaches',
    {
      serviceMesh: Mesh.Sidecar,
      traffic: { host: 'r' },
      regions: regions.map((region) => ({ ...region, context: region.name })),
    },
    /regions\[0\]\.trafficHost: found nothing; allowed: where clients in other clusters reach its Redis/,
  ],
  [
    'an agent outside whose address nobody knows',
    { regions: regions.map((region) => ({ ...region, context: region.name, agentHost: 'a' })) },
    /regions\[0\]\.agentCidrs: found nothing; allowed: the networks behind agentHost, for the NetworkPolicies of east, south/,
  ],
  [
    'semi-sync of a region whose Redis waits for nobody',
    {
      acceptWholeKeyMerge: true,
      networkPolicy: false,
      regions: [
        regions[0]!,
        { name: 'east', backend: 'elasticache', elasticache: { vpcId: 'vpc-1', subnetIds: ['subnet-a', 'subnet-b'] } },
      ],
    },
    /regions\[1\]\.mode: found semi-sync, with backend elasticache; allowed: async \(here or as agent\.mode\)/,
  ],
  ['one region', { regions: regions.slice(0, 1) }, /regions: found 1 name; allowed: at least 2/],
  ['no primary', { regions: regions.slice(1) }, /none or several with primary/],
  ['the same name twice', { regions: [...regions, { name: 'west' }] }, /"west" again/],
  ['a star without a hub', { topology: PeerTopology.Star }, /hub: found nothing; allowed: one of west, east, south/],
  [
    'two regions in one namespace',
    { regions: regions.map((region) => ({ ...region, namespace: 'redis' })) },
    /regions\[1\]\.namespace: found redis/,
  ],
  [
    'another cluster without a way to it',
    { regions: regions.map((region) => ({ ...region, context: region.name })) },
    /regions\[0\]\.agentHost: found nothing; allowed: where the agents of east, south, in other clusters, reach it/,
  ],
])('%s is refused before anything is made', async (_, args, message) => {
  const made = make(args);
  await expect(made).rejects.toThrow(message);
  await expect(made).rejects.toBeInstanceOf(ArgumentError);
});

const elasticache = { vpcId: 'vpc', subnetIds: ['a', 'b'], clientCidrs: { apps: '10.0.0.0/16' } };
const onAws = { backend: RegionBackend.ElastiCache, redisCidrs: ['10.0.0.0/16'] };

test.each<[string, Partial<ActiveActiveRedisArgs>, RegExp]>([
  ['KubernetesRedis', { redis: { sentinels: 2 } }, /^redis\.sentinels: found 2; allowed: a whole number from 3 to 9$/],
  [
    'KubernetesRedis of one region',
    { regions: regions.map((region) => (region.name === 'east' ? { ...region, replicas: 9 } : region)) },
    /^regions\[1\]\.replicas: found 9; allowed: a whole number from 1 to 5 /,
  ],
  [
    'ElastiCacheRedis',
    {
      ...{ acceptWholeKeyMerge: true, agent: { mode: 'async' } },
      regions: [
        { ...regions[0]!, ...onAws, elasticache: { ...elasticache, snapshotRetentionDays: 40 } },
        ...regions.slice(1),
      ],
    },
    /^regions\[0\]\.elasticache\.snapshotRetentionDays: found 40; allowed: a whole number from 0 to 35 \(days\)$/,
  ],
  [
    'a shard by itself',
    {
      ...{ acceptWholeKeyMerge: true, agent: { mode: 'async' } },
      regions: [{ ...regions[0]!, ...onAws, elasticache: { ...elasticache, shards: 2 } }, ...regions.slice(1)],
    },
    /^regions: found 2 shards at west, 1 shard at east, 1 shard at south; allowed: as many in every region/,
  ],
  ['SyncAgent', { agent: { mode: 'sometimes' as ReplicationMode } }, /^agent\.mode: found "sometimes"; allowed: /],
  ['RedisNetworkPolicy', { serviceMesh: 'linkerd' as Mesh }, /^serviceMesh: found "linkerd"; allowed: /],
  ['RedisMonitoring', { monitoring: { memoryCritical: 2 } }, /^monitoring\.memoryCritical: found 2; allowed: /],
  ['RedisSecurity', { authorities: [] }, /^authorities: found 0 names; allowed: at least 1$/],
  [
    'RedisSecurity and RedisCredentials',
    { users: { 'A B': ['+@read'] } },
    /^users\[0\]: found "A B"; allowed: [^\n]*$/,
  ],
  [
    'RegionalTraffic',
    { serviceMesh: Mesh.Sidecar, traffic: { host: 'redis', drain: ['mars'] } },
    /^traffic\.drain\[0\]: found "mars"; allowed: a region: west, east, south$/,
  ],
])('what %s would refuse the mesh refuses, before anything is registered', async (_, args, issue) => {
  const registered: string[] = [];
  const outputs = (type: string, name: string): Record<string, unknown> => {
    registered.push(`${type} ${name}`);
    return {};
  };
  const error = await deploy(() => new ActiveActiveRedis('redis', { ...base, ...args }), { outputs }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await pulumi.runtime.disconnect();
  expect(error).toBeInstanceOf(ArgumentError);
  const [first, ...issues] = (error as ArgumentError).message.split('\n');
  expect(first).toBe("ActiveActiveRedis 'redis' has bad arguments:");
  expect(issues).toEqual([expect.stringMatching(issue)]);
  expect(registered).toEqual([]);
});
