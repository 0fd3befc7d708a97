/** What processes cost: CPU time and memory, as the system counts them. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

export interface Watched {
  readonly name: string;
  readonly pid: number;
}

export interface Usage {
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  /** The most since the process began; where the system keeps no such mark, what it was at the moment. */
  readonly rssBytesMax: number;
}

/** What one process took during a measurement. */
export interface Cost {
  readonly name: string;
  readonly cpuSeconds: number;
  readonly rssBytesMax: number;
}

export interface Costs {
  readonly seconds: number;
  readonly processes: readonly Cost[];
  /** CPU cores' worth taken by everything else on the machine: above a few tenths, the figures are not the machine's. */
  readonly othersCores: number;
}

/** Linux counts in ticks of a hundredth of a second on every platform that Node runs on. */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 250;

/** @returns undefined when there is no such process (any more) */
export function usageOf(pid: number): Usage | undefined {
  try {
    return process.platform === 'linux' ? usageLinux(pid) : usageByPs(pid);
  } catch {
    return undefined;
  }
}

function usageLinux(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  // Own time, user and system, and that of children that have ended: a server's snapshot is made by one.
  const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + (fields[i] ?? 0), 0);
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kilobytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  return {
    cpuSeconds: ticks / TICKS_PER_SECOND,
    rssBytes: kilobytes('VmRSS') * 1024,
    rssBytesMax: kilobytes('VmHWM') * 1024,
  };
}

function usageByPs(pid: number): Usage | undefined {
  const run = spawnSync('ps', ['-o', 'time=,rss=', '-p', String(pid)], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const [time, rss] = run.stdout.trim().split(/\s+/);
  if (run.status !== 0 || time === undefined) return undefined;
  const [, days = '0', clock = ''] = /^(?:(\d+)-)?(.*)$/.exec(time) ?? [];
  const cpuSeconds = clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400;
  const rssBytes = Number(rss) * 1024;
  return { cpuSeconds, rssBytes, rssBytesMax: rssBytes };
}

/** Measures processes from its making to `stop`. Those that start later count from nothing. */
export class Meter {
  private readonly startMs = performance.now();
  private readonly before = new Map<number, number>();
  private readonly last = new Map<number, Usage>();
  private readonly rssMax = new Map<number, number>();
  private readonly machineBefore = machineBusySeconds();
  private readonly timer: NodeJS.Timeout;
  /** CPU seconds of processes that are gone by now, as they reported them. */
  private readonly told: Cost[] = [];

  constructor(private readonly processes: readonly Watched[]) {
    for (const { pid } of processes) this.before.set(pid, usageOf(pid)?.cpuSeconds ?? 0);
    this.timer = setInterval(() => this.sample(), SAMPLE_MS);
  }

  /** Adds a process that measured itself. */
  tell(cost: Cost): void {
    this.told.push(cost);
  }

  /** @param also processes that were started since */
  stop(also: readonly Watched[] = []): Costs {
    clearInterval(this.timer);
    const all = [...this.processes, ...also];
    this.sample(all);
    const seconds = (performance.now() - this.startMs) / 1000;
    const processes = all.map(({ name, pid }) => ({
      name,
      cpuSeconds: (this.last.get(pid)?.cpuSeconds ?? 0) - (this.before.get(pid) ?? 0),
      rssBytesMax: this.rssMax.get(pid) ?? 0,
    }));
    processes.push(...this.told);
    const machine = machineBusySeconds() - this.machineBefore;
    const ours = processes.reduce((sum, cost) => sum + cost.cpuSeconds, 0);
    return { seconds, processes, othersCores: Math.max(0, (machine - ours) / seconds) };
  }

  private sample(processes = this.processes): void {
    for (const { pid } of processes) {
      const usage = usageOf(pid);
      if (usage === undefined) continue;
      this.last.set(pid, usage);
      this.rssMax.set(pid, Math.max(this.rssMax.get(pid) ?? 0, usage.rssBytesMax));
    }
  }
}

function machineBusySeconds(): number {
  return os.cpus().reduce((sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) / 1000, 0);
}
