import * as pulumi from '@pulumi/pulumi';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import {
  ActiveActiveRedis,
  type ActiveActiveRedisArgs,
  FargateSyncAgent,
  KubernetesRedis,
  LocalMesh,
  RedisTopology,
  RegionBackend,
} from '.';
import * as components from '.';
import { childOptions, componentType } from './common';
import { deploy, lostUrns } from './testing';

// A resource that is renamed without an alias is deleted, and another one made: CONTRIBUTING.md says what to do. Renaming it on purpose:
// MERIDIAN_FREEZE=1 npx jest components/urns

const file = path.join(__dirname, 'urns.json');
const frozen = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string[]>;

const stack = 'prod';
const agentImage = 'meridian@sha256:1';
const kept = { protect: true, retainOnDelete: true };

/** What providers make up, as far as the components look into it. */
const outputs = (type: string, name: string): Record<string, unknown> => ({
  ...(type === 'random:index/randomPassword:RandomPassword' ? { result: pulumi.secret('Abcdefgh1Abcdefgh1') } : {}),
  ...(type.endsWith(':ParameterGroup') ? { name } : {}),
  ...(type.endsWith(':LoadBalancer') ? { dnsName: name } : {}),
  ...(type.endsWith(':GlobalReplicationGroup') ? { globalReplicationGroupId: name } : {}),
});

const managed: ActiveActiveRedisArgs = {
  stack,
  agentImage,
  acceptWholeKeyMerge: true,
  agent: { mode: 'async' },
  redis: kept,
  monitoring: {},
  regions: [
    {
      ...{ name: 'us-west-2', primary: true, backend: 'elasticache', redisCidrs: ['10.1.0.0/16'] },
      elasticache: {
        ...{
          vpcId: 'vpc',
          subnetIds: ['a', 'b'],
          clientSecurityGroups: { nodes: 'sg' },
          clientCidrs: { apps: '10.0.0.0/16' },
        },
        globalSecondaries: { 'us-east-1': { vpcId: 'vpc', subnetIds: ['c', 'd'] } },
      },
    },
    {
      ...{ name: 'cn-hangzhou', backend: 'aliyun', redisCaPem: 'authority', redisCidrs: ['10.2.0.0/16'] },
      aliyun: {
        ...{ zoneId: 'cn-hangzhou-h', secondaryZoneId: 'cn-hangzhou-i', vswitchId: 'v' },
        clientCidrs: { apps: '10.0.0.0/16' },
      },
    },
    {
      ...{ name: 'ap-guangzhou', backend: 'tencent', redisCidrs: ['10.3.0.0/16'] },
      tencent: {
        ...{ zone: 'ap-guangzhou-3', replicaZoneId: 100_004, vpcId: 'v', subnetId: 's' },
        clientCidrs: { apps: '10.0.0.0/16' },
      },
    },
  ],
};

const nodes = {
  region: 'west',
  namespace: 'redis',
  aclSecretName: 'acl',
  nodeSecretName: 'node',
  exporterSecretName: 'exporter',
  tlsSecretName: 'tls',
  createStorageClass: true,
};

/** Stacks that have every component, and every resource that components make by choice. */
const programs: Record<string, () => unknown> = {
  'a mesh on Kubernetes': () =>
    new ActiveActiveRedis('redis', {
      ...{ stack, agentImage, authorities: ['a', 'b'], redis: { ...kept, kernelTuning: true, replicasMax: 3 } },
      ...{ serviceMesh: 'sidecar', traffic: { host: 'redis.example' }, monitoring: {} },
      agent: { loadBalancerAnnotations: {} },
      regions: ['us-west-2', 'eu-central-1'].map((name, i) => ({
        ...{ name, primary: i === 0, context: name, agentHost: `${name}.example:443`, agentCidrs: ['10.0.0.0/8'] },
        ...{ trafficHost: `redis-${name}.example`, weight: 50, clientNamespaces: ['shop'] },
      })),
    }),
  'a mesh on the Redis of providers': () => new ActiveActiveRedis('redis', managed),
  'a mesh without Kubernetes': () =>
    new ActiveActiveRedis('redis', {
      ...{ stack, agentImage, acceptWholeKeyMerge: true, agent: { mode: 'async' } },
      regions: ['us-west-2', 'eu-west-1'].map((name, i) => ({
        ...{ name, primary: i === 0, backend: RegionBackend.ElastiCache, agentCidrs: ['10.0.0.0/8'] },
        elasticache: { vpcId: 'vpc', subnetIds: ['a', 'b'], clientCidrs: { apps: '10.0.0.0/16' } },
        fargate: { subnetIds: { a: 'subnet-a', b: 'subnet-b' }, adminSecurityGroups: { ops: 'sg-ops' } },
      })),
    }),
  'a cluster': () => new KubernetesRedis('redis', { ...nodes, topology: RedisTopology.Cluster }),
  'a node by itself': () => new KubernetesRedis('redis', { ...nodes, topology: RedisTopology.Standalone }),
  'an agent without Kubernetes': () =>
    new FargateSyncAgent('agent', {
      ...{ region: 'us-west-2', stack, image: agentImage, vpcId: 'vpc', subnetIds: { a: 'subnet-a', b: 'subnet-b' } },
      ...{
        members: [{ name: 'us-west-2', primary: true }, { name: 'eu-west-1' }],
        peerHosts: { 'eu-west-1': 'eu:443' },
      },
      ...{ redisHost: 'redis', redisSecurityGroupId: 'sg', userPasswords: { 'meridian-agent': ['password'] } },
      ...{ caBundlePem: 'bundle', caCertPem: 'authority', caPrivateKeyPem: 'key' },
      ...{ peerCidrs: { eu: '10.2.0.0/16' }, adminSecurityGroups: { ops: 'sg-ops' } },
    }),
  'processes of this machine': () =>
    new LocalMesh('redis', { stack, regions: [{ name: 'west', primary: true }, { name: 'east' }] }),
};

