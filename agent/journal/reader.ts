import { crc32 } from 'node:zlib';
import { peekRecord, RecordKind } from '../record';
import { Deque } from '../deque';
import { errorText, JournalError } from './error';
import { closeFile, openFile } from './files';
import { Cursor, type Extent, type Segment } from './segment';
import { endOf, laneCovers, laneRead } from './tail';

const CHUNK_BYTES = 1024 * 1024;

/** What the journal knows of one origin. Positions are -1 until there is one. */
export interface OriginLog {
  readonly origin: string;
  appendedEnd: number;
  readableEnd: number;
  writtenEnd: number;
  durableEnd: number;
  /** The lowest position from which everything up to `readableEnd` is there. */
  chainStart: number;
  /** The chain begins with the origin's birth: nothing can be missing before it. */
  born: boolean;
  /** The newest readable records, kept by the tail. */
  readonly lane: Deque<Buffer>;
  /** Called once when `readableEnd` has moved. */
  waiters: (() => void)[];
}

/** @param waiters of a time when nothing was known of it */
export function newLog(origin: string, waiters: (() => void)[] = []): OriginLog {
  const none = { appendedEnd: -1, readableEnd: -1, writtenEnd: -1, durableEnd: -1, chainStart: -1 };
  return { origin, ...none, born: false, lane: new Deque(), waiters };
}

/** What a reader needs of its journal. */
export interface ReaderSource {
  log(origin: string): OriginLog | undefined;
  /** Runs `wake` once, when there may be more records of the origin to read, or the journal closes. */
  onReadable(origin: string, wake: () => void): void;
  /** Oldest first; changes when segments are added and trimmed. */
  readonly segments: readonly Segment[];
  readonly closed: boolean;
}

/** Reads the records of one origin in order. One `read` at a time. */
export class JournalReader {
  private place: { segment: Segment; extent: Extent; cursor: Cursor } | null = null;
  private closed = false;
  private busy = false;
  private wake: (() => void) | null = null;

  /** @param from the end of the last record that the caller has; -1 for none */
  constructor(
    private readonly source: ReaderSource,
    readonly origin: string,
    private from: number,
    /** What is read from the disk is given out as copies, so that one buffer does for all reads. */
    private readonly copies = false,
  ) {}

  /** The end of the last record read. */
  get position(): number {
    return this.from;
  }

  /**
   * The next records, as many as fit into `bytesMax` but one at least; none at the end of what can be read.
   * They may be views of one larger buffer: a caller that keeps a few of many should ask for copies.
   * @throws JournalError `trimmed` when the journal does not reach back to the reader's position; `damaged`
   */
  async read(bytesMax: number): Promise<Buffer[]> {
    if (this.busy) throw new Error('a journal reader takes one read at a time');
    this.busy = true;
    try {
      const log = this.source.log(this.origin);
      if (this.closed || this.source.closed || log === undefined || this.from >= log.readableEnd) return [];
      if (this.from < log.chainStart && !log.born)
        throw new JournalError(
          'trimmed',
          `the journal holds ${this.origin} from ${log.chainStart} on, not from ${this.from}`,
        );
      if (laneCovers(log.lane, this.from)) {
        // Taken before anything is awaited: the tail moves on meanwhile.
        const records = laneRead(log.lane, this.from, bytesMax);
        this.from = endOf(records[records.length - 1] as Buffer);
        await this.leave();
        return records;
      }
      return await this.readDisk(bytesMax);
    } finally {
      this.busy = false;
      if (this.closed) await this.leave();
    }
  }

  /** Resolves when there may be more to read, at once if there is, and when reader or journal are closed. */
  wait(): Promise<void> {
    const log = this.source.log(this.origin);
    if (this.closed || this.source.closed || (log !== undefined && this.from < log.readableEnd))
      return Promise.resolve();
    return new Promise((resolve) => {
      this.wake = resolve;
      this.source.onReadable(this.origin, resolve);
    });
  }

  close(): void {
    this.closed = true;
    this.wake?.();
    if (!this.busy) void this.leave();
  }

  private async leave(): Promise<void> {
    const place = this.place;
    this.place = null;
    if (place !== null) await closeFile(place.cursor.fd);
  }

