/** Why the link to Redis can't be had, or broke. */

/**
 * - `CONNECT`, `TIMEOUT`, `CLOSED`: the network. Retry.
 * - `LOADING`, `NOMASTERLINK`, `BUSY`: the server can't serve now. Retry.
 * - `AUTH`, `NOPERM`: user or password, or the user's rights: `+psync +replconf +ping` are needed. Retrying alone doesn't help.
 * - `PSYNC_REFUSED`: the server has no PSYNC for us (managed services). Don't retry.
 * - `NO_NOTIFICATIONS`: changes are not reported, or not all kinds. `notify-keyspace-events` has to be set by whoever runs the server.
 * - `PROTOCOL`, `SNAPSHOT`: what came made no sense. Retry from the last position, or in full.
 */
export type LinkErrorCode =
  | 'CONNECT'
  | 'TIMEOUT'
  | 'CLOSED'
  | 'LOADING'
  | 'NOMASTERLINK'
  | 'BUSY'
  | 'AUTH'
  | 'NOPERM'
  | 'PSYNC_REFUSED'
  | 'NO_NOTIFICATIONS'
  | 'PROTOCOL'
  | 'SNAPSHOT';

/** Error of a replication link; its text names the server and never a secret. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
  constructor(
    readonly code: LinkErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether the same attempt may succeed later without anyone changing a setting. */
  get retryable(): boolean {
    return this.code !== 'AUTH' && this.code !== 'NOPERM' && this.code !== 'PSYNC_REFUSED';
  }
}
