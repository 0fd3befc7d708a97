/**
 * The conflict journal: who lost what, on disk beside the agent's journal. It is told by the merge core in the middle of its work, so it never waits, and
 * looks at no more conflicts in a second than it may: the others are counted.
 */
import { createHmac, hash, randomBytes } from 'node:crypto';
import { compileGlob } from '../../model/glob';
import type { Conflict, ConflictAct, ConflictSide, ConflictSink } from '../merge/conflict';
import { regionOf } from '../record';
import { timeOfStamp } from '../stream/keys';
import {
  type ConflictEntry,
  conflictEntrySchema,
  type ConflictsAnswer,
  type ConflictValue,
  type ConflictValues,
  type EntrySide,
} from './entry';
import { LineLog } from './line-log';

export interface ConflictJournalOptions {
  readonly dir: string;
  readonly region: string;
  readonly values: ConflictValues;
  /** Of its files, all together. */
  readonly bytesMax: number;
  /** Larger values are kept as a digest. */
  readonly valueBytesMax: number;
  /** Conflicts looked at in a second, on average; ten seconds' worth at once. */
  readonly perSecondMax: number;
  /** They are what would conflict: nothing was applied. Default: false. */
  readonly dryRun?: boolean;
  readonly onError: (error: unknown) => void;
}

/** What is asked for. */
export interface ConflictQuery {
  /** A glob pattern, Latin-1. Default: all keys. */
  readonly key?: string;
  /** Of the winner or the loser. */
  readonly region?: string;
  /** Found at or after it, in ms since 1970. */
  readonly sinceMs?: number;
  /** Only entries behind this one. */
  readonly afterSeq?: number;
  readonly id?: string;
  readonly limit: number;
}

const BURST_SECONDS = 10;
/** Of an answer, about. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** Keys and fields are kept up to this length. */
const NAME_BYTES_MAX = 1024;

export class ConflictJournal implements ConflictSink {
  private readonly log: LineLog;
  /** Of this start: a digest is to be compared with others of the same journal, and with nothing else. */
  private readonly digestKey = randomBytes(32);
  private seq = 0;
  private tokens: number;
  private filledMs = Date.now();
  /** Since this agent began. */
  noted = 0;
  leftOut = 0;

  private constructor(private readonly options: ConflictJournalOptions) {
    this.log = new LineLog(options.dir, options.bytesMax, options.onError);
    this.tokens = options.perSecondMax * BURST_SECONDS;
  }

  static async open(options: ConflictJournalOptions): Promise<ConflictJournal> {
    const journal = new ConflictJournal(options);
    for await (const line of journal.log.newestFirst()) {
      const entry = parse(line);
      if (entry === null) continue;
      journal.seq = entry.seq;
      break;
    }
    return journal;
  }

  wants(): boolean {
    if (this.tokens < 1) this.refill();
    if (this.tokens >= 1) return true;
    this.leftOut++;
    return false;
  }

  private refill(): void {
    const { perSecondMax } = this.options;
    const now = Date.now();
    this.tokens = Math.min(
      perSecondMax * BURST_SECONDS,
      this.tokens + (Math.max(0, now - this.filledMs) * perSecondMax) / 1000,
    );
    this.filledMs = now;
  }

  note(conflict: Conflict): void {
    const { db, type, reason } = conflict;
    this.tokens--;
    const entry: ConflictEntry = {
      id: idOf(conflict),
      seq: this.seq + 1,
      timeMs: Date.now(),
      db,
      key: conflict.key.slice(0, NAME_BYTES_MAX),
      type,
      element: conflict.element.slice(0, NAME_BYTES_MAX),
      reason,
      winner: conflict.winner === null ? null : this.sideOf(conflict.winner),
      loser: this.sideOf(conflict.loser),
    };
    if (this.log.append(JSON.stringify(entry))) {
      this.seq++;
      this.noted++;
    } else this.leftOut++;
  }

  private sideOf({ origin, position, stamp, act, value }: ConflictSide): EntrySide {
    const region = regionOf(origin);
    return { region, origin, position, stamp, timeMs: timeOfStamp(stamp), act, value: this.valueOf(act, value) };
  }

  private valueOf(act: ConflictAct, read: () => Buffer | null): ConflictValue | null {
    const { values, valueBytesMax } = this.options;
    // When a key expires is no secret.
    const isFull = values === 'full' || act === 'ttl';
    if (values === 'none' && !isFull) return null;
    let value: Buffer | null;
    try {
      value = read();
    } catch {
      // It is in no journal any more.
      return null;
    }
    if (value === null) return null;
    if (isFull && value.length <= valueBytesMax) return { bytes: value.length, full: value.toString('base64') };
    const digest = createHmac('sha256', this.digestKey).update(value).digest('hex').slice(0, 16);
    return { bytes: value.length, digest };
  }

  /** The newest that match, oldest first. */
  async query(query: ConflictQuery): Promise<ConflictsAnswer> {
    const glob = query.key === undefined ? null : compileGlob(query.key);
    const found: ConflictEntry[] = [];
    const seen = new Set<string>();
    let bytes = 0;
    let isCut = false;
    for await (const line of this.log.newestFirst()) {
      const entry = parse(line);
      if (entry === null) continue;
      if (query.afterSeq !== undefined && entry.seq <= query.afterSeq) break;
      if (query.sinceMs !== undefined && entry.timeMs < query.sinceMs) break;
      if (query.id !== undefined && entry.id !== query.id) continue;
      if (query.region !== undefined && entry.winner?.region !== query.region && entry.loser.region !== query.region)
        continue;
      if (glob !== null && !glob.matches(Buffer.from(entry.key, 'latin1'))) continue;
      // After a restart a conflict may be found once more.
      if (seen.has(entry.id)) continue;
      seen.add(entry.id);
      bytes += line.length;
      if (found.length >= query.limit || bytes > ANSWER_BYTES_MAX) {
        isCut = true;
        break;
      }
      found.push(entry);
    }
    const { region, dryRun = false } = this.options;
    return { region, dryRun, entries: found.reverse(), isCut, leftOut: this.leftOut };
  }

  close(): Promise<void> {
    return this.log.close();
  }
}

/** Of the write that lost: whoever finds that it did says the same. */
function idOf({ db, key, type, element, loser }: Conflict): string {
  const text = JSON.stringify([loser.origin, loser.position, db, key, type, element]);
  return hash('sha256', text, 'hex').slice(0, 12);
}

function parse(line: string): ConflictEntry | null {
  try {
    const result = conflictEntrySchema.safeParse(JSON.parse(line));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}
