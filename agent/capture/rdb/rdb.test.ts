import * as fc from 'fast-check';
import { existsSync, readdirSync, readFileSync } from 'fs';
import { join } from 'path';
import { CommandScanner, CommandWriter } from '../../resp';
import {
  Crc64,
  decodeDump,
  encodeDump,
  formatScore,
  parseScore,
  type RdbEntry,
  RdbError,
  type RdbKey,
  RdbReader,
  toCommands,
} from '.';
import { type RdbReaderOptions } from './reader';
import { type HashItem, type RdbValue, type StreamValue } from './types';

/** Snapshots written by real servers, each with what that server answered for every key; another folder of them can be named. */
const folders = [join(__dirname, '..', 'testdata'), process.env.MERIDIAN_RDB_CORPUS ?? ''].filter((f) => f !== '');
const corpus = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((f) => f.endsWith('.rdb'))
    .map((f) => [f.replace(/\.rdb$/, ''), join(folder, f.replace(/\.rdb$/, ''))] as const)
    .filter(([, path]) => existsSync(`${path}.jsonl`) || existsSync(`${path}.json`)),
);

type Text = string | { b64: string };
interface ExpectedKey {
  key: Text;
  type: string;
  value: unknown;
  pexpiretime?: number;
  field_pexpiretime?: [Text, number][];
  stream?: {
    length: number;
    'last-generated-id': string;
    'max-deleted-entry-id'?: string;
    'entries-added'?: number;
    groups?: {
      name: Text;
      'last-delivered-id': string;
      'entries-read'?: number | null;
      pel: [string, Text, number | null, number][];
      consumers: { name: Text; 'seen-time'?: number; 'active-time'?: number }[];
    }[];
  };
}
interface Expected {
  server: string;
  rdb_magic: string;
  dbs: Record<string, ExpectedKey[]>;
  functions?: { name: string; code: string }[];
}

/** One document, or lines: the head, then a key each. */
function readExpected(path: string): Expected {
  if (!existsSync(`${path}.jsonl`)) return JSON.parse(readFileSync(`${path}.json`, 'utf8')) as Expected;
  const [head, ...keys] = readFileSync(`${path}.jsonl`, 'utf8').trimEnd().split('\n');
  const expected: Expected = { ...(JSON.parse(head as string) as Expected), dbs: {} };
  for (const line of keys) {
    const { db, ...key } = JSON.parse(line) as ExpectedKey & { db: number };
    (expected.dbs[db] ??= []).push(key);
  }
  return expected;
}

const bytesOf = (t: Text): Buffer => (typeof t === 'string' ? Buffer.from(t) : Buffer.from(t.b64, 'base64'));
const text = (t: Text): string => bytesOf(t).toString('latin1');
const latin = (b: Buffer): string => b.toString('latin1');
const byFirst = (a: unknown[], b: unknown[]): number => (String(a[0]) < String(b[0]) ? -1 : 1);

export function readAll(rdb: Buffer, chunkBytes = rdb.length || 1, opts?: RdbReaderOptions): RdbEntry[] {
  const reader = new RdbReader(opts);
  const entries: RdbEntry[] = [];
  for (let at = 0; at < rdb.length; at += chunkBytes) {
    reader.push(Buffer.from(rdb.subarray(at, at + chunkBytes)));
    for (let e = reader.next(); e !== null; e = reader.next()) entries.push(e);
  }
  reader.end();
  for (let e = reader.next(); e !== null; e = reader.next()) entries.push(e);
  return entries;
}

/** A value without what may differ: order of sets and hashes, how bytes are shown. */
function plain(type: string, value: RdbValue): unknown {
  switch (type) {
    case 'string':
      return latin(value as Buffer);
    case 'list':
      return (value as Buffer[]).map(latin);
    case 'set':
      return (value as Buffer[]).map(latin).sort();
    case 'hash':
      return (value as [Buffer, Buffer, number | null][]).map(([f, v, at]) => [latin(f), latin(v), at]).sort(byFirst);
    case 'zset':
      return (value as [Buffer, string][]).map(([m, s]) => [latin(m), s]).sort(byFirst);
    case 'stream':
      return plainStream(value as StreamValue);
    default:
      return null;
  }
}

function plainStream(s: StreamValue): unknown {
  return {
    entries: s.entries.map(([id, fields]) => [id, fields.map(latin)]),
    length: s.length,
    lastId: s.lastId,
    groups: s.groups
      .map((g) => [
        latin(g.name),
        g.lastId,
        g.pending.map((p) => [p.id, p.consumer === null ? null : latin(p.consumer), p.deliveryCount]),
        g.consumers.map((c) => latin(c.name)).sort(),
      ])
      .sort(byFirst),
  };
}

