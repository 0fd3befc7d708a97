import { parseAgentConfig } from '../../agent/config';
import { agentNodeOptions } from '../../agent/node-options';
import { type Deployment, deploy, valueOf } from '../testing';
import { PeerTopology, SyncAgent, type SyncAgentArgs } from '.';
import { nodeOptions } from './agent';

const minimal: SyncAgentArgs = {
  region: 'west',
  stack: 'prod',
  namespace: 'redis-west',
  image: 'registry.example/meridian@sha256:0123',
  members: [
    { name: 'west', weight: 60, primary: true },
    { name: 'middle', weight: 25 },
    { name: 'east', weight: 15 },
  ],
  peerHosts: { middle: 'agent.redis-middle', east: 'agent.east.example:17600' },
  redisHost: 'redis.redis-west.svc.cluster.local',
  sentinelHosts: ['s-0', 's-1', 's-2'],
  userSecretName: 'c-meridian-agent',
  nodeSecretName: 'c-meridian-node',
  tlsSecretName: 'c-agent-tls',
};
const make = (args: Partial<SyncAgentArgs> = {}): Promise<Deployment<SyncAgent>> =>
  deploy(() => new SyncAgent('agent', { ...minimal, ...args }));
const configOf = (made: Deployment<unknown>): unknown =>
  JSON.parse((made.find('agent-config').inputs['data'] as Record<string, string>)['agent.json']!);

test('exact children', async () => {
  const made = await make();
  expect(made.children('agent')).toEqual([
    'ConfigMap agent-config',
    'PodDisruptionBudget agent',
    'Service agent',
    'StatefulSet agent',
  ]);
  const { result } = made;
  expect((await valueOf(result.host)).value).toBe('agent.redis-west.svc.cluster.local');
  expect((await valueOf(result.port)).value).toBe(7600);
});

test('the config is one that the agent reads, with everything that was said', async () => {
  const config = parseAgentConfig(configOf(await make({ maxLagMs: 500, semiSyncRegions: 2 })));
  expect(config).toMatchObject({
    stack: 'prod',
    region: 'west',
    members: minimal.members.map((member) => ({ primary: false, ...member })),
    redis: {
      host: 'redis.redis-west.svc.cluster.local',
      port: 6379,
      username: 'meridian-agent',
      passwordFile: '/etc/meridian/user/password',
      tls: { caFile: '/etc/meridian/tls/ca.crt' },
      sentinels: ['s-0', 's-1', 's-2'].map((host) => ({ host, port: 26379 })),
      sentinelName: 'west',
      sentinelLogin: true,
    },
    listen: {
      peer: { host: '0.0.0.0', port: 7600 },
      admin: { host: '0.0.0.0', port: 7601 },
      replica: {
        host: 'agent-0.agent.redis-west.svc.cluster.local',
        port: 7602,
        username: 'meridian-node',
        passwordFile: '/etc/meridian/node/password',
        tls: true,
      },
    },
    peers: [
      { region: 'middle', host: 'agent.redis-middle', port: 7600 },
      { region: 'east', host: 'agent.east.example', port: 17600 },
    ],
    stateDir: '/var/lib/meridian',
    replication: {
      mode: 'semi-sync',
      semiSyncRegions: 2,
      maxLagMs: 500,
      heartbeatMs: 25,
      compression: 'auto',
      flush: 'carry',
      dryRun: false,
    },
    conflicts: { values: 'digest' },
    journal: { bytesMax: 8 * 2 ** 30, segmentBytes: 64 * 2 ** 20 },
  });
});

test("what is left out has the agent's own default", async () => {
  const least = parseAgentConfig({
    stack: 's',
    region: 'west',
    members: [{ name: 'west' }],
    redis: { port: 1 },
    listen: { peer: { port: 0 }, admin: { port: 0 } },
    tls: { caFile: 'a', certFile: 'b', keyFile: 'c' },
    stateDir: 'd',
  });
  const { replication, journal } = parseAgentConfig(configOf(await make()));
  expect({ replication, journal }).toEqual({ replication: least.replication, journal: least.journal });
  expect(nodeOptions).toEqual(agentNodeOptions);
});

test('peers follow the topology', async () => {
  const peers = async (region: string): Promise<string[]> => {
    const peerHosts = { west: 'w', middle: 'm', east: 'e' };
    const made = await make({ region, topology: PeerTopology.Star, hub: 'middle', peerHosts });
    return parseAgentConfig(configOf(made)).peers.map((peer) => peer.region);
  };
  expect(await peers('middle')).toEqual(['west', 'east']);
  expect(await peers('east')).toEqual(['middle']);
});

