/** Where the primary is: at a fixed address, where the Sentinels say, or where the nodes of a cluster say. */
import { EventEmitter } from 'events';
import type * as tls from 'tls';
import { findShard, parseNodes } from '../cluster/nodes';
import type { SlotRange } from '../../model/slots';
import { RedisConnection, ReplyError } from '../resp';
import { askRole, type RedisRole } from './role';

export interface Address {
  host: string;
  port: number;
}

interface Login {
  username?: string;
  password?: string;
  tls?: tls.ConnectionOptions;
}

export type LocatorOptions = {
  /** How to log in to the Redis itself. */
  redis?: Login;
  /** Between two looks, in ms. Sentinel's own message comes sooner. Default 1,000. */
  pollMs?: number;
  /** For one answer, in ms. Default 1,000. */
  timeoutMs?: number;
} & (
  | { kind: 'fixed'; address: Address }
  | { kind: 'sentinel'; sentinels: readonly Address[]; masterName: string; sentinel?: Login }
  /** The primary of these slots, by what any of the nodes say. */
  | { kind: 'cluster'; nodes: readonly Address[]; slots: readonly SlotRange[] }
);

/** What one Sentinel says: the address and its configuration's epoch, or null (not reached, doesn't know the name). */
export type SentinelAnswer = (Address & { epoch: number }) | null;

/**
 * The address that more than half of all *configured* Sentinels agree on; null where there is none yet. During a failover the Sentinels learn of it one after the other: until
 * most know, there is no answer rather than the old one.
 */
export function decide(answers: readonly SentinelAnswer[]): (Address & { epoch: number }) | null {
  const votes = new Map<string, { answer: Address & { epoch: number }; count: number }>();
  for (const answer of answers) {
    if (answer === null) continue;
    const key = `${answer.host} ${answer.port}`;
    const vote = votes.get(key) ?? { answer, count: 0 };
    vote.count++;
    if (answer.epoch > vote.answer.epoch) vote.answer = answer;
    votes.set(key, vote);
  }
  for (const { answer, count } of votes.values()) if (count > answers.length / 2) return answer;
  return null;
}

/**
 * - `FOUND`: the address answers as a primary.
 * - `NO_MAJORITY`: fewer than half of the Sentinels answered, or they differ.
 * - `NO_SHARD`: no node of the cluster has just these slots.
 * - `UNREACHABLE`: the address doesn't answer, or refuses us.
 * - `NOT_PRIMARY`: it answers as a replica.
 */
export type Located =
  | { state: 'FOUND'; address: Address; role: RedisRole }
  | { state: 'NO_MAJORITY'; answered: number; of: number }
  | { state: 'NO_SHARD'; reason: string }
  | { state: 'UNREACHABLE'; address: Address; reason: string }
  | { state: 'NOT_PRIMARY'; address: Address; role: RedisRole };

interface LocatorEvents {
  /** There is a primary, and it is another one than the last (also the first time). */
  primary: [address: Address, role: RedisRole];
  /** Every change of state, this one included: for status and log. */
  state: [located: Located];
}

/** So many are asked of a cluster's nodes. */
const SEEN_NODES_MAX = 200;

/** Looks for the primary until `stop`. */
export class Locator extends EventEmitter<LocatorEvents> {
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;
  private looking: Promise<Located> | null = null;
  private lookAgain = false;
  private known: Address | null = null;
  private last: Located | null = null;
  private subscribers: (RedisConnection | null)[] = [];
  private subscribing: boolean[] = [];
  /** Nodes of the cluster that others have named. */
  private seen: Address[] = [];
  /** Kept open, one per address: a look a second should not cost a handshake a second. */
  private readonly connections = new Map<string, RedisConnection>();

  constructor(private readonly opts: LocatorOptions) {
    super();
  }

  /** The last answer; null before the first. */
  get located(): Located | null {
    return this.last;
  }

  start(): void {
    if (this.stopped || this.timer !== null) return;
    this.timer = setInterval(() => void this.look(), this.opts.pollMs ?? 1000);
    void this.look();
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    for (const connection of this.connections.values()) connection.close();
    this.connections.clear();
    for (const subscriber of this.subscribers) subscriber?.close();
    this.subscribers = [];
  }

  /** Looks now; concurrent calls share one look. */
  async look(): Promise<Located> {
    if (this.looking !== null) {
      this.lookAgain = true;
      return this.looking;
    }
    this.looking = this.lookOnce();
    try {
      return await this.looking;
    } finally {
      this.looking = null;
      if (this.lookAgain && !this.stopped) {
        this.lookAgain = false;
        void this.look();
      }
    }
  }

  private async lookOnce(): Promise<Located> {
    const located = await this.find();
    if (this.stopped) return located;
    const before = this.last;
    this.last = located;
    if (before?.state !== located.state || addressOf(before) !== addressOf(located)) this.emit('state', located);
    if (located.state === 'FOUND') {
      const { address } = located;
      if (this.known?.host !== address.host || this.known.port !== address.port) {
        this.known = address;
        this.emit('primary', address, located.role);
      }
    }
    return located;
  }

