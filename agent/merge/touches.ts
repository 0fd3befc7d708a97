/** What operations do to keys, noted of a part of the histories: what came to a region behind what its snapshot holds. Pure. */
import { isOfStream, type OpRecord, type OriginId, RecordKind, regionOf, type Vector } from '../record';
import { CommandScanner } from '../resp';
import type { Args } from './args';
import { Class, Code, type Command, findCommand, UNKNOWN_COMMAND } from './commands';
import { ONE, unitsOf } from './decimal';
import { type Delta, Type } from './element';
import { argText, dbOf, decodeEffects, type Effect } from './effects';
import { partsOf } from './state-parts';
import { compareIds, HIGHEST_ID, movedId } from './stream-id';
import { StringTouch } from './string-difference';
import { Taking } from './taken';

/** What was done to a key that this region's snapshot does not hold yet: by other regions, or here and lost. */
export interface Touch {
  /** Elements (fields, members) written or removed; null: the whole key. */
  elements: Set<string> | null;
  /** A region has told all of its elements: what it had not seen stays beside them. */
  isTold: boolean;
  /** Entries of a stream below this ID were trimmed. */
  below: string | null;
  /** It may have been made: a stream stays when its last entry goes, and nothing else than these makes one. */
  makes: boolean;
  /** Sum of increments of the string, and of elements, in units of decimals. */
  increments: Map<string, bigint>;
  onlyIncrements: boolean;
  /** Increments of scores by what is no integer, which are on their way and come on top of whatever is here: what is here can't be told from them. */
  isInexact: boolean;
  /** The time to live was changed, by itself. */
  ttl: boolean;
  /** A SET kept it. */
  keepTtl: boolean;
  opaque: boolean;
  /** Of what is opaque: how it may have taken elements; null: it is more than that. */
  taking: Taking | null;
  /** Of what is opaque: what it has appended to a string, and which bits it has set; null: it is more than that. */
  ofString: StringTouch | null;
}

type Told = 'elements' | 'list' | 'string' | 'nothing';

const NONE: ReadonlyMap<string, Told> = new Map();

/** Keys of which a state tells all: elements, those of a list, a string, or that there is nothing. */
function keysTold(payload: Buffer): ReadonlyMap<string, Told> {
  const told = new Map<string, Told>();
  for (const { key, isWhole, isByElement, hasElements, effects } of partsOf(payload))
    if (isWhole && isByElement && hasElements) told.set(key, 'elements');
    else if (effects.some((effect) => effect.kind === 'opaque' && effect.adds === true)) told.set(key, 'list');
    else if (isWhole) told.set(key, effects.some(({ kind }) => kind === 'set') ? 'string' : 'nothing');
  return told;
}

function newTouch(): Touch {
  return {
    elements: new Set(),
    isTold: false,
    below: null,
    makes: false,
    increments: new Map(),
    onlyIncrements: true,
    isInexact: false,
    ttl: false,
    keepTtl: false,
    opaque: false,
    taking: new Taking(),
    ofString: new StringTouch(),
  };
}

/** What was done to keys, by name. */
export class Touches {
  private readonly keys = new Map<string, Touch>();
  private readonly flushes: { db: number | null; origin: OriginId; position: number }[] = [];

  /** @param until what the donor's value of a key holds; undefined: the key does not matter */
  constructor(private readonly until: (name: string) => Vector | undefined) {}

  /** Notes what a record does behind a position. */
  note(record: OpRecord, after: number): void {
    const { origin } = record;
    const told = record.kind === RecordKind.state ? keysTold(record.payload) : NONE;
    eachEffect(record, after, (db, effect, position, stamp, _unit, command, args) => {
      if (effect.kind === 'flush') this.flushes.push({ db: effect.scope === 'db' ? db : null, origin, position });
      for (const key of effect.kind === 'opaque' ? effect.keys : 'key' in effect ? [effect.key] : []) {
        const name = nameOf(db, key);
        if ((this.until(name)?.get(origin) ?? -1) < position) continue;
        let touch = this.keys.get(name);
        if (touch === undefined) this.keys.set(name, (touch = newTouch()));
        const how = told.get(key);
        const isOfState = how === 'string' && (effect.kind === 'delete' || effect.kind === 'set');
        // A state's string is made of what is noted by itself.
        if (!isOfState && effect.kind !== 'opaque' && effect.kind !== 'ttl') touch.ofString = null;
        if (how !== undefined && how !== 'string' && effect.kind === 'delete') {
          touch.isTold = true;
          if (how !== 'elements') touch.taking?.tell();
        } else {
          if (effect.kind === 'opaque' && how !== 'list') noteOpaque(touch, command, args, key);
          noteTouch(touch, effect);
        }
        // Where its ID was another region's too, an entry stands elsewhere.
        if (effect.kind === 'put' && effect.type === Type.stream)
          for (const id of effect.names) touch.elements?.add(movedId(regionOf(origin), stamp, id));
      }
    });
  }

