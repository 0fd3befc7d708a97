import { setTimeout as sleep } from 'node:timers/promises';
import { Gate } from './gate';

test('one after the other, also behind one that fails', async () => {
  const gate = new Gate();
  const seen: string[] = [];
  const run = (name: string, ms: number) => async (): Promise<string> => {
    seen.push(`+${name}`);
    await sleep(ms);
    seen.push(`-${name}`);
    if (name === 'b') throw new Error(name);
    return name;
  };
  const results = await Promise.allSettled([
    gate.exclusive(run('a', 5)),
    gate.block(run('b', 1)),
    gate.exclusive(run('c', 0)),
  ]);
  expect(seen).toEqual(['+a', '-a', '+b', '-b', '+c', '-c']);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});

test('blocks wait while they are held, looks do not', async () => {
  const gate = new Gate();
  const release = await gate.hold();
  let ran = false;
  const block = gate.block(async () => void (ran = true));
  await gate.exclusive(async () => expect(ran).toBe(false));
  await sleep(5);
  expect(ran).toBe(false);
  const second = gate.hold();
  release();
  const releaseSecond = await second;
  releaseSecond();
  await block;
  expect(ran).toBe(true);
});

test('at the end nothing is held any more', async () => {
  const gate = new Gate();
  await gate.hold();
  const block = gate.block(() => Promise.resolve('through'));
  gate.end();
  expect(await block).toBe('through');
  await gate.hold();
  expect(await gate.block(() => Promise.resolve('again'))).toBe('again');
});
