import { faultKinds, gentle, lawful, parseFaults } from './faults';

test.each([
  ['none', []],
  ['partition', [['partition', 1]]],
  [
    'kill-agent:3, partition',
    [
      ['kill-agent', 3],
      ['partition', 1],
    ],
  ],
  ['gentle', gentle.map((kind) => [kind, 1])],
  ['gentle:2,cut:0', gentle.filter((kind) => kind !== 'cut').map((kind) => [kind, 2])],
  ['all', lawful.map((kind) => [kind, 1])],
  ['none,blackout', [['blackout', 1]]],
])('%s', (text, weights) => {
  expect([...parseFaults(text)]).toEqual(weights);
});

test('all is what may lose nothing', () => {
  expect(Object.keys(faultKinds).filter((kind) => !lawful.some((other) => other === kind))).toEqual(['blackout']);
});

test.each([
  ['flood', "there is no fault 'flood'"],
  ['cut:x', "'cut:x': a weight is a number, 0 or more"],
  ['cut:-1', "'cut:-1': a weight"],
])('%s is refused', (text, message) => {
  expect(() => parseFaults(text)).toThrow(message);
});
