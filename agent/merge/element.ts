/** One element of a key (its string, a hash field, a set member …), and the operations that live on it. */
import { Decimal, parseDecimal, unitsOf } from './decimal';
import { type Op, removes, saw, StateOp } from './op';
import { seenAt } from './origins';

export { Op, saw } from './op';

/** What most keys and elements have of most things; never changed. */
export const NONE: never[] = [];

export const Type = { string: 0, hash: 1, set: 2, zset: 3, stream: 4 } as const;
export type Type = (typeof Type)[keyof typeof Type];
export const ALL_TYPES = 31;
export const TYPE_NAMES = ['string', 'hash', 'set', 'zset', 'stream'] as const;

export interface Put {
  readonly op: Op;
  /** The value's bytes (a score's text for sorted sets, empty for sets, the fields in RESP for entries of streams). */
  readonly value: Buffer;
  /** Of a hash's field: its time to live stays (HSETEX … KEEPTTL, as which HINCRBYFLOAT arrives from Redis 8). */
  readonly keepTtl?: boolean;
}

/** A hash field's time to live: see field-ttl.ts. */
export interface FieldTtl {
  readonly op: Op;
  /** Unix time in milliseconds; null: it was removed. */
  readonly at: number | null;
}

/** Integers as bigint; sorted sets' as number; what INCRBYFLOAT and HINCRBYFLOAT add as decimal. */
export type Delta = bigint | number | Decimal;

export interface Increment {
  readonly op: Op;
  readonly delta: Delta;
  /** For several added up: the lowest position of each origin among them. */
  readonly floors?: readonly number[];
}

export class Element {
  /** Live puts: none has seen another; at most one per origin. */
  puts: readonly Put[] = NONE;
  increments: Increment[] = NONE;
  /** Of a hash's field: none has seen another. */
  ttls: readonly FieldTtl[] = NONE;
  /** What was in Redis before the window is removed: the live parts are the whole value. */
  baseDead: boolean;
  /** Operations on this element not yet seen by all. */
  unstable = 0;
  /** Of these, those that nothing will tell of any more when all have seen them: they made room for what is newer (see Window.trim). */
  early = 0;
  /** The shelf may have more of it, which all that is here had seen. */
  isPartial = false;
  /** Operations on it that all have seen, since that was last looked at (see `absorb`). */
  folds = 0;
  /** Operations that removed it alone, but for those that a later one had seen. */
  removals: readonly Op[] = NONE;
  /** Length of `increments` at which those seen by all are added up. */
  private compactAt = COMPACT_INCREMENTS;
  constructor(
    readonly type: Type,
    /** Field, member or ID in Latin-1; empty for a string. */
    readonly name: string,
    baseDead: boolean,
  ) {
    this.baseDead = baseDead;
  }
  get live(): boolean {
    return this.puts.length > 0 || this.increments.length > 0;
  }

  /** It was removed by something that had not seen that a client gave it a time to live. (What a state gives comes with the field.) */
  get isContested(): boolean {
    return this.baseDead && !this.live && this.ttls.some(({ op }) => !(op instanceof StateOp));
  }

  /** Removes the times to live that `op` has seen. */
  dropTtls(op: Op): void {
    if (this.ttls.length > 0) this.ttls = this.ttls.filter((ttl) => ttl.op !== op && !removes(op, ttl.op));
  }

  /** Removes it as HDEL, SREM and ZREM do. */
  removeBy(op: Op): void {
    this.removeSeen(op);
    this.dropTtls(op);
    this.baseDead = true;
    this.removals = this.removals.length === 0 ? [op] : [...this.removals.filter((earlier) => !saw(op, earlier)), op];
  }

  /** Removes what `op` has seen of it, and its own earlier part. */
  removeSeen(op: Op): void {
    const { puts, increments } = this;
    if (puts.length === 1) {
      if (puts[0]!.op === op || removes(op, puts[0]!.op)) this.puts = NONE;
    } else if (puts.length > 1) this.puts = puts.filter((put) => put.op !== op && !removes(op, put.op));
    if (increments.length > 0) this.increments = increments.filter((i) => i.op !== op && !saw(op, i.op));
  }

