import * as fc from 'fast-check';
import { CoreRegion } from '../../test/sim/core-region';
import { encode } from '../../test/sim/redis';
import { CommandScanner } from '../resp';
import { type OpRecord, RecordKind } from '../record';
import { Batch } from './batch';
import { findCommand } from './commands';
import type { MissingEntry } from './difference';
import { decodeEffects, type Effect } from './effects';
import { type Element, KeyState, Op, Type } from './key-state';
import { OriginTable } from './origins';
import { lastIdOf, putEntry, removeEntry, standingAt, StreamEntry, trimEntries } from './stream-entries';
import { compareIds, idAbove, idBelow, movedId, parseStreamId } from './stream-id';
import { CutStream, StreamTrims } from './stream-trims';

// Streams: what commands say, where entries stand by the rule, and what Redis has to run for them.

function effectsOf(text: string): Effect[] {
  const scanner = new CommandScanner();
  scanner.push(encode(text.split(' ')));
  scanner.next();
  const effects: Effect[] = [];
  decodeEffects(findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!)!, scanner, effects);
  return effects;
}

test.each<[string, string[]]>([
  ['XADD k 5-1 f v', ['put 5-1']],
  ['XADD k NOMKSTREAM MAXLEN = 10 5-1 f v', ['put 5-1', 'cap']],
  ['XADD k MAXLEN = 10 LIMIT 5 5-1 f v', ['put 5-1', 'cap']],
  ['XADD k MINID = 3 5-1 f v', ['put 5-1', 'trim 3-0']],
  ['XADD k KEEPREF MAXLEN = 0 5-1 f v', ['put 5-1', 'trim null']],
  ['XDEL k 5-1 6', ['remove 5-1,6-0']],
  ['XDELEX k DELREF IDS 2 5-1 6-1', ['remove 5-1,6-1']],
  ['XDELEX k ACKED IDS 1 5-1', ['remove 5-1']],
  // Which of them went is not told.
  ['XDELEX k ACKED IDS 2 5-1 6-1', ['opaque']],
  ['XTRIM k MAXLEN = 3', ['cap']],
  ['XTRIM k MINID = 5-1', ['trim 5-1']],
  ['XSETID k 9-9 ENTRIESADDED 3 MAXDELETEDID 1-1', ['lastId 9-9']],
  ['XGROUP CREATE k g 0 MKSTREAM', ['group true']],
  ['XGROUP SETID k g 5-1 ENTRIESREAD 3', ['group false']],
  ['XCLAIM k g c 0 5-1 TIME 1 RETRYCOUNT 1 FORCE JUSTID LASTID 5-1', ['group false']],
  ['XACKDEL k g IDS 1 5-1', ['opaque']],
])('%s: %j', (text, expected) => {
  const shown = effectsOf(text).map((effect) => {
    if (effect.kind === 'put' || effect.kind === 'remove') return `${effect.kind} ${effect.names.join()}`;
    if (effect.kind === 'trim') return `trim ${effect.minId}`;
    if (effect.kind === 'lastId') return `lastId ${effect.id}`;
    return effect.kind === 'group' ? `group ${effect.makesKey}` : effect.kind;
  });
  expect(shown).toEqual(expected);
});

const U64 = 2n ** 64n - 1n;
const part = fc.oneof(fc.bigInt(0n, 20n), fc.bigInt(0n, U64), fc.constantFrom(0n, U64));
const anyId = fc.tuple(part, part);
const textOf = ([ms, seq]: readonly [bigint, bigint]): string => `${ms}-${seq}`;

test('IDs as text are ordered as their numbers are, and have the neighbours that they have', () => {
  fc.assert(
    fc.property(anyId, anyId, (a, b) => {
      const number = ([ms, seq]: readonly [bigint, bigint]): bigint => (ms << 64n) | seq;
      const order = number(a) < number(b) ? -1 : number(a) > number(b) ? 1 : 0;
      expect(Math.sign(compareIds(textOf(a), textOf(b)))).toBe(order);
      expect(parseStreamId(`0${textOf(a)}`)).toBe(textOf(a));
      if (number(a) > 0n) expect(idAbove(idBelow(textOf(a)))).toBe(textOf(a));
    }),
  );
});

