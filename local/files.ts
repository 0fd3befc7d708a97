import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { LocalError, errorCode, errorText } from './errors';

/** Replaces a file whole: a reader sees the old content or the new, never a part. For its owner only. */
export function writeAtomically(file: string, content: string, mode = 0o600): void {
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, content, { mode });
  renameSync(temporary, file);
}

/** The text of a file, or undefined when there is none. @throws LocalError STATE_DIR when it is there and can't be read */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new LocalError(
      'STATE_DIR',
      `${file} can't be read (${errorText(error)}): give yourself the right to, or use another --state-dir.`,
    );
  }
}

/** Makes a folder, with its parents, for its owner only. @throws LocalError STATE_DIR */
export function makeDir(dir: string): void {
  try {
    makeMissing(path.resolve(dir));
    chmodSync(dir, 0o700);
  } catch (error) {
    throw new LocalError(
      'STATE_DIR',
      `${dir} can't be made or written to (${errorText(error)}): use another --state-dir.`,
    );
  }
}

/** `recursive` of mkdirSync never returns where a file system takes no folder and says that there is none to put it into, as /proc does. */
function makeMissing(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return;
  makeMissing(path.dirname(dir));
  mkdirSync(dir, { mode: 0o700 });
}
