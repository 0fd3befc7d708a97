/**
 * The record: a contiguous run of operations of one origin that share one `seen` vector. It is the unit of the
 * journal, of transfer between agents and of causal delivery. A record is encoded once, by the agent that captured it;
 * journals and links pass the same bytes on.
 *
 * Layout (little endian):
 *
 *     u32 length      bytes after this field
 *     u32 crc         CRC-32 of everything after this field
 *     u8  version     1
 *     u8  kind        see RecordKind
 *     u16 db          database selected before the first command
 *     u32 ops         number of operations in the payload
 *     f64 start       position before the record (the previous record's end)
 *     f64 end         position after the payload's last byte
 *     f64 stamp       stamp of the first operation; the i-th has stamp + i
 *     u16 n           bytes of the origin's id, then the id (ASCII)
 *     u16 n           entries in `seen`, each: u16 bytes of the id, the id, f64 position
 *     u32 n           only of kinds 4 (`told`) and 6: entries, each: u32 number of the operation, u16 bytes of a decimal, the decimal
 *     u32 n           only of kind 6, a `told` with `unsettled`: entries, each: u32 number of the operation
 *     u32 n           only of kind 5, a state with `carried`: entries, each: u32 number of the value, u16 n operations, each: u16 bytes of its
 *                     origin's id, the id, f64 position, f64 stamp, u32 1 + bytes of its value (0: it is the one in the payload), the value
 *     …               payload: RESP commands, to the record's end
 */
import { crc32 } from 'zlib';

/**
 * Names one writer's uninterrupted history: `region:replication-id` (the ID shortened to 16 hex digits), and
 * `region:replication-id@offset` where it was joined by a full resync, for what came before is in no record. So an
 * offset is never used without the history it belongs to.
 */
export type OriginId = string;

/** Per origin the highest position seen (replication offset, in bytes). An absent origin has not been seen at all. */
export type Vector = ReadonlyMap<OriginId, number>;

export const RecordKind = {
  /** A verbatim slice of the replication stream: whole commands and whole MULTI … EXEC blocks. */
  stream: 0,
  /** States of whole keys, read at an exact place of the stream: DUMP payloads wrapped as commands (see merge/state). */
  state: 1,
  /** Opens an origin; carries what its region had seen, and no operation. Always the first record of an origin. */
  birth: 2,
  /** What a full resync found to have changed: commands that share one position and stamp, outside the stream's bytes. */
  difference: 3,
  /**
   * A slice of the stream, and beside the commands what the agent knew of some: what they added to numbers (INCRBYFLOAT, of which Redis writes what it
   * made), that they worked on a key that was unsettled, or why a key went by UNLINK, by which the bytes go. That could not be told again: as with states,
   * nobody sees it before it is durable.
   */
  told: 4,
} as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];
/** As which a state with `carried` is written. */
const CARRYING = 5;
/** As which a told slice with `unsettled` is written. */
const UNSETTLED = 6;

export interface OpRecord {
  readonly kind: RecordKind;
  readonly origin: OriginId;
  /** Position before this record = the end of the origin's previous record. Records of an origin form a gapless chain. */
  readonly start: number;
  /** Position after the last operation. For a stream record the payload is the bytes [end - payload.length, end). */
  readonly end: number;
  /** Stamp of the first operation (see stamp.ts for the unit). */
  readonly stamp: number;
  /** Number of operations: commands other than MULTI, EXEC, SELECT, PING and REPLCONF. */
  readonly ops: number;
  /** Database selected at the payload's beginning. */
  readonly db: number;
  /** What the origin's region had seen before the record's first operation, its own older origins included. */
  readonly seen: Vector;
  readonly payload: Buffer;
  /** Of a record of kind `told`: by the number of the operation in it, the decimal that it added. */
  readonly added?: ReadonlyMap<number, string>;
  /**
   * Of a record of kind `told`: the numbers of the operations in it that worked on a key of which their region knew that it was not the rule's, or not yet.
   * What they took there would be something else anywhere: nobody runs them, and a state settles the key.
   */
  readonly unsettled?: ReadonlySet<number>;
  /** Whether it holds an XADD, XTRIM or FUNCTION, after which Redis may have to be looked at, as who cut it from the stream knows. Not encoded: absent, nobody has looked. */
  readonly mayNeedLook?: boolean;
  /**
   * Of a state: which operations made the values in it, by their number (see merge/carried.ts), the one that stands first, then those that it wins
   * over; none: nobody knows, and it counts as the state's own. Those that are not in it are older than all that is still told of the key. Absent: all count as the state's own.
   */
  readonly carried?: ReadonlyMap<number, readonly Source[]>;
}