test('who has to leave an ID goes to another one for each region, in the same millisecond, and on from there', () => {
  const [eu, us] = [movedId('eu', 1, '7-3'), movedId('us', 1, '7-3')];
  expect(eu).not.toBe(us);
  // Of one region they keep their order, as a rule, and never meet what its clients add behind the first.
  expect(compareIds(movedId('eu', 2, '7-4'), eu)).toBeGreaterThan(0);
  expect(compareIds(movedId('eu', 2, '7-4'), idAbove(eu))).not.toBe(0);
  const further = movedId('eu', 1, eu);
  expect(further).not.toBe(eu);
  for (const id of [eu, us, further]) expect(id).toMatch(/^7-\d+$/);
});

// ——— the rule

// Few, so that they meet; also where entries move to.
const IDS = ['1-1', '2-1', '2-2', '3-1', '3-2', '3-3', ...[3, 4, 6, 7, 9].map((stamp) => movedId('us', stamp, '2-1'))];
const history = fc.array(
  fc.record({
    region: fc.nat(2),
    sees: fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100)),
    kind: fc.constantFrom('add', 'add', 'add', 'tell', 'remove', 'trim', 'wipe'),
    id: fc.constantFrom(...IDS),
    keep: fc.subarray(IDS),
    skew: fc.nat(3),
  }),
  { maxLength: 12 },
);

test('which entries stand where is a function of the set of operations: any causal order gives it', () => {
  fc.assert(
    fc.property(history, fc.infiniteStream(fc.nat(1000)), (steps, choices) => {
      const origins = new OriginTable();
      for (const origin of ['eu:1', 'us:1', 'ap:1']) origins.index(origin);
      const counts = [0, 0, 0];
      const seen = [0, 1, 2].map(() => [-1, -1, -1]);
      const made: { op: Op; added: string | null; apply: (key: KeyState) => void }[] = [];
      const vectors = new Map<string, readonly number[]>();
      let clock = 0;
      for (const { region, sees, kind, id, keep, skew } of steps) {
        const mine = seen[region]!;
        for (const other of [0, 1, 2]) {
          if (other === region) continue;
          const upTo = mine[other]! + Math.floor(((counts[other]! - 1 - mine[other]!) * sees[other]!) / 100);
          if (upTo <= mine[other]!) continue;
          mine[other] = upTo;
          // Vectors are closed: who sees an operation sees what that had seen.
          for (const [i, position] of (vectors.get(`${other} ${upTo}`) ?? []).entries())
            if (i !== region && position > mine[i]!) mine[i] = position;
        }
        // Redis takes no ID below those that its region has seen.
        const isSeen = ({ op }: { op: Op }): boolean => op.origin === region || mine[op.origin]! >= op.position;
        if (kind === 'add' && made.some((one) => one.added !== null && isSeen(one) && compareIds(one.added, id) >= 0))
          continue;
        const position = counts[region]!++;
        const vector = mine.map((at, i) => (i === region ? position - 1 : at));
        vectors.set(`${region} ${position}`, vector);
        // States and differences stand between the bytes of a stream, and tell of what may stand at any ID.
        const isTold = kind === 'tell';
        const op = new Op(region, isTold ? position - 0.5 : position, (clock += 3) + skew, vector);
        const value = encodeValue(`${region}.${position}`);
        made.push({
          op,
          added: kind === 'add' || isTold ? id : null,
          apply: (key) => {
            if (kind === 'add' || isTold) putEntry(key, op, id, value, origins, []);
            else if (kind === 'remove') removeEntry(key, op, id, origins, []);
            else if (kind === 'trim') trimEntries(key, op, id, keep, origins);
            else key.wipe(op);
          },
        });
      }
      const show = (order: typeof made): string => {
        const key = new KeyState(0, 'k');
        // The key begins empty: all that lives is in the window.
        key.wipe(new Op(0, -1, 0, [-1, -1, -1]));
        for (const { apply } of order) apply(key);
        const standing = [...key.elements()].flatMap((entry) => {
          const found = entry instanceof StreamEntry ? standingAt(entry, origins) : null;
          return found === null ? [] : [`${entry.name} ${found.toString()}`];
        });
        return `${standing.sort().join()} last ${lastIdOf(key, origins)}`;
      };
      const left = [...made];
      const order: typeof made = [];
      while (left.length > 0) {
        const ready = left.filter(
          ({ op }) => !left.some(({ op: other }) => other !== op && (op.seen[other.origin] ?? -1) >= other.position),
        );
        const next = ready[(choices.next().value as number) % ready.length]!;
        left.splice(left.indexOf(next), 1);
        order.push(next);
      }
      expect(show(order)).toBe(show(made));
    }),
    { numRuns: 500 },
  );
});

