/**
 * Capture where PSYNC is refused: notifications say which keys were written, a look at each says what it holds, and what differs from the last
 * look is told as a replication stream would tell it. Why the regions end up equal by this: docs/managed.md.
 */
import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockLook, BlockObserver } from '../../apply/applier';
import type { BatchItem } from '../../merge/batch';
import { CommandWriter, RedisConnection, type RedisConnectionOptions, type Reply, ReplyError } from '../../resp';
import { misplaced } from '../../cluster/guard';
import type { SlotRange } from '../../../model/slots';
import { OWN_PREFIX, type OwnKeys } from '../../stream/keys';
import type { Capture, CaptureEvents } from '../capture';
import { LinkError } from '../errors';
import type { RdbEntry, RdbError } from '../rdb';
import type { SyncOutcome } from '../replica-link';
import { Beats } from './beats';
import { keysOfBlock } from './block';
import { Census } from './census';
import { Gate } from './gate';
import { type KeyName, type Look, readLooks, timeOf, writeLooks } from './look';
import type { CaptureGauges, CaptureMetrics } from './metrics';
import { Observer } from './observer';
import { entryOf, MadeStream } from './made-stream';
import { type PendingKey, PendingKeys, type Removal } from './pending';
import { probe } from './probe';
import { Scan, type ScanLimits } from './scan';
import { removalOf, Subscription } from './subscription';

export interface NotificationCaptureOptions {
  readonly redis: RedisConnectionOptions;
  /** What the agent writes there. */
  readonly keys: OwnKeys;
  /** Of the shard, where Redis is a node of a cluster; else null. */
  readonly slots: readonly SlotRange[] | null;
  readonly scan: ScanLimits;
  /** Keys of which the agent knows what they held last; with more it stops. */
  readonly knownKeysMax: number;
  /** Memory for what collections held last, so that changes are told by element. */
  readonly valueBytesMax: number;
  readonly metrics: CaptureMetrics;
  readonly events: NotificationCaptureEvents;
}

export interface NotificationCaptureEvents {
  /** A whole key's state: a delete, and what builds it anew. It stands in the stream where the next byte will. */
  state(db: number, payload: Buffer): void;
  /** The cursor as it should be in Redis, null for none. */
  cursor(): string | null;
  /** Whether what Redis holds of a key is about to be corrected: it may lack what clients wrote. */
  isAmiss(name: KeyName): boolean;
  /** A block has run behind a client's write of the key that nobody knew of. */
  overwritten(name: KeyName): void;
  /** Redis has removed a key because it is full: it stays in the other regions. */
  evicted(): void;
  unreadable(name: KeyName, error: RdbError): void;
  /** For the log: why all keys are looked at, at once. */
  scanning(reason: string): void;
}

/** Keys in one look, and the bytes that they may have by what is known: Redis serves nobody else meanwhile. */
const LOOK_KEYS = 256;
const LOOK_BYTES = 1024 * 1024;
/** A large key that is written all the time is not read all the time: so many bytes of it a millisecond. */
const KEY_BYTES_PER_MS = 32 * 1024;
/** Below that it is no large key. */
const LARGE_BYTES = 64 * 1024;
/** Beyond so many keys it is cheaper to look at all. */
const PENDING_KEYS_MAX = 1_000_000;
/** Between two looks at whether keys have gone missing without a word. */
const WATCH_MS = 500;
/** The subscription is renewed so often before it is given up. */
const SILENCES_MAX = 2;
/** A key that the scan finds changed was not lost if it is notified within this time. */
const LATE_MS = 2000;
const SUSPECTS_MAX = 10_000;
const BUSY_MS = 20;

export class NotificationCapture extends EventEmitter<CaptureEvents> implements Capture, BlockObserver, CaptureGauges {
  private readonly gate = new Gate();
  private readonly pending = new PendingKeys();
  private readonly stream: MadeStream;
  private readonly observer: Observer;
  private readonly scan: Scan;
  private readonly subscription: Subscription;
  private reader: RedisConnection | null = null;
  private closed = false;
  private probing: Set<string> | null = null;
  /** Blocks of ours that were sent and whose end was not reported yet. */
  private openBlocks = 0;
  private inBlock = false;
  private readonly beats = new Beats();
  private silences = 0;
  private isReading = false;
  private isWatching = false;
  private wake: (() => void) | null = null;
  private readonly timers: NodeJS.Timeout[] = [];
  /** The snapshot has been read, and who reads the stream is there. */
  private isKnown = false;
  private isWanted = false;
  /** A client has flushed the cursor away. */
  isCursorGone = false;
  private readonly census: Census;
  /** Keys that the scan found changed, and until when a notification may still come. */
  private readonly suspects = new Map<string, number>();

