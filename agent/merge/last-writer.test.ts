import { ConflictPolicies } from '../../model';
import { CoreRegion } from '../../test/sim/core-region';
import type { Conflict } from './conflict';
import { ELSEWHERE } from './settling';

// Keys that stand as a whole as their last writer's region had them, seen by region b.

const policies = new ConflictPolicies([{ keys: 'l:*', policy: 'lww' }]);
let b: CoreRegion;
beforeEach(() => (b = new CoreRegion(policies)));

const awaited = (): string[] =>
  [...b.core.settling.awaited(['a', 'b', 'c'])].map(
    ([region, states]) => `${region}: ${states.map(({ key }) => key).join()}`,
  );

test('what has seen all that is known runs as it came', () => {
  b.client(1, 'SADD l:1 x');
  expect(b.comes('a:1', 2, b.at('b:1'), 'SADD l:1 y', 'SPOP l:1', 'RPUSH l:2 z')).toBe(
    'SADD l:1 y; SPOP l:1; RPUSH l:2 z',
  );
  expect(b.comes('c:1', 9, b.at('a:1', 'b:1'), 'LPUSH l:1 y')).toBe('LPUSH l:1 y');
  expect(b.core.settling.unsettledKeys).toBe(0);
});

test('a stream is cut everywhere by what cuts it', () => {
  b.client(1, 'XADD l:s 1-1 f v', 'XADD l:s 2-1 f v');
  expect(b.comes('a:1', 2, b.at('b:1'), 'XTRIM l:s MAXLEN = 1', 'XADD l:s MAXLEN = 1 3-1 f v')).toBe(
    'XTRIM l:s MAXLEN = 1; XADD l:s MAXLEN = 1 3-1 f v',
  );
  expect(b.core.settling.unsettledKeys).toBe(0);
});

test('what loses is left out, and its region is told what stands', () => {
  b.client(5, 'SADD l:1 x');
  expect(b.comes('a:1', 2, b.at(), 'SADD l:1 y')).toBe('');
  expect(b.unsettled).toEqual(['l:1']);
});

test('what wins and says the whole is written; else its region’s state is wanted, and written', () => {
  b.client(1, 'SADD l:1 x', 'SADD l:2 x', 'SADD l:3 x');
  expect(b.comes('a:1', 5, b.at(), 'SET l:1 v', 'DEL l:2')).toBe('SET l:1 v; DEL l:2');
  expect(b.core.settling.unsettledKeys).toBe(0);
  expect(b.comes('a:1', 7, b.at(), 'SADD l:3 y')).toBe('');
  expect(awaited()).toEqual(['a: l:3']);
  expect(b.unsettled).toEqual([]);
  // One that had not seen what stands counts for nothing.
  expect(b.state('c:1', 9, b.at('b:1'), 'DEL l:3', 'SADD l:3 x')).toBe('');
  expect(awaited()).toEqual(['a: l:3']);
  expect(b.state('a:1', 10, b.at('b:1'), 'DEL l:3', 'SADD l:3 y')).toBe('DEL l:3; SADD l:3 y');
  expect(b.core.settling.unsettledKeys).toBe(0);
});

test('what was left out as the state is to come is asked for after a restart, too', () => {
  b.core.settling.demandState(0, 'l:1', ELSEWHERE);
  expect(b.comes('a:1', 5, b.at(), 'SADD l:1 y')).toBe('');
  expect(awaited()).toEqual(['a: l:1']);
  expect(b.core.settling.awaitedElsewhere().map(({ key }) => key)).toEqual(['l:1']);
});

test('a state stands before the command that it had seen: of what a client did to it unread nothing else tells', () => {
  b.comes('a:1', 5, b.at(), 'SET l:1 v');
  expect(b.state('a:1', 9, b.at('a:1'), 'DEL l:1', 'SET l:1 w')).toBe('DEL l:1; SET l:1 w');
  // What it had not seen, and is the last, stands.
  b.client(12, 'SET l:1 x');
  expect(b.state('c:1', 11, b.at('a:1'), 'DEL l:1', 'SET l:1 w')).toBe('SET l:1 x');
});

test('what a client makes of what is about to be replaced stands, and this region sends it', () => {
  b.client(1, 'SADD l:1 x');
  b.comes('a:1', 5, b.at(), 'SADD l:1 y');
  b.client(9, 'SADD l:1 z');
  expect(b.unsettled).toEqual(['l:1']);
  expect(b.state('a:1', 10, b.at(), 'DEL l:1', 'SADD l:1 y')).toBe('');
});

test('of several keys each by itself, the others as ever', () => {
  b.client(5, 'SET l:1 later', 'SET m later');
  expect(b.comes('a:1', 2, b.at(), 'MSET l:1 x n y')).toBe('SET n y');
  expect(b.comes('c:1', 3, b.at(), 'SADD m2 x', 'DEL l:1 m2')).toBe('SADD m2 x; DEL m2');
});

test('what joins it with others only the region that did it can tell', () => {
  expect(b.comes('a:1', 2, b.at(), 'RENAME l:1 m')).toBe('');
  expect(awaited()).toEqual(['a: l:1,m']);
  b.client(5, 'RENAME l:2 l:3');
  expect(b.unsettled).toEqual(['l:2', 'l:3']);
});

test('it is told of as a conflict, whichever came first', () => {
  const told: Conflict[] = [];
  b.core.notes.sink = { wants: () => true, note: (conflict) => told.push(conflict) };
  b.client(5, 'SADD l:1 x');
  b.comes('a:1', 2, b.at(), 'SADD l:1 y');
  b.comes('c:1', 9, b.at(), 'SADD l:1 z');
  expect(told.map(({ reason, winner, loser }) => [reason, winner?.origin, loser.origin])).toEqual([
    ['policy', 'b:1', 'a:1'],
    ['policy', 'c:1', 'b:1'],
  ]);
});
