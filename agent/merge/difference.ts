/**
 * The difference between two values of a key, as commands: what clients did here while no agent was reading. One value is of
 * this region's snapshot, the other a donor's, and what other regions did to the key in between is known (`Touch`).
 * Pure; the simulator runs the same code. How both are got is in session/difference.ts.
 */
import {
  type DecodedDump,
  type HashItem,
  type RdbKey,
  type RdbValue,
  type StreamValue,
  toCommands,
  type ZsetItem,
} from '../capture/rdb';
import { CommandWriter } from '../resp';
import { formatDecimal, ONE, parseDecimal } from './decimal';
import { parseInteger, writeEntry } from './effects';
import { writeFieldTtlDifferences } from './field-ttl';
import type { KnownLibraries } from './library-difference';
import { encodeFields } from './stream-commands';
import { compareIds } from './stream-id';
import { Taking, writeNewInList, writeNewInSortedSet, writePush } from './taken';
import { nameOf, type Touch, type Touches } from './touches';

/** A key of this region's snapshot that differs from the donor's. */
export interface Candidate {
  db: number;
  /** Latin-1. */
  key: string;
  /** What the snapshot has; empty for nothing. */
  parts: RdbKey[];
}

/** The donor's value of it. */
export interface TheirValue {
  /** Null: it has no such key. */
  dump: DecodedDump | RdbKey | null;
  /** Unix ms; null: it does not expire. */
  expireAtMs: number | null;
  amiss: Amiss | null;
}

/**
 * What of a value is not what the operations at its place make of it: it waits for a state; it is about to be corrected, all of it; or these elements
 * of it (Latin-1; a string's is empty).
 */
export type Amiss = 'state' | 'all' | readonly string[];

/** Whether a difference may be what is amiss there. */
export function isDoubtful({ parts }: Candidate, { dump, amiss }: TheirValue): boolean {
  if (amiss === null) return false;
  if (typeof amiss === 'string' || dump?.type !== parts[0]?.type) return true;
  // What is not here has come there since, or was removed here. What is equal may be so by what is amiss.
  const mine = elementsOf(parts);
  return amiss.some((name) => mine.has(name));
}

/**
 * - `exact`: the donor's value and the touches say what the key was when this region was last read.
 * - `unexplained`: either side may have more than operations tell.
 */
export type Mode = 'exact' | 'unexplained';

/** What is to be known of this region. */
export interface RegionTraits {
  /** Regions write whole keys where elements were meant. */
  isByKey: boolean;
  /** Whether a key's last writer's value stands as a whole. Default: none's. */
  isLastWriters?: (db: number, key: string) => boolean;
  /** Whether this region owns a key, and holds all that it has made of it: no other one has anything to say of it. Default: none. */
  isOwn?: (db: number, key: string) => boolean;
  /** A key that is missing was evicted, not deleted. */
  evicts: boolean;
}

/** What the operations known here say, once the window has been put together. */
export interface Knowledge {
  /** Whether they make of a key what it is. */
  isExplained(candidate: Candidate): boolean;
  /** Whether what was done to an element lately was adding to it (true), or giving it values (false); null: nothing is known of it. */
  isCounted(db: number, key: string, type: RdbKey['type'], name: string): boolean | null;
  /** Whether operations are known that made an element what it is, or a part of it. */
  isMade(db: number, key: string, type: RdbKey['type'], name: string): boolean;
  /**
   * Whether an entry with these fields, or any that an agent had to write here (null), came to an ID of a stream and is not removed. This Redis may have refused it, and whether
   * a client has removed it meanwhile can't be told from that: it stays.
   */
  hasEntry(db: number, key: string, id: string, value: Buffer | null): boolean;
  readonly libraries: KnownLibraries;
  /** Keys that are about to be brought to what the operations known make of them. */
  corrected(): Iterable<{ db: number; key: string }>;
}

