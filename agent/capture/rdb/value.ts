/** One value of an RDB, read step by step: a step is an element, or a packed node of them. */
import { type Cursor } from './cursor';
import { intsetItems, Listpack, listpackItems, zipmapItems, ziplistItems } from './packed';
import {
  formatScore,
  type HashItem,
  parseScore,
  type RdbKeyType,
  RdbType,
  type RdbValue,
  type StreamGroup,
  type StreamItem,
  type StreamValue,
  VALKEY_RDB_VERSION,
  type ZsetItem,
} from './types';

/** By RDB type. */
const KEY_TYPE: readonly (RdbKeyType | undefined)[] = ((): (RdbKeyType | undefined)[] => {
  const t: (RdbKeyType | undefined)[] = [];
  t[RdbType.STRING] = 'string';
  for (const n of [RdbType.LIST, RdbType.LIST_ZIPLIST, RdbType.LIST_QUICKLIST, RdbType.LIST_QUICKLIST_2]) t[n] = 'list';
  for (const n of [RdbType.SET, RdbType.SET_INTSET, RdbType.SET_LISTPACK]) t[n] = 'set';
  for (const n of [RdbType.ZSET, RdbType.ZSET_2, RdbType.ZSET_ZIPLIST, RdbType.ZSET_LISTPACK]) t[n] = 'zset';
  for (const n of [RdbType.HASH, RdbType.HASH_ZIPMAP, RdbType.HASH_ZIPLIST, RdbType.HASH_LISTPACK]) t[n] = 'hash';
  for (const n of [22, 23, 24, 25]) t[n] = 'hash';
  for (const n of [15, 19, 21, 26, 27]) t[n] = 'stream';
  t[RdbType.MODULE_2] = 'module';
  return t;
})();

/** Elements that have come are handed on when so many are waiting (or so many bytes): a collection needs no memory for all of it. */
export interface PartLimits {
  elements: number;
  bytes: number;
}

const NO_ID = '0-0';
/** What rdbSaveLen makes of SCG_INVALID_ENTRIES_READ, −1. */
const ENTRIES_READ_UNKNOWN = 2n ** 64n - 1n;
const U64 = 64;

/**
 * Reads values from a cursor. `begin` with the type, `run` until it is true; when `run` is false a part is ready: `take` it, and go on. `run` lets NEED_MORE through, with the
 * cursor's mark at what is not yet read.
 */
export class ValueReader {
  type: RdbKeyType = 'string';
  /** The step in progress reads much at once: asking for twice the bytes each time keeps its retries linear. */
  bulkStep = false;
  private rdbType = 0;
  private valkey = false;
  /** Elements or nodes still to come; −1: their number has not been read. */
  private left = -1;
  private minExpireMs = 0;
  private buffers: Buffer[] = [];
  private hash: HashItem[] = [];
  private zset: ZsetItem[] = [];
  private bytes = 0;
  private single: Buffer | null = null;
  private entries: StreamItem[] = [];
  private stream: StreamValue | null = null;
  private groupsLeft = 0;

  /** @throws RdbError UNSUPPORTED */
  begin(c: Cursor, rdbType: number, rdbVersion: number): void {
    const type = KEY_TYPE[rdbType];
    if (type === undefined) throw c.error('UNSUPPORTED', `a value of RDB type ${rdbType} (RDB version ${rdbVersion})`);
    this.type = type;
    this.rdbType = rdbType;
    this.valkey = rdbVersion >= VALKEY_RDB_VERSION;
    this.left = -1;
    this.bulkStep = false;
    this.stream = null;
  }

  /** True: complete. False: a part is full. */
  run(c: Cursor, limits: PartLimits): boolean {
    switch (this.type) {
      case 'string':
        this.single = c.string();
        c.mark = c.pos;
        return true;
      case 'module': {
        this.bulkStep = true;
        const from = c.pos;
        c.number(); // the module's ID
        c.skipModuleFields();
        this.single = c.buf.subarray(from, c.pos);
        this.bulkStep = false;
        c.mark = c.pos;
        return true;
      }
      case 'stream':
        return this.runStream(c, limits);
      default:
        return this.runCollection(c, limits);
    }
  }

