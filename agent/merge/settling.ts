/**
 * Keys that only a state can settle: regions' writes met that can't be merged element by element, or something is known to be missing. One region
 * sends what it holds (session/settle.ts); which one follows from the regions that can be reached.
 */
import type { ConflictPolicies } from '../../model';
import type { Effect } from './effects';
import { keptBy } from './field-ttl';
import { type Element, type KeyState, NONE, type Op, Type } from './key-state';
import type { OriginTable } from './origins';
import { highestTtl } from './resolve';
import type { Window } from './window';

/** As the region that is to send a key's state: any but this one. */
export const ELSEWHERE = '*';

/** So often a region is asked for a state that others have to come before, and then goes on without: they wait for it. They ask once a second. */
const ASKED_MAX = 20;

/** Keys that are settled together are no more than that. */
export const TOGETHER_MAX = 64;

export class Settling {
  private readonly unsettled = new Set<KeyState>();
  /** Keys whose times to live may differ between the regions. */
  private readonly doubted = new Set<KeyState>();
  /** Keys of which this region has fields that expired elsewhere. */
  private readonly keeping = new Set<KeyState>();
  /** The batch that is being planned into, by its serial number; 0: none. */
  planning = 0;
  /** The region's Redis lacks what was flushed in it: it sends no states, others do. */
  isEmptied = false;

  /**
   * @param policies by which regions own keys; null: none does
   * @param index indexes by key what is known and is not yet
   */
  constructor(
    private readonly region: string,
    private readonly policies: ConflictPolicies | null,
    private readonly members: readonly string[],
    private readonly origins: OriginTable,
    private readonly window: Window,
    private readonly index: () => void,
  ) {}

  /** @param settler the region that has to send the state; null: the usual one */
  unsettle(given: KeyState, settler: string | null): void {
    this.index();
    // It may have left the window while the batch that it was planned in waited.
    const state = this.window.ensure(given.db, given.key);
    this.window.hold(state);
    if (!state.unsettled || this.planning === 0) state.unsettledIn = this.planning;
    state.unsettled = true;
    if (settler !== null && state.settler !== ELSEWHERE) state.settler = settler;
    this.unsettled.add(state);
  }

  /**
   * An operation met others of the key that it had not seen. What they moved between this key and others is left out elsewhere, for this
   * key's sake: nobody tells of the others there.
   */
  unsettleJoined(state: KeyState, op: Op): void {
    // A key's log may be long, and after a partition they are soon all unsettled.
    const others = [...(state.links ?? NONE)].filter((other) => !other.unsettled);
    if (others.length === 0) return;
    for (const holder of [state, ...others])
      for (const joined of holder.log?.movedUnseenBy(op, state) ?? NONE)
        if (joined !== state && !joined.unsettled) this.unsettle(joined, null);
  }

  /** Only this region can tell what the key is: another's state would undo what was done there. Of several it is the first by name. */
  awaitOnly(given: KeyState, region: string): void {
    this.unsettle(given, region);
    const state = this.window.ensure(given.db, given.key);
    if (this.members.includes(region) && (state.onlySettler === null || region < state.onlySettler))
      state.onlySettler = region;
  }

  /** Only the region that wrote it last can tell what a key is; null: it is gone, or has lost that itself. */
  awaitLast(given: KeyState, region: string | null): void {
    this.unsettle(given, null);
    const state = this.window.ensure(given.db, given.key);
    state.onlySettler = region;
    state.settler = region === null ? ELSEWHERE : region;
  }

  /** Whether what this region has of a key is not to be told. */
  isOthers({ trespassedOn, onlySettler }: KeyState): boolean {
    return trespassedOn !== null || (onlySettler !== null && onlySettler !== this.region);
  }

  /** A key that another region owns is not what that has made of it: it is put back to a state from elsewhere, its owner's if that can be reached. */
  putBack(given: KeyState, owner: string): void {
    this.unsettle(given, ELSEWHERE);
    this.window.ensure(given.db, given.key).trespassedOn = owner;
  }

  /** Its owner has replaced the whole of it. */
  replaced(state: KeyState): void {
    if (state.trespassedOn !== null && state.onlySettler === null) this.settled(state);
  }

  /** Keys that wait to be put back. */
  get trespassedKeys(): number {
    let n = 0;
    if (this.policies?.haveOwners === true) for (const state of this.unsettled) if (state.trespassedOn !== null) n++;
    return n;
  }

  private ownerOf(db: number, key: string): string | null {
    return this.policies?.ownerOf(db, Buffer.from(key, 'latin1')) ?? null;
  }

