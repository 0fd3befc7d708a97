import { type OpRecord, RecordKind } from '../record';
import { Inbox } from './inbox';

function record(start: number, bytes: number): OpRecord {
  const base = {
    origin: 'a:00',
    start,
    end: start + bytes,
    stamp: start,
    ops: 1,
    db: 0,
    seen: new Map<string, number>(),
  };
  return { kind: RecordKind.stream, ...base, payload: Buffer.alloc(bytes) };
}

const turn = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Offers more than a lane holds, and takes what it kept: the rest has to be read. */
function spill(inbox: Inbox): void {
  for (let i = 0; i < 4; i++) inbox.offer(record(i * 1000, 1000));
  while (inbox.peek('a:00') !== undefined) inbox.take('a:00');
}

test('what did not fit comes back from the journal, in order', async () => {
  const all = Array.from({ length: 4 }, (_, i) => record(i * 1000, 1000));
  const read = (_: string, from: number): Promise<OpRecord[]> =>
    Promise.resolve(all.filter(({ end }) => end > from).slice(0, 1));
  const inbox = new Inbox({ read }, 1000, () => undefined, fail);
  for (const each of all) inbox.offer(each);
  const ends: number[] = [];
  for (let tries = 0; ends.length < all.length && tries < 100; tries++) {
    const next = inbox.peek('a:00');
    if (next === undefined) await turn(1);
    else {
      ends.push(next.end);
      inbox.take('a:00');
    }
  }
  expect(ends).toEqual([1000, 2000, 3000, 4000]);
});

test('a journal that can not be read is told, and nothing else happens', async () => {
  const failures: string[] = [];
  const read = (): Promise<OpRecord[]> => Promise.reject(new Error('trimmed'));
  const inbox = new Inbox(
    { read },
    1000,
    () => undefined,
    ({ message }) => failures.push(message),
  );
  spill(inbox);
  await turn();
  expect(failures).toEqual(['trimmed']);
});

test('once stopped it asks for nothing more', async () => {
  let reads = 0;
  const read = (): Promise<OpRecord[]> => {
    reads++;
    return Promise.resolve([]);
  };
  const inbox = new Inbox({ read }, 1000, () => undefined, fail);
  spill(inbox);
  await turn(20);
  expect(reads).toBeGreaterThan(1);
  inbox.stop();
  await turn();
  const before = reads;
  await turn(20);
  expect(reads).toBe(before);
});

function fail(error: Error): never {
  throw error;
}

test('what is read again is read before all that is there was taken, each record once', async () => {
  const all = Array.from({ length: 40 }, (_, i) => record(i * 1000, 1000));
  const read = async (_: string, from: number): Promise<OpRecord[]> => {
    await turn(3);
    return all.filter(({ end }) => end > from).slice(0, 4);
  };
  const inbox = new Inbox({ read }, 5000, () => undefined, fail);
  for (const each of all) inbox.offer(each);
  const ends: number[] = [];
  let waited = 0;
  for (let tries = 0; ends.length < all.length && tries < 200; tries++) {
    const next = inbox.peek('a:00');
    if (next === undefined) {
      waited++;
      await turn(1);
      continue;
    }
    ends.push(next.end);
    inbox.take('a:00');
    await turn(1);
  }
  expect(ends).toEqual(all.map(({ end }) => end));
  expect(waited).toBe(0);
});
