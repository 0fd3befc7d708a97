/** What is kept of a command that Redis refused for good, as JSON: on disk, at the admin endpoint and for `meridian dead-letters list --json`. */
import * as z from 'zod';

/** What `retry` does. */
const REMEDIES = ['state', 'command', 'none'] as const;

const letterSchema = z.object({
  /** Of what was refused: the same again has the same. */
  id: z.string(),
  /** When it was refused last, in ms since 1970. */
  timeMs: z.number(),
  /** How often. */
  count: z.number(),
  db: z.number(),
  command: z.string(),
  /** Latin-1; null for a command without keys. */
  key: z.string().nullable(),
  /** Of Redis' error. Its text may hold values, and is not kept. */
  code: z.string(),
  /**
   * `state`: another region sends what the key holds now. `command`: it is run once more. `none`: neither would be right, or it is too long to have been
   * kept.
   */
  remedy: z.enum(REMEDIES),
});
export type Letter = z.output<typeof letterSchema>;

/** With the command's bytes in base64, for remedy `command`. */
export const storedLetterSchema = letterSchema.extend({ bytes: z.string().optional() });
export type StoredLetter = z.output<typeof storedLetterSchema>;

/** An answer to GET /dead-letters. */
export const lettersAnswerSchema = z.object({
  region: z.string(),
  /** Oldest first. */
  letters: z.array(letterSchema),
  /** Refused since this agent began, and not kept any more because there were too many. */
  lost: z.number(),
});

/** An answer to POST /dead-letters/retry and /dead-letters/drop. */
export const lettersDoneSchema = z.object({
  region: z.string(),
  done: z.array(letterSchema.extend({ outcome: z.string() })),
});
export type LettersDone = z.output<typeof lettersDoneSchema>;
