/**
 * What is known of one key, and what operations do to it. The merge rule, per element (a key's string, a hash field, a set
 * member, a sorted set's member):
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
 */
import { ALL_TYPES, type Delta, Element, type Increment, NONE, Op, ownBytes, saw, Type } from './element';
import type { ElementsAway } from './elements-away';
import type { Kept } from './kept-bytes';
import { type ElementParts, elementParts, type StateParts, type TtlPut } from './key-parts';
import type { LastWrites } from './last-writes';
import { ABSORB_FOLDS, OpaqueLog, type Part } from './opaque-log';
import { CarriedOp, removerOf, removes, StateOp } from './op';
import type { IncrementEffect } from './effects';
import { type OriginTable, raise, type Seen, seenAt } from './origins';
import { RUN, ShelvedPart } from './shelved-part';
import { HEAD, StreamEntry, StreamOrder } from './stream-entries';

export { ALL_TYPES, Element, type Increment, NONE, Op, ownBytes, type Put, saw, Type, TYPE_NAMES } from './element';

const NO_NAMES: ReadonlySet<string> = new Set();
/** Of a state, and of each operation noted on it: as the heap was seen to grow. */
const STATE_BYTES = 500;
const OPERATION_BYTES = 250;

export class KeyState {
  string: Element | null = null;
  /** Fields, members and entries, by type digit + name. */
  members: Map<string, Element> | null = null;
  /** Its entries in order, if it is a stream. */
  stream: StreamOrder | null = null;
  ttls: readonly TtlPut[] = NONE;
  /** Operations known only as commands (lists, streams, APPEND …), not yet seen by all. */
  opaques: readonly Op[] = NONE;
  /** The same as what can run again, and the values that they run on; null: nothing of that is known. */
  log: OpaqueLog | null = null;
  /** Redis is to get its value as a whole: it lacks something, or has what was deleted. */
  isDue = false;
  /** Deletes by clients that no later one has seen: a state that had not seen them counts for nothing. */
  deletions: readonly Op[] = NONE;
  /** Keys that an operation still in the window has joined with this one: they are settled together. */
  links: Set<KeyState> | null = null;
  /** EXPIRE and PERSIST by themselves, of which an operation known only as a command has left nothing else. */
  renewals: readonly Op[] = NONE;
  /** Expiries not yet seen by all: a renewal that had not seen one of them needs the key's state back. */
  expiries: readonly Op[] = NONE;
  /** Of these, those that a renewal of this region made void: it has what they removed elsewhere, until it has told it. */
  outlived: readonly Op[] = NONE;
  /** Bits of the types of which nothing in Redis from before the window counts any more. */
  deadTypes = 0;
  ttlBaseDead = false;
  /** Elements were removed, or a SET kept what it found: Redis has a say in the time to live (see `TtlPut.isDoubtful`). */
  ttlByRedis = false;
  /** The regions may differ in the time to live: this one looks, and says so if it has one. */
  ttlDoubted = false;
  /** Names of a hash's fields that this region has and others have seen expire: it has to tell them (field-ttl.ts). */
  keptFields: ReadonlySet<string> = NO_NAMES;
  /** Operations not yet seen by all. */
  unstable = 0;
  /** Of these, those about the whole key: deletes, opaque ones. While there are any, no element folds. */
  unstableKeyOps = 0;
  /** Of these, as in an element. */
  earlyKeyOps = 0;
  /** Elements whose operations all have seen, or many of them, and which could not fold when they had. */
  ready: Set<Element> | null = null;
  /** For what is about the key's time to live alone: no element waits for that. */
  private lifetime: Element | null = null;
  /** The regions' writes can't be merged element by element: the settler will send the key's state. */
  unsettled = false;
  /** It has been so since something was planned into the batch of this serial number; 0: for another reason. */
  unsettledIn = 0;
  /** The region that has to send it, when it isn't the usual one (see core). */
  settler: string | null = null;
  /** How often others have asked for the key's state while this region waited for theirs. */
  askedInVain = 0;
  /** This region has told what it has of it, for another one to send the state. */
  hasYielded = false;
  /** The one region whose state may settle it; null: any may. */
  onlySettler: string | null = null;
  /** Clients of this region have written it, and it is that one's (policy `region:`): what it was has to come from elsewhere. */
  trespassedOn: string | null = null;
  /** Of a key that is its last writer's (policy `lww`): what is known of its writes beside the operations, which are `opaques`. */
  last: LastWrites | null = null;
  /** How often Redis refused a command on it. */
  refusals = 0;
  /** Increments that Redis has refused, to be added as decimals: not yet, and with the correction that is on its way. */
  owed: readonly IncrementEffect[] = NONE;
  owing: readonly IncrementEffect[] = NONE;
  /** Elements that clients wrote beside a block that had not seen it; 'all' when it concerned the whole key. */
  raced: Set<Element> | 'all' | null = null;
  /** A client has trimmed the stream below this ID, and Redis may have left something. */
  trimmed: string | null = null;
  /** Corrections that have not reached Redis yet. Until then the key can't fold: its value in Redis is not the rule's. */
  corrections = 0;
  /** Corrections that are in Redis, and were not read back yet: a flush may stand before them. */
  unread = 0;
  /** What all members had seen when it became unsettled, or its time to live doubtful: all that came later is needed to decide again. */
  heldFrom: readonly number[] = NONE;
  /** The same of each correction that is under way or unread, oldest first. */
  correctedFrom: readonly (readonly number[])[] = NONE;
  /** Some of its operations are seen by all, but it can't leave the window yet. */
  lagging = false;
  /** It has what the shelf has of the key, too, but for elements that are there by themselves. */
  isWhole = false;
  /** These; null: there are none. */
  away: ElementsAway | null = null;
  /** It was written to the shelf: what still refers to it means nothing any more. */
  isGone = false;
  /** Bytes of memory for what it holds, roughly; of that, what the window has counted. */
  bytes = STATE_BYTES;
  countedBytes = 0;
  /** The first and the last removal, of elements or of all, by each origin since the key came into the window. */
  private removals: Map<number, { first: Op; last: Op }> | null = null;
  /** Of each origin the last trim or state, which replace or remove entries of a stream and are among no deletions. */
  private wipes: readonly Op[] = NONE;
  /** Bits of the types that `members` has ever held. */
  private memberTypes = 0;
  private linksMax = LINKS;
  /** It has an element that came with a state. */
  private isFromState = false;
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

