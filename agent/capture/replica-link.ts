/**
 * One replication connection to a primary, seen from the replica's side: handshake, full or partial resync, then the stream (redis/src/replication.c, "REPLICA").
 */
import { EventEmitter } from 'events';
import type * as net from 'net';
import type * as tls from 'tls';
import { ConnectionError, encodeCommand, openSocket, ReplyError } from '../resp';
import { LinkError, type LinkErrorCode } from './errors';
import { RdbError, type RdbEntry, RdbReader, type RdbReaderOptions } from './rdb';
import { Rest } from './rest';
import { Spool } from './spool';

export interface ReplicaLinkOptions {
  host: string;
  port: number;
  /** ACL user; it needs `+psync +replconf +ping`. */
  username?: string;
  password?: string;
  tls?: tls.ConnectionOptions;
  /** What INFO shows as our port, and Sentinel and FAILOVER try to reach. */
  announcePort?: number;
  /** What INFO shows as our address. Default: where the connection comes from. */
  announceHost?: string;
  /** Until PSYNC is answered, in ms, keepalives not counted. Default 10,000. */
  connectTimeoutMs?: number;
  /** The link is dead when so long nothing came, in ms. Redis pings every repl-ping-replica-period (10 s). Default 60,000. */
  idleTimeoutMs?: number;
  /** Bytes of a snapshot, and of the stream behind it, that wait in memory for a slow reader; more go to a temporary file. Default 16 MiB. */
  spoolMemoryBytes?: number;
  /** Directory of that file. Default: the system's. */
  spoolDir?: string;
  /**
   * How long bytes of the stream may wait for more, so that they are given out together, in ms; five times as long while
   * they come fast, and ten times under a flood. Default 2; 0: not at all.
   */
  gatherMs?: number;
  /** For the snapshot's reader. */
  rdb?: RdbReaderOptions;
}

/** A place in a replication history. PSYNC asks for `offset + 1`. */
export interface StreamPosition {
  replId: string;
  /** Bytes of the stream that have been processed. */
  offset: number;
}

/**
 * `continue`: the stream goes on behind `offset`; `replId` may be a new one (a failover), under which the same offset stands.
 * `full`: a snapshot comes, which is the state at `offset`; then the stream behind it.
 */
export type SyncOutcome =
  { kind: 'continue'; replId: string; offset: number } | { kind: 'full'; replId: string; offset: number };

interface ReplicaLinkEvents {
  /**
   * Bytes of the stream; `offsetBefore` is the replication offset before their first. They are valid until the listener
   * returns. What comes within `gatherMs` comes together.
   */
  data: [chunk: Buffer, offsetBefore: number];
  /** Once, when the link has ended. Without an error: `close` was called. */
  close: [error?: LinkError];
}

const GATHER_MS = 2;
/**
 * A plain socket is read until it is empty, a TLS socket once a turn: 64 KB, some of which may belong to a record that has not
 * ended. A turn that gave so much has left something behind.
 */
const TLS_TURN_BYTES_FULL = 32 * 1024;
/** So many bytes do not wait for more. With the read that makes them so many they are one record, which goes to peers as one frame. */
const GATHERED_BYTES_ENOUGH = 376 * 1024;
const GATHERED_BYTES_MAX = 512 * 1024;

/** The Valkey whose snapshots (RDB version 80) are read here. */
const VALKEY_VERSION_READ = '9.0.0';

const LF = 10;
const CR = 13;
const EOF_MARK_BYTES = 40;
const LINE_BYTES_MAX = 4096;
/** So few that they die young: what outlives a collection of the young costs a collection of all. */
const BATCH_ENTRIES = 256;

type Phase = 'handshake' | 'preamble' | 'snapshot' | 'stream' | 'closed';

/**
 * The link: attach listeners, `connect` once; after `full` iterate `snapshot()` to its end; then 'data' events flow. What the server sends meanwhile is taken at once and waits in memory or a file: Redis'
 * replica buffer is not held back but by `hold`, and where that file's disk is slower than the network. Reconnecting is the caller's (see Backoff), with a new link.
 */
