/**
 * The world of one seed: regions with clients, Redis, agent and links, and a scheduler that lets anything happen between any
 * two steps. When the storm is over everything heals, and what there is then is checked (`checks/`).
 */
import { setHashKey } from '../../agent/merge/key-hash';
import { type OpRecord, regionOf } from '../../agent/record';
import { ConflictPolicies, type ConflictPolicyRule } from '../../model';
import { SimAgent } from './agent';
import { ForeignHand } from './applier';
import { check } from './checks';
import type { Ended, Exposed } from './checks/ended';
import { Clients } from './clients';
import { crash, failover, outage, restart, resync } from './faults';
import { join, leave } from './membership';
import { onlyStreams, type Profile, profileOf } from './profile';
import { Random } from './random';
import { CommandFailed, type Entry, Redis } from './redis';
import type { Region } from './region';
import { operationsOf, type RuleOp, sameSeen } from './rule';
import { idsIn } from './stream';

export interface Outcome {
  events: number;
  operations: number;
  crashes: number;
  restarts: number;
  failovers: number;
  outages: number;
  resyncs: number;
  leaves: number;
  joins: number;
  settlements: number;
  corrections: number;
  conflicts: number;
  refusals: number;
  trespasses: number;
}

export class SimFailure extends Error {
  constructor(
    readonly seed: number,
    message: string,
    readonly trace: readonly string[],
    /** Numbers of the events that had happened. */
    readonly events: readonly number[],
  ) {
    super(message);
  }
}

export interface WorldOptions {
  readonly regions?: number;
  /** Families and faults of the profile that take no part. */
  readonly without?: readonly string[];
  /** Numbers of the events that happen; the others only take their time. */
  readonly only?: ReadonlySet<number>;
  /** Of keys that are not replicated. */
  readonly policies?: readonly ConflictPolicyRule[];
  /** Clients write streams alone, and no region keeps what it knows of them in memory. */
  readonly streams?: boolean;
  readonly print?: (line: string) => void;
}

const NAMES = ['eu', 'us', 'ap', 'sa', 'in'];
const REST_ROUNDS_MAX = 1500;

/** In half of the regions memory has to do; in others next to nothing stays there, and what goes goes by one or by many. */
const SHELVES = [
  undefined,
  { budgetBytes: 0, operations: 1 },
  undefined,
  { budgetBytes: 0, operations: 1000 },
  undefined,
  { budgetBytes: 4000, operations: 3 },
];
/** Of these, in some keys go by their elements, in some as wholes, and in some it hangs on what they hold. */
const LARGE_BYTES = [0, Infinity, 0, 1500];

export class World {
  readonly random: Random;
  readonly profile: Profile;
  readonly regions: Region[] = [];
  /** Those that have left. */
  readonly gone: Region[] = [];
  private readonly clients: Clients;
  private readonly policies: ConflictPolicies;
  private readonly cut = new Set<string>();
  private now = 1_700_000_000_000;
  private seq = 0;
  private replIds = 0;
  private readonly traceLines: string[] = [];
  private readonly happened: number[] = [];
  /** Every operation that became durable in its own region's journal, by origin and position. */
  private readonly log = new Map<string, RuleOp>();
  /** What keys were right after a client's command, by history, position and key. */
  private readonly written = new Map<string, Entry | null>();
  /** Elements that a client was given. */
  private readonly taken = new Set<string>();
  /** What lists and queues held when they were compared with another region's, as long as no Redis has lost it since. */
  private exposed: Exposed[] = [];
  readonly outcome: Outcome = {
    events: 0,
    operations: 0,
    crashes: 0,
    restarts: 0,
    failovers: 0,
    outages: 0,
    resyncs: 0,
    leaves: 0,
    joins: 0,
    settlements: 0,
    corrections: 0,
    conflicts: 0,
    refusals: 0,
    trespasses: 0,
  };

  constructor(
    readonly seed: number,
    private readonly options: WorldOptions = {},
  ) {
    this.random = new Random(seed);
    // Of its own, so that what follows from how keys are hashed is as varied as all else.
    setHashKey(seed, ~seed);
    this.profile = profileOf(seed, this.random, options.regions);
    for (const name of options.without ?? []) {
      if (name in this.profile) Object.assign(this.profile, { [name]: false });
      else Object.assign(this.profile.mix, { [name]: false });
    }
    if (options.streams === true) onlyStreams(this.profile);
    this.print = options.print;
    this.policies = new ConflictPolicies(options.policies ?? []);
    // What a region keeps to itself it does not bring, and whose owner has left nobody can settle.
    if (this.policies.isActive) this.profile.joins = this.profile.leaves = false;
    this.clients = new Clients(this.random, this.profile.mix, (key) =>
      this.regions.flatMap(({ redis }) => [0, 1].flatMap((db) => idsIn(redis.entry(db, key)?.value))),
    );
    for (let i = 0; i < this.profile.regions; i++) this.found();
    for (const { agent } of this.regions) agent.start();
    if (this.profile.relayOnly && this.regions.length > 2) this.cut.add(link('eu', 'us'));
  }