function plainExpected(k: ExpectedKey): unknown {
  switch (k.type) {
    case 'string':
      return text(k.value as Text);
    case 'list':
      return (k.value as Text[]).map(text);
    case 'set':
      return (k.value as Text[]).map(text).sort();
    case 'hash': {
      const ttl = new Map((k.field_pexpiretime ?? []).map(([f, at]) => [text(f), at]));
      return (k.value as [Text, Text][]).map(([f, v]) => [text(f), text(v), ttl.get(text(f)) ?? null]).sort(byFirst);
    }
    case 'zset':
      return (k.value as [Text, Text][]).map(([m, s]) => [text(m), formatScore(parseScore(text(s)))]).sort(byFirst);
    case 'stream':
      return {
        entries: (k.value as [string, Text[]][]).map(([id, fields]) => [id, fields.map(text)]),
        length: k.stream?.length,
        lastId: k.stream?.['last-generated-id'],
        groups: (k.stream?.groups ?? [])
          .map((g) => [
            text(g.name),
            g['last-delivered-id'],
            g.pel.map(([id, consumer, , count]) => [id, text(consumer), count]),
            g.consumers.map((c) => text(c.name)).sort(),
          ])
          .sort(byFirst),
      };
    default:
      return null;
  }
}

const typeName = (t: string): string => (t === 'vectorset' ? 'module' : t);

/** Joins the parts of big keys. */
function wholeKeys(entries: RdbEntry[]): RdbKey[] {
  const keys: RdbKey[] = [];
  for (const entry of entries) {
    if (entry.kind !== 'key') continue;
    const open = keys[keys.length - 1];
    if (entry.part === 0) {
      keys.push({ ...entry, raw: entry.raw });
      continue;
    }
    expect(open?.key).toEqual(entry.key);
    if (entry.type === 'stream' && open?.type === 'stream') {
      open.value = { ...entry.value, entries: [...open.value.entries, ...entry.value.entries] };
    } else {
      (open as { value: unknown[] }).value = [...(open as { value: unknown[] }).value, ...(entry.value as unknown[])];
    }
    (open as RdbKey).last = entry.last;
  }
  for (const key of keys) expect(key.last).toBe(true);
  return keys;
}