test('without Sentinels and TLS', async () => {
  const { redis, listen } = parseAgentConfig(configOf(await make({ sentinelHosts: undefined, redisTls: false })));
  expect(redis).not.toHaveProperty('sentinels');
  expect(redis.tls).toBeUndefined();
  expect(listen.replica?.tls).toBe(false);
});

test('one pod with a disk, Secrets mounted, probes on the admin port', async () => {
  const made = await make();
  expect(made.find('agent', 'StatefulSet').inputs['spec']).toMatchObject({
    replicas: 1,
    serviceName: 'agent',
    template: {
      spec: {
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true },
        containers: [
          {
            image: 'registry.example/meridian@sha256:0123',
            startupProbe: { httpGet: { path: '/healthz', port: 7601 } },
            livenessProbe: { httpGet: { path: '/healthz', port: 7601 } },
            readinessProbe: { httpGet: { path: '/readyz', port: 7601 } },
            securityContext: { readOnlyRootFilesystem: true },
          },
        ],
        volumes: [
          { name: 'config', configMap: { name: 'agent-config' } },
          { name: 'tls', secret: { secretName: 'c-agent-tls' } },
          { name: 'user', secret: { secretName: 'c-meridian-agent' } },
          { name: 'node', secret: { secretName: 'c-meridian-node' } },
          { name: 'scratch', emptyDir: {} },
        ],
      },
    },
    volumeClaimTemplates: [{ metadata: { name: 'state' }, spec: { resources: { requests: { storage: '10Gi' } } } }],
  });
  expect(made.find('agent', 'Service').inputs['spec']).toMatchObject({
    clusterIP: 'None',
    publishNotReadyAddresses: true,
  });
});

test('a change of what it reads at its start rolls the pod, and nothing else does', async () => {
  const templateOf = async (args: Partial<SyncAgentArgs> = {}): Promise<unknown> => {
    const spec = (await make({ credentialsChecksum: 'one', ...args })).find('agent', 'StatefulSet').inputs['spec'];
    return (spec as { template: unknown }).template;
  };
  const before = await templateOf();
  expect(await templateOf()).toEqual(before);
  // For a region more it begins anew by itself.
  const members = [{ name: 'west', primary: true }, { name: 'east' }, { name: 'south' }];
  const peerHosts = { east: 'agent.east', south: 'agent.south' };
  expect(await templateOf({ members, peerHosts })).toEqual(before);
  for (const args of [{ maxLagMs: 500 }, { redisCaPem: 'another' }, { credentialsChecksum: 'two' }])
    expect(await templateOf(args)).not.toEqual(before);
});

test('agents of other clusters come by a load balancer, where one is wanted', async () => {
  const made = await make({
    loadBalancerAnnotations: { 'example.com/internal': 'true' },
    agentHosts: ['agent.west.example.com'],
  });
  expect(made.children('agent')).toContain('Service agent-peers');
  expect(made.find('agent-peers').inputs).toMatchObject({
    metadata: {
      name: 'agent-peers',
      namespace: 'redis-west',
      annotations: {
        'example.com/internal': 'true',
        'external-dns.alpha.kubernetes.io/hostname': 'agent.west.example.com',
      },
    },
    spec: { type: 'LoadBalancer', ports: [{ port: 7600 }] },
  });
});

test('the journal can be protected', async () => {
  const made = await make({ protect: true, retainOnDelete: true });
  expect(made.find('agent', 'StatefulSet')).toMatchObject({ protect: true, retainOnDelete: true });
});

test.each<[Partial<SyncAgentArgs>, RegExp]>([
  [{ region: 'north' }, /region: found north; allowed: a name in members: west, middle, east/],
  [{ members: [{ name: 'west', primary: true }] }, /members: found 1 name; allowed: at least 2/],
  [
    { members: minimal.members.map(({ name }) => ({ name })) },
    /members: found none or several with primary; allowed: one/,
  ],
  [{ topology: PeerTopology.Star }, /hub: found nothing; allowed: a name in members/],
  [{ hub: 'west' }, /hub: found west; allowed: only with topology star/],
  [{ peerHosts: { middle: 'm' } }, /peerHosts: found none for east; allowed: a host for each linked region/],
])('refuses %j', async (args, message) => {
  await expect(make(args)).rejects.toThrow(message);
});
