/**
 * Entries of a stream. Each is an element of its key, named by its ID; what is special about them:
 *
 * - **Two regions may give out one ID.** The entry with the highest (stamp, region) stands there; each other one moves to an ID of
 *   its region's own range (`movedId`), and on from there where that is taken. Where an entry stands follows from the set of operations. A
 *   removed entry keeps its place (as a *ghost*), so that no other one moves back when it goes.
 * - **An ID names what its writer saw there.** XDEL and trims remove the entry that stood at the ID by what they had seen, wherever it stands now.
 * - **The key lives without entries**, and has a last ID: both are the *head*, an element without a name, put by each XADD with
 *   its ID as the value. Of unseen ones the highest ID counts, not the highest stamp.
 */
import { Element, NONE, type Op, ownBytes, saw, Type } from './element';
import type { KeyState } from './key-state';
import { isHigher } from './op';
import type { OriginTable } from './origins';
import type { ShelvedEntries } from './shelved-entries';
import { compareIds, movedId } from './stream-id';

/** The head's name. */
export const HEAD = '';

/** An entry that came to an ID: its own, or one that it moved to. */
interface Contender {
  readonly op: Op;
  readonly home: StreamEntry;
  /** Where it was before; null: this is its own ID. */
  readonly from: StreamEntry | null;
  /** The fields in RESP; null for one that was removed. */
  readonly value: Buffer | null;
  readonly isWiped: boolean;
  /** Of the fields of one that was removed. */
  readonly hash: number | null;
}

/** An entry that had to leave its ID. */
interface Guest {
  readonly op: Op;
  readonly home: StreamEntry;
  /** Where it was before. */
  readonly from: StreamEntry;
}

/** What stands at an ID. */
export class StreamEntry extends Element {
  /** Operations whose entry had this ID, and was removed; `isWiped`: with the whole stream, so that its ID is not among the last ones. */
  ghosts: readonly { readonly op: Op; readonly isWiped: boolean; readonly hash: number }[] = NONE;
  /**
   * Operations whose entry had this ID, which one that had seen them gave out again (their stream, or they, were removed meanwhile): where others had come here
   * first they had moved on, and the last ID goes up only.
   */
  replaced: StreamEntry['ghosts'] = NONE;
  /** Entries that had to leave their ID, and came here. */
  guests: readonly Guest[] = NONE;
  /** Removals of the ID. Where clients' entries that have not seen one of them stand is not known before they are read: it may have been run behind them. */
  deletions: readonly Op[] = NONE;
  /** It has left the window. */
  folded = false;

  /** The whole stream goes. */
  override removeSeen(op: Op): void {
    const isSeen = (other: Op): boolean => other === op || saw(op, other);
    this.remove(isSeen, true);
    const wiped = (ghosts: StreamEntry['ghosts']): StreamEntry['ghosts'] =>
      ghosts.some((ghost) => !ghost.isWiped && isSeen(ghost.op))
        ? ghosts.map((ghost) => (isSeen(ghost.op) ? { ...ghost, isWiped: true } : ghost))
        : ghosts;
    this.ghosts = wiped(this.ghosts);
    this.replaced = wiped(this.replaced);
  }

  /** One that has seen some of those that had its ID takes their place. */
  replace(matches: (op: Op) => boolean): void {
    this.remove(matches);
    const gone = this.ghosts.filter((ghost) => matches(ghost.op));
    if (gone.length === 0) return;
    this.ghosts = this.ghosts.filter((ghost) => !gone.includes(ghost));
    this.replaced = [...this.replaced, ...gone];
  }

  remove(matches: (op: Op) => boolean, isWiped = false): void {
    if (this.puts.length === 0) return;
    const gone = this.puts.filter((put) => matches(put.op));
    if (gone.length === 0) return;
    this.puts = gone.length === this.puts.length ? NONE : this.puts.filter((put) => !gone.includes(put));
    this.ghosts = [...this.ghosts, ...gone.map(({ op, value }) => ({ op, isWiped, hash: hashOf(value) }))];
  }

  /** Whether it is there, and nothing is known of its ID but the XADD that made it. */
  get standsForItself(): boolean {
    const { puts, ghosts, guests, deletions, replaced, removals, early } = this;
    if (puts.length !== 1 || early > 0) return false;
    return ghosts.length + guests.length + deletions.length + replaced.length + removals.length === 0;
  }