export class ReplicaLink extends EventEmitter<ReplicaLinkEvents> {
  private socket: net.Socket | null = null;
  private phase: Phase = 'handshake';
  private readonly peer: string;
  private readonly idleTimeoutMs: number;
  private readonly rests: Rest;
  private idleTimer: NodeJS.Timeout | null = null;
  /** Bytes of a line that hasn't ended. */
  private line: Buffer = Buffer.alloc(0);
  private onLine: ((line: string) => void) | null = null;
  private onFail: ((error: LinkError) => void) | null = null;
  private offset = 0;
  /** Why the socket is not read, beside a rest: by `hold`, or as the disk of the spool can't follow. */
  private held = false;
  private spoolPressed = false;
  /** The snapshot: bytes still to come, or the mark behind it. */
  private rdbLeft = 0;
  private eofMark: Buffer | null = null;
  private tail: Buffer = Buffer.alloc(0);
  private rdbBytes = 0;
  private rdb: Spool | null = null;
  private stream: Spool | null = null;
  private snapshotTaken = false;
  private startTimer: NodeJS.Timeout | null = null;
  private endError: LinkError | null = null;

  constructor(private readonly opts: ReplicaLinkOptions) {
    super();
    this.peer = `${opts.host}:${opts.port}`;
    this.idleTimeoutMs = opts.idleTimeoutMs ?? 60_000;
    this.rests = new Rest(opts.gatherMs ?? GATHER_MS);
  }

  /** Replication offset behind the last byte given out by 'data', or where the stream will begin. */
  get position(): number {
    return this.offset;
  }

  /** Bytes received that wait to be read (snapshot, and stream behind it). */
  get waitingBytes(): number {
    return (this.rdb?.bytes ?? 0) + (this.stream?.bytes ?? 0);
  }

  /** Bytes of the snapshot received so far, and its size where the server told it (disk-based), else null. */
  get snapshotProgress(): { received: number; total: number | null } {
    return { received: this.rdbBytes, total: this.eofMark === null ? this.rdbBytes + this.rdbLeft : null };
  }

