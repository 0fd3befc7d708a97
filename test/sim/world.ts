/**
 * The world of one seed: two or three regions with clients, Redis, agent and links, and a scheduler that lets anything
 * happen between any two steps. When the storm is over everything heals, and then
 *
 * - all regions hold the same keys, values and times to live;
 * - they are what the naive rule says of the complete set of operations;
 * - every effective command of a client that survived in its Redis was recorded, once, with the right `seen`;
 * - no list lost an element that nobody removed;
 * - every window is empty.
 */
import { type OpRecord, regionOf } from '../../agent/record';
import { CURSOR_KEY, HEARTBEAT_KEY, parseMarker } from '../../agent/stream/keys';
import { ConflictPolicies, type ConflictPolicyRule } from '../../model';
import { ForeignHand, SimAgent } from './agent';
import { Clients, type Mix } from './clients';
import { Random } from './random';
import { type Argv, CommandFailed, encode, Redis, type Value } from './redis';
import { operationsOf, Rule, type RuleOp, saw } from './rule';
import { idsIn } from './stream';

export interface Profile {
  regions: number;
  events: number;
  mix: Mix;
  crashes: boolean;
  restarts: boolean;
  failovers: boolean;
  /** Redis and its agent die together, and Redis loses the last of its data. */
  outages: boolean;
  partitions: boolean;
  relayOnly: boolean;
  skew: boolean;
  trims: boolean;
  /** Half-way all comes to rest: what clients do then meets what has left the window. */
  rests: boolean;
}

export interface Outcome {
  events: number;
  operations: number;
  crashes: number;
  restarts: number;
  failovers: number;
  outages: number;
  settlements: number;
  corrections: number;
  conflicts: number;
  refusals: number;
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
  readonly print?: (line: string) => void;
}

interface Region {
  name: string;
  redis: Redis;
  initial: Redis;
  agent: SimAgent;
  skewMs: number;
  /** What its replica has: a failover goes back to a place at or after this. */
  replicated: number;
  /** Histories that ended, and where. */
  past: { redis: Redis; end: number; isOutage?: boolean }[];
  /** How often it is passed over, and how fast its parts are. */
  idle: number;
  slow: { read: number; pull: number; step: number };
}

const NAMES = ['eu', 'us', 'ap'];
const REST_ROUNDS_MAX = 1500;

export function profileOf(random: Random, regions?: number): Profile {
  const maybe = (p: number): boolean => random.chance(p);
  const profile: Profile = {
    regions: regions ?? (maybe(0.5) ? 2 : 3),
    events: random.pick([40, 80, 150, 300]),
    mix: {
      keysPerType: random.pick([1, 1, 2, 3]),
      strings: maybe(0.7),
      counters: maybe(0.6),
      hashes: maybe(0.6),
      sets: maybe(0.6),
      zsets: maybe(0.5),
      lists: maybe(0.3),
      decimals: maybe(0.4),
      moves: maybe(0.4),
      bitmaps: maybe(0.2),
      logs: maybe(0.2),
      queues: maybe(0.2),
      streams: maybe(0.4),
      ttl: maybe(0.4),
      ttlShare: random.pick([0.2, 0.2, 0.5]),
      deletes: maybe(0.6),
      transactions: maybe(0.5),
      otherTypes: maybe(0.25),
      appends: maybe(0.15),
      otherDbs: maybe(0.2),
    },
    crashes: maybe(0.5),
    restarts: maybe(0.25),
    failovers: maybe(0.3),
    outages: maybe(0.3),
    partitions: maybe(0.5),
    relayOnly: maybe(0.2),
    skew: maybe(0.5),
    trims: maybe(0.5),
    rests: maybe(0.4),
  };
  // In some all meet on one key.
  if (maybe(0.25)) {
    const { mix } = profile;
    const kinds = [
      ...(['strings', 'counters', 'decimals', 'hashes', 'sets', 'zsets', 'lists'] as const),
      ...(['lists', 'bitmaps', 'logs', 'queues', 'streams'] as const),
    ];
    const only = random.pick(kinds);
    for (const kind of kinds) mix[kind] = kind === only;
    mix.keysPerType = only === 'lists' && mix.moves ? 2 : 1;
    mix.ttl = maybe(0.7);
  }
  return profile;
}

