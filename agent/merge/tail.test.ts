import fc from 'fast-check';
import { type OpRecord, RecordKind } from '../record';
import type { PayloadSource, RecordPlace } from './payload-source';
import { Tail } from './tail';

const KEEP_BYTES = 50;

/** A record of one origin's stream; what it holds follows from its place. */
function record(start: number, bytes: number): OpRecord {
  const payload = Buffer.from(Array.from({ length: bytes }, (_, i) => (start + i) % 251));
  const base = {
    origin: 'a:00',
    start,
    end: start + bytes,
    stamp: start,
    ops: 1,
    db: 0,
    seen: new Map<string, number>(),
  };
  return { kind: RecordKind.stream, ...base, payload };
}

/** What is written of the stream, and how much of it was asked for. */
class Stream implements PayloadSource {
  readonly keepBytes = KEEP_BYTES;
  written = 0;
  has({ end }: RecordPlace): boolean {
    return end <= this.written;
  }
  payload({ end }: RecordPlace, bytes: number): Buffer {
    if (end > this.written) throw new Error('asked for what is not there');
    return record(end - bytes, bytes).payload;
  }
  glance(): Buffer {
    throw new Error('nobody glances at what is in the tail');
  }
}

test('gives what it was given, in order, while it keeps little of what can be had again', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 40 }) }) },
    fc.record({ take: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ seen: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ write: fc.constant(true) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const stream = new Stream();
      const tail = new Tail(stream);
      let model: OpRecord[] = [];
      let end = 0;
      for (const one of steps) {
        if ('push' in one) {
          const next = record(end, one.push);
          end = next.end;
          tail.push(next, 0);
          model.push(next);
          const kept = [...tail.entries()].filter(({ record: { payload } }) => payload.length > 0);
          const written = kept.filter(({ record: { end: to } }) => to <= stream.written);
          // Beyond what may be kept: the newest, and what is behind one that can't be had again yet.
          const bytes = written.reduce((sum, { record: { payload } }) => sum + payload.length, 0);
          expect(bytes).toBeLessThanOrEqual(KEEP_BYTES + 40);
        } else if ('take' in one) {
          for (let i = 0; i < one.take; i++) {
            const expected = model.shift();
            const got = tail.take();
            expect(got?.record).toEqual(expected);
          }
        } else if ('seen' in one) {
          const position = model[Math.min(one.seen, model.length) - 1]?.end ?? 0;
          tail.dropSeen([position]);
          model = model.filter((each) => each.end > position);
        } else stream.written = end;
        expect(tail.operations).toBe(model.length);
      }
    }),
    { numRuns: 500 },
  );
});

test('what is not of the stream it keeps: its bytes have no place there', () => {
  const stream = new Stream();
  stream.written = Infinity;
  const tail = new Tail(stream);
  const difference = { ...record(0, 200), kind: RecordKind.difference };
  tail.push(difference, 0);
  tail.push(record(200, 200), 0);
  tail.push(record(400, 200), 0);
  const kept = [...tail.entries()].map(({ record: { payload } }) => payload.length);
  expect(kept).toEqual([200, 0, 200]);
  expect(tail.take()?.record).toBe(difference);
});

test('a payload that cannot be had for a moment costs nothing: its record is still the next one', () => {
  const stream = new Stream();
  stream.written = Infinity;
  const tail = new Tail(stream);
  const records = [record(0, 60), record(60, 60)];
  for (const each of records) tail.push(each, 0);
  stream.written = 0;
  expect(() => tail.take()).toThrow('not there');
  expect(tail.operations).toBe(2);
  stream.written = Infinity;
  expect(tail.take()?.record).toEqual(records[0]);
  expect(tail.take()?.record).toEqual(records[1]);
});
