/**
 * What a replication stream would say: the changes that were seen, as commands in the order in which they were seen, between the agent's
 * own markers and heartbeats. The Recorder reads it as it reads a real one.
 */
import { type Arg, CommandWriter } from '../../resp';
import { CURSOR_KEY, HEARTBEAT_KEY } from '../../stream/keys';
import { type DecodedDump, type RdbKey, RdbType, toCommands } from '../rdb';

export interface MadeStreamEvents {
  /** The bytes are valid until it returns. */
  data(bytes: Buffer): void;
  /** A whole key's state, as commands: a delete, and what builds it anew. */
  state(db: number, payload: Buffer): void;
}

const BYTES = 64 * 1024;
/** Larger ones are given out at once. */
const FLUSH_BYTES = 256 * 1024;

export class MadeStream {
  private readonly writer = new CommandWriter(BYTES);
  private db = 0;

  constructor(private readonly events: MadeStreamEvents) {}

  /** Gives out what was written. Nothing of it is known to anybody before. */
  flush(): void {
    if (this.writer.commands === 0) return;
    this.events.data(this.writer.view());
    this.writer.reset();
  }

  marker(text: string): void {
    this.command(0, ['SET', CURSOR_KEY, text]);
    this.flush();
  }

  heartbeat(timeMs: number): void {
    this.command(0, ['SET', HEARTBEAT_KEY, String(timeMs)]);
    this.flush();
  }

  deleted(db: number, key: string): void {
    this.command(db, ['DEL', Buffer.from(key, 'latin1')]);
  }

  /** In the form by which Redis itself tells of an expiry: see merge/effects.ts. */
  expired(db: number, key: string): void {
    this.command(db, ['UNLINK', Buffer.from(key, 'latin1')]);
  }

  ttl(db: number, key: string, expireAtMs: number): void {
    const bytes = Buffer.from(key, 'latin1');
    this.command(db, expireAtMs === 0 ? ['PERSIST', bytes] : ['PEXPIREAT', bytes, expireAtMs]);
  }

  /** What a client did to elements of one key. */
  change(db: number, commands: readonly Arg[][]): void {
    this.select(db);
    if (commands.length > 1) this.writer.command(['MULTI']);
    for (const command of commands) this.writer.command(command);
    if (commands.length > 1) this.writer.command(['EXEC']);
    if (this.writer.length >= FLUSH_BYTES) this.flush();
  }

  /**
   * The key holds this now, whatever it held before.
   * @param isWhole what it does not hold is gone; else a block may have taken away what a correction is about to put back
   */
  put(db: number, key: string, dump: DecodedDump, expireAtMs: number, isWhole: boolean): void {
    const entry = entryOf(db, key, dump, expireAtMs);
    if (!isByElement(entry)) {
      this.flush();
      const payload = new CommandWriter(1024).command(['DEL', entry.key]);
      toCommands(entry, payload);
      this.events.state(db, payload.take());
      // A state has a position, but no bytes: these are its place in the stream.
      this.command(db, ['PING']);
      this.flush();
      return;
    }
    this.select(db);
    if (entry.type === 'string' || !isWhole) toCommands(entry, this.writer);
    else {
      this.writer.command(['MULTI']).command(['DEL', entry.key]);
      toCommands(entry, this.writer);
      this.writer.command(['EXEC']);
    }
    if (this.writer.length >= FLUSH_BYTES) this.flush();
  }

  private command(db: number, args: Arg[]): void {
    this.select(db);
    this.writer.command(args);
  }

  private select(db: number): void {
    if (this.db !== db) this.writer.command(['SELECT', db]);
    this.db = db;
  }
}

/** Whether the rule merges it element by element; else one region's state of it stands as a whole. */
function isByElement(entry: RdbKey): boolean {
  switch (entry.type) {
    case 'string':
    case 'set':
    case 'zset':
      return true;
    case 'hash':
      return entry.value.every(([, , expireAtMs]) => expireAtMs === null);
    default:
      return false;
  }
}

/** A key as a snapshot has it. */
export function entryOf(db: number, key: string, dump: DecodedDump, expireAtMs: number): RdbKey {
  const { type, value, rdbType, rdbVersion, raw } = dump;
  const name = Buffer.from(key, 'latin1');
  const at = expireAtMs === 0 ? null : expireAtMs;
  const entry = { kind: 'key', db, key: name, type, value, rdbType, rdbVersion, raw, expireAtMs: at };
  return { ...entry, part: 0, last: true } as RdbKey;
}

/** Encodings that Redis may pack anew while the value stays: their bytes differ and nothing has changed. */
const REPACKED = new Set<number>([
  RdbType.SET,
  RdbType.HASH,
  RdbType.HASH_METADATA,
  RdbType.HASH_METADATA_PRE_GA,
  RdbType.LIST_QUICKLIST,
  RdbType.LIST_QUICKLIST_2,
  RdbType.STREAM_LISTPACKS,
  RdbType.STREAM_LISTPACKS_2,
  RdbType.STREAM_LISTPACKS_3,
  RdbType.STREAM_LISTPACKS_4,
  RdbType.STREAM_LISTPACKS_5,
]);

export function isRepacked(rdbType: number): boolean {
  return REPACKED.has(rdbType);
}
