/**
 * How much of its last history a Redis still holds that was started again from its disk. Killed, it may have lost the end of it:
 * an append-only file is written behind the replies where the disk is slow, and flushed once a second. What is lost comes back as
 * it does after a failover, as operations not yet seen; what is not must not run twice. So the place has to be found exactly.
 *
 * Two things in Redis itself mark places of its stream: the cursor (a record that had seen more than it says is lost, one that had
 * seen less is not) and the heartbeat, by the stamps. And what its agent had reported to the others was on its disk then. Between the last of these and the next there are a few operations,
 * some 25 ms of them. There the data tells: what it holds was not lost, and nothing before that was.
 */
import { isOfStream, type OpRecord, type OriginId, regionOf, type Vector } from '../record';
import { stampOf, timeOfStamp } from '../stream/keys';
import { type MaybeAppend, appendedBy, appendsOf } from './appended';
import { type Candidate, elementsOf, isContentTouched, isDoubtful, isMadeBy, type TheirValue } from './difference';
import { Decimal, parseDecimal } from './decimal';
import type { Effect } from './effects';
import type { Delta } from './element';
import { Type, TYPE_NAMES } from './key-state';
import { eachEffect, exactOf, nameOf, type Touch, Touches } from './touches';

/** What a snapshot holds. */
export interface TailEvidence {
  /** Whether a key is as it is in a region that has all of the history, and that nobody else has touched it since. */
  isWhole(db: number, key: string): boolean;
  /** That a key is whole shows nothing. Absent: of none. */
  isVain?(db: number, key: string): boolean;
  /** Of an element (a string's name is empty); null: it is not there. */
  value(db: number, key: string, type: Type, name: string): Buffer | null;
  /** Whether a key is there, and its time is not over. */
  exists(db: number, key: string): boolean;
  /**
   * Unix ms; null: it does not expire; undefined: that can't be told. (The time to live goes with a value that is replaced, so that of another value
   * nothing shows that there is none.)
   */
  expireAt(db: number, key: string): number | null | undefined;
  /**
   * A counter's value here less the one that it would have, had nothing been lost and nothing been added since, in units of decimals; null: it
   * can't be told.
   */
  surplus(db: number, key: string, name: string): bigint | null;
  /** Of a string that differs: what it would be, had nothing been lost and nothing been changed since; null: it can't be told. */
  unlost(db: number, key: string): Buffer | null;
  /** Of a key that is not there: whether elsewhere it has more than what this history did to it lately, and what others have done since. Absent: of none. */
  hasMore?(db: number, key: string, lately: Touch | undefined): boolean;
}

/**
 * What the keys that differ show; all others are whole.
 * @param theirs of each of them
 * @param isEqual whether a key that does not differ is there, on both sides: it may be on neither
 */
export function evidenceOf(
  candidates: readonly Candidate[],
  theirs: readonly TheirValue[],
  touches: Touches,
  isEqual: (db: number, key: string) => boolean,
): TailEvidence {
  const places = new Map(candidates.map(({ db, key }, i) => [nameOf(db, key), i] as const));
  const place = (db: number, key: string): number | undefined => places.get(nameOf(db, key));
  const read = new Map<number, ReadonlyMap<string, Buffer>>();
  const mine = (i: number): ReadonlyMap<string, Buffer> => {
    let elements = read.get(i);
    if (elements === undefined) read.set(i, (elements = elementsOf(candidates[i]!.parts)));
    return elements;
  };
  const number = (value: Buffer | undefined): bigint | null => parseDecimal(value?.toString('latin1') ?? '0');
  return {
    isWhole: (db, key) => place(db, key) === undefined,
    exists: (db, key) => {
      const i = place(db, key);
      return i === undefined ? isEqual(db, key) : candidates[i]!.parts.length > 0;
    },
    value: (db, key, type, name) => {
      const i = place(db, key)!;
      return candidates[i]!.parts[0]?.type === TYPE_NAMES[type] ? (mine(i).get(name) ?? null) : null;
    },
    expireAt: (db, key) => {
      const i = place(db, key)!;
      const at = candidates[i]!.parts[0]?.expireAtMs;
      if (at !== null) return at;
      const { dump } = theirs[i]!;
      if (dump === null || touches.of(db, key) !== undefined || isDoubtful(candidates[i]!, theirs[i]!))
        return undefined;
      return isSameValue(candidates[i]!.parts, dump) ? null : undefined;
    },
    surplus: (db, key, name) => {
      const i = place(db, key);
      if (i === undefined) return isEqual(db, key) ? 0n : null;
      const { dump } = theirs[i]!;
      if (isDoubtful(candidates[i]!, theirs[i]!) || touches.of(db, key)?.isInexact === true) return null;
      const own = number(mine(i).get(name));
      const their = number(dump === null ? undefined : elementsOf([dump]).get(name));
      if (own === null || their === null) return null;
      return own - (their - (touches.of(db, key)?.increments.get(name) ?? 0n));
    },
    unlost: (db, key) => {
      const i = place(db, key);
      const their = i === undefined ? undefined : theirs[i]!;
      if (their?.dump?.type !== 'string' || isDoubtful(candidates[i!]!, their)) return null;
      const touch = touches.of(db, key);
      return touch === undefined || !isContentTouched(touch) ? (their.dump.value as Buffer) : null;
    },
    hasMore: (db, key, lately) => {
      const i = place(db, key)!;
      const { dump } = theirs[i]!;
      if (dump === null || isDoubtful(candidates[i]!, theirs[i]!)) return false;
      const known = [touches.of(db, key), lately].filter((touch) => touch !== undefined);
      return known.every(isByElement) && !isMadeBy(known, dump);
    },
  };
}

