/** Libraries of functions, compared by their names. Their code is read from each region, and leaves this file as a digest alone. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { type Reply } from '../../agent/resp';
import { type Server, buffer, items, text } from './server';

/** What a region has of a library. */
export interface LibrarySummary {
  /** `none` where there is no such library. */
  readonly engine: string;
  /** Bytes of its code. */
  readonly size: number;
  /** How many the server knows of it. */
  readonly functions: number;
  /** Of its code. */
  readonly digest: string;
}

export interface LibraryDifference {
  /** The library's. */
  readonly name: string;
  readonly regions: readonly (LibrarySummary & { readonly name: string })[];
}

export interface LibraryComparison {
  /** Libraries of all regions, each counted once. */
  readonly compared: number;
  readonly differing: number;
  /** At most `limit` of them. */
  readonly differences: readonly LibraryDifference[];
  /** Regions that are left out, for their server has no functions. */
  readonly without: readonly string[];
}

const missing: LibrarySummary = { engine: 'none', size: 0, functions: 0, digest: '' };

/** What differs is looked at again until the deadline, and once more in any case: it may have been on its way. */
export async function compareLibraries(
  all: readonly Server[],
  deadline: number,
  limit: number,
): Promise<LibraryComparison> {
  const servers = all.filter(({ hasFunctions }) => hasFunctions);
  let found = await Promise.all(servers.map(readLibraries));
  const names = new Set(found.flatMap((libraries) => [...libraries.keys()]));
  const isEqual = (name: string): boolean => {
    const [first, ...others] = found.map((libraries) => libraries.get(name) ?? missing);
    return others.every((other) => first !== undefined && isSame(first, other));
  };
  const left = new Set([...names].filter((name) => !isEqual(name)));
  for (let pause = 50; left.size > 0; pause = Math.min(pause * 2, 1000)) {
    found = await Promise.all(servers.map(readLibraries));
    for (const name of left) if (isEqual(name)) left.delete(name);
    const remaining = deadline - performance.now();
    if (left.size === 0 || remaining <= 0) break;
    await sleep(Math.min(pause, remaining));
  }
  const differences = [...left].sort().slice(0, limit);
  return {
    compared: names.size,
    differing: left.size,
    differences: differences.map((name) => ({
      name,
      regions: servers.map((server, i) => ({ name: server.name, ...(found[i]?.get(name) ?? missing) })),
    })),
    without: all.filter(({ hasFunctions }) => !hasFunctions).map(({ name }) => name),
  };
}

function isSame(a: LibrarySummary, b: LibrarySummary): boolean {
  return a.engine.toLowerCase() === b.engine.toLowerCase() && a.digest === b.digest;
}

/** By name. */
async function readLibraries(server: Server): Promise<Map<string, LibrarySummary>> {
  const libraries = new Map<string, LibrarySummary>();
  for (const entry of items(await server.call('FUNCTION', 'LIST', 'WITHCODE'))) {
    const fields = fieldsOf(entry);
    const code = buffer(fields.get('library_code'));
    libraries.set(text(fields.get('library_name')), {
      engine: text(fields.get('engine')),
      size: code.length,
      functions: items(fields.get('functions') ?? null).length,
      digest: createHash('sha1').update(code).digest('hex'),
    });
  }
  return libraries;
}

/** Of a list of names and values in turn. */
function fieldsOf(entry: Reply): Map<string, Reply> {
  const flat = items(entry);
  const fields = new Map<string, Reply>();
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(text(flat[i]), flat[i + 1]!);
  return fields;
}
