/**
 * Turns the replication stream into records: what clients did, with stamp and *seen*, without what agents applied.
 *
 * Both are functions of the stream's bytes alone. Time enters by heartbeats, *seen* by the cursor in each applied block.
 * The payload of a record is the stream's own bytes: whole commands and whole MULTI … EXEC blocks, not re-encoded.
 *
 * Observed with Redis 7.0: a transaction with one effective command arrives without MULTI, so that a cursor can stand
 * alone; an expired key puts `UNLINK k` inside the block that touched it, before the command that did; PEXPIREAT with a
 * time that has passed by this machine's clock is `UNLINK k`. In an agent's block these are the region's own operations, and so are
 * fields that an agent found to have expired (`HIDDEN_HDEL`).
 *
 * What is not to leave the region (an eviction, a flush that was refused) gets another name of the same length, so that all
 * bytes keep their positions, and is no operation; what is about keys that this region keeps is left out (ignored.ts).
 */
import type { ConflictPolicies } from '../../model';
import { CommandScanner, ProtocolError } from '../resp';
import { Class, Code, type Command, commandByName, findCommand, UNKNOWN_COMMAND } from '../merge/commands';
import { argText, keysOf } from '../merge/effects';
import { isOwnKey } from '../merge/forms';
import { othersKeys, shareOf } from '../merge/ignored';
import type { OriginId, OpRecord, Vector } from '../record';
import { COMMAND_BYTES_MAX, RecordKind, regionOf } from '../record';
import { Carried } from './carried';
import { blank, leaveOut } from './ignored';
import {
  CURSOR_KEY,
  HEARTBEAT_KEY,
  HIDDEN_HDEL,
  type Marker,
  OWN_PREFIX,
  parseHeartbeat,
  parseMarker,
  stampOf,
  withoutTag,
} from './keys';
import type { Numbers } from './numbers';
import { positionAfter } from './position';

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
}

export interface RecorderEvents {
  /** Operations of this region, in order. The payload's bytes are valid until it returns. */
  record(record: OpRecord): void;
  /** A block that an agent applied ends at `offset`. All records before it have been given. */
  marker(marker: Marker, offset: number): void;
  /** A heartbeat stands at `offset`. All records before it have been given. */
  heartbeat(timeMs: number, offset: number): void;
  /** Redis asks for an acknowledgement at once. */
  getAck(): void;
  /**
   * Why a key went by `UNLINK key`, which looks the same whether Redis or a client removed it.
   * Absent: it had expired.
   * @param end the offset behind it
   */
  removal?(db: number, key: string, end: number): Removal;
  /** Why it went for somebody who has not heard of it: so it will be told when it is read once more, after a crash. Absent: it had expired. */
  unheardRemoval?(): Removal;
  /** A client has flushed a database, or all of them (null), and that stays here; all records up to it have been given. Absent: flushes are carried. */
  flushRefused?: (db: number | null) => void;
  /** Before that, and before a record is given in which it stands, or that stands behind it. @throws where that must not be given */
  flushComes?: () => void;
  /** A key that another region owns (policy `region:`) was written here, or expired. Absent: nobody wants to know. */
  trespass?(trespass: Trespass): void;
}

export interface Trespass {
  readonly db: number;
  /** Latin-1. */
  readonly key: string;
  /** Redis removed it, as its time was up. */
  readonly isExpiry: boolean;
  readonly origin: OriginId;
  readonly stamp: number;
  /** The offset behind it. */
  readonly position: number;
}

/** `deleted`: by a client. */
export type Removal = 'expired' | 'evicted' | 'deleted';

/**
 * A record is closed at this size, so that the first operations of a burst need not wait for the last. With its header and its last command it goes into
 * one frame (peers/frame.ts), where that command is no giant: what is cut costs a copy more on either side.
 */
const RECORD_BYTES = 496 * 1024;
/** A record names its database in two bytes. */
const DATABASES_MAX = 65_536;
/** `*1\r\n$5\r\nMULTI\r\n` */
const MULTI_BYTES = 15;

