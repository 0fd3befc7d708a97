import * as fc from 'fast-check';
import { MemoryFile, Reach, Shelf, ShelfBatch, type ShelfFiles } from './shelf';

/** Three words: few first ones, so that keys share them, and of some the second one. */
const fingerprintOf = (key: number): number[] => [
  ((key % 5) * 0x3333_3333) | 0,
  ((key >> 1) * 0x0ccc_cccc) | 0,
  key * 7,
];

function entryOf(batch: ShelfBatch, key: number, reach: number, body: Buffer): void {
  batch.begin(fingerprintOf(key));
  batch.byte(reach);
  batch.raw(body);
  batch.end();
}

/** Without what does not count: what is older than all that is known, and SETs that are dead by newer ones. */
function counting(entries: readonly Buffer[]): string[] {
  const kept: Buffer[] = [];
  for (const entry of entries) {
    if (kept.some((newer) => newer[0] === Reach.whole || newer[0] === Reach.wholeElement)) break;
    if (entry[0] === Reach.sets && kept.some((newer) => newer[0] === Reach.sets)) continue;
    kept.push(entry);
  }
  return kept.map((entry) => entry.toString('hex'));
}

const entry = fc.record({ key: fc.nat(30), reach: fc.constantFrom(...Object.values(Reach)), size: fc.nat(3000) });

test('what is found of a key is what was put there of it, newest first, however often runs were joined', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(entry, { maxLength: 12 }), { minLength: 1, maxLength: 90 }),
      fc.constantFrom(0, 1000, 1e6),
      fc.nat(20),
      (batches, filterBytes, failing) => {
        let files = 0;
        const failures: unknown[] = [];
        // Of a disk that now and then takes nothing, what is new stays in memory.
        const disk: ShelfFiles = {
          create: () => {
            if (++files % (failing + 2) === 0) throw new Error('no space');
            return new MemoryFile();
          },
          failed: (error) => void failures.push(error),
        };
        const shelf = new Shelf(disk, filterBytes);
        const known = new Map<number, Buffer[]>();
        let n = 0;
        for (const entries of batches) {
          const batch = new ShelfBatch();
          for (const { key, reach, size } of entries) {
            const body = Buffer.alloc(size + 5, key);
            body.writeUInt32LE(++n);
            entryOf(batch, key, reach, body);
            batch.about(0, n);
            known.set(key, [Buffer.concat([Buffer.of(reach), body]), ...(known.get(key) ?? [])]);
          }
          shelf.add(batch);
        }
        for (let key = 0; key <= 31; key++)
          expect(counting(shelf.find(fingerprintOf(key)))).toEqual(counting(known.get(key) ?? []));
        for (let first = 0; first < 5; first++) {
          const keys = Array.from({ length: 31 }, (_, key) => key).filter((key) => key % 5 === first);
          const together: Buffer[] = [];
          shelf.eachWith(fingerprintOf(first)[0]!, (bytes) => void together.push(Buffer.from(bytes)));
          for (const key of keys) {
            // By what it begins with, behind its reach.
            const own = together.filter((bytes) => bytes[bytes.length - 1] === key);
            expect(counting(own)).toEqual(counting(known.get(key) ?? []));
          }
        }
        const all = new Set([...shelf.all()].map((bytes) => bytes.toString('hex')));
        for (const entries of known.values()) for (const hex of counting(entries)) expect(all.has(hex)).toBe(true);
        expect(shelf.isSeenBy(1, [n])).toBe(true);
        expect(shelf.isSeenBy(1, [n - 1])).toBe(n === 0);
        shelf.drop([n]);
        expect([shelf.isEmpty, shelf.bytes, shelf.entries]).toEqual([true, 0, 0]);
      },
    ),
    { numRuns: 60 },
  );
});

test('many runs become few, and a key that is not there costs no read', () => {
  const shelf = new Shelf({ create: () => new MemoryFile(), failed: (error) => expect(error).toBeUndefined() }, 1e6);
  const words = (i: number): number[] => [Math.imul(i, 0x9e3779b1), Math.imul(i, 0x85ebca6b), Math.imul(i, 0xc2b2ae35)];
  for (let run = 0, i = 0; run < 200; run++) {
    const batch = new ShelfBatch();
    for (let j = 0; j < 100; j++) {
      batch.begin(words(i++));
      batch.byte(Reach.whole);
      batch.end();
    }
    batch.about(0, run);
    batch.about(1, run);
    shelf.add(batch);
  }
  expect(shelf.entries).toBe(20_000);
  let found = 0;
  for (let i = 0; i < 20_000; i++) found += shelf.find(words(i)).length;
  expect(found).toBe(20_000);
  const { reads } = shelf;
  for (let i = 20_000; i < 40_000; i++) expect(shelf.find(words(i))).toEqual([]);
  // With 200 runs and no filter it would be 200 each.
  expect(shelf.reads - reads).toBeLessThan(20_000);
  const lows: number[] = [];
  shelf.eachLow((origin, position) => (lows[origin] = Math.min(position, lows[origin] ?? Infinity)));
  expect(lows).toEqual([0, 0]);
});
