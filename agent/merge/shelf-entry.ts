/** What the window knows of a key, as bytes for the shelf, and back. */
import { deserialize, serialize } from 'node:v8';
import { Decimal } from './decimal';
import { ALL_TYPES, type Increment, NONE, Op, ownBytes, type Put, Type } from './key-state';
import type { ElementParts, StateParts } from './key-parts';
import { type OriginTable, raise } from './origins';
import { StoredPut, type SetSources } from './set-source';
import { positionOf, type StoredSet, type TablePut } from './set-table';
import { Reach, type ShelfBatch } from './shelf';

/** A put as it is written: its value, or where that can be read. */
interface WrittenPut {
  readonly op: Op;
  readonly value?: Buffer;
  readonly at?: StoredPut['at'];
  readonly keepTtl?: boolean;
}
type WrittenState = Omit<StateParts, 'elements'> & {
  readonly elements: readonly (Omit<StateParts['elements'][number], 'puts'> & {
    readonly puts: readonly WrittenPut[];
  })[];
};

/** Live SETs of a key of which nothing else is known. */
export function writeSets(
  batch: ShelfBatch,
  fingerprint: ArrayLike<number>,
  db: number,
  puts: Iterable<TablePut>,
): void {
  batch.begin(fingerprint);
  batch.byte(Reach.sets);
  batch.word(db);
  for (const { origin, position, stamp, index, seen, at, args, isStored } of puts) {
    batch.about(origin, position);
    batch.word(origin);
    batch.double(stamp - index);
    batch.word(index);
    batch.double(at.place.start);
    batch.double(at.place.end);
    batch.word(at.payloadBytes);
    batch.word(at.end);
    batch.word(at.argsBytes);
    batch.word(seen.length);
    for (const known of seen) batch.double(known);
    const kept = isStored ? null : args;
    batch.word(kept === null ? 0 : kept.length);
    if (kept !== null) batch.raw(kept);
  }
  batch.end();
}

/** What is known of any other key; where it turns out to be SETs alone, as those are written. */
export function writeParts(
  batch: ShelfBatch,
  fingerprint: ArrayLike<number>,
  parts: StateParts,
  origins: OriginTable,
): void {
  if (isSets(parts)) {
    const key = Buffer.from(parts.key, 'latin1');
    const puts = parts.elements[0]!.puts.map((put) => tablePut(put, key, origins));
    return writeSets(batch, fingerprint, parts.db, puts);
  }
  const written: WrittenState = {
    ...parts,
    elements: parts.elements.map((element) => ({ ...element, puts: element.puts.map(writtenPut) })),
  };
  batch.begin(fingerprint);
  batch.byte(parts.isWhole ? Reach.whole : Reach.part);
  batch.raw(serialize(written));
  batch.end();
  parts.tops.forEach((position, origin) => batch.about(origin, position));
  const needs = ({ origin, position }: Op): void => batch.needs(origin, position);
  for (const element of parts.elements) noteElement(batch, element, false);
  for (const { op } of parts.ttls) needs(op);
  parts.opaques.forEach(needs);
  parts.expiries.forEach(needs);
  parts.deletions.forEach(needs);
}

/** Notes the operations of an element: those that are needed, and, where nothing else says so, those that it is about. */
function noteElement(batch: ShelfBatch, { puts, increments, ttls, removals }: ElementParts, isAbout: boolean): void {
  const note = ({ origin, position }: Op): void =>
    isAbout ? batch.about(origin, position) : batch.needs(origin, position);
  removals.forEach(note);
  for (const { op } of puts) note(op);
  for (const { op } of ttls) note(op);
  for (const { op, floors } of increments) {
    note(op);
    floors?.forEach((position, origin) => batch.needs(origin, position));
  }
}

/** The body of an element's entry where it is puts, and nothing else; or anything. */
const PLAIN = 0;
const ANY = 1;
/** Before an element's name: reach, two words of the key's fingerprint, the stay, type, and the name's length. */
const ELEMENT_BYTES = 1 + 4 + 4 + 4 + 1 + 4;

