/**
 * The merge rule, once more and naively: over the complete set of operations, quadratic, without a window, without
 * folding, without the agent's code. What every region must end up with.
 */
import type { OpRecord } from '../../agent/record';
import { type Argv, parseCommands, type Value } from './redis';
import { codesIn, nameOf } from './functions';
import { killsEntry, movedBefore, placesOf, replaces } from './stream-rule';
import { compareIds } from '../../agent/merge/stream-id';

export interface RuleOp {
  readonly origin: string;
  readonly region: string;
  readonly position: number;
  readonly stamp: number;
  readonly seen: ReadonlyMap<string, number>;
  /** A key's state, sent to settle it; its commands are one operation. */
  readonly isState: boolean;
  /** Of what a state says that it stands: the state. */
  readonly carrier?: RuleOp;
  /** Of a state: which operations made what it holds. */
  readonly carried?: OpRecord['carried'];
  /** Found by comparing data: not in the stream. */
  readonly isDifference: boolean;
  /** `added`: what was added to a number, where the command says only what it made. */
  readonly commands: { readonly db: number; readonly argv: Argv; readonly added?: string }[];
}

export type ElementType = 'string' | 'hash' | 'set' | 'zset' | 'stream';

/** What one operation does to one key; `index` orders the effects of one operation. */
export type Part = { op: RuleOp; index: number } & (
  | { kind: 'put'; type: ElementType; name: string; value: string; whole: boolean; keepTtl: boolean; at: number | null }
  | { kind: 'increment'; type: ElementType; name: string; by: string }
  | { kind: 'remove'; type: ElementType; name: string }
  /** The key is a stream, with at least this last ID. */
  | { kind: 'head'; type: 'stream'; id: string }
  /** Entries below an ID go (null: all), but for those at IDs of `keep`. */
  | { kind: 'trim'; type: 'stream'; minId: string | null; keep: readonly string[] }
  | { kind: 'delete' }
  | { kind: 'ttl'; at: number | null }
  | { kind: 'verbatim' }
);

/** `verbatim`: the rule says only that all regions are equal. */
export type RuleValue =
  | {
      value: Value;
      expireAt: number | null;
      /** A collection from which elements were removed: Redis drops the time to live with the last one. */
      ttlByRedis: boolean;
    }
  | null
  | 'verbatim';

const CONTROL = new Set(['MULTI', 'EXEC', 'SELECT', 'PING', 'REPLCONF']);

export function operationsOf(record: OpRecord): RuleOp[] {
  const region = record.origin.slice(0, record.origin.indexOf(':'));
  const { origin, seen } = record;
  const commands = parseCommands(record.payload);
  if (record.kind === 1 || record.kind === 3)
    return [
      {
        origin,
        region,
        position: record.end,
        stamp: record.stamp,
        seen,
        isState: record.kind === 1,
        carried: record.carried,
        // An expiry in an agent's block is a record of this kind, too.
        isDifference: record.kind === 3 && !(commands.length === 1 && commands[0]!.argv[0] === 'UNLINK'),
        commands: commands.map(({ argv }) => ({ db: record.db, argv })),
      },
    ];
  const ops: RuleOp[] = [];
  let db = record.db;
  for (const { argv, end } of commands) {
    const name = argv[0]!.toUpperCase();
    if (name === 'SELECT') db = Number(argv[1]);
    if (CONTROL.has(name)) continue;
    const added = record.added?.get(ops.length);
    ops.push({
      origin,
      region,
      position: record.end - record.payload.length + end,
      stamp: record.stamp + ops.length,
      seen,
      isState: false,
      isDifference: false,
      commands: [{ db, argv, ...(added === undefined ? {} : { added }) }],
    });
  }
  return ops;
}

/** The operation that made a value of a state. */
function carriedOps(state: RuleOp, number: number): { op: RuleOp; value?: string }[] {
  const sources = state.carried!.get(number) ?? [{ origin: state.origin, position: -1, stamp: 0 }];
  if (sources.length === 0) return [{ op: state }];
  return sources.map(({ origin, position, stamp, value }) => {
    const region = origin.slice(0, origin.indexOf(':'));
    const op = { ...state, origin, region, position, stamp, carrier: state };
    return value === undefined ? { op } : { op, value: value.toString() };
  });
}

/** Whether a had seen b. */
export function saw(a: RuleOp, b: RuleOp): boolean {
  return a.origin === b.origin ? a.position > b.position : (a.seen.get(b.origin) ?? -1) >= b.position;
}