  /**
   * Connects, logs in, and asks to go on at `from`; null asks for a snapshot.
   *
   * @throws LinkError; the link is closed then
   */
  async connect(from: StreamPosition | null): Promise<SyncOutcome> {
    const { opts } = this;
    const timeoutMs = opts.connectTimeoutMs ?? 10_000;
    let socket: net.Socket;
    try {
      socket = await openSocket(opts, timeoutMs, (bytes) => this.fromSocket(bytes));
    } catch (error) {
      const timeout = error instanceof ConnectionError && error.code === 'TIMEOUT';
      const failure = new LinkError(timeout ? 'TIMEOUT' : 'CONNECT', (error as Error).message, { cause: error });
      this.end(failure);
      throw failure;
    }
    if (this.phase === 'closed') {
      socket.destroy();
      throw this.endError ?? new LinkError('CLOSED', `the link to ${this.peer} was closed here`);
    }
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on('error', (error: Error) =>
      this.end(new LinkError('CLOSED', `the link to ${this.peer} broke: ${error.message}`, { cause: error })),
    );
    socket.on('close', () => this.end(new LinkError('CLOSED', `${this.peer} closed the link`)));
    this.idleTimer = setInterval(() => this.checkIdle(), Math.max(50, this.idleTimeoutMs / 4));
    this.lastBytes = Date.now();

    const deadline = setTimeout(
      () => this.end(new LinkError('TIMEOUT', `${this.peer} did not finish the handshake within ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      await this.login();
      return await this.psync(from, deadline);
    } catch (error) {
      const failure = error instanceof LinkError ? error : new LinkError('PROTOCOL', String(error), { cause: error });
      this.end(failure);
      throw failure;
    } finally {
      clearTimeout(deadline);
    }
  }

  /**
   * The entries of the snapshot, in order, ending with one of kind 'end'; once, after `full`. When it has been read to its end the stream flows.
   * Leaving the loop early closes the link.
   *
   * @throws LinkError SNAPSHOT (its cause is an RdbError) or CLOSED
   */
  async *snapshot(): AsyncGenerator<RdbEntry, void, void> {
    for await (const batch of this.snapshotBatches()) {
      for (const entry of batch) yield entry;
    }
  }

  /** The same, an array of entries a time: a million awaits cost more than reading the keys. */
  async *snapshotBatches(): AsyncGenerator<RdbEntry[], void, void> {
    const spool = this.rdb;
    if (spool === null || this.snapshotTaken) {
      throw new LinkError('SNAPSHOT', 'there is no snapshot to read: none was sent, or it was read already');
    }
    this.snapshotTaken = true;
    const reader = new RdbReader(this.opts.rdb);
    let sawEnd = false;
    let finished = false;
    try {
      for (;;) {
        const chunk = await spool.read();
        if (chunk === null) reader.end();
        else reader.push(chunk);
        let batch: RdbEntry[] = [];
        for (let entry = reader.next(); entry !== null; entry = reader.next()) {
          batch.push(entry);
          if (entry.kind === 'end') {
            sawEnd = true;
            if (!entry.checksumOk) throw new RdbError('CORRUPT', 'the checksum is wrong', reader.consumed);
          } else if (batch.length >= BATCH_ENTRIES) {
            yield batch;
            batch = [];
          }
        }
        if (chunk === null) {
          if (batch.length > 0) yield batch;
          break;
        }
        // The entry 'end' is given out only when the transfer itself has ended in the right place.
        if (sawEnd) {
          const more = await spool.read();
          if (more !== null) throw new RdbError('CORRUPT', 'bytes behind the end of the snapshot', reader.consumed);
          yield batch;
          break;
        }
        if (batch.length > 0) yield batch;
      }
      finished = true;
    } catch (error) {
      const failure =
        error instanceof LinkError
          ? error
          : new LinkError('SNAPSHOT', `the snapshot from ${this.peer} can't be read: ${(error as Error).message}`, {
              cause: error,
            });
      this.end(failure);
      throw failure;
    } finally {
      this.rdb = null;
      void spool.close();
      if (finished) void this.flow();
      else {
        this.close();
        this.announceEnd();
      }
    }
  }

  /** Tells the server that the stream up to `offset` is safe here (REPLCONF ACK): WAIT and min-replicas-to-write count it, and its absence for repl-timeout ends the link. */
  ack(offset: number): void {
    if (this.socket === null || this.phase === 'closed' || this.phase === 'handshake') return;
    this.socket.write(encodeCommand(['REPLCONF', 'ACK', offset]));
  }

  /** Ends the link. Idempotent. */
  close(): void {
    this.end(null);
  }

  // --- handshake -----------------------------------------------------------------------------------------------------

  private async login(): Promise<void> {
    const { opts } = this;
    // PING first, as Redis does it: a server that is up but can't serve says so here. NOAUTH and NOPERM are answers too.
    const pong = await this.ask(['PING']);
    if (pong.startsWith('-') && !/^-(NOAUTH|NOPERM|ERR operation not permitted)/.test(pong))
      throw this.refused('PING', pong);
    if (opts.password !== undefined) {
      const reply = await this.ask(
        opts.username === undefined ? ['AUTH', opts.password] : ['AUTH', opts.username, opts.password],
      );
      if (reply.startsWith('-')) throw this.refused('AUTH', reply);
    }
    const conf: string[][] = [];
    if (opts.announcePort !== undefined) conf.push(['listening-port', String(opts.announcePort)]);
    if (opts.announceHost !== undefined) conf.push(['ip-address', opts.announceHost]);
    // Only what is understood here: the end mark of a diskless snapshot, and CONTINUE with a new ID.
    conf.push(['capa', 'eof', 'capa', 'psync2']);
    for (const args of conf) {
      const reply = await this.ask(['REPLCONF', ...args]);
      if (reply.startsWith('-')) throw this.refused(`REPLCONF ${args[0]}`, reply);
    }
    // Valkey writes the snapshot in a version that the replica can read, and to one that names none the oldest: with fields that expire in it
    // the save then fails and the link is closed (seen on 9.1). Redis does not know the option; that is no fault.
    await this.ask(['REPLCONF', 'version', VALKEY_VERSION_READ]);
  }