  /** Opens the first segment that holds a record of the origin with end > from. */
  private async enter(): Promise<NonNullable<typeof this.place> | null> {
    for (const segment of this.source.segments) {
      const extent = segment.extents.get(this.origin);
      // A birth may end where it starts, so a reader that has nothing takes the first record whatever its end.
      if (extent === undefined || extent.lastEnd <= this.from) continue;
      let fd: number;
      try {
        fd = await openFile(segment.file, 'r');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        throw new JournalError('trimmed', `the journal no longer holds ${this.origin} from ${this.from} on`);
      }
      return (this.place = {
        segment,
        extent,
        cursor: new Cursor(fd, segment.offsetFor(extent, this.from), CHUNK_BYTES, this.copies),
      });
    }
    return null;
  }

  private async readDisk(bytesMax: number): Promise<Buffer[]> {
    const records: Buffer[] = [];
    try {
      await this.collect(records, bytesMax);
    } catch (error) {
      // What was read before is sound and handed out; the next call comes to the same place and throws.
      if (records.length === 0) throw error;
    }
    return records;
  }

  private async collect(records: Buffer[], bytesMax: number): Promise<void> {
    let bytes = 0;
    while (!this.closed) {
      if (this.place !== null && this.place.extent.lastEnd <= this.from) await this.leave();
      const place = this.place ?? (await this.enter());
      if (place === null) break;
      const { segment, cursor } = place;
      const limit = segment.bytes;
      if (cursor.offset >= limit) throw this.damaged(segment, cursor.offset, 'ends before its last record');
      const hole = segment.damage.find((d) => d.from === cursor.offset);
      if (hole !== undefined) {
        cursor.skip(hole.to - hole.from);
        continue;
      }
      const head = cursor.head(limit);
      const length = typeof head === 'number' ? head : await head;
      if (length === 0) throw this.damaged(segment, cursor.offset, 'holds no record where one should be');
      const { origin, start, end, kind } = peekRecord(cursor.chunk, cursor.at);
      if (origin !== this.origin || end <= this.from) {
        cursor.skip(length);
        continue;
      }
      if (records.length > 0 && bytes + length > bytesMax) break;
      if (!cursor.has(length) && !(await cursor.fill(length, limit)))
        throw this.damaged(segment, cursor.offset, 'is shorter than its records');
      const record = cursor.chunk.subarray(cursor.at, cursor.at + length);
      if (crc32(record.subarray(8)) !== record.readUInt32LE(4))
        throw this.damaged(segment, cursor.offset, 'holds a record that fails its checksum');
      if (start > this.from && kind !== RecordKind.birth)
        throw this.damaged(segment, cursor.offset, `goes on at ${start}, not at ${this.from}`);
      records.push(this.copies ? Buffer.from(record) : record);
      bytes += length;
      this.from = end;
      cursor.skip(length);
    }
  }

  private damaged(segment: Segment, offset: number, what: string): JournalError {
    return new JournalError('damaged', `${segment.file} ${what} (${this.origin}, byte ${offset})`);
  }
}

/** Every written record of the segments, in order of arrival. */
export async function* replaySegments(segments: readonly Segment[]): AsyncGenerator<Buffer> {
  for (const segment of segments) {
    const limit = segment.bytes;
    if (limit <= segment.headerBytes) continue;
    const fd = await openFile(segment.file, 'r').catch((error: unknown) => {
      throw new JournalError('damaged', `${segment.file} cannot be read: ${errorText(error)}`, { cause: error });
    });
    try {
      const cursor = new Cursor(fd, segment.headerBytes, CHUNK_BYTES);
      while (cursor.offset < limit) {
        const hole = segment.damage.find((d) => d.from === cursor.offset);
        if (hole !== undefined) {
          cursor.skip(hole.to - hole.from);
          continue;
        }
        const head = cursor.head(limit);
        const length = typeof head === 'number' ? head : await head;
        const whole = length > 0 && (cursor.has(length) || (await cursor.fill(length, limit)));
        const record = cursor.chunk.subarray(cursor.at, cursor.at + length);
        if (!whole || crc32(record.subarray(8)) !== record.readUInt32LE(4))
          throw new JournalError('damaged', `${segment.file} holds an unsound record at byte ${cursor.offset}`);
        cursor.skip(length);
        // Forgotten since it was written.
        if (!segment.extents.has(peekRecord(record).origin)) continue;
        yield record;
      }
    } finally {
      await closeFile(fd);
    }
  }
}
