import fc from 'fast-check';
import { CoreRegion } from '../../test/sim/core-region';
import { LowWater } from './low-water';

const needs = (...entries: [number, number][]): Map<number, number> => new Map(entries);

test('with nothing needed it is what all have seen', () => {
  const low = new LowWater();
  expect(low.raise([5, 7], needs())).toEqual([5, 7]);
  expect(low.raise([9, 7], needs())).toEqual([9, 7]);
});

test('an operation that is needed keeps what has seen it, of whatever origin', () => {
  const low = new LowWater();
  low.raise([10, 0], needs());
  // The operation of origin 1 at 61 had seen that of origin 0 at 73, which is needed.
  expect(low.raise([125, 61], needs([0, 73]))).toEqual([10, 0]);
  expect(low.raise([125, 90], needs([1, 80]))).toEqual([125, 61]);
});

test('after a restart it goes on where it was', () => {
  const low = new LowWater();
  low.begin(1, 61);
  low.begin(0, 40);
  expect(low.raise([125, 90], needs([0, 73]))).toEqual([40, 61]);
});

test('it is always a place that all have seen, the latest known below what is needed, and never goes back', () => {
  const steps = fc.array(fc.tuple(fc.nat(3), fc.nat(3), fc.nat(20), fc.nat(20)), { maxLength: 300 });
  fc.assert(
    fc.property(steps, (all) => {
      const low = new LowWater();
      const cuts = [[-1, -1]];
      let mark = [-1, -1];
      for (const [a, b, backA, backB] of all) {
        const [x, y] = cuts.at(-1) as [number, number];
        const cut = [x + a, y + b];
        cuts.push(cut);
        const needed = needs(
          [0, Math.max(mark[0]! + 1, cut[0]! - backA)],
          [1, Math.max(mark[1]! + 1, cut[1]! - backB)],
        );
        const raised = low.raise(cut, needed);
        const next = raised.length === 0 ? [-1, -1] : [...raised];
        expect(cuts).toContainEqual(next);
        for (const o of [0, 1]) {
          expect(next[o]).toBeLessThan(needed.get(o)!);
          expect(next[o]).toBeGreaterThanOrEqual(mark[o]!);
        }
        mark = next;
      }
    }),
  );
});

test('a core needs what an operation stands beside that not all have seen', () => {
  const region = new CoreRegion();
  const { core } = region;
  region.comes('a:1', 1, new Map(), 'SET k 80');
  const first = region.at('a:1');
  const reported = (): void => {
    for (const [member, own] of [
      ['a', 'a:1'],
      ['b', 'b:1'],
      ['c', 'c:1'],
    ] as const)
      core.report(member, core.origins.toSeen(region.at('a:1', 'b:1', 'c:1')), {
        origin: own,
        position: region.at(own).get(own)!,
      });
  };
  region.client(2, 'INCRBY k 1');
  region.comes('c:1', 3, first, 'INCRBY k 2');
  // Not all have seen the own increment: what it stands beside is needed.
  for (const member of ['a', 'b', 'c'])
    core.report(member, core.origins.toSeen(region.at('a:1', 'c:1')), { origin: `${member}:1`, position: 0 });
  expect([...core.lowWater().values()].every((position) => position <= 0)).toBe(true);
  reported();
  expect(core.lowWater()).toEqual(region.at('a:1', 'b:1', 'c:1'));
});
