/**
 * The config of one agent: a JSON file, written by what deploys the agent (the local stack, the Pulumi components) from
 * the stack's config. It holds no secret: passwords come from files or from MERIDIAN_REDIS_PASSWORD.
 */
import fs from 'node:fs';
import path from 'node:path';
import * as z from 'zod';
// Not by the model's index: what reads a stack's file would be in the agent's memory, unused.
import { CONFLICT_POLICIES, CONFLICT_POLICY, policyIssues } from '../model/conflict-policies';
import { type ConfigIssue, formatIssues } from '../model/explain';
import { nearest } from '../model/nearest';
import { parseSlots } from '../model/slots';
import { CONFLICT_VALUES } from './conflicts/entry';
import { LOG_LEVELS } from './log';
import { COMMAND_BYTES_MAX } from './record';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

// What a value may be is said once, in words, as the message of its schema; an error then reads "found …; allowed: …".

/** A mapping that knows its keys. */
function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const keys = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? keys.join(', ') : `a mapping with ${keys.join(', ')}`),
  });
}

function whole(min: number, max: number, unit: string) {
  const error = `a whole number from ${min} to ${max} (${unit})`;
  return z.number(error).int(error).min(min, error).max(max, error);
}

function text(allowed: string) {
  return z.string(allowed).min(1, allowed);
}

function choice<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, values.join(', '));
}

const SLOTS_ALLOWED = 'slots of a Redis Cluster, such as 0-5460, or several ranges separated by spaces';
const host = text('a host name or an address');
const port = whole(1, 65_535, 'a TCP port');
const listenPort = whole(0, 65_535, 'a TCP port; 0 takes a free one');
const file = text('the path of a file');
const listener = section({ host: host.default('127.0.0.1'), port: listenPort });

const regionName = z
  .string('the name of a region')
  .regex(/^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/, 'the name of a region: lower-case letters, digits and hyphens');

/** TLS towards Redis. */
const redisTls = section({
  /** PEM of the CA that signed the server's certificate. Default: those that Node.js trusts. */
  caFile: file.optional(),
  /** PEM of the agent's own certificate and key, where the server asks for one (`tls-auth-clients yes`). */
  certFile: file.optional(),
  keyFile: file.optional(),
  /** The name in the server's certificate. Default: the host. */
  serverName: text('the name in the certificate').optional(),
});

