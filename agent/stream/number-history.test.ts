import * as fc from 'fast-check';
import { encode } from '../../test/sim/redis';
import { findCommand } from '../merge/commands';
import { formatDecimal, ONE } from '../merge/decimal';
import { type OpRecord, type OriginId, RecordKind, type Vector } from '../record';
import { CommandScanner } from '../resp';
import { NumberHistory } from './number-history';
import { Numbers } from './numbers';

const OWN = 'b:1';

/** A region whose Redis holds numbers: what clients and blocks make of them, and what its journal has of that. */
class Region {
  readonly values = new Map<string, bigint>();
  readonly journal: OpRecord[] = [];
  private readonly ends = new Map<OriginId, number>();
  private readonly landed = new Map<OriginId, number>();
  private readonly waiting: { record: OpRecord; key: string; run: (before: bigint | undefined) => bigint | null }[] =
    [];
  private readonly seenBy = new Map<OriginId, Vector>();
  /** Operations on a key that are in Redis; `gives` it a value. */
  private readonly past: { key: string; origin: OriginId; position: number; gives: boolean; seen: Vector }[] = [];

  constructor() {
    this.journal.push({ ...this.record(OWN, new Map(), []), kind: RecordKind.birth });
    this.journal.shift();
  }

  private record(origin: OriginId, seen: Vector, argv: string[], added?: string): OpRecord {
    const payload = argv.length === 0 ? Buffer.alloc(0) : encode(argv);
    const start = this.ends.get(origin) ?? 0;
    const end = start + payload.length;
    this.ends.set(origin, end);
    const kind = added === undefined ? RecordKind.stream : RecordKind.told;
    const plain: OpRecord = { kind, origin, start, end, stamp: end, ops: 1, db: 0, seen, payload };
    const record = added === undefined ? plain : { ...plain, added: new Map([[0, added]]) };
    this.journal.push(record);
    return record;
  }

  own(key: string, argv: string[], value: bigint | null, added?: string): void {
    const { end, seen } = this.record(OWN, new Map(this.landed), argv, added);
    this.past.push({ key, origin: OWN, position: end, gives: added === undefined, seen });
    if (value === null) this.values.delete(key);
    else this.values.set(key, value);
  }

  /** @param lag how many of this region's operations it had not seen; of others' too, where it is not 0 */
  comes(
    origin: OriginId,
    lag: number,
    key: string,
    argv: string[],
    run: (before: bigint | undefined) => bigint | null,
  ): void {
    const mine = this.past.filter(({ origin: of }) => of === OWN);
    const seen = new Map(this.seenBy.get(origin) ?? (lag === 0 ? this.landed : []));
    if (lag === 0)
      this.landed.forEach((position, of) => of !== origin && seen.set(of, Math.max(position, seen.get(of) ?? -1)));
    const last = mine.at(-1 - lag);
    // Who has seen an operation has seen what that had seen.
    last?.seen.forEach((at, of) => of !== origin && seen.set(of, Math.max(at, seen.get(of) ?? -1)));
    seen.set(OWN, Math.max(last?.position ?? -1, seen.get(OWN) ?? -1));
    this.seenBy.set(origin, seen);
    this.waiting.push({ record: this.record(origin, seen, argv), key, run });
  }

  /** A block with all that has come. */
  land(): void {
    for (const { record, key, run } of this.waiting.splice(0)) {
      const { origin, end, seen } = record;
      const gives = !/^INCR/.test(record.payload.toString().split('\r\n')[2]!);
      const meets = this.past.some(
        (op) =>
          op.key === key && op.origin !== origin && (seen.get(op.origin) ?? -1) < op.position && (gives || op.gives),
      );
      const value = run(this.values.get(key));
      // Where they meet, the rule decides, now or by a correction: anything may be there.
      if (meets) this.values.set(key, 77_777n * ONE);
      else if (value === null) this.values.delete(key);
      else this.values.set(key, value);
      this.past.push({ key, origin, position: end, gives, seen });
      this.landed.set(origin, end);
    }
  }
}

const KEYS = ['k', 'n'];
const step = fc.record({
  key: fc.constantFrom(...KEYS),
  by: fc.integer({ min: -9, max: 9 }),
  kind: fc.constantFrom('own add', 'own add', 'own set', 'own del', 'add', 'add', 'incr', 'set', 'del', 'land', 'land'),
  origin: fc.constantFrom('a:1', 'c:1'),
  lag: fc.constantFrom(0, 0, 1, 2),
});

