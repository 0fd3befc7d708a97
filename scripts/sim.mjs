// `npm run sim`: bundles the simulator (test/sim) and runs it in this process.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const outfile = path.join(root, 'node_modules/.cache/sim', `sim-${process.pid}.cjs`);
await esbuild.build({
  absWorkingDir: root,
  entryPoints: ['test/sim/cli.ts'],
  outfile,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  sourcemap: 'inline',
  logLevel: 'error',
});
process.setSourceMapsEnabled(true);
process.on('exit', () => fs.rmSync(outfile, { force: true }));
await import(pathToFileURL(outfile).href);
