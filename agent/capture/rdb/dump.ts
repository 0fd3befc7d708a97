/** DUMP's payload: type byte, value as in an RDB, RDB version (2 bytes), CRC-64 (8 bytes). redis/src/cluster.c, createDumpPayload. */
import { Crc64 } from './crc64';
import { Cursor, NEED_MORE } from './cursor';
import { RdbError, type RdbKeyType, RdbOpcode, type RdbValue } from './types';
import { ValueReader } from './value';

const FOOTER_BYTES = 10;

export interface DecodedDump {
  type: RdbKeyType;
  value: RdbValue;
  rdbType: number;
  rdbVersion: number;
  /** The value's bytes, without type and footer. */
  raw: Buffer;
}

/**
 * Decodes what DUMP answered.
 *
 * @throws RdbError CORRUPT (also a wrong sum), TRUNCATED, UNSUPPORTED
 */
export function decodeDump(payload: Buffer): DecodedDump {
  const footer = checkFooter(payload, 1);
  const rdbVersion = payload.readUInt16LE(footer);
  const c = new Cursor(payload.length * 128);
  c.buf = payload;
  c.limit = footer;
  try {
    let rdbType = c.byte();
    // Redis 8.6 puts what modules hung on the key in front of the type.
    if (rdbType === RdbOpcode.KEY_META_OR_SLOT_IMPORT) {
      for (let n = c.count(); n > 0; n--) {
        c.skip(4);
        c.skipModuleFields();
      }
      rdbType = c.byte();
    }
    const start = c.pos;
    const reader = new ValueReader();
    reader.begin(c, rdbType, rdbVersion);
    reader.run(c, { elements: Infinity, bytes: Infinity });
    if (c.pos !== footer) throw c.error('CORRUPT', 'bytes behind the value of a DUMP payload');
    return { type: reader.type, value: reader.take(), rdbType, rdbVersion, raw: payload.subarray(start, footer) };
  } catch (error) {
    if (error === NEED_MORE) throw new RdbError('TRUNCATED', 'a DUMP payload ends within its value', footer);
    throw error;
  }
}

/**
 * Decodes what FUNCTION DUMP answered: an RDB's entries of libraries, and the footer of a DUMP.
 *
 * @returns the libraries' code
 * @throws RdbError CORRUPT (also a wrong sum), TRUNCATED, UNSUPPORTED
 */
export function decodeFunctionDump(payload: Buffer): Buffer[] {
  const footer = checkFooter(payload, 0);
  const c = new Cursor(payload.length * 128);
  c.buf = payload;
  c.limit = footer;
  const codes: Buffer[] = [];
  try {
    while (c.pos < footer) {
      const op = c.byte();
      if (op !== RdbOpcode.FUNCTION2) throw c.error('UNSUPPORTED', `entry ${op} in a dump of functions`);
      codes.push(Buffer.from(c.string()));
    }
  } catch (error) {
    if (error === NEED_MORE) throw new RdbError('TRUNCATED', 'a dump of functions ends within a library', footer);
    throw error;
  }
  return codes;
}

/** @returns where the value ends and the footer begins */
function checkFooter(payload: Buffer, valueBytes: number): number {
  if (payload.length < FOOTER_BYTES + valueBytes) throw new RdbError('TRUNCATED', 'too short for a DUMP payload', 0);
  const footer = payload.length - FOOTER_BYTES;
  const unsummed = payload.readInt32LE(footer + 2) === 0 && payload.readInt32LE(footer + 6) === 0;
  if (!unsummed && !new Crc64().update(payload, 0, footer + 2).matches(payload, footer + 2)) {
    throw new RdbError('CORRUPT', 'the CRC-64 of a DUMP payload is wrong', footer);
  }
  return footer;
}

/**
 * Makes a payload for RESTORE of a value's bytes. A server refuses a payload of a newer RDB version than its own (before Valkey 8.1: also of another family).
 *
 * @param raw the bytes behind the type byte: `raw` of an entry
 */
export function encodeDump(rdbType: number, raw: Buffer, rdbVersion: number): Buffer {
  const out = Buffer.allocUnsafe(1 + raw.length + FOOTER_BYTES);
  out[0] = rdbType;
  raw.copy(out, 1);
  out.writeUInt16LE(rdbVersion, 1 + raw.length);
  new Crc64()
    .update(out, 0, raw.length + 3)
    .digest()
    .copy(out, raw.length + 3);
  return out;
}
