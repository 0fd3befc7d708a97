/** What a command of the replication stream does to each key, in the terms of the merge rule, and back. */
import type { CommandWriter } from '../resp';
import { OWN_PREFIX } from '../stream/keys';
import { type Args, argText } from './args';
import type { Command } from './commands';
import { ADD_SCRIPT, Decimal, parseDecimal } from './decimal';
import { ALL_ARGUMENTS, Class, Code } from './commands';
import { type Delta, NONE, Type } from './element';
import { KEEP_SCRIPT } from './field-script';
import { decodeFieldTtl } from './field-ttl';
import { countFields, decodeStream } from './stream-commands';
import { trimBut } from './stream-splice';

export { type Args, argText } from './args';

export type Effect =
  /** The string becomes `value`; everything else of the key that was seen goes, its TTL too unless kept. */
  | { kind: 'set'; key: string; value: Buffer; keepTtl: boolean; expireAt: number | null }
  | { kind: 'delete'; key: string }
  /** Redis removed the key because its time had come. */
  | { kind: 'expire'; key: string }
  | { kind: 'ttl'; key: string; expireAt: number | null }
  /** Integers as bigint, sorted sets' as number, INCRBYFLOAT's and HINCRBYFLOAT's as decimal. */
  | { kind: 'increment'; key: string; type: Type; name: string; delta: Delta }
  /** `keepTtl`: of fields, whose times to live stay. */
  | { kind: 'put'; key: string; type: Type; names: string[]; values: Buffer[]; keepTtl?: boolean }
  /** Of hash fields. */
  | { kind: 'field-ttl'; key: string; type: Type; names: string[]; expireAt: number | null }
  | { kind: 'remove'; key: string; type: Type; names: string[] }
  /** XTRIM: entries below an ID (null: all) go, of those that were seen, but for those at the IDs of `keep`. */
  | { kind: 'trim'; key: string; minId: string | null; keep: readonly string[] }
  /** Its region's stream was cut to a length: what is left of it that region says by itself. */
  | { kind: 'cap'; key: string }
  | { kind: 'lastId'; key: string; id: string }
  /** About groups of a stream, which are not merged; `makesKey`: the key is a stream from then on. */
  | { kind: 'group'; key: string; makesKey: boolean }
  /**
   * Depends on the state of its keys, or is unknown: all keys read or written. `db`: not in the selected database (see `dbOf`); `adds`: to its
   * first key, whatever that holds.
   */
  | { kind: 'opaque'; keys: string[]; db?: number; adds?: true }
  | { kind: 'flush'; scope: 'db' | 'all' }
  | { kind: 'swap'; a: number; b: number };

const NO_VALUE = Buffer.alloc(0);

function argBytes(args: Args, i: number): Buffer {
  return args.buf.subarray(args.argStart[i], args.argEnd[i]);
}

/**
 * Decodes one command. A form that the decoder does not understand (a flag of a newer version, a wrong number of
 * arguments) is opaque: it travels verbatim, and as a state where that is not safe. Never throws.
 * @param added where the command is what Redis made of INCRBYFLOAT or HINCRBYFLOAT: what it added
 */
export function decodeEffects(command: Command, args: Args, out: Effect[], added?: string): void {
  const by = added === undefined ? null : parseDecimal(added);
  if (by !== null) {
    const field = command.code === Code.hset ? 2 : command.code === Code.hsetex ? 5 : 0;
    out.push({
      kind: 'increment',
      key: argText(args, 1),
      type: field > 0 ? Type.hash : Type.string,
      name: field > 0 ? argText(args, field) : '',
      delta: new Decimal(by),
    });
    return;
  }
  if (command.class === Class.element) {
    if (decodeElement(command.code, args, out)) return;
  } else if (command.class === Class.administrative) {
    if (command.code === Code.flushdb) out.push({ kind: 'flush', scope: 'db' });
    else if (command.code === Code.flushall) out.push({ kind: 'flush', scope: 'all' });
    else if (command.code === Code.swapdb && args.argc >= 3)
      out.push({ kind: 'swap', a: Number(argText(args, 1)), b: Number(argText(args, 2)) });
    return;
  } else if (command.class === Class.ignored) return;
  const keys = keysOf(command, args);
  out.push(command.adds ? { kind: 'opaque', keys, adds: true } : { kind: 'opaque', keys });
  const other = otherDb(command, args);
  if (other !== null) out.push({ kind: 'opaque', keys, db: other });
}

