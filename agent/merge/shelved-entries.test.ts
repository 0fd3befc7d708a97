import * as fc from 'fast-check';
import { type KeyState, Op, Type } from './key-state';
import { OriginTable } from './origins';
import { MemoryFile, type ShelfFiles } from './shelf';
import { type EntriesPart, ShelvedEntries } from './shelved-entries';
import { putEntry, removeEntry, standingAt, type StreamEntry, trimEntries } from './stream-entries';
import { compareIds, hashOf, movedId } from './stream-id';
import { Window } from './window';

// Entries of streams that not everybody has seen, beyond what memory may hold of them.

const BUDGET = 256 * 1024;
const files: ShelfFiles = {
  create: () => new MemoryFile(),
  failed: (error) => expect(error).toBeUndefined(),
};
const VALUE = Buffer.from(`$1\r\nf\r\n$100\r\n${'x'.repeat(100)}\r\n`);

/** Region a, which adds; b has not seen anything of it. */
class Adding {
  readonly origins = new OriginTable();
  readonly a = this.origins.index('a:1');
  readonly b = this.origins.index('b:1');
  readonly window = new Window(this.origins, undefined, { files, budgetBytes: BUDGET });
  position = 0;

  add(id: string): void {
    const op = new Op(this.a, ++this.position, this.position, []);
    const state = this.window.ensure(0, 's', op, { type: Type.stream, names: [id] });
    putEntry(state, op, id, VALUE, this.origins, []);
    this.window.note(state, op, state.findElement(Type.stream, id)!);
    this.window.trim();
  }

  /** What b does, having seen so much of a. */
  byB(seen: number, ids: readonly string[] | undefined, apply: (state: KeyState, op: Op) => void): KeyState {
    const op = new Op(this.b, ++this.position, this.position, [seen]);
    const state = this.window.ensure(0, 's', op, ids && { type: Type.stream, names: ids });
    apply(state, op);
    return state;
  }

  /** Entries in memory. */
  get held(): number {
    return [...this.window.find(0, 's', undefined, 'none')!.elements()].filter((entry) => entry.live).length - 1;
  }
}

function adding(entries: number): Adding {
  const stream = new Adding();
  for (let i = 1; i <= entries; i++) stream.add(`${i}-0`);
  return stream;
}

test('a stream to which is added while a region is away keeps to the budget, and leaves when that has seen it', () => {
  const { window, a, position, held } = adding(20_000);
  expect(window.load).toBeLessThan(BUDGET * 1.1);
  expect(held).toBeLessThan(1000);
  expect(window.shelved.keys).toBeGreaterThan(19_000 / 256);
  expect(window.lowWater().get(a)).toBe(1);
  window.stabilise(a, position - 1);
  window.settleShelf();
  expect(window.keys).toBe(1);
  window.stabilise(a, position);
  window.settleShelf();
  expect([window.keys, window.operations, window.shelved.bytes]).toEqual([0, 0, 0]);
});

test('another region’s entry meets the one on the shelf that has its ID, and little else comes back', () => {
  const stream = adding(20_000);
  const before = stream.held;
  const { origins } = stream;
  // Between those that are there, and below all.
  for (const id of ['100-5', '0-9']) stream.byB(0, [id], (state, op) => putEntry(state, op, id, VALUE, origins, []));
  expect(stream.held).toBe(before + 2);
  const other = Buffer.from('$1\r\nf\r\n$1\r\nb\r\n');
  const state = stream.byB(0, ['100-0'], (state, op) => putEntry(state, op, '100-0', other, origins, []));
  const at = (id: string): Buffer | null => standingAt(state.findElement(Type.stream, id) as StreamEntry, origins);
  expect(at('100-0')).toEqual(other);
  expect(at(movedId('a', 100, '100-0'))).toEqual(VALUE);
  expect(stream.held).toBeLessThan(before + 300);
});

test('what removes entries of a stream leaves those on the shelf that it had not seen', () => {
  for (const kind of ['remove', 'trim', 'delete']) {
    const stream = adding(5000);
    const { origins, window } = stream;
    const ids = kind === 'remove' ? ['40-0', '60-0'] : undefined;
    stream.byB(50, ids, (state, op) => {
      if (kind === 'remove') for (const id of ids!) removeEntry(state, op, id, origins, []);
      else if (kind === 'trim') trimEntries(state, op, '60-1', [], origins);
      else state.delete(op);
    });
    const state = window.find(0, 's')!;
    const entry = (id: string): StreamEntry => state.findElement(Type.stream, id) as StreamEntry;
    const stands = (id: string): boolean => standingAt(entry(id), origins) !== null;
    expect([kind, ...['40-0', '50-0', '51-0', '60-0', '5000-0'].map(stands)]).toEqual(
      kind === 'remove' ? [kind, false, true, true, true, true] : [kind, false, false, true, true, true],
    );
  }
});

test('parts are found by their IDs, however their ranges overlap', () => {
  const id = fc.integer({ min: 1, max: 60 });
  fc.assert(
    fc.property(fc.array(fc.tuple(id, id), { maxLength: 12 }), id, fc.nat(12), (ranges, at, taken) => {
      const shelved = new ShelvedEntries();
      const parts = ranges.map(([a, b], number): EntriesPart => {
        // Each other ID in its range.
        const [first, last] = [Math.min(a, b), Math.max(a, b)];
        const hashes = Uint32Array.from({ length: ((last - first) >> 1) + 1 }, (_, i) => hashOf(`${first + 2 * i}-0`));
        return { number, low: `${first}-0`, high: `${last}-0`, hashes, tops: [] };
      });
      for (const part of parts) shelved.add(part);
      expect(shelved.take(({ number }) => number === taken)).toEqual(parts.filter(({ number }) => number === taken));
      const left = parts.filter(({ number }) => number !== taken);
      const has = ({ low, high }: EntriesPart): boolean =>
        compareIds(low, `${at}-0`) <= 0 && compareIds(high, `${at}-0`) >= 0 && (at - parseInt(low)) % 2 === 0;
      const byNumber = (a: EntriesPart, b: EntriesPart): number => a.number - b.number;
      expect(shelved.around(`${at}-0`).sort(byNumber)).toEqual(left.filter(has));
      const above = left.filter(({ high }) => compareIds(high, `${at}-0`) > 0);
      expect(shelved.above(`${at}-0`)).toBe(above.reduce((sum, { hashes }) => sum + hashes.length, 0));
      expect(shelved.isEmpty).toBe(left.length === 0);
    }),
  );
});
