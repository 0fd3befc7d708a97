import * as net from 'net';
import * as tls from 'tls';
import { freePort } from '../free-port';
import { createCa, issueCertificate } from '../peers/certificates';
import { CommandScanner, CommandWriter, RedisConnection } from '../resp';
import { LinkError } from './errors';
import { type RdbEntry, type RdbKey } from './rdb';
import { ReplicaLink, type ReplicaLinkOptions, type SyncOutcome } from './replica-link';
import { serverVersion, TestServer, until } from './testserver';

interface Attached {
  link: ReplicaLink;
  outcome: SyncOutcome;
  entries: RdbEntry[];
  commands: string[][];
  bytes: () => number;
  closed: () => LinkError | 'closed' | null;
}

const links: ReplicaLink[] = [];
const servers: TestServer[] = [];

async function attach(
  opts: ReplicaLinkOptions,
  from: { replId: string; offset: number } | null = null,
  read = true,
): Promise<Attached> {
  const link = new ReplicaLink(opts);
  links.push(link);
  const scanner = new CommandScanner();
  const commands: string[][] = [];
  let bytes = 0;
  let expected = -1;
  let closed: LinkError | 'closed' | null = null;
  link.on('data', (chunk, before) => {
    if (expected >= 0) expect(before).toBe(expected);
    expected = before + chunk.length;
    bytes += chunk.length;
    scanner.push(chunk);
    while (scanner.next()) {
      const args: string[] = [];
      for (let i = 0; i < scanner.argc; i++) {
        args.push(scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]));
      }
      commands.push(args);
    }
    scanner.keep();
  });
  link.on('close', (error) => (closed = error ?? 'closed'));
  const outcome = await link.connect(from);
  const entries: RdbEntry[] = [];
  if (outcome.kind === 'full' && read) for await (const entry of link.snapshot()) entries.push(entry);
  return { link, outcome, entries, commands, bytes: () => bytes, closed: () => closed };
}

async function start(opts: Parameters<typeof TestServer.start>[0] = {}): Promise<TestServer> {
  const server = await TestServer.start(opts);
  servers.push(server);
  return server;
}

const keysOf = (entries: RdbEntry[]): RdbKey[] => entries.filter((e) => e.kind === 'key');

afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  for (const server of servers.splice(0)) await server.stop();
});

