// What is in the image: the programs that run in containers, and nothing that installs or deploys. The Dockerfile takes /app from here, so
// that there is one list.
//
//   node scripts/image.mjs --app DIR    what is /app in the image
//   node scripts/image.mjs --out DIR    a whole root filesystem with this machine's Node.js, for those who make images without Docker
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { build, bundles } from './build.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Paths in /app; each is the same below the root of the repository, or of what the build made. */
const appFiles = [
  ...bundles.map((entry) => `dist/${entry.replace(/\.ts$/, '.js')}`),
  'dist/agent/mesh.proto',
  'Pulumi.local.yaml',
  'LICENSE',
];

/** The user of agents, and of Redis in the official images. */
const user = { name: 'meridian', id: 999 };

/** Makes `dir` what /app is in the image. */
async function assembleApp(dir) {
  await build();
  for (const file of appFiles) {
    const to = path.join(dir, file);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.copyFileSync(path.join(root, file), to);
    fs.chmodSync(to, 0o644);
  }
}

/** The libraries that a program of this machine needs, the loader included. */
function librariesOf(program) {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, library]) => library);
}

/** Makes `dir` a root filesystem: /app, Node.js and its libraries, a user. */
async function assembleRoot(dir) {
  const node = fs.realpathSync(process.execPath);
  const copy = (from, to) => {
    fs.mkdirSync(path.dirname(path.join(dir, to)), { recursive: true });
    fs.copyFileSync(fs.realpathSync(from), path.join(dir, to));
    fs.chmodSync(path.join(dir, to), 0o755);
  };
  copy(node, '/usr/local/bin/node');
  for (const library of librariesOf(node)) copy(library, library);
  for (const folder of ['tmp', 'etc/meridian', 'var/lib/meridian', 'proc', 'sys', 'dev'])
    fs.mkdirSync(path.join(dir, folder), { recursive: true });
  fs.chmodSync(path.join(dir, 'tmp'), 0o1777);
  if (process.getuid() === 0) fs.chownSync(path.join(dir, 'var/lib/meridian'), user.id, user.id);
  const { name, id } = user;
  fs.writeFileSync(
    path.join(dir, 'etc/passwd'),
    `root:x:0:0::/:/sbin/nologin\n${name}:x:${id}:${id}::/:/sbin/nologin\n`,
  );
  fs.writeFileSync(path.join(dir, 'etc/group'), `root:x:0:\n${name}:x:${id}:\n`);
  await assembleApp(path.join(dir, 'app'));
}

function sizeOf(dir) {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.statSync(path.join(entry.parentPath ?? entry.path, entry.name)).size, 0);
}

const usage = `usage: npm run image -- --out DIR | --app DIR

  --out DIR   a root filesystem with this machine's Node.js (${process.version})
  --app DIR   only what is /app in it; the Dockerfile does this

DIR must be new or empty.`;

async function main() {
  const { values } = parseArgs({
    options: { out: { type: 'string' }, app: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help) return console.log(usage);
  const dir = values.out ?? values.app;
  if (dir === undefined || (values.out !== undefined && values.app !== undefined)) throw new Error(usage);
  if (fs.existsSync(dir) && fs.readdirSync(dir).length > 0)
    throw new Error(`${dir} holds something; allowed: a folder that is new or empty`);
  fs.mkdirSync(dir, { recursive: true });
  await (values.out === undefined ? assembleApp(dir) : assembleRoot(dir));
  console.log(`${dir}: ${Math.round(sizeOf(dir) / 2 ** 20)} MiB`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main().catch((error) => {
    console.error(`meridian: ${error.message}`);
    process.exitCode = 1;
  });
}
