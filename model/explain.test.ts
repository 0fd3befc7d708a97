import { show } from './explain';

test('what a config holds is shown, whatever it is', () => {
  const itself: unknown[] = [];
  itself.push(itself);
  expect([NaN, Infinity, -5, 'x', [], null, itself].map(show)).toEqual([
    'NaN',
    'Infinity',
    '-5',
    '"x"',
    '[]',
    'nothing',
    'what is no JSON',
  ]);
});
