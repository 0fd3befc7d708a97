/** How many conflicts of each type have come since they were last asked for. */
export class ConflictCounts {
  private readonly counted = new Map<string, number>();

  /**
   * @param counts all of a core, by type
   * @param count takes those that have come
   */
  take(counts: Readonly<Record<string, number>>, count: (type: string, n: number) => void): void {
    for (const [type, n] of Object.entries(counts)) {
      const before = this.counted.get(type) ?? 0;
      if (n > before) count(type, n - before);
      this.counted.set(type, n);
    }
  }
}
