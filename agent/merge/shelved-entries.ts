/**
 * Entries of a stream that are on the shelf, in parts: of each only its range of IDs and what it is about are in memory. They were
 * alone at their IDs, and in Redis, when they went. So to what comes they are base, but for what is about their very IDs, or about all of
 * the stream: for that they come back.
 */
import type { StreamEntry } from './stream-entries';
import { compareIds, hashOf } from './stream-id';

/** What the shelf has under one name. */
export interface EntriesPart {
  /** Among all parts that the window has ever made: by it the shelf finds it. */
  readonly number: number;
  /** The lowest and the highest ID. */
  readonly low: string;
  readonly high: string;
  /** Of each entry's ID: most that is looked for in its range is not in it, and need not be read for that. */
  readonly hashes: Uint32Array;
  /** The highest position of each origin among its operations. */
  readonly tops: readonly number[];
}

/** Entries of a part: what is read for one ID is not much more. */
export const PART_ENTRIES = 256;

export class ShelvedEntries {
  /** By their lowest ID. They may overlap: what comes back goes again with others. */
  private parts: EntriesPart[] = [];
  /** Of each part and all before it the highest ID. */
  private reach: string[] = [];

  get isEmpty(): boolean {
    return this.parts.length === 0;
  }

  add(...parts: readonly EntriesPart[]): void {
    for (const part of parts) this.parts.splice(this.placeOf(part.low), 0, part);
    this.index();
  }

  /** @returns what is kept no longer */
  take(isTaken: (part: EntriesPart) => boolean): EntriesPart[] {
    const taken = this.parts.filter(isTaken);
    if (taken.length === 0) return taken;
    this.parts = this.parts.filter((part) => !taken.includes(part));
    this.index();
    return taken;
  }

  /** Parts that may have an ID. */
  around(id: string): EntriesPart[] {
    const found: EntriesPart[] = [];
    const hash = hashOf(id);
    for (let i = this.placeOf(id) - 1; i >= 0 && compareIds(this.reach[i]!, id) >= 0; i--) {
      const part = this.parts[i]!;
      if (compareIds(part.high, id) >= 0 && part.hashes.includes(hash)) found.push(part);
    }
    return found;
  }

  /** How many stand above an ID: those of a part that it is in all count. */
  above(id: string): number {
    let above = 0;
    for (let i = this.parts.length - 1; i >= 0 && compareIds(this.reach[i]!, id) > 0; i--)
      if (compareIds(this.parts[i]!.high, id) > 0) above += this.parts[i]!.hashes.length;
    return above;
  }

  /** Behind all whose lowest ID is not above this one. */
  private placeOf(id: string): number {
    let low = 0;
    for (let high = this.parts.length; low < high;) {
      const middle = (low + high) >> 1;
      if (compareIds(this.parts[middle]!.low, id) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private index(): void {
    let highest = '';
    this.reach = this.parts.map(({ high }) => {
      if (highest === '' || compareIds(high, highest) > 0) highest = high;
      return highest;
    });
  }
}

/** Entries in the order of their IDs, as parts of so many. */
export function partsOfEntries(entries: readonly StreamEntry[]): StreamEntry[][] {
  const sorted = [...entries].sort((a, b) => compareIds(a.name, b.name));
  const parts: StreamEntry[][] = [];
  for (let i = 0; i < sorted.length; i += PART_ENTRIES) parts.push(sorted.slice(i, i + PART_ENTRIES));
  return parts;
}
