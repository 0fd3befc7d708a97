import * as pulumi from '@pulumi/pulumi';

import type * as Stack from './index';

const regions = [
  { name: 'us-west-2', weight: 60, primary: true },
  { name: 'eu-central-1', weight: 40 },
];
const kubernetes = JSON.stringify({ agentImage: 'meridian@sha256:1' });

async function deploy(config: Record<string, string>): Promise<typeof Stack> {
  await pulumi.runtime.setMocks({ newResource: ({ name, inputs }) => ({ id: name, state: inputs }), call: () => ({}) });
  pulumi.runtime.setAllConfig(config);
  let stack: typeof Stack | undefined;
  jest.isolateModules(() => {
    jest.doMock('@pulumi/pulumi', () => pulumi); // the one that has the mocks and the config, and no second load
    stack = jest.requireActual<typeof Stack>('./index');
  });
  if (stack === undefined) throw new Error('the program exports nothing');
  return stack;
}

test('the stack says its regions, its primary and who talks to whom', async () => {
  const stack = await deploy({
    'meridian:regions': JSON.stringify(regions),
    'meridian:kubernetes': kubernetes,
    'aws:region': 'us-west-2',
  });
  expect(stack.primary).toBe('us-west-2');
  expect(stack.regions.map((region) => region.name)).toEqual(['us-west-2', 'eu-central-1']);
  expect(stack.peerLinks).toEqual([
    ['us-west-2', 'eu-central-1'],
    ['eu-central-1', 'us-west-2'],
  ]);
});

test('a bad config stops the deployment before anything is made', async () => {
  const run = deploy({ 'meridian:regions': JSON.stringify(regions.slice(0, 1)) });
  await expect(run).rejects.toThrow(/meridian:regions: found .*; allowed: at least two regions/);
  await expect(run.catch((error: unknown) => pulumi.RunError.isInstance(error))).resolves.toBe(true);
});

test('a region on Kubernetes needs an image of the agent', async () => {
  await expect(deploy({ 'meridian:regions': JSON.stringify(regions) })).rejects.toThrow(
    'meridian:kubernetes.agentImage: found nothing; allowed: the name of an image',
  );
});

test('processes of this machine are not deployed', async () => {
  const local = JSON.stringify(regions.map((region) => ({ ...region, backend: 'local' })));
  const stack = await deploy({ 'meridian:regions': local });
  expect(stack.endpoints).toBeUndefined();
});