  private async find(): Promise<Located> {
    const { opts } = this;
    let address: Address;
    if (opts.kind === 'fixed') address = opts.address;
    else if (opts.kind === 'cluster') {
      const found = await this.askCluster(opts.nodes, opts.slots);
      if (typeof found === 'string') return { state: 'NO_SHARD', reason: found };
      address = found;
    } else {
      const answers = await Promise.all(opts.sentinels.map((s, i) => this.askSentinel(s, i)));
      const decided = decide(answers);
      if (decided === null) {
        return { state: 'NO_MAJORITY', answered: answers.filter((a) => a !== null).length, of: answers.length };
      }
      address = { host: decided.host, port: decided.port };
    }
    try {
      const role = await this.reach(address, opts.redis, askRole);
      if (role instanceof ReplyError) return { state: 'UNREACHABLE', address, reason: role.message };
      // Sentinel's word alone is not enough: an old primary that comes back calls itself one until it is told otherwise, a new one isn't one yet.
      return { state: role.role === 'primary' ? 'FOUND' : 'NOT_PRIMARY', address, role };
    } catch (error) {
      return { state: 'UNREACHABLE', address, reason: (error as Error).message };
    }
  }

  /** Of a cluster all nodes know all others: those that were found are asked the next time, too, for the given ones may be gone by then. */
  private async askCluster(nodes: readonly Address[], slots: readonly SlotRange[]): Promise<Address | string> {
    const asked = new Map([...nodes, ...this.seen].map((node) => [`${node.host} ${node.port}`, node]));
    let refused = '';
    const views = await Promise.all(
      [...asked.values()].map(async (address) => {
        try {
          const reply = await this.reach(address, this.opts.redis, (c) => c.call('CLUSTER', 'NODES'));
          const known = Buffer.isBuffer(reply) ? parseNodes(reply.toString('latin1')) : null;
          if (known === null) refused = reply instanceof ReplyError ? reply.message : 'no list of nodes';
          return known === null ? [] : [{ asked: address.host, nodes: known }];
        } catch (error) {
          refused = (error as Error).message;
          return [];
        }
      }),
    );
    const answers = views.flat();
    if (answers.length === 0) return `no node of the cluster tells of the others: ${refused}`;
    this.seen = answers
      .flatMap((view) => view.nodes)
      .filter((node) => node.host !== '' && !node.isDoubtful)
      .slice(0, SEEN_NODES_MAX);
    return findShard(answers, slots);
  }

  private async askSentinel(address: Address, index: number): Promise<SentinelAnswer> {
    if (this.opts.kind !== 'sentinel') return null;
    const { masterName, sentinel } = this.opts;
    this.subscribe(address, index);
    try {
      const reply = await this.reach(address, sentinel, (c) => c.call('SENTINEL', 'MASTER', masterName));
      if (!Array.isArray(reply)) return null;
      const fields = new Map<string, string>();
      for (let i = 0; i + 1 < reply.length; i += 2) fields.set(String(reply[i]), String(reply[i + 1]));
      const host = fields.get('ip');
      const port = Number(fields.get('port'));
      if (host === undefined || !Number.isInteger(port)) return null;
      return { host, port, epoch: Number(fields.get('config-epoch') ?? 0) };
    } catch {
      return null;
    }
  }

  /** Sentinel publishes a switch as it happens: a look then comes before the next poll. */
  private subscribe(address: Address, index: number): void {
    if (this.stopped || this.opts.kind !== 'sentinel') return;
    if (this.subscribing[index] === true || this.subscribers[index]?.open === true) return;
    const { masterName, sentinel } = this.opts;
    this.subscribing[index] = true;
    RedisConnection.connect({ ...sentinel, ...address, connectTimeoutMs: this.opts.timeoutMs ?? 1000 })
      .then(async (connection) => {
        if (this.stopped) {
          connection.close();
          return;
        }
        this.subscribers[index] = connection;
        connection.on('push', (message) => {
          if (String(message[2]).startsWith(`${masterName} `)) void this.look();
        });
        await connection.subscribe('+switch-master');
      })
      .catch(() => undefined) // the next look tries again
      .finally(() => {
        this.subscribing[index] = false;
      });
  }

  private async reach<T>(
    address: Address,
    login: Login | undefined,
    ask: (connection: RedisConnection) => Promise<T>,
  ): Promise<T> {
    const key = `${address.host} ${address.port}`;
    const timeoutMs = this.opts.timeoutMs ?? 1000;
    let connection = this.connections.get(key);
    if (connection?.open !== true) {
      connection = await RedisConnection.connect({
        ...login,
        ...address,
        connectTimeoutMs: timeoutMs,
        commandTimeoutMs: timeoutMs,
      });
      if (this.stopped) connection.close();
      else {
        this.connections.get(key)?.close();
        this.connections.set(key, connection);
      }
    }
    return ask(connection);
  }
}

function addressOf(located: Located | null): string {
  return located !== null && 'address' in located ? `${located.address.host} ${located.address.port}` : '';
}
