/** The own stream, from its bytes to the journal and the core; what stands at no bytes of it (states, differences); and what of it Redis is told to have been read. */
import { asError } from '../as-error';
import type { Capture } from '../capture';
import type { MergeCore } from '../merge/core';
import { onlyKeyOf } from '../merge/ignored';
import { encodeRecord, type OpRecord, type OriginId, RecordKind, type Vector } from '../record';
import type { Recorder, RecorderState, Trespass } from '../stream/recorder';
import { AckPolicy } from './ack';
import type { Backlog } from './backlog';
import type { AgentContext } from './context';
import { hasToCorrect } from './own-blocks';
import { positionAfter } from './position';
import { Throughput } from './throughput';

export interface OwnStreamHost {
  readonly context: AgentContext;
  core(): MergeCore;
  /** While a region joins, the data of the mesh meets what clients do at once. */
  isJoining(): boolean;
  /** A client has written a key that another region owns. */
  trespassed(trespass: Trespass): void;
  /** The core has something to do. */
  wake(): void;
  fail(error: Error): void;
}

export class OwnStream {
  /** Once it is read. */
  recorder: Recorder | null = null;
  /** Own records that the core has to wait for: others, in Redis already, come first. */
  backlog: Backlog | null = null;
  link: Capture | null = null;
  readonly captured = new Throughput();
  private readonly ack: AckPolicy;
  private readonly waiters: { offset: number; done: () => void; fail: (error: Error) => void }[] = [];
  private ended: Error | null = null;

  constructor(private readonly host: OwnStreamHost) {
    this.ack = new AckPolicy(host.context.config.replication);
  }

  get origin(): OriginId | null {
    return this.recorder?.state.origin ?? null;
  }

  /** The offset up to which it has been read. */
  get position(): number {
    return this.recorder?.state.offset ?? 0;
  }

  /** Nothing is read any more. */
  end(error: Error): void {
    this.ended = error;
    for (const waiter of this.waiters.splice(0)) waiter.fail(error);
  }

  /** What the journal has no room for stays in Redis. */
  holdWhilePressed(link: Capture): void {
    const { journal } = this.host.context;
    const hold = (on: boolean): void => link.hold(on);
    if (journal.pressed) hold(true);
    journal.on('pressure', hold);
    link.on('close', () => journal.off('pressure', hold));
  }

  read(chunk: Buffer): void {
    const { host, recorder, waiters } = this;
    if (this.ended !== null) return;
    try {
      recorder!.push(chunk);
    } catch (error) {
      host.fail(asError(error));
      return;
    }
    const { offset } = recorder!.state;
    while (waiters.length > 0 && waiters[0]!.offset <= offset) waiters.shift()!.done();
    if (hasToCorrect(host.core())) host.wake();
  }

  /** @throws what ended the session before it had been read up to there */
  readUpTo(offset: number): Promise<void> {
    if (this.ended !== null) return Promise.reject(this.ended);
    if (this.position < offset) this.link?.hurry(offset);
    if (this.position >= offset) return Promise.resolve();
    return new Promise((done, fail) => this.waiters.push({ offset, done, fail }));
  }

  /** Resolves when it is journalled up to there. */
  async journalled(offset: number): Promise<void> {
    await this.readUpTo(offset);
    await this.host.context.journal.flushed();
  }

  /** What clients have done. */
  record(record: OpRecord): void {
    // What is kept of it are the journal's bytes: the stream's are overwritten by what comes next.
    const encoded = encodeRecord(record);
    const kept = { ...record, payload: encoded.subarray(encoded.length - record.payload.length) };
    const told = this.hear(kept);
    this.host.context.journal.append(told === kept ? encoded : encodeRecord(told));
    this.backlog?.push(told);
    this.count(record.ops);
  }

  /** The state of a key that a client wrote, as it was seen where the own stream stands. */
  state(db: number, payload: Buffer): void {
    const { host } = this;
    const { policies, config } = host.context;
    const { state } = this.recorder!;
    const name = policies.isActive ? onlyKeyOf(payload) : null;
    if (name !== null && policies.keeps(config.region, db, name)) {
      const key = name.toString('latin1');
      const { origin, stamp, offset } = state;
      host.trespassed({ db, key, isExpiry: false, origin, stamp, position: offset });
      return;
    }
    this.tell(this.make(state, RecordKind.state, db, payload, positionAfter(Math.max(state.offset, state.end))!));
    this.count(1);
    const { corrections, settling } = host.core();
    if (corrections.racedKeys > 0 || settling.unsettledKeys > 0) host.wake();
  }

  private count(operations: number): void {
    this.captured.add(operations);
    this.host.context.metrics.captured.inc(operations);
  }

  /** An own record, journalled: the core hears of it, now or after those that it has to wait for. */
  tell(record: OpRecord): void {
    this.hear(record);
    this.backlog?.push(record);
  }

  /** The core hears of an own record, unless there are others that it has to wait for. @returns it, with what the core has to say of it */
  private hear(record: OpRecord): OpRecord {
    const { host } = this;
    if (this.backlog !== null && !host.isJoining()) return record;
    const apart: number[] = [];
    host.core().local(record, { apart });
    return apart.length === 0 ? record : { ...record, kind: RecordKind.told, unsettled: new Set(apart) };
  }

  append(record: OpRecord): void {
    this.host.context.journal.append(encodeRecord(record));
  }

  /** Journals one operation that stands at no bytes of the stream: a state, or a difference. */
  make(
    state: RecorderState,
    kind: RecordKind,
    db: number,
    payload: Buffer,
    end: number,
    carried?: OpRecord['carried'],
  ): OpRecord {
    const record: OpRecord = { ...this.recordAt(state), kind, db, payload, ops: 1, end, carried };
    state.end = end;
    state.stamp++;
    this.append(record);
    return record;
  }

  /** A record without operations, at the end of the stream. */
  recordAt(state: RecorderState): OpRecord {
    const { origin, stamp, seen } = state;
    return {
      kind: RecordKind.stream,
      origin,
      start: state.end,
      end: state.end,
      stamp,
      ops: 0,
      db: 0,
      seen,
      payload: EMPTY,
    };
  }

  sendAck(asked: boolean): void {
    const { recorder, link } = this;
    if (recorder === null || link === null) return;
    const { origin, offset, end } = recorder.state;
    const durable = this.host.context.journal.durableEnd(origin) ?? 0;
    const journalled = durable >= end ? offset : Math.floor(durable);
    const ack = this.ack.next({ origin, end, read: offset, journalled }, Date.now(), asked);
    if (ack !== null) link.ack(ack);
  }

  /** A peer has journalled own records up to there. */
  acknowledged(peer: string, durable: Vector): void {
    const { origin } = this;
    if (origin === null) return;
    const position = durable.get(origin);
    if (position !== undefined) this.ack.peer(peer, origin, position);
    this.sendAck(false);
  }
}

const EMPTY = Buffer.alloc(0);
