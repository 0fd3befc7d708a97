/**
 * A model of one Redis primary: the commands that the simulator's clients and agents use, key expiry, WATCH, and the
 * replication stream as bytes, in the form that Redis 7.0 gives it:
 *
 * - commands without effect, and commands that fail, do not appear;
 * - times are absolute (`EXPIRE` → `PEXPIREAT`, `PX` → `PXAT`), a time in the past is `UNLINK k`;
 * - an expired key that a command meets is `UNLINK k` in front of the command, in one block with it;
 * - INCRBYFLOAT is `SET key value KEEPTTL`, HINCRBYFLOAT is `HSET key field value`, or `HSETEX key KEEPTTL FIELDS 1 field value` as of Redis 8: what was
 *   added is gone. (Sums are exact here, Redis rounds
 *   them to long doubles: the clients' numbers are such that it makes no difference);
 * - a block with one effective command arrives bare; SELECT stands before the block, in other versions inside it.
 *
 * `redis.test.ts` runs random commands against a real server and compares states and streams.
 */
import { ADD_SCRIPT, formatDecimal, parseDecimal } from '../../agent/merge/decimal';
import { KEEP_SCRIPT } from '../../agent/merge/field-script';
import { encodeCommand } from '../../agent/resp';
import { compareIds } from '../../agent/merge/stream-id';
import { Functions } from './functions';
import {
  addEntry,
  CommandFailed,
  dumpStream,
  emptyStream,
  idAfter,
  splice,
  type StreamValue,
  trimStream,
} from './stream';

/** A command; arguments are bytes in Latin-1. */
export type Argv = readonly string[];

export type Value =
  | { type: 'string'; string: string }
  | { type: 'hash'; hash: Map<string, string> }
  | { type: 'set'; set: Set<string> }
  | { type: 'zset'; zset: Map<string, number> }
  | { type: 'list'; list: string[] }
  | StreamValue;

export interface Entry {
  value: Value;
  /** Unix ms, null for none. */
  expireAt: number | null;
}

type Of<T extends Value['type']> = Extract<Value, { type: T }>;

export { CommandFailed };

const COARSE_MS = 16;

export type Reply = string | number | null | CommandFailed;

/** An effective command in the stream. */
export interface Emitted {
  /** Stream offset after the command. */
  readonly end: number;
  readonly db: number;
  readonly argv: Argv;
  /** Of what was INCRBYFLOAT or HINCRBYFLOAT: what it added. */
  readonly by?: string;
}

/** What ran as one: a command, or a transaction. */
export interface Unit {
  readonly start: number;
  readonly end: number;
  readonly commands: readonly Emitted[];
}

type Watched = Map<string, { version: number; expired: boolean }>;

export class Redis {
  private readonly dbs = new Map<number, Map<string, Entry>>();
  readonly functions: Functions;
  private readonly versions = new Map<string, number>();
  private version = 0;
  private bytes = Buffer.alloc(4096);
  private pending: { db: number; argv: Argv; by?: string }[] = [];
  private streamDb = -1;
  /** Where the SELECT for a block's first command stands. */
  selectsInside = false;
  /** It tells of HINCRBYFLOAT as Redis 8 does. */
  isRedis8 = false;
  /** In the order of the stream. */
  readonly units: Unit[] = [];
  offset: number;

  /**
   * @param start offset at which the stream under this replication ID begins
   * @param clock Unix ms, of this machine
   */
  constructor(
    readonly replId: string,
    readonly start: number,
    private readonly clock: () => number,
    data?: Redis,
    /** The history before this one, and where it ended in this Redis. Null: it began anew, from nothing or from its disk. */
    readonly previous: { redis: Redis; end: number } | null = null,
  ) {
    this.offset = start;
    this.functions = new Functions(data?.functions);
    if (data !== undefined)
      for (const [db, keys] of data.dbs)
        this.dbs.set(
          db,
          new Map(
            [...keys].map(([key, { value, expireAt }]) => [key, { value: structuredClone(value), expireAt }] as const),
          ),
        );
  }

  // What clients and agents do

