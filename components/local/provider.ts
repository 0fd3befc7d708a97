import type * as pulumi from '@pulumi/pulumi';
import type * as ChildProcess from 'node:child_process';
import type * as Fs from 'node:fs';
import type * as Path from 'node:path';
import type * as Timers from 'node:timers/promises';

// What Pulumi runs in a process of its own, with nothing of this program but the text of these functions, which it keeps in the stack's
// state: they use Node's built-in modules, loaded inside, and each other. All they do is to call the `meridian` command.

/** What a mesh on this machine is started from. */
export interface MeshInputs {
  /** Path of `bin/meridian.js`. */
  readonly program: string;
  /** Of this package: with another one the agents are started anew. */
  readonly version: string;
  readonly stack: string;
  /** Absolute. */
  readonly stateDir: string;
  readonly basePort: number;
  /** Path of a Redis server for all regions; empty: the one that is found. */
  readonly redisServer: string;
  /** The stack's config as JSON, in the form of a `Pulumi.<stack>.yaml`. */
  readonly config: string;
  readonly purge: boolean;
}

/** Where a region's Redis is. */
export interface LocalEndpoint {
  /** Where applications connect, and write. */
  host: string;
  /** Its port. */
  port: number;
  /** Ports of its replicas, for reads that can be a moment old. */
  replicaPorts: number[];
  /** The agent's /healthz, /readyz, /status and /metrics. */
  agentUrl: string;
}

export interface MeshOutputs extends MeshInputs {
  /** By region. */
  readonly endpoints: Record<string, LocalEndpoint>;
  readonly password: string;
}

/** What `status --json` says of it, as far as it is needed here. */
interface Status {
  readonly converged: boolean;
  readonly regions: readonly {
    readonly name: string;
    readonly redis: { readonly host: string; readonly port: number };
    readonly replicas: readonly { readonly port: number }[];
    readonly agent: { readonly admin: string | null };
  }[];
}

type Answer<T> = { readonly value: T } | { readonly code: string; readonly message: string };

/* eslint-disable @typescript-eslint/no-require-imports */

/** Runs a Node.js program to its end. */
function run(args: string[]): Promise<{ failed: boolean; stdout: string; stderr: string }> {
  const { execFile } = require('node:child_process') as typeof ChildProcess;
  return new Promise((resolve) => {
    execFile(process.execPath, args, { maxBuffer: 64 * 2 ** 20 }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, stdout, stderr: stderr === '' && error !== null ? error.message : stderr }),
    );
  });
}

/** Runs `meridian <command> --json`. What it refuses is an answer, too. */
async function ask<T>(mesh: MeshInputs, command: string, ...options: string[]): Promise<Answer<T>> {
  const common = ['--stack', mesh.stack, '--state-dir', mesh.stateDir, '--json'];
  const { failed, stdout, stderr } = await run([mesh.program, command, ...common, ...options]);
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    return { code: 'UNEXPECTED', message: `\`meridian ${command}\` failed: ${stderr.trim()}` };
  }
  return failed ? (answer as { error: { code: string; message: string } }).error : { value: answer as T };
}

/** @returns undefined where it doesn't run. @throws Error where nobody can tell */
async function statusOf(mesh: MeshInputs): Promise<Status | undefined> {
  const answer = await ask<Status>(mesh, 'status');
  if ('value' in answer) return answer.value;
  if (answer.code === 'NOT_RUNNING') return undefined;
  throw new Error(answer.message);
}

/** In a checkout the sources are what counts, and may be newer than what was built of them. */
async function build({ program }: MeshInputs): Promise<void> {
  const fs = require('node:fs') as typeof Fs;
  const path = require('node:path') as typeof Path;
  const builder = path.join(path.dirname(program), '..', 'scripts', 'build.mjs');
  if (!fs.existsSync(builder)) return;
  const built = await run([builder]);
  if (built.failed) throw new Error(`Meridian can't be built: ${built.stderr.trim()}`);
}

/** Starts the mesh and waits until every region is ready. */
async function start(mesh: MeshInputs): Promise<MeshOutputs> {
  const fs = require('node:fs') as typeof Fs;
  const path = require('node:path') as typeof Path;
  const file = path.join(mesh.stateDir, 'config.json');
  fs.mkdirSync(mesh.stateDir, { recursive: true, mode: 0o700 });
  fs.writeFileSync(file, `${mesh.config}\n`, { mode: 0o600 });
  const server = mesh.redisServer === '' ? [] : ['--redis-server', mesh.redisServer];
  const options = ['--detach', '--config', file, '--base-port', String(mesh.basePort), ...server];
  const answer = await ask<Status>(mesh, 'up', ...options);
  if ('value' in answer) return outputsOf(mesh, answer.value);
  // What runs already is somebody's; anything else was begun here, and a failed start leaves nothing behind.
  if (answer.code !== 'ALREADY_RUNNING') await ask(mesh, 'down');
  throw new Error(answer.message);
}