  constructor(private readonly options: NotificationCaptureOptions) {
    super();
    this.stream = new MadeStream({
      data: (bytes) => this.emit('data', bytes, 0),
      state: (db, payload) => options.events.state(db, payload),
    });
    this.observer = new Observer(this.stream, options.events, options.valueBytesMax);
    this.scan = new Scan(options.scan, this.observer.known, {
      reader: () => this.connection,
      look: (keys) => this.scanKeys(keys),
      scanned: () => this.census.settle(),
    });
    this.census = new Census(this.observer.known);
    this.subscription = new Subscription(
      { ...options.redis, name: `${options.redis.name ?? 'meridian'}-events` },
      {
        event: (db, event, key) => this.hear(db, event, key),
        resumed: () => {
          this.beats.clear();
          this.openBlocks = 0;
          this.inBlock = false;
          this.scanAll('the subscription was lost for a while');
        },
        failed: (error) => this.end(error),
      },
    );
  }

  // ——— life

  /** Subscribes, and finds out whether all changes are reported. There is no place to go on from: it always begins anew. */
  async connect(): Promise<SyncOutcome> {
    try {
      const reader = await RedisConnection.connect(this.options.redis);
      this.reader = reader;
      reader.on('close', (error) => {
        if (!this.closed) this.end(new LinkError('CLOSED', error?.message ?? 'connection closed', { cause: error }));
      });
      this.probing = new Set();
      await this.subscription.open();
      await probe(reader, this.options.keys.probe, this.probing);
      this.probing = null;
    } catch (error) {
      this.end(error instanceof LinkError ? error : new LinkError('CLOSED', String(error), { cause: error }));
      throw error;
    }
    return { kind: 'full', replId: randomBytes(8).toString('hex'), offset: 0 };
  }

  /** All keys, each as it is at some moment while no block runs. From then on each is known. */
  async *snapshotBatches(): AsyncGenerator<RdbEntry[], void, void> {
    const { observer } = this;
    for await (const names of this.scan.names()) {
      const fresh = names.filter(({ db, key }) => observer.known.get(db, key) === null);
      const entries: RdbEntry[] = [];
      await this.lookAt(fresh, (name, look) => {
        if (look.dump === null) return;
        const dump = observer.decode(name, look.dump);
        observer.learn(name, look);
        if (dump !== null) entries.push(entryOf(name.db, name.key, dump, look.expireAtMs));
      });
      this.checkSize();
      if (entries.length > 0) yield entries;
    }
    // By the time in it, it can be told whether Redis has lost the end of what it had.
    const last: RdbEntry[] = [];
    await this.lookAt([{ db: 0, key: this.options.keys.heartbeat }], (name, { dump }) => {
      const decoded = dump === null ? null : observer.decode(name, dump);
      if (decoded !== null) last.push(entryOf(name.db, name.key, decoded, 0));
    });
    yield last;
    this.isKnown = true;
    this.begin();
  }

  /** Somebody reads the stream now. It begins when the snapshot has been read. */
  start(): void {
    this.isWanted = true;
    this.begin();
  }

  private begin(): void {
    if (!this.isWanted || !this.isKnown || this.closed) return;
    const run = (work: Promise<void>): void => {
      work.catch((error: unknown) =>
        this.end(error instanceof LinkError ? error : new LinkError('CLOSED', String(error), { cause: error })),
      );
    };
    run(this.readBack());
    run(this.scan.run());
    this.timers.push(setInterval(() => run(this.watch()), WATCH_MS));
  }

  close(): void {
    this.end(null);
  }

  private end(error: LinkError | null): void {
    if (this.closed) return;
    this.closed = true;
    for (const timer of this.timers) clearInterval(timer);
    this.scan.stop();
    this.subscription.close();
    this.reader?.close();
    this.gate.end();
    this.wake?.();
    if (error === null) this.emit('close');
    else this.emit('close', error);
  }

  /** Nothing waits here. */
  hurry(): void {
    this.stream.flush();
  }

  /** What was not heard in time would have to be looked for in all keys; and nothing comes faster than values are read. */
  hold(): void {}

