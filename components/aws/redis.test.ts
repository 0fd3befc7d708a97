import * as pulumi from '@pulumi/pulumi';

import {
  canary,
  type Deployment,
  isSecret,
  leaksOf,
  madeBy,
  maker,
  managedUsers,
  passwordsFor,
  valueOf,
} from '../testing';
import { ElastiCacheEngine, ElastiCacheRedis, type ElastiCacheRedisArgs } from '.';
import { requireSubnets } from './access';
import { parametersOf, shapeOf } from './args';

const passwords = (generations: readonly string[]) =>
  passwordsFor(
    managedUsers,
    generations.map((name) => `${name}-0123456789`),
  );

const minimal = (): ElastiCacheRedisArgs => ({
  region: 'us-west-2',
  vpcId: 'vpc-1',
  subnetIds: ['subnet-a', 'subnet-b'],
  clientSecurityGroups: { apps: 'sg-apps' },
  userPasswords: passwords(['new', 'old']),
});
const make = maker(ElastiCacheRedis, 'redis', minimal, outputs);

/** Made once for all tests that only look. */
let plain: Deployment<ElastiCacheRedis>;
let global: Deployment<ElastiCacheRedis>;
const globalSecondaries = {
  'eu-central-1': { ...secondary('eu'), kmsKeyArn: 'arn:eu', clientCidrs: { apps: '10.2.0.0/16' } },
  'ap-northeast-1': secondary('ap'),
};
beforeAll(async () => {
  plain = await make({
    clientCidrs: { office: pulumi.output('10.9.0.0/16') },
    kmsKeyArn: 'arn:key',
    tags: { team: 'a' },
  });
  global = await make({ globalSecondaries, finalSnapshotName: 'last', protect: true });
});

/** What AWS adds. */
function outputs(type: string, name: string): Record<string, unknown> {
  if (type.endsWith(':ReplicationGroup'))
    return {
      primaryEndpointAddress: `primary.${name}`,
      readerEndpointAddress: `reader.${name}`,
      configurationEndpointAddress: `cluster.${name}`,
    };
  if (type.endsWith(':GlobalReplicationGroup')) return { globalReplicationGroupId: `global-id-of-${name}` };
  return { name: `name-of-${name}` };
}

function secondary(letter: string) {
  return { vpcId: `vpc-${letter}`, subnetIds: ['subnet-a', 'subnet-b'] };
}

/** `type name: region` of each child of AWS. */
const regionsOf = (made: Deployment<unknown>): string[] =>
  madeBy(made, 'aws').map(({ name, inputs }) => `${name}: ${String(inputs['region'])}`);