  /** One command, or several as MULTI … EXEC. */
  run(db: number, commands: readonly Argv[]): Reply[] {
    const replies: Reply[] = [];
    let selected = db;
    for (const argv of commands) {
      if (argv[0]!.toUpperCase() === 'SELECT') {
        selected = Number(argv[1]);
        replies.push('OK');
        continue;
      }
      try {
        replies.push(this.execute(selected, argv));
      } catch (error) {
        if (!(error instanceof CommandFailed)) throw error;
        replies.push(error);
      }
    }
    this.feed();
    return replies;
  }

  watch(keys: readonly { db: number; key: string }[]): Watched {
    const watched: Watched = new Map();
    for (const { db, key } of keys)
      watched.set(`${db} ${key}`, { version: this.versionOf(db, key), expired: this.isExpired(db, key) });
    return watched;
  }

  /** @returns null when a watched key was changed */
  exec(watched: Watched, db: number, commands: readonly Argv[]): Reply[] | null {
    for (const [id, { version, expired }] of watched) {
      const space = id.indexOf(' ');
      const [keyDb, key] = [Number(id.slice(0, space)), id.slice(space + 1)];
      if (this.versionOf(keyDb, key) !== version || (!expired && this.isExpired(keyDb, key))) return null;
    }
    return this.run(db, commands);
  }

  /** Whether there is such a key, as a command that asks for it finds out. */
  has(db: number, key: string): boolean {
    const found = this.lookup(db, key) !== undefined;
    this.feed();
    return found;
  }

  /** The active expiry cycle removes one key whose time has come. @returns false when there is none */
  expireOne(): boolean {
    for (const [db, keys] of this.dbs)
      for (const key of keys.keys())
        if (this.isExpired(db, key)) {
          this.expire(db, key);
          this.feed();
          return true;
        }
    return false;
  }

  /** Bytes of the stream from `from` on. */
  read(from: number, max: number): Buffer {
    const at = from - this.start;
    return Buffer.from(this.bytes.subarray(at, Math.min(at + max, this.offset - this.start)));
  }

  /** PING, REPLCONF GETACK: bytes that are no operation; and what a new replica makes the primary do. */
  noise(kind: 'ping' | 'getack' | 'select'): void {
    if (kind === 'ping') this.append(['PING']);
    else if (kind === 'getack') this.append(['REPLCONF', 'GETACK', '*']);
    else this.streamDb = -1;
  }

  /** What a replica holds that has read this stream up to `offset`, which must be the end of a unit. */
  replicaAt(offset: number, initial: Redis): Redis {
    const replica = new Redis(this.replId, this.start, () => -Infinity, initial);
    for (const unit of this.units) {
      if (unit.end > offset) break;
      for (const { db, argv } of unit.commands) replica.execute(db, argv);
    }
    replica.pending = [];
    return replica;
  }

  // What an observer sees

  get(db: number, key: string): string | null {
    const value = this.dbs.get(db)?.get(key)?.value;
    return value?.type === 'string' ? value.string : null;
  }

  entry(db: number, key: string): Readonly<Entry> | undefined {
    return this.dbs.get(db)?.get(key);
  }

  *keys(): IterableIterator<{ db: number; key: string; value: Value; expireAt: number | null }> {
    for (const [db, keys] of this.dbs) for (const [key, entry] of keys) yield { db, key, ...entry };
  }

  /** By its machine's clock, Unix ms. */
  get nowMs(): number {
    return this.clock();
  }

  isExpired(db: number, key: string): boolean {
    const at = this.dbs.get(db)?.get(key)?.expireAt ?? null;
    return at !== null && this.clock() > at;
  }

  /** All that it holds now: what is over later is not over in that. */
  snapshot(): Redis {
    const { nowMs } = this;
    return new Redis(this.replId, this.offset, () => nowMs, this);
  }

