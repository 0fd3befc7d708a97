/** Keys of which what a region's clients do stays there (policy `ignore`, or `region:` and another one), in commands. */
import type { ConflictPolicies } from '../../model';
import { type OpRecord, regionOf } from '../record';
import { CommandScanner } from '../resp';
import { Class, Code, type Command, findCommand, UNKNOWN_COMMAND } from './commands';
import { argText, keysOf } from './effects';
import { isOfGroup } from './forms';
import { formOf } from './opaque-form';

/** How much of a command of a region's clients is about keys that it keeps. */
export type Share = 'none' | 'some' | 'all';

export function shareOf(
  policies: ConflictPolicies,
  region: string,
  command: Command,
  scanner: CommandScanner,
  db: number,
): Share {
  const { argc, buf, argStart, argEnd } = scanner;
  if (command.class === Class.ignored || command.firstKey === 0 || argc <= command.firstKey) return 'none';
  const isOfOne = command.firstKey === 1 && command.lastKey === 1 && command.numkeysAt === 0;
  if (command.class === Class.element && isOfOne)
    return policies.keeps(region, db, buf, argStart[1], argEnd[1]) ? 'all' : 'none';
  const found = placesOf(command, scanner, db).map(({ at, key }) => policies.keeps(region, at, key));
  if (!found.includes(true)) return 'none';
  return found.includes(false) ? 'some' : 'all';
}

/** Its keys, each with its database. */
function placesOf(command: Command, scanner: CommandScanner, db: number): { at: number; key: Buffer }[] {
  const bytes = (key: string): Buffer => Buffer.from(key, 'latin1');
  if (command.class === Class.element) return keysOf(command, scanner).map((key) => ({ at: db, key: bytes(key) }));
  return formOf(command, scanner).places.map(({ key, db: other }) => ({ at: other ?? db, key: bytes(key) }));
}

/** Keys of other regions that a command of this one's clients is about. Groups of streams, and what PFCOUNT has counted, are each region's. */
export function othersKeys(
  policies: ConflictPolicies,
  region: string,
  command: Command,
  scanner: CommandScanner,
  db: number,
): { at: number; key: Buffer }[] {
  if (command.name === 'PFCOUNT' || isOfGroup(command.name)) return [];
  return placesOf(command, scanner, db).filter(({ at, key }) => {
    const owner = policies.ownerOf(at, key);
    return owner !== null && owner !== region;
  });
}

function joinsLast(policies: ConflictPolicies, command: Command, scanner: CommandScanner, db: number): boolean {
  const places = placesOf(command, scanner, db);
  return places.length > 1 && places.some(({ at, key }) => policies.isLastWriters(at, key));
}

/** Whether a command of a record joins keys that its region keeps with others; those that could be parted have been. */
export function joinsKept(policies: ConflictPolicies, { db: first, payload, origin }: OpRecord): boolean {
  const scanner = new CommandScanner();
  scanner.push(payload);
  const region = regionOf(origin);
  let db = first;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.code === Code.select) db = Number(argText(scanner, 1));
    if (command.class === Class.element) continue;
    if (policies.haveLastWriters && joinsLast(policies, command, scanner, db)) return true;
    if (shareOf(policies, region, command, scanner, db) === 'some') return true;
  }
  return false;
}

/** The key of commands that are all about one; null: they are about none. */
export function onlyKeyOf(payload: Buffer): Buffer | null {
  const scanner = new CommandScanner();
  scanner.push(payload);
  if (!scanner.next() || scanner.argc < 2) return null;
  return scanner.buf.subarray(scanner.argStart[1], scanner.argEnd[1]);
}
