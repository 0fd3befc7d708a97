import * as pulumi from '@pulumi/pulumi';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

import * as components from '../components';
import { AliyunRedis, ElastiCacheRedis, RedisSecurity, TencentRedis } from '../components';
import { deploy, type Deployment } from '../components/testing';
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

/** The stack of this repository, by its config; `more` is put over it, section by section. */
function deployStack(
  stack: string,
  more: Record<string, object> = {},
  isPreview = false,
): Promise<Deployment<unknown>> {
  const text = readFileSync(path.join(__dirname, '..', `Pulumi.${stack}.yaml`), 'utf8');
  const { config } = parse(text) as { config: Record<string, unknown> };
  const values = [...new Set([...Object.keys(config), ...Object.keys(more)])].map((key): [string, string] => {
    const whole = key in more ? { ...(config[key] as object | undefined), ...more[key] } : config[key];
    return [key, typeof whole === 'string' ? whole : JSON.stringify(whole)];
  });
  const program = (): unknown => {
    pulumi.runtime.setAllConfig(Object.fromEntries(values));
    let exported: unknown;
    jest.isolateModules(() => {
      // Those that have the mocks and the config, and no second load.
      jest.doMock('@pulumi/pulumi', () => pulumi);
      jest.doMock('../components', () => components);
      exported = jest.requireActual<typeof Program>('../index');
    });
    return exported;
  };
  if (!isPreview) return deploy(program, { stack });
  return deploy(
    () => {
      settings._setIsDryRun(true);
      return program();
    },
    { stack, outputs: () => Object.fromEntries(madeUp.map((output) => [output, undefined])) },
  );
}

/** What nobody knows before the first deployment. */
const madeUp = ['result', 'privateKeyPem', 'publicKeyPem', 'certPem', 'certRequestPem'];

const short = (found: readonly Violation[]): string[] =>
  found.map(({ policy, resource, isMandatory }) => `${policy}: ${resource}${isMandatory ? ', mandatory' : ''}`);

const regions = ['us-west-2', 'eu-central-1', 'ap-northeast-1'];

test('the pack has all rules', async () => {
  expect(await engine.info()).toEqual({ name: 'meridian', policies: rules.map(({ name }) => name) });
});

test('the dev stack: one node will do, and nobody is woken', async () => {
  const { resources } = await deployStack('dev');
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

/** What the config of the prod stack leaves to those who deploy it. */
const image = (name: string): string => `registry.example.com/${name}@sha256:${'a'.repeat(64)}`;
const chosen = {
  'meridian:kubernetes': {
    agentImage: image('meridian'),
    redisImage: image('redis'),
    exporterImage: image('exporter'),
  },
  'meridian:monitoring': { operator: true },
};

test('the prod stack breaks no rule', async () => {
  const { resources } = await deployStack('prod', chosen);
  expect(resources.filter(({ type }) => type.endsWith(':StatefulSet'))).toHaveLength(3 * 3);
  expect(short(await engine.violations(resources, 'prod'))).toEqual([]);
});

test('in production the dev stack would not do', async () => {
  const { resources } = await deployStack('dev');
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
    {
      stack: 'prod',
      // Names and IDs that the service gives.
      outputs: (type, name) => ({
        ...(type.endsWith(':ParameterGroup') ? { name } : {}),
        ...(type.endsWith(':GlobalReplicationGroup') ? { globalReplicationGroupId: name } : {}),
      }),
    },
  );
}

test('managed Redis of all clouds has nothing but no alerts', async () => {
  const { resources } = await deployManaged();
  expect(resources.length).toBeGreaterThan(40);
  expect(short(await engine.violations(resources, 'prod'))).toEqual(['alerts: ']);
});

test('a first preview knows no password and no certificate: what is made of them waits for the deployment', async () => {
  const { resources } = await deployStack('dev', {}, true);
  const found = await engine.violations(resources, 'dev');
  const waiting = found.filter(({ message }) => message.includes("can't be known during preview"));
  expect(short(waiting)).toEqual(regions.map((region) => `acl-default-user: Secret redis-${region}-user-acl`));
  expect(short(found.filter((one) => !waiting.includes(one))).length).toBe(3 + 12);
});

test('settings and levels come from the config of the pack', async () => {
  const { resources } = await deployStack('dev');
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
