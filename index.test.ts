import * as pulumi from '@pulumi/pulumi';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

import { leaksOf, valueOf } from './components/testing';
import { parseStackConfig, parseStackFile } from './model';
import { deployStack } from './test/program';

const regions = [
  { name: 'us-west-2', weight: 60, primary: true },
  { name: 'eu-central-1', weight: 40 },
];
const kubernetes = JSON.stringify({ agentImage: 'meridian@sha256:1' });

const deploy = deployStack;

test('the stack says its regions, its primary and who talks to whom', async () => {
  const { stack, ...made } = await deploy({
    'meridian:regions': JSON.stringify(regions),
    'meridian:kubernetes': kubernetes,
    'aws:region': 'us-west-2',
  });
  expect(stack.primary).toBe('us-west-2');
  expect(stack.regions.map((region) => region.name)).toEqual(['us-west-2', 'eu-central-1']);
  expect(stack.peerLinks).toEqual({ 'us-west-2': ['eu-central-1'], 'eu-central-1': ['us-west-2'] });
  expect(leaksOf(made, 'generated-')).toEqual([]);
});

test('disk and memory follow from what the data needs', async () => {
  const made = await deploy({
    'meridian:regions': JSON.stringify(regions),
    'meridian:kubernetes': kubernetes,
    'meridian:redis': JSON.stringify({ maxmemory: '12gb' }),
  });
  const { spec } = made.find('redis-us-west-2', 'v1:StatefulSet').inputs as {
    spec: { template: { spec: { containers: { resources: unknown }[] } }; volumeClaimTemplates: { spec: unknown }[] };
  };
  expect(spec.template.spec.containers[0]?.resources).toEqual({
    requests: { cpu: '500m', memory: '8Gi' },
    limits: { cpu: '1', memory: '16Gi' },
  });
  expect(spec.volumeClaimTemplates[0]?.spec).toMatchObject({ resources: { requests: { storage: '36Gi' } } });
});

test('agents get the CPU and memory that the config says', async () => {
  const resourcesOf = async (more: object): Promise<unknown> => {
    const made = await deploy({
      'meridian:regions': JSON.stringify(regions),
      'meridian:kubernetes': JSON.stringify({ agentImage: 'meridian@sha256:1', ...more }),
    });
    const { spec } = made.find('redis-us-west-2-agent', 'v1:StatefulSet').inputs as {
      spec: { template: { spec: { containers: { resources: unknown }[] } } };
    };
    return spec.template.spec.containers[0]?.resources;
  };
  expect(await resourcesOf({})).toEqual({
    requests: { cpu: '250m', memory: '256Mi' },
    limits: { cpu: '2', memory: '1Gi' },
  });
  expect(await resourcesOf({ agentCpuRequest: '50m', agentMemoryRequest: '128Mi', agentMemoryLimit: '2Gi' })).toEqual({
    requests: { cpu: '50m', memory: '128Mi' },
    limits: { cpu: '2', memory: '2Gi' },
  });
});

test('each region has its own min-replicas, and monitoring and traffic where the config asks for them', async () => {
  const three = [
    { name: 'us-west-2', weight: 60, primary: true, replicas: 2 },
    { name: 'eu-central-1', weight: 40, replicas: 1 },
  ];
  const made = await deploy({
    'meridian:regions': JSON.stringify(three),
    'meridian:kubernetes': JSON.stringify({ agentImage: 'meridian@sha256:1', serviceMesh: 'sidecar' }),
    'meridian:redis': JSON.stringify({ minReplicas: { toWrite: 2 } }),
    'meridian:traffic': JSON.stringify({
      host: 'redis.prod.meridian',
      distribute: { 'us-west-2': { 'us-west-2': 80, 'eu-central-1': 20 } },
      outlierDetection: { consecutiveErrors: 3 },
    }),
    'meridian:monitoring': JSON.stringify({ operator: true, critical: { lagMs: 4000 }, namespace: 'watch' }),
    'meridian:security': JSON.stringify({ dnsCidrs: ['169.254.20.10/32'] }),
  });
  const confOf = (region: string): string =>
    JSON.stringify(made.find(`redis-${region}-config`, ':ConfigMap').inputs['data']);
  expect(confOf('us-west-2')).toContain('min-replicas-to-write 3');
  expect(confOf('eu-central-1')).toContain('min-replicas-to-write 2');
  expect(JSON.stringify(made.find('redis-eu-central-1-monitoring-alerts').inputs)).toContain('> 4000');
  expect(made.find('redis-us-west-2-traffic-rule').inputs['spec']).toMatchObject({
    trafficPolicy: {
      outlierDetection: { consecutiveLocalOriginFailures: 3 },
      loadBalancer: {
        localityLbSetting: {
          distribute: [{ from: 'us-west-2/*', to: { 'us-west-2/*': 80, 'eu-central-1/*': 20 } }, expect.anything()],
        },
      },
    },
  });
  expect(JSON.stringify(made.find('redis-us-west-2-redis', ':NetworkPolicy').inputs)).toContain('"watch"');
  expect(JSON.stringify(made.find('redis-us-west-2-dns', ':NetworkPolicy').inputs)).toContain('"169.254.20.10/32"');
  const bare = await deploy({ 'meridian:regions': JSON.stringify(regions), 'meridian:kubernetes': kubernetes });
  expect(bare.resources.filter(({ type }) => /istio|monitoring\.coreos/.test(type))).toEqual([]);
});

