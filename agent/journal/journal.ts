/**
 * The journal: an append-only log on disk of encoded records of all origins, in the order in which they came. Appending
 * is synchronous and cheap; writing happens in groups, one in flight, and flushing to the disk behind it, at its own pace.
 *
 * Readers see what is appended: peers need not wait for a disk. What is *durable* outlives a crash: acknowledgements go by
 * that, and so does what may be dropped elsewhere. The end of the journal that a crash takes is read again from Redis, with
 * the same positions and stamps, for they follow from the stream's bytes alone, or comes back from the peers that have it.
 * What is not of the stream (births, states, differences) could not be made again: nobody sees it, or what follows it in its
 * origin, before it is durable.
 *
 * The directory holds segments (segment.ts; what is made of them at the next start: recovery.ts), a lock file and one small JSON document for the owner's use.
 */
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { peekRecord, RecordKind, recordLength } from '../record';
import { Deque } from '../deque';
import { errorText, JournalError } from './error';
import { closeFile, openFile, syncData, syncDir, writeAll } from './files';
import { lockDir } from './lock';
import { Lookup } from './lookup';
import { Meta } from './meta';
import { JournalReader, newLog, type OriginLog, type ReaderSource, replaySegments } from './reader';
import { type Found, type JournalRecovery, recover } from './recovery';
import { Rest } from './rest';
import { encodeHeader, FORGOTTEN, RECORD_BYTES_MIN, Segment, segmentName } from './segment';
import { endOf, startOf, Tail } from './tail';

export interface JournalOptions {
  readonly dir: string;
  /** Size on disk from which the journal reports that it is full. It still takes records: losing them is worse. */
  readonly bytesMax: number;
  /** Size at which a segment is sealed and the next one begun. Space comes back by whole segments. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Newest records kept in memory for readers. Default 1 MiB. */
  readonly tailBytes?: number;
  /** Bytes that may wait for the disk before `pressure` says that who can should wait. Default 64 MiB. */
  readonly pendingBytesMax?: number;
  /** Flush to the disk before a record counts as durable. Default true; false only where the machine's crash may lose data. */
  readonly fsync?: boolean;
  /** Between the beginnings of two writes, and of two flushes, at least, while nobody waits for one, in ms; three times as long under a flood. Default 10. */
  readonly syncMs?: number;
}

interface JournalEvents {
  /** Records can be read that could not before. */
  readable: [];
  /** Groups have become durable. */
  durable: [];
  /** A write or a flush failed. It is tried again until it succeeds; nothing is lost while the process lives. */
  error: [JournalError];
  full: [];
  room: [];
  /** More waits for the disk than may wait in memory; or no more, half of it has become durable. */
  pressure: [on: boolean];
}

const SEGMENT_BYTES = 64 * 1024 * 1024;
const TAIL_BYTES = 1024 * 1024;
/** One write's size: large enough for the disk's full speed, small enough that readers do not wait for it. */
const GROUP_BYTES_MAX = 8 * 1024 * 1024;
/** Of what may wait for the disk: so much is left when more may come. */
const RELIEVED_SHARE = 1 / 2;
const PENDING_BYTES = 64 * 1024 * 1024;
const SYNC_MS = 10;
/** So much waits longer for more: each write and each flush costs, whatever is in it. */
const FLOOD_BYTES = 96 * 1024;
const FLOOD_FACTOR = 3;
/** So much does not wait for more. */
const GROUP_BYTES_MIN = 1024 * 1024;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

/** What waits to be written: a record, or a place to begin a segment at, because an origin's position was set or it was forgotten. */
interface Queued {
  readonly log: OriginLog;
  readonly record: Buffer | null;
  /** −1: the origin is forgotten. */
  readonly base: number;
}

export class Journal extends EventEmitter<JournalEvents> {
  /** What opening found: what was cut, what is damaged. */
  readonly recovery: JournalRecovery;