const schema = section({
  /** The stack's name; agents of different stacks refuse each other. */
  stack: text('the name of a stack'),
  /** The region of this agent, one of `members`. */
  region: regionName,
  /** Every region whose agreement counts: an operation is forgotten only when all of them have seen it. */
  members: z
    .array(
      section({
        name: regionName,
        weight: whole(0, 100, 'percent').default(0),
        primary: z.boolean('true or false').default(false),
      }),
      'a list of regions, each a mapping with name, weight, primary',
    )
    .min(1, 'a list of one region or more')
    .max(64, 'at most 64 regions'),
  redis: section({
    /** Where the primary is, or, with Sentinels, was when the agent was deployed. */
    host: host.default('127.0.0.1'),
    port,
    /** ACL user. Default: the user `default`. */
    username: text("a user's name").optional(),
    /** File with the password, white space around it ignored. Default: MERIDIAN_REDIS_PASSWORD, else none. */
    passwordFile: file.optional(),
    tls: redisTls.optional(),
    /** Sentinels to ask where the primary is. */
    sentinels: z
      .array(section({ host, port }), 'a list of Sentinels, each a mapping with host, port')
      .min(1, 'one Sentinel or more')
      .optional(),
    /** The name under which the Sentinels know the primary. */
    sentinelName: text("the primary's name at its Sentinels").optional(),
    /**
     * Redis is a node of a Redis Cluster: this agent serves the shard that has these slots, and follows its primary. Each shard has an agent of its own, and a mesh of its own
     * with the agents of the same slots in the other regions (docs/cluster.md).
     */
    cluster: section({
      /** The slots of the shard, all of them, such as `0-5460`. */
      slots: z.string(SLOTS_ALLOWED).refine((value) => (parseSlots(value)?.length ?? 0) > 0, SLOTS_ALLOWED),
      /** More nodes to ask where the primary is, beside `host`. Default: none. */
      nodes: z.array(section({ host, port }), 'a list of nodes, each a mapping with host, port').default([]),
    }).optional(),
    /** Log in to the Sentinels as to Redis, over TLS where Redis has it. Default: false, neither. */
    sentinelLogin: z.boolean('true or false').default(false),
    /**
     * How the agent learns what clients wrote: as a replica (`psync`), or, where the service refuses that, by keyspace notifications, with
     * the keys read back (`notifications`; see docs/managed.md for what that can't do). Default: psync.
     */
    capture: choice(['psync', 'notifications']).default('psync'),
    /** With capture `notifications`: the scan for what was not notified. Each key is read once in a round. */
    scan: section({
      /** Keys looked at in a second. Default: 2000: a million keys in 8 minutes, for about 1 % of one core of Redis. */
      keysPerSecond: whole(1, 1_000_000, 'keys a second').default(2000),
      /** Bytes that they have, in a second. Default: 8 MiB. */
      bytesPerSecond: whole(KIB, 16 * GIB, 'bytes a second').default(8 * MIB),
    }).prefault({}),
    /** Number of databases, as in the server's config. Default: 16. */
    databases: whole(1, 10_000, 'databases').default(16),
  }),
  listen: section({
    /** For other agents. */
    peer: listener,
    /** For /healthz, /status, /metrics. Only for operators: it has no password. */
    admin: listener,
    /** Where Redis, Sentinel and FAILOVER find the agent in its role as a replica. Default: nowhere. */
    replica: section({
      host: host.default('127.0.0.1'),
      port: listenPort,
      /** As whom Sentinel logs in to its replicas (`sentinel auth-user`). Default: the agent's own user. */
      username: text("a user's name").optional(),
      /** File with the password of that. Default: the agent's own password. */
      passwordFile: file.optional(),
      /** Speak TLS, with the agent's certificate for its peers: where Sentinel has `tls-replication yes`. Default: false. */
      tls: z.boolean('true or false').default(false),
    }).optional(),
  }),
  /** Whom this agent dials, by the topology. Others may dial it. */
  peers: z
    .array(section({ region: regionName, host, port }), 'a list of peers, each a mapping with region, host, port')
    .default([]),
  /** Mutual TLS between agents: PEM files. */
  tls: section({ caFile: file, certFile: file, keyFile: file }),
  /** Where the journal and the external copy of the cursor are. One agent each. */
  stateDir: text('the path of a directory'),
  replication: section({
    /** See `meridian:replication.mode`. Default: semi-sync. */
    mode: choice(['async', 'semi-sync']).default('semi-sync'),
    /** How many other regions must have journalled a change before it is acknowledged. Default: 1. */
    semiSyncRegions: whole(1, 63, 'regions').default(1),
    /** Beyond this lag a region counts as behind, and semi-sync stops acknowledging. Default: 1000. */
    maxLagMs: whole(10, 600_000, 'milliseconds').default(1000),
    /** Between two heartbeats. Default: 25. */
    heartbeatMs: whole(5, 1000, 'milliseconds').default(25),
    /** A peer that can't be reached is dialled again after 100 ms, then after twice as long each time, up to this. Default: 5000. */
    maxRedialMs: whole(100, 600_000, 'milliseconds').default(5000),
    /** Of what travels between agents. Default: auto. */
    compression: choice(['auto', 'none', 'deflate']).default('auto'),
    /** Whether a client's FLUSHALL or FLUSHDB goes to the other regions; refused, this one gets its data back from them. Default: carry. */
    flush: choice(['carry', 'refuse']).default('carry'),
    /** Reads, reports what it would do, and writes nothing to Redis: see docs/dry-run.md. Default: false. */
    dryRun: z.boolean('true or false').default(false),
  }).prefault({}),
  journal: section({
    /** Size from which the journal counts as full. Default: 8 GiB. */
    bytesMax: whole(MIB, 64 * 1024 * GIB, 'bytes').default(8 * GIB),
    /** Size of one file; space comes back file by file. Default: 64 MiB. */
    segmentBytes: whole(64 * KIB, GIB, 'bytes').default(64 * MIB),
    /**
     * Newest records kept in memory for links that keep up. What dies young costs the garbage collector nothing: with 8 MiB it
     * walked the whole heap four times a second. Default: 1 MiB.
     */
    tailBytes: whole(0, GIB, 'bytes').default(1 * MIB),
    /**
     * What may wait in memory for a disk that is slower than what comes. Beyond it the agent reads neither from Redis nor from peers until half of it is durable:
     * it lags then, and what it has not read waits in Redis' output buffer for it, and in the peers' journals. Default: 64 MiB.
     */
    pendingBytesMax: whole(MIB, 64 * GIB, 'bytes').default(64 * MIB),
    /** Flush to the disk (every 10 ms, 2 ms in semi-sync), before a record counts as durable. Turn off only where losing the machine may lose data. Default: true. */
    fsync: z.boolean('true or false').default(true),
  }).prefault({}),
  /** What is told of conflicts: docs/conflicts.md. */
  conflicts: section({
    /** See `meridian:replication.conflicts`: the same in every region. Default: none. */
    policies: z
      .array(
        section({
          keys: text('a pattern for keys').max(1024, 'a pattern of up to 1024 characters'),
          policy: text(CONFLICT_POLICIES).regex(CONFLICT_POLICY, CONFLICT_POLICIES),
          db: whole(0, 65_535, 'the number of a database').optional(),
        }),
        'a list of policies, each a mapping with keys, policy, db',
      )
      .max(100, 'at most 100 policies')
      .default([]),
    /** See `meridian:replication.conflictValues`. Default: digest. */
    values: choice(CONFLICT_VALUES).default('digest'),
    /** Size of the conflict journal; beyond it the oldest entries go. Default: 64 MiB. */
    bytesMax: whole(64 * KIB, 64 * GIB, 'bytes').default(64 * MIB),
    /** With values `full`: larger ones are kept as a digest. Default: 4 KiB. */
    valueBytesMax: whole(0, MIB, 'bytes').default(4 * KIB),
    /** Conflicts looked at in a second, on average, ten seconds' worth at once; the others are counted. Default: 100, some 50 kB/s. */
    perSecondMax: whole(1, 100_000, 'conflicts a second').default(100),
  }).prefault({}),
  limits: section({
    /** The largest MULTI … EXEC by which foreign changes are applied: Redis serves nobody else meanwhile. Default: 1 MiB. */
    applyBatchBytes: whole(KIB, 64 * MIB, 'bytes').default(MIB),
    /** The most operations in it: some 4 ms of Redis' time, where they are plain SETs. Default: 4000. */
    applyBatchOps: whole(1, 100_000, 'operations').default(4000),
    /** Received and not yet applied, over all peers; beyond, it is read from the journal later. Default: 16 MiB. */
    inboxBytes: whole(MIB, 4 * GIB, 'bytes').default(16 * MIB),
    /**
     * The largest transaction (MULTI … EXEC, or what a script did) that is taken from the stream: it is held in memory as a whole. A larger one
     * costs a full resync, by which it is found as a difference. Default: 256 MiB, from which on Redis itself cuts a replica off
     * (`client-output-buffer-limit replica 256mb`).
     */
    transactionBytes: whole(KIB, COMMAND_BYTES_MAX, 'bytes').default(256 * MIB),
    /**
     * Memory for what not every region has seen yet (the window); more goes to files in `stateDir`. What is there is read again only for
     * operations that have not seen it, such as those of a region that comes back: at some 20 µs each. More keeps regions fast that are
     * a few seconds apart under a flood of writes. Default: 256 MiB.
     */
    windowBytes: whole(MIB, 64 * GIB, 'bytes').default(256 * MIB),
    /** Bytes of the replication stream that wait in memory; more go to a temporary file. Default: 4 MiB. */
    spoolBytes: whole(MIB, 4 * GIB, 'bytes').default(4 * MIB),
    /**
     * With capture `notifications`: keys of which the agent knows what they held last, at about 150 bytes of its memory each; with more
     * keys in Redis it stops. Default: 10,000,000.
     */
    knownKeysMax: whole(1000, 250_000_000, 'keys').default(10_000_000),
    /**
     * With capture `notifications`: memory for what hashes, sets and sorted sets held last, those written last first. A change of one that is
     * there travels by element; of another as a whole. Default: 64 MiB.
     */
    lastValuesBytes: whole(0, 64 * GIB, 'bytes').default(64 * MIB),
  }).prefault({}),
  log: section({
    /** Default: MERIDIAN_LOG_LEVEL, else info. */
    level: choice(LOG_LEVELS).optional(),
  }).prefault({}),
});

