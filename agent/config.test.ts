import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  AgentConfigError,
  type AgentConfigInput,
  loadAgentConfig,
  parseAgentConfig,
  readRedisPassword,
  readReplicaPassword,
} from './config';

const least: AgentConfigInput = {
  stack: 'local',
  region: 'eu',
  members: [{ name: 'eu', weight: 50, primary: true }, { name: 'us', weight: 50 }, { name: 'ap' }],
  redis: { port: 6379 },
  listen: { peer: { port: 7000 }, admin: { port: 7001 } },
  tls: { caFile: 'tls/ca.pem', certFile: 'tls/cert.pem', keyFile: '/keys/key.pem' },
  stateDir: 'state',
};

function refused(change: Record<string, unknown>): unknown[] {
  try {
    parseAgentConfig({ ...least, ...change });
  } catch (error) {
    expect(error).toBeInstanceOf(AgentConfigError);
    return [...(error as AgentConfigError).issues];
  }
  throw new Error('expected to be refused');
}

test('the config in docs/own-redis.md is one', () => {
  const page = fs.readFileSync(path.join(__dirname, '../docs/own-redis.md'), 'utf8');
  const [, json] = /```json\n([^]*?)```/.exec(page)!;
  expect(parseAgentConfig(JSON.parse(json!))).toMatchObject({ region: 'paris', replication: { dryRun: true } });
});

test('the one in docs/cluster.md, too, in what it says of Redis', () => {
  const page = fs.readFileSync(path.join(__dirname, '../docs/cluster.md'), 'utf8');
  const [, redis] = /"redis": (\{[^]*?\}\s*\}),?\s*…/.exec(page)!;
  expect(
    parseAgentConfig({ ...least, redis: JSON.parse(redis!) as AgentConfigInput['redis'] }).redis.cluster,
  ).toMatchObject({
    slots: '0-5460',
  });
});

test('what is left out has its default, and paths are relative to the file', () => {
  const config = parseAgentConfig(least, 'test', '/etc/meridian');
  expect(config).toMatchObject({
    redis: { host: '127.0.0.1', port: 6379, databases: 16 },
    listen: { peer: { host: '127.0.0.1', port: 7000 } },
    peers: [],
    tls: { caFile: '/etc/meridian/tls/ca.pem', keyFile: '/keys/key.pem' },
    stateDir: '/etc/meridian/state',
    replication: { mode: 'semi-sync', semiSyncRegions: 1, maxLagMs: 1000, heartbeatMs: 25, compression: 'auto' },
    journal: { bytesMax: 8 * 1024 ** 3, segmentBytes: 64 * 1024 ** 2, tailBytes: 1024 ** 2, fsync: true },
    limits: {
      applyBatchBytes: 1024 ** 2,
      applyBatchOps: 4000,
      inboxBytes: 16 * 1024 ** 2,
      transactionBytes: 256 * 1024 ** 2,
    },
    log: {},
  });
  expect(config.members[2]).toEqual({ name: 'ap', weight: 0, primary: false });
  expect(config.listen.replica).toBeUndefined();
});

