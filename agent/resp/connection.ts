/** A raw, pipelining client of one Redis: bytes out, replies in the same order. */
import { EventEmitter } from 'events';
import * as net from 'net';
import * as tls from 'tls';
import { crossSlot, queueErrorsOf, repliesOf } from './cross-slot';
import { type Arg, CommandWriter, encodeCommand } from './encode';
import { type Reply, ReplyError, ReplyParser } from './replies';

export interface RedisConnectionOptions {
  host: string;
  port: number;
  /** TLS options; absent: plain TCP. `servername` defaults to `host` when that is a name. */
  tls?: tls.ConnectionOptions;
  /** ACL user; needs `password`. */
  username?: string;
  password?: string;
  /** Shown by CLIENT LIST. No spaces. */
  name?: string;
  /** Database to SELECT. Default 0. */
  db?: number;
  /** It is a node of a Redis Cluster, and serves these slots, as CLUSTER NODES has them: transactions may have keys of all of them (Redis 7.0). Default: it is none. */
  clusterSlots?: string;
  /** Until connected and authenticated, in ms. Default 5,000. */
  connectTimeoutMs?: number;
  /** While replies are owed and no byte arrives, in ms; then the connection is closed. Default 30,000; 0: never. */
  commandTimeoutMs?: number;
}