/** An entry of a stream that is not in Redis as the operations known say. What tells so is that Redis was compared, and nothing that is journalled. */
export interface MissingEntry {
  readonly db: number;
  readonly key: string;
  readonly id: string;
}

/** Commands on keys of one database that make one operation. */
export interface Difference {
  db: number;
  payload: Buffer;
}

const COMMANDS_PER_OPERATION = 256;

/** Keys that others have touched and that neither side has, as candidates: of data with changes that are in no operation. */
export function touchedAndAbsent(touched: Touches, has: (name: string) => boolean): Candidate[] {
  return [...touched.names()]
    .filter(({ db, key }) => !has(nameOf(db, key)))
    .map(({ db, key }) => ({ db, key, parts: [] }));
}

/** The differences of several keys. `unsettled`: those that only the donor's state can settle; `missing`: what no client did, and has to be put right. */
export function writeDifferences(
  candidates: readonly Candidate[],
  /** Of each of them. */
  theirs: readonly TheirValue[],
  touches: Touches,
  mode: Mode,
  known: Knowledge,
  region: RegionTraits,
  /** Unix ms: what expires before that may be over here already, by another clock. */
  soonMs: number,
): { operations: Difference[]; unsettled: { db: number; key: string }[]; missing: MissingEntry[] } {
  const operations: Difference[] = [];
  const unsettled: { db: number; key: string }[] = [];
  const missing: MissingEntry[] = [];
  const byDb = new Map<number, CommandWriter>();
  const flush = (db: number, writer: CommandWriter): void => {
    if (writer.commands > 0) operations.push({ db, payload: writer.take() });
  };
  candidates.forEach((candidate, i) => {
    const { db, key } = candidate;
    const isOwn = region.isOwn?.(db, key) === true;
    if (isOwn || region.isLastWriters?.(db, key) === true) {
      const payload = wholeOf(candidate, theirs[i]!, region, soonMs);
      const isTheirs = theirs[i]!.dump !== null && mode !== 'exact';
      if (!isOwn && (touches.of(db, key) !== undefined || isTheirs)) unsettled.push({ db, key });
      else if (payload !== null) operations.push({ db, payload });
      return;
    }
    let writer = byDb.get(db);
    if (writer === undefined) byDb.set(db, (writer = new CommandWriter(4096)));
    const touch = touches.of(db, key);
    const isSettled = writeDifference(writer, candidate, theirs[i]!, touch, mode, known, region, soonMs, missing);
    // What others made meanwhile may have been changed there, with nothing to tell of it.
    if (!isSettled || (mode === 'unexplained' && touch !== undefined)) unsettled.push({ db, key });
    if (writer.commands >= COMMANDS_PER_OPERATION) flush(db, writer);
  });
  for (const [db, writer] of byDb) flush(db, writer);
  if (mode === 'unexplained') {
    // Where both have the same changes that are in no operation, a correction here would take them back.
    const names = new Set(candidates.map(({ db, key }) => nameOf(db, key)));
    for (const { db, key } of known.corrected()) if (!names.has(nameOf(db, key))) unsettled.push({ db, key });
  }
  return { operations, unsettled, missing };
}

/** What was made of a key here while nobody else wrote it, as a whole; null: nothing was. */
function wholeOf({ key, parts }: Candidate, theirs: TheirValue, region: RegionTraits, soonMs: number): Buffer | null {
  const name = Buffer.from(key, 'latin1');
  const writer = new CommandWriter(256);
  if (parts.length > 0) {
    writer.command(['DEL', name]);
    for (const part of parts) toCommands(part, writer);
  } else if (theirs.dump === null || region.evicts) return null;
  else writer.command([theirs.expireAtMs !== null && theirs.expireAtMs < soonMs ? 'UNLINK' : 'DEL', name]);
  return writer.take();
}

