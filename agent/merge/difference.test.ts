import { commandsIn } from '../../test/sim/redis';
import type { HashItem, RdbKey, RdbValue, StreamValue, ZsetItem } from '../capture/rdb';
import { RecordKind } from '../record';
import { encodeCommand } from '../resp';
import { type Amiss, isDoubtful, writeDifferences } from './difference';
import { Touches } from './touches';

const bytes = (text: string): Buffer => Buffer.from(text);

function entry(type: 'string' | 'hash' | 'list' | 'zset' | 'stream', elements: Record<string, string>): RdbKey {
  const pairs = Object.entries(elements);
  const values: Record<typeof type, RdbValue> = {
    string: Buffer.from(elements[''] ?? '', 'latin1'),
    hash: pairs.map(([name, value]): HashItem => [bytes(name), bytes(value), null]),
    list: pairs.map(([name]) => bytes(name)),
    zset: pairs.map(([name, value]): ZsetItem => [bytes(name), value]),
    stream: {
      entries: pairs.map(([id, value]) => [id, [bytes('f'), bytes(value)]]),
      length: pairs.length,
      lastId: pairs.at(-1)?.[0] ?? '0-0',
      maxDeletedId: '0-0',
      entriesAdded: pairs.length,
      groups: [],
    },
  };
  return { kind: 'key', db: 0, key: bytes('k'), type, value: values[type], expireAtMs: null } as RdbKey;
}

/** What is found of one key, where another region has told these records meanwhile (between "|"): a command, or a key's state as some (with ";"). */
function found(
  mine: RdbKey | null,
  theirs: RdbKey | null,
  meanwhile?: string,
  counted: boolean | null = null,
  /** The ID of an entry that came lately. */
  known: string | null = null,
  amiss: Amiss | null = null,
  /** Data of which some is in no operation: whether operations are known that made what is here. */
  unexplained: { isMade: boolean } | null = null,
  isMade = unexplained?.isMade === true,
  isOwn = false,
): string[] | 'unsettled' {
  const touches = new Touches(() => new Map([['eu:1', 1000]]));
  const common = { origin: 'eu:1', start: 0, end: 1000, stamp: 1, ops: 1, db: 0, seen: new Map() };
  for (const told of meanwhile?.split(' | ') ?? []) {
    const isState = told.includes('; ');
    const commands = told.split('; ').flatMap((one) => (one === '' ? [] : [encodeCommand(one.split(' '))]));
    const kind = isState ? RecordKind.state : RecordKind.difference;
    touches.note({ kind, ...common, payload: Buffer.concat(commands) }, -1);
  }
  const { operations, unsettled } = writeDifferences(
    [{ db: 0, key: 'k', parts: mine === null ? [] : [mine] }],
    [{ dump: theirs, expireAtMs: null, amiss }],
    touches,
    unexplained === null ? 'exact' : 'unexplained',
    {
      isExplained: () => false,
      isCounted: () => counted,
      isMade: () => isMade,
      hasEntry: (_db, _key, id) => id === known,
      corrected: () => [],
      libraries: { names: () => [], codeOf: () => undefined },
    },
    { isByKey: false, evicts: false, isOwn: () => isOwn },
    0,
  );
  if (unsettled.length > 0 && operations.length === 0) return 'unsettled';
  const commands = commandsIn(Buffer.concat(operations.map(({ payload }) => payload)));
  if (unsettled.length > 0) commands.push('unsettled');
  return commands;
}

