/** What an agent finds around it, and what it tells others beside records. */
import type { OpRecord, OriginId } from '../../agent/record';
import type { ConflictPolicies } from '../../model';
import type { SimAgent } from './agent';
import type { Redis } from './redis';

/** A region's report of what it has seen, in order with its records. */
export interface SimBeat {
  /** Grows with every beat of a region. */
  readonly seq: number;
  readonly region: string;
  readonly origin: OriginId;
  readonly position: number;
  readonly seen: ReadonlyMap<OriginId, number>;
  /** End of the origin's last record before the beat. */
  readonly after: number;
}

export interface SimAgentHost {
  readonly region: string;
  /** As its config says now. */
  members(): readonly string[];
  readonly policies: ConflictPolicies;
  /** Beyond so much memory the window goes to a shelf. */
  readonly shelf: { budgetBytes: number; operations: number; largeBytes: number } | undefined;
  redis(): Redis;
  /** The agent's clock, ms. */
  now(): number;
  /** A clock that only goes forward, ms. */
  uptime(): number;
  /** Regions that this one can talk to, itself included. */
  live(): string[];
  /** All others that can be reached wait for data, too. */
  isHopeless(): boolean;
  /** What a failover can't take back: offset of the own stream that is safe. */
  safeOffset(): number;
  nextSeq(): number;
  /** Which of `n`. */
  pick(n: number): number;
  trace(text: string): void;
  /** Asks another region for the state of a key. */
  ask(region: string, db: number, key: string): void;
  /** An own record is on disk. */
  durable(record: OpRecord): void;
  /** It has told what was found by comparing these data of its Redis, and takes part. */
  compared(keys: Redis): void;
  /** Up to where all other regions have an origin on disk. */
  durableElsewhere(origin: OriginId): number;
  /** The furthest that another region has an origin, whether it can be reached or not. */
  knownElsewhere(origin: OriginId): number;
  /** Other agents that this one can talk to, and that take part; in any order. */
  peers(): SimAgent[];
}