/** An operation, as others know it. */
export interface Source {
  readonly origin: OriginId;
  readonly position: number;
  readonly stamp: number;
  /** What it put, where another one won over it. */
  readonly value?: Buffer;
}

/** Whether the payload is the stream's own bytes, so that operations have positions in it. */
export function isOfStream(kind: RecordKind): boolean {
  return kind === RecordKind.stream || kind === RecordKind.told;
}

export class RecordError extends Error {
  constructor(
    readonly code: 'truncated' | 'checksum' | 'version' | 'malformed' | 'too-large',
    message: string,
  ) {
    super(message);
    this.name = 'RecordError';
  }
}

/** Bytes before a record's body: length and checksum. */
export const RECORD_PREFIX_BYTES = 8;
const FIXED_BYTES = RECORD_PREFIX_BYTES + 1 + 1 + 2 + 4 + 8 + 8 + 8;
/** The largest record accepted from disk or a peer: one 512 MB value (Redis' default limit) and its header, doubled. */
export const RECORD_BYTES_MAX = 1024 * 1024 * 1024 + 64 * 1024;
/** The longest command or transaction in a stream: with what stands before it, it still fits into a record. */
export const COMMAND_BYTES_MAX = RECORD_BYTES_MAX - 1024 * 1024;

/** The region that an origin belongs to. */
export function regionOf(origin: OriginId): string {
  const colon = origin.indexOf(':');
  return colon < 0 ? origin : origin.slice(0, colon);
}

/** The origin of a region's stream under a replication ID, of what follows `from` when a snapshot was taken there. */
export function streamOrigin(region: string, replId: string, from?: number): OriginId {
  return `${region}:${replId.slice(0, 16)}${from === undefined ? '' : `@${from}`}`;
}

/**
 * What a region records while it joins has an origin of its own, which no peer hears of. Its operations become those of
 * the public origin once the region has its place in the mesh.
 */
export function privateOrigin(origin: OriginId): OriginId {
  return `${origin}${PRIVATE}`;
}

export function isPrivate(origin: OriginId): boolean {
  return origin.endsWith(PRIVATE);
}

export function publicOrigin(origin: OriginId): OriginId {
  return isPrivate(origin) ? origin.slice(0, -PRIVATE.length) : origin;
}

const PRIVATE = '~';

/** What a region records in a dry run, which nobody but other dry runs may take: its operations have seen what nobody applied. */
export function dryOrigin(region: string, nonce: string): OriginId {
  return `${region}${DRY}${nonce}`;
}

export function isDry(origin: OriginId): boolean {
  return origin.includes(DRY);
}

/** No replication ID begins with it. */
const DRY = ':dry-run-';

