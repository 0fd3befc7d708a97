/**
 * Elements of large sets, hashes and sorted sets, to the shelf and back, each by itself: what is about one brings back that one. Those of a key stand
 * together there, for what is about the whole of it. The key stays in memory meanwhile.
 */
import type { Needed } from './effects';
import { ElementsAway } from './elements-away';
import { type ElementParts, topsOf } from './key-parts';
import type { KeyState, Op, Type } from './key-state';
import { FINGERPRINT_WORDS, fingerprintOfText } from './key-hash';
import { areSeen, raise, seenAt, type Seen } from './origins';
import { Reach, type Shelf, type ShelfBatch } from './shelf';
import { readElement, writeElementParts } from './shelf-entry';
import type { EntryHost } from './entry-shelf';

export class ElementShelf {
  private readonly ofKey = new Int32Array(FINGERPRINT_WORDS);
  private readonly name = new Int32Array(FINGERPRINT_WORDS);
  private stays = 0;

  constructor(
    private readonly shelf: Shelf,
    private readonly host: Pick<EntryHost, 'stable' | 'weigh' | 'noteLate'>,
  ) {}

  /**
   * Elements that were split off go there; until all have seen them the key knows of it.
   * @param tops of the operations that it is about
   */
  write(
    state: KeyState,
    type: Type,
    elements: readonly (ElementParts & { isPartial: boolean })[],
    tops: Seen,
    batch: ShelfBatch,
  ): void {
    fingerprintOfText(state.db, state.key, this.ofKey);
    const away = (state.away ??= new ElementsAway(type, (this.stays = (this.stays + 1) >>> 0)));
    for (const element of elements) {
      // Nothing of it lives: all have seen what removed it.
      if (topsOf(element).length === 0) continue;
      batch.begin(this.nameOf(element.type, element.name));
      // Nothing older counts beside what replaced it; but a field's time to live may.
      const isAll = !element.isPartial || (element.baseDead && element.puts.every(({ keepTtl }) => keepTtl !== true));
      writeElementParts(batch, isAll ? Reach.wholeElement : Reach.element, this.ofKey, away.stay, element);
      batch.end();
    }
    const highest = away.tops.slice();
    tops.forEach((top, origin) => {
      raise(highest, origin, top);
      if (top > seenAt(this.host.stable, origin)) this.keep(state, away, origin, top);
    });
    away.tops = highest;
  }

  /** The key is needed until all have seen what is away. */
  private keep(state: KeyState, away: ElementsAway, origin: number, top: number): void {
    away.notes[origin] = (away.notes[origin] ?? 0) + 1;
    this.host.noteLate(state, away.element, origin, top);
  }

  /** A note of `keep` was the first in its queue and has been taken out: all have seen the operations, or it gives room. */
  taken(state: KeyState, origin: number): void {
    const { away } = state;
    if (away === null) return;
    away.notes[origin]!--;
    const top = seenAt(away.tops, origin);
    if (away.notes[origin] === 0 && top > seenAt(this.host.stable, origin)) this.keep(state, away, origin, top);
  }

  /**
   * Brings back elements of a key.
   * @param needed those that somebody is about
   * @param op what is about them
   */
  bring(state: KeyState, needed: Needed, op?: Op): void {
    const away = state.away!;
    // All have seen it; or what has seen all of it has removed it.
    if (this.isStable(away.tops) || state.isBaseDead(away.type)) return this.forget(state);
    // To who has seen all of the key they are base.
    if (op !== undefined && state.isQuietFor(op)) return;
    if (needed === 'none') return;
    fingerprintOfText(state.db, state.key, this.ofKey);
    if (needed?.type !== away.type || state.onlyType !== away.type) this.bringAll(state);
    else for (const name of needed.names) this.bringOne(state, needed.type, name);
  }

  private bringOne(state: KeyState, type: Type, name: string): void {
    if (state.findElement(type, name)?.isPartial === false) return;
    const tops: number[] = [];
    for (const bytes of this.shelf.find(this.nameOf(type, name))) {
      const parts = readElement(bytes, this.ofKey, state.away!.stay);
      if (parts === null || parts.name !== name || parts.type !== type) continue;
      if (!this.underlay(state, parts, tops)) break;
    }
    this.restored(state, type, name, tops);
  }

  /** Whatever that takes in memory. */
  private bringAll(state: KeyState): void {
    const { type, stay } = state.away!;
    const found = new Map<string, number[]>();
    const complete = new Set<string>();
    for (const element of state.elements()) if (!element.isPartial) complete.add(element.type + element.name);
    this.shelf.eachWith(this.ofKey[0]!, (bytes) => {
      const parts = readElement(bytes, this.ofKey, stay);
      if (parts === null || complete.has(parts.type + parts.name)) return;
      let tops = found.get(parts.name);
      if (tops === undefined) found.set(parts.name, (tops = []));
      if (!this.underlay(state, parts, tops) || bytes[0] === Reach.wholeElement) complete.add(parts.type + parts.name);
    });
    for (const [name, tops] of found) this.restored(state, type, name, tops);
    this.forget(state);
  }

  private forget(state: KeyState): void {
    for (const element of state.elements()) element.isPartial = false;
    state.away = null;
  }

  /** @returns false where all have seen it: it is base, and so is what is older */
  private underlay(state: KeyState, parts: ElementParts, tops: number[]): boolean {
    const own = topsOf(parts);
    if (this.isStable(own)) return false;
    state.underlayElement(parts);
    own.forEach((top, origin) => raise(tops, origin, top));
    return true;
  }

  private restored(state: KeyState, type: Type, name: string, tops: Seen): void {
    const element = state.findElement(type, name);
    if (element === undefined) return;
    if (tops.length === 0) {
      element.isPartial = false;
      return;
    }
    state.restored(element);
    tops.forEach((top, origin) => {
      if (top > seenAt(this.host.stable, origin)) this.host.noteLate(state, element, origin, top);
    });
    this.host.weigh(state);
  }

  private isStable(tops: Seen): boolean {
    return areSeen(tops, this.host.stable);
  }

  /** That of an element of the key whose fingerprint is in `ofKey`. */
  private nameOf(type: Type, name: string): Int32Array {
    const { ofKey } = this;
    fingerprintOfText(type, name, this.name);
    for (let i = 0; i < FINGERPRINT_WORDS; i++) this.name[i] = i === 0 ? ofKey[0]! : this.name[i]! ^ ofKey[i]!;
    return this.name;
  }
}
