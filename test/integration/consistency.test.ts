import type Redis from 'ioredis';
import { Mesh } from './mesh';

// The examples of docs/consistency.md: Paris and Tokyo write without having heard of each other, Tokyo later.

interface Example {
  readonly name: string;
  readonly before?: readonly string[];
  readonly paris: readonly string[];
  readonly tokyo: readonly string[];
  /** What a client reads in either region, in the end; the commands' `k` is the example's own key. */
  readonly read: readonly string[];
  readonly expected: unknown;
}

const bits = (...set: number[]): Buffer => {
  const bytes = Buffer.alloc(1);
  for (const bit of set) bytes[0]! |= 128 >> bit;
  return bytes;
};

const examples: readonly Example[] = [
  { name: 'two SETs', paris: ['SET k a'], tokyo: ['SET k b'], read: ['GET k'], expected: 'b' },
  { name: 'SET and DEL', before: ['SET k a'], paris: ['SET k b'], tokyo: ['DEL k'], read: ['GET k'], expected: 'b' },
  {
    name: 'two increments',
    before: ['SET k 10'],
    paris: ['INCRBY k 5'],
    tokyo: ['DECR k'],
    read: ['GET k'],
    expected: '14',
  },
  { name: 'INCR and SET', before: ['SET k 10'], paris: ['INCR k'], tokyo: ['SET k 3'], read: ['GET k'], expected: '4' },
  {
    name: 'two decimal increments',
    before: ['SET k 1.5'],
    paris: ['INCRBYFLOAT k 0.25'],
    tokyo: ['INCRBYFLOAT k 1'],
    read: ['GET k'],
    expected: '2.75',
  },
  {
    name: 'HSET and HDEL of two fields',
    before: ['HSET k x 1'],
    paris: ['HSET k y 2'],
    tokyo: ['HDEL k x'],
    read: ['HGETALL k'],
    expected: ['y', '2'],
  },
  {
    name: 'whole and decimal increment of a field',
    before: ['HSET k n 1'],
    paris: ['HINCRBY k n 2'],
    tokyo: ['HINCRBYFLOAT k n 0.5'],
    read: ['HGETALL k'],
    expected: ['n', '3.5'],
  },
  {
    name: 'SADD and DEL',
    before: ['SADD k a'],
    paris: ['SADD k b'],
    tokyo: ['DEL k'],
    read: ['SMEMBERS k'],
    expected: ['b'],
  },
  {
    name: 'SREM and SADD of a member',
    before: ['SADD k a'],
    paris: ['SREM k a'],
    // SADD of a member that is there does nothing, and is no operation.
    tokyo: ['SREM k a', 'SADD k a'],
    read: ['SMEMBERS k'],
    expected: ['a'],
  },
  {
    name: 'two increments of a score',
    before: ['ZADD k 1 a'],
    paris: ['ZINCRBY k 2 a'],
    tokyo: ['ZINCRBY k 3 a'],
    read: ['ZSCORE k a'],
    expected: '6',
  },
  {
    name: 'two conditional scores',
    before: ['ZADD k 1 a'],
    paris: ['ZADD k GT 5 a'],
    tokyo: ['ZADD k GT 4 a'],
    read: ['ZSCORE k a'],
    expected: '4',
  },
  {
    name: 'pushes at both ends',
    before: ['RPUSH k a'],
    paris: ['RPUSH k b'],
    tokyo: ['LPUSH k c'],
    read: ['SORT k ALPHA'],
    expected: ['a', 'b', 'c'],
  },
  {
    name: 'a pop and a push',
    before: ['RPUSH k a b'],
    paris: ['LPOP k'],
    tokyo: ['RPUSH k c'],
    read: ['LRANGE k -2 -1'],
    expected: ['b', 'c'],
  },
  {
    name: 'two entries of a stream',
    paris: ['XADD k * f 1'],
    tokyo: ['XADD k * f 2'],
    read: ['XLEN k'],
    expected: 2,
  },
  {
    name: 'two entries of one ID',
    paris: ['XADD k 5-1 f 1'],
    tokyo: ['XADD k 5-1 f 2'],
    read: ['XLEN k'],
    expected: 2,
  },
  {
    name: 'two bits',
    before: ['SETBIT k 7 0'],
    paris: ['SETBIT k 0 1'],
    tokyo: ['SETBIT k 3 1'],
    read: ['GET k'],
    expected: bits(0, 3).toString('latin1'),
  },
  { name: 'two HyperLogLogs', paris: ['PFADD k a'], tokyo: ['PFADD k b'], read: ['PFCOUNT k'], expected: 2 },
  {
    name: 'two parts appended',
    before: ['SET k a'],
    paris: ['APPEND k b'],
    tokyo: ['APPEND k c'],
    read: ['GET k'],
    expected: 'abc',
  },
  { name: 'two types', paris: ['SET k v'], tokyo: ['HSET k f v'], read: ['HGETALL k'], expected: ['f', 'v'] },
  {
    name: 'EXPIRE and PERSIST',
    before: ['SET k v EX 90'],
    paris: ['EXPIRE k 10'],
    tokyo: ['PERSIST k'],
    read: ['TTL k'],
    expected: -1,
  },
];

let mesh: Mesh;
let paris: Redis;
let tokyo: Redis;
beforeAll(async () => {
  mesh = await Mesh.start({ regions: ['paris', 'tokyo'] });
  [paris, tokyo] = mesh.regions.map((region) => region.client()) as [Redis, Redis];
  const run = async (client: Redis, of: (example: Example) => readonly string[]): Promise<void> => {
    for (const [i, example] of examples.entries()) for (const command of of(example)) await call(client, i, command);
  };
  await run(paris, ({ before }) => before ?? []);
  await mesh.apart(
    () => run(paris, (example) => example.paris),
    () => run(tokyo, (example) => example.tokyo),
  );
  await mesh.waitEqual();
});
afterAll(() => mesh?.stop());

function call(client: Redis, example: number, command: string): Promise<unknown> {
  const [name, ...args] = command.split(' ') as [string, ...string[]];
  return client.callBuffer(name, ...args.map((arg) => (arg === 'k' ? `k${example}` : arg))).then(textOf);
}

function textOf(reply: unknown): unknown {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1');
  return Array.isArray(reply) ? reply.map(textOf) : reply;
}

for (const [i, { name, read, expected }] of examples.entries())
  test(name, async () => {
    for (const client of [paris, tokyo])
      for (const command of read) expect(await call(client, i, command)).toEqual(expected);
  });
