import { type OpRecord, RecordKind } from '../record';
import { encodeCommand } from '../resp';
import { stampOf } from '../stream/keys';
import { ONE } from './decimal';
import { Type } from './key-state';
import { keptUntil, type TailEvidence } from './lost-tail';

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
  strings?: Record<string, string>;
  sets?: Record<string, string[]>;
  surplus?: Record<string, bigint>;
  /** Keys of which nothing is said but that they are there. */
  present?: string[];
}

function evidence({ whole = [], strings = {}, sets = {}, surplus = {}, present = [] }: Held): TailEvidence {
  return {
    isWhole: (_, key) => whole.includes(key),
    exists: (_, key) => key in strings || key in sets || key in surplus || present.includes(key),
    value: (_, key, type, name) => {
      const text = type === Type.string ? strings[key] : sets[key]?.includes(name) === true ? '' : undefined;
      return text === undefined ? null : Buffer.from(text);
    },
    surplus: (_, key) => (key in surplus ? surplus[key]! * ONE : null),
  };
}

/** Index of the last record that is held; −1: none is; null: all are. */
function lastHeld(
  records: OpRecord[],
  held: Held,
  o: { cursor?: number; heartbeatMs?: number; least?: number } = {},
): number | null {
  const cursor = new Map([['us:other', o.cursor ?? 0]]);
  const kept = keptUntil(records, 'eu', cursor, o.heartbeatMs ?? 1000, evidence(held), o.least ?? 1e-6);
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

test('what stands before the records that are there is held', () => {
  const [, b, c] = sets;
  const birth: OpRecord = { ...sets[0]!, kind: RecordKind.birth, start: 0, end: 0, ops: 0, payload: Buffer.alloc(0) };
  expect(keptUntil([birth, b!, c!], 'eu', b!.seen, 1000, evidence({}), 1e-6)).toBe(b!.start);
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

test('what is missing of a key that is not there counts once: it may have been removed as a whole', () => {
  const records = history(
    { args: ['SADD', 's', 'x', 'y'] },
    { args: ['SADD', 's', 'z'] },
    { args: ['SADD', 't', 'z'] },
  );
  expect(lastHeld(records, { sets: { t: ['z'] } })).toBeNull();
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
