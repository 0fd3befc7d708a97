/** What effects leave that can be looked for: an element's value, a key's time to live, that there is a key. */
import type { Effect } from './effects';
import { Type } from './element';
import { nameOf } from './touches';

/** What an effect makes of an element, or of a whole key: bytes, or nothing. */
export interface Mark {
  db: number;
  key: string;
  /** Null: the whole key. */
  element: { type: Type | typeof TTL; name: string } | null;
  value: Buffer | null;
}

/** A key's time to live, as an element of it. */
export const TTL = 'ttl';

export function idOf({ db, key, element }: Omit<Mark, 'value'>): string {
  return element === null ? nameOf(db, key) : elementId(db, key, element.type, element.name);
}

export function elementId(db: number, key: string, type: Type | typeof TTL, name: string): string {
  return `${nameOf(db, key)} ${type}${name}`;
}

export function marksOf(db: number, effect: Effect): Mark[] {
  switch (effect.kind) {
    case 'set':
      return [{ db, key: effect.key, element: { type: Type.string, name: '' }, value: effect.value }];
    case 'delete':
      return [{ db, key: effect.key, element: null, value: null }];
    case 'put':
      return effect.names.map((name, i) => {
        return { db, key: effect.key, element: { type: effect.type, name }, value: effect.values[i]! };
      });
    case 'remove':
      return effect.names.map((name) => ({ db, key: effect.key, element: { type: effect.type, name }, value: null }));
    case 'ttl':
      return [{ db, key: effect.key, element: { type: TTL, name: '' }, value: timeBytes(effect.expireAt) }];
    default:
      return [];
  }
}

export function timeBytes(atMs: number | null): Buffer | null {
  return atMs === null ? null : Buffer.from(String(atMs));
}

/** The key whose time to live goes with its value, and the one that it has then; null: that stays. */
export function ttlEndedBy(effect: Effect): { key: string; next: Buffer | null } | null {
  if (effect.kind === 'set' && !effect.keepTtl) return { key: effect.key, next: timeBytes(effect.expireAt) };
  return effect.kind === 'delete' || effect.kind === 'expire' ? { key: effect.key, next: null } : null;
}

/** Times to live of which nobody can tell behind an effect: the last element may have gone, and the time with it. */
export function ttlsHiddenBy(db: number, effect: Effect): string[] {
  const keys = effect.kind === 'opaque' ? effect.keys : effect.kind === 'remove' ? [effect.key] : [];
  return keys.map((key) => elementId(db, key, TTL, ''));
}

export function hiddenBy(db: number, effect: Effect): string[] {
  switch (effect.kind) {
    case 'increment':
      return [elementId(db, effect.key, effect.type, effect.name), nameOf(db, effect.key)];
    case 'expire':
      return [nameOf(db, effect.key), elementId(db, effect.key, Type.string, '')];
    case 'set':
    case 'put':
    case 'remove':
      return [nameOf(db, effect.key)];
    case 'opaque':
      return effect.keys.flatMap((key) => [nameOf(db, key), elementId(db, key, Type.string, '')]);
    default:
      return [];
  }
}

/** Of ids that begin with a key's name, those of databases that an effect empties or swaps. */
export function wipedOf(ids: { keys(): Iterable<string> }, db: number, effect: Effect): string[] {
  if (effect.kind !== 'flush' && effect.kind !== 'swap') return [];
  const isAll = effect.kind === 'swap' || effect.scope !== 'db';
  return [...ids.keys()].filter((id) => isAll || id.startsWith(nameOf(db, '')));
}

/** Whether an effect leaves the key there, and not for a time. */
export function makes(effect: Effect): boolean {
  if (effect.kind === 'opaque') return effect.adds === true;
  if (effect.kind === 'set') return effect.expireAt === null;
  return effect.kind === 'put' || effect.kind === 'increment';
}

/** Whether an effect leaves a key there that was there. */
export function keeps({ kind }: Effect): boolean {
  return kind === 'trim' || kind === 'cap' || kind === 'lastId' || kind === 'group';
}
