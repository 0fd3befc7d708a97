/**
 * How much goes into one block of foreign operations. Entries that come to a stream below others make room for themselves, once a block: what stands
 * above them is moved (merge/stream-splice.ts). Blocks of a fixed size would move a long stream once for each of them: what a region that was away has to catch
 * up would cost the square of it. So a block grows with what it moves, until it brings as much, and waits a moment for that if it is not here.
 */
import type { Batch } from '../merge/batch';

export interface BlockLimits {
  readonly applyBatchBytes: number;
  readonly applyBatchOps: number;
}

/** So many times its usual size a block may have. */
const GROWTH_MAX = 32;
/** What is moved without a thought. */
const MOVES_MIN = 100;
/** About what Redis and the agent take for an entry that is moved: so at least half of their time is for other things. */
const WAIT_MS_PER_MOVE = 0.02;
const WAIT_MS_MAX = 200;

export function isFull({ isClosed, bytes, operations, moves }: Batch, limits: BlockLimits): boolean {
  const growth = Math.min(GROWTH_MAX, 1 + moves / limits.applyBatchOps);
  return isClosed || bytes >= limits.applyBatchBytes * growth || operations >= limits.applyBatchOps * growth;
}

/** How long more operations are waited for before the block is sent; 0: not at all. */
export function gatherMs(batch: Batch, limits: BlockLimits): number {
  const moves = batch.moves - batch.operations;
  return moves < MOVES_MIN || isFull(batch, limits) ? 0 : Math.min(WAIT_MS_MAX, Math.ceil(moves * WAIT_MS_PER_MOVE));
}
