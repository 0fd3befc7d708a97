import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { parse } from 'yaml';

import { ActiveActiveRedis } from '../components';
import { generate, generatedTypes, sha256Hex } from './generated';
import { type Manifest, render, type RenderOptions, writeFolder, yamlOf } from '.';

let dir = '';
beforeEach(() => (dir = mkdtempSync(path.join(tmpdir(), 'meridian-render-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const regions = [{ name: 'west', weight: 60, primary: true }, { name: 'east' }];
const mesh = (more = {}) =>
  render(() => new ActiveActiveRedis('redis', { stack: 's', regions, agentImage: 'meridian:1', ...more }), {
    stack: 's',
  });
const meshWith = (options: Partial<RenderOptions>, more = {}) =>
  render(() => new ActiveActiveRedis('redis', { stack: 's', regions, agentImage: 'meridian:1', ...more }), {
    stack: 's',
    ...options,
  });

function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}

const stringsOf = (manifest: Manifest) => manifest.object['stringData'] as Record<string, string>;
const filesOf = (manifests: readonly Manifest[]): Map<string, string> =>
  new Map(manifests.map((manifest) => [manifest.file, yamlOf(manifest, [])]));

describe('without secrets', () => {
  test('Secrets say where their values come from, and the same stack gives the same files', async () => {
    const [{ manifests }, again] = [await mesh(), await mesh()];
    expect(filesOf(again.manifests)).toEqual(filesOf(manifests));

    const app = find(manifests, 'Secret', 'redis-west-user-app');
    expect(stringsOf(app)).toEqual({
      username: 'app',
      password: '<password of redis-west-user-app, from RandomPassword redis-security-app-a>',
    });
    expect(app.references).toEqual(['password']);
    const acl = stringsOf(find(manifests, 'Secret', 'redis-west-user-acl'))['users.acl'] ?? '';
    expect(acl).toMatch(/^<users\.acl of redis-west-user-acl, from .*RandomPassword redis-security-app-a, .*app-b/);
    expect(stringsOf(find(manifests, 'Secret', 'redis-west-user-redis-tls'))['tls.key']).toBe(
      '<tls.key of redis-west-user-redis-tls, from PrivateKey redis-west-user-redis-tls-key>',
    );
  });

  test('files can be applied in the order of their names, each in the folder of its namespace', async () => {
    const files = (await mesh()).manifests.map(({ file }) => file);
    expect(files).toEqual([...files].sort());
    expect(files[0]).toBe('00-cluster/0-namespace-redis-east.yaml');
    const west = files.filter((file) => file.startsWith('redis-west/'));
    const at = (part: string): number => west.findIndex((file) => file.includes(part));
    expect(at('-secret-')).toBeLessThan(at('-statefulset-'));
    expect(at('-statefulset-')).toBeLessThan(at('-horizontalpodautoscaler-'));
  });

  test("what an autoscaler decides is not in them, nor what is in no cluster's API", async () => {
    const { manifests, others } = await mesh();
    const { object } = find(manifests, 'StatefulSet', 'redis-west');
    expect(object['spec']).not.toHaveProperty('replicas');
    expect(find(manifests, 'StatefulSet', 'redis-west-sentinel').object['spec']).toHaveProperty('replicas', 3);
    expect(others).toEqual([]);
    expect(manifests.map(({ apiVersion }) => apiVersion).every((version) => /^[a-z0-9./]+$/.test(version))).toBe(true);
  });

  test('clusters have a folder each', async () => {
    const apart = regions.map((region) => ({
      ...region,
      context: `kube-${region.name}`,
      agentHost: `${region.name}.example.com`,
      agentCidrs: ['192.0.2.0/24'],
    }));
    const { manifests } = await mesh({ regions: apart });
    expect(new Set(manifests.map(({ file }) => file.split('/')[0]))).toEqual(new Set(['kube-west', 'kube-east']));
    expect(find(manifests, 'StatefulSet', 'redis-west').context).toBe('kube-west');
  });
});

describe('with secrets', () => {
  test('values are what the providers would make, and fit together', async () => {
    const { manifests } = await meshWith({ secrets: true });
    const { password = '' } = stringsOf(find(manifests, 'Secret', 'redis-west-user-app'));
    expect(password).toMatch(/^[A-Za-z0-9]{32}$/);
    expect(stringsOf(find(manifests, 'Secret', 'redis-east-user-app'))['password']).toBe(password);
    const acl = stringsOf(find(manifests, 'Secret', 'redis-west-user-acl'))['users.acl'];
    expect(acl).toContain(`user app reset on #${sha256Hex(password)} `);

    const tls = stringsOf(find(manifests, 'Secret', 'redis-west-user-redis-tls'));
    const [cert, ca] = [new X509Certificate(tls['tls.crt'] ?? ''), new X509Certificate(tls['ca.crt'] ?? '')];
    expect(cert.verify(ca.publicKey)).toBe(true);
    expect(ca.ca).toBe(true);
    expect(cert.ca).toBe(false);
    expect(cert.checkHost('redis-west-0.redis-west-nodes.redis-west.svc.cluster.local')).toBeDefined();
    expect(cert.checkHost('redis-east.redis-east.svc.cluster.local')).toBeUndefined();
    expect(cert.checkIP('127.0.0.1')).toBeDefined();
    writeFileSync(path.join(dir, 'key'), tls['tls.key'] ?? '');
    const publicKey = execFileSync('openssl', ['pkey', '-in', path.join(dir, 'key'), '-pubout'], { encoding: 'utf8' });
    expect(cert.publicKey.export({ type: 'spki', format: 'pem' })).toBe(publicKey);
    const days = (Date.parse(cert.validTo) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(364);
    expect(days).toBeLessThan(366);
  });

  test('a state file keeps them; what changes is made anew, and nothing else', async () => {
    const state = path.join(dir, 'state.json');
    const first = filesOf((await meshWith({ secrets: true, state })).manifests);
    expect(statSync(state).mode & 0o777).toBe(0o600);
    expect(filesOf((await meshWith({ secrets: true, state })).manifests)).toEqual(first);

    const longer = regions.map((region) => ({ ...region, agentHost: `${region.name}.example.com` }));
    const second = filesOf((await meshWith({ secrets: true, state }, { regions: longer })).manifests);
    const changed = [...second].filter(([file, text]) => first.get(file) !== text).map(([file]) => file);
    expect(
      changed
        .filter((file) => file.includes('secret'))
        .map((file) => path.basename(file))
        .sort(),
    ).toEqual(['2-secret-redis-east-user-agent-tls.yaml', '2-secret-redis-west-user-agent-tls.yaml']);
  });

  test('a certificate near its end is renewed', async () => {
    const state = path.join(dir, 'state.json');
    const before = filesOf((await meshWith({ secrets: true, state })).manifests);
    jest.useFakeTimers({
      now: Date.now() + 340 * 86_400_000,
      doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'],
    });
    try {
      const after = filesOf((await meshWith({ secrets: true, state })).manifests);
      const tls = 'redis-west/2-secret-redis-west-user-redis-tls.yaml';
      expect(after.get(tls)).not.toBe(before.get(tls));
      const app = 'redis-west/2-secret-redis-west-user-app.yaml';
      expect(after.get(app)).toBe(before.get(app));
    } finally {
      jest.useRealTimers();
    }
  });

  test.each([
    ['no JSON', 'x', /found no state of a render/],
    ['of another stack', JSON.stringify({ version: 1, stack: 'other', values: {} }), /found the state of stack other/],
  ])('a state that is %s is refused, and left alone', async (_, text, message) => {
    const state = path.join(dir, 'state.json');
    writeFileSync(state, text);
    await expect(meshWith({ state })).rejects.toThrow(message);
    expect(readFileSync(state, 'utf8')).toBe(text);
  });

  test('a value that would have to be made up otherwise is refused', async () => {
    const { password } = generatedTypes;
    await expect(generate(password, 'p', { length: 8, special: true })).rejects.toThrow(
      /RandomPassword p can't be made without its provider: special: .* Deploy this stack by `pulumi up`/,
    );
    await expect(generate('random:index/randomPet:RandomPet', 'p', {})).rejects.toThrow(/its type is not among those/);
  });
});

test('YAML keeps every text a text, by YAML 1.1 as kubectl reads it and by 1.2', () => {
  const tricky = [
    'yes',
    'no',
    'on',
    'off',
    'y',
    'null',
    '~',
    '1:30',
    '0o7',
    '017',
    '1_000',
    '1e3',
    '.inf',
    '2020-01-01',
    '<<',
    '',
    ' a',
    '#',
  ];
  const text = fc.oneof(fc.constantFrom(...tricky), fc.string(), fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(
      fc.dictionary(fc.stringMatching(/^[a-z][a-zA-Z]{0,9}$/), fc.oneof(text, fc.integer(), fc.boolean())),
      (data) => {
        const object = { data: { ...data } };
        const yaml = yamlOf({ object }, ['a comment']);
        expect(parse(yaml, { version: '1.1' })).toEqual(object);
        expect(parse(yaml, { version: '1.2' })).toEqual(object);
      },
    ),
  );
});

test('a script stays readable', () => {
  expect(yamlOf({ object: { data: { 'a.sh': 'set -eu\nsay "yes"\n' } } }, [])).toBe(
    'data:\n  a.sh: |\n    set -eu\n    say "yes"\n',
  );
});

describe('a folder', () => {
  const mark = '# ours\n';
  const write = (...names: string[]): string[] =>
    writeFolder(dir, new Map(names.map((name) => [name, `${mark}${name}`])), mark, 0o644);

  test('holds what was rendered last', () => {
    write('a/1.yaml', 'b/2.yaml');
    expect(write('a/1.yaml')).toEqual(['b/2.yaml']);
    expect(readdirSync(dir)).toEqual(['a']);
  });

  test('with something that is not ours is left alone', () => {
    writeFileSync(path.join(dir, 'notes.txt'), 'mine');
    expect(() => write('a.yaml')).toThrow(/notes\.txt is not from a render of this stack/);
    expect(readdirSync(dir)).toEqual(['notes.txt']);
  });
});

describe('npm run render', () => {
  const root = path.join(__dirname, '..');
  const run = (...args: string[]) => {
    const done = spawnSync(process.execPath, ['scripts/run.mjs', 'render', ...args], { cwd: root, encoding: 'utf8' });
    return { status: done.status, stdout: done.stdout, stderr: done.stderr };
  };

  test('writes the dev stack, and lists it for programs', () => {
    const out = path.join(dir, 'out');
    const image = 'meridian@sha256:1';
    const [, inTheDocs = ''] = /--set (meridian:\S+?)`/.exec(
      readFileSync(path.join(root, 'docs/kubernetes.md'), 'utf8'),
    )!;
    const { status, stdout } = run(
      '--set',
      inTheDocs,
      '--stack',
      'dev',
      '--out',
      out,
      '--json',
      '--set',
      `meridian:kubernetes.agentImage=${image}`,
    );
    expect(status).toBe(0);
    const listed = JSON.parse(stdout) as { manifests: { file: string; kind: string; references: string[] }[] };
    for (const { file } of listed.manifests) expect(existsSync(path.join(out, file))).toBe(true);
    expect(listed.manifests.filter(({ kind }) => kind === 'Namespace')).toHaveLength(3);
    const agent = readFileSync(path.join(out, 'redis-us-west-2/4-statefulset-redis-us-west-2-agent.yaml'), 'utf8');
    expect(agent).toMatch(/^# Rendered from stack dev of Meridian; changes here are lost\.\n/);
    expect(agent).toContain(`image: ${image}`);
  });

  test.each([
    [['--stack', 'nix', '--out', 'x'], /Pulumi\.nix\.yaml: there is no such file/],
    [['--out', 'x'], /required option '--stack <name>'/],
    [['--stack', 'local', '--out', 'x'], /stack local has nothing on Kubernetes/],
    [
      ['--stack', 'prod', '--out', 'x', '--set', 'meridian:kubernetes.agentImage=a'],
      /stack prod has \d+ resources of other providers, such as aws:/,
    ],
    [['--stack', 'dev', '--out', 'package.json'], /--out .*package\.json: found a file; allowed: a new folder/],
    [['--stack', 'dev', '--out', 'x', '--set', 'image=1'], /--set image=1: allowed: key=value/],
    [['--stack', 'dev', '--out', 'x', '--set', 'meridian:redis.maxmemory=2gb'], /75 % of memoryLimit/],
  ])('%j is refused in one line', (args, message) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(existsSync(path.join(root, 'x'))).toBe(false);
  });
});
