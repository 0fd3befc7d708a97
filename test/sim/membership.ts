/** Regions that join a mesh and leave it. */
import { CURSOR_KEY, formatMarker, HEARTBEAT_KEY } from '../../agent/stream/keys';
import { takeData } from './difference';
import { Redis } from './redis';
import type { World } from './world';

const ROUNDS = 20;

/**
 * A region leaves: its clients go, the others apply all that it has, and then each of them learns that it is no member any more, at a
 * time of its own.
 */
export function leave(world: World): void {
  const { regions, random } = world;
  if (regions.length < 3 || regions.some(({ agent }) => !agent.isOpen)) return;
  const region = random.pick(regions);
  const { journal } = region.agent;
  while (region.agent.readStream(1_000_000));
  region.agent.fsync();
  const others = regions.filter((other) => other !== region);
  // In their Redis, not only in their journals: what it had not seen of theirs must not fold before.
  const isBehind = (): boolean =>
    others.some(({ agent }) =>
      journal.origins().some((origin) => (agent.heldOf(origin) ?? -1) < (journal.lastOf(origin)?.end ?? -1)),
    );
  for (let round = 0; round < ROUNDS && isBehind(); round++)
    for (const to of others) {
      for (const from of regions) world.pull(to, from, 1000);
      world.step(to);
      to.agent.readStream(1_000_000);
      to.agent.fsync();
    }
  // It is cut off: nobody can tell what it has.
  if (isBehind()) return;
  regions.splice(regions.indexOf(region), 1);
  world.gone.push(region);
  world.hasLost(region);
  world.trace(`${region.name} leaves`);
  for (const { agent } of regions) {
    agent.fsync();
    agent.crash(0, random.chance(0.3));
  }
  world.outcome.leaves++;
}

/**
 * A region joins, with nothing in its Redis: all others learn of it and start again, then it takes the data of one of them, and what its journal
 * has. What its clients write before that (agent/session/join.ts) is not modelled.
 */
export function join(world: World): void {
  const { regions, random } = world;
  if (regions.some(({ agent, redis }) => !agent.isOpen || agent.histories.get(redis.replId) === undefined)) return;
  const donor = random.pick(regions);
  const region = world.found();
  if (region === null) return;
  for (const { agent } of regions) {
    if (agent === region.agent) continue;
    agent.fsync();
    agent.crash(0, false);
    agent.start();
  }
  const data = takeData(donor.agent, donor.redis);
  world.trace(`${region.name} joins, with the data of ${donor.name}`);
  region.initial = data.keys;
  region.redis = new Redis(world.newReplId(), 0, () => world.clock(region), data.keys);
  const cursor = formatMarker({ block: '', stamp: data.stamp, vector: data.vector });
  region.redis.run(0, [
    ['SET', HEARTBEAT_KEY, String(world.clock(region))],
    ['SET', CURSOR_KEY, cursor],
  ]);
  region.agent.journal.adopt(donor.agent.journal, donor.agent.core.lowWater());
  region.agent.start({ donor: donor.name, cut: [...donor.agent.core.trims.unknownSince(Infinity)] });
  world.outcome.joins++;
}
