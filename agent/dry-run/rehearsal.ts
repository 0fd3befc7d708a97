/**
 * The merge of a dry run: the core hears of all operations as in a session, and what Redis would have to run is thrown away. A block counts as applied as soon
 * as it is planned, at the place up to which the own stream has been read.
 */
import { Inbox } from '../apply/inbox';
import { Batch } from '../merge/batch';
import { MergeCore } from '../merge/core';
import type { Beat } from '../peers';
import { isDry, type OpRecord, type OriginId, RecordKind, regionOf, type Vector } from '../record';
import { ConflictCounts } from '../session/conflict-counts';
import type { AgentContext } from '../session/context';
import { HeardBeats } from '../session/heard-beats';
import { payloadsOf } from '../session/payloads';
import { RecordReaders } from '../session/records';
import { Throughput } from '../session/throughput';
import { stampOf, timeOfStamp } from '../stream/keys';
import type { Recorder, Trespass } from '../stream/recorder';
import { positionIn } from '../vector';
import { Elsewhere } from './elsewhere';
import type { Trial } from './trial';

/** Records planned at a time, so that the own stream is read in between. */
const RECORDS_PER_TURN = 256;
/** How long a record waits for what it had seen: nobody may have that any more. */
const PATIENCE_MS = 5000;
/** What is kept that not every region has seen; the window's budget does not count what nothing has met yet. */
const OPERATIONS_MAX = 1_000_000;
/** Keys that a region's state would settle, or of which it would say where a stream begins, which nobody sends here: with so many, or after so long, what is known of them is let go of. */
const UNSETTLED_MAX = 1000;
const UNSETTLED_MS = 60_000;

export class Rehearsal {
  core: MergeCore;
  readonly applied = new Throughput();
  /** What would be in Redis. */
  readonly vector = new Map<OriginId, number>();
  /** Of the own stream, once it is read. */
  recorder: Recorder | null = null;
  /** Records planned so far. */
  planned = 0;

  private readonly readers: RecordReaders;
  private readonly inbox: Inbox;
  private readonly elsewhere = new Elsewhere();
  private isTurnDue = false;
  private stopped = false;
  private readonly waitingSince = new Map<OriginId, { end: number; timeMs: number }>();
  private readonly beats = new HeardBeats(
    (origin, position) => positionIn(this.vector, origin) >= position,
    (beat) => this.takeBeat(beat),
  );
  private maxStamp = 0;
  private conflicts = new ConflictCounts();
  private settledMs = Date.now();

  constructor(
    private readonly context: AgentContext,
    private readonly trial: Trial,
    failed: (error: Error) => void,
  ) {
    const { config, journal } = context;
    this.core = this.newCore();
    this.readers = new RecordReaders(journal);
    this.inbox = new Inbox(this.readers, config.limits.inboxBytes / 4, () => this.wake(), failed);
  }

  private newCore(): MergeCore {
    const { config, journal, conflicts, policies } = this.context;
    const members = config.members.map(({ name }) => name);
    const core = new MergeCore({ region: config.region, members, policies, payloads: payloadsOf(journal) });
    core.notes.sink = conflicts;
    return core;
  }

  stop(): void {
    this.stopped = true;
    this.inbox.stop();
    this.readers.close();
    this.core.window.dispose();
  }

  get isAtRest(): boolean {
    return !this.isTurnDue;
  }

  pending(matches: (origin: OriginId) => boolean): { operations: number; bytes: number } {
    return this.inbox.pending(matches);
  }

  /** What is, or would be, in Redis before anything is planned. */
  know(origin: OriginId, position: number): void {
    this.vector.set(origin, position);
    this.core.assume(origin, position);
    this.wake();
  }

  // ——— the own stream

  /** An own record, journalled. */
  local(record: OpRecord): void {
    this.guarded(() => this.core.local(record));
    this.count();
  }

  /** A client's write that would be put back. */
  trespassed(trespass: Trespass): void {
    if (!trespass.isExpiry) this.core.notes.noteTrespass(trespass);
  }

  /** What the heartbeat key would say where the own stream has been read up to. @returns that place */
  heartbeat(timeMs: number): number {
    const { core } = this;
    const { state, resumeState } = this.recorder!;
    const position = resumeState.offset;
    state.stamp = Math.max(state.stamp, stampOf(timeMs));
    core.report(this.context.config.region, core.origins.toSeen(state.seen), { origin: state.origin, position });
    this.elsewhere.note(state.origin, timeMs, position);
    return position;
  }

  // ——— others' operations

  /** Records behind `from` are in the journal without having been offered. */
  catchUp(origin: OriginId, from: number): void {
    this.know(origin, from);
    this.inbox.catchUp(origin, from, this.context.journal.appendedEnd(origin) ?? from);
  }

  offer(record: OpRecord): void {
    this.inbox.offer(record);
    this.wake();
  }

  private wake(): void {
    if (this.isTurnDue || this.stopped) return;
    this.isTurnDue = true;
    setImmediate(() => {
      this.isTurnDue = false;
      if (!this.stopped && this.recorder !== null) this.turn();
    });
  }

