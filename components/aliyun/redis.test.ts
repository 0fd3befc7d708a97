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
import { AliyunRedis, type AliyunRedisArgs } from '.';
import { checkPassword } from './redis';

const minimal = (): AliyunRedisArgs => ({
  region: 'cn-hangzhou',
  zoneId: 'cn-hangzhou-h',
  secondaryZoneId: 'cn-hangzhou-i',
  vswitchId: 'vsw-1',
  clientCidrs: { apps: '10.1.0.0/16', agents: pulumi.output('10.2.0.0/24') },
  userPasswords: passwordsFor(users, ['1', '0']),
});
const make = maker(AliyunRedis, 'redis', minimal, (type) =>
  type.endsWith(':Instance') ? { connectionDomain: 'r-1.redis.rds.aliyuncs.com' } : {},
);

describe('with its defaults', () => {
  let made: Deployment<AliyunRedis>;
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
      'Instance redis',
      'RandomPassword redis-default-password',
    ]);
    expect(made.resources).toHaveLength(8);
  });

  test('the instance: two zones, TLS, an allow list, backups', () => {
    expect(made.find('redis', ':Instance').inputs).toEqual({
      dbInstanceName: 'redis',
      instanceType: 'Redis',
      engineVersion: '7.0',
      instanceClass: 'redis.master.large.default',
      nodeType: 'MASTER_SLAVE',
      paymentType: 'PostPaid',
      zoneId: 'cn-hangzhou-h',
      secondaryZoneId: 'cn-hangzhou-i',
      vswitchId: 'vsw-1',
      password: `${canary}-password-of-redis-default-password`,
      vpcAuthMode: 'Open',
      sslEnable: 'Enable',
      securityIps: ['10.1.0.0/16', '10.2.0.0/24'],
      config: { appendonly: 'yes', EvictionPolicy: 'noeviction', 'notify-keyspace-events': 'AKE' },
      backupPeriods: ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'],
      backupTime: '19:00Z-20:00Z',
      instanceReleaseProtection: false,
    });
  });

  test('accounts with the least of the two privileges there are', () => {
    const privileges = users.map((user) => made.find(`redis-user-${user}`).inputs);
    expect(privileges.map(({ accountName, accountPrivilege }) => [accountName, accountPrivilege])).toEqual([
      ['app', 'RoleReadWrite'],
      ['read', 'RoleReadOnly'],
      ['admin', 'RoleReadWrite'],
      ['meridian_agent', 'RoleReadWrite'],
      ['meridian_exporter', 'RoleReadOnly'],
    ]);
    expect(privileges[0]).toMatchObject({ instanceId: 'redis-id', accountPassword: `${canary}-app-1` });
  });

  test('no password is anywhere but in the envelopes of the accounts', () => {
    expect(leaksOf(made, canary)).toEqual(
      [
        ...users.map((user) => `alicloud:kvstore/account:Account redis-user-${user} .accountPassword`),
        'alicloud:kvstore/instance:Instance redis .password',
      ].sort(),
    );
    expect(isSecret(made.find('redis', ':Instance').raw['password'])).toBe(true);
    for (const user of users) expect(isSecret(made.find(`redis-user-${user}`).raw['accountPassword'])).toBe(true);
  });

  test('outputs', async () => {
    expect((await valueOf(made.result.host)).value).toBe('r-1.redis.rds.aliyuncs.com');
    expect((await valueOf(made.result.userNames)).value).toMatchObject({
      app: 'app',
      'meridian-agent': 'meridian_agent',
    });
  });

  test('nothing is kept, and nothing is deleted before its replacement', () => {
    const kept = made.resources.filter((r) => r.protect || r.retainOnDelete || r.deleteBeforeReplace);
    expect(kept).toEqual([]);
  });
});

test('a cache beside the mesh', async () => {
  const made = await make({ use: 'cache', capture: 'none', users: {} });
  expect(made.find('redis', ':Instance').inputs['config']).toEqual({
    appendonly: 'yes',
    EvictionPolicy: 'allkeys-lru',
  });
});

test('production data is protected in Pulumi and in the service, and stays with its accounts', async () => {
  const made = await make({ protect: true, retainOnDelete: true });
  const instance = made.find('redis', ':Instance');
  expect(instance).toMatchObject({ protect: true, retainOnDelete: true });
  expect(instance.inputs).toMatchObject({ instanceReleaseProtection: true });
  expect(made.find('redis-user-app')).toMatchObject({ protect: false, retainOnDelete: true });
});

test.each<[Partial<AliyunRedisArgs>, RegExp]>([
  [{ clientCidrs: { all: '0.0.0.0/0' } }, /clientCidrs\.all: found "0\.0\.0\.0\/0"; allowed: .*never 0\.0\.0\.0\/0/],
  [{ clientCidrs: {} }, /clientCidrs: found nothing; allowed: one network or more/],
  [{ capture: 'psync' }, /capture: found psync, with aliyun; allowed: notifications: the service refuses PSYNC/],
  [{ notifyKeyspaceEvents: 'E' }, /notifyKeyspaceEvents: found "E"; allowed: A, K and E at least/],
  [{ secondaryZoneId: 'cn-hangzhou-h' }, /secondaryZoneId: found "cn-hangzhou-h" again; allowed: another zone/],
  [{ secondaryZoneId: 'cn-beijing-h' }, /secondaryZoneId: found "cn-beijing-h"; allowed: a zone of cn-hangzhou/],
  [{ engineVersion: '5.0' }, /engineVersion: found "5\.0"; allowed: 6\.0, 7\.0/],
])('refuses %j', async (args, message) => {
  await expect(make(args)).rejects.toThrow(message);
});

test.each([
  ['a'.repeat(32), /32 characters of 1 kinds/],
  ['aA1'.repeat(11), /33 characters of 3 kinds/],
])('a password that the service would refuse is refused, and not shown', (password, message) => {
  expect(() => checkPassword(password, 'app')).toThrow(message);
  expect(() => checkPassword(password, 'app')).not.toThrow(password);
});
