/** Which unsettled key to send the state of, when, and how it is read. */
import { type DecodedDump, decodeDump, type HashItem, RdbError, type RdbKey, toCommands } from '../capture';
import type { Batch } from '../merge/batch';
import type { KeyState } from '../merge/key-state';
import { CommandWriter, type Reply } from '../resp';

/** A key's writers get this long to come to rest before its state is read, and so long until it is sent again. */
const REST_MS = 30;
const AGAIN_MS = 1000;
/** To read one that is larger, in vain, costs too much to try again at once. */
const LARGE_BYTES = 256 * 1024;

export class Settler {
  private readonly due = new WeakMap<KeyState, number>();
  /** How long the next try waits, where clients wrote while the state was read. */
  private readonly pauseMs = new WeakMap<KeyState, number>();

  /** The one that has waited longest: others' turn comes though those before them are tried again and again. */
  choose(states: readonly KeyState[], nowMs: number): KeyState | null {
    let chosen: KeyState | null = null;
    let earliest = Infinity;
    for (const state of states) {
      const due = this.due.get(state);
      if (due === undefined) this.due.set(state, nowMs + REST_MS);
      else if (due <= nowMs && due < earliest) {
        chosen = state;
        earliest = due;
      }
    }
    if (chosen !== null) this.due.set(chosen, nowMs + AGAIN_MS);
    return chosen;
  }

  /** A client wrote while the state was read: soon again, but each time less soon. */
  retry(state: KeyState, bytes: number, nowMs: number): void {
    const pauseMs = bytes > LARGE_BYTES ? AGAIN_MS : (this.pauseMs.get(state) ?? REST_MS);
    this.due.set(state, nowMs + pauseMs);
    this.pauseMs.set(state, Math.min(pauseMs * 2, AGAIN_MS));
  }

  /** The states of these keys went out together. */
  sent(states: readonly KeyState[], nowMs: number): void {
    for (const state of states) {
      this.due.set(state, nowMs + AGAIN_MS);
      this.pauseMs.delete(state);
    }
  }

  /** Adds the commands that read the keys; two replies for each make its state. */
  read(batch: Batch, states: readonly KeyState[]): number {
    for (const { db, key: name } of states) {
      const key = Buffer.from(name, 'latin1');
      batch.select(db).command(['DUMP', key]).command(['PTTL', key]);
    }
    return states.length * 2;
  }
}

/** The states of keys of one database, one after the other. */
export function statesPayload(states: readonly KeyState[], replies: readonly Reply[], nowMs: number): Buffer {
  return Buffer.concat(states.map(({ key }, i) => statePayload(key, replies.slice(i * 2, i * 2 + 2), nowMs)));
}

/**
 * The state as commands: a delete of all that was seen, and what builds the key anew.
 * @param nowMs when Redis answered PTTL
 */
export function statePayload(key: string, [dump, ttl]: readonly Reply[], nowMs: number): Buffer {
  const bytes = Buffer.from(key, 'latin1');
  const writer = new CommandWriter(256);
  writer.command(['DEL', bytes]);
  if (Buffer.isBuffer(dump)) writeValue(writer, bytes, dump, expiry(ttl, nowMs));
  return writer.take();
}

/** What a key holds, as commands that add it to what there is; empty where there is no key. */
export function additionsPayload(key: string, [dump, ttl]: readonly Reply[], nowMs: number): Buffer {
  const writer = new CommandWriter(256);
  if (Buffer.isBuffer(dump)) writeValue(writer, Buffer.from(key, 'latin1'), dump, expiry(ttl, nowMs));
  return writer.take();
}

function expiry(ttl: Reply | undefined, nowMs: number): number | null {
  return typeof ttl === 'number' && ttl >= 0 ? nowMs + ttl : null;
}

/** Only the key's time to live, as a command; null where it has none. */
export function ttlPayload(key: string, [, ttl]: readonly Reply[], nowMs: number): Buffer | null {
  if (typeof ttl !== 'number' || ttl < 0) return null;
  return new CommandWriter(256).command(['PEXPIREAT', Buffer.from(key, 'latin1'), nowMs + ttl]).take();
}

/**
 * Fields of a hash that this region has kept, as commands, and which of them are there. What is over at `nowMs` is not: it is about to expire here, too.
 * @param nowMs when Redis answered DUMP
 */
export function fieldsPayload(
  key: string,
  names: ReadonlyMap<string, unknown>,
  [dump]: readonly Reply[],
  nowMs: number,
): { payload: Buffer; names: string[] } {
  const decoded = Buffer.isBuffer(dump) ? decodeDump(dump) : null;
  const items = decoded?.type === 'hash' ? (decoded.value as HashItem[]) : [];
  const kept = items.filter(([field, , at]) => names.has(field.toString('latin1')) && (at === null || at > nowMs));
  const writer = new CommandWriter(256);
  const bytes = Buffer.from(key, 'latin1');
  if (kept.length > 0) writer.command(['HSET', bytes, ...kept.flatMap(([field, value]) => [field, value])]);
  for (const [field, , at] of kept) if (at !== null) writer.command(['HPEXPIREAT', bytes, at, 'FIELDS', 1, field]);
  return { payload: writer.take(), names: kept.map(([field]) => field.toString('latin1')) };
}

/** What builds a key from its DUMP. */
export function writeValue(writer: CommandWriter, key: Buffer, dump: Buffer, expireAtMs: number | null): void {
  let decoded: DecodedDump;
  try {
    decoded = decodeDump(dump);
  } catch (error) {
    // A type of a newer server: it goes to servers that know it, and no key's type may end the session.
    if (!(error instanceof RdbError) || error.code !== 'UNSUPPORTED') throw error;
    writer.command(['RESTORE', key, expireAtMs ?? 0, dump, 'ABSTTL']);
    return;
  }
  const { type, value, rdbType, rdbVersion, raw } = decoded;
  const entry = { kind: 'key', db: 0, key, type, value, rdbType, rdbVersion, raw, expireAtMs, part: 0, last: true };
  toCommands(entry as RdbKey, writer);
}