test('everything can be set', () => {
  const full: AgentConfigInput = {
    ...least,
    redis: {
      host: 'redis',
      port: 6380,
      username: 'meridian',
      passwordFile: '/run/secrets/redis',
      tls: { caFile: 'ca', certFile: 'cert', keyFile: 'key', serverName: 'redis.eu' },
      sentinels: [{ host: 's1', port: 26379 }],
      sentinelName: 'main',
      sentinelLogin: true,
      databases: 32,
    },
    listen: {
      peer: { host: '::', port: 0 },
      admin: { port: 0 },
      replica: { host: '10.0.0.1', port: 6390, username: 'sentinel', passwordFile: 'replica', tls: true },
    },
    peers: [{ region: 'us', host: 'us.example', port: 7000 }],
    replication: { mode: 'async', compression: 'none' },
    log: { level: 'debug' },
  };
  const config = parseAgentConfig(full, 'test', '/base');
  expect(config.redis.tls).toEqual({
    caFile: '/base/ca',
    certFile: '/base/cert',
    keyFile: '/base/key',
    serverName: 'redis.eu',
  });
  expect(config.peers).toEqual(full.peers);
  expect(config.listen.replica?.passwordFile).toBe('/base/replica');
  expect(parseAgentConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
});

test("TLS without an authority is trust in those that any system trusts, not in a file called 'undefined'", () => {
  const { redis } = parseAgentConfig({ ...least, redis: { port: 6380, tls: {} } }, 'test', '/base');
  expect(redis.tls).toEqual({});
});

const passwordHint =
  'passwordFile, or the environment variable MERIDIAN_REDIS_PASSWORD: no secret stands in the config';

test.each<[string, Record<string, unknown>, unknown]>([
  [
    'nothing',
    { redis: undefined },
    { path: 'redis', found: 'nothing', allowed: expect.stringMatching(/^a mapping with host, port/) },
  ],
  [
    'a password',
    { redis: { port: 1, password: 'canary' } },
    { path: 'redis.password', found: 'an unknown key', allowed: passwordHint },
  ],
  [
    'an unknown key',
    { replication: { maxLag: 5 } },
    {
      path: 'replication.maxLag',
      found: 'an unknown key',
      allowed:
        "mode, semiSyncRegions, maxLagMs, heartbeatMs, maxRedialMs, compression, flush, dryRun (did you mean 'maxLagMs'?)",
    },
  ],
  [
    'a port as text',
    { redis: { port: '6379' } },
    { path: 'redis.port', found: '"6379"', allowed: 'a whole number from 1 to 65535 (a TCP port)' },
  ],
  [
    'an unknown choice',
    { replication: { mode: 'sync' } },
    { path: 'replication.mode', found: '"sync"', allowed: 'async, semi-sync' },
  ],
  [
    'a bad name in a list',
    { members: [{ name: 'eu' }, { name: 'US East' }] },
    {
      path: 'members[1].name',
      found: '"US East"',
      allowed: 'the name of a region: lower-case letters, digits and hyphens',
    },
  ],
  [
    'a region twice',
    { members: [{ name: 'eu' }, { name: 'eu' }] },
    { path: 'members[1].name', found: '"eu", the name of members[0] too', allowed: 'a name of its own' },
  ],
  [
    'two primaries',
    {
      members: [
        { name: 'eu', primary: true },
        { name: 'us', primary: true },
      ],
    },
    { path: 'members', found: 'more than one with primary: true', allowed: 'primary: true at one region at most' },
  ],
  [
    'a region that is no member',
    { region: 'sa' },
    { path: 'region', found: '"sa"', allowed: 'a name in members: eu, us, ap' },
  ],
  [
    'a peer that is no member',
    { peers: [{ region: 'sa', host: 'h', port: 1 }] },
    { path: 'peers[0].region', found: '"sa"', allowed: 'a name in members: eu, us, ap' },
  ],
  [
    'itself as a peer',
    { peers: [{ region: 'eu', host: 'h', port: 1 }] },
    { path: 'peers[0].region', found: '"eu", this very region', allowed: 'another region' },
  ],
  [
    'a peer twice',
    {
      peers: [
        { region: 'us', host: 'h', port: 1 },
        { region: 'us', host: 'h', port: 2 },
      ],
    },
    { path: 'peers[1].region', found: '"us", as at peers[0] too', allowed: 'each region once' },
  ],
  [
    'Sentinels without a name',
    { redis: { port: 1, sentinels: [{ host: 'h', port: 1 }] } },
    { path: 'redis', found: 'sentinels without sentinelName', allowed: 'both or none' },
  ],
  [
    'half a certificate',
    { redis: { port: 1, tls: { caFile: 'a', certFile: 'b' } } },
    { path: 'redis.tls', found: 'certFile without keyFile', allowed: 'both or none' },
  ],
  [
    'segments as large as the journal',
    { journal: { bytesMax: 1024 ** 2, segmentBytes: 1024 ** 2 } },
    { path: 'journal.segmentBytes', found: '1048576', allowed: 'a quarter of bytesMax (1048576) or less' },
  ],
  [
    'a lag below what can be measured',
    { replication: { maxLagMs: 100, heartbeatMs: 100 } },
    {
      path: 'replication.maxLagMs',
      found: '100',
      allowed: 'twice heartbeatMs (100) or more: lag is measured by heartbeats',
    },
  ],
])('%s is refused: path, found, allowed', (_, change, issue) => {
  expect(refused(change)).toEqual([issue]);
});

test('an error never shows what may be a secret', () => {
  expect(JSON.stringify(refused({ redis: { port: { password: 'canary' }, password: 'canary' } }))).not.toContain(
    'canary',
  );
  expect(() => parseAgentConfig('canary: a whole file that is no mapping', 'f')).toThrow(/^f:\nthe whole: found/);
});

describe('on disk', () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meridian-config-'));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  const write = (name: string, text: string): string => {
    const file = path.join(dir, name);
    fs.writeFileSync(file, text);
    return file;
  };

  test('the file is read, and paths in it are relative to it', () => {
    const config = loadAgentConfig(write('agent.json', JSON.stringify(least)));
    expect(config.stateDir).toBe(path.join(dir, 'state'));
  });

  test('a missing file and one that is not JSON are errors that name it and quote nothing', () => {
    const missing = path.join(dir, 'none.json');
    expect(() => loadAgentConfig(missing)).toThrow(`${missing}:\nthe file: found no readable file (ENOENT)`);
    const broken = write('broken.json', '{"password": canary}');
    expect(() => loadAgentConfig(broken)).toThrow(`${broken}:\nthe file: found text that is not JSON`);
    expect(() => loadAgentConfig(broken)).not.toThrow(/canary/);
  });

  test('the password comes from its file, else from the environment, else there is none', () => {
    const env = { MERIDIAN_REDIS_PASSWORD: 'from-env' };
    const plain = parseAgentConfig(least);
    expect(readRedisPassword(plain, env)).toBe('from-env');
    expect(readRedisPassword(plain, { MERIDIAN_REDIS_PASSWORD: '' })).toBeUndefined();
    expect(readRedisPassword(plain, {})).toBeUndefined();
    const passwordFile = write('password', ' from-file\n');
    const withFile = parseAgentConfig({ ...least, redis: { port: 1, passwordFile } });
    expect(readRedisPassword(withFile, env)).toBe('from-file');
    fs.writeFileSync(passwordFile, '\n');
    expect(() => readRedisPassword(withFile, env)).toThrow('which is empty');
    fs.rmSync(passwordFile);
    expect(() => readRedisPassword(withFile, env)).toThrow('which cannot be read (ENOENT)');
  });
});

