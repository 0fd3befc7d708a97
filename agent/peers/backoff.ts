/** Time until the next try: doubling from `minMs` to `maxMs`, half of it random, so that peers don't come all at once. */
export class Backoff {
  #tries = 0;

  constructor(
    private readonly minMs = 100,
    private readonly maxMs = 5000,
    private readonly random: () => number = Math.random,
  ) {}

  next(lasting = false): number {
    const ceiling = lasting ? this.maxMs : Math.min(this.maxMs, this.minMs * 2 ** Math.min(this.#tries, 16));
    this.#tries++;
    return ceiling / 2 + (ceiling / 2) * this.random();
  }

  reset(): void {
    this.#tries = 0;
  }
}