/** @returns false when only the donor's state can settle the key */
function writeDifference(
  writer: CommandWriter,
  candidate: Candidate,
  theirs: TheirValue,
  touch: Touch | undefined,
  mode: Mode,
  known: Knowledge,
  region: RegionTraits,
  soonMs: number,
  missing: MissingEntry[],
): boolean {
  const key = Buffer.from(candidate.key, 'latin1');
  const { dump } = theirs;
  const [first] = candidate.parts;
  /**
   * Whether a number that differs was added to. What others added is on top of a new value, too; only values that were given in two places
   * at once, or added, need the right one. Scores are mostly given, other numbers mostly added to.
   */
  const isCounted = (name: string): boolean =>
    touch?.increments.has(name) === true ||
    (known.isCounted(candidate.db, candidate.key, first!.type, name) ?? first!.type !== 'zset');
  /** Of nothing there, others made the number that it is without this region's: which is there, though it be 0, and no operation tells of it. */
  const isUntold = (name: string, their: Buffer): boolean =>
    isSumOf(touch, name, their) && !known.isMade(candidate.db, candidate.key, first!.type, name);
  if (first === undefined && region.evicts) return true;
  // The others write whole keys, too: theirs has not seen what is new here, and does not remove it.
  if (region.isByKey && touch?.elements === null && !touch.opaque && dump !== null && first?.type === dump.type)
    if (hasElements(first.type)) return writeUnion(writer, candidate, dump, touch, known);
  if (touch?.isInexact === true && dump !== null) return false;
  // An integer added to a score that is none: what is here can't be told from it.
  if (touch !== undefined && dump?.type === 'zset' && first?.type === 'zset')
    for (const value of [...elementsOf([dump]), ...elementsOf(candidate.parts)])
      if (touch.increments.has(value[0]) && elementNumberOf('zset', value[1]) === null) return false;
  const isByElement = first !== undefined && hasElements(first.type) && dump?.type === first.type;
  if (touch !== undefined && (touch.opaque || touch.elements === null || (touch.isTold && !isByElement))) {
    if (touch.elements !== null && touch.taking !== null) writeNew(writer, candidate, dump, touch, touch.taking, known);
    const isString = first?.type === 'string' && dump?.type === 'string';
    if (isString && mode === 'exact' && theirs.amiss === null)
      touch.ofString?.write(writer, key, first.value, dump.value as Buffer);
    // Their operation replaces the whole key here too, unless it depends on what the key held, or a client has written it and
    // that operation loses to others: then the donor's state decides.
    const isKept = touch.keepTtl && (first?.expireAtMs ?? null) !== theirs.expireAtMs;
    return !touch.opaque && !isKept && known.isExplained(candidate);
  }
  if (theirs.amiss === 'state') {
    // What is here alone is new here; what is there alone may be about to go there.
    if (first !== undefined && hasElements(first.type) && dump?.type === first.type) {
      const their = elementsOf([dump]);
      const more = new Map([...elementsOf(candidate.parts)].filter(([name]) => !their.has(name)));
      if (first.type === 'stream') leaveOut(candidate, more, their, known, missing);
      writeElements(writer, key, first.type, more, new Map(), touch, () => true);
    } else if (first?.type === 'list') {
      const taking = new Taking();
      taking.tell();
      writeNew(writer, candidate, dump, touch, taking, known);
    }
    return false;
  }
  if (first === undefined) {
    if (mode !== 'exact') return dump === null;
    // It removes what this region had seen; what others did meanwhile it had not. What they made of nothing was never here, but
    // a time to live says that something may have been: that it is gone decides whether what they gave holds.
    if (dump === null) return true;
    if (theirs.expireAtMs !== null && theirs.expireAtMs < soonMs) {
      // Removed by a client or by its time: as an expiry it leaves alone what is given more time elsewhere.
      writer.command(['UNLINK', key]);
      return true;
    }
    const isTheirs = touch !== undefined && isMadeBy([touch], dump) && theirs.expireAtMs === null && !touch.ttl;
    if (!isTheirs) writer.command(['DEL', key]);
    return true;
  }
  if (dump === null) {
    if (touch === undefined) for (const part of candidate.parts) toCommands(part, writer);
    else {
      // The others removed the last of its elements since: those are on their way, what else is here is new.
      if (!hasElements(first.type)) return false;
      writeElements(writer, key, first.type, elementsOf(candidate.parts), new Map(), touch, isCounted);
      if (first.type === 'stream') writeLastId(writer, candidate, null);
    }
    return true;
  }
  const isTtlSame = isSameTime(first.expireAtMs, theirs.expireAtMs);
  // What nobody can tell of, the donor's state decides.
  if (mode === 'unexplained')
    return writeUnion(writer, candidate, dump, touch, known) && isTtlSame && isLastIdSame(first, dump);
  if (dump.type !== first.type) {
    // The others removed the last of its elements since, and made it anew: as above.
    if (touch !== undefined && hasElements(first.type) && isMadeBy([touch], dump)) {
      writeElements(writer, key, first.type, elementsOf(candidate.parts), new Map(), touch, isCounted);
      // A stream is there without entries, too.
      if (first.type === 'stream') writeLastId(writer, candidate, null);
    } else replace(writer, candidate);
    return true;
  }
  const expireAtMs = first.expireAtMs;
  let isWhole = true;
  switch (first.type) {
    case 'string': {
      const mine = numberOf(first.value);
      const their = numberOf(dump.value as Buffer);
      if (mine !== null && their !== null && touch?.onlyIncrements !== false && isCounted('')) {
        const delta = mine - (their - (touch?.increments.get('') ?? 0n));
        if (delta !== 0n || isUntold('', dump.value as Buffer)) writeIncrement(writer, key, null, delta, mine);
      } else if (touch !== undefined && isContentTouched(touch)) return false;
      else if (!first.value.equals(dump.value as Buffer)) {
        writer.command(['SET', key, first.value, ...(expireAtMs === null ? [] : ['PXAT', expireAtMs])]);
        return true;
      }
      break;
    }
    case 'hash':
    case 'set':
    case 'zset':
    case 'stream': {
      const [mine, their] = [elementsOf(candidate.parts), elementsOf([dump])];
      if (first.type === 'stream') leaveOut(candidate, mine, their, known, missing);
      writeElements(writer, key, first.type, mine, their, touch, isCounted, isUntold);
      if (first.type === 'hash') writeFieldTtlDifferences(writer, key, candidate.parts, [dump], touch?.elements);
      // A client has made the stream anew, with lower IDs: the last one goes up only.
      if (first.type === 'stream') isWhole = writeLastId(writer, candidate, dump) || touch?.makes === true;
      break;
    }
    default:
      if (touch !== undefined && isContentTouched(touch)) return false;
      if (first.type === 'list' && writePushes(writer, key, candidate.parts, dump.value as Buffer[])) break;
      replace(writer, candidate);
      return isTtlSame || touch === undefined;
  }
  if (isTtlSame) return isWhole;
  // Was it changed here too? The donor's state decides.
  if (touch?.ttl === true) return false;
  writer.command(expireAtMs === null ? ['PERSIST', key] : ['PEXPIREAT', key, expireAtMs]);
  return isWhole;
}

