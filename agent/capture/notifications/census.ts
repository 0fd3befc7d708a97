/** Counts keys: FLUSHDB says nothing, and lost notifications don't either, but the number of keys is then not what it should be. */
import type { Reply } from '../../resp';
import type { KnownKeys } from './known';

export class Census {
  /** By how many keys each database differed when all had been looked at: agents' own, say. That is no reason to look again. */
  private usual = new Map<number, number>();
  private last = '';
  private isSettling = false;

  constructor(private readonly known: KnownKeys) {}

  /** All keys have been looked at: what the next count differs by is usual. */
  settle(): void {
    this.isSettling = true;
  }

  /**
   * @param info the answer to INFO keyspace
   * @param isQuiet nothing is known to be under way
   * @returns whether keys have come or gone without a word. It has to be so twice: what was notified may still be on its way
   */
  isOff(info: Reply | undefined, isQuiet: boolean): boolean {
    const found = this.differences(info);
    if (this.isSettling && isQuiet) {
      this.isSettling = false;
      this.usual = new Map(found);
    }
    const text = JSON.stringify(found);
    const isOff = isQuiet && text === this.last && found.some(([db, by]) => by !== (this.usual.get(db) ?? 0));
    this.last = text;
    return isOff;
  }

  private differences(info: Reply | undefined): [db: number, by: number][] {
    const text = Buffer.isBuffer(info) ? info.toString('latin1') : '';
    const counts = new Map<number, number>();
    for (const [, db, keys] of text.matchAll(/^db(\d+):keys=(\d+)/gm)) counts.set(Number(db), Number(keys));
    for (const db of this.known.databases()) if (!counts.has(db)) counts.set(db, 0);
    return [...counts]
      .map(([db, keys]): [number, number] => [db, keys - this.known.count(db)])
      .sort(([a], [b]) => a - b);
  }
}
