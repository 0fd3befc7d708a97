import * as fc from 'fast-check';
import { CommandWriter } from '../resp';
import { Decimal, ONE, parseDecimal, unitsOf } from './decimal';
import { OriginTable } from './origins';
import { correctKey, isAddedOn, isDecimal, keepTtls, resolve, resolveTtl, rewriteKey, visibleType } from './resolve';
import { KeyState, Op, saw, Type } from './key-state';

const origins = new OriginTable();
const EU = origins.index('eu:1');
const US = origins.index('us:1');
const AP = origins.index('ap:1');

/** An operation at a position, with what it had seen of `eu`, `us` and `ap`. */
function op(origin: number, position: number, stamp: number, eu = -1, us = -1, ap = -1): Op {
  return new Op(origin, position, stamp, [eu, us, ap]);
}

const bytes = (text: string): Buffer => Buffer.from(text);
const state = (): KeyState => new KeyState(0, 'k');

function textOf(key: KeyState, type: Type, name = ''): string | null {
  const element = key.findElement(type, name);
  if (element === undefined) return null;
  const resolved = resolve(element, origins);
  if (!resolved.known) return 'unknown';
  return resolved.value === null ? null : resolved.value.toString();
}

function commands(write: (out: CommandWriter) => void): string[] {
  const writer = new CommandWriter();
  write(writer);
  const text = writer.take().toString();
  // `*2 $3 DEL $1 k` → `DEL k`
  return text
    .split(/\*\d+\r\n/)
    .slice(1)
    .map((command) =>
      command
        .split(/\$\d+\r\n/)
        .slice(1)
        .map((arg) => arg.replace('\r\n', ''))
        .join(' '),
    );
}

