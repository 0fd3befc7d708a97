import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { agentNodeOptions } from '../agent/node-options';
import { createCa, issueCertificate } from '../agent/peers/certificates';

// What is in the image, and that the Dockerfile takes it from where this comes from. A Docker engine is not needed, and not there.

const root = path.join(__dirname, '..');
let dir = '';
beforeAll(() => (dir = mkdtempSync(path.join(tmpdir(), 'meridian-image-'))));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const assemble = (...args: string[]) =>
  spawnSync(process.execPath, ['scripts/image.mjs', ...args], { cwd: root, encoding: 'utf8' });

test('a root filesystem in which the programs run by themselves', () => {
  const tree = path.join(dir, 'tree');
  const done = assemble('--out', tree);
  expect(done).toMatchObject({ status: 0, stderr: '' });
  const files = readdirSync(path.join(tree, 'app'), { recursive: true, encoding: 'utf8' });
  expect(files.filter((file) => file.includes('node_modules') || file.includes('pulumi'))).toEqual([]);
  expect(files).toEqual(
    expect.arrayContaining(['dist/agent/main.js', 'dist/agent/mesh.proto', 'dist/compose/init.js']),
  );
  expect(readFileSync(path.join(tree, 'etc/passwd'), 'utf8')).toContain('meridian:x:999:999:');

  // Out of reach of this repository's node_modules.
  const node = path.join(tree, 'usr/local/bin/node');
  const help = spawnSync(node, ['app/dist/agent/main.js', '--help'], { cwd: tree, encoding: 'utf8' });
  expect(help).toMatchObject({ status: 0, stdout: expect.stringContaining('usage: node main.js --config FILE') });
  const init = spawnSync(node, ['app/dist/compose/init.js'], { cwd: tree, encoding: 'utf8' });
  expect(init).toMatchObject({ status: 1, stderr: expect.stringContaining('meridian init: found no argument') });
});

test('certificates that do not fit together: the agent says which files, and ends', async () => {
  const ca = await createCa({ stack: 'test' });
  const [paris, tokyo] = await Promise.all(
    ['paris', 'tokyo'].map((region) => issueCertificate(ca, { stack: 'test', region })),
  );
  const files = { 'ca.crt': ca.cert, 'paris.crt': paris!.cert, 'tokyo.key': tokyo!.key };
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(dir, file), text);
  const config = {
    ...{ stack: 'test', region: 'paris', members: [{ name: 'paris', primary: true }, { name: 'tokyo' }] },
    redis: { host: '127.0.0.1', port: 1 },
    listen: { peer: { host: '127.0.0.1', port: 1 }, admin: { host: '127.0.0.1', port: 2 } },
    peers: [{ region: 'tokyo', host: '127.0.0.1', port: 1 }],
    tls: { caFile: 'ca.crt', certFile: 'paris.crt', keyFile: 'tokyo.key' },
    stateDir: 'state',
  };
  writeFileSync(path.join(dir, 'agent.json'), JSON.stringify(config));
  const program = path.join(dir, 'tree/app/dist/agent/main.js');
  const started = spawnSync(process.execPath, [program, '--config', 'agent.json'], { cwd: dir, encoding: 'utf8' });
  expect(started.status).toBe(1);
  expect(started.stderr).toMatch(
    /^meridian agent: agent config:\ntls: found .*ca\.crt, .*paris\.crt, .*tokyo\.key: the key is not that of the certificate; allowed: .*\n$/,
  );
});

test('a folder that holds something is left alone', () => {
  expect(assemble('--app', root)).toMatchObject({ status: 1, stderr: expect.stringContaining('holds something') });
});

describe('the Dockerfile', () => {
  const text = readFileSync(path.join(root, 'Dockerfile'), 'utf8');
  const stages = text.split(/^FROM /m).slice(1);

  test('has its /app from the same list, and nothing else of the build', () => {
    expect(stages).toHaveLength(2);
    expect(stages[0]).toContain('RUN node scripts/image.mjs --app /app\n');
    expect(stages[1]!.match(/^(COPY|ADD) .*$/gm)).toEqual(['COPY --from=build /app /app']);
    expect(stages[1]).not.toMatch(/npm|apk|apt/);
  });

  test('runs as nobody special, on Node.js 24', () => {
    expect(text).toMatch(/^ARG NODE_IMAGE=docker\.io\/library\/node:24-/m);
    expect(stages[1]!.match(/^USER .*$/gm)).toEqual(['USER 999:999']);
    const cmd = /^CMD (.*)$/m.exec(stages[1]!)?.[1] ?? '';
    const { length } = agentNodeOptions;
    expect((JSON.parse(cmd) as string[]).slice(1, 1 + length)).toEqual(agentNodeOptions);
    const [program] = /"(\/app\/[^"]+\.js)"/.exec(stages[1]!)?.slice(1) ?? [];
    expect(existsSync(path.join(dir, 'tree', program ?? ''))).toBe(true);
  });

  test('gets all that the build reads', () => {
    const wanted = readFileSync(path.join(root, '.dockerignore'), 'utf8');
    const build = readFileSync(path.join(root, 'scripts/build.mjs'), 'utf8');
    const folders = [...(/const folders = \[([^\]]*)\]/.exec(build)?.[1] ?? '').matchAll(/'([^'/]+)'/g)].map(
      ([, name]) => name,
    );
    const there = folders.filter((name) => existsSync(path.join(root, name ?? '')));
    expect(there).toContain('agent');
    for (const name of [...there, 'package-lock.json', '.npmrc', 'scripts']) expect(wanted).toContain(`\n!${name}\n`);
  });
});
