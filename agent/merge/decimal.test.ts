import * as fc from 'fast-check';
import { TestServer } from '../capture/testserver';
import { type RedisConnection } from '../resp';
import { ADD_SCRIPT, Decimal, formatDecimal, ONE, parseDecimal } from './decimal';
import { KEEP_SCRIPT } from './field-script';

const units = fc.oneof(
  fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }),
  fc.bigInt({ min: -1000n, max: 1000n }).map((n) => n * (ONE / 100n)),
);

test('a text comes back, and only plain decimals are numbers', () => {
  fc.assert(fc.property(units, (n) => expect(parseDecimal(formatDecimal(n))).toBe(n)));
  expect(['0', '-0', '1.50', '007', '-3.25'].map((text) => formatDecimal(parseDecimal(text)!))).toEqual([
    '0',
    '0',
    '1.5',
    '7',
    '-3.25',
  ]);
  for (const text of ['', '-', '.5', '5.', '1e5', 'inf', 'nan', '0x10', ' 1', '1.123456789012345678', '9'.repeat(65)])
    expect([text, parseDecimal(text)]).toEqual([text, null]);
  expect(String(new Decimal(-ONE / 2n))).toBe('-0.5');
});

describe('with a server', () => {
  let server: TestServer;
  let client: RedisConnection;
  beforeAll(async () => {
    server = await TestServer.start();
    client = await server.client();
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  const call = async (...args: (string | number)[]): Promise<string> => String(await client.call(...args));

  test('the script adds to the last digit, to strings and to fields', async () => {
    await fc.assert(
      fc.asyncProperty(units, units, async (a, b) => {
        await call('SET', 's', formatDecimal(a), 'PX', 100_000);
        await call('HSET', 'h', 'f', formatDecimal(a));
        const sum = formatDecimal(a + b);
        expect(await call('EVAL', ADD_SCRIPT, 1, 's', formatDecimal(b))).toBe(sum);
        expect(await call('EVAL', ADD_SCRIPT, 1, 'h', formatDecimal(b), 'f')).toBe(sum);
        expect([await call('GET', 's'), await call('HGET', 'h', 'f')]).toEqual([sum, sum]);
        expect(Number(await call('PTTL', 's'))).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
    expect(await call('EVAL', ADD_SCRIPT, 1, 'new', '0.5')).toBe('0.5');
    expect(await call('EVAL', ADD_SCRIPT, 1, 'new:h', '-0.5', 'f')).toBe('-0.5');
  });

  test('what Redis itself writes is a plain decimal, and the difference of two is exact', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: -1e9, max: 1e9, noNaN: true }),
        fc.array(fc.double({ min: -1000, max: 1000, noNaN: true }), { minLength: 1, maxLength: 5 }),
        async (first, deltas) => {
          await call('DEL', 'f');
          let before = parseDecimal(await call('INCRBYFLOAT', 'f', first.toFixed(9)))!;
          const sums: bigint[] = [];
          for (const delta of deltas) {
            const after = parseDecimal(await call('INCRBYFLOAT', 'f', delta.toFixed(12)))!;
            sums.push(after - before);
            before = after;
          }
          // Elsewhere, in another order.
          await call('SET', 'g', formatDecimal(before - sums.reduce((a, b) => a + b, 0n)));
          for (const sum of sums.reverse()) await call('EVAL', ADD_SCRIPT, 1, 'g', formatDecimal(sum));
          expect(await call('GET', 'g')).toBe(formatDecimal(before));
        },
      ),
      { numRuns: 100 },
    );
  });

  test('a field keeps its time to live, where the server has such, and one that is put by KEEPTTL does', async () => {
    await call('HSET', 't', 'f', '1', 'g', '1');
    const hasThem = (await call('HPEXPIRE', 't', 100_000, 'FIELDS', 1, 'f')) === '1';
    expect(await call('EVAL', ADD_SCRIPT, 1, 't', '0.5', 'f')).toBe('1.5');
    expect(await call('EVAL', ADD_SCRIPT, 1, 't', '0.5', 'g')).toBe('1.5');
    const left = async (field: string): Promise<number> => Number(await call('HPTTL', 't', 'FIELDS', 1, field));
    if (hasThem) expect([(await left('f')) > 0, await left('g')]).toEqual([true, -1]);
    await call('EVAL', KEEP_SCRIPT, 1, 't', 'f', 'x', 'new', 'y');
    expect(await call('HMGET', 't', 'f', 'g', 'new')).toBe('x,1.5,y');
    if (hasThem) expect([(await left('f')) > 0, await left('new')]).toEqual([true, -1]);
    await call('EVAL', KEEP_SCRIPT, 1, 'none', 'f', 'x');
    expect(await call('HGET', 'none', 'f')).toBe('x');
    await call('SADD', 'set', 'a');
    expect(await call('EVAL', KEEP_SCRIPT, 1, 'set', 'f', 'x')).toMatch(/WRONGTYPE/);
  });

  test('what is no plain decimal is left to Redis', async () => {
    await call('SET', 'e', '1e3');
    expect(await call('EVAL', ADD_SCRIPT, 1, 'e', '0.5')).toBe('1000.5');
    await call('SET', 'text', 'abc');
    expect(await call('EVAL', ADD_SCRIPT, 1, 'text', '0.5')).toMatch(/not a valid float/);
    await call('RPUSH', 'list', 'a');
    expect(await call('EVAL', ADD_SCRIPT, 1, 'list', '0.5')).toMatch(/WRONGTYPE/);
  });
});
