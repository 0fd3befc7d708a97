/** What clients added is there, and bits are what somebody set. */
import type { Argv, Value } from '../redis';
import { type RuleOp, saw } from '../rule';
import { type Ended, isIgnored, isKept, isLastWriters } from './ended';

/**
 * What was added is there, unless a client was given it, or deleted the key and had seen it. What moves is in one of the lists; where they are
 * deleted, too, that is not looked at.
 */
export function checkAdded(ended: Ended): void {
  const keys = ended.clients.addedKeys();
  const there = new Set<string>();
  for (const { db, key, value } of ended.regions[0]!.redis.keys()) {
    if (!keys.includes(key)) continue;
    const elements = value.type === 'list' ? value.list : value.type === 'zset' ? value.zset.keys() : tokensOf(value);
    for (const element of elements) there.add(`${db} ${value.type === 'list' ? 'list' : key} ${element}`);
  }
  const touches = new Map<string, { op: RuleOp; argv: Argv }[]>();
  const flushes: RuleOp[] = [];
  for (const op of ended.log.values())
    for (const { db, argv } of op.commands) {
      if (op.isState) continue;
      if (argv[0] === 'FLUSHDB') flushes.push(op);
      for (const key of new Set(argv.slice(1).filter((arg) => keys.includes(arg)))) {
        const id = `${db} ${key}`;
        touches.set(id, [...(touches.get(id) ?? []), { op, argv }]);
      }
    }
  const isDelete = (name: string): boolean => /^(?:DEL|UNLINK)$/i.test(name);
  const { moves } = ended.profile.mix;
  const isMoved = moveToOthers(ended);
  for (const [id, mine] of touches) {
    if (isIgnored(ended, id) || isLastWriters(ended, id) || (isMoved && id.includes(' list'))) continue;
    const [db, key] = id.split(' ') as [string, string];
    const isList = key.startsWith('list');
    const deletes = [...mine.filter(({ argv }) => isDelete(argv[0]!)).map(({ op }) => op)];
    if (db === '1') deletes.push(...flushes);
    if (mine.some(({ argv }) => !isKnown(key, argv[0]!) && !isDelete(argv[0]!))) continue;
    if (
      isList &&
      moves &&
      [...touches].some(([other, ops]) => isListOf(other, db) && ops.some(({ argv }) => !isKnown('list', argv[0]!)))
    )
      continue;
    if (isList && moves && db === '1' && flushes.length > 0) continue;
    for (const { op, argv } of mine)
      for (const element of addedBy(argv)) {
        if (there.has(`${db} ${isList ? 'list' : key} ${element}`) || ended.taken.has(element)) continue;
        if (deletes.some((by) => saw(by, op))) continue;
        for (const { op: by, argv: args } of mine) ended.trace(`${by.origin}@${by.position} ${args.join(' ')}`);
        ended.fail(`${key} lost ${element}, added by ${op.origin}@${op.position}`);
      }
  }
}

/** Whether elements may move to lists that are a region's own, or stand as a whole: from there they may go as those do. */
function moveToOthers(ended: Ended): boolean {
  if (!ended.profile.mix.moves) return false;
  const ids = ended.clients.addedKeys().flatMap((key) => (key.startsWith('list') ? [`0 ${key}`, `1 ${key}`] : []));
  return ids.some((id) => isLastWriters(ended, id) || ended.regions.some(({ name }) => isKept(ended, id, name)));
}

/**
 * What lists and queues held when a Redis that clients had written without an agent was compared is there, or was given to a client: whatever others took
 * from them meanwhile. Where a client has deleted the key, or a list that it may have moved to, nothing tells what that had seen.
 */
