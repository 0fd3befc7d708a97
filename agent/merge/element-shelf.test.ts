import * as fc from 'fast-check';
import { aboutOf, type KeyEffect } from './effects';
import { type KeyState, NONE, Op, Type } from './key-state';
import { OriginTable, type Seen, seenAt } from './origins';
import { Insertion } from './insertion';
import { MemoryFile, type ShelfFiles } from './shelf';
import { StreamTrims } from './stream-trims';
import { Window, type ShelfOptions } from './window';

// Elements of large keys that not everybody has seen, beyond what memory may hold of them.

const BUDGET = 256 * 1024;
const files: ShelfFiles = {
  create: () => new MemoryFile(),
  failed: (error) => expect(error).toBeUndefined(),
};
const VALUE = Buffer.from('1');

type Part = KeyEffect & { key: string };
const put = (type: Type, ...names: string[]): Part => ({
  ...{ kind: 'put', key: 'k', type, names },
  values: names.map(() => VALUE),
});
const remove = (type: Type, ...names: string[]): Part => ({ kind: 'remove', key: 'k', type, names });
const add = (type: Type, name: string, by: number): Part => ({
  ...{ kind: 'increment', key: 'k', type, name },
  delta: type === Type.zset ? by : BigInt(by),
});
const del: Part = { kind: 'delete', key: 'k' };

/** A window, told of what regions do in any causal order. */
class Told {
  readonly origins = new OriginTable();
  readonly a = this.origins.index('a:1');
  readonly b = this.origins.index('b:1');
  readonly c = this.origins.index('c:1');
  readonly window: Window;
  readonly ends = [0, 0, 0];
  private readonly insertion: Insertion;
  private stamp = 0;

  constructor(shelf?: Partial<ShelfOptions>) {
    this.window = new Window(this.origins, undefined, shelf && { files, budgetBytes: BUDGET, ...shelf });
    this.insertion = new Insertion(this.origins, this.window, new StreamTrims());
    for (const origin of [this.a, this.b, this.c]) this.window.begin(origin, 0);
  }

  /** @param seen of other origins */
  tell(origin: number, effect: Part, seen: Seen = [], db = 0): Op {
    const op = new Op(origin, ++this.ends[origin]!, ++this.stamp, seen);
    const state = this.window.ensure(db, effect.key, op, aboutOf(effect));
    this.insertion.insert(state, effect, op);
    this.window.trim();
    return op;
  }

  /** All have seen so much. */
  stable(positions: Seen): void {
    positions.forEach((position, origin) => this.window.stabilise(origin, position));
    this.window.settleShelf();
  }

  get held(): KeyState {
    return this.window.find(0, 'k', undefined, 'none')!;
  }

  /** Elements in memory. */
  get inMemory(): number {
    return this.held.members?.size ?? 0;
  }

  /** What lives of an element: the operations that are not seen by all. */
  lives(state: KeyState | undefined, type: Type, name: string): string[] {
    const element = state?.findElement(type, name);
    const parts = [...(element?.puts ?? NONE), ...(element?.increments ?? NONE)];
    const unstable = parts.filter(({ op }) => op.position > seenAt(this.window.stable, op.origin));
    return unstable.map(({ op }) => `${op.origin}:${op.position}`).sort();
  }
}

/** Region a has written so many elements, of which c has not seen anything. */
function filled(type: Type, elements: number, options: Partial<ShelfOptions> = {}): Told {
  const told = new Told(options);
  for (let i = 1; i <= elements; i++) told.tell(told.a, put(type, `m${i}`));
  return told;
}

test.each([Type.set, Type.hash, Type.zset])(
  'a key of type %i that grows while a region is away keeps to the budget, and leaves when that has seen it',
  (type) => {
    const { window, a, ends, inMemory } = filled(type, 20_000);
    expect(window.load).toBeLessThan(BUDGET * 1.1);
    expect(inMemory).toBeLessThan(1000);
    expect(window.shelved.keys).toBeGreaterThan(19_000);
    expect(window.lowWater().get(a)).toBe(1);
    window.stabilise(a, ends[a]! - 1);
    window.settleShelf();
    expect(window.keys).toBe(1);
    window.stabilise(a, ends[a]!);
    window.settleShelf();
    expect([window.keys, window.operations, window.shelved.bytes]).toEqual([0, 0, 0]);
  },
);

