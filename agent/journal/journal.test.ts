import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import * as esbuild from 'esbuild';
import fc from 'fast-check';
import { encodeRecord, peekRecord, RecordKind } from '../record';
import { Journal, type JournalError, type JournalOptions } from '.';

let dir: string;
let opened: Journal[] = [];

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meridian-journal-'));
});

afterEach(async () => {
  jest.restoreAllMocks();
  for (const journal of opened) await journal.close().catch(() => undefined);
  opened = [];
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(o: Partial<JournalOptions> = {}): Promise<Journal> {
  const journal = await Journal.open({ dir, bytesMax: 2 ** 40, fsync: false, ...o });
  opened.push(journal);
  return journal;
}

/** Makes the records of one origin, each beginning where the last one ended. */
class Chain {
  readonly records: Buffer[] = [];
  constructor(
    readonly origin: string,
    public end = 1000,
  ) {}

  birth(): Buffer {
    return this.make(RecordKind.birth, 0);
  }

  next(bytes = 20): Buffer {
    return this.make(RecordKind.stream, bytes);
  }

  /** One that could not be made again. */
  unique(bytes = 20): Buffer {
    return this.make(RecordKind.difference, bytes);
  }

  private make(kind: RecordKind, bytes: number): Buffer {
    const start = this.end;
    this.end += bytes;
    const encoded = encodeRecord({
      kind,
      origin: this.origin,
      start,
      end: this.end,
      stamp: this.end,
      ops: 1,
      db: 0,
      seen: new Map([['z:00', this.records.length]]),
      payload: Buffer.alloc(bytes, `${this.origin}${this.records.length}`),
    });
    this.records.push(encoded);
    return encoded;
  }
}

async function readAll(journal: Journal, origin: string, from = -1, bytesMax = 1000): Promise<Buffer[]> {
  const reader = journal.reader(origin, from);
  const all: Buffer[] = [];
  for (;;) {
    const records = await reader.read(bytesMax);
    if (records.length === 0) break;
    all.push(...records);
  }
  reader.close();
  return all;
}

async function replayAll(journal: Journal): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const record of journal.replay()) all.push(record);
  return all;
}

/** jest's own comparison looks at a Buffer's bytes one by one. */
function expectSame(got: readonly Buffer[], expected: readonly Buffer[]): void {
  expect(got.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
  expect(got.findIndex((record, i) => !record.equals(expected[i] as Buffer))).toBe(-1);
}

const segmentFiles = (): string[] =>
  fs
    .readdirSync(dir)
    .filter((name) => name.endsWith('.journal'))
    .sort()
    .map((name) => path.join(dir, name));

const refusalOf = (act: () => void): string => {
  try {
    act();
  } catch (error) {
    return (error as JournalError).code;
  }
  return 'taken';
};

describe('appending', () => {
  test('an origin opens with a birth, and then every record begins where the last one ended', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    const early = new Chain('a:00', 500);
    expect(refusalOf(() => journal.append(early.next()))).toBe('gap');
    journal.append(a.birth());
    const first = a.next();
    journal.append(first);
    expect(refusalOf(() => journal.append(first))).toBe('overlap');
    expect(refusalOf(() => journal.append(new Chain('a:00', 1010).next()))).toBe('overlap');
    expect(refusalOf(() => journal.append(new Chain('a:00', 1020).birth()))).toBe('overlap');
    expect(refusalOf(() => journal.append(new Chain('a:00', 1021).next()))).toBe('gap');
    expect(refusalOf(() => journal.append(new Chain('a:00', 1020).next(0)))).toBe('malformed');
    expect(refusalOf(() => journal.append(first.subarray(1)))).toBe('malformed');
    expect(refusalOf(() => journal.append(Buffer.concat([first, first])))).toBe('malformed');
    journal.append(a.next());
    await journal.flushed();
    expect(journal.appendedEnd('a:00')).toBe(1040);
    expect(journal.durableEnd('a:00')).toBe(1040);
    expect(journal.firstStart('a:00')).toBe(1000);
    expect(journal.origins()).toEqual(['a:00']);
    expectSame(await readAll(journal, 'a:00'), a.records);
  });

  test('what is appended counts as durable only once it is on disk, and then says so', async () => {
    const journal = await open({ fsync: true });
    const a = new Chain('a:00');
    const durable = once(journal, 'durable');
    journal.append(a.birth());
    journal.append(a.next());
    expect(journal.appendedEnd('a:00')).toBe(1020);
    expect(journal.durableEnd('a:00')).toBeUndefined();
    expect(journal.pendingBytes).toBeGreaterThan(0);
    await durable;
    expect(journal.durableEnd('a:00')).toBe(1020);
    expect(journal.pendingBytes).toBe(0);
    const [file] = segmentFiles() as [string];
    expect(fs.statSync(file).size).toBe(journal.bytes);
  });

  test('one tick of appends is one write', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    await journal.flushed();
    const writes = jest.spyOn(fs, 'writev');
    for (let i = 0; i < 500; i++) journal.append(a.next());
    await journal.flushed();
    expect(writes).toHaveBeenCalledTimes(1);
  });

  test('closing writes what is queued; afterwards nothing is taken', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    journal.append(a.next());
    await journal.close();
    expect(refusalOf(() => journal.append(a.next()))).toBe('closed');
    a.records.pop();
    const again = await open();
    expectSame(await readAll(again, 'a:00'), a.records);
  });

  test('records larger than a segment and than a read are kept whole', async () => {
    const a = new Chain('a:00');
    const journal = await open({ segmentBytes: 64 * 1024, tailBytes: 0 });
    for (const record of [a.birth(), a.next(10), a.next(9 * 1024 * 1024), a.next(10), a.next(300_000)])
      journal.append(record);
    await journal.flushed();
    expectSame(await readAll(journal, 'a:00'), a.records);
    await journal.close();
    const again = await open();
    expect(again.recovery).toMatchObject({ records: 5, cut: null, damage: [], holes: [] });
    expectSame(await replayAll(again), a.records);
  });
});

