import * as pulumi from '@pulumi/pulumi';

import { SystemUser } from '../../model';
import { pickPasswords } from '../common';
import { freePorts, Region, smallConf, until } from '../testing/redis';
import { valueOf } from '../testing';
import { accountsOf, checkedNetwork, isNetwork, kindsOf, networkIssues, passwordsOf, readers, requireNetwork } from '.';

describe('allow lists', () => {
  test.each([
    ['10.0.0.0/8', true],
    ['10.1.2.0/24', true],
    ['192.168.1.7/32', true],
    ['0.0.0.0/0', false],
    ['0.0.0.0/1', false],
    ['128.0.0.0/1', false],
    ['0.0.0.0/8', false],
    ['0.0.0.0', false],
    ['10.0.0.0', false],
    ['10.0.0.0/33', false],
    ['10.0.0.0/016', false],
    ['10.0.0.0/8/8', false],
    ['::/0', false],
    ['fd00::/8', false],
    ['everywhere', false],
    ['', false],
  ])('%j is let in: %s', (text, is) => expect(isNetwork(text)).toBe(is));

  test('what is known is refused before deploying, the rest when it is known', async () => {
    const vpc = pulumi.output('0.0.0.0/0');
    expect(networkIssues('clientCidrs', { vpc, office: '0.0.0.0/0', apps: '10.0.0.0/16' })).toEqual([
      { path: 'clientCidrs.office', found: '"0.0.0.0/0"', allowed: expect.stringContaining('never 0.0.0.0/0') },
    ]);
    const late = (): string => requireNetwork('clientCidrs.vpc', '0.0.0.0/0');
    expect(late).toThrow(/^clientCidrs\.vpc: found "0\.0\.0\.0\/0"; allowed: an IPv4 network/);
    expect(late).toThrow(pulumi.RunError);
    expect((await valueOf(checkedNetwork('clientCidrs.vpc', '10.0.0.0/16'))).value).toBe('10.0.0.0/16');
  });
});

describe('accounts', () => {
  test('where there are two privileges only', () => {
    expect(readers()).toEqual({
      app: false,
      read: true,
      admin: false,
      [SystemUser.Agent]: false,
      [SystemUser.Exporter]: true,
    });
    expect(readers({ feed: ['+@read', '+publish'] })).toMatchObject({ feed: false });
  });

  test('a user without a password is refused, and the others are secret', async () => {
    const all = pulumi.output({ app: ['one', 'two'] });
    expect(await valueOf(passwordsOf(all, 'app'))).toEqual({ value: ['one', 'two'], secret: true });
    expect(() => pickPasswords({ app: ['one'] }, 'read')).toThrow(/userPasswords: found none for read/);
  });

  test.each([
    ['aaaa', 1],
    ['aA1', 3],
    ['aA1-', 4],
  ])('%s is of %s kinds', (password, kinds) => expect(kindsOf(password)).toBe(kinds));
});

describe('the rules, at a real Redis', () => {
  let region: Region;
  let port: number;
  beforeAll(async () => {
    [port = 0] = await freePorts(1);
    region = new Region(smallConf);
    region.first = `127.0.0.1 ${port}`;
    region.startRedis(port);
    await until('Redis answers', () => region.cli(port, ['PING']) === 'PONG');
    for (const [user, rules] of Object.entries(accountsOf()))
      expect(region.cli(port, ['ACL', 'SETUSER', `m-${user}`, 'on', '>word', ...rules])).toBe('OK');
  });
  afterAll(() => region.close());

  const ok = /^OK$/;
  const denied = /has no permissions/;
  test.each([
    [SystemUser.Agent, ['PSUBSCRIBE', '__keyevent@*__:*'], ok],
    [SystemUser.Agent, ['DUMP', 'k'], ok],
    [SystemUser.Agent, ['PEXPIRETIME', 'k'], ok],
    [SystemUser.Agent, ['RESTORE', 'k', '0', 'x', 'REPLACE'], ok],
    [SystemUser.Agent, ['SCAN', '0'], ok],
    [SystemUser.Agent, ['MULTI'], ok],
    [SystemUser.Agent, ['FLUSHALL'], ok],
    [SystemUser.Agent, ['INFO', 'replication'], ok],
    [SystemUser.Agent, ['CONFIG', 'GET', '*'], denied],
    [SystemUser.Agent, ['ACL', 'LIST'], denied],
    [SystemUser.Agent, ['PSYNC', '?', '-1'], denied],
    [SystemUser.Exporter, ['INFO', 'all'], ok],
    [SystemUser.Exporter, ['GET', 'k'], denied],
    ['app', ['SET', 'k', 'v'], ok],
    ['app', ['FLUSHALL'], ok],
    ['read', ['SET', 'k', 'v'], denied],
  ])('%s: %j', (user, command, reply) => {
    expect(region.cli(port, ['ACL', 'DRYRUN', `m-${user}`, ...command])).toMatch(reply);
  });
});