export interface RecorderOptions {
  /** The longest MULTI … EXEC block, in bytes: it is held in memory until its end. Default: what a record can hold, 1 GiB less 1 MiB. */
  blockBytesMax?: number;
  /** What is known of numbers, to be kept up to date: then increments of floats are recorded as such. Default: none. */
  numbers?: Numbers | null;
  /** By which what clients do to keys stays here. Default: nothing does. */
  policies?: ConflictPolicies | null;
}

export class Recorder {
  private readonly scanner = new CommandScanner({ maxCommandBytes: COMMAND_BYTES_MAX });
  private readonly blockBytesMax: number;
  private readonly numbers: Numbers | null;
  /** Null: nothing stays here. */
  private readonly policies: ConflictPolicies | null;
  private readonly region: string;
  /** What operations of the open record added to numbers, by their number in it. */
  private added = new Map<number, string>();
  private readonly base: number;
  /** Bytes of whole commands for the next record that are no longer in the scanner. */
  private chunks: Buffer[] = [];
  private chunkBytes = 0;
  private readonly carried = new Carried();
  private ops = 0;
  /** The command at hand went by what was heard of it, which would not be known a second time. */
  private isHeard = false;
  /** Such a one is in the open record. */
  private hasHeard = false;
  /** There is an XADD, XTRIM or FUNCTION since the last record. */
  private mayNeedLook = false;
  private firstDb: number;
  /** Flushes that were found and have not been told of. */
  private readonly refused: (number | null)[] = [];
  /** An open MULTI: its bytes so far, and what was found in it. */
  private block: {
    chunks: Buffer[];
    ops: number;
    marker: Marker | null;
    heartbeatMs: number;
    expiries: Expiry[];
    /** Fields that had expired before it came. */
    hidden: Expiry[];
    /** Refused if it is a client's. */
    flushes: (number | null)[];
    added: Map<number, string>;
    hasHeard: boolean;
    trespasses: Trespass[];
    /** Where it begins. */
    db: number;
    offset: number;
  } | null = null;

