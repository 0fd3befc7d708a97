/**
 * What the numbers are kept in: a table of them by key, of a fixed size, and a filter of keys that hold something else.
 *
 * Nearly all keys of most streams are in the filter alone, so that is what has to be cheap: a key is first known by a short hash, which says
 * whether it can be in the table at all, and only then by its fingerprint. What is to be marked in the filter is gathered, and marked together: each
 * mark waits for memory, but many at once wait no longer than one.
 */
import { FINGERPRINT_WORDS, fingerprint, quickHash } from '../merge/key-hash';

/** Places in a bucket: the oldest number of one makes room. */
const WAYS = 8;
/** Words of the filter: enough for some four million keys. */
const FILTER_WORDS = 2 ** 18;
const FILTER_MASK = FILTER_WORDS - 1;
const WAITING_MAX = 512;
/** After so many marks, words of the filter are looked at whether it still tells anything. */
const LOOK_MARKS = 2 ** 20;
const LOOK_WORDS = 4096;
/** Bits of them that are set when it does not. */
const LOOK_BITS_FULL = LOOK_WORDS * 28;
/** Of a fingerprint, beside the short hash: 96 bits in all. */
const TAG_WORDS = FINGERPRINT_WORDS - 1;

export const Kind = { none: 0, integer: 1, text: 2, hash: 3 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export class NumberTable {
  readonly kinds: Uint8Array;
  /** Of integers and hashes; those of which the text is kept have none. */
  readonly values: Float64Array;
  private readonly hashes: Int32Array;
  /** The rest of the fingerprints. */
  private readonly tags: Int32Array;
  private readonly texts = new Map<number, string>();
  /** How many places of each bucket are taken: it stays in the cache where few are. */
  private readonly taken: Uint8Array;
  private readonly victims: Uint8Array;
  private readonly mask: number;
  private readonly filter = new Int32Array(FILTER_WORDS);
  /** Everything may be in the filter. */
  private isBlind = false;
  private readonly waiting = new Int32Array(WAITING_MAX);
  private waitingSize = 0;
  private marks = 0;
  private nextLook = LOOK_MARKS;
  // The key that is sought.
  private hash = 0;
  private space = 0;
  private buf: Uint8Array = NOTHING;
  private start = 0;
  private end = 0;
  private readonly tag = new Int32Array(FINGERPRINT_WORDS);
  /** How many are there. */
  size = 0;

  /** @param numbersMax a power of two */
  constructor(numbersMax: number) {
    const buckets = numbersMax / WAYS;
    this.mask = buckets - 1;
    this.hashes = new Int32Array(numbersMax);
    this.tags = new Int32Array(numbersMax * TAG_WORDS);
    this.kinds = new Uint8Array(numbersMax);
    this.values = new Float64Array(numbersMax);
    this.taken = new Uint8Array(buckets);
    this.victims = new Uint8Array(buckets);
  }

  /** Names the key that the other methods are about, in its space; its bytes are looked at until another one is sought. */
  seek(space: number, buf: Uint8Array, start: number, end: number): this {
    this.hash = quickHash(space, buf, start, end);
    this.space = space;
    this.buf = buf;
    this.start = start;
    this.end = end;
    return this;
  }

  /** Its place, −1 for none. */
  find(): number {
    const { hashes, hash, kinds } = this;
    const bucket = hash & this.mask;
    if (this.taken[bucket] === 0) return -1;
    const first = bucket * WAYS;
    for (let at = first; at < first + WAYS; at++)
      if (hashes[at] === hash && kinds[at] !== Kind.none && this.isAt(at)) return at;
    return -1;
  }

  private isAt(at: number): boolean {
    const { tag, tags } = this;
    fingerprint(this.space, this.buf, this.start, this.end, tag, 0);
    return tags[at * TAG_WORDS] === tag[1] && tags[at * TAG_WORDS + 1] === tag[2];
  }

  clear(at: number): void {
    if (at < 0) return;
    if (this.kinds[at] === Kind.text) this.texts.delete(at);
    this.kinds[at] = Kind.none;
    this.taken[Math.floor(at / WAYS)]!--;
    this.size--;
  }

  place(kind: Kind, value: number, text?: string): void {
    const { hash, tag, tags, kinds } = this;
    const bucket = hash & this.mask;
    let at = this.find();
    for (let i = bucket * WAYS; at < 0 && i < (bucket + 1) * WAYS; i++) if (kinds[i] === Kind.none) at = i;
    if (at < 0) {
      at = bucket * WAYS + this.victims[bucket]!;
      this.victims[bucket] = (this.victims[bucket]! + 1) % WAYS;
      this.markHash(this.hashes[at]!);
    }
    this.clear(kinds[at] === Kind.none ? -1 : at);
    fingerprint(this.space, this.buf, this.start, this.end, tag, 0);
    this.hashes[at] = hash;
    tags[at * TAG_WORDS] = tag[1]!;
    tags[at * TAG_WORDS + 1] = tag[2]!;
    kinds[at] = kind;
    this.values[at] = value;
    if (text !== undefined) this.texts.set(at, text);
    this.taken[bucket]!++;
    this.size++;
  }

  textAt(at: number): string {
    return this.texts.get(at)!;
  }

  // ——— the filter

  /** The key holds something else than a number, or one that is not known any more. */
  markOther(): void {
    this.markHash(this.hash);
  }

  /** Any key may. */
  markAll(): void {
    this.isBlind = true;
    this.waitingSize = 0;
  }

  /** Whether it may hold something else. Of a key that is neither here nor in the table it is sure that it is not there. */
  isOther(): boolean {
    if (this.isBlind) return true;
    this.settle();
    const bits = bitsOf(this.hash);
    return (this.filter[(this.hash >>> 10) & FILTER_MASK]! & bits) === bits;
  }

  private markHash(hash: number): void {
    if (this.isBlind) return;
    this.waiting[this.waitingSize++] = hash;
    if (this.waitingSize === WAITING_MAX) this.settle();
  }

  private settle(): void {
    const { filter, waiting, waitingSize } = this;
    for (let i = 0; i < waitingSize; i++) {
      const hash = waiting[i]!;
      filter[(hash >>> 10) & FILTER_MASK]! |= bitsOf(hash);
    }
    this.waitingSize = 0;
    this.marks += waitingSize;
    if (this.marks >= this.nextLook) this.look();
  }

  /** A filter that is full costs time and tells nothing. */
  private look(): void {
    this.nextLook = this.marks + LOOK_MARKS;
    let bits = 0;
    for (let i = 0; i < FILTER_WORDS; i += FILTER_WORDS / LOOK_WORDS)
      for (let word = this.filter[i]!; word !== 0; word &= word - 1) bits++;
    if (bits >= LOOK_BITS_FULL) this.markAll();
  }
}

/** Both in one word: one step to memory. */
function bitsOf(hash: number): number {
  return (1 << (hash & 31)) | (1 << ((hash >>> 5) & 31));
}

const NOTHING = new Uint8Array(0);
