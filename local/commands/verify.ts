import { escapeBytes } from '../bytes';
import { LocalError, errorText } from '../errors';
import { requirePassword } from '../secrets';
import { ConflictPolicies } from '../../model';
import { counted } from '../../model/counted';
import { requireRunning } from '../status';
import { renderTable } from '../table';
import { type Comparison, type Difference, type LibraryDifference, compareRegions } from '../verify';
import { type CommonOptions, dirOf, print } from './common';

export interface VerifyCommandOptions extends CommonOptions {
  /** Seconds. */
  readonly wait: number;
  /** Milliseconds. */
  readonly tolerance: number;
  readonly limit: number;
  readonly values?: boolean;
}

/** Exit status: 0 when all regions are equal, 1 when keys or libraries differ, 2 when they could not be compared. */
export async function verify(options: VerifyCommandOptions): Promise<void> {
  try {
    await compare(options);
  } catch (error) {
    if (error instanceof LocalError) throw new LocalError(error.code, error.message, 2);
    throw new LocalError('COULD_NOT_COMPARE', `The regions can't be compared: ${errorText(error)}.`, 2);
  }
}

async function compare(options: VerifyCommandOptions): Promise<void> {
  const dir = dirOf(options);
  const state = requireRunning(dir, options.stack);
  const password = requirePassword(dir);
  const endpoints = state.regions.map(({ name, redis }) => ({ name, host: redis.host, port: redis.port, password }));
  const policies = new ConflictPolicies(state.conflicts);
  const startedAt = performance.now();
  const comparison = await compareRegions(endpoints, {
    waitMs: options.wait * 1000,
    toleranceMs: options.tolerance,
    missingIsEqual: state.use === 'cache',
    ...(policies.isActive ? { ignores: (db: number, key: Buffer) => policies.ignores(db, key) } : {}),
    limit: options.limit,
    values: options.values === true,
    ...(process.stderr.isTTY ? { onProgress: showProgress() } : {}),
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const seconds = (performance.now() - startedAt) / 1000;
  const names = endpoints.map(({ name }) => name);
  print(options, jsonOf(names, comparison, seconds), linesOf(names, comparison, seconds));
  process.exitCode = comparison.equal ? 0 : 1;
}

function showProgress(): (progress: { keys: number; differing: number }) => void {
  let shownAt = 0;
  return ({ keys, differing }) => {
    if (performance.now() - shownAt < 200) return;
    shownAt = performance.now();
    process.stderr.write(`\r\x1b[K${counted(keys, 'key')} compared, ${differing} to look at again`);
  };
}

function linesOf(names: readonly string[], comparison: Comparison, seconds: number): string[] {
  const { keys, differing, differencesAreMore, differences, libraries } = comparison;
  const compared = `in ${names.length} regions compared in ${seconds.toFixed(1)} s`;
  const ofLibraries = `${counted(libraries.compared, 'library', 'libraries')} of functions`;
  // Most meshes have none: then they are not spoken of.
  const has = libraries.compared > 0;
  const without = has ? libraries.without.map((name) => `${name} has no functions: left out of that comparison.`) : [];
  if (comparison.equal)
    return [`Equal: ${counted(keys, 'key')}${has ? ` and ${ofLibraries}` : ''} ${compared}.`, ...without];
  const count = `${differencesAreMore ? 'more than ' : ''}${number(differing)}`;
  const ofThem = has ? ` and ${number(libraries.differing)} of ${ofLibraries}` : '';
  return [
    `Different: ${count} of ${counted(keys, 'key')}${ofThem} ${compared}.`,
    ...without,
    ...differences.flatMap((difference) => ['', ...describe(difference)]),
    ...more(differing - differences.length, 'more'),
    ...libraries.differences.flatMap((difference) => ['', ...describeLibrary(difference)]),
    ...more(libraries.differing - libraries.differences.length, 'more of the libraries'),
  ];
}

function number(n: number): string {
  return n.toLocaleString('en-US');
}

function more(rest: number, what: string): string[] {
  return rest > 0 ? ['', `and ${number(rest)} ${what} (--limit shows more of them).`] : [];
}

function describeLibrary({ name, regions }: LibraryDifference): string[] {
  const columns = [
    { title: 'REGION' },
    { title: 'ENGINE' },
    { title: 'SIZE', right: true },
    { title: 'FUNCTIONS', right: true },
    { title: 'DIGEST' },
  ];
  const rows = regions.map(({ name: region, engine, size, functions, digest }) =>
    engine === 'none' ? [region, 'missing'] : [region, engine, number(size), number(functions), digest.slice(0, 16)],
  );
  return [`library ${name}`, ...renderTable(columns, rows)];
}

function describe({ db, key, regions }: Difference): string[] {
  const now = Date.now();
  const hasPreview = regions.some(({ preview }) => preview !== undefined);
  const columns = [
    { title: 'REGION' },
    { title: 'TYPE' },
    { title: 'SIZE', right: true },
    { title: 'EXPIRES IN', right: true },
    { title: 'DIGEST' },
    ...(hasPreview ? [{ title: 'VALUE' }] : []),
  ];
  const rows = regions.map(({ name, type, size, expiresAtMs, digest, fieldsExpireAtMs, preview }) => {
    if (type === 'none') return [name, 'missing'];
    const fields =
      fieldsExpireAtMs === undefined || fieldsExpireAtMs.size === 0
        ? ''
        : ` (${counted(fieldsExpireAtMs.size, 'field expires', 'fields expire')})`;
    return [
      name,
      `${type}${fields}`,
      number(size),
      expiresAtMs === null ? 'never' : `${number(expiresAtMs - now)} ms`,
      digest.slice(0, 16),
      preview ?? '',
    ];
  });
  return [`${escapeBytes(key)} in database ${db}`, ...renderTable(columns, rows)];
}

function jsonOf(names: readonly string[], comparison: Comparison, seconds: number): unknown {
  return {
    equal: comparison.equal,
    regions: names,
    keys: comparison.keys,
    differing: comparison.differing,
    differencesAreMore: comparison.differencesAreMore,
    seconds: Number(seconds.toFixed(3)),
    differences: comparison.differences.map(({ db, key, regions }) => ({
      db,
      // As text where it is one; the bytes are in keyBase64 always.
      key: key.toString('utf8'),
      keyBase64: key.toString('base64'),
      regions: regions.map(({ fieldsExpireAtMs, ...region }) => ({
        ...region,
        ...(fieldsExpireAtMs === undefined ? {} : { fieldsExpiring: fieldsExpireAtMs.size }),
      })),
    })),
    libraries: comparison.libraries,
  };
}
