import { ActiveActiveRedis, type ActiveActiveRedisArgs, ArgumentError, PeerTopology } from '..';
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

test.each<[string, Partial<ActiveActiveRedisArgs>, RegExp]>([
  ['one region', { regions: regions.slice(0, 1) }, /regions: found 1 names; allowed: at least 2/],
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
