import { existsSync } from 'node:fs';
import path from 'node:path';

/** The folder of this package, from its sources as well as from dist/. */
export function packageRoot(): string {
  let dir = __dirname;
  while (!existsSync(path.join(dir, 'package.json')) && path.dirname(dir) !== dir) dir = path.dirname(dir);
  return dir;
}