async function stop(mesh: MeshInputs, ...options: string[]): Promise<void> {
  const answer = await ask(mesh, 'down', ...options);
  if (!('value' in answer)) throw new Error(answer.message);
}

function outputsOf(mesh: MeshInputs, status: Status): MeshOutputs {
  const fs = require('node:fs') as typeof Fs;
  const path = require('node:path') as typeof Path;
  const endpoints = status.regions.map(({ name, redis, replicas, agent }): [string, LocalEndpoint] => [
    name,
    {
      host: redis.host,
      port: redis.port,
      replicaPorts: replicas.map(({ port }) => port),
      agentUrl: agent.admin === null ? '' : agent.admin,
    },
  ]);
  return {
    program: mesh.program,
    version: mesh.version,
    stack: mesh.stack,
    stateDir: mesh.stateDir,
    basePort: mesh.basePort,
    redisServer: mesh.redisServer,
    config: mesh.config,
    purge: mesh.purge,
    endpoints: Object.fromEntries(endpoints),
    password: fs.readFileSync(path.join(mesh.stateDir, 'password'), 'utf8').trim(),
  };
}

/** Names of the regions in a config. */
function regionsOf({ config }: MeshInputs): string[] {
  const { config: sections } = JSON.parse(config) as { config: { 'meridian:regions': { name: string }[] } };
  return sections['meridian:regions'].map(({ name }) => name);
}

/** What a region that leaves still holds alone would be lost. */
async function untilConverged(mesh: MeshInputs, leaving: string[]): Promise<void> {
  const { setTimeout: sleep } = require('node:timers/promises') as typeof Timers;
  const deadline = Date.now() + 15000;
  for (let pauseMs = 200; !(await statusOf(mesh))?.converged; pauseMs = Math.min(pauseMs * 1.5, 2000)) {
    if (Date.now() > deadline) {
      throw new Error(
        `${leaving.join(' and ')} can't leave: the others may not have all of its changes (\`meridian status\`). ` +
          `Heal the links, and deploy again; or stop the mesh (\`meridian down\`), and what only it has is lost.`,
      );
    }
    await sleep(pauseMs);
  }
}

function isSame(a: MeshInputs, b: MeshInputs): boolean {
  const { program, version, basePort, redisServer, config } = a;
  return (
    program === b.program &&
    version === b.version &&
    basePort === b.basePort &&
    redisServer === b.redisServer &&
    config === b.config
  );
}

/** Creates, watches and ends the processes of a mesh on this machine. */
export const provider: pulumi.dynamic.ResourceProvider<MeshInputs, MeshOutputs> = {
  /** A mesh that doesn't run is a difference, so that `pulumi up` starts it again after the machine was switched off. */
  diff: async (_id, olds, news) => {
    const replaces = [
      ...(olds.stack === news.stack ? [] : ['stack']),
      ...(olds.stateDir === news.stateDir ? [] : ['stateDir']),
    ];
    const isChanged = replaces.length > 0 || !isSame(olds, news) || olds.purge !== news.purge;
    const changes = isChanged || (await statusOf(olds).catch(() => undefined)) === undefined;
    // The ports of the old one are those of the new one.
    return { changes, replaces, deleteBeforeReplace: true };
  },

  create: async (inputs) => {
    await build(inputs);
    return { id: inputs.stateDir, outs: await start(inputs) };
  },

  read: async (id, props) => {
    const status = props === undefined ? undefined : await statusOf(props);
    return props === undefined || status === undefined ? { id: '' } : { id, props: outputsOf(props, status) };
  },

  /** Restarts all processes where anything has changed; the data stays, but that of a region that leaves. */
  update: async (_id, olds, news) => {
    await build(news);
    // By the program that there is: the old one's package may have been moved or replaced.
    const running = Object.assign({}, olds, { program: news.program });
    const status = await statusOf(running);
    if (status !== undefined && isSame(olds, news)) return { outs: outputsOf(news, status) };
    const stays = regionsOf(news);
    const leaving = regionsOf(olds).filter((name) => !stays.includes(name));
    if (status !== undefined && leaving.length > 0) await untilConverged(running, leaving);
    await stop(running, ...(leaving.length > 0 ? ['--forget', leaving.join(',')] : []));
    return { outs: await start(news) };
  },

  delete: (_id, props) => stop(props, ...(props.purge ? ['--purge'] : [])),
};
