import * as fc from 'fast-check';
import { Crc64, decodeDump, encodeDump, type RdbEntry, RdbError, RdbReader, toCommands } from '../../agent/capture';
import { CommandWriter } from '../../agent/resp';
import { statePayload } from '../../agent/session/settle';
import { cases, chunksOf, cuts, damage, damaged, fuzzMs, largestBuffer } from './bytes';
import { type Corpus, readCorpus } from './corpus';

let corpus: Corpus;
beforeAll(async () => {
  corpus = await readCorpus();
});

const MIB = 1024 * 1024;

interface Read {
  entries: RdbEntry[];
  error: string | null;
}

function read(chunks: readonly Buffer[]): Read {
  const reader = new RdbReader();
  const entries: RdbEntry[] = [];
  const take = (): void => {
    for (let entry = reader.next(); entry !== null; entry = reader.next()) entries.push(entry);
  };
  try {
    for (const chunk of chunks) {
      reader.push(chunk);
      take();
    }
    reader.end();
    take();
    return { entries, error: null };
  } catch (error) {
    if (!(error instanceof RdbError)) throw error;
    return { entries, error: error.code };
  }
}

/** With a checksum that fits: as a server would write it, or somebody on purpose. */
function summed(rdb: Buffer): Buffer {
  const body = rdb.subarray(0, Math.max(0, rdb.length - 8));
  return Buffer.concat([body, new Crc64().update(body).digest()]);
}

const isSound = ({ entries, error }: Read): boolean => {
  const last = entries.at(-1);
  return error === null && last?.kind === 'end' && last.checksumOk;
};

test('the snapshot itself is sound', () => {
  const found = read([corpus.rdb]);
  expect(isSound(found)).toBe(true);
  expect(found.entries.filter((entry) => entry.kind === 'key').length).toBeGreaterThan(20);
});

test(
  'damage is never taken for sound, in whatever chunks it comes',
  () => {
    fc.assert(
      fc.property(damage, cuts, (changes, places) => {
        const bytes = damaged(corpus.rdb, changes);
        if (bytes.subarray(0, corpus.rdb.length).equals(corpus.rdb)) return;
        let found!: Read;
        const largest = largestBuffer(() => (found = read(chunksOf(bytes, places))));
        expect(isSound(found)).toBe(false);
        // LZF packs 88 bytes into one at most.
        expect(largest).toBeLessThanOrEqual(88 * bytes.length + MIB);
        const whole = read([bytes]);
        expect(found.error).toBe(whole.error);
        expect(found.entries.length).toBe(whole.entries.length);
      }),
      cases(300),
    );
  },
  fuzzMs,
);

test(
  'damage with a checksum that fits is an error, or entries that can be written as commands',
  () => {
    fc.assert(
      fc.property(damage, (changes) => {
        const { entries } = read([summed(damaged(corpus.rdb, changes))]);
        const writer = new CommandWriter(1024);
        for (const entry of entries) toCommands(entry, writer);
      }),
      cases(300),
    );
  },
  fuzzMs,
);

test(
  'a damaged payload of DUMP is refused; with a sum that fits it is an error or a value',
  () => {
    fc.assert(
      fc.property(fc.nat(), damage, (which, changes) => {
        const dump = corpus.dumps[which % corpus.dumps.length]!;
        const bytes = damaged(dump, changes);
        if (bytes.equals(dump)) return;
        expect(() => decodeDump(bytes)).toThrow(RdbError);
        const raw = damaged(dump.subarray(1, -10), changes);
        const payload = encodeDump(dump[0]!, raw, dump.readUInt16LE(dump.length - 10));
        let found = false;
        const largest = largestBuffer(() => {
          try {
            decodeDump(payload);
            found = true;
          } catch (error) {
            if (!(error instanceof RdbError)) throw error;
          }
        });
        expect(largest).toBeLessThanOrEqual(88 * payload.length + MIB);
        // What a settler would send of it.
        if (found) statePayload('key', [payload, -1], 0);
      }),
      cases(700),
    );
  },
  fuzzMs,
);

describe('values that claim much', () => {
  const count = (n: number): number[] => [0x81, ...[...Buffer.from(n.toString(16).padStart(16, '0'), 'hex')]];
  const key = (type: number, ...value: number[]): Buffer =>
    Buffer.concat([Buffer.from('REDIS0011'), Buffer.from([type, 1, 97, ...value])]);
  const many = count(2 ** 50);

  test.each([
    ['members', key(2, ...many, 1, 98)],
    ['fields with times', key(24, 0, 0, 0, 0, 0, 0, 0, 0, ...many, 0, 1, 98, 1, 99)],
    ['nodes of a list', key(18, ...many, 2, 1)],
    ['nodes of a stream', key(21, ...many, 16)],
    ['groups', key(21, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...many, 1, 103, 0, 0, 0, ...many)],
    ['fields of a module', key(7, 1, 5, ...many)],
    ['databases', Buffer.concat([Buffer.from('REDIS0011'), Buffer.from([0xfe, ...many, 0, 1, 97, 1, 98])])],
    ['slots to import', Buffer.concat([Buffer.from('VALKEY080'), Buffer.from([0xf3, 1, 97, ...many, 1])])],
    ['metadata of modules', Buffer.concat([Buffer.from('REDIS0013'), Buffer.from([0xf3, ...many, 1, 1, 1, 1, 0])])],
  ])('%s: an error, little memory', (_, bytes) => {
    let found!: Read;
    expect(largestBuffer(() => (found = read([bytes])))).toBeLessThan(MIB);
    expect(found.error).not.toBeNull();
  });
});

test('time is linear in the input: what comes in one step, in small chunks', () => {
  const module = (fields: number): number[] => [...Array.from({ length: fields }, () => [5, 4, 1, 2, 3, 4]).flat(), 0];
  const inputs = {
    'a value of a module': [7, 1, 97, 1, ...module(150_000)],
    'what a module writes beside its keys': [0xf7, 1, ...module(150_000)],
    'metadata of a module': [0xf3, 1, 0, 0, 0, 0, ...module(150_000)],
    'a group with many entries that wait': [
      21,
      1,
      97,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      1,
      1,
      103,
      0,
      0,
      0,
      ...[0x80, 0, 0, 0x60, 0],
      ...Array.from({ length: 0x6000 }, (_, i) => [...Buffer.alloc(14), i >> 8, i & 255, ...Buffer.alloc(8), 1]).flat(),
      0,
    ],
  };
  for (const [name, bytes] of Object.entries(inputs)) {
    const rdb = Buffer.concat([Buffer.from('REDIS0013'), Buffer.from(bytes), Buffer.from([0xff]), Buffer.alloc(8)]);
    const began = performance.now();
    const { entries, error } = read(
      chunksOf(
        rdb,
        Array.from({ length: 3000 }, (_, i) => Math.floor((i * rdb.length) / 3000)),
      ),
    );
    expect([name, error, entries.at(-1)?.kind]).toEqual([name, null, 'end']);
    // A second, where it is linear; much more, where each chunk begins at the first byte again.
    expect(performance.now() - began).toBeLessThan(4000);
  }
});
