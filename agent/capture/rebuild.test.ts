/** Snapshots of real servers, rebuilt by commands in a real server, and read from it again. */
import { execFileSync } from 'child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'fs';
import { tmpdir } from 'os';
import { join } from 'path';
import { freePort } from '../free-port';
import { CommandWriter, RedisConnection, ReplyError } from '../resp';
import { decodeDump, encodeDump, type RdbEntry, type RdbKey, RdbReader, toCommands } from './rdb';
import { ReplicaLink } from './replica-link';
import { serverVersion, TestServer } from './testserver';

const folder = join(__dirname, 'testdata');
const snapshots = readdirSync(folder).filter((f) => f.endsWith('.rdb'));

/** Redis 6.2: streams without counters. */
const legacyStreams = serverVersion() < 7;

const servers: TestServer[] = [];
const links: ReplicaLink[] = [];
afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  for (const server of servers.splice(0)) await server.stop();
});

function read(rdb: Buffer, partElements?: number): RdbEntry[] {
  const reader = new RdbReader(partElements === undefined ? {} : { partElements });
  reader.push(rdb);
  reader.end();
  const entries: RdbEntry[] = [];
  for (let e = reader.next(); e !== null; e = reader.next()) entries.push(e);
  return entries;
}

async function sync(server: TestServer, extra: object = {}): Promise<RdbKey[]> {
  const link = new ReplicaLink({ host: '127.0.0.1', port: server.port, ...extra });
  links.push(link);
  await link.connect(null);
  const keys: RdbKey[] = [];
  for await (const entry of link.snapshot()) if (entry.kind === 'key') keys.push(entry);
  return keys;
}

async function build(server: TestServer, entries: RdbEntry[], chunk: number): Promise<void> {
  const client = await server.client();
  const writer = new CommandWriter();
  let db = 0;
  for (const entry of entries) {
    if (entry.kind === 'key' && entry.db !== db) writer.command(['SELECT', (db = entry.db)]);
    toCommands(entry, writer, { chunk, legacyStreams });
  }
  const count = writer.commands;
  for (const reply of await client.pipeline(writer.take(), count)) {
    if (reply instanceof ReplyError) throw new Error(reply.message);
  }
  client.close();
}

const sorted = (key: RdbKey): unknown => {
  const show = (v: unknown): unknown =>
    Buffer.isBuffer(v) ? v.toString('latin1') : Array.isArray(v) ? v.map(show) : v;
  switch (key.type) {
    case 'set':
    case 'hash':
    case 'zset':
      return (show(key.value) as unknown[]).map((v) => JSON.stringify(v)).sort();
    case 'stream': {
      const { value } = key;
      const exists = new Set(value.entries.map(([id]) => id));
      return {
        ...value,
        ...(legacyStreams ? { entriesAdded: 0, maxDeletedId: '' } : {}),
        entries: show(value.entries),
        // What is not rebuilt (see toCommands): pending entries of deleted ones, times of consumers, unknown counters.
        groups: value.groups.map((g) => ({
          name: show(g.name),
          lastId: g.lastId,
          pending: g.pending.filter((p) => exists.has(p.id)).map((p) => ({ ...p, consumer: show(p.consumer) })),
          consumers: g.consumers.map((c) => show(c.name)),
        })),
      };
    }
    default:
      return show(key.value);
  }
};

test.each(snapshots.map((f) => [f]))('%s', async (file) => {
  const server = await TestServer.start();
  servers.push(server);
  const hasFieldTtl = (await probe(server, ['COMMAND', 'INFO', 'HPEXPIREAT'])) !== null;
  const hasFunctions = (await probe(server, ['COMMAND', 'INFO', 'FUNCTION'])) !== null;
  const rdb = readFileSync(join(folder, file));
  const usable = (e: RdbEntry): boolean => {
    if (e.kind === 'function') return hasFunctions;
    if (e.kind !== 'key') return false;
    if (e.type === 'module' || (e.expireAtMs !== null && e.expireAtMs < Date.now())) return false;
    return e.type !== 'hash' || e.value.every(([, , at]) => at === null || (hasFieldTtl && at > Date.now()));
  };
  const wanted = read(rdb).filter(usable);
  // In small parts and chunks, so that they are exercised. A key left out above must not come back by one of its parts.
  const names = new Set(wanted.map((e) => (e.kind === 'key' ? `${e.db} ${e.key.toString('latin1')}` : e.kind)));
  const parts = read(rdb, 5).filter((e) =>
    names.has(e.kind === 'key' ? `${e.db} ${e.key.toString('latin1')}` : e.kind),
  );
  await build(server, parts, 3);

  const got = await sync(server);
  const show = (keys: RdbKey[]): unknown[] =>
    keys
      .map((k) => [`${k.db} ${k.key.toString('latin1')}`, k.type, k.expireAtMs, sorted(k)])
      .sort((a, b) => ((a[0] as string) < (b[0] as string) ? -1 : 1));
  const keys = wanted.filter((e) => e.kind === 'key');
  expect(show(got)).toEqual(show(keys));

  // What DUMP answers decodes to the same, and RESTORE takes what was encoded here.
  const client = await server.client();
  await client.call('SELECT', 0);
  for (const key of got.filter((k) => k.db === 0)) {
    const payload = (await client.call('DUMP', key.key)) as Buffer;
    const decoded = decodeDump(payload);
    expect([decoded.type, sorted({ ...key, ...decoded } as RdbKey)]).toEqual([key.type, sorted(key)]);
    expect(encodeDump(decoded.rdbType, decoded.raw, decoded.rdbVersion).equals(payload)).toBe(true);
    const again = encodeDump(key.rdbType, key.raw as Buffer, key.rdbVersion);
    expect(await client.call('RESTORE', key.key, 0, again, 'REPLACE')).toBe('OK');
  }
  client.close();
});

