/** Small collections that Redis keeps, and writes, as one string: listpack, ziplist, intset, zipmap. */
import { RdbError } from './types';

function corrupt(what: string, at: number): RdbError {
  return new RdbError('CORRUPT', what, at);
}

/** Text of a 64-bit integer, little endian. */
function int64Text(buf: Buffer, at: number): string {
  const high = buf.readInt32LE(at + 4);
  const low = buf.readUInt32LE(at);
  const value = high * 4294967296 + low;
  return Number.isSafeInteger(value) ? String(value) : buf.readBigInt64LE(at).toString();
}

/**
 * Walks a listpack (redis/src/listpack.c). `next` reads one element: either `from`/`to`, a string's range, or an integer in `text`.
 * Every step is checked against the buffer's end.
 */
export class Listpack {
  private pos = 6;
  /** Range of a string element; from = −1: an integer. */
  from = -1;
  to = 0;
  /** Value of an integer element that is exact as a number, else NaN and `bigText`. */
  int = 0;
  bigText = '';

  /** @param at position in the RDB, for errors */
  constructor(
    readonly buf: Buffer,
    private readonly at: number,
  ) {
    if (buf.length < 7 || buf.readUInt32LE(0) !== buf.length || buf[buf.length - 1] !== 255) {
      throw corrupt('a listpack whose length is wrong', at);
    }
  }

  get done(): boolean {
    return this.buf[this.pos] === 255;
  }

  next(): void {
    const { buf } = this;
    const p = this.pos;
    const end = buf.length - 1;
    if (p >= end) throw corrupt('a listpack without an end', this.at);
    const byte = buf[p]!;
    let size: number; // header and content, without the length behind it
    this.from = -1;
    if (byte < 0x80) {
      this.int = byte;
      size = 1;
    } else if (byte < 0xc0) {
      this.from = p + 1;
      size = 1 + (byte & 63);
    } else if (p + 9 > buf.length && byte !== 0xf0 && !(byte < 0xf4 && p + 5 <= end)) {
      // Near the end: only what fits may be read.
      if (byte < 0xe0 && p + 2 <= end) {
        const v = ((byte & 31) << 8) | buf[p + 1]!;
        this.int = v >= 4096 ? v - 8192 : v;
        size = 2;
      } else if (byte < 0xf0 && p + 2 <= end) {
        this.from = p + 2;
        size = 2 + (((byte & 15) << 8) | buf[p + 1]!);
      } else if (byte === 0xf1 && p + 3 <= end) {
        this.int = buf.readInt16LE(p + 1);
        size = 3;
      } else if (byte === 0xf2 && p + 4 <= end) {
        this.int = buf.readIntLE(p + 1, 3);
        size = 4;
      } else throw corrupt('a listpack element beyond the end', this.at);
    } else if (byte < 0xe0) {
      const v = ((byte & 31) << 8) | buf[p + 1]!;
      this.int = v >= 4096 ? v - 8192 : v;
      size = 2;
    } else if (byte < 0xf0) {
      this.from = p + 2;
      size = 2 + (((byte & 15) << 8) | buf[p + 1]!);
    } else {
      switch (byte) {
        case 0xf0:
          if (p + 5 > end) throw corrupt('a listpack element beyond the end', this.at);
          this.from = p + 5;
          size = 5 + buf.readUInt32LE(p + 1);
          break;
        case 0xf1:
          this.int = buf.readInt16LE(p + 1);
          size = 3;
          break;
        case 0xf2:
          this.int = buf.readIntLE(p + 1, 3);
          size = 4;
          break;
        case 0xf3:
          this.int = buf.readInt32LE(p + 1);
          size = 5;
          break;
        case 0xf4:
          this.bigText = int64Text(buf, p + 1);
          this.int = Number(this.bigText);
          if (!Number.isSafeInteger(this.int)) this.int = NaN;
          size = 9;
          break;
        default:
          throw corrupt(`listpack byte 0x${byte.toString(16)}`, this.at);
      }
    }
    this.to = p + size;
    this.pos = p + size + (size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5);
    if (this.pos > end) throw corrupt('a listpack element beyond the end', this.at);
  }

  /** The element as Redis would show it; strings are views. */
  value(): Buffer {
    if (this.from >= 0) return this.buf.subarray(this.from, this.to);
    return Buffer.from(this.int === this.int ? String(this.int) : this.bigText, 'latin1');
  }