describe('one region', () => {
  test('exact children', () => {
    expect(plain.children('redis')).toEqual([
      'LogGroup redis-engine-log',
      'LogGroup redis-slow-log',
      'ParameterGroup redis-parameters',
      'RandomPassword redis-default-password',
      'ReplicationGroup redis',
      'SecurityGroup redis-clients',
      'SecurityGroupIngressRule redis-from-apps',
      'SecurityGroupIngressRule redis-from-office',
      'SubnetGroup redis-subnets',
      'User redis-user-admin',
      'User redis-user-app',
      'User redis-user-default',
      'User redis-user-meridian-agent',
      'User redis-user-meridian-exporter',
      'User redis-user-read',
      'UserGroup redis-users',
    ]);
    expect(plain.resources).toHaveLength(17);
  });

  test('every child is in the region, whatever the default of the provider', async () => {
    for (const made of [plain, await make({ region: 'west', providerRegion: 'us-west-2' })]) {
      const regions = regionsOf(made);
      expect(regions.length).toBeGreaterThanOrEqual(14);
      expect(regions.filter((found) => !found.endsWith(': us-west-2'))).toEqual([]);
    }
  });

  test('the replication group: TLS, encryption at rest, two zones, snapshots, logs', () => {
    expect(plain.find('redis', ':ReplicationGroup').inputs).toEqual({
      region: 'us-west-2',
      description: 'Meridian: Redis of region us-west-2',
      engine: 'valkey',
      engineVersion: '8.0',
      nodeType: 'cache.r7g.xlarge',
      port: 6379,
      parameterGroupName: 'name-of-redis-parameters',
      numCacheClusters: 2,
      automaticFailoverEnabled: true,
      multiAzEnabled: true,
      transitEncryptionEnabled: true,
      transitEncryptionMode: 'required',
      atRestEncryptionEnabled: true,
      kmsKeyId: 'arn:key',
      subnetGroupName: 'name-of-redis-subnets',
      securityGroupIds: ['redis-clients-id'],
      userGroupIds: ['redis'],
      snapshotRetentionLimit: 7,
      snapshotWindow: '03:00-04:00',
      maintenanceWindow: 'sun:05:00-sun:06:00',
      applyImmediately: false,
      logDeliveryConfigurations: ['slow-log', 'engine-log'].map((logType) => ({
        logType,
        logFormat: 'json',
        destinationType: 'cloudwatch-logs',
        destination: `name-of-redis-${logType}`,
      })),
      tags: { team: 'a' },
    });
    expect(plain.find('redis-slow-log').inputs).toMatchObject({ retentionInDays: 30 });
    expect(plain.find('redis-parameters').inputs).toMatchObject({
      family: 'valkey8',
      parameters: [
        { name: 'maxmemory-policy', value: 'noeviction' },
        { name: 'notify-keyspace-events', value: 'AKE' },
      ],
    });
    expect(plain.find('redis-subnets').inputs).toMatchObject({ subnetIds: ['subnet-a', 'subnet-b'] });
  });

  test.each<[Partial<ElastiCacheRedisArgs>, string, string, string]>([
    [{}, 'valkey8', 'noeviction', 'AKE'],
    [{ use: 'cache' }, 'valkey8', 'allkeys-lru', 'AKE'],
    [{ capture: 'none' }, 'valkey8', 'noeviction', ''],
    [{ engine: ElastiCacheEngine.Redis }, 'redis7', 'noeviction', 'AKE'],
    [{ engineVersion: '7.2', notifyKeyspaceEvents: 'AKEm' }, 'valkey7', 'noeviction', 'AKEm'],
  ])('parameters with %j', (args, family, policy, events) => {
    const shape = shapeOf('redis', { ...minimal(), ...args });
    expect(shape.family).toBe(family);
    expect(parametersOf(shape)).toEqual([
      { name: 'maxmemory-policy', value: policy },
      ...(events === '' ? [] : [{ name: 'notify-keyspace-events', value: events }]),
    ]);
  });

  test('no fixed name of what can be replaced, and nothing is deleted before its replacement', () => {
    const named = madeBy(global, 'aws').filter(({ inputs }) => 'name' in inputs || 'replicationGroupId' in inputs);
    expect(named).toEqual([]);
    expect(global.resources.filter(({ deleteBeforeReplace }) => deleteBeforeReplace)).toEqual([]);
  });

  test('only the clients given get in, and nothing gets out', () => {
    const made = plain;
    expect(made.find('redis-clients').inputs).toEqual({
      region: 'us-west-2',
      vpcId: 'vpc-1',
      description: 'Clients of Redis redis',
      tags: { team: 'a' },
    });
    const rule = { securityGroupId: 'redis-clients-id', ipProtocol: 'tcp', fromPort: 6379, toPort: 6379 };
    expect(made.find('redis-from-apps').inputs).toMatchObject({ ...rule, referencedSecurityGroupId: 'sg-apps' });
    expect(made.find('redis-from-office').inputs).toMatchObject({ ...rule, cidrIpv4: '10.9.0.0/16' });
    expect(madeBy(made, 'aws').filter(({ type }) => type.includes('EgressRule'))).toEqual([]);
  });

  test('outputs', async () => {
    const { result } = plain;
    expect(await valueOf(result.host)).toEqual({ value: 'primary.redis', secret: false });
    expect((await valueOf(result.replicaHost)).value).toBe('reader.redis');
    expect((await valueOf(result.port)).value).toBe(6379);
    expect(Object.keys((await valueOf(result.userNames)).value).sort()).toEqual([...managedUsers].sort());
    expect((await valueOf(result.secondaryHosts)).value).toEqual({});
  });

  test('a cluster beside the mesh', async () => {
    const { result, ...made } = await make({ capture: 'none', shards: 3, replicas: 2 });
    const { inputs } = made.find('redis', ':ReplicationGroup');
    expect(inputs).toMatchObject({ clusterMode: 'enabled', numNodeGroups: 3, replicasPerNodeGroup: 2 });
    expect(inputs).not.toHaveProperty('numCacheClusters');
    expect(made.find('redis-parameters').inputs['parameters']).toContainEqual({
      name: 'cluster-enabled',
      value: 'yes',
    });
    expect((await valueOf(result.host)).value).toBe('cluster.redis');
    expect(inputs).not.toHaveProperty('nodeGroupConfigurations');
  });

  test('a cluster in the mesh: slots where its agents look for them, and the right to ask who has them', async () => {
    const made = await make({ shards: 2, slots: ['0-8191', '8192-16383'] });
    expect(made.find('redis', ':ReplicationGroup').inputs).toMatchObject({
      numNodeGroups: 2,
      nodeGroupConfigurations: [
        { slots: '0-8191', replicaCount: 1 },
        { slots: '8192-16383', replicaCount: 1 },
      ],
    });
    expect(made.find('redis', ':ReplicationGroup').inputs).not.toHaveProperty('replicasPerNodeGroup');
    const rules = (users: Awaited<ReturnType<typeof make>>): unknown =>
      users.find('redis-user-meridian-agent').inputs['accessString'];
    expect(rules(made)).toContain('+cluster|nodes');
    expect(rules(await make())).not.toContain('+cluster|nodes');
  });
});

