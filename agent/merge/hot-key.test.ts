import { type Element, KeyState, Op, Type } from './key-state';
import type { Kept } from './kept-bytes';
import { StateOp } from './op';
import { OriginTable } from './origins';
import { resolve } from './resolve';
import { MemoryFile, type ShelfFiles } from './shelf';
import { Window, type ShelfOptions } from './window';

// A key that is never at rest: some operation on it is always one that not all have seen.

/** So many operations not all have seen. */
const LAG = 250;
const files: ShelfFiles = {
  create: () => new MemoryFile(),
  failed: (error) => expect(error).toBeUndefined(),
};

class Stream {
  private readonly origins = new OriginTable();
  private readonly origin = this.origins.index('a:1');
  readonly window: Window;
  private position = 0;

  constructor(shelf?: ShelfOptions) {
    this.window = new Window(this.origins, undefined, shelf);
    this.window.begin(this.origin, 0);
  }

  private op(): Op {
    return new Op(this.origin, ++this.position, this.position, []);
  }

  /** An element that was not there. */
  add(key: string): void {
    this.change(key, (state, op) => state.put(op, Type.hash, `f${op.position}`, Buffer.from('v')));
    this.window.trim();
  }

  /** Something done to a key, or to an element of it. */
  change(key: string, apply: (state: KeyState, op: Op) => Element | null): void {
    const op = this.op();
    const state = this.window.ensure(0, key, op);
    this.window.note(state, op, apply(state, op));
  }

  state(key: string): KeyState {
    return this.window.find(0, key)!;
  }

  seen(): void {
    this.window.stabilise(this.origin, this.position - LAG);
    this.window.settleShelf();
  }

  /** How far back the journal is needed. */
  get needed(): number {
    return this.position - (this.window.lowWater().get(this.origin) ?? this.position);
  }
}

test('once all have seen what went to disk, it needs no more of the journal than before', () => {
  const stream = new Stream({ files, budgetBytes: 1_000_000, operations: 500 });
  // Among others, that go to disk as wholes.
  const write = (i: number): void => stream.add(i % 100 === 0 ? 'hot' : `key${i}`);
  for (let i = 0; i < 1000; i++) {
    write(i);
    stream.seen();
  }
  expect(stream.needed).toBeLessThanOrEqual(LAG);
  // A region is away.
  for (let i = 0; i < 3000; i++) write(i);
  expect(stream.window.shelved.bytes).toBeGreaterThan(0);
  for (let i = 0; i < 1000; i++) {
    write(i);
    stream.seen();
  }
  expect(stream.window.shelved.bytes).toBe(0);
  expect(stream.needed).toBeLessThanOrEqual(LAG);
});

const expire = (state: KeyState, op: Op): Element => {
  state.setTtl(op, 1e15, true);
  return state.ofTtl;
};
const set = (state: KeyState, op: Op): null => {
  state.wipe(op);
  state.put(op, Type.string, '', Buffer.from('0'));
  return null;
};
const incr = (state: KeyState, op: Op): Element => state.increment(op, Type.string, '', 1n);

test('given a time to live with each write, it forgets what all have seen', () => {
  const stream = new Stream();
  for (let i = 0; i < 2000; i++) {
    stream.add('hot');
    stream.change('hot', expire);
    stream.seen();
  }
  expect(stream.needed).toBeLessThanOrEqual(LAG);
  expect([...stream.state('hot').elements()].length).toBeLessThanOrEqual(LAG);
});

test('deleted now and then, it forgets what all had seen meanwhile', () => {
  const stream = new Stream();
  for (let i = 0; i < 2000; i++) {
    stream.add('hot');
    if (i % 100 === 0 && i % 1000 < 500)
      stream.change('hot', (state, op) => {
        state.delete(op);
        return null;
      });
    stream.seen();
  }
  expect(stream.needed).toBeLessThanOrEqual(LAG);
});

test.each<[string, readonly ((state: KeyState, op: Op) => Element | null)[], (state: KeyState, op: Op) => Element]>([
  ['a counter that was set', [set], incr],
  ['a counter with a time to live', [set, expire], incr],
  ['a score', [], (state, op) => state.increment(op, Type.zset, 'm', 2)],
  [
    'a score that was given',
    [(state, op) => state.put(op, Type.zset, 'm', Buffer.from('5'))],
    (state, op) => state.increment(op, Type.zset, 'm', 2),
  ],
  [
    'a hash with a time to live',
    [expire],
    (state, op) => state.put(op, Type.hash, `f${op.position}`, Buffer.from('v')),
  ],
  ['a value whose time to live is renewed', [set], expire],
])('of %s what all have seen is base', (_, before, often) => {
  const stream = new Stream();
  for (const change of before) stream.change('hot', change);
  for (let i = 0; i < 2000; i++) {
    stream.change('hot', (state, op) => {
      const element = often(state, op);
      element.compact(stream.window.stable);
      return element;
    });
    stream.seen();
  }
  const state = stream.state('hot');
  expect(stream.needed).toBeLessThan(LAG * 3);
  for (const { puts, increments } of state.elements()) expect(puts.length + increments.length).toBeLessThan(LAG * 3);
});

