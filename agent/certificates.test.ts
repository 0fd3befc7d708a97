import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';

import { CertificateFiles, endOf, watched } from './certificates';
import { freePort } from './free-port';
import { createMetrics } from './metrics';
import { createCa, issueCertificate } from './peers/certificates';
import { RedisConnection } from './resp';
import { openSocket } from './resp/connection';

const daySeconds = 86_400;
const endIn = (days: number): number => Date.now() / 1000 + days * daySeconds;

test('of several the one that ends first counts', async () => {
  const [long, short] = [await createCa({ stack: 'test', days: 30 }), await createCa({ stack: 'test', days: 3 })];
  expect(endOf(long.cert)).toBe(Date.parse(new X509Certificate(long.cert).validTo) / 1000);
  expect(endOf(Buffer.from(`${long.cert}\n${short.cert}\n`)) / daySeconds).toBeCloseTo(endIn(3) / daySeconds, 2);
  expect(() => endOf('nothing')).toThrow(/found no certificate/);
  expect(() => endOf(`${long.cert}\n${short.cert.slice(0, 300)}`)).toThrow(/cut off/);
});

test('a server is asked at each connection, and refused as before', async () => {
  const ca = await createCa({ stack: 'test' });
  const { cert, key } = await issueCertificate(ca, { stack: 'test', region: 'west', days: 5 });
  const server = tls.createServer({ cert, key });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const ends: number[] = [];
  const connect = async (servername: string): Promise<void> => {
    const options = watched({ ca: ca.cert, servername }, (end) => ends.push(end));
    (await openSocket({ host: '127.0.0.1', port, tls: options }, 5000)).destroy();
  };
  try {
    await connect('localhost');
    await expect(connect('another')).rejects.toThrow(/another/);
    expect(ends).toEqual([endOf(cert), endOf(cert)]);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test('the metric has a series for each certificate that is known', async () => {
  const metrics = createMetrics('eu', { processMetrics: false });
  const series = async (): Promise<string[]> =>
    (await metrics.registry.metrics()).split('\n').filter((line) => line.startsWith('meridian_certificate_'));
  expect(await series()).toEqual([]);
  metrics.certificate('agent', 1_900_000_000);
  metrics.certificate('redis', 1_800_000_000);
  metrics.certificate('redis', 1_950_000_000);
  const name = 'meridian_certificate_expiration_timestamp_seconds';
  expect((await series()).sort()).toEqual([
    `${name}{certificate="agent",region="eu"} 1900000000`,
    `${name}{certificate="redis",region="eu"} 1950000000`,
  ]);
});

describe('files that are renewed in place', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-certificates-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const at = (name: string): string => path.join(dir, name);
  const paths = { caFile: at('ca.crt'), certFile: at('tls.crt'), keyFile: at('tls.key') };
  const issue = async (authority?: { cert: string; key: string }) => {
    const ca = authority ?? (await createCa({ stack: 'test' }));
    return { authority: ca, ...(await issueCertificate(ca, { stack: 'test', region: 'west' })) };
  };
  type Issued = Awaited<ReturnType<typeof issue>>;
  const serialOf = (pem: string | Buffer): string => new X509Certificate(pem).serialNumber;

  let versions = 0;
  /** As the kubelet does: files are links into a folder that is a link, which is replaced at once. */
  function publish({ ca, cert, key }: Pick<Issued, 'ca' | 'cert' | 'key'>): void {
    const version = `..${++versions}`;
    mkdirSync(at(version));
    for (const [name, text] of Object.entries({ 'ca.crt': ca, 'tls.crt': cert, 'tls.key': key })) {
      writeFileSync(path.join(at(version), name), text);
      if (versions === 1) symlinkSync(path.join('..data', name), at(name));
    }
    symlinkSync(version, at('..new'));
    renameSync(at('..new'), at('..data'));
    rmSync(at(`..${versions - 1}`), { recursive: true, force: true });
  }

  test('what is new is taken, and what is not good is not, whoever wrote what of it first', async () => {
    const [first, second, third] = [await issue(), await issue(), await issue()];
    publish(first);
    const files = new CertificateFiles(paths);
    const said: string[] = [];
    files.on('renewed', () => said.push(`renewed ${serialOf(files.cert!)}`));
    files.on('refused', (why) => said.push(`refused: ${why}`));
    await files.look();
    expect([serialOf(files.cert!), said]).toEqual([serialOf(first.cert), []]);

    publish(second);
    expect(serialOf(files.cert!)).toBe(serialOf(first.cert));
    await files.look();
    expect([files.ca, files.cert, files.key].map(String)).toEqual([second.ca, second.cert, second.key]);
    expect(said.splice(0)).toEqual([`renewed ${serialOf(second.cert)}`]);

    // One after the other: no word of it, unless it stays so.
    const write = (name: string, text: string): void => writeFileSync(path.join(at('..data'), name), text);
    write('ca.crt', third.ca);
    write('tls.crt', third.cert.slice(0, 200));
    await files.look();
    write('tls.crt', third.cert);
    await files.look();
    expect([serialOf(files.cert!), said]).toEqual([serialOf(second.cert), []]);
    await files.look();
    await files.look();
    expect(said.splice(0)).toEqual(['refused: the key is not that of the certificate']);
    rmSync(path.join(at('..data'), 'tls.key'));
    await files.look();
    await files.look();
    expect(said.splice(0)).toEqual([expect.stringMatching(/^refused: ENOENT.*tls\.key/)]);
    expect(String(files.key)).toBe(second.key);
    write('tls.key', third.key);
    await files.look();
    expect(said.splice(0)).toEqual([`renewed ${serialOf(third.cert)}`]);

    write('tls.key', second.key);
    expect(() => new CertificateFiles(paths)).toThrow('the key is not that of the certificate');
  });

  test('they are looked at by themselves, until that is ended', async () => {
    publish(await issue());
    const files = new CertificateFiles(paths);
    files.watch(5);
    const next = await issue();
    const renewed = new Promise<void>((resolve) => files.once('renewed', resolve));
    publish(next);
    await renewed;
    expect(serialOf(files.cert!)).toBe(serialOf(next.cert));
    files.stop();
  });

  test('the next connection to Redis shows the new certificate, and trusts the new authority; the one that stands stays', async () => {
    const [old, young] = [await issue(), await issue()];
    publish(old);
    const served = (name: string): string => path.join(dir, `redis-${name}`);
    const serve = ({ ca, cert, key }: Pick<Issued, 'ca' | 'cert' | 'key'>): void => {
      for (const [name, text] of Object.entries({ ca, cert, key })) writeFileSync(served(name), text);
    };
    serve(old);
    const port = await freePort();
    const tlsFiles = [
      '--tls-cert-file',
      served('cert'),
      '--tls-key-file',
      served('key'),
      '--tls-ca-cert-file',
      served('ca'),
    ];
    const server = spawn(
      process.env['MERIDIAN_REDIS_SERVER'] ?? 'redis-server',
      ['--port', '0', '--tls-port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir, ...tlsFiles],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => server.once('exit', resolve));
    const files = new CertificateFiles(paths);
    const ends: number[] = [];
    const options = watched(files.options(), (end) => ends.push(end));
    const connect = () => RedisConnection.connect({ host: '127.0.0.1', port, tls: options });
    try {
      let first: RedisConnection | null = null;
      for (const deadline = Date.now() + 10_000; first === null;) {
        if (server.exitCode !== null) return; // a server built without TLS
        first = await connect().catch((error: unknown) => {
          if (Date.now() > deadline) throw error;
          return new Promise<null>((resolve) => setTimeout(resolve, 20, null));
        });
      }
      expect(ends.at(-1)).toBe(endOf(old.cert));

      // Redis reads all of its files again where one of them is set, though to what it was.
      serve(young);
      expect(String(await first.call('CONFIG', 'SET', 'tls-cert-file', served('cert')))).toBe('OK');
      await expect(connect()).rejects.toThrow();
      publish(young);
      await files.look();
      const second = await connect();
      expect(String(await second.call('PING'))).toBe('PONG');
      expect(ends.at(-1)).toBe(endOf(young.cert));
      expect(String(await first.call('PING'))).toBe('PONG');
      first.close();
      second.close();
    } finally {
      server.kill('SIGKILL');
      await ended;
    }
  });
});
