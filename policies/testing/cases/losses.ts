/** For tests only: rules about what loses data. */
import {
  agentServices,
  dataProtected,
  dataRetained,
  linkOwners,
  minReplicas,
  noeviction,
  persistence,
  regions,
  sentinels,
  snapshots,
  taskVolumes,
  volumes,
} from '../../rules';
import { add, type Case, drop, edit, type Given, set, setIn, turn } from './case';
import { unknownStringValue } from '../unknown';
import {
  agent,
  agentConfig,
  aliyun,
  config,
  exporter,
  memoryDb,
  redis,
  replicationGroup,
  sentinel,
  tencent,
} from './fixtures';
import { containers, task, taskOf, otherTask, serviceOf, unread, writing } from './tasks';

const conf = ['data', 'redis.conf'] as const;
const [eastConfig, eastAgent] = agent('east', ['west']);
const [westConfig, westAgent] = agent('west', ['east']);
if (!eastConfig || !eastAgent || !westConfig || !westAgent) throw new Error('an agent is two resources');
const both = [eastConfig, eastAgent, westConfig, westAgent];

/** The agents of a region whose Redis is a cluster of two shards. */
const shardAgents = (region: string): Given[] => {
  const peer = region === 'east' ? 'west' : 'east';
  return ['0-8191', '8192-16383'].flatMap((slots, shard) => agent(region, [peer], undefined, { shard, slots }));
};
const agentJson = ['data', 'agent.json'] as const;

const agentService = serviceOf(task);
/** As somebody else's may be. */
const webService: Given = {
  ...serviceOf(otherTask),
  props: { name: 'web', cluster: 'web', desiredCount: 3, taskDefinition: 'web' },
};
const scaling = (resourceId: string, service?: Given): Given => ({
  type: 'aws:appautoscaling/target:Target',
  name: 'scaling',
  propertyDependencies: service === undefined ? {} : { resourceId: [service.name] },
  props: { serviceNamespace: 'ecs', scalableDimension: 'ecs:service:DesiredCount', resourceId, maxCapacity: 4 },
});

/** With its journal, as it has to be; the container of a name of its own. */
const journal = taskOf('journal', [
  {
    name: 'files',
    image: 'meridian',
    environment: [writing({ 'config/agent.json': '{"stateDir":"/var/lib/meridian"}' })],
  },
  { name: 'agent', image: 'meridian', mountPoints: [{ sourceVolume: 'state', containerPath: '/var/lib' }] },
]);
const efsVolume = (name: string): object => ({
  ...{ name, efsVolumeConfiguration: { fileSystemId: 'fs-1', transitEncryption: 'ENABLED' } },
});
const journalTask: Given = {
  ...journal,
  props: { ...journal.props, volumes: [{ name: 'scratch' }, efsVolume('state')] },
};
const redisTask = taskOf('redis-task', [{ name: 'redis', image: 'redis:7' }]);
const redisOnEfs: Given = { ...redisTask, props: { ...redisTask.props, volumes: [efsVolume('data')] } };
const transit = (volume: string, found: string): string =>
  `volumes[${volume}].efsVolumeConfiguration.transitEncryption: found ${found}; allowed: "ENABLED".`;