describe.each(corpus)('%s', (_name, path) => {
  const rdb = readFileSync(`${path}.rdb`);
  const expected = readExpected(path);
  const entries = readAll(rdb);
  // What is due is in the snapshot too, and the server doesn't show it.
  const due = (at: number | null): boolean => at !== null && at < Date.now();
  const live = wholeKeys(entries).filter((k) => {
    if (k.type === 'hash') k.value = k.value.filter(([, , at]) => !due(at));
    return !due(k.expireAtMs) && !(k.type === 'hash' && k.value.length === 0);
  });
  const found = new Map(live.map((k) => [`${k.db} ${latin(k.key)}`, k]));
  const wanted = Object.entries(expected.dbs).flatMap(([db, keys]) => keys.map((k) => [Number(db), k] as const));

  test('every key is what the server says', () => {
    expect([...found.keys()].sort()).toEqual(wanted.map(([db, k]) => `${db} ${text(k.key)}`).sort());
    for (const [db, k] of wanted) {
      const entry = found.get(`${db} ${text(k.key)}`) as RdbKey;
      const where = `${db} ${text(k.key)}`;
      expect([where, entry.type]).toEqual([where, typeName(k.type)]);
      // Redis 6.2 has no PEXPIRETIME: there the time was reckoned from PTTL.
      const at = k.pexpiretime ?? null;
      const near =
        at !== null && entry.expireAtMs !== null && Math.abs(at - entry.expireAtMs) <= 5 ? at : entry.expireAtMs;
      expect([where, near]).toEqual([where, at]);
      expect([where, plain(entry.type, entry.value)]).toEqual([where, plainExpected(k)]);
    }
    expect(entries[entries.length - 1]).toMatchObject({ kind: 'end', checksumOk: true });
  });

  test('streams: counters, delivery times, consumers', () => {
    for (const [db, k] of wanted) {
      if (k.type !== 'stream' || k.stream === undefined) continue;
      const value = (found.get(`${db} ${text(k.key)}`) as RdbKey).value as StreamValue;
      if (k.stream['entries-added'] !== undefined) expect(value.entriesAdded).toBe(k.stream['entries-added']);
      if (k.stream['max-deleted-entry-id'] !== undefined) {
        expect(value.maxDeletedId).toBe(k.stream['max-deleted-entry-id']);
      }
      for (const g of k.stream.groups ?? []) {
        const group = value.groups.find((x) => latin(x.name) === text(g.name));
        if (g['entries-read'] !== undefined) expect(group?.entriesRead).toBe(g['entries-read']);
        g.pel.forEach(([, , time], i) => {
          if (time !== null) expect(group?.pending[i]?.deliveryTimeMs).toBe(time);
        });
        for (const c of g.consumers) {
          const consumer = group?.consumers.find((x) => latin(x.name) === text(c.name));
          if (c['seen-time'] !== undefined) expect(consumer?.seenTimeMs).toBe(c['seen-time']);
          if (c['active-time'] !== undefined) expect(consumer?.activeTimeMs).toBe(c['active-time']);
        }
      }
    }
  });

  test('functions', () => {
    const libraries = entries.filter((e) => e.kind === 'function').map((e) => e.library.toString());
    expect(libraries.sort()).toEqual((expected.functions ?? []).map((f) => f.code).sort());
  });

  test('any size of chunks and parts gives the same', () => {
    const show = (list: RdbEntry[]): unknown[] =>
      wholeKeys(list).map((k) => [k.db, latin(k.key), k.expireAtMs, plain(k.type, k.value), k.rdbType]);
    const whole = show(entries);
    for (const chunk of [1, 2, 7, 64, 1000]) expect(show(readAll(rdb, chunk))).toEqual(whole);
    expect(show(readAll(rdb, 13, { partElements: 3 }))).toEqual(whole);
    expect(show(readAll(rdb, 500, { partBytes: 20, rawBytesMax: 10 }))).toEqual(whole);
    for (const e of readAll(rdb, 3)) if (e.kind === 'end') expect(e.checksumOk).toBe(true);
  });

  test('the raw bytes make a DUMP payload that decodes to the same value', () => {
    for (const key of found.values()) {
      const raw = key.raw as Buffer;
      expect(raw).not.toBeNull();
      const decoded = decodeDump(encodeDump(key.rdbType, raw, key.rdbVersion));
      expect(decoded.type).toBe(key.type);
      expect(decoded.raw.equals(raw)).toBe(true);
      if (decoded.type === 'hash') {
        decoded.value = (decoded.value as HashItem[]).filter(([, , at]) => !due(at));
      }
      expect(plain(decoded.type, decoded.value)).toEqual(plain(key.type, key.value));
    }
  });

  test('cut anywhere it is TRUNCATED; damaged anywhere it is an RdbError, a wrong checksum, or another header', () => {
    for (let cut = 0; cut < rdb.length; cut += 1 + Math.floor(rdb.length / 60)) {
      expect(() => readAll(rdb.subarray(0, cut))).toThrow(RdbError);
    }
    if (rdb.subarray(-8).equals(Buffer.alloc(8))) return; // written with rdbchecksum no
    fc.assert(
      fc.property(fc.nat({ max: rdb.length - 9 }), fc.integer({ min: 1, max: 255 }), fc.nat(), (at, xor, chunk) => {
        const damaged = Buffer.from(rdb);
        damaged[at]! ^= xor;
        try {
          const list = readAll(damaged, 1 + (chunk % 5000), { stringBytesMax: 64 * 1024 * 1024 });
          expect(list[list.length - 1]).toMatchObject({ kind: 'end', checksumOk: false });
        } catch (error) {
          if (!(error instanceof RdbError)) throw error;
        }
      }),
      { numRuns: 60 },
    );
  });
});

test('there is a corpus', () => expect(corpus.length).toBeGreaterThan(5));

