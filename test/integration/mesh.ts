/**
 * A mesh of real processes for tests: per region a redis-server and an agent, as `meridian up` would start them, and a
 * proxy in every dialled link. Everything is on free ports of the loopback and below one temporary directory, and is
 * gone after `stop`, or when the test's process ends.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import Redis, { type RedisOptions } from 'ioredis';
import { ADMIN_TOKEN_FILE } from '../../agent/admin-token';
import { agentNodeOptions } from '../../agent/node-options';
import { type AgentConfigInput } from '../../agent/config';
import { tagOf } from '../../model/slots';
import { PORTS } from '../../agent/free-port';
import { renderAgentConfig } from '../../local/agent-config';
import { provideCertificates } from '../../local/certificates';
import {
  layoutOf,
  type NodeLayout,
  portsOf,
  type RegionLayout,
  type StackLayout,
  stateDirOf,
} from '../../local/layout';
import { packageRoot } from '../../local/package-root';
import { checkPortsFree, loopback } from '../../local/ports';
import { LinkProxy } from '../../local/proxy';
import { findRedisBinary, inspectRedisBinary, type RedisBinary } from '../../local/redis-binary';
import { renderRedisConf } from '../../local/redis-conf';
import { provideSecrets, type Secrets } from '../../local/secrets';
import { compareRegions, type Comparison } from '../../local/verify';
import { clusterAgentRules, ConflictPolicies, parseStackConfig, formatIssues } from '../../model';
import { bySlot } from './by-slot';

const root = packageRoot();
export const agentProgram = path.join(root, 'dist', 'agent', 'main.js');

const startMs = 30_000;
/** Two regions may round a remaining time to live differently. */
const ttlToleranceMs = 100;

export interface MeshOptions {
  /** Names; the first one is the primary. Default: alpha, beta, gamma. */
  regions?: readonly string[];
  /** Which regions are linked. Default: all with all. */
  links?: readonly (readonly [string, string])[];
  /** Regions whose processes start. Default: all. */
  only?: readonly string[];
  /** Whether agents start, too. Default: true. */
  agents?: boolean;
  /** Local replicas of each region; they are started by the test. Default: 0. */
  replicas?: number;
  /** Conflict policies of all regions. Default: none. */
  policies?: NonNullable<NonNullable<AgentConfigInput['conflicts']>['policies']>;
  /** A client's flush stays in its region. Default: it is carried. */
  refusesFlush?: boolean;
  /** Agents begin anew when their config file has changed. */
  reload?: boolean;
  /** Changes an agent's config before it is written. */
  configure?: (config: AgentConfigInput) => void;
  /** Regions that capture by keyspace notifications, with an agent's user that may do no more than at a managed service. Default: none. */
  notifications?: readonly string[];
  /** Redis of every region is a node of a Redis Cluster, and has these slots. Default: with MERIDIAN_TEST_CLUSTER=1 all of them, else it is none. */
  cluster?: string;
  /** The passwords of another mesh: of the other shards. Default: new ones. */
  secrets?: Secrets;
  /** Regions in semi-sync. Default: none. */
  semiSync?: readonly string[];
  /** By how many ms an agent's clock is ahead of this machine's, by region. Default: none is. Redis keeps the machine's. */
  clockAheadMs?: Readonly<Record<string, number>>;
  /** Bytes a second that the disk of an agent's journal takes, by region. Default: what it does take. */
  slowDisk?: Readonly<Record<string, number>>;
  /** More lines of redis.conf, of all regions or of each. */
  redisConf?: readonly string[] | ((region: string) => readonly string[]);
  /** Servers of regions that have another one than the rest. Default: see `binaryOf`. */
  servers?: Readonly<Record<string, RedisBinary>>;
  /** Where all files are, which then stay. Default: a temporary directory, removed at the end. */
  dir?: string;
}

/** A child process that is ended by its pid, and about whose end one can ask. */
class Program {
  private child: ChildProcess | null = null;
  private ended: Promise<string> = Promise.resolve('not started');

  constructor(
    private readonly mesh: Mesh,
    private readonly command: string,
    private readonly args: readonly string[],
    readonly log: string,
  ) {}

