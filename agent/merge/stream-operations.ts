/** Entries of streams, beside the rule (stream-entries.ts): how those of one block get into Redis at once, and what own ones leave to be corrected. */
import type { Batch } from './batch';
import { type Effect, writeEntry } from './effects';
import { type Element, type KeyState, type Op, saw, Type } from './key-state';
import type { Parts } from './parts';
import { writeElements, writeTtl } from './resolve';
import { HEAD, lastIdOf, type StreamEntry } from './stream-entries';
import { compareIds } from './stream-id';
import { isTooLarge } from './stream-splice';
import { writeLastId } from './stream-write';

/** What was planned for a stream, and is not in the batch yet. */
interface Pending {
  readonly elements: Set<Element>;
  /** The lowest ID at which one is to stand; null: all are removed. */
  lowest: string | null;
  /** Entries that stand above it. */
  above: number;
  /** What came meanwhile about its groups: in RESP, to be run behind. */
  readonly ofGroups: Buffer[];
}

export class StreamOperations {
  /** Of each batch that is still open. */
  private readonly pending = new WeakMap<Batch, Map<KeyState, Pending>>();

  constructor(private readonly parts: Parts) {}

  /**
   * Redis' XTRIM … MINID stops at what it meets above the ID, be it removed: where a splice has left such before lower entries, those stay. So
   * whatever a client trimmed by ID is looked through once more.
   */
  trimAgain(state: KeyState, minId: string): void {
    if (state.trimmed === null || compareIds(minId, state.trimmed) > 0) state.trimmed = minId;
    this.parts.corrections.race(state, [state.element(Type.stream, HEAD)]);
  }

  /**
   * Whether blocks that were made without an own XADD have left its entry where it was: they bring in others, and have nothing to do with
   * it. Written once more, it would be back where its stream was cut since.
   */
  isSpared(state: KeyState, effect: Effect, op: Op): boolean {
    if (effect.kind !== 'put' || effect.type !== Type.stream || state.onlyType !== Type.stream) return false;
    if (state.isWipedUnseenBy(op)) return false;
    return (this.parts.insertion.touched as StreamEntry[]).every(
      ({ isAlone, deletions }) => isAlone && deletions.every((deletion) => saw(op, deletion)),
    );
  }

  /**
   * Where an own XADD was in Redis before others' entries came that stand below it, they were refused: they get in by a correction.
   * @param isPast it is of an older history, and may itself have come after a failover
   */
  raceRefused(state: KeyState, op: Op, id: string, isPast: boolean): void {
    const { touched } = this.parts.insertion;
    // It has taken an ID to which another one was about to move.
    if (touched.length > 1) this.parts.corrections.race(state, touched);
    const entries = state.stream!.refusedFor(op, id, isPast);
    if (entries.length > 0) this.parts.corrections.race(state, entries);
  }

  /**
   * Entries that come below others, one by one, would each make room for themselves: those of a batch are brought in at once, with what is removed
   * meanwhile.
   * @returns false where nothing stands above it, or more than the entries has to be written
   */
  plan(state: KeyState, effect: Effect, op: Op, batch: Batch): boolean {
    if ((effect.kind !== 'put' && effect.kind !== 'remove') || effect.type !== Type.stream) return false;
    const { insertion, notes, settling } = this.parts;
    const isPut = effect.kind === 'put';
    const quiet = state.isQuietFor(op);
    if (isPut ? quiet && state.stream?.isBelowMoved(effect.names[0]!) !== true : !this.isPending(state, batch))
      return false;
    if (state.unsettled || state.hasOpaqueUnseenBy(op) || state.onlyType !== Type.stream) return false;
    if (!quiet) notes.count(effect);
    insertion.insert(state, effect, op);
    if (!quiet && !isPut) notes.note(state, effect, op, insertion.touched);
    settling.check(state, effect, op, insertion.touched);
    if (isPut && isTooLarge(effect.values[0]!) && lastIdOf(state, this.parts.origins) === effect.names[0]) {
      this.writePending(batch, state);
      writeEntry(batch.select(state.db), Buffer.from(state.key, 'latin1'), effect.names[0], effect.values[0]!);
      return true;
    }
    this.put(state, insertion.touched, batch);
    return true;
  }

  private put(state: KeyState, elements: readonly Element[], batch: Batch): void {
    const streams = this.pending.get(batch) ?? new Map<KeyState, Pending>();
    if (streams.size === 0) {
      this.pending.set(batch, streams);
      batch.last = () => this.writePending(batch);
    }
    let pending = streams.get(state);
    if (pending === undefined)
      streams.set(state, (pending = { elements: new Set(), lowest: null, above: 0, ofGroups: [] }));
    const { lowest } = pending;
    for (const element of elements) {
      const { name } = element;
      pending.elements.add(element);
      if (element.live && (pending.lowest === null || compareIds(name, pending.lowest) < 0)) pending.lowest = name;
    }
    if (pending.lowest === lowest) return;
    const above = state.stream!.above(pending.lowest!);
    batch.moves += above - pending.above;
    pending.above = above;
  }

  /** Whether entries wait that are to be brought in with what else the batch will bring. */
  hasPending(batch: Batch): boolean {
    return (this.pending.get(batch)?.size ?? 0) > 0;
  }

  private isPending(state: KeyState, batch: Batch): boolean {
    return this.pending.get(batch)?.has(state) === true;
  }

  /**
   * A command about groups: it goes as it came, behind the entries that were before it.
   * @param bytes in RESP
   * @param isFixed it means the same when more entries are there
   */
  planGroup(db: number, key: string, bytes: Buffer, isFixed: boolean, batch: Batch): void {
    const state = this.parts.window.find(db, key, undefined, 'none');
    const pending = state === undefined ? undefined : this.pending.get(batch)?.get(state);
    if (pending !== undefined && isFixed) return void pending.ofGroups.push(Buffer.from(bytes));
    if (pending !== undefined) this.writePending(batch, state);
    batch.select(db).raw(bytes, 0, bytes.length, 1);
  }

  /** Writes what waits, of one stream or of all: before anything else that concerns it, and at the batch's end. */
  writePending(batch: Batch, only?: KeyState): void {
    const streams = this.pending.get(batch);
    if (streams === undefined) return;
    for (const [state, { elements, lowest, ofGroups }] of streams) {
      if (only !== undefined && state !== only) continue;
      streams.delete(state);
      const out = batch.select(state.db);
      writeElements(out, state, elements, this.parts.origins);
      // What came and went raises the last ID all the same.
      if (lowest !== null && ![...elements].some(({ live }) => live)) writeLastId(out, state, this.parts.origins);
      // The key may just have come back, and a time to live of it have been here before.
      if (state.ttls.length > 0) writeTtl(out, state, this.parts.origins);
      for (const bytes of ofGroups) out.raw(bytes, 0, bytes.length, 1);
    }
  }

  /** As `writePending`, of those among some keys. */
  writePendingOf(batch: Batch, db: number, keys: readonly string[]): void {
    if (this.pending.get(batch)?.size)
      for (const key of keys) {
        const state = this.parts.window.find(db, key, undefined, 'none');
        if (state !== undefined) this.writePending(batch, state);
      }
  }
}
