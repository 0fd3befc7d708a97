import { CommandWriter } from '../resp';
import { isBefore7, withoutEntryCounts } from './older-servers';

function written(...commands: (string | number)[][]): Buffer {
  const writer = new CommandWriter(64);
  for (const command of commands) writer.command(command);
  return writer.take();
}

test('a state of a stream says only what Redis before 7.0 knows, in as many commands', () => {
  const state = written(
    ['DEL', 's'],
    ['XADD', 's', '5-1', 'ENTRIESADDED', 'ENTRIESREAD'],
    ['XSETID', 's', '7-0', 'ENTRIESADDED', 9, 'MAXDELETEDID', '7-0'],
    ['XGROUP', 'CREATE', 's', 'g', '5-1', 'ENTRIESREAD', 3],
    ['XGROUP', 'CREATECONSUMER', 's', 'g', 'ENTRIESREAD'],
  );
  expect(withoutEntryCounts(state).toString()).toBe(
    written(
      ['DEL', 's'],
      ['XADD', 's', '5-1', 'ENTRIESADDED', 'ENTRIESREAD'],
      ['XSETID', 's', '7-0'],
      ['XGROUP', 'CREATE', 's', 'g', '5-1'],
      ['XGROUP', 'CREATECONSUMER', 's', 'g', 'ENTRIESREAD'],
    ).toString(),
  );
  const plain = written(['SET', 'k', 'v']);
  expect(withoutEntryCounts(plain)).toBe(plain);
});

test('which servers those are', () => {
  expect(['6.2.16', '7.0.15', '8.2.3', '9.1.2'].map(isBefore7)).toEqual([true, false, false, false]);
});
