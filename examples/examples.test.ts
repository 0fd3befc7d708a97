import * as pulumi from '@pulumi/pulumi';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

import * as components from '../components';
import { deploy as deployProgram, type HarnessOptions, leaksOf, valueOf } from '../components/testing';
import type * as OneCluster from './one-cluster';
import type * as Region from './region-per-stack/region';
import type * as Shared from './region-per-stack/shared';

const canary = 'Tweety';

/** Runs an example as it stands. */
function deploy<T extends object>(example: string, config: Record<string, string> = {}, options: HarnessOptions = {}) {
  return deployProgram(
    () => {
      pulumi.runtime.setAllConfig(config);
      let program: T | undefined;
      jest.isolateModules(() => {
        jest.doMock('@pulumi/pulumi', () => pulumi);
        jest.doMock('meridian-redis', () => components);
        program = jest.requireActual<T>(`./${example}`);
      });
      return program as T;
    },
    { canary, ...options },
  );
}

test('one cluster: three regions in three namespaces', async () => {
  const made = await deploy<typeof OneCluster>('one-cluster', { 'meridian:agentImage': 'meridian@sha256:1' });
  const namespaces = made.resources.filter(({ type }) => type === 'kubernetes:core/v1:Namespace');
  expect(namespaces.map(({ name }) => name)).toEqual(['redis-west', 'redis-east', 'redis-south']);
  expect(leaksOf(made, canary)).toEqual([]);
  const { value } = await valueOf(made.result.endpoints);
  expect(value['east']?.host).toBe('redis-east.redis-east.svc.cluster.local');
});

test('a stack for each region: what the shared one gives is what each needs', async () => {
  const shared = await deploy<typeof Shared>('region-per-stack/shared');
  expect(shared.find('redis', ':RedisSecurity').parent).toBeUndefined();
  const { mesh, ...outputs } = shared.result;
  const found = await Promise.all(
    Object.entries(outputs).map(
      async ([name, output]) => [name, await valueOf(output as pulumi.Output<unknown>)] as const,
    ),
  );
  expect(
    found
      .filter(([, { secret }]) => secret)
      .map(([name]) => name)
      .sort(),
  ).toEqual(['caPrivateKeyPem', 'userPasswords']);
  const values = { mesh, ...Object.fromEntries(found.map(([name, { value }]) => [name, value])) };

  const members = ['west', 'east'].map((name, i) => ({
    name,
    weight: 50,
    primary: i === 0,
    agentHost: `${name}.example.com:7600`,
    agentCidrs: ['192.0.2.0/24'],
  }));
  const config = {
    'meridian:members': JSON.stringify(members),
    'meridian:shared': 'org/redis-shared/prod',
    'meridian:agentImage': 'meridian@sha256:1',
  };
  const secretOutputNames = ['caPrivateKeyPem', 'userPasswords'];
  const reference: HarnessOptions = {
    outputs: (type) => (type.endsWith(':StackReference') ? { outputs: values, secretOutputNames } : {}),
  };
  for (const region of ['west', 'east']) {
    const made = await deploy<typeof Region>('region-per-stack/region', config, { ...reference, stack: region });
    const { data } = made.find('redis-agent-config').inputs as { data: Record<string, string> };
    const agent = JSON.parse(data['agent.json'] ?? '') as { stack: string; region: string; peers: unknown[] };
    expect(agent).toMatchObject({ stack: 'shop', region });
    expect(agent.peers).toEqual([
      expect.objectContaining({
        region: region === 'west' ? 'east' : 'west',
        host: expect.stringMatching(/example\.com/),
      }),
    ]);
    expect(leaksOf(made, canary)).toEqual([]);
  }
  await expect(deploy('region-per-stack/region', config, { ...reference, stack: 'north' })).rejects.toThrow(
    /members: found no north/,
  );
});

test.each(['one-cluster', 'region-per-stack/region', 'yaml'])(
  '%s: a ConfigMap or Secret whose data changes is written to, not replaced',
  (example) => {
    const { config } = parse(readFileSync(path.join(__dirname, example, 'Pulumi.yaml'), 'utf8')) as { config: unknown };
    expect(config).toMatchObject({
      'kubernetes:enableConfigMapMutable': true,
      'kubernetes:enableSecretMutable': true,
    });
  },
);

interface Property {
  readonly type?: string;
  readonly $ref?: string;
  readonly items?: Property;
}
interface SchemaObject {
  readonly properties: Record<string, Property>;
  readonly inputProperties: Record<string, Property>;
  readonly requiredInputs?: string[];
  readonly required?: string[];
  readonly enum?: { readonly value: unknown }[];
}

test('YAML: what it says is in the schema of the component package', () => {
  const read = (file: string): string => readFileSync(path.join(__dirname, file), 'utf8');
  const schema = JSON.parse(read('../plugin/schema.json')) as Record<
    'resources' | 'types',
    Record<string, SchemaObject>
  >;
  const program = parse(read('yaml/Pulumi.yaml')) as {
    packages: Record<string, string>;
    resources: Record<string, { type: string; properties: Record<string, unknown> }>;
    outputs: Record<string, string>;
  };
  expect(read(path.join('yaml', program.packages['meridian'] ?? '', 'PulumiPlugin.yaml'))).toContain('runtime: nodejs');

  const wrong = (value: unknown, property: Property | undefined, at: string): string[] => {
    if (property === undefined) return [`${at}: unknown`];
    if (Array.isArray(value)) return value.flatMap((one, i) => wrong(one, property.items, `${at}[${i}]`));
    if (property.$ref === undefined) {
      const kind = property.type === 'integer' ? 'number' : property.type;
      return typeof value === kind ? [] : [`${at}: no ${kind}`];
    }
    const { properties, required = [], enum: kinds } = schema.types[property.$ref.replace('#/types/', '')]!;
    if (kinds !== undefined) return kinds.some((kind) => kind.value === value) ? [] : [`${at}: no kind`];
    return fields(value as Record<string, unknown>, properties, required, at);
  };
  const fields = (
    given: Record<string, unknown>,
    known: Record<string, Property>,
    required: readonly string[],
    at: string,
  ): string[] => [
    ...required.filter((name) => !(name in given)).map((name) => `${at}.${name}: missing`),
    ...Object.entries(given).flatMap(([name, value]) => wrong(value, known[name], `${at}.${name}`)),
  ];
  const { redis } = program.resources;
  const resource = schema.resources[redis?.type ?? '']!;
  expect(fields(redis!.properties, resource.inputProperties, resource.requiredInputs ?? [], 'redis')).toEqual([]);
  for (const output of Object.values(program.outputs)) {
    expect(Object.keys(resource.properties)).toContain(/^\$\{redis\.(\w+)\}$/.exec(output)?.[1]);
  }
});
