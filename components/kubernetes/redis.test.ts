import * as pulumi from '@pulumi/pulumi';

import { Spread } from '../common';
import { type Deployment, deploy, leaksOf, type Recorded, valueOf } from '../testing';
import { KubernetesRedis, type KubernetesRedisArgs, redisHostsOf, RedisTopology, RedisUse } from '.';
import { bytesOf } from './quantity';
import { checkSizes } from './redis';

const minimal: KubernetesRedisArgs = {
  region: 'west',
  namespace: 'redis-west',
  aclSecretName: 'c-acl',
  nodeSecretName: 'c-meridian-node',
  exporterSecretName: 'c-meridian-exporter',
  tlsSecretName: 'c-redis-tls',
};
const make = (args: Partial<KubernetesRedisArgs> = {}): Promise<Deployment<KubernetesRedis>> =>
  deploy(() => new KubernetesRedis('redis', { ...minimal, ...args }));

interface PodTemplate {
  metadata: { labels: Record<string, string>; annotations: Record<string, string> };
  spec: {
    securityContext: object;
    affinity?: { podAntiAffinity: object };
    topologySpreadConstraints?: object[];
    initContainers?: { name: string; securityContext: object }[];
    containers: {
      name: string;
      env: { name: string; value?: string }[];
      resources: object;
      securityContext: object;
      [other: string]: unknown;
    }[];
    volumes: { name: string; [other: string]: unknown }[];
    [other: string]: unknown;
  };
}
interface SetSpec {
  replicas: number;
  serviceName: string;
  template: PodTemplate;
  volumeClaimTemplates: { spec: { storageClassName?: string; resources: object } }[];
}
const specOf = (set: Recorded): SetSpec => set.inputs['spec'] as SetSpec;
const nodesOf = (made: Deployment<unknown>): SetSpec => specOf(made.find('redis', 'StatefulSet'));
const container = ({ template }: SetSpec, name: string) =>
  template.spec.containers.find((found) => found.name === name)!;
const env = (set: SetSpec, name: string): Record<string, string | undefined> =>
  Object.fromEntries(container(set, name).env.map(({ name, value }) => [name, value]));
const conf = (made: Deployment<unknown>, file = 'redis.conf'): string =>
  (made.find('redis-config').inputs['data'] as Record<string, string>)[file] ?? '';

