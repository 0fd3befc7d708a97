import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { commandOf } from '../connect';
import { LocalError } from '../errors';
import { checkRegion } from '../faults';
import { readState } from '../state';
import { type CommonOptions, dirOf } from './common';

export interface LogsOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly lines: number;
}

export type LogName = 'agent' | 'redis';

const chunkBytes = 64 * 1024;
const followMs = 250;

/** Prints the end of a region's logs, of a running stack or of one that has stopped. */
export async function logs(options: LogsOptions, region: string, which: LogName | undefined): Promise<void> {
  const dir = dirOf(options);
  const state = readState(dir);
  if (state === undefined) {
    throw new LocalError(
      'NOT_RUNNING',
      `There are no logs of stack '${options.stack}' in ${dir.root}: start it with \`${commandOf('up', options.stack, dir)}\`.`,
    );
  }
  checkRegion(
    region,
    state.regions.map(({ name }) => name),
  );
  const names = which === undefined ? (['redis', 'agent'] as const) : [which];
  const files = names
    .map((name) => ({ name, file: path.join(dir.regions, region, `${name}.log`) }))
    .filter(({ file }) => existsSync(file));
  if (files.length === 0)
    throw new LocalError('BAD_ARGUMENT', `${region} has no log of its ${which ?? 'processes'} yet.`);

  const show = (name: string, lines: readonly string[]): void => {
    for (const line of lines) {
      if (options.json) process.stdout.write(`${JSON.stringify({ region, source: name, line })}\n`);
      else process.stdout.write(`${files.length > 1 ? `${name.padEnd(5)} | ` : ''}${line}\n`);
    }
  };
  const tails = files.map(({ name, file }) => ({ name, tail: new Tail(file) }));
  for (const { name, tail } of tails) show(name, tail.last(options.lines));
  while (options.follow) {
    await sleep(followMs);
    for (const { name, tail } of tails) show(name, tail.more());
  }
}

/** Reads a file from its end, and then what is appended to it, also after it was replaced by a new one. */
export class Tail {
  private position = 0;
  private inode = 0;
  private rest = '';

  constructor(private readonly file: string) {}

  /** The last lines, reading no more of the file than needed. */
  last(count: number): string[] {
    const { size, ino } = statSync(this.file);
    this.position = size;
    this.inode = ino;
    let text = Buffer.alloc(0);
    for (let at = size; at > 0 && newlines(text) <= count;) {
      const from = Math.max(0, at - chunkBytes);
      text = Buffer.concat([this.read(from, at), text]);
      at = from;
    }
    const lines = text.toString('utf8').split('\n');
    this.rest = lines.pop() ?? '';
    return count === 0 ? [] : lines.slice(-count);
  }

  /** The lines that were completed since. */
  more(): string[] {
    if (!existsSync(this.file)) return [];
    const { size, ino } = statSync(this.file);
    if (ino !== this.inode || size < this.position) {
      this.position = 0;
      this.rest = '';
      this.inode = ino;
    }
    const end = Math.min(size, this.position + 64 * chunkBytes);
    const lines = (this.rest + this.read(this.position, end).toString('utf8')).split('\n');
    this.position = end;
    this.rest = lines.pop() ?? '';
    return lines;
  }

  private read(from: number, to: number): Buffer {
    const fd = openSync(this.file, 'r');
    try {
      const buffer = Buffer.alloc(to - from);
      return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, from));
    } finally {
      closeSync(fd);
    }
  }
}

function newlines(text: Buffer): number {
  let count = 0;
  for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, at + 1)) count++;
  return count;
}
