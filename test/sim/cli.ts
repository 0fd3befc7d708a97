/**
 *     npm run sim -- [--seeds N] [--seed S] [--regions R] [--without crashes,ttl …] [--policies] [--only 3,17 …] [--trace] [--keep-going]
 *
 * Runs N seeds from S on; with --policies some keys are not replicated, and some are one region's. Of a seed that fails the events that it needs are found (which may lead to another failure); it prints the
 * trace of these, and the command that runs them again.
 */
import { parseArgs } from 'node:util';
import { policiesOf } from './policies';
import { shrink } from './shrink';
import { type Outcome, SimFailure, World, type WorldOptions } from './world';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    regions: { type: 'string' },
    without: { type: 'string' },
    only: { type: 'string' },
    policies: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});

function main(): number {
  const regions = values.regions === undefined ? undefined : Number(values.regions);
  const first = values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed);
  const count = values.seed !== undefined && process.argv.every((arg) => arg !== '--seeds') ? 1 : Number(values.seeds);
  const options: WorldOptions = {
    ...(regions === undefined ? {} : { regions }),
    ...(values.without === undefined ? {} : { without: values.without.split(',') }),
    ...(values.only === undefined ? {} : { only: new Set(values.only.split(',').map(Number)) }),
    ...(values.trace ? { print: (line: string) => console.log(line) } : {}),
  };
  const total: Partial<Record<keyof Outcome, number>> = {};
  let failures = 0;
  const started = performance.now();
  for (let seed = first; seed < first + count; seed++) {
    const ofSeed = values.policies ? { ...options, policies: policiesOf(seed) } : options;
    try {
      const outcome = new World(seed, ofSeed).run();
      for (const [name, n] of Object.entries(outcome) as [keyof Outcome, number][])
        total[name] = (total[name] ?? 0) + n;
    } catch (error) {
      if (!(error instanceof SimFailure)) throw error;
      failures++;
      console.log(`seed ${seed}: ${error.message}`);
      if (values['keep-going']) continue;
      if (!values.trace && values.only === undefined) tellSmallest(error, ofSeed);
      return 1;
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${count - failures} of ${count} schedules from seed ${first} passed in ${seconds} s: ${JSON.stringify(total)}`,
  );
  return failures > 0 ? 1 : 0;
}

function tellSmallest(failure: SimFailure, options: WorldOptions): void {
  const { seed, events, message, trace } = shrink(failure, options);
  console.log(`\nwith ${events.length} of ${failure.events.length} events:\n${trace.join('\n')}\n`);
  console.log(`seed ${seed}: ${message}`);
  const flags = [
    values.regions === undefined ? '' : ` --regions ${values.regions}`,
    values.without === undefined ? '' : ` --without ${values.without}`,
    values.policies ? ' --policies' : '',
  ];
  console.log(`  npm run sim -- --seed ${seed}${flags.join('')} --only ${events.join(',')} --trace`);
}

process.exitCode = main();
