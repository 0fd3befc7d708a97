/** What this region tells peers of where it stands: not more often than is news, and not before the records that it speaks of can be read. */
import type { Journal } from '../journal';
import type { Beat } from '../peers';
import type { OriginId } from '../record';
import type { AgentContext } from './context';

/** Between two beats told to peers while nothing changes. */
const QUIET_BEAT_MS = 200;

export class OwnBeats {
  private last: { end: number; seen: string | number; timeMs: number } = { end: -1, seen: '', timeMs: 0 };
  private readonly beats: { beat: Beat; after: number }[] = [];

  constructor(private readonly context: AgentContext) {}

  /**
   * Whether there is something to say; it then counts as said.
   * @param end of the own records
   * @param seen names what has been seen of others
   */
  isNews(end: number, seen: string | number, timeMs: number): boolean {
    const { last } = this;
    if (end === last.end && seen === last.seen && timeMs - last.timeMs < QUIET_BEAT_MS) return false;
    this.last = { end, seen, timeMs };
    return true;
  }

  /** Peers take a beat for "all of mine up to here has been sent": it waits for the records up to `after`. */
  push(beat: Beat, after: number): void {
    this.beats.push({ beat, after });
    this.publish(beat.origin);
  }

  /** Tells peers the last one whose records they can read; earlier ones say nothing more. */
  publish(origin: OriginId): void {
    const { journal, mesh } = this.context;
    const end = journal.readableEnd(origin) ?? -1;
    let due: Beat | null = null;
    while (this.beats.length > 0 && this.beats[0]!.after <= end) due = this.beats.shift()!.beat;
    if (due !== null) mesh.publish(due);
  }
}

/** Up to where a journal's records are on disk, by origin. */
export function durableEnds(journal: Journal): Map<OriginId, number> {
  const ends = new Map<OriginId, number>();
  for (const origin of journal.origins()) {
    const end = journal.durableEnd(origin);
    if (end !== undefined) ends.set(origin, end);
  }
  return ends;
}
