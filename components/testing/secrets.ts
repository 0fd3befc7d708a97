/** Where secrets can be read in what was recorded. */
import { isMapping, isSecret } from '../recording';
import type { Deployment } from './harness';

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