describe('a disk that refuses', () => {
  const failing = (call: 'writev' | 'fdatasync', code: string, times: number): void => {
    const real = fs[call] as (...args: unknown[]) => void;
    let left = times;
    jest.spyOn(fs, call).mockImplementation((...args: unknown[]) => {
      if (left-- <= 0) return real(...args);
      (args[args.length - 1] as (e: Error) => void)(Object.assign(new Error(`${code}: refused`), { code }));
    });
  };

  test.each([
    ['writev', 'ENOSPC'],
    ['fdatasync', 'EIO'],
  ] as const)('%s with %s: told, kept in memory, tried again, and nothing durable meanwhile', async (call, code) => {
    const journal = await open({ fsync: true });
    const errors: JournalError[] = [];
    journal.on('error', (error) => {
      expect(journal.durableEnd('a:00')).toBe(1000);
      expect(journal.pendingBytes).toBeGreaterThan(0);
      errors.push(error);
    });
    const a = new Chain('a:00');
    journal.append(a.birth());
    await journal.flushed();
    failing(call, code, 2);
    journal.append(a.next());
    await new Promise((resolve) => setTimeout(resolve, 10));
    journal.append(a.next());
    await journal.flushed();
    expect(errors.map((error) => error.code)).toEqual(['io', 'io']);
    expect(errors[0]?.message).toContain(code);
    expect(journal.durableEnd('a:00')).toBe(1040);
    await journal.close();
    expectSame(await readAll(await open(), 'a:00'), a.records);
  });

  test('beyond what may wait in memory it asks for less, takes what comes all the same, and says when half is durable', async () => {
    const journal = await open({ pendingBytesMax: 1000 });
    const pressure: [boolean, number][] = [];
    journal.on('pressure', (on) => pressure.push([on, journal.pendingBytes]));
    journal.on('error', () => undefined);
    const a = new Chain('a:00');
    journal.append(a.birth());
    await journal.flushed();
    failing('writev', 'ENOSPC', 2);
    journal.append(a.next(500));
    expect([journal.pressed, journal.relieved()]).toEqual([false, undefined]);
    journal.append(a.next(600));
    journal.append(a.next(700));
    expect(journal.pressed).toBe(true);
    let isRelieved = false;
    const relieved = journal.relieved()!.then(() => (isRelieved = true));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(isRelieved).toBe(false);
    await relieved;
    expect(journal.pendingBytes).toBeLessThanOrEqual(500);
    await journal.flushed();
    expect(pressure.map(([on]) => on)).toEqual([true, false]);
    expect(pressure[0]![1]).toBeGreaterThan(1000);
    expectSame(await readAll(journal, 'a:00'), a.records);

    // Whoever waits is not left behind by who closes it.
    failing('writev', 'ENOSPC', Infinity);
    journal.append(a.next(2000));
    const waits = journal.relieved();
    expect(waits).toBeDefined();
    await Promise.all([waits, expect(journal.close()).rejects.toMatchObject({ code: 'io' })]);
  });

  test('a short write is continued', async () => {
    const journal = await open();
    const real = fs.writev as unknown as (...args: unknown[]) => void;
    jest.spyOn(fs, 'writev').mockImplementation(((fd: number, buffers: Buffer[], at: number, done: unknown) => {
      const all = Buffer.concat(buffers);
      real(fd, [all.subarray(0, Math.min(all.length, 37))], at, done);
    }) as never);
    const a = new Chain('a:00');
    journal.append(a.birth());
    for (let i = 0; i < 10; i++) journal.append(a.next(i * 7 + 1));
    await journal.flushed();
    expectSame(await readAll(journal, 'a:00'), a.records);
    await journal.close();
    expect((await open()).recovery).toMatchObject({ records: 11, cut: null });
  });

  test('closing gives up after one more attempt and says what is lost', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    await journal.flushed();
    failing('writev', 'ENOSPC', Infinity);
    journal.append(a.next());
    const flushed = expect(journal.flushed()).rejects.toMatchObject({ code: 'io' });
    await expect(journal.close()).rejects.toMatchObject({ code: 'io', message: expect.stringContaining('ENOSPC') });
    await flushed;
  });

  test('a flush that fails leaves nothing in doubt that is told durable', async () => {
    const journal = await open({ fsync: true, syncMs: 300 });
    const a = new Chain('a:00');
    journal.append(a.birth());
    await journal.flushed();
    // A disk that forgets what it could not flush, as the system's pages are clean after an error.
    const disk = new Map<number, Buffer>();
    let dirty: [number, Buffer][] = [];
    let left = 1;
    let writes = 0;
    const write = fs.writev as unknown as (...args: unknown[]) => void;
    jest.spyOn(fs, 'writev').mockImplementation(((fd: number, buffers: Buffer[], at: number, done: unknown) => {
      writes++;
      dirty.push([at, Buffer.concat(buffers)]);
      write(fd, buffers, at, done);
    }) as never);
    jest.spyOn(fs, 'fdatasync').mockImplementation((_fd: number, done: (error: Error | null) => void) => {
      const failed = left-- > 0;
      if (!failed) for (const [at, bytes] of dirty) bytes.forEach((_, i) => disk.set(at + i, bytes.subarray(i, i + 1)));
      dirty = [];
      done(failed ? Object.assign(new Error('EIO: refused'), { code: 'EIO' }) : null);
    });
    const from = fs.statSync(segmentFiles()[0]!).size;
    journal.append(a.next());
    while (writes === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    journal.append(a.unique());
    while (journal.durableEnd('a:00') !== a.end) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(left).toBeLessThan(0);
    const file = fs.readFileSync(segmentFiles()[0]!);
    const lost = [...file.keys()].filter((at) => at >= from && !disk.has(at));
    expect(lost).toEqual([]);
  });

  test('what is appended meanwhile does not have it tried again sooner', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    await journal.flushed();
    let errors = 0;
    journal.on('error', () => errors++);
    failing('writev', 'ENOSPC', Infinity);
    for (const until = Date.now() + 300; Date.now() < until;) {
      journal.append(a.next());
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(errors).toBeLessThan(10);
    jest.restoreAllMocks();
    await journal.flushed();
    expectSame(await readAll(journal, 'a:00'), a.records);
  });

  test('closing ends also where a flush fails before a segment would begin', async () => {
    const journal = await open({ fsync: true });
    const [a, b] = [new Chain('a:00'), new Chain('b:00')];
    journal.append(a.birth());
    journal.append(b.birth());
    await journal.flushed();
    let calls = 0;
    failing('fdatasync', 'EIO', Infinity);
    journal.on('error', () => {
      if (++calls > 100) jest.restoreAllMocks();
    });
    journal.append(a.next());
    journal.forget('b:00');
    await expect(journal.close()).rejects.toMatchObject({ code: 'io', message: expect.stringContaining('EIO') });
    expect(calls).toBeLessThan(5);
  });

  test('what a restart finds is on the disk before it counts as durable', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    journal.append(a.next());
    await journal.close();
    const flushes = jest.spyOn(fs, 'fdatasync');
    const again = await open({ fsync: true });
    expect(again.durableEnd('a:00')).toBe(a.end);
    expect(flushes).toHaveBeenCalled();
  });
});

