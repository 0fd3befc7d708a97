import { CoreRegion } from '../../test/sim/core-region';

test('who waits for a region’s state, and is asked for its own by one that can’t reach that one, sends none: both get that', () => {
  const b = new CoreRegion();
  const live = ['a', 'b', 'c'];
  const { settling } = b.core;
  const toSettle = (): string[] => settling.toSettle(live).map(({ key }) => key);
  const ask = (by: string, times: number): void => {
    for (let i = 0; i < times; i++) settling.askedFor(0, 'k', by, live);
  };
  b.client(1, 'APPEND k b');
  b.comes('a:1', 2, new Map(), 'APPEND k a');
  expect([...settling.awaited(live).keys()]).toEqual(['a']);
  ask('c', 20);
  expect(toSettle()).toEqual([]);
  // That one may wait for the one that asks.
  ask('c', 1);
  expect(toSettle()).toEqual(['k']);
});

test('who waits for the state of the region that asks sends its own, and who waits for none does, too', () => {
  for (const by of ['a', 'c']) {
    const b = new CoreRegion();
    const { settling } = b.core;
    if (by === 'a') {
      b.client(1, 'APPEND k b');
      b.comes('a:1', 2, new Map(), 'APPEND k a');
    }
    settling.askedFor(0, 'k', by, ['a', 'b', 'c']);
    expect(settling.toSettle(['a', 'b', 'c']).map(({ key }) => key)).toEqual(['k']);
  }
});
