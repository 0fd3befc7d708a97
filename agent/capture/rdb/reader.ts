/** An RDB as entries, while its bytes arrive. https://rdb.fnordig.de/ is the readable description; redis/src/rdb.c is the exact one. */
import { Crc64 } from './crc64';
import { Cursor, NEED_MORE } from './cursor';
import {
  type RdbEntry,
  type RdbKey,
  type RdbKeyType,
  RdbError,
  RdbOpcode,
  type RdbValue,
  VALKEY_RDB_VERSION,
} from './types';
import { type PartLimits, ValueReader } from './value';

export interface RdbReaderOptions {
  /** The longest string accepted, in bytes; a longer one is TOO_BIG before it is allocated. Default 1 GiB (Redis: 512 MB unless configured). */
  stringBytesMax?: number;
  /** A collection is handed on in parts of about so many elements, or so many bytes. Defaults 65,536 and 8 MiB. `Infinity`: always whole. */
  partElements?: number;
  partBytes?: number;
  /** `raw` of a key is there up to so many bytes. Default 64 KiB. */
  rawBytesMax?: number;
  /** Check the CRC-64. Default true; costs about a second per GB. */
  checksum?: boolean;
}

/** A key's entry. `raw` is a view that is made only when asked for: most readers don't. */
class KeyEntry {
  readonly kind = 'key';
  constructor(
    readonly db: number,
    readonly key: Buffer,
    readonly type: RdbKeyType,
    readonly expireAtMs: number | null,
    readonly value: RdbValue,
    readonly rdbType: number,
    readonly rdbVersion: number,
    readonly part: number,
    readonly last: boolean,
    private readonly window: Buffer | null,
    private readonly rawStart: number,
    private readonly rawEnd: number,
  ) {}

  get raw(): Buffer | null {
    return this.window === null ? null : this.window.subarray(this.rawStart, this.rawEnd);
  }
}

/**
 * Pull parser: `push` chunks of any size, `next` until it is null, `end` after the last chunk. Buffers in entries are views of the chunks' memory and stay valid; copy what is
 * kept for long, or it keeps a whole chunk. Memory: one string, or one part of a collection, and the chunk at hand.
 *
 * @throws RdbError from `next`
 */
export class RdbReader {
  private readonly c: Cursor;
  private readonly value = new ValueReader();
  private readonly limits: PartLimits;
  private readonly rawBytesMax: number;
  private readonly crc: Crc64 | null;
  /** Up to where `crc` has gone, in the cursor's buffer. */
  private summed = 0;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  /** The step in progress can't succeed with fewer of them; 0: not known to need any. */
  private missing = 0;
  private state: 'magic' | 'opcode' | 'value' | 'checksum' | 'done' = 'magic';
  private ended = false;
  private version = 0;
  private valkey = false;
  private db = 0;
  private expireAtMs: number | null = null;
  /** The key whose value is being read. */
  private key: Buffer = Buffer.alloc(0);
  private rdbType = 0;
  private part = 0;
  /** As of ValueReader: what modules and slot imports write outside of values. */
  private isBulkStep = false;
  /** Where its value begins in the cursor's buffer; −1: no longer there. */
  private valueStart = -1;

  constructor(opts: RdbReaderOptions = {}) {
    this.c = new Cursor(opts.stringBytesMax ?? 1024 ** 3);
    this.limits = { elements: opts.partElements ?? 65_536, bytes: opts.partBytes ?? 8 * 1024 * 1024 };
    this.rawBytesMax = opts.rawBytesMax ?? 64 * 1024;
    this.crc = opts.checksum === false ? null : new Crc64();
  }

  /** Version in the magic, once read: 9–15 Redis, 80 and on Valkey. */
  get rdbVersion(): number {
    return this.version;
  }

  /** Bytes of the RDB that have been read and are done with. */
  get consumed(): number {
    return this.c.base + this.c.mark;
  }

  /** Appends a chunk, which must not be written any more. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.waiting.push(chunk);
    this.waitingBytes += chunk.length;
  }

  /** No more chunks will come. */
  end(): void {
    this.ended = true;
  }

