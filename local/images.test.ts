import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { Cleanup, Meridian } from './testing';

jest.setTimeout(60_000);

const cleanup = new Cleanup();
let meridian: Meridian;
beforeAll(() => (meridian = new Meridian(cleanup.dir())));
afterAll(() => cleanup.run());

const digest = `sha256:${'a1'.repeat(32)}`;

/** A stack of pods in two regions. */
function write(stack: string, kubernetes: Readonly<Record<string, string>>): void {
  const config = {
    'meridian:regions': [{ name: 'us-west-2', primary: true }, { name: 'eu-central-1' }],
    'meridian:kubernetes': kubernetes,
  };
  writeFileSync(path.join(meridian.cwd, `Pulumi.${stack}.yaml`), JSON.stringify({ config }));
}

test('what a stack deploys, in which regions, and what pins it', async () => {
  write('demo', { agentImage: `registry.example.com:5000/meridian@${digest}`, redisImage: 'docker.io/redis:7.2' });
  const { status, stdout, stderr } = await meridian.run('images', '--stack', 'demo');
  expect([status, stderr]).toEqual([0, '']);
  const both = 'us-west-2, eu-central-1';
  expect(stdout.split('\n').map((line) => line.trim().split(/ {2,}/))).toEqual([
    ['COMPONENT', 'CONTAINER', 'IMAGE', 'TAG', 'DIGEST', 'CONFIG KEY', 'REGIONS'],
    ...[
      ['Redis', 'role'],
      ['agent', 'agent'],
    ].map((of) => [
      ...of,
      'registry.example.com:5000/meridian',
      '-',
      'sha256:a1a1a1a1a1a1',
      'meridian:kubernetes.agentImage',
      both,
    ]),
    ...[
      ['Redis', 'redis'],
      ['Sentinel', 'sentinel'],
    ].map((of) => [...of, 'docker.io/redis', '7.2', '-', 'meridian:kubernetes.redisImage', both]),
    [
      ...['Redis', 'exporter', 'docker.io/oliver006/redis_exporter', 'v1.67.0', '-'],
      ...['meridian:kubernetes.exporterImage (default)', both],
    ],
    [''],
    ['Not pinned by digest, which the policy image-digests asks for in production:'],
    [''],
    ["docker buildx imagetools inspect docker.io/redis:7.2 --format '{{.Manifest.Digest}}'"],
    ['pulumi config set --stack demo --path meridian:kubernetes.redisImage docker.io/redis@sha256:…'],
    [''],
    ["docker buildx imagetools inspect docker.io/oliver006/redis_exporter:v1.67.0 --format '{{.Manifest.Digest}}'"],
    [
      'pulumi config set --stack demo --path meridian:kubernetes.exporterImage docker.io/oliver006/redis_exporter@sha256:…',
    ],
    [''],
  ]);
});

test('for programs', async () => {
  const name = `docker.io/redis:7.2@${digest}`;
  write('demo', { agentImage: `meridian@${digest}`, redisImage: name, exporterImage: `exporter@${digest}` });
  const found = await meridian.json<{ pinned: boolean; images: unknown[] }>('images', '--stack', 'demo');
  expect(found).toMatchObject({ stack: 'demo', file: path.join(meridian.cwd, 'Pulumi.demo.yaml'), pinned: true });
  expect(found.images[1]).toEqual({
    key: 'meridian:kubernetes.redisImage',
    isDefault: false,
    image: name,
    repository: 'docker.io/redis',
    tag: '7.2',
    digest,
    pinned: true,
    uses: [
      { component: 'Redis', container: 'redis', regions: ['us-west-2', 'eu-central-1'] },
      { component: 'Sentinel', container: 'sentinel', regions: ['us-west-2', 'eu-central-1'] },
    ],
  });
  const { stdout } = await meridian.run('images', '--stack', 'demo');
  expect(stdout).toMatch(/\n\nAll images are pinned by digest\.\n$/);
});

test('an image that is missing, and a placeholder', async () => {
  write('demo', { redisImage: `redis@sha256:${'0'.repeat(64)}` });
  const { stdout } = await meridian.run('images', '--stack', 'demo');
  expect(stdout).toMatch(/agent +agent +none +- +- +meridian:kubernetes\.agentImage +us-west-2/);
  expect(stdout).toMatch(/meridian:kubernetes\.agentImage names none, and has no default:\n/);
  expect(stdout).toMatch(/Redis +redis +redis +- +zeros +meridian:kubernetes\.redisImage +us-west-2/);
  expect(stdout).toMatch(/redis has a digest of nothing but zeros\b.*\n.* inspect redis:TAG /);
  const { images } = await meridian.json<{ images: { image: string | null; pinned: boolean }[] }>(
    ...['images', '--stack', 'demo'],
  );
  expect(images.map(({ image, pinned }) => [image === null, pinned])).toEqual([
    [true, false],
    [false, false],
    [false, false],
  ]);
});

test('a stack of processes has none; a stack that is not there is said to be so', async () => {
  expect(await meridian.run('images')).toMatchObject({ status: 0, stdout: expect.stringMatching(/has no images/) });
  expect(await meridian.run('images', '--stack', 'nowhere')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/There is no Pulumi\.nowhere\.yaml/),
  });
});
