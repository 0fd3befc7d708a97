/** One region's merge core, told what other regions send and what clients did here: it answers with what Redis is to run, as text. */
import type { ConflictPolicies } from '../../model';
import { Batch, type BatchItem } from '../../agent/merge/batch';
import { MergeCore } from '../../agent/merge/core';
import { type OpRecord, type OriginId, RecordKind, type Vector } from '../../agent/record';
import { CommandScanner } from '../../agent/resp';
import { encode } from './redis';

export function commands(...list: string[]): Buffer {
  return Buffer.concat(list.map((text) => encode(text.split(' '))));
}

/** Region b of a, b and c. */
export class CoreRegion {
  readonly core: MergeCore;
  private readonly ends = new Map<OriginId, number>();

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
    this.core.local(this.record('b:1', stamp, new Map(), RecordKind.stream, list));
  }

  /** @returns what Redis is to run */
  comes(origin: OriginId, stamp: number, seen: Vector, ...list: string[]): string {
    return this.plan(this.record(origin, stamp, seen, RecordKind.stream, list));
  }

  state(origin: OriginId, stamp: number, seen: Vector, ...list: string[]): string {
    return this.plan(this.record(origin, stamp, seen, RecordKind.state, list));
  }

  private plan(record: OpRecord): string {
    const batch = new Batch();
    this.core.plan(record, batch);
    const items = batch
      .finish()
      .flatMap((item) => (item.kind === 'plain' ? [item] : (this.core.opaques.admit(item) ?? [])));
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
    this.core.corrections.corrected(raced);
    return batch.finish();
  }

  get unsettled(): string[] {
    return this.core.settling.toSettle(['b']).map(({ key }) => key);
  }
}

function textOf(bytes: Buffer): string {
  const scanner = new CommandScanner();
  scanner.push(bytes);
  const out: string[] = [];
  while (scanner.next())
    out.push(
      Array.from({ length: scanner.argc }, (_, i) =>
        scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]),
      ).join(' '),
    );
  return out.filter((text) => !/^(?:SELECT|PERSIST)/.test(text)).join('; ');
}
