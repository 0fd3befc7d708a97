/**
 * What clients changed in this Redis while no agent was reading: the difference between its snapshot and what the mesh
 * holds. With AOF on, any restart of Redis changes its replication ID and refuses a partial resync, so this is usual.
 *
 * Digests of all keys are compared with a donor's, whose snapshot holds all that this region had journalled. Where they
 * differ, the donor's value is fetched. What other regions did to a key since this Redis heard of them explains a
 * difference by itself (it will be applied as always); only what remains is a client's doing here. Both sides are known
 * at exact positions, and the operations between them are read from the own journal: counters come out exact.
 *
 * When nobody can tell: after a power cut, say, all regions come back like this, and each would wait for another. Then
 * the first one goes on with what it has. Its data may hold changes that are in no operation ("unexplained"), so others
 * compare with it differently: what either side has more is kept, and where values differ the first one's stand. A region that
 * was only out of reach meanwhile has nothing to compare: the one that went on compares with that one, as soon as it is there again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeDump, type RdbEntry, type RdbKey } from '../capture';
import {
  type Candidate,
  type Difference,
  isDoubtful,
  type TheirValue,
  touchedAndAbsent,
  type Knowledge,
  type MissingEntry,
  writeDifferences,
} from '../merge/difference';
import {
  type KnownLibraries,
  type LibrarySources,
  libraryDifferences,
  LibraryTouches,
  sameUntold,
} from '../merge/library-difference';
import { evidenceOf, type TailEvidence } from '../merge/lost-evidence';
import { doneAgain, keptUntil, LateKeys } from '../merge/lost-tail';
import { nameOf, Touches } from '../merge/touches';
import { type OpRecord, type OriginId, regionOf, type Vector } from '../record';
import { encodeCommand } from '../resp';
import { parseHeartbeat, stampOf } from '../stream/keys';
import { raise } from '../vector';
import { type AgentContext, keepLetter, SessionError } from './context';
import { Digester, DigestTable } from './digest';
import {
  DIGEST_MARK,
  type DigestsEnd,
  type DigestsRequest,
  isOwnKey,
  type KeyName,
  type ServedValue,
  type ValuesAnswer,
} from './donor';
import { byName, type LibrariesAnswer } from './libraries';
import { OverKeys } from './over-keys';
import { recordsUpTo } from './records';

export interface DifferenceOptions {
  context: AgentContext;
  snapshot: AsyncIterable<RdbEntry[]>;
  /** What the snapshot holds of each origin. */
  held: Vector;
  /**
   * Histories of this region before that: of them `held` says exactly what this Redis has. What it lacks of them, after a failover,
   * comes back as others' operations do.
   */
  older: ReadonlySet<OriginId>;
  /** The history of before, of which this Redis may have lost the end; null: it can't have. */
  before: OriginId | null;
  /** Before the snapshot was made, by the clock of this Redis. */
  startedMs: number;
  /** Of the heartbeat that was in this Redis then: Unix ms. */
  heartbeatMs: number;
  /** This region captures by notifications, and so may others: whole keys are written where elements were meant. */
  isByKey: boolean;
  /** This Redis removes keys when it is full: one that is missing was not deleted. */
  evicts: boolean;
  /** A client's flush has emptied this Redis, or a database of it, and was not carried: what is missing, or less, was not deleted. */
  isEmptied: boolean;
  /** This Redis has libraries of functions, and its snapshot tells of them; those of other regions the agent can bring into it. */
  hasLibraries: boolean;
  /** Why this Redis would not load a library, an error's code; null: it would. */
  refusalOf(code: Buffer): Promise<string | null>;
  /** Whether this Redis can hold a value, a DUMP: it may lack the module whose type it has. */
  canHold(dump: Buffer): Promise<boolean>;
  /** Which of these keys this Redis has: what is over goes when it is asked, and the stream tells of that. */
  readonly areThere: (keys: readonly KeyName[]) => Promise<boolean[]>;
  /** Throws once the session has ended. */
  alive(): void;
  /** Told whether any reachable region may yet become a donor. */
  hopeless(isSo: boolean): void;
}

