/** What has come from other regions becomes blocks: the next one is planned while Redis runs the one before. In between all else has its turn. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../as-error';
import type { Inbox } from '../apply/inbox';
import { Batch } from '../merge/batch';
import type { MergeCore } from '../merge/core';
import { type OriginId, RecordKind } from '../record';
import { type BlockLimits, gatherMs, isFull } from './gathering';
import { hasToCorrect, type OwnBlocks } from './own-blocks';

export interface PumpHost {
  core(): MergeCore;
  readonly inbox: Inbox;
  readonly blocks: OwnBlocks;
  readonly limits: BlockLimits;
  /** There is nothing to apply: does one thing else. @returns false where nothing is to be done before something comes */
  rest(): Promise<boolean>;
  fail(error: Error): void;
}

/** So long `collect` plans at a stretch: a block takes a few of them, unless much of it has to come back from disk, or it grows with what it moves (gathering.ts). */
const COLLECT_MS = 30;
const IDLE_MS = 1000;
/** The same where something is due by itself. */
const BUSY_MS = 50;

export class Pump {
  /** Something has come since it was set to false. */
  isAwake = false;
  private ended = false;
  private running: Promise<void> = Promise.resolve();
  private wakeUp: (() => void) | null = null;
  /** A block is on its way; the next one is planned meanwhile. */
  private isApplying = false;
  /** `planAhead` goes on in the next turn. */
  private isToPlan = false;
  private next: Batch | null = null;
  /** Who waits until a block has run. */
  private readonly waiters: { batch: Batch; done: () => void }[] = [];
  /** Positions behind what has been planned: ahead of what is in Redis by what is on its way. */
  private readonly planned = new Map<OriginId, number>();

  constructor(private readonly host: PumpHost) {}

  /** @param held what is in Redis */
  start(held: Iterable<[OriginId, number]>): void {
    for (const [origin, position] of held) this.planned.set(origin, position);
    this.running = this.run();
    this.running.catch((error: unknown) => this.fail(error));
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  /** Resolves when it does nothing any more, after its end. */
  async over(): Promise<void> {
    await this.running.catch(() => undefined);
  }

  /** Nothing planned is still on its way to Redis. */
  get isAtRest(): boolean {
    return this.next === null && this.host.blocks.onTheirWay === 0;
  }

  /** Whether an origin's record that ends there is in a block, on its way or in Redis. */
  isPlanned(origin: OriginId, end: number): boolean {
    return (this.planned.get(origin) ?? -1) >= end;
  }

  wake(): void {
    this.isAwake = true;
    if (this.isApplying) this.planAhead();
    else this.wakeUp?.();
  }

  /** Waits until something has come, a second at most. */
  async idle(): Promise<void> {
    if (this.isAwake) return;
    const { settling, trims, libraries } = this.host.core();
    await new Promise<void>((resolve) => {
      const isBusy = settling.unsettledKeys > 0 || trims.isDue || libraries.hasLost;
      const timer = setTimeout(resolve, isBusy ? BUSY_MS : IDLE_MS);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeUp = null;
  }

  /** Has a command run once, whatever the rule says of it. Resolves when it has. */
  once(db: number, command: Buffer): Promise<void> {
    const batch = (this.next ??= new Batch());
    batch.select(db).raw(command, 0, command.length, 1);
    const ran = new Promise<void>((done) => this.waiters.push({ batch, done }));
    this.wake();
    return ran;
  }

  private get hasToCorrect(): boolean {
    return hasToCorrect(this.host.core());
  }

  private fail(error: unknown): void {
    this.host.fail(asError(error));
  }

  /** Applies what is deliverable, corrects what clients raced, and lets all else have its turn. */
  private async run(): Promise<void> {
    while (!this.ended) {
      this.isAwake = false;
      if (!this.collect()) await this.collectRest();
      if (this.next !== null && !this.hasToCorrect) await this.gather(this.next);
      if (this.ended) return;
      const { next } = this;
      if (next !== null || this.hasToCorrect) {
        this.next = null;
        await this.applyWhilePlanning(next ?? new Batch());
      } else if (!(await this.host.rest())) await this.idle();
    }
  }

  /** Waits for more where that is cheaper than to send what there is. */
  private async gather(batch: Batch): Promise<void> {
    const waitMs = gatherMs(batch, this.host.limits);
    if (waitMs === 0) return;
    await sleep(waitMs);
    if (!this.ended && !this.collect()) await this.collectRest();
  }

  /**
   * Applies a batch, and plans the next one while Redis runs it: but not where the block is still to be decided, for what is
   * planned behind it would get into it.
   */
  private async applyWhilePlanning(batch: Batch): Promise<void> {
    const { waiters } = this;
    const isDecided = !this.hasToCorrect && !batch.hasGuards;
    const applied = this.host.blocks.apply(batch, true, this.planned);
    if (isDecided) {
      this.isApplying = true;
      this.planAhead();
    }
    await applied.finally(() => (this.isApplying = false));
    while (waiters[0]?.batch === batch) waiters.shift()!.done();
  }

  private planAhead(): void {
    try {
      if (this.collect() || this.isToPlan) return;
      this.isToPlan = true;
      setImmediate(() => {
        this.isToPlan = false;
        if (this.isApplying && !this.ended) this.planAhead();
      });
    } catch (error) {
      this.fail(error);
    }
  }

  /** Goes on with what `collect` has not come to, when all else that has come has had its turn. */
  private async collectRest(): Promise<void> {
    do await nextTurn();
    while (!this.ended && !this.collect());
  }

  /**
   * Plans what is deliverable, as much as goes into one block, into `next`.
   * @returns false where that takes long, and there is more
   */
  private collect(): boolean {
    const { planned } = this;
    const { inbox, limits } = this.host;
    const core = this.host.core();
    const until = performance.now() + COLLECT_MS;
    for (let progress = true; progress;) {
      progress = false;
      for (const origin of inbox.origins()) {
        for (let record = inbox.peek(origin); record !== undefined; record = inbox.peek(origin)) {
          const after = planned.get(origin) ?? -1;
          if (record.end <= after || record.kind === RecordKind.birth) {
            inbox.take(origin);
            core.assume(origin, record.end);
            progress = true;
            continue;
          }
          if (!core.isDeliverable(record)) break;
          if (!core.prepare(record)) return false;
          const batch = (this.next ??= new Batch());
          if (isFull(batch, limits)) return true;
          inbox.take(origin);
          core.plan(record, batch, after);
          planned.set(origin, record.end);
          progress = true;
          if (performance.now() > until) return false;
        }
      }
    }
    return true;
  }
}
