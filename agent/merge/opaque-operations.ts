/**
 * Operations that are known only as commands (lists, HyperLogLogs, APPEND, RENAME …): noted, and carried as they are while their keys are quiet.
 *
 * One that joins keys that its region keeps (policies) with others is *partial*: what it made of those nobody can make elsewhere, so its region sends
 * their states, and nobody else may.
 */
import type { Batch, BatchItem, GuardedItem } from './batch';
import type { Command } from './commands';
import { type Kept, keepCopy } from './kept-bytes';
import type { KeyState, Op } from './key-state';
import { formOf, type OpaqueForm, type Place } from './opaque-form';
import type { Part } from './opaque-log';
import type { Parts } from './parts';
import { seenAt } from './origins';
import { type OpRecord, regionOf } from '../record';
import { correctKey } from './resolve';
import { type CommandScanner, CommandWriter } from '../resp';
import { TOGETHER_MAX } from './settling';

/** An opaque command as it is noted: `run` is what runs again where it adds. */
export type Opaque = Omit<OpaqueForm, 'places'> & {
  readonly states: readonly KeyState[];
  /** Of these keys, those that get something. */
  readonly receivers: ReadonlySet<KeyState>;
  readonly run: Kept | null;
  readonly isPartial: boolean;
};

export class OpaqueOperations {
  constructor(private readonly parts: Parts) {}

  read(command: Command, scanner: CommandScanner, record: OpRecord, db: number): Opaque {
    // What a region that joins is given no client of it did.
    const policies = this.parts.base.isPlanned ? null : this.parts.policies;
    const all = formOf(command, scanner);
    const region = regionOf(record.origin);
    const isReplicated = (place: Place): boolean =>
      policies?.keeps(region, place.db ?? db, Buffer.from(place.key, 'latin1')) !== true &&
      this.parts.lastWriter?.governs(place.db ?? db, place.key) !== true;
    const places = policies === null ? all.places : all.places.filter(isReplicated);
    const isPartial = places.length < all.places.length;
    const form: OpaqueForm = isPartial ? { ...all, kind: 'gives', loose: null, places } : all;
    // What it has seen becomes commands that can run again, and so has to be here, whatever the shelf has of it.
    const states = form.places.map((place) => this.parts.flushes.stateFor(place.db ?? db, place.key));
    const receivers = new Set(states.filter((_, i) => form.places[i]!.receives));
    const { kind, loose, isPut } = form;
    let run: Kept | null = null;
    // The scanner was given the payload as a whole: what it has is in the same place there.
    if (kind === 'adds' && !this.parts.base.isPlanned)
      run = loose === null ? this.parts.kept.keep(record, scanner.start, scanner.end, 1) : keepCopy(loose, 1);
    return { kind, loose, isPut, states, receivers, run, isPartial };
  }

  /** Notes what an opaque operation is to one of its keys. */
  insert(state: KeyState, { kind, isPut, states, receivers, run }: Opaque, op: Op): void {
    const receives = receivers.has(state);
    const part: Part = {
      run: receives ? run : null,
      isLossy: receives && (kind === 'moves' || kind === 'gives'),
      isPut,
      moves: kind === 'moves' ? states : null,
      id: null,
    };
    if (this.parts.base.isPlanned) state.opaque(op);
    else state.opaque(op, part, this.parts.window.stable);
    if (states.length > 1 && states.length <= TOGETHER_MAX) state.link(states);
    this.parts.window.note(state, op, null);
  }

  /**
   * One of this region's own.
   * @param isApart whether its record says that it worked on a key that was unsettled; null: it may still be said
   * @returns whether it has to be
   */
  local(opaque: Opaque, op: Op, isApart: boolean | null): boolean {
    const later = this.parts.base.after(op);
    const { settling, notes, corrections, origins } = this.parts;
    const { states } = opaque;
    const { region } = this.parts;
    const raced = states.filter((state) => !state.isQuietFor(op));
    // It worked on another value than elsewhere. What only adds does so there all the same, but for what adds only to what is there.
    const isAstray = states.some((state) => state.unsettled || state.corrections > 0);
    const adds = opaque.kind === 'adds' && opaque.loose === null && states.length === 1;
    const tells = isAstray && raced.length === 0 && !adds && isApart !== true;
    for (const state of states) {
      this.insert(state, opaque, later);
      if (opaque.isPartial) settling.awaitOnly(state, origins.region(op.origin));
    }
    for (const state of raced) {
      notes.countKind('opaque');
      notes.note(state, { kind: 'opaque', keys: [state.key] }, later, []);
      settling.unsettleJoined(state, op);
      // It stands before a block that replaced the key: what it added is gone.
      if (state.isOverlaidUnseenBy(op)) corrections.writeAgain(state, op);
    }
    // Elsewhere it is left out, whichever of its keys that is for; where nobody can be told so, only this region has what it left.
    if (raced.length > 0 || isAstray || isApart === true)
      for (const state of states) settling.unsettle(state, tells && isApart === false ? region : null);
    return tells && isApart === null;
  }

