import * as fc from 'fast-check';
import { Backoff } from './backoff';
import { Spool } from './spool';

test('waits grow, stay within their bounds, and begin again after a success', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1 }), (randoms) => {
      let i = 0;
      const backoff = new Backoff(100, 5000, () => randoms[i++ % randoms.length] as number);
      for (let n = 0; n < 50; n++) {
        const ceiling = Math.min(5000, 100 * 2 ** n);
        const wait = backoff.next();
        expect(wait).toBeGreaterThanOrEqual(50);
        expect(wait).toBeLessThanOrEqual(Math.max(100, ceiling));
      }
      expect(backoff.failures).toBe(50);
      backoff.reset();
      expect(backoff.next()).toBeLessThanOrEqual(100);
    }),
  );
});

test('a spool gives back what was pushed, in order, through memory and file', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ size: fc.nat(3000), read: fc.boolean() }), { maxLength: 60 }),
      async (steps) => {
        const spool = new Spool({ memoryBytesMax: 4000 });
        const pushed: Buffer[] = [];
        const got: Buffer[] = [];
        let byte = 0;
        for (const { size, read } of steps) {
          const chunk = Buffer.alloc(size, byte++ & 255);
          pushed.push(chunk);
          spool.push(chunk);
          if (read && spool.bytes > 0) got.push((await spool.read()) as Buffer);
        }
        spool.end();
        for (let chunk = await spool.read(); chunk !== null; chunk = await spool.read()) got.push(chunk);
        expect(Buffer.concat(got).equals(Buffer.concat(pushed))).toBe(true);
        expect(spool.bytes).toBe(0);
        await spool.close();
      },
    ),
    { numRuns: 60 },
  );
});
