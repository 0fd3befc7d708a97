/** A client that keeps writing and remembers what was acknowledged, so that a test can ask for it everywhere. */
import Redis from 'ioredis';
import { setTimeout as sleep } from 'node:timers/promises';
import { loopback } from '../../local/ports';
import { bySlot } from './by-slot';
import { Dice, type Mesh, type Region } from './mesh';

const counters = ['count:a', 'count:b', 'count:c'];
const hashCounters = ['x', 'y'];

interface Sum {
  /** Answered by Redis. */
  sure: number;
  /** Sent, and the connection was lost before the answer: done or not. */
  unsure: number;
}

/**
 * What it writes, nothing in the test contradicts: keys and elements of its own, and increments that all add up. So
 * whatever was acknowledged has to be in every region, and counters are exact.
 */
export class Load {
  readonly keys = new Map<string, string>();
  readonly members: string[] = [];
  /** Removed again by this same client, so present nowhere. */
  readonly removed = new Set<string>();
  readonly sums = new Map<string, Sum>();
  acknowledged = 0;
  failed = 0;
  private stopping = false;
  private running: Promise<void> = Promise.resolve();
  private n = 0;

  constructor(
    private readonly region: Region,
    private readonly seed: number,
    /** Pause between two rounds, ms. */
    private readonly pauseMs = 2,
    private readonly removes = true,
  ) {}

  start(): this {
    this.stopping = false;
    this.running = this.run(new Dice(this.seed));
    return this;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }

  private async run(dice: Dice): Promise<void> {
    let client: Redis | null = null;
    while (!this.stopping && !this.region.mesh.stopped) {
      client ??= await this.connect();
      if (client === null) continue;
      if (!(await this.round(client, dice))) {
        client.disconnect();
        client = null;
      }
      if (this.pauseMs > 0) await sleep(this.pauseMs);
    }
    client?.disconnect();
  }

  /** No retries: a command whose answer is lost must not be sent twice. */
  private async connect(): Promise<Redis | null> {
    const client = new Redis({
      host: loopback,
      port: this.region.port,
      password: this.region.mesh.secrets.password,
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      disconnectTimeout: 100,
    });
    client.on('error', () => undefined);
    if (this.region.mesh.slots !== null) bySlot(client);
    try {
      await client.connect();
      return client;
    } catch {
      client.disconnect();
      await sleep(20);
      return null;
    }
  }

  private async round(client: Redis, dice: Dice): Promise<boolean> {
    const { name } = this.region;
    const id = `${name}:${this.seed}:${++this.n}`;
    const value = `${id}=${dice.below(1e9)}`;
    const counter = dice.pick(counters);
    const field = dice.pick(hashCounters);
    const by = 1 + dice.below(9);
    // Not the newest: what was added just before Redis ended, and removed before its agent was back, may count as lost
    // (docs/architecture.md, "Limits known today").
    const old = this.members.slice(0, -50);
    const drop = this.removes && dice.below(4) === 0 && old.length > 0 ? dice.pick(old) : null;
    const pipeline = dice.below(3) === 0 ? client.multi() : client.pipeline();
    pipeline.set(`key:${id}`, value);
    pipeline.incrby(counter, by);
    pipeline.hincrby('hash:counters', field, by);
    pipeline.hset('hash:all', id, value);
    pipeline.sadd('set:all', id);
    pipeline.zadd('zset:all', this.n, id);
    if (drop !== null) pipeline.srem('set:all', drop).zrem('zset:all', drop).hdel('hash:all', drop);
    const replies = await pipeline.exec().catch(() => null);
    const all = replies !== null && replies.every(([error]) => error === null);
    if (all) {
      this.acknowledged += replies.length;
      this.keys.set(`key:${id}`, value);
      this.members.push(id);
      if (drop !== null) this.removed.add(drop);
    } else {
      this.failed++;
      // Some of it may have run: then this member may be there or not, and so may the one that was to be dropped.
      if (drop !== null) this.unknown.add(drop);
    }
    for (const sum of [counter, `hash:counters ${field}`]) {
      const entry = this.sums.get(sum) ?? { sure: 0, unsure: 0 };
      if (all) entry.sure += by;
      else entry.unsure += by;
      this.sums.set(sum, entry);
    }
    return all;
  }

  private readonly unknown = new Set<string>();

  /** What is not in the region as acknowledged, at most a few. */
  async missingIn(region: Region, o: { removals: boolean } = { removals: true }): Promise<string[]> {
    const client = region.client();
    const missing: string[] = [];
    try {
      const names = [...this.keys.keys()];
      for (let i = 0; i < names.length; i += 1000) {
        const some = names.slice(i, i + 1000);
        const values = await client.mget(some);
        some.forEach((name, j) => {
          if (values[j] !== this.keys.get(name)) missing.push(`${name}: ${values[j]}`);
        });
      }
      const [hash, set, zset] = await Promise.all([
        client.hkeys('hash:all'),
        client.smembers('set:all'),
        client.zrange('zset:all', 0, -1),
      ]);
      for (const [name, found] of [
        ['hash:all', new Set(hash)],
        ['set:all', new Set(set)],
        ['zset:all', new Set(zset)],
      ] as const)
        for (const member of this.members) {
          if (this.unknown.has(member) || (this.removed.has(member) && !o.removals)) continue;
          if (found.has(member) === this.removed.has(member))
            missing.push(`${member} ${this.removed.has(member) ? 'still' : 'not'} in ${name}`);
        }
    } finally {
      client.disconnect();
    }
    return missing.slice(0, 10);
  }
}

/** Writes in these regions for so long, while `meanwhile` breaks things. @returns the loads, stopped */
export async function underLoad(
  regions: readonly Region[],
  seed: number,
  meanwhile: () => Promise<void>,
  pauseMs = 2,
): Promise<Load[]> {
  const loads = regions.map((region, i) => new Load(region, seed + i, pauseMs).start());
  try {
    await meanwhile();
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
  return loads;
}

/** Every acknowledged write is in every region, and the counters are what was added to them. Call it after `waitEqual`. */
export async function expectKept(mesh: Mesh, loads: readonly Load[]): Promise<void> {
  for (const load of loads) expect(load.acknowledged).toBeGreaterThan(0);
  for (const region of mesh.running) {
    for (const load of loads)
      expect({ region: region.name, missing: await load.missingIn(region) }).toEqual({
        region: region.name,
        missing: [],
      });
    const client = region.client();
    try {
      const names = new Set(loads.flatMap((load) => [...load.sums.keys()]));
      for (const name of names) {
        let sure = 0;
        let unsure = 0;
        for (const load of loads) {
          sure += load.sums.get(name)?.sure ?? 0;
          unsure += load.sums.get(name)?.unsure ?? 0;
        }
        const [key, field] = name.split(' ') as [string, string | undefined];
        const value = Number(field === undefined ? await client.get(key) : await client.hget(key, field));
        const found = { region: region.name, name, value, sure, unsure };
        expect({ ...found, kept: value >= sure && value <= sure + unsure }).toEqual({ ...found, kept: true });
      }
    } finally {
      client.disconnect();
    }
  }
}