describe('values', () => {
  test('of puts that have not seen each other the highest stamp wins, then the region', () => {
    const key = state();
    key.put(op(EU, 1, 10), Type.string, '', bytes('a'));
    key.put(op(US, 1, 11), Type.string, '', bytes('b'));
    expect(textOf(key, Type.string)).toBe('b');
    key.put(op(AP, 1, 11), Type.string, '', bytes('c'));
    expect(textOf(key, Type.string)).toBe('b');
  });

  test('decimals and integers add up to the last digit, whatever the order', () => {
    const add = (key: KeyState, order: readonly number[]): void => {
      const deltas = [new Decimal(ONE / 10n), 2n, new Decimal(-3n)];
      for (const i of order) key.increment(op([EU, US, AP][i]!, 1, 20 - i), Type.string, '', deltas[i]!);
    };
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
    ]) {
      const key = state();
      key.put(op(EU, 0, 1), Type.string, '', bytes('1.5'));
      add(key, order);
      expect(textOf(key, Type.string)).toBe('3.59999999999999997');
    }
    const key = state();
    key.put(op(EU, 0, 1), Type.string, '', bytes('1e5'));
    add(key, [0]);
    expect(textOf(key, Type.string)).toBe('1e5');
    const unknown = state();
    add(unknown, [0]);
    expect(textOf(unknown, Type.string)).toBe('unknown');
  });

  test('what is added to what is there makes what the rule does, or is written as a whole', () => {
    const near = fc.bigInt({ min: -5n, max: 5n });
    const integer = fc.oneof(
      near,
      near.map((n) => 2n ** 63n - 3n + n),
      near.map((n) => -(2n ** 63n) + 3n + n),
    );
    const delta = fc.oneof(
      integer.filter((n) => n < 2n ** 63n && n >= -(2n ** 63n)),
      near.map((n) => new Decimal((n * ONE) / 4n)),
    );
    const start = fc.oneof(integer.map(String), fc.constantFrom('1.5', '-0.25', '1e5', 'x', ''));
    const met = { added: 0, written: 0 };
    fc.assert(
      fc.property(start, fc.array(delta, { minLength: 1, maxLength: 4 }), (text, all) => {
        const key = state();
        key.put(op(EU, 0, 1), Type.string, '', bytes(text));
        const last = all.at(-1)!;
        all.slice(0, -1).forEach((by, i) => key.increment(op(US, i + 1, 10 + i), Type.string, '', by));
        const before = textOf(key, Type.string)!;
        key.increment(op(AP, 1, 5), Type.string, '', last);
        const element = key.findElement(Type.string, '')!;
        if (!isAddedOn(element, last, origins)) {
          met.written++;
          return;
        }
        met.added++;
        // INCRBY takes integers alone, within 64 bits; a decimal is added by a script.
        const by = isDecimal(element, origins) && typeof last === 'bigint' ? new Decimal(unitsOf(last)) : last;
        if (typeof by === 'bigint') {
          const sum = BigInt(before) + by;
          expect(BigInt.asIntN(64, BigInt(before))).toBe(BigInt(before));
          expect(BigInt.asIntN(64, sum)).toBe(sum);
          expect(textOf(key, Type.string)).toBe(String(sum));
        } else expect(parseDecimal(textOf(key, Type.string)!)).toBe(parseDecimal(before)! + unitsOf(by));
      }),
      { numRuns: 2000 },
    );
    expect(met.added).toBeGreaterThan(300);
    expect(met.written).toBeGreaterThan(100);
  });

  test('many that all have seen become one, decimals with integers', () => {
    const key = state();
    key.delete(op(EU, 0, 1));
    for (let i = 1; i <= 40; i++)
      key.increment(op(EU, i, i), Type.string, '', i % 2 === 0 ? 1n : new Decimal(ONE / 2n));
    const element = key.findElement(Type.string, '')!;
    element.compact([40]);
    expect(element.increments.length).toBe(1);
    expect(textOf(key, Type.string)).toBe('30');
  });

  test('a put replaces what it has seen, whatever the stamps', () => {
    const key = state();
    key.put(op(EU, 1, 99), Type.string, '', bytes('a'));
    key.put(op(US, 1, 5, 1), Type.string, '', bytes('b'));
    expect(textOf(key, Type.string)).toBe('b');
  });

  test('increments add up; a put takes those that it has seen', () => {
    const key = state();
    key.increment(op(EU, 1, 1), Type.string, '', 5n);
    expect(textOf(key, Type.string)).toBe('unknown'); // on what was in Redis before
    key.increment(op(US, 1, 2), Type.string, '', 7n);
    key.put(op(AP, 1, 3, 1), Type.string, '', bytes('100'));
    expect(textOf(key, Type.string)).toBe('107');
  });

  test('a delete removes only what it has seen', () => {
    const key = state();
    key.increment(op(EU, 1, 1), Type.string, '', 5n);
    key.increment(op(US, 1, 2), Type.string, '', 7n);
    key.wipe(op(AP, 1, 3, 1));
    expect(textOf(key, Type.string)).toBe('7');
  });

  test('sums saturate; increments on a winner that is no number are ignored', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.hash, 'f', bytes(String(2n ** 63n - 2n)));
    key.increment(op(US, 1, 2), Type.hash, 'f', 7n);
    expect(textOf(key, Type.hash, 'f')).toBe(String(2n ** 63n - 1n));
    key.put(op(EU, 2, 3), Type.hash, 'f', bytes('text'));
    expect(textOf(key, Type.hash, 'f')).toBe('text');
  });

  test('the type of the highest live operation stands', () => {
    const key = state();
    key.put(op(EU, 1, 5), Type.hash, 'f', bytes('v'));
    key.put(op(US, 1, 6), Type.set, 'm', bytes(''));
    expect(visibleType(key, origins)).toBe(Type.set);
    expect(commands((out) => rewriteKey(out, key, origins))).toEqual(['DEL k', 'SADD k m']);
    // An operation removes what it has seen of other types.
    key.put(op(AP, 1, 1, 1, 1), Type.zset, 'm', bytes('3'));
    expect(visibleType(key, origins)).toBe(Type.zset);
    expect(commands((out) => rewriteKey(out, key, origins))).toEqual(['DEL k', 'ZADD k 3 m']);
  });
});

