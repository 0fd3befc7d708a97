/** The simulator's Redis against a real one: the same commands give the same data and the same stream. */
import { serverFlavour, serverVersion, TestServer } from '../../agent/capture/testserver';
import { ReplicaLink } from '../../agent/capture';
import { CommandWriter, type RedisConnection } from '../../agent/resp';
import { Clients } from './clients';
import { Random } from './random';
import { writeEntries } from '../../agent/merge/stream-splice';
import { type Argv, encode, parseCommands, Redis, type Value } from './redis';
import { idsIn } from './stream';

const MIX = {
  keysPerType: 2,
  strings: true,
  counters: true,
  decimals: true,
  hashes: true,
  sets: true,
  zsets: true,
  lists: true,
  moves: true,
  bitmaps: true,
  logs: true,
  queues: true,
  streams: true,
  ttl: true,
  ttlShare: 0.2,
  deletes: true,
  transactions: true,
  otherTypes: true,
  appends: true,
  otherDbs: true,
  functions: true,
  grows: false,
};

let server: TestServer;
let client: RedisConnection;

beforeAll(async () => {
  server = await TestServer.start({
    args: [
      ...['--lazyfree-lazy-expire', 'yes', '--repl-ping-replica-period', '3600'],
      // Before 7 there is no such option, and nothing here runs.
      ...(serverVersion() >= 7 ? ['--enable-debug-command', 'yes'] : []),
    ],
  });
  client = await server.client();
});

afterAll(async () => {
  client.close();
  await server.stop();
});

/** Sends one command, or several as a transaction. */
async function send(db: number, commands: readonly Argv[]): Promise<void> {
  const writer = new CommandWriter();
  writer.command(['SELECT', db]);
  const block = commands.length > 1;
  if (block) writer.command(['MULTI']);
  for (const argv of commands) writer.raw(encode(argv));
  if (block) writer.command(['EXEC']);
  const count = writer.commands;
  await client.pipeline(writer.take(), count);
}

async function dataOf(redis: Redis): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for (const { db, key, value } of redis.keys()) {
    const read: Record<typeof value.type, Argv> = {
      string: ['GET', key],
      hash: ['HGETALL', key],
      set: ['SMEMBERS', key],
      zset: ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
      list: ['LRANGE', key, '0', '-1'],
      stream: ['XRANGE', key, '-', '+'],
    };
    const [, reply] = await client.pipeline(
      new CommandWriter().command(['SELECT', db]).raw(encode(read[value.type])).take(),
      2,
    );
    found.push([`${db} ${key}`, show(value.type, reply)]);
  }
  return found.sort();
}

/** A value as one text; in hashes and sets order does not count. */
function show(type: Value['type'], reply: unknown): string {
  if (!Array.isArray(reply)) return textOf(reply);
  const parts = reply.map(textOf);
  return JSON.stringify(type === 'hash' || type === 'set' ? parts.sort() : parts);
}

function textOf(part: unknown): string {
  if (Array.isArray(part)) return part.map(textOf).join();
  return Buffer.isBuffer(part) ? part.toString('latin1') : String(part);
}

/** The model's data in the same form. */
function modelData(redis: Redis): [string, string][] {
  const found: [string, string][] = [];
  for (const { db, key, value } of redis.keys()) {
    const parts = {
      string: () => (value.type === 'string' ? value.string : ''),
      list: () => (value.type === 'list' ? value.list : []),
      stream: () => (value.type === 'stream' ? [...value.entries].map(([id, fields]) => `${id},${fields.join()}`) : []),
      hash: () => (value.type === 'hash' ? [...value.hash].flat() : []),
      set: () => (value.type === 'set' ? [...value.set] : []),
      zset: () =>
        value.type === 'zset'
          ? [...value.zset].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1)).flatMap(([m, n]) => [m, String(n)])
          : [],
    };
    found.push([`${db} ${key}`, show(value.type, parts[value.type]())]);
  }
  return found.sort();
}

/** The stream's commands with their database, whether SELECT stood before a block or in it. */
function said(bytes: Buffer): string[] {
  const lines: string[] = [];
  let db = '0';
  for (const { argv } of parseCommands(bytes)) {
    if (argv[0] === 'SELECT') db = argv[1]!;
    else if (argv[0] === 'MULTI' || argv[0] === 'EXEC') lines.push(argv[0]);
    else if (argv[0]!.toUpperCase() !== 'PING') lines.push(`${db}: ${argv.join(' ')}`);
  }
  return lines;
}

