/** The rule's value of a key in the window, and the commands that bring Redis to it. */
import type { CommandWriter } from '../resp/encode';
import { INT64_MAX, INT64_MIN, parseInteger, parseScore } from './effects';
import { Decimal, formatDecimal, parseDecimal, unitsOf } from './decimal';
import type { Delta } from './element';
import { KEEP_SCRIPT } from './field-script';
import { writeFieldTtl } from './field-ttl';
import type { OriginTable } from './origins';
import type { TtlPut } from './key-parts';
import type { Element, Increment, KeyState, Op, Put } from './key-state';
import { saw, Type } from './key-state';
import { isHigher, isSame } from './op';
import { writeEntriesOf, writeStream } from './stream-write';

export function winner(element: Element, origins: OriginTable): Put | null {
  let best: Put | null = null;
  for (const put of element.puts) if (best === null || isHigher(put.op, best.op, origins)) best = put;
  return best;
}

/** The type that stands: that of the highest live operation. −1 when nothing in the window is live. */
export function visibleType(state: KeyState, origins: OriginTable): Type | -1 {
  let best: Op | null = null;
  let type: Type | -1 = -1;
  const only = state.onlyType;
  if (only === -1) return -1;
  if (only !== null) {
    // One type, the usual case: it stands if anything is live.
    for (const element of state.elements()) if (element.live) return only;
    return -1;
  }
  for (const element of state.elements())
    for (const part of liveParts(element))
      if (best === null || isHigher(part.op, best, origins)) {
        best = part.op;
        type = element.type;
      }
  return type;
}

function* liveParts(element: Element): IterableIterator<Put | Increment> {
  yield* element.puts;
  yield* element.increments;
}

/**
 * An element's value by the rule. `known: false`: it depends on the base, which only Redis knows (increments on what
 * was there before). `value: null`: the element is absent.
 */
export type Resolved = { known: false } | { known: true; value: Buffer | null };
const UNKNOWN: Resolved = { known: false };
const ABSENT: Resolved = { known: true, value: null };

export function resolve(element: Element, origins: OriginTable): Resolved {
  const put = winner(element, origins);
  const { increments } = element;
  if (put === null) {
    if (!element.baseDead) return UNKNOWN;
    if (increments.length === 0) return ABSENT;
    return { known: true, value: addAll(element.type, element.type === Type.zset ? 0 : 0n, increments, origins) };
  }
  if (increments.length === 0) return { known: true, value: put.value };
  const start = startOf(element.type, put);
  // Increments on a winner that is no number are ignored.
  return { known: true, value: start === null ? put.value : addAll(element.type, start, increments, origins) };
}

/**
 * Whether Redis makes of an element what the rule does where it adds the last increment to what was there: a number, and no score (the order of additions
 * changes a double's last digit), and neither with it nor without one that is as large as they get.
 */
export function isAddedOn(element: Element, delta: Delta, origins: OriginTable): boolean {
  if (!element.baseDead && element.puts.length === 0) return true;
  if (element.type === Type.zset) return false;
  const put = winner(element, origins);
  if (put === null ? element.increments.length < 2 : startOf(element.type, put) === null) return false;
  const resolved = resolve(element, origins);
  if (typeof delta === 'number' || !resolved.known || resolved.value === null) return false;
  const sum = parseDecimal(resolved.value.toString('latin1'));
  const isWithin = (units: bigint): boolean => units < unitsOf(INT64_MAX) && units > unitsOf(INT64_MIN);
  return sum !== null && isWithin(sum) && isWithin(sum - unitsOf(delta));
}

/** Whether it is no integer, or may be none, which INCRBY of Redis refuses: INCRBYFLOAT or HINCRBYFLOAT added to it, or to it as it was put. */
export function isDecimal(element: Element, origins: OriginTable): boolean {
  if (element.increments.some(({ delta }) => delta instanceof Decimal)) return true;
  const put = winner(element, origins);
  return put !== null && startOf(element.type, put) instanceof Decimal;
}

/** The number to which increments are added; null: it is none. */
function startOf(type: Type, { value }: Put): Delta | null {
  const text = value.toString('latin1');
  return type === Type.zset ? parseScore(text) : (parseInteger(text) ?? decimalOf(text));
}

