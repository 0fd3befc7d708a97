/** Entries of streams, beside the rule (stream-entries.ts): how those of one record get into Redis at once, and what own ones leave to be corrected. */
import type { Batch } from './batch';
import { type Effect, type PutEffect, writeEntry } from './effects';
import { type Element, type KeyState, type Op, Type } from './key-state';
import type { Parts } from './parts';
import { writeElements, writeTtl } from './resolve';
import { HEAD, lastIdOf, type StreamEntry } from './stream-entries';
import { compareIds } from './stream-id';
import { isTooLarge } from './stream-splice';

export class StreamOperations {
  /** Entries of the record at hand that were planned, and are not in the batch yet. */
  private readonly pending = new Map<KeyState, Set<Element>>();

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
    return this.parts.insertion.touched.every((entry) => (entry as StreamEntry).isAlone) && !state.isWipedUnseenBy(op);
  }

  /** Where an own XADD was in Redis before others' entries came that stand below it, they were refused: they get in by a correction. */
  raceRefused(state: KeyState, op: Op, id: string): void {
    const { touched } = this.parts.insertion;
    // It has taken an ID to which another one was about to move.
    if (touched.length > 1) this.parts.corrections.race(state, touched);
    const entries = state.stream!.refusedFor(op, id);
    if (entries.length > 0) this.parts.corrections.race(state, entries);
  }

  /**
   * Entries that come below others, one by one, would each make room for themselves: those of a record are brought in at once.
   * @returns false where nothing stands above it, or more than the entries has to be written
   */
  plan(state: KeyState, effect: PutEffect, op: Op, batch: Batch): boolean {
    const quiet = state.isQuietFor(op);
    if (quiet && state.stream?.isBelowMoved(effect.names[0]!) !== true) return false;
    if (state.unsettled || state.hasOpaqueUnseenBy(op) || state.onlyType !== Type.stream) return false;
    if (!quiet) this.parts.notes.count(effect);
    this.parts.insertion.insert(state, effect, op);
    this.parts.settling.check(state, effect, op, this.parts.insertion.touched);
    const [id, value] = [effect.names[0]!, effect.values[0]!];
    if (isTooLarge(value) && lastIdOf(state) === id) {
      this.writePending(batch, state);
      writeEntry(batch.select(state.db), Buffer.from(state.key, 'latin1'), id, value);
      return true;
    }
    const pending = this.pending.get(state);
    if (pending === undefined) this.pending.set(state, new Set(this.parts.insertion.touched));
    else for (const element of this.parts.insertion.touched) pending.add(element);
    return true;
  }

  isPending(state: KeyState): boolean {
    return this.pending.has(state);
  }

  /** Writes the entries that wait, of one stream or of all: before anything else that concerns it, and at a record's end. */
  writePending(batch: Batch, only?: KeyState): void {
    for (const [state, elements] of this.pending) {
      if (only !== undefined && state !== only) continue;
      this.pending.delete(state);
      const out = batch.select(state.db);
      writeElements(out, state, elements, this.parts.origins);
      // The key may just have come back, and a time to live of it have been here before.
      if (state.ttls.length > 0) writeTtl(out, state, this.parts.origins);
    }
  }
}
