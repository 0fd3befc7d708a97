import net from 'node:net';

import { loopback } from './ports';

/** What a link does to the bytes on it. */
export interface LinkFault {
  /** Connections are closed, and new ones are closed at once. */
  readonly cut: boolean;
  /** Every byte arrives so much later, each way. */
  readonly delayMs: number;
}

/** Held back on one connection and direction; beyond it the sender has to wait, as on a real long line. */
const heldBytesMax = 32 * 1024 * 1024;

/** Stands between one agent and the port of another, so that a person can break what is between them. */
export class LinkProxy {
  private readonly server: net.Server;
  private readonly pipes = new Set<Pipe>();
  private state: LinkFault = { cut: false, delayMs: 0 };

  constructor(
    readonly from: string,
    readonly to: string,
    private readonly targetPort: number,
  ) {
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.accept(client));
  }

  get fault(): LinkFault {
    return this.state;
  }

  /** Listens on a free port of its own. @returns the port */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ host: loopback, port: 0 }, () => resolve((this.server.address() as net.AddressInfo).port));
    });
  }

  set(change: Partial<LinkFault>): void {
    this.state = { ...this.state, ...change };
    for (const pipe of this.pipes) {
      if (this.state.cut) pipe.close();
      else pipe.setDelay(this.state.delayMs);
    }
  }

  close(): Promise<void> {
    for (const pipe of this.pipes) pipe.close();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private accept(client: net.Socket): void {
    client.on('error', () => undefined);
    // The port stays ours while the link is cut: nobody else can take it, and a close is as good as a refusal.
    if (this.state.cut) {
      client.destroy();
      return;
    }
    const target = net.connect({ host: loopback, port: this.targetPort, allowHalfOpen: true, noDelay: true });
    const pipe = new Pipe(client, target, this.state.delayMs, () => this.pipes.delete(pipe));
    this.pipes.add(pipe);
  }
}

/** A connection and the one made for it: what comes in at one end goes out at the other. */
class Pipe {
  private readonly lanes: readonly [Lane, Lane];
  private open = true;

  constructor(
    private readonly client: net.Socket,
    private readonly target: net.Socket,
    delayMs: number,
    private readonly onEnd: () => void,
  ) {
    this.lanes = [new Lane(client, target, delayMs), new Lane(target, client, delayMs)];
    for (const socket of [client, target]) {
      socket.on('error', () => this.close());
      socket.on('close', (hadError) => {
        if (hadError || (client.destroyed && target.destroyed)) this.close();
      });
    }
  }

  setDelay(delayMs: number): void {
    for (const lane of this.lanes) lane.setDelay(delayMs);
  }

  /**
   * At once, whatever is still unsent. Not by resetAndDestroy: it first sends an end, and an error that comes meanwhile leaves a handle
   * that Node 20 can never close, so that a process that wants to exit turns at full speed for ever (seen).
   */
  close(): void {
    if (!this.open) return;
    this.open = false;
    for (const lane of this.lanes) lane.stop();
    for (const socket of [this.client, this.target]) socket.destroy();
    this.onEnd();
  }
}

/** One direction of a pipe. */
class Lane {
  private held: { dueMs: number; chunk: Buffer | null }[] = [];
  private heldBytes = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly source: net.Socket,
    private readonly sink: net.Socket,
    private delayMs: number,
  ) {
    source.on('data', (chunk) => this.take(chunk));
    source.on('end', () => this.take(null));
    sink.on('drain', () => this.regulate());
  }

  setDelay(delayMs: number): void {
    this.delayMs = delayMs;
    // What is on the way already arrives no later than what leaves now would.
    const latest = performance.now() + delayMs;
    for (const item of this.held) item.dueMs = Math.min(item.dueMs, latest);
    this.release();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.held = [];
  }

  /** `null` is the end of the stream, and keeps its place behind the bytes. */
  private take(chunk: Buffer | null): void {
    if (this.delayMs === 0 && this.held.length === 0) this.deliver(chunk);
    else {
      const previous = this.held.at(-1)?.dueMs ?? 0;
      this.held.push({ dueMs: Math.max(previous, performance.now() + this.delayMs), chunk });
      this.heldBytes += chunk?.length ?? 0;
      if (this.held.length === 1) this.arm();
    }
    this.regulate();
  }

  private release(): void {
    const now = performance.now();
    let count = 0;
    for (const { dueMs, chunk } of this.held) {
      if (dueMs > now) break;
      count++;
      this.heldBytes -= chunk?.length ?? 0;
      this.deliver(chunk);
    }
    if (count > 0) this.held.splice(0, count);
    this.arm();
    this.regulate();
  }

  private arm(): void {
    clearTimeout(this.timer);
    const first = this.held[0];
    if (first === undefined) return;
    this.timer = setTimeout(() => this.release(), Math.max(0, Math.ceil(first.dueMs - performance.now())));
  }

  private deliver(chunk: Buffer | null): void {
    if (this.sink.destroyed) return;
    if (chunk === null) this.sink.end();
    else this.sink.write(chunk);
  }

  private regulate(): void {
    const full = this.heldBytes > heldBytesMax || this.sink.writableNeedDrain;
    if (full) this.source.pause();
    else if (this.source.isPaused()) this.source.resume();
  }
}
