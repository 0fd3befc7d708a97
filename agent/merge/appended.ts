/** What APPENDs made of strings, told from what these are in the end. */
import type { Args } from './args';
import type { Command } from './commands';
import type { Effect } from './effects';
import { nameOf } from './touches';

/** What an APPEND made of a string, and what that was; null: there was none. */
export interface Append {
  readonly before: Buffer | null;
  readonly value: Buffer;
}

export interface MaybeAppend {
  readonly db: number;
  readonly effect: Effect;
  /** What was appended; null: it is no APPEND. */
  readonly appended: Buffer | null;
}

/** @returns what an APPEND adds; null for another command */
export function appendedBy({ name }: Command, args: Args): Buffer | null {
  return name === 'APPEND' ? Buffer.from(args.buf.subarray(args.argStart[2], args.argEnd[2])) : null;
}

/**
 * Of each effect that is an APPEND, and behind which nothing else was done to its string, what it made of that.
 * @param last what a string is behind all of them; null: not known
 */
export function appendsOf(
  effects: readonly MaybeAppend[],
  last: (db: number, key: string) => Buffer | null,
): (Append | undefined)[] {
  const appends = new Array<Append | undefined>(effects.length).fill(undefined);
  /** What strings were before the effects that have been looked at, from the last on; null: not known. */
  const strings = new Map<string, Buffer | null>();
  for (let i = effects.length - 1; i >= 0; i--) {
    const { db, effect, appended } = effects[i]!;
    if (effect.kind === 'flush' || effect.kind === 'swap') break;
    if (effect.kind === 'ttl') continue;
    for (const key of effect.kind === 'opaque' ? effect.keys : [effect.key]) {
      const name = nameOf(db, key);
      const known = strings.get(name);
      const value = known === undefined ? last(db, key) : known;
      const before = value === null || appended === null ? null : without(value, appended);
      strings.set(name, before);
      if (before !== null) appends[i] = { before: before.length === 0 ? null : before, value: value! };
    }
  }
  return appends;
}

/** A string before its end was appended; null: it does not end with that. */
function without(value: Buffer, end: Buffer): Buffer | null {
  const start = value.length - end.length;
  return start >= 0 && value.subarray(start).equals(end) ? value.subarray(0, start) : null;
}
