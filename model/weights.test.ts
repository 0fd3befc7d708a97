import fc from 'fast-check';

import { apportion } from './weights';

test.each([
  [
    [1, 1, 1],
    [34, 33, 33],
  ],
  [
    [60, 25, 15],
    [60, 25, 15],
  ],
  [
    [60, 25],
    [71, 29],
  ],
  [
    [0, 0],
    [50, 50],
  ],
])('%j is apportioned as %j', (shares, expected) => {
  expect(apportion(shares)).toEqual(expected);
});

test('whole numbers, the sum exact, nobody off by one or more, equal shares alike', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }), fc.nat(1000), (shares, total) => {
      const parts = apportion(shares, total);
      const sum = shares.reduce((a, b) => a + b, 0);
      expect(parts.reduce((a, b) => a + b, 0)).toBe(total);
      shares.forEach((share, i) => {
        const exact = sum === 0 ? total / shares.length : (share * total) / sum;
        expect(Number.isInteger(parts[i])).toBe(true);
        expect(Math.abs((parts[i] ?? NaN) - exact)).toBeLessThan(1);
      });
      for (const [i, share] of shares.entries())
        for (const [j, other] of shares.entries())
          if (i < j && share === other) expect([0, 1]).toContain((parts[i] ?? NaN) - (parts[j] ?? NaN));
    }),
  );
});