/** Whether all is known that was done to a key's elements. */
function isByElement({ opaque, elements, isTold, isInexact }: Touch): boolean {
  return !opaque && elements !== null && !isTold && !isInexact;
}

/** Whether two values are the same, times to live apart. */
function isSameValue(mine: Candidate['parts'], their: NonNullable<TheirValue['dump']>): boolean {
  if (mine[0]?.type !== their.type) return false;
  const places = (list: Buffer[]): Map<string, Buffer> => new Map(list.map((element, i) => [String(i), element]));
  const isList = their.type === 'list';
  const own = isList ? places(mine.flatMap(({ value }) => value as Buffer[])) : elementsOf(mine);
  const other = isList ? places(their.value as Buffer[]) : elementsOf([their]);
  return own.size > 0 && own.size === other.size && [...own].every(([name, value]) => other.get(name)?.equals(value));
}

/** What an effect makes of an element, or of a whole key: bytes, or nothing. */
interface Mark {
  db: number;
  key: string;
  /** Null: the whole key. */
  element: { type: Type | typeof TTL; name: string } | null;
  value: Buffer | null;
}

/** A key's time to live, as an element of it. */
const TTL = 'ttl';

interface Doubtful extends MaybeAppend {
  position: number;
  /** Where the command or the transaction begins that it is of. */
  unit: number;
  /** It is what the agent told of the data, a state say. Redis did not run it: that the data is like that shows nothing of it. */
  isTold: boolean;
  /** Of an APPEND that is known by what it made: what the string was. */
  before?: Buffer | null;
}

/** What marks places of a history. */
export interface TailMarks {
  /** Vector of the cursor in the snapshot. */
  readonly cursor: Vector;
  /** Of the heartbeat in the snapshot: Unix ms. */
  readonly heartbeatMs: number;
  /** Position up to which the region had reported it, as nothing could take it back any more; −1: none is known. */
  readonly safe: number;
}

/**
 * @param records the history's, in order
 * @param marks what is known beside the data
 * @param leastMissing see LEAST_MISSING
 * @returns the position up to which the snapshot holds the history; null for all of it
 */
