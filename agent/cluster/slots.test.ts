import fc from 'fast-check';
import { TestServer } from '../capture/testserver';
import { evenSlots, formatSlots, parseSlots, SLOTS, slotOf, tagOf } from '../../model/slots';
import { shardName } from './shard-name';

test('slots are those of Redis', async () => {
  const server = await TestServer.start({ args: ['--cluster-enabled', 'yes'] });
  try {
    const keys = [
      '',
      'a',
      '{',
      '{}',
      '{}x',
      'a{b}c',
      'a{b}{c}',
      'a{{b}}c',
      '}{',
      'x{y',
      'ÿ\0é',
      ...fc.sample(fc.string(), 300),
    ];
    const client = await server.client();
    for (const key of keys) {
      const bytes = Buffer.from(key);
      expect([key, slotOf(bytes)]).toEqual([key, await client.call('CLUSTER', 'KEYSLOT', bytes)]);
    }
    client.close();
  } finally {
    await server.stop();
  }
});

test('ranges are written in one way', () => {
  expect(parseSlots('0-5460')).toEqual([[0, 5460]]);
  expect(parseSlots('7, 5-6  9-9')).toEqual([
    [5, 7],
    [9, 9],
  ]);
  expect(formatSlots(parseSlots('300-400 0-99 200 100')!)).toBe('0-100 200 300-400');
  for (const wrong of ['a', '5-4', '0-16384', '1-3 3-5', '-1', '1-', '99999999'])
    expect([wrong, parseSlots(wrong)]).toEqual([wrong, null]);
  expect(parseSlots('')).toEqual([]);
});

test('a shard has a short name of its own, whatever its slots', () => {
  expect(shardName(parseSlots('0-99 200')!)).toBe('0-99,200');
  const many = (from: number): string => Array.from({ length: 100 }, (_, i) => from + i * 2).join(' ');
  expect(shardName(parseSlots(many(0))!)).toMatch(/^0,[0-9a-f]{12}$/);
  const other = `0 ${many(4)}`;
  expect(shardName(parseSlots(many(0))!)).not.toBe(shardName(parseSlots(other)!));
});

test('a tag is in its slot', () => {
  for (const slot of [0, 1, 5461, SLOTS - 1]) expect(slotOf(Buffer.from(`meridian:cursor{${tagOf(slot)}}`))).toBe(slot);
});

test('shards share all slots', () => {
  expect(evenSlots(3)).toEqual([
    [0, 5460],
    [5461, 10922],
    [10923, 16383],
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), (n) => {
      const shards = evenSlots(n);
      expect(shards).toHaveLength(n);
      expect(parseSlots(shards.map((one) => one.join('-')).join(' '))).toEqual([[0, SLOTS - 1]]);
    }),
  );
});
