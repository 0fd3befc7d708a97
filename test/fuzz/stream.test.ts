import * as fc from 'fast-check';
import { type Marker, parseMarker } from '../../agent/stream/keys';
import { Recorder, type RecorderState } from '../../agent/stream/recorder';
import { decodeRecord, encodeRecord, type OpRecord } from '../../agent/record';
import { MergeCore } from '../../agent/merge/core';
import { Batch } from '../../agent/merge/batch';
import { eachEffect } from '../../agent/merge/touches';
import { CommandScanner, encodeCommand, ProtocolError, ReplyParser } from '../../agent/resp';
import { cases, chunksOf, cuts, damage, damaged, fuzzMs, largestBuffer } from './bytes';
import { type Corpus, readCorpus } from './corpus';

let corpus: Corpus;
beforeAll(async () => {
  corpus = await readCorpus();
});

const MIB = 1024 * 1024;

interface Read {
  commands: string[];
  error: string | null;
}

/** What a scanner makes of chunks, up to the error that ends it. */
function scan(chunks: readonly Buffer[]): Read {
  const scanner = new CommandScanner();
  const commands: string[] = [];
  try {
    for (const chunk of chunks) {
      scanner.push(chunk);
      while (scanner.next()) {
        const args = Array.from({ length: scanner.argc }, (_, i) =>
          scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]),
        );
        commands.push(`${scanner.consumed} ${JSON.stringify(args)}`);
      }
    }
    return { commands, error: null };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { commands, error: error.message };
  }
}

interface Recorded {
  records: OpRecord[];
  markers: Marker[];
  error: string | null;
}

function record(chunks: readonly Buffer[]): Recorded {
  const records: OpRecord[] = [];
  const markers: Marker[] = [];
  const state: RecorderState = { origin: 'us:1', offset: 0, end: 0, stamp: 1, seen: new Map(), db: 0 };
  const recorder = new Recorder(state, {
    // As an agent does: what a record can't hold must not come to it.
    record: (found) => records.push(decodeRecord(encodeRecord(found))),
    marker: (found) => markers.push(found),
    heartbeat: () => undefined,
    getAck: () => undefined,
  });
  try {
    for (const chunk of chunks) recorder.push(chunk);
    return { records, markers, error: null };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { records, markers, error: error.message };
  }
}

/** All that was recorded, however it was cut into records: what, where, in which database. */
function operationsOf({ records }: Recorded): string[] {
  return records.flatMap((found) => {
    const operations: string[] = [];
    eachEffect(found, -1, (db, effect, position, stamp) => {
      const text = JSON.stringify(effect, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
      operations.push(`${position} ${stamp} ${db} ${text}`);
    });
    return operations;
  });
}

test(
  'a damaged stream is an error of the protocol, and no chunk it comes in changes what it says',
  () => {
    fc.assert(
      fc.property(damage, cuts, (changes, places) => {
        const bytes = damaged(corpus.stream, changes);
        const whole = scan([bytes]);
        expect(scan(chunksOf(bytes, places))).toEqual(whole);
      }),
      cases(400),
    );
  },
  fuzzMs,
);

test(
  'a damaged stream is recorded up to the damage; nothing of it is more than it can hold',
  () => {
    fc.assert(
      fc.property(damage, cuts, (changes, places) => {
        const bytes = damaged(corpus.stream, changes);
        let read!: Recorded;
        const largest = largestBuffer(() => (read = record(chunksOf(bytes, places))));
        expect(largest).toBeLessThanOrEqual(4 * bytes.length + MIB);
        for (const { stamp, end, seen } of read.records) {
          expect(Number.isSafeInteger(stamp)).toBe(true);
          expect(end).toBeLessThanOrEqual(bytes.length);
          for (const position of seen.values()) expect(Number.isFinite(position)).toBe(true);
        }
        // What stands before the first change is recorded as it was. (Of the chunk that holds an error, nothing may be.)
        let same = 0;
        while (same < bytes.length && bytes[same] === corpus.stream[same]) same++;
        const before = operationsOf(record([corpus.stream.subarray(0, same)]));
        const found = operationsOf(read);
        const length = Math.min(before.length, found.length);
        expect(found.slice(0, length)).toEqual(before.slice(0, length));
        if (read.error === null) expect(found.length).toBeGreaterThanOrEqual(before.length);
      }),
      cases(300),
    );
  },
  fuzzMs,
);

test(
  'whatever commands a record holds, the merge core takes them',
  () => {
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 3 }), (all) => {
        const core = new MergeCore({ region: 'us', members: ['us', 'eu'] });
        all.forEach((changes, i) => {
          const { records } = record([damaged(corpus.stream, changes)]);
          const origin = `${i % 2 === 0 ? 'us' : 'eu'}:${i}`;
          core.assume(origin, 0);
          for (const found of records) {
            const mine = { ...found, origin, seen: new Map() };
            if (i % 2 === 0) core.local(mine);
            else core.plan(mine, new Batch());
          }
          const batch = new Batch();
          core.corrections.correct(core.corrections.takeRaced(), batch);
          batch.finish();
        });
      }),
      cases(150),
    );
  },
  fuzzMs,
);

