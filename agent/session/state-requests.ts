/** Asks other regions for the states that they have to send. Usually they know by themselves: not after a crash, nor where they have seen no conflict. */
import type { MergeCore } from '../merge/core';
import type { KeyState } from '../merge/key-state';
import { type AgentContext, liveRegions } from './context';
import type { KeyName, SettleRequest } from './donor';

/** Between two looks at the keys whose state another region has to send, and how long they wait before it is asked. */
export const AWAIT_MS = 1000;
const KEYS_MAX = 1000;
const TIMEOUT_MS = 5000;

export class StateRequests {
  private readonly sinceMs = new WeakMap<KeyState, number>();

  constructor(
    private readonly context: AgentContext,
    private readonly core: () => MergeCore,
  ) {}

  /** Asks for those that have been awaited for long. */
  askDue(): void {
    const now = Date.now();
    for (const [region, states] of this.core().settling.awaited(liveRegions(this.context))) {
      const late: KeyState[] = [];
      for (const state of states) {
        const since = this.sinceMs.get(state);
        if (since === undefined) this.sinceMs.set(state, now);
        else if (now - since >= AWAIT_MS && late.length < KEYS_MAX) late.push(state);
      }
      if (late.length === 0) continue;
      for (const state of late) this.sinceMs.set(state, now);
      this.ask(region, late, TIMEOUT_MS);
    }
  }

  /** That of this key is to be asked for at once. */
  hasten(state: KeyState): void {
    this.sinceMs.set(state, -Infinity);
  }

  /** Asks a region. Should it fail, they are asked for again later. */
  ask(region: string, keys: readonly KeyName[], timeoutMs: number): void {
    const { mesh, log, config } = this.context;
    const request: SettleRequest = { from: config.region, keys: keys.map(({ db, key }) => ({ db, key })) };
    mesh
      .request(region, 'settle', Buffer.from(JSON.stringify(request)), { timeoutMs })
      .catch((error: unknown) => log.debug({ err: error, peer: region }, 'asking for states failed'));
  }
}
