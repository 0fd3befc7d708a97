import fc from 'fast-check';
import { covers, formatVector, parseVector, positionIn, raise } from './vector';

const id = fc.constantFrom('a:00', 'b:00', 'c:00~diff', 'd:11');
const vector = fc
  .uniqueArray(fc.tuple(id, fc.integer({ min: 0, max: 20 })), { selector: ([name]) => name })
  .map((entries) => new Map(entries));

test('the text form is read back', () => {
  fc.assert(fc.property(vector, (v) => expect(parseVector(formatVector(v))).toEqual(v)));
});

test.each(['a', '=1', 'a=', 'a=-1', 'a=x', 'a=1,', ',a=1', 'a=Infinity', 'a=NaN'])('%s is no vector', (text) =>
  expect(parseVector(text)).toBeNull(),
);

test('raising gives the least vector that covers both', () => {
  fc.assert(
    fc.property(vector, vector, (a, b) => {
      const both = new Map(a);
      raise(both, b);
      expect(covers(both, a) && covers(both, b)).toBe(true);
      for (const [origin, position] of both)
        expect(position).toBe(Math.max(positionIn(a, origin), positionIn(b, origin)));
    }),
  );
});

test('covering is an order, and an unseen origin is below position 0', () => {
  fc.assert(
    fc.property(vector, vector, vector, (a, b, c) => {
      expect(covers(a, a)).toBe(true);
      if (covers(a, b) && covers(b, c)) expect(covers(a, c)).toBe(true);
      if (covers(a, b) && covers(b, a)) expect(new Map([...a].sort())).toEqual(new Map([...b].sort()));
    }),
  );
  expect(covers(new Map(), new Map([['a:00', 0]]))).toBe(false);
  expect(covers(new Map([['a:00', 0]]), new Map())).toBe(true);
});