/**
 * Why a connection can't be used. `CONNECT`: not reached. `AUTH`: refused. `TIMEOUT`: no answer in time. `CLOSED`: it ended with replies owed: what was sent may or may not
 * have run. `PROTOCOL`: the server speaks no RESP.
 */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  constructor(
    readonly code: 'CONNECT' | 'AUTH' | 'TIMEOUT' | 'CLOSED' | 'PROTOCOL',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What a whole MULTI … EXEC answered. */
export interface TransactionReply {
  /** Errors at queueing, by the command's index in the block; any makes EXEC answer EXECABORT. Usually empty. */
  queueErrors: Map<number, ReplyError>;
  /** EXEC's reply: an array, null (WATCH: something changed) or an error. */
  result: Reply;
  /** Replies to the commands behind EXEC. */
  after: Reply[];
}

/** A node of a cluster has not, or not yet, what was asked for. */
const AWAY = new Set(['MOVED', 'ASK', 'CLUSTERDOWN', 'TRYAGAIN']);

interface Waiter {
  /** Replies still owed. */
  left: number;
  /** Leading replies of those that are counted and not kept, when they are +OK/+QUEUED. */
  skip: number;
  skipped: number;
  replies: Reply[];
  errors: Map<number, ReplyError> | null;
  resolve: (waiter: Waiter) => void;
  reject: (error: ConnectionError) => void;
}

interface ConnectionEvents {
  /** Once, when the connection has ended; without an error if `close` was called. */
  close: [error?: ConnectionError];
  /** A pub/sub message, after SUBSCRIBE: `['message', channel, payload]`. */
  push: [message: Reply[]];
}

/**
 * A connection that is never re-established by itself: after 'close' make another one. An error *reply* is a value (ReplyError); a promise is rejected only
 * when the connection ends.
 */
export class RedisConnection extends EventEmitter<ConnectionEvents> {
  private readonly parser = new ReplyParser();
  private readonly waiters: Waiter[] = [];
  private head = 0;
  private ended: ConnectionError | null = null;
  private closing = false;
  private subscribed = false;
  private timer: NodeJS.Timeout | null = null;
  private readonly timeoutMs: number;
  private readonly clusterSlots: string | null;

  private constructor(
    private readonly socket: net.Socket,
    private readonly peer: string,
    opts: RedisConnectionOptions,
  ) {
    super();
    this.timeoutMs = opts.commandTimeoutMs ?? 30_000;
    this.clusterSlots = opts.clusterSlots ?? null;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', (error: Error) =>
      this.end(new ConnectionError('CLOSED', `connection to ${peer} failed: ${errorText(error)}`, { cause: error })),
    );
    socket.on('close', () => this.end(new ConnectionError('CLOSED', `connection to ${peer} was closed by the server`)));
  }

  /**
   * Connects, authenticates, names itself, selects the database.
   *
   * @throws ConnectionError CONNECT, TIMEOUT or AUTH. LOADING and the like at this point are no error: the first command tells.
   */
  static async connect(opts: RedisConnectionOptions): Promise<RedisConnection> {
    const peer = `${opts.host}:${opts.port}`;
    const timeoutMs = opts.connectTimeoutMs ?? 5000;
    const deadline = Date.now() + timeoutMs;
    const socket = await openSocket(opts, timeoutMs);
    const connection = new RedisConnection(socket, peer, opts);
    const writer = new CommandWriter(256);
    if (opts.password !== undefined) {
      writer.command(opts.username === undefined ? ['AUTH', opts.password] : ['AUTH', opts.username, opts.password]);
    }
    if (opts.name !== undefined) writer.command(['CLIENT', 'SETNAME', opts.name]);
    if (opts.db !== undefined && opts.db !== 0) writer.command(['SELECT', opts.db]);
    const expected = writer.commands;
    if (expected === 0) return connection;
    const timer = setTimeout(
      () =>
        connection.destroy(new ConnectionError('TIMEOUT', `${peer} did not answer the login within ${timeoutMs} ms`)),
      Math.max(1, deadline - Date.now()),
    );
    try {
      const replies = await connection.pipeline(writer.take(), expected);
      let at = 0;
      if (opts.password !== undefined) {
        const auth = replies[at++];
        if (auth instanceof ReplyError) throw new ConnectionError('AUTH', `${peer} refused the login: ${auth.message}`);
      }
      if (opts.name !== undefined) at++; // CLIENT may be forbidden by ACL: the name is a courtesy
      const select = replies[at];
      if (select instanceof ReplyError) {
        throw new ConnectionError(
          select.code === 'NOAUTH' ? 'AUTH' : 'CONNECT',
          `${peer} refused SELECT ${opts.db}: ${select.message}`,
        );
      }
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** False once ended or closing. */
  get open(): boolean {
    return this.ended === null && !this.closing;
  }

  /** Bytes written that the kernel hasn't taken yet. */
  get unsentBytes(): number {
    return this.socket.writableLength;
  }

  /** One command, one reply. */
  call(...args: Arg[]): Promise<Reply> {
    return this.pipeline(encodeCommand(args), 1).then((replies) => replies[0] as Reply);
  }

  /**
   * Bytes that hold `replies` commands; their replies in order, errors among them as values.
   * @throws ReplyError where a node of a cluster does not answer for its keys, or has them no more: that is no answer about a key
   */
  pipeline(rawBytes: Buffer, replies: number): Promise<Reply[]> {
    return this.send(rawBytes, replies, 0).then((waiter) => this.checked(waiter.replies));
  }

  /**
   * Bytes that hold one block: MULTI, `queued` commands, EXEC; and `after` commands behind it, sent along with it. The
   * `+QUEUED`s are counted, not made into values.
   */
  transaction(rawBytes: Buffer, queued: number, after = 0): Promise<TransactionReply> {
    if (this.clusterSlots !== null) return this.crossSlotTransaction(rawBytes, after, this.clusterSlots);
    const lead = 1 + queued;
    return this.send(rawBytes, lead + 1 + after, lead).then((waiter) => {
      const queueErrors = new Map<number, ReplyError>();
      if (waiter.errors !== null) for (const [at, error] of waiter.errors) queueErrors.set(at - 1, error);
      return { queueErrors, result: waiter.replies[0] as Reply, after: waiter.replies.slice(1) };
    });
  }

  private async crossSlotTransaction(rawBytes: Buffer, after: number, slots: string): Promise<TransactionReply> {
    const { bytes, queued, parts } = crossSlot(rawBytes, slots);
    const lead = 1 + queued;
    const { errors, replies } = await this.send(bytes, lead + 1 + after, lead);
    const queueErrors = new Map([...(errors ?? [])].map(([at, error]) => [at - 1, error]));
    return {
      queueErrors: queueErrorsOf(parts, queueErrors),
      result: repliesOf(parts, replies[0] as Reply),
      after: replies.slice(1),
    };
  }

  private checked(replies: Reply[]): Reply[] {
    if (this.clusterSlots === null) return replies;
    const away = replies.find((reply) => reply instanceof ReplyError && AWAY.has(reply.code));
    if (away instanceof ReplyError) throw away;
    return replies;
  }

  /** Subscribes to one channel: its messages come as 'push' events. Only SUBSCRIBE, PSUBSCRIBE, PING and close may follow on this connection. */
  subscribe(channel: string): Promise<ReplyError | null> {
    return this.startPushes('SUBSCRIBE', channel);
  }

  /** The same for all channels whose names fit a pattern: messages are `['pmessage', pattern, channel, payload]`. */
  psubscribe(pattern: string): Promise<ReplyError | null> {
    return this.startPushes('PSUBSCRIBE', pattern);
  }

  private async startPushes(command: string, name: string): Promise<ReplyError | null> {
    const reply = await this.call(command, name);
    this.subscribed = !(reply instanceof ReplyError);
    return reply instanceof ReplyError ? reply : null;
  }

  /** Ends the connection at once; replies owed are rejected with CLOSED. Idempotent. */
  close(): void {
    if (this.closing || this.ended !== null) return;
    this.closing = true;
    this.end(new ConnectionError('CLOSED', `connection to ${this.peer} was closed here`));
  }

  private destroy(error: ConnectionError): void {
    this.end(error);
  }

  private send(bytes: Buffer, left: number, skip: number): Promise<Waiter> {
    if (this.ended !== null) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      if (left > 0) {
        this.waiters.push({ left, skip, skipped: 0, replies: [], errors: null, resolve, reject });
        this.arm();
      }
      this.socket.write(bytes);
      if (left === 0) {
        resolve({ left, skip, skipped: 0, replies: [], errors: null, resolve, reject });
      }
    });
  }

  private receive(chunk: Buffer): void {
    try {
      this.parser.push(chunk);
      while (this.take());
    } catch (error) {
      this.end(new ConnectionError('PROTOCOL', `${this.peer}: ${errorText(error)}`, { cause: error }));
      return;
    }
    if (this.timer !== null) {
      if (this.head < this.waiters.length) this.timer.refresh();
      else {
        clearTimeout(this.timer);
        this.timer = null;
      }
    }
  }

  /** Gives one reply, or a run of skipped ones, to whom it belongs; false when there is none. */
  private take(): boolean {
    const waiter = this.waiters[this.head];
    if (waiter !== undefined && waiter.skipped < waiter.skip) {
      const n = this.parser.skipStatus(waiter.skip - waiter.skipped);
      if (n > 0) {
        waiter.skipped += n;
        waiter.left -= n;
        return true;
      }
    }
    const reply = this.parser.next();
    if (reply === undefined) return false;
    if (waiter === undefined || (this.subscribed && isMessage(reply))) {
      if (Array.isArray(reply)) this.emit('push', reply);
      return true;
    }
    if (waiter.skipped < waiter.skip) {
      if (reply instanceof ReplyError) (waiter.errors ??= new Map<number, ReplyError>()).set(waiter.skipped, reply);
      waiter.skipped++;
    } else {
      waiter.replies.push(reply);
    }
    if (--waiter.left === 0) {
      this.head++;
      if (this.head === this.waiters.length) {
        this.waiters.length = 0;
        this.head = 0;
      } else if (this.head >= 1024) {
        this.waiters.splice(0, this.head);
        this.head = 0;
      }
      waiter.resolve(waiter);
    }
    return true;
  }

  private arm(): void {
    if (this.timeoutMs === 0 || this.timer !== null) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.head < this.waiters.length) {
        this.end(
          new ConnectionError('TIMEOUT', `${this.peer} sent nothing for ${this.timeoutMs} ms while replies were owed`),
        );
      }
    }, this.timeoutMs);
  }

  private end(error: ConnectionError): void {
    if (this.ended !== null) return;
    this.ended = error;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.socket.destroy();
    const owed = this.waiters.slice(this.head);
    this.waiters.length = 0;
    this.head = 0;
    for (const waiter of owed) waiter.reject(error);
    if (this.closing) this.emit('close');
    else this.emit('close', error);
  }
}