  constructor(
    readonly state: RecorderState,
    private readonly events: RecorderEvents,
    options: RecorderOptions = {},
  ) {
    this.blockBytesMax = options.blockBytesMax ?? COMMAND_BYTES_MAX;
    this.numbers = options.numbers ?? null;
    this.policies = options.policies?.isActive === true ? options.policies : null;
    this.region = regionOf(state.origin);
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

  /**
   * @param chunk the caller's again when it returns
   * @throws ProtocolError when the bytes are not a replication stream, or hold what no record can. No later bytes can be read
   * then: there has to be a full resync
   */
  push(chunk: Buffer): void {
    const { scanner, state } = this;
    scanner.push(chunk);
    // The run of commands in the scanner's buffer that belong to the open record (or block).
    let runStart = -1;
    let runEnd = -1;
    let isAsked = false;
    const keepRun = (): void => {
      if (runStart < 0) return;
      const bytes = scanner.buf.subarray(runStart, runEnd);
      if (this.block !== null) this.block.chunks.push(bytes);
      else {
        this.chunks.push(bytes);
        this.chunkBytes += bytes.length;
      }
      runStart = -1;
    };
    while (scanner.next()) {
      const end = this.base + scanner.consumed;
      const found = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!);
      this.isHeard = false;
      const command = found !== undefined && this.isJudged(found) ? this.judge(found, end) : found;
      if (runStart >= 0 && scanner.start !== runEnd) {
        // Keepalive newlines between commands would shift the positions: a record's bytes are contiguous.
        keepRun();
        this.flush();
      }
      if (command?.code === Code.multi) {
        keepRun();
        this.carried.begin();
        const { db, offset } = state;
        this.block = {
          chunks: [],
          ops: 0,
          marker: null,
          heartbeatMs: 0,
          expiries: [],
          hidden: [],
          flushes: [],
          added: new Map(),
          hasHeard: false,
          trespasses: [],
          db,
          offset,
        };
      }
      const own = this.ownCommand(command);
      if (own !== null && this.block === null) {
        keepRun();
        this.flush();
        state.offset = end;
        this.pass(own, end);
        continue;
      }
      const share =
        this.policies === null || own !== null
          ? 'none'
          : shareOf(this.policies, this.region, command ?? UNKNOWN_COMMAND, scanner, state.db);
      if (share !== 'none') this.noteTrespasses(this.policies!, command ?? UNKNOWN_COMMAND, end);
      // Before it is written over: what stays in this region changes its numbers, too.
      if (share === 'all') this.numbers?.note(found ?? UNKNOWN_COMMAND, scanner, state.db);
      else if (share === 'some' && this.numbers !== null) this.reckon(this.numbers, found ?? UNKNOWN_COMMAND);
      if (share === 'all' && this.block === null) {
        keepRun();
        this.flush();
        state.offset = end;
        continue;
      }
      if (share === 'all') blank(scanner);
      if (share === 'some') leaveOut(this.policies!, this.region, command ?? UNKNOWN_COMMAND, scanner, state.db);
      if (own !== null && this.block !== null) {
        if (own.marker !== null) this.block.marker = own.marker;
        else if (own.heartbeatMs > 0) this.block.heartbeatMs = own.heartbeatMs;
        else this.block.ops++; // a client's hand on an agent's key: counted as the merge core will count it
      }
      if (runStart < 0) runStart = scanner.start;
      runEnd = scanner.end;
      if (this.isHeard && this.block !== null) this.block.hasHeard = true;
      else if (this.isHeard) this.hasHeard = true;
      state.offset = end;
      if (command?.class === Class.ignored) {
        if (command.code === Code.select) state.db = this.selectedDb();
        else if (command.code === Code.replconf) {
          isAsked = true;
        } else if (command.code === Code.exec && this.block !== null) {
          keepRun();
          this.closeBlock(end);
          if (this.chunkBytes >= RECORD_BYTES) this.flush();
        }
      } else if (own === null && share !== 'all') {
        // As it stands in the stream: what stays in this region changes its numbers, too.
        if (this.numbers !== null && share === 'none') this.reckon(this.numbers, found ?? UNKNOWN_COMMAND);
        if (found !== undefined && isLookedAfter(found.code)) this.mayNeedLook = true;
        if (this.block === null) this.ops++;
        else {
          this.block.ops++;
          if (command?.code === Code.unlink && scanner.argc === 2 && isUpperCase(scanner))
            this.block.expiries.push({
              bytes: Buffer.from(scanner.buf.subarray(scanner.start, scanner.end)),
              db: state.db,
            });
        }
      }
      if (this.block !== null && end - this.block.offset > this.blockBytesMax)
        throw new ProtocolError(
          'TOO_LONG',
          end - this.base,
          `a transaction of more than ${this.blockBytesMax} bytes (limits.transactionBytes)`,
        );
      if (this.block === null && runStart >= 0 && runEnd - runStart >= RECORD_BYTES) {
        keepRun();
        this.flush();
      }
    }
    keepRun();
    // What stands before a block whose end is still to come does not wait for it: whoever reads up to here relies on it.
    this.flush();
    // Not before: what was written before the question may stand in this very chunk, and is journalled by nobody until it is given.
    if (isAsked) this.events.getAck();
    for (const db of this.refused.splice(0)) this.events.flushRefused?.(db);
    scanner.keep();
    // What a block before it left there has been given out.
    if (this.block !== null) this.block.chunks = [this.carried.take(this.block.chunks)];
  }

  /** Whether a command may be something else than it seems to be, or stay here. */
  private isJudged({ code }: Command): boolean {
    if (code === Code.unlink) return this.scanner.argc === 2 && isUpperCase(this.scanner);
    if (code === Code.hdel) return isCalled(this.scanner, HIDDEN_HDEL);
    return (code === Code.flushall || code === Code.flushdb) && this.events.flushRefused !== undefined;
  }

