import fc from 'fast-check';

import { formatSize, parseSize } from './size';

test.each([
  ['16gb', 16 * 1024 ** 3],
  ['256mb', 256 * 1024 ** 2],
  ['1k', 1000],
  ['1kb', 1024],
  ['2G', 2e9],
  ['512', 512],
  [' 64MB ', 64 * 1024 ** 2],
  ['5b', 5],
])('%j is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(['', 'gb', '1.5gb', '-1', '1tb', '16 gb', '9007199254740993', '99999999gb'])('%j is no size', (text) => {
  expect(parseSize(text)).toBeUndefined();
});

test('what is written is read back', () => {
  fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes));
  expect(formatSize(64 * 1024 ** 2)).toBe('64mb');
  expect(formatSize(1500)).toBe('1500');
});