export function keptUntil(
  records: readonly OpRecord[],
  region: string,
  { cursor, heartbeatMs, safe }: TailMarks,
  evidence: TailEvidence,
  leastMissing = LEAST_MISSING,
): number | null {
  const doubtful: Doubtful[] = [];
  let lostFrom: number | null = null;
  let kept: number | null = null;
  let before: OpRecord | null = null;
  let stampBefore = Infinity;
  for (const record of records) {
    // Records before it may be gone.
    if (doubtful.length === 0) kept = Math.max(kept ?? 0, record.start);
    const order = compareSeen(record.seen, cursor, region);
    if (order === 'more') {
      lostFrom = record.start;
      break;
    }
    const isSure = order === 'less';
    const isTold = !isOfStream(record.kind);
    const isSameBlock = before !== null && compareSeen(before.seen, record.seen, region) === 'same';
    if (!isSameBlock) stampBefore = Infinity;
    let isLost = false;
    let last = record.start;
    eachEffect(record, -1, (db, effect, position, stamp, unit, command, args) => {
      if (isLost) return;
      if (isSure || stamp < stampOf(heartbeatMs)) {
        kept = position;
        doubtful.length = 0;
      } else if (
        timeOfStamp(stamp) > heartbeatMs &&
        timeOfStamp(stampBefore) === heartbeatMs &&
        stamp !== stampBefore + 1
      ) {
        // A later heartbeat stood before it. (Where the clock was set back, stamps are ahead of it and say nothing, and a flood counts beyond
        // the millisecond.)
        isLost = true;
        lostFrom = last;
        return;
      } else if (position <= safe) {
        kept = position;
        doubtful.length = 0;
      } else doubtful.push({ db, effect, position, unit, isTold, appended: appendedBy(command, args) });
      stampBefore = stamp;
      last = position;
    });
    if (isLost) break;
    if (isSure) kept = record.end;
    before = record;
  }
  const end = lastKept(
    withAppends(doubtful, records, lostFrom, evidence),
    earlierOf(records, doubtful, evidence),
    withoutLost(evidence, records, lostFrom),
    lostNumbers(records, lostFrom),
    lostFrom === null ? leastMissing : COUNTERS_WEIGHT / 2,
  );
  if (lostFrom === null && end === doubtful.length) return null;
  return end === 0 ? (kept ?? lostFrom) : doubtful[end - 1]!.position;
}

/** Of a key that was written behind what is held, too, it shows nothing that it is as elsewhere: it would not be, had nothing else been done to it. */
function withoutLost(evidence: TailEvidence, records: readonly OpRecord[], from: number | null): TailEvidence {
  if (from === null) return evidence;
  const lost = new Set<string>();
  for (const record of records) if (record.end > from) addKeys(lost, record, from);
  return { ...evidence, isVain: (db, key) => lost.has(nameOf(db, key)) };
}

/** Adds the names of the keys that operations of a record behind a position are about, but for flushes. */
function addKeys(names: Set<string>, record: OpRecord, after: number): void {
  eachEffect(record, after, (db, effect) => {
    for (const key of effect.kind === 'opaque' ? effect.keys : 'key' in effect ? [effect.key] : [])
      names.add(nameOf(db, key));
  });
}

/** Names of the keys that the last of a history is about, of which a Redis with this cursor and this heartbeat may have lost something. */
export class LateKeys {
  readonly names = new Set<string>();
  private isBehindCursor = false;

  constructor(
    private readonly region: string,
    private readonly cursor: Vector,
    private readonly heartbeatMs: number,
  ) {}

  /** In order. */
  note(record: OpRecord): void {
    this.isBehindCursor ||= compareSeen(record.seen, this.cursor, this.region) === 'more';
    if (this.isBehindCursor || record.stamp + record.ops > stampOf(this.heartbeatMs)) addKeys(this.names, record, -1);
  }
}

/**
 * Of keys that are as elsewhere, those of which something was lost that does not come back to the same: clients have done just that once more, which no
 * operation tells of. (What gives values makes the same of it, however often it runs.)
 * @param lost what was lost
 */
export function doneAgain(equal: Iterable<Candidate>, lost: Touches): Candidate[] {
  return [...equal].filter(({ db, key }) => {
    const touch = lost.of(db, key);
    return (
      touch !== undefined && (touch.opaque || touch.isInexact || [...touch.increments.values()].some((by) => by !== 0n))
    );
  });
}

/** APPENDs are opaque: those of which it is known what they made stand as that. */
function withAppends(
  doubtful: readonly Doubtful[],
  records: readonly OpRecord[],
  lostFrom: number | null,
  evidence: TailEvidence,
): Doubtful[] {
  const all: MaybeAppend[] = [...doubtful];
  for (const record of lostFrom === null ? [] : records)
    if (record.end > lostFrom!)
      eachEffect(record, lostFrom!, (db, effect, _position, _stamp, _unit, command, args) =>
        all.push({ db, effect, appended: appendedBy(command, args) }),
      );
  const appends = appendsOf(all, (db, key) => evidence.unlost(db, key));
  return doubtful.map((one, i) => {
    const append = appends[i];
    if (append === undefined || one.effect.kind !== 'opaque') return one;
    const { before, value } = append;
    return { ...one, effect: { kind: 'set', key: one.effect.keys[0]!, value, keepTtl: true, expireAt: null }, before };
  });
}

