import * as fc from 'fast-check';
import { type OpRecord, RecordKind } from '../record';
import { FINGERPRINT_WORDS, fingerprint, fingerprintOfText, quickHash, setHashKey } from './key-hash';
import { OriginTable, type Seen, seenAt } from './origins';
import type { PayloadSource } from './payload-source';
import { SetRun } from './set-run';
import { SetSource, SetSources } from './set-source';
import { SetOutcome, SetTable } from './set-table';

test("a key's fingerprint is the same from its bytes and from its text, and another in another database", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(7), (bytes, offset) => {
      const buf = Buffer.concat([Buffer.alloc(offset, 7), Buffer.from(bytes)]);
      const [ofBytes, ofText, elsewhere] = [0, 1, 2].map(() => new Int32Array(FINGERPRINT_WORDS));
      fingerprint(3, buf, offset, buf.length, ofBytes!, 0);
      fingerprintOfText(3, Buffer.from(bytes).toString('latin1'), ofText!);
      fingerprint(4, buf, offset, buf.length, elsewhere!, 0);
      expect(ofBytes).toEqual(ofText);
      expect(elsewhere![0]).toBe(ofBytes![0]);
      expect(elsewhere).not.toEqual(ofBytes);
    }),
  );
});

test('hashes follow from the hash key, which is by chance unless it is given', () => {
  const hashes = (): unknown[] => {
    const out = new Int32Array(FINGERPRINT_WORDS);
    fingerprintOfText(1, 'some key', out);
    return [...out, quickHash(1, Buffer.from('some key'), 0, 8)];
  };
  const byChance = hashes();
  setHashKey(1, 2);
  const given = hashes();
  setHashKey(2, 1);
  const other = hashes();
  setHashKey(1, 2);
  expect(hashes()).toEqual(given);
  for (let i = 0; i < given.length; i++) expect(new Set([byChance[i], given[i], other[i]]).size).toBe(3);
});

test('keys that differ in little have fingerprints that share no word', () => {
  const words = Array.from({ length: FINGERPRINT_WORDS }, () => new Set<number>());
  const out = new Int32Array(FINGERPRINT_WORDS);
  for (let i = 0; i < 20_000; i++) {
    fingerprintOfText(0, `key:${i}`, out);
    out.forEach((word, w) => words[w]!.add(word));
  }
  // By chance 0.05 pairs of 20,000 share one of 2^32 words.
  for (const seen of words) expect(seen.size).toBeGreaterThan(19_995);
});

/** `SET key value` as a source of its own; with it the run that holds it. */
function one(
  db: number,
  key: string,
  value: string,
  origin: number,
  seen: Seen,
  end: number,
  stamp: number,
): { source: SetSource; run: SetRun } {
  const head = `*3\r\n$3\r\nSET\r\n$${key.length}\r\n`;
  const payload = Buffer.from(`${head}${key}\r\n$${value.length}\r\n${value}\r\n`);
  const record: OpRecord = {
    kind: RecordKind.stream,
    origin: origins.id(origin),
    start: end - payload.length,
    end,
    stamp,
    ops: 1,
    db,
    seen: new Map<string, number>(),
    payload,
  };
  const run = new SetRun();
  run.add(db, payload, 0, 13, head.length, head.length + key.length, payload.length, 0);
  return { source: new SetSource(record, origin, seen, db), run };
}

interface Put {
  origin: number;
  position: number;
  stamp: number;
  value: string;
}

const origins = new OriginTable();
const REGIONS = [origins.index('eu:1'), origins.index('us:1'), origins.index('ap:1')];

/** Positions go up by this: more than the bytes of a SET. */
const STEP = 100;

/** Four times six names that want the same slot. */
const colliding: string[][] = [];
{
  const bySlot = new Map<number, string[]>();
  const out = new Int32Array(FINGERPRINT_WORDS);
  for (let i = 0; colliding.length < 4; i++) {
    fingerprintOfText(0, `k${i}`, out);
    const slot = (out[0]! & 0xff000000) | (out[0]! & 7);
    const names = bySlot.get(slot) ?? [];
    bySlot.set(slot, names);
    names.push(`k${i}`);
    if (names.length === 6) colliding.push(names);
  }
}

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

