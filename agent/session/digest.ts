/**
 * Digests of keys, by which two regions find where their snapshots differ: per key 29 bytes, whatever it holds.
 *
 * Integers are their own digest, so that what a counter gained can be told from the digests alone. 64-bit hashes of keys
 * and 53-bit digests of contents: among a hundred million keys one pair in 3,000 snapshots would collide.
 */
import type { RdbKey } from '../capture';
import { parseInteger } from '../merge/effects';

export interface KeyDigest {
  hashHigh: number;
  hashLow: number;
  /** Whether `value` is the integer that the string holds. */
  isInteger: boolean;
  value: number;
  /** Unix time in ms; 0 for none. */
  expireAtMs: number;
}

const BYTES = 29;
const mixA = 0x9e3779b1;
const mixB = 0x85ebca77;
let high = 0;
let low = 0;

function start(seed: number): void {
  high = seed ^ 0x2545f491;
  low = seed ^ 0x811c9dc5;
}

function add(bytes: Buffer): void {
  let a = high ^ bytes.length;
  let b = low + bytes.length;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b, 31) + byte;
  }
  high = finish(a, mixA);
  low = finish(b ^ a, mixB);
}

function finish(h: number, mix: number): number {
  h ^= h >>> 15;
  h = Math.imul(h, mix);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae3d);
  return h ^ (h >>> 16);
}

/** Takes the parts of a key's entries, in order; the last one gives the digest. */
export class Digester {
  private unordered = 0;
  private orderedHigh = 0;
  private orderedLow = 0;

  add(entry: RdbKey): KeyDigest | null {
    if (entry.part === 0) {
      this.unordered = 0;
      this.orderedHigh = 7;
      this.orderedLow = 11;
    }
    let integer: bigint | null = null;
    switch (entry.type) {
      case 'string':
        if (entry.value.length <= 16) integer = parseInteger(entry.value.toString('latin1'));
        this.ordered([entry.value]);
        break;
      case 'list':
        this.ordered(entry.value);
        break;
      case 'set':
        for (const member of entry.value) this.element(member, null, 0);
        break;
      case 'hash':
        for (const [field, value, expireAtMs] of entry.value) this.element(field, value, expireAtMs ?? 0);
        break;
      case 'zset':
        for (const [member, score] of entry.value) this.element(member, Buffer.from(score), 0);
        break;
      case 'stream':
        this.ordered([
          Buffer.from(JSON.stringify(entry.value, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))),
        ]);
        break;
      case 'module':
        this.ordered([entry.value]);
    }
    if (!entry.last) return null;
    start(entry.db);
    add(entry.key);
    const hashHigh = high >>> 0;
    const hashLow = low >>> 0;
    const type = TYPES.indexOf(entry.type) + 1;
    const content = (this.orderedHigh & 0x1fffff) * 2 ** 32 + (this.orderedLow >>> 0);
    return {
      hashHigh,
      hashLow,
      isInteger: integer !== null,
      value: integer !== null ? Number(integer) : (content + this.unordered + type) % Number.MAX_SAFE_INTEGER,
      expireAtMs: entry.expireAtMs ?? 0,
    };
  }

  private ordered(items: readonly Buffer[]): void {
    high = this.orderedHigh;
    low = this.orderedLow;
    for (const item of items) add(item);
    this.orderedHigh = high;
    this.orderedLow = low;
  }

  private element(name: Buffer, value: Buffer | null, expireAtMs: number): void {
    start(expireAtMs % 65521);
    add(name);
    if (value !== null) add(value);
    this.unordered = (this.unordered + (high & 0x1fffff) * 2 ** 32 + (low >>> 0)) % Number.MAX_SAFE_INTEGER;
  }
}

const TYPES = ['string', 'list', 'set', 'hash', 'zset', 'stream', 'module'];

export function writeDigests(digests: readonly KeyDigest[]): Buffer {
  const out = Buffer.allocUnsafe(digests.length * BYTES);
  let at = 0;
  for (const digest of digests) {
    out.writeUInt32LE(digest.hashHigh, at);
    out.writeUInt32LE(digest.hashLow, at + 4);
    out[at + 8] = digest.isInteger ? 1 : 0;
    out.writeDoubleLE(digest.value, at + 9);
    out.writeDoubleLE(digest.expireAtMs, at + 17);
    out.writeUInt32LE(0, at + 25);
    at += BYTES;
  }
  return out;
}