export function checkExposed(ended: Ended): void {
  const { exposed } = ended;
  if (exposed.length === 0) return;
  const there = new Set<string>();
  for (const { db, key, value } of ended.regions[0]!.redis.keys())
    if (value.type === 'list' || value.type === 'zset')
      for (const element of value.type === 'list' ? value.list : value.zset.keys())
        there.add(`${db} ${placeOf(key)} ${element}`);
  // Elements move between lists: from the one that they went to they may go with a delete of that, or when it is over.
  const lists = ended.clients.addedKeys().filter((key) => key.startsWith('list'));
  const isMoving = ended.profile.mix.moves;
  const keys = new Set(exposed.flatMap(({ key }) => (isMoving && key.startsWith('list') ? lists : [key])));
  const spoilt = new Set<string>();
  for (const op of ended.log.values())
    for (const { db, argv } of op.commands) {
      if (op.isState) continue;
      for (const key of argv[0] === 'FLUSHDB' ? keys : argv.slice(1))
        if (keys.has(key) && !isKnown(key, argv[0]!)) spoilt.add(`${db} ${placeOf(key)}`);
    }
  const isMoved = moveToOthers(ended);
  for (const { db, key, element } of exposed) {
    if (isMoved && key.startsWith('list')) continue;
    const id = `${db} ${key}`;
    const isOthers = isIgnored(ended, id) || isLastWriters(ended, id);
    if (isOthers || ended.regions.some(({ name }) => isKept(ended, id, name))) continue;
    if (spoilt.has(`${db} ${placeOf(key)}`) || ended.taken.has(element)) continue;
    if (!there.has(`${db} ${placeOf(key)} ${element}`)) ended.fail(`${key} lost ${element}, which no agent had read`);
  }
}

/** Elements move between lists. */
function placeOf(key: string): string {
  return key.startsWith('list') ? 'list' : key;
}

/** A bit is what one of those SETBITs says that no other, and no delete, had seen. (An expiry may be void.) */
export function checkBits(ended: Ended): void {
  const keys = ended.clients.bitmapKeys();
  for (const key of keys)
    for (const db of [0, 1]) {
      if (isIgnored(ended, `${db} ${key}`) || isLastWriters(ended, `${db} ${key}`)) continue;
      const ops = [...ended.log.values()].flatMap((op) =>
        op.isState ? [] : op.commands.map((command, index) => ({ op, index, ...command })),
      );
      const mine = ops.filter(({ db: at, argv }) => at === db && (argv.includes(key) || argv[0] === 'FLUSHDB'));
      if (mine.some(({ argv }) => !/^(?:SETBIT|DEL|UNLINK|FLUSHDB)$/i.test(argv[0]!))) continue;
      const value = ended.regions[0]!.redis.entry(db, key)?.value;
      const text = value?.type === 'string' ? value.string : '';
      for (let bit = 0; bit < 12; bit++) {
        const puts = mine.filter(({ argv }) => argv[0] !== 'SETBIT' || argv[2] === String(bit));
        const live = puts.filter(
          ({ op, argv }) =>
            argv[0] === 'SETBIT' && !puts.some(({ op: by, argv: [name] }) => !/^P/.test(name!) && saw(by, op)),
        );
        const found = ((text.charCodeAt(bit >> 3) || 0) >> (7 - (bit & 7))) & 1;
        const allowed = live.length === 0 ? ['0'] : live.map(({ argv }) => argv[3]!);
        if (allowed.includes(String(found))) continue;
        for (const { op, argv } of puts) ended.trace(`${op.origin}@${op.position} stamp ${op.stamp} ${argv.join(' ')}`);
        ended.fail(`bit ${bit} of ${db} ${key} is ${found}, and should be ${allowed.join(' or ')}`);
      }
    }
}

/** What a check of what was added knows of, by the beginning of the key. */
const KNOWN: readonly [string, RegExp][] = [
  ['list', /^(?:[LR]PUSH|LPUSHX|LINSERT|LMOVE|[LR]POP|PEXPIREAT|PERSIST)$/],
  ['log', /^(?:APPEND|PEXPIREAT|PERSIST)$/],
  ['queue', /^(?:ZADD|ZPOPMIN|PEXPIREAT|PERSIST)$/],
];

function isKnown(key: string, name: string): boolean {
  return KNOWN.find(([kind]) => key.startsWith(kind))![1].test(name);
}

function isListOf(id: string, db: string): boolean {
  return id.startsWith(`${db} list`);
}

function addedBy(argv: Argv): string[] {
  switch (argv[0]) {
    case 'APPEND':
      return /\.$/.test(argv[2]!) ? [argv[2]!.slice(0, -1)] : [];
    case 'ZADD':
      return argv.length === 4 ? [argv[3]!] : [];
    case 'LINSERT':
      return [argv[4]!];
    case 'RPUSH':
    case 'LPUSH':
    case 'LPUSHX':
      return argv.slice(2);
    default:
      return [];
  }
}

function tokensOf(value: Value): string[] {
  return value.type === 'string' ? value.string.split('.') : [];
}
