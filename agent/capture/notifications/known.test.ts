import * as fc from 'fast-check';
import { KnownKeys, type Print } from './known';

const print = (n: number): Print => ({ crcHigh: n, crcLow: n + 1, content: n / 2, expireAtMs: n, bytes: n * 2 });

test('keys are what was set last, in each database, whatever comes and goes', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('set'), db: fc.nat(2), key: fc.nat(40), n: fc.nat(1e6) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete'), db: fc.nat(2), key: fc.nat(40), n: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear'), db: fc.nat(2), key: fc.nat(), n: fc.nat(1) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('swap'), db: fc.nat(2), key: fc.nat(2), n: fc.nat() }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const known = new KnownKeys();
      let model = new Map<string, Print>();
      for (const { kind, db, key, n } of steps) {
        const name = `k${key}`;
        if (kind === 'set') {
          known.set(db, name, print(n));
          model.set(`${db}:${name}`, print(n));
        } else if (kind === 'delete') {
          known.delete(db, name);
          model.delete(`${db}:${name}`);
        } else if (kind === 'clear') {
          known.clear(n === 0 ? null : db);
          model = new Map([...model].filter(([at]) => n !== 0 && !at.startsWith(`${db}:`)));
        } else {
          known.swap(db, key);
          const other = (at: string): string => {
            const [one, rest] = at.split(':') as [string, string];
            return `${Number(one) === db ? key : Number(one) === key ? db : one}:${rest}`;
          };
          model = new Map([...model].map(([at, value]) => [other(at), value]));
        }
      }
      expect(known.size).toBe(model.size);
      for (let db = 0; db < 3; db++) {
        expect(known.count(db)).toBe([...model.keys()].filter((at) => at.startsWith(`${db}:`)).length);
        for (let key = 0; key <= 40; key++)
          expect(known.get(db, `k${key}`)).toEqual(model.get(`${db}:k${key}`) ?? null);
      }
    }),
  );
});

test('a scan meets what is looked at, and names the rest', () => {
  const known = new KnownKeys();
  for (let i = 0; i < 5000; i++) known.set(i % 2, `key${i}`, print(i));
  known.beginRound();
  for (let i = 0; i < 4990; i++) {
    if (i % 3 === 0) known.meet(i % 2, `key${i}`);
    else known.set(i % 2, `key${i}`, print(i + 1));
  }
  expect(known.isMet(0, 'key0')).toBe(true);
  expect(known.isMet(1, 'key4999')).toBe(false);
  const unmet = [...known.unmet(100)].flat().map(({ db, key }) => `${db}:${key}`);
  expect(unmet.sort()).toEqual(Array.from({ length: 10 }, (_, i) => `${i % 2}:key${4990 + i}`).sort());
});
