import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import Redis from 'ioredis';
import { parse } from 'yaml';

import { end, serverProgram, until } from '../components/testing/redis';
import { parseStackFile, type StackConfig } from '../model';

// The services of compose.yaml as processes, from the files of the image: each with what its volumes would hold, and an address of its own on
// the loopback in place of its name. No container engine is needed.

const root = path.join(__dirname, '..');

interface Service {
  readonly image: string;
  readonly user?: string;
  readonly command?: readonly string[];
  readonly volumes: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
}
const compose = parse(readFileSync(path.join(root, 'compose.yaml'), 'utf8'), { merge: true }) as Compose;

function stackConfig(): StackConfig {
  const result = parseStackFile(readFileSync(path.join(root, 'Pulumi.local.yaml'), 'utf8'), 'Pulumi.local.yaml');
  if (!result.ok) throw new Error('Pulumi.local.yaml has a bad config');
  return result.config;
}
const { regions } = stackConfig();
const names = regions.map(({ name }) => name);

describe('compose.yaml', () => {
  test('has a Redis and an agent for each region of Pulumi.local.yaml', () => {
    expect(Object.keys(compose.services).sort()).toEqual(
      ['init', ...names.flatMap((name) => [`redis-${name}`, `agent-${name}`])].sort(),
    );
    for (const name of names) {
      const [redis, agent] = [compose.services[`redis-${name}`]!, compose.services[`agent-${name}`]!];
      expect(redis.volumes).toEqual([`config-${name}:/etc/meridian:ro`, `data-${name}:/data`]);
      expect(agent.volumes).toEqual([`config-${name}:/etc/meridian:ro`, `journal-${name}:/var/lib/meridian`]);
      expect(redis.user).toBe('999:999');
      expect(compose.services['init']!.volumes).toContain(`config-${name}:/etc/meridian/${name}`);
      for (const service of [redis, agent])
        expect(service.depends_on).toEqual({ init: { condition: 'service_completed_successfully' } });
    }
  });

  test('declares every volume, and is reached from this machine only', () => {
    const used = Object.values(compose.services).flatMap(({ volumes }) =>
      volumes.map((volume) => volume.split(':')[0]!),
    );
    expect(Object.keys(compose.volumes).sort()).toEqual(
      [...new Set(used)].filter((name) => !name.startsWith('.')).sort(),
    );
    const ports = Object.values(compose.services).flatMap((service) => service.ports ?? []);
    expect(ports).toHaveLength(names.length);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });
});

