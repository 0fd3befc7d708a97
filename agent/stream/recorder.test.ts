import * as fc from 'fast-check';
import { type OpRecord, RecordKind } from '../record';
import { encodeCommand } from '../resp';
import { CURSOR_KEY, formatMarker, HEARTBEAT_KEY, type Marker, stampOf } from './keys';
import { Recorder, type RecorderEvents, type RecorderState, type Removal } from './recorder';

const marker = (block: string, stamp: number, vector: [string, number][]): string[] => [
  'SET',
  CURSOR_KEY,
  formatMarker({ block, stamp, vector: new Map(vector) }),
];
const cursor = (n: number): string[] => marker(`b${n}`, 0, [['us:1', n]]);

type Event =
  | { kind: 'record'; record: OpRecord }
  | { kind: 'marker'; marker: Marker; offset: number }
  | { kind: 'heartbeat'; timeMs: number; offset: number };

function start(over: Partial<RecorderState> = {}): { recorder: Recorder; events: Event[]; acks: () => number } {
  const events: Event[] = [];
  let acks = 0;
  const state = { origin: 'eu:1', offset: 0, end: 0, stamp: 1, seen: new Map(), db: 0, ...over };
  const recorder = new Recorder(state, {
    record: (record) => events.push({ kind: 'record', record: { ...record, payload: Buffer.from(record.payload) } }),
    marker: (found, offset) => events.push({ kind: 'marker', marker: found, offset }),
    heartbeat: (timeMs, offset) => events.push({ kind: 'heartbeat', timeMs, offset }),
    getAck: () => acks++,
  });
  return { recorder, events, acks: () => acks };
}

interface RecordedOp {
  argv: string;
  db: number;
  position: number;
  stamp: number;
  seen: string;
}

/** The operations of records, each with what identifies and orders it. */
function opsOf(records: readonly OpRecord[]): RecordedOp[] {
  const ops: RecordedOp[] = [];
  for (const { kind, payload, end, stamp, seen, db: first, ops: count } of records) {
    let db = first;
    let n = 0;
    for (const { argv, at } of commandsIn(payload)) {
      if (argv[0] === 'SELECT') db = Number(argv[1]);
      if (NO_OPERATIONS.includes(argv[0]!)) continue;
      const position = kind === RecordKind.difference ? end : end - payload.length + at;
      ops.push({ argv: argv.join(' '), db, position, stamp: stamp + n++, seen: JSON.stringify([...seen]) });
    }
    expect(n).toBe(count);
  }
  return ops;
}

const NO_OPERATIONS = ['SELECT', 'MULTI', 'EXEC', 'PING', 'REPLCONF', 'EXISTS', 'COMMAND', 'LASTSAVE'];

