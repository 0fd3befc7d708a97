import { readdirSync } from 'node:fs';
import path from 'node:path';

import { ArgumentError, LocalMesh, type LocalMeshArgs, PeerTopology } from '..';
import { type StackStatus } from '../../local/status';
import { isFree } from '../../agent/free-port';
import { Cleanup, freeBasePort, lives, Meridian, redisBinary, until } from '../../local/testing';
import { deploy, valueOf } from '../testing';
import { DynamicHost, type Properties } from '../testing/dynamic';

jest.setTimeout(180_000);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const regions = [{ name: 'west', primary: true }, { name: 'east' }];

/** What the engine would get: the inputs of the one resource, the provider's own text among them. */
async function inputsOf(args: Partial<LocalMeshArgs> = {}): Promise<Properties> {
  const made = await deploy(() => new LocalMesh('redis', { stack: 'demo', regions, ...args }));
  return made.find('redis', 'LocalProcesses').inputs;
}

describe('the component', () => {
  test('one resource, and its password is secret', async () => {
    const made = await deploy(
      () => new LocalMesh('redis', { stack: 'demo', regions, stateDir: '/var/tmp/demo', topology: PeerTopology.Star }),
      { outputs: () => ({ endpoints: { west: { port: 7500 } }, password: 'Tweety' }) },
    );
    expect(made.resources.map(({ type, name, parent }) => [type, name, parent])).toEqual([
      ['meridian:index:LocalMesh', 'redis', undefined],
      ['pulumi-nodejs:dynamic/meridian:LocalProcesses', 'redis', 'redis'],
    ]);
    const { inputs } = made.find('redis', 'LocalProcesses');
    expect(inputs).toMatchObject({
      stack: 'demo',
      stateDir: '/var/tmp/demo',
      basePort: 7500,
      program: path.join(__dirname, '../../bin/meridian.js'),
    });
    const { config } = JSON.parse(String(inputs['config'])) as { config: Record<string, unknown> };
    expect(config).toMatchObject({
      'meridian:regions': [
        { name: 'west', primary: true, backend: 'local', replicas: 0 },
        { name: 'east', backend: 'local', replicas: 0 },
      ],
      'meridian:replication': { topology: 'star', mode: 'async' },
    });
    expect(await valueOf(made.result.password)).toEqual({ value: 'Tweety', secret: true });
    expect((await valueOf(made.result.endpoints)).value).toEqual({ west: { port: 7500 } });
    expect((await valueOf(made.result.links)).value).toEqual({ west: ['east'], east: ['west'] });
  });

  test('the provider needs nothing but Node.js', async () => {
    const text = String((await inputsOf())['__provider']);
    const modules = [...text.matchAll(/require\((.*?)\)/g)].map(([, name]) => name?.replace(/["']/g, '') ?? '');
    expect(modules.length).toBeGreaterThan(0);
    expect(modules.filter((name) => !name.startsWith('node:'))).toEqual([]);
  });

  test.each<[string, Partial<LocalMeshArgs>, RegExp]>([
    ['one region', { regions: regions.slice(0, 1) }, /regions: found .*; allowed: at least two regions/],
    ['no primary', { regions: regions.slice(1).concat({ name: 'south' }) }, /regions: found no region with primary/],
    ['a stack that is a path', { stack: '../demo' }, /stack: found \.\.\/demo/],
    ['too high a port', { basePort: 65_530 }, /basePort: found 65530; allowed: a whole number from 1 to 65516/],
    ['too little memory', { maxmemoryBytes: 1 }, /maxmemoryBytes: found 1; allowed: a size from 16mb/],
    ['a hub of a mesh', { hub: 'west' }, /\bhub: found "west", with topology mesh/],
  ])('%s is refused before anything is made', async (_, args, message) => {
    const made = inputsOf(args);
    await expect(made).rejects.toThrow(message);
    await expect(made).rejects.toBeInstanceOf(ArgumentError);
  });
});

describe("in Pulumi's own host of dynamic providers", () => {
  let meridian: Meridian;
  let base: number;
  let stateDir: string;

  beforeEach(async () => {
    meridian = new Meridian(cleanup.dir());
    base = await freeBasePort(30);
    stateDir = path.join(meridian.cwd, '.meridian', 'demo');
    cleanup.add(() => meridian.run('down', '--stack', 'demo', '--purge'));
  });

  const inputs = (args: Partial<LocalMeshArgs> = {}): Promise<Properties> =>
    inputsOf({ stateDir, basePort: base, ...args });

  /** As one deployment: a host that is ended with all of its processes. */
  async function deployment<T>(act: (host: DynamicHost) => Promise<T>): Promise<T> {
    const host = await DynamicHost.start(meridian.cwd, {
      ...process.env,
      MERIDIAN_REDIS_SERVER: redisBinary().path,
    });
    try {
      return await act(host);
    } finally {
      await host.stop();
    }
  }

  const cli = async (region: string, ...command: string[]): Promise<string> => {
    const { stdout, stderr } = await meridian.run('cli', '--stack', 'demo', region, ...command);
    return `${stdout}${stderr}`.trim();
  };
  const status = (): Promise<StackStatus> => meridian.json<StackStatus>('status', '--stack', 'demo');
  const regionsIn = (outputs: Properties): string[] => Object.keys(outputs['endpoints'] as object).sort();
  const pids = async (): Promise<number[]> =>
    (await status()).regions.flatMap(({ redis, agent }) => [redis.pid ?? 0, agent.pid ?? 0]);

  test('create, read, update, delete: a working mesh, whose data outlives all of it', async () => {
    const two = await inputs();
    const { id, outputs } = await deployment(async (host) => {
      expect((await host.check({}, two)).failures).toEqual([]);
      return host.create(two);
    });
    expect(id).toBe(stateDir);
    expect(outputs).toMatchObject({
      endpoints: {
        west: { host: '127.0.0.1', port: base, replicaPorts: [], agentUrl: `http://127.0.0.1:${base + 9}` },
        east: { host: '127.0.0.1', port: base + 10 },
      },
    });
    expect(String(outputs['password'])).toMatch(/\S{16,}/);
    expect(await cli('west', 'SET', 'greeting', 'hello')).toBe('OK');
    await until('it is in the other region', async () => (await cli('east', 'GET', 'greeting')).includes('hello'));

    // Nothing has changed: no difference, and the processes are left alone.
    const before = await pids();
    await deployment(async (host) => {
      expect(await host.diff(id, outputs, two)).toEqual({ changes: false, replaces: [] });
      expect((await host.read(id, outputs)).outputs).toEqual(outputs);
    });
    expect(await pids()).toEqual(before);

    // A region more: it joins, and has the data.
    const three = await inputs({ regions: [...regions, { name: 'south' }] });
    const grown = await deployment(async (host) => {
      expect(await host.diff(id, outputs, three)).toEqual({ changes: true, replaces: [] });
      return host.update(id, outputs, three);
    });
    expect(regionsIn(grown)).toEqual(['east', 'south', 'west']);
    expect(grown['password']).toBe(outputs['password']);
    await until('the new region has it', async () => (await cli('south', 'GET', 'greeting')).includes('hello'));
    expect(await cli('south', 'SET', 'farewell', 'bye')).toBe('OK');

    // A region less: what it wrote last is in the others, and its data is gone.
    const shrunk = await deployment((host) => host.update(id, grown, two));
    expect(regionsIn(shrunk)).toEqual(['east', 'west']);
    expect(await cli('west', 'GET', 'farewell')).toContain('bye');
    expect(readdirSync(path.join(stateDir, 'regions')).sort()).toEqual(['east', 'west']);

    // What is deleted while a region is away does not come back with it.
    expect(await cli('west', 'DEL', 'greeting')).toBe('1');
    const again = await deployment((host) => host.update(id, shrunk, three));
    expect(await cli('south', 'GET', 'farewell')).toContain('bye');
    expect(await cli('south', 'EXISTS', 'greeting')).toBe('0');
    expect(await cli('west', 'EXISTS', 'greeting')).toBe('0');

    const running = await pids();
    await deployment((host) => host.delete(id, again));
    expect(running.filter(lives)).toEqual([]);
    expect((await deployment((host) => host.read(id, again))).id).toBe('');

    // The data stayed: another mesh in the same place goes on with it.
    const anew = await deployment((host) => host.create(two));
    expect(await cli('east', 'GET', 'farewell')).toContain('bye');
    const purging = { ...anew.outputs, purge: true };
    await deployment((host) => host.delete(id, purging));
    expect(readdirSync(meridian.cwd)).toEqual([]);
  });

  test('a mesh that was stopped by hand is a difference, and starts again', async () => {
    const wanted = await inputs();
    await deployment(async (host) => {
      const { id, outputs } = await host.create(wanted);
      expect(await cli('west', 'SET', 'k', 'v')).toBe('OK');
      await meridian.run('down', '--stack', 'demo');
      expect(await host.diff(id, outputs, wanted)).toEqual({ changes: true, replaces: [] });
      expect(await host.update(id, outputs, wanted)).toEqual(outputs);
    });
    expect(await cli('west', 'GET', 'k')).toContain('v');
  });

  test('another base port moves the mesh, with its data', async () => {
    const replicated = regions.map((region) => ({ ...region, replicas: 1 }));
    const here = await inputs({ regions: replicated });
    const { id, outputs } = await deployment((host) => host.create(here));
    expect(await cli('west', 'SET', 'k', 'v')).toBe('OK');
    await until('it is in the other region', async () => (await cli('east', 'GET', 'k')).includes('v'));
    const before = await pids();

    const to = await freeBasePort(30);
    const there = await inputs({ regions: replicated, basePort: to });
    const moved = await deployment(async (host) => {
      // An update, which a preview shows by the changed port: a replacement would begin with nothing where `purge` is set.
      expect(await host.diff(id, outputs, there)).toEqual({ changes: true, replaces: [] });
      return host.update(id, outputs, there);
    });
    expect(moved).toMatchObject({
      basePort: to,
      password: outputs['password'],
      endpoints: {
        west: { port: to, replicaPorts: [to + 1], agentUrl: `http://127.0.0.1:${to + 9}` },
        east: { port: to + 10, replicaPorts: [to + 11] },
      },
    });
    expect(before.filter(lives)).toEqual([]);
    const held = await Promise.all(Array.from({ length: 20 }, (_, i) => isFree(base + i)));
    expect(held).toEqual(Array.from({ length: 20 }, () => true));
    expect(await cli('east', 'GET', 'k')).toContain('v');
    expect(await cli('east', 'SET', 'k', 'w')).toBe('OK');
    await until('it goes on', async () => (await cli('west', 'GET', 'k')).includes('w'));
    await deployment(async (host) => {
      expect(await host.diff(id, moved, there)).toEqual({ changes: false, replaces: [] });
      await host.delete(id, moved);
    });
  });

  test('another stack or another folder is another mesh', async () => {
    const [here, there] = [await inputs(), await inputs({ stack: 'other', stateDir: `${stateDir}-2` })];
    const { replaces } = await deployment((host) => host.diff(stateDir, here, there));
    expect(replaces).toEqual(['stack', 'stateDir']);
  });

  test('what can not start says why, and leaves nothing running', async () => {
    // The same ports, in another folder.
    const second = await inputs({ stack: 'second', stateDir: path.join(meridian.cwd, '.meridian', 'second') });
    await deployment(async (host) => {
      const first = await host.create(await inputs());
      await expect(host.create(second)).rejects.toThrow(`Port ${base} (Redis of west) is in use`);
      await expect(host.create(await inputs())).rejects.toThrow(/Stack 'demo' is running already .*meridian down/);
      expect((await status()).regions.map(({ agent }) => agent.state)).toEqual(['active', 'active']);
      await host.delete(first.id, first.outputs);
    });
  });

  test('a region with changes that nobody else has does not leave', async () => {
    const three = await inputs({ regions: [...regions, { name: 'south' }] });
    const two = await inputs();
    await deployment(async (host) => {
      const { id, outputs } = await host.create(three);
      await meridian.run('fault', 'partition', '--stack', 'demo', 'south');
      await cli('south', 'SET', 'only', 'here');
      await expect(host.update(id, outputs, two)).rejects.toThrow(/south can't leave: .*Heal the links/);
      expect(await cli('south', 'GET', 'only')).toContain('here');
      await meridian.run('fault', 'heal', '--stack', 'demo');
      await host.update(id, outputs, two);
    });
    expect(await cli('east', 'GET', 'only')).toContain('here');
  });
});
