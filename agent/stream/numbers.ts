/**
 * The numbers that a Redis holds, as its stream has told them: so that an INCRBYFLOAT, which arrives as its result (`SET key value KEEPTTL`), can be
 * recorded as what it added; and a HINCRBYFLOAT (`HSET key field value`, from Redis 8 on `HSETEX key KEEPTTL FIELDS 1 field value`).
 *
 * What it knows depends on what it has read, and on how much it may keep: so it decides once, for the record, and never again. It knows what the
 * snapshot held that the stream began with, and all that was written since, by agents too. It forgets what has not been written for the longest; what it has never
 * known it does not guess.
 */
import type { RdbEntry } from '../capture';
import { Class, Code, type Command } from '../merge/commands';
import { formatDecimal, ONE, parseDecimal } from '../merge/decimal';
import { type Args, argText, keysOf } from '../merge/effects';
import { Kind, NumberTable } from './number-table';

const NUMBERS_MAX = 262_144;

/** Commands that may make a string of what they find elsewhere, or change one in the middle. */
const WRITES_STRINGS = new Set(
  'RENAME RENAMENX COPY MOVE RESTORE RESTORE-ASKING APPEND SETRANGE SETBIT BITFIELD BITOP INCREX'.split(' '),
);

export class Numbers {
  private readonly table: NumberTable;
  /** Databases, and hashes: each has its own, a new one when it is emptied. */
  private readonly spaces = new Map<number, number>();
  private lastSpace = 0;
  /** The database that was last asked for, and its space. */
  private lastDb = -1;
  private lastDbSpace = 0;

  /**
   * @param isComplete there is nothing in Redis that it is not told of
   * @param numbersMax what it may know of at a time, a power of two: 7 MiB by default, with the filter
   */
  constructor(isComplete: boolean, numbersMax = NUMBERS_MAX) {
    this.table = new NumberTable(numbersMax);
    if (!isComplete) this.table.markAll();
  }

  /** How many are known. */
  get size(): number {
    return this.table.size;
  }

  /** What a snapshot holds. */
  load(entry: RdbEntry): void {
    if (entry.kind !== 'key') return;
    const { db, key } = entry;
    this.table.seek(this.space(db), key, 0, key.length);
    if (entry.type !== 'string') this.table.markOther();
    if (entry.type === 'string') {
      this.put(entry.value, 0, entry.value.length, true);
    } else if (entry.type === 'hash')
      for (const [field, value] of entry.value)
        this.putField(db, key, 0, key.length, field, 0, field.length, value, 0, value.length);
  }

  /**
   * What a client's command added to a number, where it has the form in which Redis writes INCRBYFLOAT or HINCRBYFLOAT. A client can
   * write the same: `SET key number KEEPTTL` and `HSETEX key KEEPTTL FIELDS 1 field number` count as increments, as whoever keeps a time to live changes a
   * value. HSET is what clients say to set a field, so that it counts only where a number replaces one, and they are not both integers: HINCRBY is for those.
   * To be asked before the command is told.
   * @returns the text of a decimal; null: it is no increment, or what was there is not known
   */
  addedBy(command: Command, args: Args, db: number): string | null {
    const { buf, argStart, argEnd } = args;
    if (command.code === Code.set) {
      if (!isForm(args, SET_FORM)) return null;
      const after = canonical(argText(args, 2));
      if (after === null) return null;
      this.table.seek(this.space(db), buf, argStart[1]!, argEnd[1]!);
      const at = this.table.find();
      if (at < 0) return this.table.isOther() ? null : formatDecimal(after);
      const before = this.unitsAt(at);
      return before === null ? null : formatDecimal(after - before);
    }
    const isKept = command.code === Code.hsetex && isForm(args, HSETEX_FORM);
    if (!isKept && !(command.code === Code.hset && isForm(args, HSET_FORM))) return null;
    const field = isKept ? 5 : 2;
    const after = canonical(argText(args, field + 1));
    if (after === null) return null;
    const space = this.hashSpace(db, buf, argStart[1]!, argEnd[1]!);
    // A key that is not there has no field.
    if (space === null) return isKept && this.table.find() < 0 && !this.table.isOther() ? formatDecimal(after) : null;
    this.table.seek(space, buf, argStart[field]!, argEnd[field]!);
    const at = this.table.find();
    const before = at < 0 ? null : this.unitsAt(at);
    if (before === null || (!isKept && before % ONE === 0n && after % ONE === 0n)) return null;
    return formatDecimal(after - before);
  }

