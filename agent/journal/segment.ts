/**
 * A segment is one file of the journal: a header, then records as they came, byte for byte.
 *
 *     8 bytes  magic
 *     u32      version
 *     u32      bytes of the whole header
 *     u32      CRC-32 of what follows in the header
 *     f64      sequence number (the file's name says the same)
 *     f64      bytes of the segment before this one when it was sealed; 0 when there is none
 *     …        where every known origin ended when the segment began, as text (see vector.ts)
 *
 * The ends keep an origin's place when its last segment has been trimmed away, and show what a damaged segment lost.
 * A segment gets its name only after its header is on disk, so an unsound header is damage, never a torn write.
 */
import { crc32 } from 'node:zlib';
import path from 'node:path';
import { peekRecord, RECORD_BYTES_MAX, RECORD_PREFIX_BYTES, RecordKind, recordLength, type Vector } from '../record';
import { formatVector, parseVector } from '../vector';
import { JournalError } from './error';
import { readAt } from './files';

const MAGIC = Buffer.from('MERIDJNL', 'latin1');
const VERSION = 1;
const HEADER_FIXED_BYTES = 36;
const HEADER_BYTES_MAX = 16 * 1024 * 1024;
/** Bytes of the smallest record: fixed header, an empty origin, no `seen`, no payload. */
export const RECORD_BYTES_MIN = 44;
/** Where the origin's length stands in a record. */
const ORIGIN_AT = 40;
/** Enough of a record to know its origin: an origin's length is an u16. */
const PEEK_BYTES_MAX = ORIGIN_AT + 2 + 65_535;
/** One index entry for so many bytes of a segment, per origin. */
const MARK_EVERY_BYTES = 256 * 1024;

export function segmentName(sequence: number): string {
  return `${String(sequence).padStart(12, '0')}.journal`;
}

/** @returns null when the file is no segment */
export function segmentSequence(file: string): number | null {
  const match = /^(\d{12})\.journal$/.exec(file);
  return match ? Number(match[1]) : null;
}

export interface SegmentHeader {
  readonly sequence: number;
  readonly previousBytes: number;
  readonly ends: Vector;
  readonly bytes: number;
}

export function encodeHeader(header: Omit<SegmentHeader, 'bytes'>): Buffer {
  const text = Buffer.from(formatVector(header.ends), 'latin1');
  const out = Buffer.alloc(HEADER_FIXED_BYTES + text.length);
  MAGIC.copy(out, 0);
  out.writeUInt32LE(VERSION, 8);
  out.writeUInt32LE(out.length, 12);
  out.writeDoubleLE(header.sequence, 20);
  out.writeDoubleLE(header.previousBytes, 28);
  text.copy(out, HEADER_FIXED_BYTES);
  out.writeUInt32LE(crc32(out.subarray(20)), 16);
  return out;
}

/**
 * @returns null when the bytes are not a sound header
 * @throws JournalError `version` when a newer agent wrote it
 */
export async function readHeader(fd: number, file: string, sequence: number): Promise<SegmentHeader | null> {
  const fixed = Buffer.alloc(HEADER_FIXED_BYTES);
  if ((await readAt(fd, fixed, fixed.length, 0)) < fixed.length || !MAGIC.equals(fixed.subarray(0, 8))) return null;
  const bytes = fixed.readUInt32LE(12);
  if (bytes < HEADER_FIXED_BYTES || bytes > HEADER_BYTES_MAX) return null;
  const whole = Buffer.alloc(bytes);
  if ((await readAt(fd, whole, bytes, 0)) < bytes || crc32(whole.subarray(20)) !== whole.readUInt32LE(16)) return null;
  if (whole.readUInt32LE(8) !== VERSION)
    throw new JournalError('version', `${file} has version ${whole.readUInt32LE(8)}; this agent reads ${VERSION}`);
  const ends = parseVector(whole.toString('latin1', HEADER_FIXED_BYTES));
  if (ends === null || whole.readDoubleLE(20) !== sequence) return null;
  return { sequence, previousBytes: whole.readDoubleLE(28), ends, bytes };
}

/** What a segment holds of one origin. */
export interface Extent {
  readonly firstStart: number;
  lastEnd: number;
  /** The segment holds the origin's birth. */
  readonly born: boolean;
  /** Sparse index: offsets in the file, ascending, and the `start` of the record at each. */
  readonly markOffsets: number[];
  readonly markStarts: number[];
}

/** Before an origin's name in a segment's header: what earlier segments hold of it counts no more. */
export const FORGOTTEN = '!';

/** What is known of one segment file. Only records that are written are known. */
export class Segment {
  readonly extents = new Map<string, Extent>();
  /** Ranges [from, to) that failed their checksums; readers step over them. */
  readonly damage: { from: number; to: number }[] = [];

  constructor(
    readonly dir: string,
    readonly sequence: number,
    readonly headerBytes: number,
    /** Bytes of header and written records. */
    public bytes: number,
  ) {}

  get file(): string {
    return path.join(this.dir, segmentName(this.sequence));
  }

  index(origin: string, start: number, end: number, kind: RecordKind, offset: number): void {
    const extent = this.extents.get(origin);
    if (extent === undefined) {
      this.extents.set(origin, {
        firstStart: start,
        lastEnd: end,
        born: kind === RecordKind.birth,
        markOffsets: [offset],
        markStarts: [start],
      });
      return;
    }
    extent.lastEnd = end;
    if (offset - (extent.markOffsets[extent.markOffsets.length - 1] as number) >= MARK_EVERY_BYTES) {
      extent.markOffsets.push(offset);
      extent.markStarts.push(start);
    }
  }

