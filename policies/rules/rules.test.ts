import { type PolicyResource, type ResourceValidationArgs, type StackValidationArgs } from '@pulumi/policy';
import * as pulumi from '@pulumi/pulumi';
import { readdirSync } from 'node:fs';

import { leaks } from '../testing/cases/leaks';
import { losses } from '../testing/cases/losses';
import { outages } from '../testing/cases/outages';
import { type Case, type Given, type Mutation, put } from '../testing/cases/case';
import { serviceOf, task } from '../testing/cases/tasks';
import { unknownCheckingProxy, unknownStringValue, UnknownValueError } from '../testing/unknown';
import { type Mapping } from '../props';
import { type Rule } from '../rule';
import { agentServices, rules } from '.';
import { kubernetesTls } from './kubernetes-tls';
import { persistence } from './persistence';

const cases: readonly Case[] = [...leaks, ...losses, ...outages];
const named = cases.map((one, i) => [`${one.rule.name} ${i}`, one] as const);

const urnOf = ({ type, name, parent }: Pick<Given, 'type' | 'name' | 'parent'>, stack = 'prod'): string =>
  `urn:pulumi:${stack}::shop::${parent === undefined ? '' : `${parent}$`}${type}::${name}`;

/** What a rule says, as the engine would be told. */
function said(
  rule: Rule,
  resources: readonly Given[],
  settings: Mapping = {},
  stack = 'prod',
  messages: string[] = [],
): string[] {
  const report = (message: string): number => messages.push(message);
  const skipped = new Error('not applicable');
  const common = {
    stackTags: new Map<string, string>(),
    getConfig: () => settings as never,
    notApplicable: () => {
      throw skipped;
    },
  };
  const named = (names: readonly string[] = []): { urn: string }[] =>
    names.flatMap((name) =>
      resources.filter((other) => other.name === name).map((other) => ({ urn: urnOf(other, stack) })),
    );
  const given = (one: Given): PolicyResource =>
    ({
      ...{ type: one.type, name: one.name, urn: urnOf(one, stack), opts: { protect: one.protect ?? false } },
      props: unknownCheckingProxy(one.props),
      dependencies: named(one.dependencies),
      propertyDependencies: Object.fromEntries(
        Object.entries(one.propertyDependencies ?? {}).map(([key, names]) => [key, named(names)]),
      ),
      ...(one.provider === undefined ? {} : { provider: { urn: one.provider } }),
    }) as unknown as PolicyResource;
  const { policy } = rule;
  if ('validateStack' in policy) {
    void policy.validateStack({ ...common, resources: resources.map(given) } as StackValidationArgs, report);
    return messages;
  }
  const { validateResource } = policy;
  if (typeof validateResource !== 'function') throw new Error(`${rule.name} checks nothing`);
  for (const one of resources) {
    try {
      void validateResource({ ...common, ...given(one) } as unknown as ResourceValidationArgs, report);
    } catch (error) {
      if (error !== skipped) throw error;
    }
  }
  return messages;
}

