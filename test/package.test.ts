import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { rules } from '../policies/rules';
import { Engine } from '../policies/testing/engine';

// The package as other programs get it: packed, installed beside what it depends on, compiled against and run.

jest.setTimeout(280_000);

const root = path.join(__dirname, '..');
const dir = mkdtempSync(path.join(tmpdir(), 'meridian-package-'));

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
}
const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;
const optional = Object.keys(readManifest(root).peerDependenciesMeta);

/** A program that has all packages, and one that has those only that nobody can do without. */
const project = path.join(dir, 'full');
const bare = path.join(dir, 'bare');
const packageIn = (folder: string): string => path.join(folder, 'node_modules/meridian-redis');
const installed = packageIn(project);

function run(command: string, args: readonly string[], cwd: string): string {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${done.status}:\n${done.stdout}${done.stderr}`);
  return done.stdout;
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
}

/** Puts the packages of this repository there, as links: it is they that are tried with, and no registry is asked. */
function link(folder: string, without: readonly string[]): void {
  const from = path.join(root, 'node_modules');
  const names = readdirSync(from).flatMap((name) =>
    name.startsWith('@') ? readdirSync(path.join(from, name)).map((inner) => `${name}/${inner}`) : [name],
  );
  for (const name of names.filter((one) => !one.startsWith('.') && !without.includes(one))) {
    const place = path.join(folder, 'node_modules', name);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(path.join(from, name), place);
  }
}

beforeAll(() => {
  // With the script that builds it, as for a release.
  run('npm', ['pack', '--pack-destination', dir], root);
  const archive = readdirSync(dir).find((name) => name.endsWith('.tgz')) ?? 'none';
  for (const [folder, without] of [
    [project, []],
    [bare, optional],
  ] as const) {
    mkdirSync(packageIn(folder), { recursive: true });
    run('tar', ['-xzf', path.join(dir, archive), '--strip-components=1', '-C', packageIn(folder)], dir);
    link(folder, without);
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'project', private: true }));
  }
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('it has what it needs, and neither tests nor the stack', () => {
  const files = filesIn(installed);
  expect(files).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'README.md',
      'bin/meridian.js',
      'dist/agent/main.js',
      'dist/agent/mesh.proto',
      'dist/components/index.js',
      'dist/components/kubernetes/scripts/redis-start.sh',
      'dist/local/cli.js',
      'dist/policies/PulumiPolicy.yaml',
      'dist/policies/index.js',
      'dist/policies/package.json',
      'dist/types/components/index.d.ts',
      'dist/types/model/index.d.ts',
    ]),
  );
  expect(
    files.filter((file) => /testing|testserver|\.test\.|(^|\/)bench\/|dist\/index|(?<!\.d)\.ts$/.test(file)),
  ).toEqual([]);
});

test("the agent's program takes little memory: its source stays there, two bytes a character where one is beyond Latin-1", () => {
  const source = readFileSync(path.join(installed, 'dist/agent/main.js'), 'utf8');
  expect(source.length).toBeLessThan(2_000_000);
  expect([...source].filter((character) => character > 'ÿ')).toEqual([]);
});

test('all that its code loads is among its dependencies', () => {
  const { dependencies, peerDependencies } = readManifest(installed);
  const missing = filesIn(path.join(installed, 'dist'))
    // One file holds its libraries, with what they look for and can do without.
    .filter((file) => file.endsWith('.js') && file !== 'agent/main.js')
    .flatMap((file) => {
      const text = readFileSync(path.join(installed, 'dist', file), 'utf8');
      const names = [...text.matchAll(/\brequire(?:\.resolve)?\("([^"./][^"]*)"\)/g)].map(([, name]) => name ?? '');
      return names.map((name) => name.split('/', name.startsWith('@') ? 2 : 1).join('/')).map((name) => [file, name]);
    })
    .filter(([, name = '']) => !name.startsWith('node:') && !builtinModules.includes(name))
    .filter(([, name = '']) => !(name in dependencies) && !(name in peerDependencies));
  expect(missing).toEqual([]);
});

const program = `
import * as pulumi from '@pulumi/pulumi';
import { ActiveActiveRedis, LocalMesh, PeerTopology, type RegionEndpoint } from 'meridian-redis';
import { parseStackConfig } from 'meridian-redis/model';

const made: string[] = [];
async function main(): Promise<void> {
  await pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      made.push(type);
      return { id: name, state: { ...inputs, ...(type.startsWith('random:') ? { result: 'made-up' } : {}) } };
    },
    call: ({ inputs }) => inputs,
  });
  const regions = [{ name: 'west', primary: true }, { name: 'east' }];
  const mesh = new ActiveActiveRedis('redis', { stack: 'demo', regions, agentImage: 'meridian@sha256:1', topology: PeerTopology.Ring });
  const host: pulumi.Output<string> = mesh.endpoints.apply((all: Record<string, RegionEndpoint>) => all['east']?.host ?? 'nowhere');
  new LocalMesh('local', { stack: 'demo', regions });
  // @ts-expect-error: arguments are checked
  const wrong: ConstructorParameters<typeof LocalMesh>[1] = { stack: 7, regions };
  const read = parseStackConfig({ regions: [] });
  const known = await new Promise<string>((resolve) => host.apply(resolve));
  await pulumi.runtime.disconnect();
  console.log(JSON.stringify({ known, ok: read.ok, wrong: typeof wrong, count: made.length, types: [...new Set(made)] }));
}
void main();
`;

/** By the strictest that a program can ask for: the types of what it depends on are checked, too. */
function compile(folder: string, text: string): void {
  const compilerOptions = {
    strict: true,
    module: 'Node16',
    moduleResolution: 'Node16',
    target: 'ES2022',
    types: ['node'],
    skipLibCheck: false,
  };
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['index.ts'] }));
  writeFileSync(path.join(folder, 'index.ts'), text);
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '--project', '.'], folder);
}

test('a program in strict TypeScript compiles against it, and runs', () => {
  compile(project, program);
  const said = JSON.parse(run(process.execPath, ['index.js'], project)) as Record<string, unknown>;
  expect(said).toMatchObject({ known: 'redis-east.redis-east.svc.cluster.local', ok: false, wrong: 'object' });
  expect(said['types']).toEqual(
    expect.arrayContaining([
      'meridian:index:ActiveActiveRedis',
      'meridian:index:LocalMesh',
      'pulumi-nodejs:dynamic/meridian:LocalProcesses',
      'kubernetes:apps/v1:StatefulSet',
    ]),
  );
});

const bareProgram = `
import * as pulumi from '@pulumi/pulumi';
import { ActiveActiveRedis, AliyunRedis, ElastiCacheRedis, LocalMesh, PackageError, RedisSecurity } from 'meridian-redis';

