/** Records of one origin, as read from the journal. */
import type { Journal } from '../journal';
import { decodeRecord, type OpRecord, type OriginId } from '../record';

const READ_BYTES = 1024 * 1024;

/** The next ones behind a position, about so many bytes of them. */
export async function recordsPage(
  journal: Journal,
  origin: OriginId,
  from: number,
  bytesMax: number,
): Promise<OpRecord[]> {
  const reader = journal.reader(origin, from);
  try {
    return (await reader.read(bytesMax)).map((bytes) => decodeRecord(bytes, { verify: false }));
  } finally {
    reader.close();
  }
}

/** Those behind a position, as far as they can be read. */
export async function* recordsAfter(journal: Journal, origin: OriginId, from: number): AsyncGenerator<OpRecord> {
  const reader = journal.reader(origin, from);
  try {
    for (;;) {
      const records = await reader.read(READ_BYTES);
      if (records.length === 0) return;
      for (const bytes of records) yield decodeRecord(bytes, { verify: false });
    }
  } finally {
    reader.close();
  }
}

/** Those behind a position, or from the first that there is, up to the one that reaches `to`. */
export async function* recordsUpTo(
  journal: Journal,
  origin: OriginId,
  from: number,
  to: number,
): AsyncGenerator<OpRecord> {
  if (from >= to) return;
  for await (const record of recordsAfter(journal, origin, Math.max(from, journal.firstStart(origin) ?? from))) {
    yield record;
    if (record.end >= to) return;
  }
}