  /** Whether only one entry ever had to do with the ID. */
  get isAlone(): boolean {
    return this.puts.length + this.ghosts.length <= 1 && this.guests.length === 0;
  }

  /** Whether the ID from which one has come here is still in the window: until then where that one stands is needed. */
  get isAwaited(): boolean {
    return this.guests.some(({ home }) => !home.folded);
  }

  *contenders(): IterableIterator<Contender> {
    for (const { op, value } of this.puts) yield { op, home: this, from: null, value, isWiped: false, hash: null };
    for (const { op, isWiped, hash } of this.ghosts) yield { op, home: this, from: null, value: null, isWiped, hash };
    for (const { op, home, from } of this.guests) {
      const put = home.puts.find((candidate) => candidate.op === op);
      const ghost = home.ghosts.find((candidate) => candidate.op === op);
      if (put !== undefined) yield { op, home, from, value: put.value, isWiped: false, hash: null };
      else if (ghost !== undefined) yield { ...ghost, home, from, value: null };
    }
  }
}

function highest(contenders: Iterable<Contender>, origins: OriginTable): Contender | null {
  let best: Contender | null = null;
  for (const contender of contenders) {
    const { op } = contender;
    if (
      best === null ||
      (op.stamp === best.op.stamp ? origins.outranks(op.origin, best.op.origin) : op.stamp > best.op.stamp)
    )
      best = contender;
  }
  return best;
}

/** What had come to an ID by what an operation has seen, and what of that stood there. */
interface Found {
  readonly came: readonly Contender[];
  readonly best: Contender | null;
}

const NOTHING: Found = { came: NONE, best: null };

/** @param known what was found at other IDs: places follow from each other */
function foundAt(entry: StreamEntry, by: Op, origins: OriginTable, known = new Map<StreamEntry, Found>()): Found {
  const before = known.get(entry);
  if (before !== undefined) return before;
  // Two that had to leave each other's ID, of which clients would have had to know before: nothing is found there.
  known.set(entry, NOTHING);
  // What took another's ID may be unseen, and that one has stood there then.
  const past = entry.replaced.map((ghost): Contender => ({ ...ghost, home: entry, from: null, value: null }));
  const came = [...entry.contenders(), ...past].filter(({ op, home, from }) => {
    if (by !== op && !saw(by, op)) return false;
    if (from === null) return true;
    // It has come to where it was before, and did not stay.
    const there = foundAt(from, by, origins, known);
    const isIt = (one: Contender): boolean => one.op === op && one.home === home;
    return there.came.some(isIt) && !isIt(there.best!);
  });
  const found = { came, best: highest(came, origins) };
  known.set(entry, found);
  return found;
}

/**
 * Whether two that came to an ID are one entry: a region's state, or difference, tells of entries that are there already, of those that have moved
 * as if the ID were their own. Such operations stand between the bytes of the stream.
 */
function isSame(a: Contender, b: Contender): boolean {
  if (a.op === b.op && a.home === b.home) return true;
  if (!isTold(a.op) && !isTold(b.op)) return false;
  if (a.value !== null && b.value !== null) return a.value.equals(b.value);
  return (a.hash ?? hashOf(a.value!)) === (b.hash ?? hashOf(b.value!));
}

/** Whether it is of a state or a difference. */
function isTold(op: Op): boolean {
  return !Number.isInteger(op.position);
}

/** FNV-1a: what a removed entry held, in four bytes. */
function hashOf(value: Buffer): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < value.length; i++) hash = Math.imul(hash ^ value[i]!, 0x01000193);
  return hash;
}

/** The fields of what stands at the entry's ID by the rule, in RESP; null for nothing. */
export function standingAt(entry: StreamEntry, origins: OriginTable): Buffer | null {
  if (entry.isAlone) return entry.puts[0]?.value ?? null;
  const best = highest(entry.contenders(), origins);
  if (best === null || best.value !== null) return best?.value ?? null;
  for (const contender of entry.contenders())
    if (contender.value !== null && isSame(contender, best)) return contender.value;
  return null;
}

/** Whether what stands at the entry's ID came there from another region, or by moving: an agent had to write it. */
export function isForeignAt(entry: StreamEntry, region: string, origins: OriginTable): boolean {
  const best = highest(entry.contenders(), origins);
  return best !== null && best.value !== null && (best.from !== null || origins.region(best.op.origin) !== region);
}

