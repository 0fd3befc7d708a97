/** Whether all regions hold the same keys with the same values, and the same libraries of functions: read, compared, and never trusted from elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises';

import { ReplyError } from '../../agent/resp';
import { readBatch } from './batch';
import { type LibraryComparison, compareLibraries } from './libraries';
import { type Endpoint, Server, buffer, items, number, text } from './server';
import { type Equality, type KeySummary, isSame } from './summary';
import { previewOf, readKey } from './value';

export { type LibraryComparison, type LibraryDifference } from './libraries';
export { type Endpoint } from './server';
export { type KeySummary } from './summary';

export interface VerifyOptions extends Equality {
  /** How long keys and libraries that differ are looked at again, until they are equal. Default: once more, at once. */
  readonly waitMs: number;
  /** The most differences to describe, of keys and of libraries each. */
  readonly limit: number;
  /** Keys that are not replicated: each region has its own. Default: none. */
  readonly ignores?: (db: number, key: Buffer) => boolean;
  /** Show the beginnings of values, too. */
  readonly values: boolean;
  readonly onProgress?: (progress: { keys: number; differing: number }) => void;
}

export interface Difference {
  readonly db: number;
  readonly key: Buffer;
  readonly regions: readonly (KeySummary & { readonly name: string; readonly preview?: string })[];
}

export interface Comparison {
  /** Keys and libraries. */
  readonly equal: boolean;
  /** Keys of all databases, each counted once. */
  readonly keys: number;
  /** How many differ; `differencesAreMore` when it was given up to count them. */
  readonly differing: number;
  readonly differencesAreMore: boolean;
  /** At most `limit` of them. */
  readonly differences: readonly Difference[];
  readonly libraries: LibraryComparison;
}

/** Keys of our own: cursors and the heartbeat, which are different in each region. */
const ownPrefix = Buffer.from('meridian:');
/** Read by one command, during which a server answers nobody else: a few milliseconds. */
const pageKeys = 256;
/** Keys remembered as different; of more only that there are more is known. */
const suspectsMax = 100_000;
const settleEvery = 10_000;
/** Values that are read at the same time, beside each other. */
const parallelMax = 16;

interface Suspect {
  readonly db: number;
  readonly key: Buffer;
}

interface Pass {
  keys: number;
  readonly suspects: Map<string, Suspect>;
  overflow: boolean;
}

/**
 * Compares every key of every database, and every library of functions. It may run beside writes: what differs is looked at again, for it may
 * have been on its way.
 * @throws LocalError COULD_NOT_COMPARE when a server can't be read
 */
export async function compareRegions(endpoints: readonly Endpoint[], options: VerifyOptions): Promise<Comparison> {
  const deadline = performance.now() + options.waitMs;
  const connected = await Promise.allSettled(endpoints.map((endpoint) => Server.connect(endpoint)));
  const servers = connected.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  try {
    for (const result of connected) if (result.status === 'rejected') throw result.reason;
    for (;;) {
      const pass = await scanAll(servers, options);
      const left = await lookAgain(servers, pass.suspects, options, deadline);
      // More differed than can be remembered: only another look at everything tells whether they still do.
      if (pass.overflow && left.size === 0 && performance.now() < deadline) continue;
      const libraries = await compareLibraries(servers, deadline, options.limit);
      return {
        equal: left.size === 0 && !pass.overflow && libraries.differing === 0,
        keys: pass.keys,
        differing: left.size,
        differencesAreMore: pass.overflow,
        differences: await describe(servers, [...left.values()].slice(0, options.limit), options),
        libraries,
      };
    }
  } finally {
    for (const server of servers) server.close();
  }
}

// --- One look at everything --------------------------------------------------------------------------------------------

async function scanAll(servers: readonly Server[], options: VerifyOptions): Promise<Pass> {
  const pass: Pass = { keys: 0, suspects: new Map(), overflow: false };
  const databases = [...new Set(servers.flatMap((server) => server.databases))].sort((a, b) => a - b);
  const [first, ...others] = servers;
  let settleAt = settleEvery;
  for (const db of databases) {
    await select(servers, db);
    if (first === undefined) break;
    // Every key of the first region, in all regions.
    const isLeftOut = (key: Buffer): boolean => options.ignores?.(db, key) === true;
    for await (const keys of pages(first, isLeftOut)) {
      const read = await Promise.all(servers.map((server) => readBatch(server, keys)));
      const now = Date.now();
      keys.forEach((key, i) => {
        const summaries = read.map((batch) => batch[i] ?? missing);
        const unread = summaries.some(({ type, digest }) => type !== 'none' && digest === '');
        if (unread || !isSame(summaries, options, now)) suspect(pass, db, key);
      });
      pass.keys += keys.length;
      options.onProgress?.({ keys: pass.keys, differing: pass.suspects.size });
      // Suspects are mostly large values that were left unread: those needn't be remembered until the end.
      if (pass.suspects.size >= settleAt) {
        await settle(servers, pass, db, options);
        settleAt = pass.suspects.size + settleEvery;
      }
    }
    // And every key of the others that the first one lacks.
    for (const server of others) {
      for await (const keys of pages(server, isLeftOut)) {
        const lacking = await lackingOf(first, keys);
        for (const key of lacking) suspect(pass, db, key);
        pass.keys += lacking.length;
        options.onProgress?.({ keys: pass.keys, differing: pass.suspects.size });
      }
    }
  }
  return pass;
}