describe('payloads', () => {
  test('CRC-64 is Redis’ own, in any pieces', () => {
    // From redis/src/crc64.c: "123456789" gives e9c6d914c4b8d9ca.
    expect(new Crc64().update(Buffer.from('123456789')).digest().reverse().toString('hex')).toBe('e9c6d914c4b8d9ca');
    const data = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7919) & 255));
    const whole = new Crc64().update(data).digest();
    const pieces = new Crc64();
    for (let at = 0; at < 1000; at += 13) pieces.update(data, at, Math.min(1000, at + 13));
    expect(pieces.digest()).toEqual(whole);
  });

  test('a damaged DUMP payload is refused', () => {
    const payload = encodeDump(0, Buffer.from([3, 97, 98, 99]), 10);
    expect(decodeDump(payload)).toMatchObject({ type: 'string', value: Buffer.from('abc'), rdbVersion: 10 });
    for (let i = 0; i < payload.length; i++) {
      const damaged = Buffer.from(payload);
      damaged[i]! ^= 1;
      expect(() => decodeDump(damaged)).toThrow(RdbError);
    }
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 30 }), fc.uint8Array({ maxLength: 200 }), (type, raw) => {
        try {
          decodeDump(encodeDump(type, Buffer.from(raw), 12));
        } catch (error) {
          if (!(error instanceof RdbError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['a string of 2^62 bytes', [0, 1, 97, 0x81, 0x40, 0, 0, 0, 0, 0, 0, 0], 'TOO_BIG'],
    ['a string of 4 GB', [0, 1, 97, 0x80, 0xff, 0xff, 0xff, 0xff], 'TOO_BIG'],
    ['LZF that claims 900 MB', [0, 1, 97, 0xc3, 5, 0x80, 0x35, 0xa4, 0xe9, 0, 0, 0, 0, 0, 0], 'CORRUPT'],
    ['a set of 2^40 members', [2, 1, 97, 0x81, 0, 0, 1, 0, 0, 0, 0, 0, 1, 98], 'TRUNCATED'],
    ['an unknown type', [99, 1, 97, 0], 'UNSUPPORTED'],
  ])('%s allocates nothing', (_what, bytes, code) => {
    const rdb = Buffer.concat([Buffer.from('REDIS0011'), Buffer.from(bytes)]);
    let error: unknown;
    try {
      readAll(rdb);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ name: 'RdbError', code });
  });

  /** Types that no server of today writes, built by hand from the description of their formats. */
  test('old and pre-release encodings', () => {
    const str = (s: string): number[] => [s.length, ...Buffer.from(s)];
    const i64 = (n: number): number[] => {
      const b = Buffer.alloc(8);
      b.writeBigInt64LE(BigInt(n));
      return [...b];
    };
    const packed = (b: number[]): number[] => [0x40 | (b.length >> 8), b.length & 255, ...b];
    const listpack = (items: string[]): number[] => {
      const body = items.flatMap((s) => [0x80 | s.length, ...Buffer.from(s), s.length + 1]);
      const total = 7 + body.length;
      return packed([total & 255, total >> 8, 0, 0, items.length, 0, ...body, 255]);
    };
    const ziplist = (items: (string | number)[]): number[] => {
      let previous = 0;
      const body = items.flatMap((s) => {
        const own = typeof s === 'number' ? [0xf1 + s] : [s.length, ...Buffer.from(s)];
        const entry = [previous, ...own];
        previous = entry.length;
        return entry;
      });
      const total = 11 + body.length;
      return packed([total & 255, total >> 8, 0, 0, 10, 0, 0, 0, items.length, 0, ...body, 255]);
    };
    const far = 4102444800000;
    const cases: [number, number, number[], string, unknown][] = [
      [9, 1, [2, ...str('ab').slice(0), ...[1, 0, 120], 1, 99, 2, 1, 121, 0, 255], '', null],
      [
        13,
        9,
        ziplist(['f', 'v', 'n', 7]),
        'hash',
        [
          ['f', 'v', null],
          ['n', '7', null],
        ],
      ],
      [
        12,
        9,
        ziplist(['m', '1.5', 'k', 3]),
        'zset',
        [
          ['k', '3'],
          ['m', '1.5'],
        ],
      ],
      [10, 9, ziplist(['a', 0, 'c']), 'list', ['a', '0', 'c']],
      [14, 9, [2, ...ziplist(['a']), ...ziplist(['b'])], 'list', ['a', 'b']],
      [
        3,
        9,
        [3, ...str('a'), ...str('1.25'), ...str('b'), 254, ...str('c'), 255],
        'zset',
        [
          ['a', '1.25'],
          ['b', 'inf'],
          ['c', '-inf'],
        ],
      ],
      [1, 9, [2, ...str('a'), 0xc0, 0xff], 'list', ['a', '-1']],
      // Redis 7.4 RC: absolute times, no minimum in front
      [
        22,
        12,
        [2, 0x81, 0, 0, 3, 0xbb, 0x2c, 0xc3, 0xd8, 0, ...str('f'), ...str('v'), 0, ...str('g'), ...str('w')],
        'hash',
        [
          ['f', 'v', 4102444800000],
          ['g', 'w', null],
        ],
      ],
      [
        23,
        12,
        listpack(['f', 'v']).length > 0
          ? packed(
              [20, 0, 0, 0, 3, 0, 0x81, 102, 2, 0x81, 118, 2, 0xf2, 1, 0, 0, 4, 0, 1, 255]
                .map((x, i, a) => (i === 0 ? a.length : x))
                .slice(0, 17)
                .concat([255])
                .map((x, i, a) => (i === 0 ? a.length : x)),
            )
          : [],
        'hash',
        [['f', 'v', 1]],
      ],
      // Valkey 9: field, value, time
      [
        22,
        80,
        [2, ...str('f'), ...str('v'), ...i64(far), ...str('g'), ...str('w'), ...i64(-1)],
        'hash',
        [
          ['f', 'v', far],
          ['g', 'w', null],
        ],
      ],
      [
        24,
        12,
        [...i64(far), 2, 1, ...str('f'), ...str('v'), 0, ...str('g'), ...str('w')],
        'hash',
        [
          ['f', 'v', far],
          ['g', 'w', null],
        ],
      ],
    ];
    for (const [type, version, raw, name, value] of cases) {
      if (name === '') continue;
      const decoded = decodeDump(encodeDump(type, Buffer.from(raw), version));
      expect([type, decoded.type]).toEqual([type, name]);
      expect([type, plain(decoded.type, decoded.value)]).toEqual([type, value]);
    }
    // A zipmap: count, then length and bytes of the key, length, unused bytes, value, unused.
    const zipmap = packed([2, 1, 97, 1, 0, 120, 1, 98, 2, 2, 121, 122, 0, 0, 255]);
    expect(plain('hash', decodeDump(encodeDump(9, Buffer.from(zipmap), 3)).value)).toEqual([
      ['a', 'x', null],
      ['b', 'yz', null],
    ]);
  });

  test('opcodes that are passed over', () => {
    const rdb = Buffer.concat([
      Buffer.from('REDIS0013'),
      Buffer.from([244, 5, 1, 0]), // SLOT_INFO
      Buffer.from([
        247, 0x81, 1, 2, 3, 4, 5, 6, 7, 8, 2, 1, 5, 2, 104, 105, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0,
      ]), // MODULE_AUX
      Buffer.from([246, 1, 102, 3, 76, 85, 65, 1, 1, 100, 2, 99, 49]), // FUNCTION_PRE_GA
      Buffer.from([248, 9, 249, 200, 253, 1, 0, 0, 0]), // IDLE, FREQ, EXPIRETIME
      Buffer.from([243, 1, 1, 2, 3, 4, 2, 7, 0]), // KEY_META
      Buffer.from([0, 1, 107, 1, 118, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
    ]);
    for (const chunk of [1, 1000]) {
      const entries = readAll(rdb, chunk);
      expect(entries[0]).toEqual({ kind: 'function', library: Buffer.from('#!lua name=f\nc1') });
      expect(entries[1]).toMatchObject({
        kind: 'key',
        expireAtMs: 1000,
        key: Buffer.from('k'),
        value: Buffer.from('v'),
      });
      expect(entries[2]).toEqual({ kind: 'end', checksumOk: true, rdbVersion: 13 });
    }
    const valkey = Buffer.concat([
      Buffer.from('VALKEY080'),
      Buffer.from([243, 2, 106, 98, 1, 0, 5]), // SLOT_IMPORT
      Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 0]),
    ]);
    expect(readAll(valkey)).toEqual([{ kind: 'end', checksumOk: true, rdbVersion: 80 }]);
  });

  test('scores: the shortest text that reads back as the same double', () => {
    fc.assert(
      fc.property(fc.double(), (d) => {
        expect(Object.is(parseScore(formatScore(d)), d)).toBe(true);
      }),
    );
    expect(['3.1400000000000001', 'inf', '-inf', '-0', '1e+300'].map((t) => formatScore(parseScore(t)))).toEqual([
      '3.14',
      'inf',
      '-inf',
      '-0',
      '1e+300',
    ]);
  });
});

test('a module becomes RESTORE, a function FUNCTION LOAD', () => {
  const writer = new CommandWriter();
  toCommands({ kind: 'function', library: Buffer.from('#!lua name=x\n') }, writer);
  const key = {
    kind: 'key',
    db: 0,
    key: Buffer.from('m'),
    type: 'module',
    expireAtMs: 5,
    value: Buffer.from([1, 0]),
    rdbType: 7,
    rdbVersion: 11,
    raw: null,
    part: 0,
    last: true,
  } as const;
  toCommands(key, writer);
  const scanner = new CommandScanner();
  scanner.push(writer.take());
  expect(scanner.next() && scanner.argc).toBe(4);
  expect(scanner.next() && scanner.argc).toBe(5);
  const payload = scanner.buf.subarray(scanner.argStart[3], scanner.argEnd[3]);
  expect(decodeDump(payload)).toMatchObject({ type: 'module', value: Buffer.from([1, 0]), rdbVersion: 11 });
});
