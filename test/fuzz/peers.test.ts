import { deflateRawSync } from 'node:zlib';
import * as fc from 'fast-check';
import { type BeatMessage, type Downward, meshMethods, type Upward } from '../../agent/peers/proto';
import { decodeBeat, encodeBeat } from '../../agent/peers/beat';
import { PeerError } from '../../agent/peers/error';
import { Assembly, CHUNK_BYTES, cut, inflate, split } from '../../agent/peers/frame';
import { checkHello, type Hello, PROTOCOL, regionOfCertificate } from '../../agent/peers/hello';
import { Inlet } from '../../agent/peers/inlet';
import { Items } from '../../agent/peers/request';
import { decodeRecord, encodeRecord, type OpRecord, RecordError, RecordKind } from '../../agent/record';
import { cases, damage, damaged, fuzzMs, largestBuffer } from './bytes';

const MIB = 1024 * 1024;
const origin = 'eu:0123456789abcdef';

const record = (start: number, end: number, over: Partial<OpRecord> = {}): OpRecord => ({
  kind: RecordKind.stream,
  origin,
  start,
  end,
  stamp: 1_700_000_000_000 * 1024,
  ops: 1,
  db: 0,
  seen: new Map([['us:fedcba9876543210', 4711]]),
  payload: Buffer.alloc(end - start, 'x'),
  ...over,
});

const chain = [
  record(0, 0, { kind: RecordKind.birth, payload: Buffer.alloc(0), ops: 0 }),
  record(0, 50),
  record(50, 90),
  record(90, 700),
].map(encodeRecord);

test(
  'no damage of a record is taken for a record',
  () => {
    fc.assert(
      fc.property(fc.nat(), damage, (which, changes) => {
        const bytes = chain[which % chain.length]!;
        const changed = damaged(bytes, changes);
        if (changed.equals(bytes)) return;
        expect(() => decodeRecord(changed)).toThrow(RecordError);
        // Even where nobody looks at the sum, its fields are what they have to be.
        try {
          const { start, end, stamp, seen } = decodeRecord(changed, { verify: false });
          for (const number of [start, end, stamp, ...seen.values()]) expect(Number.isFinite(number)).toBe(true);
          expect(end).toBeGreaterThanOrEqual(start);
        } catch (error) {
          if (!(error instanceof RecordError)) throw error;
        }
      }),
      cases(2000),
    );
  },
  fuzzMs,
);

test(
  'a damaged frame: an error with a code, or the records that are whole, in order, without a gap',
  async () => {
    const frame = Buffer.concat(chain);
    await fc.assert(
      fc.asyncProperty(damage, async (changes) => {
        let position = -1;
        const inlet = new Inlet({
          have: () => position,
          onRecords: (records) => {
            for (const bytes of records) {
              const { kind, start, end } = decodeRecord(bytes);
              expect(chain.some((sound) => sound.equals(bytes))).toBe(true);
              expect(kind === RecordKind.birth || start === position).toBe(true);
              position = end;
            }
          },
        });
        try {
          const records = split(damaged(frame, changes));
          await inlet.deliver({ id: 1, origin, lastStart: -Infinity }, records, 'eu', false);
        } catch (error) {
          expect(error).toBeInstanceOf(PeerError);
        }
      }),
      cases(1000),
    );
  },
  fuzzMs,
);

test(
  'chunks in any order, of any record, with any place: an error, or the record',
  () => {
    const large = encodeRecord(record(0, 700_000));
    const pieces = [...cut([large])].flatMap((piece) => (piece.whole ? [] : [piece]));
    expect(pieces.length).toBe(2);
    const number = fc.constantFrom(0, 1, CHUNK_BYTES, large.length, 2 ** 30, 2 ** 31, -1, NaN, 1.5, Infinity);
    const chunk = fc.record({
      subscription: fc.constantFrom(1, 1, 1, 2),
      piece: fc.nat({ max: 1 }),
      offset: fc.option(number),
      total: fc.option(number),
      changes: fc.option(damage, { freq: 5 }),
    });
    fc.assert(
      fc.property(fc.array(chunk, { minLength: 1, maxLength: 6 }), (chunks) => {
        const assembly = new Assembly();
        for (const { subscription, piece, offset, total, changes } of chunks) {
          const { payload, ...place } = pieces[piece]!;
          try {
            const whole = assembly.add({
              subscription,
              payload: changes === null ? payload : damaged(payload, changes),
              offset: offset ?? place.offset,
              total: total ?? place.total,
            });
            if (whole !== null) expect(whole.equals(large)).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(PeerError);
            // As the link does, which ends.
            assembly.clear();
          }
        }
      }),
      cases(150),
    );
  },
  fuzzMs,
);

test('a record of a gigabyte that is announced takes memory as it comes', () => {
  const total = 1024 * MIB;
  const first = Buffer.alloc(CHUNK_BYTES);
  first.writeUInt32LE(total - 4, 0);
  const assembly = new Assembly();
  expect(largestBuffer(() => assembly.add({ subscription: 1, payload: first, offset: 0, total }))).toBeLessThanOrEqual(
    8 * MIB,
  );
});