  get pid(): number | null {
    return this.child?.pid ?? null;
  }

  get runs(): boolean {
    return this.child !== null;
  }

  /** Resolves with how it ended. */
  get end(): Promise<string> {
    return this.ended;
  }

  start(): void {
    if (this.child !== null) throw new Error(`${this.command} runs already`);
    // A test that has run out of time goes on in the background.
    if (this.mesh.stopped) throw new Error('the mesh is stopped');
    const fd = openSync(this.log, 'a', 0o600);
    const env = { ...process.env };
    for (const name of Object.keys(env)) if (name.startsWith('MERIDIAN_')) delete env[name];
    const child = spawn(this.command, this.args, { stdio: ['ignore', fd, fd], env, cwd: path.dirname(this.log) });
    closeSync(fd);
    this.child = child;
    living.add(child);
    this.ended = new Promise((resolve) => {
      const over = (how: string): void => {
        living.delete(child);
        this.child = null;
        resolve(how);
      };
      child.once('error', (error) => over(error.message));
      child.once('exit', (code, signal) => over(signal ?? `status ${code}`));
    });
  }

  /** Sends the signal, and waits for the end if it is one that ends. SIGKILL follows when SIGTERM doesn't within 15 s. */
  async signal(name: NodeJS.Signals): Promise<void> {
    const { child } = this;
    if (child === null) return;
    child.kill(name);
    if (name !== 'SIGKILL' && name !== 'SIGTERM') return;
    const late = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await this.ended;
    clearTimeout(late);
  }
}

/** Options of Node.js by which a program has another idea of what time it is. */
function clockAhead(ms: number): string[] {
  const code = `const now = Date.now; Date.now = () => now() + ${ms};`;
  return ['--import', `data:text/javascript,${encodeURIComponent(code)}`];
}

/** Options of Node.js by which what a program writes to descriptors (its journal) takes as long as a disk would that takes so many bytes a second. */
function slowDisk(bytesPerSecond: number): string[] {
  const code = `import fs from 'node:fs';
    const { writev } = fs;
    let freeMs = 0;
    fs.writev = (fd, buffers, position, done) => {
      const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
      freeMs = Math.max(freeMs, performance.now()) + (bytes * 1000) / ${bytesPerSecond};
      setTimeout(() => writev(fd, buffers, position, done), freeMs - performance.now());
    };`;
  return ['--import', `data:text/javascript,${encodeURIComponent(code)}`];
}

/** What must not outlive this process, whatever happens in it. */
const living = new Set<ChildProcess>();
const directories = new Set<string>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
  for (const dir of directories) remove(dir);
});

function remove(dir: string): void {
  if (process.env['MERIDIAN_TEST_KEEP'] === undefined) rmSync(dir, { recursive: true, force: true });
}

/** What /status says, as far as tests look at it. */
export interface AgentStatus {
  region: string;
  state: string;
  reason?: string;
  origin: string | null;
  caughtUp: boolean;
  corrections: number;
  deadLetters: number;
  conflicts: { byType: Record<string, number> };
  window: { keys: number; operations: number; unsettled: number };
  links: { peer: string; state: string; lagMs: number | null; via?: string }[];
  vector: Record<string, number>;
  ends: Record<string, number>;
  [other: string]: unknown;
}

export class Region {
  readonly redis: Program;
  readonly agent: Program;
  private readonly clients = new Set<Redis>();
  /** Where its clients connect; changes when another node takes over. */
  port: number;

  constructor(
    readonly mesh: Mesh,
    readonly name: string,
    readonly layout: RegionLayout,
  ) {
    this.port = layout.redis.port;
    this.redis = new Program(mesh, mesh.binaryOf(name).path, [layout.redis.conf], layout.redis.log);
    const aheadMs = mesh.options.clockAheadMs?.[name];
    const diskRate = mesh.options.slowDisk?.[name];
    this.agent = new Program(
      mesh,
      process.execPath,
      [
        ...agentNodeOptions,
        ...(aheadMs === undefined ? [] : clockAhead(aheadMs)),
        ...(diskRate === undefined ? [] : slowDisk(diskRate)),
        agentProgram,
        '--config',
        layout.agent.config,
        ...(mesh.options.reload === true ? ['--reload'] : []),
      ],
      layout.agent.log,
    );
  }