  /** Another region's, that is in Redis already. */
  remember(opaque: Opaque, op: Op, isApart: boolean): void {
    const { settling, origins } = this.parts;
    const isRun = !isApart && opaque.states.every((state) => state.isQuietFor(op) && !state.unsettled);
    for (const state of opaque.states) this.insert(state, opaque, op);
    for (const state of opaque.states)
      if (opaque.isPartial) settling.awaitOnly(state, origins.region(op.origin));
      else if (!isRun) {
        settling.unsettle(state, null);
        if (!state.isQuietFor(op)) settling.unsettleJoined(state, op);
      }
  }

  /** Another region's. */
  plan(opaque: Opaque, scanner: CommandScanner, op: Op, db: number, batch: Batch, isApart: boolean): void {
    const { states } = opaque;
    if (opaque.isPartial) return this.remember(opaque, op, isApart);
    const isQuiet = !isApart && states.every((state) => state.isQuietFor(op) && !state.unsettled);
    const lacked = isQuiet ? this.lackedBy(states) : null;
    const { buf, start, end } = scanner;
    for (const state of states) this.insert(state, opaque, op);
    batch.select(db);
    const isAdded = opaque.kind === 'adds';
    // The region where it ran has its result, which is in no bytes.
    const { origins, region } = this.parts;
    const settler = opaque.kind === 'gives' ? origins.region(op.origin) : null;
    const loose = isAdded ? (opaque.loose ?? Buffer.from(buf.subarray(start, end))) : null;
    if (lacked !== null) {
      const corrects = lacked.commands > 0;
      lacked.raw(buf, start, end, 1);
      const { commands } = lacked;
      batch.guarded({ bytes: lacked.take(), commands, op, states, loose, settler, corrects });
      return;
    }
    this.parts.notes.countKind('verbatim');
    // Nobody else knows that it is left out where nothing had met it.
    const sender = settler ?? (isQuiet && loose === null ? region : null);
    for (const state of states) {
      if (!state.isQuietFor(op)) {
        this.parts.notes.note(state, { kind: 'opaque', keys: [state.key] }, op, []);
        this.parts.settling.unsettleJoined(state, op);
      }
      this.parts.settling.unsettle(state, sender);
    }
    if (loose === null) return;
    batch.select(db).raw(loose, 0, loose.length, 1);
  }

  /**
   * What keys lack in Redis, so that what comes next meets what it met where it ran; it is not known in which order that stands in the block
   * otherwise.
   * @returns null where that can't be told
   */
  private lackedBy(states: readonly KeyState[]): CommandWriter | null {
    const out = new CommandWriter(256);
    for (const state of states) {
      if (state.corrections === 0) continue;
      if (this.parts.corrections.hasArrived(state) || !state.isKnown) return null;
      correctKey(out, state, state.raced === 'all' ? null : state.raced, this.parts.origins);
      state.isDue = false;
    }
    return out;
  }

  /**
   * What of a block may still run, now that the own stream has been read up to the watch. Of two items on one key the later one does not run where the
   * first has not: it worked on what that left.
   * @param items the block's; taken from it is what may not run
   * @param left keys for which items of the block have not run, in earlier tries, too
   */
  admitAll(items: BatchItem[], left: Set<KeyState>): void {
    let kept = 0;
    for (const item of items) {
      const admitted = item.kind === 'guarded' ? this.admit(item, left) : item;
      if (admitted !== null) items[kept++] = admitted;
    }
    items.length = kept;
  }

  private admit(item: GuardedItem, left: Set<KeyState>): BatchItem | null {
    const { states, loose } = item;
    // Keys that are their last writer's are what it was planned on, or it is left out.
    if (states.every((state) => state.last !== null)) return states.some((state) => state.isAmiss) ? null : item;
    if (states.every((state) => !left.has(state) && this.isAsPlanned(state, item))) return item;
    for (const state of states) {
      left.add(state);
      if (item.corrects) this.parts.corrections.makeAnew(state);
      if (loose === null || !state.unsettled) this.parts.settling.unsettle(state, item.settler ?? state.settler);
    }
    return loose === null ? null : { kind: 'plain', bytes: loose, commands: 1 };
  }

  /** Whether a key is what it was when the item was planned, but for what is behind that in its batch. */
  private isAsPlanned(state: KeyState, { op, serial }: GuardedItem): boolean {
    if (state.unsettled && state.unsettledIn !== serial) return false;
    const { origins, region } = this.parts;
    // Of its own history, which this region may have lost the end of, it has seen all before it.
    for (let origin = 0; origin < origins.size; origin++)
      if (origin !== op.origin && origins.region(origin) === region)
        if (state.positionOf(origin) > seenAt(op.seen, origin)) return false;
    return true;
  }
}
