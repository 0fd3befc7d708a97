/**
 * Bytes of commands that may have to run once more. Small ones are copied; large ones are let go of, the oldest first, where the
 * journal can give them again.
 */
import type { OpRecord } from '../record';
import type { PayloadSource, RecordPlace } from './payload-source';

export interface Kept {
  /** @throws where they were let go of and can't be read again */
  readonly bytes: Buffer;
  readonly commands: number;
  /** What they take of memory for good. */
  readonly heldBytes: number;
}

/** Up to this size a copy costs no more than what would be needed to find it again. */
const SMALL_BYTES = 4096;

export function keepCopy(bytes: Buffer, commands: number): Kept {
  return { bytes: Buffer.from(bytes), commands, heldBytes: bytes.length };
}

/** Large ones share a bound (`PayloadSource.keepBytes`) of what stays in memory. */
export class KeptBytes {
  private readonly large: Stored[] = [];
  private largeBytes = 0;

  /** @param source absent: all stay in memory */
  constructor(private readonly source?: PayloadSource) {}

  /**
   * @param start of the commands in the record's payload
   * @param end behind the last of them
   */
  keep(record: OpRecord, start: number, end: number, commands: number): Kept {
    const bytes = record.payload.subarray(start, end);
    const { source } = this;
    if (source === undefined || bytes.length <= SMALL_BYTES) return keepCopy(bytes, commands);
    const stored = new Stored(source, record, start, end, commands);
    this.large.push(stored);
    this.largeBytes += stored.length;
    while (this.largeBytes > source.keepBytes && this.large[0]!.letGo()) this.largeBytes -= this.large.shift()!.length;
    return stored;
  }
}

class Stored implements Kept {
  readonly heldBytes = 0;
  private held: Buffer | null;
  private readonly place: RecordPlace;
  /** From the first of the bytes to the end of the record. */
  private readonly toEnd: number;
  readonly length: number;

  constructor(
    private readonly source: PayloadSource,
    { origin, start: recordStart, end: recordEnd, payload }: OpRecord,
    start: number,
    end: number,
    readonly commands: number,
  ) {
    this.place = { origin, start: recordStart, end: recordEnd };
    this.toEnd = payload.length - start;
    this.length = end - start;
    this.held = Buffer.from(payload.subarray(start, end));
  }

  get bytes(): Buffer {
    return this.held ?? this.source.payload(this.place, this.toEnd).subarray(0, this.length);
  }

  /** @returns false where they can't be had again yet */
  letGo(): boolean {
    if (!this.source.has(this.place)) return false;
    this.held = null;
    return true;
  }
}