  /**
   * Keys waiting for a state that this region has to send. `live`: the regions that can be reached, this one included.
   * Of those that are not `unsettled` but have `keptFields` only these are sent. Of others only the time to live is in doubt: it is sent if there is one,
   * and if not the core is told that it `foundNoTtl`.
   */
  toSettle(live: readonly string[]): KeyState[] {
    const states = [...this.unsettled].filter((state) => this.settlerOf(state, live) === this.region);
    for (const state of this.keeping) if (!state.unsettled) states.push(state);
    for (const state of this.doubted) if (!state.unsettled && !this.keeping.has(state)) states.push(state);
    return states;
  }

  /** The keys that are settled together with one: all that operations still in the window join with it. */
  joinedWith(state: KeyState): KeyState[] {
    const joined = new Set([state]);
    for (const { links } of joined)
      for (const other of links ?? NONE)
        if (joined.size < TOGETHER_MAX && this.isJoined(other, state)) joined.add(other);
    return [...joined];
  }

  /** Whether an operation that was read since has joined more with a key: what that moved is in none of these states. */
  isJoinedWithMore(state: KeyState, states: readonly KeyState[]): boolean {
    return state.unsettled && this.joinedWith(state).some((other) => !states.includes(other));
  }

  /**
   * Of keys that are settled together one only this region can tell, and another one only another region: neither tells both. After a while the first of
   * these by name does, and gets what this region has of its own as something added: nothing is lost by that, and elements of lists may be there twice.
   * @param states what is joined with it
   * @returns that region; null: none, or not yet
   */
  yieldsTo(state: KeyState, states: readonly KeyState[]): string | null {
    if (!state.unsettled || state.hasYielded || state.askedInVain <= ASKED_MAX || this.isOthers(state)) return null;
    // Where clients of others have written it nobody else tells it.
    if (this.ownerOf(state.db, state.key) === this.region) return null;
    let first: string | null = null;
    for (const { onlySettler } of states)
      if (onlySettler !== null && onlySettler !== this.region && (first === null || onlySettler < first))
        first = onlySettler;
    return first !== null && first < this.region ? first : null;
  }

  /** What this region has of a key has been told: another one is to send its state, and is asked for it. */
  yielded(state: KeyState, to: string): void {
    state.onlySettler = null;
    state.settler = to;
    state.hasYielded = true;
  }

  private isJoined(other: KeyState, state: KeyState): boolean {
    return other.db === state.db && !other.isGone && !other.hasLeft && other.trespassedOn === null;
  }

  /**
   * This region has looked, and has no time to live. Where one may hold all the same, the region that gave it knows whether
   * it does: it may be sure of it, and then says nothing by itself.
   */
  foundNoTtl(state: KeyState): void {
    const ttl = highestTtl(state, this.origins);
    this.assured(state);
    if (ttl !== null && ttl.isDoubtful && ttl.at !== null) this.unsettle(state, this.origins.region(ttl.op.origin));
  }

  assured(state: KeyState): void {
    state.ttlDoubted = false;
    this.doubted.delete(state);
    this.window.release(state);
  }

  /** Keys that wait for a state from another region, by region. */
  awaited(live: readonly string[]): Map<string, KeyState[]> {
    const awaited = new Map<string, KeyState[]>();
    for (const state of this.unsettled) {
      const settler = this.settlerOf(state, live);
      if (settler === null || settler === this.region) continue;
      const states = awaited.get(settler);
      if (states === undefined) awaited.set(settler, [state]);
      else states.push(state);
    }
    return awaited;
  }

  /** The region that is to send a key's state; null: nobody who could. */
  settlerOf(state: KeyState, live: readonly string[]): string | null {
    const { onlySettler, trespassedOn } = state;
    if (trespassedOn !== null && live.includes(trespassedOn)) return trespassedOn;
    if (onlySettler !== null && !(onlySettler === this.region && this.isEmptied)) return onlySettler;
    const isElsewhere = state.settler === ELSEWHERE || trespassedOn !== null || this.isEmptied;
    const able = isElsewhere ? live.filter((region) => region !== this.region) : live;
    if (state.settler !== null && able.includes(state.settler)) return state.settler;
    return able.reduce<string | null>((lowest, region) => (lowest === null || region < lowest ? region : lowest), null);
  }

  /** Keys whose value here is not to be trusted: another region has to send their state. */
  awaitedElsewhere(): KeyState[] {
    // Of a last writer's key operations are left out as its state is to come: after a restart they seem to be in Redis.
    const isAwaited = ({ settler, trespassedOn, last, onlySettler }: KeyState): boolean =>
      settler === ELSEWHERE ||
      trespassedOn !== null ||
      (last !== null && onlySettler !== null && onlySettler !== this.region);
    return [...this.unsettled].filter(isAwaited);
  }

