import type { RdbKey, ZsetItem } from '../capture/rdb';
import { type OpRecord, RecordKind } from '../record';
import { encodeCommand } from '../resp';
import { stampOf } from '../stream/keys';
import { ONE } from './decimal';
import type { Amiss } from './difference';
import { Type } from './key-state';
import { evidenceOf, type TailEvidence } from './lost-evidence';
import { doneAgain, keptUntil, LateKeys } from './lost-tail';
import { nameOf, Touches } from './touches';

const origin = 'eu:history';

/** Records of one command each, one behind the other. */
function history(...steps: { args: string[]; stamp?: number; seen?: number }[]): OpRecord[] {
  let end = 0;
  return steps.map(({ args, stamp = stampOf(1000), seen = 0 }, i) => {
    const payload = encodeCommand(args.map((arg) => Buffer.from(arg)));
    const start = end;
    end += payload.length;
    const common = { kind: RecordKind.stream, origin, start, end, ops: 1, db: 0, payload } as const;
    return { ...common, stamp: stamp + i, seen: new Map([['us:other', seen]]) };
  });
}

interface Held {
  /** Keys that are as elsewhere. */
  whole?: string[];
  /** Keys that are neither here nor elsewhere. */
  gone?: string[];
  strings?: Record<string, string>;
  sets?: Record<string, string[]>;
  surplus?: Record<string, bigint>;
  /** Strings as they are elsewhere. */
  unlost?: Record<string, string>;
  /** When keys expire, in Unix ms; null: they don't. */
  times?: Record<string, number | null>;
  /** Keys of which nothing is said but that they are there. */
  present?: string[];
}

function evidence(held: Held): TailEvidence {
  const { whole = [], gone = [], strings = {}, sets = {}, surplus = {}, times = {}, present = [], unlost = {} } = held;
  const there = new Set([strings, sets, surplus, times].flatMap(Object.keys).concat(present, whole));
  return {
    isWhole: (_, key) => whole.includes(key) || gone.includes(key),
    exists: (_, key) => there.has(key),
    value: (_, key, type, name) => {
      const text = type === Type.string ? strings[key] : sets[key]?.includes(name) === true ? '' : undefined;
      return text === undefined ? null : Buffer.from(text);
    },
    expireAt: (_, key) => times[key],
    surplus: (_, key) => (key in surplus ? surplus[key]! * ONE : null),
    unlost: (_, key) => (key in unlost ? Buffer.from(unlost[key]!) : null),
  };
}

/** Index of the last record that is held; −1: none is; null: all are. */
function lastHeld(
  records: OpRecord[],
  held: Held,
  o: { cursor?: number; heartbeatMs?: number; safe?: number; least?: number } = {},
): number | null {
  const cursor = new Map([['us:other', o.cursor ?? 0]]);
  const marks = { cursor, heartbeatMs: o.heartbeatMs ?? 1000, safe: o.safe ?? -1 };
  const kept = keptUntil(records, 'eu', marks, evidence(held), o.least ?? 1e-6);
  return kept === null ? null : records.findIndex(({ end }) => end === kept);
}

const sets = history({ args: ['SET', 'a', '1'] }, { args: ['SET', 'b', '1'] }, { args: ['SET', 'c', '1'] });

test('nothing was lost', () => {
  expect(lastHeld(sets, { strings: { a: '1', b: '1', c: '1' } })).toBeNull();
});

test('the end was lost, as the data shows', () => {
  expect(lastHeld(sets, { strings: { a: '1', b: '1' } })).toBe(1);
  expect(lastHeld(sets, { strings: { a: '1' } })).toBe(0);
  expect(lastHeld(sets, {})).toBe(-1);
});

test('what was reported is there, whatever clients have removed of it since', () => {
  expect(lastHeld(sets, { strings: { a: '1' } }, { safe: sets[1]!.end })).toBe(1);
  expect(lastHeld(sets, {}, { safe: sets[2]!.end })).toBeNull();
  // But for what Redis itself shows.
  expect(lastHeld(history({ args: ['SET', 'a', '1'], seen: 9 }), {}, { cursor: 5, safe: 1000 })).toBe(-1);
});