  private readonly print: ((line: string) => void) | undefined;

  /** A new region, which takes part from now on; null where there is no name left. */
  found(): Region | null {
    const taken = [...this.regions, ...this.gone];
    const name = NAMES.find((candidate) => taken.every((region) => region.name !== candidate));
    if (name === undefined) return null;
    const pace = (): number => this.random.pick([0.1, 0.4, 1, 1, 1, 2]);
    const shelves = this.options.streams === true ? SHELVES.filter((each) => each !== undefined) : SHELVES;
    const place = this.seed + taken.length;
    const shelf = shelves[place % shelves.length];
    const largeBytes = LARGE_BYTES[Math.floor(place / shelves.length) % LARGE_BYTES.length]!;
    const region = {
      name,
      skewMs: this.profile.skew ? this.random.between(-60_000, 60_000) : this.random.between(-20, 20),
      replicated: 0,
      past: [],
      idle: this.random.pick([0, 0, 0.3, 0.8]),
      slow: { read: pace(), pull: pace(), step: pace() },
    } as unknown as Region;
    region.initial = new Redis('', 0, () => this.now);
    region.redis = new Redis(this.newReplId(), 0, () => this.clock(region));
    region.agent = new SimAgent({
      region: name,
      members: () => this.regions.map((other) => other.name),
      shelf: shelf && { ...shelf, largeBytes },
      policies: this.policies,
      redis: () => region.redis,
      now: () => this.clock(region),
      uptime: () => this.now,
      live: () => this.liveFrom(region),
      isHopeless: () =>
        this.regions.every(
          ({ name: other, agent }) =>
            agent === region.agent || !this.liveFrom(region).includes(other) || agent.waitingFor === 'a donor',
        ),
      safeOffset: () => (this.profile.failovers || this.profile.outages ? region.replicated : Infinity),
      nextSeq: () => ++this.seq,
      pick: (n) => this.random.below(n),
      trace: (text) => this.trace(text),
      ask: (other, db, key) => {
        this.trace(`${name} asks ${other} for ${db} ${key}`);
        const { agent } = this.regions.find((candidate) => candidate.name === other)!;
        if (agent.alive) agent.demand(db, key, name);
      },
      durable: (record) => this.keep(record),
      compared: (keys) => this.compared(region, keys),
      durableElsewhere: (origin) =>
        Math.min(
          ...this.regions
            .filter((other) => other !== region)
            .map(
              ({ name: other, agent }) =>
                agent.journal.durableEnd(origin) ?? (regionOf(origin) === other ? Infinity : -1),
            ),
        ),
      knownElsewhere: (origin) =>
        Math.max(
          ...this.regions.map(({ agent }) => (agent === region.agent ? -1 : (agent.journal.readableEnd(origin) ?? -1))),
        ),
      peers: () => this.peersOf(region),
    });
    this.regions.push(region);
    return region;
  }

  run(): Outcome {
    try {
      this.trace(`profile ${JSON.stringify(this.profile)}`);
      for (let i = 0; i < this.profile.events; i++) {
        if (this.profile.rests && i === this.profile.events >> 1) this.rest(0);
        // Each by itself: the others stay what they are when one is left out.
        this.random.turnTo(i + 1);
        this.now += this.random.chance(0.02) ? this.random.below(2000) : this.random.below(12);
        if (this.options.only?.has(i) === false) continue;
        this.event();
        this.happened.push(i);
        this.outcome.events++;
      }
      this.rest(200_000);
      check(this.ended);
    } catch (error) {
      if (error instanceof SimFailure) throw error;
      this.trace(`thrown: ${error instanceof Error ? error.stack : String(error)}`);
      this.fail(error instanceof Error ? error.message : String(error));
    }
    this.outcome.operations = this.log.size;
    for (const { agent } of this.regions) {
      this.outcome.settlements += agent.settlements;
      this.outcome.refusals += agent.refusals;
      this.outcome.trespasses += agent.trespasses;
      this.outcome.corrections += agent.core.corrections.count;
      for (const n of Object.values(agent.core.notes.counts)) this.outcome.conflicts += n;
    }
    return this.outcome;
  }