const made: string[] = [];
const said: string[] = [];
function refuses(make: () => pulumi.ComponentResource): void {
  try {
    make();
    said.push('made it');
  } catch (error) {
    if (!(error instanceof PackageError) || !pulumi.RunError.isInstance(error)) throw error;
    said.push(error.message);
  }
}
async function main(): Promise<void> {
  await pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      made.push(type);
      return { id: name, state: { ...inputs, ...(type.startsWith('random:') ? { result: 'made-up' } : {}) } };
    },
    call: ({ inputs }) => inputs,
  });
  const regions = [{ name: 'west', primary: true }, { name: 'east' }];
  const { userPasswords } = new RedisSecurity('security', { stack: 'demo' });
  new LocalMesh('local', { stack: 'demo', regions });
  refuses(() => new ActiveActiveRedis('redis', { stack: 'demo', regions, agentImage: 'meridian@sha256:1' }));
  const clientCidrs = { apps: '10.0.0.0/16' };
  refuses(() => new ElastiCacheRedis('aws', { region: 'us-west-2', vpcId: 'v', subnetIds: ['a', 'b'], userPasswords, clientCidrs }));
  const zones = { zoneId: 'cn-hangzhou-h', secondaryZoneId: 'cn-hangzhou-i', vswitchId: 'v' };
  refuses(() => new AliyunRedis('aliyun', { region: 'cn-hangzhou', ...zones, userPasswords, clientCidrs }));
  const elasticache = { vpcId: 'v', subnetIds: ['a', 'b'], clientCidrs };
  const aws = { backend: 'elasticache', elasticache, redisCidrs: ['10.0.0.0/16'] } as const;
  const [west = { name: 'west' }, east = { name: 'east' }] = regions;
  const mixed = { stack: 'demo', agentImage: 'meridian@sha256:1', agent: { mode: 'async' }, acceptWholeKeyMerge: true } as const;
  refuses(() => new ActiveActiveRedis('mixed', { ...mixed, regions: [{ ...west, ...aws }, east] }));
  await pulumi.runtime.disconnect();
  console.log(JSON.stringify({ said, types: [...new Set(made)] }));
}
void main();
`;

test('without the packages of providers it compiles as strictly, and names those that a component lacks, before anything is made', () => {
  compile(bare, bareProgram);
  const { said, types } = JSON.parse(run(process.execPath, ['index.js'], bare)) as Record<string, unknown>;
  const range = readManifest(root).peerDependencies;
  const kubernetes = `@pulumi/kubernetes@${range['@pulumi/kubernetes'] ?? ''}`;
  const aws = `@pulumi/aws@${range['@pulumi/aws'] ?? ''}`;
  expect(said).toEqual([
    `ActiveActiveRedis 'redis' needs @pulumi/kubernetes, which is not installed here: npm install ${kubernetes}`,
    `ElastiCacheRedis 'aws' needs @pulumi/aws, which is not installed here: npm install ${aws}`,
    `AliyunRedis 'aliyun' needs @pulumi/alicloud, which is not installed here: npm install @pulumi/alicloud@${range['@pulumi/alicloud'] ?? ''}`,
    `ActiveActiveRedis 'mixed' needs @pulumi/kubernetes and @pulumi/aws, which are not installed here: npm install ${kubernetes} ${aws}`,
  ]);
  expect(types).toEqual(
    expect.arrayContaining(['meridian:index:LocalMesh', 'random:index/randomPassword:RandomPassword']),
  );
  expect((types as string[]).filter((type) => /ActiveActive|ElastiCache|Aliyun/.test(type))).toEqual([]);
});

test('its policy pack runs in place, as JavaScript, and refuses', async () => {
  const pack = path.join(installed, 'dist/policies');
  expect(filesIn(pack).filter((file) => file.endsWith('.ts'))).toEqual([]);
  expect(readFileSync(path.join(pack, 'PulumiPolicy.yaml'), 'utf8')).toMatch(/^main: index\.js$[^]*typescript: false/m);
  const engine = await Engine.start(pack);
  try {
    expect(await engine.info()).toEqual({ name: 'meridian', policies: rules.map(({ name }) => name) });
    const type = 'aws:elasticache/replicationGroup:ReplicationGroup';
    const raw = { engine: 'valkey', transitEncryptionEnabled: false };
    const one = { type, name: 'redis', urn: `${type}::redis`, raw, protect: true, provider: undefined, dependsOn: [] };
    const found = await engine.violations([one], 'prod');
    expect(found).toContainEqual(
      expect.objectContaining({ policy: 'managed-tls', resource: 'ReplicationGroup redis', isMandatory: true }),
    );
  } finally {
    await engine.stop();
  }
});

test.each([
  ['full', project],
  ['bare', bare],
])('its command runs from where it is installed: %s', (_, folder) => {
  const version = run(process.execPath, [path.join(packageIn(folder), 'bin/meridian.js'), '--version'], folder).trim();
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});
