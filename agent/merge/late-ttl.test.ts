import { CoreRegion } from '../../test/sim/core-region';
import { encodeCommand } from '../resp';
import { postponePassed } from './late-ttl';

const commands = (...lines: string[]): Buffer =>
  Buffer.concat(lines.map((line) => encodeCommand(line.split(' ').map((word) => Buffer.from(word)))));
const now = 1_000_000;

test('what has not passed goes as it came', () => {
  const bytes = commands(
    'SET k v PXAT 1000051',
    'PEXPIREAT k 1000051',
    'EXPIREAT k 1001',
    'SET XAT PXAT',
    'HSET h EXAT 1',
  );
  expect(postponePassed(bytes, now)).toBe(bytes);
});

test('what has passed is a moment from now, and what stands around it as it came', () => {
  const bytes = commands(
    'SET a PXAT',
    'SET k v PXAT 1000050',
    'INCR n',
    'PEXPIREAT k 5',
    'EXPIREAT k 999',
    'SET k v GET EXAT 1',
    'DEL d',
    'pexpireat k 5',
  );
  expect(postponePassed(bytes, now)).toEqual(
    commands(
      'SET a PXAT',
      'SET k v PXAT 1001000',
      'INCR n',
      'PEXPIREAT k 1001000',
      'EXPIREAT k 1001',
      'SET k v GET EXAT 1001',
      'DEL d',
      'pexpireat k 1001000',
    ),
  );
});

test('a client gives time to a key that by the rule is not there, as a block had just made it: whether it has it is looked at', () => {
  const b = new CoreRegion();
  // Something is under way: not all that clients do is set aside.
  b.comes('a:1', 1, b.at(), 'SET other 1');
  b.client(2, 'SET other 2');
  b.client(3, 'HSET h f v', 'UNLINK h', 'PEXPIREAT h 2000000000000');
  const doubted = b.core.settling.toSettle(['a', 'b']).filter(({ unsettled }) => !unsettled);
  expect(doubted.map(({ key }) => key)).toEqual(['h']);
});
