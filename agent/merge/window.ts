/**
 * The window: what must be known of recent operations to merge with those still under way.
 *
 * The merge rule, per element (a key's string, a hash field, a set member, a sorted set's member):
 *
 * - a put, and a delete, removes what it has *seen* of the element; so the live puts have not seen each other;
 * - among live puts the highest (stamp, region) wins;
 * - the value is the winner plus every live increment;
 * - an operation of one type removes what it has seen of the key's other types; where unseen writes of two types meet,
 *   the type of the highest live operation stands;
 * - a time to live is a put of its own. A string's holds only while the winner is one that it has seen, that came with
 *   it, or that kept it (KEEPTTL); a collection's as long as the key lives;
 * - an expiry is a delete. The region whose own EXPIRE or PERSIST it had not seen still has the key, and sends its state.
 *
 * So the value is a function of the set of operations. Because delivery is causal, whatever an operation removes is
 * already here when it comes: nothing has to be remembered of deletes but that they happened (no tombstones).
 *
 * Operations leave the window ("fold") when every member has reported to have seen them. What is not in the window is
 * the *base*: the value in Redis, whose parts every operation still to come has seen.
 */
import { Deque } from '../deque';
import { hashBytes, hashText } from './key-hash';
import type { Seen } from './origins';
import { seenAt, type OriginTable } from './origins';
import { SetOutcome, type SetPlace, type SetSource, SetTable } from './set-table';

/** What most keys and elements have of most things; never changed. */
const NONE: never[] = [];

/** One operation's identity, stamp and *seen*. */
export class Op {
  constructor(
    /** Interned origin. */
    readonly origin: number,
    /** Position in the origin's stream. */
    readonly position: number,
    readonly stamp: number,
    readonly seen: Seen,
  ) {}
}

/** Whether `later` had seen `earlier`. An operation has not seen itself. */
export function saw(later: Op, earlier: Op): boolean {
  return later.origin === earlier.origin
    ? later.position > earlier.position
    : seenAt(later.seen, earlier.origin) >= earlier.position;
}

export const Type = { string: 0, hash: 1, set: 2, zset: 3 } as const;
export type Type = (typeof Type)[keyof typeof Type];
const ALL_TYPES = 15;
export const TYPE_NAMES = ['string', 'hash', 'set', 'zset'] as const;

export interface Put {
  readonly op: Op;
  /** The value's bytes (a score's text for sorted sets, empty for sets). */
  readonly value: Buffer;
}

export interface Increment {
  readonly op: Op;
  /** Integers as bigint; sorted sets' as number. */
  readonly delta: bigint | number;
  /** For several added up: the lowest position of each origin among them. */
  readonly floors?: readonly number[];
}

export class Element {
  /** Live puts: none has seen another; at most one per origin. */
  puts: readonly Put[] = NONE;
  increments: Increment[] = NONE;
  /** What was in Redis before the window is removed: the live parts are the whole value. */
  baseDead: boolean;
  /** Operations on this element not yet seen by all. */
  unstable = 0;
  /** Length of `increments` at which those seen by all are added up. */
  private compactAt = COMPACT_INCREMENTS;
  constructor(
    readonly type: Type,
    /** Field or member in Latin-1; empty for a string. */
    readonly name: string,
    baseDead: boolean,
  ) {
    this.baseDead = baseDead;
  }
  get live(): boolean {
    return this.puts.length > 0 || this.increments.length > 0;
  }

  /**
   * Increments that every member has seen live and die together, for whatever comes has seen them all: they become
   * one, or part of the base where nothing in the window replaced it. Keeps a hot counter small.
   */
  compact(stable: readonly number[]): void {
    if (this.increments.length < this.compactAt || this.type === Type.zset) return;
    const rest: Increment[] = [];
    let sum = 0n;
    let last: Op | null = null;
    const floors: number[] = [];
    const lower = (position: number, origin: number): void => {
      if (floors[origin] === undefined || floors[origin] > position) floors[origin] = position;
    };
    for (const increment of this.increments)
      if (seenAt(stable, increment.op.origin) >= increment.op.position) {
        sum += BigInt(increment.delta);
        last = increment.op;
        lower(last.position, last.origin);
        increment.floors?.forEach(lower);
      } else rest.push(increment);
    if (last !== null) {
      if (this.baseDead || this.puts.length > 0) rest.unshift({ op: last, delta: sum, floors });
      this.increments = rest;
    }
    this.compactAt = Math.max(COMPACT_INCREMENTS, rest.length * 2);
  }
}

