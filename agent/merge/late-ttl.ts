/**
 * A time to live that has passed on the way. Redis deletes a key at once that is given a time in the past, and what followed on the
 * way, more time perhaps, finds no key any more. Worse, the deletion stands in the stream as this region's own expiry, which has
 * seen what clients wrote here. So the key gets a moment more: if nothing renews it Redis expires it by itself, as any other.
 */
import { CommandScanner, CommandWriter } from '../resp';
import { Code, findCommand } from './commands';

/** What is over by then counts as passed: a block may have to wait. */
const PASSED_MS = 50;
const MOMENT_MS = 1000;
/** The last arguments' names of all commands that give a time in Unix time: EXPIREAT, PEXPIREAT; SET … EXAT, PXAT. */
const MARKS = [Buffer.from('XPIREAT\r\n'), Buffer.from('XAT\r\n')];

/**
 * @param bytes commands in RESP
 * @returns the same, or a copy in which no key is given a time that has passed
 */
export function postponePassed(bytes: Buffer, nowMs: number): Buffer {
  if (!MARKS.some((mark) => bytes.includes(mark))) return bytes;
  const scanner = new CommandScanner();
  scanner.push(bytes);
  let out: CommandWriter | null = null;
  let copied = 0;
  while (scanner.next()) {
    const at = placeOfTime(scanner);
    if (at === null) continue;
    const { buf, argStart, argEnd } = scanner;
    const time = Number(buf.toString('latin1', argStart[at.index], argEnd[at.index])) * at.unitMs;
    if (!(time <= nowMs + PASSED_MS)) continue;
    out ??= new CommandWriter(bytes.length + 64);
    out.raw(bytes, copied, scanner.start, 0);
    const args: (Buffer | number)[] = [];
    for (let i = 0; i < scanner.argc; i++) args.push(buf.subarray(argStart[i], argEnd[i]));
    args[at.index] = Math.ceil((nowMs + MOMENT_MS) / at.unitMs);
    out.command(args);
    copied = scanner.end;
  }
  if (out === null) return bytes;
  out.raw(bytes, copied, bytes.length, 0);
  return out.take();
}

/** Which argument of a command is a Unix time, and its unit in ms. */
function placeOfTime({ buf, argc, argStart, argEnd }: CommandScanner): { index: number; unitMs: number } | null {
  const code = findCommand(buf, argStart[0]!, argEnd[0]!)?.code;
  if ((code === Code.pexpireat || code === Code.hpexpireat) && argc >= 3) return { index: 2, unitMs: 1 };
  if ((code === Code.expireat || code === Code.hexpireat) && argc >= 3) return { index: 2, unitMs: 1000 };
  if (code !== Code.set) return null;
  for (let i = 3; i + 1 < argc; i++) {
    const flag = buf.toString('latin1', argStart[i], argEnd[i]).toUpperCase();
    if (flag === 'PXAT') return { index: i + 1, unitMs: 1 };
    if (flag === 'EXAT') return { index: i + 1, unitMs: 1000 };
  }
  return null;
}
