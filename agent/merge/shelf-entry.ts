/** What the window knows of a key, as bytes for the shelf, and back. */
import { deserialize, serialize } from 'node:v8';
import { Decimal } from './decimal';
import type { Delta } from './element';
import { ALL_TYPES, NONE, Op, ownBytes, type Put, type StateParts, Type } from './key-state';
import type { OriginTable, Seen } from './origins';
import { StoredPut, type SetSources } from './set-source';
import type { TablePut } from './set-table';
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
  for (const { origin, position, stamp, seen, at, args, isStored } of puts) {
    batch.about(origin, position);
    batch.word(origin);
    batch.double(stamp);
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
  for (const { puts, increments, ttls, removals } of parts.elements) {
    removals.forEach(needs);
    for (const { op } of [...puts, ...ttls]) needs(op);
    for (const { op, floors } of increments) {
      needs(op);
      floors?.forEach((position, origin) => batch.needs(origin, position));
    }
  }
  for (const { op } of parts.ttls) needs(op);
  parts.opaques.forEach(needs);
  parts.expiries.forEach(needs);
  parts.deletions.forEach(needs);
}

/** Live SETs that the table could hold: their records can be read again. Null: it is something else. */
export function storedSets(
  parts: StateParts,
): { origin: number; stamp: number; seen: Seen; at: StoredPut['at'] }[] | null {
  if (!isSets(parts)) return null;
  const puts = [];
  for (const put of parts.elements[0]!.puts) {
    if (!(put instanceof StoredPut)) return null;
    const { origin, stamp, seen } = put.op;
    puts.push({ origin, stamp, seen, at: put.at });
  }
  return puts;
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
  const common = { origin, position, stamp, seen, value: () => put.value };
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
      increments: element.increments.map((increment) => ({ ...increment, delta: deltaOf(increment.delta) })),
      puts: element.puts.map(({ at, ...put }) =>
        at === undefined ? { ...put, value: ownBytes(put.value!) } : new StoredPut(put.op, at, sources),
      ),
    })),
  };
}

/** A decimal comes back as the bare fields of one. */
function deltaOf(delta: Delta): Delta {
  return typeof delta === 'object' ? new Decimal(delta.units) : delta;
}

function readSets(bytes: Buffer, origins: OriginTable, sources: SetSources, given?: string): StateParts {
  let key = given;
  let next = 1;
  const word = (): number => bytes.readUInt32LE((next += 4) - 4);
  const double = (): number => bytes.readDoubleLE((next += 8) - 8);
  const db = word();
  const puts: Put[] = [];
  const tops: number[] = [];
  while (next < bytes.length) {
    const origin = word();
    const stamp = double();
    const place = { origin: origins.id(origin), start: double(), end: double() };
    const at = { place, payloadBytes: word(), end: word(), argsBytes: word() };
    const seen = Array.from({ length: word() }, double);
    const argsBytes = word();
    const args = argsBytes === 0 ? null : bytes.subarray(next, (next += argsBytes));
    const position = place.end - at.payloadBytes + at.end;
    const op = new Op(origin, position, stamp, seen);
    key ??= sources.keyAt(at, args);
    puts.push(args === null ? new StoredPut(op, at, sources) : { op, value: ownBytes(sources.valueIn(args)) });
    while (tops.length <= origin) tops.push(-1);
    tops[origin] = position;
  }
  const string = { type: Type.string, name: '', puts, increments: NONE, ttls: NONE, removals: NONE, baseDead: true };
  return {
    db,
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
