import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { RedisBinaryError, ensureRedisBinary, findRedisBinary, inspectRedisBinary } from './redis-binary';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'meridian-binary-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** A program that prints one line and does nothing else: the finder looks only at `--version`. */
function program(name: string, line: string, status = 0): string {
  const file = path.join(dir, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\necho '${line}'\nexit ${status}\n`);
  chmodSync(file, 0o755);
  return file;
}

function codeOf(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (error instanceof RedisBinaryError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('expected a RedisBinaryError');
}

const redis7 = 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1';
const valkey8 = 'Valkey server v=8.1.0 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1';

test('MERIDIAN_REDIS_SERVER comes before PATH', () => {
  program('bin/redis-server', redis7);
  const wished = program('elsewhere/valkey', valkey8);
  expect(findRedisBinary({ env: { PATH: path.join(dir, 'bin'), MERIDIAN_REDIS_SERVER: wished } })).toEqual({
    path: wished,
    flavour: 'valkey',
    version: '8.1.0',
  });
});

test('redis-server comes before valkey-server, and an unusable one is passed over', () => {
  const valkey = program('valkey-server', valkey8);
  const env = { PATH: dir };
  expect(findRedisBinary({ env })?.path).toBe(valkey);
  const redis = program('redis-server', redis7);
  expect(findRedisBinary({ env })?.path).toBe(redis);
  program('redis-server', 'Redis server v=6.0.9 sha=00000000:0');
  expect(findRedisBinary({ env })?.path).toBe(valkey);
});

test.each([
  ['a path that is not there', () => path.join(dir, 'nothing'), /not a program/],
  ['a directory', () => dir, /not a program/],
  ['another program', () => program('other', 'hello'), /not a Redis or Valkey server/],
  ['a server that fails', () => program('failing', redis7, 1), /not a Redis or Valkey server/],
  ['an old server', () => program('old', 'Redis server v=6.0.16 sha=0'), /6\.0\.16.*6\.2 or newer/],
])('a wish for %s is refused with its reason, never ignored', (_, make, message) => {
  program('redis-server', redis7);
  const wish = make();
  const error = codeOf(() => findRedisBinary({ env: { PATH: dir, MERIDIAN_REDIS_SERVER: wish } }));
  expect(error.code).toBe('UNUSABLE');
  expect(error.message).toMatch(message);
  expect(error.message).toContain(wish);
});

test('a bare name is looked for on PATH', () => {
  const file = program('valkey-server', valkey8);
  expect(inspectRedisBinary('valkey-server', '--redis-server', { PATH: dir }).path).toBe(file);
});

test('without a server and without leave to install, the error says what to install', () => {
  program('apt-get', 'must not run');
  const error = codeOf(() => ensureRedisBinary({ env: { PATH: dir, MERIDIAN_NO_INSTALL: '1' } }));
  expect(error.code).toBe('MISSING');
  expect(error.message).toContain('sudo apt-get install redis-server');
  expect(error.message).toContain('MERIDIAN_REDIS_SERVER');
});

test('without a package manager, the error still says what to do', () => {
  expect(codeOf(() => ensureRedisBinary({ env: { PATH: dir } }))).toEqual({
    code: 'MISSING',
    message:
      'No redis-server or valkey-server on PATH, and no known package manager is on PATH. ' +
      'Install Redis 6.2 or newer, or Valkey, or set MERIDIAN_REDIS_SERVER to the path of a server.',
  });
});

test('an allowed installation is used, falling back to the next package', () => {
  // Homebrew is the one that needs no root, so that this test doesn't depend on who runs it.
  const brew = path.join(dir, 'brew');
  const server = path.join(dir, 'valkey-server');
  writeFileSync(
    brew,
    `#!/bin/sh\nfor last; do :; done\n[ "$last" = valkey ] || exit 1\n` +
      `printf '#!/bin/sh\\necho "${valkey8}"\\n' > '${server}'\n/bin/chmod 755 '${server}'\n`,
  );
  chmodSync(brew, 0o755);
  const lines: string[] = [];
  const found = ensureRedisBinary({ env: { PATH: dir }, log: (line) => lines.push(line) });
  expect(found).toEqual({ path: server, flavour: 'valkey', version: '8.1.0' });
  expect(lines[0]).toMatch(/installing one with brew/);
  expect(lines[1]).toMatch(/installed valkey/);
});

test('a failed installation names the package manager', () => {
  writeFileSync(path.join(dir, 'brew'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  const error = codeOf(() => ensureRedisBinary({ env: { PATH: dir } }));
  expect(error.code).toBe('INSTALL');
  expect(error.message).toContain('brew could not install');
});
