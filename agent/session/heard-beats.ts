/** Heartbeats of other regions. Each waits until this region has the records that it speaks of. */
import type { Beat } from '../peers';
import type { OriginId } from '../record';

/** A region far behind: the newest of many beats says all that the older ones said, but each is due at another time. */
const BEATS_MAX = 256;

export class HeardBeats {
  /** Of each region the last one that was due: its own time, and when it was. */
  readonly last = new Map<string, { timeMs: number; receivedMs: number }>();
  private waiting: { beat: Beat; after: number }[] = [];

  /**
   * @param isHere whether this region has an origin's records up to a position
   * @param take takes a beat that is due
   */
  constructor(
    private readonly isHere: (origin: OriginId, position: number) => boolean,
    private readonly take: (beat: Beat) => void,
  ) {}

  /** @param after the position up to which its region's records were offered before it came */
  hear(beat: Beat, after: number): void {
    this.waiting.push({ beat, after });
    this.takeDue();
  }

  /** More records are here. */
  takeDue(): void {
    const rest: typeof this.waiting = [];
    for (const entry of this.waiting) {
      const { beat, after } = entry;
      if (!this.isHere(beat.origin, after)) {
        rest.push(entry);
        continue;
      }
      this.last.set(beat.region, { timeMs: beat.timeMs, receivedMs: Date.now() });
      this.take(beat);
    }
    this.waiting = rest.length > BEATS_MAX ? rest.filter((_, i) => i % 2 === 1 || i === rest.length - 1) : rest;
  }
}
