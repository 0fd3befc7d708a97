/**
 * The replication stream as commands: byte ranges, no allocation per command.
 *
 * Redis sends a replica what it executes as RESP arrays of bulk strings (redis/src/replication.c, replicationFeedSlaves). A bare newline (keepalive)
 * and an inline command (`PING\r\n`) are tolerated as Redis' own parser tolerates them (redis/src/networking.c, processInlineBuffer).
 */

/** What was found where the protocol wanted something else. Never holds bytes of a value: only a byte's code or a number. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  constructor(
    /** `EXPECTED_BULK`: no `$` where an argument begins. `BAD_LENGTH`: a length that is no number. `TOO_LONG`: beyond a limit. `EXPECTED_CRLF`: an argument isn't closed. */
    readonly code: 'EXPECTED_BULK' | 'BAD_LENGTH' | 'TOO_LONG' | 'EXPECTED_CRLF' | 'BAD_TYPE',
    /** Byte position since the first byte pushed. */
    readonly offset: number,
    detail: string,
  ) {
    super(`${code} at byte ${offset}: ${detail}`);
  }
}

export interface CommandScannerOptions {
  /** The longest command accepted, in bytes; beyond it `next` throws TOO_LONG. Default 1 GiB, at most 2 GiB − 64 MiB. */
  maxCommandBytes?: number;
  /** The most arguments of one command. Default 16,777,216. */
  maxArgs?: number;
}

const CR = 13;
const LF = 10;
const SPACE = 32;
const STAR = 42;
const DOLLAR = 36;
/** Digits of a length: 2^31 has ten; more is refused unread. */
const LENGTH_DIGITS_MAX = 11;
/** An inline command longer than this is garbage (Redis: PROTO_INLINE_MAX_SIZE, 64 kB). */
const INLINE_BYTES_MAX = 64 * 1024;
const OWNED_BYTES_MIN = 128 * 1024;
/** After a giant command the joining buffer is given back once it is empty. */
const OWNED_BYTES_KEPT = 4 * 1024 * 1024;

/**
 * Cuts a byte stream into commands.
 *
 * `push` the chunks as they come, then call `next` until it is false. After `true` the fields describe one command; they, and the bytes
 * of `buf`, hold until the next `push` (a chunk that begins at a command's first byte is used as it is, not copied).
 * A command over many chunks is parsed once: `next` goes on where it stopped, and joining costs amortised O(bytes).
 *
 * @throws ProtocolError from `next`, on garbage. The scanner is then useless: the link must be closed.
 */
export class CommandScanner {
  /** The buffer that `start`, `end`, `argStart` and `argEnd` refer to. */
  buf: Buffer = Buffer.alloc(0);
  /** First byte of the command, and the byte after its last. */
  start = 0;
  end = 0;
  /** Number of arguments, the command's name included. */
  argc = 0;
  /** Byte ranges of the arguments: argument i is `buf.subarray(argStart[i], argEnd[i])`. Longer than `argc`. */
  argStart = new Int32Array(64);
  argEnd = new Int32Array(64);
  /** Bytes of the stream up to the end of the last command returned, newlines before it included: replication offset = offset at start + consumed. */
  consumed = 0;

  private readonly maxCommandBytes: number;
  private readonly maxArgs: number;
  /** Buffer that joins a command over chunks; reused. */
  private owned: Buffer | null = null;
  /** One past the last valid byte of `buf`. */
  private limit = 0;
  /** Where the next command begins in `buf`. */
  private head = 0;
  /** Where parsing goes on, ≥ head. */
  private pos = 0;
  /** Arguments announced by the command at head; 0 = its header isn't read yet. */
  private want = 0;
  /** Arguments of it already found. */
  private found = 0;
  /** Bytes that the command at head needs at least, from `head`: so that a big one is joined in one step. */
  private need = 0;

  constructor(opts: CommandScannerOptions = {}) {
    this.maxCommandBytes = Math.min(opts.maxCommandBytes ?? 1024 ** 3, 2 ** 31 - 64 * 1024 * 1024);
    this.maxArgs = opts.maxArgs ?? 1 << 24;
  }

  /** Bytes pending, not yet returned as a command. */
  get buffered(): number {
    return this.limit - this.head;
  }

