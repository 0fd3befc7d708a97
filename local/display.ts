const refreshMs = 1000;
const plainRefreshMs = 10_000;

/**
 * Shows what changes: on a terminal a block of lines that is redrawn in place, with notices scrolling away above it; into a pipe
 * or a file the notices, and the block every ten seconds.
 */
export class Display {
  private drawn = 0;
  private timer: NodeJS.Timeout | undefined;
  private busy = false;
  private onFailure: (error: unknown) => void = () => undefined;

  constructor(
    private readonly out: NodeJS.WriteStream,
    private readonly render: () => Promise<string[]>,
  ) {}

  /** @param onFailure when there is nothing to show; the next attempt comes all the same */
  start(onFailure?: (error: unknown) => void): void {
    if (onFailure !== undefined) this.onFailure = onFailure;
    this.timer = setInterval(() => this.draw(), this.isTerminal ? refreshMs : plainRefreshMs);
    this.draw();
  }

  /** The last block stays where it is. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.drawn = 0;
  }

  notice(text: string): void {
    const time = new Date().toTimeString().slice(0, 8);
    this.out.write(`${this.erase()}${time} ${text}\n`);
    if (this.timer !== undefined && this.isTerminal) this.draw();
  }

  private get isTerminal(): boolean {
    return this.out.isTTY === true;
  }

  private draw(): void {
    if (this.busy) return;
    this.busy = true;
    this.render()
      .then((lines) => this.show(lines), this.onFailure)
      .finally(() => (this.busy = false));
  }

  private show(lines: readonly string[]): void {
    if (this.timer === undefined) return;
    if (!this.isTerminal) {
      this.out.write(`${lines.join('\n')}\n\n`);
      return;
    }
    const { columns = 80, rows = 24 } = this.out;
    // A line that wraps, or a block higher than the window, can't be erased again.
    const block = ['', ...lines].slice(0, rows - 1).map((line) => line.slice(0, columns - 1));
    this.out.write(`${this.erase()}${block.join('\n')}\n`);
    this.drawn = block.length;
  }

  private erase(): string {
    const back = this.drawn === 0 ? '' : `\x1b[${this.drawn}A\x1b[0J`;
    this.drawn = 0;
    return back;
  }
}
