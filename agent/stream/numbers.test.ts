import * as fc from 'fast-check';
import type { RdbKey } from '../capture';
import { findCommand, UNKNOWN_COMMAND } from '../merge/commands';
import { CommandScanner, encodeCommand } from '../resp';
import { Numbers } from './numbers';

/** Tells a command as the recorder does: what it added, if that can be told. */
function tell(numbers: Numbers, text: string, db = 0): string | null {
  const scanner = new CommandScanner();
  scanner.push(encodeCommand(text.split(' ')));
  scanner.next();
  const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
  const by = numbers.addedBy(command, scanner, db);
  numbers.note(command, scanner, db);
  return by;
}

function last(numbers: Numbers, commands: readonly string[]): string | null {
  return commands.map((text) => tell(numbers, text)).at(-1) ?? null;
}

test.each<[string[], string | null]>([
  // Of nothing, and of what was there.
  [['SET k 0.5 KEEPTTL'], '0.5'],
  [['SET k 1.5', 'SET k 1.75 KEEPTTL'], '0.25'],
  [['SET k 10', 'SET k 9.5 KEEPTTL'], '-0.5'],
  [['SET k 1.5 KEEPTTL', 'SET k 4 KEEPTTL'], '2.5'],
  [['MSET a 1 k 2', 'INCRBY k 5', 'DECR k', 'SET k 6.1 KEEPTTL'], '0.1'],
  [['INCR k', 'SET k 1.5 KEEPTTL'], '0.5'],
  [['SET k 7', 'DEL k', 'SET k 1.5 KEEPTTL'], '1.5'],
  [['SET k 7', 'UNLINK k', 'SET k 1.5 KEEPTTL'], '1.5'],
  [['SET k 0.1', 'SET k 0.30000000000000001 KEEPTTL'], '0.20000000000000001'],
  // Not in the form that Redis gives it.
  [['SET k 1', 'set k 2 KEEPTTL'], null],
  [['LMOVE l k LEFT LEFT', 'SET k 2 KEEPTTL'], null],
  [['SMOVE s k a', 'SET k 2 KEEPTTL'], null],
  [['SORT l STORE k', 'SET k 2 KEEPTTL'], null],
  [['SET k 1', 'SET k 2 keepttl'], null],
  [['SET k 1', 'SET k 2'], null],
  [['SET k 1', 'SET k 2.50 KEEPTTL'], null],
  [['SET k 1', 'SET k x KEEPTTL'], null],
  [['SET k 1', 'SET k 2 KEEPTTL NX'], null],
  // What was there is no number, or not known.
  [['SET k x', 'SET k 2 KEEPTTL'], null],
  [['SET k 1', 'APPEND k 2', 'SET k 13 KEEPTTL'], null],
  [['SET a 1', 'RENAME a k', 'SET k 3 KEEPTTL'], null],
  [['SADD k m', 'SET k 3 KEEPTTL'], null],
  [['LPUSH k m', 'SET k 3 KEEPTTL'], null],
  [['XADD k 1-1 f v', 'SET k 3 KEEPTTL'], null],
  [['XGROUP CREATE k g 0 MKSTREAM', 'SET k 3 KEEPTTL'], null],
  [['HSET k f v', 'SET k 3 KEEPTTL'], null],
  [['UNHEARD.OF k', 'SET k 3 KEEPTTL'], null],
  [['SET k 1e3', 'SET k 1001 KEEPTTL'], null],
  [['INCRBY k 9223372036854775807', 'SET k 3 KEEPTTL'], null],
  // Fields: where a number replaces one, and they are not both integers.
  [['HSET h f 1', 'HSET h f 1.5'], '0.5'],
  [['HSET h f 1.5', 'HSET h f 3'], '1.5'],
  [['HSET h f 1', 'HINCRBY h f 2', 'HSET h f 3.5'], '0.5'],
  [['HSET h f 1', 'HSET h f 2'], null],
  [['HSET h f 1.5'], null],
  [['HSET h f x', 'HSET h f 1.5'], null],
  [['HSET h f 1', 'hset h f 1.5'], null],
  [['HSET h f 1', 'HSET h f 1.5 g 2'], null],
  [['HSET h f 1', 'HMSET h f 1.5'], null],
  [['HSET h f 1', 'HDEL h f', 'HSET h f 1.5'], null],
  [['HSET h f 1', 'DEL h', 'HSET h f 1.5'], null],
  [['HSET h f 1', 'DEL h', 'HSET h f 2', 'HSET h f 2.5'], '0.5'],
  [['HSET h f 1', 'FLUSHDB', 'HSET h f 1.5'], null],
  [['SET k 1', 'FLUSHALL', 'SET k 1.5 KEEPTTL'], '1.5'],
  // As Redis 8 tells of HINCRBYFLOAT: of nothing, where there was no hash, and of integers, too.
  [['HSETEX h KEEPTTL FIELDS 1 f 1.5'], '1.5'],
  [['HSET h f 1', 'HSETEX h KEEPTTL FIELDS 1 f 1.5'], '0.5'],
  [['HSET h f 1', 'HSETEX h KEEPTTL FIELDS 1 f 3'], '2'],
  [['HSETEX h KEEPTTL FIELDS 1 f 1.5', 'HSETEX h KEEPTTL FIELDS 1 f 1.25'], '-0.25'],
  [['HSET h f 1', 'HSETEX h PXAT 1700 FIELDS 2 f 2.5 g 3', 'HSETEX h KEEPTTL FIELDS 1 f 2.75'], '0.25'],
  [['HSET h f 1', 'hsetex h fields 1 f 2.5', 'HSETEX h KEEPTTL FIELDS 1 f 2.75'], '0.25'],
  [['HSET h g 1', 'HSETEX h KEEPTTL FIELDS 1 f 1.5'], null],
  [['HSET h f x', 'HSETEX h KEEPTTL FIELDS 1 f 1.5'], null],
  [['SADD h m', 'HSETEX h KEEPTTL FIELDS 1 f 1.5'], null],
  [['HSET h f 1', 'HSETEX h KEEPTTL FIELDS 2 f 1.5 g 2'], null],
  [['HSET h f 1', 'HSETEX h PXAT 1700 FIELDS 1 f 1.5'], null],
  [['HSET h f 1', 'HSETEX h FXX KEEPTTL FIELDS 1 f 1.5'], null],
  [['HSET h f 1', 'hsetex h keepttl fields 1 f 1.5'], null],
])('%j: %s', (commands, expected) => {
  expect(last(new Numbers(true), commands)).toBe(expected);
});