  /** Reads the next element, an integer exact as a number. */
  nextInt(): number {
    this.next();
    if (this.from >= 0 || this.int !== this.int) throw corrupt('no small integer where a listpack needs one', this.at);
    return this.int;
  }

  /** Reads the next element, an integer of up to 64 bits. */
  nextBig(): number | bigint {
    this.next();
    if (this.from >= 0) throw corrupt('no integer where a listpack needs one', this.at);
    return this.int === this.int ? this.int : BigInt(this.bigText);
  }

  nextValue(): Buffer {
    this.next();
    return this.value();
  }
}

/** All elements of a listpack. */
export function listpackItems(buf: Buffer, at: number): Buffer[] {
  const pack = new Listpack(buf, at);
  const items: Buffer[] = [];
  while (!pack.done) items.push(pack.nextValue());
  return items;
}

/** All elements of a ziplist (redis/src/ziplist.c), the listpack's elder. */
export function ziplistItems(buf: Buffer, at: number): Buffer[] {
  const end = buf.length - 1;
  if (buf.length < 11 || buf.readUInt32LE(0) !== buf.length || buf[end] !== 255) {
    throw corrupt('a ziplist whose length is wrong', at);
  }
  const items: Buffer[] = [];
  let p = 10;
  while (p < end) {
    p += buf[p]! < 254 ? 1 : 5; // length of the element before
    if (p >= end) throw corrupt('a ziplist element beyond the end', at);
    const byte = buf[p]!;
    const kind = byte >> 6;
    let from: number;
    let length: number;
    if (kind < 3) {
      if (kind === 0) {
        length = byte & 63;
        from = p + 1;
      } else if (kind === 1) {
        length = ((byte & 63) << 8) | buf[p + 1]!;
        from = p + 2;
      } else {
        if (p + 5 > end) throw corrupt('a ziplist element beyond the end', at);
        length = buf.readUInt32BE(p + 1);
        from = p + 5;
      }
      p = from + length;
      if (p > end) throw corrupt('a ziplist element beyond the end', at);
      items.push(buf.subarray(from, p));
      continue;
    }
    const size = byte === 0xc0 ? 2 : byte === 0xd0 ? 4 : byte === 0xe0 ? 8 : byte === 0xf0 ? 3 : byte === 0xfe ? 1 : 0;
    if (p + 1 + size > end) throw corrupt('a ziplist element beyond the end', at);
    let text: string;
    if (size === 8) text = int64Text(buf, p + 1);
    else if (size > 0) text = String(buf.readIntLE(p + 1, size));
    else if (byte >= 0xf1 && byte <= 0xfd) text = String((byte & 15) - 1);
    else throw corrupt(`ziplist byte 0x${byte.toString(16)}`, at);
    items.push(Buffer.from(text, 'latin1'));
    p += 1 + size;
  }
  return items;
}

/** All members of an intset (redis/src/intset.c). */
export function intsetItems(buf: Buffer, at: number): Buffer[] {
  if (buf.length < 8) throw corrupt('an intset without a header', at);
  const size = buf.readUInt32LE(0);
  const count = buf.readUInt32LE(4);
  if ((size !== 2 && size !== 4 && size !== 8) || buf.length !== 8 + count * size) {
    throw corrupt('an intset whose length is wrong', at);
  }
  const items: Buffer[] = [];
  for (let p = 8; p < buf.length; p += size) {
    items.push(Buffer.from(size === 8 ? int64Text(buf, p) : String(buf.readIntLE(p, size)), 'latin1'));
  }
  return items;
}

/** Fields and values in turn of a zipmap (redis/src/zipmap.c): hashes of Redis 2.4, still legal in an RDB. */
export function zipmapItems(buf: Buffer, at: number): Buffer[] {
  const items: Buffer[] = [];
  let p = 1;
  const end = buf.length - 1;
  if (buf.length < 2 || buf[end] !== 255) throw corrupt('a zipmap without an end', at);
  while (p < end) {
    let length = buf[p]!;
    p++;
    if (length === 255) throw corrupt('a zipmap that goes on behind its end', at);
    if (length === 254) {
      if (p + 4 > end) throw corrupt('a zipmap element beyond the end', at);
      length = buf.readUInt32LE(p);
      p += 4;
    }
    const isValue = items.length % 2 === 1;
    const free = isValue ? buf[p++]! : 0;
    if (p + length + free > end) throw corrupt('a zipmap element beyond the end', at);
    items.push(buf.subarray(p, p + length));
    p += length + free;
  }
  if (items.length % 2 !== 0) throw corrupt('a zipmap with a field that has no value', at);
  return items;
}
