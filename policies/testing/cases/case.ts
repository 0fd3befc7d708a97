/** For tests only: resources that are as a rule wants them, and mutations that each break one thing. */
import { isMapping, type Mapping } from '../../props';
import { type Rule } from '../../rule';

/** A resource of whatever program. */
export interface Given {
  readonly type: string;
  readonly name: string;
  readonly props: Mapping;
  readonly protect?: boolean;
  /** Names of resources that it refers to. */
  readonly dependencies?: readonly string[];
  /** The same by property. */
  readonly propertyDependencies?: Readonly<Record<string, readonly string[]>>;
  /** Type of the component that it is in. */
  readonly parent?: string;
  /** URN of its provider. */
  readonly provider?: string;
}

/** Another list of resources, with one thing that is not right. */
export interface Mutation {
  readonly change: (resources: readonly Given[]) => readonly Given[];
  /** What the rule says of it, without its last sentence. */
  readonly says: string;
  /** The place that was changed to another value: in a preview the value may be unknown. */
  readonly place?: { readonly name: string; readonly path: readonly (string | number)[] };
}

export interface Case {
  readonly rule: Rule;
  /** As a pack's config gives them. Default: none. */
  readonly settings?: Mapping;
  readonly valid: readonly Given[];
  readonly mutations: readonly Mutation[];
}

type Path = readonly (string | number)[];

/** Puts a value somewhere; undefined takes away what is there. */
export function set(name: string, path: Path, value: unknown, says: string): Mutation {
  return {
    change: (all) => changed(all, name, (one) => ({ ...one, props: put(one.props, path, value) as Mapping })),
    says,
    ...(value === undefined ? {} : { place: { name, path } }),
  };
}

/** Replaces a part of a text. */
export function edit(name: string, path: Path, from: string, to: string, says: string): Mutation {
  const replaced = (value: unknown): string => {
    if (typeof value !== 'string' || !value.includes(from))
      throw new Error(`${name}: no "${from}" at ${path.join('.')}`);
    return value.replace(from, to);
  };
  return {
    change: (all) =>
      changed(all, name, (one) => ({ ...one, props: put(one.props, path, replaced(get(one.props, path))) as Mapping })),
    says,
    place: { name, path },
  };
}

/** Puts a value somewhere in a text that is JSON; undefined takes away what is there. */
export function setIn(name: string, path: Path, inner: Path, value: unknown, says: string): Mutation {
  const replaced = (text: unknown): string => JSON.stringify(put(JSON.parse(String(text)), inner, value));
  return {
    change: (all) =>
      changed(all, name, (one) => ({ ...one, props: put(one.props, path, replaced(get(one.props, path))) as Mapping })),
    says,
    place: { name, path },
  };
}

/** Leaves a resource out. */
export const drop = (name: string, says: string): Mutation => ({
  change: (all) => changed(all, name, () => undefined),
  says,
});

/** One resource more. */
export const add = (resource: Given, says: string): Mutation => ({ change: (all) => [...all, resource], says });

/** Something else about a resource than its properties. */
export const turn = (name: string, to: Omit<Partial<Given>, 'props'>, says: string): Mutation => ({
  change: (all) => changed(all, name, (one) => ({ ...one, ...to })),
  says,
});

function changed(all: readonly Given[], name: string, change: (one: Given) => Given | undefined): readonly Given[] {
  if (all.filter((one) => one.name === name).length !== 1) throw new Error(`not one resource is called ${name}`);
  return all.flatMap((one) => (one.name === name ? (change(one) ?? []) : [one]));
}

function get(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((found, key) => (found as Record<string | number, unknown> | undefined)?.[key], value);
}

/** A copy with another value at a path. */
export function put(value: unknown, path: Path, to: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return to;
  if (typeof key === 'number') {
    const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [];
    const item = put(list[key], rest, to);
    return item === undefined ? list.toSpliced(key, 1) : list.with(key, item);
  }
  const { [key]: old, ...others } = isMapping(value) ? value : {};
  const inner = put(old, rest, to);
  return inner === undefined ? others : { ...others, [key]: inner };
}
