/** What the form of an opaque command tells: what it adds, takes or moves, and how it runs beside what it has not seen. */
import { CommandWriter } from '../resp/encode';
import { ALL_ARGUMENTS, type Command } from './commands';
import { type Args, argText, keysOf, otherDb, parseInteger } from './effects';

/**
 * - `adds`: it runs everywhere, beside whatever it had not seen, and again on a state that had not seen it;
 * - `takes`: beside what it had not seen it is left out. What it took comes twice at most, and is never lost;
 * - `moves`: takes from one key and gives to another;
 * - `gives`: its result can't be had again from its bytes (LSET, BITOP, RENAME …). Beside what it had not seen it is left out, and the
 *   region where it ran sends its state.
 */
export type Kind = 'adds' | 'takes' | 'moves' | 'gives';

const TAKES = new Set(
  (
    'LPOP RPOP BLPOP BRPOP LMPOP BLMPOP ZMPOP BZMPOP ZPOPMIN ZPOPMAX BZPOPMIN BZPOPMAX ZREMRANGEBYRANK ZREMRANGEBYSCORE ' +
    'ZREMRANGEBYLEX SPOP LTRIM XDEL XDELEX XACKDEL XTRIM XSETID EXPIRE PEXPIRE GETEX PFCOUNT ARDEL ARDELRANGE'
  ).split(' '),
);
const MOVES = new Set(['LMOVE', 'BLMOVE', 'RPOPLPUSH', 'BRPOPLPUSH', 'SMOVE', 'MOVE']);
/** Their last key gets the result; of others with several keys it is the first. */
const TO_LAST = new Set([...MOVES, 'RENAME', 'RENAMENX', 'COPY']);

/** One of its keys. */
export interface Place {
  readonly key: string;
  /** Null: the selected one. */
  readonly db: number | null;
  /** It gets something; others are read, or something is taken from them. */
  readonly receives: boolean;
}

export interface OpaqueForm {
  readonly kind: Kind;
  readonly places: readonly Place[];
  /** What runs instead beside what it had not seen; null: the command as it came, or nothing where it does not add. */
  readonly loose: Buffer | null;
  readonly isPut: boolean;
}

export function formOf(command: Command, args: Args): OpaqueForm {
  const keys = keysOf(command, args);
  const other = otherDb(command, args);
  const kind = kindOf(command, args, keys, other);
  const isAll =
    keys.length === 1 || (kind === 'adds' && command.name !== 'PFMERGE') || command.lastKey === ALL_ARGUMENTS;
  const receiver = TO_LAST.has(command.name) ? keys.at(-1) : keys[0];
  const places: Place[] = keys.map((key) => ({
    key,
    db: null,
    receives: other === null && (isAll || key === receiver),
  }));
  if (other !== null) for (const key of keys) places.push({ key, db: other, receives: key === receiver });
  return { kind, places, loose: looseOf(command, args), isPut: isPut(command, args) };
}

function kindOf(command: Command, args: Args, keys: readonly string[], other: number | null): Kind {
  const { name } = command;
  // What is removed by value is removed everywhere, and a capped list stays capped.
  if (command.adds || name === 'PFMERGE' || name === 'LREM' || (name === 'LTRIM' && isCap(args))) return 'adds';
  if (MOVES.has(name)) return keys.length > 1 || other !== null ? 'moves' : 'takes';
  return TAKES.has(name) ? 'takes' : 'gives';
}

/** LTRIM to so many at either end keeps a list short; from another place on it takes what has been worked off. */
function isCap(args: Args): boolean {
  if (args.argc !== 4) return false;
  const [from, to] = [parseInteger(argText(args, 2)), parseInteger(argText(args, 3))];
  return from !== null && to !== null && ((from === 0n && to >= 0n) || (from < 0n && to === -1n));
}

/** LPUSHX finds no list, LINSERT not its pivot: they push. */
function looseOf(command: Command, args: Args): Buffer | null {
  const bytes = (i: number): Buffer => args.buf.subarray(args.argStart[i], args.argEnd[i]);
  const { name } = command;
  if (name === 'LPUSHX' || name === 'RPUSHX') {
    const rest = Array.from({ length: args.argc - 1 }, (_, i) => bytes(i + 1));
    return new CommandWriter(256).command([name.slice(0, -1), ...rest]).take();
  }
  if (name !== 'LINSERT' || args.argc !== 5) return null;
  const push = argText(args, 2).toUpperCase() === 'BEFORE' ? 'LPUSH' : 'RPUSH';
  return new CommandWriter(256).command([push, bytes(1), bytes(4)]).take();
}

function isPut({ name }: Command, args: Args): boolean {
  if (name === 'SETBIT' || name === 'SETRANGE') return true;
  if (name !== 'BITFIELD') return false;
  for (let i = 2; i < args.argc; i++) if (argText(args, i).toUpperCase() === 'INCRBY') return false;
  return true;
}
