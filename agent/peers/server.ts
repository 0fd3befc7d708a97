/** The server: what this region's agent offers to those who dial it. One session per region. */
import { Server, type ServerDuplexStream, type handleBidiStreamingCall } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { OriginId } from '../record';
import type { PlacedBeat } from './beat';
import { messageOf, PeerError } from './error';
import { Deflater, MESSAGE_BYTES_MAX } from './frame';
import { checkHello, regionOfCertificate, type Hello } from './hello';
import type { RecordSource, Timing, TlsFiles } from './options';
import { Outlet } from './outlet';
import { meshMethods, type Downward, type Part, type Ping, type Progress, type Upward } from './proto';
import { answer, drained, type Held, refuse, type RequestHandler } from './request';
import { RenewableCredentials } from './server-credentials';

/** Messages that a receiver may send at once (a subscription per origin), and per second for long (acknowledgements). */
const MESSAGES_BURST_MAX = 5000;
const MESSAGES_PER_SECOND_MAX = 1000;
/** Requests of one region that are answered at a time. */
const REQUESTS_MAX = 32;
/** Streams of one connection: Follow, Pulse and requests. */
const STREAMS_MAX = 64;

/** What was sent to a region, over all its sessions. */
export interface SentCounters {
  bytes: number;
  wireBytes: number;
  records: number;
}

export interface ServerHost {
  readonly hello: Hello;
  readonly listen: { host: string; port: number };
  readonly tls: TlsFiles;
  readonly timing: Timing;
  readonly source: RecordSource;
  readonly compression: 'auto' | 'none' | 'deflate';
  readonly handlers: Readonly<Record<string, RequestHandler>>;
  readonly log: Logger;
  /** What is offered now. */
  offer(): Downward;
  lastBeat(origin: OriginId): PlacedBeat | undefined;
  sentTo(region: string): SentCounters;
  acknowledged(region: string, progress: readonly Progress[]): void;
  /** A session ended by an error, or could not begin. */
  failed(region: string, error: PeerError): void;
}

/** A receiver that follows this region. */
class Session {
  readonly outlet: Outlet;
  heardAt = performance.now();
  rttMs = 0;
  #allowance = MESSAGES_BURST_MAX;
  #countedAt = performance.now();
  #ended = false;

