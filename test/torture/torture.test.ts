import { parseFaults } from './faults';
import { type Type, usualTypes, withPolicies } from './families';
import { torture } from './run';

// A short run of the driver, with faults in which no process dies. Longer ones, and with kills: `npm run torture` (docs/torture.md).

jest.setTimeout(150_000);

test('every type, written everywhere, while links and processes halt: all equal, nothing lost, sums exact', () =>
  run(10, usualTypes));

test('keys of their last writer, and of one region, beside sets: owners keep what they wrote, and nobody else’s is left', () =>
  run(6, [...withPolicies, 'sets']));

async function run(seconds: number, types: readonly Type[]): Promise<void> {
  const outcome = await torture({
    seconds,
    regions: 3,
    topology: 'mesh',
    faults: parseFaults('gentle'),
    parallel: 2,
    types,
    seed: 7,
    rate: 60,
    clients: 2,
    hotKeys: 4,
    appendfsync: 'no',
    strict: false,
  });
  const { unrest, fallen, differences, findings } = outcome;
  expect({ unrest, fallen, differences, findings }).toEqual({
    unrest: null,
    fallen: [],
    differences: [],
    findings: [],
  });
  expect(outcome.ok).toBe(true);
  // It did look: at what clients did, while something was broken.
  expect(outcome.acknowledged).toBeGreaterThan(200);
  expect(outcome.checked).toBeGreaterThan(200);
  expect(outcome.events.length).toBeGreaterThan(3);
}
