import { existsSync, linkSync, readdirSync, renameSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

import { commandOf } from './connect';
import { LocalError, errorCode, errorText } from './errors';
import { readIfThere, writeAtomically } from './files';
import { type StackLayout, type StateDir } from './layout';
import { loopback } from './ports';
import { type ProcessIdentity, identityOf, isAlive } from './process';

const identitySchema = z.object({ pid: z.number().int().positive(), started: z.string() });

const endpointSchema = z.object({ service: z.string(), host: z.string(), port: z.number().int() });

const stateSchema = z.object({
  version: z.literal(1),
  stack: z.string(),
  basePort: z.number().int(),
  /** False with `up --no-agents`. */
  agents: z.boolean(),
  use: z.enum(['data', 'cache']),
  /** `replication.conflicts`; a stack that an older version started has none. */
  conflicts: z.array(z.object({ keys: z.string(), policy: z.string(), db: z.number().optional() })).default([]),
  regions: z.array(
    z.object({
      name: z.string(),
      weight: z.number(),
      primary: z.boolean(),
      redis: endpointSchema,
      replicas: z.array(endpointSchema),
      agent: z.object({ service: z.string(), admin: z.string() }),
    }),
  ),
  /** What was started last under the name of each service, alive or not. */
  processes: z.record(z.string(), identitySchema),
});

/** What `state.json` holds: all that the other commands, and the next `up`, must know of a stack that was started. */
export type StackState = z.output<typeof stateSchema>;
export type RegionState = StackState['regions'][number];

export function stateOf(layout: StackLayout, agents: boolean): StackState {
  const endpoint = ({ service, port }: { service: string; port: number }): z.output<typeof endpointSchema> => ({
    service,
    host: loopback,
    port,
  });
  return {
    version: 1,
    stack: layout.stack,
    basePort: layout.basePort,
    agents,
    use: layout.config.redis.use,
    conflicts: layout.config.replication.conflicts,
    regions: layout.regions.map((region) => ({
      name: region.name,
      weight: region.weight,
      primary: region.primary,
      redis: endpoint(region.redis),
      replicas: region.replicas.map(endpoint),
      agent: { service: region.agent.service, admin: `http://${loopback}:${region.agent.adminPort}` },
    })),
    processes: {},
  };
}

export function writeState(dir: StateDir, state: StackState): void {
  writeAtomically(dir.state, `${JSON.stringify(state, undefined, 2)}\n`);
}

/** @returns undefined when no stack was started here. @throws LocalError STATE_DIR when what is there can't be understood */
export function readState(dir: StateDir): StackState | undefined {
  const text = readIfThere(dir.state);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unusable(dir, errorText(error));
  }
  const parsed = stateSchema.safeParse(value);
  if (!parsed.success) throw unusable(dir, `not of this version: ${parsed.error.issues[0]?.path.join('.') ?? ''}`);
  return parsed.data;
}

function unusable(dir: StateDir, why: string): LocalError {
  return new LocalError(
    'STATE_DIR',
    `${dir.state} can't be understood (${why}): end its processes by hand if there are any, then remove ${dir.root} or use another --state-dir.`,
  );
}

/** Services of an earlier run whose processes still live. */
export function livingOf(state: StackState): [service: string, identity: ProcessIdentity][] {
  return Object.entries(state.processes).filter(([, identity]) => isAlive(identity));
}

// --- The lock: one supervisor of a state dir ---------------------------------------------------------------------------

/** The supervisor that runs the stack of this state dir; undefined when none does. */
export function supervisorOf(dir: StateDir): ProcessIdentity | undefined {
  const holder = readHolder(dir.lock);
  return holder !== undefined && isAlive(holder) ? holder : undefined;
}

/** @throws LocalError ALREADY_RUNNING when another supervisor holds it */
export function takeLock(dir: StateDir, stack: string): void {
  const own = identityOf(process.pid);
  if (own === undefined) throw new Error('this process has no identity');
  const mine = `${dir.lock}.${process.pid}.tmp`;
  writeFileSync(mine, JSON.stringify(own), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        linkSync(mine, dir.lock); // whole from the first moment on, and only if nothing is there
        return;
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error;
      }
      const holder = supervisorOf(dir);
      if (holder !== undefined) throw alreadyRunning(dir, stack, holder);
      removeStaleLock(dir);
    }
    throw new LocalError('STATE_DIR', `${dir.lock} can't be taken: another start of stack '${stack}' goes on.`);
  } finally {
    rmSync(mine, { force: true });
  }
}

export function releaseLock(dir: StateDir): void {
  if (readHolder(dir.lock)?.pid === process.pid) rmSync(dir.lock, { force: true });
}

/** Two starts may find the same stale lock: whoever moves it away looks whether it took the other's fresh one. */
function removeStaleLock(dir: StateDir): void {
  const aside = `${dir.lock}.${process.pid}.stale`;
  try {
    renameSync(dir.lock, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  const holder = readHolder(aside);
  try {
    if (holder !== undefined && isAlive(holder)) linkSync(aside, dir.lock);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    return identitySchema.parse(JSON.parse(readIfThere(file) ?? ''));
  } catch (error) {
    if (error instanceof LocalError) throw error;
    return undefined;
  }
}

export function alreadyRunning(dir: StateDir, stack: string, holder: ProcessIdentity): LocalError {
  const running = stackIn(dir) ?? stack;
  if (running !== stack)
    return new LocalError(
      'STATE_DIR',
      `${dir.root} belongs to stack '${running}', which runs (supervisor ${holder.pid}), not to '${stack}': use another --state-dir, or stop that one with \`${commandOf('down', running, dir)}\`.`,
    );
  return new LocalError(
    'ALREADY_RUNNING',
    `Stack '${stack}' is running already (supervisor ${holder.pid}, state in ${dir.root}): use it, or stop it with \`${commandOf('down', stack, dir)}\`.`,
  );
}

/** Undefined also where it can't be understood. */
function stackIn(dir: StateDir): string | undefined {
  try {
    return readState(dir)?.stack;
  } catch {
    return undefined;
  }
}

// --- The end -----------------------------------------------------------------------------------------------------------

/** Removes what `up` made in a state dir, and the dir when nothing else is in it. */
export function purge(dir: StateDir): void {
  // By name, never the whole dir: it may be one that the user chose, with files of theirs.
  const { root, ...ours } = dir;
  try {
    for (const entry of Object.values(ours)) rmSync(entry, { recursive: true, force: true });
    // What a process that was killed had not yet renamed.
    const names = Object.values(ours).map((entry) => path.basename(entry));
    const halves = readdirSync(root).filter((name) =>
      names.some((known) => name.startsWith(`${known}.`) && /\.(tmp|stale)$/.test(name)),
    );
    for (const half of halves) rmSync(path.join(root, half), { force: true });
    if (existsSync(root) && readdirSync(root).length === 0) rmdirSync(root);
    const parent = path.dirname(root);
    if (path.basename(parent) === '.meridian' && readdirSync(parent).length === 0) rmdirSync(parent);
  } catch (error) {
    throw new LocalError('STATE_DIR', `${root} can't be removed: ${errorText(error)}.`);
  }
}
