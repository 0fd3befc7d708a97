import { CommandScanner, CommandWriter, encodeCommand } from '../resp';
import { Batch, MSET_PAIRS } from './batch';

/** The batch's commands as words. */
function commandsOf(batch: Batch): string[] {
  const commands: string[] = [];
  let counted = 0;
  for (const item of batch.finish()) {
    counted += item.kind === 'plain' ? item.commands : 1;
    const scanner = new CommandScanner();
    scanner.push(item.bytes);
    while (scanner.next()) {
      const words: string[] = [];
      for (let i = 0; i < scanner.argc; i++)
        words.push(scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]));
      commands.push(words.join(' '));
    }
    expect(scanner.buffered).toBe(0);
  }
  expect(counted).toBe(commands.length);
  return commands;
}

/** Sets keys as the merge core does, out of one record's bytes. */
function set(batch: Batch, db: number, ...pairs: [string, string][]): void {
  const bytes = new CommandWriter();
  for (const [key, value] of pairs) bytes.command(['SET', key, value]);
  const scanner = new CommandScanner();
  scanner.push(bytes.take());
  while (scanner.next()) batch.set(db, scanner.buf, scanner.argEnd[0]! + 2, scanner.end);
}

test('SETs in a row become one MSET, one alone stays a SET', () => {
  const batch = new Batch();
  set(batch, 0, ['a', '1'], ['b', '2'], ['c', '']);
  set(batch, 3, ['d', '4']);
  expect(commandsOf(batch)).toEqual(['SELECT 0', 'MSET a 1 b 2 c ', 'SELECT 3', 'SET d 4']);
});

test('of any number, none is lost, and the order stays', () => {
  for (const n of [1, 2, 4, 5, 49, 50, MSET_PAIRS - 1, MSET_PAIRS, MSET_PAIRS + 1, 3 * MSET_PAIRS + 7]) {
    const batch = new Batch();
    const pairs = Array.from({ length: n }, (_, i): [string, string] => [`k${i}`, `v${i}`]);
    set(batch, 0, ...pairs);
    batch.select(0).command(['DEL', 'x']);
    const commands = commandsOf(batch);
    expect(commands[commands.length - 1]).toBe('DEL x');
    const words = commands.slice(1, -1).flatMap((command) => command.split(' ').slice(1));
    expect(words).toEqual(pairs.flat());
  }
});

test('a big value goes by itself', () => {
  const batch = new Batch();
  const big = 'x'.repeat(10_000);
  set(batch, 0, ['a', '1'], ['big', big], ['b', '2'], ['c', '3']);
  expect(commandsOf(batch)).toEqual(['SELECT 0', 'SET a 1', `SET big ${big}`, 'MSET b 2 c 3']);
});

test('what was passed since a mark can be dropped', () => {
  const batch = new Batch();
  set(batch, 0, ['a', '1'], ['b', '2']);
  const mark = batch.mark();
  set(batch, 0, ['c', '3']);
  set(batch, 5, ['d', '4'], ['e', '5']);
  const raw = new CommandWriter().command(['HSET', 'h', 'f', 'v']).take();
  batch.pass(7, raw, 0, raw.length);
  batch.rewind(mark);
  set(batch, 0, ['f', '6']);
  expect(commandsOf(batch)).toEqual(['SELECT 0', 'MSET a 1 b 2', 'SET f 6']);
});

test('the memory of batches that are over is used again, and nothing of them comes along', () => {
  const before = new Batch();
  set(before, 3, ['a', '1'], ['b', '2']);
  before.finish();
  const { writer } = before;
  before.release();
  const after = new Batch();
  expect(after.writer).toBe(writer);
  set(after, 0, ['c', '3'], ['d', '4']);
  expect(commandsOf(after)).toEqual(['SELECT 0', 'MSET c 3 d 4']);
});

test('an item of nothing but SETs says so', () => {
  const pair = (key: string): Buffer => encodeCommand(['SET', key, '1']).subarray('*3\r\n$3\r\nSET\r\n'.length);
  const kinds = (fill: (batch: Batch) => void): (true | undefined)[] => {
    const batch = new Batch();
    fill(batch);
    return batch.finish().map((item) => (item.kind === 'plain' ? item.onlySets : undefined));
  };
  const set = (batch: Batch, db: number, key: string): void => {
    const bytes = pair(key);
    batch.set(db, bytes, 0, bytes.length);
  };
  expect(kinds((batch) => [0, 3, 3].forEach((db, i) => set(batch, db, `k${i}`)))).toEqual([true]);
  expect(
    kinds((batch) => {
      set(batch, 0, 'a');
      batch.select(0).command(['PEXPIREAT', 'a', 1]);
    }),
  ).toEqual([undefined]);
  expect(
    kinds((batch) => {
      const bytes = encodeCommand(['PEXPIREAT', 'a', 1]);
      batch.pass(0, bytes, 0, bytes.length);
      set(batch, 0, 'a');
    }),
  ).toEqual([undefined]);
  expect(
    kinds((batch) => {
      set(batch, 0, 'a');
      batch.writer.command(['DEL', 'b']);
    }),
  ).toEqual([undefined]);
});
