import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { serverBinary } from '../agent/capture/testserver';
import { TimeFinder } from './lag';
import { TIME_MARK, VALUE_BYTES } from './load';
import { median, type Report, summarise } from './report';

const run = promisify(execFile);
const root = path.resolve(__dirname, '..');

/** Everything it makes lies in this folder: nothing may be left behind. */
const temporary = mkdtempSync(path.join(os.tmpdir(), 'meridian-test-bench-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

async function bench(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return run(process.execPath, [path.join(root, 'dist/bench/index.js'), ...args], {
    env: { ...process.env, TMPDIR: temporary, MERIDIAN_REDIS_SERVER: serverBinary() },
  });
}

const cost = { name: expect.any(String), cpuSeconds: expect.any(Number), rssBytesMax: expect.any(Number) };

test('a run of a second: what the report holds, and nothing left behind', async () => {
  const json = path.join(temporary, 'report.json');
  const sizes = [
    '--only',
    'both-ways,sustained,lag,full-sync',
    '--seconds',
    '1',
    '--runs',
    '1',
    '--keys',
    '1000',
    '--sync-keys',
    '1000',
    '--rate',
    '200',
    '--sustained-rate',
    '2000',
    '--window-mib',
    '64',
  ];
  const { stdout } = await bench(...sizes, '--connections', '1', '--pipeline', '4', '--json', json);
  const report = JSON.parse(readFileSync(json, 'utf8')) as Report;

  expect(report.version).toBe(1);
  expect(report.failures).toEqual([]);
  expect(report.options).toMatchObject({ seconds: 1, regions: 2, keys: 1000, rate: 200, peer: null });
  expect(report.runs.map(({ measure, system }) => `${measure} ${system}`)).toEqual([
    'both-ways meridian',
    'sustained meridian',
    'lag meridian',
    'full-sync meridian',
  ]);
  for (const each of report.runs) {
    expect(each.costs).toEqual({
      seconds: expect.any(Number),
      othersCores: expect.any(Number),
      processes: expect.arrayContaining([cost]),
    });
    if (each.measure === 'full-sync') {
      expect(each.keys).toBe(1000);
      expect(each.seconds).toBeGreaterThan(0);
    } else if (each.measure === 'lag') {
      expect(each.samples).toBe(160);
      expect(each.p50Ms).toBeGreaterThan(0);
      expect(each.p99Ms).toBeGreaterThanOrEqual(each.p50Ms);
      expect(each.maxMs).toBeGreaterThanOrEqual(each.p99Ms);
    } else {
      if (each.measure === 'sustained') expect(each.operations).toBe(2000);
      expect(each.equal).toBe(true);
      expect(each.operations).toBeGreaterThan(0);
      expect(each.loadOpsPerSecond).toBeGreaterThan(each.opsPerSecond);
    }
  }
  expect(report.summary).toHaveLength(4);
  expect(Object.keys(report.summary[0]!.cpuSecondsPerMillion)).toEqual([
    'region-a',
    'region-b',
    'region-a-agent',
    'region-b-agent',
    'load-region-a',
    'load-region-b',
  ]);
  expect(report.summary[0]!.rssBytesMax).toBeGreaterThan(10 * 2 ** 20);
  expect(stdout).toMatch(/both-ways +meridian +1 +[\d,]+ ops\/s/);
  expect(readdirSync(temporary)).toEqual(['report.json']);
}, 60_000);

test('wrong options are refused in words', async () => {
  const wrong: [string[], RegExp][] = [
    [['--only', 'speed'], /--only.*of one-way, both-ways, sustained, lag, full-sync/s],
    [['--peer', 'redis-shake=/nowhere'], /\/nowhere is not a program/],
  ];
  await Promise.all(
    wrong.map(([args, message]) =>
      expect(bench(...args)).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(message) }),
    ),
  );
});

test('times are found in a stream, however it is cut', () => {
  const sent = [1_234_567_890_123_456, 1, 9_007_199_254_740_991];
  const filler = 'x'.repeat(VALUE_BYTES - 17);
  const stream = Buffer.from(
    sent
      .map(
        (micros) => `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$64\r\n${TIME_MARK}${String(micros).padStart(16, '0')}${filler}\r\n`,
      )
      .join('*1\r\n$4\r\nPING\r\n'),
    'latin1',
  );
  for (let size = 1; size <= stream.length; size++) {
    const found: number[] = [];
    const finder = new TimeFinder((micros) => found.push(micros));
    for (let at = 0; at < stream.length; at += size) finder.push(stream.subarray(at, at + size));
    expect(found).toEqual(sent);
  }
});

test('medians, and ratios in which more is better', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  const costs = {
    seconds: 1,
    othersCores: 0,
    processes: [{ name: 'region-a-agent', cpuSeconds: 2, rssBytesMax: 5 }],
  };
  const common = { loadOpsPerSecond: 1, appliedDuringLoad: 1, loadSeconds: 1, drainSeconds: 1, equal: true, costs };
  const rate = (measure: 'one-way' | 'both-ways', system: string, n: number, opsPerSecond: number) =>
    ({ measure, system, run: n, operations: 4_000_000, opsPerSecond, ...common }) as const;
  const sync = (system: string, seconds: number) =>
    ({ measure: 'full-sync', system, run: 1, keys: 10, seconds, othersSeconds: 0, costs }) as const;
  const summary = summarise([
    rate('one-way', 'meridian', 1, 100),
    rate('one-way', 'meridian', 2, 300),
    rate('one-way', 'redis-shake', 1, 100),
    rate('both-ways', 'meridian', 1, 150),
    sync('meridian', 2),
    sync('redis-shake', 4),
  ]);
  expect(summary.map(({ measure, system, value, ratio }) => [measure, system, value, ratio])).toEqual([
    ['one-way', 'meridian', 200, 2],
    ['one-way', 'redis-shake', 100, null],
    ['both-ways', 'meridian', 150, 1.5],
    ['full-sync', 'meridian', 2, 2],
    ['full-sync', 'redis-shake', 4, null],
  ]);
  expect(summary[0]).toMatchObject({ runs: 2, rssBytesMax: 5, cpuSecondsPerMillion: { 'region-a-agent': 0.5 } });
});
