import { commands, CoreRegion as Region } from '../../test/sim/core-region';
import { RecordKind } from '../record';
import { Batch } from './batch';
import { commandByName } from './commands';
import { CommandScanner } from '../resp';
import { formOf } from './opaque-form';

// Keys that are carried as commands, in region b: what other regions send, and what clients did here.

let b: Region;
beforeEach(() => (b = new Region()));

test('what adds runs again on a state that had not seen it, in the order of the stamps', () => {
  b.client(20, 'RPUSH k b1');
  expect(b.comes('c:1', 10, new Map(), 'LPUSH k c1')).toBe('LPUSH k c1');
  expect(b.state('a:1', 30, new Map(), 'DEL k', 'RPUSH k a1')).toBe('DEL k; RPUSH k a1; LPUSH k c1; RPUSH k b1');
  expect(b.unsettled).toEqual(['k']);
  // The next state has seen all, and brings the key to rest.
  expect(b.state('c:1', 40, b.at('a:1', 'b:1'), 'DEL k', 'RPUSH k c1 a1 b1')).toBe('DEL k; RPUSH k c1 a1 b1');
  expect(b.unsettled).toEqual([]);
});

test('what a state has seen does not run again, and what takes never does', () => {
  b.client(20, 'RPUSH k b1');
  const seen = b.at('b:1');
  b.client(21, 'RPUSH k b2', 'LPOP k');
  expect(b.state('a:1', 30, seen, 'DEL k', 'RPUSH k b1')).toBe('DEL k; RPUSH k b1; RPUSH k b2');
  expect(b.unsettled).toEqual(['k']);
});

test('of two states that have not seen each other the higher stands, with what only the other one had seen', () => {
  b.client(5, 'RPUSH k b1');
  const seen = b.at('b:1');
  expect(b.state('c:1', 20, seen, 'DEL k', 'RPUSH k b1')).toBe('DEL k; RPUSH k b1');
  expect(b.unsettled).toEqual([]);
  expect(b.state('a:1', 30, new Map(), 'DEL k')).toBe('DEL k; RPUSH k b1');
  expect(b.unsettled).toEqual(['k']);
  expect(b.state('c:1', 25, seen, 'DEL k', 'RPUSH k b1')).toBe('');
  expect(b.unsettled).toEqual(['k']);
});

test("a push survives a client's delete that had not seen it, and no state brings back what the delete had seen", () => {
  expect(b.comes('a:1', 10, new Map(), 'RPUSH k old')).toBe('RPUSH k old');
  const seen = b.at('a:1');
  b.client(20, 'RPUSH k new');
  expect(b.comes('c:1', 30, seen, 'DEL k')).toBe('DEL k; RPUSH k new');
  expect(b.state('a:1', 40, new Map(), 'DEL k', 'RPUSH k old')).toBe('');
  expect(b.unsettled).toEqual(['k']);
});

test('a push that ran before a block which deleted the key comes back', () => {
  expect(b.comes('a:1', 10, new Map(), 'DEL k')).toBe('DEL k');
  // Read only now: it stands before the block.
  b.client(20, 'RPUSH k x');
  const raced = b.core.corrections.takeRaced();
  expect(raced.map(({ key }) => key)).toEqual(['k']);
  const batch = new Batch();
  b.core.corrections.correct(raced, batch);
  const text = batch
    .finish()
    .map(({ bytes }) => bytes.toString('latin1'))
    .join('');
  expect(text.endsWith(commands('DEL k', 'RPUSH k x').toString('latin1'))).toBe(true);
});

test('bits: the later of two puts stands on a state, though it had seen that one and not the other', () => {
  b.client(20, 'SETBIT k 7 1');
  expect(b.comes('c:1', 10, new Map(), 'SETBIT k 7 0')).toBe('SETBIT k 7 0');
  const seen = b.at('b:1');
  expect(b.state('a:1', 30, seen, 'DEL k', 'SET k x')).toBe('DEL k; SET k x; SETBIT k 7 0; SETBIT k 7 1');
});