  /** Whether `op` has seen every other operation known on this key, and none of its own origin came behind it. */
  isLast(op: Op): boolean {
    return this.isQuietFor(op) && this.positionOf(op.origin) <= op.position;
  }

  /** The highest position known of an origin's operations on this key, −1 for none. */
  positionOf(origin: number): number {
    if (this.tops !== null) return seenAt(this.tops, origin);
    return this.lastOrigin === origin ? this.lastPosition : -1;
  }

  note(op: Op): void {
    this.bytes += OPERATION_BYTES;
    if (this.tops !== null) {
      raise(this.tops, op.origin, op.position);
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

  /**
   * Of a key that is never at rest: what all have seen becomes base, where nothing that is here and not seen by all can still decide about it. Else it was kept, and the
   * journal from there on, as long as the key is written.
   * @param element what the operation was about that all have seen now
   * @param cut what all members have seen, and every operation that not all have
   */
  absorb(element: Element | null, stable: readonly number[], cut: readonly number[] = NONE): void {
    if (this.opaques.length > 0) this.absorbCommands(cut);
    const hot = element === this.lifetime ? this.string : element;
    const isDue = hot !== null && hot === this.findElement(hot.type, hot.name) && ++hot.folds >= ABSORB_FOLDS;
    if (!this.mayAbsorb) {
      if (isDue) (this.ready ??= new Set()).add(hot);
      return;
    }
    if (isDue) this.absorbElement(hot, stable);
    // A state that had not seen them would have come before all had.
    this.deletions = this.expiries = NONE;
    const [ttl] = this.ttls;
    if (this.ttls.length !== 1 || ttl === undefined || ttl.isDoubtful) return;
    if (ttl.op.position > seenAt(stable, ttl.op.origin)) return;
    if (this.string !== null && (this.string.puts.length > 0 || this.string.baseDead)) return;
    this.ttls = NONE;
    this.ttlBaseDead = false;
  }

  /** The same of a key that is known as commands: what is in `cut`, where all has seen it that may still replace the key, or be what stands of it. */
  private absorbCommands(cut: readonly number[]): void {
    const { log, string } = this;
    if (log !== null && !log.isDue()) return;
    if (this.isHeld || !this.isWhole || this.members !== null || this.last !== null) return;
    if (string !== null && string.puts.length + string.increments.length + string.removals.length > 0) return;
    const isOut = ({ origin, position }: Pick<Op, 'origin' | 'position'>): boolean => position > seenAt(cut, origin);
    const deletions = this.deletions.filter(isOut);
    if (log?.absorb(isOut, this.deletions, deletions) === false) return;
    this.deletions = deletions;
    this.expiries = this.expiries.filter(isOut);
    this.renewals = this.renewals.filter(isOut);
    this.opaques = this.opaques.filter(isOut);
    if (log?.isEmpty === true) this.log = null;
    if (deletions.length > 0 || this.log?.floors.length) return;
    // What is in Redis stands again.
    this.deadTypes = 0;
    if (string !== null) string.baseDead = false;
    if (this.ttls.every((ttl) => !ttl.isDoubtful && !isOut(ttl.op))) {
      this.ttls = NONE;
      this.ttlBaseDead = false;
    }
  }

  /** The same of one element. */
  absorbElement(element: Element, stable: readonly number[]): void {
    element.folds = 0;
    if (!this.mayAbsorb) return;
    const [ttl] = this.ttls;
    const [put] = element.puts;
    // Whether a string's time to live holds is said by its value.
    if (element.type === Type.string && put !== undefined && ttl !== undefined)
      if (put.op !== ttl.op && !saw(ttl.op, put.op)) return;
    if (element.absorb(({ origin, position }) => position <= seenAt(stable, origin)))
      this.deadTypes &= ~(1 << element.type);
  }

  private get mayAbsorb(): boolean {
    if (this.unstableKeyOps > 0 || this.isHeld || !this.isWhole || this.opaques.length > 0) return false;
    return this.isInParts && this.onlyType !== null;
  }

  /** What operations on the time to live count for in the window, so that they don't as such on the whole key. */
  get ofTtl(): Element {
    return (this.lifetime ??= new Element(Type.string, '', false));
  }

  element(type: Type, name: string): Element {
    if (type === Type.string) return (this.string ??= new Element(type, '', this.isBaseDead(type)));
    this.members ??= new Map();
    const id = type + name;
    let element = this.members.get(id);
    if (element === undefined) {
      if (type === Type.stream && name !== HEAD) {
        element = new StreamEntry(type, name, this.isBaseDead(type));
        (this.stream ??= new StreamOrder()).add(element as StreamEntry);
      } else {
        element = new Element(type, name, this.isBaseDead(type));
        element.isPartial = this.away !== null;
      }
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
    return this.isToBeTold || this.corrections > 0 || this.unread > 0;
  }

  /** A region has to tell of it, or that is not clear. */
  get isToBeTold(): boolean {
    return this.unsettled || this.ttlDoubted || this.keptFields.size > 0;
  }

  /** What all members had seen when each of what holds it now began; none: nothing does. */
  get neededFrom(): readonly (readonly number[])[] {
    const [corrected] = this.correctedFrom;
    const from = corrected === undefined ? [] : [corrected];
    if (this.isToBeTold) from.push(this.heldFrom);
    return from;
  }

  /** Calls `visit` for each operation that the window holds something of. */
  eachHeld(visit: (origin: number, position: number) => void): void {
    const op = (held: Op): void => {
      // What a state carries comes with it.
      const { origin, position } = removerOf(held);
      visit(origin, position);
    };
    for (const element of this.elements()) {
      element.removals.forEach(op);
      for (const put of element.puts) op(put.op);
      for (const increment of element.increments) {
        op(increment.op);
        increment.floors?.forEach((position, origin) => visit(origin, position));
      }
      for (const ttl of element.ttls) op(ttl.op);
    }
    for (const ttl of this.ttls) op(ttl.op);
    this.opaques.forEach(op);
    this.log?.eachOp(op);
    this.deletions.forEach(op);
    this.renewals.forEach(op);
    this.expiries.forEach(op);
  }

  // What operations do. Each removes what it has seen, then adds its own part.

  /** The element that `op` writes: the key is of its type for whoever has seen it. */
  begin(op: Op, type: Type, name: string): Element {
    this.removeOtherTypes(op, type);
    if (type !== Type.string) this.dropTtlOfEmptied(op, type);
    return this.element(type, name);
  }

  put(op: Op, type: Type, name: string, value: Buffer, keepTtl = false): Element {
    const by = removerOf(op);
    const element = this.begin(by, type, name);
    element.removeSeen(by);
    this.log?.dropElement(by, type + name);
    if (by instanceof StateOp) this.isFromState = true;
    const put = { op, value: ownBytes(value), ...(keepTtl ? { keepTtl } : {}) };
    if (!keepTtl) element.dropTtls(by);
    this.bytes += value.length + name.length;
    element.puts = element.puts.length === 0 ? [put] : [...element.puts, put];
    element.baseDead = true;
    return element;
  }

  increment(op: Op, type: Type, name: string, delta: Delta): Element {
    const element = this.begin(op, type, name);
    // In place: a hot counter has many.
    if (element.increments.length === 0) element.increments = [{ op, delta }];
    else element.increments.push({ op, delta });
    return element;
  }

  /** HPEXPIREAT, HPERSIST of one field. */
  setFieldTtl(op: Op, name: string, at: number | null): Element {
    const by = removerOf(op);
    this.removeOtherTypes(by, Type.hash);
    const element = this.element(Type.hash, name);
    element.dropTtls(by);
    element.ttls = [...element.ttls, { op, at }];
    return element;
  }

  /** HDEL, SREM, ZREM of one element. */
  remove(op: Op, type: Type, name: string): Element {
    this.removeOtherTypes(op, type);
    const element = this.element(type, name);
    element.removeBy(op);
    this.log?.dropElement(op, type + name);
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

  /** Notes a trim or a state, which may have removed all that is here. */
  noteWipe(op: Op): void {
    this.wipes = [...this.wipes.filter((wipe) => wipe.origin !== op.origin), op];
  }

  /** Whether a block that was made without `op` may have removed what it wrote. */
  isWipedUnseenBy(op: Op): boolean {
    return this.isReplacedUnseenBy(op) || this.wipes.some((wipe) => wipe !== op && !saw(op, wipe));
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
    if (op instanceof StateOp) this.noteWipe(op);
    for (const element of this.elements()) {
      element.removeSeen(op);
      element.dropTtls(op);
      element.baseDead = true;
    }
    if (this.opaques.length > 0) this.opaques = this.opaques.filter((opaque) => !saw(op, opaque));
    if (!(op instanceof StateOp)) this.log?.wipe(op);
    this.deadTypes = ALL_TYPES;
    if (keepTtl) {
      this.ttlByRedis = true;
      return;
    }
    if (this.ttls.length > 0) this.ttls = this.ttls.filter((ttl) => !removes(op, ttl.op));
    if (this.renewals.length > 0) this.renewals = this.renewals.filter((renewal) => !saw(op, renewal));
    this.ttlBaseDead = true;
  }

  setTtl(op: Op, at: number | null, alone: boolean): void {
    const by = removerOf(op);
    if (this.ttls.length > 0) this.ttls = this.ttls.filter((ttl) => !removes(by, ttl.op) && ttl.op !== op);
    if (this.renewals.length > 0) this.renewals = this.renewals.filter((renewal) => !saw(by, renewal));
    this.ttls = [...this.ttls, { op, at, alone, isDoubtful: false }];
    this.ttlBaseDead = true;
  }

  /** DEL, UNLINK, FLUSHDB, an expiry. */
  delete(op: Op): void {
    this.noteRemoval(op);
    this.wipe(op);
    if (!(op instanceof StateOp)) this.deletions = [...this.deletions.filter((earlier) => !saw(op, earlier)), op];
  }

  /** Its state as an operation had left it, where that is not merged element by element. */
  settle(op: StateOp, build: Kept): void {
    if (this.string !== null) this.shelve(this.string, op, NONE);
    this.delete(op);
    this.opaque(op);
    (this.log ??= new OpaqueLog()).lay({ op, build });
  }

  /**
   * The state that this key is by, and that `op` has not seen, with what came in it of other keys: what builds each. Null where there is none, or not all of
   * them are by it any more.
   */
  settledUnseenBy(op: Op, origins: OriginTable): { op: StateOp; builds: Map<KeyState, Kept> } | null {
    const floor = this.log?.highestFloor(origins);
    if (!floor || !(floor.op instanceof StateOp) || saw(op, floor.op)) return null;
    const builds = new Map<KeyState, Kept>();
    for (const state of [this as KeyState, ...(this.links ?? NONE)]) {
      const own = state.log?.floors.find((one) => one.op === floor.op);
      if (own === undefined) continue;
      if (own.build === null || state.log!.highestFloor(origins) !== own) return null;
      builds.set(state, own.build);
    }
    return { op: floor.op, builds };
  }

  /** A state is to tell of its elements: what made them is kept, where another state may come that had not seen it. */
  keepForOthers(op: StateOp, stable: readonly number[]): void {
    if (this.log === null || this.members === null) return;
    for (const element of this.members.values()) this.shelve(element, op, stable);
  }

  /** Whether a client replaced or deleted the whole key, and `op` has not seen it. */
  isReplacedUnseenBy(op: Op): boolean {
    if (this.deletions.some((deletion) => !saw(op, deletion))) return true;
    if (this.log?.hasValueUnseenBy(op) === true) return true;
    return this.string?.puts.some((put) => !(put.op instanceof StateOp) && !saw(op, put.op)) === true;
  }

  /** Whether anything replaces the whole key that `op` has not seen. */
  isOverlaidUnseenBy(op: Op): boolean {
    return this.isReplacedUnseenBy(op) || this.log?.hasFloorUnseenBy(op) === true;
  }

  /** Joins it with others that one operation reads or writes. */
  link(states: Iterable<KeyState>): void {
    this.links ??= new Set();
    for (const state of states) if (state !== this) this.links.add(state);
    if (this.links.size <= this.linksMax) return;
    for (const state of this.links) if (state.hasLeft) this.links.delete(state);
    this.linksMax = Math.max(LINKS, this.links.size * 2);
  }

  /** It has left the window, or could: every member holds the same. */
  get hasLeft(): boolean {
    return this.unstable === 0 && !this.isHeld;
  }

  /**
   * Whether `parts` is all that it knows. What can run again, and joins keys, stays in memory: it is bounded by itself. Of streams
   * entries may go one by one (`isOfEntries`).
   */
  get isInParts(): boolean {
    if (this.stream !== null || this.wipes.length > 0 || this.last !== null || this.outlived.length > 0) return false;
    return this.log === null && !this.isDue && this.links === null && this.renewals.length === 0 && !this.isFromState;
  }

  /** The type of its elements, where these stand for themselves, as when they fold: each may go to the shelf alone. Null: they don't. */
  get typeOfElements(): Type | null {
    const { onlyType } = this;
    return onlyType === -1 || onlyType === Type.string || !this.isByItself ? null : onlyType;
  }

  /** Whether nothing is known of the whole of it that not all have seen, and nothing that is in no parts. */
  get isByItself(): boolean {
    return this.unstableKeyOps === 0 && this.opaques.length === 0 && this.isInParts;
  }

  /** Whether nothing is known of it but entries of a stream that was there before, each of which may go by itself. */
  get isOfEntries(): boolean {
    if (this.wipes.length > 0 || this.last !== null || this.outlived.length > 0 || this.isDue) return false;
    if (this.log !== null || this.links !== null || this.opaques.length > 0 || this.isBaseDead(Type.stream))
      return false;
    return this.deletions.length === 0 && this.expiries.length === 0 && this.onlyType === Type.stream;
  }

  /** An entry leaves the window, or goes to the shelf. */
  removeEntry(entry: StreamEntry): void {
    this.stream!.fold(entry);
    const id = Type.stream + entry.name;
    if (this.members?.get(id) === entry) this.members.delete(id);
    this.bytes = Math.max(STATE_BYTES, this.bytes - OPERATION_BYTES - bytesOf(entry));
  }

  /** An element has come back from the shelf. */
  restored(element: Element): void {
    element.isPartial = false;
    this.bytes += OPERATION_BYTES * (1 + element.increments.length) + bytesOf(element);
  }

  /** Entries come back from the shelf. */
  restore(elements: StateParts['elements']): StreamEntry[] {
    const entries = elements.map(({ name, puts }) => {
      const entry = new StreamEntry(Type.stream, name, true);
      entry.puts = puts;
      this.members!.set(Type.stream + name, entry);
      this.bytes += OPERATION_BYTES + bytesOf(entry);
      return entry;
    });
    this.stream!.addAll(entries);
    return entries;
  }

  expire(op: Op): void {
    this.expiries = [...this.expiries.filter((expiry) => !saw(op, expiry)), op];
    this.delete(op);
  }

  /** An expiry that a renewal made void: what it removed is here nevertheless. */
  outlive(expiry: Op): void {
    this.deletions = this.deletions.filter((deletion) => deletion !== expiry);
    this.outlived = [...this.outlived, expiry];
  }

  /** A state has come. @returns whether what it tells of was removed elsewhere by an expiry that it had not seen, and not here */
  isOutlivedBeside(op: StateOp): boolean {
    if (this.outlived.length > 0) this.outlived = this.outlived.filter((expiry) => !saw(op, expiry));
    return this.outlived.length > 0;
  }

  /** Whether nothing counts any more of what was there before the window. */
  get isReplaced(): boolean {
    return this.deadTypes === ALL_TYPES && this.opaques.length === 0;
  }

  /** Whether the window knows what was done to the key element by element. */
  get isByElement(): boolean {
    return this.isKnown && !this.unsettled;
  }

  /** Whether nothing is known of it but operations on elements and on the whole key. */
  get isKnown(): boolean {
    return this.opaques.length === 0;
  }

  /** Its value in Redis is known not to be the rule's, or about to be decided by a state. */
  get isAmiss(): boolean {
    return this.unsettled || this.corrections > 0;
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

  /**
   * Whether a client has removed what a state carries, and the state had not seen that.
   * @param element null: the time to live of a string
   */
  isRemovedBeside(op: CarriedOp, element: { type: Type; name: string } | null): boolean {
    // Of states it is said by their own operations.
    const isBy = (by: Op): boolean =>
      !(by instanceof StateOp || by instanceof CarriedOp) && saw(by, op) && !saw(op.carrier, by);
    if (this.deletions.some(isBy)) return true;
    if (element === null)
      return (
        this.ttls.some((ttl) => isBy(ttl.op)) ||
        this.string?.puts.some((put) => put.keepTtl !== true && isBy(put.op)) === true
      );
    const { type, name } = element;
    const isIn = ({ puts, removals }: Element): boolean => removals.some(isBy) || puts.some((put) => isBy(put.op));
    const own = this.findElement(type, name);
    if (own !== undefined && isIn(own)) return true;
    if (this.onlyType === type || this.onlyType === -1) return false;
    for (const other of this.elements()) if (other.type !== type && isIn(other)) return true;
    return false;
  }

  /** Whether `op`, a renewal, met an expiry and neither had seen the other. */
  contradictsExpiry(op: Op): boolean {
    return this.expiries.some((expiry) => !saw(op, expiry) && !saw(expiry, op));
  }

  /**
   * An operation known only as a command: its result, whatever it had seen included, becomes base.
   * @param part what is kept of it, to make the key anew; absent: nothing
   * @param stable what all members have seen
   */
  opaque(op: Op, part?: Part, stable: readonly number[] = NONE): void {
    for (const element of this.elements()) {
      if (part !== undefined) this.shelve(element, op, stable);
      element.removeSeen(op);
      element.dropTtls(op);
      element.baseDead = false;
    }
    if (part !== undefined && (part.run !== null || part.isLossy))
      (this.log ??= new OpaqueLog()).add(op, part, stable, this.deletions);
    if (this.opaques.length > 0) this.opaques = this.opaques.filter((opaque) => !saw(op, opaque));
    this.opaques = [...this.opaques, op];
    if (this.ttls.length > 0) {
      const renewals = this.ttls.filter((ttl) => ttl.alone && saw(op, ttl.op)).map((ttl) => ttl.op);
      if (renewals.length > 0) this.renewals = [...this.renewals, ...renewals];
      this.ttls = this.ttls.filter((ttl) => !saw(op, ttl.op));
    }
    this.deadTypes = 0;
    this.ttlBaseDead = false;
  }

  /** What becomes base by an operation, kept as commands that make it once more. */
  private shelve(element: Element, op: Op, stable: readonly number[]): void {
    const isSeen = (part: Op): boolean => part === op || saw(op, part);
    const { type } = element;
    const id = type === Type.string ? null : type + element.name;
    for (const put of element.puts) {
      if (!isSeen(put.op)) continue;
      const by = removerOf(put.op);
      const run = new ShelvedPart(this.key, element, put);
      const log = (this.log ??= new OpaqueLog());
      if (id === null) log.lay({ op: by, build: run });
      else log.add(by, { ...RUN, run, id }, stable, this.deletions);
    }
    for (const increment of element.increments)
      if (isSeen(increment.op)) {
        const run = new ShelvedPart(this.key, element, increment);
        (this.log ??= new OpaqueLog()).add(increment.op, { ...RUN, run, id }, stable, this.deletions);
      }
  }

  hasOpaqueUnseenBy(op: Op): boolean {
    for (const opaque of this.opaques) if (opaque !== op && !saw(op, opaque)) return true;
    return false;
  }

  /** All that it knows, to be kept elsewhere. Not what is under way for the key: that has to be over. */
  get parts(): StateParts {
    const { db, key, isWhole, ttls, opaques, expiries, deletions, deadTypes, ttlBaseDead, ttlByRedis, removals } = this;
    const tops = this.tops ?? [];
    if (this.tops === null && this.lastOrigin >= 0) {
      while (tops.length <= this.lastOrigin) tops.push(-1);
      tops[this.lastOrigin] = this.lastPosition;
    }
    const elements = Array.from(this.elements(), elementParts);
    const ofKey = { ttls, opaques, expiries, deletions, deadTypes, ttlBaseDead, ttlByRedis, removals };
    return { db, key, isWhole, elements, ...ofKey, tops };
  }

  /**
   * Takes out the elements, and the increments of others, about which nothing newer is known than the positions in `until`: to what stays
   * they are base. For a key that is written all the time, whose newest operations not everybody has seen yet. Increments go only where all that is
   * newer of their element has seen them: else that could become base before they do. It is for where elements stand for themselves, as when they fold.
   */
  split(until: Seen): (ElementParts & { isPartial: boolean })[] {
    const isOld = ({ origin, position }: Op): boolean => position <= seenAt(until, origin);
    const taken: (ElementParts & { isPartial: boolean })[] = [];
    let types = 0;
    for (const element of this.elements()) {
      const { type, name, puts, increments, ttls, removals, isPartial } = element;
      const old = increments.filter(({ op }) => isOld(op));
      const isAll = old.length === increments.length && [...puts, ...ttls].every(({ op }) => isOld(op));
      if (isAll && removals.every(isOld)) {
        taken.push({ ...elementParts(element), isPartial });
        if (type === Type.string) this.string = null;
        else this.members!.delete(type + name);
      } else if (puts.length === 0 && old.length > 0 && isSeenByAllElse(old, element, isOld)) {
        taken.push({ ...elementParts(element), increments: old, ttls: NONE, removals: NONE, isPartial });
        element.increments = increments.filter(({ op }) => !isOld(op));
        element.baseDead = false;
        element.isPartial = true;
      } else continue;
      types |= 1 << type;
    }
    // As where they fold: what stays may be base before this is, and this comes back under it.
    this.deadTypes &= ~types;
    return taken;
  }

  /** What it takes, looked at anew: operations come, and others are dead by them. */
  measure(): number {
    let bytes = STATE_BYTES;
    for (const { name, puts, increments } of this.elements()) {
      bytes += OPERATION_BYTES + name.length + increments.length * OPERATION_BYTES;
      for (const { value } of puts) bytes += OPERATION_BYTES + value.length;
    }
    return (this.bytes = bytes + (this.ttls.length + this.opaques.length + this.expiries.length) * OPERATION_BYTES);
  }

  /** Takes in what was known of the key earlier: every operation here has seen all of it. */
  underlay(older: StateParts): void {
    // What an opaque operation had seen is in its result.
    if (this.opaques.length === 0) {
      for (const element of older.elements) this.underlayElement(element);
      if (older.deadTypes !== 0)
        for (const element of this.elements()) element.baseDead ||= (older.deadTypes & (1 << element.type)) !== 0;
      if (!this.isReplaced) this.opaques = older.opaques;
      this.deadTypes |= older.deadTypes;
      if (!this.ttlBaseDead) {
        // Whether what came later found or kept them is not known.
        const isDoubtful = this.ttlByRedis || this.removals !== null;
        const ttls = isDoubtful ? older.ttls.map((ttl) => ({ ...ttl, isDoubtful })) : older.ttls;
        this.ttls = [...ttls, ...this.ttls];
        this.ttlBaseDead = older.ttlBaseDead;
      }
      this.ttlByRedis ||= older.ttlByRedis;
    }
    if (this.expiries.length === 0) this.expiries = older.expiries;
    if (this.deletions.length === 0) this.deletions = older.deletions;
    for (const [origin, { first, last }] of older.removals ?? []) {
      this.removals ??= new Map();
      this.removals.set(origin, { first, last: this.removals.get(origin)?.last ?? last });
    }
    older.tops.forEach((position, origin) => {
      if (position >= 0) this.note(new Op(origin, position, 0, NONE));
    });
    this.isWhole = older.isWhole;
  }

  /** The same of one element. */
  underlayElement({ type, name, puts, increments, ttls, removals, baseDead }: ElementParts): void {
    if (this.opaques.length > 0) return;
    const known = this.findElement(type, name);
    // A later one replaced it, or a put that did not keep it, or a removal.
    const keepsTtl = known?.ttls.length === 0 && (!known.baseDead || known.puts.some((put) => put.keepTtl === true));
    if (keepsTtl) known.ttls = ttls;
    if (known === undefined ? this.isBaseDead(type) : known.baseDead) return;
    const element = this.element(type, name);
    if (known === undefined) element.ttls = ttls;
    if (element.removals.length === 0) element.removals = removals;
    element.puts = [...puts, ...element.puts];
    element.increments = [...increments, ...element.increments];
    element.baseDead = baseDead;
  }

  /** It is on the shelf now, and holds nothing any more. */
  vanish(): void {
    this.isGone = true;
    this.string = this.members = this.stream = this.removals = this.ready = null;
    this.ttls = this.opaques = this.expiries = this.deletions = NONE;
  }

  /** An operation of one type removes what it has seen of the others. */
  removeOtherTypes(op: Op, type: Type): void {
    this.deadTypes |= ALL_TYPES & ~(1 << type);
    if (this.string !== null && type !== Type.string) {
      this.string.removeSeen(op);
      this.string.baseDead = true;
    }
    if (this.members !== null && (this.memberTypes & ~(1 << type)) !== 0)
      for (const element of this.members.values()) {
        if (element.type === type) continue;
        element.removeSeen(op);
        element.baseDead = true;
      }
  }
}

/** Whether all of an element that is not old has seen these increments. */
function isSeenByAllElse(old: readonly Increment[], { increments, removals }: Element, isOld: (op: Op) => boolean) {
  const tops: number[] = [];
  for (const { op } of old) raise(tops, op.origin, op.position);
  const isBehind = (op: Op): boolean =>
    isOld(op) || tops.every((top, origin) => origin === op.origin || top <= seenAt(op.seen, origin));
  return removals.every(isBehind) && increments.every(({ op }) => isBehind(op));
}

function bytesOf({ name, puts }: Element): number {
  return puts.reduce((sum, { value }) => sum + value.length, name.length);
}

/** With more keys than that joined with one, those that have left the window are looked for. */
const LINKS = 32;
