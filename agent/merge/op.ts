/** Operations that are no client's, and the order of all. */
import { Op } from './element';
import type { OriginTable } from './origins';

/** A key's state, sent to settle it: no client's doing, but all that it has seen taken together. */
export class StateOp extends Op {}

/** Order among live operations: the higher stamp, then the higher region name. */
export function isHigher(a: Op, b: Op, origins: OriginTable): boolean {
  return a.stamp === b.stamp ? origins.outranks(a.origin, b.origin) : a.stamp > b.stamp;
}