/** Of a key of which others have added and taken elements, what is here alone and may be new. */
function writeNew(
  writer: CommandWriter,
  { db, key, parts }: Candidate,
  dump: DecodedDump | RdbKey | null,
  touch: Touch | undefined,
  taking: Taking,
  known: Knowledge,
): void {
  const type = parts[0]?.type;
  if (type === undefined) return;
  if (dump !== null && dump.type !== type) {
    // They may have emptied it, and made it anew. Where they took nothing from what it is here, they never had that: all of it is new, and of two types that of the higher stamp stands.
    if (touch === undefined || taking.from.has(type)) return;
    dump = null;
    taking = new Taking();
  }
  const name = Buffer.from(key, 'latin1');
  if (type === 'list') {
    const mine = parts.flatMap(({ value }) => value as Buffer[]);
    writeNewInList(writer, name, mine, dump === null ? [] : (dump.value as Buffer[]), taking);
  }
  if (!hasElements(type) || type === 'stream') return;
  const their = dump === null ? new Map<string, Buffer>() : elementsOf([dump]);
  const alone: [string, Buffer][] = [];
  const common: Buffer[] = [];
  for (const [element, value] of elementsOf(parts))
    if (touch?.elements?.has(element) === true || touch?.increments.has(element) === true) continue;
    else if (their.has(element)) common.push(value);
    else if (!known.isMade(db, key, type, element)) alone.push([element, value]);
  if (type === 'zset') return writeNewInSortedSet(writer, name, alone, common, taking);
  const added = new Map(alone.filter(([element]) => !taking.removed.has(element)));
  writeElements(writer, name, type, added, new Map(), undefined, () => true);
}