test("Sentinel logs in to the replica port by its own password, else by the agent's", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meridian-config-'));
  try {
    fs.writeFileSync(path.join(dir, 'sentinel'), 'theirs\n');
    const replica = (more: object) =>
      parseAgentConfig({ ...least, listen: { ...least.listen, replica: { port: 0, ...more } } }, 'test', dir);
    const env = { MERIDIAN_REDIS_PASSWORD: 'ours' };
    expect(readReplicaPassword(replica({ passwordFile: 'sentinel' }), env)).toBe('theirs');
    expect(readReplicaPassword(replica({}), env)).toBe('ours');
    expect(() => readReplicaPassword(replica({ passwordFile: 'none' }), env)).toThrow(
      /listen.replica.passwordFile: found .*none, which cannot be read \(ENOENT\)/,
    );
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('capture by notifications: what it is, and what it excludes', () => {
  expect(parseAgentConfig(least).redis).toMatchObject({
    capture: 'psync',
    scan: { keysPerSecond: 2000, bytesPerSecond: 8 * 1024 ** 2 },
  });
  const redis = { port: 6379, capture: 'notifications' };
  const replication = { mode: 'async' };
  expect(parseAgentConfig({ ...least, redis, replication }).redis.capture).toBe('notifications');
  expect(refused({ redis, listen: { ...least.listen, replica: { port: 7002 } } })).toEqual([
    {
      path: 'replication.mode',
      found: 'semi-sync, with redis.capture notifications',
      allowed: 'async: nothing can be held back there',
    },
    {
      path: 'listen.replica',
      found: 'a mapping, with redis.capture notifications',
      allowed: 'nothing: the agent is no replica there',
    },
  ]);
  expect(refused({ redis: { ...redis, capture: 'scan' } })).toEqual([
    { path: 'redis.capture', found: '"scan"', allowed: 'psync, notifications' },
  ]);
});

test('a shard of a cluster: its slots, and what it excludes', () => {
  const cluster = { slots: '0-99, 200', nodes: [{ host: 'b', port: 6379 }] };
  expect(parseAgentConfig({ ...least, redis: { port: 6379, cluster } }).redis.cluster).toEqual(cluster);
  for (const slots of ['', 'all', '5-4', '0-16384', '1-3 3-5'])
    expect(refused({ redis: { port: 6379, cluster: { slots } } })).toEqual([
      {
        path: 'redis.cluster.slots',
        found: JSON.stringify(slots),
        allowed: 'slots of a Redis Cluster, such as 0-5460, or several ranges separated by spaces',
      },
    ]);
  const sentinels = [{ host: 's', port: 26379 }];
  expect(refused({ redis: { port: 6379, cluster, sentinels, sentinelName: 'x' } })).toEqual([
    {
      path: 'redis.sentinels',
      found: 'a list of 1, with redis.cluster',
      allowed: 'nothing: a cluster elects its primaries itself',
    },
  ]);
});
