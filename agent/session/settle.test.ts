import { KeyState } from '../merge/key-state';
import { Settler } from './settle';

test('a key that can’t be told yet, and is tried again and again, takes no other one’s turn', () => {
  const settler = new Settler();
  const states = ['a', 'b', 'c'].map((key) => new KeyState(0, key));
  expect(settler.choose(states, 0)).toBeNull();
  const chosen: string[] = [];
  // To read one takes longer than the longest pause.
  for (let nowMs = 2000; chosen.length < 6; nowMs += 2000) {
    const state = settler.choose(states, nowMs)!;
    chosen.push(state.key);
    settler.retry(state, 10, nowMs);
  }
  expect(chosen).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
});
