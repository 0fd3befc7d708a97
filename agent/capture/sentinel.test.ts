import { mkdtempSync, rmSync, writeFileSync } from 'fs';
import { tmpdir } from 'os';
import { join } from 'path';
import { freePort } from '../free-port';
import { CommandWriter, RedisConnection, type Reply } from '../resp';
import { type Address, decide, Locator } from './locate';
import { ReplicaLink } from './replica-link';
import { ReplicaPort } from './replica-port';
import { askRole, parseRole, type RedisRole } from './role';
import { createCa, issueCertificate } from '../peers/certificates';
import { TestServer, until } from './testserver';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(opts: Parameters<typeof TestServer.start>[0] = {}): Promise<TestServer> {
  const server = await TestServer.start(opts);
  cleanups.push(() => server.stop());
  return server;
}

async function role(server: TestServer): Promise<RedisRole> {
  const client = await server.client();
  try {
    const answer = await askRole(client);
    if (answer instanceof Error) throw answer;
    return answer;
  } finally {
    client.close();
  }
}

/** An agent as Sentinel sees it: a link that acknowledges, and the port behind it. */
async function agentBeside(
  primary: Address,
): Promise<{ port: ReplicaPort; moves: Address[]; link: () => ReplicaLink }> {
  const port = new ReplicaPort(
    { host: '127.0.0.1' },
    { primaryHost: primary.host, primaryPort: primary.port, linkUp: false, offset: 0 },
  );
  await port.listen();
  let current: ReplicaLink | null = null;
  let stopped = false;
  const moves: Address[] = [];
  const follow = async (to: Address): Promise<void> => {
    current?.close();
    const link = new ReplicaLink({ ...to, announcePort: port.port, announceHost: '127.0.0.1' });
    current = link;
    const report = (): void => {
      port.update({ offset: link.position });
      link.ack(link.position);
    };
    link.on('data', report);
    link.on('close', () => link === current && port.update({ linkUp: false, linkDownSinceMs: Date.now() }));
    try {
      await link.connect(null);
      for await (const _ of link.snapshot());
      port.update({ linkUp: true, offset: link.position });
      report();
    } catch {
      if (!stopped && link === current) setTimeout(() => void follow(to), 100);
    }
  };
  port.on('replicaof', (target) => {
    if (target === null) return;
    moves.push(target);
    void follow(target);
  });
  await follow(primary);
  cleanups.push(async () => {
    stopped = true;
    current?.close();
    await port.close();
  });
  return { port, moves, link: () => current as ReplicaLink };
}

test('decide: more than half of the configured Sentinels, the rest is no answer', () => {
  const a = { host: 'a', port: 1, epoch: 1 };
  const b = { host: 'b', port: 1, epoch: 2 };
  expect(decide([a, a, a])).toEqual(a);
  expect(decide([a, b, b])).toEqual(b);
  expect(decide([a, null, a])).toEqual(a);
  expect(decide([a, null, null])).toBeNull();
  expect(decide([a, b, null])).toBeNull();
  expect(decide([a, b])).toBeNull();
  expect(decide([a])).toEqual(a);
  expect(decide([])).toBeNull();
  expect(decide([a, { ...a, epoch: 7 }, null])).toEqual({ ...a, epoch: 7 });
});

