import fc from 'fast-check';

import { drained, shifted } from './distribution';

const shares = { west: 70, middle: 20, east: 10 };
const sum = (of: Readonly<Record<string, number>>): number => Object.values(of).reduce((a, b) => a + b, 0);

test('a shift moves a part of what a region gets, and at least one percent', () => {
  expect(shifted(shares, [{ from: 'west', to: 'east', percent: 50 }])).toEqual({ west: 35, middle: 20, east: 45 });
  expect(shifted(shares, [{ from: 'east', to: 'west', percent: 1 }])).toEqual({ west: 71, middle: 20, east: 9 });
  expect(shifted(shares, [{ from: 'west', to: 'middle', percent: 100 }])).toEqual({ west: 0, middle: 90, east: 10 });
  expect(shifted({ west: 100, east: 0 }, [{ from: 'east', to: 'west', percent: 10 }])).toEqual({ west: 100, east: 0 });
});

test('a drain gives what a region got to the others, in proportion', () => {
  expect(drained(shares, ['west'])).toEqual({ west: 0, middle: 67, east: 33 });
  expect(drained(shares, ['west', 'east'])).toEqual({ west: 0, middle: 100, east: 0 });
  expect(drained({ west: 100, middle: 0, east: 0 }, ['west'])).toEqual({ west: 0, middle: 50, east: 50 });
  expect(() => drained(shares, ['west', 'middle', 'east'])).toThrow('every region is drained');
});

test('the sum stays 100, and nobody gets less than nothing', () => {
  const name = fc.constantFrom('west', 'middle', 'east');
  const shift = fc.record({ from: name, to: name, percent: fc.integer({ min: 1, max: 100 }) });
  fc.assert(
    fc.property(fc.array(shift), fc.constantFrom([], ['west'], ['middle', 'east']), (shifts, regions) => {
      const after = drained(shifted(shares, shifts), regions);
      expect(sum(after)).toBe(100);
      expect(Math.min(...Object.values(after))).toBeGreaterThanOrEqual(0);
      for (const region of regions) expect(after[region]).toBe(0);
    }),
  );
});
