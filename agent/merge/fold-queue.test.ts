import * as fc from 'fast-check';
import { FoldQueue, type Shifted } from './fold-queue';
import { KeyState } from './key-state';

interface Queued {
  head: number;
  position: number;
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      push: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 3 * 2 ** 31 })),
      times: fc.nat(3000),
    }),
  },
  fc.record({ other: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ shift: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ back: fc.nat(1000), empties: fc.boolean() }),
);

test('gives back what was pushed, in order, up to a position, over chunks and far apart', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const queue = new FoldQueue();
      let model: Queued[] = [];
      const states = new Map<KeyState, number>();
      let position = 0;
      let head = 0;
      const into = new Int32Array(64);
      const taken: Shifted = { head: 0, other: null, position: 0 };
      for (const one of steps) {
        if ('back' in one) {
          // What comes back from the shelf is older than what is here, and than what was.
          const got: Queued[] = [];
          while (one.empties && queue.shift(taken)) got.push({ head: taken.head, position: taken.position });
          expect(got).toEqual(one.empties ? model : []);
          if (one.empties) model = [];
          position = Math.max(0, Math.floor(position) - one.back);
        } else if ('push' in one)
          for (let i = 0; i <= one.times; i++) {
            position = Math.floor(position) + (i === 0 ? one.push : 7);
            queue.push(head, position);
            model.push({ head: head++, position });
          }
        else if ('other' in one) {
          // What is no bytes of the stream stands between its positions.
          const state = new KeyState(0, String(head));
          position += one.other / 8;
          states.set(state, position);
          queue.pushOf(state, null, position);
          model.push({ head: -1, position });
        } else {
          const place = model[Math.floor(one.shift * (model.length - 1))];
          if (place === undefined) continue;
          const until = place.position;
          const got: Queued[] = [];
          for (;;) {
            const n = queue.shiftHeads(until, into);
            for (let i = 0; i < n; i++) got.push({ head: into[i]!, position: -1 });
            if (n > 0) continue;
            const other = queue.shiftOther(until);
            if (other === undefined) break;
            expect(states.get(other.state)).toBe(other.position);
            got.push({ head: -1, position: -1 });
          }
          const first = model.findIndex((each) => each.position > until);
          const due = first < 0 ? model : model.slice(0, first);
          expect(got.map((each) => each.head)).toEqual(due.map((each) => each.head));
          model = model.slice(due.length);
        }
        expect(queue.first()).toBe(model[0]?.position);
        expect(queue.last()).toBe(model[model.length - 1]?.position);
      }
      expect(queue.bytes).toBeLessThanOrEqual((model.length / 4096 + 45) * 4096 * 8);
    }),
    { numRuns: 200 },
  );
});