  /** The next entry; null: push more, or (after the entry of kind 'end') that is all. */
  next(): RdbEntry | null {
    const { c } = this;
    for (;;) {
      if (this.state === 'done') return null;
      if (this.missing > 0) {
        // Not tried again before it can go on: each chunk of a long step would begin at its first byte.
        if (this.waitingBytes < this.missing && !this.ended) return null;
        if (this.waitingBytes === 0) {
          throw new RdbError('TRUNCATED', `it ends within ${this.state}`, c.base + c.limit);
        }
        this.join();
        this.missing = 0;
      }
      try {
        const entry = this.step();
        if (entry !== null) return entry;
      } catch (error) {
        if (error !== NEED_MORE) throw error;
        if (this.state === 'value' ? this.value.bulkStep : this.isBulkStep)
          c.want = Math.max(c.want, 2 * (c.limit - c.mark));
        c.pos = c.mark;
        this.missing = Math.max(1, c.want - (c.limit - c.mark));
      }
    }
  }

  /** Bytes behind the RDB's end that were pushed: empty unless the caller pushed too much. */
  rest(): Buffer {
    return Buffer.concat([this.c.buf.subarray(this.c.mark, this.c.limit), ...this.waiting]);
  }

  /** Makes one buffer of what is unread and what waits. It is a new one each time: entries hold views of the old. */
  private join(): void {
    const { c } = this;
    this.sum(c.mark);
    let keep = c.mark;
    if (this.valueStart >= 0) {
      if (c.mark - this.valueStart <= this.rawBytesMax && this.state === 'value') keep = this.valueStart;
      else this.valueStart = -1;
    }
    const unread = c.buf.subarray(keep, c.limit);
    let taken = this.waiting;
    const missing = Math.max(c.want - (c.limit - c.mark), 1);
    // Take the chunks that are needed, or up to a good size, not a whole backlog: what waits is not copied twice.
    if (this.waitingBytes > 4 * 1024 * 1024 && this.waiting.length > 1) {
      let bytes = 0;
      let n = 0;
      while (n < this.waiting.length && (bytes < missing || bytes < 1024 * 1024)) {
        bytes += (this.waiting[n] as Buffer).length;
        n++;
      }
      taken = this.waiting.slice(0, n);
      this.waiting = this.waiting.slice(n);
      this.waitingBytes -= bytes;
    } else {
      this.waiting = [];
      this.waitingBytes = 0;
    }
    c.buf = unread.length === 0 && taken.length === 1 ? (taken[0] as Buffer) : Buffer.concat([unread, ...taken]);
    c.base += keep;
    c.limit = c.buf.length;
    c.mark -= keep;
    c.pos = c.mark;
    this.summed -= keep;
    if (this.valueStart >= 0) this.valueStart -= keep;
  }

  private sum(upTo: number): void {
    if (this.crc === null || upTo <= this.summed) return;
    this.crc.update(this.c.buf, this.summed, upTo);
    this.summed = upTo;
  }

  /** One step; null where it gave no entry. */
  private step(): RdbEntry | null {
    const { c } = this;
    switch (this.state) {
      case 'opcode':
        return this.opcode();
      case 'value': {
        const complete = this.value.run(c, this.limits);
        return this.keyEntry(complete);
      }
      case 'magic':
        this.magic();
        return null;
      case 'checksum':
        return this.checksum();
      case 'done':
        return null;
    }
  }

  private keyEntry(last: boolean): RdbEntry {
    const { c } = this;
    const part = this.part;
    const kept = last && part === 0 && this.valueStart >= 0 && c.pos - this.valueStart <= this.rawBytesMax;
    const entry = new KeyEntry(
      this.db,
      this.key,
      this.value.type,
      this.expireAtMs,
      this.value.take(),
      this.rdbType,
      this.version,
      part,
      last,
      kept ? c.buf : null,
      this.valueStart,
      c.pos,
    );
    if (last) {
      this.state = 'opcode';
      this.expireAtMs = null;
      this.valueStart = -1;
      this.part = 0;
    } else {
      this.part++;
    }
    return entry as unknown as RdbKey;
  }