test.each(Object.entries(programs))('%s: an update loses nothing', async (title, program) => {
  const { resources } = await deploy(program, { stack, outputs });
  const before = frozen[title] ?? [];
  const added = resources.map(({ urn }) => urn).filter((urn) => !before.includes(urn));
  if (process.env['MERIDIAN_FREEZE'] === '1') {
    // What was stays: those who update from it need it.
    frozen[title] = [...before, ...added].sort();
    writeFileSync(file, `${JSON.stringify(frozen, undefined, 2)}\n`);
    return;
  }
  // A name that is lost here needs an alias where the resource is made.
  expect(lostUrns(before, resources)).toEqual([]);
  // One that is new is frozen by MERIDIAN_FREEZE=1.
  expect(added).toEqual([]);
});

test('every component is among them', () => {
  const types = Object.values(frozen).flatMap((urns) => urns.map((urn) => urn.split('::', 1)[0]?.split('$').at(-1)));
  const classes = Object.entries(components).filter(
    ([, value]) => typeof value === 'function' && value.prototype instanceof pulumi.ComponentResource,
  );
  expect(classes.map(([name]) => componentType(name)).filter((type) => !types.includes(type))).toEqual([]);
});

// --- The check itself

/** A component of two releases: what it was called in the first, and what the second does about it. */
interface Release {
  readonly shop?: { readonly name?: string; readonly type?: string; readonly opts?: pulumi.ComponentResourceOptions };
  readonly till?: { readonly name?: string; readonly opts?: pulumi.CustomResourceOptions };
}

class Shop extends pulumi.ComponentResource {
  constructor({ shop = {}, till = {} }: Release) {
    super(componentType(shop.type ?? 'Shop'), shop.name ?? 'shop', {}, shop.opts);
    const drawer = new Drawer(`${shop.name ?? 'shop'}-drawer`, {}, childOptions(this));
    new Till(till.name ?? `${shop.name ?? 'shop'}-drawer-till`, till.opts ?? {}, drawer);
  }
}
class Drawer extends pulumi.ComponentResource {
  constructor(name: string, args: pulumi.Inputs, opts: pulumi.ComponentResourceOptions) {
    super(componentType('Drawer'), name, args, opts);
  }
}
class Till extends pulumi.CustomResource {
  constructor(name: string, opts: pulumi.CustomResourceOptions, parent: pulumi.Resource) {
    super('shop:index:Till', name, {}, childOptions(parent, opts));
  }
}

const first = [
  'meridian:index:Shop$meridian:index:Drawer$shop:index:Till::shop-drawer-till',
  'meridian:index:Shop$meridian:index:Drawer::shop-drawer',
  'meridian:index:Shop::shop',
];
const lostBy = async (release: Release): Promise<string[]> => {
  const { resources } = await deploy(() => new Shop(release), { stack });
  return lostUrns(first, resources);
};

test('the first release has these URNs', async () => {
  const { resources } = await deploy(() => new Shop({}), { stack });
  expect(resources.map(({ urn }) => urn).sort()).toEqual(first);
});

const [till = '', drawer = '', shop = ''] = first;
const oldTill = `urn:pulumi:${stack}::meridian::${till}`;
const children = [till, drawer];

test.each<[string, Release, readonly string[]]>([
  ['nothing', {}, []],
  ['a child renamed', { till: { name: 'shop-register' } }, [till]],
  [
    'a child renamed, with its name',
    { till: { name: 'shop-register', opts: { aliases: [{ name: 'shop-drawer-till' }] } } },
    [],
  ],
  ['a child renamed, with its URN', { till: { name: 'shop-register', opts: { aliases: [oldTill] } } }, []],
  ['a child renamed, with another name', { till: { name: 'shop-x', opts: { aliases: [{ name: 'till' }] } } }, [till]],
  ['a component renamed', { shop: { name: 'store' } }, [...children, shop]],
  ['a component renamed, with its name', { shop: { name: 'store', opts: { aliases: [{ name: 'shop' }] } } }, []],
  [
    'a component renamed, with its name, that a child is not called after',
    { shop: { name: 'store', opts: { aliases: [{ name: 'shop' }] } }, till: { name: 'till-of-store' } },
    [till],
  ],
  ['a type renamed', { shop: { type: 'Store' } }, [...children, shop]],
  [
    'a type renamed, with the type',
    { shop: { type: 'Store', opts: { aliases: [{ type: componentType('Shop') }] } } },
    [],
  ],
  [
    'a component and a child renamed, with both names',
    {
      shop: { name: 'store', opts: { aliases: [{ name: 'shop' }] } },
      till: { name: 'store-register', opts: { aliases: [{ name: 'store-drawer-till' }] } },
    },
    [],
  ],
])('an update with %s', async (_, release, lost) => {
  expect(await lostBy(release)).toEqual(lost);
});
