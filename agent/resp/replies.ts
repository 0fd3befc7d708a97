/** RESP2 replies of a server: the bytes to values. https://redis.io/docs/latest/develop/reference/protocol-spec/ */
import { ProtocolError } from './scanner';

/**
 * An error reply, as a value: nobody throws it. `code` is its first word (`ERR`, `READONLY`, `OOM`, `LOADING`, `WRONGTYPE`, `NOSCRIPT` …).
 * What a server quotes back (a command's arguments) is cut out of `message`: an error's text may be logged.
 */
export class ReplyError extends Error {
  override readonly name = 'ReplyError';
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  /** From the line after `-`. */
  static parse(line: string): ReplyError {
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const code = /^[A-Z][A-Z0-9_]*$/.test(word) ? word : 'ERR';
    const text = line
      .replace(/,? with args beginning with:.*$/s, '')
      .replace(/'[^']*'|"[^"]*"|`[^`]*`/g, "'…'")
      .slice(0, 200);
    return new ReplyError(code, text);
  }
}

/** Status → string, bulk → Buffer, integer → number (bigint beyond 2^53), nil → null, error → ReplyError, array → array. */
export type Reply = string | Buffer | number | bigint | null | ReplyError | Reply[];

const CR = 13;
const LF = 10;
const INCOMPLETE = -1;
/** A longer line in a reply is no RESP. */
const LINE_BYTES_MAX = 64 * 1024;
/** Redis' own limit of a bulk is proto-max-bulk-len, 512 MB unless configured. */
const BULK_BYTES_MAX = 2 ** 31 - 1024;
/** Arrays in arrays, as deep as the parser follows them: COMMAND and XINFO need 7. */
const DEPTH_MAX = 128;

interface Frame {
  items: Reply[];
  left: number;
}

/**
 * Incremental parser: `push` chunks, `next` until it is undefined. Bulk replies are views of the chunks: copy what you keep for long.
 *
 * @throws ProtocolError from `next` and `skipStatus` on garbage; the connection must be closed.
 */
export class ReplyParser {
  private buf: Buffer = Buffer.alloc(0);
  private pos = 0;
  /** Chunks that wait until a long bulk is complete. */
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  /** Bytes needed in `buf` from `pos` before parsing can go on. */
  private need = 0;
  private readonly frames: Frame[] = [];
  private consumedBytes = 0;

  /** Bytes pushed and not yet returned as a reply. */
  get buffered(): number {
    return this.buf.length - this.pos + this.waitingBytes;
  }

  /** Appends a chunk; the parser keeps views of it. */
  push(chunk: Buffer): void {
    if (this.buf.length === this.pos && this.waitingBytes === 0) {
      this.consumedBytes += this.pos;
      this.buf = chunk;
      this.pos = 0;
      return;
    }
    this.waiting.push(chunk);
    this.waitingBytes += chunk.length;
    // Joined only once the bulk that is being waited for is whole: one copy, however many chunks it came in.
    if (this.buf.length - this.pos + this.waitingBytes >= this.need) this.join();
  }

  private join(): void {
    this.waiting.unshift(this.buf.subarray(this.pos));
    this.consumedBytes += this.pos;
    this.buf = Buffer.concat(this.waiting);
    this.pos = 0;
    this.waiting = [];
    this.waitingBytes = 0;
    this.need = 0;
  }

  /**
   * Skips up to `max` replies that are `+OK` or `+QUEUED`, without making values of them; returns how many. It stops at any other
   * reply (an error, say), which `next` then returns. Within an array it skips none.
   */
  skipStatus(max: number): number {
    if (this.frames.length > 0) return 0;
    const { buf } = this;
    const limit = buf.length;
    let p = this.pos;
    let n = 0;
    while (n < max && p + 4 < limit && buf[p] === 43) {
      const second = buf[p + 1];
      if (second === 81) {
        // +QUEUED\r\n
        if (p + 8 >= limit || buf[p + 8] !== LF || buf[p + 7] !== CR || buf[p + 6] !== 68) break;
        p += 9;
      } else if (second === 79) {
        // +OK\r\n
        if (buf[p + 4] !== LF || buf[p + 3] !== CR || buf[p + 2] !== 75) break;
        p += 5;
      } else break;
      n++;
    }
    this.pos = p;
    return n;
  }