describe.each(['no', 'yes'])('repl-diskless-sync %s', (diskless) => {
  test('full sync, then the stream, then a partial resync', async () => {
    const server = await start({ args: ['--repl-diskless-sync', diskless] });
    await server.run(['SET', 'before', '1'], ['RPUSH', 'list', 'a', 'b'], ['SELECT', 3], ['SET', 'in3', 'x']);
    const target = { host: '127.0.0.1', port: server.port, announcePort: 7 };
    const first = await attach(target);
    expect(first.outcome.kind).toBe('full');
    expect(keysOf(first.entries).map((k) => [k.db, k.key.toString(), k.type])).toEqual(
      expect.arrayContaining([
        [0, 'before', 'string'],
        [0, 'list', 'list'],
        [3, 'in3', 'string'],
      ]),
    );
    expect(first.entries[first.entries.length - 1]).toMatchObject({ kind: 'end', checksumOk: true });
    const replId = first.entries.find((e) => e.kind === 'aux' && e.key === 'repl-id');
    expect(replId).toMatchObject({ value: Buffer.from(first.outcome.replId) });

    await server.run(['SET', 'after', '2']);
    await until(() => first.commands.some((c) => c.join(' ') === 'SET after 2'), 10_000, 'the stream');
    const info = String((await server.run(['INFO', 'replication']))[0]);
    expect(info).toContain('port=7,state=online');
    expect(info).toContain(`master_replid:${first.outcome.replId}`);
    const position = first.link.position;
    expect(position).toBe(first.outcome.offset + first.bytes());

    first.link.ack(position);
    await until(async () => String((await server.run(['INFO', 'replication']))[0]).includes(`offset=${position}`));
    first.link.close();
    await until(() => first.closed() === 'closed');

    await server.run(['SET', 'while-away', '3']);
    const second = await attach(target, { replId: first.outcome.replId, offset: position });
    expect(second.outcome).toEqual({ kind: 'continue', replId: first.outcome.replId, offset: position });
    await until(() => second.commands.some((c) => c.join(' ') === 'SET while-away 3'), 10_000, 'the missed write');

    // Beyond the history: a snapshot again.
    const third = await attach(target, { replId: 'f'.repeat(40), offset: 5 });
    expect(third.outcome.kind).toBe('full');
    expect(keysOf(third.entries).length).toBe(5);
  });

  test('writes made during a slow reading of the snapshot come after it, from the spool', async () => {
    const debug = serverVersion() >= 7 ? ['--enable-debug-command', 'yes'] : [];
    const server = await start({ args: ['--repl-diskless-sync', diskless, ...debug] });
    await server.run(['DEBUG', 'POPULATE', 30_000, 'key', 100]);
    const at = { host: '127.0.0.1', port: server.port, spoolMemoryBytes: 64 * 1024 };
    const { link, commands } = await attach(at, null, false);
    const keys: string[] = [];
    let wrote = false;
    for await (const entry of link.snapshot()) {
      if (entry.kind === 'key') keys.push(entry.key.toString());
      if (!wrote) {
        wrote = true;
        await server.run(...Array.from({ length: 200 }, (_, i) => ['SET', `w${i}`, 'x'.repeat(2000)]));
        await new Promise((r) => setTimeout(r, 300));
      }
      if (commands.length > 0) throw new Error('the stream came before the end of the snapshot');
    }
    expect(keys.length).toBe(30_000);
    await until(() => commands.filter((c) => c[0] === 'SET').length === 200, 10_000, 'the writes');
    expect(commands.filter((c) => c[0] === 'SET').map((c) => c[1])).toEqual(
      Array.from({ length: 200 }, (_, i) => `w${i}`),
    );
    expect(link.waitingBytes).toBe(0);
  });
});

test('a 64 MB value comes through snapshot and stream', async () => {
  const server = await start({ args: ['--client-query-buffer-limit', '1gb'] });
  const big = Buffer.alloc(64 * 1024 * 1024);
  for (let i = 0; i < big.length; i += 4) big.writeUInt32LE((i * 2654435761) >>> 0, i);
  await server.run(['SET', 'big', big]);
  const attached = await attach({ host: '127.0.0.1', port: server.port });
  const key = keysOf(attached.entries)[0] as RdbKey;
  expect(key.type === 'string' && key.value.equals(big)).toBe(true);
  expect(key.raw).toBeNull();
  await server.run(['SET', 'big2', big]);
  const sent = await until(() => attached.commands.find((c) => c[1] === 'big2'), 30_000, 'the big value');
  expect(Buffer.from(sent[2] as string, 'latin1').equals(big)).toBe(true);
});

test('password and ACL: the right one works, a wrong one and a missing right are told apart', async () => {
  const server = await start({ args: ['--requirepass', 'secret1'], client: { password: 'secret1' } });
  await server.run(
    ['ACL', 'SETUSER', 'agent', 'on', '>pw', '+psync', '+replconf', '+ping'],
    ['ACL', 'SETUSER', 'weak', 'on', '>pw', '+ping'],
    ['SET', 'k', 'v'],
  );
  const at = { host: '127.0.0.1', port: server.port };
  expect(keysOf((await attach({ ...at, password: 'secret1' })).entries).length).toBe(1);
  expect(keysOf((await attach({ ...at, username: 'agent', password: 'pw' })).entries).length).toBe(1);
  await expect(attach({ ...at, password: 'hunter2' })).rejects.toMatchObject({ code: 'AUTH', retryable: false });
  await expect(attach(at)).rejects.toMatchObject({ code: 'AUTH' });
  await expect(attach({ ...at, username: 'weak', password: 'pw' })).rejects.toMatchObject({ code: 'NOPERM' });
  await attach({ ...at, password: 'hunter2' }).catch((e: Error) => expect(e.message).not.toContain('hunter2'));
});

