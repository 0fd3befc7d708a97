/**
 * What the agent acknowledges to its primary (REPLCONF ACK). WAIT counts it, and min-replicas-to-write looks at its time.
 *
 * async: what this agent has journalled. semi-sync: what enough other regions have journalled too; when none of them
 * keeps up for longer than maxLagMs the agent stops acknowledging, so that Redis can see it (min-replicas-max-lag looks
 * at the time of the last ACK, not at its offset), but for a rare one that keeps the link from being dropped. Nobody else hears
 * of the stream of a region that is still joining: there the offset stands still and the ACKs go on, or Redis would refuse the
 * very writes by which it joins, those of the mesh's data.
 *
 * Nobody needs an ACK for each group of the journal but a client that waits: WAIT makes Redis ask (GETACK), and from then
 * on every step forward is told until what had been written then is acknowledged. Otherwise one each ACK_MS does.
 */
import { isPrivate, type OriginId } from '../record';

export interface AckOptions {
  mode: 'async' | 'semi-sync';
  semiSyncRegions: number;
  maxLagMs: number;
}

/** Redis drops a replica that says nothing for repl-timeout, 60 s by default. */
const KEEP_LINK_MS = 45_000;
/** Between two ACKs that nobody asked for, while the offset moves, and while it stands still. */
export const ACK_MS = 100;
const STILL_MS = 900;

/** Where the own stream stands. */
export interface AckPlace {
  origin: OriginId;
  /** Position at which the last own record ends. What was read behind it (heartbeats, others' blocks) goes to nobody, and so needs nobody who has it. */
  end: number;
  /** Offset up to which this agent has read. */
  read: number;
  /** Offset up to which it has journalled everything. */
  journalled: number;
}

export class AckPolicy {
  /** Position up to which each region has journalled the own stream. */
  private readonly peers = new Map<string, number>();
  private origin: OriginId = '';
  private lastAck = -1;
  private lastSentMs = 0;
  private behindSinceMs: number | null = null;
  /** What the last GETACK asked for: the offset read then. */
  private wanted = -1;

  constructor(private readonly options: AckOptions) {}

  /** A peer has journalled the own stream up to this position. */
  peer(region: string, origin: OriginId, position: number): void {
    this.turnTo(origin);
    this.peers.set(region, Math.max(this.peers.get(region) ?? -1, position));
  }

  /**
   * @param asked Redis wants an answer now
   * @returns the offset to acknowledge, or null for silence
   */
  next({ origin, end, read, journalled }: AckPlace, nowMs: number, asked: boolean): number | null {
    this.turnTo(origin);
    if (asked) this.wanted = read;
    let offset = journalled;
    if (this.options.mode === 'semi-sync') {
      const sorted = [...this.peers.values()].sort((a, b) => b - a);
      const held = sorted[this.options.semiSyncRegions - 1] ?? -1;
      offset = Math.min(journalled, held >= end ? read : Math.floor(held));
      if (offset >= journalled || isPrivate(origin)) this.behindSinceMs = null;
      else this.behindSinceMs ??= nowMs;
      const silent =
        this.behindSinceMs !== null && nowMs - this.behindSinceMs > this.options.maxLagMs && offset <= this.lastAck;
      if (silent && nowMs - this.lastSentMs < KEEP_LINK_MS) return null;
    }
    if (offset < 0) offset = Math.max(0, this.lastAck);
    const sinceMs = nowMs - this.lastSentMs;
    const moves = offset > this.lastAck;
    const isWanted = moves && this.lastAck < this.wanted;
    if (!asked && !isWanted && sinceMs < (moves ? ACK_MS : STILL_MS)) return null;
    this.lastAck = Math.max(this.lastAck, offset);
    this.lastSentMs = nowMs;
    return this.lastAck;
  }

  private turnTo(origin: OriginId): void {
    if (origin === this.origin) return;
    this.origin = origin;
    this.peers.clear();
    this.lastAck = this.wanted = -1;
  }
}
