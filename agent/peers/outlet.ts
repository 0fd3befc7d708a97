/**
 * The outlet: the sending side of one stream. It reads each origin that the receiver subscribed to, cuts the records
 * into frames and writes them as fast as the receiver takes them. Nothing is queued here but one read: a slow receiver
 * costs disk at the sender, not memory.
 */
import { peekRecord, type OriginId } from '../record';
import { BeatQueue, encodeBeat, type PlacedBeat } from './beat';
import { messageOf, PeerError } from './error';
import { cut, type Deflater } from './frame';
import type { RecordReader, RecordSource } from './options';
import type { Downward, Subscribe } from './proto';

/** What is read of one origin before the next has its turn. */
const READ_BYTES = 1024 * 1024;
/** Origins that one receiver may follow. */
export const SUBSCRIPTIONS_MAX = 4096;

interface Subscription {
  readonly id: number;
  readonly origin: OriginId;
  reader: RecordReader;
  /** End of the last record sent. */
  sent: number;
  /** There may be something to send. */
  ready: boolean;
  waiting: boolean;
  closed: boolean;
  readonly beats: BeatQueue;
}

export interface OutletOptions {
  readonly source: RecordSource;
  readonly deflater: Deflater;
  /** Resolves when the stream takes more; at once (nothing returned) when it does already. */
  write(message: Downward): void | Promise<void>;
  lastBeat(origin: OriginId): PlacedBeat | undefined;
  sent(records: number, bytes: number, wireBytes: number): void;
  fail(error: PeerError): void;
}

export class Outlet {
  readonly #subscriptions = new Map<OriginId, Subscription>();
  readonly #control: Downward[] = [];
  #offer: Downward | null = null;
  #turn: Subscription[] = [];
  #wake: (() => void) | null = null;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(private readonly o: OutletOptions) {
    void this.#pump();
  }

  get origins(): IterableIterator<OriginId> {
    return this.#subscriptions.keys();
  }

  /** Up to where an origin was sent; undefined when it is not subscribed to. */
  sentTo(origin: OriginId): number | undefined {
    return this.#subscriptions.get(origin)?.sent;
  }

  subscribe({ id, origin, from }: Subscribe): void {
    this.#end(this.#subscriptions.get(origin));
    if (this.#subscriptions.size >= SUBSCRIPTIONS_MAX)
      throw new PeerError('flood', `more than ${SUBSCRIPTIONS_MAX} subscriptions`);
    const reader = this.#open(id, origin, from);
    if (!reader) return;
    const beats = new BeatQueue();
    const last = this.o.lastBeat(origin);
    if (last) beats.push(last);
    this.#subscriptions.set(origin, {
      id,
      origin,
      reader,
      sent: from,
      ready: true,
      waiting: false,
      closed: false,
      beats,
    });
    this.#kick();
  }

  unsubscribe(id: number): void {
    for (const subscription of this.#subscriptions.values()) if (subscription.id === id) this.#end(subscription);
  }

  /** New records may be there. */
  notify(): void {
    for (const subscription of this.#subscriptions.values()) subscription.ready = true;
    this.#kick();
  }

  beat(placed: PlacedBeat): void {
    const subscription = this.#subscriptions.get(placed.beat.origin);
    if (!subscription) return;
    subscription.beats.push(placed);
    subscription.ready = true;
    this.#kick();
  }

  /** An offer replaces one that has not left yet. */
  offer(offer: Downward): void {
    this.#offer = offer;
    this.#kick();
  }

  /** Resolves when all that is here now has been sent. */
  drain(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.notify();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const subscription of this.#subscriptions.values()) this.#end(subscription);
    this.#kick();
    this.#settle();
  }

  #open(id: number, origin: OriginId, from: number): RecordReader | null {
    let reader: RecordReader | { missing: true; firstStart: number };
    try {
      reader = this.o.source.reader(origin, from);
    } catch (error) {
      throw new PeerError('source', messageOf(error));
    }
    if (!('missing' in reader)) return reader;
    this.#control.push({ missing: { subscription: id, firstStart: reader.firstStart } });
    this.#kick();
    return null;
  }

  #end(subscription: Subscription | undefined): void {
    if (!subscription || subscription.closed) return;
    subscription.closed = true;
    if (this.#subscriptions.get(subscription.origin) === subscription) this.#subscriptions.delete(subscription.origin);
    subscription.reader.close();
  }

  #kick(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  #settle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #pump(): Promise<void> {
    try {
      while (!this.#closed) {
        const message = this.#offer ?? this.#control.shift();
        if (message) {
          if (message === this.#offer) this.#offer = null;
          await this.o.write(message);
          continue;
        }
        const subscription = this.#next();
        if (subscription) {
          await this.#serve(subscription);
          continue;
        }
        this.#settle();
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } catch (error) {
      this.o.fail(error instanceof PeerError ? error : new PeerError('source', messageOf(error)));
    }
  }

  /** The next subscription that may have something to send, each in its turn. */
  #next(): Subscription | undefined {
    for (let round = 0; round < 2; round++) {
      for (let next = this.#turn.pop(); next; next = this.#turn.pop()) if (next.ready && !next.closed) return next;
      if (round === 0) this.#turn = [...this.#subscriptions.values()].reverse();
    }
    return undefined;
  }

  async #serve(subscription: Subscription): Promise<void> {
    subscription.ready = false;
    const records = await this.#read(subscription);
    if (subscription.closed) return;
    if (records.length === 0) {
      await this.#beat(subscription);
      this.#await(subscription);
      return;
    }
    subscription.ready = true;
    for (const piece of cut(records)) {
      if (subscription.closed) return;
      let { payload } = piece;
      let inflated = 0;
      if (this.o.deflater.wants(payload.length)) ({ payload, inflated } = await this.o.deflater.deflate(payload));
      const frame = { subscription: subscription.id, payload, inflated };
      const full = this.o.write(
        piece.whole ? { frame } : { chunk: { ...frame, offset: piece.offset, total: piece.total } },
      );
      this.o.sent(0, inflated || payload.length, payload.length);
      if (full) await full;
    }
    if (subscription.closed) return;
    subscription.sent = Math.max(subscription.sent, peekRecord(records[records.length - 1]!).end);
    this.o.sent(records.length, 0, 0);
    await this.#beat(subscription);
  }

  async #read(subscription: Subscription): Promise<Buffer[]> {
    try {
      return await subscription.reader.read(READ_BYTES);
    } catch {
      // What it was reading may just have been trimmed away; opened anew, the source says so.
      if (subscription.closed) return [];
      subscription.reader.close();
      const reader = this.#open(subscription.id, subscription.origin, subscription.sent);
      if (!reader) {
        this.#end(subscription);
        return [];
      }
      subscription.reader = reader;
      subscription.waiting = false;
      return reader.read(READ_BYTES);
    }
  }

  async #beat(subscription: Subscription): Promise<void> {
    const placed = subscription.beats.take(subscription.sent);
    if (placed) await this.o.write({ beat: encodeBeat(placed, subscription.id) });
  }

  #await(subscription: Subscription): void {
    if (subscription.waiting) return;
    subscription.waiting = true;
    const { reader } = subscription;
    const woken = (): void => {
      if (subscription.reader !== reader) return;
      subscription.waiting = false;
      subscription.ready = true;
      this.#kick();
    };
    reader.wait().then(woken, woken);
  }
}
