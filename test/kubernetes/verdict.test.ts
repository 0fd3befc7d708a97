import { type Content, type Written } from './clients';
import { verdict } from './verdict';

const written = (acknowledged: number[], attempts = acknowledged.length): Written => ({
  attempts,
  acknowledged,
  unconfirmed: 0,
  errors: {},
  gapsMs: [],
});
const content: Content = {
  'own:west:1': '1',
  'own:west:2': '2',
  set: ['west:1', 'west:2'],
  hash: { 'west:1': '1', 'west:2': '2' },
  counter: '2',
};
const both = (a: Content, b: Content) =>
  new Map([
    ['west', a],
    ['east', b],
  ]);
const clients = new Map([['west', written([1, 2], 3)]]);

test('equal regions that have everything are well', () => {
  expect(verdict(both(content, { ...content }), clients)).toEqual([]);
  // One write more than was acknowledged may have been made.
  expect(verdict(both({ ...content, counter: '3' }, { ...content, counter: '3' }), clients)).toEqual([]);
});

test.each<[string, Content, RegExp]>([
  ['a value of its own', { ...content, 'own:west:1': 'x' }, /differ in 1 of 5 keys: own:west:1: "1" against "x"/],
  ['a key more', { ...content, more: '1' }, /differ in 1 of 6 keys: more: nothing against "1"/],
  ['another order in a hash', { ...content, hash: { 'west:1': '1' } }, /differ in 1 of 5 keys: hash/],
])('a region with %s differs', (_, other, message) => {
  expect(verdict(both(content, other), clients).join()).toMatch(message);
});

test.each<[string, Content, RegExp]>([
  ['a string', { ...content, 'own:west:2': '1' }, /west: 1 strings lost, first 2/],
  ['a member', { ...content, set: ['west:1'] }, /west: 1 members of the set lost, first 2/],
  ['all fields', { ...content, hash: {} }, /west: 2 fields of the hash lost, first 1/],
  ['an increment', { ...content, counter: '1' }, /the counter is 1, after 2 acknowledged increments of 3/],
  ['nothing, and counts one twice', { ...content, counter: '4' }, /the counter is 4/],
])('equal regions without %s have lost it', (_, same, message) => {
  expect(verdict(both(same, same), clients)).toEqual([expect.stringMatching(message)]);
});

test('no region is no proof', () => {
  expect(verdict(new Map(), clients)).toEqual(['no region was read']);
});
