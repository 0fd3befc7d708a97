/**
 * Finds single records again, at once: for whoever let go of their bytes and needs them in the middle of a decision. Records
 * are mostly looked up in the order in which they came, so it goes on from where it was.
 */
import fs from 'node:fs';
import { crc32 } from 'node:zlib';
import { peekRecord, RECORD_PREFIX_BYTES, recordLength } from '../record';
import { errorText, JournalError } from './error';
import { RECORD_BYTES_MIN, type Segment } from './segment';

const CHUNK_BYTES = 256 * 1024;
/** What is read at once to find a record of which only a part is wanted. */
const STEP_BYTES = 8 * 1024;
/** The most of a record that has to be read to know what it is. */
const HEAD_BYTES = 4096;
/** Behind the last record that was found, before it begins anew at the index. */
const GO_ON_BYTES = 1024 * 1024;

interface Located {
  /** Where the record begins in the segment, and how long it is. */
  readonly offset: number;
  readonly length: number;
  /** The position behind it in the origin's stream. */
  readonly end: number;
}

const NOTHING = Buffer.alloc(0);
/** A giant record's memory is not kept. */
const MEMORY_BYTES_KEPT = 1024 * 1024;

export class Lookup {
  private segment: Segment | null = null;
  private fd = -1;
  /** Where the record behind the last one found begins. */
  private next = 0;
  /** What was read last, a view of `memory`. */
  private chunk = NOTHING;
  private chunkOffset = 0;
  private memory = NOTHING;

  /** @param segments oldest first; changes when segments are added and trimmed */
  constructor(private readonly segments: readonly Segment[]) {}

  /**
   * The written record of an origin that holds what follows position `from`.
   * @throws JournalError `trimmed`, `damaged`, `io`
   */
  find(origin: string, from: number): Buffer {
    const segment = this.enter(origin, from);
    const { offset, length } = this.locate(segment, origin, from, CHUNK_BYTES);
    const record = Buffer.from(this.bytes(offset, length, CHUNK_BYTES));
    if (crc32(record.subarray(RECORD_PREFIX_BYTES)) !== record.readUInt32LE(4))
      throw new JournalError('damaged', `${segment.file} holds a record that fails its checksum at byte ${offset}`);
    this.next = offset + length;
    if (this.memory.length > MEMORY_BYTES_KEPT) this.memory = this.chunk = NOTHING;
    return record;
  }

  /**
   * The bytes [from, to) of an origin's stream, which one written record holds. They are read alone, and so not compared with the record's checksum: not
   * for what is written anywhere.
   * @throws JournalError `trimmed`, `damaged`, `io`
   */
  stream(origin: string, from: number, to: number): Buffer {
    const { offset, length, end } = this.locate(this.enter(origin, from), origin, from, STEP_BYTES);
    if (to > end)
      throw new JournalError('damaged', `the journal holds ${origin} up to ${end}, not to ${to}, in a record`);
    const bytes = Buffer.allocUnsafe(to - from);
    this.read(bytes, offset + length - (end - from));
    return bytes;
  }

  close(): void {
    if (this.fd >= 0) fs.closeSync(this.fd);
    this.fd = -1;
    this.segment = null;
    this.chunk = NOTHING;
  }

  private enter(origin: string, from: number): Segment {
    const segment = this.segments.find((candidate) => {
      const extent = candidate.extents.get(origin);
      return extent !== undefined && extent.firstStart <= from && from < extent.lastEnd;
    });
    if (segment === undefined) throw new JournalError('trimmed', `the journal no longer holds ${origin} at ${from}`);
    if (this.segment === segment) return segment;
    this.close();
    try {
      this.fd = fs.openSync(segment.file, 'r');
    } catch (error) {
      throw new JournalError('io', `${segment.file} cannot be read: ${errorText(error)}`, { cause: error });
    }
    this.next = 0;
    return (this.segment = segment);
  }

  private locate(segment: Segment, origin: string, from: number, stepBytes: number): Located {
    const mark = segment.offsetFor(segment.extents.get(origin)!, from);
    const goesOn = this.next >= mark && this.next <= mark + GO_ON_BYTES;
    const located =
      (goesOn ? this.scan(segment, this.next, origin, from, stepBytes) : null) ??
      this.scan(segment, mark, origin, from, stepBytes);
    if (located === null)
      throw new JournalError('damaged', `${segment.file} does not hold ${origin} at ${from}, as its index says`);
    return located;
  }

  /** @returns null where the origin is past `from` already, or nothing more is written */
  private scan(segment: Segment, start: number, origin: string, from: number, stepBytes: number): Located | null {
    for (let offset = start; offset + RECORD_BYTES_MIN <= segment.bytes;) {
      const damage = segment.damage.find((range) => range.from <= offset && offset < range.to);
      if (damage !== undefined) {
        offset = damage.to;
        continue;
      }
      const head = this.bytes(offset, Math.min(HEAD_BYTES, segment.bytes - offset), stepBytes);
      const length = recordLength(head);
      if (length < RECORD_BYTES_MIN || offset + length > segment.bytes) return null;
      const found = peekRecord(head);
      if (found.origin === origin && found.end > from) {
        return found.start > from ? null : { offset, length, end: found.end };
      }
      offset += length;
    }
    return null;
  }

  /** A view of the file, good until the next one. */
  private bytes(offset: number, length: number, stepBytes: number): Buffer {
    const at = offset - this.chunkOffset;
    if (at >= 0 && at + length <= this.chunk.length) return this.chunk.subarray(at, at + length);
    const wanted = Math.max(length, stepBytes);
    if (this.memory.length < wanted) this.memory = Buffer.allocUnsafeSlow(wanted);
    const into = this.memory.subarray(0, wanted);
    this.chunk = into.subarray(0, 0);
    this.chunk = into.subarray(0, this.read(into, offset, length));
    this.chunkOffset = offset;
    return this.chunk.subarray(0, length);
  }

  /** Fills a buffer with what begins at `offset`, at least `bytesMin` of it. @returns how much */
  private read(into: Buffer, offset: number, bytesMin = into.length): number {
    let got = 0;
    while (got < into.length) {
      const n = fs.readSync(this.fd, into, got, into.length - got, offset + got);
      if (n === 0) break;
      got += n;
    }
    if (got < bytesMin) throw new JournalError('damaged', `a segment ends at ${offset + got}, within a record`);
    return got;
  }
}
