/**
 * What regions that are not in dry run would have seen of those that are: nothing reaches them, so that each write there would count as a conflict
 * with whatever was ever written here. They are taken to hear of a write as late as they are heard of themselves.
 */
import type { OriginId, Vector } from '../record';

interface Mark {
  readonly timeMs: number;
  readonly position: number;
}

/** Some two minutes of heartbeats. */
const MARKS_MAX = 4096;

export class Elsewhere {
  private readonly marks = new Map<OriginId, Mark[]>();

  /** An origin in dry run had come to a position. Times of one origin only grow. */
  note(origin: OriginId, timeMs: number, position: number): void {
    const marks = this.marks.get(origin) ?? [];
    if (marks.length === 0) this.marks.set(origin, marks);
    if (timeMs <= (marks.at(-1)?.timeMs ?? -Infinity)) return;
    marks.push({ timeMs, position });
    // In steps, for it costs moving all of them.
    if (marks.length >= MARKS_MAX * 2) marks.splice(0, MARKS_MAX);
  }

  /** *Seen*, with what would have been seen at a time of the origins in dry run. */
  added(seen: Vector, timeMs: number): Vector {
    const all = new Map(seen);
    for (const [origin, marks] of this.marks) {
      const position = positionAt(marks, timeMs);
      if (position > (all.get(origin) ?? -1)) all.set(origin, position);
    }
    return all;
  }
}

/** −1: none that early. */
function positionAt(marks: readonly Mark[], timeMs: number): number {
  let [low, high] = [0, marks.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (marks[middle]!.timeMs <= timeMs) low = middle + 1;
    else high = middle;
  }
  return marks[low - 1]?.position ?? -1;
}