describe('primary and replica with Sentinels', () => {
  test('exact children', async () => {
    const made = await make();
    expect(made.children('redis')).toEqual([
      'ConfigMap redis-config',
      'ConfigMap redis-scripts',
      'HorizontalPodAutoscaler redis',
      'PodDisruptionBudget redis',
      'PodDisruptionBudget redis-sentinel',
      'Role redis',
      'RoleBinding redis',
      'Service redis',
      'Service redis-nodes',
      'Service redis-replicas',
      'Service redis-sentinel',
      'ServiceAccount redis',
      'StatefulSet redis',
      'StatefulSet redis-sentinel',
    ]);
    const inOtherNamespaces = made.resources
      .filter(({ type }) => type.startsWith('kubernetes:'))
      .filter(({ inputs }) => (inputs['metadata'] as { namespace?: string }).namespace !== 'redis-west');
    expect(inOtherNamespaces).toEqual([]);
  });

  test('Services select by the role that the side-car keeps', async () => {
    const made = await make();
    const selector = (name: string): unknown =>
      (made.find(name, 'Service').inputs['spec'] as { selector: unknown }).selector;
    const nodes = {
      'app.kubernetes.io/part-of': 'meridian',
      'app.kubernetes.io/component': 'redis',
      'meridian.redis/region': 'west',
    };
    expect(selector('redis')).toEqual({ ...nodes, 'meridian.redis/role': 'primary' });
    expect(selector('redis-replicas')).toEqual({ ...nodes, 'meridian.redis/role': 'replica' });
    expect(made.find('redis', 'Service').inputs['spec']).toMatchObject({
      ports: [{ name: 'tcp-redis', port: 6379, appProtocol: 'tcp' }],
    });
    expect(made.find('redis-nodes').inputs['spec']).toMatchObject({
      clusterIP: 'None',
      publishNotReadyAddresses: true,
      selector: nodes,
    });
    expect(nodesOf(made).template.metadata.labels).toMatchObject({ ...nodes, 'meridian.redis/role': 'none' });
  });

  test('the side-car may label these pods, and nothing else has a token', async () => {
    const made = await make();
    expect(made.find('redis', 'Role').inputs['rules']).toEqual([
      {
        apiGroups: [''],
        resources: ['pods'],
        verbs: ['patch'],
        resourceNames: ['redis-0', 'redis-1', 'redis-2', 'redis-3'],
      },
    ]);
    const { spec } = nodesOf(made).template;
    expect(spec).toMatchObject({ serviceAccountName: 'redis', automountServiceAccountToken: false });
    const mounting = spec.containers.filter(({ volumeMounts }) =>
      (volumeMounts as { name: string }[]).some(({ name }) => name === 'account'),
    );
    expect(mounting.map(({ name }) => name)).toEqual(['role']);
  });

  test('pods: containers, resources, rights', async () => {
    const { template } = nodesOf(await make());
    const { spec } = template;
    expect(spec.containers.map(({ name }) => name)).toEqual(['redis', 'exporter', 'role']);
    expect(spec.containers[0]!.resources).toEqual({
      requests: { cpu: '500m', memory: '1Gi' },
      limits: { cpu: '1', memory: '2Gi' },
    });
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    for (const { securityContext } of spec.containers) {
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        readOnlyRootFilesystem: true,
      });
    }
    expect(spec.containers[0]).toMatchObject({
      startupProbe: { exec: { command: ['/bin/sh', '/etc/meridian/scripts/probe.sh', 'startup'] } },
      livenessProbe: { exec: { command: ['/bin/sh', '/etc/meridian/scripts/probe.sh', 'live'] } },
      readinessProbe: { exec: { command: ['/bin/sh', '/etc/meridian/scripts/probe.sh', 'ready'] } },
      lifecycle: { preStop: { exec: { command: ['/bin/sh', '/etc/meridian/scripts/hand-over.sh'] } } },
    });
    expect(spec).toMatchObject({
      terminationGracePeriodSeconds: 60,
      affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100 }] } },
      topologySpreadConstraints: [{ topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' }],
    });
    expect(spec.initContainers).toBeUndefined();
  });

  test('scripts are told who is where', async () => {
    const made = await make();
    const zone = 'redis-nodes.redis-west.svc.cluster.local';
    const sentinels = [0, 1, 2].map((i) => `redis-sentinel-${i}.redis-sentinel.redis-west.svc.cluster.local`);
    expect(env(nodesOf(made), 'redis')).toMatchObject({
      MERIDIAN_HOST: `$(POD_NAME).${zone}`,
      MERIDIAN_PORT: '6379',
      MERIDIAN_FIRST: `redis-0.${zone} 6379`,
      MERIDIAN_PRIMARY_NAME: 'west',
      MERIDIAN_SENTINELS: sentinels.map((host) => `${host}:26379`).join(' '),
      MERIDIAN_TLS: 'yes',
    });
    expect(env(specOf(made.find('redis-sentinel', 'StatefulSet')), 'sentinel')).toMatchObject({
      MERIDIAN_HOST: '$(POD_NAME).redis-sentinel.redis-west.svc.cluster.local',
      MERIDIAN_PORT: '26379',
      MERIDIAN_QUORUM: '2',
    });
    const { result } = made;
    expect((await valueOf(result.host)).value).toBe('redis.redis-west.svc.cluster.local');
    expect((await valueOf(result.replicaHost)).value).toBe('redis-replicas.redis-west.svc.cluster.local');
    expect((await valueOf(result.nodeHosts)).value).toEqual([`redis-0.${zone}`, `redis-1.${zone}`]);
    expect((await valueOf(result.sentinelHosts)).value).toEqual(sentinels);
    expect((await valueOf(result.primaryName)).value).toBe('west');
  });

  test('the autoscaler adds replicas, and its number is left alone', async () => {
    const made = await make();
    expect(made.find('redis', 'HorizontalPodAutoscaler').inputs['spec']).toMatchObject({
      scaleTargetRef: { kind: 'StatefulSet', name: 'redis' },
      minReplicas: 2,
      maxReplicas: 4,
      metrics: [{ containerResource: { container: 'redis', target: { averageUtilization: 70 } } }],
    });
    expect(made.find('redis', 'StatefulSet').ignoreChanges).toEqual(['spec.replicas']);
    const fixed = await make({ replicas: 2, replicasMax: 2 });
    expect(fixed.children('redis').filter((child) => child.startsWith('Horizontal'))).toEqual([]);
    expect(fixed.find('redis', 'StatefulSet').ignoreChanges).toEqual([]);
    expect(nodesOf(fixed).replicas).toBe(3);
  });

  test('nothing of the Secrets is in the ConfigMaps', async () => {
    const made = await make({ aclSecretName: pulumi.secret('Tweety-acl') });
    expect(leaksOf(made, 'Tweety').every((at) => at.startsWith('kubernetes:apps/v1:StatefulSet'))).toBe(true);
    expect(conf(made)).not.toMatch(/masterauth|requirepass/);
    expect(conf(made, 'sentinel.conf')).not.toMatch(/auth-pass|sentinel-pass/);
  });
});

