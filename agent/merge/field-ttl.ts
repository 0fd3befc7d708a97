/**
 * Times to live of hash fields (Redis ≥ 7.4, Valkey ≥ 9). One is a put of its own: it replaces those that it has seen, and holds only while the
 * field's value is one that it has seen or came with, or that kept it. HSET removes those that it has seen, as Redis does.
 *
 * A field that expires is a plain HDEL in the stream, and looks like a client's. So an HDEL does not remove a field that another region has
 * given a time to live meanwhile (`Element.isContested`): that region still has it, *keeps* it, and tells the others what it is. It tells that field alone: of
 * another one of the key it may be somebody else who has it. And nobody else tells anything: they have no such field, and no say in what becomes of it.
 */
import type { HashItem } from '../capture/rdb';
import type { CommandWriter } from '../resp/encode';
import { Code } from './commands';
import { type Args, argText, type Effect, parseInteger } from './effects';
import { type Element, type FieldTtl, saw, Type } from './element';
import type { OriginTable } from './origins';
import { CarriedOp, highestOf, isHigher, type Op, StateOp } from './op';
import { winner } from './resolve';

/**
 * - HPEXPIREAT key ms [NX|XX|GT|LT] FIELDS n field …, HEXPIREAT with seconds; HPERSIST key FIELDS n field …
 * - HSETEX key [FNX|FXX] [PXAT ms | EXAT s | KEEPTTL] FIELDS n field value …
 *
 * A condition on one field is dropped: at its origin it was met. On several it is judged field by field, and Valkey 9 replicates them all (seen).
 * @returns false for a form that a replica is not sent
 */
export function decodeFieldTtl(code: Code, args: Args, out: Effect[]): boolean {
  const key = argText(args, 1);
  let at: number | null = null;
  let keepTtl = false;
  let isJudged = false;
  let i = 2;
  const time = (unitMs: number): boolean => {
    const value = i < args.argc ? parseInteger(argText(args, i++)) : null;
    if (value === null) return false;
    at = Number(value) * unitMs;
    return true;
  };
  if (code === Code.hpexpireat || code === Code.hexpireat) if (!time(code === Code.hexpireat ? 1000 : 1)) return false;
  for (; i < args.argc;) {
    const word = argText(args, i++).toUpperCase();
    if (word === 'FIELDS') break;
    if (word === 'KEEPTTL') keepTtl = true;
    else if (word === 'PXAT' || word === 'EXAT') {
      if (!time(word === 'EXAT' ? 1000 : 1)) return false;
    } else if (/^(?:NX|XX|GT|LT)$/.test(word)) isJudged = true;
    else if (!/^F(?:NX|XX)$/.test(word)) return false;
  }
  const count = i < args.argc ? parseInteger(argText(args, i++)) : null;
  const step = code === Code.hsetex ? 2 : 1;
  if (count === null || count < 1n || Number(count) * step !== args.argc - i || (isJudged && count > 1n)) return false;
  const names: string[] = [];
  const values: Buffer[] = [];
  for (; i < args.argc; i += step) {
    names.push(argText(args, i));
    if (step === 2) values.push(args.buf.subarray(args.argStart[i + 1], args.argEnd[i + 1]));
  }
  if (step === 2) out.push({ kind: 'put', key, type: Type.hash, names, values, ...(keepTtl ? { keepTtl } : {}) });
  if (step === 1 || at !== null) out.push({ kind: 'field-ttl', key, type: Type.hash, names, expireAt: at });
  return true;
}

/** The highest of those that hold; null: none does. */
function highest(element: Element, origins: OriginTable): FieldTtl | null {
  const put = winner(element, origins);
  let best: FieldTtl | null = null;
  for (const ttl of element.ttls) {
    const holds =
      put === null || put.op === ttl.op || saw(ttl.op, put.op) || (put.keepTtl === true && saw(put.op, ttl.op));
    if (holds && (best === null || isHigher(ttl.op, best.op, origins))) best = ttl;
  }
  return best;
}

/** Writes a field's time to live, where the window knows it. @param isNew its value has just been written, without one */
export function writeFieldTtl(
  out: CommandWriter,
  key: Buffer,
  element: Element,
  isNew: boolean,
  origins: OriginTable,
): void {
  if (element.ttls.length === 0) return;
  const name = Buffer.from(element.name, 'latin1');
  const ttl = highest(element, origins);
  if (ttl !== null && ttl.at !== null) out.command(['HPEXPIREAT', key, ttl.at, 'FIELDS', 1, name]);
  else if (!isNew) out.command(['HPERSIST', key, 'FIELDS', 1, name]);
}

/** The time to live by which a region keeps a field: the highest, where that is a client's of the region; null where it is none of its. */
export function keptBy({ ttls }: Element, region: string, origins: OriginTable): Op | null {
  const op = highestOf(
    ttls.map((ttl) => ttl.op),
    origins,
  );
  if (op === null || op instanceof StateOp || op instanceof CarriedOp) return null;
  return origins.region(op.origin) === region ? op : null;
}

type HashPart = { readonly value: unknown };

function itemsOf(parts: readonly HashPart[]): Map<string, HashItem> {
  const items = new Map<string, HashItem>();
  for (const { value } of parts) for (const item of value as HashItem[]) items.set(item[0].toString('latin1'), item);
  return items;
}

/**
 * The difference between the times to live of two values of a hash, as commands, behind those that write its fields.
 * @param skips fields that others have written since
 */
export function writeFieldTtlDifferences(
  writer: CommandWriter,
  key: Buffer,
  mine: readonly HashPart[],
  their: readonly HashPart[],
  skips: ReadonlySet<string> | null | undefined,
): void {
  const others = itemsOf(their);
  for (const [name, [field, value, at]] of itemsOf(mine)) {
    if (skips?.has(name) === true) continue;
    const other = others.get(name);
    // A field that is written anew has none.
    const found = other?.[1].equals(value) === true ? other[2] : null;
    if (at === found) continue;
    writer.command(at === null ? ['HPERSIST', key, 'FIELDS', 1, field] : ['HPEXPIREAT', key, at, 'FIELDS', 1, field]);
  }
}
