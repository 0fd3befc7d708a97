import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { commandNames } from '../agent/merge/commands';
import { references } from '.';
import { groups } from './commands';
import { componentsReference, split } from './components';
import { table } from './markdown';
import { readSources } from './sources';

const root = path.join(__dirname, '..');

test.each([...references(root)])('%s is what the code says; `npm run docs` renews it', (file, text) => {
  expect(readFileSync(path.join(root, file), 'utf8')).toBe(text);
});

test('every component has a section, every argument a meaning, and every optional one its default', () => {
  const { components, shapes, kinds } = readSources(path.join(root, 'components'));
  expect(components.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['ActiveActiveRedis', 'ElastiCacheRedis', 'KubernetesRedis', 'RedisSecurity', 'SyncAgent']),
  );
  const silent = components.flatMap(({ name, doc, args, outputs }) => {
    const members = shapes.get(args)?.members ?? [];
    return [
      ...(doc === '' ? [name] : []),
      ...members
        .filter(
          (one) =>
            one.doc === '' || (one.isOptional && split(one).byDefault === '' && !/\bneeded\b|One of/i.test(one.doc)),
        )
        .map((one) => `${args}.${one.name}`),
      ...outputs.filter((one) => one.doc === '').map((one) => `${name}.${one.name}`),
    ];
  });
  expect(silent).toEqual([]);
  expect(kinds.get('RedisTopology')?.members.map(({ type }) => type)).toContain("'primary-replica'");
});

test('a component from its source', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-reference-'));
  writeFileSync(path.join(dir, 'index.ts'), "export { Thing, type ThingArgs } from './thing';");
  writeFileSync(
    path.join(dir, 'thing.ts'),
    `/** What it is. */
     export const Kind = {
       /** The first. */
       A: 'a',
     } as const;
     /** What several have. */
     interface Common {
       /** A Kind. Default: a. */
       kind?: Kind;
     }
     export interface ThingArgs extends Common {
       /** How many, 1 | 2. Default: 7.5 of it,
        * as that is enough. More cost more. */
       count?: pulumi.Input<number>;
       /** Its name. */
       name: string;
     }
     /** A thing: it is made. It stays. */
     export class Thing extends pulumi.ComponentResource {
       /** Where it is. */
       public readonly host: pulumi.Output<string>;
       private readonly hidden = 1;
       constructor(name: string, args: ThingArgs, opts?: pulumi.ComponentResourceOptions) {}
     }
     class Hidden extends pulumi.ComponentResource {}`,
  );
  const text = componentsReference(readSources(dir));
  rmSync(dir, { recursive: true });
  expect(text.split('\n').filter((line) => /^[|#]|^And/.test(line))).toEqual([
    '# Components',
    '| Component | What it is |',
    '| --- | --- |',
    '| [Thing](#thing) | A thing. |',
    '## Thing',
    '| Argument | Type | Default | Meaning |',
    '| --- | --- | --- | --- |',
    '| `name` | `string` | (required) | Its name. |',
    '| `count` | `Input<number>` | 7.5 of it, as that is enough | How many, 1 \\| 2. More cost more. |',
    'And those of [Common](#common).',
    '| Output | Type | Meaning |',
    '| --- | --- | --- |',
    '| `host` | `string` | Where it is. |',
    '# Parts of arguments and outputs',
    '## Common',
    '| Argument | Type | Default | Meaning |',
    '| --- | --- | --- | --- |',
    '| `kind` | [Kind](#kind) | a | A Kind. |',
    '# Kinds',
    '## Kind',
    '| Name | Value | Meaning |',
    '| --- | --- | --- |',
    '| `Kind.A` | `a` | The first. |',
  ]);
});

test('a cell holds one line and no bar', () => {
  expect(table(['a'], [['x |\n  y']])).toBe('| a |\n| --- |\n| x \\| y |');
});

test('every command of the table stands in one group of docs/commands.md', () => {
  const grouped = groups.flatMap(([, names]) => names.split(' '));
  expect([...grouped].sort()).toEqual([...commandNames()].sort());
});
