/**
 * Turns the replication stream into records: what clients did, with stamp and *seen*, without what agents applied.
 *
 * Both are functions of the stream's bytes alone. Time enters by heartbeats, *seen* by the cursor in each applied block.
 * The payload of a record is the stream's own bytes: whole commands and whole MULTI … EXEC blocks, not re-encoded.
 *
 * Observed with Redis 7.0: a transaction with one effective command arrives without MULTI, so that a cursor can stand
 * alone; an expired key puts `UNLINK k` inside the block that touched it, before the block's own commands.
 */
import { CommandScanner } from '../resp';
import { Class, Code, findCommand, type Command } from '../merge/commands';
import type { OriginId, OpRecord, Vector } from '../record';
import { RecordKind } from '../record';
import { CURSOR_KEY, HEARTBEAT_KEY, type Marker, OWN_PREFIX, parseMarker, stampOf } from './keys';

export interface RecorderState {
  origin: OriginId;
  /** Replication offset: bytes of the stream consumed. */
  offset: number;
  /** End of the origin's last record. */
  end: number;
  /** The next operation's stamp. */
  stamp: number;
  seen: Vector;
  /** Database selected at `offset`. */
  db: number;
  /** Time of the last heartbeat read, ms. */
  heartbeatMs: number;
}

export interface RecorderEvents {
  /** Operations of this region, in order. */
  record(record: OpRecord): void;
  /** A block that an agent applied ends at `offset`. All records before it have been given. */
  marker(marker: Marker, offset: number): void;
  /** A heartbeat stands at `offset`. All records before it have been given. */
  heartbeat(timeMs: number, offset: number): void;
  /** Redis asks for an acknowledgement at once. */
  getAck(): void;
}

/** A record is closed at this size, so that the first operations of a burst need not wait for the last. */
const RECORD_BYTES = 256 * 1024;

export class Recorder {
  private readonly scanner = new CommandScanner();
  private readonly base: number;
  /** Bytes of whole commands for the next record that are no longer in the scanner. */
  private chunks: Buffer[] = [];
  private chunkBytes = 0;
  private ops = 0;
  private firstDb: number;
  /** An open MULTI: its bytes so far, and what was found in it. */
  private block: {
    chunks: Buffer[];
    ops: number;
    marker: Marker | null;
    heartbeatMs: number;
    expiries: Expiry[];
    /** Where it begins. */
    db: number;
    offset: number;
  } | null = null;

  constructor(
    readonly state: RecorderState,
    private readonly events: RecorderEvents,
  ) {
    this.base = state.offset;
    this.firstDb = state.db;
  }

  /** Whether the stream was read into the middle of a MULTI … EXEC block. */
  get inBlock(): boolean {
    return this.block !== null;
  }

  /** From where to read on after a restart: a block is read as a whole or not at all. */
  get resumeState(): RecorderState {
    const { block, state } = this;
    return block === null ? { ...state } : { ...state, offset: block.offset, db: block.db };
  }