export function encodeRecord(record: OpRecord): Buffer {
  let size = FIXED_BYTES + 2 + record.origin.length + 2 + record.payload.length;
  for (const id of record.seen.keys()) size += 2 + id.length + 8;
  const added = record.kind === RecordKind.told ? (record.added ?? new Map<number, string>()) : null;
  const unsettled = record.kind === RecordKind.told ? record.unsettled : undefined;
  if (added !== null) {
    size += 4;
    for (const text of added.values()) size += 6 + text.length;
  }
  if (unsettled !== undefined) size += 4 + 4 * unsettled.size;
  const carried = record.kind === RecordKind.state ? record.carried : undefined;
  if (carried !== undefined) {
    size += 4;
    for (const sources of carried.values()) {
      size += 6;
      for (const { origin, value } of sources) size += 22 + origin.length + (value?.length ?? 0);
    }
  }
  const out = Buffer.allocUnsafe(size);
  out.writeUInt32LE(size - 4, 0);
  out[8] = 1;
  out[9] = carried !== undefined ? CARRYING : unsettled !== undefined ? UNSETTLED : record.kind;
  out.writeUInt16LE(record.db, 10);
  out.writeUInt32LE(record.ops, 12);
  out.writeDoubleLE(record.start, 16);
  out.writeDoubleLE(record.end, 24);
  out.writeDoubleLE(record.stamp, 32);
  let at = FIXED_BYTES;
  at = writeId(out, at, record.origin);
  out.writeUInt16LE(record.seen.size, at);
  at += 2;
  for (const [id, position] of record.seen) {
    at = writeId(out, at, id);
    out.writeDoubleLE(position, at);
    at += 8;
  }
  if (added !== null) {
    at = out.writeUInt32LE(added.size, at);
    for (const [operation, text] of added) at = writeId(out, out.writeUInt32LE(operation, at), text);
  }
  if (unsettled !== undefined) {
    at = out.writeUInt32LE(unsettled.size, at);
    for (const operation of unsettled) at = out.writeUInt32LE(operation, at);
  }
  if (carried !== undefined) {
    at = out.writeUInt32LE(carried.size, at);
    for (const [number, sources] of carried) {
      at = out.writeUInt16LE(sources.length, out.writeUInt32LE(number, at));
      for (const { origin, position, stamp, value } of sources) {
        at = out.writeDoubleLE(stamp, out.writeDoubleLE(position, writeId(out, at, origin)));
        at = out.writeUInt32LE(value === undefined ? 0 : value.length + 1, at);
        if (value !== undefined) at += value.copy(out, at);
      }
    }
  }
  record.payload.copy(out, at);
  out.writeUInt32LE(crc32(out.subarray(8)), 4);
  return out;
}

function writeId(out: Buffer, at: number, id: string): number {
  out.writeUInt16LE(id.length, at);
  out.write(id, at + 2, 'latin1');
  return at + 2 + id.length;
}

/** The whole length in bytes of the record that begins at `at`, or 0 when fewer than four bytes are there. */
export function recordLength(bytes: Buffer, at = 0): number {
  return bytes.length - at < 4 ? 0 : bytes.readUInt32LE(at) + 4;
}

/**
 * Reads one record. The payload is a view into `bytes`, not a copy.
 * @throws RecordError when the bytes are not exactly one sound record
 */
