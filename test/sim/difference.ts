/** What agent/session/difference.ts gets by requests, and the pure comparison of agent/merge/difference.ts over it. */
import type { ConflictPolicies } from '../../model';
import { type RdbKey } from '../../agent/capture/rdb';
import {
  type Amiss,
  type Candidate,
  isDoubtful,
  type Knowledge,
  type TheirValue,
  touchedAndAbsent,
  writeDifferences,
} from '../../agent/merge/difference';
import { libraryDifferences, type LibrarySources, LibraryTouches } from '../../agent/merge/library-difference';
import { evidenceOf } from '../../agent/merge/lost-evidence';
import { doneAgain, keptUntil } from '../../agent/merge/lost-tail';
import { nameOf, Touches } from '../../agent/merge/touches';
import { type OpRecord, type OriginId, regionOf, type Vector } from '../../agent/record';
import { CURSOR_KEY, parseMarker, stampOf } from '../../agent/stream/keys';
import { lastPositionAt } from '../../agent/stream/position';
import type { SimAgent } from './agent';
import { formatScore, type Redis, type Value } from './redis';

/** What a region holds at one moment. */
export interface Data {
  keys: Redis;
  vector: Vector;
}

/** What a region finds in its own Redis. */
export interface OwnData extends Data {
  /** The heartbeat in it. */
  heartbeatMs: number;
}

export interface DonorData extends Data {
  /** No operation in it has a higher one. */
  stamp: number;
  /** Keys that it has not as operations make them, by database and name. */
  amiss: ReadonlyMap<string, Amiss>;
  /** What it has of libraries is known not to be the rule's. */
  areLibrariesAmiss: boolean;
  /** It also holds changes that are in no operation. */
  isUnexplained: boolean;
  /** Up to where it has heard that nothing can take an origin's operations back. */
  reportedOf(this: void, origin: OriginId): number;
}

/** What a donor gives; `mine`: what it is asked for. */
export function takeData(donor: SimAgent, mine: Redis): DonorData {
  while (donor.readStream(1_000_000));
  donor.fsync();
  const redis = donor.redis();
  const cursor = redis.get(0, CURSOR_KEY);
  const vector = new Map(cursor === null ? [] : parseMarker(cursor)!.vector);
  for (const [origin, position] of donor.past) vector.set(origin, Math.max(position, vector.get(origin) ?? -1));
  vector.set(donor.origin!, Math.min(lastPositionAt(redis.offset), donor.journal.end(donor.origin!)!));
  const keys = redis.snapshot();
  const amiss = new Map<string, Amiss>();
  for (const { db, key } of [...keys.keys(), ...mine.keys()]) {
    const found = donor.core.amissOf(db, key);
    if (found !== null) amiss.set(nameOf(db, key), found);
  }
  const { libraries } = donor.core;
  const areLibrariesAmiss = libraries.isUnderWay || libraries.hasLost;
  const { core, stamp, isUnexplained } = donor;
  const reportedOf = (origin: OriginId): number => core.reportedOf(regionOf(origin), origin);
  return { keys, vector, stamp, amiss, areLibrariesAmiss, isUnexplained, reportedOf };
}

export interface Sources {
  region: string;
  policies: ConflictPolicies;
  mine: OwnData;
  /** The history of before, of which this Redis may have lost the end; null: it can't have. */
  before: OriginId | null;
  /** This region's before that. */
  older: ReadonlySet<OriginId>;
  /** At the time of the digests, and of the values. */
  theirs: DonorData;
  values: DonorData;
  records: readonly OpRecord[];
  /** By the clock of this region's Redis, no later than its snapshot. */
  startedMs: number;
  /** Keys of the snapshot whose time was over by then, and that are there all the same. */
  revived: ReadonlySet<string>;
  nowMs: number;
}

/** Schedules have few operations: one that is missing counts. */
const FEW = 5e-7;

/** As agent/session/difference.ts has it. */
export class Comparison {
  private readonly candidates: Candidate[] = [];
  /** Keys of other regions that differ: they are put back. */
  private readonly others: { db: number; key: string }[] = [];
  private readonly theirs: TheirValue[];
  private readonly policies: ConflictPolicies;
  private readonly region: string;
  private readonly touched: Touches;
  /** By what this Redis has lost of the history of before. */
  private readonly lost = new Touches(() => new Map([[this.before!, Infinity]]));
  private readonly before: OriginId | null;
  private readonly nowMs: number;
  private readonly areLibrariesAmiss: boolean;
  private readonly libraries: LibrarySources;
  private readonly mode: 'exact' | 'unexplained';
  /** Null: all of the history of before. */
  readonly keptUntil: number | null;

