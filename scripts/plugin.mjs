// `npm run plugin -- --out DIR`: the component package of plugin/ as a folder of its own, which needs no checkout. It is what
// `pulumi package add` takes: the folder itself, a git repository that holds it, or an archive of it.
import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { build } from './build.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const readJson = (file) => JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'));

/** Built folders that it is made of. */
const folders = ['components', 'model', 'plugin'];
const leftOut = /^components\/(stack|testing|recording)\/|^plugin\/(package|tsconfig)\.json$/;

/**
 * @param packages that its code loads: all providers are among them, for nobody asks a program in another language which it needs. TypeScript none of it does; but
 *   Pulumi's host of component packages begins with one, has its own, of 2020, where there is none, and gives it the tsconfig.json of the user's
 *   program, whose `target` that one may not know.
 */
function manifestOf(packages) {
  const { dependencies, devDependencies, engines } = readJson('package.json');
  const { name, version, description, license } = readJson('plugin/package.json');
  const versions = { ...devDependencies, ...dependencies };
  return {
    ...{ name, version, description, license, engines },
    private: true,
    main: 'plugin/main.js',
    dependencies: Object.fromEntries([...packages, 'typescript'].sort().map((one) => [one, versions[one]])),
  };
}

/** Packages that a text of CommonJS loads. */
function packagesIn(text) {
  const names = [...text.matchAll(/\brequire\("([^"./][^"]*)"\)/g)].map(([, name]) => name);
  return names
    .filter((name) => !isBuiltin(name))
    .map((name) => name.split('/', name.startsWith('@') ? 2 : 1).join('/'));
}

/** Makes `dir`, which is new or empty, the plugin. */
async function assemblePlugin(dir) {
  if (fs.existsSync(dir) && fs.readdirSync(dir).length > 0)
    throw new Error(`${dir} holds something; allowed: a folder that is new or empty`);
  await build();
  const packages = new Set();
  for (const folder of folders) {
    const from = path.join(root, 'dist', folder);
    for (const file of fs.readdirSync(from, { recursive: true })) {
      const place = path.join(folder, file);
      if (leftOut.test(place) || fs.statSync(path.join(from, file)).isDirectory()) continue;
      fs.mkdirSync(path.dirname(path.join(dir, place)), { recursive: true });
      const contents = fs.readFileSync(path.join(from, file));
      if (place.endsWith('.js')) for (const one of packagesIn(contents.toString())) packages.add(one);
      fs.writeFileSync(path.join(dir, place), contents);
    }
  }
  for (const [from, to] of [
    ['plugin/PulumiPlugin.yaml', 'PulumiPlugin.yaml'],
    ['LICENSE', 'LICENSE'],
  ])
    fs.copyFileSync(path.join(root, from), path.join(dir, to));
  fs.writeFileSync(path.join(dir, 'package.json'), `${JSON.stringify(manifestOf(packages), undefined, 2)}\n`);
}

const usage = `usage: npm run plugin -- --out DIR

  --out DIR   a folder, new or empty, for \`pulumi package add DIR\``;

async function main() {
  const { values } = parseArgs({ options: { out: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help) return console.log(usage);
  if (values.out === undefined) throw new Error(usage);
  await assemblePlugin(path.resolve(values.out));
  console.log(`wrote ${values.out}: pulumi package add ${values.out}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main().catch((error) => {
    console.error(`meridian: ${error.message}`);
    process.exitCode = 1;
  });
}