function decimalOf(text: string): Decimal | null {
  const units = parseDecimal(text);
  return units === null ? null : new Decimal(units);
}

function addAll(type: Type, start: Delta, increments: Increment[], origins: OriginTable): Buffer {
  if (type === Type.zset) {
    // The order of additions changes a double's last digit: by stamp, everywhere.
    const ordered = [...increments].sort((a, b) => (isHigher(a.op, b.op, origins) ? 1 : -1));
    let sum = Number(start);
    for (const { delta } of ordered) sum += Number(delta);
    return Buffer.from(formatScore(Number.isNaN(sum) ? 0 : sum));
  }
  const parts = [start, ...increments.map(({ delta }) => delta)];
  if (parts.some((part) => part instanceof Decimal)) {
    let units = 0n;
    for (const part of parts) units += unitsOf(part instanceof Decimal ? part : BigInt(part));
    return Buffer.from(formatDecimal(units));
  }
  let sum = 0n;
  for (const part of parts) sum += part as bigint;
  return Buffer.from(String(sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : sum));
}

export function formatScore(score: number): string {
  if (score === Infinity) return 'inf';
  if (score === -Infinity) return '-inf';
  return String(score);
}

/** The key's expiry by the rule. `known: false`: nothing in the window decides it, what Redis has stays. */
export type ResolvedTtl = { known: false } | { known: true; at: number | null };

export function resolveTtl(state: KeyState, origins: OriginTable): ResolvedTtl {
  const best = highestTtl(state, origins);
  // Redis dropped it with the last element, or did not: either stays, until a region that has it says so.
  if (best?.isDoubtful && state.ttlByRedis) return { known: false };
  if (best !== null) return { known: true, at: best.at };
  return state.ttlBaseDead ? { known: true, at: null } : { known: false };
}

/** The highest of those that hold, doubtful or not. */
export function highestTtl(state: KeyState, origins: OriginTable): TtlPut | null {
  const type = visibleType(state, origins);
  let best: TtlPut | null = null;
  for (const ttl of state.ttls)
    if (holds(state, ttl.op, type, origins) && (best === null || isHigher(ttl.op, best.op, origins))) best = ttl;
  return best;
}

/** Whether a time to live that nothing has removed is that of what now is the value. */
function holds(state: KeyState, ttl: Op, type: Type | -1, origins: OriginTable): boolean {
  if (type !== Type.string) return true;
  const element = state.string!;
  const put = winner(element, origins);
  // A winner that has seen it did not remove it: it was KEEPTTL.
  if (put !== null) return isSame(put.op, ttl) || saw(ttl, put.op) || saw(put.op, ttl);
  return !element.baseDead || element.increments.some((i) => i.op === ttl || saw(ttl, i.op));
}

/** SET … KEEPTTL, `op`, keeps the times to live that it had not seen, and the one that held when it came. */
export function keepTtls(state: KeyState, op: Op, origins: OriginTable): void {
  // What it found may have been removed here by something it had not seen.
  if (!state.isQuietFor(op)) return state.doubtTtls(op);
  const held = state.string === null ? null : winner(state.string, origins)?.op;
  if (held) state.ttls = state.ttls.filter(({ op: ttl }) => isSame(held, ttl) || saw(ttl, held) || saw(held, ttl));
}

/** Writes one element's value, where the rule knows it, over whatever Redis has. */
export function writeElement(out: CommandWriter, state: KeyState, element: Element, origins: OriginTable): void {
  // Another region has it yet, and sends it.
  if (element.isContested) return;
  const resolved = resolve(element, origins);
  const key = Buffer.from(state.key, 'latin1');
  if (!resolved.known) return writeFieldTtl(out, key, element, false, origins);
  const name = Buffer.from(element.name, 'latin1');
  const { value } = resolved;
  switch (element.type) {
    case Type.string:
      if (value === null) out.command(['DEL', key]);
      else out.command(['SET', key, value, 'KEEPTTL']);
      return;
    case Type.hash:
      if (value === null) out.command(['HDEL', key, name]);
      else if (element.puts.length === 1 && element.puts[0]!.keepTtl === true)
        out.command(['EVAL', KEEP_SCRIPT, 1, key, name, value]);
      else {
        out.command(['HSET', key, name, value]);
        writeFieldTtl(out, key, element, true, origins);
      }
      return;
    case Type.set:
      out.command([value === null ? 'SREM' : 'SADD', key, name]);
      return;
    case Type.zset:
      if (value === null) out.command(['ZREM', key, name]);
      else out.command(['ZADD', key, value, name]);
      return;
    case Type.stream:
      writeEntriesOf(out, state, [element], origins);
  }
}