/**
 * What is known of one element, in an entry that was begun.
 * @param ofKey the key's fingerprint, of which the entry's own has the first word
 * @param stay see ElementsAway
 */
export function writeElementParts(
  batch: ShelfBatch,
  reach: number,
  ofKey: ArrayLike<number>,
  stay: number,
  parts: ElementParts,
): void {
  const { type, name, puts, increments, ttls, removals, baseDead } = parts;
  batch.byte(reach);
  batch.word(ofKey[1]! >>> 0);
  batch.word(ofKey[2]! >>> 0);
  batch.word(stay);
  batch.byte(type);
  batch.word(name.length);
  batch.raw(Buffer.from(name, 'latin1'));
  const isPlain = puts.every(({ op, keepTtl }) => op.constructor === Op && keepTtl !== true);
  if (isPlain && baseDead && increments.length + ttls.length + removals.length === 0) {
    batch.byte(PLAIN);
    for (const { op, value } of puts) {
      batch.word(op.origin);
      for (const number of [op.position, op.stamp]) batch.double(number);
      batch.word(op.seen.length);
      for (const known of op.seen) batch.double(known);
      batch.word(value.length);
      batch.raw(value);
    }
  } else {
    batch.byte(ANY);
    batch.raw(serialize({ puts: puts.map((each) => ({ ...each })), increments, ttls, removals, baseDead }));
  }
  noteElement(batch, parts, true);
}

export function isOfElement(bytes: Buffer): boolean {
  return bytes[0] === Reach.element || bytes[0] === Reach.wholeElement;
}

/** What is known of an element; null: the entry is of another key, or an earlier stay of its elements, or of no element. */
export function readElement(bytes: Buffer, ofKey: ArrayLike<number>, stay: number): ElementParts | null {
  if (!isOfElement(bytes)) return null;
  if (bytes.readInt32LE(1) !== ofKey[1] || bytes.readInt32LE(5) !== ofKey[2]) return null;
  if (bytes.readUInt32LE(9) !== stay) return null;
  const type = bytes[13] as Type;
  let next = ELEMENT_BYTES + bytes.readUInt32LE(14);
  const name = bytes.toString('latin1', ELEMENT_BYTES, next);
  if (bytes[next++] === ANY) {
    const any = deserialize(bytes.subarray(next)) as Omit<ElementParts, 'type' | 'name'>;
    const puts = any.puts.map((put) => ({ ...put, value: Buffer.from(put.value) }));
    return { ...any, type, name, puts, increments: any.increments.map(readIncrement) };
  }
  const word = (): number => bytes.readUInt32LE((next += 4) - 4);
  const double = (): number => bytes.readDoubleLE((next += 8) - 8);
  const puts: Put[] = [];
  while (next < bytes.length) {
    const [origin, position, stamp] = [word(), double(), double()];
    const op = new Op(origin, position, stamp, Array.from({ length: word() }, double));
    const length = word();
    puts.push({ op, value: Buffer.from(bytes.subarray(next, (next += length))) });
  }
  return { type, name, puts, increments: NONE, ttls: NONE, removals: NONE, baseDead: true };
}

/** Live SETs that the table could hold: their records can be read again. Null: it is something else. */
export function readStoredSets(bytes: Buffer, origins: OriginTable): StoredSet[] | null {
  if (bytes[0] !== Reach.sets) return null;
  const puts = readPuts(bytes, origins);
  return puts.every(({ args }) => args === null) ? puts : null;
}

/** Nothing is known but live SETs, and nothing older counts beside them. */
function isSets({
  elements: [string, ...others],
  ttls,
  opaques,
  expiries,
  deletions,
  removals,
  deadTypes,
  ttlBaseDead,
  ...rest
}: StateParts): boolean {
  return (
    string?.type === Type.string &&
    string.puts.length > 0 &&
    string.increments.length === 0 &&
    others.length === 0 &&
    ttls.length + opaques.length + expiries.length + deletions.length === 0 &&
    removals === null &&
    deadTypes === ALL_TYPES &&
    ttlBaseDead &&
    !rest.ttlByRedis
  );
}

