// Transpiles every TypeScript source to dist/ (CommonJS, source maps, one file to one file; the agent's process, the command and
// the policy pack as one bundle each) and copies the assets that the code reads at run time. Types are checked by `npm run typecheck`, not here: that keeps a build under a second.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const dist = path.join(root, 'dist');
const fingerprintFile = path.join(dist, '.fingerprint');

const folders = [
  'model',
  'agent',
  'controller',
  'console',
  'local',
  'components',
  'plugin',
  'render',
  'compose',
  'bench',
  'test/integration',
  'test/kubernetes',
  'test/sim',
  'test/torture',
];
const assets = new Set(['.proto', '.lua', '.json', '.html', '.css', '.svg', '.js', '.cjs', '.sh']);

/** Programs that are one file each, libraries included: what runs in containers. */
export const bundles = ['agent/main.ts', 'compose/init.ts'];

/** The `meridian` command, too: of two hundred small files finding and reading each took longer than what most commands do. */
const command = 'local/cli.ts';

/** The policy pack: a folder that holds all it runs but Pulumi's packages, so that it can be used in place, copied or published. */
const pack = 'policies';

/** What every build of ours is made for. */
const target = {
  absWorkingDir: root,
  write: false,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  sourcemap: 'linked',
  logLevel: 'error',
};

/** Paths below the root, of what a build reads: TypeScript sources and assets. */
function listInputs() {
  const sources = fs.existsSync(path.join(root, 'index.ts')) ? ['index.ts'] : [];
  const copies = [];
  const walk = (dir) => {
    for (const entry of fs.readdirSync(path.join(root, dir), { withFileTypes: true })) {
      const file = path.join(dir, entry.name);
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
      if (entry.isDirectory()) walk(file);
      else if (file.endsWith('.ts')) {
        if (!file.endsWith('.test.ts') && !file.endsWith('.d.ts')) sources.push(file);
      } else if (assets.has(path.extname(file))) copies.push(file);
    }
  };
  for (const folder of [...folders, pack]) if (fs.existsSync(path.join(root, folder))) walk(folder);
  return { sources: sources.sort(), copies: copies.sort() };
}

/** Paths of the pack are those that it is made from, not outputs by themselves. */
const isOfPack = (file) => file.startsWith(`${pack}${path.sep}`);

/** The pack's own files, by path: as in the sources, but of JavaScript, which Node.js runs as it is. */
async function buildPack(esbuild) {
  const { outputFiles } = await esbuild.build({
    ...target,
    entryPoints: [`${pack}/index.ts`],
    outdir: dist,
    outbase: root,
    bundle: true,
    external: ['@pulumi/*'],
  });
  const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');
  const changed = (text, from, to) => {
    if (!text.includes(from))
      throw new Error(`PulumiPolicy.yaml: found no "${from}"; the built pack says "${to}" there`);
    return text.replace(from, to);
  };
  const yaml = changed(read(`${pack}/PulumiPolicy.yaml`), 'main: index.ts', 'main: index.js');
  const { version, devDependencies } = JSON.parse(read('package.json'));
  const manifest = {
    ...JSON.parse(read(`${pack}/package.json`)),
    version,
    main: 'index.js',
    dependencies: Object.fromEntries(['@pulumi/policy', '@pulumi/pulumi'].map((name) => [name, devDependencies[name]])),
  };
  return [
    ...outputFiles.map(({ path: file, contents }) => [file, contents]),
    [path.join(dist, pack, 'PulumiPolicy.yaml'), changed(yaml, 'typescript: true', 'typescript: false')],
    [path.join(dist, pack, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`],
  ];
}

/** Changes whenever an input is edited, added or removed, or the build itself changes. */
function fingerprint({ sources, copies }) {
  const hash = createHash('sha256');
  for (const file of [...sources, ...copies, 'scripts/build.mjs', 'package.json', 'package-lock.json']) {
    const stat = fs.statSync(path.join(root, file));
    hash.update(`${file}\0${stat.mtimeMs}\0${stat.size}\n`);
  }
  return hash.digest('hex');
}

/** Replaces the file only when its content differs, and atomically: a running stack may load it at any moment. */
function writeIfChanged(file, contents) {
  if (fs.existsSync(file) && fs.readFileSync(file).equals(contents)) return;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, contents);
  fs.renameSync(temporary, file);
}

/** Several processes may build at the same time: what is gone already, or holds something again, is another's doing. */
function unlessGone(run) {
  try {
    return run();
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY') throw error;
    return undefined;
  }
}

function removeOthers(dir, expected) {
  for (const entry of unlessGone(() => fs.readdirSync(dir, { withFileTypes: true })) ?? []) {
    const file = path.join(dir, entry.name);
    if (entry.isDirectory()) {
      removeOthers(file, expected);
      unlessGone(() => fs.readdirSync(file).length === 0 && fs.rmdirSync(file));
    } else if (!expected.has(file) && !file.endsWith('.tmp')) fs.rmSync(file, { force: true });
  }
}

/** Builds dist/ when it is missing or older than its sources. Returns whether it did. */
export async function build({ force = false } = {}) {
  const inputs = listInputs();
  const wanted = fingerprint(inputs);
  if (!force && fs.existsSync(fingerprintFile) && fs.readFileSync(fingerprintFile, 'utf8') === wanted) return false;

  const esbuild = await import('esbuild');
  const result = await esbuild.build({
    ...target,
    entryPoints: inputs.sources.filter((file) => !isOfPack(file)),
    outdir: dist,
    outbase: root,
    bundle: false,
  });
  // The agent's process in one file, libraries included: it starts faster, and its hot loops don't go through the getters
  // by which separate CommonJS modules export. What it reads beside itself goes with it.
  const bundled = await esbuild.build({
    ...target,
    entryPoints: [...bundles, command],
    outdir: dist,
    outbase: root,
    bundle: true,
    // The source stays in the process's memory, twice as large where it has a character beyond Latin-1: comments go, names and lines stay.
    minifyWhitespace: true,
    lineLimit: 160,
  });
  const outputs = new Map([...result.outputFiles, ...bundled.outputFiles].map((file) => [file.path, file.contents]));
  for (const [file, contents] of await buildPack(esbuild)) outputs.set(file, contents);
  for (const file of inputs.copies.filter((one) => !isOfPack(one)))
    outputs.set(path.join(dist, file), fs.readFileSync(path.join(root, file)));
  const proto = path.join(root, 'agent/peers/mesh.proto');
  outputs.set(path.join(dist, 'agent/mesh.proto'), fs.readFileSync(proto));

  const expected = new Set([fingerprintFile, ...outputs.keys()]);
  for (const [file, contents] of outputs) writeIfChanged(file, Buffer.from(contents));
  removeOthers(dist, expected);
  writeIfChanged(fingerprintFile, Buffer.from(wanted));
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const started = performance.now();
  const built = await build({ force: process.argv.includes('--force') });
  // To stderr, for `npm pack --json`.
  console.error(built ? `built dist/ in ${Math.round(performance.now() - started)} ms` : 'dist/ is up to date');
}
