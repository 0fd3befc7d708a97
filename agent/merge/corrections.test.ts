import { CoreRegion, wordsOf } from '../../test/sim/core-region';
import { encode } from '../../test/sim/redis';
import { type OpRecord, type OriginId, RecordKind } from '../record';
import { Batch } from './batch';
import { MergeCore } from './core';

const [own, other] = ['eu:1', 'us:1'] as [OriginId, OriginId];

/** A region's core, whose client's write met another region's FLUSHDB. */
function raced(): { core: MergeCore; correct(): string; flush(): void } {
  const core = new MergeCore({ region: 'eu', members: ['eu', 'us'] });
  core.assume(own, 0);
  core.assume(other, 0);
  const ends = new Map<OriginId, number>();
  const record = (origin: OriginId, command: string, seen: [OriginId, number][], stamp: number): OpRecord => {
    const payload = encode(command.split(' '));
    const start = ends.get(origin) ?? 0;
    const end = start + payload.length;
    ends.set(origin, end);
    return { kind: RecordKind.stream, origin, start, end, stamp, ops: 1, db: 0, seen: new Map(seen), payload };
  };
  core.plan(record(other, 'FLUSHDB', [], 10), new Batch());
  core.local(record(own, 'SET k v', [], 11));
  return {
    core,
    correct: () => {
      const states = core.corrections.takeRaced();
      const batch = new Batch();
      core.corrections.correct(states, batch);
      core.corrections.corrected(states, 'eu:block');
      return wordsOf(batch);
    },
    flush: () => core.local(record(own, 'FLUSHDB', [[other, ends.get(other)!]], 20)),
  };
}

test('what a client flushes before a correction, of a key that was not there, is removed behind it', () => {
  const { core, correct, flush } = raced();
  expect(correct()).toBe('SELECT 0 SET k v');
  // No WATCH has told of it, and Redis answered before it was read.
  flush();
  expect(core.corrections.racedKeys).toBe(1);
  expect(correct()).toBe('SELECT 0 DEL k');
});

test('what a client flushes behind a correction is gone', () => {
  const { core, correct, flush } = raced();
  correct();
  core.corrections.readBack('eu:block');
  flush();
  expect(core.corrections.racedKeys).toBe(0);
  expect(core.corrections.areUnderWay).toBe(false);
});

test('a block may be read back before Redis has answered', () => {
  const { core, correct, flush } = raced();
  core.corrections.readBack('eu:block');
  correct();
  flush();
  expect(core.corrections.racedKeys).toBe(0);
});

test('of a state of two keys one is not written again without the other: what has moved there since was in that one', () => {
  const b = new CoreRegion();
  b.comes('a:1', 1, b.at(), 'RPUSH k x', 'LMOVE k l LEFT LEFT', 'LMOVE l k LEFT LEFT');
  expect(b.state('a:1', 5, b.at('a:1'), 'DEL k', 'RPUSH k x', 'DEL l')).toBe('DEL k; RPUSH k x; DEL l');
  // It ran before that was written.
  b.client(6, 'LPOP k');
  b.tells(7, b.at('a:1', 'b:1'), 'DEL k', 'RPUSH k x');
  b.clientAt(8, b.at('a:1', 'b:1'), 'LMOVE k l LEFT LEFT');
  expect(b.correct()).toBe('');
  expect(
    b.core.settling
      .awaited(['a', 'b'])
      .get('a')
      ?.map(({ key }) => key),
  ).toContain('l');
});

describe('a state that is to be written once more, as Redis has refused something in its block,', () => {
  const settled = (): CoreRegion => {
    const b = new CoreRegion();
    b.comes('a:1', 1, b.at(), 'APPEND k x');
    b.comes('c:1', 1, b.at(), 'INCRBY k 1');
    b.answer = () => b.core.refused(0, 'k');
    expect(b.state('a:1', 2, b.at('a:1', 'c:1'), 'DEL k', 'SET k x')).toBe('DEL k; SET k x');
    return b;
  };

  test('is', () => expect(settled().correct()).toBe('DEL k; SET k x'));

  test('does not bring back what its region has deleted since', () => {
    const b = settled();
    expect(b.comes('a:1', 3, b.at('a:1', 'c:1'), 'DEL k')).toBe('DEL k; DEL k');
  });

  test('has what its region has added since', () => {
    const b = settled();
    expect(b.comes('a:1', 3, b.at('a:1', 'c:1'), 'APPEND k y')).toBe('APPEND k y; DEL k; SET k x; APPEND k y');
    expect(b.unsettled).toEqual(['k']);
  });
});

test('what a client has added to a counter, and given time, keeps both beside a state that had not seen it and says that there is no such key', () => {
  const b = new CoreRegion();
  b.client(1, 'INCRBY k 3', 'PEXPIREAT k 1700000000000');
  expect(b.state('a:1', 2, b.at(), 'DEL k')).toBe('DEL k; INCRBY k 3; PEXPIREAT k 1700000000000');
});
