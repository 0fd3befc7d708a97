/** What a region gives to others on request: its data, digests of it, single values. */
import { type NotificationCapture, ReplicaLink, type RdbEntry } from '../capture';
import type { Amiss } from '../merge/difference';
import type { OriginId, Vector } from '../record';
import { CommandWriter, type RedisConnection, type Reply } from '../resp';
import { OWN_PREFIX, parseMarker } from '../stream/keys';
import { lastPositionAt } from '../stream/position';
import type { AgentContext, RedisAddress } from './context';
import { replicaOptions, SessionError } from './context';
import { raise } from '../vector';
import { Digester, type KeyDigest, writeDigests } from './digest';

/** What serving needs of the session. */
export interface Donor {
  context: AgentContext;
  address: RedisAddress;
  replicationId: string;
  /** Of the own stream. */
  origin: OriginId;
  connection: RedisConnection;
  /** Where there is no replication stream: the capture reads the data. */
  keyspace: NotificationCapture | null;
  /** Up to where the own stream has been read. */
  position(): number;
  /** What Redis holds of others' operations, and of older own ones. */
  applied(): Vector;
  /** What Redis has held of older own ones since its history began: the cursor may not say so yet. */
  past(): Vector;
  /** Its data holds changes that are in no operation. */
  unexplained: boolean;
  /** Per origin the position before which no operation is needed any more. */
  low(): ReadonlyMap<OriginId, number>;
  /** Up to where an origin's region has reported that nothing can take it back; −1: it has not. */
  reportedOf(origin: OriginId): number;
  /** No operation known up to now has a higher one. */
  stamp(): number;
  /** What of a key in Redis is known not to be the rule's, or waits for a state. */
  amissOf(db: number, key: string): Amiss | null;
  /** Streams of which others did not know at a time (Unix ms) what clients here had cut of them. */
  cutSince(timeMs: number): KeyName[];
  /** What it has of libraries of functions is known not to be the rule's. */
  areLibrariesAmiss(): boolean;
  /** Resolves when the own stream has been read up to the offset. */
  read(offset: number): Promise<void>;
  /** Resolves when the own stream has been read up to the offset and is in the journal. */
  journalled(offset: number): Promise<void>;
}

export function isOwnKey(key: Buffer): boolean {
  return key.length >= OWN_PREFIX.length && key.toString('latin1', 0, OWN_PREFIX.length) === OWN_PREFIX;
}

/** The entries of a fresh snapshot of the own Redis without the agents' keys and those that are not replicated; returns the positions that it stands at. */
export async function* ownSnapshot(donor: Donor): AsyncGenerator<RdbEntry[], Map<OriginId, number>> {
  const { policies } = donor.context;
  if (!policies.isActive) return yield* allOf(donor);
  const entries = allOf(donor);
  try {
    for (;;) {
      const { done, value } = await entries.next();
      if (done === true) return value;
      yield value.filter((entry) => entry.kind !== 'key' || !policies.ignores(entry.db, entry.key));
    }
  } finally {
    await entries.return(new Map());
  }
}

async function* allOf(donor: Donor): AsyncGenerator<RdbEntry[], Map<OriginId, number>> {
  const { context, address, keyspace } = donor;
  if (keyspace !== null) {
    // What clients write while it is read comes again in the stream, as a whole: it may be in the snapshot or not.
    const position = donor.position();
    const marker = parseMarker((yield* keyspace.data()) ?? '');
    if (marker === null) throw new SessionError('lost', 'the cursor is gone; ask again');
    return await withOwn(donor, new Map(marker.vector), position);
  }
  const link = new ReplicaLink(replicaOptions(context, address));
  link.on('close', () => undefined);
  try {
    const outcome = await link.connect(null);
    if (outcome.replId !== donor.replicationId)
      throw new SessionError('lost', 'the history of this Redis has just changed; ask again');
    let vector: Map<OriginId, number> | null = null;
    for await (const entries of link.snapshotBatches()) {
      const kept: RdbEntry[] = [];
      for (const entry of entries)
        if (entry.kind !== 'key' || !isOwnKey(entry.key)) kept.push(entry);
        else if (entry.key.toString('latin1') === context.keys.cursor && Buffer.isBuffer(entry.value)) {
          const marker = parseMarker(entry.value.toString('latin1'));
          if (marker !== null) vector = new Map(marker.vector);
        }
      yield kept;
    }
    if (vector === null) throw new SessionError('lost', 'the cursor is not in the snapshot; ask again');
    return await withOwn(donor, vector, outcome.offset);
  } finally {
    link.close();
  }
}

