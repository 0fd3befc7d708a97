import * as pulumi from '@pulumi/pulumi';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

import * as components from '../components';
import { AliyunRedis, ElastiCacheRedis, RedisSecurity, TencentRedis } from '../components';
import * as stackOfConfig from '../components/stack';
import { deploy, type Recorded } from '../components/testing';
import type * as Program from '../index';
import { rules } from './rules';
import { Engine, type Violation } from './testing/engine';

// eslint-disable-next-line @typescript-eslint/no-require-imports
const settings = require('@pulumi/pulumi/runtime/settings') as { _setIsDryRun(isDryRun: boolean): void };

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start();
}, 180_000);
afterAll(() => engine.stop());
afterEach(() => engine.configure({}));

/** Names and IDs that services give. */
const given = (type: string, name: string): Record<string, unknown> => ({
  ...(type.endsWith(':ParameterGroup') ? { name } : {}),
  ...(type.endsWith(':GlobalReplicationGroup') ? { globalReplicationGroupId: name } : {}),
});

const root = path.join(__dirname, '..');

/** Sections of a stack's file. */
function configOf(stack: string): Record<string, unknown> {
  const text = readFileSync(path.join(root, `Pulumi.${stack}.yaml`), 'utf8');
  return (parse(text) as { config: Record<string, unknown> }).config;
}

/** What the program makes of a config. */
async function stackOf(
  stack: string,
  config = configOf(stack),
  outputs: (type: string, name: string) => Record<string, unknown> = given,
): Promise<readonly Recorded[]> {
  const texts = Object.entries(config).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  const program = (): unknown => {
    pulumi.runtime.setAllConfig(Object.fromEntries(texts) as Record<string, string>);
    let exported: unknown;
    jest.isolateModules(() => {
      // Those that have the mocks and the config, and no second load.
      jest.doMock('@pulumi/pulumi', () => pulumi);
      jest.doMock('../components', () => components);
      jest.doMock('../components/stack', () => stackOfConfig);
      exported = jest.requireActual<typeof Program>('../index');
    });
    return exported;
  };
  return (await deploy(program, { stack, outputs })).resources;
}

/** The first preview: nothing is there yet, and what providers make up is unknown. */
async function previewOf(stack: string): Promise<readonly Recorded[]> {
  const outputs = (): Record<string, unknown> => {
    settings._setIsDryRun(true);
    return Object.fromEntries(madeUp.map((output) => [output, undefined]));
  };
  return stackOf(stack, configOf(stack), outputs);
}
const madeUp = ['result', 'privateKeyPem', 'publicKeyPem', 'certPem', 'certRequestPem'];

const short = (found: readonly Violation[]): string[] =>
  found.map(({ policy, resource, isMandatory }) => `${policy}: ${resource}${isMandatory ? ', mandatory' : ''}`);

const regions = ['us-west-2', 'eu-central-1', 'ap-northeast-1'];

test('the pack has all rules', async () => {
  expect(await engine.info()).toEqual({ name: 'meridian', policies: rules.map(({ name }) => name) });
});

test('the dev stack: one node will do, and nobody is woken', async () => {
  const resources = await stackOf('dev');
  const found = await engine.violations(resources, 'dev');
  // Machines and zones, for Redis and for its Sentinels.
  const spread = regions.flatMap((region) =>
    [`redis-${region}`, `redis-${region}-sentinel`].flatMap((name) => {
      const text = `spread: StatefulSet ${name}`;
      return [text, text];
    }),
  );
  expect(short(found).sort()).toEqual([...regions.map(() => 'alerts: '), ...spread].sort());
  expect(found.map(({ message }) => message)).toContain(
    'Nodes of one Redis, and its Sentinels, keep away from each other, over machines and over zones.\n' +
      'spec.template.spec.affinity, topologySpreadConstraints: found nothing over kubernetes.io/hostname; ' +
      'allowed: anti-affinity or a spread constraint. Set `spread` at KubernetesRedis ' +
      '(`meridian:kubernetes.spread`) to preferred, or to required where there are nodes enough.',
  );
});

const production = readdirSync(root)
  .flatMap((file) => /^Pulumi\.(prod.*)\.yaml$/.exec(file)?.[1] ?? [])
  .filter((stack) => stack !== 'prod-fargate');

/** The stack without Kubernetes; its agents' files are in their tasks. */
async function fargateOf(more: object = {}) {
  const config = configOf('prod-fargate');
  const agentImage = `registry.example.com/meridian@sha256:${'a'.repeat(64)}`;
  return stackOf(
    'prod-fargate',
    { ...config, 'meridian:kubernetes': { agentImage, protect: true, ...more } },
    (type, name) => ({ ...given(type, name), arn: `arn:${name}`, dnsName: `${name}.elb`, name }),
  );
}

test('prod-fargate breaks no rule; without Kubernetes there are no alerts', async () => {
  const resources = await fargateOf();
  expect(resources.filter(({ type }) => type.endsWith(':TaskDefinition'))).toHaveLength(3);
  expect(short(await engine.violations(resources, 'prod-fargate'))).toEqual(['alerts: ']);
});