describe('users', () => {
  test('with their rules; `default` is in the group, and off', () => {
    const made = plain;
    const strings = Object.fromEntries(
      madeBy(made, 'aws')
        .filter(({ type }) => type.endsWith(':User'))
        .map(({ inputs }) => [inputs['userName'], inputs['accessString']]),
    );
    expect(strings).toEqual({
      default: 'off ~keys* -@all',
      app: 'on ~* &* -@all +@connection +@transaction -@dangerous +@read +@write',
      read: 'on ~* &* -@all +@connection +@transaction -@dangerous +@read',
      admin: 'on ~* &* -@all +@connection +@transaction -@dangerous +@all',
      'meridian-agent': expect.stringMatching(/^on ~\* &\* -@all \+@read \+@write .*\+psubscribe/),
      'meridian-exporter': expect.stringMatching(/^on -@all \+auth \+ping \+info /),
    });
    expect(made.find('redis-users').inputs).toEqual({
      region: 'us-west-2',
      engine: 'valkey',
      userGroupId: 'redis',
      userIds: [
        'redis-default',
        'redis-meridian-agent',
        'redis-meridian-exporter',
        'redis-app',
        'redis-read',
        'redis-admin',
      ],
      tags: { team: 'a' },
    });
  });

  test('passwords are write-only, and sent again when they change', async () => {
    const user = async (generations: string[]): Promise<ReturnType<typeof plain.find>> =>
      (await make({ userPasswords: passwords(generations) })).find('redis-user-app');
    const { inputs, raw } = plain.find('redis-user-app');
    expect(inputs).toMatchObject({ passwordsWo: `${canary}-app-new-0123456789` });
    expect(inputs).not.toHaveProperty('authenticationMode');
    expect(isSecret(raw['passwordsWo'])).toBe(true);
    const version = inputs['passwordsWoVersion'];
    expect(Number.isInteger(version)).toBe(true);
    expect((await user(['new', 'other'])).inputs['passwordsWoVersion']).toBe(version);
    expect((await user(['other', 'new'])).inputs['passwordsWoVersion']).not.toBe(version);
  });

  test('two are accepted where that is wanted, but for `default`', async () => {
    const made = await make({ passwordOverlap: true, userPasswords: passwords(['a', 'b', 'c']) });
    const { inputs, raw } = made.find('redis-user-app');
    expect(inputs['authenticationMode']).toEqual({
      type: 'password',
      passwords: [`${canary}-app-a-0123456789`, `${canary}-app-b-0123456789`],
    });
    expect(inputs).not.toHaveProperty('passwordsWo');
    expect(isSecret((raw['authenticationMode'] as { passwords: unknown }).passwords)).toBe(true);
    expect(made.find('redis-user-default').inputs).toHaveProperty('passwordsWo');
    expectHidden(made, 'authenticationMode');
  });

  test('no password is anywhere else', () => expectHidden(global, 'passwordsWo'));

  /** In an envelope, at the argument of a user, and nowhere else. */
  function expectHidden(made: Deployment<unknown>, argument: string): void {
    const leaks = leaksOf(made, canary);
    expect(leaks.length).toBeGreaterThanOrEqual(managedUsers.length);
    expect(
      leaks.filter((leak) => !/^aws:elasticache\/user:User \S+ \.(passwordsWo|authenticationMode)/.test(leak)),
    ).toEqual([]);
    expect(leaks.filter((leak) => leak.includes(` redis-user-app .${argument}`))).not.toEqual([]);
    // An envelope that stands at the wrong place is a leak as well: what is left without envelopes holds no password.
    const open = (value: unknown): unknown =>
      isSecret(value)
        ? 'hidden'
        : Array.isArray(value)
          ? value.map(open)
          : typeof value === 'object' && value !== null
            ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, open(inner)]))
            : value;
    expect(JSON.stringify(open(made.resources.map(({ raw }) => raw)))).not.toContain(canary);
  }

  test('of other names', async () => {
    const made = await make({
      users: { feed: ['+@read'] },
      idPrefix: 'prod',
      userPasswords: { ...{ feed: ['f'.repeat(16)] }, 'meridian-agent': ['a'], 'meridian-exporter': ['e'] },
    });
    expect(made.find('redis-users').inputs['userIds']).toEqual([
      'prod-default',
      'prod-meridian-agent',
      'prod-meridian-exporter',
      'prod-feed',
    ]);
  });
});

