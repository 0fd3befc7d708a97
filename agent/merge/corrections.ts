/**
 * Keys that Redis may not have as the rule has them: clients wrote them while a block that had not seen it was on its way (they are *raced*), or a
 * state has arrived for them. What brings them to the rule's value runs under watch, after the own stream has been read.
 */
import type { Batch } from './batch';
import { Decimal, unitsOf } from './decimal';
import type { MissingEntry } from './difference';
import { writeEffect } from './effects';
import type { Kept } from './kept-bytes';
import { type Element, type KeyState, NONE, type Op, Type } from './key-state';
import type { StateOp } from './op';
import type { OriginTable } from './origins';
import { canRebuild, rebuildKey } from './rebuild';
import { correctKey, resolve, visibleType, writeElement, writeElements, writeTtl } from './resolve';
import { ELSEWHERE, type Settling } from './settling';
import type { StreamTrims } from './stream-trims';
import { placesFrom, type StreamEntry } from './stream-entries';
import { writeTrim } from './stream-write';
import type { Window } from './window';

/** Keys corrected in one block: all of them are watched meanwhile. */
const CORRECTIONS_MAX = 1000;

/** A key that is made anew by itself. */
export const ALONE: ReadonlySet<KeyState> = new Set();

/** A key's state, sent by a region, on its way into Redis. */
interface Arrived {
  readonly op: StateOp;
  readonly build: Kept;
  /** All keys that came with it: none is written without the others. */
  readonly together: ReadonlySet<KeyState>;
}

export class Corrections {
  private readonly raced = new Set<KeyState>();
  /** States that are to be written, with all keys of each. */
  private readonly arrived = new Map<KeyState, Arrived>();
  /** Entries of streams that are to be written, and of which nothing that is journalled tells that they have to be. */
  private readonly missing = new Map<KeyState, readonly string[]>();
  /** Keys whose corrections were taken and are not in Redis yet. */
  private correcting = 0;
  /** Keys whose corrections are in Redis, and were not read back yet, by their blocks. */
  private readonly unread: { readonly block: string; readonly states: readonly KeyState[] }[] = [];
  /** The last own block that was read back. */
  private lastRead = '';
  /** Corrections that had something to write. */
  count = 0;

  constructor(
    private readonly origins: OriginTable,
    private readonly window: Window,
    private readonly settling: Settling,
    private readonly trims: StreamTrims,
  ) {}

  /** Notes what of a key has to be looked at again; no elements: all of it. */
  race(state: KeyState, elements: readonly Element[] | null): void {
    if (!this.raced.has(state)) {
      this.raced.add(state);
      state.corrections++;
      state.correctedFrom = [...state.correctedFrom, this.window.stable.slice()];
    }
    if (elements === null || elements.length === 0) {
      this.window.bring(state);
      state.raced = 'all';
    } else if (state.raced !== 'all') {
      state.raced ??= new Set();
      for (const element of elements) state.raced.add(element);
    }
  }

  /**
   * Operations of a key have met: it is raced. Where they did so before a restart, one that had not seen all of what is not remembered may have met some of that, too:
   * all of it was over then, and the key would be corrected without. Another region tells what it is.
   */
  met(state: KeyState, elements: readonly Element[] | null): void {
    if (this.window.isPatchy(state)) this.settling.demandState(state.db, state.key, ELSEWHERE);
    else this.race(state, elements);
  }

  /** Has an entry of a stream written that was found to be missing from Redis. Until it is there, `missingEntries` tells of it. */
  lack(state: KeyState, entry: StreamEntry): void {
    this.race(state, placesFrom(state, entry, this.origins));
    const ids = this.missing.get(state) ?? NONE;
    if (!ids.includes(entry.name)) this.missing.set(state, [...ids, entry.name]);
  }

  /** Those that a start has to be told of once more. */
  missingEntries(): MissingEntry[] {
    return [...this.missing].flatMap(([{ db, key }, ids]) => ids.map((id) => ({ db, key, id })));
  }

  /** Has a key written as a whole: what is in Redis lacks something. */
  makeAnew(state: KeyState): void {
    state.isDue = true;
    this.race(state, null);
  }

  /**
   * An own operation stands before what replaced its key. Where that was a state that came with others' it may not have been written, and neither
   * were those: as when it arrived, all of them are or none.
   */
  writeAgain(state: KeyState, op: Op): void {
    const settled = state.settledUnseenBy(op, this.origins);
    const together = new Set(settled?.builds.keys());
    if (settled === null || together.size === 1 || [...together].some((other) => this.hasArrived(other)))
      return this.makeAnew(state);
    for (const [other, build] of settled.builds) this.arrive(other, { op: settled.op, build, together });
  }

  /** This region has told what its Redis has of a key: what was to be corrected before is that, or in it. */
  told(state: KeyState): void {
    this.arrived.delete(state);
    this.missing.delete(state);
    state.isDue = false;
    if (!this.withdraw(state)) return;
    state.raced = state.trimmed = null;
    state.owed = NONE;
    this.window.release(state);
  }

  /** Its next correction need not be. @returns false where there is none */
  private withdraw(state: KeyState): boolean {
    if (!this.raced.delete(state)) return false;
    state.corrections--;
    state.correctedFrom = state.correctedFrom.slice(0, -1);
    return true;
  }

  /** A state is to be written. */
  arrive(state: KeyState, arrived: Arrived): void {
    this.arrived.set(state, arrived);
    this.race(state, null);
  }

  hasArrived(state: KeyState): boolean {
    return this.arrived.has(state);
  }

