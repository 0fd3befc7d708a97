/** One at a time: blocks of the applier, and looks at keys. So what is seen is before a block or behind it, never beside it. */
export class Gate {
  private last: Promise<void> = Promise.resolve();
  private held: Promise<void> | null = null;
  private release: (() => void) | null = null;
  private isOver = false;

  /** Runs it when all that were here before are done. */
  async exclusive<T>(run: () => Promise<T>): Promise<T> {
    const before = this.last;
    let leave!: () => void;
    this.last = new Promise((resolve) => (leave = resolve));
    await before;
    try {
      return await run();
    } finally {
      leave();
    }
  }

  /** The same for a block, which also waits while blocks are held. */
  async block<T>(run: () => Promise<T>): Promise<T> {
    while (this.held !== null) await this.held;
    return this.exclusive(run);
  }

  /** It is over: nothing is held any more. */
  end(): void {
    this.isOver = true;
    this.release?.();
  }

  /** Lets no block through until the function returned is called. Resolves when none is on its way. */
  async hold(): Promise<() => void> {
    while (this.held !== null) await this.held;
    if (this.isOver) return () => undefined;
    let release!: () => void;
    this.held = new Promise((resolve) => {
      release = () => {
        this.held = this.release = null;
        resolve();
      };
    });
    this.release = release;
    await this.exclusive(() => Promise.resolve());
    return release;
  }
}
