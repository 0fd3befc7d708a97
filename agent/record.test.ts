import fc from 'fast-check';
import {
  decodeRecord,
  encodeRecord,
  type OpRecord,
  peekRecord,
  RecordError,
  recordLength,
  regionOf,
  streamOrigin,
} from './record';

const origin = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}:[0-9a-f]{16}(~diff)?$/);
const position = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

const bytes = fc.uint8Array({ maxLength: 20 }).map((array) => Buffer.from(array));
const source = fc.record(
  { origin, position, stamp: position, value: bytes },
  { requiredKeys: ['origin', 'position', 'stamp'] },
);

const record: fc.Arbitrary<OpRecord> = fc
  .record({
    kind: fc.constantFrom(0 as const, 1 as const, 2 as const, 4 as const),
    added: fc.uniqueArray(fc.tuple(fc.nat(), fc.stringMatching(/^-?[0-9]{1,9}\.[0-9]{1,17}$/)), {
      selector: ([i]) => i,
      maxLength: 4,
    }),
    unsettled: fc.option(fc.uniqueArray(fc.nat(), { maxLength: 4 })),
    carried: fc.option(
      fc.uniqueArray(fc.tuple(fc.nat(), fc.array(source, { maxLength: 3 })), { selector: ([i]) => i, maxLength: 4 }),
    ),
    origin,
    positions: fc.tuple(position, position),
    stamp: position,
    ops: fc.integer({ min: 0, max: 0xffff_ffff }),
    db: fc.integer({ min: 0, max: 0xffff }),
    seen: fc.uniqueArray(fc.tuple(origin, position), { selector: ([id]) => id, maxLength: 5 }),
    payload: fc.uint8Array({ maxLength: 200 }),
  })
  .map(({ positions: [a, b], seen, payload, added, unsettled, carried, ...rest }) => ({
    ...rest,
    ...(rest.kind === 4 && added.length > 0 ? { added: new Map(added) } : {}),
    ...(rest.kind === 4 && unsettled !== null ? { unsettled: new Set(unsettled) } : {}),
    ...(rest.kind === 1 && carried !== null ? { carried: new Map(carried) } : {}),
    start: Math.min(a, b),
    end: Math.max(a, b),
    seen: new Map(seen),
    payload: Buffer.from(payload),
  }));

function refusal(bytes: Buffer): RecordError {
  try {
    decodeRecord(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(RecordError);
    return error as RecordError;
  }
  throw new Error('expected to be refused');
}

/** As above, without the cost of an `expect` for each of many bits. */
function expectRefused(bytes: Buffer): void {
  try {
    decodeRecord(bytes);
  } catch (error) {
    if (error instanceof RecordError) return;
    throw error;
  }
  throw new Error('expected to be refused');
}

test('what is encoded is decoded, and its head can be read alone', () => {
  fc.assert(
    fc.property(record, fc.uint8Array({ maxLength: 9 }), (original, before) => {
      const bytes = encodeRecord(original);
      expect(decodeRecord(bytes)).toEqual(original);
      expect(decodeRecord(bytes, { verify: false })).toEqual(original);
      const among = Buffer.concat([before, bytes, Buffer.from('rest')]);
      expect(recordLength(among, before.length)).toBe(bytes.length);
      const { kind, origin: id, start, end } = original;
      expect(peekRecord(among, before.length)).toEqual({ kind, origin: id, start, end });
    }),
  );
});

test('no beginning of a record, and no record with something behind it, is taken for one', () => {
  fc.assert(
    fc.property(record, (original) => {
      const bytes = encodeRecord(original);
      for (let n = 0; n < bytes.length; n++) expect(refusal(bytes.subarray(0, n)).code).toBe('truncated');
      expect(refusal(Buffer.concat([bytes, Buffer.alloc(1)])).code).toBe('truncated');
    }),
    { numRuns: 30 },
  );
});

test('every single flipped bit is noticed', () => {
  fc.assert(
    fc.property(record, (original) => {
      const bytes = encodeRecord(original);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const mask = 1 << (bit & 7);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ mask;
        expectRefused(bytes);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ mask;
      }
      expect(decodeRecord(bytes)).toEqual(original);
    }),
    { numRuns: 20 },
  );
});

test('a head that lies about its lengths is refused even where nobody looks at the checksum', () => {
  const bytes = encodeRecord({
    kind: 0,
    origin: 'a:0123456789abcdef',
    start: 0,
    end: 10,
    stamp: 1,
    ops: 1,
    db: 0,
    seen: new Map([['b:0123456789abcdef', 4]]),
    payload: Buffer.from('0123456789'),
  });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, value) => {
      const forged = Buffer.from(bytes);
      forged[at] = value;
      try {
        const decoded = decodeRecord(forged, { verify: false });
        expect(decoded.end).toBeGreaterThanOrEqual(decoded.start);
      } catch (error) {
        expect(error).toBeInstanceOf(RecordError);
      }
    }),
    { numRuns: 1000 },
  );
});

test('a record says which version it has', () => {
  const bytes = encodeRecord({
    kind: 2,
    origin: 'a:0',
    start: 0,
    end: 0,
    stamp: 0,
    ops: 0,
    db: 0,
    seen: new Map(),
    payload: Buffer.alloc(0),
  });
  bytes[8] = 2;
  expect(() => decodeRecord(bytes, { verify: false })).toThrow(
    expect.objectContaining({ code: 'version', message: expect.stringContaining('reads version 1') }),
  );
});

test('an origin names its region', () => {
  const id = streamOrigin('eu-central-1', '0123456789abcdef0123456789abcdef01234567');
  expect(id).toBe('eu-central-1:0123456789abcdef');
  expect(regionOf(id)).toBe('eu-central-1');
  expect(regionOf(`${id}~diff`)).toBe('eu-central-1');
});