  /** There is nobody to acknowledge to: Redis does not take this agent for a replica. */
  ack(): void {}

  private get connection(): RedisConnection {
    if (this.reader === null || this.closed) throw new LinkError('CLOSED', 'the capture is closed');
    return this.reader;
  }

  // ——— notifications

  private hear(db: number, event: string, key: string): void {
    if (key.startsWith(OWN_PREFIX)) return this.hearOwn(event, key);
    if (this.inBlock) {
      this.options.metrics.echo();
      return;
    }
    this.options.metrics.notification();
    if (this.suspects.size > 0) this.suspects.delete(`${db}:${key}`);
    this.pending.add(db, key, removalOf(event));
    if (this.pending.size > PENDING_KEYS_MAX) {
      this.pending.clear();
      this.scanAll(`more than ${PENDING_KEYS_MAX} keys were waiting to be read`);
    }
    this.wake?.();
  }

  /** Between APPEND and SET of the cursor everything is of a block of ours: nobody else's commands get into a transaction. */
  private hearOwn(event: string, key: string): void {
    this.probing?.add(`${event} ${key}`);
    if (key === this.options.keys.cursor && this.openBlocks > 0) {
      if (event === 'append') this.inBlock = true;
      else if (event === 'set') {
        this.inBlock = false;
        this.openBlocks--;
      }
    } else if (key === this.options.keys.heartbeat && event === 'set') {
      this.silences = 0;
      this.beats.hear(this.pending.next);
      // Keys that are being looked at are told first.
      if (!this.isReading) this.tellBeats();
    }
  }

  /** A heartbeat is about to be written. */
  beat(timeMs: number): void {
    if (!this.isKnown || !this.isWanted) return;
    this.beats.send(timeMs, Date.now());
  }

  /** A heartbeat says that all that clients wrote before has been read. */
  private tellBeats(): void {
    const due = this.beats.take((next) => this.pending.isReadUpTo(next));
    if (due !== null) this.stream.heartbeat(due);
  }

  // ——— looking at keys

  private async readBack(): Promise<void> {
    while (!this.closed) {
      const waitMs = this.pending.waitMs(Date.now());
      if (waitMs > 0) {
        await new Promise<void>((resolve) => {
          const timer = waitMs === Infinity ? null : setTimeout(resolve, waitMs);
          this.wake = () => {
            if (timer !== null) clearTimeout(timer);
            resolve();
          };
        });
        this.wake = null;
        continue;
      }
      let count = 0;
      await this.gate.exclusive(async () => {
        this.isReading = true;
        const keys = this.takePending();
        count = keys.length;
        await this.see(keys);
        this.isReading = false;
        this.tellBeats();
      });
      this.options.metrics.readBack(count);
      this.checkSize();
    }
  }

  /** As many as go into one look. */
  private takePending(): PendingKey[] {
    const { known } = this.observer;
    const now = Date.now();
    const keys: PendingKey[] = [];
    for (let bytes = 0; bytes < LOOK_BYTES && keys.length < LOOK_KEYS;) {
      const [key] = this.pending.take(1, now);
      if (key === undefined) break;
      keys.push(key);
      bytes += known.get(key.db, key.key)?.bytes ?? 0;
    }
    return keys.sort((a, b) => a.db - b.db);
  }

  /** Looks at keys for what clients did to them. To be called with the gate held. @returns bytes read */
  private async see(
    keys: readonly (KeyName & { removal?: Removal | null })[],
    changed?: (name: KeyName) => void,
  ): Promise<number> {
    if (keys.length === 0 || this.closed) return 0;
    const removals = new Map(keys.map((key) => [key as KeyName, key.removal ?? null]));
    let bytes = 0;
    let serverMs = 0;
    const now = Date.now();
    await this.look(
      keys,
      (nowMs) => (serverMs = nowMs),
      (name, look) => {
        const size = look.dump?.length ?? 0;
        bytes += size;
        if (size > LARGE_BYTES) this.pending.postpone(name.db, name.key, now + size / KEY_BYTES_PER_MS, now);
        if (this.observer.see(name, look, serverMs, removals.get(name) ?? null)) changed?.(name);
      },
    );
    this.stream.flush();
    return bytes;
  }

  /** Looks at keys of a scan, for whatever is wanted of them. */
  private async lookAt(keys: readonly KeyName[], visit: (name: KeyName, look: Look) => void): Promise<void> {
    if (keys.length === 0) return;
    await this.gate.exclusive(() => this.look(keys, () => undefined, visit));
  }

