/**
 * Of a string that others have appended to, or set bits of, what clients did to it here while no agent was reading: what others did is known to the byte, and to
 * the bit, and so is the rest.
 */
import type { CommandWriter } from '../resp';
import { type Args, argText } from './args';
import type { Command } from './commands';

/** So many bits are told one by one; where more differ, the donor's value stands. */
export const BITS_MAX = 4096;

/** What others did to a string by APPEND or by SETBIT. */
export class StringTouch {
  /** Bytes. */
  private appended = 0;
  /** Offsets. */
  private readonly bits = new Set<number>();

  /** @returns false where it is something else */
  note(command: Command, args: Args): boolean {
    if (command.name === 'APPEND') this.appended += args.argEnd[2]! - args.argStart[2]!;
    else if (command.name === 'SETBIT') this.bits.add(Number(argText(args, 2)));
    else return false;
    return true;
  }

  /** Writes as commands what is new here. Where both appended and set bits, the donor's value stands. */
  write(writer: CommandWriter, key: Buffer, mine: Buffer, their: Buffer): void {
    if (this.bits.size === 0) this.writeAppended(writer, key, mine, their);
    else if (this.appended === 0) this.writeBits(writer, key, mine, their);
  }

  private writeAppended(writer: CommandWriter, key: Buffer, mine: Buffer, their: Buffer): void {
    const before = their.length - this.appended;
    if (this.appended === 0 || before < 0 || mine.length <= before || mine.compare(their, 0, before, 0, before) !== 0)
      return;
    writer.command(['APPEND', key, mine.subarray(before)]);
  }

  private writeBits(writer: CommandWriter, key: Buffer, mine: Buffer, their: Buffer): void {
    const differing: [offset: number, bit: number][] = [];
    for (let at = 0; at < Math.max(mine.length, their.length); at++) {
      const byte = mine[at] ?? 0;
      const differs = byte ^ (their[at] ?? 0);
      if (differs === 0) continue;
      for (let i = 0; i < 8; i++) {
        const offset = at * 8 + i;
        const mask = 0x80 >> i;
        if ((differs & mask) !== 0 && !this.bits.has(offset)) differing.push([offset, (byte & mask) === 0 ? 0 : 1]);
      }
      if (differing.length > BITS_MAX) return;
    }
    for (const [offset, bit] of differing) writer.command(['SETBIT', key, offset, bit]);
  }
}
