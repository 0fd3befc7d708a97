/** Entries of streams, to the shelf and back: which of them stand for themselves, and who needs them again (shelved-entries.ts). */
import { elementParts, type StateParts } from './key-parts';
import { type Element, type KeyState, NONE, Op, type Put, Type } from './key-state';
import type { Needed } from './effects';
import { FINGERPRINT_WORDS, fingerprintOfText } from './key-hash';
import { areSeen, type OriginTable, raise, seenAt, type Seen } from './origins';
import type { SetSources } from './set-source';
import type { Shelf, ShelfBatch } from './shelf';
import { readEntry, writeParts } from './shelf-entry';
import { type EntriesPart, partsOfEntries, ShelvedEntries } from './shelved-entries';
import { HEAD, StreamEntry } from './stream-entries';
import { hashOf, movedId } from './stream-id';

/** What the window does for them. */
export interface EntryHost {
  /** What all members have seen. */
  readonly stable: Seen;
  /** Whether an operation is in Redis, and all that clients of this region do from now on has seen it. */
  hasLanded(op: Op): boolean;
  weigh(state: KeyState): void;
  /** Counts an operation that comes out of turn. */
  noteLate(state: KeyState, element: Element, origin: number, position: number): void;
}

export class EntryShelf {
  /** Entries that were taken, and are not written yet. */
  private readonly taken = new Map<KeyState, StreamEntry[]>();
  /** Parts so far. */
  private parts = 0;
  /** The one that was read last. */
  private last: { readonly part: EntriesPart; readonly parts: StateParts } | null = null;
  private readonly name = new Int32Array(FINGERPRINT_WORDS);

  constructor(
    private readonly origins: OriginTable,
    private readonly shelf: Shelf,
    private readonly sources: SetSources,
    private readonly host: EntryHost,
  ) {}

  /** Takes an entry out of the window, if it stands for itself, to be written with others. */
  take(state: KeyState, entry: Element | null): boolean {
    if (!(entry instanceof StreamEntry) || state.stream === null || !state.isOfEntries || state.isHeld) return false;
    if (state.unstableKeyOps > 0 || entry.unstable > 1 || !entry.standsForItself) return false;
    const { op } = entry.puts[0]!;
    if (op.constructor !== Op || !Number.isInteger(op.position) || !this.host.hasLanded(op)) return false;
    state.unstable--;
    entry.unstable--;
    state.removeEntry(entry);
    this.host.weigh(state);
    const others = this.taken.get(state);
    if (others === undefined) this.taken.set(state, [entry]);
    else others.push(entry);
    return true;
  }

  /** Writes what was taken. Until all have seen it the key knows of it. */
  write(batch: ShelfBatch): void {
    for (const [state, entries] of this.taken) {
      const stream = state.stream!;
      stream.dropFolded();
      const shelved = (stream.shelved ??= new ShelvedEntries());
      shelved.take((part) => this.isBase(part));
      const highest: number[] = [];
      const parts = partsOfEntries(entries).map((some): EntriesPart => {
        const number = ++this.parts;
        const written = partsOfStream(state, some);
        writeParts(batch, this.nameOf(state, number), written, this.origins);
        const { tops } = written;
        tops.forEach((top, origin) => raise(highest, origin, top));
        const hashes = Uint32Array.from(some, (entry) => hashOf(entry.name));
        return { number, low: some[0]!.name, high: some[some.length - 1]!.name, hashes, tops };
      });
      shelved.add(...parts);
      const head = state.element(Type.stream, HEAD);
      highest.forEach((top, origin) => {
        if (top >= 0) this.host.noteLate(state, head, origin, top);
      });
    }
    this.taken.clear();
  }

  /**
   * Brings back entries of a stream.
   * @param needed those that somebody is about
   * @param op what is about them
   */
  bring(state: KeyState, needed: Needed, op?: Op): void {
    const stream = state.stream!;
    const shelved = stream.shelved!;
    const ids = needed === 'none' ? NONE : needed?.type === Type.stream ? needed.names : undefined;
    const isAbout = ids !== undefined && state.onlyType === Type.stream;
    const wanted = isAbout ? new Set(ids.flatMap((id) => this.partsWith(shelved, state, id))) : null;
    const taken = shelved.take((part) => wanted === null || wanted.has(part));
    const back = taken.flatMap((part) => (this.isBase(part) ? NONE : this.read(state, part).elements));
    if (shelved.isEmpty) stream.shelved = null;
    if (back.length > 0) this.restore(state, back);
    if (isAbout && stream.shelved !== null && ids.some((id) => this.isMet(shelved, state, id, op)))
      this.bring(state, undefined);
  }

  private restore(state: KeyState, elements: StateParts['elements']): void {
    const isStable = ({ op: { origin, position } }: Put): boolean => position <= seenAt(this.host.stable, origin);
    for (const entry of state.restore(elements.filter(({ puts }) => !puts.every(isStable)))) {
      const { origin, position } = entry.puts[0]!.op;
      this.host.noteLate(state, entry, origin, position);
    }
    this.host.weigh(state);
  }

  /** Of several that have come to one ID all but one go on: whether one stands there, too. */
  private isMet(shelved: ShelvedEntries, state: KeyState, id: string, op: Op | undefined): boolean {
    const entry = state.findElement(Type.stream, id);
    if (!(entry instanceof StreamEntry)) return false;
    const ops = Array.from(entry.contenders(), (contender) => contender.op);
    if (op !== undefined) ops.push(op);
    return ops.some(({ origin, stamp }) => {
      return this.partsWith(shelved, state, movedId(this.origins.region(origin), stamp, id)).length > 0;
    });
  }

  /** Parts that have an entry with this ID: one at most. */
  private partsWith(shelved: ShelvedEntries, state: KeyState, id: string): EntriesPart[] {
    return shelved
      .around(id)
      .filter((part) => !this.isBase(part) && this.read(state, part).elements.some(({ name }) => name === id));
  }

  /** All have seen it: the shelf may have let go of it. */
  private isBase({ tops }: EntriesPart): boolean {
    return areSeen(tops, this.host.stable);
  }

  private read(state: KeyState, part: EntriesPart): StateParts {
    if (this.last?.part !== part) {
      const [bytes] = this.shelf.find(this.nameOf(state, part.number));
      if (bytes === undefined) throw new Error(`the shelf has lost ${part.hashes.length} entries of a stream`);
      this.last = { part, parts: readEntry(bytes, this.origins, this.sources) };
    }
    return this.last.parts;
  }

  /** That of no key: none has such a database. */
  private nameOf({ db, key }: KeyState, part: number): Int32Array {
    fingerprintOfText(~db, `${part} ${key}`, this.name);
    return this.name;
  }
}

/** What is known of entries that each stand for themselves. */
function partsOfStream({ db, key }: KeyState, entries: readonly StreamEntry[]): StateParts {
  const tops: number[] = [];
  for (const { puts } of entries) for (const { op } of puts) raise(tops, op.origin, op.position);
  return {
    ...{ db, key, tops, isWhole: false, deadTypes: 0, ttlBaseDead: false, ttlByRedis: false, removals: null },
    ...{ ttls: NONE, opaques: NONE, expiries: NONE, deletions: NONE },
    elements: entries.map(elementParts),
  };
}