  private async psync(from: StreamPosition | null, deadline: NodeJS.Timeout): Promise<SyncOutcome> {
    const reply = await this.ask(
      ['PSYNC', from?.replId ?? '?', from === null ? '-1' : String(from.offset + 1)],
      deadline,
    );
    const words = reply.split(' ');
    if (words[0] === '+CONTINUE' && from !== null) {
      // Without an ID (servers of before PSYNC2) the history is the one asked for.
      const replId = words[1] ?? from.replId;
      if (!/^[0-9a-f]{40}$/.test(replId)) throw new LinkError('PROTOCOL', `${this.peer} continues with a strange ID`);
      this.offset = from.offset;
      this.phase = 'stream';
      this.stream = new Spool(this.spoolOptions());
      // 'data' only after connect() has told the outcome: what came in the same packet waits a moment.
      setImmediate(() => void this.flow());
      return { kind: 'continue', replId, offset: from.offset };
    }
    if (words[0] === '+FULLRESYNC') {
      const replId = words[1] ?? '';
      const offset = Number(words[2]);
      if (!/^[0-9a-f]{40}$/.test(replId) || !Number.isSafeInteger(offset) || offset < 0) {
        throw new LinkError('PROTOCOL', `${this.peer} answered PSYNC with a strange FULLRESYNC`);
      }
      this.offset = offset;
      this.phase = 'preamble';
      this.rdb = new Spool(this.spoolOptions());
      this.stream = new Spool(this.spoolOptions());
      this.onLine = (line) => this.preamble(line);
      return { kind: 'full', replId, offset };
    }
    if (reply.startsWith('-')) throw this.refused('PSYNC', reply);
    throw new LinkError('PROTOCOL', `${this.peer} answered PSYNC with neither CONTINUE nor FULLRESYNC`);
  }

  /** Sends a command of the handshake and waits for its line. Bare newlines are keepalives: they move the deadline. */
  private ask(args: string[], deadline?: NodeJS.Timeout): Promise<string> {
    return new Promise((resolve, reject) => {
      this.onFail = reject;
      this.onLine = (line) => {
        if (line === '') {
          deadline?.refresh();
          return;
        }
        this.onLine = null;
        this.onFail = null;
        resolve(line);
        // The rest of the packet belongs to whoever asks next.
      };
      if (this.phase === 'closed' || this.socket === null) {
        reject(this.endError ?? new LinkError('CLOSED', `the link to ${this.peer} was closed here`));
        return;
      }
      this.socket.write(encodeCommand(args));
    });
  }

  private refused(step: string, reply: string): LinkError {
    const error = ReplyError.parse(reply.slice(1));
    let code: LinkErrorCode;
    switch (error.code) {
      case 'NOAUTH':
      case 'WRONGPASS':
        code = 'AUTH';
        break;
      case 'NOPERM':
        code = 'NOPERM';
        break;
      case 'LOADING':
        code = 'LOADING';
        break;
      case 'NOMASTERLINK':
      case 'MASTERDOWN':
        code = 'NOMASTERLINK';
        break;
      case 'BUSY':
      case 'MISCONF':
      case 'OOM':
        code = 'BUSY';
        break;
      default:
        // Redis 6 and before PSYNC's own errors have no code of their own.
        if (step === 'AUTH') code = 'AUTH';
        else if (/unknown command|not allowed|disabled/i.test(error.message)) code = 'PSYNC_REFUSED';
        else code = 'BUSY';
    }
    return new LinkError(code, `${this.peer} refused ${step}: ${error.message}`);
  }