/** What numbers lack for sure: the sum of what was added, in units of decimals; null where something else than that was lost. */
type LostNumbers = (db: number, key: string, type: Type, name: string) => bigint | null;

function lostNumbers(records: readonly OpRecord[], from: number | null): LostNumbers {
  const sums = new Map<string, bigint>();
  const others = new Set<string>();
  let isWiped = false;
  for (const record of from === null ? [] : records)
    if (record.end > from!)
      eachEffect(record, from!, (db, effect) => {
        const added = addedBy(effect);
        if (effect.kind === 'increment' && added !== null) {
          const id = elementId(db, effect.key, effect.type, effect.name);
          sums.set(id, (sums.get(id) ?? 0n) + added);
        } else if (effect.kind === 'increment') others.add(elementId(db, effect.key, effect.type, effect.name));
        else if (effect.kind === 'flush' || effect.kind === 'swap') isWiped = true;
        else if (effect.kind === 'opaque') for (const key of effect.keys) others.add(nameOf(db, key));
        else if (effect.kind === 'expire') others.add(nameOf(db, effect.key));
        else for (const mark of marksOf(db, effect)) others.add(idOf(mark));
      });
  return (db, key, type, name) => {
    const id = elementId(db, key, type, name);
    return isWiped || others.has(id) || others.has(nameOf(db, key)) ? null : (sums.get(id) ?? 0n);
  };
}

/** What an increment adds, in units of decimals; null where it is none, or one of a score by what is no integer. */
function addedBy(effect: Effect): bigint | null {
  return effect.kind === 'increment' ? exactOf(effect.delta) : null;
}

/** How many of them, from the first on, the snapshot holds. */
function lastKept(
  doubtful: readonly Doubtful[],
  earlier: Earlier,
  evidence: TailEvidence,
  lostAnyway: LostNumbers,
  leastMissing: number,
): number {
  const verdicts = verdictsOf(doubtful, earlier, evidence);
  const fits = numberFits(doubtful, earlier, lostAnyway, evidence);
  let best = doubtful.length;
  let most = -Infinity;
  let sum = 0;
  for (let kept = 0; kept <= doubtful.length; kept++) {
    if (kept > 0) sum += verdicts[kept - 1]!;
    // All of a transaction is there, or nothing.
    if (kept > 0 && doubtful[kept]?.unit === doubtful[kept - 1]!.unit) continue;
    const score = sum + fits[kept]! * COUNTERS_WEIGHT;
    if (score < most) continue;
    most = score;
    best = kept;
  }
  const all = sum + fits[doubtful.length]! * COUNTERS_WEIGHT;
  return most - all < leastMissing ? doubtful.length : best;
}

/**
 * So many effects have to be missing, net, for a loss to be believed that neither the cursor nor the heartbeat shows: clients may have removed
 * a few since, of what was written last. Where one of the two shows that the end is lost, what shows best is believed of what stands before it.
 */
const LEAST_MISSING = 4;

/**
 * What shows an effect, held against one that is missing: clients remove what was written a moment ago more often than they do again just what was
 * lost.
 */
const SHOWN = 4;

/** A member of a set, without a value of its own: it is sooner added again. */
const SHOWN_MEMBER = 1.5;

/** That something is not there, where an effect had removed it: it may have been removed again. */
const SHOWN_ABSENT = 0.9;

/** Of what a string lacks to which it was appended: clients take nothing from a string. */
const LACKED = LEAST_MISSING;

/** Of what is missing, or was changed since. */
const MAYBE = 0.5;

/** Counters decide where nothing else does. */
const COUNTERS_WEIGHT = 1e-6;

/**
 * Of each effect SHOWN, SHOWN_MEMBER or SHOWN_ABSENT where the snapshot shows it, or more; −1 where it shows what was before, or −LACKED; something between where it may be that; 0 where something came
 * after it, here or since.
 */
