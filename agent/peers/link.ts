/**
 * A link: the stream that this agent dials to one peer, by which it receives. It connects, proves who both are, keeps
 * the stream alive, and tries again when it breaks. What to take by it is decided in mesh.ts.
 */
import {
  Client,
  credentials,
  type ChannelOptions,
  type ClientDuplexStream,
  type MethodDefinition,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { OriginId } from '../record';
import { Backoff } from './backoff';
import { decodeBeat, type PlacedBeat } from './beat';
import { isLasting, PeerError, type PeerErrorCode } from './error';
import { Assembly, CHUNK_BYTES, FRAME_BYTES, inflate, MESSAGE_BYTES_MAX, split } from './frame';
import { certificateName, checkCertificate, checkHello, type Hello } from './hello';
import type { Following, Inlet } from './inlet';
import type { LinkState, PeerAddress, Timing, TlsFiles } from './options';
import { SUBSCRIPTIONS_MAX } from './outlet';
import {
  meshMethods,
  type Downward,
  type FrameMessage,
  type Offer,
  type Part,
  type Ping,
  type Progress,
  type Upward,
} from './proto';
import { ask, toPeerError } from './request';
import { pathFault, type Path } from './route';
import { address } from './server';

/**
 * What a sender may have on its way to us: the bandwidth-delay product of 1 Gbit/s over 130 ms. HTTP/2's default, 64 KB,
 * would hold a link of 100 ms to 0.6 MB/s.
 */
const WINDOW_BYTES = 16 * 1024 * 1024;

const CHANNEL: ChannelOptions = {
  'grpc-node.flow_control_window': WINDOW_BYTES,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  // A link has a connection of its own, and its own idea of when to try again.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
};

/** A new link is measured at once, before it has anything to do. */
const FIRST_PINGS = 20;
const FIRST_PINGS_MS = 50;

/** How long the other side of a failed connection has to end its streams. */
const CANCEL_MS = 1000;
/** A peer that lacks an origin is asked again after so long. */
const MISSING_MS = 10_000;
/** After so long up, the next failure is a new one. */
const STEADY_MS = 2000;

export interface LinkHost {
  readonly hello: Hello;
  /** Asked at each connection. */
  tls(): TlsFiles;
  readonly timing: Timing;
  readonly inlet: Inlet;
  readonly log: Logger;
  /** What is offered by this link changed, or whether it is up. */
  changed(): void;
  beat(placed: PlacedBeat, from: string): void;
  missing(link: Link, origin: OriginId, firstStart: number): void;
  /** Up to where an origin is journalled here; -1: not at all. */
  durable(origin: OriginId): number;
}

export class Link {
  state: LinkState = 'connecting';
  since = Date.now();
  rttMs: number | null = null;
  error: PeerError | null = null;
  readonly errors: Partial<Record<PeerErrorCode, number>> = {};
  receivedBytes = 0;
  receivedRecords = 0;
  duplicateRecords = 0;

  paths: ReadonlyMap<string, Path> = new Map();
  ends: ReadonlyMap<OriginId, number> = new Map();
  readonly #missing = new Map<OriginId, { at: number; until: number }>();

  #connection: Connection | null = null;
  #stopped = false;
  #wake: (() => void) | null = null;
  #run: Promise<void> | null = null;

  constructor(
    readonly peer: PeerAddress,
    private readonly host: LinkHost,
  ) {}

  start(): void {
    this.#run ??= this.#loop();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#connection?.fail(new PeerError('stopped', 'this agent is stopping'));
    this.#wake?.();
    await this.#run;
  }

  /** Origins that the peer lacks, as far as that still stands. */
  missing(): ReadonlySet<OriginId> {
    for (const [origin, { at, until }] of this.#missing)
      if (this.host.inlet.position(origin) !== at || Date.now() >= until) this.#missing.delete(origin);
    return new Set(this.#missing.keys());
  }

  follow(origin: OriginId): void {
    this.#connection?.follow(origin);
  }

  leave(origin: OriginId): void {
    this.#connection?.leave(origin);
  }

  /** Positions may have changed: tell the peer, soon. */
  acknowledge(): void {
    this.#connection?.acknowledge();
  }

  ask(name: string, payload: Buffer): AsyncGenerator<Buffer, void, undefined> {
    if (this.state !== 'up' || !this.#connection)
      throw new PeerError('not-connected', `region ${this.peer.region} is not connected`);
    return this.#connection.ask(name, payload);
  }

  async #loop(): Promise<void> {
    const { backoffMinMs, backoffMaxMs } = this.host.timing;
    const backoff = new Backoff(backoffMinMs, backoffMaxMs);
    while (!this.#stopped) {
      this.#become('connecting');
      const connection = new Connection(this, this.host, () => {
        this.#become('up');
        this.host.log.info({ peer: this.peer.region }, 'link is up');
      });
      this.#connection = connection;
      const error = await connection.run();
      this.#connection = null;
      if (this.#stopped) break;
      if (this.state === 'up' && Date.now() - this.since > STEADY_MS) backoff.reset();
      this.#failed(error);
      const delay = backoff.next(isLasting(error.code));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, delay);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    this.#become('down');
  }

  #failed(error: PeerError): void {
    const again = this.error?.code === error.code && this.state !== 'up';
    this.error = error;
    this.errors[error.code] = (this.errors[error.code] ?? 0) + 1;
    const fields = { peer: this.peer.region, code: error.code, error: error.message };
    if (again) this.host.log.debug(fields, 'link is still down');
    else this.host.log.warn(fields, 'link is down');
    this.#become('down');
  }

  #become(state: LinkState): void {
    // A retry is no news: it stays down, since when it went down, until it is up.
    if (this.state === state || (state === 'connecting' && this.state === 'down')) return;
    this.state = state;
    this.since = Date.now();
    if (state === 'up') this.error = null;
    else {
      this.rttMs = null;
      this.paths = new Map();
      this.ends = new Map();
      this.#missing.clear();
    }
    this.host.changed();
  }

  /** @internal of the connection */
  take(offer: Offer): void {
    const { region } = this.peer;
    const paths = new Map<string, Path>();
    for (const { region: to, path } of offer.routes) {
      const fault = pathFault(region, to, path);
      if (fault) throw new PeerError('malformed', `${region} offers ${fault}`);
      paths.set(to, path);
    }
    const ends = new Map<OriginId, number>();
    for (const { origin, end } of offer.holdings) {
      if (!Number.isFinite(end) || origin.length === 0 || origin.length > 1024)
        throw new PeerError('malformed', `${region} offers an origin that is none`);
      ends.set(origin, end);
    }
    if (ends.size > SUBSCRIPTIONS_MAX) throw new PeerError('flood', `${region} offers ${ends.size} origins`);
    this.paths = paths;
    this.ends = ends;
    this.host.changed();
  }

  /** @internal of the connection */
  lacks(origin: OriginId, firstStart: number): void {
    this.#missing.set(origin, { at: this.host.inlet.position(origin), until: Date.now() + MISSING_MS });
    this.host.missing(this, origin, firstStart);
  }
}

interface Subscribed extends Following {
  acked: Progress;
  /** Where a gap was met; a second time at the same place it is an error. */
  gapAt: number;
}

/** One try: from dialling to the end of the stream. */
class Connection {
  readonly #client: Client;
  readonly #call: ClientDuplexStream<Upward, Downward>;
  readonly #following = new Map<OriginId, Subscribed>();
  readonly #byId = new Map<number, Subscribed>();
  readonly #calls = new Set<{ cancel(): void; end(): void }>();
  readonly #assembly = new Assembly();
  #assembling = 0;
  #nextId = 1;
  #greeted = false;
  #identityError: PeerError | null = null;
  #failure: PeerError | null = null;
  #timer: NodeJS.Timeout | undefined;
  #ackTimer: NodeJS.Timeout | undefined;
  #ackedAt = -Infinity;

  constructor(
    private readonly link: Link,
    private readonly host: LinkHost,
    private readonly up: () => void,
  ) {
    const { region, host: name, port } = link.peer;
    const { stack } = host.hello;
    const { ca, cert, key } = host.tls();
    const secure = credentials.createSsl(ca, key, cert, {
      // The certificate names a region, not a host: addresses change, and in a proxy's or load balancer's way they lie.
      checkServerIdentity: (_host, certificate) => {
        try {
          checkCertificate(certificate, region, stack);
          return undefined;
        } catch (error) {
          this.#identityError = error as PeerError;
          return error as PeerError;
        }
      },
    });
    this.#client = new Client(address(name, port), secure, {
      ...CHANNEL,
      'grpc.ssl_target_name_override': certificateName(region, stack),
    });
    this.#call = this.#open<Upward, Downward>(meshMethods().Follow);
  }

  #open<Q, R>(method: MethodDefinition<Q, R>): ClientDuplexStream<Q, R> {
    const call = this.#client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
    call.on('error', () => undefined); // told by whoever reads the call
    this.#calls.add(call);
    call.on('close', () => this.#calls.delete(call));
    return call;
  }

  /** @returns why it ended */
  async run(): Promise<PeerError> {
    const { helloMs } = this.host.timing;
    const greeting = setTimeout(() => this.fail(new PeerError('timeout', `no Hello within ${helloMs} ms`)), helloMs);
    try {
      this.#call.write({ hello: this.host.hello });
      for await (const message of this.#call as AsyncIterable<Downward>) {
        if (this.#failure) break;
        if (this.#greeted) {
          const taken = this.#take(message);
          if (taken) await taken;
        } else {
          clearTimeout(greeting);
          this.#greet(message);
        }
      }
      this.fail(new PeerError('unavailable', 'the peer ended the stream'));
    } catch (error) {
      this.fail(this.#identityError ?? toPeerError(error));
    } finally {
      clearTimeout(greeting);
    }
    return this.#failure!;
  }

  /** Ends it; the first reason stands. */
  fail(error: PeerError): void {
    if (this.#failure) return;
    this.#failure = error;
    clearTimeout(this.#timer);
    clearTimeout(this.#ackTimer);
    this.#following.clear();
    this.#byId.clear();
    // Ended, not cancelled, for usually the connection is going away by itself: resetting a stream of it at that moment was
    // seen to keep Node.js 20 in an endless loop (Http2Stream::SubmitRstStream). Who does not answer is cancelled then.
    const calls = [...this.#calls];
    for (const call of calls) call.end();
    this.#client.close();
    setTimeout(() => {
      for (const call of calls) call.cancel();
    }, CANCEL_MS).unref();
  }

  follow(origin: OriginId): void {
    if (!this.#greeted || this.#failure || this.#following.has(origin)) return;
    this.#subscribe(origin, -Infinity);
  }

  #subscribe(origin: OriginId, gapAt: number): void {
    const id = this.#nextId++;
    const subscribed: Subscribed = {
      id,
      origin,
      lastStart: -Infinity,
      gapAt,
      acked: { origin, have: -1, durable: -1 },
    };
    this.#following.set(origin, subscribed);
    this.#byId.set(id, subscribed);
    this.#call.write({ subscribe: { id, origin, from: this.host.inlet.position(origin) } });
    this.acknowledge();
  }

  leave(origin: OriginId): void {
    const subscribed = this.#following.get(origin);
    if (!subscribed) return;
    this.#forget(subscribed);
    this.#call.write({ unsubscribe: { id: subscribed.id } });
  }

  #forget(subscribed: Subscribed): void {
    this.#following.delete(subscribed.origin);
    this.#byId.delete(subscribed.id);
    if (this.#assembling === subscribed.id) this.#assembly.clear();
  }

  acknowledge(): void {
    if (this.#ackTimer || !this.#greeted || this.#failure) return;
    const wait = Math.max(0, this.#ackedAt + this.host.timing.ackMs - performance.now());
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      if (this.#call.writableNeedDrain) return this.acknowledge();
      const progress: Progress[] = [];
      for (const subscribed of this.#following.values()) {
        const { origin, acked } = subscribed;
        const have = this.host.inlet.position(origin);
        const durable = this.host.durable(origin);
        if (have === acked.have && durable === acked.durable) continue;
        subscribed.acked = { origin, have, durable };
        progress.push(subscribed.acked);
      }
      if (progress.length === 0) return;
      this.#ackedAt = performance.now();
      this.#call.write({ ack: { progress } });
    }, wait);
  }

  ask(name: string, payload: Buffer): AsyncGenerator<Buffer, void, undefined> {
    return ask(this.#open<Part, Part>(meshMethods().Ask), name, payload);
  }

  #greet({ hello }: Downward): void {
    if (!hello) throw new PeerError('malformed', 'the first message is no Hello');
    checkHello(this.host.hello, hello, this.link.peer.region);
    this.#greeted = true;
    this.#pulse();
    this.up();
  }

  /** Nothing returned: taken at once. */
  #take(message: Downward): void | Promise<void> {
    if (message.frame ?? message.chunk) return this.#records(message);
    if (message.beat) {
      const subscribed = this.#byId.get(message.beat.subscription);
      if (!subscribed) return this.#stale(message.beat.subscription);
      const placed = decodeBeat(message.beat, subscribed.origin);
      if (this.host.inlet.admit(placed)) this.host.beat(placed, this.link.peer.region);
      return;
    }
    if (message.offer) return this.link.take(message.offer);
    if (message.missing) {
      const subscribed = this.#byId.get(message.missing.subscription);
      if (!subscribed) return this.#stale(message.missing.subscription);
      if (!Number.isFinite(message.missing.firstStart))
        throw new PeerError('malformed', 'an origin missing up to a position that is no number');
      this.#forget(subscribed);
      this.link.lacks(subscribed.origin, message.missing.firstStart);
      return;
    }
    throw new PeerError('malformed', 'message of an unknown kind');
  }

  /** What a subscription that is over still had on its way is no fault; one that never was is. */
  #stale(id: number): void {
    if (id === 0 || id >= this.#nextId) throw new PeerError('malformed', `subscription ${id} was never made`);
  }

  async #records({ frame, chunk }: Downward): Promise<void> {
    const message = (frame ?? chunk)!;
    const subscribed = this.#byId.get(message.subscription);
    if (!subscribed) return this.#stale(message.subscription);
    if (frame && this.#assembly.open) throw new PeerError('malformed', 'a frame in the middle of a record');
    const payload = await this.#inflated(message, frame ? FRAME_BYTES : CHUNK_BYTES);
    // It may have been left while it was inflated.
    if (this.#byId.get(message.subscription) !== subscribed) return;
    this.link.receivedBytes += payload.length;
    if (!chunk) return this.#deliver(subscribed, split(payload), false);
    this.#assembling = subscribed.id;
    const { offset, total } = chunk;
    const record = this.#assembly.add({ subscription: subscribed.id, payload, offset, total });
    if (record) await this.#deliver(subscribed, [record], true);
  }

  #inflated({ payload, inflated }: FrameMessage, limit: number): Buffer | Promise<Buffer> {
    if (payload.length > limit)
      throw new PeerError('flood', `payload of ${payload.length} bytes; the limit is ${limit}`);
    return inflated === 0 ? payload : inflate(payload, inflated, limit);
  }

  async #deliver(subscribed: Subscribed, records: Buffer[], verified: boolean): Promise<void> {
    const { origin } = subscribed;
    const { fresh, gap } = await this.host.inlet.deliver(subscribed, records, this.link.peer.region, verified);
    this.link.receivedRecords += fresh;
    if (!gap) this.link.duplicateRecords += records.length - fresh;
    this.acknowledge();
    if (!gap || this.#byId.get(subscribed.id) !== subscribed) return;
    const at = this.host.inlet.position(origin);
    if (subscribed.gapAt === at) throw new PeerError('gap', `${origin} does not go on at ${at}`);
    this.#forget(subscribed);
    this.#subscribe(origin, at);
  }

  #pulse(): void {
    const { pingMs, deadMs } = this.host.timing;
    const call = this.#open<Ping, Ping>(meshMethods().Pulse);
    let id = 0;
    let sentAt = 0;
    let heardAt = performance.now();
    const ping = (): void => {
      const silent = performance.now() - heardAt;
      if (silent > deadMs) return this.fail(new PeerError('timeout', `no pong for ${Math.round(silent)} ms`));
      sentAt = performance.now();
      // The sender decides by it what the network is like: the least of all, without what a busy process adds.
      if (!call.writableNeedDrain) call.write({ id: ++id, rttMs: least === Infinity ? -1 : least });
      this.#timer = setTimeout(ping, id < FIRST_PINGS ? Math.min(pingMs, FIRST_PINGS_MS) : pingMs);
    };
    let least = Infinity;
    call.on('data', (pong: Ping) => {
      heardAt = performance.now();
      if (pong.id !== id) return;
      this.link.rttMs = heardAt - sentAt;
      least = Math.min(least, this.link.rttMs);
    });
    call.on('error', (error) => this.fail(toPeerError(error)));
    ping();
  }
}
