import { answerMesh, askNeighbours, membersIn } from './counting';
import type { MeshAnswer } from './difference';

/** Regions with these links; each counts the regions named beside it. */
class Regions {
  readonly asked: string[] = [];

  constructor(
    private readonly links: readonly (readonly [string, string])[],
    private readonly counts: Readonly<Record<string, string[]>>,
  ) {}

  meshOf(region: string): Parameters<typeof askNeighbours>[0] {
    const peers = this.links.flatMap(([a, b]) => (a === region ? [b] : b === region ? [a] : []));
    return {
      links: () => peers.map((peer) => ({ peer, state: 'up' })) as never,
      request: async (peer, _, payload) => {
        this.asked.push(peer);
        const standing: MeshAnswer = { established: true, hopeless: false, members: this.counts[peer] };
        return Buffer.from(JSON.stringify(await answerMesh(this.meshOf(peer), standing, payload)));
      },
    };
  }
}

const links = {
  ring: [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'd'],
    ['d', 'e'],
    ['e', 'a'],
  ],
  star: [
    ['a', 'b'],
    ['b', 'c'],
    ['b', 'd'],
    ['b', 'e'],
  ],
  mesh: ['a', 'b', 'c', 'd', 'e'].flatMap((x) => ['b', 'c', 'd', 'e'].filter((y) => y > x).map((y) => [x, y] as const)),
} as const;

test.each(['ring', 'star', 'mesh'] as const)('in a %s all are asked, each once or twice', async (topology) => {
  const all = ['a', 'b', 'c', 'd', 'e'];
  const regions = new Regions(links[topology], { b: all, c: ['b', 'c', 'd', 'e'], d: all, e: all });
  const answers = await askNeighbours(regions.meshOf('a'), { asked: ['a'], withinMs: 100 });
  const members = membersIn(answers);
  expect([...members.keys()].sort()).toEqual(['b', 'c', 'd', 'e']);
  expect([...members].filter(([, counted]) => !counted.includes('a')).map(([region]) => region)).toEqual(['c']);
  expect(regions.asked.length).toBeLessThanOrEqual(topology === 'ring' ? 6 : 4);
});

test('who is asked without a question speaks of itself alone', async () => {
  const regions = new Regions(links.star, { c: ['c'] });
  const standing = { established: true, hopeless: false };
  expect(await answerMesh(regions.meshOf('b'), standing, Buffer.alloc(0))).toEqual(standing);
  expect(regions.asked).toEqual([]);
});
