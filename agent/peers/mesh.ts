/**
 * The mesh: all links of one agent. It decides, whenever a link or what it offers changes, from which peer each origin
 * is taken, and passes on what the agent and the peers tell each other.
 */
import { randomUUID } from 'crypto';
import { regionOf, type OriginId } from '../record';
import type { Beat, PlacedBeat } from './beat';
import { PeerError, type PeerErrorCode } from './error';
import { PROTOCOL, type Hello } from './hello';
import { Inlet } from './inlet';
import { Link } from './link';
import { TIMING, type LinkStatus, type PeerMeshOptions, type Timing, type TlsFiles } from './options';
import type { Downward, Progress } from './proto';
import { computeRoutes, type PeerOffer, type Routes } from './route';
import { PeerServer, type SentCounters } from './server';

/** Between offers that only tell how far the origins have grown. */
const OFFER_MS = 1000;

interface Peer {
  link: Link | null;
  readonly sent: SentCounters;
  readonly acked: Map<OriginId, Progress>;
  /** Of the stream by which it follows this agent. */
  readonly errors: Partial<Record<PeerErrorCode, number>>;
  error: PeerError | null;
  failedAt: number;
}

export class PeerMesh {
  readonly #hello: Hello;
  readonly #timing: Timing;
  #tls: TlsFiles;
  readonly #inlet: Inlet;
  readonly #server: PeerServer;
  readonly #peers = new Map<string, Peer>();
  readonly #beats = new Map<OriginId, PlacedBeat>();
  #routes: Routes = { paths: new Map(), via: new Map(), sources: new Map() };
  #ends = new Map<OriginId, number>();
  #endsStale = true;
  #offered = '';
  #timer: NodeJS.Timeout | undefined;
  #port = 0;
  #routing = false;
  #stopped = false;

