/**
 * Redis' `min-replicas-to-write` for one region: how many must have acknowledged lately, or its primary takes no writes. It is the guard against
 * writes that a primary takes on the wrong side of a partition and loses when it comes back as a replica.
 *
 * Redis counts the sync agent as one, for it is a replica on the wire:
 * - `semi-sync`: one more than the local replicas wanted. The agent acknowledges only what other regions hold, so that a primary which
 *   reaches nobody stops taking writes.
 * - `async`: no more than the local replicas wanted, though the agent alone can satisfy 1. What it acknowledges stands in its journal, and is
 *   merged after the failover as writes that nobody has seen: nothing acknowledged is lost, which is what the guard is for. One more
 *   would make the agent a part without which nobody can write, which async is meant to avoid.
 *
 * @param toWrite local replicas wanted; never more than there are, or the region could not write at all
 * @param replicas local replicas that there are
 */
export function minReplicas(toWrite: number, replicas: number, mode: 'async' | 'semi-sync'): number {
  return Math.min(toWrite, replicas) + (mode === 'semi-sync' ? 1 : 0);
}
