import { Beats } from './beats';
import { PendingKeys } from './pending';

test('a key is read once however often it was notified, in the order of its first notification', () => {
  const pending = new PendingKeys();
  pending.add(0, 'a', null);
  pending.add(0, 'b', 'expired');
  pending.add(1, 'a', null);
  pending.add(0, 'a', 'deleted');
  pending.add(0, 'b', null);
  expect(pending.take(2, 0)).toEqual([
    { db: 0, key: 'a', removal: 'deleted', number: 1 },
    { db: 0, key: 'b', removal: 'expired', number: 2 },
  ]);
  expect(pending.size).toBe(1);
  expect(pending.take(9, 0).map(({ db, key }) => `${db}:${key}`)).toEqual(['1:a']);
});

test('a postponed key waits, and the others do not wait for it', () => {
  const pending = new PendingKeys();
  pending.postpone(0, 'large', 100, 0);
  pending.add(0, 'large', null);
  expect(pending.waitMs(40)).toBe(60);
  pending.add(0, 'small', null);
  expect(pending.waitMs(40)).toBe(0);
  expect(pending.take(9, 40).map(({ key }) => key)).toEqual(['small']);
  expect(pending.take(9, 100).map(({ key }) => key)).toEqual(['large']);
  expect(pending.waitMs(100)).toBe(Infinity);
});

test('a heartbeat is told when all that was notified before it has been read', () => {
  const pending = new PendingKeys();
  const beats = new Beats();
  const told = (): number | null => beats.take((next) => pending.isReadUpTo(next));
  pending.add(0, 'before', null);
  beats.send(1000, 1000);
  beats.hear(pending.next);
  pending.add(0, 'behind', null);
  beats.send(1025, 1025);
  expect(told()).toBeNull();
  pending.add(0, 'before', null);
  expect(pending.take(1, 0).map(({ key }) => key)).toEqual(['before']);
  expect(told()).toBe(1000);
  expect(told()).toBeNull();
  expect(beats.isSilent(6000)).toBe(false);
  expect(beats.isSilent(6026)).toBe(true);
  beats.clear();
  expect(beats.isSilent(60_000)).toBe(false);
  // One that nobody sent.
  beats.hear(pending.next);
  expect(told()).toBeNull();
});
