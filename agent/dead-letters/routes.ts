/** What the admin endpoint answers about dead letters, and does about them. */
import * as z from 'zod';
import { AdminError, type AdminRoute } from '../admin';
import { parseQuery } from '../conflicts';
import type { Letter, LettersDone, StoredLetter } from './letter';
import type { DeadLetters } from './letters';

/** Which ones: one by its ID, or all of them. */
const whichSchema = z.union(
  [z.strictObject({ id: z.string().min(1).max(100) }), z.strictObject({ all: z.literal('true') })],
  { error: 'id=ID or all=true is wanted' },
);

export interface LetterRoutesSource {
  readonly region: string;
  readonly letters: DeadLetters;
  /** Tries it again. @returns what came of it. @throws where nothing can be done at the moment: it is kept then */
  retry(letter: StoredLetter): Promise<string>;
}

/** Not to be served to everybody: see admin-token.ts. */
export function letterRoutes(source: LetterRoutesSource): Record<string, AdminRoute> {
  const { region, letters } = source;
  const chosen = (url: URL): Letter[] => {
    const which = parseQuery(whichSchema, url);
    const found = letters.list().filter(({ id }) => !('id' in which) || id === which.id);
    if (found.length === 0 && 'id' in which) throw new AdminError(404, `no dead letter ${which.id} here`);
    return found;
  };
  const forEach =
    (act: (letter: StoredLetter) => Promise<string>): AdminRoute =>
    async (url) => {
      const done: LettersDone['done'] = [];
      for (const { id } of chosen(url)) {
        const taken = letters.take(id);
        if (taken === undefined) continue;
        const { bytes: _, ...letter } = taken;
        done.push({ ...letter, outcome: await act(taken) });
      }
      await letters.flush();
      return { status: 200, body: { region, done } satisfies LettersDone };
    };
  return {
    '/dead-letters': async () => ({ status: 200, body: { region, letters: letters.list(), lost: letters.lost } }),
    'POST /dead-letters/drop': forEach(() => Promise.resolve('dropped')),
    'POST /dead-letters/retry': forEach(async (letter) => {
      if (letter.remedy === 'none') {
        letters.putBack(letter);
        return 'kept: it can only be dropped';
      }
      try {
        return await source.retry(letter);
      } catch (error) {
        letters.putBack(letter);
        throw new AdminError(503, error instanceof Error ? error.message : String(error));
      }
    }),
  };
}
