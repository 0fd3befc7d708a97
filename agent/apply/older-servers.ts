/** What a state says of a stream that Redis before 7.0 does not know: how many entries there ever were, and what a group has read of them. */
import { CommandScanner, CommandWriter } from '../resp';
import { Code, findCommand } from '../merge/commands';

const MARKS = [Buffer.from('ENTRIESADDED\r\n'), Buffer.from('ENTRIESREAD\r\n')];

/** Whether a server, by the version in its INFO, is one of those. */
export function isBefore7(version: string): boolean {
  return Number.parseInt(version, 10) < 7;
}

/**
 * @param bytes commands in RESP, as the agent writes them
 * @returns the same, or a copy with as many commands in which XSETID and XGROUP say only what Redis before 7.0 knows: it would refuse the others
 */
export function withoutEntryCounts(bytes: Buffer): Buffer {
  if (!MARKS.some((mark) => bytes.includes(mark))) return bytes;
  const scanner = new CommandScanner();
  scanner.push(bytes);
  const out = new CommandWriter(bytes.length);
  while (scanner.next()) {
    const { buf, argc, argStart, argEnd, start, end } = scanner;
    const code = findCommand(buf, argStart[0]!, argEnd[0]!)?.code;
    const words = Array.from({ length: argc }, (_, i) => buf.subarray(argStart[i], argEnd[i]));
    if (code === Code.xsetid && argc > 3) out.command(words.slice(0, 3));
    else if (code === Code.xgroup && isWord(words[argc - 2], 'ENTRIESREAD')) out.command(words.slice(0, -2));
    else out.raw(buf, start, end, 1);
  }
  return out.take();
}

function isWord(word: Buffer | undefined, text: string): boolean {
  return word?.toString('latin1').toUpperCase() === text;
}