test.each<['string' | 'hash' | 'zset', string, string, string | undefined, string[] | 'unsettled']>([
  ['string', '7', '5', undefined, ['INCRBY k 2']],
  ['string', '7', '15', 'INCRBY k 10', ['INCRBY k 2']],
  ['string', '7.5', '5', undefined, ['INCRBYFLOAT k 2.5']],
  ['string', '5', '7.5', 'INCRBYFLOAT k 2.5', []],
  ['string', '3.5', '1.5', undefined, ['INCRBYFLOAT k 2']],
  ['hash', '7', '5', undefined, ['HINCRBY k f 2']],
  ['hash', '0.3', '0.1', undefined, ['HINCRBYFLOAT k f 0.2']],
  ['hash', '1', '0.75', 'HINCRBYFLOAT k f 0.5', ['HINCRBYFLOAT k f 0.75']],
  ['zset', '7', '5', undefined, ['ZADD k 7 f']],
  ['zset', '7', '15', 'ZINCRBY k 10 f', ['ZINCRBY k 2 f']],
  ['zset', '5', '15', 'ZINCRBY k 10 f', []],
  // No integers: what somebody added can't be told from what was there.
  ['zset', '7.5', '5', undefined, ['ZADD k 7.5 f']],
  ['zset', '7.5', '15', 'ZINCRBY k 10 f', 'unsettled'],
  ['zset', '7', '15', 'ZINCRBY k 0.5 f', 'unsettled'],
])('%s: %s here, %s there, meanwhile %s: %j', (type, mine, theirs, meanwhile, expected) => {
  const name = type === 'string' ? '' : 'f';
  expect(found(entry(type, { [name]: mine }), entry(type, { [name]: theirs }), meanwhile)).toEqual(expected);
});

test.each<['string' | 'hash' | 'zset', boolean, string | undefined, string]>([
  ['string', false, undefined, 'SET k 7'],
  ['string', true, undefined, 'INCRBY k 2'],
  ['string', false, 'INCRBY k 0', 'INCRBY k 2'],
  ['hash', false, undefined, 'HSET k f 7'],
  ['hash', false, 'HINCRBY k f 0', 'HINCRBY k f 2'],
  ['zset', true, undefined, 'ZINCRBY k 2 f'],
  ['zset', false, undefined, 'ZADD k 7 f'],
])('%s that was added to before (%s), 7 here and 5 there, meanwhile %s: %s', (type, isCounted, meanwhile, expected) => {
  const name = type === 'string' ? '' : 'f';
  expect(found(entry(type, { [name]: '7' }), entry(type, { [name]: '5' }), meanwhile, isCounted)).toEqual([expected]);
});

test.each(['string', 'hash', 'zset'] as const)(
  'of a %s that is 0 here, and elsewhere what others made of nothing, that it is there is told, unless an operation tells it',
  (type) => {
    const name = type === 'string' ? '' : 'n';
    const [command, more] = { string: ['INCRBY k', ''], hash: ['HINCRBY k n', ''], zset: ['ZINCRBY k', ' n'] }[type];
    const find = (isMade: boolean) =>
      found(
        entry(type, { [name]: '0' }),
        entry(type, { [name]: '-5' }),
        `${command} -5${more}`,
        null,
        null,
        null,
        null,
        isMade,
      );
    expect(find(false)).toEqual([`${command} 0${more}`]);
    expect(find(true)).toEqual([]);
  },
);

describe.each([undefined, 'PEXPIREAT k 5', 'PEXPIREAT k 5 | PERSIST k'])(
  'meanwhile %s, which says nothing of',
  (meanwhile) => {
    test.each<[string, string, string[]]>([
      ['a b', 'a b', []],
      ['a b', 'a', ['RPUSH k b']],
      ['b c a', 'a', ['LPUSH k c b']],
      ['a b', '', ['RPUSH k a b']],
      ['b a c', 'a', ['DEL k', 'RPUSH k b a c']],
      ['a', 'a b', ['DEL k', 'RPUSH k a']],
    ])('a list: %s here, %s there: %j', (mine, theirs, expected) => {
      const list = (words: string): RdbKey =>
        entry('list', Object.fromEntries(words.split(' ').flatMap((word) => (word === '' ? [] : [[word, '']]))));
      expect(found(list(mine), list(theirs), meanwhile)).toEqual(expected);
    });

    test.each<[string, string, boolean | null, string[]]>([
      ['v', 'w', null, ['SET k v']],
      ['7', '5', null, ['INCRBY k 2']],
      ['7', '5', false, ['SET k 7']],
    ])('a string: %s here, %s there, counted %s: %j', (mine, theirs, counted, expected) => {
      expect(found(entry('string', { '': mine }), entry('string', { '': theirs }), meanwhile, counted)).toEqual(
        expected,
      );
    });
  },
);

