/** A value that Pulumi encrypts in the state stands in an envelope with this signature. */
const signatureKey = '4dabf18193072939515e22adb298388d';
const secretSignature = '1b47061264138c4ac30d75fd1eb44270';

type Mapping = Record<string, unknown>;

export const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a value stands in an envelope. */
export function isSecret(value: unknown): boolean {
  return isMapping(value) && value[signatureKey] === secretSignature;
}

/** The same without envelopes. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isMapping(value)) return value;
  if (isSecret(value)) return plain(value['value']);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
