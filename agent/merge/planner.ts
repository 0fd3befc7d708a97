/** Other regions' operations, and what Redis has to run for them. */
import { underOwn } from './base';
import type { Batch } from './batch';
import { Class, Code, type Command, findCommand, UNKNOWN_COMMAND } from './commands';
import { ALONE } from './corrections';
import { Decimal, unitsOf } from './decimal';
import {
  argText,
  dbOf,
  decodeEffects,
  type Effect,
  aboutOf,
  type KeyEffect,
  type OpaqueEffect,
  writeEffect,
} from './effects';
import { isOwnKey, isPlain, isSentinelHello, isUnconditional } from './forms';
import { type KeyState, Op, saw, Type } from './key-state';
import type { OpaqueOperations } from './opaque-operations';
import type { Parts } from './parts';
import { canRebuild, rebuildKey } from './rebuild';
import { isUnsettledIn } from './record-reader';
import type { OpRecord } from '../record';
import {
  isAddedOn,
  isDecimal,
  resolve,
  rewriteAlone,
  rewriteKey,
  visibleType,
  writeElement,
  writeElements,
  writeTtl,
} from './resolve';
import { CommandScanner } from '../resp';
import type { StreamOperations } from './stream-operations';
import { writeLastId, writeTrim } from './stream-write';
import { eachEffect } from './touches';

export class Planner {
  private readonly effects: Effect[] = [];

  constructor(
    private readonly parts: Parts,
    private readonly opaques: OpaqueOperations,
    private readonly streams: StreamOperations,
  ) {}

  /** Passes a record whose operations meet nothing on as it came. @returns false when it holds more than plain ones */
  pass(record: OpRecord, batch: Batch): boolean {
    // What was added to a number is added to what is here.
    if (record.added !== undefined) return false;
    const mark = batch.mark();
    const scanner = new CommandScanner();
    scanner.push(record.payload);
    let { db } = record;
    let operations = 0;
    while (scanner.next()) {
      const { buf, argStart, argEnd } = scanner;
      const command = findCommand(buf, argStart[0]!, argEnd[0]!) ?? UNKNOWN_COMMAND;
      if (command.class === Class.ignored) {
        if (command.code === Code.select) db = Number(argText(scanner, 1));
        continue;
      }
      if (
        !isPlain(command, scanner) ||
        isOwnKey(command, scanner) ||
        this.parts.lastWriter?.concerns(command, scanner, db) === true
      ) {
        batch.rewind(mark);
        return false;
      }
      if (command.code === Code.set && scanner.argc === 3) batch.set(db, buf, argEnd[0]! + 2, scanner.end);
      else batch.pass(db, buf, scanner.start, scanner.end);
      operations++;
    }
    batch.operations += operations;
    return true;
  }

  plan(
    command: Command,
    scanner: CommandScanner,
    op: Op,
    db: number,
    batch: Batch,
    record: OpRecord,
    added: string | undefined,
  ): void {
    const effects = this.effects;
    effects.length = 0;
    decodeEffects(command, scanner, effects, added);
    const all = effects.length;
    this.parts.lastWriter?.plan(command, scanner, op, db, effects, batch);
    if (all > 0 && effects.length === 0) return;
    const { buf, start, end } = scanner;
    if (effects.length === 0) {
      if (command.class === Class.administrative && !isSentinelHello(command, scanner))
        batch.select(db).raw(buf, start, end, 1);
      return;
    }
    const only = effects[0]!;
    if (only.kind === 'opaque') {
      for (const effect of effects as OpaqueEffect[]) this.streams.writePendingOf(batch, dbOf(effect, db), effect.keys);
      // A list, say, that an own operation has replaced or removed.
      if (this.parts.base.isPlanned && only.keys.every((key) => this.parts.window.find(db, key)?.isReplaced === true))
        return;
      const isApart = isUnsettledIn(record, op);
      return this.opaques.plan(this.opaques.read(command, scanner, record, db), scanner, op, db, batch, isApart);
    }
    if (only.kind === 'flush' || only.kind === 'swap') this.streams.writePending(batch);
    if (only.kind === 'flush') return this.flush(only.scope === 'db' ? db : null, scanner, op, db, batch);
    if (only.kind === 'swap') {
      this.swap(only.a, only.b);
      batch.select(db).raw(buf, start, end, 1);
      return;
    }
    // The usual case: one key, and nobody else has touched it lately. The bytes go through as they came.
    for (const given of effects as KeyEffect[]) {
      if (given.kind === 'cap') continue;
      if (given.kind === 'group') {
        this.streams.planGroup(db, given.key, buf.subarray(start, end), !given.makesKey && isFixedId(scanner), batch);
        if (!given.makesKey) continue;
      }
      const state = this.parts.flushes.stateFor(db, given.key, op, aboutOf(given));
      const effect = this.parts.base.isPlanned ? underOwn(state, given) : given;
      if (effect === null) continue;
      const quiet = state.isQuietFor(op);
      const replacesAll = quiet && state.isKnown && replaces(effect);
      if (this.streams.plan(state, effect, op, batch)) continue;
      this.streams.writePending(batch, state);
      if (this.parts.base.isPlanned && effect.kind === 'delete') {
        // Makes room for what follows. A client's write in this very moment is corrected by what it meets.
        rewriteAlone(batch.select(db), state, this.parts.origins);
        this.parts.window.note(state, op, null);
        continue;
      }
      if (effect.kind === 'expire') this.expire(state, op);
      else if (quiet && !state.unsettled) {
        this.parts.insertion.insert(state, effect, op);
        const out = batch.select(db);
        if (all === 1 && isUnconditional(command, scanner) && !addsDecimal(effect)) out.raw(buf, start, end, 1);
        else writeEffect(out, effect);
      } else this.concurrent(state, effect, op, batch);
      // Of clients here nothing is left of it, or they have written it since, and that is still to be read.
      if (replacesAll) this.parts.settling.replaced(state);
    }
  }

