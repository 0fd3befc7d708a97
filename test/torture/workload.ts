/** What clients do: few keys, so that they meet; every value told apart, so that it can be found again. */
import { type Random } from '../sim/random';
import { always, type Command, Key, removing, taking, unchecked } from './command';
import { families, type FamilyName, type Type } from './families';
import { clashing, codeOf, libraries } from './libraries';
import { type Effect, type Moment } from './history';

/** What a client sends at once. */
export interface Act {
  readonly db: number;
  /** One command; a transaction; a script that runs them. */
  readonly how: 'plain' | 'multi' | 'lua';
  readonly commands: readonly Command[];
}

export interface WorkloadOptions {
  readonly types: readonly Type[];
  /** All there are. */
  readonly regions: readonly string[];
  /** Keys of each family that everybody writes. */
  readonly hotKeys: number;
  readonly databases: readonly number[];
}

type Maker = (own: Own) => Command;
/** Whose command it is, and where. */
interface Own {
  readonly db: number;
}

const membersPerKey = 12;
const bitsPerKey = 64;
const shortMs = { min: 100, max: 3000 } as const;
const longMs = 3_600_000;
/** Of the commands of a hot family so many remove what others add. */
const removes = 0.3;

/** One client's commands: the same seed gives the same ones. */
export class Workload {
  private serial = 0;
  private readonly makers: readonly (readonly [FamilyName, Maker])[];

  constructor(
    private readonly random: Random,
    /** Unique among all clients; begins with the region's name. */
    private readonly client: string,
    private readonly region: string,
    private readonly options: WorkloadOptions,
  ) {
    const makers: Record<FamilyName, Maker> = {
      str: (own) => this.string(own),
      one: (own) => this.once(own),
      bits: (own) => this.bit(own),
      count: (own) => this.counter(own),
      hcount: (own) => this.sumOf(own, 'hcount'),
      zcount: (own) => this.sumOf(own, 'zcount'),
      float: (own) => this.float(own, 'float'),
      hfloat: (own) => this.float(own, 'hfloat'),
      floats: (own) => unchecked('INCRBYFLOAT', this.hot(own, 'floats').name, this.random.between(1, 8) / 4),
      hash: (own) => this.hash(own),
      fields: (own) => this.field(own),
      set: (own) => this.set(own),
      zset: (own) => this.sortedSet(own),
      zqueue: (own) => this.sortedQueue(own),
      list: (own) => this.list(own, 'list'),
      moved: (own) => this.move(own),
      stream: (own) => this.stream(own, 'stream'),
      group: (own) => this.group(own),
      hll: (own) => this.estimate(own),
      geo: (own) => this.geo(own),
      ttl: (own) => this.timeToLive(own),
      append: (own) => this.append(own),
      lib: () => this.library(),
      clash: () => this.clash(),
      called: (own) => this.call(own),
      mix: (own) => this.mixed(own, 'mix'),
      last: (own) => this.last(own),
      lasts: (own) => this.mixed(own, 'lasts'),
      owned: (own) => this.owned(own),
    };
    this.makers = (Object.entries(makers) as [FamilyName, Maker][]).filter(([name]) =>
      options.types.includes(families[name].type),
    );
  }

  next(): Act {
    const { random } = this;
    const own = { db: random.chance(0.6) ? this.options.databases[0]! : random.pick(this.options.databases) };
    const how = random.weighted({ plain: 8, multi: 1.5, lua: 1 });
    const count = how === 'plain' ? 1 : random.between(2, 5);
    return { db: own.db, how, commands: Array.from({ length: count }, () => random.pick(this.makers)[1](own)) };
  }

  // ——— names

  private token(): string {
    return `${this.client}.${++this.serial}`;
  }

  private hot(own: Own, family: FamilyName): Key {
    return new Key(own.db, `${family}:${this.random.below(this.options.hotKeys)}`);
  }

  private mine(own: Own, family: FamilyName): Key {
    return new Key(own.db, `${family}:${this.region}`);
  }

  private member(): string {
    return `m${this.random.below(membersPerKey)}`;
  }

  private by(): number {
    return this.random.between(-3, 9) || 1;
  }

  // ——— strings

  private string(own: Own): Command {
    const key = this.hot(own, 'str');
    const value = this.token();
    const put = [key.put('', value)];
    if (this.random.chance(removes)) return removing(this.random.pick(['DEL', 'GETDEL']), key, '');
    switch (this.random.below(3)) {
      case 0:
        return always(['SET', key.name, value], put);
      case 1:
        return always(['GETSET', key.name, value], put);
      default:
        return always(['SET', key.name, value, this.random.pick(['XX', 'NX'])], put, (reply) => reply !== null);
    }
  }