function verdictsOf(doubtful: readonly Doubtful[], earlier: Earlier, evidence: TailEvidence): number[] {
  const verdicts = new Array<number>(doubtful.length).fill(0);
  const before = new Map(earlier.values);
  /** What was done to an element, in order; null: something came after it that does not show. */
  const chains = new Map<string, { mark: Mark; steps: Step[] } | null>();
  /** Those of a key's elements, by its name. */
  const idsOf = new Map<string, Set<string>>();
  /** A counter that is as elsewhere has all that was added to it, and so has a list. */
  const added = new Map<string, number>();
  const makers = new Makers();
  const showsAll = (db: number, key: string): boolean =>
    evidence.isWhole(db, key) && evidence.exists(db, key) && evidence.isVain?.(db, key) !== true;
  doubtful.forEach(({ db, effect, position, isTold, before: beforeAppend }, index) => {
    if (isTold) return;
    makers.note(db, effect, index);
    const isAppend = beforeAppend !== undefined;
    for (const mark of marksOf(db, effect)) {
      const id = idOf(mark);
      if (isAppend) before.set(id, beforeAppend);
      if (mark.element === null) for (const known of idsOf.get(id) ?? []) chains.set(known, null);
      const steps = chains.get(id)?.steps ?? [];
      const last = steps.at(-1);
      if (last?.position === position) steps[steps.length - 1] = { ...last, index, value: mark.value };
      else steps.push({ index, position, before: before.get(id), value: mark.value, isAppend });
      chains.set(id, { mark, steps });
      before.set(id, mark.value);
      if (mark.element === null) continue;
      const name = nameOf(db, mark.key);
      const ids = idsOf.get(name);
      if (ids === undefined) idsOf.set(name, new Set([id]));
      else ids.add(id);
    }
    // With a value that is replaced its time to live goes.
    const ended = ttlEndedBy(effect);
    if (ended !== null) {
      const id = elementId(db, ended.key, TTL, '');
      chains.set(id, null);
      before.set(id, ended.next);
    }
    // How much of a stream it has left does not show.
    if (effect.kind === 'cap' || effect.kind === 'trim')
      for (const known of idsOf.get(nameOf(db, effect.key)) ?? []) chains.set(known, null);
    // Nor whether the last element went, and the time to live with it.
    for (const id of ttlsHiddenBy(db, effect)) {
      chains.set(id, null);
      before.delete(id);
    }
    // Nothing of what was before shows behind it.
    for (const id of wipedOf(chains, db, effect)) chains.set(id, null);
    for (const id of wipedOf(added, db, effect)) added.delete(id);
    // What it makes does not show, and neither does what was before.
    for (const id of hiddenBy(db, effect)) {
      chains.set(id, null);
      before.delete(id);
    }
    if (effect.kind === 'opaque')
      for (const key of effect.keys) {
        // What was taken again shows nothing.
        if (effect.adds === true && showsAll(db, key)) added.set(nameOf(db, key), index);
        else added.delete(nameOf(db, key));
      }
    else if (effect.kind === 'delete' || effect.kind === 'set') added.delete(nameOf(db, effect.key));
    if (effect.kind === 'increment' && !isNothing(effect.delta) && showsAll(db, effect.key))
      added.set(elementId(db, effect.key, effect.type, effect.name), index);
  });
  const show = (index: number, weight = SHOWN): void => {
    if (verdicts[index]! >= 0) verdicts[index]! += weight;
  };
  // What a part of an operation lacks, it lacks as a whole: the rest may be from before.
  const miss = (index: number, weight = 1): void => {
    verdicts[index] = Math.min(0, verdicts[index]!) - weight;
  };
  /** Keys that are not there: a client may have removed all of each at once. */
  const absent = new Map<string, { index: number; weight: number }>();
  for (const index of added.values()) show(index);
  for (const chain of chains.values()) {
    if (chain === null) continue;
    const { mark } = chain;
    // What makes no difference shows nothing.
    const steps = chain.steps.filter((step) => step.before === undefined || !isSame(step.before, step.value));
    const last = steps.at(-1);
    if (last === undefined) continue;
    if (evidence.isWhole(mark.db, mark.key)) {
      if (evidence.isVain?.(mark.db, mark.key) === true) continue;
      // Where it is gone, elsewhere too, as its time is over, what it held is gone with or without a loss.
      if (last.value !== null && !evidence.exists(mark.db, mark.key)) continue;
      // Absent now, it may have been absent before all of them.
      const { before: first } = steps[0]!;
      if (first === undefined ? last.value !== null : !isSame(first, last.value)) show(last.index, shownBy(last.value));
      continue;
    }
    const found = foundOf(mark, evidence);
    if (found === undefined) continue;
    const shown = steps.findLastIndex((step, i) => isMadeOf(found, step, steps[i + 1]));
    // It may have been absent before, too.
    if (shown >= 0 && (steps[shown]!.before !== undefined || found !== null)) show(steps[shown]!.index, shownBy(found));
    const next = steps[shown + 1];
    if (next === undefined) continue;
    if (lacks(found, next)) {
      miss(next.index, LACKED);
      continue;
    }
    // What was before may not be known: it may be that.
    const weight = shown >= 0 || isFrom(found, next) ? 1 : next.before === undefined ? MAYBE : 0;
    if (weight === 0) continue;
    if (evidence.exists(mark.db, mark.key)) miss(next.index, weight);
    else if (!earlier.wasThere(mark.db, mark.key)) {
      const name = nameOf(mark.db, mark.key);
      const known = absent.get(name);
      if (known === undefined || next.index < known.index) absent.set(name, { index: next.index, weight });
    }
  }
  for (const { index, weight } of absent.values()) miss(index, weight);
  for (const { db, key, index, weight } of makers.all()) {
    if (verdicts[index]! < 0 || evidence.isWhole(db, key) || evidence.exists(db, key)) continue;
    if (weight === 1 || !earlier.wasThere(db, key)) miss(index, weight);
  }
  return verdicts;
}