  /** What has been read since the last `take`. */
  take(): RdbValue {
    let value: RdbValue;
    switch (this.type) {
      case 'string':
      case 'module':
        value = this.single as Buffer;
        this.single = null;
        break;
      case 'list':
      case 'set':
        value = this.buffers;
        this.buffers = [];
        break;
      case 'hash':
        value = this.hash;
        this.hash = [];
        break;
      case 'zset':
        value = this.zset;
        this.zset = [];
        break;
      case 'stream': {
        const meta = this.stream;
        value = {
          entries: this.entries,
          length: meta?.length ?? 0,
          lastId: meta?.lastId ?? NO_ID,
          maxDeletedId: meta?.maxDeletedId ?? NO_ID,
          entriesAdded: meta?.entriesAdded ?? 0,
          groups: meta?.groups ?? [],
        };
        this.entries = [];
        break;
      }
    }
    this.bytes = 0;
    return value;
  }

  private runCollection(c: Cursor, limits: PartLimits): boolean {
    if (this.left < 0) this.openCollection(c);
    const rdbType = this.rdbType;
    while (this.left > 0) {
      const before = c.pos;
      switch (rdbType) {
        case RdbType.LIST:
        case RdbType.SET:
          this.buffers.push(c.string());
          break;
        case RdbType.ZSET: {
          const member = c.string();
          this.zset.push([member, formatScore(oldDouble(c))]);
          break;
        }
        case RdbType.ZSET_2: {
          const member = c.string();
          this.zset.push([member, formatScore(c.double())]);
          break;
        }
        case RdbType.HASH: {
          const field = c.string();
          this.hash.push([field, c.string(), null]);
          break;
        }
        case RdbType.HASH_METADATA_PRE_GA: // and Valkey's HASH_2
        case RdbType.HASH_METADATA:
          this.hash.push(this.hashElement(c));
          break;
        case RdbType.LIST_QUICKLIST: {
          const node = c.string();
          append(this.buffers, ziplistItems(node, c.base + before));
          break;
        }
        case RdbType.LIST_QUICKLIST_2: {
          const container = c.count();
          const node = c.string();
          if (container === 1) this.buffers.push(node);
          else if (container === 2) append(this.buffers, listpackItems(node, c.base + before));
          else throw c.error('CORRUPT', `a list node of kind ${container}`);
          break;
        }
        default:
          this.packedWhole(c, before);
      }
      this.left--;
      c.mark = c.pos;
      this.bytes += c.pos - before;
      const count = this.buffers.length + this.hash.length + this.zset.length;
      if ((count >= limits.elements || this.bytes >= limits.bytes) && this.left > 0) return false;
    }
    return true;
  }

  /** What stands before the elements. */
  private openCollection(c: Cursor): void {
    switch (this.rdbType) {
      case RdbType.HASH_METADATA: {
        const minExpireMs = c.millis();
        this.left = c.count();
        this.minExpireMs = minExpireMs;
        break;
      }
      case RdbType.LIST:
      case RdbType.SET:
      case RdbType.ZSET:
      case RdbType.ZSET_2:
      case RdbType.HASH:
      case RdbType.HASH_METADATA_PRE_GA:
      case RdbType.LIST_QUICKLIST:
      case RdbType.LIST_QUICKLIST_2:
        this.left = c.count();
        break;
      case RdbType.HASH_LISTPACK_EX:
        c.millis(); // the least expiry: the elements say it again
        this.left = 1;
        break;
      default:
        this.left = 1;
    }
    c.mark = c.pos;
  }

  private hashElement(c: Cursor): HashItem {
    if (this.rdbType === RdbType.HASH_METADATA_PRE_GA && this.valkey) {
      const field = c.string();
      const value = c.string();
      const at = c.millis();
      return [field, value, at < 0 ? null : at];
    }
    const ttl = c.count();
    const field = c.string();
    const value = c.string();
    if (ttl === 0) return [field, value, null];
    // Relative to the least expiry, and one more, so that 0 means none.
    return [field, value, this.rdbType === RdbType.HASH_METADATA ? ttl + this.minExpireMs - 1 : ttl];
  }