  private readonly logs: Map<string, OriginLog>;
  private readonly segmentList: Segment[];
  private readonly tail: Tail;
  private readonly lookup: Lookup;
  private readonly queue = new Deque<Queued>();
  private readonly source: ReaderSource;
  /** Waiters of origins that are not known yet. */
  private readonly strangers = new Map<string, (() => void)[]>();
  private readonly flushWaiters = new Deque<{ until: number; done: (error: Error | null) => void }>();
  private readonly segmentBytes: number;
  private readonly fsync: boolean;
  private readonly syncMs: number;
  private fd: number;
  private readonly pendingBytesMax: number;
  private queuedBytes = 0;
  private isPressed = false;
  private readonly pressedWaiters: (() => void)[] = [];
  /** Of the queue, from its head: how many are in the last segment, but not known to be durable. */
  private written = 0;
  private writtenBytes = 0;
  /** A flush has failed: what was written since the last one has to be written again. */
  private isDoubtful = false;
  private diskBytes: number;
  private appended = 0;
  private committed = 0;
  private running: Promise<void> | null = null;
  private syncing: Promise<void> | null = null;
  /** When the last group, and the last flush, was begun. */
  private wroteAtMs = -Infinity;
  private syncedAtMs = -Infinity;
  private awaited = false;
  private syncAwaited = false;
  /** Origins whose readers are to be told. */
  private readonly news = new Set<OriginLog>();
  /** Records that wait for an earlier one of their origin to become durable. */
  private held = 0;
  private retrySyncMs = RETRY_MS_MIN;
  private readonly writeRest = new Rest();
  private readonly syncRest = new Rest();
  /** After a failure: nobody's haste cuts these short. */
  private readonly writeRetry = new Rest();
  private readonly syncRetry = new Rest();
  private trimming: Promise<void> = Promise.resolve();
  private isFull: boolean;
  private isClosing = false;
  /** A flush has failed while closing: what it was for is lost. */
  private gaveUp = false;
  private lastError: JournalError | null = null;

  private constructor(
    private readonly options: JournalOptions,
    private readonly meta: Meta,
    found: Found,
    private readonly unlock: () => void,
  ) {
    super();
    this.logs = found.logs;
    this.segmentList = found.segments;
    this.lookup = new Lookup(this.segmentList);
    this.fd = found.fd;
    this.diskBytes = found.bytes;
    this.isFull = found.bytes >= options.bytesMax;
    this.segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.fsync = options.fsync ?? true;
    this.syncMs = options.syncMs ?? SYNC_MS;
    this.tail = new Tail(options.tailBytes ?? TAIL_BYTES);
    this.pendingBytesMax = options.pendingBytesMax ?? PENDING_BYTES;
    const { records, cut, damage, holes } = found;
    this.recovery = { records, cut, damage, holes, metaDamaged: !meta.load() };
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- getters below need both
    const journal = this;
    this.source = {
      log: (origin) => this.logs.get(origin),
      onReadable: (origin, wake) => this.onReadable(origin, wake),
      segments: this.segmentList,
      get closed() {
        return journal.isClosing;
      },
    };
  }

  /**
   * Opens the journal in `dir`, which is made when missing. Every checksum is verified; the end of the last segment is
   * cut where it is torn. See `recovery` for what was found.
   * @throws JournalError `locked`, `version`
   */
  static async open(options: JournalOptions): Promise<Journal> {
    await fs.promises.mkdir(options.dir, { recursive: true, mode: 0o700 });
    const unlock = lockDir(options.dir);
    try {
      const { dir, fsync = true } = options;
      return new Journal(options, new Meta(dir, fsync), await recover(dir, fsync), unlock);
    } catch (error) {
      unlock();
      throw error;
    }
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.diskBytes;
  }

  get segments(): number {
    return this.segmentList.length;
  }

  get full(): boolean {
    return this.isFull;
  }

  /** Bytes appended and not yet durable: they grow while the disk is slow or refuses to write. */
  get pendingBytes(): number {
    return this.queuedBytes;
  }

  /** The disk is slower than what comes: who can should bring no more for now. What is appended all the same is taken. */
  get pressed(): boolean {
    return this.isPressed;
  }

  /** Resolves when more may come. Undefined: it may now. */
  relieved(): Promise<void> | undefined {
    return this.isPressed ? new Promise((resolve) => this.pressedWaiters.push(resolve)) : undefined;
  }

  origins(): string[] {
    return [...this.logs.keys()];
  }

