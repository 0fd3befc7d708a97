import { type ChildProcess } from 'node:child_process';
import { type IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo } from 'node:net';
import path from 'node:path';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import Redis from 'ioredis';

import { createCa, issueCertificate } from '../../agent/peers/certificates';
import {
  end,
  freePorts,
  hasReplica,
  host,
  passwordOf,
  Region,
  smallConf,
  startSentinels,
  until,
} from '../testing/redis';
import { SystemUser } from '../../model';
import { roleLabel } from '../common';
import { scriptsDir } from './scripts';

// The scripts and configs of the pods, run by real servers: three Sentinels, a primary and a replica, over TLS.

let region: Region;
let api: Server | undefined;
afterEach(async () => {
  await region.close();
  api?.close();
});

async function start(): Promise<{ nodes: number[]; sentinels: number[] }> {
  const [a = 0, b = 0, ...sentinels] = await freePorts(5);
  region = new Region({ ...smallConf, tls: true, minReplicasToWrite: 1 });
  const ca = await createCa({ stack: 'test' });
  const issued = await issueCertificate(ca, { stack: 'test', region: 'west' });
  region.write('tls/ca.crt', issued.ca);
  region.write('tls/tls.crt', issued.cert);
  region.write('tls/tls.key', issued.key);
  region.first = `${host} ${a}`;
  region.sentinels.push(...sentinels.map((port) => `${host}:${port}`));
  return { nodes: [a, b], sentinels };
}

const isReplica = (port: number): boolean =>
  region.run('probe.sh', port, ['ready']).status === 0 && region.role(port) === 'slave';

