/**
 *     npm run sim -- [--seeds N] [--seed S] [--regions R] [--without crashes,ttl …] [--policies] [--streams] [--only 3,17 …] [--trace] [--keep-going] [--json]
 *
 * Runs N seeds from S on. Of a seed that fails the events that it needs are found (which may lead to another failure); it prints the
 * trace of these, and the command that runs them again. Exit status: 0 passed, 1 failed, 2 could not be run.
 */
import { Command, InvalidArgumentError } from 'commander';
import { policiesOf } from './policies';
import { families, faults, REGIONS_MAX } from './profile';
import { shrink } from './shrink';
import { type Outcome, SimFailure, World, type WorldOptions } from './world';

interface Flags {
  readonly seeds?: number;
  readonly seed?: number;
  readonly regions?: number;
  readonly without: readonly string[];
  readonly only?: readonly number[];
  readonly policies: boolean;
  readonly streams: boolean;
  readonly trace: boolean;
  readonly keepGoing: boolean;
  readonly json: boolean;
}

const parts = [...faults, ...families];

const program = new Command('sim')
  .description('Whole meshes in one process, from a seed: do all regions end up equal, and as the merge rule says?')
  .option('--seeds <n>', 'how many schedules; default: 1000, or 1 where --seed is given', whole(1, 1e9))
  .option('--seed <n>', 'the first of them; default: any', whole(0, 2 ** 32))
  .option('--regions <n>', `2 to ${REGIONS_MAX}; default: as the seed says`, whole(2, REGIONS_MAX))
  .option('--without <list>', 'what takes no part, see below', partsOf, [])
  .option('--policies', 'some keys are not replicated, and others belong to one region, or to their last writer', false)
  .option('--streams', 'clients write streams, to which they mostly add, and no region keeps them in memory', false)
  .option('--only <list>', 'numbers of the events that happen, of one seed', numbersOf)
  .option('--trace', 'print all that happens', false)
  .option('--keep-going', 'do not end at the first that fails, and look for the smallest schedule of none', false)
  .option('--json', 'the outcome as JSON, on stdout', false)
  .addHelpText(
    'after',
    `\nFor --without:\n  faults    ${faults.join(', ')}\n  commands  ${families.join(', ')}\n\ndocs/simulation.md says what is checked.\n`,
  )
  .showHelpAfterError('(--help says more)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

function main(): number {
  const flags = program.parse().opts<Flags>();
  const { regions, without, only } = flags;
  const first = flags.seed ?? Math.floor(Math.random() * 1e9);
  const count = flags.seeds ?? (flags.seed === undefined ? 1000 : 1);
  if (only !== undefined && (flags.seed === undefined || count > 1))
    program.error('error: --only is about the events of one seed: name it by --seed');
  if (flags.json && flags.trace) program.error('error: --json has no --trace');
  const say = flags.json ? () => undefined : (line: string) => console.log(line);
  const options: WorldOptions = {
    ...(regions === undefined ? {} : { regions }),
    without,
    streams: flags.streams,
    ...(only === undefined ? {} : { only: new Set(only) }),
    ...(flags.trace ? { print: say } : {}),
  };
  const total: Partial<Record<keyof Outcome, number>> = {};
  const failed: { seed: number; message: string; command: string }[] = [];
  const started = performance.now();
  let run = 0;
  for (let seed = first; seed < first + count && (failed.length === 0 || flags.keepGoing); seed++) {
    const ofSeed = flags.policies ? { ...options, policies: policiesOf(seed) } : options;
    run++;
    try {
      const outcome = new World(seed, ofSeed).run();
      for (const [name, n] of Object.entries(outcome) as [keyof Outcome, number][])
        total[name] = (total[name] ?? 0) + n;
    } catch (error) {
      if (!(error instanceof SimFailure)) throw error;
      say(`seed ${seed}: ${error.message}`);
      const isToShrink = !flags.keepGoing && !flags.trace && only === undefined;
      const smallest = isToShrink ? shrink(error, ofSeed) : error;
      const command = commandOf(flags, seed, isToShrink ? smallest.events : only);
      failed.push({ seed, message: smallest.message, command });
      if (isToShrink) tell(smallest, error.events.length, command, say);
    }
  }
  const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
  const passed = run - failed.length;
  if (flags.json) console.log(JSON.stringify({ first, schedules: run, passed, seconds, failed, total }));
  else say(`${passed} of ${run} schedules from seed ${first} passed in ${seconds} s: ${JSON.stringify(total)}`);
  return failed.length > 0 ? 1 : 0;
}

function tell({ seed, message, events, trace }: SimFailure, of: number, command: string, say: (line: string) => void) {
  say(`\nwith ${events.length} of ${of} events:\n${trace.join('\n')}\n`);
  say(`seed ${seed}: ${message}\n  ${command}\n`);
}

function commandOf(flags: Flags, seed: number, only: readonly number[] | undefined): string {
  return [
    `npm run sim -- --seed ${seed}`,
    ...(flags.regions === undefined ? [] : [`--regions ${flags.regions}`]),
    ...(flags.without.length === 0 ? [] : [`--without ${flags.without.join(',')}`]),
    ...(flags.policies ? ['--policies'] : []),
    ...(flags.streams ? ['--streams'] : []),
    ...(only === undefined ? [] : [`--only ${only.join(',')}`]),
    '--trace',
  ].join(' ');
}

function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text === '' || !Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`a whole number from ${min} to ${max}.`);
    return value;
  };
}

function numbersOf(text: string): number[] {
  return text.split(',').map(whole(0, 1e6));
}

function partsOf(text: string): string[] {
  return text.split(',').map((name) => {
    if ((parts as string[]).includes(name)) return name;
    throw new InvalidArgumentError(`there is no '${name}'; there are ${parts.join(', ')}.`);
  });
}

process.exitCode = main();
