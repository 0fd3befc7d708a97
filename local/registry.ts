import { z } from 'zod';

import { type ImageName } from '../model';
import { LocalError, errorText } from './errors';

// Asks a registry which image a tag names, as somebody without an account may: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

const timeoutMs = 10_000;

/** An image for several architectures is a list of images: its digest is the one to pin. */
const manifests = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

const tokenSchema = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/**
 * The digest of what a tag names at the moment; of no tag: of `latest`.
 * @throws LocalError REGISTRY
 */
export async function digestOf({ repository, tag = 'latest' }: Pick<ImageName, 'repository' | 'tag'>): Promise<string> {
  const { origin, path } = placeOf(repository);
  const url = `${origin}/v2/${path}/manifests/${tag}`;
  const ask = (more: Record<string, string> = {}): Promise<Response> =>
    request(url, { method: 'HEAD', headers: { accept: manifests, ...more } });
  let answer = await ask();
  if (answer.status === 401) {
    const token = await tokenFor(answer.headers.get('www-authenticate') ?? '', origin);
    if (token !== undefined) answer = await ask({ authorization: `Bearer ${token}` });
  }
  if (answer.status === 401 || answer.status === 403) throw refusal(`${origin} wants a login for ${path}`);
  if (answer.status === 404) throw refusal(`${origin} has no ${path}:${tag}`);
  if (!answer.ok) throw refusal(`${url} answered ${answer.status}`);
  const digest = answer.headers.get('docker-content-digest') ?? '';
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw refusal(`${url} answered without a digest`);
  return digest;
}

const refusal = (message: string): LocalError => new LocalError('REGISTRY', message);

/** Where a repository's registry is. Without one in its name it is Docker Hub; on one's own machine it needs no certificate, as for Docker. */
function placeOf(repository: string): { readonly origin: string; readonly path: string } {
  const [first = '', ...rest] = repository.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const [host, path] = isHost ? [first, rest.join('/')] : ['docker.io', repository];
  if (host === 'docker.io')
    return { origin: 'https://registry-1.docker.io', path: path.includes('/') ? path : `library/${path}` };
  return { origin: `${isLoopback(host) ? 'http' : 'https'}://${host}`, path };
}

const isLoopback = (host: string): boolean => /^(localhost|127\.0\.0\.1)(:\d+)?$/.test(host);

/** A token that anybody gets, where the registry says whom to ask for one: https://distribution.github.io/distribution/spec/auth/token/ */
async function tokenFor(challenge: string, origin: string): Promise<string | undefined> {
  if (!/^bearer\s/i.test(challenge)) return undefined;
  const said = new Map(Array.from(challenge.matchAll(/(\w+)="([^"]*)"/g), ([, key = '', value = '']) => [key, value]));
  const address = said.get('realm') ?? '';
  if (!URL.canParse(address)) return undefined;
  const realm = new URL(address);
  if (realm.protocol !== 'https:' && !origin.startsWith('http:')) return undefined;
  for (const key of ['service', 'scope']) if (said.has(key)) realm.searchParams.set(key, said.get(key) ?? '');
  const answer = await request(realm.href, {});
  const parsed = tokenSchema.safeParse(await answer.json().catch(() => undefined));
  // A refusal may hold anything.
  if (!answer.ok) return undefined;
  return parsed.data?.token ?? parsed.data?.access_token;
}

async function request(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    // What went wrong is the cause; the error itself says `fetch failed`.
    const cause: unknown = Reflect.get(Object(error) as object, 'cause');
    throw refusal(`${new URL(url).host} can't be reached (${errorText(cause ?? error)})`);
  }
}