  // ——— what may happen

  private event(): void {
    const { random, profile } = this;
    let region = random.pick(this.regions);
    // Some regions, or parts of them, are slow.
    for (let i = 0; i < 3 && random.chance(region.idle); i++) region = random.pick(this.regions);
    const { slow } = region;
    const kind = random.weighted({
      client: 30,
      read: 22 * slow.read,
      pull: 22 * slow.pull,
      step: 26 * slow.step,
      fsync: 12,
      replicate: profile.failovers || profile.outages ? 8 : 0,
      heartbeat: 6,
      expire: profile.mix.ttl ? 5 : 0,
      noise: 1,
      crash: profile.crashes ? 1.5 : 0,
      restart: profile.restarts ? 1 : 0,
      failover: profile.failovers ? 1.2 : 0,
      outage: profile.outages ? 3 : 0,
      partition: profile.partitions ? 2 : 0,
      trim: profile.trims ? 3 : 0,
      clock: profile.skew ? 0.5 : 0,
      repeat: profile.repeats ? 4 : 0,
      leave: profile.leaves ? 1 : 0,
      join: profile.joins ? 1 : 0,
      rush: profile.brisk ? 10 : 0,
    });
    const { agent, redis } = region;
    switch (kind) {
      case 'client':
        return this.client(region);
      case 'read':
        if (agent.alive) agent.readStream(random.pick([1, 7, 64, 300, 100_000]));
        return;
      case 'pull':
        this.pull(region, random.pick(this.regions), random.between(1, 5));
        return;
      case 'step':
        if (agent.alive) this.step(region);
        else this.start(region);
        return;
      case 'fsync':
        if (agent.alive) agent.fsync();
        return;
      case 'replicate':
        return this.replicate(region);
      case 'heartbeat':
        if (agent.alive) agent.heartbeat();
        return;
      case 'expire':
        if (redis.expireOne()) this.trace(`${region.name} expires a key`);
        return;
      case 'noise':
        redis.noise(random.pick(['ping', 'getack', 'select']));
        redis.selectsInside = random.chance(0.5);
        redis.isRedis8 = random.chance(0.5);
        return;
      case 'crash':
        if (agent.alive) crash(this, region);
        return;
      case 'restart':
        return restart(this, region);
      case 'failover':
        return failover(this, region);
      case 'outage':
        return outage(this, region);
      case 'partition': {
        const other = random.pick(this.regions);
        if (other === region) return;
        const name = link(region.name, other.name);
        if (!this.cut.delete(name)) this.cut.add(name);
        this.trace(`link ${name} ${this.cut.has(name) ? 'cut' : 'healed'}`);
        return;
      }
      case 'trim':
        if (agent.alive) {
          const n = agent.trim();
          if (n > 0) this.trace(`${region.name} trims ${n} records`);
        }
        return;
      case 'clock':
        region.skewMs = random.between(-60_000, 60_000);
        this.trace(`${region.name} clock skew ${region.skewMs}`);
        return;
      case 'repeat':
        return this.repeat(region, random.pick(this.regions));
      case 'leave':
        return leave(this);
      case 'join':
        return join(this);
      case 'rush':
        return this.rush();
    }
  }

  /** Agents work for a while, as fast as ever: what is unsettled may come to rest. */
  private rush(): void {
    const { random } = this;
    for (let i = random.between(5, 80); i > 0; i--) {
      const region = random.pick(this.regions);
      const { agent } = region;
      if (!agent.alive) continue;
      agent.readStream(100_000);
      if (random.chance(0.5)) this.step(region);
      else this.pull(region, random.pick(this.regions), 5);
      this.now += random.below(2);
    }
  }

