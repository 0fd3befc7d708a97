/** What the data of a snapshot shows of the last of its history, where it is compared with a region that has all of that. */
import { parseDecimal } from './decimal';
import { type Candidate, elementsOf, isContentTouched, isDoubtful, isMadeBy, type TheirValue } from './difference';
import { type Type, TYPE_NAMES } from './element';
import { nameOf, type Touch, type Touches } from './touches';

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