/** A stand-in for the API server, which keeps what the side-car of each pod has said. */
async function startApi(): Promise<{ port: number; labels: Map<string, string>; seen: IncomingMessage[] }> {
  const labels = new Map<string, string>();
  const seen: IncomingMessage[] = [];
  const ca = await createCa({ stack: 'api' });
  const { key, cert } = await issueCertificate(ca, { stack: 'api', region: 'api' });
  api = createServer({ key, cert }, (request, response) => {
    seen.push(request);
    let text = '';
    request.on('data', (chunk: Buffer) => (text += String(chunk)));
    request.on('end', () => {
      const body = JSON.parse(text) as { metadata: { labels: Record<string, string> } };
      labels.set(request.url ?? '', body.metadata.labels[roleLabel] ?? '');
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => api!.listen(0, host, resolve));
  region.write('account/ca.crt', ca.cert);
  region.write('account/token', 'a-token\n');
  return { port: (api.address() as AddressInfo).port, labels, seen };
}

test('a primary that dies is replaced, its label follows, and it comes back as a replica', async () => {
  const { nodes, sentinels } = await start();
  const [a = 0, b = 0] = nodes;
  const { port: apiPort, labels, seen } = await startApi();

  // Nodes do not decide by themselves: without Sentinels they wait.
  let primary = region.startRedis(a);
  region.startRedis(b);
  await until('the first waits', () => region.log(a).includes('no majority of Sentinels answers yet'));
  await startSentinels(region, sentinels);
  await until('the replica follows', () => isReplica(b));
  expect(region.role(a)).toBe('master');
  for (const kind of ['startup', 'live', 'ready'])
    expect(region.run('probe.sh', a, [kind])).toEqual({ status: 0, output: '' });
  for (const port of sentinels) expect(region.run('probe.sh', port, ['sentinel']).status).toBe(0);

  for (const port of nodes) {
    const more = {
      MERIDIAN_ROLE_LABEL: roleLabel,
      MERIDIAN_ACCOUNT: path.join(region.dir, 'account'),
      KUBERNETES_SERVICE_HOST: host,
      KUBERNETES_SERVICE_PORT: String(apiPort),
      POD_NAMESPACE: 'redis-west',
      POD_NAME: `redis-${port}`,
    };
    region.spawn(
      process.execPath,
      [path.join(scriptsDir, 'role.cjs')],
      { ...region.env(port), ...more },
      `role-${port}.log`,
    );
  }
  const labelOf = (port: number): string | undefined => labels.get(`/api/v1/namespaces/redis-west/pods/redis-${port}`);
  await until('both pods are labelled', () => labelOf(a) === 'primary' && labelOf(b) === 'replica');
  expect(seen[0]).toMatchObject({ method: 'PATCH', headers: { authorization: 'Bearer a-token' } });

  await until('the Sentinels know the replica', () => sentinels.every((port) => hasReplica(region, port)));
  expect(region.cli(a, ['SET', 'k', 'before'], 'app')).toBe('OK');
  await until('the replica has it', () => region.cli(b, ['GET', 'k'], 'read') === 'before');
  await end(primary);
  await until('the replica is promoted', () => region.role(b) === 'master');
  await until('the label follows', () => labelOf(b) === 'primary' && labelOf(a) === 'none');

  primary = region.startRedis(a);
  await until('the old primary follows the new one', () => isReplica(a));
  expect(region.log(a)).toContain(`the primary is ${host} ${b}`);
  await until('its label follows', () => labelOf(a) === 'replica');
  expect(region.cli(b, ['SET', 'k', 'after'], 'app')).toBe('OK');
}, 60_000);

/** A failover that nobody had the time for is tried again after a while. */
const TAKEOVER_MS = 60_000;

/**
 * The primary dies, loses its disk and comes back: early, while the Sentinels still call it the primary, or late, when they have promoted the other node.
 * Either way it starts once, as the other's replica.
 */
async function loseDisk(
  comesBack: 'early' | 'late',
  sentinels: readonly number[],
  [port, process]: readonly [number, ChildProcess],
  other: number,
): Promise<ChildProcess> {
  const callDownAfter = (ms: number): void => {
    for (const sentinel of sentinels) {
      const command = ['SENTINEL', 'SET', 'west', 'down-after-milliseconds', String(ms)];
      expect(region.cli(sentinel, command, SystemUser.Node)).toBe('OK');
    }
  };
  await until('the Sentinels know the replica', () => sentinels.every((sentinel) => hasReplica(region, sentinel)));
  if (comesBack === 'early') callDownAfter(60_000);
  await end(process);
  rmSync(path.join(region.dir, String(port), 'data'), { recursive: true });
  if (comesBack === 'late') await until('the other takes over', () => region.role(other) === 'master', TAKEOVER_MS);
  const logged = region.log(port).length;
  const said = (): string => region.log(port).slice(logged);
  const again = region.startRedis(port);
  if (comesBack === 'early') {
    await until('it waits', () => said().includes('it has no data and its replicas have: waiting for a failover'));
    callDownAfter(region.timing.downAfterMs);
    await until('the other takes over', () => region.role(other) === 'master', TAKEOVER_MS);
  }
  await until('it follows', () => isReplica(port));
  expect(said().match(/starting; the primary is .*/g)).toEqual([`starting; the primary is ${host} ${other}`]);
  return again;
}

test('a primary that is stopped hands over every write; one that lost its disk does not empty its replica', async () => {
  const { nodes, sentinels } = await start();
  const [a = 0, b = 0] = nodes;
  await startSentinels(region, sentinels);
  const primary = region.startRedis(a);
  const second = region.startRedis(b);
  await until('the replica follows', () => isReplica(b));
  await until('the Sentinels know it', () => sentinels.every((port) => hasReplica(region, port)));

  // A client writes all the time; what was acknowledged has to be at the new primary.
  const client = new Redis({
    host,
    port: a,
    username: 'app',
    password: passwordOf('app'),
    tls: { rejectUnauthorized: false },
    enableReadyCheck: false,
    retryStrategy: () => null, // its connection's end is the end of its writing
  });
  client.on('error', () => undefined);
  let acknowledged = 0;
  const writing = (async () => {
    for (let n = 1; ; n++) {
      await client.set('n', n);
      acknowledged = n;
    }
  })().catch(() => undefined);
  await sleep(200);
  const handed = await region.runAside('hand-over.sh', a);
  expect(handed).toMatchObject({ status: 0, output: expect.stringContaining(`handed over to ${host} ${b}`) });
  await end(primary);
  client.disconnect();
  await writing;
  expect(region.role(b)).toBe('master');
  expect(acknowledged).toBeGreaterThan(10);
  expect(Number(region.cli(b, ['GET', 'n'], 'app'))).toBeGreaterThanOrEqual(acknowledged);

  const first = region.startRedis(a);
  await until('the first follows', () => isReplica(a));
  await loseDisk('early', sentinels, [b, second], a);
  await loseDisk('late', sentinels, [a, first], b);
  for (const port of nodes) expect(Number(region.cli(port, ['GET', 'n'], 'read'))).toBeGreaterThanOrEqual(acknowledged);
}, 240_000);
