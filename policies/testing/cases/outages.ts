/** For tests only: rules about what costs availability, or is noticed late. */
import {
  alerts,
  disruptionBudgets,
  managedZones,
  podSecurity,
  spread,
  taskSecurity,
  trafficWeights,
} from '../../rules';
import { add, type Case, drop, type Given, set, setIn } from './case';
import { aliyun, containerPath, exporter, memoryDb, redis, replicationGroup, sentinel, tencent } from './fixtures';
import { containers, otherTask, task, taskOf, unread } from './tasks';

const budget = (name: string): Given => ({
  type: 'kubernetes:policy/v1:PodDisruptionBudget',
  name: `${name}-budget`,
  props: { metadata: { namespace: 'shop' }, spec: { maxUnavailable: 1, selector: { matchLabels: { app: name } } } },
});

const rules: Given = {
  type: 'kubernetes:monitoring.coreos.com/v1:PrometheusRule',
  name: 'rules',
  props: {
    spec: {
      groups: [
        { rules: [{ alert: 'RedisDown', labels: { severity: 'critical' } }] },
        { rules: [{ record: 'redis:up' }, { alert: 'RedisMemoryHigh' }] },
      ],
    },
  },
};

const destination: Given = {
  type: 'kubernetes:networking.istio.io/v1:DestinationRule',
  name: 'destination',
  props: {
    spec: {
      trafficPolicy: {
        loadBalancer: {
          localityLbSetting: {
            distribute: [
              { from: 'us-west-2/*', to: { 'us-west-2/*': 70, 'eu-central-1/*': 20, 'ap-northeast-1/*': 10 } },
            ],
          },
        },
      },
    },
  },
};
const route: Given = {
  type: 'kubernetes:networking.istio.io/v1:VirtualService',
  name: 'route',
  props: {
    spec: {
      tcp: [
        {
          route: [
            { destination: { subset: 'east' }, weight: 60 },
            { destination: { subset: 'west' }, weight: 40 },
          ],
        },
      ],
      http: [{ route: [{ destination: { host: 'web' } }] }],
    },
  },
};

const container = 'spec.template.spec.containers[server].securityContext';
const context = [...containerPath, 'securityContext'] as const;
const pod = ['spec', 'template', 'spec'] as const;
const apart = 'spec.template.spec.affinity, topologySpreadConstraints';

/** A Redis on machines of one's own, where there is more to set. */
const tasks = taskOf('machine', [
  {
    name: 'redis',
    image: 'redis:7',
    user: 'redis',
    readonlyRootFilesystem: true,
    linuxParameters: { capabilities: { drop: ['ALL'] } },
    dockerSecurityOptions: ['no-new-privileges'],
  },
  { name: 'tuned', image: 'tuned:1', privileged: true },
]);
const onMachine: Given = {
  ...tasks,
  props: { ...tasks.props, requiresCompatibilities: ['EC2'], networkMode: 'awsvpc', pidMode: 'task' },
};