  constructor(o: Sources) {
    const { mine, theirs, values, before } = o;
    this.policies = o.policies;
    this.region = o.region;
    this.before = before;
    this.nowMs = o.nowMs;
    this.areLibrariesAmiss = values.areLibrariesAmiss;
    this.mode = theirs.isUnexplained ? 'unexplained' : 'exact';
    const touchedBefore = touchesOf(o, theirs.vector, new Touches(() => theirs.vector));
    this.touched = touchesOf(o, values.vector, new Touches(() => values.vector));
    for (const { db, key, value, expireAt } of mine.keys.keys()) {
      if (isPassedOver(o, db, key)) continue;
      const their = theirs.keys.entry(db, key);
      if (expireAt !== null && expireAt < o.startedMs && !o.revived.has(nameOf(db, key))) {
        if (theirs.isUnexplained && their !== undefined) this.note(o, { db, key, parts: [] });
        continue;
      }
      if (their !== undefined && touchedBefore.of(db, key) === undefined && isEqual({ value, expireAt }, their))
        continue;
      this.note(o, { db, key, parts: [entryOf(db, key, value, expireAt)] });
    }
    for (const { db, key } of theirs.keys.keys())
      if (!isPassedOver(o, db, key) && mine.keys.entry(db, key) === undefined) this.note(o, { db, key, parts: [] });
    if (theirs.isUnexplained) {
      const present = new Set([...mine.keys.keys(), ...theirs.keys.keys()].map(({ db, key }) => nameOf(db, key)));
      for (const candidate of touchedAndAbsent(touchedBefore, (name) => present.has(name)))
        if (!isPassedOver(o, candidate.db, candidate.key)) this.note(o, candidate);
    }
    this.theirs = this.candidates.map((candidate) => this.theirValue(values, candidate));
    const history = o.records.filter(({ origin }) => origin === before);
    const isThere = (db: number, key: string): boolean => {
      const entry = mine.keys.entry(db, key);
      return entry !== undefined && (entry.expireAt === null || entry.expireAt >= o.startedMs);
    };
    const evidence = evidenceOf(this.candidates, this.theirs, this.touched, isThere);
    const safe = before === null ? -1 : theirs.reportedOf(before);
    const marks = { cursor: mine.vector, heartbeatMs: mine.heartbeatMs, safe };
    this.keptUntil = keptUntil(history, o.region, marks, evidence, FEW);
    if (this.keptUntil !== null) this.noteLost(o, history, this.keptUntil);
    this.libraries = this.librariesOf(o, history);
  }

  /** What comes back was done by clients once more where the key is as elsewhere. */
  private noteLost(o: Sources, history: readonly OpRecord[], kept: number): void {
    const { lost } = this;
    for (const record of history)
      if (record.end > kept) for (const touches of [lost, this.touched]) touches.note(record, kept);
    const known = new Set([...this.candidates, ...this.others].map(({ db, key }) => nameOf(db, key)));
    const equal: Candidate[] = [];
    for (const { db, key, value, expireAt } of o.mine.keys.keys()) {
      const isOver = expireAt !== null && expireAt < o.startedMs;
      if (isOver || known.has(nameOf(db, key)) || isPassedOver(o, db, key)) continue;
      if (!o.policies.keeps(o.region, db, Buffer.from(key)))
        equal.push({ db, key, parts: [entryOf(db, key, value, expireAt)] });
    }
    for (const candidate of doneAgain(equal, lost)) {
      this.candidates.push(candidate);
      this.theirs.push(this.theirValue(o.values, candidate));
    }
  }

  private librariesOf(o: Sources, history: readonly OpRecord[]): LibrarySources {
    const touched = touchesOf(o, o.values.vector, new LibraryTouches());
    const late = new LibraryTouches();
    for (const record of history) {
      if (this.keptUntil !== null && record.end > this.keptUntil) touched.note(record, this.keptUntil);
      if (record.stamp + record.ops > stampOf(o.mine.heartbeatMs)) late.note(record, -1);
    }
    const [mine, theirs] = [o.mine, o.values].map(({ keys }) => byName(keys)) as [Libraries, Libraries];
    return { mine, theirs, strange: new Set(), touched, late, mode: this.mode };
  }

  private note({ policies, region }: Sources, candidate: Candidate): void {
    const { db, key } = candidate;
    if (policies.keeps(region, db, Buffer.from(key))) this.others.push({ db, key });
    else this.candidates.push(candidate);
  }

