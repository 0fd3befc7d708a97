import { EventEmitter } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { agentEnvironment, agentNodeOptions } from '../agent/node-options';
import { RedisConnection, ReplyError } from '../agent/resp';
import { peersOf, topologyOf } from '../model';
import { renderAgentConfig } from './agent-config';
import { askAgent } from './agent-status';
import { provideCertificates } from './certificates';
import { commandOf } from './connect';
import { ControlServer, type SupervisorView, requestJson } from './control';
import { LocalError, errorText } from './errors';
import { Faults } from './faults';
import { makeDir, readIfThere, writeAtomically } from './files';
import { type NodeLayout, type RegionLayout, type StackLayout, agentPortsOf, portsOf } from './layout';
import { checkPortsFree, loopback } from './ports';
import { type ProcessIdentity, endProcess } from './process';
import { LinkProxy } from './proxy';
import { type RedisBinary } from './redis-binary';
import { agentUser, renderRedisConf } from './redis-conf';
import { type Secrets, provideSecrets } from './secrets';
import { Service, type ServiceSpec, lastLines } from './service';
import { packageRoot } from './package-root';
import { type StackState, livingOf, readState, releaseLock, stateOf, takeLock, writeState } from './state';

export interface SupervisorOptions {
  readonly layout: StackLayout;
  /** Per region. */
  readonly binaries: ReadonlyMap<string, RedisBinary>;
  /** False: Redis only, nothing is carried between the regions. */
  readonly agents: boolean;
}

interface SupervisorEvents {
  /** Something a person may want to know, one line. */
  notice: [text: string];
  /** The state of a service changed. */
  change: [];
}

const redisGraceMs = 10_000;
const agentGraceMs = 8000;
/** Ends before it first served, after which an agent counts as unable to start. A Redis that ends at once won't do better the next time. */
const failedStartsMax = { agent: 3, redis: 1 } as const;

/** Runs all processes of a stack, and what stands between them. */
export class Supervisor extends EventEmitter<SupervisorEvents> {
  private readonly layout: StackLayout;
  private readonly services = new Map<string, Service>();
  private readonly served = new Set<string>();
  private readonly proxies: LinkProxy[] = [];
  private readonly faults: Faults;
  private readonly control: ControlServer;
  private readonly state: StackState;
  private allStarted = false;
  private starting: Promise<void> = Promise.resolve();
  private stopping: Promise<void> | undefined;

  constructor(private readonly options: SupervisorOptions) {
    super();
    this.layout = options.layout;
    this.state = stateOf(this.layout, options.agents);
    const names = this.layout.regions.map((region) => region.name);
    this.faults = new Faults(names, this.proxies, this.services);
    this.control = new ControlServer(this.layout.dir, {
      view: () => this.view(),
      fault: (request) => {
        const done = this.faults.apply(request);
        this.emit('notice', done);
        return done;
      },
    });
  }

  /**
   * Starts everything; returns when all processes are started, which is before they serve. When it throws, what it had
   * started is stopped again.
   * @throws LocalError
   */
  async start(): Promise<void> {
    const { dir, stack } = this.layout;
    makeDir(dir.root);
    takeLock(dir, stack);
    try {
      this.starting = this.bringUp();
      await this.starting;
      this.allStarted = this.stopping === undefined;
    } catch (error) {
      await this.stop(true);
      throw error;
    }
  }

  /** Waits until everything has served. @throws LocalError START_FAILED when something can't */
  async untilReady(): Promise<void> {
    while (!this.isReady && this.stopping === undefined) {
      for (const service of this.services.values()) this.checkStart(service);
      await sleep(20);
    }
  }

  /** Everything has served, and nobody wants it to end. */
  get isReady(): boolean {
    return this.allStarted && this.stopping === undefined && this.served.size === this.services.size;
  }

  /** Starts of anything that isn't serving yet, for a person. */
  get waitingFor(): string[] {
    return [...this.services.values()]
      .filter((service) => service.state !== 'ready')
      .map(({ spec, state, detail }) => `${spec.name} (${detail === '' ? state : detail})`);
  }

  view(): SupervisorView {
    return {
      ready: this.isReady,
      faults: this.faults.active(),
      services: [...this.services.values()].map(({ spec, state, detail }) => ({ name: spec.name, state, detail })),
    };
  }

  /** Ends everything that was started, agents first; a second call with `atOnce` ends the patience of the first. */
  stop(atOnce = false): Promise<void> {
    if (this.stopping !== undefined && atOnce) for (const service of this.services.values()) void service.stop(true);
    return (this.stopping ??= this.bringDown(atOnce));
  }

  // --- Up ----------------------------------------------------------------------------------------------------------------