const COMPACT_INCREMENTS = 32;

export interface TtlPut {
  readonly op: Op;
  /** Unix time in milliseconds at which the key expires; null: the key was made persistent. */
  readonly at: number | null;
  /** By EXPIRE or PERSIST: it renews a value that others may have seen expire. Else it came with its value. */
  readonly alone: boolean;
  /**
   * It may have been removed where nothing tells: Redis drops a collection's with the last element, and SET … KEEPTTL
   * keeps the one that it finds. What such an operation found is not always known here.
   */
  readonly isDoubtful: boolean;
}

export class KeyState {
  string: Element | null = null;
  /** Fields and members, by type digit + name. */
  members: Map<string, Element> | null = null;
  ttls: readonly TtlPut[] = NONE;
  /** Operations known only as commands (lists, streams, APPEND …), not yet seen by all. */
  opaques: readonly Op[] = NONE;
  /** Expiries not yet seen by all: a renewal that had not seen one of them needs the key's state back. */
  expiries: readonly Op[] = NONE;
  /** Bits of the types of which nothing in Redis from before the window counts any more. */
  deadTypes = 0;
  ttlBaseDead = false;
  /** Elements were removed, or a SET kept what it found: Redis has a say in the time to live (see `TtlPut.isDoubtful`). */
  ttlByRedis = false;
  /** The regions may differ in the time to live: this one looks, and says so if it has one. */
  ttlDoubted = false;
  /** Operations not yet seen by all. */
  unstable = 0;
  /** Of these, those about the whole key: deletes, TTLs, opaque ones. While there are any, no element folds. */
  unstableKeyOps = 0;
  /** The regions' writes can't be merged element by element: the settler will send the key's state. */
  unsettled = false;
  /** The region that has to send it, when it isn't the usual one (see core). */
  settler: string | null = null;
  /** How often Redis refused a command on it. */
  refusals = 0;
  /** Elements that clients wrote beside a block that had not seen it; 'all' when it concerned the whole key. */
  raced: Set<Element> | 'all' | null = null;
  /** Corrections that have not reached Redis yet. Until then the key can't fold: its value in Redis is not the rule's. */
  corrections = 0;
  /** What all members had seen when something began to hold it: all that came later is needed to decide again. */
  heldFrom: readonly number[] = NONE;
  /** Some of its operations are seen by all, but it can't leave the window yet. */
  lagging = false;
  /** The first and the last removal, of elements or of all, by each origin since the key came into the window. */
  private removals: Map<number, { first: Op; last: Op }> | null = null;
  /** Bits of the types that `members` has ever held. */
  private memberTypes = 0;
  private lastOrigin = -1;
  private lastPosition = -1;
  private tops: number[] | null = null;

  constructor(
    /** Changed by SWAPDB. */
    public db: number,
    /** The key in Latin-1. */
    readonly key: string,
  ) {}

  /** Whether `op` has seen every operation known on this key (of its own origin it has, by order). */
  isQuietFor(op: Op): boolean {
    if (this.tops === null)
      return (
        this.lastOrigin === op.origin || this.lastOrigin < 0 || seenAt(op.seen, this.lastOrigin) >= this.lastPosition
      );
    for (let o = 0; o < this.tops.length; o++) if (o !== op.origin && this.tops[o]! > seenAt(op.seen, o)) return false;
    return true;
  }

  /** The highest position known of an origin's operations on this key, −1 for none. */
  positionOf(origin: number): number {
    if (this.tops !== null) return seenAt(this.tops, origin);
    return this.lastOrigin === origin ? this.lastPosition : -1;
  }

