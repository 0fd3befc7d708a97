/**
 * Telling a new core what is in Redis already: when the window is put together again from the journal, and when records
 * that the journal should have come again from peers. Pure; the simulator runs the same code.
 */
import { isOfStream, type OpRecord, type OriginId, RecordKind, regionOf, type Vector } from '../record';
import { CommandScanner } from '../resp';
import { Class, Code, findCommand, UNKNOWN_COMMAND } from './commands';
import type { MergeCore } from './core';
import { argText } from './effects';

/**
 * A stream record in two, at a position inside it: what is in Redis, and what is not. Either part may be without
 * operations.
 */
export function splitRecord(record: OpRecord, at: number): [OpRecord, OpRecord] {
  const base = record.end - record.payload.length;
  const scanner = new CommandScanner();
  scanner.push(record.payload);
  let ops = 0;
  let { db } = record;
  while (scanner.next()) {
    if (base + scanner.end > at) break;
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.class !== Class.ignored) ops++;
    else if (command.code === Code.select) db = Number(argText(scanner, 1));
  }
  const cut = Math.max(0, at - base);
  const [before, after] = splitNumbered(record, ops);
  return [
    { ...record, ...before, end: at, ops, payload: record.payload.subarray(0, cut) },
    {
      ...record,
      ...after,
      start: at,
      ops: record.ops - ops,
      stamp: record.stamp + ops,
      db,
      payload: record.payload.subarray(cut),
    },
  ];
}

/** What a record tells of operations by their number, for its first operations and for the others. */
function splitNumbered({ added, unsettled }: OpRecord, ops: number): [Numbered, Numbered] {
  const before: Writable<Numbered> = {};
  const after: Writable<Numbered> = {};
  if (added !== undefined) {
    const entries = [...added];
    before.added = new Map(entries.filter(([i]) => i < ops));
    after.added = new Map(entries.flatMap(([i, by]) => (i < ops ? [] : [[i - ops, by] as const])));
  }
  if (unsettled !== undefined) {
    before.unsettled = new Set([...unsettled].filter((i) => i < ops));
    after.unsettled = new Set([...unsettled].flatMap((i) => (i < ops ? [] : [i - ops])));
  }
  return [before, after];
}

type Numbered = Pick<OpRecord, 'added' | 'unsettled'>;
type Writable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * What of a record comes after a position inside it. An agent that has lost the end of its journal reads its stream
 * again, and need not cut it where it did before: the operations are the same, and so are their positions.
 */
export function restOf(record: OpRecord, at: number): OpRecord {
  return isOfStream(record.kind) ? splitRecord(record, at)[1] : { ...record, start: at };
}

/**
 * A record by what of it is in Redis. Only the bytes of the stream have positions of their own: any other record is in
 * Redis as a whole or not at all.
 */
export function divide(record: OpRecord, held: number): { held: OpRecord | null; rest: OpRecord | null } {
  if (record.end <= held) return { held: record, rest: null };
  if (record.start >= held || !isOfStream(record.kind)) return { held: null, rest: record };
  const [before, after] = splitRecord(record, held);
  return { held: before.ops > 0 ? before : null, rest: after };
}

/** Gives records that are in Redis to a core in causal order, in whatever order it gets those of different origins. */
export class Replay {
  /** Those whose turn has not come, by origin. */
  private readonly lanes = new Map<OriginId, OpRecord[]>();
  /** Ends of the last records taken, by origin. */
  private readonly ends = new Map<OriginId, number>();

  constructor(
    readonly core: MergeCore,
    private readonly region: string,
    /** The own origin that goes on. */
    private readonly present: OriginId,
  ) {}

  /** The next record of its origin. */
  add(record: OpRecord): void {
    this.ends.set(record.origin, record.end);
    const lane = this.lanes.get(record.origin);
    if (lane !== undefined) {
      lane.push(record);
      return;
    }
    if (!this.core.isDeliverable(record)) {
      this.lanes.set(record.origin, [record]);
      return;
    }
    this.feed(record);
    this.advance();
  }