  // ——— processes

  async startRedis(): Promise<void> {
    this.redis.start();
    await answers(this.layout.redis.port, this.mesh.secrets.password, this.redis);
    if (this.mesh.slots !== null) await haveSlots(this.layout.redis.port, this.mesh.secrets.password, this.mesh.slots);
  }

  /** Starts another node of the region, a replica by its configuration file. */
  async startReplica(index = 0): Promise<Program> {
    const node = this.layout.replicas[index]!;
    const replica = new Program(this.mesh, this.mesh.binaryOf(this.name).path, [node.conf], node.log);
    this.mesh.extra.push(replica);
    replica.start();
    await answers(node.port, this.mesh.secrets.password, replica);
    return replica;
  }

  startAgent(): void {
    this.agent.start();
  }

  async restartAgent(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.agent.signal(signal);
    this.startAgent();
  }

  /** The document beside the agent's journal. */
  get metaFile(): string {
    const { slots } = this.mesh;
    return path.join(this.layout.agent.data, slots === null ? 'journal' : `journal-${slots}`, 'meta.json');
  }

  /** Removes the agent's journal, as a lost disk would. */
  forget(): void {
    rmSync(this.layout.agent.data, { recursive: true });
    mkdirSync(this.layout.agent.data);
  }

  /** Changes the agent's config file; it takes effect when the agent starts the next time, with `reload` within seconds. */
  configure(change: (config: AgentConfigInput) => void): void {
    const file = this.layout.agent.config;
    const config = JSON.parse(readFileSync(file, 'utf8')) as AgentConfigInput;
    change(config);
    writeFileSync(file, JSON.stringify(config));
  }

  // ——— what it says

  async http(route: string): Promise<{ status: number; text: string }> {
    const token = path.join(this.layout.agent.data, ADMIN_TOKEN_FILE);
    const response = await fetch(`http://${loopback}:${this.layout.agent.adminPort}${route}`, {
      headers: existsSync(token) ? { authorization: `Bearer ${readFileSync(token, 'utf8').trim()}` } : {},
      signal: AbortSignal.timeout(5000),
    });
    return { status: response.status, text: await response.text() };
  }

  async status(): Promise<AgentStatus> {
    return JSON.parse((await this.http('/status')).text) as AgentStatus;
  }

  /** Waits until the agent takes part. */
  async ready(timeoutMs = startMs): Promise<void> {
    let last = 'nothing';
    await until(
      async () => {
        if (!this.agent.runs)
          throw new Error(`the agent of ${this.name} ended: ${await this.agent.end}\n${this.tail()}`);
        try {
          const { state, reason } = await this.status();
          last = `${state} ${reason ?? ''}`;
          return state === 'active';
        } catch (error) {
          last = String(error);
          return false;
        }
      },
      timeoutMs,
      () => `the agent of ${this.name} is not active but: ${last}\n${this.tail()}`,
    );
  }

  /** The end of the agent's log, for a failure's message. */
  tail(lines = 12): string {
    if (!existsSync(this.layout.agent.log)) return '';
    return readFileSync(this.layout.agent.log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }

  // ——— clients

  /** A client that is closed with the mesh. */
  client(options: RedisOptions = {}): Redis {
    const client = new Redis({
      host: loopback,
      port: this.port,
      password: this.mesh.secrets.password,
      retryStrategy: () => 50,
      maxRetriesPerRequest: null,
      disconnectTimeout: 100,
      ...options,
    });
    client.on('error', () => undefined);
    if (this.mesh.slots !== null) bySlot(client);
    this.clients.add(client);
    client.once('end', () => this.clients.delete(client));
    return client;
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    for (const client of this.clients) client.disconnect();
    await this.agent.signal(signal);
    await this.redis.signal('SIGKILL');
  }
}

export class Mesh {
  readonly regions: Region[];
  readonly proxies: LinkProxy[] = [];
  /** Nodes that tests started beside the regions' primaries. */
  readonly extra: Program[] = [];
  stopped = false;
  private barriers = 0;