  /** One look at all of them, at one moment, which is known by the cursor. */
  private async look(
    keys: readonly KeyName[],
    at: (serverMs: number) => void,
    visit: (name: KeyName, look: Look) => void,
  ): Promise<void> {
    const writer = new CommandWriter(4096).command(['MULTI']);
    const head = this.writeHead(writer);
    writeLooks(writer, keys);
    writer.command(['GET', this.options.keys.cursor]).command(['EXEC']);
    const queued = writer.commands - 2;
    const bytes = writer.take();
    for (;;) {
      const { queueErrors, result } = await this.connection.transaction(bytes, queued);
      if (Array.isArray(result)) {
        at(this.readHead(result));
        this.checkCursor(result[result.length - 1]);
        readLooks(keys, result.slice(head), visit);
        return;
      }
      const error = [...queueErrors.values()][0] ?? result;
      const code = error instanceof ReplyError ? error.code : '';
      if (code !== 'BUSY' && code !== 'CLUSTERDOWN')
        throw new LinkError(
          code === 'LOADING' ? 'LOADING' : code === 'NOPERM' ? 'NOPERM' : 'PROTOCOL',
          `Redis does not let this agent read keys back: ${error instanceof Error ? error.message : 'no answer to EXEC'}`,
        );
      await sleep(BUSY_MS);
    }
  }

  /** What stands before looks: the time, and on a node of a cluster whether its slots are all there. A key that has moved away is not one that is gone. */
  private writeHead(out: CommandWriter): number {
    out.command(['TIME']);
    if (this.options.slots === null) return 1;
    out.command(['CLUSTER', 'NODES']);
    return 2;
  }

  /** @returns the server's time in ms. @throws LinkError where slots are moved */
  private readHead(replies: readonly Reply[]): number {
    const { slots } = this.options;
    const why = slots === null ? null : misplaced(replies[1], slots);
    if (why !== null) throw new LinkError('CLOSED', why);
    return timeOf(replies[0]);
  }

  /** Only this agent moves the cursor; a client's flush takes it away. */
  private checkCursor(reply: Reply | undefined): void {
    const found = Buffer.isBuffer(reply) ? reply.toString('latin1') : null;
    const expected = this.options.events.cursor();
    if (found === expected) {
      this.isCursorGone = false;
      return;
    }
    if (found !== null)
      throw new LinkError('CLOSED', 'the cursor in Redis was moved by another agent: two agents serve this region');
    if (this.isCursorGone) return;
    this.isCursorGone = true;
    this.scanAll('the cursor is gone: a client has flushed the database');
  }

  private checkSize(): void {
    const { knownKeysMax } = this.options;
    if (this.observer.known.size > knownKeysMax)
      throw new LinkError(
        'PROTOCOL',
        `this Redis has more than ${knownKeysMax} keys, limits.knownKeysMax: raise it, and the agent's memory by about 150 bytes a key`,
      );
  }

  // ——— the scan

  private scanAll(reason: string): void {
    if (this.closed) return;
    this.options.events.scanning(reason);
    this.scan.hurry();
  }

  private async scanKeys(keys: readonly KeyName[]): Promise<number> {
    const { metrics } = this.options;
    const now = Date.now();
    for (const [name, due] of this.suspects) {
      if (due > now) break;
      this.suspects.delete(name);
      metrics.repair();
    }
    metrics.scanned(keys.length);
    const bytes = await this.gate.exclusive(() =>
      this.see(keys, ({ db, key }) => {
        if (this.suspects.size < SUSPECTS_MAX) this.suspects.set(`${db}:${key}`, now + LATE_MS);
        else metrics.repair();
      }),
    );
    this.checkSize();
    return bytes;
  }

  private async watch(): Promise<void> {
    if (this.isWatching) return;
    this.isWatching = true;
    if (this.beats.isSilent(Date.now())) {
      this.beats.clear();
      if (++this.silences > SILENCES_MAX)
        throw new LinkError(
          'NO_NOTIFICATIONS',
          'Redis has stopped sending notifications: was notify-keyspace-events changed?',
        );
      this.subscription.renew();
    }
    await this.gate.exclusive(async () => {
      if (this.closed) return;
      const writer = new CommandWriter(128).command(['GET', this.options.keys.cursor]).command(['INFO', 'keyspace']);
      const [cursor, info] = await this.connection.pipeline(writer.take(), 2);
      this.checkCursor(cursor);
      if (this.census.isOff(info, this.pending.size === 0 && !this.scan.isHurried))
        this.scanAll('the number of keys is not what it should be');
    });
    this.isWatching = false;
  }