/** What a region says of its place in the mesh when it is asked (request `mesh`). */
export interface MeshAnswer {
  /** It can give its data. */
  established: boolean;
  /** It waits for data itself, and so does everybody whom it can reach. */
  hopeless: boolean;
  /** Its data also holds changes that are in no operation. Absent: an earlier version, which does not say. */
  unexplained?: boolean;
  /** Regions that it counts: what all of them have seen it lets go of. Absent: an earlier version, or nothing is known yet. */
  members?: string[];
  /** The same of regions behind it, where it was asked for them (counting.ts). Absent: there are none, or an earlier version. */
  beyond?: Record<string, readonly string[]>;
}

export interface Differences {
  operations: Difference[];
  /** Keys that only the donor's state can bring to rest. */
  unsettled: KeyName[];
  missing: MissingEntry[];
  donor: string;
  /** The donor's data held changes that were in no operation; now all of them are, or will be by its states. */
  explained: boolean;
}

export interface Comparison {
  /** What the donor had. */
  vector: Vector;
  /** Neither an operation that the donor had nor one before the heartbeat in this Redis has a higher one. */
  stamp: number;
  /** The position up to which this Redis holds the history of before; null: all of it that is known. */
  keptUntil: number | null;
  /** The differences, once the window has been put together from what this Redis holds. */
  differences(known: Knowledge): Promise<Differences>;
}

const VALUES_PER_REQUEST = 100;
/** What the donor is about to put right is asked for so often again. */
const AMISS_TRIES = 10;
const AMISS_MS = 100;
/** How far clocks are off, mostly. */
const SOON_MS = 2000;
/** Of the history of before, what is looked at to find how much of it Redis has lost: it is seconds, not all of it. */
const TAIL_BYTES_MAX = 64 * 1024 * 1024;

