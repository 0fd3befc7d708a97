/** Records of one origin, as read from the journal. */
import type { InboxSource } from '../apply/inbox';
import type { Journal, JournalReader } from '../journal';
import { decodeRecord, type OpRecord, type OriginId } from '../record';

const READ_BYTES = 1024 * 1024;

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

/** Reads origins again and again, each from where it was left: a file that was opened stays open meanwhile. */
export class RecordReaders implements InboxSource {
  private readonly readers = new Map<OriginId, JournalReader>();

  constructor(private readonly journal: Journal) {}

  async read(origin: OriginId, from: number, bytesMax: number): Promise<OpRecord[]> {
    let reader = this.readers.get(origin);
    if (reader?.position !== from) {
      reader?.close();
      this.readers.set(origin, (reader = this.journal.reader(origin, from, true)));
    }
    const records = await reader.read(bytesMax);
    // Nobody knows when more will be wanted: its file may have been trimmed by then.
    if (reader.position >= (this.journal.readableEnd(origin) ?? -1)) {
      reader.close();
      this.readers.delete(origin);
    }
    return records.map((bytes) => decodeRecord(bytes, { verify: false }));
  }

  close(): void {
    for (const reader of this.readers.values()) reader.close();
    this.readers.clear();
  }
}