  /** Where to begin reading for the first record of the origin with end > from. */
  offsetFor(extent: Extent, from: number): number {
    let low = 0;
    let high = extent.markStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((extent.markStarts[middle] as number) <= from) low = middle;
      else high = middle - 1;
    }
    return extent.markOffsets[low] as number;
  }
}

/** Walks a file in big sequential reads; what it hands out are views of those reads. */
export class Cursor {
  /** Offset in the file of the byte at `chunk[at]`. */
  offset: number;
  chunk: Buffer = Buffer.alloc(0);
  at = 0;
  private buffer: Buffer | null = null;

  /**
   * @param reuse read into one buffer again and again: no view may outlive the next `fill`
   */
  constructor(
    readonly fd: number,
    offset: number,
    private readonly chunkBytes: number,
    private readonly reuse = false,
  ) {
    this.offset = offset;
  }

  /** Whether `bytes` bytes are at hand without reading. */
  has(bytes: number): boolean {
    return this.chunk.length - this.at >= bytes;
  }

  skip(bytes: number): void {
    this.offset += bytes;
    this.at = Math.min(this.at + bytes, this.chunk.length);
  }

  /** Reads at least `bytes` bytes from `offset` on, but nothing at or beyond `limit`. */
  async fill(bytes: number, limit: number): Promise<boolean> {
    if (this.has(bytes)) return true;
    if (this.offset + bytes > limit) return false;
    const wanted = Math.max(bytes, Math.min(this.chunkBytes, limit - this.offset));
    const into =
      this.reuse && this.buffer !== null && this.buffer.length >= wanted ? this.buffer : Buffer.allocUnsafeSlow(wanted);
    if (this.reuse && wanted <= this.chunkBytes) this.buffer = into;
    const got = await readAt(this.fd, into, wanted, this.offset);
    this.chunk = into.subarray(0, got);
    this.at = 0;
    return got >= bytes;
  }

  /**
   * Brings the head of the record at `offset` into reach: enough for peekRecord. Without a promise when it is at hand,
   * as it is for nearly all: a turn of the event loop per record would cost more than the record.
   * @returns the record's length, or 0 when no sound record can stand there
   */
  head(limit: number): number | Promise<number> {
    const length = this.headNow(limit);
    return length >= 0 ? length : this.fillHead(limit);
  }

  /** As `head`, but -1 where it would have to read. */
  private headNow(limit: number): number {
    if (!this.has(RECORD_BYTES_MIN)) return this.offset + RECORD_BYTES_MIN > limit ? 0 : -1;
    const length = recordLength(this.chunk, this.at);
    if (length < RECORD_BYTES_MIN || length > RECORD_BYTES_MAX || this.offset + length > limit) return 0;
    const peek = ORIGIN_AT + 2 + this.chunk.readUInt16LE(this.at + ORIGIN_AT);
    if (peek > length) return 0;
    return this.has(peek) ? length : -1;
  }

  private async fillHead(limit: number): Promise<number> {
    // At most a head's largest size is not yet at hand, so one read is enough whatever the record says of itself.
    await this.fill(Math.min(PEEK_BYTES_MAX, limit - this.offset), limit);
    return Math.max(0, this.headNow(limit));
  }
}

const SCAN_CHUNK_BYTES = 4 * 1024 * 1024;

/** Whether the record at the cursor, whose head is in reach, matches its checksum. Long ones are read in pieces. */
async function verifyLong(cursor: Cursor, length: number, limit: number): Promise<boolean> {
  const expected = cursor.chunk.readUInt32LE(cursor.at + 4);
  let crc = 0;
  cursor.skip(RECORD_PREFIX_BYTES);
  let left = length - RECORD_PREFIX_BYTES;
  while (left > 0) {
    const wanted = cursor.has(left) ? left : Math.min(left, SCAN_CHUNK_BYTES);
    if (!cursor.has(wanted) && !(await cursor.fill(wanted, limit))) return false;
    crc = crc32(cursor.chunk.subarray(cursor.at, cursor.at + wanted), crc);
    cursor.skip(wanted);
    left -= wanted;
  }
  return crc === expected;
}

export interface Scanned {
  readonly record: ReturnType<typeof peekRecord> | null;
  readonly next: number;
}

/** Verifies a segment record by record. Where one is unsound the caller decides, and may call `next` at another place. */
export class Scan {
  private readonly cursor: Cursor;

  constructor(
    fd: number,
    private readonly limit: number,
  ) {
    this.cursor = new Cursor(fd, 0, SCAN_CHUNK_BYTES, true);
  }

  /** The sound record at `offset` and where it ends; otherwise where it would end by its own word, or 0. */
  at(offset: number): Scanned | Promise<Scanned> {
    const { cursor, limit } = this;
    if (offset !== cursor.offset) {
      cursor.offset = offset;
      cursor.chunk = cursor.chunk.subarray(0, 0);
      cursor.at = 0;
    }
    const length = cursor.head(limit);
    if (typeof length !== 'number') return length.then((n) => this.verify(n));
    return this.verify(length);
  }

  private verify(length: number): Scanned | Promise<Scanned> {
    const { cursor, limit } = this;
    if (length === 0) return { record: null, next: 0 };
    const { chunk, at, offset } = cursor;
    const next = offset + length;
    const record = peekRecord(chunk, at);
    if (!cursor.has(length))
      return verifyLong(cursor, length, limit).then((sound) => ({ record: sound ? record : null, next }));
    cursor.skip(length);
    const sound = crc32(chunk.subarray(at + RECORD_PREFIX_BYTES, at + length)) === chunk.readUInt32LE(at + 4);
    return { record: sound ? record : null, next };
  }
}