/** Whether two vectors say the same. */
export function sameSeen(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  if (a.size !== b.size) return false;
  for (const [origin, position] of a) if (b.get(origin) !== position) return false;
  return true;
}

export function after(a: Part, b: Part): boolean {
  const by = a.op.carrier ?? a.op;
  const { carrier } = b.op;
  if (carrier === undefined) return by === b.op ? a.index > b.index : saw(by, b.op);
  // What it tells of beside each other had not seen each other.
  if (by === carrier) return a.op.carrier === undefined && a.index > b.index;
  // Another state has to have seen this one; and what this one had seen removed nothing of it.
  return by.isState ? saw(by, carrier) : saw(by, b.op) && !saw(carrier, by);
}

export function higher(a: RuleOp, b: RuleOp): boolean {
  if (a.stamp !== b.stamp) return a.stamp > b.stamp;
  return a.region !== b.region ? a.region > b.region : a.origin > b.origin;
}

export class Rule {
  private readonly parts = new Map<string, Part[]>();
  private readonly flushes: { op: RuleOp; db: number }[] = [];
  private readonly functions: { op: RuleOp; argv: Argv }[] = [];

  add(op: RuleOp): void {
    let number = 0;
    for (const { db, argv, added } of op.commands) {
      if (argv[0] === 'FLUSHDB') this.flushes.push({ op, db });
      if (argv[0] === 'FUNCTION') {
        this.functions.push({ op, argv });
        continue;
      }
      for (const [key, part] of partsOf(argv, added)) {
        const id = `${db} ${key}`;
        const parts = this.parts.get(id) ?? [];
        const isValue = (part.kind === 'put' && part.type !== 'stream') || part.kind === 'ttl';
        const ops = op.carried !== undefined && isValue ? carriedOps(op, number++) : [{ op }];
        const at = part.kind === 'put' && op.carried !== undefined ? part.at : null;
        for (const { op: by, ...other } of ops)
          parts.push({ op: by, index: parts.length, ...part, ...(at === null ? {} : { at: null }), ...other });
        if (at !== null) parts.push({ ...carriedOps(op, number++)[0]!, index: parts.length, kind: 'ttl', at });
        this.parts.set(id, parts);
      }
    }
  }

  /** What was done to a key; FLUSHDB deletes all keys of its database. */
  private of(id: string): Part[] {
    const flushes = this.flushes.filter(({ db }) => id.startsWith(`${db} `));
    return [...(this.parts.get(id) ?? []), ...flushes.map(({ op }): Part => ({ op, index: -1, kind: 'delete' }))];
  }

  ids(): IterableIterator<string> {
    return this.parts.keys();
  }

  value(id: string): RuleValue {
    const parts = this.of(id);
    if (parts.some((part) => part.kind === 'verbatim')) return 'verbatim';
    return valueOf(parts);
  }

  /** Libraries of functions: code by name. */
  libraries(): Map<string, string> {
    const loads: { op: RuleOp; code: string }[] = [];
    const deletes: { op: RuleOp; name: string | null }[] = [];
    for (const { op, argv } of this.functions) {
      const [, sub, first, ...more] = argv;
      if (sub === 'LOAD') loads.push({ op, code: argv.at(-1)! });
      else if (sub === 'RESTORE') for (const code of codesIn(first!)) loads.push({ op, code });
      if (sub === 'DELETE') deletes.push({ op, name: first! });
      if (sub === 'FLUSH' || more[0] === 'FLUSH') deletes.push({ op, name: null });
    }
    const all = new Map<string, string>();
    for (const name of new Set(loads.map(({ code }) => nameOf(code)))) {
      const mine = loads.filter(({ code }) => nameOf(code) === name);
      const live = mine.filter(
        ({ op }) =>
          !mine.some((other) => saw(other.op, op)) &&
          !deletes.some((by) => (by.name === null || by.name === name) && saw(by.op, op)),
      );
      if (live.length > 0) all.set(name, live.reduce((a, b) => (higher(b.op, a.op) ? b : a)).code);
    }
    return all;
  }

  /** The operations on libraries, for a trace. */
  describeLibraries(): string[] {
    return this.functions
      .sort((a, b) => a.op.stamp - b.op.stamp)
      .map(({ op, argv }) => {
        const seen = [...op.seen].map(([o, p]) => `${o}=${p}`).join(',');
        return `${op.origin}@${op.position} stamp ${op.stamp} saw [${seen}] ${JSON.stringify(argv)}`;
      });
  }

