import * as pulumi from '@pulumi/pulumi';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { analyse, offeredIn } from '../reference/schema';
import * as components from '.';

// Components are also for other languages: what Pulumi's analyser of component packages refuses, it refuses here.

const root = path.join(__dirname, '..');
const names = offeredIn(root);

/** Of Node.js programs only: its dynamic provider is the text of a program's functions. */
const nodeOnly = ['LocalMesh'];

test('every component is offered to other languages', () => {
  const found = Object.entries(components)
    .filter(([, value]) => typeof value === 'function' && value.prototype instanceof pulumi.ComponentResource)
    .map(([name]) => name);
  expect(found.sort()).toEqual([...names, ...nodeOnly].sort());
});

test('the analyser takes them, every argument is documented, and what others see of it is as it was', () => {
  const { components: analysed, schema } = analyse(root);
  expect(Object.keys(analysed).sort()).toEqual(names);
  const silent = Object.entries(analysed).flatMap(([name, { inputs }]) =>
    Object.entries(inputs)
      .filter(([, { description }]) => !description)
      .map(([input]) => `${name}.${input}`),
  );
  expect(silent).toEqual([]);
  // A name or a type that changes here breaks programs: `npm run docs` writes it anew, and the difference is to be looked at.
  expect(JSON.parse(readFileSync(path.join(root, 'plugin/schema.json'), 'utf8'))).toEqual(JSON.parse(schema));
}, 180_000);

test.each([...names, ...nodeOnly])('%s without its arguments says which are missing', (name) => {
  const Component = Reflect.get(components, name) as new (name: string, args?: unknown) => unknown;
  const { resources } = JSON.parse(readFileSync(path.join(root, 'plugin/schema.json'), 'utf8')) as Schema;
  const required = resources[`meridian:index:${name}`]?.requiredInputs ?? ['regions', 'stack'];
  for (const args of [undefined, {}]) {
    const issues = required.map((input) => expect.objectContaining({ path: input, found: 'nothing' }) as unknown);
    let error: unknown;
    try {
      new Component('it', args);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(components.ArgumentError);
    const sorted = [...(error as components.ArgumentError).issues].sort((a, b) => (a.path < b.path ? -1 : 1));
    expect(sorted).toEqual(issues);
  }
});

interface Schema {
  resources: { [name: string]: { requiredInputs?: string[] } };
}
