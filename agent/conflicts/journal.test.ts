import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Conflict } from '../merge/conflict';
import { stampOf } from '../stream/keys';
import { ConflictJournal, type ConflictJournalOptions } from './journal';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function newDir(): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-conflicts-'));
  dirs.push(dir);
  return dir;
}

function open(dir: string, options: Partial<ConflictJournalOptions> = {}): Promise<ConflictJournal> {
  return ConflictJournal.open({
    ...{ dir, region: 'eu', values: 'full', bytesMax: 1024 * 1024, valueBytesMax: 64, perSecondMax: 1000 },
    onError: (error) => {
      throw error;
    },
    ...options,
  });
}

function conflict(n: number, { key = `key:${n}`, lost = `lost ${n}`, won = `won ${n}` } = {}): Conflict {
  const side = (region: string, value: string) => ({
    origin: `${region}:1`,
    position: n,
    stamp: stampOf(1_700_000_000_000 + n),
    act: 'write' as const,
    value: () => Buffer.from(value),
  });
  return {
    ...{ db: 0, key, type: 'string', element: '', reason: 'later' },
    winner: side('us', won),
    loser: side('eu', lost),
  };
}

const text = (base64: string | undefined): string => Buffer.from(base64 ?? '', 'base64').toString();

test('what was noted is there again after a restart, numbers going on', async () => {
  const dir = newDir();
  const first = await open(dir);
  first.note(conflict(1));
  first.note(conflict(2));
  await first.close();
  const again = await open(dir);
  again.note(conflict(3));
  const { entries, isCut } = await again.query({ limit: 10 });
  expect(isCut).toBe(false);
  expect(entries.map(({ seq, key }) => [seq, key])).toEqual([
    [1, 'key:1'],
    [2, 'key:2'],
    [3, 'key:3'],
  ]);
  expect(entries[0]).toMatchObject({
    winner: { region: 'us', timeMs: 1_700_000_000_001, value: { bytes: 5 } },
    loser: { region: 'eu', position: 1 },
  });
  expect(text(entries[0]!.loser.value?.full)).toBe('lost 1');
  await again.close();
});

test('only its owner can read it', async () => {
  const dir = newDir();
  const journal = await open(path.join(dir, 'conflicts'));
  journal.note(conflict(1));
  await journal.close();
  expect(statSync(path.join(dir, 'conflicts')).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(path.join(dir, 'conflicts')))
    expect(statSync(path.join(dir, 'conflicts', name)).mode & 0o777).toBe(0o600);
});

test('of values a digest that tells equal ones, or nothing: they are not on the disk', async () => {
  for (const values of ['digest', 'none'] as const) {
    const dir = newDir();
    const journal = await open(dir, { values });
    journal.note(conflict(1, { lost: 'canary-1', won: 'canary-1' }));
    journal.note(conflict(2, { lost: 'canary-1', won: 'canary-2' }));
    const { entries } = await journal.query({ limit: 10 });
    const digests = entries.map(({ winner, loser }) => [winner?.value?.digest, loser.value?.digest]);
    if (values === 'none') expect(entries.map(({ loser }) => loser.value)).toEqual([null, null]);
    else {
      expect(digests[0]![0]).toMatch(/^[0-9a-f]{16}$/);
      expect(digests[0]![0]).toBe(digests[0]![1]);
      expect(digests[1]![1]).toBe(digests[0]![1]);
      expect(digests[1]![0]).not.toBe(digests[1]![1]);
    }
    await journal.close();
    for (const name of readdirSync(dir)) {
      const content = readFileSync(path.join(dir, name), 'utf8');
      expect(content).not.toContain('canary');
      expect(content).not.toContain(Buffer.from('canary-1').toString('base64'));
    }
  }
});

test('a long value is kept as a digest, and one that can not be read any more as none', async () => {
  const journal = await open(newDir());
  journal.note(conflict(1, { lost: 'x'.repeat(65) }));
  const gone = conflict(2);
  journal.note({
    ...gone,
    loser: {
      ...gone.loser,
      value: () => {
        throw new Error('the journal no longer holds it');
      },
    },
  });
  const { entries } = await journal.query({ limit: 10 });
  expect(entries[0]!.loser.value).toEqual({ bytes: 65, digest: expect.any(String) });
  expect(entries[1]!.loser.value).toBeNull();
  await journal.close();
});

test('a query by key, region, time, number and id', async () => {
  const journal = await open(newDir());
  for (let n = 1; n <= 5; n++) journal.note(conflict(n, { key: n % 2 === 0 ? `even:${n}` : `odd:${n}` }));
  const keys = async (query: object): Promise<string[]> =>
    (await journal.query({ limit: 10, ...query })).entries.map(({ key }) => key);
  expect(await keys({ key: 'even:*' })).toEqual(['even:2', 'even:4']);
  expect(await keys({ region: 'us' })).toHaveLength(5);
  expect(await keys({ region: 'ap' })).toEqual([]);
  expect(await keys({ afterSeq: 3 })).toEqual(['even:4', 'odd:5']);
  expect(await keys({ sinceMs: Date.now() + 1000 })).toEqual([]);
  const { entries } = await journal.query({ limit: 2 });
  expect(entries.map(({ key }) => key)).toEqual(['even:4', 'odd:5']);
  expect(await keys({ id: entries[0]!.id })).toEqual(['even:4']);
  expect((await journal.query({ limit: 2 })).isCut).toBe(true);
  await journal.close();
});

test('it stays within its size: the oldest go', async () => {
  const dir = newDir();
  const journal = await open(dir, { bytesMax: 40_000, perSecondMax: 100_000 });
  for (let n = 1; n <= 500; n++) {
    journal.note(conflict(n));
    if (n % 20 === 0) await journal.query({ limit: 1 });
  }
  await journal.close();
  const bytes = readdirSync(dir).reduce((sum, name) => sum + statSync(path.join(dir, name)).size, 0);
  expect(bytes).toBeGreaterThan(20_000);
  expect(bytes).toBeLessThanOrEqual(40_000);
  const again = await open(dir);
  expect((await again.query({ limit: 1 })).entries[0]!.key).toBe('key:500');
  await again.close();
});

test('a flood is not looked at beyond its rate, and counted', async () => {
  const journal = await open(newDir(), { perSecondMax: 10 });
  let noted = 0;
  for (let n = 1; n <= 1000; n++)
    if (journal.wants()) {
      journal.note(conflict(n));
      noted++;
    }
  expect(noted).toBeGreaterThanOrEqual(100);
  expect(noted).toBeLessThan(200);
  const answer = await journal.query({ limit: 1000 });
  expect(answer.entries).toHaveLength(noted);
  expect(answer.leftOut).toBe(1000 - noted);
  await journal.close();
});

test('a line that a crash cut is passed over, and what follows it is not', async () => {
  const dir = newDir();
  const journal = await open(dir);
  journal.note(conflict(1));
  await journal.close();
  const file = path.join(dir, readdirSync(dir)[0]!);
  writeFileSync(file, `${readFileSync(file, 'utf8')}{"id":"abc","seq":2,"ti`);
  const again = await open(dir);
  again.note(conflict(2));
  expect((await again.query({ limit: 10 })).entries.map(({ key }) => key)).toEqual(['key:1', 'key:2']);
  await again.close();
});

test('the same conflict found twice is one', async () => {
  const journal = await open(newDir());
  journal.note(conflict(1));
  journal.note(conflict(1));
  expect((await journal.query({ limit: 10 })).entries).toHaveLength(1);
  await journal.close();
});