function encodeValue(text: string): Buffer {
  return Buffer.from(`$1\r\nv\r\n$${text.length}\r\n${text}\r\n`);
}

// ——— what Redis runs: in region b, what a and c send, and what clients did here

/** The scripts by their names, without their text. */
function short(commands: string): string {
  return commands.replace(/EVAL local[\s\S]*?\n(?:return new|end) 1 /g, 'EVAL … ');
}

let b: CoreRegion;
beforeEach(() => (b = new CoreRegion()));

test('an entry above all that is known goes as it came; those below are brought in at once', () => {
  expect(b.comes('a:1', 10, new Map(), 'XADD k 10-1 f a')).toBe('XADD k 10-1 f a');
  expect(short(b.comes('c:1', 20, new Map(), 'XADD k 5-1 f c', 'XADD k 11-1 f c'))).toBe(
    'EVAL … k 11-1 5-1 5-0 2 f c 11-1 11-0 2 f c',
  );
  expect(b.comes('a:1', 30, b.at('c:1'), 'XADD k 12-1 f a')).toBe('XADD k 12-1 f a');
});

test('what a client adds above an entry on its way has it refused: it gets in by a correction', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 5-1 f a');
  b.client(20, 'XADD k 9-1 f b');
  expect(short(b.correct())).toBe('EVAL … k 9-1 5-1 5-0 2 f a');
});

test('a refused entry that nothing known explains is written by the script', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 5-1 f a');
  b.core.refused(0, 'k', { increment: null, entry: '5-1' });
  expect(short(b.correct())).toBe('EVAL … k 5-1 5-1 5-0 2 f a');
});

test('an entry that was found to be missing is told of until it is written, for nothing that is journalled does', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 5-1 f a', 'XADD l 5-1 f a');
  const [entry, other] = ['k', 'l'].map((key) => ({ db: 0, key, id: '5-1' })) as [MissingEntry, MissingEntry];
  const told = (): readonly MissingEntry[] => b.core.corrections.missingEntries();
  for (const missing of [entry, other, entry]) b.core.lacks(missing);
  expect(told()).toEqual([entry, other]);
  // A client writes one of the keys while that is on its way: it is built once more.
  b.answer = () => b.client(20, 'XADD l 9-1 f b');
  expect(short(b.correct())).toBe('EVAL … k 5-1 5-1 5-0 2 f a; EVAL … l 5-1 5-1 5-0 2 f a');
  expect(told()).toEqual([other]);
  b.correct();
  expect(told()).toEqual([]);
});

test('of a missing entry that the window does not know, another region’s state tells', () => {
  b.core.lacks({ db: 0, key: 'k', id: '5-1' });
  expect(b.core.settling.awaitedElsewhere().map(({ key }) => key)).toEqual(['k']);
});

