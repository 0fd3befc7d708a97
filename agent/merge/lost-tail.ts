/**
 * How much of its last history a Redis still holds that was started again from its disk. Killed, it may have lost the end of it:
 * an append-only file is written behind the replies where the disk is slow, and flushed once a second. What is lost comes back as
 * it does after a failover, as operations not yet seen; what is not must not run twice. So the place has to be found exactly.
 *
 * Two things in Redis itself mark places of its stream: the cursor (a record that had seen more than it says is lost, one that had
 * seen less is not) and the heartbeat, by the stamps. And what its agent had reported to the others was on its disk then. Between the last of these and the next there are a few operations,
 * some 25 ms of them. There the data tells (lost-verdicts.ts): what it holds was not lost, and nothing before that was.
 */
import { isOfStream, type OpRecord, type OriginId, regionOf, type Vector } from '../record';
import { stampOf, timeOfStamp } from '../stream/keys';
import { type MaybeAppend, appendedBy, appendsOf } from './appended';
import type { Candidate } from './difference';
import type { TailEvidence } from './lost-evidence';
import { COUNTERS_WEIGHT, type Doubtful, earlierOf, lastKept, LEAST_MISSING, lostNumbers } from './lost-verdicts';
import { eachEffect, nameOf, type Touches } from './touches';

/** What marks places of a history. */
export interface TailMarks {
  /** Vector of the cursor in the snapshot. */
  readonly cursor: Vector;
  /** Of the heartbeat in the snapshot: Unix ms. */
  readonly heartbeatMs: number;
  /** Position up to which the region had reported it, as nothing could take it back any more; −1: none is known. */
  readonly safe: number;
}

/**
 * @param records the history's, in order
 * @param marks what is known beside the data
 * @param leastMissing see LEAST_MISSING
 * @returns the position up to which the snapshot holds the history; null for all of it
 */
export function keptUntil(
  records: readonly OpRecord[],
  region: string,
  { cursor, heartbeatMs, safe }: TailMarks,
  evidence: TailEvidence,
  leastMissing = LEAST_MISSING,
): number | null {
  const doubtful: Doubtful[] = [];
  let lostFrom: number | null = null;
  let kept: number | null = null;
  let before: OpRecord | null = null;
  let stampBefore = Infinity;
  for (const record of records) {
    // Records before it may be gone.
    if (doubtful.length === 0) kept = Math.max(kept ?? 0, record.start);
    const order = compareSeen(record.seen, cursor, region);
    if (order === 'more') {
      lostFrom = record.start;
      break;
    }
    const isSure = order === 'less';
    const isTold = !isOfStream(record.kind);
    const isSameBlock = before !== null && compareSeen(before.seen, record.seen, region) === 'same';
    if (!isSameBlock) stampBefore = Infinity;
    let isLost = false;
    let last = record.start;
    eachEffect(record, -1, (db, effect, position, stamp, unit, command, args) => {
      if (isLost) return;
      if (isSure || stamp < stampOf(heartbeatMs)) {
        kept = position;
        doubtful.length = 0;
      } else if (
        timeOfStamp(stamp) > heartbeatMs &&
        timeOfStamp(stampBefore) === heartbeatMs &&
        stamp !== stampBefore + 1
      ) {
        // A later heartbeat stood before it. (Where the clock was set back, stamps are ahead of it and say nothing, and a flood counts beyond
        // the millisecond.)
        isLost = true;
        lostFrom = last;
        return;
      } else if (position <= safe) {
        kept = position;
        doubtful.length = 0;
      } else doubtful.push({ db, effect, position, unit, isTold, appended: appendedBy(command, args) });
      stampBefore = stamp;
      last = position;
    });
    if (isLost) break;
    if (isSure) kept = record.end;
    before = record;
  }
  const end = lastKept(
    withAppends(doubtful, records, lostFrom, evidence),
    earlierOf(records, doubtful, evidence),
    withoutLost(evidence, records, lostFrom),
    lostNumbers(records, lostFrom),
    lostFrom === null ? leastMissing : COUNTERS_WEIGHT / 2,
  );
  if (lostFrom === null && end === doubtful.length) return null;
  return end === 0 ? (kept ?? lostFrom) : doubtful[end - 1]!.position;
}