  /** A command of the stream, a client's or an agent's. */
  note(command: Command, args: Args, db: number): void {
    const { buf, argStart, argEnd, argc } = args;
    switch (command.code) {
      case Code.set:
      case Code.setnx:
      case Code.getset:
        if (argc >= 3) this.set(db, args, 1, 2);
        return;
      case Code.mset:
        for (let i = 1; i + 1 < argc; i += 2) this.set(db, args, i, i + 1);
        return;
      case Code.incr:
        this.add(db, args, 1);
        return;
      case Code.decr:
        this.add(db, args, -1);
        return;
      case Code.incrby:
        this.add(db, args, Number(argText(args, 2)));
        return;
      case Code.decrby:
        this.add(db, args, -Number(argText(args, 2)));
        return;
      case Code.del:
      case Code.unlink:
        for (let i = 1; i < argc; i++) this.dropAt(db, args, i);
        return;
      case Code.delone:
        if (argc > 1) this.dropAt(db, args, 1);
        return;
      case Code.msetex:
        for (let i = 2; i + 1 < argc && i < 2 + 2 * Number(argText(args, 1)); i += 2) this.set(db, args, i, i + 1);
        return;
      case Code.sadd:
      case Code.zadd:
      case Code.zincrby:
      case Code.xadd:
        this.markKey(db, args);
        return;
      case Code.xgroup:
        this.markKey(db, args, 2);
        return;
      case Code.hset:
      case Code.hsetnx:
        this.markKey(db, args);
        this.setFields(db, args, 2);
        return;
      case Code.hsetex: {
        this.markKey(db, args);
        let fields = 2;
        while (fields < argc && !isWord(args, fields, 'FIELDS')) fields++;
        this.setFields(db, args, fields + 2);
        return;
      }
      case Code.hincrby:
      case Code.hdel: {
        if (command.code === Code.hincrby) this.markKey(db, args);
        const space = this.size === 0 ? null : this.hashSpace(db, buf, argStart[1]!, argEnd[1]!);
        if (space === null) return;
        const by = command.code === Code.hincrby ? Number(argText(args, 3)) : NaN;
        for (let i = 2; i < (command.code === Code.hincrby ? 3 : argc); i++) {
          this.table.seek(space, buf, argStart[i]!, argEnd[i]!);
          this.addAt(this.table.find(), by);
        }
        return;
      }
      case Code.flushdb:
        this.spaces.set(db, ++this.lastSpace);
        this.lastDb = -1;
        return;
      case Code.flushall:
        for (const known of this.spaces.keys()) this.spaces.set(known, ++this.lastSpace);
        this.lastDb = -1;
        return;
      case Code.swapdb: {
        const [a, b] = [Number(argText(args, 1)), Number(argText(args, 2))];
        const space = this.space(a);
        this.spaces.set(a, this.space(b));
        this.spaces.set(b, space);
        this.lastDb = -1;
        return;
      }
      default:
        if (command.class === Class.state || (command.class === Class.verbatim && WRITES_STRINGS.has(command.name)))
          this.forget(command, args, db);
        else if (command.class === Class.verbatim && command.firstKey === 1) {
          if (command.lastKey === 1) this.markKey(db, args);
          // What is moved or stored elsewhere (LMOVE, SMOVE, SORT … STORE) makes that key, too.
          else for (const key of keysOf(command, args)) this.markName(db, key);
        }
    }
  }

