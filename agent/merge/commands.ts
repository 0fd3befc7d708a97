/**
 * The command table: every write command as it appears in the replication stream, and how it is carried.
 *
 * Redis rewrites many commands before it replicates them (EXPIRE → PEXPIREAT, SPOP → SREM, GETDEL → DEL …); the table
 * names what a replica can receive, and harmlessly also the forms that only clients send.
 */

/** How an operation travels. */
export const Class = {
  /** Merged element by element; never waits. */
  element: 0,
  /** Depends on the receiver's state: verbatim while every region's keys are quiet, else the key is settled. */
  verbatim: 1,
  /** Touches whole databases: FLUSHDB, FLUSHALL, SWAPDB. */
  database: 2,
  /** Touches no key: PUBLISH, FUNCTION, SCRIPT. Carried as it is. */
  keyless: 3,
  /** The link's own traffic: never an operation. */
  control: 4,
} as const;
export type Class = (typeof Class)[keyof typeof Class];

/** Decoders of the element-wise commands (see apply-command.ts). */
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
  flushdb: 30,
  flushall: 31,
  swapdb: 32,
  publish: 33,
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
  /** First key's argument, last (negative: from the end), step; 0 for none. `numkeys` commands: see `numkeysAt`. */
  readonly firstKey: number;
  readonly lastKey: number;
  readonly keyStep: number;
  /** The argument that counts the keys which follow it, 0 for none (ZUNIONSTORE, SINTERCARD, LMPOP …). */
  readonly numkeysAt: number;
  /**
   * A verbatim command that only adds: when its keys are not quiet it is applied nevertheless, before the key is
   * settled, so that what it adds is in the settled state. Others (pops, trims) are left out: done twice at most, lost never.
   */
  readonly adds: boolean;
}

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
define('GETSET', { code: Code.getset });
define('INCR', { code: Code.incr });
define('DECR', { code: Code.decr });
define('INCRBY', { code: Code.incrby });
define('DECRBY', { code: Code.decrby });
define('DEL GETDEL', { code: Code.del, lastKey: -1 });
define('UNLINK', { code: Code.unlink, lastKey: -1 });
define('PEXPIREAT', { code: Code.pexpireat });
define('EXPIREAT', { code: Code.expireat });
define('PERSIST', { code: Code.persist });
define('HSET HMSET', { code: Code.hset });
define('HSETNX', { code: Code.hsetnx });
define('HDEL', { code: Code.hdel });
define('HINCRBY', { code: Code.hincrby });
define('SADD', { code: Code.sadd });
define('SREM', { code: Code.srem });
define('ZADD', { code: Code.zadd });
define('ZREM', { code: Code.zrem });
define('ZINCRBY', { code: Code.zincrby });

const verbatim = { class: Class.verbatim };
const additive = { class: Class.verbatim, adds: true };
define('APPEND SETRANGE SETBIT BITFIELD INCRBYFLOAT HINCRBYFLOAT', additive);
define('EXPIRE PEXPIRE GETEX RESTORE RESTORE-ASKING', verbatim);
define('HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST HSETEX HGETEX HGETDEL', additive);
define('LPUSH RPUSH LPUSHX RPUSHX LINSERT', additive);
define('LPOP RPOP LTRIM LREM LSET BLPOP BRPOP', verbatim);
define('RPOPLPUSH BRPOPLPUSH LMOVE BLMOVE', { ...verbatim, lastKey: 2 });
define('LMPOP ZMPOP', { ...verbatim, numkeysAt: 1 });
define('BLMPOP BZMPOP', { ...verbatim, firstKey: 2, numkeysAt: 2 });
define('SPOP', verbatim);
define('SMOVE', { ...verbatim, lastKey: 2 });
define('SINTERSTORE SUNIONSTORE SDIFFSTORE PFMERGE', { ...verbatim, lastKey: -1 });
define('ZPOPMIN ZPOPMAX BZPOPMIN BZPOPMAX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX', verbatim);
define('ZUNIONSTORE ZINTERSTORE ZDIFFSTORE', { ...verbatim, numkeysAt: 2 });
define('ZRANGESTORE GEOSEARCHSTORE', { ...verbatim, lastKey: 2 });
define('GEOADD PFADD', additive);
define('GEORADIUS GEORADIUSBYMEMBER SORT', { ...verbatim, lastKey: 0 }); // keys: all arguments, see keysOf
define('BITOP', { ...verbatim, firstKey: 2, lastKey: -1 });
define('RENAME RENAMENX', { ...verbatim, lastKey: 2 });
define('COPY', { ...verbatim, lastKey: 2 });
define('MOVE', verbatim);
define('XADD XCLAIM XAUTOCLAIM XACK XNACK', additive);
define('XDEL XDELEX XACKDEL XTRIM XSETID', verbatim);
define('XGROUP XINFO', { ...additive, firstKey: 2, lastKey: 2 });

const database = { class: Class.database, firstKey: 0, lastKey: 0, keyStep: 0 };
define('FLUSHDB', { ...database, code: Code.flushdb });
define('FLUSHALL', { ...database, code: Code.flushall });
define('SWAPDB', { ...database, code: Code.swapdb });

const keyless = { class: Class.keyless, firstKey: 0, lastKey: 0, keyStep: 0 };
define('PUBLISH SPUBLISH', { ...keyless, code: Code.publish });
define('FUNCTION SCRIPT', keyless);

const control = { class: Class.control, firstKey: 0, lastKey: 0, keyStep: 0 };
define('SELECT', { ...control, code: Code.select });
define('MULTI', { ...control, code: Code.multi });
define('EXEC', { ...control, code: Code.exec });
define('PING', { ...control, code: Code.ping });
define('REPLCONF', { ...control, code: Code.replconf });

/** Commands by a hash of their upper-case name: finding one costs no string. */
const byHash = new Map<number, Command>();
for (const [name, command] of table) {
  const hash = hashName(Buffer.from(name), 0, name.length);
  if (byHash.has(hash)) throw new Error(`command table: the names of ${name} and another command share a hash`);
  byHash.set(hash, command);
}

function hashName(buf: Buffer, start: number, end: number): number {
  let hash = end - start;
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + (buf[i]! & 0xdf)) | 0;
  return hash;
}

/** The table's entry for the command whose name is at [start, end), or undefined for one that it does not know. */
export function findCommand(buf: Buffer, start: number, end: number): Command | undefined {
  const command = byHash.get(hashName(buf, start, end));
  if (command === undefined || command.name.length !== end - start) return undefined;
  const name = command.name;
  for (let i = 0; i < name.length; i++) {
    const c = buf[start + i]!;
    if ((c >= 97 && c <= 122 ? c - 32 : c) !== name.charCodeAt(i)) return undefined;
  }
  return command;
}

export function commandByName(name: string): Command | undefined {
  return table.get(name.toUpperCase());
}

export function commandNames(): string[] {
  return [...table.keys()];
}

/**
 * An unknown command (a module's, or of a newer server): its first argument is taken for its key unless the server
 * said otherwise (COMMAND INFO at start), and its key travels as a state.
 */
export const UNKNOWN_COMMAND: Command = {
  name: '?',
  class: Class.verbatim,
  code: Code.none,
  firstKey: 1,
  lastKey: 1,
  keyStep: 1,
  numkeysAt: 0,
  adds: true,
};
