import * as pulumi from '@pulumi/pulumi';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { loadAgentConfig, parseAgentConfig } from '../../agent/config';
import { canary, type Deployment, deploy, isSecret, leaksOf, madeBy, maker, type Recorded, valueOf } from '../testing';
import { FargateArchitecture, FargateSyncAgent, type FargateSyncAgentArgs } from '.';
import { nodeOptions } from './agent';
import { type containersOf, secretFiles, writeFiles } from './fargate-task';

const minimal = (): FargateSyncAgentArgs => ({
  region: 'us-west-2',
  stack: 'prod',
  vpcId: 'vpc-1',
  subnetIds: { a: 'subnet-a', b: 'subnet-b' },
  image: 'registry.example/meridian@sha256:0123',
  members: [
    { name: 'us-west-2', weight: 60, primary: true },
    { name: 'eu-west-1', weight: 40 },
  ],
  peerHosts: { 'eu-west-1': 'agent.eu.example:17600' },
  redisHost: 'primary.redis',
  userPasswords: pulumi.secret({ 'meridian-agent': [`${canary}-password`, 'old'], app: [`${canary}-app`] }),
  caBundlePem: 'bundle',
  caCertPem: 'authority',
  caPrivateKeyPem: pulumi.secret(`${canary}-authority`),
});
const make = maker(FargateSyncAgent, 'agent', minimal, outputs);

/** What AWS adds. */
function outputs(type: string, name: string): Record<string, unknown> {
  const kind = type.split(':').at(-1) ?? '';
  return { arn: `arn:${kind}:${name}`, name: `${kind}-${name}`, dnsName: `${name}.elb.example` };
}

/** Made once for all tests that only look. */
let plain: Deployment<FargateSyncAgent>;
let full: Deployment<FargateSyncAgent>;
beforeAll(async () => {
  plain = await make();
  full = await make({
    region: 'us-west-2',
    providerRegion: 'us-west-1',
    clusterArn: 'arn:cluster',
    repositoryArn: 'arn:repository',
    kmsKeyArn: 'arn:key',
    redisSecurityGroupId: 'sg-redis',
    redisPort: 6380,
    peerSecurityGroups: { near: 'sg-near' },
    peerCidrs: { eu: '10.2.0.0/16' },
    adminSecurityGroups: { prometheus: 'sg-prometheus' },
    adminCidrs: { office: pulumi.output('10.9.0.0/16') },
    architecture: FargateArchitecture.Arm,
    cpu: 2048,
    memoryMb: 8192,
    logRetentionDays: 90,
    maxLagMs: 500,
    tags: { team: 'a' },
    protect: true,
    retainOnDelete: true,
  });
});

const containers = (made: Deployment<unknown>): ReturnType<typeof containersOf> =>
  JSON.parse(made.find('agent', ':TaskDefinition').inputs['containerDefinitions'] as string) as ReturnType<
    typeof containersOf
  >;
const policyOf = ({ inputs }: Recorded): unknown =>
  (JSON.parse((inputs['policy'] ?? inputs['assumeRolePolicy']) as string) as { Statement: unknown }).Statement;
const environmentOf = (made: Deployment<unknown>): Record<string, string> => {
  const [files] = containers(made);
  if (files === undefined || !('environment' in files)) throw new Error('the first container writes no files');
  return Object.fromEntries(files.environment.map(({ name, value }) => [name, value]));
};
const filesOf = (made: Deployment<unknown>): Record<string, string> =>
  JSON.parse(environmentOf(made)['MERIDIAN_FILES'] ?? '') as Record<string, string>;

