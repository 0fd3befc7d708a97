/** Resources that several cases begin with: a Redis as somebody might write it who does not use our components. */
import { type Given } from './case';

export const digest = `sha256:${'1'.repeat(64)}`;

const hardened = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
};
const podSecurityContext = { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } };

const apart = (app: string) => ({
  podAntiAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app } } },
    ],
  },
});

function server(name: string, command: string, replicas: number, more: object = {}): Given {
  return {
    type: 'kubernetes:apps/v1:StatefulSet',
    name,
    protect: true,
    props: {
      metadata: { name, namespace: 'shop', labels: { app: name } },
      spec: {
        replicas,
        template: {
          metadata: { labels: { app: name, ...more } },
          spec: {
            securityContext: podSecurityContext,
            affinity: apart(name),
            topologySpreadConstraints: [{ topologyKey: 'topology.kubernetes.io/zone' }],
            containers: [
              {
                name: 'server',
                image: `registry.example.com/redis@${digest}`,
                command: [command, '/etc/redis/redis.conf'],
                env: [{ name: 'LEVEL', value: 'info' }],
                ports: [{ containerPort: 6379 }],
                securityContext: hardened,
              },
            ],
          },
        },
        volumeClaimTemplates: [{ metadata: { name: 'data' } }],
      },
    },
  };
}

export const redis = server('redis', 'redis-server', 2);
export const sentinel = server('sentinel', 'redis-sentinel', 3);

/** Where the container of both stands. */
export const containerPath = ['spec', 'template', 'spec', 'containers', 0] as const;

export const config: Given = {
  type: 'kubernetes:core/v1:ConfigMap',
  name: 'config',
  props: {
    metadata: { name: 'config', namespace: 'shop' },
    data: {
      'redis.conf': [
        'port 0',
        'tls-port 6379',
        'tls-replication yes',
        'aclfile /etc/redis/users.acl',
        'appendonly yes',
        'appendfsync everysec',
        'maxmemory 1gb',
        'maxmemory-policy noeviction',
        'min-replicas-to-write 1',
        'min-replicas-max-lag 10',
        '',
      ].join('\n'),
      'sentinel.conf': [
        'port 0',
        'tls-port 26379',
        'tls-replication yes',
        'aclfile /etc/redis/sentinel.acl',
        'sentinel monitor shop redis-0 6379 2',
        '',
      ].join('\n'),
    },
  },
};

export const replicationGroup: Given = {
  type: 'aws:elasticache/replicationGroup:ReplicationGroup',
  name: 'cache',
  protect: true,
  props: {
    region: 'us-west-2',
    transitEncryptionEnabled: true,
    transitEncryptionMode: 'required',
    atRestEncryptionEnabled: true,
    parameterGroupName: 'parameters',
    userGroupIds: ['users'],
    snapshotRetentionLimit: 7,
    automaticFailoverEnabled: true,
    multiAzEnabled: true,
  },
};

export const aliyun: Given = {
  type: 'alicloud:kvstore/instance:Instance',
  name: 'aliyun',
  protect: true,
  props: {
    zoneId: 'cn-hangzhou-h',
    secondaryZoneId: 'cn-hangzhou-i',
    sslEnable: 'Enable',
    vpcAuthMode: 'Open',
    securityIps: ['10.0.0.0/16'],
    config: { EvictionPolicy: 'noeviction' },
    backupPeriods: ['Monday'],
  },
};

export const tencent: readonly Given[] = [
  {
    type: 'tencentcloud:Redis/instance:Instance',
    name: 'tencent',
    protect: true,
    props: { availabilityZone: 'ap-guangzhou-3', replicaZoneIds: [100_004] },
  },
  {
    type: 'tencentcloud:Redis/ssl:Ssl',
    name: 'tencent-tls',
    props: { sslConfig: 'enabled' },
    dependencies: ['tencent'],
  },
  {
    type: 'tencentcloud:Redis/backupConfig:BackupConfig',
    name: 'tencent-backups',
    props: { backupTime: '03:00-04:00' },
    dependencies: ['tencent'],
  },
];

export const memoryDb: Given = {
  type: 'aws:memorydb/cluster:Cluster',
  name: 'memorydb',
  protect: true,
  props: { region: 'us-west-2', tlsEnabled: true, aclName: 'shop', snapshotRetentionLimit: 7, numReplicasPerShard: 1 },
};

/** Of a managed Redis: it has the labels of one, and is none. */
export const exporter: Given = {
  type: 'kubernetes:apps/v1:Deployment',
  name: 'exporter',
  props: {
    metadata: { name: 'exporter', namespace: 'shop' },
    spec: {
      template: {
        metadata: { labels: { 'app.kubernetes.io/part-of': 'meridian', 'app.kubernetes.io/component': 'redis' } },
        spec: { containers: [{ name: 'exporter', image: 'oliver006/redis_exporter:v1' }] },
      },
    },
  },
};

export const agentConfig = (
  region: string,
  peers: readonly string[],
  members: readonly string[],
  slots?: string,
): string =>
  JSON.stringify({
    stack: 'prod',
    region,
    members: members.map((name) => ({ name, weight: 50, primary: name === 'east' })),
    peers: peers.map((peer) => ({ region: peer, host: peer, port: 7600 })),
    ...(slots === undefined ? {} : { redis: { cluster: { slots } } }),
  });

/** The config of an agent, and the agent. */
export function agent(
  region: string,
  peers: readonly string[],
  members = ['east', 'west'],
  of?: { readonly shard: number; readonly slots: string },
): Given[] {
  const name = of === undefined ? `agent-${region}` : `agent-${region}-${of.shard}`;
  const labels = {
    'app.kubernetes.io/part-of': 'meridian',
    'app.kubernetes.io/component': 'agent',
    'meridian.redis/region': region,
    ...(of === undefined ? {} : { 'meridian.redis/shard': String(of.shard) }),
  };
  return [
    {
      type: 'kubernetes:core/v1:ConfigMap',
      name: `${name}-config`,
      props: {
        metadata: { namespace: region },
        data: { 'agent.json': agentConfig(region, peers, members, of?.slots) },
      },
    },
    {
      type: 'kubernetes:apps/v1:StatefulSet',
      name,
      protect: true,
      props: {
        metadata: { name, namespace: region },
        spec: {
          replicas: 1,
          template: { metadata: { labels }, spec: { containers: [{ name: 'agent', image: 'meridian' }] } },
          volumeClaimTemplates: [{ metadata: { name: 'state' } }],
        },
      },
    },
  ];
}
