import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { RenderError } from './error';

/**
 * Makes a folder hold these files and none that an earlier render of the same stack left: applied with `--prune`, or by a GitOps tool,
 * what is gone from the stack goes from the cluster.
 * @param mark what each file of ours begins with
 * @returns the files that were removed
 * @throws RenderError where there is something that is not ours, or the folder can't be written
 */
export function writeFolder(dir: string, files: ReadonlyMap<string, string>, mark: string, mode: number): string[] {
  if (existsSync(dir) && !statSync(dir).isDirectory())
    throw new RenderError(`--out ${dir}: found a file; allowed: a new folder, or that of an earlier render`);
  const old = existsSync(dir) ? listFiles(dir) : [];
  const foreign = old.find((file) => !readFileSync(path.join(dir, file), 'utf8').startsWith(mark));
  if (foreign !== undefined)
    throw new RenderError(
      `--out ${dir}: ${foreign} is not from a render of this stack; allowed: a new folder, or that of an earlier render`,
    );
  const gone = old.filter((file) => !files.has(file));
  try {
    for (const file of gone) remove(dir, file);
    for (const [file, text] of files) {
      const at = path.join(dir, file);
      mkdirSync(path.dirname(at), { recursive: true });
      if (existsSync(at) && readFileSync(at, 'utf8') === text && (statSync(at).mode & 0o777) === mode) continue;
      rmSync(at, { force: true });
      writeFileSync(at, text, { mode });
    }
  } catch (error) {
    throw new RenderError(`--out ${dir}: can't be written: ${(error as Error).message}`);
  }
  return gone;
}

/** Paths below a folder, sorted; hidden ones, such as Git's, are nobody's business. */
function listFiles(dir: string): string[] {
  const found = readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.')) return [];
    if (!entry.isDirectory()) return [entry.name];
    return listFiles(path.join(dir, entry.name)).map((file) => `${entry.name}/${file}`);
  });
  return found.sort();
}

function remove(dir: string, file: string): void {
  rmSync(path.join(dir, file));
  for (let at = path.dirname(file); at !== '.'; at = path.dirname(at)) {
    if (readdirSync(path.join(dir, at)).length > 0) return;
    rmdirSync(path.join(dir, at));
  }
}
