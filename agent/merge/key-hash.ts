/**
 * Hashes of keys: HalfSipHash-1-3 with a key of this process' own. Clients choose the keys, so that a hash which they
 * can foresee would let them turn every lookup into a search. https://github.com/veorq/SipHash (halfsiphash.c)
 */
import { randomBytes } from 'node:crypto';

const secret = randomBytes(8);
const K0 = secret.readInt32LE(0);
const K1 = secret.readInt32LE(4);

/**
 * The hash of the key at [start, end), a 32-bit integer. The round is written out twice: one loop for all of them takes
 * two to four times as long, and every SET is hashed.
 */
export function hashBytes(buf: Uint8Array, start: number, end: number): number {
  let v0 = K0;
  let v1 = K1;
  let v2 = 0x6c796765 ^ K0;
  let v3 = 0x74656462 ^ K1;
  const length = end - start;
  let at = start;
  for (const whole = end - (length & 3); at < whole; at += 4) {
    const word = buf[at]! | (buf[at + 1]! << 8) | (buf[at + 2]! << 16) | (buf[at + 3]! << 24);
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  let word = length << 24;
  for (let i = end - 1; i >= at; i--) word |= buf[i]! << ((i - at) * 8);
  v3 ^= word;
  for (let round = 0; round < 4; round++) {
    if (round === 1) {
      v0 ^= word;
      v2 ^= 0xff;
    }
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return v1 ^ v3;
}

let scratch = Buffer.allocUnsafe(1024);

/** The hash of a key given in Latin-1, the same as of its bytes. */
export function hashText(key: string): number {
  if (key.length > scratch.length) scratch = Buffer.allocUnsafe(key.length * 2);
  scratch.write(key, 0, 'latin1');
  return hashBytes(scratch, 0, key.length);
}
