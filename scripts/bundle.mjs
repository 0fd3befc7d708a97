// Programs of this repository that are written in TypeScript and are no part of dist/: each is bundled and run in this process.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/**
 * Runs a program of the repository; its arguments are those of this process.
 * @param entry its path below the root
 * @param packages `bundle`: libraries are in its hot loops; `external`: they look for files beside themselves
 */
export async function runBundled(entry, packages = 'bundle') {
  // Below node_modules, where it finds the packages; another one for each process.
  const name = entry.replace(/\.ts$/, '').replaceAll('/', '-');
  const outfile = path.join(root, 'node_modules/.cache/programs', `${name}-${process.pid}.cjs`);
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    packages,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    sourcemap: 'inline',
    logLevel: 'error',
  });
  process.setSourceMapsEnabled(true);
  process.on('exit', () => fs.rmSync(outfile, { force: true }));
  await import(pathToFileURL(outfile).href);
}