test('that the data is as a state told shows nothing of what the state stands behind', () => {
  const [a, b] = history({ args: ['SET', 'a', '1'] }, { args: ['SET', 'b', '1'] });
  const state: OpRecord = { ...b!, kind: RecordKind.state };
  expect(lastHeld([a!, state], { strings: { b: '1' } })).toBe(-1);
  expect(lastHeld([a!, b!], { strings: { b: '1' } })).toBeNull();
});

test('what a state told of, and is not there, was removed since, whatever stands behind it', () => {
  const [a, s, b] = history(
    { args: ['SET', 'a', '1'] },
    { args: ['SADD', 's', 'x', 'y'] },
    { args: ['SET', 'b', '1'] },
  );
  const state: OpRecord = { ...s!, kind: RecordKind.state };
  expect(lastHeld([a!, state], { strings: { a: '1' } })).toBeNull();
  expect(lastHeld([a!, state, b!], { strings: { a: '1' } })).toBe(1);
});

test('a few that are missing may have been removed since', () => {
  const five = history(...['a', 'b', 'c', 'd', 'e'].map((key) => ({ args: ['SET', key, '1'] })));
  expect(lastHeld(five, { strings: { a: '1', b: '1' } }, { least: 4 })).toBeNull();
  expect(lastHeld(five, { strings: { a: '1' } }, { least: 4 })).toBe(0);
});

test('what clients changed since does not hide what came behind it', () => {
  expect(lastHeld(sets, { strings: { a: 'new', b: 'new', c: '1' } })).toBeNull();
  expect(lastHeld(sets, { strings: { a: 'new', b: '1' } })).toBe(1);
});

test('two that are missing may have been removed since, where one behind them is there', () => {
  expect(lastHeld(sets, { strings: { c: '1' } })).toBeNull();
});

test('of an element that was written several times the last one counts', () => {
  const records = history({ args: ['SADD', 's', 'x'] }, { args: ['SREM', 's', 'x'] }, { args: ['SADD', 's', 'y'] });
  expect(lastHeld(records, { sets: { s: ['y'] } })).toBeNull();
  expect(lastHeld(records, { sets: { s: [] } })).toBe(1);
  expect(lastHeld(records, { sets: { s: ['x'] } })).toBe(0);
});

test('what had seen more than the cursor says is lost, what had seen less is not', () => {
  const records = history(
    { args: ['INCR', 'n'], seen: 0 },
    { args: ['INCR', 'n'], seen: 5 },
    { args: ['INCR', 'n'], seen: 9 },
  );
  expect(lastHeld(records, { present: ['n'] }, { cursor: 5 })).toBe(1);
  expect(lastHeld(records, { present: ['n'] }, { cursor: 0 })).toBe(0);
  expect(lastHeld(records, { present: ['n'] }, { cursor: 9 })).toBeNull();
});

test('what stands behind a later heartbeat is lost', () => {
  const records = history(
    { args: ['INCR', 'n'] },
    { args: ['INCR', 'n'] },
    { args: ['INCR', 'n'], stamp: stampOf(1025) },
  );
  expect(lastHeld(records, { present: ['n'] }, { heartbeatMs: 1000 })).toBe(1);
});

test('a flood that counts beyond the millisecond of its heartbeat has passed no later one', () => {
  const [a, b] = history(
    { args: ['INCR', 'n'], stamp: stampOf(1001) - 1 },
    { args: ['INCR', 'n'], stamp: stampOf(1001) - 1 },
  );
  expect(b!.stamp).toBe(a!.stamp + 1);
  expect(lastHeld([a!, b!], { present: ['n'] })).toBeNull();
});

test('counters tell where nothing else does; where they do not either, all is there', () => {
  const records = history(
    { args: ['INCRBY', 'n', '5'] },
    { args: ['INCRBY', 'm', '7'] },
    { args: ['INCRBY', 'n', '2'] },
  );
  expect(lastHeld(records, { surplus: { n: 0n, m: 0n } })).toBeNull();
  expect(lastHeld(records, { surplus: { n: -2n, m: 0n } })).toBe(1);
  expect(lastHeld(records, { surplus: { n: -2n, m: -7n } })).toBe(0);
  expect(lastHeld(records, { surplus: { n: -7n, m: -7n } })).toBe(-1);
  expect(lastHeld(records, { surplus: { n: 93n, m: 12n } })).toBeNull();
});