  /** The operations of a key, for a trace. */
  describe(id: string): string[] {
    return this.of(id)
      .sort((a, b) => a.op.stamp - b.op.stamp || a.index - b.index)
      .map((part) => {
        const { op, index: _, ...rest } = part;
        const seen = [...op.seen].map(([o, p]) => `${o}=${p}`).join(',');
        return `${op.origin}@${op.position} stamp ${op.stamp} saw [${seen}] ${JSON.stringify(rest)}`;
      });
  }
}

type Live = Extract<Part, { kind: 'put' | 'increment' | 'head' }>;
export type EntryPut = Extract<Part, { kind: 'put' }>;

function valueOf(parts: readonly Part[]): RuleValue {
  const live = liveOf(parts);
  if (live.length === 0) return null;
  let highest = live[0]!;
  for (const part of live) if (higher(part.op, highest.op)) highest = part;
  const { type } = highest;
  const elements = live.filter((part) => part.type === type && part.kind !== 'head') as Exclude<
    Live,
    { kind: 'head' }
  >[];
  const values = new Map<string, string>();
  if (type !== 'stream')
    for (const { name } of elements) values.set(name, elementOf(elements.filter((part) => part.name === name)));
  const expireAt = ttlOf(parts, live, type);
  const ttlByRedis = parts.some(
    (part) =>
      (part.kind === 'remove' && part.type !== 'stream') ||
      (part.kind === 'put' && part.whole && part.keepTtl) ||
      // Expired in the middle of an agent's block, which may have written the key anew.
      (part.kind === 'delete' && !Number.isInteger(part.op.position)),
  );
  switch (type) {
    case 'string':
      return { value: { type, string: values.get('')! }, expireAt, ttlByRedis };
    case 'hash':
      return { value: { type, hash: values }, expireAt, ttlByRedis };
    case 'set':
      return { value: { type, set: new Set(values.keys()) }, expireAt, ttlByRedis };
    case 'zset':
      return {
        value: { type, zset: new Map([...values].map(([name, score]) => [name, scoreOf(score)!])) },
        expireAt,
        ttlByRedis,
      };
    case 'stream': {
      const heads = live.filter((part) => part.kind === 'head').map(({ id }) => id);
      const entryPuts = entriesOf(parts);
      const places = placesOf(entryPuts);
      const entries = elements
        .map((part): [string, string[]] => [places.get(part as EntryPut)!, (part as EntryPut).value.split('\n')])
        .sort(([a], [b]) => compareIds(a, b));
      // Where an entry has moved to counts, too, whether or not it is still there; not if all of the stream was deleted since.
      for (const [part, place] of [...places, ...movedBefore(entryPuts)]) {
        const isWiped = parts.some(
          (by) =>
            after(by, part) &&
            removes(by, { ...part, kind: 'head', type: 'stream', id: place }, parts) &&
            by.kind !== 'head',
        );
        if (place !== part.name && !isWiped) heads.push(place);
      }
      const lastId = heads.reduce((a, b) => (compareIds(a, b) > 0 ? a : b));
      return { value: { type, entries: new Map(entries), lastId, added: 0, maxDeleted: '0-0' }, expireAt, ttlByRedis };
    }
  }
}

function entriesOf(parts: readonly Part[]): EntryPut[] {
  return parts.filter((part): part is EntryPut => part.kind === 'put' && part.type === 'stream');
}

/** Puts and increments that nothing has removed. */
function liveOf(parts: readonly Part[]): Live[] {
  return parts.filter(
    (part): part is Live =>
      (part.kind === 'put' || part.kind === 'increment' || part.kind === 'head') &&
      !parts.some((other) => other !== part && after(other, part) && removes(other, part, parts)),
  );
}

function removes(by: Part, part: Live, parts: readonly Part[]): boolean {
  switch (by.kind) {
    case 'delete':
      return true;
    case 'put':
    case 'remove':
      if ((by.kind === 'put' && by.whole) || by.type !== part.type) return true;
      if (part.kind === 'head') return false;
      if (part.type !== 'stream') return by.name === part.name;
      if (by.kind === 'remove') return killsEntry(by, part as EntryPut, entriesOf(parts));
      return replaces(by, part as EntryPut, entriesOf(parts));
    case 'trim':
      if (part.type !== 'stream') return true;
      return part.kind !== 'head' && killsEntry(by, part as EntryPut, entriesOf(parts));
    case 'increment':
      return by.type !== part.type;
    case 'head':
      // An entry that is told of later, found by comparing data, may stand below the last ID.
      return by.type !== part.type || (part.kind === 'head' && compareIds(by.id, part.id) >= 0);
    case 'ttl':
    case 'verbatim':
      return false;
  }
}

