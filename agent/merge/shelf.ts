/**
 * The shelf: what the window knows of keys, on disk, while it has more to know than its memory may hold. A small log-structured
 * merge tree: what is put there together is a *run*, sorted by the keys' fingerprints and never changed; a lookup reads one block of
 * each run; runs of a kind become one, a step at a time, so that nothing has to wait for it.
 *
 * What is known by fingerprints with the same first word stands together in each run, and can be read as a whole: so do the elements of a key.
 *
 * It knows bytes by fingerprint and which operations they are about, not what they say (shelf-entry.ts).
 */
import { areSeen, raise, seenAt, type Seen } from './origins';

/** A file that only grows. */
export interface ShelfFile {
  /** @throws where it can't be written; it is then removed */
  append(bytes: Buffer): void;
  /** Fills a buffer with what begins at `offset`. */
  read(into: Buffer, offset: number): void;
  remove(): void;
}

export interface ShelfFiles {
  create(): ShelfFile;
  /** A run could not be written: it stays in memory. */
  failed(error: unknown): void;
}

/** What an entry's first byte says. */
export const Reach = {
  /** Live SETs: older SETs of the key are dead. */
  sets: 0,
  /** Older entries of the key count, too. */
  part: 1,
  /** All that is known of the key. */
  whole: 2,
  /** The same two of one element of a key, by a fingerprint of its own. */
  element: 3,
  wholeElement: 4,
} as const;

/** Before an entry's bytes: their number, and the fingerprint's three words. */
const HEADER_BYTES = 16;
/** What a lookup reads, at least. */
const BLOCK_BYTES = 4 * 1024;
const READ_BYTES = 256 * 1024;
/** So many runs of a level become one of the next. */
const FAN_IN = 8;
/** Entries that are merged for each one that comes: more than the levels there will be. */
const MERGE_FACTOR = 6;
const BATCH_ENTRIES_MAX = 2 ** 20;
/** Of a fingerprint's second word, what counts in the order of a run, beside all of the first: a number holds no more. */
const SECOND_BITS = 21;

/** What is put there together. */
export class ShelfBatch {
  private bytes = Buffer.allocUnsafe(64 * 1024);
  private size = 0;
  private readonly starts: number[] = [];
  /** Of the operations that it is about: the highest position of each origin, and the lowest one that is still needed. */
  readonly tops: number[] = [];
  readonly lows: number[] = [];

  get entries(): number {
    return this.starts.length;
  }

  /** Begins an entry of a fingerprint; its bytes are written by the other methods. */
  begin(fingerprint: ArrayLike<number>): void {
    this.starts.push(this.size);
    this.room(HEADER_BYTES);
    for (let i = 0; i < 3; i++) this.bytes.writeInt32LE(fingerprint[i]!, this.size + 4 + i * 4);
    this.size += HEADER_BYTES;
  }

  end(): void {
    const start = this.starts[this.starts.length - 1]!;
    this.bytes.writeUInt32LE(this.size - start - HEADER_BYTES, start);
  }

  byte(value: number): void {
    this.room(1);
    this.bytes[this.size++] = value;
  }

  word(value: number): void {
    this.room(4);
    this.size = this.bytes.writeUInt32LE(value, this.size);
  }

  double(value: number): void {
    this.room(8);
    this.size = this.bytes.writeDoubleLE(value, this.size);
  }

  raw(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.bytes.set(bytes, this.size);
    this.size += bytes.length;
  }

  /** It is about the origin's operation at `position`. */
  about(origin: number, position: number): void {
    raise(this.tops, origin, position);
    this.needs(origin, position);
  }

  needs(origin: number, position: number): void {
    if ((this.lows[origin] ?? Infinity) > position) this.lows[origin] = position;
  }

  private room(bytes: number): void {
    if (this.size + bytes <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.size + bytes, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.size);
    this.bytes = grown;
  }

