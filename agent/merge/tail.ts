/** Records that nothing has met yet, in the order in which they came. */
import type { OpRecord } from '../record';
import { seenAt } from './origins';

export interface TailEntry {
  readonly record: OpRecord;
  readonly origin: number;
}

export class Tail {
  private queue: TailEntry[] = [];
  private head = 0;
  operations = 0;
  bytes = 0;

  push(record: OpRecord, origin: number): void {
    this.queue.push({ record, origin });
    this.operations += record.ops;
    this.bytes += record.payload.length;
  }

  shift(): TailEntry | undefined {
    const entry = this.queue[this.head];
    if (entry === undefined) {
      this.queue = [];
      this.head = 0;
      return undefined;
    }
    this.queue[this.head++] = undefined as unknown as TailEntry;
    if (this.head > 1024 && this.head * 2 > this.queue.length) {
      this.queue = this.queue.slice(this.head);
      this.head = 0;
    }
    this.operations -= entry.record.ops;
    this.bytes -= entry.record.payload.length;
    return entry;
  }

  /** Drops what all members have seen. */
  drop(stable: readonly number[]): void {
    for (let entry = this.queue[this.head]; entry !== undefined; entry = this.queue[this.head]) {
      if (entry.record.end > seenAt(stable, entry.origin)) return;
      this.shift();
    }
  }

  *entries(): IterableIterator<TailEntry> {
    for (let i = this.head; i < this.queue.length; i++) yield this.queue[i]!;
  }
}
