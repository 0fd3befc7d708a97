import { serverVersion, TestServer } from '../capture/testserver';
import { setTimeout as sleep } from 'node:timers/promises';
import { SLOTS, slotOf } from '../../model/slots';
import { type Arg, encodeCommand } from './encode';
import { type RedisConnection, type RedisConnectionOptions } from './connection';
import { type Reply, ReplyError } from './replies';

// What a script may touch is said by flags that Redis has from 7.0 on.
const describeCluster = serverVersion() >= 7 ? describe : describe.skip;

describeCluster('a transaction over slots of one node', () => {
  let server: TestServer;
  let node: RedisConnection;

  beforeAll(async () => {
    server = await TestServer.start({ args: ['--cluster-enabled', 'yes'] });
    await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, SLOTS - 1]);
    node = await connect({ clusterSlots: '0-16383' });
    await becomes('ok');
  });
  beforeEach(() => server.run(['FLUSHALL'], ['CONFIG', 'SET', 'maxmemory', '0']));
  afterAll(async () => {
    node?.close();
    await server?.stop();
  });

  async function becomes(state: string): Promise<void> {
    while (!String(await node.call('CLUSTER', 'INFO')).includes(`cluster_state:${state}`)) await sleep(10);
  }

  const connect = (opts: Partial<RedisConnectionOptions> = {}): Promise<RedisConnection> => server.client(opts);

  async function run(commands: Arg[][], connection = node, behind: Arg[][] = []) {
    const bytes = [['MULTI'], ...commands, ['EXEC'], ...behind].map((command) => encodeCommand(command));
    return connection.transaction(Buffer.concat(bytes), commands.length, behind.length);
  }

  const shown = (reply: Reply | undefined): unknown =>
    Buffer.isBuffer(reply)
      ? reply.toString('latin1')
      : reply instanceof ReplyError
        ? reply.code
        : Array.isArray(reply)
          ? reply.map(shown)
          : reply;

  test('what EXEC refuses runs as one, and answers command by command', async () => {
    const plain = await connect();
    const commands = [
      ['SET', 'a', '1'],
      ['SELECT', 0],
      ['SET', 'b', 'x'],
      ['INCR', 'a'],
      ['GET', 'b'],
      ['GET', 'none'],
      ['MSET', 'c', '1', 'd', '2'],
      ['UNLINK', 'c', 'd', 'e'],
      ['RPUSH', 'l', 'one', 'two'],
      ['LRANGE', 'l', 0, -1],
    ];
    expect(shown((await run(commands, plain)).result)).toBe('CROSSSLOT');
    plain.close();
    const { queueErrors, result, after } = await run(commands, node, [['GET', 'a']]);
    expect(queueErrors.size).toBe(0);
    expect(shown(result)).toEqual(['OK', 'OK', 'OK', 2, 'x', null, 'OK', 1, 2, ['one', 'two']]);
    expect(after.map(shown)).toEqual(['2']);
  });

  test('one that fails leaves the others alone; one that is unknown says so', async () => {
    const { queueErrors, result } = await run([
      ['SET', 'a', 'x'],
      ['INCR', 'a'],
      ['NOSUCH', 'b', '1'],
      ['HSET', 'b', 'f'],
      ['HSET', 'a', 'f', '1'],
      ['SET', 'c', '1'],
    ]);
    expect(queueErrors.size).toBe(0);
    expect(shown(result)).toEqual(['OK', 'ERR', 'NOPERM', 'NOPERM', 'WRONGTYPE', 'OK']);
  });

  test('scripts and functions stand in it, in their order', async () => {
    const { result } = await run([
      ['SET', 'a', '1'],
      ['EVAL', "return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, 'a', 5],
      ['SET', 'b', '1'],
      ['FUNCTION', 'LOAD', '#!lua name=lib\nredis.register_function("f", function() return 1 end)'],
      ['EVAL', "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])", 1, 'h', 'f', 'v'],
      ['GET', 'a'],
    ]);
    expect(shown(result)).toEqual(['OK', 6, 'OK', 'lib', 1, '6']);
  });

  test('more arguments than Lua has room for', async () => {
    const many = (n: number, each: (i: number) => Arg[]): Arg[] => Array.from({ length: n }, (_, i) => each(i)).flat();
    const { result } = await run([
      ['HSET', 'h', ...many(20_000, (i) => [`f${i}`, i])],
      ['ZADD', 'z', 'GT', 'CH', ...many(20_000, (i) => [i, `m${i}`])],
      ['SADD', 's', ...many(100_000, (i) => [i])],
      ['RPUSH', 'l', ...many(20_001, (i) => [i])],
      ['XADD', 'x', '1-1', ...many(5_000, (i) => [i, i])],
      ['XADD', 'y', '1-1', ...many(5_000, (i) => [i, i])],
      ['SET', 'end', '1'],
    ]);
    // Of two in different slots that can't be divided one is refused: not all of them, again and again.
    expect(shown((result as Reply[]).slice(4))).toEqual(['1-1', 'NOPERM', 'OK']);
    const sizes = await server.run(
      ['HLEN', 'h'],
      ['ZCARD', 'z'],
      ['SCARD', 's'],
      ['LLEN', 'l'],
      ['LINDEX', 'l', 7_000],
    );
    expect(sizes.map(shown)).toEqual([20_000, 20_000, 100_000, 20_001, '7000']);
  });

  test('a million arguments', async () => {
    const { result } = await run(Array.from({ length: 400_000 }, (_, i) => ['SET', i, i]));
    expect((result as Reply[]).length).toBe(400_000);
    expect(await server.run(['DBSIZE'])).toEqual([400_000]);
  });

  test('WATCH on keys of several slots', async () => {
    await node.call('WATCH', 'a');
    await node.call('WATCH', 'b');
    await server.run(['SET', 'b', 'other']);
    expect((await run([['SET', 'a', '1']])).result).toBeNull();
    expect((await run([['SET', 'a', '1']])).result).toEqual(['OK']);
  });

  test('where Redis is full nothing of it is written', async () => {
    await server.run(['SET', 'b', 'kept'], ['CONFIG', 'SET', 'maxmemory', '1']);
    const { queueErrors, result } = await run([
      ['DEL', 'b'],
      ['SET', 'a', '1'],
    ]);
    expect([...queueErrors.values()].map((error) => error.code)).toEqual(['OOM']);
    // No command of the caller's is to blame.
    expect([...queueErrors.keys()][0]).toBeLessThan(0);
    expect(shown(result)).toBe('EXECABORT');
    await server.run(['CONFIG', 'SET', 'maxmemory', '0']);
    expect(shown(await node.call('GET', 'b'))).toBe('kept');
  });

  test('where replicas are missing, too, and reading goes on', async () => {
    await server.run(['CONFIG', 'SET', 'min-replicas-to-write', '1']);
    const { queueErrors } = await run([['SET', 'a', '1']]);
    expect([...queueErrors.values()].map((error) => error.code)).toEqual(['NOREPLICAS']);
    expect(
      shown(
        (
          await run([
            ['GET', 'b'],
            ['PTTL', 'a'],
          ])
        ).result,
      ),
    ).toEqual([null, -2]);
    await server.run(['CONFIG', 'SET', 'min-replicas-to-write', '0']);
  });

  test('where a slot moves nothing of it runs: what is in that slot would be left out', async () => {
    const other = await TestServer.start({ args: ['--cluster-enabled', 'yes'] });
    try {
      const [id] = await other.run(['CLUSTER', 'MYID']);
      const [, bus] = (await other.run(['CONFIG', 'GET', 'cluster-port']))[0] as Buffer[];
      const port = Number(bus) === 0 ? other.port + 10_000 : Number(bus);
      await server.run(['CLUSTER', 'MEET', '127.0.0.1', other.port, port]);
      while (!String(await node.call('CLUSTER', 'NODES')).includes(String(id))) await sleep(10);
      const slot = slotOf(Buffer.from('a'));
      const commands = [
        ['INCRBY', 'b', 5],
        ['EVAL', "return redis.call('INCRBY', KEYS[1], 1)", 1, 'c'],
        ['SET', 'a', '1'],
      ];
      await server.run(['CLUSTER', 'SETSLOT', slot, 'MIGRATING', id as Buffer]);
      expect(shown((await run(commands)).result)).toBe('MOVED');
      await server.run(['CLUSTER', 'SETSLOT', slot, 'STABLE']);
      expect(await node.call('EXISTS', 'b')).toBe(0);
      expect(shown((await run(commands)).result)).toEqual([5, 1, 'OK']);
    } finally {
      await server
        .run(['CLUSTER', 'RESET', 'SOFT'], ['FLUSHALL'], ['CLUSTER', 'ADDSLOTSRANGE', 0, SLOTS - 1])
        .catch(() => 0);
      await other.stop();
    }
  });

  test('where the cluster is down, and where a slot has gone, the answer is about the node and not about its keys', async () => {
    const slot = slotOf(Buffer.from('a'));
    const rest = await connect({ clusterSlots: `0-${slot - 1} ${slot + 1}-${SLOTS - 1}` });
    await server.run(['CLUSTER', 'DELSLOTS', slot]);
    await becomes('fail');
    expect(shown((await run([['SET', 'b', '1']], rest)).result)).toBe('CLUSTERDOWN');
    await expect(rest.call('GET', 'b')).rejects.toThrow('CLUSTERDOWN');
    await server.run(['CONFIG', 'SET', 'cluster-require-full-coverage', 'no']);
    await becomes('ok');
    expect(await rest.call('GET', 'b')).toBeNull();
    expect(shown((await run([['SET', 'b', '1']])).result)).toBe('MOVED');
    expect(shown((await run([['SET', 'b', '1']], rest)).result)).toEqual(['OK']);
    rest.close();
  });
});
