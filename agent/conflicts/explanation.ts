/** What one region knows of a key, as JSON: at the admin endpoint and for `meridian explain --json`. */
import * as z from 'zod';

const operationSchema = z.object({
  region: z.string(),
  origin: z.string(),
  position: z.number(),
  stamp: z.number(),
  timeMs: z.number(),
  /** The command's name, or `STATE` for a state that settled the key. */
  command: z.string(),
  /** When the key expires by it, in ms since 1970; null: never. Absent: it says nothing of that. */
  expiresAtMs: z.number().nullable().optional(),
});
export type ExplainedOperation = z.output<typeof operationSchema>;

/** An answer to GET /explain. */
export const explanationSchema = z.object({
  region: z.string(),
  db: z.number(),
  /** Latin-1. */
  key: z.string(),
  /** The policy that applies. */
  policy: z.string(),
  /** What this region's Redis has. */
  redis: z.object({ type: z.string(), expiresAtMs: z.number().nullable() }).nullable(),
  /** Of the operations that the journal still has, the newest, newest first. */
  operations: z.array(operationSchema),
  /** The oldest moment of which the journal was looked at; null: it is empty. */
  sinceMs: z.number().nullable(),
  /** Whose time to live holds, where one is known. */
  ttlOwner: z.string().nullable(),
  /** Operations that not every region has seen, and the regions that have not; null: too much is under way to look. */
  unstable: z
    .array(z.object({ region: z.string(), origin: z.string(), position: z.number(), waitsFor: z.array(z.string()) }))
    .nullable(),
  /** The region that has to send the key's state before it is known to be right; null: none has to. */
  settledBy: z.string().nullable(),
});
export type Explanation = z.output<typeof explanationSchema>;
