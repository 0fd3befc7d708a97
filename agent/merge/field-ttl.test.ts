import { CoreRegion } from '../../test/sim/core-region';
import { commandsIn } from '../../test/sim/redis';
import { encodeDump, RdbType } from '../capture';
import { fieldsPayload } from '../session/settle';
import { carriedByKept } from './carried';
import { Op } from './op';
import { OriginTable } from './origins';

const LATER = '9000000000000';

/** Region b has a hash with a field that expires, and is told of what a gave it. */
function begin(): CoreRegion {
  const b = new CoreRegion();
  b.comes('a:1', 1, b.at(), 'HSET h f 1 g 2');
  b.comes('a:1', 2, b.at('a:1'), 'HPEXPIREAT h 5 FIELDS 2 f g');
  return b;
}

/** What the session tells of the fields that b keeps, and by which operations. */
function kept(b: CoreRegion): string {
  const state = b.core.settling.toSettle(['a', 'b', 'c']).find(({ key }) => key === 'h');
  if (state === undefined) return '';
  expect(state.unsettled).toBe(false);
  return [...b.core.settling.keptFields(state)].map(([name, op]) => `${name} by ${op.stamp}`).join(', ');
}

describe('a field that expires in regions a and c while a client of b gives it more time', () => {
  test('stays, and is told by b alone, once for all that have seen it expire', () => {
    const b = begin();
    const seen = b.at('a:1');
    b.clientAt(3, seen, `HPEXPIREAT h ${LATER} FIELDS 1 f`);
    expect(b.comes('c:1', 4, seen, 'HDEL h f', 'HDEL h g')).toBe('HDEL h g');
    expect(kept(b)).toBe('f by 3');
    expect(b.comes('a:1', 5, seen, 'HDEL h f')).toBe('');
    expect(kept(b)).toBe('f by 3');
    b.tells(6, b.at('a:1', 'c:1'), 'HSET h f 1', `HPEXPIREAT h ${LATER} FIELDS 1 f`);
    expect(kept(b)).toBe('');
  });

  test('stays where its hash is said to have expired with it', () => {
    const b = begin();
    const seen = b.at('a:1');
    b.clientAt(3, seen, `HPEXPIREAT h ${LATER} FIELDS 1 f`, 'HDEL h g');
    b.comes('c:1', 4, seen, 'HDEL h f g');
    expect(b.comes('c:1', 5, seen, 'UNLINK h')).toBe('');
    expect(kept(b)).toBe('f by 3');
  });

  test('is not told where a client has removed it, or written it, since', () => {
    for (const command of ['HDEL h f', 'HSET h f 3']) {
      const b = begin();
      const seen = b.at('a:1');
      b.clientAt(3, seen, `HPEXPIREAT h ${LATER} FIELDS 1 f`);
      b.comes('c:1', 4, seen, 'HDEL h f');
      b.clientAt(5, b.at('a:1', 'c:1'), command);
      expect(kept(b)).toBe('');
    }
  });
});

