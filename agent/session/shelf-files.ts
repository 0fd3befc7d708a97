/**
 * Files for the window's shelf. They are a cache: whoever starts puts the window together again from the journal. So a file has no
 * name from the moment it is open, and is gone with the process, however that ends.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { ShelfFile, ShelfFiles } from '../merge/shelf';

export class DiskShelf implements ShelfFiles {
  private made = 0;

  /** @param failed told of a file that could not be written */
  constructor(
    private readonly dir: string,
    readonly failed: (error: unknown) => void,
  ) {}

  create(): ShelfFile {
    const name = path.join(this.dir, `window-${process.pid}-${this.made++}.tmp`);
    const fd = fs.openSync(name, 'wx+', 0o600);
    fs.unlinkSync(name);
    return new OpenFile(fd);
  }
}

class OpenFile implements ShelfFile {
  private size = 0;

  constructor(private readonly fd: number) {}

  append(bytes: Buffer): void {
    for (let done = 0; done < bytes.length;)
      done += fs.writeSync(this.fd, bytes, done, bytes.length - done, this.size + done);
    this.size += bytes.length;
  }

  read(into: Buffer, offset: number): void {
    for (let got = 0; got < into.length;) {
      const n = fs.readSync(this.fd, into, got, into.length - got, offset + got);
      if (n === 0) throw new Error(`the window's file ends at ${offset + got}, within what was written there`);
      got += n;
    }
  }

  remove(): void {
    fs.closeSync(this.fd);
  }
}