  /** Plans what is deliverable, and takes it for applied. */
  private turn(): void {
    const { inbox, vector } = this;
    let left = RECORDS_PER_TURN;
    for (let progress = true; progress && left > 0;) {
      progress = false;
      for (const origin of inbox.origins())
        for (let record = inbox.peek(origin); record !== undefined && left > 0; record = inbox.peek(origin)) {
          const after = vector.get(origin) ?? -1;
          if (record.end <= after || record.kind === RecordKind.birth) this.core.assume(origin, record.end);
          else {
            const seen = isDry(origin) ? record.seen : this.seenElsewhere(record.seen, origin, record.stamp);
            if (!this.isDeliverable({ ...record, seen })) break;
            this.plan({ ...record, seen }, after);
            left--;
          }
          inbox.take(origin);
          progress = true;
        }
    }
    this.landed();
    if (left === 0) this.wake();
  }

  private plan(record: OpRecord, after: number): void {
    const batch = new Batch();
    this.vector.set(record.origin, record.end);
    this.guarded(() => this.core.plan(record, batch, after));
    this.maxStamp = Math.max(this.maxStamp, record.stamp + record.ops);
    batch.release();
    this.trial.wouldApply(record);
    this.applied.add(record.ops);
    this.planned++;
  }

  private isDeliverable(record: OpRecord): boolean {
    if (this.core.isDeliverable(record)) {
      this.waitingSince.delete(record.origin);
      return true;
    }
    const since = this.waitingSince.get(record.origin);
    if (since?.end !== record.end) {
      this.waitingSince.set(record.origin, { end: record.end, timeMs: Date.now() });
      return false;
    }
    if (Date.now() - since.timeMs < PATIENCE_MS) return false;
    for (const [origin, position] of record.seen) this.core.assume(origin, position);
    this.core.assume(record.origin, record.start);
    return true;
  }

  /** *Seen* of a region that applies, as if it applied what dry runs sent, too. */
  private seenElsewhere(seen: Vector, origin: OriginId, stamp: number): Vector {
    const beat = this.heartbeats.get(regionOf(origin));
    const lagMs = beat === undefined ? 0 : Math.max(0, beat.receivedMs - beat.timeMs);
    const all = new Map(this.elsewhere.added(seen, timeOfStamp(stamp) - lagMs));
    for (const [known, position] of all)
      if (isDry(known)) all.set(known, Math.min(position, Math.max(this.core.knownOf(known), seen.get(known) ?? -1)));
    return all;
  }

  /** What was planned counts as applied where the own stream has been read up to. */
  private landed(): void {
    const { core, vector } = this;
    const { state, resumeState } = this.recorder!;
    state.seen = new Map(vector);
    state.stamp = Math.max(state.stamp, this.maxStamp + 1);
    core.report(this.context.config.region, core.origins.toSeen(vector), {
      origin: state.origin,
      position: resumeState.offset,
    });
    this.count();
    this.beats.takeDue();
  }

  /** Takes what would be corrected for corrected, and counts what has met. */
  private count(): void {
    const { core, trial } = this;
    if (core.libraries.isDue) core.libraries.giveUp();
    while (core.corrections.racedKeys > 0) core.corrections.corrected(core.corrections.takeRaced());
    this.conflicts.take(core.notes.counts, (type, n) => trial.wouldConflict(type, n));
  }

  // ——— beats

  beat(beat: Beat): void {
    this.beats.hear(beat, this.inbox.endOf(beat.origin));
  }

  get heartbeats(): HeardBeats['last'] {
    return this.beats.last;
  }

  private takeBeat({ origin, position, region, timeMs, reported, seen }: Beat): void {
    const { core, elsewhere } = this;
    if (isDry(origin)) elsewhere.note(origin, timeMs, position);
    const all = isDry(origin) ? seen : this.seenElsewhere(seen, origin, stampOf(timeMs));
    if (reported >= 0) core.report(region, core.origins.toSeen(all), { origin, position: reported });
  }

  // ——— bounds

  /** What the rule can't take (the journal has dropped its bytes, say) ends no dry run. */
  private guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.context.log.warn({ err: error }, 'dry run: what is under way is let go of');
      this.forget();
    }
  }

  /** A region that does not answer keeps all that is written in the window, and nobody settles keys: then it begins anew. */
  boundMemory(): void {
    this.wake();
    const { core } = this;
    const { unsettledKeys } = core.settling;
    const { windowBytes } = this.context.config.limits;
    if (unsettledKeys === 0 && !core.trims.isDue) this.settledMs = Date.now();
    const isStuck = Date.now() - this.settledMs > UNSETTLED_MS;
    const isFull = core.window.load > windowBytes || core.operations > OPERATIONS_MAX;
    if (isFull || unsettledKeys > UNSETTLED_MAX || isStuck) this.forget();
  }

  private forget(): void {
    const { core, recorder, vector, trial } = this;
    this.count();
    core.window.dispose();
    this.core = this.newCore();
    this.conflicts = new ConflictCounts();
    for (const [origin, position] of vector) this.core.assume(origin, position);
    if (recorder !== null) this.core.assume(recorder.state.origin, recorder.state.end);
    trial.forgotten++;
    this.settledMs = Date.now();
  }
}