  note(op: Op): void {
    if (this.tops !== null) {
      while (this.tops.length <= op.origin) this.tops.push(-1);
      if (this.tops[op.origin]! < op.position) this.tops[op.origin] = op.position;
    } else if (this.lastOrigin === op.origin || this.lastOrigin < 0) {
      this.lastOrigin = op.origin;
      if (this.lastPosition < op.position) this.lastPosition = op.position;
    } else {
      this.tops = [];
      while (this.tops.length <= Math.max(op.origin, this.lastOrigin)) this.tops.push(-1);
      this.tops[this.lastOrigin] = this.lastPosition;
      this.tops[op.origin] = op.position;
    }
  }

  /** The one type that elements of this key have had since it came into the window; −1 for none, null for several. */
  get onlyType(): Type | -1 | null {
    const types = this.memberTypes | (this.string === null ? 0 : 1 << Type.string);
    if ((types & (types - 1)) !== 0) return null;
    return types === 0 ? -1 : ((31 - Math.clz32(types)) as Type);
  }

  element(type: Type, name: string): Element {
    if (type === Type.string) return (this.string ??= new Element(type, '', this.isBaseDead(type)));
    this.members ??= new Map();
    const id = type + name;
    let element = this.members.get(id);
    if (element === undefined) {
      element = new Element(type, name, this.isBaseDead(type));
      this.members.set(id, element);
      this.memberTypes |= 1 << type;
    }
    return element;
  }

  /** Whether elements that the window does not know are not there, whatever Redis has. */
  isBaseDead(type: Type): boolean {
    return (this.deadTypes & (1 << type)) !== 0;
  }

  findElement(type: Type, name: string): Element | undefined {
    return type === Type.string ? (this.string ?? undefined) : this.members?.get(type + name);
  }

  *elements(): IterableIterator<Element> {
    if (this.string !== null) yield this.string;
    if (this.members !== null) yield* this.members.values();
  }

  /** Whether something keeps the key in the window beyond its last operation that not all have seen. */
  get isHeld(): boolean {
    return this.unsettled || this.ttlDoubted || this.corrections > 0;
  }

  /** Calls `visit` for each operation that the window holds something of. */
  eachHeld(visit: (origin: number, position: number) => void): void {
    const op = ({ origin, position }: Op): void => visit(origin, position);
    for (const element of this.elements()) {
      for (const put of element.puts) op(put.op);
      for (const increment of element.increments) {
        op(increment.op);
        increment.floors?.forEach((position, origin) => visit(origin, position));
      }
    }
    for (const ttl of this.ttls) op(ttl.op);
    this.opaques.forEach(op);
    this.expiries.forEach(op);
  }

  // What operations do. Each removes what it has seen, then adds its own part.

  put(op: Op, type: Type, name: string, value: Buffer): Element {
    this.removeOtherTypes(op, type);
    if (type !== Type.string) this.dropTtlOfEmptied(op, type);
    const element = this.element(type, name);
    removeSeen(element, op);
    const put = { op, value };
    element.puts = element.puts.length === 0 ? [put] : [...element.puts, put];
    element.baseDead = true;
    return element;
  }

  increment(op: Op, type: Type, name: string, delta: bigint | number): Element {
    this.removeOtherTypes(op, type);
    if (type !== Type.string) this.dropTtlOfEmptied(op, type);
    const element = this.element(type, name);
    // In place: a hot counter has many.
    if (element.increments.length === 0) element.increments = [{ op, delta }];
    else element.increments.push({ op, delta });
    return element;
  }

  /** HDEL, SREM, ZREM of one element. */
  remove(op: Op, type: Type, name: string): Element {
    this.removeOtherTypes(op, type);
    const element = this.element(type, name);
    removeSeen(element, op);
    element.baseDead = true;
    this.ttlByRedis = true;
    this.noteRemoval(op);
    this.dropTtlOfEmptied(op, type);
    return element;
  }

  /** Where nothing is left that `op` has seen, the key was deleted before it, or by it, and its time to live too. */
  private dropTtlOfEmptied(op: Op, type: Type): void {
    if (!this.ttls.some((ttl) => saw(op, ttl.op) && this.isRemovedBetween(ttl.op, op))) return;
    for (const element of this.elements())
      for (const part of [...element.puts, ...element.increments]) if (part.op === op || saw(op, part.op)) return;
    // What it had seen may have been removed by something it had not, or be in Redis alone.
    if (this.isBaseDead(type) && this.isQuietFor(op)) this.ttls = this.ttls.filter((ttl) => !saw(op, ttl.op));
    else this.doubtTtls(op);
  }

