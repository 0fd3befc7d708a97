import { Writable } from 'node:stream';

import { agentStatusSchema } from './agent-status';
import { Display } from './display';
import { type StackReport } from './status';
import { bytes, renderLine, renderReport, renderTable } from './table';
import { until } from './testing';

function report(): StackReport {
  const link = { peer: 'b', state: 'up', lagMs: 12, pendingOps: 1200, pendingBytes: 9, toSendBytes: 4096 };
  const agent = agentStatusSchema.parse({
    state: 'active',
    redis: { version: '7.0.15' },
    captured: { operations: 5, opsPerSecond: 1234.5 },
    conflicts: { byType: { string: 2, hash: 1 } },
    journal: { bytes: 2048 },
  });
  const node = (port: number): { host: string; port: number; pid: number } => ({ host: '127.0.0.1', port, pid: port });
  return {
    status: {
      stack: 'local',
      converged: false,
      regions: [
        {
          name: 'a',
          weight: 60,
          redis: node(1),
          replicas: [node(2)],
          agent: { admin: 'x', pid: 1, state: 'active' },
          links: [link],
          dryRun: null,
        },
        {
          name: 'b',
          weight: 40,
          redis: { ...node(3), pid: null },
          replicas: [],
          agent: { admin: 'x', pid: null, state: 'down' },
          links: [],
          dryRun: null,
        },
      ],
    },
    agents: new Map([['a', agent]]),
    view: { ready: true, faults: [{ kind: 'delay', between: ['a', 'b'], ms: 80 }], services: [] },
    primary: 'a',
  };
}

test('columns are as wide as their widest cell, and numbers stand at the right', () => {
  expect(
    renderTable(
      [{ title: 'NAME' }, { title: 'N', right: true }],
      [
        ['x', '1'],
        ['longer', '100'],
      ],
    ),
  ).toEqual(['  NAME      N', '  x         1', '  longer  100']);
});

test('a report shows regions, lag, and what is broken', () => {
  const text = renderReport(report()).join('\n');
  expect(text).toMatch(/^Stack local: 2 regions, not all equal/);
  expect(text).toMatch(/a +primary +1 +active +1,235 +0 +4\.0 kB +1,200 +3 +60 +1\/1 +2\.0 kB +7\.0\.15/);
  expect(text).toMatch(/b +member +3 +no Redis/);
  expect(text).toContain('12 ms');
  expect(text).toContain('a and b are 80 ms further apart, each way');
});

test('of a dry run it is said once that nothing is written', () => {
  const dry = report();
  const trial = { sinceMs: 1, wouldApply: { operations: 1 }, wouldConflict: { operations: 0 }, forgotten: 0 };
  const agent = agentStatusSchema.parse({ state: 'dry-run', reason: 'dry run: nothing is written', dryRun: trial });
  const regions = dry.status.regions.map((region) => ({ ...region, dryRun: agent.dryRun }));
  const lines = renderReport({ ...dry, status: { ...dry.status, regions }, agents: new Map([['a', agent]]) });
  expect(lines.filter((line) => line.toLowerCase().includes('nothing is written'))).toEqual([
    '  Nothing is written to Redis (replication.dryRun).',
  ]);
});

test('one line says the same, and what of it is worth a new line', () => {
  const { state, line } = renderLine(report());
  expect(state).toBe('a: active; b: no Redis; a and b are 80 ms further apart, each way');
  expect(line).toBe(`1,235 writes/s, 4.0 kB to send, 1,200 pending, lag up to 12 ms; ${state}`);
});

test('an agent that tells half, or nonsense, is shown with what it tells', () => {
  const status = agentStatusSchema.parse({
    state: 'active',
    links: [{ peer: 'b', state: 'up', lagMs: 'soon' }],
    journal: 7,
  });
  expect(status).toMatchObject({
    state: 'active',
    links: [{ peer: 'b', state: 'up', lagMs: null, pendingOps: 0 }],
    caughtUp: false,
  });
  expect(agentStatusSchema.parse({})).toMatchObject({ state: 'unknown', links: [] });
});

test('sizes', () => {
  expect([0, 1023, 1024, 1536, 5 * 1024 ** 3].map(bytes)).toEqual(['0 B', '1023 B', '1.0 kB', '1.5 kB', '5.0 GB']);
});

describe('the display', () => {
  class Screen extends Writable {
    text = '';
    constructor(
      readonly isTTY: boolean,
      readonly columns = 20,
      readonly rows = 6,
    ) {
      super();
    }
    override _write(chunk: Buffer, _encoding: string, done: () => void): void {
      this.text += chunk.toString();
      done();
    }
  }

  test('redraws in place on a terminal, and cuts what would not fit', async () => {
    const screen = new Screen(true);
    const block = ['x'.repeat(50), 'two', 'three', 'four', 'five', 'six'];
    const display = new Display(screen as never, async () => ({ block, line: '', state: '' }));
    display.start();
    await until('drawn', () => screen.text.includes('four'));
    expect(screen.text).toBe(`\n${'x'.repeat(19)}\ntwo\nthree\nfour\n`);
    screen.text = '';
    display.notice('news');
    const erase = '\x1b[5A\x1b[0J';
    expect(screen.text.startsWith(erase)).toBe(true);
    expect(screen.text.slice(erase.length)).toMatch(/^\d\d:\d\d:\d\d news\n/);
    display.stop();
  });

  test('takes a terminal that does not know its size for one of 80 columns', async () => {
    const screen = new Screen(true, 0, 0);
    const block = ['x'.repeat(100), 'the last one'];
    const display = new Display(screen as never, async () => ({ block, line: '', state: '' }));
    display.start();
    await until('drawn', () => screen.text !== '');
    display.stop();
    expect(screen.text).toBe(`\n${'x'.repeat(79)}\nthe last one\n`);
  });

  test('writes a line into a pipe when the state changes', async () => {
    const screen = new Screen(false);
    let state = 'one';
    let looks = 0;
    const display = new Display(screen as never, async () => ({
      block: [],
      line: `at ${state}`,
      state: (looks++, state),
    }));
    display.start();
    await until('looked twice', () => looks >= 2);
    state = 'two';
    await until('told', () => screen.text.includes('two'));
    display.stop();
    expect(screen.text).toMatch(/^\d\d:\d\d:\d\d at one\n\d\d:\d\d:\d\d at two\n$/);
  });
});