test('a counter that others added to, and gave a time to live, has what was added here, too', () => {
  const [mine, theirs] = [entry('string', { '': '7' }), entry('string', { '': '15' })];
  expect(found(mine, theirs, 'INCRBY k 10 | PEXPIREAT k 5')).toEqual(['INCRBY k 2']);
  expect(found(mine, theirs, 'SET k 15 | PEXPIREAT k 5')).toBe('unsettled');
});

test.each<[Record<string, string> | null, Record<string, string>, string | undefined, string[]]>([
  [{ '1-1': 'a', '2-1': 'b' }, { '1-1': 'a' }, undefined, ['XADD k 2-1 f b', 'XSETID k 2-1']],
  [{ '2-1': 'b' }, { '1-1': 'a', '2-1': 'b' }, undefined, ['XDEL k 1-1']],
  // What they have added or trimmed since is on its way.
  [{ '1-1': 'a' }, { '1-1': 'a', '2-1': 'b' }, 'XADD k 2-1 f b', []],
  [{ '1-1': 'a', '2-1': 'b' }, { '2-1': 'b' }, 'XTRIM k MINID = 2-1', []],
  // An entry never changes: another one of the same ID is another one.
  [{ '2-1': 'b' }, { '2-1': 'c' }, 'XADD k 2-1 f c', ['XADD k 2-1 f b']],
  // Deleted here. They had added to it since; or only trimmed what there was.
  [null, { '2-1': 'b' }, 'XADD k 2-1 f b', []],
  [null, {}, 'XTRIM k MINID = 2-1', ['DEL k']],
  [null, { '1-1': 'a' }, 'XTRIM k MINID = 2-1 KEEP 1-1', ['DEL k']],
  [null, {}, 'XGROUP CREATE k g 0 MKSTREAM', []],
])('stream: %j here, %j there, meanwhile %s: %j', (mine, theirs, meanwhile, expected) => {
  expect(found(mine === null ? null : entry('stream', mine), entry('stream', theirs), meanwhile)).toEqual(expected);
});

test.each<[string | undefined, string[] | 'unsettled']>([
  [undefined, ['XADD k 1-1 f a', 'XDEL k 2-1', 'unsettled']],
  ['XDEL k 2-1', ['XADD k 1-1 f a', 'unsettled']],
  // It comes with that.
  ['XADD k 2-1 f b', ['XADD k 1-1 f a']],
])(
  'a stream with a lower last ID than there was made anew here: the state tells of it; meanwhile %s: %j',
  (meanwhile, expected) => {
    expect(found(entry('stream', { '1-1': 'a' }), entry('stream', { '2-1': 'b' }), meanwhile)).toEqual(expected);
  },
);

test('a stream that is new here is told though it holds nothing, and as far as it went, whatever others made of the key meanwhile', () => {
  const stream = (entries: Record<string, string>): RdbKey => {
    const key = entry('stream', entries);
    return { ...key, value: { ...(key.value as StreamValue), lastId: '2-1' } } as RdbKey;
  };
  const number = entry('string', { '': '4' });
  expect(found(stream({}), number, 'INCRBY k 4')).toEqual(['XSETID k 2-1']);
  expect(found(stream({ '1-1': 'a' }), number, 'INCRBY k 4')).toEqual(['XADD k 1-1 f a', 'XSETID k 2-1']);
  expect(found(stream({}), null, 'INCRBY k 4')).toEqual(['XSETID k 2-1']);
});

