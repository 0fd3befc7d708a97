import { readFileSync } from 'node:fs';
import path from 'node:path';

import { optionalPackages } from '../components/common';

// What a fresh clone depends on, and what an edit on one machine breaks on another without anybody seeing it there.

const root = path.join(__dirname, '..');
const readJson = (file: string): unknown => JSON.parse(readFileSync(path.join(root, file), 'utf8'));

interface LockedPackage {
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
const locked = (readJson('package-lock.json') as { packages: Readonly<Record<string, LockedPackage>> }).packages;

test('the lock file names no registry', () => {
  const places = Object.entries(locked).filter(([, { resolved }]) => resolved?.startsWith('http'));
  expect(places.map(([place]) => place)).toEqual([]);
});

test('the lock file has the native packages of every platform, or npm ci refuses it', () => {
  const missing = Object.entries(locked).flatMap(([place, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !(`${place}/node_modules/${name}` in locked) && !(`node_modules/${name}` in locked))
      .map((name) => `${name} of ${place}`),
  );
  expect(missing).toEqual([]);
});

test('Pulumi packages are pinned: a new version changes what is deployed', () => {
  const manifest = readJson('package.json') as Record<'dependencies' | 'devDependencies', Record<string, string>>;
  const versions = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  const pulumi = versions.filter(([name]) => name.startsWith('@pulumi/'));
  expect(pulumi.length).toBeGreaterThan(0);
  for (const [name, version] of pulumi) expect(`${name} ${version}`).toMatch(/ \d+\.\d+\.\d+$/);
});

test("what programs have to install beside the package is what it's tried with, or later", () => {
  const { devDependencies, peerDependencies, peerDependenciesMeta } = readJson('package.json') as {
    devDependencies: Record<string, string>;
    peerDependencies: Record<string, string>;
    peerDependenciesMeta: Record<string, unknown>;
  };
  const tried = Object.keys(peerDependencies).map((name) => [name, `^${devDependencies[name] ?? 'nothing'}`]);
  expect(peerDependencies).toEqual(Object.fromEntries(tried));
  const ranges = Object.keys(peerDependenciesMeta).map((name) => [name, peerDependencies[name]]);
  expect({ ...optionalPackages, '@pulumi/policy': peerDependencies['@pulumi/policy'] }).toEqual(
    Object.fromEntries(ranges),
  );
});