describe('redis.conf', () => {
  const lines = async (args: Partial<KubernetesRedisArgs> = {}): Promise<string[]> =>
    conf(await make(args)).split('\n');

  test('defaults', async () => {
    expect(await lines()).toEqual(
      expect.arrayContaining([
        'port 0',
        'tls-port 6379',
        'tls-replication yes',
        'aclfile /etc/meridian/acl/users.acl',
        'appendonly yes',
        'appendfsync everysec',
        'maxmemory 1073741824',
        'maxmemory-policy noeviction',
        'lazyfree-lazy-expire yes',
        'lazyfree-lazy-eviction yes',
        'lazyfree-lazy-user-del no',
        'lazyfree-lazy-server-del no',
        'notify-keyspace-events Egxe',
        'repl-backlog-size 67108864',
        'repl-backlog-ttl 3600',
        'client-output-buffer-limit replica 268435456 67108864 60',
        'min-replicas-to-write 1',
        'min-replicas-max-lag 10',
      ]),
    );
  });

  test('what can be set', async () => {
    const found = await lines({
      tls: false,
      use: RedisUse.Cache,
      maxmemoryBytes: 16 * 2 ** 30,
      memoryLimit: '24Gi',
      disklessSync: true,
      minReplicasToWrite: 2,
    });
    expect(found).toEqual(
      expect.arrayContaining([
        'port 6379',
        'maxmemory 17179869184',
        'maxmemory-policy allkeys-lru',
        'repl-diskless-sync yes',
        'min-replicas-to-write 2',
      ]),
    );
    expect(found.filter((line) => line.startsWith('tls'))).toEqual([]);
  });

  test('sentinel.conf', async () => {
    expect(conf(await make(), 'sentinel.conf').split('\n')).toEqual(
      expect.arrayContaining([
        'tls-port 26379',
        'sentinel down-after-milliseconds west 5000',
        'sentinel failover-timeout west 30000',
        'sentinel parallel-syncs west 1',
      ]),
    );
  });

  test('a change of it rolls the pods, and the same one does not', async () => {
    const sum = async (args: Partial<KubernetesRedisArgs>): Promise<string | undefined> =>
      nodesOf(await make(args)).template.metadata.annotations['meridian.redis/checksum'];
    const first = await sum({});
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect(await sum({})).toBe(first);
    expect(await sum({ backlogBytes: 2 ** 27 })).not.toBe(first);
    expect(await sum({ credentialsChecksum: 'rotated' })).not.toBe(first);
  });

  test.each([
    [1.5 * 2 ** 30, '2Gi', 2 ** 20, undefined],
    [1.6 * 2 ** 30, '2Gi', 2 ** 20, /maxmemoryBytes: found .*; allowed: up to 1610612736, 75 % of memoryLimit \(2Gi\)/],
    [2 ** 30, 'much', 2 ** 20, /memoryLimit: found "much"; allowed: a quantity such as 2Gi/],
    [2 ** 30, '2Gi', 1000, /backlogBytes: found 1000; allowed: 1048576/],
  ])('maxmemory %d in %s with a backlog of %d', (maxmemory, limit, backlog, message) => {
    const check = (): void => checkSizes(maxmemory, limit, backlog);
    if (message === undefined) expect(check).not.toThrow();
    else expect(check).toThrow(message);
  });

  test.each([
    ['2Gi', 2 ** 31],
    ['500M', 5e8],
    ['1.5Ki', 1536],
    ['7', 7],
    ['2gb', undefined],
    ['', undefined],
  ])('%s is %s bytes', (text, bytes) => {
    expect(bytesOf(text)).toBe(bytes);
  });
});