  /** Gives the entries in the order of their fingerprints, as places in one buffer. */
  eachSorted(visit: (bytes: Buffer, start: number, end: number) => void): void {
    const { bytes, starts } = this;
    // Sorted as numbers, which have no room for all: by the first word, those that share it by the second, and the newest of a key first.
    const order = new Float64Array(starts.length);
    const last = starts.length - 1;
    const startOf = (numbered: number): number => starts[last - (numbered % BATCH_ENTRIES_MAX)]!;
    for (let i = 0; i <= last; i++) order[i] = bytes.readUInt32LE(starts[last - i]! + 4) * BATCH_ENTRIES_MAX + i;
    order.sort();
    for (let from = 0, to = 0; from <= last; from = to) {
      const first = Math.floor(order[from]! / BATCH_ENTRIES_MAX);
      while (to <= last && Math.floor(order[to]! / BATCH_ENTRIES_MAX) === first) to++;
      const alike = order.subarray(from, to);
      if (alike.length > 1) {
        for (let i = 0; i < alike.length; i++) {
          const place = placeAt(bytes, startOf(alike[i]!)) % 2 ** SECOND_BITS;
          alike[i] = place * BATCH_ENTRIES_MAX + (alike[i]! % BATCH_ENTRIES_MAX);
        }
        alike.sort();
      }
      for (const numbered of alike) visit(bytes, startOf(numbered), endOf(bytes, startOf(numbered)));
    }
  }
}

/** Where something stands in the order of a run, by its fingerprint's first words. */
function placeOf(first: number, second: number): number {
  return (first >>> 0) * 2 ** SECOND_BITS + (second >>> (32 - SECOND_BITS));
}

/** The same of the entry that begins at `start`. */
function placeAt(bytes: Buffer, start: number): number {
  return placeOf(bytes.readUInt32LE(start + 4), bytes.readUInt32LE(start + 8));
}

/** Where the entry ends that begins at `start`. */
function endOf(bytes: Buffer, start: number): number {
  return start + HEADER_BYTES + bytes.readUInt32LE(start);
}

interface Run {
  readonly file: ShelfFile;
  readonly level: number;
  /** The first place in each block, and where it begins; with the end of the last. */
  readonly fences: number[];
  readonly offsets: number[];
  readonly tops: readonly number[];
  readonly lows: readonly number[];
  readonly entries: number;
  /** Which keys it may have; null where that would take too much memory. */
  filter: Filter | null;
}

/** Bits for each entry, and of them a cache line for each lookup: of keys that a run has not, some 2 % are looked for. */
const FILTER_BITS = 10;
const LINE_WORDS = 16;

/** A Bloom filter, of which each lookup needs one cache line (Putze, Sanders, Singler 2007). */
class Filter {
  private readonly words: Int32Array;
  private readonly lines: number;

  constructor(entries: number) {
    this.lines = Math.ceil((entries * FILTER_BITS) / (LINE_WORDS * 32));
    this.words = new Int32Array(this.lines * LINE_WORDS);
  }

  get bytes(): number {
    return this.words.byteLength;
  }

  add(second: number, third: number): void {
    const line = this.line(second);
    for (let shift = 0; shift < 27; shift += 9) {
      const bit = (third >>> shift) & 511;
      this.words[line + (bit >> 5)]! |= 1 << (bit & 31);
    }
  }

  mayHave(second: number, third: number): boolean {
    const line = this.line(second);
    for (let shift = 0; shift < 27; shift += 9) {
      const bit = (third >>> shift) & 511;
      if ((this.words[line + (bit >> 5)]! & (1 << (bit & 31))) === 0) return false;
    }
    return true;
  }

  private line(second: number): number {
    return Math.floor(((second >>> 0) / 2 ** 32) * this.lines) * LINE_WORDS;
  }
}

export class Shelf {
  /** Newest first. */
  private runs: Run[] = [];
  private merging: {
    readonly inputs: readonly Run[];
    readonly output: RunWriter;
    readonly steps: Generator<void>;
  } | null = null;
  private tops: readonly number[] = [];
  private block = Buffer.allocUnsafeSlow(BLOCK_BYTES * 2);
  /** Blocks read. */
  reads = 0;

  /** @param filterBytesMax memory for what tells the runs that don't have a key; without, each lookup reads a block of them */
  constructor(
    private readonly files: ShelfFiles,
    private readonly filterBytesMax: number,
  ) {}

  get isEmpty(): boolean {
    return this.runs.length === 0;
  }

  get bytes(): number {
    return this.runs.reduce((sum, { offsets }) => sum + offsets[offsets.length - 1]!, 0);
  }

  /** Bytes of memory that it takes. */
  get memoryBytes(): number {
    return this.runs.reduce((sum, { fences, filter }) => sum + fences.length * 16 + (filter?.bytes ?? 0), 0);
  }