describe('time to live', () => {
  const ttlOf = (key: KeyState): number | null | 'unknown' => {
    const ttl = resolveTtl(key, origins);
    return ttl.known ? ttl.at : 'unknown';
  };

  test('nothing known: what Redis has', () => {
    expect(ttlOf(state())).toBe('unknown');
  });

  test('holds for a string that it has seen, not for a winner beside it', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.string, '', bytes('a'));
    key.setTtl(op(EU, 2, 2), 1000, true);
    expect(ttlOf(key)).toBe(1000);
    key.put(op(US, 1, 9), Type.string, '', bytes('b'));
    expect(ttlOf(key)).toBeNull();
  });

  test('the highest of those that have not seen each other; PERSIST is one of them', () => {
    const key = state();
    key.setTtl(op(EU, 1, 5), 1000, true);
    key.setTtl(op(US, 1, 4), 2000, true);
    expect(ttlOf(key)).toBe(1000);
    key.setTtl(op(AP, 1, 6), null, true);
    expect(ttlOf(key)).toBeNull();
    key.setTtl(op(AP, 2, 7, 1, 1), 3000, true);
    expect(ttlOf(key)).toBe(3000);
  });

  test('goes with the delete that has seen it', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.hash, 'f', bytes('v'));
    key.setTtl(op(EU, 2, 2), 1000, true);
    key.wipe(op(US, 1, 3, 2));
    key.put(op(US, 2, 4, 2), Type.hash, 'f', bytes('w'));
    expect(ttlOf(key)).toBeNull();
  });

  test('goes with the last element of a collection', () => {
    const key = state();
    key.wipe(op(EU, 1, 1));
    key.put(op(EU, 2, 2), Type.set, 'm', bytes(''));
    key.setTtl(op(EU, 3, 3), 1000, true);
    key.remove(op(EU, 4, 4), Type.set, 'm');
    key.put(op(EU, 5, 5), Type.set, 'm', bytes(''));
    expect(ttlOf(key)).toBeNull();
  });

  test('is as Redis has it where that may have removed the last element; one that came beside it is sure', () => {
    const key = state();
    key.put(op(EU, 0, 0), Type.set, 'm', bytes(''));
    key.remove(op(EU, 1, 1), Type.set, 'n');
    key.setTtl(op(EU, 2, 2), 1000, true);
    // Whether the set holds more than the window knows of, nobody can tell.
    key.remove(op(EU, 3, 3), Type.set, 'm');
    expect(ttlOf(key)).toBe('unknown');
    expect(key.mayDifferInTtl).toBe(true);
    key.setTtl(op(US, 1, 4), 2000, true);
    expect(ttlOf(key)).toBe(2000);
  });

  test('goes with the write that begins a collection anew, which deletions emptied that had not seen each other', () => {
    const key = state();
    key.delete(op(EU, 1, 1));
    for (const name of ['m', 'n']) key.put(op(EU, 2, 2), Type.set, name, bytes(''));
    key.setTtl(op(EU, 3, 3), 1000, true);
    const removals = [op(US, 1, 4, 3), op(AP, 1, 5, 3)];
    removals.forEach((by, i) => {
      key.remove(by, Type.set, 'mn'[i]!);
      key.note(by);
    });
    key.put(op(EU, 4, 6, 3, 1, 1), Type.set, 'm', bytes(''));
    expect(ttlOf(key)).toBeNull();
  });

  test('of before the window: what removes elements may have removed it', () => {
    const key = state();
    key.remove(op(EU, 1, 1), Type.set, 'm');
    key.put(op(US, 1, 2), Type.set, 'n', bytes(''));
    expect(ttlOf(key)).toBe('unknown');
    expect(key.mayDifferInTtl).toBe(true);
  });

  const keep = (key: KeyState, by: Op): void => {
    keepTtls(key, by, origins);
    key.wipe(by, true);
    key.put(by, Type.string, '', bytes('kept'));
  };

  test('SET … KEEPTTL keeps the one of the value that it found, not that of the one beside it', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.string, '', bytes('a'));
    key.setTtl(op(EU, 2, 2), 1000, true);
    keep(key, op(US, 1, 3, 2));
    expect(ttlOf(key)).toBe(1000);
    key.put(op(AP, 1, 9), Type.string, '', bytes('b'));
    keep(key, op(AP, 2, 10, 2, 1));
    expect(ttlOf(key)).toBeNull();
  });

  test('what SET … KEEPTTL found is not sure beside an operation that it had not seen', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.string, '', bytes('a'));
    key.setTtl(op(EU, 2, 2), 1000, true);
    const beside = op(US, 1, 3, 1);
    key.put(beside, Type.string, '', bytes('b'));
    key.note(beside);
    keep(key, op(EU, 3, 4));
    expect(ttlOf(key)).toBe('unknown');
  });

  test('one that another has seen is gone, even where that other does not hold', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.string, '', bytes('a'));
    key.setTtl(op(EU, 2, 2), 1000, true);
    key.setTtl(op(EU, 3, 3), 2000, true);
    keep(key, op(US, 1, 9, 2));
    expect(ttlOf(key)).toBeNull();
  });

  test('of before the window: goes with SET, and with a delete', () => {
    for (const act of ['wipe', 'delete'] as const) {
      const key = state();
      key[act](op(EU, 1, 1));
      key.put(op(EU, 1, 1), Type.string, '', bytes('a'));
      expect(ttlOf(key)).toBeNull();
    }
  });

  test('stands while an element is there that the removal had seen', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.set, 'm', bytes(''));
    key.setTtl(op(EU, 2, 2), 1000, true);
    key.remove(op(EU, 3, 3), Type.set, 'n');
    expect(ttlOf(key)).toBe(1000);
  });

  test('stands where what its region had seen removed nothing since, though the window has lost the elements', () => {
    const key = state();
    key.put(op(EU, 1, 1), Type.set, 'm', bytes(''));
    key.setTtl(op(EU, 2, 2), 1000, true);
    const deletion = op(US, 1, 3, 1);
    key.delete(deletion);
    key.note(deletion);
    const write = op(EU, 3, 4);
    key.put(write, Type.set, 'o', bytes(''));
    key.note(write);
    expect(ttlOf(key)).toBe(1000);
    expect(key.mayDifferInTtl).toBe(false);
    // Where it had seen the deletion too, what was left of the key then is not known.
    key.put(op(AP, 1, 5, 2, 1), Type.set, 'p', bytes(''));
    expect(key.mayDifferInTtl).toBe(true);
  });
});

