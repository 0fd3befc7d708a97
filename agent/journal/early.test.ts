/** What readers get before the disk has it, and what can be had again that was let go of. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { decodeRecord, encodeRecord, RecordKind } from '../record';
import { Journal, type JournalError, type JournalOptions } from '.';

let dir: string;
let journal: Journal;

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meridian-journal-'));
});

afterEach(async () => {
  jest.restoreAllMocks();
  await journal.close().catch(() => undefined);
  fs.rmSync(dir, { recursive: true, force: true });
});

const open = async (o: Partial<JournalOptions> = {}): Promise<Journal> =>
  (journal = await Journal.open({ dir, bytesMax: 2 ** 40, ...o }));

/** Appends a record of `bytes` positions that follows the origin's last one. */
function append(origin: string, kind: RecordKind, bytes: number): Buffer {
  const start = journal.appendedEnd(origin) ?? 1000;
  const encoded = encodeRecord({
    ...{ kind, origin, start, end: start + bytes, stamp: start, ops: 1, db: 0 },
    seen: new Map<string, number>(),
    payload: Buffer.alloc(bytes, `${origin}${start}`),
  });
  journal.append(encoded);
  return encoded;
}

/** A disk that takes its time: writes are done when the returned function is called. */
function stall(): () => void {
  const real = fs.writev as (...args: unknown[]) => void;
  const waiting: (() => void)[] = [];
  jest.spyOn(fs, 'writev').mockImplementation((...args: unknown[]) => void waiting.push(() => real(...args)));
  return () => {
    jest.restoreAllMocks();
    for (const write of waiting) write();
  };
}

test('what the stream holds is read before the disk has it, however much that is', async () => {
  await open({ tailBytes: 200 });
  const births = [append('a:00', RecordKind.birth, 0)];
  await journal.flushed();
  const goOn = stall();
  const reader = journal.reader('a:00', -1);
  expect(await reader.read(1000)).toEqual(births);
  const told = reader.wait();
  const records = Array.from({ length: 50 }, () => append('a:00', RecordKind.stream, 100));
  await told;
  const got: Buffer[] = [];
  for (;;) {
    const batch = await reader.read(1000);
    if (batch.length === 0) break;
    got.push(...batch);
  }
  expect(Buffer.concat(got).equals(Buffer.concat(records))).toBe(true);
  expect(journal.readableEnd('a:00')).toBe(6000);
  expect(journal.writtenEnd('a:00')).toBe(1000);
  goOn();
  await journal.flushed();
  expect(journal.durableEnd('a:00')).toBe(6000);
  reader.close();
});

test('what could not be made again is read when it is durable, and so is what follows it', async () => {
  await open();
  append('a:00', RecordKind.birth, 0);
  append('b:00', RecordKind.birth, 0);
  await journal.flushed();
  const goOn = stall();
  append('a:00', RecordKind.difference, 10);
  append('a:00', RecordKind.stream, 10);
  append('b:00', RecordKind.stream, 10);
  expect([journal.readableEnd('a:00'), journal.readableEnd('b:00')]).toEqual([1000, 1010]);
  goOn();
  await journal.flushed();
  expect(journal.readableEnd('a:00')).toBe(1020);
  append('a:00', RecordKind.stream, 10);
  expect(journal.readableEnd('a:00')).toBe(1030);
});

test('what follows such a record need not wait for the next flush', async () => {
  await open({ syncMs: 60_000 });
  append('a:00', RecordKind.birth, 0);
  await journal.flushed();
  const goOn = stall();
  append('a:00', RecordKind.difference, 10);
  await new Promise((resolve) => setTimeout(resolve, 20));
  // Comes when the write of the first is under way: it will be in another one.
  append('a:00', RecordKind.stream, 10);
  goOn();
  const reader = journal.reader('a:00', 1000);
  await reader.wait();
  expect(await reader.read(1000)).toHaveLength(2);
  expect(journal.durableEnd('a:00')).toBe(1010);
  reader.close();
});

test('any written record is found again, by any position within it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 3000 })), { minLength: 1, maxLength: 60 }),
      fc.infiniteStream(fc.nat()),
      async (shape, any) => {
        dir = fs.mkdtempSync(path.join(dir, 'run-'));
        await open({ segmentBytes: 20_000, fsync: false });
        for (const origin of ['a:00', 'b:00']) append(origin, RecordKind.birth, 0);
        const records = shape.map(([isA, bytes]) => append(isA ? 'a:00' : 'b:00', RecordKind.stream, bytes));
        await journal.flushed();
        const pick = (): number => any.next().value as number;
        const order = [...records, ...records.map(() => records[pick() % records.length]!)];
        for (const record of order) {
          const [start, end] = [record.readDoubleLE(16), record.readDoubleLE(24)];
          const origin = record.toString('latin1', 42, 46);
          expect(journal.record(origin, start + (pick() % (end - start))).equals(record)).toBe(true);
          // Of its payload, which ends where it ends, any part.
          const { payload } = decodeRecord(record, { verify: true });
          const from = pick() % payload.length;
          const to = from + 1 + (pick() % (payload.length - from));
          const base = end - payload.length;
          expect(journal.stream(origin, base + from, base + to).equals(payload.subarray(from, to))).toBe(true);
        }
        await journal.close();
      },
    ),
    { numRuns: 60 },
  );
});

test('what has been trimmed away, or has rotted, is not given out as sound', async () => {
  await open({ segmentBytes: 5000, fsync: false });
  append('a:00', RecordKind.birth, 0);
  for (let i = 0; i < 20; i++) append('a:00', RecordKind.stream, 1000);
  await journal.flushed();
  await journal.trim(new Map([['a:00', 10_000]]));
  const codeOf = (from: number): string => {
    try {
      journal.record('a:00', from);
      return 'found';
    } catch (error) {
      return (error as JournalError).code;
    }
  };
  expect(codeOf(1000)).toBe('trimmed');
  const files = fs.readdirSync(dir).filter((name) => name.endsWith('.journal'));
  for (const name of files) {
    const bytes = fs.readFileSync(path.join(dir, name));
    for (let at = 500; at < bytes.length; at += 900) bytes[at]! ^= 1;
    fs.writeFileSync(path.join(dir, name), bytes);
  }
  expect([codeOf(20_500), codeOf(15_500)]).toEqual(['damaged', 'damaged']);
});