  /**
   * Increments that every member has seen live and die together, for whatever comes has seen them all: they become
   * one, or part of the base where nothing in the window replaced it. Keeps a hot counter small.
   */
  compact(stable: readonly number[]): void {
    const { increments, type } = this;
    if (increments.length < this.compactAt) return;
    this.compactAt = Math.max(COMPACT_INCREMENTS, increments.length * 2);
    // The order of additions shows in the last digit of a score that is no integer.
    if (type === Type.zset && !this.isOfIntegers) return;
    const isStable = ({ op }: Increment): boolean => seenAt(stable, op.origin) >= op.position;
    const old = increments.filter(isStable);
    if (old.length === 0) return;
    const delta = type === Type.zset ? old.reduce((sum, one) => sum + (one.delta as number), 0) : sumOf(old);
    if (type === Type.zset && !Number.isSafeInteger(delta)) return;
    const rest = increments.filter((increment) => !isStable(increment));
    if (this.baseDead || this.puts.length > 0)
      rest.unshift({ op: old[old.length - 1]!.op, delta, floors: floorsOf(old) });
    this.increments = rest;
    this.compactAt = Math.max(COMPACT_INCREMENTS, rest.length * 2);
  }

  private get isOfIntegers(): boolean {
    return (
      this.puts.every(({ value }) => Number.isSafeInteger(Number(value.toString('latin1')))) &&
      this.increments.every(({ delta }) => Number.isSafeInteger(delta))
    );
  }

  /**
   * Of an element that is never at rest: the one put, and the increments on it, that all have seen become base. What is here and not seen by all adds to them, or
   * lives beside them, whether they are base or not.
   * @returns false where there are none, or others may still decide about them
   */
  absorb(isStable: (op: Op) => boolean): boolean {
    const { puts, increments, removals, ttls, type } = this;
    if (puts.length > 1 || ttls.length > 0 || (puts.length === 0 && !this.baseDead)) return false;
    if (!puts.every(({ op }) => isStable(op)) || !removals.every(isStable)) return false;
    if (increments.length === 0 && type !== Type.string) return false;
    // On what is no number increments count for nothing.
    if (increments.length > 0 && puts.some(({ value }) => !isNumber(value))) return false;
    if (type === Type.zset && !this.isOfIntegers) return false;
    this.puts = this.removals = NONE;
    this.increments = increments.filter(({ op }) => !isStable(op));
    this.baseDead = false;
    return true;
  }
}

function sumOf(increments: readonly Increment[]): bigint | Decimal {
  let sum = 0n;
  let decimals: bigint | null = null;
  for (const { delta } of increments)
    if (delta instanceof Decimal) decimals = (decimals ?? 0n) + delta.units;
    else sum += BigInt(delta);
  return decimals === null ? sum : new Decimal(decimals + unitsOf(sum));
}

/** The lowest position of each origin among increments, and among those that they are the sum of. */
function floorsOf(increments: readonly Increment[]): number[] {
  const floors: number[] = [];
  const lower = (position: number, origin: number): void => {
    if (floors[origin] === undefined || floors[origin] > position) floors[origin] = position;
  };
  for (const { op, floors: earlier } of increments) {
    lower(op.position, op.origin);
    earlier?.forEach(lower);
  }
  return floors;
}

function isNumber(value: Buffer): boolean {
  return parseDecimal(value.toString('latin1')) !== null;
}

const COMPACT_INCREMENTS = 32;

/** A view of so much memory is kept as it is. */
const PINNED_BYTES_MAX = 16 * 1024;

/** A value to be kept: not a view by which the whole record that it came with would be kept, too. */
export function ownBytes(value: Buffer): Buffer {
  const pinned = value.buffer.byteLength;
  return pinned <= PINNED_BYTES_MAX || value.length * 2 >= pinned ? value : Buffer.from(value);
}
