/**
 * Keys of which the last writer's value stands as a whole (policy `lww`): what the key was in the region of the highest (stamp, region) operation right
 * after that, whatever others had done unseen. No element is merged.
 *
 * Of a key's operations those are kept that no other known one has seen; the *top* is the highest of them. An operation of another region that had seen
 * the top runs here as it came, guarded, for its region had the same value. One that had not is left out: either it loses, or it is the new top, and
 * then its value has to come. Where the operation says all of it (SET, DEL, an expiry) it is written; else its region sends the key's state, which
 * counts where it has seen the top.
 *
 * So each region holds the top's value, or knows that it does not: the key is unsettled, or a correction is on its way. What a client does then works on
 * another value than elsewhere, and its region sends what came of it.
 */
import type { ConflictPolicies } from '../../model';
import { CommandWriter } from '../resp/encode';
import type { CommandScanner } from '../resp';
import type { Batch } from './batch';
import type { Command } from './commands';
import { Class } from './commands';
import { ALONE } from './corrections';
import { type Effect, keysOf, type KeyEffect, writeEffect } from './effects';
import { isUnconditional } from './forms';
import type { Kept } from './kept-bytes';
import { type KeyState, Type } from './key-state';
import { LastWrites } from './last-writes';
import { type Op, saw, type StateOp } from './op';
import { formOf } from './opaque-form';
import type { Parts } from './parts';

/** What a command does to one key. */
interface Write {
  readonly db: number;
  readonly key: string;
  /** What runs where the key is as it was where it ran; null: its result can't be had again. */
  readonly bytes: Buffer | null;
  readonly commands: number;
  /** What makes the whole key; null: it changes what is there. */
  readonly whole: Buffer | null;
}

export class LastWriter {
  constructor(
    private readonly parts: Parts,
    private readonly policies: ConflictPolicies,
    private readonly members: readonly string[],
  ) {}

  governs(db: number, key: string): boolean {
    return this.policies.isLastWriters(db, Buffer.from(key, 'latin1'));
  }

  /** Whether a command is about any such key. */
  concerns(command: Command, scanner: CommandScanner, db: number): boolean {
    return keysOf(command, scanner).some((key) => this.governs(db, key));
  }

  /** This region's own, or another's that is in Redis already or was left out. Of the effects those of other keys are left. */
  note(command: Command, scanner: CommandScanner, op: Op, db: number, effects: Effect[]): void {
    for (const write of this.take(command, scanner, db, effects)) {
      const { state, isOnTop } = this.find(write, op);
      const stays = isOnTop && write.bytes !== null;
      this.add(state, op, write);
      if (stays) continue;
      if (!isOnTop) this.parts.notes.noteLast(state, op);
      this.settle(state);
    }
  }

  /** Another region's. */
  plan(command: Command, scanner: CommandScanner, op: Op, db: number, effects: Effect[], batch: Batch): void {
    const { origins, region, notes, settling } = this.parts;
    for (const write of this.take(command, scanner, db, effects)) {
      const { state, isOnTop, top } = this.find(write, op);
      this.add(state, op, write);
      const { bytes, commands } = write;
      if (isOnTop && bytes !== null) {
        batch.select(write.db);
        batch.guarded({ bytes, commands, op, states: [state], loose: null, settler: null, corrects: false });
        continue;
      }
      if (!isOnTop) notes.noteLast(state, op);
      const isLost = !state.isAmiss && top !== null && state.last!.topOf(state, origins) === top;
      // Of an older history of this region's it is not in its Redis.
      if (!isLost) this.settle(state, origins.region(op.origin) === region ? op : null);
      // Where it ran, the value that stands is missing.
      else if (origins.region(top.origin) === region && !state.last!.wholes.has(top)) settling.awaitLast(state, region);
    }
  }

  /** A key's state, sent to settle it. @param batch that is to write it; null: it is there already */
  state(state: KeyState, op: StateOp, build: Kept, batch: Batch | null): void {
    const { origins, region, window, settling, corrections } = this.parts;
    const last = (state.last ??= new LastWrites());
    const top = last.topOf(state, origins);
    window.note(state, op, null);
    if (top !== null && !saw(op, top)) {
      // Another one wrote since. Who sent this one may not know that it is wanted.
      if (!state.isAmiss && origins.region(top.origin) === region && !last.wholes.has(top))
        settling.awaitLast(state, region);
      return;
    }
    const stands = last.stateStands(op, origins);
    if (stands && batch !== null) {
      corrections.arrive(state, { op, build, together: ALONE });
      batch.isClosed = true;
    }
    settling.settled(state);
  }

