export type JournalErrorCode =
  /** Another live process has the journal open. */
  | 'locked'
  /** A record does not begin where its origin's last one ended, or an unknown origin begins without a birth. */
  | 'gap'
  /** A record, or a part of it, is in the journal already. */
  | 'overlap'
  /** A record that is not one whole record, or covers no position and so could not be resumed after. */
  | 'malformed'
  /** What a reader asks for is no longer (or not) in the journal: the peer needs a full sync, or another source. */
  | 'trimmed'
  /** Bytes on disk fail their checksum or do not chain. */
  | 'damaged'
  /** The files were written by a newer agent. */
  | 'version'
  /** A write or a flush failed; the records stay in memory and are tried again. */
  | 'io'
  | 'closed';

export class JournalError extends Error {
  constructor(
    readonly code: JournalErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'JournalError';
  }
}

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
