/**
 * What each key held when it was last looked at: by this the agent tells what clients changed from what it knows or has written itself.
 *
 * Per key the CRC-64 that DUMP ends with, so that an unchanged key is never decoded. Where Redis may pack the same value in other ways at
 * any time (hash tables, compressed lists, a stream's idle times) there is a digest of the value, too.
 *
 * 30 bytes of numbers a key, and its name in a map.
 */

/** A look at a key, in numbers. */
export interface Print {
  /** The last eight bytes of DUMP's answer. */
  crcHigh: number;
  crcLow: number;
  /** Of what the value holds, however it is packed; NaN where the CRC says it all. */
  content: number;
  /** Unix time in ms; 0 for none. */
  expireAtMs: number;
  /** Size of DUMP's answer. */
  bytes: number;
}

/** V8's maps end at 2^24 entries: several, by a hash of the name, hold more. */
const SHARDS = 16;
const CAPACITY_MIN = 1024;

export class KnownKeys {
  private readonly slots = new Map<number, Map<string, number>[]>();
  private readonly counts = new Map<number, number>();
  private capacity = CAPACITY_MIN;
  private crcHighs = new Uint32Array(this.capacity);
  private crcLows = new Uint32Array(this.capacity);
  private contents = new Float64Array(this.capacity);
  private expiries = new Float64Array(this.capacity);
  private sizes = new Uint32Array(this.capacity);
  /** The round of the scan in which the key was last looked at. */
  private rounds = new Uint16Array(this.capacity);
  private readonly free: number[] = [];
  private used = 0;
  size = 0;
  /** Counts scans; a key that was looked at since one began needs no second look. */
  private round = 0;

  /** What is known of a key; null when it is not there. */
  get(db: number, key: string): Print | null {
    const at = this.slots.get(db)?.[shardOf(key)]?.get(key);
    if (at === undefined) return null;
    return {
      crcHigh: this.crcHighs[at]!,
      crcLow: this.crcLows[at]!,
      content: this.contents[at]!,
      expireAtMs: this.expiries[at]!,
      bytes: this.sizes[at]!,
    };
  }

  set(db: number, key: string, print: Print): void {
    let shards = this.slots.get(db);
    if (shards === undefined)
      this.slots.set(db, (shards = Array.from({ length: SHARDS }, () => new Map<string, number>())));
    const shard = shards[shardOf(key)]!;
    let at = shard.get(key);
    if (at === undefined) {
      at = this.free.pop() ?? this.used++;
      if (at >= this.capacity) this.grow();
      shard.set(key, at);
      this.size++;
      this.counts.set(db, this.count(db) + 1);
    }
    this.crcHighs[at] = print.crcHigh;
    this.crcLows[at] = print.crcLow;
    this.contents[at] = print.content;
    this.expiries[at] = print.expireAtMs;
    this.sizes[at] = print.bytes;
    this.rounds[at] = this.round;
  }

  delete(db: number, key: string): void {
    const shard = this.slots.get(db)?.[shardOf(key)];
    const at = shard?.get(key);
    if (shard === undefined || at === undefined) return;
    shard.delete(key);
    this.free.push(at);
    this.size--;
    this.counts.set(db, this.count(db) - 1);
  }

  /** Number of keys in a database. */
  count(db: number): number {
    return this.counts.get(db) ?? 0;
  }

  databases(): number[] {
    return [...this.counts].filter(([, count]) => count > 0).map(([db]) => db);
  }

  /** FLUSHDB, FLUSHALL. @param db null for all */
  clear(db: number | null): void {
    for (const one of db === null ? [...this.slots.keys()] : [db]) {
      for (const shard of this.slots.get(one) ?? []) this.free.push(...shard.values());
      this.size -= this.count(one);
      this.slots.delete(one);
      this.counts.delete(one);
    }
  }

  /** SWAPDB. */
  swap(a: number, b: number): void {
    for (const map of [this.slots, this.counts] as Map<number, unknown>[]) {
      const [first, second] = [map.get(a), map.get(b)];
      map.delete(a);
      map.delete(b);
      if (first !== undefined) map.set(b, first);
      if (second !== undefined) map.set(a, second);
    }
  }

  /** A scan begins. */
  beginRound(): void {
    this.round = (this.round + 1) % 65_536;
  }

  /** Keys that nobody has looked at since the scan began, some at a time: they may be gone. */
  *unmet(perStep: number): IterableIterator<{ db: number; key: string }[]> {
    for (const [db, shards] of this.slots)
      for (const shard of shards) {
        let names: { db: number; key: string }[] = [];
        let seen = 0;
        for (const [key, at] of shard) {
          if (this.rounds[at] !== this.round) names.push({ db, key });
          if (++seen % perStep !== 0) continue;
          yield names;
          names = [];
        }
        yield names;
      }
  }

  /** A key was looked at and is as it was. */
  meet(db: number, key: string): void {
    const at = this.slots.get(db)?.[shardOf(key)]?.get(key);
    if (at !== undefined) this.rounds[at] = this.round;
  }

  /** Whether it was looked at since the scan began. */
  isMet(db: number, key: string): boolean {
    const at = this.slots.get(db)?.[shardOf(key)]?.get(key);
    return at !== undefined && this.rounds[at] === this.round;
  }

  private grow(): void {
    this.capacity *= 2;
    const larger = <T extends { set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.crcHighs = larger(this.crcHighs, new Uint32Array(this.capacity));
    this.crcLows = larger(this.crcLows, new Uint32Array(this.capacity));
    this.contents = larger(this.contents, new Float64Array(this.capacity));
    this.expiries = larger(this.expiries, new Float64Array(this.capacity));
    this.sizes = larger(this.sizes, new Uint32Array(this.capacity));
    this.rounds = larger(this.rounds, new Uint16Array(this.capacity));
  }
}

function shardOf(key: string): number {
  const n = key.length;
  return n === 0 ? 0 : (key.charCodeAt(n - 1) * 31 + key.charCodeAt(n >> 1) * 7 + key.charCodeAt(n >> 2) + n) % SHARDS;
}
