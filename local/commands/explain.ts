import { type Explanation, explanationSchema } from '../../agent/conflicts/explanation';
import { type AgentOptions, agentsOf, askAll } from '../agent-admin';
import { escapeBytes } from '../bytes';
import { renderTable } from '../table';
import { print } from './common';

export interface ExplainOptions extends AgentOptions {
  readonly db: number;
}

const operationsShown = 5;

/** Who wrote a key, and what is still under way, in each region. */
export async function explain(options: ExplainOptions, key: string): Promise<void> {
  const query = { db: options.db, key: Buffer.from(key).toString('base64url') };
  const { answers, failures } = await askAll(agentsOf(options), explanationSchema, () => ({ path: '/explain', query }));
  const regions = [...answers.values()].sort((a, b) => (a.region < b.region ? -1 : 1));
  print(options, { key, db: options.db, regions, failures: Object.fromEntries(failures) }, [
    `${escapeBytes(Buffer.from(key))} in database ${options.db}`,
    ...regions.flatMap((region) => ['', ...linesOf(region)]),
    ...[...failures.values()].flatMap((failure) => ['', failure]),
  ]);
}

function linesOf(region: Explanation): string[] {
  const { redis, operations, unstable, policy, settledBy, ttlOwner, sinceMs } = region;
  const last = operations[0];
  const holds =
    redis === null
      ? 'its Redis was not asked'
      : redis.type === 'none'
        ? 'no such key'
        : `${redis.type}, ${redis.expiresAtMs === null ? 'never expires' : `expires at ${time(redis.expiresAtMs)}`}`;
  const lines = [
    `  ${region.region}: ${holds}; policy ${policy}`,
    last === undefined
      ? `    Nothing of it is in the journal${sinceMs === null ? '' : `, which was looked at back to ${time(sinceMs)}`}.`
      : `    Written last by ${last.region} at ${time(last.timeMs)} (${last.command}).`,
  ];
  if (ttlOwner !== null) lines.push(`    Its time to live is ${ttlOwner}'s.`);
  if (settledBy !== null) lines.push(`    Its value is not sure before ${settledBy} has sent its state.`);
  if (unstable === null) lines.push('    More is under way than was looked at: which of it is unstable is not known.');
  for (const { region: origin, position, waitsFor } of unstable ?? [])
    lines.push(`    Unstable: ${origin} at ${position}; ${waitsFor.join(', ')} did not say to have seen it.`);
  if (operations.length > 1)
    lines.push(
      ...renderTable(
        [{ title: 'TIME' }, { title: 'REGION' }, { title: 'COMMAND' }],
        operations.slice(0, operationsShown).map(({ timeMs, region: by, command }) => [time(timeMs), by, command]),
      ).map((line) => `  ${line}`),
    );
  return lines;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
