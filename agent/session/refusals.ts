/** Commands of other regions that the own Redis refuses: the rule takes them up, or they are kept as dead letters, which may be tried again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Refusal } from '../apply/applier';
import type { StoredLetter } from '../dead-letters/letter';
import type { MergeCore } from '../merge/core';
import { isOfGroup } from '../merge/forms';
import { ELSEWHERE } from '../merge/settling';
import { OWN_PREFIX } from '../stream/keys';
import { type AgentContext, keepLetter } from './context';
import type { OwnLibraries } from './own-libraries';
import type { Pump } from './pump';

/** How long whoever tries one again waits for what comes of it. */
const RETRY_MS = 5000;

export interface RefusalsHost {
  readonly context: AgentContext;
  core(): MergeCore;
  readonly libraries: OwnLibraries;
  readonly pump: Pump;
}

export class Refusals {
  constructor(private readonly host: RefusalsHost) {}

  take(refusal: Refusal): void {
    const { host } = this;
    const { context, libraries } = host;
    const { db, key, command, code, isForeign } = refusal;
    if (command === 'FUNCTION' && !libraries.refused(refusal)) return;
    // A state that this Redis can't read; asking for another one brings the same.
    const isUnreadable = command === 'RESTORE';
    if (key !== undefined && !key.startsWith(OWN_PREFIX) && !isForeign && !isUnreadable) {
      // Types that met, or increments on what is no number: the rule decides, or the key's state does.
      if (!isOfGroup(command)) host.core().refused(db, key, refusal);
      return;
    }
    keepLetter(context, refusal);
    context.log.warn(
      { command, code },
      'a command could not be applied; `meridian dead-letters list` tells of which key',
    );
  }

  /** Tries a dead letter again. What is refused again comes back as one. @returns what was done */
  async retry({ db, command, key, remedy, bytes }: StoredLetter): Promise<string> {
    const { libraries, pump } = this.host;
    if (remedy === 'state' && key !== null) {
      this.host.core().settling.demandState(db, key, ELSEWHERE);
      pump.wake();
      return 'another region is asked for what the key holds';
    }
    if (command === 'FUNCTION') libraries.retry();
    const ran = pump.once(db, Buffer.from(bytes ?? '', 'base64'));
    await Promise.race([ran, sleep(RETRY_MS, undefined, { ref: false })]);
    return 'run once more';
  }
}
