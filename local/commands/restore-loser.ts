import readline from 'node:readline/promises';

import Redis from 'ioredis';

import { agentsOf } from '../agent-admin';
import { escapeBytes } from '../bytes';
import { LocalError, errorText } from '../errors';
import { checkRegion } from '../faults';
import { requirePassword } from '../secrets';
import { requireRunning } from '../status';
import { type CommonOptions, dirOf, print } from './common';
import { find, type FoundConflict, sideText } from './conflicts';

export interface RestoreLoserOptions extends CommonOptions {
  /** Through whose Redis; default: the region that wrote it. */
  readonly region?: string;
  readonly yes?: boolean;
}

/** Writes what lost once more, as a client's new write: by the rule it is later than what stands, and wins. */
export async function restoreLoser(options: RestoreLoserOptions, id: string): Promise<void> {
  const dir = dirOf(options);
  const state = requireRunning(dir, options.stack);
  const { entries, failures, dryRun } = await find(agentsOf(options), { id, limit: 1 });
  const [entry] = entries;
  if (entry === undefined) {
    const unasked = failures.size === 0 ? '' : ` ${[...failures.values()].join(' ')}`;
    throw new LocalError('NOT_FOUND', `No conflict ${id} is known: \`meridian conflicts\` lists them.${unasked}`);
  }
  if (entry.foundIn.every((region) => dryRun.includes(region)))
    throw new LocalError(
      'BAD_ARGUMENT',
      `Conflict ${id} is of a dry run: nothing was written, and each region has what its clients wrote.`,
    );
  const command = commandOf(entry);
  const name = options.region ?? entry.loser.region;
  checkRegion(
    name,
    state.regions.map((region) => region.name),
  );
  const region = state.regions.find((candidate) => candidate.name === name)!;
  const shown = command.map((part) => escapeBytes(Buffer.from(part))).join(' ');
  const question = `What lost: ${sideText(entry.loser)}. Run in ${name}, database ${entry.db}: ${shown} ?`;
  if (options.yes !== true && !(await confirm(question)))
    throw new LocalError('NOT_CONFIRMED', 'Nothing was written: say yes, or --yes.');
  const redis = new Redis({
    ...{ host: region.redis.host, port: region.redis.port, db: entry.db },
    password: requirePassword(dir),
    ...{ lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 },
  });
  redis.on('error', () => undefined); // the command that failed tells
  try {
    await redis.connect();
    const [word, ...args] = command;
    await redis.call(word!.toString(), ...args);
  } catch (error) {
    throw new LocalError('AGENT', `Redis of ${name} did not take ${shown}: ${errorText(error)}.`);
  } finally {
    redis.disconnect();
  }
  print(options, { id, region: name, db: entry.db, command: command.map((part) => part.toString('base64')) }, [
    `Done in ${name}, database ${entry.db}: ${shown}`,
  ]);
}

/** What does again what lost. @throws LocalError NOT_FOUND where that can't be told from what is kept */
export function commandOf({ id, key, element, type, loser }: FoundConflict): Buffer[] {
  const [name, field] = [Buffer.from(key, 'latin1'), Buffer.from(element, 'latin1')];
  const words = (word: string, ...args: readonly Buffer[]): Buffer[] => [Buffer.from(word), ...args];
  const { act, value } = loser;
  if (act === 'command')
    throw new LocalError('NOT_FOUND', `Conflict ${id} is about a command, of which no value is kept.`);
  if (act === 'delete') {
    if (type === 'hash') return words('HDEL', name, field);
    if (type === 'set') return words('SREM', name, field);
    if (type === 'zset') return words('ZREM', name, field);
    return words('DEL', name);
  }
  if (act === 'ttl') {
    if (value === null) return words('PERSIST', name);
    const at = Buffer.from(value.full ?? '', 'base64');
    if (Number(at.toString()) > Date.now()) return words('PEXPIREAT', name, at);
    throw new LocalError('NOT_FOUND', `The time at which the key was to expire by conflict ${id} has passed.`);
  }
  if (value?.full === undefined)
    throw new LocalError(
      'NOT_FOUND',
      `The value of conflict ${id} was not kept: only replication.conflictValues: full keeps values, up to 4 KiB.`,
    );
  const bytes = Buffer.from(value.full, 'base64');
  if (type === 'hash') return words('HSET', name, field, bytes);
  if (type === 'zset') return words('ZADD', name, bytes, field);
  return words('SET', name, bytes, Buffer.from('KEEPTTL'));
}

async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const asked = readline.createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await asked.question(`${question} [y/N] `)).trim());
  } finally {
    asked.close();
  }
}
