import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(__dirname, '..');
const page = readFileSync(path.join(root, 'docs/consistency.md'), 'utf8');
const [text, tests] = page.split('\n## Tests\n') as [string, string];

/** Numbers that a row of the table of tests is about: `3 – 16` is all of them. */
function numbersOf(cell: string): number[] {
  const [first, last = first] = cell.split('–').map(Number) as [number, number?];
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const rows = [...tests.matchAll(/^\| ([\d –]+) \| (.+) \|$/gm)].map(([, cell, what]) => ({
  numbers: numbersOf(cell!),
  what: what!,
}));

test('each claim has a test, and each test a claim', () => {
  const claimed = [...text.matchAll(/\[(\d+)\](?!\()/g)].map(([, number]) => Number(number));
  const tested = rows.flatMap(({ numbers }) => numbers);
  expect([...new Set(claimed)].sort((a, b) => a - b)).toEqual(tested);
});

test.each(rows)('the tests of $numbers are there', ({ what }) => {
  const files = [...what.matchAll(/`([^`]+\.test\.ts)`((?:(?: ›|,) "[^"]+")*)/g)];
  expect(files.length).toBeGreaterThan(0);
  for (const [, file, names] of files) {
    expect(existsSync(path.join(root, file!))).toBe(true);
    const source = readFileSync(path.join(root, file!), 'utf8');
    for (const [, name] of names!.matchAll(/"([^"]+)"/g)) expect(source).toContain(name);
  }
});
