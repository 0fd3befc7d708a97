import { Registry } from 'prom-client';
import { type OpRecord, RecordKind } from '../record';
import { CommandWriter } from '../resp';
import { dryRunMetrics } from './metrics';
import { Trial } from './trial';

test('operations are counted by what becomes of their commands', async () => {
  const registry = new Registry();
  const trial = new Trial(dryRunMetrics(registry));
  const writer = new CommandWriter(256);
  for (const command of [['SELECT', 1], ['MULTI'], ['SET', 'k', 'v'], ['RPUSH', 'l', 'e'], ['EXEC'], ['SET', 'k', 'w']])
    writer.command(command);
  const payload = writer.take();
  const end = payload.length;
  const record: OpRecord = {
    ...{
      kind: RecordKind.stream,
      origin: 'a:dry-run-1',
      start: 0,
      end,
      stamp: 1,
      ops: 3,
      db: 0,
      seen: new Map(),
      payload,
    },
  };
  trial.wouldApply(record);
  trial.wouldApply(record);
  trial.wouldConflict('string', 2);
  expect(trial.report()).toMatchObject({
    wouldApply: { operations: 6, byClass: { 'element-wise merge': 4, 'verbatim while quiet': 2 } },
    wouldConflict: { operations: 2, byType: { string: 2 } },
    keys: null,
    forgotten: 0,
  });
  const text = await registry.metrics();
  expect(text).toContain('meridian_dry_run 1');
  expect(text).toContain('meridian_dry_run_operations_total{class="element-wise merge"} 4');
  expect(text).toContain('meridian_dry_run_conflicts_total{type="string"} 2');
});
