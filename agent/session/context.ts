/** What an agent's parts share. */
import type { ReplicaLinkOptions } from '../capture';
import type { SlotRange } from '../../model/slots';
import type { AgentConfig } from '../config';
import type { ConflictJournal } from '../conflicts';
import type { DeadLetters, Refused } from '../dead-letters';
import type { Trial } from '../dry-run/trial';
import type { Journal } from '../journal';
import type { Logger } from '../log';
import type { ConflictPolicies } from '../../model';
import type { AgentMetrics } from '../metrics';
import type { PeerMesh } from '../peers';
import type { RedisConnectionOptions } from '../resp';
import type { OwnKeys } from '../stream/keys';
import type { Numbers } from '../stream/numbers';
import type { EmptiedMark } from './emptied';

export interface AgentContext {
  readonly config: AgentConfig;
  readonly journal: Journal;
  readonly conflicts: ConflictJournal;
  readonly policies: ConflictPolicies;
  readonly letters: DeadLetters;
  /** What a dry run finds; null where changes are applied. */
  readonly trial: Trial | null;
  readonly mesh: PeerMesh;
  readonly metrics: AgentMetrics;
  readonly log: Logger;
  readonly emptied: EmptiedMark;
  /** Of the shard, where Redis is a node of a cluster; else null. */
  readonly slots: readonly SlotRange[] | null;
  /** What it writes into Redis. */
  readonly keys: OwnKeys;
  /** How to log in at the Redis at `address`. */
  redisOptions(address: RedisAddress): RedisConnectionOptions;
  /**
   * The next session begins with a full resync. The own stream holds what can't be read (not its protocol, or a transaction beyond the limit), and
   * going on at the same place would end in the same way; or what is in no operation is to be compared.
   */
  needsResync: boolean;
  /** Whom it is to be compared with, of those that can be reached; null: anybody. */
  compareWith: string | null;
  /** What is known of the numbers in Redis, and the place in its stream up to which that is; null: nothing. */
  numbers: { readonly numbers: Numbers; readonly replId: string; readonly offset: number } | null;
  /** Where the process is in its life; shown by /status. */
  setState(state: AgentState, reason?: string): void;
}

export interface RedisAddress {
  host: string;
  port: number;
}

/** For how long the stream is gathered where a client's WAIT hangs on it. */
const SEMI_SYNC_GATHER_MS = 1;

/** How to read the stream of the Redis at `address`. */
export function replicaOptions(context: AgentContext, address: RedisAddress): ReplicaLinkOptions {
  return {
    ...context.redisOptions(address),
    ...(context.config.replication.mode === 'semi-sync' ? { gatherMs: SEMI_SYNC_GATHER_MS } : {}),
    spoolMemoryBytes: context.config.limits.spoolBytes,
    spoolDir: context.config.stateDir,
  };
}

/** The same for the agent's place among the replicas, where Sentinel and FAILOVER find it by its own port. */
export function announcedOptions(context: AgentContext, address: RedisAddress): ReplicaLinkOptions {
  const { replica } = context.config.listen;
  return {
    ...replicaOptions(context, address),
    ...(replica === undefined ? {} : { announcePort: replica.port, announceHost: replica.host }),
  };
}

/** What Redis, or this agent, can't take: it is kept, and counted. */
export function keepLetter({ letters, metrics }: AgentContext, refused: Refused): void {
  letters.add(refused);
  metrics.deadLetter(refused.code);
}

export type AgentState = 'starting' | 'syncing' | 'active' | 'standby' | 'dry-run' | 'stopped';

/** Regions that can be reached, this one included. */
export function liveRegions({ config, mesh }: AgentContext): string[] {
  const links = mesh.links().filter((link) => link.state === 'up');
  return [config.region, ...links.map((link) => link.peer)];
}

export class SessionError extends Error {
  constructor(
    readonly code: 'replica' | 'loading' | 'redis' | 'no-donor' | 'lost' | 'slots',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'SessionError';
  }
}