test('an expiry is a delete; one that a renewal had not seen is remembered', () => {
  const key = state();
  key.put(op(EU, 1, 1), Type.string, '', bytes('a'));
  key.expire(op(US, 1, 2, 1));
  expect(key.isAbsent).toBe(true);
  expect(key.contradictsExpiry(op(EU, 2, 3))).toBe(true);
  expect(key.contradictsExpiry(op(EU, 2, 3, -1, 1))).toBe(false);
});

test('an operation has not seen itself', () => {
  const one = op(EU, 1, 1, 1);
  expect(saw(one, one)).toBe(false);
  expect(saw(op(EU, 2, 2), one)).toBe(true);
});

test('a correction of the whole key takes what is dead of it, and its time to live', () => {
  const key = state();
  key.delete(op(EU, 1, 1));
  key.put(op(EU, 2, 2), Type.hash, 'f', bytes('v'));
  expect(commands((out) => correctKey(out, key, null, origins))).toEqual(['DEL k', 'HSET k f v']);
  const other = state();
  other.put(op(EU, 1, 1), Type.hash, 'f', bytes('v'));
  other.setTtl(op(EU, 2, 2), 1000, true);
  expect(commands((out) => correctKey(out, other, null, origins))).toEqual(['HSET k f v', 'PEXPIREAT k 1000']);
});