  /** The donor is about to put some of it right; `state`: it waits for a state itself. */
  get doubtful(): 'soon' | 'state' | null {
    const doubtful = this.theirs.filter((their, i) => isDoubtful(this.candidates[i]!, their));
    if (this.areLibrariesAmiss) return 'soon';
    if (doubtful.length === 0) return null;
    return doubtful.some(({ amiss }) => amiss !== 'state') ? 'soon' : 'state';
  }

  differences(known: Knowledge): ReturnType<typeof writeDifferences> {
    const { policies } = this;
    const isLastWriters = (db: number, key: string): boolean => policies.isLastWriters(db, Buffer.from(key));
    const { candidates, theirs, touched, mode, others, lost, region } = this;
    const isOwn = (db: number, key: string): boolean =>
      policies.ownerOf(db, Buffer.from(key)) === region && lost.of(db, key) === undefined;
    const traits = { isByKey: false, evicts: false, isLastWriters, isOwn };
    const found = writeDifferences(candidates, theirs, touched, mode, known, traits, this.nowMs + 2000);
    const ofLibraries = libraryDifferences(this.libraries, known.libraries).map((payload) => ({ db: 0, payload }));
    return { ...found, operations: [...found.operations, ...ofLibraries], unsettled: [...found.unsettled, ...others] };
  }

  private theirValue({ keys, amiss }: DonorData, { db, key }: Candidate): TheirValue {
    const found = keys.isExpired(db, key) ? undefined : keys.entry(db, key);
    const dump = found === undefined ? null : entryOf(db, key, found.value, null);
    return { dump, expireAtMs: found?.expireAt ?? null, amiss: amiss.get(nameOf(db, key)) ?? null };
  }
}

/** The agents' own keys, and those that are not replicated. */
function isPassedOver({ policies }: Sources, db: number, key: string): boolean {
  return key.startsWith('meridian:') || policies.ignores(db, Buffer.from(key));
}

type Libraries = ReadonlyMap<string, Buffer>;

function byName({ functions }: Redis): Libraries {
  return new Map([...functions.all].map(([name, code]) => [name, Buffer.from(code, 'latin1')]));
}

/** What other regions did behind what the snapshot holds, up to there. */
function touchesOf<T extends Pick<Touches, 'note'>>(
  { region, mine, older, records }: Sources,
  until: Vector,
  touches: T,
): T {
  for (const record of records) {
    const from = mine.vector.get(record.origin) ?? -1;
    const isToCome = regionOf(record.origin) !== region || older.has(record.origin);
    if (isToCome && record.end > from) touches.note(record, from);
  }
  return touches;
}

type Entry = { readonly value: Value; readonly expireAt: number | null };

function isEqual(a: Entry, b: Entry): boolean {
  const text = (entry: Entry): string => JSON.stringify([entryOf(0, '', entry.value, entry.expireAt)]);
  return text(sorted(a)) === text(sorted(b));
}

function sorted({ value, expireAt }: Entry): Entry {
  switch (value.type) {
    case 'hash':
      return { value: { ...value, hash: new Map([...value.hash].sort()) }, expireAt };
    case 'set':
      return { value: { ...value, set: new Set([...value.set].sort()) }, expireAt };
    case 'zset':
      return { value: { ...value, zset: new Map([...value.zset].sort()) }, expireAt };
    case 'stream':
      // How many ever were in it is no part of its value.
      return { value: { ...value, added: 0, maxDeleted: '0-0' }, expireAt };
    default:
      return { value, expireAt };
  }
}

/** As the RDB reader gives it. */
export function entryOf(db: number, key: string, value: Value, expireAtMs: number | null): RdbKey {
  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
  const common = { kind: 'key', db, key: bytes(key), expireAtMs, part: 0, last: true } as const;
  switch (value.type) {
    case 'string':
      return { ...common, type: 'string', value: bytes(value.string) } as RdbKey;
    case 'hash':
      return { ...common, type: 'hash', value: [...value.hash].map(([f, v]) => [bytes(f), bytes(v), null]) } as RdbKey;
    case 'set':
      return { ...common, type: 'set', value: [...value.set].map(bytes) } as RdbKey;
    case 'zset':
      return { ...common, type: 'zset', value: [...value.zset].map(([m, s]) => [bytes(m), formatScore(s)]) } as RdbKey;
    case 'list':
      return { ...common, type: 'list', value: value.list.map(bytes) } as RdbKey;
    case 'stream': {
      const entries = [...value.entries].map(([id, fields]) => [id, fields.map(bytes)]);
      const { lastId, added: entriesAdded, maxDeleted: maxDeletedId } = value;
      const stream = { entries, length: entries.length, lastId, entriesAdded, maxDeletedId, groups: [] };
      return { ...common, type: 'stream', value: stream } as unknown as RdbKey;
    }
  }
}
