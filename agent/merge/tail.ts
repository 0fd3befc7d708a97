/** Records that nothing has met yet, in the order in which they came. */
import { isOfStream, type OpRecord } from '../record';
import { seenAt } from './origins';
import type { PayloadSource } from './payload-source';

interface Entry {
  record: OpRecord;
  readonly origin: number;
  readonly bytes: number;
  /** Its payload was let go of. */
  isLight: boolean;
}

const NOTHING = Buffer.alloc(0);

export class Tail {
  private queue: Entry[] = [];
  private head = 0;
  /** Before it, from the head on, all that can be is light. */
  private heavy = 0;
  private heldBytes = 0;
  private readonly keepBytes: number;
  operations = 0;
  /** Of the payloads, kept or not. */
  bytes = 0;

  /** @param source absent: all is kept */
  constructor(private readonly source?: PayloadSource) {
    this.keepBytes = source?.keepBytes ?? Infinity;
  }

  push(record: OpRecord, origin: number): void {
    const bytes = record.payload.length;
    this.queue.push({ record, origin, bytes, isLight: false });
    this.operations += record.ops;
    this.heldBytes += bytes;
    this.bytes += bytes;
    while (this.heldBytes > this.keepBytes && this.heavy < this.queue.length - 1) if (!this.lighten()) break;
  }

  /** Lets go of the oldest payload that is kept. @returns false where it can't be had again yet */
  private lighten(): boolean {
    const entry = this.queue[this.heavy]!;
    if (isOfStream(entry.record.kind)) {
      if (this.source?.has(entry.record) !== true) return false;
      entry.record = { ...entry.record, payload: NOTHING };
      entry.isLight = true;
      this.heldBytes -= entry.bytes;
    }
    this.heavy++;
    return true;
  }

  /** The oldest record, payload and all, which leaves. */
  take(): { record: OpRecord; origin: number } | undefined {
    const entry = this.queue[this.head];
    // Before it leaves: it may be that it cannot be had for the moment.
    const payload = entry?.isLight === true ? this.source!.payload(entry.record, entry.bytes) : null;
    this.drop();
    return entry === undefined || payload === null
      ? entry
      : { record: { ...entry.record, payload }, origin: entry.origin };
  }

  private drop(): Entry | undefined {
    const entry = this.queue[this.head];
    if (entry === undefined) {
      this.queue = [];
      this.head = this.heavy = 0;
      return undefined;
    }
    this.queue[this.head++] = undefined as unknown as Entry;
    if (!entry.isLight) this.heldBytes -= entry.bytes;
    this.operations -= entry.record.ops;
    this.bytes -= entry.bytes;
    this.heavy = Math.max(this.heavy, this.head);
    if (this.head > 1024 && this.head * 2 > this.queue.length) {
      this.queue = this.queue.slice(this.head);
      this.heavy -= this.head;
      this.head = 0;
    }
    return entry;
  }

  /** Drops what all members have seen. */
  dropSeen(stable: readonly number[]): void {
    for (let entry = this.queue[this.head]; entry !== undefined; entry = this.queue[this.head]) {
      if (entry.record.end > seenAt(stable, entry.origin)) return;
      this.drop();
    }
  }

  /** Payloads may be missing. */
  *entries(): IterableIterator<{ record: OpRecord; origin: number }> {
    for (let i = this.head; i < this.queue.length; i++) yield this.queue[i]!;
  }
}