  isRaced(state: KeyState): boolean {
    return this.raced.has(state);
  }

  /** Whether any key is to be corrected, or its correction has not been read back yet. */
  get areUnderWay(): boolean {
    return this.raced.size > 0 || this.correcting > 0 || this.unread.length > 0;
  }

  /**
   * Keys that clients wrote while a block that had not seen it was on its way, so many as go into one block. Given once; `corrected`
   * says when their correction is in Redis.
   */
  takeRaced(): KeyState[] {
    const raced: KeyState[] = [];
    for (const state of this.raced) {
      raced.push(state);
      this.raced.delete(state);
      state.owing = [...state.owing, ...state.owed];
      state.owed = NONE;
      if (raced.length === CORRECTIONS_MAX) break;
    }
    this.correcting += raced.length;
    return raced;
  }

  get racedKeys(): number {
    return this.raced.size;
  }

  /** Keys to be corrected. */
  keys(): Iterable<KeyState> {
    return this.raced;
  }

  /** Commands that bring a raced key to the rule's value. */
  correct(states: Iterable<KeyState>, batch: Batch): void {
    for (const state of states) {
      const before = batch.writer.commands;
      if (this.correctWhole(state, batch)) {
        if (batch.writer.commands > before) this.count++;
        continue;
      }
      if (state.unsettled && !state.isKnown) {
        // What a client has put is not missing, at least.
        if (state.raced !== null && state.raced !== 'all')
          for (const element of state.raced)
            // What it put before an opaque command is in that, and not here.
            if (element.live) writeElement(batch.select(state.db), state, element, this.origins);
        continue;
      }
      // Kept until the correction is in Redis: a client's write may make it be built once more.
      const { raced } = state;
      const elements = raced === 'all' ? null : raced;
      if (state.stream !== null) this.trims.wrote(state, elements ?? state.elements());
      correctKey(batch.select(state.db), state, elements, this.origins);
      for (const { type, name, delta, ...effect } of state.owing)
        // Where the rule's value is known it has been written, with this in it.
        if (!resolve(state.element(type, name), this.origins).known)
          writeEffect(batch.writer, { ...effect, type, name, delta: new Decimal(unitsOf(delta as bigint)) });
      if (state.trimmed !== null)
        writeTrim(batch.writer, state, { minId: state.trimmed, keep: [] }, NONE, this.origins);
      // It was left as Redis has it, which may be what lost.
      if (raced === 'all' && state.ttls.length > 0 && state.mayDifferInTtl) this.settling.doubt(state);
      if (batch.writer.commands > before) this.count++;
    }
  }

  /**
   * Writes a key as a whole, where a state is to be written or something is missing.
   * @returns false where it is to be corrected as others are
   */
  private correctWhole(state: KeyState, batch: Batch): boolean {
    const arrived = this.arrived.get(state);
    if (state.last !== null) {
      this.withdraw(state);
      state.last.write(batch.select(state.db), state, arrived, this.origins);
      return true;
    }
    if (arrived === undefined && (!state.isDue || state.isKnown)) return false;
    // What was raced since, up to here, is in it.
    this.withdraw(state);
    const { origins } = this;
    if (arrived === undefined) {
      this.settling.unsettle(state, null);
      if (canRebuild(state, origins, ALONE)) rebuildKey(batch.select(state.db), state, origins);
      return true;
    }
    const { op, build, together } = arrived;
    // What this region has told of meanwhile, or another state is to replace, does not go back to before what moved.
    const written = new Set([...together].filter((other) => this.arrived.get(other)?.op === op));
    const isWhole = [...written].every((other) => other.isLast(op) || canRebuild(other, origins, written));
    if (state.isLast(op)) {
      if (isWhole) batch.select(state.db).raw(build.bytes, 0, build.bytes.length, build.commands);
      else this.settling.unsettle(state, null);
      return true;
    }
    // What came behind it may have been run before it.
    if (!isWhole || state.hasOpaqueUnseenBy(op)) this.settling.unsettle(state, null);
    if (!isWhole) return true;
    const out = batch.select(state.db);
    if (state.log !== null || visibleType(state, origins) !== Type.stream) rebuildKey(out, state, origins);
    else {
      // With its groups, which are not among the elements.
      this.trims.wrote(state, state.elements());
      out.raw(build.bytes, 0, build.bytes.length, build.commands);
      writeElements(out, state, state.elements(), origins);
      writeTtl(out, state, origins);
    }
    return true;
  }

  /**
   * The corrections of these keys are in Redis.
   * @param block that they are in; absent: nobody reads it back
   */
  corrected(states: readonly KeyState[], block = this.lastRead): void {
    const isUnread = block !== this.lastRead && states.length > 0;
    if (isUnread) this.unread.push({ block, states });
    for (const state of states) {
      if (!this.raced.has(state)) {
        state.raced = state.trimmed = null;
        this.arrived.delete(state);
        this.missing.delete(state);
        state.isDue = false;
      }
      state.owing = NONE;
      state.corrections--;
      if (isUnread) state.unread++;
      else state.correctedFrom = state.correctedFrom.slice(1);
      this.correcting--;
      this.window.release(state);
    }
  }

  /** An own block was read back, and with it all that stands before it: flushes too, which no WATCH of a key that is not there has told of. */
  readBack(block: string): void {
    this.lastRead = block;
    const place = this.unread.findIndex((one) => one.block === block);
    for (const { states } of this.unread.splice(0, place + 1))
      for (const state of states) {
        state.unread--;
        state.correctedFrom = state.correctedFrom.slice(1);
        this.window.release(state);
      }
  }
}
