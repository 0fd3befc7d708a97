import { statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { makeDir } from './files';
import { Cleanup } from './testing';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

test('a folder is made with its parents, for its owner only, and may be there', () => {
  const dir = path.join(cleanup.dir(), 'a', 'b');
  makeDir(dir);
  makeDir(dir);
  for (const made of [dir, path.dirname(dir)]) expect(statSync(made).mode & 0o777).toBe(0o700);
});

test('where none can be made that is said', () => {
  const file = path.join(cleanup.dir(), 'file');
  writeFileSync(file, '');
  for (const dir of [file, path.join(file, 'below')])
    expect(() => makeDir(dir)).toThrow(/^\S+ can't be made .* use another --state-dir\.$/);
  if (process.platform === 'linux') expect(() => makeDir('/proc/below/it')).toThrow(/ENOENT.*use another --state-dir/);
});
