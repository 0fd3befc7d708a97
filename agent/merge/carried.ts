/**
 * Which operations made what a state holds. A state is read from Redis, and sent where something can't be settled otherwise; it is no client's doing.
 * Were its values operations of its own, a DEL that had not seen the state would leave them there, though it had seen all of them, and what a client
 * wrote a moment before would lose against older values. So each value counts as the operation that made it.
 *
 * Values are numbered through the record: each element that is put (but entries of streams, whose ID says all), each string, each time to live.
 */
import type { OpRecord, Source } from '../record';
import { type Effect, parseScore } from './effects';
import { type Element, type KeyState, Type } from './key-state';
import { CarriedOp, type Op, type StateOp } from './op';
import type { OriginTable } from './origins';
import { highestTtl, winner } from './resolve';
import type { StatePart } from './state-parts';

/** PTTL is read in whole milliseconds. */
const TTL_ROUNDING_MS = 5;

export type Carried = NonNullable<OpRecord['carried']>;

/** The operations of a record's values, one after the other. */
export class CarriedOps {
  private number = 0;

  constructor(
    private readonly carried: Carried | undefined,
    private readonly op: StateOp,
    private readonly origins: OriginTable,
  ) {}

  /** Passes over what effects hold. */
  skip(effects: readonly Effect[]): void {
    for (const effect of effects) this.number += valuesIn(effect);
  }

  /** Of the next value. `value`: of one that loses to the first. */
  next(): { by: CarriedOp | StateOp; value?: Buffer }[] {
    const { carried, op } = this;
    const number = this.number++;
    if (carried === undefined) return [{ by: op }];
    const sources = carried.get(number);
    // Whoever writes has seen what is older than all that is known.
    if (sources === undefined) return [{ by: new CarriedOp({ origin: op.origin, position: -1, stamp: 0 }, op) }];
    if (sources.length === 0) return [{ by: op }];
    return sources.map(({ origin, position, stamp, value }) => {
      const by = new CarriedOp({ origin: this.origins.index(origin), position, stamp }, op);
      return value === undefined ? { by } : { by, value };
    });
  }
}

/** How many values an effect holds. */
function valuesIn(effect: Effect): number {
  if (effect.kind === 'set') return effect.expireAt === null ? 1 : 2;
  if (effect.kind === 'put') return effect.type === Type.stream ? 0 : effect.names.length;
  return effect.kind === 'ttl' ? 1 : 0;
}

/**
 * What is to be told of a state that was read here.
 * @param find what is known of a key, at the place where it was read
 */
export function carriedBy(
  parts: readonly StatePart[],
  find: (key: string) => KeyState | undefined,
  origins: OriginTable,
): Carried {
  const carried = new Map<number, readonly Source[]>();
  let number = 0;
  const note = (sources: readonly Told[] | undefined): void => {
    const isOldest = sources === undefined || (sources.length === 1 && sources[0]!.op.position < 0);
    // Absent: it is not told of.
    if (!isOldest)
      carried.set(
        number,
        sources.map(({ op: { origin, position, stamp }, value }) => {
          return { origin: origins.id(origin), position, stamp, ...(value === undefined ? {} : { value }) };
        }),
      );
    number++;
  };
  for (const { key, effects, isWhole } of parts) {
    const state = find(key);
    // What opaque commands made is no element's.
    const isKnown = isWhole && (state === undefined || (state.isKnown && state.log === null));
    const value = (type: Type, name: string, bytes: Buffer): void =>
      note(!isKnown ? [] : state === undefined ? undefined : sourcesOf(state, type, name, bytes, origins));
    for (const effect of effects)
      if (effect.kind === 'set') {
        value(Type.string, '', effect.value);
        if (effect.expireAt !== null)
          note(!isKnown ? [] : state === undefined ? undefined : ttlSourceOf(state, effect.expireAt, origins));
      } else if (effect.kind === 'put') {
        if (effect.type !== Type.stream) effect.names.forEach((name, i) => value(effect.type, name, effect.values[i]!));
      }
      // Redis drops a collection's with the last element: nothing tells whose it is.
      else if (effect.kind === 'ttl') note([]);
  }
  return carried;
}

interface Told {
  readonly op: Op;
  readonly value?: Buffer;
}