test('live puts, outcomes and references are those of a naive list, whatever collides and whatever is let go of', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.nat(3), fc.boolean(), (steps, hashes, forgets) => {
      const journal = new Map<string, Buffer>();
      const payloads: PayloadSource = {
        keepBytes: 60,
        has: ({ start }) => start % 3 !== 0,
        payload: ({ origin, end }, bytes) => {
          const payload = journal.get(`${origin} ${end}`)!;
          expect(payload.length).toBe(bytes);
          return payload;
        },
        glance: (origin, from, to) => {
          const [, payload] = [...journal].find(([name, { length }]) => {
            const end = Number(name.slice(origin.length + 1));
            return name.startsWith(`${origin} `) && end >= to && end - length <= from;
          })!;
          const base = Number([...journal].find(([, each]) => each === payload)![0].slice(origin.length + 1));
          return payload.subarray(payload.length - (base - from), payload.length - (base - to));
        },
      };
      const sources = new SetSources(forgets ? payloads : undefined);
      const table = new SetTable<{ key: number }>(origins, sources);
      /** What a map of lists would hold, and per key the heads that the queues refer to. */
      const puts = new Map<number, Put[]>();
      const references = new Map<number, number[]>();
      const left = new Map<number, { key: number }>();
      const latest = [0, 0, 0];
      // Keys that share a first word, and with it the slot.
      const nameOf = (key: number): string => colliding[key % (hashes + 1)]![key]!;
      for (const [n, action] of steps.entries()) {
        const { key } = action;
        const name = nameOf(key);
        const refs = references.get(key) ?? [];
        references.set(key, refs);
        if (action.kind === 'set') {
          const position = (latest[action.origin]! += STEP);
          const seen = action.seen.map((place, o) => Math.min(place * STEP, latest[o]!));
          const value = `v${n}`;
          const { source, run } = one(0, name, value, action.origin, seen, position, action.stamp);
          journal.set(`${source.place.origin} ${position}`, source.payload!);
          table.open(source);
          table.touch(run);
          const outcome = table.set(run, 0, source, true);
          table.close(source);
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
          const head = table.find(0, name);
          expect(table.references(head)).toBe(refs.filter((ref) => ref === head).length);
          table.leave(head, state);
          left.set(head, state);
          puts.delete(key);
        } else if (action.kind === 'release' && refs.length > 0) {
          const head = refs.shift()!;
          const state = released(table, head);
          expect(state).toBe(left.get(head));
          if (refs.includes(head)) continue;
          if (left.has(head)) left.delete(head);
          else puts.delete(key);
        }
      }
      expect(table.keys).toBe(puts.size);
      expect(table.heads().length).toBe(puts.size);
      for (let key = 0; key <= 5; key++) {
        const head = table.find(0, nameOf(key));
        const found = head < 0 ? [] : [...table.puts(head)].map((put) => put.value().toString());
        expect(found.sort()).toEqual((puts.get(key) ?? []).map(({ value }) => value).sort());
        if (head >= 0) expect(table.keyOf(head)).toEqual({ db: 0, key: nameOf(key) });
      }
    }),
    { numRuns: 1000 },
  );
});

test('a hundred thousand keys come and go: some 50 bytes each, and the memory of a peak is given back', () => {
  const KEYS = 100_000;
  const all = new SetSources();
  const table = new SetTable<object>(origins, all);
  const empty = table.bytes;
  const run = new SetRun();
  for (let round = 0; round < 2; round++) {
    const heads: number[] = [];
    const sources: SetSource[] = [];
    for (let i = 0; i < KEYS;) {
      const names = Array.from({ length: 50 }, () => String(i++).padStart(6, '0'));
      const payload = Buffer.from(names.map((name) => `*3\r\n$3\r\nSET\r\n$6\r\n${name}\r\n$1\r\nv\r\n`).join(''));
      const bytes = payload.length / 50;
      const end = (i * bytes) / 50;
      const base = {
        kind: RecordKind.stream,
        origin: 'eu:1',
        start: end - payload.length,
        end,
        stamp: i,
        ops: 50,
        db: 0,
      };
      const source = new SetSource({ ...base, payload }, REGIONS[0]!, [], 0);
      sources.push(source);
      table.open(source);
      for (let j = 0; j < 50; j++) {
        const at = j * bytes;
        run.add(0, payload, at, at + 13, at + 17, at + 23, at + bytes, j);
      }
      table.touch(run);
      for (let j = 0; j < 50; j++) {
        if (table.set(run, j, source, true) !== SetOutcome.quiet) throw new Error('keys that nobody else has written');
        heads.push(table.head);
      }
      run.size = 0;
      table.close(source);
    }
    expect(table.keys).toBe(KEYS);
    expect(table.bytes / KEYS).toBeLessThan(64);
    expect(all.bytes).toBe(sources.reduce((sum, { payloadBytes }) => sum + payloadBytes, 0));
    expect(table.keyOf(table.find(0, '012345'))).toEqual({ db: 0, key: '012345' });
    for (const head of heads) released(table, head);
    expect(table.keys).toBe(0);
    expect(sources.every(({ users, payload }) => users === 0 && payload === null)).toBe(true);
    expect(table.find(0, '000001')).toBe(-1);
    expect(table.bytes).toBeLessThanOrEqual(empty + 2 ** 20);
    expect(all.bytes).toBe(0);
  }
});

/** As the window does it. */
function released<State extends object>(table: SetTable<State>, head: number): State | undefined {
  table.touchHeads(Int32Array.of(head), 1);
  return table.release(head);
}