test('exact children', () => {
  expect(plain.children('agent')).toEqual([
    'AccessPoint agent-journal',
    'CertRequest agent-tls-request',
    'Cluster agent',
    'FileSystem agent-journal',
    'FileSystemPolicy agent-journal',
    'Listener agent',
    'LoadBalancer agent',
    'LocallySignedCert agent-tls-certificate',
    'LogGroup agent-log',
    'MountTarget agent-journal-a',
    'MountTarget agent-journal-b',
    'PrivateKey agent-tls-key',
    'Role agent-execution',
    'Role agent-task',
    'RolePolicy agent-execution',
    'Secret agent-secrets',
    'SecretVersion agent-secrets',
    'SecurityGroup agent-agent',
    'SecurityGroup agent-balancer',
    'SecurityGroup agent-journal',
    'SecurityGroupEgressRule agent-health-to-agent',
    'SecurityGroupEgressRule agent-out',
    'SecurityGroupEgressRule agent-peers-to-agent',
    'SecurityGroupIngressRule agent-health-from-balancer',
    'SecurityGroupIngressRule agent-journal-from-agent',
    'SecurityGroupIngressRule agent-peers-from-balancer',
    'Service agent',
    'TargetGroup agent',
    'TaskDefinition agent',
  ]);
  const more = full.children('agent').filter((child) => !plain.children('agent').includes(child));
  expect(more).toEqual([
    'SecurityGroupIngressRule agent-admin-from-office',
    'SecurityGroupIngressRule agent-admin-from-prometheus',
    'SecurityGroupIngressRule agent-peer-from-eu',
    'SecurityGroupIngressRule agent-peer-from-near',
    'SecurityGroupIngressRule agent-redis-from-agent',
  ]);
  expect(full.children('agent')).not.toContain('Cluster agent');
});

test('every child that has a region is in it; only roles have none', () => {
  for (const [made, region] of [
    [plain, 'us-west-2'],
    [full, 'us-west-1'],
  ] as const) {
    const elsewhere = madeBy(made, 'aws').filter(({ inputs }) => inputs['region'] !== region);
    expect(elsewhere.map(({ type }) => type.split('/')[0])).toEqual(['aws:iam', 'aws:iam', 'aws:iam']);
    expect(madeBy(made, 'aws').length).toBeGreaterThanOrEqual(26);
  }
});

test('never two agents at once, and a deployment that fails goes back', () => {
  expect(plain.find('agent', ':Service').inputs).toEqual({
    region: 'us-west-2',
    cluster: 'arn:Cluster:agent',
    taskDefinition: 'arn:TaskDefinition:agent',
    launchType: 'FARGATE',
    desiredCount: 1,
    deploymentMinimumHealthyPercent: 0,
    deploymentMaximumPercent: 100,
    availabilityZoneRebalancing: 'DISABLED',
    deploymentCircuitBreaker: { enable: true, rollback: true },
    healthCheckGracePeriodSeconds: 300,
    networkConfiguration: {
      subnets: ['subnet-a', 'subnet-b'],
      securityGroups: ['agent-agent-id'],
      assignPublicIp: false,
    },
    loadBalancers: [{ targetGroupArn: 'arn:TargetGroup:agent', containerName: 'agent', containerPort: 7600 }],
    propagateTags: 'SERVICE',
  });
  expect(full.find('agent', ':Service').inputs).toMatchObject({ cluster: 'arn:cluster' });
});

test('the task: its size, its roles, its volumes', () => {
  const { containerDefinitions, ...inputs } = plain.find('agent', ':TaskDefinition').inputs;
  expect(typeof containerDefinitions).toBe('string');
  expect(inputs).toEqual({
    region: 'us-west-2',
    family: 'prod-agent',
    requiresCompatibilities: ['FARGATE'],
    networkMode: 'awsvpc',
    cpu: '1024',
    memory: '2048',
    runtimePlatform: { operatingSystemFamily: 'LINUX', cpuArchitecture: 'X86_64' },
    executionRoleArn: 'arn:Role:agent-execution',
    taskRoleArn: 'arn:Role:agent-task',
    volumes: [
      { name: 'files' },
      { name: 'scratch' },
      {
        name: 'state',
        efsVolumeConfiguration: {
          fileSystemId: 'agent-journal-id',
          transitEncryption: 'ENABLED',
          authorizationConfig: { accessPointId: 'agent-journal-id', iam: 'ENABLED' },
        },
      },
    ],
  });
  expect(full.find('agent', ':TaskDefinition').inputs).toMatchObject({
    cpu: '2048',
    memory: '8192',
    runtimePlatform: { cpuArchitecture: 'ARM64' },
  });
});

