import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { errorCode } from './errors';

/**
 * One process, for ever: a pid alone is reused after its process has ended. Whoever signals a process from a file compares
 * its start time first, so that a stranger that inherited the number is never touched.
 */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in the words of this system; equal only for the same process. */
  readonly started: string;
}

/** The identity of a process that lives now; undefined when there is none, or it has ended and waits to be reaped. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const started = process.platform === 'linux' ? startedLinux(pid) : startedByPs(pid);
  return started === undefined ? undefined : { pid, started };
}

/** Whether this very process still lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identityOf(identity.pid)?.started === identity.started;
}

/** Sends a signal to this very process. @returns whether it was there to get it */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, name);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
    throw error;
  }
}

/** Waits until the process has ended. @returns false when it still lives after `timeoutMs` */
export async function waitForEnd(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let pause = 10; isAlive(identity); pause = Math.min(pause * 2, 100)) {
    if (performance.now() > deadline) return false;
    await sleep(pause);
  }
  return true;
}

/**
 * Ends a process that is no child of ours: SIGTERM, and SIGKILL when it hasn't ended after `graceMs`.
 * @returns `gone` when there was nothing to end
 */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<'gone' | 'ended' | 'killed'> {
  // A stopped process doesn't see SIGTERM before it goes on.
  if (!signal(identity, 'SIGTERM')) return 'gone';
  signal(identity, 'SIGCONT');
  if (await waitForEnd(identity, graceMs)) return 'ended';
  signal(identity, 'SIGKILL');
  await waitForEnd(identity, 5000);
  return 'killed';
}

/** The program and its arguments, shortened, for a message; undefined where it can't be read. */
export function describeProcess(pid: number): string | undefined {
  try {
    const text =
      process.platform === 'linux'
        ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        : ps(pid, 'command=');
    const line = text?.trim();
    return line === undefined || line === '' ? undefined : line.length > 80 ? `${line.slice(0, 77)}...` : line;
  } catch {
    return undefined;
  }
}

let bootId: string | undefined;

function startedLinux(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, ticks] = [fields[0], fields[19]];
    if (state === 'Z' || state === 'X' || ticks === undefined) return undefined;
    // Counted from boot: the same number can come again after the next one.
    bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${bootId}/${ticks}`;
  } catch {
    return undefined;
  }
}

function startedByPs(pid: number): string | undefined {
  const line = ps(pid, 'stat=,lstart=')?.trim();
  if (line === undefined || line === '' || line.startsWith('Z')) return undefined;
  return line.slice(line.indexOf(' ')).trim();
}

function ps(pid: number, columns: string): string | undefined {
  const run = spawnSync('ps', ['-o', columns, '-p', String(pid)], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  return run.status === 0 ? run.stdout : undefined;
}
