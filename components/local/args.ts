import { type ConfigIssue, parseStackConfig } from '../../model';
import { type ConflictPolicyArgs, type PeerTopology, type ReplicationMode } from '../agent';
import { rule } from '../common';
import { type RedisUse } from '../kubernetes';

/** One region of a LocalMesh. */
export interface LocalRegion {
  /** Its name: a DNS label, unique in the mesh. Another name is another region. */
  name: string;
  /** Its share of the traffic, in percent; at every region or at none. Default: equal parts. */
  weight?: number;
  /** Whether it begins the mesh. Exactly one does. Default: false. */
  primary?: boolean;
  /** Replicas of its Redis, 0 to 5. Default: 0, as nobody promotes them here. */
  replicas?: number;
  /** A ReplicationMode of its own. Default: `mode` of all. */
  mode?: ReplicationMode;
  /** Path of its redis-server or valkey-server, for a mesh of mixed versions. Default: `redisServer` of all. */
  redisServer?: string;
}

export interface LocalMeshArgs {
  /** Name of the stack, as the `meridian` command knows it (`--stack`), and in certificates. Another name is another mesh. */
  stack: string;
  /** The regions, at least two, in an order that decides their ports and the neighbours in a ring. */
  regions: LocalRegion[];
  /** The first of the ports; each region has ten in a row, of which the first is its Redis. Another one moves the mesh, with its data. Default: 7500. */
  basePort?: number;
  /** Path of a redis-server or valkey-server. Default: `MERIDIAN_REDIS_SERVER` in the environment, else the one on `PATH`. */
  redisServer?: string;
  /** Folder of data, logs and passwords. Another one is another mesh. Default: `.meridian/` and the stack, where the program runs. */
  stateDir?: string;
  /** Remove the folder, data included, with the mesh. Default: false; the next mesh in this folder goes on with the data. */
  purge?: boolean;
  /** Users of the applications and their rules on commands, as at RedisCredentials. Default: app, read, admin. */
  users?: { [user: string]: string[] };

  /** A PeerTopology: who talks to whom. Default: mesh, the least lag. */
  topology?: PeerTopology;
  /** The middle of a star; only with topology star. Default: the primary. */
  hub?: string;
  /** A ReplicationMode. Default: async: a person stops regions here, and the others are to go on taking writes. */
  mode?: ReplicationMode;
  /** How many other regions must have journalled a change before it is acknowledged, in semi-sync. Default: 1. */
  semiSyncRegions?: number;
  /** The lag beyond which a region counts as behind, in milliseconds. Default: 1000. */
  maxLagMs?: number;
  /** Between two heartbeats, in milliseconds: the resolution of stamps and of the measured lag. Default: 25. */
  heartbeatMs?: number;
  /** Of what travels between regions: auto, none, deflate. Default: auto. */
  compression?: string;
  /** What becomes of keys by their names, by the first pattern that matches; the same at all agents of a mesh. Default: none; all keys merge. */
  conflicts?: ConflictPolicyArgs[];
  /** What the conflict journal keeps of values: full, digest, none. Default: digest, for they may be secret. */
  conflictValues?: string;
  /** What a client's FLUSHALL does to the other regions: carry, or refuse (its region then gets its data back). Default: carry. */
  flush?: string;
  /** A trial: agents read and report what they would do, and write nothing to Redis (docs/dry-run.md). Default: false. */
  dryRun?: boolean;
  /** Size from which an agent's journal counts as full, in bytes. Default: 8 GiB. */
  journalBytes?: number;
  /** Size of one of its files, in bytes; at most a quarter of it. Default: 64 MiB. */
  journalSegmentBytes?: number;
  /** An agent's memory for what not every region has seen yet, in bytes; beyond it the oldest goes to its disk. Default: 256 MiB. */
  windowBytes?: number;