describe('its services', () => {
  let dir = '';
  const processes: ChildProcess[] = [];
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'meridian-compose-'));
    const done = spawnSync(process.execPath, ['scripts/image.mjs', '--app', path.join(dir, 'app')], { cwd: root });
    if (done.status !== 0) throw new Error(String(done.stderr));
  });
  afterAll(async () => {
    await Promise.all(processes.map(end));
    rmSync(dir, { recursive: true, force: true });
  });

  /** A part of the loopback that is likely nobody's: each service has the ports that it has in its container. */
  const net = `127.${randomInt(20, 250)}.${randomInt(1, 250)}`;
  const addressOf = (service: string): string => {
    const region = names.findIndex((name) => service.endsWith(name));
    return `${net}.${10 * (region + 1) + (service.startsWith('redis') ? 1 : 2)}`;
  };

  function init() {
    for (const volume of compose.services['init']!.volumes) {
      const [, target = ''] = volume.split(':');
      if (!target.startsWith('/app')) mkdirSync(path.join(dir, 'init', target), { recursive: true });
    }
    const [, program = ''] = compose.services['init']!.command!;
    return spawnSync(process.execPath, [path.join(dir, program), path.join(dir, 'app/Pulumi.local.yaml')], {
      env: { MERIDIAN_ROOT: path.join(dir, 'init') },
      encoding: 'utf8',
    });
  }

  /** The files of a service's volume, with paths and names as they are here. */
  function volumeOf(service: string): string {
    const region = names.find((name) => service.endsWith(name))!;
    const at = path.join(dir, service);
    cpSync(path.join(dir, 'init/etc/meridian', region), path.join(at, 'etc'), { recursive: true });
    for (const folder of ['data', 'state']) mkdirSync(path.join(at, folder));
    for (const file of readdirSync(path.join(at, 'etc/config'))) {
      const config = path.join(at, 'etc/config', file);
      const text = readFileSync(config, 'utf8')
        // Names first: a path may hold one.
        .replaceAll(/\b(redis|agent)-([a-z0-9-]+)/g, (found, kind: string, name: string) =>
          names.includes(name) ? addressOf(`${kind}-${name}`) : found,
        )
        .replaceAll('/etc/meridian', path.join(at, 'etc'))
        .replaceAll('/var/lib/meridian', path.join(at, 'state'))
        .replace('dir /data', `dir ${path.join(at, 'data')}`)
        .replaceAll('0.0.0.0', addressOf(service));
      writeFileSync(config, text, { mode: 0o600 });
    }
    return at;
  }

  function start(service: string): void {
    const at = volumeOf(service);
    const log = openSync(path.join(at, 'log'), 'a');
    const config = path.join(at, 'etc/config');
    const child = service.startsWith('redis')
      ? spawn(serverProgram, [path.join(config, 'redis.conf'), '--bind', addressOf(service)], {
          stdio: ['ignore', log, log],
        })
      : spawn(
          process.execPath,
          [path.join(dir, 'app/dist/agent/main.js'), '--config', path.join(config, 'agent.json')],
          {
            stdio: ['ignore', log, log],
          },
        );
    closeSync(log);
    processes.push(child);
  }

  const connect = (region: string): Redis =>
    new Redis({
      host: addressOf(`redis-${region}`),
      username: 'app',
      password: readFileSync(path.join(dir, 'init/etc/meridian', region, 'app/password'), 'utf8').trim(),
      enableReadyCheck: false,
    });

  test('replicate to each other; init run again changes nothing', async () => {
    const first = init();
    expect(first).toMatchObject({ status: 0, stderr: '' });
    expect(first.stdout).toBe(names.map((name) => `${name}: ready\n`).join(''));
    const kept = path.join(dir, 'init/etc/meridian', names[0]!);
    const files = readdirSync(kept, { recursive: true, encoding: 'utf8' }).filter((file) =>
      statSync(path.join(kept, file)).isFile(),
    );
    const texts = () => files.map((file) => readFileSync(path.join(kept, file), 'utf8'));
    const before = texts();
    for (const file of files) expect(statSync(path.join(kept, file)).mode & 0o077).toBe(0);
    expect(init().status).toBe(0);
    expect(texts()).toEqual(before);

    for (const name of names) for (const kind of ['redis', 'agent']) start(`${kind}-${name}`);
    const clients = names.map(connect);
    try {
      const isReady = async (name: string): Promise<boolean> =>
        (await fetch(`http://${addressOf(`agent-${name}`)}:7601/readyz`).catch(() => undefined))?.ok === true;
      for (const name of names)
        await until(`the agent of ${name} is ready`, () => isReady(name), 40_000).catch((error: unknown) => {
          throw new Error(
            `${String(error)}\n${readFileSync(path.join(dir, `agent-${name}/log`), 'utf8').slice(-2000)}`,
          );
        });
      await Promise.all(clients.map((client, i) => client.set(`from-${names[i]!}`, 'hello')));
      await Promise.all(clients.map((client) => client.incr('visits')));
      for (const client of clients) {
        await until('all regions have all of it', async () => {
          const values = await client.mget('visits', ...names.map((name) => `from-${name}`));
          return values.join() === [names.length, ...names.map(() => 'hello')].join();
        });
      }
    } finally {
      for (const client of clients) client.disconnect();
    }
  });
});
