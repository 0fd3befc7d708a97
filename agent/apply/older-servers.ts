/** What a state says of a stream that Redis before 7.0 does not know: how many entries there ever were, and what a group has read of them. */
import { argsOf, rewriteCommands } from '../resp';
import { Code, findCommand } from '../merge/commands';
import { argText } from '../merge/effects';

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
  return rewriteCommands(bytes, (command) => {
    const { buf, argc, argStart, argEnd } = command;
    const code = findCommand(buf, argStart[0]!, argEnd[0]!)?.code;
    if (code === Code.xsetid && argc > 3) return argsOf(command).slice(0, 3);
    const isCounted = code === Code.xgroup && argText(command, argc - 2).toUpperCase() === 'ENTRIESREAD';
    return isCounted ? argsOf(command).slice(0, -2) : null;
  });
}
