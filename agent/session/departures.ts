/** Why keys go that no client has deleted (removals.ts), and how many of them Redis has evicted: these stay in the other regions. */
import type { RedisConnection } from '../resp';
import type { Removal } from '../stream/recorder';
import type { AgentContext, RedisAddress } from './context';
import { evicts } from './info';
import { Removals } from './removals';

/** Between two looks whether Redis evicts, and two lines that say so. */
export const EVICTIONS_MS = 10_000;

export interface DeparturesHost {
  readonly context: AgentContext;
  readonly address: RedisAddress;
  /** The end of the replication stream. */
  currentOffset(): Promise<number>;
  /** Takes a piece of the stream; what its keys went by is known. */
  take(chunk: Buffer): void;
  fail(error: Error): void;
}

export class Departures {
  /** Null: nobody listens, for changes are captured by notifications. */
  private removals: Removals | null = null;
  /** Redis may evict (`maxmemory-policy`). */
  private evicts = false;
  /** Evicted since it was last told. */
  private evicted = 0;

  constructor(private readonly host: DeparturesHost) {}

  /**
   * Listens, before the stream is read.
   * @param evicts whether Redis may evict
   * @throws ConnectionError
   */
  async listen(evicts: boolean): Promise<void> {
    const { host } = this;
    const { context, address } = host;
    const options = { ...context.redisOptions(address), name: `meridian-removals-${context.config.region}` };
    this.evicts = evicts;
    this.removals = new Removals({
      evicts: () => this.evicts,
      take: (chunk) => host.take(chunk),
      fail: (error) => host.fail(error),
    });
    const refused = await this.removals.listen(options, () => host.currentOffset());
    if (refused === null) return;
    const what = "Redis refuses PSUBSCRIBE: the agent's user needs +psubscribe and the channels (&*)";
    context.log.warn({ reason: refused.message }, `${what}; evictions, expiries and UNLINKs can't be told apart`);
  }

  close(): void {
    this.removals?.close();
  }

  /** A piece of the stream, the caller's again when it returns. */
  receive(chunk: Buffer): void {
    if (this.removals === null) this.host.take(chunk);
    else this.removals.receive(chunk);
  }

  /** Why a key went by an UNLINK that ends there. */
  removal(db: number, key: string, end: number): Removal {
    const removal = this.removals?.of(db, key, end) ?? 'expired';
    if (removal === 'evicted') this.countEviction();
    return removal;
  }

  /** The same where nobody has heard why. */
  unheard(): Removal {
    return this.evicts ? 'evicted' : 'expired';
  }

  countEviction(): void {
    this.host.context.metrics.evictions.inc();
    this.evicted++;
  }

  /** Looks whether Redis evicts, and tells of what it has evicted. @throws ConnectionError */
  async look(connection: RedisConnection): Promise<void> {
    if (this.removals === null) return;
    const info = await connection.call('INFO', 'memory');
    if (Buffer.isBuffer(info)) this.evicts = evicts(info.toString('latin1'));
    if (this.evicted === 0) return;
    this.host.context.log.warn({ keys: this.evicted }, 'Redis is full and evicts keys: they stay in the other regions');
    this.evicted = 0;
  }
}
