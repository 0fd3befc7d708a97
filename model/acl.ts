/**
 * Redis' users and what they may do: ACL files for Redis and for Sentinel. Rules are those of ACL SETUSER
 * (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).
 */

/** Users of our own programs. `meridian…` is refused as a name in a stack's config. */
export const SystemUser = {
  /** The sync agent. */
  Agent: 'meridian-agent',
  /** Redis nodes and Sentinels among themselves, and the probes beside them. */
  Node: 'meridian-node',
  /** redis_exporter. */
  Exporter: 'meridian-exporter',
} as const;

export interface AclUser {
  readonly name: string;
  /** SHA-256 of each password that is accepted, in hex: two while one is being replaced. */
  readonly passwordHashes: readonly string[];
  /** Such as `+@read`. */
  readonly rules: readonly string[];
}

/** Users of the applications, where a stack says nothing else, and their rules. */
export const usersDefault: Record<string, string[]> = {
  app: ['+@read', '+@write'],
  read: ['+@read'],
  admin: ['+@all'],
};

/** What every application user may do besides its own rules: log in, and put its commands into transactions. */
const everybody = ['~*', '&*', '-@all', '+@connection', '+@transaction', '-@dangerous'];

/** Of a user of the config: its rules come last, so that they decide. */
export function applicationRules(rules: readonly string[]): string[] {
  return [...everybody, ...rules];
}

/**
 * The agent replicates (PSYNC, REPLCONF), and applies whatever clients elsewhere wrote: every command that writes, publishing
 * included. It reads keys back by DUMP or, at a full sync, SCAN, hears by keyspace events why keys went, and adds to decimal numbers and puts entries of streams in order by
 * scripts (EVAL: a script may do no more than the user who runs it). It looks at libraries of functions (FUNCTION LIST), which is of the same category; Redis 6.2 would take
 * no rule that names FUNCTION. No administration: it can neither change a config nor users.
 */
export const agentRules: readonly string[] = [
  ...['~*', '&*', '-@all', '+@read', '+@write', '+@transaction', '-migrate', '-pfdebug', '-keys'],
  ...['+auth', '+ping', '+select', '+client|setname', '+time', '+info', '+psync', '+replconf', '+publish', '+spublish'],
  '+psubscribe',
  ...['+@scripting', '-script'],
];

/** Of the agent's user on a node of a Redis Cluster, besides: whether its slots are all there. */
export const clusterAgentRules: readonly string[] = ['+cluster|nodes'];

/** The agent in a dry run (docs/dry-run.md): as whom nothing can be written. PSYNC asks for no rights on keys. */
export const dryRunAgentRules: readonly string[] = [
  ...['resetkeys', '~meridian:*', 'resetchannels', '&__keyevent@*__:expired', '&__keyevent@*__:evicted'],
  ...['-@all', '+auth', '+ping', '+select', '+client|setname', '+info', '+get', '+psync', '+replconf', '+psubscribe'],
];

/** Memory, connections, commands, replication, latency: all from INFO and LATENCY. CONFIG GET would show masterauth. */
export const exporterRules: readonly string[] = [
  ...['resetchannels', '-@all', '+auth', '+ping', '+info', '+client|setname', '+latency|latest', '+latency|histogram'],
  ...['+slowlog|len', '+cluster|info'],
];

/**
 * A replica at its primary, Sentinel at both (https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/, "Redis Access Control List
 * authentication"), the probes, and the hand-over at a pod's end, which pauses writes. No keys.
 */
export const nodeRules: readonly string[] = [
  ...['&*', '-@all', '+auth', '+ping', '+info', '+role', '+psync', '+replconf', '+client|setname'],
  ...[
    '+subscribe',
    '+publish',
    '+multi',
    '+exec',
    '+slaveof',
    '+replicaof',
    '+config|rewrite',
    '+client|kill',
    '+script|kill',
  ],
  ...['+client|pause', '+client|unpause'],
];

/** In a cluster nodes also move slots with their keys to each other, and give a new one the functions. */
export const clusterNodeRules: readonly string[] = [
  ...nodeRules,
  ...[
    '~*',
    '+cluster',
    '+migrate',
    '+restore',
    '+restore-asking',
    '+asking',
    '+select',
    '+function|dump',
    '+function|list',
    '+function|restore',
  ],
];

/** At a Sentinel: who is the primary, and tell me when it changes. */
export const discoveryRules: readonly string[] = [
  ...['&*', '-@all', '+auth', '+hello', '+ping', '+role', '+client|setname', '+subscribe', '+psubscribe'],
  ...[
    '+sentinel|get-master-addr-by-name',
    '+sentinel|master',
    '+sentinel|masters',
    '+sentinel|replicas',
    '+sentinel|slaves',
  ],
  ...['+sentinel|sentinels', '+sentinel|myid'],
];

/** Sentinels among themselves, and those who ask one for a failover. */
export const sentinelNodeRules: readonly string[] = ['&*', '+@all'];

/**
 * An ACL file. Nobody can log in as the user `default`, who is off and has no password; every connection begins as nobody.
 *
 * It has rights all the same: a Redis that loads its append-only file runs it as this user, and at each EXEC looks at its rights. Without
 * them every transaction in the file is dropped in silence (7.0) or ends the server (7.2): all that the agent has applied.
 * https://github.com/redis/redis/issues/14541, https://github.com/valkey-io/valkey/issues/3983
 * @param users in the order of the file
 */
export function renderAcl(users: readonly AclUser[]): string {
  const lines = users.map(({ name, passwordHashes, rules }) =>
    ['user', name, 'reset', 'on', ...passwordHashes.map((hash) => `#${hash}`), ...rules].join(' '),
  );
  return ['user default reset off ~* &* +@all', ...lines, ''].join('\n');
}
