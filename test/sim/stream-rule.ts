/** Where entries of a stream stand by the rule, and what removes them: naively, over all entries that ever were. */
import { compareIds, movedId } from '../../agent/merge/stream-id';
import { after, type EntryPut, higher, type Part } from './rule';

/** The ID of each entry. Of several at one ID the highest stays, the others move on, until all have a place of their own. */
export function placesOf(entries: readonly EntryPut[]): Map<EntryPut, string> {
  // An ID that was given out again by somebody who knew the first one is the second one's.
  const known = entries.filter((entry) => !entries.some((other) => replaces(other, entry, entries)));
  const places = new Map(known.map((entry) => [entry, entry.name]));
  for (let moved = true; moved;) {
    moved = false;
    for (const [a, at] of places)
      for (const [b, other] of places)
        if (a !== b && at === other && places.get(a) === at && higher(b.op, a.op) && !isCopy(a, b)) {
          places.set(a, movedId(a.op.region, a.op.stamp, at));
          moved = true;
        }
  }
  return places;
}

/**
 * Where entries would have moved whose ID was given out again by somebody who knew them: where another's had come there first they did, and a last ID goes up
 * only.
 */
export function movedBefore(entries: readonly EntryPut[]): Map<EntryPut, string> {
  const moved = new Map<EntryPut, string>();
  for (const entry of entries) {
    const others = entries.filter((other) => other !== entry && other.name === entry.name);
    const isLower = others.some((other) => higher(other.op, entry.op) && !after(other, entry) && !isCopy(other, entry));
    if (isLower && others.some((other) => replaces(other, entry, entries)))
      moved.set(entry, movedId(entry.op.region, entry.op.stamp, entry.name));
  }
  return moved;
}

/** Whether one has taken another's ID: of what states and differences tell only what stood there does. */
export function replaces(by: EntryPut, entry: EntryPut, entries: readonly EntryPut[]): boolean {
  if (by.name !== entry.name || !after(by, entry)) return false;
  if (Number.isInteger(by.op.position)) return true;
  const place = placesFor(by, entries).get(entry);
  return place === undefined || place === entry.name;
}

/** Where entries stood by what a writer had seen. */
function placesFor(by: Part, entries: readonly EntryPut[]): ReadonlyMap<EntryPut, string> {
  const seen = entries.filter((other) => after(by, other));
  const known = found.get(by);
  // Who has seen it has seen all of that, so that it is the same whoever asks.
  if (known?.count === seen.length) return known.places;
  const places = placesOf(seen);
  found.set(by, { count: seen.length, places });
  return places;
}

const found = new WeakMap<Part, { readonly count: number; readonly places: ReadonlyMap<EntryPut, string> }>();

/** States and differences, which stand between the bytes of the stream, tell of entries that are there already. */
function isCopy(a: EntryPut, b: EntryPut): boolean {
  if (Number.isInteger(a.op.position) && Number.isInteger(b.op.position)) return false;
  return a.value === b.value;
}

/** Whether a removal or a trim is of this entry, as its writer saw it. */
export function killsEntry(by: Part, entry: EntryPut, entries: readonly EntryPut[]): boolean {
  const place = placesFor(by, entries).get(entry);
  if (place === undefined) return true;
  if (by.kind === 'remove') return by.name === place;
  return by.kind === 'trim' && !by.keep.includes(place) && (by.minId === null || compareIds(place, by.minId) < 0);
}
