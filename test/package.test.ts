import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

// The package as other programs get it: packed, installed beside what it depends on, compiled against and run.

jest.setTimeout(280_000);

const root = path.join(__dirname, '..');
const dir = mkdtempSync(path.join(tmpdir(), 'meridian-package-'));
const project = path.join(dir, 'project');
const installed = path.join(project, 'node_modules/meridian-redis');

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

beforeAll(() => {
  // With the script that builds it, as for a release.
  run('npm', ['pack', '--pack-destination', dir], root);
  mkdirSync(installed, { recursive: true });
  const archive = readdirSync(dir).find((name) => name.endsWith('.tgz')) ?? 'none';
  run('tar', ['-xzf', path.join(dir, archive), '--strip-components=1', '-C', installed], dir);
  symlinkSync(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
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
      'dist/types/components/index.d.ts',
      'dist/types/model/index.d.ts',
    ]),
  );
  expect(
    files.filter((file) => /testing|testserver|\.test\.|(^|\/)bench\/|dist\/index|(?<!\.d)\.ts$/.test(file)),
  ).toEqual([]);
});

test('all that its code loads is among its dependencies', () => {
  const manifest = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const missing = filesIn(path.join(installed, 'dist'))
    // One file holds its libraries, with what they look for and can do without.
    .filter((file) => file.endsWith('.js') && file !== 'agent/main.js')
    .flatMap((file) => {
      const text = readFileSync(path.join(installed, 'dist', file), 'utf8');
      const names = [...text.matchAll(/\brequire\("([^"./][^"]*)"\)/g)].map(([, name]) => name ?? '');
      return names.map((name) => name.split('/', name.startsWith('@') ? 2 : 1).join('/')).map((name) => [file, name]);
    })
    .filter(([, name = '']) => !name.startsWith('node:') && !builtinModules.includes(name))
    .filter(([, name = '']) => !(name in manifest.dependencies));
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

test('a program in strict TypeScript compiles against it, and runs', () => {
  const compilerOptions = {
    strict: true,
    module: 'Node16',
    moduleResolution: 'Node16',
    target: 'ES2022',
    types: ['node'],
    typeRoots: [path.join(root, 'node_modules/@types')],
    skipLibCheck: true,
  };
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'project', private: true }));
  writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['index.ts'] }));
  writeFileSync(path.join(project, 'index.ts'), program);
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '--project', '.'], project);
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

test('its command runs from where it is installed', () => {
  const version = run(process.execPath, [path.join(installed, 'bin/meridian.js'), '--version'], project).trim();
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});
