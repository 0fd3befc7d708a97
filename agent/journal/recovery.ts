/** Opening a journal: what its segments hold, record by record; the end of the last one is cut where it is torn, and what is damaged is told. */
import fs from 'node:fs';
import path from 'node:path';
import { type peekRecord, RecordKind } from '../record';
import { closeFile, openFile, syncData } from './files';
import { newLog, type OriginLog } from './reader';
import { FORGOTTEN, readHeader, Scan, Segment, segmentName, segmentSequence } from './segment';

/** Bytes that failed their checksum in a place where no write can have been torn. */
export interface JournalDamage {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
}

/** What opening a journal found. */
export interface JournalRecovery {
  readonly records: number;
  /** The torn end of the last segment, removed. Nothing of it was ever reported durable unless the disk lost it. */
  readonly cut: JournalDamage | null;
  readonly damage: readonly JournalDamage[];
  /** Positions that damage has taken out of an origin's chain: readers can start at `to` at the earliest. */
  readonly holes: readonly { origin: string; from: number; to: number }[];
  /** The document beside the log failed its checksum; it reads as null. */
  readonly metaDamaged: boolean;
}

/** What a journal goes on from. */
export interface Found extends Omit<JournalRecovery, 'metaDamaged'> {
  readonly logs: Map<string, OriginLog>;
  /** Oldest first. */
  readonly segments: Segment[];
  /** On disk. */
  readonly bytes: number;
  /** Of the last segment; −1: none can be written on. */
  readonly fd: number;
}

/** @throws JournalError `version` */
export async function recover(dir: string, fsync: boolean): Promise<Found> {
  const sequences: number[] = [];
  for (const name of await fs.promises.readdir(dir)) {
    const sequence = segmentSequence(name);
    if (sequence !== null) sequences.push(sequence);
    else if (name.endsWith('.journal.tmp')) await fs.promises.rm(path.join(dir, name), { force: true });
  }
  sequences.sort((a, b) => a - b);
  const recovery = new Recovery(dir, fsync);
  for (const [i, sequence] of sequences.entries()) await recovery.take(sequence, i === sequences.length - 1);
  await recovery.open();
  return recovery;
}

class Recovery implements Found {
  readonly logs = new Map<string, OriginLog>();
  readonly segments: Segment[] = [];
  bytes = 0;
  fd = -1;
  records = 0;
  cut: JournalDamage | null = null;
  readonly damage: JournalDamage[] = [];
  readonly holes: { origin: string; from: number; to: number }[] = [];

  constructor(
    private readonly dir: string,
    private readonly fsync: boolean,
  ) {}

  async take(sequence: number, isLast: boolean): Promise<void> {
    const file = path.join(this.dir, segmentName(sequence));
    const previous = this.segments[this.segments.length - 1];
    const fd = await openFile(file, isLast ? 'r+' : 'r');
    try {
      const size = (await fs.promises.stat(file)).size;
      const header = await readHeader(fd, file, sequence);
      const segment = new Segment(this.dir, sequence, header?.bytes ?? 0, size);
      if (previous !== undefined && previous.sequence !== sequence - 1)
        this.noteDamage(segment, 0, 0, `segments ${previous.sequence + 1} to ${sequence - 1} are missing`);
      if (header === null) {
        // Whoever reads the segments in turn steps over it, too.
        segment.damage.push({ from: 0, to: size });
        this.noteDamage(segment, 0, size, 'the header is unsound');
      } else {
        if (previous !== undefined && previous.sequence === sequence - 1 && previous.bytes !== header.previousBytes)
          this.noteDamage(previous, previous.bytes, header.previousBytes - previous.bytes, 'the end is missing');
        for (const [origin, end] of header.ends)
          if (origin.startsWith(FORGOTTEN)) this.noteForgotten(origin.slice(FORGOTTEN.length));
          else this.noteEnd(origin, end);
        await this.scan(fd, segment, size, isLast);
      }
      this.segments.push(segment);
      this.bytes += segment.bytes;
    } finally {
      await closeFile(fd);
    }
  }

  /** Opens the last segment, to write on. A last one with an unsound header takes no more records: the next write begins another. */
  async open(): Promise<void> {
    const last = this.segments[this.segments.length - 1];
    if (last === undefined || last.headerBytes === 0) return;
    this.fd = await openFile(last.file, 'r+');
    // Of an agent that was killed, the system may have what the disk has not.
    if (this.fsync) await syncData(this.fd);
  }

  private async scan(fd: number, segment: Segment, size: number, isLast: boolean): Promise<void> {
    const scan = new Scan(fd, size);
    let offset = segment.headerBytes;
    while (offset < size) {
      const scanned = scan.at(offset);
      const { record, next } = 'next' in scanned ? scanned : await scanned;
      if (record !== null) {
        this.noteScanned(segment, record, offset);
        offset = next;
        continue;
      }
      const reason = next === 0 ? 'no whole record' : 'a record fails its checksum';
      if (isLast) {
        await fs.promises.truncate(segment.file, offset);
        if (this.fsync) await syncData(fd);
        segment.bytes = offset;
        this.cut = { file: segment.file, offset, bytes: size - offset, reason };
        return;
      }
      // The damaged record's own length leads on if a sound record follows; otherwise the rest cannot be told apart.
      const resumes = next > 0 && next < size && (await scan.at(next)).record !== null;
      const to = resumes ? next : size;
      segment.damage.push({ from: offset, to });
      this.noteDamage(segment, offset, to - offset, reason);
      offset = to;
    }
  }

  private noteScanned(
    segment: Segment,
    { origin, start, end, kind }: ReturnType<typeof peekRecord>,
    offset: number,
  ): void {
    let log = this.logs.get(origin);
    if (log === undefined) {
      log = this.addLog(origin);
      log.chainStart = start;
      log.born = kind === RecordKind.birth;
      if (!log.born) this.noteHole(origin, 0, start);
    } else if (kind === RecordKind.birth) {
      log.chainStart = start;
      log.born = true;
    } else if (start !== log.writtenEnd) {
      this.noteHole(origin, log.writtenEnd, start);
      log.chainStart = start;
      log.born = false;
    }
    log.durableEnd = log.writtenEnd = log.readableEnd = log.appendedEnd = end;
    segment.index(origin, start, end, kind, offset);
    this.records++;
  }

  /** A segment's header says where the origin stood: further than what was found before it means that something is lost. */
  private noteEnd(origin: string, end: number): void {
    let log = this.logs.get(origin);
    if (log === undefined) {
      log = this.addLog(origin);
    } else if (end <= log.durableEnd) {
      return;
    } else {
      this.noteHole(origin, log.durableEnd, end);
    }
    log.durableEnd = log.writtenEnd = log.readableEnd = log.appendedEnd = log.chainStart = end;
    log.born = false;
  }

  private noteForgotten(origin: string): void {
    this.logs.delete(origin);
    for (const { extents } of this.segments) extents.delete(origin);
  }

  private addLog(origin: string): OriginLog {
    const log = newLog(origin);
    this.logs.set(origin, log);
    return log;
  }

  private noteDamage(segment: Segment, offset: number, bytes: number, reason: string): void {
    this.damage.push({ file: segment.file, offset, bytes, reason });
  }

  private noteHole(origin: string, from: number, to: number): void {
    this.holes.push({ origin, from, to });
  }
}