test('a correction leaves alone what only Redis knows', () => {
  const pushed = state();
  pushed.opaque(op(EU, 1, 1));
  expect(commands((out) => correctKey(out, pushed, null, origins))).toEqual([]);
  const renewed = state();
  renewed.setTtl(op(EU, 1, 1), 1000, true);
  expect(commands((out) => correctKey(out, renewed, null, origins))).toEqual(['PEXPIREAT k 1000']);
  const removed = state();
  removed.remove(op(US, 2, 4), Type.hash, 'g');
  expect(commands((out) => correctKey(out, removed, null, origins))).toEqual(['HDEL k g']);
  const key = state();
  key.increment(op(EU, 1, 1), Type.hash, 'n', 5n);
  key.put(op(EU, 2, 2), Type.hash, 'f', bytes('v'));
  key.remove(op(US, 1, 3), Type.hash, 'g');
  expect(commands((out) => correctKey(out, key, key.elements(), origins))).toEqual(['HSET k f v', 'HDEL k g']);
});

/** A region runs its operations in order, and sees the others' as they come. */
const history = fc.array(
  fc.record({
    region: fc.constantFrom(EU, US, AP),
    /** How far it has come in the others' operations: a part of what is left. */
    sees: fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100)),
    kind: fc.constantFrom('put', 'put', 'increment', 'increment', 'remove', 'wipe'),
    name: fc.constantFrom('f', 'n'),
    value: fc.nat(9),
    skew: fc.nat(3),
  }),
  { maxLength: 14 },
);

test('a value is a function of the set of operations: any causal order gives it', () => {
  fc.assert(
    fc.property(history, fc.infiniteStream(fc.nat(1000)), (steps, choices) => {
      // Vectors are closed: who sees an operation sees what that had seen.
      const counts = [0, 0, 0];
      const seen = [
        [-1, -1, -1],
        [-1, -1, -1],
        [-1, -1, -1],
      ];
      const made: { op: Op; apply: (key: KeyState) => void }[] = [];
      const vectors = new Map<string, readonly number[]>();
      let clock = 0;
      for (const { region, sees, kind, name, value, skew } of steps) {
        const mine = seen[region]!;
        for (const other of [EU, US, AP]) {
          if (other === region) continue;
          const upTo = mine[other]! + Math.floor(((counts[other]! - 1 - mine[other]!) * sees[other]!) / 100);
          if (upTo <= mine[other]!) continue;
          mine[other] = upTo;
          for (const [i, position] of (vectors.get(`${other} ${upTo}`) ?? []).entries())
            if (i !== region && position > mine[i]!) mine[i] = position;
        }
        const position = counts[region]!++;
        const vector = mine.map((at, i) => (i === region ? position - 1 : at));
        vectors.set(`${region} ${position}`, vector);
        const one = new Op(region, position, (clock += 3) + skew, vector);
        made.push({
          op: one,
          apply: (key) => {
            if (kind === 'put') key.put(one, Type.hash, name, bytes(String(value)));
            else if (kind === 'increment') key.increment(one, Type.hash, name, BigInt(value));
            else if (kind === 'remove') key.remove(one, Type.hash, name);
            else key.wipe(one);
          },
        });
      }
      const show = (order: typeof made): string => {
        const key = state();
        // The key begins empty: all that lives is in the window.
        key.wipe(new Op(EU, -1, 0, [-1, -1, -1]));
        for (const { apply } of order) apply(key);
        return ['f', 'n'].map((name) => textOf(key, Type.hash, name)).join();
      };
      const left = [...made];
      const order: typeof made = [];
      while (left.length > 0) {
        const ready = left.filter(
          ({ op: one }) =>
            !left.some(({ op: other }) => other !== one && (one.seen[other.origin] ?? -1) >= other.position),
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