/** What is known of a stream's entries, beside the elements themselves. */
export class StreamOrder {
  /** Ascending. Those that have left the window are dropped now and then. */
  private entries: StreamEntry[] = [];
  private folded = 0;
  /** Nothing lives before this index: trims begin here. */
  private first = 0;
  /** IDs to which entries have moved. */
  moved: StreamEntry[] = [];
  /** IDs that were given out again. */
  replaced: readonly StreamEntry[] = NONE;
  private highestMoved: string | null = null;
  /** Entries in the order in which they came, but for those that own operations have seen. */
  private arrived: StreamEntry[] = [];
  /** Those that are on the shelf; null: none is. */
  shelved: ShelvedEntries | null = null;

  add(entry: StreamEntry): void {
    const at = this.placeOf(entry.name);
    if (at === this.entries.length) this.entries.push(entry);
    else this.entries.splice(at, 0, entry);
    if (at < this.first) this.first = at;
  }

  /** An entry has moved to an ID to which none had. */
  noteMoved(entry: StreamEntry): void {
    this.moved.push(entry);
    if (this.highestMoved === null || compareIds(entry.name, this.highestMoved) > 0) this.highestMoved = entry.name;
  }

  /** An entry's ID was given out again. */
  noteReplaced(entry: StreamEntry): void {
    if (!this.replaced.includes(entry)) this.replaced = [...this.replaced, entry];
  }

  /**
   * Whether an entry has moved to an ID, or above it. Whoever adds there has seen what made it move, but has not moved it yet: to others the ID
   * comes no higher than their top.
   */
  isBelowMoved(id: string): boolean {
    return this.highestMoved !== null && compareIds(id, this.highestMoved) <= 0;
  }

  /** How many are known that stand above an ID. */
  above(id: string): number {
    const at = this.placeOf(id);
    return this.entries.length - at - (this.entries[at]?.name === id ? 1 : 0) + (this.shelved?.above(id) ?? 0);
  }

  /** Those that come back from the shelf: they may be many, and stand before all others. */
  addAll(entries: readonly StreamEntry[]): void {
    this.entries = [...this.entries, ...entries].sort((a, b) => compareIds(a.name, b.name));
    this.arrived = [...entries, ...this.arrived];
    this.first = 0;
  }

  /** Something has come to an ID that is known. */
  revive(entry: StreamEntry): void {
    if (this.first > 0) this.first = Math.min(this.first, this.placeOf(entry.name));
  }

  private placeOf(id: string): number {
    const { entries } = this;
    let at = entries.length;
    if (at === 0 || compareIds(entries[at - 1]!.name, id) < 0) return at;
    let low = 0;
    while (low < at) {
      const middle = (low + at) >> 1;
      if (compareIds(entries[middle]!.name, id) < 0) low = middle + 1;
      else at = middle;
    }
    return at;
  }

  fold(entry: StreamEntry): void {
    entry.folded = true;
    if (++this.folded > 64 && this.folded * 2 > this.entries.length) this.dropFolded();
  }

  /** Forgets those that have left the window. */
  dropFolded(): void {
    this.entries = this.entries.filter((other) => !other.folded);
    this.arrived = this.arrived.filter((other) => !other.folded);
    this.moved = this.moved.filter((other) => !other.folded);
    this.replaced = this.replaced.filter((other) => !other.folded);
    this.folded = this.first = 0;
  }

  /** Entries below an ID, of which something may live; null: all. Those that have left the window are in Redis alone. */
  *below(id: string | null): IterableIterator<StreamEntry> {
    let isFirst = true;
    for (let i = this.first; i < this.entries.length; i++) {
      const entry = this.entries[i]!;
      if (id !== null && compareIds(entry.name, id) >= 0) return;
      if (!entry.folded) yield entry;
      isFirst &&= entry.folded || (entry.puts.length === 0 && entry.guests.length === 0);
      if (isFirst) this.first = i + 1;
    }
  }

  /** IDs of all that are known. */
  ids(): string[] {
    return this.entries.flatMap(({ folded, name }) => (folded ? [] : [name]));
  }

  /** Notes an entry that has come. */
  arrive(entry: StreamEntry): void {
    this.arrived.push(entry);
  }

