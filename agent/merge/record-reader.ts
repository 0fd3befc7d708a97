/** A record, operation by operation. */
import type { Batch } from './batch';
import { Class, Code, type Command, commandByName, findCommand, UNKNOWN_COMMAND } from './commands';
import { argText } from './effects';
import { isOwnKey } from './forms';
import { Op } from './key-state';
import type { Parts } from './parts';
import { type OpRecord, RecordKind } from '../record';
import { CommandScanner } from '../resp';
import { SetRun } from './set-run';
import { SetSource } from './set-source';
import { SetOutcome } from './set-table';

/** What becomes of a plain SET: `plan` brings the one that wins into the batch, `local` and `remember` look whether it met another one in Redis. */
export type Mode = { readonly plan: Batch } | 'local' | 'remember';
/** `added`: see decodeEffects. */
export type Visit = (command: Command, scanner: CommandScanner, op: Op, db: number, added: string | undefined) => void;
const SET = commandByName('SET')!;

export class RecordReader {
  private readonly run = new SetRun();
  /** For the one command of a run that turns out to need more than the table. */
  private readonly single = new CommandScanner();
  /** Position up to which operations of records are passed over, by interned origin. */
  private readonly skipped: number[] = [];

  constructor(private readonly parts: Parts) {}

  /** Operations of an origin up to a position are passed over. */
  skip(origin: number, position: number): void {
    this.skipped[origin] = position;
  }

  /**
   * Visits a record's operations after a position. A plain SET of a key of which nothing but such is known, the usual
   * case, is dealt with at once.
   */
  each(record: OpRecord, after: number, mode: Mode, visit: Visit): void {
    const scanner = new CommandScanner();
    scanner.push(record.payload);
    const origin = this.parts.origins.index(record.origin);
    const seen = this.parts.origins.toSeen(record.seen);
    const base = record.end - record.payload.length;
    const from = Math.max(after, this.skipped[origin] ?? -1);
    const { run } = this;
    const { window } = this.parts;
    let { db } = record;
    let index = 0;
    let source = this.parts.window.open(new SetSource(record, origin, seen, db));
    try {
      const difference =
        record.kind === RecordKind.difference ? new Op(origin, record.end, record.stamp, seen) : undefined;
      while (scanner.next()) {
        // The arrays grow with a long command: no reference outlives a step.
        const { buf, argStart, argEnd } = scanner;
        const command = findCommand(buf, argStart[0]!, argEnd[0]!) ?? UNKNOWN_COMMAND;
        if (command.class === Class.ignored) {
          if (command.code !== Code.select) continue;
          this.noteRun(source, mode, visit);
          db = Number(argText(scanner, 1));
          if (db === source.db) continue;
          window.close(source);
          source = window.open(new SetSource(record, origin, seen, db));
          continue;
        }
        if (difference !== undefined) {
          if (record.end > from) visit(command, scanner, difference, db, undefined);
          continue;
        }
        const position = base + scanner.end;
        if (position > from && !isOwnKey(command, scanner)) {
          const isPlainSet = command.code === Code.set && scanner.argc === 3 && !this.parts.flushes.areKnown;
          if (isPlainSet && this.parts.lastWriter?.concerns(command, scanner, db) !== true) {
            run.add(db, buf, scanner.start, argEnd[0]! + 2, argStart[1]!, argEnd[1]!, scanner.end, index);
            if (run.isFull) this.noteRun(source, mode, visit);
          } else {
            this.noteRun(source, mode, visit);
            const added = record.added?.get(index);
            visit(command, scanner, new Op(origin, position, record.stamp + index, seen), db, added);
          }
        }
        index++;
      }
      this.noteRun(source, mode, visit);
    } finally {
      run.size = 0;
      window.close(source);
    }
  }

  /** Deals with the SETs that have been gathered, in order. */
  private noteRun(source: SetSource, mode: Mode, visit: Visit): void {
    const { run } = this;
    const { window } = this.parts;
    const { size, starts, args, ends } = run;
    if (size === 0) return;
    const { db, origin, seen } = source;
    const payload = source.payload!;
    const plan = typeof mode === 'object' ? mode.plan : null;
    window.touch(run);
    for (let i = 0; i < size; i++) {
      const outcome = window.set(run, i, source, payload, !this.parts.base.isPlanned);
      if (outcome === SetOutcome.complex) {
        const { single } = this;
        single.push(payload.subarray(starts[i], ends[i]));
        single.next();
        const op = new Op(origin, source.base + ends[i]!, source.stamp + run.indices[i]!, seen);
        visit(SET, single, op, db, undefined);
        continue;
      }
      if (outcome !== SetOutcome.quiet) {
        if (mode !== 'remember') {
          this.parts.notes.countKind('string');
          this.parts.notes.noteSet(run, i, source);
        }
        // An own one that wins was overwritten by the block that it met: Redis gets it back. So it may be where one is remembered.
        if (mode === 'remember' || (mode === 'local' && outcome === SetOutcome.wins))
          this.parts.corrections.met(window.find(db, payload.toString('latin1', run.keys[i], run.keyEnds[i]))!, null);
      }
      if (plan === null) continue;
      // Of one that loses, the winner is in Redis already, or on its way.
      if (outcome !== SetOutcome.loses) plan.set(db, payload, args[i]!, ends[i]!);
      plan.operations++;
    }
    run.size = 0;
  }
}

/** Whether a record says of an operation in it that it worked on a key that was unsettled. */
export function isUnsettledIn({ unsettled, stamp }: OpRecord, op: Op): boolean {
  return unsettled?.has(op.stamp - stamp) === true;
}