test('a SET that had not seen what was appended loses nothing of it', () => {
  b.client(20, 'SET k v', 'APPEND k +b');
  expect(b.comes('a:1', 10, new Map(), 'SET k w')).toBe('DEL k; SET k v; APPEND k +b');
  expect(b.comes('c:1', 30, new Map(), 'SET k x')).toBe('SET k x; APPEND k +b');
});

test('a sorted set that something was popped from keeps what a delete had not seen', () => {
  b.client(20, 'ZADD k 1 x', 'ZADD k 2 y', 'ZPOPMIN k');
  expect(b.comes('a:1', 10, new Map(), 'DEL k')).toBe('DEL k; ZADD k 1 x; ZADD k 2 y');
  expect(b.unsettled).toEqual(['k']);
});

test('what a state tells of is not lost where another one stands that had seen neither', () => {
  b.client(5, 'ZADD k 8 b1');
  const seen = b.at('b:1');
  b.client(20, 'ZADD k 1 b2');
  expect(b.comes('c:1', 10, seen, 'ZPOPMIN k')).toBe('');
  expect(b.unsettled).toEqual(['k']);
  b.state('a:1', 25, b.at('b:1'), 'DEL k', 'ZADD k 8 b1 1 b2');
  expect(b.state('c:1', 30, seen, 'DEL k')).toBe('DEL k; ZADD k 1 b2');
});

test('what was added to a key beside a state that says there is none stands', () => {
  const seen = b.at();
  b.comes('a:1', 10, seen, 'ZPOPMIN k');
  b.client(20, 'ZADD k 1 b1');
  expect(b.state('c:1', 30, b.at('a:1'), 'DEL k')).toBe('DEL k; ZADD k 1 b1');
});

test('what a state tells of stands, though what made it is older than another state that had not seen it', () => {
  b.client(20, 'ZADD k 1 x', 'ZPOPMIN k');
  const seen = b.at('b:1');
  expect(b.state('a:1', 30, seen, 'DEL k', 'ZADD k 8 y')).toBe('DEL k; ZADD k 8 y');
  expect(b.stateOf('c:1', 40, seen, new Map(), 'DEL k', 'ZADD k 8 y')).toBe('DEL k; ZADD k 8 y');
});

test.each(['before', 'behind'])(
  'what was taken from what a state tells of stays taken, though a delete comes %s it',
  (when) => {
    b.client(20, 'ZADD k 1 x', 'ZADD k 2 y', 'ZPOPMIN k');
    const removes = (): string => b.comes('a:1', 3, new Map(), 'DEL k');
    if (when === 'before') removes();
    b.state('c:1', 30, b.at('b:1'), 'DEL k', 'ZADD k 2 y');
    if (when === 'behind') removes();
    expect(b.state('a:1', 25, b.at('a:1'), 'DEL k', 'ZADD k 5 z')).toBe('DEL k; ZADD k 2 y; ZADD k 5 z');
  },
);

test('what a state had seen does not come back because of a string that stands below it', () => {
  b.client(1, 'ZADD k 0 u1');
  const seen = b.at('b:1');
  b.comes('a:1', 1, new Map(), 'ZADD k 5 e5', 'ZPOPMIN k');
  b.client(7, 'SET k u10');
  expect(b.state('a:1', 50, seen, 'DEL k', 'ZADD k 0 u1')).toBe('DEL k; ZADD k 0 u1');
});

test('what was removed by its name does not come back', () => {
  b.client(20, 'ZADD k 1 x', 'ZADD k 2 y', 'ZPOPMAX k', 'ZREM k x');
  expect(b.comes('a:1', 10, new Map(), 'DEL k')).toBe('DEL k; ZADD k 2 y');
});