  // --- receiving -----------------------------------------------------------------------------------------------------

  private lastBytes = 0;
  private readonly gathered = Buffer.allocUnsafeSlow(GATHERED_BYTES_MAX);
  private gatheredBytes = 0;
  /** What one turn of the event loop reads is given out at its end. */
  private turn: NodeJS.Immediate | null = null;
  private turnBytes = 0;
  /** Until it fires the socket is not read. */
  private restTimer: NodeJS.Timeout | null = null;
  /** Somebody waits for the stream up to this offset. */
  private wanted = -1;

  /** What the socket has read: valid only now. */
  private fromSocket(bytes: Buffer): void {
    this.lastBytes = Date.now();
    if (this.phase === 'stream' && this.stream === null && this.line.length === 0) this.gather(bytes);
    else this.receive(Buffer.from(bytes));
  }

  /**
   * A stream of single commands would else cost a wake-up, a record, a journal entry and a message each. So the socket rests for a
   * moment after each time that it was read, and the system keeps what comes: far less than the buffers that Redis sees. The first
   * bytes after a rest go on at once.
   */
  private gather(bytes: Buffer): void {
    if (this.startTimer !== null) this.stopAsking();
    if (this.gatheredBytes + bytes.length > GATHERED_BYTES_MAX) this.deliver();
    bytes.copy(this.gathered, this.gatheredBytes);
    this.gatheredBytes += bytes.length;
    this.turnBytes += bytes.length;
    this.turn ??= setImmediate(() => this.endTurn());
    if (this.gatheredBytes >= GATHERED_BYTES_ENOUGH) this.deliver();
  }

  private endTurn(): void {
    const { turnBytes } = this;
    this.turnBytes = 0;
    if (this.opts.tls !== undefined && turnBytes >= TLS_TURN_BYTES_FULL) {
      // There is more: resting now would hold a fast stream to one read in so many milliseconds.
      this.turn = setImmediate(() => this.endTurn());
      return;
    }
    this.turn = null;
    const ms = this.rests.after(Math.max(turnBytes, this.gatheredBytes));
    this.deliver();
    this.rest(ms);
  }

  private rest(ms: number): void {
    if (ms === 0 || this.phase !== 'stream' || this.restTimer !== null || this.offset < this.wanted) return;
    this.restTimer = setTimeout(() => this.wakeUp(), ms);
    this.settleSocket();
  }

  private wakeUp(): void {
    if (this.restTimer === null) return;
    clearTimeout(this.restTimer);
    this.restTimer = null;
    this.settleSocket();
  }

  /** Redis has to wait, and keeps what comes in its output buffer, up to its limit for replicas. */
  hold(on: boolean): void {
    this.held = on;
    // Nobody has been silent.
    this.lastBytes = Date.now();
    this.settleSocket();
  }

  private settleSocket(): void {
    if (this.held || this.spoolPressed || this.restTimer !== null) this.socket?.pause();
    else this.socket?.resume();
  }

  /** Somebody waits for the stream up to `offset`: until then the socket does not rest. */
  hurry(offset: number): void {
    this.wanted = Math.max(this.wanted, offset);
    this.deliver();
    if (this.offset < this.wanted) this.wakeUp();
  }

  /** Gives out what has been read. */
  private deliver(): void {
    if (this.gatheredBytes === 0) return;
    const bytes = this.gathered.subarray(0, this.gatheredBytes);
    this.gatheredBytes = 0;
    try {
      this.give(bytes);
    } catch (error) {
      this.end(error instanceof LinkError ? error : new LinkError('PROTOCOL', String(error), { cause: error }));
    }
  }

