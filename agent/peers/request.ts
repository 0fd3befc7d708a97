/** Requests between agents: a name and a payload there, one or many items back. Items of any size travel in parts. */
import { Metadata, status, type ClientDuplexStream, type ServerDuplexStream } from '@grpc/grpc-js';
import { RECORD_BYTES_MAX } from '../record';
import { fromDetails, messageOf, PeerError, toDetails } from './error';
import { CHUNK_BYTES } from './frame';
import type { Part } from './proto';

/** Answers with one item, or with a sequence of them. */
export type RequestHandler = (payload: Buffer, from: string) => Promise<Buffer> | AsyncIterable<Buffer>;

/** What a request may carry. Replies are bounded per item, by the largest record. */
export const REQUEST_BYTES_MAX = 64 * 1024 * 1024;
/** What all requests of one region may have here at a time. */
const HELD_BYTES_MAX = 2 * REQUEST_BYTES_MAX;

/** All but an item's last part are CHUNK_BYTES long; less than this is refused. */
const PART_BYTES_MIN = 16 * 1024;

/** Cuts an item into parts; an empty item is one empty part. */
function* parts(item: Buffer, name = ''): Generator<Part> {
  let at = 0;
  do {
    const data = item.subarray(at, at + CHUNK_BYTES);
    at += CHUNK_BYTES;
    yield { name: at === CHUNK_BYTES ? name : '', data, last: at >= item.length };
  } while (at < item.length);
}

/** Puts items together from parts. */
export class Items {
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(private readonly limit: number) {}

  add(part: Part): Buffer | null {
    this.#bytes += part.data.length;
    if (this.#bytes > this.limit) throw new PeerError('flood', `item of more than ${this.limit} bytes`);
    // Many small ones would cost this side far more than their bytes.
    if (part.data.length < PART_BYTES_MIN && !part.last)
      throw new PeerError('malformed', `part of ${part.data.length} bytes that is not an item's last`);
    this.#parts.push(part.data);
    if (!part.last) return null;
    const item = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    return item;
  }
}

interface Sink {
  write(part: Part): boolean;
  once(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
}

async function send(sink: Sink, item: Buffer, name: string, gone: () => boolean): Promise<void> {
  for (const part of parts(item, name)) {
    if (gone()) throw new PeerError('unavailable', 'the other side went away');
    if (!sink.write(part)) await drained(sink);
  }
}

/** Also when the stream ends: then nothing will drain. */
export function drained(stream: Pick<Sink, 'once' | 'off'>): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'cancelled', 'close', 'error']) stream.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'cancelled', 'close', 'error']) stream.once(event, done);
  });
}

/** What one region's requests hold here, all together. */
export interface Held {
  requests: number;
  bytes: number;
}

/** Reads the request. Not by `for await`: that would destroy the stream at its end, and the reply with it. */
function question(
  call: ServerDuplexStream<Part, Part>,
  hold: (bytes: number) => void,
): Promise<{ name: string; payload: Buffer }> {
  const items = new Items(REQUEST_BYTES_MAX);
  let name = '';
  let take: (part: Part) => void = () => undefined;
  return new Promise<{ name: string; payload: Buffer }>((resolve, reject) => {
    take = (part) => {
      try {
        hold(part.data.length);
        name ||= part.name;
        const payload = items.add(part);
        if (payload) resolve({ name, payload });
      } catch (error) {
        reject(toPeerError(error));
      }
    };
    call.on('data', take);
    const cut = (): void => reject(new PeerError('malformed', 'request without an end'));
    for (const event of ['end', 'cancelled', 'close', 'error']) call.once(event, cut);
  }).finally(() => {
    // What still comes is kept by nobody.
    call.off('data', take);
    call.resume();
  });
}

/** The server's side of one request; what it holds is counted in `held` until it is answered. */
export async function answer(
  call: ServerDuplexStream<Part, Part>,
  from: string,
  handlers: Readonly<Record<string, RequestHandler>>,
  held: Held,
): Promise<void> {
  let gone = false;
  let own = 0;
  let isOver = false;
  const hold = (bytes: number): void => {
    if (isOver) return;
    own += bytes;
    held.bytes += bytes;
    if (held.bytes > HELD_BYTES_MAX)
      throw new PeerError('flood', `requests of more than ${HELD_BYTES_MAX} bytes at a time`);
  };
  for (const event of ['cancelled', 'close', 'error']) call.once(event, () => (gone = true));
  try {
    const { name, payload } = await question(call, hold);
    const handler = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
    if (!handler) throw new PeerError('unknown-request', `no handler for requests named ${name.slice(0, 100)}`);
    const reply = handler(payload, from);
    if (Symbol.asyncIterator in reply) for await (const item of reply) await send(call, item, '', () => gone);
    else await send(call, await reply, '', () => gone);
    call.end();
  } catch (error) {
    if (!gone) refuse(call, error instanceof PeerError ? error : new PeerError('request', messageOf(error)));
  } finally {
    isOver = true;
    held.bytes -= own;
  }
}

/** Ends a call with an error. */
export function refuse(call: Pick<ServerDuplexStream<unknown, unknown>, 'emit'>, error: PeerError): void {
  call.emit('error', {
    code: error.code === 'identity' ? status.PERMISSION_DENIED : status.ABORTED,
    details: toDetails(error),
    metadata: new Metadata(),
  });
}

/** The client's side: the items of the reply, as they come. */
export async function* ask(
  call: ClientDuplexStream<Part, Part>,
  name: string,
  payload: Buffer,
): AsyncGenerator<Buffer, void, undefined> {
  if (payload.length > REQUEST_BYTES_MAX)
    throw new PeerError('request', `request of ${payload.length} bytes; the limit is ${REQUEST_BYTES_MAX}`);
  let gone = false;
  call.on('error', () => (gone = true));
  try {
    const sent = send(call, payload, name, () => gone).then(
      () => void call.end(),
      () => undefined, // the reply's stream says why
    );
    const items = new Items(RECORD_BYTES_MAX);
    for await (const part of call as AsyncIterable<Part>) {
      const item = items.add(part);
      if (item) yield item;
    }
    await sent;
  } catch (error) {
    throw toPeerError(error);
  } finally {
    call.cancel();
  }
}

/** A failed call's error, in this folder's terms. */
export function toPeerError(error: unknown): PeerError {
  if (error instanceof PeerError) return error;
  const { code, details } = error as { code?: number; details?: string };
  const ours = details === undefined ? null : fromDetails(details);
  if (ours) return ours;
  const message = (details ?? messageOf(error)).slice(0, 500);
  if (code === status.DEADLINE_EXCEEDED) return new PeerError('timeout', message);
  // What OpenSSL says of certificates, on either side of the handshake.
  if (/certificate|unknown ca|unable to (verify|get)|self.signed/i.test(message))
    return new PeerError('identity', message);
  if (code === status.RESOURCE_EXHAUSTED) return new PeerError('flood', message);
  return new PeerError('unavailable', message);
}
