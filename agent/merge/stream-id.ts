/**
 * IDs of stream entries: `ms-seq`, two unsigned 64-bit numbers. As text without leading zeros they are compared and used as names;
 * as numbers they would not fit.
 */

const USUAL = /^(?:0|[1-9][0-9]{0,14})-(?:0|[1-9][0-9]{0,14})$/;
const U64_MAX = 2n ** 64n - 1n;
export const HIGHEST_ID = `${U64_MAX}-${U64_MAX}`;

/** An ID as a command gives it, `5` or `5-0` or `05-00`, in the one form. Null for none (`*`, `$`, `-` are not in a stream of commands). */
export function parseStreamId(text: string): string | null {
  if (USUAL.test(text)) return text;
  const parts = /^([0-9]{1,40})(?:-([0-9]{1,40}))?$/.exec(text);
  if (parts === null) return null;
  const [ms, seq] = [BigInt(parts[1]!), BigInt(parts[2] ?? '0')];
  return ms > U64_MAX || seq > U64_MAX ? null : `${ms}-${seq}`;
}

/** Below 0, 0 or above 0, as `a` stands below, at or above `b` in a stream. */
export function compareIds(a: string, b: string): number {
  const dashA = a.indexOf('-');
  const dashB = b.indexOf('-');
  // Without leading zeros the longer number is the higher one.
  if (dashA !== dashB) return dashA - dashB;
  if (a.length === b.length) return a < b ? -1 : a > b ? 1 : 0;
  const [msA, msB] = [a.slice(0, dashA), b.slice(0, dashB)];
  if (msA !== msB) return msA < msB ? -1 : 1;
  return a.length - b.length;
}

/** The ID just below; that of `0-0` is itself. */
export function idBelow(id: string): string {
  const dash = id.indexOf('-');
  const [ms, seq] = [BigInt(id.slice(0, dash)), BigInt(id.slice(dash + 1))];
  if (seq > 0n) return `${ms}-${seq - 1n}`;
  return ms > 0n ? `${ms - 1n}-${U64_MAX}` : id;
}

/** The ID just above. */
export function idAbove(id: string): string {
  const dash = id.indexOf('-');
  const [ms, seq] = [BigInt(id.slice(0, dash)), BigInt(id.slice(dash + 1))];
  return seq < U64_MAX ? `${ms}-${seq + 1n}` : `${ms + 1n}-0`;
}

/**
 * Sequence numbers of a region's own range; those that servers give out by themselves are far below the first, but for those that they give out behind
 * an entry that has moved there, in the same millisecond. Of what is left of 63 bits a part keeps the order of the entries, and the rest is by chance.
 */
const RANGE_BITS = 48n;
const RANGES = 0x7ffe;
const CHANCE_BITS = 28n;
const ORDER_MAX = (1n << (RANGE_BITS - CHANCE_BITS)) - 1n;

/**
 * Where an entry goes whose ID belongs to another region's: the same millisecond, and a sequence number of its own region's range, so that entries
 * of several regions that leave one ID do not meet again. Which one nobody but the entry says, so that it meets nothing that was there: what all have seen is in
 * Redis alone, and would be overwritten. Where another one that is under way has come to the same place all the same, it goes on from there.
 * @param stamp the entry's
 */
export function movedId(region: string, stamp: number, id: string): string {
  const dash = id.indexOf('-');
  const seq = BigInt(id.slice(dash + 1));
  const range = BigInt(1 + ((hashOf(region) >>> 8) % RANGES));
  const low = seq & ((1n << RANGE_BITS) - 1n);
  const order = seq === low ? (seq > ORDER_MAX ? ORDER_MAX : seq) : low >> CHANCE_BITS;
  const chance = BigInt(hashOf(`${region} ${stamp} ${id}`) >>> (32 - Number(CHANCE_BITS)));
  const moved = (range << RANGE_BITS) | (order << CHANCE_BITS) | chance;
  return `${id.slice(0, dash)}-${moved === seq ? moved ^ 1n : moved}`;
}

/** FNV-1a of the UTF-16 units, and its bits mixed (MurmurHash3): the same everywhere. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
