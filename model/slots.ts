/** Hash slots of a Redis Cluster. https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ */

export const SLOTS = 16_384;

const OPEN = '{'.charCodeAt(0);
const CLOSE = '}'.charCodeAt(0);

/** First and last slot, both of it. */
export type SlotRange = readonly [from: number, to: number];

/** The slot of the key in [start, end): of what stands between its first braces, where that is something. */
export function slotOf(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let open = start;
  while (open < end && bytes[open] !== OPEN) open++;
  let close = open + 1;
  while (close < end && bytes[close] !== CLOSE) close++;
  const isTagged = close < end && close > open + 1;
  return (isTagged ? crc16(bytes, open + 1, close) : crc16(bytes, start, end)) & (SLOTS - 1);
}

/**
 * Ranges as they are written in configs and by Redis, in any order.
 * @param text such as `0-5460` or `0-99 200 300-400`, separated by spaces or commas
 * @returns in ascending order, neighbours joined; null where it is none, or has a slot twice
 */
export function parseSlots(text: string): SlotRange[] | null {
  const ranges: [number, number][] = [];
  for (const part of text.split(/[\s,]+/).filter((one) => one !== '')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (match === null) return null;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from > to || to >= SLOTS) return null;
    ranges.push([from, to]);
  }
  return joined(ranges);
}

export function formatSlots(ranges: readonly SlotRange[]): string {
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(' ');
}

/** The ranges of each of `shards` that share all slots as evenly as `redis-cli --cluster create` gives them out. */
export function evenSlots(shards: number): SlotRange[] {
  const edge = (shard: number): number => Math.round((shard * SLOTS) / shards);
  return Array.from({ length: shards }, (_, shard) => [edge(shard), edge(shard + 1) - 1]);
}

export function hasSlot(ranges: readonly SlotRange[], slot: number): boolean {
  return ranges.some(([from, to]) => from <= slot && slot <= to);
}

/** What stands between the braces of a key for it to be in this slot: the smallest number that is. */
export function tagOf(slot: number): string {
  for (let n = 0; ; n++) if (slotOf(Buffer.from(String(n))) === slot) return String(n);
}

/** @returns null where two have a slot in common */
function joined(ranges: [number, number][]): SlotRange[] | null {
  ranges.sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const range of ranges) {
    const last = out.at(-1);
    if (last === undefined || range[0] > last[1] + 1) out.push(range);
    else if (range[0] <= last[1]) return null;
    else last[1] = range[1];
  }
  return out;
}

/** CRC-16/XMODEM, bit by bit made into a table once. */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc & 0xffff;
});

function crc16(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0;
  for (let i = start; i < end; i++) crc = ((crc << 8) & 0xffff) ^ TABLE[(crc >> 8) ^ bytes[i]!]!;
  return crc;
}
