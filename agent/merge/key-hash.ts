/**
 * Fingerprints of keys: HalfSipHash-1-3 with a key of this process' own. Clients choose the keys, so that a hash which they
 * can foresee would let them turn every lookup into a search, or one key into another.
 * https://github.com/veorq/SipHash (halfsiphash.c)
 *
 * The first word is the hash as published; the others are two more words of the state that it is made of, as mixed as that. Words of
 * the state are the same exactly where the whole state is: for keys that nobody chose by their hash, as often as 96 bits of chance
 * are. So a key is known by them, and its bytes need not be kept to be compared.
 */
import { randomBytes } from 'node:crypto';

let [K0, K1] = new Int32Array(Uint8Array.from(randomBytes(8)).buffer) as unknown as [number, number];

/**
 * Takes a key that is known instead of one by chance, so that what depends on it (in which order a run of the shelf has its keys, what a
 * filter takes for possible) is the same each time. For simulations: whatever was hashed before is not found any more.
 */
export function setHashKey(k0: number, k1: number): void {
  K0 = k0 | 0;
  K1 = k1 | 0;
}

/** 32-bit words of a fingerprint. The first is the key's hash whatever its database; with the last the database is mixed in. */
export const FINGERPRINT_WORDS = 3;

/**
 * Writes the fingerprint of the key at [start, end) into `out` from `at` on. The round is written out twice: one loop for all of
 * them takes two to four times as long, and every SET is hashed.
 */
export function fingerprint(
  db: number,
  buf: Uint8Array,
  start: number,
  end: number,
  out: Int32Array,
  at: number,
): void {
  let v0 = K0;
  let v1 = K1;
  let v2 = 0x6c796765 ^ K0;
  let v3 = 0x74656462 ^ K1;
  const length = end - start;
  let p = start;
  for (const whole = end - (length & 3); p < whole; p += 4) {
    const word = buf[p]! | (buf[p + 1]! << 8) | (buf[p + 2]! << 16) | (buf[p + 3]! << 24);
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
  for (let i = end - 1; i >= p; i--) word |= buf[i]! << ((i - p) * 8);
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
  out[at] = v1 ^ v3;
  out[at + 1] = v0;
  out[at + 2] = v2 ^ Math.imul(db, 0x9e3779b1);
}

/**
 * A short hash of the key at [start, end), for filters and the first look into a table: a fifth of the time of a fingerprint (the mixing is
 * MurmurHash3's, from a start of this process' own). Nothing may rest on two keys not having the same one.
 */
export function quickHash(space: number, buf: Uint8Array, start: number, end: number): number {
  let hash = K1 ^ Math.imul(space, 0x9e3779b1) ^ (end - start);
  let p = start;
  for (; p + 4 <= end; p += 4) {
    const word = Math.imul(buf[p]! | (buf[p + 1]! << 8) | (buf[p + 2]! << 16) | (buf[p + 3]! << 24), 0xcc9e2d51);
    hash ^= Math.imul((word << 15) | (word >>> 17), 0x1b873593);
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (; p < end; p++) rest = (rest << 8) | buf[p]!;
  rest = Math.imul(rest, 0xcc9e2d51);
  hash ^= Math.imul((rest << 15) | (rest >>> 17), 0x1b873593);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

let scratch = Buffer.allocUnsafe(1024);

/** The fingerprint of a key given in Latin-1, the same as of its bytes. */
export function fingerprintOfText(db: number, key: string, out: Int32Array): void {
  if (key.length > scratch.length) scratch = Buffer.allocUnsafe(key.length * 2);
  scratch.write(key, 0, 'latin1');
  fingerprint(db, scratch, 0, key.length, out, 0);
}
