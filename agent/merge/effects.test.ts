import * as fc from 'fast-check';
import { CommandScanner, encodeCommand } from '../resp';
import { Class, commandByName, commandNames, findCommand, UNKNOWN_COMMAND } from './commands';
import { decodeEffects, type Effect, INT64_MAX, INT64_MIN, parseInteger, parseScore } from './effects';
import { Type } from './key-state';

function effectsOf(...argv: (string | Buffer)[]): Effect[] {
  const scanner = new CommandScanner();
  scanner.push(encodeCommand(argv));
  if (!scanner.next()) throw new Error('no command');
  const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
  const effects: Effect[] = [];
  decodeEffects(command, scanner, effects);
  return effects;
}

const set = (key: string, value: string, over: object = {}): object => ({
  kind: 'set',
  key,
  value: Buffer.from(value),
  keepTtl: false,
  expireAt: null,
  ...over,
});
const put = (type: Type, names: string[], values: string[]): object => ({
  kind: 'put',
  key: 'k',
  type,
  names,
  values: values.map((value) => Buffer.from(value)),
});
const increment = (type: Type, name: string, delta: bigint | number): object => ({
  kind: 'increment',
  key: 'k',
  type,
  name,
  delta,
});
const fieldTtl = (names: string[], expireAt: number | null): object => ({
  kind: 'field-ttl',
  key: 'k',
  type: Type.hash,
  names,
  expireAt,
});
const remove = (type: Type, names: string[]): object => ({ kind: 'remove', key: 'k', type, names });