function tablePut(put: Put, key: Buffer, origins: OriginTable): TablePut {
  const { origin, position, stamp, seen } = put.op;
  const common = { origin, position, stamp, index: 0, seen, value: () => put.value };
  if (put instanceof StoredPut) return { ...common, at: put.at, args: null, isStored: true };
  const place = { origin: origins.id(origin), start: position, end: position };
  const args = Buffer.concat([bulk(key), bulk(put.value)]);
  return { ...common, at: { place, payloadBytes: 0, end: 0, argsBytes: 0 }, args, isStored: false };
}

function bulk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
}

function writtenPut(put: Put): WrittenPut {
  return put instanceof StoredPut ? { op: put.op, at: put.at } : { ...put, value: put.value };
}

/**
 * @param key in Latin-1; absent: it is read
 * @throws where a record can't be read again
 */
export function readEntry(bytes: Buffer, origins: OriginTable, sources: SetSources, key?: string): StateParts {
  if (bytes[0] === Reach.sets) return readSets(bytes, origins, sources, key);
  const state = deserialize(bytes.subarray(1)) as WrittenState;
  return {
    ...state,
    elements: state.elements.map((element) => ({
      ...element,
      increments: element.increments.map(readIncrement),
      puts: element.puts.map(({ at, ...put }) =>
        at === undefined ? { ...put, value: ownBytes(put.value!) } : new StoredPut(put.op, at, sources),
      ),
    })),
  };
}

/** A decimal comes back as the bare fields of one. */
function readIncrement(increment: Increment): Increment {
  const { delta } = increment;
  return { ...increment, delta: typeof delta === 'object' ? new Decimal(delta.units) : delta };
}

interface WrittenSet extends StoredSet {
  /** Null: they are in the journal. */
  readonly args: Buffer | null;
}

/** One at least. */
function readPuts(bytes: Buffer, origins: OriginTable): WrittenSet[] {
  let next = 1;
  const word = (): number => bytes.readUInt32LE((next += 4) - 4);
  const double = (): number => bytes.readDoubleLE((next += 8) - 8);
  const db = word();
  const puts: WrittenSet[] = [];
  while (next < bytes.length) {
    const origin = word();
    const stamp = double();
    const index = word();
    const place = { origin: origins.id(origin), start: double(), end: double() };
    const [payloadBytes, end, argsBytes] = [word(), word(), word()];
    const seen: number[] = [];
    for (let n = word(); n > 0; n--) seen.push(double());
    const kept = word();
    const args = kept === 0 ? null : bytes.subarray(next, (next += kept));
    puts.push({ db, origin, stamp, index, place, payloadBytes, end, argsBytes, seen, args });
  }
  return puts;
}

function readSets(bytes: Buffer, origins: OriginTable, sources: SetSources, given?: string): StateParts {
  let key = given;
  const written = readPuts(bytes, origins);
  const puts: Put[] = [];
  const tops: number[] = [];
  for (const set of written) {
    const { origin, stamp, index, place, payloadBytes, end, argsBytes, seen, args } = set;
    const at = { place, payloadBytes, end, argsBytes };
    const position = positionOf(set);
    const op = new Op(origin, position, stamp + index, seen);
    key ??= sources.keyAt(at, args);
    puts.push(args === null ? new StoredPut(op, at, sources) : { op, value: ownBytes(sources.valueIn(args)) });
    raise(tops, origin, position);
  }
  const string = { type: Type.string, name: '', puts, increments: NONE, ttls: NONE, removals: NONE, baseDead: true };
  return {
    db: written[0]!.db,
    key: key!,
    isWhole: false,
    elements: [string],
    ttls: NONE,
    opaques: NONE,
    expiries: NONE,
    deletions: NONE,
    deadTypes: ALL_TYPES,
    ttlBaseDead: true,
    ttlByRedis: false,
    removals: null,
    tops,
  };
}
