/**
 * Keys of which what clients do here stays here (policy `ignore`, or `region:` and another region), in the replication stream. What is about them alone is no
 * operation, and its bytes stay here; of a DEL or an MSET of several keys they are left out. The rest of the command, and then newlines, stand in its place, so that
 * all other bytes keep their positions.
 *
 * What joins such a key with others (RENAME, SUNIONSTORE …) goes as it came: see agent/merge/opaque-operations.ts.
 */
import type { ConflictPolicies } from '../../model';
import { Code, type Command } from '../merge/commands';
import { argText } from '../merge/effects';
import { type CommandScanner, CommandWriter } from '../resp';

const NEWLINE = 10;

/** Writes newlines over the command. */
export function blank({ buf, start, end }: CommandScanner): void {
  buf.fill(NEWLINE, start, end);
}

/** Leaves the keys that a region keeps out of a command of which each key stands for itself; of others nothing. */
export function leaveOut(
  policies: ConflictPolicies,
  region: string,
  command: Command,
  scanner: CommandScanner,
  db: number,
): void {
  const { buf, start, end, argc } = scanner;
  const step = STEPS.get(command.code);
  if (step === undefined) return;
  const [first, last] = placesOf(command, scanner, step);
  const args = Array.from({ length: argc }, (_, i) => Buffer.from(argText(scanner, i), 'latin1'));
  const kept: Buffer[] = [];
  for (let i = first; i < last; i += step)
    if (!policies.keeps(region, db, args[i]!)) kept.push(...args.slice(i, i + step));
  // In upper case an UNLINK of one key is an expiry.
  const name = command.code === Code.unlink ? 'unlink' : args[0]!;
  const head = command.code === Code.msetex ? [name, String(kept.length / step)] : [name];
  const bytes = new CommandWriter(end - start).command([...head, ...kept, ...args.slice(last)]).take();
  bytes.copy(buf, start);
  buf.fill(NEWLINE, start + bytes.length, end);
}

/** Arguments to a key. */
const STEPS: ReadonlyMap<Code, number> = new Map([
  [Code.del, 1],
  [Code.unlink, 1],
  [Code.mset, 2],
  [Code.msetex, 2],
]);

/** Where the first key stands, and what follows the last one. */
function placesOf({ code }: Command, scanner: CommandScanner, step: number): [first: number, last: number] {
  if (code !== Code.msetex) return [1, scanner.argc];
  return [2, 2 + Number(argText(scanner, 1)) * step];
}