function isSameTime(a: number | null, b: number | null): boolean {
  return a === null || b === null ? a === b : Math.abs(a - b) <= TTL_ROUNDING_MS;
}

function isLastIdSame(mine: RdbKey, their: DecodedDump | RdbKey): boolean {
  return mine.type !== 'stream' || mine.value.lastId === (their.value as StreamValue).lastId;
}

/** In units of decimals; null where it is no plain number, or not written as Redis writes one: nobody has added to it. */
function numberOf(value: Buffer): bigint | null {
  const text = value.toString('latin1');
  const units = parseDecimal(text);
  return units !== null && formatDecimal(units) === text ? units : null;
}

/** As of a counter: in sorted sets integers alone, of which doubles make exact sums. */
function elementNumberOf(type: RdbKey['type'], value: Buffer): bigint | null {
  if (type === 'hash') return numberOf(value);
  const score = type === 'zset' ? Number(value.toString('latin1')) : NaN;
  return Number.isSafeInteger(score) ? BigInt(score) * ONE : null;
}

function writeElementIncrement(
  writer: CommandWriter,
  type: ByElement,
  key: Buffer,
  name: Buffer,
  units: bigint,
  value: bigint,
): void {
  if (type === 'zset') writer.command(['ZINCRBY', key, formatDecimal(units), name]);
  else writeIncrement(writer, key, name, units, value);
}

/** @param value what it makes: INCRBY is for integers that stay integers */
function writeIncrement(writer: CommandWriter, key: Buffer, field: Buffer | null, units: bigint, value: bigint): void {
  const by = formatDecimal(units);
  const name = parseInteger(by) === null || value % ONE !== 0n ? 'INCRBYFLOAT' : 'INCRBY';
  writer.command(field === null ? [name, key, by] : [`H${name}`, key, field, by]);
}

/** Whether all that a value holds may be from these operations, and nothing was there before. */
export function isMadeBy(touches: readonly Touch[], value: { type: RdbKey['type']; value: RdbValue }): boolean {
  if (value.type !== 'string' && !hasElements(value.type)) return false;
  if (value.type === 'stream' && !touches.some(({ makes }) => makes)) return false;
  const sums = new Map<string, bigint>();
  for (const { increments } of touches)
    for (const [name, by] of increments) sums.set(name, (sums.get(name) ?? 0n) + by);
  for (const [name, bytes] of elementsOf([value]))
    // What a trim has left it has not made.
    if (!touches.some(({ elements }) => elements?.has(name) === true) && !isSum(sums.get(name), bytes)) return false;
  return true;
}

/** Whether a number is just what was added to nothing. */
function isSumOf(touch: Touch | undefined, name: string, value: Buffer): boolean {
  return isSum(touch?.increments.get(name), value);
}

function isSum(sum: bigint | undefined, value: Buffer): boolean {
  return sum !== undefined && numberOf(value) === sum;
}

/**
 * Of a key that differs, with nobody to tell what it was: elements that only this side has are added to the donor's, and
 * a counter is raised to the higher value, unless operations that are still known made it what it is here; otherwise the donor's value stands.
 * @returns whether both are equal then
 */