  /** Entries: a key may have several. */
  get entries(): number {
    return this.runs.reduce((sum, { entries }) => sum + entries, 0);
  }

  /** Whether an operation has seen all that it holds: of its own origin it has, by order. */
  isSeenBy(origin: number, seen: Seen): boolean {
    const { tops } = this;
    for (let o = 0; o < tops.length; o++) if (o !== origin && tops[o]! > seenAt(seen, o)) return false;
    return true;
  }

  add(batch: ShelfBatch): void {
    if (batch.entries === 0) return;
    const writer = new RunWriter(this.files, 0, batch.tops, batch.lows, batch.entries);
    batch.eachSorted((bytes, start, end) => writer.add(bytes, start, end));
    this.runs.unshift(writer.finish());
    this.noteTops();
    this.boundFilters();
    this.merge(batch.entries * MERGE_FACTOR);
  }

  /** What is known by a fingerprint, newest first, as far as it counts. */
  find(fingerprint: ArrayLike<number>, at = 0): Buffer[] {
    const found: Buffer[] = [];
    const first = fingerprint[at]!;
    const second = fingerprint[at + 1]!;
    const third = fingerprint[at + 2]!;
    const place = placeOf(first, second);
    for (const run of this.runs) {
      if (run.filter?.mayHave(second, third) === false) continue;
      this.visit(run, place, place, (bytes, start, end) => {
        const isSame = bytes.readInt32LE(start + 4) === first && bytes.readInt32LE(start + 8) === second;
        if (isSame && bytes.readInt32LE(start + 12) === third)
          found.push(Buffer.from(bytes.subarray(start + HEADER_BYTES, end)));
      });
      if (found.length > 0 && isAll(found[found.length - 1]![0]!)) break;
    }
    return found;
  }

  /** Gives all that is known by fingerprints with this first word, what is newer first; the bytes are overwritten behind that. */
  eachWith(first: number, visit: (bytes: Buffer) => void): void {
    for (const run of this.runs)
      this.visit(run, placeOf(first, 0), placeOf(first, -1), (bytes, start, end) =>
        visit(bytes.subarray(start + HEADER_BYTES, end)),
      );
  }

  /** Gives a run's entries from one place to another one, that included. */
  private visit(
    { file, fences, offsets }: Run,
    from: number,
    to: number,
    visit: (bytes: Buffer, start: number, end: number) => void,
  ): void {
    let low = 0;
    for (let high = fences.length; low < high;) {
      const middle = (low + high) >> 1;
      if (fences[middle]! < from) low = middle + 1;
      else high = middle;
    }
    // The block before the first that begins with it may end with it.
    const first = Math.max(0, low - 1);
    for (let block = first; block < fences.length && (block === first || fences[block]! <= to); block++) {
      const length = offsets[block + 1]! - offsets[block]!;
      if (length > this.block.length) this.block = Buffer.allocUnsafeSlow(length);
      const bytes = this.block.subarray(0, length);
      file.read(bytes, offsets[block]!);
      this.reads++;
      for (let at = 0; at < length;) {
        const end = endOf(bytes, at);
        const place = placeAt(bytes, at);
        if (place > to) return;
        if (place >= from) visit(bytes, at, end);
        at = end;
      }
    }
  }

  /** All entries, in no order. */
  *all(): IterableIterator<Buffer> {
    for (const run of [...this.runs])
      for (const reader = new RunReader(run); reader.place !== Infinity; reader.next())
        yield reader.copy().subarray(HEADER_BYTES);
  }

  /** Lets go of what every member has seen. */
  drop(stable: Seen): void {
    if (this.runs.length === 0) return;
    const isOver = ({ tops }: Run): boolean => areSeen(tops, stable);
    const { merging } = this;
    if (merging !== null && merging.inputs.every(isOver)) this.abandon(merging.output);
    const kept = this.runs.filter((run) => this.merging?.inputs.includes(run) === true || !isOver(run));
    if (kept.length === this.runs.length) return;
    for (const run of this.runs) if (!kept.includes(run)) run.file.remove();
    this.runs = kept;
    this.noteTops();
  }

