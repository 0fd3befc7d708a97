/**
 * Of a key that others have taken elements from, what is here alone: what clients added here while no agent was reading, or what others took. Where
 * that can't be told it is added again, up to a number: nothing that was added is lost, and an element may be delivered twice.
 */
import { parseScore } from '../capture/rdb';
import type { CommandWriter } from '../resp';
import { type Args, argText } from './args';
import type { Command } from './commands';
import { parseInteger } from './effects';

/** Of one key's elements that may be new here or have been taken elsewhere, so many are added again; of more, none. */
export const DOUBTFUL_MAX = 1000;

/** What others did at one end, of a sorted set the lowest or the highest scores: took by number, or cut off what is beyond a length. */
type End = 'nothing' | 'takes' | 'cuts';

const ADDING = /^(?:[LR]PUSHX?|LINSERT)$/;

/** What others did to a key by commands that add elements, or take some by place or by value. */
export class Taking {
  /** Elements pushed to a list, and how many times. */
  readonly pushed = new Map<string, number>();
  /** Taken by value. */
  readonly removed = new Set<string>();
  /** Taken by score, both ends included. */
  readonly ranges: (readonly [number, number])[] = [];
  first: End = 'nothing';
  last: End = 'nothing';
  /** What the key was when some was taken, which Redis refuses of another type. */
  readonly from = new Set<string>();

  /** @returns false where it is more than that */
  note(command: Command, args: Args, key: string): boolean {
    const { name } = command;
    if (!ADDING.test(name)) this.from.add(name === 'SMOVE' ? 'set' : /^B?Z/.test(name) ? 'zset' : 'list');
    switch (name) {
      case 'LPUSH':
      case 'RPUSH':
      case 'LPUSHX':
      case 'RPUSHX':
        for (let i = 2; i < args.argc; i++) this.push(argText(args, i));
        return true;
      case 'LINSERT':
        this.push(argText(args, 4));
        return true;
      case 'LREM':
        this.removed.add(argText(args, 3));
        return true;
      case 'LPOP':
      case 'BLPOP':
      case 'ZPOPMIN':
      case 'BZPOPMIN':
        return this.end('first', 'takes');
      case 'RPOP':
      case 'BRPOP':
      case 'ZPOPMAX':
      case 'BZPOPMAX':
        return this.end('last', 'takes');
      case 'RPOPLPUSH':
      case 'BRPOPLPUSH':
        return this.move(args, key, 'RIGHT');
      case 'LMOVE':
      case 'BLMOVE':
        return this.move(args, key, argText(args, 3));
      case 'SMOVE':
        if (key === argText(args, 1)) this.removed.add(argText(args, 3));
        return true;
      case 'LTRIM':
        return this.trim(parseInteger(argText(args, 2)), parseInteger(argText(args, 3)));
      case 'ZREMRANGEBYRANK':
        return this.rank(parseInteger(argText(args, 2)), parseInteger(argText(args, 3)));
      case 'ZREMRANGEBYSCORE':
        return this.range(argText(args, 2), argText(args, 3));
      default:
        return false;
    }
  }

  /** A region has told all that the list holds: what it had seen and is not there was taken, wherever it was. */
  tell(): void {
    this.end('first', 'takes');
    this.end('last', 'takes');
  }

  private push(element: string): void {
    this.pushed.set(element, (this.pushed.get(element) ?? 0) + 1);
  }

  private end(end: 'first' | 'last', how: 'takes' | 'cuts'): true {
    if (this[end] !== 'takes') this[end] = how;
    return true;
  }

  /** From a list to another, or to its own other end; what is moved here is not known. */
  private move(args: Args, key: string, from: string): true {
    const [source, target] = [argText(args, 1), argText(args, 2)];
    if (source !== target && key === source) this.end(from.toUpperCase() === 'LEFT' ? 'first' : 'last', 'takes');
    return true;
  }

  /** LTRIM, which keeps a range: a number of elements at either end, or what others than so many are. */
  private trim(from: bigint | null, to: bigint | null): boolean {
    if (from === null || to === null) return false;
    if (from !== 0n) this.end('first', from < 0n ? 'cuts' : 'takes');
    if (to !== -1n) this.end('last', to >= 0n ? 'cuts' : 'takes');
    return true;
  }

