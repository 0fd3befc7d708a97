import { z } from 'zod';

import { requestJson } from './control';

// What an agent's `GET /status` tells. A field that an agent doesn't send, or sends in another form, is read as nothing:
// a status page of an agent that is older, newer or only half up is worth more than an error.

const count = z.number().catch(0);
const rate = z.object({ operations: count, opsPerSecond: count }).catch({ operations: 0, opsPerSecond: 0 });

const keysSchema = z.object({
  with: z.string().nullable(),
  here: count,
  there: count,
  equal: count,
  differing: count,
  onlyHere: count,
  onlyThere: count,
});
const dryRunSchema = z.object({
  sinceMs: count,
  wouldApply: z.object({ operations: count, byClass: z.record(z.string(), z.number()).catch({}) }),
  wouldConflict: z.object({ operations: count, byType: z.record(z.string(), z.number()).catch({}) }),
  keys: keysSchema.nullable().catch(null),
  forgotten: count,
});

const linkSchema = z.object({
  peer: z.string(),
  state: z.enum(['up', 'connecting', 'down']).catch('down'),
  /** Milliseconds of data that the peer's changes are behind here; null when it isn't known. */
  lagMs: z.number().nullable().catch(null),
  pendingOps: count,
  pendingBytes: count,
  /** Of the region's own stream, what the peer has not said to have; heartbeats in between count. */
  toSendBytes: count,
  rttMs: z.number().nullable().catch(null),
  error: z.string().optional().catch(undefined),
});

export const agentStatusSchema = z.object({
  region: z.string().catch(''),
  state: z.string().catch('unknown'),
  reason: z.string().optional().catch(undefined),
  redis: z
    .object({ connected: z.boolean().catch(false), version: z.string().catch(''), role: z.string().catch('') })
    .catch({ connected: false, version: '', role: '' }),
  captured: rate,
  applied: rate,
  corrections: count,
  conflicts: z.object({ byType: z.record(z.string(), z.number()).catch({}) }).catch({ byType: {} }),
  deadLetters: count,
  /** What would be done; null where it is done. */
  dryRun: dryRunSchema.nullable().catch(null),
  window: z.object({ keys: count, operations: count }).catch({ keys: 0, operations: 0 }),
  journal: z.object({ bytes: count, segments: count }).catch({ bytes: 0, segments: 0 }),
  links: z.array(linkSchema).catch([]),
  caughtUp: z.boolean().catch(false),
  /** Per origin, how far this region has it. */
  vector: z.record(z.string(), z.unknown()).catch({}),
});

export type AgentStatus = z.output<typeof agentStatusSchema>;
export type AgentDryRun = z.output<typeof dryRunSchema>;
export type AgentLink = z.output<typeof linkSchema>;

/** Asks one agent. @returns undefined when it doesn't answer */
export async function askAgent(admin: string, timeoutMs = 1500): Promise<AgentStatus | undefined> {
  try {
    const { hostname, port } = new URL(admin);
    const { status, body } = await requestJson({ host: hostname, port, path: '/status' }, '', timeoutMs);
    return status === 200 ? agentStatusSchema.parse(body) : undefined;
  } catch {
    return undefined;
  }
}
