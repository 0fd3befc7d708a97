/**
 * Up to where nothing of the past is needed any more. What is not, a new core is not told after a restart; so whatever has seen an
 * operation that it is told has to be told, too, or it would take an old value for the newest. (A counter that is SET, added to, and
 * met by an operation that had not seen the addition: with the SET and without the addition it has a wrong value.)
 *
 * What all members have seen is such a place, at any time: with an operation they have seen all that this one had. So the mark is one of
 * those, the latest that is below all that is needed. What is told above it may be over, too, and have met what is below: it is known by what it had not
 * seen (`Window.isPatchy`).
 */
import { seenAt, type Seen } from './origins';

/** Earlier ones kept; beyond that every second one is forgotten. */
const CUTS_MAX = 64;

export class LowWater {
  /** What all had seen, at several times: the first is the mark. */
  private cuts: Seen[] = [[]];

  /** Before anything is needed: nothing up to here is. */
  begin(origin: number, position: number): void {
    const first = [...this.cuts[0]!];
    while (first.length <= origin) first.push(-1);
    first[origin] = position;
    this.cuts[0] = first;
  }

  /**
   * @param stable what all members have seen by now
   * @param needed the first position of each origin that is needed
   */
  raise(stable: Seen, needed: ReadonlyMap<number, number>): Seen {
    this.cuts.push(stable.slice());
    const isBelow = (cut: Seen): boolean => [...needed].every(([origin, position]) => seenAt(cut, origin) < position);
    this.cuts.splice(0, Math.max(0, this.cuts.findLastIndex(isBelow)));
    if (this.cuts.length > CUTS_MAX) this.cuts = this.cuts.filter((_, i) => i % 2 === 0);
    return this.cuts[0]!;
  }
}
