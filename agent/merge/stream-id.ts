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

/** Sequence numbers of a region's own range; those that servers give out by themselves are far below the first. */
const RANGE_BITS = 48n;
const RANGES = 0x7ffe;

/**
 * Where a region's entry goes whose ID belongs to another region's: the same millisecond, and a sequence number of the region's
 * own range, so that entries of several regions that leave one ID do not meet again. Names may share a range, or an entry may be
 * there already: then that place is taken too, and it goes on from there.
 */
export function movedId(region: string, id: string): string {
  const dash = id.indexOf('-');
  const seq = BigInt(id.slice(dash + 1));
  const range = BigInt(1 + (hashOf(region) % RANGES));
  const moved = seq >> RANGE_BITS === range ? seq + 1n : (range << RANGE_BITS) | (seq & ((1n << RANGE_BITS) - 1n));
  return `${id.slice(0, dash)}-${moved}`;
}

/** FNV-1a of the UTF-16 units: the same everywhere, and spread over all bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x85ebca6b) >>> 8;
}