  /**
   * Others' entries that an own XADD had not seen, and that stand below it: where it was in Redis before they came, Redis has refused
   * them. To be asked for each own XADD, in order.
   * @param isPast it is of an older history: what it has seen there may have been refused when it came again, after a failover
   */
  refusedFor(op: Op, id: string, isPast: boolean): StreamEntry[] {
    const isUnseen = (entry: StreamEntry): boolean =>
      entry.puts.some((put) => put.op.origin !== op.origin && !saw(op, put.op));
    // Its own it has not: what comes in a later history of this region, after a failover, may not have seen it.
    const isSeen = (entry: StreamEntry): boolean => entry.puts.every((put) => put.op !== op && saw(op, put.op));
    let seen = 0;
    while (!isPast && seen < this.arrived.length && isSeen(this.arrived[seen]!)) seen++;
    if (seen > 0) this.arrived.splice(0, seen);
    return this.arrived.filter((entry) => isUnseen(entry) && compareIds(entry.name, id) <= 0);
  }
}

/** The entry of an ID, made where there is none. */
export function entryAt(state: KeyState, id: string): StreamEntry {
  return state.element(Type.stream, id) as StreamEntry;
}

/** The key is a stream, and its last ID at least this. */
export function putHead(state: KeyState, op: Op, id: string): Element {
  const head = state.begin(op, Type.stream, HEAD);
  // It goes up only: what came here lower than one that it had seen, where a block had removed that, does not replace it.
  const higher = head.puts.filter((put) => saw(op, put.op) && compareIds(put.value.toString('latin1'), id) > 0);
  head.removeSeen(op);
  const put = { op, value: Buffer.from(id, 'latin1') };
  head.puts = head.puts.length === 0 && higher.length === 0 ? [put] : [...higher, ...head.puts, put];
  head.baseDead = true;
  return head;
}

/** The key is a stream, and its last ID what it was. */
export function keepHead(state: KeyState, op: Op): Element {
  let last = '0-0';
  for (const put of state.findElement(Type.stream, HEAD)?.puts ?? []) {
    const id = put.value.toString('latin1');
    if ((put.op === op || saw(op, put.op)) && compareIds(id, last) > 0) last = id;
  }
  return putHead(state, op, last);
}

/** XADD. `touched` gets the entry, and those that others had to move to. */
export function putEntry(
  state: KeyState,
  op: Op,
  id: string,
  value: Buffer,
  origins: OriginTable,
  touched: Element[],
): void {
  putHead(state, op, id);
  const entry = entryAt(state, id);
  /** Where what it replaces may have moved: its stream was deleted in between, where the same ID was given out again. */
  let places: readonly StreamEntry[] = NONE;
  if (entry.puts.length > 0 || entry.ghosts.length > 0) {
    const isReplaced = replacedAt(entry, op, origins);
    if (!entry.isAlone && [...entry.puts, ...entry.ghosts].some((other) => isReplaced(other.op)))
      places = placesFrom(state, entry, origins);
    entry.replace(isReplaced);
    if (entry.replaced.length > 0) state.stream!.noteReplaced(entry);
  }
  const put = { op, value: ownBytes(value) };
  state.bytes += value.length + id.length;
  entry.puts = entry.puts.length === 0 ? [put] : [...entry.puts, put];
  entry.baseDead = true;
  state.stream!.revive(entry);
  touched.push(entry);
  for (const at of places) if (!touched.includes(at)) touched.push(at);
  if (!entry.isAlone) place(state, entry, origins, touched);
}

/** Of those whose own ID an entry is, the ones whose place it takes: all that it has seen, but what is told stands beside those that had moved on by then. */
function replacedAt(entry: StreamEntry, op: Op, origins: OriginTable): (other: Op) => boolean {
  if (entry.isAlone || !isTold(op)) return (other) => other === op || saw(op, other);
  const { came, best } = foundAt(entry, op, origins);
  const stood = new Set(came.filter((one) => one.from === null && isSame(one, best!)).map((one) => one.op));
  return (other) => stood.has(other);
}

/** Whoever does not stand at the entry's ID goes on to the next that is theirs. */
function place(state: KeyState, entry: StreamEntry, origins: OriginTable, touched: Element[]): void {
  const best = highest(entry.contenders(), origins);
  for (const contender of [...entry.contenders()]) {
    if (isSame(contender, best!)) continue;
    const { op, home } = contender;
    const next = entryAt(state, movedId(origins.region(op.origin), op.stamp, entry.name));
    if (!touched.includes(next)) touched.push(next);
    if (next.guests.some((guest) => guest.op === op && guest.home === home)) continue;
    if (next.guests.length === 0) state.stream!.noteMoved(next);
    next.guests = [...next.guests, { op, home, from: entry }];
    next.baseDead = true;
    state.stream!.revive(next);
    place(state, next, origins, touched);
  }
}

