/** Heartbeats on their way through Redis: one that is reported says that all that clients wrote before it has been reported, too. */

/** One that is not reported for so long means that nothing is. */
const SILENCE_MS = 5000;

export class Beats {
  /** Written, and not reported yet. */
  private sent: { timeMs: number; sentMs: number }[] = [];
  /** Reported, and waiting for the keys that were reported before. */
  private heard: { timeMs: number; next: number }[] = [];

  /** One is about to be written. */
  send(timeMs: number, nowMs: number): void {
    this.sent.push({ timeMs, sentMs: nowMs });
  }

  /** @param next number that the next key to be read will get */
  hear(next: number): void {
    const beat = this.sent.shift();
    if (beat !== undefined) this.heard.push({ timeMs: beat.timeMs, next });
  }

  /** The last one before which all keys have been read; null for none. */
  take(isReadUpTo: (next: number) => boolean): number | null {
    let due: number | null = null;
    while (this.heard.length > 0 && isReadUpTo(this.heard[0]!.next)) due = this.heard.shift()!.timeMs;
    return due;
  }

  isSilent(nowMs: number): boolean {
    const [oldest] = this.sent;
    return oldest !== undefined && nowMs - oldest.sentMs > SILENCE_MS;
  }

  /** What was on its way is lost. */
  clear(): void {
    this.sent = [];
    this.heard = [];
  }
}