/** @returns null when there is nobody to compare with, and this region is the one to go on */
export async function compareWithMesh(o: DifferenceOptions): Promise<Comparison | null> {
  const { context } = o;
  const { log } = context;
  const digests = await fetchDigests(o);
  if (digests === null) {
    // The stream comes behind the snapshot.
    for await (const _ of o.snapshot) o.alive();
    return null;
  }
  const { donor, table, vector, stamp, unexplained, reported } = digests;
  // Equal digests say nothing of a key that others have changed since: both sides may have added the same.
  const touchedBefore = new Touches(() => vector);
  await noteOthers(o, vector, touchedBefore);
  /** Touched keys that are in the snapshot. */
  const present = new Set<string>();
  /** Of keys that the end of the own history is about, those that are equal: what clients did there may have been lost, and been done once more. */
  const equal = new Map<string, Candidate | null>();
  for (const name of await lateKeysOf(o, vector)) equal.set(name, null);
  const {
    candidates: differing,
    heartbeatMs,
    libraries,
  } = await differingKeys(o, table, touchedBefore, present, unexplained, equal);
  // Keys that the mesh has and this Redis has not: their names are asked for by hash.
  const absent = await namesOf(context, digests, [...table.unmet()]);
  for (const name of absent) differing.push({ ...name, parts: [] });
  if (unexplained) {
    for (const { db, key } of absent) present.add(nameOf(db, key));
    differing.push(...touchedAndAbsent(touchedBefore, (name) => present.has(name)));
  }
  // What another region owns is no difference that a client here may have made: it is put back.
  const isOthers = ({ db, key }: Candidate): boolean =>
    context.policies.keeps(context.config.region, db, Buffer.from(key, 'latin1'));
  const comparable = differing.filter((candidate) => !isOthers(candidate));
  const others = differing.filter(isOthers).map(({ db, key }) => ({ db, key }));

  const { all, readAt, until } = await valuesOf(o, digests, comparable);
  const strange = await strangeOf(o, all);
  for (const { db, key } of strange) keepLetter(context, { db, key, command: 'RESTORE', code: 'ERR' });
  if (strange.size > 0)
    log.warn({ keys: strange.size }, 'keys of modules that this Redis has not loaded stay in the other regions');
  const compared = all.filter(({ candidate }) => !strange.has(candidate));
  const candidates = compared.map(({ candidate }) => candidate);
  const values = compared.map(({ value }) => value);
  let touched = new Touches((name) => readAt.get(name));
  await noteOthers(o, until, touched);

  // What a flush has removed tells nothing of what Redis has kept.
  const isEvident = ({ candidate }: Compared): boolean => !o.isEmptied || candidate.parts.length > 0;
  const evident = compared.filter(isEvident);
  const evidence = evidenceOf(
    evident.map(({ candidate }) => candidate),
    evident.map(({ value }) => value),
    touched,
    (db, key) => (equal.get(nameOf(db, key)) ?? null) !== null,
  );
  const kept = await keptOf(o, vector, { heartbeatMs, reported }, evidence);
  const end = o.before === null ? -1 : (vector.get(o.before) ?? -1);
  const lost = new Touches(() => new Map([[o.before!, end]]));
  if (kept !== null) {
    log.warn(
      { origin: o.before, kept, known: vector.get(o.before!) },
      'Redis came back without the last of its changes; they are applied once more',
    );
    await noteOf(o, o.before!, kept, end, lost);
    const left = [...equal.values()].filter((candidate) => candidate !== null && !isOthers(candidate));
    const again = await valuesOf(o, digests, doneAgain(left as Candidate[], lost));
    if (again.all.length > 0) {
      for (const { candidate, value } of again.all) {
        candidates.push(candidate);
        values.push(value);
      }
      for (const [name, at] of again.readAt) readAt.set(name, at);
      const untilAgain = new Map(until);
      raise(untilAgain, again.until);
      touched = new Touches((name) => readAt.get(name));
      await noteOthers(o, untilAgain, touched);
    }
    await noteOf(o, o.before!, kept, end, touched);
  }

  const mode = unexplained ? 'unexplained' : 'exact';
  const sources = o.hasLibraries ? await librariesOf(o, digests, { mine: libraries, mode }, heartbeatMs, kept) : null;

  return {
    vector,
    // What comes now is behind that heartbeat, also where the journal has lost how far stamps had come.
    stamp: Math.max(stamp, stampOf(heartbeatMs)),
    keptUntil: kept,
    differences: async (known) => {
      const ofLibraries = sources === null ? [] : await changesOf(o, sources, known.libraries);
      const isLastWriters = (db: number, key: string): boolean =>
        context.policies.isLastWriters(db, Buffer.from(key, 'latin1'));
      const isOwn = (db: number, key: string): boolean =>
        !o.isEmptied &&
        context.policies.ownerOf(db, Buffer.from(key, 'latin1')) === context.config.region &&
        lost.of(db, key) === undefined;
      const traits = { isByKey: o.isByKey, evicts: o.evicts, isLastWriters, isOwn };
      const ofKeys = o.isEmptied ? 'unexplained' : mode;
      const found = writeDifferences(candidates, values, touched, ofKeys, known, traits, Date.now() + SOON_MS);
      const operations = [...found.operations, ...ofLibraries.map((payload) => ({ db: 0, payload }))];
      const unsettled = [...found.unsettled, ...others];
      log.info(
        { donor, candidates: candidates.length, operations: operations.length, unsettled: unsettled.length },
        'full sync compared with the mesh',
      );
      return { ...found, operations, unsettled, donor, explained: unexplained };
    },
  };
}

interface Compared {
  readonly candidate: Candidate;
  /** The donor's, and as it came. */
  value: TheirValue;
  readonly bytes: Buffer | null;
}

/** The donor's values. What it is about to put right is asked for again, some times. */
async function valuesOf(
  o: DifferenceOptions,
  digests: DonorDigests,
  candidates: readonly Candidate[],
): Promise<{ all: Compared[]; readAt: Map<string, Vector>; until: Vector }> {
  const all: Compared[] = [];
  /** Up to where operations are in the value of a key: each request was answered at another moment. */
  const readAt = new Map<string, Vector>();
  const until = new Map<OriginId, number>();
  let wanted = candidates.map((_, i) => i);
  for (let tries = 0; wanted.length > 0 && tries < AMISS_TRIES; tries++) {
    if (tries > 0) await sleep(AMISS_MS);
    for (let from = 0; from < wanted.length; from += VALUES_PER_REQUEST) {
      o.alive();
      const places = wanted.slice(from, from + VALUES_PER_REQUEST);
      const keys = places.map((i): KeyName => ({ db: candidates[i]!.db, key: candidates[i]!.key }));
      const { values, at } = await askValues(o.context, digests, keys);
      raise(until, at);
      places.forEach((i, n) => {
        const { dump, expireAtMs, amiss = null } = values[n]!;
        const bytes = dump === null ? null : Buffer.from(dump, 'base64');
        const value = { dump: bytes === null ? null : decodeDump(bytes), expireAtMs, amiss };
        all[i] = { candidate: candidates[i]!, value, bytes };
        readAt.set(nameOf(keys[n]!.db, keys[n]!.key), at);
      });
    }
    wanted = wanted.filter((i) => isDoubtful(candidates[i]!, all[i]!.value));
  }
  // What it can't put right for so long (its Redis is full, say) shows nothing: a state settles it.
  for (const i of wanted) all[i]!.value = { ...all[i]!.value, amiss: 'state' };
  return { all, readAt, until };
}