  private client(region: Region): void {
    const { redis } = region;
    // Where keys are a region's, or their last writer's, a flush is refused, and that is not modelled.
    const { haveOwners, haveLastWriters } = this.policies;
    const flushes = !haveOwners && !haveLastWriters;
    const commands = this.clients.commands(region.name).filter(([name]) => flushes || name !== 'FLUSHDB');
    if (commands.length === 0) return;
    // In the other database there are an agent's keys, which FLUSHDB would take too.
    const db = commands.some(([name]) => name === 'FLUSHDB') ? 1 : this.clients.db();
    const before = redis.offset;
    const replies = redis.run(db, commands);
    replies.forEach((reply, i) => {
      if (/POP/.test(commands[i]![0]!) && typeof reply === 'string') this.taken.add(reply);
    });
    if (haveLastWriters && redis.offset !== before)
      for (const { end, argv } of redis.units.at(-1)!.commands)
        for (const key of argv.slice(1)) {
          const entry = redis.entry(db, key);
          this.written.set(`${redis.replId}@${end} ${db} ${key}`, entry === undefined ? null : structuredClone(entry));
        }
    const at = redis.offset === before ? '' : ` → ${before}–${redis.offset}`;
    this.trace(
      `${region.name} client ${db} ${commands.map((argv) => argv.join(' ')).join('; ')}${at}` +
        (replies.some((reply) => reply instanceof CommandFailed) ? ' (refused)' : ''),
    );
  }

  step(region: Region): void {
    if (this.seeksExplained(region)) return resync(this, region);
    try {
      region.agent.step();
    } catch (error) {
      if (!(error instanceof ForeignHand)) throw error;
      this.trace(`${region.name} agent: another hand on Redis`);
      region.agent.crash(this.random.below(3), false);
      region.agent.start();
    }
  }

  /** As agent/session/unexplained.ts has it. */
  private seeksExplained({ name, agent }: Region): boolean {
    if (!agent.isOpen || !agent.isUnexplained || agent.core.settling.unsettledKeys > 0) return false;
    const left = this.regions.filter((other) => other.name !== name && !agent.comparedWith.has(other.name));
    if (left.length === 0) agent.isUnexplained = false;
    return left.some(
      ({ name: other, agent: peer }) =>
        peer.isOpen && !this.cut.has(link(name, other)) && (!peer.isUnexplained || other < name),
    );
  }

  private start(region: Region): void {
    this.trace(`${region.name} agent starts`);
    region.agent.start();
  }

  pull(to: Region, from: Region, count: number): number {
    if (to === from || !to.agent.alive || !from.agent.alive || this.cut.has(link(to.name, from.name))) return 0;
    let received = 0;
    for (const origin of from.agent.journal.origins())
      for (let i = 0; i < count; i++) {
        const record = from.agent.journal.after(origin, to.agent.journal.end(origin));
        if (record === undefined || !to.agent.receive(record)) break;
        received++;
      }
    for (const beat of from.agent.beats.values()) if (beat.region !== to.name) to.agent.receiveBeat(beat);
    if (received > 0) this.trace(`${to.name} pulls ${received} from ${from.name}`);
    return received;
  }

  /** A peer sends records again that it has sent before, and reports. */
  private repeat(to: Region, from: Region): void {
    if (to === from || !to.agent.alive || !from.agent.alive || this.cut.has(link(to.name, from.name))) return;
    const { journal, beats } = from.agent;
    for (const origin of journal.origins()) {
      const records = journal.all().filter((record) => record.origin === origin);
      for (const record of records.slice(this.random.below(records.length)))
        if (record.end <= (to.agent.journal.end(origin) ?? -1)) to.agent.receive(record);
    }
    for (const beat of beats.values()) if (beat.region !== to.name) to.agent.receiveBeat(beat);
    this.trace(`${from.name} repeats itself to ${to.name}`);
  }

  private replicate(region: Region): void {
    const rest = region.redis.units.filter((unit) => unit.end > region.replicated);
    if (rest.length === 0) region.replicated = region.redis.offset;
    else region.replicated = this.random.pick(rest).end;
    if (region.agent.alive) region.agent.publishBeats();
  }

  // ——— the end

  private rest(ms: number): void {
    this.trace('— quiet —');
    this.cut.clear();
    if (this.profile.relayOnly && this.regions.length > 2) this.cut.add(link('eu', 'us'));
    this.now += ms;
    let wasQuiet = false;
    for (let round = 0; round < REST_ROUNDS_MAX; round++) {
      this.now += 100;
      for (const region of this.regions) {
        const { agent, redis } = region;
        if (!agent.alive) this.start(region);
        while (redis.expireOne()) this.trace(`${region.name} expires a key`);
        if (round % 4 === 0) agent.heartbeat();
        agent.readStream(1_000_000);
        region.replicated = region.redis.offset;
        agent.fsync();
        for (const other of this.regions) this.pull(region, other, 1000);
        for (let i = 0; i < 8; i++) {
          this.step(region);
          agent.readStream(1_000_000);
          if (agent.waitingFor === 'work') break;
        }
      }
      if (round % 4 !== 3 || !this.isQuiet()) continue;
      if (wasQuiet) return;
      // Times to live that had passed on the way are a moment from then.
      wasQuiet = true;
      this.now += 2000;
    }
    this.fail(`not quiet after ${REST_ROUNDS_MAX} rounds: ${this.whyNotQuiet()}`);
  }