/** Of a key that was written behind what is held, too, it shows nothing that it is as elsewhere: it would not be, had nothing else been done to it. */
function withoutLost(evidence: TailEvidence, records: readonly OpRecord[], from: number | null): TailEvidence {
  if (from === null) return evidence;
  const lost = new Set<string>();
  for (const record of records) if (record.end > from) addKeys(lost, record, from);
  return { ...evidence, isVain: (db, key) => lost.has(nameOf(db, key)) };
}

/** Adds the names of the keys that operations of a record behind a position are about, but for flushes. */
function addKeys(names: Set<string>, record: OpRecord, after: number): void {
  eachEffect(record, after, (db, effect) => {
    for (const key of effect.kind === 'opaque' ? effect.keys : 'key' in effect ? [effect.key] : [])
      names.add(nameOf(db, key));
  });
}

/** Names of the keys that the last of a history is about, of which a Redis with this cursor and this heartbeat may have lost something. */
export class LateKeys {
  readonly names = new Set<string>();
  private isBehindCursor = false;

  constructor(
    private readonly region: string,
    private readonly cursor: Vector,
    private readonly heartbeatMs: number,
  ) {}

  /** In order. */
  note(record: OpRecord): void {
    this.isBehindCursor ||= compareSeen(record.seen, this.cursor, this.region) === 'more';
    if (this.isBehindCursor || record.stamp + record.ops > stampOf(this.heartbeatMs)) addKeys(this.names, record, -1);
  }
}

/**
 * Of keys that are as elsewhere, those of which something was lost that does not come back to the same: clients have done just that once more, which no
 * operation tells of. (What gives values makes the same of it, however often it runs.)
 * @param lost what was lost
 */
export function doneAgain(equal: Iterable<Candidate>, lost: Touches): Candidate[] {
  return [...equal].filter(({ db, key }) => {
    const touch = lost.of(db, key);
    return (
      touch !== undefined && (touch.opaque || touch.isInexact || [...touch.increments.values()].some((by) => by !== 0n))
    );
  });
}

/** APPENDs are opaque: those of which it is known what they made stand as that. */
function withAppends(
  doubtful: readonly Doubtful[],
  records: readonly OpRecord[],
  lostFrom: number | null,
  evidence: TailEvidence,
): Doubtful[] {
  const all: MaybeAppend[] = [...doubtful];
  for (const record of lostFrom === null ? [] : records)
    if (record.end > lostFrom!)
      eachEffect(record, lostFrom!, (db, effect, _position, _stamp, _unit, command, args) =>
        all.push({ db, effect, appended: appendedBy(command, args) }),
      );
  const appends = appendsOf(all, (db, key) => evidence.unlost(db, key));
  return doubtful.map((one, i) => {
    const append = appends[i];
    if (append === undefined || one.effect.kind !== 'opaque') return one;
    const { before, value } = append;
    return { ...one, effect: { kind: 'set', key: one.effect.keys[0]!, value, keepTtl: true, expireAt: null }, before };
  });
}

/** What other regions' operations two vectors hold. */
function compareSeen(seen: Vector, cursor: Vector, region: string): 'less' | 'same' | 'more' {
  let order: 'less' | 'same' = 'same';
  for (const [origin, position] of seen)
    if (isForeign(origin, region) && position > (cursor.get(origin) ?? -1)) return 'more';
  for (const [origin, position] of cursor)
    if (isForeign(origin, region) && position > (seen.get(origin) ?? -1)) order = 'less';
  return order;
}

function isForeign(origin: OriginId, region: string): boolean {
  return regionOf(origin) !== region;
}