/** @throws SessionError where the donor has begun a new history since it gave its digests */
async function askValues(
  context: AgentContext,
  digests: DonorDigests,
  keys: readonly KeyName[],
): Promise<{ values: ServedValue[]; at: Vector }> {
  const bytes = Buffer.from(JSON.stringify({ keys }));
  const answer = await context.mesh.request(digests.donor, 'values', bytes, { timeoutMs: 60_000 });
  const { values, vector } = JSON.parse(answer.toString('utf8')) as ValuesAnswer;
  const at: Vector = new Map(vector);
  checkHistory(digests, at);
  return { values, at };
}

/**
 * What a failover of the donor's Redis took back was in its digests, and is not in what it says now: it would be taken for new here. So all begins anew.
 * @throws SessionError
 */
function checkHistory({ donor, vector }: Pick<DonorDigests, 'donor' | 'vector'>, at: Vector): void {
  if (hasBegunAnew(donor, vector, at))
    throw new SessionError(
      'no-donor',
      `the Redis of ${donor} has begun a new history: what it held is compared once more`,
    );
}

/** Whether a region's Redis has another history than before: each of its own that it has had is in its vectors, with the present one. */
export function hasBegunAnew(region: string, before: Vector, now: Vector): boolean {
  return [...now.keys()].some((origin) => regionOf(origin) === region && !before.has(origin));
}

/** Those of a module's type that this Redis can't hold: they have been in no client's hands here. */
async function strangeOf(o: DifferenceOptions, all: readonly Compared[]): Promise<Set<Candidate>> {
  const strange = new Set<Candidate>();
  for (const { candidate, value, bytes } of all)
    if (candidate.parts.length === 0 && value.dump?.type === 'module' && !(await o.canHold(bytes!)))
      strange.add(candidate);
  return strange;
}

/** Keys of the snapshot that are not as the digests have them, and the time of its heartbeat. */
async function differingKeys(
  o: DifferenceOptions,
  table: DigestTable,
  touched: Touches,
  present: Set<string>,
  unexplained: boolean,
  equal: Map<string, Candidate | null>,
): Promise<{ candidates: Candidate[]; heartbeatMs: number; libraries: Map<string, Buffer> }> {
  const candidates: Candidate[] = [];
  const digester = new Digester();
  const codes: Buffer[] = [];
  let heartbeatMs = 0;
  let parts: RdbKey[] = [];
  const over = new OverKeys(o.areThere, unexplained, (candidate) => candidates.push(candidate));
  for await (const entries of o.snapshot)
    for (const entry of entries) {
      if (entry.kind === 'function') codes.push(Buffer.from(entry.library));
      if (entry.kind !== 'key') continue;
      if (isOwnKey(entry.key)) {
        if (entry.key.toString('latin1') === o.context.keys.heartbeat && Buffer.isBuffer(entry.value))
          heartbeatMs = parseHeartbeat(entry.value.toString('latin1'));
        continue;
      }
      if (o.context.policies.ignores(entry.db, entry.key)) continue;
      if (entry.part === 0) parts = [];
      parts.push(entry);
      const digest = digester.add(entry);
      if (digest === null) continue;
      const theirs = table.meet(digest);
      const isTouched = touched.of(entry.db, entry.key.toString('latin1')) !== undefined;
      if (isTouched) present.add(nameOf(entry.db, entry.key.toString('latin1')));
      const isEqual =
        theirs !== null &&
        !isTouched &&
        theirs.isInteger === digest.isInteger &&
        theirs.value === digest.value &&
        theirs.expireAtMs === digest.expireAtMs;
      const key = entry.key.toString('latin1');
      // Only what had expired already: anything else may be given more time by what the stream brings next.
      if (entry.expireAtMs !== null && entry.expireAtMs < o.startedMs) {
        if (!isEqual || unexplained) await over.add({ db: entry.db, key, parts }, theirs !== null);
        continue;
      }
      if (isEqual) {
        if (equal.has(nameOf(entry.db, key))) equal.set(nameOf(entry.db, key), { db: entry.db, key, parts });
        continue;
      }
      candidates.push({ db: entry.db, key, parts });
    }
  await over.look();
  return { candidates, heartbeatMs, libraries: byName(codes) };
}