  private once(own: Own): Command {
    const value = this.token();
    const [a, b] = [new Key(own.db, `one:${value}`), new Key(own.db, `one:${value}b`)];
    return this.random.chance(0.5)
      ? always(['SET', a.name, value], [a.put('', value)])
      : always(['MSET', a.name, value, b.name, value], [a.put('', value), b.put('', value)]);
  }

  private bit(own: Own): Command {
    const key = this.hot(own, 'bits');
    const [offset, bit] = [this.random.below(bitsPerKey), this.random.below(2)];
    // A bit that stands as it is to stand is no change, and is not replicated.
    const effect = bit === 1 ? key.put(String(offset), '1') : key.remove(String(offset));
    return always(['SETBIT', key.name, offset, bit], [effect], (old) => old !== bit);
  }

  private append(own: Own): Command {
    const key = this.mine(own, 'append');
    const token = this.token();
    return always(['APPEND', key.name, `${token}|`], [key.give(token)]);
  }

  // ——— numbers

  private counter(own: Own): Command {
    const key = this.hot(own, 'count');
    const by = this.by();
    const effects = [key.add('', by)];
    return by > 0 ? always(['INCRBY', key.name, by], effects) : always(['DECRBY', key.name, -by], effects);
  }

  private sumOf(own: Own, family: 'hcount' | 'zcount'): Command {
    const key = this.hot(own, family);
    const [field, by] = [`f${this.random.below(3)}`, this.by()];
    const args = family === 'hcount' ? ['HINCRBY', key.name, field, by] : ['ZINCRBY', key.name, by, field];
    return always(args, [key.add(field, by)]);
  }

  private float(own: Own, family: 'float' | 'hfloat'): Command {
    const key = this.mine(own, family);
    const by = this.random.between(-40, 80) / 4;
    return family === 'float'
      ? always(['INCRBYFLOAT', key.name, by], [key.add('', by)])
      : always(['HINCRBYFLOAT', key.name, 'f', by], [key.add('f', by)]);
  }

  // ——— collections, by element

  private hash(own: Own): Command {
    return this.fieldOf(this.hot(own, 'hash'));
  }

  private fieldOf(key: Key): Command {
    const field = this.member();
    if (this.random.chance(removes)) return removing('HDEL', key, field);
    if (this.random.chance(0.02)) return removing('DEL', key, null);
    const value = this.token();
    if (this.random.chance(0.2))
      return always(['HSETNX', key.name, field, value], [key.put(field, value)], (reply) => reply === 1);
    const once = `once.${value}`;
    return this.random.chance(0.5)
      ? always(['HSET', key.name, field, value], [key.put(field, value)])
      : always(['HSET', key.name, field, value, once, value], [key.put(field, value), key.put(once, value)]);
  }

  private set(own: Own): Command {
    const key = this.hot(own, 'set');
    const member = this.member();
    if (this.random.chance(removes)) return removing('SREM', key, member);
    if (this.random.chance(0.02)) return removing(this.random.pick(['DEL', 'UNLINK']).toLowerCase(), key, null);
    if (this.random.chance(0.05))
      return {
        args: ['SPOP', key.name],
        done: (reply) => (Buffer.isBuffer(reply) ? [key.remove(reply.toString())] : []),
        maybe: () => [key.remove(null)],
      };
    // A member that is there already is no change, and is not replicated: nothing was added that a removal elsewhere could miss.
    const token = this.random.chance(0.3) ? this.token() : member;
    return always(['SADD', key.name, token], [key.put(token, '')], (reply) => reply === 1);
  }

  private sortedSet(own: Own): Command {
    const key = this.hot(own, 'zset');
    const member = this.member();
    if (this.random.chance(removes)) return removing('ZREM', key, member);
    if (this.random.chance(0.02)) return removing('DEL', key, null);
    const score = this.score();
    const flag = this.random.chance(0.3) ? [this.random.pick(['NX', 'XX', 'GT', 'LT'])] : [];
    return always(['ZADD', key.name, ...flag, 'CH', score, member], [key.put(member, String(score))], (n) => n === 1);
  }

  private geo(own: Own): Command {
    const key = this.hot(own, 'geo');
    const member = this.member();
    if (this.random.chance(removes)) return removing('ZREM', key, member);
    const [longitude, latitude] = [this.random.between(-170, 170), this.random.between(-80, 80)];
    return always(['GEOADD', key.name, 'CH', longitude, latitude, member], [key.put(member, '')], (n) => n === 1);
  }

