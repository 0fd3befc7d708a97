/** Secrets in what was recorded. A value that Pulumi encrypts in the state stands in an envelope with this signature. */
import type { Deployment } from './harness';

const signatureKey = '4dabf18193072939515e22adb298388d';
const secretSignature = '1b47061264138c4ac30d75fd1eb44270';

type Mapping = Record<string, unknown>;

const isMapping = (value: unknown): value is Mapping =>
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

/**
 * Where a text that should be secret can be read by somebody who should not: outside of an envelope anywhere, and in anything but a
 * Secret of Kubernetes, a component, or what makes secrets, envelope or not: the cluster itself knows no envelopes.
 * @returns `type name path`, sorted
 */
export function leaksOf({ resources }: Pick<Deployment<unknown>, 'resources'>, canary: string): string[] {
  return resources
    .flatMap(({ type, name, raw }) => {
      const keepsSecrets = /^(kubernetes:core\/v1:Secret$|tls:|random:|meridian:)/.test(type);
      return search(raw, canary, keepsSecrets).map((path) => `${type} ${name} ${path}`);
    })
    .sort();
}

function search(value: unknown, canary: string, skipEnvelopes: boolean, path = ''): string[] {
  if (typeof value === 'string') {
    // The cluster shows base64 as readily as the text itself.
    const decoded = /^[A-Za-z0-9+/=_-]+$/.test(value) ? Buffer.from(value, 'base64').toString('latin1') : '';
    return value.includes(canary) || decoded.includes(canary) ? [path] : [];
  }
  if (Array.isArray(value)) return value.flatMap((inner, i) => search(inner, canary, skipEnvelopes, `${path}[${i}]`));
  if (!isMapping(value) || (skipEnvelopes && isSecret(value))) return [];
  if (isSecret(value)) return search(value['value'], canary, skipEnvelopes, path);
  return Object.entries(value).flatMap(([key, inner]) => search(inner, canary, skipEnvelopes, `${path}.${key}`));
}
