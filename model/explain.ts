import { nearest } from './nearest';

/** The project's name in Pulumi.yaml: the namespace of our keys in a stack's config. */
export const namespace = 'meridian';

/** One thing wrong with a config. */
export interface ConfigIssue {
  /** Where, such as `meridian:regions[1].weight`. */
  readonly path: string;
  /** What is there, shortened. */
  readonly found: string;
  /** What may be there, in words. */
  readonly allowed: string;
}

/** One line per issue, for a person. */
export function formatIssues(issues: readonly ConfigIssue[]): string {
  return issues.map(({ path, found, allowed }) => `${path}: found ${found}; allowed: ${allowed}`).join('\n');
}

/** Of a place in the config, such as `meridian:regions[1].weight`. */
export function pathOf(section: string, keys: readonly PropertyKey[]): string {
  const steps = keys.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`));
  return `${namespace}:${section}${steps.join('')}`;
}

/** The words that are known, and which of them was probably meant. */
export function suggest(word: string, known: readonly string[]): string {
  const meant = nearest(word, known);
  return meant === undefined ? known.join(', ') : `${known.join(', ')} (did you mean '${meant}'?)`;
}

/** A value as JSON, shortened. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  const text = typeof value === 'number' ? String(value) : (jsonOf(value) ?? typeof value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return 'what is no JSON'; // YAML's aliases can make a list that holds itself
  }
}
