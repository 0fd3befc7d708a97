/** What breaks: agents, Redis, and both at once. */
import { type Argv, Redis } from './redis';
import type { Region } from './region';
import type { World } from './world';

export function crash(world: World, region: Region): void {
  const { agent } = region;
  const survivors = world.random.below(agent.unsynced + 1);
  const late = world.random.chance(0.5);
  world.trace(
    `${region.name} agent crashes, loses ${agent.unsynced - survivors} records${late ? ', block lands' : ''}`,
  );
  agent.crash(survivors, late);
  world.outcome.crashes++;
}

/** Redis starts again with all its data, and a new history. The agent had read all of the old one. */
export function restart(world: World, region: Region): void {
  const { agent, redis } = region;
  if (!agent.isOpen) return;
  while (agent.readStream(100_000));
  agent.fsync();
  world.trace(`${region.name} Redis restarts at ${redis.offset}`);
  agent.crash(0, world.random.chance(0.5));
  // Its last block may have landed late: the next session reads that before it finds a new history.
  agent.start();
  agent.readStream(100_000);
  agent.fsync();
  agent.crash(0, false);
  newHistory(world, region, redis, redis.offset, 0);
  world.outcome.restarts++;
}

/** A replica that lacks the last part takes over. */
export function failover(world: World, region: Region): void {
  const { random } = world;
  const { agent, redis } = region;
  const known = agent.histories.get(redis.replId);
  if (known === undefined) return;
  const units = redis.units.filter((unit) => unit.end >= region.replicated);
  const fork = random.chance(0.3) || units.length === 0 ? redis.offset : random.pick(units).end;
  if (fork < known.from) return;
  // What only the journal of a region that has it knows of is lost for good (Limits).
  const { origin } = known;
  if (world.regions.some((other) => (other.agent.journal.end(origin) ?? -1) > (agent.journal.durableEnd(origin) ?? -1)))
    agent.fsync();
  world.hasLost(region);
  world.trace(`${region.name} fails over at ${fork} of ${redis.offset}`);
  if (agent.alive) agent.crash(random.below(agent.unsynced + 1), random.chance(0.3));
  newHistory(world, region, redis.replicaAt(fork, region.initial), fork, fork);
  world.outcome.failovers++;
}

/**
 * Redis and its agent are killed together. What Redis had not written to its disk is lost, and so is what the agent had not;
 * some of that peers may have. Clients may be back before the agent.
 */
export function outage(world: World, region: Region): void {
  const { random } = world;
  const { agent, redis } = region;
  const known = agent.histories.get(redis.replId);
  const isAlone = world.regions.every((other) => other.agent.isOpen || other === region);
  if (known === undefined || (!isAlone && !world.profile.pairs)) return;
  const units = redis.units.filter((unit) => unit.end >= Math.max(region.replicated, known.from)).slice(-12);
  let end = random.chance(0.4) || units.length === 0 ? redis.offset : random.pick(units).end;
  // A time to live, what lists had, or what was added to a score does not show that it was lost: clients may have undone it (Limits).
  for (;;) {
    const next = redis.units.find((unit) => unit.end > end);
    if (next !== undefined && showsItsLoss(next.commands)) break;
    end = next?.end ?? redis.offset;
    if (next === undefined) break;
  }
  for (const other of world.regions) if (other !== region) other.agent.fsync();
  // What no journal has, and one Redis holds, is merged without it (docs/architecture.md, "Redis ahead of the journal").
  if (!isAlone) agent.fsync();
  world.hasLost(region);
  world.trace(`${region.name} Redis and agent die, Redis comes back with ${end} of ${redis.offset}`);
  if (agent.alive) agent.crash(random.below(agent.unsynced + 1), false);
  region.past.push({ redis, end: -1, isOutage: true });
  region.initial = redis.replicaAt(end, region.initial);
  region.redis = new Redis(world.newReplId(), 0, () => world.clock(region), region.initial);
  region.replicated = 0;
  world.outcome.outages++;
}

/** An agent begins with a full resync of a Redis that goes on: for the model that has a history of its own from there. */
export function resync(world: World, region: Region): void {
  const { agent, redis } = region;
  agent.fsync();
  agent.crash(0, world.random.chance(0.5));
  world.trace(`${region.name} compares once more`);
  const end = Math.floor(agent.journal.durableEnd(agent.origin!)!);
  region.past.push({ redis, end });
  region.initial = redis.replicaAt(redis.offset, region.initial);
  region.redis = new Redis(world.newReplId(), 0, () => world.clock(region), region.initial);
  region.replicated = 0;
  agent.isResync = true;
  agent.start();
  world.outcome.resyncs++;
}

function newHistory(world: World, region: Region, data: Redis, end: number, start: number): void {
  const old = region.redis;
  region.past.push({ redis: old, end });
  region.initial = data;
  region.redis = new Redis(world.newReplId(), start, () => world.clock(region), data, { redis: old, end });
  region.replicated = start;
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
