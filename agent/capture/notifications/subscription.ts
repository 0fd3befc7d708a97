/**
 * Keyspace notifications of one Redis (https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/): which key, and what happened to it.
 * They come in the order in which Redis ran what they tell of, and are lost while nobody listens.
 */
import { RedisConnection, type RedisConnectionOptions, type Reply } from '../../resp';
import { Backoff } from '../backoff';
import { LinkError } from '../errors';
import type { Removal } from './pending';

/** By kind of event: its channel is short, and the key is the message. */
const PATTERN = '__keyevent@*__:*';
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2000;

/** Events after which the key is gone, or may be. */
const REMOVALS: Readonly<Record<string, Removal>> = {
  del: 'deleted',
  evicted: 'evicted',
  rename_from: 'deleted',
  move_from: 'deleted',
  expired: 'expired',
};

export function removalOf(event: string): Removal | null {
  return REMOVALS[event] ?? null;
}

export interface SubscriptionEvents {
  /** @param key Latin-1 */
  event(db: number, event: string, key: string): void;
  /** Listening again, after some time in which everything was lost. */
  resumed(): void;
  /** Not for the moment: refused for good. */
  failed(error: LinkError): void;
}

/** A subscription that is renewed when its connection is lost, until `close`. */
export class Subscription {
  private connection: RedisConnection | null = null;
  private closed = false;
  private retryTimer: NodeJS.Timeout | null = null;
  private readonly backoff = new Backoff(RETRY_MS_MIN, RETRY_MS_MAX);

  constructor(
    private readonly options: RedisConnectionOptions,
    private readonly events: SubscriptionEvents,
  ) {}

  /** @throws ConnectionError, LinkError NOPERM */
  async open(): Promise<void> {
    const connection = await RedisConnection.connect(this.options);
    const refused = await connection.psubscribe(PATTERN);
    if (refused !== null) {
      connection.close();
      throw new LinkError(
        'NOPERM',
        `Redis refuses PSUBSCRIBE ${PATTERN}: ${refused.message}; the agent's user needs +psubscribe and the channels (&*)`,
      );
    }
    if (this.closed) return connection.close();
    this.connection = connection;
    connection.on('push', (message) => this.receive(message));
    connection.on('close', () => {
      if (this.connection !== connection) return;
      this.connection = null;
      this.retry();
    });
    // It was lost before anybody listened for that.
    if (!connection.open) {
      this.connection = null;
      this.retry();
    }
  }

  /** Gives the connection up for another one. */
  renew(): void {
    const { connection } = this;
    if (connection === null) return;
    this.connection = null;
    connection.close();
    this.retry();
  }

  close(): void {
    this.closed = true;
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.connection?.close();
    this.connection = null;
  }

  private retry(): void {
    if (this.closed) return;
    this.retryTimer = setTimeout(() => {
      this.open().then(
        () => {
          this.backoff.reset();
          if (!this.closed) this.events.resumed();
        },
        (error: unknown) => {
          if (error instanceof LinkError) this.events.failed(error);
          else this.retry();
        },
      );
    }, this.backoff.next());
  }

  private receive([kind, , channel, payload]: Reply[]): void {
    if (!Buffer.isBuffer(kind) || !Buffer.isBuffer(channel) || !Buffer.isBuffer(payload)) return;
    if (kind.toString('latin1') !== 'pmessage') return;
    const name = channel.toString('latin1');
    const at = name.indexOf('@');
    const end = name.indexOf('__:', at);
    const db = Number(name.slice(at + 1, end));
    // Anybody can publish to such a channel.
    if (at < 0 || end < 0 || !Number.isInteger(db)) return;
    this.events.event(db, name.slice(end + 3), payload.toString('latin1'));
  }
}
