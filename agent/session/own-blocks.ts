/** The blocks that a session writes to its Redis: what goes into one, how it is called, and where it stands in the own stream once it has been read back. */
import { randomBytes } from 'node:crypto';
import type { Applier } from '../apply/applier';
import { Batch } from '../merge/batch';
import type { MergeCore } from '../merge/core';
import type { KeyState } from '../merge/key-state';
import type { OriginId, Vector } from '../record';
import type { Reply } from '../resp';
import { formatMarker } from '../stream/keys';
import { raise } from '../vector';
import type { OwnLibraries } from './own-libraries';
import { Throughput } from './throughput';

export interface OwnBlocksHost {
  core(): MergeCore;
  /** What is in Redis, by origin: what its cursor says. */
  readonly vector: Map<OriginId, number>;
  readonly libraries: OwnLibraries;
  /** The region is getting its place in the mesh: its cursor says so. */
  isJoining(): boolean;
  /** A block with so many operations has run. */
  ran(operations: number): void;
}

const NOTHING: Vector = new Map();

/** Whether Redis is known not to have what the rule says. */
export function hasToCorrect({ corrections, libraries }: MergeCore): boolean {
  return corrections.racedKeys > 0 || libraries.isDue;
}

export class OwnBlocks {
  applier: Applier | null = null;
  /** The highest stamp of what has been applied. */
  maxStamp = 0;
  readonly applied = new Throughput();
  /** Blocks that Redis may be running. */
  onTheirWay = 0;
  /** Begins their names. */
  readonly nonce = randomBytes(4).toString('hex');
  private count = 0;
  /** The last of them that has been read back. */
  private landed = { block: '', offset: 0 };
  private waiter: { block: string; done: () => void } | null = null;
  private ended: Error | null = null;

  constructor(private readonly host: OwnBlocksHost) {}

  /** No more are written. */
  end(error: Error): void {
    this.ended = error;
    this.applier?.stop();
    this.waiter?.done();
  }

  /**
   * Writes a block with a batch.
   * @param corrects whether it brings Redis to what the rule says, too
   * @param planned positions behind what the batch has, by origin
   * @throws as Applier.apply
   */
  async apply(batch: Batch, corrects: boolean, planned = NOTHING): Promise<void> {
    const { host } = this;
    const core = host.core();
    const { operations } = batch;
    this.maxStamp = Math.max(this.maxStamp, batch.stamp);
    // What is planned from here on goes into the next block.
    const vector = new Map(host.vector);
    raise(vector, planned);
    const block = this.nextName();
    const text = this.cursor(vector, block);
    const raced = corrects ? core.corrections.takeRaced() : [];
    const look = corrects ? host.libraries.take() : null;
    const amend =
      raced.length === 0 && look === null
        ? undefined
        : {
            states: raced,
            ...(look !== null && { look: look.look }),
            build: (extra: Batch): number => {
              core.corrections.correct(raced, extra);
              look?.settle(extra);
              return 0;
            },
          };
    this.onTheirWay++;
    await this.applier!.apply(batch, text, amend).finally(() => this.onTheirWay--);
    batch.release();
    raise(host.vector, vector);
    core.corrections.corrected(raced, block);
    host.libraries.ran(look);
    this.applied.add(operations);
    host.ran(operations);
  }

  /** Writes the cursor alone, and waits until it has been read back. */
  async applyCursor(): Promise<void> {
    const block = this.nextName();
    await this.applier!.apply(new Batch(), this.cursor(this.host.vector, block));
    await this.whenLanded(block);
  }

  /**
   * Reads in a block of its own, with keys that hold still.
   * @param build adds the commands. @returns how many replies are wanted
   * @returns the replies, and the block's name
   */
  async read(states: KeyState[], build: (batch: Batch) => number): Promise<{ replies: Reply[]; block: string }> {
    const block = this.nextName();
    const replies = await this.applier!.apply(new Batch(), this.cursor(this.host.vector, block), { states, build });
    return { replies, block };
  }

  /** A block has been read back. */
  land(block: string, offset: number): void {
    this.landed = { block, offset };
    this.host.core().corrections.readBack(block);
    if (this.waiter?.block === block) this.waiter.done();
  }

  /** The position of a block, once it has been read back. @throws what ended the session before */
  async whenLanded(block: string): Promise<number> {
    if (this.landed.block !== block) {
      await new Promise<void>((done) => {
        this.waiter = { block, done };
        if (this.ended !== null) done();
      });
      this.waiter = null;
      if (this.ended !== null) throw this.ended;
    }
    return this.landed.offset;
  }

  /**
   * One of them has been read back, and so has all that an agent had read here before. Before that this region tells nothing of its own: of what the journal has lost
   * peers may have some, and would neither take what stands before it nor know the stamps that it then gets.
   */
  get isCaughtUp(): boolean {
    return this.landed.block.startsWith(`${this.nonce}:`);
  }

  private nextName(): string {
    return `${this.nonce}:${++this.count}`;
  }

  private cursor(vector: Vector, block: string): string {
    return formatMarker({ block, stamp: this.maxStamp, vector, joining: this.host.isJoining() });
  }
}
