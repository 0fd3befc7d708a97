/**
 * Where the SETs of the table come from: their records. The table holds on to a record by what it says of all of them (*seen*, stamp);
 * its bytes are needed again only where a key turns out to be more than SETs, or a client's write has to be brought back. So only the
 * newest are kept, and others are read from the journal where they are wanted.
 */
import type { OpRecord } from '../record';
import { CommandScanner } from '../resp';
import type { Seen } from './origins';
import type { PayloadSource, RecordPlace } from './payload-source';

/** A record's SETs in one database. */
export class SetSource {
  readonly place: RecordPlace;
  /** Of the record's first operation. */
  readonly stamp: number;
  /** Null once it was let go of. */
  payload: Buffer | null;
  readonly payloadBytes: number;
  /** Position before the payload. */
  readonly base: number;
  /** Number of those who refer to it. */
  users = 0;
  /** Its place among the sources; −1: not there. */
  index = -1;

  constructor(
    { origin: id, start, end, stamp, payload }: OpRecord,
    /** Interned. */
    readonly origin: number,
    readonly seen: Seen,
    readonly db: number,
  ) {
    this.place = { origin: id, start, end };
    this.stamp = stamp;
    this.payload = payload;
    this.payloadBytes = payload.length;
    this.base = end - payload.length;
  }
}

/** Those that are over and still stand in the order of age: so many are no matter. */
const OVER_MAX = 64;

/** All sources that entries refer to. */
export class SetSources {
  private readonly sources: (SetSource | undefined)[] = [];
  private readonly freeIndices: number[] = [];
  /** Those with their payload, oldest first, and some that are over. */
  private heavy: SetSource[] = [];
  private over = 0;
  private again: { source: SetSource; payload: Buffer } | null = null;
  private readonly keepBytes: number;
  /** Bytes of the payloads that are kept. */
  bytes = 0;

  /** @param payloads where they can be had again; absent: all are kept */
  constructor(private readonly payloads?: PayloadSource) {
    this.keepBytes = payloads?.keepBytes ?? Infinity;
  }

  at(index: number): SetSource {
    return this.sources[index]!;
  }

  /** One more refers to it. @returns its index */
  use(source: SetSource): number {
    if (source.users++ === 0) this.add(source);
    return source.index;
  }

  /** One less. */
  drop(index: number): void {
    const source = this.sources[index]!;
    if (--source.users > 0) return;
    this.sources[index] = undefined;
    this.freeIndices.push(index);
    source.index = -1;
    if (this.again?.source === source) this.again = null;
    if (source.payload === null) return;
    this.lighten(source);
    if (++this.over > OVER_MAX && this.over * 2 > this.heavy.length) {
      this.heavy = this.heavy.filter(({ payload }) => payload !== null);
      this.over = 0;
    }
  }

  private lighten(source: SetSource): void {
    source.payload = null;
    this.bytes -= source.payloadBytes;
  }

  private add(source: SetSource): void {
    source.index = this.freeIndices.pop() ?? this.sources.length;
    this.sources[source.index] = source;
    this.heavy.push(source);
    this.bytes += source.payloadBytes;
    if (this.bytes > this.keepBytes) this.letGo();
  }

  /** Lets go of the oldest payloads, but not of those that can't be had again yet, nor of the newest. */
  private letGo(): void {
    const { heavy } = this;
    let gone = 0;
    for (; gone < heavy.length - 1 && this.bytes > this.keepBytes; gone++) {
      const source = heavy[gone]!;
      if (source.payload === null) this.over--;
      else if (this.payloads?.has(source.place) === true) this.lighten(source);
      else break;
    }
    if (gone > 0) heavy.splice(0, gone);
  }

  /**
   * The SET that ends at `end` in the source's payload: its key in Latin-1, and its value.
   * @param argsBytes of its two arguments in RESP; 0 where that is not known
   * @throws what reading the payload again throws
   */
  read(source: SetSource, end: number, argsBytes: number): { key: string; value: Buffer } {
    const payload = this.payloadOf(source);
    const key = bulkAt(payload, argsBytes > 0 ? end - argsBytes : argsBefore(payload, end));
    const value = bulkAt(payload, key.end + 2);
    if (value.end + 2 !== end)
      throw new Error(`${source.place.origin}: no SET ends at ${source.base + end}, as the window says`);
    return { key: payload.toString('latin1', key.start, key.end), value: payload.subarray(value.start, value.end) };
  }

  private payloadOf(source: SetSource): Buffer {
    if (source.payload !== null) return source.payload;
    if (this.again?.source !== source)
      this.again = { source, payload: this.payloads!.payload(source.place, source.payloadBytes) };
    return this.again.payload;
  }
}

/** The bulk string at `at`. */
function bulkAt(payload: Buffer, at: number): { start: number; end: number } {
  let length = 0;
  let p = at + 1;
  for (let byte = payload[p]!; byte >= 48 && byte <= 57; byte = payload[++p]!) length = length * 10 + byte - 48;
  return { start: p + 2, end: p + 2 + length };
}

/** Where the arguments of the command that ends at `end` begin, behind its name. */
function argsBefore(payload: Buffer, end: number): number {
  const scanner = new CommandScanner();
  scanner.push(payload.subarray(0, end));
  while (scanner.next());
  return scanner.argEnd[0]! + 2;
}
