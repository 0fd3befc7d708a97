/** Brings libraries of functions in the own Redis to the rule (merge/libraries.ts), a look at them in each block that has to, and tells of what can't be there. */
import { isPausing, type Refusal } from '../apply/applier';
import type { Batch } from '../merge/batch';
import type { MergeCore } from '../merge/core';
import type { FoundLibrary } from '../merge/libraries';
import { CommandScanner, CommandWriter, type RedisConnection, ReplyError } from '../resp';
import type { RecorderState } from '../stream/recorder';
import { type AgentContext, keepLetter } from './context';
import { listLibraries } from './libraries';
import { positionAfter } from './position';

export interface LibraryHost {
  readonly context: AgentContext;
  core(): MergeCore;
  connection(): RedisConnection;
  /** Where the own stream stands; null inside of a block. */
  place(): RecorderState | null;
  /** Tells of an operation of this region that stands at no bytes of its stream. */
  tell(at: RecorderState, payload: Buffer, end: number): void;
}

/** What a block does about libraries. */
export interface LibraryLook {
  /** Reads what Redis has. @returns a code for which it answers nothing just now */
  readonly look: () => Promise<string | null>;
  /** Adds what differs from the rule. */
  settle(extra: Batch): void;
}

export class OwnLibraries {
  /** With which code Redis has said that it has no functions, or that the agent may not load them; null: it has not. */
  private refusal: string | null = null;

  constructor(private readonly host: LibraryHost) {}

  /** For the next block; null where nothing is to be looked at. `ran` says that it has run. */
  take(): LibraryLook | null {
    const { host } = this;
    const { libraries } = host.core();
    if (!libraries.isDue) return null;
    libraries.take();
    let found: readonly FoundLibrary[] | null = null;
    return {
      look: async () => {
        const listed = this.refusal === null ? await listLibraries(host.connection()) : null;
        if (listed instanceof ReplyError && isPausing(listed.code)) return listed.code;
        if (listed instanceof ReplyError) this.withoutFunctions(listed.code);
        found = listed instanceof ReplyError ? null : listed;
        return null;
      },
      settle: (extra) => {
        if (found !== null && this.refusal === null) libraries.settle(found, extra.select(0));
      },
    };
  }

  /** A block has run, with that look in it. */
  ran(look: LibraryLook | null): void {
    if (this.refusal !== null) this.leaveOut(this.refusal);
    else if (look !== null) this.host.core().libraries.settled();
  }

  /** Redis has refused a FUNCTION command. @returns whether that is for good, and has to be told */
  refused(refusal: Refusal): boolean {
    const { host } = this;
    const { libraries } = host.core();
    if (refusal.isForeign) {
      this.withoutFunctions(refusal.code);
      // One that is under way is kept when its block is over.
      if (!libraries.isUnderWay) keepLetter(host.context, refusal);
      return false;
    }
    const scanner = new CommandScanner();
    scanner.push(refusal.bytes);
    return scanner.next() && libraries.refused(scanner, refusal.message);
  }

  /** They are tried again, though Redis has refused them. */
  retry(): void {
    this.refusal = null;
  }

  /** Of two libraries with a function of one name the lower is deleted, as a client would: in all regions. @returns whether any was */
  tellLost(): boolean {
    const { host } = this;
    const at = host.place();
    const end = at === null ? null : positionAfter(Math.max(at.offset, at.end));
    if (at === null || end === null) return false;
    const { libraries, origins } = host.core();
    const names = libraries.takeLost(origins.toSeen(at.seen), origins.index(at.origin));
    if (names.length === 0) return false;
    const writer = new CommandWriter(256);
    for (const name of names) writer.command(['FUNCTION', 'DELETE', Buffer.from(name, 'latin1')]);
    host.context.log.warn(
      { libraries: names },
      'two libraries have a function of one name, from two regions: the earlier one is deleted everywhere',
    );
    host.tell(at, writer.take(), end);
    return true;
  }

  /** Libraries of other regions can't be loaded here. */
  private withoutFunctions(code: string): void {
    if (this.refusal !== null) return;
    this.refusal = code;
    this.host.context.log.warn(
      { code },
      "libraries of functions stay away from this region: its Redis has none, or the agent's user lacks +function|list",
    );
  }

  /** What would load libraries is kept as dead letters: once they can be, it may run. */
  private leaveOut(code: string): void {
    const { libraries } = this.host.core();
    if (!libraries.isUnderWay) return;
    const writer = new CommandWriter(256);
    libraries.settle([], writer);
    libraries.giveUp();
    const scanner = new CommandScanner();
    scanner.push(writer.take());
    while (scanner.next()) {
      const bytes = Buffer.from(scanner.buf.subarray(scanner.start, scanner.end));
      keepLetter(this.host.context, { db: 0, command: 'FUNCTION', key: undefined, code, bytes });
    }
  }
}
