import * as pulumi from '@pulumi/pulumi';

import {
  canary,
  type Deployment,
  isSecret,
  leaksOf,
  maker,
  managedUsers as users,
  passwordsFor,
  valueOf,
} from '../testing';
import { TencentProvider, TencentRedis, type TencentRedisArgs } from '.';
import { takenPassword } from './redis';

const minimal = (): TencentRedisArgs => ({
  region: 'ap-guangzhou',
  zone: 'ap-guangzhou-3',
  replicaZoneId: 100_004,
  vpcId: 'vpc-1',
  subnetId: 'subnet-1',
  clientCidrs: { apps: '10.1.0.0/16', agents: pulumi.output('10.2.0.0/24') },
  userPasswords: passwordsFor(users, ['1', '0']),
});
const make = maker(TencentRedis, 'redis', minimal, (type) => (type.endsWith(':Instance') ? { ip: '10.1.0.9' } : {}));

describe('with its defaults', () => {
  let made: Deployment<TencentRedis>;
  beforeAll(async () => {
    made = await make();
  });

  test('exact children', () => {
    expect(made.children('redis')).toEqual([
      'Account redis-user-admin',
      'Account redis-user-app',
      'Account redis-user-meridian-agent',
      'Account redis-user-meridian-exporter',
      'Account redis-user-read',
      'BackupConfig redis-backups',
      'Group redis-clients',
      'GroupRuleSet redis-from-clients',
      'Instance redis',
      'Param redis-parameters',
      'RandomPassword redis-default-password',
      'Ssl redis-tls',
    ]);
    const types = made.resources.map(({ type }) => type).filter((type) => type.startsWith('tencentcloud:'));
    expect([...new Set(types)].sort()).toEqual([
      'tencentcloud:Redis/account:Account',
      'tencentcloud:Redis/backupConfig:BackupConfig',
      'tencentcloud:Redis/instance:Instance',
      'tencentcloud:Redis/param:Param',
      'tencentcloud:Redis/ssl:Ssl',
      'tencentcloud:Security/group:Group',
      'tencentcloud:Security/groupRuleSet:GroupRuleSet',
    ]);
  });

  test('the instance: one shard, a replica in another zone', () => {
    expect(made.find('redis', ':Instance').inputs).toEqual({
      name: 'redis',
      typeId: 17,
      availabilityZone: 'ap-guangzhou-3',
      replicaZoneIds: [100_004],
      redisShardNum: 1,
      redisReplicasNum: 1,
      memSize: 16_384,
      chargeType: 'POSTPAID',
      port: 6379,
      password: `${canary}-password-of-redis-default-password`,
      vpcId: 'vpc-1',
      subnetId: 'subnet-1',
      securityGroups: ['redis-clients-id'],
    });
    expect(made.find('redis-default-password').inputs).toMatchObject({ length: 16 });
  });

  test('TLS, parameters, backups, and only the networks given', () => {
    expect(made.find('redis-tls').inputs).toEqual({ instanceId: 'redis-id', sslConfig: 'enabled' });
    expect(made.find('redis-parameters').inputs).toEqual({
      instanceId: 'redis-id',
      instanceParams: { 'maxmemory-policy': 'noeviction', 'notify-keyspace-events': 'AKE' },
    });
    expect(made.find('redis-backups').inputs).toEqual({ redisId: 'redis-id', backupTime: '03:00-04:00' });
    const rule = { action: 'ACCEPT', protocol: 'TCP', port: '6379' };
    expect(made.find('redis-from-clients').inputs).toEqual({
      securityGroupId: 'redis-clients-id',
      ingresses: [
        { ...rule, cidrBlock: '10.1.0.0/16', description: 'Redis from apps' },
        { ...rule, cidrBlock: '10.2.0.0/24', description: 'Redis from agents' },
      ],
    });
  });

  test('accounts with the least of the two privileges there are', () => {
    const privileges = users.map((user) => made.find(`redis-user-${user}`).inputs);
    expect(privileges.map(({ accountName, privilege }) => [accountName, privilege])).toEqual([
      ['app', 'rw'],
      ['read', 'r'],
      ['admin', 'rw'],
      ['meridian-agent', 'rw'],
      ['meridian-exporter', 'r'],
    ]);
  });

  test('changes of the instance are made one after the other', () => {
    const order = ['tls', 'parameters', 'backups', 'meridian-agent', 'meridian-exporter', 'app', 'read', 'admin'];
    const names = order.map((name) => (users.includes(name) ? `redis-user-${name}` : `redis-${name}`));
    names.slice(1).forEach((name, i) => {
      const { dependsOn } = made.find(name);
      expect(dependsOn.some((urn) => urn.endsWith(`::${names[i] ?? ''}`))).toBe(true);
    });
  });

  test('no password is anywhere but in the envelopes of the accounts', () => {
    expect(leaksOf(made, canary)).toEqual(
      [
        ...users.map((user) => `tencentcloud:Redis/account:Account redis-user-${user} .accountPassword`),
        'tencentcloud:Redis/instance:Instance redis .password',
      ].sort(),
    );
    expect(isSecret(made.find('redis', ':Instance').raw['password'])).toBe(true);
    for (const user of users) expect(isSecret(made.find(`redis-user-${user}`).raw['accountPassword'])).toBe(true);
  });

  test('outputs', async () => {
    expect((await valueOf(made.result.host)).value).toBe('10.1.0.9');
    const { value, secret } = await valueOf(made.result.userPasswords);
    expect(secret).toBe(true);
    expect(value['app']).toEqual([`${canary}-app-1`]);
  });

  test('nothing is kept, and nothing is deleted before its replacement', () => {
    const kept = made.resources.filter((r) => r.protect || r.retainOnDelete || r.deleteBeforeReplace);
    expect(kept).toEqual([]);
  });
});