/** What `writeDigests` wrote. */
export function* readDigests(bytes: Buffer): IterableIterator<KeyDigest> {
  for (let at = 0; at + BYTES <= bytes.length; at += BYTES)
    yield {
      hashHigh: bytes.readUInt32LE(at),
      hashLow: bytes.readUInt32LE(at + 4),
      isInteger: bytes[at + 8]! === 1,
      value: bytes.readDoubleLE(at + 9),
      expireAtMs: bytes.readDoubleLE(at + 17),
    };
}

/** A table of digests by key hash: open addressing in flat arrays, about 50 bytes a key. */
export class DigestTable {
  private capacity = 1024;
  private highs = new Uint32Array(this.capacity);
  private lows = new Uint32Array(this.capacity);
  private flags = new Uint8Array(this.capacity);
  private values = new Float64Array(this.capacity);
  private expiries = new Float64Array(this.capacity);
  size = 0;

  addAll(bytes: Buffer): void {
    for (let at = 0; at + BYTES <= bytes.length; at += BYTES)
      this.add(
        bytes.readUInt32LE(at),
        bytes.readUInt32LE(at + 4),
        bytes[at + 8]! === 1,
        bytes.readDoubleLE(at + 9),
        bytes.readDoubleLE(at + 17),
      );
  }

  private add(hashHigh: number, hashLow: number, isInteger: boolean, value: number, expireAtMs: number): void {
    if (this.size * 2 >= this.capacity) this.grow();
    const at = this.place(hashHigh, hashLow);
    if (this.flags[at] === 0) this.size++;
    this.highs[at] = hashHigh;
    this.lows[at] = hashLow;
    this.flags[at] = USED | (isInteger ? INTEGER : 0);
    this.values[at] = value;
    this.expiries[at] = expireAtMs;
  }

  /** The digest of the same key, and notes that it was met. */
  meet(digest: KeyDigest): { isInteger: boolean; value: number; expireAtMs: number } | null {
    const at = this.place(digest.hashHigh, digest.hashLow);
    if (this.flags[at] === 0) return null;
    this.flags[at]! |= MET;
    return {
      isInteger: (this.flags[at]! & INTEGER) !== 0,
      value: this.values[at]!,
      expireAtMs: this.expiries[at]!,
    };
  }

  /** As if none had been met. */
  unmeet(): void {
    for (let at = 0; at < this.capacity; at++) this.flags[at]! &= ~MET;
  }

  /** Keys that were never met, as (high, low) pairs of their hashes. */
  *unmet(): IterableIterator<[number, number]> {
    for (let at = 0; at < this.capacity; at++)
      if (this.flags[at] !== 0 && (this.flags[at]! & MET) === 0) yield [this.highs[at]!, this.lows[at]!];
  }

  private place(hashHigh: number, hashLow: number): number {
    let at = (hashLow ^ Math.imul(hashHigh, mixA)) & (this.capacity - 1);
    while (this.flags[at] !== 0 && (this.highs[at] !== hashHigh || this.lows[at] !== hashLow))
      at = (at + 1) & (this.capacity - 1);
    return at;
  }

  private grow(): void {
    const { highs, lows, flags, values, expiries, capacity } = this;
    this.capacity = capacity * 2;
    this.highs = new Uint32Array(this.capacity);
    this.lows = new Uint32Array(this.capacity);
    this.flags = new Uint8Array(this.capacity);
    this.values = new Float64Array(this.capacity);
    this.expiries = new Float64Array(this.capacity);
    for (let from = 0; from < capacity; from++) {
      if (flags[from] === 0) continue;
      const at = this.place(highs[from]!, lows[from]!);
      this.highs[at] = highs[from]!;
      this.lows[at] = lows[from]!;
      this.flags[at] = flags[from]!;
      this.values[at] = values[from]!;
      this.expiries[at] = expiries[from]!;
    }
  }
}

const USED = 1;
const INTEGER = 2;
const MET = 4;
