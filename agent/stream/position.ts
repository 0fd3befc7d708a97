/** Positions of operations that are no bytes of the stream: a key's state, a difference, an expiry in an agent's block. */

/**
 * The next position for such an operation: behind `end`, and before the next byte. As small a step as a double can tell
 * at this place, but no smaller than a millionth.
 * @returns null when there is no room any more before the next byte
 */
export function positionAfter(end: number): number | null {
  let step = 2 ** -20;
  while (end + step - end !== step) step *= 2;
  const next = end + step;
  return next < Math.floor(end) + 1 ? next : null;
}

/** The last position that such an operation may have before the byte that follows `offset`. */
export function lastPositionAt(offset: number): number {
  let step = 2 ** -20;
  while (offset + 1 - step === offset + 1) step *= 2;
  return offset + 1 - step;
}
