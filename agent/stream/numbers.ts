/**
 * The numbers that a Redis holds, as its stream has told them: so that an INCRBYFLOAT, which arrives as its result (`SET key value KEEPTTL`, `HSET key
 * field value`), can be recorded as what it added.
 *
 * What it knows depends on what it has read, and on how much it may keep: so it decides once, for the record, and never again. It knows what the
 * snapshot held that the stream began with, and all that was written since, by agents too. It forgets what has not been written for the longest; what it has never
 * known it does not guess.
 */
import type { RdbEntry } from '../capture';
import { Class, Code, type Command } from '../merge/commands';
import { formatDecimal, ONE, parseDecimal } from '../merge/decimal';
import { type Args, argText, keysOf } from '../merge/effects';
import { FINGERPRINT_WORDS, fingerprint, fingerprintOfText } from '../merge/key-hash';

/** Places in a bucket: the oldest number of one makes room. */
const WAYS = 8;
const NUMBERS_MAX = 262_144;
/** Of the filter: enough for some four million keys. Then all that is not known may be there. */
const OTHERS_BITS = 2 ** 23;
const OTHERS_MASK = OTHERS_BITS / 32 - 1;

const Kind = { none: 0, integer: 1, text: 2, hash: 3 } as const;
type Kind = (typeof Kind)[keyof typeof Kind];

/** Commands that may make a string of what they find elsewhere, or change one in the middle. */
const WRITES_STRINGS = new Set(
  'RENAME RENAMENX COPY MOVE RESTORE RESTORE-ASKING APPEND SETRANGE SETBIT BITFIELD BITOP INCREX'.split(' '),
);

export class Numbers {
  private readonly tags: Int32Array;
  private readonly kinds: Uint8Array;
  /** Of integers and hashes; those of which the text is kept have none. */
  private readonly values: Float64Array;
  private readonly texts = new Map<number, string>();
  /** A Bloom filter of keys that hold something else than a number, or one that was forgotten: a key that is in neither is not there. */
  private readonly others = new Int32Array(OTHERS_BITS / 32);
  private readonly victims: Uint8Array;
  private readonly mask: number;
  /** Databases, and hashes: each has its own, a new one when it is emptied. */
  private readonly spaces = new Map<number, number>();
  private lastSpace = 0;
  private readonly tag = new Int32Array(FINGERPRINT_WORDS);
  /** How many are there. */
  size = 0;

  /**
   * @param isComplete there is nothing in Redis that it is not told of
   * @param numbersMax what it may know of at a time, a power of two: 7 MiB by default, with the filter
   */
  constructor(isComplete: boolean, numbersMax = NUMBERS_MAX) {
    const buckets = numbersMax / WAYS;
    this.mask = buckets - 1;
    this.tags = new Int32Array(numbersMax * FINGERPRINT_WORDS);
    this.kinds = new Uint8Array(numbersMax);
    this.values = new Float64Array(numbersMax);
    this.victims = new Uint8Array(buckets);
    if (!isComplete) this.others.fill(-1);
  }

  /** What a snapshot holds. */
  load(entry: RdbEntry): void {
    if (entry.kind !== 'key') return;
    const { db, key } = entry;
    fingerprint(this.space(db), key, 0, key.length, this.tag, 0);
    if (entry.type !== 'string') this.markOther();
    if (entry.type === 'string') {
      this.put(entry.value, 0, entry.value.length, true);
    } else if (entry.type === 'hash')
      for (const [field, value] of entry.value)
        this.putField(db, key, 0, key.length, field, 0, field.length, value, 0, value.length);
  }