test('the provider of the region reaches every child', async () => {
  const made = await make({ capture: 'none', use: 'cache', protect: true, retainOnDelete: true }, () => ({
    providers: [new TencentProvider('guangzhou', { region: 'ap-guangzhou', secretKey: 'key' })],
  }));
  const children = made.resources.filter(({ type }) => type.startsWith('tencentcloud:'));
  expect(children).toHaveLength(11);
  for (const { provider } of children) expect(provider).toMatch(/::guangzhou::/);
  expect(made.find('redis-parameters').inputs['instanceParams']).toEqual({
    'maxmemory-policy': 'allkeys-lru',
    'notify-keyspace-events': '""',
  });
  expect(children.filter(({ protect }) => protect).map(({ name }) => name)).toEqual(['redis']);
  expect(children.filter((child) => !child.retainOnDelete).map(({ name }) => name)).toEqual(['redis-from-clients']);
});

test.each<[Partial<TencentRedisArgs>, RegExp]>([
  [{ clientCidrs: { all: '0.0.0.0/0' } }, /clientCidrs\.all: found "0\.0\.0\.0\/0"; allowed: .*never 0\.0\.0\.0\/0/],
  [{ clientCidrs: {} }, /clientCidrs: found nothing; allowed: one network or more/],
  [{ capture: 'psync' }, /capture: found psync, with tencent; allowed: notifications: the service refuses PSYNC/],
  [{ notifyKeyspaceEvents: 'E' }, /notifyKeyspaceEvents: found "E"; allowed: A, K and E at least/],
  [{ zone: 'ap-beijing-3' }, /zone: found "ap-beijing-3"; allowed: a zone of ap-guangzhou/],
  [{ replicaZoneId: 100_003 }, /replicaZoneId: found 100003, which is ap-guangzhou-3; allowed: another zone/],
  [{ typeId: 8 }, /typeId: found 8; allowed: 15, 17/],
  [{ memoryMb: 1 }, /memoryMb: found 1; allowed: a whole number from 256/],
])('refuses %j', async (args, message) => {
  await expect(make(args)).rejects.toThrow(message);
});

test('a password is cut to what the service takes; one that it would refuse is refused, and not shown', () => {
  expect(takenPassword('aB3'.repeat(11), 'app')).toBe('aB3'.repeat(10));
  expect(() => takenPassword('aaaaaaaaaaaa', 'app')).toThrow(/found one of app of 1 kinds/);
  expect(() => takenPassword('aaaaaaaaaaaa', 'app')).not.toThrow('aaaaaaaaaaaa');
});