test.each<[string, object[]]>([
  ['SET k v', [set('k', 'v')]],
  ['set k v', [set('k', 'v')]],
  ['SET k v KEEPTTL', [set('k', 'v', { keepTtl: true })]],
  ['SET k v PXAT 1700', [set('k', 'v', { expireAt: 1700 })]],
  ['SET k v EXAT 17', [set('k', 'v', { expireAt: 17000 })]],
  ['SET k v NX GET', [set('k', 'v')]],
  ['SET k v XX PXAT 5', [set('k', 'v', { expireAt: 5 })]],
  ['SET k v IFEQ w', [set('k', 'v')]],
  ['SET k v IFDNE 1234 KEEPTTL', [set('k', 'v', { keepTtl: true })]],
  ['MSETEX 2 k v l w XX PXAT 5', [set('k', 'v', { expireAt: 5 }), set('l', 'w', { expireAt: 5 })]],
  ['SETNX k v', [set('k', 'v')]],
  ['GETSET k v', [set('k', 'v')]],
  ['MSET k v l w', [set('k', 'v'), set('l', 'w')]],
  ['INCR k', [increment(Type.string, '', 1n)]],
  ['DECR k', [increment(Type.string, '', -1n)]],
  ['INCRBY k 7', [increment(Type.string, '', 7n)]],
  ['DECRBY k 7', [increment(Type.string, '', -7n)]],
  ['DECRBY k -7', [increment(Type.string, '', 7n)]],
  ['DEL k', [{ kind: 'delete', key: 'k' }]],
  ['DELIFEQ k v', [{ kind: 'delete', key: 'k' }]],
  ['HPEXPIREAT k 1700 FIELDS 2 f g', [fieldTtl(['f', 'g'], 1700)]],
  ['HPEXPIREAT k 1700 NX FIELDS 1 f', [fieldTtl(['f'], 1700)]],
  ['HEXPIREAT k 17 FIELDS 1 f', [fieldTtl(['f'], 17000)]],
  ['HPERSIST k FIELDS 1 f', [fieldTtl(['f'], null)]],
  ['HSETEX k PXAT 1700 FIELDS 1 f v', [put(Type.hash, ['f'], ['v']), fieldTtl(['f'], 1700)]],
  ['HSETEX k FNX FIELDS 2 f v g w', [put(Type.hash, ['f', 'g'], ['v', 'w'])]],
  ['HSETEX k KEEPTTL FIELDS 1 f v', [{ ...put(Type.hash, ['f'], ['v']), keepTtl: true }]],
  ['DELEX k IFNE v', [{ kind: 'delete', key: 'k' }]],
  [
    'DEL k l',
    [
      { kind: 'delete', key: 'k' },
      { kind: 'delete', key: 'l' },
    ],
  ],
  ['UNLINK k', [{ kind: 'expire', key: 'k' }]],
  ['unlink k', [{ kind: 'delete', key: 'k' }]],
  [
    'UNLINK k l',
    [
      { kind: 'delete', key: 'k' },
      { kind: 'delete', key: 'l' },
    ],
  ],
  ['PEXPIREAT k 1700', [{ kind: 'ttl', key: 'k', expireAt: 1700 }]],
  ['EXPIREAT k 17', [{ kind: 'ttl', key: 'k', expireAt: 17000 }]],
  ['PERSIST k', [{ kind: 'ttl', key: 'k', expireAt: null }]],
  ['HSET k f v g w', [put(Type.hash, ['f', 'g'], ['v', 'w'])]],
  ['HMSET k f v', [put(Type.hash, ['f'], ['v'])]],
  ['HSETNX k f v', [put(Type.hash, ['f'], ['v'])]],
  ['HINCRBY k f -3', [increment(Type.hash, 'f', -3n)]],
  ['HDEL k f g', [remove(Type.hash, ['f', 'g'])]],
  ['SADD k a b', [put(Type.set, ['a', 'b'], ['', ''])]],
  ['SREM k a', [remove(Type.set, ['a'])]],
  ['ZADD k 1.5 a 2 b', [put(Type.zset, ['a', 'b'], ['1.5', '2'])]],
  ['ZADD k CH 1 a', [put(Type.zset, ['a'], ['1'])]],
  ['ZADD k GT 1 a', [put(Type.zset, ['a'], ['1'])]],
  ['ZADD k inf a', [put(Type.zset, ['a'], ['inf'])]],
  ['ZADD k INCR 3 a', [increment(Type.zset, 'a', 3)]],
  ['ZADD k XX INCR 3 a', [increment(Type.zset, 'a', 3)]],
  ['ZINCRBY k -0.5 a', [increment(Type.zset, 'a', -0.5)]],
  ['ZREM k a', [remove(Type.zset, ['a'])]],
  ['FLUSHALL', [{ kind: 'flush', scope: 'all' }]],
  ['FLUSHDB ASYNC', [{ kind: 'flush', scope: 'db' }]],
  ['SWAPDB 1 2', [{ kind: 'swap', a: 1, b: 2 }]],
  ['PUBLISH channel message', []],
  ['SELECT 3', []],
])('%s', (line, expected) => {
  expect(effectsOf(...line.split(' '))).toEqual(expected);
});

test.each<[string, string[]]>([
  ['RPUSH k a', ['k']],
  ['RPOPLPUSH k l', ['k', 'l']],
  ['LMPOP 2 k l LEFT', ['k', 'l']],
  ['ZUNIONSTORE k 2 l m WEIGHTS 1 2', ['k', 'l', 'm']],
  ['BITOP AND k l m', ['k', 'l', 'm']],
  ['RENAME k l', ['k', 'l']],
  ['PFMERGE k l m', ['k', 'l', 'm']],
  // Several pairs under a condition: which of them counted only Redis knows.
  ['ZADD k GT 1 a 2 b', ['k']],
  // A flag that the decoder does not know, a number that is none.
  ['SET k v SOMEDAY w', ['k']],
  ['INCRBY k 1.5', ['k']],
  ['ZADD k one a', ['k']],
  // A module's command.
  ['JSON.SET k $ 1', ['k']],
  ['HPEXPIREAT k 1700 FIELDS 2 f', ['k']],
  ['HPEXPIREAT k 1700 GT FIELDS 2 f g', ['k']],
  ['HSETEX k EX 5 FIELDS 1 f v', ['k']],
])('%s is carried as it is, with all its keys', (line, keys) => {
  expect(effectsOf(...line.split(' '))).toMatchObject([{ kind: 'opaque', keys }]);
});