/** An agent's config, checked, every default filled in, every path absolute. */
export type AgentConfig = z.output<typeof schema>;
/** What may be written into the file. */
export type AgentConfigInput = z.input<typeof schema>;

export class AgentConfigError extends Error {
  constructor(
    readonly source: string,
    readonly issues: readonly ConfigIssue[],
  ) {
    super(`${source}:\n${formatIssues(issues)}`);
    this.name = 'AgentConfigError';
  }
}

/**
 * Checks an agent's config.
 * @param source what the error calls it
 * @param baseDir what relative paths in it are relative to
 * @throws AgentConfigError with everything that is wrong
 */
export function parseAgentConfig(raw: unknown, source = 'agent config', baseDir = process.cwd()): AgentConfig {
  const result = schema.safeParse(raw);
  if (!result.success)
    throw new AgentConfigError(
      source,
      result.error.issues.flatMap((issue) => explain(raw, issue)),
    );
  const issues = check(result.data);
  if (issues.length > 0) throw new AgentConfigError(source, issues);
  return withAbsolutePaths(result.data, baseDir);
}

/** @throws AgentConfigError */
export function loadAgentConfig(configFile: string): AgentConfig {
  let raw: unknown;
  try {
    raw = JSON.parse(fs.readFileSync(configFile, 'utf8'));
  } catch (error) {
    // JSON.parse quotes what it stumbled upon, which may be a password in the wrong place: only say where.
    const missing = (error as NodeJS.ErrnoException).code;
    const found = missing === undefined ? 'text that is not JSON' : `no readable file (${missing})`;
    throw new AgentConfigError(configFile, [{ path: 'the file', found, allowed: "an agent's config as JSON" }]);
  }
  return parseAgentConfig(raw, configFile, path.dirname(path.resolve(configFile)));
}