  private isQuiet(): boolean {
    return this.whyNotQuiet() === '';
  }

  private whyNotQuiet(): string {
    const reasons: string[] = [];
    for (const { name, agent, redis } of this.regions) {
      const { core } = agent;
      if (agent.pending > 0) reasons.push(`${name} has ${agent.pending} records to apply`);
      if (core.corrections.racedKeys > 0) reasons.push(`${name} has ${core.corrections.racedKeys} raced keys`);
      if (core.settling.unsettledKeys > 0)
        reasons.push(
          `${name} has ${core.settling.unsettledKeys} unsettled keys (${core.settling
            .toSettle(this.regions.map((region) => region.name))
            .map((state) => state.key)
            .join()})`,
        );
      if (core.libraries.isUnderWay || core.libraries.hasLost)
        reasons.push(`${name} has libraries to bring to the rule`);
      if (!core.libraries.isEmpty) reasons.push(`${name} has libraries in its window`);
      if (core.trims.isDue) reasons.push(`${name} has to say where streams begin`);
      if (agent.waitingFor !== 'work') reasons.push(`${name} waits for ${agent.waitingFor}`);
      if (agent.unread > 0) reasons.push(`${name} has ${agent.unread} bytes unread`);
      const shelved = core.window.shelved.keys;
      if (core.operations > 0 || core.window.keys > 0 || shelved > 0)
        reasons.push(
          `${name} has a window of ${core.operations} operations, ${core.window.keys} keys, and ${shelved} on the shelf`,
        );
      for (const { key, db } of redis.keys())
        if (redis.isExpired(db, key)) reasons.push(`${name} has to expire ${key}`);
      for (const other of this.regions)
        for (const origin of agent.journal.origins())
          if (other.agent.journal.end(origin) !== agent.journal.end(origin))
            reasons.push(
              `${other.name} has ${origin} up to ${other.agent.journal.end(origin)}, ${name} up to ${agent.journal.end(origin)}`,
            );
    }
    return reasons.join('; ');
  }

  private compared(region: Region, data: Redis): void {
    for (const { db, key, value } of data.keys()) {
      if (!/^(?:list|queue)/.test(key) || (value.type !== 'list' && value.type !== 'zset')) continue;
      for (const element of value.type === 'list' ? value.list : value.zset.keys())
        this.exposed.push({ region: region.name, db, key, element });
    }
  }

  /** A region's Redis has lost something, or is no part of the mesh any more. */
  hasLost({ name }: Region): void {
    this.exposed = this.exposed.filter(({ region }) => region !== name);
  }

  private get ended(): Ended {
    const { profile, regions, clients, policies, log, written, taken, exposed, now } = this;
    const trace = (text: string): void => this.trace(text);
    const fail = (message: string): never => this.fail(message);
    return { profile, regions, clients, policies, log, written, taken, exposed, now, trace, fail };
  }

  private fail(message: string): never {
    throw new SimFailure(this.seed, message, this.traceLines, this.happened);
  }

  // ——— common

  private keep(record: OpRecord): void {
    for (const op of operationsOf(record)) {
      const id = `${op.origin}@${op.position}`;
      const known = this.log.get(id);
      if (known !== undefined && (known.stamp !== op.stamp || !sameSeen(known.seen, op.seen)))
        this.fail(`${id} was recorded twice, differently: stamps ${known.stamp} and ${op.stamp}`);
      this.log.set(id, op);
    }
  }

  clock(region: Region): number {
    return this.now + region.skewMs;
  }

  newReplId(): string {
    return `r${++this.replIds}`;
  }

  private peersOf(region: Region): SimAgent[] {
    const peers = this.regions.filter(
      (other) => other !== region && other.agent.isOpen && !this.cut.has(link(region.name, other.name)),
    );
    return (this.random.chance(0.5) ? peers : peers.reverse()).map(({ agent }) => agent);
  }

  private liveFrom(region: Region): string[] {
    const live = [region.name];
    for (const other of this.regions)
      if (other !== region && other.agent.alive && !this.cut.has(link(region.name, other.name))) live.push(other.name);
    return live;
  }

  trace(text: string): void {
    this.traceLines.push(text);
    this.print?.(text);
  }
}

function link(a: string, b: string): string {
  return a < b ? `${a}–${b}` : `${b}–${a}`;
}
