/**
 * Gives a region its data back after a flush that was not carried: the others still have everything. Each key's state is asked for, as
 * that of a key which cannot be told from the commands, and merged by the rule: what clients have written here since stands
 * beside it or above it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../as-error';
import type { MergeCore } from '../merge/core';
import { ELSEWHERE } from '../merge/settling';
import type { Vector } from '../record';
import type { AgentContext } from './context';
import { keysOfDonor } from './difference';
import type { SettleRequest } from './donor';

/** So many keys are asked for at a time: their states travel to all regions. */
const KEYS_AT_ONCE = 500;

export interface RefillHost {
  readonly context: AgentContext;
  core(): MergeCore;
  /** Of this region's own operations, what a donor has to have: those up to now. */
  upTo(): Vector;
  /** The core has something to do. */
  wake(): void;
  /** @throws what ended the session */
  alive(): void;
  fail(error: Error): void;
}

export class Refill {
  /** What the last flush has taken has not been asked for yet. */
  private isDue = false;
  private isUnderWay = false;

  constructor(private readonly host: RefillHost) {}

  /** This Redis has been flushed, now or before the session began. */
  flushed(): void {
    this.isDue = this.host.core().settling.isEmptied = true;
  }

  /** Asks for what was flushed, until all of it is back. */
  begin(): void {
    if (!this.isDue || this.isUnderWay) return;
    this.isUnderWay = true;
    void this.run();
  }

  private async run(): Promise<void> {
    const { host } = this;
    try {
      while (this.isDue) {
        this.isDue = false;
        await this.getAll();
      }
      this.isUnderWay = false;
      host.core().settling.isEmptied = false;
      host.alive();
      host.context.emptied.clear();
    } catch (error) {
      // The mark is still there: the next session begins anew.
      host.fail(asError(error));
    }
  }

  private async getAll(): Promise<void> {
    const { host } = this;
    const { context } = host;
    const startedMs = Date.now();
    const found = await keysOfDonor(context, host.upTo(), () => host.alive());
    if (found === null) return;
    const { donor, names } = found;
    context.log.info({ donor, keys: names.length }, 'asking for the data that was flushed here');
    for (let i = 0; i < names.length; i += KEYS_AT_ONCE) {
      const keys = names.slice(i, i + KEYS_AT_ONCE);
      for (const { db, key } of keys) host.core().settling.demandState(db, key, ELSEWHERE);
      host.wake();
      const request: SettleRequest = { from: context.config.region, keys };
      await context.mesh.request(donor, 'settle', Buffer.from(JSON.stringify(request)), { timeoutMs: 60_000 });
      await this.untilAwaited(KEYS_AT_ONCE / 2, 20);
    }
    await this.untilAwaited(0, 50);
    context.log.info({ keys: names.length, ms: Date.now() - startedMs }, 'the data that was flushed here is back');
  }

  /** Waits until no more keys' states than that are awaited. */
  private async untilAwaited(keysMax: number, lookMs: number): Promise<void> {
    while (this.host.core().settling.awaitedElsewhere().length > keysMax) {
      this.host.alive();
      await sleep(lookMs);
    }
  }
}