function told(steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[]): Region {
  const region = new Region();
  for (const { key, by, kind, origin, lag } of steps) {
    const before = region.values.get(key) ?? 0n;
    const units = (BigInt(by) * ONE) / 4n;
    if (kind === 'own add') {
      const text = formatDecimal(before + units);
      region.own(key, ['SET', key, text, 'KEEPTTL'], before + units, formatDecimal(units));
    } else if (kind === 'own set') region.own(key, ['SET', key, String(by)], BigInt(by) * ONE);
    else if (kind === 'own del') region.own(key, ['DEL', key], null);
    // As a difference has it: in a record of the stream it would be what INCRBYFLOAT made.
    else if (kind === 'add')
      region.comes(origin, lag, key, ['INCRBYFLOAT', key, formatDecimal(units)], (old) => (old ?? 0n) + units);
    else if (kind === 'incr')
      region.comes(origin, lag, key, ['INCRBY', key, String(by)], (old) => {
        const sum = (old ?? 0n) + BigInt(by) * ONE;
        return sum % ONE === 0n ? sum : (old ?? 0n);
      });
    else if (kind === 'set') region.comes(origin, lag, key, ['SET', key, String(by)], () => BigInt(by) * ONE);
    else if (kind === 'del') region.comes(origin, lag, key, ['DEL', key], () => null);
    else region.land();
  }
  region.land();
  region.own('last', ['SET', 'last', 'x'], null);
  return region;
}

/** What is told to be added where one is added to what is there. */
function added(numbers: Numbers, key: string, value: bigint): string | null {
  const scanner = new CommandScanner();
  scanner.push(encode(['SET', key, formatDecimal(value + ONE), 'KEEPTTL']));
  scanner.next();
  return numbers.addedBy(findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!)!, scanner, 0);
}

function known(region: Region, from = 0): Numbers {
  const history = new NumberHistory(OWN, () => new Numbers(false, 64));
  const records = region.journal.slice(from);
  for (const record of records) history.take(record);
  const last = region.journal.at(-1)!;
  return history.finish(last.end, last.seen)!;
}

const add = { kind: 'own add', by: 6, key: 'k', origin: 'a:1', lag: 0 } as const;

test('what clients and other regions add up is known where the journal ends', () => {
  expect(added(known(told([add])), 'k', (ONE * 6n) / 4n)).toBe('1');
  const steps = [
    add,
    { ...add, kind: 'add', lag: 1 },
    { ...add, kind: 'land' },
    { ...add, by: 2 },
    { ...add, kind: 'add', origin: 'c:1' },
  ] as const;
  expect(added(known(told(steps)), 'k', (ONE * 20n) / 4n)).toBe('1');
  // A value of another region that had seen all, and one that had not.
  expect(added(known(told([add, { ...add, kind: 'set' }])), 'k', 6n * ONE)).toBe('1');
  expect(added(known(told([add, add, { ...add, kind: 'set', lag: 1 }])), 'k', 6n * ONE)).toBeNull();
  // Nothing is known of what was before.
  expect(added(known(told([])), 'k', 0n)).toBeNull();
});

test('whatever comes first, and wherever the journal begins, nothing is told that is not so', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 14 }), fc.nat(6), (steps, from) => {
      const region = told(steps);
      const numbers = known(region, Math.min(from, region.journal.length - 1));
      for (const key of KEYS) {
        const value = region.values.get(key);
        expect([null, '1']).toContain(added(numbers, key, value ?? 0n));
      }
    }),
    { numRuns: 2000 },
  );
});

test('an end that the journal does not reach is not known', () => {
  const history = new NumberHistory(OWN, () => new Numbers(false, 64));
  expect(history.finish(10, new Map())).toBeNull();
});

test('what the journal has let go of may have met another region\u2019s value', () => {
  const record = (origin: OriginId, start: number, seen: Vector, argv: string[], kind: OpRecord['kind']): OpRecord => {
    const payload = argv.length === 0 ? Buffer.alloc(0) : encode(argv);
    return { kind, origin, start, end: start + payload.length, stamp: 1, ops: 1, db: 0, seen, payload };
  };
  const { birth, stream } = RecordKind;
  const valueBehind = (seenOfOwn: number): string | null => {
    const history = new NumberHistory(OWN, () => new Numbers(false, 64));
    history.take(record(OWN, 0, new Map(), [], birth));
    const other = record('a:1', 0, new Map([[OWN, seenOfOwn]]), ['SET', 'k', '6'], stream);
    history.take(other);
    // Of up to 100 nothing is here.
    const last = record(OWN, 100, new Map([['a:1', other.end]]), ['SET', 'other', 'v'], stream);
    history.take(last);
    return added(history.finish(last.end, last.seen)!, 'k', 6n * ONE);
  };
  expect(valueBehind(100)).toBe('1');
  expect(valueBehind(0)).toBeNull();
});

test('what others add to a last writer\u2019s key may count for nothing', () => {
  const region = told([
    { ...add, kind: 'own set' },
    { ...add, kind: 'add' },
    { ...add, kind: 'land' },
  ]);
  const afterAll = (isLastWriters: boolean): string | null => {
    const history = new NumberHistory(
      OWN,
      () => new Numbers(false, 64),
      () => isLastWriters,
    );
    for (const record of region.journal) history.take(record);
    const last = region.journal.at(-1)!;
    return added(history.finish(last.end, last.seen)!, 'k', region.values.get('k')!);
  };
  expect(afterAll(false)).toBe('1');
  expect(afterAll(true)).toBeNull();
});