test('every rule has a case that breaks it, a file of its own, and words', () => {
  const broken = new Set(cases.filter(({ mutations }) => mutations.length > 0).map(({ rule }) => rule.name));
  expect(rules.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual([]);
  const files = readdirSync(__dirname).filter((file) => !/^(index|rules\.test)\.ts$/.test(file));
  expect(files.sort()).toEqual(rules.map(({ name }) => `${name}.ts`).sort());
  for (const { what, why, fix } of rules) for (const text of [what, why, fix]) expect(text).toMatch(/^[A-Z].*\.$/s);
});

test.each(named)('%s: what is right passes', (_, { rule, valid, settings }) => {
  expect(said(rule, valid, settings)).toEqual([]);
});

const mutations = named.flatMap(([name, one]) =>
  one.mutations.map((mutation): [string, Case, Mutation] => [`${name}: ${mutation.says}`, one, mutation]),
);

test.each(mutations)('%s', (_, { rule, valid, settings }, { change, says }) => {
  expect(said(rule, change(valid), settings)).toContain(`${says} ${rule.fix}`);
});

const unknowns = mutations.filter(([, , { place }]) => place !== undefined);

test.each(unknowns)('unknown in a preview, not taken for right: %s', (_, { rule, valid, settings }, { place }) => {
  const resources = valid.map((one) =>
    one.name === place?.name ? { ...one, props: put(one.props, place.path, unknownStringValue) as Mapping } : one,
  );
  expect(() => said(rule, resources, settings)).toThrow(UnknownValueError);
});

test('what is found before something unknown ends a rule is told', () => {
  const service = { ...serviceOf(task), parent: 'meridian:index:FargateSyncAgent' };
  const two = { ...service, props: { ...service.props, desiredCount: 2 } };
  const target = { type: 'aws:appautoscaling/target:Target', name: 'any', props: { resourceId: unknownStringValue } };
  const messages: string[] = [];
  expect(() => said(agentServices, [target, two], {}, 'prod', messages)).toThrow(UnknownValueError);
  expect(messages).toEqual([expect.stringMatching(/^Service service-of-task-west: desiredCount: found 2; /)]);
});

test('of a ConfigMap only what configures Redis is looked at: another file may be unknown', () => {
  const type = 'kubernetes:core/v1:ConfigMap';
  const conf = { type, name: 'any', props: { data: { 'agent.json': unknownStringValue, 'redis.conf': 'port 6379' } } };
  for (const [rule, says] of [
    [kubernetesTls, 'data.redis.conf: port: found 6379'],
    [persistence, 'data.redis.conf: appendonly: found nothing'],
  ] as const)
    expect(said(rule, [conf])).toContainEqual(expect.stringContaining(says));
});

test('what only production needs is left alone elsewhere', () => {
  const production = cases.filter(({ rule }) => 'productionStacks' in rule.settings);
  expect(production.map(({ rule }) => rule.name)).toEqual(['image-digests', 'data-protected', 'data-retained']);
  for (const { rule, valid, mutations: all } of production) {
    for (const { change } of all) {
      expect(said(rule, change(valid), {}, 'dev')).toEqual([]);
      expect(said(rule, change(valid), {}, 'shop-prod')).not.toEqual([]);
      expect(said(rule, change(valid), { productionStacks: ['d*v'] }, 'dev')).not.toEqual([]);
    }
  }
});

test('a cache declares itself in the config of its stack', () => {
  const [first] = losses;
  const evicting = first?.mutations[0]?.change(first.valid) ?? [];
  const saying = (): string[] => (first === undefined ? [] : said(first.rule, evicting));
  pulumi.runtime.setAllConfig({ 'meridian:redis': JSON.stringify({ use: 'cache', maxmemory: '1gb' }) });
  expect(saying()).toEqual([]);
  pulumi.runtime.setAllConfig({ 'meridian:redis': JSON.stringify({ maxmemory: '1gb' }) });
  expect(saying()).toHaveLength(1);
  pulumi.runtime.setAllConfig({});
  expect(saying()).toHaveLength(1);
});

test('a setting that is wrong is refused with its name', () => {
  const rule = rules.find(({ name }) => name === 'sentinels');
  expect(rule?.policy.configSchema?.properties['sentinelsMin']).toMatchObject({
    type: 'integer',
    minimum: 1,
    default: 3,
  });
  const run = (settings: Mapping) => () =>
    rule &&
    said(
      rule,
      losses.flatMap(({ valid }) => valid),
      settings,
    );
  expect(run({ sentinelsMin: 'three' })).toThrow(/bad config of policy sentinels:\n.*\n.*sentinelsMin/);
  expect(run({ sentinels: 3 })).toThrow(/bad config of policy sentinels:\n.*"sentinels"/);
});