function writeUnion(
  writer: CommandWriter,
  candidate: Candidate,
  dump: DecodedDump | RdbKey,
  touch: Touch | undefined,
  known: Knowledge,
): boolean {
  const first = candidate.parts[0]!;
  const key = Buffer.from(candidate.key, 'latin1');
  const isOfOperations = (name: string): boolean => known.isMade(candidate.db, candidate.key, first.type, name);
  if (dump.type !== first.type) return false;
  switch (first.type) {
    case 'string': {
      const mine = numberOf(first.value);
      const their = numberOf(dump.value as Buffer);
      if (mine === null || their === null || touch?.onlyIncrements === false)
        return touch === undefined && first.value.equals(dump.value as Buffer);
      const delta = mine - (their - (touch?.increments.get('') ?? 0n));
      if (delta > 0n && isOfOperations('')) return false;
      if (delta > 0n) writeIncrement(writer, key, null, delta, mine);
      return delta >= 0n;
    }
    case 'hash':
    case 'set':
    case 'zset':
    case 'stream': {
      const mine = elementsOf(candidate.parts);
      const their = elementsOf([dump]);
      const more = new Map([...mine].filter(([name]) => !their.has(name)));
      writeElements(writer, key, first.type, more, new Map(), touch, () => true);
      let isEqual = true;
      for (const [name, value] of their) {
        if (isTouched(touch, first.type, name)) continue;
        const own = mine.get(name);
        const a = own === undefined ? null : elementNumberOf(first.type, own);
        const b = elementNumberOf(first.type, value);
        if (a !== null && b !== null) {
          const delta = a - (b - (touch?.increments.get(name) ?? 0n));
          const isRaised = delta > 0n && !isOfOperations(name);
          if (isRaised) writeElementIncrement(writer, first.type, key, Buffer.from(name, 'latin1'), delta, a);
          isEqual &&= isRaised || delta === 0n;
        } else if (touch?.increments.has(name) !== true) isEqual &&= own?.equals(value) === true;
      }
      return isEqual;
    }
    default:
      return false;
  }
}

type ByElement = 'hash' | 'set' | 'zset' | 'stream';

function hasElements(type: RdbKey['type']): type is ByElement {
  return type === 'hash' || type === 'set' || type === 'zset' || type === 'stream';
}

/** Whether an element may be what it is by operations that this region does not hold yet. */
function isTouched(touch: Touch | undefined, type: RdbKey['type'], name: string): boolean {
  if (touch === undefined) return false;
  if (touch.elements?.has(name) === true) return true;
  return type === 'stream' && touch.below !== null && compareIds(name, touch.below) < 0;
}

/** Whether more was done to a key than that its time to live was changed. */
export function isContentTouched({ elements, increments, opaque }: Touch): boolean {
  return opaque || elements === null || elements.size > 0 || increments.size > 0;
}

/** Leaves out what differs by what came lately, and may have been refused or be about to move: see Knowledge.hasEntry. */
function leaveOut(
  { db, key }: Candidate,
  mine: Map<string, Buffer>,
  their: Map<string, Buffer>,
  known: Knowledge,
  missing: MissingEntry[],
): void {
  for (const [id, value] of their) {
    const own = mine.get(id);
    if (own?.equals(value) === true || !known.hasEntry(db, key, id, own ?? null)) continue;
    mine.delete(id);
    their.delete(id);
    missing.push({ db, key, id });
  }
}

/** The last ID of a stream goes up only. @param dump null: there is no such stream @returns whether it is the donor's now, or above it */
function writeLastId(writer: CommandWriter, { key, parts }: Candidate, dump: DecodedDump | RdbKey | null): boolean {
  const mine = (parts.at(-1)!.value as StreamValue).lastId;
  const order = dump === null ? 1 : compareIds(mine, (dump.value as StreamValue).lastId);
  if (order > 0) writer.command(['XSETID', Buffer.from(key, 'latin1'), mine]);
  return order >= 0;
}