test('of a transaction all is there, or nothing', () => {
  const payload = Buffer.concat(
    [['MULTI'], ['SET', 'a', '2'], ['SET', 'b', '1'], ['EXEC']].map((argv) =>
      encodeCommand(argv.map((arg) => Buffer.from(arg))),
    ),
  );
  const [before] = history({ args: ['SET', 'a', '1'] });
  const start = before!.end;
  const both: OpRecord = { ...before!, start, end: start + payload.length, stamp: before!.stamp + 1, ops: 2, payload };
  expect(lastHeld([before!, both], { strings: { a: '1' } })).toBe(0);
  expect(lastHeld([before!, both], { strings: { a: '2' } })).toBeNull();
});

test('what was there before is not always known: what differs was lost, rather than changed since', () => {
  const unknown = history({ args: ['INCR', 'a'] }, { args: ['SET', 'a', '5'] });
  expect(lastHeld(unknown, { strings: { a: '1' } })).toBe(0);
  expect(lastHeld(unknown, { strings: { a: '5' } })).toBeNull();
  // Where something is there that came behind it, it was changed.
  const more = history({ args: ['INCR', 'a'] }, { args: ['SET', 'a', '5'] }, { args: ['SET', 'b', '1'] });
  expect(lastHeld(more, { strings: { a: '1', b: '1' } })).toBeNull();
});

test('what was added to a list, which is as elsewhere, was not lost', () => {
  const steps = [{ args: ['SET', 'a', '1'] }, { args: ['RPUSH', 'l', 'x'] }];
  expect(lastHeld(history(...steps), { whole: ['l'] })).toBeNull();
  expect(lastHeld(history(...steps), {})).toBe(-1);
  // Taken again, it would be as elsewhere, too.
  expect(lastHeld(history(...steps, { args: ['RPOP', 'l'] }), { whole: ['l'] })).toBe(-1);
});

test('what was appended to a string last shows in what it is elsewhere', () => {
  const append = (text: string): { args: string[] } => ({ args: ['APPEND', 'log', text] });
  const records = history(append('a.'), append('b.'), append('c.'));
  const kept = (mine: string, of = records, unlost = 'old.a.b.c.'): number | null =>
    lastHeld(of, { strings: { log: mine }, unlost: { log: unlost } });
  for (const more of ['', 'new.']) {
    expect(kept(`old.a.b.c.${more}`)).toBeNull();
    expect(kept(`old.a.b.${more}`)).toBe(1);
    expect(kept(`old.${more}`)).toBe(-1);
  }
  // A client has made it anew, or it was in no region before.
  expect(kept('new.')).toBeNull();
  expect(kept('new.', records, 'a.b.c.')).toBeNull();
  expect(kept('a.new.', records, 'a.b.c.')).toBe(0);
  expect(kept('old.a.')).toBe(0);
  // A client would have had to take it away.
  expect(lastHeld(records, { strings: { log: 'old.a.b.' }, unlost: { log: 'old.a.b.c.' } }, { least: 4 })).toBe(1);
  expect(lastHeld(records, { unlost: { log: 'a.b.c.' } }, { least: 4 })).toBeNull();
  // Others have done something to it, or it is not known.
  expect(kept('old.a.', records, 'old.a.b.c.d.')).toBeNull();
  expect(lastHeld(records, { strings: { log: 'old.a.' } })).toBeNull();
  const replaced = history(append('a.'), { args: ['SET', 'log', 'x.'] }, append('b.'), append('c.'));
  expect(kept('x.b.', replaced, 'x.b.c.')).toBe(2);
  expect(kept('x.new.', replaced, 'x.b.c.')).toBe(1);
  // What is surely lost has appended, too.
  const more = history(append('a.'), append('b.'), { ...append('c.'), stamp: stampOf(1025) });
  expect(kept('old.a.', more)).toBe(0);
  expect(kept('old.a.b.', more)).toBe(1);
});

test('what a string is elsewhere says what it was where nobody else has changed it', () => {
  const dump = { kind: 'key', db: 0, key: Buffer.from('log'), type: 'string', value: Buffer.from('a.') } as RdbKey;
  const unlost = (touches: Touches, amiss: Amiss | null = null): string | undefined =>
    evidenceOf([{ db: 0, key: 'log', parts: [] }], [{ dump, expireAtMs: null, amiss }], touches, () => true)
      .unlost(0, 'log')
      ?.toString();
  const touched = (...args: string[]): Touches => {
    const touches = new Touches(() => new Map([[origin, Infinity]]));
    for (const record of history({ args })) touches.note(record, -1);
    return touches;
  };
  expect(unlost(touched('PEXPIREAT', 'log', '5'))).toBe('a.');
  expect(unlost(touched('APPEND', 'log', 'a.'))).toBeUndefined();
  expect(unlost(touched('FLUSHALL'))).toBeUndefined();
  expect(unlost(touched('SET', 'other', '1'), 'state')).toBeUndefined();
  const { unlost: ofOther } = evidenceOf([], [], touched('SET', 'other', '1'), () => true);
  expect(ofOther(0, 'log')).toBeNull();
});

