/** Of the effects of which it is in doubt whether a snapshot holds them: up to which one it does, as far as its data tells. */
import type { OpRecord } from '../record';
import type { MaybeAppend } from './appended';
import { Decimal } from './decimal';
import {
  elementId,
  hiddenBy,
  idOf,
  keeps,
  makes,
  type Mark,
  marksOf,
  timeBytes,
  TTL,
  ttlEndedBy,
  ttlsHiddenBy,
  wipedOf,
} from './effect-marks';
import type { Effect } from './effects';
import type { Delta, Type } from './element';
import type { TailEvidence } from './lost-evidence';
import { eachEffect, exactOf, nameOf, Touches } from './touches';

/** An effect that the snapshot may hold. */
export interface Doubtful extends MaybeAppend {
  position: number;
  /** Where the command or the transaction begins that it is of. */
  unit: number;
  /** It is what the agent told of the data, a state say. Redis did not run it: that the data is like that shows nothing of it. */
  isTold: boolean;
  /** Of an APPEND that is known by what it made: what the string was. */
  before?: Buffer | null;
}

/** How many of them, from the first on, the snapshot holds. */
export function lastKept(
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
export const LEAST_MISSING = 4;

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
export const COUNTERS_WEIGHT = 1e-6;

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

/** What the history did before the doubtful effects. */
interface Earlier {
  /** What it made of the elements that they are about; undefined where it says nothing. */
  readonly values: ReadonlyMap<string, Buffer | null>;
  /** Whether a key that is not there surely was when they came: a client has removed it, whatever was lost. */
  wasThere(this: void, db: number, key: string): boolean;
}

export function earlierOf(
  records: readonly OpRecord[],
  doubtful: readonly Doubtful[],
  evidence: TailEvidence,
): Earlier {
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

/** What numbers lack for sure: the sum of what was added, in units of decimals; null where something else than that was lost. */
type LostNumbers = (db: number, key: string, type: Type, name: string) => bigint | null;

export function lostNumbers(records: readonly OpRecord[], from: number | null): LostNumbers {
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