  private noteRemoval(op: Op): void {
    this.removals ??= new Map();
    const first = this.removals.get(op.origin)?.first ?? op;
    this.removals.set(op.origin, { first, last: op });
  }

  /** Whether anything of the key may have been removed by what `op` had seen, or by itself, and `ttl` had not. */
  private isRemovedBetween(ttl: Op, op: Op): boolean {
    for (const { first, last } of this.removals?.values() ?? [])
      if ((first === op || saw(op, first)) && !saw(ttl, last)) return true;
    return false;
  }

  /** Whether those that `op` has seen still stand is not known. */
  doubtTtls(op: Op): void {
    this.ttls = this.ttls.map((ttl) => (saw(op, ttl.op) ? { ...ttl, isDoubtful: true } : ttl));
  }

  /** Whether the regions may differ in the time to live where operations meet that had not seen each other. */
  get mayDifferInTtl(): boolean {
    return this.ttlByRedis || this.ttls.some((ttl) => ttl.isDoubtful);
  }

  /** Removes everything that `op` has seen of the key, of every type; with `keepTtl` not its time to live. */
  wipe(op: Op, keepTtl = false): void {
    for (const element of this.elements()) {
      removeSeen(element, op);
      element.baseDead = true;
    }
    if (this.opaques.length > 0) this.opaques = this.opaques.filter((opaque) => !saw(op, opaque));
    this.deadTypes = ALL_TYPES;
    if (keepTtl) {
      this.ttlByRedis = true;
      return;
    }
    if (this.ttls.length > 0) this.ttls = this.ttls.filter((ttl) => !saw(op, ttl.op));
    this.ttlBaseDead = true;
  }

  setTtl(op: Op, at: number | null, alone: boolean): void {
    if (this.ttls.length > 0) this.ttls = this.ttls.filter((ttl) => !saw(op, ttl.op) && ttl.op !== op);
    this.ttls = [...this.ttls, { op, at, alone, isDoubtful: false }];
    this.ttlBaseDead = true;
  }

  /** DEL, UNLINK, FLUSHDB, an expiry. */
  delete(op: Op): void {
    this.noteRemoval(op);
    this.wipe(op);
  }

  expire(op: Op): void {
    this.expiries = [...this.expiries.filter((expiry) => !saw(op, expiry)), op];
    this.delete(op);
  }

  /** Whether nothing counts any more of what was there before the window. */
  get isReplaced(): boolean {
    return this.deadTypes === ALL_TYPES && this.opaques.length === 0;
  }

  /** Whether the window knows what was done to the key element by element. */
  get isByElement(): boolean {
    return this.opaques.length === 0 && !this.unsettled;
  }

  /** Whether by the rule there is no such key, whatever Redis has. */
  get isAbsent(): boolean {
    if (this.deadTypes !== ALL_TYPES || this.opaques.length > 0) return false;
    for (const element of this.elements()) if (element.live) return false;
    return true;
  }

  /** Whether anything of the key is there that `op` has seen. */
  holdsSeenBy(op: Op): boolean {
    if (this.deadTypes !== ALL_TYPES) return true;
    for (const element of this.elements())
      for (const part of [...element.puts, ...element.increments]) if (saw(op, part.op)) return true;
    return this.opaques.some((opaque) => saw(op, opaque));
  }

  /** Whether `op`, a renewal, met an expiry and neither had seen the other. */
  contradictsExpiry(op: Op): boolean {
    return this.expiries.some((expiry) => !saw(op, expiry) && !saw(expiry, op));
  }

  /** An operation known only as a command: its result, whatever it had seen included, becomes base. */
  opaque(op: Op): void {
    for (const element of this.elements()) {
      removeSeen(element, op);
      element.baseDead = false;
    }
    if (this.opaques.length > 0) this.opaques = this.opaques.filter((opaque) => !saw(op, opaque));
    this.opaques = [...this.opaques, op];
    this.ttls = this.ttls.filter((ttl) => !saw(op, ttl.op));
    this.deadTypes = 0;
    this.ttlBaseDead = false;
  }