test('databases are apart, and can be swapped', () => {
  const numbers = new Numbers(true);
  tell(numbers, 'SET k 1', 0);
  tell(numbers, 'SET k 10', 1);
  expect(tell(numbers, 'SET k 1.5 KEEPTTL', 0)).toBe('0.5');
  tell(numbers, 'SWAPDB 0 1');
  expect(tell(numbers, 'SET k 11 KEEPTTL', 0)).toBe('1');
  expect(tell(numbers, 'SET k 2 KEEPTTL', 1)).toBe('0.5');
  tell(numbers, 'MOVE k 1', 0);
  expect(tell(numbers, 'SET other 2 KEEPTTL', 1)).toBeNull();
});

test('where not all was told, what was not told of is not known', () => {
  const numbers = new Numbers(false);
  expect(tell(numbers, 'SET k 1.5 KEEPTTL')).toBeNull();
  expect(tell(numbers, 'SET k 2 KEEPTTL')).toBe('0.5');
});

test('a snapshot is known', () => {
  const numbers = new Numbers(true);
  const load = (key: string, type: string, value: unknown): void =>
    numbers.load({ kind: 'key', db: 2, key: Buffer.from(key), type, value } as RdbKey);
  load('n', 'string', Buffer.from('2.5'));
  load('text', 'string', Buffer.from('x'));
  load('list', 'list', [Buffer.from('x')]);
  load('h', 'hash', [[Buffer.from('f'), Buffer.from('1'), null]]);
  expect(tell(numbers, 'SET n 3 KEEPTTL', 2)).toBe('0.5');
  expect(tell(numbers, 'SET text 3 KEEPTTL', 2)).toBeNull();
  expect(tell(numbers, 'SET list 3 KEEPTTL', 2)).toBeNull();
  expect(tell(numbers, 'SET new 3 KEEPTTL', 2)).toBe('3');
  expect(tell(numbers, 'HSET h f 1.25', 2)).toBe('0.25');
});

test('with little room it forgets, and never tells anything wrong', () => {
  const key = fc.nat({ max: 40 }).map((n) => `k${n}`);
  const step = fc.oneof(
    fc.record({ key, kind: fc.constant('add' as const), by: fc.integer({ min: -8, max: 8 }) }),
    fc.record({
      key,
      kind: fc.constantFrom('set' as const, 'del' as const, 'incr' as const, 'text' as const),
      by: fc.nat(),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const numbers = new Numbers(true, 16);
      const held = new Map<string, number | null>();

      for (const { key: name, kind, by } of steps) {
        const before = held.get(name);
        if (kind === 'text') {
          tell(numbers, `SET ${name} x`);
          held.set(name, null);
        } else if (kind === 'del') {
          tell(numbers, `DEL ${name}`);
          held.delete(name);
        } else if (kind === 'set') {
          tell(numbers, `SET ${name} ${by}`);
          held.set(name, by);
        } else if (kind === 'incr') {
          if (before === null || (before !== undefined && !Number.isInteger(before))) continue;
          tell(numbers, `INCR ${name}`);
          held.set(name, (before ?? 0) + 1);
        } else {
          if (before === null) continue;
          const after = (before ?? 0) + by / 8;
          const added = tell(numbers, `SET ${name} ${after} KEEPTTL`);
          if (added !== null) {
            expect(Number(added)).toBe(by / 8);
          }
          held.set(name, after);
        }
      }
      expect(numbers.size).toBeLessThanOrEqual(16);
    }),
    { numRuns: 300 },
  );
});
