/**
 * Foreign records that wait for their turn: in order per origin, until what they had seen is here too.
 *
 * Every one of them is in the journal already. So the inbox is bounded: beyond its budget it keeps only where to go on
 * reading, and no link has to be held back (which could deadlock: what a record waits for may come by the same link).
 */
import { asError } from '../as-error';
import type { OpRecord, OriginId } from '../record';

export interface InboxSource {
  /** Journalled records of an origin after a position, in order; empty when there are none (yet). */
  read(origin: OriginId, from: number, bytesMax: number): Promise<OpRecord[]>;
}

interface Lane {
  records: OpRecord[];
  head: number;
  bytes: number;
  /** End of the last record offered. */
  end: number;
  /** Records after the lane's last one are in the journal only. */
  spilled: boolean;
  reading: boolean;
}

const READ_BYTES = 1024 * 1024;
/** What is read again is wanted in blocks of about as much as one reading: the next one comes while that is planned and run. */
const READ_AHEAD_BYTES = 2 * READ_BYTES;

export class Inbox {
  private readonly lanes = new Map<OriginId, Lane>();
  private stopped = false;

  constructor(
    private readonly source: InboxSource,
    /** Per origin. */
    private readonly laneBytesMax: number,
    /** Called when records that had been spilled are back. */
    private readonly wake: () => void,
    /** They can't be read: the journal no longer has them, or its disk fails. */
    private readonly failed: (error: Error) => void,
  ) {}

  /** Nothing is read any more. */
  stop(): void {
    this.stopped = true;
  }

  offer(record: OpRecord): void {
    const lane = this.lane(record.origin);
    if (record.end <= lane.end && record.end !== record.start) return;
    lane.end = record.end;
    if (lane.spilled || lane.bytes >= this.laneBytesMax) {
      lane.spilled = true;
      return;
    }
    lane.records.push(record);
    lane.bytes += record.payload.length + 256;
  }

  /** Records of the origin up to `end` are in the journal without having been offered. */
  catchUp(origin: OriginId, from: number, end: number): void {
    const lane = this.lane(origin);
    if (end <= lane.end) return;
    const last = lane.records[lane.records.length - 1];
    lane.end = end;
    lane.spilled = true;
    if (last === undefined) void this.refill(origin, lane, from);
  }

  origins(): IterableIterator<OriginId> {
    return this.lanes.keys();
  }

  /** Position up to which an origin's records have been offered, −1 for none. */
  endOf(origin: OriginId): number {
    return this.lanes.get(origin)?.end ?? -1;
  }

  /** The next record of an origin. */
  peek(origin: OriginId): OpRecord | undefined {
    const lane = this.lanes.get(origin);
    return lane?.records[lane.head];
  }

  take(origin: OriginId): void {
    const lane = this.lanes.get(origin)!;
    const record = lane.records[lane.head]!;
    lane.records[lane.head] = undefined as unknown as OpRecord;
    lane.bytes -= record.payload.length + 256;
    if (++lane.head === lane.records.length) {
      lane.records = [];
      lane.head = 0;
    } else if (lane.head > 1024) {
      lane.records = lane.records.slice(lane.head);
      lane.head = 0;
    }
    if (!lane.spilled || lane.bytes >= Math.min(READ_AHEAD_BYTES, this.laneBytesMax)) return;
    void this.refill(origin, lane, (lane.records[lane.records.length - 1] ?? record).end);
  }

  private async refill(origin: OriginId, lane: Lane, from: number): Promise<void> {
    if (lane.reading) return;
    lane.reading = true;
    try {
      while (!this.stopped) {
        const records = await this.source.read(origin, from, READ_BYTES);
        if (records.length === 0) {
          // Offered, but not written yet: it will be in a moment.
          await new Promise((resolve) => setTimeout(resolve, 2));
          if (from >= lane.end) break;
          continue;
        }
        for (const record of records) {
          lane.records.push(record);
          lane.bytes += record.payload.length + 256;
          from = record.end;
        }
        break;
      }
      if (from >= lane.end) lane.spilled = false;
    } catch (error) {
      if (!this.stopped) this.failed(asError(error));
    } finally {
      lane.reading = false;
    }
    this.wake();
  }

  /** Bytes in memory, and records waiting, over all origins or those of one region. */
  get bytes(): number {
    let bytes = 0;
    for (const lane of this.lanes.values()) bytes += lane.bytes;
    return bytes;
  }

  pending(matches: (origin: OriginId) => boolean): { operations: number; bytes: number } {
    let operations = 0;
    let bytes = 0;
    for (const [origin, lane] of this.lanes)
      if (matches(origin)) {
        // What is in the journal only has been counted by nobody yet: it stands as one operation of its size.
        if (lane.spilled) {
          operations++;
          bytes += Math.max(0, lane.end - (lane.records[lane.records.length - 1]?.end ?? lane.end));
        }
        for (let i = lane.head; i < lane.records.length; i++) {
          operations += lane.records[i]!.ops;
          bytes += lane.records[i]!.payload.length;
        }
      }
    return { operations, bytes };
  }

  private lane(origin: OriginId): Lane {
    let lane = this.lanes.get(origin);
    if (lane === undefined) {
      lane = { records: [], head: 0, bytes: 0, end: -1, spilled: false, reading: false };
      this.lanes.set(origin, lane);
    }
    return lane;
  }
}
