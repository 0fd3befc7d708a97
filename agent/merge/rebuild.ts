/** A key of which commands are kept, made anew: its highest value, and what that had not seen. */
import type { CommandWriter } from '../resp/encode';
import { type Element, type KeyState, Type } from './key-state';
import type { Floor } from './opaque-log';
import { type Op, saw } from './element';
import { CarriedOp, isHigher, StateOp } from './op';
import type { OriginTable } from './origins';
import { highestTtl, resolve, rewriteKey, visibleType, winner, writeElements, writeTtl } from './resolve';

/**
 * Whether the rule's value of the whole key is known here, so that nothing is lost where it is written.
 * @param together keys that are made anew at once
 */
export function canRebuild(state: KeyState, origins: OriginTable, together: ReadonlySet<KeyState>): boolean {
  const type = visibleType(state, origins);
  if (type !== -1 && type !== Type.string)
    for (const element of state.elements())
      if (element.type === type && element.live && !resolve(element, origins).known) return false;
  return state.log === null || state.log.canRebuild(valuesOf(state, standing(state, origins), origins), together);
}

/** What stands: one value, or elements of several states. */
function valuesOf(state: KeyState, floor: Floor | null, origins: OriginTable): readonly Op[] {
  const { log, string } = state;
  const type = visibleType(state, origins);
  // A string below elements of another type is nothing.
  const top = floor?.op ?? (type === Type.string || type === -1 ? winnerOf(string, origins) : null);
  return top === null ? log!.floors.map(({ op }) => op) : [top];
}

/** Writes the whole key. What was in Redis before the window must be dead by the rule. */
export function rebuildKey(out: CommandWriter, state: KeyState, origins: OriginTable): void {
  const floor = standing(state, origins);
  const { log, string } = state;
  const type = visibleType(state, origins);
  const put = winnerOf(string, origins);
  if (floor === null && (put !== null || (type !== -1 && type !== Type.string))) {
    rewriteKey(out, state, origins);
    if (log === null) return;
  } else {
    const key = Buffer.from(state.key, 'latin1');
    if (floor === null || floor.build === null) out.command(['DEL', key]);
    else {
      // A client's SET makes no room for itself where another type stands.
      if (!(floor.op instanceof StateOp)) out.command(['DEL', key]);
      raw(out, floor.build);
    }
    // Of a state that says that there is no such key, elements that it had not seen stand all the same.
    if (floor?.build?.commands === 1 && floor.op instanceof StateOp && type !== -1 && type !== Type.string)
      writeElements(out, state, clientsUnseenBy(floor.op, state, type), origins);
    for (const { op, delta } of string?.increments ?? [])
      if (floor === null || !saw(floor.op, op))
        out.command([typeof delta === 'bigint' ? 'INCRBY' : 'INCRBYFLOAT', key, String(delta)]);
  }
  if (log !== null) for (const { run } of log.runsOn(valuesOf(state, floor, origins), origins)) raw(out, run);
  // Increments may have made the key, or a run.
  if (highestTtl(state, origins) !== null) writeTtl(out, state, origins);
}

/** Elements that clients have written, not states that lost. */
function clientsUnseenBy(floor: Op, state: KeyState, type: Type): Element[] {
  const isClients = ({ op }: { op: Op }): boolean =>
    !(op instanceof StateOp) && !(op instanceof CarriedOp) && !saw(floor, op);
  return [...state.elements()].filter(
    (element) => element.type === type && (element.puts.some(isClients) || element.increments.some(isClients)),
  );
}

function raw(out: CommandWriter, { bytes, commands }: { bytes: Buffer; commands: number }): void {
  out.raw(bytes, 0, bytes.length, commands);
}

/** The value of the whole key that stands, where that is none of the window's elements. */
function standing(state: KeyState, origins: OriginTable): Floor | null {
  const floor = state.log?.highestFloor(origins) ?? null;
  if (floor === null) return null;
  // Operations older than the state may have made what it tells of.
  if (floor.build === null && visibleType(state, origins) !== -1) return null;
  const put = winnerOf(state.string, origins);
  if (put !== null && isHigher(put, floor.op, origins)) return null;
  for (const element of state.elements())
    if (element.type !== Type.string)
      for (const part of [...element.puts, ...element.increments])
        if (part.op === floor.op || isHigher(part.op, floor.op, origins)) return null;
  return floor;
}

function winnerOf(string: Element | null, origins: OriginTable): Op | null {
  return string === null ? null : (winner(string, origins)?.op ?? null);
}
