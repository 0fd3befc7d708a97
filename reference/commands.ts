import { Class, CLASS_NAMES, commandByName, commandNames } from '../agent/merge/commands';
import { code, paragraphs, table } from './markdown';

const about = `# Commands

<!-- Made from the command table (agent/merge/commands.ts) by \`npm run docs\`. -->

How each command that changes data travels from region to region, and what becomes of it where regions wrote the same key without having seen
each other (a *conflict*). Redis rewrites many commands before it replicates them, and the agent sees what a replica sees: EXPIRE as PEXPIREAT, SPOP as
SREM, INCRBYFLOAT as SET, a script as the commands that it ran. The rule itself is in [architecture.md](architecture.md#the-merge-rule).`;

/** What the classes mean. */
const classes: readonly [Class, string][] = [
  [Class.element, 'Merged by key, field or member, at once, whatever other regions write.'],
  [
    Class.verbatim,
    'Its result depends on what the key holds. It runs as it came where its operation had seen everything known of its keys; else the keys are settled: one region reads their state and sends it as a whole.',
  ],
  [Class.administrative, 'Of whole databases, or of the server.'],
  [
    Class.state,
    'A command that the table does not know, of a module or a newer server. Its first argument is taken for its key; it runs as it came, and in a conflict the key is settled.',
  ],
  [Class.ignored, "The link's own traffic, or nothing that a replica is told of. Not an operation."],
];

/** Commands that fare alike, and how. */
export const groups: readonly (readonly [title: string, names: string, conflict: string])[] = [
  [
    'Strings',
    'SET SETNX SETEX PSETEX GETSET MSET MSETNX MSETEX',
    'The highest (stamp, region) wins, with its time to live. Conditions (NX, XX, IFEQ …) were judged in the region of the client, and only there.',
  ],
  ['Counters', 'INCR DECR INCRBY DECRBY HINCRBY', 'All of them add up. A SET or HSET replaces what it had seen.'],
  [
    'Deletes',
    'DEL UNLINK GETDEL DELEX DELIFEQ',
    'Removes what it had seen; what another region wrote unseen survives. So do elements of a collection, one by one. An eviction (`maxmemory-policy`) stays in its region.',
  ],
  [
    'Times to live',
    'EXPIREAT PEXPIREAT PERSIST EXPIRE PEXPIRE GETEX',
    'The later one wins. A time to live goes with the value that it was given to. An expiry does not remove what another region had renewed.',
  ],
  ['Hashes', 'HSET HMSET HSETNX HDEL', 'Field by field: the later write wins; HDEL removes what it had seen.'],
  [
    'Times to live of fields',
    'HPEXPIREAT HEXPIREAT HPERSIST HSETEX HEXPIRE HPEXPIRE HGETEX HGETDEL',
    'Field by field: the later one wins, and goes with the value that it was given to; HSET takes it away. A field expires as an HDEL, so an HDEL does not remove a field that another region has given a time to live unseen: it stays, and that region tells it. (The last four arrive as the first four, or as HDEL.)',
  ],
  ['Sets', 'SADD SREM SPOP SMOVE', 'Member by member: an SADD that a removal had not seen survives it.'],
  [
    'Sorted sets',
    'ZADD ZREM ZINCRBY GEOADD',
    'Member by member: the later score wins, and increments add up. GT, LT, NX and XX were judged in the region of the client.',
  ],
  [
    'Of sorted sets, by rank or range',
    'ZPOPMIN ZPOPMAX BZPOPMIN BZPOPMAX ZMPOP BZMPOP ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX',
    'Settled by a state: a member may be popped twice, never lost.',
  ],
  [
    'Lists',
    'LPUSH RPUSH LPUSHX RPUSHX LINSERT LSET LPOP RPOP LTRIM LREM BLPOP BRPOP LMPOP BLMPOP RPOPLPUSH BRPOPLPUSH LMOVE BLMOVE',
    'Settled by a state: what was pushed is in it; an element may be popped twice.',
  ],
  [
    'Streams',
    'XADD XDEL XTRIM XSETID XDELEX XACKDEL XCFGSET XGROUP XREADGROUP XCLAIM XAUTOCLAIM XACK XNACK',
    'Entry by entry, in the order of IDs; of two with the same ID one moves to another sequence number. XDEL and trims remove what they had seen. Groups are carried, not merged. XACKDEL, and XDELEX … ACKED of several IDs, are settled by a state.',
  ],
  ['Bytes and bits', 'APPEND SETRANGE SETBIT BITFIELD BITOP', 'Settled by a state: what was appended or set is in it.'],
  [
    'Decimal counters',
    'INCRBYFLOAT HINCRBYFLOAT INCREX',
    'The first two arrive as writes of the result, and are recorded as what they added, where what was there is known: increments add up, to the last digit. INCREX is settled by a state.',
  ],
  ['HyperLogLogs', 'PFADD PFMERGE PFCOUNT', 'Settled by a state. (PFCOUNT keeps in the key what it has counted.)'],
  [
    'From keys into a key',
    'COPY RENAME RENAMENX MOVE SORT SINTERSTORE SUNIONSTORE SDIFFSTORE ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZRANGESTORE GEOSEARCHSTORE GEORADIUS GEORADIUSBYMEMBER RESTORE RESTORE-ASKING',
    'All keys that it reads or writes are settled, each by a state.',
  ],
  [
    'Scripts',
    'EVAL EVALSHA FCALL',
    'Arrive as the commands that they ran; as themselves only from Redis 6.2 with `lua-replicate-commands no`.',
  ],
  ['Arrays', 'ARSET ARMSET ARINSERT ARDEL ARDELRANGE ARRING ARSEEK', 'Settled by a state.'],
  [
    'Vector sets, JSON, probabilistic types, time series',
    'VADD VREM VSETATTR JSON.SET JSON.MSET JSON.MERGE JSON.NUMINCRBY JSON.NUMMULTBY JSON.NUMPOWBY JSON.STRAPPEND JSON.ARRAPPEND JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.TOGGLE JSON.CLEAR JSON.DEL JSON.FORGET ' +
      'BF.RESERVE BF.ADD BF.MADD BF.INSERT BF.LOADCHUNK BF.LOAD CF.RESERVE CF.ADD CF.ADDNX CF.INSERT CF.INSERTNX CF.DEL CF.LOADCHUNK CF.COMPACT CMS.INITBYDIM CMS.INITBYPROB CMS.INCRBY CMS.MERGE ' +
      'TOPK.RESERVE TOPK.ADD TOPK.INCRBY TDIGEST.CREATE TDIGEST.RESET TDIGEST.ADD TDIGEST.MERGE TS.CREATE TS.ALTER TS.ADD TS.MADD TS.INCRBY TS.DECRBY TS.DEL TS.CREATERULE TS.DELETERULE',
    "Settled by a state: one region's value stands as a whole.",
  ],
  [
    'Whole databases',
    'FLUSHDB FLUSHALL',
    'A delete of everything that it had seen; what it had not seen survives, in the flushed region too. With `replication.flush: refuse` it stays in its region, which gets its data back from the others.',
  ],
  ['Databases change places', 'SWAPDB', 'Carried as it is. Not merged with unseen writes to the two databases.'],
  [
    'Functions',
    'FUNCTION',
    'By the name of the library: the later LOAD stands; DELETE and FLUSH remove what they had seen; RESTORE is a LOAD of each library in it. Of two libraries with a function of one name the later stands.',
  ],
  ['Scripts, by their sum', 'SCRIPT', 'Carried as it is.'],
  ['Messages', 'PUBLISH SPUBLISH', "Carried as they are, but for Sentinel's own."],
  ["The link's own", 'SELECT MULTI EXEC PING REPLCONF', 'A transaction is carried whole.'],
  [
    'Never seen',
    'MIGRATE PFDEBUG CLUSTER EXISTS COMMAND LASTSAVE',
    'MIGRATE arrives as DEL; the agent does not follow a cluster. The last three are the names under which journals have what stays in its region: an eviction, a flush that is refused.',
  ],
];

