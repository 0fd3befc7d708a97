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
    ),
  );
});