test('a key that others have emptied and made anew, as another type, is as it was but for what is new here', () => {
  const [mine, theirs] = [entry('hash', { f: '1' }), entry('string', { '': '-1' })];
  const meanwhile = 'HDEL k f | INCRBY k -1';
  expect(found(mine, theirs, meanwhile)).toEqual([]);
  expect(found(entry('hash', { f: '1', g: '2' }), theirs, meanwhile)).toEqual(['HSET k g 2']);
  // Here it was made anew: that it is another type is no doing of theirs.
  expect(found(mine, entry('string', { '': '4' }), 'INCRBY k -1')).toEqual(['DEL k', 'HSET k f 1']);
  expect(found(mine, entry('zset', { a: '1', b: '2' }), 'ZADD k 1 a')).toEqual(['DEL k', 'HSET k f 1']);
});

test('an entry that came lately and is not there may have been refused: that is no removal', () => {
  const [mine, theirs] = [entry('stream', { '2-1': 'b' }), entry('stream', { '1-1': 'a', '2-1': 'b' })];
  expect(found(mine, theirs)).toEqual(['XDEL k 1-1']);
  expect(found(mine, theirs, undefined, null, '1-1')).toEqual([]);
  // Nor is one that stands there, and is about to move.
  const other = entry('stream', { '1-1': 'c', '2-1': 'b' });
  expect(found(other, theirs)).toEqual(['XADD k 1-1 f c']);
  expect(found(other, theirs, undefined, null, '1-1')).toEqual([]);
});

test('of what waits for a state at the donor only what is here alone is told: the state tells the rest', () => {
  const [mine, theirs] = [entry('string', { '': '7' }), entry('string', { '': '5' })];
  expect(found(mine, theirs, undefined, null, null, 'state')).toBe('unsettled');
  expect(found(null, theirs, undefined, null, null, 'state')).toBe('unsettled');
  const [more, fewer] = [entry('hash', { a: '1', b: '2' }), entry('hash', { b: '3', c: '4' })];
  expect(found(more, fewer, undefined, null, null, 'state')).toEqual(['HSET k a 1', 'unsettled']);
  // What others did meanwhile may have taken it.
  expect(found(more, fewer, 'DEL k', null, null, 'state')).toBe('unsettled');
});

test('what a region has told of all elements takes none away that it had not seen', () => {
  const [mine, theirs] = [entry('hash', { a: '1', b: '2' }), entry('hash', { b: '3', c: '4' })];
  const state = 'DEL k; HSET k b 3 c 4';
  expect(found(mine, theirs, state)).toEqual(['HSET k a 1']);
  expect(found(mine, theirs, state, null, null, null, { isMade: false })).toEqual(['HSET k a 1', 'unsettled']);
  // Nor of another type. Where nothing is left, it decides; and a client that replaces the key has seen what there was.
  expect(found(entry('zset', { n: '1' }), theirs, state)).toEqual(['ZADD k 1 n', 'unsettled']);
  expect(found(null, theirs, state)).toBe('unsettled');
  expect(found(mine, theirs, 'DEL k')).toBe('unsettled');
});

test('what a client removed elsewhere is not told again beside a state, where its removal is in a record', () => {
  const [mine, theirs] = [entry('hash', { a: '1', b: '2' }), entry('hash', { b: '3' })];
  const state = 'DEL k; HSET k b 3';
  expect(found(mine, theirs, `HDEL k a | ${state}`)).toEqual([]);
  expect(found(mine, theirs, `${state} | HDEL k a`)).toEqual([]);
  // Nobody can tell whether it was removed there, with nothing to tell of it, or is new here: what may be new is kept.
  expect(found(mine, theirs, state)).toEqual(['HSET k a 1']);
});

