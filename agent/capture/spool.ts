/** Bytes between a socket that must never wait and a reader that may: in memory, and beyond a limit in a file. */
import { randomBytes } from 'crypto';
import * as fs from 'fs';
import { open, type FileHandle, unlink } from 'fs/promises';
import { tmpdir } from 'os';
import { join } from 'path';
import { asError } from '../as-error';

export interface SpoolOptions {
  /** Bytes kept in memory before the file is used. Default 16 MiB. */
  memoryBytesMax?: number;
  /** Where the file is made (and unlinked at once, so that nothing is left behind). Default: the system's temporary directory. */
  dir?: string;
  /** Called with true when bytes for the file wait beyond `memoryBytesMax` twice over (the disk is slower than the network), with false when they are written. */
  onPressure?: (on: boolean) => void;
}

const READ_BYTES = 1024 * 1024;

/** A queue of bytes, first in first out. One writer, one reader. */
export class Spool {
  private readonly memory: Buffer[] = [];
  private memoryBytes = 0;
  /** Newest bytes, on their way to the file: they are read only after all that is in the file. */
  private unwritten: Buffer[] = [];
  private unwrittenBytes = 0;
  private file: FileHandle | null = null;
  private fileRead = 0;
  private fileWritten = 0;
  private writing: Promise<void> | null = null;
  private finished = false;
  private failure: Error | null = null;
  private pressed = false;
  private wake: (() => void) | null = null;
  private readonly memoryBytesMax: number;

  constructor(private readonly opts: SpoolOptions = {}) {
    this.memoryBytesMax = opts.memoryBytesMax ?? 16 * 1024 * 1024;
  }

  /** Bytes pushed and not read. */
  get bytes(): number {
    return this.memoryBytes + this.unwrittenBytes + this.fileWritten - this.fileRead;
  }

  /** Whether the file has been needed. */
  get spilled(): boolean {
    return this.file !== null || this.writing !== null;
  }

  push(chunk: Buffer): void {
    if (this.finished || chunk.length === 0) return;
    const fileInUse = this.writing !== null || this.unwrittenBytes > 0 || this.fileWritten > this.fileRead;
    if (!fileInUse && this.memoryBytes + chunk.length <= this.memoryBytesMax) {
      this.memory.push(chunk);
      this.memoryBytes += chunk.length;
    } else {
      this.unwritten.push(chunk);
      this.unwrittenBytes += chunk.length;
      this.writing ??= this.write().finally(() => {
        this.writing = null;
        this.signal();
      });
      if (!this.pressed && this.unwrittenBytes > 2 * this.memoryBytesMax) {
        this.pressed = true;
        this.opts.onPressure?.(true);
      }
    }
    this.signal();
  }

  /** No more bytes will come: the reader gets what is there, then null. With an error: the reader gets it after the bytes. */
  end(error?: Error): void {
    if (this.finished) return;
    this.finished = true;
    this.failure = error ?? null;
    this.signal();
  }

  /** A chunk that is in memory and next in order; null when there is none at once. */
  take(): Buffer | null {
    const chunk = this.memory.shift();
    if (chunk === undefined) return null;
    this.memoryBytes -= chunk.length;
    return chunk;
  }

  /** The next bytes; null at the end. Rejects with the error given to `end`, or the file's. */
  async read(): Promise<Buffer | null> {
    for (;;) {
      const chunk = this.take();
      if (chunk !== null) return chunk;
      if (this.file !== null && this.fileWritten > this.fileRead) {
        const size = Math.min(READ_BYTES, this.fileWritten - this.fileRead);
        const buf = Buffer.allocUnsafeSlow(size);
        const { bytesRead } = await this.file.read(buf, 0, size, this.fileRead);
        if (bytesRead === 0) throw new Error('the spool file is shorter than what was written');
        this.fileRead += bytesRead;
        return bytesRead === size ? buf : buf.subarray(0, bytesRead);
      }
      if (this.writing === null && this.unwrittenBytes === 0) {
        if (this.failure !== null) throw this.failure;
        if (this.finished) return null;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** Drops everything and closes the file. */
  async close(): Promise<void> {
    this.end();
    this.memory.length = 0;
    this.memoryBytes = 0;
    this.unwritten = [];
    this.unwrittenBytes = 0;
    await this.writing?.catch(() => undefined);
    const file = this.file;
    this.file = null;
    this.fileRead = this.fileWritten = 0;
    await file?.close();
  }

  private async write(): Promise<void> {
    try {
      if (this.file === null) {
        const path = join(this.opts.dir ?? tmpdir(), `meridian-spool-${process.pid}-${randomBytes(6).toString('hex')}`);
        this.file = await open(path, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL, 0o600);
        await unlink(path);
      }
      while (this.unwritten.length > 0) {
        // Bytes in order, and the whole queue in one call: they count as unwritten until they are in the file.
        const chunks = this.unwritten;
        this.unwritten = [];
        const bytes = chunks.reduce((sum, c) => sum + c.length, 0);
        let at = this.fileWritten;
        for (let from = 0; from < chunks.length; from += 512) {
          at += await this.writeAll(chunks.slice(from, from + 512), at);
        }
        this.fileWritten += bytes;
        this.unwrittenBytes = Math.max(0, this.unwrittenBytes - bytes);
        this.signal();
        if (this.pressed && this.unwrittenBytes < this.memoryBytesMax) {
          this.pressed = false;
          this.opts.onPressure?.(false);
        }
      }
    } catch (error) {
      this.unwritten = [];
      this.unwrittenBytes = 0;
      this.finished = true;
      this.failure = asError(error);
    }
  }

  private async writeAll(chunks: Buffer[], at: number): Promise<number> {
    const file = this.file as FileHandle;
    const bytes = chunks.reduce((sum, c) => sum + c.length, 0);
    const { bytesWritten } = await file.writev(chunks, at);
    if (bytesWritten === bytes) return bytes;
    const rest = Buffer.concat(chunks).subarray(bytesWritten);
    for (let done = 0; done < rest.length;) {
      done += (await file.write(rest, done, rest.length - done, at + bytesWritten + done)).bytesWritten;
    }
    return bytes;
  }

  private signal(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}