  /** Redis refused a command on it: it does not hold what it should. */
  refused(state: KeyState): void {
    const top = (state.last ??= new LastWrites()).topOf(state, this.parts.origins);
    if (top === null) this.parts.settling.awaitLast(state, null);
    else this.settle(state, top);
  }

  /** Takes what is about such keys out of a command's effects. */
  private take(command: Command, scanner: CommandScanner, db: number, effects: Effect[]): Write[] {
    const first = effects[0];
    if (first === undefined || !('key' in first || first.kind === 'opaque')) return [];
    const raw = (): Buffer => Buffer.from(scanner.buf.subarray(scanner.start, scanner.end));
    if (command.class !== Class.element || first.kind === 'opaque') {
      const { places } = formOf(command, scanner);
      const governed = places.filter((place) => this.governs(place.db ?? db, place.key));
      if (governed.length === 0) return [];
      if (governed.length === places.length) effects.length = 0;
      const bytes = places.length === 1 ? raw() : null;
      return governed.map((place) => ({ db: place.db ?? db, key: place.key, bytes, commands: 1, whole: null }));
    }
    const byKey = new Map<string, KeyEffect[]>();
    for (const effect of effects as KeyEffect[])
      if (this.governs(db, effect.key)) byKey.set(effect.key, [...(byKey.get(effect.key) ?? []), effect]);
    if (byKey.size === 0) return [];
    const isAlone = keysOf(command, scanner).length === 1;
    effects.splice(0, Infinity, ...effects.filter((effect) => !('key' in effect && byKey.has(effect.key))));
    return [...byKey].map(([key, own]) => {
      const [first] = own as [KeyEffect];
      const removes = own.every(({ kind }) => kind === 'delete' || kind === 'expire');
      const isWhole = removes || (own.length === 1 && first.kind === 'set' && !first.keepTtl);
      const writer = new CommandWriter(256);
      const isRaw = isAlone && !removes && (isUnconditional(command, scanner) || isOfStream(own));
      if (!isRaw) for (const effect of isWhole ? [first] : own) writeEffect(writer, effect);
      const { commands } = isRaw ? { commands: 1 } : writer;
      const bytes = isRaw ? raw() : writer.take();
      return { db, key, bytes, commands, whole: isWhole ? bytes : null };
    });
  }

  /** The key, and whether an operation has seen what stands of it, and that is here. */
  private find({ db, key }: Write, op: Op): { state: KeyState; top: Op | null; isOnTop: boolean } {
    const state = this.parts.flushes.stateFor(db, key, op);
    const last = (state.last ??= new LastWrites());
    const top = last.topOf(state, this.parts.origins);
    const hasSeen = (other: Op | null): boolean => other === null || other === op || saw(op, other);
    return { state, top, isOnTop: !state.isAmiss && hasSeen(top) && hasSeen(last.state) };
  }

  private add(state: KeyState, op: Op, { whole }: Write): void {
    state.last!.add(state, op, whole);
    this.parts.window.note(state, op, null);
  }

  /**
   * Redis may hold something else than the top's value.
   * @param lacked is not in it, whosesoever it is
   */
  private settle(state: KeyState, lacked: Op | null = null): void {
    const { members } = this;
    const { origins, region, settling, corrections } = this.parts;
    const top = state.last!.topOf(state, origins)!;
    if (state.last!.wholes.has(top)) {
      corrections.makeAnew(state);
      if (state.unsettled) settling.settled(state);
      return;
    }
    const owner = origins.region(top.origin);
    settling.awaitLast(state, members.includes(owner) && !(lacked === top && owner === region) ? owner : null);
  }
}

function isOfStream(effects: readonly KeyEffect[]): boolean {
  // What MAXLEN removes is in no effect.
  return effects.some((effect) => effect.kind === 'cap' || ('type' in effect && effect.type === Type.stream));
}