  constructor(private readonly o: PeerMeshOptions) {
    const { region, stack, meshVersion, policies = '', slots = '' } = o;
    this.#hello = { protocol: PROTOCOL, meshVersion, stack, region, instance: randomUUID(), policies, slots };
    this.#timing = { ...TIMING, ...o.timing };
    this.#tls = o.tls;
    this.#inlet = new Inlet(o);
    this.#server = new PeerServer({
      hello: this.#hello,
      listen: o.listen,
      tls: o.tls,
      timing: this.#timing,
      source: o.source,
      compression: o.compression,
      handlers: o.handlers,
      log: o.log,
      offer: () => this.#offer(),
      lastBeat: (origin) => this.#beats.get(origin),
      sentTo: (peer) => this.#peer(peer).sent,
      acknowledged: (peer, progress) => this.#acknowledged(peer, progress),
      failed: (peer, error) => this.#failed(peer, error),
    });
    for (const address of o.peers) {
      if (address.region === region) throw new PeerError('identity', `region ${region} is among its own peers`);
      this.#peer(address.region).link = new Link(address, {
        hello: this.#hello,
        tls: () => this.#tls,
        timing: this.#timing,
        inlet: this.#inlet,
        log: o.log,
        changed: () => this.#reroute(),
        beat: (placed, from) => this.#beat(placed, from),
        missing: (link, origin, firstStart) => this.#missing(link, origin, firstStart),
        durable: (origin) => o.durable(origin),
      });
    }
  }

  /** Listens, and begins to dial. @throws PeerError when the port is taken */
  async start(): Promise<void> {
    this.#routeNow();
    this.#port = await this.#server.start();
    for (const { link } of this.#peers.values()) link?.start();
    this.#timer = setInterval(() => {
      this.#endsStale = true;
      this.#routeNow();
      this.#announce(true);
    }, OFFER_MS);
  }

  /** Where it listens: as configured, or the free port that was found for 0. */
  get port(): number {
    return this.#port;
  }

  /** Stops receiving, sends what there is, and closes; within Timing.drainMs. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#timer);
    const { drainMs } = this.#timing;
    const links = [...this.#peers.values()].map(async ({ link }) => link?.stop());
    const received = Promise.all(links).then(() => this.#inlet.settled());
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, drainMs)));
    await Promise.all([this.#server.stop(drainMs), Promise.race([received, limit])]);
    clearTimeout(timer);
  }

  /** Takes other certificates for all connections from now on. Links that are up stay as they are. */
  renew(tls: TlsFiles): void {
    this.#tls = tls;
    this.#server.renew(tls);
  }

  /** Sends this region's own beat, after all records before its position. */
  publish(beat: Beat): void {
    this.#endsStale = true;
    this.#pass({ beat, after: Math.min(beat.position, this.#readable().get(beat.origin) ?? -1) });
  }

  /** New records, own or foreign, may be there to be sent. */
  notify(): void {
    this.#endsStale = true;
    this.#server.notify();
    this.#announce(false);
  }

  /** More records may have become durable. */
  acknowledge(): void {
    for (const { link } of this.#peers.values()) link?.acknowledge();
  }

  /** Positions, origins or what is wanted changed otherwise than by onRecords. */
  refresh(): void {
    this.#endsStale = true;
    this.#routeNow();
    this.notify();
  }

  /** An origin's position went back: what was handed on is forgotten, and it is taken anew from `have`. */
  rewind(origin: OriginId): void {
    this.#inlet.rewind(origin);
    const from = this.#routes.sources.get(origin);
    const link = from === undefined ? null : this.#peers.get(from)?.link;
    link?.leave(origin);
    link?.follow(origin);
  }

  /** @throws PeerError `not-connected`, `timeout`, or what the handler there threw */
  async request(region: string, name: string, payload: Buffer, o: { timeoutMs?: number } = {}): Promise<Buffer> {
    const timeoutMs = o.timeoutMs ?? 30_000;
    const items = this.#link(region).ask(name, payload);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new PeerError('timeout', `no answer to ${name} from ${region} within ${timeoutMs} ms`));
      }, timeoutMs);
    });
    try {
      const all: Buffer[] = [];
      for (;;) {
        const item = await Promise.race([items.next(), late]);
        if (item.done) break;
        all.push(item.value);
      }
      return all.length === 1 ? all[0]! : Buffer.concat(all);
    } finally {
      clearTimeout(timer);
      void items.return().catch(() => undefined);
    }
  }

  /** Up to where an origin is to be had from a peer that is connected, −1 for not at all. */
  reach(origin: OriginId): number {
    let end = -1;
    for (const { link } of this.#peers.values())
      if (link?.state === 'up') end = Math.max(end, link.ends.get(origin) ?? -1);
    return end;
  }

  /** The items of the reply, as they come; a slow reader holds back the handler there. */
  requestStream(region: string, name: string, payload: Buffer): AsyncIterable<Buffer> {
    return this.#link(region).ask(name, payload);
  }

  links(): LinkStatus[] {
    this.#endsStale = true;
    return [...this.#peers].map(([peer, { link, sent, errors, error, ...rest }]) => {
      const session = this.#server.sessions.get(peer.toLowerCase());
      const serving = session !== undefined;
      const shown = link ? link.error : serving ? null : error;
      const all = { ...errors };
      for (const [code, n] of Object.entries(link?.errors ?? {}) as [PeerErrorCode, number][])
        all[code] = (all[code] ?? 0) + n;
      return {
        peer,
        state: link?.state ?? (serving ? 'up' : 'down'),
        since: link?.since ?? rest.failedAt,
        rttMs: link?.rttMs ?? (session?.rttMs || null),
        serving,
        sentBytes: sent.bytes,
        sentWireBytes: sent.wireBytes,
        sentRecords: sent.records,
        receivedBytes: link?.receivedBytes ?? 0,
        receivedRecords: link?.receivedRecords ?? 0,
        duplicateRecords: link?.duplicateRecords ?? 0,
        pendingBytes: this.#pending(peer),
        ...(shown ? { error: { code: shown.code, message: shown.message } } : {}),
        errors: all,
        routes: [...this.#routes.via].filter(([, via]) => via === peer).map(([region]) => region),
      };
    });
  }

  #peer(region: string): Peer {
    let peer = this.#peers.get(region);
    if (!peer) {
      const sent = { bytes: 0, wireBytes: 0, records: 0 };
      peer = { link: null, sent, acked: new Map(), errors: {}, error: null, failedAt: Date.now() };
      this.#peers.set(region, peer);
    }
    return peer;
  }

  #link(region: string): Link {
    const link = this.#peers.get(region)?.link;
    if (!link) throw new PeerError('not-connected', `region ${region} is not among the peers`);
    return link;
  }

  /** Ends of what can be sent from here. */
  #readable(): ReadonlyMap<OriginId, number> {
    if (this.#endsStale) {
      this.#ends = new Map(this.o.source.origins().map(({ origin, end }) => [origin, end]));
      this.#endsStale = false;
    }
    return this.#ends;
  }

  /** What the peer still has to get: of the origins it takes, or took, from here. */
  #pending(region: string): number {
    const { acked } = this.#peer(region);
    const outlet = this.#server.sessions.get(region.toLowerCase())?.outlet;
    let bytes = 0;
    for (const [origin, { have }] of acked) {
      if (outlet && outlet.sentTo(origin) === undefined) continue;
      if (have >= 0) bytes += Math.max(0, (this.#readable().get(origin) ?? -1) - have);
    }
    return bytes;
  }

  #acknowledged(region: string, progress: readonly Progress[]): void {
    const { acked } = this.#peer(region);
    for (const entry of progress) acked.set(entry.origin, entry);
    this.o.onAck?.(region, new Map(progress.map(({ origin, durable }) => [origin, durable])));
  }

  #failed(region: string, error: PeerError): void {
    if (region !== '') {
      const peer = this.#peer(region);
      peer.errors[error.code] = (peer.errors[error.code] ?? 0) + 1;
      peer.error = error;
      peer.failedAt = Date.now();
    }
    this.o.log.warn({ peer: region, code: error.code, error: error.message }, 'stream to a peer ended');
  }

  #beat(placed: PlacedBeat, from: string): void {
    this.o.onBeat(placed.beat, from);
    // Passed on once what came before it can be. What came after it may be here already.
    const { origin, position } = placed.beat;
    this.#pass({ beat: placed.beat, after: Math.min(position, this.#inlet.position(origin)) });
  }

  #pass(placed: PlacedBeat): void {
    this.#beats.set(placed.beat.origin, placed);
    this.#server.beat(placed);
  }

  #missing(link: Link, origin: OriginId, firstStart: number): void {
    this.#routeNow();
    if (!this.#routes.sources.has(origin)) this.o.onMissing(origin, firstStart, link.peer.region);
  }

  /** Soon, and once for all changes that come together. */
  #reroute(): void {
    if (this.#routing) return;
    this.#routing = true;
    queueMicrotask(() => {
      this.#routing = false;
      this.#routeNow();
    });
  }

  #routeNow(): void {
    if (this.#stopped) return;
    const links = new Map<string, Link>();
    const peers = new Map<string, PeerOffer>();
    for (const [peer, { link }] of this.#peers) {
      if (link?.state !== 'up') continue;
      links.set(peer, link);
      peers.set(peer, { paths: link.paths, ends: link.ends, missing: link.missing() });
    }
    const { region } = this.o;
    const before = this.#routes.sources;
    const routes = computeRoutes({
      region,
      peers,
      have: (origin) => this.#inlet.position(origin),
      wants: (origin) => this.o.wants?.(origin) ?? regionOf(origin) !== region,
      current: before,
    });
    this.#routes = routes;
    for (const [origin, peer] of before) if (routes.sources.get(origin) !== peer) links.get(peer)?.leave(origin);
    for (const [origin, peer] of routes.sources) links.get(peer)?.follow(origin);
    this.#announce(false);
  }

  /** Offers what is here and by which paths, when that changed. */
  #announce(grown: boolean): void {
    const text = [...this.#readable().keys()].join() + [...this.#routes.paths].join(';');
    if (!grown && text === this.#offered) return;
    this.#offered = text;
    this.#server.offer(this.#offer());
  }

  #offer(): Downward {
    const ends = this.#readable();
    return {
      offer: {
        holdings: [...ends].map(([origin, end]) => ({ origin, end })),
        routes: [...this.#routes.paths].map(([region, path]) => ({ region, path: [...path] })),
      },
    };
  }
}