describe('other topologies', () => {
  test('standalone: no Sentinels, no side-car, no token', async () => {
    const made = await make({ topology: RedisTopology.Standalone });
    expect(made.children('redis')).toEqual([
      'ConfigMap redis-config',
      'ConfigMap redis-scripts',
      'PodDisruptionBudget redis',
      'Service redis',
      'Service redis-nodes',
      'StatefulSet redis',
    ]);
    expect(nodesOf(made).replicas).toBe(1);
    expect(nodesOf(made).template.spec.containers.map(({ name }) => name)).toEqual(['redis', 'exporter']);
    expect(env(nodesOf(made), 'redis')['MERIDIAN_SENTINELS']).toBe('');
    expect(conf(made)).toContain('min-replicas-to-write 0');
  });

  test('cluster: nodes of all shards, and a Job that assigns the slots', async () => {
    const made = await make({ topology: RedisTopology.Cluster, shards: 3, shardsProvisioned: 4, replicas: 1 });
    expect(made.children('redis')).toEqual([
      'ConfigMap redis-config',
      'ConfigMap redis-scripts',
      'Job redis-slots',
      'PodDisruptionBudget redis',
      'Service redis',
      'Service redis-nodes',
      'StatefulSet redis',
    ]);
    expect(nodesOf(made).replicas).toBe(8);
    expect(conf(made)).toContain('cluster-enabled yes');
    const job = made.find('redis-slots');
    expect(job.inputs['metadata']).toMatchObject({ name: 'redis-slots-3-of-4x2' });
    const [slots] = (job.inputs['spec'] as { template: PodTemplate }).template.spec.containers;
    const told = Object.fromEntries(slots!.env.map(({ name, value }) => [name, value]));
    expect(told).toMatchObject({ MERIDIAN_SHARDS: '3', MERIDIAN_REPLICAS: '1' });
    expect(told['MERIDIAN_NODES']?.split(' ')).toHaveLength(8);
  });
});

