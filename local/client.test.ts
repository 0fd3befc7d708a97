import { formatReply, splitWords } from './client';

test.each([
  ['GET a', ['GET', 'a']],
  ['  SET  key   "a b"  ', ['SET', 'key', 'a b']],
  [String.raw`SET k "\x00\n\"\\"`, ['SET', 'k', '\x00\n"\\']],
  [String.raw`SET k 'it''s'`, undefined],
  [String.raw`SET k 'it\'s \n'`, ['SET', 'k', "it's \\n"]],
  ['SET k "open', undefined],
  ['SET k ""', ['SET', 'k', '']],
  ['', []],
])('splits %s', (line, words) => {
  expect(splitWords(line)).toEqual(words);
});

test('shows replies as redis-cli does', () => {
  expect(formatReply(null)).toBe('(nil)');
  expect(formatReply(7)).toBe('(integer) 7');
  expect(formatReply(Buffer.from('a"\xff', 'latin1'))).toBe('"a\\"\\xff"');
  expect(formatReply([])).toBe('(empty array)');
  expect(formatReply([Buffer.from('a'), [1, null], 'OK'])).toBe('1) "a"\n2) 1) (integer) 1\n   2) (nil)\n3) OK');
});
