/**
 * Waiting times between attempts: exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that agents that lost
 * the same server don't come back together. Pure but for `random`.
 */
export class Backoff {
  private attempt = 0;

  /**
   * @param minMs the first wait is between minMs/2 and minMs. Default 100.
   * @param maxMs the longest wait. Default 5,000.
   */
  constructor(
    private readonly minMs = 100,
    private readonly maxMs = 5000,
    private readonly random: () => number = Math.random,
  ) {}

  /** Failures since the last `reset`. */
  get failures(): number {
    return this.attempt;
  }

  /** How long to wait before the next attempt, in ms. Never below half the minimum: an endless tight loop helps no one. */
  next(): number {
    const ceiling = Math.min(this.maxMs, this.minMs * 2 ** Math.min(this.attempt++, 30));
    const floor = Math.min(this.minMs, ceiling) / 2;
    return Math.round(floor + (ceiling - floor) * this.random());
  }

  /** After a success. */
  reset(): void {
    this.attempt = 0;
  }
}
