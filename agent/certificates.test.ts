import { X509Certificate } from 'node:crypto';
import { type AddressInfo } from 'node:net';
import tls from 'node:tls';

import { endOf, watched } from './certificates';
import { createMetrics } from './metrics';
import { createCa, issueCertificate } from './peers/certificates';
import { openSocket } from './resp/connection';

const daySeconds = 86_400;
const endIn = (days: number): number => Date.now() / 1000 + days * daySeconds;

test('of several the one that ends first counts', async () => {
  const [long, short] = [await createCa({ stack: 'test', days: 30 }), await createCa({ stack: 'test', days: 3 })];
  expect(endOf(long.cert)).toBe(Date.parse(new X509Certificate(long.cert).validTo) / 1000);
  expect(endOf(Buffer.from(`${long.cert}\n${short.cert}\n`)) / daySeconds).toBeCloseTo(endIn(3) / daySeconds, 2);
  expect(() => endOf('nothing')).toThrow(/found no certificate/);
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