/** What there is to compare of libraries of functions; null: nothing. */
async function librariesOf(
  o: DifferenceOptions,
  digests: DonorDigests,
  own: Pick<LibrarySources, 'mine' | 'mode'>,
  heartbeatMs: number,
  kept: number | null,
): Promise<LibrarySources | null> {
  const { mesh, journal, log } = o.context;
  const { donor } = digests;
  let answer: LibrariesAnswer | null = null;
  for (let tries = 0; tries < AMISS_TRIES && answer?.amiss !== false; tries++) {
    if (tries > 0) await sleep(AMISS_MS);
    o.alive();
    try {
      const bytes = await mesh.request(donor, 'libraries', Buffer.alloc(0), { timeoutMs: 60_000 });
      answer = JSON.parse(bytes.toString('utf8')) as LibrariesAnswer;
    } catch (error) {
      // Of an earlier version, or gone.
      log.warn(
        { err: error, donor },
        'libraries of functions could not be compared: load again what was loaded meanwhile',
      );
      return null;
    }
  }
  if (answer === null || answer.libraries === null) return null;
  const at: Vector = new Map(answer.vector);
  checkHistory(digests, at);
  const touched = new LibraryTouches();
  await noteOthers(o, at, touched);
  const late = new LibraryTouches();
  if (o.before !== null) {
    const end = journal.appendedEnd(o.before) ?? -1;
    if (kept !== null) await noteOf(o, o.before, kept, end, touched);
    for await (const record of recordsUpTo(journal, o.before, end - TAIL_BYTES_MAX, end))
      if (record.stamp + record.ops > stampOf(heartbeatMs)) late.note(record, -1);
  }
  const theirs = byName(answer.libraries.map((code) => Buffer.from(code, 'base64')));
  const differing = [...theirs].filter(
    ([name, code]) => !touched.has(name) && own.mine.get(name)?.equals(code) !== true,
  );
  return { ...own, theirs, strange: await refusedOf(o, differing), touched, late };
}

/** What clients did to libraries of functions, each an operation. */
async function changesOf(o: DifferenceOptions, sources: LibrarySources, known: KnownLibraries): Promise<Buffer[]> {
  const untold = sameUntold(sources, known).flatMap((name): [string, Buffer][] => {
    const code = known.codeOf(name) ?? null;
    return code === null ? [] : [[name, code]];
  });
  const strange = new Set([...sources.strange, ...(await refusedOf(o, untold))]);
  return libraryDifferences({ ...sources, strange }, known);
}

/** Names of libraries that this Redis refuses. */
async function refusedOf(o: DifferenceOptions, libraries: Iterable<[string, Buffer]>): Promise<Set<string>> {
  const refused = new Set<string>();
  for (const [name, code] of libraries) {
    const refusal = await o.refusalOf(code);
    if (refusal === null) continue;
    refused.add(name);
    const bytes = encodeCommand(['FUNCTION', 'LOAD', 'REPLACE', code]);
    keepLetter(o.context, { db: 0, command: 'FUNCTION', key: undefined, code: refusal, bytes });
  }
  if (refused.size > 0)
    o.context.log.warn(
      { libraries: [...refused] },
      'libraries of functions that this Redis refuses stay in the other regions',
    );
  return refused;
}

/** Names of keys that the end of the history of before is about, where this Redis may have lost it. */
async function lateKeysOf(o: DifferenceOptions, vector: Vector): Promise<ReadonlySet<string>> {
  const { before, context } = o;
  const late = new LateKeys(context.config.region, o.held, o.heartbeatMs);
  if (before === null) return late.names;
  const end = vector.get(before) ?? -1;
  await whenJournalled(o, before, end);
  for await (const record of recordsUpTo(context.journal, before, end - TAIL_BYTES_MAX, end)) late.note(record);
  return late.names;
}

