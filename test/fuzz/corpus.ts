/** What a real server sends: its stream, its snapshot, what DUMP and INFO answer. The seeds of all damage. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ReplicaLink } from '../../agent/capture';
import { TestServer, until } from '../../agent/capture/testserver';
import { CURSOR_KEY, formatMarker, HEARTBEAT_KEY } from '../../agent/stream/keys';

export interface Corpus {
  /** The replication stream from its first byte behind the snapshot. */
  stream: Buffer;
  /** The file that SAVE wrote. */
  rdb: Buffer;
  /** Payloads of DUMP, one for each key. */
  dumps: Buffer[];
  info: string;
}

type Line = (string | number | Buffer)[];

const cursor = (n: number): Line => [
  'SET',
  CURSOR_KEY,
  formatMarker({ block: `b:${n}`, stamp: 1024 * n, vector: new Map([['eu:0123456789abcdef', n * 100]]) }),
];

/** Every type in its small and its large form, transactions, blocks of an agent, expiries, scripts. */
function writes(): Line[] {
  const fields = (n: number): (string | number)[] => Array.from({ length: n * 2 }, (_, i) => `f${i}`);
  const members = (n: number): string[] => Array.from({ length: n }, (_, i) => `member:${i}`);
  return [
    ['SET', 'string', 'value'],
    ['SET', 'binary', Buffer.from([0, 13, 10, 36, 42, 255])],
    ['SET', 'long', 'x'.repeat(30_000)],
    ['SET', 'packed', 'abcabcabc'.repeat(500)],
    ['INCRBY', 'counter', -42],
    ['SETEX', 'due', 1000, 'v'],
    ['APPEND', 'string', '+'],
    ['SETBIT', 'bits', 77, 1],
    ['PFADD', 'hll', ...members(20)],
    ['HSET', 'hash', ...fields(8)],
    ['HSET', 'hash:large', ...fields(300)],
    ['HINCRBYFLOAT', 'hash', 'n', '1.5'],
    ['SADD', 'set', ...members(5)],
    ['SADD', 'set:large', ...members(300)],
    ['SADD', 'set:ints', 1, 2, 3, 70_000, '9223372036854775807'],
    ['ZADD', 'zset', 1.5, 'a', -2, 'b', 'inf', 'c'],
    ['ZADD', 'zset:large', ...members(200).flatMap((m, i) => [i / 3, m])],
    ['RPUSH', 'list', ...members(6), 'y'.repeat(9000), 7],
    ['RPUSH', 'list:large', ...members(2000)],
    ['XADD', 'stream', '1-1', 'f', 'v'],
    ['XADD', 'stream', '1-2', 'f', 'w'],
    ['XADD', 'stream', '2-1', 'g', 'v', 'h', 'w'],
    ['XGROUP', 'CREATE', 'stream', 'group', '0'],
    ['XREADGROUP', 'GROUP', 'group', 'reader', 'COUNT', 2, 'STREAMS', 'stream', '>'],
    ['XDEL', 'stream', '1-1'],
    ['GEOADD', 'geo', 13.36, 38.11, 'Palermo'],
    ['EVAL', "redis.call('SET', KEYS[1], 1) redis.call('LPUSH', KEYS[2], 2)", 2, 'lua:1', 'lua:2'],
    ['MULTI'],
    ['SET', 'in:1', 1],
    ['INCR', 'in:2'],
    ['EXEC'],
    ['MULTI'],
    ['SET', 'applied', 1],
    cursor(1),
    ['EXEC'],
    ['SET', HEARTBEAT_KEY, 1_700_000_000_000],
    cursor(2),
    ['PEXPIREAT', 'in:1', 1],
    ['SELECT', 3],
    ['MSET', 'a', 1, 'b', 2],
    ['PUBLISH', 'channel', 'message'],
    ['SELECT', 0],
    ['DEL', 'a', 'lua:1'],
  ];
}

export async function readCorpus(): Promise<Corpus> {
  const server = await TestServer.start();
  try {
    const link = new ReplicaLink({ host: '127.0.0.1', port: server.port });
    const chunks: Buffer[] = [];
    link.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
    const { offset } = await link.connect(null);
    for await (const _ of link.snapshotBatches());
    await server.run(...writes());
    const client = await server.client();
    try {
      // Until the child that wrote the link's snapshot is gone.
      await until(async () => (await client.call('SAVE')) === 'OK');
      const info = await client.call('INFO', 'replication');
      const end = Number(/master_repl_offset:(\d+)/.exec(String(info))?.[1]);
      await until(() => chunks.reduce((sum, chunk) => sum + chunk.length, offset) >= end);
      link.close();
      const dumps: Buffer[] = [];
      for (const key of (await client.call('KEYS', '*')) as Buffer[]) {
        const dump = await client.call('DUMP', key);
        if (Buffer.isBuffer(dump)) dumps.push(Buffer.from(dump));
      }
      return {
        stream: Buffer.concat(chunks),
        rdb: readFileSync(path.join(server.dir, 'dump.rdb')),
        dumps,
        info: String(await client.call('INFO')),
      };
    } finally {
      client.close();
    }
  } finally {
    await server.stop();
  }
}