test('authorities and passwords are replaced by overlap, and cert-manager makes certificates where the config says so', async () => {
  const security = async (config: object) =>
    deploy({
      'meridian:regions': JSON.stringify(regions),
      'meridian:kubernetes': kubernetes,
      'meridian:security': JSON.stringify(config),
    });
  const overlap = await security({ authorities: ['b', 'a'], passwords: ['b', 'c'], certificateValidityDays: 90 });
  const named = (type: string): string[] =>
    overlap.resources.filter((one) => one.type.endsWith(type)).map(({ name }) => name);
  expect(named(':SelfSignedCert')).toEqual(['redis-security-ca-b', 'redis-security-ca-a']);
  expect(named(':RandomPassword').filter((name) => name.includes('-app-'))).toEqual([
    'redis-security-app-b',
    'redis-security-app-c',
  ]);
  expect(overlap.find('redis-us-west-2-user-agent-tls-certificate').inputs['validityPeriodHours']).toBe(2160);

  const made = await security({ issuer: 'cert-manager', issuerName: 'mesh', issuerKind: 'Issuer' });
  expect(made.resources.filter(({ type }) => type.endsWith(':LocallySignedCert'))).toEqual([]);
  expect(made.find('redis-eu-central-1-user-redis-tls', ':Certificate').inputs['spec']).toMatchObject({
    issuerRef: { kind: 'Issuer', name: 'mesh' },
  });
  expect(await valueOf(pulumi.output(made.stack.caBundlePem))).toEqual({ value: '', secret: false });
});

test('a StorageClass and a tuned kernel are for whom the config says so', async () => {
  const made = await deploy({
    'meridian:regions': JSON.stringify(regions),
    'meridian:kubernetes': JSON.stringify({
      ...{ agentImage: 'meridian@sha256:1', createStorageClass: true, kernelTuning: true, cpuLimit: '2' },
    }),
  });
  expect(made.find('redis-us-west-2-storage', ':StorageClass').inputs['parameters']).toMatchObject({
    ...{ type: 'gp3', iops: '3000', throughput: '125' },
  });
  for (const name of ['redis-us-west-2', 'redis-us-west-2-sentinel', 'redis-us-west-2-agent']) {
    const { spec } = made.find(name, ':StatefulSet').inputs as {
      spec: { volumeClaimTemplates: { spec: { storageClassName: string } }[] };
    };
    expect([name, spec.volumeClaimTemplates[0]?.spec.storageClassName]).toEqual([
      name,
      'redis-us-west-2-redis-us-west-2',
    ]);
  }
  const { spec } = made.find('redis-us-west-2', 'v1:StatefulSet').inputs as {
    spec: { template: { spec: { initContainers: unknown[]; containers: { resources: unknown }[] } } };
  };
  expect(spec.template.spec.initContainers).toEqual([expect.objectContaining({ name: 'sysctls' })]);
  expect(spec.template.spec.containers[0]?.resources).toMatchObject({ limits: { cpu: '2' } });
});

test('a bad config stops the deployment before anything is made', async () => {
  const run = deploy({ 'meridian:regions': JSON.stringify(regions.slice(0, 1)) });
  await expect(run).rejects.toThrow(/meridian:regions: found .*; allowed: at least two regions/);
  await expect(run.catch((error: unknown) => pulumi.RunError.isInstance(error))).resolves.toBe(true);
});

test('a region on Kubernetes needs an image of the agent', async () => {
  await expect(deploy({ 'meridian:regions': JSON.stringify(regions) })).rejects.toThrow(
    'meridian:kubernetes.agentImage: found nothing; allowed: the name of an image',
  );
});

test('on this machine the stack is what `meridian up` starts of the same config', async () => {
  const stackFile = parse(readFileSync(path.join(__dirname, 'Pulumi.local.yaml'), 'utf8')) as {
    config: Record<string, unknown>;
  };
  stackFile.config['meridian:local'] = { basePort: 9000 };
  const given = Object.entries(stackFile.config).map(([key, value]) => [key, JSON.stringify(value)] as const);
  const { stack, ...made } = await deploy(Object.fromEntries(given), {
    outputs: (type) => (type.includes('LocalProcesses') ? { endpoints: { 'us-west-2': {} }, password: 'Tweety' } : {}),
  });
  expect(made.resources.map(({ type, name }) => `${type} ${name}`)).toEqual([
    'meridian:index:LocalMesh redis',
    'pulumi-nodejs:dynamic/meridian:LocalProcesses redis',
  ]);
  const { config, basePort } = made.find('redis', ':LocalProcesses').inputs as { config: string; basePort: number };
  expect(basePort).toBe(9000);
  const [written, read] = [parseStackFile(config, 'config.json'), parseStackConfig(stackFile.config)];
  if (!written.ok || !read.ok) throw new Error('a bad config');
  // All that `meridian up` looks at.
  for (const section of ['replication', 'security', 'local'] as const)
    expect(written.config[section]).toEqual(read.config[section]);
  const { disklessSync: _, ...redis } = read.config.redis;
  expect(written.config.redis).toMatchObject(redis);
  const essence = ({ name, weight, primary, replicas }: (typeof read.config.regions)[number]) => ({
    name,
    weight,
    primary,
    replicas,
  });
  expect(written.config.regions.map(essence)).toEqual(read.config.regions.map(essence));
  // Pulumi warns of each of these at each deployment.
  expect(Object.entries(stack).filter(([, value]) => value === undefined)).toEqual([]);
  expect(await valueOf(stack.endpoints!)).toEqual({ value: { 'us-west-2': {} }, secret: false });
  const passwords = await valueOf(stack.userPasswords!);
  expect(passwords).toEqual({
    value: { default: ['Tweety'], app: ['Tweety'], read: ['Tweety'], admin: ['Tweety'] },
    secret: true,
  });
});