test('a replica without its primary is refused, retryably; a dead port too', async () => {
  const server = await start({ args: ['--replicaof', '127.0.0.1', '1'] });
  const at = { host: '127.0.0.1', port: server.port };
  await expect(attach(at)).rejects.toMatchObject({ code: 'NOMASTERLINK', retryable: true });
  const port = await freePort();
  await expect(attach({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'CONNECT', retryable: true });
});

test('the link ends with what was received given out, and an error', async () => {
  const server = await start();
  const attached = await attach({ host: '127.0.0.1', port: server.port });
  await server.run(['SET', 'k', 'v']);
  await until(() => attached.commands.length >= 2);
  await server.stop();
  await until(() => attached.closed() !== null);
  expect(attached.closed()).toMatchObject({ code: 'CLOSED', retryable: true });
});

test('over TLS a fast stream is taken whole, also while somebody is in a hurry', async () => {
  const issued = await issueCertificate(await createCa({ stack: 'test' }), { stack: 'test', region: 'redis' });
  const total = Buffer.from(Array.from({ length: 8 * 1024 * 1024 }, (_, i) => (i >> 10) % 251));
  const server = tls.createServer({ key: issued.key, cert: issued.cert }, (socket: tls.TLSSocket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data: Buffer) => {
      const text = data.toString('latin1');
      if (text.includes('PSYNC')) {
        socket.write(`+CONTINUE ${'a'.repeat(40)}\r\n`);
        socket.end(total);
      } else socket.write(text.includes('PING') ? '+PONG\r\n' : '+OK\r\n');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const trust = { ca: issued.ca, checkServerIdentity: () => undefined };
  const link = new ReplicaLink({ host: '127.0.0.1', port, tls: trust });
  links.push(link);
  const got: Buffer[] = [];
  let bytes = 0;
  link.on('data', (chunk) => {
    got.push(Buffer.from(chunk));
    bytes += chunk.length;
  });
  const closed = new Promise((resolve) => link.on('close', resolve));
  await link.connect({ replId: 'a'.repeat(40), offset: 0 });
  const hurried = setInterval(() => link.hurry(bytes + 5000), 7);
  await closed;
  clearInterval(hurried);
  server.close();
  expect(Buffer.concat(got).equals(total)).toBe(true);
});

test('what nobody has room for stays in Redis, and the link lives; it comes when there is room', async () => {
  const server = await start();
  const { link, commands, closed } = await attach({
    host: '127.0.0.1',
    port: server.port,
    idleTimeoutMs: 1000,
  });
  await server.run(['SET', 'before', '1']);
  await until(() => commands.some((c) => c.join(' ') === 'SET before 1'), 10_000, 'the stream');
  link.hold(true);
  const { length } = commands;
  const value = 'x'.repeat(100_000);
  // More than sockets take.
  for (let i = 0; i < 300; i++) await server.run(['SET', `held:${i}`, value]);
  link.hurry(link.position + 1_000_000);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect([commands.length, closed()]).toEqual([length, null]);
  link.hold(false);
  await until(() => commands.some(([, key]) => key === 'held:299'), 10_000, 'what was held');
  expect(commands.filter(([, key]) => key?.startsWith('held:')).length).toBe(300);
  expect(closed()).toBeNull();
});

test('silence is a timeout; a silent server in the handshake too', async () => {
  const server = await start({ args: ['--repl-ping-replica-period', '3600'] });
  const attached = await attach({ host: '127.0.0.1', port: server.port, idleTimeoutMs: 200 });
  await until(() => attached.closed() !== null, 5000);
  expect(attached.closed()).toMatchObject({ code: 'TIMEOUT' });

  const silent = net.createServer(() => undefined);
  await new Promise<void>((r) => silent.listen(0, '127.0.0.1', () => r()));
  const { port } = silent.address() as net.AddressInfo;
  await expect(attach({ host: '127.0.0.1', port, connectTimeoutMs: 200 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  silent.close();
});

test('a server that talks nonsense is a PROTOCOL error', async () => {
  for (const answer of ['HTTP/1.1 400 Bad Request\r\n\r\n', 'x'.repeat(10_000)]) {
    const rude = net.createServer((s) => {
      s.on('error', () => undefined);
      s.end(answer);
    });
    await new Promise<void>((r) => rude.listen(0, '127.0.0.1', () => r()));
    const { port } = rude.address() as net.AddressInfo;
    await expect(attach({ host: '127.0.0.1', port, connectTimeoutMs: 500 })).rejects.toBeInstanceOf(LinkError);
    rude.close();
  }
});

test('leaving the snapshot early closes the link', async () => {
  const server = await start();
  await server.run(['SET', 'a', '1']);
  const { link, closed } = await attach({ host: '127.0.0.1', port: server.port }, null, false);
  for await (const _ of link.snapshot()) break;
  await until(() => closed() === 'closed');
});

test('PSYNC through a replica that was promoted continues under its new ID', async () => {
  const primary = await start();
  const replica = await start({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
  await until(async () => String((await replica.run(['INFO', 'replication']))[0]).includes('master_link_status:up'));
  const first = await attach({ host: '127.0.0.1', port: primary.port });
  await primary.run(['SET', 'k', 'v']);
  await until(() => first.commands.some((c) => c[0] === 'SET'));
  const position = first.link.position;
  await until(async () =>
    String((await replica.run(['INFO', 'replication']))[0]).includes(`slave_repl_offset:${position}`),
  );
  first.link.close();
  await primary.stop();
  await replica.run(['REPLICAOF', 'NO', 'ONE']);
  const second = await attach(
    { host: '127.0.0.1', port: replica.port },
    { replId: first.outcome.replId, offset: position },
  );
  expect(second.outcome.kind).toBe('continue');
  expect(second.outcome.replId).not.toBe(first.outcome.replId);
  await replica.run(['SET', 'k2', 'v']);
  await until(() => second.commands.some((c) => c[1] === 'k2'));
});

test('RedisConnection: pipelines, transactions, errors as values', async () => {
  const server = await start();
  const client = await RedisConnection.connect({ host: '127.0.0.1', port: server.port, name: 'x', db: 2 });
  const replies = await Promise.all([client.call('SET', 'k', 'v'), client.call('GET', 'k'), client.call('LPOP', 'k')]);
  expect(replies.slice(0, 2)).toEqual(['OK', Buffer.from('v')]);
  expect(replies[2]).toMatchObject({ code: 'WRONGTYPE' });
  const writer = new CommandWriter();
  writer.command(['MULTI']).command(['INCR', 'n']).command(['NOSUCH']).command(['EXEC']);
  const aborted = await client.transaction(writer.take(), 2);
  expect(aborted.queueErrors.get(1)).toMatchObject({ code: 'ERR' });
  expect(aborted.result).toMatchObject({ code: 'EXECABORT' });
  writer.command(['MULTI']);
  for (let i = 0; i < 3000; i++) writer.command(['INCR', 'n']);
  writer.command(['EXEC']).command(['GET', 'n']);
  const done = await client.transaction(writer.take(), 3000, 1);
  expect(done.queueErrors.size).toBe(0);
  expect((done.result as number[])[2999]).toBe(3000);
  expect(done.after).toEqual([Buffer.from('3000')]);
  const pending = client.call('BLPOP', 'nothing', 0);
  client.close();
  await expect(pending).rejects.toMatchObject({ code: 'CLOSED' });
  const slow = await RedisConnection.connect({ host: '127.0.0.1', port: server.port, commandTimeoutMs: 100 });
  await expect(slow.call('BLPOP', 'nothing', 0)).rejects.toMatchObject({ code: 'TIMEOUT' });
});
