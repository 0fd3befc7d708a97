import * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, formatIssues } from '../../model';
import { counted } from '../../model/counted';

/**
 * Arguments that can't be deployed. Thrown by the constructor, before any resource is made; a RunError, so that Pulumi shows the
 * message and no stack trace.
 */
export class ArgumentError extends pulumi.RunError {
  constructor(
    className: string,
    name: string,
    readonly issues: readonly ConfigIssue[],
  ) {
    super(`${className} '${name}' has bad arguments:\n${formatIssues(issues)}`);
    this.name = 'ArgumentError';
  }
}

/** Names of the arguments that have no default. */
type Required<Args> = { [Key in keyof Args & string]-?: undefined extends Args[Key] ? never : Key }[keyof Args &
  string];

/**
 * Looks at a component's arguments before anything is made.
 * @param required all that have no default: no compiler sees to it that a program in JavaScript has them
 * @param check finds what else is wrong, where none of them is missing
 * @throws ArgumentError with everything that was found at once
 */
export function checkArguments<Args extends object>(
  className: string,
  name: string,
  args: Args,
  required: readonly Required<Args>[],
  check: () => readonly ConfigIssue[],
): void {
  const given: Partial<Args> = args ?? {};
  const missing = required
    .filter((path) => (given[path] ?? undefined) === undefined)
    .map((path) => ({ path, found: 'nothing', allowed: 'a value: it has no default' }));
  const issues = missing.length > 0 ? missing : check();
  if (issues.length > 0) throw new ArgumentError(className, name, issues);
}

/** A whole number between two limits. An absent one is not looked at: it has a default. */
export function whole(path: string, value: number | undefined, min: number, max: number, unit = ''): ConfigIssue[] {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return [];
  return [
    { path, found: String(value), allowed: `a whole number from ${min} to ${max}${unit === '' ? '' : ` (${unit})`}` },
  ];
}

/** One of the values of an `as const` object. An absent one is not looked at. */
export function oneOf(
  path: string,
  value: string | undefined,
  values: Readonly<Record<string, string>>,
): ConfigIssue[] {
  const allowed = Object.values(values);
  if (value === undefined || allowed.includes(value)) return [];
  return [{ path, found: JSON.stringify(value), allowed: allowed.join(', ') }];
}

/** A name that Services, Pods and labels can carry, with room for what is put after it. */
export function dnsLabel(path: string, value: string | undefined, lengthMax = 40): ConfigIssue[] {
  const isOne = value !== undefined && value.length <= lengthMax && /^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(value);
  const allowed = `a DNS label of 1 to ${lengthMax} lower-case letters, digits and hyphens, starting with a letter`;
  return rule(isOne, path, JSON.stringify(value), allowed);
}

/** A list of different names, at least so many. */
export function namesList(path: string, values: readonly string[], min = 1): ConfigIssue[] {
  const issues = values.flatMap((value, i) => dnsLabel(`${path}[${i}]`, value));
  values.forEach((value, i) => {
    if (values.indexOf(value) < i)
      issues.push({ path: `${path}[${i}]`, found: `"${value}" again`, allowed: 'each name once' });
  });
  if (values.length < min) issues.push({ path, found: counted(values.length, 'name'), allowed: `at least ${min}` });
  return issues;
}

/** A rule between arguments: the issue when `ok` is false. */
export function rule(ok: boolean, path: string, found: unknown, allowed: string): ConfigIssue[] {
  return ok ? [] : [{ path, found: typeof found === 'string' ? found : (JSON.stringify(found) ?? 'nothing'), allowed }];
}
