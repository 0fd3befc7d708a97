/** For tests only: rules about what leaks. */
import {
  aclDefaultUser,
  atRestEncryption,
  imageDigests,
  kubernetesTls,
  managedTls,
  networkPolicies,
  plaintextSecrets,
  publicAccess,
  taskAddresses,
} from '../../rules';
import { add, type Case, drop, edit, type Given, set, setIn, turn } from './case';
import { unknownStringValue as unknownText } from '../unknown';
import {
  aliyun,
  config,
  containerPath,
  exporter,
  memoryDb,
  redis,
  replicationGroup,
  sentinel,
  tencent,
} from './fixtures';
import { containers, oddities, otherTask, serviceOf, task, taskOf, unread, writing } from './tasks';

const conf = ['data', 'redis.conf'] as const;

const plainRedis = (container: object): Given => ({
  type: 'kubernetes:apps/v1:Deployment',
  name: 'plain',
  props: { spec: { template: { spec: { containers: [{ name: 'redis', image: 'redis:7', ...container }] } } } },
});

const users: Given = {
  type: 'kubernetes:core/v1:Secret',
  name: 'users',
  props: { stringData: { 'users.acl': 'user default reset off\nuser app reset on #00 ~* +@all\n' } },
};

const denied: Given = {
  type: 'kubernetes:networking.k8s.io/v1:NetworkPolicy',
  name: 'deny',
  props: { metadata: { namespace: 'shop' }, spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } },
};
const fromClients: Given = {
  type: 'kubernetes:networking.k8s.io/v1:NetworkPolicy',
  name: 'clients',
  props: {
    metadata: { namespace: 'shop' },
    spec: {
      podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['redis', 'sentinel'] }] },
      ingress: [{ from: [{ podSelector: { matchLabels: { client: 'true' } } }], ports: [{ port: 6379 }] }],
    },
  },
};
const from = ['spec', 'ingress', 0, 'from'] as const;
const everybody = 'NetworkPolicy clients: spec.ingress[0].from: found everybody; allowed: pods or networks.';

const redisTask = taskOf('redis-task', [{ name: 'redis', image: 'redis:7' }]);
const at = (assignPublicIp: boolean, service: Given): Given => ({
  ...service,
  props: { ...service.props, networkConfiguration: { subnets: ['subnet-a'], assignPublicIp } },
});
const privately = (of: Given): Given => at(false, serviceOf(of));
const publicly = (service: Given): Given => at(true, service);

const service: Given = {
  type: 'kubernetes:core/v1:Service',
  name: 'service',
  props: { spec: { type: 'ClusterIP', ports: [{ port: 6379 }] } },
};
const ingressRule: Given = {
  type: 'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule',
  name: 'ingress',
  props: { fromPort: 6379, toPort: 6379, cidrIpv4: '10.0.0.0/16' },
};
const securityGroup: Given = {
  type: 'aws:ec2/securityGroup:SecurityGroup',
  name: 'group',
  props: {
    ingress: [
      { fromPort: 443, toPort: 443, cidrBlocks: ['0.0.0.0/0'] },
      { fromPort: 6000, toPort: 7000, cidrBlocks: ['10.0.0.0/16'] },
    ],
  },
};
const tencentRules: Given = {
  type: 'tencentcloud:Security/groupRuleSet:GroupRuleSet',
  name: 'rules',
  props: { ingresses: [{ action: 'ACCEPT', cidrBlock: '10.0.0.0/16', port: '6379' }] },
};