  private constructor(
    readonly dir: string,
    readonly layout: StackLayout,
    readonly binary: RedisBinary,
    readonly secrets: Secrets,
    readonly options: MeshOptions,
  ) {
    this.regions = layout.regions.map((region) => new Region(this, region.name, region));
  }

  static async start(options: MeshOptions = {}): Promise<Mesh> {
    buildAgent();
    const binary = findRedisBinary();
    if (binary === undefined) throw new Error('these tests need redis-server on PATH, or MERIDIAN_REDIS_SERVER');
    const dir = options.dir ?? mkdtempSync(path.join(tmpdir(), 'meridian-mesh-'));
    if (options.dir === undefined) directories.add(dir);
    else mkdirSync(dir, { recursive: true });
    const stateDir = stateDirOf(dir);
    const layout = await layOut(options, stateDir);
    if (options.secrets !== undefined) {
      writeFileSync(stateDir.password, options.secrets.password);
      writeFileSync(stateDir.agentPassword, options.secrets.agentPassword);
    }
    const mesh = new Mesh(dir, layout, binary, provideSecrets(stateDir), options);
    try {
      await provideCertificates(layout);
      await mesh.writeConfigs();
      const only = options.only ?? layout.regions.map(({ name }) => name);
      await Promise.all(only.map((name) => mesh.region(name).startRedis()));
      if (options.agents ?? true) await mesh.startAgents(only);
      return mesh;
    } catch (error) {
      await mesh.stop();
      throw error;
    }
  }

  /** The server of a region: all have the same, but where `MERIDIAN_LAST_REDIS_SERVER` names another one for the last of several. */
  binaryOf(name: string): RedisBinary {
    const own = this.options.servers?.[name];
    if (own !== undefined) return own;
    const other = process.env['MERIDIAN_LAST_REDIS_SERVER'];
    const { regions } = this.layout;
    if (other === undefined || regions.length === 1 || regions.at(-1)!.name !== name) return this.binary;
    return inspectRedisBinary(other, 'MERIDIAN_LAST_REDIS_SERVER');
  }

  region(name: string): Region {
    const region = this.regions.find((candidate) => candidate.name === name);
    if (region === undefined) throw new Error(`no region ${name}`);
    return region;
  }

  /** Slots of each region's node; null: Redis is no cluster. */
  get slots(): string | null {
    return this.options.cluster ?? (process.env['MERIDIAN_TEST_CLUSTER'] === '1' ? ALL_SLOTS : null);
  }

  /** Regions whose Redis runs. */
  get running(): Region[] {
    return this.regions.filter((region) => region.redis.runs || region.port !== region.layout.redis.port);
  }

  async startAgents(names: readonly string[] = this.regions.map(({ name }) => name)): Promise<void> {
    for (const name of names) this.region(name).startAgent();
    await this.ready(names);
  }

  async ready(names: readonly string[] = this.regions.map(({ name }) => name)): Promise<void> {
    await Promise.all(names.map((name) => this.region(name).ready()));
  }

  /** Ends everything and removes it. */
  async stop(): Promise<void> {
    this.stopped = true;
    try {
      // At once: what a graceful stop does has its own test.
      await Promise.all(this.regions.map((region) => region.stop('SIGKILL')));
      await Promise.all(this.extra.map((program) => program.signal('SIGKILL')));
      await Promise.all(this.proxies.map((proxy) => proxy.close()));
    } finally {
      if (directories.delete(this.dir)) remove(this.dir);
    }
  }

  /** A server of another kind, which ends with the mesh. */
  program(args: readonly string[], log: string): Program {
    const program = new Program(this, this.binary.path, args, log);
    this.extra.push(program);
    return program;
  }

  // ——— faults

  /** Cuts the links between two regions, or between one and all others. */
  partition(a: string, b?: string): void {
    for (const proxy of this.between(a, b)) proxy.set({ cut: true });
  }