describe('what is kept', () => {
  test('nothing by default', () => {
    expect(plain.resources.filter(({ protect, retainOnDelete }) => protect || retainOnDelete)).toEqual([]);
  });

  test('protect is for the data alone', () => {
    expect(
      global.resources
        .filter(({ protect }) => protect)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['redis', 'redis-ap-northeast-1', 'redis-eu-central-1', 'redis-global']);
  });

  test('what the data needs stays with it, but nobody is let in', async () => {
    const made = await make({ retainOnDelete: true });
    const gone = made.resources.filter(({ retainOnDelete, parent }) => parent === 'redis' && !retainOnDelete);
    expect(gone.map(({ name }) => name)).toEqual(['redis-default-password', 'redis-from-apps']);
  });
});

describe('a Global Datastore', () => {
  test('exact children, each in its region', () => {
    const made = global;
    const kinds = (region: string): string[] =>
      made.children('redis').filter((child) => child.includes(` redis-${region}`));
    expect(kinds('eu-central-1')).toEqual([
      'LogGroup redis-eu-central-1-engine-log',
      'LogGroup redis-eu-central-1-slow-log',
      'ReplicationGroup redis-eu-central-1',
      'SecurityGroup redis-eu-central-1-clients',
      'SecurityGroupIngressRule redis-eu-central-1-from-apps',
      'SubnetGroup redis-eu-central-1-subnets',
      'User redis-eu-central-1-user-admin',
      'User redis-eu-central-1-user-app',
      'User redis-eu-central-1-user-default',
      'User redis-eu-central-1-user-meridian-agent',
      'User redis-eu-central-1-user-meridian-exporter',
      'User redis-eu-central-1-user-read',
      'UserGroup redis-eu-central-1-users',
    ]);
    expect(kinds('ap-northeast-1')).toHaveLength(12);
    expect(made.children('redis')).toContain('GlobalReplicationGroup redis-global');
    const wrong = regionsOf(made).filter((found) => {
      const [name = '', region] = found.split(': ');
      const own = Object.keys(globalSecondaries).find((other) => name.startsWith(`redis-${other}`));
      return region !== (own ?? 'us-west-2');
    });
    expect(wrong).toEqual([]);
  });

  test('the copies take engine, size and encryption from the datastore', async () => {
    const made = global;
    expect(made.find('redis-global').inputs).toMatchObject({
      globalReplicationGroupIdSuffix: 'redis',
      primaryReplicationGroupId: 'redis-id',
    });
    const { inputs } = made.find('redis-eu-central-1');
    expect(inputs).toMatchObject({
      globalReplicationGroupId: 'global-id-of-redis-global',
      numCacheClusters: 2,
      kmsKeyId: 'arn:eu',
      userGroupIds: ['redis'],
      securityGroupIds: ['redis-eu-central-1-clients-id'],
    });
    // The provider refuses these beside globalReplicationGroupId.
    for (const key of ['engine', 'engineVersion', 'nodeType', 'parameterGroupName', 'numNodeGroups', 'snapshotName'])
      expect(inputs).not.toHaveProperty(key);
    for (const key of ['transitEncryptionEnabled', 'transitEncryptionMode', 'atRestEncryptionEnabled'])
      expect(inputs).not.toHaveProperty(key);
    expect(inputs).not.toHaveProperty('finalSnapshotIdentifier');
    expect((await valueOf(made.result.secondaryHosts)).value).toEqual({
      'eu-central-1': 'reader.redis-eu-central-1',
      'ap-northeast-1': 'reader.redis-ap-northeast-1',
    });
  });
});

