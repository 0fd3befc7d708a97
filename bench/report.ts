/** What was measured, as JSON and as tables. */
import os from 'node:os';
import { renderTable } from '../local/table';
import { type Cost, type Costs } from './cpu';
import { type FullSync } from './full-sync';
import { type Lag } from './lag';
import { type Throughput } from './throughput';

export const MEASURES = ['one-way', 'both-ways', 'sustained', 'lag', 'full-sync'] as const;
export type Measure = (typeof MEASURES)[number];

export type Run = { readonly system: string; readonly run: number } & (
  | ({ readonly measure: 'one-way' | 'both-ways' | 'sustained' } & Throughput)
  | ({ readonly measure: 'lag' } & Lag)
  | ({ readonly measure: 'full-sync' } & FullSync)
);

export interface Failure {
  readonly system: string;
  readonly run: number;
  readonly measure: Measure;
  readonly error: string;
}

/** Medians over the runs. */
export interface Summary {
  readonly measure: Measure;
  readonly system: string;
  readonly runs: number;
  /** In the measure's unit, see `unitOf`; the lag's is its p99. */
  readonly value: number;
  /** Against the other program; above 1 Meridian is faster. Both ways: against the other's one way. */
  readonly ratio: number | null;
  /** The most memory of the largest process that is not a Redis or a generator, bytes. */
  readonly rssBytesMax: number;
  /** By process name, per million operations (keys). */
  readonly cpuSecondsPerMillion: Record<string, number>;
  /** CPU cores' worth that other programs on the machine took meanwhile. */
  readonly othersCores: number;
}

export interface Report {
  readonly version: 1;
  readonly date: string;
  readonly machine: { cores: number; cpu: string; memoryBytes: number; platform: string; node: string };
  readonly redis: { flavour: string; version: string };
  readonly options: Record<string, unknown>;
  readonly summary: readonly Summary[];
  readonly runs: readonly Run[];
  readonly failures: readonly Failure[];
}

export function machine(): Report['machine'] {
  const cpus = os.cpus();
  return {
    cores: os.availableParallelism(),
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    memoryBytes: os.totalmem(),
    platform: `${os.platform()} ${os.release()} ${os.arch()}`,
    node: process.version,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

export function summarise(runs: readonly Run[]): Summary[] {
  const groups = new Map<string, Run[]>();
  for (const run of runs) {
    const name = `${run.measure} ${run.system}`;
    groups.set(name, [...(groups.get(name) ?? []), run]);
  }
  const medianOf = (measure: Measure, system: string): number | null => {
    const group = groups.get(`${measure} ${system}`);
    return group === undefined ? null : median(group.map(valueOf));
  };
  const peer = runs.find(({ system }) => system !== 'meridian')?.system;
  return [...groups.values()].map((group) => {
    const { measure, system } = group[0]!;
    const value = median(group.map(valueOf));
    const other =
      peer === undefined || system !== 'meridian'
        ? null
        : medianOf(measure === 'both-ways' ? 'one-way' : measure, peer);
    const faster = measure === 'one-way' || measure === 'both-ways';
    return {
      measure,
      system,
      runs: group.length,
      value,
      ratio: other === null ? null : faster ? value / other : other / value,
      rssBytesMax: median(group.map((run) => Math.max(0, ...replicatorsOf(run.costs).map((cost) => cost.rssBytesMax)))),
      cpuSecondsPerMillion: Object.fromEntries(
        group[0]!.costs.processes.map(({ name }) => [name, median(group.map((run) => cpuPerMillion(run, name)))]),
      ),
      othersCores: median(group.map((run) => run.costs.othersCores)),
    };
  });
}

/** Servers are named by their region, generators and watchers by what they are. */
function replicatorsOf(costs: Costs): Cost[] {
  return costs.processes.filter(({ name }) => name.endsWith('-agent') || name === 'redis-shake');
}

function valueOf(run: Run): number {
  if (run.measure === 'lag') return run.p99Ms;
  return run.measure === 'full-sync' ? run.seconds : run.opsPerSecond;
}

function operationsOf(run: Run): number {
  if (run.measure === 'full-sync') return run.keys;
  return run.measure === 'lag' ? run.opsPerSecond * run.costs.seconds : run.operations;
}

function cpuPerMillion(run: Run, name: string): number {
  const cost = run.costs.processes.find((each) => each.name === name);
  return ((cost?.cpuSeconds ?? 0) * 1e6) / operationsOf(run);
}

// ——— for people

export function describeRun(run: Run): string {
  const head = `${run.measure}, ${run.system}, run ${run.run}:`;
  const others = `; others took ${run.costs.othersCores.toFixed(2)} cores`;
  if (run.measure === 'lag')
    return `${head} p50 ${ms(run.p50Ms)}, p99 ${ms(run.p99Ms)}, max ${ms(run.maxMs)} at ${whole(run.opsPerSecond)}/s${others}`;
  if (run.measure === 'full-sync') {
    const before = run.othersSeconds > 0 ? ` (after ${run.othersSeconds.toFixed(2)} s for the first region)` : '';
    return `${head} ${whole(run.keys)} keys in ${run.seconds.toFixed(2)} s${before}${others}`;
  }
  return (
    `${head} ${whole(run.opsPerSecond)} ops/s (load ${whole(run.loadOpsPerSecond)}/s for ${run.loadSeconds.toFixed(1)} s, ` +
    `then ${run.drainSeconds.toFixed(1)} s)${run.equal ? '' : ', and the servers are NOT EQUAL'}${others}`
  );
}

export function renderTables(report: Report): string[] {
  const { summary, failures } = report;
  const lines = ['', 'Medians:'];
  lines.push(
    ...renderTable(
      [
        { title: 'MEASURE' },
        { title: 'SYSTEM' },
        { title: 'RUNS', right: true },
        { title: 'RESULT', right: true },
        { title: 'RATIO', right: true },
        { title: 'MEMORY', right: true },
        { title: 'OTHERS', right: true },
      ],
      summary.map((each) => [
        each.measure,
        each.system,
        String(each.runs),
        result(each),
        each.ratio === null ? '' : `${each.ratio.toFixed(2)}×`,
        `${Math.round(each.rssBytesMax / 2 ** 20)} MB`,
        `${each.othersCores.toFixed(2)} cores`,
      ]),
    ),
  );
  lines.push('', 'CPU seconds per million operations:');
  lines.push(
    ...renderTable(
      [{ title: 'MEASURE' }, { title: 'SYSTEM' }, { title: 'BY PROCESS' }],
      summary.map((each) => [
        each.measure,
        each.system,
        Object.entries(each.cpuSecondsPerMillion)
          .map(([name, seconds]) => `${name} ${seconds.toFixed(2)}`)
          .join(', '),
      ]),
    ),
  );
  for (const { measure, system, run, error } of failures)
    lines.push('', `FAILED: ${measure}, ${system}, run ${run}: ${error}`);
  return lines;
}

function result({ measure, value }: Summary): string {
  if (measure === 'lag') return `p99 ${ms(value)}`;
  return measure === 'full-sync' ? `${value.toFixed(2)} s` : `${whole(value)} ops/s`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}
