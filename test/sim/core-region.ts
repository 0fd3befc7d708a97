/** One region's merge core, told what other regions send and what clients did here: it answers with what Redis is to run, as text. */
import type { ConflictPolicies } from '../../model';
import { Batch, type BatchItem } from '../../agent/merge/batch';
import { MergeCore } from '../../agent/merge/core';
import { type OpRecord, type OriginId, RecordKind, type Vector } from '../../agent/record';
import { commandsIn, encode } from './redis';

export function commands(...list: string[]): Buffer {
  return Buffer.concat(list.map((text) => encode(text.split(' '))));
}

/** Region b of a, b and c. */
export class CoreRegion {
  readonly core: MergeCore;
  private readonly ends = new Map<OriginId, number>();
  /** What Redis answers to the next block that corrects something. */
  answer: () => void = () => undefined;

  constructor(policies?: ConflictPolicies) {
    this.core = new MergeCore({ region: 'b', members: ['a', 'b', 'c'], ...(policies && { policies }) });
    for (const origin of ['a:1', 'b:1', 'c:1']) this.core.assume(origin, 0);
  }

  private record(origin: OriginId, stamp: number, seen: Vector, kind: RecordKind, list: string[]): OpRecord {
    const payload = commands(...list);
    const start = this.ends.get(origin) ?? 0;
    const end = start + payload.length;
    this.ends.set(origin, end);
    return { kind, origin, start, end, stamp, ops: list.length, db: 0, seen, payload };
  }

  /** Up to where an origin has come. */
  at(...origins: OriginId[]): Vector {
    return new Map(origins.map((origin) => [origin, this.ends.get(origin) ?? 0]));
  }

  client(stamp: number, ...list: string[]): void {
    this.clientAt(stamp, new Map(), ...list);
  }

  /** @returns the numbers of the commands that worked on keys that were unsettled, and that others are to be told of */
  clientAt(stamp: number, seen: Vector, ...list: string[]): number[] {
    const apart: number[] = [];
    this.core.local(this.record('b:1', stamp, seen, RecordKind.stream, list), { apart });
    return apart;
  }

  /** @returns what Redis is to run */
  comes(origin: OriginId, stamp: number, seen: Vector, ...list: string[]): string {
    return this.plan(this.record(origin, stamp, seen, RecordKind.stream, list));
  }

  /** As above, of keys that were unsettled there. */
  comesApart(origin: OriginId, stamp: number, seen: Vector, ...list: string[]): string {
    const record = this.record(origin, stamp, seen, RecordKind.told, list);
    return this.plan({ ...record, unsettled: new Set(list.keys()) });
  }

  /** Plans operations of other regions into one batch. */
  batch(...of: readonly (readonly [OriginId, number, Vector, ...string[]])[]): BatchItem[] {
    const batch = new Batch();
    for (const [origin, stamp, seen, ...list] of of)
      this.core.plan(this.record(origin, stamp, seen, RecordKind.stream, list), batch);
    return [...batch.finish()];
  }

  /** What of a batch may run, the own stream having been read. */
  admit(items: BatchItem[]): string {
    this.core.opaques.admitAll(items, new Set());
    return textOf(Buffer.concat(items.map((item) => item.bytes)));
  }

  state(origin: OriginId, stamp: number, seen: Vector, ...list: string[]): string {
    return this.plan(this.record(origin, stamp, seen, RecordKind.state, list));
  }

  /** As above, of which is known what made it. */
  stateOf(origin: OriginId, stamp: number, seen: Vector, carried: OpRecord['carried'], ...list: string[]): string {
    return this.plan({ ...this.record(origin, stamp, seen, RecordKind.state, list), carried });
  }

  /** A state that is in Redis already. */
  remembers(origin: OriginId, stamp: number, seen: Vector, ...list: string[]): void {
    this.core.remember(this.record(origin, stamp, seen, RecordKind.state, list));
  }

  /** This region's own state of a key. */
  tells(stamp: number, seen: Vector, ...list: string[]): void {
    this.core.localState(this.record('b:1', stamp, seen, RecordKind.state, list));
  }

  private plan(record: OpRecord): string {
    const batch = new Batch();
    this.core.plan(record, batch);
    const items = [...batch.finish()];
    this.core.opaques.admitAll(items, new Set());
    return textOf(Buffer.concat([...items, ...this.corrections()].map((item) => item.bytes)));
  }

  /** @returns what Redis is to run to correct what was found */
  correct(): string {
    return textOf(Buffer.concat(this.corrections().map((item) => item.bytes)));
  }

  private corrections(): BatchItem[] {
    const batch = new Batch();
    const raced = this.core.corrections.takeRaced();
    this.core.corrections.correct(raced, batch);
    const { answer } = this;
    this.answer = () => undefined;
    answer();
    this.core.corrections.corrected(raced);
    return batch.finish();
  }

  get unsettled(): string[] {
    return this.core.settling.toSettle(['b']).map(({ key }) => key);
  }
}

/** All that a batch has Redis run, in one line. */
export function wordsOf(batch: Batch): string {
  return commandsIn(Buffer.concat(batch.finish().map(({ bytes }) => bytes))).join(' ');
}

function textOf(bytes: Buffer): string {
  return commandsIn(bytes)
    .filter((text) => !/^(?:SELECT|PERSIST)/.test(text))
    .join('; ');
}