  private judge(command: Command, end: number): Command {
    const { scanner, state, block } = this;
    if (command.code === Code.hdel) {
      // A client may have said it so.
      const plain = rename(scanner, 'HDEL');
      block?.hidden.push({ bytes: Buffer.from(scanner.buf.subarray(scanner.start, scanner.end)), db: state.db });
      return plain;
    }
    if (command.code !== Code.unlink) {
      const db = command.code === Code.flushdb ? state.db : null;
      if (block === null) this.refuse([db]);
      else block.flushes.push(db);
      return rename(scanner, db === null ? 'LASTSAVE' : 'COMMAND');
    }
    const key = argText(scanner, 1);
    if (key.startsWith(OWN_PREFIX)) return command;
    const { events } = this;
    const removal = events.removal?.(state.db, key, end) ?? 'expired';
    this.isHeard = removal !== (events.unheardRemoval?.() ?? 'expired');
    if (removal === 'evicted') return rename(scanner, 'EXISTS');
    // In lower case it is a client's for everybody. In a block it may be an agent's, of which nothing is carried but expiries.
    return removal === 'deleted' && block === null ? rename(scanner, 'unlink') : command;
  }

  private refuse(flushes: readonly (number | null)[]): void {
    if (flushes.length === 0) return;
    this.events.flushComes?.();
    this.refused.push(...flushes);
  }

  /** Tells which keys of other regions the command at hand is about; in a block when it is known whose it is. */
  private noteTrespasses(policies: ConflictPolicies, command: Command, end: number): void {
    const { scanner, state, block, events } = this;
    if (!policies.haveOwners || events.trespass === undefined) return;
    const isExpiry = command.code === Code.unlink && scanner.argc === 2 && isUpperCase(scanner);
    for (const { at: db, key } of othersKeys(policies, this.region, command, scanner, state.db)) {
      const { origin, stamp } = state;
      const trespass = { db, key: key.toString('latin1'), isExpiry, origin, stamp, position: end };
      if (block === null) events.trespass(trespass);
      else block.trespasses.push(trespass);
    }
  }

  /** Notes what the command at hand does to numbers. It is not counted yet. */
  private reckon(numbers: Numbers, command: Command): void {
    const { scanner, state, block } = this;
    const by = numbers.addedBy(command, scanner, state.db);
    if (by !== null && block !== null) block.added.set(block.ops, by);
    else if (by !== null) this.added.set(this.ops, by);
    numbers.note(command, scanner, state.db);
  }

  /** Gives the open record: all that stands before the open block, if there is one. */
  private flush(): void {
    const { offset, db } = this.resumeState;
    if (this.ops > 0) {
      const payload = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
      this.emit(payload, offset, this.ops, this.firstDb);
    }
    if (this.added.size > 0) this.added = new Map();
    this.hasHeard = false;
    // One in an open block goes into the next record.
    if (this.block === null) this.mayNeedLook = false;
    this.chunks = [];
    this.chunkBytes = 0;
    this.ops = 0;
    this.firstDb = db;
  }

  private emit(payload: Buffer, end: number, ops: number, db: number): void {
    const { state } = this;
    const { origin, stamp, seen } = state;
    const { added } = this;
    const { mayNeedLook } = this;
    const start = state.end;
    const plain: OpRecord = { kind: RecordKind.stream, origin, start, end, stamp, ops, db, seen, payload, mayNeedLook };
    const isTold = added.size > 0 || this.hasHeard;
    const record = isTold ? { ...plain, kind: RecordKind.told, ...(added.size > 0 && { added }) } : plain;
    state.stamp += ops;
    state.end = end;
    this.events.record(record);
  }

  /** EXEC: the block joins the record if a client sent it, and is passed over if an agent did. */
  private closeBlock(end: number): void {
    const block = this.block!;
    this.block = null;
    const isClients = block.marker === null && block.heartbeatMs === 0;
    for (const trespass of block.trespasses) if (isClients || trespass.isExpiry) this.events.trespass?.(trespass);
    if (isClients) {
      this.chunks.push(...block.chunks);
      for (const chunk of block.chunks) this.chunkBytes += chunk.length;
      for (const [i, by] of block.added) this.added.set(this.ops + i, by);
      this.ops += block.ops;
      this.hasHeard ||= block.hasHeard;
      this.refuse(block.flushes);
      return;
    }
    this.block = block;
    this.flush();
    this.block = null;
    this.firstDb = this.state.db;
    const { marker, heartbeatMs, expiries, hidden } = block;
    if (expiries.length + hidden.length === 0) return this.pass({ marker, heartbeatMs }, end);
    const late = new Set(lateExpiries(block.chunks, block.db));
    this.emitExpiries([...hidden, ...expiries.filter((_, i) => !late.has(i))], block.offset + MULTI_BYTES);
    this.pass({ marker, heartbeatMs }, end);
    this.emitExpiries(
      expiries.filter((_, i) => late.has(i)),
      end,
    );
  }

