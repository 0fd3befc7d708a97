import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { Journal, JournalError } from '../../agent/journal';
import { decodeRecord, encodeRecord, type OpRecord, RecordKind } from '../../agent/record';
import { cases, damage, damaged, fuzzMs } from './bytes';

// A journal of a few segments, one of whose files is then damaged: whatever is read from it again was written to it.

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'meridian-fuzz-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const options = (at: string): Parameters<typeof Journal.open>[0] => ({
  dir: at,
  bytesMax: 2 ** 30,
  segmentBytes: 2048,
  fsync: false,
});

const record = (origin: string, start: number, end: number, kind: RecordKind = RecordKind.stream): Buffer => {
  const over: OpRecord = {
    kind,
    origin,
    start,
    end,
    stamp: 1,
    ops: 1,
    db: 0,
    seen: new Map([['us:1', end]]),
    payload: Buffer.from(`${origin} ${start} `.repeat(6)),
  };
  return encodeRecord(over);
};

async function fill(at: string): Promise<Set<string>> {
  const journal = await Journal.open(options(at));
  const written = new Set<string>();
  const append = (bytes: Buffer): void => {
    journal.append(bytes);
    written.add(bytes.toString('latin1'));
  };
  for (const origin of ['eu:1', 'ap:1']) append(record(origin, 0, 0, RecordKind.birth));
  for (let i = 0; i < 25; i++) for (const origin of ['eu:1', 'ap:1']) append(record(origin, i * 10, i * 10 + 10));
  await journal.flushed();
  await journal.writeMeta({ version: 1, some: 'document' });
  await journal.close();
  return written;
}

test(
  'a damaged file: nothing is read that was not written, and every chain is without a gap',
  async () => {
    const source = path.join(dir, 'source');
    const written = await fill(source);
    const files = readdirSync(source).filter((name) => name.endsWith('.journal') || name === 'meta.json');
    expect(files.length).toBeGreaterThan(3);
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(), damage, async (which, changes) => {
        const copy = path.join(dir, String(++round));
        cpSync(source, copy, { recursive: true });
        const file = path.join(copy, files[which % files.length]!);
        const sound = readFileSync(file);
        const bytes = damaged(sound, changes);
        writeFileSync(file, bytes);
        let journal: Journal;
        try {
          journal = await Journal.open(options(copy));
        } catch (error) {
          // A version's number that was damaged, with a sum that fits: not to be had by chance, and yet it would be told.
          expect(error).toBeInstanceOf(JournalError);
          return;
        }
        try {
          const { recovery } = journal;
          const isNoticed =
            recovery.cut !== null || recovery.damage.length > 0 || recovery.holes.length > 0 || recovery.metaDamaged;
          expect([bytes.equals(sound), isNoticed]).toContain(true);
          expect([null, { version: 1, some: 'document' }]).toContainEqual(journal.readMeta());
          for (const origin of journal.origins()) {
            const from = journal.firstStart(origin) ?? -1;
            const reader = journal.reader(origin, from);
            let end = from;
            try {
              for (let records = await reader.read(4096); records.length > 0; records = await reader.read(4096))
                for (const found of records) {
                  expect(written.has(found.toString('latin1'))).toBe(true);
                  const { kind, start, end: next } = decodeRecord(found);
                  if (kind !== RecordKind.birth) expect(start).toBe(end);
                  end = next;
                }
              expect(end).toBe(journal.readableEnd(origin) ?? from);
            } finally {
              reader.close();
            }
          }
          for await (const found of journal.replay()) expect(written.has(found.toString('latin1'))).toBe(true);
          // It takes records again, behind what is left.
          const end = journal.appendedEnd('eu:1');
          if (end !== undefined) journal.append(record('eu:1', end, end + 10));
          await journal.flushed();
        } finally {
          await journal.close();
          rmSync(copy, { recursive: true, force: true });
        }
      }),
      cases(150),
    );
  },
  fuzzMs,
);