test('an inline command is short, also where it comes in one piece', () => {
  const line = Buffer.concat([Buffer.alloc(100_000, 'a '), Buffer.from('\r\n')]);
  for (const chunks of [[line], chunksOf(line, [10, 70_000, 80_000])])
    expect(scan(chunks)).toEqual({ commands: [], error: expect.stringContaining('TOO_LONG') });
});

test('what is announced is not allocated: arguments, their number, arrays in replies', () => {
  const announced = ['*16777216\r\n$1\r\na\r\n', '*2\r\n$1073741000\r\nabc'];
  for (const text of announced)
    expect(largestBuffer(() => scan(chunksOf(Buffer.from(text), [3, 7, 15])))).toBeLessThan(MIB);
  const parser = new ReplyParser();
  const largest = largestBuffer(() => {
    for (const chunk of ['*2147483648\r\n', '$2147482000\r\n', 'x']) {
      parser.push(Buffer.from(chunk));
      expect(parser.next()).toBeUndefined();
    }
  });
  expect(largest).toBeLessThan(MIB);
});

test('a transaction without an end is refused before it has all memory', () => {
  const command = encodeCommand(['SET', 'k', Buffer.alloc(MIB)]);
  const recorder = new Recorder(
    { origin: 'us:1', offset: 0, end: 0, stamp: 1, seen: new Map(), db: 0 },
    { record: () => undefined, marker: () => undefined, heartbeat: () => undefined, getAck: () => undefined },
    { blockBytesMax: 8 * MIB },
  );
  recorder.push(encodeCommand(['MULTI']));
  const push = (): void => {
    for (let i = 0; i < 20; i++) recorder.push(command);
  };
  expect(push).toThrow(ProtocolError);
  expect(push).toThrow(/transaction/);
});

test('a database that no record can name is an error of the protocol', () => {
  const select = (db: string): Buffer =>
    Buffer.concat([encodeCommand(['SELECT', db]), encodeCommand(['SET', 'k', 'v'])]);
  expect(record([select('65535')])).toMatchObject({ error: null, records: [{ ops: 1 }] });
  for (const db of ['65536', '-1', '1.5', 'x', '99999999999999999999'])
    expect(record([select(db)])).toMatchObject({ records: [], error: expect.stringContaining('database') });
});

