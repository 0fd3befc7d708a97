import { Deque } from '../deque';
import type { Element, KeyState } from './key-state';

const CHUNK_OPERATIONS = 4096;
/** How far an operation is behind the one before it. What is further, as a large value is, or before it, as what comes back from the shelf, stands in `far`. */
const FAR = 2 ** 16 - 1;
/** Of one that is no head of the table, but the next of `others`. */
const OTHER = -1;

interface Chunk {
  readonly heads: Int32Array;
  readonly gaps: Uint16Array;
  first: number;
  size: number;
}

interface Other {
  readonly state: KeyState;
  readonly element: Element | null;
  readonly position: number;
}

/** What `shift` took: a head of the table, or, with −1 there, an operation on a state. */
export interface Shifted {
  head: number;
  other: Other | null;
  position: number;
}

/** A queue of one origin's operations in stream order; six bytes, and no object, per plain SET. */
export class FoldQueue {
  private readonly chunks = new Deque<Chunk>();
  private readonly others = new Deque<Other>();
  private readonly far = new Deque<number>();
  private spare: Chunk | null = null;
  /** Positions, in whole bytes, of the operation that was taken last, and of the last in the queue. */
  private taken = 0;
  private end = 0;
  /** Operations in it. */
  length = 0;

  /** Bytes of memory that it holds, but for `others`. */
  get bytes(): number {
    return (this.chunks.length + (this.spare === null ? 0 : 1)) * CHUNK_OPERATIONS * 6 + this.far.length * 8;
  }

  first(): number | undefined {
    if (this.chunks.length === 0) return undefined;
    const { heads, gaps, first } = this.chunks.at(0);
    return heads[first] === OTHER ? this.others.at(0).position : this.taken + this.gapOf(gaps[first]!);
  }

  last(): number | undefined {
    if (this.chunks.length === 0) return undefined;
    const { heads, size } = this.chunks.at(this.chunks.length - 1);
    return heads[size - 1] === OTHER ? this.others.at(this.others.length - 1).position : this.end;
  }

  /** @param head of the table of SETs; the position is the end of bytes of the stream, and so a whole number */
  push(head: number, position: number): void {
    let chunk = this.chunks.length === 0 ? null : this.chunks.at(this.chunks.length - 1);
    if (chunk === null || chunk.size === CHUNK_OPERATIONS) this.chunks.push((chunk = this.take()));
    const gap = position - this.end;
    this.end = position;
    const isFar = gap >= FAR || gap < 0;
    if (isFar) this.far.push(gap);
    chunk.heads[chunk.size] = head;
    chunk.gaps[chunk.size++] = isFar ? FAR : gap;
    this.length++;
  }

  pushOf(state: KeyState, element: Element | null, position: number): void {
    this.others.push({ state, element, position });
    this.push(OTHER, Math.floor(position));
  }

  /**
   * Takes heads up to a position: as many as stand in a row at the front, and fit into `into`.
   * @returns how many; 0 also where something else comes first
   */
  shiftHeads(position: number, into: Int32Array): number {
    let n = 0;
    let { taken } = this;
    while (n < into.length && this.chunks.length > 0) {
      const chunk = this.chunks.at(0);
      const { heads, gaps, size } = chunk;
      let i = chunk.first;
      while (i < size && n < into.length && heads[i] !== OTHER) {
        const at = taken + (gaps[i] === FAR ? this.far.at(0) : gaps[i]!);
        if (at > position) break;
        if (gaps[i] === FAR) this.far.drop(1);
        taken = at;
        into[n++] = heads[i++]!;
      }
      chunk.first = i;
      if (i < size) break;
      this.dropFirst(chunk);
    }
    this.taken = taken;
    this.length -= n;
    return n;
  }

  /** Takes the first, whatever it is. @returns false where there is none */
  shift(into: Shifted): boolean {
    if (this.length === 0) return false;
    const chunk = this.chunks.at(0);
    const head = chunk.heads[chunk.first]!;
    into.head = head;
    into.other = head === OTHER ? this.others.at(0) : null;
    if (head === OTHER) this.others.drop(1);
    this.skip(chunk);
    into.position = into.other?.position ?? this.taken;
    return true;
  }

  /** Takes the first, which is no head, where it is not beyond a position. */
  shiftOther(position: number): Other | undefined {
    if (this.chunks.length === 0) return undefined;
    const chunk = this.chunks.at(0);
    if (chunk.heads[chunk.first] !== OTHER) return undefined;
    const other = this.others.at(0);
    if (other.position > position) return undefined;
    this.others.drop(1);
    this.skip(chunk);
    return other;
  }

  private gapOf(gap: number): number {
    return gap === FAR ? this.far.at(0) : gap;
  }

  private skip(chunk: Chunk): void {
    const gap = chunk.gaps[chunk.first]!;
    this.taken += this.gapOf(gap);
    if (gap === FAR) this.far.drop(1);
    if (++chunk.first === chunk.size) this.dropFirst(chunk);
    this.length--;
  }

  private take(): Chunk {
    const chunk = this.spare ?? {
      heads: new Int32Array(CHUNK_OPERATIONS),
      gaps: new Uint16Array(CHUNK_OPERATIONS),
      first: 0,
      size: 0,
    };
    this.spare = null;
    chunk.first = chunk.size = 0;
    return chunk;
  }

  private dropFirst(chunk: Chunk): void {
    this.chunks.drop(1);
    this.spare ??= chunk;
  }
}