test('the agent runs as SyncAgent runs it, as nobody, on a root that it can only read', () => {
  const [files, agent] = containers(plain);
  expect(agent).toMatchObject({
    image: 'registry.example/meridian@sha256:0123',
    essential: true,
    dependsOn: [{ containerName: 'files', condition: 'SUCCESS' }],
    user: '999:999',
    readonlyRootFilesystem: true,
    linuxParameters: { capabilities: { drop: ['ALL'] } },
    entryPoint: ['node'],
    command: [...nodeOptions, '/app/dist/agent/main.js', '--config', '/etc/meridian/config/agent.json'],
    mountPoints: [
      { sourceVolume: 'files', containerPath: '/etc/meridian', readOnly: true },
      { sourceVolume: 'scratch', containerPath: '/tmp', readOnly: false },
      { sourceVolume: 'state', containerPath: '/var/lib/meridian', readOnly: false },
    ],
    logConfiguration: { options: { 'awslogs-group': 'LogGroup-agent-log', 'awslogs-region': 'us-west-2' } },
  });
  expect(agent).not.toHaveProperty('secrets');
  expect(agent).not.toHaveProperty('environment');
  expect(files).toMatchObject({
    essential: false,
    user: '0:999',
    readonlyRootFilesystem: true,
    linuxParameters: { capabilities: { drop: ['ALL'] } },
    secrets: [{ name: 'MERIDIAN_SECRETS', valueFrom: 'arn:Secret:agent-secrets' }],
  });
  expect(files?.mountPoints).not.toContainEqual(expect.objectContaining({ sourceVolume: 'state' }));
});

test('the config is one that the agent reads, with everything that was said', () => {
  const read = (made: Deployment<unknown>) =>
    parseAgentConfig(JSON.parse(filesOf(made)['config/agent.json'] ?? '') as unknown);
  expect(read(plain)).toMatchObject({
    stack: 'prod',
    region: 'us-west-2',
    redis: { host: 'primary.redis', port: 6379, username: 'meridian-agent', capture: 'notifications', tls: {} },
    listen: { peer: { port: 7600 }, admin: { port: 7601 } },
    peers: [{ region: 'eu-west-1', host: 'agent.eu.example', port: 17600 }],
    stateDir: '/var/lib/meridian',
    replication: { mode: 'async' },
  });
  expect(read(full)).toMatchObject({ redis: { port: 6380 }, replication: { maxLagMs: 500 } });
});

