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
  strings?: Record<string, string>;
  sets?: Record<string, string[]>;
  surplus?: Record<string, bigint>;
}

function evidence({ strings = {}, sets = {}, surplus = {} }: Held): TailEvidence {
  return {
    isWhole: () => false,
    exists: (_, key) => key in strings || key in sets,
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
  expect(lastHeld(records, {}, { cursor: 5 })).toBe(1);
  expect(lastHeld(records, {}, { cursor: 0 })).toBe(0);
  expect(lastHeld(records, {}, { cursor: 9 })).toBeNull();
});

test('what stands behind a later heartbeat is lost', () => {
  const records = history(
    { args: ['INCR', 'n'] },
    { args: ['INCR', 'n'] },
    { args: ['INCR', 'n'], stamp: stampOf(1025) },
  );
  expect(lastHeld(records, {}, { heartbeatMs: 1000 })).toBe(1);
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
