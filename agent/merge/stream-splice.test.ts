import fc from 'fast-check';
import { serverVersion, TestServer } from '../capture/testserver';
import { CommandWriter, encodeCommand, type RedisConnection, type Reply, ReplyError } from '../resp';
import { compareIds } from './stream-id';
import { RESERVED_CONSUMER, writeEntries } from './stream-splice';

let server: TestServer;
let client: RedisConnection;
const counts = serverVersion() >= 7;

beforeAll(async () => {
  server = await TestServer.start();
  client = await server.client();
});

afterAll(async () => {
  client.close();
  await server.stop();
});

/** Fields as they stand in an XADD. */
function fieldsOf(...fields: string[]): Buffer {
  const bytes = encodeCommand(fields);
  return bytes.subarray(bytes.indexOf('\r\n') + 2);
}

async function splice(
  entries: readonly (readonly [id: string, ...fields: string[]])[],
  lastId: string | null = null,
): Promise<Reply> {
  const writer = new CommandWriter();
  const standings = entries.map(([id, ...fields]) => ({ id, value: fields.length === 0 ? null : fieldsOf(...fields) }));
  writeEntries(writer, Buffer.from('s'), standings, lastId);
  const [reply] = await client.pipeline(writer.take(), 1);
  return reply!;
}

function plain(reply: Reply | undefined): unknown {
  if (Buffer.isBuffer(reply)) return reply.toString();
  return Array.isArray(reply) ? reply.map(plain) : reply;
}

async function call(...args: (string | number)[]): Promise<unknown> {
  return plain(await client.call(...(args as [string])));
}

async function info(): Promise<Record<string, unknown>> {
  const flat = (await call('XINFO', 'STREAM', 's')) as unknown[];
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[String(name), flat[i + 1]]] : [])));
}

async function ids(): Promise<string[]> {
  return ((await call('XRANGE', 's', '-', '+')) as [string, string[]][]).map(([id]) => id);
}

beforeEach(async () => {
  await client.call('FLUSHALL');
});

test('an entry goes below the top; what is pending stays pending', async () => {
  for (const ms of [10, 20, 30]) await call('XADD', 's', `${ms}-1`, 'f', `${ms}`);
  await call('XGROUP', 'CREATE', 's', 'g', '0');
  await call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 2, 'STREAMS', 's', '>');
  expect(await splice([['15-1', 'f', '15']])).toBe(1);
  expect(await call('XRANGE', 's', '-', '+')).toEqual([10, 15, 20, 30].map((ms) => [`${ms}-1`, ['f', `${ms}`]]));
  const pending = (await call('XPENDING', 's', 'g', '-', '+', 10)) as unknown[][];
  expect(pending.map(([id, consumer]) => [id, consumer])).toEqual([
    ['10-1', 'c'],
    ['15-1', RESERVED_CONSUMER],
    ['20-1', 'c'],
  ]);
  const claimed = (await call('XAUTOCLAIM', 's', 'g', 'd', 0, '15-0', 'COUNT', 1)) as unknown[];
  expect(claimed[1]).toEqual([['15-1', ['f', '15']]]);
  // Behind what the group has read: it comes by itself.
  expect(await splice([['25-1', 'f', '25']])).toBe(1);
  const read = (await call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', 's', '>')) as [string, [string][]][];
  expect(read[0]![1].map(([id]) => id)).toEqual(['25-1', '30-1']);
});

test('the last ID never goes down, and what was deleted above is no hindrance', async () => {
  for (const ms of [10, 20, 30]) await call('XADD', 's', `${ms}-1`, 'f', 'v');
  await call('XDEL', 's', '30-1', '20-1');
  await splice([
    ['5-1', 'f', 'v'],
    ['15-1', 'f', 'v'],
  ]);
  expect(await ids()).toEqual(['5-1', '10-1', '15-1']);
  const found = await info();
  expect(found['last-generated-id']).toBe('30-1');
  if (counts) expect([found['entries-added'], found['max-deleted-entry-id']]).toEqual([5, '30-1']);
  expect(await splice([], '40-2')).toBe(0);
  expect((await info())['last-generated-id']).toBe('40-2');
  await splice([], '35-0');
  expect((await info())['last-generated-id']).toBe('40-2');
});