describe('a key that is unsettled', () => {
  const unsettle = (): void => {
    b.client(20, 'RPUSH k b1');
    b.comes('c:1', 10, new Map(), 'LPUSH k c1');
    expect(b.unsettled).toEqual(['k']);
  };

  test('what clients take from it here is nothing that others may take', () => {
    unsettle();
    const written = ['RPUSH k b2', 'LPOP k', 'RPOP other', 'LSET k 0 x', 'LPUSHX k b3'];
    expect(b.clientAt(30, b.at('c:1'), ...written)).toEqual([1, 3, 4]);
    // What meets others, they see for themselves.
    expect(b.clientAt(40, new Map(), 'LPOP k')).toEqual([]);
  });

  test('passes that on to what is moved into another', () => {
    unsettle();
    expect(b.clientAt(30, b.at('c:1'), 'LMOVE k l LEFT LEFT', 'LPOP l')).toEqual([0, 1]);
    expect(b.unsettled).toEqual(['k', 'l']);
  });

  test('is so with all that was moved to or from it and is left out elsewhere for its sake', () => {
    b.client(20, 'LMOVE k l LEFT LEFT', 'LMOVE m n LEFT LEFT', 'LMOVE k q LEFT LEFT');
    b.comes('a:1', 10, new Map(), 'LMOVE p k LEFT LEFT');
    expect(b.unsettled.sort()).toEqual(['k', 'l', 'p', 'q']);
    b.comes('c:1', 10, new Map(), 'DEL m');
    expect(b.unsettled.sort()).toEqual(['k', 'l', 'm', 'n', 'p', 'q']);
  });

  test('elsewhere is so here, and what was taken from it there is left out', () => {
    expect(b.comesApart('a:1', 30, new Map(), 'LPOP k')).toBe('');
    expect(b.comesApart('a:1', 40, new Map(), 'LMOVE m n LEFT LEFT')).toBe('');
    expect(b.comesApart('a:1', 50, new Map(), 'RPUSH q v')).toBe('RPUSH q v');
    expect(b.unsettled).toEqual(['k', 'm', 'n', 'q']);
  });

  test('of which nobody can be told any more is sent by the region itself', () => {
    unsettle();
    const origin = 'b:1';
    const record = { kind: RecordKind.stream, origin, start: b.at(origin).get(origin)!, stamp: 30, ops: 1, db: 0 };
    const payload = commands('LPOP k');
    b.core.local({ ...record, end: record.start + payload.length, seen: b.at('c:1'), payload });
    expect(b.core.settling.settlerOf(b.core.find(0, 'k')!, ['a', 'b', 'c'])).toBe('b');
  });
});

describe('items of one block', () => {
  test('do not run where one before them has not: they worked on what that left', () => {
    const items = b.batch(['a:1', 10, new Map(), 'LMOVE k l LEFT LEFT', 'RPOP l', 'RPOP m']);
    b.client(20, 'RPUSH k b1');
    expect(b.admit(items)).toBe('RPOP m');
    expect(b.unsettled.sort()).toEqual(['k', 'l']);
  });

  test('run as they were planned, whatever comes behind them in it', () => {
    const items = b.batch(
      ['a:1', 10, new Map(), 'LMOVE k l LEFT LEFT', 'RPOP l'],
      ['c:1', 20, new Map(), 'LMOVE m k LEFT LEFT'],
      ['a:1', 30, new Map(), 'RPOP k'],
    );
    expect(b.admit(items)).toBe('LMOVE k l LEFT LEFT; RPOP l');
    // Where the second one stood first, the first is left out.
    expect(b.unsettled.sort()).toEqual(['k', 'l', 'm']);
  });
});

