/** FLUSHDB and FLUSHALL: a delete of all that they have seen, of keys that nothing is known of, too. */
import type { Corrections } from './corrections';
import type { Needed } from './effects';
import type { KeyState, Op } from './key-state';
import { seenAt, type Seen } from './origins';
import type { Settling } from './settling';
import type { Window } from './window';

export class Flushes {
  /** Those not yet seen by all. */
  private flushes: { op: Op; db: number | null }[] = [];

  constructor(
    private readonly window: Window,
    private readonly settling: Settling,
    private readonly corrections: Corrections,
  ) {}

  get areKnown(): boolean {
    return this.flushes.length > 0;
  }

  /** A flush removes what it has seen, of all keys. Those that it had not seen are still to come, or in the window. */
  note(op: Op, db: number | null, later = op): void {
    if (!this.window.isSeenBy(op)) this.window.fetchAll();
    for (const state of this.window.states(db ?? undefined)) {
      const quiet = state.isQuietFor(op);
      state.delete(later);
      this.window.note(state, op, null);
      if (state.hasOpaqueUnseenBy(op)) this.settling.unsettle(state, null);
      // A correction may run behind it: a key that isn't there when it is flushed does not stop its block.
      else if (!quiet || state.corrections > 0 || state.unread > 0) this.corrections.race(state, null);
    }
    this.flushes.push({ op: later, db });
  }

  /**
   * What is known of a key, made where there is nothing.
   * @param op only what that has not seen is needed; absent: all of it
   * @param needed of its elements (see Window.find)
   */
  stateFor(db: number, key: string, op?: Op, needed?: Needed): KeyState {
    // What the shelf has may be later than the flush.
    if (this.flushes.length > 0 && this.window.find(db, key) === undefined) {
      const state = this.window.ensure(db, key);
      this.under(state);
      return state;
    }
    return this.window.ensure(db, key, op, needed);
  }

  /** A key that a flush emptied: what it held before is dead even though the key was not in the window then. */
  under(state: KeyState): void {
    for (const { op, db } of this.flushes)
      if ((db === null || db === state.db) && state.positionOf(op.origin) < op.position) {
        state.delete(op);
        this.window.note(state, op, null);
      }
  }

  /** Forgets what all members have seen. */
  drop(stable: Seen): void {
    if (this.flushes.length > 0) this.flushes = this.flushes.filter((f) => seenAt(stable, f.op.origin) < f.op.position);
  }
}