test("nothing is known of an agent's keys that a client names among its own", () => {
  expect(effectsOf('DEL', 'meridian:cursor', 'a', 'meridian:x')).toEqual([{ kind: 'delete', key: 'a' }]);
  expect(effectsOf('UNLINK', 'a', 'meridian:x')).toEqual([{ kind: 'delete', key: 'a' }]);
  expect(effectsOf('MSET', 'meridian:cursor', 'x', 'a', '1')).toEqual([set('a', '1')]);
});

test('a push adds, a pop does not', () => {
  expect(effectsOf('RPUSH', 'k', 'a')).toEqual([{ kind: 'opaque', keys: ['k'], adds: true }]);
  expect(effectsOf('LPOP', 'k')).toEqual([{ kind: 'opaque', keys: ['k'] }]);
});

test('MOVE and COPY … DB touch their keys in the other database too', () => {
  const both = (keys: string[], db: number): object[] => [
    { kind: 'opaque', keys },
    { kind: 'opaque', keys, db },
  ];
  expect(effectsOf('MOVE', 'k', '3')).toEqual(both(['k'], 3));
  expect(effectsOf('COPY', 'k', 'l', 'db', '7', 'REPLACE')).toEqual(both(['k', 'l'], 7));
  expect(effectsOf('COPY', 'k', 'l', 'REPLACE')).toEqual([{ kind: 'opaque', keys: ['k', 'l'] }]);
  expect(effectsOf('COPY', 'k', 'l', 'DB', 'x')).toEqual([{ kind: 'opaque', keys: ['k', 'l'] }]);
});

test('keys, fields and values are bytes', () => {
  const bytes = Buffer.from([0, 13, 10, 255, 128]);
  expect(effectsOf('HSET', bytes, bytes, bytes)).toEqual([
    { kind: 'put', key: bytes.toString('latin1'), type: Type.hash, names: [bytes.toString('latin1')], values: [bytes] },
  ]);
});

test('whatever the arguments, decoding never throws', () => {
  const name = fc.oneof(fc.constantFrom(...commandNames()), fc.string({ minLength: 1 }));
  const arg = fc.oneof(
    fc.string(),
    fc.constantFrom('NX', 'PXAT', 'KEEPTTL', 'INCR', 'GT', '1', '-1', 'inf', 'nan', ''),
  );
  fc.assert(
    fc.property(name, fc.array(arg, { maxLength: 6 }), (command, args) => {
      effectsOf(command, ...args);
    }),
    { numRuns: 2000 },
  );
});

test('every command that changes keys has an effect, and names its keys', () => {
  for (const name of commandNames()) {
    const command = commandByName(name)!;
    if (command.class !== Class.element && command.class !== Class.verbatim) continue;
    const effects = effectsOf(name, '1', 'a', '1', 'b', '1', 'c');
    expect(effects.length).toBeGreaterThan(0);
  }
});

test('integers are those of Redis: no plus, no leading zeros, 64 bits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: INT64_MIN, max: INT64_MAX }), (n) => {
      expect(parseInteger(String(n))).toBe(n);
    }),
  );
  for (const text of [
    '',
    '-',
    '+1',
    '01',
    '-0',
    ' 1',
    '1 ',
    '1.0',
    '0x1',
    String(INT64_MAX + 1n),
    String(INT64_MIN - 1n),
  ])
    expect(parseInteger(text)).toBeNull();
});

test('scores are read as Redis writes them', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (n) => {
      expect(parseScore(String(n))).toBe(n === 0 ? 0 : n);
    }),
  );
  expect(['inf', '+inf', '-inf', 'Infinity'].map(parseScore)).toEqual([Infinity, Infinity, -Infinity, Infinity]);
  expect(['', 'nan', '1e', 'one', '.'].map(parseScore)).toEqual([null, null, null, null, null]);
});