/** In half of the regions memory has to do; in others next to nothing stays there, and what goes goes by one or by many. */
const SHELVES = [
  undefined,
  { budgetBytes: 0, operations: 1 },
  undefined,
  { budgetBytes: 0, operations: 1000 },
  undefined,
  { budgetBytes: 4000, operations: 3 },
];

export class World {
  private readonly random: Random;
  readonly profile: Profile;
  private readonly regions: Region[] = [];
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
  /** Elements that a client was given. */
  private readonly taken = new Set<string>();
  private readonly outcome: Outcome = {
    events: 0,
    operations: 0,
    crashes: 0,
    restarts: 0,
    failovers: 0,
    outages: 0,
    settlements: 0,
    corrections: 0,
    conflicts: 0,
    refusals: 0,
  };

  constructor(
    readonly seed: number,
    private readonly options: WorldOptions = {},
  ) {
    this.random = new Random(seed);
    this.profile = profileOf(this.random, options.regions);
    for (const name of options.without ?? []) {
      if (name in this.profile) Object.assign(this.profile, { [name]: false });
      else Object.assign(this.profile.mix, { [name]: false });
    }
    this.print = options.print;
    this.policies = new ConflictPolicies(options.policies ?? []);
    this.clients = new Clients(this.random, this.profile.mix, (key) =>
      this.regions.flatMap(({ redis }) => [0, 1].flatMap((db) => idsIn(redis.entry(db, key)?.value))),
    );
    const names = NAMES.slice(0, this.profile.regions);
    const pace = (): number => this.random.pick([0.1, 0.4, 1, 1, 1, 2]);
    for (const [i, name] of names.entries()) {
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
        members: names,
        shelf: SHELVES[(seed + i) % SHELVES.length],
        policies: this.policies,
        redis: () => region.redis,
        now: () => this.clock(region),
        uptime: () => this.now,
        live: () => this.liveFrom(region),
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
            ...this.regions.map(({ agent }) =>
              agent === region.agent ? -1 : (agent.journal.readableEnd(origin) ?? -1),
            ),
          ),
        peers: () => this.peersOf(region),
      });
      this.regions.push(region);
    }
    for (const { agent } of this.regions) agent.start();
    if (this.profile.relayOnly && names.length === 3) this.cut.add(link('eu', 'us'));
  }

  private readonly print: ((line: string) => void) | undefined;

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
      this.check();
    } catch (error) {
      if (error instanceof SimFailure) throw error;
      this.trace(`thrown: ${error instanceof Error ? error.stack : String(error)}`);
      this.fail(error instanceof Error ? error.message : String(error));
    }
    this.outcome.operations = this.log.size;
    for (const { agent } of this.regions) {
      this.outcome.settlements += agent.settlements;
      this.outcome.refusals += agent.refusals;
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
        return;
      case 'crash':
        if (agent.alive) this.crash(region);
        return;
      case 'restart':
        return this.restart(region);
      case 'failover':
        return this.failover(region);
      case 'outage':
        return this.outage(region);
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
    }
  }

  private client(region: Region): void {
    const { redis } = region;
    const commands = this.clients.commands(region.name);
    // In the other database there are an agent's keys, which FLUSHDB would take too.
    const db = commands.some(([name]) => name === 'FLUSHDB') ? 1 : this.clients.db();
    const before = redis.offset;
    const replies = redis.run(db, commands);
    replies.forEach((reply, i) => {
      if (/POP/.test(commands[i]![0]!) && typeof reply === 'string') this.taken.add(reply);
    });
    const at = redis.offset === before ? '' : ` → ${before}–${redis.offset}`;
    this.trace(
      `${region.name} client ${db} ${commands.map((argv) => argv.join(' ')).join('; ')}${at}` +
        (replies.some((reply) => reply instanceof CommandFailed) ? ' (refused)' : ''),
    );
  }

  private step(region: Region): void {
    try {
      region.agent.step();
    } catch (error) {
      if (!(error instanceof ForeignHand)) throw error;
      this.trace(`${region.name} agent: another hand on Redis`);
      region.agent.crash(this.random.below(3), false);
      region.agent.start();
    }
  }

  private start(region: Region): void {
    this.trace(`${region.name} agent starts`);
    region.agent.start();
  }

  private crash(region: Region): void {
    const { agent } = region;
    const survivors = this.random.below(agent.unsynced + 1);
    const late = this.random.chance(0.5);
    this.trace(
      `${region.name} agent crashes, loses ${agent.unsynced - survivors} records${late ? ', block lands' : ''}`,
    );
    agent.crash(survivors, late);
    this.outcome.crashes++;
  }

  private pull(to: Region, from: Region, count: number): number {
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

  private replicate(region: Region): void {
    const rest = region.redis.units.filter((unit) => unit.end > region.replicated);
    if (rest.length === 0) region.replicated = region.redis.offset;
    else region.replicated = this.random.pick(rest).end;
    if (region.agent.alive) region.agent.publishBeats();
  }

  /** Redis starts again with all its data, and a new history. The agent had read all of the old one. */
  private restart(region: Region): void {
    const { agent, redis } = region;
    if (!agent.isOpen) return;
    while (agent.readStream(100_000));
    agent.fsync();
    this.trace(`${region.name} Redis restarts at ${redis.offset}`);
    agent.crash(0, this.random.chance(0.5));
    // Its last block may have landed late: the next session reads that before it finds a new history.
    agent.start();
    agent.readStream(100_000);
    agent.fsync();
    agent.crash(0, false);
    this.newHistory(region, redis, redis.offset, 0);
    this.outcome.restarts++;
  }

  /** A replica that lacks the last part takes over. */
  private failover(region: Region): void {
    const { random } = this;
    const { agent, redis } = region;
    const known = agent.histories.get(redis.replId);
    if (known === undefined) return;
    const units = redis.units.filter((unit) => unit.end >= region.replicated);
    const fork = random.chance(0.3) || units.length === 0 ? redis.offset : random.pick(units).end;
    if (fork < known.from) return;
    // What only the journal of a region that has it knows of is lost for good (Limits).
    const { origin } = known;
    if (
      this.regions.some((other) => (other.agent.journal.end(origin) ?? -1) > (agent.journal.durableEnd(origin) ?? -1))
    )
      agent.fsync();
    this.trace(`${region.name} fails over at ${fork} of ${redis.offset}`);
    if (agent.alive) agent.crash(random.below(agent.unsynced + 1), random.chance(0.3));
    this.newHistory(region, redis.replicaAt(fork, region.initial), fork, fork);
    this.outcome.failovers++;
  }

  /**
   * Redis and its agent are killed together. What Redis had not written to its disk is lost, and so is what the agent had not;
   * some of that peers may have. Clients may be back before the agent.
   */
  private outage(region: Region): void {
    const { random } = this;
    const { agent, redis } = region;
    const known = agent.histories.get(redis.replId);
    // One at a time: of what is lost in two places at once nobody could tell.
    if (known === undefined || this.regions.some((other) => !other.agent.isOpen && other !== region)) return;
    const units = redis.units.filter((unit) => unit.end >= Math.max(region.replicated, known.from)).slice(-12);
    let end = random.chance(0.4) || units.length === 0 ? redis.offset : random.pick(units).end;
    // A time to live, what lists had, or what was added to a score does not show that it was lost: clients may have undone it (Limits).
    for (;;) {
      const next = redis.units.find((unit) => unit.end > end);
      if (next !== undefined && showsItsLoss(next.commands)) break;
      end = next?.end ?? redis.offset;
      if (next === undefined) break;
    }
    for (const other of this.regions) if (other !== region) other.agent.fsync();
    this.trace(`${region.name} Redis and agent die, Redis comes back with ${end} of ${redis.offset}`);
    if (agent.alive) agent.crash(random.below(agent.unsynced + 1), false);
    region.past.push({ redis, end: -1, isOutage: true });
    region.initial = redis.replicaAt(end, region.initial);
    region.redis = new Redis(this.newReplId(), 0, () => this.clock(region), region.initial);
    region.replicated = 0;
    this.outcome.outages++;
  }

  private newHistory(region: Region, data: Redis, end: number, start: number): void {
    const old = region.redis;
    region.past.push({ redis: old, end });
    region.initial = data;
    region.redis = new Redis(this.newReplId(), start, () => this.clock(region), data, { redis: old, end });
    region.replicated = start;
  }

  // ——— the end

  private rest(ms: number): void {
    this.trace('— quiet —');
    this.cut.clear();
    if (this.profile.relayOnly && this.regions.length === 3) this.cut.add(link('eu', 'us'));
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
            .toSettle(NAMES.slice(0, this.regions.length))
            .map((state) => state.key)
            .join()})`,
        );
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

  private check(): void {
    this.checkRecords();
    const rule = new Rule();
    for (const op of this.log.values()) rule.add(op);
    const ids = new Set(rule.ids());
    const held = this.regions.map(({ redis }) => {
      const map = new Map<string, string>();
      for (const { db, key, value, expireAt } of redis.keys())
        if (!key.startsWith('meridian:')) map.set(`${db} ${key}`, show(value, expireAt));
      for (const id of map.keys()) ids.add(id);
      return map;
    });
    for (const id of ids) {
      const values = held.map((map) => map.get(id) ?? 'absent');
      if (this.isIgnored(id)) {
        this.checkIgnored(id, values);
        continue;
      }
      const expected = rule.value(id);
      let says =
        expected === 'verbatim' ? null : expected === null ? 'absent' : show(expected.value, expected.expireAt);
      // Where Redis decides about the time to live, and the regions agree, only the value is the rule's.
      // So it is where an element that was written while no agent was reading was not told of, for others wrote it too.
      if (
        says !== null &&
        expected !== null &&
        expected !== 'verbatim' &&
        (expected.ttlByRedis || this.profile.outages)
      )
        if (withoutTtl(says) === withoutTtl(values[0]!)) says = null;
      const equal = values.every((value) => value === values[0]);
      if (equal && (says === null || says === values[0])) continue;
      const lines = this.regions.map(({ name }, i) => `${name}: ${values[i]}`);
      if (says !== null) lines.push(`rule: ${says}`);
      for (const line of rule.describe(id)) this.trace(line);
      this.fail(
        `key ${id} ${equal ? 'is not what the rule says' : 'differs between regions'}\n  ${lines.join('\n  ')}`,
      );
    }
    if (!this.profile.outages) {
      this.checkAdded();
      this.checkBits();
    }
  }

  private isIgnored(id: string): boolean {
    const at = id.indexOf(' ');
    return this.policies.ignores(Number(id.slice(0, at)), Buffer.from(id.slice(at + 1)));
  }

  /** Of a key that is not replicated each region has what its own clients wrote. */
  private checkIgnored(id: string, values: readonly string[]): void {
    // Who wrote a string that bits were set in can't be told from it.
    if (this.profile.mix.otherTypes) return;
    this.regions.forEach(({ name }, i) => {
      if (/ string/.test(id) && /^"[a-z]\d+b?"/.test(values[i]!) && values[i]![1] !== name[0])
        this.fail(`key ${id} is not replicated, and ${name} has ${values[i]}`);
    });
  }

  /** What of a command is recorded: not what each of its keys that are not replicated stands for; null for nothing of it. */
  private recordedOf({ argv, db, end }: { argv: Argv; db: number; end: number }): { argv: Argv; end: number } | null {
    if (!this.policies.isActive) return { argv, end };
    const [name, ...args] = argv as [string, ...string[]];
    const isMset = name === 'MSET';
    const isOfKeys = isMset || /^(?:DEL|UNLINK)$/i.test(name);
    const step = isMset ? 2 : 1;
    const keys = isOfKeys ? args.filter((_, i) => i % step === 0) : keysIn(argv);
    const ignored = keys.filter((key) => this.isIgnored(`${db} ${key}`));
    if (ignored.length === 0) return { argv, end };
    if (ignored.length === keys.length) return null;
    if (!isOfKeys) return { argv, end };
    const kept = args.filter((_, i) => !ignored.includes(args[i - (i % step)]!));
    const rest: Argv = [name === 'UNLINK' ? 'unlink' : name, ...kept];
    return { argv: rest, end: end - encode(argv).length + encode(rest).length };
  }

  /** What was recorded is what clients did. */
  private checkRecords(): void {
    const found = new Set<string>();
    for (const region of this.regions) {
      const histories = [...region.past, { redis: region.redis, end: region.redis.offset }];
      for (const { redis, end } of histories) {
        const known = region.agent.histories.get(redis.replId);
        if (known === undefined) continue;
        const { origin, from } = known;
        let seen: ReadonlyMap<string, number> | null = null;
        let cursor: string | null = null;
        for (const unit of redis.units) {
          const marker = unit.commands.find(({ argv }) => argv[1] === CURSOR_KEY);
          for (const command of unit.commands) {
            const { argv } = command;
            // Before it was read, it was found as a difference.
            if (command.end <= from) continue;
            if (argv[1] === CURSOR_KEY || argv[1] === HEARTBEAT_KEY) continue;
            if (marker !== undefined) {
              // An expiry that an agent's block met, or made: recorded beside the stream's bytes, once.
              if (argv[0] !== 'UNLINK' || this.isIgnored(`${command.db} ${argv[1]}`)) continue;
              const beside = [...this.log.values()].find(
                (op) =>
                  op.origin === origin &&
                  op.position > unit.start &&
                  op.position < unit.end + 1 &&
                  !Number.isInteger(op.position) &&
                  !op.isState &&
                  !op.isDifference &&
                  op.commands[0]!.argv[1] === argv[1] &&
                  op.commands[0]!.db === command.db &&
                  !found.has(`${origin}@${op.position}`),
              );
              if (beside !== undefined) found.add(`${origin}@${beside.position}`);
              else if (unit.end <= end) this.fail(`${origin}@${command.end} ${argv.join(' ')} was never recorded`);
              continue;
            }
            const recorded = this.recordedOf(command);
            if (recorded === null) {
              if (this.log.has(`${origin}@${command.end}`))
                this.fail(`${origin}@${command.end} ${argv.join(' ')} is not replicated, and was recorded`);
              continue;
            }
            const id = `${origin}@${recorded.end}`;
            const op = this.log.get(id);
            if (op === undefined) {
              if (command.end <= end) this.fail(`${id} ${argv.join(' ')} was never recorded`);
              continue;
            }
            found.add(id);
            if (op.commands[0]!.argv.join(' ') !== recorded.argv.join(' ') || op.commands[0]!.db !== command.db)
              this.fail(`${id} was ${argv.join(' ')}, recorded as ${op.commands[0]!.argv.join(' ')}`);
            const { added } = op.commands[0]!;
            if (command.by !== undefined && added !== undefined && Number(added) !== Number(command.by))
              this.fail(`${id} ${argv.join(' ')} added ${command.by}, and was recorded to have added ${added}`);
            if (seen !== null && !sameSeen(op.seen, seen))
              this.fail(`${id} ${argv.join(' ')} was recorded with a wrong seen`);
          }
          if (marker !== undefined) {
            cursor = marker.argv[2]!;
            seen = parseMarker(cursor)!.vector;
          }
        }
      }
    }
    const begins = new Map(
      this.regions.flatMap(({ agent }) => [...agent.histories.values()].map((h) => [h.origin, h.from])),
    );
    // What was over, found with the differences before the first byte.
    const isBefore = ({ origin, position }: RuleOp): boolean =>
      !Number.isInteger(position) && Math.floor(position) === Math.floor(begins.get(origin) ?? -1);
    for (const [id, op] of this.log)
      if (!found.has(id) && !op.isState && !op.isDifference && !isBefore(op))
        this.fail(`${id} was recorded, and never happened`);
    this.checkDifferences();
    // A hybrid logical clock: what has seen an operation is stamped after it.
    const byOrigin = new Map<string, RuleOp[]>();
    for (const op of this.log.values()) {
      const ops = byOrigin.get(op.origin);
      if (ops === undefined) byOrigin.set(op.origin, [op]);
      else ops.push(op);
    }
    for (const ops of byOrigin.values()) ops.sort((a, b) => a.position - b.position);
    for (const [origin, ops] of byOrigin)
      ops.forEach((op, i) => {
        const below = [...op.seen].map(([o, position]) =>
          byOrigin.get(o)?.findLast((other) => other.position <= position),
        );
        for (const other of [ops[i - 1], ...below])
          if (other !== undefined && other.stamp >= op.stamp)
            this.fail(`${origin}@${op.position} saw ${other.origin}@${other.position}, whose stamp is not lower`);
      });
  }

  /**
   * What is found as a difference is something that a client did, and that nobody had recorded: never what Redis has lost. Of
   * keys that other regions write too it can't be said so simply.
   */
  private checkDifferences(): void {
    const isOver = ({ commands }: RuleOp): boolean =>
      commands.some(({ argv }) => argv[0] === 'PEXPIREAT' && Number(argv[2]) < this.now);
    /** A delete that has seen nothing of its key. */
    const isIdle = (op: RuleOp, at: number, [name, key]: Argv): boolean =>
      name === 'DEL' &&
      op.commands.length === 1 &&
      ![...this.log.values()].some(
        ({ origin, position, commands }) =>
          (op.seen.get(origin) ?? -1) >= position &&
          commands.some(({ db, argv }) => (db === at && argv.includes(key!)) || argv[0] === 'FLUSHDB'),
      );
    for (const region of this.regions) {
      const shared = new Set<string>();
      const share = ({ db, argv }: { db: number; argv: Argv }): void => {
        for (const key of namesIn(argv)) shared.add(`${db} ${key}`);
      };
      for (const op of this.log.values()) if (op.region !== region.name) op.commands.forEach(share);
      // Not all that clients did was ever recorded.
      for (const other of this.regions)
        if (other !== region)
          for (const { redis } of [...other.past, other])
            for (const { commands } of redis.units)
              if (!commands.some(({ argv }) => argv[1] === CURSOR_KEY)) commands.forEach(share);
      const histories = [...region.past, { redis: region.redis, isOutage: false }];
      // What a cut to a length has left out is told by the region that cut, later, and found by a comparison before that.
      const cut = new Set<string>();
      for (const { redis } of histories)
        for (const { commands } of redis.units)
          for (const { db, argv } of commands) if (argv.includes('MAXLEN')) cut.add(`${db} ${argv[1]}`);
      const unrecorded = new Set<string>();
      for (const { redis, isOutage } of histories) {
        const known = region.agent.histories.get(redis.replId);
        const note = (keep: (end: number) => boolean): void => {
          for (const { commands } of redis.units)
            for (const { argv, db, end } of commands)
              if (keep(end)) for (const key of namesIn(argv)) unrecorded.add(`${db} ${key}`);
        };
        if (known === undefined) note(() => true);
        else {
          note((end) => end <= known.from);
          for (const op of this.log.values())
            if (op.isDifference && op.origin === known.origin)
              for (const { db, argv } of op.commands)
                // A donor may have given a key a moment more, and have read it when that was over.
                if (
                  argv[0] !== 'PEXPIREAT' &&
                  !isOver(op) &&
                  !isIdle(op, db, argv) &&
                  !(argv[0] === 'XDEL' && isIn(cut, db, argv[1]!)) &&
                  !isIn(unrecorded, db, argv[1]!) &&
                  !isIn(shared, db, argv[1]!)
                )
                  this.fail(`${op.origin}@${op.position} ${argv.join(' ')} is no difference that a client made`);
          unrecorded.clear();
          if (isOutage) note((end) => !this.log.has(`${known.origin}@${end}`));
        }
      }
    }
  }

  /**
   * What was added is there, unless a client was given it, or deleted the key and had seen it. What moves is in one of the lists; where they are
   * deleted, too, that is not looked at.
   */
  private checkAdded(): void {
    const keys = this.clients.addedKeys();
    const there = new Set<string>();
    for (const { db, key, value } of this.regions[0]!.redis.keys()) {
      if (!keys.includes(key)) continue;
      const elements = value.type === 'list' ? value.list : value.type === 'zset' ? value.zset.keys() : tokensOf(value);
      for (const element of elements) there.add(`${db} ${value.type === 'list' ? 'list' : key} ${element}`);
    }
    const touches = new Map<string, { op: RuleOp; argv: Argv }[]>();
    const flushes: RuleOp[] = [];
    for (const op of this.log.values())
      for (const { db, argv } of op.commands) {
        if (op.isState) continue;
        if (argv[0] === 'FLUSHDB') flushes.push(op);
        for (const key of new Set(argv.slice(1).filter((arg) => keys.includes(arg)))) {
          const id = `${db} ${key}`;
          touches.set(id, [...(touches.get(id) ?? []), { op, argv }]);
        }
      }
    const isDelete = (name: string): boolean => /^(?:DEL|UNLINK)$/i.test(name);
    const { moves } = this.profile.mix;
    const isMoved =
      moves && keys.some((key) => key.startsWith('list') && [0, 1].some((db) => this.isIgnored(`${db} ${key}`)));
    for (const [id, mine] of touches) {
      if (this.isIgnored(id) || (isMoved && id.includes(' list'))) continue;
      const [db, key] = id.split(' ') as [string, string];
      const isList = key.startsWith('list');
      const deletes = [...mine.filter(({ argv }) => isDelete(argv[0]!)).map(({ op }) => op)];
      if (db === '1') deletes.push(...flushes);
      if (mine.some(({ argv }) => !isKnown(key, argv[0]!) && !isDelete(argv[0]!))) continue;
      if (
        isList &&
        moves &&
        [...touches].some(([other, ops]) => isListOf(other, db) && ops.some(({ argv }) => !isKnown('list', argv[0]!)))
      )
        continue;
      if (isList && moves && db === '1' && flushes.length > 0) continue;
      for (const { op, argv } of mine)
        for (const element of addedBy(argv)) {
          if (there.has(`${db} ${isList ? 'list' : key} ${element}`) || this.taken.has(element)) continue;
          if (deletes.some((by) => saw(by, op))) continue;
          for (const { op: by, argv: args } of mine) this.trace(`${by.origin}@${by.position} ${args.join(' ')}`);
          this.fail(`${key} lost ${element}, added by ${op.origin}@${op.position}`);
        }
    }
  }

  /** A bit is what one of those SETBITs says that no other, and no delete, had seen. (An expiry may be void.) */
  private checkBits(): void {
    const keys = this.clients.bitmapKeys();
    for (const key of keys)
      for (const db of [0, 1]) {
        if (this.isIgnored(`${db} ${key}`)) continue;
        const ops = [...this.log.values()].flatMap((op) =>
          op.isState ? [] : op.commands.map((command, index) => ({ op, index, ...command })),
        );
        const mine = ops.filter(({ db: at, argv }) => at === db && (argv.includes(key) || argv[0] === 'FLUSHDB'));
        if (mine.some(({ argv }) => !/^(?:SETBIT|DEL|UNLINK|FLUSHDB)$/i.test(argv[0]!))) continue;
        const value = this.regions[0]!.redis.entry(db, key)?.value;
        const text = value?.type === 'string' ? value.string : '';
        for (let bit = 0; bit < 12; bit++) {
          const puts = mine.filter(({ argv }) => argv[0] !== 'SETBIT' || argv[2] === String(bit));
          const live = puts.filter(
            ({ op, argv }) =>
              argv[0] === 'SETBIT' && !puts.some(({ op: by, argv: [name] }) => !/^P/.test(name!) && saw(by, op)),
          );
          const found = ((text.charCodeAt(bit >> 3) || 0) >> (7 - (bit & 7))) & 1;
          const allowed = live.length === 0 ? ['0'] : live.map(({ argv }) => argv[3]!);
          if (allowed.includes(String(found))) continue;
          for (const { op, argv } of puts)
            this.trace(`${op.origin}@${op.position} stamp ${op.stamp} ${argv.join(' ')}`);
          this.fail(`bit ${bit} of ${db} ${key} is ${found}, and should be ${allowed.join(' or ')}`);
        }
      }
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

  private clock(region: Region): number {
    return this.now + region.skewMs;
  }

  private newReplId(): string {
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

  private trace(text: string): void {
    this.traceLines.push(text);
    this.print?.(text);
  }
}

/** What a check of what was added knows of, by the beginning of the key. */
const KNOWN: readonly [string, RegExp][] = [
  ['list', /^(?:[LR]PUSH|LPUSHX|LINSERT|LMOVE|[LR]POP|PEXPIREAT|PERSIST)$/],
  ['log', /^(?:APPEND|PEXPIREAT|PERSIST)$/],
  ['queue', /^(?:ZADD|ZPOPMIN|PEXPIREAT|PERSIST)$/],
];

function isKnown(key: string, name: string): boolean {
  return KNOWN.find(([kind]) => key.startsWith(kind))![1].test(name);
}

function isListOf(id: string, db: string): boolean {
  return id.startsWith(`${db} list`);
}

function addedBy(argv: Argv): string[] {
  switch (argv[0]) {
    case 'APPEND':
      return /\.$/.test(argv[2]!) ? [argv[2]!.slice(0, -1)] : [];
    case 'ZADD':
      return argv.length === 4 ? [argv[3]!] : [];
    case 'LINSERT':
      return [argv[4]!];
    case 'RPUSH':
    case 'LPUSH':
    case 'LPUSHX':
      return argv.slice(2);
    default:
      return [];
  }
}

function tokensOf(value: Value): string[] {
  return value.type === 'string' ? value.string.split('.') : [];
}

function link(a: string, b: string): string {
  return a < b ? `${a}–${b}` : `${b}–${a}`;
}

/** Whether data without these commands can be told from data that clients have changed since. */
function showsItsLoss(commands: readonly { argv: Argv }[]): boolean {
  return commands.some(
    ({ argv }) =>
      /^(SET|GETSET|MSET|HSET|HDEL|HINCRBY|SADD|SREM|ZADD|ZREM|INCR|INCRBY|DECR|DECRBY|DEL|UNLINK)$/.test(argv[0]!) &&
      !argv.includes('INCR') &&
      !argv[1]!.startsWith('meridian:'),
  );
}

/** What may be keys of a command; a FLUSHDB is about all of them. */
function namesIn([name, ...args]: Argv): readonly string[] {
  return name === 'FLUSHDB' ? ['*'] : args;
}

function isIn(names: ReadonlySet<string>, db: number, key: string): boolean {
  return names.has(`${db} ${key}`) || names.has(`${db} *`);
}

function withoutTtl(shown: string): string {
  return shown.replace(/ until \d+$/, '');
}

function sameSeen(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  if (a.size !== b.size) return false;
  for (const [origin, position] of a) if (b.get(origin) !== position) return false;
  return true;
}

/** A value as one text; order of elements counts only in lists. */
function show(value: Value, expireAt: number | null): string {
  const ttl = expireAt === null ? '' : ` until ${expireAt}`;
  switch (value.type) {
    case 'string':
      return `"${value.string}"${ttl}`;
    case 'hash':
      return `hash ${JSON.stringify([...value.hash].sort())}${ttl}`;
    case 'set':
      return `set ${JSON.stringify([...value.set].sort())}${ttl}`;
    case 'zset':
      return `zset ${JSON.stringify([...value.zset].map(([m, s]) => [m, String(s)]).sort())}${ttl}`;
    case 'list':
      return `list ${JSON.stringify(value.list)}${ttl}`;
    case 'stream':
      return `stream ${JSON.stringify([...value.entries].map(([id, fields]) => [id, fields.join(' ')]))} last ${value.lastId}${ttl}`;
  }
}

/** Keys of a command that clients of the simulation send. */
function keysIn([name, ...args]: Argv): string[] {
  return /^(?:LMOVE|RPOPLPUSH|SMOVE|RENAME|COPY)$/.test(name!)
    ? args.slice(0, 2)
    : name === 'XGROUP'
      ? [args[1]!]
      : args.slice(0, 1);
}
