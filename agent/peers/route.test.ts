import fc from 'fast-check';
import { computeRoutes, pathFault, type Path, type PeerOffer, type Routes } from './route';

function offer(paths: Record<string, string[]>, ends: Record<string, number> = {}, missing: string[] = []): PeerOffer {
  return { paths: new Map(Object.entries(paths)), ends: new Map(Object.entries(ends)), missing: new Set(missing) };
}

function route(
  peers: Record<string, PeerOffer>,
  have: Record<string, number> = {},
  current: Record<string, string> = {},
) {
  return computeRoutes({
    region: 'a',
    peers: new Map(Object.entries(peers)),
    have: (origin) => have[origin] ?? -1,
    wants: (origin) => !origin.startsWith('a:'),
    current: new Map(Object.entries(current)),
  });
}

describe('routes', () => {
  test('a direct link is preferred, also to the origins of it that others have', () => {
    const { sources, via, paths } = route({
      b: offer({ b: ['b'], c: ['b', 'c'] }, { 'b:1': 5, 'c:1': 9 }),
      c: offer({ c: ['c'], b: ['c', 'b'] }, { 'b:1': 9, 'c:1': 5 }),
    });
    expect(Object.fromEntries(sources)).toEqual({ 'b:1': 'b', 'c:1': 'c' });
    expect(Object.fromEntries(via)).toEqual({ b: 'b', c: 'c' });
    expect(Object.fromEntries(paths)).toEqual({ a: ['a'], b: ['a', 'b'], c: ['a', 'c'] });
  });

  test('the shortest path otherwise, ties by name, never through here', () => {
    const { via } = route({
      c: offer({ c: ['c'], x: ['c', 'd', 'x'], y: ['c', 'y'], z: ['c', 'a', 'z'] }),
      b: offer({ b: ['b'], x: ['b', 'x'], y: ['b', 'y'] }),
    });
    expect(Object.fromEntries(via)).toEqual({ b: 'b', c: 'c', x: 'b', y: 'b' });
  });

  test('the next best where the best does not have an origin, or no longer has it', () => {
    const peers = {
      b: offer({ b: ['b'] }, { 'b:1': 5, 'b:2': 7 }, ['b:1']),
      c: offer({ c: ['c'], b: ['c', 'b'] }, { 'b:1': 5, 'b:3': 1 }),
    };
    expect(Object.fromEntries(route(peers).sources)).toEqual({ 'b:1': 'c', 'b:2': 'b', 'b:3': 'c' });
  });

  test('of a region that no one reaches, the peer that has most of it; nobody when no one has more than is here', () => {
    const peers = {
      b: offer({ b: ['b'] }, { 'x:1': 5 }),
      c: offer({ c: ['c'] }, { 'x:1': 8 }),
      d: offer({ d: ['d'] }, { 'x:1': 8 }),
    };
    expect(route(peers).sources.get('x:1')).toBe('c');
    expect(route(peers, { 'x:1': 6 }, { 'x:1': 'd' }).sources.get('x:1')).toBe('d');
    expect(route(peers, { 'x:1': 8 }, { 'x:1': 'd' }).sources.get('x:1')).toBeUndefined();
  });

  test('what is not wanted is not taken', () => {
    expect(route({ b: offer({ b: ['b'] }, { 'a:1': 5 }) }).sources.size).toBe(0);
  });

  test('paths that are none', () => {
    expect(pathFault('b', 'b', ['b'])).toBeNull();
    expect(pathFault('b', 'c', ['b', 'c'])).toBeNull();
    for (const path of [[], ['c'], ['b', 'd'], ['b', 'd', 'd', 'c'], ['b', ...Array.from({ length: 64 }, String), 'c']])
      expect(pathFault('b', 'c', path)).not.toBeNull();
  });

  test('in any graph, after any change, all regions find shortest paths without a loop', () => {
    const graph = fc.integer({ min: 2, max: 7 }).chain((n) =>
      fc.record({
        n: fc.constant(n),
        // Two states of the same mesh; a link may work in one direction only.
        states: fc.array(
          fc.uniqueArray(fc.tuple(fc.nat(n - 1), fc.nat(n - 1)), { selector: String, maxLength: n * n }),
          { minLength: 1, maxLength: 3 },
        ),
        order: fc.infiniteStream(fc.nat(n - 1)),
      }),
    );
    fc.assert(
      fc.property(graph, ({ n, states, order }) => {
        const names = Array.from({ length: n }, (_, i) => `r${i}`);
        const routes: Routes[] = names.map((name) => ({
          paths: new Map<string, Path>([[name, [name]]]),
          via: new Map(),
          sources: new Map(),
        }));
        for (const edges of states) {
          const dials = (from: number, to: number): boolean =>
            from !== to && edges.some(([x, y]) => x === from && y === to);
          const turn = (i: number): string => {
            const peers = new Map<string, PeerOffer>();
            for (let j = 0; j < n; j++)
              if (dials(i, j))
                peers.set(names[j]!, {
                  paths: routes[j]!.paths,
                  ends: new Map(names.map((name) => [`${name}:1`, 1])),
                  missing: new Set(),
                });
            routes[i] = computeRoutes({
              region: names[i]!,
              peers,
              have: () => 1,
              wants: (origin) => origin !== `${names[i]}:1`,
              current: routes[i]!.sources,
            });
            return JSON.stringify([...routes[i].paths]);
          };
          // Offers arrive in any order, then settle: each round spreads what is right one link further.
          for (const i of order.take(n * 2)) turn(i);
          for (let round = 0; round <= 2 * n; round++) names.forEach((_, i) => turn(i));
          const settled = names.map((_, i) => turn(i));
          expect(names.map((_, i) => turn(i))).toEqual(settled);

          for (let from = 0; from < n; from++) {
            const distance = new Map([[from, 0]]);
            const queue = [from];
            for (let at = queue.shift(); at !== undefined; at = queue.shift())
              for (let to = 0; to < n; to++)
                if (dials(at, to) && !distance.has(to)) {
                  distance.set(to, distance.get(at)! + 1);
                  queue.push(to);
                }
            expect(new Set(routes[from]!.paths.keys())).toEqual(new Set([...distance.keys()].map((i) => names[i]!)));
            for (const [to, hops] of distance) {
              const path = routes[from]!.paths.get(names[to]!)!;
              expect(path).toHaveLength(hops + 1);
              path
                .slice(1)
                .forEach((next, i) => expect(dials(names.indexOf(path[i]!), names.indexOf(next))).toBe(true));
              if (hops > 0) expect(routes[from]!.sources.get(`${names[to]}:1`)).toBe(routes[from]!.via.get(names[to]!));
            }
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