/** Writes several elements: of a stream all at once. */
export function writeElements(
  out: CommandWriter,
  state: KeyState,
  elements: Iterable<Element>,
  origins: OriginTable,
): void {
  const entries: Element[] = [];
  for (const element of elements)
    if (element.type === Type.stream) entries.push(element);
    else writeElement(out, state, element, origins);
  if (entries.length > 0) writeEntriesOf(out, state, entries, origins);
}

export function writeTtl(out: CommandWriter, state: KeyState, origins: OriginTable): void {
  const ttl = resolveTtl(state, origins);
  if (!ttl.known) return;
  const key = Buffer.from(state.key, 'latin1');
  if (ttl.at === null) out.command(['PERSIST', key]);
  else out.command(['PEXPIREAT', key, ttl.at]);
}

/** Writes the whole key anew: what was in Redis is dead by the rule, all that lives is in the window. */
export function rewriteKey(out: CommandWriter, state: KeyState, origins: OriginTable): void {
  const key = Buffer.from(state.key, 'latin1');
  const type = visibleType(state, origins);
  // The key loses what it has: a doubtful time to live is kept rather than lost.
  const ttl = highestTtl(state, origins);
  const at = ttl?.at ?? null;
  if (type === Type.string) {
    const resolved = resolve(state.string!, origins);
    if (!resolved.known || resolved.value === null) return;
    if (ttl === null && !state.ttlBaseDead) out.command(['SET', key, resolved.value, 'KEEPTTL']);
    else if (at === null) out.command(['SET', key, resolved.value]);
    else out.command(['SET', key, resolved.value, 'PXAT', at]);
    return;
  }
  out.command(['DEL', key]);
  if (type === -1) return;
  if (type === Type.stream) writeStream(out, state, origins);
  else
    for (const element of state.elements())
      if (element.type === type && element.live) writeElement(out, state, element, origins);
  if (at !== null) out.command(['PEXPIREAT', key, at]);
}

/** Writes the key as if nothing had been there before the window: to make room for what will have been. */
export function rewriteAlone(out: CommandWriter, state: KeyState, origins: OriginTable): void {
  const { ttlBaseDead } = state;
  const alive = [...state.elements()].filter((element) => !element.baseDead);
  state.ttlBaseDead = true;
  for (const element of alive) element.baseDead = true;
  // A string's is overwritten without.
  if (visibleType(state, origins) === -1) out.command(['DEL', Buffer.from(state.key, 'latin1')]);
  else rewriteKey(out, state, origins);
  state.ttlBaseDead = ttlBaseDead;
  for (const element of alive) element.baseDead = false;
}

/**
 * Brings Redis to the rule's value of a key whose operations Redis may have run in another order than the rule's.
 * Only what the window knows is written; the rest commutes with whatever happened.
 * @param elements what may differ; null: the whole key
 */
export function correctKey(
  out: CommandWriter,
  state: KeyState,
  elements: Iterable<Element> | null,
  origins: OriginTable,
): void {
  const only = state.onlyType;
  if (only === null || only === Type.string || only === -1) {
    const type = visibleType(state, origins);
    if (
      type === -1 ? state.isAbsent : only === null || (type === Type.string && resolve(state.string!, origins).known)
    ) {
      rewriteKey(out, state, origins);
      return;
    }
  }
  if (elements === null) {
    // What the window no longer knows one by one may be dead as a whole: Redis has to lose that too.
    if (only !== null && only !== -1 && state.isBaseDead(only)) {
      rewriteKey(out, state, origins);
      return;
    }
    elements = state.elements();
  }
  writeElements(out, state, elements, origins);
  writeTtl(out, state, origins);
}