/**
 * Adds how far the own stream had come, once that is in the journal: with what was recorded at that place and is no bytes of the
 * stream (a difference, say, is what Redis held before), and as a position that a peer can wait for, no further than the last record.
 */
export async function withOwn(
  donor: Donor,
  vector: Map<OriginId, number>,
  offset: number,
): Promise<Map<OriginId, number>> {
  await donor.journalled(offset);
  const { origin } = donor;
  raise(vector, donor.past());
  vector.set(origin, Math.min(lastPositionAt(offset), donor.context.journal.appendedEnd(origin) ?? offset));
  return vector;
}

const DIGESTS_PER_FRAME = 8192;

/** The last frame of digests, as JSON. */
export interface DigestsEnd {
  /** What the snapshot holds, exactly. */
  vector: [OriginId, number][];
  /** It also holds changes that are in no operation: see difference.ts, "When nobody can tell". */
  unexplained: boolean;
  /** No operation that it holds has a higher one. */
  stamp: number;
  /** Of the needed operations, up to where their region has reported to be safe from a crash. Absent: of an earlier version. */
  reported?: [OriginId, number][];
}

/** What a region asks for with digests. */
export interface DigestsRequest {
  /** Of its own operations: what the snapshot has to hold to be of use. */
  needs: [OriginId, number][];
}

/** Frames of digests, then one that begins with '{': DigestsEnd. */
export async function* serveDigests(donor: Donor, payload: Buffer): AsyncGenerator<Buffer> {
  const { needs }: DigestsRequest =
    payload.length === 0 ? { needs: [] } : (JSON.parse(payload.toString('utf8')) as DigestsRequest);
  const has = donor.applied();
  // To read all keys is dear where there is no snapshot, and nothing is applied meanwhile. An origin without operations is in nobody's vector.
  if (donor.keyspace !== null && needs.some(([origin, position]) => (has.get(origin) ?? Infinity) < position))
    throw new SessionError('no-donor', 'not all of that region is applied here; ask again');
  const { unexplained } = donor;
  const digester = new Digester();
  let digests: KeyDigest[] = [];
  const entries = ownSnapshot(donor);
  try {
    for (;;) {
      const { done, value } = await entries.next();
      if (done) {
        if (digests.length > 0) yield Buffer.concat([DIGEST_MARK, writeDigests(digests)]);
        const end: DigestsEnd = {
          vector: [...value],
          unexplained,
          stamp: donor.stamp(),
          reported: needs.map(([origin]) => [origin, donor.reportedOf(origin)]),
        };
        yield Buffer.from(JSON.stringify(end));
        return;
      }
      for (const entry of value) {
        if (entry.kind !== 'key') continue;
        const digest = digester.add(entry);
        if (digest !== null) digests.push(digest);
      }
      if (digests.length >= DIGESTS_PER_FRAME) {
        yield Buffer.concat([DIGEST_MARK, writeDigests(digests)]);
        digests = [];
      }
    }
  } finally {
    // Whoever asked may be gone: what the snapshot holds (a link, or all blocks) is let go.
    await entries.return(new Map());
  }
}

export const DIGEST_MARK = Buffer.from('D');

export interface KeyName {
  db: number;
  /** Latin-1. */
  key: string;
}

/** A key's DUMP payload (base64) and when it expires. */
export interface ServedValue {
  dump: string | null;
  expireAtMs: number | null;
  /** Absent: nothing. */
  amiss?: Amiss | null;
}

/** Values of keys, and the positions at which exactly they were read. */
export interface ValuesAnswer {
  values: ServedValue[];
  vector: [OriginId, number][];
}

function bothAmiss(a: Amiss | null, b: Amiss | null): Amiss | null {
  if (a === null || b === null) return a ?? b;
  if (a === 'state' || b === 'state') return 'state';
  return a === 'all' || b === 'all' ? 'all' : [...a, ...b];
}