const missing: KeySummary = { type: 'none', size: 0, expiresAtMs: null, digest: '' };

/** The keys of the selected database, page by page; the next page is on its way while one is worked on. */
async function* pages(server: Server, isLeftOut: (key: Buffer) => boolean): AsyncGenerator<Buffer[]> {
  let coming = server.call('SCAN', 0, 'COUNT', pageKeys);
  for (;;) {
    const [next, found] = items(await coming);
    const cursor = text(next);
    const isLast = cursor === '0';
    if (!isLast) {
      coming = server.call('SCAN', cursor, 'COUNT', pageKeys);
      coming.catch(() => undefined); // told when it is awaited
    }
    const keys = items(found ?? null).map(buffer);
    const theirs = keys.filter((key) => !key.subarray(0, ownPrefix.length).equals(ownPrefix) && !isLeftOut(key));
    if (theirs.length > 0) yield theirs;
    if (isLast) return;
  }
}

/** Of these keys those that a server doesn't have; usually none, which one command tells. */
async function lackingOf(server: Server, keys: readonly Buffer[]): Promise<Buffer[]> {
  const found = await server.call('EXISTS', ...keys).catch((error: unknown) => {
    // A node of a cluster takes keys of one slot only.
    if (error instanceof ReplyError && error.code === 'CROSSSLOT') return null;
    throw error;
  });
  if (found !== null && number(found) === keys.length) return [];
  const there = await Promise.all(keys.map((key) => server.call('EXISTS', key)));
  return keys.filter((_, i) => number(there[i]) === 0);
}

function suspect(pass: Pass, db: number, key: Buffer): void {
  if (pass.suspects.size >= suspectsMax) {
    pass.overflow = true;
    return;
  }
  pass.suspects.set(`${db}:${key.toString('latin1')}`, { db, key: Buffer.from(key) });
}

/** Reads the suspects of this database in full, and keeps those that do differ. */
async function settle(servers: readonly Server[], pass: Pass, db: number, options: VerifyOptions): Promise<void> {
  const ours = [...pass.suspects].filter(([, { db: theirs }]) => theirs === db);
  const same = await readAll(servers, ours, options);
  for (const id of same) pass.suspects.delete(id);
}

// --- A second look at what differs -------------------------------------------------------------------------------------

async function lookAgain(
  servers: readonly Server[],
  suspects: ReadonlyMap<string, Suspect>,
  options: VerifyOptions,
  deadline: number,
): Promise<Map<string, Suspect>> {
  const left = new Map(suspects);
  for (let pause = 50; left.size > 0; pause = Math.min(pause * 2, 1000)) {
    const databases = new Set([...left.values()].map(({ db }) => db));
    for (const db of databases) {
      await select(servers, db);
      const ours = [...left].filter(([, suspected]) => suspected.db === db);
      for (const id of await readAll(servers, ours, options)) left.delete(id);
    }
    const remaining = deadline - performance.now();
    if (left.size === 0 || remaining <= 0) break;
    await sleep(Math.min(pause, remaining));
  }
  return left;
}

/** @returns the ids of those that are the same in all regions */
async function readAll(
  servers: readonly Server[],
  suspects: readonly (readonly [id: string, suspect: Suspect])[],
  options: VerifyOptions,
): Promise<string[]> {
  const same: string[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let item = suspects[next++]; item !== undefined; item = suspects[next++]) {
      const [id, { key }] = item;
      const summaries = await Promise.all(servers.map((server) => readKey(server, key)));
      if (isSame(summaries, options, Date.now())) same.push(id);
    }
  };
  await Promise.all(Array.from({ length: parallelMax }, worker));
  return same;
}

async function describe(
  servers: readonly Server[],
  suspects: readonly Suspect[],
  options: VerifyOptions,
): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (const { db, key } of suspects) {
    await select(servers, db);
    const regions = await Promise.all(
      servers.map(async (server) => {
        const summary = await readKey(server, key);
        const preview =
          options.values && summary.type !== 'none' ? await previewOf(server, key, summary.type) : undefined;
        return { name: server.name, ...summary, ...(preview === undefined ? {} : { preview }) };
      }),
    );
    differences.push({ db, key, regions });
  }
  return differences;
}

async function select(servers: readonly Server[], db: number): Promise<void> {
  await Promise.all(servers.map((server) => server.call('SELECT', db)));
}
