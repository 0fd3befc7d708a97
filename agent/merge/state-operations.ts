/** Keys' states, sent to settle them: noted in the window, and given to the corrections to be written. */
import type { Batch } from './batch';
import { CarriedOps, insertCarried, insertKept } from './carried';
import type { KeyState, Op } from './key-state';
import { StateOp } from './op';
import type { Parts } from './parts';
import type { OpRecord } from '../record';
import { highestTtl, resolveTtl, rewriteKey, writeElements, writeTtl } from './resolve';
import { partsOf, type StatePart } from './state-parts';

export class StateOperations {
  constructor(private readonly parts: Parts) {}

  /**
   * States of whole keys, as one operation: a delete of all that it has seen, and what they hold.
   * @param batch that is to write them; null: they are there already
   */
  note(record: OpRecord, batch: Batch | null): void {
    const op = new StateOp(
      this.parts.origins.index(record.origin),
      record.end,
      record.stamp,
      this.parts.origins.toSeen(record.seen),
    );
    const ops = new CarriedOps(record.carried, op, this.parts.origins);
    const parts = partsOf(record.payload).map((part) => {
      const state = this.parts.flushes.stateFor(record.db, part.key, op);
      // Of what is kept as commands, a string or its absence is no element either.
      return { ...part, state, isFloor: !part.isByElement || (!part.hasElements && state.log !== null) };
    });
    const whole = parts.filter(({ isWhole }) => isWhole);
    const together: ReadonlySet<KeyState> = new Set(whole.map(({ state }) => state));
    const isAdopted = whole.every(({ state, isFloor }) => !isFloor || this.isAdoptable(state, op, together));
    for (const part of parts) {
      const { state, effects, isFloor } = part;
      const quiet = state.isQuietFor(op);
      if (!part.isWhole) {
        if (part.hasElements) this.noteFields(part, state, ops, op, batch);
        else {
          for (const effect of effects)
            if (effect.kind === 'ttl') state.setTtl(ops.next()[0]!.by, effect.expireAt, false);
          this.noteTtl(state, op, quiet, batch);
        }
        continue;
      }
      if (batch === null && this.parts.origins.region(op.origin) === this.parts.region)
        this.parts.corrections.told(state);
      const build = this.parts.kept.keep(record, part.start, part.end, part.commands);
      if (this.parts.lastWriter?.governs(record.db, part.key) === true) {
        ops.skip(effects);
        this.parts.lastWriter.state(state, op, build, batch);
        continue;
      }
      if (this.parts.origins.region(op.origin) === state.onlySettler) state.onlySettler = null;
      if (!isFloor) {
        state.keepForOthers(op, this.parts.window.stable);
        for (const effect of effects)
          insertCarried(state, effect, ops, op, (other) => this.parts.insertion.apply(state, other, op));
        state.log?.lay({ op, build: null });
      } else {
        ops.skip(effects);
        if (isAdopted) {
          state.settle(op, build);
          for (const effect of effects) if (effect.kind === 'ttl') state.setTtl(op, effect.expireAt, false);
        }
      }
      // Where one of them can't be written none is.
      if (together.size > 1) state.link(together);
      this.parts.window.note(state, op, null);
      if (isAdopted && batch !== null) {
        this.parts.corrections.arrive(state, { op, build, together });
        batch.isClosed = true;
      }
      // What it had not seen is on it, but not everywhere in the same order: the next state has all.
      const isThere = batch === null && this.parts.origins.region(op.origin) !== this.parts.region;
      if (state.isOutlivedBeside(op)) this.parts.settling.unsettle(state, this.parts.region);
      else if (!isAdopted || state.hasOpaqueUnseenBy(op) || (isFloor && !quiet))
        this.parts.settling.unsettle(state, null);
      // What a client has written to a key of another region may have come behind one that was there already.
      else if (!(isThere && state.trespassedOn !== null)) this.parts.settling.settled(state);
    }
    if (batch === null) return;
    batch.operations++;
    if (op.stamp > batch.stamp) batch.stamp = op.stamp;
  }

  /** Fields that a region has kept, and others have seen expire. Others have none, or what their clients have put there since. */
  private noteFields({ effects }: StatePart, state: KeyState, ops: CarriedOps, op: StateOp, batch: Batch | null): void {
    const { parts } = this;
    const touched = insertKept(state, effects, ops);
    parts.window.note(state, op, null);
    if (parts.origins.region(op.origin) === parts.region)
      parts.settling.toldFields(
        state,
        effects.flatMap((effect) => (effect.kind === 'put' ? effect.names : [])),
      );
    // What came of it is in this Redis already, or was not written: it is looked at.
    else if (batch === null) parts.corrections.race(state, touched);
    if (batch === null || touched.length === 0) return;
    const out = batch.select(state.db);
    if (state.hasOpaqueUnseenBy(op)) parts.settling.unsettle(state, null);
    if (state.onlyType === null) rewriteKey(out, state, parts.origins);
    else {
      writeElements(out, state, touched, parts.origins);
      // The key may just have come back, and a time to live of it have been here before.
      if (state.ttls.length > 0) writeTtl(out, state, parts.origins);
    }
  }

  private noteTtl(state: KeyState, op: Op, quiet: boolean, batch: Batch | null): void {
    this.parts.window.note(state, op, null);
    if (batch !== null) writeTtl(batch.select(state.db), state, this.parts.origins);
    if (highestTtl(state, this.parts.origins)?.op === op) this.parts.settling.assured(state);
    else if (!quiet && !resolveTtl(state, this.parts.origins).known) this.parts.settling.doubt(state);
  }

  /**
   * Whether a state may stand: it is no older than what a client has made of the key, and than other states, and nothing is lost that it had
   * not seen. Else the next one will.
   */
  private isAdoptable(state: KeyState, op: StateOp, together: ReadonlySet<KeyState>): boolean {
    if (state.isReplacedUnseenBy(op)) return false;
    const { log } = state;
    if (log === null) return true;
    return !log.isAbove(op, this.parts.origins) && log.canRebuild([op], together);
  }
}
