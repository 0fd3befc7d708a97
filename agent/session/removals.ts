/**
 * Why keys went. With `lazyfree-lazy-expire yes` and `lazyfree-lazy-eviction yes` the stream has `UNLINK key` for an expiry, for an
 * eviction and for a client's UNLINK. Redis' keyspace events tell them apart: `expired`, `evicted`, or neither.
 *
 * They come by another connection. So a piece of the stream with such a command in it waits for a PING on that connection: Redis
 * had run the command before it answers, and events stand before the answer. That is one round trip, for such pieces only.
 */
import { asError } from '../as-error';
import { RedisConnection, type RedisConnectionOptions, type Reply, type ReplyError } from '../resp';
import { OWN_PREFIX } from '../stream/keys';
import type { Removal } from '../stream/recorder';

const EVENTS = ['expired', 'evicted'] as const;
const NAME = Buffer.from('UNLINK');
const CRLF = '\r\n';
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
  private held: Buffer[] = [];
  private asking = false;
  /** The last bytes of the piece before: a command may be cut anywhere. */
  private tail = Buffer.alloc(0);
  private connection: RedisConnection | null = null;
  /** The offset behind which every event has been heard. */
  private from = Infinity;

  constructor(private readonly host: RemovalsHost) {}

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
    const isDoubtful = this.connection !== null && this.isDoubtful(chunk);
    if (this.held.length === 0 && !isDoubtful) return this.host.take(chunk);
    this.held.push(Buffer.from(chunk));
    if (!this.asking) void this.ask();
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

  private isDoubtful(chunk: Buffer): boolean {
    const cut = NAME.length + 2 * CRLF.length - 1;
    const joint = Buffer.concat([this.tail, chunk.subarray(0, cut)]);
    this.tail = chunk.length >= cut ? Buffer.from(chunk.subarray(chunk.length - cut)) : joint.subarray(-cut);
    return hasName(chunk) || hasName(joint);
  }

  private async ask(): Promise<void> {
    this.asking = true;
    try {
      while (this.held.length > 0) {
        const { length } = this.held;
        await this.connection!.call('PING');
        for (const chunk of this.held.splice(0, length)) this.host.take(chunk);
      }
    } catch (error) {
      this.host.fail(asError(error));
    } finally {
      this.asking = false;
    }
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

/**
 * Whether the name stands between two arguments, or before its key. It is looked for by itself: a search stops at each first byte of what it looks for,
 * and line ends are everywhere.
 */
function hasName(chunk: Buffer): boolean {
  for (let at = chunk.indexOf(NAME); at >= 0; at = chunk.indexOf(NAME, at + 1))
    if (chunk.toString('latin1', at - 2, at) === CRLF && chunk.toString('latin1', at + 6, at + 8) === CRLF) return true;
  return false;
}
