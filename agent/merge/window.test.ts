import { wordsOf } from '../../test/sim/core-region';
import { encode } from '../../test/sim/redis';
import { type OpRecord, RecordKind } from '../record';
import { Batch } from './batch';
import { MergeCore } from './core';
import type { PayloadSource } from './payload-source';

/** Two regions write as fast as they can, and neither hears of the other for long. */
class Flood implements PayloadSource {
  readonly keepBytes = 64 * 1024;
  readonly core = new MergeCore({ region: 'a', members: ['a', 'b'], payloads: this });
  readonly end = { a: 0, b: 0 };
  readings = 0;
  private readonly journal = new Map<string, Buffer>();
  private stamp = 1;

  constructor() {
    this.core.assume('a:1', 0);
    this.core.assume('b:1', 0);
  }

  has(): boolean {
    return true;
  }

  payload({ origin, end }: { origin: string; end: number }, bytes: number): Buffer {
    this.readings++;
    const payload = this.journal.get(`${origin} ${end}`)!;
    expect(payload.length).toBe(bytes);
    return payload;
  }

  glance(origin: string, from: number, to: number): Buffer {
    for (const [name, payload] of this.journal) {
      const end = Number(name.slice(origin.length + 1));
      if (name.startsWith(`${origin} `) && end >= to && end - payload.length <= from)
        return payload.subarray(payload.length - (end - from), payload.length - (end - to));
    }
    throw new Error('asked for what is not there');
  }

  record(region: 'a' | 'b', commands: readonly string[], db = 0): OpRecord {
    const payload = Buffer.concat(commands.map((text) => encode(text.split(' '))));
    const start = this.end[region];
    const end = (this.end[region] += payload.length);
    this.journal.set(`${region}:1 ${end}`, payload);
    const stamp = this.stamp;
    const ops = commands.length;
    this.stamp += ops;
    return { kind: RecordKind.stream, origin: `${region}:1`, start, end, stamp, ops, db, seen: new Map(), payload };
  }

  plan(record: OpRecord): string {
    const batch = new Batch();
    this.core.plan(record, batch);
    return wordsOf(batch);
  }
}

const SETS = 500;
const sets = (n: number, who: string): string[] =>
  Array.from({ length: SETS }, (_, i) => `SET key:${n * SETS + i} ${who}${i}`);

test('a flood both ways costs some 50 bytes a key, and of the bytes of records no more than what is kept', () => {
  const flood = new Flood();
  const { core } = flood;
  flood.plan(flood.record('b', ['SET other b']));
  for (let n = 0; n < 400; n++) core.local(flood.record('a', sets(n, 'a')));
  for (let n = 0; n < 100; n++) flood.plan(flood.record('b', sets(n, 'b')));
  expect(core.window.keys).toBe(400 * SETS + 1);
  expect(core.operations).toBe(500 * SETS + 1);
  expect(core.window.payloadBytes).toBeLessThan(flood.keepBytes + 64 * 1024);
  // A quarter of the keys have a put of each region.
  expect(core.window.bytes / (500 * SETS)).toBeLessThan(64);
  expect(core.notes.counts).toEqual({ string: 100 * SETS });
  expect(flood.readings).toBe(0);
  // All is seen by all, and nothing is left.
  const seen = (origin: 'a:1' | 'b:1', end: number): number[] => core.origins.toSeen(new Map([[origin, end]]));
  core.report('a', seen('b:1', flood.end.b), { origin: 'a:1', position: flood.end.a });
  core.report('b', seen('a:1', flood.end.a), { origin: 'b:1', position: flood.end.b });
  expect(core.operations).toBe(0);
  expect(core.window.keys).toBe(0);
  expect(core.window.payloadBytes).toBe(0);
  expect(core.window.bytes).toBeLessThan(2 ** 21);
});

test('what was let go of is read again where a key turns out to be more than SETs', () => {
  const flood = new Flood();
  const { core } = flood;
  flood.plan(flood.record('b', ['SET other b']));
  const long = 'y'.repeat(3000);
  core.local(flood.record('a', ['SET early x', `SET long ${long}`, 'SET count 5', 'SELECT 3', 'SET count 8']));
  for (let n = 0; n < 20; n++) core.local(flood.record('a', sets(n, 'a')));
  expect(flood.readings).toBe(0);
  expect(flood.plan(flood.record('b', ['INCR count']))).toBe('SELECT 0 SET count 6 KEEPTTL');
  expect(flood.plan(flood.record('b', ['INCRBY count 2'], 3))).toBe('SELECT 3 SET count 10 KEEPTTL');
  // Both are of one record.
  expect(flood.readings).toBe(1);
  expect(core.find(0, 'long')?.string?.puts.map(({ value }) => value.toString())).toEqual([long]);
  expect(core.find(0, 'early')?.string?.puts.map(({ value }) => value.toString())).toEqual(['x']);
  expect(core.find(3, 'early')).toBeUndefined();
});
