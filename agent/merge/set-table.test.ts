import * as fc from 'fast-check';
import { hashBytes, hashText } from './key-hash';
import { OriginTable, seenAt } from './origins';
import { SetOutcome, SetTable, sourceOf } from './set-table';

test("a key's hash is the same from its bytes and from its text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(7), (bytes, offset) => {
      const buf = Buffer.concat([Buffer.alloc(offset, 7), Buffer.from(bytes)]);
      expect(hashBytes(buf, offset, buf.length)).toBe(hashText(Buffer.from(bytes).toString('latin1')));
    }),
  );
});

interface Put {
  origin: number;
  position: number;
  stamp: number;
  value: string;
}

const origins = new OriginTable();
const REGIONS = [origins.index('eu:1'), origins.index('us:1'), origins.index('ap:1')];

/** One SET of a region on one of a few keys, which has seen up to a place of each of the others; or a release, or a leave. */
const step = fc.oneof(
  fc.record({
    kind: fc.constant('set' as const),
    origin: fc.constantFrom(...REGIONS),
    key: fc.nat(5),
    seen: fc.array(fc.nat(40), { minLength: 3, maxLength: 3 }),
    stamp: fc.nat(6),
  }),
  fc.record({ kind: fc.constant('release' as const), key: fc.nat(5) }),
  fc.record({ kind: fc.constant('leave' as const), key: fc.nat(5) }),
);

test('live puts, outcomes and references are those of a naive list, whatever collides', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.nat(3), (steps, hashes) => {
      const table = new SetTable<{ key: number }>(origins);
      /** What a map of lists would hold, and per key the heads that the queues refer to. */
      const puts = new Map<number, Put[]>();
      const references = new Map<number, number[]>();
      const left = new Map<number, { key: number }>();
      const latest = [0, 0, 0];
      const hashOf = (key: number): number => key % (hashes + 1);
      for (const [n, action] of steps.entries()) {
        const { key } = action;
        const name = Buffer.from(`k${key}`);
        const refs = references.get(key) ?? [];
        references.set(key, refs);
        if (action.kind === 'set') {
          const position = ++latest[action.origin]!;
          const seen = action.seen.map((place, o) => Math.min(place, latest[o]!));
          const value = `v${n}`;
          const payload = Buffer.from(`*3\r\n$3\r\nSET\r\n$2\r\nk${key}\r\n$${value.length}\r\n${value}\r\n`);
          const at = { args: 13, argsEnd: payload.length, key: 17, keyEnd: 19 };
          const source = sourceOf(payload, action.origin, seen);
          const outcome = table.set(0, hashOf(key), source, at, position, action.stamp, true);
          refs.push(table.head);
          const before = puts.get(key) ?? [];
          const unseen = before.filter((p) => p.origin !== action.origin && seenAt(seen, p.origin) < p.position);
          const put = { origin: action.origin, position, stamp: action.stamp, value };
          const live = [...unseen, put];
          puts.set(key, live);
          const wins = live.every(
            (p) =>
              p === put ||
              put.stamp > p.stamp ||
              (put.stamp === p.stamp && origins.region(put.origin) > origins.region(p.origin)),
          );
          expect(outcome).toBe(unseen.length === 0 ? SetOutcome.quiet : wins ? SetOutcome.wins : SetOutcome.loses);
        } else if (action.kind === 'leave' && puts.has(key)) {
          const state = { key };
          const head = table.find(0, hashOf(key), name);
          expect(table.references(head)).toBe(refs.filter((ref) => ref === head).length);
          table.leave(head, state);
          left.set(head, state);
          puts.delete(key);
        } else if (action.kind === 'release' && refs.length > 0) {
          const head = refs.shift()!;
          const state = table.release(head);
          expect(state).toBe(left.get(head));
          if (refs.includes(head)) continue;
          if (left.has(head)) left.delete(head);
          else puts.delete(key);
        }
      }
      expect(table.keys).toBe(puts.size);
      for (let key = 0; key <= 5; key++) {
        const head = table.find(0, hashOf(key), Buffer.from(`k${key}`));
        const found = head < 0 ? [] : [...table.puts(head)].map(({ value }) => value.toString());
        expect(found.sort()).toEqual((puts.get(key) ?? []).map(({ value }) => value).sort());
        if (head >= 0) expect(table.keyOf(head)).toEqual({ db: 0, key: `k${key}` });
      }
    }),
    { numRuns: 2000 },
  );
});

test('thousands of keys come and go, and the memory of a peak is given back', () => {
  const table = new SetTable<object>(origins);
  const payload = Buffer.concat(
    Array.from({ length: 5000 }, (_, i) =>
      Buffer.from(`*3\r\n$3\r\nSET\r\n$5\r\n${String(i).padStart(5, '0')}\r\n$1\r\nv\r\n`),
    ),
  );
  const bytes = payload.length / 5000;
  for (let round = 0; round < 3; round++) {
    const source = sourceOf(payload, REGIONS[0]!, []);
    const heads: number[] = [];
    for (let i = 0; i < 5000; i++) {
      const start = i * bytes;
      const at = { args: start + 13, argsEnd: start + bytes, key: start + 17, keyEnd: start + 22 };
      table.set(0, hashBytes(payload, at.key, at.keyEnd), source, at, i, i, true);
      heads.push(table.head);
    }
    expect(table.keys).toBe(5000);
    expect(source.users).toBe(5000);
    for (const head of heads) table.release(head);
    expect(table.keys).toBe(0);
    expect(source.users).toBe(0);
    expect(table.find(0, hashText('00001'), Buffer.from('00001'))).toBe(-1);
  }
});