/** Entries to be put in order by the agent's script. */
function spliceOf(key: string, random: Random): Argv {
  const writer = new CommandWriter();
  const entries = Array.from({ length: random.between(1, 3) }, () => `${random.between(1, 2500)}-1`);
  const fields = encode(['v', String(random.below(1000))]).subarray(4);
  const standings = [...new Set(entries)].map((id) => ({ id, value: random.chance(0.2) ? null : fields }));
  writeEntries(writer, Buffer.from(key), standings, random.chance(0.2) ? `${random.between(1, 3000)}-0` : null);
  return parseCommands(writer.take())[0]!.argv;
}

// The model's stream is that of Redis 7: before it times were not rewritten alike.
const describeSince7 = serverVersion() >= 7 ? describe : describe.skip;

describeSince7('the model of Redis', () => {
  test('random commands: the same data, the same stream', async () => {
    await client.call('FLUSHALL');
    const link = new ReplicaLink({ host: '127.0.0.1', port: server.port });
    const chunks: Buffer[] = [];
    link.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
    link.on('close', () => undefined);
    const outcome = await link.connect(null);
    for await (const _ of link.snapshot());
    const random = new Random(7);
    const clients = new Clients(random, MIX, (key) => idsIn(model.entry(0, key)?.value));
    // Times far off: nothing expires while this runs, and both machines read the same clock.
    let now = Date.now();
    const model = new Redis('x', 0, () => now);
    model.isRedis8 = serverVersion() >= 8 && serverFlavour() === 'Redis';
    for (let i = 0; i < 1500; i++) {
      const db = clients.db();
      // Relative times become absolute by the server's clock: here they are absolute from the start.
      const commands = clients.commands('eu').map((argv): Argv => {
        // So do IDs; and at times an entry comes below others, as an agent's does.
        if (argv[0] === 'XADD' && random.chance(0.2)) return spliceOf(argv[1]!, random);
        if (argv[0] === 'XADD') return argv.map((arg) => (arg === '*' ? `${1000 + i}-0` : arg));
        if (argv[0] === 'EXPIRE' || argv[0] === 'PEXPIRE') return ['PEXPIREAT', argv[1]!, String(now + 1_000_000 + i)];
        const at = argv.findIndex((arg) => arg === 'EX' || arg === 'PX');
        return at < 0 ? argv : [...argv.slice(0, at), 'PXAT', String(now + 1_000_000 + i)];
      });
      model.run(db, commands);
      await send(db, commands);
      now = Date.now();
    }
    const [, offset] = /master_repl_offset:(\d+)/.exec(String(await client.call('INFO', 'replication')))!;
    const length = (): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    for (let i = 0; i < 500 && outcome.offset + length() < Number(offset); i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    link.close();
    expect(await dataOf(model)).toEqual(modelData(model));
    expect(said(Buffer.concat(chunks))).toEqual(said(model.read(0, Infinity)));
  });

  test('an expired key is UNLINK in front of the command that meets it, in one block with it', async () => {
    const link = new ReplicaLink({ host: '127.0.0.1', port: server.port });
    const chunks: Buffer[] = [];
    link.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
    link.on('close', () => undefined);
    await link.connect(null);
    for await (const _ of link.snapshot());
    const now = Date.now();
    const at = String(now + 500);
    const model = new Redis('x', 0, () => clock);
    let clock = now;
    const both = async (...commands: Argv[]): Promise<void> => {
      model.run(0, commands);
      await send(0, commands);
    };
    // No active expiry in between: what expires is met by a command.
    await client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
    await both(['SET', 'a', '1', 'PXAT', at]);
    await both(['HSET', 'h', 'f', 'v']);
    await both(['PEXPIREAT', 'h', at]);
    await both(['SET', 'past', '1']);
    await both(['PEXPIREAT', 'past', '1000']);
    await new Promise((resolve) => setTimeout(resolve, 600));
    clock = now + 1000;
    await both(['SET', 'x', '1'], ['INCR', 'a'], ['HSET', 'h', 'g', 'w']);
    // Valkey 9 does nothing of the first.
    if (serverFlavour() === 'Redis' || serverVersion() < 9) {
      await both(['SET', 'b', '1', 'PXAT', '1000']);
      await both(['INCR', 'b']);
    }
    await both(['APPEND', 'end', '.']);
    for (let i = 0; i < 200 && !Buffer.concat(chunks).includes('end'); i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    link.close();
    expect(said(Buffer.concat(chunks))).toEqual(said(model.read(0, Infinity)));
  });
});
