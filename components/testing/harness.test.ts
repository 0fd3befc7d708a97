import * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';
import * as random from '@pulumi/random';

import { deploy, isSecret, leaksOf, valueOf } from '.';

class Pair extends pulumi.ComponentResource {
  constructor(name: string, text: pulumi.Input<string>, opts?: pulumi.ComponentResourceOptions) {
    super('meridian:index:Pair', name, {}, opts);
    new k8s.core.v1.ConfigMap(
      `${name}-open`,
      { data: { text } },
      { parent: this, ignoreChanges: ['data'], protect: true },
    );
    new k8s.core.v1.Secret(`${name}-closed`, { stringData: { text } }, { parent: this, retainOnDelete: true });
    this.registerOutputs();
  }
}

test('every resource is recorded with its parent, inputs and options', async () => {
  const made = await deploy(() => new Pair('p', 'hello'));
  expect(made.children('p')).toEqual(['ConfigMap p-open', 'Secret p-closed']);
  const open = made.find('p-open');
  expect(open.inputs).toMatchObject({ data: { text: 'hello' } });
  expect(open).toMatchObject({ parent: 'p', protect: true, retainOnDelete: false, ignoreChanges: ['data'] });
  expect(made.find('p-closed').retainOnDelete).toBe(true);
  expect(() => made.find('none')).toThrow(/0 resources are called none/);
});

test('a secret in a ConfigMap is a leak, though encrypted in the state', async () => {
  const made = await deploy(() => new Pair('p', new random.RandomPassword('word', { length: 8 }).result), {
    canary: 'Tweety',
  });
  const { raw, inputs } = made.find('p-open');
  expect(isSecret((raw['data'] as Record<string, unknown>)['text'])).toBe(true);
  expect(inputs['data']).toEqual({ text: 'Tweety-password-of-word' });
  // A Secret's class encrypts all of its data.
  expect(isSecret(made.find('p-closed').raw['stringData'])).toBe(true);
  expect(leaksOf(made, 'Tweety')).toEqual(['kubernetes:core/v1:ConfigMap p-open .data.text']);
});

test('base64 hides nothing', async () => {
  const made = await deploy(() => new Pair('p', Buffer.from('a Tweety').toString('base64')));
  expect(leaksOf(made, 'Tweety')).toEqual(['kubernetes:core/v1:ConfigMap p-open .data.text']);
});

test('the value of an output, and whether it is secret', async () => {
  const { result } = await deploy(() => pulumi.secret('s'));
  expect(await valueOf(result)).toEqual({ value: 's', secret: true });
});

test('what a program throws says where, and Pulumi is not told where resources are made', async () => {
  const before = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  let inside = '';
  const fails = (): never => {
    new Pair('p', 'hello');
    inside = new Error().stack ?? '';
    throw new Error('no such region');
  };
  const thrown = await deploy(fails).catch((error: unknown) => error);
  expect(inside).toBe('Error');
  expect((thrown as Error).stack).toMatch(/^Error: no such region\n +at fails \(.*harness\.test\.ts:\d+:\d+\)/);
  expect(Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace')).toEqual(before);
});

test('so does what is read while it runs', async () => {
  const { result } = await deploy(() => {
    const stack = (): string => new Error('told').stack ?? '';
    return stack();
  });
  expect(result).toMatch(/^Error: told\n +at stack \(.*harness\.test\.ts:\d+:\d+\)/);
});