/** Servers that the table was compared with, by `npx jest agent/merge/commands` with MERIDIAN_REDIS_SERVER. */
const compared = 'Redis 6.2.16, 7.0.15, 7.2.6, 7.4.1, 8.0.6 and 8.2.3, and Valkey 8.0.1, 8.1.1 and 9.1.2';

/** docs/commands.md. */
export function commandsReference(): string {
  const grouped = groups.flatMap(([, names]) => names.split(' '));
  const missing = commandNames().filter((name) => !grouped.includes(name));
  if (missing.length > 0) throw new Error(`reference/commands.ts: say what becomes of ${missing.join(', ')}`);
  const rows = groups.flatMap(([title, names, conflict]) => {
    const byClass = new Map<Class, string[]>();
    for (const name of names.split(' ')) {
      const command = commandByName(name);
      if (command === undefined) throw new Error(`reference/commands.ts: the table has no ${name}`);
      byClass.set(command.class, [...(byClass.get(command.class) ?? []), name]);
    }
    return [...byClass].map(([kind, some]) => [title, some.map(code).join(' '), CLASS_NAMES[kind], conflict]);
  });
  return `${paragraphs(
    about,
    table(
      ['Class', 'What it means'],
      classes.map(([kind, meaning]) => [CLASS_NAMES[kind], meaning]),
    ),
    table(['', 'Commands', 'Class', 'In a conflict'], rows),
    `The table names every command that ${compared} say changes data, and sees their keys where these servers do; a test compares it with the server at hand ` +
      '(`agent/merge/commands.test.ts`). Commands of later versions, up to Redis 8.8, are from their documentation.',
  )}\n`;
}