  /** @throws ProtocolError when the bytes are not a replication stream */
  push(chunk: Buffer): void {
    const { scanner, state } = this;
    scanner.push(chunk);
    // The run of commands in the scanner's buffer that belong to the open record (or block).
    let runStart = -1;
    let runEnd = -1;
    const keepRun = (): void => {
      if (runStart < 0) return;
      const bytes = Buffer.from(scanner.buf.subarray(runStart, runEnd));
      if (this.block !== null) this.block.chunks.push(bytes);
      else {
        this.chunks.push(bytes);
        this.chunkBytes += bytes.length;
      }
      runStart = -1;
    };
    while (scanner.next()) {
      const end = this.base + scanner.consumed;
      const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!);
      if (runStart >= 0 && scanner.start !== runEnd) {
        // Keepalive newlines between commands would shift the positions: a record's bytes are contiguous.
        keepRun();
        this.flush();
      }
      if (command?.code === Code.multi) {
        keepRun();
        const { db, offset } = state;
        this.block = { chunks: [], ops: 0, marker: null, heartbeatMs: 0, expiries: [], db, offset };
      }
      const own = this.ownCommand(command);
      if (own !== null && this.block === null) {
        keepRun();
        this.flush();
        state.offset = end;
        this.pass(own, end);
        continue;
      }
      if (own !== null && this.block !== null) {
        if (own.marker !== null) this.block.marker = own.marker;
        else if (own.heartbeatMs > 0) this.block.heartbeatMs = own.heartbeatMs;
        else this.block.ops++; // a client's hand on an agent's key: counted as the merge core will count it
      }
      if (runStart < 0) runStart = scanner.start;
      runEnd = scanner.end;
      state.offset = end;
      if (command?.class === Class.control) {
        if (command.code === Code.select) state.db = this.selectedDb();
        else if (command.code === Code.replconf) {
          this.events.getAck();
        } else if (command.code === Code.exec && this.block !== null) {
          keepRun();
          this.closeBlock(end);
          if (this.chunkBytes >= RECORD_BYTES) this.flush();
        }
      } else if (own === null) {
        if (this.block === null) this.ops++;
        else {
          this.block.ops++;
          if (command?.code === Code.unlink && scanner.argc === 2 && isUpperCase(scanner))
            this.block.expiries.push({
              bytes: Buffer.from(scanner.buf.subarray(scanner.start, scanner.end)),
              end,
              db: state.db,
            });
        }
      }
      if (this.block === null && runStart >= 0 && runEnd - runStart >= RECORD_BYTES) {
        keepRun();
        this.flush();
      }
    }
    keepRun();
    if (this.block === null) this.flush();
  }

  /** Gives the open record. */
  private flush(): void {
    const { state } = this;
    if (this.ops > 0) {
      const payload = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
      this.emit(payload, state.offset, this.ops, this.firstDb);
    }
    this.chunks = [];
    this.chunkBytes = 0;
    this.ops = 0;
    this.firstDb = state.db;
  }

  private emit(payload: Buffer, end: number, ops: number, db: number): void {
    const { state } = this;
    const { origin, stamp, seen } = state;
    const record: OpRecord = { kind: RecordKind.stream, origin, start: state.end, end, stamp, ops, db, seen, payload };
    state.stamp += ops;
    state.end = end;
    this.events.record(record);
  }

  /** EXEC: the block joins the record if a client sent it, and is passed over if an agent did. */
  private closeBlock(end: number): void {
    const block = this.block!;
    this.block = null;
    if (block.marker === null && block.heartbeatMs === 0) {
      this.chunks.push(...block.chunks);
      for (const chunk of block.chunks) this.chunkBytes += chunk.length;
      this.ops += block.ops;
      return;
    }
    // The record before the block ends where its own bytes end.
    if (this.ops > 0) {
      const payload = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
      this.emit(payload, end - block.chunks.reduce((sum, chunk) => sum + chunk.length, 0), this.ops, this.firstDb);
    }
    this.chunks = [];
    this.chunkBytes = 0;
    this.ops = 0;
    this.firstDb = this.state.db;
    for (const expiry of block.expiries) this.emit(expiry.bytes, expiry.end, 1, expiry.db);
    this.pass({ marker: block.marker, heartbeatMs: block.heartbeatMs }, end);
  }

  private pass(own: Own, end: number): void {
    const { state } = this;
    if (own.heartbeatMs > 0) {
      state.heartbeatMs = own.heartbeatMs;
      state.stamp = Math.max(state.stamp, stampOf(own.heartbeatMs));
      this.events.heartbeat(own.heartbeatMs, end);
    }
    if (own.marker !== null) {
      state.seen = own.marker.vector;
      state.stamp = Math.max(state.stamp, own.marker.stamp + 1);
      this.events.marker(own.marker, end);
    }
  }

  /** Recognises what agents write. Other commands on keys of the agent's prefix are not operations either. */
  private ownCommand(command: Command | undefined): Own | null {
    const { scanner } = this;
    if (scanner.argc < 2) return null;
    const start = scanner.argStart[1]!;
    const length = scanner.argEnd[1]! - start;
    if (length < OWN_PREFIX.length || scanner.buf[start] !== OWN_PREFIX.charCodeAt(0)) return null;
    const key = scanner.buf.toString('latin1', start, start + length);
    if (!key.startsWith(OWN_PREFIX) || command === undefined || command.firstKey !== 1) return null;
    if (command.code === Code.set && scanner.argc >= 3) {
      const value = scanner.buf.toString('latin1', scanner.argStart[2], scanner.argEnd[2]);
      if (key === CURSOR_KEY) return { marker: parseMarker(value), heartbeatMs: 0 };
      if (key === HEARTBEAT_KEY) return { marker: null, heartbeatMs: Number(value) || 0 };
    }
    return { marker: null, heartbeatMs: 0 };
  }

  private selectedDb(): number {
    return Number(this.scanner.buf.toString('latin1', this.scanner.argStart[1], this.scanner.argEnd[1]));
  }
}

/** Redis writes its own expiries in upper case; `unlink k` in an agent's block is what some client once said. */
function isUpperCase({ buf, argStart, argEnd }: CommandScanner): boolean {
  for (let at = argStart[0]!; at < argEnd[0]!; at++) if (buf[at]! >= 97) return false;
  return true;
}

interface Own {
  marker: Marker | null;
  heartbeatMs: number;
}

interface Expiry {
  bytes: Buffer;
  end: number;
  db: number;
}
