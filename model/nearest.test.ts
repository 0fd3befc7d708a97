import fc from 'fast-check';

import { editDistance, nearest } from './nearest';

test('a typing mistake finds its word, another word finds none', () => {
  const words = ['maxLagMs', 'heartbeatMs', 'topology'];
  expect(nearest('maxlagms', words)).toBe('maxLagMs');
  expect(nearest('hearbeatMs', words)).toBe('heartbeatMs');
  expect(nearest('toplogy', words)).toBe('topology');
  expect(nearest('colour', words)).toBeUndefined();
  expect(nearest('x', [])).toBeUndefined();
});

test('edit distance is a metric', () => {
  const word = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      expect(editDistance(a, a)).toBe(0);
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
    }),
  );
});