  /** A RedisUse: whether a full Redis evicts. Default: data, which refuses writes instead of losing keys. */
  use?: RedisUse;
  /** `maxmemory` of each Redis, in bytes: a limit, not a reservation. Default: 1 GiB. */
  maxmemoryBytes?: number;
  /** When the append-only file reaches the disk: always, everysec, no. Default: everysec. */
  appendfsync?: string;
  /** Replication backlog, in bytes: what the agent may miss and still continue. Default: 64 MiB. */
  backlogBytes?: number;
  /** How long the backlog is kept after the last replica left, in seconds. Default: 3600. */
  backlogTtlSeconds?: number;
  /** What may wait for a slow replica before its link is cut at once, in bytes. Default: 256 MiB. */
  outputBufferHardBytes?: number;
  /** What may wait for `outputBufferSoftSeconds`, in bytes. Default: 64 MiB. */
  outputBufferSoftBytes?: number;
  /** See `outputBufferSoftBytes`, in seconds. Default: 60. */
  outputBufferSoftSeconds?: number;
  /** How long a full sync waits for more replicas to share it, in seconds. Default: 0: on one machine nothing is gained. */
  disklessSyncDelaySeconds?: number;
  /** Replicas of a region that must be there for a write, never more than it has. Default: 1. */
  minReplicasToWrite?: number;
  /** How old their last acknowledgement may be, in seconds. Default: 10. */
  minReplicasMaxLagSeconds?: number;
}

/** The same as a stack's config, which is what the `meridian` command reads. */
export function configOf(args: LocalMeshArgs): Record<string, unknown> {
  return {
    'meridian:regions': args.regions.map((region) => ({
      ...region,
      replicas: region.replicas ?? 0,
      replicasMax: region.replicas ?? 0,
      backend: 'local',
    })),
    'meridian:replication': {
      topology: args.topology,
      hub: args.hub,
      mode: args.mode ?? 'async',
      semiSyncRegions: args.semiSyncRegions,
      maxLagMs: args.maxLagMs,
      heartbeatMs: args.heartbeatMs,
      compression: args.compression,
      conflicts: args.conflicts,
      conflictValues: args.conflictValues,
      flush: args.flush,
      dryRun: args.dryRun,
      journal: { maxBytes: args.journalBytes, segmentBytes: args.journalSegmentBytes },
      windowBytes: args.windowBytes,
    },
    'meridian:redis': {
      use: args.use,
      maxmemory: args.maxmemoryBytes ?? 2 ** 30,
      appendfsync: args.appendfsync,
      backlog: { size: args.backlogBytes, ttlSeconds: args.backlogTtlSeconds },
      outputBuffer: {
        hard: args.outputBufferHardBytes,
        soft: args.outputBufferSoftBytes,
        softSeconds: args.outputBufferSoftSeconds,
      },
      disklessSync: { enabled: true, delaySeconds: args.disklessSyncDelaySeconds ?? 0 },
      minReplicas: { toWrite: args.minReplicasToWrite, maxLagSeconds: args.minReplicasMaxLagSeconds },
    },
    'meridian:security': { tls: false, users: args.users },
    ...(args.basePort === undefined ? {} : { 'meridian:local': { basePort: args.basePort } }),
  };
}

/** Everything that is wrong with the arguments: the rules are those of a stack's config, and of its name. */
export function issuesOf(args: LocalMeshArgs): ConfigIssue[] {
  const { stack } = args;
  const isName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(stack);
  const allowed = "letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 100";
  const result = parseStackConfig(configOf(args));
  const issues = result.ok ? [] : result.issues.map(({ path, ...issue }) => ({ ...issue, path: argumentOf(path) }));
  return [...rule(isName, 'stack', stack, allowed), ...issues];
}

/** What the config calls otherwise. */
const renamed: Readonly<Record<string, string>> = {
  'replication.journal.maxBytes': 'journalBytes',
  'replication.journal.segmentBytes': 'journalSegmentBytes',
  'redis.maxmemory': 'maxmemoryBytes',
  'redis.backlog.size': 'backlogBytes',
  'redis.backlog.ttlSeconds': 'backlogTtlSeconds',
  'redis.outputBuffer.hard': 'outputBufferHardBytes',
  'redis.outputBuffer.soft': 'outputBufferSoftBytes',
  'redis.outputBuffer.softSeconds': 'outputBufferSoftSeconds',
  'redis.disklessSync.delaySeconds': 'disklessSyncDelaySeconds',
  'redis.minReplicas.toWrite': 'minReplicasToWrite',
  'redis.minReplicas.maxLagSeconds': 'minReplicasMaxLagSeconds',
};

/** The argument that a path in the config came from. */
function argumentOf(path: string): string {
  const inConfig = path.replace(/^meridian:/, '');
  return renamed[inConfig] ?? inConfig.replace(/^(replication|redis|security|local)\./, '');
}
