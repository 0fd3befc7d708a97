/**
 * That a client has flushed this Redis, which was not carried, and its data has not come back yet (see refill.ts). It is a file by
 * itself, and there before anything that was read behind the flush can be in the journal: an agent that dies goes on behind what it has
 * journalled, and never reads the flush again.
 */
import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs';
import path from 'node:path';

const NAME = 'emptied';

export class EmptiedMark {
  private readonly file: string;
  private there: boolean;

  /** @param dir the agent's state directory */
  constructor(private readonly dir: string) {
    this.file = path.join(dir, NAME);
    this.there = existsSync(this.file);
  }

  get isSet(): boolean {
    return this.there;
  }

  /** Returns when it is on disk. @throws where it can't be written */
  set(): void {
    if (this.there) return;
    sync(this.file, 'w');
    sync(this.dir, 'r');
    this.there = true;
  }

  clear(): void {
    if (!this.there) return;
    rmSync(this.file, { force: true });
    this.there = false;
  }
}

function sync(file: string, flags: string): void {
  const fd = openSync(file, flags, 0o600);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
