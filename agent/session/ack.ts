/**
 * What the agent acknowledges to its primary (REPLCONF ACK). WAIT counts it, and min-replicas-to-write looks at its time.
 *
 * async: what this agent has journalled. semi-sync: what enough other regions have journalled too; when none of them
 * keeps up for longer than maxLagMs the agent stops acknowledging, so that Redis can see it (min-replicas-max-lag looks
 * at the time of the last ACK, not at its offset), but for a rare one that keeps the link from being dropped.
 */
import type { OriginId } from '../record';

export interface AckOptions {
  mode: 'async' | 'semi-sync';
  semiSyncRegions: number;
  maxLagMs: number;
}

/** Redis drops a replica that says nothing for repl-timeout, 60 s by default. */
const KEEP_LINK_MS = 45_000;
const SOON_MS = 100;

export class AckPolicy {
  private readonly peers = new Map<string, number>();
  private origin: OriginId = '';
  private lastAck = -1;
  private lastSentMs = 0;
  private behindSinceMs: number | null = null;

  constructor(private readonly options: AckOptions) {}

  /** A peer has journalled the own stream up to this offset. */
  peer(region: string, origin: OriginId, offset: number, nowMs: number): void {
    this.turnTo(origin);
    this.peers.set(region, Math.max(this.peers.get(region) ?? -1, offset));
    void nowMs;
  }

  /**
   * @param own offset up to which this agent has journalled everything
   * @param asked Redis wants an answer now (WAIT)
   * @returns the offset to acknowledge, or null for silence
   */
  next(own: number, origin: OriginId, nowMs: number, asked: boolean): number | null {
    this.turnTo(origin);
    let offset = own;
    if (this.options.mode === 'semi-sync') {
      const sorted = [...this.peers.values()].sort((a, b) => b - a);
      offset = Math.min(own, sorted[this.options.semiSyncRegions - 1] ?? -1);
      if (offset >= own) this.behindSinceMs = null;
      else this.behindSinceMs ??= nowMs;
      const silent =
        this.behindSinceMs !== null && nowMs - this.behindSinceMs > this.options.maxLagMs && offset <= this.lastAck;
      if (silent && nowMs - this.lastSentMs < KEEP_LINK_MS) return null;
    }
    if (offset < 0) offset = Math.max(0, this.lastAck);
    if (!asked && offset === this.lastAck && nowMs - this.lastSentMs < 900) return null;
    if (!asked && nowMs - this.lastSentMs < SOON_MS && offset === this.lastAck) return null;
    this.lastAck = Math.max(this.lastAck, offset);
    this.lastSentMs = nowMs;
    return this.lastAck;
  }

  private turnTo(origin: OriginId): void {
    if (origin === this.origin) return;
    this.origin = origin;
    this.peers.clear();
    this.lastAck = -1;
  }
}