  /** Nothing of it is wanted any more. */
  close(): void {
    if (this.merging !== null) this.abandon(this.merging.output);
    for (const { file } of this.runs) file.remove();
    this.runs = [];
    this.tops = [];
  }

  /** The lowest position that is needed, by origin. */
  eachLow(lower: (origin: number, position: number) => void): void {
    for (const { lows } of this.runs) lows.forEach((position, origin) => lower(origin, position));
  }

  private noteTops(): void {
    const tops: number[] = [];
    for (const run of this.runs) run.tops.forEach((top, origin) => raise(tops, origin, top));
    this.tops = tops;
  }

  /** The oldest go first: what comes has mostly seen them. */
  private boundFilters(): void {
    let bytes = 0;
    for (const run of this.runs) {
      bytes += run.filter?.bytes ?? 0;
      if (bytes > this.filterBytesMax) run.filter = null;
    }
  }

  // ——— merging

  private merge(entries: number): void {
    let left = entries;
    try {
      for (; left > 0 && (this.merging ??= this.choose()) !== null; left--) {
        if (this.merging.steps.next().done !== true) continue;
        const { inputs, output } = this.merging;
        this.merging = null;
        const place = this.runs.indexOf(inputs[0]!);
        this.runs.splice(place, inputs.length, output.finish());
        this.boundFilters();
        for (const { file } of inputs) file.remove();
      }
    } catch (error) {
      if (this.merging !== null) this.abandon(this.merging.output);
      this.files.failed(error);
    }
  }

  private abandon(output: RunWriter): void {
    this.merging = null;
    output.remove();
  }

  /** The oldest runs of a level that has enough of them. */
  private choose(): typeof this.merging {
    const { runs } = this;
    for (let to = runs.length, from = to; from > 0; to = from) {
      const { level } = runs[to - 1]!;
      while (from > 0 && runs[from - 1]!.level === level) from--;
      if (to - from < FAN_IN) continue;
      const inputs = runs.slice(to - FAN_IN, to);
      const tops: number[] = [];
      const lows: number[] = [];
      for (const run of inputs) {
        run.tops.forEach((top, origin) => raise(tops, origin, top));
        run.lows.forEach((low, origin) => (lows[origin] = Math.min(low, lows[origin] ?? Infinity)));
      }
      const entries = inputs.reduce((sum, run) => sum + run.entries, 0);
      const output = new RunWriter(this.files, level + 1, tops, lows, entries);
      return { inputs, output, steps: mergeRuns(inputs, output) };
    }
    return null;
  }
}

/** One step an entry; with all that stand in its place, but those that do not count any more. */
function* mergeRuns(inputs: readonly Run[], output: RunWriter): Generator<void> {
  const readers = inputs.map((run) => new RunReader(run));
  for (;;) {
    let place = Infinity;
    let alone: RunReader | null = null;
    for (const reader of readers)
      if (reader.place < place) {
        place = reader.place;
        alone = reader;
      } else if (reader.place === place) alone = null;
    if (place === Infinity) return;
    // Nearly always there is one: it is passed on as it is.
    if (alone !== null && alone.following() !== place) {
      output.add(alone.bytes, alone.start, alone.end);
      alone.next();
      yield;
      continue;
    }
    const kept: Buffer[] = [];
    for (const reader of readers)
      for (; reader.place === place; reader.next()) {
        const entry = reader.copy();
        if (!kept.some((newer) => replaces(newer, entry))) kept.push(entry);
        yield;
      }
    for (const entry of kept) output.add(entry, 0, entry.length);
  }
}

/** Whether what is older counts for nothing. */
function isAll(reach: number): boolean {
  return reach === Reach.whole || reach === Reach.wholeElement;
}

function replaces(newer: Buffer, older: Buffer): boolean {
  const reach = newer[HEADER_BYTES];
  if (!isAll(reach!) && !(reach === Reach.sets && older[HEADER_BYTES] === Reach.sets)) return false;
  return newer.compare(older, 4, HEADER_BYTES, 4, HEADER_BYTES) === 0;
}

class RunReader {
  /** The entry is [start, end) of it, until the next one. */
  bytes: Buffer;
  start = 0;
  end = 0;
  /** Of the entry; Infinity: there is no more. */
  place = 0;
  private memory = Buffer.allocUnsafeSlow(READ_BYTES);
  private block = 0;