test('a key that is gone here and elsewhere, as its time is over, shows nothing of what was put there', () => {
  const added = [
    ['INCR', 'n'],
    ['RPUSH', 'n', 'x'],
    ['HSET', 'n', 'f', '1'],
    ['SET', 'n', '1'],
    ['PEXPIREAT', 'n', '5'],
  ];
  for (const args of added) {
    const records = history({ args: ['SADD', 's', 'x'] }, { args });
    expect(lastHeld(records, { whole: ['n'] })).toBeNull();
    expect(lastHeld(records, { gone: ['n'] })).toBe(-1);
  }
  const { isWhole, exists, surplus } = evidenceOf([], [], new Touches(() => undefined), (_, key) => key === 'there');
  expect(['there', 'gone'].map((key) => [isWhole(0, key), exists(0, key), surplus(0, key, '')])).toEqual([
    [true, true, 0n],
    [true, false, null],
  ]);
});

test('what stands before the records that are there is held', () => {
  const [, b, c] = sets;
  const birth: OpRecord = { ...sets[0]!, kind: RecordKind.birth, start: 0, end: 0, ops: 0, payload: Buffer.alloc(0) };
  const marks = { cursor: b!.seen, heartbeatMs: 1000, safe: -1 };
  expect(keptUntil([birth, b!, c!], 'eu', marks, evidence({}), 1e-6)).toBe(b!.start);
});

test('a key that is not there was lost with what had made it, whatever shows of its elements', () => {
  const list = history({ args: ['SET', 'a', '1'] }, { args: ['RPUSH', 'l', 'x'] }, { args: ['INCR', 'n'] });
  expect(lastHeld(list, { strings: { a: '1' }, present: ['l'] })).toBe(1);
  expect(lastHeld(list, { strings: { a: '1' } })).toBe(0);
  const popped = history({ args: ['SET', 'a', '1'] }, { args: ['RPUSH', 'l', 'x'] }, { args: ['LPOP', 'l'] });
  expect(lastHeld(popped, { strings: { a: '1' } })).toBeNull();
  const expired = history({ args: ['SET', 'a', '1'] }, { args: ['INCR', 'n'] }, { args: ['PEXPIREAT', 'n', '1'] });
  expect(lastHeld(expired, { strings: { a: '1' } })).toBeNull();
});

test('a key that was there before, and is not, was removed since, whatever was lost', () => {
  const steps = [{ args: ['SET', 'a', '1'] }, { args: ['HSET', 'h', 'g', '2'] }, { args: ['HINCRBY', 'h', 'n', '5'] }];
  const before = { args: ['HSET', 'h', 'f', '1'], stamp: stampOf(900) };
  expect(lastHeld(history(...steps), { strings: { a: '1' } })).toBe(0);
  expect(lastHeld(history(before, ...steps), { strings: { a: '1' } })).toBeNull();
  // It may have gone, or went.
  for (const gone of [['HDEL', 'h', 'f'], ['UNLINK', 'h'], ['FLUSHALL'], ['PEXPIREAT', 'h', '5']])
    expect(lastHeld(history(before, { args: gone, stamp: stampOf(900) }, ...steps), { strings: { a: '1' } })).toBe(2);
});

