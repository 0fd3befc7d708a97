import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { TestServer } from '../capture/testserver';
import { encodeCommand, type RedisConnection } from '../resp';
import type { HeldPieces } from '../stream/held-pieces';
import { slotGuard } from './guard';
import { parseSlots } from '../../model/slots';

let server: TestServer;
let connection: RedisConnection;
const slots = parseSlots('0-99')!;

beforeAll(async () => {
  server = await TestServer.start({ args: ['--cluster-enabled', 'yes'] });
  await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 99]);
  connection = await server.client();
});
afterAll(async () => {
  connection?.close();
  await server?.stop();
});

function guarded(): { guard: HeldPieces; taken: Buffer[]; failed: string[] } {
  const taken: Buffer[] = [];
  const failed: string[] = [];
  const guard = slotGuard(slots, {
    connection: () => connection,
    take: (chunk) => void taken.push(Buffer.from(chunk)),
    fail: (why) => void failed.push(why),
  });
  return { guard, taken, failed };
}

const harmless = encodeCommand(['SET', 'DEL', 'RESTOREX']);
const doubtful = ['DEL', 'UNLINK', 'RESTORE', 'RESTORE-ASKING'].map((name) => encodeCommand([name, 'k', 'v']));

test('what may be a move of keys waits for the node, wherever it is cut, and nothing is lost', async () => {
  const command = fc.oneof(fc.constant(harmless), fc.constantFrom(...doubtful));
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { maxLength: 8 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
      async (commands, cuts) => {
        const { guard, taken, failed } = guarded();
        const all = Buffer.concat(commands);
        for (let at = 0; at < all.length;) {
          const to = at + cuts.next().value!;
          guard.receive(all.subarray(at, to));
          at = to;
        }
        for (let i = 0; i < 200 && Buffer.concat(taken).length < all.length; i++) await sleep(1);
        expect(Buffer.concat(taken)).toEqual(all);
        expect(failed).toEqual([]);
      },
    ),
    { numRuns: 100 },
  );
});

test('what is none of it is taken at once', () => {
  const { guard, taken } = guarded();
  const bytes = Buffer.concat([encodeCommand(['SET', 'k', 'v']), encodeCommand(['LPUSH', 'MODEL', 'x'])]);
  guard.receive(bytes);
  expect(Buffer.concat(taken)).toEqual(bytes);
});

test('nothing of it is taken where a slot moves', async () => {
  for (const one of doubtful) {
    const { guard, taken, failed } = guarded();
    guard.receive(encodeCommand(['SET', 'a', '1']));
    expect(taken).toHaveLength(1);
    await server.run(['CLUSTER', 'DELSLOTS', 7]);
    // Cut in its name.
    guard.receive(one.subarray(0, 10));
    guard.receive(one.subarray(10));
    guard.receive(encodeCommand(['SET', 'b', '1']));
    for (let i = 0; i < 200 && failed.length === 0; i++) await sleep(1);
    expect(failed[0]).toContain('the slots 0-6 8-99, and not 0-99');
    expect(Buffer.concat(taken).includes(Buffer.from('\r\nb\r\n'))).toBe(false);
    await server.run(['CLUSTER', 'ADDSLOTS', 7]);
  }
});
