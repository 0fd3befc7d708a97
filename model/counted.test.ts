import { counted } from './counted';

test.each<[number, string, string]>([
  [0, '0 keys', '0 libraries'],
  [1, '1 key', '1 library'],
  [2, '2 keys', '2 libraries'],
  [1234, '1,234 keys', '1,234 libraries'],
])('%d has its noun in the right number', (n, keys, libraries) => {
  expect(counted(n, 'key')).toBe(keys);
  expect(counted(n, 'library', 'libraries')).toBe(libraries);
});
