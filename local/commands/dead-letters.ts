import { lettersAnswerSchema, lettersDoneSchema } from '../../agent/dead-letters/letter';
import { type AgentEndpoint, type AgentOptions, agentsOf, askAll } from '../agent-admin';
import { escapeBytes } from '../bytes';
import { LocalError } from '../errors';
import { checkRegion } from '../faults';
import { renderTable } from '../table';
import { print } from './common';

export interface DeadLettersOptions extends AgentOptions {
  readonly region?: string;
  readonly all?: boolean;
}

function chosen(options: DeadLettersOptions): AgentEndpoint[] {
  const agents = agentsOf(options);
  const { region } = options;
  if (region === undefined) return agents;
  checkRegion(
    region,
    agents.map(({ name }) => name),
  );
  return agents.filter(({ name }) => name === region);
}

/** What Redis refused for good, in each region. */
export async function listLetters(options: DeadLettersOptions): Promise<void> {
  const { answers, failures } = await askAll(chosen(options), lettersAnswerSchema, () => ({ path: '/dead-letters' }));
  const regions = [...answers.values()];
  const rows = regions.flatMap(({ region, letters }) =>
    letters.map(({ id, timeMs, count, db, command, key, code, remedy }) => [
      region,
      id,
      new Date(timeMs).toISOString(),
      String(count),
      `${command}${key === null ? '' : ` ${escapeBytes(Buffer.from(key, 'latin1'))}`}${db === 0 ? '' : ` (db ${db})`}`,
      code,
      meaning[remedy],
    ]),
  );
  print(options, { regions, failures: Object.fromEntries(failures) }, [
    ...(rows.length === 0 ? ['There are no dead letters.'] : renderTable(columns, rows)),
    ...regions
      .filter(({ lost }) => lost > 0)
      .flatMap(({ region, lost }) => [
        '',
        `${region} had ${lost.toLocaleString('en-US')} more, and could not keep them.`,
      ]),
    ...[...failures.values()].flatMap((failure) => ['', failure]),
  ]);
}

const columns = [
  { title: 'REGION' },
  { title: 'ID' },
  { title: 'LAST' },
  { title: 'TIMES', right: true },
  { title: 'COMMAND' },
  { title: 'CODE' },
  { title: 'RETRY' },
];
const meaning = { state: "gets the key's state", command: 'runs it once more', none: 'not possible' } as const;

/** Tries them again, or forgets them. */
export async function settleLetters(
  options: DeadLettersOptions,
  action: 'retry' | 'drop',
  id: string | undefined,
): Promise<void> {
  if ((id === undefined) !== (options.all === true))
    throw new LocalError('BAD_ARGUMENT', `Name one by its ID, or say --all: which letters to ${action}?`);
  const { answers, failures } = await askAll(chosen(options), lettersDoneSchema, () => ({
    path: `/dead-letters/${action}`,
    method: 'POST',
    query: id === undefined ? { all: 'true' } : { id },
  })).catch((error: unknown) => {
    if (error instanceof LocalError && error.message.includes('no dead letter'))
      throw new LocalError(
        'NOT_FOUND',
        `No region has a dead letter ${id}: \`meridian dead-letters list\` lists them.`,
      );
    throw error;
  });
  const done = [...answers.values()].flatMap(({ region, done: letters }) =>
    letters.map((letter) => ({ region, ...letter })),
  );
  // Most regions don't have the letter that was named.
  const told = [...failures].filter(([, failure]) => !failure.includes('no dead letter'));
  print(options, { done, failures: Object.fromEntries(told) }, [
    ...(done.length === 0 ? ['There are no dead letters.'] : []),
    ...done.map(({ region, id: letter, command, key, outcome }) => {
      const name = key === null ? '' : ` ${escapeBytes(Buffer.from(key, 'latin1'))}`;
      return `${region} ${letter} ${command}${name}: ${outcome}`;
    }),
    ...told.map(([, failure]) => failure),
  ]);
}
