import { imageName, imagesOf, isPinned, parseStackConfig, type StackConfig } from '.';

const digest = `sha256:${'a1'.repeat(32)}`;

test.each([
  ['redis', 'redis', undefined, undefined],
  ['docker.io/redis:7.2', 'docker.io/redis', '7.2', undefined],
  ['registry:5000/team/meridian', 'registry:5000/team/meridian', undefined, undefined],
  ['registry:5000/team/meridian:1.2', 'registry:5000/team/meridian', '1.2', undefined],
  [`registry:5000/meridian@${digest}`, 'registry:5000/meridian', undefined, digest],
  [`meridian:1@${digest}`, 'meridian', '1', digest],
])('the parts of %s', (image, repository, tag, found) => {
  expect(imageName(image)).toEqual({ repository, tag, digest: found });
});

test.each([
  [`redis@${digest}`, true],
  [`redis:7@${digest}`, true],
  ['redis:7.2', false],
  [`redis@sha256:${'0'.repeat(64)}`, false],
  [`redis@${digest.slice(0, -1)}`, false],
  [`redis:${digest.slice(7)}`, false],
])('%s is pinned: %s', (image, is) => {
  expect(isPinned(image)).toBe(is);
});

function configOf(raw: object): StackConfig {
  const result = parseStackConfig(raw);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config;
}

test('what the config names, and what is there where it names none', () => {
  const regions = [{ name: 'a', primary: true }, { name: 'b' }];
  const named = configOf({ 'meridian:regions': regions, 'meridian:kubernetes': { agentImage: 'meridian:1' } });
  expect(imagesOf(named).map(({ key, image, isDefault }) => [key, image, isDefault])).toEqual([
    ['agentImage', 'meridian:1', false],
    ['redisImage', 'docker.io/redis:7.2', true],
    ['exporterImage', 'docker.io/oliver006/redis_exporter:v1.67.0', true],
  ]);
  const valkey = configOf({
    'meridian:regions': regions,
    'meridian:redis': { engine: 'valkey', version: '8.1' },
    'meridian:kubernetes': { exporterImage: 'exporter:2' },
  });
  expect(imagesOf(valkey).map(({ key, image, isDefault }) => [key, image, isDefault])).toEqual([
    ['agentImage', undefined, true],
    ['redisImage', 'docker.io/valkey/valkey:8.1', true],
    ['exporterImage', 'exporter:2', false],
  ]);
  expect(imagesOf(valkey)[1]?.uses).toEqual([
    { component: 'Redis', container: 'redis', regions: ['a', 'b'] },
    { component: 'Sentinel', container: 'sentinel', regions: ['a', 'b'] },
  ]);
});

test('processes have none', () => {
  const regions = [
    { name: 'a', primary: true, backend: 'local' },
    { name: 'b', backend: 'local' },
  ];
  expect(imagesOf(configOf({ 'meridian:regions': regions }))).toEqual([]);
});