  hasOpaqueUnseenBy(op: Op): boolean {
    for (const opaque of this.opaques) if (opaque !== op && !saw(op, opaque)) return true;
    return false;
  }

  private removeOtherTypes(op: Op, type: Type): void {
    this.deadTypes |= ALL_TYPES & ~(1 << type);
    if (this.string !== null && type !== Type.string) {
      removeSeen(this.string, op);
      this.string.baseDead = true;
    }
    if (this.members !== null && (this.memberTypes & ~(1 << type)) !== 0)
      for (const element of this.members.values()) {
        if (element.type === type) continue;
        removeSeen(element, op);
        element.baseDead = true;
      }
  }
}

function removeSeen(element: Element, op: Op): void {
  const { puts, increments } = element;
  if (puts.length === 1) {
    if (puts[0]!.op === op || saw(op, puts[0]!.op)) element.puts = NONE;
  } else if (puts.length > 1) element.puts = puts.filter((put) => put.op !== op && !saw(op, put.op));
  if (increments.length > 0) element.increments = increments.filter((i) => i.op !== op && !saw(op, i.op));
}

const HASHES = 2 ** 16;

/** Keys whose operations are not yet seen by all members. */
export class Window {
  private readonly byDb: Map<string, KeyState>[] = [];
  private readonly sets: SetTable<KeyState>;
  /** How many states have a key with this hash, so that for most SETs no string has to be made to look for one. */
  private readonly statesByHash = new Uint16Array(HASHES);
  private readonly queues: FoldQueue[] = [];
  /** Keys that some operations of which are seen by all, but not those that they met. */
  private readonly lagging = new Set<KeyState>();
  /**
   * Earlier moments: what all had seen, and the last operation queued of each origin. The first is the latest of which
   * nothing is queued any more.
   */
  private readonly moments: { stable: Seen; queued: readonly number[] }[] = [{ stable: NONE, queued: NONE }];
  /** Operations not yet seen by all. */
  operations = 0;
  /** What every member has reported to have seen, by interned origin. */
  readonly stable: number[] = [];

  constructor(readonly origins: OriginTable) {
    this.sets = new SetTable(origins);
  }

  get keys(): number {
    let n = this.sets.keys;
    for (const map of this.byDb) n += map?.size ?? 0;
    return n;
  }

  find(db: number, key: string): KeyState | undefined {
    const state = this.byDb[db]?.get(key);
    if (state !== undefined || this.sets.keys === 0) return state;
    const head = this.sets.find(db, hashText(key), Buffer.from(key, 'latin1'));
    return head < 0 ? undefined : this.expand(head);
  }

  ensure(db: number, key: string): KeyState {
    let state = this.find(db, key);
    if (state === undefined) {
      state = new KeyState(db, key);
      this.add(state);
    }
    return state;
  }

  private add(state: KeyState): void {
    this.map(state.db).set(state.key, state);
    this.statesByHash[hashText(state.key) & (HASHES - 1)]!++;
  }

  /** Makes a state of a key of which nothing but SETs was known. */
  private expand(head: number): KeyState {
    const { db, key } = this.sets.keyOf(head);
    const state = new KeyState(db, key);
    const puts: Put[] = [];
    for (const { origin, position, stamp, seen, value } of this.sets.puts(head)) {
      const op = new Op(origin, position, stamp, seen);
      puts.push({ op, value });
      state.wipe(op);
      state.note(op);
      if (seenAt(this.stable, origin) >= position) state.lagging = true;
    }
    const element = state.element(Type.string, '');
    element.puts = puts;
    state.unstable = state.unstableKeyOps = this.sets.references(head);
    if (state.lagging) this.lagging.add(state);
    this.sets.leave(head, state);
    this.add(state);
    return state;
  }

  private map(db: number): Map<string, KeyState> {
    while (this.byDb.length <= db) this.byDb.push(new Map());
    return this.byDb[db]!;
  }

  *states(db?: number): IterableIterator<KeyState> {
    for (const head of this.sets.heads(db)) this.expand(head);
    for (let i = 0; i < this.byDb.length; i++) if (db === undefined || db === i) yield* this.byDb[i]!.values();
  }

