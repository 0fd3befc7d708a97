/** One small JSON document beside the log, replaced atomically: a checksum on the first line, the JSON on the second. */
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { syncDir } from './files';

export class Meta {
  private text: string | null = null;
  private next = '';
  private queued: Promise<void> | null = null;
  private running: Promise<void> | null = null;

  constructor(
    private readonly dir: string,
    private readonly fsync: boolean,
  ) {}

  private get file(): string {
    return path.join(this.dir, 'meta.json');
  }

  /** @returns whether what is on disk is sound (nothing there is sound) */
  load(): boolean {
    let raw: string;
    try {
      raw = fs.readFileSync(this.file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
      throw error;
    }
    const line = raw.indexOf('\n');
    const text = raw.slice(line + 1);
    if (line < 0 || crc32(text).toString(16).padStart(8, '0') !== raw.slice(0, line)) return false;
    this.text = text;
    return true;
  }

  read(): unknown {
    return this.text === null ? null : JSON.parse(this.text);
  }

  /** Resolves when this value, or a later one, is durable: values that come while one is written are written as one. */
  write(value: unknown): Promise<void> {
    this.next = JSON.stringify(value);
    return (this.queued ??= this.writeNext());
  }

  private async writeNext(): Promise<void> {
    await this.running?.catch(() => undefined);
    const text = this.next;
    this.queued = null;
    this.running = this.replace(text);
    try {
      await this.running;
      this.text = text;
    } finally {
      this.running = null;
    }
  }

  private async replace(text: string): Promise<void> {
    const temporary = `${this.file}.tmp`;
    const handle = await fs.promises.open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(`${crc32(text).toString(16).padStart(8, '0')}\n${text}`);
      if (this.fsync) await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.promises.rename(temporary, this.file);
    if (this.fsync) await syncDir(this.dir);
  }

  async settled(): Promise<void> {
    for (;;) {
      const busy = this.queued ?? this.running;
      if (busy === null) return;
      await busy.catch(() => undefined);
    }
  }
}
