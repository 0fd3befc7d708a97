/** What Redis has to run so that a stream is as the rule has it. */
import type { CommandWriter } from '../resp/encode';
import type { Element } from './element';
import type { KeyState } from './key-state';
import type { OriginTable } from './origins';
import { HEAD, lastIdOf, standingAt, StreamEntry } from './stream-entries';
import { compareIds } from './stream-id';
import { type Standing, trimBut, writeEntries } from './stream-splice';

/** Writes what stands at the IDs of these entries. */
export function writeEntriesOf(
  out: CommandWriter,
  state: KeyState,
  elements: readonly Element[],
  origins: OriginTable,
): void {
  const standings: Standing[] = [];
  for (const element of elements) {
    if (!isEntry(element)) continue;
    const found = standing(element, origins);
    // What an operation known only as a command has left there is not known.
    if (found.value !== null || element.baseDead) standings.push(found);
  }
  const key = Buffer.from(state.key, 'latin1');
  let low: string | null = null;
  for (const { id, value } of standings) if (value !== null && (low === null || compareIds(id, low) < 0)) low = id;
  const isBelow = ({ id, value }: Standing): boolean => value === null && (low === null || compareIds(id, low) < 0);
  // For these alone the script would read all that stands above them.
  const gone = standings.filter(isBelow);
  const rest = standings.filter((found) => !isBelow(found));
  if (gone.length > 0) out.command(['XDEL', key, ...gone.map(({ id }) => id)]);
  if (rest.length > 0) writeEntries(out, key, rest, lastIdOf(state, origins));
  // The head without entries: the stream is there all the same, and its last ID. So is that of what was removed where it had moved to.
  else if (elements.some((element) => element.name === HEAD || (isEntry(element) && element.guests.length > 0)))
    writeLastId(out, state, origins);
}

/** Raises the last ID where it is lower. */
export function writeLastId(out: CommandWriter, state: KeyState, origins: OriginTable): void {
  const last = lastIdOf(state, origins);
  if (last !== null && last !== '0-0') writeEntries(out, Buffer.from(state.key, 'latin1'), [], last);
}

/** Builds the stream from nothing; its groups are gone. */
export function writeStream(out: CommandWriter, state: KeyState, origins: OriginTable): void {
  const key = Buffer.from(state.key, 'latin1');
  const standings: Standing[] = [];
  for (const element of state.elements())
    if (isEntry(element)) {
      const found = standing(element, origins);
      if (found.value !== null) standings.push(found);
    }
  const last = lastIdOf(state, origins);
  if (standings.length > 0) writeEntries(out, key, standings, last);
  // As Redis' own AOF has it (rewriteStreamObject): there is no other way to a stream without entries.
  else {
    out.command(['XADD', key, 'MAXLEN', 0, '0-1', 'x', 'y']);
    out.command(['XSETID', key, last === null || last === '0-0' ? '0-1' : last]);
  }
}

/**
 * Removes all entries below an ID (null: all) but those that the trim had not seen, and those at the IDs of `keep`.
 * @param moved where else it has removed something
 */
export function writeTrim(
  out: CommandWriter,
  state: KeyState,
  { minId, keep }: { minId: string | null; keep: readonly string[] },
  moved: readonly Element[],
  origins: OriginTable,
): void {
  const key = Buffer.from(state.key, 'latin1');
  const kept = new Set(keep);
  for (const entry of state.stream?.below(minId) ?? []) if (standingAt(entry, origins) !== null) kept.add(entry.name);
  trimBut(out, key, minId, [...kept]);
  const above = moved.filter(({ name }) => minId !== null && compareIds(name, minId) >= 0);
  if (above.length > 0) writeEntriesOf(out, state, above, origins);
}

function isEntry(element: Element): element is StreamEntry {
  return element instanceof StreamEntry;
}

function standing(entry: StreamEntry, origins: OriginTable): Standing {
  return { id: entry.name, value: standingAt(entry, origins) };
}
