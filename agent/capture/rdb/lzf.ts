import { RdbError } from './types';

/**
 * Unpacks LZF (redis/src/lzf_d.c): literal runs and back references.
 *
 * @param at position of `src` in the RDB, for errors
 * @throws RdbError CORRUPT when it doesn't give exactly `size` bytes
 */
export function unpackLzf(src: Buffer, start: number, end: number, size: number, at: number): Buffer {
  const out = Buffer.allocUnsafe(size);
  let i = start;
  let o = 0;
  while (i < end) {
    const control = src[i++]!;
    if (control < 32) {
      const length = control + 1;
      if (o + length > size || i + length > end) throw new RdbError('CORRUPT', 'LZF literal beyond the end', at);
      for (let n = 0; n < length; n++) out[o++] = src[i++]!;
      continue;
    }
    let length = control >> 5;
    if (length === 7) {
      if (i >= end) throw new RdbError('CORRUPT', 'LZF ends in a length', at);
      length += src[i++]!;
    }
    if (i >= end) throw new RdbError('CORRUPT', 'LZF ends in a reference', at);
    let from = o - ((control & 31) << 8) - src[i++]! - 1;
    length += 2;
    if (from < 0 || o + length > size) throw new RdbError('CORRUPT', 'LZF reference out of range', at);
    // Byte by byte: source and target may overlap, that is how runs are written.
    for (let n = 0; n < length; n++) out[o++] = out[from++]!;
  }
  if (o !== size) throw new RdbError('CORRUPT', `LZF gave ${o} bytes instead of ${size}`, at);
  return out;
}

/** No LZF input expands more: 3 bytes can stand for 264. A claim beyond is refused before it is allocated. */
export const LZF_EXPANSION_MAX = 88;