  /** Commands that build the key anew, as a state record has them. */
  dump(db: number, key: string): Argv[] {
    const commands: Argv[] = [['DEL', key]];
    const entry = this.dbs.get(db)?.get(key);
    if (entry === undefined || this.isExpired(db, key)) return commands;
    const { value, expireAt } = entry;
    switch (value.type) {
      case 'string':
        commands.push(['SET', key, value.string]);
        break;
      case 'hash':
        commands.push(['HSET', key, ...[...value.hash].flat()]);
        break;
      case 'set':
        commands.push(['SADD', key, ...value.set]);
        break;
      case 'zset':
        commands.push(['ZADD', key, ...[...value.zset].flatMap(([member, score]) => [formatScore(score), member])]);
        break;
      case 'list':
        commands.push(['RPUSH', key, ...value.list]);
        break;
      case 'stream':
        commands.push(...dumpStream(key, value));
    }
    if (expireAt !== null) commands.push(['PEXPIREAT', key, String(expireAt)]);
    return commands;
  }

  // The stream

  private feed(): void {
    if (this.pending.length === 0) return;
    const start = this.offset;
    const emitted: Emitted[] = [];
    const block = this.pending.length > 1;
    const select = (db: number): void => {
      if (db === this.streamDb) return;
      this.append(['SELECT', String(db)]);
      this.streamDb = db;
    };
    if (block && !this.selectsInside) select(this.pending[0]!.db);
    if (block) this.append(['MULTI']);
    for (const { db, argv, by } of this.pending) {
      select(db);
      this.append(argv);
      emitted.push({ end: this.offset, db, argv, ...(by === undefined ? {} : { by }) });
    }
    if (block) this.append(['EXEC']);
    this.pending = [];
    this.units.push({ start, end: this.offset, commands: emitted });
  }

  private append(argv: Argv): void {
    const bytes = encode(argv);
    const at = this.offset - this.start;
    if (at + bytes.length > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(this.bytes.length * 2, at + bytes.length));
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    bytes.copy(this.bytes, at);
    this.offset += bytes.length;
  }

  private propagate(db: number, argv: Argv, by?: string): void {
    this.pending.push({ db, argv, ...(by === undefined ? {} : { by }) });
  }

  // The keyspace

  private versionOf(db: number, key: string): number {
    return this.versions.get(`${db} ${key}`) ?? 0;
  }

  private touch(db: number, key: string): void {
    this.versions.set(`${db} ${key}`, ++this.version);
  }

  private expire(db: number, key: string): void {
    this.dbs.get(db)!.delete(key);
    this.touch(db, key);
    this.propagate(db, ['UNLINK', key]);
  }

  private lookup(db: number, key: string): Entry | undefined {
    if (this.isExpired(db, key)) this.expire(db, key);
    return this.dbs.get(db)?.get(key);
  }

  private find<T extends Value['type']>(db: number, key: string, type: T): Of<T> | undefined {
    const entry = this.lookup(db, key);
    if (entry === undefined) return undefined;
    if (entry.value.type !== type) throw new CommandFailed('WRONGTYPE');
    return entry.value as Of<T>;
  }

  private findOrCreate<T extends Value['type']>(db: number, key: string, type: T): Of<T> {
    const found = this.find(db, key, type);
    if (found !== undefined) return found;
    const value = empty(type) as Of<T>;
    this.put(db, key, { value, expireAt: null });
    return value;
  }

  private put(db: number, key: string, entry: Entry): void {
    let keys = this.dbs.get(db);
    if (keys === undefined) this.dbs.set(db, (keys = new Map<string, Entry>()));
    keys.set(key, entry);
  }

  private remove(db: number, key: string): boolean {
    return this.dbs.get(db)?.delete(key) ?? false;
  }

  // The commands