export function decodeRecord(bytes: Buffer, options: { verify: boolean } = { verify: true }): OpRecord {
  if (bytes.length < FIXED_BYTES + 4) throw new RecordError('truncated', `record of ${bytes.length} bytes`);
  const length = recordLength(bytes);
  if (length > RECORD_BYTES_MAX) throw new RecordError('too-large', `record says it has ${length} bytes`);
  if (length !== bytes.length) throw new RecordError('truncated', `record says ${length} bytes, has ${bytes.length}`);
  if (options.verify && crc32(bytes.subarray(8)) !== bytes.readUInt32LE(4))
    throw new RecordError('checksum', `record of ${length} bytes fails its checksum`);
  if (bytes[8] !== 1) throw new RecordError('version', `record version ${bytes[8]}; this agent reads version 1`);
  const written = bytes[9]!;
  const kind = kindOf(written);
  if (kind > RecordKind.told) throw new RecordError('malformed', `unknown record kind ${kind}`);
  const db = bytes.readUInt16LE(10);
  const ops = bytes.readUInt32LE(12);
  const start = bytes.readDoubleLE(16);
  const end = bytes.readDoubleLE(24);
  const stamp = bytes.readDoubleLE(32);
  if (!(start >= 0 && end >= start && stamp >= 0 && Number.isFinite(end) && Number.isSafeInteger(stamp)))
    throw new RecordError('malformed', 'record positions or stamp out of order');
  let at = FIXED_BYTES;
  const need = (n: number): void => {
    if (at + n > bytes.length) throw new RecordError('malformed', 'record header runs past its end');
  };
  const readId = (): string => {
    need(2);
    const n = bytes.readUInt16LE(at);
    need(2 + n);
    const id = bytes.toString('latin1', at + 2, at + 2 + n);
    at += 2 + n;
    return id;
  };
  const origin = readId();
  need(2);
  const entries = bytes.readUInt16LE(at);
  at += 2;
  const seen = new Map<OriginId, number>();
  for (let i = 0; i < entries; i++) {
    const id = readId();
    need(8);
    const position = bytes.readDoubleLE(at);
    if (!Number.isFinite(position)) throw new RecordError('malformed', `record has seen ${position} of an origin`);
    seen.set(id, position);
    at += 8;
  }
  const record = { kind, origin, start, end, stamp, ops, db, seen };
  if (kind !== RecordKind.told && written !== CARRYING) return { ...record, payload: bytes.subarray(at) };
  need(4);
  const numbers = bytes.readUInt32LE(at);
  at += 4;
  if (written === CARRYING) {
    const carried = new Map<number, readonly Source[]>();
    for (let i = 0; i < numbers; i++) {
      need(6);
      const number = bytes.readUInt32LE(at);
      const operations = bytes.readUInt16LE(at + 4);
      at += 6;
      const sources: Source[] = [];
      for (let j = 0; j < operations; j++) {
        const id = readId();
        need(20);
        const source = { origin: id, position: bytes.readDoubleLE(at), stamp: bytes.readDoubleLE(at + 8) };
        const length = bytes.readUInt32LE(at + 16) - 1;
        at += 20;
        if (!(Number.isFinite(source.position) && source.stamp >= 0 && Number.isSafeInteger(source.stamp)))
          throw new RecordError('malformed', 'record carries a position or stamp out of order');
        need(Math.max(0, length));
        sources.push(length < 0 ? source : { ...source, value: bytes.subarray(at, at + length) });
        at += Math.max(0, length);
      }
      carried.set(number, sources);
    }
    return { ...record, payload: bytes.subarray(at), carried };
  }
  const added = new Map<number, string>();
  for (let i = 0; i < numbers; i++) {
    need(4);
    const operation = bytes.readUInt32LE(at);
    at += 4;
    added.set(operation, readId());
  }
  const known = added.size > 0 ? { added } : {};
  if (written !== UNSETTLED) return { ...record, payload: bytes.subarray(at), ...known };
  need(4);
  const apart = bytes.readUInt32LE(at);
  at += 4;
  need(apart * 4);
  const unsettled = new Set<number>();
  for (let i = 0; i < apart; i++, at += 4) unsettled.add(bytes.readUInt32LE(at));
  return { ...record, payload: bytes.subarray(at), ...known, unsettled };
}

function kindOf(written: number): RecordKind {
  return (written === CARRYING ? RecordKind.state : written === UNSETTLED ? RecordKind.told : written) as RecordKind;
}

/** The header fields that a journal or a link needs to route a record, read without decoding the rest. */
export function peekRecord(bytes: Buffer, at = 0): { origin: OriginId; start: number; end: number; kind: RecordKind } {
  const n = bytes.readUInt16LE(at + FIXED_BYTES);
  return {
    kind: kindOf(bytes[at + 9]!),
    start: bytes.readDoubleLE(at + 16),
    end: bytes.readDoubleLE(at + 24),
    origin: bytes.toString('latin1', at + FIXED_BYTES + 2, at + FIXED_BYTES + 2 + n),
  };
}
