import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { freePort } from '../agent/free-port';
import { digestOf } from './registry';
import { Cleanup, Meridian, until } from './testing';

jest.setTimeout(60_000);

const digest = `sha256:${'b2'.repeat(32)}`;
const token = 'for-anybody';

/** A registry as far as it is asked here: one that wants a token, which it gives to everybody for what is public. */
class Registry {
  readonly asked: string[] = [];

  private constructor(private readonly server: Server) {}

  static async start(): Promise<Registry> {
    const server = createServer();
    const registry = new Registry(server);
    server.on('request', (request, response) => registry.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer({ method, url = '', headers }: IncomingMessage, response: ServerResponse): void {
    this.asked.push(`${method} ${url}`);
    const end = (status: number, more: Record<string, string> = {}, body = ''): void =>
      void response.writeHead(status, more).end(body);
    if (url.startsWith('/token?')) {
      const { searchParams } = new URL(url, 'http://registry');
      const isPublic = searchParams.get('service') === 'tests' && searchParams.get('scope')?.includes(':team/');
      return isPublic ? end(200, {}, JSON.stringify({ token })) : end(401);
    }
    const [, repository = '', tag = ''] = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(url) ?? [];
    if (repository === 'basic') return end(401, { 'www-authenticate': 'Basic realm="tests"' });
    if (repository === 'broken') return end(500);
    if (headers.authorization !== `Bearer ${token}`) {
      const realm = `http://${this.host}/token`;
      const scope = `repository:${repository}:pull`;
      return end(401, { 'www-authenticate': `Bearer realm="${realm}",service="tests",scope="${scope}"` });
    }
    // Of one architecture alone it has another digest.
    const isIndex = headers.accept?.startsWith('application/vnd.oci.image.index.v1+json') ?? false;
    if (tag === 'none') return end(404);
    if (tag === 'without') return end(200);
    end(200, { 'docker-content-digest': isIndex ? digest : digest.replace('b', 'c') });
  }
}

const cleanup = new Cleanup();
afterAll(() => cleanup.run());
let registry: Registry;
beforeAll(async () => {
  registry = await Registry.start();
  cleanup.add(() => registry.stop());
});

test('the digest of a tag, with a token that anybody gets', async () => {
  expect(await digestOf({ repository: `${registry.host}/team/meridian`, tag: '1' })).toBe(digest);
  expect(registry.asked).toEqual([
    'HEAD /v2/team/meridian/manifests/1',
    'GET /token?service=tests&scope=repository%3Ateam%2Fmeridian%3Apull',
    'HEAD /v2/team/meridian/manifests/1',
  ]);
  expect(await digestOf({ repository: `${registry.host}/team/meridian`, tag: undefined })).toBe(digest);
  expect(registry.asked.at(-1)).toBe('HEAD /v2/team/meridian/manifests/latest');
});

test.each([
  ['private/meridian', '1', /wants a login for private\/meridian/],
  ['basic', '1', /wants a login for basic/],
  ['team/meridian', 'none', /has no team\/meridian:none/],
  ['team/meridian', 'without', /answered without a digest/],
  ['broken', '1', /answered 500/],
])('%s:%s', async (repository, tag, message) => {
  await expect(digestOf({ repository: `${registry.host}/${repository}`, tag })).rejects.toThrow(message);
});

test('a registry that is not there', async () => {
  const gone = await Registry.start();
  const { host } = gone;
  await gone.stop();
  await expect(digestOf({ repository: `${host}/meridian`, tag: '1' })).rejects.toThrow(
    new RegExp(`${host} can't be reached \\(.*ECONNREFUSED`),
  );
});

// --- A registry as others run it: https://github.com/distribution/distribution

const distribution = [process.env['MERIDIAN_DOCKER_REGISTRY'], 'docker-registry'].find(
  (name) => name !== undefined && spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);
const testDistribution = distribution === undefined ? test.skip : test;
const missing = distribution === undefined ? " (skipped: none here; install Debian's `docker-registry`)" : '';

/** What is pushed by its digest, and tagged. */
class Pushing {
  constructor(private readonly url: string) {}

  async blob(text: string): Promise<{ digest: string; size: number }> {
    const begun = await fetch(`${this.url}/blobs/uploads/`, { method: 'POST', headers: { authorization } });
    const place = new URL(begun.headers.get('location') ?? '', this.url);
    place.searchParams.set('digest', sha256(text));
    await this.put(place.href, text, 'application/octet-stream');
    return { digest: sha256(text), size: text.length };
  }

  async manifest(tag: string, of: { readonly mediaType: string }): Promise<{ digest: string; size: number }> {
    const text = JSON.stringify({ schemaVersion: 2, ...of });
    await this.put(`${this.url}/manifests/${tag}`, text, of.mediaType);
    return { digest: sha256(text), size: text.length };
  }

  private async put(url: string, body: string, type: string): Promise<void> {
    const answer = await fetch(url, { method: 'PUT', body, headers: { authorization, 'content-type': type } });
    expect([url, answer.status]).toEqual([url, 201]);
  }
}

const authorization = 'Bearer whatever';
const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

testDistribution(`of a registry as others run it: a list's digest, after a token${missing}`, async () => {
  const dir = cleanup.dir();
  const host = `127.0.0.1:${await freePort()}`;
  const config = {
    ...{ version: '0.1', log: { level: 'error', accesslog: { disabled: true } }, http: { addr: host } },
    storage: { filesystem: { rootdirectory: path.join(dir, 'data') } },
    // It asks for a token as others do, and takes any.
    auth: { silly: { realm: `http://${registry.host}/token`, service: 'tests' } },
  };
  const file = path.join(dir, 'config.yml');
  writeFileSync(file, JSON.stringify(config));
  const server = spawn(distribution!, ['serve', file], { stdio: 'ignore' });
  cleanup.add(async () => {
    const closed = once(server, 'close');
    server.kill('SIGKILL');
    await closed;
  });
  const listens = (): Promise<boolean> =>
    fetch(`http://${host}/v2/`).then(
      ({ status }) => status === 401,
      () => false,
    );
  await until('the registry listens', listens);
  const pushing = new Pushing(`http://${host}/v2/team/meridian`);
  const blob = await pushing.blob('{"architecture":"amd64","os":"linux"}');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const image = { mediaType, config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...blob }, layers: [] };
  const one = await pushing.manifest('amd64', image);
  const platform = { architecture: 'amd64', os: 'linux' };
  const index = { mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [{ mediaType, ...one, platform }] };
  const all = await pushing.manifest('1', index);

  const repository = `${host}/team/meridian`;
  expect(await digestOf({ repository, tag: '1' })).toBe(all.digest);
  expect(await digestOf({ repository, tag: 'amd64' })).toBe(one.digest);
  await expect(digestOf({ repository, tag: '2' })).rejects.toThrow('has no team/meridian:2');
  await expect(digestOf({ repository: `${host}/others/meridian`, tag: '1' })).rejects.toThrow('wants a login');
});

describe('meridian images --resolve', () => {
  let meridian: Meridian;
  beforeAll(() => (meridian = new Meridian(cleanup.dir())));

  const write = (redisImage: string): void => {
    const regions = [{ name: 'us-west-2', primary: true }, { name: 'eu-central-1' }];
    const pinned = `exporter@sha256:${'a1'.repeat(32)}`;
    const images = { agentImage: `${registry.host}/team/meridian:1`, redisImage, exporterImage: pinned };
    const config = { 'meridian:regions': regions, 'meridian:kubernetes': images };
    writeFileSync(path.join(meridian.cwd, 'Pulumi.demo.yaml'), JSON.stringify({ config }));
  };

  test('says what to write into the config', async () => {
    write(`${registry.host}/team/redis`);
    const { status, stdout, stderr } = await meridian.run('images', '--stack', 'demo', '--resolve');
    expect([status, stderr]).toEqual([0, '']);
    const set = 'pulumi config set --stack demo --path meridian:kubernetes';
    expect(stdout).toContain(
      `\n  ${registry.host}/team/meridian:1 is, at the moment:\n  ${set}.agentImage ${registry.host}/team/meridian@${digest}\n`,
    );
    expect(stdout).toContain(
      `\n  ${registry.host}/team/redis:latest is, at the moment:\n  ${set}.redisImage ${registry.host}/team/redis@${digest}\n`,
    );
    expect(stdout).not.toContain('exporterImage exporter');
  });

  test('says why it can not, and ends with 1', async () => {
    write(`${registry.host}/team/redis:none`);
    const { status, stdout } = await meridian.run('images', '--stack', 'demo', '--resolve', '--json');
    expect(status).toBe(1);
    const { images } = JSON.parse(stdout) as { images: { resolved?: unknown }[] };
    expect(images.map(({ resolved }) => resolved)).toEqual([
      { digest, failure: null },
      { digest: null, failure: `http://${registry.host} has no team/redis:none` },
      undefined,
    ]);
    write('redis@sha256:' + '0'.repeat(64));
    const text = await meridian.run('images', '--stack', 'demo', '--resolve');
    expect(text.status).toBe(1);
    expect(text.stdout).toMatch(/redis has a digest of nothing but zeros/);
  });
});