  private execute(db: number, argv: Argv): Reply {
    const name = argv[0]!.toUpperCase();
    const key = argv[1]!;
    const done = (reply: Reply, as: Argv = argv, keys: readonly string[] = [key]): Reply => {
      for (const k of keys) this.touch(db, k);
      this.propagate(db, as);
      return reply;
    };
    switch (name) {
      case 'GET':
        return this.find(db, key, 'string')?.string ?? null;
      case 'SET':
        return this.set(db, argv);
      case 'SETNX':
        if (this.lookup(db, key) !== undefined) return 0;
        this.put(db, key, { value: { type: 'string', string: argv[2]! }, expireAt: null });
        return done(1);
      case 'GETSET': {
        const old = this.find(db, key, 'string')?.string ?? null;
        this.put(db, key, { value: { type: 'string', string: argv[2]! }, expireAt: null });
        return done(old, ['SET', key, argv[2]!]);
      }
      case 'MSET': {
        const keys: string[] = [];
        for (let i = 1; i < argv.length; i += 2) {
          this.lookup(db, argv[i]!);
          this.put(db, argv[i]!, { value: { type: 'string', string: argv[i + 1]! }, expireAt: null });
          keys.push(argv[i]!);
        }
        return done('OK', argv, keys);
      }
      case 'INCR':
        return this.incrBy(db, argv, 1n);
      case 'DECR':
        return this.incrBy(db, argv, -1n);
      case 'INCRBY':
        return this.incrBy(db, argv, BigInt(argv[2]!));
      case 'DECRBY':
        return this.incrBy(db, argv, -BigInt(argv[2]!));
      case 'APPEND': {
        const found = this.findOrCreate(db, key, 'string');
        found.string += argv[2]!;
        return done(found.string.length);
      }
      case 'DEL':
      case 'UNLINK': {
        const keys = argv.slice(1).filter((k) => this.lookup(db, k) !== undefined && this.remove(db, k));
        return keys.length === 0 ? 0 : done(keys.length, argv, keys);
      }
      case 'FLUSHDB': {
        const keys = [...(this.dbs.get(db)?.keys() ?? [])];
        this.dbs.delete(db);
        return done('OK', argv, keys);
      }
      case 'FUNCTION': {
        const reply = this.functions.run(argv);
        this.propagate(db, argv);
        return reply;
      }
      case 'EXPIRE':
        return this.expireAt(db, key, this.clock() + Number(argv[2]) * 1000);
      case 'PEXPIRE':
        return this.expireAt(db, key, this.clock() + Number(argv[2]));
      case 'PEXPIREAT':
        return this.expireAt(db, key, Number(argv[2]), argv);
      case 'PERSIST': {
        const entry = this.lookup(db, key);
        if (entry === undefined || entry.expireAt === null) return 0;
        entry.expireAt = null;
        return done(1);
      }
      case 'HSET': {
        const { hash } = this.findOrCreate(db, key, 'hash');
        for (let i = 2; i < argv.length; i += 2) hash.set(argv[i]!, argv[i + 1]!);
        return done(1);
      }
      case 'HSETEX': {
        // HSETEX key KEEPTTL FIELDS 1 field value: no field has a time to live here.
        this.findOrCreate(db, key, 'hash').hash.set(argv[5]!, argv[6]!);
        return done(1);
      }
      case 'HSETNX': {
        const { hash } = this.findOrCreate(db, key, 'hash');
        if (hash.has(argv[2]!)) return 0;
        hash.set(argv[2]!, argv[3]!);
        return done(1);
      }
      case 'HINCRBY': {
        const found = this.find(db, key, 'hash');
        const sum = add(found?.hash.get(argv[2]!), BigInt(argv[3]!));
        this.findOrCreate(db, key, 'hash').hash.set(argv[2]!, String(sum));
        return done(String(sum));
      }
      case 'INCRBYFLOAT':
        return this.addDecimal(db, key, null, argv[2]!);
      case 'HINCRBYFLOAT':
        return this.addDecimal(db, key, argv[2]!, argv[3]!);
      case 'EVAL':
        if (key === KEEP_SCRIPT) return this.execute(db, ['HSET', argv[3]!, ...argv.slice(4)]);
        if (key !== ADD_SCRIPT)
          return splice(argv, this.find(db, argv[3]!, 'stream') ?? null, (...command) => this.execute(db, command));
        return this.addDecimal(db, argv[3]!, argv[5] ?? null, argv[4]!);
      case 'HDEL': {
        const found = this.find(db, key, 'hash');
        const removed = argv.slice(2).filter((field) => found?.hash.delete(field));
        if (found?.hash.size === 0) this.remove(db, key);
        return removed.length === 0 ? 0 : done(removed.length);
      }
      case 'SADD': {
        const { set } = this.findOrCreate(db, key, 'set');
        const before = set.size;
        for (const member of argv.slice(2)) set.add(member);
        return set.size === before ? 0 : done(set.size - before);
      }
      case 'SREM': {
        const found = this.find(db, key, 'set');
        const removed = argv.slice(2).filter((member) => found?.set.delete(member));
        if (found?.set.size === 0) this.remove(db, key);
        return removed.length === 0 ? 0 : done(removed.length);
      }
      case 'ZADD':
        return this.zadd(db, argv);
      case 'ZINCRBY': {
        const found = this.find(db, key, 'zset');
        const old = found?.zset.get(argv[3]!);
        const score = (old ?? 0) + parseScore(argv[2]!);
        if (score === old) return formatScore(score);
        this.findOrCreate(db, key, 'zset').zset.set(argv[3]!, score);
        return done(formatScore(score));
      }
      case 'ZREM': {
        const found = this.find(db, key, 'zset');
        const removed = argv.slice(2).filter((member) => found?.zset.delete(member));
        if (found?.zset.size === 0) this.remove(db, key);
        return removed.length === 0 ? 0 : done(removed.length);
      }
      case 'RPUSH':
      case 'LPUSH': {
        const { list } = this.findOrCreate(db, key, 'list');
        for (const value of argv.slice(2))
          if (name === 'RPUSH') list.push(value);
          else list.unshift(value);
        return done(list.length);
      }
      case 'LPOP':
      case 'RPOP': {
        const found = this.find(db, key, 'list');
        if (found === undefined) return null;
        const value = name === 'LPOP' ? found.list.shift()! : found.list.pop()!;
        if (found.list.length === 0) this.remove(db, key);
        return done(value);
      }
      case 'LPUSHX':
      case 'LINSERT': {
        const found = this.find(db, key, 'list');
        if (found === undefined) return 0;
        if (name === 'LPUSHX') found.list.unshift(...argv.slice(2).reverse());
        else {
          const at = found.list.indexOf(argv[3]!);
          if (at < 0) return -1;
          found.list.splice(argv[2]!.toUpperCase() === 'BEFORE' ? at : at + 1, 0, argv[4]!);
        }
        return done(found.list.length);
      }
      case 'LMOVE': {
        const from = this.find(db, key, 'list');
        if (from === undefined) return null;
        const to = this.findOrCreate(db, argv[2]!, 'list');
        const value = argv[3]!.toUpperCase() === 'LEFT' ? from.list.shift()! : from.list.pop()!;
        if (argv[4]!.toUpperCase() === 'LEFT') to.list.unshift(value);
        else to.list.push(value);
        if (from.list.length === 0) this.remove(db, key);
        return done(value, argv, [key, argv[2]!]);
      }
      case 'SETBIT': {
        const [byte, bit] = [Number(argv[2]) >> 3, 7 - (Number(argv[2]) & 7)];
        const old = this.find(db, key, 'string')?.string ?? '';
        const grown = old.padEnd(byte + 1, '\0');
        const before = grown.charCodeAt(byte);
        const after = argv[3] === '1' ? before | (1 << bit) : before & ~(1 << bit);
        if (grown === old && after === before) return (before >> bit) & 1;
        this.findOrCreate(db, key, 'string').string =
          grown.slice(0, byte) + String.fromCharCode(after) + grown.slice(byte + 1);
        return done((before >> bit) & 1);
      }
      case 'ZPOPMIN': {
        const found = this.find(db, key, 'zset');
        if (found === undefined) return null;
        const [[member]] = [...found.zset].sort(([m, a], [n, b]) => a - b || (m < n ? -1 : 1)) as [[string, number]];
        found.zset.delete(member);
        if (found.zset.size === 0) this.remove(db, key);
        return done(member);
      }
      case 'XADD':
        return this.xadd(db, argv);
      case 'XDEL': {
        const found = this.find(db, key, 'stream');
        const removed = argv.slice(2).filter((id) => found?.entries.delete(id));
        if (found === undefined || removed.length === 0) return 0;
        for (const id of removed) if (compareIds(id, found.maxDeleted) > 0) found.maxDeleted = id;
        return done(removed.length);
      }
      case 'XTRIM': {
        const found = this.find(db, key, 'stream');
        const removed = found === undefined ? 0 : trimStream(found, argv[2]!, argv.at(-1)!);
        return removed === 0 ? 0 : done(removed);
      }
      case 'XSETID': {
        const found = this.find(db, key, 'stream');
        const [, , id, , added, , deleted] = argv as [string, string, string, string?, string?, string?, string?];
        if (found === undefined) throw new CommandFailed('ERR no such key');
        if (deleted !== undefined && compareIds(id, deleted) < 0)
          throw new CommandFailed('ERR smaller than the provided max_deleted_entry_id');
        const last = [...found.entries.keys()].at(-1);
        if (last !== undefined && compareIds(id, last) < 0)
          throw new CommandFailed('ERR smaller than the target stream top item');
        found.lastId = id;
        if (added !== undefined) found.added = Number(added);
        if (deleted !== undefined && deleted !== '0-0') found.maxDeleted = deleted;
        return done('OK');
      }
      default:
        throw new Error(`the model of Redis has no ${name}`);
    }
  }