function commandsIn(payload: Buffer): { argv: string[]; at: number }[] {
  const found: { argv: string[]; at: number }[] = [];
  let at = 0;
  const line = (): string => {
    const end = payload.indexOf('\r\n', at);
    const text = payload.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  while (at < payload.length) {
    const argc = Number(line().slice(1));
    const argv = Array.from({ length: argc }, () => {
      const length = Number(line().slice(1));
      at += length + 2;
      return payload.toString('latin1', at - length - 2, at - 2);
    });
    found.push({ argv, at });
  }
  return found;
}

const recordsOf = (events: readonly Event[]): OpRecord[] =>
  events.flatMap((event) => (event.kind === 'record' ? [event.record] : []));

function feed(commands: readonly string[][], over: Partial<RecorderState> = {}): ReturnType<typeof start> {
  const made = start(over);
  made.recorder.push(Buffer.concat(commands.map((argv) => encodeCommand(argv))));
  return made;
}

test('a command is an operation whose position is its end in the stream', () => {
  const commands = [['SELECT', '0'], ['SET', 'k', 'v'], ['PING'], ['INCR', 'n']];
  const { events } = feed(commands, { offset: 100, end: 90, stamp: 7 });
  const length = (n: number): number => commands.slice(0, n).reduce((sum, argv) => sum + encodeCommand(argv).length, 0);
  expect(opsOf(recordsOf(events)).map(({ argv, position, stamp }) => [argv, position, stamp])).toEqual([
    ['SET k v', 100 + length(2), 7],
    ['INCR n', 100 + length(4), 8],
  ]);
  expect(recordsOf(events)[0]).toMatchObject({ kind: RecordKind.stream, start: 90, end: 100 + length(4), db: 0 });
});

test("a client's transaction is recorded whole; an agent's block is passed over", () => {
  const { events } = feed([
    ['MULTI'],
    ['SET', 'a', '1'],
    ['SET', 'b', '2'],
    ['EXEC'],
    ['MULTI'],
    ['SET', 'x', 'foreign'],
    cursor(5),
    ['EXEC'],
    ['SET', 'c', '3'],
  ]);
  expect(events.map(({ kind }) => kind)).toEqual(['record', 'marker', 'record']);
  expect(opsOf(recordsOf(events)).map(({ argv, seen }) => [argv, seen])).toEqual([
    ['SET a 1', '[]'],
    ['SET b 2', '[]'],
    ['SET c 3', '[["us:1",5]]'],
  ]);
});

test("a client's hand on agents' keys is no operation, but for what it does to others in the same command", () => {
  const others = [
    ['DEL', 'meridian:cursor', 'a'],
    ['UNLINK', 'meridian:cursor', 'meridian:heartbeat', 'b'],
    ['MSET', 'meridian:cursor', 'x', 'c', '1'],
    ['DEL', 'd', 'meridian:heartbeat'],
  ];
  const own = [
    ['DEL', 'meridian:cursor', 'meridian:heartbeat'],
    ['MSET', 'meridian:cursor', '1', 'meridian:x', '2'],
    ['LPUSH', 'meridian:cursor', 'a'],
    ['SET', 'meridian:cursor', 'junk'],
  ];
  const { events } = feed([...own, ...others]);
  expect(opsOf(recordsOf(events)).map(({ argv }) => argv)).toEqual(others.map((argv) => argv.join(' ')));
});

test('a marker alone, without MULTI, is a marker', () => {
  const { events } = feed([['SET', 'a', '1'], cursor(9), ['SET', 'b', '2']]);
  expect(events.map(({ kind }) => kind)).toEqual(['record', 'marker', 'record']);
  expect(opsOf(recordsOf(events)).map(({ seen }) => seen)).toEqual(['[]', '[["us:1",9]]']);
});

test('stamps follow heartbeats and what markers carry, and never fall', () => {
  const { events } = feed([
    ['SET', 'a', '1'],
    ['SET', HEARTBEAT_KEY, '1000'],
    ['SET', 'b', '2'],
    marker('m', stampOf(5000), [['us:1', 1]]),
    ['SET', 'c', '3'],
    ['SET', HEARTBEAT_KEY, '2000'],
    ['SET', 'd', '4'],
  ]);
  expect(opsOf(recordsOf(events)).map(({ stamp }) => stamp)).toEqual([
    1,
    stampOf(1000),
    stampOf(5000) + 1,
    stampOf(5000) + 2,
  ]);
});

test('the database is known across records and blocks', () => {
  const { events } = feed([
    ['SELECT', '3'],
    ['SET', 'a', '1'],
    ['MULTI'],
    ['SELECT', '5'],
    ['SET', 'x', 'foreign'],
    ['SELECT', '0'],
    cursor(1),
    ['EXEC'],
    ['SET', 'b', '2'],
    ['MULTI'],
    ['SELECT', '2'],
    ['SET', 'c', '3'],
    ['SET', 'd', '4'],
    ['EXEC'],
  ]);
  expect(opsOf(recordsOf(events)).map(({ argv, db }) => [argv, db])).toEqual([
    ['SET a 1', 3],
    ['SET b 2', 0],
    ['SET c 3', 2],
    ['SET d 4', 2],
  ]);
});

test('REPLCONF GETACK is reported, and counts in the offset', () => {
  const { recorder, acks } = feed([['REPLCONF', 'GETACK', '*']]);
  expect(acks()).toBe(1);
  expect(recorder.state.offset).toBe(encodeCommand(['REPLCONF', 'GETACK', '*']).length);
});

test('REPLCONF GETACK is reported behind what was written before it, in the same chunk too', () => {
  const order: string[] = [];
  const state = { origin: 'eu:1', offset: 0, end: 0, stamp: 1, seen: new Map(), db: 0 };
  const recorder = new Recorder(state, {
    record: ({ end }) => order.push(`record up to ${end}`),
    marker: () => undefined,
    heartbeat: () => undefined,
    getAck: () => order.push(`asked, read up to ${recorder.state.end}`),
  });
  const [set, getAck] = [
    ['SET', 'a', '1'],
    ['REPLCONF', 'GETACK', '*'],
  ].map((argv) => encodeCommand(argv)) as [Buffer, Buffer];
  recorder.push(Buffer.concat([set, getAck]));
  const end = set.length + getAck.length;
  expect(order).toEqual([`record up to ${end}`, `asked, read up to ${end}`]);
});

describe("expiries in an agent's block", () => {
  const before = JSON.stringify([['us:1', 1]]);
  const after = JSON.stringify([['us:1', 2]]);
  const block = (...commands: string[][]): string[][] => [['MULTI'], ...commands, cursor(2), ['EXEC']];
  const expiriesOf = (...commands: string[][]): [string, string][] =>
    opsOf(recordsOf(feed([cursor(1), ...block(...commands)]).events)).map(({ argv, seen }) => [argv, seen]);

  test('are operations of this region, which had not seen the block', () => {
    expect(expiriesOf(['UNLINK', 'k'], ['SET', 'k', 'v'])).toEqual([['UNLINK k', before]]);
  });

  test('have seen the block where they removed what it wrote: PEXPIREAT with a time that has passed', () => {
    expect(expiriesOf(['HSET', 'k', 'f', 'v'], ['UNLINK', 'k'])).toEqual([['UNLINK k', after]]);
    expect(expiriesOf(['HSET', 'k', 'f', 'v'], ['UNLINK', 'k'], ['HSET', 'k', 'g', 'w'])).toEqual([
      ['UNLINK k', before],
    ]);
  });

  test('are told from what clients said elsewhere', () => {
    expect(expiriesOf(['unlink', 'k'], ['UNLINK', 'a', 'b'], ['DEL', 'c'])).toEqual([]);
  });

  test('of fields that an agent found hidden there had not seen it, though it wrote them; of a client they are what they say', () => {
    expect(expiriesOf(['HSET', 'h', 'f', ''], ['HdEl', 'h', 'f'], ['HDEL', 'h', 'g'], ['hdel', 'h', 'i'])).toEqual([
      ['HDEL h f', before],
    ]);
    const client = [['HdEl', 'h', 'f'], ['MULTI'], ['HdEl', 'h', 'g'], ['SET', 'a', '1'], ['EXEC']];
    expect(opsOf(recordsOf(feed(client).events)).map(({ argv }) => argv)).toEqual(['HDEL h f', 'HDEL h g', 'SET a 1']);
  });

  test('are recorded once, though the block is read again after a restart', () => {
    const commands = [
      ['SET', 'a', '1'],
      ...block(['UNLINK', 'k'], ['SET', 'k', 'v'], ['HSET', 'h', 'f', 'v'], ['UNLINK', 'h']),
      ['SET', 'b', '2'],
    ];
    const all = recordsOf(feed(commands).events);
    expect(opsOf(all).map(({ argv }) => argv)).toEqual(['SET a 1', 'UNLINK k', 'UNLINK h', 'SET b 2']);
    // The agent stops after any of these records, and goes on behind the last bytes that it recorded.
    const stream = Buffer.concat(commands.map((argv) => encodeCommand(argv)));
    for (let kept = 1; kept <= all.length; kept++) {
      const last = all[kept - 1]!;
      const offset = all.slice(0, kept).findLast(({ kind }) => kind === RecordKind.stream)!.end;
      const again = start({ offset, end: last.end, stamp: last.stamp + last.ops, seen: last.seen });
      again.recorder.push(stream.subarray(offset));
      expect(opsOf([...all.slice(0, kept), ...recordsOf(again.events)])).toEqual(opsOf(all));
    }
  });
});

describe('however the stream is cut into chunks', () => {
  const key = fc.constantFrom('a', 'b', 'c');
  const command = fc.oneof(
    fc.tuple(fc.constant('SET'), key, fc.string()).map((argv): string[] => argv),
    fc.tuple(fc.constant('INCR'), key).map((argv): string[] => argv),
    fc.tuple(fc.constant('UNLINK'), key).map((argv): string[] => argv),
    fc.tuple(fc.constant('SELECT'), fc.constantFrom('0', '1')).map((argv): string[] => argv),
  );
  const unit = fc.oneof(
    { weight: 4, arbitrary: command.map((argv) => [argv]) },
    { weight: 1, arbitrary: fc.array(command, { minLength: 1 }).map((list) => [['MULTI'], ...list, ['EXEC']]) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.array(command), fc.nat(99))
        .map(([list, n]) => [['MULTI'], ...list, ['SELECT', '0'], cursor(n), ['EXEC']]),
    },
    { weight: 1, arbitrary: fc.nat(99).map((n) => [cursor(n)]) },
    { weight: 1, arbitrary: fc.nat(9999).map((n) => [['SET', HEARTBEAT_KEY, String(n)]]) },
    { weight: 1, arbitrary: fc.constant([['PING'], ['REPLCONF', 'GETACK', '*']]) },
  );

  test('the operations, stamps, positions and markers are the same', () => {
    fc.assert(
      fc.property(fc.array(unit), fc.array(fc.nat(60), { minLength: 1 }), (units, cuts) => {
        const stream = Buffer.concat(units.flat().map((argv) => encodeCommand(argv)));
        const whole = start();
        whole.recorder.push(Buffer.from(stream));
        const parts = start();
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = 1 + cuts[i % cuts.length]!;
          const piece = Buffer.from(stream.subarray(at, at + size));
          parts.recorder.push(piece);
          // It is the caller's again: nothing may be read from it any more.
          piece.fill(0x21);
          at += size;
        }
        expect(opsOf(recordsOf(parts.events))).toEqual(opsOf(recordsOf(whole.events)));
        expect(parts.events.filter(({ kind }) => kind !== 'record')).toEqual(
          whole.events.filter(({ kind }) => kind !== 'record'),
        );
        // Where a record ends may differ, by commands that are no operations.
        const { end: _parts, ...state } = parts.recorder.state;
        const { end: _whole, ...expected } = whole.recorder.state;
        expect(state).toEqual(expected);
        expect(parts.recorder.state.offset).toBe(stream.length);
        for (const records of [recordsOf(whole.events), recordsOf(parts.events)]) {
          let end = 0;
          for (const record of records) {
            expect(record.start).toBe(end);
            expect(record.end).toBeGreaterThan(record.start);
            end = record.end;
            // A record's payload is the stream's own bytes, ending at its end.
            if (record.kind === RecordKind.stream)
              expect(stream.subarray(end - record.payload.length, end).equals(record.payload)).toBe(true);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('what does not leave the region', () => {
  const told = (
    commands: readonly string[][],
    events: Pick<RecorderEvents, 'flushComes' | 'flushRefused'> & {
      removal?: (db: number, key: string) => Removal;
      given?: () => void;
    },
  ): RecordedOp[] => {
    const records: OpRecord[] = [];
    const state = { origin: 'eu:1', offset: 0, end: 0, stamp: 1, seen: new Map(), db: 0 };
    const recorder = new Recorder(state, {
      record: (record) => {
        events.given?.();
        records.push({ ...record, payload: Buffer.from(record.payload) });
      },
      marker: () => undefined,
      heartbeat: () => undefined,
      getAck: () => undefined,
      ...events,
    });
    const stream = Buffer.concat(commands.map((argv) => encodeCommand(argv)));
    recorder.push(stream);
    // All bytes keep their places.
    expect(recorder.state.offset).toBe(stream.length);
    return opsOf(records);
  };
  const set = (key: string): string[] => ['SET', key, '1'];

  test('is an eviction; an UNLINK of a client is told as one', () => {
    const asked: [number, string][] = [];
    const found: Record<string, Removal> = { e: 'evicted', d: 'deleted', x: 'expired' };
    const unlinks = ['e', 'd', 'x'].map((key) => ['UNLINK', key]);
    const ops = told([set('a'), ['SELECT', '2'], ...unlinks, ['unlink', 'e'], ['UNLINK', 'e', 'd'], set('b')], {
      removal: (db, key) => {
        asked.push([db, key]);
        return found[key]!;
      },
    });
    expect(ops.map(({ argv }) => argv)).toEqual([
      'SET a 1',
      'unlink d',
      'UNLINK x',
      'unlink e',
      'UNLINK e d',
      'SET b 1',
    ]);
    const length = (...commands: string[][]): number =>
      Buffer.concat(commands.map((argv) => encodeCommand(argv))).length;
    expect(ops[1]!.position).toBe(length(set('a'), ['SELECT', '2'], ...unlinks.slice(0, 2)));
    expect(asked).toEqual([
      [2, 'e'],
      [2, 'd'],
      [2, 'x'],
    ]);
  });

  test.each([
    ['expired', ['d']],
    // Where Redis evicts.
    ['evicted', ['d', 'x']],
  ] as const)(
    'what would be taken for %s the next time is told by what was heard, and by nothing else',
    (unheard, byEar) => {
      const found: Record<string, Removal> = { e: unheard, d: 'deleted', x: 'expired' };
      const kindsOf = (commands: readonly string[][]): RecordKind[] => {
        const kinds: RecordKind[] = [];
        const state = { origin: 'eu:1', offset: 0, end: 0, stamp: 1, seen: new Map(), db: 0 };
        const recorder = new Recorder(state, {
          record: ({ kind, added }) => (expect(added).toBe(undefined), kinds.push(kind)),
          marker: () => undefined,
          heartbeat: () => undefined,
          getAck: () => undefined,
          removal: (_, key) => found[key]!,
          unheardRemoval: () => unheard,
        });
        for (const argv of commands) recorder.push(encodeCommand(argv));
        return kinds;
      };
      for (const key of ['e', 'd', 'x']) {
        const kind = (byEar as readonly string[]).includes(key) ? RecordKind.told : RecordKind.stream;
        const { stream } = RecordKind;
        expect(kindsOf([set('a'), ['UNLINK', key], set('b')]).filter((each) => each !== stream)).toEqual(
          kind === stream ? [] : [kind],
        );
        expect(kindsOf([['MULTI'], set('a'), ['UNLINK', key], ['EXEC'], set('b')])).toEqual([kind, stream]);
      }
    },
  );

  test("in a client's transaction nothing but an eviction is told otherwise, in an agent's block nothing", () => {
    const removal = (_: number, key: string): Removal => (key === 'e' ? 'evicted' : 'deleted');
    const block = [['MULTI'], set('a'), ['UNLINK', 'e'], ['UNLINK', 'd']];
    expect(told([...block, ['EXEC']], { removal }).map(({ argv }) => argv)).toEqual(['SET a 1', 'UNLINK d']);
    expect(told([...block, cursor(1), ['EXEC']], { removal }).map(({ argv }) => argv)).toEqual(['UNLINK d']);
  });

  test('is a flush that is refused', () => {
    const flushes: (number | null)[] = [];
    const flushRefused = (db: number | null): number => flushes.push(db);
    const commands = [
      set('a'),
      ['FLUSHALL', 'ASYNC'],
      ['SELECT', '4'],
      ['MULTI'],
      set('b'),
      ['flushdb'],
      ['EXEC'],
      ['MULTI'],
      ['FLUSHALL'],
      cursor(1),
      ['EXEC'],
      set('c'),
    ];
    const refused = told(commands, { flushRefused });
    expect(refused.map(({ argv, db }) => `${db} ${argv}`)).toEqual(['0 SET a 1', '4 SET b 1', '4 SET c 1']);
    // That of another region, which an agent applied, is none.
    expect(flushes).toEqual([null, 4]);
    // Said before anything that stands behind it, or with it, is given.
    const order: string[] = [];
    const flushComes = (): number => order.push('flush');
    told(commands, { flushComes, flushRefused, given: () => order.push('record') });
    expect(order).toEqual(['flush', 'flush', 'record', 'record']);
    const carried = told(commands, {});
    expect(carried.map(({ argv }) => argv)).toEqual(['SET a 1', 'FLUSHALL ASYNC', 'SET b 1', 'flushdb', 'SET c 1']);
  });
});

test('a record says whether a trim may be in it, however the stream is cut', () => {
  const commands = [
    ['SET', 'a', '1'],
    ['MULTI'],
    ['XADD', 's', 'MAXLEN', '=', '5', '1-1', 'f', 'v'],
    ['SET', 'b', '1'],
    ['EXEC'],
    ['SET', 'c', '1'],
    ['xtrim', 's', 'MINID', '=', '1-1'],
    ['SET', 'd', '1'],
  ];
  const bytes = Buffer.concat(commands.map((argv) => encodeCommand(argv)));
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 6 }), (cuts) => {
      const { recorder, events } = start();
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      places.slice(1).forEach((to, i) => recorder.push(bytes.subarray(places[i], to)));
      const records = recordsOf(events);
      for (const { payload, mayNeedLook } of records)
        if (/xadd|xtrim|function/i.test(payload.toString())) expect(mayNeedLook).toBe(true);
    }),
  );
  const alone = start();
  alone.recorder.push(encodeCommand(['SET', 'a', '1']));
  expect(recordsOf(alone.events).map(({ mayNeedLook }) => mayNeedLook)).toEqual([false]);
});