  private magic(): void {
    const { c } = this;
    const at = c.skip(9);
    const text = c.buf.toString('latin1', at, at + 9);
    const match = /^(?:REDIS(\d{4})|VALKEY(\d{3}))$/.exec(text);
    if (match === null) throw c.error('CORRUPT', 'it does not begin as an RDB');
    this.valkey = match[2] !== undefined;
    this.version = Number(match[1] ?? match[2]);
    // Before version 5 (Redis 2.6) there is no checksum; and no server that knows PSYNC2 writes it.
    if (this.version < 5 || (this.valkey && this.version < VALKEY_RDB_VERSION)) {
      throw c.error('UNSUPPORTED', `RDB version ${this.version}`);
    }
    this.state = 'opcode';
    c.mark = c.pos;
  }

  private opcode(): RdbEntry | null {
    const { c } = this;
    const op = c.byte();
    if (op < RdbOpcode.KEY_META_OR_SLOT_IMPORT) {
      const key = c.string();
      this.value.begin(c, op, this.version);
      this.key = key;
      this.rdbType = op;
      this.part = 0;
      this.valueStart = c.pos;
      this.state = 'value';
      c.mark = c.pos;
      return null;
    }
    let entry: RdbEntry | null = null;
    switch (op) {
      case RdbOpcode.EXPIRETIME_MS:
        this.expireAtMs = c.millis();
        break;
      case RdbOpcode.EXPIRETIME:
        this.expireAtMs = c.buf.readInt32LE(c.skip(4)) * 1000;
        break;
      case RdbOpcode.FREQ:
        c.skip(1);
        break;
      case RdbOpcode.IDLE:
        c.number();
        break;
      case RdbOpcode.SELECTDB:
        this.db = c.count();
        break;
      case RdbOpcode.RESIZEDB:
        c.number();
        c.number();
        break;
      case RdbOpcode.SLOT_INFO:
        c.number();
        c.number();
        c.number();
        break;
      case RdbOpcode.AUX: {
        const key = c.string().toString('latin1');
        entry = { kind: 'aux', key, value: c.string() };
        break;
      }
      case RdbOpcode.FUNCTION2:
        entry = { kind: 'function', library: c.string() };
        break;
      case RdbOpcode.FUNCTION_PRE_GA: {
        // 7.0 RC1 and RC2: name, engine, description, code. The released form begins with a line that names engine and library.
        const name = c.string().toString('latin1');
        const engine = c.string().toString('latin1').toLowerCase();
        if (c.count() !== 0) c.skipString();
        const code = c.string();
        entry = { kind: 'function', library: Buffer.concat([Buffer.from(`#!${engine} name=${name}\n`), code]) };
        break;
      }
      case RdbOpcode.MODULE_AUX:
        this.isBulkStep = true;
        c.number(); // module's ID
        c.skipModuleFields(); // the first field says when it is loaded
        break;
      case RdbOpcode.KEY_META_OR_SLOT_IMPORT:
        this.isBulkStep = true;
        if (this.valkey) {
          c.skipString(); // job
          for (let n = c.count(); n > 0; n--) {
            c.number();
            c.number();
          }
        } else {
          for (let n = c.count(); n > 0; n--) {
            c.skip(4);
            c.skipModuleFields();
          }
        }
        break;
      case RdbOpcode.EOF:
        this.sum(c.pos);
        this.state = 'checksum';
        break;
    }
    this.isBulkStep = false;
    c.mark = c.pos;
    return entry;
  }

  private checksum(): RdbEntry {
    const { c } = this;
    const at = c.skip(8);
    const none = c.buf.readInt32LE(at) === 0 && c.buf.readInt32LE(at + 4) === 0;
    const checksumOk = none || this.crc === null || this.crc.matches(c.buf, at);
    c.mark = c.pos;
    this.state = 'done';
    return { kind: 'end', checksumOk, rdbVersion: this.version };
  }
}

/** All entries of an RDB that comes in chunks. @throws RdbError */
export async function* readRdb(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  opts?: RdbReaderOptions,
): AsyncGenerator<RdbEntry, void, void> {
  const reader = new RdbReader(opts);
  for await (const chunk of chunks) {
    reader.push(chunk);
    for (let entry = reader.next(); entry !== null; entry = reader.next()) yield entry;
  }
  reader.end();
  for (let entry = reader.next(); entry !== null; entry = reader.next()) yield entry;
}
