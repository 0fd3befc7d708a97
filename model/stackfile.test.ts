import { readFileSync } from 'node:fs';
import path from 'node:path';

import { links } from './topology';
import { primaryOf, type StackConfig, topologyOf } from './config';
import { formatIssues } from './explain';
import { parseStackFile } from './stackfile';

function shipped(file: string): StackConfig {
  const result = parseStackFile(readFileSync(path.join(__dirname, '..', file), 'utf8'), file);
  if (!result.ok) throw new Error(formatIssues(result.issues));
  return result.config;
}

test.each(['Pulumi.prod.yaml', 'Pulumi.prod-kubernetes.yaml', 'Pulumi.local.yaml'])(
  '%s is three regions in a mesh',
  (file) => {
    const config = shipped(file);
    const names = config.regions.map((region) => region.name);
    expect(config.regions.map(({ name, weight }) => [name, weight])).toEqual([
      ['us-west-2', 60],
      ['eu-central-1', 25],
      ['ap-northeast-1', 15],
    ]);
    expect(primaryOf(config).name).toBe('us-west-2');
    expect(Object.values(links(topologyOf(config), names)).flat()).toHaveLength(6);
    expect(config.replication).toMatchObject({ maxLagMs: 1000, autoHeal: true });
  },
);

test('they differ by backend', () => {
  expect(shipped('Pulumi.prod.yaml').regions.every((region) => region.backend === 'elasticache')).toBe(true);
  expect(shipped('Pulumi.prod-kubernetes.yaml').regions.every((region) => region.backend === 'kubernetes')).toBe(true);
  expect(shipped('Pulumi.local.yaml').regions.every((region) => region.backend === 'local')).toBe(true);
});

test('broken YAML is named by its line', () => {
  const result = parseStackFile('config:\n  a: 1\n  a: 2\n', 'Pulumi.x.yaml');
  expect(result).toMatchObject({ ok: false, issues: [{ path: 'Pulumi.x.yaml:3' }] });
});

test.each(['', 'other: 1', '- config', 'config:'])('%j has no config', (text) => {
  expect(parseStackFile(text, 'Pulumi.x.yaml')).toEqual({
    ok: false,
    issues: [{ path: 'Pulumi.x.yaml', found: 'no `config:`', allowed: 'a mapping `config:` with meridian:regions, …' }],
  });
});