test("a client's hand on an agent's keys moves no clock and no vector beyond what can be written", () => {
  const origins = Array.from({ length: 70_000 }, (_, i) => `o:${i}=1`).join(',');
  const writes: string[][] = [
    ['meridian:heartbeat', '1e300'],
    ['meridian:heartbeat', 'Infinity'],
    ['meridian:heartbeat', '-5'],
    ['meridian:heartbeat', '1.5'],
    ['meridian:cursor', '1 b 9007199254740991 eu:1=5'],
    ['meridian:cursor', '1 b 1e300 eu:1=5'],
    ['meridian:cursor', '1 b -1 eu:1=5'],
    ['meridian:cursor', `1 b 5 ${origins}`],
    ['meridian:cursor', `1 b 5 ${'x'.repeat(70_000)}=5`],
    ['meridian:cursor', '1 b 5 eu:1=Infinity'],
    ['meridian:cursor', '1 b 5 eu:1=1e400'],
    ['meridian:cursor', '1 b 5 eu:1='],
    ['meridian:cursor', ''],
  ];
  for (const [key, value] of writes) {
    const { records, markers, error } = record([
      Buffer.concat([encodeCommand(['SET', key!, value!]), encodeCommand(['SET', 'k', 'v'])]),
    ]);
    expect([value!.slice(0, 40), markers, error]).toEqual([value!.slice(0, 40), [], null]);
    expect(records).toMatchObject([{ ops: 1, stamp: 1, seen: new Map() }]);
  }
});

test(
  'the text of a cursor is a marker or nothing',
  () => {
    const text = '1 0a1b:17 1756300000000 eu:0123456789abcdef=1234567,ap:0123456789abcdef@99=12.5 joining';
    fc.assert(
      fc.property(damage, (changes) => {
        const marker = parseMarker(damaged(Buffer.from(text), changes).toString('latin1'));
        if (marker === null) return;
        expect(Number.isSafeInteger(marker.stamp)).toBe(true);
        for (const [origin, position] of marker.vector) {
          expect(origin.length).toBeGreaterThan(0);
          expect(Number.isFinite(position) && position >= 0).toBe(true);
        }
      }),
      cases(3000),
    );
  },
  fuzzMs,
);

test(
  'replies of a server, damaged: an error of the protocol, the same in whatever chunks',
  () => {
    const replies = Buffer.from(
      `+OK\r\n:12\r\n$5\r\nhello\r\n*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n*0\r\n-ERR no 'x'\r\n$0\r\n\r\n:-9223372036854775808\r\n`,
    );
    const parse = (chunks: readonly Buffer[]): { got: string[]; error: string | null } => {
      const parser = new ReplyParser();
      const got: string[] = [];
      try {
        for (const chunk of chunks) {
          parser.push(chunk);
          for (let reply = parser.next(); reply !== undefined; reply = parser.next())
            got.push(JSON.stringify(reply, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)));
        }
        return { got, error: null };
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        return { got, error: error.code };
      }
    };
    fc.assert(
      fc.property(damage, cuts, (changes, places) => {
        const bytes = damaged(replies, changes);
        expect(parse(chunksOf(bytes, places))).toEqual(parse([bytes]));
      }),
      cases(2000),
    );
  },
  fuzzMs,
);

test('time is linear in the input: many small arguments, a long line, arrays in arrays, byte by byte', () => {
  const inputs = [
    Buffer.from(`*200000\r\n${'$1\r\na\r\n'.repeat(200_000)}`),
    Buffer.from(`PING ${'a'.repeat(60_000)}\r\n`),
    Buffer.from('*1\r\n$4\r\nPING\r\n'.repeat(20_000)),
    Buffer.concat([Buffer.from('*2\r\n$4\r\nPING\r\n$300000\r\n'), Buffer.alloc(300_000, 'a'), Buffer.from('\r\n')]),
  ];
  const began = performance.now();
  for (const bytes of inputs) {
    const scanner = new CommandScanner();
    let commands = 0;
    for (let at = 0; at < bytes.length; at++) {
      scanner.push(bytes.subarray(at, at + 1));
      while (scanner.next()) commands++;
      scanner.keep();
    }
    expect(commands).toBeGreaterThan(0);
  }
  const parser = new ReplyParser();
  const nested = Buffer.from(`${'*1\r\n'.repeat(100)}:1\r\n`.repeat(2000));
  for (let at = 0; at < nested.length; at += 7) {
    parser.push(nested.subarray(at, at + 7));
    while (parser.next() !== undefined);
  }
  // Seconds, where it is linear; minutes, where it isn't.
  expect(performance.now() - began).toBeLessThan(15_000);
});
