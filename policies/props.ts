/**
 * Reading what a resource says. Nothing is read that is not asked for: in a preview a part of it may be unknown, and reading that part
 * ends the rule.
 */

export type Mapping = Readonly<Record<string, unknown>>;

export const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What stands at a path; undefined where there is nothing. A number is a place in a list. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const key of path) {
    if (typeof key === 'number' ? !Array.isArray(found) : !isMapping(found)) return undefined;
    found = (found as Mapping)[key];
  }
  return found;
}

/** Whether something stands there, without reading it. */
export const isGiven = (value: unknown, key: string): boolean => isMapping(value) && key in value;

export function textAt(value: unknown, ...path: readonly (string | number)[]): string | undefined {
  const found = at(value, ...path);
  return typeof found === 'string' ? found : undefined;
}

export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? (found as readonly unknown[]) : [];
}

export function mappingAt(value: unknown, ...path: readonly (string | number)[]): Mapping {
  const found = at(value, ...path);
  return isMapping(found) ? found : {};
}

export const textsAt = (value: unknown, ...path: readonly (string | number)[]): string[] =>
  listAt(value, ...path).filter((item) => typeof item === 'string');

/** The texts of a mapping, by key. */
export const textsOf = (value: Mapping): [string, string][] =>
  Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');

/** A value as it is shown in a message. */
export const shown = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));
