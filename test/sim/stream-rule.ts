/** Where entries of a stream stand by the rule, and what removes them: naively, over all entries that ever were. */
import { compareIds, movedId } from '../../agent/merge/stream-id';
import { after, type EntryPut, higher, type Part } from './rule';

/** The ID of each entry. Of several at one ID the highest stays, the others move on, until all have a place of their own. */
export function placesOf(entries: readonly EntryPut[]): Map<EntryPut, string> {
  // An ID that was given out again by somebody who knew the first one is the second one's.
  const known = entries.filter((entry) => !entries.some((other) => other.name === entry.name && after(other, entry)));
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
    if (isLower && others.some((other) => after(other, entry)))
      moved.set(entry, movedId(entry.op.region, entry.op.stamp, entry.name));
  }
  return moved;
}

/** States and differences, which stand between the bytes of the stream, tell of entries that are there already. */
function isCopy(a: EntryPut, b: EntryPut): boolean {
  if (Number.isInteger(a.op.position) && Number.isInteger(b.op.position)) return false;
  return a.value === b.value;
}

/** Whether a removal or a trim is of this entry, as its writer saw it. */
export function killsEntry(by: Part, entry: EntryPut, entries: readonly EntryPut[]): boolean {
  const place = placesOf(entries.filter((other) => after(by, other))).get(entry);
  if (place === undefined) return true;
  if (by.kind === 'remove') return by.name === place;
  return by.kind === 'trim' && !by.keep.includes(place) && (by.minId === null || compareIds(place, by.minId) < 0);
}