  private async bringUp(): Promise<void> {
    const { layout, options } = this;
    const { dir } = layout;
    const secrets = provideSecrets(dir);
    this.tellLeft();
    const confs = this.renderConfs(secrets);
    const adopted = await this.takeOver(confs);
    const wanted = layout.regions.flatMap((region) =>
      options.agents ? portsOf(region) : portsOf(region).slice(0, -agentPortsOf(region).length),
    );
    const adoptedPorts = new Set(
      [...confs.values()].filter(({ node }) => adopted.has(node.service)).map(({ node }) => node.port),
    );
    await checkPortsFree(wanted.filter(({ port }) => !adoptedPorts.has(port)));
    if (this.stopping !== undefined) return;

    for (const { node, text } of confs.values()) {
      makeDir(node.dir);
      writeAtomically(node.conf, text);
    }
    for (const { node, region } of confs.values()) this.add(this.redisSpec(node, region, secrets));
    writeState(dir, this.state);
    for (const [name, service] of this.services) {
      const identity = adopted.get(name);
      if (identity === undefined) service.start();
      else service.adopt(identity);
    }
    // The Redis processes load their data while we prepare the rest.
    await this.control.listen();
    if (!options.agents || this.stopping !== undefined) return;
    await this.startAgents();
  }

  /** Regions of an earlier start hold data that this one does not show. */
  private tellLeft(): void {
    const { dir, regions, stack } = this.layout;
    const there = existsSync(dir.regions) ? readdirSync(dir.regions) : [];
    const left = there.filter((name) => regions.every((region) => region.name !== name)).sort();
    if (left.length === 0) return;
    this.emit(
      'notice',
      `what an earlier start had in ${left.join(', ')} is left alone: \`${commandOf('down', stack, dir)} --forget ${left.join(',')}\` removes it`,
    );
  }

  private renderConfs(secrets: Secrets): Map<string, { region: RegionLayout; node: NodeLayout; text: string }> {
    const { config, regions } = this.layout;
    return new Map(
      regions.flatMap((region) =>
        [region.redis, ...region.replicas].map((node) => {
          const text = renderRedisConf({
            config,
            region,
            node,
            binary: this.binaryOf(region),
            secrets,
            agents: this.options.agents,
          });
          return [node.service, { region, node, text }] as const;
        }),
      ),
    );
  }

  /**
   * Finds what an earlier supervisor left behind when it was killed. A Redis that would be started just so again goes on
   * running; anything else is ended.
   * @returns the processes to go on with, by service
   */
  private async takeOver(
    confs: ReadonlyMap<string, { node: NodeLayout; text: string }>,
  ): Promise<Map<string, ProcessIdentity>> {
    const before = readState(this.layout.dir);
    if (before === undefined) return new Map();
    if (before.stack !== this.layout.stack) {
      throw new LocalError(
        'STATE_DIR',
        `${this.layout.dir.root} belongs to stack '${before.stack}': use another --state-dir, or remove it with \`meridian down --purge --stack ${before.stack} --state-dir ${this.layout.dir.root}\`.`,
      );
    }
    const living = livingOf(before);
    const kept = new Map(
      living.filter(([name]) => {
        const conf = confs.get(name);
        return conf !== undefined && readIfThere(conf.node.conf) === conf.text;
      }),
    );
    const rest = living.filter(([name]) => !kept.has(name));
    if (living.length > 0) {
      const list = (names: string[]): string => (names.length === 0 ? 'none' : names.join(', '));
      this.emit(
        'notice',
        `an earlier supervisor was killed; taking over: ${list([...kept.keys()])}; ending first: ${list(rest.map(([name]) => name))}`,
      );
    }
    await endAll(rest);
    return kept;
  }

  private async startAgents(): Promise<void> {
    const { layout } = this;
    const names = layout.regions.map((region) => region.name);
    const program = path.join(packageRoot(), 'dist', 'agent', 'main.js');
    if (!existsSync(program)) {
      throw new LocalError('START_FAILED', `${program} is missing: build it with \`npm run build\`.`);
    }
    const byName = new Map(layout.regions.map((region) => [region.name, region]));
    const certificates = provideCertificates(layout);
    await Promise.all(
      layout.regions.map(async (region) => {
        const peers = await Promise.all(
          peersOf(region.name, topologyOf(layout.config), names).map(async (peer) => {
            const proxy = new LinkProxy(region.name, peer, byName.get(peer)?.agent.peerPort ?? 0);
            this.proxies.push(proxy);
            return { region: peer, host: loopback, port: await proxy.listen() };
          }),
        );
        makeDir(region.agent.dir);
        writeAtomically(region.agent.config, renderAgentConfig({ layout, region, peers }));
      }),
    );
    await certificates;
    if (this.stopping !== undefined) return;
    for (const region of layout.regions) this.add(this.agentSpec(region, program)).start();
  }