  /** SET key value [NX|XX] [GET] [KEEPTTL | EX s | PX ms | PXAT ms]. */
  private set(db: number, argv: Argv): Reply {
    const [, key, value] = argv as [string, string, string];
    const old = this.lookup(db, key);
    let expireAt: number | null = null;
    const as: string[] = argv.slice(0, 3);
    for (let i = 3; i < argv.length; i++) {
      const flag = argv[i]!.toUpperCase();
      if (flag === 'NX' && old !== undefined) return null;
      if (flag === 'XX' && old === undefined) return null;
      if (flag === 'KEEPTTL') expireAt = old?.expireAt ?? null;
      if (flag === 'PX' || flag === 'EX' || flag === 'PXAT') {
        const n = Number(argv[++i]);
        expireAt = flag === 'PXAT' ? n : this.clock() + (flag === 'EX' ? n * 1000 : n);
        as.push('PXAT', String(expireAt));
      } else as.push(argv[i]!);
    }
    this.put(db, key, { value: { type: 'string', string: value }, expireAt });
    this.touch(db, key);
    this.propagate(db, as);
    return 'OK';
  }

  private addDecimal(db: number, key: string, field: string | null, by: string): Reply {
    const found = field === null ? this.find(db, key, 'string') : this.find(db, key, 'hash');
    const old = found?.type === 'hash' ? found.hash.get(field!) : found?.string;
    const before = parseDecimal(old ?? '0');
    if (before === null) throw new CommandFailed('ERR value is not a valid float');
    const sum = formatDecimal(before + parseDecimal(by)!);
    if (field === null) this.findOrCreate(db, key, 'string').string = sum;
    else this.findOrCreate(db, key, 'hash').hash.set(field, sum);
    this.touch(db, key);
    const told = this.isRedis8 ? ['HSETEX', key, 'KEEPTTL', 'FIELDS', '1', field!, sum] : ['HSET', key, field!, sum];
    this.propagate(db, field === null ? ['SET', key, sum, 'KEEPTTL'] : told, by);
    return sum;
  }

