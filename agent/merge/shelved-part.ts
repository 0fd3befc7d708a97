/** What stands for itself in an element, as a command: for where an operation that is known only as one makes it base. */
import { CommandWriter } from '../resp/encode';
import { type Element, type Increment, type Put, Type } from './element';
import type { Kept } from './kept-bytes';
import { HEAD } from './stream-entries';
import { writeEntries } from './stream-splice';

export const RUN = { isLossy: false, isPut: false, moves: null } as const;

/** A put or an increment as a command, made where it is needed. */
export class ShelvedPart implements Kept {
  readonly commands = 1;
  constructor(
    private readonly key: string,
    private readonly element: Element,
    private readonly part: Put | Increment,
  ) {}
  get heldBytes(): number {
    // What is not a string's is in memory anyhow, until it is written.
    return this.element.name.length + 64;
  }
  get bytes(): Buffer {
    const { type } = this.element;
    const key = Buffer.from(this.key, 'latin1');
    const name = Buffer.from(this.element.name, 'latin1');
    const writer = new CommandWriter(256);
    if ('delta' in this.part) {
      const by = String(this.part.delta);
      const isWhole = typeof this.part.delta === 'bigint';
      if (type === Type.string) return writer.command([isWhole ? 'INCRBY' : 'INCRBYFLOAT', key, by]).take();
      return writer
        .command(
          type === Type.hash ? [isWhole ? 'HINCRBY' : 'HINCRBYFLOAT', key, name, by] : ['ZINCRBY', key, by, name],
        )
        .take();
    }
    const { value } = this.part;
    switch (type) {
      case Type.string:
        return writer.command(['SET', key, value]).take();
      case Type.hash:
        return writer.command(['HSET', key, name, value]).take();
      case Type.set:
        return writer.command(['SADD', key, name]).take();
      case Type.zset:
        return writer.command(['ZADD', key, value, name]).take();
      case Type.stream: {
        const id = this.element.name;
        if (id === HEAD) writeEntries(writer, key, [], value.toString('latin1'));
        else writeEntries(writer, key, [{ id, value }], null);
        return writer.take();
      }
    }
  }
}
