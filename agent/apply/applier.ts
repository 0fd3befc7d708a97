/**
 * Brings batches into Redis: one MULTI … EXEC each, with the cursor in it, so that data and position move together.
 *
 * One block is in flight at a time: the next is decided knowing that this one is in. The cursor is watched from one
 * block to the next, so that another agent's hand on this Redis is noticed before anything is applied twice.
 */
import { Batch, type BatchItem } from '../merge/batch';
import { findCommand } from '../merge/commands';
import { addedEntryOf, incrementOf, type IncrementEffect } from '../merge/effects';
import type { KeyState } from '../merge/key-state';
import { postponePassed } from '../merge/late-ttl';
import { CommandScanner, CommandWriter, type RedisConnection, type Reply, ReplyError } from '../resp';
import { ownKeys } from '../stream/keys';

export type ApplyErrorCode =
  /** The server is no primary (any more). */
  | 'not-primary'
  /** Another agent moved the cursor. */
  | 'cursor-moved'
  /** A reply that makes no sense here. */
  | 'unexpected';

export class ApplyError extends Error {
  constructor(
    readonly code: ApplyErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'ApplyError';
  }
}

/** What the applier asks of its owner. */
export interface ApplyHooks {
  /** Resolves when the own stream has been read, and merged, up to this replication offset. */
  readUpTo(offset: number): Promise<void>;
  /** Leaves of a block's items what may still run (OpaqueOperations.admitAll). `left`: keys for which some have not, in earlier tries, too. */
  admitAll(items: BatchItem[], left: Set<KeyState>): void;
  /** A command was refused for what it is or for what its key holds. */
  refused(refusal: Refusal): void;
  /** Redis cannot take writes just now (OOM, LOADING …); called at each attempt. */
  paused(code: string): void;
}

export interface Refusal {
  db: number;
  /** The command's name. */
  command: string;
  /** Latin-1; undefined for a command without key. */
  key: string | undefined;
  /** The reply's code, WRONGTYPE say. */
  code: string;
  /** The reply's text. It may hold names: not for logs. */
  message: string;
  /** It was not even queued: this Redis doesn't know it, or the agent may not run it, whatever its key holds. */
  isForeign: boolean;
  /** The command in RESP, a view. */
  bytes: Buffer;
  /** What the command would have added to a number. */
  increment: IncrementEffect | null;
  /** The ID of the stream entry that it would have added. */
  entry: string | null;
}

/** Where no stream tells what happens to keys: looks at them before and behind each block, in the block itself. */
export interface BlockObserver {
  /** Runs when nobody else looks, and no other block runs. */
  block<T>(run: () => Promise<T>): Promise<T>;
  /** Adds commands that look at keys that have just been put under WATCH. @returns takes their replies */
  found(keys: readonly KeyState[], out: CommandWriter): (replies: readonly Reply[]) => void;
  /** A block with these items is about to be sent. */
  around(items: readonly BatchItem[]): BlockLook;
}

/** The looks of one block. */
export interface BlockLook {
  /** Adds the commands before the block's own; database 0 is selected before and behind them. */
  before(out: CommandWriter): void;
  /** Adds those behind them. */
  behind(out: CommandWriter): void;
  /** It ran, with this cursor. The replies are those to `before` and `behind`. */
  landed(cursor: string, before: readonly Reply[], behind: readonly Reply[]): void;
  /** It did not run. */
  failed(): void;
}

/** Replies after which the same block is sent again, later. They never become a dead letter. */
const PAUSING = new Set([
  'OOM',
  'LOADING',
  'BUSY',
  'NOREPLICAS',
  'MISCONF',
  'EXECABORT',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'MASTERDOWN',
]);
/** It is no primary any more, or its slots move. */
const ELSEWHERE = new Set(['READONLY', 'MOVED', 'ASK']);
/** Whether Redis takes the same later. */
export function isPausing(code: string): boolean {
  return PAUSING.has(code);
}

/** Keys that must hold still while `build` decides about them, and what it adds; it returns how many replies are wanted. */
interface Amend {
  readonly states: KeyState[];
  /** Looks at what can't be watched: what it finds is from before the place up to which the own stream is then read. @returns a code for which Redis answers nothing just now */
  look?(): Promise<string | null>;
  build(batch: Batch): number;
}

