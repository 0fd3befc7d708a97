/**
 * Lines on disk, in files of which the oldest goes when all together reach their size. For what is good to have and must never hold up anything:
 * lines wait in memory, are written some time later without a flush to the disk, and what comes too fast is refused. A
 * crash of the machine takes the last ones with it.
 */
import fs from 'node:fs';
import path from 'node:path';

const FILES = 4;
const WRITE_MS = 100;
/** Lines that wait to be written. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;

export class LineLog {
  private waiting: string[] = [];
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | null = null;
  private writing: Promise<void> = Promise.resolve();
  private closed = false;
  /** Numbers of the files, oldest first. */
  private readonly files: number[];
  /** Of the newest. */
  private fileBytes = 0;
  private readonly fileBytesMax: number;

  /**
   * Opens or makes it. A line that a crash cut stays as it is, on a line of its own.
   * @param bytesMax of all files
   */
  constructor(
    private readonly dir: string,
    bytesMax: number,
    private readonly onError: (error: unknown) => void,
  ) {
    this.fileBytesMax = Math.max(1, Math.floor(bytesMax / FILES));
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.files = fs
      .readdirSync(dir)
      .map((name) => Number(/^(\d{8})\.jsonl$/.exec(name)?.[1] ?? NaN))
      .filter((n) => !Number.isNaN(n))
      .sort((a, b) => a - b);
    const last = this.files.at(-1);
    if (last === undefined) return;
    const file = this.fileOf(last);
    this.fileBytes = fs.statSync(file).size;
    if (this.fileBytes > 0 && fs.readFileSync(file).at(-1) !== 0x0a) {
      fs.appendFileSync(file, '\n');
      this.fileBytes++;
    }
  }

  /** @param line without its end. @returns false when too many wait already */
  append(line: string): boolean {
    if (this.closed || this.waitingBytes + line.length > WAITING_BYTES_MAX) return false;
    this.waiting.push(line);
    this.waitingBytes += line.length + 1;
    this.timer ??= setTimeout(() => void this.flush(), WRITE_MS);
    return true;
  }

  /** Resolves when what was appended so far is written. */
  flush(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const lines = this.waiting;
    this.waiting = [];
    this.waitingBytes = 0;
    if (lines.length > 0) this.writing = this.writing.then(() => this.write(lines)).catch(this.onError);
    return this.writing;
  }

  private async write(lines: readonly string[]): Promise<void> {
    const bytes = Buffer.from(`${lines.join('\n')}\n`);
    if (this.files.length === 0 || this.fileBytes + bytes.length > this.fileBytesMax) {
      this.files.push((this.files.at(-1) ?? 0) + 1);
      this.fileBytes = 0;
    }
    while (this.files.length > FILES) await fs.promises.rm(this.fileOf(this.files.shift()!), { force: true });
    await fs.promises.appendFile(this.fileOf(this.files.at(-1)!), bytes, { mode: 0o600 });
    this.fileBytes += bytes.length;
  }

  /** All lines, newest first; what is damaged is for the reader to pass over. */
  async *newestFirst(): AsyncGenerator<string> {
    await this.flush();
    for (const n of [...this.files].reverse()) {
      const text = await fs.promises.readFile(this.fileOf(n), 'utf8').catch(() => '');
      const lines = text.split('\n');
      for (let i = lines.length - 1; i >= 0; i--) if (lines[i] !== '') yield lines[i]!;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.flush();
  }

  private fileOf(n: number): string {
    return path.join(this.dir, `${String(n).padStart(8, '0')}.jsonl`);
  }
}