  /** Appends a chunk. The scanner may go on reading it in place: the caller must not change it before `keep`. */
  push(chunk: Buffer): void {
    const pending = this.limit - this.head;
    if (pending === 0) {
      this.buf = chunk;
      this.head = this.pos = this.start = this.end = 0;
      this.limit = chunk.length;
      if (this.owned !== null && this.owned.length > OWNED_BYTES_KEPT) this.owned = null;
      return;
    }
    const total = pending + chunk.length;
    if (this.buf !== this.owned || this.limit + chunk.length > this.owned.length) this.makeRoom(pending, total);
    chunk.copy(this.buf, this.limit);
    this.limit += chunk.length;
  }

  /** Takes what is pending into memory of its own: the last chunk is then the caller's again. */
  keep(): void {
    const pending = this.limit - this.head;
    if (pending > 0 && this.buf !== this.owned) this.makeRoom(pending, pending);
  }

  /** Moves the pending bytes to the front of a joining buffer that has room for `total` bytes. */
  private makeRoom(pending: number, total: number): void {
    let target = this.owned;
    const fits = target !== null && total <= target.length;
    // Moving inside the same buffer pays only if it frees half of it; otherwise many small chunks would move the same bytes again and again.
    if (!fits || (this.buf === target && pending > target.length >> 1)) {
      const doubled = Math.max(total, OWNED_BYTES_MIN, (target?.length ?? 0) * 2);
      // What the command announced bounds the growth, never causes it: an announced length alone allocates nothing.
      target = Buffer.allocUnsafeSlow(
        this.need > total ? Math.min(doubled, this.need) : Math.max(total * 2, OWNED_BYTES_MIN),
      );
    }
    this.buf.copy(target as Buffer, 0, this.head, this.limit);
    const shift = this.head;
    for (let i = 0; i < this.found; i++) {
      this.argStart[i]! -= shift;
      this.argEnd[i]! -= shift;
    }
    this.pos -= shift;
    this.head = 0;
    this.start = this.end = 0;
    this.limit = pending;
    this.buf = this.owned = target as Buffer;
  }

  /** True: one complete command lies in the fields. False: push more. */
  next(): boolean {
    const buf = this.buf;
    const limit = this.limit;
    let pos = this.pos;

    while (this.want === 0) {
      if (pos >= limit) return false;
      const first = buf[pos]!;
      if (first === STAR) {
        const count = this.length(pos);
        if (count === INCOMPLETE) return false;
        pos = this.pos;
        if (count > this.maxArgs)
          throw this.error('TOO_LONG', pos, `a command of ${count} arguments, at most ${this.maxArgs} are accepted`);
        if (count > 0) {
          this.want = count;
          this.found = 0;
        } else {
          this.skipTo(pos); // *0 and *-1: Redis ignores them too
        }
      } else if (first === LF) {
        this.skipTo(++pos);
      } else if (first === CR && pos + 1 < limit && buf[pos + 1] === LF) {
        pos += 2;
        this.skipTo(pos);
      } else if (first === CR && pos + 1 === limit) {
        return false;
      } else {
        return this.inline();
      }
    }

    const want = this.want;
    let found = this.found;
    while (found < want) {
      if (pos >= limit) return this.pause(pos, found);
      if (buf[pos] !== DOLLAR)
        throw this.error(
          'EXPECTED_BULK',
          pos,
          `byte 0x${buf[pos]!.toString(16)} where argument ${found} of ${want} begins`,
        );
      // The length, read in place: this loop is the hot path.
      let p = pos + 1;
      let len = 0;
      let byte = 0;
      while (p < limit && (byte = buf[p]!) >= 48 && byte <= 57 && p - pos <= LENGTH_DIGITS_MAX) {
        len = len * 10 + byte - 48;
        p++;
      }
      if (p + 1 >= limit) {
        if (p < limit && byte !== CR)
          throw this.error('BAD_LENGTH', p, `byte 0x${byte.toString(16)} in an argument's length`);
        if (p - pos > LENGTH_DIGITS_MAX)
          throw this.error('BAD_LENGTH', pos, 'an argument length of more than 11 digits');
        return this.pause(pos, found);
      }
      if (byte !== CR || buf[p + 1] !== LF || p === pos + 1) {
        throw this.error('BAD_LENGTH', p, `byte 0x${buf[p]!.toString(16)} in an argument's length`);
      }
      const from = p + 2;
      const to = from + len;
      if (to - this.head > this.maxCommandBytes) {
        throw this.error(
          'TOO_LONG',
          pos,
          `an argument of ${len} bytes; a command may have ${this.maxCommandBytes} bytes`,
        );
      }
      if (to + 2 > limit) {
        this.need = to + 2 - this.head;
        return this.pause(pos, found);
      }
      if (buf[to] !== CR || buf[to + 1] !== LF)
        throw this.error('EXPECTED_CRLF', to, `byte 0x${buf[to]!.toString(16)} after argument ${found}`);
      if (found >= this.argStart.length) this.growArgs();
      this.argStart[found] = from;
      this.argEnd[found] = to;
      found++;
      pos = to + 2;
    }

    this.done(pos, want);
    return true;
  }

