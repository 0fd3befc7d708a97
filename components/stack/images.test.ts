import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { type Backend, imagesOf, parseStackFile, type StackConfig } from '../../model';
import { ActiveActiveRedis } from '..';
import { deploy, type Recorded } from '../testing';
import { meshArgs } from '.';

const root = path.join(__dirname, '../..');
const stacks = readdirSync(root).flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []);

function configOf(stack: string): StackConfig {
  const file = `Pulumi.${stack}.yaml`;
  const result = parseStackFile(readFileSync(path.join(root, file), 'utf8'), file);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config;
}

const isOn = (backend: Backend) => (stack: string) => configOf(stack).regions.some((each) => each.backend === backend);

interface Container {
  readonly name: string;
  readonly image: string;
}

/** What is deployed, by region: `us-west-2 redis docker.io/redis:7.2`. */
function deployed({ type, name, inputs }: Recorded): string[] {
  const lineOf = (region: string) => (one: Container) => `${region} ${one.name} ${one.image}`;
  if (type.endsWith(':TaskDefinition')) {
    const all = JSON.parse(inputs['containerDefinitions'] as string) as Container[];
    return all.map(lineOf(name.replace(/^redis-/, '')));
  }
  if (!/:(StatefulSet|Deployment|Job)$/.test(type)) return [];
  const { template } = inputs['spec'] as {
    template: {
      metadata: { labels: Record<string, string> };
      spec: { containers: Container[]; initContainers?: Container[] };
    };
  };
  const { containers, initContainers = [] } = template.spec;
  return [...initContainers, ...containers].map(lineOf(template.metadata.labels['meridian.redis/region'] ?? ''));
}

const outputs = (type: string, name: string): Record<string, unknown> => ({
  ...{ arn: `arn:${name}`, dnsName: `${name}.elb`, name },
  ...(type.endsWith(':GlobalReplicationGroup') ? { globalReplicationGroupId: name } : {}),
});

const deployable = stacks.filter((stack) => !isOn('local')(stack));

test('there are stacks of each kind', () => {
  expect(deployable.some(isOn('kubernetes'))).toBe(true);
  expect(deployable.some(isOn('elasticache'))).toBe(true);
  expect(deployable.some((stack) => configOf(stack).regions.some(({ fargate }) => fargate !== undefined))).toBe(true);
});

const named = { agentImage: 'meridian:1', redisImage: 'redis:x', exporterImage: 'exporter:x' };
const withImages = (stack: string, images: Partial<typeof named>): StackConfig => {
  const config = configOf(stack);
  const none = { redisImage: undefined, exporterImage: undefined };
  return { ...config, kubernetes: { ...config.kubernetes, ...none, agentImage: named.agentImage, ...images } };
};
const notWatched = withImages('prod', named);
const cases = [
  ...deployable.map((stack) => [stack, withImages(stack, named)] as const),
  ['dev, images by default', withImages('dev', {})] as const,
  ['prod, not watched', { ...notWatched, monitoring: { ...notWatched.monitoring, operator: false } }] as const,
];

test.each(cases)('%s: the images that it is said to deploy are those that it deploys', async (_, config) => {
  const { resources } = await deploy(() => new ActiveActiveRedis('redis', meshArgs('prod', config)), { outputs });
  const said = imagesOf(config).flatMap(({ image, uses }) =>
    uses.flatMap(({ container, regions }) => regions.map((region) => `${region} ${container} ${image}`)),
  );
  expect(said.length).toBeGreaterThan(0);
  expect(said.sort()).toEqual(resources.flatMap(deployed).sort());
});
