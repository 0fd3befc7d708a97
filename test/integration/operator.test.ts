import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { agentProgram, Mesh, until } from './mesh';

// What whoever runs an agent sees of it: its endpoint, its log, its errors.

let mesh: Mesh;
beforeAll(async () => {
  mesh = await Mesh.start({ configure: (config) => (config.log = { level: 'debug' }) });
});
afterAll(() => mesh?.stop());

const canary = 'canary-in-a-coal-mine';

test('/healthz, /readyz, /status, /metrics', async () => {
  const alpha = mesh.region('alpha');
  await alpha.client().mset('a', 1, 'b', 2);
  await mesh.waitEqual();
  expect(await alpha.http('/healthz')).toEqual({ status: 200, text: '{"ok":true}\n' });
  expect(await alpha.http('/readyz')).toEqual({ status: 200, text: '{"ready":true}\n' });
  const status = await mesh.region('beta').status();
  expect(status).toMatchObject({
    region: 'beta',
    stack: 'test',
    state: 'active',
    caughtUp: true,
    deadLetters: 0,
    redis: { port: mesh.region('beta').layout.redis.port, connected: true, role: 'primary' },
    journal: { full: false },
  });
  expect(status.links.map(({ peer, state }) => `${peer} ${state}`)).toEqual(['alpha up', 'gamma up']);
  await until(
    async () => (await mesh.region('beta').status()).links.every(({ lagMs }) => lagMs !== null && lagMs < 2000),
    10_000,
    'no lag is measured',
  );
  const { text } = await mesh.region('beta').http('/metrics');
  for (const name of ['lag', 'pending', 'journal', 'window', 'applied', 'captured', 'certificate'])
    expect(text).toMatch(new RegExp(`^meridian_\\w*${name}\\w*(?:\\{[^}]*\\})? [0-9.e+-]+$`, 'm'));
});

test('not ready while Redis is away, and why', async () => {
  const gamma = mesh.region('gamma');
  await gamma.redis.signal('SIGTERM');
  await until(async () => (await gamma.http('/readyz')).status === 503, 10_000, 'still ready');
  expect(JSON.parse((await gamma.http('/readyz')).text)).toMatchObject({ ready: false, reason: expect.any(String) });
  expect((await gamma.http('/healthz')).status).toBe(200);
  await gamma.startRedis();
  await gamma.ready();
  expect((await gamma.http('/readyz')).status).toBe(200);
});

test('neither secrets nor values nor keys are in the logs, whatever happens', async () => {
  const [alpha, beta] = [mesh.region('alpha').client(), mesh.region('beta').client()];
  // What is normal, what conflicts, what is refused, what is unknown.
  await alpha.set(`key-${canary}`, `value-${canary}`);
  await alpha.hset(`hash-${canary}`, `field-${canary}`, `value-${canary}`);
  await Promise.all([alpha.set(`t-${canary}`, canary), beta.lpush(`t-${canary}`, canary)]);
  await Promise.all([alpha.append(`u-${canary}`, canary), beta.sadd(`u-${canary}`, canary)]);
  await Promise.all([
    alpha.xadd(`x-${canary}`, '5-5', canary, canary),
    beta.xadd(`x-${canary}`, '5-5', canary, canary),
  ]);
  await alpha.publish(`channel-${canary}`, canary);
  await mesh.waitEqual();
  await mesh.region('beta').agent.signal('SIGKILL');
  await mesh.region('beta').redis.signal('SIGKILL');
  await mesh.region('beta').startRedis();
  await mesh.region('beta').client().set(`late-${canary}`, canary);
  mesh.region('beta').startAgent();
  await mesh.region('beta').ready();
  await mesh.waitEqual();
  for (const region of mesh.regions) {
    const log = readFileSync(region.layout.agent.log, 'utf8');
    const { text } = await region.http('/metrics');
    const status = (await region.http('/status')).text;
    for (const where of [log, text, status]) {
      expect(where).not.toContain(`value-${canary}`);
      expect(where).not.toContain(mesh.secrets.password);
      expect(where).not.toContain(mesh.secrets.agentPassword);
      // Names of keys are for debugging, and nowhere else.
      const lines = where.split('\n').filter((line) => !line.includes('"level":"debug"'));
      expect(lines.filter((line) => line.includes(canary))).toEqual([]);
    }
    // Every line is JSON.
    for (const line of log.trimEnd().split('\n')) expect(() => void JSON.parse(line)).not.toThrow();
  }
});

describe('a config that cannot be used: one clear error, no stack, status not 0', () => {
  async function run(change: (config: Record<string, unknown>) => void): Promise<{ code: number; stderr: string }> {
    const file = path.join(mesh.dir, 'bad.json');
    const config = JSON.parse(readFileSync(mesh.region('alpha').layout.agent.config, 'utf8')) as Record<
      string,
      unknown
    >;
    config['stateDir'] = path.join(mesh.dir, 'other');
    config['listen'] = {
      peer: { host: '127.0.0.1', port: 0 },
      admin: { host: '127.0.0.1', port: 0 },
    };
    change(config);
    writeFileSync(file, JSON.stringify(config));
    try {
      await promisify(execFile)(process.execPath, [agentProgram, '--config', file], { timeout: 10_000 });
    } catch (error) {
      const { code, stderr } = error as { code: number; stderr: string };
      return { code, stderr };
    }
    return { code: 0, stderr: '' };
  }

  test.each([
    ['an unknown region', (c: Record<string, unknown>) => (c['region'] = 'nowhere'), 'nowhere'],
    ['a port that is none', (c: Record<string, unknown>) => (c['redis'] = { port: 'x' }), 'redis.port'],
    ['a word that is unknown', (c: Record<string, unknown>) => (c['replicaton'] = {}), 'replicaton'],
    [
      'a file that is missing',
      (c: Record<string, unknown>) => (c['tls'] = { caFile: '/no/ca', certFile: '/no/cert', keyFile: '/no/key' }),
      '/no/ca',
    ],
    [
      'a port in use',
      (c: Record<string, unknown>) => {
        const { port } = mesh.region('alpha').layout.redis;
        c['listen'] = { peer: { host: '127.0.0.1', port }, admin: { host: '127.0.0.1', port: 0 } };
      },
      String('in use|EADDRINUSE'),
    ],
    [
      'a state directory of another agent that runs',
      (c: Record<string, unknown>) => (c['stateDir'] = mesh.region('alpha').layout.agent.data),
      'lock|use',
    ],
  ])('%s', async (_, change, expected) => {
    const { code, stderr } = await run(change);
    expect(code).toBeGreaterThan(0);
    expect(stderr).toMatch(new RegExp(expected));
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});
