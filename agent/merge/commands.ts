/**
 * The command table: every write command of Redis 6.2 – 8.8 and Valkey 8 – 9, and how it is carried.
 *
 * Redis rewrites many commands before it replicates them (EXPIRE → PEXPIREAT, SPOP → SREM, GETDEL → DEL …). The table names
 * what a replica can receive, and also the forms that only clients send: commands.test.ts compares it with what the server
 * under test says of itself, and docs/commands.md says what becomes of each in a conflict.
 */

/** How an operation travels. */
export const Class = {
  /** Merged element by element; never waits. */
  element: 0,
  /** Depends on the receiver's state: verbatim while every region's keys are quiet, else the key is settled by a state. */
  verbatim: 1,
  /** Of whole databases or the server: FLUSHALL, SWAPDB, FUNCTION, PUBLISH. Merged as a whole, or carried as it is. */
  administrative: 2,
  /** The link's own traffic, and what Redis never replicates as such: no operation. */
  ignored: 3,
  /**
   * Nobody here knows what it does: its keys' states are read at an exact place of the stream (the fence), and sent. Of what a
   * module brings, where the table doesn't name its commands.
   */
  state: 4,
} as const;
export type Class = (typeof Class)[keyof typeof Class];

/** The classes' names, as docs and messages say them. */
export const CLASS_NAMES: Readonly<Record<Class, string>> = {
  [Class.element]: 'element-wise merge',
  [Class.verbatim]: 'verbatim while quiet',
  [Class.administrative]: 'administrative',
  [Class.ignored]: 'ignored',
  [Class.state]: 'fenced state',
};