describe('reading', () => {
  test('from memory while in step, from disk when behind, with the same result', async () => {
    const journal = await open({ tailBytes: 2000, segmentBytes: 4096 });
    const a = new Chain('a:00');
    const b = new Chain('b:00');
    for (const chain of [a, b]) journal.append(chain.birth());
    const opens = jest.spyOn(fs, 'open');
    const timesRead = (): number => opens.mock.calls.filter((call) => (call as unknown[])[1] === 'r').length;
    const inStep = journal.reader('a:00', -1);
    const got: Buffer[] = [];
    await journal.flushed();
    for (let i = 0; i < 100; i++) {
      journal.append(a.next());
      journal.append(b.next(50));
      await journal.flushed();
      got.push(...(await inStep.read(1e6)));
    }
    expect(timesRead()).toBe(0);
    expectSame(got, a.records);
    expect(journal.segments).toBeGreaterThan(3);
    expectSame(await readAll(journal, 'a:00'), a.records);
    expect(timesRead()).toBeGreaterThan(3);
    expectSame(await readAll(journal, 'b:00', -1, 1), b.records);
    inStep.close();
  });

  test('from any position, the records that end after it', async () => {
    const journal = await open({ tailBytes: 300, segmentBytes: 1500 });
    const a = new Chain('a:00');
    const b = new Chain('b:00');
    for (const chain of [a, b]) journal.append(chain.birth());
    for (let i = 0; i < 40; i++) {
      journal.append(a.next());
      if (i % 5 === 0) journal.append(b.next());
    }
    await journal.flushed();
    for (let from = 990; from <= 1810; from += 5) {
      const expected = a.records.filter((record) => peekRecord(record).end > from);
      expectSame(await readAll(journal, 'a:00', from, 400), expected);
    }
  });

  test('a batch has the size asked for, but one record at least', async () => {
    for (const tailBytes of [0, 1e6]) {
      const journal = await open({ tailBytes });
      const a = new Chain(`a:${tailBytes}`);
      journal.append(a.birth());
      for (let i = 0; i < 20; i++) journal.append(a.next(100));
      await journal.flushed();
      const reader = journal.reader(a.origin, 1000);
      const size = (a.records[1] as Buffer).length;
      expect(await reader.read(3 * size)).toHaveLength(3);
      expect(await reader.read(3 * size - 1)).toHaveLength(2);
      expect(await reader.read(0)).toHaveLength(1);
      expect(reader.position).toBe(1600);
      reader.close();
      await journal.close();
    }
  });

  test('waiting ends when there is more, when the reader closes, and when the journal closes', async () => {
    const journal = await open();
    const a = new Chain('a:00');
    const stranger = journal.reader('a:00', -1);
    const born = stranger.wait();
    journal.append(a.birth());
    await born;
    expectSame(await stranger.read(1000), a.records);
    expectSame(await stranger.read(1000), []);
    const more = stranger.wait();
    journal.append(a.next());
    await more;
    expect(await stranger.read(1000)).toHaveLength(1);
    const closing = stranger.wait();
    stranger.close();
    await closing;
    expectSame(await stranger.read(1000), []);
    const other = journal.reader('b:00', -1).wait();
    const known = journal.reader('a:00', 1020).wait();
    await journal.close();
    await Promise.all([other, known]);
  });

  test('a bit that has rotted since the start is noticed, after what is sound before it', async () => {
    const journal = await open({ tailBytes: 0 });
    const a = new Chain('a:00');
    journal.append(a.birth());
    for (let i = 0; i < 10; i++) journal.append(a.next());
    await journal.flushed();
    flip((segmentFiles() as [string])[0], journal.bytes - 1);
    const reader = journal.reader('a:00', -1);
    expectSame(await reader.read(1e6), a.records.slice(0, -1));
    await expect(reader.read(1e6)).rejects.toMatchObject({ code: 'damaged' });
    reader.close();
    await expect(replayAll(journal)).rejects.toMatchObject({ code: 'damaged' });
  });

  test('readers at any pace beside a writer, over segments, reopening and trimming, get every record once and in order', async () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          do: fc.constant('append' as const),
          origin: fc.nat(2),
          bytes: fc.integer({ min: 1, max: 700 }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ do: fc.constant('read' as const), reader: fc.nat(4), bytesMax: fc.nat(3000) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('breathe' as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 120 }),
        fc.constantFrom(0, 500, 3000, 1e6),
        fc.constantFrom(1000, 4000, 1e6),
        async (steps, tailBytes, segmentBytes) => {
          for (const left of opened) await left.close(); // of a run that failed
          fs.rmSync(dir, { recursive: true, force: true });
          opened = [];
          let journal = await open({ tailBytes, segmentBytes });
          const chains = ['a:00', 'b:00', 'c:00~diff'].map((origin) => new Chain(origin));
          for (const chain of chains) journal.append(chain.birth());
          const readers = Array.from({ length: 5 }, (_, i) => ({
            chain: chains[i % 3] as Chain,
            reader: journal.reader((chains[i % 3] as Chain).origin, -1),
            got: [] as Buffer[],
          }));
          for (const s of steps) {
            if (s.do === 'append') journal.append((chains[s.origin] as Chain).next(s.bytes));
            else if (s.do === 'read') {
              const r = readers[s.reader] as (typeof readers)[0];
              r.got.push(...(await r.reader.read(s.bytesMax)));
            } else if (s.do === 'breathe') await new Promise((resolve) => setImmediate(resolve));
            else if (s.do === 'trim') {
              const low = new Map<string, number>();
              for (const chain of chains)
                low.set(
                  chain.origin,
                  Math.min(...readers.filter((r) => r.chain === chain).map((r) => r.reader.position)),
                );
              await journal.trim(low);
            } else {
              await journal.close();
              journal = await open({ tailBytes, segmentBytes });
              expect(journal.recovery).toMatchObject({ cut: null, damage: [], holes: [] });
              for (const r of readers) r.reader = journal.reader(r.chain.origin, r.reader.position);
            }
          }
          await journal.flushed();
          for (const r of readers) {
            for (;;) {
              const more = await r.reader.read(2000);
              if (more.length === 0) break;
              r.got.push(...more);
            }
            expectSame(r.got, r.chain.records);
            r.reader.close();
          }
          for (const chain of chains) expect(journal.durableEnd(chain.origin)).toBe(chain.end);
          await journal.close();
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('trimming', () => {
  async function filled(): Promise<{ journal: Journal; a: Chain; b: Chain }> {
    const journal = await open({ segmentBytes: 2000, tailBytes: 0 });
    const a = new Chain('a:00');
    const b = new Chain('b:00');
    for (const chain of [a, b]) journal.append(chain.birth());
    journal.append(b.next());
    for (let i = 0; i < 60; i++) {
      journal.append(a.next());
      await journal.flushed();
    }
    return { journal, a, b };
  }

  test('drops whole oldest segments whose every record is at or below the bound', async () => {
    const { journal, a } = await filled();
    const before = journal.segments;
    const bytes = journal.bytes;
    await journal.trim(new Map([['a:00', 1600]]));
    expect(journal.segments).toBe(before); // b's record, which nobody released, is in the oldest
    await journal.trim(
      new Map([
        ['a:00', 1600],
        ['b:00', 1020],
      ]),
    );
    expect(journal.segments).toBeLessThan(before);
    expect(journal.segments).toBe(segmentFiles().length);
    expect(journal.bytes).toBeLessThan(bytes);
    expect(journal.bytes).toBe(segmentFiles().reduce((sum, file) => sum + fs.statSync(file).size, 0));
    const first = journal.firstStart('a:00') as number;
    expect(first).toBeGreaterThan(1000);
    expect(first).toBeLessThanOrEqual(1600);
    expectSame(
      await readAll(journal, 'a:00', first),
      a.records.filter((r) => peekRecord(r).end > first),
    );
    expect(journal.reaches('a:00', first)).toBe(true);
    expect(journal.reaches('a:00', first - 1)).toBe(false);
    await expect(journal.reader('a:00', first - 1).read(1000)).rejects.toMatchObject({ code: 'trimmed' });
    await expect(journal.reader('a:00', -1).read(1000)).rejects.toMatchObject({ code: 'trimmed' });
  });

  test('an origin keeps its place when nothing of it is left, also after a restart', async () => {
    const { journal, a, b } = await filled();
    await journal.trim(
      new Map([
        ['a:00', 1e9],
        ['b:00', 1020],
      ]),
    );
    expect(journal.segments).toBe(1);
    expect(journal.durableEnd('b:00')).toBe(1020);
    expect(journal.firstStart('b:00')).toBe(1020);
    await journal.close();
    const again = await open();
    expect(again.recovery).toMatchObject({ cut: null, damage: [], holes: [] });
    expect(again.durableEnd('b:00')).toBe(1020);
    expect(again.durableEnd('a:00')).toBe(a.end);
    expect(again.firstStart('a:00')).toBe(journal.firstStart('a:00'));
    expectSame(await readAll(again, 'b:00', 1020), []);
    again.append(b.next());
    await again.flushed();
    expect(await readAll(again, 'b:00', 1020)).toHaveLength(1);
  });

  test('an origin that was given up is forgotten', async () => {
    const { journal } = await filled();
    await journal.trim(
      new Map([
        ['a:00', 1500],
        ['b:00', Infinity],
      ]),
    );
    expect(journal.origins()).toEqual(['a:00']);
    expect(journal.durableEnd('b:00')).toBeUndefined();
  });

  test('the oldest can be dropped, needed or not', async () => {
    const { journal, a } = await filled();
    const before = journal.segments;
    await journal.dropOldest();
    expect(journal.segments).toBe(before - 1);
    const first = journal.firstStart('a:00') as number;
    expectSame(
      await readAll(journal, 'a:00', first),
      a.records.filter((r) => peekRecord(r).end > first),
    );
    for (let i = 0; i < before; i++) await journal.dropOldest();
    expect(journal.segments).toBe(1);
  });

  test('full is told once, and room once there is some', async () => {
    const journal = await open({ segmentBytes: 1000, bytesMax: 3000 });
    const events: string[] = [];
    journal.on('full', () => events.push('full'));
    journal.on('room', () => events.push('room'));
    const a = new Chain('a:00');
    journal.append(a.birth());
    while (a.end < 2000) journal.append(a.next());
    await journal.flushed();
    expect(events).toEqual(['full']);
    expect(journal.full).toBe(true);
    expectSame(await readAll(journal, 'a:00'), a.records); // it still took everything
    await journal.trim(new Map([['a:00', a.end]]));
    expect(events).toEqual(['full', 'room']);
    expect(journal.full).toBe(false);
  });
});

describe('skipping to a position', () => {
  test('an origin may begin in the middle, and stays there after a restart', async () => {
    let journal = await open();
    const a = new Chain('a:00', 5000);
    journal.skipTo('a:00', 5000);
    expect(refusalOf(() => journal.skipTo('a:00', 4000))).toBe('overlap');
    journal.append(a.next());
    await journal.flushed();
    expect(journal.firstStart('a:00')).toBe(5000);
    for (let i = 0; i < 2; i++) {
      expectSame(await readAll(journal, 'a:00', 5000), a.records);
      await expect(journal.reader('a:00', -1).read(1000)).rejects.toMatchObject({ code: 'trimmed' });
      await journal.close();
      journal = await open();
    }
    expect(journal.recovery).toMatchObject({ cut: null, damage: [], holes: [] });
  });

  test('and leap over what it will never get', async () => {
    let journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    journal.append(a.next());
    journal.skipTo('a:00', 5000);
    a.end = 5000;
    journal.append(a.next());
    await journal.flushed();
    for (let i = 0; i < 2; i++) {
      expect(journal.firstStart('a:00')).toBe(5000);
      expectSame(await readAll(journal, 'a:00', 5000), a.records.slice(2));
      await expect(journal.reader('a:00', 1000).read(1000)).rejects.toMatchObject({ code: 'trimmed' });
      expectSame(await replayAll(journal), a.records);
      await journal.close();
      journal = await open();
    }
    expect(journal.recovery.holes).toEqual([{ origin: 'a:00', from: 1020, to: 5000 }]);
  });
});

describe('an origin can be forgotten', () => {
  test('at once, for good, and be begun anew', async () => {
    let journal = await open();
    const a = new Chain('a:00');
    const b = new Chain('b:00');
    journal.append(a.birth());
    journal.append(b.birth());
    for (let i = 0; i < 5; i++) {
      journal.append(a.next());
      journal.append(b.next());
    }
    await journal.flushed();
    journal.append(a.next());
    journal.forget('a:00');
    journal.forget('c:00');
    expect(journal.origins()).toEqual(['b:00']);
    expect(journal.appendedEnd('a:00')).toBeUndefined();
    journal.append(b.next());
    await journal.flushed();
    for (let i = 0; i < 2; i++) {
      expectSame(await replayAll(journal), b.records);
      expectSame(await readAll(journal, 'b:00', -1), b.records);
      expectSame(await readAll(journal, 'a:00', -1), []);
      expect(journal.origins()).toEqual(['b:00']);
      await journal.close();
      journal = await open();
    }
    const again = new Chain('a:00', 500);
    journal.append(again.birth());
    journal.append(again.next());
    await journal.flushed();
    for (let i = 0; i < 2; i++) {
      expectSame(await readAll(journal, 'a:00', -1), again.records);
      expect((await replayAll(journal)).length).toBe(b.records.length + 2);
      await journal.close();
      journal = await open();
    }
    expect(journal.recovery).toMatchObject({ cut: null, damage: [], holes: [] });
  });

  test('and begun anew before that is on disk', async () => {
    let journal = await open();
    const a = new Chain('a:00');
    journal.append(a.birth());
    journal.append(a.next());
    journal.forget('a:00');
    const again = new Chain('a:00', 700);
    journal.append(again.birth());
    journal.append(again.next());
    await journal.flushed();
    for (let i = 0; i < 2; i++) {
      expectSame(await readAll(journal, 'a:00', -1), again.records);
      expectSame(await replayAll(journal), again.records);
      await journal.close();
      journal = await open();
    }
  });
});

function flip(file: string, at: number, mask = 0x10): void {
  const fd = fs.openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, at);
  byte[0] = (byte[0] as number) ^ mask;
  fs.writeSync(fd, byte, 0, 1, at);
  fs.closeSync(fd);
}

describe('after a crash', () => {
  /** A journal of two segments, closed; what the last segment holds, and where each record of it ends. */
  async function crashed(): Promise<{ a: Chain; last: string; image: Buffer; before: number; ends: number[] }> {
    const journal = await open({ segmentBytes: 600 });
    const a = new Chain('a:00');
    journal.append(a.birth());
    while (journal.segments < 2) {
      journal.append(a.next());
      await journal.flushed();
    }
    journal.append(a.next());
    journal.append(a.next(1));
    await journal.close();
    const [, last] = segmentFiles() as [string, string];
    const image = fs.readFileSync(last);
    const ends: number[] = [];
    let size = image.length;
    let before = a.records.length;
    for (; ends.length < 3; before--) {
      ends.unshift(size);
      size -= (a.records[before - 1] as Buffer).length;
    }
    return { a, last, image, before, ends };
  }

  test('a tail torn at any byte is cut back to the last whole record', async () => {
    const { a, last, image, before, ends } = await crashed();
    const bodyAt = (ends[0] as number) - (a.records[before] as Buffer).length;
    for (let size = bodyAt; size < image.length; size++) {
      fs.writeFileSync(last, image.subarray(0, size));
      const journal = await open({ segmentBytes: 600 });
      const whole = before + ends.filter((end) => end <= size).length;
      const sound = size === bodyAt || ends.includes(size);
      expect(journal.recovery.damage).toEqual([]);
      expect(journal.recovery.cut === null).toBe(sound);
      if (!sound) expect(journal.recovery.cut).toMatchObject({ file: last, offset: fs.statSync(last).size });
      const kept = a.records.slice(0, whole);
      expect(journal.durableEnd('a:00')).toBe(peekRecord(kept[whole - 1] as Buffer).end);
      // It goes on from there as if nothing had been.
      for (const record of a.records.slice(whole)) journal.append(record);
      await journal.close();
      const again = await open();
      expect(again.recovery.cut).toBeNull();
      expectSame(await readAll(again, 'a:00'), a.records);
      await again.close();
    }
  });

  test('a flipped bit at any byte of the tail cuts from its record on', async () => {
    const { a, last, image, before, ends } = await crashed();
    const bodyAt = (ends[0] as number) - (a.records[before] as Buffer).length;
    for (let at = bodyAt; at < image.length; at++) {
      fs.writeFileSync(last, image);
      flip(last, at, 1 << (at % 8));
      const journal = await open();
      const whole = before + ends.filter((end) => end <= at).length;
      expect(journal.recovery.cut).toMatchObject({ file: last });
      expectSame(await readAll(journal, 'a:00'), a.records.slice(0, whole));
      await journal.close();
    }
  });

  test('a header that is unsound is damage, not a torn write: the file stays, and another begins', async () => {
    const { a, last, image, before, ends } = await crashed();
    const bodyAt = (ends[0] as number) - (a.records[before] as Buffer).length;
    for (let at = 0; at < bodyAt; at++) {
      if (at >= 8 && at < 12) continue; // a version that is sound but unknown is refused, see below
      for (const file of segmentFiles().slice(2)) fs.rmSync(file);
      fs.writeFileSync(last, image);
      flip(last, at);
      const journal = await open();
      expect(journal.recovery.cut).toBeNull();
      expect(journal.recovery.damage).toEqual([
        { file: last, offset: 0, bytes: image.length, reason: 'the header is unsound' },
      ]);
      expectSame(await readAll(journal, 'a:00'), a.records.slice(0, before));
      for (const record of a.records.slice(before)) journal.append(record);
      await journal.close();
      expect(fs.statSync(last).size).toBe(image.length);
      const again = await open();
      expectSame(await readAll(again, 'a:00'), a.records);
      await again.close();
    }
  });

  test('a segment of a newer version is left alone', async () => {
    const { last } = await crashed();
    flip(last, 8, 3);
    await expect(open()).rejects.toMatchObject({ code: 'version' });
    await expect(open()).rejects.toMatchObject({ code: 'version' }); // and the lock was given back
  });

  test('a file that was being begun is no segment', async () => {
    const { a, last } = await crashed();
    fs.writeFileSync(path.join(dir, '000000000003.journal.tmp'), 'MERID');
    const journal = await open();
    expect(journal.recovery).toMatchObject({ cut: null, damage: [] });
    expectSame(await readAll(journal, 'a:00'), a.records);
    expect(segmentFiles()).toHaveLength(2);
    expect(fs.readdirSync(dir)).not.toContain('000000000003.journal.tmp');
    expect(last).toContain('000000000002');
  });

  test('damage in an older segment is told; readers begin after it and never see it', async () => {
    const journal = await open({ segmentBytes: 1200, tailBytes: 0 });
    const a = new Chain('a:00');
    const b = new Chain('b:00');
    const order: Buffer[] = [];
    const put = (record: Buffer): void => {
      order.push(record);
      journal.append(record);
    };
    put(a.birth());
    put(b.birth());
    for (let i = 0; i < 40; i++) put(i % 2 === 0 ? a.next() : b.next());
    await journal.close();
    const [first] = segmentFiles() as [string];
    const pristine = fs.readFileSync(first);
    const header = pristine.readUInt32LE(12);
    const lengths = order.map((record) => record.length);
    const at = header + lengths.slice(0, 4).reduce((sum, n) => sum + n, 0); // the third record of a

    // In the payload: one record is lost, what follows is still found.
    flip(first, at + (lengths[4] as number) - 1);
    let again = await open({ tailBytes: 0 });
    expect(again.recovery.cut).toBeNull();
    expect(again.recovery.damage).toEqual([
      { file: first, offset: at, bytes: lengths[4], reason: 'a record fails its checksum' },
    ]);
    expect(again.recovery.holes).toEqual([{ origin: 'a:00', from: 1020, to: 1040 }]);
    expect(again.firstStart('a:00')).toBe(1040);
    expectSame(await readAll(again, 'a:00', 1040), a.records.slice(3));
    expectSame(await readAll(again, 'b:00'), b.records);
    await expect(again.reader('a:00', -1).read(1000)).rejects.toMatchObject({ code: 'trimmed' });
    expectSame(
      await replayAll(again),
      order.filter((_, i) => i !== 4),
    );
    await again.close();

    // In a length: the rest of the segment can't be told apart.
    fs.writeFileSync(first, pristine);
    flip(first, at + 1);
    again = await open({ tailBytes: 0 });
    expect(again.recovery.damage).toMatchObject([{ file: first, offset: at, bytes: pristine.length - at }]);
    for (const chain of [a, b]) {
      const from = again.firstStart(chain.origin) as number;
      expect(from).toBeGreaterThan(1020);
      expectSame(
        await readAll(again, chain.origin, from),
        chain.records.filter((r) => peekRecord(r).end > from),
      );
    }
    await again.close();

    // The end is gone, at a record's boundary: only the next header knows.
    fs.writeFileSync(first, pristine.subarray(0, at));
    again = await open();
    expect(again.recovery.damage).toEqual([
      { file: first, offset: at, bytes: pristine.length - at, reason: 'the end is missing' },
    ]);
    expect(again.recovery.holes.map(({ origin }) => origin).sort()).toEqual(['a:00', 'b:00']);
    await again.close();

    // The whole segment is gone.
    const files = segmentFiles();
    fs.writeFileSync(first, pristine);
    fs.rmSync(files[1] as string);
    again = await open();
    expect(again.recovery.damage).toMatchObject([{ reason: 'segments 2 to 2 are missing' }]);
    expect(again.recovery.holes).toHaveLength(2);
    for (const chain of [a, b]) expect(again.durableEnd(chain.origin)).toBe(chain.end);
  });

  test('SIGKILL: a restart finds a prefix that has everything that was told durable', async () => {
    const script = path.join(dir, 'appender.js');
    esbuild.buildSync({
      stdin: {
        resolveDir: __dirname,
        loader: 'ts',
        contents: `
          import { Journal } from '.';
          import { encodeRecord } from '../record';
          void (async () => {
            const journal = await Journal.open({ dir: ${JSON.stringify(dir)}, bytesMax: 1e12, segmentBytes: 200_000 });
            let end = journal.durableEnd('a:00') ?? 0;
            const make = (kind: 0 | 2, bytes: number) => encodeRecord({ kind, origin: 'a:00', start: end, end: (end += bytes),
              stamp: 0, ops: 1, db: 0, seen: new Map(), payload: Buffer.alloc(bytes, String(end)) });
            if (end === 0) journal.append(make(2, 0));
            journal.on('durable', () => process.stdout.write(journal.durableEnd('a:00') + '\\n'));
            for (;;) {
              for (let i = 0; i < 20; i++) journal.append(make(0, 1 + Math.floor(Math.random() * 3000)));
              await new Promise((resolve) => setTimeout(resolve, 2));
            }
          })();`,
      },
      bundle: true,
      platform: 'node',
      outfile: script,
      logLevel: 'error',
    });
    for (let round = 0; round < 4; round++) {
      const child: ChildProcess = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      const closed = once(child, 'close');
      const enough = new Promise<void>((resolve) =>
        child.stdout?.on('data', (chunk: Buffer) => {
          out += chunk.toString();
          if (out.length > 40 + round * 40) resolve();
        }),
      );
      await Promise.race([enough, closed]);
      if (round === 0) await expect(open()).rejects.toMatchObject({ code: 'locked' });
      child.kill('SIGKILL');
      await closed;
      const told = Number(out.slice(0, out.lastIndexOf('\n')).split('\n').pop());
      expect(told).toBeGreaterThan(0);
      const journal = await open();
      expect(journal.recovery).toMatchObject({ damage: [], holes: [] });
      expect(journal.durableEnd('a:00')).toBeGreaterThanOrEqual(told);
      let position = 0;
      for (const record of await replayAll(journal)) {
        const { start, end } = peekRecord(record);
        expect(start).toBe(position);
        expectSame([record.subarray(record.length - (end - start))], [Buffer.alloc(end - start, String(end))]);
        position = end;
      }
      expect(position).toBe(journal.durableEnd('a:00'));
      await journal.close();
    }
  });
});

describe('beside the log', () => {
  test('a document is replaced as a whole, and of many only the last matters', async () => {
    let journal = await open({ fsync: true });
    expect(journal.readMeta()).toBeNull();
    const renames = jest.spyOn(fs.promises, 'rename');
    const writes = Array.from({ length: 50 }, (_, n) => journal.writeMeta({ n }));
    await writes[0];
    await Promise.all(writes);
    expect(renames.mock.calls.length).toBeLessThanOrEqual(3);
    expect(journal.readMeta()).toEqual({ n: 49 });
    await journal.writeMeta({ n: 'ü' });
    void journal.writeMeta({ n: 'last' });
    await journal.close();
    journal = await open();
    expect(journal.readMeta<{ n: string }>()?.n).toBe('last');
    await journal.close();

    flip(path.join(dir, 'meta.json'), 12);
    journal = await open();
    expect(journal.readMeta()).toBeNull();
    expect(journal.recovery.metaDamaged).toBe(true);
    await journal.writeMeta(1);
    expect(journal.readMeta()).toBe(1);
  });

  test('a failed write is told to all who wait for it, and the next one succeeds', async () => {
    const journal = await open();
    jest.spyOn(fs.promises, 'rename').mockRejectedValueOnce(new Error('no'));
    const [a, b] = [journal.writeMeta(1), journal.writeMeta(2)];
    await expect(a).rejects.toThrow('no');
    await expect(b).rejects.toThrow('no');
    expect(journal.readMeta()).toBeNull();
    await journal.writeMeta(3);
    expect(journal.readMeta()).toBe(3);
  });

  test('two agents never share a journal', async () => {
    const journal = await open();
    await expect(open()).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`pid ${process.pid}`),
    });
    await journal.close();
    await (await open()).close();
    expect(fs.readdirSync(dir)).toEqual([]);

    const lock = path.join(dir, 'lock');
    const parent = process.ppid;
    fs.writeFileSync(lock, `${parent}\n`);
    await expect(open()).rejects.toMatchObject({ code: 'locked', message: expect.stringContaining(`pid ${parent}`) });
    expect(fs.readFileSync(lock, 'utf8')).toBe(`${parent}\n`);
    // The pid lives, but is another process than the one that took the lock.
    if (fs.existsSync('/proc/self/stat')) {
      fs.writeFileSync(lock, `${parent}\nother-boot:1\n`);
      await (await open()).close();
    }
    for (const stale of ['', 'nonsense', '999999999\n', `${process.pid}\n`]) {
      fs.writeFileSync(lock, stale);
      await (await open()).close();
    }
    expect(fs.readdirSync(dir)).toEqual([]);
  });
});