  /** The key, in Latin-1, is not known any more. */
  drop(db: number, key: string): void {
    this.table.seek(this.space(db), Buffer.from(key, 'latin1'), 0, key.length);
    this.table.clear(this.table.find());
    this.table.markOther();
  }

  /**
   * Something was added to a number, if it is known.
   * @param field null: of a string
   * @param units of 10^-17
   */
  addTo(db: number, key: string, field: string | null, units: bigint): void {
    const bytes = Buffer.from(key, 'latin1');
    if (field === null) this.table.seek(this.space(db), bytes, 0, bytes.length);
    else {
      const space = this.hashSpace(db, bytes, 0, bytes.length);
      if (space === null) return;
      const name = Buffer.from(field, 'latin1');
      this.table.seek(space, name, 0, name.length);
    }
    const at = this.table.find();
    const before = at < 0 ? null : this.unitsAt(at);
    if (before === null) return;
    const sum = Buffer.from(formatDecimal(before + units));
    this.put(sum, 0, sum.length, field === null);
  }

  /** The key is there, and no number, for all that is known. */
  private markKey(db: number, { buf, argStart, argEnd, argc }: Args, i = 1): void {
    if (argc <= i) return;
    this.table.seek(this.space(db), buf, argStart[i]!, argEnd[i]!);
    this.table.markOther();
  }

  private markName(db: number, key: string): void {
    this.table.seek(this.space(db), Buffer.from(key, 'latin1'), 0, key.length);
    this.table.markOther();
  }

  private forget(command: Command, args: Args, db: number): void {
    // To a database that only its arguments name.
    if (command.name === 'MOVE' || (command.name === 'COPY' && args.argc > 3)) this.table.markAll();
    for (const key of keysOf(command, args)) this.drop(db, key);
  }

  private set(db: number, args: Args, key: number, value: number): void {
    const { buf, argStart, argEnd } = args;
    this.table.seek(this.space(db), buf, argStart[key]!, argEnd[key]!);
    this.put(buf, argStart[value]!, argEnd[value]!, true);
  }

  private dropAt(db: number, args: Args, key: number): void {
    if (this.size === 0) return;
    this.table.seek(this.space(db), args.buf, args.argStart[key]!, args.argEnd[key]!);
    this.table.clear(this.table.find());
  }

  private add(db: number, args: Args, by: number): void {
    this.table.seek(this.space(db), args.buf, args.argStart[1]!, args.argEnd[1]!);
    const at = this.table.find();
    if (at >= 0) this.addAt(at, by);
    // Of nothing.
    else if (Number.isSafeInteger(by) && !this.table.isOther()) this.table.place(Kind.integer, by);
    else this.table.markOther();
  }

  /** NaN: it is gone. */
  private addAt(at: number, by: number): void {
    if (at < 0) return;
    const sum = this.table.values[at]! + by;
    if (this.table.kinds[at] === Kind.integer && Number.isSafeInteger(sum)) this.table.values[at] = sum;
    else {
      // A number all the same, that is not known.
      if (by === by) this.table.markOther();
      this.table.clear(at);
    }
  }

  /** @param first of the arguments field value field value … */
  private setFields(db: number, { buf, argStart, argEnd, argc }: Args, first: number): void {
    for (let i = first; i + 1 < argc; i += 2)
      this.putField(
        db,
        buf,
        argStart[1]!,
        argEnd[1]!,
        buf,
        argStart[i]!,
        argEnd[i]!,
        buf,
        argStart[i + 1]!,
        argEnd[i + 1]!,
      );
  }