/** An ID's entry, and those of the IDs to which others had to leave it. */
export function placesFrom(state: KeyState, entry: StreamEntry, origins: OriginTable): StreamEntry[] {
  const places = [entry];
  for (const at of places)
    for (const { op } of at.contenders()) {
      const next = state.findElement(Type.stream, movedId(origins.region(op.origin), op.stamp, at.name));
      if (!(next instanceof StreamEntry) || places.includes(next)) continue;
      if (next.guests.some(({ from }) => from === at)) places.push(next);
    }
  return places;
}

/** XDEL of one ID. `touched` gets the ID's entry, and that where the removed one stands. */
export function removeEntry(state: KeyState, op: Op, id: string, origins: OriginTable, touched: Element[]): void {
  const entry = entryAt(state, id);
  entry.baseDead = true;
  entry.deletions = entry.deletions.length === 0 ? [op] : [...entry.deletions.filter((by) => !saw(op, by)), op];
  touched.push(entry);
  removeAt(state, op, entry, origins, touched);
}

/** Removes what stood at an ID by what `op` had seen. */
function removeAt(state: KeyState, op: Op, entry: StreamEntry, origins: OriginTable, touched: Element[]): void {
  if (entry.isAlone) return entry.remove((put) => put === op || saw(op, put));
  // Where one has moved to may have left the window before this ID. Behind it, all that came there is where it is for good.
  for (const { home } of [...entry.contenders()])
    if (!home.isAlone && !home.folded) place(state, home, origins, touched);
  const { came, best } = foundAt(entry, op, origins);
  for (const found of came) {
    if (found.value === null || !isSame(found, best!)) continue;
    found.home.remove((put) => put === found.op);
    const region = origins.region(found.op.origin);
    let at: StreamEntry | null = found.home;
    while (at !== null) {
      if (!at.folded && !touched.includes(at)) touched.push(at);
      const next: Element | undefined = state.findElement(Type.stream, movedId(region, found.op.stamp, at.name));
      const isThere = ({ op: guest, home }: { op: Op; home: StreamEntry }): boolean =>
        guest === found.op && home === found.home;
      at = next instanceof StreamEntry && next.guests.some(isThere) ? next : null;
    }
  }
}

/**
 * A trim: removes what it had seen below an ID (null: all), but for what stood at the IDs of `keep`.
 * @returns entries where something was removed that had moved there
 */
export function trimEntries(
  state: KeyState,
  op: Op,
  minId: string | null,
  keep: readonly string[],
  origins: OriginTable,
): Element[] {
  state.noteWipe(op);
  const moved: Element[] = [];
  for (const entry of state.stream?.below(minId) ?? [])
    if (keep.includes(entry.name)) continue;
    else removeAt(state, op, entry, origins, moved);
  return moved;
}

/** The stream's last ID by the operations known; null where they don't tell. */
export function lastIdOf(state: KeyState, origins: OriginTable): string | null {
  let last: string | null = null;
  const isAbove = (id: string): boolean => last === null || compareIds(id, last) > 0;
  const raise = (id: string): void => {
    if (isAbove(id)) last = id;
  };
  for (const { value } of state.findElement(Type.stream, HEAD)?.puts ?? []) raise(value.toString('latin1'));
  for (const entry of state.stream?.moved ?? [])
    if (!entry.folded && isAbove(entry.name))
      for (const { home, isWiped } of entry.contenders()) if (home !== entry && !isWiped) last = entry.name;
  for (const entry of state.stream?.replaced ?? [])
    if (!entry.folded)
      for (const { op } of movedBefore(entry, origins)) raise(movedId(origins.region(op.origin), op.stamp, entry.name));
  return last;
}

/** Of those whose ID was given out again, the ones that had to leave it where others' had come first. */
function movedBefore(entry: StreamEntry, origins: OriginTable): readonly Contender[] {
  const own = { home: entry, from: null };
  const replaced = entry.replaced.map((ghost): Contender => ({ ...ghost, ...own, value: null }));
  const all = [...[...entry.contenders()].filter(({ from }) => from === null), ...replaced];
  const isBelow = (one: Contender, other: Contender): boolean =>
    isHigher(other.op, one.op, origins) && !saw(other.op, one.op) && !isSame(one, other);
  return replaced.filter((one) => !one.isWiped && all.some((other) => isBelow(one, other)));
}
