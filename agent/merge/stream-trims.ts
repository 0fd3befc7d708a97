/**
 * Streams that clients of this region cut to a length (MAXLEN). How many entries that leaves depends on what Redis held, so others don't do
 * the same: this region looks where its stream begins, and says so as `XTRIM key MINID first`, which removes what it had seen below that. So
 * an entry that a region had not seen when it trimmed is not lost, and a stream stays as short everywhere as where it is cut.
 *
 * What came after a cut may stand below all that it has left: then the stream begins behind that, and that is named as kept.
 */
import { type Element, type Op, Type } from './element';
import type { KeyState } from './key-state';
import type { Beginning } from './stream-commands';
import { HEAD } from './stream-entries';
import { compareIds, idAbove } from './stream-id';

/** Between a cut and the look, and between two reports of one stream; ms. Meanwhile others hold more of it. */
const REST_MS = 30;
const AGAIN_MS = 1000;
/** What was reported is known so long, so that nothing is reported twice. */
const KEPT_MS = 60_000;

const LOWEST_ID = '0-0';

/** By interned origin, the position of the first cut: the journal keeps it until it is reported. */
type Cuts = ReadonlyMap<number, number>;
const NONE: Cuts = new Map();

export class CutStream {
  /** Cuts that no look can have seen yet. */
  cuts: Cuts = NONE;
  /** Those that the look under way has seen. */
  looked: Cuts = NONE;
  /** IDs that came after the first of these cuts: all of them, and more. Redis cut before what is read of it here. */
  late = new Set<string>();
  /** Those until the last report: a block may have been on its way then. */
  lateBefore: ReadonlySet<string> = new Set();
  /** The lowest ID that came since the last look, and between the last report and that. */
  lowest: string | null = null;
  earlier: string | null = null;
  /** Where it was said to begin, if nothing was kept below that: what is kept once may be cut later. */
  reported: string | null = null;
  /** By a clock that only goes forward, ms; 0 until it is first asked for. */
  dueMs = 0;

  constructor(
    public db: number,
    /** Latin-1. */
    readonly key: string,
  ) {}

  get isDue(): boolean {
    return this.cuts.size > 0 || this.looked.size > 0;
  }
}

export class StreamTrims {
  private readonly streams = new Map<string, CutStream>();
  private due = 0;

  /** Whether any cut is not reported. */
  get isDue(): boolean {
    return this.due > 0;
  }

  /** A client of this region has cut a stream. */
  cut(db: number, key: string, op: Op, state: KeyState | undefined): void {
    const name = nameOf(db, key);
    const { origin, position } = op;
    let stream = this.streams.get(name);
    if (stream === undefined) this.streams.set(name, (stream = new CutStream(db, key)));
    if (!stream.isDue) this.due++;
    if (stream.cuts.size === 0 && state !== undefined) {
      // What of them was there when Redis cut is not known: blocks may have run since that brought some, or brought some back.
      for (const id of state.stream?.ids() ?? []) stream.late.add(id);
    }
    if (!stream.cuts.has(origin)) stream.cuts = new Map(stream.cuts).set(origin, position);
  }

  /** Entries come to a stream, of whatever region, or are written once more though a cut may have removed them. */
  wrote({ db, key }: KeyState, entries: Iterable<Element>): void {
    if (this.streams.size === 0) return;
    const stream = this.streams.get(nameOf(db, key));
    if (stream === undefined) return;
    for (const { type, name: id } of entries) {
      if (type !== Type.stream || id === HEAD) continue;
      stream.lowest = lower(stream.lowest, id);
      stream.late.add(id);
    }
  }

  /** The key is replaced or removed: a look that is under way says nothing of what it is now. */
  replaced({ db, key }: KeyState): void {
    if (this.streams.size === 0) return;
    const stream = this.streams.get(nameOf(db, key));
    if (stream !== undefined) stream.lowest = LOWEST_ID;
  }

  /** Streams to look at now, at most so many. */
  choose(nowMs: number, max: number): CutStream[] {
    const chosen: CutStream[] = [];
    for (const [name, stream] of this.streams) {
      if (!stream.isDue) {
        if (stream.dueMs + KEPT_MS < nowMs) this.streams.delete(name);
        continue;
      }
      if (stream.dueMs === 0) stream.dueMs = nowMs + REST_MS;
      if (stream.dueMs <= nowMs && chosen.length < max) chosen.push(stream);
    }
    return chosen;
  }

  /** Streams of which others did not know at a time, by the clock of `choose`, what clients had cut of them. */
  *unknownSince(timeMs: number): IterableIterator<{ db: number; key: string }> {
    for (const stream of this.streams.values())
      if (stream.isDue || stream.dueMs - AGAIN_MS >= timeMs) yield { db: stream.db, key: stream.key };
  }

  /** A look begins: what is cut, and what comes, from here on it may miss. */
  look(stream: CutStream): void {
    stream.looked = merged(stream.looked, stream.cuts);
    stream.cuts = NONE;
    stream.earlier = lower(stream.earlier, stream.lowest);
    stream.lowest = null;
  }

  /**
   * Where a stream begins.
   * @param ids its first entries, at least one more than those that came late
   * @param lastId its last ID
   */
  beginning({ late, lateBefore }: CutStream, ids: readonly string[], lastId: string): Beginning {
    const index = ids.findIndex((id) => !late.has(id) && !lateBefore.has(id));
    if (index >= 0) return { first: ids[index]!, keep: ids.slice(0, index) };
    // All that is left came late: what else was here is gone.
    return { first: idAbove(lastId), keep: ids };
  }

  /** Whether something has come since the look that would count as cut, and was not: then it says nothing. */
  isOutdated({ lowest }: CutStream, first: string): boolean {
    return lowest !== null && compareIds(lowest, first) < 0;
  }

  /** Whether it is not said already that the stream begins there. */
  isNews({ reported, earlier }: CutStream, { first, keep }: Beginning): boolean {
    if (keep.length > 0) return true;
    return reported !== first || (earlier !== null && compareIds(earlier, first) < 0);
  }

  /** It is reported. @param beginning null: there is no such stream any more */
  done(stream: CutStream, beginning: Beginning | null, nowMs: number): void {
    const { isDue } = stream;
    stream.looked = NONE;
    stream.lateBefore = stream.late;
    stream.late = new Set();
    stream.reported = beginning === null || beginning.keep.length > 0 ? null : beginning.first;
    stream.earlier = null;
    stream.dueMs = nowMs + AGAIN_MS;
    if (isDue && !stream.isDue) this.due--;
  }

  /** The look was in vain: once more, soon. */
  retry(stream: CutStream, nowMs: number): void {
    stream.dueMs = nowMs + REST_MS;
  }

  /** Calls `visit` for each first cut that is not reported. */
  eachCut(visit: (origin: number, position: number) => void): void {
    if (this.due === 0) return;
    for (const { cuts, looked } of this.streams.values())
      for (const some of [cuts, looked]) some.forEach((position, origin) => visit(origin, position));
  }

  swap(a: number, b: number): void {
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const stream of streams) {
      if (stream.db === a) stream.db = b;
      else if (stream.db === b) stream.db = a;
      this.streams.set(nameOf(stream.db, stream.key), stream);
    }
  }
}

function merged(a: Cuts, b: Cuts): Cuts {
  const all = new Map(a);
  for (const [origin, position] of b) all.set(origin, Math.min(position, all.get(origin) ?? Infinity));
  return all;
}

function lower(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  return compareIds(a, b) <= 0 ? a : b;
}

function nameOf(db: number, key: string): string {
  return `${db} ${key}`;
}
