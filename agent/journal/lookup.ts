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
/** The most of a record that has to be read to know what it is. */
const HEAD_BYTES = 4096;
/** Behind the last record that was found, before it begins anew at the index. */
const GO_ON_BYTES = 1024 * 1024;

export class Lookup {
  private segment: Segment | null = null;
  private fd = -1;
  /** Where the record behind the last one found begins. */
  private next = 0;
  private chunk = Buffer.alloc(0);
  private chunkOffset = 0;

  /** @param segments oldest first; changes when segments are added and trimmed */
  constructor(private readonly segments: readonly Segment[]) {}

  /**
   * The written record of an origin that holds what follows position `from`.
   * @throws JournalError `trimmed`, `damaged`, `io`
   */
  find(origin: string, from: number): Buffer {
    const segment = this.segments.find((candidate) => {
      const extent = candidate.extents.get(origin);
      return extent !== undefined && extent.firstStart <= from && from < extent.lastEnd;
    });
    if (segment === undefined) throw new JournalError('trimmed', `the journal no longer holds ${origin} at ${from}`);
    this.enter(segment);
    const mark = segment.offsetFor(segment.extents.get(origin)!, from);
    const record =
      (this.next >= mark && this.next <= mark + GO_ON_BYTES ? this.scan(segment, this.next, origin, from) : null) ??
      this.scan(segment, mark, origin, from);
    if (record === null)
      throw new JournalError('damaged', `${segment.file} does not hold ${origin} at ${from}, as its index says`);
    return record;
  }

  close(): void {
    if (this.fd >= 0) fs.closeSync(this.fd);
    this.fd = -1;
    this.segment = null;
    this.chunk = Buffer.alloc(0);
  }

  private enter(segment: Segment): void {
    if (this.segment === segment) return;
    this.close();
    try {
      this.fd = fs.openSync(segment.file, 'r');
    } catch (error) {
      throw new JournalError('io', `${segment.file} cannot be read: ${errorText(error)}`, { cause: error });
    }
    this.segment = segment;
    this.next = 0;
  }

  /** @returns null where the origin is past `from` already, or nothing more is written */
  private scan(segment: Segment, start: number, origin: string, from: number): Buffer | null {
    for (let offset = start; offset + RECORD_BYTES_MIN <= segment.bytes;) {
      const damage = segment.damage.find((range) => range.from <= offset && offset < range.to);
      if (damage !== undefined) {
        offset = damage.to;
        continue;
      }
      const head = this.bytes(offset, Math.min(HEAD_BYTES, segment.bytes - offset));
      const length = recordLength(head);
      if (length < RECORD_BYTES_MIN || offset + length > segment.bytes) return null;
      const found = peekRecord(head);
      if (found.origin === origin && found.end > from) {
        if (found.start > from) return null;
        const record = Buffer.from(this.bytes(offset, length));
        if (crc32(record.subarray(RECORD_PREFIX_BYTES)) !== record.readUInt32LE(4))
          throw new JournalError('damaged', `${segment.file} holds a record that fails its checksum at byte ${offset}`);
        this.next = offset + length;
        return record;
      }
      offset += length;
    }
    return null;
  }

  /** A view of the file, good until the next one. */
  private bytes(offset: number, length: number): Buffer {
    const at = offset - this.chunkOffset;
    if (at >= 0 && at + length <= this.chunk.length) return this.chunk.subarray(at, at + length);
    const into = Buffer.allocUnsafe(Math.max(length, CHUNK_BYTES));
    let got = 0;
    while (got < into.length) {
      const n = fs.readSync(this.fd, into, got, into.length - got, offset + got);
      if (n === 0) break;
      got += n;
    }
    this.chunk = into.subarray(0, got);
    this.chunkOffset = offset;
    if (got < length) throw new JournalError('damaged', `a segment ends at ${offset + got}, within a record`);
    return this.chunk.subarray(0, length);
  }
}