  // ——— what others need of it

  /** Blocks of the applier: see BlockObserver. */
  block<T>(run: () => Promise<T>): Promise<T> {
    return this.gate.block(run);
  }

  found(keys: readonly KeyName[], out: CommandWriter): (replies: readonly Reply[]) => void {
    const names = keys.map(({ db, key }) => ({ db, key })).sort((a, b) => a.db - b.db);
    const head = this.writeHead(out);
    writeLooks(out, names);
    return (replies) => void this.seeAll(names, replies.slice(head), this.readHead(replies));
  }

  around(items: readonly BatchItem[]): BlockLook {
    const { keys, sweeping } = keysOfBlock(items);
    let head = 0;
    return {
      before: (out) => {
        this.openBlocks++;
        out.command(['APPEND', this.options.keys.cursor, '']);
        head = this.writeHead(out);
        writeLooks(out, keys);
      },
      behind: (out) => void writeLooks(out, keys),
      landed: (cursor, before, behind) => {
        const written = this.seeAll(keys, before.slice(1 + head), this.readHead(before.slice(1)));
        this.stream.marker(cursor);
        // Also where it has seen all that the block was made of: a correction is no operation.
        for (const name of written) this.options.events.overwritten(name);
        for (const what of sweeping)
          if (what.kind === 'flush') this.observer.flushed(what.db);
          else this.observer.swapped(what.a, what.b);
        readLooks(keys, behind, (name, look) => this.observer.learn(name, look));
        this.isCursorGone = false;
        // What was notified of one database is now in the other.
        if (sweeping.some(({ kind }) => kind === 'swap')) this.scanAll('databases were swapped');
      },
      failed: () => void this.openBlocks--,
    };
  }

  /** @returns the keys that clients had written */
  private seeAll(keys: readonly KeyName[], replies: readonly Reply[], nowMs: number): KeyName[] {
    const written: KeyName[] = [];
    readLooks(keys, replies, (name, look) => {
      if (this.observer.see(name, look, nowMs, null)) written.push(name);
    });
    this.stream.flush();
    return written;
  }

  /**
   * All keys as they are between two blocks, for another region; blocks wait until it has been read. What clients write meanwhile may be in
   * it or not: it is told in the stream in either case, as a whole.
   */
  async *data(): AsyncGenerator<RdbEntry[], string | null> {
    const release = await this.gate.hold();
    try {
      const cursor = this.options.events.cursor();
      for await (const names of this.scan.names()) {
        const entries: RdbEntry[] = [];
        let serverMs = 0;
        await this.gate.exclusive(() =>
          this.look(
            names,
            (nowMs) => (serverMs = nowMs),
            (name, look) => {
              this.observer.see(name, look, serverMs, null);
              const dump = look.dump === null ? null : this.observer.decode(name, look.dump);
              if (dump !== null) entries.push(entryOf(name.db, name.key, dump, look.expireAtMs));
            },
          ).then(() => this.stream.flush()),
        );
        if (entries.length > 0) yield entries;
      }
      return cursor;
    } finally {
      release();
    }
  }

  /** Keys as they are now, and the cursor at that moment. What clients did to them before has been told when it returns. */
  async values(keys: readonly KeyName[]): Promise<{ looks: Look[]; cursor: string | null }> {
    const looks = new Map<KeyName, Look>();
    const sorted = [...keys].sort((a, b) => a.db - b.db);
    let serverMs = 0;
    const cursor = await this.gate.exclusive(async () => {
      await this.look(
        sorted,
        (nowMs) => (serverMs = nowMs),
        (name, look) => {
          looks.set(name, look);
          this.observer.see(name, look, serverMs, null);
        },
      );
      this.stream.flush();
      return this.options.events.cursor();
    });
    return { looks: keys.map((name) => looks.get(name)!), cursor };
  }

  knownKeys(): number {
    return this.observer.known.size;
  }

  pendingKeys(): number {
    return this.pending.size;
  }

  scanProgress(): number {
    return this.scan.progress;
  }

  scanAgeSeconds(): number {
    return this.scan.ageSeconds;
  }
}
