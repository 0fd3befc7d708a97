/** RDB's primitives over bytes that may not have come yet. */
import { LZF_EXPANSION_MAX, unpackLzf } from './lzf';
import { RdbError } from './types';

/**
 * Thrown, without a stack, when the bytes at hand end: the step is taken again from `mark` once there are more. It happens about once a chunk; so the parser can be
 * written as if all bytes were there.
 */
export const NEED_MORE = Symbol('more bytes needed');

export class Cursor {
  buf: Buffer = Buffer.alloc(0);
  pos = 0;
  /** One past the last byte at hand. */
  limit = 0;
  /** Where the step in progress began: everything before it is done with. */
  mark = 0;
  /** After NEED_MORE: the step can't succeed with fewer bytes from `mark`. */
  want = 0;
  /** After `len`: whether the number names an encoding of a string. */
  encoded = false;
  /** Position of buf[0] in the RDB. */
  base = 0;

  constructor(private readonly stringBytesMax: number) {}

  error(code: RdbError['code'], detail: string): RdbError {
    return new RdbError(code, detail, this.base + this.pos);
  }

  /** Moves over `n` bytes that must be there; returns where they begin. */
  skip(n: number): number {
    const from = this.pos;
    if (from + n > this.limit) {
      this.want = from + n - this.mark;
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- a signal, not an error: no stack to build
      throw NEED_MORE;
    }
    this.pos = from + n;
    return from;
  }

  byte(): number {
    return this.buf[this.skip(1)]!;
  }

  /** A length, a count or another unsigned number (rdbLoadLen); bigint beyond 2^53. */
  number(): number | bigint {
    const first = this.buf[this.skip(1)]!;
    this.encoded = false;
    switch (first >> 6) {
      case 0:
        return first;
      case 1:
        return ((first & 63) << 8) | this.buf[this.skip(1)]!;
      case 3:
        this.encoded = true;
        return first & 63;
      default:
        if (first === 0x80) return this.buf.readUInt32BE(this.skip(4));
        if (first === 0x81) {
          const at = this.skip(8);
          const high = this.buf.readUInt32BE(at);
          if (high < 0x200000) return high * 4294967296 + this.buf.readUInt32BE(at + 4);
          return this.buf.readBigUInt64BE(at);
        }
        throw this.error('CORRUPT', `length byte 0x${first.toString(16)}`);
    }
  }

  /** A count or length, which may not be an encoding. */
  count(): number {
    const n = this.number();
    if (this.encoded) throw this.error('CORRUPT', 'an encoding where a count should be');
    if (typeof n === 'bigint') throw this.error('TOO_BIG', `a count of ${n}`);
    return n;
  }

  /** A string. Plain ones are views of the buffer, which is never written again. */
  string(): Buffer {
    const n = this.number();
    if (!this.encoded) {
      if (typeof n === 'bigint' || n > this.stringBytesMax) throw this.tooLong(n);
      const from = this.skip(n);
      return this.buf.subarray(from, from + n);
    }
    switch (n) {
      case 0:
        return Buffer.from(String((this.byte() << 24) >> 24), 'latin1');
      case 1:
        return Buffer.from(String(this.buf.readInt16LE(this.skip(2))), 'latin1');
      case 2:
        return Buffer.from(String(this.buf.readInt32LE(this.skip(4))), 'latin1');
      case 3: {
        const packed = this.count();
        const size = this.count();
        if (packed > this.stringBytesMax || size > this.stringBytesMax) throw this.tooLong(Math.max(packed, size));
        if (size > packed * LZF_EXPANSION_MAX) {
          throw this.error('CORRUPT', `${packed} bytes of LZF can't hold ${size}`);
        }
        const from = this.skip(packed);
        return unpackLzf(this.buf, from, from + packed, size, this.base + from);
      }
      default:
        throw this.error('CORRUPT', `string encoding ${n}`);
    }
  }

  /** Like `string`, without making the value. */
  skipString(): void {
    const n = this.number();
    if (!this.encoded) {
      if (typeof n === 'bigint' || n > this.stringBytesMax) throw this.tooLong(n);
      this.skip(n);
    } else if (n === 3) {
      const packed = this.count();
      this.count();
      if (packed > this.stringBytesMax) throw this.tooLong(packed);
      this.skip(packed);
    } else if (typeof n === 'number' && n < 3) this.skip(1 << n);
    else throw this.error('CORRUPT', `string encoding ${n}`);
  }

  private tooLong(n: number | bigint): RdbError {
    return this.error('TOO_BIG', `a string of ${n} bytes, at most ${this.stringBytesMax} are accepted`);
  }

  /** 8 bytes, signed, little endian, as a number: a time in ms. */
  millis(): number {
    const at = this.skip(8);
    return this.buf.readInt32LE(at + 4) * 4294967296 + this.buf.readUInt32LE(at);
  }

  double(): number {
    return this.buf.readDoubleLE(this.skip(8));
  }

  /** Moves over what a module wrote, up to and with its end mark (rdbLoadCheckModuleValue). */
  skipModuleFields(): void {
    for (;;) {
      switch (this.count()) {
        case 0:
          return;
        case 1: // signed
        case 2: // unsigned
          this.number();
          break;
        case 3: // float
          this.skip(4);
          break;
        case 4: // double
          this.skip(8);
          break;
        case 5:
          this.skipString();
          break;
        default:
          throw this.error('CORRUPT', 'an unknown field of a module');
      }
    }
  }
}
