import { type Arg, CommandWriter } from './encode';
import { CommandScanner } from './scanner';

/**
 * Says some of several commands otherwise; the others stay as they came.
 * @param bytes whole commands in RESP
 * @param change what stands in the place of the command in the scanner; null: nothing else
 * @returns the same bytes where nothing changes, else a copy with as many commands
 */
export function rewriteCommands(bytes: Buffer, change: (command: CommandScanner) => readonly Arg[] | null): Buffer {
  const scanner = new CommandScanner();
  scanner.push(bytes);
  let out: CommandWriter | null = null;
  let copied = 0;
  while (scanner.next()) {
    const args = change(scanner);
    if (args === null) continue;
    out ??= new CommandWriter(bytes.length + 64);
    out.raw(bytes, copied, scanner.start, 0);
    out.command(args);
    copied = scanner.end;
  }
  if (out === null) return bytes;
  out.raw(bytes, copied, bytes.length, 0);
  return out.take();
}

/** The arguments of the command in a scanner, as views. */
export function argsOf({ buf, argc, argStart, argEnd }: CommandScanner): Buffer[] {
  return Array.from({ length: argc }, (_, i) => buf.subarray(argStart[i], argEnd[i]));
}
