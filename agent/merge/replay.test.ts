import { wordsOf } from '../../test/sim/core-region';
import { encode } from '../../test/sim/redis';
import { type OpRecord, type OriginId, RecordKind, type Vector } from '../record';
import { Batch } from './batch';
import { MergeCore } from './core';
import { divide, missingOf, rememberFrom, Replay, splitRecord } from './replay';

function commands(...list: string[]): Buffer {
  return Buffer.concat(list.map((text) => encode(text.split(' '))));
}

function record(origin: OriginId, start: number, payload: Buffer, o: Partial<OpRecord> = {}): OpRecord {
  const end = start + payload.length;
  return { kind: RecordKind.stream, origin, start, end, stamp: 100, ops: 1, db: 0, seen: new Map(), payload, ...o };
}

function newCore(base?: OriginId): MergeCore {
  return new MergeCore({ region: 'a', members: ['a', 'b', 'c'], ...(base === undefined ? {} : { base }) });
}

test('of entries of a stream that met all are written again: Redis may have refused the first below the second', () => {
  const core = newCore();
  for (const origin of ['b:1', 'c:1']) core.assume(origin, 0);
  core.remember(record('b:1', 0, commands('XADD s 5-1 f b')));
  core.remember(record('c:1', 0, commands('XADD s 7-1 f c')));
  const batch = new Batch();
  const raced = core.corrections.takeRaced();
  core.corrections.correct(raced, batch);
  expect(wordsOf(batch)).toMatch(/5-1 2 f b .*7-1 2 f c|5-1.* f b.*7-1.* f c/);
});

test.each(['added before', 'added behind'])(
  'after a restart the key of an integer that was added beside a decimal waits for a state: %s',
  (order) => {
    const core = newCore();
    for (const origin of ['a:1', 'b:1']) core.assume(origin, 0);
    const own = record('a:1', 0, commands('INCRBYFLOAT n 0.5'));
    const other = record('b:1', 0, commands('INCRBY n 1'));
    if (order === 'added before') core.remember(other);
    core.local(own, { again: true });
    if (order === 'added behind') core.remember(other);
    expect(core.settling.awaitedElsewhere().map(({ key }) => key)).toEqual(['n']);
  },
);

test('after a restart entries of an older history that had come back below a newer one are written again', () => {
  const core = newCore();
  for (const origin of ['a:1', 'a:2']) core.assume(origin, 0);
  core.local(record('a:1', 0, commands('XADD s 5-1 f x', 'XADD s 6-1 f y'), { ops: 2 }), { again: true });
  core.local(record('a:2', 0, commands('XADD s 7-1 f z')), { again: true });
  const batch = new Batch();
  core.corrections.correct(core.corrections.takeRaced(), batch);
  expect(wordsOf(batch)).toMatch(/5-1.* f x.*6-1.* f y/);
});

test('after a restart all of an older history that a failover had taken back, and that had come again below a newer entry, is written again', () => {
  const core = newCore();
  for (const origin of ['a:1', 'a:2']) core.assume(origin, 0);
  const replay = new Replay(core, 'a', 'a:2');
  const first = commands('XADD s 5-1 f x');
  replay.add(record('a:1', 0, first));
  replay.add(record('a:1', first.length, commands('XADD s 6-1 f y')));
  replay.add(record('a:2', 0, commands('XADD s 7-1 f z')));
  const batch = new Batch();
  core.corrections.correct(core.corrections.takeRaced(), batch);
  expect(wordsOf(batch)).toMatch(/5-1.* f x.*6-1.* f y/);
});

test.each([
  ['that had not seen', [], ['k']],
  ['that had seen', [['b:1', 1000]] as const, []],
])(
  'operations that met, one of them %s what nobody needs any more: another region tells what the key is',
  (_, saw, expected) => {
    const core = newCore();
    // What was before that was `HSET k n 59`.
    core.assume('b:1', 1000);
    core.skip('b:1', 1000);
    core.assume('c:1', 0);
    const replay = new Replay(core, 'a', 'a:1');
    const other = commands('SET k v');
    for (const [origin, start, payload, stamp, seen] of [
      ['c:1', 0, other, 4, new Map(saw)],
      ['b:1', 1000, commands('HSET k f v'), 5, new Map()],
    ] as const)
      replay.add(record(origin, start, payload, { stamp, seen }));
    replay.finish();
    expect(core.settling.awaitedElsewhere().map(({ key }) => key)).toEqual(expected);
    expect(core.corrections.racedKeys).toBe(1 - expected.length);
    // What comes has seen all of that.
    expect(core.window.isPatchy(core.find(0, 'k')!)).toBe(false);
  },
);