  private receive(chunk: Buffer): void {
    try {
      this.take(chunk);
    } catch (error) {
      this.end(error instanceof LinkError ? error : new LinkError('PROTOCOL', String(error), { cause: error }));
    }
  }

  private take(bytes: Buffer): void {
    let chunk = bytes;
    if (this.line.length > 0 && (this.phase === 'stream' || this.phase === 'snapshot')) {
      // What stood behind the last line of the handshake, in the same packet.
      chunk = Buffer.concat([this.line, bytes]);
      this.line = Buffer.alloc(0);
    }
    if (chunk.length === 0 && this.line.length === 0) return;
    switch (this.phase) {
      case 'handshake':
      case 'preamble':
        this.lines(chunk);
        return;
      case 'snapshot':
        this.takeSnapshot(chunk);
        return;
      case 'stream':
        if (this.startTimer !== null) this.stopAsking();
        if (this.stream === null) this.give(chunk);
        else this.stream.push(chunk);
        return;
      case 'closed':
        return;
    }
  }

  private lines(chunk: Buffer): void {
    let rest = this.line.length === 0 ? chunk : Buffer.concat([this.line, chunk]);
    this.line = Buffer.alloc(0);
    for (;;) {
      const phase = this.phase;
      if (phase !== 'handshake' && phase !== 'preamble') {
        if (rest.length > 0) this.take(rest);
        return;
      }
      if (this.onLine === null) {
        // A line that nobody waits for yet: the continuation of `ask` runs in a microtask. Come back after it.
        if (rest.length > 0) {
          this.line = rest;
          setImmediate(() => this.receive(Buffer.alloc(0)));
        }
        return;
      }
      const at = rest.indexOf(LF);
      if (at < 0) {
        if (rest.length > LINE_BYTES_MAX) throw new LinkError('PROTOCOL', `${this.peer} sent a line without an end`);
        this.line = rest;
        return;
      }
      const end = at > 0 && rest[at - 1] === CR ? at - 1 : at;
      const line = rest.toString('latin1', 0, end);
      rest = rest.subarray(at + 1);
      this.onLine(line);
    }
  }

  /** What comes between FULLRESYNC and the snapshot: newlines while it is prepared, then its length or end mark. */
  private preamble(line: string): void {
    if (line === '') return;
    if (line.startsWith('-')) throw this.refused('the snapshot', line);
    const eof = /^\$EOF:(.{40})$/.exec(line);
    const length = /^\$(\d{1,15})$/.exec(line);
    if (eof !== null) this.eofMark = Buffer.from(eof[1] as string, 'latin1');
    else if (length !== null) this.rdbLeft = Number(length[1]);
    else throw new LinkError('PROTOCOL', `${this.peer} sent something else where the snapshot's length should be`);
    this.onLine = null;
    this.phase = 'snapshot';
    if (this.eofMark === null && this.rdbLeft === 0) this.endSnapshot(Buffer.alloc(0));
  }

  private takeSnapshot(chunk: Buffer): void {
    const rdb = this.rdb;
    if (this.eofMark === null) {
      const own = Math.min(chunk.length, this.rdbLeft);
      this.rdbLeft -= own;
      this.rdbBytes += own;
      rdb?.push(own === chunk.length ? chunk : chunk.subarray(0, own));
      if (this.rdbLeft === 0) this.endSnapshot(chunk.subarray(own));
      return;
    }
    // The mark may lie across chunks: the last 39 bytes wait for the next.
    const bytes = this.tail.length === 0 ? chunk : Buffer.concat([this.tail, chunk]);
    const at = bytes.indexOf(this.eofMark);
    if (at < 0) {
      const keep = Math.min(bytes.length, EOF_MARK_BYTES - 1);
      rdb?.push(bytes.subarray(0, bytes.length - keep));
      this.rdbBytes += bytes.length - keep;
      this.tail = bytes.subarray(bytes.length - keep);
      return;
    }
    rdb?.push(bytes.subarray(0, at));
    this.rdbBytes += at;
    this.tail = Buffer.alloc(0);
    this.endSnapshot(bytes.subarray(at + EOF_MARK_BYTES));
  }

