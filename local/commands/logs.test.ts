import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { Cleanup } from '../testing';
import { Tail } from './logs';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function file(content: string): string {
  const name = path.join(cleanup.dir(), 'a.log');
  writeFileSync(name, content);
  return name;
}

test('the last lines of a short and of a long file', () => {
  expect(new Tail(file('')).last(3)).toEqual([]);
  expect(new Tail(file('a\nb\nc\n')).last(2)).toEqual(['b', 'c']);
  expect(new Tail(file('a\nb\nc\n')).last(9)).toEqual(['a', 'b', 'c']);
  expect(new Tail(file('a\nb\n')).last(0)).toEqual([]);
  const lines = Array.from({ length: 50_000 }, (_, i) => `line ${i}`);
  expect(new Tail(file(`${lines.join('\n')}\n`)).last(20_000)).toEqual(lines.slice(-20_000));
});

test('what is added, whole lines only, and after the file was replaced', () => {
  const name = file('old\n');
  const tail = new Tail(name);
  tail.last(1);
  expect(tail.more()).toEqual([]);
  appendFileSync(name, 'one\ntw');
  expect(tail.more()).toEqual(['one']);
  appendFileSync(name, 'o\n');
  expect(tail.more()).toEqual(['two']);
  renameSync(name, `${name}.1`);
  expect(tail.more()).toEqual([]);
  writeFileSync(name, 'new\n');
  expect(tail.more()).toEqual(['new']);
});