/** Of ids that begin with a key's name, those of databases that an effect empties or swaps. */
function wipedOf(ids: { keys(): Iterable<string> }, db: number, effect: Effect): string[] {
  if (effect.kind !== 'flush' && effect.kind !== 'swap') return [];
  const isAll = effect.kind === 'swap' || effect.scope !== 'db';
  return [...ids.keys()].filter((id) => isAll || id.startsWith(nameOf(db, '')));
}

function shownBy(value: Buffer | null): number {
  if (value === null) return SHOWN_ABSENT;
  return value.length === 0 ? SHOWN_MEMBER : SHOWN;
}

interface Maker {
  readonly db: number;
  readonly key: string;
  readonly index: number;
  readonly weight: number;
}

/** Which effects have made keys that nothing has removed since: where there is no such key they are missing, whatever shows of their elements. */
class Makers {
  private readonly keys = new Map<string, Maker | 'absent' | null>();

  note(db: number, effect: Effect, index: number): void {
    if (effect.kind === 'flush' || effect.kind === 'swap') {
      for (const id of wipedOf(this.keys, db, effect)) this.keys.set(id, null);
      return;
    }
    for (const key of effect.kind === 'opaque' ? effect.keys : [effect.key]) {
      const name = nameOf(db, key);
      const known = this.keys.get(name);
      if (effect.kind === 'delete') this.keys.set(name, 'absent');
      else if (!makes(effect)) this.keys.set(name, null);
      // It may have been there before.
      else if (known === undefined || known === 'absent')
        this.keys.set(name, { db, key, index, weight: known === 'absent' ? 1 : MAYBE });
    }
  }

  *all(): IterableIterator<Maker> {
    for (const maker of this.keys.values()) if (maker !== null && maker !== 'absent') yield maker;
  }
}

/** Whether an effect leaves the key there, and not for a time. */
function makes(effect: Effect): boolean {
  if (effect.kind === 'opaque') return effect.adds === true;
  if (effect.kind === 'set') return effect.expireAt === null;
  return effect.kind === 'put' || effect.kind === 'increment';
}

/** One operation on an element: what it was (undefined: not known), and what it became. */
interface Step {
  index: number;
  position: number;
  before: Buffer | null | undefined;
  value: Buffer | null;
  isAppend: boolean;
}

/** Whether a value is what a step made of it; clients may have appended to a string to which is appended. */
function isMadeOf(found: Buffer | null, { value, isAppend }: Step, next: Step | undefined): boolean {
  return isSame(found, value) || ((isAppend || next?.isAppend === true) && beginsWith(found, value));
}

