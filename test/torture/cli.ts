/**
 *     npm run torture -- [--minutes 1] [--regions 3] [--faults gentle] [--seed N] …
 *
 * A mesh of real servers and agents on free ports of the loopback, clients that write everything everywhere, and faults; then peace, and
 * a verdict. docs/torture.md says what is checked. Exit status: 0 passed, 1 failed, 2 could not be run.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { familyOf, isType, type Type, types, usualTypes, withPolicies } from './families';
import { counted } from '../../model/counted';
import { faultKinds, parseFaults, type FaultWeights } from './faults';
import { type Found, type Outcome, type Progress, regionsMax, torture, type TortureOptions } from './run';

interface Flags {
  readonly minutes: number;
  readonly regions: number;
  readonly topology: TortureOptions['topology'];
  readonly faults: FaultWeights;
  readonly parallel: number;
  readonly types: readonly Type[];
  readonly without: readonly Type[];
  readonly seed: number;
  readonly runs: number;
  readonly rate: number;
  readonly clients: number;
  readonly hotKeys: number;
  readonly appendfsync: TortureOptions['appendfsync'];
  readonly strict: boolean;
  readonly keep?: string;
  readonly json: boolean;
  readonly verbose: boolean;
}

const shownMax = 20;

const program = new Command('torture')
  .description(
    'Clients that write every type in every region, and faults, against real servers and agents; then: is all equal, and is nothing lost?',
  )
  .option('--minutes <n>', 'how long faults go on', positive, 1)
  .option('--regions <n>', `2 to ${regionsMax}`, between(2, regionsMax), 3)
  .addOption(
    new Option('--topology <name>', 'which regions are linked').choices(['mesh', 'ring', 'star']).default('mesh'),
  )
  .addOption(
    new Option('--faults <list>', `none, gentle, all, or names, each with a weight: partition,kill-agent:3`)
      .argParser(parsed(parseFaults))
      .default(parseFaults('all'), 'all'),
  )
  .option('--parallel <n>', 'how many faults go on beside each other', between(1, 20), 2)
  .addOption(
    new Option('--types <list>', `of ${types.join(', ')}`)
      .argParser(parsed(typesOf))
      .default(usualTypes, `all but ${withPolicies.join(', ')}`),
  )
  .option('--without <list>', 'all types but these', parsed(typesOf), [])
  .option(
    '--seed <n>',
    'of commands and faults; what meets what is up to the machine',
    between(0, 2 ** 31),
    Math.floor(Math.random() * 1e6),
  )
  .option('--runs <n>', 'so many runs, each with the next seed; ends at the first that fails', between(1, 100_000), 1)
  .option('--rate <n>', 'commands, transactions and scripts a second in each region, at most', positive, 200)
  .option('--clients <n>', 'in each region', between(1, 100), 3)
  .option('--hot-keys <n>', 'keys of each kind that everybody writes', between(1, 100_000), 6)
  .addOption(
    new Option('--appendfsync <when>', 'of Redis; with everysec a killed Redis may lose what it acknowledged')
      .choices(['no', 'everysec', 'always'])
      .default('no'),
  )
  .option('--keep <dir>', 'keep what a failed run leaves there: journals, append-only files, logs, history')
  .option('--strict', 'what is known to be lost at times (docs/torture.md) fails the run, too', false)
  .option('--json', 'the outcome as JSON, on stdout', false)
  .option('--verbose', 'tell each fault', false)
  .addHelpText(
    'after',
    `\nFaults:\n${Object.entries(faultKinds)
      .map(([name, text]) => `  ${name.padEnd(12)} ${text}`)
      .join('\n')}\n`,
  )
  .showHelpAfterError('(--help says more)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

async function main(): Promise<number> {
  const flags = program.parse().opts<Flags>();
  const chosen = flags.types.filter((type) => !flags.without.includes(type));
  if (chosen.length === 0) throw new Error('no type is left to write');
  for (let run = 0; run < flags.runs; run++) {
    const seed = flags.seed + run;
    const dir = flags.keep === undefined ? undefined : path.join(path.resolve(flags.keep), `seed-${seed}`);
    if (dir !== undefined && existsSync(dir) && readdirSync(dir).length > 0)
      throw new Error(`${dir} holds something: remove it, or name another --keep`);
    if (dir !== undefined) mkdirSync(dir, { recursive: true });
    const say = flags.json ? () => undefined : (line: string) => console.log(line);
    say(
      `seed ${seed}: ${flags.regions} regions, ${flags.minutes} min, faults ${[...flags.faults.keys()].join(' ') || 'none'}`,
    );
    const outcome = await torture({
      ...flags,
      seconds: flags.minutes * 60,
      types: chosen,
      seed,
      ...(dir === undefined ? {} : { dir }),
      ...(flags.json ? {} : { onProgress: showProgress(10_000) }),
      ...(flags.verbose && !flags.json
        ? { onEvent: ({ atMs, text }) => say(`  ${(atMs / 1000).toFixed(1)} s  ${text}`) }
        : {}),
    });
    if (flags.json) console.log(JSON.stringify(outcome));
    else for (const line of linesOf(outcome)) say(line);
    if (outcome.ok) {
      if (dir !== undefined) rmSync(dir, { recursive: true });
      continue;
    }
    if (dir !== undefined) say(`kept in ${dir}`);
    return 1;
  }
  return 0;
}

function showProgress(everyMs: number): (progress: Progress) => void {
  let shownMs = 0;
  return ({ phase, elapsedMs, acknowledged, unsure, faults }) => {
    if (phase === 'faults' && elapsedMs - shownMs < everyMs) return;
    shownMs = elapsedMs;
    const what = {
      start: 'starting',
      faults: counted(faults, 'fault'),
      peace: 'peace: waiting for quiet',
      check: 'comparing and checking',
    }[phase];
    console.log(`  ${(elapsedMs / 1000).toFixed(0)} s  ${acknowledged} acknowledged, ${unsure} unanswered; ${what}`);
  };
}

function linesOf(outcome: Outcome): string[] {
  const faults = Object.entries(outcome.faults).map(([name, count]) => `${name} ${count}`);
  const lines = [
    `${outcome.acknowledged} acknowledged, ${outcome.unsure} unanswered, ${outcome.refused} refused in ${outcome.seconds} s by ${outcome.regions.length} regions of ${outcome.redis}`,
    `faults: ${faults.join(', ') || 'none'}`,
    `${counted(outcome.keys, 'key')} compared, ${outcome.checked} elements, sums and tokens checked; ${outcome.twice} delivered twice, ${counted(outcome.moved, 'stream entry', 'stream entries')} with another ID, ${outcome.exposed} made while no agent read, ${counted(outcome.deadLetters, 'dead letter')}`,
  ];
  if (outcome.known.length > 0)
    lines.push(
      `${counted(outcome.known.length, 'finding')} of a known kind (docs/torture.md; --strict tells them): ${countsOf(outcome.known)}`,
    );
  if (outcome.ok) return [...lines, `seed ${outcome.seed}: passed`];
  if (outcome.unrest !== null) lines.push(`no rest: ${outcome.unrest}`);
  lines.push(...outcome.fallen);
  if (outcome.differing > 0)
    lines.push(
      `${counted(outcome.differing, 'key or library differs', 'keys and libraries differ')}:`,
      ...outcome.differences.map((line) => `  ${line}`),
    );
  const { findings } = outcome;
  for (const { kind, key, element, region, text } of findings.slice(0, shownMax))
    lines.push(`${kind} at ${region}: ${key} ${element}: ${text}`);
  if (findings.length > shownMax) lines.push(`and ${findings.length - shownMax} more`);
  return [...lines, `seed ${outcome.seed}: FAILED`];
}

function countsOf(findings: readonly Found[]): string {
  const counts = new Map<string, number>();
  for (const { kind, key } of findings) {
    const name = `${familyOf(key)?.name} ${kind}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
}

function typesOf(text: string): readonly Type[] {
  return text.split(',').map((name) => {
    if (isType(name)) return name;
    throw new Error(`there is no type '${name}'`);
  });
}

function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('a number above 0.');
  return value;
}

function between(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`a whole number from ${min} to ${max}.`);
    return value;
  };
}

// An exit ends the servers and agents, too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

main().then(
  (status) => (process.exitCode = status),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
  },
);