  private endSnapshot(rest: Buffer): void {
    this.phase = 'stream';
    this.rdb?.end();
    // A server that sent a diskless snapshot begins the stream only at an ACK, and ignores one that comes before it has reaped its child:
    // ask until bytes come. ACK 0 claims nothing.
    if (this.eofMark !== null) this.askForStream(50);
    if (rest.length > 0) this.take(rest);
  }

  private askForStream(waitMs: number): void {
    this.ack(0);
    this.startTimer = setTimeout(() => this.askForStream(Math.min(waitMs * 2, 1000)), waitMs);
  }

  private stopAsking(): void {
    if (this.startTimer !== null) clearTimeout(this.startTimer);
    this.startTimer = null;
  }

  private give(chunk: Buffer): void {
    const before = this.offset;
    this.offset += chunk.length;
    this.emit('data', chunk, before);
  }

  /** Gives out what waited, then lets the socket's chunks through directly. */
  private async flow(): Promise<void> {
    const spool = this.stream;
    if (spool === null) return;
    try {
      while (this.phase === 'stream' || spool.bytes > 0) {
        if (spool.bytes === 0) {
          this.stream = null;
          break;
        }
        const chunk = spool.take() ?? (await spool.read());
        if (chunk === null) break;
        this.give(chunk);
      }
    } catch (error) {
      this.end(
        new LinkError('CLOSED', `the spool of ${this.peer} failed: ${(error as Error).message}`, { cause: error }),
      );
    } finally {
      void spool.close();
    }
    this.announceEnd();
  }

  private spoolOptions(): { memoryBytesMax?: number; dir?: string; onPressure: (on: boolean) => void } {
    return {
      ...(this.opts.spoolMemoryBytes === undefined ? {} : { memoryBytesMax: this.opts.spoolMemoryBytes }),
      ...(this.opts.spoolDir === undefined ? {} : { dir: this.opts.spoolDir }),
      // Only when the disk itself can't follow.
      onPressure: (on) => {
        this.spoolPressed = on;
        this.settleSocket();
      },
    };
  }

  private checkIdle(): void {
    if (this.restTimer === null && this.socket?.isPaused() === true) return;
    const idleMs = Date.now() - this.lastBytes;
    if (idleMs > this.idleTimeoutMs) {
      this.end(new LinkError('TIMEOUT', `nothing came from ${this.peer} for ${idleMs} ms`));
    }
  }

  private announced = false;

  /** 'close' comes last: after the bytes that had arrived are given out. */
  private announceEnd(): void {
    if (this.phase !== 'closed' || this.announced) return;
    this.announced = true;
    if (this.endError === null) this.emit('close');
    else this.emit('close', this.endError);
  }

  private end(error: LinkError | null): void {
    if (this.phase === 'closed') return;
    if (error !== null && this.phase === 'stream') this.deliver();
    const flowing = this.phase === 'stream' && this.stream !== null && (this.snapshotTaken || this.rdb === null);
    this.phase = 'closed';
    this.endError = error;
    this.stopAsking();
    if (this.restTimer !== null) clearTimeout(this.restTimer);
    if (this.turn !== null) clearImmediate(this.turn);
    if (this.idleTimer !== null) clearInterval(this.idleTimer);
    this.idleTimer = null;
    this.socket?.destroy();
    const fail = this.onFail;
    this.onFail = this.onLine = null;
    this.rdb?.end(error ?? new LinkError('CLOSED', `the link to ${this.peer} was closed here`));
    this.stream?.end();
    fail?.(error ?? new LinkError('CLOSED', `the link to ${this.peer} was closed here`));
    if (!flowing || error === null) {
      void this.stream?.close();
      queueMicrotask(() => this.announceEnd());
    }
  }
}
