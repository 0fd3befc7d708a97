/**
 * Frames: how records travel. Small records are packed together, so that a message's cost is shared; a big one is cut
 * into chunks, so that no message is big. The records' own bytes are passed on as they are.
 */
import { constants, crc32, deflateRaw, inflateRaw } from 'zlib';
import { RECORD_BYTES_MAX, RECORD_PREFIX_BYTES, recordLength } from '../record';
import { messageOf, PeerError } from './error';

/** Whole records are packed up to this size. */
export const FRAME_BYTES = 512 * 1024;
/** A record above FRAME_BYTES is cut into parts of this size. */
export const CHUNK_BYTES = 512 * 1024;
/** What the largest message may have: a chunk and the fields around it, or an offer of very many origins. */
export const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
/** Below this a frame is not worth deflating. */
const DEFLATE_BYTES_MIN = 1024;
/** In `auto`, links shorter than this have more bandwidth than a core can compress. */
const DEFLATE_RTT_MS = 5;
/** After a payload that did not shrink, so many are sent as they are before the next try. */
const DEFLATE_PAUSE_FRAMES = 32;
/** What is allocated for a record's first chunk. */
const ASSEMBLY_BYTES = 4 * 1024 * 1024;

export type Piece =
  | { readonly whole: true; readonly payload: Buffer }
  | { readonly whole: false; readonly payload: Buffer; readonly offset: number; readonly total: number };

/** Cuts a run of records into frames and chunks, in order. Nothing is copied but the small records of a frame. */
export function* cut(records: readonly Buffer[]): Generator<Piece> {
  let packed: Buffer[] = [];
  let bytes = 0;
  for (const record of records) {
    if (bytes > 0 && bytes + record.length > FRAME_BYTES) {
      yield { whole: true, payload: join(packed, bytes) };
      packed = [];
      bytes = 0;
    }
    if (record.length <= FRAME_BYTES) {
      packed.push(record);
      bytes += record.length;
      continue;
    }
    const total = record.length;
    for (let offset = 0; offset < total; offset += CHUNK_BYTES)
      yield { whole: false, payload: record.subarray(offset, offset + CHUNK_BYTES), offset, total };
  }
  if (bytes > 0) yield { whole: true, payload: join(packed, bytes) };
}

function join(buffers: readonly Buffer[], bytes: number): Buffer {
  return buffers.length === 1 ? buffers[0]! : Buffer.concat(buffers, bytes);
}

/**
 * The records of a frame, as views into it.
 * @throws PeerError `malformed` when the payload is not whole records
 */
export function split(payload: Buffer): Buffer[] {
  const records: Buffer[] = [];
  let at = 0;
  while (at < payload.length) {
    const length = recordLength(payload, at);
    if (length <= 4 || at + length > payload.length)
      throw new PeerError('malformed', `frame of ${payload.length} bytes does not consist of whole records`);
    records.push(payload.subarray(at, at + length));
    at += length;
  }
  if (records.length === 0) throw new PeerError('malformed', 'empty frame');
  return records;
}

/**
 * Puts a cut record together again. One at a time: what a peer can make this side hold is one record, and no more of it than
 * twice what has come.
 */
export class Assembly {
  #subscription = 0;
  /** As much as has come fits in; it grows up to the whole. */
  #record: Buffer | null = null;
  #total = 0;
  #filled = 0;
  #crc = 0;

  /** Whether a record has begun and not ended: nothing but its next chunk may follow. */
  get open(): boolean {
    return this.#record !== null;
  }

  /** Drops what was begun. */
  clear(): void {
    this.#record = null;
  }

  /**
   * Takes a record's next chunk. The checksum is computed on the way: over half a gigabyte at once it would stop
   * everything else for a good part of a second.
   * @returns the record when it is whole, its checksum verified
   * @throws PeerError when the chunk is not the one that follows, the record is too big or fails its checksum
   */
  add(chunk: { subscription: number; payload: Buffer; offset: number; total: number }): Buffer | null {
    const { payload, offset, total } = chunk;
    if (this.#record === null) {
      if (!Number.isSafeInteger(total) || total > RECORD_BYTES_MAX)
        throw new PeerError('flood', `record of ${total} bytes announced; the limit is ${RECORD_BYTES_MAX}`);
      if (
        offset !== 0 ||
        total <= FRAME_BYTES ||
        payload.length < RECORD_PREFIX_BYTES ||
        recordLength(payload) !== total
      )
        throw new PeerError('malformed', `a record begins with chunk ${offset} of ${total} bytes`);
      this.#record = Buffer.allocUnsafeSlow(Math.min(total, ASSEMBLY_BYTES));
      this.#total = total;
      this.#subscription = chunk.subscription;
      this.#filled = 0;
      this.#crc = 0;
    }
    if (
      chunk.subscription !== this.#subscription ||
      offset !== this.#filled ||
      total !== this.#total ||
      payload.length === 0 ||
      offset + payload.length > total
    )
      throw new PeerError('malformed', `chunk ${offset} of ${total} bytes does not follow the one before`);
    if (offset + payload.length > this.#record.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(total, this.#record.length * 2));
      this.#record.copy(larger, 0, 0, offset);
      this.#record = larger;
    }
    payload.copy(this.#record, offset);
    this.#crc = crc32(offset === 0 ? payload.subarray(RECORD_PREFIX_BYTES) : payload, this.#crc);
    this.#filled += payload.length;
    if (this.#filled < total) return null;
    const record = this.#record;
    this.#record = null;
    if (this.#crc !== record.readUInt32LE(4))
      throw new PeerError('record', `record of ${total} bytes fails its checksum`);
    return record;
  }
}

/** Decides per payload whether deflating is worth it, and does it. */
export class Deflater {
  #pause = 0;

  constructor(
    private readonly mode: 'auto' | 'none' | 'deflate',
    private readonly rttMs: () => number,
  ) {}

  wants(bytes: number): boolean {
    if (this.mode === 'none' || bytes < DEFLATE_BYTES_MIN) return false;
    if (this.#pause > 0) {
      this.#pause--;
      return false;
    }
    return this.mode === 'deflate' || this.rttMs() > DEFLATE_RTT_MS;
  }

  /** @returns the payload as it goes out, and its length before, or 0 when it is not deflated */
  async deflate(payload: Buffer): Promise<{ payload: Buffer; inflated: number }> {
    const deflated = await new Promise<Buffer>((resolve, reject) =>
      deflateRaw(payload, { level: constants.Z_BEST_SPEED }, (error, result) =>
        error ? reject(error) : resolve(result),
      ),
    );
    if (deflated.length > payload.length * 0.9) {
      this.#pause = DEFLATE_PAUSE_FRAMES;
      return { payload, inflated: 0 };
    }
    return { payload: deflated, inflated: payload.length };
  }
}

/**
 * @param limit what the result may have at most
 * @throws PeerError `malformed` or `flood`
 */
export async function inflate(payload: Buffer, inflated: number, limit: number): Promise<Buffer> {
  if (!(inflated > 0)) throw new PeerError('malformed', `payload that inflates to ${inflated} bytes announced`);
  if (inflated > limit) throw new PeerError('flood', `payload of ${inflated} bytes announced; the limit is ${limit}`);
  const result = await new Promise<Buffer>((resolve, reject) =>
    inflateRaw(payload, { maxOutputLength: inflated }, (error, out) =>
      error ? reject(new PeerError('malformed', `payload can't be inflated: ${messageOf(error)}`)) : resolve(out),
    ),
  );
  if (result.length !== inflated)
    throw new PeerError('malformed', `payload inflates to ${result.length} bytes instead of ${inflated}`);
  return result;
}
