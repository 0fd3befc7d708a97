/**
 * What numbers were where the journal ends, so that an agent that starts again can tell what the first INCRBYFLOAT adds. Own records have the values that
 * came of it, for their bytes are the stream's; what agents' blocks made of them in between stands in no record, but what the blocks brought does: others'
 * records, up to what each own one had seen.
 *
 * Only what adds up whatever comes first is taken as known: increments, and what had seen all that is known here. A key that others gave a value beside something
 * that they had not seen is not known, nor one that they added to beside such a value: an agent may have corrected it at any time since.
 */
import type { OpRecord, OriginId, Vector } from '../record';
import { isOfStream, RecordKind } from '../record';
import { CommandScanner } from '../resp';
import { Class, Code, type Command, findCommand, UNKNOWN_COMMAND } from '../merge/commands';
import { Decimal, unitsOf } from '../merge/decimal';
import { argText, dbOf, decodeEffects, type Effect } from '../merge/effects';
import { Type } from '../merge/element';
import type { Numbers } from './numbers';

/** The operation that gave a key its value last. */
interface Given {
  readonly origin: OriginId;
  readonly position: number;
}

interface Told {
  readonly record: OpRecord;
  readonly command: Command;
  readonly scanner: CommandScanner;
  readonly db: number;
  readonly position: number;
  readonly effects: readonly Effect[];
}

export class NumberHistory {
  /** Others' records that no own one has seen yet, by origin. */
  private readonly held = new Map<OriginId, OpRecord[]>();
  /** Up to where each of the others' has been told. */
  private readonly told = new Map<OriginId, number>();
  /** End of the last own record. */
  private end = -1;
  /** What is in Redis of which it is not known what came of it: what is before the first own record, or before a gap. */
  private begin: Map<OriginId, number> | null = null;
  private readonly given = new Map<string, Given>();
  /** Keys to which others' INCRBY came, which Redis refuses of what is no integer; and those of which that is added which may be none. */
  private readonly integers = new Map<string, { db: number; key: string }>();
  private readonly decimals = new Set<string>();
  private readonly doubtful = new Map<string, { db: number; key: string }>();
  private numbers: Numbers;

  /**
   * @param origin the own one, with which the stream goes on
   * @param make of which nothing is known yet
   * @param isLastWriters whether of a key the last writer's value stands as a whole: what others add there may count for nothing. Default: none's
   */
  constructor(
    private readonly origin: OriginId,
    private readonly make: () => Numbers,
    private readonly isLastWriters: (db: number, key: string) => boolean = () => false,
  ) {
    this.numbers = make();
  }

  /** The journal's records, in its order. */
  take(record: OpRecord): void {
    if (record.origin === this.origin) {
      if (this.end >= 0 && record.start > this.end) {
        this.forget(this.origin, record.start);
        // What others had not seen of that is no better known than what is here.
        this.end = record.start;
      }
      // The stream goes on behind the last record that is of it: blocks behind that come once more.
      if (isOfStream(record.kind)) this.advance(record.seen);
      if (this.begin === null) {
        this.begin = new Map(record.seen);
        if (record.kind !== RecordKind.birth) this.begin.set(this.origin, record.start);
      }
      this.takeOwn(record);
      this.end = record.end;
      return;
    }
    const held = this.held.get(record.origin);
    if (held === undefined) this.held.set(record.origin, [record]);
    else held.push(record);
  }

  /**
   * @param end of the last own record
   * @param seen what is in Redis where the stream goes on
   * @returns null where the journal does not tell that
   */
  finish(end: number, seen: Vector): Numbers | null {
    if (this.end !== end) return null;
    this.advance(seen);
    for (const [name, { db, key }] of this.integers) if (this.decimals.has(name)) this.doubt(db, key);
    for (const { db, key } of this.doubtful.values()) this.numbers.drop(db, key);
    return this.numbers;
  }

  private takeOwn(record: OpRecord): void {
    // What a state says was there.
    if (record.kind === RecordKind.state || record.kind === RecordKind.birth) return;
    each(record, -1, Infinity, (told) => {
      const { command, scanner, db, position, effects } = told;
      // An eviction, and flushes that were refused, under the names that they have got.
      if (command.name === 'EXISTS') this.numbers.drop(db, argText(scanner, 1));
      if (command.name === 'LASTSAVE' || command.name === 'COMMAND') this.forget(this.origin, record.end);
      const isAsRun = isOfStream(record.kind) || command.code === Code.unlink;
      if (isAsRun) this.numbers.note(command, scanner, db);
      for (const effect of effects)
        for (const key of keysOf(effect)) {
          if (!isAsRun) this.doubt(dbOf(effect, db), key);
          else if (effect.kind === 'increment') {
            if (effect.delta instanceof Decimal) this.decimals.add(nameOf(db, key));
          } else this.given.set(nameOf(dbOf(effect, db), key), { origin: record.origin, position });
        }
    });
  }

