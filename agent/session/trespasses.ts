/** Clients here that write keys which another region owns: told of, and put back to what their owner has made of them. */
import type { MergeCore } from '../merge/core';
import type { KeyState } from '../merge/key-state';
import type { Trespass } from '../stream/recorder';
import type { AgentContext } from './context';

/** What is written meanwhile is asked for together. */
const REST_MS = 10;
/** A client that does so does it all the time. */
const TELL_MS = 10_000;

export interface TrespassHost {
  readonly context: AgentContext;
  core(): MergeCore;
  /** Asks for the states that are due; at once for that of a key that clients have written. */
  ask(): void;
  /** To be asked for at once. */
  hasten(state: KeyState): void;
  /** Keeps what is awaited: what a restart reads does not tell of it. */
  keep(): Promise<void>;
  fail(error: Error): void;
}

export class Trespasses {
  private timer: NodeJS.Timeout | null = null;
  private writes = 0;
  private toldMs = -Infinity;

  constructor(private readonly host: TrespassHost) {}

  note(trespass: Trespass): void {
    const { host } = this;
    const state = host.core().trespassed(trespass);
    if (state === null) return;
    // Of an expiry its owner is about to tell; of what a client wrote nobody else knows.
    if (!trespass.isExpiry) {
      this.writes++;
      host.context.metrics.trespasses.inc();
      host.hasten(state);
    }
    this.timer ??= setTimeout(() => {
      this.timer = null;
      host.keep().catch((error: unknown) => host.fail(error as Error));
      host.ask();
      this.tell();
    }, REST_MS);
  }

  private tell(): void {
    const { writes } = this;
    if (writes === 0 || Date.now() - this.toldMs < TELL_MS) return;
    this.toldMs = Date.now();
    this.writes = 0;
    this.host.context.log.warn(
      { writes },
      'clients write keys that another region owns (replication.conflicts): they are put back; `meridian conflicts` tells which',
    );
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }
}
