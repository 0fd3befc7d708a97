/** Which elements of a collection differ between two looks. */
import type { Arg } from '../../resp';
import { type DecodedDump, type HashItem, RdbType, type ZsetItem } from '../rdb';

const CHUNK = 512;
const NOTHING = Buffer.alloc(0);

/** Encodings of hashes without times of their fields, sets and sorted sets: the rule merges them element by element. */
const TYPES = new Set<number>([
  RdbType.HASH,
  RdbType.HASH_ZIPLIST,
  RdbType.HASH_LISTPACK,
  RdbType.SET,
  RdbType.SET_INTSET,
  RdbType.SET_LISTPACK,
  RdbType.ZSET,
  RdbType.ZSET_2,
  RdbType.ZSET_ZIPLIST,
  RdbType.ZSET_LISTPACK,
]);

/** Whether a change of what DUMP answered can be told by element. */
export function hasElements(dump: Buffer): boolean {
  return TYPES.has(dump[0]!);
}

/**
 * Commands that make the one of the other; none where both hold the same. Both are of one type, and have elements.
 * @returns null where so much differs that the whole is shorter
 */
export function elementChanges(key: Buffer, before: DecodedDump, now: DecodedDump): Arg[][] | null {
  const old = elementsOf(before);
  const put: Arg[] = [];
  let puts = 0;
  const kept = elementsOf(now);
  for (const [name, value] of kept) {
    const was = old.get(name);
    if (was?.equals(value) === true) continue;
    const bytes = Buffer.from(name, 'latin1');
    puts++;
    if (now.type === 'hash') put.push(bytes, value);
    else if (now.type === 'zset') put.push(value, bytes);
    else put.push(bytes);
  }
  const gone: Arg[] = [];
  for (const name of old.keys()) if (!kept.has(name)) gone.push(Buffer.from(name, 'latin1'));
  if (puts + gone.length > kept.size) return null;
  const [add, remove] = COMMANDS[now.type as 'hash' | 'set' | 'zset'];
  return [...chunked(add, key, put, now.type === 'set' ? CHUNK : CHUNK * 2), ...chunked(remove, key, gone, CHUNK)];
}

const COMMANDS = { hash: ['HSET', 'HDEL'], set: ['SADD', 'SREM'], zset: ['ZADD', 'ZREM'] } as const;

function* chunked(command: string, key: Buffer, args: readonly Arg[], perCommand: number): Generator<Arg[]> {
  for (let at = 0; at < args.length; at += perCommand) yield [command, key, ...args.slice(at, at + perCommand)];
}

/** By name in Latin-1. */
function elementsOf({ type, value }: DecodedDump): Map<string, Buffer> {
  const elements = new Map<string, Buffer>();
  if (type === 'hash')
    for (const [name, content] of value as HashItem[]) elements.set(name.toString('latin1'), content);
  else if (type === 'zset')
    for (const [name, score] of value as ZsetItem[]) elements.set(name.toString('latin1'), Buffer.from(score));
  else for (const name of value as Buffer[]) elements.set(name.toString('latin1'), NOTHING);
  return elements;
}
