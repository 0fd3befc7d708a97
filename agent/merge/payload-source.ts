/** Where the bytes of records that were let go of come from. */
import type { OpRecord, OriginId } from '../record';

/** What finds a record, or the record that it is a part of. */
export type RecordPlace = Pick<OpRecord, 'origin' | 'start' | 'end'>;

export interface PayloadSource {
  /** Of payloads, so much is kept nevertheless, in bytes: by those that wait to be met (tail.ts), and by those of the table of SETs. */
  readonly keepBytes: number;
  /** Whether `payload` could give them now. */
  has(place: RecordPlace): boolean;
  /** A stream record's payload, once more: the `bytes` bytes of the origin's stream that end at `place.end`. */
  payload(place: RecordPlace, bytes: number): Buffer;
  /** The bytes [from, to) of an origin's stream, which stand in one record: a small part for little, and unverified. */
  glance(origin: OriginId, from: number, to: number): Buffer;
}