  delay(a: string, b: string, delayMs: number): void {
    for (const proxy of this.between(a, b)) proxy.set({ delayMs });
  }

  /** Undoes `partition` alone. */
  mend(a: string, b?: string): void {
    for (const proxy of this.between(a, b)) proxy.set({ cut: false });
  }

  heal(): void {
    for (const proxy of this.proxies) proxy.set({ cut: false, delayMs: 0 });
  }

  private between(a: string, b?: string): LinkProxy[] {
    return this.proxies.filter(
      ({ from, to }) => (from === a && (b === undefined || to === b)) || (to === a && (b === undefined || from === b)),
    );
  }

  /**
   * Writes that have not seen each other, after what all regions have: `first` while the first region is cut off, `then` behind it, elsewhere.
   * @param pauseMs between both; stamps come from heartbeats, every 25 ms: so the later writes have the higher ones
   */
  async apart(first: () => Promise<unknown>, then: () => Promise<unknown>, pauseMs = 300): Promise<void> {
    await this.waitEqual();
    this.partition(this.regions[0]!.name);
    try {
      await first();
      await sleep(pauseMs);
      await then();
    } finally {
      this.heal();
    }
  }

  // ——— equality

  /**
   * Waits until every region has what all others wrote before, nothing is left to correct, and every key of every
   * database is the same everywhere. @returns the number of keys
   */
  async waitEqual(timeoutMs = 30_000): Promise<number> {
    const deadline = Date.now() + timeoutMs;
    await this.barrier(deadline);
    await this.caughtUp(deadline);
    const left = (): number => Math.max(0, deadline - Date.now());
    const first = await this.compare(left());
    if (!first.equal) throw new Error(`the regions differ:\n${describe(first)}\n${await this.describe()}`);
    // Equal at one moment each is not yet equal: nothing may move any more.
    const second = await this.compare(0);
    if (!second.equal) throw new Error(`the regions were equal, and differ again:\n${describe(second)}`);
    return second.keys;
  }

  /** Each region writes a key of its own, which every other one then has: so has it all that was written before. */
  async barrier(deadline: number): Promise<void> {
    const n = String(++this.barriers);
    const tag = this.slots === null ? '' : `{${tagOf(Number.parseInt(this.slots, 10))}}`;
    const key = (name: string): string => `barrier:${name}${tag}`;
    const clients = this.running.map((region) => ({ name: region.name, client: region.client() }));
    try {
      await Promise.all(clients.map(({ name, client }) => client.set(key(name), n)));
      let missing: string[] = [];
      await until(
        async () => {
          missing = [];
          for (const { name, client } of clients) {
            const values = await client.mget(clients.map((other) => key(other.name)));
            clients.forEach((other, i) => {
              if (values[i] !== n) missing.push(`${other.name}'s at ${name}`);
            });
          }
          return missing.length === 0;
        },
        Math.max(0, deadline - Date.now()),
        async () => `writes did not arrive: ${missing.join(', ')}\n${await this.describe()}`,
      );
    } finally {
      for (const { client } of clients) client.disconnect();
    }
  }

  async caughtUp(deadline: number): Promise<void> {
    await until(
      async () => {
        const all = await Promise.allSettled(this.running.map((region) => region.status()));
        return all.every((said) => said.status === 'fulfilled' && said.value.caughtUp);
      },
      Math.max(0, deadline - Date.now()),
      async () => `the agents have not caught up\n${await this.describe()}`,
    );
  }

  compare(waitMs: number): Promise<Comparison> {
    const { password } = this.secrets;
    const policies = new ConflictPolicies(this.options.policies ?? []);
    const endpoints = this.running.map(({ name, port }) => ({ name, host: loopback, port, password }));
    return compareRegions(endpoints, {
      waitMs,
      toleranceMs: ttlToleranceMs,
      missingIsEqual: false,
      ignores: (db, key) => policies.ignores(db, key),
      limit: 10,
      values: true,
    });
  }

