/** Payloads of records that the merge core let go of, from the journal. */
import type { Journal } from '../journal';
import type { PayloadSource } from '../merge/payload-source';
import { decodeRecord } from '../record';

/** While another region is far behind, a region's own records would otherwise fill its memory. */
const KEEP_BYTES = 4 * 1024 * 1024;

export function payloadsOf(journal: Journal): PayloadSource {
  return {
    keepBytes: KEEP_BYTES,
    has: ({ origin, end }) => (journal.writtenEnd(origin) ?? -1) >= end,
    payload: ({ origin, start, end }, bytes) => {
      // It may have been cut from a longer one: a stream record's payload are the bytes up to its end.
      const whole = decodeRecord(journal.record(origin, start), { verify: false });
      const to = whole.payload.length - (whole.end - end);
      return whole.payload.subarray(to - bytes, to);
    },
    glance: (origin, from, to) => journal.stream(origin, from, to),
  };
}