test('another entry of the same ID moves on in the same step', async () => {
  await call('XADD', 's', '10-1', 'by', 'us');
  await call('XADD', 's', '20-1', 'f', 'v');
  await splice([
    ['10-1', 'by', 'eu'],
    ['10-281474976710657', 'by', 'us'],
  ]);
  expect(await call('XRANGE', 's', '-', '+')).toEqual([
    ['10-1', ['by', 'eu']],
    ['10-281474976710657', ['by', 'us']],
    ['20-1', ['f', 'v']],
  ]);
});

test('removed entries are removed, and nothing is made of nothing', async () => {
  expect(await splice([['1-1']])).toBe(0);
  expect(await call('EXISTS', 's')).toBe(0);
  await call('XADD', 's', '1-1', 'f', 'v');
  expect(await splice([['1-1']])).toBe(0);
  expect(await ids()).toEqual([]);
  expect(await call('EXISTS', 's')).toBe(1);
});

test('an entry 0-1 comes below all others', async () => {
  await call('XADD', 's', '5-1', 'f', 'v');
  expect(await splice([['0-1', 'f', 'v']])).toBe(1);
  expect(await ids()).toEqual(['0-1', '5-1']);
  expect((await info())['last-generated-id']).toBe('5-1');
  if (!counts) return;
  await call('XDEL', 's', '0-1');
  expect(await splice([['0-1', 'f', 'v']])).toBeInstanceOf(ReplyError);
  expect(await ids()).toEqual(['5-1']);
});

test('a stream with an entry that no script can move is left as it is', async () => {
  const many = Array.from({ length: 8000 }, (_, i) => String(i));
  await call('XADD', 's', '10-1', 'f', 'v');
  await call('XADD', 's', '20-1', ...many);
  expect(await splice([['15-1', 'f', 'v']])).toBeInstanceOf(ReplyError);
  expect(await splice([['9-1', ...many]])).toBeInstanceOf(ReplyError);
  expect(await ids()).toEqual(['10-1', '20-1']);
});

test('another type is refused, and nothing written', async () => {
  await call('SET', 's', 'x');
  const reply = await splice([['15-1', 'f', 'v']]);
  expect(reply).toBeInstanceOf(ReplyError);
  expect(String(reply)).toContain('WRONGTYPE');
});

const id = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 2 })).map(([ms, seq]) => `${ms}-${seq}`);
const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('XADD' as const), id) },
  fc.tuple(fc.constant('XDEL' as const), id),
  fc.tuple(fc.constant('XTRIM' as const), id),
  fc.tuple(fc.constant('XSETID' as const), id),
);
const wanted = fc.uniqueArray(fc.tuple(id, fc.constantFrom('x', 'y', null)), {
  selector: ([name]) => name,
  maxLength: 6,
});

test('whatever the stream holds, the entries stand where they are to stand, and all others stay', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), wanted, fc.option(id), async (steps, entries, lastId) => {
      await client.call('DEL', 's');
      for (const [command, at] of steps) {
        const args = { XADD: [at, 'f', 'x'], XDEL: [at], XTRIM: ['MINID', at], XSETID: [at] }[command];
        await call(command, 's', ...args).catch(() => undefined);
      }
      const before = new Map(
        ((await call('XRANGE', 's', '-', '+')) as [string, string[]][]).map(([at, f]) => [at, f[1]]),
      );
      const had = (await call('EXISTS', 's')) === 1 ? await info() : {};
      const expected = new Map(before);
      for (const [at, value] of entries)
        if (value === null) expected.delete(at);
        else expected.set(at, value);
      const reply = await splice(
        entries.map(([at, value]) => (value === null ? [at] : [at, 'f', value])),
        lastId,
      );
      const after = ((await call('XRANGE', 's', '-', '+')) as [string, string[]][]).map(([at, f]) => [at, f[1]]);
      expect(after).toEqual([...expected].sort(([a], [b]) => compareIds(a, b)));
      if (((await call('EXISTS', 's')) as number) === 0) return expect(lastId).toBeNull();
      const has = await info();
      const fresh = entries.filter(([at, value]) => value !== null && !before.has(at)).length;
      expect(reply).toBe(fresh);
      const lasts = [had['last-generated-id'], lastId, ...expected.keys()].filter((x) => typeof x === 'string');
      const top = lasts.sort(compareIds).at(-1);
      expect(has['last-generated-id']).toBe(top);
      // Made for its last ID alone, by an entry that went at once.
      const made = had['length'] === undefined && fresh === 0 ? 1 : 0;
      if (counts) expect(has['entries-added']).toBe(Number(had['entries-added'] ?? 0) + fresh + made);
    }),
    { numRuns: 300 },
  );
});
