/** Of a key of which the last writer's value stands: what its operations made of it, as far as they say it themselves. */
import type { CommandWriter } from '../resp/encode';
import type { Kept } from './kept-bytes';
import type { KeyState } from './key-state';
import { highestOf, isHigher, type Op, saw, type StateOp } from './op';
import type { OriginTable } from './origins';

export class LastWrites {
  /** Commands that make the whole key, by the operation. Only of those that no other known one has seen. */
  readonly wholes = new Map<Op, Buffer>();
  /** The state that stands, if nothing was written since. */
  state: StateOp | null = null;

  /** An operation of several commands is no whole. */
  add(state: KeyState, op: Op, whole: Buffer | null): void {
    const isKnown = state.opaques.includes(op);
    if (!isKnown) state.opaque(op);
    for (const other of this.wholes.keys())
      if (other === op || !state.opaques.includes(other)) this.wholes.delete(other);
    if (whole !== null && !isKnown) this.wholes.set(op, whole);
  }

  /** The highest that no other known one has seen; null: all have left the window. */
  topOf({ opaques }: KeyState, origins: OriginTable): Op | null {
    return highestOf(opaques, origins);
  }

  /** Writes what stands, where it is known; else Redis has it, or a state is to come. */
  write(
    out: CommandWriter,
    state: KeyState,
    arrived: { op: StateOp; build: Kept } | undefined,
    origins: OriginTable,
  ): void {
    const top = this.topOf(state, origins);
    const whole = top === null ? undefined : this.wholes.get(top);
    if (whole !== undefined) out.raw(whole, 0, whole.length, 1);
    else if (arrived !== undefined && (top === null || saw(arrived.op, top))) {
      const { bytes, commands } = arrived.build;
      out.raw(bytes, 0, bytes.length, commands);
    }
  }

  /** Of states that have not seen each other the higher stands. */
  stateStands(op: StateOp, origins: OriginTable): boolean {
    const { state } = this;
    if (state !== null && !saw(op, state) && (saw(state, op) || isHigher(state, op, origins))) return false;
    this.state = op;
    // It says what came of these, and of what clients did to it unread.
    for (const other of this.wholes.keys()) if (saw(op, other)) this.wholes.delete(other);
    return true;
  }
}
