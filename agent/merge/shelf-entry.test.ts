import { KeyState, NONE, Op, Type } from './key-state';

const op = (origin: number, position: number, seen: number[] = []): Op => new Op(origin, position, position, seen);

test('what a state knows is in its parts: who adds a field says there what becomes of it on the shelf', () => {
  const state = new KeyState(0, 'k');
  const known = [
    'db',
    'key',
    'isWhole',
    'ttls',
    'opaques',
    'expiries',
    'deletions',
    'deadTypes',
    'ttlBaseDead',
    'ttlByRedis',
    'removals',
  ];
  // In `parts` under other names.
  known.push('string', 'members', 'memberTypes', 'lastOrigin', 'lastPosition', 'tops');
  // Of what is under way, of the window's own counts, and of what nothing but a held state has.
  known.push(
    'unstable',
    'unstableKeyOps',
    'earlyKeyOps',
    'ready',
    'lifetime',
    'unsettled',
    'settler',
    'askedInVain',
    'hasYielded',
    'onlySettler',
    'refusals',
    'raced',
    'corrections',
    'unread',
    'heldFrom',
    'correctedFrom',
    'lagging',
  );
  known.push(
    'unsettledIn',
    'owed',
    'owing',
    'ttlDoubted',
    'keptFields',
    'trespassedOn',
    'trimmed',
    'isGone',
    'bytes',
    'countedBytes',
  );
  // It stays in memory while it has any of these.
  known.push(
    'log',
    'isDue',
    'links',
    'linksMax',
    'renewals',
    'isFromState',
    'stream',
    'wipes',
    'last',
    'outlived',
    'away',
  );
  expect(Object.keys(state).sort()).toEqual(known.sort());
});

test('parts laid under what came later are what they would be had nothing been taken away', () => {
  const [first, later, whole] = [0, 1, 2].map(() => new KeyState(0, 'k')) as [KeyState, KeyState, KeyState];
  const early = (state: KeyState): void => {
    const put = op(0, 10);
    state.put(put, Type.hash, 'f', Buffer.from('1'));
    state.note(put);
    const add = op(0, 20);
    state.increment(add, Type.hash, 'n', 5n);
    state.note(add);
    const ttl = op(0, 30);
    state.setTtl(ttl, 1e15, true);
    state.note(ttl);
  };
  const late = (state: KeyState): void => {
    const put = op(1, 5, [30]);
    state.put(put, Type.hash, 'g', Buffer.from('2'));
    state.note(put);
    const add = op(1, 6, [30]);
    state.increment(add, Type.hash, 'n', 7n);
    state.note(add);
    const remove = op(1, 7, [30]);
    state.remove(remove, Type.hash, 'f');
    state.note(remove);
  };
  early(first);
  early(whole);
  late(later);
  late(whole);
  later.underlay(first.parts);
  const of = (state: KeyState): unknown => ({
    elements: state.parts.elements
      .map((e) => [e.name, e.baseDead, e.puts.length, e.increments.map((i) => i.delta)])
      .sort(),
    tops: state.parts.tops,
    dead: state.deadTypes,
    ttls: state.ttls.map(({ at }) => at),
  });
  expect(of(later)).toEqual(of(whole));
  // It had removed something: whether Redis still has the time to live is not known.
  expect(later.ttls.map(({ isDoubtful }) => isDoubtful)).toEqual([true]);
  // A delete that had seen all leaves nothing of what is beneath.
  const deleted = new KeyState(0, 'k');
  deleted.delete(op(1, 9, [30]));
  deleted.underlay(first.parts);
  expect([deleted.isAbsent, deleted.ttls]).toEqual([true, NONE]);
});

/** A counter to which two regions have added 1, 2, 3 …; an operation has seen so many before it. */
function counter(seen: (i: number) => number): KeyState {
  const state = new KeyState(0, 'k');
  for (let i = 1; i <= 10; i++) {
    const add = op(i % 2, i, [seen(i), seen(i)]);
    state.increment(add, Type.string, '', BigInt(i));
    state.note(add);
  }
  return state;
}

test('of a counter that is written all the time what is old is taken out, and adds up when it comes back', () => {
  const state = counter((i) => i - 1);
  const [old] = state.split([6, 6]);
  const sum = (): bigint => state.string!.increments.reduce((total, { delta }) => total + (delta as bigint), 0n);
  expect(sum()).toBe(7n + 8n + 9n + 10n);
  state.underlayElement(old!);
  expect(sum()).toBe(55n);
  expect(state.split([0, 0])).toEqual([]);
});

test('what is old stays where something newer has not seen it: that could become base before', () => {
  expect(counter((i) => (i > 6 ? 6 : i - 1)).split([6, 6])).toHaveLength(1);
  expect(counter((i) => (i > 6 ? 5 : i - 1)).split([6, 6])).toEqual([]);
});
