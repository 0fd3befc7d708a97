import { randomBytes } from 'crypto';
import fc from 'fast-check';
import { encodeRecord, RecordKind } from '../record';
import { Backoff } from './backoff';
import { BeatQueue, type Beat } from './beat';
import { fromDetails, PeerError, toDetails } from './error';
import { Assembly, CHUNK_BYTES, cut, Deflater, FRAME_BYTES, inflate, split } from './frame';
import { certificateName, checkHello, regionOfCertificate } from './hello';

function record(bytes: number): Buffer {
  const payload = randomBytes(bytes);
  return encodeRecord({
    kind: RecordKind.stream,
    origin: 'a:1',
    start: 0,
    end: bytes,
    stamp: 1,
    ops: 1,
    db: 0,
    seen: new Map(),
    payload,
  });
}

describe('frames', () => {
  test('what is cut comes together again, in order, within its limits', () => {
    const size = fc.oneof(
      fc.nat(300),
      fc.integer({ min: 200_000, max: 300_000 }),
      fc.integer({ min: 0, max: 2_000_000 }),
    );
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 12 }), (sizes) => {
        const records = sizes.map(record);
        const assembly = new Assembly();
        const out: Buffer[] = [];
        for (const piece of cut(records)) {
          expect(piece.payload.length).toBeLessThanOrEqual(piece.whole ? FRAME_BYTES : CHUNK_BYTES);
          if (piece.whole) {
            expect(assembly.open).toBe(false);
            out.push(...split(piece.payload));
          } else {
            const whole = assembly.add({ ...piece, subscription: 1 });
            if (whole) out.push(whole);
          }
        }
        expect(Buffer.concat(out).equals(Buffer.concat(records))).toBe(true);
        expect(out.length).toBe(records.length);
      }),
      { numRuns: 30 },
    );
  });

  test('no bytes make split do anything but answer or refuse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          expect(Buffer.concat(split(Buffer.from(bytes))).equals(Buffer.from(bytes))).toBe(true);
        } catch (error) {
          expect((error as PeerError).code).toBe('malformed');
        }
      }),
    );
  });

  test('deflating: only where it pays, and back', async () => {
    const text = Buffer.alloc(100_000, 'text ');
    expect(new Deflater('none', () => 100).wants(100_000)).toBe(false);
    expect(new Deflater('auto', () => 1).wants(100_000)).toBe(false);
    expect(new Deflater('auto', () => 50).wants(100_000)).toBe(true);
    const deflater = new Deflater('deflate', () => 1);
    expect(deflater.wants(100)).toBe(false);
    expect(deflater.wants(2000)).toBe(true);
    const deflated = await deflater.deflate(text);
    expect(deflated.payload.length).toBeLessThan(2000);
    expect((await inflate(deflated.payload, deflated.inflated, FRAME_BYTES)).equals(text)).toBe(true);
    await expect(inflate(deflated.payload, 99_999, FRAME_BYTES)).rejects.toMatchObject({ code: 'malformed' });
    await expect(inflate(deflated.payload, 100_001, FRAME_BYTES)).rejects.toMatchObject({ code: 'malformed' });
    await expect(inflate(deflated.payload, FRAME_BYTES + 1, FRAME_BYTES)).rejects.toMatchObject({ code: 'flood' });
    expect(await deflater.deflate(randomBytes(5000))).toMatchObject({ inflated: 0 });
    expect(deflater.wants(5000)).toBe(false);
  });
});

test('waiting beats are thinned, never starved', () => {
  const queue = new BeatQueue();
  const beat = (position: number): Beat => ({
    region: 'a',
    origin: 'a:1',
    position,
    timeMs: position,
    stamp: position,
    reported: position,
    seen: new Map(),
    durable: new Map(),
    paths: new Map(),
  });
  for (let i = 1; i <= 10_000; i++) queue.push({ beat: beat(i), after: i });
  expect(queue.take(0)).toBeUndefined();
  const taken = [];
  for (let sent = 500; sent <= 10_000; sent += 500) taken.push(queue.take(sent)?.beat.position ?? 0);
  expect(taken.filter((position) => position > 0).length).toBeGreaterThan(3);
  expect(taken.at(-1)).toBe(10_000);
});

test('waits grow to a ceiling, half of each random; what lasts is tried rarely from the start', () => {
  const backoff = new Backoff(100, 5000, () => 0);
  expect(Array.from({ length: 8 }, () => backoff.next())).toEqual([50, 100, 200, 400, 800, 1600, 2500, 2500]);
  backoff.reset();
  expect(backoff.next()).toBe(50);
  expect(new Backoff(100, 5000, () => 0.999).next(true)).toBeCloseTo(4997.5);
});

describe('who a peer is', () => {
  const names = (...all: string[]): { subjectaltname: string } => ({ subjectaltname: all.join(', ') });

  test('by its certificate', () => {
    const good = names('DNS:eu.live.meridian', 'DNS:localhost', 'IP Address:127.0.0.1');
    expect(regionOfCertificate(good, 'live')).toBe('eu');
    expect(certificateName('EU', 'live')).toBe('eu.live.meridian');
    for (const bad of [
      names('DNS:localhost'),
      names('DNS:eu.test.meridian'),
      names('DNS:eu.live.meridian', 'DNS:us.live.meridian'),
      names('DNS:.live.meridian'),
      names('IP Address:127.0.0.1'),
      {},
    ])
      expect(() => regionOfCertificate(bad as { subjectaltname: string }, 'live')).toThrow(PeerError);
  });

  test('by its Hello', () => {
    const ours = { protocol: 1, meshVersion: 3, stack: 'live', region: 'eu', instance: 'x', policies: '', slots: '' };
    const theirs = { ...ours, region: 'us', instance: 'y', policies: '', slots: '' };
    expect(() => checkHello(ours, theirs, 'us')).not.toThrow();
    for (const change of [{ protocol: 2 }, { meshVersion: 4 }, { stack: 'test' }, { region: 'ap' }, { slots: '0-99' }])
      expect(() => checkHello(ours, { ...theirs, ...change }, 'us')).toThrow(PeerError);
    expect(() => checkHello(ours, ours, 'eu')).toThrow(/own region/);
    expect(() => checkHello({ ...ours, slots: '0-98' }, { ...theirs, slots: '0-99' }, 'us')).toThrow(
      /peer serves the slots 0-99, this agent the slots 0-98/,
    );
  });
});

test('an error passes through a status and back', () => {
  const error = new PeerError('gap', 'a:1 does not go on\nat 5');
  expect(fromDetails(toDetails(error))).toEqual(error);
  expect(fromDetails('[nonsense] x')).toBeNull();
  expect(fromDetails('Connection dropped')).toBeNull();
});
