/** A model of the agent's journal: records in order of arrival, durable up to the last fsync. A crash is one of the machine. */
import type { PayloadSource } from '../../agent/merge/payload-source';
import { isOfStream, decodeRecord, encodeRecord, type OpRecord, type OriginId, RecordKind } from '../../agent/record';

export class SimJournal {
  private records: OpRecord[] = [];
  private durable = 0;
  private readonly ends = new Map<OriginId, number>();
  private readonly durableEnds = new Map<OriginId, number>();
  /** Per origin the end of what was trimmed. */
  readonly trimmed = new Map<OriginId, number>();
  /** Up to where no record is needed any more to merge, whether it is still here or not. */
  low: ReadonlyMap<OriginId, number> = new Map();

  constructor(private readonly onDurable: (record: OpRecord) => void) {}

  /** Begins with what another region's has. @param low up to where nobody needs anything */
  adopt(other: SimJournal, low: ReadonlyMap<OriginId, number>): void {
    this.records = [...other.records];
    this.durable = this.records.length;
    for (const [origin, end] of other.ends) {
      this.ends.set(origin, end);
      this.durableEnds.set(origin, end);
    }
    for (const [origin, end] of other.trimmed) this.trimmed.set(origin, end);
    this.low = low;
  }

  /** Encoded and decoded once, as on disk. */
  append(record: OpRecord): OpRecord {
    const kept = decodeRecord(encodeRecord(record));
    this.records.push(kept);
    this.ends.set(kept.origin, kept.end);
    return kept;
  }

  fsync(): void {
    for (; this.durable < this.records.length; this.durable++) {
      const record = this.records[this.durable]!;
      this.durableEnds.set(record.origin, record.end);
      this.onDurable(record);
    }
  }

  get hasUnsynced(): boolean {
    return this.durable < this.records.length;
  }

  /** A crash: of what was not fsynced, `survivors` records happen to be on disk. */
  crash(survivors: number): void {
    this.records.length = Math.min(this.records.length, this.durable + survivors);
    this.fsync();
    this.ends.clear();
    for (const [origin, end] of this.trimmed) this.ends.set(origin, end);
    for (const record of this.records) this.ends.set(record.origin, record.end);
  }

  get unsynced(): number {
    return this.records.length - this.durable;
  }

  all(): readonly OpRecord[] {
    return this.records;
  }

  origins(): OriginId[] {
    return [...this.ends.keys()];
  }

  end(origin: OriginId): number | undefined {
    return this.ends.get(origin);
  }

  durableEnd(origin: OriginId): number | undefined {
    return this.durableEnds.get(origin);
  }

  /** Up to where peers get an origin: all that is durable, and behind it what could be read from the stream again. */
  readableEnd(origin: OriginId): number | undefined {
    let end = this.durableEnds.get(origin);
    for (let i = this.durable; i < this.records.length; i++) {
      const record = this.records[i]!;
      if (record.origin !== origin) continue;
      if (record.kind !== RecordKind.stream) break;
      end = record.end;
    }
    return end;
  }

  /** The readable record of an origin that follows a position; `position` undefined: the first one. */
  after(origin: OriginId, position: number | undefined): OpRecord | undefined {
    const end = this.readableEnd(origin) ?? -1;
    for (const record of this.records)
      if (record.origin === origin && record.end <= end && (position === undefined || record.end > position))
        return record;
    return undefined;
  }

  /** Payloads that the merge core let go of, which it does with nearly all, so that schedules with few writes meet it. */
  readonly payloads: PayloadSource = {
    keepBytes: 100,
    has: ({ origin, start, end }) =>
      this.records.some((record) => record.origin === origin && record.start <= start && record.end >= end),
    payload: ({ origin, start, end }, bytes) => {
      const whole = this.records.find(
        (record) => record.origin === origin && record.start <= start && record.end >= end,
      );
      const to = whole!.payload.length - (whole!.end - end);
      return whole!.payload.subarray(to - bytes, to);
    },
    glance: (origin, from, to) => {
      const { payload, end } = this.records.find(
        (each) => each.origin === origin && each.start <= from && each.end >= to,
      )!;
      return payload.subarray(payload.length - (end - from), payload.length - (end - to));
    },
  };

  birthOf(origin: OriginId): OpRecord | undefined {
    return this.records.find((record) => record.origin === origin && record.kind === RecordKind.birth);
  }

  lastOf(origin: OriginId): OpRecord | undefined {
    for (let i = this.records.length - 1; i >= 0; i--) if (this.records[i]!.origin === origin) return this.records[i]!;
    return undefined;
  }

  /** The last that is bytes of the stream, or opened it. */
  lastOfStream(origin: OriginId): OpRecord {
    return lastOfStream(this.records, origin)!;
  }

  /** Drops durable records that end at or before their origin's position in `low`, and that all others have, but for each origin's last. */
  trim(low: ReadonlyMap<OriginId, number>, elsewhere: (origin: OriginId) => number): number {
    const before = this.records.length;
    this.low = low;
    // What is not durable may be lost: the last that is durable says where to go on.
    const durable = this.records.slice(0, this.durable);
    const last = new Set<OpRecord | undefined>(this.origins().map((origin) => lastOfStream(durable, origin)));
    let dropped = 0;
    this.records = this.records.filter((record, i) => {
      const keep =
        i >= this.durable ||
        last.has(record) ||
        record.end > Math.min(low.get(record.origin) ?? -1, elsewhere(record.origin)) ||
        record.end === this.durableEnds.get(record.origin);
      if (!keep) {
        dropped++;
        this.trimmed.set(record.origin, record.end);
      }
      return keep;
    });
    this.durable -= dropped;
    return before - this.records.length;
  }
}

function lastOfStream(records: readonly OpRecord[], of: OriginId): OpRecord | undefined {
  return records.findLast(({ origin, kind }) => origin === of && (isOfStream(kind) || kind === RecordKind.birth));
}
