import * as fc from 'fast-check';
import { type DecodedDump, RdbType } from '../rdb';
import { elementChanges, hasElements } from './elements';

type Kind = 'hash' | 'set' | 'zset';

function decoded(type: Kind, elements: ReadonlyMap<string, number>): DecodedDump {
  const value = [...elements].map(([name, n]) => {
    const bytes = Buffer.from(name);
    return type === 'set' ? bytes : type === 'zset' ? [bytes, String(n)] : [bytes, Buffer.from(String(n)), null];
  });
  return { type, value, rdbType: 0, rdbVersion: 10, raw: Buffer.alloc(0) } as unknown as DecodedDump;
}

const elements = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.nat(3)), { selector: ([name]) => name })
  .map((pairs) => new Map(pairs.map(([name, n]) => [`e${name}`, n])));

test.each(['hash', 'set', 'zset'] as const)(
  'the changes of a %s make the one of the other, and touch nothing else',
  (type) => {
    fc.assert(
      fc.property(elements, elements, (before, now) => {
        const changes = elementChanges(Buffer.from('k'), decoded(type, before), decoded(type, now));
        const valueOf = (n: number): number => (type === 'set' ? 0 : n);
        const differing = [...now].filter(
          ([name, n]) => !before.has(name) || valueOf(before.get(name)!) !== valueOf(n),
        );
        const gone = [...before.keys()].filter((name) => !now.has(name));
        if (changes === null) {
          expect(differing.length + gone.length).toBeGreaterThan(now.size);
          return;
        }
        const result = new Map([...before].map(([name, n]) => [name, valueOf(n)]));
        let touched = 0;
        for (const [command, key, ...args] of changes.map((change) => change.map(String))) {
          expect(key).toBe('k');
          if (command === 'HDEL' || command === 'SREM' || command === 'ZREM')
            for (const name of args) touched += Number(result.delete(name));
          else
            for (let i = 0; i < args.length; i += type === 'set' ? 1 : 2) {
              touched++;
              if (command === 'SADD') result.set(args[i]!, 0);
              else if (command === 'HSET') result.set(args[i]!, Number(args[i + 1]));
              else result.set(args[i + 1]!, Number(args[i]));
            }
        }
        expect(result).toEqual(new Map([...now].map(([name, n]) => [name, valueOf(n)])));
        expect(touched).toBe(differing.length + gone.length);
      }),
    );
  },
);

test('what has elements that the rule merges', () => {
  const of = (type: number): boolean => hasElements(Buffer.from([type]));
  expect([RdbType.HASH, RdbType.SET_INTSET, RdbType.ZSET_LISTPACK].map(of)).toEqual([true, true, true]);
  // Times of fields are merged by nobody.
  expect([RdbType.STRING, RdbType.LIST_QUICKLIST_2, RdbType.HASH_METADATA].map(of)).toEqual([false, false, false]);
});
