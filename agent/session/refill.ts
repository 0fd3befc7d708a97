/**
 * Gives a region its data back after a flush that was not carried: the others still have everything. Each key's state is asked for, as
 * that of a key which cannot be told from the commands, and merged by the rule: what clients have written here since stands
 * beside it or above it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vector } from '../record';
import type { AgentContext } from './context';
import { keysOfDonor } from './difference';
import type { KeyName, SettleRequest } from './donor';

/** So many keys are asked for at a time: their states travel to all regions. */
const KEYS_AT_ONCE = 500;

export interface RefillOptions {
  context: AgentContext;
  /** Of this region's own operations, what a donor has to have: those up to the flush. */
  upTo(): Vector;
  /** Their states are wanted from elsewhere. */
  demand(names: readonly KeyName[]): void;
  /** How many are still awaited. */
  awaited(): number;
  /** Throws once the session has ended. */
  alive(): void;
  /** Whether there was a flush since the last time that this was asked. */
  again(): boolean;
}

/** Returns when all states have come. */
export async function refill(o: RefillOptions): Promise<void> {
  const { context } = o;
  while (o.again()) {
    const started = Date.now();
    const found = await keysOfDonor(context, o.upTo(), () => o.alive());
    if (found === null) return;
    const { donor, names } = found;
    context.log.info({ donor, keys: names.length }, 'asking for the data that was flushed here');
    for (let i = 0; i < names.length; i += KEYS_AT_ONCE) {
      const keys = names.slice(i, i + KEYS_AT_ONCE);
      o.demand(keys);
      const request: SettleRequest = { from: context.config.region, keys };
      await context.mesh.request(donor, 'settle', Buffer.from(JSON.stringify(request)), { timeoutMs: 60_000 });
      while (o.awaited() > KEYS_AT_ONCE / 2) {
        o.alive();
        await sleep(20);
      }
    }
    while (o.awaited() > 0) {
      o.alive();
      await sleep(50);
    }
    context.log.info({ keys: names.length, ms: Date.now() - started }, 'the data that was flushed here is back');
  }
}
