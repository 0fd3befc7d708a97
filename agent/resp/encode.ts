/** Commands as bytes: RESP arrays of bulk strings, the one form that every Redis and Valkey reads. */

/** An argument. Numbers are written in JavaScript's decimal form: for integers only up to 2^53, else pass a string. */
export type Arg = Buffer | string | number;

const CRLF = 0x0d0a;
const INITIAL_BYTES = 16 * 1024;
/** Room for what comes between staged pieces and is longer than what was there. */
const STAGE_GAP_BYTES = 256;

/** One command as RESP. Strings are UTF-8. */
export function encodeCommand(args: readonly Arg[]): Buffer {
  const writer = new CommandWriter(64 + args.length * 32);
  writer.command(args);
  return writer.take();
}

/**
 * A growing buffer of commands, for a pipeline or a transaction.
 *
 * `take` hands the bytes over (the writer starts afresh), `view` shows them, `reset` drops them and keeps the memory.
 */
export class CommandWriter {
  /** Bytes written so far. */
  length = 0;
  /** Commands written with `command` or begun with `header`; raw bytes count with `raw`'s argument. */
  commands = 0;
  private buf: Buffer;
  private size: number;
  /** What `stage` has copied behind the content, and where its first byte is (or would be). */
  private staged: Buffer | null = null;
  private stagedFrom = 0;
  private stagedAt = 0;
  /** How far the content reached since then, where it has become shorter again. */
  private reached = 0;

  constructor(initialBytes = INITIAL_BYTES) {
    this.size = Math.max(64, initialBytes);
    this.buf = Buffer.allocUnsafe(this.size);
  }

  /** Appends a complete command. */
  command(args: readonly Arg[]): this {
    this.header(args.length);
    for (let i = 0; i < args.length; i++) this.arg(args[i] as Arg);
    return this;
  }

  /** Begins a command of `argc` arguments; exactly so many `arg` or `slice` calls must follow. */
  header(argc: number): this {
    this.room(16);
    this.buf[this.length++] = 42;
    this.decimal(argc);
    this.commands++;
    return this;
  }

  /** Appends one argument of the command begun. */
  arg(value: Arg): this {
    if (typeof value === 'string') return this.text(value);
    if (typeof value === 'number') return this.text(String(value));
    return this.slice(value, 0, value.length);
  }

  /** Appends `source[start, end)` as one argument. */
  slice(source: Buffer, start: number, end: number): this {
    const len = end - start;
    this.room(len + 24);
    this.buf[this.length++] = 36;
    this.decimal(len);
    source.copy(this.buf, this.length, start, end);
    this.length += len;
    this.crlf();
    return this;
  }

  /** Appends bytes that are RESP already, `commands` commands of it. */
  raw(source: Buffer, start = 0, end = source.length, commands = 1): this {
    this.room(end - start);
    source.copy(this.buf, this.length, start, end);
    this.length += end - start;
    this.commands += commands;
    return this;
  }

  /** Appends bytes that are a part of a command: of arguments that were encoded elsewhere. */
  append(source: Buffer, start: number, end: number): this {
    const from = this.stagedAt + start;
    // Nothing was written yet where the bytes are staged. What is overwritten now comes before them, or is they.
    if (source === this.staged && start >= this.stagedFrom && this.length <= from && this.reached <= from)
      this.buf.copyWithin(this.length, from, this.stagedAt + end);
    else {
      this.room(end - start);
      source.copy(this.buf, this.length, start, end);
    }
    this.length += end - start;
    return this;
  }

  /**
   * Makes ready for many small pieces of `source` from `start` on, to be appended in order: they are copied here in one go,
   * and then moved within this buffer. A copy between buffers makes an object each time, and takes three times as long.
   */
  stage(source: Buffer, start: number): void {
    if (source === this.staged) return;
    this.room(STAGE_GAP_BYTES + source.length - start);
    this.stagedAt = this.length + STAGE_GAP_BYTES - start;
    source.copy(this.buf, this.length + STAGE_GAP_BYTES, start);
    this.staged = source;
    this.stagedFrom = start;
    this.reached = 0;
  }

  /** Puts `head` in the place of the `bytes` bytes at `at`; it is not longer than they are. */
  replaceHead(at: number, bytes: number, head: Buffer): void {
    const shift = bytes - head.length;
    if (shift > 0) {
      this.buf.copyWithin(at + head.length, at + bytes, this.length);
      this.rewind(this.length - shift, this.commands);
    }
    head.copy(this.buf, at);
  }

  /** Drops what was appended since the content was so long. */
  rewind(length: number, commands: number): void {
    this.reached = Math.max(this.reached, this.length);
    this.length = length;
    this.commands = commands;
  }

  /** The bytes, which are now the caller's; the writer is empty and goes on in new memory. */
  take(): Buffer {
    // A small content of a big buffer is copied out, so that a queued write doesn't pin the memory of a peak.
    if (this.length < this.buf.length >> 2) {
      const copy = Buffer.from(this.buf.subarray(0, this.length));
      this.reset();
      return copy;
    }
    const taken = this.buf.subarray(0, this.length);
    this.staged = null;
    this.buf = Buffer.allocUnsafe(Math.min(this.buf.length, Math.max(this.size, 64)));
    this.length = 0;
    this.commands = 0;
    return taken;
  }

  /** The bytes so far, valid until the next call that writes. */
  view(): Buffer {
    return this.buf.subarray(0, this.length);
  }

  /** Bytes of memory that it holds. */
  get capacity(): number {
    return this.buf.length;
  }

  /** Drops the content. */
  reset(): void {
    this.staged = null;
    this.length = 0;
    this.commands = 0;
  }

  private text(value: string): this {
    // Up to 3 bytes a UTF-16 unit. Short ASCII, the usual case, is written by hand: a call into C++ costs more than the copy.
    const units = value.length;
    this.room(units * 3 + 24);
    const buf = this.buf;
    if (units <= 24) {
      const mark = this.length;
      buf[this.length++] = 36;
      this.decimal(units);
      let at = this.length;
      let i = 0;
      for (; i < units; i++) {
        const unit = value.charCodeAt(i);
        if (unit > 127) break;
        buf[at++] = unit;
      }
      if (i === units) {
        this.length = at;
        this.crlf();
        return this;
      }
      this.length = mark;
    }
    const len = Buffer.byteLength(value);
    buf[this.length++] = 36;
    this.decimal(len);
    this.length += buf.write(value, this.length);
    this.crlf();
    return this;
  }

  /** A non-negative integer and CRLF. */
  private decimal(n: number): void {
    const buf = this.buf;
    let at = this.length;
    if (n < 10) buf[at++] = 48 + n;
    else if (n < 100) {
      const tens = (n / 10) | 0;
      buf[at++] = 48 + tens;
      buf[at++] = 48 + n - tens * 10;
    } else {
      const text = String(n);
      for (let i = 0; i < text.length; i++) buf[at++] = text.charCodeAt(i);
    }
    this.length = at;
    this.crlf();
  }

  private crlf(): void {
    this.buf[this.length] = CRLF >> 8;
    this.buf[this.length + 1] = CRLF & 255;
    this.length += 2;
  }

  private room(bytes: number): void {
    const wanted = this.length + bytes;
    if (wanted <= this.buf.length) return;
    const grown = Buffer.allocUnsafe(
      Math.max(wanted, Math.min(this.buf.length * 2, this.buf.length + 64 * 1024 * 1024)),
    );
    this.buf.copy(grown, 0, 0, this.length);
    this.buf = grown;
    this.staged = null;
  }
}
