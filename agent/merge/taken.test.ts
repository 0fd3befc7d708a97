import { commandsIn } from '../../test/sim/redis';
import { CommandScanner, CommandWriter, encodeCommand } from '../resp';
import { findCommand } from './commands';
import { DOUBTFUL_MAX, Taking, writeNewInList, writeNewInSortedSet } from './taken';

/** What others did to the key `k`, as commands; null: more than adding and taking. */
function takingOf(commands: readonly string[], isTold = false): Taking | null {
  const taking = new Taking();
  if (isTold) taking.tell();
  const scanner = new CommandScanner();
  for (const command of commands) {
    scanner.push(encodeCommand(command.split(' ')));
    scanner.next();
    const known = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!)!;
    if (!taking.note(known, scanner, 'k')) return null;
  }
  return taking;
}

const key = Buffer.from('k');
const words = (text: string): Buffer[] => text.split(' ').flatMap((word) => (word === '' ? [] : [Buffer.from(word)]));

function ofList(mine: string, their: string, ...commands: string[]): string[] {
  const writer = new CommandWriter(64);
  writeNewInList(writer, key, words(mine), words(their), takingOf(commands)!);
  return commandsIn(writer.take());
}

describe('of a list', () => {
  test('what stands where nobody takes is new; what was taken at the other end does not come again', () => {
    expect(ofList('n2 n1 b3 b2 b1', 'b3 b2', 'RPOP k')).toEqual(['LPUSH k n1 n2', 'RPUSH k b1']);
    expect(ofList('n2 n1 b3 b2 b1', 't b3 b2 b1', 'LPUSH k t')).toEqual(['LPUSH k n1 n2']);
    expect(ofList('b1 b2 n1 n2', 'b1 b2', 'LPUSH k t', 'LPOP k')).toEqual(['RPUSH k n1 n2']);
    expect(ofList('b1 b2 b3', 'b1 b2 b3 t', 'RPUSH k t')).toEqual([]);
  });

  test('with nothing in common it may be new, and goes where others do not take', () => {
    expect(ofList('n2 n1 b1', '', 'RPOP k')).toEqual(['LPUSH k b1 n1 n2']);
    expect(ofList('b1 n1 n2', '', 'LPOP k 2')).toEqual(['RPUSH k b1 n1 n2']);
    expect(ofList('n1', 't', 'RPUSH k t')).toEqual(['RPUSH k n1']);
  });

  test('what others pushed is not taken for the same one here, and equal ones count', () => {
    expect(ofList('j j', 'j', 'LPUSH k j', 'RPOP k')).toEqual(['LPUSH k j j']);
    expect(ofList('j j j', 'j j')).toEqual(['RPUSH k j']);
  });

  test('of more than may be delivered twice nothing comes again, but what is surely new', () => {
    const many = Array.from({ length: DOUBTFUL_MAX + 1 }, (_, i) => `b${i}`).join(' ');
    expect(ofList(`n1 c ${many}`, 'c', 'RPOP k')).toEqual(['LPUSH k n1']);
    expect(ofList(many, '', 'RPOP k')).toEqual([]);
    expect(ofList(many, '', 'RPUSH k t').length).toBeGreaterThan(1);
  });

  test('a list that is kept short stays so, and what is removed by value does not come again', () => {
    expect(ofList('n1 b3 b2 b1', 't b3', 'LPUSH k t', 'LTRIM k 0 1')).toEqual(['LPUSH k n1']);
    expect(ofList('b1 b2 b3', 'b2 b3', 'LTRIM k 1 -1')).toEqual(['LPUSH k b1']);
    expect(ofList('b1 b2 b3', 'b1 b3', 'LREM k 0 b2')).toEqual([]);
    expect(ofList('b1 n b3', 'b1 b3', 'RPUSH k t')).toEqual(['RPUSH k n']);
  });

  test('a move takes from its source', () => {
    expect(ofList('b1 b2', 'b1', 'LMOVE k l RIGHT LEFT')).toEqual(['RPUSH k b2']);
    expect(ofList('n b1', 'b1', 'RPOPLPUSH l k')).toEqual(['LPUSH k n']);
    expect(ofList('n b1', 'b1', 'RPOPLPUSH k k')).toEqual(['LPUSH k n']);
  });

  test.each([
    'LSET k 0 v',
    'RENAME l k',
    'SORT l STORE k',
    'LTRIM k a b',
    'ZREMRANGEBYLEX k - +',
    'ZREMRANGEBYSCORE k x 1',
  ])('%s is more than that', (command) => expect(takingOf([command])).toBeNull());

  test('where a region has told its list, what is at both ends may have been taken, up to a number', () => {
    const writer = new CommandWriter(64);
    writeNewInList(writer, key, words('a b c'), words('b'), takingOf([], true)!);
    expect(commandsIn(writer.take())).toEqual(['LPUSH k a', 'RPUSH k c']);
  });
});

function ofSortedSet(alone: Record<string, number>, common: number[], ...commands: string[]): string[] {
  const writer = new CommandWriter(64);
  const items = Object.entries(alone).map(([member, score]) => [member, Buffer.from(`${score}`)] as const);
  writeNewInSortedSet(
    writer,
    key,
    items,
    common.map((score) => Buffer.from(`${score}`)),
    takingOf(commands)!,
  );
  return commandsIn(writer.take());
}

describe('of a sorted set', () => {
  test('what was there to be taken and was not shows what is new', () => {
    const many = Object.fromEntries(Array.from({ length: DOUBTFUL_MAX + 1 }, (_, i) => [`b${i}`, i]));
    expect(ofSortedSet({ ...many, n: 5000 }, [4000], 'ZPOPMIN k')).toEqual(['ZADD k 5000 n']);
    expect(ofSortedSet({ b: 1, n: 5000 }, [4000], 'ZPOPMIN k')).toEqual(['ZADD k 5000 n', 'ZADD k 1 b']);
    expect(ofSortedSet({ b: 1, n: 5000 }, [4000], 'ZPOPMAX k')).toEqual(['ZADD k 1 b', 'ZADD k 5000 n']);
    expect(ofSortedSet({ b: 1 }, [], 'ZPOPMIN k 3')).toEqual(['ZADD k 1 b']);
  });

  test('what others removed by rank or by score does not come again', () => {
    expect(ofSortedSet({ b: 1, n: 9 }, [5], 'ZREMRANGEBYRANK k 0 -101')).toEqual(['ZADD k 9 n']);
    expect(ofSortedSet({ b: 1, n: 9 }, [5], 'ZREMRANGEBYRANK k 100 -1')).toEqual(['ZADD k 1 b']);
    expect(ofSortedSet({ b: 1, n: 9 }, [5], 'ZREMRANGEBYRANK k 0 9')).toEqual(['ZADD k 9 n', 'ZADD k 1 b']);
    expect(ofSortedSet({ b: 1, n: 9 }, [5], 'ZREMRANGEBYSCORE k -inf (3')).toEqual(['ZADD k 9 n']);
  });
});