  /** Every agent's state and the end of its log, for a failure's message. */
  async describe(): Promise<string> {
    const parts = await Promise.all(
      this.running.map(async (region) => {
        const status = await region.status().then(
          (found) => JSON.stringify(found),
          (error: unknown) => inspect(error),
        );
        const how = region.agent.runs ? `pid ${region.agent.pid}` : `the agent ended: ${await region.agent.end}`;
        return `--- ${region.name}: ${how}\n${status}\n${region.tail()}`;
      }),
    );
    return parts.join('\n');
  }

  // ——— files

  private async writeConfigs(): Promise<void> {
    const { layout, options } = this;
    const names = layout.regions.map(({ name }) => name);
    const links = options.links ?? names.flatMap((a, i) => names.slice(i + 1).map((b) => [a, b] as const));
    for (const region of layout.regions) {
      for (const node of [region.redis, ...region.replicas]) this.writeRedisConf(region, node);
      mkdirSync(region.agent.data, { recursive: true });
      const peers = [];
      for (const other of layout.regions) {
        if (!links.some((pair) => pair.includes(region.name) && pair.includes(other.name))) continue;
        if (other === region) continue;
        const proxy = new LinkProxy(region.name, other.name, other.agent.peerPort);
        this.proxies.push(proxy);
        peers.push({ region: other.name, host: loopback, port: await proxy.listen() });
      }
      const config = JSON.parse(renderAgentConfig({ layout, region, peers })) as AgentConfigInput;
      if (process.env['MERIDIAN_TEST_LOG'] !== undefined) config.log = { level: 'debug' };
      // Tests cut links again and again, and are no better for what they wait afterwards.
      config.replication = { ...config.replication, maxRedialMs: 200 };
      if (options.policies !== undefined) config.conflicts = { policies: [...options.policies] };
      if (options.refusesFlush === true) config.replication = { ...config.replication, flush: 'refuse' };
      if (this.slots !== null) config.redis.cluster = { slots: this.slots };
      options.configure?.(config);
      writeFileSync(region.agent.config, JSON.stringify(config));
    }
  }

  private writeRedisConf(region: RegionLayout, node: NodeLayout): void {
    mkdirSync(node.dir, { recursive: true });
    const { secrets, options } = this;
    const binary = this.binaryOf(region.name);
    const conf = renderRedisConf({ config: this.layout.config, region, node, binary, secrets, agents: true });
    const { redisConf = [] } = options;
    const lines = [...(typeof redisConf === 'function' ? redisConf(region.name) : redisConf)];
    // A node of a cluster follows another one by CLUSTER REPLICATE only.
    const text =
      this.slots === null
        ? conf
        : conf.replace(/^replicaof .*$/m, '').replace(/^user meridian-agent .*$/m, `$& ${clusterAgentRules.join(' ')}`);
    if (this.slots !== null) lines.push(...clusterConf(region.redis.port + 6 - (node.port - region.redis.port)));
    writeFileSync(node.conf, text + lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  }
}

/** A layout at a base port from which on all ports are free. */
async function layOut(options: MeshOptions, dir: ReturnType<typeof stateDirOf>): Promise<StackLayout> {
  const names = options.regions ?? ['alpha', 'beta', 'gamma'];
  const share = Math.floor(100 / names.length);
  const parsed = parseStackConfig({
    regions: names.map((name, i) => ({
      name,
      weight: i === 0 ? 100 - share * (names.length - 1) : share,
      primary: i === 0,
      backend: 'local',
      replicas: options.replicas ?? 0,
      mode: options.semiSync?.includes(name) === true ? 'semi-sync' : 'async',
      ...(options.notifications?.includes(name) === true ? { capture: 'notifications' } : {}),
    })),
    replication: { mode: 'async', acceptWholeKeyMerge: options.notifications !== undefined },
    redis: { maxmemory: '1gb', appendfsync: 'everysec', minReplicas: { toWrite: 0 } },
    security: { tls: false },
  });
  if (!parsed.ok) throw new Error(formatIssues(parsed.issues));
  const ports = names.length * 10;
  let at = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first - ports));
  for (let attempt = 0; ; attempt++) {
    const layout = layoutOf('test', parsed.config, at, dir);
    try {
      await checkPortsFree(layout.regions.flatMap(portsOf));
      return layout;
    } catch (error) {
      if (attempt === 20) throw error;
      at = PORTS.first + ((at - PORTS.first + 997) % (PORTS.last - PORTS.first - ports));
    }
  }
}