/** Decoders of the element-wise commands (see effects.ts). */
export const Code = {
  none: 0,
  set: 1, // SET key value [KEEPTTL | PXAT ms | …]
  setnx: 2, // SETNX key value
  setex: 3, // SETEX key seconds value
  psetex: 4,
  mset: 5, // MSET, MSETNX
  getset: 6,
  incr: 7,
  decr: 8,
  incrby: 9,
  decrby: 10,
  del: 11,
  unlink: 12,
  pexpireat: 13,
  persist: 14,
  hset: 15, // HSET, HMSET
  hsetnx: 16,
  hdel: 17,
  hincrby: 18,
  sadd: 19,
  srem: 20,
  zadd: 21,
  zrem: 22,
  zincrby: 23,
  expireat: 24,
  xadd: 50,
  xdel: 51,
  xdelex: 52,
  xtrim: 53,
  xsetid: 54,
  xgroup: 55,
  xclaim: 56, // and all else about pending entries
  delone: 25, // GETDEL key, DELIFEQ key value, DELEX key [condition]: of the first argument alone
  msetex: 26, // MSETEX numkeys key value … [NX|XX] [KEEPTTL | PXAT ms | …]
  incrbyfloat: 27, // of differences: in a stream they are SET … KEEPTTL and HSET
  hincrbyfloat: 28,
  hpexpireat: 35, // HPEXPIREAT key ms [condition] FIELDS n field …
  hexpireat: 36,
  hpersist: 37,
  flushdb: 30,
  flushall: 31,
  swapdb: 32,
  publish: 33,
  function: 38, // FUNCTION LOAD, DELETE, FLUSH, RESTORE: of libraries, see function-commands.ts
  hsetex: 34, // HSETEX key [condition] [PXAT ms | KEEPTTL] FIELDS n field value …
  select: 40,
  multi: 41,
  exec: 42,
  ping: 43,
  replconf: 44,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

export interface Command {
  readonly name: string;
  readonly class: Class;
  readonly code: Code;
  /** The first key's argument, 0 for none. */
  readonly firstKey: number;
  /** The last one (negative: from the end); ALL_ARGUMENTS: which are keys depends on options. */
  readonly lastKey: number;
  readonly keyStep: number;
  /** The argument that counts the keys which follow it, 0 for none (ZUNIONSTORE, LMPOP …); a `firstKey` before it is one too. */
  readonly numkeysAt: number;
  /**
   * A verbatim command that only adds: when its keys are not quiet it is applied nevertheless, before the key is
   * settled, so that what it adds is in the settled state. Others (pops, trims) are left out: done twice at most, lost never.
   */
  readonly adds: boolean;
}

/** As `lastKey`: any argument may be a key (SORT … BY … STORE k), so all count. */
export const ALL_ARGUMENTS = 0;

const table = new Map<string, Command>();

function define(names: string, options: Partial<Omit<Command, 'name'>>): void {
  for (const name of names.split(' '))
    table.set(name, {
      name,
      class: Class.element,
      code: Code.none,
      firstKey: 1,
      lastKey: 1,
      keyStep: 1,
      numkeysAt: 0,
      adds: false,
      ...options,
    });
}

define('SET', { code: Code.set });
define('SETNX', { code: Code.setnx });
define('SETEX', { code: Code.setex });
define('PSETEX', { code: Code.psetex });
define('MSET MSETNX', { code: Code.mset, lastKey: -1, keyStep: 2 });
define('MSETEX', { code: Code.msetex, numkeysAt: 1, keyStep: 2 });
define('GETSET', { code: Code.getset });
define('INCR', { code: Code.incr });
define('DECR', { code: Code.decr });
define('INCRBY', { code: Code.incrby });
define('DECRBY', { code: Code.decrby });
define('DEL', { code: Code.del, lastKey: -1 });
define('UNLINK', { code: Code.unlink, lastKey: -1 });
define('GETDEL DELEX DELIFEQ', { code: Code.delone });
define('PEXPIREAT', { code: Code.pexpireat });
define('EXPIREAT', { code: Code.expireat });
define('PERSIST', { code: Code.persist });
define('HSET HMSET', { code: Code.hset });
define('HSETNX', { code: Code.hsetnx });
define('HDEL', { code: Code.hdel });
define('HINCRBY', { code: Code.hincrby });
define('INCRBYFLOAT', { code: Code.incrbyfloat });
define('HINCRBYFLOAT', { code: Code.hincrbyfloat });
define('SADD', { code: Code.sadd });
define('SREM', { code: Code.srem });
define('ZADD', { code: Code.zadd });
define('ZREM', { code: Code.zrem });
define('ZINCRBY', { code: Code.zincrby });
define('XADD', { code: Code.xadd });
define('XDEL', { code: Code.xdel });
define('XDELEX', { code: Code.xdelex });
define('XTRIM', { code: Code.xtrim });
define('XSETID', { code: Code.xsetid });
define('XGROUP', { code: Code.xgroup, firstKey: 2, lastKey: 2 });
define('XCLAIM XAUTOCLAIM XACK XNACK XCFGSET', { code: Code.xclaim });

const verbatim = { class: Class.verbatim };
const additive = { class: Class.verbatim, adds: true };
define('APPEND SETRANGE SETBIT BITFIELD INCREX', additive);
define('EXPIRE PEXPIRE GETEX RESTORE RESTORE-ASKING', verbatim);
define('HEXPIRE HPEXPIRE HGETEX HGETDEL', additive); // they arrive as those below, or as HDEL
define('HPEXPIREAT', { code: Code.hpexpireat });
define('HEXPIREAT', { code: Code.hexpireat });
define('HPERSIST', { code: Code.hpersist });
define('HSETEX', { code: Code.hsetex });
define('LPUSH RPUSH LPUSHX RPUSHX LINSERT', additive);
define('LPOP RPOP LTRIM LREM LSET', verbatim);
define('BLPOP BRPOP BZPOPMIN BZPOPMAX', { ...verbatim, lastKey: -2 });
define('RPOPLPUSH BRPOPLPUSH LMOVE BLMOVE', { ...verbatim, lastKey: 2 });
define('LMPOP ZMPOP', { ...verbatim, numkeysAt: 1 });
define('BLMPOP BZMPOP', { ...verbatim, firstKey: 2, numkeysAt: 2 });
define('SPOP', verbatim);
define('SMOVE', { ...verbatim, lastKey: 2 });
define('SINTERSTORE SUNIONSTORE SDIFFSTORE PFMERGE', { ...verbatim, lastKey: -1 });
define('ZPOPMIN ZPOPMAX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX', verbatim);
define('ZUNIONSTORE ZINTERSTORE ZDIFFSTORE', { ...verbatim, numkeysAt: 2 });
define('ZRANGESTORE GEOSEARCHSTORE', { ...verbatim, lastKey: 2 });
define('GEOADD PFADD', additive);
define('PFCOUNT', { ...verbatim, lastKey: -1 }); // it writes what it has counted into the key
define('GEORADIUS GEORADIUSBYMEMBER SORT', { ...verbatim, lastKey: ALL_ARGUMENTS });
define('BITOP', { ...verbatim, firstKey: 2, lastKey: -1 });
define('RENAME RENAMENX', { ...verbatim, lastKey: 2 });
define('COPY', { ...verbatim, lastKey: 2 });
define('MOVE', verbatim);
define('XACKDEL', verbatim);
define('XREADGROUP', { ...additive, lastKey: ALL_ARGUMENTS });

// Replicated as what they come to; by themselves only where Redis 6.2 is told to (lua-replicate-commands no).
define('EVAL EVALSHA FCALL', { ...verbatim, firstKey: 2, numkeysAt: 2 });

// Arrays, of Redis 8.8.
define('ARSET ARMSET ARINSERT', additive);
define('ARDEL ARDELRANGE ARRING ARSEEK', verbatim);

// What Redis 8 has built in, and the modules that come with it or with Valkey's bundle. Others of theirs write no keys (FT.*).
define('VADD VREM VSETATTR', verbatim);
define('JSON.SET JSON.MERGE JSON.NUMINCRBY JSON.NUMMULTBY JSON.NUMPOWBY JSON.STRAPPEND JSON.ARRAPPEND', verbatim);
define('JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.TOGGLE JSON.CLEAR JSON.DEL JSON.FORGET', verbatim);
define('JSON.MSET', { ...verbatim, lastKey: -1, keyStep: 3 });
define('BF.RESERVE BF.ADD BF.MADD BF.INSERT BF.LOADCHUNK BF.LOAD', verbatim);
define('CF.RESERVE CF.ADD CF.ADDNX CF.INSERT CF.INSERTNX CF.DEL CF.LOADCHUNK CF.COMPACT', verbatim);
define('CMS.INITBYDIM CMS.INITBYPROB CMS.INCRBY', verbatim);
define('CMS.MERGE TDIGEST.MERGE', { ...verbatim, numkeysAt: 2 });
define('TOPK.RESERVE TOPK.ADD TOPK.INCRBY', verbatim);
define('TDIGEST.CREATE TDIGEST.RESET TDIGEST.ADD', verbatim);
define('TS.CREATE TS.ALTER TS.ADD TS.INCRBY TS.DECRBY TS.DEL', verbatim);
define('TS.MADD', { ...verbatim, lastKey: -1, keyStep: 3 });
define('TS.CREATERULE TS.DELETERULE', { ...verbatim, lastKey: 2 });

const administrative = { class: Class.administrative, firstKey: 0, lastKey: 0, keyStep: 0 };
define('FLUSHDB', { ...administrative, code: Code.flushdb });
define('FLUSHALL', { ...administrative, code: Code.flushall });
define('SWAPDB', { ...administrative, code: Code.swapdb });
define('PUBLISH SPUBLISH', { ...administrative, code: Code.publish });
define('FUNCTION', { ...administrative, code: Code.function });
define('SCRIPT', administrative);

const ignored = { class: Class.ignored, firstKey: 0, lastKey: 0, keyStep: 0 };
define('SELECT', { ...ignored, code: Code.select });
define('MULTI', { ...ignored, code: Code.multi });
define('EXEC', { ...ignored, code: Code.exec });
define('PING', { ...ignored, code: Code.ping });
define('REPLCONF', { ...ignored, code: Code.replconf });
// Replicated as the DEL that it comes to; changes how a key is kept, not what it holds; of a cluster, which no agent follows.
define('MIGRATE PFDEBUG CLUSTER', ignored);
// As which the recorder writes what stays in its region: an UNLINK that was an eviction, a FLUSHDB, a FLUSHALL. As long, and no writes.
define('EXISTS COMMAND LASTSAVE', ignored);

/** Commands by a hash of their upper-case name, open addressing: finding one costs no string, and hardly a step. */
const SLOTS = 1024;
const slots: (Command | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
for (const [name, command] of table) {
  let slot = slotOf(Buffer.from(name), 0, name.length);
  while (slots[slot] !== undefined) slot = (slot + 1) % SLOTS;
  slots[slot] = command;
}

function slotOf(buf: Buffer, start: number, end: number): number {
  let hash = end - start;
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + (buf[i]! & 0xdf)) | 0;
  return (hash ^ (hash >>> 10) ^ (hash >>> 20)) & (SLOTS - 1);
}

/** The table's entry for the command whose name is at [start, end), or undefined for one that it does not know. */
export function findCommand(buf: Buffer, start: number, end: number): Command | undefined {
  for (let slot = slotOf(buf, start, end); ; slot = (slot + 1) % SLOTS) {
    const command = slots[slot];
    if (command === undefined || isNamed(command.name, buf, start, end)) return command;
  }
}

function isNamed(name: string, buf: Buffer, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    const c = buf[start + i]!;
    if ((c >= 97 && c <= 122 ? c - 32 : c) !== name.charCodeAt(i)) return false;
  }
  return true;
}

export function commandByName(name: string): Command | undefined {
  return table.get(name.toUpperCase());
}

export function commandNames(): string[] {
  return [...table.keys()];
}

/** An unknown command (a module's, or of a newer server): its first argument is taken for its key, which travels as a state. */
export const UNKNOWN_COMMAND: Command = {
  name: '?',
  class: Class.state,
  code: Code.none,
  firstKey: 1,
  lastKey: 1,
  keyStep: 1,
  numkeysAt: 0,
  adds: true,
};
