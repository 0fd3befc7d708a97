/** What a mesh needs from its agent, and what it tells. */
import type { Logger } from 'pino';
import type { OriginId } from '../record';
import type { Beat } from './beat';
import type { PeerErrorCode } from './error';
import type { RequestHandler } from './request';

/** What an origin's reader offers: encoded records, in order. */
export interface RecordReader {
  /** The next records, about `maxBytes` of them but at least one; none when all that there is was read. */
  read(maxBytes: number): Promise<Buffer[]>;
  /** Resolves when there may be more to read, and when the reader is closed. */
  wait(): Promise<void>;
  close(): void;
}

export interface RecordSource {
  /** What is here to be read, own and foreign. */
  origins(): { origin: OriginId; end: number; complete?: boolean }[];
  /** Reads from the record that `from` is in or before; `missing` when that was trimmed away. */
  reader(origin: OriginId, from: number): RecordReader | { missing: true; firstStart: number };
}

export interface PeerAddress {
  region: string;
  host: string;
  port: number;
}

export interface TlsFiles {
  /** PEM, of the mesh's CA. */
  ca: Buffer;
  /** PEM, of this region. */
  cert: Buffer;
  /** PEM. */
  key: Buffer;
}

export interface Timing {
  /** Between pings. */
  pingMs: number;
  /** A link without a pong for so long is down. */
  deadMs: number;
  /** From dialling to the peer's Hello. */
  helloMs: number;
  /** Between acknowledgements, at least. */
  ackMs: number;
  backoffMinMs: number;
  backoffMaxMs: number;
  /** What stop() gives the links to send what is left. */
  drainMs: number;
}

export const TIMING: Timing = {
  pingMs: 1000,
  deadMs: 5000,
  helloMs: 5000,
  ackMs: 10,
  backoffMinMs: 100,
  backoffMaxMs: 5000,
  drainMs: 2000,
};

export interface PeerMeshOptions {
  region: string;
  stack: string;
  /** The conflict policies, as text; peers with others are refused. Default: none. */
  policies?: string;
  /** Of the shard of a cluster that this agent serves, as text; peers with others are refused. Default: none, all keys. */
  slots?: string;
  /** Version of what records mean; peers of another one are refused. */
  meshVersion: number;
  listen: { host: string; port: number };
  /** Those to dial. In a ring or star not all regions; the others are reached through them. */
  peers: PeerAddress[];
  tls: TlsFiles;
  source: RecordSource;
  /** Position up to which an origin's records were taken by onRecords, or came otherwise; -1: nothing. */
  have(origin: OriginId): number;
  /** Position up to which they would outlive a crash of this machine; peers may drop them. */
  durable(origin: OriginId): number;
  /**
   * Whole encoded records of one origin, in order. `have` covers them once this returns, or its promise resolves; the
   * promise also holds back the link. A rejection resets the link, and they come again.
   */
  onRecords(records: Buffer[], from: string): void | Promise<void>;
  /** After all records of its origin up to beat.position were handed to onRecords. */
  onBeat(beat: Beat, from: string): void;
  /** No connected peer has what follows `have`; `from`, the last one asked, begins at firstStart. Repeated every 10 s. */
  onMissing(origin: OriginId, firstStart: number, from: string): void;
  /** A peer told how far it has journalled the origins that it takes from here. */
  onAck?(peer: string, durable: ReadonlyMap<OriginId, number>): void;
  /** Whether to follow an origin at all. Default: all but this region's own. */
  wants?(origin: OriginId): boolean;
  /** Requests that other agents may make, by name. */
  handlers: Record<string, RequestHandler>;
  compression: 'auto' | 'none' | 'deflate';
  log: Logger;
  timing?: Partial<Timing>;
}

export type LinkState = 'connecting' | 'up' | 'down';

export interface LinkStatus {
  peer: string;
  /** Of the stream by which this agent receives. */
  state: LinkState;
  /** When it became so, in ms since 1970. */
  since: number;
  rttMs: number | null;
  /** Whether the peer's stream, by which this agent sends, is up. */
  serving: boolean;
  /** Records' bytes, and what they were on the wire when compressed. */
  sentBytes: number;
  sentWireBytes: number;
  sentRecords: number;
  receivedBytes: number;
  receivedRecords: number;
  duplicateRecords: number;
  /** To be sent, from the positions that the peer acknowledged. */
  pendingBytes: number;
  /** What broke the link last; absent while it is up. */
  error?: { code: PeerErrorCode; message: string };
  /** How often each kind of error broke it. */
  errors: Partial<Record<PeerErrorCode, number>>;
  /** Regions whose records come by it. */
  routes: string[];
}