/** What came of one try to send a block. */
interface Attempt {
  /** It ran: the replies that were asked for. */
  readonly replies: Reply[] | null;
  /** The code for which Redis takes no block at the moment; null: to be tried again at once. */
  readonly pause: string | null;
}
/**
 * Where keys are looked at the way to EXEC is long, and a key that clients write all the time would never hold still. After so many tries
 * the block runs all the same: what a client wrote in between is seen in the block itself, and corrected after it.
 */
const WATCHES_MAX = 4;
const AGAIN: Attempt = { replies: null, pause: null };

const PAUSE_MS_MIN = 10;
const PAUSE_MS_MAX = 1000;
const BLOCK_BYTES = 64 * 1024;
/** Larger ones give their memory back. */
const BLOCK_BYTES_KEPT = 2 * 1024 * 1024;

export class Applier {
  private stopped = false;
  private armed = false;
  /** The block on its way: the same memory for all of them, for each is over when Redis has answered. */
  private block = new CommandWriter(BLOCK_BYTES);

  constructor(
    private readonly connection: RedisConnection,
    private readonly hooks: ApplyHooks,
    /** The cursor's text as it is in Redis, null for none. */
    private cursor: string | null,
    private readonly observer?: BlockObserver,
    /** Commands as this server takes them. */
    private readonly rewrite = (bytes: Buffer): Buffer => bytes,
    private readonly keys = ownKeys(),
  ) {}

  /** The cursor's text as this agent left it, null for none. */
  get cursorText(): string | null {
    return this.cursor;
  }

  stop(): void {
    this.stopped = true;
  }

  /**
   * Applies a batch together with the cursor.
   * @param text the cursor
   * @param amend keys that must hold still while `build` decides about them, and what it adds (corrections, reads)
   * @returns EXEC's replies to what `amend` added
   * @throws ApplyError, ConnectionError: then nobody knows whether the block ran; the cursor in Redis tells
   */
  async apply(batch: Batch, text: string, amend?: Amend): Promise<Reply[]> {
    const fixed = batch.finish().slice();
    const left = new Set<KeyState>();
    let pauseMs = PAUSE_MS_MIN;
    for (let tries = 1; ; tries++) {
      const isFirm = this.observer !== undefined && tries > WATCHES_MAX;
      const attempt = (): Promise<Attempt> => this.attempt(fixed, left, text, amend, isFirm);
      if (this.stopped) throw new ApplyError('unexpected', 'stopped');
      const { replies, pause } = await (this.observer === undefined ? attempt() : this.observer.block(attempt));
      if (replies !== null) return replies;
      if (pause === null) continue;
      this.hooks.paused(pause);
      await sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
    }
  }

