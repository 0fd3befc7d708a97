import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';

import { LocalError } from '../errors';
import { type StateDir } from '../layout';
import { type ProcessIdentity, signal, waitForEnd } from '../process';
import { type StackState, livingOf, purge, readState, supervisorOf, writeState } from '../state';
import { endAll } from '../supervisor';
import { type CommonOptions, dirOf, print } from './common';

export interface DownOptions extends CommonOptions {
  readonly purge?: boolean;
  /** `a,b`: a region that comes back later with what it held is a region that was away, and brings back what was deleted meanwhile. */
  readonly forget?: string;
}

const supervisorGraceMs = 30_000;

/** Stops a stack; with `--purge` also forgets its data. Stopping what isn't running is no failure. */
export async function down(options: DownOptions): Promise<void> {
  const dir = dirOf(options);
  const supervisor = supervisorOf(dir);
  const known = stateBeside(dir, supervisor);
  if (known !== undefined && known.stack !== options.stack) {
    throw new LocalError(
      'STATE_DIR',
      `${dir.root} belongs to stack '${known.stack}', not '${options.stack}': say --stack ${known.stack} to stop that one.`,
    );
  }
  const named = regionsToForget(options.forget);
  const forgotten = named.filter((region) => existsSync(path.join(dir.regions, region)));
  const unknown = named.filter((region) => !forgotten.includes(region));
  const done: string[] = [];
  if (supervisor !== undefined) done.push(await stopSupervisor(dir, supervisor));

  // What a supervisor that was killed has left, or one that had to be.
  const state = known === undefined ? undefined : readState(dir);
  const orphans = state === undefined ? [] : livingOf(state);
  if (state !== undefined && orphans.length > 0) {
    const killed = await endAll(orphans);
    writeState(dir, { ...state, processes: {} });
    const names = orphans.map(([name]) => name);
    done.push(`its supervisor had been killed; stopped what it left behind: ${names.join(', ')}`);
    if (killed.length > 0) done.push(`had to be killed: ${killed.join(', ')}`);
  }
  const stopped = done.length > 0;
  for (const region of forgotten) rmSync(path.join(dir.regions, region), { recursive: true, force: true });
  const purged = options.purge === true && existsSync(dir.root);
  if (purged) purge(dir);
  const lines = [
    `Stack ${options.stack}: ${stopped ? done.join('; ') : 'was not running'}.`,
    ...(forgotten.length > 0 ? [`What ${forgotten.join(' and ')} held is removed.`] : []),
    ...(unknown.length > 0 ? [`There is nothing of ${unknown.join(' and ')} to remove.`] : []),
    ...(purged ? [`Its data, passwords and certificates in ${dir.root} are removed.`] : []),
  ];
  print(options, { stack: options.stack, stopped, purged, forgotten, notes: done }, lines);
}

/** Undefined also where it can't be understood and the supervisor lives: that knows by itself what it has to end. */
function stateBeside(dir: StateDir, supervisor: ProcessIdentity | undefined): StackState | undefined {
  try {
    return readState(dir);
  } catch (error) {
    if (supervisor === undefined) throw error;
    return undefined;
  }
}

async function stopSupervisor(dir: StateDir, supervisor: ProcessIdentity): Promise<string> {
  signal(supervisor, 'SIGTERM');
  signal(supervisor, 'SIGCONT');
  if (await waitForEnd(supervisor, supervisorGraceMs)) return 'stopped';
  signal(supervisor, 'SIGKILL');
  if (await waitForEnd(supervisor, 5000))
    return `its supervisor did not end within ${supervisorGraceMs / 1000} s and was killed`;
  throw new LocalError(
    'STOP_FAILED',
    `Supervisor ${supervisor.pid} of ${dir.root} can't be ended: see ${dir.supervisorLog}.`,
  );
}

function regionsToForget(option: string | undefined): string[] {
  const names = option?.split(',') ?? [];
  const bad = names.find((name) => !/^[a-z][a-z0-9-]*$/.test(name));
  if (bad !== undefined) throw new LocalError('UNKNOWN_REGION', `--forget ${option}: '${bad}' is no name of a region.`);
  return names;
}