/** PTTL and TIME are read in whole milliseconds, one after the other. */
const TTL_ROUNDING_MS = 5;

/** What was pushed to one end of a list, and nothing else. @returns false where it is not that */
function writePushes(writer: CommandWriter, key: Buffer, parts: readonly RdbKey[], their: readonly Buffer[]): boolean {
  const mine = parts.flatMap(({ value }) => value as Buffer[]);
  const more = mine.length - their.length;
  if (more < 0) return false;
  if (their.every((element, i) => element.equals(mine[i]!))) writePush(writer, 'RPUSH', key, mine.slice(their.length));
  else if (their.every((element, i) => element.equals(mine[more + i]!)))
    writePush(writer, 'LPUSH', key, mine.slice(0, more).reverse());
  else return false;
  return true;
}

function replace(writer: CommandWriter, candidate: Candidate): void {
  writer.command(['DEL', Buffer.from(candidate.key, 'latin1')]);
  for (const part of candidate.parts) toCommands(part, writer);
}

/** Fields, members, entries (their fields in RESP) or the string itself (named ''), as bytes; a set's are empty. */
export function elementsOf(parts: readonly { type: RdbKey['type']; value: RdbValue }[]): Map<string, Buffer> {
  const elements = new Map<string, Buffer>();
  for (const { type, value } of parts)
    if (type === 'string') elements.set('', value as Buffer);
    else if (type === 'hash')
      for (const [field, content] of value as HashItem[]) elements.set(field.toString('latin1'), content);
    else if (type === 'zset')
      for (const [member, score] of value as ZsetItem[]) elements.set(member.toString('latin1'), Buffer.from(score));
    else if (type === 'set') for (const member of value as Buffer[]) elements.set(member.toString('latin1'), NOTHING);
    else if (type === 'stream')
      for (const [id, fields] of (value as StreamValue).entries) elements.set(id, encodeFields(fields));
  return elements;
}

const NOTHING = Buffer.alloc(0);
const REMOVALS = { hash: 'HDEL', set: 'SREM', zset: 'ZREM', stream: 'XDEL' } as const;

function writeElements(
  writer: CommandWriter,
  key: Buffer,
  type: ByElement,
  mine: ReadonlyMap<string, Buffer>,
  their: ReadonlyMap<string, Buffer>,
  touch: Touch | undefined,
  isCounted: (name: string) => boolean,
  isUntold: (name: string, other: Buffer) => boolean = () => false,
): void {
  for (const [name, value] of mine) {
    const other = their.get(name);
    // An entry never changes: another one of the same ID is another one.
    const isOther = type === 'stream' && other !== undefined && !other.equals(value);
    if (isTouched(touch, type, name) && !isOther) continue;
    const bytes = Buffer.from(name, 'latin1');
    if (type !== 'set' && other !== undefined) {
      const a = elementNumberOf(type, value);
      const b = elementNumberOf(type, other);
      if (a !== null && b !== null && isCounted(name)) {
        const delta = a - (b - (touch?.increments.get(name) ?? 0n));
        if (delta !== 0n || isUntold(name, other)) writeElementIncrement(writer, type, key, bytes, delta, a);
        continue;
      }
    }
    if (other?.equals(value)) continue;
    if (type === 'hash') writer.command(['HSET', key, bytes, value]);
    else if (type === 'set') writer.command(['SADD', key, bytes]);
    else if (type === 'stream') writeEntry(writer, key, name, value);
    else writer.command(['ZADD', key, value, bytes]);
  }
  for (const [name, value] of their) {
    // What a trim has left is not by that trim missing here.
    if (mine.has(name) || touch?.elements?.has(name) || isSumOf(touch, name, value)) continue;
    writer.command([REMOVALS[type], key, Buffer.from(name, 'latin1')]);
  }
}
