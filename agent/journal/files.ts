/** The few file operations of the journal, as promises over descriptors: a FileHandle costs more than a small group's write. */
import fs from 'node:fs';

/** Writes all the buffers at `position`; a short write is continued. */
export async function writeAll(fd: number, buffers: readonly Buffer[], position: number): Promise<void> {
  let rest = buffers;
  for (;;) {
    const wanted = rest.reduce((sum, b) => sum + b.length, 0);
    const written = await new Promise<number>((resolve, reject) =>
      fs.writev(fd, rest, position, (error, n) => (error ? reject(error) : resolve(n))),
    );
    if (written === wanted) return;
    if (written === 0) throw Object.assign(new Error('the disk took no byte of a write'), { code: 'ENOSPC' });
    position += written;
    let skip = written;
    let i = 0;
    while (skip >= (rest[i] as Buffer).length) skip -= (rest[i++] as Buffer).length;
    rest = [(rest[i] as Buffer).subarray(skip), ...rest.slice(i + 1)];
  }
}

/** Reads `bytes` bytes at `position`, fewer only at the file's end. */
export async function readAt(fd: number, into: Buffer, bytes: number, position: number): Promise<number> {
  let done = 0;
  while (done < bytes) {
    const n = await new Promise<number>((resolve, reject) =>
      fs.read(fd, into, done, bytes - done, position + done, (error, got) => (error ? reject(error) : resolve(got))),
    );
    if (n === 0) break;
    done += n;
  }
  return done;
}

export function openFile(path: string, flags: string): Promise<number> {
  return new Promise((resolve, reject) =>
    fs.open(path, flags, 0o600, (error, fd) => (error ? reject(error) : resolve(fd))),
  );
}

export function closeFile(fd: number): Promise<void> {
  return new Promise((resolve) => fs.close(fd, () => resolve()));
}

export function syncData(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fs.fdatasync(fd, (error) => (error ? reject(error) : resolve())));
}

/** Makes a directory's entries (a creation, a rename, a removal) durable. */
export async function syncDir(dir: string): Promise<void> {
  const fd = await openFile(dir, 'r');
  try {
    await new Promise<void>((resolve, reject) => fs.fsync(fd, (error) => (error ? reject(error) : resolve())));
  } finally {
    await closeFile(fd);
  }
}