test('what is new here of a queue is told where others took from it; the donor tells the rest', () => {
  const [more, fewer] = [entry('zset', { a: '1', b: '2', n: '3' }), entry('zset', { b: '2' })];
  expect(found(more, fewer, 'ZPOPMIN k')).toEqual(['ZADD k 3 n', 'ZADD k 1 a', 'unsettled']);
  // Whose operation is known is not new.
  expect(found(more, fewer, 'ZPOPMIN k', null, null, null, { isMade: true })).toBe('unsettled');
  const [list, left] = [entry('list', { n: '', a: '', b: '' }), entry('list', { a: '' })];
  expect(found(list, left, 'RPOP k')).toEqual(['LPUSH k n', 'RPUSH k b', 'unsettled']);
  expect(found(list, left, 'RPOP k | SET k v')).toBe('unsettled');
  expect(found(list, left, 'DEL k; RPUSH k a')).toEqual(['LPUSH k n', 'RPUSH k b', 'unsettled']);
  expect(found(list, left, undefined, null, null, 'state')).toEqual(['LPUSH k n', 'RPUSH k b', 'unsettled']);
  expect(found(list, entry('zset', { a: '1' }), 'RPOP k')).toBe('unsettled');
});

test('what is here of another type than others have made it is new here, unless they may have emptied it first', () => {
  const [queue, list] = [entry('zset', { n: '3' }), entry('list', { a: '' })];
  expect(found(queue, list, 'LPUSH k a')).toEqual(['ZADD k 3 n', 'unsettled']);
  expect(found(entry('hash', { n: '3' }), list, 'LPUSH k a')).toEqual(['HSET k n 3', 'unsettled']);
  expect(found(queue, list, 'LPUSH k a b | RPOP k')).toEqual(['ZADD k 3 n', 'unsettled']);
  expect(found(queue, list, 'LPUSH k a b | LTRIM k 0 0')).toEqual(['ZADD k 3 n', 'unsettled']);
  expect(found(queue, list, 'ZREM k n | LPUSH k a')).toBe('unsettled');
  expect(found(queue, list, 'ZPOPMIN k | LPUSH k a')).toBe('unsettled');
  expect(found(queue, list, 'DEL k | LPUSH k a')).toBe('unsettled');
  expect(found(queue, list, 'DEL k; RPUSH k a')).toEqual(['ZADD k 3 n', 'unsettled']);
  // Whose operation is known is not new.
  expect(found(queue, list, 'LPUSH k a', null, null, null, { isMade: true })).toBe('unsettled');
});

test('what is new here of a string is told where others have only appended, or only set bits', () => {
  const text = (value: string): RdbKey => entry('string', { '': value });
  expect(found(text('abcNEW'), text('abcxyz'), 'APPEND k xyz')).toEqual(['APPEND k NEW', 'unsettled']);
  expect(found(text('abcxNEW'), text('abcxyz'), 'APPEND k x | APPEND k yz')).toEqual(['APPEND k xNEW', 'unsettled']);
  expect(found(text('abc'), text('abcxyz'), 'APPEND k xyz')).toBe('unsettled');
  // What a region has told of it meanwhile is made of the same.
  expect(found(text('abcNEW'), text('abcxyz'), 'APPEND k x | DEL k; SET k abcx | APPEND k yz')).toEqual([
    'APPEND k NEW',
    'unsettled',
  ]);
  expect(found(text('abcNEW'), text('abc'), 'DEL k; SET k abc')).toBe('unsettled');
  // It was something else, or more was done to it.
  expect(found(text('aNcNEW'), text('abcxyz'), 'APPEND k xyz')).toBe('unsettled');
  expect(found(text('abcNEW'), text('abcxyz'), 'SET k abc | APPEND k xyz')).toBe('unsettled');
  expect(found(text('abcNEW'), text('abcxyz'), 'SETRANGE k 0 abc | APPEND k xyz')).toBe('unsettled');
  expect(found(text('abcNEW'), text('abcxyz'), 'APPEND k xyz', null, null, 'all')).toBe('unsettled');
  expect(found(text('abcNEW'), text('abcxyz'), 'APPEND k xyz', null, null, null, { isMade: false })).toBe('unsettled');
  const bits = (...bytes: number[]): RdbKey => text(String.fromCharCode(...bytes));
  expect(found(bits(0x41), bits(0x00), 'SETBIT k 1 0')).toEqual(['SETBIT k 7 1', 'unsettled']);
  expect(found(bits(0x01, 0x40), bits(0x21), 'SETBIT k 0 0')).toEqual(['SETBIT k 2 0', 'SETBIT k 9 1', 'unsettled']);
  expect(found(bits(0x41), bits(0x00), 'SETBIT k 1 0 | APPEND k x')).toBe('unsettled');
  expect(found(bits(0x41), bits(0x00), 'SETBIT k 1 0 | FLUSHALL')).toBe('unsettled');
});

