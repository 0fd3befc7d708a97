import { encode } from '../../test/sim/redis';
import { decodeRecord, encodeRecord, type OpRecord, type OriginId, RecordKind, type Vector } from '../record';
import { Batch } from './batch';
import { MergeCore } from './core';
import { Type } from './key-state';
import { resolve } from './resolve';

// Region b reads a key's state and sends it; region c has removed, or written, what is in it meanwhile. In which order the two come to region a is the
// same.

const ORIGINS = ['a:1', 'b:1', 'c:1'];

class Region {
  readonly core: MergeCore;
  constructor(readonly name: string) {
    this.core = new MergeCore({ region: name, members: ['a', 'b', 'c'] });
    for (const origin of ORIGINS) this.core.assume(origin, 0);
  }

  takes(...records: OpRecord[]): this {
    for (const record of records)
      if (record.origin.startsWith(this.name)) this.core.local(record);
      else this.core.plan(record, new Batch());
    return this;
  }

  /** By the rule: undefined where it is older than what is known. */
  value(key: string, type: Type, name = ''): string | null | undefined {
    const element = this.core.find(0, key)?.findElement(type, name);
    const resolved = element === undefined ? undefined : resolve(element, this.core.origins);
    return resolved?.known === true ? (resolved.value?.toString() ?? null) : undefined;
  }
}

const ends = new Map<OriginId, number>();
beforeEach(() => ends.clear());

function record(origin: OriginId, stamp: number, seen: Record<string, OpRecord>, ...commands: string[]): OpRecord {
  const payload = Buffer.concat(commands.map((text) => encode(text.split(' '))));
  const start = ends.get(origin) ?? 0;
  const end = start + payload.length;
  ends.set(origin, end);
  const vector: Vector = new Map(Object.values(seen).map((r) => [r.origin, r.end]));
  return { kind: RecordKind.stream, origin, start, end, stamp, ops: commands.length, db: 0, seen: vector, payload };
}

/** The state as region b tells it, and others get it. */
function stateOf(b: Region, stamp: number, seen: Record<string, OpRecord>, ...commands: string[]): OpRecord {
  const told = { ...record('b:1', stamp, seen, ...commands), kind: RecordKind.state, ops: 1 };
  return decodeRecord(encodeRecord({ ...told, carried: b.core.carriedBy(0, told.payload) }));
}

/** In both orders. */
function inRegionA(before: OpRecord[], one: OpRecord, other: OpRecord): Region[] {
  return [new Region('a').takes(...before, one, other), new Region('a').takes(...before, other, one)];
}

test.each<[what: string, removes: string]>([
  ['HDEL', 'HDEL k f'],
  ['DEL', 'DEL k'],
  ['a SET', 'SET k v'],
])('%s that had seen a field removes it, though not the state that tells of it', (_, removes) => {
  const put = record('a:1', 1, {}, 'HSET k f 1 g 2');
  const b = new Region('b').takes(put);
  const state = stateOf(b, 5, { put }, 'DEL k', 'HSET k f 1 g 2');
  const removal = record('c:1', 3, { put }, removes);
  for (const a of inRegionA([put], state, removal)) {
    expect(a.value('k', Type.hash, 'f') ?? null).toBeNull();
    expect(a.value('k', Type.hash, 'g') ?? null).toBe(removes.startsWith('HDEL') ? '2' : null);
  }
});

test('a removal that had not seen the field leaves it', () => {
  const put = record('a:1', 1, {}, 'HSET k f 1');
  const b = new Region('b').takes(put);
  const state = stateOf(b, 5, { put }, 'DEL k', 'HSET k f 1');
  const removal = record('c:1', 3, {}, 'DEL k');
  for (const a of inRegionA([put], state, removal)) expect(a.value('k', Type.hash, 'f')).toBe('1');
});

test('what a client wrote after the value in a state wins, though the state came later', () => {
  const put = record('a:1', 1, {}, 'SET k old', 'ZADD z 1 m');
  const b = new Region('b').takes(put);
  const state = stateOf(b, 5, { put }, 'DEL k', 'SET k old', 'DEL z', 'ZADD z 1 m');
  const later = record('c:1', 3, {}, 'SET k new', 'ZADD z 2 m');
  for (const a of inRegionA([put], state, later)) {
    expect(a.value('k', Type.string)).toBe('new');
    expect(a.value('z', Type.zset, 'm')).toBe('2');
  }
});

test('what is older than all that is known goes by anybody who had not seen the state', () => {
  const known = record('a:1', 1, {}, 'SADD s other');
  const b = new Region('b').takes(known);
  const state = stateOf(b, 5, { known }, 'DEL s', 'SADD s old other');
  expect(state.carried).toEqual(new Map([[1, [{ origin: 'a:1', position: known.end, stamp: 1 }]]]));
  const removal = record('c:1', 3, {}, 'SREM s old');
  for (const a of inRegionA([known], state, removal)) {
    expect(a.value('s', Type.set, 'old')).toBeNull();
    expect(a.value('s', Type.set, 'other')).toBe('');
  }
});

test('a state removes nothing that another tells of and it has not seen', () => {
  const put = record('a:1', 1, {}, 'SADD s m');
  const b = new Region('b').takes(put);
  const state = stateOf(b, 5, { put }, 'DEL s', 'SADD s m');
  const empty = { ...record('c:1', 6, { put }, 'DEL s'), kind: RecordKind.state, ops: 1, carried: new Map() };
  for (const a of inRegionA([put], state, empty)) expect(a.value('s', Type.set, 'm')).toBe('');
});

test('a number that was added to counts as the state’s own', () => {
  const put = record('a:1', 1, {}, 'SET k 5', 'INCR k');
  const b = new Region('b').takes(put);
  const state = stateOf(b, 5, { put }, 'DEL k', 'SET k 6');
  expect(state.carried).toEqual(new Map([[0, []]]));
});

test('what lost to another is told of, too: it stands again where the winner is removed alone', () => {
  const one = record('a:1', 1, {}, 'HSET k f low');
  const two = record('c:1', 2, {}, 'HSET k f high');
  const b = new Region('b').takes(one, two);
  const state = stateOf(b, 5, { one, two }, 'DEL k', 'HSET k f high');
  const removal = record('c:1', 3, {}, 'HDEL k f');
  for (const a of inRegionA([one, two], state, removal)) expect(a.value('k', Type.hash, 'f')).toBe('low');
  const both = { ...removal, seen: new Map([[one.origin, one.end]]) };
  for (const a of inRegionA([one, two], state, both)) expect(a.value('k', Type.hash, 'f')).toBeNull();
});

test('a string keeps the time to live that came with it', () => {
  const put = record('a:1', 1, {}, 'SET k v PXAT 9000000000000');
  const b = new Region('b').takes(put);
  const state = stateOf(b, 5, { put }, 'DEL k', 'SET k v PXAT 9000000000002');
  const other = record('c:1', 0, {}, 'SET k w');
  for (const a of inRegionA([put], state, other)) {
    expect(a.value('k', Type.string)).toBe('v');
    expect(a.core.find(0, 'k')!.ttls).toHaveLength(1);
  }
});
