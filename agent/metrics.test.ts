import { createMetrics } from './metrics';

test('a link has its counters from the start, its lag once it was measured', async () => {
  const metrics = createMetrics('eu', { processMetrics: false });
  const link = metrics.link('us');
  expect(metrics.link('us')).toBe(link);
  const series = async (): Promise<string[]> =>
    (await metrics.registry.metrics()).split('\n').filter((line) => line.includes('peer="us"'));
  expect((await series()).sort()).toEqual([
    'meridian_link_errors_total{peer="us",region="eu"} 0',
    'meridian_link_received_bytes_total{peer="us",region="eu"} 0',
    'meridian_link_received_operations_total{peer="us",region="eu"} 0',
    'meridian_link_up{peer="us",region="eu"} 0',
  ]);
  link.up(true);
  link.lagMs(12.5);
  link.pending(7, 700);
  link.received(100, 6400);
  link.received(50, 3200);
  link.error();
  expect((await series()).sort()).toEqual([
    'meridian_link_errors_total{peer="us",region="eu"} 1',
    'meridian_link_lag_ms{peer="us",region="eu"} 12.5',
    'meridian_link_pending_bytes{peer="us",region="eu"} 700',
    'meridian_link_pending_operations{peer="us",region="eu"} 7',
    'meridian_link_received_bytes_total{peer="us",region="eu"} 9600',
    'meridian_link_received_operations_total{peer="us",region="eu"} 150',
    'meridian_link_up{peer="us",region="eu"} 1',
  ]);
  link.remove();
  expect(await series()).toEqual([]);
  expect(metrics.link('us')).not.toBe(link);
});

test('counters, labelled counters, the state, and gauges that are asked at each scrape', async () => {
  const metrics = createMetrics('eu', { processMetrics: false });
  metrics.captured.inc(2000);
  metrics.applied.inc(3);
  metrics.corrections.inc();
  metrics.conflict('hash', 2);
  metrics.conflict('string');
  metrics.deadLetter('WRONGTYPE');
  metrics.fullSync('diff');
  metrics.state('starting');
  metrics.state('active');
  let keys = 1;
  metrics.windowKeys.from(() => keys);
  metrics.windowOperations.from(() => keys * 3);
  metrics.windowBytes.from(() => keys * 64);
  metrics.windowPayloadBytes.from(() => keys * 128);
  metrics.journalBytes.from(() => 4096);
  metrics.journalSegments.from(() => 2);
  await metrics.registry.metrics();
  keys = 5;
  const text = await metrics.registry.metrics();
  for (const line of [
    'meridian_captured_operations_total{region="eu"} 2000',
    'meridian_applied_operations_total{region="eu"} 3',
    'meridian_corrections_total{region="eu"} 1',
    'meridian_conflicts_total{type="hash",region="eu"} 2',
    'meridian_conflicts_total{type="string",region="eu"} 1',
    'meridian_dead_letters_total{code="WRONGTYPE",region="eu"} 1',
    'meridian_full_syncs_total{kind="diff",region="eu"} 1',
    'meridian_agent_state{state="starting",region="eu"} 0',
    'meridian_agent_state{state="active",region="eu"} 1',
    'meridian_window_keys{region="eu"} 5',
    'meridian_window_operations{region="eu"} 15',
    'meridian_window_bytes{region="eu"} 320',
    'meridian_window_payload_bytes{region="eu"} 640',
    'meridian_journal_bytes{region="eu"} 4096',
    'meridian_journal_segments{region="eu"} 2',
  ])
    expect(text.split('\n')).toContain(line);
});

test("the process' own metrics are there, and two agents in one process do not mix", async () => {
  const a = createMetrics('a');
  const b = createMetrics('b');
  a.captured.inc(1);
  const text = await b.registry.metrics();
  expect(text).toContain('process_resident_memory_bytes{region="b"}');
  expect(text).toContain('meridian_captured_operations_total{region="b"} 0');
});