  /** ZREMRANGEBYRANK, which removes one: so many at either end, or all but so many. */
  private rank(from: bigint | null, to: bigint | null): boolean {
    if (from === null || to === null) return false;
    if (from === 0n) return this.end('first', to < 0n ? 'cuts' : 'takes');
    return to === -1n && this.end('last', from > 0n ? 'cuts' : 'takes');
  }

  private range(from: string, to: string): boolean {
    // Whether a bound is in it makes no difference worth knowing.
    const [min, max] = [parseScore(from.replace('(', '')), parseScore(to.replace('(', ''))];
    if (Number.isNaN(min) || Number.isNaN(max)) return false;
    this.ranges.push([min, max]);
    return true;
  }
}

/** Elements of a push. */
const ELEMENTS = 256;

/** Elements that are here alone, and what others did where they stand: those that are to be added again. */
function toAdd<T>(alone: readonly T[], end: End): readonly T[] {
  return end === 'nothing' || (end === 'takes' && alone.length <= DOUBTFUL_MAX) ? alone : [];
}

export function writePush(
  writer: CommandWriter,
  name: 'LPUSH' | 'RPUSH',
  key: Buffer,
  elements: readonly Buffer[],
): void {
  for (let i = 0; i < elements.length; i += ELEMENTS) writer.command([name, key, ...elements.slice(i, i + ELEMENTS)]);
}

/**
 * Writes what of a list is here alone, and may be new.
 * @param their what the donor has of it; empty for nothing
 */
export function writeNewInList(
  writer: CommandWriter,
  key: Buffer,
  mine: readonly Buffer[],
  their: readonly Buffer[],
  taking: Taking,
): void {
  const counts = new Map<string, number>();
  const count = (element: string, by: number): void => void counts.set(element, (counts.get(element) ?? 0) + by);
  for (const element of their) count(element.toString('latin1'), 1);
  // Those are others', though they be like one here.
  for (const [element, times] of taking.pushed) count(element, -times);
  /** Alone before the first that is in both, null while there is none; between such; and since the last of them. */
  let heads: Buffer[] | null = null;
  const between: Buffer[] = [];
  let tails: Buffer[] = [];
  for (const element of mine) {
    const name = element.toString('latin1');
    if ((counts.get(name) ?? 0) > 0) {
      count(name, -1);
      if (heads === null) heads = tails;
      else for (const one of tails) between.push(one);
      tails = [];
    } else if (!taking.removed.has(name)) tails.push(element);
  }
  const { first, last } = taking;
  const push = (name: 'LPUSH' | 'RPUSH', elements: readonly Buffer[]): void => writePush(writer, name, key, elements);
  const pushFirst = (elements: readonly Buffer[]): void => push('LPUSH', [...elements].reverse());
  if (heads === null) {
    // All may have been taken at the end where others take; what is new came by the other one.
    const all = toAdd(tails, first === 'cuts' || last === 'nothing' ? first : last);
    if (first === 'nothing' && last !== 'nothing') pushFirst(all);
    else push('RPUSH', all);
    return;
  }
  pushFirst(toAdd(heads, first));
  push('RPUSH', between);
  push('RPUSH', toAdd(tails, last));
}

/**
 * Writes what of a sorted set is here alone, and may be new.
 * @param alone members that nobody is known to have written or removed (Latin-1), and their scores
 * @param common scores of members that others have not touched either, and that are in both
 */
export function writeNewInSortedSet(
  writer: CommandWriter,
  key: Buffer,
  alone: readonly (readonly [string, Buffer])[],
  common: readonly Buffer[],
  { first, last, ranges }: Taking,
): void {
  // What is lower was there to be taken, and was not.
  let [lowest, highest] = [Infinity, -Infinity];
  for (const score of common) {
    lowest = Math.min(lowest, scoreOf(score));
    highest = Math.max(highest, scoreOf(score));
  }
  const heads: (typeof alone)[number][] = [];
  const tails: typeof heads = [];
  const added: typeof heads = [];
  for (const item of alone) {
    const score = scoreOf(item[1]);
    if (ranges.some(([min, max]) => score >= min && score <= max)) continue;
    if (first !== 'nothing' && score <= lowest) heads.push(item);
    else if (last !== 'nothing' && score >= highest) tails.push(item);
    else added.push(item);
  }
  added.push(...toAdd(heads, first), ...toAdd(tails, last));
  for (const [member, score] of added) writer.command(['ZADD', key, score, Buffer.from(member, 'latin1')]);
}

function scoreOf(score: Buffer): number {
  return parseScore(score.toString('latin1'));
}
