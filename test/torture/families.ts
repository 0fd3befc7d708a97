/**
 * Families of keys, by the beginning of their names. What is known of a key at the end follows from the commands that touch it, so
 * each family keeps to its own, and stands for one guarantee of docs/architecture.md.
 */

/**
 * - elements: "A put or a delete removes what it has seen of the element. Among live puts the highest wins."
 * - sums: increments add up, each applied exactly once.
 * - kept: nothing that was added is lost; what is removed may come twice ("done twice at most, lost never").
 * - last: the last writer's value stands, also against what it had not seen.
 * - equal: only that all regions end up equal.
 */
export type Check = 'elements' | 'sums' | 'kept' | 'last' | 'equal';

export interface Family {
  readonly check: Check;
  /** The type of `--types` it belongs to. */
  readonly type: Type;
  /**
   * The check is known to fail at times (docs/torture.md, "What it has found"): findings are told, and let a run fail only where they are asked
   * for. Keys that are settled, not merged by element.
   */
  readonly known?: true;
}

export const types = [
  'strings',
  'bitmaps',
  'counters',
  'floats',
  'hashes',
  'field-ttls',
  'sets',
  'zsets',
  'queues',
  'lists',
  'moves',
  'streams',
  'groups',
  'hll',
  'geo',
  'ttls',
  'appends',
  'functions',
  'mixed',
  'last-writers',
  'owned',
] as const;
export type Type = (typeof types)[number];

/** What agents do about all else is another path where any key has a conflict policy: so these are written where they are named. */
export const withPolicies: readonly Type[] = ['last-writers', 'owned'];
export const usualTypes = types.filter((type) => !withPolicies.includes(type));

export const families = {
  /** Strings that everybody writes and deletes. */
  str: { check: 'elements', type: 'strings' },
  /** Strings that are written once, in one region. */
  one: { check: 'elements', type: 'strings' },
  bits: { check: 'elements', type: 'bitmaps', known: true },
  count: { check: 'sums', type: 'counters' },
  hcount: { check: 'sums', type: 'counters' },
  zcount: { check: 'sums', type: 'counters' },
  /** One region's own: concurrent INCRBYFLOATs are last-writer-wins (docs/architecture.md, "Limits known today"). */
  float: { check: 'sums', type: 'floats' },
  hfloat: { check: 'sums', type: 'floats' },
  /** Floats that everybody adds to. */
  floats: { check: 'equal', type: 'floats' },
  hash: { check: 'elements', type: 'hashes' },
  /** A time to live is settled, not merged: which one holds where they met is only known to be the same everywhere. */
  fields: { check: 'equal', type: 'field-ttls' },
  set: { check: 'elements', type: 'sets' },
  zset: { check: 'elements', type: 'zsets' },
  /** A queue by score: ZPOPMIN may give an element twice. */
  zqueue: { check: 'kept', type: 'queues', known: true },
  list: { check: 'kept', type: 'lists', known: true },
  /** Lists between which elements move (LMOVE). */
  moved: { check: 'kept', type: 'moves', known: true },
  stream: { check: 'kept', type: 'streams' },
  group: { check: 'kept', type: 'groups', known: true },
  hll: { check: 'kept', type: 'hll', known: true },
  geo: { check: 'elements', type: 'geo' },
  ttl: { check: 'elements', type: 'ttls' },
  /** A string to which one region appends. */
  append: { check: 'kept', type: 'appends', known: true },
  /** Libraries of functions; no two have a function of one name. In the history they are elements of one key. */
  lib: { check: 'elements', type: 'functions' },
  /** Libraries that have a function of one name: of which one is left is only known to be the same everywhere. */
  clash: { check: 'equal', type: 'functions' },
  /** Strings that functions write. */
  called: { check: 'elements', type: 'functions' },
  /** Keys that become another type, are renamed, copied, computed. */
  mix: { check: 'equal', type: 'mixed' },
  /** Strings of the policy `lww`. */
  last: { check: 'last', type: 'last-writers' },
  /** Keys of the policy `lww` that are anything. */
  lasts: { check: 'equal', type: 'last-writers' },
  /** Hashes that one region owns, and the others' clients write, too: what those do is put back. */
  owned: { check: 'elements', type: 'owned' },
} as const satisfies Record<string, Family>;
export type FamilyName = keyof typeof families;

/** The family of a key as the history names it, with its database; undefined for a key that is no client's. */
export function familyOf(key: string): (Family & { readonly name: FamilyName }) | undefined {
  const name = /^\d+\/([a-z]+):/.exec(key)?.[1];
  if (name === undefined || !(name in families)) return undefined;
  return { name: name as FamilyName, ...families[name as FamilyName] };
}

export function isType(name: string): name is Type {
  return (types as readonly string[]).includes(name);
}
