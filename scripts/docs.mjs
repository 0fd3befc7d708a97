// `npm run docs`: renews the references in docs/ that are made from the code (reference/).
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
// Below node_modules, where it finds the packages.
const outfile = path.join(root, 'node_modules/.cache/reference', `reference-${process.pid}.cjs`);
await esbuild.build({
  absWorkingDir: root,
  entryPoints: ['reference/cli.ts'],
  outfile,
  bundle: true,
  packages: 'external',
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  sourcemap: 'inline',
  logLevel: 'error',
});
process.setSourceMapsEnabled(true);
process.on('exit', () => fs.rmSync(outfile, { force: true }));
process.chdir(root);
await import(pathToFileURL(outfile).href);
