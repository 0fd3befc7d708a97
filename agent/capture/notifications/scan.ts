/**
 * Looks at all keys again and again, slowly, for what was not notified: what was lost with a connection, and what Redis tells nobody of
 * (FLUSHDB, SWAPDB, consumer groups). After something is known to have been lost, at once and fast.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandWriter, type RedisConnection } from '../../resp';
import { OWN_PREFIX } from '../../stream/keys';
import { LinkError } from '../errors';
import type { KnownKeys } from './known';
import type { KeyName } from './look';

export interface ScanLimits {
  /** Keys looked at in a second. */
  readonly keysPerSecond: number;
  /** Bytes that they have, in a second. */
  readonly bytesPerSecond: number;
}

export interface ScanHost {
  reader(): RedisConnection;
  /** Looks at the keys for what clients did to them. @returns bytes read */
  look(keys: readonly KeyName[]): Promise<number>;
  /** All keys have been looked at. */
  scanned(): void;
}

/** By how much a hurried scan is faster. */
const HURRY = 20;
const REST_MS = 1000;
const COUNT = 200;
const LOOK_KEYS = 128;
const LOOK_BYTES = 1024 * 1024;
/** Keys of the index looked through between two breaths. */
const STEP = 10_000;

export class Scan {
  private stopped = false;
  /** Asked for, and not begun yet. */
  private wanted = false;
  private hurried = false;
  private wake: (() => void) | null = null;
  private looked = 0;
  private endedMs = Date.now();

  constructor(
    private readonly limits: ScanLimits,
    private readonly known: KnownKeys,
    private readonly host: ScanHost,
  ) {}

  /** Of the one under way, 0 to 1. */
  get progress(): number {
    return Math.min(1, this.looked / Math.max(1, this.known.size));
  }

  /** Since the last one ended. */
  get ageSeconds(): number {
    return (Date.now() - this.endedMs) / 1000;
  }

  /** One that somebody waits for is under way, or about to begin. */
  get isHurried(): boolean {
    return this.wanted || this.hurried;
  }

  /** Begins anew, at once and fast. */
  hurry(): void {
    this.wanted = true;
    this.wake?.();
  }

  stop(): void {
    this.stopped = true;
    this.wake?.();
  }

  /** Until `stop`. */
  async run(): Promise<void> {
    while (!this.stopped) {
      this.hurried = this.wanted;
      this.wanted = false;
      if (await this.once()) {
        this.endedMs = Date.now();
        this.host.scanned();
      }
      this.hurried = false;
      await this.rest(REST_MS);
    }
  }

  /** @returns false when it was broken off, for another one is wanted */
  private async once(): Promise<boolean> {
    const { known } = this;
    known.beginRound();
    this.looked = 0;
    for await (const names of this.names()) {
      if (this.stopped || this.wanted) return false;
      await this.lookAt(names.filter(({ db, key }) => !known.isMet(db, key)));
      this.looked += names.length;
    }
    // What is known and was not found: it is gone, or came while we were looking.
    for (const names of known.unmet(STEP)) {
      if (this.stopped || this.wanted) return false;
      await this.lookAt(names.filter(({ db, key }) => !known.isMet(db, key)));
    }
    return true;
  }

  private async lookAt(names: readonly KeyName[]): Promise<void> {
    for (let at = 0; at < names.length && !this.stopped;) {
      const keys: KeyName[] = [];
      for (let bytes = 0; at < names.length && keys.length < LOOK_KEYS && bytes < LOOK_BYTES; at++) {
        const name = names[at]!;
        keys.push(name);
        bytes += this.known.get(name.db, name.key)?.bytes ?? 0;
      }
      const bytes = await this.host.look(keys);
      const { keysPerSecond, bytesPerSecond } = this.limits;
      const ms = Math.max(keys.length / keysPerSecond, bytes / bytesPerSecond) * 1000;
      await this.rest(this.hurried ? ms / HURRY : ms);
    }
  }

  /** The names of all keys but the agent's own, some at a time; a name may come twice. */
  async *names(): AsyncGenerator<KeyName[], void, void> {
    for (const db of await this.databases()) {
      let cursor = '0';
      do {
        const writer = new CommandWriter(128).command(['SELECT', db]);
        writer.command(['SCAN', cursor, 'COUNT', COUNT]).command(['SELECT', 0]);
        const [, reply] = await this.host.reader().pipeline(writer.take(), 3);
        const [next, keys] = Array.isArray(reply) ? reply : [];
        if (!Buffer.isBuffer(next) || !Array.isArray(keys))
          throw new LinkError(
            'NOPERM',
            `the keys of this Redis cannot be listed: ${reply instanceof Error ? reply.message : 'no answer to SCAN'}`,
          );
        cursor = next.toString();
        const names: KeyName[] = [];
        for (const key of keys)
          if (Buffer.isBuffer(key) && !isOwn(key)) names.push({ db, key: key.toString('latin1') });
        if (names.length > 0) yield names;
      } while (cursor !== '0');
    }
  }

  private async databases(): Promise<number[]> {
    const info = await this.host.reader().call('INFO', 'keyspace');
    const text = Buffer.isBuffer(info) ? info.toString('latin1') : '';
    return [...text.matchAll(/^db(\d+):/gm)].map((match) => Number(match[1]));
  }

  private async rest(ms: number): Promise<void> {
    if (this.stopped || this.wanted) return;
    if (ms < 2) {
      await sleep(0);
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = null;
  }
}

function isOwn(key: Buffer): boolean {
  return key.length >= OWN_PREFIX.length && key.toString('latin1', 0, OWN_PREFIX.length) === OWN_PREFIX;
}
