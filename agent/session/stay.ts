/** One stay beside a primary, as the agent sees it: a session that takes part, or a dry run. */
import type { NotificationCapture } from '../capture';
import type { StoredLetter } from '../dead-letters/letter';
import type { MergeCore } from '../merge/core';
import type { Beat } from '../peers';
import type { OpRecord, OriginId, Vector } from '../record';
import type { RedisConnection } from '../resp';
import type { RedisAddress } from './context';
import type { MeshAnswer } from './difference';
import type { Donor, SettleRequest } from './donor';
import type { ServerInfo } from './info';
import type { Throughput } from './throughput';

/** A stay was ended by its agent: nothing has failed. */
export class Stopped extends Error {}

export interface Stay {
  readonly address: RedisAddress;
  readonly core: MergeCore;
  readonly server: ServerInfo | null;
  /** Where changes are captured by notifications. */
  readonly keyspace: NotificationCapture | null;
  /** For what reads beside the stream. */
  readonly control: RedisConnection | null;
  readonly captured: Throughput;
  readonly applied: Throughput;
  /** Positions in Redis, by origin. */
  readonly vector: Vector;
  readonly heartbeats: ReadonlyMap<string, { timeMs: number; receivedMs: number }>;
  readonly isLive: boolean;
  readonly isAtRest: boolean;
  readonly origin: OriginId | null;
  readonly position: number;

  /** Runs until a connection is lost or `stop` is called. @throws why it ended, but for `stop` */
  run(): Promise<void>;
  /** Reads what clients have written by now, so that peers get it before the end. @throws why the stay ended meanwhile */
  readAll(): Promise<void>;
  stop(): void;

  /** Whether an origin's records are wanted from peers. */
  wants(origin: OriginId): boolean;
  /** No peer has what comes before `start`. @returns false where it would be missing */
  begin(origin: OriginId, start: number): boolean;
  /** Records from a peer, journalled already. */
  offer(record: OpRecord): void;
  beat(beat: Beat): void;
  noteDurable(beat: Beat): void;
  acknowledged(peer: string, durable: Vector): void;
  /** New records can be read by peers. */
  readable(): void;
  /** New records are durable. */
  durable(): void;
  pending(matches: (origin: OriginId) => boolean): { operations: number; bytes: number };
  /** The regions that can be reached directly, this one included. */
  live(): string[];

  /** What this region can give to others; null while it has nothing to give. */
  donor(): Donor | null;
  standing(): MeshAnswer;
  settle(request: SettleRequest): void;
  retry(letter: StoredLetter): Promise<string>;
}