test('below where an entry has moved to, one that has seen it is no top, though nothing is concurrent', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 5-1 f a');
  const moved = movedId('a', 10, '5-1');
  expect(short(b.comes('c:1', 20, new Map(), 'XADD k 5-1 f c'))).toContain(` ${moved} `);
  // Something else is under way: not all that comes goes as it came.
  b.client(25, 'SET other 1');
  expect(short(b.comes('a:1', 30, b.at('c:1'), 'XADD k 5-2 f a'))).toBe(`EVAL … k ${moved} 5-2 5-1 2 f a`);
});

test('commands about groups go as they came, behind the entries that they may be about', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 10-1 f a');
  const came = b.comes('c:1', 20, new Map(), 'XADD k 5-1 f c', 'XGROUP CREATE k g 0');
  expect(short(came)).toBe('EVAL … k 10-1 5-1 5-0 2 f c; XGROUP CREATE k g 0');
  expect(b.unsettled).toEqual([]);
  // Whoever makes a stream for its group keeps what is there.
  expect(b.comes('c:1', 30, b.at('a:1'), 'XGROUP CREATE k h 0 MKSTREAM')).toBe('XGROUP CREATE k h 0 MKSTREAM');
  b.client(40, 'XADD k 4-1 f b');
  expect(short(b.comes('c:1', 50, b.at('a:1'), 'DEL k'))).toMatch(/^DEL k; EVAL … k 4-1 /);
});

test('a delete leaves entries that it had not seen, and a trim too', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 5-1 f a', 'XADD k 6-1 f a');
  expect(short(b.comes('c:1', 20, new Map(), 'DEL k'))).toContain('5-1 5-0 2 f a 6-1 6-0 2 f a');
  expect(short(b.comes('c:1', 21, b.at('c:1'), 'XTRIM k MINID = 6-1'))).toBe('EVAL … k 6-1 5-1');
  expect(short(b.comes('a:1', 30, b.at('c:1'), 'XTRIM k MINID = 6-1'))).toBe('EVAL … k 6-1');
});

test('a state brings its groups, and entries that it had not seen are put into it', () => {
  b.comes('a:1', 10, new Map(), 'XADD k 5-1 f a');
  const came = b.state('c:1', 20, new Map(), 'DEL k', 'XADD k 7-1 f c', 'XGROUP CREATE k g 7-1');
  expect(short(came)).toMatch(/^DEL k; XADD k 7-1 f c; XGROUP CREATE k g 7-1; EVAL … k 7-1 5-1 5-0 2 f a/);
  expect(b.unsettled).toEqual([]);
});

test('beside a state that says that there is none, a stream without entries stands with its last ID', () => {
  b.client(10, 'XADD k 5-1 f b', 'XDEL k 5-1');
  expect(short(b.state('a:1', 20, new Map(), 'DEL k'))).toBe('DEL k; XDEL k 5-1; EVAL … k 5-1');
});

test('an entry that has moved, and that a state tells of where it stands, is one', () => {
  const origins = new OriginTable();
  const [a, b, c] = ['a:1', 'b:1', 'c:1'].map((origin) => origins.index(origin)) as [number, number, number];
  const state = new KeyState(0, 'k');
  const moved = movedId('a', 1, '5-1');
  const add = (op: Op, id: string, value: string): void => putEntry(state, op, id, Buffer.from(value), origins, []);
  add(new Op(a, 10, 1, []), '5-1', 'x');
  add(new Op(b, 10, 2, []), '5-1', 'y');
  // Between the bytes of its region's stream, by one that had not seen the first.
  add(new Op(c, 10.5, 3, origins.toSeen(new Map([['b:1', 10]]))), moved, 'x');
  const standing = [...state.elements()].flatMap((entry) => {
    const value = entry instanceof StreamEntry ? standingAt(entry, origins) : null;
    return value === null ? [] : [`${entry.name} ${value.toString()}`];
  });
  expect(standing.sort()).toEqual(['5-1 y', `${moved} x`]);
});

