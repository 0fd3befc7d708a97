import { hasBegunAnew } from './difference';

const digests = new Map([
  ['a:1', 100],
  ['a:2@50', 80],
  ['b:1', 7],
]);

test('a region whose answer names a history of its own that its digests did not has begun a new one', () => {
  expect(hasBegunAnew('a', digests, new Map(digests).set('a:2@50', 90).set('b:2', 1))).toBe(false);
  expect(hasBegunAnew('a', digests, new Map(digests).set('a:3', 90))).toBe(true);
});