  private async attempt(
    fixed: BatchItem[],
    left: Set<KeyState>,
    text: string,
    amend: Amend | undefined,
    isFirm: boolean,
  ): Promise<Attempt> {
    let items: BatchItem[] = fixed;
    let asked = 0;
    const watched = new Set<KeyState>(amend?.states);
    for (const item of fixed) if (item.kind === 'guarded') for (const state of item.states) watched.add(state);
    if (watched.size > 0 || amend?.look !== undefined) {
      const pause = (await amend?.look?.()) ?? null;
      if (pause !== null) return { replies: null, pause };
      const offset = await this.watch(watched, isFirm).catch(pauseOf);
      if (typeof offset === 'string') return { replies: null, pause: offset };
      await this.hooks.readUpTo(offset);
      // What may no longer run never may again: so a key that clients write all the time is watched once, and not for ever.
      this.hooks.admitAll(fixed, left);
      items = fixed;
      if (amend !== undefined) {
        // A new one at each attempt: it selects its databases itself, wherever the items before it ended.
        const extra = new Batch();
        asked = amend.build(extra);
        items = [...items, ...extra.finish()];
      }
    } else if (!this.armed) {
      const pause = await this.watch(watched).catch(pauseOf);
      if (typeof pause === 'string') return { replies: null, pause };
    }
    const look = this.observer?.around(items);
    const block = this.emptyBlock();
    block.command(['MULTI']);
    look?.before(block);
    const first = block.commands - 1;
    const now = Date.now();
    for (const item of items) {
      // To look for words in a block costs as much as all else that is done with it.
      const isPlain = item.kind === 'plain' && item.onlySets === true;
      const bytes = isPlain ? item.bytes : this.rewrite(postponePassed(item.bytes, now));
      block.raw(bytes, 0, bytes.length, item.commands);
    }
    const end = block.commands - 1;
    look?.behind(block);
    const last = block.commands - 1;
    block.command(['SELECT', 0]).command(['SET', this.keys.cursor, text]).command(['EXEC']);
    // The cursor is watched for the next block at once.
    block.command(['WATCH', this.keys.cursor]).command(['GET', this.keys.cursor]);
    this.armed = false;
    const { queueErrors, result, after } = await this.connection.transaction(block.view(), last + 2, 2);
    const found = after[1];
    if (Array.isArray(result)) {
      this.cursor = text;
      this.expectCursor(found);
      this.armed = true;
      look?.landed(text, result.slice(0, first), result.slice(end, last));
      const own = first === 0 && end === last ? result : result.slice(first, end);
      this.report(items, own);
      return { replies: asked > 0 ? own.slice(end - first - asked, end - first) : [], pause: null };
    }
    look?.failed();
    const error = [...queueErrors.values()][0] ?? (result instanceof ReplyError ? result : undefined);
    // What stands behind EXEC is no answer about the cursor then.
    if (error !== undefined && ELSEWHERE.has(error.code))
      throw new ApplyError('not-primary', `Redis refuses writes: ${error.code}`);
    this.expectCursor(found);
    this.armed = !(after[0] instanceof ReplyError);
    if (result === null) return AGAIN; // a watched key changed: look again
    if (error === undefined) throw new ApplyError('unexpected', 'EXEC answered neither replies nor an error');
    if (PAUSING.has(error.code)) return { replies: null, pause: error.code };
    // Refused when queued: unknown here, wrong number of arguments, forbidden. Without it the block can go.
    const errors = first === 0 ? queueErrors : new Map([...queueErrors].map(([at, e]) => [at - first, e]));
    this.drop(fixed, errors, items);
    return AGAIN;
  }

  private emptyBlock(): CommandWriter {
    if (this.block.capacity > BLOCK_BYTES_KEPT) this.block = new CommandWriter(BLOCK_BYTES);
    this.block.reset();
    return this.block;
  }

  /**
   * Watches the cursor and the keys.
   * @param isFirm not the keys: the block shall run whatever happens to them
   * @returns the replication offset at a moment when all of them are watched
   */
  private async watch(states: Set<KeyState>, isFirm = false): Promise<number> {
    const writer = new CommandWriter(1024);
    writer.command(['SELECT', 0]).command(['WATCH', this.keys.cursor]).command(['GET', this.keys.cursor]);
    let db = 0;
    for (const state of isFirm ? [] : states) {
      if (state.db !== db) writer.command(['SELECT', (db = state.db)]);
      writer.command(['WATCH', Buffer.from(state.key, 'latin1')]);
    }
    if (db !== 0) writer.command(['SELECT', 0]);
    const first = writer.commands;
    const take = this.observer?.found([...states], writer);
    const last = writer.commands;
    writer.command(['INFO', 'replication']);
    const replies = await this.connection.pipeline(writer.take(), last + 1);
    this.expectCursor(replies[2]);
    this.armed = true;
    const info = replies[last];
    const text = Buffer.isBuffer(info) ? info.toString('latin1') : '';
    if (!/^role:master/m.test(text)) throw new ApplyError('not-primary', 'Redis is no primary any more');
    if (take !== undefined) {
      // With that, all that was done to them before is known: there is nothing more to read.
      take(replies.slice(first, last));
      return 0;
    }
    return Number(/^master_repl_offset:(\d+)/m.exec(text)?.[1] ?? NaN);
  }

  private expectCursor(found: Reply | undefined): void {
    const text = Buffer.isBuffer(found) ? found.toString('latin1') : null;
    // A cursor that is gone was flushed by a client: it is written anew with the next block.
    if (text !== this.cursor && text !== null)
      throw new ApplyError('cursor-moved', 'the cursor in Redis was moved by another agent');
  }

