import { setTimeout as sleep } from 'node:timers/promises';

import { type ConflictEntry, conflictsAnswerSchema } from '../../agent/conflicts/entry';
import { type AgentEndpoint, type AgentOptions, agentsOf, askAll } from '../agent-admin';
import { escapeBytes } from '../bytes';
import { checkRegion } from '../faults';
import { counted } from '../../model/counted';
import { renderTable } from '../table';
import { print } from './common';

export interface ConflictsOptions extends AgentOptions {
  readonly key?: string;
  readonly region?: string;
  /** In ms since 1970. */
  readonly since?: number;
  readonly follow?: boolean;
  readonly limit: number;
}

/** One conflict, as the regions that have it in their journals tell it. */
export interface FoundConflict extends ConflictEntry {
  readonly foundIn: readonly string[];
}

const followMs = 1000;

/** The writes that lost, of all regions, oldest first. */
export async function conflicts(options: ConflictsOptions): Promise<void> {
  const agents = agentsOf(options);
  const after = new Map<string, number>();
  const first = await find(agents, options, after);
  // One that has left the stack may be in the journals still.
  if (options.region !== undefined && options.agent === undefined && first.entries.length === 0)
    checkRegion(
      options.region,
      agents.map(({ name }) => name),
    );
  const { entries, leftOut, failures, dryRun } = first;
  const json = { conflicts: entries, dryRun, leftOut, failures: Object.fromEntries(failures), isCut: first.isCut };
  if (!options.follow) {
    print(options, json, linesOf(first));
    return;
  }
  const show = (found: readonly FoundConflict[]): void => {
    for (const entry of found) print(options, entry, [lineOf(entry)]);
  };
  show(entries);
  const shown = new Set(entries.map(({ id }) => id));
  for (;;) {
    await sleep(followMs);
    const found = (await find(agents, options, after)).entries.filter(({ id }) => !shown.has(id));
    for (const { id } of found) shown.add(id);
    show(found);
  }
}

interface Found {
  readonly entries: FoundConflict[];
  /** By region. */
  readonly leftOut: Record<string, number>;
  readonly failures: ReadonlyMap<string, string>;
  readonly isCut: boolean;
  /** Regions that apply nothing: what they tell would have conflicted. */
  readonly dryRun: readonly string[];
}

/** @param after of each region the last entry known; kept up to date */
export async function find(
  agents: readonly AgentEndpoint[],
  { key, region, since, limit, id }: Pick<ConflictsOptions, 'key' | 'region' | 'since' | 'limit'> & { id?: string },
  after = new Map<string, number>(),
): Promise<Found> {
  const { answers, failures } = await askAll(agents, conflictsAnswerSchema, ({ name }) => ({
    path: '/conflicts',
    query: {
      key: key === undefined ? undefined : Buffer.from(key).toString('base64url'),
      ...{ region, since, limit, id },
      after: after.get(name),
    },
  }));
  const byId = new Map<string, FoundConflict>();
  const leftOut: Record<string, number> = {};
  for (const [name, answer] of answers) {
    leftOut[answer.region] = answer.leftOut;
    for (const entry of answer.entries) {
      after.set(name, Math.max(after.get(name) ?? 0, entry.seq));
      const known = byId.get(entry.id);
      byId.set(
        entry.id,
        known === undefined ? { ...entry, foundIn: [answer.region] } : merge(known, entry, answer.region),
      );
    }
  }
  const entries = [...byId.values()].sort((a, b) => a.timeMs - b.timeMs).slice(-limit);
  const isCut = entries.length < byId.size || [...answers.values()].some((answer) => answer.isCut);
  const dryRun = [...answers.values()].flatMap(({ region, dryRun: isDry }) => (isDry ? [region] : [])).sort();
  return { entries, leftOut, failures, isCut, dryRun };
}

/** Where more than two met, regions saw it lose to different ones: the highest is what stood in the end. A region may have more of the value. */
function merge(known: FoundConflict, entry: ConflictEntry, region: string): FoundConflict {
  const isHigher = (entry.winner?.stamp ?? 0) > (known.winner?.stamp ?? 0);
  const { loser } = known.loser.value?.full === undefined && entry.loser.value?.full !== undefined ? entry : known;
  return {
    ...known,
    winner: isHigher ? entry.winner : known.winner,
    loser,
    timeMs: Math.min(known.timeMs, entry.timeMs),
    foundIn: [...known.foundIn, region],
  };
}

const nothingLost =
  'No write that lost is known. (What met and merged is none: `meridian status` counts it as a conflict.)';

function linesOf({ entries, leftOut, failures, isCut, dryRun }: Found): string[] {
  const lines = entries.length === 0 ? [nothingLost] : renderTable(columns, entries.map(cellsOf));
  if (dryRun.length > 0)
    lines.push('', `Dry run in ${dryRun.join(', ')}: what would have conflicted; nothing was written.`);
  if (isCut) lines.push('', 'There are more: --limit shows more of them, --key, --region and --since fewer.');
  for (const [region, count] of Object.entries(leftOut))
    if (count > 0)
      lines.push('', `${region} did not look at ${count.toLocaleString('en-US')} more, which came too fast.`);
  for (const failure of failures.values()) lines.push('', failure);
  return lines;
}

const columns = [
  { title: 'FOUND' },
  { title: 'ID' },
  { title: 'KEY' },
  { title: 'WHAT' },
  { title: 'STANDS' },
  { title: 'LOST' },
];

function lineOf(entry: FoundConflict): string {
  return cellsOf(entry).join('  ');
}

function cellsOf(entry: FoundConflict): string[] {
  const { id, timeMs, db, key, type, element, reason, winner, loser } = entry;
  const name = escapeBytes(Buffer.from(key, 'latin1'));
  const what = element === '' ? type : `${type} ${escapeBytes(Buffer.from(element, 'latin1'))}`;
  const unknown = reason === 'policy' ? "its owner's" : 'the state that settles it';
  const stands = winner === null ? unknown : sideText(winner);
  return [
    new Date(timeMs).toISOString(),
    id,
    db === 0 ? name : `${name} (db ${db})`,
    `${what} (${reason})`,
    stands,
    sideText(loser),
  ];
}

const shownMax = 32;

/** `alpha "value"`. */
export function sideText({ region, act, value }: NonNullable<ConflictEntry['winner']>): string {
  return `${region} ${valueText(act, value)}`;
}

function valueText(act: string, value: ConflictEntry['loser']['value']): string {
  if (act === 'delete') return 'deleted it';
  if (act === 'command') return 'wrote it';
  if (act === 'ttl') {
    const text = value?.full === undefined ? undefined : Buffer.from(value.full, 'base64').toString();
    return text === undefined ? 'let it stay for ever' : `let it expire at ${new Date(Number(text)).toISOString()}`;
  }
  if (value === null) return 'wrote it';
  if (value.full !== undefined) {
    const bytes = Buffer.from(value.full, 'base64');
    const shown = escapeBytes(bytes.subarray(0, shownMax));
    return bytes.length > shownMax ? `${shown}… (${bytes.length} bytes)` : shown;
  }
  return `${counted(value.bytes, 'byte')}${value.digest === undefined ? '' : ` ~${value.digest.slice(0, 8)}`}`;
}