function elementOf(live: readonly Exclude<Live, { kind: 'head' }>[]): string {
  let winner: Extract<Live, { kind: 'put' }> | null = null;
  for (const part of live) if (part.kind === 'put' && (winner === null || higher(part.op, winner.op))) winner = part;
  const increments = live.filter((part) => part.kind === 'increment').sort((a, b) => (higher(a.op, b.op) ? 1 : -1));
  const zset = live[0]!.type === 'zset';
  if (increments.length === 0) return winner!.value;
  if (zset) {
    let sum = winner === null ? 0 : scoreOf(winner.value)!;
    for (const { by } of increments) sum += scoreOf(by)!;
    return String(Number.isNaN(sum) ? 0 : sum);
  }
  const start = winner === null ? '0' : winner.value;
  if (!/^-?[0-9]+(?:\.[0-9]{1,17})?$/.test(start)) return start;
  const parts = [start, ...increments.map(({ by }) => by)];
  // Eighths: a double has them exactly.
  if (parts.some((part) => part.includes('.'))) return String(parts.reduce((sum, part) => sum + Number(part), 0));
  let sum = BigInt(start);
  for (const { by } of increments) sum += BigInt(by);
  const [low, high] = [-(2n ** 63n), 2n ** 63n - 1n];
  return String(sum < low ? low : sum > high ? high : sum);
}

function scoreOf(text: string): number | null {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return Number(text);
}

/**
 * A time to live is a put of its own. What deletes the key removes those it has seen; so does the removal of the last
 * element that its region had, and a write that begins the key anew: Redis had deleted it.
 */
function ttlOf(parts: readonly Part[], live: readonly Live[], type: ElementType): number | null {
  const ttls = parts.filter((part) => part.kind === 'ttl' || (part.kind === 'put' && part.at !== null));
  const standing = ttls.filter(
    (ttl) => !parts.some((other) => other !== ttl && after(other, ttl) && removesTtl(other, ttl, parts)),
  );
  const value = live.filter((part) => part.type === type);
  let best: Part | null = null;
  for (const ttl of standing)
    if (type !== 'string' || holdsFor(ttl, value)) if (best === null || higher(ttl.op, best.op)) best = ttl;
  return best === null ? null : (best as Extract<Part, { at: number | null }>).at;
}

/** A string's holds while the winner is one that it has seen, that it came with, or that kept it. */
function holdsFor(ttl: Part, value: readonly Live[]): boolean {
  const puts = value.filter((part) => part.kind === 'put');
  if (puts.length === 0) return value.some((part) => part.op === ttl.op || saw(ttl.op, part.op));
  const winner = puts.reduce((a, b) => (higher(b.op, a.op) ? b : a));
  const isSame = winner.op.origin === ttl.op.origin && winner.op.position === ttl.op.position;
  return isSame || saw(ttl.op, winner.op) || saw(winner.op, ttl.op);
}

function removesTtl(by: Part, ttl: Part, parts: readonly Part[]): boolean {
  const before = (): Live[] => liveOf(parts.filter((part) => after(by, part)));
  switch (by.kind) {
    case 'delete':
    case 'ttl':
      return true;
    case 'put':
      if (!by.whole) return before().length === 0;
      if (!by.keepTtl || by.at !== null) return true;
      // KEEPTTL keeps the one that held.
      return (
        before().length === 0 ||
        !holdsFor(
          ttl,
          before().filter((part) => part.type === 'string'),
        )
      );
    case 'remove':
      return by.type !== 'stream' && liveOf(parts.filter((part) => part === by || after(by, part))).length === 0;
    case 'head':
    case 'increment':
      return before().length === 0;
    case 'trim':
      return false;
    case 'verbatim':
      return false;
  }
}

type Shape<P> = P extends unknown ? Omit<P, 'op' | 'index'> : never;