describe('refuses', () => {
  const three = { 'eu-central-1': secondary('a'), 'eu-west-1': secondary('b'), 'ap-northeast-1': secondary('c') };
  test.each<[Partial<ElastiCacheRedisArgs>, RegExp]>([
    [{ capture: 'psync' }, /capture: found psync, with elasticache; allowed: notifications: the service refuses PSYNC/],
    [{ notifyKeyspaceEvents: 'Kx' }, /notifyKeyspaceEvents: found "Kx"; allowed: A, K and E at least/],
    [{ shards: 2, slots: ['0-16383'] }, /slots: found 1 of 2 shards; allowed: the slots of each shard/],
    [{ replicas: 0 }, /replicas: found 0; allowed: a whole number from 1 to 5/],
    [
      { engine: 'redis', engineVersion: '7.2' },
      /engineVersion: found "7\.2", with engine redis; allowed: 7\.0 or 7\.1/,
    ],
    [{ engine: 'memcached' as ElastiCacheEngine }, /engine: found "memcached"; allowed: valkey, redis/],
    [{ clientCidrs: { all: '0.0.0.0/0' } }, /clientCidrs\.all: found "0\.0\.0\.0\/0"; allowed: .*never 0\.0\.0\.0\/0/],
    [{ clientCidrs: { apps: '10.0.0.0/16' } }, /clients\[1\]: found "apps" again; allowed: each name once/],
    [{ users: { default: ['+@all'] } }, /users: found default; allowed: none of/],
    [{ snapshotRetentionDays: 36 }, /snapshotRetentionDays: found 36; allowed: a whole number from 0 to 35/],
    [{ snapshotWindow: '3-4' }, /snapshotWindow: found 3-4; allowed: hh:mm-hh:mm, UTC/],
    [{ maintenanceWindow: 'sunday' }, /maintenanceWindow: found sunday; allowed: ddd:hh:mm-ddd:hh:mm, UTC/],
    [{ idPrefix: 'a-name-that-is-far-too-long' }, /idPrefix: found the ID a-name-.*-meridian-exporter; allowed: IDs/],
    [{ globalSecondaries: three }, /globalSecondaries: found 3 regions; allowed: up to 2/],
    [{ globalSecondaries: { 'us-west-2': secondary('a') } }, /globalSecondaries: found us-west-2; allowed: other/],
    [
      { globalSecondaries: { 'eu-west-1': { ...secondary('a'), clientCidrs: { all: '0.0.0.0/0' } } } },
      /globalSecondaries\.eu-west-1\.clientCidrs\.all: found/,
    ],
    [
      { globalSecondaries: { 'eu-west-1': secondary('a') }, nodeType: 'cache.t4g.micro' },
      /nodeType: found cache\.t4g\.micro; allowed: a node of the m5/,
    ],
  ])('%j', async (args, message) => {
    await expect(make(args)).rejects.toThrow(message);
  });

  test('one subnet, when it is known', () => {
    expect(requireSubnets('redis', ['a', 'b'])).toEqual(['a', 'b']);
    expect(() => requireSubnets('redis', ['a', 'a'])).toThrow(/^redis: subnetIds: found a, a; allowed: 2 or more/);
  });

  test('before anything is made', () => {
    expect(() => new ElastiCacheRedis('redis', { ...minimal(), replicas: 9 })).toThrow(pulumi.RunError);
  });
});
