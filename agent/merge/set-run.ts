/** Plain SETs that stand in a row in one record: looked up together, for one after the other would each wait for memory. */
import { FINGERPRINT_WORDS, fingerprint } from './key-hash';

/** More would push each other out of the cache before their turn comes. */
export const RUN_SETS_MAX = 64;

/** Reused for all of them. Places are in the record's payload. */
export class SetRun {
  size = 0;
  readonly fingerprints = new Int32Array(RUN_SETS_MAX * FINGERPRINT_WORDS);
  /** First byte of the command, and of its two arguments in RESP; the byte after the last of both. */
  readonly starts = new Int32Array(RUN_SETS_MAX);
  readonly args = new Int32Array(RUN_SETS_MAX);
  readonly ends = new Int32Array(RUN_SETS_MAX);
  /** The key's own bytes. */
  readonly keys = new Int32Array(RUN_SETS_MAX);
  readonly keyEnds = new Int32Array(RUN_SETS_MAX);
  /** Number of the operation in its record. */
  readonly indices = new Int32Array(RUN_SETS_MAX);

  get isFull(): boolean {
    return this.size === RUN_SETS_MAX;
  }

  /** @param key [key, keyEnd) are the key's bytes in `buf`, [args, end) both arguments in RESP */
  add(
    db: number,
    buf: Buffer,
    start: number,
    args: number,
    key: number,
    keyEnd: number,
    end: number,
    index: number,
  ): void {
    const i = this.size++;
    this.starts[i] = start;
    this.args[i] = args;
    this.ends[i] = end;
    this.keys[i] = key;
    this.keyEnds[i] = keyEnd;
    this.indices[i] = index;
    fingerprint(db, buf, key, keyEnd, this.fingerprints, i * FINGERPRINT_WORDS);
  }
}