export const leaks: readonly Case[] = [
  {
    rule: kubernetesTls,
    valid: [config, redis],
    mutations: [
      edit('config', conf, 'port 0', 'port 6379', 'data.redis.conf: port: found 6379; allowed: 0, and a tls-port.'),
      edit('config', conf, 'tls-port 6379\n', '', 'data.redis.conf: tls-port: found nothing; allowed: a port.'),
      edit(
        'config',
        conf,
        'replication yes',
        'replication no',
        'data.redis.conf: tls-replication: found "no"; allowed: yes.',
      ),
      edit(
        'config',
        ['data', 'sentinel.conf'],
        'port 0',
        '',
        'data.sentinel.conf: port: found 26379; allowed: 0, and a tls-port.',
      ),
      edit(
        'config',
        conf,
        'port 0',
        'port 0\ncluster-enabled yes',
        'data.redis.conf: tls-cluster: found nothing; allowed: yes.',
      ),
      set(
        'redis',
        [...containerPath, 'command'],
        ['redis-server'],
        'spec.template.spec.containers[server]: port: found 6379; allowed: 0, and a tls-port.',
      ),
      add(plainRedis({}), 'spec.template.spec.containers[redis]: port: found 6379; allowed: 0, and a tls-port.'),
      add(
        plainRedis({ args: ['--port', '0'] }),
        'spec.template.spec.containers[redis]: tls-port: found nothing; allowed: a port.',
      ),
    ],
  },
  {
    rule: managedTls,
    valid: [replicationGroup, memoryDb, aliyun, ...tencent],
    mutations: [
      set('cache', ['transitEncryptionEnabled'], false, 'cache: transitEncryptionEnabled: found false; allowed: true.'),
      set(
        'cache',
        ['transitEncryptionMode'],
        'preferred',
        'cache: transitEncryptionMode: found "preferred"; allowed: "required".',
      ),
      set('memorydb', ['tlsEnabled'], false, 'memorydb: tlsEnabled: found false; allowed: true.'),
      set('aliyun', ['sslEnable'], 'Disable', 'aliyun: sslEnable: found "Disable"; allowed: "Enable".'),
      set(
        'tencent-tls',
        ['sslConfig'],
        'disabled',
        'tencent: found no tencentcloud:Redis/ssl:Ssl; allowed: one with sslConfig enabled.',
      ),
      drop('tencent-tls', 'tencent: found no tencentcloud:Redis/ssl:Ssl; allowed: one with sslConfig enabled.'),
    ],
  },
  {
    rule: plaintextSecrets,
    valid: [config, redis],
    mutations: [
      edit(
        'config',
        conf,
        'port 0',
        'requirepass hunter2',
        'data.redis.conf: found a password of Redis; allowed: none.',
      ),
      edit(
        'config',
        conf,
        'port 0',
        'user app on >hunter2 +@all',
        'data.redis.conf: found a password of an ACL user; allowed: none.',
      ),
      edit(
        'config',
        ['data', 'sentinel.conf'],
        'port 0',
        'sentinel auth-pass shop hunter2',
        'data.sentinel.conf: found a password of Redis; allowed: none.',
      ),
      set(
        'config',
        ['data', 'url'],
        'rediss://app:hunter2@redis:6379',
        'data.url: found a URL with a password; allowed: none.',
      ),
      set(
        'config',
        ['data', 'tls.key'],
        '-----BEGIN EC PRIVATE KEY-----\nMHc…',
        'data.tls.key: found a private key; allowed: none.',
      ),
      set(
        'config',
        ['binaryData', 'key'],
        Buffer.from('-----BEGIN PRIVATE KEY-----').toString('base64'),
        'binaryData.key: found a private key; allowed: none.',
      ),
      set(
        'redis',
        [...containerPath, 'env', 0],
        { name: 'REDIS_PASSWORD', value: 'hunter2' },
        'spec.template.spec.containers[server].env[REDIS_PASSWORD]: found a value; allowed: valueFrom.',
      ),
      set(
        'redis',
        [...containerPath, 'env', 0, 'value'],
        'redis://:hunter2@redis',
        'spec.template.spec.containers[server].env[LEVEL]: found a URL with a password; allowed: none.',
      ),
      set(
        'redis',
        [...containerPath, 'args'],
        ['--requirepass', 'hunter2'],
        'spec.template.spec.containers[server].args: found a password behind an option; allowed: none.',
      ),
      set(
        'redis',
        [...containerPath, 'command'],
        ['sh', '-c', 'exec redis-server --requirepass hunter2'],
        'spec.template.spec.containers[server].args: found a password behind an option; allowed: none.',
      ),
    ],
  },
  {
    rule: plaintextSecrets,
    settings: { allowedVariables: ['RESET_TOKEN'] },
    valid: [
      task,
      otherTask,
      taskOf('others', [
        {
          name: 'redis',
          image: 'redis:7',
          entryPoint: ['sh', '-c', 'redis-server --requirepass "$REDIS_PASSWORD" --masterauth $(cat /run/password)'],
          command: null,
          environment: [
            { name: 'RESET_TOKEN', value: 'none' },
            { name: 'REDIS_PASSWORD', value: '' },
            { name: 'REDIS_URL', value: 'rediss://app@redis:6379' },
          ],
          secrets: [{ name: 'REDIS_PASSWORD', valueFrom: 'arn:aws:ssm:us-west-2:1:parameter/redis' }],
          healthCheck: { command: ['CMD-SHELL', 'redis-cli -a "$REDIS_PASSWORD" ping'] },
          logConfiguration: { secretOptions: [{ name: 'splunk-token', valueFrom: 'arn' }] },
        },
      ]),
    ],
    mutations: [
      ...[
        { name: 'REDIS_PASSWORD', value: 'hunter2' },
        { name: 'REDIS_PASSWORD', value: 1234 },
        { name: 'MERIDIAN_SECRETS', value: '{}' },
        { name: 'apiKey', value: 'hunter2' },
      ].map((variable) =>
        setIn(
          'others',
          containers,
          [0, 'environment', 0],
          variable,
          `containerDefinitions[redis].environment[${variable.name}]: found a value; allowed: secrets.`,
        ),
      ),
      setIn(
        'others',
        containers,
        [0, 'environment', 2, 'value'],
        'rediss://app:hunter2@redis:6379',
        'containerDefinitions[redis].environment[REDIS_URL]: found a URL with a password; allowed: none.',
      ),
      setIn(
        'web',
        containers,
        [0, 'Environment'],
        [{ Name: 'DB_PASSWORD', Value: 'hunter2' }],
        'containerDefinitions[web].environment[DB_PASSWORD]: found a value; allowed: secrets.',
      ),
      ...[
        ['redis-server', '--requirepass', 'hunter2'],
        ['--password=hunter2'],
        ['sh', '-c', 'exec redis-server --requirepass hunter2'],
        ['sh', '-c', "redis-cli -h redis -a 'hunter2' ping"],
      ].flatMap((words) =>
        ['entryPoint', 'command', 'healthCheck'].map((key) =>
          setIn(
            'others',
            containers,
            [0, key],
            key === 'healthCheck' ? { command: words } : words,
            `containerDefinitions[redis].${key === 'healthCheck' ? 'healthCheck.command' : 'command'}: found a password behind an option; allowed: none.`,
          ),
        ),
      ),
      setIn(
        'others',
        containers,
        [0, 'command'],
        ['--redis', 'redis://app:hunter2@redis:6379'],
        'containerDefinitions[redis].command: found a URL with a password; allowed: none.',
      ),
      setIn(
        'others',
        containers,
        [0, 'logConfiguration', 'options'],
        { 'splunk-token': 'hunter2' },
        'containerDefinitions[redis].logConfiguration.options.splunk-token: found a value; allowed: secretOptions.',
      ),
      setIn(
        'task-west',
        containers,
        [0, 'environment', 0],
        writing({ 'user/password': 'hunter2' }),
        'containerDefinitions[files].environment[MERIDIAN_FILES]: user/password: found a value; allowed: secrets.',
      ),
      setIn(
        'task-west',
        containers,
        [0, 'environment', 0],
        writing({ 'redis.conf': 'port 0\nrequirepass hunter2\n' }),
        'containerDefinitions[files].environment[MERIDIAN_FILES]: redis.conf: found a password of Redis; allowed: none.',
      ),
      ...unread(task),
    ],
  },
  {
    rule: aclDefaultUser,
    valid: [
      users,
      { type: 'kubernetes:core/v1:Secret', name: 'tls', props: { type: 'kubernetes.io/tls', stringData: unknownText } },
      config,
      replicationGroup,
      memoryDb,
      {
        type: 'aws:elasticache/user:User',
        name: 'default-user',
        props: { userName: 'default', accessString: 'off ~keys* -@all', authenticationMode: { type: 'password' } },
      },
    ],
    mutations: [
      edit(
        'users',
        ['stringData', 'users.acl'],
        'default reset off',
        'default on nopass ~* +@all',
        'stringData.users.acl: user default: found not off; allowed: off.',
      ),
      edit(
        'users',
        ['stringData', 'users.acl'],
        'user default reset off\n',
        '',
        'stringData.users.acl: user default: found not off; allowed: off.',
      ),
      edit(
        'users',
        ['stringData', 'users.acl'],
        '#00',
        'nopass',
        'stringData.users.acl: user app: found nopass; allowed: a password.',
      ),
      edit(
        'config',
        conf,
        'aclfile /etc/redis/users.acl',
        '',
        'data.redis.conf: user default: found not off; allowed: off.',
      ),
      set(
        'default-user',
        ['accessString'],
        'on ~* +@all',
        'accessString: found "on ~* +@all"; allowed: off, for `default`.',
      ),
      set('default-user', ['noPasswordRequired'], true, 'noPasswordRequired: found true; allowed: a password.'),
      set(
        'default-user',
        ['authenticationMode', 'type'],
        'no-password-required',
        'authenticationMode.type: found no-password-required; allowed: password or iam.',
      ),
      set('cache', ['userGroupIds'], undefined, 'userGroupIds: found nothing; allowed: a user group.'),
      set('memorydb', ['aclName'], 'open-access', 'aclName: found open-access; allowed: an ACL.'),
    ],
  },
  {
    rule: networkPolicies,
    valid: [redis, sentinel, exporter, denied, fromClients],
    mutations: [
      set(
        'deny',
        ['spec', 'policyTypes'],
        ['Ingress'],
        'StatefulSet shop/redis: found no NetworkPolicy for Egress; allowed: one that selects its pods: what none allows is denied then.',
      ),
      set(
        'deny',
        ['metadata', 'namespace'],
        'other',
        'StatefulSet shop/sentinel: found no NetworkPolicy for Egress; allowed: one that selects its pods: what none allows is denied then.',
      ),
      set(
        'deny',
        ['spec', 'podSelector', 'matchLabels'],
        { app: 'redis' },
        'StatefulSet shop/sentinel: found no NetworkPolicy for Egress; allowed: one that selects its pods: what none allows is denied then.',
      ),
      turn(
        'deny',
        { provider: 'another cluster' },
        'StatefulSet shop/redis: found no NetworkPolicy for Egress; allowed: one that selects its pods: what none allows is denied then.',
      ),
      set('clients', from, undefined, everybody),
      set('clients', from, [{ ipBlock: { cidr: '0.0.0.0/0' } }], everybody),
      set('clients', from, [{ namespaceSelector: {} }], everybody),
    ],
  },
  {
    rule: taskAddresses,
    valid: [task, redisTask, otherTask, privately(task), privately(redisTask), publicly(serviceOf(otherTask))],
    mutations: [
      ...[task, redisTask].map((one) =>
        set(
          `service-of-${one.name}`,
          ['networkConfiguration', 'assignPublicIp'],
          true,
          `Service service-of-${one.name}: networkConfiguration.assignPublicIp: found true; allowed: false.`,
        ),
      ),
      add(
        { ...publicly(serviceOf(task)), name: 'by-name', propertyDependencies: {} },
        'Service by-name: networkConfiguration.assignPublicIp: found true; allowed: false.',
      ),
      add(
        {
          ...publicly(serviceOf({ ...task, name: 'elsewhere' })),
          ...{ parent: 'meridian:index:FargateSyncAgent', propertyDependencies: {} },
        },
        'Service service-of-elsewhere: networkConfiguration.assignPublicIp: found true; allowed: false.',
      ),
    ],
  },
  {
    rule: publicAccess,
    valid: [service, ingressRule, securityGroup, aliyun, tencentRules, redis],
    mutations: [
      set(
        'service',
        ['spec', 'type'],
        'LoadBalancer',
        'spec.type: found "LoadBalancer"; allowed: ClusterIP, or a load balancer with an annotation that keeps it internal.',
      ),
      set(
        'service',
        ['spec', 'type'],
        'NodePort',
        'spec.type: found "NodePort"; allowed: ClusterIP, or a load balancer with an annotation that keeps it internal.',
      ),
      set('service', ['spec', 'externalIPs'], ['192.0.2.1'], 'spec.externalIPs: found addresses; allowed: none.'),
      set('ingress', ['cidrIpv4'], '0.0.0.0/0', 'cidrIpv4: found 0.0.0.0/0; allowed: the networks of the clients.'),
      set(
        'group',
        ['ingress', 1, 'cidrBlocks'],
        ['0.0.0.0/0'],
        'ingress[1].cidrBlocks: found 0.0.0.0/0; allowed: the networks of the clients.',
      ),
      set('aliyun', ['securityIps'], ['0.0.0.0/0'], 'securityIps: found everywhere; allowed: networks.'),
      set(
        'aliyun',
        ['vpcAuthMode'],
        'Close',
        'vpcAuthMode: found "Close", no password inside of the VPC; allowed: "Open".',
      ),
      set(
        'rules',
        ['ingresses', 0, 'cidrBlock'],
        '0.0.0.0/0',
        'ingresses[0].cidrBlock: found everywhere; allowed: a network.',
      ),
      set(
        'redis',
        ['spec', 'template', 'spec', 'hostNetwork'],
        true,
        'spec.template.spec.hostNetwork: found true; allowed: false.',
      ),
      set(
        'redis',
        [...containerPath, 'ports', 0, 'hostPort'],
        6379,
        'spec.template.spec.containers[server].ports: found a hostPort; allowed: none.',
      ),
      add(
        { type: 'alicloud:kvstore/connection:Connection', name: 'public', props: {} },
        'the resource: found a public address of an instance; allowed: none.',
      ),
    ],
  },
  {
    rule: imageDigests,
    valid: [redis, sentinel, task, otherTask],
    mutations: [
      edit(
        'task-west',
        containers,
        '@sha256:',
        ':',
        `containerDefinitions[files].image: found "registry.example.com/meridian:${'1'.repeat(64)}"; allowed: name@sha256:….`,
      ),
      ...oddities.map((odd) =>
        setIn(
          'task-west',
          containers,
          [1],
          { name: 'agent', image: 'meridian:1', ...odd },
          'containerDefinitions[agent].image: found "meridian:1"; allowed: name@sha256:….',
        ),
      ),
      setIn(
        'task-west',
        containers,
        [1],
        { Name: 'agent', Image: 'meridian:1' },
        'containerDefinitions[agent].image: found "meridian:1"; allowed: name@sha256:….',
      ),
      setIn(
        'task-west',
        containers,
        [1, 'image'],
        undefined,
        'containerDefinitions[agent].image: found ""; allowed: name@sha256:….',
      ),
      ...unread(task),
      set(
        'redis',
        [...containerPath, 'image'],
        'redis:7.2',
        'spec.template.spec.containers[server].image: found "redis:7.2"; allowed: name@sha256:….',
      ),
      set(
        'redis',
        [...containerPath, 'image'],
        `redis@sha256:${'0'.repeat(64)}`,
        `spec.template.spec.containers[server].image: found "redis@sha256:${'0'.repeat(64)}"; allowed: name@sha256:….`,
      ),
    ],
  },
  {
    rule: atRestEncryption,
    valid: [
      replicationGroup,
      {
        type: 'kubernetes:storage.k8s.io/v1:StorageClass',
        name: 'gp3',
        props: { provisioner: 'ebs.csi.aws.com', parameters: { type: 'gp3', encrypted: 'true' } },
      },
      { type: 'aws:ebs/volume:Volume', name: 'disk', props: { encrypted: true } },
      { type: 'aws:efs/fileSystem:FileSystem', name: 'files', props: { encrypted: true } },
    ],
    mutations: [
      set('cache', ['atRestEncryptionEnabled'], false, 'atRestEncryptionEnabled: found false; allowed: true.'),
      set('gp3', ['parameters', 'encrypted'], undefined, 'parameters.encrypted: found nothing; allowed: true.'),
      set('disk', ['encrypted'], false, 'encrypted: found false; allowed: true.'),
      set('files', ['encrypted'], undefined, 'encrypted: found nothing; allowed: true.'),
    ],
  },
];
