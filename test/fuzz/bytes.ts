/**
 * Damage: what happens to bytes on their way, and what somebody might send on purpose. By default every run tries the same
 * cases; MERIDIAN_FUZZ=20 tries twenty times as many, from a fresh seed, which a failure prints.
 */
import * as fc from 'fast-check';

const factor = Number(process.env['MERIDIAN_FUZZ'] ?? 0);

/** Parameters of `fc.assert` for so many cases. */
export function cases(numRuns: number): { numRuns: number; seed?: number } {
  return factor > 0 ? { numRuns: Math.ceil(numRuns * factor) } : { numRuns, seed: 20_260_101 };
}

/** For a test's own limit of time. */
export const fuzzMs = 60_000 * Math.max(1, factor);

/** Numbers that parsers trip over, as text. */
const NUMBERS = [
  '-1',
  '0',
  '-0',
  '00000000000000000001',
  '2147483647',
  '2147483648',
  '4294967296',
  '9007199254740993',
  '9223372036854775807',
  '-9223372036854775808',
  '18446744073709551616',
  '99999999999999999999999999',
  '1e308',
  'NaN',
  'Infinity',
  '',
];

type Change =
  | { kind: 'cut'; at: number }
  | { kind: 'flip'; at: number; xor: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'drop'; at: number; length: number }
  | { kind: 'repeat'; at: number; length: number }
  | { kind: 'number'; at: number; text: string }
  | { kind: 'large'; at: number; width: number };

const at = fc.nat({ max: 2 ** 30 });
const length = fc.integer({ min: 1, max: 64 });
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), at }),
  fc.record({ kind: fc.constant('flip' as const), at, xor: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('insert' as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }) }),
  fc.record({ kind: fc.constant('drop' as const), at, length }),
  fc.record({ kind: fc.constant('repeat' as const), at, length }),
  fc.record({ kind: fc.constant('number' as const), at, text: fc.constantFrom(...NUMBERS) }),
  fc.record({ kind: fc.constant('large' as const), at, width: fc.constantFrom(1, 2, 4, 8) }),
);

/** Some changes to bytes. */
export const damage = fc.array(change, { minLength: 1, maxLength: 4 });

/** The bytes with the changes made to a copy of them. */
export function damaged(bytes: Buffer, changes: readonly Change[]): Buffer {
  let out: Buffer = Buffer.from(bytes);
  for (const step of changes) {
    const place = out.length === 0 ? 0 : step.at % out.length;
    switch (step.kind) {
      case 'cut':
        out = out.subarray(0, place);
        break;
      case 'flip':
        if (out.length > 0) out[place]! ^= step.xor;
        break;
      case 'insert':
        out = Buffer.concat([out.subarray(0, place), step.bytes, out.subarray(place)]);
        break;
      case 'drop':
        out = Buffer.concat([out.subarray(0, place), out.subarray(place + step.length)]);
        break;
      case 'repeat':
        out = Buffer.concat([out.subarray(0, place + step.length), out.subarray(place)]);
        break;
      case 'number':
        out = withNumber(out, place, step.text);
        break;
      case 'large':
        out.fill(0xff, place, Math.min(out.length, place + step.width));
        break;
    }
  }
  return out;
}

/** Puts another number in the place of the first one from `from` on. */
function withNumber(bytes: Buffer, from: number, text: string): Buffer {
  const isDigit = (i: number): boolean => bytes[i]! >= 48 && bytes[i]! <= 57;
  let start = from;
  while (start < bytes.length && !isDigit(start)) start++;
  let end = start;
  while (end < bytes.length && isDigit(end)) end++;
  return Buffer.concat([bytes.subarray(0, start), Buffer.from(text), bytes.subarray(end)]);
}

/** Where bytes are cut into chunks. */
export const cuts = fc.array(fc.nat({ max: 2 ** 30 }), { maxLength: 24 });

/** The chunks, each in memory of its own. */
export function chunksOf(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const to of [...ends, bytes.length]) {
    chunks.push(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  return chunks;
}

const REFUSED_BYTES = 256 * 1024 * 1024;

/** Runs something and tells the largest buffer that it asked for: what is announced must not be allocated. */
export function largestBuffer(run: () => void): number {
  let largest = 0;
  const names = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const;
  const spies = names.map((name) => {
    const original = Buffer[name].bind(Buffer) as (size: number) => Buffer;
    return jest.spyOn(Buffer, name).mockImplementation(((size: number): Buffer => {
      largest = Math.max(largest, size);
      if (size > REFUSED_BYTES) throw new RangeError(`a buffer of ${size} bytes`);
      return original(size);
    }) as never);
  });
  try {
    run();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return largest;
}