  /** The end of the origin's last record, durable or not. */
  appendedEnd(origin: string): number | undefined {
    return position(this.logs.get(origin)?.appendedEnd);
  }

  /** Up to where readers get the origin's records. */
  readableEnd(origin: string): number | undefined {
    return position(this.logs.get(origin)?.readableEnd);
  }

  /** Up to where `record` finds the origin's records. */
  writtenEnd(origin: string): number | undefined {
    return position(this.logs.get(origin)?.writtenEnd);
  }

  durableEnd(origin: string): number | undefined {
    return position(this.logs.get(origin)?.durableEnd);
  }

  /** The lowest position from which a reader gets everything up to `readableEnd`. */
  firstStart(origin: string): number | undefined {
    return position(this.logs.get(origin)?.chainStart);
  }

  /** Whether a reader from `from` on gets everything; otherwise its reads fail with `trimmed`. */
  reaches(origin: string, from: number): boolean {
    const log = this.logs.get(origin);
    return log !== undefined && log.readableEnd >= 0 && (log.born || from >= log.chainStart);
  }

  /**
   * Takes a record, which its maker or its receiver has verified. The buffer must not change afterwards.
   * @throws JournalError `gap`, `overlap`, `malformed`, `closed`; the record was then not taken
   */
  append(encoded: Buffer): void {
    if (this.isClosing) throw new JournalError('closed', 'the journal is closed');
    if (encoded.length < RECORD_BYTES_MIN || recordLength(encoded) !== encoded.length)
      throw new JournalError('malformed', `${encoded.length} bytes are not one whole record`);
    const { origin, start, end, kind } = peekRecord(encoded);
    let log = this.logs.get(origin);
    if (log === undefined) {
      if (kind !== RecordKind.birth)
        throw new JournalError('gap', `${origin} begins at ${start} without a birth record`);
      log = this.addLog(origin);
    } else if (kind === RecordKind.birth || start < log.appendedEnd) {
      throw new JournalError(
        'overlap',
        `${origin}: [${start}, ${end}] comes again; the journal ends at ${log.appendedEnd}`,
      );
    } else if (start > log.appendedEnd) {
      throw new JournalError(
        'gap',
        `${origin}: [${start}, ${end}] leaves a gap; the journal ends at ${log.appendedEnd}`,
      );
    } else if (end === start) {
      throw new JournalError('malformed', `${origin}: a record at ${start} covers no position`);
    }
    log.appendedEnd = end;
    this.enqueue({ log, record: encoded, base: -1 });
    if (!this.show(log, encoded)) this.held++;
  }

  /**
   * Sets an origin's place to a position whose past this journal will not have: after a full sync has delivered what
   * lies before, or past a hole that no source can fill.
   * @throws JournalError `overlap` when the journal is further already
   */
  skipTo(origin: string, base: number): void {
    if (this.isClosing) throw new JournalError('closed', 'the journal is closed');
    const log = this.logs.get(origin) ?? this.addLog(origin);
    if (base < log.appendedEnd)
      throw new JournalError('overlap', `${origin}: cannot go back from ${log.appendedEnd} to ${base}`);
    if (base === log.appendedEnd) return;
    log.appendedEnd = base;
    this.enqueue({ log, record: null, base });
  }

  /**
   * Gives an origin up at once, also for whoever opens this journal again: as if no record of it had ever come. Its bytes
   * leave the disk with their segments. The origin may be begun anew, with a birth.
   */
  forget(origin: string): void {
    if (this.isClosing) throw new JournalError('closed', 'the journal is closed');
    const log = this.logs.get(origin);
    if (log === undefined) return;
    this.logs.delete(origin);
    wakeAll(log.waiters.splice(0));
    this.enqueue({ log, record: null, base: -1 });
  }

  /** Resolves when everything appended before is durable. */
  flushed(): Promise<void> {
    if (this.committed === this.appended) return Promise.resolve();
    this.hurry();
    this.hurrySync();
    return new Promise((resolve, reject) => {
      this.flushWaiters.push({ until: this.appended, done: (error) => (error ? reject(error) : resolve()) });
    });
  }

  /**
   * A written record again, at once: the one that holds what follows position `from`. It reads the disk where it is called.
   * @throws JournalError `trimmed`, `damaged`, `io`
   */
  record(origin: string, from: number): Buffer {
    return this.lookup.find(origin, from);
  }

