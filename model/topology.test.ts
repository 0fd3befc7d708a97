import fc from 'fast-check';

import { links, peersOf, type Topology } from './topology';

type Link = readonly [from: string, to: string];
const pairs = (...args: Parameters<typeof links>): Link[] =>
  Object.entries(links(...args)).flatMap(([from, all]) => all.map((to): Link => [from, to]));

const abcd = ['a', 'b', 'c', 'd'];

test('a mesh links everyone with everyone', () => {
  expect(links({ kind: 'mesh' }, ['a', 'b', 'c'])).toEqual({
    a: ['b', 'c'],
    b: ['a', 'c'],
    c: ['a', 'b'],
  });
});

test('a region that leaves takes only itself and what led to it', () => {
  const [before, after] = [links({ kind: 'mesh' }, ['a', 'gone', 'b', 'c']), links({ kind: 'mesh' }, ['a', 'b', 'c'])];
  const { gone, ...others } = before;
  expect(gone).toEqual(['a', 'b', 'c']);
  expect(Object.entries(others).map(([from, to]) => [from, to.filter((one) => one !== 'gone')])).toEqual(
    Object.entries(after),
  );
});

test('a ring links each with the next and the previous, in the order given', () => {
  expect(peersOf('a', { kind: 'ring' }, abcd)).toEqual(['b', 'd']);
  expect(peersOf('c', { kind: 'ring' }, abcd)).toEqual(['b', 'd']);
  expect(links({ kind: 'ring' }, ['a', 'b'])).toEqual({ a: ['b'], b: ['a'] });
});

test('a star links each with the hub', () => {
  const star: Topology = { kind: 'star', hub: 'b' };
  expect(peersOf('b', star, abcd)).toEqual(['a', 'c', 'd']);
  expect(peersOf('a', star, abcd)).toEqual(['b']);
  expect(pairs(star, abcd)).toHaveLength(6);
});

test('an unknown region or hub is an error', () => {
  expect(() => peersOf('z', { kind: 'mesh' }, abcd)).toThrow(/'z' is none of the regions a, b, c, d/);
  expect(() => peersOf('a', { kind: 'star', hub: 'z' }, abcd)).toThrow(RangeError);
});

const shapes = fc
  .uniqueArray(fc.string({ minLength: 1, maxLength: 6 }), { minLength: 2, maxLength: 12 })
  .chain((regions) =>
    fc.record({
      regions: fc.constant(regions),
      topology: fc.oneof(
        fc.constant<Topology>({ kind: 'mesh' }),
        fc.constant<Topology>({ kind: 'ring' }),
        fc.constantFrom(...regions).map((hub): Topology => ({ kind: 'star', hub })),
      ),
    }),
  );

/** The regions that hear of an operation of `from`. */
function reached(from: string, all: readonly (readonly [string, string])[]): Set<string> {
  const seen = new Set([from]);
  for (const region of seen) for (const [a, b] of all) if (a === region) seen.add(b);
  return seen;
}

test('links go both ways, never to oneself, none twice, and every region reaches every other', () => {
  fc.assert(
    fc.property(shapes, ({ regions, topology }) => {
      const all = pairs(topology, regions);
      const keys = new Set(all.map((link) => JSON.stringify(link)));
      expect(keys.size).toBe(all.length);
      for (const [from, to] of all) {
        expect(from).not.toBe(to);
        expect(keys).toContain(JSON.stringify([to, from]));
      }
      for (const region of regions) expect(reached(region, all).size).toBe(regions.length);
    }),
  );
});

test('a mesh and a ring of three or more survive any one broken link', () => {
  fc.assert(
    fc.property(
      shapes.filter(({ regions, topology }) => regions.length >= 3 && topology.kind !== 'star'),
      fc.nat(),
      ({ regions, topology }, pick) => {
        const all = pairs(topology, regions);
        const [a, b] = all[pick % all.length] ?? ['', ''];
        const left = all.filter(([from, to]) => !((from === a && to === b) || (from === b && to === a)));
        for (const region of regions) expect(reached(region, left).size).toBe(regions.length);
      },
    ),
  );
});
