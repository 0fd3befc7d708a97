/** What clients do: few keys, so that they meet. */
import type { Random } from './random';
import { codeOf, payloadOf } from './functions';
import type { Argv } from './redis';

/** Which commands take part; a seed uses some of them. */
export interface Mix {
  keysPerType: number;
  strings: boolean;
  counters: boolean;
  decimals: boolean;
  hashes: boolean;
  sets: boolean;
  zsets: boolean;
  lists: boolean;
  /** Elements move between lists. */
  moves: boolean;
  /** Strings of bits, strings that are appended to, queues by score. */
  bitmaps: boolean;
  logs: boolean;
  queues: boolean;
  streams: boolean;
  ttl: boolean;
  /** How many of the commands are about times to live, where they take part. */
  ttlShare: number;
  deletes: boolean;
  transactions: boolean;
  /** Commands on keys that are of another type, or become it. */
  otherTypes: boolean;
  appends: boolean;
  otherDbs: boolean;
  /** Libraries of functions. */
  functions: boolean;
  /** To streams mostly is added. */
  grows: boolean;
}

type Kind = 'string' | 'counter' | 'decimal' | 'hash' | 'set' | 'zset' | 'list' | 'bitmap' | 'log' | 'queue' | 'stream';

const ENDS = ['LEFT', 'RIGHT'];

export class Clients {
  private serial = 0;
  private readonly kinds: Kind[];

  constructor(
    private readonly random: Random,
    private readonly mix: Mix,
    /** IDs of entries that clients may know of a stream. */
    private readonly idsOf: (key: string) => string[],
  ) {
    const kinds: [Kind, boolean][] = [
      ['string', mix.strings],
      ['counter', mix.counters],
      ['decimal', mix.decimals],
      ['hash', mix.hashes],
      ['set', mix.sets],
      ['zset', mix.zsets],
      ['list', mix.lists],
      ['bitmap', mix.bitmaps],
      ['log', mix.logs],
      ['queue', mix.queues],
      ['stream', mix.streams],
    ];
    this.kinds = kinds.filter(([, on]) => on).map(([kind]) => kind);
    if (this.kinds.length === 0) this.kinds = ['string'];
  }

  db(): number {
    return this.mix.otherDbs && this.random.chance(0.4) ? 1 : 0;
  }

  /** Keys to which elements are added that are all different. */
  addedKeys(): string[] {
    return (['list', 'log', 'queue'] as const).flatMap((kind) => this.keysOf(kind));
  }

  bitmapKeys(): string[] {
    return this.keysOf('bitmap');
  }

  /** One command, or a transaction of several. */
  commands(region: string): Argv[] {
    if (this.mix.otherDbs && this.mix.deletes && this.random.chance(0.02)) return [['FLUSHDB']];
    if (this.mix.functions && this.random.chance(0.2)) return [this.ofFunctions(region)];
    const count = this.mix.transactions && this.random.chance(0.2) ? this.random.between(2, 4) : 1;
    return Array.from({ length: count }, () => this.command(region));
  }

  private keysOf(kind: Kind): string[] {
    return Array.from({ length: this.mix.keysPerType }, (_, i) => `${kind}${i}`);
  }

  private command(region: string): Argv {
    const { random, mix } = this;
    const kind = random.pick(this.kinds);
    const key = random.pick(this.keysOf(mix.otherTypes && random.chance(0.15) ? random.pick(this.kinds) : kind));
    if (mix.deletes && random.chance(0.1)) return this.deletion(key);
    if (mix.ttl && random.chance(mix.ttlShare)) return this.ttl(key);
    return this.write(kind, key, `${region[0]}${++this.serial}`, region);
  }

  private ofFunctions(region: string): Argv {
    const { random } = this;
    const name = (): string => `lib${random.below(3)}`;
    const code = (of = name()): string => {
      // Some have a function that another library may have, too.
      const functions = random.chance(0.25) ? ['shared', of] : [of];
      return codeOf(of, `${region[0]}${++this.serial}`, functions);
    };
    const roll = random.below(12);
    if (roll < 6) return ['FUNCTION', 'LOAD', 'REPLACE', code()];
    if (roll < 7) return ['FUNCTION', 'LOAD', code()];
    if (roll < 9) return ['FUNCTION', 'DELETE', name()];
    if (roll < 10) return ['FUNCTION', 'FLUSH'];
    const payload = payloadOf(random.chance(0.5) ? [code('lib0')] : [code('lib1'), code('lib2')]);
    return ['FUNCTION', 'RESTORE', payload, random.pick(['APPEND', 'REPLACE', 'FLUSH'])];
  }

  /** As Redis writes it, and exact in a double. */
  private decimal(): string {
    return String(this.random.between(-40, 40) / 8);
  }

  private deletion(key: string): Argv {
    const { random } = this;
    const other = random.pick(this.keysOf(random.pick(this.kinds)));
    return random.pick<Argv>([
      ['DEL', key],
      ['DEL', key],
      ['DEL', key, other],
      ['unlink', key],
      ['UNLINK', key, other],
    ]);
  }

