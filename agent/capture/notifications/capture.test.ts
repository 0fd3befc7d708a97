/** The capture at a real server: what clients do, as commands, and nothing of what the agent does. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Registry } from 'prom-client';
import { commandsIn } from '../../../test/sim/redis';
import { freePort } from '../../free-port';
import { Applier } from '../../apply/applier';
import { Batch } from '../../merge/batch';
import type { RedisConnectionOptions } from '../../resp';
import { CURSOR_KEY, ownKeys, OWN_PREFIX } from '../../stream/keys';
import { TestServer, until } from '../testserver';
import { NotificationCapture } from './capture';
import { captureMetrics } from './metrics';

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

/** What `notificationAgentRules` allow (model/capture.ts), and a password. */
const user = [
  '--user',
  ...'agent on >secret ~* &* -@all +@read +@write +@transaction -keys +auth +ping +select'.split(' '),
  ...'+client|setname +time +info +psubscribe'.split(' '),
];

async function startServer(args: string[] = [], client: Partial<RedisConnectionOptions> = {}): Promise<TestServer> {
  const server = await TestServer.start({ args: ['--notify-keyspace-events', 'AKE', ...user, ...args], client });
  cleanUp.push(() => server.stop());
  return server;
}

interface Captured {
  capture: NotificationCapture;
  applier: Applier;
  /** Commands told, without markers and heartbeats, and states in angle brackets. */
  told: string[];
  registry: Registry;
}

async function startCapture(server: TestServer, over: Partial<RedisConnectionOptions> = {}): Promise<Captured> {
  const redis = { host: '127.0.0.1', port: server.port, username: 'agent', password: 'secret', ...over };
  const told: string[] = [];
  const registry = new Registry();
  const capture: NotificationCapture = new NotificationCapture({
    keys: ownKeys(),
    slots: null,
    redis,
    scan: { keysPerSecond: 100_000, bytesPerSecond: 1e9 },
    knownKeysMax: 1e6,
    valueBytesMax: 1e6,
    metrics: captureMetrics(registry, () => capture),
    events: {
      state: (db, payload) => told.push(`<${commandsIn(payload).join(', ')}>`),
      cursor: () => applier.cursorText,
      isAmiss: () => false,
      overwritten: () => undefined,
      evicted: () => undefined,
      unreadable: (_, error) => {
        throw error;
      },
      scanning: () => undefined,
    },
  });
  cleanUp.push(() => capture.close());
  capture.on('close', () => undefined);
  capture.on('data', (bytes) => {
    for (const command of commandsIn(bytes))
      if (!command.includes(OWN_PREFIX) && !/^(MULTI|EXEC|PING)$/.test(command)) told.push(command);
  });
  const connection = await server.client({ username: 'agent', password: 'secret' });
  cleanUp.push(() => connection.close());
  const hooks = {
    readUpTo: () => Promise.resolve(),
    admitAll: () => undefined,
    refused: () => undefined,
    paused: () => undefined,
  };
  const applier = new Applier(connection, hooks, null, capture);
  expect(await capture.connect()).toMatchObject({ kind: 'full', offset: 0 });
  return { capture, applier, told, registry };
}

async function readAll(capture: NotificationCapture): Promise<string[]> {
  const keys: string[] = [];
  for await (const entries of capture.snapshotBatches())
    for (const entry of entries) if (entry.kind === 'key') keys.push(`${entry.db}:${entry.key.toString()}`);
  capture.start();
  return keys.filter((key) => !key.includes(OWN_PREFIX)).sort();
}

test('the snapshot, then what clients do', async () => {
  const server = await startServer();
  await server.run(['SET', 's', 'old'], ['HSET', 'h', 'f', '1', 'g', '1'], ['SELECT', 3], ['SADD', 'three', 'a']);
  const { capture, told } = await startCapture(server);
  expect(await readAll(capture)).toEqual(['0:h', '0:s', '3:three']);
  const tells = async (command: (string | number)[], ...expected: string[]): Promise<void> => {
    told.length = 0;
    await server.run(command);
    await until(() => told.length >= expected.length, 5000, expected.join());
    await sleep(20);
    expect(told).toEqual(expected);
  };
  await tells(['SET', 's', 'new'], 'SET s new');
  await tells(['APPEND', 's', 'er'], 'SET s newer');
  await tells(['SET', 's', 'newer', 'PXAT', 9_000_000_000_000], 'PEXPIREAT s 9000000000000');
  await tells(['PERSIST', 's'], 'PERSIST s');
  await tells(['HSET', 'h', 'f', '2', 'new', '1'], 'HSET h f 2 new 1');
  await tells(['HDEL', 'h', 'g'], 'HDEL h g');
  await tells(['ZADD', 'z', '1.5', 'm'], 'ZADD z 1.5 m');
  await tells(['RPUSH', 'l', 'a', 'b'], '<DEL l, RPUSH l a b>');
  await tells(['LPOP', 'l'], '<DEL l, RPUSH l b>');
  await tells(['RENAME', 's', 't'], 'DEL s', 'SET t newer');
  await tells(['DEL', 't'], 'DEL t');
});