/** The position up to which this Redis holds the history of before (lost-tail.ts); null: all of it. */
async function keptOf(
  o: DifferenceOptions,
  vector: Vector,
  { heartbeatMs, reported }: { heartbeatMs: number; reported: Vector },
  evidence: TailEvidence,
): Promise<number | null> {
  const { before, context } = o;
  if (before === null) return null;
  const end = vector.get(before) ?? -1;
  await whenJournalled(o, before, end);
  const records: OpRecord[] = [];
  for await (const record of recordsUpTo(context.journal, before, end - TAIL_BYTES_MAX, end)) records.push(record);
  const safe = reported.get(before) ?? -1;
  return keptUntil(records, context.config.region, { cursor: o.held, heartbeatMs, safe }, evidence);
}

/** How long nobody is found before it is asked whether anybody can be. */
const HOPE_MS = 1500;
/** A region that neither gives data nor waits for any is starting: it is waited for, but not for ever. */
const STARTING_MS = 15_000;
/** For so long one is waited for that has not applied yet what can be had. */
const LAGGING_MS = 120_000;

interface DonorDigests {
  donor: string;
  table: DigestTable;
  vector: Vector;
  stamp: number;
  unexplained: boolean;
  /** Of own histories, up to where the donor has heard that nothing can take them back. */
  reported: Vector;
}

/**
 * Digests of a peer whose snapshot holds all that this region had journalled.
 * @returns null when everybody who can be reached waits like this region, which is the first of them
 */
async function fetchDigests(o: DigestOptions): Promise<DonorDigests | null> {
  const { mesh, log, config, journal } = o.context;
  const started = Date.now();
  let warned = started;
  try {
    for (;;) {
      o.alive();
      const waitedMs = Date.now() - started;
      const links = mesh.links();
      // Who is to be compared with is known when it is known what everybody has.
      const isEarly = waitedMs < HOPE_MS && links.some((link) => link.state !== 'up');
      const isUp = (peer: string | null): boolean => links.some((link) => link.peer === peer && link.state === 'up');
      const only = waitedMs < STARTING_MS && isUp(o.context.compareWith) ? o.context.compareWith : null;
      for (const link of links) {
        if (isEarly || link.state !== 'up' || (only !== null && link.peer !== only)) continue;
        try {
          // What is in this Redis and not in the donor's would be taken for new, whosesoever it is. Of other regions' operations
          // the donor gets it from them, unless they are gone for good and this journal has lost it too.
          const needs = [...o.held].flatMap(([origin, position]): [OriginId, number][] => {
            const isPatient = waitedMs < STARTING_MS;
            const reach = mesh.reach(origin);
            if (regionOf(origin) === config.region) return [[origin, Math.max(position, isPatient ? reach : -1)]];
            const isThere = Math.max(journal.readableEnd(origin) ?? -1, reach) >= position;
            return isPatient || (isThere && waitedMs < LAGGING_MS) ? [[origin, position]] : [];
          });
          const found = await digestsOf(o, link.peer, { needs });
          // A history without any operation is in nobody's vector. Of what the journal has lost in a crash, one peer may have
          // more than another: what the donor lacks would be taken for new here, and come from the other one as well.
          const behind = needs.some(
            ([origin, position]) => (found.vector.get(origin) ?? journal.firstStart(origin) ?? -1) < position,
          );
          if (!behind) return found;
          log.debug({ peer: link.peer }, 'the donor has not yet applied all of this region');
        } catch (error) {
          o.alive();
          log.debug({ peer: link.peer, err: error }, 'no digests from this peer');
        }
      }
      if (waitedMs > HOPE_MS && (await isLeader(o, waitedMs))) {
        log.warn(
          'no region can tell what changed here: this one goes on with what it has, and the others compare with it',
        );
        return null;
      }
      if (Date.now() - warned > 10_000) {
        warned = Date.now();
        log.warn('waiting for a peer to compare the full sync with');
      }
      await sleep(100);
    }
  } finally {
    o.hopeless(false);
  }
}

/**
 * Names of all keys of a peer that has applied this region's own operations up to `upTo`. Waits for one.
 * @returns null where there is nobody else
 */
