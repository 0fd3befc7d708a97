/** What a command's form tells of it. */
import type { CommandScanner } from '../resp';
import { OWN_PREFIX } from '../stream/keys';
import { Class, Code, type Command, commandByName } from './commands';
import { argText } from './args';
import { isExactOnStream } from './stream-commands';

/** Whether a command that meets nothing may go as it came. */
export function isPlain(command: Command, scanner: CommandScanner): boolean {
  return command.class === Class.element && command.code !== Code.unlink && isUnconditional(command, scanner);
}

/** Whether the bytes say what happened without a condition (NX, GT …) which the receiver would judge anew. */
export function isUnconditional(command: Command, scanner: CommandScanner): boolean {
  switch (command.code) {
    case Code.set:
      return scanner.argc === 3 || !hasFlags(scanner, 3);
    case Code.incrbyfloat: // which Redis rounds
    case Code.hincrbyfloat:
    case Code.setnx:
    case Code.hsetnx:
    case Code.getset:
    case Code.mset:
    case Code.hsetex: // which older servers do not know, as the next
    case Code.msetex:
    case Code.delone:
      return false;
    case Code.hpexpireat:
    case Code.hexpireat:
      return scanner.argc > 3 && argText(scanner, 3).toUpperCase() === 'FIELDS';
    case Code.zadd:
      return scanner.buf[scanner.argStart[2]!]! < 65 || isInfinity(scanner);
    default:
      return isExactOnStream(command.code, scanner);
  }
}

function isInfinity(scanner: CommandScanner): boolean {
  return /^inf/i.test(argText(scanner, 2));
}

function hasFlags(scanner: CommandScanner, from: number): boolean {
  for (let i = from; i < scanner.argc; i++) {
    const length = scanner.argEnd[i]! - scanner.argStart[i]!;
    if (length <= 5 && /^(?:NX|XX|GET|IFD?(?:EQ|NE))$/i.test(argText(scanner, i))) return true;
  }
  return false;
}

/** A client's hand on an agent's key stays in its region, but for what the command does to keys of its own beside it. */
export function isOwnKey(command: Command, scanner: CommandScanner): boolean {
  return command.firstKey === 1 && scanner.argc >= 2 && isOwn(scanner, 1) && !isOfOthersToo(command, scanner);
}

/** Whether it sets or deletes keys that are not the agent's, behind its first: `DEL` of all that SCAN has found, say. */
function isOfOthersToo({ code, keyStep }: Command, scanner: CommandScanner): boolean {
  if (code !== Code.del && code !== Code.unlink && code !== Code.mset) return false;
  for (let i = 1 + keyStep; i < scanner.argc; i += keyStep) if (!isOwn(scanner, i)) return true;
  return false;
}

function isOwn({ buf, argStart, argEnd }: CommandScanner, i: number): boolean {
  const start = argStart[i]!;
  return (
    buf[start] === 109 &&
    argEnd[i]! - start >= OWN_PREFIX.length &&
    buf.toString('latin1', start, start + OWN_PREFIX.length) === OWN_PREFIX
  );
}

export function isSentinelHello(command: Command, scanner: CommandScanner): boolean {
  return command.code === Code.publish && scanner.argc > 1 && argText(scanner, 1) === '__sentinel__:hello';
}

/** Whether the command is about a group of a stream, which may not be here: its refusal leaves nothing to be corrected. */
export function isOfGroup(command: string): boolean {
  const known = commandByName(command)?.code;
  return known === Code.xclaim || known === Code.xgroup;
}