  /** A number of its own for each put. */
  private score(): number {
    return this.random.below(1_000_000) * 1000 + (++this.serial % 1000);
  }

  private field(own: Own): Command {
    const key = this.hot(own, 'fields');
    const field = this.member();
    switch (this.random.below(6)) {
      case 0:
      case 1:
        return unchecked('HSET', key.name, field, this.token());
      case 2:
        return unchecked('HPEXPIRE', key.name, this.random.between(shortMs.min, shortMs.max), 'FIELDS', 1, field);
      case 3:
        return unchecked('HPEXPIRE', key.name, longMs, 'FIELDS', 1, field);
      case 4:
        return unchecked('HPERSIST', key.name, 'FIELDS', 1, field);
      default:
        return unchecked('HDEL', key.name, field);
    }
  }

  // ——— what is given and taken

  private estimate(own: Own): Command {
    const key = this.hot(own, 'hll');
    const token = this.token();
    return always(['PFADD', key.name, token], [key.give(token)]);
  }

  private list(own: Own, family: 'list' | 'moved'): Command {
    const key = this.hot(own, family);
    if (this.random.chance(0.45)) {
      const token = this.token();
      return always([this.random.pick(['LPUSH', 'RPUSH']), key.name, token], [key.give(token)]);
    }
    return taking([this.random.pick(['LPOP', 'RPOP']), key.name], key, (reply) =>
      Buffer.isBuffer(reply) ? reply.toString() : null,
    );
  }

  private move(own: Own): Command {
    if (!this.random.chance(0.2)) return this.list(own, 'moved');
    const [from, to] = [this.hot(own, 'moved').name, this.hot(own, 'moved').name];
    return unchecked('LMOVE', from, to, this.random.pick(['LEFT', 'RIGHT']), 'LEFT');
  }

  private sortedQueue(own: Own): Command {
    const key = this.hot(own, 'zqueue');
    if (this.random.chance(0.6)) {
      const token = this.token();
      return always(['ZADD', key.name, this.score(), token], [key.give(token)]);
    }
    return taking([this.random.pick(['ZPOPMIN', 'ZPOPMAX']), key.name], key, (reply) => {
      const first = Array.isArray(reply) ? reply[0] : null;
      return Buffer.isBuffer(first) ? first.toString() : null;
    });
  }

  private stream(own: Own, family: 'stream' | 'group'): Command {
    const key = this.hot(own, family);
    const token = this.token();
    return {
      args: ['XADD', key.name, '*', 'token', token],
      done: (reply) => [{ ...key.give(token), ...(Buffer.isBuffer(reply) ? { id: reply.toString() } : {}) }],
      maybe: () => [key.give(token)],
    };
  }

  private group(own: Own): Command {
    const key = this.hot(own, 'group');
    switch (this.random.below(6)) {
      case 0:
        return unchecked('XGROUP', 'CREATE', key.name, 'workers', '0', 'MKSTREAM');
      case 1:
        return unchecked('XREADGROUP', 'GROUP', 'workers', this.region, 'COUNT', 2, 'STREAMS', key.name, '>');
      case 2:
        // Takes over what somebody has read and not acknowledged.
        return unchecked('XAUTOCLAIM', key.name, 'workers', this.region, 0, '0', 'COUNT', 1);
      default:
        return this.stream(own, 'group');
    }
  }

  // ——— times to live

  private timeToLive(own: Own): Command {
    const key = this.hot(own, 'ttl');
    const ms = this.random.chance(0.5) ? this.random.between(shortMs.min, shortMs.max) : longMs;
    const value = this.token();
    const expires = (ran: Moment): Moment => ({ fromMs: ran.fromMs + ms, toMs: ran.toMs + ms });
    switch (this.random.below(7)) {
      case 0:
      case 1: {
        const put = (ran: Moment): Effect[] => [{ ...key.put('', value), expires: expires(ran) }];
        return { args: ['SET', key.name, value, 'PX', ms], done: (_, ran) => put(ran), maybe: put };
      }
      case 2:
        return always(['SET', key.name, value], [key.put('', value)]);
      case 3:
      case 4: {
        const set = (ran: Moment): Effect[] => [{ kind: 'expire', key: key.id, expires: expires(ran) }];
        const args = ['PEXPIRE', key.name, ms];
        return { args, done: (reply, ran) => (reply === 1 ? set(ran) : []), maybe: set };
      }
      case 5:
        return always(['PERSIST', key.name], [{ kind: 'expire', key: key.id, expires: null }], (reply) => reply === 1);
      default:
        return removing('DEL', key, '');
    }
  }