describe('a record in two parts', () => {
  const first = commands('SET k 1', 'SELECT 3', 'SET l 2');
  const second = commands('INCR n', 'PING', 'SET m 3');
  const whole = record('b:1', 1000, Buffer.concat([first, second]), { ops: 4, stamp: 50, db: 1 });

  test('positions, stamps, counts and the database go on', () => {
    const [before, after] = splitRecord(whole, 1000 + first.length);
    expect(before).toMatchObject({ start: 1000, end: 1000 + first.length, ops: 2, stamp: 50, db: 1, payload: first });
    expect(after).toMatchObject({ start: before.end, end: whole.end, ops: 2, stamp: 52, db: 3, payload: second });
  });

  test('what is told of operations goes with them', () => {
    const numbered = {
      ...whole,
      kind: RecordKind.told,
      unsettled: new Set([0, 2]),
      added: new Map([
        [1, '0.5'],
        [3, '-1'],
      ] as const),
    };
    const [before, after] = splitRecord(numbered, 1000 + first.length);
    expect([...before.added!]).toEqual([[1, '0.5']]);
    expect([...after.added!]).toEqual([[1, '-1']]);
    expect([...before.unsettled!]).toEqual([0]);
    expect([...after.unsettled!]).toEqual([0]);
  });

  test('keepalives between records are in no payload', () => {
    const shifted = { ...whole, start: 900 };
    const [before, after] = splitRecord(shifted, 950);
    expect(before).toMatchObject({ start: 900, end: 950, ops: 0 });
    expect(before.payload.length).toBe(0);
    expect(after).toMatchObject({ start: 950, end: whole.end, ops: 4, stamp: 50, db: 1 });
  });

  test('by what Redis holds: all, nothing, or a part', () => {
    const cut = 1000 + first.length;
    expect(divide(whole, whole.end)).toEqual({ held: whole, rest: null });
    expect(divide(whole, 1000)).toEqual({ held: null, rest: whole });
    expect(divide(whole, cut)).toMatchObject({ held: { end: cut }, rest: { start: cut } });
    const state = { ...whole, kind: RecordKind.state };
    expect(divide(state, cut)).toEqual({ held: null, rest: state });
  });
});

describe('replay', () => {
  test('what waits for others is given when they have come, each origin in order', () => {
    const core = newCore();
    const given: string[] = [];
    jest.spyOn(core, 'remember').mockImplementation((r) => {
      given.push(`${r.origin} ${r.start}`);
      core.assume(r.origin, r.end);
    });
    jest.spyOn(core, 'local').mockImplementation((r) => {
      given.push(`own ${r.origin} ${r.start}`);
      core.assume(r.origin, r.end);
    });
    for (const origin of ['a:0', 'a:1', 'b:1', 'c:1']) core.assume(origin, 0);
    const payload = commands('SET k 1');
    const n = payload.length;
    const replay = new Replay(core, 'a', 'a:1');
    replay.add(record('a:0', 0, payload, { seen: new Map([['b:1', n]]) }));
    replay.add(record('a:0', n, payload));
    replay.add(record('b:1', 0, payload, { seen: new Map([['c:1', n]]) }));
    expect(given).toEqual([]);
    expect(replay.reached('a:0')).toBe(2 * n);
    expect(replay.waits('b:1')).toBe(true);
    replay.add(record('c:1', 0, payload));
    expect(given).toEqual(['c:1 0', 'b:1 0', 'own a:0 0', `own a:0 ${n}`]);
    replay.add(record('a:1', 0, payload, { seen: new Map([['d:1', 7]]) }));
    replay.finish();
    expect(given.at(-1)).toBe('own a:1 0');
    expect(replay.waiting()).toEqual([]);
  });

  test('what has seen an own operation that the journal has lost waits until that has been read again', () => {
    const core = newCore();
    for (const origin of ['a:1', 'b:1']) core.assume(origin, 0);
    const own = record('a:1', 0, commands('HSET h f v'), { stamp: 5 });
    const replay = new Replay(core, 'a', 'a:1');
    replay.add(record('b:1', 0, commands('UNLINK h'), { stamp: 9, seen: new Map([['a:1', own.end]]) }));
    expect(replay.neededOf('a:1')).toBe(own.end);
    replay.add(own);
    expect(replay.neededOf('a:1')).toBe(-1);
    expect(replay.waiting()).toEqual([]);
    // Redis has removed it.
    expect(core.corrections.racedKeys).toBe(0);
    expect(core.isMade(0, 'h', 'hash', 'f')).toBe(false);
  });

  test('an operation of an own older history that a block had met is corrected again', () => {
    const core = newCore();
    const replay = new Replay(core, 'a', 'a:1');
    core.assume('b:1', 0);
    core.assume('a:old', 0);
    replay.add(record('b:1', 0, commands('SET k theirs'), { stamp: 5 }));
    replay.add(record('a:old', 0, commands('SET k ours'), { stamp: 9 }));
    const raced = core.corrections.takeRaced();
    expect(raced.map(({ key }) => key)).toEqual(['k']);
    const batch = new Batch();
    core.corrections.correct(raced, batch);
    expect(wordsOf(batch)).toContain('SET k ours');
  });
});