const kept = { bytes: Buffer.from('x'), commands: 1, heldBytes: 1 } as Kept;
const push = (state: KeyState, op: Op, stable: readonly number[]): null => {
  const part = { run: kept, isLossy: true, isPut: false, moves: null, id: null };
  state.opaque(op, part, stable);
  return null;
};

test.each<[string, (state: KeyState, op: Op) => void, number]>([
  ['that a state has settled', (state, op) => state.settle(new StateOp(op.origin, op.position, op.stamp, []), kept), 1],
  ['that was deleted', (state, op) => state.delete(op), 1],
  ['that is deleted now and then', (state, op) => state.delete(op), 500],
  ['whose time to live is renewed', (state, op) => state.setTtl(op, 1e15, true), 2000],
])('of a list %s, and is never at rest, what all have seen is base', (_, change, times) => {
  const stream = new Stream();
  for (let i = 0; i < 4000; i++) {
    if (i % Math.ceil(2000 / times) === 0 && i < 2000)
      stream.change('hot', (state, op) => {
        change(state, op);
        return null;
      });
    stream.change('hot', (state, op) => push(state, op, stream.window.stable));
    stream.seen();
    if (i % 100 === 0) expect(stream.needed).toBeLessThanOrEqual(2600);
  }
  expect(stream.needed).toBeLessThan(LAG * 4);
  const state = stream.state('hot');
  expect(state.log?.floors).toEqual([]);
  expect(state.isAbsent).toBe(false);
});

describe('what is base still counts', () => {
  const origins = new OriginTable();
  const [a, b] = ['a:1', 'b:1'].map((origin) => origins.index(origin)) as [number, number];
  const text = (state: KeyState): string | null => {
    const resolved = resolve(state.string!, origins);
    return resolved.known ? (resolved.value?.toString() ?? null) : 'of Redis';
  };

  /** SET 0 by a, 40 increments by it, of which all have seen so many, and one by b that had not seen the SET. */
  function hot(stable: number): KeyState {
    const state = new KeyState(0, 'k');
    state.isWhole = true;
    const first = new Op(a, 1, 1, []);
    set(state, first);
    state.note(first);
    for (let i = 2; i <= 41; i++) {
      const op = new Op(a, i, i, []);
      incr(state, op);
      state.note(op);
    }
    const aside = new Op(b, 1, 20, []);
    incr(state, aside);
    state.note(aside);
    for (let i = 0; i < 40; i++) state.absorb(state.string, [stable, 0]);
    return state;
  }

  test.each([0, 1, 30, 41])('with %i of them seen by all', (stable) => {
    const state = hot(stable);
    expect(text(state)).toBe(stable === 0 ? '41' : 'of Redis');
    expect(state.string!.increments).toHaveLength(stable === 0 ? 41 : 42 - stable);
    // A SET that had seen what all have, and not the other's increment.
    const later = new Op(a, 50, 50, [41, 0]);
    set(state, later);
    expect(text(state)).toBe('1');
  });

  test('but not where another value may still be above it', () => {
    const state = hot(0);
    const other = new Op(b, 2, 30, []);
    state.put(other, Type.string, '', Buffer.from('100'));
    for (let i = 0; i < 40; i++) state.absorb(state.string, [41, 1]);
    expect(state.string!.puts).toHaveLength(2);
    expect(text(state)).toBe('140');
  });
});

test('what went to disk says nothing of what stayed, and has become base since', () => {
  const origins = new OriginTable();
  const [a, b] = ['a:1', 'b:1'].map((origin) => origins.index(origin)) as [number, number];
  const state = new KeyState(0, 'k');
  state.isWhole = true;
  state.delete(new Op(a, 1, 1, []));
  state.put(new Op(b, 1, 1, []), Type.hash, 'old', Buffer.from('1'));
  const staying = state.put(new Op(a, 2, 2, []), Type.hash, 'new', Buffer.from('2'));
  const elements = state.split([1, 1]);
  expect(elements.map(({ name }) => name)).toEqual(['old']);
  state.members!.delete(staying.type + staying.name);
  state.underlayElement(elements[0]!);
  expect(state.isBaseDead(Type.hash)).toBe(false);
  expect(state.findElement(Type.hash, 'old')).toMatchObject({ baseDead: true });
});
