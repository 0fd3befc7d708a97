/** What the merge core asks Redis to run in one MULTI … EXEC. */
import { CommandWriter } from '../resp/encode';
import type { Op, KeyState } from './window';

/** Commands that run whatever happens to their keys meanwhile: what they miss is corrected afterwards. */
export interface PlainItem {
  readonly kind: 'plain';
  readonly bytes: Buffer;
  readonly commands: number;
}

/**
 * A command whose result depends on its keys. The applier watches them, reads the own stream up to that point, and
 * asks the core again (`MergeCore.admit`) before it sends the block.
 */
export interface GuardedItem {
  readonly kind: 'guarded';
  readonly bytes: Buffer;
  readonly op: Op;
  readonly states: KeyState[];
  /** Applied even when its keys are not quiet any more. */
  readonly adds: boolean;
}

export type BatchItem = PlainItem | GuardedItem;

/** Commands in the making. Keeps track of the database that Redis has selected at each point. */
export class Batch {
  readonly items: BatchItem[] = [];
  readonly writer = new CommandWriter(64 * 1024);
  /** Operations in it, for the counters. */
  operations = 0;
  bytes = 0;
  /** The highest stamp of its operations. */
  stamp = 0;
  private db = -1;
  /** Commands that stand one after the other in a record: copied together. */
  private runBuf: Buffer | null = null;
  private runStart = 0;
  private runEnd = 0;
  private runCommands = 0;

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

  private endRun(): void {
    if (this.runBuf === null) return;
    this.writer.raw(this.runBuf, this.runStart, this.runEnd, this.runCommands);
    this.runBuf = null;
  }

  /** Selects `db` for what is written next. */
  select(db: number): CommandWriter {
    this.endRun();
    if (this.db !== db) {
      this.writer.command(['SELECT', db]);
      this.db = db;
    }
    return this.writer;
  }

  guarded(item: Omit<GuardedItem, 'kind'>): void {
    this.flush();
    this.items.push({ kind: 'guarded', ...item });
    this.bytes += item.bytes.length;
  }

  finish(): BatchItem[] {
    this.flush();
    return this.items;
  }

  get hasGuards(): boolean {
    return this.items.some((item) => item.kind === 'guarded');
  }

  private flush(): void {
    this.endRun();
    if (this.writer.commands === 0) return;
    const commands = this.writer.commands;
    const bytes = this.writer.take();
    this.items.push({ kind: 'plain', bytes, commands });
    this.bytes += bytes.length;
  }
}
