import fc from 'fast-check';
import { encode } from '../../test/sim/redis';
import { type OpRecord, RecordKind } from '../record';
import { Batch } from './batch';
import type { Conflict, ConflictSink } from './conflict';
import { MergeCore } from './core';

/** Writes of three regions that have not seen each other, told to the cores of all of them in any order. */
class Apart implements ConflictSink {
  readonly found: string[] = [];
  private readonly core: MergeCore;

  constructor(private readonly region: string) {
    this.core = new MergeCore({ region, members: ['a', 'b', 'c'] });
    for (const other of ['a', 'b', 'c']) this.core.assume(`${other}:1`, 0);
    this.core.notes.sink = this;
  }

  wants(): boolean {
    return true;
  }

  note({ type, element, reason, winner, loser }: Conflict): void {
    const side = (of: typeof loser | null): string =>
      of === null ? '-' : `${of.origin[0]}=${of.value()?.toString() ?? of.act}`;
    this.found.push(`${reason} ${type}${element === '' ? '' : `.${element}`}: ${side(loser)} lost to ${side(winner)}`);
  }

  tell(record: OpRecord): void {
    if (record.origin.startsWith(this.region)) this.core.local(record);
    else this.core.plan(record, new Batch());
  }
}

function record(region: string, stamp: number, ...commands: string[]): OpRecord {
  const payload = Buffer.concat(commands.map((text) => encode(text.split(' '))));
  const [ops, end] = [commands.length, payload.length];
  return { kind: RecordKind.stream, origin: `${region}:1`, start: 0, end, stamp, ops, db: 0, seen: new Map(), payload };
}

function foundBy(region: string, records: readonly OpRecord[]): string[] {
  const apart = new Apart(region);
  for (const each of records) apart.tell(each);
  return apart.found;
}

test.each<[string, string[], string[]]>([
  ['a plain SET', ['SET k x'], ['SET k y']],
  ['a SET with a time to live', ['SET k x PXAT 5000'], ['SET k y']],
])('%s that is earlier lost, in each region', (_, ours, theirs) => {
  const records = [record('a', 10, ...ours), record('b', 20, ...theirs)];
  for (const region of ['a', 'b', 'c'])
    for (const order of [records, [...records].reverse()])
      expect(foundBy(region, order)).toEqual(['later string: a=x lost to b=y']);
});

test.each<[string, string[], string[], string[]]>([
  ['fields', ['HSET h f x g y'], ['HSET h f z'], ['later hash.f: a=x lost to b=z']],
  ['scores', ['ZADD z 1 m'], ['ZADD z 2 m'], ['later zset.m: a=1 lost to b=2']],
  ['members of a set are there', ['SADD s m'], ['SADD s m'], []],
  ['increments add up', ['INCRBY n 1'], ['INCRBY n 2'], []],
  ['other fields merge', ['HSET h f x'], ['HSET h g y'], []],
  ['a delete that had not seen the write', ['SET k x'], ['DEL k'], ['unseen key: b=delete lost to a=x']],
  ['a removal of a field', ['HSET h f x'], ['HDEL h f'], ['unseen hash.f: b=delete lost to a=x']],
  ['another type', ['SET k x'], ['HSET k f y'], ['type string: a=x lost to b=y']],
  ['times to live', ['PEXPIREAT k 5000'], ['PERSIST k'], ['later ttl: a=5000 lost to b=ttl']],
  ['commands that a state settles', ['RPUSH l x'], ['RPUSH l y'], ['settled key: b=command lost to -']],
])('%s', (_, ours, theirs, expected) => {
  expect(foundBy('c', [record('a', 10, ...ours), record('b', 20, ...theirs)])).toEqual(expected);
});

test('of many writes each that loses is told once, in whatever order they come', () => {
  const writes = ['a', 'b', 'c'].map((region, i) =>
    record(region, [20, 30, 10][i]!, `SET k ${region}`, `HSET h f ${region}`),
  );
  fc.assert(
    fc.property(fc.shuffledSubarray(writes, { minLength: 3 }), fc.constantFrom('a', 'b', 'c'), (order, region) => {
      const losers = foundBy(region, order).map((text) => text.replace(/ lost.*/, ''));
      expect(losers.sort()).toEqual([
        'later hash.f: a=a',
        'later hash.f: c=c',
        'later string: a=a',
        'later string: c=c',
      ]);
    }),
  );
});