describe('records that come from peers and are in Redis already', () => {
  class Queue {
    readonly lanes = new Map<OriginId, OpRecord[]>();
    put(...records: OpRecord[]): void {
      for (const r of records) this.lanes.set(r.origin, [...(this.lanes.get(r.origin) ?? []), r]);
    }
    origins(): Iterable<OriginId> {
      return this.lanes.keys();
    }
    peek(origin: OriginId): OpRecord | undefined {
      return this.lanes.get(origin)?.[0];
    }
    take(origin: OriginId): void {
      this.lanes.get(origin)!.shift();
    }
  }

  test('are remembered; what is behind them stays, to be planned', () => {
    const core = newCore();
    const replay = new Replay(core, 'a', 'a:1');
    const one = commands('SET k 1');
    const two = commands('SET k 1', 'SET l 2');
    const held: Vector = new Map([
      ['b:1', one.length * 2],
      ['c:1', one.length],
    ]);
    core.assume('b:1', 0);
    const queue = new Queue();
    queue.put(record('b:1', 0, one), record('b:1', one.length, two, { ops: 2 }));
    expect(rememberFrom(queue, replay, held)).toBe(true);
    expect(missingOf(replay, held)).toEqual(['c:1']);
    expect(queue.peek('b:1')).toMatchObject({ start: one.length, ops: 2 });
    expect(core.operations).toBe(2);
    // Nothing twice.
    rememberFrom(queue, replay, held);
    expect(core.operations).toBe(2);
    queue.put(record('c:1', 0, Buffer.alloc(0), { kind: RecordKind.birth, ops: 0 }), record('c:1', 0, one));
    rememberFrom(queue, replay, held);
    expect(missingOf(replay, held)).toEqual([]);
    const batch = new Batch();
    core.plan(queue.peek('b:1')!, batch, held.get('b:1'));
    expect(wordsOf(batch)).toBe('SELECT 0 SET l 2');
  });

  test('a state that a failover has taken back is not waited for: before it there is no operation', () => {
    const core = newCore();
    const replay = new Replay(core, 'a', 'a:1');
    const held = new Map([['a:1', 150]]);
    const queue = new Queue();
    const payload = commands('DEL k', 'RPUSH k v');
    const birth = record('a:1', 0, Buffer.alloc(0), { kind: RecordKind.birth, ops: 0, end: 100 });
    queue.put(birth, record('a:1', 100, payload, { kind: RecordKind.state, end: 200.5 }));
    rememberFrom(queue, replay, held);
    expect(missingOf(replay, held)).toEqual([]);
    expect(core.isDeliverable(queue.peek('a:1')!)).toBe(true);
  });
});

describe("the mesh's data, loaded while clients write", () => {
  const base = 'a:base~';
  const own = 'a:1~';
  let core: MergeCore;
  let at: number;
  let loaded: number;
  beforeEach(() => {
    core = newCore(base);
    at = 0;
    loaded = 0;
  });
  const write = (command: string, sawBase = false): void => {
    const seen = new Map(sawBase ? [[base, loaded]] : []);
    const r = record(own, at, commands(command), { stamp: 1e6, seen });
    at = r.end;
    core.local(r);
  };
  const load = (...list: string[]): string => {
    const r = record(base, loaded, commands(...list), { stamp: 1, ops: list.length });
    loaded = r.end;
    const batch = new Batch();
    core.planBase(r, batch);
    return wordsOf(batch);
  };
  const corrections = (): string => {
    const raced = core.corrections.takeRaced();
    const batch = new Batch();
    core.corrections.correct(raced, batch);
    core.corrections.corrected(raced);
    core.foldBase(loaded);
    return wordsOf(batch);
  };

  test('what clients replaced or removed is left out, what they added to is added to', () => {
    write('SET s mine');
    write('INCRBY n 5');
    write('HDEL h gone');
    write('HINCRBY h n 2');
    write('DEL d');
    expect(load('SET s theirs', 'SET n 100', 'HSET h gone 1 kept 2 n 40', 'RPUSH d x y', 'SET other 1')).toBe(
      'SELECT 0 SET n 105 HSET h kept 2 HSET h n 42 SET other 1',
    );
    expect(corrections()).toBe('');
  });

  test('what they wrote before the block and nobody had read is corrected after it', () => {
    load('SET s theirs', 'SET n 100', 'HSET h gone 1 kept 2', 'SET d 1');
    write('SET s mine');
    write('INCRBY n 5');
    write('HDEL h gone');
    write('DEL d');
    expect(corrections()).toBe('SELECT 0 SET s mine SET n 105 HDEL h gone DEL d');
    expect(core.corrections.racedKeys).toBe(0);
  });

  test('what they write afterwards stands', () => {
    load('SET s theirs', 'HSET h f 1');
    corrections();
    write('DEL s', true);
    write('HSET h f 2', true);
    expect(core.corrections.racedKeys).toBe(0);
  });

  test('a key of an earlier try makes room, but for what clients did to it', () => {
    write('HSET h mine 1');
    write('HINCRBY h n 2');
    write('INCRBY n 5');
    expect(load('DEL h', 'HSET h n 40 theirs 1', 'DEL n', 'SET n 100', 'DEL x', 'SET x 1')).toBe(
      'SELECT 0 DEL h HSET h mine 1 HSET h n 2 HSET h n 42 HSET h theirs 1 SET n 5 SET n 105 DEL x SET x 1',
    );
  });
});
