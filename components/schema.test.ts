import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import * as components from '.';

// Components are also for other languages: what Pulumi's analyser of component packages refuses, it refuses here. It is part of the SDK, but not of its API.

interface Analyzer {
  analyze(): { components: Record<string, { inputs: Record<string, { description?: string; plain?: boolean }> }> };
}
interface AnalyzerModule {
  Analyzer: new (dir: string, name: string, packageJson: object, names: Set<string>) => Analyzer;
}
// eslint-disable-next-line @typescript-eslint/no-require-imports
const { Analyzer } = require('@pulumi/pulumi/provider/experimental/analyzer') as AnalyzerModule;

const names = [
  'ActiveActiveRedis',
  'AliyunRedis',
  'ElastiCacheRedis',
  'KubernetesRedis',
  'RedisCredentials',
  'RedisMonitoring',
  'RedisNetworkPolicy',
  'RedisRegion',
  'RedisSecurity',
  'RegionalTraffic',
  'SyncAgent',
  'TencentRedis',
];

/** Of Node.js programs only: its dynamic provider is the text of a program's functions. */
const nodeOnly = ['LocalMesh'];

test('every component is exported', () => {
  const found = Object.entries(components).filter(
    ([, value]) => typeof value === 'function' && '__pulumiType' in value,
  );
  expect(Object.keys(components)).toEqual(expect.arrayContaining(names));
  expect(found.map(([name]) => name).filter((name) => ![...names, ...nodeOnly].includes(name))).toEqual([]);
});

test('the analyser takes them, and every argument is documented', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-schema-'));
  // Of this folder what is exported, and nothing else: tests have types of their own.
  const main = path.join(__dirname, 'index.ts');
  const compilerOptions = { module: 'Node16', moduleResolution: 'Node16', target: 'ES2022', types: [], typeRoots: [] };
  writeFileSync(path.join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [main] }));
  const analyzer = new Analyzer(dir, 'meridian', { name: 'meridian', main }, new Set(names));
  rmSync(dir, { recursive: true });
  const { components: analysed } = analyzer.analyze();
  expect(Object.keys(analysed).sort()).toEqual(names);
  const silent = Object.entries(analysed).flatMap(([name, { inputs }]) =>
    Object.entries(inputs)
      .filter(([, { description }]) => !description)
      .map(([input]) => `${name}.${input}`),
  );
  expect(silent).toEqual([]);
  // It compiles everything, the types of four clouds included.
}, 180_000);