test('a key that expires is told as Redis itself would tell of it', async () => {
  const server = await startServer();
  const { capture, told } = await startCapture(server);
  await readAll(capture);
  await server.run(['SET', 'soon', '1', 'PX', '60']);
  await until(() => told.length > 0, 5000, 'SET');
  expect(told[0]).toMatch(/^SET soon 1 PXAT \d+$/);
  await sleep(80);
  await server.run(['EXISTS', 'soon']);
  await until(() => told.length > 1, 5000, 'UNLINK');
  expect(told.slice(1)).toEqual(['UNLINK soon']);
});

test("what the agent applies is not told, and a client's write beside it is, before it", async () => {
  const server = await startServer();
  await server.run(['SADD', 'set', 'a', 'b']);
  const { capture, applier, told, registry } = await startCapture(server);
  await readAll(capture);
  const stream: string[] = [];
  capture.on('data', (bytes) => stream.push(bytes.toString('latin1')));
  const batch = new Batch();
  for (let i = 0; i < 50; i++) batch.select(i % 2).command(['SET', `k${i}`, 'applied', 'PX', '100000']);
  batch.select(0).command(['SADD', 'set', 'theirs']);
  // A client gets in between: nobody has been told of it when the block runs.
  await server.run(
    ['CONFIG', 'SET', 'notify-keyspace-events', ''],
    ['SADD', 'set', 'mine'],
    ['CONFIG', 'SET', 'notify-keyspace-events', 'AKE'],
  );
  await applier.apply(batch, '1 b:1 0 ');
  expect(told).toEqual(['SADD set mine']);
  expect(stream.join('').indexOf('mine')).toBeLessThan(stream.join('').indexOf(CURSOR_KEY));
  await server.run(['SADD', 'set', 'later']);
  await until(() => told.length > 1, 5000, 'what came later');
  await sleep(100);
  expect(told).toEqual(['SADD set mine', 'SADD set later']);
  const value = async (name: string): Promise<number> => (await registry.getSingleMetric(name)!.get()).values[0]!.value;
  expect(await value('meridian_capture_echoes_total')).toBeGreaterThanOrEqual(51);
  expect(await value('meridian_capture_read_backs_total')).toBe(1);
});

test('what was not notified is found, FLUSHDB too', async () => {
  const server = await startServer();
  await server.run(...Array.from({ length: 500 }, (_, i) => ['SET', `k${i}`, 'v']));
  const { capture, told } = await startCapture(server);
  expect(await readAll(capture)).toHaveLength(500);
  await server.run(
    ['CONFIG', 'SET', 'notify-keyspace-events', ''],
    ['SET', 'k7', 'silent'],
    ['DEL', 'k8'],
    ['CONFIG', 'SET', 'notify-keyspace-events', 'AKE'],
  );
  await until(() => told.length >= 2, 10_000, 'the silent writes');
  expect([...told].sort()).toEqual(['DEL k8', 'SET k7 silent']);
  told.length = 0;
  await server.run(['FLUSHDB']);
  await until(() => told.length >= 499, 10_000, 'the flushed keys');
  expect(new Set(told).size).toBe(499);
  expect(told.every((command) => command.startsWith('DEL k'))).toBe(true);
});

test('over TLS', async () => {
  const port = await freePort();
  const server = await startServer();
  const file = (name: string): string => path.join(server.dir, name);
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=redis',
      '-addext',
      'subjectAltName=DNS:redis',
      '-keyout',
      file('key.pem'),
      '-out',
      file('cert.pem'),
    ],
    { stdio: 'ignore' },
  );
  await server.run(
    [
      'CONFIG',
      'SET',
      'tls-cert-file',
      file('cert.pem'),
      'tls-key-file',
      file('key.pem'),
      'tls-ca-cert-file',
      file('cert.pem'),
      'tls-auth-clients',
      'no',
      'tls-port',
      port,
    ],
    ['SET', 'k', 'v'],
  );
  const tls = { ca: readFileSync(file('cert.pem')), servername: 'redis' };
  const { capture, told } = await startCapture(server, { port, tls });
  expect(await readAll(capture)).toEqual(['0:k']);
  await server.run(['SET', 'k', 'w']);
  await until(() => told.length > 0, 5000, 'the write');
  expect(told).toEqual(['SET k w']);
});