test('that a region has told that there is no such key takes nothing away that it had not seen; a client that deletes it does', () => {
  const nothing = {
    kind: 'key',
    db: 0,
    key: bytes('k'),
    type: 'hash',
    value: [],
    expireAtMs: null,
  } as unknown as RdbKey;
  const [hash, list] = [entry('hash', { a: '1' }), entry('list', { a: '' })];
  expect(found(hash, null, 'DEL k; ')).toEqual(['HSET k a 1', 'unsettled']);
  expect(found(list, null, 'RPOP k | DEL k; ')).toEqual(['RPUSH k a', 'unsettled']);
  expect(found(hash, nothing, 'HDEL k a | DEL k; ')).toEqual([]);
  expect(found(hash, null, 'DEL k')).toBe('unsettled');
  expect(found(list, null, 'RPOP k | DEL k')).toBe('unsettled');
});

test.each<[Record<string, string>, Record<string, string>, Amiss | null, boolean]>([
  [{ a: '1' }, { a: '2' }, null, false],
  [{ a: '1' }, { a: '2' }, 'all', true],
  [{ a: '1' }, { a: '2' }, ['a'], true],
  [{ a: '1' }, {}, ['a'], true],
  [{ a: '1', b: '1' }, { a: '2', b: '1' }, ['b'], true],
  [{ a: '1' }, { a: '2', b: '1' }, ['b'], false],
])('%j here, %j there, of which %j is amiss: doubtful %s', (mine, theirs, amiss, expected) => {
  const candidate = { db: 0, key: 'k', parts: [entry('hash', mine)] };
  expect(isDoubtful(candidate, { dump: entry('hash', theirs), expireAtMs: null, amiss })).toBe(expected);
});

test.each(['string', 'hash', 'zset'] as const)(
  'of a %s that somebody wrote whom nobody has heard of, a number here is raised to, but not where operations have made it',
  (type) => {
    const name = type === 'string' ? '' : 'n';
    const [seven, five] = ['7', '5'].map((value) => entry(type, { [name]: value })) as [RdbKey, RdbKey];
    const find = (isMade: boolean) => found(seven, five, undefined, null, null, null, { isMade });
    expect(find(false)).toEqual([
      type === 'string' ? 'INCRBY k 2' : type === 'hash' ? 'HINCRBY k n 2' : 'ZINCRBY k 2 n',
    ]);
    expect(find(true)).toBe('unsettled');
  },
);

test('of a key that this region owns all that it holds is told, whatever others have made of it', () => {
  const own = (mine: RdbKey | null, meanwhile?: string, amiss: Amiss | null = null): string[] | 'unsettled' =>
    found(mine, entry('hash', { a: '1', old: 'x' }), meanwhile, null, null, amiss, { isMade: false }, false, true);
  const whole = ['DEL k', 'HSET k a 2'];
  expect(own(entry('hash', { a: '2' }))).toEqual(whole);
  expect(own(entry('hash', { a: '2' }), 'DEL k; HSET k a 1 old x')).toEqual(whole);
  expect(own(entry('hash', { a: '2' }), undefined, 'state')).toEqual(whole);
  expect(own(null, 'DEL k; HSET k a 1 old x')).toEqual(['DEL k']);
});