  private advance(seen: Vector): void {
    for (const [origin, position] of seen) {
      if (origin === this.origin) continue;
      const held = this.held.get(origin) ?? [];
      let at = this.told.get(origin) ?? -1;
      while (held.length > 0 && held[0]!.start < position) {
        const record = held[0]!;
        // One that is missing; a history begins with its birth.
        if (record.start > Math.max(at, 0) && record.kind !== RecordKind.birth) this.forget(origin, record.start);
        this.takeOther(record, at, position);
        at = Math.max(at, Math.min(record.end, position));
        if (record.end > position) break;
        held.shift();
      }
      if (at < position && this.end >= 0) this.forget(origin, position);
      this.told.set(origin, Math.max(at, position));
    }
  }

  private takeOther(record: OpRecord, after: number, upTo: number): void {
    if (record.kind === RecordKind.birth) return;
    const isCalm = record.kind !== RecordKind.state && this.begin !== null && this.hasSeenAll(record);
    each(record, after, upTo, (told) => {
      for (const effect of told.effects) this.takeEffect(effect, told, isCalm);
      // Others' ran as it came where it met nothing.
      if (isCalm && told.effects.every((effect) => effect.kind !== 'increment'))
        this.numbers.note(told.command, told.scanner, told.db);
    });
  }

  private takeEffect(effect: Effect, { record, db, position }: Told, isCalm: boolean): void {
    for (const key of keysOf(effect)) if (this.isLastWriters(dbOf(effect, db), key)) this.doubt(dbOf(effect, db), key);
    switch (effect.kind) {
      case 'increment': {
        const { type, delta } = effect;
        const given = this.given.get(nameOf(db, effect.key));
        const mayMeet = !this.hasSeenBegin(record) || (given !== undefined && !hasSeen(record, given));
        const field = type === Type.hash ? effect.name : null;
        if (typeof delta === 'number' || mayMeet) this.doubt(db, effect.key);
        else this.numbers.addTo(db, effect.key, field, unitsOf(delta));
        if (delta instanceof Decimal) this.decimals.add(nameOf(db, effect.key));
        else this.integers.set(nameOf(db, effect.key), { db, key: effect.key });
        return;
      }
      case 'set':
      case 'put':
      case 'remove':
      case 'delete':
        if (isCalm) this.given.set(nameOf(db, effect.key), { origin: record.origin, position });
        else this.doubt(db, effect.key);
        return;
      case 'flush':
      case 'swap':
        this.forget(record.origin, position);
        return;
      case 'expire':
      case 'opaque':
        for (const key of keysOf(effect)) this.doubt(dbOf(effect, db), key);
        return;
      // No number's value.
      case 'ttl':
      case 'field-ttl':
      case 'trim':
      case 'cap':
      case 'lastId':
      case 'group':
    }
  }

  /** Something is missing, or too much has gone: what was known up to there, and of an origin up to a position, is not known any more. */
  private forget(origin: OriginId, position: number): void {
    this.numbers = this.make();
    if (this.begin === null) return;
    this.begin = new Map(this.told).set(this.origin, this.end);
    this.begin.set(origin, Math.max(position, this.begin.get(origin) ?? -1));
  }

  private doubt(db: number, key: string): void {
    this.doubtful.set(nameOf(db, key), { db, key });
  }

  private hasSeenBegin(record: OpRecord): boolean {
    for (const [origin, position] of this.begin ?? []) if (!hasSeen(record, { origin, position })) return false;
    return true;
  }

  private hasSeenAll(record: OpRecord): boolean {
    if ((record.seen.get(this.origin) ?? -1) < this.end) return false;
    for (const [origin, position] of this.told)
      if (origin !== record.origin && (record.seen.get(origin) ?? -1) < position) return false;
    return true;
  }
}

function hasSeen(record: OpRecord, { origin, position }: Given): boolean {
  return record.origin === origin || (record.seen.get(origin) ?? -1) >= position;
}

function nameOf(db: number, key: string): string {
  return `${db} ${key}`;
}

function keysOf(effect: Effect): readonly string[] {
  if (effect.kind === 'opaque') return effect.keys;
  return 'key' in effect ? [effect.key] : [];
}

/** Visits a record's commands that end behind `after`, and not behind `upTo`. */
function each(record: OpRecord, after: number, upTo: number, visit: (told: Told) => void): void {
  const scanner = new CommandScanner();
  scanner.push(record.payload);
  const base = record.end - record.payload.length;
  let { db } = record;
  let op = 0;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    const isOperation = command.class !== Class.ignored;
    if (command.code === Code.select) db = Number(argText(scanner, 1));
    const position = isOfStream(record.kind) ? base + scanner.end : record.end;
    if (position > after && position <= upTo) {
      const effects: Effect[] = [];
      if (isOperation) decodeEffects(command, scanner, effects, record.added?.get(op));
      visit({ record, command, scanner, db, position, effects });
    }
    if (isOperation) op++;
  }
}
