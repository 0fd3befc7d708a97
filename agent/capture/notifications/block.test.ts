import type { BatchItem } from '../../merge/batch';
import { encodeCommand } from '../../resp';
import { keysOfBlock } from './block';

const item = (...commands: string[][]): BatchItem => ({
  kind: 'plain',
  bytes: Buffer.concat(commands.map((command) => encodeCommand(command))),
  commands: commands.length,
});
const keysIn = (...items: BatchItem[]): string[] => keysOfBlock(items).keys.map(({ db, key }) => `${db}:${key}`);

test('all keys of a block, each once, by database', () => {
  expect(
    keysIn(
      item(['SELECT', '3'], ['MSET', 'a', '1', 'b', '2'], ['RENAME', 'c', 'd']),
      item(['DEL', 'a'], ['SELECT', '0'], ['SADD', 'a', 'b'], ['SET', 'meridian:x', '1']),
      item(['MOVE', 'm', '7'], ['COPY', 'x', 'y', 'DB', '2', 'REPLACE'], ['JSON.SET', 'doc', '$', '1']),
    ).sort(),
  ).toEqual(['0:a', '0:doc', '0:m', '0:x', '0:y', '2:x', '2:y', '3:a', '3:b', '3:c', '3:d', '7:m']);
});

test('what concerns whole databases', () => {
  expect(
    keysOfBlock([item(['SELECT', '4'], ['FLUSHDB'], ['SWAPDB', '0', '1'], ['FLUSHALL', 'ASYNC'])]).sweeping,
  ).toEqual([
    { kind: 'flush', db: 4 },
    { kind: 'swap', a: 0, b: 1 },
    { kind: 'flush', db: null },
  ]);
});