describe('options', () => {
  test('production data is protected and kept', async () => {
    const made = await make({ protect: true, retainOnDelete: true, createStorageClass: true });
    for (const name of ['redis', 'redis-sentinel'])
      expect(made.find(name, 'StatefulSet')).toMatchObject({
        protect: true,
        retainOnDelete: true,
        deleteBeforeReplace: false,
      });
    expect(made.find('redis-storage')).toMatchObject({ protect: true, inputs: { reclaimPolicy: 'Retain' } });
  });

  test('a StorageClass for gp3 is made where it is wanted', async () => {
    const made = await make({ createStorageClass: true });
    expect(made.find('redis-storage').inputs).toMatchObject({
      metadata: { name: 'redis-west-redis' },
      provisioner: 'ebs.csi.aws.com',
      parameters: { type: 'gp3', iops: '3000', throughput: '125', encrypted: 'true' },
      volumeBindingMode: 'WaitForFirstConsumer',
      allowVolumeExpansion: true,
      reclaimPolicy: 'Delete',
    });
    expect(nodesOf(made).volumeClaimTemplates).toMatchObject([
      { spec: { storageClassName: 'redis-west-redis', resources: { requests: { storage: '10Gi' } } } },
    ]);
    expect(nodesOf(await make({})).volumeClaimTemplates[0]?.spec.storageClassName).toBe('gp3');
    expect(nodesOf(await make({ storageClassName: '' })).volumeClaimTemplates[0]?.spec).not.toHaveProperty(
      'storageClassName',
    );
  });

  test('the kernel is tuned only where that is wanted', async () => {
    const { initContainers } = nodesOf(await make({ kernelTuning: true })).template.spec;
    expect(initContainers).toMatchObject([{ name: 'sysctls', securityContext: { privileged: true } }]);
  });

  test('spread', async () => {
    const required = nodesOf(await make({ spread: Spread.Required })).template.spec;
    expect(required.affinity?.podAntiAffinity).toMatchObject({
      requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'kubernetes.io/hostname' }],
    });
    expect(required.topologySpreadConstraints).toMatchObject([{ maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' }]);
    const disabled = nodesOf(await make({ spread: Spread.Disabled })).template.spec;
    expect(disabled).not.toHaveProperty('affinity');
    expect(disabled).not.toHaveProperty('topologySpreadConstraints');
  });

  test('the names of a certificate cover all that is dialled', async () => {
    const { result } = await deploy(() => redisHostsOf('redis', 'redis-west'));
    expect((await valueOf(result)).value).toEqual([
      ...['redis', 'redis.redis-west', 'redis.redis-west.svc.cluster.local'],
      ...['redis-replicas', 'redis-replicas.redis-west', 'redis-replicas.redis-west.svc.cluster.local'],
      ...['*.redis-nodes.redis-west.svc.cluster.local', '*.redis-sentinel.redis-west.svc.cluster.local'],
    ]);
  });

  test.each<[Partial<KubernetesRedisArgs>, RegExp]>([
    [{ region: 'West_1' }, /region: found "West_1"/],
    [{ topology: 'ring' as RedisTopology }, /topology: found "ring"; allowed: primary-replica, standalone, cluster/],
    [
      { replicas: 0 },
      /replicas: found 0; allowed: a whole number from 1 to 5 \(replicas, with topology primary-replica\)/,
    ],
    [{ replicas: 3, replicasMax: 2 }, /replicasMax: found 2; allowed: replicas \(3\) or more/],
    [{ sentinels: 2 }, /sentinels: found 2; allowed: a whole number from 3 to 9/],
    [{ sentinelQuorum: 4 }, /sentinelQuorum: found 4; allowed: sentinels \(3\) or less/],
    [{ shards: 3 }, /shards: found a value, with topology primary-replica; allowed: only with topology cluster/],
    [{ topology: RedisTopology.Cluster, shards: 2 }, /shards: found 2; allowed: a whole number from 3 to 100/],
    [
      { topology: RedisTopology.Cluster, shards: 4, shardsProvisioned: 3 },
      /shardsProvisioned: found 3; allowed: shards \(4\) or more/,
    ],
    [{ topology: RedisTopology.Standalone, sentinels: 3 }, /sentinels: found a value, with topology standalone/],
    [{ tlsSecretName: undefined }, /tlsSecretName: found nothing; allowed: a value, with tls/],
  ])('refuses %j', async (args, message) => {
    await expect(make(args)).rejects.toThrow(message);
  });
});
