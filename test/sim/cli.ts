/**
 *     npm run sim -- [--seeds N] [--seed S] [--regions R] [--without crashes,ttl …] [--trace] [--keep-going]
 *
 * Runs N seeds from S on. A seed that fails prints its trace, and the command that runs it again.
 */
import { parseArgs } from 'node:util';
import { type Outcome, SimFailure, World } from './world';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    regions: { type: 'string' },
    without: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});

function main(): number {
  const regions = values.regions === undefined ? undefined : Number(values.regions);
  const first = values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed);
  const count = values.seed !== undefined && process.argv.every((arg) => arg !== '--seeds') ? 1 : Number(values.seeds);
  const total: Partial<Record<keyof Outcome, number>> = {};
  const failures: SimFailure[] = [];
  const started = performance.now();
  for (let seed = first; seed < first + count; seed++) {
    try {
      const outcome = new World(seed, {
        ...(regions === undefined ? {} : { regions }),
        ...(values.without === undefined ? {} : { without: values.without.split(',') }),
        ...(values.trace ? { print: (line: string) => console.log(line) } : {}),
      }).run();
      for (const [name, n] of Object.entries(outcome) as [keyof Outcome, number][])
        total[name] = (total[name] ?? 0) + n;
    } catch (error) {
      if (!(error instanceof SimFailure)) throw error;
      failures.push(error);
      if (!values.trace && !values['keep-going']) console.log(error.trace.join('\n'));
      console.log(`seed ${seed}: ${error.message}`);
      const flags = [
        regions === undefined ? '' : ` --regions ${regions}`,
        values.without === undefined ? '' : ` --without ${values.without}`,
      ];
      if (!values['keep-going']) console.log(`  npm run sim -- --seed ${seed}${flags.join('')} --trace`);
      if (!values['keep-going']) return 1;
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${count - failures.length} of ${count} schedules from seed ${first} passed in ${seconds} s: ${JSON.stringify(total)}`,
  );
  return failures.length > 0 ? 1 : 0;
}

process.exitCode = main();
