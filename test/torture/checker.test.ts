import { check, type KeyState, type Report } from './checker';
import { type Effect, History, type Op } from './history';

// Histories that must pass, and histories that must fail, without a server. Region 0 is A, region 1 is B.

const [A, B] = [0, 1];

/** Beats of both regions each 10 ms, answered 1 ms later. */
function history(ops: readonly Op[], untilMs = 1000): History {
  const made = new History(['A', 'B']);
  for (const beats of made.beats) for (let at = 0; at < untilMs; at += 10) beats.end(beats.start(at), at + 1);
  for (const op of ops) made.add(op);
  return made;
}

/** The beat that stands in its own region at a moment. */
const beatAt = (ms: number): number => Math.floor(ms / 10) + 1;

interface Seen {
  /** Up to when it knew of the other region, at least and at most. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** An answered operation of 2 ms. */
function op(region: number, atMs: number, effects: readonly Effect[], seen?: Seen): Op {
  const beats = (ms: number): number[] => (region === A ? [beatAt(atMs), beatAt(ms)] : [beatAt(ms), beatAt(atMs)]);
  return {
    region,
    what: `${region === A ? 'A' : 'B'} at ${atMs}`,
    startMs: atMs,
    endMs: atMs + 2,
    sure: true,
    before: seen === undefined ? [0, 0] : beats(seen.fromMs),
    after: seen === undefined ? null : beats(seen.toMs),
    effects,
  };
}

const unanswered = (of: Op): Op => ({ ...of, sure: false, endMs: Infinity, before: null, after: null });
/** Up to now, and no more. */
const seen = (ms: number): Seen => ({ fromMs: ms, toMs: ms });

const put = (value: string, key = '0/str:1', element = ''): Effect => ({ kind: 'put', key, element, value });
const del = (key = '0/str:1', element: string | null = ''): Effect => ({ kind: 'remove', key, element });
const member = put('', '0/set:1', 'x');
const add = (by: number): Effect => ({ kind: 'add', key: '0/count:1', element: '', by });
const give = (token: string, key = '0/list:1', id?: string): Effect => ({
  kind: 'give',
  key,
  token,
  ...(id === undefined ? {} : { id }),
});
const take = (token: string | null, key = '0/list:1'): Effect => ({ kind: 'take', key, token });
const expire = (fromMs: number | null): Effect => ({
  kind: 'expire',
  key: '0/ttl:1',
  expires: fromMs === null ? null : { fromMs, toMs: fromMs + 2 },
});
const putTtl = (value: string, fromMs: number): Effect => ({
  kind: 'put',
  key: '0/ttl:1',
  element: '',
  value,
  expires: { fromMs, toMs: fromMs + 2 },
});

type Found = Readonly<Record<string, Readonly<Record<string, string>> & { readonly expires?: never }>>;

function report(ops: readonly Op[], found: Found, o: { nowMs?: number; expiresMs?: number } = {}): Report {
  const state = new Map<string, KeyState>(
    Object.entries(found).map(([key, elements]) => [
      key,
      { type: 'any', elements: new Map(Object.entries(elements)), expiresMs: o.expiresMs ?? null },
    ]),
  );
  return check(history(ops), state, o.nowMs ?? 1000);
}

const kinds = (...args: Parameters<typeof report>): string[] => report(...args).findings.map(({ kind }) => kind);

describe('order', () => {
  const earlier = op(A, 100, [put('a')]);

  test('within a region: answered before sent', () => {
    const made = history([]);
    expect(made.saw(op(A, 103, []), earlier)).toBe(true);
    expect(made.saw(op(A, 101, []), earlier)).toBe(false);
    expect(made.missed(earlier, op(A, 103, []))).toBe(true);
  });

  test('between regions: by the beats that were read, and not by the clock', () => {
    const made = history([]);
    expect(made.saw(op(B, 500, []), earlier)).toBe(false);
    expect(made.saw(op(B, 500, [], seen(90)), earlier)).toBe(false);
    // The beat of 110 ms is the first that began after it was answered.
    expect(made.saw(op(B, 500, [], seen(109)), earlier)).toBe(false);
    expect(made.saw(op(B, 500, [], seen(110)), earlier)).toBe(true);
    expect(made.missed(op(B, 500, [], seen(110)), earlier)).toBe(false);
    // The beat of 90 ms was answered before it was sent.
    expect(made.missed(op(B, 500, [], seen(89)), earlier)).toBe(true);
    expect(made.missed(op(B, 500, [], seen(90)), earlier)).toBe(false);
    expect(made.missed(op(B, 500, []), earlier)).toBe(false);
  });

  test('a beat whose answer was lost proves nothing of what was sent after it', () => {
    const made = new History(['A', 'B']);
    for (const beats of made.beats) {
      beats.end(beats.start(0), 1);
      beats.start(10);
    }
    expect(made.missed(op(B, 500, [], seen(0)), op(A, 100, []))).toBe(false);
    expect(made.beats[A]!.lastBefore(100)).toBe(1);
  });

  test('nobody surely saw what was not answered', () => {
    const made = history([]);
    expect(made.saw(op(A, 900, []), unanswered(earlier))).toBe(false);
    expect(made.saw(op(B, 900, [], seen(800)), unanswered(earlier))).toBe(false);
  });
});

describe('elements', () => {
  test('what was put and never removed is there', () => {
    expect(kinds([op(A, 100, [put('a')])], { '0/str:1': { '': 'a' } })).toEqual([]);
    expect(kinds([op(A, 100, [put('a')])], {})).toEqual(['lost']);
    expect(kinds([unanswered(op(A, 100, [put('a')]))], {})).toEqual([]);
    expect(kinds([unanswered(op(A, 100, [put('a')]))], { '0/str:1': { '': 'a' } })).toEqual([]);
  });

  test('a value that nobody wrote', () => {
    expect(kinds([op(A, 100, [put('a')])], { '0/str:1': { '': 'b' } })).toEqual(['invented']);
    expect(kinds([op(A, 100, [member])], { '0/set:1': { x: '', y: '' } })).toEqual(['invented']);
  });

  test('of two puts the one that had seen the other stands', () => {
    const ops = [op(A, 100, [put('a')]), op(A, 200, [put('b')])];
    expect(kinds(ops, { '0/str:1': { '': 'b' } })).toEqual([]);
    expect(kinds(ops, { '0/str:1': { '': 'a' } })).toEqual(['back']);
    const far = [op(A, 100, [put('a')]), op(B, 200, [put('b')], seen(150))];
    expect(kinds(far, { '0/str:1': { '': 'a' } })).toEqual(['back']);
  });

  test('of two puts that had not seen each other either stands', () => {
    const ops = [op(A, 100, [put('a')]), op(B, 200, [put('b')], seen(50))];
    expect(kinds(ops, { '0/str:1': { '': 'a' } })).toEqual([]);
    expect(kinds(ops, { '0/str:1': { '': 'b' } })).toEqual([]);
    expect(kinds(ops, {})).toEqual(['lost']);
  });

  test('a removal removes what it has seen', () => {
    const ops = [op(A, 100, [member]), op(B, 200, [del('0/set:1', 'x')], seen(150))];
    expect(kinds(ops, {})).toEqual([]);
    expect(kinds(ops, { '0/set:1': { x: '' } })).toEqual(['back']);
  });

  test('a removal does not remove what it has not seen', () => {
    const ops = [op(A, 100, [member]), op(B, 200, [del('0/set:1', 'x')], seen(50))];
    expect(kinds(ops, { '0/set:1': { x: '' } })).toEqual([]);
    expect(kinds(ops, {})).toEqual(['lost']);
  });

  test('a removal that may have seen it may have removed it, or not', () => {
    const unknown = op(B, 200, [del('0/set:1', 'x')], { fromMs: 50, toMs: 150 });
    const lost = unanswered(op(B, 200, [del('0/set:1', 'x')]));
    for (const removal of [unknown, lost]) {
      expect(kinds([op(A, 100, [member]), removal], {})).toEqual([]);
      expect(kinds([op(A, 100, [member]), removal], { '0/set:1': { x: '' } })).toEqual([]);
    }
  });

  test('removed, and put again by one who had seen that', () => {
    const ops = [op(A, 100, [member]), op(A, 200, [del('0/set:1', 'x')]), op(A, 300, [member])];
    expect(kinds(ops, { '0/set:1': { x: '' } })).toEqual([]);
    expect(kinds(ops, {})).toEqual(['lost']);
  });

  test('a delete of the whole key, and an element of which nobody knows', () => {
    const ops = [op(A, 100, [member]), op(A, 200, [del('0/set:1', null)])];
    expect(kinds(ops, {})).toEqual([]);
    expect(kinds(ops, { '0/set:1': { x: '' } })).toEqual(['back']);
    expect(kinds([op(A, 100, [del('0/set:1', null)]), op(A, 200, [member])], {})).toEqual(['lost']);
  });

  test('a library of functions: a put by its name, and a flush removes those that it has seen', () => {
    const all = '0/lib:all';
    const loads = [op(A, 100, [put('a', all, 'one')]), op(A, 110, [put('b', all, 'two')])];
    const flush = (seenMs: number): Op => op(B, 200, [del(all, null)], seen(seenMs));
    expect(kinds([...loads, flush(150)], {})).toEqual([]);
    expect(kinds([...loads, flush(150)], { [all]: { two: 'b' } })).toEqual(['back']);
    expect(kinds([...loads, flush(50)], { [all]: { one: 'a', two: 'b' } })).toEqual([]);
    expect(kinds([...loads, flush(50)], { [all]: { two: 'b' } })).toEqual(['lost']);
    expect(kinds(loads, { [all]: { one: 'c', two: 'b' } })).toEqual(['invented']);
  });

  test('a bit that was set to 0 elsewhere may be either', () => {
    const set = op(A, 100, [put('1', '0/bits:1', '7')]);
    const clear = op(B, 200, [del('0/bits:1', '7')], seen(50));
    expect(kinds([set, clear], { '0/bits:1': {} })).toEqual([]);
    expect(kinds([set, clear], { '0/bits:1': { 7: '1' } })).toEqual([]);
    expect(kinds([clear, op(A, 300, [put('1', '0/bits:1', '7')], seen(250))], { '0/bits:1': {} })).toEqual(['lost']);
  });
});

describe('times to live', () => {
  const there = { '0/ttl:1': { '': 'a' } };

  test('gone when it is over, and not before', () => {
    const ops = [op(A, 100, [putTtl('a', 500)])];
    expect(kinds(ops, {})).toEqual([]);
    expect(kinds(ops, {}, { nowMs: 200 })).toEqual(['lost']);
    expect(kinds(ops, there)).toEqual(['ttl']);
    expect(kinds(ops, there, { nowMs: 200, expiresMs: 501 })).toEqual([]);
    expect(kinds(ops, there, { nowMs: 200, expiresMs: 900 })).toEqual(['ttl']);
  });

  test('a write that had seen it takes it away', () => {
    const ops = [op(A, 100, [putTtl('a', 500)]), op(A, 200, [put('b', '0/ttl:1')])];
    expect(kinds(ops, {})).toEqual(['lost']);
    expect(kinds(ops, { '0/ttl:1': { '': 'b' } })).toEqual([]);
  });

  test('renewed by one who had seen it', () => {
    const ops = [op(A, 100, [putTtl('a', 500)]), op(A, 200, [expire(5000)])];
    expect(kinds(ops, {})).toEqual(['lost']);
    expect(kinds(ops, there, { expiresMs: 5001 })).toEqual([]);
    expect(kinds(ops, there, { expiresMs: 501 })).toEqual(['ttl']);
    expect(kinds([ops[0]!, op(A, 200, [expire(null)])], there)).toEqual([]);
  });

  test('of a value that neither had seen the other: it may have won, and expired', () => {
    const ops = [op(A, 100, [putTtl('a', 500)]), op(B, 200, [put('b', '0/ttl:1')], seen(50))];
    expect(kinds(ops, {})).toEqual([]);
    expect(kinds(ops, { '0/ttl:1': { '': 'b' } })).toEqual([]);
    expect(kinds([ops[0]!, op(B, 200, [put('b', '0/ttl:1')], seen(150))], {})).toEqual(['lost']);
  });

  test('one that was set elsewhere at the same time may hold, or not', () => {
    const ops = [op(A, 100, [put('a', '0/ttl:1')]), op(B, 101, [expire(500)], { fromMs: 0, toMs: 150 })];
    expect(kinds(ops, {})).toEqual([]);
    expect(kinds(ops, there)).toEqual([]);
    expect(kinds(ops, there, { expiresMs: 700 })).toEqual(['ttl']);
  });
});

describe('what was written while no agent was reading', () => {
  const ops = [op(A, 100, [member]), op(B, 50, [del('0/set:1', 'y')])];
  const exposed = (some: readonly Op[], strict: boolean): string[] => {
    const made = history(some);
    made.exposures.push({ region: A, fromMs: 90, toMs: 110 });
    return check(made, new Map(), 1000, strict).findings.map(({ kind }) => kind);
  };

  test('may lose against what another region did to its key', () => {
    expect(exposed(ops, false)).toEqual([]);
    expect(exposed(ops, true)).toEqual(['lost']);
  });

  test('but not on a key that no other region touched, and not before or after', () => {
    expect(exposed(ops.slice(0, 1), false)).toEqual(['lost']);
    expect(exposed([op(A, 200, [member]), ops[1]!], false)).toEqual(['lost']);
  });

  test('integers are exact nevertheless, scores are not', () => {
    const plus = (key: string): Op[] => [
      op(A, 100, [{ kind: 'add', key, element: 'f', by: 1 }]),
      op(B, 50, [{ kind: 'add', key, element: 'g', by: 0 }]),
    ];
    expect(exposed(plus('0/hcount:1'), false)).toEqual(['sum']);
    expect(exposed(plus('0/zcount:1'), false)).toEqual([]);
  });
});

describe('sums', () => {
  const found = (value: number): Found => ({ '0/count:1': { '': String(value) } });

  test('are exact', () => {
    const ops = [op(A, 100, [add(5)]), op(B, 100, [add(-2)]), op(B, 200, [add(4)])];
    expect(kinds(ops, found(7))).toEqual([]);
    expect(kinds(ops, found(12))).toEqual(['sum']);
    expect(kinds(ops, found(3))).toEqual(['sum']);
    expect(kinds(ops, {})).toEqual(['sum']);
  });

  test('but for what was not answered: there once, or not at all', () => {
    const ops = [op(A, 100, [add(5)]), unanswered(op(B, 100, [add(2)])), unanswered(op(B, 200, [add(-1)]))];
    for (const value of [4, 5, 7]) expect(kinds(ops, found(value))).toEqual([]);
    for (const value of [3, 8]) expect(kinds(ops, found(value))).toEqual(['sum']);
  });
});

describe('what is given and taken', () => {
  test('nothing is lost that nobody took', () => {
    const ops = [op(A, 100, [give('a')]), op(B, 100, [give('b')]), op(B, 200, [take('a')])];
    expect(kinds(ops, { '0/list:1': { b: '' } })).toEqual([]);
    expect(kinds(ops, {})).toEqual(['lost']);
    expect(kinds([unanswered(ops[0]!)], {})).toEqual([]);
  });

  test('what moves from list to list is looked for in all lists of its database', () => {
    const ops = [op(A, 100, [give('a', '0/moved:1')]), op(A, 100, [give('b', '0/moved:2')])];
    expect(kinds(ops, { '0/moved:2': { a: '', b: '' } })).toEqual([]);
    const apart = [op(A, 100, [give('a', '0/moved:1')]), op(A, 100, [give('b', '1/moved:1')])];
    expect(kinds(apart, { '1/moved:1': { a: '', b: '' } })).toEqual(['lost', 'invented']);
    expect(
      kinds([op(A, 100, [give('a')]), op(A, 100, [give('b', '0/list:2')])], { '0/list:2': { a: '', b: '' } }),
    ).toEqual(['lost', 'invented']);
  });

  test('a take that was not answered took at most one', () => {
    const ops = [op(A, 100, [give('a'), give('b')]), unanswered(op(B, 200, [take(null)]))];
    expect(kinds(ops, { '0/list:1': { b: '' } })).toEqual([]);
    expect(kinds(ops, {})).toEqual(['lost', 'lost']);
  });

  test('what is delivered twice is counted, and no fault', () => {
    const ops = [op(A, 100, [give('a')]), op(B, 200, [take('a')])];
    expect(report(ops, { '0/list:1': { a: '' } })).toMatchObject({ findings: [], twice: 1 });
  });

  test('entries of streams, and their IDs', () => {
    const ops = [op(A, 100, [give('a', '0/stream:1', '5-0')]), op(B, 100, [give('b', '0/stream:1', '6-0')])];
    expect(report(ops, { '0/stream:1': { a: '5-0', b: '6-1' } })).toMatchObject({ findings: [], moved: 1, checked: 2 });
    expect(kinds(ops, { '0/stream:1': { b: '6-0' } })).toEqual(['lost']);
    expect(kinds(ops, { '0/stream:1': { a: '5-0', b: '6-0', c: '7-0' } })).toEqual(['invented']);
  });
});
