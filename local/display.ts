const refreshMs = 1000;
const lineEveryMs = 10_000;

/** What there is to show at one moment. */
export interface Picture {
  readonly block: readonly string[];
  /** The same in one line. */
  readonly line: string;
  /** When this changes, it is worth a new line at once. */
  readonly state: string;
}

/**
 * Shows what changes: on a terminal a block of lines that is redrawn in place, with notices scrolling away above it; into a pipe
 * or a file one line when the state changes, and every ten seconds.
 */
export class Display {
  private drawn = 0;
  private timer: NodeJS.Timeout | undefined;
  private busy = false;
  private lastState = '';
  private lastLineAt = 0;
  private onFailure: (error: unknown) => void = () => undefined;

  constructor(
    private readonly out: NodeJS.WriteStream,
    private readonly render: () => Promise<Picture>,
  ) {}

  /** @param onFailure when there is nothing to show; the next attempt comes all the same */
  start(onFailure?: (error: unknown) => void): void {
    if (onFailure !== undefined) this.onFailure = onFailure;
    this.timer = setInterval(() => this.draw(), refreshMs);
    this.draw();
  }

  /** The last block stays where it is. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.drawn = 0;
  }

  notice(text: string): void {
    this.out.write(`${this.erase()}${clock()} ${text}\n`);
    if (this.timer !== undefined && this.isTerminal) this.draw();
  }

  private get isTerminal(): boolean {
    return this.out.isTTY === true;
  }

  private draw(): void {
    if (this.busy) return;
    this.busy = true;
    this.render()
      .then((picture) => this.show(picture), this.onFailure)
      .finally(() => (this.busy = false));
  }

  private show(picture: Picture): void {
    if (this.timer === undefined) return;
    if (!this.isTerminal) {
      const now = performance.now();
      if (picture.state === this.lastState && now - this.lastLineAt < lineEveryMs) return;
      this.lastState = picture.state;
      this.lastLineAt = now;
      this.out.write(`${clock()} ${picture.line}\n`);
      return;
    }
    // A terminal that does not know its size says 0.
    const [columns, rows] = [this.out.columns || 80, this.out.rows || 24];
    // A line that wraps, or a block higher than the window, can't be erased again.
    const block = ['', ...picture.block].slice(0, rows - 1).map((line) => line.slice(0, columns - 1));
    this.out.write(`${this.erase()}${block.join('\n')}\n`);
    this.drawn = block.length;
  }

  private erase(): string {
    const back = this.drawn === 0 ? '' : `\x1b[${this.drawn}A\x1b[0J`;
    this.drawn = 0;
    return back;
  }
}

function clock(): string {
  return new Date().toTimeString().slice(0, 8);
}
