/** How what clients do in one Redis becomes known: two ways, by the replication stream and by keyspace notifications. */
import type { EventEmitter } from 'node:events';
import type { LinkError } from './errors';
import type { RdbEntry } from './rdb';
import type { StreamPosition, SyncOutcome } from './replica-link';

export interface CaptureEvents {
  /** Bytes of the stream, valid until the listener returns; `offsetBefore` is the offset before their first. */
  data: [chunk: Buffer, offsetBefore: number];
  /** Once, when it has ended. Without an error: `close` was called. */
  close: [error?: LinkError];
}

export interface Capture extends EventEmitter<CaptureEvents> {
  /** Begins where `from` says, or else with a snapshot. @throws LinkError, ConnectionError; it is closed then */
  connect(from: StreamPosition | null): Promise<SyncOutcome>;
  /** After `full`, once: all keys. When it has been read to its end the stream flows. */
  snapshotBatches(): AsyncGenerator<RdbEntry[], void, void>;
  /** Somebody waits for the stream up to `offset`: what has come is given out at once. */
  hurry(offset: number): void;
  /** Whether what clients do is left in Redis for now: whoever keeps it has no room. */
  hold(on: boolean): void;
  /** The stream is safe here up to this offset. */
  ack(offset: number): void;
  close(): void;
}
