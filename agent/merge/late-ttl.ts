/**
 * A time to live that has passed on the way. Redis deletes a key at once that is given a time in the past, and what followed on the
 * way, more time perhaps, finds no key any more. Worse, the deletion stands in the stream as this region's own expiry, which has
 * seen what clients wrote here. So the key gets a moment more: if nothing renews it Redis expires it by itself, as any other.
 */
import { type Arg, argsOf, type CommandScanner, rewriteCommands } from '../resp';
import { Code, findCommand } from './commands';

/** What is over by then counts as passed: a block may have to wait. */
const PASSED_MS = 50;
const MOMENT_MS = 1000;
/** How the words end by which commands give a time in Unix time: EXPIREAT, PEXPIREAT; SET … EXAT, PXAT. In lower case, too: of PEXPIREAT Redis leaves what the client said. */
const MARKS = ['XPIREAT\r\n', 'xpireat\r\n', 'XAT\r\n', 'xat\r\n'].map((end) => Buffer.from(end));

/**
 * @param bytes commands in RESP
 * @returns the same, or a copy in which no key is given a time that has passed
 */
export function postponePassed(bytes: Buffer, nowMs: number): Buffer {
  if (!MARKS.some((mark) => bytes.includes(mark))) return bytes;
  return rewriteCommands(bytes, (command) => {
    const at = placeOfTime(command);
    if (at === null) return null;
    const { buf, argStart, argEnd } = command;
    const time = Number(buf.toString('latin1', argStart[at.index], argEnd[at.index])) * at.unitMs;
    if (!(time <= nowMs + PASSED_MS)) return null;
    const args: Arg[] = argsOf(command);
    args[at.index] = Math.ceil((nowMs + MOMENT_MS) / at.unitMs);
    return args;
  });
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
