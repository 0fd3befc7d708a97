/** After a giant block its memory is given back. */
const BYTES_KEPT = 4 * 1024 * 1024;

/** The bytes of a block whose end is still to come: one memory for all blocks, for nearly all of what agents write comes in pieces, and is passed over. */
export class Carried {
  private memory = Buffer.alloc(0);
  private size = 0;

  /** A block begins. What was carried of the one before stays until `take`. */
  begin(): void {
    this.size = 0;
    if (this.memory.length > BYTES_KEPT) this.memory = Buffer.alloc(0);
  }

  /**
   * Takes a block's chunks into this memory.
   * @param chunks the first is what this returned last, if it did since `begin`
   * @returns all of it, good until the next call or `begin`
   */
  take(chunks: readonly Buffer[]): Buffer {
    const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
    if (bytes > this.memory.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(bytes, this.memory.length * 2));
      this.memory.copy(grown, 0, 0, this.size);
      this.memory = grown;
    }
    const isNew = this.size === 0;
    for (const chunk of isNew ? chunks : chunks.slice(1)) this.size += chunk.copy(this.memory, this.size);
    return this.memory.subarray(0, bytes);
  }
}