test('an agent in Fargate is looked at as one in a pod', async () => {
  const resources = await fargateOf({ agentImage: 'registry.example.com/meridian:1', protect: false });
  const found = short(await engine.violations(resources, 'prod-fargate'));
  for (const region of regions)
    expect(found).toEqual(
      expect.arrayContaining([
        `image-digests: TaskDefinition redis-${region}, mandatory`,
        `data-protected: FileSystem redis-${region}-journal, mandatory`,
        `data-retained: FargateSyncAgent redis-${region}, mandatory`,
      ]),
    );
  const said = async (change: (definitions: string) => string, policy: string): Promise<string[]> => {
    const changed = resources.map((each) =>
      each.name === 'redis-us-west-2' && each.type.endsWith(':TaskDefinition')
        ? { ...each, raw: { ...each.raw, containerDefinitions: change(String(each.raw['containerDefinitions'])) } }
        : each,
    );
    const all = await engine.violations(changed, 'prod-fargate');
    return all.filter((one) => one.policy === policy).map(({ message }) => message);
  };
  const apart = await said((text) => text.replaceAll('eu-central-1', 'nowhere'), 'link-owners');
  expect(apart.length).toBeGreaterThan(0);
  const writable = await said(
    (text) => text.replace('"readonlyRootFilesystem":true', '"readonlyRootFilesystem":false'),
    'task-security',
  );
  expect(writable).toEqual([expect.stringContaining('[files].readonlyRootFilesystem: found false; allowed: true.')]);
  const homeless = await said(
    (text) => text.replaceAll('"containerPath":"/var/lib/', '"containerPath":"/mnt/'),
    'task-volumes',
  );
  expect(homeless).toEqual([expect.stringMatching(/containerDefinitions: found no volume at \/var\/lib\/meridian;/)]);
  const plain = await said(
    (text) => text.replace('"secrets":[{', '"environment":[{"value":"hunter2",'),
    'plaintext-secrets',
  );
  expect(plain).toEqual([expect.stringContaining('environment[MERIDIAN_SECRETS]: found a value; allowed: secrets.')]);
});

test('its journal travels over TLS, and its task has no public address', async () => {
  const resources = await fargateOf();
  const changed = resources.map((each) => {
    if (each.name !== 'redis-us-west-2') return each;
    const text = JSON.stringify(each.raw).replace('"transitEncryption":"ENABLED"', '"transitEncryption":"DISABLED"');
    const raw = JSON.parse(text.replace('"assignPublicIp":false', '"assignPublicIp":true')) as Recorded['raw'];
    return { ...each, raw };
  });
  expect(short(await engine.violations(changed, 'prod-fargate')).sort()).toEqual([
    'alerts: ',
    'task-addresses: Service redis-us-west-2, mandatory',
    'task-volumes: TaskDefinition redis-us-west-2, mandatory',
  ]);
});

test('the service of an agent in Fargate runs one task at a time', async () => {
  const resources = await fargateOf();
  const find = (kind: string): Recorded => {
    const found = resources.find(({ type, name }) => type.endsWith(`:${kind}`) && name === 'redis-us-west-2');
    if (found === undefined) throw new Error(`no ${kind}`);
    return found;
  };
  const [service, task] = [find('Service'), find('TaskDefinition')];
  expect(service.inputsFrom['taskDefinition']).toEqual([expect.stringMatching(/:TaskDefinition::redis-us-west-2$/)]);
  const said = async (more: Partial<Recorded>, given: readonly Recorded[] = []): Promise<string[]> => {
    const changed = { ...service, ...more, raw: { ...service.raw, ...more.raw } };
    const all = await engine.violations([task, changed, ...given], 'prod-fargate');
    return all.filter(({ policy }) => policy === 'agent-services').map(({ message }) => message.split('\n')[1] ?? '');
  };
  expect(await said({})).toEqual([]);
  expect(await said({ raw: { desiredCount: 2 } })).toEqual([
    expect.stringMatching(/^Service redis-us-west-2: desiredCount: found 2; allowed: 1\./),
  ]);
  // Elsewhere than in our component it is the task that tells whose service it is.
  const urn = 'aws:ecs/service:Service::redis-us-west-2';
  expect(await said({ urn, raw: { deploymentMaximumPercent: 200 } })).toEqual([
    expect.stringMatching(/^Service redis-us-west-2: deploymentMaximumPercent: found 200; allowed: 100: /),
  ]);
  expect(await said({ urn, inputsFrom: {}, raw: { deploymentMaximumPercent: 200, taskDefinition: 'web' } })).toEqual(
    [],
  );
  const target: Recorded = {
    ...service,
    type: 'aws:appautoscaling/target:Target',
    name: 'scaling',
    urn: 'aws:appautoscaling/target:Target::scaling',
    raw: { resourceId: 'service/redis/agent', maxCapacity: 4 },
    inputsFrom: { resourceId: [`urn:pulumi:prod-fargate::meridian::${service.urn}`] },
  };
  expect(await said({}, [target])).toEqual([
    expect.stringMatching(/^Target scaling: found autoscaling of Service redis-us-west-2; allowed: none\./),
  ]);
});