  private putField(
    db: number,
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    field: Buffer,
    fieldStart: number,
    fieldEnd: number,
    value: Buffer,
    start: number,
    end: number,
  ): void {
    const isNumber = looksNumeric(value, start, end);
    if (!isNumber && this.size === 0) return;
    const space = this.hashSpace(db, key, keyStart, keyEnd) ?? (isNumber ? this.openHash() : null);
    if (space === null) return;
    this.table.seek(space, field, fieldStart, fieldEnd);
    this.put(value, start, end, false);
  }

  /** Of a hash of which numbers are known; null for none. The key stays sought, for `openHash`. */
  private hashSpace(db: number, key: Buffer, start: number, end: number): number | null {
    this.table.seek(this.space(db), key, start, end);
    const at = this.table.find();
    return at >= 0 && this.table.kinds[at] === Kind.hash ? this.table.values[at]! : null;
  }

  private openHash(): number {
    this.table.place(Kind.hash, ++this.lastSpace);
    return this.lastSpace;
  }

  private space(db: number): number {
    if (db === this.lastDb) return this.lastDbSpace;
    let space = this.spaces.get(db);
    if (space === undefined) this.spaces.set(db, (space = ++this.lastSpace));
    this.lastDb = db;
    return (this.lastDbSpace = space);
  }

  /** Notes what the key that is sought has: a number, or none. */
  private put(value: Buffer, start: number, end: number, isString: boolean): void {
    if (looksNumeric(value, start, end)) {
      const integer = integerAt(value, start, end);
      if (integer === integer) return this.table.place(Kind.integer, integer);
      const units = parseDecimal(value.toString('latin1', start, end));
      if (units !== null) return this.table.place(Kind.text, 0, formatDecimal(units));
    }
    this.table.clear(this.table.find());
    if (isString) this.table.markOther();
  }

  private unitsAt(at: number): bigint | null {
    const kind = this.table.kinds[at];
    if (kind === Kind.integer) return BigInt(this.table.values[at]!) * ONE;
    return kind === Kind.text ? parseDecimal(this.table.textAt(at)) : null;
  }
}

/** A number as Redis writes one after INCRBYFLOAT; null for any other text. */
function canonical(text: string): bigint | null {
  const units = parseDecimal(text);
  return units !== null && formatDecimal(units) === text ? units : null;
}

// As Redis writes them; undefined stands for any argument.
const SET_FORM = ['SET', undefined, undefined, 'KEEPTTL'];
const HSET_FORM = ['HSET', undefined, undefined, undefined];
const HSETEX_FORM = ['HSETEX', undefined, 'KEEPTTL', 'FIELDS', '1', undefined, undefined];

function isForm(args: Args, form: readonly (string | undefined)[]): boolean {
  return args.argc === form.length && form.every((word, i) => word === undefined || is(args, i, word));
}

function is({ buf, argStart, argEnd }: Args, i: number, word: string): boolean {
  if (argEnd[i]! - argStart[i]! !== word.length) return false;
  for (let n = 0; n < word.length; n++) if (buf[argStart[i]! + n] !== word.charCodeAt(n)) return false;
  return true;
}

/** In upper or lower case. */
function isWord(args: Args, i: number, word: string): boolean {
  return args.argEnd[i]! - args.argStart[i]! === word.length && argText(args, i).toUpperCase() === word;
}

const MINUS = 45;

function looksNumeric(buf: Buffer, start: number, end: number): boolean {
  const first = buf[start]!;
  const last = buf[end - 1]!;
  return (
    end > start && end - start <= 64 && (first === MINUS || (first >= 48 && first <= 57)) && last >= 48 && last <= 57
  );
}

/** An integer that a double holds exactly, in Redis' form; NaN for anything else. */
function integerAt(buf: Buffer, start: number, end: number): number {
  const isNegative = buf[start] === MINUS;
  let at = isNegative ? start + 1 : start;
  if (end - at > 15 || end === at || (buf[at] === 48 && (end - at > 1 || isNegative))) return NaN;
  let value = 0;
  for (; at < end; at++) {
    const digit = buf[at]! - 48;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}