  private concurrent(state: KeyState, effect: KeyEffect, op: Op, batch: Batch): void {
    const quiet = state.isQuietFor(op);
    if (!quiet) this.parts.notes.count(effect);
    const out = batch.select(state.db);
    if (state.hasOpaqueUnseenBy(op) || (state.unsettled && !state.isKnown)) {
      // The settler's state will say what holds; until then the operation is at least not missing. (A key whose state somebody
      // only asked for is merged as ever: it is what that state will say.)
      this.parts.insertion.insert(state, effect, op);
      if (!quiet) this.parts.notes.note(state, effect, op, this.parts.insertion.touched);
      this.parts.settling.unsettleJoined(state, op);
      if (effect.kind !== 'set' && effect.kind !== 'delete') {
        this.parts.settling.unsettle(state, null);
        // What it had not seen stays, and Redis refuses no entry.
        if (effect.kind === 'trim') writeTrim(out, state, effect, this.parts.insertion.touched, this.parts.origins);
        else if (effect.kind === 'put' && effect.type === Type.stream)
          writeElements(out, state, this.parts.insertion.touched, this.parts.origins);
        else writeEffect(out, this.relative(effect));
      } else if (canRebuild(state, this.parts.origins, ALONE)) {
        this.parts.settling.unsettle(state, null);
        rebuildKey(out, state, this.parts.origins);
      }
      // Where it ran, what it had not seen is known to be missing, or to come.
      else this.parts.settling.unsettle(state, this.parts.origins.region(op.origin));
      return;
    }
    this.parts.insertion.insert(state, effect, op);
    if (!quiet) this.parts.notes.note(state, effect, op, this.parts.insertion.touched);
    this.parts.settling.check(state, effect, op, this.parts.insertion.touched);
    if (effect.kind === 'set' || effect.kind === 'delete') {
      if (state.stream !== null) this.parts.trims.wrote(state, state.elements());
      rewriteKey(out, state, this.parts.origins);
      return;
    }
    if (effect.kind === 'ttl') {
      writeTtl(out, state, this.parts.origins);
      return;
    }
    if (effect.kind === 'group') return;
    const ofString =
      effect.kind === 'increment' && effect.type === Type.string ? this.parts.insertion.touched[0]! : null;
    // A string whose value only Redis knows, beside elements that it has replaced.
    const isOnBase = ofString !== null && ofString.puts.length === 0 && !ofString.baseDead;
    if (state.onlyType === null && !(isOnBase && visibleType(state, this.parts.origins) === Type.string)) {
      // Which type stands may have changed, and elements of the one that stood may have been removed.
      if (state.stream !== null) this.parts.trims.wrote(state, state.elements());
      rewriteKey(out, state, this.parts.origins);
      return;
    }
    if (effect.kind === 'increment') {
      const element = this.parts.insertion.touched[0]!;
      // Relative where it can be: a client's write that is under way is then not overwritten, even for a moment. (What its own agent has not read yet would be gone
      // from what a number was, for an agent that dies now, and takes from the journal what it was.)
      if (isAddedOn(element, effect.delta, this.parts.origins)) writeEffect(out, this.relative(effect));
      else if (resolve(element, this.parts.origins).known) writeElement(out, state, element, this.parts.origins);
    } else if (effect.kind === 'trim') writeTrim(out, state, effect, this.parts.insertion.touched, this.parts.origins);
    else if (effect.kind === 'lastId') writeLastId(out, state, this.parts.origins);
    else writeElements(out, state, this.parts.insertion.touched, this.parts.origins);
    // The key may just have come back, and a time to live of it have been here before.
    if (state.ttls.length > 0) writeTtl(out, state, this.parts.origins);
  }

