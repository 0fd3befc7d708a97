/** Keys that are not replicated (policy `ignore`), in commands. */
import type { ConflictPolicies } from '../../model';
import type { OpRecord } from '../record';
import { CommandScanner } from '../resp';
import { Class, Code, type Command, findCommand, UNKNOWN_COMMAND } from './commands';
import { argText, keysOf } from './effects';
import { formOf } from './opaque-form';

/** How much of a command is about ignored keys. */
export type Share = 'none' | 'some' | 'all';

export function shareOf(policies: ConflictPolicies, command: Command, scanner: CommandScanner, db: number): Share {
  const { argc, buf, argStart, argEnd } = scanner;
  if (command.class === Class.ignored || command.firstKey === 0 || argc <= command.firstKey) return 'none';
  const isOfOne = command.firstKey === 1 && command.lastKey === 1 && command.numkeysAt === 0;
  if (command.class === Class.element && isOfOne)
    return policies.ignores(db, buf, argStart[1], argEnd[1]) ? 'all' : 'none';
  const ignores = (key: string, at: number): boolean => policies.ignores(at, Buffer.from(key, 'latin1'));
  const found =
    command.class === Class.element
      ? keysOf(command, scanner).map((key) => ignores(key, db))
      : formOf(command, scanner).places.map((place) => ignores(place.key, place.db ?? db));
  if (!found.includes(true)) return 'none';
  return found.includes(false) ? 'some' : 'all';
}

/** Whether a command of a record joins ignored keys with others; those that could be parted have been. */
export function joinsIgnored(policies: ConflictPolicies, { db: first, payload }: OpRecord): boolean {
  const scanner = new CommandScanner();
  scanner.push(payload);
  let db = first;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.code === Code.select) db = Number(argText(scanner, 1));
    if (command.class !== Class.element && shareOf(policies, command, scanner, db) === 'some') return true;
  }
  return false;
}

/** Whether commands that are all about one key are about an ignored one. */
export function isAboutIgnored(policies: ConflictPolicies, db: number, payload: Buffer): boolean {
  const scanner = new CommandScanner();
  scanner.push(payload);
  return (
    scanner.next() && scanner.argc > 1 && policies.ignores(db, scanner.buf, scanner.argStart[1], scanner.argEnd[1])
  );
}
