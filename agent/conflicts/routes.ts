/** What the admin endpoint answers about conflicts and keys. */
import * as z from 'zod';
import { AdminError, type AdminRoute } from '../admin';
import { explain, type ExplainSource } from './explain';
import type { ConflictJournal } from './journal';

const ENTRIES_MAX = 1000;
const KEY_BYTES_MAX = 64 * 1024;

const whole = (max: number) => z.coerce.number().int().min(0).max(max);
const querySchema = z.object({
  key: z.string().max(1024).optional(),
  region: z.string().max(100).optional(),
  since: whole(Number.MAX_SAFE_INTEGER).optional(),
  after: whole(Number.MAX_SAFE_INTEGER).optional(),
  id: z.string().max(100).optional(),
  limit: whole(ENTRIES_MAX).default(100),
});
const explainSchema = z.object({
  db: whole(65_535).default(0),
  /** In base64url. */
  key: z
    .string()
    .min(1)
    .max(KEY_BYTES_MAX * 2),
});

export interface ConflictRoutesSource {
  readonly conflicts: ConflictJournal;
  explained(): ExplainSource;
}

/** Not to be served to everybody: see admin-token.ts. */
export function conflictRoutes(source: ConflictRoutesSource): Record<string, AdminRoute> {
  // One at a time: each reads much of the journal.
  let explaining: Promise<unknown> = Promise.resolve();
  return {
    '/conflicts': async (url) => {
      const { since, after, key, region, id, limit } = parseQuery(querySchema, url);
      const body = await source.conflicts.query({
        limit,
        ...(key === undefined ? {} : { key: Buffer.from(key, 'base64url').toString('latin1') }),
        ...(region === undefined ? {} : { region }),
        ...(id === undefined ? {} : { id }),
        ...(since === undefined ? {} : { sinceMs: since }),
        ...(after === undefined ? {} : { afterSeq: after }),
      });
      return { status: 200, body };
    },
    '/explain': async (url) => {
      const { db, key } = parseQuery(explainSchema, url);
      const next = explaining.then(() =>
        explain(source.explained(), db, Buffer.from(key, 'base64url').toString('latin1')),
      );
      explaining = next.catch(() => undefined);
      return { status: 200, body: await next };
    },
  };
}

/** The query of a URL. @throws AdminError 400 */
export function parseQuery<Schema extends z.ZodType>(schema: Schema, url: URL): z.output<Schema> {
  const result = schema.safeParse(Object.fromEntries(url.searchParams));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new AdminError(400, `${issue?.path.join('.') || 'the query'}: ${issue?.message ?? 'wrong'}`);
}
