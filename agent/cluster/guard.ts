/**
 * Keys that move to another node of a cluster leave this one by DEL, and come to it by RESTORE, as the stream has it (MIGRATE): taken for what clients
 * do, that would delete them in every other region. So a piece of the stream with such a command in it waits until the node has said, later, that it has
 * all slots of its shard and that none of them moves: SETSLOT MIGRATING stands before the first MIGRATE, and says so until the slot has gone. That is one
 * round trip, for such pieces only.
 */
import { type RedisConnection, type Reply } from '../resp';
import { parseNodes, whyNot } from './nodes';
import type { SlotRange } from '../../model/slots';
import { HeldPieces } from '../stream/held-pieces';

/** UNLINK: what a node does with keys of slots that it has lost. */
const NAMES = ['DEL', 'UNLINK', 'RESTORE', 'RESTORE-ASKING'];

/** Why this node is not the place for these slots at the moment, by its answer to CLUSTER NODES; null: it is. */
export function misplaced(reply: Reply | undefined, slots: readonly SlotRange[]): string | null {
  return whyNot(Buffer.isBuffer(reply) ? parseNodes(reply.toString('latin1')) : null, slots);
}

export interface SlotGuardHost {
  connection(): RedisConnection;
  /** Takes a piece of the stream. */
  take(chunk: Buffer): void;
  /** The slots are not, or not all, this node's: nothing that was held is taken. */
  fail(why: string): void;
}

/** @returns what takes the stream in the host's place */
export function slotGuard(slots: readonly SlotRange[], host: SlotGuardHost): HeldPieces {
  return new HeldPieces(NAMES, {
    ask: async () => {
      const why = misplaced(await host.connection().call('CLUSTER', 'NODES'), slots);
      if (why !== null) host.fail(why);
      return why === null;
    },
    take: (chunk) => host.take(chunk),
    fail: (error) => host.fail(error.message),
  });
}
