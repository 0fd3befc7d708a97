import { existsSync } from 'node:fs';

import { type AgentDryRun, type AgentStatus, askAgent } from './agent-status';
import { type SupervisorView, askView } from './control';
import { commandOf } from './connect';
import { LocalError } from './errors';
import { type StateDir } from './layout';
import { type ProcessIdentity, isAlive } from './process';
import { type StackState, livingOf, readState, supervisorOf } from './state';

/** What `meridian status --json` prints. */
export interface StackStatus {
  readonly stack: string;
  readonly regions: readonly RegionStatus[];
  /** Every agent active and caught up, every link up, each region heard of lately, nothing to send and nothing pending. */
  readonly converged: boolean;
}

export interface RegionStatus {
  readonly name: string;
  readonly weight: number;
  readonly redis: NodeStatus;
  readonly replicas: readonly NodeStatus[];
  readonly agent: {
    /** URL of its admin endpoint. */
    readonly admin: string | null;
    readonly pid: number | null;
    /** As the agent says; `down` when it doesn't answer, `off` with `up --no-agents`. */
    readonly state: string;
  };
  readonly links: readonly LinkStatus[];
  /** What the region would do; null where it does it, or its agent doesn't answer. */
  readonly dryRun: AgentDryRun | null;
}

export interface NodeStatus {
  readonly host: string;
  readonly port: number;
  /** null while it isn't running. */
  readonly pid: number | null;
}

export interface LinkStatus {
  readonly peer: string;
  readonly state: string;
  readonly lagMs: number | null;
  /** Received from the peer, and not applied yet. */
  readonly pendingOps: number;
  readonly pendingBytes: number;
  /** Of what is for the peer, what it does not have yet, as bytes of the stream. */
  readonly toSendBytes: number;
}

/** A status with what the table shows beside it. */
export interface StackReport {
  readonly status: StackStatus;
  readonly agents: ReadonlyMap<string, AgentStatus>;
  /** Undefined when no supervisor answers. */
  readonly view: SupervisorView | undefined;
  readonly primary: string | undefined;
}

/** @throws LocalError NOT_RUNNING when nothing of the stack runs */
export function requireRunning(dir: StateDir, stack: string): StackState {
  const state = readState(dir);
  if (state === undefined || (supervisorOf(dir) === undefined && livingOf(state).length === 0)) {
    throw new LocalError(
      'NOT_RUNNING',
      `Stack '${stack}' is not running (state in ${dir.root}): start it with \`${commandOf('up', stack, dir)}\`${
        existsSync(dir.root) ? '' : ', or go to the folder where it was started'
      }.`,
    );
  }
  if (state.stack !== stack) {
    throw new LocalError(
      'STATE_DIR',
      `${dir.root} belongs to stack '${state.stack}', not '${stack}': use another --state-dir, or --stack ${state.stack}.`,
    );
  }
  return state;
}

/** Looks at every process, and asks every agent. */
export async function reportOf(dir: StateDir, state: StackState): Promise<StackReport> {
  const [view, ...answers] = await Promise.all([
    askView(dir),
    ...state.regions.map(
      async ({ name, agent }) => [name, state.agents ? await askAgent(agent.admin) : undefined] as const,
    ),
  ]);
  const agents = new Map(answers.flatMap(([name, status]) => (status === undefined ? [] : [[name, status] as const])));
  const regions = state.regions.map((region): RegionStatus => {
    const node = ({ service, host, port }: StackState['regions'][number]['redis']): NodeStatus => ({
      host,
      port,
      pid: livingPid(state.processes[service]),
    });
    const agent = agents.get(region.name);
    return {
      name: region.name,
      weight: region.weight,
      redis: node(region.redis),
      replicas: region.replicas.map(node),
      agent: {
        admin: state.agents ? region.agent.admin : null,
        pid: livingPid(state.processes[region.agent.service]),
        state: state.agents ? (agent?.state ?? 'down') : 'off',
      },
      links: (agent?.links ?? []).map(({ peer, state: link, lagMs, pendingOps, pendingBytes, toSendBytes }) => ({
        ...{ peer, state: link, lagMs, pendingOps, pendingBytes, toSendBytes },
      })),
      dryRun: agent?.dryRun ?? null,
    };
  });
  const status = { stack: state.stack, regions, converged: isConverged(regions, agents) };
  return { status, agents, view, primary: state.regions.find((region) => region.primary)?.name };
}

/** Of a region that nothing was heard of for so long nobody can say what its clients write: its Redis hangs, or is far away. */
const silentMs = 5000;

function isConverged(regions: readonly RegionStatus[], agents: ReadonlyMap<string, AgentStatus>): boolean {
  return regions.every(({ name, agent, links }) => {
    const isQuiet = links.every(
      ({ state, lagMs, pendingOps, pendingBytes, toSendBytes }) =>
        state === 'up' && (lagMs ?? 0) < silentMs && pendingOps + pendingBytes + toSendBytes === 0,
    );
    return agent.state === 'active' && agents.get(name)?.caughtUp === true && links.length > 0 && isQuiet;
  });
}

function livingPid(identity: ProcessIdentity | undefined): number | null {
  return identity !== undefined && isAlive(identity) ? identity.pid : null;
}