test('a large record comes together from many chunks', () => {
  const large = encodeRecord(record(0, 20 * MIB));
  const assembly = new Assembly();
  let whole: Buffer | null = null;
  for (const piece of cut([large])) if (!piece.whole) whole = assembly.add({ subscription: 1, ...piece });
  expect(whole?.equals(large)).toBe(true);
});

test('what inflates to more than it says is stopped there', async () => {
  const bomb = deflateRawSync(Buffer.alloc(64 * MIB));
  await expect(inflate(bomb, 256 * 1024, 256 * 1024)).rejects.toMatchObject({ code: 'malformed' });
  await expect(inflate(bomb, 64 * MIB, 256 * 1024)).rejects.toMatchObject({ code: 'flood' });
  await expect(inflate(bomb, -1, 256 * 1024)).rejects.toMatchObject({ code: 'malformed' });
  await fc.assert(
    fc.asyncProperty(damage, async (changes) => {
      const bytes = Buffer.from('a payload that is worth deflating, a payload that is worth deflating');
      await inflate(damaged(deflateRawSync(bytes), changes), bytes.length, 256 * 1024).catch((error: unknown) =>
        expect(error).toBeInstanceOf(PeerError),
      );
    }),
    cases(300),
  );
});

test('parts of an item: no more than the limit, and none that costs more than it brings', () => {
  const part = (bytes: number, last = false): { name: string; data: Buffer; last: boolean } => ({
    name: '',
    data: Buffer.alloc(bytes),
    last,
  });
  expect(() => new Items(MIB).add(part(1))).toThrow(PeerError);
  expect(() => new Items(MIB).add(part(0))).toThrow(PeerError);
  const items = new Items(MIB);
  expect(items.add(part(CHUNK_BYTES))).toBeNull();
  expect(items.add(part(10, true))?.length).toBe(CHUNK_BYTES + 10);
  expect(items.add(part(0, true))?.length).toBe(0);
  const flood = (): void => {
    for (let i = 0; i < 3; i++) items.add(part(CHUNK_BYTES));
  };
  expect(flood).toThrow(/more than/);
});

const hello: Hello = {
  protocol: PROTOCOL,
  meshVersion: 1,
  stack: 'prod',
  region: 'us',
  instance: 'i',
  policies: '',
  slots: '',
};
const place = new Map([[origin, 12]]);
const beat = encodeBeat(
  {
    after: 10,
    beat: {
      region: 'eu',
      origin,
      position: 12,
      timeMs: 1,
      stamp: 2,
      reported: 12,
      seen: place,
      durable: place,
      paths: new Map([['eu', ['eu']]]),
    },
  },
  7,
);

test(
  'messages whose bytes were damaged are refused, or what they say is looked at',
  () => {
    const { Follow } = meshMethods();
    const downward: Downward[] = [
      { hello },
      { offer: { holdings: [{ origin, end: 9 }], routes: [{ region: 'eu', path: ['eu'] }] } },
      { beat },
      { frame: { subscription: 1, payload: chain[1]!, inflated: 0 } },
      { missing: { subscription: 1, firstStart: 5 } },
    ];
    fc.assert(
      fc.property(fc.nat(), damage, (which, changes) => {
        const bytes = damaged(Follow.responseSerialize(downward[which % downward.length]!), changes);
        let message: Downward;
        try {
          message = Follow.responseDeserialize(bytes);
        } catch {
          return; // gRPC ends the call with INTERNAL
        }
        try {
          if (message.hello) checkHello(hello, message.hello, 'eu');
          if (message.frame) split(message.frame.payload);
          if (message.beat) {
            const { after, beat: found } = decodeBeat(message.beat, origin);
            for (const number of [after, found.position, found.timeMs, found.stamp, ...found.seen.values()])
              expect(Number.isFinite(number)).toBe(true);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(PeerError);
        }
      }),
      cases(1500),
    );
    const upward: Upward = { subscribe: { id: 1, origin, from: 5 } };
    const bytes = Follow.requestSerialize(upward);
    expect(Follow.requestDeserialize(bytes)).toMatchObject(upward);
  },
  fuzzMs,
);

test.each<Partial<BeatMessage>>([
  { position: NaN },
  { position: -1 },
  { position: Infinity },
  { after: 13 },
  { timeMs: NaN },
  { stamp: Infinity },
  { origin: 'us:1' },
  { region: 'us' },
  { seen: [{ origin, position: NaN }] },
  { durable: [{ origin, position: Infinity }] },
])('a beat with %j is malformed', (over) => {
  expect(() => decodeBeat({ ...beat, ...over }, origin)).toThrow(PeerError);
});

test('a certificate names one region of the stack, or nobody comes in', () => {
  fc.assert(
    fc.property(damage, (changes) => {
      const subjectaltname = damaged(Buffer.from('DNS:eu.prod.meridian, DNS:localhost'), changes).toString('latin1');
      try {
        const region = regionOfCertificate({ subjectaltname }, 'prod');
        expect(subjectaltname.toLowerCase()).toContain(`DNS:${region}.prod.meridian`.toLowerCase());
      } catch (error) {
        expect(error).toBeInstanceOf(PeerError);
      }
    }),
    cases(1000),
  );
});