  private incrBy(db: number, argv: Argv, by: bigint): Reply {
    const key = argv[1]!;
    const sum = String(add(this.find(db, key, 'string')?.string, by));
    this.findOrCreate(db, key, 'string').string = sum;
    this.touch(db, key);
    this.propagate(db, argv);
    return sum;
  }

  private expireAt(db: number, key: string, at: number, verbatim?: Argv): Reply {
    const entry = this.lookup(db, key);
    if (entry === undefined) return 0;
    this.touch(db, key);
    if (at <= this.clock()) {
      this.remove(db, key);
      this.propagate(db, ['UNLINK', key]);
      return 1;
    }
    entry.expireAt = at;
    this.propagate(db, verbatim ?? ['PEXPIREAT', key, String(at)]);
    return 1;
  }

  /** XADD key [NOMKSTREAM] [MAXLEN|MINID [=] threshold] id|* field value …. The clock is a coarse one, so that regions give out the same IDs. */
  private xadd(db: number, argv: Argv): Reply {
    const key = argv[1]!;
    let i = 2;
    const found = this.find(db, key, 'stream');
    if (argv[i] === 'NOMKSTREAM') {
      if (found === undefined) return null;
      i++;
    }
    let trim: { by: string; to: string } | null = null;
    if (argv[i] === 'MAXLEN' || argv[i] === 'MINID') {
      const at = argv[i + 1] === '=' ? i + 2 : i + 1;
      trim = { by: argv[i]!, to: argv[at]! };
      i = at + 1;
    }
    const clockMs = Math.floor(this.clock() / COARSE_MS) * COARSE_MS;
    const id = argv[i] === '*' ? idAfter(found?.lastId ?? '0-0', clockMs) : argv[i]!;
    if (compareIds(id, found?.lastId ?? '0-0') <= 0)
      throw new CommandFailed('ERR The ID specified in XADD is equal or smaller than the target stream top item');
    const stream = this.findOrCreate(db, key, 'stream');
    addEntry(stream, id, argv.slice(i + 1));
    if (trim !== null) trimStream(stream, trim.by, trim.to);
    this.touch(db, key);
    this.propagate(db, [...argv.slice(0, i), id, ...argv.slice(i + 1)]);
    return id;
  }