  /** The bytes [from, to) of an origin's stream, which one written record holds: at once as `record` does, but the checksum is not looked at. */
  stream(origin: string, from: number, to: number): Buffer {
    return this.lookup.stream(origin, from, to);
  }

  /**
   * @param from the end of the last record that the reader's peer has; -1 when it has none
   * @param copies whether records are given out as buffers of their own
   */
  reader(origin: string, from: number, copies = false): JournalReader {
    return new JournalReader(this.source, origin, from, copies);
  }

  /** Every written record, oldest first, in order of arrival. Not to be used while trimming. */
  replay(): AsyncIterable<Buffer> {
    return replaySegments(this.segmentList.slice());
  }

  /** The records of the newest segments, so many that they have about `bytesMax`, in order of arrival; one segment at least. */
  recent(bytesMax: number): AsyncIterable<Buffer> {
    const segments: Segment[] = [];
    let bytes = 0;
    for (const segment of [...this.segmentList].reverse()) {
      bytes += segment.bytes;
      if (segments.length > 0 && bytes > bytesMax) break;
      segments.unshift(segment);
    }
    return replaySegments(segments);
  }

  /**
   * Deletes the oldest segments that hold nothing but records at or below `low`. An origin that `low` does not name is
   * needed in full; Infinity gives it up altogether.
   */
  trim(low: ReadonlyMap<string, number>): Promise<void> {
    const bounds = new Map(low);
    return this.trimNext(() => bounds);
  }

  /** Deletes the oldest segment, needed or not: for an owner who rather compares a region in full than runs out of disk. */
  dropOldest(): Promise<void> {
    return this.trimNext(() => {
      const bounds = new Map<string, number>();
      if (this.segmentList.length > 1)
        for (const [origin, extent] of this.segmentList[0]?.extents ?? []) bounds.set(origin, extent.lastEnd);
      return bounds;
    });
  }

  /** The document beside the log, as last written; null when there is none. */
  readMeta<T>(): T | null {
    return this.meta.read() as T | null;
  }

  writeMeta(value: unknown): Promise<void> {
    return this.meta.write(value);
  }

  /**
   * Writes what is queued and lets go of the directory.
   * @throws JournalError `io` when the disk did not take the queue: those records are lost to this journal
   */
  async close(): Promise<void> {
    if (this.isClosing) return;
    this.isClosing = true;
    for (const rest of [this.writeRest, this.syncRest, this.writeRetry, this.syncRetry]) rest.stop();
    wakeAll(this.pressedWaiters.splice(0));
    while (this.running !== null || this.syncing !== null) await (this.running ?? this.syncing);
    await this.trimming.catch(() => undefined);
    await this.meta.settled();
    for (const log of this.logs.values()) wakeAll(log.waiters.splice(0));
    for (const waiters of this.strangers.values()) wakeAll(waiters);
    this.strangers.clear();
    if (this.fd >= 0) await closeFile(this.fd);
    this.fd = -1;
    this.lookup.close();
    this.unlock();
    if (this.queue.length > 0) {
      const lost = new JournalError(
        'io',
        `the journal in ${this.options.dir} was closed with ${this.queuedBytes} bytes unwritten: ${this.lastError?.message ?? ''}`,
        { cause: this.lastError },
      );
      this.settleFlushes(lost);
      throw lost;
    }
  }

  // ---- writing

  private addLog(origin: string): OriginLog {
    const log = newLog(origin, this.strangers.get(origin));
    this.strangers.delete(origin);
    this.logs.set(origin, log);
    return log;
  }

  private onReadable(origin: string, wake: () => void): void {
    const log = this.logs.get(origin);
    if (log !== undefined) {
      log.waiters.push(wake);
      return;
    }
    const waiters = this.strangers.get(origin);
    if (waiters === undefined) this.strangers.set(origin, [wake]);
    else waiters.push(wake);
  }

  private enqueue(item: Queued): void {
    this.queue.push(item);
    this.queuedBytes += item.record?.length ?? 0;
    this.appended++;
    if (!this.isPressed && this.queuedBytes > this.pendingBytesMax) this.press(true);
    // What is not of the stream is held back until it is durable.
    if (item.record?.[9] !== RecordKind.stream) this.hurry();
    this.start();
  }