  private done(pos: number, argc: number): void {
    this.start = this.head;
    this.end = pos;
    this.argc = argc;
    this.consumed += pos - this.head;
    this.head = this.pos = pos;
    this.want = this.found = this.need = 0;
  }

  private skipTo(pos: number): void {
    this.consumed += pos - this.head;
    this.head = this.pos = pos;
  }

  private pause(pos: number, found: number): false {
    this.pos = pos;
    this.found = found;
    return false;
  }

  /** The number after the type byte at `at`; moves `pos` behind its line end. */
  private length(at: number): number {
    const buf = this.buf;
    let p = at + 1;
    const negative = p < this.limit && buf[p] === 45;
    if (negative) p++;
    const digits = p;
    let value = 0;
    let byte = 0;
    while (p < this.limit && (byte = buf[p]!) >= 48 && byte <= 57 && p - digits < LENGTH_DIGITS_MAX) {
      value = value * 10 + byte - 48;
      p++;
    }
    if (p < this.limit && (byte !== CR || p === digits))
      throw this.error('BAD_LENGTH', p, `byte 0x${buf[p]!.toString(16)} in a length`);
    if (p + 1 >= this.limit) return INCOMPLETE;
    if (buf[p + 1] !== LF) throw this.error('BAD_LENGTH', p + 1, `byte 0x${buf[p + 1]!.toString(16)} in a length`);
    this.pos = p + 2;
    return negative ? 0 : value;
  }

  /** A line of words: what Redis calls an inline command. Quotes are not unpacked: no server sends any to a replica. */
  private inline(): boolean {
    const { buf, limit, head } = this;
    const found = buf.indexOf(LF, head);
    const isWhole = found >= 0 && found < limit;
    const lf = isWhole ? found : limit;
    // In one chunk as in many: what a stream says does not depend on how it was cut.
    if (lf - head > INLINE_BYTES_MAX)
      throw this.error('TOO_LONG', head, `no line end within ${INLINE_BYTES_MAX} bytes`);
    if (!isWhole) return false;
    // A line of text begins with a letter: anything else is a stream that lost its place.
    const first = buf[head]! | 32;
    if (first < 97 || first > 122)
      throw this.error('BAD_TYPE', head, `byte 0x${buf[head]!.toString(16)} where a command begins`);
    const stop = lf > head && buf[lf - 1] === CR ? lf - 1 : lf;
    let argc = 0;
    for (let p = head; p < stop;) {
      while (p < stop && buf[p] === SPACE) p++;
      if (p >= stop) break;
      const from = p;
      while (p < stop && buf[p] !== SPACE) p++;
      if (argc >= this.argStart.length) this.growArgs();
      this.argStart[argc] = from;
      this.argEnd[argc] = p;
      argc++;
    }
    this.done(lf + 1, argc);
    return true;
  }

  private growArgs(): void {
    const size = this.argStart.length * 2;
    const starts = new Int32Array(size);
    const ends = new Int32Array(size);
    starts.set(this.argStart);
    ends.set(this.argEnd);
    this.argStart = starts;
    this.argEnd = ends;
  }

  private error(code: ProtocolError['code'], at: number, detail: string): ProtocolError {
    return new ProtocolError(code, this.consumed + at - this.head, detail);
  }
}

const INCOMPLETE = -1;
