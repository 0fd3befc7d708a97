/** Operations: what one is, what it has seen, and the order of all. */
import { type OriginTable, seenAt, type Seen } from './origins';

/** One operation's identity, stamp and *seen*. */
export class Op {
  constructor(
    /** Interned origin. */
    readonly origin: number,
    /** Position in the origin's stream. */
    readonly position: number,
    readonly stamp: number,
    readonly seen: Seen,
  ) {}
}

/** Whether `later` had seen `earlier`. An operation has not seen itself. */
export function saw(later: Op, earlier: Op): boolean {
  return later.origin === earlier.origin
    ? later.position > earlier.position
    : seenAt(later.seen, earlier.origin) >= earlier.position;
}

/** Whether both are one operation: two values that a state carries may be of one. */
export function isSame(a: Op, b: Op): boolean {
  return a === b || (a.origin === b.origin && a.position === b.position);
}

/** A key's state, sent to settle it: no client's doing, but all that it has seen taken together. */
export class StateOp extends Op {}

/**
 * An operation of which a state says that what it made stands: so who has seen that operation removes it, though the state be unseen. Only another
 * state has to have seen this one.
 */
export class CarriedOp extends Op {
  constructor(
    { origin, position, stamp }: { origin: number; position: number; stamp: number },
    readonly carrier: StateOp,
  ) {
    super(origin, position, stamp, carrier.seen);
  }
}

/** The operation that removes, where `op` is put: of what a state carries the state. */
export function removerOf(op: Op): Op {
  return op instanceof CarriedOp ? op.carrier : op;
}

/** Whether `by` removes what `part` made. @param by not a carried one (see `removerOf`) */
export function removes(by: Op, part: Op): boolean {
  return part instanceof CarriedOp && by instanceof StateOp ? saw(by, part.carrier) : saw(by, part);
}

/** Order among live operations: the higher stamp, then the higher region name. */
export function isHigher(a: Op, b: Op, origins: OriginTable): boolean {
  return a.stamp === b.stamp ? origins.outranks(a.origin, b.origin) : a.stamp > b.stamp;
}

/** The highest of some; null: there is none. */
export function highestOf(ops: readonly Op[], origins: OriginTable): Op | null {
  return ops.reduce<Op | null>((best, op) => (best === null || isHigher(op, best, origins) ? op : best), null);
}
