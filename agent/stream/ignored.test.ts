import { ConflictPolicies } from '../../model';
import { commandsIn } from '../../test/sim/redis';
import type { OpRecord } from '../record';
import { CommandScanner, CommandWriter } from '../resp';
import { Recorder, type Trespass } from './recorder';

const policies = new ConflictPolicies([
  { keys: 'local:*', policy: 'ignore' },
  { keys: '*', policy: 'ignore', db: 3 },
  { keys: 'eu:*', policy: 'region:eu' },
  { keys: 'us:*', policy: 'region:us' },
]);

const encode = (commands: readonly string[][]): Buffer => {
  const writer = new CommandWriter(4096);
  for (const command of commands) writer.command(command);
  return writer.take();
};

/** What is recorded of a stream, given in pieces of so many bytes. */
function recorded(stream: Buffer, pieceBytes = stream.length, trespasses: Trespass[] = []): OpRecord[] {
  const records: OpRecord[] = [];
  const recorder = new Recorder(
    { origin: 'eu:1', offset: 1000, end: 1000, stamp: 1, seen: new Map(), db: 0 },
    {
      record: (record) => records.push({ ...record, payload: Buffer.from(record.payload) }),
      marker: () => undefined,
      heartbeat: () => undefined,
      getAck: () => undefined,
      trespass: (trespass) => trespasses.push(trespass),
    },
    { policies },
  );
  for (let at = 0; at < stream.length; at += pieceBytes)
    recorder.push(Buffer.from(stream.subarray(at, at + pieceBytes)));
  expect(recorder.state.offset).toBe(1000 + stream.length);
  return records;
}

const commandsOf = (records: readonly OpRecord[]): string[] => records.flatMap(({ payload }) => commandsIn(payload));

test('what is about ignored keys alone is not recorded, and its bytes stay here', () => {
  const before = encode([['SET', 'a', '1']]);
  const ignored = encode([
    ['SET', 'local:1', 'secret'],
    ['RPUSH', 'local:2', 'secret'],
    ['DEL', 'local:1', 'local:2'],
    ['RENAME', 'local:1', 'local:3'],
  ]);
  const behind = encode([['SET', 'b', '2']]);
  const records = recorded(Buffer.concat([before, ignored, behind]));
  expect(records.map(({ payload }) => payload.toString())).toEqual([before.toString(), behind.toString()]);
  expect(records.map(({ start, end, ops }) => [start, end, ops])).toEqual([
    [1000, 1000 + before.length, 1],
    [1000 + before.length, 1000 + before.length + ignored.length + behind.length, 1],
  ]);
});

test('in a transaction, in any pieces: the others keep their positions', () => {
  const stream = encode([
    ['MULTI'],
    ['SET', 'a', '1'],
    ['SET', 'local:1', 'secret'],
    ['INCR', 'b'],
    ['SELECT', '3'],
    ['SET', 'c', 'secret'],
    ['EXEC'],
    ['HSET', 'd', 'f', 'secret'],
  ]);
  for (const pieceBytes of [1, 7, stream.length]) {
    const [record, ...others] = recorded(stream, pieceBytes);
    expect(others).toEqual([]);
    expect(record!.ops).toBe(2);
    expect(record!.payload.includes('secret')).toBe(false);
    expect(commandsIn(record!.payload)).toEqual(['MULTI', 'SET a 1', 'INCR b', 'SELECT 3', 'EXEC']);
    // The INCR ends where Redis says that it does.
    const end = stream.indexOf('INCR') + 'INCR\r\n$1\r\nb\r\n'.length;
    const scanner = new CommandScanner();
    scanner.push(record!.payload);
    for (let i = 0; i < 3; i++) scanner.next();
    expect(record!.end - record!.payload.length + scanner.end).toBe(1000 + end);
  }
});

test('of keys that stand for themselves the others stay', () => {
  const stream = encode([
    ['MSET', 'a', '1', 'local:1', 'secret', 'b', '2'],
    ['DEL', 'local:1', 'a'],
    ['UNLINK', 'a', 'local:1'],
    ['MSETEX', '2', 'local:1', 'secret', 'c', '3', 'PXAT', '5'],
    ['SUNIONSTORE', 'sum', 'local:2', 's'],
  ]);
  const records = recorded(stream);
  expect(commandsOf(records)).toEqual([
    'MSET a 1 b 2',
    'DEL a',
    // In upper case it would be an expiry.
    'unlink a',
    'MSETEX 1 c 3 PXAT 5',
    'SUNIONSTORE sum local:2 s',
  ]);
  expect(records.reduce((sum, { ops }) => sum + ops, 0)).toBe(5);
  expect(Buffer.concat(records.map(({ payload }) => payload)).includes('secret')).toBe(false);
});

const cursor = ['SET', 'meridian:cursor', '1 x:1 5 us:r2=9'];

test('what another region owns is told of, and not recorded; what an agent has applied is no trespass', () => {
  const stream = encode([
    ['SET', 'eu:1', '1'],
    ['SET', 'us:1', 'secret'],
    ['MULTI'],
    ['RPUSH', 'us:2', 'secret'],
    ['SET', 'a', '1'],
    ['EXEC'],
    ['MSET', 'us:3', 'secret', 'b', '2'],
    ['RENAME', 'us:4', 'c'],
    ['UNLINK', 'us:5'],
    ['XCLAIM', 'us:6', 'g', 'c', '0', '1-1'],
    ['PFCOUNT', 'us:7'],
    ['MULTI'],
    ['SET', 'us:8', '1'],
    ['UNLINK', 'us:9'],
    cursor,
    ['EXEC'],
  ]);
  for (const pieceBytes of [1, 7, stream.length]) {
    const trespasses: Trespass[] = [];
    const records = recorded(stream, pieceBytes, trespasses);
    expect(commandsOf(records)).toEqual(['SET eu:1 1', 'MULTI', 'SET a 1', 'EXEC', 'MSET b 2', 'RENAME us:4 c']);
    expect(Buffer.concat(records.map(({ payload }) => payload)).includes('secret')).toBe(false);
    expect(trespasses.map(({ db, key, isExpiry }) => `${db} ${key}${isExpiry ? ' expired' : ''}`)).toEqual([
      '0 us:1',
      '0 us:2',
      '0 us:3',
      '0 us:4',
      '0 us:5 expired',
      '0 us:9 expired',
    ]);
  }
});
