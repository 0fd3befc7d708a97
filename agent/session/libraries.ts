/** Libraries of functions, as Redis has them: read for the rule (merge/libraries.ts), and given to a region that compares its own. */
import { libraryName } from '../merge/function-commands';
import type { FoundLibrary } from '../merge/libraries';
import type { OriginId } from '../record';
import { isPausing } from '../apply/applier';
import { CommandWriter, type RedisConnection, type Reply, ReplyError } from '../resp';
import { parseMarker } from '../stream/keys';
import { type Donor, withOwn } from './donor';
import { SessionError } from './context';

const LIST = ['FUNCTION', 'LIST', 'WITHCODE'] as const;

/** @returns Redis' error where it has no functions, the agent may not list them, or it can't at the moment */
export async function listLibraries(connection: RedisConnection): Promise<FoundLibrary[] | ReplyError> {
  const reply = await connection.call(...LIST);
  return reply instanceof ReplyError ? reply : parseLibraries(reply);
}

/** Whether this Redis has functions, and the agent may list them. */
export async function hasFunctions(connection: RedisConnection): Promise<boolean> {
  const reply = await connection.call('FUNCTION', 'LIST');
  return !(reply instanceof ReplyError) || isPausing(reply.code);
}

/**
 * Has Redis run code of a library without loading it: its last line fails everywhere, so that only an error in one before tells.
 * @returns the error's code where it refuses that; null: it would load it
 */
export async function refusalOf(connection: RedisConnection, code: Buffer): Promise<string | null> {
  const start = code.indexOf('\n') + 1;
  // In a function of its own, for the code may return.
  const probe = Buffer.concat([
    code.subarray(0, start),
    Buffer.from('(function(...)\n'),
    code.subarray(start),
    Buffer.from('\nend)()\nreturn no_such_thing'),
  ]);
  const reply = await connection.call('FUNCTION', 'LOAD', 'REPLACE', probe);
  if (!(reply instanceof ReplyError)) throw new SessionError('redis', 'Redis loads a library that can only fail');
  const line = /Error registering functions: .*user_function: ?(\d+):/.exec(reply.message)?.[1];
  const lines = probe.toString('latin1').split('\n').length;
  return Number(line) === lines ? null : reply.code;
}

/** The reply to FUNCTION LIST WITHCODE: a list of names and values in turn, for each library. */
function parseLibraries(reply: Reply | undefined): FoundLibrary[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((entry): FoundLibrary[] => {
    const code = valueOf(entry, 'library_code');
    const functions = valueOf(entry, 'functions');
    if (!Buffer.isBuffer(code) || !Array.isArray(functions)) return [];
    const name = textOf(valueOf(entry, 'library_name'));
    return [{ name, code, functions: functions.map((found) => textOf(valueOf(found, 'name'))) }];
  });
}

function valueOf(entry: Reply, name: string): Reply | undefined {
  if (!Array.isArray(entry)) return undefined;
  const at = entry.findIndex((field, i) => i % 2 === 0 && textOf(field) === name);
  return at < 0 ? undefined : entry[at + 1];
}

function textOf(reply: Reply | undefined): string {
  return Buffer.isBuffer(reply) ? reply.toString('latin1') : '';
}

/** What a region answers to the request `libraries`, as JSON. */
export interface LibrariesAnswer {
  /** Code in base64; null: it has no functions, or can't tell at which place of its stream. */
  libraries: string[] | null;
  /** The positions at which exactly they were read. */
  vector: [OriginId, number][];
  /** Some are about to be put right. */
  amiss: boolean;
}

export async function serveLibraries(donor: Donor): Promise<Buffer> {
  const none: LibrariesAnswer = { libraries: null, vector: [], amiss: false };
  if (donor.keyspace !== null) return Buffer.from(JSON.stringify(none));
  const isAmiss = donor.areLibrariesAmiss();
  const writer = new CommandWriter(256).command(['MULTI']).command(LIST);
  writer.command(['GET', donor.context.keys.cursor]).command(['INFO', 'replication']).command(['EXEC']);
  const { result, queueErrors } = await donor.connection.transaction(writer.take(), 3);
  if (queueErrors.size > 0) return Buffer.from(JSON.stringify(none));
  if (!Array.isArray(result)) throw new SessionError('lost', 'reading libraries failed');
  const [list, cursor, info] = result;
  const marker = Buffer.isBuffer(cursor) ? parseMarker(cursor.toString('latin1')) : null;
  const offset = Number(/^master_repl_offset:(\d+)/m.exec(Buffer.isBuffer(info) ? info.toString('latin1') : '')?.[1]);
  if (marker === null || !Number.isFinite(offset)) throw new SessionError('lost', 'the cursor is gone; ask again');
  await donor.read(offset);
  const answer: LibrariesAnswer = {
    libraries: parseLibraries(list).map(({ code }) => code.toString('base64')),
    vector: [...(await withOwn(donor, new Map(marker.vector), offset))],
    amiss: isAmiss || donor.areLibrariesAmiss(),
  };
  return Buffer.from(JSON.stringify(answer));
}

/** Code by name. */
export function byName(codes: Iterable<Buffer>): Map<string, Buffer> {
  const libraries = new Map<string, Buffer>();
  for (const code of codes) {
    const name = libraryName(code);
    if (name !== null) libraries.set(name, code);
  }
  return libraries;
}
