/** How the history of a Redis begins in a journal, and where it goes on. */
import { isOfStream, type OpRecord, type OriginId, RecordKind } from '../../agent/record';
import { HEARTBEAT_KEY, stampOf } from '../../agent/stream/keys';
import { positionAfter } from '../../agent/stream/position';
import { Recorder, type RecorderState } from '../../agent/stream/recorder';
import type { SimAgent } from './agent';
import type { SimAgentHost } from './host';
import type { SimJournal } from './journal';
import { parseCommands, type Redis } from './redis';

interface KeyName {
  readonly db: number;
  readonly key: string;
}

/**
 * A new history. Of the older ones this Redis holds all, but for what a failover lost.
 * @returns keys of other regions that the last bytes of the old one wrote, and the document does not tell of
 */
export function openHistory(agent: SimAgent, host: SimAgentHost, origin: OriginId, redis: Redis): KeyName[] {
  const { journal, vector } = agent;
  const late: KeyName[] = [];
  let stamp = agent.maxStamp + 1;
  const { previous } = redis;
  if (previous !== null) {
    const old = agent.histories.get(previous.redis.replId)!.origin;
    const state = resume(journal, old);
    const noted = agent.document?.noted;
    if (noted?.origin === old)
      late.push(...trespassesIn(host, previous.redis, noted, Math.min(state.offset, previous.end)));
    if (state.offset < previous.end)
      new Recorder(
        state,
        {
          record: (record) => void journal.append(record),
          marker: () => undefined,
          heartbeat: () => undefined,
          getAck: () => undefined,
          trespass: ({ db, key }) => late.push({ db, key }),
        },
        { policies: host.policies },
      ).push(previous.redis.read(state.offset, previous.end - state.offset));
    // An operation behind the last byte that is left, and before the next, belongs to it.
    const kept = journal.all().filter(({ origin: o, end }) => o === old && end < previous.end + 1);
    const top = Math.max(...kept.map(({ end }) => end));
    vector.set(old, top === journal.end(old) ? top : Math.max(previous.end, top));
    const last = journal.lastOf(old)!;
    stamp = Math.max(stamp, last.stamp + last.ops);
  }
  // Its own first heartbeat is a later one: what stands before that is to be told from what stood before this one.
  stamp = Math.max(stamp, stampOf(Number(redis.get(0, HEARTBEAT_KEY) ?? 0)) + 1);
  const { start } = redis;
  beginHistory(journal, { origin, offset: start, end: start, stamp, seen: new Map(vector), db: 0 });
  journal.fsync();
  return late;
}

/**
 * What clients did to keys of other regions is in no record: it is read once more from where the document tells of it, up to where the
 * stream goes on.
 */
export function trespassesIn(host: SimAgentHost, redis: Redis, noted: RecorderState, until: number): KeyName[] {
  const found: KeyName[] = [];
  if (noted.offset >= until) return found;
  new Recorder(
    { ...noted },
    {
      record: () => undefined,
      marker: () => undefined,
      heartbeat: () => undefined,
      getAck: () => undefined,
      trespass: ({ db, key }) => found.push({ db, key }),
    },
    { policies: host.policies },
  ).push(redis.read(noted.offset, until - noted.offset));
  return found;
}

/** Its birth, and an operation that does nothing: so that all cursors tell of it, though nobody may ever write here. */
export function beginHistory(journal: SimJournal, state: RecorderState): OpRecord {
  journal.append({ ...recordAt(state), kind: RecordKind.birth });
  const record = { ...recordAt(state), kind: RecordKind.difference, ops: 1, end: positionAfter(state.end)! };
  state.end = record.end;
  state.stamp++;
  return journal.append(record);
}

/** A record without operations where a stream has come to. */
export function recordAt({ origin, end, stamp, seen, db }: RecorderState): OpRecord {
  return { kind: RecordKind.stream, origin, start: end, end, stamp, ops: 0, db, seen, payload: Buffer.alloc(0) };
}

/** Where the stream goes on: behind the last recorded bytes. States and expiries in blocks are between two of them. */
export function resume(journal: SimJournal, of: OriginId): RecorderState {
  const { origin, end, seen, stamp, ops } = journal.lastOf(of)!;
  const stream = journal.lastOfStream(of);
  let { db } = stream;
  if (isOfStream(stream.kind))
    for (const { argv } of parseCommands(stream.payload)) if (argv[0] === 'SELECT') db = Number(argv[1]);
  return { origin, offset: stream.end, end, stamp: stamp + ops, seen, db };
}
