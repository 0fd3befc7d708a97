/**
 * The inlet: where what links receive is put in order and handed on. It knows, per origin, how far records were handed
 * on, whichever link they came by; it drops what is there already and stops at what doesn't follow.
 */
import { decodeRecord, RecordKind, type OpRecord, type OriginId } from '../record';
import type { PlacedBeat } from './beat';
import { messageOf, PeerError } from './error';

/** A link's subscription, as the receiver keeps it. */
export interface Following {
  readonly id: number;
  readonly origin: OriginId;
  /** Start of the last record received by it. */
  lastStart: number;
}

export interface InletOptions {
  have(origin: OriginId): number;
  onRecords(records: Buffer[], from: string): void | Promise<void>;
}

export class Inlet {
  readonly #handed = new Map<OriginId, number>();
  readonly #busy = new Map<OriginId, Promise<void>>();
  readonly #beats = new Map<OriginId, { position: number; timeMs: number }>();

  constructor(private readonly o: InletOptions) {}

  /** Up to where an origin's records were handed on, or are here by other means; -1: nothing. */
  position(origin: OriginId): number {
    return Math.max(this.o.have(origin), this.#handed.get(origin) ?? -1);
  }

  /** Forgets what was handed on: `have` alone counts again. */
  rewind(origin: OriginId): void {
    this.#handed.delete(origin);
    this.#beats.delete(origin);
  }

  /** Resolves when nothing is being handed on. */
  async settled(): Promise<void> {
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy.values());
  }

  /**
   * Hands on the records of one subscription, in order.
   * @param verified whether the records' checksums were verified already
   * @returns how many records were new, and whether the rest does not follow
   * @throws PeerError when a record is wrong, or the consumer refuses
   */
  async deliver(
    following: Following,
    records: readonly Buffer[],
    from: string,
    verified: boolean,
  ): Promise<{ fresh: number; gap: boolean }> {
    const { origin } = following;
    const headers = records.map((bytes) => this.#check(following, bytes, verified));
    // An earlier link's last batch may still be under way when the next link takes over.
    for (let busy = this.#busy.get(origin); busy; busy = this.#busy.get(origin)) await busy.catch(() => undefined);

    let position = this.position(origin);
    let gap = false;
    const fresh: Buffer[] = [];
    for (const [i, header] of headers.entries()) {
      if (header.end <= position) continue;
      // Of an origin of which nothing is here, only its first record can follow.
      if (position < 0 ? header.kind !== RecordKind.birth : header.start > position) {
        gap = true;
        break;
      }
      fresh.push(records[i]!);
      position = header.end;
    }
    if (fresh.length > 0) await this.#hand(origin, fresh, position, from);
    return { fresh: fresh.length, gap };
  }

  #check(following: Following, bytes: Buffer, verified: boolean): OpRecord {
    let record: OpRecord;
    try {
      record = decodeRecord(bytes, { verify: !verified });
    } catch (error) {
      throw new PeerError('record', messageOf(error));
    }
    if (record.origin !== following.origin)
      throw new PeerError('malformed', `record of another origin than ${following.origin}`);
    if (record.start < following.lastStart)
      throw new PeerError('regression', `${record.origin} went back from ${following.lastStart} to ${record.start}`);
    following.lastStart = record.start;
    return record;
  }

  #hand(origin: OriginId, records: Buffer[], end: number, from: string): void | Promise<void> {
    let result: void | Promise<void>;
    try {
      result = this.o.onRecords(records, from);
    } catch (error) {
      throw new PeerError('consumer', messageOf(error));
    }
    if (!result) {
      this.#handed.set(origin, end);
      return;
    }
    const done = result.then(
      () => {
        this.#busy.delete(origin);
        this.#handed.set(origin, end);
      },
      (error: unknown) => {
        this.#busy.delete(origin);
        this.#handed.delete(origin);
        throw new PeerError('consumer', messageOf(error));
      },
    );
    this.#busy.set(origin, done);
    return done;
  }

  /**
   * Whether a beat is newer than the last one of its origin. A link that takes over repeats the last.
   * @throws PeerError `malformed` when it came before its records
   */
  admit({ beat, after }: PlacedBeat): boolean {
    if (after > this.position(beat.origin))
      throw new PeerError('malformed', `beat of ${beat.origin} at ${beat.position} came before its records`);
    const last = this.#beats.get(beat.origin);
    if (last && (beat.position < last.position || (beat.position === last.position && beat.timeMs <= last.timeMs)))
      return false;
    this.#beats.set(beat.origin, { position: beat.position, timeMs: beat.timeMs });
    return true;
  }
}