  /** ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member …. */
  private zadd(db: number, argv: Argv): Reply {
    const key = argv[1]!;
    let i = 2;
    const flags = new Set<string>();
    for (; /^(?:NX|XX|GT|LT|CH|INCR)$/i.test(argv[i]!); i++) flags.add(argv[i]!.toUpperCase());
    const before = this.find(db, key, 'zset');
    const zset = new Map(before?.zset);
    let changed = 0;
    let reply: Reply = null;
    for (; i < argv.length; i += 2) {
      const old = zset.get(argv[i + 1]!);
      const given = parseScore(argv[i]!);
      const score = flags.has('INCR') ? (old ?? 0) + given : given;
      if (old !== undefined && flags.has('NX')) continue;
      if (old === undefined && flags.has('XX')) continue;
      if (old !== undefined && flags.has('GT') && score <= old) continue;
      if (old !== undefined && flags.has('LT') && score >= old) continue;
      reply = formatScore(score);
      if (old === score) continue;
      zset.set(argv[i + 1]!, score);
      changed++;
    }
    if (changed > 0) {
      this.findOrCreate(db, key, 'zset').zset = zset;
      this.touch(db, key);
      this.propagate(db, argv);
    }
    return flags.has('INCR') ? reply : changed;
  }
}

function empty(type: Value['type']): Value {
  switch (type) {
    case 'string':
      return { type, string: '' };
    case 'hash':
      return { type, hash: new Map() };
    case 'set':
      return { type, set: new Set() };
    case 'zset':
      return { type, zset: new Map() };
    case 'list':
      return { type, list: [] };
    case 'stream':
      return emptyStream();
  }
}

function add(text: string | undefined, by: bigint): bigint {
  if (text !== undefined && !/^(?:0|-?[1-9][0-9]*)$/.test(text)) throw new CommandFailed('ERR value is not an integer');
  const sum = BigInt(text ?? '0') + by;
  if (sum > 2n ** 63n - 1n || sum < -(2n ** 63n)) throw new CommandFailed('ERR increment would overflow');
  return sum;
}

function parseScore(text: string): number {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return Number(text);
}

export function formatScore(score: number): string {
  return score === Infinity ? 'inf' : score === -Infinity ? '-inf' : String(score);
}

export function encode(argv: Argv): Buffer {
  return encodeCommand(argv.map((arg) => Buffer.from(arg, 'latin1')));
}

/** RESP commands, parsed by the book; `end` counts from the buffer's first byte. */
export function parseCommands(bytes: Buffer): { argv: Argv; end: number }[] {
  const commands: { argv: Argv; end: number }[] = [];
  let at = 0;
  const line = (): string => {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) throw new Error('a command is not whole');
    const text = bytes.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  while (at < bytes.length) {
    // In the place of what is not replicated.
    if (bytes[at] === 10) {
      at++;
      continue;
    }
    const argc = Number(line().slice(1));
    const argv: string[] = [];
    for (let i = 0; i < argc; i++) {
      const length = Number(line().slice(1));
      argv.push(bytes.toString('latin1', at, at + length));
      at += length + 2;
    }
    commands.push({ argv, end: at });
  }
  return commands;
}

/** The same as words. */
export function commandsIn(bytes: Buffer): string[] {
  return parseCommands(bytes).map(({ argv }) => argv.join(' '));
}
