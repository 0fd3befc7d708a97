/**
 * Where the SETs of the table come from: their records. The table holds on to a record by what it says of all of them (*seen*, stamp);
 * its bytes are needed again only where a key turns out to be more than SETs, or a client's write has to be brought back. So only the
 * newest are kept, and others are read from the journal where they are wanted.
 */
import type { OpRecord } from '../record';
import { CommandScanner } from '../resp';
import { type Op, ownBytes, type Put } from './key-state';
import type { Seen } from './origins';
import type { PayloadSource, RecordPlace } from './payload-source';

/** Where the bytes of a SET are. */
export interface SetPlace {
  readonly place: RecordPlace;
  readonly payloadBytes: number;
  /** Where it ends in the payload, and how long its two arguments are in RESP, 0: not known. */
  readonly end: number;
  readonly argsBytes: number;
}

/** Its value is in the journal, and is read when somebody wants it: mostly another put wins. */
export class StoredPut implements Put {
  private known: Buffer | null = null;

  constructor(
    readonly op: Op,
    readonly at: SetPlace,
    private readonly sources: SetSources,
  ) {}

  /** @throws where the record can't be read again */
  get value(): Buffer {
    return (this.known ??= ownBytes(this.sources.readAt(this.at).value));
  }
}

/** What is known of a record's SETs in one database when they come back from the shelf. */
export type StoredSource = Pick<SetSource, 'place' | 'stamp' | 'origin' | 'seen' | 'payloadBytes' | 'db'>;

/** A record's SETs in one database. */
export class SetSource {
  readonly place: RecordPlace;
  /** Of the record's first operation. */
  readonly stamp: number;
  /** Null once it was let go of. */
  payload: Buffer | null;
  payloadBytes: number;
  /** Position before the payload. */
  base: number;
  /** Number of those who refer to it. */
  users = 0;
  /** Its place among the sources; −1: not there. */
  index = -1;
  /** Its operations have not seen all that is on the shelf. */
  isBehind = false;

  constructor(
    { origin: id, start, end, stamp, payload }: Pick<OpRecord, 'origin' | 'start' | 'end' | 'stamp' | 'payload'>,
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

  /** Of a record that is in the journal. */
  static stored({ place, stamp, origin, seen, payloadBytes, db }: StoredSource): SetSource {
    const source = new SetSource({ ...place, stamp, payload: NO_PAYLOAD }, origin, seen, db);
    source.payload = null;
    source.payloadBytes = payloadBytes;
    source.base = place.end - payloadBytes;
    return source;
  }
}

const NO_PAYLOAD = Buffer.alloc(0);

/** Those that are over and still stand in the order of age: so many are no matter. */
const OVER_MAX = 64;

/** All sources that entries refer to. */
export class SetSources {
  private readonly sources: (SetSource | undefined)[] = [];
  private readonly freeIndices: number[] = [];
  /** By origin and `placeIn`: the SETs of a record share one, also those that come back from the shelf one by one. */
  private readonly byRecord: Map<number, SetSource>[] = [];
  /** Those with their payload, oldest first, and some that are over. */
  private heavy: SetSource[] = [];
  private over = 0;
  /** The record that was read last. */
  private again: { at: SetPlace; payload: Buffer } | null = null;
  private readonly keepBytes: number;
  /** Bytes of the payloads that are kept. */
  bytes = 0;

  /** @param payloads where they can be had again; absent: all are kept */
  constructor(private readonly payloads?: PayloadSource) {
    this.keepBytes = payloads?.keepBytes ?? Infinity;
  }

  get size(): number {
    return this.sources.length - this.freeIndices.length;
  }

  at(index: number): SetSource {
    return this.sources[index]!;
  }

  /** The source of a SET whose record is in the journal: the one that others of its record have, if there are any. */
  stored(of: StoredSource): SetSource {
    const known = this.byRecord[of.origin]?.get(placeIn(of));
    const isSame = known?.db === of.db && known.payloadBytes === of.payloadBytes && known.stamp === of.stamp;
    return isSame ? known : SetSource.stored(of);
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
    const ofOrigin = this.byRecord[source.origin];
    if (ofOrigin?.get(placeIn(source)) === source) ofOrigin.delete(placeIn(source));
    if (this.again?.at.place === source.place) this.again = null;
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
    const ofOrigin = (this.byRecord[source.origin] ??= new Map());
    if (!ofOrigin.has(placeIn(source))) ofOrigin.set(placeIn(source), source);
    if (source.payload === null) return;
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

  /** Whether a source's payload could be read again now. */
  has(source: SetSource): boolean {
    return this.payloads?.has(source.place) === true;
  }

  /**
   * The SET that ends at `end` in the source's payload: its key in Latin-1, and its value.
   * @param argsBytes of its two arguments in RESP; 0 where that is not known
   * @throws what reading the payload again throws
   */
  read(source: SetSource, end: number, argsBytes: number): { key: string; value: Buffer } {
    const { place, payloadBytes, payload } = source;
    const at = { place, payloadBytes, end, argsBytes };
    return payload === null ? this.readAt(at) : readArgs(argsIn(payload, at));
  }

  /** @throws what reading the payload again throws */
  readAt(at: SetPlace): { key: string; value: Buffer } {
    const { origin, end } = at.place;
    const { again } = this;
    const isSame = again?.at.place.end === end && again.at.place.origin === origin;
    if (!isSame || again.at.payloadBytes !== at.payloadBytes)
      this.again = { at, payload: this.payloads!.payload(at.place, at.payloadBytes) };
    return readArgs(argsIn(this.again!.payload, at));
  }

  /**
   * The value alone, for who only wants to show it: most of a record need not be read for that.
   * @throws what reading the payload again throws
   */
  glanceAt(at: SetPlace): Buffer {
    const { place, payloadBytes, end, argsBytes } = at;
    if (argsBytes === 0) return this.readAt(at).value;
    const to = place.end - payloadBytes + end;
    return readArgs(wholeArgs(this.payloads!.glance(place.origin, to - argsBytes, to), at)).value;
  }

  /** @param args both arguments in RESP, where they are kept */
  keyAt(at: SetPlace, args: Buffer | null): string {
    return (args === null ? this.readAt(at) : readArgs(args)).key;
  }

  valueIn(args: Buffer): Buffer {
    return readArgs(args).value;
  }
}

/** Tells the records of an origin apart, and mostly their databases. */
function placeIn({ place, db }: StoredSource): number {
  return place.end * 16 + (db & 15);
}

/** The two arguments of a SET in RESP. */
export function argsIn(payload: Buffer, at: SetPlace): Buffer {
  const { end, argsBytes } = at;
  return wholeArgs(payload.subarray(argsBytes > 0 ? end - argsBytes : argsBefore(payload, end), end), at);
}

function wholeArgs(args: Buffer, { place, end }: SetPlace): Buffer {
  const value = bulkAt(args, bulkAt(args, 0).end + 2);
  if (value.end + 2 !== args.length)
    throw new Error(`${place.origin}: no SET ends ${end} bytes into the record up to ${place.end}, as the window says`);
  return args;
}

function readArgs(args: Buffer): { key: string; value: Buffer } {
  const key = bulkAt(args, 0);
  const value = bulkAt(args, key.end + 2);
  return { key: args.toString('latin1', key.start, key.end), value: args.subarray(value.start, value.end) };
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
