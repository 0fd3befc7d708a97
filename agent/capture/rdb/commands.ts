/** A value as the commands that build it from nothing: the one form that every version of every server understands. */
import { type CommandWriter } from '../../resp/encode';
import { encodeDump } from './dump';
import { type HashItem, type RdbEntry, type RdbKey, type StreamValue, type ZsetItem } from './types';

export interface ToCommandsOptions {
  /** Elements in one command at most. Default 512. */
  chunk?: number;
  /** The target is Redis 6.2: XSETID and XGROUP CREATE without counters (they came with 7.0). Default false. */
  legacyStreams?: boolean;
}

/**
 * Appends the commands that build the entry's key (or load its function library) where there is none; entries of other kinds give none.
 * The parts of a big key build it together; the last one sets the expiry. SELECT, DEL and MULTI are the caller's.
 *
 * Not rebuilt: idle time and frequency, a consumer's times, pending entries whose stream entry is deleted (XCLAIM drops them),
 * pending entries without owner, the memory of idempotent producers, metadata of modules.
 */
export function toCommands(entry: RdbEntry, writer: CommandWriter, opts: ToCommandsOptions = {}): void {
  if (entry.kind === 'function') {
    writer.command(['FUNCTION', 'LOAD', 'REPLACE', entry.library]);
    return;
  }
  if (entry.kind !== 'key') return;
  const chunk = Math.max(1, opts.chunk ?? 512);
  const { key, expireAtMs } = entry;
  switch (entry.type) {
    case 'string':
      // The expiry in the same command: a key must not be seen without its TTL.
      if (expireAtMs === null) writer.header(3).arg('SET').arg(key).arg(entry.value);
      else writer.header(5).arg('SET').arg(key).arg(entry.value).arg('PXAT').arg(expireAtMs);
      return;
    case 'list':
      elements(writer, 'RPUSH', key, entry.value, chunk);
      break;
    case 'set':
      elements(writer, 'SADD', key, entry.value, chunk);
      break;
    case 'hash':
      hash(writer, key, entry.value, chunk);
      break;
    case 'zset':
      zset(writer, key, entry.value, chunk);
      break;
    case 'stream':
      stream(writer, entry, entry.value, opts.legacyStreams === true);
      break;
    case 'module': {
      const payload = encodeDump(entry.rdbType, entry.value, entry.rdbVersion);
      writer.command(['RESTORE', key, expireAtMs ?? 0, payload, 'ABSTTL']);
      return;
    }
  }
  if (entry.last && expireAtMs !== null) writer.command(['PEXPIREAT', key, expireAtMs]);
}

function elements(writer: CommandWriter, command: string, key: Buffer, items: Buffer[], chunk: number): void {
  for (let from = 0; from < items.length; from += chunk) {
    const to = Math.min(items.length, from + chunk);
    writer
      .header(2 + to - from)
      .arg(command)
      .arg(key);
    for (let i = from; i < to; i++) writer.arg(items[i] as Buffer);
  }
}

function hash(writer: CommandWriter, key: Buffer, items: HashItem[], chunk: number): void {
  for (let from = 0; from < items.length; from += chunk) {
    const to = Math.min(items.length, from + chunk);
    writer
      .header(2 + 2 * (to - from))
      .arg('HSET')
      .arg(key);
    let expiring = false;
    for (let i = from; i < to; i++) {
      const [field, value, expireAtMs] = items[i] as HashItem;
      writer.arg(field).arg(value);
      expiring ||= expireAtMs !== null;
    }
    if (!expiring) continue;
    // One command per time: fields that expire together usually stand together.
    for (let i = from; i < to;) {
      const at = (items[i] as HashItem)[2];
      let end = i + 1;
      while (end < to && (items[end] as HashItem)[2] === at) end++;
      if (at !== null) {
        writer
          .header(5 + end - i)
          .arg('HPEXPIREAT')
          .arg(key)
          .arg(at)
          .arg('FIELDS')
          .arg(end - i);
        for (let n = i; n < end; n++) writer.arg((items[n] as HashItem)[0]);
      }
      i = end;
    }
  }
}

function zset(writer: CommandWriter, key: Buffer, items: ZsetItem[], chunk: number): void {
  for (let from = 0; from < items.length; from += chunk) {
    const to = Math.min(items.length, from + chunk);
    writer
      .header(2 + 2 * (to - from))
      .arg('ZADD')
      .arg(key);
    for (let i = from; i < to; i++) {
      const [member, score] = items[i] as ZsetItem;
      writer.arg(score).arg(member);
    }
  }
}

function stream(writer: CommandWriter, entry: RdbKey, value: StreamValue, legacy: boolean): void {
  const { key } = entry;
  for (const [id, fields] of value.entries) {
    writer
      .header(3 + fields.length)
      .arg('XADD')
      .arg(key)
      .arg(id);
    for (const field of fields) writer.arg(field);
  }
  if (!entry.last) return;
  // An empty stream exists only after something was trimmed from it. As Redis' own AOF rewrite does it (rewriteStreamObject).
  if (value.length === 0) writer.command(['XADD', key, 'MAXLEN', '0', '0-1', 'x', 'y']);
  if (legacy) writer.command(['XSETID', key, value.lastId]);
  else {
    writer.command([
      'XSETID',
      key,
      value.lastId,
      'ENTRIESADDED',
      value.entriesAdded,
      'MAXDELETEDID',
      value.maxDeletedId,
    ]);
  }
  for (const group of value.groups) {
    const create = ['XGROUP', 'CREATE', key, group.name, group.lastId];
    writer.command(
      legacy || group.entriesRead === null ? create : [...create, 'ENTRIESREAD', String(group.entriesRead)],
    );
    for (const consumer of group.consumers) {
      writer.command(['XGROUP', 'CREATECONSUMER', key, group.name, consumer.name]);
    }
    for (const p of group.pending) {
      if (p.consumer === null) continue;
      writer
        .header(12)
        .arg('XCLAIM')
        .arg(key)
        .arg(group.name)
        .arg(p.consumer)
        .arg('0')
        .arg(p.id)
        .arg('TIME')
        .arg(p.deliveryTimeMs)
        .arg('RETRYCOUNT')
        .arg(p.deliveryCount)
        .arg('JUSTID')
        .arg('FORCE');
    }
  }
}