/** The one that stands at first, then those that it wins over. Undefined: it is older than what is known. None: not known. */
function sourcesOf(
  state: KeyState,
  type: Type,
  name: string,
  value: Buffer,
  origins: OriginTable,
): readonly Told[] | undefined {
  const element = state.findElement(type, name);
  if (element === undefined) return state.isBaseDead(type) ? [] : undefined;
  if (element.increments.length > 0) return [];
  const put = winner(element, origins);
  if (put === null) return element.baseDead ? [] : undefined;
  const isSame =
    type === Type.zset
      ? parseScore(put.value.toString('latin1')) === parseScore(value.toString('latin1'))
      : put.value.equals(value);
  return isSame ? [{ op: put.op }, ...element.puts.filter((other) => other !== put)] : [];
}

function ttlSourceOf(state: KeyState, at: number, origins: OriginTable): readonly Told[] | undefined {
  const ttl = highestTtl(state, origins);
  if (ttl === null) return state.ttlBaseDead ? [] : undefined;
  const { op, isDoubtful, at: known } = ttl;
  return !isDoubtful && known !== null && Math.abs(known - at) <= TTL_ROUNDING_MS ? [{ op }] : [];
}

/**
 * The same of a hash's fields that a region has kept: what made each is the operation that gave it time. Who has seen that, and removes the field, removes it
 * though what is told here be unseen.
 */
export function carriedByKept(names: readonly string[], kept: ReadonlyMap<string, Op>, origins: OriginTable): Carried {
  return new Map(
    names.map((name, number) => {
      const { origin, position, stamp } = kept.get(name)!;
      return [number, [{ origin: origins.id(origin), position, stamp }]];
    }),
  );
}

/** Puts into the window what a state holds of a key, but for what clients have removed meanwhile. */
export function insertCarried(
  state: KeyState,
  effect: Effect,
  ops: CarriedOps,
  op: StateOp,
  insert: (effect: Effect) => void,
): void {
  const isDead = (by: Op, element: { type: Type; name: string } | null): boolean =>
    by instanceof CarriedOp && state.isRemovedBeside(by, element);
  switch (effect.kind) {
    case 'set': {
      const values = ops.next().filter(({ by }) => !isDead(by, STRING));
      const ttl = effect.expireAt === null ? null : ops.next()[0]!.by;
      const isTtlGone = ttl !== null && isDead(ttl, null);
      state.wipe(op);
      for (const { by, value } of values) state.put(by, Type.string, '', value ?? effect.value);
      if (ttl !== null && !isTtlGone) state.setTtl(ttl, effect.expireAt, false);
      return;
    }
    case 'put': {
      if (effect.type === Type.stream) return insert(effect);
      const { type } = effect;
      effect.names.forEach((name, i) => {
        for (const { by, value } of ops.next())
          if (!isDead(by, { type, name })) state.put(by, type, name, value ?? effect.values[i]!, effect.keepTtl);
      });
      return;
    }
    case 'ttl':
      state.setTtl(ops.next()[0]!.by, effect.expireAt, false);
      return;
    case 'field-ttl': {
      const names = effect.names.filter((name) => state.findElement(effect.type, name)?.live === true);
      if (names.length > 0) insert({ ...effect, names });
      return;
    }
    default:
      insert(effect);
  }
}

/** Puts kept fields, with their times to live, into the window. @returns those that clients have not removed meanwhile */
export function insertKept(state: KeyState, effects: readonly Effect[], ops: CarriedOps): Element[] {
  const fields = new Map<string, { element: Element; by: Op }>();
  for (const effect of effects)
    if (effect.kind === 'put')
      effect.names.forEach((name, i) => {
        const [{ by }] = ops.next() as [{ by: CarriedOp | StateOp }];
        if (by instanceof CarriedOp && state.isRemovedBeside(by, { type: effect.type, name })) return;
        fields.set(name, { element: state.put(by, effect.type, name, effect.values[i]!), by });
      });
    else if (effect.kind === 'field-ttl')
      for (const name of effect.names) {
        const field = fields.get(name);
        if (field !== undefined) state.setFieldTtl(field.by, name, effect.expireAt);
      }
  return [...fields.values()].map(({ element }) => element);
}

const STRING = { type: Type.string, name: '' } as const;
