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

  /** One of this region's own. */
  local(opaque: Opaque, op: Op): void {
    const later = this.parts.base.after(op);
    for (const state of opaque.states) {
      const quiet = state.isQuietFor(op);
      this.insert(state, opaque, later);
      if (opaque.isPartial) this.parts.settling.awaitOnly(state, this.parts.origins.region(op.origin));
      if (quiet) {
        // A correction was on its way: here it worked on another value than elsewhere.
        if (state.corrections > 0) this.parts.settling.unsettle(state, null);
        continue;
      }
      this.parts.notes.countKind('opaque');
      this.parts.notes.note(state, { kind: 'opaque', keys: [state.key] }, later, []);
      this.parts.settling.unsettle(state, null);
      // It stands before a block that replaced the key: what it added is gone.
      if (state.isOverlaidUnseenBy(op)) this.parts.corrections.makeAnew(state);
    }
  }

  /** Another region's, that is in Redis already. */
  remember(opaque: Opaque, op: Op): void {
    for (const state of opaque.states) {
      const quiet = state.isQuietFor(op);
      this.insert(state, opaque, op);
      if (opaque.isPartial) this.parts.settling.awaitOnly(state, this.parts.origins.region(op.origin));
      else if (!quiet) this.parts.settling.unsettle(state, null);
    }
  }

  /** Another region's. */
  plan(opaque: Opaque, scanner: CommandScanner, op: Op, db: number, batch: Batch): void {
    const { states } = opaque;
    if (opaque.isPartial) return this.remember(opaque, op);
    const isQuiet = states.every((state) => state.isQuietFor(op) && !state.unsettled);
    const lacked = isQuiet ? this.lackedBy(states) : null;
    const { buf, start, end } = scanner;
    for (const state of states) this.insert(state, opaque, op);
    batch.select(db);
    const isAdded = opaque.kind === 'adds';
    // The region where it ran has its result, which is in no bytes.
    const settler = opaque.kind === 'gives' ? this.parts.origins.region(op.origin) : null;
    const loose = isAdded ? (opaque.loose ?? Buffer.from(buf.subarray(start, end))) : null;
    if (lacked !== null) {
      const corrects = lacked.commands > 0;
      lacked.raw(buf, start, end, 1);
      const { commands } = lacked;
      batch.guarded({ bytes: lacked.take(), commands, op, states, loose, settler, corrects });
      return;
    }
    this.parts.notes.countKind('verbatim');
    for (const state of states) {
      if (!state.isQuietFor(op)) this.parts.notes.note(state, { kind: 'opaque', keys: [state.key] }, op, []);
      this.parts.settling.unsettle(state, settler);
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
   * Whether a guarded item may still run, now that the own stream has been read up to the watch.
   * @returns the item itself, or what runs in its place, whatever happens to its keys; null: nothing
   */
  admit(item: GuardedItem): BatchItem | null {
    // Keys that are their last writer's are what it was planned on, or it is left out.
    if (item.states.every((state) => state.last !== null))
      return item.states.some((state) => state.isAmiss) ? null : item;
    if (item.states.every((state) => state.isQuietFor(item.op) && !state.unsettled)) return item;
    for (const state of item.states) if (item.corrects) this.parts.corrections.makeAnew(state);
    for (const state of item.states)
      if (item.loose === null || !state.unsettled) this.parts.settling.unsettle(state, item.settler ?? state.settler);
    return item.loose === null ? null : { kind: 'plain', bytes: item.loose, commands: 1 };
  }
}
