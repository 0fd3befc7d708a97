/** Own records that are journalled, and that the window is not to know yet. */
import type { Journal } from '../journal';
import { decodeRecord, type OpRecord, type OriginId, RecordKind } from '../record';

const READ_BYTES = 1024 * 1024;

export class Backlog {
  /** What a reader of the journal may not find yet; all else is on disk only. */
  private recent: OpRecord[] = [];

  /** @param from position behind which records belong to it */
  constructor(
    private readonly journal: Journal,
    readonly origin: OriginId,
    private readonly from: number,
  ) {}

  /** The record has just been appended to the journal. */
  push(record: OpRecord): void {
    const readable = this.journal.readableEnd(this.origin) ?? -1;
    let known = 0;
    while (known < this.recent.length && this.recent[known]!.end <= readable) known++;
    if (known > 0) this.recent.splice(0, known);
    this.recent.push(record);
  }

  /**
   * Gives all records in order, also those that come meanwhile, and calls `done` in the same turn as the last one: none
   * can come in between.
   * @param done returns false where there have to be more
   * @param alive throws when it is to end
   * @param more waits until there are
   */
  async drain(
    visit: (record: OpRecord) => void,
    done: () => boolean,
    alive: () => void,
    more: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { journal, origin } = this;
    let at = this.from;
    const give = (record: OpRecord): void => {
      if (record.end <= at) return;
      at = record.end;
      if (record.kind !== RecordKind.birth) visit(record);
    };
    const reader = journal.reader(origin, at);
    try {
      for (;;) {
        const records = await reader.read(READ_BYTES);
        alive();
        for (const bytes of records) give(decodeRecord(bytes, { verify: false }));
        if ((journal.readableEnd(origin) ?? at) > at) continue;
        for (const record of this.recent) give(record);
        this.recent = [];
        if (done()) return;
        await more();
      }
    } finally {
      reader.close();
    }
  }
}