  /** Keys of which something is noted. */
  *names(): IterableIterator<{ db: number; key: string }> {
    for (const name of this.keys.keys()) {
      const at = name.indexOf(':');
      yield { db: Number(name.slice(0, at)), key: name.slice(at + 1) };
    }
  }

  of(db: number, key: string): Touch | undefined {
    const name = nameOf(db, key);
    const touch = this.keys.get(name);
    const isFlushed = this.flushes.some(
      (flush) =>
        (flush.db === null || flush.db === db) && (this.until(name)?.get(flush.origin) ?? -1) >= flush.position,
    );
    return isFlushed ? { ...(touch ?? newTouch()), elements: null, onlyIncrements: false, ofString: null } : touch;
  }
}

/** Keys by database and name. */
export function nameOf(db: number, key: string): string {
  return `${db}:${key}`;
}

/**
 * Visits what a record's operations behind a position do.
 * @param visit `unit`: where what Redis runs as a whole begins, a command or a transaction
 */
export function eachEffect(
  record: OpRecord,
  after: number,
  visit: (
    db: number,
    effect: Effect,
    position: number,
    stamp: number,
    unit: number,
    command: Command,
    args: Args,
  ) => void,
): void {
  if (record.kind === RecordKind.birth) return;
  const scanner = new CommandScanner();
  scanner.push(record.payload);
  const effects: Effect[] = [];
  const base = record.end - record.payload.length;
  let { db } = record;
  let stamp = record.stamp - 1;
  let transaction: number | null = null;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.class === Class.ignored) {
      if (command.code === Code.select) db = Number(argText(scanner, 1));
      else if (command.code === Code.multi) transaction = base + scanner.start;
      else if (command.code === Code.exec) transaction = null;
      continue;
    }
    if (isOfStream(record.kind) || stamp < record.stamp) stamp++;
    // Only the bytes of the stream have positions of their own.
    const position = isOfStream(record.kind) ? base + scanner.end : record.end;
    if (position <= after) continue;
    effects.length = 0;
    decodeEffects(command, scanner, effects, record.added?.get(stamp - record.stamp));
    const unit = isOfStream(record.kind) ? (transaction ?? base + scanner.start) : record.start;
    for (const effect of effects) visit(dbOf(effect, db), effect, position, stamp, unit, command, scanner);
  }
}

/** Notes what a command did that is known only as such. */
function noteOpaque(touch: Touch, command: Command, args: Args, key: string): void {
  if (touch.taking?.note(command, args, key) === false) touch.taking = null;
  if (touch.ofString?.note(command, args) === false) touch.ofString = null;
}

function noteTouch(touch: Touch, effect: Effect): void {
  const by = effect.kind === 'increment' ? exactOf(effect.delta) : null;
  if (effect.kind === 'increment' && by !== null) {
    touch.increments.set(effect.name, (touch.increments.get(effect.name) ?? 0n) + by);
    return;
  }
  if (effect.kind === 'ttl') {
    touch.ttl = true;
    return;
  }
  touch.onlyIncrements = false;
  if (effect.kind === 'set' && effect.keepTtl) touch.keepTtl = true;
  if (effect.kind === 'put' || (effect.kind === 'group' && effect.makesKey)) touch.makes = true;
  if (effect.kind === 'opaque') touch.opaque = true;
  else if (effect.kind === 'put' || effect.kind === 'remove' || effect.kind === 'field-ttl')
    effect.names.forEach((n) => touch.elements?.add(n));
  else if (effect.kind === 'increment') {
    touch.elements?.add(effect.name);
    touch.isInexact = true;
  } else if (effect.kind === 'trim') {
    const minId = effect.minId ?? HIGHEST_ID;
    if (touch.below === null || compareIds(minId, touch.below) > 0) touch.below = minId;
  } else if (effect.kind !== 'cap' && effect.kind !== 'lastId' && effect.kind !== 'group') touch.elements = null;
}

/** An increment in units of decimals; null for one of a score by what is no integer. */
export function exactOf(delta: Delta): bigint | null {
  if (typeof delta !== 'number') return unitsOf(delta);
  return Number.isSafeInteger(delta) ? BigInt(delta) * ONE : null;
}