  constructor(
    readonly region: string,
    readonly instance: string,
    private readonly call: ServerDuplexStream<Upward, Downward>,
    private readonly host: ServerHost,
    private readonly closed: (session: Session) => void,
  ) {
    const counters = host.sentTo(region);
    this.outlet = new Outlet({
      source: host.source,
      deflater: new Deflater(host.compression, () => this.rttMs),
      write: (message) => {
        if (this.#ended || call.write(message)) return;
        return drained(call);
      },
      lastBeat: (origin) => host.lastBeat(origin),
      sent: (records, bytes, wireBytes) => {
        counters.records += records;
        counters.bytes += bytes;
        counters.wireBytes += wireBytes;
      },
      fail: (error) => this.fail(error),
    });
  }

  take(message: Upward): void {
    const now = performance.now();
    const earned = ((now - this.#countedAt) / 1000) * MESSAGES_PER_SECOND_MAX;
    this.#allowance = Math.min(MESSAGES_BURST_MAX, this.#allowance + earned) - 1;
    this.#countedAt = now;
    if (this.#allowance < 0)
      throw new PeerError('flood', `more than ${MESSAGES_PER_SECOND_MAX} messages a second, for too long`);
    if (message.subscribe) {
      const { origin, from } = message.subscribe;
      if (!Number.isFinite(from) || from < -1) throw new PeerError('malformed', `subscription from ${from}`);
      if (origin.length === 0 || origin.length > 1024) throw new PeerError('malformed', 'subscription to no origin');
      this.outlet.subscribe(message.subscribe);
    } else if (message.unsubscribe) this.outlet.unsubscribe(message.unsubscribe.id);
    else if (message.ack) {
      for (const { have, durable } of message.ack.progress)
        if (!Number.isFinite(have) || !Number.isFinite(durable))
          throw new PeerError('malformed', 'acknowledgement of a position that is no number');
      // Only of what it takes from here: the rest it acknowledges elsewhere, and it can't make this map grow.
      const known = message.ack.progress.filter(({ origin }) => this.outlet.sentTo(origin) !== undefined);
      if (known.length > 0) this.host.acknowledged(this.region, known);
    } else throw new PeerError('malformed', 'message of an unknown kind');
  }

  fail(error: PeerError): void {
    if (this.#ended) return;
    this.end();
    this.host.failed(this.region, error);
    refuse(this.call, error);
  }

  /** Sends what there is, then ends the stream. */
  async drain(): Promise<void> {
    await this.outlet.drain();
    if (this.#ended) return;
    this.end();
    this.call.end();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.outlet.close();
    this.closed(this);
  }
}

export class PeerServer {
  readonly #server: Server;
  readonly #credentials: RenewableCredentials;
  readonly #sessions = new Map<string, Session>();
  readonly #requests = new Map<string, Held>();
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(private readonly host: ServerHost) {
    this.#credentials = new RenewableCredentials(host.tls);
    this.#server = new Server({
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_concurrent_streams': STREAMS_MAX,
    });
    const follow: handleBidiStreamingCall<Upward, Downward> = (call) => this.#follow(call);
    const pulse: handleBidiStreamingCall<Ping, Ping> = (call) => this.#pulse(call);
    const asked: handleBidiStreamingCall<Part, Part> = (call) => void this.#ask(call);
    this.#server.addService(meshMethods(), {
      Follow: follow,
      Pulse: pulse,
      Ask: asked,
    });
  }

  /** @returns the port, for port 0 is a free one */
  async start(): Promise<number> {
    const { host, port } = this.host.listen;
    const bound = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync(address(host, port), this.#credentials, (error, actual) =>
        error
          ? reject(new PeerError('unavailable', `can't listen on ${host}:${port}: ${error.message}`))
          : resolve(actual),
      ),
    );
    this.#timer = setInterval(() => this.#reap(), this.host.timing.pingMs);
    return bound;
  }

  get sessions(): ReadonlyMap<string, { readonly outlet: Outlet; readonly rttMs: number }> {
    return this.#sessions;
  }

  /** For connections from now on. */
  renew(tls: TlsFiles): void {
    this.#credentials.renew(tls);
  }

  notify(): void {
    for (const session of this.#sessions.values()) session.outlet.notify();
  }

  beat(placed: PlacedBeat): void {
    for (const session of this.#sessions.values()) session.outlet.beat(placed);
  }

  offer(offer: Downward): void {
    for (const session of this.#sessions.values()) session.outlet.offer(offer);
  }

  /** Sends what is left, for `ms` at most, and closes everything. */
  async stop(ms: number): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    const closed = (async () => {
      await Promise.all([...this.#sessions.values()].map((session) => session.drain()));
      await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    })();
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([closed, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
    clearTimeout(timer);
    for (const session of [...this.#sessions.values()]) session.end();
    this.#server.forceShutdown();
  }

  #follow(call: ServerDuplexStream<Upward, Downward>): void {
    let session: Session | undefined;
    let region = '';
    const over = (): void => {
      clearTimeout(greeting);
      session?.end();
    };
    const fail = (error: unknown): void => {
      const cause = error instanceof PeerError ? error : new PeerError('malformed', messageOf(error));
      clearTimeout(greeting);
      if (session) return session.fail(cause);
      this.host.failed(region, cause);
      refuse(call, cause);
    };
    const greeting = setTimeout(() => fail(new PeerError('timeout', 'no Hello came')), this.host.timing.helloMs);
    for (const event of ['cancelled', 'close', 'error']) call.on(event, over);
    call.on('end', () => {
      over();
      call.end();
    });
    try {
      region = this.#identify(call);
    } catch (error) {
      fail(error);
      return;
    }
    call.on('data', (message: Upward) => {
      try {
        if (session) session.take(message);
        else {
          clearTimeout(greeting);
          session = this.#greet(call, message, region);
        }
      } catch (error) {
        fail(error);
      }
    });
  }

  #greet(call: ServerDuplexStream<Upward, Downward>, { hello }: Upward, region: string): Session {
    if (this.#stopping) throw new PeerError('stopped', 'this agent is stopping');
    if (!hello) throw new PeerError('malformed', 'the first message is no Hello');
    checkHello(this.host.hello, hello, region);
    this.#sessions.get(region)?.fail(new PeerError('replaced', `a newer stream of region ${region} took its place`));
    const session = new Session(hello.region, hello.instance, call, this.host, (ended) => {
      if (this.#sessions.get(region) === ended) this.#sessions.delete(region);
    });
    this.#sessions.set(region, session);
    call.write({ hello: this.host.hello });
    session.outlet.offer(this.host.offer());
    return session;
  }

  #pulse(call: ServerDuplexStream<Ping, Ping>): void {
    call.on('error', () => undefined);
    let region: string;
    try {
      region = this.#identify(call);
    } catch (error) {
      refuse(call, error as PeerError);
      return;
    }
    call.on('data', (ping: Ping) => {
      const session = this.#sessions.get(region);
      if (session) {
        session.heardAt = performance.now();
        if (ping.rttMs >= 0) session.rttMs = ping.rttMs;
      }
      if (!call.writableNeedDrain) call.write(ping);
    });
    call.on('end', () => call.end());
  }

  async #ask(call: ServerDuplexStream<Part, Part>): Promise<void> {
    call.on('error', () => undefined);
    let region: string;
    let held: Held;
    try {
      region = this.#identify(call);
      held = this.#requests.get(region) ?? { requests: 0, bytes: 0 };
      if (held.requests >= REQUESTS_MAX) throw new PeerError('flood', `more than ${REQUESTS_MAX} requests at a time`);
      held.requests++;
      this.#requests.set(region, held);
    } catch (error) {
      refuse(call, error as PeerError);
      return;
    }
    await answer(call, region, this.host.handlers, held);
    held.requests--;
  }

  /** The region that the caller's certificate proves. */
  #identify(call: { getAuthContext(): { sslPeerCertificate?: { subjectaltname?: string } } }): string {
    const certificate = call.getAuthContext().sslPeerCertificate;
    if (!certificate) throw new PeerError('identity', 'no certificate of the mesh');
    return regionOfCertificate(certificate, this.host.hello.stack);
  }

  /** A receiver that vanished without a word leaves its stream behind. */
  #reap(): void {
    const { deadMs } = this.host.timing;
    for (const session of [...this.#sessions.values()])
      if (performance.now() - session.heardAt > deadMs)
        session.fail(new PeerError('timeout', `no ping for ${deadMs} ms`));
  }
}

export function address(host: string, port: number): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`;
}
