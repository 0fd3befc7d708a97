/** A region's heartbeat, as its own stream carried it, and the queue in which it waits for the records before it. */
import { regionOf, type OriginId } from '../record';
import { PeerError } from './error';
import type { BeatMessage } from './proto';

/**
 * A region's word about itself: "my stream is at `position`; I have seen …; I have durably journalled …". It stands in
 * order with the records of its origin.
 */
export interface Beat {
  region: string;
  /** The region's present origin. */
  origin: OriginId;
  position: number;
  timeMs: number;
  stamp: number;
  /** Position of its stream up to which it has seen `seen`, where nothing can take it back any more; −1: there is none yet. */
  reported: number;
  seen: Map<OriginId, number>;
  durable: Map<OriginId, number>;
  paths: Map<string, string[]>;
}

/** A beat on its way: it may be passed on once the records up to `after` have been. */
export interface PlacedBeat {
  readonly beat: Beat;
  readonly after: number;
}

export function encodeBeat({ beat, after }: PlacedBeat, subscription: number): BeatMessage {
  return {
    subscription,
    region: beat.region,
    origin: beat.origin,
    position: beat.position,
    after,
    timeMs: beat.timeMs,
    stamp: beat.stamp,
    behind: beat.reported < 0 ? -1 : beat.position - beat.reported,
    seen: [...beat.seen].map(([origin, position]) => ({ origin, position })),
    durable: [...beat.durable].map(([origin, position]) => ({ origin, position })),
    paths: [...beat.paths].map(([region, path]) => ({ region, path })),
  };
}

/** @throws PeerError `malformed` when the beat can't be of that origin */
export function decodeBeat(message: BeatMessage, origin: OriginId): PlacedBeat {
  if (message.origin !== origin || message.region !== regionOf(origin))
    throw new PeerError('malformed', `beat of another origin than ${origin}`);
  const numbers = [message.position, message.after, message.timeMs, message.stamp, message.behind];
  if (!numbers.every(Number.isFinite) || message.position < 0 || message.after > message.position)
    throw new PeerError('malformed', `beat of ${origin} without a place`);
  return {
    after: message.after,
    beat: {
      region: message.region,
      origin,
      position: message.position,
      timeMs: message.timeMs,
      stamp: message.stamp,
      reported: message.behind < 0 ? -1 : message.position - message.behind,
      seen: positions(message.seen),
      durable: positions(message.durable),
      paths: new Map(message.paths.map(({ region, path }) => [region, [...path]])),
    },
  };
}

function positions(entries: BeatMessage['seen']): Map<OriginId, number> {
  const map = new Map<OriginId, number>();
  for (const { origin, position } of entries) {
    if (!Number.isFinite(position)) throw new PeerError('malformed', 'beat with a position that is no number');
    map.set(origin, position);
  }
  return map;
}

/** Beats that wait, at most. */
const BEATS_MAX = 64;

/**
 * Beats of one origin that wait for the records before them. When a receiver is far behind they are thinned, not
 * replaced by the newest: the newest alone would always be ahead of the records, and none would ever leave.
 */
export class BeatQueue {
  #beats: PlacedBeat[] = [];
  /** One in so many is kept; the newest always, until the next comes. */
  #stride = 1;
  #count = 0;
  #provisional = false;

  push(placed: PlacedBeat): void {
    const last = this.#beats[this.#beats.length - 1];
    if (last && placed.beat.position < last.beat.position) return;
    if (this.#provisional) this.#beats.pop();
    this.#beats.push(placed);
    this.#provisional = ++this.#count % this.#stride !== 0;
    if (this.#beats.length <= BEATS_MAX) return;
    this.#beats = this.#beats.filter((_, i) => i % 2 === 0);
    this.#stride *= 2;
  }

  /** The newest beat whose records were sent, and nothing older: what it says includes what they said. */
  take(sent: number): PlacedBeat | undefined {
    let n = 0;
    while (n < this.#beats.length && this.#beats[n]!.after <= sent) n++;
    if (n === 0) return undefined;
    const newest = this.#beats.splice(0, n)[n - 1];
    if (this.#beats.length === 0) {
      this.#stride = 1;
      this.#count = 0;
      this.#provisional = false;
    }
    return newest;
  }
}
