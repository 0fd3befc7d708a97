/** A queue on an array: amortised O(1) at both ends in use, and indexed from the front. */
export class Deque<T> {
  private items: T[] = [];
  private head = 0;

  get length(): number {
    return this.items.length - this.head;
  }

  push(item: T): void {
    this.items.push(item);
  }

  /** @param index below `length` */
  at(index: number): T {
    return this.items[this.head + index] as T;
  }

  slice(from: number, to: number): T[] {
    return this.items.slice(this.head + from, this.head + to);
  }

  drop(count: number): void {
    for (let i = 0; i < count; i++) this.items[this.head + i] = undefined as T; // let go of what they refer to
    this.head += count;
    if (this.head === this.items.length) {
      this.items = [];
      this.head = 0;
    } else if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
  }
}