test('what a region has more of a key that is not here was there before', () => {
  const records = history({ args: ['ZINCRBY', 'z', '-6', 'n'] }, { args: ['ZADD', 'z', '1', 'm'] });
  const kept = (their: ZsetItem[], meanwhile?: string): number | null => {
    const touches = new Touches(() => new Map([['us:other', 1000]]));
    const common = {
      kind: RecordKind.difference,
      start: 0,
      end: 1000,
      stamp: 1,
      ops: 1,
      db: 0,
      seen: new Map(),
    } as const;
    if (meanwhile !== undefined)
      touches.note({ ...common, origin: 'us:other', payload: encodeCommand(meanwhile.split(' ')) }, -1);
    const dump = { kind: 'key', db: 0, key: Buffer.from('z'), type: 'zset', value: their, expireAtMs: null } as RdbKey;
    const candidates = [{ db: 0, key: 'z', parts: [] }];
    const found = evidenceOf(candidates, [{ dump, expireAtMs: null, amiss: null }], touches, () => false);
    const marks = { cursor: new Map([['us:other', 0]]), heartbeatMs: 1000, safe: -1 };
    return keptUntil(records, 'eu', marks, found, 1e-6);
  };
  const [n, m, x] = [
    ['n', '-6'],
    ['m', '1'],
    ['x', '3'],
  ].map(([name, score]): ZsetItem => [Buffer.from(name!), score!]);
  expect(kept([n!, m!])).toBe(0);
  expect(kept([n!, m!, x!])).toBeNull();
  expect(kept([n!, m!, x!], 'PEXPIREAT z 5')).toBeNull();
  expect(kept([[Buffer.from('n'), '-5'], m!])).toBeNull();
  // Others have made it.
  expect(kept([n!, m!, x!], 'ZADD z 3 x')).toBe(0);
  expect(kept([[Buffer.from('n'), '-5'], m!], 'ZINCRBY z 1 n')).toBe(0);
  expect(kept([n!, m!, x!], 'DEL z')).toBe(0);
});

test('what is missing of a key that is not there counts once: it may have been removed as a whole', () => {
  const records = history(
    { args: ['SADD', 's', 'x', 'y'] },
    { args: ['SADD', 's', 'z'] },
    { args: ['SADD', 't', 'z'] },
  );
  expect(lastHeld(records, { sets: { t: ['z'] } })).toBeNull();
});

test('a key that was deleted, and made anew, is missing its second deletion where it is there', () => {
  const add = { args: ['SADD', 's', 'x'] };
  const again = history({ args: ['DEL', 's'] }, add, { args: ['DEL', 's'] });
  expect(lastHeld(again, { sets: { s: ['x'] } })).toBe(1);
  expect(lastHeld(again, {})).toBeNull();
  const earlier = history(
    { args: ['DEL', 's'], stamp: stampOf(900) },
    { ...add, stamp: stampOf(900) },
    { args: ['DEL', 's'] },
  );
  expect(lastHeld(earlier, { sets: { s: ['x'] } })).toBe(1);
});

test('a member that is there shows more than one that is not', () => {
  const records = history({ args: ['SADD', 's', 'x'] }, { args: ['SADD', 't', 'y'] }, { args: ['SREM', 's', 'x'] });
  // Removed once more since, or lost.
  expect(lastHeld(records, { sets: { s: [] } })).toBe(0);
  expect(lastHeld(records, { sets: { s: [], t: ['y'] } })).toBeNull();
});

test('what was flushed shows nothing', () => {
  const records = history({ args: ['INCR', 'n'] }, { args: ['SADD', 's', 'x'] }, { args: ['FLUSHDB'] });
  expect(lastHeld(records, { whole: ['s', 'n'] })).toBeNull();
  const behind = history(
    ...records.map(() => ({ args: ['SADD', 's', 'x'] })),
    { args: ['FLUSHDB'] },
    { args: ['SET', 'a', '1'] },
  );
  expect(lastHeld(behind, { whole: ['s'] })).toBe(3);
});

test('a key to which something was done that is surely lost shows nothing by being as elsewhere', () => {
  const records = history(
    { args: ['RPUSH', 'l', 'x'] },
    { args: ['SET', 'a', '1'] },
    { args: ['RPUSH', 'l', 'y'] },
    // Behind a block that is not here.
    { args: ['RPOP', 'l'], seen: 9 },
  );
  expect(lastHeld(records, { whole: ['l'] })).toBe(0);
  expect(lastHeld(records.slice(0, 3), { whole: ['l'] })).toBeNull();
});

