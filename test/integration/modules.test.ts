import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Redis } from 'ioredis';
import { Mesh, type Region, until } from './mesh';

// A type that only a module knows: whole keys travel, as Redis dumps them. The module is compiled here (testdata/box.c).

const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
const onlyWithCompiler = compiler === undefined ? test.skip : test;

let folder: string;
let mesh: Mesh;

beforeAll(() => {
  if (compiler === undefined) return;
  folder = mkdtempSync(path.join(os.tmpdir(), 'meridian-box-'));
  const source = path.join(__dirname, 'testdata', 'box.c');
  execFileSync(compiler, ['-shared', '-fPIC', '-O1', '-o', path.join(folder, 'box.so'), source]);
});
afterEach(() => mesh?.stop());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function start(without: readonly string[] = []): Promise<(name: string) => Redis> {
  const load = [`loadmodule ${path.join(folder, 'box.so')}`];
  mesh = await Mesh.start({ redisConf: (region) => (without.includes(region) ? [] : load) });
  const clients = new Map(mesh.regions.map((region) => [region.name, region.client()]));
  return (name) => clients.get(name)!;
}

const box = (client: Redis, key: string): Promise<unknown> => client.call('BOX.GET', key);

async function letters(region: Region): Promise<string[]> {
  const { letters } = JSON.parse((await region.http('/dead-letters')).text) as { letters: { key: string }[] };
  return letters.map(({ key }) => key).sort();
}

onlyWithCompiler('keys of a type of a module are the same everywhere', async () => {
  const client = await start();
  await client('alpha').call('BOX.PUT', 'quiet', 'one');
  await mesh.waitEqual();
  expect(await box(client('gamma'), 'quiet')).toBe('one');

  const writes = ['alpha', 'beta', 'gamma'].map((name) => async () => {
    for (let i = 0; i < 20; i++) await client(name).call('BOX.PUT', `hot:${i % 5}`, `${name} ${i}`);
  });
  await Promise.all(writes.map((write) => write()));
  await mesh.apart(
    () => client('alpha').call('BOX.PUT', 'apart', 'first'),
    () => client('beta').call('BOX.PUT', 'apart', 'second'),
  );
  await client('beta').del('quiet');
  await mesh.waitEqual();
  expect(await client('gamma').exists('quiet')).toBe(0);
  expect(await client('gamma').exists('hot:0', 'hot:1', 'hot:2', 'hot:3', 'hot:4')).toBe(5);
  expect(await box(client('gamma'), 'apart')).toMatch(/^(first|second)$/);

  await mesh.region('beta').redis.signal('SIGKILL');
  await mesh.region('beta').startRedis();
  await mesh.ready();
  await mesh.waitEqual();
  expect(await client('beta').exists('hot:0', 'hot:1', 'hot:2', 'hot:3', 'hot:4', 'apart')).toBe(6);
});

onlyWithCompiler('a region without the module keeps dead letters, and takes nothing from the others', async () => {
  const client = await start(['gamma']);
  const gamma = mesh.region('gamma');
  await client('alpha').call('BOX.PUT', 'box', 'one');
  await client('alpha').set('plain', 1);
  await until(async () => (await letters(gamma)).includes('box'), 15_000, 'gamma has no dead letter');
  expect(await client('gamma').exists('box')).toBe(0);

  // Its Redis comes back with all that it has, which is compared with what it should have.
  await gamma.redis.signal('SIGKILL');
  await gamma.startRedis();
  await mesh.ready();
  await client('gamma').incr('plain');
  await until(async () => (await client('alpha').get('plain')) === '2', 15_000, 'gamma is not heard');
  await until(async () => (await client('beta').get('plain')) === '2', 15_000, 'gamma is not heard');
  expect(await box(client('alpha'), 'box')).toBe('one');
  expect(await box(client('beta'), 'box')).toBe('one');

  // So with its agent, and while others write.
  await gamma.restartAgent();
  await mesh.ready();
  mesh.partition('alpha');
  await client('alpha').call('BOX.PUT', 'box', 'two');
  await client('beta').call('BOX.PUT', 'box', 'three');
  mesh.heal();
  await until(
    async () => (await box(client('alpha'), 'box')) === (await box(client('beta'), 'box')),
    15_000,
    'alpha and beta differ',
  );
  expect(await box(client('alpha'), 'box')).toMatch(/^(two|three)$/);
  // What a client there does is a write as any other.
  await client('gamma').set('box', 'plain');
  await until(async () => (await client('alpha').type('box')) === 'string', 15_000, 'a SET of gamma is not heard');
  await until(async () => (await client('beta').type('box')) === 'string', 15_000, 'a SET of gamma is not heard');
});