test('what is about elements meets those on the shelf, and nothing else comes back', () => {
  const told = filled(Type.set, 20_000);
  const before = told.inMemory;
  told.tell(told.c, put(Type.set, 'm100'));
  told.tell(told.c, remove(Type.set, 'm200', 'new'), [150]);
  told.tell(told.c, remove(Type.set, 'm300'), [300]);
  expect(told.inMemory).toBe(before + 4);
  const { held } = told;
  expect(told.lives(held, Type.set, 'm100')).toEqual(['0:100', '2:1']);
  expect(told.lives(held, Type.set, 'm200')).toEqual(['0:200']);
  expect(told.lives(held, Type.set, 'm300')).toEqual([]);
  // Who has seen all needs none of it.
  told.tell(told.b, put(Type.set, 'm400'), [20_000, -1, 3]);
  expect(told.lives(told.held, Type.set, 'm400')).toEqual(['1:1']);
  // And what b wrote over it stands when the one comes that has not.
  told.tell(told.c, put(Type.set, 'm400'));
  expect(told.lives(told.held, Type.set, 'm400')).toEqual(['1:1', '2:4']);
});

test('increments that went to the shelf at different times add up once', () => {
  const told = new Told({ largeBytes: 0 });
  const counter = add(Type.hash, 'n', 1);
  for (let i = 0; i < 5000; i++) {
    told.tell(told.a, i % 10 === 0 ? counter : put(Type.hash, `f${i}`));
    // Each time it comes back with what is there.
    if (i % 1000 === 999) told.tell(told.c, counter);
  }
  told.tell(told.c, counter);
  const { increments } = told.held.findElement(Type.hash, 'n')!;
  expect(increments.reduce((sum, { delta }) => sum + (delta as bigint), 0n)).toBe(506n);
});

test.each(['delete', 'expire', 'set', 'string', 'other type', 'flush', 'swap'])(
  'of a key on the shelf %s leaves what it had not seen',
  (kind) => {
    const told = filled(Type.set, 5000);
    const { window, c } = told;
    const seen = [2000];
    if (kind === 'delete') told.tell(c, del, seen);
    else if (kind === 'expire') told.tell(c, { kind: 'expire', key: 'k' }, seen);
    else if (kind === 'set')
      told.tell(c, { kind: 'set', key: 'k', value: VALUE, keepTtl: false, expireAt: null }, seen);
    else if (kind === 'string') told.tell(c, add(Type.string, '', 1), seen);
    else if (kind === 'other type') told.tell(c, put(Type.hash, 'f'), seen);
    else if (kind === 'swap') {
      window.swap(0, 1);
      told.tell(c, del, seen, 1);
    } else {
      const op = new Op(c, 1, 1e6, seen);
      if (!window.isSeenBy(op)) window.fetchAll();
      for (const state of window.states()) {
        state.delete(op);
        window.note(state, op, null);
      }
    }
    const state = window.find(kind === 'swap' ? 1 : 0, 'k')!;
    const lives = (i: number): boolean => told.lives(state, Type.set, `m${i}`).length > 0;
    expect([1, 2000, 2001, 5000].map(lives)).toEqual([false, false, true, true]);
  },
);

test('a key that was removed by who had seen all of it stays so, whatever comes of its elements', () => {
  const told = filled(Type.set, 5000);
  told.tell(told.b, del, [5000]);
  told.tell(told.c, put(Type.set, 'm1'));
  told.tell(told.c, remove(Type.set, 'm2'));
  const state = told.window.find(0, 'k')!;
  expect([...state.elements()].flatMap(({ type, name }) => told.lives(state, type, name))).toEqual(['2:1']);
  expect(told.window.find(0, 'k')!.members!.size).toBeLessThan(1000);
});

test('a key that went as a whole and grew since goes by its elements, and is all there', () => {
  const told = new Told({});
  for (let i = 1; i <= 10; i++) told.tell(told.a, put(Type.set, `m${i}`));
  for (let i = 0; i < 3000; i++) told.tell(told.a, { ...put(Type.set, 'x'), key: `other${i}` });
  expect([...told.window.states()].some(({ key }) => key === 'k')).toBe(false);
  for (let i = 11; i <= 5000; i++) told.tell(told.a, put(Type.set, `m${i}`), []);
  expect(told.inMemory).toBeLessThan(1000);
  expect(told.window.load).toBeLessThan(BUDGET * 1.1);
  told.tell(told.c, put(Type.set, 'm5'));
  expect(told.lives(told.held, Type.set, 'm5')).toEqual(['0:5', '2:1']);
  const state = told.window.find(0, 'k')!;
  for (let i = 6; i <= 5000; i++) expect(told.lives(state, Type.set, `m${i}`)).toHaveLength(1);
});

test('what elements were when they were on the shelf before does not count when they are there again', () => {
  const told = new Told({ budgetBytes: 0, largeBytes: 1500 });
  const { a, b } = told;
  told.tell(a, put(Type.set, 'q', 'p'));
  told.tell(a, put(Type.set, 'p'));
  told.tell(b, put(Type.set, 'p', 'p'));
  // With it the set is gone; as a whole the key goes to the shelf.
  told.tell(a, put(Type.zset, 'p'));
  told.tell(a, put(Type.set, 'p', 'p'), [-1, 1]);
  told.tell(a, put(Type.set, 'p'), [-1, 1]);
  told.tell(b, put(Type.set, 'p', 'p'));
  const state = told.window.find(0, 'k')!;
  expect(['p', 'q'].map((name) => told.lives(state, Type.set, name))).toEqual([['0:5', '1:2'], []]);
});