test('what is told of an ID takes the place of what stood there, not of one that had moved on by then, in any order', () => {
  const origins = new OriginTable();
  const [a, b, c] = ['a:1', 'b:1', 'c:1'].map((origin) => origins.index(origin)) as [number, number, number];
  const both = origins.toSeen(
    new Map([
      ['a:1', 10],
      ['b:1', 10],
    ]),
  );
  const moved = movedId('b', 2, '5-1');
  const first: [Op, string][] = [
    [new Op(a, 10, 3, []), 'a'],
    [new Op(b, 10, 2, []), 'b'],
  ];
  // Two regions tell of it that had not seen each other: one as it was, one as clients have made it since.
  const told: [Op, string][] = [
    [new Op(b, 10.5, 9, both), 'a'],
    [new Op(c, 10.5, 8, both), 'new'],
  ];
  for (const order of [told, [...told].reverse()]) {
    const state = new KeyState(0, 'k');
    for (const [op, text] of [...first, ...order]) putEntry(state, op, '5-1', Buffer.from(text), origins, []);
    const standing = ['5-1', moved, movedId('c', 8, '5-1')].map((id) =>
      standingAt(state.findElement(Type.stream, id) as StreamEntry, origins)?.toString(),
    );
    expect(standing).toEqual(['a', 'b', 'new']);
  }
});

test('an entry is no further than where it stood for whom it had not met the next one: a trim that kept it there keeps it', () => {
  const origins = new OriginTable();
  const [a, b, c] = ['a:1', 'b:1', 'c:1'].map((origin) => origins.index(origin)) as [number, number, number];
  const state = new KeyState(0, 'k');
  const add = (op: Op, id: string, value: string): void => putEntry(state, op, id, Buffer.from(value), origins, []);
  add(new Op(c, 10, 1, []), '5-1', 'c');
  add(new Op(a, 10, 3, []), '5-1', 'a');
  const first = movedId('c', 1, '5-1');
  const [second, third] = [movedId('c', 1, first), movedId('c', 1, movedId('c', 1, first))];
  // Its place is taken by what the trim has not seen, and so is the next.
  add(new Op(b, 10, 9, origins.toSeen(new Map([['a:1', 20]]))), first, 'b1');
  add(new Op(b, 20, 10, origins.toSeen(new Map([['a:1', 20]]))), second, 'b2');
  const by = new Op(a, 30, 8, origins.toSeen(new Map([['c:1', 20]])));
  trimEntries(state, by, '6-0', ['5-1', first], origins);
  const standing = ['5-1', first, second, third].map((id) =>
    standingAt(state.findElement(Type.stream, id) as StreamEntry, origins)?.toString(),
  );
  expect(standing).toEqual(['a', 'b1', 'b2', 'c']);
});

test('what came to one ID and has left the window stays in Redis as it is, whatever removes another one that had to leave that ID', () => {
  const origins = new OriginTable();
  const regions = ['a', 'b', 'c'];
  for (const region of regions) origins.index(`${region}:1`);
  const [first, second] = ['b', 'c'].map((region) => movedId(region, 1, '5-1')).sort(compareIds) as [string, string];
  const key = (): KeyState => {
    const state = new KeyState(0, 's');
    const stands = new Op(0, 10, 2, []);
    for (const op of [stands, new Op(1, 10, 1, []), new Op(2, 10, 1, [])])
      putEntry(state, op, '5-1', Buffer.from(regions[op.origin]!), origins, []);
    for (const id of ['5-1', first]) state.removeEntry(state.findElement(Type.stream, id) as StreamEntry);
    state.stream!.dropFolded();
    return state;
  };
  const by = new Op(0, 20, 9, [20, 20, 20]);
  const [deleted, trimmed] = [key(), key()];
  const touched: Element[] = [];
  removeEntry(deleted, by, second, origins, touched);
  trimEntries(trimmed, by, null, [], origins);
  expect(touched.map(({ name }) => name)).toEqual([second]);
  for (const state of [deleted, trimmed]) {
    const entries = [...state.elements()].filter((element) => element instanceof StreamEntry);
    expect(entries.map((entry) => [entry.name, standingAt(entry, origins)])).toEqual([[second, null]]);
  }
});