  /** An increment as it is to be added to what is there, which may be no integer though it is one itself. */
  private relative(effect: KeyEffect): KeyEffect {
    if (effect.kind !== 'increment' || typeof effect.delta !== 'bigint') return effect;
    const element = this.parts.insertion.touched[0];
    return element !== undefined && element.type !== Type.zset && isDecimal(element, this.parts.origins)
      ? { ...effect, delta: new Decimal(unitsOf(effect.delta)) }
      : effect;
  }

  /**
   * Another region saw the key expire. It is removed under watch, as corrections are: a client may have renewed it here
   * in the very moment.
   */
  private expire(state: KeyState, op: Op): void {
    const gone = state.isAbsent;
    const renewed = this.isRenewedHere(state, op);
    const opaque = state.hasOpaqueUnseenBy(op);
    state.expire(op);
    this.parts.window.note(state, op, null);
    if (renewed) {
      state.outlive(op);
      this.parts.settling.unsettle(state, this.parts.region);
    } else if (opaque) {
      this.parts.settling.unsettle(state, null);
      this.parts.settling.unsettleJoined(state, op);
      this.parts.corrections.makeAnew(state);
    }
    // Valkey says so of a hash whose last field expires, behind the HDEL of that field, which this region keeps. What has expired besides does so here, too.
    else if (state.keptFields.size > 0) return;
    else if (!gone || state.trespassedOn !== null) this.parts.corrections.makeAnew(state);
  }

  /** Whether an expiry removes what a client of this region has given more time: this region still has it. */
  isRenewedHere(state: KeyState, expiry: Op): boolean {
    return (
      [...state.ttls.filter(({ alone }) => alone).map(({ op }) => op), ...state.renewals].some(
        (op) => !saw(expiry, op) && this.parts.origins.region(op.origin) === this.parts.region,
      ) && state.holdsSeenBy(expiry)
    );
  }

  private flush(flushed: number | null, scanner: CommandScanner, op: Op, db: number, batch: Batch): void {
    this.parts.flushes.note(op, flushed);
    const out = batch.select(db);
    out.raw(scanner.buf, scanner.start, scanner.end, 1);
    for (const state of this.parts.window.states(flushed ?? undefined))
      if (state.log !== null) rebuildKey(batch.select(state.db), state, this.parts.origins);
      else if (visibleType(state, this.parts.origins) !== -1)
        rewriteKey(batch.select(state.db), state, this.parts.origins);
  }

  /** Where streams begin in a region that has cut them. */
  planTrims(record: OpRecord, batch: Batch): void {
    const op = new Op(
      this.parts.origins.index(record.origin),
      record.end,
      record.stamp,
      this.parts.origins.toSeen(record.seen),
    );
    eachEffect(record, -1, (db, effect) => {
      if (effect.kind !== 'trim') return;
      const state = this.parts.flushes.stateFor(db, effect.key, op);
      if (!state.isQuietFor(op) || state.unsettled) this.concurrent(state, effect, op, batch);
      else {
        this.parts.insertion.insert(state, effect, op);
        writeTrim(batch.select(db), state, effect, this.parts.insertion.touched, this.parts.origins);
      }
    });
    batch.operations++;
    if (op.stamp > batch.stamp) batch.stamp = op.stamp;
  }

  swap(a: number, b: number): void {
    this.parts.window.swap(a, b);
    this.parts.trims.swap(a, b);
  }
}

/** Whether nothing is left of what the key was. */
function replaces(effect: KeyEffect): boolean {
  return effect.kind === 'delete' || effect.kind === 'expire' || (effect.kind === 'set' && !effect.keepTtl);
}

/** Of a command about a group: that it says no `$`, which is the last ID of the stream where it runs. */
function isFixedId(scanner: CommandScanner): boolean {
  return scanner.argc < 5 || argText(scanner, 4) !== '$';
}

function addsDecimal(effect: KeyEffect): boolean {
  return effect.kind === 'increment' && effect.delta instanceof Decimal;
}