  constructor(private readonly run: Run) {
    this.bytes = this.memory.subarray(0, 0);
    this.next();
  }

  next(): void {
    if (this.end === this.bytes.length && !this.read()) {
      this.place = Infinity;
      return;
    }
    this.start = this.end;
    this.end = endOf(this.bytes, this.start);
    this.place = placeAt(this.bytes, this.start);
  }

  private read(): boolean {
    const { offsets, fences, file } = this.run;
    if (this.block === fences.length) return false;
    const from = offsets[this.block]!;
    do this.block++;
    while (this.block < fences.length && offsets[this.block + 1]! - from <= READ_BYTES);
    const length = offsets[this.block]! - from;
    if (length > this.memory.length) this.memory = Buffer.allocUnsafeSlow(length);
    this.bytes = this.memory.subarray(0, length);
    file.read(this.bytes, from);
    this.end = 0;
    return true;
  }

  /** The place behind the entry, of those that are read already; else the entry's own. */
  following(): number {
    return this.end === this.bytes.length ? this.place : placeAt(this.bytes, this.end);
  }

  copy(): Buffer {
    return Buffer.from(this.bytes.subarray(this.start, this.end));
  }
}

/** Writes a run; where that fails, what there is of it stays in memory, but for a merged one: its parts are still there. */
class RunWriter {
  private file: ShelfFile;
  private readonly fences: number[] = [];
  private readonly offsets: number[] = [0];
  private readonly filter: Filter;
  private chunk = Buffer.allocUnsafeSlow(READ_BYTES + BLOCK_BYTES);
  private chunkBytes = 0;
  private blockBytes = 0;
  private written = 0;
  private entries = 0;

  constructor(
    private readonly files: ShelfFiles,
    private readonly level: number,
    private readonly tops: readonly number[],
    private readonly lows: readonly number[],
    entriesMax: number,
  ) {
    this.filter = new Filter(entriesMax);
    this.file = this.attempt(() => files.create()) ?? new MemoryFile();
  }

  add(bytes: Buffer, start: number, end: number): void {
    if (this.blockBytes >= BLOCK_BYTES) this.endBlock();
    if (this.blockBytes === 0) this.fences.push(placeAt(bytes, start));
    this.filter.add(bytes.readInt32LE(start + 8), bytes.readInt32LE(start + 12));
    const at = this.chunkBytes + this.blockBytes;
    if (at + end - start > this.chunk.length) {
      const grown = Buffer.allocUnsafeSlow((at + end - start) * 2);
      this.chunk.copy(grown, 0, 0, at);
      this.chunk = grown;
    }
    bytes.copy(this.chunk, at, start, end);
    this.blockBytes += end - start;
    this.entries++;
  }

  private endBlock(): void {
    this.chunkBytes += this.blockBytes;
    this.offsets.push(this.offsets[this.offsets.length - 1]! + this.blockBytes);
    this.blockBytes = 0;
    if (this.chunkBytes >= READ_BYTES) this.write();
  }

  private write(): void {
    const bytes = this.chunk.subarray(0, this.chunkBytes);
    this.chunkBytes = 0;
    const { written } = this;
    if (this.attempt(() => (this.file.append(bytes), true)) === undefined) {
      const memory = new MemoryFile();
      const before = Buffer.allocUnsafeSlow(written);
      this.file.read(before, 0);
      memory.append(before);
      memory.append(bytes);
      this.file.remove();
      this.file = memory;
    }
    this.written += bytes.length;
  }

  private attempt<T>(what: () => T): T | undefined {
    try {
      return what();
    } catch (error) {
      if (this.level > 0) throw error;
      this.files.failed(error);
      return undefined;
    }
  }

  finish(): Run {
    if (this.blockBytes > 0) this.endBlock();
    if (this.chunkBytes > 0) this.write();
    const { file, level, fences, offsets, tops, lows, entries, filter } = this;
    return { file, level, fences, offsets, tops, lows, entries, filter };
  }

  remove(): void {
    this.file.remove();
  }
}

/** For where there is no disk, or it takes no more. */
export class MemoryFile implements ShelfFile {
  private bytes = Buffer.alloc(0);

  append(bytes: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  read(into: Buffer, offset: number): void {
    this.bytes.copy(into, 0, offset);
  }

  remove(): void {
    this.bytes = Buffer.alloc(0);
  }
}