test('where an entry has gone on past many others is looked up once for each', () => {
  const origins = new OriginTable();
  const [a, b, c] = ['a:1', 'b:1', 'c:1'].map((origin) => origins.index(origin)) as [number, number, number];
  const state = new KeyState(0, 'k');
  const add = (origin: number, position: number, stamp: number, id: string): void =>
    putEntry(state, new Op(origin, position, stamp, []), id, Buffer.from(`${origin} ${position}`), origins, []);
  add(c, 10, 0, '5-1');
  add(a, 10, 1000, '5-1');
  const ids = ['5-1'];
  for (let i = 1; i <= 60; i++) {
    ids.push(movedId('c', 0, ids[i - 1]!));
    add(b, i, 9000 + i, ids[i]!);
  }
  trimEntries(state, new Op(a, 1000, 9999, origins.toSeen(new Map([['c:1', 1000]]))), null, ['5-1'], origins);
  const standing = [...state.elements()].filter(
    (entry) => entry instanceof StreamEntry && standingAt(entry, origins) !== null,
  );
  // The trim had seen it where it had gone first.
  expect(standing.map(({ name }) => name).sort()).toEqual([...ids].sort());
});

test('what a failover had taken back may be refused when it comes again, too', () => {
  const origins = new OriginTable();
  const [before, after] = ['b:1', 'b:2'].map((origin) => origins.index(origin)) as [number, number];
  const state = new KeyState(0, 'k');
  const add = (op: Op, id: string): string[] => {
    putEntry(state, op, id, Buffer.from('x'), origins, []);
    state.stream!.arrive(state.findElement(Type.stream, id) as StreamEntry);
    return state.stream!.refusedFor(op, id, false).map(({ name }) => name);
  };
  expect(add(new Op(before, 10, 1, []), '5-1')).toEqual([]);
  expect(add(new Op(before, 20, 2, []), '6-1')).toEqual([]);
  // In the history that goes on where only the first of them is.
  expect(add(new Op(after, 10, 3, origins.toSeen(new Map([['b:1', 10]]))), '9-1')).toEqual(['6-1']);
});

test('the last ID does not go down where an entry stands below one that a block has removed', () => {
  const origins = new OriginTable();
  const [a, b] = [origins.index('a:1'), origins.index('b:1')];
  const state = new KeyState(0, 's');
  putEntry(state, new Op(a, 10, 1, []), '9-1', Buffer.alloc(0), origins, []);
  putEntry(state, new Op(a, 20, 3, []), '5-1', Buffer.alloc(0), origins, []);
  expect(lastIdOf(state, origins)).toBe('9-1');
  // Which has seen the first alone.
  const seen: number[] = [];
  seen[a] = 10;
  state.delete(new Op(b, 10, 2, seen));
  expect(lastIdOf(state, origins)).toBe('5-1');
});

test('the last ID tells where an entry had to move whose ID its region has given out again, whichever came first', () => {
  const origins = new OriginTable();
  const [e, c] = [origins.index('e:1'), origins.index('c:1')];
  const [first, again, other] = [new Op(e, 10, 1, []), new Op(e, 20, 5, []), new Op(c, 10, 2, [])];
  const lastIds = (...order: Op[]): (string | null)[] => {
    const state = new KeyState(0, 's');
    return order.map((op) => {
      putEntry(state, op, '5-1', Buffer.from(`${op.stamp}`), origins, []);
      return lastIdOf(state, origins);
    });
  };
  const [ofE, ofC] = [movedId('e', 1, '5-1'), movedId('c', 2, '5-1')];
  const last = [ofE, ofC].sort(compareIds)[1];
  expect(lastIds(first, other, again)).toEqual(['5-1', ofE, last]);
  expect(lastIds(first, again, other)).toEqual(['5-1', '5-1', last]);
  expect(last).toBe(ofE);
  // Nobody met it.
  expect(lastIds(other, first)).toEqual(['5-1', ofE]);
  expect(lastIds(first, again)).toEqual(['5-1', '5-1']);
});