/**
 * The password for Redis: of `passwordFile` if there is one, else of MERIDIAN_REDIS_PASSWORD.
 * @returns undefined when there is none
 * @throws AgentConfigError when the file cannot be read or is empty
 */
export function readRedisPassword(config: AgentConfig, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const { passwordFile } = config.redis;
  if (passwordFile === undefined) return env['MERIDIAN_REDIS_PASSWORD'] || undefined;
  return readPassword(passwordFile, 'redis.passwordFile');
}

/** The password that is wanted at the replica port: its own, else the one for Redis. @throws AgentConfigError */
export function readReplicaPassword(config: AgentConfig, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const passwordFile = config.listen.replica?.passwordFile;
  if (passwordFile === undefined) return readRedisPassword(config, env);
  return readPassword(passwordFile, 'listen.replica.passwordFile');
}

function readPassword(passwordFile: string, at: string): string {
  const refuse = (found: string): never => {
    throw new AgentConfigError('agent config', [
      { path: at, found: `${passwordFile}, ${found}`, allowed: 'a readable file with the password' },
    ]);
  };
  let content = '';
  try {
    content = fs.readFileSync(passwordFile, 'utf8').trim();
  } catch (error) {
    refuse(`which cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  return content === '' ? refuse('which is empty') : content;
}

/** What must fit together. */
function check(config: AgentConfig): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const names = config.members.map((member) => member.name);
  const known = names.join(', ');
  const add = (at: string, found: string, allowed: string): void => void issues.push({ path: at, found, allowed });

  names.forEach((name, i) => {
    if (names.indexOf(name) < i)
      add(`members[${i}].name`, `"${name}", the name of members[${names.indexOf(name)}] too`, 'a name of its own');
  });
  if (config.members.filter((member) => member.primary).length > 1)
    add('members', 'more than one with primary: true', 'primary: true at one region at most');
  if (!names.includes(config.region)) add('region', `"${config.region}"`, `a name in members: ${known}`);
  const dialled = config.peers.map((peer) => peer.region);
  dialled.forEach((name, i) => {
    if (name === config.region) add(`peers[${i}].region`, `"${name}", this very region`, 'another region');
    else if (!names.includes(name)) add(`peers[${i}].region`, `"${name}"`, `a name in members: ${known}`);
    else if (dialled.indexOf(name) < i)
      add(`peers[${i}].region`, `"${name}", as at peers[${dialled.indexOf(name)}] too`, 'each region once');
  });
  const { sentinels, sentinelName, cluster, tls } = config.redis;
  if (cluster !== undefined && sentinels !== undefined)
    add(
      'redis.sentinels',
      `a list of ${sentinels.length}, with redis.cluster`,
      'nothing: a cluster elects its primaries itself',
    );
  if ((sentinels === undefined) !== (sentinelName === undefined))
    add(
      'redis',
      sentinels === undefined ? 'sentinelName without sentinels' : 'sentinels without sentinelName',
      'both or none',
    );
  if (tls !== undefined && (tls.certFile === undefined) !== (tls.keyFile === undefined))
    add(
      'redis.tls',
      tls.certFile === undefined ? 'keyFile without certFile' : 'certFile without keyFile',
      'both or none',
    );
  if (config.redis.capture === 'notifications') {
    // Both need the agent to be a replica of its Redis, which it is not there.
    if (config.replication.mode === 'semi-sync')
      add('replication.mode', 'semi-sync, with redis.capture notifications', 'async: nothing can be held back there');
    if (config.listen.replica !== undefined)
      add('listen.replica', 'a mapping, with redis.capture notifications', 'nothing: the agent is no replica there');
    // What it wrote itself it knows by its own cursor, which a dry run does not write.
    if (config.replication.dryRun)
      add('replication.dryRun', 'true, with redis.capture notifications', 'false: a dry run reads by PSYNC only');
  }
  for (const { index, found, allowed } of policyIssues(config.conflicts.policies, names, config.replication.flush))
    add(index === null ? 'replication.flush' : `conflicts.policies[${index}].policy`, found, allowed);
  if (config.journal.segmentBytes * 4 > config.journal.bytesMax)
    add(
      'journal.segmentBytes',
      String(config.journal.segmentBytes),
      `a quarter of bytesMax (${config.journal.bytesMax}) or less`,
    );
  if (config.replication.maxLagMs < config.replication.heartbeatMs * 2)
    add(
      'replication.maxLagMs',
      String(config.replication.maxLagMs),
      `twice heartbeatMs (${config.replication.heartbeatMs}) or more: lag is measured by heartbeats`,
    );
  return issues;
}

function withAbsolutePaths(config: AgentConfig, baseDir: string): AgentConfig {
  const absolute = (name: string): string => path.resolve(baseDir, name);
  const optional = (name: string | undefined): string | undefined => (name === undefined ? undefined : absolute(name));
  const { listen, redis, tls } = config;
  return {
    ...config,
    stateDir: absolute(config.stateDir),
    tls: { caFile: absolute(tls.caFile), certFile: absolute(tls.certFile), keyFile: absolute(tls.keyFile) },
    listen: {
      ...listen,
      replica: listen.replica && { ...listen.replica, passwordFile: optional(listen.replica.passwordFile) },
    },
    redis: {
      ...redis,
      passwordFile: optional(redis.passwordFile),
      tls: redis.tls && {
        ...redis.tls,
        caFile: optional(redis.tls.caFile),
        certFile: optional(redis.tls.certFile),
        keyFile: optional(redis.tls.keyFile),
      },
    },
  };
}

function explain(raw: unknown, issue: z.core.$ZodIssue): ConfigIssue[] {
  if (issue.code === 'unrecognized_keys') {
    const known = issue.message.split(', ');
    return issue.keys.map((key) => ({
      path: pathOf([...issue.path, key]),
      found: 'an unknown key',
      allowed: /pass(word)?$/i.test(key)
        ? 'passwordFile, or the environment variable MERIDIAN_REDIS_PASSWORD: no secret stands in the config'
        : suggest(key, known),
    }));
  }
  const value = issue.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    raw,
  );
  return [{ path: pathOf(issue.path), found: show(value), allowed: issue.message }];
}

function suggest(word: string, known: readonly string[]): string {
  const meant = nearest(word, known);
  return meant === undefined ? known.join(', ') : `${known.join(', ')} (did you mean '${meant}'?)`;
}

function pathOf(keys: readonly PropertyKey[]): string {
  if (keys.length === 0) return 'the whole';
  return keys
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? String(key) : `.${String(key)}`))
    .join('');
}

/** What was found; of mappings and lists only the kind, for something secret may have been put there. */
function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'a mapping';
  const shown = JSON.stringify(value) ?? typeof value;
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown;
}