function beginsWith(found: Buffer | null, start: Buffer | null): boolean {
  return found !== null && start !== null && start.length > 0 && found.subarray(0, start.length).equals(start);
}

/** Whether a string is what it was before an APPEND, or begins with that. */
function lacks(found: Buffer | null, { before, isAppend }: Step): boolean {
  return isAppend && beginsWith(found, before ?? null);
}

/** Whether a value may be what was there before a step. */
function isFrom(found: Buffer | null, { before, value }: Step): boolean {
  return before === undefined ? value === null || found === null : isSame(found, before);
}

function foundOf({ db, key, element }: Mark, evidence: TailEvidence): Buffer | null | undefined {
  if (element === null) return evidence.exists(db, key) ? SOMETHING : null;
  if (element.type === TTL) {
    const at = evidence.expireAt(db, key);
    return at === undefined ? undefined : timeBytes(at);
  }
  return evidence.value(db, key, element.type, element.name);
}

/** Whether it adds nothing. */
function isNothing(delta: Delta): boolean {
  return delta instanceof Decimal ? delta.units === 0n : Number(delta) === 0;
}

const SOMETHING = Buffer.from('something');

function isSame(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}

function idOf({ db, key, element }: Omit<Mark, 'value'>): string {
  return element === null ? nameOf(db, key) : elementId(db, key, element.type, element.name);
}

function elementId(db: number, key: string, type: Type | typeof TTL, name: string): string {
  return `${nameOf(db, key)} ${type}${name}`;
}

function marksOf(db: number, effect: Effect): Mark[] {
  switch (effect.kind) {
    case 'set':
      return [{ db, key: effect.key, element: { type: Type.string, name: '' }, value: effect.value }];
    case 'delete':
      return [{ db, key: effect.key, element: null, value: null }];
    case 'put':
      return effect.names.map((name, i) => {
        return { db, key: effect.key, element: { type: effect.type, name }, value: effect.values[i]! };
      });
    case 'remove':
      return effect.names.map((name) => ({ db, key: effect.key, element: { type: effect.type, name }, value: null }));
    case 'ttl':
      return [{ db, key: effect.key, element: { type: TTL, name: '' }, value: timeBytes(effect.expireAt) }];
    default:
      return [];
  }
}

function timeBytes(atMs: number | null): Buffer | null {
  return atMs === null ? null : Buffer.from(String(atMs));
}

/** The key whose time to live goes with its value, and the one that it has then; null: that stays. */
function ttlEndedBy(effect: Effect): { key: string; next: Buffer | null } | null {
  if (effect.kind === 'set' && !effect.keepTtl) return { key: effect.key, next: timeBytes(effect.expireAt) };
  return effect.kind === 'delete' || effect.kind === 'expire' ? { key: effect.key, next: null } : null;
}

/** Times to live of which nobody can tell behind an effect: the last element may have gone, and the time with it. */
function ttlsHiddenBy(db: number, effect: Effect): string[] {
  const keys = effect.kind === 'opaque' ? effect.keys : effect.kind === 'remove' ? [effect.key] : [];
  return keys.map((key) => elementId(db, key, TTL, ''));
}

function hiddenBy(db: number, effect: Effect): string[] {
  switch (effect.kind) {
    case 'increment':
      return [elementId(db, effect.key, effect.type, effect.name), nameOf(db, effect.key)];
    case 'expire':
      return [nameOf(db, effect.key), elementId(db, effect.key, Type.string, '')];
    case 'set':
    case 'put':
    case 'remove':
      return [nameOf(db, effect.key)];
    case 'opaque':
      return effect.keys.flatMap((key) => [nameOf(db, key), elementId(db, key, Type.string, '')]);
    default:
      return [];
  }
}

/** What the history did before the doubtful effects. */
interface Earlier {
  /** What it made of the elements that they are about; undefined where it says nothing. */
  readonly values: ReadonlyMap<string, Buffer | null>;
  /** Whether a key that is not there surely was when they came: a client has removed it, whatever was lost. */
  wasThere(this: void, db: number, key: string): boolean;
}

