import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { encode } from '../../test/sim/redis';
import { DeadLetters } from './letters';

let dir = '';
beforeEach(() => (dir = mkdtempSync(path.join(tmpdir(), 'meridian-letters-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const file = (): string => path.join(dir, 'dead-letters.json');
const open = (): DeadLetters =>
  new DeadLetters(file(), (error) => {
    throw error;
  });

const keyed = (key: string) => ({
  db: 0,
  command: 'SADD',
  key,
  code: 'NOPERM',
  bytes: encode(['SADD', key, 'canary']),
});
const keyless = (text: string) => ({
  ...{ db: 0, command: 'FUNCTION', key: undefined, code: 'NOPERM' },
  bytes: encode(['FUNCTION', 'LOAD', text]),
});

test('of a key no value is kept, and one letter however often it is refused', async () => {
  const letters = open();
  for (let i = 0; i < 3; i++) letters.add(keyed('s'));
  letters.add(keyed('t'));
  await letters.flush();
  expect(letters.list().map(({ key, count, remedy }) => [key, count, remedy])).toEqual([
    ['s', 3, 'state'],
    ['t', 1, 'state'],
  ]);
  expect(readFileSync(file(), 'utf8')).not.toContain('canary');
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  const again = open();
  expect(again.list()).toEqual(letters.list());
});

test('a command without keys is kept to be run once more', async () => {
  const letters = open();
  letters.add(keyless('#!lua name=mylib'));
  await letters.flush();
  const again = open();
  const [letter] = again.list();
  expect(letter).toMatchObject({ key: null, remedy: 'command' });
  expect(Object.keys(letter!)).not.toContain('bytes');
  const taken = again.take(letter!.id)!;
  expect(Buffer.from(taken.bytes!, 'base64')).toEqual(encode(['FUNCTION', 'LOAD', '#!lua name=mylib']));
  expect(again.size).toBe(0);
  await again.flush();
  expect(open().size).toBe(0);
});

test.each([
  ['FLUSHALL', encode(['FLUSHALL'])],
  ['swapdb', encode(['swapdb', '0', '1'])],
  ['a long one', encode(['FUNCTION', 'LOAD', 'x'.repeat(70_000)])],
])('%s is not run later', async (command, bytes) => {
  const letters = open();
  letters.add({ db: 0, command, key: undefined, code: 'NOPERM', bytes });
  expect(letters.list()).toMatchObject([{ remedy: 'none' }]);
  await letters.flush();
});

test('there are never more than a thousand: the oldest go, and are counted', async () => {
  const letters = open();
  for (let i = 0; i < 1010; i++) letters.add(keyed(`k${i}`));
  expect(letters.size).toBe(1000);
  expect(letters.lost).toBe(10);
  expect(letters.list()[0]!.key).toBe('k10');
  await letters.flush();
});

test('all commands together keep four megabytes', async () => {
  const letters = open();
  for (let i = 0; i < 100; i++) letters.add(keyless(`${i}${'x'.repeat(60_000)}`));
  const kept = letters.list().filter(({ remedy }) => remedy === 'command');
  expect(kept.length).toBeGreaterThan(60);
  expect(kept.length).toBeLessThan(72);
  letters.take(kept[0]!.id);
  letters.add(keyless(`again${'x'.repeat(60_000)}`));
  expect(letters.list().at(-1)!.remedy).toBe('command');
  await letters.flush();
});

test('a file that is not understood is left alone', () => {
  writeFileSync(file(), '{"version":2}');
  expect(() => open()).toThrow(/dead letters of this version/);
  expect(existsSync(file())).toBe(true);
});