  /**
   * Notes a plain SET of a key of which nothing but plain SETs is known.
   * @param meets whether it may meet SETs that it has not seen
   * @returns `complex` where there is more to it; nothing was noted then
   */
  set(db: number, source: SetSource, at: SetPlace, position: number, stamp: number, meets: boolean): SetOutcome {
    const { payload, origin } = source;
    const hash = hashBytes(payload, at.key, at.keyEnd);
    if (
      this.statesByHash[hash & (HASHES - 1)] !== 0 &&
      this.byDb[db]?.has(payload.toString('latin1', at.key, at.keyEnd)) === true
    )
      return SetOutcome.complex;
    const outcome = this.sets.set(db, hash, source, at, position, stamp, meets);
    if (outcome === SetOutcome.complex) return outcome;
    this.operations++;
    this.queue(origin).push(this.sets.head, position);
    return outcome;
  }

  private queue(origin: number): FoldQueue {
    while (this.queues.length <= origin) this.queues.push(new FoldQueue());
    return this.queues[origin]!;
  }

  /** Counts `op` as known on the key; `element` is null for what concerns the whole key. */
  note(state: KeyState, op: Op, element: Element | null): void {
    state.note(op);
    state.unstable++;
    if (element === null) state.unstableKeyOps++;
    else element.unstable++;
    this.operations++;
    this.queue(op.origin).pushOf(state, element, op.position);
  }

  /** The lowest position per origin that the window still needs; what is before may leave the journal. */
  lowWater(): Map<number, number> {
    const low = new Map<number, number>();
    for (let o = 0; o < this.queues.length; o++) {
      const first = this.queues[o]!.first();
      if (first !== undefined) low.set(o, first);
    }
    // Seen by all, and still needed: what is under way has not seen it, and is to be compared with it.
    const lower = (origin: number, position: number): void => {
      if ((low.get(origin) ?? Infinity) > position) low.set(origin, position);
    };
    const bound = this.boundOfSets();
    if (bound !== null) for (let o = 0; o < this.stable.length; o++) lower(o, seenAt(bound, o) + 1);
    for (const state of this.lagging) {
      state.eachHeld(lower);
      // Deletes too, of which the window has only the effect: Redis may not have it yet.
      if (state.isHeld) for (let o = 0; o < this.stable.length; o++) lower(o, seenAt(state.heldFrom, o) + 1);
    }
    return low;
  }

  /**
   * A SET that all have seen may still stand beside one that had not seen it. When that one came, not all had seen the
   * first: so none is older than what all had seen when the oldest operation that is still queued came.
   * @returns that, or what all had seen somewhat earlier; null where there is no such SET
   */
  private boundOfSets(): Seen | null {
    const { moments } = this;
    if (this.sets.keys === 0) {
      moments.splice(0, Infinity, { stable: this.stable.slice(), queued: NONE });
      return null;
    }
    const hasLeft = ({ queued }: { queued: readonly number[] }): boolean =>
      queued.every((position, o) => (this.queues[o]!.first() ?? Infinity) > position);
    moments.push({ stable: this.stable.slice(), queued: this.queues.map((queue) => queue.last() ?? -1) });
    while (moments.length > 1 && hasLeft(moments[1]!)) moments.shift();
    return moments[0]!.stable;
  }

  /** Before anything is noted: so far every member has seen the origin. */
  begin(origin: number, position: number): void {
    this.stabilise(origin, position);
    this.moments.splice(0, Infinity, { stable: this.stable.slice(), queued: NONE });
  }

  /** Every member has seen the origin's operations up to `position`. */
  stabilise(origin: number, position: number): void {
    while (this.stable.length <= origin) this.stable.push(-1);
    if (this.stable[origin]! >= position) return;
    this.stable[origin] = position;
    const queue = this.queues[origin];
    if (queue === undefined) return;
    for (;;) {
      const first = queue.first();
      if (first === undefined || first > position) return;
      const head = queue.shift();
      this.operations--;
      let state: KeyState;
      let element: Element | null = null;
      if (head >= 0) {
        const left = this.sets.release(head);
        if (left === undefined) continue;
        state = left;
      } else ({ state, element } = queue.shiftOf());
      state.unstable--;
      if (element === null) state.unstableKeyOps--;
      else element.unstable--;
      if (this.release(state)) continue;
      if (!state.lagging) {
        state.lagging = true;
        this.lagging.add(state);
      }
      if (element !== null && element.unstable === 0 && element.type !== Type.string) this.foldElement(state, element);
    }
  }

