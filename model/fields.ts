import * as z from 'zod';

import { parseSize } from './size';

// What a value of a stack's config may be is said once, in words, as the message of its schema: an error then reads "found …; allowed: <these
// words>".
//
// Pulumi's config knows strings only, where it isn't JSON: `pulumi config set` writes "60" and "true". Numbers and
// booleans are therefore also read from their text.

/** A mapping that knows its keys. The message lists them, so that an unknown one can be answered. */
export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const keys = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? keys.join(', ') : `a mapping with ${keys.join(', ')}`),
  });
}

function fromText(read: (text: string) => unknown) {
  return (value: unknown): unknown => (typeof value === 'string' ? (read(value.trim()) ?? value) : value);
}

const numberFromText = fromText((text) => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined));
const booleanFromText = fromText((text) => ({ true: true, false: false })[text]);

export function whole(min: number, max: number, unit = '') {
  const error = `a whole number from ${min} to ${max}${unit && ` (${unit})`}`;
  return z.preprocess(numberFromText, z.number(error).int(error).min(min, error).max(max, error));
}

/** A share of one: 0.8 is 80 %. */
export function fraction() {
  const error = 'a number from 0 to 1';
  return z.preprocess(numberFromText, z.number(error).min(0, error).max(1, error));
}

export function flag() {
  return z.preprocess(booleanFromText, z.boolean('true or false'));
}

export function choice<const Values extends readonly [string, ...string[]]>(...values: Values) {
  return z.enum(values, values.join(', '));
}

/** A size in Redis' notation; bytes once parsed. */
export function size(min: string, max = '1024gb') {
  const error = `a size from ${min} to ${max}, such as 256mb or 16gb`;
  const read = fromText(parseSize);
  const bytes = (text: string): number => parseSize(text) ?? 0;
  return z.preprocess(read, z.number(error).int(error).min(bytes(min), error).max(bytes(max), error));
}

export function text(pattern: RegExp, error: string) {
  return z.string(error).regex(pattern, error);
}

/** When a write counts as replicated. */
export const mode = choice('async', 'semi-sync');

/** A network. */
export const cidr = text(/^[0-9a-f.:]+\/\d{1,3}$/i, 'a network in CIDR notation, such as 10.0.0.0/16');

/** A name that a namespace may have. */
export const namespaceName = text(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a DNS label of up to 63 characters');
