/** Which keys a block of the applier is about. */
import type { BatchItem } from '../../merge/batch';
import { Code, findCommand, UNKNOWN_COMMAND } from '../../merge/commands';
import { argText, keysOf, otherDb } from '../../merge/effects';
import { CommandScanner } from '../../resp';
import { OWN_PREFIX } from '../../stream/keys';
import type { KeyName } from './look';

/** What a block does to whole databases. */
export type Sweeping = { kind: 'flush'; db: number | null } | { kind: 'swap'; a: number; b: number };

export interface BlockKeys {
  keys: KeyName[];
  sweeping: Sweeping[];
}

/** Of a command that the table does not know the first argument is taken for the key. What else it writes, the scan finds. */
export function keysOfBlock(items: readonly BatchItem[]): BlockKeys {
  const names = new Map<string, KeyName>();
  const sweeping: Sweeping[] = [];
  const add = (db: number, key: string): void => {
    if (!key.startsWith(OWN_PREFIX)) names.set(`${db}:${key}`, { db, key });
  };
  let db = 0;
  for (const item of items) {
    const scanner = new CommandScanner();
    scanner.push(item.bytes);
    while (scanner.next()) {
      const { buf, argStart, argEnd } = scanner;
      const command = findCommand(buf, argStart[0]!, argEnd[0]!) ?? UNKNOWN_COMMAND;
      if (command.code === Code.select) db = Number(argText(scanner, 1));
      else if (command.code === Code.flushdb) sweeping.push({ kind: 'flush', db });
      else if (command.code === Code.flushall) sweeping.push({ kind: 'flush', db: null });
      else if (command.code === Code.swapdb)
        sweeping.push({ kind: 'swap', a: Number(argText(scanner, 1)), b: Number(argText(scanner, 2)) });
      else {
        const keys = keysOf(command, scanner);
        for (const key of keys) add(db, key);
        const other = otherDb(command, scanner);
        if (other !== null) for (const key of keys) add(other, key);
      }
    }
  }
  return { keys: [...names.values()].sort((a, b) => a.db - b.db), sweeping };
}
