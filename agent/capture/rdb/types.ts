/** What an RDB holds, as values. Numbers of types and opcodes: redis/src/rdb.h, valkey/src/rdb.h. */

/** Types of values. 22 has two meanings: see HASH_METADATA_PRE_GA and HASH_2. */
export const RdbType = {
  STRING: 0,
  LIST: 1,
  SET: 2,
  ZSET: 3,
  HASH: 4,
  ZSET_2: 5,
  MODULE_PRE_GA: 6,
  MODULE_2: 7,
  HASH_ZIPMAP: 9,
  LIST_ZIPLIST: 10,
  SET_INTSET: 11,
  ZSET_ZIPLIST: 12,
  HASH_ZIPLIST: 13,
  LIST_QUICKLIST: 14,
  STREAM_LISTPACKS: 15,
  HASH_LISTPACK: 16,
  ZSET_LISTPACK: 17,
  LIST_QUICKLIST_2: 18,
  STREAM_LISTPACKS_2: 19,
  SET_LISTPACK: 20,
  STREAM_LISTPACKS_3: 21,
  /** Redis 7.4 release candidates: hash with field TTLs, absolute. */
  HASH_METADATA_PRE_GA: 22,
  /** Valkey 9 (RDB version 80 and on) took the same number: field, value, 8 bytes of expiry in ms, −1 for none. */
  HASH_2: 22,
  HASH_LISTPACK_EX_PRE_GA: 23,
  /** Redis 7.4: hash with field TTLs, relative to the least one, which stands first. */
  HASH_METADATA: 24,
  HASH_LISTPACK_EX: 25,
  /** Redis 8.6: and the memory of idempotent producers. */
  STREAM_LISTPACKS_4: 26,
  /** Redis 8.8: and pending entries without a consumer. */
  STREAM_LISTPACKS_5: 27,
} as const;

export const RdbOpcode = {
  /** Magic REDIS (8.6 and on): metadata that modules hang on the next key. Magic VALKEY: state of a slot import. */
  KEY_META_OR_SLOT_IMPORT: 243,
  SLOT_INFO: 244,
  FUNCTION2: 245,
  FUNCTION_PRE_GA: 246,
  MODULE_AUX: 247,
  IDLE: 248,
  FREQ: 249,
  AUX: 250,
  RESIZEDB: 251,
  EXPIRETIME_MS: 252,
  EXPIRETIME: 253,
  SELECTDB: 254,
  EOF: 255,
} as const;

/** From this RDB version on a payload is Valkey's own; Redis counts from below. */
export const VALKEY_RDB_VERSION = 80;

export type RdbKeyType = 'string' | 'list' | 'set' | 'hash' | 'zset' | 'stream' | 'module';

/** Field, value, and when the field expires (Unix time in ms) or null. */
export type HashItem = [field: Buffer, value: Buffer, expireAtMs: number | null];
/** Member, and its score as text that reads back as the same double: see formatScore. */
export type ZsetItem = [member: Buffer, score: string];
/** ID as `ms-seq`, and fields and values in turn. */
export type StreamItem = [id: string, fields: Buffer[]];

export interface StreamPending {
  id: string;
  /** Owner; null: taken back from its consumer (XNACK, Redis 8.8). */
  consumer: Buffer | null;
  /** Unix time in ms. */
  deliveryTimeMs: number;
  deliveryCount: number;
}

export interface StreamGroup {
  name: Buffer;
  /** Last delivered ID. */
  lastId: string;
  /** Entries read so far; null where unknown: the type of Redis 6.2 doesn't say, newer servers may not know. */
  entriesRead: number | null;
  /** By ID. */
  pending: StreamPending[];
  consumers: { name: Buffer; seenTimeMs: number; /** −1: never active. */ activeTimeMs: number }[];
}

/** A stream as its commands show it; how it was packed is gone. */
export interface StreamValue {
  entries: StreamItem[];
  /** Number of live entries in the whole stream, also where this is only the last part of it. */
  length: number;
  lastId: string;
  maxDeletedId: string;
  entriesAdded: number;
  groups: StreamGroup[];
}

export type RdbValue = Buffer | Buffer[] | HashItem[] | ZsetItem[] | StreamValue;

export interface RdbAux {
  kind: 'aux';
  /** `redis-ver`, `repl-id`, `repl-offset`, `repl-stream-db`, `ctime` … */
  key: string;
  value: Buffer;
}

interface KeyOf<T extends RdbKeyType, V> {
  kind: 'key';
  db: number;
  key: Buffer;
  type: T;
  /** Unix time in ms, or null. An expired key is in the snapshot too: only its primary may delete it. */
  expireAtMs: number | null;
  value: V;
  /** The RDB's number of the encoding, and its version: for encodeDump. */
  rdbType: number;
  rdbVersion: number;
  /** The value's bytes in the RDB (what DUMP has behind its type byte), or null where they are more than `rawBytesMax`. A view: copy to keep. */
  readonly raw: Buffer | null;
  /** A big collection comes in parts: 0, 1, … Only the `last` has a stream's groups and IDs. */
  part: number;
  last: boolean;
}

export type RdbKey =
  | KeyOf<'string', Buffer>
  | KeyOf<'list', Buffer[]>
  | KeyOf<'set', Buffer[]>
  | KeyOf<'hash', HashItem[]>
  | KeyOf<'zset', ZsetItem[]>
  | KeyOf<'stream', StreamValue>
  /** The payload as it stands behind the type byte: module's ID and fields. */
  | KeyOf<'module', Buffer>;

/** A library of functions, its source: FUNCTION LOAD takes it as it is. */
export interface RdbFunction {
  kind: 'function';
  library: Buffer;
}

export interface RdbEnd {
  kind: 'end';
  /** False: the sum differs from the bytes. True also where the server wrote none (rdbchecksum no). */
  checksumOk: boolean;
  /** As in the magic: 9–15 Redis, 80 and on Valkey. */
  rdbVersion: number;
}

export type RdbEntry = RdbAux | RdbKey | RdbFunction | RdbEnd;

/**
 * An RDB that can't be read. `TRUNCATED`: it ended early. `CORRUPT`: it contradicts itself. `TOO_BIG`: a length beyond the limit. `UNSUPPORTED`: a type or version that is not
 * known here. Never holds a key or a value.
 */
export class RdbError extends Error {
  override readonly name = 'RdbError';
  constructor(
    readonly code: 'TRUNCATED' | 'CORRUPT' | 'TOO_BIG' | 'UNSUPPORTED',
    detail: string,
    /** Byte position in the RDB or payload. */
    readonly offset: number,
  ) {
    super(`${code} at byte ${offset}: ${detail}`);
  }
}

/** A score's text: the shortest decimal that reads back as the same double; `inf`, `-inf`, `nan` as Redis writes them. */
export function formatScore(score: number): string {
  if (score === Infinity) return 'inf';
  if (score === -Infinity) return '-inf';
  if (score !== score) return 'nan';
  if (score === 0 && 1 / score < 0) return '-0';
  return String(score);
}

/** The double of a text that Redis wrote: also `inf`, `-inf`, `nan`, `+inf`, `infinity`. NaN where it is no number. */
export function parseScore(text: string): number {
  const last = text.charCodeAt(text.length - 1);
  if (last >= 48 && last <= 57) return Number(text);
  const word = text.toLowerCase();
  if (word === 'inf' || word === '+inf' || word === 'infinity' || word === '+infinity') return Infinity;
  if (word === '-inf' || word === '-infinity') return -Infinity;
  return NaN;
}
