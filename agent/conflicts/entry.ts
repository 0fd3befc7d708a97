/** What the conflict journal holds of one conflict, as JSON: on disk, at the admin endpoint and for `meridian conflicts --json`. */
import * as z from 'zod';

/** What is kept of values: all of it, up to a size; its size and a digest by which equal values are known; or nothing. */
export const CONFLICT_VALUES = ['full', 'digest', 'none'] as const;
export type ConflictValues = (typeof CONFLICT_VALUES)[number];

const valueSchema = z.object({
  bytes: z.number(),
  /** Equal values have equal ones in one region from one start of its agent to the next. Keyed, so that nobody finds a value by trying. */
  digest: z.string().optional(),
  /** In base64. */
  full: z.string().optional(),
});
export type ConflictValue = z.output<typeof valueSchema>;

const sideSchema = z.object({
  region: z.string(),
  origin: z.string(),
  position: z.number(),
  stamp: z.number(),
  /** When it was written, by its region's clock, in ms since 1970. */
  timeMs: z.number(),
  act: z.enum(['write', 'delete', 'ttl', 'command']),
  /** Null: there is none, or it is not kept. Of `ttl`: when the key expires, in ms since 1970; null: never. */
  value: valueSchema.nullable(),
});
export type EntrySide = z.output<typeof sideSchema>;

export const conflictEntrySchema = z.object({
  /** Of the write that lost: the same in every region. */
  id: z.string(),
  /** Grows with each entry of a region. */
  seq: z.number(),
  /** When this region found it, in ms since 1970. */
  timeMs: z.number(),
  db: z.number(),
  /** Latin-1: a character is a byte. */
  key: z.string(),
  type: z.string(),
  /** Field or member, Latin-1. */
  element: z.string(),
  reason: z.enum(['later', 'unseen', 'type', 'settled', 'policy']),
  winner: sideSchema.nullable(),
  loser: sideSchema,
});
export type ConflictEntry = z.output<typeof conflictEntrySchema>;

/** An answer to GET /conflicts. */
export const conflictsAnswerSchema = z.object({
  region: z.string(),
  /** This region applies nothing: they are what would have met. */
  dryRun: z.boolean().default(false),
  /** Oldest first. */
  entries: z.array(conflictEntrySchema),
  /** More were found than are given; the newest are. */
  isCut: z.boolean(),
  /** Conflicts that were not looked at since this agent began, because they came too fast. */
  leftOut: z.number(),
});
export type ConflictsAnswer = z.output<typeof conflictsAnswerSchema>;
