import { Deque } from '../deque';
import type { Element, KeyState } from './key-state';

/** A queue of one origin's operations in stream order; a ring without an object per plain SET. */
export class FoldQueue {
  /** Heads of the table of SETs; −1: the next of `others`. */
  private heads = new Int32Array(64);
  private positions = new Float64Array(64);
  private readonly others = new Deque<{ state: KeyState; element: Element | null }>();
  private head = 0;
  private size = 0;

  first(): number | undefined {
    return this.size === 0 ? undefined : this.positions[this.head];
  }

  last(): number | undefined {
    return this.size === 0 ? undefined : this.positions[(this.head + this.size - 1) & (this.positions.length - 1)];
  }

  push(head: number, position: number): void {
    if (this.size === this.positions.length) this.resize(this.size * 2);
    const at = (this.head + this.size++) & (this.positions.length - 1);
    this.heads[at] = head;
    this.positions[at] = position;
  }

  pushOf(state: KeyState, element: Element | null, position: number): void {
    this.others.push({ state, element });
    this.push(-1, position);
  }

  /** @returns the head; where it is −1, `shiftOf` has to follow */
  shift(): number {
    const head = this.heads[this.head]!;
    this.head = (this.head + 1) & (this.positions.length - 1);
    if (--this.size === 0 && this.positions.length > 65536) this.resize(64);
    return head;
  }

  shiftOf(): { state: KeyState; element: Element | null } {
    const other = this.others.at(0);
    this.others.drop(1);
    return other;
  }

  private resize(size: number): void {
    const old = this.positions.length - 1;
    const heads = new Int32Array(size);
    const positions = new Float64Array(size);
    for (let i = 0; i < this.size; i++) {
      heads[i] = this.heads[(this.head + i) & old]!;
      positions[i] = this.positions[(this.head + i) & old]!;
    }
    this.heads = heads;
    this.positions = positions;
    this.head = 0;
  }
}
