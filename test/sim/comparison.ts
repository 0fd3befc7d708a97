/** The model of agent/session/difference.ts. */
import { ELSEWHERE } from '../../agent/merge/settling';
import { missingOf } from '../../agent/merge/replay';
import { nameOf } from '../../agent/merge/touches';
import { type OriginId, RecordKind, regionOf, streamOrigin } from '../../agent/record';
import { HEARTBEAT_KEY, stampOf } from '../../agent/stream/keys';
import { Numbers } from '../../agent/stream/numbers';
import { positionAfter } from '../../agent/stream/position';
import type { RecorderState } from '../../agent/stream/recorder';
import { NUMBERS_MAX, type SimAgent } from './agent';
import { ForeignHand } from './applier';
import { Comparison, type DonorData, entryOf, type OwnData, takeData } from './difference';
import { beginHistory, recordAt } from './histories';
import type { SimAgentHost } from './host';
import { commandsIn, type Redis } from './redis';

/** So often nobody is found before the first goes on. */
const HOPELESS_STEPS = 10;
/** So often what waits for a state at the donor is asked for again. */
const AMISS_TRIES = 10;

/**
 * Redis began anew from its disk: what clients did there while nobody was reading is the difference between what it holds
 * and what another region does. See agent/session/difference.ts.
 */
export function* compare(agent: SimAgent, host: SimAgentHost, redis: Redis): Generator<void> {
  const { journal, vector, region } = agent;
  const startedMs = host.now();
  // For a new replica the stream begins with the database that it is in.
  redis.noise('select');
  const mine: OwnData = {
    keys: redis.snapshot(),
    vector,
    heartbeatMs: Number(redis.get(0, HEARTBEAT_KEY) ?? 0),
  };
  const old = agent.document!.origin;
  for (const origin of journal.origins())
    if (regionOf(origin) === region && (origin === old || !vector.has(origin)))
      vector.set(origin, journal.end(origin)!);
  const older = new Set([...vector.keys()].filter((origin) => regionOf(origin) === region && origin !== old));
  const last = journal.lastOf(old)!;
  const { offset } = redis;
  const state: RecorderState = {
    origin: streamOrigin(region, redis.replId, offset),
    offset,
    end: offset,
    stamp: Math.max(last.stamp + last.ops, agent.maxStamp + 1),
    seen: new Map(vector),
    db: 0,
  };
  const known = journal.end(state.origin);
  if (known !== undefined) state.end = known;
  agent.nextOrigin = state.origin;
  agent.waitingFor = 'a donor';
  let donor: SimAgent | undefined;
  let theirs!: DonorData;
  let hopeless = 0;
  for (;;) {
    const peers = host.peers();
    // What the journal has lost of this region, and only one has who can't be reached, would be told twice (Limits): it is waited for.
    const reach = (origin: OriginId): number => (regionOf(origin) === region ? host.knownElsewhere(origin) : -1);
    const needs = [...vector];
    // A history of which nobody has taken anything is in nobody's vector.
    const firstOf = (origin: OriginId): number => journal.birthOf(origin)?.end ?? -1;
    // What an earlier try has told of this history.
    if (known !== undefined) needs.push([state.origin, known]);
    const isNew = (peer: SimAgent): boolean => !agent.isUnexplained || !agent.comparedWith.has(peer.region);
    donor = peers.find(isNew) ?? peers[0];
    if (donor !== undefined) {
      theirs = takeData(donor, mine.keys);
      const isBehind = needs.some(
        ([origin, position]) => (theirs.vector.get(origin) ?? firstOf(origin)) < Math.max(position, reach(origin)),
      );
      if (!isBehind) break;
    }
    hopeless = host.isHopeless() ? hopeless + 1 : 0;
    if (hopeless > HOPELESS_STEPS && isFirst(host)) {
      yield* goOnAlone(agent, host, state, mine);
      return;
    }
    yield;
  }
  host.trace(`${region} compares with ${donor.region}`);
  agent.waitingFor = 'values of the donor';
  const { life } = donor;
  yield;
  const revived = stillThere(mine.keys, redis, startedMs);
  // Values are read later than digests.
  let comparison!: Comparison;
  // Under the same history Redis has lost nothing.
  const before = agent.isResync ? null : old;
  agent.isResync = false;
  const until = new Map(theirs.vector);
  const isMissing = ([origin, position]: [OriginId, number]): boolean =>
    (regionOf(origin) !== region || origin === old) && (journal.durableEnd(origin) ?? -1) < position;
  for (let tries = 0; tries < AMISS_TRIES; tries++) {
    if (!donor.isOpen || donor.life !== life) throw new ForeignHand();
    const values = takeData(donor, mine.keys);
    for (const [origin, position] of values.vector) until.set(origin, Math.max(position, until.get(origin) ?? -1));
    agent.waitingFor = 'records that the donor has';
    while ([...until].some(isMissing)) yield;
    comparison = new Comparison({
      region,
      policies: host.policies,
      mine,
      before,
      older,
      theirs,
      values,
      records: journal.all(),
      startedMs,
      revived,
      nowMs: host.now(),
    });
    const { doubtful } = comparison;
    if (doubtful === null) break;
    // Corrections take milliseconds; a state may be this region's to send.
    if (doubtful === 'soon') tries = 0;
    agent.waitingFor = 'values that the donor is about to put right';
    yield;
  }
  for (const [origin, position] of theirs.vector)
    if (regionOf(origin) === region && origin !== state.origin && !older.has(origin))
      vector.set(origin, Math.max(position, vector.get(origin) ?? -1));
  // What comes now is behind all that the donor had.
  state.stamp = Math.max(state.stamp, theirs.stamp + 1, stampOf(mine.heartbeatMs) + 1);
  if (comparison.keptUntil !== null) {
    host.trace(`${region} lost what is behind ${old}@${comparison.keptUntil}`);
    vector.set(old, comparison.keptUntil);
  }
  if (theirs.isUnexplained) {
    agent.comparedWith.add(donor.region);
    donor.comparedWith.add(region);
  } else if (!agent.comparedWith.has(donor.region)) agent.isUnexplained = false;
  yield* begin(agent, redis, state, mine, () => {
    const found = comparison.differences(agent.core);
    for (const { db, payload } of found.operations) {
      const end = positionAfter(state.end)!;
      const record = journal.append({ ...recordAt(state), kind: RecordKind.difference, db, payload, ops: 1, end });
      state.end = end;
      state.stamp++;
      host.trace(`${region} finds ${commandsIn(payload).join('; ')}`);
      agent.tell(record);
    }
    for (const entry of found.missing) agent.core.lacks(entry);
    for (const { db, key } of found.unsettled) {
      agent.core.settling.demandState(db, key, ELSEWHERE);
      host.ask(donor.region, db, key);
    }
    host.compared(mine.keys);
  });
}

