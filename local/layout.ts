import path from 'node:path';

import { basePortMax, portsPerRegion, type RegionConfig, type StackConfig } from '../model';
import { LocalError } from './errors';
import { type WantedPort } from './ports';

/**
 * Where everything of a local stack is: a function of its config, so that every command finds what `up` made.
 *
 * Ports: each region has ten in a row from the base port on. With the default, the first region's Redis is at 7500, the
 * second's at 7510, and so on. All listen on 127.0.0.1 only.
 */
const offsets = { redis: 0, replica: 1, replicasMax: 6, agentRedis: 7, peer: 8, admin: 9 } as const;

export interface NodeLayout {
  /** Unique in the stack: `us-west-2/redis`, `us-west-2/replica-1`. */
  readonly service: string;
  readonly port: number;
  /** Holds data/ and redis.conf. */
  readonly dir: string;
  readonly conf: string;
  readonly log: string;
}

export interface AgentLayout {
  /** `us-west-2/agent`. */
  readonly service: string;
  /** Where other agents reach it, through their proxies. */
  readonly peerPort: number;
  /** HTTP: /healthz, /readyz, /status, /metrics. */
  readonly adminPort: number;
  /** Where it answers PING and INFO as the replica that it is for Redis. */
  readonly redisPort: number;
  readonly dir: string;
  readonly config: string;
  /** Its journal and cursors. */
  readonly data: string;
  readonly log: string;
}

export interface RegionLayout {
  readonly name: string;
  readonly weight: number;
  readonly primary: boolean;
  readonly config: RegionConfig;
  readonly redis: NodeLayout;
  readonly replicas: readonly NodeLayout[];
  readonly agent: AgentLayout;
}

export interface StackLayout {
  readonly stack: string;
  readonly config: StackConfig;
  readonly basePort: number;
  readonly dir: StateDir;
  readonly regions: readonly RegionLayout[];
}

/** The files of a state dir. */
export interface StateDir {
  readonly root: string;
  readonly state: string;
  /** The stack's config, where a program wrote it for `up --config`. */
  readonly config: string;
  readonly lock: string;
  /** How to reach the supervisor: port and token. */
  readonly control: string;
  readonly supervisorLog: string;
  /** Of the users that people and applications log in with. */
  readonly password: string;
  /** Of the agents and replicas. */
  readonly agentPassword: string;
  readonly certs: string;
  /** Node's cache of compiled code, for faster starts (Node 22 on). */
  readonly cache: string;
  readonly regions: string;
}

export function stateDirOf(root: string): StateDir {
  const at = (name: string): string => path.join(root, name);
  return {
    root,
    state: at('state.json'),
    config: at('config.json'),
    lock: at('lock'),
    control: at('control.json'),
    supervisorLog: at('supervisor.log'),
    password: at('password'),
    agentPassword: at('agent-password'),
    certs: at('certs'),
    cache: at('cache'),
    regions: at('regions'),
  };
}

/** @throws LocalError BAD_ARGUMENT when the regions don't fit between the base port and 65535 */
export function layoutOf(stack: string, config: StackConfig, basePort: number, dir: StateDir): StackLayout {
  const last = basePort + config.regions.length * portsPerRegion - 1;
  if (basePort < 1 || last > 65_535) {
    throw new LocalError(
      'BAD_ARGUMENT',
      `${config.regions.length} regions need ports ${basePort} to ${last}: choose a base port (local.basePort of the config, or --base-port) from 1 to ${basePortMax(config.regions.length)}.`,
    );
  }
  const regions = config.regions.map((region, i) => regionLayout(region, basePort + i * portsPerRegion, dir));
  return { stack, config, basePort, dir, regions };
}

/** Where the agent of a region keeps its journal, and all else of its own. */
export function agentDataOf(dir: StateDir, region: string): string {
  return path.join(dir.regions, region, 'agent', 'data');
}

function regionLayout(region: RegionConfig, base: number, dir: StateDir): RegionLayout {
  if (region.replicas > offsets.replicasMax) {
    throw new LocalError('BAD_ARGUMENT', `At most ${offsets.replicasMax} replicas of a region have ports here.`);
  }
  const root = path.join(dir.regions, region.name);
  const node = (name: string, port: number): NodeLayout => ({
    service: `${region.name}/${name}`,
    port,
    dir: path.join(root, name),
    conf: path.join(root, name, 'redis.conf'),
    log: path.join(root, `${name}.log`),
  });
  const agentDir = path.join(root, 'agent');
  return {
    name: region.name,
    weight: region.weight,
    primary: region.primary,
    config: region,
    redis: node('redis', base + offsets.redis),
    replicas: Array.from({ length: region.replicas }, (_, i) => node(`replica-${i + 1}`, base + offsets.replica + i)),
    agent: {
      service: `${region.name}/agent`,
      peerPort: base + offsets.peer,
      adminPort: base + offsets.admin,
      redisPort: base + offsets.agentRedis,
      dir: agentDir,
      config: path.join(agentDir, 'config.json'),
      data: agentDataOf(dir, region.name),
      log: path.join(root, 'agent.log'),
    },
  };
}

/** Every port that must be free before a region can start. */
export function portsOf(region: RegionLayout): WantedPort[] {
  return [
    { port: region.redis.port, use: `Redis of ${region.name}` },
    ...region.replicas.map((node, i) => ({ port: node.port, use: `replica ${i + 1} of ${region.name}` })),
    ...agentPortsOf(region),
  ];
}

export function agentPortsOf(region: RegionLayout): WantedPort[] {
  return [
    { port: region.agent.redisPort, use: `the replica face of ${region.name}'s agent` },
    { port: region.agent.peerPort, use: `peers of ${region.name}'s agent` },
    { port: region.agent.adminPort, use: `admin endpoint of ${region.name}'s agent` },
  ];
}
