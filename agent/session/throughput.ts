/** A count and its rate over the last seconds, for /status. */
const WINDOW_S = 5;

export class Throughput {
  operations = 0;
  private readonly buckets = new Float64Array(WINDOW_S + 1);
  private second = 0;

  add(n: number): void {
    this.operations += n;
    this.turn();
    this.buckets[this.second % this.buckets.length]! += n;
  }

  /** Operations per second, over the last five whole seconds. */
  get perSecond(): number {
    this.turn();
    let sum = 0;
    for (let i = 1; i <= WINDOW_S; i++)
      sum += this.buckets[(this.second + this.buckets.length - i) % this.buckets.length]!;
    return sum / WINDOW_S;
  }

  private turn(): void {
    const now = Math.floor(Date.now() / 1000);
    if (now - this.second > WINDOW_S) this.buckets.fill(0);
    else for (let s = this.second + 1; s <= now; s++) this.buckets[s % this.buckets.length] = 0;
    this.second = now;
  }
}