test.each(production)('%s breaks no rule, with images by digest and alerts', async (stack) => {
  const config = configOf(stack);
  const digest = (name: string): string => `registry.example.com/${name}@sha256:${'a'.repeat(64)}`;
  // What is left to those who deploy it.
  const images = { agentImage: digest('meridian'), redisImage: digest('redis'), exporterImage: digest('exporter') };
  const resources = await stackOf(stack, {
    ...config,
    'meridian:kubernetes': { ...(config['meridian:kubernetes'] as object), ...images },
    'meridian:monitoring': { ...(config['meridian:monitoring'] as object | undefined), operator: true },
  });
  const count = (kind: string): number => resources.filter(({ type }) => type.endsWith(`:${kind}`)).length;
  expect(count('StatefulSet')).toBeGreaterThanOrEqual(3);
  expect(count('PrometheusRule')).toBe(3);
  expect(short(await engine.violations(resources, stack))).toEqual([]);
});

test('in production the dev stack would not do', async () => {
  const resources = await stackOf('dev');
  const found = (await engine.violations(resources, 'prod')).filter(({ isMandatory }) => isMandatory);
  const count = (policy: string): number => found.filter((one) => one.policy === policy).length;
  // Of each region the namespace, Redis and the agent; of each region KubernetesRedis and SyncAgent, and RedisSecurity; of each region Redis,
  // exporter, role, Sentinel and the agent.
  const expected = { 'data-protected': 3 * 3, 'data-retained': 3 * 2 + 1, 'image-digests': 3 * 5 };
  expect(Object.fromEntries(Object.keys(expected).map((policy) => [policy, count(policy)]))).toEqual(expected);
  expect(found).toHaveLength(9 + 7 + 15);
});

/** Managed Redis as in production: one of each cloud. */
async function deployManaged() {
  const kept = { protect: true, retainOnDelete: true };
  return deploy(
    () => {
      const { userPasswords: generated } = new RedisSecurity('security', { stack: 'prod', ...kept });
      // What providers make up here is too simple for the services.
      const userPasswords = generated.apply((all) =>
        Object.fromEntries(Object.entries(all).map(([user, [first = '']]) => [user, [`Aa1${first}`.slice(0, 30)]])),
      );
      new ElastiCacheRedis('aws', {
        ...{ region: 'us-west-2', vpcId: 'vpc', subnetIds: ['a', 'b'], userPasswords, ...kept },
        clientCidrs: { apps: '10.0.0.0/16' },
        globalSecondaries: { 'us-east-1': { vpcId: 'vpc', subnetIds: ['c', 'd'] } },
      });
      new AliyunRedis('aliyun', {
        ...{ region: 'cn-hangzhou', zoneId: 'cn-hangzhou-h', secondaryZoneId: 'cn-hangzhou-i', vswitchId: 'v' },
        ...{ userPasswords, clientCidrs: { apps: '10.0.0.0/16' }, ...kept },
      });
      new TencentRedis('tencent', {
        ...{ region: 'ap-guangzhou', zone: 'ap-guangzhou-3', replicaZoneId: 100_004, vpcId: 'v', subnetId: 's' },
        ...{ userPasswords, clientCidrs: { apps: '10.0.0.0/16' }, ...kept },
      });
    },
    { stack: 'prod', outputs: given },
  );
}

test('managed Redis of all clouds has nothing but no alerts', async () => {
  const { resources } = await deployManaged();
  expect(resources.length).toBeGreaterThan(40);
  expect(short(await engine.violations(resources, 'prod'))).toEqual(['alerts: ']);
});

test('a first preview knows no password and no certificate: what is made of them waits for the deployment', async () => {
  const resources = await previewOf('dev');
  const found = await engine.violations(resources, 'dev');
  const waiting = found.filter(({ message }) => message.includes("can't be known during preview"));
  expect(short(waiting)).toEqual(regions.map((region) => `acl-default-user: Secret redis-${region}-user-acl`));
  expect(short(found.filter((one) => !waiting.includes(one))).length).toBe(3 + 12);
});

test('settings and levels come from the config of the pack', async () => {
  const resources = await stackOf('dev');
  await engine.configure({
    spread: { level: 'DISABLED' },
    alerts: { level: 'DISABLED' },
    sentinels: { level: 'ADVISORY', sentinelsMin: 5 },
  });
  const found = await engine.violations(resources, 'dev');
  expect(short(found)).toEqual(regions.map((region) => `sentinels: StatefulSet redis-${region}-sentinel`));
  expect(found[0]?.message).toMatch(
    /^There are three Sentinels or more\.\nspec\.replicas: found 3; allowed: 5 or more\./,
  );
  await engine.configure({ sentinels: { level: 'ADVISORY', sentinelsMin: 'five' } });
  await expect(engine.violations(resources, 'dev')).rejects.toThrow(/bad config of policy sentinels/);
});