/** The database that an effect is on. */
export function dbOf(effect: Effect, selected: number): number {
  return effect.kind === 'opaque' ? (effect.db ?? selected) : selected;
}

/** MOVE key db; COPY from to [DB db] [REPLACE]: the keys are touched in that database, too. */
export function otherDb({ name }: Command, args: Args): number | null {
  const db = (i: number): number | null => {
    const number = i < args.argc ? Number(argText(args, i)) : NaN;
    return Number.isInteger(number) && number >= 0 ? number : null;
  };
  if (name === 'MOVE') return db(2);
  if (name !== 'COPY') return null;
  for (let i = 3; i < args.argc; i++) if (argText(args, i).toUpperCase() === 'DB') return db(i + 1);
  return null;
}

function decodeElement(code: Code, args: Args, out: Effect[]): boolean {
  const { argc } = args;
  const key = argc > 1 ? argText(args, 1) : '';
  switch (code) {
    case Code.set:
      return argc >= 3 && decodeSet(key, args, out);
    case Code.setnx:
    case Code.getset:
      if (argc !== 3) return false;
      out.push({ kind: 'set', key, value: argBytes(args, 2), keepTtl: false, expireAt: null });
      return true;
    case Code.mset:
      if (argc < 3 || argc % 2 === 0) return false;
      for (let i = 1; i < argc; i += 2) {
        const name = argText(args, i);
        if (name.startsWith(OWN_PREFIX)) continue;
        out.push({ kind: 'set', key: name, value: argBytes(args, i + 1), keepTtl: false, expireAt: null });
      }
      return true;
    case Code.incr:
    case Code.decr:
      if (argc !== 2) return false;
      out.push({ kind: 'increment', key, type: Type.string, name: '', delta: code === Code.incr ? 1n : -1n });
      return true;
    case Code.incrby:
    case Code.decrby: {
      const by = argc === 3 ? parseInteger(argText(args, 2)) : null;
      if (by === null) return false;
      out.push({ kind: 'increment', key, type: Type.string, name: '', delta: code === Code.incrby ? by : -by });
      return true;
    }
    case Code.del:
      if (argc < 2) return false;
      decodeDeletes(args, out);
      return true;
    case Code.delone:
      if (argc < 2) return false;
      out.push({ kind: 'delete', key });
      return true;
    case Code.msetex:
      return decodeMsetex(args, out);
    case Code.hpexpireat:
    case Code.hexpireat:
    case Code.hpersist:
    case Code.hsetex:
      return argc >= 5 && decodeFieldTtl(code, args, out);
    case Code.unlink:
      if (argc < 2) return false;
      // With lazyfree-lazy-expire yes Redis itself emits exactly `UNLINK key` for an expired key.
      if (argc === 2 && isUpper(args, 0)) out.push({ kind: 'expire', key });
      else decodeDeletes(args, out);
      return true;
    case Code.pexpireat:
    case Code.expireat: {
      const at = argc === 3 ? parseInteger(argText(args, 2)) : null;
      if (at === null) return false;
      out.push({ kind: 'ttl', key, expireAt: code === Code.expireat ? Number(at) * 1000 : Number(at) });
      return true;
    }
    case Code.persist:
      if (argc !== 2) return false;
      out.push({ kind: 'ttl', key, expireAt: null });
      return true;
    case Code.hset: {
      if (argc < 4 || argc % 2 !== 0) return false;
      const names: string[] = [];
      const values: Buffer[] = [];
      for (let i = 2; i < argc; i += 2) {
        names.push(argText(args, i));
        values.push(argBytes(args, i + 1));
      }
      out.push({ kind: 'put', key, type: Type.hash, names, values });
      return true;
    }
    case Code.hsetnx:
      if (argc !== 4) return false;
      out.push({ kind: 'put', key, type: Type.hash, names: [argText(args, 2)], values: [argBytes(args, 3)] });
      return true;
    case Code.hincrby: {
      const by = argc === 4 ? parseInteger(argText(args, 3)) : null;
      if (by === null) return false;
      out.push({ kind: 'increment', key, type: Type.hash, name: argText(args, 2), delta: by });
      return true;
    }
    // Not of a stream, where they are SET and HSET: of a difference.
    case Code.incrbyfloat:
    case Code.hincrbyfloat: {
      const isField = code === Code.hincrbyfloat;
      const units = argc === (isField ? 4 : 3) ? parseDecimal(argText(args, argc - 1)) : null;
      if (units === null) return false;
      const [type, name] = isField ? [Type.hash, argText(args, 2)] : [Type.string, ''];
      out.push({ kind: 'increment', key, type, name, delta: new Decimal(units) });
      return true;
    }
    case Code.sadd: {
      if (argc < 3) return false;
      const names = argTexts(args, 2);
      out.push({ kind: 'put', key, type: Type.set, names, values: names.map(() => NO_VALUE) });
      return true;
    }
    case Code.hdel:
    case Code.srem:
    case Code.zrem:
      if (argc < 3) return false;
      out.push({
        kind: 'remove',
        key,
        type: code === Code.hdel ? Type.hash : code === Code.srem ? Type.set : Type.zset,
        names: argTexts(args, 2),
      });
      return true;
    case Code.zadd:
      return argc >= 4 && decodeZadd(key, args, out);
    case Code.zincrby: {
      const by = argc === 4 ? parseScore(argText(args, 2)) : null;
      if (by === null) return false;
      out.push({ kind: 'increment', key, type: Type.zset, name: argText(args, 3), delta: by });
      return true;
    }
    default:
      return decodeStream(code, args, out);
  }
}

