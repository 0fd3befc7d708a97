import { wordsOf } from '../../test/sim/core-region';
import { encode } from '../../test/sim/redis';
import { type OpRecord, type OriginId, RecordKind } from '../record';
import { Batch } from './batch';
import { MergeCore } from './core';
import type { PayloadSource } from './payload-source';
import { MemoryFile } from './shelf';

/** Two regions write as fast as they can, and neither hears of the other for long. */
class Flood implements PayloadSource {
  readonly keepBytes = 64 * 1024;
  readonly core: MergeCore;
  readonly end = { a: 0, b: 0 };
  readings = 0;
  private readonly journal = new Map<string, Buffer>();
  private stamp = 1;

  constructor(budgetBytes = Infinity) {
    const files = { create: () => new MemoryFile(), failed: () => undefined };
    const shelf = { files, budgetBytes, operations: 1024 };
    const options = { region: 'a', members: ['a', 'b'], payloads: this };
    this.core = new MergeCore(budgetBytes < Infinity ? { ...options, shelf } : options);
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

test('a flood both ways beyond the budget goes to disk and back without a look at its records', () => {
  const BUDGET = 512 * 1024;
  const RECORDS = 60;
  const flood = new Flood(BUDGET);
  const { core } = flood;
  const { window } = core;
  const room = BUDGET * 1.25;
  flood.plan(flood.record('b', ['SET other b']));
  for (let n = 0; n < RECORDS; n++) {
    core.local(flood.record('a', sets(n, 'a')));
    expect(window.load).toBeLessThan(room);
  }
  expect(window.shelved.keys).toBeGreaterThan((RECORDS * SETS) / 2);
  for (let n = 0; n < RECORDS; n++) {
    // Each is older than the other region's, and none of them wins.
    expect(flood.plan({ ...flood.record('b', sets(n, 'b')), stamp: 1 })).toBe('');
    expect(core.find(0, `key:${n * SETS}`)?.string?.puts.map(({ value }) => value.toString())).toEqual(['a0', 'b0']);
    expect(window.load).toBeLessThan(room);
  }
  expect(core.notes.counts).toEqual({ string: RECORDS * SETS });
  // But for those keys that were looked at above.
  expect(flood.readings).toBeLessThanOrEqual(RECORDS * 4);
  const seen = (origin: 'a:1' | 'b:1', end: number): number[] => core.origins.toSeen(new Map([[origin, end]]));
  core.report('a', seen('b:1', flood.end.b), { origin: 'a:1', position: flood.end.a });
  core.report('b', seen('a:1', flood.end.a), { origin: 'b:1', position: flood.end.b });
  expect([core.operations, window.keys, window.load, window.shelved.bytes]).toEqual([0, 0, 0, 0]);
});

test('what comes back from disk beside a SET that not all have seen, and all have seen itself, waits for nothing of a history that is over', () => {
  const flood = new Flood(0);
  const { core } = flood;
  const seen = (...ends: [OriginId, number][]): number[] => core.origins.toSeen(new Map(ends));
  core.local(flood.record('a', ['SET k a']));
  flood.plan(flood.record('b', ['SET k b']));
  const ofA = flood.end.a;
  const before = flood.end.b;
  core.report('a', seen(['b:1', before]), { origin: 'a:1', position: ofA });
  core.report('b', seen(), { origin: 'b:1', position: before });
  expect([core.window.keys, core.window.shelved.keys]).toEqual([0, 2]);
  // In the next history of that region, which has not seen what a client of this one wrote.
  core.assume('b:2', before);
  flood.plan({
    ...flood.record('b', ['SET k b2', 'SET k b3 KEEPTTL']),
    origin: 'b:2',
    seen: new Map([['b:1', before]]),
  });
  const after = flood.end.b;
  core.report('a', seen(['b:1', before], ['b:2', after]), { origin: 'a:1', position: ofA });
  core.report('b', seen(['b:1', before], ['a:1', ofA]), { origin: 'b:2', position: after });
  expect(core.operations).toBe(0);
});

test('what was let go of is read again where a key turns out to be more than SETs', () => {
  const flood = new Flood();
  const { core } = flood;
  flood.plan(flood.record('b', ['SET other b']));
  const long = 'y'.repeat(3000);
  core.local(flood.record('a', ['SET early x', `SET long ${long}`, 'SET count 5', 'SELECT 3', 'SET count 8']));
  for (let n = 0; n < 20; n++) core.local(flood.record('a', sets(n, 'a')));
  expect(flood.readings).toBe(0);
  expect(flood.plan(flood.record('b', ['INCR count']))).toBe('SELECT 0 INCRBY count 1');
  expect(flood.plan(flood.record('b', ['INCRBY count 2'], 3))).toBe('SELECT 3 INCRBY count 2');
  // Both are of one record.
  expect(flood.readings).toBe(1);
  expect(core.find(0, 'long')?.string?.puts.map(({ value }) => value.toString())).toEqual([long]);
  expect(core.find(0, 'early')?.string?.puts.map(({ value }) => value.toString())).toEqual(['x']);
  expect(core.find(3, 'early')).toBeUndefined();
});