test('a time to live, and what it is about, is known beside elements on the shelf', () => {
  const told = filled(Type.hash, 5000);
  const before = told.inMemory;
  told.tell(told.c, { kind: 'ttl', key: 'k', expireAt: 1e15 });
  told.tell(told.c, { kind: 'field-ttl', key: 'k', type: Type.hash, names: ['m3'], expireAt: 1e15 }, [3]);
  expect(told.inMemory).toBe(before + 1);
  expect(told.held.ttls).toHaveLength(1);
  expect(told.held.findElement(Type.hash, 'm3')).toMatchObject({ baseDead: true, ttls: [{ at: 1e15 }] });
});

describe('whatever happens to a key, and goes when', () => {
  const names = ['p', 'q', 'r'];
  const name = fc.constantFrom(...names);
  const type = fc.constantFrom<Type>(Type.set, Type.hash, Type.zset);
  const step = fc.record({
    origin: fc.nat(2),
    // How much of what the others have done so far.
    seen: fc.tuple(fc.nat(100), fc.nat(100)),
    what: fc.oneof(
      { weight: 6, arbitrary: name.map((n) => (t: Type) => put(t, n)) },
      { weight: 3, arbitrary: name.map((n) => (t: Type) => remove(t, n)) },
      { weight: 3, arbitrary: name.map((n) => (t: Type) => (t === Type.set ? put(t, n, 'p') : add(t, n, 1))) },
      { weight: 1, arbitrary: fc.constant(() => del) },
      { weight: 1, arbitrary: name.map((n) => () => put(Type.zset, n)) },
      { weight: 1, arbitrary: fc.constant((): Part => ({ kind: 'ttl', key: 'k', expireAt: 1e15 })) },
    ),
    trims: fc.boolean(),
    reports: fc.option(fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100)), { freq: 6 }),
  });

  test.each([{ largeBytes: 0 }, { largeBytes: 1500 }, { largeBytes: 0, operations: 1 }])(
    'it comes back as it would be in memory: %j',
    (options) => {
      fc.assert(
        fc.property(type, fc.array(step, { minLength: 5, maxLength: 60 }), (kind, steps) => {
          const [kept, shelved] = [new Told(), new Told({ budgetBytes: 0, ...options })];
          // Causal: what an origin has seen only grows, and holds what that had seen; so has each report.
          const known = [0, 1, 2].map(() => [0, 0, 0]);
          const history: number[][][] = [[], [], []];
          const reported = [0, 0, 0];
          for (const { origin, seen, what, trims, reports } of steps) {
            const others = [0, 1, 2].filter((other) => other !== origin);
            const own = known[origin]!;
            for (const [i, other] of others.entries()) {
              const to = Math.max(own[other]!, Math.floor((kept.ends[other]! * seen[i]!) / 100));
              for (const past of history[other]!.slice(0, to)) past.forEach((p, o) => (own[o] = Math.max(own[o]!, p)));
              own[other] = Math.max(own[other]!, to);
            }
            own[origin] = kept.ends[origin]! + 1;
            history[origin]!.push(own.slice());
            for (const told of [kept, shelved]) told.tell(origin, what(kind), own.slice());
            if (trims) shelved.window.trim();
            if (reports === null) continue;
            // What all have seen is what the one has that knows least of it.
            for (const o of [0, 1, 2])
              reported[o] = Math.max(
                reported[o]!,
                Math.floor((Math.min(...known.map((k) => k[o]!)) * reports[o]!) / 100),
              );
            for (const o of [0, 1, 2])
              for (const past of history[o]!.slice(0, reported[o]))
                past.forEach((p, other) => (reported[other] = Math.max(reported[other]!, p)));
            for (const told of [kept, shelved]) told.stable(reported);
          }
          const states = [kept, shelved].map(({ window }) => window.find(0, 'k'));
          for (const t of [Type.set, Type.hash, Type.zset])
            for (const n of names) {
              const [one, other] = [kept.lives(states[0], t, n), shelved.lives(states[1], t, n)];
              expect(other).toEqual(one);
            }
          const ended = kept.ends;
          for (const told of [kept, shelved]) {
            told.stable(ended);
            expect([told.window.operations, told.window.keys, told.window.shelved.bytes]).toEqual([0, 0, 0]);
          }
        }),
        { numRuns: 200 },
      );
    },
  );
});
