import { formatMarker, parseMarker } from './keys';

test('a marker is read as it was written', () => {
  const marker = { block: 'ab:1', stamp: 1024, vector: new Map([['b:1@7', 12.5]]) };
  expect(formatMarker(marker)).toBe('1 ab:1 1024 b:1@7=12.5');
  expect(parseMarker(formatMarker(marker))).toEqual(marker);
  expect(parseMarker(formatMarker({ ...marker, joining: false }))).toEqual(marker);
  const joining = { ...marker, vector: new Map(), joining: true };
  expect(parseMarker(formatMarker(joining))).toEqual(joining);
  for (const text of ['', '2 ab:1 1024 ', '1 ab:1 x b=1', '1 ab:1 1 b=']) expect(parseMarker(text)).toBeNull();
});
