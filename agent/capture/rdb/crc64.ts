/**
 * CRC-64 as Redis uses it for RDB files and DUMP payloads: polynomial 0xad93d23594c935a9, reflected, no inversions
 * (redis/src/crc64.c; "Jones" variant). JavaScript has no 64-bit integers that are fast, so a sum is two 32-bit halves.
 */

/** 8 tables of 256 entries: eight bytes a step ("slicing by 8"). Low and high halves apart. */
const LOW = new Int32Array(8 * 256);
const HIGH = new Int32Array(8 * 256);

(function fill() {
  // 0xad93d23594c935a9, bit-reversed: 0x95ac9329ac4bc9b5
  const polyHigh = 0x95ac9329 | 0;
  const polyLow = 0xac4bc9b5 | 0;
  for (let n = 0; n < 256; n++) {
    let low = n;
    let high = 0;
    for (let bit = 0; bit < 8; bit++) {
      const odd = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (odd !== 0) {
        low ^= polyLow;
        high ^= polyHigh;
      }
    }
    LOW[n] = low;
    HIGH[n] = high;
  }
  for (let n = 0; n < 256; n++) {
    let low = LOW[n]!;
    let high = HIGH[n]!;
    for (let k = 1; k < 8; k++) {
      const index = low & 255;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index]!;
      high = (high >>> 8) ^ HIGH[index]!;
      LOW[k * 256 + n] = low;
      HIGH[k * 256 + n] = high;
    }
  }
})();

/** A running sum: `update` over the bytes in order, then compare with `matches`. */
export class Crc64 {
  private low = 0;
  private high = 0;

  /** Adds `buf[start, end)`. */
  update(buf: Buffer, start = 0, end = buf.length): this {
    let low = this.low;
    let high = this.high;
    let at = start;
    const stop = end - 7;
    while (at < stop) {
      low ^= buf[at]! | (buf[at + 1]! << 8) | (buf[at + 2]! << 16) | (buf[at + 3]! << 24);
      high ^= buf[at + 4]! | (buf[at + 5]! << 8) | (buf[at + 6]! << 16) | (buf[at + 7]! << 24);
      const i0 = 1792 + (low & 255);
      const i1 = 1536 + ((low >>> 8) & 255);
      const i2 = 1280 + ((low >>> 16) & 255);
      const i3 = 1024 + (low >>> 24);
      const i4 = 768 + (high & 255);
      const i5 = 512 + ((high >>> 8) & 255);
      const i6 = 256 + ((high >>> 16) & 255);
      const i7 = high >>> 24;
      low = LOW[i0]! ^ LOW[i1]! ^ LOW[i2]! ^ LOW[i3]! ^ LOW[i4]! ^ LOW[i5]! ^ LOW[i6]! ^ LOW[i7]!;
      high = HIGH[i0]! ^ HIGH[i1]! ^ HIGH[i2]! ^ HIGH[i3]! ^ HIGH[i4]! ^ HIGH[i5]! ^ HIGH[i6]! ^ HIGH[i7]!;
      at += 8;
    }
    for (; at < end; at++) {
      const index = (low ^ buf[at]!) & 255;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index]!;
      high = (high >>> 8) ^ HIGH[index]!;
    }
    this.low = low;
    this.high = high;
    return this;
  }

  /** Whether the 8 bytes at `at`, little endian, are this sum. */
  matches(buf: Buffer, at: number): boolean {
    return buf.readInt32LE(at) === this.low && buf.readInt32LE(at + 4) === this.high;
  }

  /** The sum's 8 bytes, little endian. */
  digest(): Buffer {
    const out = Buffer.allocUnsafe(8);
    out.writeInt32LE(this.low, 0);
    out.writeInt32LE(this.high, 4);
    return out;
  }
}
