/** The mesh's data while a joining region loads it: its own operations are later than all of that, as they are for everybody else. */
import type { KeyEffect } from './effects';
import { type KeyState, Op, Type } from './key-state';
import type { Seen } from './origins';

export class Base {
  /** A part of it is being planned. */
  isPlanned = false;
  private lastSeen: Seen = [];
  private lastSeenWithBase: Seen = [];

  /** @param origin interned; −1: nothing is loaded */
  constructor(readonly origin: number) {}

  /** An own operation as one that has seen all of the base, also where it stands before it in the own stream. */
  after(op: Op): Op {
    const base = this.origin;
    if (base < 0 || op.origin === base) return op;
    if (op.seen !== this.lastSeen) {
      const seen = op.seen.slice();
      while (seen.length <= base) seen.push(-1);
      seen[base] = Infinity;
      this.lastSeen = op.seen;
      this.lastSeenWithBase = seen;
    }
    return new Op(op.origin, op.position, op.stamp, this.lastSeenWithBase);
  }
}

/** What is left of an effect of the base beside the own operations on the key; null for nothing. */
export function underOwn(state: KeyState, effect: KeyEffect): KeyEffect | null {
  const isDead = (type: Type, name: string): boolean =>
    state.findElement(type, name)?.baseDead ?? state.isBaseDead(type);
  switch (effect.kind) {
    case 'set':
      return isDead(Type.string, '') ? null : effect;
    case 'ttl':
      return state.ttlBaseDead ? null : effect;
    case 'put': {
      const left = effect.names.flatMap((name, i) => (isDead(effect.type, name) ? [] : [i]));
      if (left.length === effect.names.length) return effect;
      if (left.length === 0) return null;
      return { ...effect, names: left.map((i) => effect.names[i]!), values: left.map((i) => effect.values[i]!) };
    }
    case 'field-ttl': {
      const names = effect.names.filter((name) => {
        const element = state.findElement(effect.type, name);
        return !isDead(effect.type, name) && (element === undefined || element.ttls.length === 0);
      });
      return names.length === 0 ? null : { ...effect, names };
    }
    default:
      return effect;
  }
}
