/**
 * Why keys went. With `lazyfree-lazy-expire yes` and `lazyfree-lazy-eviction yes` the stream has `UNLINK key` for an expiry, for an
 * eviction and for a client's UNLINK. Redis' keyspace events tell them apart: `expired`, `evicted`, or neither.
 *
 * They come by another connection. So a piece of the stream with such a command in it waits for a PING on that connection: Redis
 * had run the command before it answers, and events stand before the answer. That is one round trip, for such pieces only.
 */
import { RedisConnection, type RedisConnectionOptions, type Reply, type ReplyError } from '../resp';
import { HeldPieces } from '../stream/held-pieces';
import { OWN_PREFIX } from '../stream/keys';
import type { Removal } from '../stream/recorder';

const EVENTS = ['expired', 'evicted'] as const;
/** Events that no command was found for: of a time before the stream was read. */
const TOLD_KEYS_MAX = 100_000;

export interface RemovalsHost {
  /** Whether Redis evicts (`maxmemory-policy`): then what nobody can tell is taken for an eviction, or it would delete keys elsewhere. */
  evicts(): boolean;
  /** Takes a piece of the stream; what it is told of has been heard. */
  take(chunk: Buffer): void;
  /** The connection is lost. */
  fail(error: Error): void;
}

export class Removals {
  /** By database and key, in the order in which they went. */
  private readonly told = new Map<string, Removal[]>();
  private readonly heard = new Set<string>();
  private connection: RedisConnection | null = null;
  /** The offset behind which every event has been heard. */
  private from = Infinity;

  private readonly pieces: HeldPieces;

  constructor(private readonly host: RemovalsHost) {
    this.pieces = new HeldPieces(['UNLINK'], {
      ask: async () => {
        await this.connection!.call('PING');
        return true;
      },
      take: (chunk) => host.take(chunk),
      fail: (error) => host.fail(error),
    });
  }

  /**
   * Begins to listen.
   * @param offset asks for the replication offset
   * @returns null, or why Redis refuses: then what a client's UNLINK did counts as an expiry
   */
  async listen(options: RedisConnectionOptions, offset: () => Promise<number>): Promise<ReplyError | null> {
    const connection = await RedisConnection.connect(options);
    connection.on('push', (message) => this.hear(message));
    connection.on('close', (error) =>
      this.host.fail(error ?? new Error('the connection for keyspace events was closed')),
    );
    for (const event of EVENTS) {
      const refused = await connection.psubscribe(`__keyevent@*__:${event}`);
      if (refused === null) continue;
      connection.removeAllListeners('close');
      connection.close();
      return refused;
    }
    this.connection = connection;
    // Of what went before, not everything has been heard.
    this.told.clear();
    this.from = await offset();
    return null;
  }

  close(): void {
    this.connection?.removeAllListeners('close');
    this.connection?.close();
  }

  /** @param chunk the caller's again when it returns */
  receive(chunk: Buffer): void {
    if (this.connection === null) this.host.take(chunk);
    else this.pieces.receive(chunk);
  }

  /** @param end the offset behind the command that removed the key */
  of(db: number, key: string, end: number): Removal {
    const name = `${db}:${key}`;
    const events = this.told.get(name);
    if (events !== undefined) {
      const removal = events.shift()!;
      if (events.length === 0) this.told.delete(name);
      return removal;
    }
    const evicts = this.host.evicts();
    // Of a kind that never came it is not known whether it is reported at all.
    if (end > this.from && this.heard.has(evicts ? 'evicted' : 'expired')) return 'deleted';
    return evicts ? 'evicted' : 'expired';
  }

  private hear([, , channel, key]: Reply[]): void {
    if (!Buffer.isBuffer(channel) || !Buffer.isBuffer(key)) return;
    const [, db, event] = /^__keyevent@(\d+)__:(expired|evicted)$/.exec(channel.toString('latin1')) ?? [];
    if (db === undefined || event === undefined) return;
    this.heard.add(event);
    // Nobody asks for the agent's own keys.
    if (key.toString('latin1', 0, OWN_PREFIX.length) === OWN_PREFIX) return;
    const name = `${db}:${key.toString('latin1')}`;
    const events = this.told.get(name);
    if (events !== undefined) events.push(event as Removal);
    else this.told.set(name, [event as Removal]);
    if (this.told.size <= TOLD_KEYS_MAX) return;
    const [oldest] = this.told.keys();
    this.told.delete(oldest!);
  }
}
