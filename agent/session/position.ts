/** Where the own stream stands, as kept beside the journal, and how a session goes on from there. */
import type { Journal } from '../journal';
import { Code, findCommand } from '../merge/commands';
import type { MissingEntry } from '../merge/difference';
import { isOfStream, type OpRecord, type OriginId, type Vector } from '../record';
import { CommandScanner } from '../resp';
import { formatVector, parseVector } from '../vector';
import type { RecorderState } from '../stream/recorder';
import { recordsAfter } from './records';

/** The journal's document. Written about once a second, and when a session begins or ends. */
export interface Meta {
  version: 1;
  /** Whether this region has its place in the mesh: it began it, or was given the mesh's data. */
  established: boolean;
  /** Redis holds changes that are in no operation (see difference.ts). */
  unexplained: boolean;
  /** Regions between whose data and this that is over. */
  comparedWith?: string[];
  /** While it joins: what its Redis held before has been offered to the mesh. */
  offered?: boolean;
  /** Keys (database, Latin-1) whose value here waits for another region's state since the join. */
  awaited?: [number, string][];
  /** Entries of streams (database, key in Latin-1, ID) that are to be written here, and of which no record tells so. */
  missing?: [number, string, string][];
  /** What follows here in the stream may have been told as differences: it is not to be read. */
  resync?: true;
  replId: string;
  origin: OriginId;
  offset: number;
  end: number;
  stamp: number;
  db: number;
  seen: string;
  /** What was in Redis of other origins: the copy outside, for when a client flushes the cursor away. */
  applied: string;
  /** Of own older origins, what has been in this history of Redis since it began. */
  past?: string;
  /** Every member has seen so far: what is before need not be read again at start. */
  low: string;
}

export function readMeta(journal: Journal): Meta | null {
  const meta = journal.readMeta<Meta>();
  return meta !== null && meta.version === 1 && typeof meta.origin === 'string' ? meta : null;
}

export interface ResumePoint {
  replId: string;
  state: RecorderState;
  /** Up to where the document tells what is in no record: at the state's offset, or before it. */
  noted: RecorderState;
  /** What is in Redis at the state's offset: blocks behind that come once more. */
  landed: Vector;
}

/**
 * The place up to which the own stream is journalled: the document's when nothing came after it, else behind the last
 * own record.
 */
export async function resumePoint(journal: Journal, meta: Meta): Promise<ResumePoint | null> {
  const seen = parseVector(meta.seen);
  const end = journal.appendedEnd(meta.origin);
  if (seen === null || end === undefined) return null;
  const { replId, origin, offset, stamp, db } = meta;
  const noted: RecorderState = { origin, offset, end: meta.end, stamp, seen, db };
  if (end <= meta.end) return { replId, state: { ...noted }, noted, landed: seen };
  let last: OpRecord | null = null;
  let lastOfStream: OpRecord | null = null;
  for await (const record of recordsAfter(journal, origin, meta.end)) {
    last = record;
    if (isOfStream(record.kind)) lastOfStream = record;
  }
  if (last === null) return null;
  return {
    replId,
    noted,
    state: {
      origin,
      // A state stands between two commands of the stream, at no byte of its own: the stream goes on behind the last bytes.
      offset: lastOfStream === null ? offset : lastOfStream.end,
      end: last.end,
      stamp: Math.max(stamp, last.stamp + last.ops),
      seen: last.seen,
      db: lastOfStream === null ? db : dbAfter(lastOfStream),
    },
    landed: lastOfStream === null ? seen : lastOfStream.seen,
  };
}

/**
 * The position that stands for an offset of the stream: what is behind its bytes and before the next ones belongs to it, and
 * where no operation follows it is the last one's, for bytes that are no operation are in no record.
 */
export async function lastAt(journal: Journal, origin: OriginId, offset: number): Promise<number> {
  const end = journal.appendedEnd(origin) ?? offset;
  if (end <= offset) return end;
  let last = offset;
  for await (const record of recordsAfter(journal, origin, offset)) {
    if (record.end >= Math.floor(offset) + 1) break;
    last = record.end;
  }
  return last;
}

export { positionAfter } from '../stream/position';

/** The database selected after a record. */
function dbAfter(record: OpRecord): number {
  let { db } = record;
  const scanner = new CommandScanner();
  scanner.push(record.payload);
  while (scanner.next())
    if (findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!)?.code === Code.select)
      db = Number(scanner.buf.toString('latin1', scanner.argStart[1], scanner.argEnd[1]));
  return db;
}

export function metaOf(o: {
  established: boolean;
  unexplained: boolean;
  comparedWith: ReadonlySet<string>;
  offered: boolean;
  awaited: [number, string][];
  missing: readonly MissingEntry[];
  replId: string;
  state: RecorderState;
  applied: Vector;
  past: Vector;
  low: Vector;
}): Meta {
  const { established, unexplained, offered, awaited, missing, replId, state } = o;
  return {
    version: 1,
    established,
    unexplained,
    ...(unexplained ? { comparedWith: [...o.comparedWith] } : {}),
    offered,
    ...(awaited.length === 0 ? {} : { awaited }),
    ...(missing.length === 0 ? {} : { missing: missing.map(({ db, key, id }) => [db, key, id]) }),
    replId,
    origin: state.origin,
    offset: state.offset,
    end: state.end,
    stamp: state.stamp,
    db: state.db,
    seen: formatVector(state.seen),
    applied: formatVector(o.applied),
    past: formatVector(o.past),
    low: formatVector(o.low),
  };
}
