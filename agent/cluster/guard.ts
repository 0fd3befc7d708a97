/**
 * Keys that move to another node of a cluster leave this one by DEL, and come to it by RESTORE, as the stream has it (MIGRATE): taken for what clients
 * do, that would delete them in every other region. So a piece of the stream with such a command in it waits until the node has said, later, that it has
 * all slots of its shard and that none of them moves: SETSLOT MIGRATING stands before the first MIGRATE, and says so until the slot has gone. That is one
 * round trip, for such pieces only.
 */
import { type RedisConnection, type Reply } from '../resp';
import { parseNodes, whyNot } from './nodes';
import type { SlotRange } from '../../model/slots';

/** As commands are written in a stream: with what ends the length before, and the argument. UNLINK: what a node does with keys of slots that it has lost. */
const NAMES = ['DEL', 'UNLINK', 'RESTORE', 'RESTORE-ASKING'].map((name) => Buffer.from(`\r\n${name}\r\n`));
const LONGEST = Math.max(...NAMES.map((name) => name.length));

/** Why this node is not the place for these slots at the moment, by its answer to CLUSTER NODES; null: it is. */
export function misplaced(reply: Reply | undefined, slots: readonly SlotRange[]): string | null {
  return whyNot(Buffer.isBuffer(reply) ? parseNodes(reply.toString('latin1')) : null, slots);
}

export class SlotGuard {
  private held: Buffer[] = [];
  private asking = false;
  /** The last bytes of the piece before: a command may be cut anywhere. */
  private tail = Buffer.alloc(0);

  constructor(
    private readonly slots: readonly SlotRange[],
    private readonly host: {
      connection(): RedisConnection;
      /** Takes a piece of the stream. */
      take(chunk: Buffer): void;
      /** The slots are not, or not all, this node's: nothing that was held is taken. */
      fail(why: string): void;
    },
  ) {}

  /** @param chunk the caller's again when it returns */
  receive(chunk: Buffer): void {
    const isDoubtful = this.isDoubtful(chunk);
    if (this.held.length === 0 && !isDoubtful) return this.host.take(chunk);
    this.held.push(Buffer.from(chunk));
    if (!this.asking) void this.ask();
  }

  private isDoubtful(chunk: Buffer): boolean {
    const joint = Buffer.concat([this.tail, chunk.subarray(0, LONGEST - 1)]);
    this.tail = Buffer.from(chunk.length >= LONGEST ? chunk.subarray(1 - LONGEST) : joint.subarray(1 - LONGEST));
    return NAMES.some((name) => chunk.includes(name) || joint.includes(name));
  }

  private async ask(): Promise<void> {
    this.asking = true;
    try {
      while (this.held.length > 0) {
        const { length } = this.held;
        const why = misplaced(await this.host.connection().call('CLUSTER', 'NODES'), this.slots);
        if (why !== null) return this.host.fail(why);
        for (const chunk of this.held.splice(0, length)) this.host.take(chunk);
      }
    } catch (error) {
      this.host.fail(error instanceof Error ? error.message : String(error));
    } finally {
      this.asking = false;
    }
  }
}
