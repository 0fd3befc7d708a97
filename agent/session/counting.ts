/** Which regions count which: neighbours are asked, and ask theirs, for in a ring or a star no region is linked to all. */
import type { AgentContext } from './context';
import type { MeshAnswer } from './difference';

type Mesh = Pick<AgentContext['mesh'], 'links' | 'request'>;

/** What the request `mesh` brings, as JSON. Nothing: who is asked speaks of itself alone, as an earlier version does. */
export interface MeshQuestion {
  /** Who has been asked or is about to be, and who asks. */
  asked: string[];
  /** For so long whoever is asked may ask others. */
  withinMs: number;
}

/** Of its time each leaves so much to those behind it. */
const REST_SHARE = 3 / 4;

/** What all neighbours say that can be reached and are not asked yet, and through them those behind. */
export async function askNeighbours(mesh: Mesh, { asked, withinMs }: MeshQuestion): Promise<Map<string, MeshAnswer>> {
  const peers = mesh.links().flatMap(({ peer, state }) => (state === 'up' && !asked.includes(peer) ? [peer] : []));
  const question: MeshQuestion = { asked: [...asked, ...peers], withinMs: withinMs * REST_SHARE };
  const payload = Buffer.from(JSON.stringify(question));
  const answers = await Promise.all(
    peers.map(async (peer): Promise<[string, MeshAnswer][]> => {
      try {
        const answer = await mesh.request(peer, 'mesh', payload, { timeoutMs: withinMs });
        return [[peer, JSON.parse(answer.toString('utf8')) as MeshAnswer]];
      } catch {
        // Not there yet.
        return [];
      }
    }),
  );
  return new Map(answers.flat());
}

/** Which regions each region counts that has said so. */
export function membersIn(answers: ReadonlyMap<string, MeshAnswer>): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const [peer, { members, beyond = {} }] of answers) {
    for (const [region, counted] of Object.entries(beyond)) found.set(region, counted);
    if (members !== undefined) found.set(peer, members);
  }
  return found;
}

/** The answer of a region that says that of itself. */
export async function answerMesh(mesh: Mesh, standing: MeshAnswer, payload: Buffer): Promise<MeshAnswer> {
  if (payload.length === 0) return standing;
  const beyond = membersIn(await askNeighbours(mesh, JSON.parse(payload.toString('utf8')) as MeshQuestion));
  return beyond.size === 0 ? standing : { ...standing, beyond: Object.fromEntries(beyond) };
}