function partsOf(argv: Argv, added?: string): [key: string, part: Shape<Part>][] {
  const name = argv[0]!.toUpperCase();
  const key = argv[1]!;
  const element = (type: ElementType, field: string, value: string): [string, Shape<Part>] => [
    key,
    { kind: 'put', type, name: field, value, whole: false, keepTtl: true, at: null },
  ];
  const pairs = (from: number): [string, string][] => {
    const out: [string, string][] = [];
    for (let i = from; i + 1 < argv.length; i += 2) out.push([argv[i]!, argv[i + 1]!]);
    return out;
  };
  const whole = (k: string, value: string, keepTtl = false, at: number | null = null): [string, Shape<Part>] => [
    k,
    { kind: 'put', type: 'string', name: '', value, whole: true, keepTtl, at },
  ];
  const increment = (type: ElementType, field: string, by: string): [string, Shape<Part>][] => [
    [key, { kind: 'increment', type, name: field, by }],
  ];
  const removal = (type: ElementType): [string, Shape<Part>][] =>
    argv.slice(2).map((field) => [key, { kind: 'remove', type, name: field }]);
  if (added !== undefined) {
    const field = name === 'HSET' ? argv[2] : name === 'HSETEX' ? argv[5] : undefined;
    return field === undefined ? increment('string', '', added) : increment('hash', field, added);
  }
  switch (name) {
    case 'INCRBYFLOAT':
      return increment('string', '', argv[2]!);
    case 'HINCRBYFLOAT':
      return increment('hash', argv[2]!, argv[3]!);
    case 'SET': {
      const flags = argv.slice(3).map((flag) => flag.toUpperCase());
      const at = flags.indexOf('PXAT');
      return [whole(key, argv[2]!, flags.includes('KEEPTTL'), at < 0 ? null : Number(flags[at + 1]))];
    }
    case 'SETNX':
    case 'GETSET':
      return [whole(key, argv[2]!)];
    case 'MSET':
      return pairs(1).map(([k, value]) => whole(k, value));
    case 'INCR':
    case 'DECR':
      return increment('string', '', name === 'INCR' ? '1' : '-1');
    case 'INCRBY':
      return increment('string', '', argv[2]!);
    case 'DECRBY':
      return increment('string', '', String(-BigInt(argv[2]!)));
    case 'DEL':
    case 'UNLINK':
      return argv.slice(1).map((k) => [k, { kind: 'delete' }]);
    case 'PEXPIREAT':
      return [[key, { kind: 'ttl', at: Number(argv[2]) }]];
    case 'PERSIST':
      return [[key, { kind: 'ttl', at: null }]];
    case 'HSET':
      return pairs(2).map(([field, value]) => element('hash', field, value));
    // As HINCRBYFLOAT arrives from Redis 8: HSETEX key KEEPTTL FIELDS 1 field value.
    case 'HSETEX':
      return [element('hash', argv[5]!, argv[6]!)];
    case 'HSETNX':
      return [element('hash', argv[2]!, argv[3]!)];
    case 'HINCRBY':
      return increment('hash', argv[2]!, argv[3]!);
    case 'HDEL':
      return removal('hash');
    case 'SADD':
      return argv.slice(2).map((member) => element('set', member, ''));
    case 'SREM':
      return removal('set');
    case 'ZREM':
      return removal('zset');
    case 'ZINCRBY':
      return increment('zset', argv[3]!, argv[2]!);
    case 'ZADD': {
      let i = 2;
      const flags = new Set<string>();
      for (; /^(?:NX|XX|GT|LT|CH|INCR)$/i.test(argv[i]!); i++) flags.add(argv[i]!.toUpperCase());
      if (flags.has('INCR')) return increment('zset', argv[i + 1]!, argv[i]!);
      flags.delete('CH');
      if (flags.size > 0 && argv.length - i > 2) return [[key, { kind: 'verbatim' }]];
      return pairs(i).map(([score, member]) => element('zset', member, score));
    }
    case 'XADD': {
      let i = 2;
      const more: [string, Shape<Part>][] = [];
      while (!/^[0-9]/.test(argv[i]!)) {
        const flag = argv[i++]!;
        if (flag === 'NOMKSTREAM') continue;
        if (argv[i] === '=') i++;
        const to = argv[i++]!;
        if (flag === 'MINID') more.push([key, { kind: 'trim', type: 'stream', minId: to, keep: [] }]);
        else if (to === '0') more.push([key, { kind: 'trim', type: 'stream', minId: null, keep: [] }]);
      }
      const id = argv[i]!;
      return [
        element('stream', id, argv.slice(i + 1).join('\n')),
        [key, { kind: 'head', type: 'stream', id }],
        ...more,
      ];
    }
    case 'XDEL':
      return removal('stream');
    case 'XSETID':
      return [[key, { kind: 'head', type: 'stream', id: argv[2]! }]];
    case 'XTRIM': {
      if (argv[2] === 'MAXLEN' && argv[3] !== '0') return [];
      const minId = argv[2] === 'MINID' ? argv[3]! : null;
      return [[key, { kind: 'trim', type: 'stream', minId, keep: argv[4] === 'KEEP' ? argv.slice(5) : [] }]];
    }
    case 'FLUSHDB':
      return [];
    case 'LMOVE':
      return [key, argv[2]!].map((k) => [k, { kind: 'verbatim' }]);
    default:
      return [[key, { kind: 'verbatim' }]];
  }
}