async function probe(server: TestServer, command: string[]): Promise<unknown> {
  const [reply] = await server.run(command);
  return Array.isArray(reply) ? reply[0] : reply;
}

test('big collections come in parts, with bounded parts, and rebuild exactly', async () => {
  const source = await TestServer.start();
  const target = await TestServer.start();
  servers.push(source, target);
  const client = await source.client();
  const writer = new CommandWriter();
  const n = 40_000;
  let seq = 0;
  for (let from = 0; from < n; from += 1000) {
    const items = Array.from({ length: 1000 }, (_, i) => `item-${from + i}`);
    writer.command(['RPUSH', 'list', ...items]).command(['SADD', 'set', ...items]);
    writer.command(['HSET', 'hash', ...items.flatMap((i) => [i, `v-${i}`])]);
    writer.command(['ZADD', 'zset', ...items.flatMap((i, at) => [(from + at) / 7, i])]);
    for (const i of items.slice(0, 50)) writer.command(['XADD', 'stream', `${from + 1}-${++seq}`, 'f', i]);
  }
  const count = writer.commands;
  for (const r of await client.pipeline(writer.take(), count)) if (r instanceof ReplyError) throw r;
  const entries = await sync(source, { rdb: { partElements: 4_000 } });
  const most = Math.max(...entries.map((e) => (Array.isArray(e.value) ? e.value.length : 0)));
  expect(most).toBeLessThan(5_000); // and what one packed node has more
  expect(entries.filter((e) => e.type === 'hash').length).toBe(10);
  await build(target, entries, 512);
  for (const key of ['list', 'set', 'hash', 'zset', 'stream']) {
    const digest = async (s: TestServer): Promise<unknown> => (await s.run(['OBJECT', 'ENCODING', key]))[0];
    expect(await digest(target)).toEqual(await digest(source));
  }
  const [a, b] = await Promise.all([sync(source), sync(target)]);
  const flat = (keys: RdbKey[]): Map<string, Set<string>> => {
    const all = new Map<string, Set<string>>();
    for (const k of keys) {
      const name = k.key.toString();
      const set = all.get(name) ?? new Set();
      all.set(name, set);
      const items = k.type === 'stream' ? k.value.entries : (k.value as unknown[]);
      items.forEach((v) => set.add((v as unknown[]).toString()));
    }
    return all;
  };
  const [fa, fb] = [flat(a), flat(b)];
  for (const [name, items] of fa) {
    expect([name, fb.get(name)?.size]).toEqual([name, items.size]);
    for (const item of items) if (fb.get(name)?.has(item) !== true) throw new Error(`${name} lacks ${item}`);
  }
  client.close();
}, 120_000);

describe('TLS', () => {
  const dir = mkdtempSync(join(tmpdir(), 'meridian-tls-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('link and connection over TLS with certificates on both sides; plain text is refused', async () => {
    const openssl = (...args: string[]): unknown => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
      '-keyout', 'key.pem', '-out', 'cert.pem', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'); // prettier-ignore
    const [key, cert] = ['key.pem', 'cert.pem'].map((f) => readFileSync(join(dir, f)));
    const tls = { ca: cert, cert, key };
    let server: TestServer;
    try {
      server = await TestServer.start({
        args: ['--tls-port', '0', '--tls-cert-file', join(dir, 'cert.pem'), '--tls-key-file', join(dir, 'key.pem'),
          '--tls-ca-cert-file', join(dir, 'cert.pem'), '--tls-replication', 'yes'], // prettier-ignore
      });
    } catch (error) {
      if (/tls/i.test((error as Error).message)) return; // a server built without TLS
      throw error;
    }
    servers.push(server);
    // The TLS port is opened at run time, so that the test server's own probe works on the plain one.
    const tlsPort = await freePort();
    await server.run(['SET', 'k', 'v'], ['CONFIG', 'SET', 'tls-port', tlsPort]);
    const client = await RedisConnection.connect({ host: '127.0.0.1', port: tlsPort, tls });
    expect(await client.call('GET', 'k')).toEqual(Buffer.from('v'));
    client.close();
    const link = new ReplicaLink({ host: '127.0.0.1', port: tlsPort, tls });
    links.push(link);
    let streamed = '';
    link.on('data', (chunk) => (streamed += chunk.toString()));
    expect((await link.connect(null)).kind).toBe('full');
    const keys: string[] = [];
    for await (const e of link.snapshot()) if (e.kind === 'key') keys.push(e.key.toString());
    expect(keys).toEqual(['k']);
    await server.run(['SET', 'k2', 'v2']);
    const deadline = Date.now() + 10_000;
    while (!streamed.includes('k2') && Date.now() < deadline) await new Promise((r) => setTimeout(r, 10));
    expect(streamed).toContain('k2');
    // Neither an unknown authority nor plain text gets through.
    const strange = new ReplicaLink({ host: '127.0.0.1', port: tlsPort, tls: { cert, key } });
    await expect(strange.connect(null)).rejects.toMatchObject({ code: 'CONNECT' });
    const plain = new ReplicaLink({ host: '127.0.0.1', port: tlsPort, connectTimeoutMs: 2000 });
    await expect(plain.connect(null)).rejects.toMatchObject({ name: 'LinkError' });
  });
});
