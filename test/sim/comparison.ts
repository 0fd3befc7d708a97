/** The model of agent/session/difference.ts. */
import { ELSEWHERE } from '../../agent/merge/settling';
import { missingOf } from '../../agent/merge/replay';
import { type OriginId, RecordKind, regionOf, streamOrigin } from '../../agent/record';
import { HEARTBEAT_KEY, stampOf } from '../../agent/stream/keys';
import { Numbers } from '../../agent/stream/numbers';
import { positionAfter } from '../../agent/stream/position';
import type { RecorderState } from '../../agent/stream/recorder';
import { NUMBERS_MAX, type SimAgent } from './agent';
import { ForeignHand } from './applier';
import { Comparison, type DonorData, entryOf, type OwnData, takeData } from './difference';
import { recordAt } from './histories';
import type { SimAgentHost } from './host';
import { parseCommands, type Redis } from './redis';

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
  for (;;) {
    const peers = host.peers();
    // What the journal has lost of this region, and only one has who can't be reached, would be told twice (Limits): it is waited for.
    const reach = (origin: OriginId): number => (regionOf(origin) === region ? host.knownElsewhere(origin) : -1);
    const needs = [...vector];
    // A history without any operation is in nobody's vector.
    const firstOf = (origin: OriginId): number =>
      journal.end(origin) === undefined ? -1 : journal.birthOf(origin).end;
    // What an earlier try has told of this history.
    if (known !== undefined) needs.push([state.origin, known]);
    donor = peers[0];
    if (donor !== undefined) {
      theirs = takeData(donor);
      const isBehind = needs.some(
        ([origin, position]) => (theirs.vector.get(origin) ?? firstOf(origin)) < Math.max(position, reach(origin)),
      );
      if (!isBehind) break;
    }
    yield;
  }
  host.trace(`${region} compares with ${donor.region}`);
  yield;
  // Values are read later than digests.
  if (!donor.alive) throw new ForeignHand();
  const values = takeData(donor);
  const until = new Map(theirs.vector);
  for (const [origin, position] of values.vector) until.set(origin, Math.max(position, until.get(origin) ?? -1));
  agent.waitingFor = 'records that the donor has';
  const isMissing = ([origin, position]: [OriginId, number]): boolean =>
    (regionOf(origin) !== region || origin === old) && (journal.durableEnd(origin) ?? -1) < position;
  while ([...until].some(isMissing)) yield;
  const comparison = new Comparison({
    region,
    policies: host.policies,
    mine,
    before: old,
    older,
    theirs,
    values,
    records: journal.all(),
    startedMs,
    nowMs: host.now(),
  });
  for (const [origin, position] of theirs.vector)
    if (regionOf(origin) === region && origin !== state.origin && !older.has(origin))
      vector.set(origin, Math.max(position, vector.get(origin) ?? -1));
  if (comparison.keptUntil !== null) {
    host.trace(`${region} lost what is behind ${old}@${comparison.keptUntil}`);
    vector.set(old, comparison.keptUntil);
  }
  const replay = agent.rebuild(state.origin);
  for (const { db, key } of agent.document!.awaited) agent.core.settling.demandState(db, key, ELSEWHERE);
  if (missingOf(replay, agent.others()).length > 0 || replay.waiting().length > 0) agent.replay = replay;
  const found = comparison.differences(agent.core);
  state.seen = new Map(vector);
  state.stamp = Math.max(state.stamp, theirs.stamp + 1, stampOf(mine.heartbeatMs) + 1);
  if (known === undefined) {
    journal.append({ ...recordAt(state), kind: RecordKind.birth });
    agent.core.assume(state.origin, state.end);
  }
  for (const { db, payload } of found.operations) {
    const end = positionAfter(state.end)!;
    const record = journal.append({ ...recordAt(state), kind: RecordKind.difference, db, payload, ops: 1, end });
    state.end = end;
    state.stamp++;
    host.trace(
      `${region} finds ${parseCommands(payload)
        .map((c) => c.argv.join(' '))
        .join('; ')}`,
    );
    agent.tell(record);
  }
  for (const { db, key, id } of found.missing) agent.core.refused(db, key, { increment: null, entry: id });
  for (const { db, key } of found.unsettled) {
    agent.core.settling.demandState(db, key, ELSEWHERE);
    host.ask(donor.region, db, key);
  }
  const numbers = new Numbers(true, NUMBERS_MAX);
  for (const { db, key, value, expireAt } of mine.keys.keys()) numbers.load(entryOf(db, key, value, expireAt));
  agent.read(state, redis, numbers);
  yield* agent.rememberAndPump(replay);
}
