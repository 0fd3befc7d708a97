/** What is known of a key and its elements, to be kept elsewhere. */
import type { Element, Op } from './element';
import { raise } from './origins';

export interface TtlPut {
  readonly op: Op;
  /** Unix time in milliseconds at which the key expires; null: the key was made persistent. */
  readonly at: number | null;
  /** By EXPIRE or PERSIST: it renews a value that others may have seen expire. Else it came with its value. */
  readonly alone: boolean;
  /**
   * It may have been removed where nothing tells: Redis drops a collection's with the last element, and SET … KEEPTTL
   * keeps the one that it finds. What such an operation found is not always known here.
   */
  readonly isDoubtful: boolean;
}

/** What is known of one element, without how. */
export type ElementParts = Pick<Element, 'type' | 'name' | 'puts' | 'increments' | 'ttls' | 'removals' | 'baseDead'>;

/** What a KeyState knows, without how. */
export interface StateParts {
  readonly db: number;
  readonly key: string;
  readonly isWhole: boolean;
  readonly elements: readonly ElementParts[];
  readonly ttls: readonly TtlPut[];
  readonly opaques: readonly Op[];
  readonly expiries: readonly Op[];
  readonly deletions: readonly Op[];
  readonly deadTypes: number;
  readonly ttlBaseDead: boolean;
  readonly ttlByRedis: boolean;
  readonly removals: ReadonlyMap<number, { first: Op; last: Op }> | null;
  /** The highest position of each origin among its operations. */
  readonly tops: readonly number[];
}

/** What an element knows, without how. */
export function elementParts({ type, name, puts, increments, ttls, removals, baseDead }: Element): ElementParts {
  return { type, name, puts, increments, ttls, removals, baseDead };
}

/** The highest position of each origin among the operations of an element. */
export function topsOf({ puts, increments, ttls, removals }: Omit<ElementParts, 'type' | 'name'>): number[] {
  const tops: number[] = [];
  for (const { op } of puts) raise(tops, op.origin, op.position);
  for (const { op } of increments) raise(tops, op.origin, op.position);
  for (const { op } of ttls) raise(tops, op.origin, op.position);
  for (const { origin, position } of removals) raise(tops, origin, position);
  return tops;
}