let built = false;

/** The agents run from dist/: `npm test` has built it, a single test started by hand may not have. */
export function buildAgent(): void {
  if (built) return;
  const run = spawnSync(process.execPath, [path.join(root, 'scripts', 'build.mjs')], { cwd: root, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`dist/ cannot be built:\n${run.stdout}${run.stderr}`);
  built = true;
}

async function answers(port: number, password: string, program: Program): Promise<void> {
  const probe = new Redis({ host: loopback, port, password, retryStrategy: () => 30, maxRetriesPerRequest: null });
  probe.on('error', () => undefined);
  try {
    await Promise.race([
      probe.ping(),
      program.end.then((how) => {
        throw new Error(`Redis ended (${how}):\n${readFileSync(program.log, 'utf8').slice(-2000)}`);
      }),
      sleep(startMs, undefined, { ref: false }).then(() => {
        throw new Error(`Redis at ${port} does not answer`);
      }),
    ]);
  } finally {
    probe.disconnect();
  }
}

const ALL_SLOTS = '0-16383';

/** @param busPort on which nodes talk to each other: by default a port that is nobody's here */
function clusterConf(busPort: number): string[] {
  return [
    ...['cluster-enabled yes', 'databases 1', `cluster-port ${busPort}`],
    ...['cluster-node-timeout 1000', 'cluster-require-full-coverage no'],
  ];
}

/** Gives a node its slots, at its first start. */
async function haveSlots(port: number, password: string, slots: string): Promise<void> {
  const client = new Redis({ host: loopback, port, password });
  const info = async (): Promise<string> => String(await client.cluster('INFO'));
  try {
    if ((await info()).includes('cluster_slots_assigned:0'))
      await client.call('CLUSTER', 'ADDSLOTSRANGE', ...slots.split('-'));
    await until(
      async () => (await info()).includes('cluster_state:ok'),
      startMs,
      'a node of a cluster does not answer',
    );
  } finally {
    client.disconnect();
  }
}

/** Waits until `check` holds. */
export async function until(
  check: () => Promise<boolean> | boolean,
  timeoutMs: number,
  what: string | (() => string | Promise<string>),
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (let pause = 10; ; pause = Math.min(pause * 1.5, 200)) {
    if (await check()) return;
    if (Date.now() > deadline)
      throw new Error(`${typeof what === 'string' ? what : await what()}\n(within ${timeoutMs} ms)`);
    await sleep(pause);
  }
}

function describe(comparison: Comparison): string {
  const lines = comparison.differences.map(({ db, key, regions }) => {
    const each = regions.map(
      ({ name, type, size, expiresAtMs, preview }) =>
        `    ${name}: ${type} of ${size}, ${expiresAtMs ?? 'no'} expiry, ${preview ?? ''}`,
    );
    return `  ${JSON.stringify(key.toString('latin1'))} in ${db}\n${each.join('\n')}`;
  });
  const { libraries } = comparison;
  for (const { name, regions } of libraries.differences) {
    const each = regions.map(({ name, engine, size, digest }) => `    ${name}: ${engine}, ${size} bytes, ${digest}`);
    lines.push(`  library ${name}\n${each.join('\n')}`);
  }
  const counts = `${comparison.differing} of ${comparison.keys} keys, ${libraries.differing} of ${libraries.compared} libraries`;
  return `${counts}\n${lines.join('\n')}`;
}

/** Numbers that look random and are the same in every run. */
export class Dice {
  constructor(private state: number) {}

  /** From 0 up to, not including, `n`. */
  below(n: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  bytes(n: number): Buffer {
    const out = Buffer.allocUnsafe(n);
    for (let i = 0; i < n; i++) out[i] = this.below(256);
    return out;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Longer versions of the tests: MERIDIAN_LONG=1. */
export const isLong = process.env['MERIDIAN_LONG'] === '1';