function earlierOf(records: readonly OpRecord[], doubtful: readonly Doubtful[], evidence: TailEvidence): Earlier {
  const wanted = new Set(doubtful.flatMap(({ db, effect }) => marksOf(db, effect).map(idOf)));
  const first = doubtful[0]?.position ?? -1;
  const values = new Map<string, Buffer | null>();
  const made = new Set<string>();
  for (const record of records) {
    if (record.start >= first) break;
    eachEffect(record, -1, (db, effect, position) => {
      if (position >= first) return;
      for (const mark of marksOf(db, effect)) if (wanted.has(idOf(mark))) values.set(idOf(mark), mark.value);
      for (const id of hiddenBy(db, effect)) values.delete(id);
      const ended = ttlEndedBy(effect);
      if (ended !== null) values.set(elementId(db, ended.key, TTL, ''), ended.next);
      for (const id of ttlsHiddenBy(db, effect)) values.delete(id);
      noteMade(made, db, effect);
    });
  }
  const late = new Touches(() => new Map(records.map(({ origin }) => [origin, Infinity])));
  for (const record of records) if (record.end >= first) late.note(record, doubtful[0]?.unit ?? 0);
  const isMore = (db: number, key: string): boolean => evidence.hasMore?.(db, key, late.of(db, key)) === true;
  return { values, wasThere: (db, key) => made.has(nameOf(db, key)) || isMore(db, key) };
}

function noteMade(made: Set<string>, db: number, effect: Effect): void {
  if (effect.kind === 'flush' || effect.kind === 'swap')
    for (const name of wipedOf(made, db, effect)) made.delete(name);
  else
    for (const key of effect.kind === 'opaque' ? effect.keys : [effect.key])
      if (makes(effect)) made.add(nameOf(db, key));
      else if (!keeps(effect)) made.delete(nameOf(db, key));
}

/** Whether an effect leaves a key there that was there. */
function keeps({ kind }: Effect): boolean {
  return kind === 'trim' || kind === 'cap' || kind === 'lastId' || kind === 'group';
}

/** For each number of effects that may be there, how many counters and scores then have the value that they should have. */
function numberFits(
  doubtful: readonly Doubtful[],
  { wasThere }: Earlier,
  lostAnyway: LostNumbers,
  evidence: TailEvidence,
): number[] {
  const lost = new Map<string, bigint>();
  const surplus = new Map<string, bigint | null>();
  const idAt = (i: number): { id: string; delta: bigint } | null => {
    const { db, effect, isTold } = doubtful[i]!;
    const delta = addedBy(effect);
    if (isTold || effect.kind !== 'increment' || delta === null) return null;
    const id = elementId(db, effect.key, effect.type, effect.name);
    if (!surplus.has(id)) {
      const anyway = lostAnyway(db, effect.key, effect.type, effect.name);
      const { key } = effect;
      const isRemoved = !evidence.isWhole(db, key) && !evidence.exists(db, key) && wasThere(db, key);
      const found = isRemoved ? null : evidence.surplus(db, key, effect.name);
      surplus.set(id, anyway === null || found === null ? null : found + anyway);
    }
    return { id, delta };
  };
  for (let i = 0; i < doubtful.length; i++) {
    const at = idAt(i);
    if (at !== null) lost.set(at.id, (lost.get(at.id) ?? 0n) + at.delta);
  }
  const isFit = (id: string): number => (surplus.get(id) === -lost.get(id)! ? 1 : 0);
  let sum = 0;
  for (const id of lost.keys()) sum += isFit(id);
  const fits = [sum];
  for (let i = 0; i < doubtful.length; i++) {
    const at = idAt(i);
    if (at !== null) {
      sum -= isFit(at.id);
      lost.set(at.id, lost.get(at.id)! - at.delta);
      sum += isFit(at.id);
    }
    fits.push(sum);
  }
  return fits;
}

/** What other regions' operations two vectors hold. */
function compareSeen(seen: Vector, cursor: Vector, region: string): 'less' | 'same' | 'more' {
  let order: 'less' | 'same' = 'same';
  for (const [origin, position] of seen)
    if (isForeign(origin, region) && position > (cursor.get(origin) ?? -1)) return 'more';
  for (const [origin, position] of cursor)
    if (isForeign(origin, region) && position > (seen.get(origin) ?? -1)) order = 'less';
  return order;
}

function isForeign(origin: OriginId, region: string): boolean {
  return regionOf(origin) !== region;
}
