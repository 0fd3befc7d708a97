/**
 * For how long the socket of a stream is not read after it was, so that what comes in the meantime costs one wake-up, one record, one
 * journal entry and one message instead of many.
 *
 * What comes meanwhile waits in the socket's buffer. The system begins with a small one (some 100 KB) and makes it larger only for who reads faster than
 * it fills; for who reads it full once in 20 ms it may stay small for ever, and 20 ms hold the stream to 5 MB/s while Redis' own buffer grows. So much at once
 * is looked after a moment later: a buffer that has filled up again by then was full, and the socket is read without a rest until it is not.
 */
export class Rest {
  /** What was read after the last rest, while it is looked whether that was all; else 0. */
  private found = 0;
  /** The last rest was as long as a fast stream's. */
  private isRested = false;

  /** @param gatherMs the rest of a slow stream, milliseconds; 0: there is none */
  constructor(private readonly gatherMs: number) {}

  /**
   * @param bytes what has just been read, until the socket was empty
   * @returns milliseconds until it is read again
   */
  after(bytes: number): number {
    if (this.gatherMs === 0) return 0;
    if (this.found > 0 ? bytes >= this.found / 2 : this.isRested && bytes >= LOOK_BYTES) {
      this.found = Math.max(this.found, bytes);
      return LOOK_MS;
    }
    const factor = gatherFactor(Math.max(bytes, this.found));
    this.found = 0;
    this.isRested = factor > 1;
    return this.gatherMs * factor;
  }
}

/** Bytes at once that mean a fast stream, or a flood, and so many times `gatherMs` for what comes next to come together. */
const BUSY_BYTES = 8 * 1024;
const BUSY_GATHER_FACTOR = 5;
const FLOOD_BYTES = 96 * 1024;
const FLOOD_GATHER_FACTOR = 10;
/** Half of the smallest buffer that systems give a socket to begin with. */
const LOOK_BYTES = 32 * 1024;
/** Long enough for a server in the same place to fill it again. */
const LOOK_MS = 1;

function gatherFactor(bytesAtOnce: number): number {
  if (bytesAtOnce >= FLOOD_BYTES) return FLOOD_GATHER_FACTOR;
  return bytesAtOnce >= BUSY_BYTES ? BUSY_GATHER_FACTOR : 1;
}