  /**
   * What a client's command added to a number, where it has the form in which Redis writes INCRBYFLOAT or HINCRBYFLOAT. A client can
   * write the same: `SET key number KEEPTTL` counts as an increment, as whoever keeps a time to live changes a value. HSET is what clients say to set a
   * field, so that it counts only where a number replaces one, and they are not both integers: HINCRBY is for those.
   * To be asked before the command is told.
   * @returns the text of a decimal; null: it is no increment, or what was there is not known
   */
  addedBy(command: Command, args: Args, db: number): string | null {
    const { buf, argStart, argEnd, argc } = args;
    if (argc !== 4) return null;
    if (command.code === Code.set) {
      if (!is(args, 0, 'SET') || !is(args, 3, 'KEEPTTL')) return null;
      const after = canonical(argText(args, 2));
      if (after === null) return null;
      fingerprint(this.space(db), buf, argStart[1]!, argEnd[1]!, this.tag, 0);
      const at = this.find();
      if (at < 0) return this.isOther() ? null : formatDecimal(after);
      const before = this.unitsAt(at);
      return before === null ? null : formatDecimal(after - before);
    }
    if (command.code !== Code.hset || command.name !== 'HSET' || !is(args, 0, 'HSET')) return null;
    const after = canonical(argText(args, 3));
    if (after === null) return null;
    const space = this.hashSpace(db, buf, argStart[1]!, argEnd[1]!);
    if (space === null) return null;
    fingerprint(space, buf, argStart[2]!, argEnd[2]!, this.tag, 0);
    const at = this.find();
    const before = at < 0 ? null : this.unitsAt(at);
    if (before === null || (before % ONE === 0n && after % ONE === 0n)) return null;
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
        for (let i = 1; i < argc; i++) this.drop(db, args, i);
        return;
      case Code.delone:
        if (argc > 1) this.drop(db, args, 1);
        return;
      case Code.msetex:
        for (let i = 2; i + 1 < argc && i < 2 + 2 * Number(argText(args, 1)); i += 2) this.set(db, args, i, i + 1);
        return;
      case Code.sadd:
      case Code.zadd:
      case Code.zincrby:
        this.markKey(db, args);
        return;
      case Code.hset:
      case Code.hsetnx:
        this.markKey(db, args);
        for (let i = 2; i + 1 < argc; i += 2)
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
        return;
      case Code.hincrby:
      case Code.hdel: {
        if (command.code === Code.hincrby) this.markKey(db, args);
        const space = this.size === 0 ? null : this.hashSpace(db, buf, argStart[1]!, argEnd[1]!);
        if (space === null) return;
        const by = command.code === Code.hincrby ? Number(argText(args, 3)) : NaN;
        for (let i = 2; i < (command.code === Code.hincrby ? 3 : argc); i++) {
          fingerprint(space, buf, argStart[i]!, argEnd[i]!, this.tag, 0);
          this.addAt(this.find(), by);
        }
        return;
      }
      case Code.flushdb:
        this.spaces.set(db, ++this.lastSpace);
        return;
      case Code.flushall:
        for (const known of this.spaces.keys()) this.spaces.set(known, ++this.lastSpace);
        return;
      case Code.swapdb: {
        const [a, b] = [Number(argText(args, 1)), Number(argText(args, 2))];
        const space = this.space(a);
        this.spaces.set(a, this.space(b));
        this.spaces.set(b, space);
        return;
      }
      default:
        if (command.class === Class.state || (command.class === Class.verbatim && WRITES_STRINGS.has(command.name)))
          this.forget(command, args, db);
        else if (command.class === Class.verbatim && command.firstKey === 1) this.markKey(db, args);
    }
  }

  /** The key is there, and no number, for all that is known. */
  private markKey(db: number, { buf, argStart, argEnd, argc }: Args): void {
    if (argc < 2) return;
    fingerprint(this.space(db), buf, argStart[1]!, argEnd[1]!, this.tag, 0);
    this.markOther();
  }

  private forget(command: Command, args: Args, db: number): void {
    // To a database that only its arguments name.
    if (command.name === 'MOVE' || (command.name === 'COPY' && args.argc > 3)) this.others.fill(-1);
    for (const key of keysOf(command, args)) {
      fingerprintOfText(this.space(db), key, this.tag);
      this.clear(this.find());
      this.markOther();
    }
  }

  private set(db: number, args: Args, key: number, value: number): void {
    const { buf, argStart, argEnd } = args;
    fingerprint(this.space(db), buf, argStart[key]!, argEnd[key]!, this.tag, 0);
    this.put(buf, argStart[value]!, argEnd[value]!, true);
  }

  private drop(db: number, args: Args, key: number): void {
    if (this.size === 0) return;
    fingerprint(this.space(db), args.buf, args.argStart[key]!, args.argEnd[key]!, this.tag, 0);
    this.clear(this.find());
  }

  private add(db: number, args: Args, by: number): void {
    fingerprint(this.space(db), args.buf, args.argStart[1]!, args.argEnd[1]!, this.tag, 0);
    const at = this.find();
    if (at >= 0) this.addAt(at, by);
    // Of nothing.
    else if (Number.isSafeInteger(by) && !this.isOther()) this.place(Kind.integer, by);
    else this.markOther();
  }

  /** NaN: it is gone. */
  private addAt(at: number, by: number): void {
    if (at < 0) return;
    const sum = this.values[at]! + by;
    if (this.kinds[at] === Kind.integer && Number.isSafeInteger(sum)) this.values[at] = sum;
    else {
      // A number all the same, that is not known.
      if (by === by) this.markOther();
      this.clear(at);
    }
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
    fingerprint(space, field, fieldStart, fieldEnd, this.tag, 0);
    this.put(value, start, end, false);
  }

  /** Of a hash of which numbers are known; null for none. Its tag stays, for `openHash`. */
  private hashSpace(db: number, key: Buffer, start: number, end: number): number | null {
    fingerprint(this.space(db), key, start, end, this.tag, 0);
    const at = this.find();
    return at >= 0 && this.kinds[at] === Kind.hash ? this.values[at]! : null;
  }

  private openHash(): number {
    this.place(Kind.hash, ++this.lastSpace);
    return this.lastSpace;
  }

  private space(db: number): number {
    let space = this.spaces.get(db);
    if (space === undefined) this.spaces.set(db, (space = ++this.lastSpace));
    return space;
  }

  /** Notes what the tag has: a number, or none. */
  private put(value: Buffer, start: number, end: number, isString: boolean): void {
    if (looksNumeric(value, start, end)) {
      const integer = integerAt(value, start, end);
      if (integer === integer) return this.place(Kind.integer, integer);
      const units = parseDecimal(value.toString('latin1', start, end));
      if (units !== null) return this.place(Kind.text, 0, formatDecimal(units));
    }
    this.clear(this.find());
    if (isString) this.markOther();
  }

  private markOther(): void {
    const { tag } = this;
    this.markBits(tag[0]!, tag[1]! ^ tag[2]!);
  }

  private markBits(a: number, b: number): void {
    this.others[(a >>> 5) & OTHERS_MASK]! |= 1 << (a & 31);
    this.others[(b >>> 5) & OTHERS_MASK]! |= 1 << (b & 31);
  }

  private isOther(): boolean {
    const a = this.tag[0]!;
    const b = this.tag[1]! ^ this.tag[2]!;
    return (
      (this.others[(a >>> 5) & OTHERS_MASK]! & (1 << (a & 31))) !== 0 &&
      (this.others[(b >>> 5) & OTHERS_MASK]! & (1 << (b & 31))) !== 0
    );
  }

  private bucket(): number {
    return (this.tag[0]! ^ this.tag[2]!) & this.mask;
  }

  private find(): number {
    if (this.size === 0) return -1;
    const { tag, tags, kinds } = this;
    const first = this.bucket() * WAYS;
    for (let at = first; at < first + WAYS; at++) {
      const place = at * FINGERPRINT_WORDS;
      if (kinds[at] !== Kind.none && tags[place] === tag[0] && tags[place + 1] === tag[1] && tags[place + 2] === tag[2])
        return at;
    }
    return -1;
  }

  private clear(at: number): void {
    if (at < 0) return;
    if (this.kinds[at] === Kind.text) this.texts.delete(at);
    this.kinds[at] = Kind.none;
    this.size--;
  }

  private place(kind: Kind, value: number, text?: string): void {
    const { tag, tags, kinds } = this;
    const bucket = this.bucket();
    let at = this.find();
    for (let i = bucket * WAYS; at < 0 && i < (bucket + 1) * WAYS; i++) if (kinds[i] === Kind.none) at = i;
    if (at < 0) {
      at = bucket * WAYS + this.victims[bucket]!;
      this.victims[bucket] = (this.victims[bucket]! + 1) % WAYS;
      const victim = at * FINGERPRINT_WORDS;
      this.markBits(tags[victim]!, tags[victim + 1]! ^ tags[victim + 2]!);
    }
    this.clear(kinds[at] === Kind.none ? -1 : at);
    for (let i = 0; i < FINGERPRINT_WORDS; i++) tags[at * FINGERPRINT_WORDS + i] = tag[i]!;
    kinds[at] = kind;
    this.values[at] = value;
    if (text !== undefined) this.texts.set(at, text);
    this.size++;
  }

  private unitsAt(at: number): bigint | null {
    const kind = this.kinds[at];
    if (kind === Kind.integer) return BigInt(this.values[at]!) * ONE;
    return kind === Kind.text ? parseDecimal(this.texts.get(at)!) : null;
  }
}

/** A number as Redis writes one after INCRBYFLOAT; null for any other text. */
function canonical(text: string): bigint | null {
  const units = parseDecimal(text);
  return units !== null && formatDecimal(units) === text ? units : null;
}

function is({ buf, argStart, argEnd }: Args, i: number, word: string): boolean {
  if (argEnd[i]! - argStart[i]! !== word.length) return false;
  for (let n = 0; n < word.length; n++) if (buf[argStart[i]! + n] !== word.charCodeAt(n)) return false;
  return true;
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
