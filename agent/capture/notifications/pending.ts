/**
 * Keys that notifications named and that are still to be read, each once however often it was written. In the order of their first
 * notification, so that it can be told whether all that came before some moment has been read.
 */

/** How a key went, by the last notification that says it did. */
export type Removal = 'deleted' | 'expired' | 'evicted';

export interface PendingKey {
  db: number;
  /** Latin-1. */
  key: string;
  removal: Removal | null;
  /** Counts up; a key that is notified again while it waits keeps its number. */
  readonly number: number;
}

export class PendingKeys {
  private readonly keys = new Map<string, PendingKey>();
  /** Not to be read before: large keys that were read a moment ago. */
  private readonly due = new Map<string, number>();
  private last = 0;

  add(db: number, key: string, removal: Removal | null): void {
    const name = `${db}:${key}`;
    const waiting = this.keys.get(name);
    if (waiting === undefined) this.keys.set(name, { db, key, removal, number: ++this.last });
    else if (removal !== null) waiting.removal = removal;
  }

  get size(): number {
    return this.keys.size;
  }

  /** Takes up to `max` keys whose time has come. */
  take(max: number, nowMs: number): PendingKey[] {
    const taken: PendingKey[] = [];
    for (const [name, key] of this.keys) {
      if (taken.length === max) break;
      const due = this.due.get(name);
      if (due !== undefined && due > nowMs) continue;
      if (due !== undefined) this.due.delete(name);
      this.keys.delete(name);
      taken.push(key);
    }
    return taken;
  }

  /** Milliseconds until a key's time comes; Infinity for none. */
  waitMs(nowMs: number): number {
    let least = Infinity;
    for (const name of this.keys.keys()) {
      least = Math.min(least, (this.due.get(name) ?? nowMs) - nowMs);
      if (least <= 0) return 0;
    }
    return least;
  }

  /** Does not give the key out again before that time. */
  postpone(db: number, key: string, untilMs: number, nowMs: number): void {
    this.due.set(`${db}:${key}`, untilMs);
    if (this.due.size > POSTPONED_MAX) for (const [name, due] of this.due) if (due <= nowMs) this.due.delete(name);
  }

  /** The number that the next key will get. All that came before has been read when `isReadUpTo` it. */
  get next(): number {
    return this.last + 1;
  }

  isReadUpTo(next: number): boolean {
    for (const { number } of this.keys.values()) return number >= next;
    return true;
  }

  clear(): void {
    this.keys.clear();
  }
}

const POSTPONED_MAX = 1000;