test('role: primary, replica, and what a failover leaves', async () => {
  const primary = await start();
  const replica = await start({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
  await until(async () => (await role(replica)).linkUp);
  await until(async () => (await role(primary)).replicas[0]?.state === 'online');
  const p = await role(primary);
  expect(p).toMatchObject({ role: 'primary', connectedReplicas: 1, replId2: null, secondOffset: null });
  expect(p.replicas[0]).toMatchObject({ port: replica.port, state: 'online' });
  const r = await role(replica);
  expect(r).toMatchObject({ role: 'replica', replId: p.replId, primaryHost: '127.0.0.1', primaryPort: primary.port });
  await replica.run(['REPLICAOF', 'NO', 'ONE']);
  expect(await role(replica)).toMatchObject({ role: 'primary', replId2: p.replId });
  expect((await role(replica)).secondOffset).toBeGreaterThan(0);
  expect(parseRole('nonsense')).toBeNull();
});

test('a fixed address: found while primary, reported when not', async () => {
  const server = await start();
  const locator = new Locator({ kind: 'fixed', address: { host: '127.0.0.1', port: server.port }, pollMs: 50 });
  cleanups.push(() => locator.stop());
  const found: Address[] = [];
  locator.on('primary', (address) => found.push(address));
  locator.start();
  await until(() => found.length === 1);
  await server.run(['REPLICAOF', '127.0.0.1', 1]);
  await until(() => locator.located?.state === 'NOT_PRIMARY');
  await server.stop();
  await until(() => locator.located?.state === 'UNREACHABLE');
  expect(found.length).toBe(1);
});

test('a bare FAILOVER that chooses the agent is turned down at once and the primary goes on', async () => {
  const primary = await start();
  await agentBeside({ host: '127.0.0.1', port: primary.port });
  await until(async () => (await role(primary)).replicas[0]?.state === 'online');
  await primary.run(['SET', 'k', '1'], ['FAILOVER']);
  const began = Date.now();
  await until(async () => (await role(primary)).failoverState === 'no-failover', 10_000, 'the end of FAILOVER');
  expect(Date.now() - began).toBeLessThan(3000);
  await primary.run(['SET', 'k', '2']);
  expect((await role(primary)).role).toBe('primary');
});

test('the port shows another certificate from the next connection on', async () => {
  const issued = async () => {
    const ca = await createCa({ stack: 'test' });
    const { cert, key } = await issueCertificate(ca, { stack: 'test', region: 'west' });
    return { ca: ca.cert, cert, key };
  };
  const [old, young] = [await issued(), await issued()];
  const port = new ReplicaPort(
    { host: '127.0.0.1', tls: old },
    { primaryHost: 'h', primaryPort: 1, linkUp: true, offset: 5 },
  );
  await port.listen();
  cleanups.push(() => port.close());
  const connect = (ca: string) =>
    RedisConnection.connect({ host: '127.0.0.1', port: port.port, tls: { ca, servername: 'localhost' } });
  const before = await connect(old.ca);
  cleanups.push(() => before.close());
  port.renew(young);
  await expect(connect(old.ca)).rejects.toMatchObject({ code: 'CONNECT' });
  const after = await connect(young.ca);
  cleanups.push(() => after.close());
  for (const client of [before, after]) expect(await client.call('PING')).toBe('PONG');
});

test('the port answers what it must, and nothing without the password', async () => {
  const port = new ReplicaPort(
    { host: '127.0.0.1', password: 'pw' },
    { primaryHost: 'h', primaryPort: 1, linkUp: true, offset: 5 },
  );
  await port.listen();
  cleanups.push(() => port.close());
  const at = { host: '127.0.0.1', port: port.port };
  const stranger = await RedisConnection.connect(at);
  expect(await stranger.call('INFO')).toMatchObject({ code: 'NOAUTH' });
  stranger.close();
  await expect(RedisConnection.connect({ ...at, password: 'no' })).rejects.toMatchObject({ code: 'AUTH' });
  const client = await RedisConnection.connect({ ...at, password: 'pw', name: 'x' });
  cleanups.push(() => client.close());
  const calls: [string[], Reply][] = [
    [['PING'], 'PONG'],
    [['PSYNC', 'x', '1', 'FAILOVER'], expect.objectContaining({ code: 'ERR' }) as never],
    [['SLAVEOF', 'NO', 'ONE'], expect.objectContaining({ code: 'ERR' }) as never],
    [['ROLE'], [Buffer.from('slave'), Buffer.from('h'), 1, Buffer.from('connected'), 5]],
    [['PUBLISH', '__sentinel__:hello', 'x'], 0],
    [['NOSUCH'], expect.objectContaining({ code: 'ERR' }) as never],
  ];
  for (const [args, reply] of calls) expect(await client.call(...args)).toEqual(reply);
  const moved: unknown[] = [];
  port.on('replicaof', (target) => moved.push(target));
  const block = new CommandWriter();
  block.command(['MULTI']).command(['SLAVEOF', 'other', 7]).command(['CONFIG', 'REWRITE']);
  block.command(['CLIENT', 'KILL', 'TYPE', 'normal']).command(['EXEC']);
  expect((await client.transaction(block.take(), 3)).result).toEqual(['OK', 'OK', 0]);
  expect(moved).toEqual([{ host: 'other', port: 7 }]);
  const info = String(await client.call('INFO', 'replication'));
  expect(info).toContain('slave_priority:0');
  expect(info).toContain('master_host:other');
  expect(info).toContain('master_link_status:down');
});

test('Sentinel fails over to the real replica, the agent follows, the locator tells', async () => {
  const primary = await start();
  const replica = await start({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
  const agent = await agentBeside({ host: '127.0.0.1', port: primary.port });
  const sentinels: Address[] = [];
  for (let i = 0; i < 3; i++) {
    const dir = mkdtempSync(join(tmpdir(), 'meridian-sentinel-'));
    cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
    const port = await freePort();
    const configFile = join(dir, 'sentinel.conf');
    writeFileSync(
      configFile,
      [
        `dir ${dir}`,
        `sentinel monitor mymaster 127.0.0.1 ${primary.port} 2`,
        'sentinel down-after-milliseconds mymaster 1000',
        'sentinel failover-timeout mymaster 10000',
        'sentinel parallel-syncs mymaster 1',
        '',
      ].join('\n'),
    );
    await start({ sentinel: true, configFile, port, dir });
    sentinels.push({ host: '127.0.0.1', port });
  }
  const locator = new Locator({ kind: 'sentinel', sentinels, masterName: 'mymaster', pollMs: 500 });
  cleanups.push(() => locator.stop());
  const found: number[] = [];
  locator.on('primary', (address) => found.push(address.port));
  locator.start();
  await until(() => found.length > 0);
  expect(found).toEqual([primary.port]);

  const ask = await RedisConnection.connect({ host: '127.0.0.1', port: (sentinels[0] as Address).port });
  cleanups.push(() => ask.close());
  // Sentinel reads the replicas from the primary's INFO every 10 s, and the other Sentinels by their hellos.
  await until(
    async () => {
      const reply = (await ask.call('SENTINEL', 'MASTER', 'mymaster')) as Buffer[];
      const fields = new Map<string, string>();
      for (let i = 0; i < reply.length; i += 2) fields.set(String(reply[i]), String(reply[i + 1]));
      return fields.get('num-slaves') === '2' && fields.get('num-other-sentinels') === '2';
    },
    40_000,
    'what Sentinel must know',
  );
  // It knows the agent, does not show it, and finds it in good health.
  const shown = (await ask.call('SENTINEL', 'REPLICAS', 'mymaster')) as Buffer[][];
  await until(
    async () => {
      const list = (await ask.call('SENTINEL', 'REPLICAS', 'mymaster')) as Buffer[][];
      const flags = list.map((fields) => {
        const text = fields.map(String);
        return `${text[text.indexOf('port') + 1]} ${text[text.indexOf('flags') + 1]}`;
      });
      return !flags.some((f) => f.includes('down'));
    },
    20_000,
    'healthy replicas',
  );
  expect(shown.length).toBeGreaterThan(0);

  await primary.stop();
  const began = Date.now();
  await until(() => found.includes(replica.port), 30_000, 'the new primary');
  const tookMs = Date.now() - began;
  expect(tookMs).toBeLessThan(15_000);
  await until(() => agent.moves.some((m) => m.port === replica.port), 30_000, 'REPLICAOF to the agent');
  await until(async () => (await role(replica)).replicas.some((r) => r.port === agent.port.port), 20_000, 'the agent');
  expect((await role(replica)).role).toBe('primary');
  expect(found).toEqual([primary.port, replica.port]);
}, 120_000);