/** Not of an agent's keys, which a client may have named among its own: nothing is known of them. */
function decodeDeletes(args: Args, out: Effect[]): void {
  for (let i = 1; i < args.argc; i++) {
    const key = argText(args, i);
    if (!key.startsWith(OWN_PREFIX)) out.push({ kind: 'delete', key });
  }
}

/**
 * SET key value [NX|XX|GET|IFEQ v|IFNE v|IFDEQ d|IFDNE d] [KEEPTTL | PXAT ms | EXAT s]. Conditions are dropped: at its origin it
 * succeeded.
 */
function decodeSet(key: string, args: Args, out: Effect[]): boolean {
  const options = decodeSetOptions(args, 3);
  if (options === null) return false;
  out.push({ kind: 'set', key, value: argBytes(args, 2), ...options });
  return true;
}

/** MSETEX numkeys key value [key value …] [NX|XX] [KEEPTTL | PXAT ms | EXAT s]. */
function decodeMsetex(args: Args, out: Effect[]): boolean {
  const count = args.argc > 3 ? parseInteger(argText(args, 1)) : null;
  if (count === null || count < 1n || count * 2n + 2n > BigInt(args.argc)) return false;
  const end = 2 + Number(count) * 2;
  const options = decodeSetOptions(args, end);
  if (options === null) return false;
  for (let i = 2; i < end; i += 2)
    out.push({ kind: 'set', key: argText(args, i), value: argBytes(args, i + 1), ...options });
  return true;
}

/** @returns null where there is one that a replica is not told, or that this version does not know */
function decodeSetOptions(args: Args, from: number): { keepTtl: boolean; expireAt: number | null } | null {
  let keepTtl = false;
  let expireAt: number | null = null;
  for (let i = from; i < args.argc; i++) {
    const flag = argText(args, i).toUpperCase();
    if (flag === 'KEEPTTL') keepTtl = true;
    else if ((flag === 'PXAT' || flag === 'EXAT') && i + 1 < args.argc) {
      const at = parseInteger(argText(args, ++i));
      if (at === null) return null;
      expireAt = flag === 'EXAT' ? Number(at) * 1000 : Number(at);
    } else if (/^IFD?(?:EQ|NE)$/.test(flag)) i++;
    else if (flag !== 'NX' && flag !== 'XX' && flag !== 'GET') return null;
  }
  return { keepTtl, expireAt };
}

/** ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member …. A condition over several pairs is judged by Redis, per pair. */
function decodeZadd(key: string, args: Args, out: Effect[]): boolean {
  let i = 2;
  let conditional = false;
  let incr = false;
  for (; i < args.argc; i++) {
    const flag = argText(args, i).toUpperCase();
    if (flag === 'NX' || flag === 'XX' || flag === 'GT' || flag === 'LT') conditional = true;
    else if (flag === 'INCR') incr = true;
    else if (flag !== 'CH') break;
  }
  const pairs = (args.argc - i) / 2;
  if (pairs < 1 || !Number.isInteger(pairs) || (conditional && pairs > 1) || (incr && pairs > 1)) return false;
  if (incr) {
    const by = parseScore(argText(args, i));
    if (by === null) return false;
    out.push({ kind: 'increment', key, type: Type.zset, name: argText(args, i + 1), delta: by });
    return true;
  }
  const names: string[] = [];
  const values: Buffer[] = [];
  for (; i < args.argc; i += 2) {
    if (parseScore(argText(args, i)) === null) return false;
    values.push(argBytes(args, i));
    names.push(argText(args, i + 1));
  }
  out.push({ kind: 'put', key, type: Type.zset, names, values });
  return true;
}

/** The keys that a command reads or writes, as the table says. */
export function keysOf(command: Command, args: Args): string[] {
  const { argc } = args;
  const keys = new Set<string>();
  const { firstKey, lastKey, keyStep, numkeysAt } = command;
  if (firstKey === 0) return [];
  if (numkeysAt > 0) {
    const count = argc > numkeysAt ? Number(argText(args, numkeysAt)) : 0;
    if (firstKey < numkeysAt && argc > firstKey) keys.add(argText(args, firstKey));
    for (let n = 0, i = numkeysAt + 1; n < count && i < argc; n++, i += keyStep) keys.add(argText(args, i));
    return [...keys];
  }
  const last = lastKey === ALL_ARGUMENTS ? argc - 1 : lastKey < 0 ? argc + lastKey : Math.min(lastKey, argc - 1);
  for (let i = firstKey; i <= last; i += keyStep) keys.add(argText(args, i));
  return [...keys];
}

function argTexts(args: Args, from: number): string[] {
  const texts: string[] = [];
  for (let i = from; i < args.argc; i++) texts.push(argText(args, i));
  return texts;
}

function isUpper(args: Args, i: number): boolean {
  for (let at = args.argStart[i]!; at < args.argEnd[i]!; at++) if (args.buf[at]! >= 97) return false;
  return true;
}

const INTEGER = /^(?:0|-?[1-9][0-9]{0,18})$/;
export const INT64_MAX = 2n ** 63n - 1n;
export const INT64_MIN = -(2n ** 63n);

/** A 64-bit integer in Redis' strict form (string2ll): no sign but minus, no leading zeros, no spaces. */
export function parseInteger(text: string): bigint | null {
  if (!INTEGER.test(text)) return null;
  const value = BigInt(text);
  return value > INT64_MAX || value < INT64_MIN ? null : value;
}

/** A score as Redis writes and reads it. */
export function parseScore(text: string): number | null {
  const lower = text.toLowerCase();
  if (/^[+-]?inf(?:inity)?$/.test(lower)) return lower.startsWith('-') ? -Infinity : Infinity;
  if (!/^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?$/.test(lower)) return null;
  return Number(lower);
}

export type OpaqueEffect = Extract<Effect, { kind: 'opaque' }>;
export type IncrementEffect = Extract<Effect, { kind: 'increment' }>;
export type PutEffect = Extract<Effect, { kind: 'put' }>;

/** What a command adds to a number; null for any other command. */
export function incrementOf(command: Command, args: Args): IncrementEffect | null {
  const effects: Effect[] = [];
  decodeEffects(command, args, effects);
  return effects[0]?.kind === 'increment' ? effects[0] : null;
}

/** The ID of the stream entry that a command adds; null for any other command. */
export function addedEntryOf(command: Command, args: Args): string | null {
  const effects: Effect[] = [];
  decodeEffects(command, args, effects);
  const [effect] = effects;
  return effect?.kind === 'put' && effect.type === Type.stream ? effect.names[0]! : null;
}