  /** Something begins to hold a key. */
  hold(state: KeyState): void {
    if (!state.isHeld) state.heldFrom = this.stable.slice();
  }

  /** Lets a key go of which all is seen by all: its value in Redis is then the base of whatever comes. */
  release(state: KeyState): boolean {
    if (state.unstable > 0 || state.isHeld) return false;
    const map = this.byDb[state.db];
    if (map?.get(state.key) === state) {
      map.delete(state.key);
      this.statesByHash[hashText(state.key) & (HASHES - 1)]!--;
    }
    if (state.lagging) this.lagging.delete(state);
    return true;
  }

  /**
   * An element of a key that others keep writing folds by itself, but only while nothing unstable concerns the whole
   * key: an operation folds when every member, *and every operation of that key in the window*, has seen it.
   */
  private foldElement(state: KeyState, element: Element): void {
    // With several types, which of them stands hangs on all that lives.
    if (state.unstableKeyOps > 0 || state.isHeld || state.onlyType !== element.type) return;
    state.members?.delete(element.type + element.name);
    state.deadTypes &= ~(1 << element.type);
  }

  /** Drops a settled key whose operations everybody has seen. */
  settle(state: KeyState): void {
    state.unsettled = false;
    state.ttlDoubted = false;
    state.settler = null;
    state.refusals = 0;
    this.release(state);
  }

  /** Forgets a database's keys (after FLUSHDB only what the flush had seen is gone: see core). */
  swap(a: number, b: number): void {
    this.map(Math.max(a, b));
    for (const db of [a, b]) for (const head of this.sets.heads(db)) this.expand(head);
    const states = this.byDb[a]!;
    this.byDb[a] = this.byDb[b]!;
    this.byDb[b] = states;
    for (const db of [a, b]) for (const state of this.byDb[db]!.values()) state.db = db;
  }
}

/** A queue of one origin's operations in stream order; a ring without an object per plain SET. */
class FoldQueue {
  /** Heads of the table of SETs; −1: the next of `others`. */
  private heads = new Int32Array(64);
  private positions = new Float64Array(64);
  private readonly others = new Deque<{ state: KeyState; element: Element | null }>();
  private head = 0;
  private size = 0;

  first(): number | undefined {
    return this.size === 0 ? undefined : this.positions[this.head];
  }

  last(): number | undefined {
    return this.size === 0 ? undefined : this.positions[(this.head + this.size - 1) & (this.positions.length - 1)];
  }

  push(head: number, position: number): void {
    if (this.size === this.positions.length) this.resize(this.size * 2);
    const at = (this.head + this.size++) & (this.positions.length - 1);
    this.heads[at] = head;
    this.positions[at] = position;
  }

  pushOf(state: KeyState, element: Element | null, position: number): void {
    this.others.push({ state, element });
    this.push(-1, position);
  }

  /** @returns the head; where it is −1, `shiftOf` has to follow */
  shift(): number {
    const head = this.heads[this.head]!;
    this.head = (this.head + 1) & (this.positions.length - 1);
    if (--this.size === 0 && this.positions.length > 65536) this.resize(64);
    return head;
  }

  shiftOf(): { state: KeyState; element: Element | null } {
    const other = this.others.at(0);
    this.others.drop(1);
    return other;
  }

  private resize(size: number): void {
    const old = this.positions.length - 1;
    const heads = new Int32Array(size);
    const positions = new Float64Array(size);
    for (let i = 0; i < this.size; i++) {
      heads[i] = this.heads[(this.head + i) & old]!;
      positions[i] = this.positions[(this.head + i) & old]!;
    }
    this.heads = heads;
    this.positions = positions;
    this.head = 0;
  }
}