export const losses: readonly Case[] = [
  {
    rule: noeviction,
    valid: [
      config,
      replicationGroup,
      aliyun,
      {
        type: 'aws:elasticache/parameterGroup:ParameterGroup',
        name: 'parameters',
        props: { family: 'valkey8', parameters: [{ name: 'maxmemory-policy', value: 'noeviction' }] },
      },
      {
        type: 'tencentcloud:Redis/param:Param',
        name: 'param',
        props: { instanceParams: { 'maxmemory-policy': 'noeviction' } },
      },
    ],
    mutations: [
      edit(
        'config',
        conf,
        'noeviction',
        'allkeys-lru',
        'data.redis.conf: maxmemory-policy: found "allkeys-lru"; allowed: noeviction.',
      ),
      set(
        'parameters',
        ['parameters', 0, 'value'],
        'volatile-lru',
        'parameters[maxmemory-policy]: found "volatile-lru"; allowed: noeviction.',
      ),
      set(
        'parameters',
        ['parameters', 0],
        undefined,
        'parameters[maxmemory-policy]: found nothing; allowed: noeviction.',
      ),
      set(
        'cache',
        ['parameterGroupName'],
        undefined,
        'parameterGroupName: found nothing; allowed: a group with maxmemory-policy noeviction.',
      ),
      set(
        'aliyun',
        ['config', 'EvictionPolicy'],
        undefined,
        'config.EvictionPolicy: found nothing; allowed: noeviction.',
      ),
      set(
        'param',
        ['instanceParams', 'maxmemory-policy'],
        'allkeys-lfu',
        'instanceParams.maxmemory-policy: found "allkeys-lfu"; allowed: noeviction.',
      ),
    ],
  },
  {
    rule: noeviction,
    settings: { use: 'cache' },
    valid: [{ ...config, props: { data: { 'redis.conf': 'maxmemory-policy allkeys-lru' } } }],
    mutations: [],
  },
  {
    rule: persistence,
    valid: [config],
    mutations: [
      edit('config', conf, 'appendonly yes', 'appendonly no', 'data.redis.conf: appendonly: found "no"; allowed: yes.'),
      edit('config', conf, 'appendonly yes\n', '', 'data.redis.conf: appendonly: found nothing; allowed: yes.'),
      edit('config', conf, 'everysec', 'no', 'data.redis.conf: appendfsync: found no; allowed: everysec, always.'),
    ],
  },
  {
    rule: volumes,
    valid: [redis, sentinel, eastAgent, exporter],
    mutations: [
      set(
        'redis',
        ['spec', 'volumeClaimTemplates'],
        undefined,
        'spec.volumeClaimTemplates: found none; allowed: a claim for the disk of the redis.',
      ),
      set(
        'sentinel',
        ['spec', 'volumeClaimTemplates'],
        [],
        'spec.volumeClaimTemplates: found none; allowed: a claim for the disk of the sentinel.',
      ),
      set(
        'agent-east',
        ['spec', 'volumeClaimTemplates'],
        undefined,
        'spec.volumeClaimTemplates: found none; allowed: a claim for the disk of the agent.',
      ),
      set(
        'redis',
        ['spec', 'persistentVolumeClaimRetentionPolicy', 'whenScaled'],
        'Delete',
        'spec.persistentVolumeClaimRetentionPolicy.whenScaled: found "Delete"; allowed: Retain.',
      ),
    ],
  },
  {
    rule: snapshots,
    settings: { daysMin: 7 },
    valid: [replicationGroup, memoryDb, aliyun, ...tencent],
    mutations: [
      set('cache', ['snapshotRetentionLimit'], 1, 'cache: snapshotRetentionLimit: found 1; allowed: 7 days or more.'),
      set(
        'memorydb',
        ['snapshotRetentionLimit'],
        undefined,
        'memorydb: snapshotRetentionLimit: found nothing; allowed: 7 days or more.',
      ),
      set('aliyun', ['backupPeriods'], [], 'aliyun: backupPeriods: found no day; allowed: one day a week or more.'),
      drop('tencent-backups', 'tencent: found no tencentcloud:Redis/backupConfig:BackupConfig; allowed: one for it.'),
    ],
  },
  {
    rule: dataProtected,
    valid: [
      redis,
      eastAgent,
      replicationGroup,
      {
        type: 'kubernetes:core/v1:Namespace',
        name: 'namespace',
        protect: true,
        props: { metadata: { labels: { 'app.kubernetes.io/part-of': 'meridian' } } },
      },
    ],
    mutations: ['redis', 'agent-east', 'cache', 'namespace'].map((name) =>
      turn(name, { protect: false }, 'the option protect: found false; allowed: true.'),
    ),
  },
  {
    rule: dataRetained,
    valid: [{ type: 'meridian:index:KubernetesRedis', name: 'redis', props: { retainOnDelete: true } }],
    mutations: [
      set('redis', ['retainOnDelete'], false, 'retainOnDelete: found false; allowed: true.'),
      set('redis', ['retainOnDelete'], undefined, 'retainOnDelete: found nothing; allowed: true.'),
    ],
  },
  {
    rule: regions,
    valid: [eastConfig],
    mutations: [
      edit(
        'agent-east-config',
        agentJson,
        '{"name":"west","weight":50,"primary":false}',
        '{"name":"east"}',
        'the stack: found 1 (east); allowed: 2 or more.',
      ),
    ],
  },
  {
    rule: regions,
    valid: [replicationGroup, aliyun],
    mutations: [
      drop('aliyun', 'the stack: found 1 (us-west-2); allowed: 2 or more.'),
      drop('cache', 'the stack: found 1 (cn-hangzhou); allowed: 2 or more.'),
    ],
  },
  {
    rule: sentinels,
    valid: [sentinel, redis],
    mutations: [set('sentinel', ['spec', 'replicas'], 2, 'spec.replicas: found 2; allowed: 3 or more.')],
  },
  {
    rule: minReplicas,
    valid: [config],
    mutations: [
      edit(
        'config',
        conf,
        'to-write 1',
        'to-write 0',
        'data.redis.conf: min-replicas-to-write: found 0; allowed: 1 or more.',
      ),
      edit(
        'config',
        conf,
        'min-replicas-to-write 1',
        '',
        'data.redis.conf: min-replicas-to-write: found 0; allowed: 1 or more.',
      ),
      edit(
        'config',
        conf,
        'max-lag 10',
        'max-lag 0',
        'data.redis.conf: min-replicas-max-lag: found 0; allowed: 1 to 30.',
      ),
    ],
  },
  {
    rule: linkOwners,
    valid: both,
    mutations: [
      set(
        'agent-east',
        ['spec', 'replicas'],
        2,
        'StatefulSet east/agent-east: spec.replicas: found 2 of a StatefulSet; allowed: 1 of a StatefulSet.',
      ),
      turn(
        'agent-east',
        { type: 'kubernetes:apps/v1:Deployment' },
        'Deployment east/agent-east: spec.replicas: found 1 of a Deployment; allowed: 1 of a StatefulSet.',
      ),
      add(
        { ...eastConfig, name: 'copy' },
        'ConfigMap copy: data.agent.json: found the region of ConfigMap agent-east-config: data.agent.json again; allowed: one agent a region, or a shard of its cluster.',
      ),
      add(
        { ...eastAgent, name: 'copy' },
        'StatefulSet east/agent-east: found the region of StatefulSet east/agent-east again; allowed: one agent a region, or a shard of its cluster.',
      ),
      edit(
        'agent-east-config',
        agentJson,
        '"peers":[',
        '"peers":[{"region":"west"},',
        'ConfigMap agent-east-config: data.agent.json: peers[1]: found west again; allowed: each peer once.',
      ),
      edit(
        'agent-east-config',
        agentJson,
        '"peers":[',
        '"peers":[{"region":"east"},',
        'ConfigMap agent-east-config: data.agent.json: peers[0]: found the region itself; allowed: other regions.',
      ),
      edit(
        'agent-east-config',
        agentJson,
        '"peers":[',
        '"peers":[{"region":"moon"},',
        'ConfigMap agent-east-config: data.agent.json: peers[0]: found moon; allowed: a member: east, west.',
      ),
      edit(
        'agent-east-config',
        agentJson,
        '{"region":"west","host":"west","port":7600}',
        '',
        'ConfigMap agent-west-config: data.agent.json: found a link to east, which has none to west; allowed: links both ways.',
      ),
    ],
  },
  {
    // A cluster of two shards in each region: four agents, two links.
    rule: linkOwners,
    valid: ['east', 'west'].flatMap((region) => shardAgents(region)),
    mutations: [
      edit(
        'agent-east-1-config',
        agentJson,
        '8192-16383',
        '0-8191',
        'ConfigMap agent-east-1-config: data.agent.json: found the region of ConfigMap agent-east-0-config: data.agent.json again; allowed: one agent a region, or a shard of its cluster.',
      ),
      edit(
        'agent-east-1-config',
        agentJson,
        '{"region":"west","host":"west","port":7600}',
        '',
        'ConfigMap agent-west-1-config: data.agent.json: found a link to east, which has none to west; allowed: links both ways.',
      ),
    ],
  },
  {
    rule: linkOwners,
    valid: [eastConfig, eastAgent, task, otherTask],
    mutations: [
      setIn(
        'task-west',
        containers,
        [0, 'environment'],
        [writing({ 'config/agent.json': agentConfig('west', [], ['east', 'west']) })],
        'ConfigMap agent-east-config: data.agent.json: found a link to west, which has none to east; allowed: links both ways.',
      ),
      setIn(
        'task-west',
        containers,
        [0, 'environment', 0, 'value'],
        '{',
        "TaskDefinition task-west: containerDefinitions[files].environment[MERIDIAN_FILES]: found no agent's config; allowed: one, as JSON.",
      ),
      setIn(
        'task-west',
        containers,
        [0, 'environment'],
        [writing({ 'config/other.json': '{}' })],
        "TaskDefinition task-west: containerDefinitions[files].environment[MERIDIAN_FILES]: found no agent's config; allowed: one, as JSON.",
      ),
      setIn(
        'task-west',
        containers,
        [0, 'environment'],
        [writing({ 'config/agent.json': '{"region":"west"}' })],
        "TaskDefinition task-west: config/agent.json: found no agent's config; allowed: one, as JSON.",
      ),
      ...unread(task, 'TaskDefinition task-west: '),
    ],
  },
  ...[agentService, { ...agentService, propertyDependencies: {} }].map((service): Case => ({
    rule: agentServices,
    valid: [task, service, otherTask, webService, { ...scaling('service/web/web', webService), name: 'web-scaling' }],
    mutations: [
      set(service.name, ['desiredCount'], 2, 'Service service-of-task-west: desiredCount: found 2; allowed: 1.'),
      set(
        service.name,
        ['schedulingStrategy'],
        'DAEMON',
        'Service service-of-task-west: schedulingStrategy: found "DAEMON"; allowed: REPLICA: one on each machine is more than one.',
      ),
      ...[200, 150, undefined].map((most) =>
        set(
          service.name,
          ['deploymentMaximumPercent'],
          most,
          `Service service-of-task-west: deploymentMaximumPercent: found ${most ?? 'nothing'}; allowed: 100: more is a second agent at each deployment.`,
        ),
      ),
      ...[100, 50, undefined].map((least) =>
        set(
          service.name,
          ['deploymentMinimumHealthyPercent'],
          least,
          `Service service-of-task-west: deploymentMinimumHealthyPercent: found ${least ?? 'nothing'}; allowed: 0: the old agent has to end before the new one starts.`,
        ),
      ),
      ...['ENABLED', undefined].map((value) =>
        set(
          service.name,
          ['availabilityZoneRebalancing'],
          value,
          `Service service-of-task-west: availabilityZoneRebalancing: found ${value === undefined ? 'nothing' : `"${value}"`}; allowed: DISABLED: it starts a second one first.`,
        ),
      ),
      set(
        service.name,
        ['deploymentController', 'type'],
        'CODE_DEPLOY',
        'Service service-of-task-west: deploymentController.type: found "CODE_DEPLOY"; allowed: ECS: the others start a second one first.',
      ),
      set(
        service.name,
        ['deploymentConfiguration', 'strategy'],
        'BLUE_GREEN',
        'Service service-of-task-west: deploymentConfiguration.strategy: found "BLUE_GREEN"; allowed: ROLLING: the others start a second one first.',
      ),
      add(
        scaling('service/agents/task-west-1234567'),
        'Target scaling: found autoscaling of Service service-of-task-west; allowed: none.',
      ),
      add(
        scaling('service/agents/anything', service),
        'Target scaling: found autoscaling of Service service-of-task-west; allowed: none.',
      ),
    ],
  })),
  {
    rule: taskVolumes,
    valid: [journalTask, redisOnEfs, otherTask],
    mutations: [
      setIn(
        'journal',
        containers,
        [1, 'mountPoints', 0, 'containerPath'],
        '/var/libs',
        'containerDefinitions: found no volume at /var/lib/meridian; allowed: one on EFS: the journal is there.',
      ),
      setIn(
        'journal',
        containers,
        [1, 'mountPoints', 0, 'sourceVolume'],
        'scratch',
        'volumes[scratch].efsVolumeConfiguration: found nothing; allowed: a file system: the journal is there.',
      ),
      set(
        'journal',
        ['volumes'],
        [{ name: 'state' }],
        'volumes[state].efsVolumeConfiguration: found nothing; allowed: a file system: the journal is there.',
      ),
      setIn(
        'journal',
        containers,
        [0, 'environment', 0, 'value'],
        '{}',
        "containerDefinitions[files].environment[MERIDIAN_FILES]: found no agent's config; allowed: one with a stateDir, as JSON.",
      ),
      set(
        'journal',
        ['volumes', 1, 'efsVolumeConfiguration', 'transitEncryption'],
        'DISABLED',
        transit('state', '"DISABLED"'),
      ),
      set(
        'journal',
        ['volumes', 1, 'efsVolumeConfiguration', 'transitEncryption'],
        undefined,
        transit('state', 'nothing'),
      ),
      set(
        'redis-task',
        ['volumes', 0, 'efsVolumeConfiguration', 'transitEncryption'],
        'DISABLED',
        transit('data', '"DISABLED"'),
      ),
      ...unread(journalTask),
    ],
  },
  {
    rule: agentServices,
    // Of a task that a preview knows nothing of: where all is right nobody asks, and of our own component it is known.
    valid: [
      { ...task, props: { containerDefinitions: unknownStringValue } },
      { ...agentService, parent: 'meridian:index:FargateSyncAgent' },
      { ...serviceOf({ ...task, name: 'another' }), propertyDependencies: { taskDefinition: ['task-west-2'] } },
    ],
    mutations: [
      set(agentService.name, ['desiredCount'], 2, 'Service service-of-task-west: desiredCount: found 2; allowed: 1.'),
      add(
        { ...agentService, parent: 'meridian:index:FargateSyncAgent', name: 'again' },
        'Service again: taskDefinition: found that of Service service-of-task-west; allowed: one service.',
      ),
    ],
  },
];
