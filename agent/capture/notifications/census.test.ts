import { Census } from './census';
import { KnownKeys } from './known';

const info = (...counts: [db: number, keys: number][]): Buffer =>
  Buffer.from(`# Keyspace\r\n${counts.map(([db, keys]) => `db${db}:keys=${keys},expires=0,avg_ttl=0\r\n`).join('')}`);

test('keys that come or go without a word are noticed at the second look', () => {
  const known = new KnownKeys();
  for (let i = 0; i < 5; i++)
    known.set(i % 2, `k${i}`, { crcHigh: 0, crcLow: 0, content: NaN, expireAtMs: 0, bytes: 0 });
  const census = new Census(known);
  // The agents' own two are in database 0; that is settled when all have been looked at.
  census.settle();
  expect(census.isOff(info([0, 5], [1, 2]), true)).toBe(false);
  expect(census.isOff(info([0, 5], [1, 2]), true)).toBe(false);
  // While something is under way nothing is concluded.
  expect(census.isOff(info([0, 5]), false)).toBe(false);
  expect(census.isOff(info([0, 5]), true)).toBe(true);
  known.clear(1);
  expect(census.isOff(info([0, 5]), true)).toBe(false);
  expect(census.isOff(info([0, 6]), true)).toBe(false);
  expect(census.isOff(info([0, 6]), true)).toBe(true);
  // A scan has found nothing: so it is, and is no reason to look again.
  census.settle();
  expect(census.isOff(info([0, 6]), true)).toBe(false);
  expect(census.isOff(info([0, 6]), true)).toBe(false);
});