describe('keys that an operation has joined', () => {
  test('are settled together', () => {
    b.client(20, 'LMOVE k l LEFT RIGHT', 'LMOVE l m LEFT RIGHT');
    const state = b.core.find(0, 'm')!;
    expect(b.core.settling.joinedWith(state).map(({ key }) => key)).toEqual(['m', 'l', 'k']);
  });

  test('a state of one of them that had not seen the move does not stand', () => {
    b.client(20, 'LMOVE k l LEFT RIGHT');
    expect(b.state('a:1', 30, new Map(), 'DEL l', 'RPUSH l old')).toBe('');
    expect(b.unsettled).toEqual(['l']);
  });

  test('a state of all of them does, as if nothing had moved', () => {
    b.client(20, 'LMOVE k l LEFT RIGHT');
    expect(b.state('a:1', 30, new Map(), 'DEL k', 'RPUSH k e', 'DEL l')).toBe('DEL k; RPUSH k e; DEL l');
    expect(b.unsettled).toEqual(['k', 'l']);
  });

  test('a delete that had not seen the move waits for a state', () => {
    b.client(20, 'LMOVE k l LEFT RIGHT');
    expect(b.comes('a:1', 30, new Map(), 'DEL l')).toBe('');
    expect([...b.core.settling.awaited(['a', 'b']).keys()]).toEqual(['a']);
  });
});

test('where too much is unseen a state waits for one that has seen more', () => {
  for (let i = 0; i < 5000; i++) b.client(20 + i, `RPUSH k b${i}`);
  const seen = b.at('b:1');
  b.client(6000, 'RPUSH k last');
  expect(b.state('a:1', 7000, new Map(), 'DEL k')).toBe('');
  expect(b.state('c:1', 8000, seen, 'DEL k', 'RPUSH k all')).toBe('DEL k; RPUSH k all; RPUSH k last');
});

describe('the form of a command', () => {
  const form = (text: string): ReturnType<typeof formOf> => {
    const scanner = new CommandScanner();
    scanner.push(commands(text));
    scanner.next();
    return formOf(commandByName(text.split(' ')[0]!)!, scanner);
  };
  const receives = (text: string): string[] =>
    form(text).places.flatMap(({ key, db, receives: does }) => (does ? [db === null ? key : `${db}:${key}`] : []));

  test.each([
    ['RPUSH k v', 'adds'],
    ['LPOP k', 'takes'],
    ['ZPOPMIN k', 'takes'],
    ['LTRIM k 0 99', 'adds'],
    ['LTRIM k -100 -1', 'adds'],
    ['LTRIM k 10 -1', 'takes'],
    ['LREM k 0 v', 'adds'],
    ['LSET k 0 v', 'gives'],
    ['PFMERGE k l', 'adds'],
    ['BITOP AND k l m', 'gives'],
    ['LMOVE k l LEFT LEFT', 'moves'],
    ['LMOVE k k LEFT RIGHT', 'takes'],
    ['MOVE k 3', 'moves'],
    ['RENAME k l', 'gives'],
  ])('%s %s', (text, kind) => expect(form(text).kind).toBe(kind));

  test.each([
    ['LMOVE k l LEFT LEFT', ['l']],
    ['RENAME k l', ['l']],
    ['COPY k l', ['l']],
    ['COPY k l DB 2', ['2:l']],
    ['MOVE k 3', ['3:k']],
    ['SUNIONSTORE k l m', ['k']],
    ['BITOP AND k l m', ['k']],
    ['PFMERGE k l', ['k']],
  ])('%s gives to %p', (text, keys) => expect(receives(text)).toEqual(keys));

  test.each([
    ['LINSERT k BEFORE p v', 'LPUSH k v'],
    ['LINSERT k AFTER p v', 'RPUSH k v'],
    ['RPUSHX k v w', 'RPUSH k v w'],
  ])('%s beside what it has not seen: %s', (text, loose) => expect(form(text).loose).toEqual(commands(loose)));
});

test('what is added to a number that a state has settled, beside fields that it had replaced, is not lost', () => {
  b.comes('a:1', 1, b.at(), 'HSET k f v', 'SET k 5');
  b.comes('c:1', 2, b.at(), 'RPUSH k c1');
  expect(b.state('a:1', 9, b.at('c:1'), 'DEL k', 'SET k 5')).toBe('DEL k; SET k 5');
  b.clientAt(20, b.at('a:1', 'c:1'), 'DECRBY k 8');
  expect(b.comes('c:1', 21, b.at('a:1'), 'INCR k')).toBe('INCRBY k 1');
});