export async function serveValues(donor: Donor, payload: Buffer): Promise<Buffer> {
  const { keys } = JSON.parse(payload.toString('utf8')) as { keys: KeyName[] };
  // Before it is read, and once all before that is known: in between it may have been put right.
  const amiss = keys.map(({ db, key }) => donor.amissOf(db, key));
  const noteAmiss = (): void =>
    keys.forEach(({ db, key }, i) => {
      amiss[i] = bothAmiss(amiss[i]!, donor.amissOf(db, key));
    });
  if (donor.keyspace !== null) {
    const { looks, cursor } = await donor.keyspace.values(keys);
    const marker = parseMarker(cursor ?? '');
    if (marker === null) throw new SessionError('lost', 'the cursor is gone; ask again');
    noteAmiss();
    const values = looks.map(({ dump, expireAtMs }, i) => ({
      dump: dump?.toString('base64') ?? null,
      expireAtMs: expireAtMs === 0 ? null : expireAtMs,
      amiss: amiss[i]!,
    }));
    const answer: ValuesAnswer = {
      values,
      vector: [...(await withOwn(donor, new Map(marker.vector), donor.position()))],
    };
    return Buffer.from(JSON.stringify(answer));
  }
  const writer = new CommandWriter(4096).command(['MULTI']).command(['TIME']);
  for (const { db, key } of keys) {
    const bytes = Buffer.from(key, 'latin1');
    writer.command(['SELECT', db]).command(['DUMP', bytes]).command(['PTTL', bytes]);
  }
  writer
    .command(['SELECT', 0])
    .command(['GET', donor.context.keys.cursor])
    .command(['INFO', 'replication'])
    .command(['EXEC']);
  const { result } = await donor.connection.transaction(writer.take(), keys.length * 3 + 4);
  if (!Array.isArray(result)) throw new SessionError('lost', 'reading values failed');
  const nowMs = timeOf(result[0]);
  const [cursor, info] = result.slice(-2);
  const marker = Buffer.isBuffer(cursor) ? parseMarker(cursor.toString('latin1')) : null;
  const offset = Number(/^master_repl_offset:(\d+)/m.exec(Buffer.isBuffer(info) ? info.toString('latin1') : '')?.[1]);
  if (marker === null || !Number.isFinite(offset)) throw new SessionError('lost', 'the cursor is gone; ask again');
  await donor.read(offset);
  noteAmiss();
  const answer: ValuesAnswer = {
    values: keys.map((_, i) => {
      const dump = result[i * 3 + 2];
      const ttlMs = result[i * 3 + 3];
      return {
        dump: Buffer.isBuffer(dump) ? dump.toString('base64') : null,
        expireAtMs: typeof ttlMs === 'number' && ttlMs >= 0 ? nowMs + ttlMs : null,
        amiss: amiss[i]!,
      };
    }),
    vector: [...(await withOwn(donor, new Map(marker.vector), offset))],
  };
  return Buffer.from(JSON.stringify(answer));
}

/** Milliseconds since 1970 by Redis' own clock. */
function timeOf(reply: Reply | undefined): number {
  const [seconds, microseconds] = Array.isArray(reply) ? reply.map(String) : [];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

/** Keys whose state the asked region is to send; `explained`: with that, all its changes are in operations. */
export interface SettleRequest {
  /** The region that asks. */
  from: string;
  keys: KeyName[];
  explained?: boolean;
}

/** Names of the keys with these hashes, found by reading the whole Redis once more. */
export async function serveNames(donor: Donor, payload: Buffer): Promise<Buffer> {
  const { hashes } = JSON.parse(payload.toString('utf8')) as { hashes: [number, number][] };
  const wanted = new Set(hashes.map(([high, low]) => high * 2 ** 32 + low));
  const exact = new Set(hashes.map(([high, low]) => `${high}:${low}`));
  const names: KeyName[] = [];
  const digester = new Digester();
  for await (const entries of ownSnapshot(donor))
    for (const entry of entries) {
      if (entry.kind !== 'key') continue;
      const digest = digester.add(entry);
      if (digest === null || !wanted.has(digest.hashHigh * 2 ** 32 + digest.hashLow)) continue;
      if (exact.has(`${digest.hashHigh}:${digest.hashLow}`))
        names.push({ db: entry.db, key: entry.key.toString('latin1') });
    }
  return Buffer.from(JSON.stringify({ names }));
}
