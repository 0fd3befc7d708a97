/**
 * What the agent writes into Redis: two keys per primary, in database 0, and nothing else.
 *
 * - the cursor, in the same transaction as the operations it stands for. It is the marker by which the agent knows a
 *   block of its own stream as applied by an agent, and says what the operations after it have seen;
 * - the heartbeat, which puts time into the stream.
 *
 * Where it captures by notifications, for a moment at each start, also `meridian:probe`: whether all changes are reported.
 */
import { type SlotRange, tagOf } from '../../model/slots';
import { shardName } from '../cluster/shard-name';
import type { Vector } from '../record';
import { formatVector, parseVector } from '../vector';

/** No application key should begin with this; agents neither carry nor compare such keys. */
export const OWN_PREFIX = 'meridian:';
export const CURSOR_KEY = 'meridian:cursor';
export const HEARTBEAT_KEY = 'meridian:heartbeat';

/** The keys as this agent writes them. */
export interface OwnKeys {
  readonly cursor: string;
  readonly heartbeat: string;
  /** There for a moment. */
  readonly probe: string;
  /** Never there. */
  readonly none: string;
}

/**
 * @param slots on a node of a cluster those of its shard: in one of them the keys are, and of a shard of other slots they are others, so that it begins anew when
 *   slots were given to it or taken away
 */
export function ownKeys(slots: readonly SlotRange[] | null = null): OwnKeys {
  const end = slots === null ? '' : `{${tagOf(slots[0]![0])}}${shardName(slots)}`;
  return {
    cursor: CURSOR_KEY + end,
    heartbeat: HEARTBEAT_KEY + end,
    probe: `${OWN_PREFIX}probe${end}`,
    none: `${OWN_PREFIX}none${end}`,
  };
}

/** The name of an own key, whatever slot it is in. */
export function withoutTag(key: string): string {
  const at = key.indexOf('{');
  return at < 0 ? key : key.slice(0, at);
}

/**
 * As which an agent removes a field that had expired in its Redis before the block came (apply/hidden-fields.ts): the region's own operation, though it stands in the block. Nobody
 * else writes it so, and elsewhere it is HDEL.
 */
export const HIDDEN_HDEL = 'HdEl';

export interface Marker {
  /** Names the block to the agent that sent it: its session's nonce and a number. */
  readonly block: string;
  /** The highest stamp of the operations applied so far: own stamps after it are higher. */
  readonly stamp: number;
  /** What this Redis holds of every other origin, this block included. */
  readonly vector: Vector;
  /** Written while the region was joining: it had no place in the mesh yet. */
  readonly joining?: boolean;
}

export function formatMarker(marker: Marker): string {
  return `1 ${marker.block} ${marker.stamp} ${formatVector(marker.vector)}${marker.joining === true ? ` ${JOINING}` : ''}`;
}

/**
 * @returns null when the text is not a marker of this version, or one that no agent writes: a client's hand on the key must not
 * give the stream a stamp or a vector that no record can hold
 */
export function parseMarker(text: string): Marker | null {
  const [version, block, stampText, vectorText, flag] = text.split(' ', 6);
  const stamp = Number(stampText);
  const vector = vectorText === undefined ? null : parseVector(vectorText);
  if (version !== '1' || block === undefined || vector === null || !isStamp(stamp)) return null;
  if (vector.size > ORIGINS_MAX) return null;
  for (const origin of vector.keys()) if (origin.length > ORIGIN_CHARS_MAX) return null;
  return { block, stamp, vector, ...(flag === JOINING ? { joining: true } : {}) };
}

const JOINING = 'joining';
/** Of a vector; what a record can hold of *seen* is twice that. */
const ORIGINS_MAX = 32_768;
/** Of an origin's name: a region's has 40 at most, a replication ID's part 16, an offset 16. */
const ORIGIN_CHARS_MAX = 128;

/** @returns 0 when the text is no time that an agent writes */
export function parseHeartbeat(text: string): number {
  return /^[1-9][0-9]{0,15}$/.test(text) && isStamp(stampOf(Number(text))) ? Number(text) : 0;
}

/** Far enough below what a double can count by ones for all operations to come. */
const STAMP_MAX = 2 ** 53 - 2 ** 40;

function isStamp(stamp: number): boolean {
  return Number.isSafeInteger(stamp) && stamp >= 0 && stamp <= STAMP_MAX;
}

/** Stamps are hybrid logical clocks: milliseconds since 1970 × 1024, plus a counter; exact as a double until 2248. */
const STAMPS_PER_MS = 1024;

export function stampOf(timeMs: number): number {
  return timeMs * STAMPS_PER_MS;
}

export function timeOfStamp(stamp: number): number {
  return Math.floor(stamp / STAMPS_PER_MS);
}
