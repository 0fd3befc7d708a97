import { Elsewhere } from './elsewhere';

const origin = 'a:dry-run-1';

test('what an origin had come to at a time is added to what was seen', () => {
  const elsewhere = new Elsewhere();
  elsewhere.note(origin, 100, 10);
  elsewhere.note(origin, 200, 20);
  const seen = new Map([['b:1', 5]]);
  expect([...elsewhere.added(seen, 99)]).toEqual([['b:1', 5]]);
  expect(elsewhere.added(seen, 100).get(origin)).toBe(10);
  expect(elsewhere.added(seen, 199).get(origin)).toBe(10);
  expect(elsewhere.added(seen, 5000).get(origin)).toBe(20);
  expect(elsewhere.added(new Map([[origin, 15]]), 150).get(origin)).toBe(15);
  expect([...seen]).toEqual([['b:1', 5]]);
});

test('a time that went back is passed over, and only the newest are kept', () => {
  const elsewhere = new Elsewhere();
  for (let i = 1; i <= 20_000; i++) elsewhere.note(origin, i, i);
  elsewhere.note(origin, 19_000, 1);
  expect(elsewhere.added(new Map(), 19_999).get(origin)).toBe(19_999);
  expect(elsewhere.added(new Map(), 15_000).get(origin)).toBe(15_000);
  expect(elsewhere.added(new Map(), 5000).get(origin)).toBeUndefined();
});