function isMessage(reply: Reply): boolean {
  if (!Array.isArray(reply) || reply.length < 3) return false;
  const kind = reply[0];
  if (!Buffer.isBuffer(kind)) return false;
  const word = kind.length <= 8 ? kind.toString('latin1') : '';
  return word === 'message' || word === 'pmessage';
}

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  return error.message !== '' ? error.message : (code ?? error.name);
}

/** Size of the one buffer into which a plain socket is read, when `onBytes` is given. */
const READ_BYTES = 64 * 1024;

/**
 * Opens a TCP or TLS socket.
 * @param onBytes takes what comes instead of 'data' events; the bytes are valid until it returns (a plain socket reads
 *   into one buffer, for a new one per packet costs more than the packet)
 * @throws ConnectionError CONNECT or TIMEOUT
 */
export function openSocket(
  opts: { host: string; port: number; tls?: tls.ConnectionOptions },
  timeoutMs: number,
  onBytes?: (bytes: Buffer) => void,
): Promise<net.Socket> {
  const peer = `${opts.host}:${opts.port}`;
  return new Promise((resolve, reject) => {
    const secure = opts.tls !== undefined;
    const servername = net.isIP(opts.host) === 0 ? { servername: opts.host } : {};
    const onread =
      onBytes === undefined
        ? {}
        : {
            onread: {
              buffer: Buffer.allocUnsafeSlow(READ_BYTES),
              callback: (read: number, bytes: Uint8Array): boolean => {
                onBytes(Buffer.from(bytes.buffer, bytes.byteOffset, read));
                return true;
              },
            },
          };
    const socket = secure
      ? tls.connect({ ...servername, ...opts.tls, host: opts.host, port: opts.port })
      : net.connect({ host: opts.host, port: opts.port, ...onread });
    if (secure && onBytes !== undefined) socket.on('data', onBytes);
    const ready = secure ? 'secureConnect' : 'connect';
    const timer = setTimeout(
      () => fail(new ConnectionError('TIMEOUT', `${peer} did not accept a connection within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const onError = (error: Error): void =>
      fail(new ConnectionError('CONNECT', `can't connect to ${peer}: ${errorText(error)}`, { cause: error }));
    const onClose = (): void => fail(new ConnectionError('CONNECT', `${peer} closed the connection at once`));
    function settle(): void {
      clearTimeout(timer);
      socket.off('error', onError);
      socket.off('close', onClose);
    }
    function fail(error: ConnectionError): void {
      settle();
      socket.on('error', () => undefined); // a late error of a socket given up is no one's business
      socket.destroy();
      reject(error);
    }
    socket.once('error', onError);
    socket.once('close', onClose);
    socket.once(ready, () => {
      settle();
      resolve(socket);
    });
  });
}
