import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { RedisConnection, ReplyError } from '../agent/resp';
import { parseStackConfig } from '../model';
import { type StackLayout, layoutOf, stateDirOf } from './layout';
import { agentUser, quote, renderRedisConf } from './redis-conf';
import { Cleanup, freeBasePort, redisBinary, until } from './testing';

const secrets = { password: 'open-sesame', agentPassword: 'agents-only' };
const binary = { path: '/usr/bin/redis-server', flavour: 'redis', version: '7.0.15' } as const;
const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function layout(root: string, overrides: Record<string, unknown> = {}, basePort = 7500): StackLayout {
  const result = parseStackConfig({
    regions: [
      { name: 'a', weight: 60, primary: true, backend: 'local', replicas: 1 },
      { name: 'b', weight: 40, backend: 'local', replicas: 0 },
    ],
    ...overrides,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return layoutOf('test', result.config, basePort, stateDirOf(root));
}

function render(stack: StackLayout, region = 0, replica?: number, version = '7.0.15', agents = true): string {
  const at = stack.regions[region];
  const node = replica === undefined ? at?.redis : at?.replicas[replica];
  if (at === undefined || node === undefined) throw new Error('no such node');
  return renderRedisConf({ config: stack.config, region: at, node, binary: { ...binary, version }, secrets, agents });
}

test('a primary never evicts, and says expiry and eviction by UNLINK', () => {
  const lines = render(layout('/tmp/x')).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'bind 127.0.0.1',
      'port 7500',
      'appendonly yes',
      'appendfsync everysec',
      'save ""',
      'maxmemory-policy noeviction',
      'lazyfree-lazy-expire yes',
      'lazyfree-lazy-eviction yes',
      'lazyfree-lazy-user-del no',
      'lazyfree-lazy-server-del no',
      'repl-diskless-sync yes',
      'repl-diskless-sync-delay 0',
    ]),
  );
  expect(lines.filter((line) => line.startsWith('replicaof'))).toEqual([]);
});

test('a cache stack evicts', () => {
  expect(render(layout('/tmp/x', { redis: { use: 'cache' } }))).toContain('maxmemory-policy allkeys-lru\n');
});

test('a replica follows its primary, with a user of its own', () => {
  const conf = render(layout('/tmp/x'), 0, 0);
  expect(conf).toContain('replicaof 127.0.0.1 7500\n');
  expect(conf).toContain(`masteruser ${agentUser}\n`);
  expect(conf).toContain('port 7501\n');
});

test('min-replicas-to-write counts the agent in semi-sync only, and never more replicas than there are', () => {
  const of = (mode: string, region: number): string | undefined =>
    /min-replicas-to-write (\d)/.exec(render(layout('/tmp/x', { replication: { mode } }), region))?.[1];
  expect([of('async', 0), of('async', 1), of('semi-sync', 0), of('semi-sync', 1)]).toEqual(['1', '0', '2', '1']);
});

test('a region by notifications reports everything, and its agent may do what it may at a managed service', () => {
  const stack = layout('/tmp/x', {
    regions: [
      { name: 'a', weight: 60, primary: true, backend: 'local', replicas: 1, capture: 'notifications' },
      { name: 'b', weight: 40, backend: 'local', replicas: 0 },
    ],
    replication: { mode: 'async', acceptWholeKeyMerge: true },
  });
  const lines = render(stack).split('\n');
  expect(lines.filter((line) => line.startsWith('notify-'))).toEqual(['notify-keyspace-events AKE']);
  expect(lines.find((line) => line.startsWith(`user ${agentUser} `))).toMatch(/ -@all \+@read .*\+psubscribe/);
  // Replicas are no agents: they follow as somebody who may.
  expect(lines).toEqual(expect.arrayContaining(['masteruser default', 'min-replicas-to-write 1']));
  expect(render(stack, 1)).toContain('notify-keyspace-events Egxe\n');
});

test("users' passwords stand there as digests only", () => {
  const conf = render(layout('/tmp/x'));
  expect(conf).not.toContain(secrets.password);
  expect(conf).toMatch(/^user default on #[0-9a-f]{64} ~\* &\* \+@all$/m);
  expect(conf).toMatch(/^user read on #[0-9a-f]{64} ~\* &\* -@all .*\+@read$/m);
});

test('6.2 gets no directive that it does not know', () => {
  expect(render(layout('/tmp/x'), 0, undefined, '6.2.14')).not.toContain('shutdown-timeout');
  expect(render(layout('/tmp/x'), 0, undefined, '8.0.2')).toContain('shutdown-timeout');
});

test('quotes paths as redis.conf reads them', () => {
  expect(quote('/a b/"c"\\é')).toBe('"/a b/\\"c\\"\\\\\\xc3\\xa9"');
});

test('a real server takes it, in a folder with spaces and quotes', async () => {
  const root = path.join(cleanup.dir(), 'a "strange" dír');
  const stack = layout(root, {}, await freeBasePort());
  const region = stack.regions[1];
  if (region === undefined) throw new Error('no region');
  mkdirSync(region.redis.dir, { recursive: true });
  writeFileSync(region.redis.conf, render(stack, 1, undefined, redisBinary().version, false));
  const child = spawn(redisBinary().path, [region.redis.conf], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  cleanup.add(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const at = { host: '127.0.0.1', port: region.redis.port };
  const connect = (username: string, password: string): Promise<RedisConnection> =>
    RedisConnection.connect({ ...at, username, password });
  await until('the server answers', () =>
    connect('default', secrets.password).then(
      (c) => (c.close(), true),
      () => false,
    ),
  );

  const agent = await connect(agentUser, secrets.agentPassword);
  cleanup.add(() => agent.close());
  expect(String(((await agent.call('CONFIG', 'GET', 'dir')) as Buffer[])[1])).toBe(region.redis.dir);
  const app = await connect('app', secrets.password);
  cleanup.add(() => app.close());
  expect(await app.call('SET', 'k', 'v')).toBe('OK');
  expect(await app.call('MULTI')).toBe('OK');
  expect(await app.call('DISCARD')).toBe('OK');
  expect(await app.call('CONFIG', 'GET', 'dir')).toBeInstanceOf(ReplyError);
  const reader = await connect('read', secrets.password);
  cleanup.add(() => reader.close());
  expect(String(await reader.call('GET', 'k'))).toBe('v');
  expect(await reader.call('SET', 'k', 'w')).toBeInstanceOf(ReplyError);
  await expect(connect('default', 'wrong')).rejects.toThrow(/login/);
});
