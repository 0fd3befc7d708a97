import { createHash } from 'node:crypto';
import { formatSlots, type SlotRange } from '../../model/slots';

/** Longer ones are shortened. */
const NAME_MAX = 40;

/** What tells a shard from those of other slots, in names of keys and folders: its slots, or where these are many ranges the first one and a digest. */
export function shardName(ranges: readonly SlotRange[]): string {
  const name = formatSlots(ranges).replaceAll(' ', ',');
  if (name.length <= NAME_MAX) return name;
  return `${formatSlots(ranges.slice(0, 1))},${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}