  private ttl(key: string): Argv {
    const { random } = this;
    return random.pick<Argv>([
      ['PEXPIRE', key, String(random.between(1, 300))],
      ['PEXPIRE', key, String(random.between(100, 5000))],
      ['EXPIRE', key, '10000'],
      ['EXPIRE', key, String(random.between(10_000, 20_000))],
      ['PERSIST', key],
    ]);
  }

  private write(kind: Kind, key: string, value: string, region: string): Argv {
    const { random, mix } = this;
    const field = `f${random.below(3)}`;
    const by = String(random.between(-9, 9));
    switch (kind) {
      case 'string': {
        const flags: Argv[] = [[], [], [], ['KEEPTTL'], ['NX'], ['XX']];
        if (mix.ttl) flags.push(['PX', String(random.between(1, 400))], ['EX', String(random.between(10_000, 20_000))]);
        if (mix.appends && random.chance(0.4)) return ['APPEND', key, `${value}.`];
        if (random.chance(0.1)) return ['GETSET', key, value];
        if (random.chance(0.1)) return ['MSET', key, value, random.pick(this.keysOf('string')), `${value}b`];
        return ['SET', key, value, ...random.pick(flags)];
      }
      case 'counter':
        return random.pick<Argv>([
          ['INCR', key],
          ['DECR', key],
          ['INCRBY', key, by],
          ['INCRBY', key, by],
          ['DECRBY', key, by],
          ['SET', key, String(random.below(100)), ...(random.chance(0.3) ? ['KEEPTTL'] : [])],
        ]);
      case 'decimal':
        return random.pick<Argv>([
          ['INCRBYFLOAT', key, this.decimal()],
          ['INCRBYFLOAT', key, this.decimal()],
          ['INCRBYFLOAT', key, this.decimal()],
          ['SET', key, String(random.below(9)), ...(random.chance(0.5) ? ['KEEPTTL'] : [])],
        ]);
      case 'hash':
        return random.pick<Argv>([
          ['HSET', key, field, value],
          ['HSET', key, field, value],
          ['HSET', key, field, value, `f${random.below(3)}`, `${value}b`],
          ['HSETNX', key, field, value],
          ['HDEL', key, field],
          ['HDEL', key, field, `f${random.below(3)}`],
          ['HINCRBY', key, 'n', by],
          ['HINCRBY', key, 'n', by],
          ['HINCRBYFLOAT', key, 'x', this.decimal()],
          ['HINCRBYFLOAT', key, 'x', this.decimal()],
          ['HSET', key, 'x', '0.25'],
          ['HSET', key, 'n', String(random.below(100))],
          ['HDEL', key, 'n'],
        ]);
      case 'set':
        return random.pick<Argv>([
          ['SADD', key, field],
          ['SADD', key, field, `f${random.below(3)}`],
          ['SREM', key, field],
          ['SREM', key, field, `f${random.below(3)}`],
        ]);
      case 'zset':
        return random.pick<Argv>([
          ['ZADD', key, by, field],
          ['ZADD', key, by, field, String(random.below(9)), `f${random.below(3)}`],
          ['ZADD', key, 'GT', by, field],
          ['ZADD', key, 'NX', by, field],
          ['ZADD', key, 'INCR', by, field],
          ['ZINCRBY', key, by, field],
          ['ZINCRBY', key, by, field],
          ['ZREM', key, field],
        ]);
      case 'list':
        if (mix.moves && random.chance(0.2))
          return ['LMOVE', key, random.pick(this.keysOf('list')), random.pick(ENDS), random.pick(ENDS)];
        return random.pick<Argv>([
          ['RPUSH', key, value],
          ['RPUSH', key, value],
          ['LPUSH', key, value],
          ['LPUSHX', key, value],
          ['LINSERT', key, 'BEFORE', `${region[0]}${this.serial - 1}`, value],
          ['LPOP', key],
          ['RPOP', key],
        ]);
      case 'bitmap':
        return ['SETBIT', key, String(random.below(12)), String(random.below(2))];
      case 'log':
        return ['APPEND', key, `${value}.`];
      case 'queue':
        return random.chance(0.6) ? ['ZADD', key, String(random.below(9)), value] : ['ZPOPMIN', key];
      case 'stream':
        return this.stream(key, value);
    }
  }

  private stream(key: string, value: string): Argv {
    const { random } = this;
    const add = ['*', 'v', value];
    const id = (): string => this.idOf(key);
    if (this.mix.grows && random.chance(0.85)) return ['XADD', key, ...add];
    const roll = random.below(20);
    if (roll < 11) return ['XADD', key, ...add];
    if (roll < 13) return ['XADD', key, 'MAXLEN', String(random.between(1, 6)), ...add];
    if (roll < 14) return ['XADD', key, 'MINID', id(), ...add];
    if (roll < 15) return ['XADD', key, 'NOMKSTREAM', ...add];
    if (roll < 18) return ['XDEL', key, ...(random.chance(0.3) ? [id(), id()] : [id()])];
    if (roll < 19) return ['XTRIM', key, 'MINID', id()];
    return ['XTRIM', key, 'MAXLEN', String(random.between(0, 5))];
  }

  /** Of an entry that may be there. */
  private idOf(key: string): string {
    const { random } = this;
    const ids = this.idsOf(key);
    return ids.length === 0 || random.chance(0.1) ? `${random.between(1, 9)}-0` : random.pick(ids);
  }
}