  /**
   * Takes what of a record is in Redis.
   * @param held position up to which the origin's operations are
   * @returns what is not, null for nothing
   */
  take(record: OpRecord, held: number): OpRecord | null {
    const { held: part, rest } = divide(record, held);
    if (part !== null) this.add(part);
    else if (rest !== null && rest !== record) {
      this.core.assume(record.origin, rest.start);
      this.advance();
    }
    return rest;
  }

  /**
   * All that the journal has was taken. Of own older histories that is all there is, also where one was lost behind its last
   * operation; of others' it may have less than Redis.
   */
  endOwnPast(held: Vector): void {
    for (const [origin, position] of held)
      if (regionOf(origin) === this.region && origin !== this.present && !this.waits(origin))
        this.core.assume(origin, position);
    this.advance();
  }

  /** Up to where an origin has been taken, or is known anyhow. */
  reached(origin: OriginId): number {
    return Math.max(this.ends.get(origin) ?? -1, this.core.knownOf(origin));
  }

  waits(origin: OriginId): boolean {
    return this.lanes.has(origin);
  }

  /** Records that wait for what they had seen. */
  waiting(): OpRecord[] {
    return [...this.lanes.values()].flat();
  }

  /** The furthest position of an origin that what waits has seen, and that is not known. */
  neededOf(origin: OriginId): number {
    let needed = -1;
    for (const { seen } of this.waiting()) needed = Math.max(needed, seen.get(origin) ?? -1);
    return needed > this.core.knownOf(origin) ? needed : -1;
  }

  /** Gives what can be given; to be called when the core has come to know more by other ways. */
  advance(): void {
    for (let progress = this.lanes.size > 0; progress;) {
      progress = false;
      for (const [origin, lane] of this.lanes) {
        let fed = 0;
        while (fed < lane.length && this.core.isDeliverable(lane[fed]!)) this.feed(lane[fed++]!);
        if (fed === 0) continue;
        progress = true;
        if (fed === lane.length) this.lanes.delete(origin);
        else lane.splice(0, fed);
      }
    }
  }

  /** Nothing more comes. What is left waits for something that nobody has: it is given as it is, each origin in order. */
  finish(): void {
    this.advance();
    const rest = this.waiting();
    this.lanes.clear();
    for (const record of rest) this.feed(record);
    this.core.window.replayed();
  }

  private feed(record: OpRecord): void {
    const { core } = this;
    // Own older histories too: where a block met a client's write, it did so in the stream that they are a part of.
    if (regionOf(record.origin) !== this.region) core.remember(record);
    else if (record.kind === RecordKind.state) core.localState(record);
    else core.local(record, { again: true, isPast: record.origin !== this.present });
  }
}

/** Where records wait that have come from peers. */
export interface Lanes {
  origins(): Iterable<OriginId>;
  peek(origin: OriginId): OpRecord | undefined;
  take(origin: OriginId): void;
}

/**
 * Takes from the lanes what is in Redis already. A record that is there in part stays where it is, to be planned from the
 * position on up to which it is held.
 * @returns whether anything was taken
 */
export function rememberFrom(lanes: Lanes, replay: Replay, held: Vector): boolean {
  let progress = false;
  for (const origin of lanes.origins()) {
    const until = held.get(origin) ?? -1;
    for (let record = lanes.peek(origin); record !== undefined; record = lanes.peek(origin)) {
      if (record.kind === RecordKind.birth) replay.core.assume(origin, record.end);
      else {
        const reached = replay.reached(origin);
        if (record.end > reached) {
          const part = divide(record, until).held;
          if (part !== null && part.end > reached) {
            replay.add(part);
            progress = true;
          }
        }
        if (record.end > until) {
          // The bytes before it that are no operation: of a state or a difference all but the last.
          if (record.start < until) replay.core.assume(origin, until);
          break;
        }
      }
      lanes.take(origin);
      progress = true;
    }
  }
  replay.advance();
  return progress;
}

/** Origins of which not all that is in Redis has been taken, and what is missing. */
export function missingOf(replay: Replay, held: Vector): OriginId[] {
  return [...held].filter(([origin, position]) => replay.reached(origin) < position).map(([origin]) => origin);
}