  private redisSpec(node: NodeLayout, region: RegionLayout, secrets: Secrets): ServiceSpec {
    return {
      name: node.service,
      command: this.binaryOf(region).path,
      args: [node.conf],
      cwd: node.dir,
      log: node.log,
      graceMs: redisGraceMs,
      probe: () => probeRedis(node.port, secrets),
    };
  }

  private agentSpec(region: RegionLayout, program: string): ServiceSpec {
    return {
      name: region.agent.service,
      command: process.execPath,
      args: [...agentNodeOptions, program, '--config', region.agent.config],
      cwd: region.agent.dir,
      env: { NODE_COMPILE_CACHE: this.layout.dir.cache, ...agentEnvironment, ...process.env },
      log: region.agent.log,
      graceMs: agentGraceMs,
      probe: () => probeAgent(region.agent.adminPort),
    };
  }

  private binaryOf(region: RegionLayout): RedisBinary {
    const binary = this.options.binaries.get(region.name);
    if (binary === undefined) throw new LocalError('BINARY', `No Redis server is known for ${region.name}.`);
    return binary;
  }

  private add(spec: ServiceSpec): Service {
    const service = new Service(spec);
    this.services.set(spec.name, service);
    service.on('process', (identity) => {
      this.state.processes[spec.name] = identity;
      this.remember();
    });
    service.on('state', (state) => {
      if (state === 'ready') this.served.add(spec.name);
      this.emit('change');
    });
    service.on('notice', (text) => this.emit('notice', text));
    return service;
  }

  private checkStart(service: Service): void {
    const { name, log } = service.spec;
    const max = name.endsWith('/agent') ? failedStartsMax.agent : failedStartsMax.redis;
    if (this.served.has(name) || service.failedStarts < max) return;
    const why = lastLines(log, 1).trim();
    throw new LocalError(
      'START_FAILED',
      `${name} does not start: it ${service.lastEnd}${why === '' ? '' : `, and the last line of its log is "${why}"`}; see ${log}.`,
    );
  }

  // --- Down --------------------------------------------------------------------------------------------------------------

  private async bringDown(atOnce: boolean): Promise<void> {
    // A start that is under way ends at its next step; what it has begun until then is ended here.
    await this.starting.catch(() => undefined);
    const all = [...this.services.values()];
    for (const stage of stages(all, (service) => service.spec.name)) {
      await Promise.all(stage.map((service) => service.stop(atOnce)));
    }
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    await this.control.close();
    // A start that was refused has nothing to forget: the processes in the file may be another's.
    if (all.length > 0) {
      this.state.processes = {};
      this.remember();
    }
    releaseLock(this.layout.dir);
  }

  /** A state dir that was removed under a running stack is no reason to leave its processes alone. */
  private remember(): void {
    try {
      writeState(this.layout.dir, this.state);
    } catch (error) {
      this.emit('notice', `${this.layout.dir.state} can't be written: ${errorText(error)}`);
    }
  }
}

/** Agents end first, while their Redis still answers; then replicas, for whom a primary would wait; then primaries. */
export function stages<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
): [agents: T[], replicas: T[], primaries: T[]] {
  const kind = (item: T): string => nameOf(item).split('/').at(-1) ?? '';
  return [
    items.filter((item) => kind(item) === 'agent'),
    items.filter((item) => kind(item).startsWith('replica-')),
    items.filter((item) => kind(item) === 'redis'),
  ];
}

/** Ends processes that are no children of ours, in the right order. @returns those that had to be killed */
export async function endAll(processes: readonly [service: string, identity: ProcessIdentity][]): Promise<string[]> {
  const killed: string[] = [];
  for (const stage of stages(processes, ([name]) => name)) {
    await Promise.all(
      stage.map(async ([name, identity]) => {
        const graceMs = name.endsWith('/agent') ? agentGraceMs : redisGraceMs;
        if ((await endProcess(identity, graceMs)) === 'killed') killed.push(name);
      }),
    );
  }
  return killed;
}

async function probeRedis(port: number, { agentPassword: password }: Secrets): Promise<string> {
  const connection = await RedisConnection.connect({
    host: loopback,
    port,
    username: agentUser,
    password,
    connectTimeoutMs: 2000,
  });
  try {
    const reply = await connection.call('PING');
    if (!(reply instanceof ReplyError)) return 'ready';
    return reply.code === 'LOADING' ? 'loading its data' : reply.message;
  } finally {
    connection.close();
  }
}

async function probeAgent(port: number): Promise<string> {
  const { status } = await requestJson({ host: loopback, port, path: '/readyz' }, '', 2000);
  if (status === 200) return 'ready';
  const now = await askAgent(`http://${loopback}:${port}`);
  return now === undefined ? 'starting' : now.reason === undefined ? now.state : `${now.state}: ${now.reason}`;
}