/** Keys whose time was over, and that Redis has yet: its clock was set back. The others go as it is asked. */
function stillThere(keys: Redis, redis: Redis, startedMs: number): Set<string> {
  const found = new Set<string>();
  for (const { db, key, expireAt } of keys.keys())
    if (expireAt !== null && expireAt < startedMs && redis.has(db, key)) found.add(nameOf(db, key));
  return found;
}

/** Puts the window together, and reads the stream. @param tell tells differences, before the first of the stream */
function* begin(agent: SimAgent, redis: Redis, state: RecorderState, mine: OwnData, tell: () => void): Generator<void> {
  const { journal, core, vector } = agent;
  const isNew = journal.end(state.origin) === undefined;
  const replay = agent.rebuild(state.origin);
  for (const { db, key } of agent.document!.awaited) core.settling.demandState(db, key, ELSEWHERE);
  for (const entry of agent.document!.missing) core.lacks(entry);
  if (missingOf(replay, agent.others()).length > 0 || replay.waiting().length > 0) agent.replay = replay;
  state.seen = new Map(vector);
  if (isNew) {
    core.assume(state.origin, state.end);
    agent.tell(beginHistory(journal, state));
  }
  tell();
  const numbers = new Numbers(true, NUMBERS_MAX);
  for (const { db, key, value, expireAt } of mine.keys.keys()) numbers.load(entryOf(db, key, value, expireAt));
  agent.read(state, redis, numbers);
  yield* agent.rememberAndPump(replay);
}

/** Whether others can be reached, and this is the first of all. */
function isFirst(host: SimAgentHost): boolean {
  const live = [...host.live()].sort();
  return live.length > 1 && live[0] === host.region;
}

/** Nobody can tell: the first region goes on with what it has, and others compare with that. */
function* goOnAlone(agent: SimAgent, host: SimAgentHost, state: RecorderState, mine: OwnData): Generator<void> {
  host.trace(`${agent.region} goes on with what it has`);
  agent.isUnexplained = true;
  agent.comparedWith.clear();
  yield* begin(agent, host.redis(), state, mine, () => undefined);
}
