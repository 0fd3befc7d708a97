import fc from 'fast-check';
import { Carried } from './carried';

test('all pieces of a block stand there in order, whatever came before it', () => {
  const block = fc.array(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(block, { maxLength: 5 }), (blocks) => {
      const carried = new Carried();
      for (const turns of blocks) {
        carried.begin();
        let chunks: Buffer[] = [];
        for (const pieces of turns) {
          const pushed = pieces.map((bytes) => Buffer.from(bytes));
          chunks = [carried.take([...chunks, ...pushed])];
          // The caller's again.
          for (const bytes of pushed) bytes.fill(0xff);
        }
        expect(Buffer.concat(chunks).equals(Buffer.concat(turns.flat().map((bytes) => Buffer.from(bytes))))).toBe(true);
      }
    }),
  );
});