test("the first container's script writes what the agent reads, for it alone to read", () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-fargate-'));
  try {
    const [root, scratch] = [path.join(dir, 'files'), path.join(dir, 'scratch')];
    mkdirSync(root);
    mkdirSync(scratch, { mode: 0o755 });
    const secrets = full.find('agent-secrets', ':SecretVersion').inputs['secretStringWo'] as string;
    const done = spawnSync(process.execPath, ['-e', writeFiles, root, scratch], {
      env: { ...environmentOf(full), MERIDIAN_SECRETS: secrets },
      encoding: 'utf8',
    });
    expect(`${done.stdout}${done.stderr}`).toBe('');
    expect(done.status).toBe(0);
    const config = loadAgentConfig(path.join(root, 'config/agent.json'));
    const { caFile, certFile, keyFile } = config.tls;
    const text = (file = ''): string => readFileSync(file.replace('/etc/meridian', root), 'utf8');
    expect(text(config.redis.passwordFile)).toBe(`${canary}-password`);
    expect([text(caFile), text(certFile), text(keyFile)]).toEqual([
      'bundle',
      'certificate agent-tls-certificate\n',
      `${canary}-key-of-agent-tls-key`,
    ]);
    const key = keyFile.replace('/etc/meridian', root);
    expect(statSync(key).mode & 0o777).toBe(0o440);
    expect(statSync(path.dirname(key)).mode & 0o777).toBe(0o750);
    expect(statSync(scratch).mode & 0o7777).toBe(0o1777);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

describe('secrets', () => {
  test('are in an envelope, at the write-only argument of the one secret, and nowhere else', () => {
    for (const made of [plain, full]) {
      expect(leaksOf(made, canary)).toEqual([
        'aws:secretsmanager/secretVersion:SecretVersion agent-secrets .secretStringWo',
      ]);
      expect(isSecret(made.find('agent-secrets', ':SecretVersion').raw['secretStringWo'])).toBe(true);
    }
    // Neither other users' passwords nor the key of the authority.
    expect(JSON.parse(plain.find('agent-secrets', ':SecretVersion').inputs['secretStringWo'] as string)).toEqual(
      secretFiles(
        `${canary}-password`,
        'bundle',
        'certificate agent-tls-certificate\n',
        `${canary}-key-of-agent-tls-key`,
      ),
    );
    expect(isSecret(plain.find('agent', ':TaskDefinition').raw['containerDefinitions'])).toBe(false);
  });

  test('are sent again, and the agent starts again, when they change', async () => {
    const seen = async (password: string): Promise<unknown[]> => {
      const made = await make({ userPasswords: { 'meridian-agent': [password] } });
      return [
        made.find('agent-secrets', ':SecretVersion').inputs['secretStringWoVersion'],
        environmentOf(made)['MERIDIAN_CHECKSUM'],
      ];
    };
    const [version, sum] = await seen('one');
    expect(Number.isInteger(version)).toBe(true);
    expect(sum).toMatch(/^[0-9a-f]{32}$/);
    expect(await seen('one')).toEqual([version, sum]);
    const [otherVersion, otherSum] = await seen('two');
    expect(otherVersion).not.toBe(version);
    expect(otherSum).not.toBe(sum);
  });

  test('the certificate has the name by which agents know each other', () => {
    expect(plain.find('agent-tls-request').inputs).toMatchObject({
      subject: { commonName: 'us-west-2.prod.meridian' },
      dnsNames: ['us-west-2.prod.meridian', 'localhost'],
    });
  });
});

describe('roles', () => {
  test('what starts the task may read its secret, write its log, and no more', () => {
    const needed = [
      { Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource: 'arn:Secret:agent-secrets' },
      {
        Effect: 'Allow',
        Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        Resource: 'arn:LogGroup:agent-log:*',
      },
    ];
    expect(policyOf(plain.find('agent-execution', ':RolePolicy'))).toEqual(needed);
    expect(policyOf(full.find('agent-execution', ':RolePolicy'))).toEqual([
      ...needed,
      { Effect: 'Allow', Action: 'kms:Decrypt', Resource: 'arn:key' },
      { Effect: 'Allow', Action: 'ecr:GetAuthorizationToken', Resource: '*' },
      {
        Effect: 'Allow',
        Action: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
        Resource: 'arn:repository',
      },
    ]);
  });

  test('the task itself may do nothing; the journal lets it in, and nobody else', () => {
    const rights = full.resources.filter(({ type, name }) => /Policy/.test(type) && name !== 'agent-execution');
    expect(rights.map(({ type }) => type)).toEqual(['aws:efs/fileSystemPolicy:FileSystemPolicy']);
    expect(rights.map(policyOf)).toEqual([
      [
        {
          Effect: 'Allow',
          Principal: { AWS: 'arn:Role:agent-task' },
          Action: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
          Resource: 'arn:FileSystem:agent-journal',
          Condition: {
            Bool: { 'aws:SecureTransport': 'true' },
            StringEquals: { 'elasticfilesystem:AccessPointArn': 'arn:AccessPoint:agent-journal' },
          },
        },
      ],
    ]);
    expect(policyOf(full.find('agent-task'))).toEqual([
      { Effect: 'Allow', Principal: { Service: 'ecs-tasks.amazonaws.com' }, Action: 'sts:AssumeRole' },
    ]);
  });
});

test('the journal is encrypted, and belongs to the user of the agent', () => {
  expect(full.find('agent-journal', ':FileSystem').inputs).toEqual({
    region: 'us-west-1',
    encrypted: true,
    kmsKeyId: 'arn:key',
    throughputMode: 'elastic',
    tags: { team: 'a' },
  });
  expect(plain.find('agent-journal', ':AccessPoint').inputs).toMatchObject({
    posixUser: { uid: 999, gid: 999 },
    rootDirectory: { path: '/journal', creationInfo: { ownerUid: 999, ownerGid: 999, permissions: '0700' } },
  });
  expect(plain.find('agent-journal-b').inputs).toEqual({
    region: 'us-west-2',
    fileSystemId: 'agent-journal-id',
    subnetId: 'subnet-b',
    securityGroups: ['agent-journal-id'],
  });
});

test('the journal alone is kept', () => {
  const kept = full.resources.filter(({ protect, retainOnDelete }) => protect || retainOnDelete);
  expect(kept).toEqual([full.find('agent-journal', ':FileSystem')]);
  expect(kept[0]).toMatchObject({ protect: true, retainOnDelete: true });
  expect(plain.resources.filter(({ protect, retainOnDelete }) => protect || retainOnDelete)).toEqual([]);
});

test('peers come by the load balancer, which asks the admin port', async () => {
  expect(plain.find('agent', ':LoadBalancer').inputs).toMatchObject({
    loadBalancerType: 'network',
    internal: true,
    subnets: ['subnet-a', 'subnet-b'],
    securityGroups: ['agent-balancer-id'],
  });
  expect(plain.find('agent', ':TargetGroup').inputs).toMatchObject({
    targetType: 'ip',
    protocol: 'TCP',
    port: 7600,
    healthCheck: { protocol: 'HTTP', port: '7601', path: '/healthz', matcher: '200' },
  });
  expect(plain.find('agent', ':Listener').inputs).toMatchObject({
    port: 7600,
    protocol: 'TCP',
    defaultActions: [{ type: 'forward', targetGroupArn: 'arn:TargetGroup:agent' }],
  });
  const { result } = plain;
  expect((await valueOf(result.host)).value).toBe('agent.elb.example');
  expect((await valueOf(result.port)).value).toBe(7600);
  expect((await valueOf(result.adminPort)).value).toBe(7601);
  expect((await valueOf(result.securityGroupId)).value).toBe('agent-agent-id');
  expect((await valueOf(full.result.clusterArn)).value).toBe('arn:cluster');
});

test('who gets where', () => {
  const rules = madeBy(full, 'aws')
    .filter(({ type }) => /(Ingress|Egress)Rule$/.test(type))
    .map(({ type, inputs: i }) => {
      const other = String(i['referencedSecurityGroupId'] ?? i['cidrIpv4']);
      const group = String(i['securityGroupId']);
      const [from, to] = type.endsWith('EgressRule') ? [group, other] : [other, group];
      return `${from} > ${to} ${String(i['ipProtocol'])} ${String(i['fromPort'])}-${String(i['toPort'])}`;
    });
  expect(rules.sort()).toEqual([
    '10.2.0.0/16 > agent-balancer-id tcp 7600-7600',
    '10.9.0.0/16 > agent-agent-id tcp 7601-7601',
    'agent-agent-id > 0.0.0.0/0 tcp 0-65535',
    'agent-agent-id > agent-journal-id tcp 2049-2049',
    'agent-agent-id > sg-redis tcp 6380-6380',
    ...['Egress', 'Ingress'].map(() => 'agent-balancer-id > agent-agent-id tcp 7600-7600'),
    ...['Egress', 'Ingress'].map(() => 'agent-balancer-id > agent-agent-id tcp 7601-7601'),
    'sg-near > agent-balancer-id tcp 7600-7600',
    'sg-prometheus > agent-agent-id tcp 7601-7601',
  ]);
});

test('the log is kept for a time', () => {
  expect(plain.find('agent-log').inputs).toMatchObject({ retentionInDays: 30 });
  expect(full.find('agent-log').inputs).toMatchObject({ retentionInDays: 90 });
});

test.each<[Partial<FargateSyncAgentArgs>, RegExp]>([
  [{ region: 'mars' }, /region: found mars; allowed: a name in members/],
  [{ peerHosts: {} }, /peerHosts: found none for eu-west-1/],
  [{ topology: 'star' }, /hub: found nothing/],
  [{ subnetIds: { a: 'subnet-a' } }, /subnetIds: found 1 name; allowed: at least 2/],
  [{ architecture: 'MIPS' as FargateArchitecture }, /architecture: found "MIPS"; allowed: X86_64, ARM64/],
  [{ cpu: 1000 }, /cpu: found 1000; allowed: 512, 1024/],
  [{ memoryMb: 1024 }, /memoryMb: found 1024, with cpu 1024; allowed: a multiple of 1024 from 2048 to 8192/],
  [{ memoryMb: 2500 }, /memoryMb: found 2500/],
  [{ peerCidrs: { all: '0.0.0.0/0' } }, /peerCidrs\.all: .*never 0\.0\.0\.0\/0/],
  [{ adminCidrs: { all: '0.0.0.0/0' } }, /adminCidrs\.all: .*never 0\.0\.0\.0\/0/],
  [{ peerCidrs: { x: '10.0.0.0/16' }, peerSecurityGroups: { x: 'sg-x' } }, /peers\[1\]: found "x" again/],
  [{ providerRegion: 'US West' }, /providerRegion: found "US West"/],
])('refuses %j', async (args, message) => {
  await expect(make(args)).rejects.toThrow(message);
});

test('refuses a name that is too long for a load balancer', async () => {
  const name = 'a'.repeat(25);
  await expect(deploy(() => new FargateSyncAgent(name, minimal()))).rejects.toThrow(/name: found "a+"; allowed: .*24/);
});