/** Effects on one key. */
export type KeyEffect = Exclude<Effect, { kind: 'opaque' | 'flush' | 'swap' }>;

/** Elements of one type, by name. */
export interface About {
  readonly type: Type;
  readonly names: readonly string[];
}

/** Elements that somebody needs to know of; undefined: all that there are. */
export type Needed = About | 'none' | undefined;

/** The elements that an effect is about; undefined: it may be about any. */
export function aboutOf(effect: KeyEffect): Needed {
  switch (effect.kind) {
    case 'put':
    case 'remove':
    case 'field-ttl':
      return effect;
    case 'increment':
      return { type: effect.type, names: [effect.name] };
    case 'ttl':
      return 'none';
    // Of a stream, and of no entry of it.
    case 'lastId':
    case 'group':
    case 'cap':
      return ABOUT_STREAM;
    default:
      return undefined;
  }
}

const ABOUT_STREAM: About = { type: Type.stream, names: NONE };

/** The command that has an effect where nothing contradicts it. */
export function writeEffect(out: CommandWriter, effect: KeyEffect): void {
  const key = Buffer.from(effect.key, 'latin1');
  const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
  switch (effect.kind) {
    case 'set':
      if (effect.expireAt !== null) out.command(['SET', key, effect.value, 'PXAT', effect.expireAt]);
      else if (effect.keepTtl) out.command(['SET', key, effect.value, 'KEEPTTL']);
      else out.command(['SET', key, effect.value]);
      return;
    case 'delete':
    case 'expire':
      out.command(['DEL', key]);
      return;
    case 'ttl':
      if (effect.expireAt === null) out.command(['PERSIST', key]);
      else out.command(['PEXPIREAT', key, effect.expireAt]);
      return;
    case 'increment': {
      const by = String(effect.delta);
      if (effect.delta instanceof Decimal)
        out.command(['EVAL', ADD_SCRIPT, 1, key, by, ...(effect.type === Type.hash ? [latin1(effect.name)] : [])]);
      else if (effect.type === Type.string) out.command(['INCRBY', key, by]);
      else if (effect.type === Type.hash) out.command(['HINCRBY', key, latin1(effect.name), by]);
      else out.command(['ZINCRBY', key, by, latin1(effect.name)]);
      return;
    }
    case 'put':
      if (effect.keepTtl === true)
        out.command([
          ...['EVAL', KEEP_SCRIPT, 1, key],
          ...effect.names.flatMap((name, i) => [latin1(name), effect.values[i]!]),
        ]);
      else if (effect.type === Type.stream)
        for (const [i, id] of effect.names.entries()) writeEntry(out, key, id, effect.values[i]!);
      else if (effect.type === Type.set) out.command(['SADD', key, ...effect.names.map(latin1)]);
      else
        out.command([
          effect.type === Type.hash ? 'HSET' : 'ZADD',
          key,
          ...effect.names.flatMap((name, i) =>
            effect.type === Type.hash ? [latin1(name), effect.values[i]!] : [effect.values[i]!, latin1(name)],
          ),
        ]);
      return;
    case 'field-ttl':
      out.command([
        ...(effect.expireAt === null ? ['HPERSIST', key] : ['HPEXPIREAT', key, effect.expireAt]),
        ...['FIELDS', effect.names.length],
        ...effect.names.map(latin1),
      ]);
      return;
    case 'remove':
      out.command([REMOVALS[effect.type], key, ...effect.names.map(latin1)]);
      return;
    case 'trim':
      trimBut(out, key, effect.minId, effect.keep);
      return;
    case 'lastId':
      out.command(['XSETID', key, effect.id]);
      return;
    case 'cap':
    case 'group':
  }
}

const REMOVALS = {
  [Type.string]: 'DEL',
  [Type.hash]: 'HDEL',
  [Type.set]: 'SREM',
  [Type.zset]: 'ZREM',
  [Type.stream]: 'XDEL',
};

/** @param value the fields in RESP */
export function writeEntry(out: CommandWriter, key: Buffer, id: string, value: Buffer): void {
  out
    .header(3 + countFields(value))
    .arg('XADD')
    .arg(key)
    .arg(id)
    .append(value, 0, value.length);
}