test('numbers lack what is surely lost, too', () => {
  const counted = (name: string, ...by: string[]): OpRecord[] => {
    const incr = (delta: string): string[] => (name === 'z' ? ['ZINCRBY', 'z', delta, 'm'] : ['INCRBY', name, delta]);
    return history(...by.map((delta, i) => ({ args: incr(delta), ...(i === 2 ? { stamp: stampOf(1025) } : {}) })));
  };
  for (const name of ['n', 'z']) {
    const records = counted(name, '21', '-6', '-8');
    expect(lastHeld(records, { surplus: { [name]: 8n } })).toBe(1);
    expect(lastHeld(records, { surplus: { [name]: 14n } })).toBe(0);
    expect(lastHeld(records, { surplus: { [name]: -7n } })).toBe(-1);
  }
  // Something else was lost as well: nothing can be told from the number.
  const replaced = history(
    { args: ['INCRBY', 'n', '21'] },
    { args: ['INCRBY', 'n', '-6'] },
    { args: ['SET', 'n', '3'], stamp: stampOf(1025) },
  );
  expect(lastHeld(replaced, { surplus: { n: 0n } })).toBe(1);
});

test('where the end is surely lost, one that is missing before it is believed', () => {
  const records = history({ args: ['SET', 'a', '1'] }, { args: ['SET', 'b', '1'] });
  const more = [...records, ...history({ args: ['INCR', 'n'], stamp: stampOf(1025) })].map((record, i, all) => {
    const start = i === 0 ? 0 : all.slice(0, i).reduce((sum, { payload }) => sum + payload.length, 0);
    return { ...record, start, end: start + record.payload.length };
  });
  const held = { strings: { a: '1' }, present: ['n'] };
  expect(lastHeld(records, held, { least: 4 })).toBeNull();
  expect(lastHeld(more, held, { least: 4 })).toBe(0);
});

test('a time to live shows, and one that is missing where nothing else of the key differs', () => {
  const records = history({ args: ['INCR', 'n'] }, { args: ['INCR', 'm'] }, { args: ['PEXPIREAT', 'n', '5000'] });
  expect(lastHeld(records, { times: { n: 5000 }, present: ['m'] })).toBeNull();
  expect(lastHeld(records, { times: { n: null }, present: ['m'] })).toBe(1);
  // It may have gone with a value that a client replaced.
  expect(lastHeld(records, { present: ['n', 'm'] })).toBeNull();
  const twice = history({ args: ['SET', 'n', '1', 'PXAT', '4000'] }, { args: ['PEXPIREAT', 'n', '5000'] });
  expect(lastHeld(twice, { times: { n: 4000 }, strings: { n: '1' } })).toBe(0);
  // Another one was given since.
  expect(lastHeld(twice, { times: { n: 9000 }, strings: { n: '1' } })).toBeNull();
  const gone = history({ args: ['PEXPIREAT', 's', '5000'] }, { args: ['SREM', 's', 'x'] });
  expect(lastHeld(gone, { times: { s: null }, sets: { s: [] } })).toBeNull();
});

test('what may be lost is behind the cursor or the heartbeat', () => {
  const records = history(
    { args: ['SET', 'a', '1'], stamp: stampOf(900) },
    { args: ['SET', 'b', '1'] },
    { args: ['SET', 'c', '1'], stamp: stampOf(900), seen: 9 },
    { args: ['SET', 'd', '1'], stamp: stampOf(900), seen: 9 },
  );
  const late = (seen: number): string[] => {
    const keys = new LateKeys('eu', new Map([['us:other', seen]]), 1000);
    for (const record of records) keys.note(record);
    return [...keys.names];
  };
  expect(late(9)).toEqual(['b'].map((key) => nameOf(0, key)));
  expect(late(0)).toEqual(['b', 'c', 'd'].map((key) => nameOf(0, key)));
});

test('what was lost and done again shows in no value: only what would then be there twice is told', () => {
  const records = history(
    { args: ['SET', 'a', '1'] },
    { args: ['INCRBY', 'n', '5'] },
    { args: ['INCRBY', 'm', '5'] },
    { args: ['INCRBY', 'm', '-5'] },
    { args: ['RPUSH', 'l', 'x'] },
    { args: ['HSET', 'h', 'f', '1'] },
    { args: ['ZINCRBY', 'z', '0.1', 'x'] },
  );
  const lost = new Touches(() => new Map([[origin, Infinity]]));
  for (const record of records) lost.note(record, -1);
  const equal = ['a', 'n', 'm', 'l', 'h', 'z', 'other'].map((key) => ({ db: 0, key, parts: [] }));
  expect(doneAgain(equal, lost).map(({ key }) => key)).toEqual(['n', 'l', 'z']);
});