  /** Looks at every reply inside EXEC. */
  private report(items: readonly BatchItem[], replies: readonly Reply[]): void {
    // Nearly always none failed: then nothing has to be found in the bytes of a whole block.
    if (!replies.some((reply) => reply instanceof ReplyError)) return;
    let at = 0;
    let db = 0;
    for (const item of items) {
      const count = item.commands;
      let failed = false;
      for (let i = 0; i < count; i++) if (replies[at + i] instanceof ReplyError) failed = true;
      db = this.eachCommand(
        item,
        db,
        (scanner, index, commandDb) => {
          const reply = failed ? replies[at + index] : undefined;
          if (reply instanceof ReplyError)
            for (const refusal of refusalsOf(scanner, commandDb, reply, reply.code === 'NOPERM'))
              this.hooks.refused(refusal);
        },
        failed,
      );
      at += count;
    }
  }

  /** Takes commands that could not even be queued out of the batch. */
  private drop(fixed: BatchItem[], errors: ReadonlyMap<number, ReplyError>, sent: readonly BatchItem[]): void {
    let at = 0;
    let db = 0;
    let dropped = 0;
    for (const item of sent) {
      const kept = new CommandWriter(item.bytes.length);
      let touched = false;
      db = this.eachCommand(
        item,
        db,
        (scanner, index, commandDb) => {
          const error = errors.get(at + index);
          if (error === undefined) kept.raw(scanner.buf, scanner.start, scanner.end, 1);
          else {
            touched = true;
            dropped++;
            for (const refusal of refusalsOf(scanner, commandDb, error, true)) this.hooks.refused(refusal);
          }
        },
        true,
      );
      at += item.commands;
      const place = fixed.indexOf(item);
      if (!touched || place < 0) continue;
      const commands = kept.commands;
      if (item.kind === 'guarded' || commands === 0) fixed.splice(place, 1);
      else fixed[place] = { kind: 'plain', bytes: kept.take(), commands };
    }
    if (dropped === 0) {
      const first = [...errors.values()][0];
      throw new ApplyError('unexpected', `Redis refuses the agent's own commands: ${first?.code ?? '?'}`);
    }
  }

  /** Visits an item's commands; returns the database selected after it. `full` false: only tracks SELECT cheaply. */
  private eachCommand(
    item: BatchItem,
    db: number,
    visit: (scanner: CommandScanner, index: number, db: number) => void,
    full: boolean,
  ): number {
    if (!full && item.kind === 'guarded') return db;
    if (!full && !item.bytes.includes('SELECT')) return db;
    const scanner = new CommandScanner();
    scanner.push(item.bytes);
    let index = 0;
    while (scanner.next()) {
      const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!);
      if (command?.name === 'SELECT')
        db = Number(scanner.buf.toString('latin1', scanner.argStart[1], scanner.argEnd[1]));
      visit(scanner, index++, db);
    }
    return db;
  }
}

/** One refusal, or, for what had several keys (MSET), one of each. */
function refusalsOf(scanner: CommandScanner, db: number, error: ReplyError, isForeign: boolean): Refusal[] {
  const text = (i: number): string => scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]);
  const command = text(0).toUpperCase();
  const refusals: Refusal[] = [];
  const bytes = scanner.buf.subarray(scanner.start, scanner.end);
  const known = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!);
  const isError = known !== undefined && error.code === 'ERR';
  const increment = isError ? incrementOf(known, scanner) : null;
  const entry = isError ? addedEntryOf(known, scanner) : null;
  // Of EVAL, the script that adds to a decimal number, it is the third argument.
  const first = command === 'EVAL' ? 3 : (known?.firstKey ?? 1);
  for (let i = first; i < (command === 'MSET' ? scanner.argc : first + 1); i += 2) {
    const key = i > 0 && i < scanner.argc ? text(i) : undefined;
    refusals.push({ db, command, key, code: error.code, message: error.message, isForeign, bytes, increment, entry });
  }
  return refusals;
}

/** Of a node of a cluster that answers for no keys at the moment: the code. */
function pauseOf(error: unknown): string {
  if (error instanceof ReplyError && isPausing(error.code)) return error.code;
  throw error;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
