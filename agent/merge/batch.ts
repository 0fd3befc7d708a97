/** What the merge core asks Redis to run in one MULTI … EXEC. */
import { CommandWriter } from '../resp/encode';
import type { Op, KeyState } from './key-state';

/** Commands that run whatever happens to their keys meanwhile: what they miss is corrected afterwards. */
export interface PlainItem {
  readonly kind: 'plain';
  readonly bytes: Buffer;
  readonly commands: number;
  /** It holds SETs of a key and a value, as MSETs, and nothing else: nothing in it has to be looked for. */
  readonly onlySets?: true;
}

/**
 * A command whose result depends on its keys. The applier watches them, reads the own stream up to that point, and
 * asks the core again (`OpaqueOperations.admitAll`) before it sends the block.
 */
export interface GuardedItem {
  readonly kind: 'guarded';
  readonly bytes: Buffer;
  readonly commands: number;
  readonly op: Op;
  readonly states: readonly KeyState[];
  /** What runs in its place when its keys are not quiet any more; null: nothing. */
  readonly loose: Buffer | null;
  /** It begins with what its keys lack. */
  readonly corrects: boolean;
  /** The region whose state its keys then wait for; null: the usual one. */
  readonly settler: string | null;
  /** Of its batch: what is planned behind it in that does not concern it. */
  readonly serial: number;
}

export type BatchItem = PlainItem | GuardedItem;

/** Pairs of one MSET, and the size of a pair that goes by itself: no command shall keep Redis long. */
export const MSET_PAIRS = 64;
const MSET_VALUE_BYTES = 4096;
const MSET_HEADER = Buffer.from(`*${1 + MSET_PAIRS * 2}\r\n$4\r\nMSET\r\n`);
const SET_HEADER = Buffer.from('*3\r\n$3\r\nSET\r\n');

export interface BatchMark {
  readonly length: number;
  readonly commands: number;
  readonly db: number;
}

/** Records up to this size are copied at once, others piece by piece. */
const STAGE_BYTES_MAX = 1024 * 1024;
const WRITER_BYTES = 64 * 1024;
/**
 * Writers of batches that are over, for the next ones: hundreds of batches a second, each with memory of its own, would have
 * the garbage collector walk the whole heap several times a second.
 */
const spare: CommandWriter[] = [];
const SPARE_MAX = 2;
/** What a spare writer may hold. */
const SPARE_BYTES_MAX = 1024 * 1024;

let batches = 0;

/** Commands in the making. Keeps track of the database that Redis has selected at each point. */
export class Batch {
  readonly items: BatchItem[] = [];
  /** Unlike any other's in this process, and not 0. */
  readonly serial = ++batches;
  private readonly out = spare.pop() ?? new CommandWriter(WRITER_BYTES);
  /** What comes next may meet a state that is written at the end of it: that belongs into another. */
  isClosed = false;
  /** Operations in it, for the counters. */
  operations = 0;
  /** Bytes of the records planned into it. */
  bytes = 0;
  /** The highest stamp of its operations. */
  stamp = 0;
  /** Entries of streams that have to make room for those that are planned into it. */
  moves = 0;
  /** Writes what is left for its end. */
  last: (() => void) | null = null;
  private db = -1;
  /** Something else than SETs has come since the last item. */
  private isMixed = false;
  /** What of the writer is among the items. */
  private flushed = { length: 0, commands: 0 };
  /** Commands that stand one after the other in a record: copied together. */
  private runBuf: Buffer | null = null;
  private runStart = 0;
  private runEnd = 0;
  private runCommands = 0;
  /** Where the open MSET begins in the writer, or −1, and its pairs so far. */
  private setsStart = -1;
  private sets = 0;

  /** Appends commands of a record as they came. */
  pass(db: number, buf: Buffer, start: number, end: number, commands = 1): void {
    if (this.runBuf === buf && this.runEnd === start && this.db === db) {
      this.runEnd = end;
      this.runCommands += commands;
      return;
    }
    this.select(db);
    this.runBuf = buf;
    this.runStart = start;
    this.runEnd = end;
    this.runCommands = commands;
  }

  /**
   * Appends `SET key value`, given as its two arguments in RESP. Several in a row become one MSET, which does the same
   * to keys, times to live and notifications, and costs Redis half as much.
   */
  set(db: number, buf: Buffer, start: number, end: number): void {
    if (buf.length <= STAGE_BYTES_MAX) this.out.stage(buf, start);
    if (this.setsStart >= 0 && this.db === db && this.runBuf === null && end - start < MSET_VALUE_BYTES) {
      this.out.append(buf, start, end);
      if (++this.sets === MSET_PAIRS) this.endSets();
      return;
    }
    this.goTo(db);
    this.setsStart = this.out.length;
    this.sets = 1;
    this.out.append(MSET_HEADER, 0, MSET_HEADER.length).append(buf, start, end);
    if (end - start >= MSET_VALUE_BYTES) this.endSets();
  }

  /** For commands that follow `select`. */
  get writer(): CommandWriter {
    this.isMixed = true;
    return this.out;
  }

  /** A place to which `rewind` takes the batch back. */
  mark(): BatchMark {
    this.endRun();
    const { length, commands } = this.out;
    return { length, commands, db: this.db };
  }

  /** Drops what was passed or set since the mark. */
  rewind(mark: BatchMark): void {
    this.setsStart = -1;
    this.runBuf = null;
    this.out.rewind(mark.length, mark.commands);
    this.db = mark.db;
  }

  private endSets(): void {
    if (this.setsStart < 0) return;
    const header = this.sets === 1 ? SET_HEADER : Buffer.from(`*${1 + this.sets * 2}\r\n$4\r\nMSET\r\n`);
    this.out.replaceHead(this.setsStart, MSET_HEADER.length, header);
    this.out.commands++;
    this.setsStart = -1;
  }

  private endRun(): void {
    this.endSets();
    if (this.runBuf === null) return;
    this.out.raw(this.runBuf, this.runStart, this.runEnd, this.runCommands);
    this.runBuf = null;
  }

  /** Selects `db` for what is written next. */
  select(db: number): CommandWriter {
    this.isMixed = true;
    return this.goTo(db);
  }

  private goTo(db: number): CommandWriter {
    this.endRun();
    if (this.db !== db) {
      this.out.command(['SELECT', db]);
      this.db = db;
    }
    return this.out;
  }

  guarded(item: Omit<GuardedItem, 'kind' | 'serial'>): void {
    this.flush();
    this.items.push({ kind: 'guarded', serial: this.serial, ...item });
  }

  finish(): BatchItem[] {
    this.last?.();
    this.flush();
    return this.items;
  }

  /** It is over, and so are its items: their bytes are overwritten by those of other batches. */
  release(): void {
    this.items.length = 0;
    if (spare.length === SPARE_MAX || this.out.capacity > SPARE_BYTES_MAX) return;
    this.out.reset();
    spare.push(this.out);
  }

  get hasGuards(): boolean {
    return this.items.some((item) => item.kind === 'guarded');
  }

  private flush(): void {
    this.endRun();
    const { flushed } = this;
    const { length, commands } = this.out;
    if (commands === flushed.commands) return;
    const bytes = this.out.view().subarray(flushed.length);
    const item = { kind: 'plain', bytes, commands: commands - flushed.commands } as const;
    this.items.push(this.isMixed ? item : { ...item, onlySets: true });
    this.isMixed = false;
    this.flushed = { length, commands };
  }
}