  /** A collection that is one packed string. */
  private packedWhole(c: Cursor, before: number): void {
    const at = c.base + before;
    const packed = c.string();
    switch (this.rdbType) {
      case RdbType.LIST_ZIPLIST:
        this.buffers = ziplistItems(packed, at);
        return;
      case RdbType.SET_INTSET:
        this.buffers = intsetItems(packed, at);
        return;
      case RdbType.SET_LISTPACK:
        this.buffers = listpackItems(packed, at);
        return;
      case RdbType.ZSET_ZIPLIST:
      case RdbType.ZSET_LISTPACK: {
        const flat = this.rdbType === RdbType.ZSET_ZIPLIST ? ziplistItems(packed, at) : listpackItems(packed, at);
        if (flat.length % 2 !== 0) throw c.error('CORRUPT', 'a sorted set with a member that has no score');
        for (let i = 0; i < flat.length; i += 2) {
          const score = parseScore((flat[i + 1] as Buffer).toString('latin1'));
          this.zset.push([flat[i] as Buffer, formatScore(score)]);
        }
        return;
      }
      case RdbType.HASH_ZIPMAP:
      case RdbType.HASH_ZIPLIST:
      case RdbType.HASH_LISTPACK: {
        const flat =
          this.rdbType === RdbType.HASH_ZIPMAP
            ? zipmapItems(packed, at)
            : this.rdbType === RdbType.HASH_ZIPLIST
              ? ziplistItems(packed, at)
              : listpackItems(packed, at);
        if (flat.length % 2 !== 0) throw c.error('CORRUPT', 'a hash with a field that has no value');
        for (let i = 0; i < flat.length; i += 2) this.hash.push([flat[i] as Buffer, flat[i + 1] as Buffer, null]);
        return;
      }
      case RdbType.HASH_LISTPACK_EX_PRE_GA:
      case RdbType.HASH_LISTPACK_EX: {
        const pack = new Listpack(packed, at);
        while (!pack.done) {
          const field = pack.nextValue();
          const value = pack.nextValue();
          const expireAtMs = pack.nextInt();
          this.hash.push([field, value, expireAtMs === 0 ? null : expireAtMs]);
        }
        return;
      }
      default:
        throw c.error('UNSUPPORTED', `RDB type ${this.rdbType}`);
    }
  }

  private runStream(c: Cursor, limits: PartLimits): boolean {
    if (this.left < 0) {
      this.left = c.count();
      c.mark = c.pos;
    }
    while (this.left > 0) {
      const before = c.pos;
      const nodeKey = c.string();
      const node = c.string();
      if (nodeKey.length !== 16) throw c.error('CORRUPT', 'a stream node without an ID');
      streamNode(c, nodeKey, node, this.entries, c.base + before);
      this.left--;
      c.mark = c.pos;
      this.bytes += c.pos - before;
      // Also behind the last node: what follows is the groups.
      if (this.entries.length >= limits.elements || this.bytes >= limits.bytes) return false;
    }
    if (this.stream === null) {
      const meta = this.streamMeta(c);
      this.groupsLeft = c.count();
      this.stream = meta; // only now: the step may be taken again
      c.mark = c.pos;
    }
    this.bulkStep = true;
    while (this.groupsLeft > 0) {
      this.stream.groups.push(this.streamGroup(c));
      this.groupsLeft--;
      c.mark = c.pos;
    }
    if (this.rdbType >= RdbType.STREAM_LISTPACKS_4) skipProducers(c);
    this.bulkStep = false;
    c.mark = c.pos;
    return true;
  }

  private streamMeta(c: Cursor): StreamValue {
    const length = c.count();
    const lastId = id(c.number(), c.number());
    const meta = { entries: [], length, lastId, maxDeletedId: NO_ID, entriesAdded: length, groups: [] };
    if (this.rdbType === RdbType.STREAM_LISTPACKS) return meta;
    c.number(); // the first entry's ID: the entries say it
    c.number();
    const maxDeletedId = id(c.number(), c.number());
    return { ...meta, maxDeletedId, entriesAdded: c.count() };
  }