export async function keysOfDonor(
  context: AgentContext,
  upTo: Vector,
  alive: () => void,
): Promise<{ donor: string; names: KeyName[] } | null> {
  const digests = await fetchDigests({ context, held: upTo, alive, hopeless: () => undefined });
  if (digests === null) return null;
  return { donor: digests.donor, names: await namesOf(context, digests, [...digests.table.unmet()]) };
}

/** What it takes to ask peers for digests. */
type DigestOptions = Pick<DifferenceOptions, 'context' | 'held' | 'alive' | 'hopeless'>;

async function digestsOf(o: DigestOptions, peer: string, request: DigestsRequest): Promise<DonorDigests> {
  const table = new DigestTable();
  let end: DigestsEnd | null = null;
  for await (const item of o.context.mesh.requestStream(peer, 'digests', Buffer.from(JSON.stringify(request)))) {
    o.alive();
    if (item[0] === DIGEST_MARK[0]) table.addAll(item.subarray(1));
    else end = JSON.parse(item.toString('utf8')) as DigestsEnd;
  }
  if (end === null) throw new SessionError('no-donor', `the digests from ${peer} ended early`);
  return {
    donor: peer,
    table,
    vector: new Map(end.vector),
    stamp: end.stamp,
    unexplained: end.unexplained,
    reported: new Map(end.reported ?? []),
  };
}

/** Whether all reachable regions wait, and this one is the first among them: the mesh's primary, else by name. */
async function isLeader(o: DigestOptions, waitedMs: number): Promise<boolean> {
  const { mesh, config } = o.context;
  const peers = mesh.links().flatMap((link) => (link.state === 'up' ? [link.peer] : []));
  if (peers.length === 0 && config.members.length > 1) return false;
  const answers = await Promise.all(
    peers.map(async (peer) => {
      try {
        const answer = await mesh.request(peer, 'mesh', Buffer.alloc(0), { timeoutMs: 2000 });
        return JSON.parse(answer.toString('utf8')) as MeshAnswer;
      } catch {
        return { established: false, hopeless: false };
      }
    }),
  );
  const isHopeless = answers.every(({ established }) => !established);
  o.hopeless(isHopeless);
  const all = answers.every(({ hopeless }) => hopeless);
  if (!isHopeless || !(all || waitedMs > STARTING_MS)) return false;
  const primary = config.members.find((member) => member.primary)?.name;
  const reachable = [config.region, ...peers].sort();
  const first = primary !== undefined && reachable.includes(primary) ? primary : reachable[0];
  return first === config.region && (first === primary || waitedMs > STARTING_MS);
}

async function namesOf(context: AgentContext, digests: DonorDigests, hashes: [number, number][]): Promise<KeyName[]> {
  if (hashes.length === 0) return [];
  const bytes = Buffer.from(JSON.stringify({ hashes }));
  const answer = await context.mesh.request(digests.donor, 'names', bytes, { timeoutMs: 120_000 });
  // Names alone don't say what they were read of.
  await askValues(context, digests, []);
  return (JSON.parse(answer.toString('utf8')) as { names: KeyName[] }).names;
}

/** What notes what records do. */
type Noting = Pick<Touches, 'note'>;

/** Notes what is still to come to this Redis, in (held, until]; waits until all of it is in the journal. */
async function noteOthers(o: DifferenceOptions, until: Vector, touches: Noting): Promise<void> {
  for (const [origin, to] of until)
    if (regionOf(origin) !== o.context.config.region || o.older.has(origin))
      await noteOf(o, origin, o.held.get(origin) ?? -1, to, touches);
}

async function noteOf(
  o: DifferenceOptions,
  origin: OriginId,
  from: number,
  to: number,
  touches: Noting,
): Promise<void> {
  if (from >= to) return;
  await whenJournalled(o, origin, to);
  for await (const record of recordsUpTo(o.context.journal, origin, from, to)) touches.note(record, from);
}

/** What the donor has comes by the links, as always. */
async function whenJournalled(o: DifferenceOptions, origin: OriginId, to: number): Promise<void> {
  const { journal, log } = o.context;
  for (let waited = 0; (journal.durableEnd(origin) ?? -1) < to; waited++) {
    o.alive();
    if (waited % 1000 === 500)
      log.warn({ origin, have: journal.durableEnd(origin), to }, 'waiting for records that the donor has');
    await sleep(10);
  }
}