describe('a field that region a has kept', () => {
  /** b has seen it expire. */
  function expired(): CoreRegion {
    const b = begin();
    const seen = b.at('a:1');
    b.clientAt(3, seen, 'HDEL h f');
    b.clientAt(3, seen, 'HDEL h g');
    expect(b.comes('a:1', 4, seen, `HPEXPIREAT h ${LATER} FIELDS 1 f`)).toBe('');
    // Neither b nor c, whom a may reach before b, says anything.
    b.comes('c:1', 5, seen, 'HDEL h f');
    expect(b.core.settling.toSettle(['b', 'c']).filter(({ unsettled }) => unsettled)).toEqual([]);
    return b;
  }
  const fields = ['HSET h f 1', `HPEXPIREAT h ${LATER} FIELDS 1 f`];
  /** As the operation at this place. */
  const madeBy = (b: CoreRegion): Parameters<CoreRegion['stateOf']>[3] => {
    const position = b.at('a:1').get('a:1')!;
    return new Map([[0, [{ origin: 'a:1', position, stamp: 4 }]]]);
  };

  test('comes back', () => {
    const b = expired();
    expect(b.stateOf('a:1', 6, b.at('a:1', 'b:1', 'c:1'), madeBy(b), ...fields)).toBe(fields.join('; '));
    expect(b.core.settling.toSettle(['a', 'b']).filter(({ unsettled }) => unsettled)).toEqual([]);
  });

  test('comes back where a third region’s expiry was not seen, before or after it', () => {
    const b = begin();
    const seen = b.at('a:1');
    b.clientAt(3, seen, 'HDEL h f');
    b.comes('a:1', 4, seen, `HPEXPIREAT h ${LATER} FIELDS 1 f`);
    expect(b.stateOf('a:1', 6, b.at('a:1', 'b:1'), madeBy(b), ...fields)).toBe(fields.join('; '));
    // It is there, and stays.
    expect(b.comes('c:1', 5, seen, 'HDEL h f')).toBe(fields.join('; '));
    const late = expired();
    expect(late.stateOf('a:1', 6, late.at('a:1', 'b:1'), madeBy(late), ...fields)).toBe(fields.join('; '));
  });

  test('does not where a client that had seen the renewal has removed it, though what is told be unseen', () => {
    const b = expired();
    const told = b.at('a:1', 'b:1', 'c:1');
    b.clientAt(6, b.at('a:1'), 'HDEL h f');
    b.correct();
    expect(b.stateOf('a:1', 7, told, madeBy(b), ...fields)).toBe('');
    const late = expired();
    const by = madeBy(late);
    const renewed = late.at('a:1');
    late.stateOf('a:1', 7, late.at('a:1', 'b:1', 'c:1'), by, ...fields);
    expect(late.comes('c:1', 8, renewed, 'HDEL h f')).toBe('HDEL h f');
  });

  test('nor over what a client here has written there since', () => {
    const b = expired();
    const told = b.at('a:1', 'b:1', 'c:1');
    b.clientAt(6, b.at('a:1'), 'HSET h f new');
    b.correct();
    expect(b.stateOf('a:1', 7, told, madeBy(b), ...fields)).toBe('');
  });
});

test('two regions keep a field each of one hash: neither takes the other’s', () => {
  const b = begin();
  const seen = b.at('a:1');
  b.clientAt(3, seen, `HPEXPIREAT h ${LATER} FIELDS 1 f`);
  b.clientAt(3, seen, 'HDEL h g');
  b.comes('a:1', 4, seen, `HPEXPIREAT h ${LATER} FIELDS 1 g`);
  const position = b.at('a:1').get('a:1')!;
  b.comes('a:1', 4, seen, 'HDEL h f');
  expect(kept(b)).toBe('f by 3');
  const by = new Map([[0, [{ origin: 'a:1', position, stamp: 4 }]]]);
  const told = `HSET h g 2; HPEXPIREAT h ${LATER} FIELDS 1 g`;
  expect(b.stateOf('a:1', 6, b.at('a:1', 'b:1'), by, ...told.split('; '))).toBe(told);
  expect(kept(b)).toBe('f by 3');
});

test('what is told: of the fields that are kept those that are there, and not over', () => {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const field = (name: string, value: string, at: number): Buffer => {
    const millis = Buffer.alloc(8);
    millis.writeBigInt64LE(BigInt(at));
    return Buffer.concat([text(name), text(value), millis]);
  };
  const items = [field('f', '1', 2000), field('g', '2', -1), field('over', '3', 1000), field('other', '4', 3000)];
  const dump = encodeDump(RdbType.HASH_2, Buffer.concat([Buffer.from([items.length]), ...items]), 80);
  const names = new Map(['gone', 'g', 'f', 'over'].map((name) => [name, null]));
  const { payload, names: told } = fieldsPayload('h', names, [dump, -1], 1000);
  expect(commandsIn(payload)).toEqual(['HSET h f 1 g 2', 'HPEXPIREAT h 2000 FIELDS 1 f']);
  const op = new Op(0, 7, 3, []);
  const origins = new OriginTable();
  origins.index('b:1');
  const carried = carriedByKept(told, new Map(told.map((name) => [name, op])), origins);
  expect([...carried.keys()]).toEqual([0, 1]);
  expect(carried.get(1)).toEqual([{ origin: 'b:1', position: 7, stamp: 3 }]);
  for (const reply of [null, encodeDump(RdbType.STRING, text('1'), 10)])
    expect(fieldsPayload('h', names, [reply, -2], 0)).toEqual({ payload: Buffer.alloc(0), names: [] });
});