test('an entry that was removed before it had moved raises the last ID all the same', () => {
  b.batch(['a:1', 2, b.at(), 'XADD s 5-1 f a']);
  // It was in Redis before that block, which is refused.
  b.client(1, 'XADD s 5-1 f b');
  b.clientAt(3, b.at('a:1'), 'XTRIM s MAXLEN 0');
  // The last of what Redis is to run.
  expect(b.correct()).toMatch(new RegExp(`^XDEL .* EVAL .* s ${movedId('b', 1, '5-1')}$`, 's'));
});

test('a client’s entry at an ID that a block has removed, not having seen it, is written again', () => {
  b.comes('a:1', 1, b.at(), 'XADD s 5-1 f a');
  b.comes('a:1', 2, b.at(), 'XDEL s 5-1 9-1');
  // It was in Redis before that block.
  b.client(3, 'XADD s 9-1 f b');
  expect(b.correct()).toContain('9-1');
});

test('what stood elsewhere because of an ID that its region has given out again is removed there', () => {
  const origins = new OriginTable();
  const [a, c] = [origins.index('a:1'), origins.index('c:1')];
  const state = new KeyState(0, 's');
  const put = (op: Op, text: string): Element[] => {
    const touched: Element[] = [];
    putEntry(state, op, '5-1', Buffer.from(text), origins, touched);
    return touched;
  };
  put(new Op(c, 10, 9, []), 'c');
  const moved = movedId('a', 1, '5-1');
  expect(put(new Op(a, 10, 1, []), 'first').map(({ name }) => name)).toContain(moved);
  expect(standingAt(state.findElement(Type.stream, moved) as StreamEntry, origins)?.toString()).toBe('first');
  // Its stream was deleted in between, by what had not seen that.
  expect(put(new Op(a, 20, 10, []), 'second').map(({ name }) => name)).toContain(moved);
  expect(standingAt(state.findElement(Type.stream, moved) as StreamEntry, origins)).toBeNull();
});

test('where a stream that was cut begins, if all that is left in it came late', () => {
  const trims = new StreamTrims();
  const stream = new CutStream(0, 's');
  for (const id of ['3-1', '4-1']) stream.late.add(id);
  expect(trims.beginning(stream, ['3-1', '7-1'], '9-1')).toEqual({ first: '7-1', keep: ['3-1'] });
  expect(trims.beginning(stream, ['3-1', '4-1'], '9-1')).toEqual({ first: '9-2', keep: ['3-1', '4-1'] });
  expect(trims.beginning(stream, [], '9-1')).toEqual({ first: '9-2', keep: [] });
});

test('what removes an entry runs behind what brings it in, in one block', () => {
  b.client(1, 'XADD s 5-1 f b');
  const batch = new Batch();
  const record = (start: number, seen: number, text: string): OpRecord => {
    const payload = encode(text.split(' '));
    const end = start + payload.length;
    return {
      kind: RecordKind.stream,
      origin: 'a:1',
      start,
      end,
      stamp: 9 + start,
      ops: 1,
      db: 0,
      seen: new Map([['b:1', seen]]),
      payload,
    };
  };
  const entry = record(0, 0, 'XADD s 7-1 f a');
  b.core.corrections.corrected(b.core.corrections.takeRaced());
  b.core.plan(entry, batch);
  b.core.plan(record(entry.end, 1000, 'XDEL s 7-1'), batch);
  const text = batch
    .finish()
    .map(({ bytes }) => bytes.toString('latin1'))
    .join('');
  expect(text).not.toContain('\r\na\r\n');
});
