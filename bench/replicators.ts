/** What is compared: Meridian's agents, or another program that copies one Redis to another. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../agent/free-port';
import { type AgentConfigInput } from '../agent/config';
import { agentEnvironment, agentNodeOptions } from '../agent/node-options';
import { createCa, issueCertificate } from '../agent/peers/certificates';
import { type Watched } from './cpu';
import { HOST, type Place, type RedisServer } from './servers';

export interface Replicator {
  readonly name: string;
  /** Started so far. */
  readonly processes: readonly Watched[];
  /** Starts everything, and waits until it is ready. */
  start(): Promise<void>;
  /** Starts what can run before there is anything at the last server. */
  startOthers(): Promise<void>;
  /** Then: what fills the last server. */
  startLast(): Promise<void>;
}

export interface MeridianOptions {
  /** Where each agent leaves a CPU profile when it ends. */
  readonly profileDir?: string;
  /** An agent's `limits.windowBytes`, in MiB. Default: its own. */
  readonly windowMib?: number;
}

const STACK = 'bench';
const READY_MS = 60_000;
/** A full sync comes before an agent is ready. */
const SYNC_MS = 600_000;

/** One agent beside each server, all connected with each other; every setting but the addresses is the default, unless the options say otherwise. */
export class Meridian implements Replicator {
  readonly name = 'meridian';
  readonly processes: Watched[] = [];

  private constructor(
    private readonly place: Place,
    private readonly agents: readonly { region: string; config: string; admin: number }[],
    private readonly options: MeridianOptions,
  ) {}

  static async prepare(place: Place, servers: readonly RedisServer[], options: MeridianOptions): Promise<Meridian> {
    const ca = await createCa({ stack: STACK });
    const regions = await Promise.all(
      servers.map(async (server) => ({ server, peer: await freePort(), admin: await freePort() })),
    );
    const agents = await Promise.all(
      regions.map(async ({ server, peer, admin }) => {
        const dir = place.folder(`${server.name}-agent`);
        const issued = await issueCertificate(ca, { stack: STACK, region: server.name });
        const file = (name: string, content: string): string => {
          const at = path.join(dir, name);
          writeFileSync(at, content, { mode: 0o600 });
          return at;
        };
        const config: AgentConfigInput = {
          stack: STACK,
          region: server.name,
          members: regions.map((region, i) => ({ name: region.server.name, weight: 0, primary: i === 0 })),
          redis: { host: HOST, port: server.port },
          listen: { peer: { host: HOST, port: peer }, admin: { host: HOST, port: admin } },
          peers: regions
            .filter((region) => region.server !== server)
            .map((region) => ({ region: region.server.name, host: HOST, port: region.peer })),
          tls: {
            caFile: file('ca.pem', issued.ca),
            certFile: file('cert.pem', issued.cert),
            keyFile: file('key.pem', issued.key),
          },
          stateDir: path.join(dir, 'state'),
          log: { level: 'info' },
          ...(options.windowMib === undefined ? {} : { limits: { windowBytes: options.windowMib * 1024 ** 2 } }),
        };
        return { region: server.name, config: file('config.json', JSON.stringify(config)), admin };
      }),
    );
    return new Meridian(place, agents, options);
  }

  async start(): Promise<void> {
    for (const agent of this.agents) this.launch(agent);
    for (const agent of this.agents) await this.ready(agent, SYNC_MS);
  }

  async startOthers(): Promise<void> {
    for (const agent of this.agents.slice(0, -1)) this.launch(agent);
    const first = this.agents[0];
    if (first !== undefined && this.agents.length > 1) await this.ready(first, SYNC_MS);
  }

  async startLast(): Promise<void> {
    this.launch(this.agents[this.agents.length - 1]!);
    for (const agent of this.agents) await this.ready(agent, SYNC_MS);
  }

  private launch({ region, config }: (typeof this.agents)[number]): void {
    const { profileDir } = this.options;
    const profile =
      profileDir === undefined
        ? []
        : [
            '--cpu-prof',
            `--cpu-prof-dir=${path.resolve(profileDir)}`,
            `--cpu-prof-name=${region}-${Date.now()}.cpuprofile`,
          ];
    const main = path.join(__dirname, '..', 'agent', 'main.js');
    const name = `${region}-agent`;
    const args = [...agentNodeOptions, ...profile, main, '--config', config];
    const child = this.place.spawn(name, process.execPath, args, agentEnvironment);
    this.processes.push({ name, pid: child.pid ?? -1 });
  }

  private async ready({ region, admin }: (typeof this.agents)[number], timeoutMs: number): Promise<void> {
    const check = async (): Promise<boolean> => {
      try {
        return (await fetch(`http://${HOST}:${admin}/readyz`, { signal: AbortSignal.timeout(READY_MS) })).ok;
      } catch {
        return false; // not listening yet
      }
    };
    await this.place.until(`the agent of ${region} is ready`, check, timeoutMs, 50);
  }
}

/** RedisShake, one way: it reads the first server as a replica, and writes to the second. */
export class RedisShake implements Replicator {
  readonly name = 'redis-shake';
  readonly processes: Watched[] = [];

  constructor(
    private readonly place: Place,
    private readonly binary: string,
    private readonly from: RedisServer,
    private readonly to: RedisServer,
  ) {}

  start(): Promise<void> {
    return this.startLast();
  }

  async startOthers(): Promise<void> {
    // There is only one process.
  }

  /** Every option that the documentation gives a default is left at it. */
  async startLast(): Promise<void> {
    const dir = this.place.folder('redis-shake-data');
    const config = path.join(this.place.dir, 'redis-shake.toml');
    const lines = [
      '[sync_reader]',
      `address = "${HOST}:${this.from.port}"`,
      '',
      '[redis_writer]',
      `address = "${HOST}:${this.to.port}"`,
      '',
      '[advanced]',
      `dir = ${JSON.stringify(dir)}`,
    ];
    writeFileSync(config, `${lines.join('\n')}\n`);
    const child = this.place.spawn('redis-shake', this.binary, [config]);
    this.processes.push({ name: 'redis-shake', pid: child.pid ?? -1 });
  }
}
