import http from 'node:http';
import net from 'node:net';
import { Registry } from 'prom-client';
import { type Admin, AdminError, type AdminOptions, readJson, startAdmin } from './admin';
import { createMetrics } from './metrics';

let admin: Admin;

async function start(o: Partial<AdminOptions> = {}): Promise<string> {
  admin = await startAdmin({
    host: '127.0.0.1',
    port: 0,
    status: () => ({ state: 'active' }),
    ready: () => ({ ready: true }),
    metrics: new Registry(),
    ...o,
  });
  return `http://127.0.0.1:${admin.port}`;
}

afterEach(() => admin.close());

test('health, readiness, status and metrics', async () => {
  let ready: { ready: boolean; reason?: string } = { ready: false, reason: 'full sync' };
  const metrics = createMetrics('eu', { processMetrics: false });
  metrics.captured.inc(7);
  const url = await start({ ready: () => ready, metrics: metrics.registry });

  const health = await fetch(`${url}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { ok: true }]);
  let readiness = await fetch(`${url}/readyz`);
  expect([readiness.status, await readiness.json()]).toEqual([503, { ready: false, reason: 'full sync' }]);
  ready = { ready: true };
  readiness = await fetch(`${url}/readyz`);
  expect([readiness.status, await readiness.json()]).toEqual([200, { ready: true }]);
  const status = await fetch(`${url}/status?verbose=1`);
  expect(status.headers.get('content-type')).toBe('application/json');
  expect(await status.json()).toEqual({ state: 'active' });
  const scraped = await fetch(`${url}/metrics`);
  expect(scraped.headers.get('content-type')).toMatch(/^text\/plain/);
  expect(await scraped.text()).toContain('meridian_captured_operations_total{region="eu"} 7');
});

test('unknown paths, wrong methods, HEAD, and errors of a callback', async () => {
  const url = await start({
    status: () => {
      throw new Error('no status');
    },
  });
  const missing = await fetch(`${url}/nothing`);
  expect([missing.status, await missing.json()]).toEqual([
    404,
    { error: 'no /nothing here', paths: ['/healthz', '/readyz', '/status', '/metrics'] },
  ]);
  const posted = await fetch(`${url}/healthz`, { method: 'POST', body: 'x' });
  expect([posted.status, posted.headers.get('allow'), await posted.json()]).toEqual([
    405,
    'GET',
    { error: '/healthz takes GET' },
  ]);
  const head = await fetch(`${url}/healthz`, { method: 'HEAD' });
  expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '12', '']);
  const odd = await new Promise<number | undefined>((resolve, reject) =>
    http.get({ port: new URL(url).port, path: '//' }, ({ statusCode }) => resolve(statusCode)).on('error', reject),
  );
  expect(odd).toBe(400);
  const failed = await fetch(`${url}/status`);
  expect([failed.status, await failed.json()]).toEqual([500, { error: 'no status' }]);
});

test('routes of the agent, with methods, bodies and errors of their own', async () => {
  const url = await start({
    routes: {
      '/keys': async (asked) => ({ status: 200, body: { db: asked.searchParams.get('db') } }),
      'POST /keys': async (_, request) => ({ status: 202, body: await readJson(request) }),
      'POST /refuse': async () => {
        throw new AdminError(409, 'not now');
      },
    },
  });
  expect(await (await fetch(`${url}/keys?db=3`)).json()).toEqual({ db: '3' });
  const posted = await fetch(`${url}/keys`, { method: 'POST', body: '{"a":1}' });
  expect([posted.status, await posted.json()]).toEqual([202, { a: 1 }]);
  expect((await fetch(`${url}/keys`, { method: 'PUT' })).headers.get('allow')).toBe('GET, POST');
  expect((await fetch(`${url}/keys`, { method: 'POST', body: '{' })).status).toBe(400);
  const refused = await fetch(`${url}/refuse`, { method: 'POST', body: 'unread' });
  expect([refused.status, await refused.json()]).toEqual([409, { error: 'not now' }]);

  // Too large a body is refused while it is still being sent.
  const [status] = await new Promise<[number]>((resolve, reject) => {
    const request = http.request(`${url}/keys`, { method: 'POST' }, (response) => {
      response.resume();
      resolve([response.statusCode ?? 0]);
      request.destroy();
    });
    request.on('error', reject);
    request.write(Buffer.alloc(1024 * 1024 + 1));
  });
  expect(status).toBe(413);
});

test('an address in use is an error of the start', async () => {
  await start();
  await expect(
    startAdmin({
      host: '127.0.0.1',
      port: admin.port,
      status: () => null,
      ready: () => ({ ready: true }),
      metrics: new Registry(),
    }),
  ).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('closing lets a request finish, and does not wait for idle connections', async () => {
  let finish: () => void = () => undefined;
  let arrive: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  const url = await start({
    routes: {
      '/slow': () => {
        arrive();
        return new Promise((resolve) => (finish = () => resolve({ status: 200, body: 'done' })));
      },
    },
  });
  const idle = net.connect(admin.port, '127.0.0.1');
  idle.on('error', () => undefined);
  const slow = fetch(`${url}/slow`);
  await arrived;
  const closed = admin.close();
  await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  finish();
  expect(await (await slow).json()).toBe('done');
  await closed;
  idle.destroy();
});