  private press(on: boolean): void {
    this.isPressed = on;
    if (!on) wakeAll(this.pressedWaiters.splice(0));
    this.emit('pressure', on);
  }

  /** Lets readers have a record, unless it has to be durable before, or what stands before it is held back. */
  private show(log: OriginLog, record: Buffer): boolean {
    if (record[9] !== RecordKind.stream || startOf(record) !== log.readableEnd) return false;
    this.makeReadable(log, record);
    return true;
  }

  private makeReadable(log: OriginLog, record: Buffer): void {
    log.readableEnd = endOf(record);
    this.tail.push(log, record);
    this.tellReaders(log);
  }

  /** A promise's turn later: once for all that one event brings. */
  private tellReaders(log: OriginLog): void {
    if (this.news.size === 0)
      queueMicrotask(() => {
        const logs = [...this.news];
        this.news.clear();
        for (const { waiters } of logs) wakeAll(waiters.splice(0));
        this.emit('readable');
      });
    this.news.add(log);
  }

  /** Something was held back, and has become durable: what follows it may be read. */
  private showHeld(): void {
    for (let i = 0; i < this.queue.length && this.held > 0; i++) {
      const { log, record } = this.queue.at(i);
      if (record !== null && startOf(record) >= log.readableEnd && this.show(log, record)) this.held--;
    }
  }

  private start(): void {
    // A promise's turn later: what one event appends becomes one group.
    this.running ??= Promise.resolve().then(() => this.run());
  }

  /** Somebody waits for what is in the queue. */
  private hurry(): void {
    if (this.awaited) return;
    this.awaited = true;
    this.writeRest.stop();
  }

  /** Somebody waits for it to be durable. */
  private hurrySync(): void {
    this.syncAwaited = true;
    this.syncRest.stop();
  }

  /** At once after a rest; under a steady trickle in groups, for each costs several operations' work. */
  private async rest(): Promise<void> {
    for (;;) {
      const bytes = this.queuedBytes - this.writtenBytes;
      const restMs = this.paceMs(bytes) - (performance.now() - this.wroteAtMs);
      const isMuch = bytes >= GROUP_BYTES_MIN;
      if (restMs <= 0 || this.awaited || isMuch || this.isClosing) return;
      await this.writeRest.of(restMs);
    }
  }

  private paceMs(bytes: number): number {
    return bytes >= FLOOD_BYTES ? this.syncMs * FLOOD_FACTOR : this.syncMs;
  }