  // ——— functions

  private library(): Command {
    const { random } = this;
    const name = this.hotLibrary();
    if (random.chance(removes)) return always(['FUNCTION', 'DELETE', name], [libraries.remove(name)]);
    if (random.chance(0.004)) return always(['FUNCTION', 'FLUSH'], [libraries.remove(null)]);
    const mark = this.token();
    if (random.chance(0.1)) {
      const once = `once_${mark.replace('.', '_')}`;
      return always(['FUNCTION', 'LOAD', codeOf(once, mark, once)], [libraries.put(once, mark)]);
    }
    const replace = random.chance(0.8) ? ['REPLACE'] : [];
    return always(['FUNCTION', 'LOAD', ...replace, codeOf(name, mark, name)], [libraries.put(name, mark)]);
  }

  private hotLibrary(): string {
    return `lib${this.random.below(this.options.hotKeys)}`;
  }

  private clash(): Command {
    const name = `${clashing}${this.random.below(3)}`;
    return this.random.chance(0.5)
      ? unchecked('FUNCTION', 'DELETE', name)
      : unchecked('FUNCTION', 'LOAD', 'REPLACE', codeOf(name, this.token(), clashing));
  }

  private call(own: Own): Command {
    const key = this.hot(own, 'called');
    const value = this.token();
    return always(['FCALL', this.hotLibrary(), 1, key.name, value], [key.put('', value)]);
  }

  // ——— with a conflict policy

  private last(own: Own): Command {
    const key = this.hot(own, 'last');
    if (this.random.chance(removes)) return removing('DEL', key, '');
    const value = this.token();
    return always([this.random.pick(['SET', 'GETSET']), key.name, value], [key.put('', value)]);
  }

  private owned(own: Own): Command {
    const { random } = this;
    const owner = random.chance(0.7) ? this.region : random.pick(this.options.regions);
    const key = new Key(own.db, `owned:${owner}:${random.below(this.options.hotKeys)}`);
    if (owner === this.region) return this.fieldOf(key);
    // Nothing of this is to be there in the end.
    switch (random.below(4)) {
      case 0:
        return unchecked('DEL', key.name);
      case 1:
        return unchecked('HDEL', key.name, this.member());
      default:
        return unchecked('HSET', key.name, this.member(), this.token());
    }
  }

  // ——— anything

  private mixed(own: Own, family: 'mix' | 'lasts'): Command {
    const { random } = this;
    const [key, other] = [this.hot(own, family).name, this.hot(own, family).name];
    const token = this.token();
    const makers: (() => Command)[] = [
      () => unchecked('SET', key, token),
      () => unchecked('SET', key, token, 'KEEPTTL'),
      () => unchecked('SET', key, random.below(100)),
      () => unchecked('INCR', key),
      () => unchecked('APPEND', key, token),
      () => unchecked('SETRANGE', key, random.below(20), token),
      () => unchecked('BITFIELD', key, 'SET', 'u8', random.below(40), random.below(256)),
      () => unchecked('HSET', key, this.member(), token),
      () => unchecked('HDEL', key, this.member()),
      () => unchecked('SADD', key, this.member(), token),
      () => unchecked('SREM', key, this.member()),
      () => unchecked('ZADD', key, random.below(100), this.member()),
      () => unchecked('ZREMRANGEBYRANK', key, 0, 1),
      () => unchecked('RPUSH', key, token),
      () => unchecked('LSET', key, 0, token),
      () => unchecked('LTRIM', key, 0, 5),
      () => unchecked('LREM', key, 1, token),
      () => unchecked('XADD', key, 'MAXLEN', 20, '*', 'f', token),
      () => unchecked('XTRIM', key, 'MAXLEN', 5),
      () => unchecked('PFADD', key, token),
      () => unchecked('RENAME', key, other),
      () => unchecked('COPY', key, other, 'REPLACE'),
      () => unchecked('SUNIONSTORE', key, key, other),
      () => unchecked('ZUNIONSTORE', key, 2, key, other),
      () => unchecked('SORT', key, 'ALPHA', 'STORE', other),
      () => unchecked('DEL', key),
      () => unchecked('PEXPIRE', key, random.between(shortMs.min, shortMs.max)),
      () => unchecked('EXPIRE', key, 3600),
      () => unchecked('PERSIST', key),
    ];
    return random.pick(makers)();
  }
}