  /** The next complete reply, or undefined when more bytes are needed. */
  next(): Reply | undefined {
    for (;;) {
      const value = this.value();
      if (value === undefined) return undefined;
      let done: Reply | Frame = value;
      // A finished value goes into the innermost open array; a filled array is itself a finished value.
      for (;;) {
        if (done instanceof OpenArray) {
          if (this.frames.length >= DEPTH_MAX) throw this.error('TOO_LONG', `arrays nested deeper than ${DEPTH_MAX}`);
          this.frames.push(done);
          break;
        }
        const frame: Frame | undefined = this.frames[this.frames.length - 1];
        if (frame === undefined) return done as Reply;
        frame.items.push(done as Reply);
        if (--frame.left > 0) break;
        this.frames.pop();
        done = frame.items;
      }
    }
  }

  /** One value, or the opening of a non-empty array. */
  private value(): Reply | OpenArray | undefined {
    const { buf } = this;
    if (this.pos >= buf.length) return undefined;
    const type = buf[this.pos];
    const eol = this.lineEnd();
    if (eol === INCOMPLETE) return undefined;
    const from = this.pos + 1;
    const after = eol + 2;
    switch (type) {
      case 43: {
        this.pos = after;
        if (eol - from === 2 && buf[from] === 79 && buf[from + 1] === 75) return 'OK';
        if (eol - from === 6 && buf[from] === 81 && buf[from + 5] === 68) return 'QUEUED';
        return buf.toString('utf8', from, eol);
      }
      case 45:
        this.pos = after;
        return ReplyError.parse(buf.toString('utf8', from, eol));
      case 58: {
        const n = this.integer(from, eol);
        this.pos = after;
        return n;
      }
      case 36: {
        const len = this.size(from, eol, BULK_BYTES_MAX);
        if (len < 0) {
          this.pos = after;
          return null;
        }
        const end = after + len;
        if (end + 2 > buf.length) {
          this.need = end + 2 - this.pos;
          return undefined;
        }
        if (buf[end] !== CR || buf[end + 1] !== LF) throw this.error('EXPECTED_CRLF', 'a bulk reply is not closed');
        this.pos = end + 2;
        return buf.subarray(after, end);
      }
      case 42: {
        const left = this.size(from, eol, 2 ** 31);
        this.pos = after;
        if (left < 0) return null;
        return left === 0 ? [] : new OpenArray(left);
      }
      default:
        throw this.error('BAD_TYPE', `byte 0x${(type ?? 0).toString(16)} where a reply begins`);
    }
  }

  /** Index of the CR that ends the line at `pos`. */
  private lineEnd(): number {
    const { buf, pos } = this;
    // Nearly all lines are short: a loop beats the native call.
    const near = Math.min(buf.length, pos + 32);
    let p = pos + 1;
    while (p < near && buf[p] !== LF) p++;
    if (p >= near) {
      const at = p >= buf.length ? -1 : buf.indexOf(LF, p);
      if (at < 0) {
        if (buf.length - pos > LINE_BYTES_MAX) throw this.error('TOO_LONG', 'a line without an end');
        this.need = 0;
        return INCOMPLETE;
      }
      p = at;
    }
    if (buf[p - 1] !== CR || p - 1 === pos) throw this.error('EXPECTED_CRLF', 'a line feed without carriage return');
    return p - 1;
  }

  private integer(from: number, to: number): number | bigint {
    const { buf } = this;
    if (to - from <= 15) {
      let value = 0;
      let p = from;
      const negative = buf[p] === 45;
      if (negative) p++;
      if (p === to) throw this.error('BAD_LENGTH', 'an integer without digits');
      for (; p < to; p++) {
        const digit = buf[p]! - 48;
        if (digit < 0 || digit > 9) throw this.error('BAD_LENGTH', 'an integer that is none');
        value = value * 10 + digit;
      }
      return negative ? 0 - value : value;
    }
    const text = buf.toString('latin1', from, Math.min(to, from + 32));
    if (to - from > 20 || !/^-?\d+$/.test(text)) throw this.error('BAD_LENGTH', 'an integer that is none');
    const value = Number(text);
    return Number.isSafeInteger(value) ? value : BigInt(text);
  }

  private size(from: number, to: number, max: number): number {
    const n = this.integer(from, to);
    if (typeof n === 'bigint' || n > max || n < -1) throw this.error('TOO_LONG', `a length of ${n}`);
    return n;
  }

  private error(code: ProtocolError['code'], detail: string): ProtocolError {
    return new ProtocolError(code, this.consumedBytes + this.pos, `${detail} (in a reply)`);
  }
}

class OpenArray implements Frame {
  readonly items: Reply[] = [];
  constructor(public left: number) {}
}
