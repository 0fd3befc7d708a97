import { ConflictPolicies } from '../../model';
import { CoreRegion } from '../../test/sim/core-region';
import type { Conflict } from './conflict';
import type { KeyState } from './key-state';

// Keys that another region owns, seen by region b.

const policies = new ConflictPolicies([
  { keys: 'a:*', policy: 'region:a' },
  { keys: 'b:*', policy: 'region:b' },
  { keys: 'x:*', policy: 'ignore' },
]);
const trespass = { db: 0, key: 'a:1', isExpiry: false, origin: 'b:1', stamp: 5, position: 90 };

let b: CoreRegion;
beforeEach(() => (b = new CoreRegion(policies)));

const awaited = (...live: string[]): string[] =>
  [...b.core.settling.awaited(live)].map(([region, states]) => `${region}: ${states.map(({ key }) => key).join()}`);

test('its state is wanted from its owner, or from who can be reached, and this region does not send it', () => {
  expect(b.core.trespassed(trespass)).not.toBe(null);
  expect(awaited('a', 'b', 'c')).toEqual(['a: a:1']);
  expect(awaited('b', 'c')).toEqual(['c: a:1']);
  expect(awaited('b')).toEqual([]);
  b.core.settling.askedFor(0, 'a:1', 'c', ['a', 'b', 'c']);
  expect(b.core.settling.toSettle(['b'])).toEqual([]);
  expect(b.core.settling.awaitedElsewhere().map(({ key }) => key)).toEqual(['a:1']);
  expect(b.core.settling.trespassedKeys).toBe(1);
});

test('a state puts it back, as a whole', () => {
  b.core.trespassed(trespass);
  expect(b.state('a:1', 9, b.at(), 'DEL a:1', 'HSET a:1 f v')).toBe('DEL a:1; HSET a:1 f v');
  expect(b.core.settling.unsettledKeys).toBe(0);
  expect(b.core.settling.trespassedKeys).toBe(0);
});

test('one that was there before, and has been lost by the journal, does not', () => {
  b.core.trespassed(trespass);
  b.remembers('a:1', 9, b.at(), 'DEL a:1', 'HSET a:1 f v');
  expect(b.core.settling.trespassedKeys).toBe(1);
  b.state('a:1', 10, b.at(), 'DEL a:1', 'HSET a:1 f v');
  expect(b.core.settling.trespassedKeys).toBe(0);
});

test('so does what its owner replaces it by, and no part of it', () => {
  b.core.trespassed(trespass);
  expect(b.comes('a:1', 9, b.at(), 'HSET a:1 f v')).toBe('HSET a:1 f v');
  expect(b.core.settling.unsettledKeys).toBe(1);
  expect(b.comes('a:1', 10, b.at(), 'SET a:1 v')).toBe('SET a:1 v');
  expect(b.core.settling.unsettledKeys).toBe(0);
});

test('an expiry that its owner has told of is none', () => {
  expect(b.comes('a:1', 9, b.at(), 'SET a:1 v', 'DEL a:1')).toBe('SET a:1 v; DEL a:1');
  expect(b.core.trespassed({ ...trespass, isExpiry: true })).toBe(null);
  expect(b.core.trespassed(trespass)).not.toBe(null);
});

test('the expiry of a key that a client here has made anew removes it', () => {
  b.comes('a:1', 9, b.at(), 'SET a:1 v', 'DEL a:1');
  b.core.trespassed(trespass);
  expect(b.comes('a:1', 11, b.at(), 'UNLINK a:1')).toBe('DEL a:1');
  expect(b.core.settling.unsettledKeys).toBe(0);
});

test('of its own key that it asked others for it sends what it has, where one of them asks', () => {
  b.core.settling.demandState(0, 'b:1', '*');
  expect(b.core.settling.toSettle(['a', 'b'])).toEqual([]);
  b.core.settling.askedFor(0, 'b:1', 'a', ['a', 'b', 'c']);
  expect(b.unsettled).toEqual(['b:1']);
});

test('it is told of as a conflict, without a value', () => {
  const told: Conflict[] = [];
  b.core.notes.sink = { wants: () => true, note: (conflict) => told.push(conflict) };
  b.core.trespassed(trespass);
  expect(told.map(({ key, reason, loser }) => [key, reason, loser.origin, loser.position, loser.value()])).toEqual([
    ['a:1', 'policy', 'b:1', 90, null],
  ]);
});

test('a command of another region that joins its own with others: what those became only it can tell', () => {
  expect(b.comes('c:1', 9, b.at(), 'RENAME a:1 x')).toBe('');
  expect(awaited('a', 'b', 'c')).toEqual(['c: x']);
});

describe('of two keys that are settled together only another region can tell one, and only this one the other', () => {
  const meet = (other: string, mine = 'l'): { yieldsTo: () => string | null; l: KeyState } => {
    b.comes(`${other}:1`, 9, b.at(), 'LMOVE x:1 k LEFT LEFT');
    b.client(10, `LMOVE x:1 ${mine} LEFT LEFT`, `LMOVE k ${mine} LEFT LEFT`);
    const { settling } = b.core;
    const l = settling.toSettle(['a', 'b', 'c']).find(({ key }) => key === mine)!;
    const joined = settling.joinedWith(l);
    expect(joined.map((state) => [state.key, settling.isOthers(state)])).toEqual([
      [mine, false],
      ['k', true],
    ]);
    return { yieldsTo: () => settling.yieldsTo(l, joined), l };
  };
  const ask = (by: string, times: number, key = 'l'): void => {
    for (let i = 0; i < times; i++) b.core.settling.askedFor(0, key, by, ['a', 'b', 'c']);
  };

  test('the other one comes first by name: it tells both, when it has asked often', () => {
    const { l, yieldsTo } = meet('a');
    ask('a', 20);
    expect(yieldsTo()).toBe(null);
    ask('a', 1);
    expect(yieldsTo()).toBe('a');
    b.core.settling.yielded(l, 'a');
    expect(awaited('a', 'b', 'c')).toEqual(['a: k,l']);
    // Once: what is added is there, however long it takes until the state comes.
    ask('c', 30);
    expect(yieldsTo()).toBe(null);
  });

  test('what is its own nobody else tells', () => {
    const { yieldsTo } = meet('a', 'b:l');
    ask('a', 30, 'b:l');
    expect(yieldsTo()).toBe(null);
  });

  test('this one does: it waits until the other asks for its own', () => {
    const { yieldsTo } = meet('c');
    ask('c', 30);
    expect(yieldsTo()).toBe(null);
    b.core.settling.askedFor(0, 'k', 'c', ['a', 'b', 'c']);
    expect(b.unsettled).toEqual(['k', 'l']);
    expect(b.core.settling.toSettle(['a', 'b', 'c']).some((state) => b.core.settling.isOthers(state))).toBe(false);
  });
});