export const outages: readonly Case[] = [
  {
    rule: disruptionBudgets,
    valid: [redis, sentinel, budget('redis'), budget('sentinel'), exporter],
    mutations: [
      drop('redis-budget', 'StatefulSet shop/redis: found no PodDisruptionBudget; allowed: one for its pods.'),
      set(
        'sentinel-budget',
        ['spec', 'maxUnavailable'],
        2,
        'the budget of StatefulSet shop/sentinel: maxUnavailable: found 2; allowed: 1 or less, or minAvailable.',
      ),
      set(
        'sentinel-budget',
        ['spec', 'maxUnavailable'],
        '50%',
        'the budget of StatefulSet shop/sentinel: maxUnavailable: found "50%"; allowed: 1 or less, or minAvailable.',
      ),
      set(
        'redis-budget',
        ['metadata', 'namespace'],
        'other',
        'StatefulSet shop/redis: found no PodDisruptionBudget; allowed: one for its pods.',
      ),
      set(
        'redis-budget',
        ['spec', 'selector', 'matchLabels', 'app'],
        'other',
        'StatefulSet shop/redis: found no PodDisruptionBudget; allowed: one for its pods.',
      ),
    ],
  },
  {
    rule: spread,
    valid: [redis, sentinel],
    mutations: [
      set(
        'redis',
        [...pod, 'affinity'],
        undefined,
        `${apart}: found nothing over kubernetes.io/hostname; allowed: anti-affinity or a spread constraint.`,
      ),
      set(
        'sentinel',
        [...pod, 'topologySpreadConstraints'],
        [],
        `${apart}: found nothing over topology.kubernetes.io/zone; allowed: anti-affinity or a spread constraint.`,
      ),
    ],
  },
  {
    rule: managedZones,
    valid: [replicationGroup, memoryDb, aliyun, ...tencent],
    mutations: [
      set('cache', ['multiAzEnabled'], false, 'multiAzEnabled: found false; allowed: true.'),
      set('cache', ['automaticFailoverEnabled'], undefined, 'automaticFailoverEnabled: found nothing; allowed: true.'),
      set('memorydb', ['numReplicasPerShard'], 0, 'numReplicasPerShard: found 0; allowed: 1 or more.'),
      set(
        'aliyun',
        ['secondaryZoneId'],
        'cn-hangzhou-h',
        'secondaryZoneId: found "cn-hangzhou-h"; allowed: another zone than zoneId.',
      ),
      set(
        'tencent',
        ['replicaZoneIds'],
        [],
        "replicaZoneIds: found []; allowed: a zone, another one than the primary's.",
      ),
    ],
  },
  {
    rule: trafficWeights,
    valid: [destination, route],
    mutations: [
      set(
        'destination',
        ['spec', 'trafficPolicy', 'loadBalancer', 'localityLbSetting', 'distribute', 0, 'to', 'us-west-2/*'],
        60,
        'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[from us-west-2/*]: found a sum of 90; allowed: 100.',
      ),
      set(
        'route',
        ['spec', 'tcp', 0, 'route', 1, 'weight'],
        50,
        'spec.tcp[0].route: found a sum of 110; allowed: 100.',
      ),
    ],
  },
  {
    rule: alerts,
    settings: { required: ['RedisDown', 'RedisMemoryHigh'] },
    valid: [redis, rules],
    mutations: [
      set(
        'rules',
        ['spec', 'groups', 0, 'rules'],
        [],
        'the stack: found no alert RedisDown; allowed: a PrometheusRule with them.',
      ),
      drop('rules', 'the stack: found no alert RedisDown, RedisMemoryHigh; allowed: a PrometheusRule with them.'),
    ],
  },
  {
    rule: alerts,
    settings: { required: ['RedisDown'] },
    valid: [replicationGroup, rules],
    mutations: [drop('rules', 'the stack: found no alert RedisDown; allowed: a PrometheusRule with them.')],
  },
  {
    rule: podSecurity,
    valid: [redis, sentinel],
    mutations: [
      set(
        'redis',
        [...pod, 'securityContext', 'runAsNonRoot'],
        false,
        `${container}.runAsNonRoot: found false; allowed: true.`,
      ),
      set(
        'redis',
        [...pod, 'securityContext', 'seccompProfile'],
        undefined,
        `${container}.seccompProfile.type: found nothing; allowed: RuntimeDefault, Localhost.`,
      ),
      set('redis', [...context, 'privileged'], true, `${container}.privileged: found true; allowed: false.`),
      set(
        'redis',
        [...context, 'allowPrivilegeEscalation'],
        undefined,
        `${container}.allowPrivilegeEscalation: found nothing; allowed: false.`,
      ),
      set(
        'redis',
        [...context, 'readOnlyRootFilesystem'],
        false,
        `${container}.readOnlyRootFilesystem: found false; allowed: true.`,
      ),
      set(
        'redis',
        [...context, 'capabilities', 'drop'],
        ['NET_RAW'],
        `${container}.capabilities.drop: found nothing; allowed: ALL.`,
      ),
    ],
  },
  {
    rule: taskSecurity,
    settings: { allowedContainers: ['tuned'] },
    valid: [task, otherTask, onMachine],
    mutations: [
      ...[undefined, 'root', '0', '0:999', '00', 0].map((user) =>
        setIn(
          'task-west',
          containers,
          [1, 'user'],
          user,
          `containerDefinitions[agent].user: found ${user === undefined ? 'nothing' : JSON.stringify(user)}; allowed: one that is not root.`,
        ),
      ),
      // Root that goes on, that nobody waits for, or that has capabilities.
      ...(
        [
          [[0, 'essential'], true],
          [[1, 'dependsOn', 0, 'condition'], 'START'],
          [[1, 'dependsOn'], undefined],
          [[0, 'linuxParameters', 'capabilities', 'add'], ['SYS_PTRACE']],
        ] as const
      ).map(([path, value]) =>
        setIn(
          'task-west',
          containers,
          path,
          value,
          'containerDefinitions[files].user: found "0:999"; allowed: one that is not root.',
        ),
      ),
      setIn(
        'task-west',
        containers,
        [1, 'readonlyRootFilesystem'],
        undefined,
        'containerDefinitions[agent].readonlyRootFilesystem: found nothing; allowed: true.',
      ),
      setIn(
        'task-west',
        containers,
        [1, 'privileged'],
        true,
        'containerDefinitions[agent].privileged: found true; allowed: false.',
      ),
      setIn(
        'task-west',
        containers,
        [1, 'linuxParameters', 'capabilities', 'drop'],
        ['NET_RAW'],
        'containerDefinitions[agent].linuxParameters.capabilities.drop: found ["NET_RAW"]; allowed: ALL.',
      ),
      setIn(
        'task-west',
        containers,
        [1, 'linuxParameters'],
        null,
        'containerDefinitions[agent].linuxParameters.capabilities.drop: found []; allowed: ALL.',
      ),
      setIn(
        'task-west',
        containers,
        [1, 'linuxParameters', 'capabilities', 'add'],
        ['SYS_PTRACE'],
        'containerDefinitions[agent].linuxParameters.capabilities.add: found ["SYS_PTRACE"]; allowed: none.',
      ),
      set(
        'machine',
        ['networkMode'],
        'host',
        'networkMode: found "host"; allowed: awsvpc: security groups of its own.',
      ),
      set('machine', ['pidMode'], 'host', 'pidMode: found "host"; allowed: none.'),
      set('machine', ['ipcMode'], 'host', 'ipcMode: found "host"; allowed: none.'),
      set(
        'task-west',
        ['requiresCompatibilities'],
        ['EC2'],
        'containerDefinitions[agent].dockerSecurityOptions: found []; allowed: no-new-privileges.',
      ),
      setIn(
        'machine',
        containers,
        [0, 'dockerSecurityOptions'],
        undefined,
        'containerDefinitions[redis].dockerSecurityOptions: found []; allowed: no-new-privileges.',
      ),
      add(
        taskOf('plain', [{ name: 'redis', image: 'valkey/valkey:8', user: 'valkey' }]),
        'containerDefinitions[redis].readonlyRootFilesystem: found nothing; allowed: true.',
      ),
      ...unread(task),
    ],
  },
];