  private async run(): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while ((this.queue.length > this.written || this.isDoubtful) && !this.gaveUp) {
      await this.rest();
      this.wroteAtMs = performance.now();
      this.awaited = false;
      try {
        if (this.isDoubtful) await this.rewrite();
        else await this.writeNext();
        retryMs = RETRY_MS_MIN;
      } catch (error) {
        this.failed(error);
        if (this.isClosing) break;
        await this.writeRetry.of(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
    this.running = null;
  }

  private failed(error: unknown): void {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    this.lastError = new JournalError(
      'io',
      `the journal in ${this.options.dir} cannot be written (${code}): ${errorText(error)}; ` +
        `${this.queuedBytes} bytes wait in memory` +
        (code === 'ENOSPC' || code === 'EDQUOT' ? '; make room on its disk' : ''),
      { cause: error },
    );
    // Without a listener an 'error' would be thrown, here where the records are kept for the next attempt.
    if (this.listenerCount('error') > 0) this.emit('error', this.lastError);
  }

  /** Writes one group. On any error nothing has changed, and the same bytes are written again to the same place. */
  private async writeNext(): Promise<void> {
    const first = this.queue.at(this.written);
    let segment = this.segmentList[this.segmentList.length - 1];
    const holdsRecords = segment !== undefined && segment.bytes > segment.headerBytes;
    const isFull = first.record !== null && holdsRecords && segment!.bytes + first.record.length > this.segmentBytes;
    if (first.record === null || segment === undefined || this.fd < 0 || isFull) {
      // What is not durable is all in the last segment: only there it can be written again.
      if (this.written > 0) return this.synced();
      segment = await this.beginSegment(first.record === null ? first : null);
    }
    if (first.record === null) {
      const { log, base } = first;
      if (base < 0) for (const { extents } of this.segmentList) extents.delete(log.origin);
      else {
        log.readableEnd = log.writtenEnd = log.durableEnd = log.chainStart = base;
        log.born = false;
        this.tellReaders(log);
      }
      this.noteDurable(1);
      return;
    }

    const room = Math.min(this.segmentBytes - segment.bytes, GROUP_BYTES_MAX);
    const records: Buffer[] = [first.record];
    let bytes = first.record.length;
    while (this.written + records.length < this.queue.length) {
      const { record } = this.queue.at(this.written + records.length);
      if (record === null || bytes + record.length > room) break;
      records.push(record);
      bytes += record.length;
    }
    const isUnique = this.fsync && records.some((record) => record[9] !== RecordKind.stream);
    // A flush that fails is told once: were another's records unflushed, they would seem to be durable with the next one.
    if (isUnique && this.written > 0) return this.synced();
    await writeAll(this.fd, records, segment.bytes);
    if (isUnique) {
      this.syncedAtMs = performance.now();
      await syncData(this.fd);
    }

    for (const record of records) this.noteWritten(segment, this.queue.at(this.written++).log, record);
    this.diskBytes += bytes;
    this.writtenBytes += bytes;
    if (isUnique || !this.fsync) this.noteDurable(this.written);
    else this.syncing ??= this.sync();
    this.checkFull();
  }

  private noteWritten(segment: Segment, log: OriginLog, record: Buffer): void {
    const start = startOf(record);
    const end = endOf(record);
    const { kind } = peekRecord(record);
    segment.index(log.origin, start, end, kind, segment.bytes);
    segment.bytes += record.length;
    if (kind === RecordKind.birth) {
      log.chainStart = start;
      log.born = true;
    }
    log.writtenEnd = end;
  }

  /** Flushes what is written, at its pace, until all of it is durable. */
  private async sync(): Promise<void> {
    while (this.written > 0 && !this.isDoubtful) {
      for (;;) {
        const restMs = this.paceMs(this.writtenBytes) - (performance.now() - this.syncedAtMs);
        if (restMs <= 0 || this.syncAwaited || this.isClosing) break;
        await this.syncRest.of(restMs);
      }
      this.syncedAtMs = performance.now();
      this.syncAwaited = false;
      const { written } = this;
      try {
        await syncData(this.fd);
        this.retrySyncMs = RETRY_MS_MIN;
        this.noteDurable(written);
      } catch (error) {
        // The system may call the pages clean now: only writing them again makes another flush mean anything.
        this.isDoubtful = true;
        this.failed(error);
        if (this.isClosing) {
          this.gaveUp = true;
          break;
        }
        await this.syncRetry.of(this.retrySyncMs);
        this.retrySyncMs = Math.min(this.retrySyncMs * 2, RETRY_MS_MAX);
        this.start();
      }
    }
    this.syncing = null;
  }

  /** Resolves when all that is written is durable, or has to be written again. */
  private async synced(): Promise<void> {
    this.hurrySync();
    await this.syncing;
  }

  /** Writes again what is not durable, to the same place. */
  private async rewrite(): Promise<void> {
    await this.syncing;
    const segment = this.segmentList[this.segmentList.length - 1] as Segment;
    const records = Array.from({ length: this.written }, (_, i) => this.queue.at(i).record as Buffer);
    await writeAll(this.fd, records, segment.bytes - this.writtenBytes);
    this.isDoubtful = false;
    this.syncing ??= this.sync();
  }

  /** The first `count` of the queue are on the disk. */
  private noteDurable(count: number): void {
    for (let i = 0; i < count; i++) {
      const { log, record } = this.queue.at(i);
      if (record === null) continue;
      log.durableEnd = endOf(record);
      this.queuedBytes -= record.length;
      this.writtenBytes -= record.length;
      if (this.held > 0 && endOf(record) > log.readableEnd) {
        this.makeReadable(log, record);
        this.held--;
      }
    }
    this.queue.drop(count);
    if (this.held > 0) this.showHeld();
    this.written = Math.max(0, this.written - count);
    this.committed += count;
    this.lastError = null;
    if (this.isPressed && this.queuedBytes <= this.pendingBytesMax * RELIEVED_SHARE) this.press(false);
    this.settleFlushes(null);
    this.emit('durable');
  }

  private settleFlushes(error: Error | null): void {
    while (this.flushWaiters.length > 0 && (error !== null || this.flushWaiters.at(0).until <= this.committed)) {
      const { done } = this.flushWaiters.at(0);
      this.flushWaiters.drop(1);
      done(error);
    }
  }

  private checkFull(): void {
    const full = this.diskBytes >= this.options.bytesMax;
    if (full === this.isFull) return;
    this.isFull = full;
    this.emit(full ? 'full' : 'room');
  }

  /** Seals the last segment and begins the next; with `base`, as the first that knows of an origin's new place. */
  private async beginSegment(base: Queued | null): Promise<Segment> {
    const previous = this.segmentList[this.segmentList.length - 1];
    const sequence = (previous?.sequence ?? 0) + 1;
    const ends = new Map<string, number>();
    for (const log of this.logs.values()) if (log.writtenEnd >= 0) ends.set(log.origin, log.writtenEnd);
    if (base !== null && base.base >= 0) ends.set(base.log.origin, base.base);
    // Records of the same name that wait behind it are of another history.
    else if (base !== null) ends.delete(base.log.origin);
    if (base !== null && base.base < 0) ends.set(FORGOTTEN + base.log.origin, 0);
    const header = encodeHeader({ sequence, previousBytes: previous?.bytes ?? 0, ends });

    const file = path.join(this.options.dir, segmentName(sequence));
    const temporary = `${file}.tmp`;
    const fd = await openFile(temporary, 'w');
    try {
      await writeAll(fd, [header], 0);
      if (this.fsync) await syncData(fd);
      await fs.promises.rename(temporary, file);
      if (this.fsync) await syncDir(this.options.dir);
    } catch (error) {
      await closeFile(fd);
      throw error;
    }
    if (this.fd >= 0) await closeFile(this.fd);
    this.fd = fd;
    const segment = new Segment(this.options.dir, sequence, header.length, header.length);
    this.segmentList.push(segment);
    this.diskBytes += header.length;
    return segment;
  }

  // ---- trimming

  private trimNext(bounds: () => ReadonlyMap<string, number>): Promise<void> {
    const trim = (): Promise<void> => this.trimNow(bounds());
    return (this.trimming = this.trimming.then(trim, trim));
  }

  private async trimNow(low: ReadonlyMap<string, number>): Promise<void> {
    const gone: Segment[] = [];
    // The last segment is being written; it is never trimmed.
    while (this.segmentList.length > 1) {
      const [oldest] = this.segmentList as [Segment];
      let disposable = true;
      for (const [origin, extent] of oldest.extents)
        if (extent.lastEnd > (low.get(origin) ?? -1)) {
          disposable = false;
          break;
        }
      if (!disposable) break;
      this.segmentList.shift();
      gone.push(oldest);
    }
    for (const log of this.logs.values()) this.afterTrim(log, low.get(log.origin) === Infinity);
    for (const segment of gone) {
      this.diskBytes -= segment.bytes;
      await fs.promises.rm(segment.file, { force: true });
    }
    if (gone.length > 0 && this.fsync) await syncDir(this.options.dir);
    this.checkFull();
  }

  private afterTrim(log: OriginLog, given: boolean): void {
    const first = this.segmentList.find((s) => s.extents.has(log.origin))?.extents.get(log.origin);
    if (first === undefined) {
      if (log.writtenEnd < 0) return; // its birth is still queued
      log.chainStart = log.writtenEnd;
      log.born = false;
      if (given && log.appendedEnd === log.durableEnd && log.waiters.length === 0) this.logs.delete(log.origin);
    } else if (first.firstStart >= log.chainStart) {
      // Otherwise a hole lies behind the first record that is left, and the chain begins after it.
      log.chainStart = first.firstStart;
      log.born = first.born;
    }
  }
}

function position(value: number | undefined): number | undefined {
  return value === undefined || value < 0 ? undefined : value;
}

function wakeAll(waiters: readonly (() => void)[]): void {
  for (const wake of waiters) wake();
}
