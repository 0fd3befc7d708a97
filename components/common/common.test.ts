import * as pulumi from '@pulumi/pulumi';

import { ArgumentError, checkArguments, checksum, dataOptions, dnsLabel, namesList, oneOf, rule, whole } from '.';
import { valueOf } from '../testing';

test.each([
  [whole('n', 3, 1, 5), []],
  [whole('n', undefined, 1, 5), []],
  [whole('n', 6, 1, 5, 'pods'), ['n: 6: a whole number from 1 to 5 (pods)']],
  [whole('n', 1.5, 1, 5), ['n: 1.5: a whole number from 1 to 5']],
  [oneOf('kind', 'b', { A: 'a', B: 'b' }), []],
  [oneOf('kind', 'c', { A: 'a', B: 'b' }), ['kind: "c": a, b']],
  [dnsLabel('name', 'us-west-2'), []],
  [
    dnsLabel('name', '2-west'),
    ['name: "2-west": a DNS label of 1 to 40 lower-case letters, digits and hyphens, starting with a letter'],
  ],
  [dnsLabel('name', 'a'.repeat(41)), [expect.stringContaining('name: "aaa') as string]],
  [namesList('names', ['a', 'b', 'a']), ['names[2]: "a" again: each name once']],
  [namesList('names', [], 1), ['names: 0 names: at least 1']],
  [rule(true, 'x', 1, 'two'), []],
  [rule(false, 'x', { y: 1 }, 'two'), ['x: {"y":1}: two']],
  [rule(false, 'x', undefined, 'two'), ['x: nothing: two']],
])('%#: an argument', (issues, expected) => {
  expect(issues.map(({ path, found, allowed }) => `${path}: ${found}: ${allowed}`)).toEqual(expected);
});

test('everything that is wrong is said at once, as an error of the program and not of Pulumi', () => {
  const check = (): void =>
    checkArguments('Thing', 't', {}, [], () => [...whole('a', 9, 1, 2), ...whole('b', 9, 1, 2)]);
  expect(check).toThrow(ArgumentError);
  expect(check).toThrow(/^Thing 't' has bad arguments:\na: found 9; allowed: .*\nb: found 9; allowed: /);
  expect(() => checkArguments('Thing', 't', {}, [], () => [])).not.toThrow();
});

test('a checksum tells texts apart, wherever they are cut, and is no secret', async () => {
  const of = async (...texts: pulumi.Input<string>[]): Promise<string> => (await valueOf(checksum(...texts))).value;
  expect(await of('ab', 'c')).toBe(await of('ab', 'c'));
  expect(await of('ab', 'c')).not.toBe(await of('a', 'bc'));
  expect((await valueOf(checksum(pulumi.secret('s')))).secret).toBe(false);
});

test('data that is not protected says nothing about it, so that the option of the component counts', () => {
  const parent = undefined as unknown as pulumi.Resource;
  expect(dataOptions(parent, {})).not.toHaveProperty('protect');
  expect(dataOptions(parent, { protect: true, retainOnDelete: true })).toMatchObject({
    protect: true,
    retainOnDelete: true,
  });
});