  /**
   * Expiries in an agent's block are records of their own, at positions that follow from the block's place. The stream is
   * read on from the last bytes that are recorded, so that after a restart the block comes again: then they are known.
   */
  private emitExpiries(expiries: readonly Expiry[], place: number): void {
    const { state } = this;
    let position = place;
    for (const { bytes, db } of expiries) {
      position = positionAfter(position) ?? position;
      if (position <= state.end) continue;
      const { origin, end: start, stamp, seen } = state;
      state.stamp++;
      state.end = position;
      const kind = RecordKind.difference;
      this.events.record({ kind, origin, start, end: position, stamp, ops: 1, db, seen, payload: bytes });
    }
  }

  private pass(own: Own, end: number): void {
    const { state } = this;
    if (own.heartbeatMs > 0) {
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
    if (command === undefined || !isOwnKey(command, scanner)) return null;
    if (command.code === Code.set && scanner.argc >= 3) {
      const key = withoutTag(argText(scanner, 1));
      const value = scanner.buf.toString('latin1', scanner.argStart[2], scanner.argEnd[2]);
      if (key === CURSOR_KEY) return { marker: parseMarker(value), heartbeatMs: 0 };
      if (key === HEARTBEAT_KEY) return { marker: null, heartbeatMs: parseHeartbeat(value) };
    }
    return { marker: null, heartbeatMs: 0 };
  }

  private selectedDb(): number {
    const { scanner } = this;
    const db = scanner.argc === 2 ? Number(argText(scanner, 1)) : NaN;
    if (Number.isInteger(db) && db >= 0 && db < DATABASES_MAX) return db;
    throw new ProtocolError('BAD_LENGTH', scanner.consumed, `no database from 0 to ${DATABASES_MAX - 1} is selected`);
  }
}

/** Writes another name, as long, over the command's. */
function rename({ buf, argStart }: CommandScanner, name: string): Command {
  buf.write(name, argStart[0]!, 'latin1');
  return commandByName(name)!;
}

/** After which Redis may have to be looked at: see OpRecord.mayNeedLook. */
function isLookedAfter(code: number): boolean {
  return code === Code.xadd || code === Code.xtrim || code === Code.function;
}

function isCalled({ buf, argStart, argEnd }: CommandScanner, name: string): boolean {
  return buf.toString('latin1', argStart[0], argEnd[0]) === name;
}

/** Redis writes its own expiries in upper case; `unlink k` in an agent's block is what some client once said. */
function isUpperCase({ buf, argStart, argEnd }: CommandScanner): boolean {
  for (let at = argStart[0]!; at < argEnd[0]!; at++) if (buf[at]! >= 97) return false;
  return true;
}

/**
 * Which of a block's expiries removed what the block itself had written: those behind a command on their key, with none
 * behind them. They have seen the block; the others met a key that had expired before it.
 * @returns indices among the block's expiries
 */
function lateExpiries(chunks: readonly Buffer[], firstDb: number): number[] {
  const scanner = new CommandScanner();
  scanner.push(Buffer.concat(chunks));
  const touched = new Set<string>();
  const late = new Map<string, number[]>();
  let expiries = 0;
  let db = firstDb;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.code === Code.select) db = Number(argText(scanner, 1));
    if (command.class === Class.ignored) continue;
    if (command.code === Code.unlink && scanner.argc === 2 && isUpperCase(scanner)) {
      const key = `${db} ${argText(scanner, 1)}`;
      if (touched.has(key)) late.set(key, [...(late.get(key) ?? []), expiries]);
      expiries++;
      continue;
    }
    for (const name of keysOf(command, scanner)) {
      const key = `${db} ${name}`;
      touched.add(key);
      late.delete(key);
    }
  }
  return [...late.values()].flat();
}

interface Own {
  marker: Marker | null;
  heartbeatMs: number;
}

interface Expiry {
  bytes: Buffer;
  db: number;
}