  get unsettledKeys(): number {
    return this.unsettled.size + this.doubted.size + this.keeping.size;
  }

  /**
   * Asks for a key's state to be sent by a region, though nothing is known to be wrong with it here.
   * @param settler a region, or ELSEWHERE
   */
  demandState(db: number, key: string, settler: string): void {
    const owner = this.ownerOf(db, key);
    const state = this.window.ensure(db, key);
    if (settler === ELSEWHERE && owner !== null && owner !== this.region) this.putBack(state, owner);
    else this.unsettle(state, settler);
  }

  /**
   * Another region asks for a key's state. Where each waits for the other's, its owner sends its own, or else the first by name. Where this one waits for a
   * third one's, which that other can't reach, both get that: two states that have not seen each other would settle nothing, again and again. Where they wait in a
   * circle, this one does after a while.
   * @param live the regions that can be reached, this one included
   */
  askedFor(db: number, key: string, by: string, live: readonly string[]): void {
    const { region } = this;
    const state = this.window.ensure(db, key);
    const isOwner = this.ownerOf(db, key) === region;
    state.askedInVain++;
    const settler = state.unsettled && state.settler !== ELSEWHERE && !isOwner ? this.settlerOf(state, live) : null;
    const isThirds = settler !== null && settler !== region && settler !== by && state.askedInVain <= ASKED_MAX;
    const isFirst = isOwner || region < by || state.askedInVain > ASKED_MAX;
    if (state.settler === ELSEWHERE && state.trespassedOn === null && isFirst) state.settler = null;
    // Who alone could tell what it is asks for it: it can't tell, either. Of a last write both may have lost it.
    if (state.onlySettler === by && (state.last === null || region < by)) state.onlySettler = state.settler = null;
    this.unsettle(state, state.hasYielded || isThirds ? null : region);
  }

  /** After an operation met ones that it had not seen: is the element-wise rule enough? */
  check(state: KeyState, effect: Effect, op: Op, touched: readonly Element[]): void {
    if (effect.kind === 'opaque' || state.hasOpaqueUnseenBy(op)) {
      this.unsettle(state, null);
      this.unsettleJoined(state, op);
    } else if (effect.kind === 'ttl') {
      // A client of this region gave more time to what elsewhere had expired: it was here, so its state goes out again.
      const { region } = this;
      if (this.origins.region(op.origin) === region && state.contradictsExpiry(op)) this.unsettle(state, region);
    } else if (effect.kind === 'field-ttl' || effect.kind === 'remove') {
      for (const element of touched)
        if (element.isContested && keptBy(element, this.region, this.origins) !== null) this.keep(state, element.name);
    } else if (effect.kind === 'increment' && typeof effect.delta === 'number' && !Number.isInteger(effect.delta)) {
      // The order of additions shows in a double's last digit, and what is in the base can't be reordered.
      const element = state.findElement(effect.type, effect.name);
      if (element !== undefined && element.puts.length === 0) this.unsettle(state, null);
    }
    const removes = effect.kind === 'delete' || effect.kind === 'expire';
    if (state.mayDifferInTtl && (!removes || state.ttls.length > 0)) this.doubt(state);
  }

  doubt(state: KeyState): void {
    this.window.hold(state);
    state.ttlDoubted = true;
    this.doubted.add(state);
  }

  /** This region has a field that expired elsewhere, and tells what it is. */
  private keep(state: KeyState, name: string): void {
    this.window.hold(state);
    state.keptFields = new Set(state.keptFields).add(name);
    this.keeping.add(state);
  }

  /** Of the fields that a key has to tell, those that this region keeps, and by which operation each. */
  keptFields(state: KeyState): Map<string, Op> {
    const kept = new Map<string, Op>();
    for (const name of state.keptFields) {
      const element = state.findElement(Type.hash, name);
      const op = element === undefined ? null : keptBy(element, this.region, this.origins);
      if (op !== null) kept.set(name, op);
    }
    return kept;
  }

  /** These fields were told, or are not there. */
  toldFields(state: KeyState, names: Iterable<string>): void {
    if (state.keptFields.size === 0) return;
    const left = new Set(state.keptFields);
    for (const name of names) left.delete(name);
    state.keptFields = left;
    if (left.size > 0) return;
    this.keeping.delete(state);
    this.window.release(state);
  }

  /** Its state has come, and there is nothing that it had not seen. */
  settled(state: KeyState): void {
    this.unsettled.delete(state);
    this.doubted.delete(state);
    this.window.settle(state);
  }
}
