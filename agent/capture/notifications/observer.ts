/**
 * What is seen of keys, and what follows from it. Every look is compared with the last one: what differs, a client has done, and it
 * becomes commands of the own stream. What a block of the agent does to keys is looked at in the block itself, before and behind it.
 */
import type { Arg } from '../../resp';
import { Digester } from '../../session/digest';
import { decodeDump, type DecodedDump, RdbError, type StreamValue } from '../rdb';
import { elementChanges, hasElements } from './elements';
import { KnownKeys, type Print } from './known';
import type { KeyName, Look } from './look';
import { entryOf, isRepacked, type MadeStream } from './made-stream';
import type { Removal } from './pending';
import { LastValues } from './values';

export interface ObserverEvents {
  /** Whether what Redis holds of a key is about to be corrected: it may lack what clients wrote. */
  isAmiss(name: KeyName): boolean;
  /** Redis has removed a key because it is full. */
  evicted(): void;
  /** A key holds what this agent can't read; it stays in this region. */
  unreadable(name: KeyName, error: RdbError): void;
}

export class Observer {
  readonly known = new KnownKeys();
  readonly values: LastValues;
  private readonly digester = new Digester();

  constructor(
    private readonly stream: MadeStream,
    private readonly events: ObserverEvents,
    valueBytesMax: number,
  ) {
    this.values = new LastValues(valueBytesMax);
  }

  /**
   * Takes a look for what a client may have done.
   * @param nowMs by Redis' clock
   * @param removal how the key went if it went, where a notification has said so
   * @returns whether it had changed
   */
  see(name: KeyName, { dump, expireAtMs }: Look, nowMs: number, removal: Removal | null): boolean {
    const { db, key } = name;
    const { known, stream } = this;
    const before = known.get(db, key);
    if (dump === null) {
      if (before === null) return false;
      this.forget(name);
      // It stays in the other regions.
      if (removal === 'evicted') {
        this.events.evicted();
        return false;
      }
      const isDue = before.expireAtMs !== 0 && before.expireAtMs <= nowMs;
      if (removal === 'expired' || (removal === null && isDue)) stream.expired(db, key);
      else stream.deleted(db, key);
      return true;
    }
    const crc = crcOf(dump);
    if (before?.crcLow === crc.crcLow && before.crcHigh === crc.crcHigh) return this.seeTtl(name, before, expireAtMs);
    const decoded = this.decode(name, dump);
    const changes = before === null || decoded === null ? null : this.changesOf(name, dump, decoded);
    const print: Print = { ...crc, content: this.keep(name, dump, decoded), expireAtMs, bytes: dump.length };
    const isSame = changes?.length === 0 || (before !== null && before.content === print.content);
    if (isSame) return this.seeTtl(name, { ...print, expireAtMs: before!.expireAtMs }, expireAtMs);
    known.set(db, key, print);
    if (decoded === null) return false;
    if (changes !== null) {
      stream.change(db, changes);
      if (before!.expireAtMs !== expireAtMs) stream.ttl(db, key, expireAtMs);
      return true;
    }
    const isWhole = decoded.type === 'string' || (before !== null && !this.events.isAmiss(name));
    stream.put(db, key, decoded, expireAtMs, isWhole);
    if (!isWhole && expireAtMs === 0 && (before?.expireAtMs ?? 0) !== 0) stream.ttl(db, key, 0);
    return true;
  }

  private seeTtl({ db, key }: KeyName, before: Print, expireAtMs: number): boolean {
    this.known.set(db, key, { ...before, expireAtMs });
    if (before.expireAtMs === expireAtMs) return false;
    this.stream.ttl(db, key, expireAtMs);
    return true;
  }

  /** Element by element, where it is known what the key held; null where it is not, or where the whole is shorter. */
  private changesOf({ db, key }: KeyName, dump: Buffer, now: DecodedDump): Arg[][] | null {
    const last = hasElements(dump) ? this.values.get(db, key) : undefined;
    if (last === undefined) return null;
    const was = decodeDump(last);
    return was.type === now.type ? elementChanges(Buffer.from(key, 'latin1'), was, now) : null;
  }

  /** Takes a look for what the key holds now, whoever has done it: nothing is told. */
  learn(name: KeyName, { dump, expireAtMs }: Look): void {
    const { db, key } = name;
    if (dump === null) return this.forget(name);
    const crc = crcOf(dump);
    const before = this.known.get(db, key);
    if (before?.crcLow === crc.crcLow && before.crcHigh === crc.crcHigh) {
      this.known.set(db, key, { ...before, expireAtMs });
      return;
    }
    this.known.set(db, key, { ...crc, content: this.keep(name, dump, null), expireAtMs, bytes: dump.length });
  }

  /** Keeps what a key holds, or else a digest of it where its CRC may change by itself. @returns the digest */
  private keep(name: KeyName, dump: Buffer, decoded: DecodedDump | null): number {
    const { db, key } = name;
    if (hasElements(dump) && this.values.set(db, key, dump)) return NaN;
    this.values.delete(db, key);
    if (!isRepacked(dump[0]!)) return NaN;
    const value = decoded ?? this.decode(name, dump);
    return value === null ? NaN : this.contentOf(name, value);
  }

  private forget({ db, key }: KeyName): void {
    this.known.delete(db, key);
    this.values.delete(db, key);
  }

  /** A block has emptied databases, or exchanged two. */
  flushed(db: number | null): void {
    this.known.clear(db);
    this.values.clear();
  }

  swapped(a: number, b: number): void {
    this.known.swap(a, b);
    this.values.clear();
  }

  /** Null for what can't be read. */
  decode(name: KeyName, dump: Buffer): DecodedDump | null {
    try {
      return decodeDump(dump);
    } catch (error) {
      if (!(error instanceof RdbError)) throw error;
      this.events.unreadable(name, error);
      return null;
    }
  }

  private contentOf({ db, key }: KeyName, dump: DecodedDump): number {
    const value = dump.type === 'stream' ? withoutTimes(dump.value as StreamValue) : dump.value;
    return this.digester.add(entryOf(db, key, { ...dump, value }, 0))?.value ?? NaN;
  }
}

function crcOf(dump: Buffer): { crcHigh: number; crcLow: number } {
  return { crcLow: dump.readUInt32LE(dump.length - 8), crcHigh: dump.readUInt32LE(dump.length - 4) };
}

/** A consumer that only asks changes when it was last seen: that is no change of the stream. */
function withoutTimes(stream: StreamValue): StreamValue {
  const groups = stream.groups.map((group) => ({
    ...group,
    consumers: group.consumers.map(({ name }) => ({ name, seenTimeMs: 0, activeTimeMs: 0 })),
  }));
  return { ...stream, groups };
}