  private streamGroup(c: Cursor): StreamGroup {
    const name = c.string();
    const lastId = id(c.number(), c.number());
    let entriesRead: number | null = null;
    if (this.rdbType !== RdbType.STREAM_LISTPACKS) {
      const read = c.number();
      if (typeof read === 'number') entriesRead = read;
      else if (read !== ENTRIES_READ_UNKNOWN) throw c.error('CORRUPT', 'a group that has read too much');
    }
    const pending: StreamGroup['pending'] = [];
    const byId = new Map<string, StreamGroup['pending'][number]>();
    for (let n = c.count(); n > 0; n--) {
      const entry = { id: rawId(c), consumer: null, deliveryTimeMs: c.millis(), deliveryCount: c.count() };
      pending.push(entry);
      byId.set(entry.id, entry);
    }
    const consumers: StreamGroup['consumers'] = [];
    for (let n = c.count(); n > 0; n--) {
      const consumer = c.string();
      const seenTimeMs = c.millis();
      const activeTimeMs = this.rdbType >= RdbType.STREAM_LISTPACKS_3 ? c.millis() : seenTimeMs;
      consumers.push({ name: consumer, seenTimeMs, activeTimeMs });
      for (let owned = c.count(); owned > 0; owned--) {
        const entry = byId.get(rawId(c));
        if (entry === undefined) throw c.error('CORRUPT', "a consumer's pending entry that its group doesn't have");
        entry.consumer = consumer;
      }
    }
    if (this.rdbType >= RdbType.STREAM_LISTPACKS_5) for (let n = c.count(); n > 0; n--) c.skip(16); // pending without an owner
    return { name, lastId, entriesRead, pending, consumers };
  }
}

function append(to: Buffer[], items: Buffer[]): void {
  for (let i = 0; i < items.length; i++) to.push(items[i] as Buffer);
}

/** A double as text behind a length byte (RDB type 3). */
function oldDouble(c: Cursor): number {
  const length = c.byte();
  if (length === 255) return -Infinity;
  if (length === 254) return Infinity;
  if (length === 253) return NaN;
  const from = c.skip(length);
  return parseScore(c.buf.toString('latin1', from, from + length));
}

function id(ms: number | bigint, seq: number | bigint): string {
  return `${ms}-${seq}`;
}

/** 16 bytes, big endian: a stream ID. */
function rawId(c: Cursor): string {
  const at = c.skip(16);
  return id(c.buf.readBigUInt64BE(at), c.buf.readBigUInt64BE(at + 8));
}

/** Memory of idempotent producers (Redis 8.6): it has no command that would rebuild it. */
function skipProducers(c: Cursor): void {
  c.number(); // duration
  c.number(); // most entries
  for (let n = c.count(); n > 0; n--) {
    c.skipString();
    for (let entries = c.count(); entries > 0; entries--) {
      c.skipString();
      c.number();
      c.number();
    }
  }
  c.number(); // added
  c.number(); // duplicates
}

function isSmall(n: number): boolean {
  return n >= 0 && n <= Number.MAX_SAFE_INTEGER;
}

const DELETED = 1;
const SAME_FIELDS = 2;

/**
 * Entries of one node of a stream. Its listpack: a master entry (count, deleted, number of fields, fields, 0), then entries with flags, ID relative to the node's, fields unless
 * they are the master's, values, and the entry's length for walking back (redis/src/t_stream.c, "Listpack format").
 */
function streamNode(c: Cursor, nodeKey: Buffer, node: Buffer, out: StreamItem[], at: number): void {
  const pack = new Listpack(node, at);
  const masterMs = nodeKey.readBigUInt64BE(0);
  const masterSeq = nodeKey.readBigUInt64BE(8);
  const small = masterMs < 2n ** 52n && masterSeq < 2n ** 52n;
  const ms0 = Number(masterMs);
  const seq0 = Number(masterSeq);

  let left = pack.nextInt() + pack.nextInt();
  const masterFields: Buffer[] = [];
  for (let n = pack.nextInt(); n > 0; n--) masterFields.push(pack.nextValue());
  if (pack.nextInt() !== 0) throw c.error('CORRUPT', "a stream node's master entry without an end");

  for (; left > 0; left--) {
    const flags = pack.nextInt();
    const ms = pack.nextBig();
    const seq = pack.nextBig();
    const fields: Buffer[] = [];
    if ((flags & SAME_FIELDS) !== 0) {
      for (const field of masterFields) fields.push(field, pack.nextValue());
    } else {
      for (let n = pack.nextInt(); n > 0; n--) {
        pack.next();
        const field = pack.value();
        fields.push(field, pack.nextValue());
      }
    }
    pack.nextInt(); // elements of this entry
    if ((flags & DELETED) !== 0) continue;
    if (small && typeof ms === 'number' && typeof seq === 'number' && isSmall(ms0 + ms) && isSmall(seq0 + seq)) {
      out.push([id(ms0 + ms, seq0 + seq), fields]);
    } else {
      // Differences of unsigned 64-bit numbers, written as signed ones.
      out.push([id(BigInt.asUintN(U64, masterMs + BigInt(ms)), BigInt.asUintN(U64, masterSeq + BigInt(seq))), fields]);
    }
  }
}
